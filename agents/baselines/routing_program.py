"""Linear programs on the expected bookings, solved anew every day: with outages as they are seen, and without."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing import RoutingPolicy
from agents.oracles.cargo_schedule import CargoSchedule
from envs.task import Task
from twin.distributions import Recorded
from twin.errors import ActionError
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["RollingRouting", "WeeklyProgram"]

FloatArray = NDArray[np.float64]


class RollingRouting(RoutingPolicy):
    """The first day of the best schedule of the next weeks: expected bookings, and what is hit for an assumed time.

    Parameters
    ----------
    weeks
        How far it looks.
    outage
        Days that an outage is taken to last from its first day on.
    least
        Days that it is taken to last from now on, however long it has lasted.
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
        outage: float = 28.0,
        least: float = 7.0,
    ) -> None:
        super().__init__(task, parameters)
        if weeks < 1 or not (0.0 <= outage < np.inf and 0.0 <= least < np.inf):
            raise ActionError(
                f"a program looks 1 week ahead or more and takes outages to last finite times of at least 0 days, "
                f"received weeks={weeks}, outage={outage}, least={least}"
            )
        self.outage, self.least, self.days = float(outage), float(least), WEEK * weeks
        self.schedule = CargoSchedule(self.assignment, self.days, self.task.worth.at_calls, self.task.worth.booked)
        laws = [entry[0] for entry in self.assignment.routing.compiled.demand_distributions]
        self._week = np.array([law.values if isinstance(law, Recorded) else [law.mean_value] * WEEK for law in laws]).T

    def orders(self, state: TwinState) -> FloatArray:
        return np.stack([self._planned(state, b) for b in range(state.replicas)], axis=1)

    def _planned(self, state: TwinState, b: int) -> FloatArray:
        day = np.arange(self.days)
        works = np.ones((self.days, self.assignment.routing.compiled.n_resources))
        if self.heeds:
            now, since = state.arrays.availability[self.failing, b], state.arrays.since[self.failing, b]
            ends = np.maximum(self.outage - since, self.least)
            works[:, self.failing] = np.where(day[:, None] < ends, now, 1.0)
            works[0, self.failing] = now
        booked = self._week[(state.period[b] + day) % WEEK]
        return np.asarray(self.schedule.plan(state, b, booked, works).orders[0])


class WeeklyProgram(RollingRouting):
    """The same program, which takes all ports to work and all canals to be open."""

    name = "routing_weekly_program"
    heeds = False
