"""Disruptions of one replica a second time: naive, in plain Python, from docs/model.md alone.

``chance(stream, entity, period)`` gives the uniform number that the model names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from twin.network import Availability, Network

Chance = Callable[[int, int, int], float]


def whole_periods(law, per_period: float, u: float) -> int:
    """Quantile of a duration as whole periods, the nearest; the upper tail beyond 1e-4 counts as where it begins."""
    if law.distribution == "fixed":
        return math.floor(law.value / per_period + 0.5)
    n = 0
    while float(law.cdf(math.nextafter((n + 0.5) * per_period, 0.0))) < min(u, 1.0 - 1e-4):
        n += 1
    return n


@dataclass
class Outage:
    """A scripted window: the epochs in which it holds its process down."""

    first: int
    last: int


@dataclass
class Process:
    """Something that goes down and comes up again."""

    network: Network
    entry: Availability
    number: int  # by which its random numbers go
    is_cause: bool
    chance: Chance
    up: bool = True
    elapsed: int = 0
    remaining: int = 0
    warning: int = 0
    windows: list[Outage] = field(default_factory=list)

    def __post_init__(self) -> None:
        for w, window in enumerate(self.entry.windows):
            per, entity = self.network.periods(window.unit), 4096 * self.number + 4 + 2 * w
            first = whole_periods(window.start, per, self.chance(8, entity, 0))
            length = max(1, whole_periods(window.duration, per, self.chance(8, entity + 1, 0)))
            self.windows.append(Outage(first, first + length - 1))
        self.elapsed = self.entry.ramp
        lasting = [window.last + 1 for window in self.windows if window.first == 0]
        if lasting:
            self.up, self.elapsed, self.remaining = False, 0, max(lasting)
        self.warn(0, announced=False)

    def warn(self, period: int, *, announced: bool) -> None:
        """The sign that is seen in the epoch of ``period``."""
        if (rule := self.entry.warning) is None:
            return
        announced = announced or any(window.first - rule.ahead == period for window in self.windows)
        u = self.chance(8, 4096 * self.number + 2, period)
        self.warning = int(self.up and u < (rule.recall if announced else rule.false_alarm))

    def outage(self, period: int) -> int:
        """Epochs that an outage lasts which begins in ``period``; 0 where nobody knows."""
        if self.entry.duration is None:
            return 0
        u = self.chance(8, 4096 * self.number + 1, period)
        return max(1, whole_periods(self.entry.duration, self.network.periods(self.entry.duration_unit), u))

    def move(self, period: int) -> None:
        """From the epoch before to that of ``period``."""
        was, announced, strikes = self.up, False, False
        u = self.chance(8, 4096 * self.number, period) if self.is_cause else self.chance(2, self.number // 2, period)
        if self.remaining > 0:
            self.remaining -= 1
            over = self.remaining == 0
            strikes = was and over
            self.up = was or over
        elif not was:
            self.up = u < (self.entry.recovery or 1.0)
        elif u < self.entry.failure:
            if self.entry.warning is None:
                strikes = True
            else:
                announced, self.remaining = True, self.entry.warning.ahead
        if strikes:
            self.up, self.remaining = False, self.outage(period)
        for window in self.windows:
            if window.first <= period <= window.last:
                if self.up:
                    self.up, self.remaining = False, 0
                self.remaining = max(self.remaining, window.last + 1 - period)
        self.elapsed = self.elapsed + 1 if self.up == was else 0
        self.warn(period, announced=announced)

    @property
    def share(self) -> float:
        """What it leaves of whatever depends on it."""
        rest, ramp = self.entry.share_when_down, self.entry.ramp
        if not self.up:
            return rest
        return 1.0 if self.elapsed + 1 >= ramp else rest + (1.0 - rest) * (self.elapsed + 1) / ramp


class Disruptions:
    """All processes of a network, and what they leave of its resources."""

    def __init__(self, network: Network, chance: Chance) -> None:
        self.network, self.period = network, 0
        self.processes: dict[str, Process] = {}
        for r, (name, resource) in enumerate(network.resources.items()):
            if resource.availability is not None:
                self.processes[name] = Process(network, resource.availability, 2 * r, False, chance)
        for c, (name, cause) in enumerate(network.causes.items()):
            self.processes[f"cause:{name}"] = Process(network, cause.availability, 2 * c + 1, True, chance)
        self.available = dict.fromkeys(network.resources, 1.0)
        self.combine()
        self.since = dict.fromkeys(network.resources, 0)

    def combine(self) -> None:
        """What is left of every resource now."""
        for name, resource in self.network.resources.items():
            depends = [name] * (resource.availability is not None) + [f"cause:{cause}" for cause in resource.causes]
            if depends:
                self.available[name] = math.prod(self.processes[key].share for key in depends)

    def move(self) -> None:
        """One period later."""
        self.period += 1
        before = dict(self.available)
        for process in self.processes.values():
            process.move(self.period)
        self.combine()
        for name in self.since:
            changed = (before[name] == 1.0) != (self.available[name] == 1.0)
            self.since[name] = 0 if changed else self.since[name] + 1

    def rows(self) -> dict[str, list[float]]:
        """What a state keeps of them; nothing where availability says all."""
        entries = [process.entry for process in self.processes.values()]
        lasting = any(e.duration is not None or e.ramp or e.warning is not None or e.windows for e in entries)
        kept = list(self.processes.values()) if lasting or self.network.causes else []
        return {
            "process_up": [float(process.up) for process in kept],
            "process_elapsed": [float(process.elapsed) for process in kept],
            "process_remaining": [float(process.remaining) for process in kept],
            "warning": [float(process.warning) for process in kept if process.entry.warning is not None],
            "since": list(map(float, self.since.values())),
        }
