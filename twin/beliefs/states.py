"""The hidden states of outages: what a planner cannot see of a process, as small Markov chains.

Of every process of docs/model.md ("Disruptions") there is one chain for its random failures and one for its scripted
windows, or one for each window whose time is drawn. Beside each other they are nearly exact: that a window makes the
process forget an announced failure, or begins during an outage, is left out. Each alone is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.compile import CompiledNetwork
from twin.disruptions import Availability
from twin.distributions import Distribution
from twin.periods import period_table

__all__ = ["Hidden", "hidden_states", "mean_outage", "processes"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
#: How many of a unit of time make one period, see :meth:`twin.network.Network.periods`.
Periods = Callable[[str | None], float]
#: Weight of an outage that began before the episode: none beside anything that can be.
_BEFORE = 1e-12


class Hidden(NamedTuple):
    """One chain of n states, one of which it is in at every decision epoch.

    ``lengths`` are the probabilities of an outage of 0, 1, 2, ... periods, and ``outages`` the states with as many of
    them to come; of geometric outages there is one state, and ``recovery`` says how it is left.
    """

    share: FloatArray  # (n,) of the capacity that works in the state
    down: BoolArray  # (n,)
    announced: BoolArray  # (n,) a failure is announced now, and strikes later
    following: FloatArray  # (n, n) probability of state i a period after state j
    first: FloatArray  # (n,) probability in period 0
    failure: float  # probability of failing per period, 0 of windows
    outages: int  # the first of the states with an outage
    lengths: FloatArray  # empty where outages are geometric
    recovery: float

    def begun(self, since: FloatArray) -> FloatArray:
        """Weights (n, B) of the states in period 0.

        An outage that cannot be there then, but is seen all the same, began before: it has lasted for ``since`` (B,)
        periods, or has ended and the ramp is under way.
        """
        out = np.repeat(self.first[:, None], len(since), axis=1)
        out[(self.share < 1.0) & ~self.down] += _BEFORE * self.failure
        if len(self.lengths):
            past = since.astype(np.int64)
            lengths = np.append(self.lengths, 0.0)
            for m in range(1, len(self.lengths)):
                whole = lengths[np.minimum(past + m, len(self.lengths))]
                out[self.outages + m] += _BEFORE * self.failure * whole
        elif self.failure > 0.0:
            out[self.outages] += _BEFORE * self.failure * (1.0 - self.recovery) ** since
        return np.asarray(out)


def processes(compiled: CompiledNetwork) -> dict[str, Availability]:
    """Every process by name: resources with an availability of their own, then ``cause:`` and a cause's name."""
    network = compiled.network
    own = {name: entry.availability for name, entry in network.resources.items() if entry.availability is not None}
    return own | {f"cause:{name}": entry.availability for name, entry in network.causes.items()}


def mean_outage(entry: Availability, periods: Periods) -> float:
    """Mean length in periods of the outages of a process, of those kinds of them that last longest; 0 without any."""
    found = [0.0]
    if entry.failure > 0.0 and entry.recovery is not None:
        found.append(1.0 / entry.recovery)
    if entry.failure > 0.0 and entry.duration is not None:
        found.append(_mean(_law(entry.duration, periods(entry.duration_unit), 1)))
    found += [_mean(_law(window.duration, periods(window.unit), 1)) for window in entry.windows]
    return max(found)


def _mean(law: FloatArray) -> float:
    return float(law @ np.arange(len(law)))


def hidden_states(entry: Availability, periods: Periods) -> tuple[Hidden, ...]:
    """The chains of a process; none where nothing ever takes it down."""
    drawn: list[tuple[FloatArray, FloatArray]] = []
    fixed: list[tuple[FloatArray, FloatArray]] = []
    for window in entry.windows:
        start, lengths = _law(window.start, periods(window.unit)), _law(window.duration, periods(window.unit), 1)
        (fixed if start.max() == lengths.max() == 1.0 else drawn).append((start, lengths))
    found = [_failures(entry, periods)] if entry.failure > 0.0 else []
    found += [_window(entry, *laws) for laws in drawn]
    if fixed:
        found.append(_calendar(entry, [(int(start.argmax()), int(lengths.argmax())) for start, lengths in fixed]))
    return tuple(found)


def _law(law: Distribution, per_period: float, least: int = 0) -> FloatArray:
    """Probabilities of 0, 1, 2, ... periods; what is below ``least`` counts as that many."""
    out = np.diff(period_table(law, per_period), prepend=0.0)
    if len(out) <= least:
        out = np.append(out, np.zeros(least + 1 - len(out)))
    out[least] += out[:least].sum()
    out[:least] = 0.0
    return out


def _ahead(entry: Availability) -> int:
    return entry.warning.ahead if entry.warning is not None else 0


def _risen(entry: Availability) -> FloatArray:
    """Share of capacity 0, 1, 2, ... periods after an outage has ended; the last one is 1."""
    down, steps = entry.share_when_down, max(entry.ramp, 1)
    return down + (1.0 - down) * np.arange(1, steps + 1) / steps


def _failures(entry: Availability, periods: Periods) -> Hidden:
    """Random failures. States: up, by periods since recovery and until an announced failure; then outages."""
    risen, ahead, failure = _risen(entry), _ahead(entry), entry.failure
    recovery = 1.0 if entry.recovery is None else entry.recovery
    lengths = np.zeros(0) if entry.duration is None else _law(entry.duration, periods(entry.duration_unit), 1)
    ups = len(risen) * (ahead + 1)
    n = ups + max(len(lengths), 1)
    up = np.arange(ups).reshape(len(risen), ahead + 1)
    struck = np.zeros(n)
    struck[ups:] = lengths if len(lengths) else 1.0
    following = np.zeros((n, n))
    for e, states in enumerate(up):
        later = up[min(e + 1, len(risen) - 1)]
        following[later[0], states[0]] = 1.0 - failure
        if ahead:
            following[later[ahead], states[0]] = failure
            following[:, states[1]] = struck
            following[later[1:ahead], states[2:]] = 1.0
        else:
            following[:, states[0]] += failure * struck
    if len(lengths):
        following[up[0, 0], ups + 1] = 1.0
        following[np.arange(ups + 1, n - 1), np.arange(ups + 2, n)] = 1.0
        following[ups, ups] = 1.0  # an outage of no length, which never happens
    else:
        following[up[0, 0], ups], following[ups, ups] = recovery, 1.0 - recovery
    first, announced = np.zeros(n), np.zeros(n, dtype=np.bool_)
    first[up[-1, 0]] = 1.0
    if ahead:
        announced[up[:, ahead]] = True
    share = np.append(np.repeat(risen, ahead + 1), np.full(n - ups, entry.share_when_down))
    return Hidden(share, np.arange(n) >= ups, announced, following, first, failure, ups, lengths, recovery)


def _window(entry: Availability, start: FloatArray, lengths: FloatArray) -> Hidden:
    """A window whose time is drawn. States: over, 1, 2, ... periods until it begins; outages; then the ramp."""
    risen, waiting = _risen(entry)[:-1], len(start)
    n = waiting + len(lengths) + len(risen)
    ramp = waiting + len(lengths)
    struck, following = np.zeros(n), np.zeros((n, n))
    struck[waiting:ramp] = lengths
    following[0, 0] = 1.0
    following[np.arange(1, waiting - 1), np.arange(2, waiting)] = 1.0
    if waiting > 1:
        following[:, 1] = struck
    following[waiting, waiting] = 1.0  # a window of no length, which never happens
    following[ramp if len(risen) else 0, waiting + 1] = 1.0
    following[np.arange(waiting + 1, ramp - 1), np.arange(waiting + 2, ramp)] = 1.0
    for e in range(len(risen)):
        following[ramp + e + 1 if e + 1 < len(risen) else 0, ramp + e] = 1.0
    first = start[0] * struck
    first[1:waiting] = start[1:]
    share, down, announced = np.ones(n), np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    share[waiting:ramp], share[ramp:] = entry.share_when_down, risen
    down[waiting:ramp] = True
    if 0 < _ahead(entry) < waiting:
        announced[_ahead(entry)] = True
    return Hidden(share, down, announced, following, first, 0.0, waiting, lengths, 1.0)


def _calendar(entry: Availability, windows: Sequence[tuple[int, int]]) -> Hidden:
    """Windows (start, length) whose times are known. States: the periods of the episode until all is over."""
    risen, ahead = _risen(entry), _ahead(entry)
    n = max(start + length for start, length in windows) + len(risen)
    down, announced = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    for start, length in windows:
        down[start : start + length] = True
        if 0 < ahead <= start:
            announced[start - ahead] = True
    share = np.where(down, entry.share_when_down, 1.0)
    for end in (t + 1 for t, (now, later) in enumerate(pairwise(down)) if now and not later):
        after = share[end : end + len(risen)]
        after[:] = np.where(down[end : end + len(risen)], after, risen[: len(after)])
    following = np.diag(np.ones(n - 1), -1)
    following[-1, -1] = 1.0
    first = np.zeros(n)
    first[0] = 1.0
    return Hidden(share, down, announced, following, first, 0.0, 0, np.zeros(0), 1.0)
