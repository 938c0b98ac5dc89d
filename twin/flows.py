"""Nominal flows of a network: what each stock point needs, what each arc carries, what a unit is worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Flows", "nominal_flows", "usual_shares"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Stock points up to which a dense solution is used: loading the sparse solver takes longer than all of it.
_SMALL = 200


class Flows(NamedTuple):
    """Expected requirement and its variance per stock point, flow per arc, value of a unit per stock point."""

    rate: FloatArray
    variance: FloatArray
    arc_flow: FloatArray
    unit_value: FloatArray


def usual_shares(given: list[float | None], destination: IntArray, n_stocks: int) -> FloatArray:
    """Share of the inflow of its stock point that each arc usually carries; equal where none is given. Shape (A,)."""
    weight = np.array([1.0 if share is None else share for share in given], dtype=np.float64)
    total = np.bincount(destination, weights=weight, minlength=n_stocks)[destination]
    inbound = np.bincount(destination, minlength=n_stocks)[destination]
    return np.divide(weight, total, out=1.0 / inbound, where=total > 0.0)


def nominal_flows(
    share: FloatArray,
    destination: IntArray,
    inputs: tuple[IntArray, IntArray, FloatArray],
    own_rate: FloatArray,
    own_variance: FloatArray,
    paid: FloatArray,
) -> Flows:
    """Solve the flow balance of a network under the usual shares.

    The requirement of a stock point is its own demand plus coefficient x share x requirement of everything it feeds: a
    sparse linear system in the number of stock points. A unit is worth what was paid on its way: value = own costs +
    coefficient x share x value of the inputs.

    Parameters
    ----------
    share, destination, paid
        (A,) usual share, stock point that the arc fills, money paid per unit on the arc.
    inputs
        Arc, stock point and coefficient of every input of every arc.
    own_rate, own_variance
        (I,) customer demand per period.
    """
    n = len(own_rate)
    arc, source, coefficient = inputs
    feeds = (source, destination[arc])
    weight = coefficient * share[arc]
    own_cost = np.bincount(destination, weights=share * paid, minlength=n).astype(np.float64)
    rate = np.maximum(_solve(feeds, weight, own_rate), 0.0)
    variance = np.maximum(_solve(feeds, weight**2, own_variance), 0.0)
    value = np.maximum(_solve((feeds[1], feeds[0]), weight, own_cost), 0.0)
    return Flows(rate, variance, share * rate[destination], value)


def _solve(place: tuple[IntArray, IntArray], entry: FloatArray, right: FloatArray) -> FloatArray:
    """Solve (1 - M) x = right, M having the given entries (added up where a place is named twice).

    In the least-squares sense where a ring of arcs feeds only itself.
    """
    n = len(right)
    if n <= _SMALL:
        system = np.eye(n)
        np.subtract.at(system, place, entry)
        return np.asarray(np.linalg.lstsq(system, right, rcond=None)[0])
    from scipy import sparse
    from scipy.sparse import linalg

    sparse_system = (sparse.identity(n, format="csc") - sparse.csc_matrix((entry, place), shape=(n, n))).tocsc()
    try:
        return np.asarray(linalg.splu(sparse_system).solve(right))
    except RuntimeError:  # exactly singular
        return np.asarray(linalg.lsqr(sparse_system, right, atol=1e-12, btol=1e-12)[0])
