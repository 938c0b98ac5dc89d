"""How availability moves: outages that last, ramps, warnings, scripted windows and common causes.

The rules are those of docs/model.md. Numbers of a process are rows of the state (:data:`twin.state.EXOGENOUS`), so that
a fork, a snapshot or a block of any length goes on where the state stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin.disruptions import Disruptions
from twin.uniforms import AVAILABILITY, DISRUPTION, fill_uniform

if TYPE_CHECKING:
    from twin.state import TwinState

__all__ = ["Outages"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Random numbers of a process go by entity: ``PER_PROCESS`` times its number, plus one of these; the windows' two each
#: follow from START on.
PER_PROCESS = 4096
MAIN, DURATION, WARNING, START = 0, 1, 2, 4


@njit(cache=True, inline="always")
def _share_up(p, j, elapsed):  # type: ignore[no-untyped-def]
    """Own share of a process that is up: all of it at once, or after its ramp."""
    if elapsed + 1.0 >= p.ramp[j]:
        return 1.0
    return p.share[j] + (1.0 - p.share[j]) * (elapsed + 1.0) / p.ramp[j]


@njit(cache=True, nogil=True)
def _window(p, j, now, begins, lengths, b):  # type: ignore[no-untyped-def]
    """Periods that windows of process j still hold it down, from ``now`` on; and whether one is announced now."""
    left, announced = 0, False
    for w in range(p.window_ptr[j], p.window_ptr[j + 1]):
        if begins[w, b] <= now:
            left = max(left, begins[w, b] + lengths[w, b] - now)
        announced |= begins[w, b] - p.ahead[j] == now
    return left, announced


@njit(cache=True, nogil=True)
def _move(p, rows, main, duration, warning, now, begins, lengths):  # type: ignore[no-untyped-def]
    """All processes by one period, in place.

    ``rows`` (rows, B) are those of the state, ``main``, ``duration``, ``warning`` (J, B) uniform numbers, ``now`` (B,)
    the period that begins.
    """
    n = len(p.failure)
    for j in range(n):
        first, last = p.table_ptr[j], p.table_ptr[j + 1]
        for b in range(rows.shape[1]):
            was = rows[j, b] == 1.0
            up, left, strikes, announced = was, rows[2 * n + j, b], False, False
            if was and left > 0.0:  # an announced failure
                left -= 1.0
                strikes = left == 0.0
            elif was:
                if main[j, b] < p.failure[j]:
                    announced = p.ahead[j] > 0
                    strikes = not announced
                    left = float(p.ahead[j])
            elif left > 0.0:  # an outage of known length
                left -= 1.0
                up = left == 0.0
            else:
                up = main[j, b] < p.recovery[j]
            if strikes:
                up, left = False, 0.0
                if last > first:
                    left = max(1.0, float(np.searchsorted(p.table[first:last], duration[j, b])))
            scripted, sign = _window(p, j, now[b], begins, lengths, b)
            if scripted > 0:
                left = float(scripted) if up else max(left, float(scripted))
                up = False
            rows[j, b] = 1.0 if up else 0.0
            rows[n + j, b] = rows[n + j, b] + 1.0 if up == was else 0.0
            rows[2 * n + j, b] = left
            if p.warning_row[j] >= 0:
                chance = p.recall[j] if announced or sign else p.false_alarm[j]
                rows[3 * n + p.warning_row[j], b] = 1.0 if up and warning[j, b] < chance else 0.0


@njit(cache=True, nogil=True)
def _combine(p, rows, available, before):  # type: ignore[no-untyped-def]
    """Effective availability (R, B) from the processes; what depends on none keeps what it had ``before``."""
    n = len(p.failure)
    for r in range(len(p.use_ptr) - 1):
        first, last = p.use_ptr[r], p.use_ptr[r + 1]
        for b in range(rows.shape[1]):
            share = before[r, b] if first == last else 1.0
            for k in range(first, last):
                j = p.uses[k]
                share *= _share_up(p, j, rows[n + j, b]) if rows[j, b] == 1.0 else p.share[j]
            available[r, b] = share


@njit(cache=True, nogil=True)
def _run(p, start, before, main, duration, warning, period, begins, lengths, available, out):  # type: ignore[no-untyped-def]
    """Periods one after another; ``available`` (T, R, B) and the first rows of ``out`` (T, rows, B) are filled."""
    n = start.shape[0]
    for t in range(out.shape[0]):
        out[t, :n] = start if t == 0 else out[t - 1, :n]
        _move(p, out[t], main[t], duration[t], warning[t], period + (t + 1), begins, lengths)
        _combine(p, out[t], available[t], before if t == 0 else available[t - 1])


@njit(cache=True, nogil=True)
def count_since(out, first, start, available, before):  # type: ignore[no-untyped-def]
    """Periods since availability last changed between all and not all, into the rows of ``out`` from ``first`` on.

    Parameters
    ----------
    out
        (T, rows, B).
    start
        (resources of the file, B): the same number before the first period.
    available, before
        (T, R, B) and, before the first period, (R, B); resources of contracts, behind those of the file, do not count.
    """
    for t in range(available.shape[0]):
        for r in range(start.shape[0]):
            for b in range(start.shape[1]):
                was = before[r, b] if t == 0 else available[t - 1, r, b]
                ago = start[r, b] if t == 0 else out[t - 1, first + r, b]
                out[t, first + r, b] = ago + 1.0 if (was == 1.0) == (available[t, r, b] == 1.0) else 0.0


@njit(cache=True, nogil=True)
def _begin(p, rows, available, warning, begins, lengths):  # type: ignore[no-untyped-def]
    """``rows`` (rows, B) and ``available`` (R, B) as period 0 finds them."""
    n = len(p.failure)
    for j in range(n):
        for b in range(rows.shape[1]):
            left, sign = _window(p, j, 0, begins, lengths, b)
            rows[j, b] = 1.0 if left == 0 else 0.0
            rows[n + j, b] = p.ramp[j] if left == 0 else 0.0
            rows[2 * n + j, b] = left
            if left == 0 and p.warning_row[j] >= 0:
                chance = p.recall[j] if sign else p.false_alarm[j]
                rows[3 * n + p.warning_row[j], b] = 1.0 if warning[j, b] < chance else 0.0
    _combine(p, rows, available, available.copy())


class Outages:
    """The processes of a network.

    Parameters
    ----------
    disruptions
        Compiled.
    """

    def __init__(self, disruptions: Disruptions) -> None:
        self._disruptions = disruptions
        self._p = p = disruptions.processes
        names, numbers = disruptions.names, disruptions.numbers
        everybody = np.arange(len(names), dtype=np.int64)
        causes = np.array([name.startswith("cause:") for name in names])
        drawn, warns = np.diff(p.table_ptr) > 0, p.warning_row >= 0
        # (stream, entities, rows) of every kind of uniform number
        self._main = [
            (AVAILABILITY, numbers[~causes] // 2, everybody[~causes]),
            (DISRUPTION, PER_PROCESS * numbers[causes] + MAIN, everybody[causes]),
        ]
        self._duration = [(DISRUPTION, PER_PROCESS * numbers[drawn] + DURATION, everybody[drawn])]
        self._warning = [(DISRUPTION, PER_PROCESS * numbers[warns] + WARNING, everybody[warns])]
        owner = np.repeat(everybody, np.diff(p.window_ptr))
        within = np.arange(len(owner)) - p.window_ptr[owner]
        starts = (PER_PROCESS * numbers[owner] + START + 2 * within)[:, None] + np.arange(2)
        self._windows = [(DISRUPTION, starts.ravel(), np.arange(2 * len(owner)))]

    def begin(self, state: TwinState) -> None:
        """Put every process where period 0 finds it: up and at full capacity, unless a window begins at once."""
        rows = np.zeros((self._disruptions.rows, state.replicas))
        available = state.arrays.availability.astype(np.float64)
        _begin(self._p, rows, available, self._uniform(self._warning, state, 1, 0)[0], *self._scripted(state))
        state.arrays.availability[:] = available
        state.exogenous[: len(rows)] = rows

    def fill(self, out: FloatArray, state: TwinState) -> FloatArray:
        """Fill the first rows of ``out`` (T, rows, B) after each of T periods; availability (T, R, B) after each."""
        p, periods = self._p, len(out)
        begins, lengths = self._scripted(state)
        available = np.empty((periods, len(p.use_ptr) - 1, state.replicas))
        _run(
            p,
            state.exogenous[: self._disruptions.rows].astype(np.float64),
            state.arrays.availability.astype(np.float64),
            self._uniform(self._main, state, periods, 1),
            self._uniform(self._duration, state, periods, 1),
            self._uniform(self._warning, state, periods, 1),
            state.period,
            begins,
            lengths,
            available,
            out,
        )
        count_since(out, self._disruptions.rows, state.arrays.since, available, state.arrays.availability)
        return available

    def _uniform(
        self, kind: list[tuple[int, IntArray, IntArray]], state: TwinState, periods: int, offset: int
    ) -> FloatArray:
        """Uniform numbers (T, J, B) of one kind from the state's period plus ``offset``; other rows are not filled."""
        out = np.empty((periods, len(self._p.failure), state.replicas))
        for stream, entities, rows in kind:
            fill_uniform(out, state.seed, state.replica, state.episode, state.period, offset, stream, entities, rows)
        return out

    def _scripted(self, state: TwinState) -> tuple[IntArray, IntArray]:
        """Start and length (W, B) of every window in the episode that each replica is in, in periods."""
        windows = self._disruptions.windows
        uniform = np.empty((1, 2 * len(windows), state.replicas))
        zero = np.zeros_like(state.period)
        for stream, entities, rows in self._windows:
            fill_uniform(uniform, state.seed, state.replica, state.episode, zero, 0, stream, entities, rows)
        begins, lengths = (np.empty((len(windows), state.replicas), dtype=np.int64) for _ in range(2))
        for w, (start, duration) in enumerate(windows):
            begins[w] = np.searchsorted(start, uniform[0, 2 * w])
            lengths[w] = np.maximum(np.searchsorted(duration, uniform[0, 2 * w + 1]), 1)
        return begins, lengths
