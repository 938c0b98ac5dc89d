"""The linear program behind :mod:`agents.oracles.hindsight_lp`: columns, rows and costs of one drawn path.

Steps t = 0, ..., T - 1 are those of the twin, from one decision epoch to the next; a receive phase has the number of
the step that it belongs to, and what is on hand at once lands in the one before. Columns, all at least 0:

- per step and arc what reaches the source, ships, is dropped and stays owed;
- per step and stock point what is on hand after shipping and at the next decision epoch, and what perishes;
- per step and stream what is delivered and what stays unmet;
- detours: units that do not land when they were drawn to, because they may not overtake, perish on the way or are moved
  forward (:mod:`agents.oracles.hindsight_detours`);
- per step and contract the shares at its stages (:mod:`agents.oracles.hindsight_contracts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from agents.oracles.hindsight_contracts import ContractColumns, Limits, unit_costs
from agents.oracles.hindsight_detours import expediting_of, pulled, sent_otherwise
from agents.oracles.sparse_rows import LinearProgram, SparseRows
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
class Program(LinearProgram):
    """The program of one replica: x between its bounds, and the cost terms are those of a period.

    The matrices are made when they are asked for: what differs between two states of a network whose lead times are
    fixed and whose resources never fail is in the right-hand sides and bounds alone.

    Attributes
    ----------
    constant
        (13,) the cost terms of all T periods together are ``terms @ x + constant``, money.
    terminal, terminal_constant
        (N,) and a number: what is left at the end is worth ``terminal @ x + terminal_constant``, money.
    ship, reach, owed, dropped
        (T, A) columns of what ships, what reaches the source, what stays owed and what is not shipped at all.
    keeps
        (T, A) whether what does not ship stays owed.
    owed_at_start
        (A,) units.
    contracts
        Columns of the shares at their stages.
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
    contracts: tuple[ContractColumns, ...]


def hindsight_program(
    state: TwinState, draws: Draws, replica: int, path: int | None = None, *, moves: bool = True
) -> Program:
    """The program of one replica from its decision epoch on.

    Parameters
    ----------
    state, replica
        Where it begins.
    draws
        What the world does in T steps, as :meth:`twin.tape.Tape.block` gives it for the replicas of ``state``.
    path
        Which of the draws' paths; the replica's own when left out.
    moves
        Whether contracts are moved from stage to stage and shipments forward; else all contracts stay as they are.

    Raises
    ------
    ConfigError
        When a stream has goodwill: what it asks for depends on service, which is not linear.
    """
    top = state.compiled.topology
    if (top.demand_goodwill >= 0).any():
        names = np.array(state.compiled.demand_names)[top.demand_goodwill >= 0]
        raise ConfigError(f"goodwill makes demand depend on service, which is not linear (streams: {', '.join(names)})")
    build = _Builder(state, draws, replica, replica if path is None else path, moves)
    equal, most = SparseRows(), SparseRows()
    build.orders(equal)
    build.stock(equal)
    build.customers(equal)
    build.resources(most)
    build.detoured(most)
    build.agreed(equal, most)
    terms, constant = build.costs()
    terminal, terminal_constant = build.terminal()
    return Program(
        constant=constant,
        terminal=terminal,
        terminal_constant=terminal_constant,
        lower=build.lower,
        upper=build.upper,
        ship=build.ship,
        reach=build.reach,
        owed=build.owed,
        dropped=build.dropped,
        keeps=build.keeps,
        owed_at_start=build.owed_at_start,
        contracts=tuple(build.contracts),
        columns=build.columns,
        rows={"terms": terms, "equal": equal, "most": most},
    )


class _Builder:
    """What the path says, the columns, and the rows that tie them."""

    def __init__(self, state: TwinState, draws: Draws, replica: int, path: int, moves: bool) -> None:
        compiled, rules = state.compiled, state.compiled.relations.rules
        self.top = top = compiled.topology
        self.horizon = draws.demand.shape[0]
        arcs, stocks, streams = len(top.arc_destination), len(top.stock_holding), len(top.demand_stock)
        self.receive_last = top.phase_order != ORDER_RECEIVE_DEMAND  # in a step, after charging
        self.serve_first = top.phase_order == RECEIVE_ORDER_DEMAND  # before charging and receipts
        self.step = np.arange(self.horizon)[:, None]

        self.start = {name: state.logical(name)[:, replica].astype(np.float64) for name in state.arrays._fields}
        self.demand = draws.demand[:, :, path]
        lead = np.where(top.arc_fixed_lead >= 0, top.arc_fixed_lead, draws.lead_time[:, :, path])
        # All receive phases beyond the horizon are one.
        drawn = self.step + lead - self.receive_last
        self.landing = np.minimum(drawn, self.horizon)
        available = np.concatenate([self.start["availability"][None], draws.availability[:-1, :, path]])
        available[:, rules.resource] = 1.0  # what a contract gives depends on its stage
        self.left = np.multiply(top.resource_capacity, available, out=np.zeros(available.shape), where=available > 0.0)
        for r, (first, last) in enumerate(pairwise(top.calendar_ptr.tolist())):
            if last > first:
                period = state.period[replica] + self.step[:, 0]
                self.left[:, r] *= top.calendar_share[first + period % (last - first)]
        self.standing = float(np.where(available == 0.0, top.resource_overhead_down, top.resource_overhead).sum())
        self.left[:, rules.resource] = np.inf
        self.user = np.repeat(np.arange(arcs), np.diff(top.use_ptr))
        down = np.zeros((self.horizon, arcs), dtype=np.bool_)
        np.logical_or.at(down, (self.step, self.user), available[:, top.use_resource] == 0.0)
        self.down, self.keeps = down, top.arc_backorders | (top.arc_waits & down)
        self.owed_at_start = np.where(top.arc_owes, self.start["backorders"], 0.0)
        self.carrier = np.repeat(np.arange(arcs), np.diff(top.pipe_ptr))
        self.slot = np.arange(top.pipe_ptr[-1]) - top.pipe_ptr[self.carrier]
        self.expediting = expediting_of(rules, arcs)
        periods, holds = self.expediting.periods * moves, np.flatnonzero(self.start["pipeline"] > 0.0)
        self.detours = sent_otherwise(top, drawn, self.horizon, periods, holds)
        self.pulled = pulled(top, self.horizon, periods, holds)

        sizes = [arcs] * 4 + [stocks] * 3 + [streams] * 2
        ends = np.cumsum([0, *(self.horizon * size for size in sizes)])
        blocks = (np.arange(*ends[k : k + 2]).reshape(self.horizon, size) for k, size in enumerate(sizes))
        self.reach, self.ship, self.dropped, self.owed, *rest = blocks
        self.after_shipping, self.at_epoch, self.perished, self.delivered, self.unmet = rest
        self.detour, self.pull = np.split(
            ends[-1] + np.arange(len(self.detours.arc) + len(self.pulled.arc)), [len(self.detours.arc)]
        )
        self.columns = int(ends[-1]) + len(self.detour) + len(self.pull)
        self.contracts = []
        for c, (stage, clock) in enumerate(zip(self.start["stage"], self.start["clock"], strict=True)):
            place = (compiled, c, int(stage), int(clock), self.horizon, self.columns)
            self.contracts.append(ContractColumns(*place, moves=moves))
            self.columns += self.contracts[-1].columns
        self.lower, self.upper = self._bounds()
        self.unit_cost = top.arc_unit_cost
        if len(compiled.prices.rules.arc):
            self.unit_cost = unit_costs(compiled, self.start["price"], draws, path, self.limits.most)

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
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
        # What nothing limits ships all that is asked for, if its contract is active.
        agreed = np.zeros(len(top.arc_capacity), dtype=np.bool_)
        for contract in self.contracts:
            agreed[contract.arcs] = True
        free = (np.diff(top.in_ptr) == 0) & (np.diff(top.use_ptr) == agreed) & np.isinf(top.arc_capacity)
        upper[self.owed] = np.where(self.keeps & ~free | agreed & top.arc_owes, np.inf, 0.0)
        upper[self.dropped] = np.where(self.keeps | free, 0.0, np.inf)
        upper[self.perished] = np.where(top.stock_life > 0, np.inf, 0.0)
        for contract in self.contracts:
            contract.bounds(lower, upper, self.ship, self.reach)
        return lower, upper

    @cached_property
    def limits(self) -> Limits:
        """What sources can give, contracts aside."""
        top, most = self.top, np.minimum(self.upper[self.ship], self.top.arc_capacity)
        give = self.left[:, top.use_resource] / top.use_coefficient
        np.minimum.at(most, (self.step, self.user), give)
        ordered = np.where(top.arc_owes, np.inf, self.upper[self.reach])
        return Limits(self.left, np.minimum(most, ordered), self.down)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def orders(self, equal: SparseRows) -> None:
        """What reaches a source or is owed there ships, is dropped or stays owed."""
        right = np.zeros(self.reach.shape)
        right[0] = -self.owed_at_start
        row = equal.new(right)
        equal.add(row, self.reach, 1.0)
        equal.add(row[1:], self.owed[:-1], 1.0)
        for column in (self.ship, self.dropped, self.owed):
            equal.add(row, column, -1.0)

    def stock(self, equal: SparseRows) -> None:
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
        for column, other in ((self.detour, self.detours), (self.pull, self.pulled)):
            arrive(column, other.sent, other.arc, other.drawn, -1.0)
            arrive(column, other.sent, other.arc, other.lands, 1.0)  # what perishes lands beyond the horizon

    def customers(self, equal: SparseRows) -> None:
        """What is asked for or was owed is delivered or stays unmet."""
        owes = self.top.demand_backlogs
        right = self.demand.astype(np.float64)
        right[0] += np.where(owes, self.start["backlog"], 0.0)
        row = equal.new(right)
        equal.add(row, self.delivered, 1.0)
        equal.add(row, self.unmet, 1.0)
        equal.add(row[1:], self.unmet[:-1], np.where(owes, -1.0, 0.0))

    def resources(self, most: SparseRows) -> None:
        """No resource gives more than it has."""
        limited = np.isfinite(self.left)
        row = most.new(np.where(limited, self.left, 0.0))
        used = self.top.use_resource
        most.add(row[:, used], self.ship[:, self.user], np.where(limited[:, used], self.top.use_coefficient, 0.0))

    def detoured(self, most: SparseRows) -> None:
        """No more takes a detour than ships, or is under way at the start."""
        row = most.new(np.zeros(self.ship.shape))
        most.add(row, self.ship, -1.0)
        most.add(row[self.detours.sent, self.detours.arc], self.detour, 1.0)
        holds, place = np.unique(self.pulled.row, return_inverse=True)
        row = most.new(self.start["pipeline"][holds])
        most.add(row[place], self.pull, 1.0)

    def agreed(self, equal: SparseRows, most: SparseRows) -> None:
        """What contracts allow and ask for."""
        for contract in self.contracts:
            contract.flow(equal, most)
            contract.limits(most, self.limits, self.ship)
            contract.orders(equal, most, self.limits, self.reach, self.upper)
            contract.minimum(most, self.limits, self.ship, self.reach)

    # -- money --------------------------------------------------------------------------------------------------------

    def costs(self) -> tuple[SparseRows, FloatArray]:
        """The cost terms as rows, and what the start has already decided of them, (13,)."""
        top, terms, constant = self.top, SparseRows(), np.zeros(N_TERMS)
        terms.new(constant)
        terms.add(_TERM["holding"], self.after_shipping if self.receive_last else self.at_epoch, top.stock_holding)
        terms.add(_TERM["waste"], self.perished, top.stock_waste_cost)
        terms.add(_TERM["backlog"], self.owed, top.arc_backorder_cost)
        terms.add(_TERM["purchase"], self.ship, self.unit_cost)
        terms.add(_TERM["freight"], self.ship, top.arc_freight)
        # A shipment is at most the capacity: its share of the fixed cost is never more than that cost.
        capacity = np.where(top.arc_capacity > 0.0, top.arc_capacity, np.inf)
        terms.add(_TERM["fixed_order"], self.ship, top.arc_fixed / capacity)
        used = top.resource_cost[top.use_resource] * top.use_coefficient
        terms.add(_TERM["resource"], self.ship[:, self.user], used)
        constant[_TERM["resource"]] += self.standing
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

        rate = top.arc_transit_holding
        transit = _TERM["transit_holding"]
        terms.add(transit, self.ship, rate * self._charges(self.step, self.landing))
        constant[transit] += rate[self.carrier] * self._charges(0, self.slot) @ self.start["pipeline"]
        for column, other in ((self.detour, self.detours), (self.pull, self.pulled)):
            longer = np.where(other.perishes, 0, self._charges(other.sent, other.lands))
            terms.add(transit, column, rate[other.arc] * (longer - self._charges(other.sent, other.drawn)))
            waste = top.stock_waste_cost[top.arc_destination[other.arc]]
            terms.add(_TERM["waste"], column, np.where(other.perishes, waste, 0.0))
            moved = other.moves > 0
            fee = self.expediting.cost[other.arc] * other.moves
            terms.add(_TERM["expediting"], column[moved], fee[moved])
        for contract in self.contracts:
            for columns, money in contract.costs():
                terms.add(_TERM["contract"], columns, money)
        return terms, constant

    def _charges(self, sent: int | IntArray, lands: IntArray) -> IntArray:
        """How often a shipment is under way when a period is charged."""
        last = np.minimum(lands if self.receive_last else lands - 1, self.horizon - 1)
        return np.asarray(np.maximum(last - sent + 1, 0))

    def terminal(self) -> tuple[FloatArray, float]:
        """Worth of what is left, per column, and of what was under way at the start and still is."""
        top, out = self.top, np.zeros(self.columns)
        value = top.stock_terminal[top.arc_destination]
        out[self.at_epoch[-1]] = top.stock_terminal
        if self.receive_last and not self.serve_first:  # the last demand phase comes after the end of the last period
            out[self.delivered[-1]] = top.stock_terminal[top.demand_stock]
        out[self.ship] = value * (self.landing == self.horizon)
        for column, other in ((self.detour, self.detours), (self.pull, self.pulled)):
            left = (other.lands == self.horizon) & ~other.perishes
            out[column] = value[other.arc] * (left.astype(np.float64) - (other.drawn == self.horizon))
        still = self.slot >= self.horizon
        return out, float(value[self.carrier[still]] @ self.start["pipeline"][still])
