"""Where tuning looks for levels, quantities and allowances: the ranges that the rules' parameters share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from envs.actions import make_codec
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["economic_quantity", "joined", "level_space", "moved", "quantity_space", "renamed"]

FloatArray = NDArray[np.float64]

#: A level this far below 0, as a share of the highest one, keeps an arc closed even when its stock point owes.
_CLOSED = -0.3
#: Longest time that an economic order quantity is taken to last, periods: holding may cost next to nothing.
_LONGEST_CYCLE = 52.0


def level_space(task: Task) -> ParameterSpace:
    """A level per arc: around the demand expected over its lead time and the review period, as the action box is."""
    codec = make_codec(task.compiled, "base_stock", horizon=task.horizon)
    high = np.maximum(codec.high, 1.0)
    return ParameterSpace(
        task.compiled.arc_names, _CLOSED * high, codec.center, high, task.compiled.topology.arc_integer
    )


def quantity_space(task: Task) -> ParameterSpace:
    """A quantity per arc: from 0 to three times its destination's demand, around its usual flow."""
    codec = make_codec(task.compiled, "quantity", horizon=task.horizon)
    high = np.maximum(codec.high, 1.0)
    return ParameterSpace(
        task.compiled.arc_names, np.zeros_like(high), codec.center, high, task.compiled.topology.arc_integer
    )


def economic_quantity(compiled: CompiledNetwork) -> FloatArray:
    """Order per arc that balances fixed cost and holding: sqrt(2 x flow x fixed cost / holding cost) (Harris 1913).

    Shape (A,), units; 0 where nothing is fixed.
    """
    top, flow = compiled.topology, compiled.arc_flow
    holding = top.stock_holding[top.arc_destination]
    most = _LONGEST_CYCLE * flow
    cheap = np.divide(2.0 * flow * top.arc_fixed, holding, out=most**2, where=holding > 0.0)
    return np.where(top.arc_fixed > 0.0, np.minimum(np.sqrt(cheap), most), 0.0)


def moved(space: ParameterSpace, amount: FloatArray) -> ParameterSpace:
    """The same parameters with a start that is higher by ``amount`` (P,), and room for twice as much."""
    return ParameterSpace(space.names, space.low, space.start + amount, space.high + 2.0 * amount, space.whole)


def renamed(space: ParameterSpace, prefix: str) -> ParameterSpace:
    """The same parameters called ``prefix[name]``."""
    names = tuple(f"{prefix}[{name}]" for name in space.names)
    return ParameterSpace(names, space.low, space.start, space.high, space.whole)


def joined(parts: Sequence[ParameterSpace]) -> ParameterSpace:
    """All parameters of several spaces, one space after the other."""
    return ParameterSpace(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.whole for part in parts]),
    )
