"""Linear programs on the expected bookings of the next weeks: with outages as they are seen, and without."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import restarted
from agents.baselines.routing import RoutingPolicy
from agents.baselines.routing_outlook import AssumedOutages
from agents.oracles.cargo_weeks import CargoWeeks
from envs.task import Task
from twin.errors import ActionError
from twin.liner.routing import LEG, REFUSE
from twin.liner.schedule import WEEK
from twin.liner.weekday_plan import booked_week
from twin.state import TwinState

__all__ = ["RollingRouting", "WeeklyProgram"]

FloatArray = NDArray[np.float64]
#: Days since the program was solved; what worked on the day before, and whether it was on its way back; the program's
#: parts and windows of seven days; what has gone on each arc since its window began. Replicas last.
Memory = tuple[NDArray[Any], ...]

#: FFE that are rounding, and no cargo.
_DUST = 1e-9


class RollingRouting(RoutingPolicy):
    """The first week of the best next weeks: expected bookings, and what is hit for an assumed time.

    The program is solved anew every so many days, and when something is hit, hit harder or begins to recover. Between
    that, of what waits and is booked, and of all that a place at a call has had since the last departure that matters,
    the program's parts go where it sends them, as far as there are moves and slots, what leaves soon first; what the
    program holds back waits. Where the program has nothing, cargo takes its cheapest way.

    Parameters
    ----------
    weeks, outage, least, ramp
        What it looks at and assumes, see :class:`agents.baselines.routing_outlook.AssumedOutages`.
    every
        Days after which the program is solved anew at the latest, up to 7.
    refused
        Share of what the program refuses that is refused at once: bookings vary, and what waits a few days more fills
        slots that others leave empty.
    """

    name = "routing_rolling_program"
    #: Whether it counts with what is hit.
    heeds: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        parameters: ArrayLike | None = None,
        *,
        weeks: int = 8,
        outage: float = 60.0,
        least: float = 14.0,
        ramp: int = 7,
        every: int = 1,
        refused: float = 1.0,
    ) -> None:
        super().__init__(task, parameters)
        if not 1 <= every <= WEEK or not 0.0 < refused <= 1.0:
            raise ActionError(
                f"a program is solved every 1 to 7 days, and refuses a share above 0 and up to 1 of what it would, "
                f"received every={every}, refused={refused}"
            )
        self.outlook, self.every, self.refused = AssumedOutages(weeks, outage, least, ramp), every, float(refused)
        assignment = self.assignment
        routing, top = assignment.routing, assignment.routing.compiled.topology
        self.program = CargoWeeks(assignment, self.task.worth)
        self._week = booked_week(assignment)
        #: The flow that an arc draws on (A,): demands, then stock points.
        demands = len(routing.graph.demand)
        drawing = np.diff(top.in_ptr) > 0
        self._flow = routing.arc_demand.copy()
        self._flow[drawing] = demands + top.in_stock[top.in_ptr[:-1][drawing]]
        self._flows = demands + routing.compiled.n_stocks
        self._bought = ~drawing
        self._around = np.zeros(routing.compiled.n_arcs, dtype=np.bool_)
        self._around[routing.arc_around[routing.arc_around >= 0]] = True
        self._refuse = routing.arc_kind == REFUSE
        self._refusal = np.zeros(demands, dtype=np.int64)
        self._refusal[routing.arc_demand[self._refuse]] = np.flatnonzero(self._refuse)
        #: Legs of flows that may also do something else.
        leg = (routing.arc_kind == LEG) & ~self._around
        others = np.bincount(self._flow[~leg & drawing & ~self._around], minlength=self._flows)
        self._parting = leg & (others[self._flow] > 0)
        owner = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.use_ptr))
        moves = np.isin(top.use_resource, routing.move_resource[routing.move_resource >= 0])
        #: Arcs that take moves, of which port (as a resource), and how many an FFE.
        self._moving, self._port = owner[moves], top.use_resource[moves]
        self._moves = top.use_coefficient[moves]
        self._leaves = np.where(leg, routing.schedule.weekday[routing.arc_tail], -1)
        self._usual = self._cheapest()

    def _cheapest(self) -> FloatArray:
        """The cheapest way of every flow on every weekday, as parts (7, A)."""
        assignment = self.assignment
        choice = assignment.cheapest(np.ascontiguousarray(self.costs.usual.T))
        return np.ascontiguousarray(assignment.shares(choice).T)

    # -- the protocol of decision makers ------------------------------------------------------------------------------

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for observations (n,) or (B, n); the state says what was planned when."""
        today = self.read(np.atleast_2d(observation))
        memory = restarted(state, self._begin(today), episode_start)
        orders, memory = self.decide(today, memory)
        actions = self.task.codec.encode(orders)
        return (actions[0] if observation.ndim == 1 else actions), memory

    def orders(self, state: TwinState) -> FloatArray:
        """Orders (A, B) on a day on which the program is solved."""
        return self.decide(state, self._begin(state))[0]

    def _begin(self, state: TwinState) -> Memory:
        arcs, replicas = self.assignment.routing.compiled.n_arcs, state.replicas
        return (
            np.full(replicas, WEEK),
            np.ones((len(self.failing), replicas)),
            np.zeros((len(self.failing), replicas), dtype=np.bool_),
            np.zeros((WEEK, arcs, replicas)),
            np.zeros((WEEK, arcs, replicas), dtype=np.bool_),
            np.zeros((arcs, replicas)),
        )

    # -- the rule -----------------------------------------------------------------------------------------------------

    def decide(self, state: TwinState, memory: Memory) -> tuple[FloatArray, Memory]:
        """Orders (A, B) of a day, and what is remembered.

        Parameters
        ----------
        state
            At a decision epoch.
        memory
            Of the day before; see ``Memory``.
        """
        day, before, rising, part, fresh, done = memory
        now = state.arrays.availability[self.failing]
        back = now > before
        news = ((now < before) | (back & ~rising)).any(axis=0) & self.heeds
        rising = back | (rising & (now == before) & (now < 1.0))
        day, part, fresh = day + 1, part.copy(), fresh.copy()
        for b in np.flatnonzero((day >= self.every) | news).tolist():
            works = self._works(state, b, now[:, b] - np.where(back, before, now)[:, b])
            booked = self._week[(state.period[b] + np.arange(self.outlook.days)) % WEEK]
            plan = self.program.plan(state, b, booked, works)
            day[b], part[..., b], fresh[..., b] = 0, plan.part, plan.fresh
        replica = np.arange(state.replicas)
        done = np.where(fresh[day, :, replica].T, 0.0, done)
        chosen = part[day, :, replica].T
        chosen = np.where(chosen < 0.0, self._usual[state.period % WEEK].T, chosen)
        # Of bookings what is still to go is remembered, of cargo at calls what has gone.
        comes = np.where(day == 0, self.assignment.waiting(state), state.arrays.demand)
        bought = self._bought[:, None]
        chosen = np.where(self._refuse[:, None], self.refused * chosen, chosen)
        done = np.where(bought, done + chosen * comes[self.assignment.routing.arc_demand], done)
        orders = self._follow(state, chosen, done)
        gone = np.where(bought, np.maximum(done - orders, 0.0), done + np.where(self._around[:, None], 0.0, orders))
        return orders, (day, now, rising, part, fresh, gone)

    def _works(self, state: TwinState, b: int, step: FloatArray) -> FloatArray:
        """What is taken to work, (days, R); ``step`` is by how much more works than yesterday."""
        if not self.heeds:
            return np.ones((self.outlook.days, self.assignment.routing.compiled.n_resources))
        now, since = state.arrays.availability[self.failing, b], state.arrays.since[self.failing, b]
        return self.outlook.works(self.assignment, self.failing, now, since, step)

    def _follow(self, state: TwinState, part: FloatArray, done: FloatArray) -> FloatArray:
        """Orders (A, B) that bring what each arc has had to its part of all that its flow has had."""
        assignment, routing = self.assignment, self.assignment.routing
        here = np.concatenate([assignment.waiting(state), state.arrays.on_hand])[self._flow]
        gone = np.zeros((self._flows, state.replicas))
        np.add.at(gone, self._flow, done)
        asked = np.where(self._bought[:, None], done, part * (here + gone[self._flow]) - done)
        asked = np.minimum(np.maximum(asked, 0.0), here)
        # What is refused goes first, and loading and air share the rest.
        others = (self._bought & ~self._refuse)[:, None]
        rest = here - np.where(others, asked[self._refusal[routing.arc_demand]], 0.0)
        share = np.divide(asked, rest, out=part.copy(), where=rest > _DUST)
        share[self._around] = 0.0
        # A flow that may part does so on the day of departure; until then slots are kept for what will sail.
        waits = self._parting[:, None] & (self._leaves[:, None] != state.period % WEEK)
        share = np.where(waits, part, np.clip(share, 0.0, 1.0))
        stays = np.where(waits, 0.0, share)
        kept = np.maximum(assignment.room(state, stays) - assignment.room(state, share), 0.0)
        stays *= self._granted(state, stays * rest)
        return assignment.permitted(state, assignment.orders(state, stays, kept=kept))

    def _granted(self, state: TwinState, asked: FloatArray) -> FloatArray:
        """Parts (A, B) of what is asked for which ports have moves today, by how soon the vessel leaves.

        The program says how much changes vessels: transshipments do not come after all that takes one move, as they
        would in the assignment's own order.
        """
        top, works = self.assignment.routing.compiled.topology, state.arrays.availability
        left = np.where(works > 0.0, top.resource_capacity[:, None] * np.where(works > 0.0, works, 1.0), 0.0)
        out = np.ones_like(asked)
        due = self.assignment.due[self._moving]
        # What is discharged comes after what leaves today, and before the rest.
        soon = (due[:, None] - state.period) % WEEK + 1.0
        soon[due < 0] = 1.5
        need = asked[self._moving] * self._moves[:, None]
        for when in np.unique(soon):
            total = np.zeros(left.shape)
            np.add.at(total, self._port, np.where(soon == when, need, 0.0))
            part = np.divide(left, total, out=np.ones_like(left), where=total > left)
            out[self._moving] = np.where(soon == when, part[self._port], out[self._moving])
            left = np.maximum(left - total, 0.0)
        return out


class WeeklyProgram(RollingRouting):
    """The same program, which takes all ports to work and all canals to be open."""

    name = "routing_weekly_program"
    heeds = False
