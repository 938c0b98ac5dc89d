"""Constant order policy: the same quantity on every arc, every period.

Asymptotically optimal for lost sales as the lead time grows (Reiman 2004; Goldberg, Katz-Rogozhnikov, Lu, Sharma &
Squillante 2016, Mathematics of Operations Research 41(3)); a learned policy that does not beat it has learned nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import quantity_space
from envs.task import Task

__all__ = ["Constant"]


class Constant(OrderingPolicy):
    """Order ``parameters``: a quantity per arc, units."""

    name = "constant"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return quantity_space(task)

    def orders(
        self, parameters: NDArray[np.float64], reading: Reading, memory: Memory | None = None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        asked = parameters if parameters.ndim == 2 else np.repeat(parameters[:, None], reading.replicas, axis=1)
        return asked, memory
