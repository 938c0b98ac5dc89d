"""The linear program behind :mod:`agents.oracles.hindsight_lp`: columns, rows and costs of one drawn path.

Steps t = 0, ..., T - 1 are those of the twin, from one decision epoch to the next; a receive phase has the number of
the step that it belongs to, and what is on hand at once lands in the one before. Columns, all at least 0:

- per step and arc what reaches the source, ships, is dropped and stays owed;
- per step and stock point what is on hand after shipping and at the next decision epoch, and what perishes;
- per step and stream what is delivered and what stays unmet;
- detours: units that do not land when they were drawn to, because they may not overtake or perish on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twin.economics import COST_TERMS, N_TERMS
from twin.errors import ConfigError
from twin.state import TwinState
from twin.tape import Draws
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND

__all__ = ["Program", "hindsight_program"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_TERM = {term.name: row for row, term in enumerate(COST_TERMS)}


@dataclass(frozen=True, eq=False)
class Program:
    """Choose x between its bounds so that ``equal @ x = equal_to`` and ``most @ x <= at_most``.

    The matrices are made when they are asked for: what differs between two states of a network whose lead times are
    fixed and whose resources never fail is in the right-hand sides and bounds alone.

    Attributes
    ----------
    constant
        (11,) the cost terms of all T periods together are ``terms @ x + constant``, money.
    terminal, terminal_constant
        (N,) and a number: what is left at the end is worth ``terminal @ x + terminal_constant``, money.
    ship, reach, owed, dropped
        (T, A) columns of what ships, what reaches the source, what stays owed and what is not shipped at all.
    keeps
        (T, A) whether what does not ship stays owed.
    owed_at_start
        (A,) units.
    """

    constant: FloatArray
    terminal: FloatArray
    terminal_constant: float
    lower: FloatArray
    upper: FloatArray
    ship: IntArray
    reach: IntArray
    owed: IntArray
    dropped: IntArray
    keeps: BoolArray
    owed_at_start: FloatArray
    _columns: int
    _rows: dict[str, _Rows]

    @cached_property
    def terms(self) -> Any:
        """(11, N) sparse, money."""
        return self._rows["terms"].matrix(self._columns)

    @cached_property
    def equal(self) -> Any:
        """(rows, N) sparse."""
        return self._rows["equal"].matrix(self._columns)

    @cached_property
    def most(self) -> Any:
        """(rows, N) sparse."""
        return self._rows["most"].matrix(self._columns)

    @property
    def equal_to(self) -> FloatArray:
        """Right-hand sides of ``equal``."""
        return self._rows["equal"].right

    @property
    def at_most(self) -> FloatArray:
        """Right-hand sides of ``most``."""
        return self._rows["most"].right


def hindsight_program(state: TwinState, draws: Draws, replica: int, path: int | None = None) -> Program:
    """The program of one replica from its decision epoch on.

    Parameters
    ----------
    state, replica
        Where it begins.
    draws
        What the world does in T steps, as :meth:`twin.tape.Tape.block` gives it for the replicas of ``state``.
    path
        Which of the draws' paths; the replica's own when left out.

    Raises
    ------
    ConfigError
        When a stream has goodwill: what it asks for depends on service, which is not linear.
    """
    top = state.compiled.topology
    if (top.demand_goodwill >= 0).any():
        names = np.array(state.compiled.demand_names)[top.demand_goodwill >= 0]
        raise ConfigError(f"goodwill makes demand depend on service, which is not linear (streams: {', '.join(names)})")
    build = _Builder(state, draws, replica, replica if path is None else path)
    lower, upper = build.bounds()
    equal, most = _Rows(), _Rows()
    build.orders(equal)
    build.stock(equal)
    build.customers(equal)
    build.resources(most)
    build.detoured(most)
    terms, constant = build.costs()
    terminal, terminal_constant = build.terminal()
    return Program(
        constant=constant,
        terminal=terminal,
        terminal_constant=terminal_constant,
        lower=lower,
        upper=upper,
        ship=build.ship,
        reach=build.reach,
        owed=build.owed,
        dropped=build.dropped,
        keeps=build.keeps,
        owed_at_start=build.owed_at_start,
        _columns=build.columns,
        _rows={"terms": terms, "equal": equal, "most": most},
    )


class _Rows:
    """Rows of a sparse matrix and their right-hand sides, while they are made; entries at one place add up."""

    def __init__(self) -> None:
        self._parts: list[tuple[ArrayLike, ...]] = []
        self.right = np.zeros(0)

    def new(self, right: FloatArray) -> IntArray:
        """Numbers of new rows, in the shape of their right-hand sides."""
        rows = len(self.right) + np.arange(right.size)
        self.right = np.concatenate([self.right, right.ravel()])
        return rows.reshape(right.shape)

    def add(self, row: ArrayLike, column: ArrayLike, value: ArrayLike) -> None:
        """Entries; the three are broadcast."""
        self._parts.append((row, column, value))

    def matrix(self, columns: int) -> Any:
        """The matrix, sparse."""
        flat = [[part.ravel() for part in np.broadcast_arrays(*parts)] for parts in self._parts]
        row, column, value = (np.concatenate(parts) for parts in zip(*flat, strict=True))
        return sparse.csr_array((value.astype(np.float64), (row, column)), shape=(len(self.right), columns))


class _Detours(NamedTuple):
    """Ways in which a shipment may fare otherwise than drawn, (J,) each."""

    sent: IntArray  # step of shipment
    arc: IntArray
    drawn: IntArray  # receive phase in which it was drawn to land
    lands: IntArray  # the one in which it does
    perishes: BoolArray  # or never


class _Builder:
    """What the path says, the columns, and the rows that tie them."""

    def __init__(self, state: TwinState, draws: Draws, replica: int, path: int) -> None:
        self.top = top = state.compiled.topology
        self.horizon = draws.demand.shape[0]
        arcs, stocks, streams = len(top.arc_destination), len(top.stock_holding), len(top.demand_stock)
        self.receive_last = top.phase_order != ORDER_RECEIVE_DEMAND  # in a step, after charging
        self.serve_first = top.phase_order == RECEIVE_ORDER_DEMAND  # before charging and receipts
        self.step = np.arange(self.horizon)[:, None]

        self.start = {name: state.logical(name)[:, replica].astype(np.float64) for name in state.arrays._fields}
        self.demand = draws.demand[:, :, path]
        lead = np.where(top.arc_fixed_lead >= 0, top.arc_fixed_lead, draws.lead_time[:, :, path])
        # All receive phases beyond the horizon are one.
        self.landing = np.minimum(self.step + lead - self.receive_last, self.horizon)
        available = np.concatenate([self.start["availability"][None], draws.availability[:-1, :, path]])
        self.left = np.multiply(top.resource_capacity, available, out=np.zeros(available.shape), where=available > 0.0)
        self.user = np.repeat(np.arange(arcs), np.diff(top.use_ptr))
        down = np.zeros((self.horizon, arcs), dtype=np.bool_)
        np.logical_or.at(down, (self.step, self.user), available[:, top.use_resource] == 0.0)
        self.down, self.keeps = down, top.arc_backorders | (top.arc_waits & down)
        self.owed_at_start = np.where(top.arc_owes, self.start["backorders"], 0.0)
        self.carrier = np.repeat(np.arange(arcs), np.diff(top.pipe_ptr))
        self.slot = np.arange(top.pipe_ptr[-1]) - top.pipe_ptr[self.carrier]
        self.detours = self._detours()

        sizes = [arcs] * 4 + [stocks] * 3 + [streams] * 2
        ends = np.cumsum([0, *(self.horizon * size for size in sizes)])
        blocks = (np.arange(*ends[k : k + 2]).reshape(self.horizon, size) for k, size in enumerate(sizes))
        self.reach, self.ship, self.dropped, self.owed, *rest = blocks
        self.after_shipping, self.at_epoch, self.perished, self.delivered, self.unmet = rest
        self.detour = np.arange(ends[-1], ends[-1] + len(self.detours.arc))
        self.columns = int(ends[-1]) + len(self.detour)

    def _detours(self) -> _Detours:
        found = list(self._late()) + list(self._perishing())
        sent, arc, lands, perishes = np.array(found, dtype=np.int64).reshape(-1, 4).T
        return _Detours(sent, arc, self.landing[sent, arc], lands, perishes.astype(np.bool_))

    def _late(self) -> Iterator[tuple[int, int, int, bool]]:
        """Where an arc keeps the order of its shipments, one may land wherever an earlier one may have landed."""
        top = self.top
        for a in np.flatnonzero(~top.arc_crossing & (top.arc_fixed_lead < 0)):
            under_way = (self.carrier == a) & (self.start["pipeline"] > 0.0)
            earlier = {min(int(slot), self.horizon) for slot in self.slot[under_way]}
            for t in range(self.horizon):
                drawn = int(self.landing[t, a])
                yield from ((t, int(a), lands, False) for lands in earlier if lands >= t and lands > drawn)
                earlier.add(drawn)

    def _perishing(self) -> Iterator[tuple[int, int, int, bool]]:
        for a in np.flatnonzero(self.top.arc_life):
            yield from ((t, int(a), self.horizon, True) for t in range(self.horizon))

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Least and most of every column."""
        top = self.top
        lower, upper = np.zeros(self.columns), np.full(self.columns, np.inf)
        upper[self.ship] = top.arc_capacity
        upper[self.reach] = top.arc_maximum
        for a, (first, last) in enumerate(pairwise(top.mail_ptr)):
            posted = self.start["mail"][first:last][: self.horizon]
            lower[self.reach[: len(posted), a]] = upper[self.reach[: len(posted), a]] = posted
        refused = self.reach[self.down & ~top.arc_waits]
        lower[refused] = upper[refused] = 0.0
        # What nothing limits ships all that is asked for.
        free = (np.diff(top.in_ptr) == 0) & (np.diff(top.use_ptr) == 0) & np.isinf(top.arc_capacity)
        upper[self.owed] = np.where(self.keeps & ~free, np.inf, 0.0)
        upper[self.dropped] = np.where(self.keeps | free, 0.0, np.inf)
        upper[self.perished] = np.where(top.stock_life > 0, np.inf, 0.0)
        return lower, upper

    # -- rows ---------------------------------------------------------------------------------------------------------

    def orders(self, equal: _Rows) -> None:
        """What reaches a source or is owed there ships, is dropped or stays owed."""
        right = np.zeros(self.reach.shape)
        right[0] = -self.owed_at_start
        row = equal.new(right)
        equal.add(row, self.reach, 1.0)
        equal.add(row[1:], self.owed[:-1], 1.0)
        for column in (self.ship, self.dropped, self.owed):
            equal.add(row, column, -1.0)

    def stock(self, equal: _Rows) -> None:
        """Stock after shipping, and at the next decision epoch. Neither is negative."""
        top, horizon = self.top, self.horizon
        there, due = np.zeros(self.after_shipping.shape), np.zeros(self.at_epoch.shape)
        there[0] = self.start["on_hand"]
        soon = self.slot < horizon
        np.add.at(due, (self.slot[soon], top.arc_destination[self.carrier[soon]]), self.start["pipeline"][soon])
        shipping, epoch = equal.new(there), equal.new(due)
        equal.add(shipping, self.after_shipping, 1.0)
        equal.add(shipping[1:], self.at_epoch[:-1], -1.0)
        equal.add(epoch, self.at_epoch, 1.0)
        equal.add(epoch, self.after_shipping, -1.0)
        taker = np.repeat(np.arange(self.ship.shape[1]), np.diff(top.in_ptr))
        equal.add(shipping[:, top.in_stock], self.ship[:, taker], top.in_coefficient)
        equal.add((shipping if self.serve_first else epoch)[:, top.demand_stock], self.delivered, 1.0)
        equal.add(shipping if self.receive_last else epoch, self.perished, 1.0)

        def arrive(column: IntArray, sent: IntArray, arc: IntArray, lands: IntArray, share: float) -> None:
            target = top.arc_destination[arc]
            at_once, later = lands < sent, (lands >= sent) & (lands < horizon)
            equal.add(shipping[sent[at_once], target[at_once]], column[at_once], -share)
            equal.add(epoch[lands[later], target[later]], column[later], -share)

        sent, arc = np.indices(self.ship.shape).reshape(2, -1)
        arrive(self.ship.ravel(), sent, arc, self.landing.ravel(), 1.0)
        other = self.detours
        arrive(self.detour, other.sent, other.arc, other.drawn, -1.0)
        arrive(self.detour, other.sent, other.arc, other.lands, 1.0)  # what perishes lands beyond the horizon

    def customers(self, equal: _Rows) -> None:
        """What is asked for or was owed is delivered or stays unmet."""
        owes = self.top.demand_backlogs
        right = self.demand.astype(np.float64)
        right[0] += np.where(owes, self.start["backlog"], 0.0)
        row = equal.new(right)
        equal.add(row, self.delivered, 1.0)
        equal.add(row, self.unmet, 1.0)
        equal.add(row[1:], self.unmet[:-1], np.where(owes, -1.0, 0.0))

    def resources(self, most: _Rows) -> None:
        """No resource gives more than it has."""
        limited = np.isfinite(self.left)
        row = most.new(np.where(limited, self.left, 0.0))
        used = self.top.use_resource
        most.add(row[:, used], self.ship[:, self.user], np.where(limited[:, used], self.top.use_coefficient, 0.0))

    def detoured(self, most: _Rows) -> None:
        """No more takes a detour than ships."""
        row = most.new(np.zeros(self.ship.shape))
        most.add(row, self.ship, -1.0)
        most.add(row[self.detours.sent, self.detours.arc], self.detour, 1.0)

    # -- money --------------------------------------------------------------------------------------------------------

    def costs(self) -> tuple[_Rows, FloatArray]:
        """The cost terms as rows, and what the start has already decided of them, (11,)."""
        top, terms, constant = self.top, _Rows(), np.zeros(N_TERMS)
        terms.new(constant)
        terms.add(_TERM["holding"], self.after_shipping if self.receive_last else self.at_epoch, top.stock_holding)
        terms.add(_TERM["waste"], self.perished, top.stock_waste_cost)
        terms.add(_TERM["backlog"], self.owed, top.arc_backorder_cost)
        terms.add(_TERM["purchase"], self.ship, top.arc_unit_cost)
        terms.add(_TERM["freight"], self.ship, top.arc_freight)
        # A shipment is at most the capacity: its share of the fixed cost is never more than that cost.
        capacity = np.where(top.arc_capacity > 0.0, top.arc_capacity, np.inf)
        terms.add(_TERM["fixed_order"], self.ship, top.arc_fixed / capacity)
        used = top.resource_cost[top.use_resource] * top.use_coefficient
        terms.add(_TERM["resource"], self.ship[:, self.user], used)
        terms.add(_TERM["emissions"], self.ship, top.arc_emission_cost)

        charged = self.horizon
        missed = np.where(top.demand_backlogs, _TERM["backlog"], _TERM["lost_sales"])
        if top.phase_order == RECEIVE_DEMAND_ORDER:  # a step charges the demand phase before it
            charged -= 1
            unmet = np.where(top.demand_backlogs, self.start["backlog"], self.start["lost"])
            np.add.at(constant, missed, top.demand_penalty * unmet)
            constant[_TERM["revenue"]] -= top.demand_price @ self.start["delivered"]
        terms.add(missed, self.unmet[:charged], top.demand_penalty)
        terms.add(_TERM["revenue"], self.delivered[:charged], -top.demand_price)

        rate, other = top.arc_transit_holding, self.detours
        transit = _TERM["transit_holding"]
        terms.add(transit, self.ship, rate * self._charges(self.step, self.landing))
        constant[transit] += rate[self.carrier] * self._charges(0, self.slot) @ self.start["pipeline"]
        longer = np.where(other.perishes, 0, self._charges(other.sent, other.lands))
        terms.add(transit, self.detour, rate[other.arc] * (longer - self._charges(other.sent, other.drawn)))
        waste = top.stock_waste_cost[top.arc_destination[other.arc]]
        terms.add(_TERM["waste"], self.detour, np.where(other.perishes, waste, 0.0))
        return terms, constant

    def _charges(self, sent: int | IntArray, lands: IntArray) -> IntArray:
        """How often a shipment is under way when a period is charged."""
        last = np.minimum(lands if self.receive_last else lands - 1, self.horizon - 1)
        return np.asarray(np.maximum(last - sent + 1, 0))

    def terminal(self) -> tuple[FloatArray, float]:
        """Worth of what is left, per column, and of what was under way at the start and still is."""
        top, other, out = self.top, self.detours, np.zeros(self.columns)
        value = top.stock_terminal[top.arc_destination]
        out[self.at_epoch[-1]] = top.stock_terminal
        if self.receive_last and not self.serve_first:  # the last demand phase comes after the end of the last period
            out[self.delivered[-1]] = top.stock_terminal[top.demand_stock]
        out[self.ship] = value * (self.landing == self.horizon)
        left = (other.lands == self.horizon) & ~other.perishes
        out[self.detour] = value[other.arc] * (left.astype(np.float64) - (other.drawn == self.horizon))
        still = self.slot >= self.horizon
        return out, float(value[self.carrier[still]] @ self.start["pipeline"][still])
