"""What the simulation keeps of orders and shipments, and that as a section of a snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError

from twin.compile import CompiledNetwork
from twin.errors import StaleStateError, did_you_mean
from twin.schema import explain
from twin.state import TwinState

__all__ = ["NOTHING", "Arc", "Detail", "Line", "Order", "Shipment", "Stage", "Tracking", "arcs_of", "lay_out"]

Detail = Literal["period", "continuous"]
Stage = Literal["road", "gate", "queue", "berth", "inside"]

#: Units of one order, None where its order is not known (initial flows, states of another engine).
Line = tuple[NonNegativeInt | None, NonNegativeFloat]

#: Fewer units than these are rounding, and count as nothing.
NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Arc:
    """One arc of a network: where it lies, and of its topology what an order and a shipment need."""

    index: int
    name: str
    source: str
    site: str
    product: str
    makes: bool
    target: int
    inputs: list[tuple[int, float]]
    uses: list[tuple[int, float]]
    capacity: float
    backorders: bool
    waits: bool
    integer: bool
    crossing: bool
    fixed_lead: int
    life: int
    delay: int


def arcs_of(compiled: CompiledNetwork, top: Any) -> list[Arc]:
    """All arcs of a network, in order; ``top`` is its topology as lists."""
    points = compiled.network.stock_points()
    first_recipe = compiled.n_arcs - len(compiled.network.recipes)
    inputs = list(zip(top.in_stock, top.in_coefficient, strict=True))
    uses = list(zip(top.use_resource, top.use_coefficient, strict=True))
    return [
        Arc(
            index=a,
            name=name,
            source=compiled.arc_ends[a][0],
            site=compiled.arc_ends[a][1],
            product=points[top.arc_destination[a]][1],
            makes=a >= first_recipe,
            target=top.arc_destination[a],
            inputs=inputs[top.in_ptr[a] : top.in_ptr[a + 1]],
            uses=uses[top.use_ptr[a] : top.use_ptr[a + 1]],
            capacity=top.arc_capacity[a],
            backorders=top.arc_backorders[a],
            waits=top.arc_waits[a],
            integer=top.arc_integer[a],
            crossing=top.arc_crossing[a],
            fixed_lead=top.arc_fixed_lead[a],
            life=top.arc_life[a],
            delay=top.mail_ptr[a + 1] - top.mail_ptr[a],
        )
        for a, name in enumerate(compiled.arc_names)
    ]


@dataclass(slots=True)
class Order:
    """An order in the mail, from period ``placed`` to period ``due``; placed before period 0 are initial flows."""

    arc: int
    placed: int
    quantity: float
    due: int


@dataclass(slots=True, eq=False)
class Shipment:
    """Units under way on an arc, or production in progress. All times in periods.

    Attributes
    ----------
    sent
        Period in which it left; None where that is not known.
    arrival
        Time at which it reaches the gate of its destination, or its production is done.
    units
        That are there on receipt.
    lots
        (life on arrival, units) of what a transport of a perishable product carries; empty for others.
    lines
        Which orders these units are for.
    stage
        Where it is, since ``since``; ``inside``: unloaded, waits for the receive phase.
    ticket
        Orders shipments by when they began what they are doing.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    lane: str
    sent: NonNegativeInt | None
    arrival: NonNegativeFloat
    units: NonNegativeFloat
    lots: list[tuple[int, NonNegativeFloat]]
    lines: list[Line]
    stage: Stage = "road"
    since: NonNegativeFloat = 0.0
    ticket: Annotated[int, Field(exclude=True)] = 0

    @property
    def due(self) -> int:
        """The period whose receive phase it reaches if nothing holds it up at its destination."""
        return math.ceil(self.arrival)


@dataclass
class Tracking:
    """What a simulation knows beyond a :class:`twin.state.TwinState`: the section ``events`` of its snapshot.

    Attributes
    ----------
    shipments
        In the order in which they began what they are doing.
    owed
        Per lane the orders behind its backorders, oldest first.
    perished
        Units per stock point that perished at its gate or berths and are not charged yet.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    detail: Detail
    shipments: list[Shipment] = field(default_factory=list)
    owed: dict[str, list[Line]] = field(default_factory=dict)
    perished: dict[str, NonNegativeFloat] = field(default_factory=dict)

    @classmethod
    def of_state(cls, state: TwinState, arcs: list[Arc], receipt: int, detail: Detail) -> Tracking:
        """What a state alone says, of whatever order; slot 0 of its pipelines is received in period ``receipt``."""
        top = state.compiled.topology
        pipeline, carried = state.logical("pipeline")[:, 0].tolist(), state.logical("transit_layers")[:, 0].tolist()
        tracking = cls(detail)
        for arc in arcs:
            first, layers = int(top.pipe_ptr[arc.index]), int(top.transit_ptr[arc.index])
            for slot, units in enumerate(pipeline[first : int(top.pipe_ptr[arc.index + 1])]):
                if units > 0.0:
                    rows = carried[layers + slot * arc.life : layers + (slot + 1) * arc.life]
                    lots = [(life, amount) for life, amount in enumerate(rows, start=1) if amount > 0.0]
                    shipment = Shipment(arc.name, None, float(receipt + slot), units, lots, [(None, units)])
                    tracking.shipments.append(shipment)
            owed = float(state.arrays.backorders[arc.index, 0])
            if owed > 0.0:
                tracking.owed[arc.name] = [(None, owed)]
        return tracking

    def section(self) -> dict[str, Any]:
        """Plain data that :meth:`parse` reads back."""
        out: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return out

    @classmethod
    def parse(cls, section: Mapping[str, Any], state: TwinState) -> Tracking:
        """Read the section of a snapshot of this state.

        Raises
        ------
        StaleStateError
            When it is not such a section, or names what the network does not have.
        """
        try:
            tracking = _ADAPTER.validate_python(section)
        except ValidationError as error:
            raise StaleStateError("events: " + "; ".join(explain(error))) from None
        compiled = state.compiled
        _check_names("shipments", (shipment.lane for shipment in tracking.shipments), compiled.arc_names)
        _check_names("owed", tracking.owed, compiled.arc_names)
        perishable = tuple(compiled.stock_names[i] for i in np.flatnonzero(compiled.topology.stock_life))
        _check_names("perished", tracking.perished, perishable)
        return tracking


def lay_out(top: Any, moving: Iterable[tuple[int, Shipment]], receipt: int, state: TwinState) -> None:
    """Put shipments, each with the index of its arc, into the pipelines of a state of one replica with head 0.

    Slot 0 is received in period ``receipt``. What should have come before stands there too, with the life that is left;
    what comes later than the last slot stands in the last.
    """
    pipeline, carried = state.arrays.pipeline, state.arrays.transit_layers
    for a, shipment in moving:
        first, width = int(top.pipe_ptr[a]), int(top.arc_life[a])
        slots, late = int(top.pipe_ptr[a + 1]) - first, max(receipt - shipment.due, 0)
        slot = min(max(shipment.due - receipt, 0), slots - 1)
        pipeline[first + slot, 0] += shipment.units
        for life, units in shipment.lots:
            carried[int(top.transit_ptr[a]) + slot * width + max(life - late, 1) - 1, 0] += units


_ADAPTER = TypeAdapter(Tracking)


def _check_names(place: str, names: Iterable[str], allowed: tuple[str, ...]) -> None:
    for name in names:
        if name not in allowed:
            raise StaleStateError(f"events.{place}: unknown name '{name}'{did_you_mean(name, allowed)}")
