"""Constant order policy: the same quantity on every arc, every period.

Asymptotically optimal for lost sales as the lead time grows (Reiman 2004; Goldberg, Katz-Rogozhnikov, Lu, Sharma &
Squillante 2016, Mathematics of Operations Research 41(3)); a learned policy that does not beat it has learned nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import OrderingPolicy

__all__ = ["Constant"]


class Constant(OrderingPolicy):
    """Order ``parameters`` (A,) units."""

    def levels(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.sequence.levels_for(self.parameters, position)

    def orders(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.parameters
