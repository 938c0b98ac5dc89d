"""The periods of docs/model.md as SimPy processes: :class:`Simulation`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, get_args

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from twin.compile import CompiledNetwork, compile_network
from twin.dealing import allowed_moves, checked_moves
from twin.economics import N_TERMS
from twin.errors import ActionError, did_you_mean
from twin.network import Network
from twin.simulation.consistency import check_tracking
from twin.simulation.dealings import Dealings
from twin.simulation.ledger import plain
from twin.simulation.log import Kind
from twin.simulation.ordering import Ordering
from twin.simulation.records import Detail, Tracking, arcs_of
from twin.simulation.shipping import Shipping
from twin.simulation.times import Moment
from twin.simulation.world import OUTAGE, PERIOD_END, PHASE, World
from twin.simulation.yard import DockMeasures
from twin.state import TwinState, starting_state
from twin.tape import Tape

__all__ = ["Detail", "Simulation"]

FloatArray = NDArray[np.float64]
Process = Generator[simpy.Event, Any, None]


class Simulation:
    """One replica of a network, event by event. It rests at decision epochs, as :class:`twin.engine.Twin` does.

    An order's number is ``period x arcs + arc`` of its placement, a shipment's that of its departure.

    Parameters
    ----------
    network
        A network, or one already compiled.
    seed, replica
        Which path of random numbers it follows: that of the same replica of a :class:`twin.engine.Twin`.
    detail
        ``"period"``: docs/model.md. ``"continuous"``: with fractional lead times, working hours and docks.

    Raises
    ------
    ActionError
        When seed or replica is not a whole number from 0 to 2**64 - 1 or 2**32 - 1, or there is no such detail.

    Attributes
    ----------
    log
        What has happened since this object was made.

    Examples
    --------
    >>> from twin import library
    >>> simulation = Simulation(library.load("lost_sales_zipkin2008"), seed=7)
    >>> costs = simulation.step([5.0])
    >>> [event.kind for event in simulation.log.follow(0)]
    ['placed', 'reached', 'shipped']
    """

    def __init__(
        self, network: Network | CompiledNetwork, *, seed: int = 0, replica: int = 0, detail: Detail = "period"
    ) -> None:
        _check_detail(detail)
        state = starting_state(compile_network(network) if isinstance(network, Network) else network, 1)
        state.seed[0] = _whole("seed", seed, _largest(state.seed))
        state.replica[0] = _whole("replica", replica, _largest(state.replica))
        Tape(state.compiled).begin(state)
        self._begin(state, detail, None, at_epoch=False)

    @classmethod
    def from_state(cls, state: TwinState, replica: int = 0, *, detail: Detail = "period") -> Simulation:
        """A simulation of one replica of a state, at the same decision epoch. The state is not changed.

        Raises
        ------
        ActionError
            When the state has no such replica, or there is no such detail.
        """
        _check_detail(detail)
        replica = _whole("replica", replica, state.replicas - 1)
        return cls._at(TwinState.restore(state.compiled, state.snapshot(replica)), detail, None)

    @classmethod
    def restore(
        cls, compiled: CompiledNetwork, snapshot: Mapping[str, Any], *, detail: Detail = "period"
    ) -> Simulation:
        """Rebuild a simulation from :meth:`snapshot`, or from that of a :class:`twin.state.TwinState`.

        Parameters
        ----------
        detail
            For a snapshot of a state alone; that of a simulation says it itself.

        Raises
        ------
        StaleStateError
            When the snapshot belongs to another network, something in it is missing or makes no sense, or what it says
            of single shipments and orders contradicts its state.
        ActionError
            When there is no such detail.
        """
        _check_detail(detail)
        state = TwinState.restore(compiled, snapshot)
        if "events" not in snapshot:
            return cls._at(state, detail, None)
        tracking = Tracking.parse(snapshot["events"], state)
        check_tracking(tracking, state, arcs_of(compiled, plain(compiled.topology)))
        return cls._at(state, tracking.detail, tracking)

    @classmethod
    def _at(cls, state: TwinState, detail: Detail, tracking: Tracking | None) -> Simulation:
        self = object.__new__(cls)
        self._begin(state, detail, tracking, at_epoch=True)
        return self

    def _begin(self, state: TwinState, detail: Detail, tracking: Tracking | None, *, at_epoch: bool) -> None:
        """Start all processes from a state of one replica."""
        self.compiled, self.detail = state.compiled, detail
        world = self._world = World(state, detail)
        self._env, self.log = world.env, world.journal.log
        self._costs = np.zeros(N_TERMS)
        receipt = world.period + (at_epoch and world.receive_first)
        tracking = tracking or Tracking.of_state(state, world.arcs, receipt, detail)
        self._shipping = Shipping(world, tracking)
        self._ordering = Ordering(world, self._shipping, state, tracking)
        self._dealings = Dealings(world, self._shipping) if self.compiled.has_deals else None
        for r in np.flatnonzero(self.compiled.resource_share_when_down < 1.0).tolist():
            self._env.process(self._outages(r))
        self._decision: simpy.Event = self._env.event()
        self._epoch: simpy.Event = self._env.event()
        self._env.process(self._calendar(at_epoch))
        self._env.run(until=self._epoch)

    # -- use ------------------------------------------------------------------------------------------------------

    @property
    def period(self) -> int:
        """The period whose orders come next."""
        return self._world.period

    def step(self, orders: ArrayLike, moves: ArrayLike | None = None) -> FloatArray:
        """Place orders and advance to the next decision epoch.

        Parameters
        ----------
        orders
            (A,) or (A, 1) units on each arc; what is not above 0 orders nothing. NaN is refused here, as in
            :meth:`twin.engine.Twin.step`, though the arithmetic of the engines counts it as 0.
        moves
            (S,) or (S, 1) positions in :data:`twin.contracts.MOVES`, see there; all keep when left out.

        Returns
        -------
        ndarray, shape (13,)
            The period's cost terms, in the order of ``COST_TERMS``.

        Raises
        ------
        ActionError
            When a shape is wrong, a number is NaN or infinite, or there is no such move. Nothing has happened then.
        """
        orders = np.asarray(orders, dtype=np.float64)
        arcs = len(self._world.arcs)
        if orders.shape not in {(arcs,), (arcs, 1)}:
            raise ActionError(f"orders must have shape ({arcs},) or ({arcs}, 1), received {orders.shape}")
        if not np.isfinite(orders).all():
            arc = self._world.arcs[int(np.argwhere(~np.isfinite(orders))[0, 0])]
            raise ActionError(f"the order on '{arc.name}' is not a finite number")
        if moves is not None and np.ndim(moves) == 1:
            moves = np.asarray(moves)[:, None]
        chosen = checked_moves(moves, self.compiled.relation_names, 1)
        if self._dealings is not None:
            orders = self._dealings.begin(orders.reshape(-1, 1), chosen)
        self._epoch = self._env.event()
        self._decision.succeed(orders.ravel().tolist())
        self._env.run(until=self._epoch)
        if self._dealings is not None:
            self._costs = self._dealings.end(self._costs)
        return self._costs

    def allowed_moves(self) -> NDArray[np.bool_]:
        """Which moves are allowed now, shape (S, 5), see :meth:`twin.engine.Twin.allowed_moves`."""
        return allowed_moves(self.state(), self.compiled.relations)[:, :, 0]

    def run(self, policy: Callable[[TwinState], ArrayLike], periods: int) -> FloatArray:
        """Let a policy decide for a number of periods.

        Parameters
        ----------
        policy
            From a state of one replica to orders, as :meth:`step` takes them.

        Returns
        -------
        ndarray, shape (periods, 13)
            The cost terms of each period.
        """
        return np.array([self.step(policy(self.state())) for _ in range(periods)]).reshape(periods, N_TERMS)

    def state(self) -> TwinState:
        """The state as the other engines have it, of one replica.

        In continuous detail a shipment stands in the pipeline at the receive phase that follows its arrival at the
        gate, or in the last slot where its arc has none so far ahead; what waits or unloads stands in the first.
        """
        return self._world.state()

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain data: the snapshot of :meth:`state`, and what it does not say under ``events``."""
        return self.state().snapshot() | {"events": self._world.tracking().section()}

    def docks(self) -> dict[str, DockMeasures]:
        """Per site with docks (continuous detail): waiting for its berths and their use since this object was made."""
        busy: dict[str, list[float]] = {}
        for arc in self._world.arcs:
            since = [shipment.since for shipment in self._world.moving[arc.index] if shipment.stage == "berth"]
            busy.setdefault(arc.site, []).extend(since)
        return {
            site: yard.dock.measures(busy.get(site, []))
            for site, yard in self._world.yards.items()
            if yard.dock is not None
        }

    def transit_times(self) -> dict[str, float]:
        """Per arc, mean periods from departure until unloaded (or made), of what came since this object was made.

        Arcs on which nothing came are left out.
        """
        return {
            arc.name: total / number
            for arc, (number, total) in zip(self._world.arcs, self._world.arrivals, strict=True)
            if number > 0
        }

    # -- processes ------------------------------------------------------------------------------------------------

    def _calendar(self, at_epoch: bool) -> Process:
        """The phases of every period, each after whatever else happens at its time."""
        names = self.compiled.network.phases
        skip = names.index("order") if at_epoch else 0
        while True:
            for position in range(skip, len(names)):
                yield Moment(self._env, self._world.period, PHASE + position)
                if names[position] == "receive":
                    self._shipping.receive()
                elif names[position] == "demand":
                    self._sell()
                else:
                    self._epoch.succeed()
                    orders = yield self._decision
                    self._decision = self._env.event()
                    self._world.draw()
                    self._ordering.place(orders)
            yield Moment(self._env, self._world.period, PERIOD_END)
            self._end_of_period()
            self._world.period += 1
            skip = 0

    def _outages(self, r: int) -> Process:
        """A resource that fails and recovers, at the start of periods."""
        available = self._world.ledger.availability
        while True:
            yield Moment(self._env, math.floor(self._env.now) + 1, OUTAGE)
            before, available[r] = available[r], self._world.next_availability[r]
            if before != available[r]:
                rises: Kind = "outage_ends" if available[r] == 1.0 else "recovers"
                kind: Kind = "outage_begins" if available[r] < before else rises
                self._world.journal.resource(kind, self.compiled.resource_names[r], available[r])

    def _sell(self) -> None:
        """Customers: old backlog, then new demand, from stock."""
        for d, name in enumerate(self.compiled.demand_names):
            sale = self._world.ledger.sell(d, self._world.drawn[d])
            i = self._world.top.demand_stock[d]
            self._world.journal.stock("served_late", i, sale.late, name)
            self._world.journal.stock("served", i, sale.served, name)
            self._world.journal.stock(
                "backlogged" if self._world.top.demand_backlogs[d] else "lost", i, sale.short, name
            )

    def _end_of_period(self) -> None:
        """Perishable stock ages, then the period is charged."""
        for i, life in enumerate(self._world.top.stock_life):
            if life:
                self._world.journal.stock("perished", i, self._world.ledger.age(i))
        self._costs = self._world.ledger.charge()


def _check_detail(detail: object) -> None:
    allowed = get_args(Detail)
    if detail not in allowed:
        listed = ", ".join(allowed)
        raise ActionError(f"no detail called '{detail}' (allowed: {listed}){did_you_mean(detail, allowed)}")


def _whole(name: str, value: object, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= highest:
        raise ActionError(f"{name} must be a whole number from 0 to {highest}, received {value!r}")
    return int(value)


def _largest(clock: NDArray[Any]) -> int:
    return int(np.iinfo(clock.dtype).max)
