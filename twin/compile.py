"""Network -> CompiledNetwork: flat, integer-indexed arrays that the engines run on.

Everything that can bring stock is an arc: a purchase (no input), a transport (one input, coefficient 1), a production
(the recipe's inputs). Arcs, stock points, resources and demand streams are numbered in file order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from twin.distributions import Distribution
from twin.network import Delay, Mode, Network, Recipe
from twin.periods import period_table

__all__ = ["CompiledNetwork", "Topology", "compile_network"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Phase orders as numbers, for the kernel.
RECEIVE_ORDER_DEMAND, ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER = 0, 1, 2
_PHASES = {
    ("receive", "order", "demand"): RECEIVE_ORDER_DEMAND,
    ("order", "receive", "demand"): ORDER_RECEIVE_DEMAND,
    ("receive", "demand", "order"): RECEIVE_DEMAND_ORDER,
}


class Topology(NamedTuple):
    """The arrays of a compiled network that the kernel reads. Sizes: I stock points, A arcs, R resources, D demands.

    ``*_ptr`` arrays delimit ragged lists: the inputs of arc a are ``in_stock[in_ptr[a]:in_ptr[a + 1]]``.
    ``arc_capacity`` is the most an arc can ship in a period, its resources included; ``arc_order_limit`` the most that
    is worth ordering at once: the same where the rest would be cancelled, infinite where it would be backordered.
    """

    phase_order: int
    # stock points (I,)
    stock_holding: FloatArray
    stock_by_priority: NDArray[np.bool_]
    # arcs (A,)
    arc_destination: IntArray
    arc_level: IntArray
    arc_capacity: FloatArray
    arc_order_limit: FloatArray
    arc_backorders: NDArray[np.bool_]
    arc_integer: NDArray[np.bool_]
    arc_unit_cost: FloatArray
    arc_freight: FloatArray
    arc_fixed: FloatArray
    arc_transit_holding: FloatArray
    arc_emission_cost: FloatArray
    arc_window: IntArray
    arc_fixed_lead: IntArray
    pipe_ptr: IntArray
    in_ptr: IntArray
    in_stock: IntArray
    in_coefficient: FloatArray
    use_ptr: IntArray
    use_resource: IntArray
    use_coefficient: FloatArray
    levels: int
    # base-stock orders are decided downstream first, and arcs into one stock point nearest first
    sequence: IntArray
    group_ptr: IntArray
    group_arc: IntArray
    # resources (R,)
    resource_capacity: FloatArray
    resource_by_priority: NDArray[np.bool_]
    resource_cost: FloatArray
    # demands (D,)
    demand_stock: IntArray
    demand_backlogs: NDArray[np.bool_]
    demand_penalty: FloatArray
    demand_price: FloatArray


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
    lead_mean, lead_variance
        Per arc, in periods, of those tables. Shape (A,).
    demand_distributions
        Per demand stream, the distribution in each season (one entry when there is no seasonality).
    demand_rate, demand_variance
        Per stock point, expected requirement per period (own demand and that of everything it feeds) and its
        variance. Shape (I,).
    arc_flow
        Per arc, expected units per period under the usual shares. Shape (A,).
    unit_value
        Per stock point, what a unit there has usually cost by then: purchase prices and freight along the usual
        shares, inputs of recipes included (standard cost). Shape (I,), money per unit.
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
    lead_mean: FloatArray
    lead_variance: FloatArray
    initial_on_hand: FloatArray
    initial_flow: FloatArray
    demand_distributions: tuple[tuple[Distribution, ...], ...]
    demand_periods_per_season: IntArray
    resource_failure: FloatArray
    resource_recovery: FloatArray
    resource_share_when_down: FloatArray
    demand_rate: FloatArray
    demand_variance: FloatArray
    arc_flow: FloatArray
    unit_value: FloatArray

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
    def n_demands(self) -> int:
        """Number of demand streams."""
        return len(self.demand_names)

    @property
    def pipeline_slots(self) -> int:
        """Length of all pipelines together."""
        return int(self.topology.pipe_ptr[-1])

    def content_hash(self) -> str:
        """SHA-256 of the network's content.

        Two files that mean the same network share it. Order counts: it numbers stock points and arcs, and decides who
        is served first under priority rationing.
        """
        text = json.dumps(self.network.model_dump(mode="json", by_alias=True), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def season(self, demand: int, period: IntArray) -> IntArray:
        """Index of the season of a demand stream in calendar periods ``period``."""
        seasons = len(self.demand_distributions[demand])
        return np.asarray((period // self.demand_periods_per_season[demand]) % seasons)

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
    entry: Mode | Recipe
    price: float
    freight: float
    product: str
    delay: Delay | None


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
    resource_index = {name: r for r, name in enumerate(network.resources)}
    arcs = _arcs(network, stock_index, resource_index)
    tables = [_lead_table(network, arc) for arc in arcs]
    lead_mean = np.array([_table_moments(table)[0] for table in tables])
    lead_variance = np.array([_table_moments(table)[1] for table in tables])
    phase_order = _PHASES[network.phases]

    # A pipeline needs one slot per period of the longest lead time; where orders come before receipts the order
    # placed now and due now needs a slot of its own.
    slots = [max(1, len(table) - (phase_order != ORDER_RECEIVE_DEMAND)) for table in tables]
    arc_level = _levels(arcs, tables, len(points), phase_order)
    stocks = [network.sites[site].stock[product] for site, product in points]
    emission_price = network.emission_price_per_kg
    demands = list(network.demands.values())
    group_ptr, group_arc = _groups(arcs, lead_mean, len(points))

    capacity = _floats(_most_shipped(network, arc) for arc in arcs)
    backorders = np.array([arc.entry.unfilled == "backordered" for arc in arcs], dtype=np.bool_)

    topology = Topology(
        phase_order=phase_order,
        stock_holding=_floats(stock.holding_cost for stock in stocks),
        stock_by_priority=np.array([network.sites[site].rationing == "priority" for site, _ in points], dtype=np.bool_),
        arc_destination=_ints(arc.destination for arc in arcs),
        arc_level=arc_level,
        arc_capacity=capacity,
        arc_order_limit=np.where(backorders, np.inf, capacity),
        arc_backorders=backorders,
        arc_integer=np.array([network.products[arc.product].integer for arc in arcs], dtype=np.bool_),
        arc_unit_cost=_floats(arc.price for arc in arcs),
        arc_freight=_floats(arc.freight for arc in arcs),
        arc_fixed=_floats(arc.entry.fixed_cost for arc in arcs),
        arc_transit_holding=_floats(arc.entry.transit_holding_cost for arc in arcs),
        arc_emission_cost=_floats(arc.entry.emissions_kg_per_unit * emission_price for arc in arcs),
        arc_window=np.floor(lead_mean + 0.5).astype(np.int64),
        arc_fixed_lead=_ints(-1 if table[:-1].any() else len(table) - 1 for table in tables),
        pipe_ptr=np.concatenate([[0], np.cumsum(slots)]).astype(np.int64),
        in_ptr=_ptr(len(arc.inputs) for arc in arcs),
        in_stock=_ints(i for arc in arcs for i, _ in arc.inputs),
        in_coefficient=_floats(c for arc in arcs for _, c in arc.inputs),
        use_ptr=_ptr(len(arc.uses) for arc in arcs),
        use_resource=_ints(r for arc in arcs for r, _ in arc.uses),
        use_coefficient=_floats(c for arc in arcs for _, c in arc.uses),
        levels=int(max([0, *arc_level])) + 1,
        sequence=_downstream_first(arcs, len(points)),
        group_ptr=group_ptr,
        group_arc=group_arc,
        resource_capacity=_floats(r.capacity for r in network.resources.values()),
        resource_by_priority=np.array([r.rationing == "priority" for r in network.resources.values()], dtype=np.bool_),
        resource_cost=_floats(r.cost_per_unit for r in network.resources.values()),
        demand_stock=_ints(stock_index[d.site, d.product] for d in demands),
        demand_backlogs=np.array([d.unmet == "backlog" for d in demands], dtype=np.bool_),
        demand_penalty=_floats(d.penalty for d in demands),
        demand_price=_floats(d.price for d in demands),
    )
    distributions = tuple(
        tuple(d.distribution.scaled(f) for f in d.seasonality.factors) if d.seasonality else (d.distribution,)
        for d in demands
    )
    rate, variance, flow, value = _nominal_flows(arcs, distributions, topology, len(points))
    availability = [r.availability for r in network.resources.values()]
    return CompiledNetwork(
        network=network,
        topology=topology,
        stock_names=tuple(f"{site}/{product}" for site, product in points),
        arc_names=tuple(arc.name for arc in arcs),
        resource_names=tuple(network.resources),
        demand_names=tuple(network.demands),
        arc_ends=tuple((arc.origin, points[arc.destination][0]) for arc in arcs),
        arc_units=tuple(network.products[arc.product].unit for arc in arcs),
        stock_units=tuple(network.products[product].unit for _, product in points),
        lead_tables=tuple(tables),
        lead_mean=lead_mean,
        lead_variance=lead_variance,
        initial_on_hand=_floats(stock.initial for stock in stocks),
        initial_flow=_floats(arc.entry.initial_flow for arc in arcs),
        demand_distributions=distributions,
        demand_periods_per_season=_ints(d.seasonality.periods_per_factor if d.seasonality else 1 for d in demands),
        resource_failure=_floats(a.failure if a else 0.0 for a in availability),
        resource_recovery=_floats(a.recovery if a else 1.0 for a in availability),
        resource_share_when_down=_floats(a.share_when_down if a else 1.0 for a in availability),
        demand_rate=rate,
        demand_variance=variance,
        arc_flow=flow,
        unit_value=value,
    )


def _floats(values: object) -> FloatArray:
    return np.fromiter(values, dtype=np.float64)  # type: ignore[call-overload, no-any-return]


def _ints(values: object) -> IntArray:
    return np.fromiter(values, dtype=np.int64)  # type: ignore[call-overload, no-any-return]


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
                inputs=[(stock_index[recipe.site, product], amount) for product, amount in recipe.inputs.items()],
                uses=[(resource_index[resource], amount) for resource, amount in recipe.uses.items()],
                entry=recipe,
                price=recipe.unit_cost,
                freight=0.0,
                product=recipe.product,
                delay=None,
            )
        )
    return arcs


def _most_shipped(network: Network, arc: _Arc) -> float:
    """Most units an arc can ever ship in a period: its own capacity, and that of every resource it uses."""
    limits = [np.inf if arc.entry.capacity is None else arc.entry.capacity]
    capacities = [resource.capacity for resource in network.resources.values()]
    limits += [capacities[r] / amount for r, amount in arc.uses]
    return float(min(limits))


def _lead_table(network: Network, arc: _Arc) -> FloatArray:
    """Cumulative lead-time table of an arc, its supplier's lateness included (a mixture of two sums)."""
    table = period_table(arc.entry.lead_time, network.periods(arc.entry.lead_time_unit))
    if arc.delay is None or arc.delay.probability == 0.0:
        return table
    promised = np.diff(table, prepend=0.0)
    late = np.diff(period_table(arc.delay.time, network.periods(arc.delay.unit)), prepend=0.0)
    shifted = np.convolve(promised, late)
    on_time = np.zeros_like(shifted)
    on_time[: len(promised)] = promised
    mixed = np.cumsum((1.0 - arc.delay.probability) * on_time + arc.delay.probability * shifted)
    mixed = mixed[: int(np.searchsorted(mixed, 1.0 - 1e-4)) + 1]
    mixed[-1] = 1.0
    return mixed


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


def _groups(arcs: list[_Arc], lead_mean: FloatArray, n_stocks: int) -> tuple[IntArray, IntArray]:
    """Arcs by destination, shortest mean lead time first (file order breaks ties)."""
    inbound: list[list[int]] = [[] for _ in range(n_stocks)]
    for a, arc in enumerate(arcs):
        inbound[arc.destination].append(a)
    for group in inbound:
        group.sort(key=lambda a: lead_mean[a])
    return _ptr(len(group) for group in inbound), _ints(a for group in inbound for a in group)


def _downstream_first(arcs: list[_Arc], n_stocks: int) -> IntArray:
    """Stock points with every one after all that it feeds; rings of lateral lanes count as one, in file order."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n_stocks))
    graph.add_edges_from((arc.destination, i) for arc in arcs for i, _ in arc.inputs)
    rings = nx.condensation(graph)
    order = nx.lexicographical_topological_sort(rings, key=lambda ring: min(rings.nodes[ring]["members"]))
    return _ints(i for ring in order for i in sorted(rings.nodes[ring]["members"]))


def _nominal_flows(
    arcs: list[_Arc],
    distributions: tuple[tuple[Distribution, ...], ...],
    topology: Topology,
    n_stocks: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Expected requirement and variance per stock point, flow per arc and value per unit, under the usual shares.

    The requirement of a stock point is its own demand plus coefficient x share x requirement of everything it feeds:
    a linear system in the number of stock points.
    """
    share = np.zeros(len(arcs))
    for i in range(n_stocks):
        inbound = [a for a, arc in enumerate(arcs) if arc.destination == i]
        given = [arcs[a].entry.share for a in inbound]
        weights = np.array([1.0 if s is None else s for s in given], dtype=np.float64)
        if len(inbound) and weights.sum() == 0.0:
            weights[:] = 1.0
        share[inbound] = weights / weights.sum() if len(inbound) else weights
    own_rate, own_variance = np.zeros(n_stocks), np.zeros(n_stocks)
    for d, seasons in enumerate(distributions):
        own_rate[topology.demand_stock[d]] += np.mean([s.mean_value for s in seasons])
        own_variance[topology.demand_stock[d]] += np.mean([s.variance for s in seasons])
    transfer = np.zeros((n_stocks, n_stocks))
    transfer_variance = np.zeros((n_stocks, n_stocks))
    for a, arc in enumerate(arcs):
        for i, coefficient in arc.inputs:
            transfer[i, arc.destination] += coefficient * share[a]
            transfer_variance[i, arc.destination] += (coefficient * share[a]) ** 2
    identity = np.eye(n_stocks)
    rate = np.linalg.lstsq(identity - transfer, own_rate, rcond=None)[0]
    variance = np.linalg.lstsq(identity - transfer_variance, own_variance, rcond=None)[0]
    rate, variance = np.maximum(rate, 0.0), np.maximum(variance, 0.0)
    # A unit is worth what was paid on its way: value = own costs + coefficient x share x value of the inputs.
    paid = np.zeros(n_stocks)
    np.add.at(paid, topology.arc_destination, share * (topology.arc_unit_cost + topology.arc_freight))
    value = np.maximum(np.linalg.lstsq(identity - transfer.T, paid, rcond=None)[0], 0.0)
    return rate, variance, share * rate[topology.arc_destination], value
