"""What a simulation of a liner network needs besides the network: what time costs, how cargo is booked, what fails."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from twin.demand import Name
from twin.disruptions import Availability, Cause
from twin.errors import NetworkError, did_you_mean
from twin.liner.network import LinerNetwork
from twin.liner.sailing import passages
from twin.liner.schedule import WEEK
from twin.schema import NonNegative, StrictModel, Whole

__all__ = ["RoutingTerms", "check_terms", "most_moves"]


class RoutingTerms(StrictModel):
    """What a liner network file does not say: time, bookings, and what fails. Money in its currency."""

    value_of_time: NonNegative = Field(
        default=0.0, description="money per FFE that is booked and not delivered, per day: lateness"
    )
    storage_cost: NonNegative = Field(default=0.0, description="money per FFE at a call, per day")
    transshipment_days: Whole = Field(default=1, ge=1, description="from one call of a port to another")
    air_cost_per_ffe: NonNegative | None = Field(default=None, description="money; nothing goes by air when absent")
    air_days: Whole = Field(default=2, ge=1)
    booking: Literal["weekly", "daily"] = Field(
        default="weekly", description="a week's cargo on one day, the eve of a departure, or a seventh every day"
    )
    weekly_demand_cv: NonNegative = Field(
        default=0.0, description="standard deviation of a week's demand over its mean; daily bookings only"
    )
    moves_per_day: dict[Name, NonNegative] = Field(
        default_factory=dict, description="port -> most moves a day; a seventh of its moves_per_week when absent"
    )
    ports: dict[Name, Availability] = Field(
        default_factory=dict, description="port -> what leaves it a share of its moves"
    )
    canals: dict[Name, Availability] = Field(
        default_factory=dict, description="passage -> when it is closed; it is open or closed, so that no share is left"
    )
    causes: dict[Name, Cause] = Field(default_factory=dict, description="what hits several ports or passages at once")
    depends: dict[Name, tuple[Name, ...]] = Field(default_factory=dict, description="port or passage -> its causes")


def check_terms(liner: LinerNetwork, terms: RoutingTerms) -> None:
    """See that terms fit a network.

    Raises
    ------
    NetworkError
        For an unknown port, passage or cause, a share of moves without limit, or noise in bookings of one day a week.
    """
    ports, canals = list(liner.ports), list(passages(liner))
    for key, named, known in (
        ("moves_per_day", terms.moves_per_day, ports),
        ("ports", terms.ports, ports),
        ("canals", terms.canals, canals),
        ("depends", terms.depends, [*ports, *canals]),
    ):
        for name in named:
            if name not in known:
                kind = {"canals": "passage", "depends": "port or passage"}.get(key, "port")
                listed = ", ".join(known[:40]) or "none: its distances name no passages"
                raise NetworkError(
                    f"{key}.{name}: {liner.name} has no such {kind} (allowed: {listed}){did_you_mean(name, known)}"
                )
    for port, causes in terms.depends.items():
        for cause in causes:
            if cause not in terms.causes:
                listed = ", ".join(terms.causes) or "none is defined"
                raise NetworkError(f"depends.{port}: no cause '{cause}' (allowed: {listed})")
    if terms.weekly_demand_cv > 0.0 and terms.booking != "daily":
        raise NetworkError("weekly_demand_cv: bookings of one day a week do not vary (allowed: with booking: daily)")
    shares = [(f"canals.{name}", entry) for name, entry in terms.canals.items()]
    hit = {cause: name for name, causes in terms.depends.items() if name in canals for cause in causes}
    shares += [(f"causes.{cause}", terms.causes[cause].availability) for cause in hit]
    for place, entry in shares:
        for key, value in (("share_when_down", entry.share_when_down), ("ramp", entry.ramp)):
            if value > 0:
                raise NetworkError(f"{place}.{key}: a passage is open or closed, received {value:g} (allowed: 0)")
    for name, entry in terms.ports.items():
        for key, value in (("share_when_down", entry.share_when_down), ("ramp", entry.ramp)):
            if value > 0 and most_moves(liner, terms, name) is None:
                raise NetworkError(
                    f"ports.{name}.{key}: nothing limits its moves, so that no share of them can be left "
                    "(allowed: 0, or give moves_per_day)"
                )


def most_moves(liner: LinerNetwork, terms: RoutingTerms, port: str) -> float | None:
    """Moves that a port can make a day; None without limit."""
    weekly = liner.ports[port].moves_per_week
    return terms.moves_per_day.get(port, None if weekly is None else weekly / WEEK)
