"""Learning rates that fall over a training, as Stable-Baselines3 takes them: functions of the share that is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from twin.errors import ConfigError, did_you_mean

__all__ = ["SCHEDULES", "LearningRate"]

#: Share of the initial learning rate, by the share of training that is left.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda left: left,
    "cosine": lambda left: 0.5 * (1.0 - math.cos(math.pi * left)),
}


@dataclass(frozen=True)
class LearningRate:
    """A learning rate by the share of training that is left, from 1 to 0.

    Attributes
    ----------
    initial
        At the start.
    schedule
        One of :data:`SCHEDULES`.

    Raises
    ------
    ConfigError
        For an unknown schedule, or a rate that is not a number above 0.
    """

    initial: float
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if isinstance(self.initial, bool) or not isinstance(self.initial, int | float) or not self.initial > 0.0:
            raise ConfigError(f"learning_rate must be a number above 0, received {self.initial!r}")
        if self.schedule not in SCHEDULES:
            raise ConfigError(
                f"no schedule '{self.schedule}' (allowed: {', '.join(SCHEDULES)})"
                f"{did_you_mean(self.schedule, SCHEDULES)}"
            )

    def __call__(self, left: float) -> float:
        return self.initial * SCHEDULES[self.schedule](left)
