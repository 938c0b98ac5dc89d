"""What happens to a supply network, as data that is laid over it: outages of suppliers and resources, surges of demand.

A scenario names what it hits; how a network behaves otherwise stays its own, and so do its random numbers: demand and
lead times of a path are the same with a scenario and without. Liner networks have scenarios of their own
(:mod:`twin.liner`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from twin.demand import Name, Shock
from twin.disruptions import Availability, Cause, Window
from twin.distributions import Distribution
from twin.errors import NetworkError, did_you_mean
from twin.network import ArcTerms, Network, Resource
from twin.schema import Flag, NonNegative, Share, StrictModel, Whole

__all__ = ["Outage", "Scenario", "Surge", "laid_over"]


class Outage(StrictModel):
    """Suppliers or resources that work in part or not at all: once in an episode, or again and again."""

    suppliers: Literal["all"] | tuple[Name | Whole, ...] = Field(
        default=(), description="names, or places by what is usually bought from them, 1 being the largest; or all"
    )
    resources: Literal["all"] | tuple[Name, ...] = ()
    share: float = Field(default=0.0, strict=True, ge=0.0, lt=1.0, description="of the capacity that is left")
    start: Distribution | None = Field(default=None, description="period of the episode, for what happens once")
    failure: Share = Field(default=0.0, description="probability a period, for what happens again and again")
    duration: Distribution = Field(description="periods")
    ramp: Whole = Field(default=0, ge=0, description="periods from the end to the full capacity")
    together: Flag = Field(default=False, description="whether all that it hits is down at once")

    @model_validator(mode="after")
    def _happens(self) -> Outage:
        if (self.start is None) == (self.failure == 0.0):
            raise ValueError("has a start or a failure above 0 (allowed: either)")
        if not self.suppliers and not self.resources:
            raise ValueError("hits neither suppliers nor resources")
        return self

    @property
    def cause(self) -> Cause:
        """As the twin has it."""
        timing: dict[str, Any] = {"failure": self.failure, "duration": self.duration}
        if self.start is not None:
            timing = {"windows": (Window(start=self.start, duration=self.duration),)}
        return Cause(availability=Availability(share_when_down=self.share, ramp=self.ramp, **timing))


class Surge(StrictModel):
    """Demand that is a multiple of the usual one for some periods; planners know of it, as of every scripted shock."""

    demands: Literal["all"] | tuple[Name, ...] = "all"
    start: Whole = Field(ge=0, description="period of the episode")
    periods: Whole = Field(ge=1)
    factor: NonNegative


class Scenario(StrictModel):
    """Outages and surges by name."""

    name: Name = "none"
    description: str = ""
    outages: dict[Name, Outage] = Field(default_factory=dict)
    surges: dict[Name, Surge] = Field(default_factory=dict)

    def once(self) -> Iterator[tuple[str, float, float]]:
        """What happens at a set time: its key, when it begins and when it is over, on average, in periods."""
        for name, outage in self.outages.items():
            if outage.start is not None:
                start = outage.start.mean_value
                yield f"outages.{name}", start, start + outage.duration.mean_value + outage.ramp
        for name, surge in self.surges.items():
            yield f"surges.{name}", float(surge.start), float(surge.start + surge.periods)

    def __bool__(self) -> bool:
        return bool(self.outages or self.surges)


def laid_over(network: Network, scenario: Scenario) -> Network:
    """A network with what a scenario does to it.

    An outage becomes a cause of the resources that it hits. A supplier is hit through the resources that it alone uses;
    one without gets a resource of its own, which has no limit while it is up.

    Raises
    ------
    NetworkError
        With one line per problem: for what the network has not, with the nearest match; or for a part of a capacity
        that has no limit.

    Examples
    --------
    >>> from twin import library
    >>> outage = Outage(suppliers=[1], start=26, duration=8)
    >>> changed = laid_over(library.load("five_site_distribution"), Scenario(name="late", outages={"first": outage}))
    >>> changed.resources["line"].causes
    ('late.first.line',)
    """
    if not scenario:
        return network
    problems: list[str] = []
    resources, suppliers = dict(network.resources), dict(network.suppliers)
    causes, demands = dict(network.causes), dict(network.demands)
    for name, outage in scenario.outages.items():
        place, event = f"scenario.outages.{name}", f"{scenario.name}.{name}"
        hit = list(_chosen(outage.resources, list(resources), f"{place}.resources", "resource", problems))
        for supplier in _suppliers(network, outage.suppliers, f"{place}.suppliers", problems):
            own = _own_resources(network, supplier)
            if not own:
                own = [f"{event}.{supplier}"[:64]]
                resources[own[0]] = Resource()
                uses = suppliers[supplier].uses | {own[0]: 1.0}
                suppliers[supplier] = suppliers[supplier].model_copy(update={"uses": uses})
            hit += own
        for resource in dict.fromkeys(hit):
            entry = resources[resource]
            if entry.capacity is None and (outage.share or outage.ramp):
                problems.append(
                    f"{place}: '{resource}' has no capacity, and a share of no limit is no limit (allowed: share 0 and "
                    "ramp 0, or a capacity in the network)"
                )
            cause = (event if outage.together else f"{event}.{resource}")[:64]
            causes[cause] = outage.cause
            resources[resource] = entry.model_copy(update={"causes": (*entry.causes, cause)})
    for name, surge in scenario.surges.items():
        shock = Shock(start=surge.start, periods=surge.periods, factor=surge.factor)
        for stream in _chosen(surge.demands, list(demands), f"scenario.surges.{name}.demands", "demand", problems):
            demands[stream] = demands[stream].model_copy(update={"shocks": (*demands[stream].shocks, shock)})
    if problems:
        listed = "\n".join(f"  - {line}" for line in problems)
        raise NetworkError(f"the scenario '{scenario.name}' does not fit the network '{network.name}':\n{listed}")
    changed: dict[str, Any] = {"resources": resources, "suppliers": suppliers, "causes": causes, "demands": demands}
    changed["known_values"] = ()  # they are those of the network without the scenario
    # Read again, so that all that is checked of a network is checked of this one.
    return Network.parse(
        network.model_copy(update=changed).to_dict(), where=f"'{network.name}' with the scenario '{scenario.name}'"
    )


def _chosen(
    named: str | Sequence[str], known: Sequence[str], place: str, kind: str, problems: list[str]
) -> Iterator[str]:
    for name in known if named == "all" else named:
        if name in known:
            yield name
        else:
            listed = ", ".join(known[:12]) or f"the network has no {kind}"
            problems.append(f"{place}: no {kind} '{name}' (allowed: {listed}){did_you_mean(name, known)}")
    if named == "all" and not known:
        problems.append(f"{place}: the network has no {kind}")


def _suppliers(network: Network, named: str | Iterable[str | int], place: str, problems: list[str]) -> Iterator[str]:
    known = list(network.suppliers)
    if named == "all":
        yield from known
        return
    for name in named:
        if not isinstance(name, int):
            yield from _chosen([name], known, place, "supplier", problems)
        elif 1 <= name <= len(known):
            yield _by_flow(network)[name - 1]
        else:
            problems.append(f"{place}: no supplier {name} (allowed: names, or 1 to {len(known)}, 1 being the largest)")


def _by_flow(network: Network) -> list[str]:
    """Suppliers by the units that are usually bought from them, most first."""
    from twin.compile import compile_network

    compiled = compile_network(network)
    bought = dict.fromkeys(network.suppliers, 0.0)
    for (origin, _), flow in zip(compiled.arc_ends, compiled.arc_flow, strict=True):
        if origin in bought:
            bought[origin] += float(flow)
    return sorted(bought, key=lambda name: -bought[name])


def _own_resources(network: Network, supplier: str) -> list[str]:
    """Resources that all that a supplier ships uses, and nobody else."""
    arcs: list[ArcTerms] = [mode for lane in network.lanes for mode in lane.modes.values()]
    arcs += network.recipes.values()
    used = Counter(name for entry in network.suppliers.values() for name in entry.uses)
    used.update(name for arc in arcs for name in arc.uses)
    return [name for name in network.suppliers[supplier].uses if used[name] == 1]
