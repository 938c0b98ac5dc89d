"""What a move in a congested port costs those who wait for one: the price of a queue.

Where everybody pays the same for a day, a move that is made now delays all that come before the queue is gone. So what
it costs the others is the time until the queue is gone, times what a day costs, whatever the order in which they are
served: the externality of a bottleneck (Vickrey, American Economic Review 59(2), 1969). Ways that avoid the port are
cheaper under that price exactly when they should be taken.

The queue is seen, the rate at which it grows is the nominal plan's, and how long what is hit stays hit is assumed. With
the price of its moves, slots and the moves of other ports change theirs (:mod:`envs.routing_scarcity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.routing_costs import WayCosts
from envs.routing_scarcity import ScarcityPrices
from twin.liner.plan import CandidatePlan
from twin.liner.routing import LEG, TRANSFER
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["OutageRule", "Prices", "QueuePrices"]

FloatArray = NDArray[np.float64]

#: Days of its usual moves that may wait in a port, over what waits on that weekday as a rule, before it is a queue: a
#: price for noise would turn away what the nominal plan carries as gladly as it refuses.
_NOISE = 3.0


@dataclass(frozen=True)
class OutageRule:
    """What is assumed of outages, and how much of the price counts.

    The defaults were found by a search on tuning seeds (docs/routing.md).

    Attributes
    ----------
    outage
        Days that an outage is taken to last from its first day on.
    least
        Days that it is taken to last from now on, however long it has lasted.
    weight
        Share of the price that is charged: others leave the queue too, and it is gone sooner than if all stayed.
    transshipped
        Share of the usual transshipments that is taken to come to a port with a queue.
    most
        Money per move at most.
    ahead
        Days over whose mean a port's moves are taken for the prices of slots and of other ports' moves, see
        :class:`envs.routing_scarcity.ScarcityPrices`; with 0 these stay the nominal ones.
    """

    outage: float = 60.0
    least: float = 14.0
    weight: float = 0.3
    transshipped: float = 0.8
    most: float = 2200.0
    ahead: float = 56.0


class Prices(NamedTuple):
    """What is added to the nominal prices: queues and moves (P, B) per move, slots (N, B) per slot of a departure."""

    queues: FloatArray
    moves: FloatArray
    slots: FloatArray


class QueuePrices:
    """Prices of queues in ports, and of what is short because of them.

    Parameters
    ----------
    costs
        What the ways of a network cost.
    scarcity
        What slots and other ports' moves are worth while a port makes fewer.
    plan, week
        The nominal plan, and one replica on each weekday while it is followed: what goes where, and what waits, as a
        rule.
    rule
        What is assumed.
    """

    def __init__(
        self,
        costs: WayCosts,
        scarcity: ScarcityPrices,
        plan: CandidatePlan,
        week: Sequence[TwinState],
        rule: OutageRule | None = None,
    ) -> None:
        assignment, routing = costs.assignment, costs.assignment.routing
        graph, resource = routing.graph, routing.move_resource
        self.assignment, self.rule = assignment, OutageRule() if rule is None else rule
        self.scarcity = scarcity
        self.time_value = routing.terms.value_of_time
        self._resource = np.maximum(resource, 0)
        self._limited = resource >= 0
        capacity = routing.compiled.topology.resource_capacity[self._resource]
        self._capacity = np.where(self._limited & np.isfinite(capacity), capacity, np.inf)[:, None]
        own = np.zeros(len(graph.port_names))
        for candidate, ffe in zip(routing.candidates, plan.ffe, strict=True):
            own[graph.origin[candidate.demand]] += ffe / WEEK
            own[graph.destination[candidate.demand]] += ffe / WEEK
        self._own = own[:, None]
        self._transshipped = np.maximum(plan.moves[:, None] / WEEK - self._own, 0.0)
        self._here = self._moves_here(costs)
        #: Moves (7, P, 1) that wait on a usual weekday: cargo comes together, and leaves within the week.
        self._usual = np.stack([self._waits(state) for state in week])

    def _moves_here(self, costs: WayCosts) -> sparse.csr_array:
        """Moves (P, I) that an FFE at a call takes in its port, on the ways of the plan or else the cheapest."""
        assignment, routing = self.assignment, self.assignment.routing
        usual, demands = costs.usual.mean(axis=0), len(routing.graph.demand)
        rows, columns, moves = [], [], []
        for f in range(demands, len(assignment.flows)):
            ways = np.arange(assignment.first_way[f], assignment.first_way[f + 1])
            if not len(ways):
                continue
            part = np.zeros(len(ways)) if costs.weight is None else costs.weight[0, ways]
            if part.sum() <= 0.0:
                part = (ways == ways[np.argmin(usual[ways])]).astype(np.float64)
            kind = routing.arc_kind[assignment.way_arc[ways]]
            each = np.where(kind == LEG, 0.0, np.where(kind == TRANSFER, 2.0, 1.0))
            rows.append(int(routing.graph.port[assignment.flows[f].node]))
            columns.append(int(assignment.call_stock[f - demands]))
            moves.append(float(part @ each / part.sum()))
        shape = (len(routing.graph.port_names), routing.compiled.n_stocks)
        return sparse.csr_array((moves, (rows, columns)), shape=shape)

    def _waits(self, state: TwinState) -> FloatArray:
        """Moves (P, B) that cargo at the calls of each port is waiting for."""
        return np.asarray(self._here @ state.arrays.on_hand)

    def of(self, state: TwinState, longer: FloatArray | float = 1.0) -> Prices:
        """Prices at a decision epoch.

        Parameters
        ----------
        state
            What waits, what works, and since when.
        longer
            (B,) by what the assumed rest of outages is multiplied.
        """
        arrays, rule = state.arrays, self.rule
        works = np.where(self._limited[:, None], arrays.availability[self._resource], 1.0)
        since = arrays.since[self._resource]
        comes = self._own + rule.transshipped * self._transshipped
        usual = self._usual[state.period % WEEK, :, 0].T
        queue = np.maximum(self._waits(state) - usual - _NOISE * (self._own + self._transshipped), 0.0)
        rest = np.where(works < 1.0, np.maximum(rule.outage - since, rule.least) * longer, 0.0)
        now = np.where(works > 0.0, self._capacity * works, 0.0)
        with np.errstate(invalid="ignore"):
            then = np.where(rest > 0.0, queue + rest * (comes - now), queue)
        # Gone after the outage, at the rate of a port that works; or already during it.
        after = rest + then / np.maximum(self._capacity - comes, 1e-9)
        before = queue / np.maximum(now - comes, 1e-9)
        days = np.where(then > 0.0, after, np.where(rest > 0.0, before, 0.0))
        price = rule.weight * self.time_value * np.where(queue + rest > 0.0, days, 0.0)
        moves, slots = self.scarcity.of(self._works(works, rest, queue))
        return Prices(np.minimum(price, rule.most), moves, slots)

    def _works(self, works: FloatArray, rest: FloatArray, queue: FloatArray) -> FloatArray:
        """Shares (P, B) of their moves that ports have left for what comes in the days ahead."""
        ahead = self.rule.ahead
        if ahead <= 0.0:
            return np.ones_like(works)
        return np.asarray(1.0 - (np.minimum(rest, ahead) * (1.0 - works) + queue / self._capacity) / ahead)
