"""The network as cargo sees it: calls, legs between them and transshipments, as flat arrays.

A node is a call of a service. Cargo is loaded at a node of its origin, sails from node to node, changes between nodes
of one port (also between two calls of one service) and is discharged at a node of its destination.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.liner.network import LinerNetwork
from twin.liner.sailing import voyage

__all__ = ["CallGraph", "call_graph"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CallGraph:
    """N calls, N legs, X transshipments, P ports, D demands; indices follow the order of the file.

    Attributes
    ----------
    service, call
        (N,) of each node, its service and which of the service's calls it is.
    port
        (N,) index of its port.
    leg_head
        (N,) leg n sails from node n to this node.
    leg_capacity
        (N,) FFE a week.
    leg_days
        (N,) days at sea.
    transfer_tail, transfer_head
        (X,) nodes between which cargo may change.
    transfer_port
        (X,) index of their port.
    handling_cost, transshipment_cost
        (P,) money per FFE.
    port_moves
        (P,) most moves a week, infinity without limit.
    origin, destination
        (D,) indices of ports.
    demand
        (D,) FFE a week.
    revenue
        (D,) money per FFE.
    """

    service_names: tuple[str, ...]
    port_names: tuple[str, ...]
    service: IntArray
    call: IntArray
    port: IntArray
    leg_head: IntArray
    leg_capacity: FloatArray
    leg_days: FloatArray
    transfer_tail: IntArray
    transfer_head: IntArray
    transfer_port: IntArray
    handling_cost: FloatArray
    transshipment_cost: FloatArray
    port_moves: FloatArray
    origin: IntArray
    destination: IntArray
    demand: FloatArray
    revenue: FloatArray

    def node_name(self, node: int) -> str:
        """A node as messages name it: port, service and number of the call."""
        return f"{self.port_names[self.port[node]]} ({self.service_names[self.service[node]]}, call {self.call[node]})"


def call_graph(network: LinerNetwork, closed: Collection[str] = ()) -> CallGraph:
    """Flat arrays of a network, with passages closed.

    Raises
    ------
    NetworkError
        For an unknown passage, or when no way of a leg is open.
    """
    ports = {name: k for k, name in enumerate(network.ports)}
    service, call, port, head, capacity, days = ([] for _ in range(6))  # type: ignore[var-annotated]
    for s, (name, terms) in enumerate(network.services.items()):
        first, size = len(port), len(terms.calls)
        for c, leg in enumerate(voyage(network, name, closed).legs):
            service.append(s)
            call.append(c)
            port.append(ports[leg.origin])
            head.append(first + (c + 1) % size)
            capacity.append(network.vessel_classes[terms.vessel_class].capacity_ffe)
            days.append(leg.days)
    here = np.array(port, dtype=np.int64)
    tail, onto = np.nonzero((here[:, None] == here[None, :]) & ~np.eye(len(here), dtype=np.bool_))
    moves = [entry.moves_per_week for entry in network.ports.values()]
    return CallGraph(
        service_names=tuple(network.services),
        port_names=tuple(network.ports),
        service=np.array(service, dtype=np.int64),
        call=np.array(call, dtype=np.int64),
        port=here,
        leg_head=np.array(head, dtype=np.int64),
        leg_capacity=np.array(capacity, dtype=np.float64),
        leg_days=np.array(days, dtype=np.float64),
        transfer_tail=tail,
        transfer_head=onto,
        transfer_port=here[tail],
        handling_cost=np.array([entry.handling_cost for entry in network.ports.values()]),
        transshipment_cost=np.array([entry.transshipment_cost for entry in network.ports.values()]),
        port_moves=np.array([np.inf if most is None else most for most in moves]),
        origin=np.array([ports[cargo.origin] for cargo in network.demands], dtype=np.int64),
        destination=np.array([ports[cargo.destination] for cargo in network.demands], dtype=np.int64),
        demand=np.array([cargo.ffe_per_week for cargo in network.demands]),
        revenue=np.array([cargo.revenue_per_ffe for cargo in network.demands]),
    )
