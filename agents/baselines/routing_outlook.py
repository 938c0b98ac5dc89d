"""What a program takes to work in its weeks: outages last an assumed time, and ports come back bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.errors import ActionError
from twin.liner.assignment import Assignment
from twin.liner.schedule import WEEK

__all__ = ["AssumedOutages"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class AssumedOutages:
    """What is assumed.

    Attributes
    ----------
    weeks
        How far a program looks.
    outage
        Days that an outage is taken to last from its first day on.
    least
        Days that it is taken to last from now on, however long it has lasted.
    ramp
        Days that a port is then taken to need for its way back to all moves. One that is on its way back is taken to go
        on as it has since yesterday.

    Raises
    ------
    ActionError
        When one of them is no such number.
    """

    weeks: int = 8
    outage: float = 60.0
    least: float = 14.0
    ramp: int = 7

    def __post_init__(self) -> None:
        if self.weeks < 1 or self.ramp < 0 or not all(0.0 <= days < np.inf for days in (self.outage, self.least)):
            raise ActionError(
                f"a program looks 1 week ahead or more and takes outages to last finite times of at least 0 days, and "
                f"ways back of 0 days or more, received weeks={self.weeks}, outage={self.outage}, "
                f"least={self.least}, ramp={self.ramp}"
            )

    @property
    def days(self) -> int:
        """How far a program looks, in days."""
        return WEEK * self.weeks

    def works(
        self, assignment: Assignment, failing: NDArray[np.int64], now: FloatArray, since: FloatArray, step: FloatArray
    ) -> FloatArray:
        """Shares of all resources that are taken to work, (days, R).

        Parameters
        ----------
        assignment
            The network.
        failing
            Resources that may fail.
        now, since, step
            Of each of them: the share that works, the days since it was hit, and by how much more works than yesterday.
        """
        out = np.ones((self.days, assignment.routing.compiled.n_resources))
        ends = np.maximum(self.outage - since, self.least)
        ahead = np.arange(self.days)[:, None]
        # Canals are open or closed.
        ramp = np.where(np.isin(failing, assignment.routing.move_resource), self.ramp, 0)
        rate = np.where(step > 0.0, step, (1.0 - now) / np.maximum(ramp, 1))
        gone = np.where(step > 0.0, ahead, np.maximum(ahead + 1.0 - np.maximum(ends, 1.0), 0.0))
        out[:, failing] = np.minimum(now + rate * gone, 1.0)
        return out
