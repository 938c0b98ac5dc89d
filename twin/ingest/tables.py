"""A user's own tables, row by row: what is good is kept, what is not goes to quarantine with its place and reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from twin.errors import DataError, did_you_mean
from twin.ingest.cells import CellError, Values, identifier
from twin.ingest.csvfile import CsvFile, Row, read_csv
from twin.ingest.fields import TABLES
from twin.ingest.mapping import Dimension, ImportMapping
from twin.ingest.progress import progress
from twin.ingest.quality import Audit, Finding

__all__ = ["Record", "TableSet", "read_tables", "table_files"]

#: How far two prices may lie apart, as a share, and be one: a currency's rate leaves a trace in the last digits.
_PRICE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Record:
    """One good row: its line and its values by field; empty cells are absent."""

    line: int
    values: Mapping[str, Any]


@dataclass
class TableSet:
    """The good rows of all tables, the checks they went through, and the files' checksums."""

    records: dict[str, list[Record]] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)

    def by_name(self, table: str) -> dict[str, Mapping[str, Any]]:
        """Rows of a table by their field ``name``."""
        return {record.values["name"]: record.values for record in self.records.get(table, [])}


def table_files(folder: Path, mapping: ImportMapping) -> dict[str, Path]:
    """The file of every table that the mapping names."""
    return {name: folder / (table.file or f"{name}.csv") for name, table in mapping.tables.given().items()}


def read_tables(folder: str | Path, mapping: ImportMapping, *, today: date | None = None) -> TableSet:
    """Read and check all tables that the mapping names.

    Parameters
    ----------
    folder
        Where the files are.
    today
        Stands in for the mapping's ``timely.as_of`` where that is absent; today when absent as well.

    Raises
    ------
    DataError
        When the folder, a file or a mapped column is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    as_of = mapping.timely.as_of or today or datetime.now(UTC).date()
    files = {}
    for name, path in table_files(folder, mapping).items():
        files[name] = read_csv(path, delimiter=mapping.csv.delimiter)
        files[name].positions(mapping.tables.given()[name].columns.values())
    found = TableSet()
    for name, file in files.items():
        found.checksums[file.path.name] = file.sha256
        _Reader(name, file, mapping, as_of, found).read()
    return found


class _Reader:
    """Checks one table against the mapping and the tables read before it."""

    def __init__(self, name: str, file: CsvFile, mapping: ImportMapping, as_of: date, found: TableSet) -> None:
        self._name, self._file, self._found, self._as_of = name, file, found, as_of
        self._oldest = as_of - timedelta(days=mapping.timely.window_days)
        table = mapping.tables.given()[name]
        self._columns = table.columns
        self._places = {key: file.header.index(column) for key, column in table.columns.items()}
        self._values = Values(mapping, table)
        self._zone = mapping.zone or UTC
        self._seen: dict[Hashable, int] = {}
        self._prices: dict[tuple[str, str], tuple[float, int]] = {}
        self._known = {other: found.by_name(other) for other in ("nodes", "products", "lanes")}

    def read(self) -> None:
        """Check every row; good ones and the audit go to the table set."""
        audit = Audit(self._name, self._file.path.name, len(self._file.rows))
        good: list[Record] = []
        for row in progress(self._file.rows, self._file.path.name):
            values: dict[str, Any] = {}
            for dimension, findings in self._judge(row, values):
                audit.count(dimension, row.line, findings)
                if findings:
                    break
            else:
                good.append(Record(row.line, values))
        audit.accepted = len(good)
        self._found.records[self._name] = good
        self._found.audits.append(audit)

    def _judge(self, row: Row, values: dict[str, Any]) -> Iterator[tuple[Dimension, list[Finding]]]:
        """The checks of one row, dimension by dimension; ``values`` fills up on the way."""
        if len(row.cells) != len(self._file.header):
            shape = f"the row has {len(row.cells)} cells, the header {len(self._file.header)}"
            yield "valid", [Finding("", ",".join(row.cells)[:80], shape)]
            return
        cells = {key: row.cells[place] for key, place in self._places.items()}
        yield (
            "complete",
            [
                self._finding(key, "", "is empty")
                for key, spec in TABLES[self._name].items()
                if spec.required and cells[key] == ""
            ],
        )
        yield "valid", list(self._parse(cells, values))
        yield "unique", list(self._repeated(cells, values))
        dated = {key: value for key, value in values.items() if isinstance(value, datetime)}
        if dated:
            yield "timely", list(self._untimely(dated, cells))
        yield (
            "consistent",
            [self._finding(key, cells.get(key, ""), reason) for key, reason in _CONSISTENT[self._name](self, values)],
        )
        # Only a row that passed every check gets here: the reader of the checks stops at the first that fails.
        self._remember(row.line, cells, values)

    def _finding(self, key: str, value: str, reason: str) -> Finding:
        return Finding(self._columns.get(key, key), value, reason)

    def _parse(self, cells: Mapping[str, str], values: dict[str, Any]) -> Iterator[Finding]:
        for key, text in cells.items():
            if text == "":
                continue
            try:
                values[key] = self._values.read(TABLES[self._name][key], text, cells.get("currency"))
            except CellError as refusal:
                yield self._finding(key, text, str(refusal))

    def _key(self, cells: Mapping[str, str], values: Mapping[str, Any]) -> tuple[str, Hashable]:
        """What makes a row unique, and the field to show: names as the network spells them; rows by id, or whole."""
        if self._name == "recipes":
            maker = values.get("name") or (values["site"], values["product"])
            return "input", (maker, values["input"])
        if self._name in {"orders", "demand"}:
            return "id" if "id" in values else next(iter(cells)), values.get("id") or tuple(cells.values())
        return "name", identifier(values["name"])

    def _repeated(self, cells: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[Finding]:
        shown, key = self._key(cells, values)
        if key in self._seen:
            yield self._finding(shown, cells[shown], f"repeats line {self._seen[key]}")

    def _remember(self, line: int, cells: Mapping[str, str], values: Mapping[str, Any]) -> None:
        """Keep what later rows are held against; of good rows only, so that a bad one does not block its correction."""
        self._seen[self._key(cells, values)[1]] = line
        if self._name == "lanes" and "price" in values:
            self._prices.setdefault((values["from"], values["product"]), (values["price"], line))

    def _untimely(self, dated: Mapping[str, datetime], cells: Mapping[str, str]) -> Iterator[Finding]:
        for key, moment in dated.items():
            day = moment.astimezone(self._zone).date()
            if day > self._as_of:
                yield self._finding(key, cells[key], f"lies after {self._as_of}, the day of the export")
            elif day < self._oldest:
                yield self._finding(key, cells[key], f"lies before {self._oldest}, the start of the window")

    # -- consistency: (field, reason) -----------------------------------------------------------------------------

    def _unknown(self, values: Mapping[str, Any], key: str, table: str) -> Iterator[tuple[str, str]]:
        known = self._known[table]
        if values[key] not in known:
            yield key, f"is not among the good rows of {table}{did_you_mean(values[key], known)}"

    def _is_supplier(self, node: str) -> bool:
        return bool(self._known["nodes"].get(node, {}).get("kind") == "supplier")

    def _node(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if ("longitude" in values) != ("latitude" in values):
            yield ("latitude" if "longitude" in values else "longitude"), "is empty, but the other coordinate is given"

    def _nothing(self, _: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from ()

    def _lane(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key, table in (("from", "nodes"), ("to", "nodes"), ("product", "products")):
            yield from self._unknown(values, key, table)
        if values["from"] == values["to"]:
            yield "to", "is where the lane begins"
        if self._is_supplier(values["to"]):
            yield "to", "is a supplier; lanes end at other nodes"
        if "price" in values:
            if not self._is_supplier(values["from"]):
                yield "price", "is given, but the lane does not begin at a supplier"
                return
            price, first = self._prices.get((values["from"], values["product"]), (values["price"], 0))
            if not math.isclose(price, values["price"], rel_tol=_PRICE_TOLERANCE):
                yield "price", f"differs from line {first}: a supplier has one price for a product"

    def _recipe(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key, table in (("site", "nodes"), ("product", "products"), ("input", "products")):
            yield from self._unknown(values, key, table)
        if self._is_supplier(values["site"]):
            yield "site", "is a supplier; recipes run at other nodes"
        if values["input"] == values["product"]:
            yield "input", "is the product itself"

    def _order(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from self._unknown(values, "lane", "lanes")
        if values["received_at"] < values["ordered_at"]:
            yield "received_at", "lies before the order"

    def _demand(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from self._unknown(values, "site", "nodes")
        yield from self._unknown(values, "product", "products")
        if self._is_supplier(values["site"]):
            yield "site", "is a supplier; customers buy at other nodes"
        whole = self._known["products"].get(values["product"], {}).get("whole", False)
        if whole and values["quantity"] % 1:
            yield "quantity", "is a fraction of a product that comes in whole units"


_CONSISTENT: dict[str, Callable[[_Reader, Mapping[str, Any]], Iterator[tuple[str, str]]]] = {
    "nodes": _Reader._node,
    "products": _Reader._nothing,
    "lanes": _Reader._lane,
    "recipes": _Reader._recipe,
    "orders": _Reader._order,
    "demand": _Reader._demand,
}
