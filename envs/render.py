"""Pictures of a twin: a text table, and the network drawn with stock, pipeline and backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from twin.engine import Twin

if TYPE_CHECKING:
    from envs.core import StepResult

__all__ = ["layout", "render_ansi", "render_rgb"]


def render_ansi(twin: Twin, last: StepResult | None, *, replica: int = 0) -> str:
    """One replica as a text table: stock points, arcs with an order placed or under way, cost of the last period."""
    compiled, state = twin.compiled, twin.state
    arrays, network = state.arrays, compiled.network
    lines = [f"{network.name}, {network.period} {int(state.period[replica])}"]
    lines.append(f"  {'stock point':<40}{'on hand':>14}{'owed':>14}")
    owed = np.zeros(compiled.n_stocks)
    np.add.at(owed, compiled.topology.demand_stock, arrays.backlog[:, replica])
    for i, name in enumerate(compiled.stock_names):
        unit = compiled.stock_units[i]
        lines.append(f"  {name:<40}{arrays.on_hand[i, replica]:>14,.1f}{owed[i]:>14,.1f}  {unit}")
    lines.append(f"  {'arc':<56}{'ordered':>12}{'in transit':>14}")
    placed = np.zeros(compiled.n_arcs) if last is None else last.orders[:, replica]
    for a, name in enumerate(compiled.arc_names):
        ordered = float(placed[a])
        if ordered > 0.0 or arrays.in_transit[a, replica] > 0.0:
            unit = compiled.arc_units[a]
            lines.append(f"  {name:<56}{ordered:>12,.1f}{arrays.in_transit[a, replica]:>14,.1f}  {unit}")
    if last is not None:
        cost = last.costs[:, replica]
        parts = ", ".join(f"{n} {c:,.1f}" for n, c in zip(twin.cost_names(), cost, strict=True) if c)
        lines.append(f"  cost of the period: {cost.sum():,.1f} {network.currency} ({parts})")
    return "\n".join(lines)


def layout(twin: Twin) -> dict[str, tuple[float, float]]:
    """Place for every node: longitude and latitude where all have them, else columns by steps from the suppliers."""
    graph = twin.compiled.network.graph()
    given = {name: data["position"] for name, data in graph.nodes(data=True)}
    if all(position is not None for position in given.values()):
        return {name: (float(x), float(y)) for name, (x, y) in given.items()}
    # Rings (lateral lanes, recipes) count as one step.
    rings = nx.condensation(nx.DiGraph(graph))
    columns: dict[int, list[str]] = {}
    for column, generation in enumerate(nx.topological_generations(rings)):
        columns[column] = sorted(name for ring in generation for name in rings.nodes[ring]["members"])
    return {
        name: (float(column), float((len(members) - 1) / 2 - row))
        for column, members in columns.items()
        for row, name in enumerate(members)
    }


def render_rgb(twin: Twin, last: StepResult | None, *, replica: int = 0) -> NDArray[np.uint8]:
    """One replica as a picture.

    Returns
    -------
    ndarray of uint8, shape (600, 900, 3)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_network(axes, twin, replica=replica)
    if last is not None:
        cost = float(last.costs[:, replica].sum())
        axes.set_xlabel(f"cost of the period: {cost:,.0f} {twin.compiled.network.currency}")
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def draw_network(axes: object, twin: Twin, *, replica: int = 0) -> None:
    """Draw one replica on matplotlib axes: nodes with stock and backlog, arcs as wide as their pipeline is full."""
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError(f"axes must be matplotlib Axes, not {type(axes).__name__}")
    compiled, arrays = twin.compiled, twin.state.arrays
    network = compiled.network
    places = layout(twin)
    pairs: dict[tuple[str, str], float] = {}
    for a, ends in enumerate(compiled.arc_ends):
        pairs[ends] = pairs.get(ends, 0.0) + float(arrays.in_transit[a, replica])
    fullest = max([1.0, *pairs.values()])
    for (origin, destination), amount in pairs.items():
        if origin == destination:
            continue  # a recipe stays where it is
        (x0, y0), (x1, y1) = places[origin], places[destination]
        width, shade = 0.6 + 5.0 * amount / fullest, "#9a9a9a" if amount == 0.0 else "#0072b2"
        axes.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={
                "arrowstyle": "-|>",
                "lw": width,
                "color": shade,
                "alpha": 0.45,
                "shrinkA": 7,
                "shrinkB": 9,
                "mutation_scale": 14,
            },
        )
    backlog: dict[str, float] = {}
    for d, demand in enumerate(network.demands.values()):
        backlog[demand.site] = backlog.get(demand.site, 0.0) + float(arrays.backlog[d, replica])
    for name, (x, y) in places.items():
        if name in network.suppliers:
            axes.scatter([x], [y], marker="s", s=110, color="#555555", zorder=3)
            axes.annotate(name, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=8, zorder=4)
        else:
            stock = sum(
                float(arrays.on_hand[i, replica])
                for i, point in enumerate(compiled.stock_names)
                if point.split("/")[0] == name
            )
            short = backlog.get(name, 0.0)
            axes.scatter([x], [y], s=170, color="#d55e00" if short > 0.0 else "#009e73", zorder=3)
            label = f"{name}\nstock {stock:,.0f}" + (f", owes {short:,.0f}" if short > 0.0 else "")
            axes.annotate(label, (x, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8, zorder=4)
    axes.set_title(
        f"{network.name}, {network.period} {int(twin.state.period[replica])}: arrows as wide as what is under way"
    )
    axes.margins(0.12)
    axes.set_xticks([])
    axes.set_yticks([])
