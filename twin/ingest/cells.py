"""One cell of a table as a value, or the reason why it is none."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from twin.errors import did_you_mean
from twin.ingest.fields import FIRST_YEAR, LAST_YEAR, FieldSpec
from twin.ingest.mapping import KG, ImportMapping, TableMapping
from twin.periods import DAYS

__all__ = ["NODE_KINDS", "CellError", "Values", "identifier"]

NODE_KINDS = ("supplier", "plant", "port", "warehouse", "distribution_centre", "store", "customer")

_FLAGS = {"yes": True, "true": True, "1": True, "y": True, "no": False, "false": False, "0": False, "n": False}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
#: Longer lead times are slips of the pen.
LONGEST_DAYS = 3653
_RANGE = {"longitude": 180.0, "latitude": 90.0}


class CellError(ValueError):
    """A cell that cannot be used; the message says why."""


def identifier(text: str) -> str:
    """A name that a network file allows: letters without accents, digits and ``_.-``, at most 64.

    Raises
    ------
    CellError
        When nothing of the text is left.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).lstrip("_.-").rstrip("_")
    if not name:
        raise CellError("holds no letter or digit to make a name of")
    return name[:64]


@dataclass(frozen=True, slots=True)
class Values:
    """Turns the cells of one table into values: numbers in the network's units, times in days, moments with a zone."""

    mapping: ImportMapping
    table: TableMapping

    def read(self, spec: FieldSpec, text: str, currency: str | None) -> Any:
        """The value of a cell that is not empty.

        Parameters
        ----------
        currency
            What stands in the row's column ``currency``, if it has one.

        Raises
        ------
        CellError
            With the reason, in words for the person who keeps the table.
        """
        if spec.kind == "text":
            return text
        if spec.kind == "name":
            identifier(text)
            return text
        if spec.kind == "node_kind":
            kind = text.lower().replace(" ", "_").replace("-", "_")
            if kind not in NODE_KINDS:
                raise CellError(f"no such kind (allowed: {', '.join(NODE_KINDS)}){did_you_mean(kind, NODE_KINDS)}")
            return kind
        if spec.kind == "flag":
            if text.lower() not in _FLAGS:
                raise CellError(f"must be one of {', '.join(_FLAGS)}")
            return _FLAGS[text.lower()]
        if spec.kind == "moment":
            return self.moment(text)
        value = self._number(text)
        if spec.kind in _RANGE:
            if abs(value) > _RANGE[spec.kind]:
                raise CellError(f"must lie between {-_RANGE[spec.kind]:g} and {_RANGE[spec.kind]:g} degrees")
            return value
        if value < 0.0 or (value == 0.0 and spec.kind == "positive"):
            raise CellError("must be above 0" if spec.kind == "positive" else "must be at least 0")
        value *= self._factor(spec, currency)
        if spec.unit == "time" and value > LONGEST_DAYS:
            raise CellError(f"is longer than {LONGEST_DAYS:,} days")
        return value

    def _number(self, text: str) -> float:
        mark = self.mapping.csv.decimal
        plain = text if mark == "." else text.replace(".", "?").replace(",", ".")
        if not _NUMBER.fullmatch(plain):
            raise CellError(f"is not a number (decimal mark '{mark}', no thousands marks)")
        value = float(plain)
        if abs(value) > 1e15:
            raise CellError("is not a plausible number (at most 1e15)")
        return value

    def _factor(self, spec: FieldSpec, currency: str | None) -> float:
        if spec.unit == "weight":
            return KG[self.table.units.weight]
        if spec.unit == "time":
            return DAYS[self.table.units.time]
        if spec.unit == "currency":
            home = self.mapping.network.currency
            name = currency or self.table.units.currency or home
            if name == home:
                return 1.0
            if name not in self.mapping.rates:
                known = [home, *self.mapping.rates]
                raise CellError(f"no rate for '{name}' (allowed: {', '.join(known)}){did_you_mean(name, known)}")
            return self.mapping.rates[name]
        return 1.0

    def moment(self, text: str) -> datetime:
        """A date (midnight) or a timestamp, with its zone.

        Raises
        ------
        CellError
            When it is neither, or a timestamp without an offset while the mapping names no zone.
        """
        form = self.table.date_format
        shown = "an ISO 8601 date or timestamp" if form is None else f"of the form {form}"
        whole_day = False
        try:
            if form is not None:
                found = datetime.strptime(text, form)
                whole_day = not re.search(r"%[HIXcf]", form)
            elif len(text) <= 10:
                found, whole_day = datetime.combine(date.fromisoformat(text), datetime.min.time()), True
            else:
                found = datetime.fromisoformat(text)
        except ValueError:
            raise CellError(f"is not {shown}") from None
        if not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise CellError(f"is not a plausible date (years {FIRST_YEAR} to {LAST_YEAR})")
        if found.tzinfo is not None:
            return found
        zone: tzinfo | None = self.mapping.zone
        if zone is None and not whole_day:
            raise CellError("is a time without a zone; name it with time_zone in the mapping")
        return found.replace(tzinfo=zone or UTC)
