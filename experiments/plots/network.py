"""The network as a picture: who supplies whom, and how much flows where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from agents.evaluation import actions_of
from agents.policy import Policy
from envs.core import Batch
from envs.task import Task
from experiments.plots.style import COLOURS, new_figure
from twin.compile import CompiledNetwork

__all__ = ["mean_flows", "network_figure"]

FloatArray = NDArray[np.float64]

_SUPPLIER, _SITE, _MARKET = "#767676", COLOURS[0], COLOURS[1]


def mean_flows(
    policy: Policy, task: Task, *, seed: int, paths: int = 64, periods: int = 104, warm_up: int = 104
) -> FloatArray:
    """Units per period shipped on every arc, (A,), under a policy.

    Parameters
    ----------
    seed
        World seed.
    """
    if task.finite:
        warm_up, periods = 0, task.horizon
    batch = Batch(task, paths)
    slots = np.arange(paths, dtype=np.uint32)
    observation = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    out = np.zeros(task.compiled.n_arcs)
    state, start = None, np.ones(paths, dtype=np.bool_)
    for t in range(warm_up + periods):
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(paths, dtype=np.bool_)
        observation = batch.step(action).observation
        if t >= warm_up:
            out += batch.twin.state.arrays.shipped.mean(axis=1)
    return out / periods


def network_figure(compiled: CompiledNetwork, flows: Mapping[str, float] | FloatArray | None = None) -> Figure:
    """Suppliers to the left, customers to the right; lines as wide as what flows.

    Parameters
    ----------
    compiled
        The network; drawn from its networkx view.
    flows
        Units per period of every arc, by name or in the order of ``compiled.arc_names``; without them all lines are
        alike.
    """
    network, graph = compiled.network, compiled.network.graph()
    served = {stream.site for stream in network.demands.values()}
    place = _places(graph)
    columns = len({x for x, _ in place.values()})
    rows = max(sum(1 for x, _ in place.values() if x == column) for column in {x for x, _ in place.values()})
    figure = new_figure(max(7.0, 2.6 * columns), max(3.2, 0.9 * rows + 1.4))
    axis = figure.subplots()
    values = _flow_values(compiled, flows)
    most = max(values.values(), default=0.0)
    beside: dict[tuple[str, str], int] = {}
    for name, (origin, destination) in zip(compiled.arc_names, compiled.arc_ends, strict=True):
        k = beside[(origin, destination)] = beside.get((origin, destination), -1) + 1
        flow = values.get(name)
        width = 1.2 if flow is None or most <= 0.0 else 0.6 + 5.4 * flow / most
        idle = flow is not None and flow <= 1e-9
        _arrow(axis, place, origin, destination, k, width, idle, None if flow is None else f"{flow:,.3g}")
    for node, (x, y) in place.items():
        kind = graph.nodes[node]["kind"]
        colour = _SUPPLIER if kind == "supplier" else _MARKET if node in served else _SITE
        mark = "s" if kind == "supplier" else "o" if node in served else "h"
        axis.plot(x, y, mark, ms=17, color=colour, mec="white", mew=1.5, zorder=3)
        axis.annotate(
            node, (x, y), (0, -17), textcoords="offset points", ha="center", va="top", fontsize="small", zorder=4
        )
    kinds = [("supplier", "s", _SUPPLIER), ("site", "h", _SITE), ("site with customers", "o", _MARKET)]
    used = {"s" if graph.nodes[n]["kind"] == "supplier" else "o" if n in served else "h" for n in place}
    handles = [Line2D([], [], marker=m, color=c, ls="", ms=9, label=name) for name, m, c in kinds if m in used]
    unit = " + ".join(dict.fromkeys(product.unit for product in network.products.values()))
    title = f"{network.name}" + ("" if flows is None else f": units shipped ({unit}) per {network.period}, on average")
    axis.set_title(title, fontsize="medium")
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    axis.set_axis_off()
    axis.margins(x=0.12, y=0.18)
    return figure


def _flow_values(compiled: CompiledNetwork, flows: Mapping[str, float] | FloatArray | None) -> dict[str, float]:
    if flows is None:
        return {}
    if isinstance(flows, Mapping):
        return dict(flows)
    return dict(zip(compiled.arc_names, np.asarray(flows, dtype=np.float64).tolist(), strict=True))


def _places(graph: Any) -> dict[str, tuple[float, float]]:
    """A column for each stage of supply, nodes in the middle of what they are connected to."""
    simple = nx.DiGraph((a, b) for a, b in graph.edges() if a != b)
    simple.add_nodes_from(graph.nodes())
    # Rings of lateral lanes share a column.
    folded = nx.condensation(simple)
    depth: dict[int, int] = {}
    for part in nx.topological_sort(folded):
        depth[part] = max((depth[before] + 1 for before in folded.predecessors(part)), default=0)
    column = {node: depth[folded.graph["mapping"][node]] for node in simple}
    # A supplier stands right before the first that it supplies.
    for node in simple:
        after = [column[b] for b in simple.successors(node)]
        if simple.in_degree(node) == 0 and after:
            column[node] = max(min(after) - 1, 0)
    order = {c: [n for n in graph.nodes() if column[n] == c] for c in sorted(set(column.values()))}
    height: dict[str, float] = {}
    for nodes in order.values():
        for k, node in enumerate(nodes):
            height[node] = 0.5 * (len(nodes) - 1) - k
    for _ in range(4):
        for nodes in order.values():
            near = {
                n: np.mean([height[m] for m in (*simple.predecessors(n), *simple.successors(n))] or [height[n]])
                for n in nodes
            }
            nodes.sort(key=lambda n: -near[n])
            for k, node in enumerate(nodes):
                height[node] = 0.5 * (len(nodes) - 1) - k
    return {node: (float(column[node]), height[node]) for node in graph.nodes()}


def _arrow(
    axis: Any,
    place: dict[str, tuple[float, float]],
    origin: str,
    destination: str,
    k: int,
    width: float,
    idle: bool,
    text: str | None,
) -> None:
    start, end = np.array(place[origin]), np.array(place[destination])
    bend = 0.16 * ((k + 1) // 2) * (1 if k % 2 else -1)
    if origin == destination:
        axis.annotate("", (start[0] + 0.02, start[1] + 0.12), (start[0] - 0.02, start[1] + 0.12))
        if text is not None:
            axis.annotate(
                f"makes {text}",
                start,
                (0, 14),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize="x-small",
            )
        return
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.25,head_length=0.5",
            "lw": width,
            "ls": ":" if idle else "-",
            "color": "#9a9a9a" if idle else "#5b7fa6",
            "alpha": 0.85,
            "shrinkA": 11,
            "shrinkB": 12,
            "connectionstyle": f"arc3,rad={bend}",
            "mutation_scale": 12,
        },
        zorder=1,
    )
    if text is not None:
        # Where the curve is in the middle: half of its bend to the side.
        across = np.array([end[1] - start[1], start[0] - end[0]])
        at = start + 0.42 * (end - start) + 0.5 * bend * across
        axis.annotate(
            text, at, ha="center", va="center", fontsize="x-small", zorder=2,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
        )  # fmt: skip
