"""Pictures of results: matplotlib, colour-blind safe, labelled with units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import actions_of
from agents.policy import Policy
from envs.core import Batch
from envs.task import Task
from twin.files import write_bytes

__all__ = ["COLOURS", "plot_trajectories", "trajectories"]

FloatArray = NDArray[np.float64]

#: Okabe & Ito (2008): distinguishable with every common form of colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


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
    out = {name: np.zeros((periods, paths)) for name in ("stock", "backlog", "orders", "cost")}
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
            out["orders"][t - warm_up] = result.orders[outside].sum(axis=0)
            out["cost"][t - warm_up] = result.costs.sum(axis=0)
    return out


def plot_trajectories(
    path: Path,
    policies: dict[str, tuple[Policy, Task]],
    *,
    seed: int,
    paths: int = 128,
    periods: int = 104,
    warm_up: int = 104,
) -> None:
    """Stock, backlog, orders and cost over time, policy beside policy: median, middle 80 % of paths, and one path.

    Parameters
    ----------
    path
        PNG file to write.
    policies
        Name -> (policy, its task); all tasks share one network.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    task = next(iter(policies.values()))[1]
    network = task.compiled.network
    unit = " + ".join(dict.fromkeys(product.unit for product in network.products.values()))
    panels = [
        ("stock", f"stock on hand,\nmillion {unit}", 1e-6),
        ("backlog", f"customer backlog,\nthousand {unit}", 1e-3),
        ("orders", f"ordered from suppliers,\nmillion {unit} a {network.period}", 1e-6),
        ("cost", f"cost,\nmillion {network.currency} a {network.period}", 1e-6),
    ]
    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for colour, (name, (policy, its_task)) in zip(COLOURS, policies.items(), strict=False):
        record = trajectories(policy, its_task, seed=seed, paths=paths, periods=periods, warm_up=warm_up)
        for axis, (quantity, _, factor) in zip(axes, panels, strict=True):
            _fan(axis, record[quantity] * factor, colour, name)
    for axis, (_, label, _) in zip(axes, panels, strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    axes[0].legend(loc="upper right", ncols=len(policies), frameon=False)
    axes[-1].set_xlabel(f"{network.period} (after {warm_up} of warm-up)")
    figure.suptitle(
        f"{network.name}: the same {paths} paths under each policy\n"
        "line: median; band: middle 80 % of paths; thin: one path"
    )
    canvas = FigureCanvasAgg(figure)
    from io import BytesIO

    buffer = BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    write_bytes(path, buffer.getvalue())


def _fan(axis: Any, values: FloatArray, colour: str, label: str) -> None:
    time = np.arange(1, len(values) + 1)
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
    axis.fill_between(time, low, high, color=colour, alpha=0.18, lw=0)
    axis.plot(time, middle, color=colour, lw=1.8, label=label.replace("_", " "))
    axis.plot(time, values[:, 0], color=colour, lw=0.7, alpha=0.8)
