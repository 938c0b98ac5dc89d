"""One period for all replicas: the production engine.

The functions below are the one definition of a period (see docs/architecture.md). Replicas are the innermost,
contiguous axis, and work goes in tiles of replicas that stay in cache. A state rests at a decision epoch: everything
that the network's phase order puts before the order phase has happened. So one step is

    receive, order, demand   order, demand, charge | receive
    order, receive, demand   order, receive, demand, charge |
    receive, demand, order   order, charge | receive, demand

where the bar is the end of the period.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twin.compile import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND

__all__ = ["BASE_STOCK", "CONSTANT", "arrivals", "base_stock_orders", "positions", "prepare", "rollout", "step"]

#: Numbers of state that one tile of replicas may hold, so that it stays in the second-level cache.
TILE_NUMBERS = 1 << 20

#: Policies that a fused rollout knows.
CONSTANT, BASE_STOCK = 0, 1

# Compile-time copies of the phase orders (numba reads module globals as constants).
_ROD, _ORD, _RDO = RECEIVE_ORDER_DEMAND, ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER


@njit(cache=True, inline="always")
def _tile(top, replicas):  # type: ignore[no-untyped-def]
    """Replicas per tile: a multiple of 8 (whole vector registers), fewer the larger the network."""
    rows = top.pipe_ptr[-1] + 4 * len(top.arc_destination) + len(top.stock_holding) + 5 * len(top.demand_stock)
    return min(replicas, max(8, TILE_NUMBERS // rows // 8 * 8))


@njit(cache=True, nogil=True, error_model="numpy")
def _receive(top, st, head, b0, b1):  # type: ignore[no-untyped-def]
    """What is due arrives at its destination and its pipeline slot is emptied."""
    for a in range(len(top.arc_destination)):
        first = top.pipe_ptr[a]
        row = first + head % (top.pipe_ptr[a + 1] - first)
        i = top.arc_destination[a]
        for b in range(b0, b1):
            amount = st.pipeline[row, b]
            st.on_hand[i, b] += amount
            st.in_transit[a, b] = max(0.0, st.in_transit[a, b] - amount)
            st.pipeline[row, b] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _order(top, st, orders, lead, head, b0, b1):  # type: ignore[no-untyped-def]
    """Requests arrive at the sources; each ships what its stock and its resources allow.

    Proportional rationing gives every request on a short source the same share: what is left over what is still asked
    for, arc by arc, so that the last arc takes the remainder when whole units are rounded down, and what one arc cannot
    use (another of its inputs is short) goes to the arcs after it. Priority serves arcs in file order. An arc with
    several inputs and resources ships the least that any of them allows. None ever ships more than there is.
    """
    arcs = len(top.arc_destination)
    width = b1 - b0
    for a in range(arcs):
        for b in range(b0, b1):
            want = orders[a, b]
            want = want if want > 0.0 else 0.0  # also turns NaN into no order
            if top.arc_integer[a]:
                want = np.floor(want + 0.5)
            if top.arc_backorders[a]:
                want += st.backorders[a, b]
            st.shipped[a, b] = want

    # How much of each source everybody together asks for, and what each resource can give.
    stock_asked = np.zeros((len(top.stock_holding) if len(top.in_stock) else 0, width))
    resource_asked = np.zeros((len(top.resource_capacity), width))
    resource_left = np.empty((len(top.resource_capacity), width))
    for a in range(arcs):
        capacity = top.arc_capacity[a]
        for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
            i = top.in_stock[j]
            for b in range(b0, b1):
                stock_asked[i, b - b0] += top.in_coefficient[j] * min(st.shipped[a, b], capacity)
        for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
            r = top.use_resource[j]
            for b in range(b0, b1):
                resource_asked[r, b - b0] += top.use_coefficient[j] * min(st.shipped[a, b], capacity)
    for r in range(len(top.resource_capacity)):
        for b in range(b0, b1):
            resource_left[r, b - b0] = top.resource_capacity[r] * st.availability[r, b]
    for level in range(top.levels):
        for a in range(arcs):
            if top.arc_level[a] == level:
                _ship(top, st, lead, head, a, stock_asked, resource_asked, resource_left, b0, b1)


@njit(cache=True, nogil=True, error_model="numpy")
def _ship(top, st, lead, head, a, stock_asked, resource_asked, resource_left, b0, b1):  # type: ignore[no-untyped-def]
    """Ship on one arc: limit the request, take the inputs, put the rest on backorder, fill the pipeline."""
    capacity = top.arc_capacity[a]
    limited = capacity < np.inf or top.in_ptr[a] < top.in_ptr[a + 1] or top.use_ptr[a] < top.use_ptr[a + 1]
    if limited:
        for b in range(b0, b1):
            asked = st.shipped[a, b]
            request = min(asked, capacity)
            amount = request
            for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                i = top.in_stock[j]
                there = st.on_hand[i, b]
                if top.stock_by_priority[i]:
                    amount = min(amount, there / top.in_coefficient[j])
                elif there < stock_asked[i, b - b0]:
                    amount = min(amount, request * there / stock_asked[i, b - b0])
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                r = top.use_resource[j]
                there = resource_left[r, b - b0]
                if top.resource_by_priority[r]:
                    amount = min(amount, there / top.use_coefficient[j])
                elif there < resource_asked[r, b - b0]:
                    amount = min(amount, request * there / resource_asked[r, b - b0])
            if top.arc_integer[a]:
                amount = np.floor(amount + 1e-9)  # 1e-9: 3 x (1/3) counts as 1
            for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                i = top.in_stock[j]
                st.on_hand[i, b] = max(0.0, st.on_hand[i, b] - top.in_coefficient[j] * amount)
                stock_asked[i, b - b0] -= top.in_coefficient[j] * request
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                r = top.use_resource[j]
                resource_left[r, b - b0] = max(0.0, resource_left[r, b - b0] - top.use_coefficient[j] * amount)
                resource_asked[r, b - b0] -= top.use_coefficient[j] * request
            if top.arc_backorders[a]:
                st.backorders[a, b] = asked - amount
            st.shipped[a, b] = amount

    first = top.pipe_ptr[a]
    slots = top.pipe_ptr[a + 1] - first
    i = top.arc_destination[a]
    # Before the receive phase a lead time of L lands L slots ahead; after it the next receipt is one period away.
    ahead = 0 if top.phase_order == _ORD else -1
    fixed = top.arc_fixed_lead[a]
    if fixed >= 0 and fixed + ahead >= 0:
        row = first + (head + fixed + ahead) % slots
        for b in range(b0, b1):
            amount = st.shipped[a, b]
            st.pipeline[row, b] += amount
            st.in_transit[a, b] += amount
    elif fixed >= 0:
        for b in range(b0, b1):
            st.on_hand[i, b] += st.shipped[a, b]
    else:
        for b in range(b0, b1):
            amount = st.shipped[a, b]
            slot = lead[a, b] + ahead
            if slot >= 0:
                st.pipeline[first + (head + slot) % slots, b] += amount
                st.in_transit[a, b] += amount
            else:
                st.on_hand[i, b] += amount


@njit(cache=True, nogil=True, error_model="numpy")
def _demand(top, st, demand, b0, b1):  # type: ignore[no-untyped-def]
    """Old backlog first, then new demand, from stock; the rest is backlogged or lost. Streams in file order."""
    for d in range(len(top.demand_stock)):
        i = top.demand_stock[d]
        backlogs = top.demand_backlogs[d]
        for b in range(b0, b1):
            asked = demand[d, b]
            there = st.on_hand[i, b]
            owed = st.backlog[d, b]
            old = min(there, owed)
            served = min(there - old, asked)
            short = asked - served
            st.on_hand[i, b] = there - old - served
            st.demand[d, b] = asked
            st.served[d, b] = served
            st.delivered[d, b] = old + served
            if backlogs:
                st.backlog[d, b] = owed - old + short
                st.lost[d, b] = 0.0
            else:
                st.lost[d, b] = short


@njit(cache=True, nogil=True, error_model="numpy")
def _charge(top, st, costs, b0, b1):  # type: ignore[no-untyped-def]
    """Cost terms of the period, in the order of twin.economics.COST_TERMS."""
    for c in range(costs.shape[0]):
        for b in range(b0, b1):
            costs[c, b] = 0.0
    for i in range(len(top.stock_holding)):
        if top.stock_holding[i] != 0.0:
            for b in range(b0, b1):
                costs[0, b] += top.stock_holding[i] * st.on_hand[i, b]
    for a in range(len(top.arc_destination)):
        if top.arc_transit_holding[a] != 0.0:
            for b in range(b0, b1):
                costs[1, b] += top.arc_transit_holding[a] * st.in_transit[a, b]
        if top.arc_unit_cost[a] != 0.0:
            for b in range(b0, b1):
                costs[4, b] += top.arc_unit_cost[a] * st.shipped[a, b]
        if top.arc_freight[a] != 0.0:
            for b in range(b0, b1):
                costs[5, b] += top.arc_freight[a] * st.shipped[a, b]
        if top.arc_fixed[a] != 0.0:
            for b in range(b0, b1):
                costs[6, b] += top.arc_fixed[a] if st.shipped[a, b] > 0.0 else 0.0
        if top.arc_emission_cost[a] != 0.0:
            for b in range(b0, b1):
                costs[8, b] += top.arc_emission_cost[a] * st.shipped[a, b]
        for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
            rate = top.resource_cost[top.use_resource[j]] * top.use_coefficient[j]
            if rate != 0.0:
                for b in range(b0, b1):
                    costs[7, b] += rate * st.shipped[a, b]
    for d in range(len(top.demand_stock)):
        penalty = top.demand_penalty[d]
        if top.demand_backlogs[d]:
            for b in range(b0, b1):
                costs[2, b] += penalty * st.backlog[d, b]
        else:
            for b in range(b0, b1):
                costs[3, b] += penalty * st.lost[d, b]
        if top.demand_price[d] != 0.0:
            for b in range(b0, b1):
                costs[9, b] -= top.demand_price[d] * st.delivered[d, b]


@njit(cache=True, nogil=True, error_model="numpy")
def _step_tile(top, st, orders, demand, lead, availability, costs, head, b0, b1):  # type: ignore[no-untyped-def]
    _order(top, st, orders, lead, head, b0, b1)
    if top.phase_order == _ROD:
        _demand(top, st, demand, b0, b1)
        _charge(top, st, costs, b0, b1)
        _receive(top, st, head, b0, b1)
    elif top.phase_order == _ORD:
        _receive(top, st, head, b0, b1)
        _demand(top, st, demand, b0, b1)
        _charge(top, st, costs, b0, b1)
    else:
        _charge(top, st, costs, b0, b1)
        _receive(top, st, head, b0, b1)
        _demand(top, st, demand, b0, b1)
    for r in range(len(top.resource_capacity)):
        for b in range(b0, b1):
            st.availability[r, b] = availability[r, b]


@njit(cache=True, nogil=True)
def step(top, st, orders, demand, lead, availability, costs, head):  # type: ignore[no-untyped-def]
    """Advance all replicas by one period, in place.

    Parameters
    ----------
    top, st
        Topology and StateArrays. ``st`` is changed.
    orders
        (A, B) units ordered on each arc.
    demand, lead, availability
        (D, B), (A, B), (R, B): one period of :class:`twin.tape.Draws`.
    costs
        (10, B), filled with the period's cost terms.
    head
        Ring position; the caller adds one afterwards.
    """
    replicas = orders.shape[1]
    tile = _tile(top, replicas)
    for b0 in range(0, replicas, tile):
        _step_tile(top, st, orders, demand, lead, availability, costs, head, b0, min(replicas, b0 + tile))


@njit(cache=True, nogil=True)
def prepare(top, st, demand, head):  # type: ignore[no-untyped-def]
    """From the start of a period to its decision epoch; returns the new ring position."""
    replicas = st.on_hand.shape[1]
    if top.phase_order == _ORD:
        return head
    _receive(top, st, head, 0, replicas)
    if top.phase_order == _RDO:
        _demand(top, st, demand, 0, replicas)
    return head + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _positions(top, st, head, out, b0, b1):  # type: ignore[no-untyped-def]
    # A decision made before the receive phase counts the receipt of its own period as well.
    extra = 1 if top.phase_order == _ORD else 0
    for i in range(len(top.stock_holding)):
        g0, g1 = top.group_ptr[i], top.group_ptr[i + 1]
        if g0 == g1:
            continue
        # The farthest arc's row holds the base (on hand minus owed) until its turn comes.
        farthest = top.group_arc[g1 - 1]
        for b in range(b0, b1):
            out[farthest, b] = st.on_hand[i, b]
        for d in range(len(top.demand_stock)):
            if top.demand_stock[d] == i:
                for b in range(b0, b1):
                    out[farthest, b] -= st.backlog[d, b]
        for a in range(len(top.arc_destination)):
            if top.arc_backorders[a]:
                for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                    if top.in_stock[j] == i:
                        for b in range(b0, b1):
                            out[farthest, b] -= top.in_coefficient[j] * st.backorders[a, b]
        # Nearest arc first; each farther arc also counts what arrives between the two windows.
        counted = 0
        for g in range(g0, g1 - 1):
            arc = top.group_arc[g]
            before = top.group_arc[g - 1] if g > g0 else farthest
            for b in range(b0, b1):
                out[arc, b] = out[before, b]
            window = top.arc_window[arc] + extra
            for h in range(g0, g1):
                other = top.group_arc[h]
                first = top.pipe_ptr[other]
                slots = top.pipe_ptr[other + 1] - first
                for k in range(counted, min(window, slots)):
                    row = first + (head + k) % slots
                    for b in range(b0, b1):
                        out[arc, b] += st.pipeline[row, b]
            counted = max(counted, window)
        for g in range(g0, g1):
            other = top.group_arc[g]
            for b in range(b0, b1):
                out[farthest, b] += st.in_transit[other, b]
        # An arc's own unshipped orders are on their way as well: they count for it and for all farther arcs.
        for g in range(g0, g1):
            arc = top.group_arc[g]
            if top.arc_backorders[arc]:
                for h in range(g, g1):
                    for b in range(b0, b1):
                        out[top.group_arc[h], b] += st.backorders[arc, b]


@njit(cache=True, nogil=True)
def positions(top, st, head, out):  # type: ignore[no-untyped-def]
    """Inventory position that each arc's order is decided on, at a decision epoch.

    For arc a into stock point i: on hand at i, minus what i owes (customer backlog and unshipped orders drawn on it),
    plus what arrives at i within the mean lead time of a over all arcs, plus unshipped orders of a and of nearer arcs.
    The farthest arc counts the whole pipeline. With two sources these are the expedited and the regular position of
    dual-index policies (Veeraraghavan & Scheller-Wolf 2008, Operations Research 56(4)).

    Parameters
    ----------
    out
        (A, B), filled with units.
    """
    replicas = st.on_hand.shape[1]
    tile = _tile(top, replicas)
    for b0 in range(0, replicas, tile):
        _positions(top, st, head, out, b0, min(replicas, b0 + tile))


@njit(cache=True, nogil=True, error_model="numpy")
def arrivals(top, st, head, edges, out):  # type: ignore[no-untyped-def]
    """Add up, per stock point, the pipeline that arrives in bands of receipts ahead.

    Parameters
    ----------
    edges
        (K,): band k holds the slots from ``edges[k]`` up to but without ``edges[k + 1]``, the last all from there on.
    out
        (I * K, B) of zeros, filled with units; row ``i * K + k``.
    """
    bands = len(edges)
    replicas = out.shape[1]
    for a in range(len(top.arc_destination)):
        first = top.pipe_ptr[a]
        slots = top.pipe_ptr[a + 1] - first
        base = top.arc_destination[a] * bands
        last = base + bands - 1
        # The last band is what is in transit and not in an earlier one: long pipelines are not read to their end.
        for b in range(replicas):
            out[last, b] += st.in_transit[a, b]
        for k in range(bands - 1):
            for slot in range(edges[k], min(edges[k + 1], slots)):
                row = first + (head + slot) % slots
                for b in range(replicas):
                    amount = st.pipeline[row, b]
                    out[base + k, b] += amount
                    out[last, b] -= amount
    for i in range(len(top.stock_holding)):
        last = i * bands + bands - 1
        for b in range(replicas):
            out[last, b] = max(0.0, out[last, b])


@njit(cache=True, nogil=True, error_model="numpy")
def _base_stock_orders(top, position, levels, orders, b0, b1):  # type: ignore[no-untyped-def]
    drawn = np.zeros((len(top.stock_holding) if len(top.in_stock) else 0, b1 - b0))
    for s in range(len(top.sequence)):
        i = top.sequence[s]
        g0, g1 = top.group_ptr[i], top.group_ptr[i + 1]
        for g in range(g0, g1):
            arc = top.group_arc[g]
            for b in range(b0, b1):
                there = position[arc, b]
                for h in range(g0, g):
                    there += orders[top.group_arc[h], b]
                if len(top.in_stock):
                    there -= drawn[i, b - b0]
                orders[arc, b] = min(max(0.0, levels[arc, b] - there), top.arc_order_limit[arc])
            for j in range(top.in_ptr[arc], top.in_ptr[arc + 1]):
                source = top.in_stock[j]
                for b in range(b0, b1):
                    drawn[source, b - b0] += top.in_coefficient[j] * orders[arc, b]


@njit(cache=True, nogil=True)
def base_stock_orders(top, position, levels, orders):  # type: ignore[no-untyped-def]
    """Order up to each arc's level, but no more on an arc than it can ship where the rest would be cancelled.

    Stock points decide downstream first, and each counts what the arcs it feeds have just ordered from it, so that a
    demand moves every stage of a chain in the same period: in a serial system local levels then act exactly as
    echelon levels do (Axsater & Rosling 1993, Management Science 39(10)). Arcs into one stock point decide nearest
    first, and a farther arc counts what nearer ones have just ordered.

    Parameters
    ----------
    position, levels
        (A, B) units, see :func:`positions`.
    orders
        (A, B), filled with units.
    """
    replicas = orders.shape[1]
    tile = _tile(top, replicas)
    for b0 in range(0, replicas, tile):
        _base_stock_orders(top, position, levels, orders, b0, min(replicas, b0 + tile))


@njit(cache=True, nogil=True)
def rollout(top, st, policy, levels, demand, lead, availability, head, warm_up, costs, service):  # type: ignore[no-untyped-def]
    """Many periods under a simple policy, draws given, without returning to Python.

    Parameters
    ----------
    policy
        CONSTANT (order ``levels``) or BASE_STOCK (order up to ``levels``).
    levels
        (A, B): one column per replica, so that replicas can be candidates of a search.
    demand, lead, availability
        A block of :class:`twin.tape.Draws`.
    warm_up
        Leading periods whose costs are not counted.
    costs
        (10, B): the sums of the cost terms over counted periods are added.
    service
        (2, B): units asked for and units served at once are added.

    Returns
    -------
    int
        The new ring position.
    """
    replicas = levels.shape[1]
    arcs = levels.shape[0]
    periods = demand.shape[0]
    orders = np.zeros((arcs, replicas))
    position = np.zeros((arcs, replicas))
    period = np.zeros((costs.shape[0], replicas))
    tile = _tile(top, replicas)
    for b0 in range(0, replicas, tile):
        b1 = min(replicas, b0 + tile)
        for t in range(periods):
            if policy == BASE_STOCK:
                _positions(top, st, head + t, position, b0, b1)
                _base_stock_orders(top, position, levels, orders, b0, b1)
            else:
                for a in range(arcs):
                    for b in range(b0, b1):
                        orders[a, b] = levels[a, b]
            _step_tile(top, st, orders, demand[t], lead[t], availability[t], period, head + t, b0, b1)
            if t >= warm_up:
                for c in range(costs.shape[0]):
                    for b in range(b0, b1):
                        costs[c, b] += period[c, b]
                for d in range(st.demand.shape[0]):
                    for b in range(b0, b1):
                        service[0, b] += st.demand[d, b]
                        service[1, b] += st.served[d, b]
    return head + periods
