"""The arithmetic of a day's orders on a liner network, replicas last, for :class:`twin.liner.assignment.Assignment`.

What is booked is refused, sent by air or loaded; what is at calls changes vessels, is discharged or sails. Functions
without an underscore are called from Python.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin.liner.routing import DISCHARGE, LEG, LOAD, REFUSE, TRANSFER
from twin.liner.schedule import WEEK

__all__ = [
    "REFUSAL",
    "Tables",
    "cheapest",
    "day_orders",
    "divide",
    "permit",
    "ready",
    "service_ranks",
    "spill",
    "waiting",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: FFE that are rounding, and no cargo; the engine's own rule.
_DUST = 1e-9

#: What stands for the first call of a way that is a refusal; of one by air it is -1.
REFUSAL = -2

#: Ranks in which a port's moves are given: loading by the days until it is due with discharge among it, then
#: transshipment by the days until it is due.
_CHANGES = WEEK + 1
_RANKS = _CHANGES + WEEK


class Tables(NamedTuple):
    """What the functions below look at; ``*_ptr`` arrays delimit ragged lists."""

    stock_demand: IntArray  # (I,)
    arc_kind: IntArray  # (A,)
    arc_demand: IntArray  # (A,)
    arc_tail: IntArray  # (A,) call, -1 from outside
    arc_stock: IntArray  # (A,) stock point that it draws on, -1 from outside
    arc_head_stock: IntArray  # (A,)
    arc_around: IntArray  # (A,)
    into_ptr: IntArray  # (I + 1,) arcs into a stock point
    into_arc: IntArray
    out_ptr: IntArray  # (I + 1,) arcs that draw on a stock point, usual ways of legs only
    out_arc: IntArray
    bought_ptr: IntArray  # (D + 1,) purchases of a demand
    bought_arc: IntArray
    weekday: IntArray  # (N,)
    slots: FloatArray  # (N,)
    pipe_ptr: IntArray  # (A + 1,)
    use_ptr: IntArray  # (A + 1,)
    use_resource: IntArray
    arc_move: IntArray  # (A,) resource of the port's moves, -1 where it takes none or they have no limit
    arc_slot: IntArray  # (A,) resource of the departure's slots, -1 where it is no leg
    arc_use: FloatArray  # (A,) moves, or slots, per FFE
    arc_rank: IntArray  # (7, A) by weekday: in which order arcs get the moves of a port, see `service_ranks`
    capacity: FloatArray  # (R,)


def service_ranks(kind: IntArray, due: IntArray) -> IntArray:
    """In which order arcs get the moves of a port, (7, A) by weekday, the lowest first; see ``_serve``.

    Parameters
    ----------
    kind
        (A,) of arcs.
    due
        (A,) weekday on which moves are made at the latest for the next departure; what it says of discharge is not
        looked at.
    """
    days = (due - np.arange(WEEK)[:, None]) % WEEK
    # Discharge comes between what is loaded for tomorrow and for the day after.
    rank = np.where(kind == TRANSFER, _CHANGES + days, np.where(days < 2, days, days + 1))
    return np.where(kind == DISCHARGE, 2, rank).astype(np.int64)


@njit(cache=True, nogil=True)
def cheapest(first_way, cost, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (F, B) with the way of every flow that costs least, -1 where it has none."""
    for f in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[f, b] = -1
        for w in range(first_way[f], first_way[f + 1]):
            for b in range(out.shape[1]):
                if out[f, b] < 0 or cost[w, b] < cost[first_way[f] + out[f, b], b]:
                    out[f, b] = w - first_way[f]


@njit(cache=True, nogil=True)
def waiting(tables, on_hand, in_transit, backlog, out):  # type: ignore[no-untyped-def]
    """Backlog less what is at calls, delivered and not yet handed over, or between them."""
    replicas = np.uint64(out.shape[1])
    for d in range(out.shape[0]):
        for b in range(replicas):
            out[d, b] = backlog[d, b]
    for i in range(len(tables.stock_demand)):
        d = tables.stock_demand[i]
        for b in range(replicas):
            out[d, b] -= on_hand[i, b]
    for a in range(len(tables.arc_demand)):
        d = tables.arc_demand[a]
        for b in range(replicas):
            out[d, b] -= in_transit[a, b]
    for d in range(out.shape[0]):
        for b in range(replicas):
            amount = out[d, b]
            out[d, b] = amount if amount >= _DUST else 0.0


@njit(cache=True, nogil=True)
def permit(tables, booked, orders):  # type: ignore[no-untyped-def]
    """Cut purchases (of ``orders`` (A, B), in place) in proportion to what is booked and not under way, (D, B)."""
    for d in range(booked.shape[0]):
        first, last = tables.bought_ptr[d], tables.bought_ptr[d + 1]
        for b in range(booked.shape[1]):
            asked = 0.0
            for n in range(first, last):
                a = tables.bought_arc[n]
                orders[a, b] = max(orders[a, b], 0.0)
                asked += orders[a, b]
            if asked > booked[d, b]:
                for n in range(first, last):
                    orders[tables.bought_arc[n], b] *= booked[d, b] / asked


@njit(cache=True, nogil=True)
def ready(tables, on_hand, pipeline, head, period, share, out):  # type: ignore[no-untyped-def]
    """Add to ``out``, per call (N, B), what is there or comes in time for the next departure, and sails with it."""
    replicas = np.uint64(out.shape[1])
    for i in range(len(tables.out_ptr) - 1):
        for n in range(tables.out_ptr[i], tables.out_ptr[i + 1]):
            a = tables.out_arc[n]
            if tables.arc_kind[a] != LEG:
                continue
            node = tables.arc_tail[a]
            leaves = tables.weekday[node]
            for b in range(replicas):
                out[node, b] += share[a, b] * on_hand[i, b]
            for g in range(tables.into_ptr[i], tables.into_ptr[i + 1]):
                into = tables.into_arc[g]
                first = tables.pipe_ptr[into]
                slots = tables.pipe_ptr[into + 1] - first
                for k in range(min(slots, WEEK - 1)):  # slot k is there k + 1 days from now
                    row = first + (head + k) % slots
                    for b in range(replicas):
                        if k < (leaves - period[b]) % WEEK:
                            out[node, b] += share[a, b] * pipeline[row, b]


@njit(cache=True, nogil=True)
def divide(first_way, way_arc, cost, weight, period, tolerance, share):  # type: ignore[no-untyped-def]
    """Shares (A, B) of flows at calls: the cheapest ways, divided by weight where several are.

    Parameters
    ----------
    first_way
        (F + 1,) of these flows.
    way_arc, cost
        (W,) and (W, B) of all ways.
    weight, period
        (7, W) of all ways by weekday, and the day (B,).
    tolerance
        Money per FFE up to which a way is as cheap as the cheapest.
    """
    taken = np.zeros(len(way_arc), np.bool_)
    for f in range(len(first_way) - 1):
        first, last = first_way[f], first_way[f + 1]
        for b in range(cost.shape[1]):
            at = _cheapest_way(first, last, cost, b, taken, tolerance)
            if at < 0:
                continue
            total = 0.0
            for w in range(first, last):
                if cost[w, b] <= cost[at, b] + tolerance:
                    total += weight[period[b] % WEEK, w]
            if total <= _DUST:
                share[way_arc[at], b] = 1.0
                continue
            for w in range(first, last):
                if cost[w, b] <= cost[at, b] + tolerance:
                    share[way_arc[w], b] += weight[period[b] % WEEK, w] / total


@njit(cache=True, inline="always")
def _cheapest_way(first, last, cost, b, taken, tolerance):  # type: ignore[no-untyped-def]
    """The cheapest way from ``first`` to before ``last`` that is not taken, the first of equals; -1 without one.

    Which of equals comes first is not left to rounding.
    """
    least, chosen = np.inf, -1
    for w in range(first, last):
        if not taken[w]:
            least = min(least, cost[w, b])
    for w in range(last - 1, first - 1, -1):
        if not taken[w] and cost[w, b] <= least + tolerance:
            chosen = w
    return chosen


@njit(cache=True, nogil=True)
def spill(  # type: ignore[no-untyped-def]
    first_way, way_arc, way_call, cost, unloaded, booked, room, patience, weights, period, tolerance, share
):
    """Shares (A, B) of what is booked: on the cheapest ways while they have room, then on the next cheapest.

    Whoever has most to lose comes first: the demand whose dearest way, usually refusal, costs most more than its
    cheapest. What is left when ways cost more than ``patience`` more than the cheapest waits; it is refused where that
    is among the cheapest, and never else, as there is room again next week. Several ways that are cheapest have their
    parts by weight, the refused one being of what was booked today: of what is older it has been refused before.

    Parameters
    ----------
    first_way, way_arc
        (D + 1,) and (W,) of the flows of bookings.
    way_call
        (W,) call at which the first vessel is boarded, -1 where there is none.
    cost
        (W, B).
    unloaded, booked
        (D, B) what waits, and what of it was booked in the latest demand phase.
    room
        (N, B) slots left; what is used is taken off.
    patience
        Money per FFE.
    weights, period
        (7, W) by weekday, and the day (B,).
    tolerance
        Money per FFE up to which a way is as cheap as the cheapest.
    """
    demands = len(first_way) - 1
    gain, best, taken = np.empty(demands), np.empty(demands), np.zeros(len(way_arc), np.bool_)
    for b in range(cost.shape[1]):
        weight = weights[period[b] % WEEK]
        for d in range(demands):
            best[d], dearest = np.inf, -np.inf
            for w in range(first_way[d], first_way[d + 1]):
                best[d] = min(best[d], cost[w, b])
                dearest = max(dearest, cost[w, b])
            # In steps of what counts as equal: the order of those who lose as much is not one of rounding.
            gain[d] = np.rint((best[d] - dearest) / tolerance)
        for d in np.argsort(gain, kind="mergesort"):
            first, last, amount = first_way[d], first_way[d + 1], unloaded[d, b]
            if amount <= 0.0:
                # Nothing is there to be divided: all of what comes takes the cheapest.
                at = _cheapest_way(first, last, cost, b, taken, tolerance)
                if at >= 0:
                    share[way_arc[at], b] = 1.0
                continue
            total, carried = 0.0, 0.0
            for w in range(first, last):
                if cost[w, b] <= best[d] + tolerance:
                    total += weight[w]
                    if way_call[w] != REFUSAL:
                        carried += weight[w]
            left, refused = amount, 0.0
            if carried > _DUST:
                refused = min(booked[d, b], amount) * (1.0 - carried / total)
                left -= refused
                most = left
                for w in range(first, last):
                    if cost[w, b] <= best[d] + tolerance and way_call[w] != REFUSAL and weight[w] > 0.0:
                        part = _part(way_call[w], most * weight[w] / carried, room, b)
                        share[way_arc[w], b] += part
                        left -= part
            while left > _DUST:
                chosen = _cheapest_way(first, last, cost, b, taken, tolerance)
                if chosen < 0 or cost[chosen, b] > best[d] + patience:
                    break
                taken[chosen] = True
                if way_call[chosen] == REFUSAL:
                    if cost[chosen, b] > best[d] + tolerance:
                        continue
                    refused += left
                    break
                part = _part(way_call[chosen], left, room, b)
                share[way_arc[chosen], b] += part
                left -= part
            for w in range(first, last):
                a, taken[w] = way_arc[w], False
                if way_call[w] == REFUSAL:
                    share[a, b] = min(refused / amount, 1.0)
                elif _first_of(way_arc, first, w) and share[a, b] > 0.0:
                    # Next to nothing may be left where the rest is refused.
                    rest = amount - refused
                    share[a, b] = min(share[a, b] / rest, 1.0) if rest > _DUST else 0.0


@njit(cache=True, inline="always")
def _part(call, wanted, room, b):  # type: ignore[no-untyped-def]
    """How much of what is wanted there is room for at a call, all of it where there is none; taken off the room."""
    if call < 0:
        return wanted
    part = min(wanted, max(room[call, b], 0.0))
    room[call, b] -= part
    return part


@njit(cache=True, inline="always")
def _first_of(way_arc, first, w):  # type: ignore[no-untyped-def]
    """Whether no way before w begins on its arc."""
    found = False
    for other in range(first, w):
        found |= way_arc[other] == way_arc[w]
    return not found


@njit(cache=True, nogil=True)
def _load(tables, unloaded, booked, share, by_booking, room, orders):  # type: ignore[no-untyped-def]
    """Purchases: refusal, then air and loading, the latter as far as there is room."""
    demands, replicas = unloaded.shape
    wanted = np.zeros(room.shape)
    for d in range(demands):
        for b in range(replicas):
            left = unloaded[d, b]
            for n in range(tables.bought_ptr[d], tables.bought_ptr[d + 1]):
                a = tables.bought_arc[n]
                if tables.arc_kind[a] == REFUSE and share[a, b] > 0.0:
                    part = min(left, share[a, b] * (booked[d, b] if by_booking else left))
                    orders[a, b] = part
                    left -= part
            for n in range(tables.bought_ptr[d], tables.bought_ptr[d + 1]):
                a = tables.bought_arc[n]
                if tables.arc_kind[a] != REFUSE:
                    orders[a, b] = min(share[a, b], 1.0) * left
    for a in range(len(tables.arc_kind)):
        if tables.arc_kind[a] == LOAD:
            node = _first_call(tables, a)
            for b in range(replicas):
                wanted[node, b] += orders[a, b]
    for a in range(len(tables.arc_kind)):
        if tables.arc_kind[a] == LOAD:
            node = _first_call(tables, a)
            for b in range(replicas):
                if wanted[node, b] > room[node, b]:
                    orders[a, b] *= room[node, b] / wanted[node, b]


@njit(cache=True, inline="always")
def _first_call(tables, a):  # type: ignore[no-untyped-def]
    """The call at which a loading arc ends: where what draws on its stock point begins."""
    return tables.arc_tail[tables.out_arc[tables.out_ptr[tables.arc_head_stock[a]]]]


@njit(cache=True, inline="always")
def _open(tables, availability, a, b):  # type: ignore[no-untyped-def]
    """The arc itself, or the next longer way of the leg none of whose resources is down; itself where all are."""
    way = a
    while way >= 0:
        down = False
        for j in range(tables.use_ptr[way], tables.use_ptr[way + 1]):
            down |= availability[tables.use_resource[j], b] == 0.0
        if not down:
            return way
        way = tables.arc_around[way]
    return a


@njit(cache=True, nogil=True)
def _handle(tables, on_hand, period, share, orders):  # type: ignore[no-untyped-def]
    """Transshipments and discharging: the parts of flows at calls that do not sail."""
    replicas = orders.shape[1]
    mixes = np.empty(replicas, np.bool_)
    for i in range(len(tables.out_ptr) - 1):
        leg = _leg(tables, i)
        mixes[:] = False
        for g in range(tables.into_ptr[i], tables.into_ptr[i + 1]):
            if tables.arc_kind[tables.into_arc[g]] != LEG:
                for b in range(replicas):
                    mixes[b] |= share[tables.into_arc[g], b] > 0.0
        for n in range(tables.out_ptr[i], tables.out_ptr[i + 1]):
            a = tables.out_arc[n]
            if a == leg:
                continue
            leaves = tables.weekday[tables.arc_tail[a]]
            for b in range(replicas):
                part = min(share[a, b], 1.0)
                rest = 1.0 - (share[leg, b] if leg >= 0 else 0.0)
                if 0.0 < rest < 1.0 and (period[b] - leaves) % WEEK != 0:
                    # The flow has parted. What is left of it lacked moves, unless some of it has come since.
                    part = 0.0 if mixes[b] else min(part / rest, 1.0)
                orders[a, b] = part * on_hand[i, b]


@njit(cache=True, nogil=True)
def _sail(tables, on_hand, availability, period, share, orders):  # type: ignore[no-untyped-def]
    """Legs from which a vessel leaves today, with what is there and what is loaded today."""
    for i in range(len(tables.out_ptr) - 1):
        leg = _leg(tables, i)
        if leg < 0:
            continue
        leaves = tables.weekday[tables.arc_tail[leg]]
        for b in range(orders.shape[1]):
            if share[leg, b] <= 0.0 or (period[b] - leaves) % WEEK != 0:
                continue
            there = on_hand[i, b]
            for g in range(tables.into_ptr[i], tables.into_ptr[i + 1]):
                if tables.arc_kind[tables.into_arc[g]] == LOAD:
                    there += orders[tables.into_arc[g], b]
            if there > 0.0:
                orders[_open(tables, availability, leg, b), b] = min(share[leg, b], 1.0) * there


@njit(cache=True, inline="always")
def _leg(tables, i):  # type: ignore[no-untyped-def]
    """The leg that begins at a stock point, by its usual way; -1 without."""
    for n in range(tables.out_ptr[i], tables.out_ptr[i + 1]):
        if tables.arc_kind[tables.out_arc[n]] == LEG:
            return tables.out_arc[n]
    return -1


@njit(cache=True, nogil=True)
def _serve(tables, availability, period, orders):  # type: ignore[no-untyped-def]
    """Give a port's moves of the day to what is asked of it, in an order; within a rank in proportion.

    First what takes one move, loading and discharge, then transshipments, which take two: a day of every FFE costs the
    same, so that a port that is short of moves gets most cargo on its way like that (the c-mu rule; Cox and Smith,
    Queues, 1961). Cargo for the vessels of today and tomorrow is loaded before any is discharged, and that for later
    ones after: what misses its vessel waits for a week, and for a slot. For the same reason a transshipment for today
    comes first of all where less is asked for than the moves of a week; in a longer queue there is always another one
    that would miss its vessel. The engine would divide in proportion, and it counts nobody's request beyond what the
    resource can give at best, so that a large order would lose part of its share to small ones.
    """
    replicas = np.uint64(orders.shape[1])
    granted = np.zeros((availability.shape[0], _RANKS, orders.shape[1]))
    for a in range(len(tables.arc_move)):
        r = tables.arc_move[a]
        if r >= 0:
            for b in range(replicas):
                if orders[a, b] > 0.0:
                    granted[r, tables.arc_rank[period[b] % WEEK, a], b] += tables.arc_use[a] * orders[a, b]
    for r in range(availability.shape[0]):
        for b in range(replicas):
            left = tables.capacity[r] * availability[r, b] if availability[r, b] > 0.0 else 0.0
            all_asked = 0.0
            for rank in range(_RANKS):
                all_asked += granted[r, rank, b]
            changes_first = all_asked <= WEEK * left
            if changes_first:
                granted[r, 0, b] += granted[r, _CHANGES, b]
                granted[r, _CHANGES, b] = 0.0
            for rank in range(_RANKS):
                asked = granted[r, rank, b]
                granted[r, rank, b] = 1.0 if asked <= left else left / asked
                left = max(left - asked, 0.0)
            if changes_first:
                granted[r, _CHANGES, b] = granted[r, 0, b]
    for a in range(len(tables.arc_move)):
        r = tables.arc_move[a]
        if r >= 0:
            for b in range(replicas):
                if orders[a, b] > 0.0:
                    orders[a, b] *= granted[r, tables.arc_rank[period[b] % WEEK, a], b]


@njit(cache=True, nogil=True)
def _board(tables, availability, orders):  # type: ignore[no-untyped-def]
    """Cut what is asked of a departure's slots in proportion where it is too much."""
    asked = np.zeros(availability.shape)
    for a in range(len(tables.arc_slot)):
        if tables.arc_slot[a] >= 0:
            for b in range(orders.shape[1]):
                asked[tables.arc_slot[a], b] += tables.arc_use[a] * orders[a, b]
    for a in range(len(tables.arc_slot)):
        r = tables.arc_slot[a]
        if r >= 0:
            for b in range(orders.shape[1]):
                left = tables.capacity[r] * availability[r, b] if availability[r, b] > 0.0 else 0.0
                if asked[r, b] > left:
                    orders[a, b] *= left / asked[r, b]


@njit(cache=True, nogil=True)
def day_orders(  # type: ignore[no-untyped-def]
    tables, on_hand, pipeline, booked, availability, unloaded, head, period, share, kept, by_booking, orders
):
    """Fill ``orders`` (A, B) of zeros; see :meth:`twin.liner.assignment.Assignment.orders`.

    Parameters
    ----------
    tables
        Of the network.
    on_hand, pipeline, booked, availability, head, period
        Of the state; ``booked`` is the demand of its latest demand phase.
    unloaded
        (D, B) what is booked and not under way.
    share, by_booking
        (A, B) and whether they are of a plan.
    kept
        (N, B) slots of the next departures that nothing is loaded for.
    """
    room = np.zeros((len(tables.weekday), orders.shape[1]))
    ready(tables, on_hand, pipeline, head, period, share, room)
    for n in range(room.shape[0]):
        for b in range(room.shape[1]):
            room[n, b] = max(tables.slots[n] - kept[n, b] - room[n, b], 0.0)
    _load(tables, unloaded, booked, share, by_booking, room, orders)
    _handle(tables, on_hand, period, share, orders)
    _serve(tables, availability, period, orders)
    _sail(tables, on_hand, availability, period, share, orders)
    _board(tables, availability, orders)
