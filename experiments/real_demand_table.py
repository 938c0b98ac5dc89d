"""The table of the real-demand study: every policy on the same series and weeks, with intervals over series."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.real_demand_config import RealDemandConfig
from experiments.real_demand_study import REFERENCES, Played, Study
from experiments.statistics import Interval
from twin.economics import fill_rate
from twin.files import write_text

__all__ = ["RealDemandRow", "RealDemandTable", "clustered_mean", "real_demand_table", "widest_interval"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RealDemandRow:
    """One policy on the weeks reported.

    Attributes
    ----------
    policy
        Its name; ``learned`` orders up to the mean of the levels of the training seeds.
    cost
        Mean per series-week, each series in its own units: the widest interval of those by series, SKU and centre.
    volume_cost
        All costs over all orders, in money per unit ordered.
    tune_cost
        As ``cost``, on the tune weeks, on which its parameters were chosen or its training stopped.
    fill_rate
        Share of orders met at once, series counting alike.
    differences, volume_differences
        Against each reference: this minus the reference, paired by series, the widest interval as above.
    better
        Reference -> share of series on which this costs less, equal costs counting half, with its widest interval. A
        few series that grow many times over carry much of the mean; here they count like any other.
    by_group
        Reference -> grouping -> the interval of ``differences`` that draws whole groups.
    choice
        Parameters, or how the training went.
    series
        (n,) costs of every series scored.
    """

    policy: str
    cost: Interval
    volume_cost: float
    tune_cost: float
    fill_rate: float
    differences: dict[str, Interval]
    volume_differences: dict[str, Interval]
    better: dict[str, Interval]
    by_group: dict[str, dict[str, Interval]]
    choice: dict[str, object]
    series: FloatArray


@dataclass(frozen=True)
class RealDemandTable:
    """The result.

    Attributes
    ----------
    names
        Of the series scored.
    series, tune_series, training_series
        How many series are scored, were tuned on, and trained on.
    share
        Of all orders of the weeks reported, what the scored series stand for.
    """

    config: RealDemandConfig
    rows: tuple[RealDemandRow, ...]
    weeks: int
    names: tuple[str, ...]
    series: int
    tune_series: int
    training_series: int
    share: float

    def row(self, policy: str) -> RealDemandRow:
        """The row of a policy."""
        return next(row for row in self.rows if row.policy == policy)

    def text(self) -> str:
        """For the screen."""
        header = [
            "policy",
            "cost a series-week",
            "tune weeks",
            "fill rate",
            *(f"over {name}, %" for name in REFERENCES),
        ]
        header += [f"better than {name} on, %" for name in REFERENCES]
        header += ["cost a unit ordered", f"over {REFERENCES[0]}, %"]
        body = [self._cells(row) for row in self.rows]
        widths = [max(len(line[k]) for line in [header, *body]) for k in range(len(header))]
        lines = [
            "  ".join(
                cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in [header, ["-" * w for w in widths], *body]
        ]
        return "\n".join([*lines, "", self._footer()])

    def _cells(self, row: RealDemandRow) -> list[str]:
        reference = {name: self.row(name) for name in REFERENCES}
        shares = [_percent(row.differences.get(name), reference[name].cost.mean) for name in REFERENCES]
        by_volume = _percent(row.volume_differences.get(REFERENCES[0]), reference[REFERENCES[0]].volume_cost)
        return [
            row.policy,
            f"{row.cost.mean:.3f} [{row.cost.low:.3f}, {row.cost.high:.3f}]",
            f"{row.tune_cost:.3f}",
            f"{100 * row.fill_rate:.1f} %",
            *shares,
            *(_percent(row.better.get(name), 1.0, sign="") for name in REFERENCES),
            f"{row.volume_cost:.3f}",
            by_volume,
        ]

    def _footer(self) -> str:
        c = self.config
        tuned = c.train_weeks + c.tune_weeks
        told = "the decision of its own week" if c.forecast_lag == 0 else f"{c.forecast_lag} week(s) later"
        return (
            f"Weeks 1-{c.train_weeks} train the learned policy ({self.training_series} series), weeks "
            f"{c.train_weeks + 1}-{tuned} tune the rules and stop the training ({self.tune_series} series), weeks "
            f"{tuned + 1}-{self.weeks} are reported ({self.series} series, {100 * self.share:.0f} % of all orders "
            f"then). What is called _long was tuned or, for as many "
            f"gradient steps, trained anew on weeks 1-{tuned}. A series counts where it was listed in "
            f"{c.active_least} of the {c.active_window} weeks before; its unit is its mean weekly orders until then.\n"
            f"Assumed: lead time {c.lead_time} weeks, holding {c.holding:g} and penalty {c.penalty:g} per unit and "
            f"week, backlog; a forecast is known at {told}. Perfect foresight costs what the row of that name says, "
            f"so there is no other bound.\n{100 * c.confidence:g} % bootstrap intervals of paired differences, the "
            f"widest of those that draw series, SKUs or distribution centres."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "config": self.config.model_dump(mode="json"),
            "weeks": self.weeks,
            "series": {"train": self.training_series, "tune": self.tune_series, "test": self.series},
            "share_of_orders": self.share,
            "policies": [
                {
                    "policy": row.policy,
                    "cost": row.cost.to_dict(),
                    "cost_per_unit_ordered": row.volume_cost,
                    "tune_cost": row.tune_cost,
                    "fill_rate": row.fill_rate,
                    "differences": {name: value.to_dict() for name, value in row.differences.items()},
                    "differences_per_unit_ordered": {
                        name: value.to_dict() for name, value in row.volume_differences.items()
                    },
                    "share_of_series_better": {name: value.to_dict() for name, value in row.better.items()},
                    "differences_by_group": {
                        name: {group: value.to_dict() for group, value in found.items()}
                        for name, found in row.by_group.items()
                    },
                    "choice": row.choice,
                }
                for row in self.rows
            ],
        }

    def csv(self) -> str:
        """One row per policy."""
        buffer = io.StringIO()
        columns = ["policy", "cost", "cost_low", "cost_high", "cost_per_unit_ordered", "tune_cost", "fill_rate"]
        columns += [f"difference_{name}{suffix}" for name in REFERENCES for suffix in ("", "_low", "_high")]
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            data: dict[str, Any] = {"policy": row.policy, "cost_per_unit_ordered": row.volume_cost}
            data |= {"tune_cost": row.tune_cost, "fill_rate": row.fill_rate} | _columns("cost", row.cost)
            for name, value in row.differences.items():
                data |= _columns(f"difference_{name}", value)
            writer.writerow(data)
        return buffer.getvalue()

    def series_csv(self) -> str:
        """One row per series scored: what every policy cost on it, a week."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["series", *(row.policy for row in self.rows)])
        for n, name in enumerate(self.names):
            writer.writerow([name, *(float(row.series[n]) for row in self.rows)])
        return buffer.getvalue()

    def save(self, folder: Path) -> None:
        """Write ``table.txt``, ``table.csv``, ``table.json`` and ``series.csv``, each whole or not at all."""
        write_text(folder / "series.csv", self.series_csv())
        write_text(folder / "table.txt", self.text() + "\n")
        write_text(folder / "table.csv", self.csv())
        write_text(folder / "table.json", json.dumps(self.to_dict(), indent=2) + "\n")


def real_demand_table(study: Study, played: Mapping[str, Played]) -> RealDemandTable:
    """Compare everything on the weeks reported.

    Parameters
    ----------
    played
        Policy -> what it did, in the order of the table.
    """
    part, panel, config = study.parts["test"], study.panel, study.config
    columns = {"series": panel.names, "sku": panel.skus, "centre": panel.centres}
    groups = {kind: tuple(np.array(column)[part.series]) for kind, column in columns.items()}
    kinds = list(groups.values())
    options: dict[str, Any] = {"confidence": config.confidence, "resamples": config.resamples}
    # A series' cost over the mean orders of all: their mean over series is all costs over all orders.
    orders = (study.unit[:, None] * study.signals.orders)[part.series, part.first : part.end].mean(axis=1)
    size = study.unit[part.series] / part.weight[part.series] / orders.mean()

    costs = {name: part.score(value.outcome.cost) for name, value in played.items()}
    rows = tuple(
        RealDemandRow(
            name,
            widest_interval(costs[name], kinds, **options),
            float((costs[name] * size).mean()),
            value.tune_cost,
            float(fill_rate(part.score(value.outcome.served).sum(), part.score(value.outcome.asked).sum())),
            {r: widest_interval(costs[name] - costs[r], kinds, **options) for r in REFERENCES if r != name},
            {r: widest_interval((costs[name] - costs[r]) * size, kinds, **options) for r in REFERENCES if r != name},
            {r: widest_interval(_better(costs[name], costs[r]), kinds, **options) for r in REFERENCES if r != name},
            {
                r: {kind: clustered_mean(costs[name] - costs[r], g, **options) for kind, g in groups.items()}
                for r in REFERENCES
                if r != name
            },
            value.choice,
            costs[name],
        )
        for name, value in played.items()
    )
    test, tune_series, train = (int(study.parts[name].series.sum()) for name in ("test", "tune", "train"))
    names = tuple(np.array(panel.names)[part.series])
    return RealDemandTable(config, rows, panel.weeks, names, test, tune_series, train, study.share)


def _better(costs: FloatArray, reference: FloatArray) -> FloatArray:
    return np.asarray((costs < reference) + 0.5 * (costs == reference))


def widest_interval(
    values: FloatArray, groups: Sequence[Sequence[str]], *, confidence: float = 0.95, resamples: int = 5000
) -> Interval:
    """The widest of the intervals that :func:`clustered_mean` gives for several groupings of the values."""
    found = [clustered_mean(values, names, confidence=confidence, resamples=resamples) for names in groups]
    return max(found, key=lambda interval: interval.high - interval.low)


def clustered_mean(
    values: FloatArray, clusters: Sequence[str], *, confidence: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """Mean of values that are alike within clusters, with a percentile bootstrap interval that draws whole clusters.

    Cameron, Gelbach & Miller (2008), Review of Economics and Statistics 90(3), "pairs cluster bootstrap".

    Parameters
    ----------
    values, clusters
        (n,) numbers, and what each belongs to.
    seed
        Of the resampling; it has no part in any simulation.
    """
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    total, count = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(seed).integers(0, len(count), (resamples, len(count)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return Interval(float(values.mean()), float(low), float(high))


def _columns(name: str, value: Interval) -> dict[str, float]:
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def _percent(value: Interval | None, reference: float, sign: str = "+") -> str:
    if value is None:
        return "-"
    share = 100.0 / abs(reference) if reference else 0.0
    mean, low, high = (format(share * number, f"{sign}.1f") for number in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}]"
