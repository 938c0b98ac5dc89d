"""The fields of a user's own tables: what each is called here, what it may hold, and whether it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FIRST_YEAR", "HISTORIES", "LAST_YEAR", "TABLES", "FieldSpec"]

#: Dates outside these years are slips of the pen.
FIRST_YEAR, LAST_YEAR = 1900, 2199

Kind = Literal["text", "name", "number", "positive", "longitude", "latitude", "flag", "moment", "node_kind"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field: its kind, whether a row needs it, and what its unit measures."""

    kind: Kind
    required: bool = False
    unit: Literal["weight", "currency", "time"] | None = None


_NAME = FieldSpec("name", required=True)
_REFERENCE = FieldSpec("text", required=True)
_TEXT = FieldSpec("text")
_NUMBER = FieldSpec("number")
_MONEY = FieldSpec("number", unit="currency")
_TIME = FieldSpec("number", unit="time")
_MOMENT = FieldSpec("moment", required=True)

#: Table -> field -> what it is. The order of the tables is the order in which they are read: later ones refer to
#: earlier ones.
TABLES: dict[str, dict[str, FieldSpec]] = {
    "nodes": {
        "name": _NAME,
        "kind": FieldSpec("node_kind"),
        "region": _TEXT,
        "longitude": FieldSpec("longitude"),
        "latitude": FieldSpec("latitude"),
    },
    "products": {
        "name": _NAME,
        "unit": _TEXT,
        "whole": FieldSpec("flag"),
        "weight": FieldSpec("positive", unit="weight"),
        "value": _MONEY,
        "price": _MONEY,
        "currency": _TEXT,
        "description": _TEXT,
    },
    "lanes": {
        "name": _NAME,
        "from": _REFERENCE,
        "to": _REFERENCE,
        "product": _REFERENCE,
        "mode": FieldSpec("name"),
        "lead_time": _TIME,
        "price": _MONEY,
        "freight_cost": _MONEY,
        "fixed_cost": _MONEY,
        "currency": _TEXT,
        "capacity": _NUMBER,
        "minimum_order": _NUMBER,
        "lot_size": FieldSpec("positive"),
    },
    "recipes": {
        "name": FieldSpec("name"),
        "site": _REFERENCE,
        "product": _REFERENCE,
        "input": _REFERENCE,
        "quantity": FieldSpec("positive", required=True),
        "lead_time": FieldSpec("number", required=True, unit="time"),
        "unit_cost": _MONEY,
        "currency": _TEXT,
    },
    "orders": {
        "id": _TEXT,
        "lane": _REFERENCE,
        "ordered_at": _MOMENT,
        "received_at": _MOMENT,
        "quantity": FieldSpec("positive"),
    },
    "demand": {
        "id": _TEXT,
        "date": _MOMENT,
        "site": _REFERENCE,
        "product": _REFERENCE,
        "quantity": FieldSpec("number", required=True),
    },
}

#: Tables of things that happened; a few bad rows spoil a measurement less than a bad row spoils the others.
HISTORIES = ("orders", "demand")
