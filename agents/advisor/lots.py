"""Which quantities can be ordered on an arc: nothing, or whole lots from a minimum up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Lots"]

FloatArray = NDArray[np.float64]

#: Units below which an amount is rounding; see :func:`twin.orders.feasible_orders`.
_ROUNDING = 1e-9


class Lots:
    """Order quantities of all arcs; exact, because a limit that is passed by a rounding error is passed.

    Parameters
    ----------
    size
        (A,) units; 0 where any quantity may be ordered.
    minimum
        (A,) smallest order above 0, units; raised to whole lots.
    """

    def __init__(self, size: ArrayLike, minimum: ArrayLike) -> None:
        self.size = np.asarray(size, dtype=np.float64)
        self._divisor = np.where(self.size > 0.0, self.size, 1.0)
        self.minimum = np.zeros_like(self.size)
        # What is below rounding counts as nothing in the twin, so it is no order here either.
        least = np.where(self.size > 0.0, 0.0, _ROUNDING)
        self.minimum = self.up(np.maximum(np.asarray(minimum, dtype=np.float64), least))

    def down(self, amount: FloatArray) -> FloatArray:
        """The largest quantity that can be ordered and is at most ``amount``; (A,), infinite stays."""
        count = np.floor(amount / self._divisor)
        whole = count * self._divisor
        whole = np.where(whole > amount, (count - 1.0) * self._divisor, whole)
        out = np.where((self.size > 0.0) & np.isfinite(amount), whole, amount)
        return np.where((out < self.minimum) | (out <= 0.0), 0.0, out)

    def up(self, amount: FloatArray) -> FloatArray:
        """The smallest quantity that can be ordered and is at least ``amount``; (A,), infinite stays."""
        count = np.ceil(amount / self._divisor)
        whole = count * self._divisor
        whole = np.where(whole < amount, (count + 1.0) * self._divisor, whole)
        out = np.where((self.size > 0.0) & np.isfinite(amount), whole, amount)
        return np.where(out <= 0.0, 0.0, np.maximum(out, self.minimum))

    def allows(self, arc: int, amount: float) -> bool:
        """True when ``amount`` can be ordered on an arc."""
        if amount == 0.0:
            return True
        size = float(self.size[arc])
        return amount >= self.minimum[arc] and (size == 0.0 or round(amount / size) * size == amount)
