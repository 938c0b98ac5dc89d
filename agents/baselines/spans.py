"""Where tuning looks for levels, quantities and allowances: the ranges that the rules' parameters share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from envs.actions import OrderSequence, make_codec
from envs.task import Task
from twin.beliefs.states import mean_outage, processes
from twin.compile import CompiledNetwork

__all__ = [
    "economic_quantity",
    "joined",
    "level_space",
    "moved",
    "outlasting",
    "quantity_space",
    "renamed",
    "single",
    "stock_space",
]

FloatArray = NDArray[np.float64]

#: A level this far below 0, as a share of the highest one, keeps an arc closed even when its stock point owes.
_CLOSED = -0.3
#: Levels are looked for up to what outlasts so many times a mean outage.
_OUTLASTS = 1.5
#: Longest time that an economic order quantity is taken to last, periods: holding may cost next to nothing.
_LONGEST_CYCLE = 52.0


def level_space(task: Task, *, outages: bool = False) -> ParameterSpace:
    """A level per arc: around the demand expected over its lead time and the review period, as the action box is.

    And up to what outlasts an outage, where the outages are more than chains of up and down, or ``outages`` asks for
    it.
    """
    codec = make_codec(task.compiled, "base_stock", horizon=task.horizon)
    high = np.maximum(codec.high, 1.0)
    entries = processes(task.compiled).values()
    if outages or task.compiled.network.causes or not all(entry.is_two_state for entry in entries):
        high = high + _outlasting(task.compiled)[task.compiled.topology.arc_destination]
    return ParameterSpace(
        task.compiled.arc_names, _CLOSED * high, codec.center, high, task.compiled.topology.arc_integer
    )


def stock_space(task: Task) -> ParameterSpace:
    """A level per stock point that is replenished, for its whole position: as its slowest arc would have it.

    They come in the order in which stock points decide, see :class:`envs.actions.OrderSequence`.
    """
    codec, sequence = make_codec(task.compiled, "base_stock", horizon=task.horizon), OrderSequence.of(task.compiled)
    farthest = [group[-1] for group in sequence.groups]
    level, usual = codec.center[farthest], np.maximum(codec.high[farthest], 1.0)
    high = usual + _outlasting(task.compiled)[list(sequence.destinations)]
    names = tuple(f"level[{task.compiled.stock_names[i]}]" for i in sequence.destinations)
    whole = np.asarray(task.compiled.topology.arc_integer[farthest], dtype=np.bool_)
    start = level + (usual - level) / 4.0
    return ParameterSpace(names, _CLOSED * high, np.round(start) if whole.all() else start, high, whole)


def outlasting(compiled: CompiledNetwork) -> float:
    """One and a half times the longest mean outage, periods; 0 where nothing fails."""
    entries = processes(compiled).values()
    return _OUTLASTS * max((mean_outage(entry, compiled.network.periods) for entry in entries), default=0.0)


def _outlasting(compiled: CompiledNetwork) -> FloatArray:
    """Units of every stock point that are asked for in one and a half times the longest mean outage, shape (I,)."""
    return np.asarray(outlasting(compiled) * compiled.demand_rate)


def single(
    name: str,
    low: float,
    start: float,
    high: float,
    *,
    whole: bool = False,
    choice: bool = False,
    few: bool = False,
) -> ParameterSpace:
    """One parameter."""
    flags = (np.array([flag]) for flag in (whole or choice or few, choice, few))
    return ParameterSpace((name,), np.array([low]), np.array([start]), np.array([high]), *flags)


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
    return replace(space, start=space.start + amount, high=space.high + 2.0 * amount)


def renamed(space: ParameterSpace, prefix: str) -> ParameterSpace:
    """The same parameters called ``prefix[name]``."""
    return replace(space, names=tuple(f"{prefix}[{name}]" for name in space.names))


def joined(parts: Sequence[ParameterSpace]) -> ParameterSpace:
    """All parameters of several spaces, one space after the other."""
    return ParameterSpace(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.whole for part in parts]),
        np.concatenate([part.choice for part in parts]),
        np.concatenate([part.few for part in parts]),
    )
