"""(s, S) policy: at position s or below, order up to S; above it, order nothing.

Optimal with a fixed cost per order and backlog: Scarf (1960), "The optimality of (S, s) policies in the dynamic
inventory problem", in Mathematical Methods in the Social Sciences; for the average cost Zheng (1991), Journal of
Applied Probability 28(4). In a network every arc has its pair, and stock points decide downstream first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import economic_quantity, joined, level_space, moved, renamed
from envs.task import Task

__all__ = ["ReorderUpTo"]

#: A position is at s where it differs by the rounding of an observation only, as a share of s.
_ROUNDING = 1e-6


class ReorderUpTo(OrderingPolicy):
    """A reorder point s and a level S per arc, units; all reorder points come first."""

    name = "s_s"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        levels = level_space(task)
        raised = moved(levels, economic_quantity(task.compiled))
        return joined([renamed(levels, "s"), renamed(raised, "S")])

    def orders(
        self, parameters: NDArray[np.float64], reading: Reading, memory: Memory | None = None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        reorder, level = np.split(parameters, 2)
        at = reorder + _ROUNDING * np.abs(reorder)
        return (
            self.sequence.decide(lambda a, have: np.where(have <= at[a], level[a] - have, 0.0), reading.position),
            memory,
        )
