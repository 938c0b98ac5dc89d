"""Contracts and prices in the hindsight program: which share of a contract is active when, and what a unit costs.

Shares in [0, 1] flow from stage to stage as docs/model.md, "Suppliers under contract", says: one move a period, and
what begins to be qualified may be activated as many steps later as that takes, at least one. So they are a mix of
sequences of moves, with costs and capacity in proportion, the ramp included. Relaxed is, besides mixing:

- a supplier ships at most its active share of what its contract, its arcs and the resources that they use allow; where
  all of these are without limit, a contract that has been activated in part ships anything;
- where nothing that limits a contract is shared with others, what is ordered to reach its minimum ships; elsewhere an
  order may be placed that never ships;
- a contract with an arc whose orders spend time in the mail has no minimum;
- what waits at a source while its contract is not active may go on waiting while it is;
- a relation may make several moves in a period: one on its contract and any that bring shipments forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.oracles.sparse_rows import SparseRows
from twin.compile import CompiledNetwork
from twin.contracts import STAGES
from twin.tape import Draws

__all__ = ["ContractColumns", "Limits", "unit_costs"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_OUTSIDE, _QUALIFYING, _QUALIFIED, _ACTIVE = range(len(STAGES))

#: What a limit may miss by rounding.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Limits:
    """What the path says of sources, contracts aside.

    Attributes
    ----------
    left
        (T, R) units that each resource gives; infinite for those that stand for contracts.
    most
        (T, A) units that each arc can ship.
    down
        (T, A) whether a resource that the arc uses is down.
    """

    left: FloatArray
    most: FloatArray
    down: BoolArray


def unit_costs(compiled: CompiledNetwork, factor: FloatArray, draws: Draws, path: int, most: FloatArray) -> FloatArray:
    """Least money per unit that ships, (T, A).

    With breaks it is the lowest price in reach: what an arc pays for as much as it can ship, and never less than that a
    unit, so that it is the convex envelope of what shipments cost.

    Parameters
    ----------
    factor
        (K,) factors in force at the first step. Where the draws have no prices, these stay in force.
    most
        (T, A) units that each arc can ship.
    """
    rules, periods = compiled.prices.rules, len(most)
    out = np.repeat(compiled.topology.arc_unit_cost[None], periods, axis=0)
    moving = np.repeat(factor[None], periods, axis=0)
    if len(factor) and draws.processes.shape[1]:
        moving[1:] = draws.processes[: periods - 1, -len(factor) :, path]
    for m, (a, row) in enumerate(zip(rules.arc, rules.arc_row, strict=True)):
        for k in range(rules.break_ptr[m], rules.break_ptr[m + 1]):
            out[most[:, a] >= rules.break_start[k] * (1.0 - _SLACK), a] = rules.break_price[k]
        if row >= 0:
            out[:, a] *= moving[:, row]
    return out


class ContractColumns:
    """One contract: its columns and the rows that they are in.

    The active share is kept by age: what has been active from the start on, then what was activated j = 1, ..., J steps
    ago, the last being all that is older. J is so large that nothing older works at more of the capacity.

    Attributes
    ----------
    arcs
        Arcs of the supplier.
    earliest
        First step in which it can be active.
    begun, activated, idle
        (T,) columns: share whose qualification begins, that is activated, that is qualified and stays so.
    stays, ended
        (T, 1 + J) columns: share by age that stays active, that is deactivated.
    short
        (T,) columns: units ordered below the minimum.
    active
        (T, 2 + J) columns that together are the active share: what was activated now, and what stays.
    works
        (T, 2 + J) share of the capacity that each of these works at.
    columns
        How many columns there are.

    Parameters
    ----------
    compiled, number
        The network, and which of its contracts.
    stage, clock
        Where it stands at the first step.
    horizon
        Steps T.
    first
        Number of its first column.
    moves
        Whether moves are made on it; else it stays as it is.
    """

    def __init__(
        self, compiled: CompiledNetwork, number: int, stage: int, clock: int, horizon: int, first: int, *, moves: bool
    ) -> None:
        self._top, self._rules, self._number = compiled.topology, compiled.relations.rules, number
        rules, relation = self._rules, compiled.relations.rules.relation[number]
        self.arcs: IntArray = rules.arc[rules.arc_ptr[relation] : rules.arc_ptr[relation + 1]]
        self._stage, self._moves = stage, moves
        self._capacity = float(self._top.resource_capacity[rules.resource[number]])
        self._wait = max(int(rules.qualification_periods[number]), 1)
        started = {_OUTSIDE: self._wait, _QUALIFYING: max(clock, 1)}.get(stage, 0)
        self.earliest = started if moves or stage == _ACTIVE else horizon

        ramp = int(rules.ramp[number])
        ages = max(min(ramp, horizon) - 1, 1)
        ends = first + np.cumsum([0, *[horizon] * 4, *[horizon * (1 + ages)] * 2])
        blocks = [np.arange(*ends[k : k + 2]) for k in range(len(ends) - 1)]
        self.begun, self.activated, self.idle, self.short = blocks[:4]
        self.stays, self.ended = (block.reshape(horizon, 1 + ages) for block in blocks[4:])
        self.columns = int(ends[-1]) - first
        self.active: IntArray = np.concatenate([self.activated[:, None], self.stays], axis=1)
        age = np.tile(np.arange(-1, 1 + ages), (horizon, 1))
        age[:, 0], age[:, 1] = 0, clock + np.arange(horizon)
        self.works: FloatArray = np.minimum((age + 1.0) / max(ramp, 1), 1.0)

    def bounds(self, lower: FloatArray, upper: FloatArray, ship: IntArray, reach: IntArray) -> None:
        """Nothing is ordered or ships before it can be active; ``ship`` and ``reach`` (T, A) are columns."""
        if not self._moves:
            for columns in (self.begun, self.activated, self.ended):
                upper[columns] = 0.0
        for a, delay in zip(self.arcs, self._delays, strict=True):
            upper[ship[: self.earliest, a]] = 0.0
            upper[reach[delay : self.earliest + delay, a]] = 0.0
            if not self._top.arc_waits[a]:  # what comes out of the mail while it is not active is refused
                upper[reach[: self.earliest, a]] = 0.0
                lower[reach[:delay, a]] = 0.0

    @property
    def _delays(self) -> list[int]:
        """Periods in the mail, by arc."""
        return [int(np.diff(self._top.mail_ptr[a : a + 2])[0]) for a in self.arcs]

    # -- rows ---------------------------------------------------------------------------------------------------------

    def flow(self, equal: SparseRows, most: SparseRows) -> None:
        """Shares go from stage to stage."""
        horizon = len(self.begun)
        row = most.new(np.array([float(self._stage == _OUTSIDE)]))
        most.add(row, self.begun, 1.0)

        ready = np.zeros(horizon)
        if self._stage in (_QUALIFYING, _QUALIFIED):
            ready[self.earliest : self.earliest + 1] = 1.0
        row = equal.new(ready)
        equal.add(row, self.activated, 1.0)
        equal.add(row, self.idle, 1.0)
        equal.add(row[1:], self.idle[:-1], -1.0)
        equal.add(row[1:, None], self.ended[:-1], -1.0)
        equal.add(row[self._wait :], self.begun[: max(horizon - self._wait, 0)], -1.0)

        running = np.zeros(self.stays.shape)
        running[0, 0] = float(self._stage == _ACTIVE)
        row = equal.new(running)
        equal.add(row, self.stays, 1.0)
        equal.add(row, self.ended, 1.0)
        equal.add(row[1:, 0], self.stays[:-1, 0], -1.0)
        equal.add(row[1:, 1], self.activated[:-1], -1.0)
        equal.add(row[1:, 2:], self.stays[:-1, 1:-1], -1.0)
        equal.add(row[1:, -1], self.stays[:-1, -1], -1.0)

    def limits(self, most: SparseRows, path: Limits, ship: IntArray) -> None:
        """No more ships than the active share of what can."""
        capacity = self._capacity * self.works
        if np.isfinite(self._capacity):
            row = most.new(np.zeros(len(ship)))
            most.add(row[:, None], ship[:, self.arcs], 1.0)
            most.add(row[:, None], self.active, -capacity)
        for a in self.arcs:
            tight = np.flatnonzero(path.most[:, a] < self._capacity)
            row = most.new(np.zeros(len(tight)))
            most.add(row, ship[tight, a], 1.0)
            most.add(row[:, None], self.active[tight], -np.minimum(capacity[tight], path.most[tight, a, None]))
        for a, delay in zip(self.arcs, self._delays, strict=True):
            if delay and not self._top.arc_owes[a]:  # it ships what was ordered so long ago, or nothing
                tight = delay + np.flatnonzero(np.isfinite(path.most[delay:, a]))
                row = most.new(np.zeros(len(tight)))
                most.add(row, ship[tight, a], 1.0)
                most.add(row[:, None], self.active[tight - delay], -path.most[tight, a, None])
        for r, users in self._uses.items():
            if len(users) > 1:  # one alone has had its row
                tight = np.flatnonzero(np.isfinite(path.left[:, r]))
                row = most.new(np.zeros(len(tight)))
                for a, coefficient in users.items():
                    most.add(row, ship[tight, a], coefficient)
                most.add(row[:, None], self.active[tight], -path.left[tight, r, None])

    def orders(self, equal: SparseRows, most: SparseRows, path: Limits, reach: IntArray, upper: FloatArray) -> None:
        """No order without the contract: when it is placed and, where it is refused otherwise, when it arrives.

        ``upper`` are the bounds of all columns; those of what is in the mail at the start are what is there.
        """
        for a, delay in zip(self.arcs, self._delays, strict=True):
            waits, largest = self._top.arc_waits[a], self._top.arc_maximum[a]
            if np.isfinite(largest):
                for ago in {0, delay} if not waits else {delay}:
                    row = most.new(np.zeros(max(len(reach) - delay, 0)))
                    most.add(row, reach[delay:, a], 1.0)
                    most.add(row[:, None], self.active[delay - ago : len(reach) - ago], -largest)
            if not waits:
                met = np.flatnonzero(~path.down[:delay, a])
                row = equal.new(np.zeros(len(met)))
                equal.add(row, reach[met, a], 1.0)
                equal.add(row[:, None], self.active[met], -upper[reach[met, a]][:, None])

    def minimum(self, most: SparseRows, path: Limits, ship: IntArray, reach: IntArray) -> None:
        """What is missing to the minimum, while no resource that an arc uses is down."""
        least = float(self._rules.minimum[self._number])
        if least == 0.0 or any(self._delays):
            return
        asked = np.flatnonzero(~path.down[:, self.arcs].any(axis=1))
        for column, amount in ((reach, np.full(self.works.shape, least)), (ship, self._shipped_at_least(least, path))):
            row = most.new(np.zeros(len(asked)))
            most.add(row, self.short[asked], -1.0)
            most.add(row[:, None], column[asked[:, None], self.arcs], -1.0)
            most.add(row[:, None], self.active[asked], amount[asked])

    def _shipped_at_least(self, ordered: float, path: Limits) -> FloatArray:
        """Units that surely ship when so much is ordered on all arcs together, by age, (T, 2 + J).

        Of an order that is smaller by x no more than x less. 0 where others could take what limits the contract.
        """
        top, arcs = self._top, self.arcs
        alone = np.full(len(path.left), np.inf)
        for r, users in self._uses.items():
            if np.isinf(top.resource_capacity[r]):
                continue
            others = set(np.repeat(np.arange(len(top.arc_lot)), np.diff(top.use_ptr))[top.use_resource == r])
            shared = others != set(arcs.tolist()) or len(set(users.values())) > 1
            if shared or (len(arcs) > 1 and top.resource_by_priority[r]):
                return np.zeros(self.works.shape)
            alone = np.minimum(alone, path.left[:, r] / next(iter(users.values())))
        limit = np.minimum(self._capacity * self.works, alone[:, None])
        whole = top.arc_integer[arcs].astype(np.bool_)
        most = np.where(whole, np.floor(top.arc_capacity[arcs] + _SLACK), top.arc_capacity[arcs])
        # Orders are whole; in what is shared out there may be part of a unit, and on each arc.
        if whole.any():
            limit = np.floor(limit + _SLACK) if len(arcs) == 1 else limit - 1.0 - whole.sum()
        # The worst is to order all on the arc that can ship least.
        return np.asarray(np.maximum(np.minimum(limit, min(ordered, float(most.min()))), 0.0))

    @property
    def _uses(self) -> dict[int, dict[int, float]]:
        """Resources of the file that the arcs use: how much of each a unit on an arc takes."""
        top, out = self._top, dict[int, dict[int, float]]()
        for a in self.arcs.tolist():
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                if top.use_resource[j] < self._rules.resource[0]:
                    out.setdefault(int(top.use_resource[j]), {})[a] = float(top.use_coefficient[j])
        return out

    # -- money --------------------------------------------------------------------------------------------------------

    def costs(self) -> Iterator[tuple[IntArray, float]]:
        """Columns and money per unit of each."""
        rules, c = self._rules, self._number
        yield self.begun, float(rules.qualification_cost[c])
        yield self.activated, float(rules.switching_cost[c])
        yield self.ended, float(rules.exit_cost[c])
        yield self.short, float(rules.shortfall_cost[c])
