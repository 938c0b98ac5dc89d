"""What the user writes: a liner shipping network as a YAML file, checked before anything runs.

A network names ports, vessel classes, weekly services and demands, and the distances between ports. Cargo is counted in
FFE (forty-foot equivalent units), distances in nautical miles, speeds in knots, bunker in tonnes, money in
``currency``. A service leaves each of its calls once a week. It may call a port twice (a butterfly), so a place in the
network is a call of a service, never a port of a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from twin.demand import Name
from twin.liner.checks import structural_problems
from twin.network_file import NetworkFile, invalid
from twin.schema import NonNegative, Positive, StrictModel, Whole, explain

__all__ = ["Cargo", "Distance", "LinerNetwork", "Port", "PublishedValue", "Service", "VesselClass"]


class Port(StrictModel):
    """A port: where it is, what it charges, what it can handle."""

    name: str = ""
    country: str = ""
    position: tuple[float, float] | None = Field(default=None, description="longitude, latitude")
    draft_m: Positive | None = Field(default=None, description="deepest vessel that may call, metres")
    handling_cost: NonNegative = Field(default=0.0, description="money per FFE loaded, and per FFE discharged")
    transshipment_cost: NonNegative = Field(default=0.0, description="money per FFE moved from vessel to vessel")
    call_cost: NonNegative = Field(default=0.0, description="money per call")
    call_cost_per_ffe: NonNegative = Field(default=0.0, description="money per call and FFE of the vessel's capacity")
    moves_per_week: NonNegative | None = Field(
        default=None,
        description="most moves a week (loading 1, discharging 1, transshipment 2); 0 closes it, no limit when absent",
    )

    @field_validator("position")
    @classmethod
    def _on_earth(cls, position: tuple[float, float] | None) -> tuple[float, float] | None:
        if position is not None and not (abs(position[0]) <= 180.0 and abs(position[1]) <= 90.0):
            raise ValueError("longitude must lie between -180 and 180 degrees, latitude between -90 and 90")
        return position


class VesselClass(StrictModel):
    """Vessels of one kind."""

    capacity_ffe: Positive
    charter_per_day: NonNegative = Field(description="money per vessel and day")
    min_speed_knots: Positive
    max_speed_knots: Positive
    design_speed_knots: Positive
    bunker_t_per_day: NonNegative = Field(description="tonnes per day at sea at design speed")
    idle_bunker_t_per_day: NonNegative = Field(default=0.0, description="tonnes per day in port")
    draft_m: Positive | None = None
    canal_fees: dict[Literal["suez", "panama"], NonNegative] = Field(
        default_factory=dict, description="canal -> money per passage; a canal that is not named is closed to the class"
    )
    vessels: Whole | None = Field(default=None, ge=0, description="how many there are, for the reader")


class Service(StrictModel):
    """A closed round of calls, sailed so that a vessel leaves each of them every week."""

    vessel_class: Name = Field(alias="class")
    vessels: Whole = Field(ge=1, description="chartered for it")
    speed_knots: Positive
    calls: tuple[Name, ...] = Field(min_length=2, description="ports in order; after the last comes the first")


class Cargo(StrictModel):
    """A demand: cargo from one port to another, the same every week."""

    origin: Name = Field(alias="from")
    destination: Name = Field(alias="to")
    ffe_per_week: NonNegative
    revenue_per_ffe: NonNegative = Field(description="money per FFE delivered")
    max_transit_days: Positive | None = Field(
        default=None, description="promised; a soft limit, because hard ones leave the published networks empty"
    )


class Distance(StrictModel):
    """One way between two ports, good in both directions; several rows for a pair are alternatives."""

    one: Name = Field(alias="from")
    other: Name = Field(alias="to")
    nm: Positive
    through: tuple[Name, ...] = Field(default=(), description="canals and straits on the way")
    draft_m: Positive | None = Field(default=None, description="deepest vessel that may take it, metres")


class PublishedValue(StrictModel):
    """A value of this network that somebody else has computed or published; money a week."""

    name: Literal["weekly_objective", "weekly_fixed_cost"]
    value: float
    source: str


class LinerNetwork(NetworkFile):
    """A whole liner network.

    Build one with :meth:`load` (a YAML or JSON file), :meth:`parse` (a mapping) or the constructor.
    """

    currency: str = "USD"
    bunker_price_per_t: NonNegative = Field(default=600.0, description="money per tonne")
    rejection_penalty_per_ffe: NonNegative = Field(
        default=1000.0, description="goodwill lost with cargo that is not carried, besides its revenue"
    )
    port_days_per_call: NonNegative = Field(default=1.0, description="days that a vessel stays at a call")
    ports: dict[Name, Port] = Field(min_length=2)
    vessel_classes: dict[Name, VesselClass] = Field(min_length=1)
    services: dict[Name, Service] = Field(min_length=1)
    demands: tuple[Cargo, ...] = Field(min_length=1)
    distances: tuple[Distance, ...] = ()
    known_values: tuple[PublishedValue, ...] = ()

    # -- in and out ---------------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, where: str = "liner network") -> LinerNetwork:
        try:
            network = cls.model_validate(data)
        except ValidationError as error:
            problems = explain(error)
        else:
            problems = structural_problems(network)
            if not problems:
                return network
        raise invalid(where, "liner network", problems)

    # -- views --------------------------------------------------------------------------------------------------------

    @cached_property
    def ways(self) -> dict[frozenset[str], tuple[Distance, ...]]:
        """The rows of ``distances`` by their pair of ports, shortest first."""
        found: dict[frozenset[str], list[Distance]] = {}
        for row in self.distances:
            found.setdefault(frozenset((row.one, row.other)), []).append(row)
        return {pair: tuple(sorted(rows, key=lambda row: row.nm)) for pair, rows in found.items()}

    def known_value(self, name: str) -> PublishedValue | None:
        """The published value called ``name`` (for example ``weekly_objective``), or None."""
        return next((entry for entry in self.known_values if entry.name == name), None)
