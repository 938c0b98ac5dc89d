"""A comparison as tables for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.statistics import Interval
from twin.economics import COST_TERMS, serves_at_once

if TYPE_CHECKING:
    from experiments.results import Comparison, Pair

__all__ = [
    "comparison_text",
    "digits_text",
    "footnote",
    "grid",
    "interval_text",
    "number_text",
    "p_text",
    "percent_text",
    "share_text",
]


def comparison_text(comparison: Comparison) -> str:
    """Costs and service, differences, cost terms, what is known of the problem, and how all that was found."""
    rows = comparison.rows
    percent = f"{100 * comparison.evaluation.confidence:g} %"
    columns = [
        ("policy", [row.policy for row in rows]),
        ("training seeds", [str(row.seeds) for row in rows] if any(row.seeds > 1 for row in rows) else []),
        (f"cost, {comparison.unit} [{percent}]", [interval_text(row.cost) for row in rows]),
        ("middle half (IQM)", [interval_text(row.middle) for row in rows]),
        ("worst 5 % of paths", [_or_dash(row.tail) for row in rows]),
        (
            "fill rate",
            [f"{100 * row.fill_rate:.1f} %" for row in rows] if serves_at_once(row.fill_rate for row in rows) else [],
        ),
        ("exact cost", _some([None if row.exact is None else f"{row.exact:.4f}" for row in rows])),
        ("gap to optimum", _some([None if row.gap is None else percent_text(row.gap) for row in rows])),
        ("over hindsight", _some([None if row.over_bound is None else percent_text(row.over_bound) for row in rows])),
        ("gap closed", _some([None if row.gap_closed is None else percent_text(row.gap_closed) for row in rows])),
    ]
    parts = [grid([(name, cells) for name, cells in columns if cells])]
    if comparison.pairs:
        parts.append(_pairs_text(comparison.pairs, percent))
    names = [term.name for term in COST_TERMS if any(row.terms[term.name] for row in rows)]
    terms = [(name, [number_text(row.terms[name]) for row in rows]) for name in names]
    # Where the horizon ends the stock is worth something, which is no cost of any period.
    rest = [row.cost.mean - sum(row.terms.values()) for row in rows]
    if comparison.horizon is not None and any(abs(value) > 1e-9 for value in rest):
        terms.append(("terminal value", [number_text(value) for value in rest]))
    parts.append(grid([("cost terms", [row.policy for row in rows]), *terms]))
    if comparison.groups:
        parts.append(_groups_text(comparison))
    parts.append("\n".join(footnote(comparison)))
    return "\n\n".join(parts)


def _pairs_text(every: Sequence[Pair], percent: str) -> str:
    # The same two the other way round say nothing new.
    pairs = list({frozenset((pair.policy, pair.reference)): pair for pair in reversed(every)}.values())[::-1]
    return grid(
        [
            ("difference", [f"{pair.policy} - {pair.reference}" for pair in pairs]),
            (f"cost [{percent}]", [interval_text(pair.difference, signed=True) for pair in pairs]),
            ("of the reference", ["-" if pair.percent is None else percent_text(pair.percent) for pair in pairs]),
            ("P(cheaper on a path)", [share_text(pair.improvement) for pair in pairs]),
            ("p", [p_text(pair.p) for pair in pairs]),
            ("p, Holm", [p_text(pair.p_holm) for pair in pairs]),
            ("cost is", [pair.verdict for pair in pairs]),
        ]
    )


def _groups_text(comparison: Comparison) -> str:
    groups = comparison.groups
    columns = [
        ("least share left", [group.severity for group in groups]),
        ("longest outage", [group.duration for group in groups]),
        ("paths", [str(group.paths) for group in groups]),
    ]
    for row in comparison.rows:
        name, base = row.policy, groups[0].reference
        if name in groups[0].differences:
            cells = [interval_text(group.differences[name], signed=True) for group in groups]
            columns.append((f"{name} - {base}", cells))
        else:
            columns.append((name, [interval_text(group.costs[name]) for group in groups]))
    return grid(columns)


def footnote(comparison: Comparison) -> list[str]:
    """What is known of the problem, and how the numbers were found."""
    lines = []
    for value in comparison.network.known_values:
        detail = f" ({value.detail})" if value.detail else ""
        lines.append(f"known {value.name.replace('_', ' ')}: {value.value:g}{detail}; {value.source}")
    if comparison.bound is not None:
        closes = any(row.gap_closed is not None for row in comparison.rows)
        lines.append(
            f"hindsight bound on {comparison.bound.paths} of the paths: {interval_text(comparison.bound.cost)}, what "
            f"perfect foresight would pay; no policy can pay less"
            + ("" if not closes else f"; gap closed: of the way there from {comparison.bound.reference}")
        )
    e = comparison.evaluation
    length = (
        f"the horizon of {comparison.horizon} periods"
        if comparison.horizon is not None
        else f"{e.periods} periods after {e.warm_up} of warm-up"
    )
    over = "training seeds and paths" if any(row.seeds > 1 for row in comparison.rows) else "paths"
    lines.append(
        f"{e.paths} paths of {length}, the same for all policies; seeds of their own; bootstrap intervals over {over}; "
        f"differences are paired"
    )
    if comparison.failing_at_end:
        lines.append(
            f"on {comparison.failing_at_end} of them something still fails when the horizon ends: what that costs "
            f"afterwards is not counted, which favours policies that put it off; a longer env.horizon counts it"
        )
    if comparison.pairs:
        lines.append(
            f"p: of no difference in the mean; Holm: for all comparisons together; a cost is lower or higher where "
            f"that is below {1 - e.confidence:.2g}"
        )
    return lines


def _or_dash(value: Interval | None) -> str:
    return "-" if value is None else interval_text(value)


def _some(cells: list[str | None]) -> list[str]:
    """The cells with dashes, or none where all are empty."""
    return [cell or "-" for cell in cells] if any(cells) else []


def number_text(value: float, *, signed: bool = False) -> str:
    """Four digits, and thousands apart."""
    sign = "+" if signed else ""
    if value == 0.0:
        return "0"
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}#.4g}".rstrip(".")


def digits_text(value: float, digits: int) -> str:
    """A number with so many digits, or all of its whole ones; never with an exponent that a person has to read."""
    return f"{value:,.0f}" if abs(value) >= 10.0**digits else f"{value:,.{digits}g}"


def interval_text(value: Interval, *, signed: bool = False) -> str:
    """``mean [low, high]``."""
    mean, low, high = (number_text(x, signed=signed) for x in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}]"


def percent_text(value: Interval) -> str:
    """``mean % [low, high]`` of a difference in per cent."""
    return f"{value.mean:+.2f} % [{value.low:+.2f}, {value.high:+.2f}]"


def share_text(value: Interval) -> str:
    """A share in per cent with its interval."""
    return f"{100 * value.mean:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def p_text(value: float) -> str:
    """A p-value with two digits."""
    return "< 1e-4" if value < 1e-4 else f"{value:.2g}"


def grid(columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Aligned columns with a line below their names; the first to the left, all others to the right."""
    widths = [max(len(text) for text in (name, *cells)) for name, cells in columns]
    rows = [[name for name, _ in columns], *(list(row) for row in zip(*(cells for _, cells in columns), strict=True))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)
