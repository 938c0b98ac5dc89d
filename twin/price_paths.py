"""Paths of prices that move, from the uniform numbers of their stream (docs/model.md, "Prices")."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import special

from twin.prices import PriceProcess
from twin.state import TwinState
from twin.uniforms import PRICE, fill_uniform

__all__ = ["price_paths"]

FloatArray = NDArray[np.float64]


def price_paths(processes: tuple[PriceProcess, ...], state: TwinState, periods: int) -> FloatArray:
    """Factors in force after each of ``periods`` periods, from the state's on. Shape (T, K, B).

    Every number is as exact as those of the state, so that a path does not depend on how it is cut into blocks.
    """
    shape = (periods, 3 * len(processes), state.replicas)
    # Three numbers a price: the noise, whether there is a jump, and its size; the first of a pair each, so that a price
    # more or less leaves the others as they are.
    entities = np.array([4 * k + j for k in range(len(processes)) for j in range(3)], dtype=np.int64)
    uniform = np.empty(shape)
    clock = (state.seed, state.replica, state.episode, state.period)
    fill_uniform(uniform, *clock, 1, PRICE, entities, np.arange(shape[1]))
    calendar = state.period[None, :] + np.arange(periods + 1)[:, None]
    out = np.empty((periods, len(processes), state.replicas))
    for k, process in enumerate(processes):
        noise = process.volatility * special.ndtri(uniform[:, 3 * k])
        if process.shock is not None:
            jumps = uniform[:, 3 * k + 1] < process.shock_probability
            noise[jumps] += process.shock.quantile(uniform[:, 3 * k + 2][jumps])
        _walk(out[:, k], state.arrays.price[k], process.tariff(calendar), 1.0 - process.reversion, noise)
    return out


@njit(cache=True, nogil=True)
def _walk(out, price, tariff, keeps, noise):  # type: ignore[no-untyped-def]
    """One price: its distance from the tariffs shrinks and gets its noise. ``tariff`` (T + 1, B), the others (T, B)."""
    for b in range(out.shape[1]):
        factor = price[b]
        for t in range(out.shape[0]):
            distance = math.log(factor / tariff[t, b])
            factor = price.dtype.type(tariff[t + 1, b] * math.exp(keeps * distance + noise[t, b]))
            out[t, b] = factor
