"""Network -> CompiledNetwork: flat, integer-indexed arrays that the engines run on.

Everything that can bring stock is an arc: a purchase (no input), a transport (one input, coefficient 1), a production
(the recipe's inputs). Arcs, stock points, resources and demand streams are numbered in file order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from twin.contracts import CONTRACT_RESOURCE, Relations, contract_keys, relations_of
from twin.disruptions import Disruptions, compile_disruptions, two_state_chain
from twin.distributions import Distribution, Recorded
from twin.flows import nominal_flows, usual_shares
from twin.layers import layer_tables
from twin.network import ArcTerms, Delay, Network, Recipe, Resource
from twin.orders import whole_lots
from twin.periods import late_table, period_table, whole_periods
from twin.prices import Prices, price_keys, prices_of
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND, Topology

__all__ = ["CompiledNetwork", "compile_network"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PHASES = {
    ("receive", "order", "demand"): RECEIVE_ORDER_DEMAND,
    ("order", "receive", "demand"): ORDER_RECEIVE_DEMAND,
    ("receive", "demand", "order"): RECEIVE_DEMAND_ORDER,
}


@dataclass(frozen=True)
class CompiledNetwork:
    """A network ready to run.

    Attributes
    ----------
    network
        The network it was compiled from.
    topology
        Arrays for the kernel.
    stock_names, arc_names, resource_names, demand_names
        One name per index: ``site/product``, ``origin->destination:mode:product`` (a recipe:
        ``site:make:recipe``), the resource's and the demand's key.
    arc_ends
        Per arc, the places where it begins (a supplier or a site) and ends (a site); equal for a recipe.
    arc_units, stock_units
        Units of the products.
    lead_tables
        Per arc, the cumulative probability of a lead time of 0, 1, 2, ... periods.
    lead_series
        Per arc, the recorded lead times in periods that are played in order; None where they are drawn.
    lead_mean, lead_variance
        Per arc, in periods, of those tables. Shape (A,).
    demand_distributions
        Per demand stream, the distribution in each season (one entry when there is no seasonality).
    resource_failure, resource_recovery, resource_share_when_down
        The two-state chain that a planner takes each resource for; without ``disruptions`` it is that chain. The share
        is the lowest that there is, 1 where it never fails. Shape (R,).
    disruptions
        What else disrupts them; None where the chains say all.
    demand_rate, demand_variance
        Per stock point, expected requirement per period (own demand and that of everything it feeds) and its
        variance. Shape (I,).
    arc_flow
        Per arc, expected units per period under the usual shares. Shape (A,).
    unit_value
        Per stock point, what a unit there has usually cost by then: purchase prices and freight along the usual
        shares, inputs of recipes included (standard cost). Shape (I,), money per unit.
    relations
        Suppliers on whom moves can be decided, see :mod:`twin.contracts`. A contract has a hidden resource, after those
        of the file, that stands for its capacity and is down while it is not active.
    prices
        Offers whose price moves or falls with the quantity, see :mod:`twin.prices`.
    """

    network: Network
    topology: Topology
    stock_names: tuple[str, ...]
    arc_names: tuple[str, ...]
    resource_names: tuple[str, ...]
    demand_names: tuple[str, ...]
    arc_ends: tuple[tuple[str, str], ...]
    arc_units: tuple[str, ...]
    stock_units: tuple[str, ...]
    lead_tables: tuple[FloatArray, ...]
    lead_series: tuple[IntArray | None, ...]
    lead_mean: FloatArray
    lead_variance: FloatArray
    initial_on_hand: FloatArray
    initial_flow: FloatArray
    demand_distributions: tuple[tuple[Distribution, ...], ...]
    demand_periods_per_season: IntArray
    resource_failure: FloatArray
    resource_recovery: FloatArray
    resource_share_when_down: FloatArray
    disruptions: Disruptions | None
    demand_rate: FloatArray
    demand_variance: FloatArray
    arc_flow: FloatArray
    unit_value: FloatArray
    relations: Relations
    prices: Prices

    @property
    def n_stocks(self) -> int:
        """Number of stock points."""
        return len(self.stock_names)

    @property
    def n_arcs(self) -> int:
        """Number of arcs."""
        return len(self.arc_names)

    @property
    def n_resources(self) -> int:
        """Number of resources."""
        return len(self.resource_names)

    @property
    def n_exogenous(self) -> int:
        """Number of rows of :data:`twin.state.EXOGENOUS`."""
        return self.n_process_rows + len(self.network.resources) + len(self.prices.names)

    @property
    def n_process_rows(self) -> int:
        """Number of those among them that belong to disruptions: none where every process is a two-state chain."""
        return 0 if self.disruptions is None else self.disruptions.rows

    @property
    def n_demands(self) -> int:
        """Number of demand streams."""
        return len(self.demand_names)

    @property
    def relation_names(self) -> tuple[str, ...]:
        """Suppliers on whom moves can be decided, one per row of the moves."""
        return self.relations.names

    @property
    def has_deals(self) -> bool:
        """Whether a period has parts around the kernel's, see :mod:`twin.dealing`."""
        return len(self.relations.rules.record_arc) + len(self.relations.names) + len(self.prices.rules.arc) > 0

    @property
    def deal_keys(self) -> tuple[str, ...]:
        """Key paths of contracts, expediting, breaks and moving prices, which not every engine can deal with."""
        return (*contract_keys(self.network), *price_keys(self.network))

    @property
    def pipeline_slots(self) -> int:
        """Length of all pipelines together."""
        return int(self.topology.pipe_ptr[-1])

    def content_hash(self) -> str:
        """SHA-256 of the network's content.

        Two files that mean the same network share it. Order counts: it numbers stock points and arcs, and decides who
        is served first under priority rationing.
        """
        text = json.dumps(self.network.to_dict(), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def season(self, demand: int, period: IntArray) -> IntArray:
        """Index of the season of a demand stream in calendar periods ``period``."""
        seasons = len(self.demand_distributions[demand])
        return np.asarray((period // self.demand_periods_per_season[demand]) % seasons)

    def expected_demand(self, demand: int, period: IntArray) -> FloatArray:
        """What a planner expects of a stream in calendar periods ``period``: its forecast where the file has one.

        Else the mean of the season times trend and known shocks; for a recorded series without a forecast its mean.
        """
        entry = self.network.demands[self.demand_names[demand]]
        period = np.asarray(period)
        if entry.forecast is not None:
            return np.asarray(entry.forecast.values, dtype=np.float64)[period % len(entry.forecast.values)]
        means = np.array([season.mean_value for season in self.demand_distributions[demand]])
        return np.asarray(means[self.season(demand, period)] * entry.known_factor(period))

    def largest_known_factor(self, periods: int) -> float:
        """Largest multiple of its mean that trend and known shocks give any stream in that many periods, at least 1."""
        calendar = np.arange(max(1, periods))
        return max([1.0, *(float(d.known_factor(calendar).max()) for d in self.network.demands.values() if d.moves)])

    @property
    def seasonal_cycle(self) -> int:
        """Length in periods of the longest seasonal cycle; 1 when nothing is seasonal."""
        cycles = [
            len(d) * int(n) for d, n in zip(self.demand_distributions, self.demand_periods_per_season, strict=True)
        ]
        return max([1, *(c for c, d in zip(cycles, self.demand_distributions, strict=True) if len(d) > 1)])


@dataclass
class _Arc:
    """One arc while compiling."""

    name: str
    origin: str
    destination: int
    inputs: list[tuple[int, float]]
    uses: list[tuple[int, float]]
    entry: ArcTerms
    price: float
    freight: float
    product: str
    delay: Delay | None
    yield_share: float = 1.0

    @property
    def is_transport(self) -> bool:
        """Whether the arc moves stock from one site to another."""
        return bool(self.inputs) and not isinstance(self.entry, Recipe)


def compile_network(network: Network) -> CompiledNetwork:
    """Flatten a network into arrays.

    Parameters
    ----------
    network
        A checked network.

    Returns
    -------
    CompiledNetwork
    """
    points = network.stock_points()
    stock_index = {point: i for i, point in enumerate(points)}
    resources = network.resources | _contract_resources(network)
    resource_index = {name: r for r, name in enumerate(resources)}
    arcs = _arcs(network, stock_index, resource_index)
    tables = [_lead_table(network, arc) for arc in arcs]
    lead_mean = np.array([_table_moments(table)[0] for table in tables])
    lead_variance = np.array([_table_moments(table)[1] for table in tables])
    phase_order = _PHASES[network.phases]

    # A pipeline needs one slot per period of the longest lead time; where orders come before receipts the order
    # placed now and due now needs a slot of its own.
    slots = _ints(max(1, len(table) - (phase_order != ORDER_RECEIVE_DEMAND)) for table in tables)
    stocks = [network.sites[site].stock[product] for site, product in points]
    emission_price = network.emission_price_per_kg
    demands = list(network.demands.values())
    destination = _ints(arc.destination for arc in arcs)
    # How long after an order its goods are expected: time in the mail included.
    delay = _ints(arc.entry.order_delay for arc in arcs)
    group_ptr, group_arc = _groups(destination, lead_mean + delay, len(points))
    layers = layer_tables([network.products[product] for _, product in points])
    # A transport of a perishable product carries its age; what is bought or made is fresh.
    life = _ints(layers.stock_life[arc.destination] if arc.is_transport else 0 for arc in arcs)

    limits = list(resources.values())
    capacity = _floats(_most_shipped(limits, arc) for arc in arcs)
    backorders = _flags(arc.entry.unfilled == "backordered" for arc in arcs)
    waits = _flags(arc.uses and (arc.entry.when_down or _usual(arc.entry)) == "waits" for arc in arcs)
    lot = _floats(arc.entry.lot_size or float(network.products[arc.product].integer) for arc in arcs)
    maximum = whole_lots(_floats(_or_infinite(arc.entry.maximum_order) for arc in arcs), lot, np.floor)
    inputs = (
        np.repeat(np.arange(len(arcs)), [len(arc.inputs) for arc in arcs]),
        _ints(i for arc in arcs for i, _ in arc.inputs),
        _floats(c for arc in arcs for _, c in arc.inputs),
    )
    draw_ptr, by_stock = _by(inputs[1], len(points))
    demand_stock = _ints(stock_index[d.site, d.product] for d in demands)
    sold_ptr, sold_demand = _by(demand_stock, len(points))
    level = _levels(arcs, tables, len(points), phase_order)
    with_goodwill = _flags(d.goodwill is not None for d in demands)

    topology = Topology(
        phase_order=phase_order,
        stock_holding=_floats(stock.holding_cost for stock in stocks),
        stock_by_priority=_flags(network.sites[site].rationing == "priority" for site, _ in points),
        stock_terminal=_floats(stock.terminal_value for stock in stocks),
        stock_waste_cost=_floats(stock.waste_cost for stock in stocks),
        arc_destination=destination,
        arc_capacity=capacity,
        arc_order_limit=np.minimum(maximum, np.where(backorders, np.inf, capacity)),
        arc_minimum=whole_lots(_floats(arc.entry.minimum_order for arc in arcs), lot, np.ceil),
        arc_lot=lot,
        arc_maximum=maximum,
        arc_backorders=backorders,
        arc_waits=waits,
        arc_owes=backorders | waits,
        arc_integer=_flags(network.products[arc.product].integer for arc in arcs),
        arc_crossing=_flags(arc.entry.crossing for arc in arcs),
        arc_unit_cost=_floats(arc.price for arc in arcs),
        arc_freight=_floats(arc.freight for arc in arcs),
        arc_fixed=_floats(arc.entry.fixed_cost for arc in arcs),
        arc_transit_holding=_floats(arc.entry.transit_holding_cost for arc in arcs),
        arc_emission_cost=_floats(arc.entry.emissions_kg_per_unit * emission_price / arc.yield_share for arc in arcs),
        arc_backorder_cost=_floats(arc.entry.backorder_cost for arc in arcs),
        arc_window=np.floor(lead_mean + 0.5).astype(np.int64) + delay,
        arc_fixed_lead=_ints(-1 if table[:-1].any() else len(table) - 1 for table in tables),
        arc_life=life,
        pipe_ptr=_ptr(slots),
        mail_ptr=_ptr(delay),
        transit_ptr=_ptr(slots * life),
        in_ptr=_ptr(len(arc.inputs) for arc in arcs),
        in_stock=inputs[1],
        in_coefficient=inputs[2],
        use_ptr=_ptr(len(arc.uses) for arc in arcs),
        use_resource=_ints(r for arc in arcs for r, _ in arc.uses),
        use_coefficient=_floats(c for arc in arcs for _, c in arc.uses),
        ship_order=np.argsort(level, kind="stable").astype(np.int64),
        draw_ptr=draw_ptr,
        draw_arc=inputs[0][by_stock].astype(np.int64),
        draw_coefficient=inputs[2][by_stock],
        sold_ptr=sold_ptr,
        sold_demand=sold_demand,
        sequence=_downstream_first(inputs, destination, len(points)),
        group_ptr=group_ptr,
        group_arc=group_arc,
        resource_capacity=_floats(_or_infinite(r.capacity) for r in limits),
        resource_by_priority=_flags(r.rationing == "priority" for r in limits),
        resource_cost=_floats(r.cost_per_unit for r in limits),
        resource_overhead=_floats(r.overhead for r in limits),
        resource_overhead_down=_floats(
            r.overhead if r.overhead_when_down is None else r.overhead_when_down for r in limits
        ),
        calendar_ptr=_ptr(len(r.calendar) for r in limits),
        calendar_share=_floats(share for r in limits for share in r.calendar),
        demand_stock=demand_stock,
        demand_backlogs=_flags(d.unmet == "backlog" for d in demands),
        demand_integer=_flags(network.products[d.product].integer for d in demands),
        demand_penalty=_floats(d.penalty for d in demands),
        demand_price=_floats(d.price for d in demands),
        demand_goodwill=np.where(with_goodwill, np.cumsum(with_goodwill) - 1, -1).astype(np.int64),
        goodwill_rate=_floats(d.goodwill.rate for d in demands if d.goodwill is not None),
        goodwill_floor=_floats(d.goodwill.floor for d in demands if d.goodwill is not None),
        stock_life=layers.stock_life,
        stock_waste=layers.waste,
        layer_ptr=layers.ptr,
        layer_life=layers.life,
        layer_next=layers.next,
        layer_ageing=layers.ageing,
        entry_ptr=layers.entry_ptr,
        entry_layer=layers.entry,
    )
    distributions = tuple(
        tuple(d.distribution.scaled(f) for f in d.seasonality.factors) if d.seasonality else (d.distribution,)
        for d in demands
    )
    flows = nominal_flows(
        usual_shares([arc.entry.share for arc in arcs], destination, len(points)),
        destination,
        inputs,
        _sums(demand_stock, (np.mean([s.mean_value for s in seasons]) for seasons in distributions), len(points)),
        _sums(demand_stock, (np.mean([s.variance for s in seasons]) for seasons in distributions), len(points)),
        topology.arc_unit_cost + topology.arc_freight,
    )
    chains = np.array([two_state_chain(r, network.causes, network.periods) for r in limits]).reshape(-1, 3)
    return CompiledNetwork(
        network=network,
        topology=topology,
        stock_names=tuple(f"{site}/{product}" for site, product in points),
        arc_names=tuple(arc.name for arc in arcs),
        resource_names=tuple(resources),
        demand_names=tuple(network.demands),
        arc_ends=tuple((arc.origin, points[arc.destination][0]) for arc in arcs),
        arc_units=tuple(network.products[arc.product].unit for arc in arcs),
        stock_units=tuple(network.products[product].unit for _, product in points),
        lead_tables=tuple(tables),
        lead_series=tuple(_lead_series(network, arc) for arc in arcs),
        lead_mean=lead_mean,
        lead_variance=lead_variance,
        initial_on_hand=_floats(stock.initial for stock in stocks),
        initial_flow=_floats(arc.entry.initial_flow for arc in arcs),
        demand_distributions=distributions,
        demand_periods_per_season=_ints(d.seasonality.periods_per_factor if d.seasonality else 1 for d in demands),
        resource_failure=chains[:, 0].copy(),
        resource_recovery=chains[:, 1].copy(),
        resource_share_when_down=chains[:, 2].copy(),
        disruptions=compile_disruptions(resources, network.causes, network.periods),
        demand_rate=flows.rate,
        demand_variance=flows.variance,
        arc_flow=flows.arc_flow,
        unit_value=flows.unit_value,
        relations=relations_of(
            network,
            [arc.origin for arc in arcs],
            [[r for r, _ in arc.uses if r < len(network.resources)] for arc in arcs],
        ),
        prices=prices_of(network),
    )


def _floats(values: object) -> FloatArray:
    return np.fromiter(values, dtype=np.float64)  # type: ignore[call-overload, no-any-return]


def _ints(values: object) -> IntArray:
    return np.fromiter(values, dtype=np.int64)  # type: ignore[call-overload, no-any-return]


def _flags(values: object) -> NDArray[np.bool_]:
    return np.fromiter(map(bool, values), dtype=np.bool_)  # type: ignore[call-overload]


def _sums(index: IntArray, values: object, size: int) -> FloatArray:
    return np.bincount(index, weights=_floats(values), minlength=size).astype(np.float64)


def _by(index: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Positions of ``index`` grouped by its value: pointers and the positions, each group in order."""
    return _ptr(np.bincount(index, minlength=size)), np.argsort(index, kind="stable").astype(np.int64)


def _or_infinite(limit: float | None) -> float:
    return np.inf if limit is None else limit


def _usual(entry: ArcTerms) -> str:
    """What happens to an order while the source is down, where the file does not say."""
    return "waits" if entry.unfilled == "backordered" else "refused"


def _ptr(lengths: object) -> IntArray:
    return np.concatenate([[0], np.cumsum(_ints(lengths))]).astype(np.int64)


def _arcs(network: Network, stock_index: dict[tuple[str, str], int], resource_index: dict[str, int]) -> list[_Arc]:
    arcs = []
    for lane in network.lanes:
        supplier = network.suppliers.get(lane.origin)
        destination = stock_index[lane.destination, lane.product]
        for mode_name, mode in lane.modes.items():
            uses: dict[str, float] = dict(supplier.uses) if supplier else {}
            for name, amount in mode.uses.items():
                uses[name] = uses.get(name, 0.0) + amount
            if supplier and supplier.contract is not None:
                uses[CONTRACT_RESOURCE.format(lane.origin)] = 1.0
            arcs.append(
                _Arc(
                    name=f"{lane.origin}->{lane.destination}:{mode_name}:{lane.product}",
                    origin=lane.origin,
                    destination=destination,
                    inputs=[] if supplier else [(stock_index[lane.origin, lane.product], 1.0)],
                    uses=[(resource_index[name], amount) for name, amount in uses.items()],
                    entry=mode,
                    price=supplier.offers[lane.product].price if supplier else 0.0,
                    freight=mode.freight_cost,
                    product=lane.product,
                    delay=supplier.delay if supplier else None,
                )
            )
    for name, recipe in network.recipes.items():
        arcs.append(
            _Arc(
                name=f"{recipe.site}:make:{name}",
                origin=recipe.site,
                destination=stock_index[recipe.site, recipe.product],
                inputs=[
                    (stock_index[recipe.site, product], amount / recipe.yield_share)
                    for product, amount in recipe.inputs.items()
                ],
                uses=[(resource_index[name], amount / recipe.yield_share) for name, amount in recipe.uses.items()],
                entry=recipe,
                price=recipe.unit_cost / recipe.yield_share,
                freight=0.0,
                product=recipe.product,
                delay=None,
                yield_share=recipe.yield_share,
            )
        )
    return arcs


def _contract_resources(network: Network) -> dict[str, Resource]:
    """The hidden resource of every contract."""
    return {
        CONTRACT_RESOURCE.format(name): Resource(capacity=supplier.contract.capacity)
        for name, supplier in network.suppliers.items()
        if supplier.contract is not None
    }


def _most_shipped(resources: list[Resource], arc: _Arc) -> float:
    """Most units an arc can ever ship in a period: its own capacity, and that of every resource it uses."""
    limits = [_or_infinite(arc.entry.capacity)]
    capacities = [_or_infinite(resource.capacity) for resource in resources]
    limits += [capacities[r] / amount for r, amount in arc.uses]
    return float(min(limits))


def _lead_table(network: Network, arc: _Arc) -> FloatArray:
    """Cumulative lead-time table of an arc, its supplier's lateness included."""
    table = period_table(arc.entry.lead_time, network.periods(arc.entry.lead_time_unit))
    if arc.delay is None or arc.delay.probability == 0.0:
        return table
    late = period_table(arc.delay.time, network.periods(arc.delay.unit))
    return late_table(table, late, arc.delay.probability, tail=1e-4)


def _lead_series(network: Network, arc: _Arc) -> IntArray | None:
    if not isinstance(arc.entry.lead_time, Recorded):
        return None
    return whole_periods(np.asarray(arc.entry.lead_time.values), network.periods(arc.entry.lead_time_unit))


def _table_moments(table: FloatArray) -> tuple[float, float]:
    weights = np.diff(table, prepend=0.0)
    values = np.arange(len(table), dtype=np.float64)
    mean = float(weights @ values)
    return mean, float(weights @ values**2) - mean**2


def _levels(arcs: list[_Arc], tables: list[FloatArray], n_stocks: int, phase_order: int) -> IntArray:
    """Order within the order phase: what a zero-lead arc brings can be shipped on by arcs of a higher level.

    Where orders come before receipts ("order, receive, demand") sources ship from the stock they start the period
    with, so there is one level only.
    """
    stock_level = np.zeros(n_stocks, dtype=np.int64)
    arc_level = np.zeros(len(arcs), dtype=np.int64)
    if phase_order == ORDER_RECEIVE_DEMAND:
        return arc_level
    changed = True
    while changed:  # ends because cycles of zero lead time are refused by the checks
        changed = False
        for a, arc in enumerate(arcs):
            level = max([0, *(int(stock_level[i]) for i, _ in arc.inputs)])
            arc_level[a] = level
            feeds_now = tables[a][0] > 0.0
            if feeds_now and stock_level[arc.destination] <= level:
                stock_level[arc.destination] = level + 1
                changed = True
    return arc_level


def _groups(destination: IntArray, expected: FloatArray, n_stocks: int) -> tuple[IntArray, IntArray]:
    """Arcs by destination, shortest expected time first (file order breaks ties)."""
    return _ptr(np.bincount(destination, minlength=n_stocks)), np.lexsort((expected, destination)).astype(np.int64)


def _downstream_first(inputs: tuple[IntArray, IntArray, FloatArray], destination: IntArray, n_stocks: int) -> IntArray:
    """Stock points with every one after all that it feeds; rings of lateral lanes count as one, in file order."""
    feeds = sorted(set(zip(inputs[1].tolist(), destination[inputs[0]].tolist(), strict=True)))
    order = _sorted_topologically(feeds, n_stocks)
    if order is None:  # rings
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(range(n_stocks))
        graph.add_edges_from((fed, source) for source, fed in feeds)
        rings = nx.condensation(graph)
        sequence = nx.lexicographical_topological_sort(rings, key=lambda ring: min(rings.nodes[ring]["members"]))
        order = [i for ring in sequence for i in sorted(rings.nodes[ring]["members"])]
    return _ints(order)


def _sorted_topologically(feeds: list[tuple[int, int]], n: int) -> list[int] | None:
    """Numbers 0..n-1, each after all that it feeds and the smallest first; None where there is a ring (Kahn 1962)."""
    waiting = [0] * n
    sources: list[list[int]] = [[] for _ in range(n)]
    for source, fed in feeds:
        waiting[source] += 1
        sources[fed].append(source)
    ready = [i for i in range(n) if waiting[i] == 0]
    order = []
    while ready:
        i = heappop(ready)
        order.append(i)
        for source in sources[i]:
            waiting[source] -= 1
            if waiting[source] == 0:
                heappush(ready, source)
    return order if len(order) == n else None
