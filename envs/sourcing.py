"""Choosing among suppliers: who may be ordered from, in which order, and what that comes to in orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.actions import OrderSequence
from twin.contracts import MOVES, STAGES

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork
    from twin.engine import Twin

__all__ = ["Sources", "Supply"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
#: From arcs into a stock point (k,) and what it needs (B,) to orders (k, B).
Split = Callable[[IntArray, FloatArray], FloatArray]

_KEEP, _QUALIFY, _ACTIVATE, _DEACTIVATE = (MOVES.index(name) for name in MOVES[:4])
_OUTSIDE, _QUALIFYING, _QUALIFIED, _ACTIVE = range(len(STAGES))


class Supply(NamedTuple):
    """What a sourcing decision looks at, replicas last.

    Attributes
    ----------
    position
        (A, B) inventory position that each arc's order is decided on.
    availability, since
        (R, B) share of each resource that works, and periods since it last went from all to less or back.
    price
        (K, B) factors on the prices that move.
    stage, clock
        (C, B) of the contracts, see :mod:`twin.contracts`.
    belief
        (N, W) on the outages, see :class:`envs.watcher.Watcher`; no rows where nobody keeps one. With W below B the
        replicas are B / W copies of the same worlds, block by block.
    """

    position: FloatArray
    availability: FloatArray
    since: FloatArray
    price: FloatArray
    stage: FloatArray
    clock: FloatArray
    belief: FloatArray = np.zeros((0, 0))

    @classmethod
    def of(cls, twin: Twin, position: FloatArray, belief: FloatArray | None = None) -> Supply:
        """What a twin at a decision epoch holds, and what is believed of its outages."""
        arrays = twin.state.arrays
        seen = cls(position, arrays.availability, arrays.since, arrays.price, arrays.stage, arrays.clock)
        return seen if belief is None else seen._replace(belief=belief)


class Sources:
    """The arcs into each stock point as choices: what limits them, what a unit costs, which contract they need.

    Attributes
    ----------
    relation_of_contract
        (C,) the relation of each contract.
    contract_of_arc
        (A,) contract that an arc needs, or -1.
    landed
        (A,) money per unit at the list price: price, freight, resources, emissions, holding on the way, and the
        standard cost of what it is made from.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        top, rules = compiled.topology, compiled.relations.rules
        self.sequence = OrderSequence.of(compiled)
        self.stock_names, self.arc_names = compiled.stock_names, compiled.arc_names
        self.relation_names = compiled.relation_names
        self.stocks, self.relations = compiled.n_stocks, len(self.relation_names)
        self.relation_of_contract: IntArray = rules.relation
        self.qualification: IntArray = rules.qualification_periods
        self.ramp: FloatArray = np.maximum(rules.ramp, 1).astype(np.float64)
        # A contract's hidden resource stands behind those of the file.
        listed = len(compiled.network.resources)
        uses = [np.arange(top.use_ptr[a], top.use_ptr[a + 1]) for a in range(compiled.n_arcs)]
        own = [rows[top.use_resource[rows] < listed] for rows in uses]
        self.used: tuple[IntArray, ...] = tuple(top.use_resource[rows] for rows in own)
        #: Per arc, the most that each resource of ``used`` lets it ship in a period when all of it works.
        self.used_limit: tuple[FloatArray, ...] = tuple(
            top.resource_capacity[top.use_resource[rows]] / top.use_coefficient[rows] for rows in own
        )
        self._fails: BoolArray = compiled.resource_share_when_down < 1.0
        self.contract_of_arc: IntArray = np.array(
            [max([-1, *(top.use_resource[rows] - listed)]) for rows in uses], dtype=np.int64
        )
        self.contract_limit: FloatArray = top.resource_capacity[listed:]
        self.price_of_arc: IntArray = np.full(compiled.n_arcs, -1, dtype=np.int64)
        self.price_of_arc[compiled.prices.rules.arc] = compiled.prices.rules.arc_row
        self.waits: BoolArray = np.asarray(top.arc_waits, dtype=np.bool_)
        self.backorders: BoolArray = np.asarray(top.arc_backorders, dtype=np.bool_)
        self.limit: FloatArray = np.minimum(top.arc_capacity, top.arc_maximum)
        self.landed: FloatArray = (
            top.arc_unit_cost + top.arc_freight + top.arc_emission_cost + top.arc_transit_holding * compiled.lead_mean
        )
        user, taker = (np.repeat(np.arange(compiled.n_arcs), np.diff(ptr)) for ptr in (top.use_ptr, top.in_ptr))
        np.add.at(self.landed, user, top.use_coefficient * top.resource_cost[top.use_resource])
        np.add.at(self.landed, taker, top.in_coefficient * compiled.unit_value[top.in_stock])
        self.unit_cost: FloatArray = np.asarray(top.arc_unit_cost)
        self.minimum, self.shortfall_cost = rules.minimum, rules.shortfall_cost
        self.minimum_arc: IntArray = np.array(
            [self._cheapest(np.flatnonzero(self.contract_of_arc == c)) for c in range(len(rules.relation))],
            dtype=np.int64,
        )

    def _cheapest(self, arcs: IntArray) -> int:
        return int(arcs[np.argmin(self.landed[arcs])])

    def share(self, supply: Supply) -> FloatArray:
        """Share of its capacity that works on each arc, contracts aside, (A, B)."""
        out = np.ones(supply.position.shape)
        for a, resources in enumerate(self.used):
            for r in resources:
                np.minimum(out[a], supply.availability[r], out=out[a])
        return out

    def since(self, supply: Supply) -> FloatArray:
        """Periods since each arc was last able to ship all or, while it is, since it has been, (A, B).

        For ever where it uses nothing that fails. While several of the resources that it uses are out, the one that has
        been out for longest counts.
        """
        out = np.full(supply.position.shape, np.inf)
        for a, resources in enumerate(self.used):
            failing = resources[self._fails[resources]]
            if len(failing):
                short, periods = supply.availability[failing] < 1.0, supply.since[failing]
                longest = np.where(short, periods, 0.0).max(axis=0)
                out[a] = np.where(short.any(axis=0), longest, periods.min(axis=0))
        return out

    def after(self, supply: Supply, moves: IntArray) -> tuple[FloatArray, FloatArray]:
        """Stage and clock (C, B) of the contracts after the moves (S, B), before the period runs."""
        stage, clock = supply.stage.copy(), supply.clock.copy()
        decided = moves[self.relation_of_contract]
        begun, activated = (stage == _OUTSIDE) & (decided == _QUALIFY), (stage == _QUALIFIED) & (decided == _ACTIVATE)
        ended = (stage == _ACTIVE) & (decided == _DEACTIVATE)
        wait = np.broadcast_to(self.qualification[:, None], stage.shape)
        stage = np.where(begun, np.where(wait > 0, _QUALIFYING, _QUALIFIED), stage)
        clock = np.where(begun, wait, np.where(activated | ended, 0.0, clock))
        return np.where(activated, _ACTIVE, np.where(ended, _QUALIFIED, stage)).astype(np.float64), clock

    def limits(self, supply: Supply, moves: IntArray) -> FloatArray:
        """The most that is worth ordering on each arc after the moves (S, B), (A, B) units: 0 where it is closed."""
        limit = np.repeat(self.limit[:, None], supply.position.shape[1], axis=1)
        for a, (resources, most) in enumerate(zip(self.used, self.used_limit, strict=True)):
            now = supply.availability[resources]
            down, ships = (now == 0.0).any(axis=0), limit[a].copy()
            for whole, share in zip(most.tolist(), now, strict=True):
                np.minimum(ships, _part(whole, share), out=ships)
            # An order that waits until more can be shipped is worth placing.
            limit[a] = np.where(self.waits[a] & down | self.backorders[a] & ~down, limit[a], ships)
        if len(self.relation_of_contract):
            stage, clock = self.after(supply, moves)
            ramped = np.where(stage == _ACTIVE, np.minimum(1.0, (clock + 1.0) / self.ramp[:, None]), 0.0)
            for a, c in enumerate(self.contract_of_arc.tolist()):
                if c >= 0:
                    np.minimum(limit[a], _part(float(self.contract_limit[c]), ramped[c]), out=limit[a])
        return limit

    def working(self, supply: Supply, limits: FloatArray) -> FloatArray:
        """The limits (A, B), and 0 on arcs that are down into stock points that have others."""
        out, share = limits.copy(), self.share(supply)
        for group in self.sequence.groups:
            if len(group) > 1:
                arcs = np.array(group)
                out[arcs] = np.where(share[arcs] > 0.0, out[arcs], 0.0)
        return out

    def stock_levels(self, levels: FloatArray, replicas: int) -> FloatArray:
        """Levels (I, B) of all stock points from those that are replenished, (n,) or (n, B) in deciding order."""
        out = np.zeros((self.stocks, replicas))
        out[list(self.sequence.destinations)] = levels if levels.ndim == 2 else levels[:, None]
        return out

    def costs(self, supply: Supply) -> FloatArray:
        """Landed cost of a unit at the prices in force, (A, B)."""
        out = np.repeat(self.landed[:, None], supply.position.shape[1], axis=1)
        moved = self.price_of_arc >= 0
        if moved.any():
            out[moved] += self.unit_cost[moved, None] * (supply.price[self.price_of_arc[moved]] - 1.0)
        return out

    def shares(self, orders: FloatArray) -> FloatArray:
        """What part of all orders into its stock point each arc has, (A, B); 0 where nothing is ordered there."""
        out = np.zeros(orders.shape)
        for group in self.sequence.groups:
            arcs = np.array(group)
            total = orders[arcs].sum(axis=0)
            out[arcs] = orders[arcs] / np.where(total > 0.0, total, 1.0)
        return out

    def least(self, supply: Supply, limits: FloatArray) -> FloatArray:
        """What contracts make it worth to order before anything else, (A, B) units.

        The minimum of a contract whose arc is open, where a unit below it costs more than the unit costs above the
        cheapest open arc into the same stock point.
        """
        out = np.zeros(limits.shape)
        asked = np.flatnonzero(self.minimum > 0.0)
        if not len(asked):
            return out
        costs = np.where(limits > 0.0, self.costs(supply), np.inf)
        beside = {a: np.array(group) for group in self.sequence.groups for a in group}
        for c in asked:
            a = int(self.minimum_arc[c])
            dearer = costs[a] - costs[beside[a]].min(axis=0)
            with np.errstate(invalid="ignore"):
                worth = dearer < self.shortfall_cost[c]
            out[a] = np.where(worth, np.minimum(self.minimum[c], limits[a]), 0.0)
        return out

    def toward(self, supply: Supply, wanted: BoolArray) -> IntArray:
        """Moves (S, B) that bring every contract nearer to active where it is ``wanted`` (C, B), and out where not."""
        moves = np.full((self.relations, supply.position.shape[1]), _KEEP, dtype=np.int64)
        forward = np.where(supply.stage == _OUTSIDE, _QUALIFY, np.where(supply.stage == _QUALIFIED, _ACTIVATE, _KEEP))
        back = np.where(supply.stage == _ACTIVE, _DEACTIVATE, _KEEP)
        moves[self.relation_of_contract] = np.where(wanted, forward, back)
        return moves

    def in_turn(self, levels: FloatArray, supply: Supply, limits: FloatArray, rank: FloatArray) -> FloatArray:
        """Orders that raise every stock point's whole position to its level, arcs of the lowest rank first.

        Parameters
        ----------
        levels
            (I, B) units.
        limits
            (A, B) most units on each arc.
        rank
            (A, B): arcs into a stock point are filled up to their limits in this order.

        Returns
        -------
        ndarray, shape (A, B), units
        """

        def split(arcs: IntArray, need: FloatArray) -> FloatArray:
            order = np.argsort(rank[arcs], axis=0, kind="stable")
            room = np.take_along_axis(limits[arcs], order, axis=0)
            before = np.concatenate([np.zeros((1, room.shape[1])), np.cumsum(room[:-1], axis=0)])
            given: FloatArray = np.clip(need - before, 0.0, room)
            out = np.empty_like(given)
            np.put_along_axis(out, order, given, axis=0)
            return out

        return self._decided(levels, supply, split)

    def mixed(self, levels: FloatArray, supply: Supply, limits: FloatArray, weights: FloatArray) -> FloatArray:
        """Orders as :meth:`in_turn`, each need split by weights (A, B) of at least 0.

        What an arc cannot take goes to the others, by their weights; where all weights of open arcs are 0, nothing is
        ordered.
        """

        def split(arcs: IntArray, need: FloatArray) -> FloatArray:
            room, given = limits[arcs], np.zeros((len(arcs), need.shape[0]))
            for _ in range(len(arcs)):
                free = room - given > 0.0
                weight = np.where(free, weights[arcs], 0.0)
                total = weight.sum(axis=0)
                left = need - given.sum(axis=0)
                part = np.where(total > 0.0, weight / np.where(total > 0.0, total, 1.0), 0.0) * np.maximum(left, 0.0)
                given = np.minimum(given + part, room)
            return given

        return self._decided(levels, supply, split)

    def _decided(self, levels: FloatArray, supply: Supply, split: Split) -> FloatArray:
        """Stock points downstream first, each counting what those it feeds have just ordered from it."""
        orders = np.zeros(supply.position.shape)
        drawn = np.zeros((self.stocks, supply.position.shape[1]))
        for group, i in zip(self.sequence.groups, self.sequence.destinations, strict=True):
            arcs = np.array(group)
            # The farthest arc's position counts all that is under way.
            need = np.maximum(levels[i] - (supply.position[arcs[-1]] - drawn[i]), 0.0)
            orders[arcs] = split(arcs, need)
            for a in group:
                for source, coefficient in self.sequence.inputs[a]:
                    drawn[source] += coefficient * orders[a]
        return orders


def _part(whole: float, share: FloatArray) -> FloatArray:
    """A share (B,) of what may have no limit, units: no limit either, unless the share is 0."""
    return np.asarray(np.where(share > 0.0, whole, 0.0) if np.isinf(whole) else whole * share)
