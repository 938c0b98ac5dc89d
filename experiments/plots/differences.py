"""Paired differences: how much more or less each policy costs, and how often it is the cheaper one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.plots.style import MUTED, label, new_figure, tidy
from experiments.results_text import interval_text
from experiments.statistics import Interval

__all__ = ["DrawnPair", "difference_figure"]

_VERDICTS = {"lower": ("#0072b2", "o"), "higher": ("#d55e00", "s"), "not decided": (MUTED, "D")}

_BESIDE: dict[str, Any] = {
    "textcoords": "offset points",
    "ha": "left",
    "va": "center",
    "fontsize": "small",
}


@dataclass(frozen=True)
class DrawnPair:
    """One line of the picture: who minus whom, the difference, the probability of improvement, and the verdict."""

    policy: str
    reference: str
    difference: Interval
    improvement: Interval
    verdict: str


def difference_figure(pairs: Sequence[DrawnPair], *, unit: str) -> Figure:
    """Intervals of the differences on the left, probabilities of improvement on the right.

    Parameters
    ----------
    pairs
        From top to bottom.
    unit
        Of the differences.
    """
    figure = new_figure(12, 1.7 + 0.44 * len(pairs))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1.0])
    for place, pair in enumerate(pairs):
        colour, mark = _VERDICTS[pair.verdict]
        _interval(left, place, pair.difference, colour, mark)
        text = interval_text(pair.difference, signed=True)
        left.annotate(text, (1.0, place), (8, 0), xycoords=("axes fraction", "data"), **_BESIDE)
        _interval(right, place, pair.improvement, colour, mark, factor=100.0)
    places = np.arange(len(pairs))
    left.set_yticks(
        places, [f"{label(pair.policy)}\nminus {label(pair.reference)}" for pair in pairs], fontsize="small"
    )
    left.set_ylim(len(pairs) - 0.4, -0.6)
    left.axvline(0.0, color="black", lw=0.8)
    left.locator_params(axis="x", nbins=5)  # so that long numbers keep apart
    _widen(left, [pair.difference for pair in pairs])
    left.set_xlabel(f"difference in cost, {unit}\n(left of 0: the first costs less)")
    right.axvline(50.0, color="black", lw=0.8)
    right.set_xlim(-3, 103)
    right.set_xlabel("paths on which the first costs less, %")
    for axis in (left, right):
        tidy(axis)
    seen = dict.fromkeys(pair.verdict for pair in pairs)
    handles = [
        left.plot([], [], color=_VERDICTS[verdict][0], marker=_VERDICTS[verdict][1], lw=1.6)[0] for verdict in seen
    ]
    words = {"lower": "costs less", "higher": "costs more", "not decided": "not decided"}
    figure.legend(
        handles,
        [words[verdict] for verdict in seen],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    return figure


def _widen(axis: Any, values: Sequence[Interval]) -> None:
    """A logarithmic scale on both sides of 0 where the small differences would not be seen beside the large."""
    axis.margins(x=0.06)
    reach = np.array([max(abs(value.low), abs(value.high)) for value in values])
    reach = reach[reach > 0.0]
    if len(reach) and reach.max() > 15.0 * reach.min():
        step = 10.0 ** np.floor(np.log10(reach.min()))
        axis.set_xscale("symlog", linthresh=step, linscale=0.5)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")


def _interval(axis: Any, place: int, value: Interval, colour: str, mark: str, factor: float = 1.0) -> None:
    axis.plot([factor * value.low, factor * value.high], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
    axis.plot(factor * value.mean, place, mark, color=colour, ms=6)
