"""The page of a suite, from its table and its items."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.pages import Drawn, Section, definitions, details, figure_html, page, table_html
from experiments.plots.gaps import gap_figure
from experiments.plots.profiles import profile_figure
from experiments.results_text import digits_text, number_text
from experiments.statistics import Interval

__all__ = ["suite_page"]

#: Fewer results say nothing as a profile.
_FEWEST = 4


def suite_page(folder: Path) -> str:
    """The page as HTML; what is not finished is listed."""
    data: dict[str, Any] = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    suite, rows = data["suite"], data["rows"]
    failed = _failed(folder)
    overview = definitions(
        {
            "results": f"{data['finished']} of {data['items']} items finished, {len(failed)} failed",
            "costs": {"exact": "exact", "simulated": "simulated on the evaluation seeds, the same paths for all"}.get(
                suite["evaluation"], "on the published paths"
            ),
            "made by": ", ".join(f"{source} ({number} items)" for source, number in data["sources"].items()) or "-",
        }
    )
    sections = [
        Section("The suite", f"<p>{html.escape(suite['description'])}</p>" + overview),
        Section("Policies", _summary(data["summary"], suite["references"])),
        Section("Figures", "".join(figure_html(drawn) for drawn in _figures(rows, suite["references"]))),
        Section("Every result", _rows(rows, suite["references"])),
        Section("Failed", table_html([("item", list(failed)), ("why", list(failed.values()))]) if failed else ""),
        Section("Where it comes from", details("Definition of the suite", suite) + details("All numbers", data)),
    ]
    return page(f"Suite {suite['name']}", str(folder), sections)


def _failed(folder: Path) -> dict[str, str]:
    """Items that failed when they were last tried, and why."""
    out = {}
    for file in sorted((folder / "items").glob("*.json")):
        try:
            item = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if item.get("status") == "failed":
            out[str(item.get("item", file.stem))] = str(item.get("error", "unknown"))
    return out


def _summary(lines: Sequence[Mapping[str, Any]], references: Sequence[str]) -> str:
    def percent(key: str) -> list[str]:
        return _some([None if line[key] is None else f"{line[key]:+.3f} %" for line in lines])

    def against(name: str) -> list[str]:
        found = [line["differences"].get(name) for line in lines]
        return _some(
            [
                None if one is None else f"{one['mean_percent']:+.3f} % ({one['clearly_below']} of {one['compared']})"
                for one in found
            ]
        )

    columns = [
        ("policy", [line["policy"] for line in lines]),
        ("problems", [str(line["cells"]) for line in lines]),
        ("seeds", [str(line["seeds"]) for line in lines]),
        ("mean gap to the optimum", percent("mean_gap_percent")),
        ("worst gap", percent("worst_gap_percent")),
        ("worst in", _some([line["worst_cell"] for line in lines])),
        *((f"mean over {name} (clearly below)", against(name)) for name in references),
        ("mean over the bound", percent("mean_over_bound_percent")),
        ("mean seconds", [f"{line['mean_seconds']:,.0f}" for line in lines]),
        ("most seconds", [f"{line['most_seconds']:,.0f}" for line in lines]),
    ]
    return (
        table_html([(name, cells) for name, cells in columns if cells]) if lines else "<p>Nothing has finished yet.</p>"
    )


def _rows(rows: Sequence[Mapping[str, Any]], references: Sequence[str]) -> str:
    columns = [
        ("problem", [row["cell"] for row in rows]),
        ("policy", [row["entry"] for row in rows]),
        ("seed", _some([None if row["seed"] is None else str(row["seed"]) for row in rows])),
        ("optimum", _some([None if row["optimum"] is None else digits_text(row["optimum"], 6) for row in rows])),
        ("cost", [_interval(row["cost"], partial(digits_text, digits=6)) for row in rows]),
        ("worst 5 % of paths", _some([_optional(row.get("tail"), partial(digits_text, digits=5)) for row in rows])),
        ("gap to the optimum, %", _some([_optional(row["gap"], "{:+.3f}".format) for row in rows])),
        *(
            (f"over {n}, %", _some([_optional(row["differences"].get(n), "{:+.3f}".format) for row in rows]))
            for n in references
        ),
        ("over the bound, %", _some([_optional(row["over_bound"], "{:+.3f}".format) for row in rows])),
        ("seconds", [number_text(row["seconds"]) for row in rows]),
    ]
    return table_html([(name, cells) for name, cells in columns if cells]) if rows else ""


def _figures(rows: Sequence[Mapping[str, Any]], references: Sequence[str]) -> list[Drawn]:
    """Distances problem by problem, and their profile."""
    words, found = _distances(rows, references)
    if not found:
        return []
    cells = list(dict.fromkeys(row["cell"] for row, _ in found))
    gaps: dict[str, dict[str, list[Interval]]] = {}
    for row, value in found:
        gaps.setdefault(row["entry"], {}).setdefault(row["cell"], []).append(value)
    out = [
        Drawn(
            "gaps",
            "Problem by problem",
            f"The {words} of every result, per cent; several marks of a policy are its training seeds.",
            gap_figure(cells, gaps, xlabel=f"{words}, %"),
        )
    ]
    scores = {
        name: np.array([value.mean for one in by_cell.values() for value in one]) for name, by_cell in gaps.items()
    }
    if max(len(values) for values in scores.values()) >= _FEWEST:
        caption = f"Share of problems and seeds with a {words} of at most so much, with pointwise 95 % intervals."
        figure = profile_figure(scores, xlabel=f"{words}, %", what="problems and seeds")
        out.append(Drawn("profile", "Performance profile", caption, figure))
    return out


def _distances(
    rows: Sequence[Mapping[str, Any]], references: Sequence[str]
) -> tuple[str, list[tuple[Mapping[str, Any], Interval]]]:
    """Distances to the optimum where it is known, else to the first reference, else to the bound."""
    first = references[0] if references else ""
    for words, values in (
        ("gap over the optimum", [row["gap"] for row in rows]),
        (f"cost over {first}", [row["differences"].get(first) for row in rows]),
        ("cost over the hindsight bound", [row["over_bound"] for row in rows]),
    ):
        found = [(row, Interval(**value)) for row, value in zip(rows, values, strict=True) if value is not None]
        if found:
            return words, found
    return "", []


def _some(cells: Sequence[str | None]) -> list[str]:
    """The cells with dashes, or none where all are empty."""
    return [cell or "-" for cell in cells] if any(cells) else []


def _optional(value: Mapping[str, float] | None, text: Callable[[float], str]) -> str | None:
    return None if value is None else _interval(value, text)


def _interval(value: Mapping[str, float], text: Callable[[float], str]) -> str:
    mean, low, high = (text(value[key]) for key in ("mean", "low", "high"))
    return mean if value["low"] == value["high"] else f"{mean} [{low}, {high}]"
