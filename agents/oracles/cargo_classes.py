"""Cargo that may go on in the same ways: places of different demands that no program needs to tell apart.

What demands d and e have at a call is interchangeable when the same arcs lead on from there, at the same cost and in
the same days, to places that are interchangeable again. The classes are the coarsest such partition, found by
refinement as for the states of an automaton (Moore 1956, "Gedanken-experiments on sequential machines"): begin with the
calls (for what can only be discharged, the ports), and part what differs until nothing does.

A flow of the network summed over every class obeys the same rows as a flow of the classes. The other way round, where a
class has an amount and ships parts of it, each of its members ships the same parts of what it has; so every flow of the
classes is the sum of a flow of the network. Programs over classes therefore have the same optimum. On the Mediterranean
of LINERLIB 4,313 places are 1,725 classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.routing_costs import CargoWorth
from twin.liner.assignment import Assignment
from twin.liner.routing import AIR, DISCHARGE, LOAD, REFUSE

__all__ = ["CargoClasses"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class CargoClasses:
    """Classes of the places of cargo. C classes, H arcs of classes, I stock points, A arcs of the network.

    Attributes
    ----------
    of_stock
        (I,) class of a stock point; -1 for what is delivered.
    node
        (C,) call; one of those of the port for what can only be discharged.
    of_arc
        (A,) arc of classes that an arc between calls, or of discharge, belongs to; -1 for purchases.
    arc
        (H,) one of its arcs on the network; costs, days and resources of all of them are the same.
    tail, head
        (H,) classes; the head is -1 for discharge.
    rest
        (C,) cost of what is left of the way where the horizon ends, money per FFE.
    booked
        (D,) what a booking is worth there, money per FFE.

    Parameters
    ----------
    assignment
        The network.
    worth
        What cargo is worth where the horizon ends.
    """

    def __init__(self, assignment: Assignment, worth: CargoWorth) -> None:
        routing, top = assignment.routing, assignment.routing.compiled.topology
        arcs = np.flatnonzero(~np.isin(routing.arc_kind, (LOAD, AIR, REFUSE)))
        source = top.in_stock[top.in_ptr[:-1][arcs]]
        head = top.arc_destination[arcs]
        cost = top.arc_unit_cost + top.arc_freight
        same = [self._alike(assignment, int(a), float(cost[a])) for a in arcs]
        leaving: dict[int, list[int]] = {}
        for k, i in enumerate(source):
            leaving.setdefault(int(i), []).append(k)
        at_calls = np.flatnonzero(routing.stock_node >= 0)
        of_stock = np.full(routing.compiled.n_stocks, -1, dtype=np.int64)
        # What can only be discharged does not ask when vessels leave: all of a port is alike.
        stays = np.ones(routing.compiled.n_stocks, dtype=np.bool_)
        stays[source[routing.arc_kind[arcs] != DISCHARGE]] = False
        calls = len(routing.graph.port)
        place = np.where(stays, calls + routing.graph.port[routing.stock_node], routing.stock_node)
        left = np.round(routing.graph.revenue[routing.stock_demand] - worth.at_calls, 6)
        alike = np.stack([place[at_calls], left[at_calls]], axis=1)
        of_stock[at_calls] = np.unique(alike, axis=0, return_inverse=True)[1].ravel()
        while True:
            seen: dict[object, int] = {}
            finer = of_stock.copy()
            for i in at_calls:
                ways = frozenset((same[k], int(of_stock[head[k]])) for k in leaving.get(int(i), ()))
                finer[i] = seen.setdefault((int(of_stock[i]), ways), len(seen))
            done = len(seen) == int(of_stock.max(initial=-1)) + 1
            of_stock = finer
            if done:
                break
        self.of_stock: IntArray = of_stock
        self.booked: FloatArray = worth.booked
        first = np.unique(of_stock[at_calls], return_index=True)[1]
        self.node: IntArray = routing.stock_node[at_calls[first]].copy()
        self.of_arc: IntArray = np.full(routing.compiled.n_arcs, -1, dtype=np.int64)
        numbers: dict[object, int] = {}
        made: list[int] = []
        for k, a in enumerate(arcs):
            key = (int(of_stock[source[k]]), same[k], int(of_stock[head[k]]))
            if key not in numbers:
                numbers[key] = len(made)
                made.append(k)
            self.of_arc[a] = numbers[key]
        self.arc: IntArray = arcs[made].astype(np.int64)
        self.tail: IntArray = of_stock[source[made]]
        self.head: IntArray = of_stock[head[made]]
        self.rest: FloatArray = left[at_calls[first]].astype(np.float64)

    @staticmethod
    def _alike(assignment: Assignment, a: int, cost: float) -> tuple[object, ...]:
        """What two arcs from interchangeable places to such places have in common."""
        top = assignment.routing.compiled.topology
        uses = slice(top.use_ptr[a], top.use_ptr[a + 1])
        resources = tuple(zip(top.use_resource[uses].tolist(), top.use_coefficient[uses].tolist(), strict=True))
        return int(assignment.routing.arc_kind[a]), int(top.arc_fixed_lead[a]), cost, resources
