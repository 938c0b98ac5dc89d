"""The picture of an episode: who works, who is ordered from, stock and backlog, and what it has cost so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.episode_trace import Trace
from experiments.plots.style import COLOURS, new_figure

__all__ = ["episode_figure"]


def episode_figure(traces: dict[str, Trace], title: str) -> Figure:
    """The same path under each policy.

    Parameters
    ----------
    traces
        Policy -> what happened; the same network, path and number of periods.
    title
        Headline.
    """
    first = next(iter(traces.values()))
    network = first.compiled.network
    figure = new_figure(11, 7.6 + 2.3 * len(traces))
    rows = 3 + len(traces)
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[0.8, *([1.1] * len(traces)), 1.2, 1.2])
    time = np.arange(1, first.periods + 1)
    unit = " + ".join(dict.fromkeys(product.unit for product in network.products.values()))

    disrupted = np.flatnonzero(first.compiled.resource_share_when_down < 1.0)
    for place, r in enumerate(disrupted):
        share = first.availability[:, r]
        axes[0].bar(time, 0.8 * share, 1.0, bottom=place + 0.1, color="#bbbbbb", lw=0)
        axes[0].bar(time, 0.8 * (share < 1.0), 1.0, bottom=place + 0.1, color=COLOURS[1], alpha=0.35, lw=0)
    axes[0].set_yticks([place + 0.5 for place in range(len(disrupted))])
    axes[0].set_yticklabels([first.compiled.resource_names[r] for r in disrupted])
    axes[0].set_ylabel("share that\nworks")

    for axis, (name, trace) in zip(axes[1:], traces.items(), strict=False):
        orders = trace.by_source()
        axis.stackplot(time, *orders.values(), step="mid", labels=list(orders), colors=_shades(len(orders)), lw=0)
        axis.set_ylabel(f"{name.replace('_', ' ')}:\nordered, {unit}")
        total = np.sum(list(orders.values()), axis=0)
        axis.set_ylim(top=1.3 * max(float(total.max()), 1e-9))  # room for the legend
        axis.legend(loc="upper right", ncols=len(orders), frameon=False, fontsize="small")

    stock, money = axes[-2], axes[-1]
    for colour, (name, trace) in zip(COLOURS, traces.items(), strict=False):
        stock.plot(time, trace.stock, color=colour, lw=1.6, label=name.replace("_", " "))
        stock.plot(time, -trace.backlog, color=colour, lw=1.0, ls=":")
        money.plot(time, np.cumsum(trace.costs.sum(axis=1)), color=colour, lw=1.8, label=name.replace("_", " "))
    stock.axhline(0.0, color="black", lw=0.6)
    stock.set_ylabel(f"on hand when deciding\n(line), owed (dots), {unit}")
    money.set_ylabel(f"cost so far,\n{network.currency}")
    stock.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(traces), frameon=False, borderaxespad=0.2)
    for axis in axes[1:]:
        axis.grid(alpha=0.25)
    axes[0].set_xlim(0.5, first.periods + 0.5)
    axes[-1].set_xlabel(network.period)
    figure.suptitle(title)
    return figure


def _shades(number: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["cividis"](x) for x in np.linspace(0.1, 0.95, max(2, number))]
