"""Lots and feasible orders in numpy alone: what an arc makes of what is asked, for programs without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["feasible_orders", "largest_useful_orders", "whole_lots"]

FloatArray = NDArray[np.float64]


def feasible_orders(orders: ArrayLike, minimum: ArrayLike, lot: ArrayLike, maximum: ArrayLike) -> NDArray[Any]:
    """The orders that are placed when ``orders`` are asked for: step 1 of the order phase in docs/model.md.

    Parameters
    ----------
    orders
        (A,) or (A, B) units. Less than 1e-9 (1e-4 where the numbers are float32) and NaN order nothing.
    minimum
        (A,) smallest order above 0, in whole lots; 0 where there is none.
    lot
        (A,) orders are whole multiples of it; 0 where any quantity may be ordered.
    maximum
        (A,) largest order, in whole lots; infinite where there is none.

    Returns
    -------
    ndarray
        A new array in the shape of ``orders``, float64, or float32 where ``orders`` is.
    """
    asked = np.asarray(orders)
    number = asked.dtype.type if asked.dtype == np.float32 else np.float64
    rows = (-1,) + (1,) * (asked.ndim - 1)
    least, lots, most = (np.asarray(rule, dtype=number).reshape(rows) for rule in (minimum, lot, maximum))
    placed = np.where(asked >= number(1e-4 if number is np.float32 else 1e-9), asked, number(0.0)).astype(number)
    half = number(0.5)
    if (least > 0.0).any():
        placed = np.where(placed < half * least, number(0.0), np.maximum(placed, least))
    # Lots may be missing on some arcs: x / 1 is x, and what has no lot is not rounded.
    if (lots > 0.0).any():
        size = np.where(lots > 0.0, lots, number(1.0))
        placed = np.where(lots > 0.0, size * np.floor(placed / size + half), placed)
    return np.asarray(np.minimum(placed, most))


def largest_useful_orders(limit: ArrayLike, minimum: ArrayLike, lot: ArrayLike) -> FloatArray:
    """The smallest feasible orders that cover ``limit``, the most that an arc can use of one order.

    Where the limit is not a whole number of lots, or below the minimum, only a larger order makes full use of it; what
    the arc cannot ship of that is cancelled. A limit of 0 closes the arc. All shapes (A,), units; infinite stays.
    """
    most, least, lots = (np.asarray(x, dtype=np.float64) for x in (limit, minimum, lot))
    counted = (lots > 0.0) & np.isfinite(most)
    number = np.divide(most, lots, out=np.zeros_like(most), where=counted)
    covering = np.where(counted, np.ceil(number - 1e-9) * lots, most)
    return np.where(most > 0.0, np.maximum(covering, least), 0.0)


def whole_lots(amount: FloatArray, lot: FloatArray, rounding: np.ufunc) -> FloatArray:
    """Amounts as whole multiples of the lot, rounded by ``rounding``; unchanged where the lot is 0."""
    counted = (lot > 0.0) & np.isfinite(amount)
    lots = np.divide(amount, lot, out=np.zeros_like(amount), where=counted)
    # A limit that is a whole number of lots up to rounding (0.3 in lots of 0.1) is that number.
    nearest = np.round(lots)
    close = np.abs(lots - nearest) <= 1e-9 * np.maximum(nearest, 1.0)
    return np.where(counted, np.where(close, nearest, rounding(lots)) * lot, amount)
