"""How the fields of an observation are read off a twin: one small class per kind of reading.

Readers are data with public attributes, so that an environment can be pickled and another engine can read the same
observation off its own arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from twin.errors import ActionError

if TYPE_CHECKING:
    from twin.beliefs import OutagePosterior
    from twin.compile import CompiledNetwork
    from twin.engine import Twin

__all__ = [
    "Arrivals",
    "Expected",
    "Life",
    "Mail",
    "Outlook",
    "PeriodsLeft",
    "Positions",
    "Reader",
    "Rows",
    "Season",
    "Stages",
    "View",
    "Warnings",
    "warned",
    "warning_rows",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class View(NamedTuple):
    """What fields are read from: a twin at a decision epoch, arc positions (A, B), periods left (B,), belief (N, B)."""

    twin: Twin
    position: FloatArray
    periods_left: FloatArray
    belief: FloatArray | None = None


class Reader(Protocol):
    """Fills the rows of a block of fields."""

    def read(self, view: View, out: FloatArray) -> None:
        """Write one row per field into ``out``, shape (fields, B)."""
        ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of an array of the state.

    Attributes
    ----------
    array_name
        Attribute of :class:`twin.state.StateArrays`.
    rows
        Which rows, or None for all.
    """

    array_name: str
    rows: IntArray | None = None

    def read(self, view: View, out: FloatArray) -> None:
        array = getattr(view.twin.state.arrays, self.array_name)
        out[...] = array if self.rows is None else array.take(self.rows, axis=0)


@dataclass(frozen=True, eq=False)
class Positions:
    """The inventory position of every arc."""

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = view.position


@dataclass(frozen=True, eq=False)
class Mail:
    """Sums over the mail of arcs; ``slots`` are their rows of the mail, one slice a field."""

    slots: tuple[slice, ...]

    def read(self, view: View, out: FloatArray) -> None:
        for k, rows in enumerate(self.slots):
            out[k] = view.twin.state.arrays.mail[rows].sum(axis=0)


@dataclass(frozen=True, eq=False)
class Arrivals:
    """What arrives by receipts ahead.

    Attributes
    ----------
    edges
        Band k holds what arrives more than ``edges[k]`` and at most ``edges[k + 1]`` receipts ahead, the last band all
        that comes later. With 0, 1, 2, ... every band is one receipt.
    keep
        Rows of :meth:`twin.engine.Twin.arrivals` (stock point x bands + band), one a field.
    """

    edges: IntArray
    keep: IntArray

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = view.twin.arrivals(self.edges).take(self.keep, axis=0)


@dataclass(frozen=True, eq=False)
class Life:
    """Sums over layers of perishable stock; ``rows`` are those of each field."""

    rows: tuple[IntArray, ...]

    def read(self, view: View, out: FloatArray) -> None:
        layers = view.twin.state.arrays.layers
        for k, members in enumerate(self.rows):
            out[k] = layers[members].sum(axis=0)


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected demand of ``streams`` in the period decided for and the following ones, ``window`` in all.

    Stream by stream: row k x window + n is the k-th stream, n periods ahead.
    """

    streams: IntArray
    window: int = 1

    def read(self, view: View, out: FloatArray) -> None:
        twin = view.twin
        decided = twin.state.period + twin.tape.demand_offset
        periods = decided + np.arange(self.window)[:, None]
        for k, d in enumerate(self.streams):
            out[k * self.window : (k + 1) * self.window] = twin.compiled.expected_demand(int(d), periods)


@cache
def _circle(cycle: int) -> FloatArray:
    """Sine and cosine of every place in a season, shape (2, cycle)."""
    angle = (2.0 * np.pi / cycle) * np.arange(cycle)
    return np.stack([np.sin(angle), np.cos(angle)])


@dataclass(frozen=True, eq=False)
class Season:
    """Sine and cosine of the place in a season of ``cycle`` periods."""

    cycle: int

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = _circle(self.cycle)[:, view.twin.state.period % self.cycle]


@dataclass(frozen=True, eq=False)
class Warnings:
    """Whether any of the processes behind a resource warns; ``rows`` are those of each field in the state."""

    rows: tuple[IntArray, ...]

    def read(self, view: View, out: FloatArray) -> None:
        warning = view.twin.state.arrays.warning
        for k, members in enumerate(self.rows):
            warning[members].max(axis=0, out=out[k])


@dataclass(frozen=True, eq=False)
class Outlook:
    """Periods of a resource's capacity that are expected to be missing: resource by resource, one row for each span.

    Attributes
    ----------
    posterior
        Which says what a belief expects.
    resources
        The resources.
    spans
        Periods ahead that are added up, this one included; in increasing order.
    """

    posterior: OutagePosterior
    resources: tuple[int, ...]
    spans: tuple[int, ...]

    def read(self, view: View, out: FloatArray) -> None:
        if view.belief is None:
            raise ActionError("the outlook is read off a belief, and none is kept here")
        now = view.twin.state.arrays.availability[list(self.resources)]
        ahead = self.posterior.expected(view.belief, self.spans[-1] - 1, [[r] for r in self.resources])
        missing = np.cumsum(1.0 - np.concatenate([now[None], ahead]), axis=0)
        for k, span in enumerate(self.spans):
            out[k :: len(self.spans)] = missing[span - 1]


@dataclass(frozen=True, eq=False)
class Stages:
    """Where contracts stand: contract by contract, one row for each of ``count`` stages (1 where it is the one)."""

    count: int

    def read(self, view: View, out: FloatArray) -> None:
        stage = view.twin.state.arrays.stage
        for k in range(self.count):
            np.equal(stage, k, out=out[k :: self.count])


@dataclass(frozen=True, eq=False)
class PeriodsLeft:
    """Periods until the horizon ends."""

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = view.periods_left


def warning_rows(compiled: CompiledNetwork) -> tuple[tuple[int, IntArray], ...]:
    """Resources that are warned of, and their rows of the state's warnings.

    Causes are hidden: a resource shows the warnings of what it depends on as its own.
    """
    if compiled.disruptions is None:
        return ()
    p = compiled.disruptions.processes
    behind = (p.warning_row[p.uses[p.use_ptr[r] : p.use_ptr[r + 1]]] for r in range(len(p.use_ptr) - 1))
    shown = ((r, members[members >= 0]) for r, members in enumerate(behind))
    return tuple((r, rows) for r, rows in shown if len(rows))


def warned(twin: Twin) -> FloatArray:
    """(R, B): 1 where a failure of the resource is announced, rightly or wrongly; 0 where nothing ever warns."""
    warning = twin.state.arrays.warning
    out = np.zeros((twin.compiled.n_resources, twin.state.replicas))
    for r, rows in warning_rows(twin.compiled):
        warning[rows].max(axis=0, out=out[r])
    return out
