"""Exogenous draws as a function of (seed, stream, entity, replica, episode, period).

Uniform numbers come from the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random
numbers: as easy as 1, 2, 3", SC 2011): key = seed, counter = (period, replica, episode, stream and entity pair). A
draw is the quantile of its uniform number. So a replica's numbers do not depend on the batch it runs in, on the length
of a block, or on any action.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin.compile import RECEIVE_DEMAND_ORDER, CompiledNetwork
from twin.distributions import Distribution, Empirical, Fixed, IntegerDistribution
from twin.state import TwinState

__all__ = ["AVAILABILITY", "DEMAND", "LEAD_TIME", "DrawAhead", "Draws", "Tape", "philox", "uniforms"]

FloatArray = NDArray[np.float64]

#: Stream numbers. A new stream gets a new number; these never change, or recorded runs would.
DEMAND, LEAD_TIME, AVAILABILITY, PRICE, INITIAL_STATE = 0, 1, 2, 3, 4

_GUIDE = 256  # entries of a guide table: a search starts at most a few steps from its answer


class Draws(NamedTuple):
    """Draws of T consecutive periods for B replicas."""

    demand: FloatArray  # (T, D, B) units
    lead_time: NDArray[np.int32]  # (T, A, B) periods; arcs with a fixed lead time are not filled
    availability: FloatArray  # (T, R, B) share, of the period AFTER each

    def period(self, t: int) -> Draws:
        """The draws of the t-th period alone, still with a time axis of length 1."""
        return Draws(self.demand[t : t + 1], self.lead_time[t : t + 1], self.availability[t : t + 1])


@njit(cache=True, inline="always")
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Ten rounds of Philox4x32. All arguments and results are 32-bit words held in uint64."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        n0 = (p1 >> shift) ^ c1 ^ k0
        n2 = (p0 >> shift) ^ c3 ^ k1
        c1 = p1 & mask
        c3 = p0 & mask
        c0 = n0
        c2 = n2
        k0 = (k0 + np.uint64(0x9E3779B9)) & mask
        k1 = (k1 + np.uint64(0xBB67AE85)) & mask
    return c0, c1, c2, c3


@njit(cache=True, inline="always")
def _to_unit(high, low):  # type: ignore[no-untyped-def]
    """Two 32-bit words as a double strictly between 0 and 1 (52 bits and a half step)."""
    bits = (high << np.uint64(20)) | (low >> np.uint64(12))
    return (np.float64(bits) + 0.5) * (1.0 / 4503599627370496.0)


@njit(cache=True, nogil=True)
def _fill_uniform(out, seed, replica, episode, period, offset, stream, entities):  # type: ignore[no-untyped-def]
    """Fill out[t, entities[e], b] with uniforms; entities 2j and 2j + 1 share one Philox call."""
    steps, _, replicas = out.shape
    shift, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    top = np.uint64(stream) << np.uint64(28)
    n = len(entities)
    e = 0
    while e < n:
        first = entities[e]
        both = e + 1 < n and first % 2 == 0 and entities[e + 1] == first + 1
        c3 = top | np.uint64(first // 2)
        for t in range(steps):
            for b in range(replicas):
                c0 = np.uint64(period[b] + offset + t) & mask
                w0, w1, w2, w3 = philox(
                    c0, np.uint64(replica[b]), np.uint64(episode[b]), c3, seed[b] & mask, seed[b] >> shift
                )
                if first % 2 == 0:
                    out[t, first, b] = _to_unit(w0, w1)
                else:
                    out[t, first, b] = _to_unit(w2, w3)
                if both:
                    out[t, first + 1, b] = _to_unit(w2, w3)
        e += 2 if both else 1


@njit(cache=True, nogil=True)
def _look_up(out, source, period, offset, entities, tables):  # type: ignore[no-untyped-def]
    """Replace uniforms by table quantiles: the smallest value whose cumulative probability is at least u."""
    steps, _, replicas = out.shape
    for j in range(len(entities)):
        e = entities[j]
        first, seasons, length = tables.first[j], tables.seasons[j], tables.length[j]
        for t in range(steps):
            for b in range(replicas):
                table = first
                if seasons > 1:
                    table += ((period[b] + offset + t) // length) % seasons
                start = tables.ptr[table]
                if tables.ptr[table + 1] == start:
                    continue  # a season without a table: its quantile is computed
                u = source[t, e, b]
                i = start + tables.guide[table, int(u * 256.0)]
                while tables.cumulative[i] < u:
                    i += 1
                out[t, e, b] = tables.value[i]


@njit(cache=True, nogil=True)
def _markov(out, start, failure, recovery, share):  # type: ignore[no-untyped-def]
    """Turn uniforms into an up/down path: up (1) fails when u < failure, down recovers when u < recovery."""
    steps, resources, replicas = out.shape
    for r in range(resources):
        if share[r] == 1.0:  # never fails
            for t in range(steps):
                for b in range(replicas):
                    out[t, r, b] = start[r, b]
            continue
        for b in range(replicas):
            up = start[r, b] == 1.0
            for t in range(steps):
                u = out[t, r, b]
                up = u >= failure[r] if up else u < recovery[r]
                out[t, r, b] = 1.0 if up else share[r]


class _Tables(NamedTuple):
    """Tabulated quantiles of several entities, one table per season; a table of length 0 is computed instead.

    Entity j owns tables ``first[j]`` to ``first[j] + seasons[j] - 1``, each in force for ``length[j]`` periods; table k
    is ``cumulative[ptr[k]:ptr[k + 1]]`` with its values, and ``guide`` says where in it to start looking.
    """

    first: NDArray[np.int64]
    seasons: NDArray[np.int64]
    length: NDArray[np.int64]
    ptr: NDArray[np.int64]
    cumulative: FloatArray
    value: FloatArray
    guide: NDArray[np.int64]


class Tape:
    """Draws for a compiled network.

    Parameters
    ----------
    compiled
        The network.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        self.compiled = compiled
        #: Whether a step's demand is that of its own period (0) or, where demand comes before orders, the next (1).
        self.demand_offset = 1 if compiled.topology.phase_order == RECEIVE_DEMAND_ORDER else 0
        seasons = compiled.demand_distributions
        self._demands = _indices(not all(isinstance(s, Fixed) for s in entry) for entry in seasons)
        self._demand_tables = _tables(
            [[_points(s) for s in seasons[d]] for d in self._demands],
            [int(compiled.demand_periods_per_season[d]) for d in self._demands],
        )
        self._computed = _indices(not all(_is_tabulated(s) for s in entry) for entry in seasons)
        self._arcs = np.flatnonzero(compiled.topology.arc_fixed_lead < 0).astype(np.int64)
        lead = [compiled.lead_tables[a] for a in self._arcs]
        self._lead_tables = _tables([[(np.arange(len(t), dtype=np.float64), t)] for t in lead], [1] * len(lead))
        self._resources = np.flatnonzero(compiled.resource_share_when_down < 1.0).astype(np.int64)

    def demand(self, state: TwinState, periods: int, *, offset: int = 0) -> FloatArray:
        """Demand of ``periods`` periods from each replica's own period plus ``offset``. Shape (T, D, B), units."""
        compiled, replicas = self.compiled, state.replicas
        out = np.empty((periods, compiled.n_demands, replicas))
        if len(self._demands):
            _fill_uniform(out, state.seed, state.replica, state.episode, state.period, offset, DEMAND, self._demands)
            _look_up(out, out, state.period, offset, self._demands, self._demand_tables)
        for d in self._computed:
            self._compute(out[:, d], state, offset, int(d))
        return out

    def _compute(self, out: FloatArray, state: TwinState, offset: int, d: int) -> None:
        """Quantiles of a stream that has no table, in place. ``out`` has shape (T, B)."""
        seasons = self.compiled.demand_distributions[d]
        first = seasons[0]
        # Seasons of such a law differ by a factor only, so one call serves all of them.
        fixed = isinstance(first, Fixed)
        out[...] = 1.0 if fixed else first.quantile(out)
        scale = np.array([season.mean_value / (1.0 if fixed else first.mean_value) for season in seasons])
        calendar = state.period[None, :] + offset + np.arange(out.shape[0])[:, None]
        out *= scale[self.compiled.season(d, calendar)]

    def block(self, state: TwinState, periods: int) -> Draws:
        """All draws that ``periods`` steps from ``state`` need.

        Parameters
        ----------
        state
            Where each replica stands; not changed.
        periods
            Number of steps T.

        Returns
        -------
        Draws
        """
        demand = self.demand(state, periods, offset=self.demand_offset)
        return Draws(demand, self.lead_time(state, periods), self.availability(state, periods))

    def lead_time(self, state: TwinState, periods: int) -> NDArray[np.int32]:
        """Lead times of what ships in ``periods`` periods, shape (T, A, B); arcs with a fixed one are not filled."""
        compiled, replicas = self.compiled, state.replicas
        lead = np.empty((periods, compiled.n_arcs, replicas), dtype=np.int32)
        if len(self._arcs):
            uniform = np.empty((periods, compiled.n_arcs, replicas))
            clock = (state.seed, state.replica, state.episode, state.period)
            _fill_uniform(uniform, *clock, 0, LEAD_TIME, self._arcs)
            _look_up(lead, uniform, state.period, 0, self._arcs, self._lead_tables)
        return lead

    def availability(self, state: TwinState, periods: int) -> FloatArray:
        """Availability after each of ``periods`` periods, shape (T, R, B); it goes on from the state's."""
        compiled = self.compiled
        availability = np.empty((periods, compiled.n_resources, state.replicas))
        if compiled.n_resources:
            if len(self._resources):
                clock = (state.seed, state.replica, state.episode, state.period)
                _fill_uniform(availability, *clock, 1, AVAILABILITY, self._resources)
            _markov(
                availability,
                state.arrays.availability,
                compiled.resource_failure,
                compiled.resource_recovery,
                compiled.resource_share_when_down,
            )
        return availability


class DrawAhead:
    """The draws of one period at a time, made several periods ahead where that is possible.

    Demand and lead times depend on nothing but where a replica stands on its path, so they are drawn in blocks and
    kept; a replica that has moved elsewhere (an episode began) gets its columns drawn anew. Availability goes on from
    the state, which a scenario may have changed, and is drawn period by period.
    """

    #: Periods drawn at a time.
    PERIODS = 16

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._place: NDArray[np.int64] | None = None  # (4, B): where each replica stood at the block's start
        self._at = 0

    def next(self, state: TwinState) -> Draws:
        """The draws of the period that ``state`` is in, with a time axis of length 1."""
        place = _places(state, self._at)
        if self._place is None or self._at == self.PERIODS or self._place.shape != place.shape:
            self._draw(state)
        elif not np.array_equal(place, self._place):
            self._redraw(state, np.flatnonzero((place != self._place).any(axis=0)))
        t = self._at
        self._at += 1
        return Draws(self._demand[t : t + 1], self._lead[t : t + 1], self._tape.availability(state, 1))

    def _draw(self, state: TwinState) -> None:
        self._at = 0
        self._demand = self._tape.demand(state, self.PERIODS, offset=self._tape.demand_offset)
        self._lead = self._tape.lead_time(state, self.PERIODS)
        self._place = _places(state, 0)

    def _redraw(self, state: TwinState, moved: NDArray[np.int64]) -> None:
        if self._place is None or 4 * len(moved) > state.replicas:
            self._draw(state)
            return
        part, left = state.clocks(moved), self.PERIODS - self._at
        self._demand[self._at :, :, moved] = self._tape.demand(part, left, offset=self._tape.demand_offset)
        self._lead[self._at :, :, moved] = self._tape.lead_time(part, left)
        self._place[:, moved] = _places(part, self._at)


def _places(state: TwinState, ago: int) -> NDArray[np.int64]:
    """Where each replica stood on its path ``ago`` periods ago, shape (4, B)."""
    return np.stack([state.seed.view(np.int64), state.replica, state.episode, state.period - ago])


def uniforms(
    seed: int, stream: int, entity: int, replicas: int, periods: int, *, first_replica: int = 0, episode: int = 0
) -> FloatArray:
    """The raw uniform numbers of one entity. Shape (periods, replicas)."""
    out = np.empty((periods, entity + 1, replicas))
    _fill_uniform(
        out,
        np.full(replicas, seed, dtype=np.uint64),
        np.arange(first_replica, first_replica + replicas, dtype=np.uint32),
        np.full(replicas, episode, dtype=np.uint32),
        np.zeros(replicas, dtype=np.int64),
        0,
        stream,
        np.array([entity], dtype=np.int64),
    )
    return np.ascontiguousarray(out[:, entity])


def _is_tabulated(distribution: Distribution) -> bool:
    return isinstance(distribution, (IntegerDistribution, Empirical))


def _indices(chosen: Iterable[bool]) -> NDArray[np.int64]:
    return np.flatnonzero(np.fromiter(chosen, dtype=np.bool_)).astype(np.int64)


def _points(distribution: Distribution) -> tuple[FloatArray, FloatArray]:
    """Values and cumulative probabilities of a tabulated distribution; empty for the others."""
    if isinstance(distribution, Empirical):
        values = np.asarray(distribution.values, dtype=np.float64)
        return values, np.asarray(distribution.cdf(values))
    if isinstance(distribution, IntegerDistribution):
        table = distribution.table
        return distribution.first_value + np.arange(len(table), dtype=np.float64), table
    return np.zeros(0), np.zeros(0)


def _tables(entities: list[list[tuple[FloatArray, FloatArray]]], lengths: list[int]) -> _Tables:
    """Flatten (values, cumulative) pairs: per entity, per season."""
    flat = [pair for seasons in entities for pair in seasons]
    seasons = np.array([len(entry) for entry in entities], dtype=np.int64)
    marks = np.arange(_GUIDE) / _GUIDE
    return _Tables(
        first=(np.cumsum(seasons) - seasons).astype(np.int64),
        seasons=seasons,
        length=np.array(lengths, dtype=np.int64),
        ptr=np.concatenate([[0], np.cumsum([len(values) for values, _ in flat])]).astype(np.int64),
        cumulative=np.concatenate([cumulative for _, cumulative in flat] or [np.zeros(0)]),
        value=np.concatenate([values for values, _ in flat] or [np.zeros(0)]),
        guide=np.array(
            [np.searchsorted(cumulative, marks, side="left") for _, cumulative in flat] or np.zeros((0, _GUIDE)),
            dtype=np.int64,
        ),
    )
