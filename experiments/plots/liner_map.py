"""A liner network on the map: ports where they lie, lines as wide as the cargo, before and during a disruption."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from agents.policy import Policy
from envs.routing import RoutingTask
from experiments.plots.network import followed
from experiments.plots.style import COLOURS, MUTED, new_figure
from twin.errors import ConfigError, did_you_mean
from twin.liner.calls import call_graph
from twin.liner.network import LinerNetwork
from twin.liner.routing import LEG
from twin.liner.schedule import WEEK

__all__ = ["leg_flows", "liner_map_figure"]

FloatArray = NDArray[np.float64]
_MORE, _LESS, _HIT = COLOURS[0], COLOURS[1], COLOURS[1]
#: Share of the largest flow of a leg above which a difference is drawn as one.
_DIFFERENT = 0.01
#: North to south over east to west, on the paper.
_WIDE = 0.5


def liner_map_figure(
    network: LinerNetwork, flows: Mapping[str, ArrayLike], *, hit: Collection[str] = (), unit: str = "FFE a week"
) -> Figure:
    """One map for each plan, all on one scale; from the second on, colours say what is more or less than in the first.

    Parameters
    ----------
    network
        The liner network; every port needs a position.
    flows
        Headline -> cargo on the leg from each call, (N,), as in :attr:`agents.oracles.cargo_flow.CargoPlan.leg_ffe`.
    hit
        Codes of the ports that are marked from the second map on.
    unit
        Of the flows.

    Raises
    ------
    ConfigError
        When a port to mark does not exist, or one has no position.
    """
    for code in hit:
        if code not in network.ports:
            raise ConfigError(
                f"no port '{code}' (allowed: {', '.join(network.ports)}){did_you_mean(code, network.ports)}"
            )
    place = {code: port.position for code, port in network.ports.items() if port.position is not None}
    missing = [code for code in network.ports if code not in place]
    if missing:
        raise ConfigError(f"ports without a position cannot be drawn: {', '.join(missing)}")
    maps = {name: _between_ports(network, np.asarray(flow, dtype=np.float64)) for name, flow in flows.items()}
    first = next(iter(maps.values()))
    most = max((flow for legs in maps.values() for flow in legs.values()), default=0.0) or 1.0
    x, y = np.array(list(place.values())).T
    # A degree to the east is shorter than one to the north.
    stretch = float(1.0 / np.cos(np.radians(y.mean())))
    height = stretch * float(np.ptp(y)) / max(float(np.ptp(x)), 1e-9)
    # Maps of a network that is long from east to west stand below each other.
    wide = height < _WIDE
    if wide:
        figure = new_figure(12.0, len(maps) * max(12.0 * height + 1.0, 3.0) + 0.7)
        axes = figure.subplots(len(maps), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    else:
        figure = new_figure(6.6 * len(maps), min(max(5.2 * height + 1.5, 4.0), 9.0))
        axes = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    for number, (axis, (name, legs)) in enumerate(zip(axes, maps.items(), strict=True)):
        for (start, end), flow in legs.items():
            change = 0.0 if number == 0 else (flow - first[start, end]) / most
            colour = MUTED if abs(change) < _DIFFERENT else _MORE if change > 0.0 else _LESS
            _leg(axis, place[start], place[end], flow / most, colour)
        _ports(axis, network, place, legs, hit if number else ())
        axis.set_title(name, fontsize="medium")
        if not wide or axis is axes[-1]:
            axis.set_xlabel("longitude, degrees east")
        if wide or axis is axes[0]:
            axis.set_ylabel("latitude, degrees north")
    for axis in axes:
        axis.set_aspect(stretch)
        axis.margins(0.1 if wide else 0.24, 0.16)
        axis.grid(alpha=0.25)
    handles = [
        Line2D([], [], color=MUTED, lw=_width(share), label=f"{share * most:,.0f} {unit}") for share in (1.0, 0.25)
    ]
    handles.append(Line2D([], [], color=MUTED, lw=0.8, ls=":", label="sails empty"))
    if len(maps) > 1:
        handles += [Line2D([], [], color=_MORE, lw=4, label="more than before")]
        handles += [Line2D([], [], color=_LESS, lw=4, label="less than before")]
    if hit:
        handles.append(Line2D([], [], color=_HIT, marker="X", ms=11, mec="black", ls="", label="port that is hit"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize="small")
    return figure


class LegFlows(NamedTuple):
    """Cargo on the leg from each of N calls, FFE a week.

    Attributes
    ----------
    calm
        (N,) while all ports make all their moves and all canals are open; None where that is never so.
    hit
        (N,) while something is hit; None where nothing ever is.
    ports
        Codes of the ports that are hit at some time.
    """

    calm: FloatArray | None
    hit: FloatArray | None
    ports: tuple[str, ...]


def leg_flows(policy: Policy, task: RoutingTask, *, seed: int, paths: int = 32) -> LegFlows:
    """What sails under a policy of routing, on days without an event and with one.

    Parameters
    ----------
    seed
        World seed.
    paths
        How many, from the first.
    """
    routing = task.assignment.routing
    limited = np.flatnonzero(routing.move_resource >= 0)
    ports = routing.move_resource[limited]
    failing = np.concatenate([ports, np.array([*routing.canal_resource.values()], dtype=np.int64)])
    legs = np.flatnonzero(routing.arc_kind == LEG)
    sailed, number = np.zeros((2, len(routing.graph.port))), np.zeros(2)
    ever = np.zeros(len(ports), dtype=np.bool_)
    for step in followed(policy, task, seed=seed, paths=paths, decisions=task.horizon):
        hit = (step.works[failing] < 1.0).any(axis=0)
        ever |= (step.works[ports] < 1.0).any(axis=1)
        for k, mine in enumerate((~hit, hit)):
            np.add.at(sailed[k], routing.arc_tail[legs], step.orders[legs][:, mine].sum(axis=1))
            number[k] += mine.sum()
    a_week = sailed * WEEK / task.periods_per_decision / np.maximum(number, 1.0)[:, None]
    calm, during = (a_week[k] if number[k] else None for k in range(2))
    return LegFlows(calm, during, tuple(routing.graph.port_names[p] for p in limited[ever]))


def _between_ports(network: LinerNetwork, flow: FloatArray) -> dict[tuple[str, str], float]:
    """Cargo from port to port, over all services that sail there."""
    graph = call_graph(network)
    legs: dict[tuple[str, str], float] = {}
    for node, head in enumerate(graph.leg_head):
        ends = graph.port_names[graph.port[node]], graph.port_names[graph.port[head]]
        legs[ends] = legs.get(ends, 0.0) + float(flow[node])
    return legs


def _width(share: float) -> float:
    """Points, of a leg with a share of the largest flow."""
    return 0.8 if share < 1e-9 else 1.0 + 7.0 * share


def _leg(axis: Any, start: tuple[float, float], end: tuple[float, float], share: float, colour: str) -> None:
    idle = share < 1e-9
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.25,head_length=0.5",
            # The same bend on the way there and back keeps the two apart.
            "connectionstyle": "arc3,rad=0.16",
            "lw": _width(share),
            "ls": ":" if idle else "-",
            "color": colour,
            "alpha": 0.85,
            "shrinkA": 6,
            "shrinkB": 7,
            "mutation_scale": 11,
        },
        zorder=2,
    )


def _ports(
    axis: Any,
    network: LinerNetwork,
    place: Mapping[str, tuple[float, float]],
    legs: Mapping[tuple[str, str], float],
    hit: Collection[str],
) -> None:
    served = {code for ends in legs for code in ends}
    for code, (x, y) in place.items():
        # Above all names: that of a neighbour must not hide a port.
        if code in hit:
            axis.plot(x, y, "X", ms=13, color=_HIT, mec="black", mew=1.0, zorder=8)
        else:
            axis.plot(
                x, y, "o", ms=7, color="black" if code in served else "white", mec="black", zorder=7
            )  # above names of others
        # The name stands on the side from which the fewest lines come.
        others = [place[b if a == code else a] for a, b in legs if code in (a, b) and a != b]
        towards = np.sum([_unit(there[0] - x, there[1] - y) for there in others], axis=0) if others else (-1.0, 0.4)
        dx, dy = -13.0 * _unit(*towards)
        axis.annotate(
            network.ports[code].name or code,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            ha="left" if dx > 4.0 else "right" if dx < -4.0 else "center",
            va="bottom" if dy > 4.0 else "top" if dy < -4.0 else "center",
            fontsize="small",
            fontweight="bold" if code in hit else "normal",
            bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.8},
            zorder=6,
        )


def _unit(x: float, y: float) -> FloatArray:
    length = float(np.hypot(x, y))
    return np.array([x, y]) / length if length > 0.0 else np.array([0.0, 1.0])
