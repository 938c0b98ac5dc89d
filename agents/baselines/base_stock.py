"""Base-stock policy: raise every arc's inventory position to a level.

With one arc into a stock point this is the order-up-to policy that is optimal with backlog and no fixed cost (Karlin &
Scarf 1958; for serial systems, echelon by echelon, Clark & Scarf 1960, Management Science 6(4)). With several it is
the dual-index policy of Veeraraghavan & Scheller-Wolf (2008), Operations Research 56(4), extended to any number of
sources: nearest first, each counting what arrives within its own lead time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import level_space
from envs.task import Task

__all__ = ["BaseStock"]


class BaseStock(OrderingPolicy):
    """Order up to ``parameters``: a level per arc, units."""

    name = "base_stock"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return level_space(task)

    def orders(
        self, parameters: NDArray[np.float64], reading: Reading, memory: Memory | None = None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        return self.sequence.orders_up_to(parameters, reading.position), memory

    def levels(
        self, parameters: NDArray[np.float64], reading: Reading, orders: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return parameters if parameters.ndim == 2 else np.repeat(parameters[:, None], reading.replicas, axis=1)
