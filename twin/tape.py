"""Exogenous draws as a function of (seed, stream, entity, replica, episode, period).

A draw is the quantile of its uniform number (:mod:`twin.uniforms`). So a replica's numbers do not depend on the batch
it runs in, on the length of a block, or on any action.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import special

from twin.compile import CompiledNetwork
from twin.demand import RandomShock, correlation_matrix
from twin.distributions import Distribution, Empirical, Fixed, IntegerDistribution, Recorded
from twin.outages import Outages, count_since
from twin.periods import period_table
from twin.price_paths import price_paths
from twin.state import TwinState
from twin.topology import RECEIVE_DEMAND_ORDER
from twin.uniforms import AVAILABILITY, DEMAND, HANDLING, LEAD_TIME, SHOCK, fill_uniform

__all__ = ["AVAILABILITY", "DEMAND", "HANDLING", "LEAD_TIME", "DrawAhead", "Draws", "Tape"]

FloatArray = NDArray[np.float64]

#: Weight below which an autocorrelated stream forgets its past.
_FORGOTTEN = 1e-9

_GUIDE = 1024  # entries of a guide table: nearly every search starts at its answer

_LEFT_OUT = np.zeros((1, 0, 0))  # where they follow from availability, see Tape.completed


class Draws(NamedTuple):
    """Draws of T consecutive periods for B replicas."""

    demand: FloatArray  # (T, D, B) units
    lead_time: NDArray[np.int32]  # (T, A, B) periods; arcs with a fixed lead time are not filled
    availability: FloatArray  # (T, R, B) share, of the period AFTER each
    processes: FloatArray = _LEFT_OUT  # (T, rows, B) of twin.state.EXOGENOUS, of the period AFTER each

    def period(self, t: int) -> Draws:
        """The draws of the t-th period alone, still with a time axis of length 1."""
        now = slice(t, t + 1)
        return Draws(self.demand[now], self.lead_time[now], self.availability[now], self.processes[now])

    def repeated(self, times: int) -> Draws:
        """The same draws for ``times`` blocks of replicas, one after another."""
        copies = (1, 1, times)
        return Draws(
            np.tile(self.demand, copies),
            np.tile(self.lead_time, copies),
            np.tile(self.availability, copies),
            np.tile(self.processes, copies),
        )


@njit(cache=True, inline="always")
def _found(u, cumulative, value, guide):  # type: ignore[no-untyped-def]
    """The smallest value whose cumulative probability is at least u."""
    i = np.uint64(guide[np.uint64(u * _GUIDE)])
    while cumulative[i] < u:
        i += np.uint64(1)
    return value[i]


@njit(cache=True, nogil=True)
def _look_up(out, source, period, offset, entities, tables):  # type: ignore[no-untyped-def]
    """Replace uniforms by table quantiles; where a season has no table, its quantile is computed elsewhere."""
    steps, _, replicas = out.shape
    for j in range(len(entities)):
        e = entities[j]
        first, seasons, length = tables.first[j], tables.seasons[j], tables.length[j]
        start, end = tables.ptr[first], tables.ptr[first + 1]
        cumulative, value = tables.cumulative[start:end], tables.value[start:end]
        for t in range(steps):
            if seasons == 1 and start < end:
                for b in range(replicas):
                    out[t, e, b] = _found(source[t, e, b], cumulative, value, tables.guide[first])
            elif seasons > 1:
                for b in range(replicas):
                    table = first + ((period[b] + offset + t) // length) % seasons
                    i, k = tables.ptr[table], tables.ptr[table + 1]
                    if i < k:
                        out[t, e, b] = _found(
                            source[t, e, b], tables.cumulative[i:k], tables.value[i:k], tables.guide[table]
                        )


@njit(cache=True, nogil=True)
def _couple(out, normal, rows, mix, weight):  # type: ignore[no-untyped-def]
    """Correlate standard normals across streams and in time; every number is added up in the same order always.

    ``normal`` (T + K, C, B) begins K periods early; ``mix`` (C, C) is lower triangular; ``weight`` (C, K + 1).
    """
    steps, _, replicas = out.shape
    early = weight.shape[1] - 1
    mixed = np.zeros(normal.shape)
    for t in range(normal.shape[0]):
        for c in range(len(rows)):
            for other in range(c + 1):
                for b in range(replicas):
                    mixed[t, c, b] += mix[c, other] * normal[t, other, b]
    for t in range(steps):
        for c in range(len(rows)):
            for b in range(replicas):
                out[t, rows[c], b] = 0.0
            for k in range(early + 1):
                if weight[c, k] != 0.0:
                    for b in range(replicas):
                        out[t, rows[c], b] += weight[c, k] * mixed[t + early - k, c, b]


@njit(cache=True, nogil=True)
def _latest(out, begins, duration, factor, period, offset):  # type: ignore[no-untyped-def]
    """Factor in each period of the shock that began last among those that still last; 1 where none does.

    ``begins``, ``duration``, ``factor`` (T + K, B) begin K periods before the first of ``out`` (T, B).
    """
    steps, replicas = out.shape
    early = begins.shape[0] - steps
    for t in range(steps):
        for b in range(replicas):
            out[t, b] = 1.0
            for ago in range(min(early, period[b] + offset + t) + 1):
                s = t + early - ago
                if begins[s, b] and duration[s, b] > ago:
                    out[t, b] = factor[s, b]
                    break


@njit(cache=True, nogil=True)
def _markov(out, start, failure, recovery, share, rows, since):  # type: ignore[no-untyped-def]
    """Turn uniforms into an up/down path: up (1) fails when u < failure, down recovers when u < recovery.

    ``rows`` are filled with the periods since it last changed, see :func:`twin.outages.count_since`.
    """
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
    count_since(rows, 0, since, out, start)


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
    guide: NDArray[np.int32]


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
        played = (Fixed, Recorded)
        self._demands = _indices(not all(isinstance(s, played) for s in entry) for entry in seasons)
        self._demand_tables = _tables(
            [[_points(s) for s in seasons[d]] for d in self._demands],
            [int(compiled.demand_periods_per_season[d]) for d in self._demands],
        )
        self._computed = _indices(not all(_is_tabulated(s) for s in entry) for entry in seasons)
        streams = list(compiled.network.demands.values())
        self._moved = _indices(entry.moves or entry.random_shock is not None for entry in streams)
        self._shocked = _indices(entry.random_shock is not None for entry in streams)
        self._coupled, self._mix, self._weight = _coupling(compiled, self._demands)
        drawn = np.flatnonzero(compiled.topology.arc_fixed_lead < 0).astype(np.int64)
        self._series = [int(a) for a in drawn if compiled.lead_series[a] is not None]
        self._arcs = drawn[[compiled.lead_series[a] is None for a in drawn]]
        lead = [compiled.lead_tables[a] for a in self._arcs]
        self._lead_tables = _tables([[(np.arange(len(t), dtype=np.float64), t)] for t in lead], [1] * len(lead))
        self._outages = Outages(compiled.disruptions) if compiled.disruptions is not None else None
        self._prices = compiled.prices.processes or None
        self._rows = compiled.n_exogenous
        self._resources = np.flatnonzero(compiled.resource_share_when_down < 1.0).astype(np.int64)

    @property
    def looks_back(self) -> bool:
        """Whether a draw takes in those of many periods before (memory, shocks), so that single periods are dear."""
        return len(self._coupled) > 0 or len(self._shocked) > 0

    @property
    def opens_alike(self) -> bool:
        """Whether nothing is drawn before the first decision, so that all replicas stand alike at it."""
        return self.demand_offset == 0 and self._outages is None

    def demand(self, state: TwinState, periods: int, *, offset: int = 0) -> FloatArray:
        """Demand of ``periods`` periods from each replica's own period plus ``offset``. Shape (T, D, B), units."""
        compiled, replicas = self.compiled, state.replicas
        out = np.empty((periods, compiled.n_demands, replicas))
        if len(self._demands):
            fill_uniform(out, *_clock(state), offset, DEMAND, self._demands, self._demands)
            if len(self._coupled):
                self._couple(out, state, offset)
            _look_up(out, out, state.period, offset, self._demands, self._demand_tables)
        for d in self._computed:
            self._compute(out[:, d], state, offset, int(d))
        for d in self._moved:
            self._move(out[:, d], state, offset, int(d))
        return out

    def _couple(self, out: FloatArray, state: TwinState, offset: int) -> None:
        """Replace the uniforms of coupled streams by correlated ones, in place. ``out`` has shape (T, D, B)."""
        early, rows = self._weight.shape[1] - 1, np.arange(len(self._coupled))
        uniform = np.empty((out.shape[0] + early, len(rows), state.replicas))
        fill_uniform(uniform, *_clock(state), offset - early, DEMAND, self._coupled, rows)
        _couple(out, special.ndtri(uniform), self._coupled, self._mix, self._weight)
        inside = np.clip(special.ndtr(out[:, self._coupled]), np.finfo(np.float64).tiny, 1.0 - 2.0**-53)
        out[:, self._coupled] = inside

    def _compute(self, out: FloatArray, state: TwinState, offset: int, d: int) -> None:
        """Quantiles of a stream that has no table, in place. ``out`` has shape (T, B)."""
        seasons = self.compiled.demand_distributions[d]
        first = seasons[0]
        calendar = state.period[None, :] + offset + np.arange(out.shape[0])[:, None]
        season = self.compiled.season(d, calendar)
        if isinstance(first, Recorded):
            series = np.array([entry.values for entry in seasons])  # type: ignore[union-attr]
            out[...] = series[season, calendar % series.shape[1]]
            return
        # Seasons of such a law differ by a factor only, so one call serves all of them.
        fixed = isinstance(first, Fixed)
        out[...] = 1.0 if fixed else first.quantile(out)
        scale = np.array([entry.mean_value / (1.0 if fixed else first.mean_value) for entry in seasons])
        out *= scale[season]

    def _move(self, out: FloatArray, state: TwinState, offset: int, d: int) -> None:
        """Trend and shocks of a stream, in place. ``out`` has shape (T, B)."""
        compiled = self.compiled
        entry = compiled.network.demands[compiled.demand_names[d]]
        factor = entry.known_factor(state.period[None, :] + offset + np.arange(out.shape[0])[:, None])
        if entry.random_shock is not None:
            factor = factor * self._shock(entry.random_shock, state, out.shape[0], offset, d)
        out *= factor
        if compiled.topology.demand_integer[d]:
            np.floor(out + 0.5, out=out)

    def _shock(self, shock: RandomShock, state: TwinState, periods: int, offset: int, d: int) -> FloatArray:
        """Factor of the random shocks of a stream. Shape (T, B)."""
        lengths = period_table(shock.duration, self.compiled.network.periods(shock.duration_unit))
        early = max(0, len(lengths) - 2)  # one that began longer ago than this is over
        uniform = np.empty((periods + early, 3, state.replicas))
        entities = 4 * d + np.arange(3)
        fill_uniform(uniform, *_clock(state), offset - early, SHOCK, entities, np.arange(3))
        begins = uniform[:, 0] < shock.probability
        duration = np.searchsorted(lengths, uniform[:, 1], side="left")
        factor = np.zeros(begins.shape)
        factor[begins] = shock.factor.quantile(uniform[:, 2][begins])
        out = np.empty((periods, state.replicas))
        _latest(out, begins, duration, factor, state.period, offset)
        return out

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
        return Draws(demand, self.lead_time(state, periods), *self.exogenous(state, periods))

    def lead_time(self, state: TwinState, periods: int) -> NDArray[np.int32]:
        """Lead times of what ships in ``periods`` periods, shape (T, A, B); arcs with a fixed one are not filled."""
        compiled, replicas = self.compiled, state.replicas
        lead = np.empty((periods, compiled.n_arcs, replicas), dtype=np.int32)
        if len(self._arcs):
            uniform = np.empty((periods, compiled.n_arcs, replicas))
            fill_uniform(uniform, *_clock(state), 0, LEAD_TIME, self._arcs, self._arcs)
            _look_up(lead, uniform, state.period, 0, self._arcs, self._lead_tables)
        for a in self._series:
            series = np.asarray(compiled.lead_series[a])
            lead[:, a] = series[(state.period[None, :] + np.arange(periods)[:, None]) % len(series)]
        return lead

    def begin(self, state: TwinState) -> None:
        """What moves by itself as period 0 finds it, into a state that knows its paths."""
        if self._outages is not None:
            self._outages.begin(state)

    def exogenous(self, state: TwinState, periods: int) -> tuple[FloatArray, FloatArray]:
        """Availability (T, R, B) and the rows of ``EXOGENOUS`` (T, rows, B) after each period, from the state's on."""
        rows = np.empty((periods, self._rows, state.replicas))
        if self._outages is None:
            availability = self._availability(state, periods, rows)
        else:
            availability = self._outages.fill(rows, state)
        if self._prices is not None:
            rows[:, -len(self._prices) :] = price_paths(self._prices, state, periods)
        return availability, rows

    def completed(self, draws: Draws, state: TwinState) -> Draws:
        """Draws with ``processes`` where somebody left them out and they follow from availability alone."""
        listed = len(self.compiled.network.resources)
        if draws.processes.shape[1] == self._rows or self._rows != listed:
            return draws
        since = np.empty((len(draws.availability), listed, state.replicas))
        count_since(since, 0, state.arrays.since, draws.availability, state.arrays.availability)
        return draws._replace(processes=since)

    def _availability(self, state: TwinState, periods: int, rows: FloatArray) -> FloatArray:
        """Availability (T, R, B) after each period of two-state chains; ``since`` goes into ``rows``."""
        compiled, replicas = self.compiled, state.replicas
        availability = np.empty((periods, len(compiled.resource_failure), replicas))
        if availability.size:
            if len(self._resources):
                fill_uniform(availability, *_clock(state), 1, AVAILABILITY, self._resources, self._resources)
            _markov(
                availability,
                state.arrays.availability,
                compiled.resource_failure,
                compiled.resource_recovery,
                compiled.resource_share_when_down,
                rows,
                state.arrays.since,
            )
        return availability


class DrawAhead:
    """The draws of one period at a time, made several periods ahead where that is possible.

    Demand and lead times depend on nothing but where a replica stands on its path, so they are drawn in blocks and
    kept; a replica that has moved elsewhere (an episode began) gets its columns drawn anew. Availability goes on from
    the state, which a scenario may have changed, and is drawn period by period, as is all else that moves by itself.
    """

    #: Most periods drawn at a time, and most columns: many replicas gain nothing and would take memory (unless each
    #: draw looks far back).
    PERIODS, COLUMNS = 16, 4096

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._place: NDArray[np.int64] | None = None  # (4, B): where each replica stood at the block's start
        self._at = 0

    def next(self, state: TwinState) -> Draws:
        """The draws of the period that ``state`` is in, with a time axis of length 1."""
        ahead = min(self.PERIODS, self.COLUMNS // max(1, state.replicas))
        if self._tape.looks_back:
            ahead = self.PERIODS
        if ahead <= 1:
            return self._tape.block(state, 1)
        if self._place is None or self._at == ahead or self._place.shape[1] != state.replicas:
            self._draw(state, ahead)
        elif _any_moved(self._place, self._at, *_clock(state)):
            place = _places(state, self._at)
            self._redraw(state, np.flatnonzero((place != self._place).any(axis=0)), ahead)
        t = self._at
        self._at += 1
        return Draws(self._demand[t : t + 1], self._lead[t : t + 1], *self._tape.exogenous(state, 1))

    def _draw(self, state: TwinState, ahead: int) -> None:
        self._at = 0
        self._demand = self._tape.demand(state, ahead, offset=self._tape.demand_offset)
        self._lead = self._tape.lead_time(state, ahead)
        self._place = _places(state, 0)

    def _redraw(self, state: TwinState, moved: NDArray[np.int64], ahead: int) -> None:
        if self._place is None or 4 * len(moved) > state.replicas:
            self._draw(state, ahead)
            return
        part, left = state.clocks(moved), ahead - self._at
        self._demand[self._at :, :, moved] = self._tape.demand(part, left, offset=self._tape.demand_offset)
        self._lead[self._at :, :, moved] = self._tape.lead_time(part, left)
        self._place[:, moved] = _places(part, self._at)


@njit(cache=True, nogil=True)
def _any_moved(place, ago, seed, replica, episode, period):  # type: ignore[no-untyped-def]
    """Whether a replica does not stand where its path has led since ``place``, ``ago`` periods ago."""
    moved = False
    for b in range(len(seed)):
        moved |= (
            place[0, b] != np.int64(seed[b])
            or place[1, b] != replica[b]
            or place[2, b] != episode[b]
            or place[3, b] + ago != period[b]
        )
    return moved


def _places(state: TwinState, ago: int) -> NDArray[np.int64]:
    """Where each replica stood on its path ``ago`` periods ago, shape (4, B)."""
    return np.stack([state.seed.view(np.int64), state.replica, state.episode, state.period - ago])


def _clock(state: TwinState) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    return state.seed, state.replica, state.episode, state.period


def _coupling(compiled: CompiledNetwork, drawn: NDArray[np.int64]) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Streams that are correlated in time or with others, the factor that mixes them, and their weights in time."""
    network, names = compiled.network, compiled.demand_names
    linked = {name for entry in network.correlations for name in entry.streams}
    coupled = [int(d) for d in drawn if names[d] in linked or network.demands[names[d]].autocorrelation != 0.0]
    correlation = correlation_matrix(network.correlations, {names[d]: network.demands[names[d]] for d in coupled})
    rates = [network.demands[names[d]].autocorrelation for d in coupled]
    early = max([0, *(int(np.ceil(np.log(_FORGOTTEN) / np.log(abs(rate)))) for rate in rates if rate != 0.0)])
    weight = np.array([[rate**k if abs(rate) ** k >= _FORGOTTEN else 0.0 for k in range(early + 1)] for rate in rates])
    weight = weight.reshape(len(coupled), early + 1)
    weight /= np.sqrt((weight**2).sum(axis=1, keepdims=True))
    return np.array(coupled, dtype=np.int64), np.asarray(np.linalg.cholesky(correlation), dtype=np.float64), weight


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
            dtype=np.int32,
        ),
    )
