"""A cargo flow as itineraries: which vessels each demand takes, from its port of loading to that of discharge.

A flow of all cargo of one origin says what sails on each leg, not what it becomes. As its parts cost the same wherever
they go, every division into paths is as good as every other; this one takes paths with the fewest legs and
transshipments first. Circles, which cost nothing where there is room, belong to no path and are left out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from agents.oracles.cargo_program import CargoProgram
from twin.liner.calls import CallGraph

__all__ = ["Itinerary", "itineraries", "on_columns"]

FloatArray = NDArray[np.float64]

#: FFE a week that are rounding of the solver, and no cargo.
_DUST = 1e-6


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Cargo of one demand on one path.

    Attributes
    ----------
    demand
        Index of the demand.
    ffe
        A week.
    nodes
        Calls in order, from loading to discharge; two in a row are a leg, or a transshipment where their ports are one.
    rides
        (board, alight) calls of every vessel.
    """

    demand: int
    ffe: float
    nodes: tuple[int, ...]
    rides: tuple[tuple[int, int], ...]

    def sailing_days(self, graph: CallGraph, port_days_per_call: float) -> float:
        """Days on vessels: at sea, and at the calls on the way; waiting for the next vessel is not counted."""
        days = 0.0
        changed = {self.nodes[0], *(board for board, _ in self.rides)}
        for one, other in pairwise(self.nodes):
            if graph.port[one] != graph.port[other]:
                days += float(graph.leg_days[one]) + (0.0 if one in changed else port_days_per_call)
        return days

    def text(self, graph: CallGraph) -> str:
        """In words: the calls where it boards and alights."""
        return "; ".join(f"{graph.node_name(one)} to {graph.node_name(other)}" for one, other in self.rides)


def itineraries(program: CargoProgram, x: FloatArray) -> tuple[Itinerary, ...]:
    """Divide a flow into itineraries.

    Parameters
    ----------
    program, x
        The program and a solution of it.
    """
    found: list[Itinerary] = []
    for g in range(len(program.origins)):
        flow = _Flow(program, g, x)
        for j in np.flatnonzero(program.group[program.discharge_demand] == g):
            demand, node = int(program.discharge_demand[j]), int(program.discharge_node[j])
            found += flow.paths(demand, node, float(x[program.discharge[j]]))
    return tuple(sorted(found, key=lambda entry: (entry.demand, -entry.ffe, entry.nodes)))


class _Flow:
    """What is left of the flow of one origin."""

    def __init__(self, program: CargoProgram, group: int, x: FloatArray) -> None:
        graph = program.graph
        self.graph = graph
        mine = program.load_group == group
        self.loaded = dict(zip(program.load_node[mine].tolist(), x[program.load[mine]].tolist(), strict=True))
        sails = zip(range(len(graph.port)), graph.leg_head.tolist(), x[program.ride[group]].tolist(), strict=True)
        moves = zip(
            graph.transfer_tail.tolist(), graph.transfer_head.tolist(), x[program.change[group]].tolist(), strict=True
        )
        self.left = {(tail, head): ffe for tail, head, ffe in (*sails, *moves) if ffe > _DUST}
        self.into: dict[int, list[int]] = {}
        for tail, head in self.left:
            self.into.setdefault(head, []).append(tail)

    def paths(self, demand: int, node: int, ffe: float) -> list[Itinerary]:
        """Paths of what a demand discharges at a call."""
        found = []
        while ffe > _DUST:
            path = self._back_to_origin(node)
            if path is None:  # only rounding is left
                break
            arcs = list(pairwise(path))
            amount = min(ffe, self.loaded[path[0]], *(self.left[arc] for arc in arcs))
            ffe -= amount
            self.loaded[path[0]] -= amount
            for arc in arcs:
                self.left[arc] -= amount
            found.append(Itinerary(demand, amount, tuple(path), _rides(self.graph, path)))
        return found

    def _back_to_origin(self, node: int) -> list[int] | None:
        """Shortest path of what is left from a call where cargo is loaded; None where there is none."""
        after: dict[int, int | None] = {node: None}
        queue = deque([node])
        while queue:
            at = queue.popleft()
            if self.loaded.get(at, 0.0) > _DUST:
                path = [at]
                while (following := after[path[-1]]) is not None:
                    path.append(following)
                return path
            for before in self.into.get(at, ()):
                if before not in after and self.left[before, at] > _DUST:
                    after[before] = at
                    queue.append(before)
        return None


def _rides(graph: CallGraph, path: list[int]) -> tuple[tuple[int, int], ...]:
    rides, board = [], path[0]
    for one, other in pairwise(path):
        if graph.port[one] == graph.port[other]:
            rides.append((board, one))
            board = other
    return (*rides, (board, path[-1]))


def on_columns(program: CargoProgram, found: tuple[Itinerary, ...]) -> FloatArray:
    """The flow that itineraries add up to; (columns,), with nothing in those of what is not carried."""
    graph, x = program.graph, np.zeros(program.columns)
    change = _numbers(graph.transfer_tail, graph.transfer_head)
    load = _numbers(program.load_group, program.load_node)
    discharge = _numbers(program.discharge_demand, program.discharge_node)
    for entry in found:
        g = int(program.group[entry.demand])
        x[program.load[load[g, entry.nodes[0]]]] += entry.ffe
        x[program.discharge[discharge[entry.demand, entry.nodes[-1]]]] += entry.ffe
        for one, other in pairwise(entry.nodes):
            if graph.port[one] == graph.port[other]:
                x[program.change[g, change[one, other]]] += entry.ffe
            else:
                x[program.ride[g, one]] += entry.ffe
    return x


def _numbers(one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Which entry of two arrays a pair is."""
    return {pair: k for k, pair in enumerate(zip(one.tolist(), other.tolist(), strict=True))}
