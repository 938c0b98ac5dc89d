"""What happens to a liner network, as data: ports that work in part or not at all, closed canals, dearer fuel.

A scenario says nothing of one network: ports are named by code, or by their place when all are sorted by what they
handle, the busiest being 1. Its events become causes of the twin (:mod:`twin.disruptions`), so that how long they last
is drawn and seen by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from twin.demand import Name
from twin.disruptions import Availability, Cause, Window
from twin.distributions import Distribution
from twin.errors import NetworkError, did_you_mean
from twin.files import read_mapping
from twin.liner.network import LinerNetwork
from twin.liner.sailing import passages
from twin.liner.terms import RoutingTerms
from twin.schema import Flag, Positive, Share, StrictModel, Whole, explain

__all__ = ["Event", "Scenario", "applied", "scenario", "scenario_names"]

_SHIPPED = Path(__file__).parent / "library" / "scenarios"


class Event(StrictModel):
    """Ports or canals that work in part or not at all: once in an episode, or again and again."""

    ports: Literal["all"] | tuple[Name | Whole, ...] = Field(
        default=(), description="codes, or places by what they handle, 1 being the busiest; or all"
    )
    canals: Literal["all"] | tuple[Name, ...] = ()
    share: float = Field(default=0.0, strict=True, ge=0.0, lt=1.0, description="of a port's moves that is left")
    start: Distribution | None = Field(default=None, description="day of the episode, for what happens once")
    failure: Share = Field(default=0.0, description="probability a day, for what happens again and again")
    duration: Distribution = Field(description="days")
    ramp: Whole = Field(default=0, ge=0, description="days from the end to all of a port's moves")
    together: Flag = Field(default=False, description="whether all of them are hit at once")

    @model_validator(mode="after")
    def _happens(self) -> Event:
        if (self.start is None) == (self.failure == 0.0):
            raise ValueError("has a start or a failure above 0 (allowed: either)")
        if not self.ports and not self.canals:
            raise ValueError("hits neither ports nor canals")
        return self

    def availability(self, *, canal: bool = False, severity: float | None = None) -> Availability:
        """As the twin has it; ``severity`` in place of the share of moves that is left."""
        share = 0.0 if canal else self.share if severity is None else severity
        timing: dict[str, Any] = {"failure": self.failure, "duration": self.duration}
        if self.start is not None:
            timing = {"windows": (Window(start=self.start, duration=self.duration),)}
        return Availability(share_when_down=share, ramp=0 if canal else self.ramp, **timing)


class Scenario(StrictModel):
    """Events, and what fuel costs."""

    name: Name
    description: str = ""
    fuel: Positive = Field(default=1.0, description="bunker price over the network's own")
    events: tuple[Event, ...] = ()


def scenario_names() -> list[str]:
    """Names of all scenarios that ship, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def scenario(given: str | Path | Scenario) -> Scenario:
    """A scenario from what a user may give: itself, the name of one that ships, or a YAML or JSON file.

    Raises
    ------
    NetworkError
        When it is none of them, or not a valid one.
    """
    if isinstance(given, Scenario):
        return given
    names, path = scenario_names(), Path(given)
    if str(given) in names:
        path = _SHIPPED / f"{given}.yaml"
    elif path.suffix not in {".yaml", ".yml", ".json"} and not path.is_file():
        raise NetworkError(f"no scenario '{given}' (those that ship: {', '.join(names)}){did_you_mean(given, names)}")
    try:
        return Scenario.model_validate(read_mapping(path))
    except ValidationError as error:
        listed = "\n".join(f"  - {line}" for line in explain(error))
        raise NetworkError(f"{path} holds no scenario:\n{listed}") from None


def applied(
    liner: LinerNetwork,
    terms: RoutingTerms,
    events: Scenario,
    busiest: Sequence[str],
    *,
    severity: float | None = None,
) -> tuple[LinerNetwork, RoutingTerms]:
    """A network and its terms with what a scenario does to them.

    Parameters
    ----------
    liner, terms
        As they are without.
    events
        The scenario.
    busiest
        Codes of the ports that an event may name by their place, the busiest first.
    severity
        Share of moves that is left, in place of what the events say.

    Raises
    ------
    NetworkError
        For a port or canal that the network has not, or where nothing of the scenario happens.
    """
    causes: dict[str, Cause] = dict(terms.causes)
    happens = False
    depends: dict[str, list[str]] = {name: list(by) for name, by in terms.depends.items()}
    for number, event in enumerate(events.events, start=1):
        place = f"scenario '{events.name}', events[{number - 1}]"
        for kind, names in (("port", _ports(event, busiest, liner, place)), ("canal", _canals(event, liner, place))):
            for name in names:
                happens = True
                cause = f"event{number}.{kind}" if event.together else f"event{number}.{name}"[:64]
                law = event.availability(canal=kind == "canal", severity=severity)
                causes[cause] = Cause(availability=law)
                depends.setdefault(name, []).append(cause)
    if events.events and not happens and events.fuel == 1.0:
        raise NetworkError(f"scenario '{events.name}': nothing of it happens on {liner.name}, whose ways pass no canal")
    hit: Mapping[str, tuple[str, ...]] = {name: tuple(by) for name, by in depends.items()}
    dearer = liner.model_copy(update={"bunker_price_per_t": liner.bunker_price_per_t * events.fuel})
    return dearer, terms.model_copy(update={"causes": causes, "depends": hit})


def _ports(event: Event, busiest: Sequence[str], liner: LinerNetwork, place: str) -> list[str]:
    if event.ports == "all":
        return list(busiest)
    found = []
    for port in event.ports:
        if isinstance(port, int):
            if not 1 <= port <= len(busiest):
                raise NetworkError(f"{place}.ports: no port {port} (allowed: 1 to {len(busiest)}, the busiest being 1)")
            found.append(busiest[port - 1])
        elif port in liner.ports:
            found.append(port)
        else:
            raise NetworkError(f"{place}.ports: no port '{port}'{did_you_mean(port, liner.ports)}")
    return found


def _canals(event: Event, liner: LinerNetwork, place: str) -> list[str]:
    known = list(passages(liner))
    if event.canals == "all":
        return known
    for name in event.canals:
        if name not in known:
            raise NetworkError(f"{place}.canals: {liner.name} has no passage '{name}' (allowed: {', '.join(known)})")
    return list(event.canals)
