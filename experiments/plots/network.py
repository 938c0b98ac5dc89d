"""The network as a picture: who supplies whom, and how much flows where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

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

__all__ = ["Followed", "followed", "mean_flows", "network_figure"]

FloatArray = NDArray[np.float64]

_SUPPLIER, _SITE, _MARKET, _IDLE = "#4d4d4d", "#767676", "#000000", "#9a9a9a"
#: One a mode of transport, the rest alike.
_MODES = (*COLOURS[:6], "#5b7fa6")


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
    made = followed(policy, task, seed=seed, paths=paths, decisions=warm_up + periods)
    return np.asarray(sum(step.shipped.mean(axis=1) for step in islice(made, warm_up, None)) / periods)


class Followed(NamedTuple):
    """What one decision came to; A arcs, R resources, B paths.

    Attributes
    ----------
    works
        (R, B) share of every resource that worked when it was made.
    orders
        (A, B) units ordered, in all its periods together.
    shipped
        (A, B) units shipped in the last of them.
    """

    works: FloatArray
    orders: FloatArray
    shipped: FloatArray


def followed(policy: Policy, task: Task, *, seed: int, paths: int, decisions: int) -> Iterator[Followed]:
    """Follow a policy on all paths at once."""
    batch = Batch(task, paths)
    slots = np.arange(paths, dtype=np.uint32)
    observation = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    state, start = None, np.ones(paths, dtype=np.bool_)
    for _ in range(decisions):
        works = batch.twin.state.arrays.availability.copy()
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(paths, dtype=np.bool_)
        step = batch.step(action)
        observation = step.observation
        yield Followed(works, step.orders, batch.twin.state.arrays.shipped.copy())


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
    # How much longer a step to the right is on the paper than a step up.
    stretch = 2.8
    figure = new_figure(max(7.0, 3.2 * columns), max(2.8, 1.0 * rows + 1.2))
    axis = figure.subplots()
    values = _flow_values(compiled, flows)
    most = max(values.values(), default=0.0)
    beside: dict[tuple[str, str], int] = {}
    leaving: dict[str, int] = {}
    modes = {name: _mode(name) for name in compiled.arc_names}
    colour_of = dict(zip(dict.fromkeys(modes.values()), _MODES, strict=False))
    for name, (origin, destination) in zip(compiled.arc_names, compiled.arc_ends, strict=True):
        k = beside[(origin, destination)] = beside.get((origin, destination), -1) + 1
        flow = values.get(name)
        known = flow is not None and most > 0.0
        share = flow / most if flow is not None and most > 0.0 else 0.0
        text = _short(flow) if flow is not None and known and share >= 0.01 else ""
        if text:
            leaving[origin] = leaving.get(origin, -1) + 1
        line = _Line(
            k,
            width=0.6 + 5.4 * share if known else 1.2,
            colour=colour_of.get(modes[name], _MODES[-1]),
            idle=known and share <= 1e-9,
            text=text,
            # At different places, so that the numbers of neighbours do not cover each other.
            where=0.36 + 0.14 * (leaving.get(origin, 0) % 3),
        )
        _arrow(axis, place, origin, destination, line, stretch)
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
    if len(colour_of) > 1:
        handles += [Line2D([], [], color=colour, lw=2.5, label=mode) for mode, colour in colour_of.items()]
    if flows is not None and any(value <= 1e-9 for value in values.values()):
        handles.append(Line2D([], [], color=_IDLE, lw=1.0, ls=":", label="unused"))
    unit = " + ".join(dict.fromkeys(product.unit for product in network.products.values()))
    title = f"{network.name}" + ("" if flows is None else f": units shipped ({unit}) per {network.period}, on average")
    axis.set_title(title, fontsize="medium")
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize="small")
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


def _mode(arc: str) -> str:
    """Mode of an arc by its name: ``<from>-><to>:<mode>:<product>``, or a recipe."""
    parts = arc.split(":")
    return parts[1] if "->" in arc and len(parts) > 1 else "production"


def _short(value: float) -> str:
    for size, word in ((1e6, " M"), (1e4, " k")):
        if value >= size:
            return f"{value / (1e3 if word == ' k' else size):.3g}{word}"
    return f"{value:,.3g}" if value < 1000.0 else f"{value:,.0f}"


@dataclass(frozen=True)
class _Line:
    """How an arc is drawn: which of those between the same two places, and what is written where on it."""

    number: int
    width: float
    colour: str
    idle: bool
    text: str
    where: float


def _arrow(
    axis: Any, place: dict[str, tuple[float, float]], origin: str, destination: str, line: _Line, stretch: float
) -> None:
    start, end = np.array(place[origin]), np.array(place[destination])
    if origin == destination:
        if line.text:
            axis.annotate(
                f"makes {line.text}",
                start,
                (0, 13 + 10 * line.number),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize="x-small",
            )
        return
    bend = 0.13 * ((line.number + 1) // 2) * (1 if line.number % 2 else -1)
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
            "lw": line.width,
            "ls": ":" if line.idle else "-",
            "color": _IDLE if line.idle else line.colour,
            "alpha": 0.5 if line.idle else 0.8,
            "shrinkA": 11,
            "shrinkB": 12,
            "connectionstyle": f"arc3,rad={bend}",
            "mutation_scale": 12,
        },
        zorder=1,
    )
    if line.text:
        # On the curve: a quadratic Bezier whose control point lies bend x distance to the side, on the paper.
        dx, dy = end - start
        t, across = line.where, np.array([dy / stretch, -dx * stretch])
        axis.annotate(
            line.text,
            start + t * (end - start) + 2.0 * t * (1.0 - t) * bend * across,
            ha="center",
            va="center",
            fontsize="x-small",
            zorder=2,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": line.colour, "lw": 0.5, "alpha": 0.9},
        )
