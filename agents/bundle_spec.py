"""What an exported policy sees and what its actions mean: fields, arcs, the scale of actions, the order sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import OrderRules
from envs.actions import NOTCHES, Codec, OrderSequence, codec_from_spec
from envs.features import Field, spec_hash
from twin.errors import BundleError

if TYPE_CHECKING:
    from envs.routing import RoutingTask

__all__ = ["COMPUTED", "MODES", "SCALED", "Spec"]

FloatArray = NDArray[np.float64]

#: Action modes that are a scale per arc and an order sequence: nothing else is needed to decode them.
SCALED = ("base_stock", "quantity", "discrete")
#: All action modes; the others are decoded on the network itself (:mod:`agents.bundle_decoders`), those of routing in
#: the routing problem (:mod:`agents.bundle_routing`).
MODES = (*SCALED, "echelon", "mix", "moves", "orders", "prices", "assumptions", "departures", "itinerary")
#: Group of the fields that a bundle computes itself, from what was seen before.
COMPUTED = "outlook["

_RISKS = ("low", "high")


@dataclass(frozen=True)
class Spec:
    """What a policy sees and what its actions mean.

    Attributes
    ----------
    fields
        Of the observation, in order.
    ages
        Per field, seconds that its value may be old; None where the guard file says nothing.
    arc_names, arc_units
        One per arc.
    rules
        Which orders can be placed on each arc.
    order_max
        (A,) units per period that are worth ordering at most, infinite where there is no limit.
    risks
        Per arc, ``low`` or ``high``: a high one is never ordered without a person.
    mode
        Action mode.
    codec
        From actions to levels or quantities; None where the network itself is needed for that.
    switching
        What decodes corrections of a rule and moves, as plain data; None where no supplier is switched.
    routing
        The routing problem as plain data (:meth:`envs.routing.RoutingTask.to_dict`); None where nothing is routed.
    relations
        Suppliers that a policy decides moves on; empty where it decides orders alone.
    moves
        Codes of moves, in order; empty without relations.
    sequence
        From levels to orders.
    period_unit, period_days
        What a period is, and its length.
    currency
        Of the network.
    horizon, finite
        Periods of an episode, and whether the problem ends with it.
    """

    fields: tuple[Field, ...]
    ages: tuple[float | None, ...]
    arc_names: tuple[str, ...]
    arc_units: tuple[str, ...]
    rules: OrderRules
    order_max: FloatArray
    risks: tuple[str, ...]
    mode: str
    codec: Codec | None
    switching: Mapping[str, Any] | None
    routing: Mapping[str, Any] | None
    relations: tuple[str, ...]
    moves: tuple[str, ...]
    sequence: OrderSequence
    period_unit: str
    period_days: float
    currency: str
    horizon: int
    finite: bool

    @property
    def arcs(self) -> int:
        """Number of arcs A."""
        return len(self.arc_names)

    @property
    def kind(self) -> str:
        """What a decoded action is: a ``level`` to order up to, a ``quantity``, or an ``order`` of a rule."""
        if self.codec is None:
            return "order"
        return "level" if self.codec.up_to else "quantity" if self.mode in SCALED else "safety amount"

    @cached_property
    def routing_task(self) -> RoutingTask:
        """The routing problem; BundleError where there is none, or it cannot be made."""
        from agents.bundle_routing import task_of

        if self.routing is None:
            raise BundleError("spec.json describes no routing problem")
        return task_of(self.routing)

    @property
    def hash(self) -> str:
        """SHA-256 of the ordered fields."""
        return spec_hash(self.fields)

    @property
    def required(self) -> tuple[Field, ...]:
        """The fields that a state must hold; the others are computed."""
        return tuple(field for field in self.fields if not field.name.startswith(COMPUTED))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for spec.json."""
        rules = self.rules
        scale = {} if self.codec is None else {key: getattr(self.codec, key).tolist() for key in _SCALE}
        arcs = [
            {
                "name": name,
                "unit": unit,
                **{key: values[a] for key, values in scale.items()},
                "integer": bool(rules.integer[a]),
                "minimum_order": float(rules.minimum[a]),
                "lot_size": float(rules.lot[a]),
                "maximum_order": _or_none(rules.maximum[a]),
                "order_max": _or_none(self.order_max[a]),
            }
            for a, (name, unit) in enumerate(zip(self.arc_names, self.arc_units, strict=True))
        ]
        return {
            "observation": [self._observed(*pair) for pair in zip(self.fields, self.ages, strict=True)],
            "actions": [*map(self._ordered, range(self.arcs)), *map(self._moved, self.relations)],
            "action": {"mode": self.mode, "kind": self.kind, "meaning": self.meaning, "arcs": arcs},
            "switching": None if self.switching is None else dict(self.switching),
            **({} if self.routing is None else {"routing": dict(self.routing)}),
            "moves": list(self.moves),
            "sequence": self.sequence.to_spec(),
            "period": {"unit": self.period_unit, "days": self.period_days},
            "currency": self.currency,
            "horizon": {"periods": self.horizon, "finite": self.finite},
        }

    def _observed(self, field: Field, age: float | None) -> dict[str, Any]:
        # A JSON pointer (RFC 6901) into the state that is sent.
        path = field.name.replace("~", "~0").replace("/", "~1")
        required = not field.name.startswith(COMPUTED)
        return {
            **asdict(field),
            "path": f"/observation/{path}",
            "dtype": "float32",
            "shape": [],
            "maximum_age_seconds": age,
            "required": required,
        }

    def _ordered(self, a: int) -> dict[str, Any]:
        high = min(float(self.rules.maximum[a]), float(self.order_max[a]))
        head = {"name": self.arc_names[a], "kind": "order", "unit": self.arc_units[a], "low": 0.0}
        return {**head, "high": _or_none(high), "step": float(self.rules.lot[a]), "risk": self.risks[a]}

    def _moved(self, relation: str) -> dict[str, Any]:
        # A contract binds for longer than an order does.
        head = {"name": relation, "kind": "move", "unit": "1", "low": 0.0, "high": len(self.moves) - 1.0}
        return {**head, "step": 1.0, "risk": "high", "choices": list(self.moves)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """From :meth:`to_dict`'s data; BundleError where it contradicts itself."""
        try:
            arcs, mode, fields = data["action"]["arcs"], str(data["action"]["mode"]), data["observation"]
            codec = None
            if mode in (*SCALED, "echelon"):
                codec = codec_from_spec({"mode": mode, **{key: [a[key] for a in arcs] for key in _SCALE}})
            actions = data["actions"]
            spec = cls(
                tuple(Field(**{key: entry[key] for key in Field.__dataclass_fields__}) for entry in fields),
                tuple(entry["maximum_age_seconds"] for entry in fields),
                tuple(str(arc["name"]) for arc in arcs),
                tuple(str(arc["unit"]) for arc in arcs),
                OrderRules(
                    np.array([arc["integer"] for arc in arcs], dtype=np.bool_),
                    np.array([arc["minimum_order"] for arc in arcs], dtype=np.float64),
                    np.array([arc["lot_size"] for arc in arcs], dtype=np.float64),
                    _limits(arc["maximum_order"] for arc in arcs),
                ),
                _limits(arc["order_max"] for arc in arcs),
                tuple(str(entry["risk"]) for entry in actions if entry["kind"] == "order"),
                mode,
                codec,
                data["switching"],
                data.get("routing"),
                tuple(str(entry["name"]) for entry in actions if entry["kind"] == "move"),
                tuple(str(name) for name in data["moves"]),
                OrderSequence.from_spec(data["sequence"]),
                str(data["period"]["unit"]),
                float(data["period"]["days"]),
                str(data["currency"]),
                int(data["horizon"]["periods"]),
                bool(data["horizon"]["finite"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"spec.json is incomplete: {type(error).__name__} {error}") from None
        spec.check()
        if spec.to_dict() != data:
            raise BundleError("spec.json says something that it cannot mean; export the policy again")
        return spec

    def check(self) -> None:
        """Raise BundleError where names repeat, bounds are crossed, or the order sequence leaves the arcs."""
        names = [field.name for field in self.fields]
        ordered = sorted(a for group in self.sequence.groups for a in group)
        if len(set(names)) != len(names) or len(set(self.arc_names)) != len(self.arc_names) or not names:
            raise BundleError("spec.json gives two fields or two arcs the same name, or no field at all")
        if not all(-np.inf < field.low <= field.high < np.inf for field in self.fields):
            raise BundleError("spec.json has an observation field whose bounds are crossed or not finite")
        if self.mode not in MODES:
            raise BundleError(f"spec.json has no action mode '{self.mode}' (allowed: {', '.join(MODES)})")
        if len(self.risks) != self.arcs or any(risk not in _RISKS for risk in self.risks):
            raise BundleError(f"spec.json must give each arc a risk (allowed: {', '.join(_RISKS)})")
        codec = self.codec
        bounds = np.zeros((3, self.arcs)) if codec is None else np.stack([codec.low, codec.center, codec.high])
        if not np.isfinite(bounds).all() or (np.diff(bounds, axis=0) < 0.0).any() or not (self.order_max >= 0.0).all():
            raise BundleError("spec.json has an arc whose low, center and high (or order_max) are not in order")
        if not _can_be_ordered(self.rules):
            raise BundleError("spec.json has an arc whose minimum_order, lot_size and maximum_order allow no order")
        sources = [i for pairs in self.sequence.inputs for i, _ in pairs]
        if (
            ordered != list(range(self.arcs))
            or len(self.sequence.inputs) != self.arcs
            or len(self.sequence.limits) != self.arcs
            or any(not 0 <= i < self.sequence.stocks for i in (*sources, *self.sequence.destinations))
        ):
            raise BundleError("spec.json has an order sequence that does not cover its arcs")
        if codec is not None and codec.up_to:
            self.position_columns()

    def position_columns(self) -> NDArray[np.int64]:
        """Where the observation holds each arc's inventory position, shape (A,)."""
        place = {field.name: k for k, field in enumerate(self.fields)}
        for arc in self.arc_names:
            if f"position[{arc}]" not in place:
                raise BundleError(f"spec.json has levels to order up to, but no field 'position[{arc}]' to count from")
        return np.array([place[f"position[{arc}]"] for arc in self.arc_names], dtype=np.int64)

    def decode(self, action: NDArray[Any], position: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Targets and orders, both (A, B) in units, of actions (B, ...) at positions (A, B); modes of ``SCALED``."""
        if self.codec is None or self.mode not in SCALED:
            raise BundleError(f"an action of the mode '{self.mode}' is decoded on the network")
        targets = self.codec.targets(action)
        if not self.codec.up_to:
            return targets, np.maximum(targets, 0.0)  # limits come later, as a check that says what it cut
        columns = [self.sequence.orders_up_to(t, p) for t, p in zip(targets.T, position.T, strict=True)]
        return targets, np.stack(columns, axis=1)

    @property
    def meaning(self) -> str:
        """What the action says, in one sentence."""
        if self.codec is None:
            return _MEANINGS[self.mode]
        if self.mode == "discrete":
            return f"One notch from 0 to {NOTCHES - 1} sets every arc's level between its low and high; order up to it."
        scale = "per arc, -1 stands for low, 0 for center and 1 for high"
        if self.codec.up_to:
            return f"A level to order up to, {scale}; the order is what the inventory position lacks."
        if self.mode == "echelon":
            return f"A safety amount on top of the demand that an order covers, {scale}."
        return f"A quantity to order, {scale}."


_SCALE = ("low", "center", "high")
_MEANINGS = {
    "mix": "Corrections of the rule: levels, shares of arcs, wishes for contracts, expediting (see switching).",
    "moves": "0: the moves of the rule; 1: none; else one move on one supplier; times a notch of the rule's levels.",
    "orders": "The units to order on every arc, then a move on every supplier where there are contracts.",
    "prices": "Surcharges on the moves of ports and on canals, an assumed recovery and a reserve of slots; every flow "
    "then takes the way that costs least.",
    "assumptions": "A surcharge on the moves of all ports, an assumed recovery and a reserve of slots; every flow then "
    "takes the way that costs least.",
    "departures": "What is assumed, and surcharges on the slots of the next departures; every flow then takes the way "
    "that costs least.",
    "itinerary": "For every flow to wait (0), or which of its ways it takes.",
}


def _or_none(limit: float) -> float | None:
    return float(limit) if np.isfinite(limit) else None


def _limits(entries: Iterable[float | None]) -> FloatArray:
    return np.array([np.inf if entry is None else entry for entry in entries], dtype=np.float64)


def _can_be_ordered(rules: OrderRules) -> bool:
    """True where minimum and maximum are whole lots in their order, and lots are whole units where the product is."""
    minimum, lot, maximum, size = rules.minimum, rules.lot, rules.maximum, np.where(rules.lot > 0.0, rules.lot, 1.0)
    if not (np.isfinite(minimum) & np.isfinite(lot) & (minimum >= 0.0) & (lot >= 0.0)).all():
        return False
    if (rules.integer & ((lot == 0.0) | (lot % 1.0 > 0.0))).any():
        return False
    # "not >=" rather than "<": a NaN must refuse too.
    if not (maximum >= np.maximum(minimum, lot) * (1.0 - 1e-9)).all():
        return False
    in_lots = [(lot == 0.0) | np.isinf(x) | (size * np.round(x / size) == x) for x in (minimum, maximum)]
    return bool(np.logical_and(*in_lots).all())
