"""What the cost is made of, policy beside policy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.plots.style import label, new_figure, scaled, tidy
from experiments.statistics import Interval

__all__ = ["cost_figure"]

#: One a term, so that a term has the same colour in every picture: Okabe & Ito's, then lighter and darker ones of them.
_TERMS = {
    "holding": "#0072b2",
    "transit_holding": "#56b4e9",
    "backlog": "#d55e00",
    "lost_sales": "#e69f00",
    "purchase": "#999999",
    "freight": "#009e73",
    "fixed_order": "#cc79a7",
    "resource": "#f0e442",
    "emissions": "#4d4d4d",
    "revenue": "#a6dba0",
    "waste": "#7b3294",
    "contract": "#c2a5cf",
    "expediting": "#8c510a",
    "terminal value": "#c7eae5",
}
#: A second sign beside the colour.
_HATCHES = {
    "transit_holding": "//",
    "lost_sales": "..",
    "fixed_order": "\\\\",
    "revenue": "xx",
    "contract": "--",
    "terminal value": "oo",
}
_INTERVAL = ("mean", "low", "high")


def cost_figure(terms: Mapping[str, Mapping[str, float]], costs: Mapping[str, Interval], *, unit: str) -> Figure:
    """Stacked bars of the cost terms, with the whole cost and its interval.

    Parameters
    ----------
    terms
        Policy -> term -> mean, money per period. Earnings are negative and stand to the left.
    costs
        Policy -> mean cost with its interval.
    unit
        Of all of them.
    """
    names = [name for name in next(iter(terms.values())) if any(abs(of.get(name, 0.0)) > 0.0 for of in terms.values())]
    largest = max((abs(of.get(name, 0.0)) for of in terms.values() for name in names), default=0.0)
    factor, size = scaled(max([largest, *(abs(value.high) for value in costs.values())]))
    figure = new_figure(10, 1.6 + 0.55 * len(terms) + 0.25 * (len(names) // 5))
    axis = figure.subplots()
    places = np.arange(len(terms))
    right, left = np.zeros(len(terms)), np.zeros(len(terms))
    for name in names:
        values = factor * np.array([of.get(name, 0.0) for of in terms.values()])
        base = np.where(values >= 0.0, right, left)
        axis.barh(
            places,
            values,
            0.62,
            left=base,
            color=_TERMS.get(name, "#dddddd"),
            hatch=_HATCHES.get(name, ""),
            edgecolor="white",
            lw=0.5,
            label=label(name),
        )
        right, left = right + np.maximum(values, 0.0), left + np.minimum(values, 0.0)
    means, low, high = (factor * np.array([getattr(value, key) for value in costs.values()]) for key in _INTERVAL)
    axis.errorbar(
        means,
        places,
        xerr=np.maximum([means - low, high - means], 0.0),
        fmt="D",
        ms=5,
        color="black",
        capsize=4,
        lw=1.4,
        mfc="white",
        label="cost, with its interval",
    )
    axis.set_yticks(places, [label(name) for name in terms])
    axis.invert_yaxis()
    axis.set_xlabel(f"{size}{unit}")
    axis.axvline(0.0, color="black", lw=0.6)
    tidy(axis)
    figure.legend(loc="outside upper center", ncols=min(len(names) + 1, 6), frameon=False, fontsize="small")
    return figure
