"""Problem by problem: how far each policy is from the optimum, the rule or the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiments.plots.style import colours, label, new_figure, tidy
from experiments.statistics import Interval

__all__ = ["gap_figure"]

_MARKS = ("o", "s", "D", "^", "v", "P", "X")


def gap_figure(cells: Sequence[str], gaps: Mapping[str, Mapping[str, Sequence[Interval]]], *, xlabel: str) -> Figure:
    """A line a problem, a mark a policy and seed, with its interval where it has one.

    Parameters
    ----------
    cells
        Problems from top to bottom.
    gaps
        Policy -> problem -> one interval for each training seed.
    xlabel
        What a gap is, with its unit.
    """
    figure = new_figure(10, 1.5 + (0.3 if len(cells) > 8 else 0.5) * len(cells))
    axis = figure.subplots()
    places = {cell: k for k, cell in enumerate(cells)}
    for k, (colour, (name, found)) in enumerate(zip(colours(), gaps.items(), strict=False)):
        # Policies of one problem a little apart, so that none hides another.
        shift = 0.5 * (k / max(len(gaps) - 1, 1) - 0.5) if len(gaps) > 1 else 0.0
        points = [(places[cell] + shift, value) for cell, values in found.items() for value in values]
        for y, value in points:
            axis.plot([value.low, value.high], [y, y], color=colour, lw=1.6)
        x = [value.mean for _, value in points]
        axis.plot(x, [y for y, _ in points], _MARKS[k % len(_MARKS)], color=colour, ms=5, label=label(name))
    axis.axvline(0.0, color="black", lw=0.8)
    axis.set_yticks(range(len(cells)), cells, fontsize="small")
    axis.set_ylim(len(cells) - 0.4, -0.6)
    axis.set_xlabel(xlabel)
    tidy(axis)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize="small")
    return figure
