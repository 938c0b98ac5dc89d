"""The library's prolonged shortage: what it is made of, and that switching in time is worth most of what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from twin import library
from twin.contracts import MOVES, STAGES
from twin.economics import terminal_value
from twin.engine import Twin

WEEKS, PATHS = 104, 150
NETWORK = library.load("prolonged_shortage")
NAMES = ("incumbent", "regional", "overseas", "broker")
CAPACITY = np.array([[150.0], [50.0], [120.0], [30.0]])
LEAD = np.array([[4.0], [2.0], [7.0], [1.0]])
CHEAPEST_FIRST = (0, 2, 1, 3)


def cost_of(qualify: dict[str, float]) -> np.ndarray:
    """Costs of a simple rule on every path.

    ``qualify`` maps a supplier to the week in which it is qualified, counted from the beginning of the outage where it
    is below 0 (-1: in the week in which it begins). It is activated when the incumbent is down, and left when that is
    back. Orders go up to what is expected until they arrive, to the cheapest first.
    """
    twin = Twin(NETWORK, replicas=PATHS, seed=4)
    rank = {name: code for code, name in enumerate(MOVES)}
    minimum = np.array([[0.0], [20.0], [40.0], [0.0]])
    age, back, total = np.zeros(PATHS), np.zeros(PATHS), np.zeros(PATHS)
    for week in range(WEEKS):
        state = twin.state.arrays
        down = state.availability[0] == 0.0
        age = np.where(down, age + 1, 0)
        back = np.where(state.availability[0] < 1.0, 0, back + 1)
        moves = np.zeros((4, PATHS), dtype=np.int64)
        for k, name in enumerate(NAMES[1:], start=1):
            at = qualify.get(name, np.inf)
            begin = (age >= -at) if at < 0 else np.full(PATHS, week >= at)
            stage = state.stage[k]
            moves[k] += rank["qualify"] * ((stage == STAGES.index("outside")) & begin)
            moves[k] += rank["activate"] * ((stage == STAGES.index("qualified")) & down)
            leave = (back > 4) & (state.backlog[0] <= 50.0)
            moves[k] += rank["deactivate"] * ((stage == STAGES.index("active")) & leave)
        active = (state.stage == STAGES.index("active")) & (moves != rank["deactivate"])
        active |= moves == rank["activate"]
        usable = active.copy()
        usable[0] &= ~down
        lead = np.where(usable, LEAD, 0.0).max(axis=0)
        want = 100.0 * (np.where(lead == 0.0, 4.0, lead) + 1.0) + 150.0
        want = want - state.on_hand[0] + state.backlog[0] - state.in_transit.sum(axis=0)
        orders, short = np.zeros((4, PATHS)), (state.availability[0] < 1.0) | (state.backlog[0] > 0.0)
        for k in CHEAPEST_FIRST:
            part = np.clip(want, 0.0, CAPACITY[k]) * (short if k else 1.0)
            orders[k] = np.where(usable[k], np.maximum(part, minimum[k]), 0.0)
            want = want - orders[k]
        total += twin.step(orders, moves=moves).sum(axis=0)
    return total - terminal_value(twin.state)


def test_what_it_is_made_of():
    """One outage of 8 to 40 weeks from week 10 to 40 in every episode, suppliers outside, one price that moves."""
    compiled = Twin(NETWORK).compiled
    assert compiled.relation_names == NAMES
    assert compiled.prices.names == ("overseas/item",)
    twin = Twin(NETWORK, replicas=400, seed=9)
    down = []
    for _ in range(WEEKS):
        twin.step(np.zeros((4, 400)))
        down.append(twin.state.arrays.availability[0] == 0.0)
    longest, first = np.zeros(400), np.zeros(400)
    for b, path in enumerate(np.array(down).T):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], path.astype(int), [0]])))
        lengths = ends[1::2] - ends[::2]
        longest[b], first[b] = lengths.max(), ends[::2][lengths.argmax()] + 1
    assert longest.min() >= 8
    assert first.min() >= 1
    assert abs(longest.mean() - 24.0) < 2.5
    assert abs(first.mean() - 25.0) < 2.5
    assert {name for name in NAMES if twin.state.arrays.stage[NAMES.index(name), 0] == 0.0} == set(NAMES[1:])


def test_the_moment_matters():
    """Doing nothing costs three times what switching in time costs; every delay of the slow supplier is dear."""
    nothing = cost_of({}).mean()
    in_time, late, later = (cost_of({"overseas": week}).mean() for week in (0, -1, -9))
    all_at_once = cost_of(dict.fromkeys(NAMES[1:], 0)).mean()
    assert nothing > 2.5 * in_time
    assert late > 1.3 * in_time
    assert later > 1.2 * late
    assert all_at_once > 1.02 * in_time  # more is not better: some that are qualified are not needed
    two = cost_of({"regional": 0, "broker": 0}).mean()
    assert two == pytest.approx(in_time, rel=0.1)  # it is not plain which suppliers to choose
