"""One period for all replicas: the production engine.

The functions below are the one definition of a period (docs/model.md). Replicas are the innermost, contiguous axis,
and work goes in tiles of replicas that stay in cache. A state rests at a decision epoch: everything that the network's
phase order puts before the order phase has happened. So one step is

    receive, order, demand   order, demand, charge | receive
    order, receive, demand   order, receive, demand, charge |
    receive, demand, order   order, charge | receive, demand

where the bar is the end of the period. What a network does not have takes no rows, so its loops run over nothing.
Inner loops go over the replicas b0 <= b < b1 of one tile; these are unsigned, so that the compiler need not ask whether
an index counts from the end and can use vector registers.

Functions without an underscore are called from Python, with a :class:`twin.topology.Packed` and a
:class:`twin.state.Store`.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from twin.state import StateArrays, Store
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND, Topology

__all__ = [
    "BASE_STOCK",
    "CONSTANT",
    "arrivals",
    "base_stock_orders",
    "positions",
    "prepare",
    "rollout",
    "scaled",
    "step",
    "tabulate",
]

#: A fused rollout works on a tile of replicas at a time, whose state, gathered, takes about so many bytes and stays in
#: the second-level cache.
TILE_BYTES = 1 << 20

#: A single period touches every row once or twice only; there it is long rows that count, so its tiles are wide.
WIDEST = 1024

#: Policies that a fused rollout knows.
CONSTANT, BASE_STOCK = 0, 1

# Compile-time copies of the phase orders (numba reads module globals as constants).
_ROD, _ORD, _RDO = RECEIVE_ORDER_DEMAND, ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER


# Views without a reference count: numba counts the arrays of a tuple one by one at every call, which costs more than a
# period of one replica. The arrays that they look at are arguments, so that they outlive the call.


@intrinsic
def _pointer(_typing, _address):  # type: ignore[no-untyped-def]
    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), generate


@njit(cache=True, inline="always")
def _row(flat, mark):  # type: ignore[no-untyped-def]
    return carray(_pointer(flat.ctypes.data + mark[0] * flat.itemsize), (mark[1] - mark[0],), flat.dtype)  # type: ignore[call-arg]


@njit(cache=True, inline="always")
def _rows(numbers, first, last):  # type: ignore[no-untyped-def]
    replicas = numbers.shape[1]
    address = numbers.ctypes.data + first * replicas * numbers.itemsize
    return carray(_pointer(address), (last - first, replicas), numbers.dtype)  # type: ignore[call-arg]


@njit(cache=True, inline="always")
def _topology(packed):  # type: ignore[no-untyped-def]
    """The topology as named views of its packed arrays; the order is that of the class (a test compares them)."""
    ints, floats, m = packed.ints, packed.floats, packed.marks
    return Topology(
        ints[0],  # phase_order
        _row(floats, m[1]),  # stock_holding
        _row(ints, m[2]),  # stock_by_priority
        _row(floats, m[3]),  # stock_terminal
        _row(floats, m[4]),  # stock_waste_cost
        _row(ints, m[5]),  # arc_destination
        _row(floats, m[6]),  # arc_capacity
        _row(floats, m[7]),  # arc_order_limit
        _row(floats, m[8]),  # arc_minimum
        _row(floats, m[9]),  # arc_lot
        _row(floats, m[10]),  # arc_maximum
        _row(ints, m[11]),  # arc_backorders
        _row(ints, m[12]),  # arc_waits
        _row(ints, m[13]),  # arc_owes
        _row(ints, m[14]),  # arc_integer
        _row(ints, m[15]),  # arc_crossing
        _row(floats, m[16]),  # arc_unit_cost
        _row(floats, m[17]),  # arc_freight
        _row(floats, m[18]),  # arc_fixed
        _row(floats, m[19]),  # arc_transit_holding
        _row(floats, m[20]),  # arc_emission_cost
        _row(floats, m[21]),  # arc_backorder_cost
        _row(ints, m[22]),  # arc_window
        _row(ints, m[23]),  # arc_fixed_lead
        _row(ints, m[24]),  # arc_life
        _row(ints, m[25]),  # pipe_ptr
        _row(ints, m[26]),  # mail_ptr
        _row(ints, m[27]),  # transit_ptr
        _row(ints, m[28]),  # in_ptr
        _row(ints, m[29]),  # in_stock
        _row(floats, m[30]),  # in_coefficient
        _row(ints, m[31]),  # use_ptr
        _row(ints, m[32]),  # use_resource
        _row(floats, m[33]),  # use_coefficient
        _row(ints, m[34]),  # ship_order
        _row(ints, m[35]),  # draw_ptr
        _row(ints, m[36]),  # draw_arc
        _row(floats, m[37]),  # draw_coefficient
        _row(ints, m[38]),  # sold_ptr
        _row(ints, m[39]),  # sold_demand
        _row(ints, m[40]),  # sequence
        _row(ints, m[41]),  # group_ptr
        _row(ints, m[42]),  # group_arc
        _row(floats, m[43]),  # resource_capacity
        _row(ints, m[44]),  # resource_by_priority
        _row(floats, m[45]),  # resource_cost
        _row(ints, m[46]),  # demand_stock
        _row(ints, m[47]),  # demand_backlogs
        _row(ints, m[48]),  # demand_integer
        _row(floats, m[49]),  # demand_penalty
        _row(floats, m[50]),  # demand_price
        _row(ints, m[51]),  # demand_goodwill
        _row(floats, m[52]),  # goodwill_rate
        _row(floats, m[53]),  # goodwill_floor
        _row(ints, m[54]),  # stock_life
        _row(ints, m[55]),  # stock_waste
        _row(ints, m[56]),  # layer_ptr
        _row(ints, m[57]),  # layer_life
        _row(ints, m[58]),  # layer_next
        _row(ints, m[59]),  # layer_ageing
        _row(ints, m[60]),  # entry_ptr
        _row(ints, m[61]),  # entry_layer
        _row(floats, m[62]),  # resource_overhead
        _row(floats, m[63]),  # resource_overhead_down
        _row(ints, m[64]),  # calendar_ptr
        _row(floats, m[65]),  # calendar_share
    )


@njit(cache=True, inline="always")
def _arrays(store):  # type: ignore[no-untyped-def]
    """The state as named views of its rows, in the order of the class."""
    numbers, m = store.numbers, store.marks
    return StateArrays(
        _rows(numbers, m[0], m[1]),  # on_hand
        _rows(numbers, m[1], m[2]),  # pipeline
        _rows(numbers, m[2], m[3]),  # in_transit
        _rows(numbers, m[3], m[4]),  # backorders
        _rows(numbers, m[4], m[5]),  # backlog
        _rows(numbers, m[5], m[6]),  # availability
        _rows(numbers, m[6], m[7]),  # demand
        _rows(numbers, m[7], m[8]),  # served
        _rows(numbers, m[8], m[9]),  # lost
        _rows(numbers, m[9], m[10]),  # delivered
        _rows(numbers, m[10], m[11]),  # shipped
        _rows(numbers, m[11], m[12]),  # mail
        _rows(numbers, m[12], m[13]),  # goodwill
        _rows(numbers, m[13], m[14]),  # layers
        _rows(numbers, m[14], m[15]),  # transit_layers
        _rows(numbers, m[15], m[16]),  # wasted
        _rows(numbers, m[16], m[17]),  # process_up
        _rows(numbers, m[17], m[18]),  # process_elapsed
        _rows(numbers, m[18], m[19]),  # process_remaining
        _rows(numbers, m[19], m[20]),  # warning
        _rows(numbers, m[20], m[21]),  # since
        _rows(numbers, m[21], m[22]),  # price
        _rows(numbers, m[22], m[23]),  # stage
        _rows(numbers, m[23], m[24]),  # clock
        _rows(numbers, m[24], m[25]),  # on_time
    )


@njit(cache=True, inline="always")
def _tile(rows, replicas, itemsize):  # type: ignore[no-untyped-def]
    """Replicas per tile: a multiple of 16 (whole vector registers), fewer the more rows of state there are.

    Never below 64: shorter loops cost more than a slower cache.
    """
    return min(replicas, max(64, TILE_BYTES // (itemsize * rows) // 16 * 16))


@njit(cache=True, inline="always")
def _slack(st):  # type: ignore[no-untyped-def]
    """What rounding may amount to: 3 x (1/3) counts as 1 whole unit, and less than this counts as nothing."""
    number = st.on_hand.dtype.type
    return number(1e-9) if st.on_hand.itemsize == 8 else number(1e-4)


# -- perishable stock: layers that make up on_hand -------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _issue(top, st, i, amount, b):  # type: ignore[no-untyped-def]
    """Take ``amount`` out of the layers of stock point i, in the order in which they leave."""
    zero = st.on_hand.dtype.type(0.0)
    for row in range(top.layer_ptr[i], top.layer_ptr[i + 1]):
        if amount <= zero:
            break
        take = min(st.layers[row, b], amount)
        st.layers[row, b] -= take
        amount -= take


@njit(cache=True, nogil=True, error_model="numpy")
def _carry(top, st, head, a, lands, b0, b1):  # type: ignore[no-untyped-def]
    """A perishable transport: what ships leaves the source's layers and arrives with the life that it has then."""
    zero = st.on_hand.dtype.type(0.0)
    source, target = top.in_stock[top.in_ptr[a]], top.arc_destination[a]
    life = top.arc_life[a]
    first, layers = top.pipe_ptr[a], top.transit_ptr[a]
    slots = top.pipe_ptr[a + 1] - first
    periods = 1 if top.phase_order != _ORD else 0
    for b in range(b0, b1):
        left = st.shipped[a, b]
        slot = lands[b - b0]
        arrived = zero
        for row in range(top.layer_ptr[source], top.layer_ptr[source + 1]):
            if left <= zero:
                break
            take = min(st.layers[row, b], left)
            st.layers[row, b] -= take
            left -= take
            then = top.layer_life[row] - (slot + periods)
            if then < 1:
                st.wasted[top.stock_waste[target], b] += take
            else:
                arrived += take
                if slot < 0:
                    st.layers[top.entry_layer[top.entry_ptr[target] + then - 1], b] += take
                else:
                    st.transit_layers[layers + (head + slot) % slots * life + then - 1, b] += take
        if slot < 0:
            st.on_hand[target, b] += arrived
        else:
            st.pipeline[first + (head + slot) % slots, b] += arrived
            st.in_transit[a, b] += arrived


@njit(cache=True, forceinline=True, error_model="numpy")
def _age(top, st, b0, b1):  # type: ignore[no-untyped-def]
    """The end of a period: what has one period of life left perishes, all other layers lose one period."""
    zero = st.on_hand.dtype.type(0.0)
    for i in range(len(top.stock_life)):
        if top.stock_life[i] == 0:
            continue
        first, last = top.layer_ptr[i], top.layer_ptr[i + 1]
        waste = top.stock_waste[i]
        for k in range(first, last):
            row = top.layer_ageing[k]
            to = top.layer_next[row]
            for b in range(b0, b1):
                if to < 0:
                    st.wasted[waste, b] += st.layers[row, b]
                else:
                    st.layers[to, b] = st.layers[row, b]
                st.layers[row, b] = zero
        for b in range(b0, b1):
            st.on_hand[i, b] = zero
        for row in range(first, last):
            for b in range(b0, b1):
                st.on_hand[i, b] += st.layers[row, b]


# -- phases ---------------------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True, error_model="numpy")
def _receive(top, st, head, b0, b1):  # type: ignore[no-untyped-def]
    """What is due arrives at its destination and its pipeline slot is emptied."""
    zero = st.on_hand.dtype.type(0.0)
    for a in range(len(top.arc_destination)):
        first = top.pipe_ptr[a]
        slot = head % (top.pipe_ptr[a + 1] - first)
        row = first + slot
        i = top.arc_destination[a]
        life = top.stock_life[i]
        if top.arc_life[a] > 0:
            for r in range(life):
                layer = top.entry_layer[top.entry_ptr[i] + r]
                carried = top.transit_ptr[a] + slot * life + r
                for b in range(b0, b1):
                    st.layers[layer, b] += st.transit_layers[carried, b]
                    st.transit_layers[carried, b] = zero
        elif life > 0:
            layer = top.entry_layer[top.entry_ptr[i] + life - 1]
            for b in range(b0, b1):
                st.layers[layer, b] += st.pipeline[row, b]
        for b in range(b0, b1):
            amount = st.pipeline[row, b]
            st.on_hand[i, b] += amount
            st.in_transit[a, b] = max(zero, st.in_transit[a, b] - amount)
            st.pipeline[row, b] = zero


@njit(cache=True, inline="always")
def _is_down(top, st, a, b):  # type: ignore[no-untyped-def]
    """Whether a resource that the arc uses is down."""
    down = False
    for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
        down |= st.availability[top.use_resource[j], b] == 0.0
    return down


@njit(cache=True, forceinline=True, error_model="numpy")
def _request(top, st, orders, head, b0, b1):  # type: ignore[no-untyped-def]
    """What every arc wants to ship, into ``shipped``: feasible orders, through the mail, plus what is owed."""
    number = st.on_hand.dtype.type
    zero, half = number(0.0), number(0.5)
    slack = _slack(st)
    for a in range(len(top.arc_destination)):
        lot, minimum, maximum = top.arc_lot[a], top.arc_minimum[a], top.arc_maximum[a]
        for b in range(b0, b1):
            amount = orders[a, b]
            # Rounding dust is no order, and neither is NaN.
            st.shipped[a, b] = amount if amount >= slack else zero
        if minimum > zero:
            for b in range(b0, b1):
                amount = st.shipped[a, b]
                st.shipped[a, b] = zero if amount < half * minimum else max(amount, minimum)
        if lot == number(1.0):
            for b in range(b0, b1):
                st.shipped[a, b] = np.floor(st.shipped[a, b] + half)
        elif lot > zero:
            for b in range(b0, b1):
                st.shipped[a, b] = lot * np.floor(st.shipped[a, b] / lot + half)
        if maximum < np.inf:
            for b in range(b0, b1):
                st.shipped[a, b] = min(st.shipped[a, b], maximum)
        posted = top.mail_ptr[a]
        if posted < top.mail_ptr[a + 1]:
            row = posted + head % (top.mail_ptr[a + 1] - posted)
            for b in range(b0, b1):
                amount = st.mail[row, b]
                st.mail[row, b] = st.shipped[a, b]
                st.shipped[a, b] = amount
        if not top.arc_waits[a]:
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                r = top.use_resource[j]
                for b in range(b0, b1):
                    st.shipped[a, b] = zero if st.availability[r, b] == zero else st.shipped[a, b]
        if top.arc_owes[a]:
            for b in range(b0, b1):
                st.shipped[a, b] += st.backorders[a, b]


@njit(cache=True, forceinline=True, error_model="numpy")
def _order(top, st, orders, lead, head, period, b0, b1):  # type: ignore[no-untyped-def]
    """Requests arrive at the sources; each ships what its stock and its resources allow.

    Proportional rationing gives every request on a short source the same share: what is left over what is still asked
    for, arc by arc, so that the last arc takes the remainder when whole units are rounded down, and what one arc cannot
    use (another of its inputs is short) goes to the arcs after it. Priority serves arcs in file order. An arc with
    several inputs and resources ships the least that any of them allows. None ever ships more than there is.
    """
    number = st.on_hand.dtype
    zero = number.type(0.0)
    width = int(b1 - b0)
    for w in range(len(st.wasted)):
        for b in range(b0, b1):
            st.wasted[w, b] = zero

    # How much of each source everybody together asks for, and what each resource can give.
    stock_asked = np.zeros((len(top.stock_holding) if len(top.in_stock) else 0, width), number)
    resource_asked = np.zeros((len(top.resource_capacity), width), number)
    resource_left = np.zeros((len(top.resource_capacity), width), number)
    _request(top, st, orders, head, b0, b1)
    for a in range(len(top.arc_destination)):
        capacity = top.arc_capacity[a]
        for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
            i, coefficient = top.in_stock[j], top.in_coefficient[j]
            for b in range(b0, b1):
                stock_asked[i, b - b0] += coefficient * min(st.shipped[a, b], capacity)
        for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
            r, coefficient = top.use_resource[j], top.use_coefficient[j]
            for b in range(b0, b1):
                resource_asked[r, b - b0] += coefficient * min(st.shipped[a, b], capacity)
    for r in range(len(top.resource_capacity)):
        for b in range(b0, b1):
            if st.availability[r, b] > zero:  # an unlimited resource that is down gives nothing
                resource_left[r, b - b0] = top.resource_capacity[r] * st.availability[r, b]
        first = top.calendar_ptr[r]
        cycle = top.calendar_ptr[r + 1] - first
        if cycle > 0:
            for b in range(b0, b1):
                resource_left[r, b - b0] *= top.calendar_share[first + period[b] % cycle]
    _ship(top, st, lead, head, stock_asked, resource_asked, resource_left, b0, b1)


@njit(cache=True, forceinline=True, error_model="numpy")
def _ship(top, st, lead, head, stock_asked, resource_asked, resource_left, b0, b1):  # type: ignore[no-untyped-def]
    """Arc after arc: limit what it ships, take its inputs and resources, keep what is owed, send the shipment off."""
    number = st.on_hand.dtype.type
    zero = number(0.0)
    slack = _slack(st)
    # Before the receive phase a lead time of L lands L slots ahead; after it the next receipt is one period away.
    ahead = 0 if top.phase_order == _ORD else -1
    request, lands = np.empty(int(b1 - b0), st.on_hand.dtype), np.empty(int(b1 - b0), np.int64)
    for n in range(len(top.ship_order)):
        a = top.ship_order[n]
        capacity = top.arc_capacity[a]
        uses = top.in_ptr[a] < top.in_ptr[a + 1] or top.use_ptr[a] < top.use_ptr[a + 1]
        if uses or capacity < np.inf or top.arc_owes[a]:
            if top.arc_owes[a]:
                for b in range(b0, b1):  # what is asked for waits here until the amount is known
                    st.backorders[a, b] = st.shipped[a, b]
            for b in range(b0, b1):
                amount = min(st.shipped[a, b], capacity)
                request[b - b0] = amount
                st.shipped[a, b] = amount
            for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                i, coefficient = top.in_stock[j], top.in_coefficient[j]
                if top.stock_by_priority[i]:
                    for b in range(b0, b1):
                        st.shipped[a, b] = min(st.shipped[a, b], st.on_hand[i, b] / coefficient)
                else:
                    for b in range(b0, b1):
                        there, asked = st.on_hand[i, b], stock_asked[i, b - b0]
                        share = request[b - b0] * there / asked
                        st.shipped[a, b] = min(st.shipped[a, b], share if there < asked else st.shipped[a, b])
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                r, coefficient = top.use_resource[j], top.use_coefficient[j]
                if top.resource_by_priority[r]:
                    for b in range(b0, b1):
                        st.shipped[a, b] = min(st.shipped[a, b], resource_left[r, b - b0] / coefficient)
                else:
                    for b in range(b0, b1):
                        there, asked = resource_left[r, b - b0], resource_asked[r, b - b0]
                        share = request[b - b0] * there / asked
                        st.shipped[a, b] = min(st.shipped[a, b], share if there < asked else st.shipped[a, b])
            if top.arc_integer[a]:
                for b in range(b0, b1):
                    st.shipped[a, b] = np.floor(st.shipped[a, b] + slack)
            else:
                for b in range(b0, b1):
                    amount = st.shipped[a, b]
                    st.shipped[a, b] = amount if amount >= slack else zero
            for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                i, coefficient = top.in_stock[j], top.in_coefficient[j]
                for b in range(b0, b1):
                    st.on_hand[i, b] = max(zero, st.on_hand[i, b] - coefficient * st.shipped[a, b])
                    stock_asked[i, b - b0] -= coefficient * request[b - b0]
                if top.stock_life[i] > 0 and top.arc_life[a] == 0:
                    for b in range(b0, b1):
                        _issue(top, st, i, coefficient * st.shipped[a, b], b)
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                r, coefficient = top.use_resource[j], top.use_coefficient[j]
                for b in range(b0, b1):
                    resource_left[r, b - b0] = max(zero, resource_left[r, b - b0] - coefficient * st.shipped[a, b])
                    resource_asked[r, b - b0] -= coefficient * request[b - b0]
            if top.arc_backorders[a]:
                for b in range(b0, b1):
                    st.backorders[a, b] -= st.shipped[a, b]
            elif top.arc_waits[a]:
                for b in range(b0, b1):
                    st.backorders[a, b] = st.backorders[a, b] - st.shipped[a, b] if _is_down(top, st, a, b) else zero

        first = top.pipe_ptr[a]
        slots = top.pipe_ptr[a + 1] - first
        i = top.arc_destination[a]
        fresh = top.entry_layer[top.entry_ptr[i] + top.stock_life[i] - 1] if top.stock_life[i] > 0 else -1
        fixed = top.arc_fixed_lead[a]
        if fixed >= 0 and top.arc_life[a] == 0:  # no arc with a fixed lead time overtakes itself
            if fixed + ahead >= 0:
                row = first + (head + fixed + ahead) % slots
                for b in range(b0, b1):
                    amount = st.shipped[a, b]
                    st.pipeline[row, b] += amount
                    st.in_transit[a, b] += amount
            else:
                for b in range(b0, b1):
                    st.on_hand[i, b] += st.shipped[a, b]
                if fresh >= 0:
                    for b in range(b0, b1):
                        st.layers[fresh, b] += st.shipped[a, b]
        else:
            for b in range(b0, b1):
                lands[b - b0] = (fixed if fixed >= 0 else lead[a, b]) + ahead
            if fixed < 0 and not top.arc_crossing[a]:
                for k in range(slots):
                    row = first + (head + k) % slots
                    for b in range(b0, b1):
                        if st.pipeline[row, b] >= slack and lands[b - b0] < k:
                            lands[b - b0] = k
            if top.arc_life[a] > 0:
                _carry(top, st, head, a, lands, b0, b1)
            else:
                # Slots of replicas lie far apart: no visit for nothing, and no division for every shipment.
                turn = head % slots
                for b in range(b0, b1):
                    amount = st.shipped[a, b]
                    slot = lands[b - b0]
                    if slot < 0:
                        st.on_hand[i, b] += amount
                        if fresh >= 0:
                            st.layers[fresh, b] += amount
                    elif amount != zero:
                        slot += turn
                        while slot >= slots:
                            slot -= slots
                        st.pipeline[first + slot, b] += amount
                        st.in_transit[a, b] += amount


@njit(cache=True, forceinline=True, error_model="numpy")
def _demand(top, st, demand, b0, b1):  # type: ignore[no-untyped-def]
    """Old backlog first, then new demand, from stock; the rest is backlogged or lost. Streams in file order."""
    number = st.on_hand.dtype.type
    zero, half, one = number(0.0), number(0.5), number(1.0)
    for d in range(len(top.demand_stock)):
        i = top.demand_stock[d]
        g = top.demand_goodwill[d]
        for b in range(b0, b1):
            st.demand[d, b] = demand[d, b]
        if g >= 0:
            for b in range(b0, b1):
                asked = st.goodwill[g, b] * st.demand[d, b]
                st.demand[d, b] = np.floor(asked + half) if top.demand_integer[d] else asked
        if top.demand_backlogs[d]:
            for b in range(b0, b1):
                asked, there, owed = st.demand[d, b], st.on_hand[i, b], st.backlog[d, b]
                old = min(there, owed)
                new = min(there - old, asked)
                st.on_hand[i, b] = there - old - new
                st.served[d, b] = new
                st.delivered[d, b] = old + new
                st.backlog[d, b] = owed - old + (asked - new)
        else:
            for b in range(b0, b1):
                asked, there = st.demand[d, b], st.on_hand[i, b]
                new = min(there, asked)
                st.on_hand[i, b] = there - new
                st.served[d, b] = new
                st.delivered[d, b] = new
                st.lost[d, b] = asked - new
        if top.stock_life[i] > 0:
            for b in range(b0, b1):
                _issue(top, st, i, st.delivered[d, b], b)
        if g >= 0:
            rate, floor = top.goodwill_rate[g], top.goodwill_floor[g]
            for b in range(b0, b1):
                share = st.served[d, b] / st.demand[d, b] if st.demand[d, b] > zero else one
                st.goodwill[g, b] += rate * (floor + (one - floor) * share - st.goodwill[g, b])


@njit(cache=True, inline="always")
def _add(total, to, rate, amount, row, b0, b1):  # type: ignore[no-untyped-def]
    """Add ``rate`` times a row to a row."""
    for b in range(b0, b1):
        total[to, b] += rate * amount[row, b]


@njit(cache=True, forceinline=True, error_model="numpy")
def _charge(top, st, costs, b0, b1):  # type: ignore[no-untyped-def]
    """Cost terms of the period, in the order of twin.economics.COST_TERMS."""
    zero = st.on_hand.dtype.type(0.0)
    for c in range(costs.shape[0]):
        for b in range(b0, b1):
            costs[c, b] = zero
    for i in range(len(top.stock_holding)):
        if top.stock_holding[i] != zero:
            _add(costs, 0, top.stock_holding[i], st.on_hand, i, b0, b1)
        if top.stock_waste_cost[i] != zero:
            _add(costs, 10, top.stock_waste_cost[i], st.wasted, top.stock_waste[i], b0, b1)
    for a in range(len(top.arc_destination)):
        if top.arc_transit_holding[a] != zero:
            _add(costs, 1, top.arc_transit_holding[a], st.in_transit, a, b0, b1)
        if top.arc_backorder_cost[a] != zero:
            _add(costs, 2, top.arc_backorder_cost[a], st.backorders, a, b0, b1)
        if top.arc_unit_cost[a] != zero:
            _add(costs, 4, top.arc_unit_cost[a], st.shipped, a, b0, b1)
        if top.arc_freight[a] != zero:
            _add(costs, 5, top.arc_freight[a], st.shipped, a, b0, b1)
        if top.arc_fixed[a] != zero:
            for b in range(b0, b1):
                costs[6, b] += top.arc_fixed[a] if st.shipped[a, b] > zero else zero
        if top.arc_emission_cost[a] != zero:
            _add(costs, 8, top.arc_emission_cost[a], st.shipped, a, b0, b1)
        for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
            rate = top.resource_cost[top.use_resource[j]] * top.use_coefficient[j]
            if rate != zero:
                _add(costs, 7, rate, st.shipped, a, b0, b1)
    for r in range(len(top.resource_overhead)):
        usual, down = top.resource_overhead[r], top.resource_overhead_down[r]
        if usual != zero or down != zero:
            for b in range(b0, b1):
                costs[7, b] += down if st.availability[r, b] == zero else usual
    for d in range(len(top.demand_stock)):
        if top.demand_penalty[d] != zero:
            if top.demand_backlogs[d]:
                _add(costs, 2, top.demand_penalty[d], st.backlog, d, b0, b1)
            else:
                _add(costs, 3, top.demand_penalty[d], st.lost, d, b0, b1)
        if top.demand_price[d] != zero:
            _add(costs, 9, -top.demand_price[d], st.delivered, d, b0, b1)


@njit(cache=True, nogil=True, error_model="numpy")
def _period(top, st, orders, demand, lead, availability, costs, head, period, b0, b1):  # type: ignore[no-untyped-def]
    """One period of one tile; ``period`` says which it is, by replica."""
    _order(top, st, orders, lead, head, period, b0, b1)
    # The phases after it as numbers, in their order: 0 receive, 1 demand, 2 the end of the period.
    if top.phase_order == _ROD:
        phases = (1, 2, 0)
    elif top.phase_order == _ORD:
        phases = (0, 1, 2)
    else:
        phases = (2, 0, 1)
    for k in range(3):
        if phases[k] == 0:
            _receive(top, st, head, b0, b1)
        elif phases[k] == 1:
            _demand(top, st, demand, b0, b1)
        else:
            _age(top, st, b0, b1)
            _charge(top, st, costs, b0, b1)
    for r in range(len(top.resource_capacity)):
        for b in range(b0, b1):
            st.availability[r, b] = availability[r, b]


@njit(cache=True, nogil=True)
def step(packed, store, orders, demand, lead, availability, costs, head, period):  # type: ignore[no-untyped-def]
    """Advance all replicas by one period, in place.

    Parameters
    ----------
    packed, store
        Topology and state. The state is changed.
    orders
        (A, B) units ordered on each arc.
    demand, lead, availability
        (D, B), (A, B), (R, B): one period of :class:`twin.tape.Draws`.
    costs
        (13, B), filled with the period's cost terms.
    head
        Ring position; the caller adds one afterwards.
    period
        (B,) which period it is.
    """
    top, st = _topology(packed), _arrays(store)
    replicas = orders.shape[1]
    for b0 in range(0, replicas, WIDEST):
        b1 = min(replicas, b0 + WIDEST)
        _period(top, st, orders, demand, lead, availability, costs, head, period, np.uint64(b0), np.uint64(b1))


@njit(cache=True, nogil=True)
def prepare(packed, store, demand, head):  # type: ignore[no-untyped-def]
    """From the start of a period to its decision epoch; returns the new ring position."""
    top, st = _topology(packed), _arrays(store)
    replicas = st.on_hand.shape[1]
    if top.phase_order == _ORD:
        return head
    _receive(top, st, head, np.uint64(0), np.uint64(replicas))
    if top.phase_order == _RDO:
        _demand(top, st, demand, np.uint64(0), np.uint64(replicas))
    return head + 1


# -- what decisions look at ------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def _positions(top, st, head, out, b0, b1):  # type: ignore[no-untyped-def]
    # A decision made before the receive phase counts the receipt of its own period as well.
    extra = 1 if top.phase_order == _ORD else 0
    one = st.on_hand.dtype.type(1.0)
    for i in range(len(top.stock_holding)):
        g0, g1 = top.group_ptr[i], top.group_ptr[i + 1]
        if g0 == g1:
            continue
        # The farthest arc's row holds the base (on hand minus owed) until its turn comes.
        farthest = top.group_arc[g1 - 1]
        for b in range(b0, b1):
            out[farthest, b] = st.on_hand[i, b]
        for k in range(top.sold_ptr[i], top.sold_ptr[i + 1]):
            if top.demand_backlogs[top.sold_demand[k]]:
                _add(out, farthest, -one, st.backlog, top.sold_demand[k], b0, b1)
        for k in range(top.draw_ptr[i], top.draw_ptr[i + 1]):
            if top.arc_owes[top.draw_arc[k]]:
                _add(out, farthest, -top.draw_coefficient[k], st.backorders, top.draw_arc[k], b0, b1)
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
                    _add(out, arc, one, st.pipeline, first + (head + k) % slots, b0, b1)
            counted = max(counted, window)
        for g in range(g0, g1):
            _add(out, farthest, one, st.in_transit, top.group_arc[g], b0, b1)
        # An arc's own unshipped orders are on their way as well, in the mail or at the source: they count for it and
        # for all farther arcs. A nearer arc counts what is in the mail where it will arrive within its own window.
        for g in range(g0, g1):
            arc = top.group_arc[g]
            posted, delay = top.mail_ptr[arc], top.mail_ptr[arc + 1] - top.mail_ptr[arc]
            lands = top.arc_window[arc] - delay + extra - 1
            for h in range(g0, g1):
                other = top.group_arc[h]
                if h >= g and top.arc_owes[arc]:
                    _add(out, other, one, st.backorders, arc, b0, b1)
                for k in range(delay):
                    if h >= g or lands + k < top.arc_window[other] + extra:
                        _add(out, other, one, st.mail, posted + (head + k) % delay, b0, b1)


@njit(cache=True, nogil=True)
def positions(packed, store, head, out):  # type: ignore[no-untyped-def]
    """Inventory position that each arc's order is decided on, at a decision epoch.

    For arc a into stock point i: on hand at i, minus what i owes (customer backlog and unshipped orders drawn on it),
    plus what arrives at i within the mean lead time of a over all arcs (what is still in the mail included), plus
    unshipped orders of a and of nearer arcs.
    The farthest arc counts the whole pipeline. With two sources these are the expedited and the regular position of
    dual-index policies (Veeraraghavan & Scheller-Wolf 2008, Operations Research 56(4)).

    Parameters
    ----------
    out
        (A, B), filled with units.
    """
    top, st = _topology(packed), _arrays(store)
    replicas = st.on_hand.shape[1]
    for b0 in range(0, replicas, WIDEST):
        _positions(top, st, head, out, np.uint64(b0), np.uint64(min(replicas, b0 + WIDEST)))


@njit(cache=True, nogil=True, error_model="numpy")
def arrivals(packed, store, head, edges, out):  # type: ignore[no-untyped-def]
    """Add up, per stock point, the pipeline that arrives in bands of receipts ahead.

    Parameters
    ----------
    edges
        (K,): band k holds the slots from ``edges[k]`` up to but without ``edges[k + 1]``, the last all from there on.
    out
        (I * K, B) of zeros, filled with units; row ``i * K + k``.
    """
    top, st = _topology(packed), _arrays(store)
    bands, replicas = len(edges), np.uint64(out.shape[1])
    zero = st.on_hand.dtype.type(0.0)
    for a in range(len(top.arc_destination)):
        first = top.pipe_ptr[a]
        slots = top.pipe_ptr[a + 1] - first
        base = top.arc_destination[a] * bands
        # The last band is what is in transit and not in an earlier one: long pipelines are not read to their end.
        last = base + bands - 1
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
            out[last, b] = max(zero, out[last, b])


@njit(cache=True, nogil=True)
def scaled(action, low, center, high, out):  # type: ignore[no-untyped-def]
    """Bring numbers from [-1, 1] to units: -1 is ``low``, 0 ``center`` and 1 ``high``, straight lines between them.

    Parameters
    ----------
    action
        (B, A); what lies outside counts as the end that it lies beyond.
    low, center, high
        (A,) units.
    out
        (A, B), filled with units.
    """
    replicas = np.uint64(action.shape[0])
    for a in range(action.shape[1]):
        middle, up, down = center[a], high[a] - center[a], center[a] - low[a]
        row = out[a]
        for b in range(np.uint64(0), replicas):
            row[b] = action[b, a]
        for b in range(np.uint64(0), replicas):  # apart from the gathering, so that nothing branches
            value = row[b]
            value = -1.0 if value < -1.0 else value
            value = 1.0 if value > 1.0 else value
            row[b] = middle + value * (up if value >= 0.0 else down)


@njit(cache=True, nogil=True)
def tabulate(rows, low, high, out):  # type: ignore[no-untyped-def]
    """Turn rows of numbers into one row per replica, in single precision and within bounds.

    Sixteen replicas at a time, so that what is read together lies together.

    Parameters
    ----------
    rows
        (n, B).
    low, high
        (n,) float32.
    out
        (B, n) float32, filled.
    """
    none, count = np.uint64(0), np.uint64(rows.shape[0])
    for first in range(0, rows.shape[1], 16):
        b0, b1 = np.uint64(first), np.uint64(min(rows.shape[1], first + 16))
        for k in range(none, count):
            least, most = low[k], high[k]
            for b in range(b0, b1):
                value = np.float32(rows[k, b])
                value = least if value <= least else value
                out[b, k] = most if value >= most else value


@njit(cache=True, nogil=True, error_model="numpy")
def _base_stock_orders(top, position, levels, orders, drawn, b0, b1):  # type: ignore[no-untyped-def]
    number = orders.dtype
    zero, one = number.type(0.0), number.type(1.0)
    for i in range(len(drawn)):
        for b in range(b0, b1):
            drawn[i, b - b0] = zero
    for s in range(len(top.sequence)):
        i = top.sequence[s]
        g0, g1 = top.group_ptr[i], top.group_ptr[i + 1]
        for g in range(g0, g1):
            arc = top.group_arc[g]
            limit = top.arc_order_limit[arc]
            for b in range(b0, b1):
                orders[arc, b] = position[arc, b]
            for h in range(g0, g):
                _add(orders, arc, one, orders, top.group_arc[h], b0, b1)
            if len(drawn):
                for b in range(b0, b1):
                    orders[arc, b] -= drawn[i, b - b0]
            for b in range(b0, b1):
                orders[arc, b] = min(max(zero, levels[arc, b] - orders[arc, b]), limit)
            for j in range(top.in_ptr[arc], top.in_ptr[arc + 1]):
                source, coefficient = top.in_stock[j], top.in_coefficient[j]
                for b in range(b0, b1):
                    drawn[source, b - b0] += coefficient * orders[arc, b]


@njit(cache=True, nogil=True)
def base_stock_orders(packed, position, levels, orders):  # type: ignore[no-untyped-def]
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
    top = _topology(packed)
    replicas = orders.shape[1]
    width = min(replicas, WIDEST)
    drawn = np.zeros((len(top.stock_holding) if len(top.in_stock) else 0, width), orders.dtype)
    for b0 in range(0, replicas, width):
        _base_stock_orders(top, position, levels, orders, drawn, np.uint64(b0), np.uint64(min(replicas, b0 + width)))


@njit(cache=True, nogil=True)
def rollout(packed, store, policy, levels, demand, lead, availability, head, start_period, warm_up, costs, service):  # type: ignore[no-untyped-def]
    """Many periods under a simple policy, draws given, without returning to Python.

    Parameters
    ----------
    policy
        CONSTANT (order ``levels``) or BASE_STOCK (order up to ``levels``).
    levels
        (A, B): one column per replica, so that replicas can be candidates of a search.
    demand, lead, availability
        A block of :class:`twin.tape.Draws`.
    start_period
        (B,) the period that it begins in.
    warm_up
        Leading periods whose costs are not counted.
    costs
        (13, B): the sums of the cost terms over counted periods are added.
    service
        (2, B): units asked for and units served at once are added.

    Returns
    -------
    int
        The new ring position.
    """
    top = _topology(packed)
    arcs, replicas = levels.shape
    number = levels.dtype
    width = _tile(store.numbers.shape[0] + 3 * arcs, replicas, levels.itemsize)
    # One tile's numbers, gathered so that they lie together; they go back when its last period is over.
    tile = Store(np.empty((store.numbers.shape[0], width), number), store.marks)
    st = _arrays(tile)
    level, orders = np.empty((arcs, width), number), np.empty((arcs, width), number)
    position, period = np.zeros((arcs, width), number), np.zeros((costs.shape[0], width), number)
    drawn = np.zeros((len(top.stock_holding) if len(top.in_stock) else 0, width), number)
    asked = np.empty((demand.shape[1], width))
    leads, working = np.empty((arcs, width), np.int32), np.empty((availability.shape[1], width))
    now = np.empty(width, np.int64)
    none, periods = np.uint64(0), demand.shape[0]
    for start in range(0, replicas, width):
        end = np.uint64(min(replicas - start, width))
        first = np.uint64(start)
        _copy(tile.numbers, store.numbers, none, first, end)
        _copy(level, levels, none, first, end)
        _copy(orders, levels, none, first, end)
        for t in range(periods):
            _copy(asked, demand[t], none, first, end)
            _copy(working, availability[t], none, first, end)
            for b in range(end):
                now[b] = start_period[first + b] + t
            for a in range(arcs):
                if top.arc_fixed_lead[a] < 0:
                    for b in range(end):
                        leads[a, b] = lead[t, a, first + b]
            if policy == BASE_STOCK:
                _positions(top, st, head + t, position, none, end)
                _base_stock_orders(top, position, level, orders, drawn, none, end)
            _period(top, st, orders, asked, leads, working, period, head + t, now, none, end)
            if t >= warm_up:
                for c in range(costs.shape[0]):
                    for b in range(end):
                        costs[c, first + b] += period[c, b]
                for d in range(len(top.demand_stock)):
                    for b in range(end):
                        service[0, first + b] += st.demand[d, b]
                        service[1, first + b] += st.served[d, b]
        _copy(store.numbers, tile.numbers, first, none, end)
    return head + periods


@njit(cache=True, nogil=True)
def _copy(to, source, to_first, source_first, count):  # type: ignore[no-untyped-def]
    """Copy ``count`` columns."""
    for row in range(to.shape[0]):
        for b in range(count):
            to[row, to_first + b] = source[row, source_first + b]
