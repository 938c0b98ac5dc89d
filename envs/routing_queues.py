"""What a move in a congested port costs those who wait for one: the price of a queue.

Where everybody pays the same for a day, a move that is made now delays all that come before the queue is gone. So what
it costs the others is the time until the queue is gone, times what a day costs, whatever the order in which they are
served: the externality of a bottleneck (Vickrey, American Economic Review 59(2), 1969). Cargo that can avoid the port,
or be refused, for less than that should; and because it does, the queue is gone sooner. A price and a time that agree
are found from what comes to the port at each price (:mod:`envs.routing_curves`): s days before the end of the queue the
price is that of s days, so that in T days as much comes as in the first T days of that list, whenever they begin. Cargo
that comes to the port later pays for the days that are then left. What is under way comes whatever the price.

The queue is seen, and how long what is hit stays hit is assumed, unless it can be seen to be on its way back
(:mod:`envs.routing_recovery`). With the price of its moves, slots and the moves of other ports change theirs; and as
that falls day by day, a departure of the weeks to come has slots at what they are worth by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.routing_costs import WayCosts
from envs.routing_curves import PortCurve, PortCurves
from envs.routing_departures import WEEKS_AHEAD
from envs.routing_recovery import Recovery
from twin.liner.routing import LEG, TRANSFER
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["OutageRule", "Prices", "QueuePrices"]

FloatArray = NDArray[np.float64]

#: Days of its usual moves that may wait in a port, over what waits on that weekday as a rule, before it is a queue: a
#: price for noise would turn away what the nominal plan carries as gladly as it refuses.
_NOISE = 3.0

#: Moves that are rounding.
_DUST = 1e-9

#: Days after which every queue is taken to be gone.
_LONGEST = 240


@dataclass(frozen=True)
class OutageRule:
    """What is assumed of outages, and of a queue.

    Attributes
    ----------
    outage
        Days that an outage is taken to last from its first day on.
    least
        Days that it is taken to last from now on, however long it has lasted.
    weight
        FFE that a move in a queue delays by the time that the move takes. Half of one, because what takes one move goes
        first and a transshipment takes two.
    """

    outage: float = 56.0
    least: float = 28.0
    weight: float = 0.5


class Prices(NamedTuple):
    """What is added to the nominal prices.

    Attributes
    ----------
    queues
        (P, B) money per move that is made today.
    fall
        Money by which that is less with every day until cargo comes to the port.
    moves
        (P, B) money per move in other ports.
    departures
        Money per slot of each of the next departures, by :class:`envs.routing_departures.Departures` (size, B).
    """

    queues: FloatArray
    fall: float
    moves: FloatArray
    departures: FloatArray


class QueuePrices:
    """Prices of queues in ports, and of what is short because of them.

    Parameters
    ----------
    costs
        What the ways of a network cost.
    curves
        What comes to ports at a price.
    week
        One replica on each weekday while the nominal plan is followed: what waits, as a rule.
    rule
        What is assumed.
    """

    def __init__(
        self, costs: WayCosts, curves: PortCurves, week: Sequence[TwinState], rule: OutageRule | None = None
    ) -> None:
        routing = costs.assignment.routing
        self.assignment, self.rule = costs.assignment, OutageRule() if rule is None else rule
        self.curves = curves
        self.time_value = routing.terms.value_of_time
        self._departs = costs.departures.nodes
        self.recovery = Recovery(routing.compiled)
        self._resource = np.maximum(routing.move_resource, 0)
        self._capacity = routing.compiled.topology.resource_capacity[self._resource]
        self._limited = (routing.move_resource >= 0) & np.isfinite(self._capacity)
        self._noise = _NOISE / WEEK * curves.plan.moves[:, None]
        self._here, self._later = self._moves_of_cargo(costs)
        self._head = routing.compiled.topology.arc_destination
        #: Moves (7, P, 1) that wait on a usual weekday: cargo comes together, and leaves within the week.
        self._usual = np.stack([self._waits(state) for state in week])
        #: Moves (P,) that cargo under way usually comes for.
        self._under_way = np.mean([self._comes(state)[:, 0] for state in week], axis=0)

    def _moves_of_cargo(self, costs: WayCosts) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Moves (P, I) that an FFE at a call takes in its port, and in all ports on the rest of its way.

        Its ways are those of the plan, or else the cheapest.
        """
        assignment, routing = self.assignment, self.assignment.routing
        usual, demands = costs.usual.mean(axis=0), len(routing.graph.demand)
        shares = sparse.lil_array((routing.compiled.n_stocks, len(assignment.ways)))
        for f in range(demands, len(assignment.flows)):
            ways = np.arange(assignment.first_way[f], assignment.first_way[f + 1])
            if not len(ways):
                continue
            part = np.zeros(len(ways)) if costs.weight is None else costs.weight[0, ways]
            if part.sum() <= 0.0:
                part = (ways == ways[np.argmin(usual[ways])]).astype(np.float64)
            shares[[int(assignment.call_stock[f - demands])], ways] = part / part.sum()
        shares = shares.tocsr()
        # What a way begins with is done in the port where the cargo is.
        ways = np.arange(assignment.first_way[demands], len(assignment.ways))
        node = np.array([assignment.flows[assignment.ways[w].flow].node for w in ways], dtype=np.int64)
        kind = routing.arc_kind[assignment.way_arc[ways]]
        each = np.where(kind == LEG, 0.0, np.where(kind == TRANSFER, 2.0, 1.0))
        begins = sparse.csr_array((each, (ways, routing.graph.port[node])), shape=costs.moves.shape)
        return (shares @ begins).T.tocsr(), (shares @ costs.moves).T.tocsr()

    def _waits(self, state: TwinState) -> FloatArray:
        """Moves (P, B) that cargo at the calls of each port is waiting for."""
        return np.asarray(self._here @ state.arrays.on_hand)

    def _comes(self, state: TwinState) -> FloatArray:
        """Moves (P, B) that cargo under way to each port comes for."""
        there = state.arrays.on_hand.copy()
        np.add.at(there, self._head, state.arrays.in_transit)
        return np.asarray(np.maximum(self._later @ there - self._waits(state), 0.0))

    def of(self, state: TwinState, longer: FloatArray | float = 1.0) -> Prices:
        """Prices at a decision epoch.

        Parameters
        ----------
        state
            What waits, what works, and since when.
        longer
            (B,) by what the assumed rest of outages is multiplied.
        """
        arrays, rule, plan = state.arrays, self.rule, self.curves.plan
        works = np.where(self._limited[:, None], arrays.availability[self._resource], 1.0)
        usual = self._usual[state.period % WEEK, :, 0].T
        queue = np.maximum(self._waits(state) - usual - self._noise, 0.0)
        back = self.recovery.days(arrays.availability)[self._resource]
        rest = np.maximum(rule.outage - arrays.since[self._resource], rule.least) * longer
        rest = np.where(works < 1.0, np.where(back > 0.0, np.minimum(back, rest), rest), 0.0)
        fall = rule.weight * self.time_value
        queues, moves = np.zeros(works.shape), np.zeros(works.shape)
        slots = np.zeros((len(self._departs), WEEKS_AHEAD, state.replicas))
        # Departures leave in the middle of their weeks, on average.
        ahead = WEEK * (np.arange(WEEKS_AHEAD)[:, None] + 0.5)
        short = np.flatnonzero(self._limited & ((rest > 0.0) | (queue > 0.0)).any(axis=1))
        comes = self._comes(state) if len(short) else queues
        for p in short:
            curve = self.curves.of(int(p))
            days = self._days(int(p), curve, works[p], rest[p], queue[p], comes[p])
            queues[p] = np.minimum(fall * days, self.curves.most)
            moves += np.where(days > 0.0, curve.others_at(queues[p]), 0.0)
            then = np.maximum(queues[p] - fall * ahead, 0.0)
            slots += np.where(days > 0.0, curve.slots_at(then)[self._departs], 0.0)
        slots = np.maximum(slots, -plan.slot_price[self._departs, None, None])
        moves = np.maximum(moves, -plan.move_price[:, None])
        return Prices(queues, fall, moves, slots.reshape(-1, state.replicas))

    def _days(
        self, p: int, curve: PortCurve, works: FloatArray, rest: FloatArray, queue: FloatArray, under_way: FloatArray
    ) -> FloatArray:
        """Days (B,) until the queue of port p is gone.

        Parameters
        ----------
        curve
            What comes at a price.
        works, rest
            Share (B,) of its moves that the port makes while the outage lasts, and for how many days (B,).
        queue, under_way
            Moves (B,) that wait, and that cargo under way will come for, whatever the price: as many days' worth as
            usual of what comes.
        """
        day = np.arange(_LONGEST + 1.0)
        comes = np.interp(self.rule.weight * self.time_value * day, curve.price, curve.moves)
        until = np.concatenate([[0.0], np.cumsum((comes[1:] + comes[:-1]) / 2.0)])
        settled = self._under_way[p] / max(float(curve.moves[0]), _DUST)
        priced = np.interp(np.maximum(day - settled, 0.0), day, until)[:, None]
        day, then = day[:, None], self._capacity[p]
        asked = queue + under_way * np.minimum(day / max(settled, _DUST), 1.0) + priced
        now = then * np.where(works > 0.0, works, 0.0)
        gone = now * np.minimum(day, rest) + then * np.maximum(day - rest, 0.0) >= asked - _DUST
        gone[0] = (queue <= 0.0) & ((rest <= 0.0) | (now >= curve.moves[0]))
        return np.where(gone.any(axis=0), np.argmax(gone, axis=0), float(_LONGEST))
