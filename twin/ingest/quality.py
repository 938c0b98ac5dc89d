"""The quality of imported tables: what was checked, what failed and why, and whether it is good enough."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from twin.ingest.mapping import DIMENSIONS, Dimension, ImportMapping

__all__ = [
    "Audit",
    "Finding",
    "Problem",
    "left_behind",
    "quality_report",
    "quality_table",
    "quarantine_text",
    "shortfalls",
]

_QUARANTINE_HEADER = ("file", "line", "column", "value", "dimension", "reason")


class Finding(NamedTuple):
    """What is wrong in one cell."""

    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding with its place."""

    file: str
    line: int
    dimension: Dimension
    finding: Finding


@dataclass
class Audit:
    """Counts and problems of one table. A row is checked up to the first dimension in which it fails."""

    table: str
    file: str
    rows: int
    accepted: int = 0
    checked: Counter[Dimension] = field(default_factory=Counter)
    failed: Counter[Dimension] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def count(self, dimension: Dimension, line: int, findings: Sequence[Finding]) -> None:
        """Enter one row's check."""
        self.checked[dimension] += 1
        if findings:
            self.failed[dimension] += 1
            self.problems += [Problem(self.file, line, dimension, finding) for finding in findings]

    def share(self, dimension: Dimension) -> float | None:
        """Share of the checked rows that passed; None where nothing was checked."""
        checked = self.checked[dimension]
        return None if checked == 0 else 1.0 - self.failed[dimension] / checked


def shortfalls(audits: Sequence[Audit], mapping: ImportMapping) -> list[str]:
    """One sentence per table and dimension below its threshold, with the most frequent reason."""
    lines = []
    for audit in audits:
        for dimension in DIMENSIONS:
            share, least = audit.share(dimension), mapping.threshold(audit.table, dimension)
            if share is not None and share < least:
                found = [p for p in audit.problems if p.dimension == dimension]
                first, often = Counter((p.finding.column, p.finding.reason) for p in found).most_common(1)[0]
                where = next(p for p in found if (p.finding.column, p.finding.reason) == first)
                value = f" '{where.finding.value}'" if where.finding.value else ""
                lines.append(
                    f"{audit.file}: {dimension} {share:.1%} of {audit.checked[dimension]:,} rows, at least {least:.1%} "
                    f"asked for; most often ({often} x, first on line {where.line}) {first[0]}{value}: {first[1]}"
                )
        if audit.accepted == 0:
            lines.append(f"{audit.file}: no row can be used")
    return lines


def quality_report(audits: Sequence[Audit], mapping: ImportMapping) -> dict[str, Any]:
    """The report as plain data: per table and dimension the rows checked, the rows failed, share and threshold."""
    tables: dict[str, Any] = {}
    for audit in audits:
        dimensions = {
            dimension: {
                "checked": audit.checked[dimension],
                "failed": audit.failed[dimension],
                "share": audit.share(dimension),
                "threshold": mapping.threshold(audit.table, dimension),
            }
            for dimension in DIMENSIONS
        }
        tables[audit.table] = {
            "file": audit.file,
            "rows": audit.rows,
            "accepted": audit.accepted,
            "dimensions": dimensions,
        }
    return {"passed": not shortfalls(audits, mapping), "tables": tables}


def quality_table(report: Mapping[str, Any]) -> str:
    """The report for a person: one line a table; ``-`` where a dimension does not apply."""
    lines = [f"{'table':<9} {'rows':>9} {'accepted':>9}" + "".join(f" {name:>10}" for name in DIMENSIONS)]
    for name, table in report["tables"].items():
        shares = [table["dimensions"][dimension]["share"] for dimension in DIMENSIONS]
        cells = "".join(f" {'-' if share is None else f'{share:.1%}':>10}" for share in shares)
        lines.append(f"{name:<9} {table['rows']:>9,} {table['accepted']:>9,}{cells}")
    return "\n".join(lines) + "\n"


def quarantine_text(audits: Sequence[Audit]) -> str:
    """All problems as CSV: file, line, column, value, dimension, reason."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_QUARANTINE_HEADER)
    for audit in audits:
        for problem in audit.problems:
            column, value, reason = problem.finding
            writer.writerow([problem.file, problem.line, column, value, problem.dimension, reason])
    return out.getvalue()


def left_behind(quarantine: Path, report: Path) -> list[Path]:
    """Which of the two files are there and begin as an import writes them."""
    starts = {quarantine: ",".join(_QUARANTINE_HEADER) + "\n", report: '{\n  "passed": '}
    return [path for path, start in starts.items() if path.is_file() and _begins(path, start.encode())]


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(start)) == start
