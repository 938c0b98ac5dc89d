"""Stock, backlog, orders and cost over time: the middle of many paths, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.evaluation import actions_of
from agents.policy import Policy
from envs.core import Batch
from envs.task import Task
from experiments.plots.style import colours, figure_png, label, new_figure, scaled, tidy
from twin.files import write_bytes

__all__ = ["plot_trajectories", "trajectories", "trajectory_figure"]

FloatArray = NDArray[np.float64]


def trajectories(
    policy: Policy, task: Task, *, seed: int, paths: int, periods: int, warm_up: int
) -> dict[str, FloatArray]:
    """Run a policy and record totals over the network.

    Returns
    -------
    dict
        ``stock``, ``backlog``, ``orders`` (units) and ``cost`` (money), each of shape (periods, paths). Units of
        different products are added up.
    """
    batch = Batch(task, paths)
    slots = np.arange(paths, dtype=np.uint32)
    observation = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    out = {name: np.zeros((periods, paths)) for name in ("stock", "backlog", "lost", "orders", "cost")}
    # Only what comes from outside: a unit passed on inside the network is not ordered twice.
    top = task.compiled.topology
    outside = np.flatnonzero(np.diff(top.in_ptr) == 0)
    state, start = None, np.ones(paths, dtype=np.bool_)
    for t in range(warm_up + periods):
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(paths, dtype=np.bool_)
        result = batch.step(action)
        observation = result.observation
        if t >= warm_up:
            arrays = batch.twin.state.arrays
            out["stock"][t - warm_up] = arrays.on_hand.sum(axis=0)
            out["backlog"][t - warm_up] = arrays.backlog.sum(axis=0)
            out["lost"][t - warm_up] = arrays.lost.sum(axis=0)
            out["orders"][t - warm_up] = result.orders[outside].sum(axis=0)
            out["cost"][t - warm_up] = result.costs.sum(axis=0)
    return out


def trajectory_figure(
    policies: Mapping[str, tuple[Policy, Task]], *, seed: int, paths: int = 128, periods: int = 104, warm_up: int = 104
) -> Figure:
    """The same paths under each policy: median, middle 80 % of paths, and one path.

    Parameters
    ----------
    policies
        Name -> (policy, its task); all tasks share one network.
    seed
        World seed.
    """
    task = next(iter(policies.values()))[1]
    network = task.compiled.network
    if task.finite:
        warm_up, periods = 0, task.horizon
    records = {
        name: trajectories(policy, its, seed=seed, paths=paths, periods=periods, warm_up=warm_up)
        for name, (policy, its) in policies.items()
    }
    unit = " + ".join(dict.fromkeys(product.unit for product in network.products.values()))
    a_period = f"a {network.period}"
    panels = [
        ("stock", "stock on hand", unit),
        ("backlog", "customer backlog", unit),
        ("lost", "lost sales", f"{unit} {a_period}"),
        ("orders", "ordered from suppliers", f"{unit} {a_period}"),
        ("cost", "cost", f"{network.currency} {a_period}"),
    ]
    # A network loses what another owes: the panel of neither is shown where nothing happens in it.
    panels = [panel for panel in panels if any(record[panel[0]].any() for record in records.values())]
    # Bands on top of each other are told apart for two policies, not for more.
    columns = [[name] for name in records] if len(records) > 2 else [list(records)]
    figure = new_figure(max(11.0, 3.6 * len(columns)), 1.2 + 2.0 * len(panels))
    grid = figure.subplots(len(panels), len(columns), sharex=True, sharey="row", squeeze=False)
    colour_of = dict(zip(records, colours(), strict=False))
    for row, (quantity, title, words) in zip(grid, panels, strict=True):
        factor, size = scaled(max(float(np.quantile(record[quantity], 0.9)) for record in records.values()))
        for axis, names in zip(row, columns, strict=True):
            for name in names:
                _fan(axis, records[name][quantity] * factor, colour_of[name], label(name))
            tidy(axis)
            axis.margins(x=0)
        row[0].set_ylabel(f"{title},\n{size}{words}")
        if all((record[quantity] >= 0.0).all() for record in records.values()):
            row[0].set_ylim(bottom=0)
    if len(columns) > 1:
        for axis, (name,) in zip(grid[0], columns, strict=True):
            axis.set_title(label(name), fontsize="medium", color=colour_of[name])
    else:
        grid[0, 0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    for axis in grid[-1]:
        axis.set_xlabel(f"{network.period} (after {warm_up} of warm-up)" if warm_up else network.period)
    figure.suptitle(
        f"{network.name}: the same {paths} paths under each policy\n"
        "line: median; band: middle 80 % of paths; thin: one path",
        fontsize="medium",
    )
    return figure


def plot_trajectories(
    path: Path,
    policies: Mapping[str, tuple[Policy, Task]],
    *,
    seed: int,
    paths: int = 128,
    periods: int = 104,
    warm_up: int = 104,
) -> None:
    """Write :func:`trajectory_figure` as a PNG file, whole or not at all."""
    figure = trajectory_figure(policies, seed=seed, paths=paths, periods=periods, warm_up=warm_up)
    write_bytes(path, figure_png(figure))


def _fan(axis: Any, values: FloatArray, colour: str, name: str) -> None:
    time = np.arange(1, len(values) + 1)
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
    axis.fill_between(time, low, high, color=colour, alpha=0.18, lw=0)
    axis.plot(time, middle, color=colour, lw=1.8, label=name)
    axis.plot(time, values[:, 0], color=colour, lw=0.6, alpha=0.55)
