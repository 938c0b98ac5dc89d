"""Time in the simulation: moments with a place in the order of a period, and durations that are not whole periods."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import EventPriority

from twin.distributions import Distribution, Empirical, Fixed, Recorded
from twin.network import Network
from twin.periods import late_table, period_table
from twin.state import TwinState
from twin.uniforms import uniforms

__all__ = ["Duration", "Moment", "duration", "snap", "transit_times", "uniform"]

#: Times are multiples of this part of a period (0.6 seconds of a week), so that sums of times are exact.
_TICKS = 1 << 20
#: Where a supplier may be late, the sum of two times is tabulated in steps of this part of a period.
_STEPS = 256

#: The duration, in periods, that belongs to a uniform number and a calendar period.
Duration = Callable[[float, int], float]


def snap(time: float) -> float:
    """The nearest time that the simulation can tell apart, in periods."""
    return math.floor(time * _TICKS + 0.5) / _TICKS


class Moment(simpy.Event):
    """A point in time that comes after everything of a smaller priority at the same time."""

    def __init__(self, env: simpy.Environment, time: float, priority: int) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=EventPriority(priority), delay=time - env.now)


def uniform(path: TwinState, stream: int, entity: int, period: int) -> float:
    """The uniform number of an entity and period on the path of a state of one replica."""
    clock = {"first_replica": int(path.replica[0]), "episode": int(path.episode[0]), "first_period": period}
    return float(uniforms(int(path.seed[0]), stream, entity, **clock)[0, 0])


def duration(law: Distribution, per_period: float) -> Duration:
    """Durations of a law, not rounded to periods. ``per_period`` of its unit make one period."""
    return lambda u, _: snap(float(law.quantile(np.array([u]))[0]) / per_period)


def transit_times(network: Network) -> dict[int, Duration]:
    """The arcs whose lead time is not a whole number of periods, and its durations.

    A draw is the quantile of the uniform number that also gives the lead time in whole periods; a recorded series is
    played in order. Where lead time and lateness are whole periods the arc is left out: the tape draws it.
    """
    entries = [
        (mode, network.suppliers[lane.origin].delay if lane.origin in network.suppliers else None)
        for lane in network.lanes
        for mode in lane.modes.values()
    ]
    out: dict[int, Duration] = {}
    for a, (entry, delay) in enumerate([*entries, *((recipe, None) for recipe in network.recipes.values())]):
        per_period = network.periods(entry.lead_time_unit)
        late = delay if delay is not None and delay.probability > 0.0 else None
        is_late_whole = late is None or _is_whole(late.time, network.periods(late.unit))
        if is_late_whole and _is_whole(entry.lead_time, per_period):
            continue
        if isinstance(entry.lead_time, Recorded):
            out[a] = _played(np.asarray(entry.lead_time.values) / per_period)
        elif late is None:
            out[a] = duration(entry.lead_time, per_period)
        else:
            promised = period_table(entry.lead_time, per_period / _STEPS, tail=1e-6)
            added = period_table(late.time, network.periods(late.unit) / _STEPS, tail=1e-6)
            out[a] = _tabulated(late_table(promised, added, late.probability))
    return out


def _is_whole(law: Distribution, per_period: float) -> bool:
    """Whether all durations of a law are whole periods."""
    if isinstance(law, Fixed):
        values = np.array([law.value])
    elif isinstance(law, (Empirical, Recorded)):
        values = np.asarray(law.values)
    else:
        values = np.array([1.0])
        if not law.whole:
            return False
    periods = values / per_period
    return bool((np.abs(periods - np.round(periods)) < 1e-9).all())


def _played(times: NDArray[np.float64]) -> Duration:
    return lambda _, period: snap(float(times[period % len(times)]))


def _tabulated(cumulative: NDArray[np.float64]) -> Duration:
    return lambda u, _: float(np.searchsorted(cumulative, u, side="left")) / _STEPS
