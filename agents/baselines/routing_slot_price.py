"""Every flow by its cheapest way when slots cost what a program says they are worth today."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing_outlook import AssumedOutages
from agents.baselines.routing_queue_price import QueuePrice
from agents.oracles.cargo_weeks import CargoWeeks
from envs.routing import RoutingTask
from envs.routing_actions import DepartureCodec
from envs.routing_departures import WEEKS_AHEAD
from envs.routing_queues import Prices
from envs.task import Task
from twin.errors import ActionError
from twin.liner.schedule import WEEK
from twin.liner.weekday_plan import booked_week
from twin.state import TwinState

__all__ = ["SlotPrice"]

FloatArray = NDArray[np.float64]


class SlotPrice(QueuePrice):
    """The price of queues, and slots of the next departures at the dual prices of the rolling program.

    Every day the program of :class:`agents.baselines.routing_program.RollingRouting` is solved for these prices alone,
    and cargo takes its cheapest way. That is an action of the mode ``departures`` with ``base="queue"``, so that a
    learner can imitate it (:class:`agents.learners.imitation.Imitation`).

    Parameters
    ----------
    weeks, outage, least, ramp
        What the program looks at and assumes, see :class:`agents.baselines.routing_outlook.AssumedOutages`. It knows
        nothing of yesterday; what is on its way back shows in what works today.
    share
        Of the way from the usual price to the program's that is gone.
    """

    name = "routing_slot_price"
    mode = "departures"

    def __init__(
        self,
        task: Task,
        parameters: ArrayLike | None = None,
        *,
        weeks: int = 8,
        outage: float = 60.0,
        least: float = 14.0,
        ramp: int = 7,
        share: float = 1.0,
    ) -> None:
        super().__init__(task, parameters)
        if not 0.0 <= share <= 1.0:
            raise ActionError(f"share must be from 0 to 1, received {share}")
        self.outlook, self.share = AssumedOutages(weeks, outage, least, ramp), float(share)
        self.program = CargoWeeks(self.assignment, self.task.worth)
        self._week = booked_week(self.assignment)

    @classmethod
    def fits(cls, task: Task) -> str | None:
        if isinstance(task, RoutingTask) and task.queues is None:
            return "its prices come on top of those of queues (allowed: base=queue)"
        return super().fits(task)

    def actions(self, state: TwinState) -> NDArray[Any]:
        codec = cast(DepartureCodec, self.task.routing_codec)
        return codec.encode_prices(self.surcharges(state, self.queues.of(state)))

    def surcharges(self, state: TwinState, prices: Prices) -> FloatArray:
        departures = self.costs.departures
        usual = departures.spread(self.costs.slot_price[:, None]) + prices.departures
        works, since = (array[self.failing] for array in (state.arrays.availability, state.arrays.since))
        back = self.queues.recovery.days(state.arrays.availability)[self.failing]
        step = np.divide(1.0 - works, back, out=np.zeros_like(works), where=back > 0.0)
        out = np.zeros_like(usual).reshape(len(departures.nodes), WEEKS_AHEAD, -1)
        for b in range(state.replicas):
            booked = self._week[(state.period[b] + np.arange(self.outlook.days)) % WEEK]
            share = self.outlook.works(self.assignment, self.failing, works[:, b], since[:, b], step[:, b])
            worth = self.program.plan(state, b, booked, share).slot_price[departures.nodes, :WEEKS_AHEAD]
            # What a program that looks less far does not see has its usual price.
            seen = worth.shape[1]
            out[:, :seen, b] = worth - usual[:, b].reshape(out.shape[:2])[:, :seen]
        return self.share * out.reshape(usual.shape)
