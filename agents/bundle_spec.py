"""What an exported policy sees and what its actions mean: fields, arcs, the scale of actions, the order sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import OrderRules
from envs.actions import NOTCHES, Codec, OrderSequence, codec_from_spec
from envs.features import Field, fields_from_spec
from twin.errors import BundleError

__all__ = ["Spec"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Spec:
    """What a policy sees and what its actions mean.

    Attributes
    ----------
    fields
        Of the observation, in order.
    arc_names, arc_units
        One per arc.
    rules
        Which orders can be placed on each arc.
    order_max
        (A,) units per period that are worth ordering at most, infinite where there is no limit.
    codec, sequence
        From actions to levels or quantities, and from levels to orders.
    period_unit, currency
        Of the network.
    """

    fields: tuple[Field, ...]
    arc_names: tuple[str, ...]
    arc_units: tuple[str, ...]
    rules: OrderRules
    order_max: FloatArray
    codec: Codec
    sequence: OrderSequence
    period_unit: str
    currency: str

    @property
    def kind(self) -> str:
        """What a decoded action is."""
        return "level" if self.codec.up_to else "quantity"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for spec.json."""
        codec = self.codec.to_spec()
        keys, rules = ("low", "center", "high"), self.rules
        arcs = [
            {
                "name": name,
                "unit": unit,
                **{key: codec[key][a] for key in keys},
                "integer": bool(rules.integer[a]),
                "minimum_order": float(rules.minimum[a]),
                "lot_size": float(rules.lot[a]),
                "maximum_order": _or_none(rules.maximum[a]),
                "order_max": _or_none(self.order_max[a]),
            }
            for a, (name, unit) in enumerate(zip(self.arc_names, self.arc_units, strict=True))
        ]
        return {
            "observation": [asdict(field) for field in self.fields],
            "action": {"mode": codec["mode"], "kind": self.kind, "meaning": self.meaning, "arcs": arcs},
            "sequence": self.sequence.to_spec(),
            "period_unit": self.period_unit,
            "currency": self.currency,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """From :meth:`to_dict`'s data; BundleError where it contradicts itself."""
        try:
            arcs = data["action"]["arcs"]
            codec = codec_from_spec(
                {"mode": data["action"]["mode"], **{key: [a[key] for a in arcs] for key in ("center", "low", "high")}}
            )
            spec = cls(
                fields_from_spec(data["observation"]),
                tuple(str(arc["name"]) for arc in arcs),
                tuple(str(arc["unit"]) for arc in arcs),
                OrderRules(
                    np.array([arc["integer"] for arc in arcs], dtype=np.bool_),
                    np.array([arc["minimum_order"] for arc in arcs], dtype=np.float64),
                    np.array([arc["lot_size"] for arc in arcs], dtype=np.float64),
                    _limits(arc["maximum_order"] for arc in arcs),
                ),
                _limits(arc["order_max"] for arc in arcs),
                codec,
                OrderSequence.from_spec(data["sequence"]),
                str(data["period_unit"]),
                str(data["currency"]),
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
        codec = self.codec
        if codec.mode == "echelon":
            raise BundleError(
                "no export for the action mode 'echelon': its orders follow from the demand expected in coming periods "
                "and the periods left, which a bundle does not read; train with action_mode base_stock to export"
            )
        bounds = np.stack([codec.low, codec.center, codec.high])
        if not np.isfinite(bounds).all() or (np.diff(bounds, axis=0) < 0.0).any() or not (self.order_max >= 0.0).all():
            raise BundleError("spec.json has an arc whose low, center and high (or order_max) are not in order")
        if not _can_be_ordered(self.rules):
            raise BundleError("spec.json has an arc whose minimum_order, lot_size and maximum_order allow no order")
        sources = [i for pairs in self.sequence.inputs for i, _ in pairs]
        if (
            ordered != list(range(codec.arcs))
            or len(self.sequence.inputs) != codec.arcs
            or len(self.sequence.limits) != codec.arcs
            or any(not 0 <= i < self.sequence.stocks for i in (*sources, *self.sequence.destinations))
        ):
            raise BundleError("spec.json has an order sequence that does not cover its arcs")
        if codec.up_to:
            self.position_columns()

    def position_columns(self) -> NDArray[np.int64]:
        """Where the observation holds each arc's inventory position, shape (A,)."""
        place = {field.name: k for k, field in enumerate(self.fields)}
        for arc in self.arc_names:
            if f"position[{arc}]" not in place:
                raise BundleError(f"spec.json has levels to order up to, but no field 'position[{arc}]' to count from")
        return np.array([place[f"position[{arc}]"] for arc in self.arc_names], dtype=np.int64)

    def decode(self, action: NDArray[Any], position: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Targets and orders, both (A, B) in units, of actions (B, ...) at positions (A, B)."""
        targets = self.codec.targets(action)
        if not self.codec.up_to:
            return targets, np.maximum(targets, 0.0)  # limits come later, as a check that says what it cut
        columns = [self.sequence.orders_up_to(t, p) for t, p in zip(targets.T, position.T, strict=True)]
        return targets, np.stack(columns, axis=1)

    @property
    def meaning(self) -> str:
        """What the action says, in one sentence."""
        if self.codec.mode == "discrete":
            return f"One notch from 0 to {NOTCHES - 1} sets every arc's level between its low and high; order up to it."
        scale = "per arc, -1 stands for low, 0 for center and 1 for high"
        if self.codec.up_to:
            return f"A level to order up to, {scale}; the order is what the inventory position lacks."
        return f"A quantity to order, {scale}."


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
