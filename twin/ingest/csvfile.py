"""Reading CSV files by column name, with the line that each row stands on."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twin.errors import DataError, did_you_mean
from twin.files import read_table_text

__all__ = ["CsvFile", "Row", "read_csv"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins on (the header is line 1), and its cells without surrounding blanks."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file as it was read: where it was, what its header says, its non-empty rows and its checksum."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    sha256: str

    def positions(self, columns: Iterable[str]) -> dict[str, int]:
        """Where each column stands in a row.

        Raises
        ------
        DataError
            When a column is not in the header, with the nearest one that is.
        """
        places = {}
        for column in columns:
            if column not in self.header:
                listed = ", ".join(self.header[:40])
                raise DataError(
                    f"{self.path} has no column '{column}' (there is: {listed}){did_you_mean(column, self.header)}"
                )
            places[column] = self.header.index(column)
        return places

    def records(
        self, columns: Iterable[str], *, where: tuple[str, str] | None = None
    ) -> list[tuple[int, dict[str, str]]]:
        """(line, cells by column) of every row, or of those ``where`` a column holds a text.

        Raises
        ------
        DataError
            When a column is missing or a row has more or fewer cells than the header.
        """
        places = self.positions(columns if where is None else (*columns, where[0]))
        for row in self.rows:
            if len(row.cells) != len(self.header):
                raise DataError(
                    f"{self.path}, line {row.line}: {len(row.cells)} cells, but the header has {len(self.header)}"
                )
        rows = self.rows if where is None else [row for row in self.rows if row.cells[places[where[0]]] == where[1]]
        return [(row.line, {name: row.cells[place] for name, place in places.items()}) for row in rows]


def read_csv(path: str | Path, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> CsvFile:
    """Read a CSV file with any of the three line ends; in UTF-8, with or without a byte order mark, unless told else.

    Raises
    ------
    DataError
        When the file is missing, empty, not text, not CSV, or names a column twice.
    """
    path = Path(path)
    text, raw = read_table_text(path, encoding=encoding)
    rows = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        line = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, tuple(cell.strip() for cell in cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, is not readable as CSV: {error}") from None
    if not rows:
        raise DataError(f"{path} is empty; expected a header row")
    header = rows[0].cells
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} names the column '{twice}' twice")
    return CsvFile(path, header, tuple(rows[1:]), hashlib.sha256(raw).hexdigest())
