"""The numbers of one replica that phases move: stock and its layers, what is owed, goodwill, costs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.economics import N_TERMS
from twin.state import EXOGENOUS, RINGS, StateArrays, TwinState
from twin.topology import Topology

__all__ = ["Ledger", "Sale", "plain"]

#: Cost terms in the order of twin.economics.COST_TERMS.
_HOLDING, _TRANSIT, _BACKLOG, _LOST, _PURCHASE, _FREIGHT, _FIXED, _RESOURCE, _EMISSIONS, _REVENUE, _WASTE = range(11)

#: Arrays of a state that are kept as they are; the others (pipelines, mail) follow from shipments and orders, or the
#: tape moves them.
_KEPT = tuple(name for name in StateArrays._fields if name not in (*RINGS, *EXOGENOUS))


def plain(topology: Topology) -> Any:
    """A topology of lists: single numbers are read from them much faster than from arrays."""
    lists: list[Any] = [value.tolist() if isinstance(value, np.ndarray) else value for value in topology]
    return Topology(*lists)


class Sale(NamedTuple):
    """What one stream of demand came to in a period, in units."""

    late: float
    served: float
    short: float


class Ledger:
    """One replica of a :class:`twin.state.StateArrays`, as lists of numbers. Attributes are named as there.

    ``perished`` holds, per stock point, units that perished after they arrived and before they were stock; the end of
    the period counts them as wasted.
    """

    def __init__(self, top: Any, state: TwinState) -> None:
        self._top = top
        self.on_hand: list[float]
        self.in_transit: list[float]
        self.backorders: list[float]
        self.backlog: list[float]
        self.availability: list[float]
        self.demand: list[float]
        self.served: list[float]
        self.lost: list[float]
        self.delivered: list[float]
        self.shipped: list[float]
        self.goodwill: list[float]
        self.layers: list[float]
        self.wasted: list[float]
        self.stage: list[float]
        self.clock: list[float]
        self.on_time: list[float]
        for name in _KEPT:
            setattr(self, name, getattr(state.arrays, name)[:, 0].tolist())
        self.perished = [0.0] * len(self.on_hand)

    def write(self, state: TwinState) -> None:
        """Put these numbers into a state of one replica."""
        for name in _KEPT:
            getattr(state.arrays, name)[:, 0] = getattr(self, name)

    def put_layer(self, i: int, life: int, units: float) -> None:
        """Add to the layer of what arrives at a stock point with this life."""
        self.layers[self._top.entry_layer[self._top.entry_ptr[i] + life - 1]] += units

    def put_fresh(self, i: int, units: float) -> None:
        """Units that arrive with their full life, where the product perishes."""
        self.on_hand[i] += units
        if self._top.stock_life[i]:
            self.put_layer(i, self._top.stock_life[i], units)

    def issue(self, i: int, amount: float) -> list[tuple[int, float]]:
        """Take units out of the layers of a stock point, in the order in which they leave; (life, units) of each."""
        gone = []
        for row in range(self._top.layer_ptr[i], self._top.layer_ptr[i + 1]):
            if amount <= 0.0:
                break
            take = min(self.layers[row], amount)
            if take > 0.0:
                self.layers[row] -= take
                amount -= take
                gone.append((self._top.layer_life[row], take))
        return gone

    def sell(self, d: int, drawn: float) -> Sale:
        """Serve a stream of demand: old backlog, then new demand."""
        top = self._top
        i, g, asked = top.demand_stock[d], top.demand_goodwill[d], drawn
        if g >= 0:
            asked = self.goodwill[g] * drawn
            asked = float(math.floor(asked + 0.5)) if top.demand_integer[d] else asked
        there, owed = self.on_hand[i], self.backlog[d]
        late = min(there, owed)
        served = min(there - late, asked)
        short = asked - served
        self.on_hand[i] = there - late - served
        self.issue(i, late + served)
        self.demand[d], self.served[d], self.delivered[d] = asked, served, late + served
        backlogs = top.demand_backlogs[d]
        self.backlog[d] = owed - late + (short if backlogs else 0.0)
        self.lost[d] = 0.0 if backlogs else short
        if g >= 0:
            share, floor = served / asked if asked > 0.0 else 1.0, top.goodwill_floor[g]
            self.goodwill[g] += top.goodwill_rate[g] * (floor + (1.0 - floor) * share - self.goodwill[g])
        return Sale(late, served, short)

    def age(self, i: int) -> float:
        """The end of a period at a perishable stock point; units that perished there."""
        top = self._top
        first, last, waste = top.layer_ptr[i], top.layer_ptr[i + 1], top.stock_waste[i]
        perished, self.perished[i] = self.perished[i], 0.0
        self.wasted[waste] += perished
        for row in top.layer_ageing[first:last]:
            units, self.layers[row] = self.layers[row], 0.0
            if top.layer_next[row] < 0:
                perished += units
                self.wasted[waste] += units
            else:
                self.layers[top.layer_next[row]] = units
        self.on_hand[i] = 0.0
        for units in self.layers[first:last]:
            self.on_hand[i] += units
        return perished

    def charge(self) -> NDArray[np.float64]:
        """Cost terms of the period that ends now. Shape (13,), money.

        Those of contracts and expediting, and what moving prices and breaks change, come from twin.dealing.
        """
        top, costs = self._top, [0.0] * N_TERMS
        for i, there in enumerate(self.on_hand):
            costs[_HOLDING] += top.stock_holding[i] * there
            if top.stock_waste[i] >= 0:
                costs[_WASTE] += top.stock_waste_cost[i] * self.wasted[top.stock_waste[i]]
        for a, shipped in enumerate(self.shipped):
            costs[_TRANSIT] += top.arc_transit_holding[a] * self.in_transit[a]
            costs[_BACKLOG] += top.arc_backorder_cost[a] * self.backorders[a]
            costs[_PURCHASE] += top.arc_unit_cost[a] * shipped
            costs[_FREIGHT] += top.arc_freight[a] * shipped
            costs[_FIXED] += top.arc_fixed[a] if shipped > 0.0 else 0.0
            costs[_EMISSIONS] += top.arc_emission_cost[a] * shipped
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                costs[_RESOURCE] += top.resource_cost[top.use_resource[j]] * top.use_coefficient[j] * shipped
        for r, share in enumerate(self.availability):
            costs[_RESOURCE] += (top.resource_overhead if share > 0.0 else top.resource_overhead_down)[r]
        for d, delivered in enumerate(self.delivered):
            if top.demand_backlogs[d]:
                costs[_BACKLOG] += top.demand_penalty[d] * self.backlog[d]
            else:
                costs[_LOST] += top.demand_penalty[d] * self.lost[d]
            costs[_REVENUE] -= top.demand_price[d] * delivered
        return np.array(costs)
