"""Disruptions: what makes a resource unavailable, and what several resources lose at once.

An availability chain of a resource or of a cause is a *process*; docs/model.md says how it moves. Here is what the
user writes, and the same as arrays; :mod:`twin.outages` moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from twin.distributions import Distribution
from twin.periods import TimeUnit, period_table
from twin.schema import Share, StrictModel, Whole

if TYPE_CHECKING:
    from twin.network import Resource

__all__ = [
    "Availability",
    "Cause",
    "Disruptions",
    "EarlyWarning",
    "Processes",
    "Window",
    "compile_disruptions",
    "two_state_chain",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Most scripted windows of one process: each has random numbers of its own.
MOST_WINDOWS = 1000


class EarlyWarning(StrictModel):
    """A sign that a failure is coming, which is missed at times and raised in vain at others."""

    ahead: Whole = Field(ge=1, description="periods from the sign to the failure")
    recall: Share = Field(default=1.0, description="probability that a failure is announced")
    false_alarm: Share = Field(default=0.0, description="probability of a sign, per period up in which none is due")


class Window(StrictModel):
    """An outage at a set time; both times are drawn once an episode."""

    start: Distribution = Field(description="period of the episode in which it begins")
    duration: Distribution
    unit: TimeUnit | None = Field(default=None, description="of both; the network's period when absent")

    @model_validator(mode="after")
    def _drawn(self) -> Window:
        for name in ("start", "duration"):
            if getattr(self, name).distribution == "recorded":
                raise ValueError(f"{name}: {_PLAYED}")
        return self


class Availability(StrictModel):
    """Up or down: it fails with ``failure`` a period while up; ``recovery`` or ``duration`` says for how long."""

    failure: Share = Field(default=0.0, description="probability of failing, per period up")
    recovery: float | None = Field(
        default=None, strict=True, gt=0.0, le=1.0, description="probability of recovering, per period down"
    )
    duration: Distribution | None = Field(default=None, description="of an outage, instead of recovery")
    duration_unit: TimeUnit | None = Field(default=None, description="the network's period when absent")
    share_when_down: float = Field(
        default=0.0, strict=True, ge=0.0, lt=1.0, description="share of capacity left while down"
    )
    ramp: Whole = Field(default=0, ge=0, description="periods from recovery to full capacity; 0 = at once")
    warning: EarlyWarning | None = None
    windows: tuple[Window, ...] = Field(default=(), max_length=MOST_WINDOWS)

    @model_validator(mode="after")
    def _ends(self) -> Availability:
        if self.recovery is not None and self.duration is not None:
            raise ValueError("has recovery and duration; an outage ends by one of them (allowed: either)")
        if self.recovery is None and self.duration is None and (self.failure > 0.0 or not self.windows):
            raise ValueError("needs recovery or duration, which say when an outage ends")
        if self.duration is None and self.duration_unit is not None:
            raise ValueError(f"duration_unit: there is no duration, received {self.duration_unit!r}")
        if self.duration is not None and self.duration.distribution == "recorded":
            raise ValueError(f"duration: {_PLAYED}")
        if self.warning is not None and self.failure == 0.0 and not self.windows:
            raise ValueError("warning: there is never a failure to announce (allowed: with a failure or windows)")
        return self

    @property
    def is_two_state(self) -> bool:
        """Whether being up or down says all about its future: geometric outages, no ramp, no warning, no windows."""
        return self.duration is None and self.ramp == 0 and self.warning is None and not self.windows


_PLAYED = "a recorded series cannot be drawn from (allowed: any other law)"


class Cause(StrictModel):
    """Something that several resources depend on: a supplier of suppliers, a port, a region."""

    availability: Availability
    description: str = ""


class Processes(NamedTuple):
    """All processes as arrays. J processes: resources with an availability, then causes, both in file order.

    ``uses`` lists, per resource, its own process and those of its causes: ``uses[use_ptr[r]:use_ptr[r + 1]]``.
    ``table`` holds cumulative probabilities of an outage of 0, 1, 2, ... periods: those of process j are
    ``table[table_ptr[j]:table_ptr[j + 1]]``, none where outages are geometric.
    """

    failure: FloatArray  # (J,)
    recovery: FloatArray  # (J,)
    share: FloatArray  # (J,) of capacity, while down
    ramp: IntArray  # (J,) periods
    ahead: IntArray  # (J,) periods from a warning to the failure; 0 without warnings
    recall: FloatArray  # (J,)
    false_alarm: FloatArray  # (J,)
    warning_row: IntArray  # (J,) row of the state's warnings; -1 without
    table_ptr: IntArray  # (J + 1,)
    table: FloatArray
    window_ptr: IntArray  # (J + 1,) windows of each process
    use_ptr: IntArray  # (R + 1,)
    uses: IntArray


@dataclass(frozen=True, eq=False)
class Disruptions:
    """What disrupts a network, ready to run.

    Attributes
    ----------
    names
        One per process: the resource's key, or ``cause:`` and the cause's.
    warning_names
        Those of them that give warnings, in order.
    numbers
        Of each process, the number that its random draws go by: twice the resource's place in the file, or twice the
        cause's plus 1. Shape (J,).
    processes
        The arrays.
    windows
        Per scripted window, cumulative tables of its start and its duration in periods; process by process.
    """

    names: tuple[str, ...]
    warning_names: tuple[str, ...]
    numbers: IntArray
    processes: Processes
    windows: tuple[tuple[FloatArray, FloatArray], ...]

    @property
    def rows(self) -> int:
        """Rows in the state: three per process, and one per process that warns."""
        return 3 * len(self.names) + len(self.warning_names)


def compile_disruptions(
    resources: Mapping[str, Resource], causes: Mapping[str, Cause], periods: Callable[[str | None], float]
) -> Disruptions | None:
    """Flatten what disrupts ``resources``; None where every one fails alone and its being up or down says all.

    Parameters
    ----------
    resources, causes
        In file order.
    periods
        How many of a unit of time make one period, see :meth:`twin.network.Network.periods`.
    """
    own = {name: resource.availability for name, resource in resources.items() if resource.availability is not None}
    if not causes and all(entry.is_two_state for entry in own.values()):
        return None
    entries = [*own.values(), *(cause.availability for cause in causes.values())]
    place = {name: j for j, name in enumerate([*own, *(f"cause:{name}" for name in causes)])}
    uses = [
        [place[key] for key in (*([name] if name in own else []), *(f"cause:{cause}" for cause in resource.causes))]
        for name, resource in resources.items()
    ]
    warns = np.array([entry.warning is not None for entry in entries])
    tables = [_outage_table(entry, periods) for entry in entries]
    order = {name: r for r, name in enumerate(resources)}
    processes = Processes(
        failure=np.array([entry.failure for entry in entries]),
        recovery=np.array([entry.recovery or 1.0 for entry in entries]),
        share=np.array([entry.share_when_down for entry in entries]),
        ramp=np.array([entry.ramp for entry in entries], dtype=np.int64),
        ahead=np.array([entry.warning.ahead if entry.warning else 0 for entry in entries], dtype=np.int64),
        recall=np.array([entry.warning.recall if entry.warning else 0.0 for entry in entries]),
        false_alarm=np.array([entry.warning.false_alarm if entry.warning else 0.0 for entry in entries]),
        warning_row=np.where(warns, np.cumsum(warns) - 1, -1).astype(np.int64),
        table_ptr=_ptr([len(table) for table in tables]),
        table=np.concatenate(tables),
        window_ptr=_ptr([len(entry.windows) for entry in entries]),
        use_ptr=_ptr([len(entry) for entry in uses]),
        uses=np.array([j for entry in uses for j in entry], dtype=np.int64),
    )
    return Disruptions(
        names=tuple(place),
        warning_names=tuple(name for name, flag in zip(place, warns, strict=True) if flag),
        numbers=np.array([*(2 * order[name] for name in own), *(2 * c + 1 for c in range(len(causes)))]),
        processes=processes,
        windows=tuple(
            (period_table(window.start, periods(window.unit)), period_table(window.duration, periods(window.unit)))
            for entry in entries
            for window in entry.windows
        ),
    )


def two_state_chain(
    resource: Resource, causes: Mapping[str, Cause], periods: Callable[[str | None], float]
) -> tuple[float, float, float]:
    """The chain that a planner may take a resource for: (failure, recovery, lowest share).

    Exact where only its own geometric outages disrupt it. Else failure is the probability that anything it depends on
    fails in a period, recovery 1 over the mean outage (by how often each fails), and the share that of everything down
    together; ramps, warnings and windows are not in it.
    """
    entries = [resource.availability] if resource.availability is not None else []
    entries += [causes[name].availability for name in resource.causes]
    if not entries:
        return 0.0, 1.0, 1.0
    share = float(np.prod([entry.share_when_down for entry in entries]))
    recovery = [1.0 / _mean_outage(entry, periods) if entry.recovery is None else entry.recovery for entry in entries]
    if len(entries) == 1:
        return entries[0].failure, recovery[0], share
    failure = np.array([entry.failure for entry in entries])
    weight = failure / failure.sum() if failure.any() else np.full(len(entries), 1.0 / len(entries))
    return float(1.0 - np.prod(1.0 - failure)), float(1.0 / np.sum(weight / np.array(recovery))), share


def _mean_outage(entry: Availability, periods: Callable[[str | None], float]) -> float:
    """Mean length of an outage in periods, where it is not geometric."""
    if entry.duration is not None:
        tables = [_outage_table(entry, periods)]
    else:
        tables = [period_table(window.duration, periods(window.unit)) for window in entry.windows]
    lengths = [np.diff(table, prepend=0.0) @ np.maximum(np.arange(len(table)), 1) for table in tables]
    return float(np.mean(lengths)) if lengths else 1.0


def _outage_table(entry: Availability, periods: Callable[[str | None], float]) -> FloatArray:
    """Cumulative table of an outage in periods; empty where it is geometric."""
    return np.zeros(0) if entry.duration is None else period_table(entry.duration, periods(entry.duration_unit))


def _ptr(lengths: Sequence[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
