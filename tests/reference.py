"""One period of one replica, a second time: naive, in plain Python, sharing no code with the kernel.

Written from docs/model.md alone. It reads the network as the user wrote it, flattens it by itself, and gets every
random draw as an argument. Stock is a pile, perishable stock a list of lots, a pipeline a list of shipments, the mail a
queue.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from tests.reference_contracts import Dealings
from tests.reference_disruptions import Chance, Disruptions
from twin.network import ArcTerms, Delay, Network, Product

TERMS = ("holding", "transit_holding", "backlog", "lost_sales", "purchase")
TERMS += ("freight", "fixed_order", "resource", "emissions", "revenue", "waste", "contract", "expediting")
NOTHING = 1e-9  # an amount below this is rounding


@dataclass
class Arc:
    """Anything that can bring stock: a purchase, a transport, a production; per good unit."""

    target: tuple[str, str]
    inputs: dict[tuple[str, str], float]
    uses: dict[str, float]
    price: float
    freight: float
    emission: float
    terms: ArcTerms
    product: Product
    moves_stock: bool
    may_be_immediate: bool

    @property
    def backorders(self) -> bool:
        """Whether the source owes what it could not ship."""
        return self.terms.unfilled == "backordered"

    @property
    def waits(self) -> bool:
        """Whether orders wait while the source is down."""
        return self.backorders if self.terms.when_down is None else self.terms.when_down == "waits"

    def nearest_feasible(self, asked: float) -> float:
        """The order that is placed when ``asked`` is asked for: minimum, lots, maximum."""
        terms = self.terms
        quantity = asked if asked >= NOTHING else 0.0  # so is NaN nothing
        lot = terms.lot_size or (1.0 if self.product.integer else None)
        least, most = terms.minimum_order, math.inf if terms.maximum_order is None else terms.maximum_order
        if lot is not None:
            least = math.ceil(least / lot) * lot
            most = math.floor(most / lot) * lot if most < math.inf else most
        if least > 0.0 and quantity < least:
            quantity = least if quantity >= least / 2 else 0.0
        if lot is not None:
            quantity = math.floor(quantity / lot + 0.5) * lot
        return min(quantity, most)


@dataclass
class Lot:
    """Units of a perishable product that came together."""

    waited: int  # periods since receipt
    life: int  # periods, this one included, in which they can be used
    units: float


@dataclass
class Shipment:
    """Units on their way: receive phases still to come before they are there, and the life they arrive with."""

    wait: int
    life: int | None
    units: float


class Pile:
    """Stock that does not perish."""

    def __init__(self, units: float) -> None:
        self.total = units

    def put(self, units: float, life: int | None) -> None:
        """Add units."""
        self.total += units

    def take(self, units: float) -> list[tuple[int | None, float]]:
        """Remove units; what left, by remaining life."""
        self.total = max(0.0, self.total - units)
        return [(None, units)]

    def end_of_period(self) -> float:
        """Units that perish."""
        return 0.0


class Shelf(Pile):
    """Stock that perishes, lot by lot."""

    ORDER = {  # noqa: RUF012 - what leaves first has the lowest rank
        "first_expired": lambda lot: lot.life,
        "first_in": lambda lot: (-lot.waited, lot.life),
        "last_expired": lambda lot: -lot.life,
    }

    def __init__(self, units: float, product: Product) -> None:
        self.rank = self.ORDER[product.issue]
        self.lots = [Lot(0, product.shelf_life, units)]

    @property
    def total(self) -> float:
        """All units, whatever their life."""
        return math.fsum(lot.units for lot in self.lots)

    def put(self, units: float, life: int | None) -> None:
        self.lots.append(Lot(0, life, units))

    def take(self, units: float) -> list[tuple[int | None, float]]:
        gone = []
        for lot in sorted(self.lots, key=self.rank):
            part = min(lot.units, units)
            if part > 0.0:
                gone.append((lot.life, part))
                lot.units -= part
                units -= part
        return gone

    def end_of_period(self) -> float:
        wasted = math.fsum(lot.units for lot in self.lots if lot.life == 1)
        self.lots = [Lot(lot.waited + 1, lot.life - 1, lot.units) for lot in self.lots if lot.life > 1 and lot.units]
        return wasted


def _chance_of_zero(distribution, periods: float) -> float:
    """Probability that a duration rounds to 0 periods."""
    if distribution.distribution == "fixed":
        return 1.0 if distribution.value / periods < 0.5 else 0.0
    return float(distribution.cdf(math.nextafter(0.5 * periods, 0.0)))


def _may_be_immediate(network: Network, entry: ArcTerms, delay: Delay | None) -> bool:
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
            if supplier and supplier.contract is not None:
                uses[f"contract:{lane.origin}"] = 1.0
            arcs.append(
                Arc(
                    target=(lane.destination, lane.product),
                    inputs={} if supplier else {(lane.origin, lane.product): 1.0},
                    uses=uses,
                    price=supplier.offers[lane.product].price if supplier else 0.0,
                    freight=mode.freight_cost,
                    emission=mode.emissions_kg_per_unit * price_of_carbon,
                    terms=mode,
                    product=network.products[lane.product],
                    moves_stock=supplier is None,
                    may_be_immediate=_may_be_immediate(network, mode, supplier.delay if supplier else None),
                )
            )
    for recipe in network.recipes.values():
        good = recipe.yield_share
        arcs.append(
            Arc(
                target=(recipe.site, recipe.product),
                inputs={(recipe.site, product): amount / good for product, amount in recipe.inputs.items()},
                uses={name: amount / good for name, amount in recipe.uses.items()},
                price=recipe.unit_cost / good,
                freight=0.0,
                emission=recipe.emissions_kg_per_unit / good * price_of_carbon,
                terms=recipe,
                product=network.products[recipe.product],
                moves_stock=False,
                may_be_immediate=_may_be_immediate(network, recipe, None),
            )
        )
    return arcs


class ReferenceTwin:
    """One replica of a network at its decision epoch.

    ``windows[a]`` is the mean lead time of arc a in whole periods; ``first_demand`` is drawn for period 0; ``chance``
    gives the uniform numbers of disruptions and prices.
    """

    def __init__(self, network: Network, windows: list[int], first_demand: list[float], chance: Chance) -> None:
        self.network, self.arcs = network, flatten(network)
        self.receive_first = network.phases[0] == "receive"
        self.stock: dict[tuple[str, str], Pile] = {}
        for site, entry in network.sites.items():
            for name, stock in entry.stock.items():
                product = network.products[name]
                fresh = Pile(stock.initial) if product.shelf_life is None else Shelf(stock.initial, product)
                self.stock[site, name] = fresh
        self.under_way: list[list[Shipment]] = []
        for arc, window in zip(self.arcs, windows, strict=True):
            flow = arc.terms.initial_flow
            self.under_way.append([Shipment(k + 1, arc.product.shelf_life, flow) for k in range(window) if flow > 0])
        self.mail = [deque([arc.terms.initial_flow] * arc.terms.order_delay) for arc in self.arcs]
        self.backorders = [0.0] * len(self.arcs)
        self.shipped = [0.0] * len(self.arcs)
        self.now = 0
        self.disruptions, self.dealings = Disruptions(network, chance), Dealings(network, chance)
        zero = dict.fromkeys(network.demands, 0.0)
        self.demand, self.backlog, self.lost = dict(zero), dict(zero), dict(zero)
        self.delivered, self.served = dict(zero), dict(zero)
        self.goodwill = {name: 1.0 for name, stream in network.demands.items() if stream.goodwill is not None}
        self.wasted = {point: 0.0 for point, pile in self.stock.items() if isinstance(pile, Shelf)}
        if self.receive_first:
            self._receive()
        if network.phases == ("receive", "demand", "order"):
            self._demand(first_demand)

    def step(self, orders, demand, lead, moves=None) -> dict[str, float]:
        """One decision epoch to the next; returns the cost terms of the period that ends in between."""
        self.dealings.decide(moves or [0] * len(self.dealings.relations), self.under_way)
        feasible = [arc.nearest_feasible for arc in self.arcs]
        uses, works = [arc.uses for arc in self.arcs], self.available
        orders = self.dealings.gate(map(float, orders), lambda a, q: feasible[a](q), uses, works)
        self._order(orders, lead)
        if self.network.phases == ("receive", "order", "demand"):
            self._demand(demand)
            costs = self._end_of_period()
            self._receive()
        elif self.network.phases == ("order", "receive", "demand"):
            self._receive()
            self._demand(demand)
            costs = self._end_of_period()
        else:
            costs = self._end_of_period()
            self._receive()
            self._demand(demand)
        self.disruptions.move()
        self.dealings.end_of_period()
        self.now += 1
        return costs

    @property
    def available(self) -> dict[str, float]:
        """The share of every resource that works."""
        return self.disruptions.available | self.dealings.available

    @property
    def on_hand(self) -> dict[tuple[str, str], float]:
        """Units at every stock point."""
        return {point: pile.total for point, pile in self.stock.items()}

    def in_transit(self, a: int) -> float:
        """Units on arc a."""
        return sum(shipment.units for shipment in self.under_way[a])

    def pipeline(self, a: int) -> dict[int, float]:
        """Units on arc a by the receive phase at which they are there, 0 being the next."""
        out: dict[int, float] = {}
        for shipment in self.under_way[a]:
            out[shipment.wait - 1] = out.get(shipment.wait - 1, 0.0) + shipment.units
        return out

    def pipeline_by_life(self, a: int) -> dict[tuple[int, int], float]:
        """Units on arc a by the receive phase at which they are there, and by the life they arrive with."""
        out: dict[tuple[int, int], float] = {}
        for shipment in self.under_way[a]:
            key = (shipment.wait - 1, shipment.life)
            out[key] = out.get(key, 0.0) + shipment.units
        return out

    def by_age(self, point: tuple[str, str]) -> dict[tuple[int, int], float]:
        """Units of a perishable stock point by (periods since receipt, life)."""
        out: dict[tuple[int, int], float] = {}
        for lot in self.stock[point].lots:
            out[lot.waited, lot.life] = out.get((lot.waited, lot.life), 0.0) + lot.units
        return out

    def _receive(self) -> None:
        for arc, moving in zip(self.arcs, self.under_way, strict=True):
            for shipment in moving:
                shipment.wait -= 1
                if shipment.wait == 0:
                    self.stock[arc.target].put(shipment.units, shipment.life)
            moving[:] = [shipment for shipment in moving if shipment.wait > 0]

    # A stock point is one level above every arc that may fill it within the phase; an arc ships at its inputs' level.
    def _level_of_stock(self, point) -> int:
        if not self.receive_first:
            return 0
        feeding = [a for a in self.arcs if a.target == point and a.may_be_immediate]
        return max((self._level_of_arc(a) + 1 for a in feeding), default=0)

    def _level_of_arc(self, arc: Arc) -> int:
        return max((self._level_of_stock(point) for point in arc.inputs), default=0)

    def _capacity(self, arc: Arc) -> float:
        """Most that an arc can ship while everything works."""
        limits = [math.inf if arc.terms.capacity is None else arc.terms.capacity]
        for name, use in arc.uses.items():
            capacity = (self.network.resources | self.dealings.resources)[name].capacity
            limits.append(math.inf if capacity is None else capacity / use)
        return min(limits)

    def _down(self, arc: Arc) -> bool:
        return any(self.available[name] == 0.0 for name in arc.uses)

    def _order(self, orders, lead) -> None:
        self.wasted = dict.fromkeys(self.wasted, 0.0)
        resources = self.network.resources | self.dealings.resources
        wanted, request, arriving, owed = [], [], [], list(self.backorders)
        for a, arc in enumerate(self.arcs):
            quantity = arc.nearest_feasible(float(orders[a]))
            if arc.terms.order_delay:
                self.mail[a].append(quantity)
                quantity = self.mail[a].popleft()
            arriving.append(quantity)
            if self._down(arc) and not arc.waits:
                quantity = 0.0
            wanted.append(quantity + self.backorders[a])
            request.append(min(wanted[a], self._capacity(arc)))
        left = {}
        for name, resource in resources.items():
            share = self.available[name]
            left[name] = 0.0 if share == 0.0 else math.inf if resource.capacity is None else resource.capacity * share
            days = self.network.resources[name].calendar if name in self.network.resources else ()
            if days:
                left[name] *= days[self.now % len(days)]
        still_asked: dict[object, float] = {}
        for name in resources:
            still_asked[name] = sum(arc.uses.get(name, 0.0) * q for arc, q in zip(self.arcs, request, strict=True))
        for point in self.stock:
            still_asked[point] = sum(arc.inputs.get(point, 0.0) * q for arc, q in zip(self.arcs, request, strict=True))
        arc_level = [self._level_of_arc(arc) for arc in self.arcs]
        for level in range(max([0, *arc_level]) + 1):
            for a, arc in enumerate(self.arcs):
                if arc_level[a] != level:
                    continue
                limits = [request[a]]
                draws = [(point, use, self.stock[point].total) for point, use in arc.inputs.items()]
                draws += [(name, use, left[name]) for name, use in arc.uses.items()]
                for source, use, there in draws:
                    place = resources[source] if isinstance(source, str) else self.network.sites[source[0]]
                    if place.rationing == "priority":
                        limits.append(there / use)
                    elif there < still_asked[source]:
                        limits.append(request[a] * there / still_asked[source])
                amount = min(limits)
                amount = math.floor(amount + 1e-9) if arc.product.integer else amount
                amount = amount if amount >= NOTHING else 0.0
                gone: list[tuple[int | None, float]] = [(arc.product.shelf_life, amount)]
                for point, use in arc.inputs.items():
                    taken = self.stock[point].take(use * amount)
                    gone = taken if arc.moves_stock else gone
                for name, use in arc.uses.items():
                    left[name] = max(0.0, left[name] - use * amount)
                for source, use, _ in draws:
                    still_asked[source] -= use * request[a]
                self._send(a, lead[a], gone, amount)
                owes = arc.backorders or self._down(arc)
                self.backorders[a] = wanted[a] - amount if owes else 0.0
        self.dealings.remember(arriving, owed, self.shipped, lead)

    def _send(self, a: int, lead: int, gone, amount: float) -> None:
        """Units leave with the life they have; those that would arrive with none perish on the way."""
        arc = self.arcs[a]
        self.shipped[a] = amount
        if amount <= 0.0:
            return
        wait = lead if self.receive_first else lead + 1
        if not arc.terms.crossing:
            held: dict[int, float] = {}
            for shipment in self.under_way[a]:
                held[shipment.wait] = held.get(shipment.wait, 0.0) + shipment.units
            wait = max([wait, *(ahead for ahead, units in held.items() if units >= NOTHING)])
        lead = wait if self.receive_first else wait - 1
        for life, units in gone:
            on_arrival = life - lead if arc.moves_stock and life is not None else life
            if on_arrival is not None and on_arrival < 1:
                self.wasted[arc.target] += units
            elif wait == 0:
                self.stock[arc.target].put(units, on_arrival)
            else:
                self.under_way[a].append(Shipment(wait, on_arrival, units))

    def _demand(self, demand) -> None:
        for (name, stream), drawn in zip(self.network.demands.items(), demand, strict=True):
            pile, whole = self.stock[stream.site, stream.product], self.network.products[stream.product].integer
            asked = drawn
            if name in self.goodwill:
                asked = self.goodwill[name] * drawn
                asked = math.floor(asked + 0.5) if whole else asked
            old = min(pile.total, self.backlog[name])
            pile.take(old)
            new = min(pile.total, asked)
            pile.take(new)
            self.demand[name], self.delivered[name], self.served[name] = asked, old + new, new
            self.backlog[name] -= old
            if stream.unmet == "backlog":
                self.backlog[name] += asked - new
            else:
                self.lost[name] = asked - new
            if name in self.goodwill:
                terms = stream.goodwill
                share = new / asked if asked > 0.0 else 1.0
                aim = terms.floor + (1 - terms.floor) * share
                self.goodwill[name] += terms.rate * (aim - self.goodwill[name])

    def _end_of_period(self) -> dict[str, float]:
        for point, pile in self.stock.items():
            if point in self.wasted:
                self.wasted[point] += pile.end_of_period()
        cost = dict.fromkeys(TERMS, 0.0) | self.dealings.cost
        bought = self.dealings.purchase_cost(self.shipped)
        for (site, product), pile in self.stock.items():
            entry = self.network.sites[site].stock[product]
            cost["holding"] += entry.holding_cost * pile.total
            cost["waste"] += entry.waste_cost * self.wasted.get((site, product), 0.0)
        resources = self.network.resources | self.dealings.resources
        for a, arc in enumerate(self.arcs):
            shipped, terms = self.shipped[a], arc.terms
            cost["transit_holding"] += terms.transit_holding_cost * self.in_transit(a)
            cost["purchase"] += bought[a] if a in bought else arc.price * shipped
            cost["freight"] += arc.freight * shipped
            cost["fixed_order"] += terms.fixed_cost if shipped > 0 else 0.0
            cost["emissions"] += arc.emission * shipped
            cost["backlog"] += terms.backorder_cost * self.backorders[a]
            for name, amount in arc.uses.items():
                cost["resource"] += resources[name].cost_per_unit * amount * shipped
        for name, resource in self.network.resources.items():
            down = self.available[name] == 0.0 and resource.overhead_when_down is not None
            cost["resource"] += resource.overhead_when_down if down else resource.overhead
        for name, stream in self.network.demands.items():
            cost["backlog" if stream.unmet == "backlog" else "lost_sales"] += stream.penalty * (
                self.backlog[name] if stream.unmet == "backlog" else self.lost[name]
            )
            cost["revenue"] -= stream.price * self.delivered[name]
        return cost
