"""The weekly cargo flow of a liner network as a linear program: columns, rows and money.

Cargo of one origin is one commodity: at sea, and where it changes vessels, it makes no difference where it goes, and
the program is smaller by the number of destinations. Columns, all at least 0 and in FFE a week:

- per origin and leg what sails, per origin and transshipment what changes;
- per origin and call of its port what is loaded, per demand and call of its destination what is discharged;
- per demand what is not carried.

Rows: what comes to a call leaves it (origin, call); a demand is discharged or not carried; a leg carries no more than
its capacity; a port makes no more moves than it can (loading and discharging 1, transshipment 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.oracles.sparse_rows import LinearProgram, SparseRows
from twin.liner.calls import CallGraph

__all__ = ["TERMS", "CargoProgram", "cargo_program"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: What the flow costs, by name; revenue is negative.
TERMS = ("revenue", "handling", "transshipment", "penalty")

#: Moves that a port makes for one FFE.
_HANDLED, _TRANSSHIPPED = 1.0, 2.0


@dataclass(frozen=True, eq=False)
class CargoProgram(LinearProgram):
    """The program of a network's calls: x >= 0, and the cost terms are :data:`TERMS`.

    Attributes
    ----------
    graph
        The calls that it is about.
    group
        (D,) index of each demand's origin among the G origins.
    origins
        (G,) indices of ports.
    ride, change
        (G, N) and (G, X) columns of legs and transshipments.
    load_group, load_node, load
        (I,) origin and call of what is loaded, and the column.
    discharge_demand, discharge_node, discharge
        (J,) demand and call of what is discharged, and the column.
    reject
        (D,) columns.
    asked
        (D,) rows of ``equal`` with the demands on the right.
    leg, moves
        (N,) and (P,) rows of ``most`` with the capacities on the right.
    """

    graph: CallGraph
    group: IntArray
    origins: IntArray
    ride: IntArray
    change: IntArray
    load_group: IntArray
    load_node: IntArray
    load: IntArray
    discharge_demand: IntArray
    discharge_node: IntArray
    discharge: IntArray
    reject: IntArray
    asked: IntArray
    leg: IntArray
    moves: IntArray


def cargo_program(graph: CallGraph, rejection_penalty: float) -> CargoProgram:
    """The program of a network's calls.

    Parameters
    ----------
    graph
        From :func:`twin.liner.calls.call_graph`.
    rejection_penalty
        Money per FFE that is not carried.
    """
    nodes, changes, demands = len(graph.port), len(graph.transfer_tail), len(graph.demand)
    origins, group = np.unique(graph.origin, return_inverse=True)
    load_group, load_node = np.nonzero(origins[:, None] == graph.port[None, :])
    to, at = np.nonzero(graph.destination[:, None] == graph.port[None, :])
    sizes = [len(origins) * nodes, len(origins) * changes, len(load_node), len(at), demands]
    ends = np.cumsum([0, *sizes])
    ride, change, load, discharge, reject = (np.arange(*ends[k : k + 2]) for k in range(len(sizes)))
    ride, change = ride.reshape(len(origins), nodes), change.reshape(len(origins), changes)

    equal, most, terms = SparseRows(), SparseRows(), SparseRows()
    stays = equal.new(np.zeros((len(origins), nodes)))
    equal.add(stays, ride, 1.0)
    equal.add(stays[:, graph.leg_head], ride, -1.0)
    equal.add(stays[:, graph.transfer_tail], change, 1.0)
    equal.add(stays[:, graph.transfer_head], change, -1.0)
    equal.add(stays[load_group, load_node], load, -1.0)
    equal.add(stays[group[to], at], discharge, 1.0)
    asked = equal.new(graph.demand)
    equal.add(asked[to], discharge, 1.0)
    equal.add(asked, reject, 1.0)

    leg, moves = most.new(graph.leg_capacity), most.new(graph.port_moves)
    most.add(leg, ride, 1.0)
    most.add(moves[graph.transfer_port], change, _TRANSSHIPPED)
    most.add(moves[graph.port[load_node]], load, _HANDLED)
    most.add(moves[graph.port[at]], discharge, _HANDLED)

    revenue, handling, transshipment, penalty = terms.new(np.zeros(len(TERMS)))
    terms.add(revenue, discharge, -graph.revenue[to])
    terms.add(handling, load, graph.handling_cost[graph.port[load_node]])
    terms.add(handling, discharge, graph.handling_cost[graph.port[at]])
    terms.add(transshipment, change, graph.transshipment_cost[graph.transfer_port])
    terms.add(penalty, reject, rejection_penalty)
    return CargoProgram(
        graph=graph,
        group=group.astype(np.int64),
        origins=origins,
        ride=ride,
        change=change,
        load_group=load_group,
        load_node=load_node,
        load=load,
        discharge_demand=to,
        discharge_node=at,
        discharge=discharge,
        reject=reject,
        asked=asked,
        leg=leg,
        moves=moves,
        columns=int(ends[-1]),
        rows={"equal": equal, "most": most, "terms": terms},
    )
