"""Topology: a network as flat, integer-indexed arrays, what the engines read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["ORDER_RECEIVE_DEMAND", "RECEIVE_DEMAND_ORDER", "RECEIVE_ORDER_DEMAND", "Packed", "Topology"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Phase orders as numbers, for the engines.
RECEIVE_ORDER_DEMAND, ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER = 0, 1, 2


class Topology(NamedTuple):
    """The arrays of a compiled network that the engines read. Sizes: I stock points, A arcs, R resources, D demands.

    ``*_ptr`` arrays delimit ragged lists: the inputs of arc a are ``in_stock[in_ptr[a]:in_ptr[a + 1]]``.
    ``arc_capacity`` is the most an arc can ship in a period, its resources included; ``arc_order_limit`` the most that
    is worth ordering at once: the maximum order, and the capacity where the rest would be cancelled. ``arc_lot`` is 0
    where any quantity may be ordered; ``arc_minimum`` and ``arc_maximum`` are whole lots. An arc ``owes`` where it may
    hold backorders: it backorders what it cannot ship, or orders wait while it is down. ``arc_life`` is the shelf life
    of what a transport carries and 0 for every other arc; its rows in ``transit_layers`` are (slot, life).
    """

    phase_order: int
    # stock points (I,)
    stock_holding: FloatArray
    stock_by_priority: NDArray[np.bool_]
    stock_terminal: FloatArray
    stock_waste_cost: FloatArray
    # arcs (A,)
    arc_destination: IntArray
    arc_capacity: FloatArray
    arc_order_limit: FloatArray
    arc_minimum: FloatArray
    arc_lot: FloatArray
    arc_maximum: FloatArray
    arc_backorders: NDArray[np.bool_]
    arc_waits: NDArray[np.bool_]
    arc_owes: NDArray[np.bool_]
    arc_integer: NDArray[np.bool_]
    arc_crossing: NDArray[np.bool_]
    arc_unit_cost: FloatArray
    arc_freight: FloatArray
    arc_fixed: FloatArray
    arc_transit_holding: FloatArray
    arc_emission_cost: FloatArray
    arc_backorder_cost: FloatArray
    arc_window: IntArray
    arc_fixed_lead: IntArray
    arc_life: IntArray
    pipe_ptr: IntArray
    mail_ptr: IntArray
    transit_ptr: IntArray
    in_ptr: IntArray
    in_stock: IntArray
    in_coefficient: FloatArray
    use_ptr: IntArray
    use_resource: IntArray
    use_coefficient: FloatArray
    # arcs in the order in which they ship, and what draws on a stock point: its arcs (with coefficient), its streams
    ship_order: IntArray
    draw_ptr: IntArray
    draw_arc: IntArray
    draw_coefficient: FloatArray
    sold_ptr: IntArray
    sold_demand: IntArray
    # base-stock orders are decided downstream first, and arcs into one stock point nearest first
    sequence: IntArray
    group_ptr: IntArray
    group_arc: IntArray
    # resources (R,)
    resource_capacity: FloatArray
    resource_by_priority: NDArray[np.bool_]
    resource_cost: FloatArray
    # demands (D,); goodwill row -1 where there is none
    demand_stock: IntArray
    demand_backlogs: NDArray[np.bool_]
    demand_integer: NDArray[np.bool_]
    demand_penalty: FloatArray
    demand_price: FloatArray
    demand_goodwill: IntArray
    goodwill_rate: FloatArray
    goodwill_floor: FloatArray
    # perishable stock, see twin.layers
    stock_life: IntArray
    stock_waste: IntArray
    layer_ptr: IntArray
    layer_life: IntArray
    layer_next: IntArray
    layer_ageing: IntArray
    entry_ptr: IntArray
    entry_layer: IntArray
    # resources (R,) that cost something used or not, and that give a share of their capacity by the calendar
    resource_overhead: FloatArray
    resource_overhead_down: FloatArray
    calendar_ptr: IntArray
    calendar_share: FloatArray

    def pack(self, dtype: DTypeLike = np.float64) -> Packed:
        """The same arrays end to end, floating-point numbers in the given precision."""
        flat = [np.atleast_1d(np.asarray(value)) for value in self]
        marks = np.zeros((len(flat), 2), dtype=np.int64)
        ends = {"f": 0, "i": 0}
        parts: dict[str, list[NDArray[Any]]] = {"f": [], "i": []}
        for k, value in enumerate(flat):
            kind = "f" if value.dtype.kind == "f" else "i"
            marks[k] = ends[kind], ends[kind] + len(value)
            ends[kind] += len(value)
            parts[kind].append(value)
        ints = np.concatenate(parts["i"]).astype(np.int64)
        return Packed(ints, np.concatenate(parts["f"]).astype(dtype), marks)


class Packed(NamedTuple):
    """A topology as two arrays: handing over many small ones would cost more than a period of one replica.

    Field k of :class:`Topology` is ``marks[k, 0]:marks[k, 1]`` of ``floats`` or, where it is a whole number or a flag,
    of ``ints``.
    """

    ints: IntArray
    floats: FloatArray
    marks: IntArray
