"""Routing: which way containers go on a liner network, day by day, while ports fail."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import ValidationError

from envs.actions import Codec
from envs.core import TwinEnv
from envs.inventory import check_arguments
from envs.routing_actions import (
    ROUTING_MODES,
    AssumptionCodec,
    DepartureCodec,
    ItineraryCodec,
    OrderCodec,
    PriceCodec,
    RoutingCodec,
    ShareCodec,
)
from envs.routing_costs import CargoWorth, WayCosts
from envs.routing_curves import PortCurves
from envs.routing_features import routing_observation
from envs.routing_queues import QueuePrices
from envs.vector import TwinVectorEnv
from envs.watcher import Watcher
from twin.beliefs import ever_fails
from twin.engine import Twin
from twin.errors import ActionError, NetworkError, did_you_mean
from twin.liner.assignment import Assignment
from twin.liner.itineraries import Candidate, candidate_rows, parse_candidates, read_candidates, shipped_candidates
from twin.liner.library import resolve
from twin.liner.network import LinerNetwork
from twin.liner.plan import CandidatePlan
from twin.liner.routing import routing_network
from twin.liner.scenarios import Scenario, applied, scenario
from twin.liner.schedule import WEEK
from twin.liner.steady import nominal_plan, settle, steady_week
from twin.liner.terms import RoutingTerms
from twin.liner.weekday_plan import WeekdayProgram
from twin.schema import StrictModel, explain
from twin.state import TwinState

__all__ = ["RoutingEnv", "RoutingTask", "RoutingVectorEnv", "busiest_ports"]

FloatArray = NDArray[np.float64]

#: What the environment's own terms are, where the user says nothing: money per FFE and day, bookings day by day.
USUAL_TERMS = {"value_of_time": 20.0, "booking": "daily", "weekly_demand_cv": 0.2}


class RoutingTask:
    """Which way cargo goes; see :class:`RoutingEnv` for the meaning of the arguments.

    Attributes
    ----------
    assignment
        The network on the twin, and what may be chosen on it.
    plan
        The best nominal week with the same ways on all days.
    weekday_plan
        The best nominal week when bookings of every weekday may go another way.
    curves
        What comes to ports at a price of their moves.
    week
        One replica on each weekday when that week has been running for long.
    worth
        What cargo is worth where a horizon ends.
    costs
        What ways cost.
    queues
        What queues in ports cost, where that counts (``base="queue"``).
    routing_codec
        Between actions and orders.
    """

    def __init__(
        self,
        network: str | Path | LinerNetwork = "baltic",
        *,
        itineraries: str | Path | Sequence[Candidate] | None = None,
        terms: Mapping[str, Any] | RoutingTerms | None = None,
        scenario: str | Path | Scenario | None = "random_events",
        severity: float | None = None,
        port_headroom: float = 1.25,
        decision: str = "day",
        action_mode: str = "prices",
        base: str = "nominal",
        price_scale: float = 500.0,
        horizon: int = 182,
        finite: bool = False,
        observe: Sequence[str] | None = None,
    ) -> None:
        _check("action mode", action_mode, ROUTING_MODES)
        _check("decision period", decision, ("day", "week"))
        _check("base of the costs", base, ("nominal", "queue", "none"))
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
            raise ActionError(f"horizon must be a whole number of decisions, at least 1, received {horizon!r}")
        if not isinstance(finite, bool | np.bool_):
            raise ActionError(f"finite must be true or false, received {finite!r}")
        for name, value, least in (("port_headroom", port_headroom, 1.0), ("price_scale", price_scale, 0.0)):
            if not least <= value < np.inf or value <= 0.0:
                raise ActionError(f"{name} must be a finite number of at least {least:g} and above 0, received {value}")
        if severity is not None and not 0.0 <= severity < 1.0:
            raise ActionError(f"severity must be a share of moves from 0 to below 1, received {severity}")
        liner = resolve(network)
        candidates = _candidates(liner, itineraries)
        self._liner, self._candidates = liner, candidates
        given = (
            terms if isinstance(terms, RoutingTerms) else RoutingTerms.model_validate({**USUAL_TERMS, **(terms or {})})
        )
        calm = Assignment(routing_network(liner, candidates, given))
        limited = given.model_copy(
            update={"moves_per_day": _moves_per_day(calm, nominal_plan(calm), port_headroom) | given.moves_per_day}
        )
        events = None if scenario is None else _scenario(scenario)
        if events is not None:
            busiest = busiest_ports(calm, nominal_plan(calm))
            liner, limited = applied(liner, limited, events, busiest, severity=severity)
        self.scenario, self._terms = events, given
        self._stated = {"severity": severity, "port_headroom": port_headroom, "base": base}
        self.assignment = Assignment(routing_network(liner, candidates, limited))
        self.compiled = self.assignment.routing.compiled
        self.plan: CandidatePlan = nominal_plan(self.assignment)
        self.week = steady_week(self.assignment, self.plan)
        program = WeekdayProgram(self.assignment)
        self.weekday_plan = program.solve()
        usual = WayCosts(self.assignment, program, self.weekday_plan)
        self.worth = CargoWorth.of(usual)
        self.costs = WayCosts(self.assignment, program, None) if base == "none" else usual
        self.curves = PortCurves(program, self.weekday_plan)
        self.queues = QueuePrices(self.costs, self.curves, self.week) if base == "queue" else None
        self.decision = decision
        self.periods_per_decision = WEEK if decision == "week" else 1
        self.horizon, self.finite = int(horizon), bool(finite)
        self.price_scale = float(price_scale)
        self._show(action_mode, observe)

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain data, its files included: :meth:`from_dict` makes it again."""
        return {
            "network": self._liner.to_dict(),
            "itineraries": candidate_rows(self._liner, self._candidates),
            "terms": _plain(self._terms),
            "scenario": None if self.scenario is None else _plain(self.scenario),
            **self._stated,
            "decision": self.decision,
            "action_mode": self.codec.mode,
            "price_scale": self.price_scale,
            "horizon": self.horizon,
            "finite": self.finite,
            "observe": None if self._observe is None else list(self._observe),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoutingTask:
        """From :meth:`to_dict`'s data.

        Raises
        ------
        NetworkError, ActionError
            Where a part of it is not valid, with its place.
        """
        given = dict(data)
        liner = LinerNetwork.parse(given.pop("network"), where="network")
        candidates = parse_candidates({"itineraries": given.pop("itineraries")}, liner, where="itineraries")
        terms, events = given.pop("terms"), given.pop("scenario")
        try:
            terms = RoutingTerms.model_validate(terms)
            events = None if events is None else Scenario.model_validate(events)
        except ValidationError as error:
            raise NetworkError("terms or scenario:\n" + "\n".join(f"  - {line}" for line in explain(error))) from None
        return cls(liner, itineraries=candidates, terms=terms, scenario=events, **given)

    def _show(self, action_mode: str, observe: Sequence[str] | None) -> None:
        """Make the observation and the codec."""
        self._observe = observe
        outlook = observe is not None and "outlook" in observe and ever_fails(self.compiled)
        self.watcher: Watcher | None = Watcher(self.compiled) if outlook else None
        self.observation = routing_observation(
            self.assignment,
            self.costs,
            fuel=1.0 if self.scenario is None else self.scenario.fuel,
            finite=self.finite,
            horizon=self.horizon,
            unit=self.decision,
            observe=observe,
            watcher=self.watcher,
        )
        self.fields = self.observation.fields
        self.observation_space: spaces.Space[NDArray[np.float32]] = spaces.Box(
            self.observation.low, self.observation.high, dtype=np.float32
        )
        kinds: dict[str, type[RoutingCodec]] = {
            "prices": PriceCodec,
            "assumptions": AssumptionCodec,
            "departures": DepartureCodec,
            "itinerary": ItineraryCodec,
            "shares": ShareCodec,
            "orders": OrderCodec,
        }
        arcs = self.compiled.n_arcs
        self.routing_codec = kinds[action_mode](
            np.zeros(arcs),
            np.zeros(arcs),
            np.full(arcs, np.inf),
            self.assignment,
            self.costs,
            self.price_scale,
            self.queues,
        )
        self.codec: Codec = self.routing_codec
        self.action_space: spaces.Space[Any] = self.routing_codec.space()

    def acting(self, action_mode: str, observe: Sequence[str] | None = None) -> RoutingTask:
        """The same problem with another action and another observation."""
        other = copy.copy(self)
        other._show(action_mode, observe)
        return other

    def daily(self) -> RoutingTask:
        """The same problem, decided on day by day."""
        other = copy.copy(self)
        if self.decision == "week":
            other.decision, other.periods_per_decision, other.horizon = "day", 1, self.horizon * WEEK
            other._show(self.codec.mode, self._observe)
        return other

    def begin(
        self, twin: Twin, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32]
    ) -> TwinState:
        state = twin.initial_state(seed, replica, episode)
        settle(state, self.week[0])
        return state

    def observe(
        self, twin: Twin, position: FloatArray, periods_left: FloatArray, belief: FloatArray | None = None
    ) -> NDArray[np.float32]:
        return self.observation.read(twin, position, periods_left, belief)

    def decide(
        self,
        action: NDArray[Any],
        twin: Twin,
        position: FloatArray,
        periods_left: FloatArray | None = None,
        belief: FloatArray | None = None,
    ) -> tuple[FloatArray, NDArray[np.int64] | None]:
        return self.routing_codec.decide(action, twin), None

    def decode(
        self, action: NDArray[Any], twin: Twin, position: FloatArray, periods_left: FloatArray | None = None
    ) -> FloatArray:
        return self.routing_codec.decide(action, twin)

    def repairs(
        self, action: NDArray[Any], twin: Twin, orders: FloatArray, moves: NDArray[np.int64] | None
    ) -> NDArray[np.int64] | None:
        return self.routing_codec.repairs(action, twin)

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        return self.routing_codec.mask(twin)

    def reward(self, costs: FloatArray) -> FloatArray:
        # Row by row, so that the last bit does not depend on the number of replicas.
        total: FloatArray = costs[0].copy()
        for term in costs[1:]:
            total += term
        return np.negative(total)

    def left(self, state: TwinState) -> FloatArray:
        """Money (B,) that all cargo is worth at the prices of the nominal week, see :class:`CargoWorth`."""
        arrays, head = state.arrays, self.compiled.topology.arc_destination
        there = self.worth.at_calls @ arrays.on_hand + self.worth.at_calls[head] @ arrays.in_transit
        return np.asarray(there + self.worth.booked @ self.assignment.waiting(state))


def _check(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ActionError(f"no {what} '{value}' (allowed: {', '.join(known)}){did_you_mean(value, known)}")


def _plain(model: StrictModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _scenario(given: str | Path | Scenario) -> Scenario:
    return scenario(given)


def _candidates(liner: LinerNetwork, given: str | Path | Sequence[Candidate] | None) -> tuple[Candidate, ...]:
    if given is None:
        return shipped_candidates(liner)
    return read_candidates(given, liner) if isinstance(given, str | Path) else tuple(given)


def _handled(assignment: Assignment, plan: CandidatePlan) -> FloatArray:
    """Moves a week of every port (P,): the plan's, or those that its own cargo would take, whichever is more."""
    graph = assignment.routing.graph
    own = sum(
        np.bincount(ends, weights=graph.demand, minlength=len(graph.port_names))
        for ends in (graph.origin, graph.destination)
    )
    return np.maximum(plan.moves, own)


def _moves_per_day(assignment: Assignment, plan: CandidatePlan, headroom: float) -> dict[str, float]:
    """Most moves a day of the ports that have no limit of their own."""
    routing, handled = assignment.routing, _handled(assignment, plan)
    return {
        name: float(headroom * handled[p] / WEEK)
        for p, name in enumerate(routing.graph.port_names)
        if routing.liner.ports[name].moves_per_week is None and handled[p] > 0.0
    }


def busiest_ports(assignment: Assignment, plan: CandidatePlan) -> tuple[str, ...]:
    """Ports that make moves in a plan, the busiest first; then those that only have cargo of their own."""
    names, own = assignment.routing.graph.port_names, _handled(assignment, plan)
    order = sorted(range(len(names)), key=lambda p: (-plan.moves[p], -own[p]))
    return tuple(names[p] for p in order if own[p] > 0.0)


class RoutingEnv(TwinEnv):
    """Which way containers go on a network of liner services, day by day, while ports and canals fail.

    ## Description
    Weekly services of vessels carry containers (FFE) between ports (:class:`twin.liner.network.LinerNetwork`). Cargo
    that is booked is loaded for a departure, refused, or waits; at every call it may change vessels. Departures have
    slots, ports make so many moves a day. Ports lose part or all of their moves, and canals close, by processes that
    nobody sees through: an observation shows what works now and for how long it has or has not, never how long an
    outage will last. The model is that of docs/routing.md: a period is a day.

    ## Action Space
    ``action_mode="prices"`` (the default): ``Box(-1, 1, (ports + canals + 2,), float32)``. Every flow (bookings of a
    demand, or its cargo at a call) takes the way that costs least: handling, transshipment, the value of its days, and
    what slots and moves are worth in the nominal week (``base="nominal"``; ``"none"`` leaves that out). Bookings that
    find no room on it take the next cheapest, unless waiting a week costs less; those that have most to lose choose
    first. The action adds, in order: a surcharge per move in each port, and per FFE through each canal that may close
    (1 is ``price_scale``); the days until what is hit is taken to work again (1 is 56, below 0 counts as 0), which
    makes ways through it later; and the share of every departure's slots that is kept for later cargo (1 is half,
    below 0 counts as 0). The zero action adds nothing. Ways that cost the same are taken as the nominal plan takes
    them.

    With ``base="queue"`` a move in a port also costs what it costs those who wait for one
    (:class:`envs.routing_queues.QueuePrices`), outages being taken to last 56 days, and 28 from now at least; slots
    and the moves of other ports then cost what they are worth at that price. The action then multiplies: the price of
    each port's queue, and the assumed rest of all outages, by 4 to the power of its numbers.

    ``action_mode="assumptions"``: ``Box(-1, 1, (3,), float32)``, the same with one number for all ports: few enough
    for a learner to see what each of them does.

    ``action_mode="departures"``: ``Box(-1, 1, (3 + departures,), float32)``, those three and a surcharge per slot of
    each departure of the next four weeks (1 is ``price_scale``; a slot costs nothing at least). Bookings vary, and
    a departure that is fuller than usual (``loads``) is worth more than in the nominal week.

    ``action_mode="itinerary"``: ``MultiDiscrete``, a number for every flow (``task.routing_codec.names``): 0 waits, k
    takes its k-th way, the last being refusal. A way is possible when something of its demand is on the network and
    the port or canal with which it begins is at work. ``action_masks()`` and ``info["action_mask"]`` say so, flow by
    flow and one after another; to wait is always possible.

    ``action_mode="shares"``, for classical policies: the share of its flow that goes on each arc, and whether the
    shares are those of a weekly plan (:meth:`twin.liner.assignment.Assignment.orders`). ``action_mode="orders"``: FFE
    on every arc.

    A choice that is not possible counts as waiting, and an order for more than is booked and not under way is cut:
    ``info["repaired"]`` counts both. With ``decision="week"`` an action holds for seven days and is decoded anew on
    each of them; costs are their sum.

    ## Observation Space
    ``Box`` of float32 with a name, a unit and bounds for every entry (``env.unwrapped.task.fields``):
    ``availability`` and ``since`` of ports and canals; ``queue``, the days of its usual moves that wait
    in a port; ``slots`` left on the next departure from every call; ``waiting`` and ``under_way`` by demand; the
    ``fuel`` price over the usual one; ``calendar``, the day of the week; ``periods_left`` where the horizon is finite.

    ## Rewards
    Minus the sum of the cost terms, which ``info["cost_terms"]`` holds by name: revenue on delivery as a negative cost,
    handling, transshipment, refusal (which repays the revenue and costs the goodwill), the value of time of all that
    is booked and not delivered, and what the services cost whatever they carry. Where a finite horizon ends, plus what
    is left is worth in the nominal week: its revenue less the cost of the cheapest rest of its way, time, slots and
    moves included, wherever it is (for bookings it may be refusal). So nothing is loaded for the sake of the end.

    ## Starting State
    As if the best nominal week had been running for long: cargo at calls and under way, bookings of the last days.

    ## Episode End
    After ``horizon`` decisions: truncated where the problem continues (the default), terminated with ``finite=True``.

    ## Arguments
    * ``network``: a liner network that ships, the path of a file, or a LinerNetwork.
    * ``itineraries``: candidates or their file; those that ship with the network where left out.
    * ``terms``: of :class:`twin.liner.terms.RoutingTerms`, over 20 money per FFE and day for the value of time, daily
      bookings, and a standard deviation of 0.2 of a week's demand.
    * ``scenario``: what happens: ``random_events``, ``cyber_attack``, ``three_ports``, ``canal_shut``, ``dear_fuel``,
      the path of a file, a :class:`twin.liner.scenarios.Scenario`, or None for nothing.
    * ``severity``: the share of moves that ports are left with, in place of the scenario's.
    * ``port_headroom``: moves that a port without a limit can make, over what it makes in the nominal week.
    * ``decision``: ``day`` or ``week``.
    * ``action_mode``, ``base``, ``price_scale``: see Action Space.
    * ``horizon``, ``finite``: see Episode End.
    * ``observe``: groups of fields to show; besides those above ``outlook`` (days of moves that a belief on the outages
      expects to be missing in the next 4, 13, 26 and 52), and all cargo place by place: ``booked``, ``at_calls``,
      ``pipeline``.
    * ``replica``: which path of the seed this environment follows.

    ## Version History
    * v0: first version.
    """

    def __init__(
        self,
        network: str | Path | LinerNetwork = "baltic",
        *,
        render_mode: str | None = None,
        replica: int = 0,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments, task=RoutingTask)
        super().__init__(RoutingTask(network, **arguments), render_mode=render_mode, replica=replica)


class RoutingVectorEnv(TwinVectorEnv):
    """Many replicas of :class:`RoutingEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(
        self,
        num_envs: int = 1,
        network: str | Path | LinerNetwork = "baltic",
        *,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments, task=RoutingTask)
        super().__init__(RoutingTask(network, **arguments), num_envs, render_mode=render_mode)
