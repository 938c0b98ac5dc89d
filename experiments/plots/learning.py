"""Learning curves: cost on the validation paths while the policy learns, with the interval over seeds or paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.plots.style import MUTED, colours, label, new_figure, scaled, tidy
from experiments.statistics import Interval
from experiments.statistics_crossed import Bootstrap
from twin.errors import RunError

__all__ = ["LearningCurve", "learning_curve", "learning_figure", "validation_costs"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LearningCurve:
    """Validation cost of one configuration.

    Attributes
    ----------
    steps
        (K,) environment steps.
    costs
        K means with their intervals, money per period.
    seeds
        Training seeds behind it.
    """

    steps: NDArray[np.int64]
    costs: tuple[Interval, ...]
    seeds: int


def validation_costs(folder: Path) -> tuple[NDArray[np.int64], FloatArray]:
    """Steps (K,) and costs per period (K, paths) of a run's measurements on its validation paths.

    Raises
    ------
    RunError
        When the run has not measured anything yet.
    """
    file = folder / "evaluations.npz"
    if not file.is_file():
        raise RunError(f"{folder} holds no evaluations.npz: nothing has been measured yet")
    with np.load(file) as data:
        return data["timesteps"].astype(np.int64), -data["results"]


def learning_curve(folders: Sequence[Path], *, resamples: int = 1000) -> LearningCurve:
    """The curve of runs that differ in the training seed; at the steps that all of them have measured at.

    Validation paths belong to the training seed, so those of two runs are not the same: with several runs the interval
    is over the seeds, each with the mean of its paths, else over the paths.
    """
    found = [validation_costs(folder) for folder in folders]
    steps = found[0][0]
    for other, _ in found[1:]:
        steps = np.intersect1d(steps, other)
    tables = [costs[np.searchsorted(own, steps)] for own, costs in found]
    out = []
    for k in range(len(steps)):
        values = tables[0][k] if len(tables) == 1 else np.array([table[k].mean() for table in tables])
        bootstrap = Bootstrap(len(values), resamples=resamples)
        out.append(bootstrap.mean("curve", values[None, :]))
    return LearningCurve(steps, tuple(out), len(folders))


def learning_figure(
    curves: Mapping[str, LearningCurve], *, unit: str, levels: Mapping[str, float] | None = None
) -> Figure:
    """Cost over environment steps.

    Parameters
    ----------
    curves
        Name -> curve.
    unit
        Of the cost.
    levels
        Costs to draw as horizontal lines: tuned classical policies, a known optimum.
    """
    figure = new_figure(9, 4.6)
    axis = figure.subplots()
    levels = levels or {}
    most = max(
        [value.high for curve in curves.values() for value in curve.costs] + list(levels.values()), default=1.0, key=abs
    )
    factor, size = scaled(most)
    for colour, (name, curve) in zip(colours(), curves.items(), strict=False):
        means, low, high = (
            factor * np.array([getattr(v, key) for v in curve.costs]) for key in ("mean", "low", "high")
        )
        over = f"{curve.seeds} seeds" if curve.seeds > 1 else "1 seed"
        axis.fill_between(curve.steps, low, high, color=colour, alpha=0.18, lw=0)
        axis.plot(curve.steps, means, color=colour, lw=1.8, marker="o", ms=3, label=f"{label(name)} ({over})")
    for style, (name, value) in zip(("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))), levels.items(), strict=False):
        axis.axhline(factor * value, color=MUTED, lw=1.2, ls=style, label=label(name))
    _focus(axis, [curve.costs for curve in curves.values()], list(levels.values()), factor)
    axis.set_xlabel("environment steps")
    axis.set_ylabel(f"validation cost,\n{size}{unit}")
    axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g} M" if abs(x) >= 1e6 else f"{x / 1e3:g} k" if x else "0")
    tidy(axis)
    if curves or levels:
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    return figure


def _focus(axis: Any, curves: Sequence[Sequence[Interval]], levels: Sequence[float], factor: float) -> None:
    """Leave out of sight what policies cost in the first quarter of training where that would flatten all the rest."""
    late = [value for curve in curves for value in curve[-(-len(curve) // 4) :]]
    every = [value for curve in curves for value in curve]
    if not late:
        return
    low = factor * min([value.low for value in every] + list(levels))
    top = factor * max([value.high for value in late] + list(levels))
    if max(factor * value.high for value in every) - low > 4.0 * (top - low) > 0.0:
        axis.set_ylim(low - 0.08 * (top - low), top + 0.35 * (top - low))
