"""A comparison as files: plain data, JSON, CSV, text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.statistics import Interval
from twin.economics import COST_TERMS
from twin.files import write_text

if TYPE_CHECKING:
    from experiments.results import Comparison, Pair, Row

__all__ = ["comparison_csv", "comparison_data", "pairs_csv", "paths_csv", "save_comparison"]


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """Everything but the costs path by path."""
    network = comparison.network
    return {
        "network": network.name,
        "currency": network.currency,
        "period": network.period,
        "horizon": comparison.horizon,
        "evaluation": comparison.evaluation.model_dump(),
        "known_values": [value.model_dump() for value in network.known_values],
        "hindsight_bound": None
        if comparison.bound is None
        else {
            **comparison.bound.cost.to_dict(),
            "paths": comparison.bound.paths,
            "reference": comparison.bound.reference,
        },
        "policies": [_row(row) for row in comparison.rows],
        "pairs": [_pair(pair) for pair in comparison.pairs],
        "by_outage": [group.to_dict() for group in comparison.groups],
        "paths_failing_at_end": comparison.failing_at_end,
    }


def _plain(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else value.to_dict()


def _row(row: Row) -> dict[str, Any]:
    return {
        "policy": row.policy,
        "training_seeds": row.seeds,
        "cost": row.cost.to_dict(),
        "cost_interquartile_mean": row.middle.to_dict(),
        "cost_cvar95": _plain(row.tail),
        "fill_rate": row.fill_rate,
        "fill_rate_interval": row.service.to_dict(),
        "terms": row.terms,
        "term_intervals": {name: value.to_dict() for name, value in row.term_intervals.items()},
        "exact_cost": row.exact,
        "gap_to_optimum_percent": _plain(row.gap),
        "over_hindsight_bound_percent": _plain(row.over_bound),
        "gap_closed_percent": _plain(row.gap_closed),
        "differences": {name: value.to_dict() for name, value in row.differences.items()},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "policy": pair.policy,
        "reference": pair.reference,
        "difference": pair.difference.to_dict(),
        "difference_percent": _plain(pair.percent),
        "probability_of_improvement": pair.improvement.to_dict(),
        "p": pair.p,
        "p_holm": pair.p_holm,
        "verdict": pair.verdict,
    }


def comparison_csv(comparison: Comparison) -> str:
    """One row per policy."""
    references = list(dict.fromkeys(name for row in comparison.rows for name in row.differences))
    columns = ["policy", "training_seeds", *_names("cost"), *_names("iqm"), *_names("cvar95")]
    columns += _names("fill_rate")
    columns += [f"cost_{term.name}" for term in COST_TERMS]
    columns += ["exact_cost", *_names("gap_percent"), *_names("over_bound_percent"), *_names("gap_closed_percent")]
    for reference in references:
        columns += _names(f"difference_{reference}")
    rows = []
    for row in comparison.rows:
        data: dict[str, Any] = {"policy": row.policy, "training_seeds": row.seeds, "exact_cost": row.exact}
        data |= _columns("cost", row.cost) | _columns("iqm", row.middle) | _columns("cvar95", row.tail)
        data |= _columns("fill_rate", row.service) | {f"cost_{name}": value for name, value in row.terms.items()}
        data |= _columns("gap_percent", row.gap) | _columns("over_bound_percent", row.over_bound)
        data |= _columns("gap_closed_percent", row.gap_closed)
        for name, value in row.differences.items():
            data |= _columns(f"difference_{name}", value)
        rows.append(data)
    return _written(columns, rows)


def pairs_csv(comparison: Comparison) -> str:
    """One row per pair."""
    columns = ["policy", "reference", *_names("difference"), *_names("percent"), *_names("improvement")]
    columns += ["p", "p_holm", "verdict"]
    rows = [
        {
            "policy": pair.policy,
            "reference": pair.reference,
            **_columns("difference", pair.difference),
            **_columns("percent", pair.percent),
            **_columns("improvement", pair.improvement),
            "p": pair.p,
            "p_holm": pair.p_holm,
            "verdict": pair.verdict,
        }
        for pair in comparison.pairs
    ]
    return _written(columns, rows)


def paths_csv(comparison: Comparison, seeds: Mapping[str, Sequence[int]]) -> str:
    """One row per policy, training seed and path: the costs that all the rest is made of.

    Parameters
    ----------
    seeds
        Training seeds of each policy.
    """
    rows = [
        {"policy": name, "training_seed": seed, "path": path, "cost": cost}
        for name, table in comparison.costs.items()
        for seed, line in zip(seeds[name], table.tolist(), strict=True)
        for path, cost in enumerate(line)
    ]
    return _written(["policy", "training_seed", "path", "cost"], rows)


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``comparison.json``, ``comparison.csv`` and ``comparison.txt``, each whole or not at all."""
    write_text(folder / "comparison.json", json.dumps(comparison_data(comparison), indent=2) + "\n")
    write_text(folder / "comparison.csv", comparison_csv(comparison))
    write_text(folder / "comparison.txt", comparison.table() + "\n")


def _names(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def _columns(name: str, value: Interval | None) -> dict[str, float]:
    if value is None:
        return {}
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def _written(columns: list[str], rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
