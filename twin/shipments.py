"""Reading delivery records: the USAID SCMS delivery history, with its dirt, as typed lines and clean measurements.

The table has one row per order line of a health programme's shipments. A line can be good for one purpose and useless
for another (a truck line without a freight cost still has a lead time), so nothing is thrown away on reading except
rows that cannot be dated or counted. Each measurement states how many lines it used and, by reason, how many it
refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from twin.errors import DataError, did_you_mean
from twin.files import read_table_text

__all__ = [
    "Freight",
    "LeadTime",
    "Line",
    "Selection",
    "Shipments",
    "freight",
    "lead_times",
    "parse_date",
    "read_shipments",
]

#: Field of :class:`Line` -> column of the file.
COLUMNS = {
    "identifier": "ID",
    "order": "PO / SO #",
    "note": "ASN/DN #",
    "country": "Country",
    "fulfilment": "Fulfill Via",
    "mode": "Shipment Mode",
    "quoted": "PQ First Sent to Client Date",
    "ordered": "PO Sent to Vendor Date",
    "scheduled": "Scheduled Delivery Date",
    "delivered": "Delivered to Client Date",
    "product_group": "Product Group",
    "vendor": "Vendor",
    "item": "Item Description",
    "maker": "Manufacturing Site",
    "quantity": "Line Item Quantity",
    "value": "Line Item Value",
    "pack_price": "Pack Price",
    "weight": "Weight (Kilograms)",
    "freight": "Freight Cost (USD)",
}

#: What the file calls the two ways an order is filled.
FROM_STOCK, DIRECT = "From RDC", "Direct Drop"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})")
_NUMBER_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})")
_REFERENCE = re.compile(r"See .*\(ID#:\s*(\d+)\)")

#: Packs lighter or heavier than this (kg) are slips of the pen: a bottle of 30 tablets to a box of 12 bottles.
PLAUSIBLE_PACK_KG = (0.02, 2.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One order line: dates, units in packs, money in USD, weight in kg.

    A value that the file does not give is None, and ``absent`` says why (field name -> what stands there instead).
    ``weight_kg`` and ``freight_usd`` are those of the whole shipment when other lines name this one in
    ``shipment_identifier``.
    """

    identifier: str
    shipment_identifier: str
    order: str
    note: str
    country: str
    fulfilment: str
    mode: str | None
    quoted: date | None
    ordered: date | None
    scheduled: date
    delivered: date
    product_group: str
    vendor: str
    item: str
    maker: str
    quantity: float
    value_usd: float
    pack_price_usd: float
    weight_kg: float | None
    freight_usd: float | None
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def late_days(self) -> int:
        """Days after the scheduled delivery date (negative when early)."""
        return (self.delivered - self.scheduled).days


@dataclass(frozen=True, slots=True)
class Shipments:
    """The readable lines of a file, its checksum, and the rows that could not be read, by reason."""

    lines: tuple[Line, ...]
    sha256: str
    rows: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """How many lines a measurement used, and why it refused the others."""

    used: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LeadTime:
    """A measured time from order (or release) to delivery, in days."""

    days: float
    line: Line


@dataclass(frozen=True, slots=True)
class Freight:
    """One shipment's freight bill (USD), weight (kg) and packs; ``line`` is the one that carries the figures."""

    usd: float
    kg: float
    packs: float
    line: Line


def parse_date(text: str) -> date | None:
    """Read ``2-Jun-06`` or ``6/25/06`` (month first); None when the text is no date.

    Months are matched in English whatever the machine's locale, because the file is.
    """
    text = text.strip()
    if match := _NAMED_DATE.fullmatch(text):
        name = match[2].lower()
        day, month, year = int(match[1]), _MONTHS.index(name) + 1 if name in _MONTHS else 0, int(match[3])
    elif match := _NUMBER_DATE.fullmatch(text):
        month, day, year = int(match[1]), int(match[2]), int(match[3])
    else:
        return None
    try:
        return date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def read_shipments(path: str | Path) -> Shipments:
    """Read a delivery history.

    Parameters
    ----------
    path
        CSV in UTF-8, with or without a byte order mark, with any of the three line ends.

    Raises
    ------
    DataError
        When the file is missing, empty, not text, lacks a column, or has no usable row.
    """
    path = Path(path)
    text, raw = read_table_text(path)
    try:
        table = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path} is not readable as CSV: {error}") from None
    if not table:
        raise DataError(f"{path} is empty; expected a header row with the columns {', '.join(COLUMNS.values())}")
    positions = _positions(path, [cell.strip() for cell in table[0]])
    lines: list[Line] = []
    refused: Counter[str] = Counter()
    for row in table[1:]:
        if len(row) != len(table[0]):
            refused["wrong number of cells"] += 1
            continue
        entry = _line({name: row[position].strip() for name, position in positions.items()})
        if isinstance(entry, Line):
            lines.append(entry)
        else:
            refused[entry] += 1
    if not lines:
        reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(refused.items())) or "no rows"
        raise DataError(f"{path} has no usable row below its header ({reasons})")
    return Shipments(tuple(lines), hashlib.sha256(raw).hexdigest(), len(table) - 1, refused)


def _positions(path: Path, header: list[str]) -> dict[str, int]:
    for column in COLUMNS.values():
        if column not in header:
            shown = ", ".join(header[:40])
            raise DataError(f"{path} has no column '{column}' (there is: {shown}){did_you_mean(column, header)}")
    return {name: header.index(column) for name, column in COLUMNS.items()}


def _line(cells: Mapping[str, str]) -> Line | str:
    """One row as a line, or the reason why it is none."""
    absent: dict[str, str] = {}
    dates: dict[str, date | None] = {}
    for name in ("quoted", "ordered", "scheduled", "delivered"):
        dates[name] = parse_date(cells[name])
        if dates[name] is None:
            absent[name] = cells[name] or "empty"
    if (scheduled := dates["scheduled"]) is None or (delivered := dates["delivered"]) is None:
        return "no scheduled or delivered date"
    quantity, value, price = (_number(cells[name]) for name in ("quantity", "value", "pack_price"))
    if quantity is None or quantity <= 0.0 or value is None or price is None:
        return "no positive quantity, or no value or price"
    measured: dict[str, float | None] = {}
    for name in ("weight", "freight"):
        measured[name] = _number(cells[name])
        if (measured[name] or 0.0) <= 0.0:
            measured[name] = None
            absent[name] = "on another line of the shipment" if _REFERENCE.match(cells[name]) else _reason(cells[name])
    reference = _REFERENCE.match(cells["weight"])
    if cells["mode"] in {"", "N/A"}:
        absent["mode"] = cells["mode"] or "empty"
    return Line(
        identifier=cells["identifier"],
        shipment_identifier=reference[1] if reference else cells["identifier"],
        order=cells["order"],
        note=cells["note"],
        country=cells["country"],
        fulfilment=cells["fulfilment"],
        mode=None if "mode" in absent else cells["mode"],
        quoted=dates["quoted"],
        ordered=dates["ordered"],
        scheduled=scheduled,
        delivered=delivered,
        product_group=cells["product_group"],
        vendor=cells["vendor"],
        item=cells["item"],
        maker=cells["maker"],
        quantity=quantity,
        value_usd=value,
        pack_price_usd=price,
        weight_kg=measured["weight"],
        freight_usd=measured["freight"],
        absent=absent,
    )


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _reason(text: str) -> str:
    return "zero or negative" if _number(text) is not None else text or "empty"


def lead_times(lines: Iterable[Line]) -> tuple[list[LeadTime], Selection]:
    """Days from purchase order to delivery, one per shipment (order and shipping note), above zero.

    A negative time is a typing error. A zero says that the order was entered when the goods arrived, so it measures
    nothing. Lines of one shipment share their dates; counting each would weigh a shipment by its number of products.
    """
    found: dict[tuple[str, str], LeadTime] = {}
    refused: Counter[str] = Counter()
    for line in lines:
        key = (line.order, line.note)
        if line.ordered is None:
            refused[f"no order date: {line.absent['ordered']}"] += 1
        elif (days := (line.delivered - line.ordered).days) < 0:
            refused["negative lead time"] += 1
        elif days == 0:
            refused["zero lead time"] += 1
        elif key in found:
            refused["another line of a shipment already counted"] += 1
        else:
            found[key] = LeadTime(float(days), line)
    return list(found.values()), Selection(len(found), refused)


def freight(lines: Iterable[Line], product_group: str) -> tuple[list[Freight], Selection]:
    """Freight bills of a product group, one per shipment.

    Lines that point at another line's weight are packed together with it, so the weight and the bill there are for
    the packs of all of them. Shipments shared with another product group are refused. Pass all lines of the file.
    """
    packed: dict[str, list[Line]] = {}
    for line in lines:
        packed.setdefault(line.shipment_identifier, []).append(line)
    found: list[Freight] = []
    refused: Counter[str] = Counter()
    used = 0
    for identifier, members in packed.items():
        leader = next((line for line in members if line.identifier == identifier), None)
        packs = sum(line.quantity for line in members)
        if all(line.product_group != product_group for line in members):
            refused["another product group"] += len(members)
        elif any(line.product_group != product_group for line in members):
            refused["shipped together with another product group"] += len(members)
        elif leader is None:
            refused["the line that carries the weight is not in the file"] += len(members)
        elif leader.weight_kg is None:
            refused[f"no weight: {leader.absent['weight']}"] += len(members)
        elif leader.freight_usd is None:
            refused[f"no freight cost: {leader.absent['freight']}"] += len(members)
        elif leader.mode is None:
            refused[f"no shipment mode: {leader.absent['mode']}"] += len(members)
        elif not PLAUSIBLE_PACK_KG[0] < leader.weight_kg / packs < PLAUSIBLE_PACK_KG[1]:
            refused["implausible weight per pack"] += len(members)
        else:
            found.append(Freight(leader.freight_usd, leader.weight_kg, packs, leader))
            used += len(members)
    return found, Selection(used, refused)
