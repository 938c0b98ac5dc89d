"""What a routing decision may look at: groups of fields, their bounds, and how they are read off a twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.features import Block, Field, Observation
from envs.inventory_features import OUTLOOK_SPANS
from envs.readers import Outlook, PeriodsLeft, Rows, Season, View
from envs.routing_costs import WayCosts
from envs.routing_loads import DepartureLoads
from envs.watcher import Watcher
from twin.errors import ActionError, did_you_mean
from twin.liner.assignment import WAIT, Assignment
from twin.liner.schedule import WEEK

__all__ = ["ROUTING_GROUPS", "RoutingGroup", "routing_observation"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
RoutingGroup = Literal[
    "availability",
    "since",
    "queue",
    "slots",
    "loads",
    "waiting",
    "under_way",
    "booked",
    "at_calls",
    "pipeline",
    "fuel",
    "calendar",
    "outlook",
    "periods_left",
]
#: Groups of fields, in the order of the observation vector.
ROUTING_GROUPS: tuple[RoutingGroup, ...] = get_args(RoutingGroup)

#: Shown only where asked for: departures of the next weeks, all the cargo, place by place, and a belief.
_ON_REQUEST = ("loads", "booked", "at_calls", "pipeline", "outlook")

#: Bounds, in weeks of what is usual.
_SPAN = 26.0


@dataclass(frozen=True, eq=False)
class Waiting:
    """What is booked and not under way, by demand."""

    assignment: Assignment

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = self.assignment.waiting(view.twin.state)


@dataclass(frozen=True, eq=False)
class UnderWay:
    """What is at calls or between them, by demand."""

    assignment: Assignment

    def read(self, view: View, out: FloatArray) -> None:
        state = view.twin.state
        out[...] = np.maximum(state.arrays.backlog - self.assignment.waiting(state), 0.0)


@dataclass(frozen=True, eq=False)
class Queue:
    """Days that what waits in a port takes at its usual rate: bookings from it, and cargo at its calls.

    Attributes
    ----------
    stocks, demands
        (K, I) and (K, D), 1 where cargo of a stock point or a booking is in the port.
    rate
        (K,) moves a day.
    """

    assignment: Assignment
    stocks: FloatArray
    demands: FloatArray
    rate: FloatArray

    def read(self, view: View, out: FloatArray) -> None:
        state = view.twin.state
        there = self.stocks @ state.arrays.on_hand + self.demands @ self.assignment.waiting(state)
        np.divide(there, self.rate[:, None], out=out)


@dataclass(frozen=True, eq=False)
class SlotsLeft:
    """Slots of the next departure that are left after what is at the call, or comes in time, on its usual way."""

    assignment: Assignment
    costs: WayCosts
    nodes: IntArray

    def read(self, view: View, out: FloatArray) -> None:
        state, assignment = view.twin.state, self.assignment
        choice = assignment.cheapest(self.costs.of(state, None, None, None))
        choice[: len(assignment.routing.graph.demand)] = WAIT
        out[...] = assignment.room(state, assignment.shares(choice))[self.nodes]


@dataclass(frozen=True, eq=False)
class Loads:
    """What is asked of the next departures, over their slots."""

    loads: DepartureLoads

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = self.loads.of(view.twin.state)


@dataclass(frozen=True, eq=False)
class Slots:
    """Rows of the pipelines, the next slot of every arc first; ``rows`` among them."""

    rows: IntArray

    def read(self, view: View, out: FloatArray) -> None:
        state = view.twin.state
        out[...] = state.arrays.pipeline[state.ring_order("pipeline")[self.rows]]


@dataclass(frozen=True, eq=False)
class Constant:
    """A number that does not change."""

    value: float

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = self.value


def routing_observation(
    assignment: Assignment,
    costs: WayCosts,
    *,
    fuel: float,
    finite: bool,
    horizon: int,
    unit: str,
    observe: Sequence[str] | None = None,
    watcher: Watcher | None = None,
) -> Observation:
    """The observation of routing decisions.

    Parameters
    ----------
    assignment, costs
        The network, and what its ways cost.
    fuel
        Bunker price over the network's own.
    finite, horizon, unit
        Whether the problem ends, after how many decisions, and how long one of them is (``day`` or ``week``).
    observe
        Names of the groups to show (:data:`ROUTING_GROUPS`), in any order. None for all but the cargo place by place
        (``booked``, ``at_calls``, ``pipeline``) and the ``outlook``. A group that there is nothing of is empty.
    watcher
        Who keeps the belief that the ``outlook`` is read off.

    Raises
    ------
    ActionError
        For an unknown group, or an observation without a single field.
    """
    if isinstance(observe, str):
        raise ActionError(f"observe must be a list of groups, received the text '{observe}'")
    for name in observe or ():
        if name not in ROUTING_GROUPS:
            allowed = ", ".join(ROUTING_GROUPS)
            raise ActionError(f"observe: no group '{name}' (allowed: {allowed}){did_you_mean(name, ROUTING_GROUPS)}")
    wanted = set(observe) if observe is not None else set(ROUTING_GROUPS) - set(_ON_REQUEST)
    make = _Blocks(assignment, costs, horizon, unit)
    blocks = (
        make.availability(),
        make.since(),
        make.queue(),
        make.slots(),
        make.loads() if "loads" in wanted else Block("loads", (), PeriodsLeft()),
        make.of_demands("waiting", "FFE booked and not under way.", Waiting(assignment)),
        make.of_demands("under_way", "FFE at calls and between them.", UnderWay(assignment)),
        make.of_demands("booked", "FFE booked since the last day.", Rows("demand")),
        make.at_calls(),
        make.pipeline(),
        Block("fuel", (Field("fuel", "1", 0.0, 10.0, "Bunker price over the usual one."),), Constant(fuel)),
        make.calendar(),
        make.outlook(watcher),
        make.periods_left(finite),
    )
    shown = [block for block in blocks if block.group in wanted and block.fields]
    if not shown:
        raise ActionError(f"observe: {sorted(wanted)} shows nothing of this network")
    return Observation(shown)


class _Blocks:
    """Makes each group's block for one network."""

    def __init__(self, assignment: Assignment, costs: WayCosts, horizon: int, unit: str) -> None:
        self.assignment, self.costs, self.horizon, self.unit = assignment, costs, horizon, unit
        self.routing = routing = assignment.routing
        self.graph = routing.graph
        ends = zip(self.graph.origin, self.graph.destination, strict=True)
        ports = self.graph.port_names
        self.demands = tuple(f"{ports[one]}-{ports[other]}" for one, other in ends)
        named = [(name, int(r)) for name, r in zip(ports, routing.move_resource, strict=True) if r >= 0]
        self.ports = named
        #: Ports and canals, and their resources: all of them, so that what is seen does not depend on the scenario.
        self.failing = [*named, *((name, int(r)) for name, r in routing.canal_resource.items())]

    @property
    def _failing_rows(self) -> IntArray:
        return np.array([r for _, r in self.failing], dtype=np.int64)

    def availability(self) -> Block:
        text = "Share of its moves that a port makes now; whether a canal is open."
        fields = (Field(f"availability[{name}]", "1", 0.0, 1.0, text) for name, _ in self.failing)
        return Block("availability", tuple(fields), Rows("availability", self._failing_rows))

    def since(self) -> Block:
        high = float(self.horizon * (WEEK if self.unit == "week" else 1))
        text = "Days since it last went from all of its moves, or from open, to less or back."
        fields = (Field(f"since[{name}]", "day", 0.0, high, text) for name, _ in self.failing)
        return Block("since", tuple(fields), Rows("since", self._failing_rows))

    def queue(self) -> Block:
        routing, graph, top = self.routing, self.graph, self.routing.compiled.topology
        limited = [(name, r) for name, r in self.ports if np.isfinite(top.resource_capacity[r])]
        index = {name: p for p, name in enumerate(graph.port_names)}
        at = np.array([index[name] for name, _ in limited], dtype=np.int64)
        node = routing.stock_node
        port = np.where(node >= 0, graph.port[np.maximum(node, 0)], -1)
        stocks = (port[None] == at[:, None]).astype(np.float64)
        demands = (graph.origin[None] == at[:, None]).astype(np.float64)
        rate = np.array([max(float(top.resource_capacity[r]), 1.0) for _, r in limited])
        text = "Days of its usual moves that cargo at its calls and bookings from it take."
        fields = (Field(f"queue[{name}]", "day", 0.0, 20.0 * WEEK, text) for name, _ in limited)
        return Block("queue", tuple(fields), Queue(self.assignment, stocks, demands, rate))

    def slots(self) -> Block:
        nodes = np.flatnonzero(self.routing.slot_resource >= 0)
        text = "Slots of the next departure left after what is there or comes in time."
        fields = (
            Field(f"slots[{self.graph.node_name(int(n))}]", "FFE", 0.0, float(self.graph.leg_capacity[n]), text)
            for n in nodes
        )
        return Block("slots", tuple(fields), SlotsLeft(self.assignment, self.costs, nodes))

    def loads(self) -> Block:
        text = "What is there, comes, or is expected to be booked for one of the next departures, over its slots."
        fields = (Field(f"loads[{name}]", "1", 0.0, 10.0, text) for name in self.costs.departures.names)
        return Block("loads", tuple(fields), Loads(DepartureLoads(self.costs)))

    def of_demands(self, group: str, text: str, reader: Waiting | UnderWay | Rows) -> Block:
        highs = _SPAN * np.maximum(self.graph.demand, 1.0)
        fields = (
            Field(f"{group}[{name}]", "FFE", 0.0, float(high), text)
            for name, high in zip(self.demands, highs, strict=True)
        )
        return Block(group, tuple(fields), reader)

    def at_calls(self) -> Block:
        rows = np.flatnonzero(self.routing.stock_node >= 0)
        fields = tuple(
            Field(
                f"at_calls[{self.demands[self.routing.stock_demand[i]]}:{self.graph.node_name(int(self.routing.stock_node[i]))}]",
                "FFE",
                0.0,
                float(_SPAN * max(self.graph.demand[self.routing.stock_demand[i]], 1.0)),
                "FFE of a demand at a call.",
            )
            for i in rows
        )
        return Block("at_calls", fields, Rows("on_hand", rows))

    def pipeline(self) -> Block:
        top, names = self.routing.compiled.topology, self.routing.compiled.arc_names
        owner = np.repeat(np.arange(len(names)), np.diff(top.pipe_ptr))
        fields = tuple(
            Field(
                f"pipeline[{names[a]}:{row - top.pipe_ptr[a] + 1}]",
                "FFE",
                0.0,
                float(_SPAN * max(self.graph.demand[self.routing.arc_demand[a]], 1.0)),
                "FFE on an arc that arrive so many receipts ahead.",
            )
            for row, a in enumerate(owner)
        )
        return Block("pipeline", fields, Slots(np.arange(len(owner))))

    def calendar(self) -> Block:
        fields = tuple(
            Field(f"calendar[{name}]", "1", -1.0, 1.0, f"{name.capitalize()} of the day of the week.")
            for name in ("sine", "cosine")
        )
        return Block("calendar", fields, Season(WEEK))

    def outlook(self, watcher: Watcher | None) -> Block:
        behind = [] if watcher is None else watcher.posterior.behind
        failing = [(name, r) for name, r in self.failing if r < len(behind) and behind[r]]
        text = "Days of its moves, or of being open, expected to be missing in the next {}."
        fields = tuple(
            Field(f"outlook[{name}:{span}]", "day", 0.0, float(span), text.format(span))
            for name, _ in failing
            for span in OUTLOOK_SPANS
        )
        if watcher is None:
            return Block("outlook", (), PeriodsLeft())
        return Block("outlook", fields, Outlook(watcher.posterior, tuple(r for _, r in failing), OUTLOOK_SPANS))

    def periods_left(self, finite: bool) -> Block:
        field = Field("periods_left", self.unit, 0.0, float(self.horizon), "Decisions until the problem ends.")
        return Block("periods_left", (field,) if finite else (), PeriodsLeft())
