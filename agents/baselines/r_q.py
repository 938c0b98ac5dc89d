"""(r, nQ) policy: at position r or below, the fewest batches of Q that raise the position above r.

Veinott (1965), "The optimal inventory policy for batch ordering", Operations Research 13(3); Zheng & Chen (1992), Naval
Research Logistics 39(5). In a network every arc has its pair, and stock points decide downstream first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import economic_quantity, joined, level_space, moved, quantity_space, renamed
from envs.task import Task

__all__ = ["ReorderBatches"]

#: Batches smaller than this share of a unit are no batches: the order then raises the position to r.
_NONE = 1e-9
#: A position is at r where it differs by the rounding of an observation only, as a share of a batch.
_ROUNDING = 1e-5


class ReorderBatches(OrderingPolicy):
    """A reorder point r and a batch size Q per arc, units; all reorder points come first."""

    name = "r_q"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        batches = moved(quantity_space(task), economic_quantity(task.compiled))
        return joined([renamed(level_space(task), "r"), renamed(batches, "Q")])

    def orders(
        self, parameters: NDArray[np.float64], reading: Reading, memory: Memory | None = None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        reorder, batch = np.split(parameters, 2)

        def rule(a: int, have: NDArray[np.float64]) -> NDArray[np.float64]:
            short, batched = reorder[a] - have, batch[a] > _NONE
            number = np.floor(short / np.where(batched, batch[a], 1.0) + _ROUNDING) + 1.0
            return np.asarray(np.where(batched, np.maximum(number, 0.0) * batch[a], short))

        return self.sequence.decide(rule, reading.position), memory
