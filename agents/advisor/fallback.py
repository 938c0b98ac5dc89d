"""Who decides when the policy does not: rules so simple that they cannot fail where it did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.advisor.active import Active, Decided

__all__ = ["FALLBACKS", "Fallback", "bundled", "describe", "hold", "middle"]

FloatArray = NDArray[np.float64]


#: Decides without the policy, for observed values (n,). Its orders pass the same guards.
Fallback = Callable[[Active, FloatArray], Decided]


def bundled(active: Active, values: FloatArray) -> Decided:
    """The tuned classical policy that travels with the bundle; the middle where none does."""
    own = active.fallback(values)
    return FALLBACKS["middle"](active, values) if own is None else own


def middle(active: Active, values: FloatArray) -> Decided:
    """The middle of the action box: the levels, or quantities, that the network's own demand and lead times suggest."""
    return active.middle(values)


def hold(active: Active, _values: FloatArray) -> Decided:
    """Order nothing."""
    none = np.zeros(len(active.arcs))
    return Decided((), none, none)


#: By name, as a record names them: a replay must find the same one.
FALLBACKS: dict[str, Fallback] = {"bundle": bundled, "middle": middle, "hold": hold}


def describe(active: Active, name: str) -> str:
    """Who a fallback is, for people."""
    if name == "hold":
        return "no order"
    own = active.bundle.fallback
    if name == "bundle" and own is not None:
        return f"{own.policy}, tuned"
    return "none" if active.bundle.spec.codec is None else "the middle of the action box"
