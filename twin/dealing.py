"""What a period does to contracts, expedited shipments and prices: the parts of a step around the kernel's.

Twin.step, for a network that has any of these (docs/model.md, "Suppliers under contract" and "Prices"):

    begin    moves change stages and pay, pipelines move forward, orders without an active contract are dropped
    kernel   the period itself; the hidden resource of a contract is down while the contract is not active
    end      prices, discounts and moves are charged, records and clocks move on

Functions without an underscore are called from Python; ``rules`` are :class:`twin.contracts.RelationRules`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twin.contracts import MOVES, STAGES, Relations
from twin.economics import COST_TERMS
from twin.errors import ActionError
from twin.kernel import _arrays, _slack, _topology
from twin.state import TwinState

__all__ = ["allowed_moves", "begin", "checked_moves", "end"]

# Compile-time copies (numba reads module globals as constants).
_KEEP, _QUALIFY, _ACTIVATE, _DEACTIVATE, _EXPEDITE = range(len(MOVES))
_OUTSIDE, _QUALIFYING, _QUALIFIED, _ACTIVE = range(len(STAGES))
_TERM = {term.name: row for row, term in enumerate(COST_TERMS)}
_PURCHASE, _CONTRACT, _EXPEDITING = _TERM["purchase"], _TERM["contract"], _TERM["expediting"]

#: How fast a record of deliveries on time forgets: the weight of the latest period.
FORGETTING = 0.1


@njit(cache=True, inline="always")
def _is_allowed(rules, st, slack, s, move, b):  # type: ignore[no-untyped-def]
    """Whether a move on relation s changes anything now; keeping is always allowed."""
    if move == _KEEP:
        return True
    if move == _EXPEDITE:
        for n in range(rules.arc_ptr[s], rules.arc_ptr[s + 1]):
            if rules.arc_periods[n] > 0 and st.in_transit[rules.arc[n], b] >= slack:
                return True
        return False
    c = rules.relation_contract[s]
    if c < 0:
        return False
    stage = st.stage[c, b]
    if move == _QUALIFY:
        return stage == _OUTSIDE
    return stage == (_QUALIFIED if move == _ACTIVATE else _ACTIVE)


def allowed_moves(state: TwinState, relations: Relations) -> NDArray[np.bool_]:
    """Which moves are allowed at a decision epoch, (S, 5, B); see :meth:`twin.engine.Twin.allowed_moves`."""
    out = np.empty((len(relations.names), len(MOVES), state.replicas), dtype=np.bool_)
    if len(out):
        _allowed(state.store, relations.rules, out)
    return out


def checked_moves(moves: ArrayLike | None, names: tuple[str, ...], replicas: int) -> NDArray[np.int64]:
    """Moves (S, B) as the engines read them; all keep where there are none.

    Raises
    ------
    ActionError
        When the shape is another, or there is no such move.
    """
    if moves is None:
        return np.zeros((len(names), replicas), dtype=np.int64)
    chosen, expected = np.asarray(moves), (len(names), replicas)
    if chosen.shape != expected or chosen.dtype.kind not in "iu":
        listed = ", ".join(names) or "none is defined"
        raise ActionError(
            f"moves must be whole numbers of shape (relations, replicas) = {expected}, received {chosen.dtype} of "
            f"shape {chosen.shape} (relations: {listed})"
        )
    if chosen.size and (chosen.min() < 0 or chosen.max() >= len(MOVES)):
        s, b = np.argwhere((chosen < 0) | (chosen >= len(MOVES)))[0]
        listed = ", ".join(f"{code} {name}" for code, name in enumerate(MOVES))
        raise ActionError(f"the move on '{names[s]}' is {chosen[s, b]} (allowed: {listed})")
    return np.ascontiguousarray(chosen, dtype=np.int64)


@njit(cache=True, nogil=True)
def _allowed(store, rules, out):  # type: ignore[no-untyped-def]
    st = _arrays(store)
    slack = _slack(st)
    for s in range(out.shape[0]):
        for move in range(out.shape[1]):
            for b in range(out.shape[2]):
                out[s, move, b] = _is_allowed(rules, st, slack, s, move, b)


@njit(cache=True, nogil=True, error_model="numpy")
def begin(packed, store, rules, head, moves, orders, wanted, charges):  # type: ignore[no-untyped-def]
    """Moves, expediting and the gate, at a decision epoch before anything else.

    Parameters
    ----------
    packed, store, rules
        Topology, state and :class:`twin.contracts.RelationRules`. The state is changed.
    head
        Ring position.
    moves
        (S, B) positions in ``MOVES``; what is not allowed counts as keeping.
    orders
        (A, B) units, changed: those on arcs whose contract is not active become 0.
    wanted
        (N, B), filled with what reaches the source of every arc whose record is kept, what it owes included.
    charges
        (2, B), filled with what contracts and expediting cost in this period.
    """
    top, st = _topology(packed), _arrays(store)
    replicas = orders.shape[1]
    charges[:] = 0.0
    _move(top, st, rules, head, moves, charges, replicas)
    for c in range(len(rules.relation)):
        _open(rules, st, c, replicas)
    _gate(top, st, rules, orders, charges, replicas)
    for n in range(len(rules.record_arc)):
        a, c = rules.record_arc[n], rules.record_contract[n]
        posted = top.mail_ptr[a]
        delay = top.mail_ptr[a + 1] - posted
        for b in range(replicas):
            wanted[n, b] = 0.0
            if c < 0 or st.stage[c, b] == _ACTIVE:
                arriving = st.mail[posted + head % delay, b] if delay else _feasible(top, st, a, orders[a, b])
                wanted[n, b] = arriving + st.backorders[a, b]


@njit(cache=True, inline="always")
def _move(top, st, rules, head, moves, charges, replicas):  # type: ignore[no-untyped-def]
    """Carry out the moves and charge them."""
    slack = _slack(st)
    for s in range(moves.shape[0]):
        c = rules.relation_contract[s]
        for b in range(replicas):
            move = moves[s, b]
            if move == _KEEP or not _is_allowed(rules, st, slack, s, move, b):
                continue
            if move == _QUALIFY:
                st.clock[c, b] = rules.qualification_periods[c]
                st.stage[c, b] = _QUALIFYING if rules.qualification_periods[c] > 0 else _QUALIFIED
                charges[0, b] += rules.qualification_cost[c]
            elif move == _ACTIVATE:
                st.stage[c, b], st.clock[c, b] = _ACTIVE, 0.0
                charges[0, b] += rules.switching_cost[c]
            elif move == _DEACTIVATE:
                st.stage[c, b], st.clock[c, b] = _QUALIFIED, 0.0
                charges[0, b] += rules.exit_cost[c]
            else:
                for n in range(rules.arc_ptr[s], rules.arc_ptr[s + 1]):
                    charges[1, b] += rules.arc_cost[n] * _pull(top, st, rules.arc[n], rules.arc_periods[n], head, b)


@njit(cache=True, inline="always")
def _pull(top, st, a, periods, head, b):  # type: ignore[no-untyped-def]
    """Move the pipeline of an arc forward; the units moved."""
    first = top.pipe_ptr[a]
    slots = top.pipe_ptr[a + 1] - first
    moved = 0.0
    if periods > 0:
        for k in range(1, slots):
            row, to = first + (head + k) % slots, first + (head + max(0, k - periods)) % slots
            moved += st.pipeline[row, b]
            st.pipeline[to, b] += st.pipeline[row, b]
            st.pipeline[row, b] = 0.0
    return moved


@njit(cache=True, inline="always")
def _open(rules, st, c, replicas):  # type: ignore[no-untyped-def]
    """Availability of the hidden resource of a contract: 0 unless active, rising over the ramp."""
    ramp = rules.ramp[c]
    for b in range(replicas):
        share = min(1.0, (st.clock[c, b] + 1.0) / ramp) if ramp > 0 else 1.0
        st.availability[rules.resource[c], b] = share if st.stage[c, b] == _ACTIVE else 0.0


@njit(cache=True, inline="always")
def _gate(top, st, rules, orders, charges, replicas):  # type: ignore[no-untyped-def]
    """Drop the orders on arcs whose contract is not active; charge what is ordered below a minimum."""
    for c in range(len(rules.relation)):
        s = rules.relation[c]
        for b in range(replicas):
            ordered = 0.0
            for n in range(rules.arc_ptr[s], rules.arc_ptr[s + 1]):
                a = rules.arc[n]
                if st.stage[c, b] != _ACTIVE:
                    orders[a, b] = 0.0
                ordered += _feasible(top, st, a, orders[a, b])
            if st.stage[c, b] == _ACTIVE and ordered < rules.minimum[c]:
                down = False  # whose source cannot deliver need not order from it
                for k in range(rules.used_ptr[c], rules.used_ptr[c + 1]):
                    down |= st.availability[rules.used[k], b] == 0.0
                if not down:
                    charges[0, b] += rules.shortfall_cost[c] * (rules.minimum[c] - ordered)


@njit(cache=True, inline="always")
def _feasible(top, st, a, order):  # type: ignore[no-untyped-def]
    """The order that is placed when ``order`` is asked for, see :func:`twin.orders.feasible_orders`."""
    number = st.on_hand.dtype.type
    zero, half = number(0.0), number(0.5)
    lot, minimum, maximum = top.arc_lot[a], top.arc_minimum[a], top.arc_maximum[a]
    amount = order if order >= _slack(st) else zero
    if minimum > zero:
        amount = zero if amount < half * minimum else max(amount, minimum)
    if lot > zero:
        amount = lot * np.floor(amount / lot + half)
    return min(amount, maximum)


@njit(cache=True, nogil=True, error_model="numpy")
def end(packed, store, rules, prices, lead, wanted, charges, costs):  # type: ignore[no-untyped-def]
    """Charge what the kernel does not, and move records and clocks on to the next decision epoch.

    Parameters
    ----------
    packed, store, rules, wanted, charges
        As :func:`begin` left them; prices still those of this period.
    prices
        :class:`twin.prices.PriceRules`.
    lead
        (A, B) lead times drawn for what shipped.
    costs
        (13, B) cost terms of the kernel, added to.
    """
    top, st = _topology(packed), _arrays(store)
    replicas = costs.shape[1]
    for b in range(replicas):
        costs[_CONTRACT, b] += charges[0, b]
        costs[_EXPEDITING, b] += charges[1, b]
    for m in range(len(prices.arc)):
        a, row = prices.arc[m], prices.arc_row[m]
        for b in range(replicas):
            shipped, unit = st.shipped[a, b], prices.arc_price[m]
            for k in range(prices.break_ptr[m], prices.break_ptr[m + 1]):
                if shipped >= prices.break_start[k]:
                    unit = prices.break_price[k]
            factor = st.price[row, b] if row >= 0 else 1.0
            # The kernel has charged the price of the file.
            costs[_PURCHASE, b] += (unit * factor - prices.arc_price[m]) * shipped
    slack = _slack(st)
    for n in range(len(rules.record_arc)):
        a = rules.record_arc[n]
        fixed, promise = top.arc_fixed_lead[a], rules.record_promise[n]
        for b in range(replicas):
            if wanted[n, b] >= slack:
                late = (fixed if fixed >= 0 else lead[a, b]) > promise
                share = 0.0 if late else min(1.0, st.shipped[a, b] / wanted[n, b])
                st.on_time[n, b] += FORGETTING * (share - st.on_time[n, b])
    for c in range(len(rules.relation)):
        for b in range(replicas):
            if st.stage[c, b] == _QUALIFYING:
                st.clock[c, b] -= 1.0
                if st.clock[c, b] <= 0.0:
                    st.stage[c, b], st.clock[c, b] = _QUALIFIED, 0.0
            elif st.stage[c, b] == _ACTIVE:
                st.clock[c, b] += 1.0
        _open(rules, st, c, replicas)
