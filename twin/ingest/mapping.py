"""The mapping file of a user's own tables: which column is which field, in which units, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, ValidationError, field_validator

from twin.demand import Name
from twin.errors import DataError, did_you_mean
from twin.files import read_mapping
from twin.ingest.fields import FIRST_YEAR, HISTORIES, LAST_YEAR, TABLES
from twin.periods import TimeUnit
from twin.schema import NonNegative, Positive, Share, StrictModel, explain

__all__ = [
    "DIMENSIONS",
    "KG",
    "DemandRules",
    "Dimension",
    "Header",
    "ImportMapping",
    "TableMapping",
    "Tables",
    "Units",
    "load_mapping",
]

Dimension = Literal["complete", "valid", "unique", "timely", "consistent"]
#: The five dimensions of quality, in the order in which a row is checked.
DIMENSIONS: tuple[Dimension, ...] = ("complete", "valid", "unique", "timely", "consistent")

#: Kilograms in one unit of weight.
KG: dict[str, float] = {"kg": 1.0, "g": 0.001, "t": 1000.0, "lb": 0.45359237, "oz": 0.028349523125}


class Header(StrictModel):
    """What the network is called, and in what it counts time and money."""

    name: Name
    description: str = ""
    source: str = ""
    licence: str = ""
    period: Literal["day", "week", "month"] = "week"
    currency: str = Field(min_length=1)


class Layout(StrictModel):
    """How the CSV files are written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."


class Units(StrictModel):
    """In what the columns of a table are given."""

    weight: Literal["kg", "g", "t", "lb", "oz"] = "kg"
    time: TimeUnit = "day"
    currency: str | None = Field(default=None, description="the network's when absent; a column 'currency' goes first")


class TableMapping(StrictModel):
    """One table: its file, its columns and its units."""

    file: str = Field(default="", description="within the folder; <table>.csv when absent")
    columns: dict[str, str] = Field(min_length=1, description="field -> column of the file")
    units: Units = Units()
    date_format: str | None = Field(default=None, description="as in Python's strptime; ISO 8601 when absent")
    thresholds: dict[Dimension, Share] = Field(default_factory=dict, description="least share of good rows")


class Tables(StrictModel):
    """The tables of an import; recipes and orders may be absent."""

    nodes: TableMapping
    products: TableMapping
    lanes: TableMapping
    recipes: TableMapping | None = None
    orders: TableMapping | None = None
    demand: TableMapping

    def given(self) -> dict[str, TableMapping]:
        """The tables that the mapping names, in the order of reading."""
        found = {name: getattr(self, name) for name in TABLES}
        return {name: table for name, table in found.items() if table is not None}


class DemandRules(StrictModel):
    """How the demand table becomes demand streams."""

    kind: Literal["distribution", "recorded"] = Field(default="distribution", alias="as")
    first: date | None = Field(default=None, description="first day that counts; the first in the table when absent")
    last: date | None = Field(default=None, description="last day that counts; the last in the table when absent")
    unmet: Literal["backlog", "lost"] = "backlog"
    service_level: float = Field(default=0.95, strict=True, gt=0.0, lt=1.0)


class Assumptions(StrictModel):
    """What the tables do not say."""

    holding_rate_per_year: NonNegative = 0.25
    least_orders: int = Field(default=5, ge=1, description="orders that a measured lead time needs")


class Timeliness(StrictModel):
    """Which dates count."""

    as_of: date | None = Field(default=None, description="day of the export, today when absent; later dates are wrong")
    window_days: int = Field(default=1826, ge=1, le=36525, description="dates farther back are too old")


class ImportMapping(StrictModel):
    """The whole mapping file."""

    network: Header
    tables: Tables
    csv: Layout = Layout()
    time_zone: str | None = Field(default=None, description="of timestamps without an offset")
    rates: dict[str, Positive] = Field(default_factory=dict, description="currency -> one of it in the network's")
    demand: DemandRules = DemandRules()
    assumptions: Assumptions = Assumptions()
    timely: Timeliness = Timeliness()
    thresholds: dict[Dimension, Share] = Field(
        default_factory=dict, description="least share of good rows of every table; a table's own go first"
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        known = available_timezones()
        if name is not None and name not in known:
            raise ValueError(f"no such time zone (allowed: names like Europe/Berlin){did_you_mean(name, known)}")
        return name

    @property
    def zone(self) -> ZoneInfo | None:
        """Time zone of timestamps without an offset, where one is named."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    def threshold(self, table: str, dimension: Dimension) -> float:
        """Least share of good rows: the table's own, the file's, else 0.95 for histories and 1 for the others."""
        default = self.thresholds.get(dimension, 0.95 if table in HISTORIES else 1.0)
        return self.tables.given()[table].thresholds.get(dimension, default)


def load_mapping(path: str | Path) -> ImportMapping:
    """Read a mapping file.

    Raises
    ------
    NetworkError
        When the file is missing or is not YAML.
    DataError
        With one line per problem: the key, the value, what is allowed and the nearest match.
    """
    data = read_mapping(path)
    try:
        mapping = ImportMapping.model_validate(data)
    except ValidationError as error:
        problems = explain(error)
    else:
        problems = list(_problems(mapping))
        if not problems:
            return mapping
    raise DataError(f"{path} is not a valid mapping:\n" + "\n".join(f"  - {line}" for line in problems))


def _problems(mapping: ImportMapping) -> Iterator[str]:
    """What the types cannot see: fields that do not exist or are missing, currencies without a rate, absurd days."""
    currencies = {mapping.network.currency, *mapping.rates}
    for name, table in mapping.tables.given().items():
        fields = TABLES[name]
        place = f"tables.{name}.columns"
        for field in table.columns:
            if field not in fields:
                yield f"{place}: no field '{field}' (allowed: {', '.join(fields)}){did_you_mean(field, fields)}"
        for field, spec in fields.items():
            if spec.required and field not in table.columns:
                yield f"{place}.{field}: this field is required and missing"
        currency = table.units.currency
        if currency is not None and currency not in currencies:
            listed = ", ".join(sorted(currencies))
            yield (
                f"tables.{name}.units.currency: no rate for '{currency}' (allowed: {listed}; give one under rates)"
                f"{did_you_mean(currency, currencies)}"
            )
    if mapping.network.currency in mapping.rates:
        yield f"rates.{mapping.network.currency}: this is the network's own currency; its rate is 1"
    rules = mapping.demand
    days = {"timely.as_of": mapping.timely.as_of, "demand.first": rules.first, "demand.last": rules.last}
    for place, day in days.items():
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            yield f"{place}: must lie between {FIRST_YEAR}-01-01 and {LAST_YEAR}-12-31, received {day}"
    if rules.first is not None and rules.last is not None and rules.last < rules.first:
        yield f"demand.last: must not be before demand.first = {rules.first}, received {rules.last}"
