"""One period of one replica, a second time: naive, in plain Python, sharing no code with the kernel.

It reads the network as the user wrote it, flattens it by itself, and gets every random draw as an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twin.network import Delay, Network

TERMS = ("holding", "transit_holding", "backlog", "lost_sales", "purchase")
TERMS += ("freight", "fixed_order", "resource", "emissions", "revenue")


@dataclass
class Arc:
    """Anything that can bring stock: a purchase, a transport, a production."""

    target: tuple[str, str]
    inputs: dict[tuple[str, str], float]
    uses: dict[str, float]
    price: float
    freight: float
    fixed: float
    transit: float
    emission: float
    capacity: float
    backorders: bool
    integer: bool
    may_be_immediate: bool
    initial_flow: float


def _chance_of_zero(distribution, periods: float) -> float:
    """Probability that a duration rounds to 0 periods."""
    if distribution.distribution == "fixed":
        return 1.0 if distribution.value / periods < 0.5 else 0.0
    return float(distribution.cdf(math.nextafter(0.5 * periods, 0.0)))


def _may_be_immediate(network: Network, entry, delay: Delay | None) -> bool:
    chance = _chance_of_zero(entry.lead_time, network.periods(entry.lead_time_unit))
    if delay is not None:
        late = _chance_of_zero(delay.time, network.periods(delay.unit))
        chance *= (1 - delay.probability) + delay.probability * late
    return chance > 0.0


def flatten(network: Network) -> list[Arc]:
    """All arcs: lanes in file order, mode by mode, then recipes."""
    arcs = []
    price_of_carbon = network.emission_price_per_kg
    for lane in network.lanes:
        supplier = network.suppliers.get(lane.origin)
        for mode in lane.modes.values():
            uses = dict(mode.uses)
            for name, amount in supplier.uses.items() if supplier else ():
                uses[name] = uses.get(name, 0.0) + amount
            arcs.append(
                Arc(
                    (lane.destination, lane.product),
                    {} if supplier else {(lane.origin, lane.product): 1.0},
                    uses,
                    supplier.offers[lane.product].price if supplier else 0.0,
                    mode.freight_cost,
                    mode.fixed_cost,
                    mode.transit_holding_cost,
                    mode.emissions_kg_per_unit * price_of_carbon,
                    math.inf if mode.capacity is None else mode.capacity,
                    mode.unfilled == "backordered",
                    network.products[lane.product].integer,
                    _may_be_immediate(network, mode, supplier.delay if supplier else None),
                    mode.initial_flow,
                )
            )
    for recipe in network.recipes.values():
        arcs.append(
            Arc(
                (recipe.site, recipe.product),
                {(recipe.site, product): amount for product, amount in recipe.inputs.items()},
                dict(recipe.uses),
                recipe.unit_cost,
                0.0,
                recipe.fixed_cost,
                recipe.transit_holding_cost,
                recipe.emissions_kg_per_unit * price_of_carbon,
                math.inf if recipe.capacity is None else recipe.capacity,
                recipe.unfilled == "backordered",
                network.products[recipe.product].integer,
                _may_be_immediate(network, recipe, None),
                recipe.initial_flow,
            )
        )
    return arcs


class ReferenceTwin:
    """One replica of a network at its decision epoch.

    ``under_way[a]`` lists what is in the pipeline of arc a as [receive phases still to come before it is there, units].
    """

    def __init__(self, network: Network, windows: list[int], first_demand: list[float]) -> None:
        self.network, self.arcs, self.windows = network, flatten(network), windows
        self.receive_first = network.phases[0] == "receive"
        self.on_hand = {
            (site, product): stock.initial
            for site, entry in network.sites.items()
            for product, stock in entry.stock.items()
        }
        self.under_way = [
            [[k + 1, arc.initial_flow] for k in range(window)] if arc.initial_flow > 0 else []
            for arc, window in zip(self.arcs, windows, strict=True)
        ]
        self.backorders = [0.0] * len(self.arcs)
        self.shipped = [0.0] * len(self.arcs)
        self.available = dict.fromkeys(network.resources, 1.0)
        zero = dict.fromkeys(network.demands, 0.0)
        self.backlog, self.lost, self.delivered, self.served = dict(zero), dict(zero), dict(zero), dict(zero)
        if network.phases[0] == "receive":
            self._receive()
        if network.phases == ("receive", "demand", "order"):
            self._demand(first_demand)

    def step(self, orders, demand, lead, available) -> dict[str, float]:
        """One decision epoch to the next; returns the cost terms of the period that ends in between."""
        self._order(orders, lead)
        if self.network.phases == ("receive", "order", "demand"):
            self._demand(demand)
            costs = self._charge()
            self._receive()
        elif self.network.phases == ("order", "receive", "demand"):
            self._receive()
            self._demand(demand)
            costs = self._charge()
        else:
            costs = self._charge()
            self._receive()
            self._demand(demand)
        self.available = dict(zip(self.network.resources, available, strict=True))
        return costs

    def in_transit(self, a: int) -> float:
        """Units on arc a."""
        return sum(amount for _, amount in self.under_way[a])

    def _receive(self) -> None:
        for arc, moving in zip(self.arcs, self.under_way, strict=True):
            for entry in moving:
                entry[0] -= 1
            self.on_hand[arc.target] += sum(amount for wait, amount in moving if wait == 0)
            moving[:] = [entry for entry in moving if entry[0] > 0]

    # A stock point is one level above every arc that may fill it within the phase; an arc ships at its inputs' level.
    def _level_of_stock(self, point) -> int:
        if not self.receive_first:
            return 0
        feeding = [a for a in self.arcs if a.target == point and a.may_be_immediate]
        return max((self._level_of_arc(a) + 1 for a in feeding), default=0)

    def _level_of_arc(self, arc: Arc) -> int:
        return max((self._level_of_stock(point) for point in arc.inputs), default=0)

    def _by_priority(self, point) -> bool:
        return self.network.sites[point[0]].rationing == "priority"

    def _order(self, orders, lead) -> None:
        resources = self.network.resources
        wanted, request = [], []
        for a, arc in enumerate(self.arcs):
            want = max(0.0, float(orders[a]))
            want = math.floor(want + 0.5) if arc.integer else want
            want += self.backorders[a] if arc.backorders else 0.0
            wanted.append(want)
            most = [resources[name].capacity / amount for name, amount in arc.uses.items()]
            request.append(min(want, arc.capacity, *most))
        left = {name: resource.capacity * self.available[name] for name, resource in resources.items()}
        still_asked = {
            name: sum(arc.uses.get(name, 0.0) * q for arc, q in zip(self.arcs, request, strict=True))
            for name in resources
        }
        for point in self.on_hand:
            asked = (arc.inputs.get(point, 0.0) * q for arc, q in zip(self.arcs, request, strict=True))
            still_asked[point] = sum(asked)
        arc_level = [self._level_of_arc(arc) for arc in self.arcs]
        for level in range(max([0, *arc_level]) + 1):
            for a, arc in enumerate(self.arcs):
                if arc_level[a] != level:
                    continue
                limits = [request[a]]
                for point, coefficient in arc.inputs.items():
                    by_priority = self._by_priority(point)
                    there = self.on_hand[point]
                    if by_priority:
                        limits.append(there / coefficient)
                    elif there < still_asked[point]:
                        limits.append(request[a] * there / still_asked[point])
                for name, coefficient in arc.uses.items():
                    by_priority = resources[name].rationing == "priority"
                    if by_priority:
                        limits.append(left[name] / coefficient)
                    elif left[name] < still_asked[name]:
                        limits.append(request[a] * left[name] / still_asked[name])
                amount = min(limits)
                amount = math.floor(amount + 1e-9) if arc.integer else amount
                for point, coefficient in arc.inputs.items():
                    self.on_hand[point] = max(0.0, self.on_hand[point] - coefficient * amount)
                    still_asked[point] -= coefficient * request[a]
                for name, coefficient in arc.uses.items():
                    left[name] = max(0.0, left[name] - coefficient * amount)
                    still_asked[name] -= coefficient * request[a]
                self.backorders[a] = wanted[a] - amount if arc.backorders else 0.0
                self.shipped[a] = amount
                receipts = lead[a] if self.receive_first else lead[a] + 1
                if receipts > 0:
                    self.under_way[a].append([receipts, amount])
                else:
                    self.on_hand[arc.target] += amount

    def _demand(self, demand) -> None:
        for (name, stream), asked in zip(self.network.demands.items(), demand, strict=True):
            point = (stream.site, stream.product)
            old = min(self.on_hand[point], self.backlog[name])
            self.on_hand[point] -= old
            new = min(self.on_hand[point], asked)
            self.on_hand[point] -= new
            self.delivered[name], self.served[name] = old + new, new
            self.backlog[name] -= old
            if stream.unmet == "backlog":
                self.backlog[name] += asked - new
            else:
                self.lost[name] = asked - new

    def _charge(self) -> dict[str, float]:
        cost = dict.fromkeys(TERMS, 0.0)
        for (site, product), units in self.on_hand.items():
            cost["holding"] += self.network.sites[site].stock[product].holding_cost * units
        for a, arc in enumerate(self.arcs):
            shipped = self.shipped[a]
            cost["transit_holding"] += arc.transit * self.in_transit(a)
            cost["purchase"] += arc.price * shipped
            cost["freight"] += arc.freight * shipped
            cost["fixed_order"] += arc.fixed if shipped > 0 else 0.0
            cost["emissions"] += arc.emission * shipped
            for name, amount in arc.uses.items():
                cost["resource"] += self.network.resources[name].cost_per_unit * amount * shipped
        for name, stream in self.network.demands.items():
            cost["backlog" if stream.unmet == "backlog" else "lost_sales"] += stream.penalty * (
                self.backlog[name] if stream.unmet == "backlog" else self.lost[name]
            )
            cost["revenue"] -= stream.price * self.delivered[name]
        return cost
