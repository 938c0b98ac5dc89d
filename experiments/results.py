"""The comparison of policies on the same paths: as data, as a table on the screen, as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluation import Measurement
from experiments.config import EvaluationConfig
from experiments.statistics import FEWEST_IN_TAIL, Interval, mean_interval, paired_difference, tail_interval
from twin.economics import COST_TERMS
from twin.files import write_text
from twin.network import Network

__all__ = ["Comparison", "Row", "compare"]


@dataclass(frozen=True)
class Row:
    """One policy.

    Attributes
    ----------
    policy
        Its name.
    cost
        Mean cost per period with its interval, money.
    tail
        The same over the worst 5 % of paths (CVaR 95 %); None with few paths.
    fill_rate
        Share of demand met at once from stock.
    terms
        Mean of every cost term, money per period.
    differences
        Against each reference policy: mean of (this - reference) over the same paths, with its interval.
    """

    policy: str
    cost: Interval
    tail: Interval | None
    fill_rate: float
    terms: dict[str, float]
    differences: dict[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """Policies on the same evaluation paths."""

    network: Network
    evaluation: EvaluationConfig
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "network": self.network.name,
            "currency": self.network.currency,
            "period": self.network.period,
            "evaluation": self.evaluation.model_dump(),
            "known_values": [value.model_dump() for value in self.network.known_values],
            "policies": [
                {
                    "policy": row.policy,
                    "cost": row.cost.to_dict(),
                    "cost_cvar95": None if row.tail is None else row.tail.to_dict(),
                    "fill_rate": row.fill_rate,
                    "terms": row.terms,
                    "differences": {name: value.to_dict() for name, value in row.differences.items()},
                }
                for row in self.rows
            ],
        }

    def table(self) -> str:
        """The table for the screen."""
        unit = f"{self.network.currency} per {self.network.period}"
        percent = f"{100 * self.evaluation.confidence:g} %"
        references = list(dict.fromkeys(name for row in self.rows for name in row.differences))
        header = [
            "policy",
            f"cost, {unit} [{percent}]",
            "worst 5 % of paths",
            "fill rate",
            *(f"difference to {r}" for r in references),
        ]
        body = [
            [
                row.policy,
                _interval(row.cost),
                "-" if row.tail is None else _interval(row.tail),
                f"{100 * row.fill_rate:.1f} %",
                *(_difference(row.differences.get(r), self._reference_cost(r)) for r in references),
            ]
            for row in self.rows
        ]
        lines = [_grid([header, *body])]
        names = [term.name for term in COST_TERMS if any(row.terms[term.name] for row in self.rows)]
        lines.append("")
        lines.append(
            _grid(
                [["cost terms", *names], *([row.policy, *(_number(row.terms[n]) for n in names)] for row in self.rows)]
            )
        )
        for value in self.network.known_values:
            detail = f" ({value.detail})" if value.detail else ""
            lines.append(f"known {value.name.replace('_', ' ')}: {value.value:g}{detail}; {value.source}")
        e = self.evaluation
        lines.append(
            f"{e.paths} paths of {e.periods} periods after {e.warm_up} of warm-up, the same for all policies; "
            f"seeds of their own; bootstrap intervals; differences are paired"
        )
        return "\n".join(lines)

    def _reference_cost(self, name: str) -> float:
        return next(row.cost.mean for row in self.rows if row.policy == name)

    def csv(self) -> str:
        """One row per policy."""
        buffer = io.StringIO()
        references = list(dict.fromkeys(name for row in self.rows for name in row.differences))
        columns = ["policy", "cost", "cost_low", "cost_high", "cvar95", "cvar95_low", "cvar95_high", "fill_rate"]
        columns += [f"cost_{term.name}" for term in COST_TERMS]
        for reference in references:
            columns += [f"difference_{reference}{suffix}" for suffix in ("", "_low", "_high")]
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            data: dict[str, Any] = {"policy": row.policy, "fill_rate": row.fill_rate}
            data |= {} if row.tail is None else _columns("cvar95", row.tail)
            data |= _columns("cost", row.cost) | {f"cost_{name}": value for name, value in row.terms.items()}
            for name, value in row.differences.items():
                data |= _columns(f"difference_{name}", value)
            writer.writerow(data)
        return buffer.getvalue()

    def save(self, folder: Path) -> None:
        """Write ``comparison.json``, ``comparison.csv`` and ``comparison.txt``, each whole or not at all."""
        write_text(folder / "comparison.json", json.dumps(self.to_dict(), indent=2) + "\n")
        write_text(folder / "comparison.csv", self.csv())
        write_text(folder / "comparison.txt", self.table() + "\n")


def compare(
    network: Network,
    evaluation: EvaluationConfig,
    measurements: dict[str, Measurement],
    references: tuple[str, ...],
) -> Comparison:
    """Compare measurements that were made on the same paths.

    Parameters
    ----------
    measurements
        Policy name -> measurement, in the order of the table.
    references
        Names among them that every other policy is compared with.
    """
    options = {"confidence": evaluation.confidence, "resamples": evaluation.resamples}
    rows = tuple(
        Row(
            name,
            mean_interval(measured.cost, **options),  # type: ignore[arg-type]
            tail_interval(measured.cost, **options) if len(measured.cost) >= FEWEST_IN_TAIL else None,  # type: ignore[arg-type]
            measured.fill_rate,
            {term.name: float(measured.terms[c].mean()) for c, term in enumerate(COST_TERMS)},
            {
                reference: paired_difference(measured.cost, measurements[reference].cost, **options)  # type: ignore[arg-type]
                for reference in references
                if reference != name and reference in measurements
            },
        )
        for name, measured in measurements.items()
    )
    return Comparison(network, evaluation, rows)


def _columns(name: str, value: Interval) -> dict[str, float]:
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"


def _interval(value: Interval) -> str:
    return f"{_number(value.mean)} [{_number(value.low)}, {_number(value.high)}]"


def _difference(value: Interval | None, reference: float) -> str:
    if value is None:
        return "-"
    share = 100.0 / abs(reference) if reference else 0.0
    return f"{share * value.mean:+.2f} % [{share * value.low:+.2f}, {share * value.high:+.2f}]"


def _grid(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)
