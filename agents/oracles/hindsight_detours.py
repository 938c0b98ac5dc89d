"""Where shipments of the hindsight program may land other than drawn: late, never, or moved forward at a price.

Receive phases are numbered as in :mod:`agents.oracles.hindsight_program`; all beyond the horizon are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.contracts import RelationRules
from twin.topology import Topology

__all__ = ["Detours", "expediting_of", "pulled", "sent_otherwise"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: What was under way at the start was sent before the first step.
_BEFORE = -1


class Detours(NamedTuple):
    """Ways in which shipments may fare otherwise than drawn, (J,) each."""

    sent: IntArray  # step of shipment; 0 for what is under way at the start
    arc: IntArray
    drawn: IntArray  # receive phase in which it was drawn to land
    lands: IntArray  # the one in which it does
    perishes: BoolArray  # or never
    moves: IntArray  # how often it is moved forward for that, at least
    row: IntArray  # slot of the pipelines in which it is at the start; -1 for what ships later


class Expediting(NamedTuple):
    """What moving open orders forward does and costs, (A,) each."""

    periods: IntArray  # 0 where it cannot be done
    cost: FloatArray  # money per unit and move


def expediting_of(rules: RelationRules, arcs: int) -> Expediting:
    """Expediting by arc."""
    periods, cost = np.zeros(arcs, dtype=np.int64), np.zeros(arcs)
    periods[rules.arc], cost[rules.arc] = rules.arc_periods, rules.arc_cost
    return Expediting(periods, cost)


def sent_otherwise(top: Topology, drawn: IntArray, horizon: int, periods: IntArray, start: IntArray) -> Detours:
    """Detours of what ships.

    Parameters
    ----------
    drawn
        (T, A) receive phase that each shipment was drawn to land in.
    periods
        (A,) how far a move brings open orders forward; 0 where there is none.
    start
        Slots of the pipelines that hold something at the start.
    """
    keeps_order = ~top.arc_crossing.astype(np.bool_) & (top.arc_fixed_lead < 0)
    found = [*_late(top, np.minimum(drawn, horizon), horizon, keeps_order & (periods == 0), start)]
    found += [(t, int(a), horizon, True, 0) for a in np.flatnonzero(top.arc_life) for t in range(horizon)]
    for a in np.flatnonzero(periods > 0).tolist():
        slots = _slots(top, a, start) if keeps_order[a] else None
        found += _early(drawn[:, a].tolist(), a, horizon, int(periods[a]), slots)
    sent, arc, lands, perishes, moves = np.array(found, dtype=np.int64).reshape(-1, 5).T
    place = np.minimum(drawn[sent, arc], horizon)
    return Detours(sent, arc, place, lands, perishes.astype(np.bool_), moves, np.full(len(sent), -1))


def pulled(top: Topology, horizon: int, periods: IntArray, start: IntArray) -> Detours:
    """Detours of what is under way at the start; the parameters are those of :func:`sent_otherwise`."""
    found = [
        (a, slot, lands, moves, int(top.pipe_ptr[a]) + slot)
        for a in np.flatnonzero(periods > 0).tolist()
        for slot in _slots(top, a, start)
        for lands, moves in _forward(slot, _BEFORE, int(periods[a]))
        if lands < horizon
    ]
    arc, slot, lands, moves, row = np.array(found, dtype=np.int64).reshape(-1, 5).T
    nothing = np.zeros(len(found), dtype=np.int64)
    return Detours(nothing, arc, np.minimum(slot, horizon), lands, nothing.astype(np.bool_), moves, row)


def _slots(top: Topology, a: int, start: IntArray) -> list[int]:
    """Receive phases in which something that is under way at the start lands."""
    first, last = top.pipe_ptr[a : a + 2].tolist()
    return [row - first for row in start.tolist() if first <= row < last]


def _late(
    top: Topology, drawn: IntArray, horizon: int, chosen: BoolArray, start: IntArray
) -> Iterator[tuple[int, int, int, bool, int]]:
    """Where an arc keeps the order of its shipments, one may land wherever an earlier one may have landed."""
    for a in np.flatnonzero(chosen).tolist():
        earlier = {min(slot, horizon) for slot in _slots(top, a, start)}
        for t in range(horizon):
            due = int(drawn[t, a])
            yield from ((t, a, lands, False, 0) for lands in earlier if lands >= t and lands > due)
            earlier.add(due)


def _early(
    drawn: list[int], a: int, horizon: int, periods: int, slots: list[int] | None
) -> Iterator[tuple[int, int, int, bool, int]]:
    """Where what ships on an arc may be moved to; ``slots`` are given where the arc keeps the order of its shipments.

    There one may first land late, as in :func:`_late`, and be moved forward from where it then is.
    """
    earlier = {lands for slot in slots or () for lands in (slot, *(x for x, _ in _forward(slot, _BEFORE, periods)))}
    for t, due in enumerate(drawn):
        late = set() if slots is None else {lands for lands in earlier if lands >= t and lands > due}
        fewest: dict[int, int] = {}
        for place in sorted({due} | late):  # the nearest place behind takes the fewest moves
            fewest[place] = 0
            for lands, moves in _forward(place, t, periods):
                fewest.setdefault(lands, moves)
        earlier |= set(fewest)
        # Beyond the horizon all is one, and no move is worth its price there.
        ends = {lands: moves for lands, moves in fewest.items() if lands < horizon}
        if max(fewest) >= horizon:
            ends[horizon] = 0
        yield from ((t, a, lands, False, moves) for lands, moves in ends.items() if lands != min(due, horizon))


def _forward(due: int, sent: int, periods: int) -> Iterator[tuple[int, int]]:
    """Where what is due may land earlier, and how many moves that takes.

    One move a step, from the step after it was sent on; none brings anything to before the receipt of its own step.
    """
    for lands in range(sent + 1, due):
        moves = -(-(due - lands) // periods)
        if lands >= sent + moves:
            yield lands, moves
