"""Policy maps: what is ordered as a function of two fields of the state, a learned policy beside the optimal one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.exact import exact_problem
from agents.oracles.dp import optimum
from agents.policy import Policy
from envs.task import Task
from experiments.plots.style import label, new_figure
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ConfigError, did_you_mean
from twin.orders import feasible_orders
from twin.state import TwinState, empty_state

__all__ = ["StateGrid", "policy_map_figure"]

FloatArray = NDArray[np.float64]
_FIELD = re.compile(r"^(on_hand|backlog|arriving)(?:\[(.*?)(?::(\d+))?\])?$")


@dataclass(frozen=True)
class StateGrid:
    """States in which two numbers take every combination of values, and all others are fixed.

    Attributes
    ----------
    compiled
        The network.
    x, y
        Fields: ``on_hand[<stock point>]``, ``backlog[<demand>]``, or ``arriving[<arc>:<k>]``, what an arc brings at the
        k-th receipt from now. Without a bracket, or with ``arriving[:k]``, of the only one there is.
    x_values, y_values
        Units.
    fixed
        Other fields -> units; 0 where nothing is said.
    """

    compiled: CompiledNetwork
    x: str
    y: str
    x_values: Sequence[float]
    y_values: Sequence[float]
    fixed: Mapping[str, float]

    def state(self) -> TwinState:
        """One replica for each combination, x turning fastest.

        Raises
        ------
        ConfigError
            When a field does not exist, with the nearest match.
        """
        x, y = np.meshgrid(np.asarray(self.x_values, dtype=np.float64), np.asarray(self.y_values, dtype=np.float64))
        state = empty_state(self.compiled, x.size)
        for field, values in {**self.fixed, self.x: x.ravel(), self.y: y.ravel()}.items():
            self._write(state, field, np.broadcast_to(np.asarray(values, dtype=np.float64), x.size))
        return state

    def orders(self, policy: Policy, task: Task) -> FloatArray:
        """Units that a policy orders, (A, len(y), len(x)), as the network places them; at the start of an episode."""
        state = self.state()
        twin = Twin(self.compiled).at(state)
        position = twin.positions()
        observation = task.observe(twin, position, np.full(state.replicas, float(task.horizon)))
        action, _ = policy.predict(observation, None, np.ones(state.replicas, dtype=np.bool_), deterministic=True)
        asked = task.decode(np.asarray(action), twin, position)
        top = self.compiled.topology
        placed = feasible_orders(asked, top.arc_minimum, top.arc_lot, top.arc_maximum)
        return np.asarray(placed, dtype=np.float64).reshape(-1, len(self.y_values), len(self.x_values))

    def optimal_orders(self) -> FloatArray:
        """The same of the optimal policy, by dynamic programming; NaN in states that it never lets happen.

        Raises
        ------
        ConfigError
            When the network is no problem that can be solved exactly (:func:`agents.exact.exact_problem`).
        """
        problem = exact_problem(self.compiled)
        arrays, top = self.state().arrays, self.compiled.topology
        regular = int(np.argmax(top.arc_fixed_lead))
        first = int(top.pipe_ptr[regular])
        net = arrays.on_hand[0] - (arrays.backlog[0] if len(arrays.backlog) else 0.0)
        states = np.column_stack([net, *arrays.pipeline[first : first + problem.lead_time - 1]]).astype(np.int64)
        table = optimum(problem).policy
        out = np.full((len(top.arc_fixed_lead), len(states)), np.nan)
        due = states[:, 1:]
        inside = (states[:, 0] >= table.low) & (states.sum(1) <= table.top) & (due <= table.most).all(1)
        row = (due * (table.most + 1) ** np.arange(due.shape[1] - 1, -1, -1)).sum(axis=1)
        known = np.flatnonzero(inside)
        known = known[table.regular[row[known], states[known, 0] - table.low] >= 0]
        if len(known):
            found = np.asarray(table(states[known])).reshape(len(known), -1)
            out[regular, known] = found[:, 0]
            if found.shape[1] > 1:
                out[int(np.argmin(top.arc_fixed_lead)), known] = found[:, 1]
        return out.reshape(-1, len(self.y_values), len(self.x_values))

    def unit(self, field: str) -> str:
        """Unit of a field."""
        kind, place, _ = self._place(field)
        compiled, products = self.compiled, self.compiled.network.products
        if kind == "backlog":
            return products[list(compiled.network.demands.values())[place].product].unit
        stock = place if kind == "on_hand" else int(compiled.topology.arc_destination[place])
        return products[compiled.stock_names[stock].rpartition("/")[2]].unit

    def _write(self, state: TwinState, field: str, values: FloatArray) -> None:
        kind, place, receipt = self._place(field)
        arrays, top = state.arrays, self.compiled.topology
        if kind == "on_hand":
            arrays.on_hand[place] = values
        elif kind == "backlog":
            arrays.backlog[place] = values
        else:
            arrays.in_transit[place] += values - arrays.pipeline[int(top.pipe_ptr[place]) + receipt - 1]
            arrays.pipeline[int(top.pipe_ptr[place]) + receipt - 1] = values

    def _place(self, field: str) -> tuple[str, int, int]:
        """Kind, row, and receipt of a field."""
        match = _FIELD.match(field)
        if match is None:
            kinds = ("on_hand", "backlog", "arriving")
            raise ConfigError(
                f"no field '{field}' of the state (allowed: on_hand[<stock point>], backlog[<demand>], "
                f"arriving[<arc>:<receipt>]){did_you_mean(field.partition('[')[0], kinds)}"
            )
        kind, entity, receipt = match[1], match[2] or "", match[3]
        names = {
            "on_hand": self.compiled.stock_names,
            "backlog": self.compiled.demand_names,
            "arriving": self.compiled.arc_names,
        }[kind]
        if not entity and len(names) == 1:
            entity = names[0]
        if entity not in names:
            raise ConfigError(
                f"{field}: '{entity}' is not on this network (allowed: {', '.join(names)}){did_you_mean(entity, names)}"
            )
        place = names.index(entity)
        if kind != "arriving":
            return kind, place, 0
        slots = int(np.diff(self.compiled.topology.pipe_ptr)[place])
        if receipt is None or not 1 <= int(receipt) <= slots:
            raise ConfigError(f"{field}: say which receipt, as in arriving[{entity}:1] (allowed: 1 to {slots})")
        return kind, place, int(receipt)


def policy_map_figure(grid: StateGrid, orders: Mapping[str, FloatArray], *, arc: int = 0) -> Figure:
    """One map for each policy, all on one scale.

    Parameters
    ----------
    grid
        The states.
    orders
        Policy -> what :meth:`StateGrid.orders` or :meth:`StateGrid.optimal_orders` found. NaN is left white.
    arc
        Which arc's order is shown.
    """
    maps = {name: found[arc] for name, found in orders.items()}
    most = float(np.nanmax([np.nanmax(found) for found in maps.values()]))
    least = float(np.nanmin([np.nanmin(found) for found in maps.values()]))
    whole = all(bool(np.all(np.isnan(found) | (found % 1.0 == 0.0))) for found in maps.values())
    figure = new_figure(1.2 + 3.6 * len(maps), 4.2)
    axes = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    xs, ys = np.asarray(grid.x_values, dtype=np.float64), np.asarray(grid.y_values, dtype=np.float64)
    norm = BoundaryNorm(np.arange(least - 0.5, most + 1.0), 256) if whole and most - least < 24 else None
    extent = _extent(xs, ys)
    image: Any = None
    for axis, (name, found) in zip(axes, maps.items(), strict=True):
        scale = {"norm": norm} if norm is not None else {"vmin": least, "vmax": most}
        image = axis.imshow(
            found, origin="lower", extent=extent, aspect="auto", cmap="cividis", interpolation="nearest", **scale
        )
        axis.set_title(label(name), fontsize="medium")
        axis.set_xlabel(f"{_field_label(grid.x)}, {grid.unit(grid.x)}")
    axes[0].set_ylabel(f"{_field_label(grid.y)}, {grid.unit(grid.y)}")
    ticks = np.arange(least, most + 1.0, max(1.0, np.ceil((most - least) / 8))) if whole else None
    name = grid.compiled.arc_names[arc] if len(grid.compiled.arc_names) > 1 else ""
    product = grid.compiled.stock_names[int(grid.compiled.topology.arc_destination[arc])].rpartition("/")[2]
    unit = grid.compiled.network.products[product].unit
    bar = figure.colorbar(image, ax=list(axes), ticks=ticks)
    bar.set_label(f"order{f' on {name}' if name else ''}, {unit}")
    fixed = ", ".join(f"{_field_label(field)} = {value:g}" for field, value in grid.fixed.items())
    figure.suptitle(
        grid.compiled.network.name
        + (f"; {fixed}" if fixed else "")
        + ("; white: never reached" if any(np.isnan(found).any() for found in maps.values()) else ""),
        fontsize="medium",
    )
    return figure


def _extent(xs: FloatArray, ys: FloatArray) -> tuple[float, float, float, float]:
    """Edges of the cells around evenly spaced values."""
    dx = (xs[-1] - xs[0]) / max(len(xs) - 1, 1) or 1.0
    dy = (ys[-1] - ys[0]) / max(len(ys) - 1, 1) or 1.0
    return xs[0] - dx / 2, xs[-1] + dx / 2, ys[0] - dy / 2, ys[-1] + dy / 2


def _field_label(field: str) -> str:
    kind, _, rest = field.partition("[")
    entity, _, receipt = rest.rstrip("]").rpartition(":") if kind == "arriving" else (rest.rstrip("]"), "", "")
    words = {"on_hand": "on hand", "backlog": "owed to customers", "arriving": f"arriving at receipt {receipt}"}[kind]
    return f"{words} ({entity})" if entity else words
