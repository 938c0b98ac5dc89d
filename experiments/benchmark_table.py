"""The results of a suite as a table: for the screen, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark_config import SuiteConfig
from experiments.benchmark_rows import Result, Row, table_row
from experiments.results_text import digits_text
from experiments.statistics import Interval
from twin.files import write_text

__all__ = ["SuiteTable", "suite_table"]

#: A cost as people read it.
_digits = partial(digits_text, digits=5)


@dataclass(frozen=True)
class SuiteTable:
    """The finished items of a suite.

    Attributes
    ----------
    suite
        Its definition.
    rows
        In the order of the suite.
    items
        How many the suite has.
    sources
        Source state -> how many results it made.
    """

    suite: SuiteConfig
    rows: tuple[Row, ...]
    items: int
    sources: dict[str, int]

    def text(self) -> str:
        """The table as Markdown, aligned so that it reads as it is."""
        suite = self.suite
        shown = [
            ("gap to optimum, %", [_percent(row.gap) for row in self.rows]),
            *((f"over {r}, %", [_percent(row.differences.get(r)) for row in self.rows]) for r in suite.references),
            ("over bound, %", [_percent(row.over_bound) for row in self.rows]),
        ]
        columns = [
            ("cell", _once([row.cell for row in self.rows])),
            ("policy", [row.entry for row in self.rows]),
            ("seed", ["" if row.seed is None else str(row.seed) for row in self.rows]),
            ("optimum", ["" if row.optimum is None else digits_text(row.optimum, 6) for row in self.rows]),
            ("cost", [_cost(row) for row in self.rows]),
            ("worst 5 % of paths", ["" if row.tail is None else _bracketed(row.tail, _digits) for row in self.rows]),
            *((name, cells) for name, cells in shown if any(cells)),
            ("seconds", [f"{row.seconds:,.0f}" for row in self.rows]),
        ]
        # Without its only value a column says nothing.
        columns = [(name, cells) for name, cells in columns if any(cells)]
        parts = [f"# {suite.name}", suite.description]
        parts += [_grid(columns), self._summary_text()] if self.rows else ["Nothing has finished yet."]
        parts.append(self._footer())
        return "\n\n".join(part for part in parts if part) + "\n"

    def summary(self) -> list[dict[str, Any]]:
        """One line per policy: cells, seeds, mean and worst gap, seconds."""
        lines = []
        for entry in dict.fromkeys(row.entry for row in self.rows):
            rows = [row for row in self.rows if row.entry == entry]
            gaps = [(row.gap.mean, row) for row in rows if row.gap is not None]
            over = [row.over_bound.mean for row in rows if row.over_bound is not None]
            seeds = {row.seed for row in rows}
            worst = max(gaps, key=lambda pair: pair[0], default=None)
            lines.append(
                {
                    "policy": entry,
                    "cells": len({row.cell for row in rows}),
                    "seeds": len(seeds),
                    "mean_gap_percent": float(np.mean([gap for gap, _ in gaps])) if gaps else None,
                    "worst_gap_percent": worst[0] if worst else None,
                    "worst_cell": _place(worst[1], len(seeds) > 1) if worst else None,
                    "differences": {
                        name: _summed(found)
                        for name in self.suite.references
                        if (found := [row.differences[name] for row in rows if name in row.differences])
                    },
                    "mean_over_bound_percent": float(np.mean(over)) if over else None,
                    "mean_seconds": float(np.mean([row.seconds for row in rows])),
                    "most_seconds": max(row.seconds for row in rows),
                }
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.suite.model_dump(mode="json"),
            "items": self.items,
            "finished": len(self.rows),
            "sources": self.sources,
            "summary": self.summary(),
            "rows": [_plain(row) for row in self.rows],
        }

    def csv(self) -> str:
        """One row per result."""
        buffer = io.StringIO()
        rows = [_flat(row, self.suite.references) for row in self.rows]
        writer = csv.DictWriter(buffer, list(rows[0]) if rows else ["cell"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def save(self, folder: Path) -> None:
        """Write ``table.md``, ``table.csv`` and ``table.json``, each whole or not at all."""
        write_text(folder / "table.md", self.text())
        write_text(folder / "table.csv", self.csv())
        write_text(folder / "table.json", json.dumps(self.to_dict(), indent=2) + "\n")

    def _summary_text(self) -> str:
        lines = self.summary()
        numbers = [
            ("policy", [line["policy"] for line in lines]),
            ("cells", [str(line["cells"]) for line in lines]),
            ("seeds", [str(line["seeds"]) for line in lines]),
            ("mean gap, %", [_signed(line["mean_gap_percent"]) for line in lines]),
            ("worst gap, %", [_signed(line["worst_gap_percent"]) for line in lines]),
            ("worst in", [line["worst_cell"] or "" for line in lines]),
            *(
                (f"mean over {name}, % (clearly below)", [_compared(line["differences"].get(name)) for line in lines])
                for name in self.suite.references
            ),
            ("mean over bound, %", [_signed(line["mean_over_bound_percent"]) for line in lines]),
            ("mean seconds", [f"{line['mean_seconds']:,.0f}" for line in lines]),
            ("most seconds", [f"{line['most_seconds']:,.0f}" for line in lines]),
        ]
        return _grid([(name, cells) for name, cells in numbers if any(cells)])

    def _footer(self) -> str:
        intervals = "95 % bootstrap intervals in brackets, differences paired."
        how = {
            "exact": "Costs are exact: the average of the Markov chain that a policy induces.",
            "simulated": "Costs are simulated on evaluation seeds of their own, "
            f"the same paths for all entries of a cell; {intervals}",
            "published": f"Costs are those of the {len(self.suite.path_seeds)} published paths; {intervals}",
        }[self.suite.evaluation]
        made = ", ".join(f"{source} ({number})" for source, number in self.sources.items())
        return f"{how}\n{len(self.rows)} of {self.items} items. Source: {made or 'none'}."


def suite_table(suite: SuiteConfig, results: Sequence[Result], items: int) -> SuiteTable:
    """The table of finished results, in their order.

    Parameters
    ----------
    results
        What :func:`experiments.benchmark_work.do_item` stored.
    items
        How many items the suite has.
    """
    rows = tuple(table_row(result, suite.references, results) for result in results)
    return SuiteTable(suite, rows, items, dict(Counter(_source(result) for result in results)))


def _source(result: Result) -> str:
    versions = result.get("versions", {})
    commit, changes = str(versions.get("git_commit", "unknown"))[:10], versions.get("git_changes", "none")
    return commit if changes == "none" else f"{commit} with changes"


def _place(row: Row, with_seed: bool) -> str:
    return f"{row.cell}, seed {row.seed}" if with_seed else row.cell


def _plain(row: Row) -> dict[str, Any]:
    data = {key: value.to_dict() if isinstance(value, Interval) else value for key, value in vars(row).items()}
    return {**data, "differences": {name: value.to_dict() for name, value in row.differences.items()}}


def _flat(row: Row, references: Sequence[str]) -> dict[str, Any]:
    """A row of the CSV file."""
    shares = {"gap": row.gap, **{f"over_{r}": row.differences.get(r) for r in references}, "over_bound": row.over_bound}
    return {
        "cell": row.cell,
        "entry": row.entry,
        "seed": row.seed,
        "optimum": row.optimum,
        "exact": row.exact,
        **_columns("cost", row.cost),
        **_columns("cvar95", row.tail),
        **{key: number for name, share in shares.items() for key, number in _columns(f"{name}_percent", share).items()},
        "seconds": row.seconds,
    }


def _columns(name: str, value: Interval | None) -> dict[str, float | None]:
    if value is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def _summed(found: Sequence[Interval]) -> dict[str, float]:
    """Of differences: their mean, how many lie below 0 with their whole interval, and how many there are."""
    return {
        "mean_percent": float(np.mean([value.mean for value in found])),
        "clearly_below": sum(value.high < 0.0 for value in found),
        "compared": len(found),
    }


def _compared(summed: dict[str, float] | None) -> str:
    if summed is None:
        return ""
    return f"{summed['mean_percent']:+.3f} ({summed['clearly_below']} of {summed['compared']})"


def _cost(row: Row) -> str:
    return digits_text(row.cost.mean, 6) if row.cost.low == row.cost.high else _bracketed(row.cost, _digits)


def _percent(value: Interval | None) -> str:
    if value is None:
        return ""
    return f"{value.mean:+.3f}" if value.low == value.high else _bracketed(value, "{:+.2f}".format)


def _bracketed(value: Interval, text: Callable[[float], str]) -> str:
    return f"{text(value.mean)} [{text(value.low)}, {text(value.high)}]"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _once(cells: Sequence[str]) -> list[str]:
    return ["" if k and cells[k - 1] == cell else cell for k, cell in enumerate(cells)]


def _grid(columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    widths = [max(len(text) for text in (name, *cells)) for name, cells in columns]
    rows = [[name for name, _ in columns], *(list(row) for row in zip(*(cells for _, cells in columns), strict=True))]
    lines = []
    for row in rows:
        padded = [
            text.ljust(w) if k < 2 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(padded) + " |")
    dashes = ["-" * w if k < 2 else "-" * (w - 1) + ":" for k, w in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(dashes) + " |")
    return "\n".join(lines)
