"""Codecs of routing: from an action to the orders of a day.

They decode only. What an action comes to depends on what waits where and on which day of the week it is, so that there
is no action for given orders in general; classical policies act in the modes ``shares`` and ``orders``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.actions import Codec
from envs.routing_costs import WayCosts
from envs.routing_queues import QueuePrices
from twin.engine import Twin
from twin.errors import ActionError
from twin.liner.assignment import WAIT, Assignment
from twin.state import TwinState

__all__ = [
    "ROUTING_MODES",
    "AssumptionCodec",
    "DepartureCodec",
    "ItineraryCodec",
    "OrderCodec",
    "PriceCodec",
    "RoutingCodec",
    "RoutingMode",
    "ShareCodec",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
RoutingMode = Literal["prices", "assumptions", "departures", "itinerary", "shares", "orders"]
ROUTING_MODES: tuple[RoutingMode, ...] = get_args(RoutingMode)

#: Days until a port is expected to work again, and share of slots that is kept, at the end of the box.
LONGEST_RECOVERY, MOST_KEPT = 56.0, 0.5

#: By what the ends of the box multiply or divide prices of queues, and the assumed rest of outages.
MOST_TIMES = 4.0

#: Cargo that is rounding.
_DUST = 1e-9


@dataclass(frozen=True, eq=False)
class RoutingCodec(Codec):
    """Orders of a day from actions.

    Attributes
    ----------
    center, low, high
        (A,) FFE on every arc: none, none, and without limit.
    assignment
        What may be chosen.
    costs
        What ways cost.
    price_scale
        Money per move, or per FFE through a canal, at the end of the box of prices.
    queues
        Prices of queues, which an action multiplies instead of adding to them; None where ports have no price of their
        own.
    """

    routes = True

    assignment: Assignment
    costs: WayCosts
    price_scale: float
    queues: QueuePrices | None = None

    @property
    def up_to(self) -> bool:
        return False

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each number of an action means."""

    @abstractmethod
    def space(self) -> spaces.Space[Any]:
        """The action space."""

    @abstractmethod
    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        """Orders (A, B) of today, FFE."""

    def repairs(self, action: NDArray[Any], twin: Twin) -> IntArray:
        """How many parts of each action (B, ...) are not possible today and change, (B,)."""
        return np.zeros(len(action), dtype=np.int64)

    def mask(self, twin: Twin) -> BoolArray | None:
        """Which discrete choices are possible now, (B, n); None where the action is not discrete."""
        return None

    def targets(self, action: NDArray[Any]) -> FloatArray:
        raise ActionError(f"what an action of the mode '{self.mode}' comes to depends on the state of the network")

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        raise ActionError(f"no action of the mode '{self.mode}' stands for given orders (allowed: 'orders')")


class PriceCodec(RoutingCodec):
    """Box[-1, 1]: a surcharge per port and canal, an assumed recovery, a reserve of slots."""

    mode = "prices"

    @property
    def names(self) -> tuple[str, ...]:
        routing = self.assignment.routing
        ports, canals = routing.graph.port_names, tuple(routing.canal_resource)
        return (*(f"price[{name}]" for name in (*ports, *canals)), "recovery", "reserve")

    def space(self) -> spaces.Space[Any]:
        return spaces.Box(-1.0, 1.0, (len(self.names),), dtype=np.float32)

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        return self._priced(self._values(action), twin)

    def _values(self, action: NDArray[Any]) -> FloatArray:
        """Numbers (n, B) of actions, within the box."""
        return np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0).T

    def _priced(self, values: FloatArray, twin: Twin, departures: FloatArray | None = None) -> FloatArray:
        """Orders (A, B) at the numbers of this mode, and money per slot of the next departures, (size, B)."""
        ports = len(self.assignment.routing.graph.port_names)
        prices = values[:-2] * self.price_scale
        recovery = np.maximum(values[-2], 0.0) * LONGEST_RECOVERY
        queues = slots = None
        if self.queues is not None:
            # What waits is in the price: days of delay are not counted once more.
            found, times = self.queues.of(twin.state, MOST_TIMES ** values[-2]), MOST_TIMES ** values[:ports]
            queues = found.queues * times, found.fall * times
            prices[:ports] = found.moves
            recovery = np.zeros_like(recovery)
            slots = found.departures
        if departures is not None:
            # A slot costs nothing at least.
            usual = self.costs.departures.spread(self.costs.slot_price[:, None])
            slots = np.maximum(departures if slots is None else slots + departures, -usual)
        kept = np.maximum(values[-1], 0.0) * MOST_KEPT * self.assignment.routing.graph.leg_capacity[:, None]
        cost = self.costs.of(twin.state, prices[:ports], prices[ports:], recovery, queues, slots)
        share = self.assignment.fitted(twin.state, cost, self.costs.patience, kept, self.costs.weight)
        return self.assignment.orders(twin.state, share, kept=kept)


class AssumptionCodec(PriceCodec):
    """Box[-1, 1]: a number for the prices of all ports, one for what is assumed of outages, and a reserve of slots."""

    mode = "assumptions"

    @property
    def names(self) -> tuple[str, ...]:
        return ("prices", "recovery", "reserve")

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        return self._priced(self._for_all(self._values(action)), twin)

    def _for_all(self, values: FloatArray) -> FloatArray:
        """The three numbers (3, B) as those of :class:`PriceCodec`."""
        routing = self.assignment.routing
        ports = np.repeat(values[:1], len(routing.graph.port_names), axis=0)
        canals = np.zeros((len(routing.canal_resource), values.shape[1]))
        return np.concatenate([ports, canals, values[1:]])


class DepartureCodec(AssumptionCodec):
    """Box[-1, 1]: what is assumed, and a surcharge on the slots of every departure of the next weeks."""

    mode = "departures"

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names, *(f"slot[{name}]" for name in self.costs.departures.names))

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        values, assumed = self._values(action), len(super().names)
        return self._priced(self._for_all(values[:assumed]), twin, values[assumed:] * self.price_scale)

    def encode_prices(self, departures: FloatArray) -> NDArray[np.float32]:
        """Actions (B, n) that add money (size, B) per slot of the next departures, as far as the box goes."""
        assumed = np.zeros((len(super().names), departures.shape[1]))
        values = np.concatenate([assumed, departures / self.price_scale])
        return np.ascontiguousarray(np.clip(values, -1.0, 1.0).T, dtype=np.float32)


class ItineraryCodec(RoutingCodec):
    """MultiDiscrete: for every flow to wait (0), or which of its ways it takes (1 and up)."""

    mode = "itinerary"

    @cached_property
    def _choices(self) -> IntArray:
        return np.asarray(np.diff(self.assignment.first_way) + 1, dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        graph = self.assignment.routing.graph
        ends = zip(graph.origin, graph.destination, strict=True)
        demands = [f"{graph.port_names[one]}-{graph.port_names[other]}" for one, other in ends]
        return tuple(
            f"{demands[flow.demand]}" + ("" if flow.node < 0 else f" at {graph.node_name(flow.node)}")
            for flow in self.assignment.flows
        )

    def space(self) -> spaces.Space[Any]:
        return spaces.MultiDiscrete(self._choices)

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        choice, possible = self._chosen(action), self.possible(twin.state)
        choice[~self._of(possible, choice)] = WAIT
        return self.assignment.orders(twin.state, self.assignment.shares(choice))

    def repairs(self, action: NDArray[Any], twin: Twin) -> IntArray:
        choice = self._chosen(action)
        return np.asarray((~self._of(self.possible(twin.state), choice)).sum(axis=0), dtype=np.int64)

    def _chosen(self, action: NDArray[Any]) -> IntArray:
        return np.asarray(action, dtype=np.int64).T - 1

    def _of(self, possible: BoolArray, choice: IntArray) -> BoolArray:
        """Whether choices (F, B) are possible; to wait always is."""
        flow, replica = np.indices(choice.shape)
        way = self.assignment.first_way[:-1, None] + np.maximum(choice, 0)
        return np.asarray((choice == WAIT) | possible[way, replica] & (flow >= 0))

    def possible(self, state: TwinState) -> BoolArray:
        """Ways (W, B) that something could go: there is cargo, and what the way begins with is at work."""
        assignment = self.assignment
        flow = np.array([way.flow for way in assignment.ways])
        return np.asarray(self._cargo(state)[flow] & self._works(state)[assignment.way_arc])

    def _cargo(self, state: TwinState) -> BoolArray:
        """Flows (F, B) whose demand has something booked and not delivered."""
        demand = np.array([flow.demand for flow in self.assignment.flows])
        return np.asarray(state.arrays.backlog[demand] > _DUST)

    def _works(self, state: TwinState) -> BoolArray:
        """Arcs (A, B) whose port makes moves, or which sail by a way that is open."""
        routing, top = self.assignment.routing, self.assignment.routing.compiled.topology
        up = state.arrays.availability > 0.0
        works = np.ones((routing.compiled.n_arcs, state.replicas), dtype=np.bool_)
        owner = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.use_ptr))
        np.logical_and.at(works, owner, up[top.use_resource])
        for a in range(routing.compiled.n_arcs - 1, -1, -1):  # ways around have higher numbers
            if routing.arc_around[a] >= 0:
                works[a] |= works[routing.arc_around[a]]
        return works

    def mask(self, twin: Twin) -> BoolArray | None:
        possible = self.possible(twin.state)
        out = np.ones((int(self._choices.sum()), twin.state.replicas), dtype=np.bool_)
        first = np.concatenate([[0], np.cumsum(self._choices)])[:-1]
        waits = np.zeros(len(out), dtype=np.bool_)
        waits[first] = True
        out[~waits] = possible
        return out.T


class ShareCodec(RoutingCodec):
    """Box[0, 1]: the share of every flow that goes on each arc, and whether they are of a weekly plan."""

    mode = "shares"

    @property
    def names(self) -> tuple[str, ...]:
        return (*(f"share[{name}]" for name in self.assignment.routing.compiled.arc_names), "by_booking")

    def space(self) -> spaces.Space[Any]:
        return spaces.Box(0.0, 1.0, (len(self.names),), dtype=np.float64)

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        values = np.clip(np.asarray(action, dtype=np.float64), 0.0, 1.0).T
        share, by_booking = np.ascontiguousarray(values[:-1]), values[-1] > 0.5
        around = self.assignment.routing.arc_around
        share[around[around >= 0]] = 0.0
        orders = self.assignment.orders(twin.state, share)
        if by_booking.any():
            planned = self.assignment.orders(twin.state, share, by_booking=True)
            orders = np.where(by_booking, planned, orders)
        # Shares that add up to more than all of a flow.
        return self.assignment.permitted(twin.state, orders)


class OrderCodec(RoutingCodec):
    """Box: FFE on every arc; what is not booked, or under way already, is cut."""

    mode = "orders"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"order[{name}]" for name in self.assignment.routing.compiled.arc_names)

    def space(self) -> spaces.Space[Any]:
        return spaces.Box(0.0, np.inf, (len(self.names),), dtype=np.float64)

    def decide(self, action: NDArray[Any], twin: Twin) -> FloatArray:
        return self.assignment.permitted(twin.state, np.maximum(np.asarray(action, dtype=np.float64).T, 0.0))

    def repairs(self, action: NDArray[Any], twin: Twin) -> IntArray:
        asked = np.asarray(action, dtype=np.float64).T
        cut = asked - self.assignment.permitted(twin.state, np.maximum(asked, 0.0))
        return np.asarray((np.abs(cut) > _DUST * (1.0 + np.abs(asked))).sum(axis=0), dtype=np.int64)

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        return np.asarray(np.maximum(np.asarray(targets, dtype=np.float64), 0.0)).T
