"""Structural checks of disruptions: causes that nobody has or needs, times without end, shares of no limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twin.disruptions import Availability
from twin.distributions import Distribution
from twin.errors import did_you_mean
from twin.periods import TimeUnit

if TYPE_CHECKING:
    from twin.network import Network

__all__ = ["disruption_problems", "disruption_references", "disruption_times", "goes_down"]


def disruption_references(network: Network) -> Iterator[str]:
    """Causes that do not exist, or that a resource names twice."""
    for name, resource in network.resources.items():
        for index, cause in enumerate(resource.causes):
            place = f"resources.{name}.causes[{index}]"
            if cause not in network.causes:
                listed = ", ".join(sorted(network.causes)[:12]) or "none is defined"
                yield f"{place}: no cause called '{cause}' (allowed: {listed}){did_you_mean(cause, network.causes)}"
            elif cause in resource.causes[:index]:
                yield f"{place}: '{cause}' is named before (allowed: each cause once)"


def disruption_times(network: Network) -> Iterator[tuple[str, Distribution, TimeUnit | None]]:
    """Key path, law and unit of every time that is drawn."""
    for place, entry in _availabilities(network):
        if entry.duration is not None:
            yield f"{place}.duration", entry.duration, entry.duration_unit
        for index, window in enumerate(entry.windows):
            yield f"{place}.windows[{index}].start", window.start, window.unit
            yield f"{place}.windows[{index}].duration", window.duration, window.unit


def disruption_problems(network: Network) -> Iterator[str]:
    """Shares of resources without a limit, and causes on which nothing depends."""
    for name, resource in network.resources.items():
        if resource.capacity is not None:
            continue
        entries = [] if resource.availability is None else [(f"resources.{name}.availability", resource.availability)]
        entries += [(f"causes.{cause}.availability", network.causes[cause].availability) for cause in resource.causes]
        for place, entry in entries:
            for key in ("share_when_down", "ramp"):
                if getattr(entry, key):
                    owner = "" if place.startswith("resources") else f", and resource '{name}' has none"
                    yield f"{place}.{key}: a share of no limit is no limit{owner} (allowed: 0, or a capacity)"
    needed = {cause for resource in network.resources.values() for cause in resource.causes}
    for name in network.causes:
        if name not in needed:
            yield f"causes.{name}: no resource depends on it (allowed: causes that a resource names under causes)"


def goes_down(network: Network, name: str) -> bool:
    """Whether nothing of a resource works at times, by a failure or in a scenario."""
    resource = network.resources[name]
    entries = [] if resource.availability is None else [resource.availability]
    entries += [network.causes[cause].availability for cause in resource.causes]
    return any(entry.share_when_down == 0.0 for entry in entries)


def _availabilities(network: Network) -> Iterator[tuple[str, Availability]]:
    for name, resource in network.resources.items():
        if resource.availability is not None:
            yield f"resources.{name}.availability", resource.availability
    for name, cause in network.causes.items():
        yield f"causes.{name}.availability", cause.availability
