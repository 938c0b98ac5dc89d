"""Contracts, expediting, records and prices of one replica a second time: naive, from docs/model.md alone.

``chance(stream, entity, period)`` gives the uniform number that the model names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from tests.reference_disruptions import Chance
from twin.network import Contract, Mode, Network, Offer, PriceProcess

KEEP, QUALIFY, ACTIVATE, DEACTIVATE, EXPEDITE = range(5)
OUTSIDE, QUALIFYING, QUALIFIED, ACTIVE = range(4)
START = {"outside": OUTSIDE, "qualified": QUALIFIED, "active": ACTIVE}


@dataclass
class Agreement:
    """A supplier's contract: the stage it is at, and the resource that its capacity makes."""

    terms: Contract
    stage: int
    clock: int
    rationing: str = "proportional"
    cost_per_unit: float = 0.0

    @property
    def capacity(self) -> float | None:
        """Units a period, once ramped up."""
        return self.terms.capacity

    @property
    def works(self) -> float:
        """The share of its capacity that there is now."""
        if self.stage != ACTIVE:
            return 0.0
        return min(1.0, (self.clock + 1) / self.terms.ramp) if self.terms.ramp else 1.0

    def decide(self, move: int) -> float:
        """Carry out a move; money paid."""
        terms = self.terms
        if move == QUALIFY and self.stage == OUTSIDE:
            self.stage, self.clock = (QUALIFYING, terms.qualification_periods)
            if terms.qualification_periods == 0:
                self.stage = QUALIFIED
            return terms.qualification_cost
        if move == ACTIVATE and self.stage == QUALIFIED:
            self.stage, self.clock = ACTIVE, 0
            return terms.switching_cost
        if move == DEACTIVATE and self.stage == ACTIVE:
            self.stage, self.clock = QUALIFIED, 0
            return terms.exit_cost
        return 0.0

    def end_of_period(self) -> None:
        """A period of qualification, or of being active, has passed."""
        if self.stage == QUALIFYING:
            self.clock -= 1
            if self.clock == 0:
                self.stage = QUALIFIED
        elif self.stage == ACTIVE:
            self.clock += 1


@dataclass
class MovingPrice:
    """The factor on the price of an offer."""

    terms: PriceProcess
    number: int
    chance: Chance
    factor: float = 1.0

    def __post_init__(self) -> None:
        self.factor = self.tariff(0)

    def tariff(self, period: int) -> float:
        """All steps that are in force."""
        return math.prod(step.factor for step in self.terms.tariffs if step.start <= period)

    def move(self, period: int) -> None:
        """From the period before to ``period``."""
        noise, jumps, size = (self.chance(3, 4 * self.number + j, period) for j in range(3))
        x = math.log(self.factor / self.tariff(period - 1)) * (1.0 - self.terms.reversion)
        x += self.terms.volatility * NormalDist().inv_cdf(noise)
        if self.terms.shock is not None and jumps < self.terms.shock_probability:
            x += float(self.terms.shock.quantile(size))
        self.factor = math.exp(x) * self.tariff(period)


@dataclass
class Purchase:
    """An arc that begins at a supplier."""

    number: int
    supplier: str
    mode: Mode
    offer: Offer
    price_name: str
    promised: int
    on_time: float = 1.0


class Dealings:
    """All that is agreed with the suppliers of a network."""

    def __init__(self, network: Network, chance: Chance) -> None:
        self.network, self.period = network, 0
        self.agreements: dict[str, Agreement] = {}
        self.prices: dict[str, MovingPrice] = {}
        for name, supplier in network.suppliers.items():
            if (terms := supplier.contract) is not None:
                clock = terms.ramp if terms.state == "active" else 0
                self.agreements[name] = Agreement(terms, START[terms.state], clock)
            for product, offer in supplier.offers.items():
                if offer.price_process is not None:
                    key = f"{name}/{product}"
                    self.prices[key] = MovingPrice(offer.price_process, len(self.prices), chance)
        arcs = [(lane, mode) for lane in network.lanes for mode in lane.modes.values()]
        self.purchases = []
        for number, (lane, mode) in enumerate(arcs):
            if lane.origin in network.suppliers:
                mean = mode.lead_time.mean_value / network.periods(mode.lead_time_unit)
                offer = network.suppliers[lane.origin].offers[lane.product]
                key = f"{lane.origin}/{lane.product}"
                self.purchases.append(Purchase(number, lane.origin, mode, offer, key, math.floor(mean + 0.5)))
        hurried = {arc.supplier for arc in self.purchases if arc.mode.expediting is not None}
        self.relations = [name for name in network.suppliers if name in self.agreements or name in hurried]
        self.keeps_records = bool(self.relations) or network.records
        self.cost = {"contract": 0.0, "expediting": 0.0}

    @property
    def resources(self) -> dict[str, Agreement]:
        """The capacities of contracts, as resources."""
        return {f"contract:{name}": agreement for name, agreement in self.agreements.items()}

    @property
    def available(self) -> dict[str, float]:
        """What works of them."""
        return {name: agreement.works for name, agreement in self.resources.items()}

    def allowed(self, under_way) -> list[list[bool]]:
        """Per relation, whether each move changes anything."""
        out = []
        for name in self.relations:
            stage = self.agreements[name].stage if name in self.agreements else None
            hurry = [arc for arc in self.purchases if arc.supplier == name and arc.mode.expediting is not None]
            coming = any(sum(shipment.units for shipment in under_way[arc.number]) >= 1e-9 for arc in hurry)
            out.append([True, stage == OUTSIDE, stage == QUALIFIED, stage == ACTIVE, coming])
        return out

    def decide(self, moves, under_way) -> None:
        """The moves of a decision epoch."""
        self.cost = {"contract": 0.0, "expediting": 0.0}
        for name, move in zip(self.relations, moves, strict=True):
            if name in self.agreements:
                self.cost["contract"] += self.agreements[name].decide(move)
            if move != EXPEDITE:
                continue
            for arc in self.purchases:
                if arc.supplier == name and (terms := arc.mode.expediting) is not None:
                    for shipment in under_way[arc.number]:
                        if shipment.wait > 1:
                            shipment.wait = max(1, shipment.wait - terms.periods)
                            self.cost["expediting"] += terms.cost_per_unit * shipment.units

    def gate(self, orders, feasible, uses, available) -> list[float]:
        """The orders that are left; what lacks to a minimum is charged."""
        left = list(orders)
        for name, agreement in self.agreements.items():
            arcs = [arc.number for arc in self.purchases if arc.supplier == name]
            if agreement.stage != ACTIVE:
                for a in arcs:
                    left[a] = 0.0
                continue
            down = any(available[r] == 0.0 for a in arcs for r in uses[a] if r in self.network.resources)
            short = agreement.terms.minimum - sum(feasible(a, left[a]) for a in arcs)
            if not down and short > 0.0:
                self.cost["contract"] += agreement.terms.shortfall_cost * short
        return left

    def remember(self, arriving, owed, shipped, lead) -> None:
        """The record of every purchase: what came to its source, was owed, shipped, and how late it will be."""
        for arc in self.purchases if self.keeps_records else []:
            wanted = arriving[arc.number] + owed[arc.number]
            closed = arc.supplier in self.agreements and self.agreements[arc.supplier].stage != ACTIVE
            if not closed and wanted >= 1e-9:
                share = min(1.0, shipped[arc.number] / wanted) if lead[arc.number] <= arc.promised else 0.0
                arc.on_time += 0.1 * (share - arc.on_time)

    def purchase_cost(self, shipped) -> dict[int, float]:
        """What the shipments of purchases cost."""
        out = {}
        for arc in self.purchases:
            unit = arc.offer.price
            for step in arc.offer.breaks:
                if shipped[arc.number] >= step.start:
                    unit = step.price
            factor = self.prices[arc.price_name].factor if arc.price_name in self.prices else 1.0
            out[arc.number] = unit * factor * shipped[arc.number]
        return out

    def end_of_period(self) -> None:
        """Clocks and prices of the next decision epoch."""
        self.period += 1
        for agreement in self.agreements.values():
            agreement.end_of_period()
        for price in self.prices.values():
            price.move(self.period)

    def rows(self) -> dict[str, list[float]]:
        """What a state keeps of them."""
        return {
            "stage": [float(agreement.stage) for agreement in self.agreements.values()],
            "clock": [float(agreement.clock) for agreement in self.agreements.values()],
            "price": [price.factor for price in self.prices.values()],
            "on_time": [arc.on_time for arc in self.purchases] if self.keeps_records else [],
        }
