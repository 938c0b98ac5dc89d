"""Capped base-stock policy: order up to a level, but never more than a cap.

For lost sales it is near the optimum, asymptotically so for long lead times: Xin (2021), "Understanding the performance
of capped base-stock policies in lost-sales inventory models", Operations Research 69(1):61-70. With two sources into
one stock point, and a cap on the slower one, it is the capped dual-index policy of Sun & Van Mieghem (2019), "Robust
dual sourcing inventory management", Manufacturing & Service Operations Management 21(4).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import joined, level_space, quantity_space, renamed
from envs.task import Task

__all__ = ["CappedBaseStock"]

#: Where the search for a cap begins, as a share of the largest one.
_LOOSE = 0.75


class CappedBaseStock(OrderingPolicy):
    """Order up to a level per arc, but no more than a cap per arc, units; all levels come first."""

    name = "capped_base_stock"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        caps = quantity_space(task)
        # A cap at the usual flow never lets stock recover: the search begins with one that seldom binds.
        caps = replace(caps, start=caps.rounded(_LOOSE * caps.high))
        return joined([renamed(level_space(task), "level"), renamed(caps, "cap")])

    def orders(
        self, parameters: NDArray[np.float64], reading: Reading, memory: Memory | None = None
    ) -> tuple[NDArray[np.float64], Memory | None]:
        levels, caps = np.split(parameters, 2)
        return self.sequence.decide(lambda a, have: np.minimum(levels[a] - have, caps[a]), reading.position), memory
