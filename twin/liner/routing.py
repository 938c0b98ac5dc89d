"""A liner network as a network of the twin: cargo, calls and departures as products, stock points, arcs and resources.

Period: a day. What becomes what (docs/routing.md, "On the twin's engine"):

- a demand is a product and a stream of customers at its destination who wait: its backlog is cargo that is booked and
  not delivered, its penalty the value of time, its price the revenue;
- cargo of a demand at a call is a stock point, for the calls on its candidate itineraries;
- loading, refusing and sending by air are purchases; a leg, a transshipment and discharging are transports. A leg takes
  as long as from departure to departure, so that cargo on board sails on without waiting;
- the slots of a departure are a resource with a calendar, a port's moves one with an availability, a canal one that is
  there or not; a leg through a canal and the way around are two modes of one lane;
- what the services cost whatever they carry is the overhead of resources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.compile import CompiledNetwork, compile_network
from twin.disruptions import Availability
from twin.liner.calls import CallGraph, call_graph
from twin.liner.itineraries import Candidate, checked
from twin.liner.network import LinerNetwork
from twin.liner.sailing import passages, voyage
from twin.liner.schedule import WEEK, LegWay, Schedule, leg_ways, schedule
from twin.liner.terms import RoutingTerms, check_terms, most_moves
from twin.network import Network

__all__ = ["AIR", "DISCHARGE", "LEG", "LOAD", "REFUSE", "TRANSFER", "RoutingNetwork", "routing_network"]

IntArray = NDArray[np.int64]

#: What an arc is.
LOAD, LEG, TRANSFER, DISCHARGE, AIR, REFUSE = range(6)

#: Moves that a port makes for one FFE, as in agents.oracles.cargo_program.
_HANDLED, _TRANSSHIPPED = 1.0, 2.0

#: Characters of a name of the file within a name of the network, whose names have at most 64.
_LONGEST = 24


@dataclass(frozen=True, eq=False)
class RoutingNetwork:
    """A network of the twin, and what its parts are on the liner network. A arcs, I stock points, N calls, P ports.

    Attributes
    ----------
    liner, terms, graph, schedule, candidates
        What it was made of.
    network, compiled
        The network of the twin.
    arc_kind
        (A,) ``LOAD``, ``LEG``, ``TRANSFER``, ``DISCHARGE``, ``AIR`` or ``REFUSE``.
    arc_demand
        (A,) whose cargo it carries.
    arc_tail, arc_head
        (A,) calls from and to; -1 for what comes from outside, and at the destination.
    arc_around
        (A,) the same leg by the next longer way, -1 where there is none.
    stock_node, stock_demand
        (I,) call, or -1 for what is delivered, and demand.
    slot_resource, move_resource
        (N,) and (P,) resources of departures and of ports; -1 where no candidate needs one.
    canal_resource
        Passages that may close -> resource.
    """

    liner: LinerNetwork
    terms: RoutingTerms
    graph: CallGraph
    schedule: Schedule
    candidates: tuple[Candidate, ...]
    network: Network
    compiled: CompiledNetwork
    arc_kind: IntArray
    arc_demand: IntArray
    arc_tail: IntArray
    arc_head: IntArray
    arc_around: IntArray
    stock_node: IntArray
    stock_demand: IntArray
    slot_resource: IntArray
    move_resource: IntArray
    canal_resource: Mapping[str, int]


def routing_network(
    liner: LinerNetwork, candidates: Sequence[Candidate], terms: RoutingTerms | None = None
) -> RoutingNetwork:
    """The twin's network of a liner network.

    Parameters
    ----------
    liner
        Ports, services and demands.
    candidates
        Itineraries that cargo may take; a demand without any can only be refused, or go by air.
    terms
        What else it needs; nothing fails and time costs nothing when left out.

    Raises
    ------
    NetworkError
        For an impossible itinerary, an unknown port or passage, or a share of the moves of a port without limit.
    """
    terms = RoutingTerms() if terms is None else terms
    graph = call_graph(liner)
    check_terms(liner, terms)
    build = _Builder(liner, terms, graph, checked(graph, candidates))
    build.purchases()
    build.transports()
    network = Network.parse(build.data(), where=f"liner network '{liner.name}' on the twin")
    compiled = compile_network(network)
    # Arcs are in the order of the lanes and their modes; stock points are known by their names.
    numbers = np.array(build.arcs, dtype=np.int64).reshape(-1, 4)
    points = [build.points[point] for point in network.stock_points()]
    place = {name: r for r, name in enumerate(compiled.resource_names)}
    return RoutingNetwork(
        liner=liner,
        terms=terms,
        graph=graph,
        schedule=build.schedule,
        candidates=build.candidates,
        network=network,
        compiled=compiled,
        arc_kind=numbers[:, 0].copy(),
        arc_demand=numbers[:, 1].copy(),
        arc_tail=numbers[:, 2].copy(),
        arc_head=numbers[:, 3].copy(),
        arc_around=np.array(build.around, dtype=np.int64),
        stock_node=np.array([node for node, _ in points], dtype=np.int64),
        stock_demand=np.array([demand for _, demand in points], dtype=np.int64),
        slot_resource=np.array([place.get(build.slots(n), -1) for n in range(len(graph.port))], dtype=np.int64),
        move_resource=np.array([place.get(build.moves(p), -1) for p in range(len(graph.port_names))], dtype=np.int64),
        canal_resource={name: place[_canal(c, name)] for c, name in enumerate(build.closable)},
    )


def _canal(number: int, name: str) -> str:
    return f"canal.{number}.{name[:_LONGEST]}"


@dataclass(eq=False)
class _Builder:
    """Lanes, and the plain data of the network around them."""

    liner: LinerNetwork
    terms: RoutingTerms
    graph: CallGraph
    candidates: tuple[Candidate, ...]
    lanes: list[dict[str, Any]] = field(default_factory=list)
    #: Per arc its kind, demand, tail and head; and the next way of the same leg.
    arcs: list[tuple[int, int, int, int]] = field(default_factory=list)
    around: list[int] = field(default_factory=list)
    points: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        liner, graph = self.liner, self.graph
        self.schedule = schedule(liner)
        self.weekly = [cargo.ffe_per_week for cargo in liner.demands]
        open_or_closed = passages(liner)
        self.closable = tuple(name for name in open_or_closed if self._fails(name))
        services = list(liner.services)
        self.ways: list[tuple[LegWay, ...]] = [
            leg_ways(liner, services[s], int(c), self.closable) for s, c in zip(graph.service, graph.call, strict=True)
        ]
        for p in range(len(graph.port_names)):
            if most_moves(liner, self.terms, graph.port_names[p]) is not None or self._fails(graph.port_names[p]):
                self.used.add(self.moves(p))

    def _fails(self, name: str) -> bool:
        return name in self.terms.ports or name in self.terms.canals or bool(self.terms.depends.get(name))

    # -- names --------------------------------------------------------------------------------------------------------

    def cargo(self, d: int) -> str:
        """Product and stream of a demand."""
        cargo = self.liner.demands[d]
        return f"{d}.{cargo.origin[:_LONGEST]}-{cargo.destination[:_LONGEST]}"

    def call(self, node: int) -> str:
        """Site of a call."""
        graph = self.graph
        return f"{node}.{graph.port_names[graph.port[node]][:_LONGEST]}.{graph.service_names[graph.service[node]][:30]}"

    def port(self, p: int) -> str:
        """Site of what is delivered in a port."""
        return f"to.{p}.{self.graph.port_names[p][:_LONGEST]}"

    def slots(self, node: int) -> str:
        """Resource of the departures from a call."""
        return f"slots.{self.call(node)[:56]}"

    def moves(self, p: int) -> str:
        """Resource of a port."""
        return f"moves.{p}.{self.graph.port_names[p][:_LONGEST]}"

    # -- arcs ---------------------------------------------------------------------------------------------------------

    def _lane(self, kind: int, demand: int, ends: tuple[int, int], sites: tuple[str, str], **modes: Any) -> None:
        """A lane with its modes, the first being the usual one."""
        first = len(self.arcs)
        for mode in modes.values():
            mode["uses"] = {name: use for name, use in mode.get("uses", {}).items() if name in self.used}
        self.arcs += [(kind, demand, *ends)] * len(modes)
        self.around += [*range(first + 1, first + len(modes)), -1]
        product = self.cargo(demand)
        self.points[sites[1], product] = (ends[1], demand)
        self.lanes.append({"from": sites[0], "to": sites[1], "product": product, "modes": modes})

    def purchases(self) -> None:
        """Loading at the first calls of the candidates, air and refusal."""
        graph, terms = self.graph, self.terms
        first: dict[int, dict[int, None]] = {}
        for entry in self.candidates:
            first.setdefault(entry.demand, {})[entry.nodes[0]] = None
        for d in range(len(graph.demand)):
            handling = float(graph.handling_cost[graph.origin[d]])
            uses = {self.moves(int(graph.origin[d])): _HANDLED}
            for node in first.get(d, ()):
                load = {"lead_time": 0, "freight_cost": handling, "uses": uses}
                self._lane(LOAD, d, (-1, node), ("shippers", self.call(node)), load=load)
            there = self.port(int(graph.destination[d]))
            if terms.air_cost_per_ffe is not None:
                self._lane(AIR, d, (-1, -1), ("airline", there), air={"lead_time": terms.air_days})
            self._lane(REFUSE, d, (-1, -1), ("refusal", there), refuse={"lead_time": 0})

    def transports(self) -> None:
        """Legs, transshipments and discharging, each once per demand."""
        graph, days = self.graph, self.terms.transshipment_days
        done: set[tuple[int, int, int]] = set()
        for entry in self.candidates:
            d = entry.demand
            for one, other in (*pairwise(entry.nodes), (entry.nodes[-1], -1)):
                if (d, one, other) in done:
                    continue
                done.add((d, one, other))
                sites = self.call(one), self.port(int(graph.destination[d])) if other < 0 else self.call(other)
                moves = self.moves(int(graph.port[one]))
                if other < 0:
                    cost = float(graph.handling_cost[graph.port[one]])
                    mode = {"lead_time": 0, "freight_cost": cost, "uses": {moves: _HANDLED}}
                    self._lane(DISCHARGE, d, (one, other), sites, discharge=mode)
                elif graph.port[one] == graph.port[other]:
                    cost = float(graph.transshipment_cost[graph.port[one]])
                    mode = {"lead_time": days, "freight_cost": cost, "uses": {moves: _TRANSSHIPPED}}
                    self._lane(TRANSFER, d, (one, other), sites, transfer=mode)
                else:
                    self._lane(LEG, d, (one, other), sites, **self._sailing(one))

    def _sailing(self, node: int) -> dict[str, Any]:
        self.used.add(self.slots(node))
        modes = {}
        for k, way in enumerate(self.ways[node]):
            canals = [_canal(self.closable.index(name), name) for name in way.passes]
            self.used.update(canals)
            modes["sail" if k == 0 else f"around{k}"] = {
                "lead_time": int(self.schedule.leg_days[node]) + way.more_days,
                "uses": dict.fromkeys([self.slots(node), *canals], 1.0),
            }
        return modes

    # -- the rest -----------------------------------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        """Plain data of the whole network."""
        liner, terms, graph = self.liner, self.terms, self.graph
        cargo = [self.cargo(d) for d in range(len(graph.demand))]
        sites: dict[str, Any] = {}
        for (site, product), (node, _) in sorted(self.points.items(), key=lambda entry: entry[1]):
            stock = {"holding_cost": terms.storage_cost} if node >= 0 else {}
            sites.setdefault(site, {"kind": "port", "stock": {}})["stock"][product] = stock
        lost = graph.revenue + liner.rejection_penalty_per_ffe
        suppliers = {"refusal": {"offers": {name: {"price": float(lost[d])} for d, name in enumerate(cargo)}}}
        if self.candidates:
            loaded: dict[str, Any] = {self.cargo(entry.demand): {} for entry in self.candidates}
            suppliers["shippers"] = {"offers": loaded}
        if terms.air_cost_per_ffe is not None:
            suppliers["airline"] = {"offers": {name: {"price": terms.air_cost_per_ffe} for name in cargo}}
        return {
            "name": liner.name,
            "description": f"the liner network {liner.name} with {len(self.candidates)} candidate itineraries",
            "source": liner.source,
            "licence": liner.licence,
            "provenance": liner.provenance,
            "period": "day",
            "currency": liner.currency,
            "products": {name: {"unit": "FFE"} for name in cargo},
            "suppliers": suppliers,
            "sites": sites,
            "lanes": self.lanes,
            "resources": self._resources(),
            "causes": terms.causes,
            "demands": {name: self._demand(d) for d, name in enumerate(cargo)},
        }

    def _resources(self) -> dict[str, Any]:
        terms, graph, out = self.terms, self.graph, {}
        for node in range(len(graph.port)):
            if self.slots(node) in self.used:
                leaves = int(self.schedule.weekday[node])
                calendar = [float(day == leaves) for day in range(WEEK)]
                out[self.slots(node)] = {"capacity": float(graph.leg_capacity[node]), "calendar": calendar}
        for p, name in enumerate(graph.port_names):
            if self.moves(p) in self.used:
                most = most_moves(self.liner, terms, name)
                out[self.moves(p)] = {"unit": "move"} | ({} if most is None else {"capacity": most})
                out[self.moves(p)] |= self._failing(terms.ports, name)
        for c, name in enumerate(self.closable):
            # A closed canal takes no fees; vessels burn more on the way around. With several closed at once, a leg
            # that needs each of them pays for the way around each.
            fees = {n: self._fee(n, name) for n, ways in enumerate(self.ways) if name in ways[0].passes}
            detours = (next((way for way in self.ways[n] if name not in way.passes), None) for n in fees)
            more = math.fsum(way.more_cost for way in detours if way is not None)
            out[_canal(c, name)] = self._failing(terms.canals, name) | {
                "overhead": math.fsum(fees.values()) / WEEK,
                "overhead_when_down": max(more, 0.0) / WEEK,
            }
        # The rest of what the services cost is there whatever happens.
        for s, name in enumerate(self.liner.services):
            weekly = voyage(self.liner, name).cost.total
            mine = [n for n in range(len(graph.port)) if graph.service[n] == s]
            weekly -= math.fsum(self._fee(n, canal) for n in mine for canal in self.closable)
            if weekly > 0.0:
                out[f"service.{s}.{name[:_LONGEST]}"] = {"overhead": weekly / WEEK}
        return out

    def _fee(self, node: int, canal: str) -> float:
        """Money per sailing that a closable canal takes on the usual way of a leg."""
        if canal not in self.ways[node][0].passes:
            return 0.0
        service = self.liner.services[self.graph.service_names[self.graph.service[node]]]
        fees = self.liner.vessel_classes[service.vessel_class].canal_fees
        return next((fee for name, fee in fees.items() if name == canal), 0.0)

    def _failing(self, own: Mapping[str, Availability], name: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if name in own:
            out["availability"] = own[name]
        if self.terms.depends.get(name):
            out["causes"] = list(self.terms.depends[name])
        return out

    def _demand(self, d: int) -> dict[str, Any]:
        graph, mean = self.graph, float(self.graph.demand[d]) / WEEK
        law: Any = mean
        if self.terms.booking == "weekly":
            booked = self._booking_day(d)
            law = {"distribution": "recorded", "values": [WEEK * mean * (day == booked) for day in range(WEEK)]}
        elif self.terms.weekly_demand_cv > 0.0 and mean > 0.0:
            # Seven independent days whose sum varies as asked.
            law = {"distribution": "gamma", "mean": mean, "sd": mean * self.terms.weekly_demand_cv * math.sqrt(WEEK)}
        return {
            "site": self.port(int(graph.destination[d])),
            "product": self.cargo(d),
            "distribution": law,
            "unmet": "backlog",
            "penalty": self.terms.value_of_time,
            "price": float(graph.revenue[d]),
        }

    def _booking_day(self, d: int) -> int:
        """The eve of the departure at which the first of its candidates begins."""
        mine = [entry.nodes[0] for entry in self.candidates if entry.demand == d]
        return int(self.schedule.weekday[mine[0]] - 1) % WEEK if mine else 0
