"""Departures of the next weeks: what cargo asks of them, followed by hand, and surcharges on their slots."""

from __future__ import annotations

import numpy as np
import pytest

from envs.routing_departures import WEEKS_AHEAD
from envs.routing_loads import DepartureLoads
from tests.envs.test_routing import actions, planned_weights, started, task
from twin.errors import ActionError
from twin.liner.routing import LEG

DAYS = 7 * WEEKS_AHEAD


def follow(made, flow, day, parts, ffe, out):
    """Add to ``out`` (N, weeks) the departures that FFE of a flow take from a day on, by the nominal plan's parts."""
    assignment, routing = made.assignment, made.assignment.routing
    ways = range(assignment.first_way[flow], assignment.first_way[flow + 1])
    planned = np.array([parts[day % 7][w] for w in ways])
    if planned.sum() <= 0.0:
        planned = np.array([float(w == min(ways, key=lambda v: made.costs.usual[day % 7, v])) for w in ways])
    for w, part in zip(ways, planned / planned.sum(), strict=True):
        when = day
        for a in assignment.ways[w].arcs if assignment.ways[w].candidate >= 0 else ():
            if routing.arc_kind[a] == LEG:
                when += int(routing.schedule.weekday[routing.arc_tail[a]] - when) % 7
                if when - follow.today < DAYS:
                    out[routing.arc_tail[a], (when - follow.today) // 7] += part * ffe
            when += int(routing.compiled.topology.arc_fixed_lead[a])


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_loads_are_those_of_all_cargo_followed_by_hand(seed):
    """What is at calls, under way, booked, and booked as a rule on each day to come, one flow after the other."""
    made = task(seed, observe=["loads"])
    assignment, routing, top = made.assignment, made.assignment.routing, made.compiled.topology
    demands, batch, rng = len(routing.graph.demand), started(made, replicas=2), np.random.default_rng(4)
    parts = [planned_weights(made, weekday) for weekday in range(7)]
    number = {int(i): demands + n for n, i in enumerate(assignment.call_stock)}
    loads = DepartureLoads(made.costs)
    for day in range(9):
        batch.step(actions(made, 2, rng))
        if day % 4:
            continue
        state, found = batch.twin.state, loads.of(batch.twin.state)
        np.testing.assert_allclose(batch.observation.T, np.clip(found, 0.0, 10.0), rtol=1e-5, atol=1e-6)
        pipeline, waiting = state.logical("pipeline"), assignment.waiting(state)
        for b in range(2):
            follow.today = int(state.period[b])
            out = np.zeros((len(routing.graph.port), WEEKS_AHEAD))
            for i, flow in number.items():
                follow(made, flow, follow.today, parts, float(state.arrays.on_hand[i, b]), out)
            for a in range(made.compiled.n_arcs):
                for slot in range(top.pipe_ptr[a], top.pipe_ptr[a + 1]):
                    to, ahead = int(top.arc_destination[a]), int(slot - top.pipe_ptr[a]) + 1
                    if to in number and pipeline[slot, b] > 0.0:
                        follow(made, number[to], follow.today + ahead, parts, float(pipeline[slot, b]), out)
            for d in range(demands):
                follow(made, d, follow.today, parts, float(waiting[d, b]), out)
                for ahead in range(1, DAYS):
                    follow(made, d, follow.today + ahead, parts, float(routing.graph.demand[d]) / 7.0, out)
            nodes = made.costs.departures.nodes
            by_hand = (out[nodes] / routing.graph.leg_capacity[nodes][:, None]).ravel()
            np.testing.assert_allclose(found[:, b], by_hand, rtol=1e-9, atol=1e-9)


def test_in_the_nominal_week_departures_carry_the_plan():
    """Without noise, what is asked of every departure is what the best week by weekday has on it."""
    made = task(scenario=None, terms={"weekly_demand_cv": 0.0}, port_headroom=3.0)
    loads, routing = DepartureLoads(made.costs), made.assignment.routing
    booked = np.zeros(len(made.assignment.ways), dtype=bool)
    booked[: made.assignment.first_way[len(routing.graph.demand)]] = True
    planned = made.costs.slots[booked].T @ made.weekday_plan.ffe.sum(axis=0)[booked]
    nodes = made.costs.departures.nodes
    for state in made.week:
        found = loads.of(state)[:, 0].reshape(len(nodes), WEEKS_AHEAD)
        full = planned[nodes] / routing.graph.leg_capacity[nodes]
        # What takes the departures of the last week is there by now, or booked until then.
        np.testing.assert_allclose(found[:, -1], full, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_surcharge_is_paid_by_what_takes_the_departure(seed):
    """One on each departure in turn: the ways that sail with it, on that weekday, cost as much more, and no others."""
    made = task(seed)
    batch, costs, routing = started(made, replicas=2), made.costs, made.assignment.routing
    for _ in range(3):
        batch.step(np.zeros((2, *made.action_space.shape), dtype=np.float32))
    state, before = batch.twin.state, costs.of(batch.twin.state)
    today, size = int(state.period[0]) % 7, costs.departures.size
    assert len(costs.departures.names) == size == len(costs.departures.nodes) * WEEKS_AHEAD
    taken = np.zeros((len(made.assignment.ways), size))
    for w, way in enumerate(made.assignment.ways):
        day = today
        for a in way.arcs:
            if routing.arc_kind[a] == LEG:
                day += int(routing.schedule.weekday[routing.arc_tail[a]] - day) % 7
                place = int(np.flatnonzero(costs.departures.nodes == routing.arc_tail[a])[0])
                if day - today < DAYS:
                    taken[w, WEEKS_AHEAD * place + (day - today) // 7] += 1.0
            day += int(routing.compiled.topology.arc_fixed_lead[a])
    for n in range(size):
        surcharge = np.zeros((size, 2))
        surcharge[n, 0] = 70.0
        more = costs.of(state, departures=surcharge) - before
        np.testing.assert_allclose(more[:, 0], 70.0 * taken[:, n], atol=1e-9)
        assert not more[:, 1].any()


def test_departures_add_to_assumptions():
    """Their first three numbers are those of the mode assumptions; a slot never costs less than nothing."""
    made = task(base="queue", price_scale=1000.0)
    few, many = made.acting("assumptions"), made.acting("departures")
    assert many.action_space.shape == (3 + made.costs.departures.size,)
    assert many.routing_codec.names[:3] == few.routing_codec.names
    batch, rng = started(few, replicas=3), np.random.default_rng(6)
    moved = 0
    for _ in range(15):
        given = rng.uniform(-1.0, 1.0, (3, 3)).astype(np.float32)
        padded = np.concatenate([given, np.zeros((3, made.costs.departures.size), dtype=np.float32)], axis=1)
        expected = few.decode(given, batch.twin, batch.position)
        np.testing.assert_array_equal(many.decode(padded, batch.twin, batch.position), expected)
        free, freer = padded.copy(), padded.copy()
        usual = (
            made.costs.departures.spread(made.costs.slot_price[:, None]) + made.queues.of(batch.twin.state).departures
        )
        free[:, 3:] = many.routing_codec.encode_prices(-usual)[:, 3:]
        free[:, 1] = freer[:, 1] = padded[:, 1] = 0.0
        freer[:, 3:] = np.minimum(2.0 * free[:, 3:], free[:, 3:] - 0.1)
        at_nothing = many.decode(free, batch.twin, batch.position)
        np.testing.assert_allclose(many.decode(freer, batch.twin, batch.position), at_nothing, rtol=1e-4, atol=1e-3)
        moved += int((at_nothing != many.decode(padded, batch.twin, batch.position)).any())
        batch.step(given)
    assert moved


def test_what_no_surcharge_can_be_is_cut_to_the_box():
    made = task(base="queue").acting("departures")
    action = made.routing_codec.encode_prices(np.full((made.costs.departures.size, 2), 1e9))
    assert made.action_space.contains(action[0])
    assert (action[:, 3:] == 1.0).all()
    with pytest.raises(ActionError, match="given orders"):
        made.codec.encode(np.zeros((made.compiled.n_arcs, 2)))
