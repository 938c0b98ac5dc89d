"""Base-stock policy: raise every arc's inventory position to a level.

With one arc into a stock point this is the order-up-to policy that is optimal with backlog and no fixed cost (Karlin &
Scarf 1958; for serial systems, echelon by echelon, Clark & Scarf 1960, Management Science 6(4)). With several it is
the dual-index policy of Veeraraghavan & Scheller-Wolf (2008), Operations Research 56(4), extended to any number of
sources: nearest first, each counting what arrives within its own lead time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import OrderingPolicy

__all__ = ["BaseStock"]


class BaseStock(OrderingPolicy):
    """Order up to ``parameters`` (A,) units."""

    def levels(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.parameters

    def orders(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.sequence.orders_up_to(self.parameters, position)
