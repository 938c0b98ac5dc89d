"""The page of a training run, from what its folder holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.comparison_report import comparison_sections, stored_figures
from experiments.pages import Drawn, Section, definitions, details, figure_html, page, table_html
from experiments.plots.costs import cost_figure
from experiments.plots.learning import learning_curve, learning_figure
from experiments.results_text import number_text
from experiments.runs import RunFolder
from experiments.statistics import Interval
from twin.errors import RunError
from twin.network import Network

__all__ = ["run_page"]


def run_page(path: Path) -> str:
    """The page as HTML.

    Raises
    ------
    RunError
        When the run did not get far enough to have a network.
    """
    folder = RunFolder.open(path)
    info, config = folder.info(), folder.config()
    if not (path / "network.yaml").is_file():
        raise RunError(f"{path} holds no network.yaml; the run did not get far enough")
    network = Network.load(path / "network.yaml")
    unit = f"{network.currency} per {network.period}"
    comparison = _comparison(path)
    figures = [*_learning(path, config.agent.algorithm, network, unit, comparison), *_training_costs(path, unit)]
    sections = [
        Section("The run", _overview(info, unit)),
        Section("Learning", "".join(figure_html(drawn) for drawn in figures)),
        *(comparison_sections(comparison) if comparison else []),
        Section("Compared", "".join(figure_html(drawn) for drawn in stored_figures(comparison)) if comparison else ""),
        Section("Tuned classical policies", _baselines(path, unit)),
        Section(
            "Where it comes from",
            details("Configuration", config.model_dump(mode="json", exclude={"resume", "extend"}))
            + details("Versions", info.get("versions", {}))
            + details("Seeds", info.get("seeds", {}))
            + details("Network", network.to_dict()),
        ),
    ]
    return page(f"{config.name}: {config.agent.algorithm} on {network.name}", str(path), sections)


def _comparison(path: Path) -> dict[str, Any] | None:
    file = path / "comparison.json"
    if not file.is_file():
        return None
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def _overview(info: Mapping[str, Any], unit: str) -> str:
    best, seconds = info.get("best_validation_cost"), info.get("durations_s", {})
    shown = {
        "status": info.get("status", "unknown"),
        "algorithm": info.get("algorithm", "unknown"),
        "network": info.get("network", "unknown"),
        "environment steps": f"{info['timesteps']:,}" if "timesteps" in info else "none finished",
        "best validation cost": "-" if best is None else f"{number_text(best)} {unit}",
        "durations": ", ".join(f"{name} {value:,.0f} s" for name, value in seconds.items()) or "-",
    }
    return definitions(shown)


def _learning(path: Path, name: str, network: Network, unit: str, comparison: Mapping[str, Any] | None) -> list[Drawn]:
    if not (path / "evaluations.npz").is_file():
        return []
    levels, where = {}, ""
    if comparison is not None:
        levels = {row["policy"]: row["cost"]["mean"] for row in comparison["policies"] if row["policy"] != name}
        where = "; the best classical policy on the evaluation paths"
    else:
        stored = _stored(path / "baselines.json")
        levels = {key: entry["tuning_cost"] for key, entry in stored.items() if entry.get("tuning_cost") is not None}
        where = "; the best classical policy on its tuning paths, which flatters it"
    # The best alone: beside the best constant order all else would lie on one line.
    best = min(levels, key=lambda key: levels[key], default="")
    levels = {best: levels[best]} if best else {}
    optimum = network.known_value("optimal_cost")
    levels |= {} if optimum is None else {"optimum": optimum.value}
    figure = learning_figure({name: learning_curve([path])}, unit=unit, levels=levels)
    caption = f"Cost on the validation paths while learning, with the interval over the paths{where}."
    return [Drawn("learning", "Learning curve", caption, figure)]


def _training_costs(path: Path, unit: str) -> list[Drawn]:
    """What episodes cost at the beginning and at the end of training, exploration included."""
    file = path / "progress.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("rollout/cost")]
    if len(rows) < 2:
        return []
    chosen = {f"at {float(row['time/total_timesteps']):,.0f} steps": row for row in (rows[0], rows[-1])}
    prefix = "rollout/cost_"
    terms = {
        name: {key.removeprefix(prefix): float(row[key] or 0.0) for key in row if key.startswith(prefix)}
        for name, row in chosen.items()
    }
    costs = {name: Interval(*[float(row["rollout/cost"])] * 3) for name, row in chosen.items()}
    caption = "Cost terms of training episodes, exploration included, at the first and the last entry of the log."
    return [Drawn("training_costs", "Cost terms in training", caption, cost_figure(terms, costs, unit=unit))]


def _baselines(path: Path, unit: str) -> str:
    stored = _stored(path / "baselines.json")
    columns = [
        ("policy", list(stored)),
        (f"cost on its tuning paths, {unit}", [_cost(entry.get("tuning_cost")) for entry in stored.values()]),
        ("simulated periods", [f"{entry.get('simulated_periods', 0):,}" for entry in stored.values()]),
    ]
    return (
        table_html(columns) + details("Parameters", {key: e["parameters"] for key, e in stored.items()})
        if stored
        else ""
    )


def _cost(value: float | None) -> str:
    return "-" if value is None else number_text(value)


def _stored(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data
