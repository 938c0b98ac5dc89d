"""Routing: the zero action is the cheapest assignment, masks say what is possible, no cargo is lost, weeks are days."""

from __future__ import annotations

import numpy as np
import pytest

from envs.core import Batch
from envs.routing import RoutingTask
from tests.liner_reference import random_candidates, random_network
from twin.errors import ActionError, NetworkError
from twin.liner.assignment import REFUSED
from twin.liner.calls import call_graph
from twin.liner.routing import LEG, LOAD, REFUSE, TRANSFER
from twin.liner.scenarios import Scenario, scenario_names

#: Ports fail often, at three severities, and canals close.
STORMY = Scenario.model_validate(
    {
        "name": "stormy",
        "events": [
            {
                "ports": "all",
                "share": share,
                "failure": 0.02,
                "duration": {"distribution": "poisson", "mean": 8},
                "ramp": 2,
            }
            for share in (0.0, 0.2, 0.5)
        ]
        + [{"canals": "all", "failure": 0.03, "duration": 9}],
    }
)


def task(seed=None, **arguments):
    """On Baltic, or on a random network with a canal."""
    arguments = {"scenario": STORMY, **arguments}
    if seed is None:
        return RoutingTask(**arguments)
    rng = np.random.default_rng(seed)
    network = random_network(rng, canal=True)
    terms = {"air_cost_per_ffe": 4000.0}
    return RoutingTask(network, itineraries=random_candidates(rng, call_graph(network)), terms=terms, **arguments)


def started(made, replicas=4, seed=5):
    batch, slots = Batch(made, replicas), np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    return batch


def actions(made, replicas, rng):
    space = made.action_space
    if made.codec.mode == "itinerary":
        return rng.integers(0, space.nvec, size=(replicas, len(space.nvec)))
    low, high = np.maximum(space.low, -1.0), np.minimum(space.high, 60.0)
    return rng.uniform(low, high, size=(replicas, len(low))).astype(space.dtype)


def planned_weights(made, weekday):
    """FFE of the best week by weekday on every way, by following each way of bookings from call to call."""
    assignment, ffe = made.assignment, made.weekday_plan.ffe
    out = [float(ffe[weekday, w]) for w in range(len(assignment.ways))]
    for booked, way in enumerate(assignment.ways):
        if assignment.flows[way.flow].node >= 0 or way.candidate < 0:
            continue
        for place, node in enumerate(way.nodes):
            for w, rest in enumerate(assignment.ways):
                flow = assignment.flows[rest.flow]
                if (flow.demand, flow.node, rest.nodes) == (assignment.flows[way.flow].demand, node, way.nodes[place:]):
                    out[w] += float(ffe[:, booked].sum())
    return out


def by_hand(made, twin, b):
    """Orders of the plain cheapest assignment in one replica, flow by flow."""
    assignment, state = made.assignment, twin.state
    routing, graph = assignment.routing, assignment.routing.graph
    weekday, week = int(state.period[b]) % 7, 7 * routing.terms.value_of_time
    top, arrays = routing.compiled.topology, state.arrays
    cost = []
    for w, way in enumerate(assignment.ways):
        total = float(assignment.way_cost[w]) + routing.terms.value_of_time * float(assignment.way_days[w, weekday])
        for a in way.arcs:
            if way.candidate >= 0 and routing.arc_kind[a] == LEG:
                total += made.weekday_plan.slot_price[routing.arc_tail[a]]
            elif way.candidate >= 0:
                node = routing.arc_head[a] if routing.arc_kind[a] == LOAD else routing.arc_tail[a]
                moves = 2.0 if routing.arc_kind[a] == TRANSFER else 1.0
                total += moves * made.weekday_plan.move_price[graph.port[node]]
        cost.append(total)
    planned = planned_weights(made, weekday)
    room = graph.leg_capacity.astype(float).copy()
    share = np.zeros((routing.compiled.n_arcs, 1))
    bookings = []
    for f, flow in enumerate(assignment.flows):
        ways = range(assignment.first_way[f], assignment.first_way[f + 1])
        best = next(w for w in ways if cost[w] <= min(cost[v] for v in ways) + 0.01)
        if flow.node < 0:
            bookings.append((round((min(cost[w] for w in ways) - max(cost[w] for w in ways)) / 0.01), f, ways))
            continue
        cheap = [w for w in ways if cost[w] <= cost[best] + 0.01]
        total = sum(planned[w] for w in cheap)
        for w in cheap if total > 0.0 else [best]:
            share[assignment.way_arc[w]] += planned[w] / total if total > 0.0 else 1.0
        for arc in (a for a in {int(assignment.way_arc[w]) for w in ways} if routing.arc_kind[a] == LEG):
            i = np.flatnonzero((routing.stock_node == flow.node) & (routing.stock_demand == flow.demand))[0]
            ahead = (routing.schedule.weekday[flow.node] - weekday) % 7
            coming = sum(
                arrays.pipeline[top.pipe_ptr[a] + (state.head + k) % (top.pipe_ptr[a + 1] - top.pipe_ptr[a]), b]
                for a in np.flatnonzero(top.arc_destination == i)
                for k in range(min(ahead, top.pipe_ptr[a + 1] - top.pipe_ptr[a]))
            )
            room[flow.node] -= float(share[arc, 0]) * (arrays.on_hand[i, b] + coming)
    room = np.maximum(room, 0.0)
    waiting = assignment.waiting(state)[:, b]
    for _, f, ways in sorted(bookings, key=lambda entry: entry[0]):
        ordered, others = [], list(ways)
        while others:
            ordered.append(next(w for w in others if cost[w] <= min(cost[v] for v in others) + 0.01))
            others.remove(ordered[-1])
        left, placed, refused = waiting[f], {}, 0.0
        least = min(cost[w] for w in ways)
        cheap = [w for w in ways if cost[w] <= least + 0.01]
        carried = [w for w in cheap if assignment.ways[w].candidate >= 0 and planned[w] > 0.0]
        if carried and left > 0.0:
            share_carried = sum(planned[w] for w in carried) / sum(planned[w] for w in cheap)
            refused = min(arrays.demand[f, b], left) * (1.0 - share_carried)
            left -= refused
            most = left
            for w in carried:
                n = assignment.ways[w].nodes[0]
                part = min(most * planned[w] / sum(planned[w] for w in carried), room[n])
                room[n] -= part
                left -= part
                placed[assignment.way_arc[w]] = placed.get(assignment.way_arc[w], 0.0) + part
        for w in ordered:
            if cost[w] > least + week or left <= 1e-9:
                break
            nodes = assignment.ways[w].nodes
            if assignment.ways[w].candidate == REFUSED:
                if w in cheap:
                    refused, left = refused + left, 0.0
                continue
            part = min(left, room[nodes[0]]) if nodes else left
            if nodes:
                room[nodes[0]] -= part
            left -= part
            placed[assignment.way_arc[w]] = placed.get(assignment.way_arc[w], 0.0) + part
        placed[next(int(assignment.way_arc[w]) for w in ways if assignment.ways[w].candidate == REFUSED)] = refused
        for a, part in placed.items() if waiting[f] > 0.0 else ():
            whole = waiting[f] if routing.arc_kind[a] == REFUSE else waiting[f] - refused
            share[a] = part / whole if part > 0.0 else 0.0
    return share


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_the_zero_action_is_the_plain_cheapest_assignment(seed):
    """Flow by flow in plain Python, the same orders on every day, also with ports down and replicas out of step."""
    made, rng = task(seed), np.random.default_rng(0)
    batch = started(made)
    nothing = np.zeros((4, *made.action_space.shape), dtype=np.float32)
    for day in range(40):
        if day == 10:
            batch.restart(np.array([1, 3]))
        found = made.decode(nothing, batch.twin, batch.position)
        for b in range(4):
            share = np.zeros((made.compiled.n_arcs, 4))
            share[:, b : b + 1] = by_hand(made, batch.twin, b)
            expected = made.assignment.orders(batch.twin.state, share)[:, b]
            np.testing.assert_allclose(found[:, b], expected, atol=1e-6)
        batch.step(nothing if day % 3 else actions(made, 4, rng))


@pytest.mark.parametrize("mode", ["prices", "itinerary", "shares", "orders"])
@pytest.mark.parametrize("seed", [None, 1])
def test_cargo_is_conserved_and_no_limit_is_passed(mode, seed):
    """What is booked is delivered, under way or waiting; departures and ports do no more than they can."""
    made, rng = task(seed, action_mode=mode), np.random.default_rng(1)
    routing, batch = made.assignment.routing, started(made)
    graph, state = routing.graph, batch.twin.state
    moves_of = [int(r) for r in routing.move_resource if r >= 0]
    top = routing.compiled.topology
    owner = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.use_ptr))
    for _ in range(60):
        owed, works = state.arrays.backlog.copy(), state.arrays.availability.copy()
        waiting = made.assignment.waiting(state)
        result = batch.step(actions(made, 4, rng))
        arrays = state.arrays
        np.testing.assert_allclose(arrays.backlog, owed + arrays.demand - arrays.delivered, atol=1e-6)
        bought = np.isin(routing.arc_kind, (LOAD, REFUSE)) | (routing.arc_tail < 0)
        for d in range(len(graph.demand)):
            mine = bought & (routing.arc_demand == d)
            assert (arrays.shipped[mine].sum(axis=0) <= waiting[d] + 1e-6).all()
        sailed = np.zeros((len(graph.port), 4))
        legs = routing.arc_kind == LEG
        np.add.at(sailed, routing.arc_tail[legs], arrays.shipped[legs])
        assert (sailed <= graph.leg_capacity[:, None] + 1e-6).all()
        used = np.zeros(works.shape)
        np.add.at(used, top.use_resource, top.use_coefficient[:, None] * arrays.shipped[owner])
        assert (used[moves_of] <= top.resource_capacity[moves_of, None] * works[moves_of] + 1e-6).all()
        np.testing.assert_array_equal(result.reward, made.reward(result.costs))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_mask_is_true_exactly_where_a_choice_is_accepted(seed):
    """Each choice by itself: allowed ones are not repaired, others are; to wait is allowed always."""
    made, rng = task(seed, action_mode="itinerary"), np.random.default_rng(2)
    batch, nvec = started(made, replicas=1), made.action_space.nvec
    seen = set()
    for _ in range(25):
        mask = made.mask(batch.twin)
        assert mask.shape == (1, nvec.sum())
        parts = np.split(mask[0], np.cumsum(nvec)[:-1])
        for f, part in enumerate(parts):
            assert part[0]
            for choice, allowed in enumerate(part):
                action = np.zeros((1, len(nvec)), dtype=np.int64)
                action[0, f] = choice
                assert (made.codec.repairs(action, batch.twin)[0] == 0) == allowed
                if not allowed:
                    waits = made.decode(np.zeros_like(action), batch.twin, batch.position)
                    np.testing.assert_array_equal(made.decode(action, batch.twin, batch.position), waits)
                seen.add(bool(allowed))
        batch.step(actions(made, 1, rng))
    assert seen == {True, False}


def test_what_is_not_booked_is_cut_and_counted():
    """Orders for more than waits are repaired; the same orders within what waits are not."""
    made = task(action_mode="orders", scenario=None)
    batch = started(made, replicas=1)
    many = np.full((1, made.compiled.n_arcs), 1e6)
    purchases = int((made.assignment.routing.arc_tail < 0).sum())
    assert batch.step(many).repaired[0] == purchases
    assert batch.step(np.zeros_like(many)).repaired[0] == 0


@pytest.mark.parametrize("mode", ["prices", "itinerary", "shares"])
def test_a_week_is_seven_days_of_one_action(mode):
    """Costs, repairs and the state after a weekly decision are those of seven daily ones."""
    weekly, daily = (started(task(action_mode=mode, decision=period)) for period in ("week", "day"))
    rng = np.random.default_rng(3)
    for _ in range(4):
        action = actions(weekly.task, 4, rng)
        result, days = weekly.step(action), [daily.step(action) for _ in range(7)]
        np.testing.assert_allclose(result.reward, sum(day.reward for day in days), rtol=1e-12)
        np.testing.assert_array_equal(result.repaired, sum(day.repaired for day in days))
        np.testing.assert_array_equal(weekly.twin.state.store.numbers, daily.twin.state.store.numbers)


@pytest.mark.parametrize("booking", ["weekly", "daily"])
def test_an_episode_begins_in_the_steady_state(booking):
    """Without noise and events the plan earns from the first weeks on what it always earns.

    Where a port cannot make in a day the moves of all that is booked on that day, the rest leaves a week later, so that
    it is two weeks that are alike.
    """
    made = task(
        action_mode="shares", scenario=None, terms={"booking": booking, "weekly_demand_cv": 0.0}, decision="week"
    )
    batch, share = started(made, replicas=1), made.assignment.plan(made.plan.ffe)[:, 0]
    action = np.append(share, 1.0)[None]
    earned = np.array([float(batch.step(action).reward[0]) for _ in range(6)]).reshape(3, 2).sum(axis=1)
    np.testing.assert_allclose(earned, earned[0], rtol=1e-8)


def test_all_scenarios_that_ship_say_what_they_do():
    """Each can be read and, where the network has what it hits, lowers the shares that it says and no others."""
    assert len(scenario_names()) >= 5
    for name in ("cyber_attack", "three_ports", "dear_fuel"):
        made = task(scenario=name, decision="week", horizon=26)
        batch, lowest = started(made, replicas=32), np.ones((made.compiled.n_resources, 32))
        nothing = np.zeros((32, *made.action_space.shape), dtype=np.float32)
        for _ in range(16):
            batch.step(nothing)
            lowest = np.minimum(lowest, batch.twin.state.arrays.availability)
        expected = {"cyber_attack": [0.2], "three_ports": [0.0] * 3, "dear_fuel": []}[name]
        assert sorted(lowest[lowest.min(axis=1) < 1.0].min(axis=1)) == pytest.approx(expected)
    usual, dear = (task(scenario=name).assignment.routing.liner.bunker_price_per_t for name in (None, "dear_fuel"))
    assert dear == 1.5 * usual
    canal = task(1, scenario="canal_shut")
    assert [field.name for field in canal.fields if field.name.startswith("availability")][-1] == "availability[suez]"
    # What is seen does not depend on the scenario: a policy can be measured in others than it was trained in.
    calm, hit = (task(scenario=name) for name in (None, "cyber_attack"))
    assert calm.fields == hit.fields
    assert sum(field.name.startswith("since") for field in calm.fields) == len(calm.assignment.routing.graph.port_names)


def test_a_severity_takes_the_place_of_the_scenarios_own():
    """A port at half of its moves in place of a fifth."""
    made = task(scenario="cyber_attack", severity=0.5)
    assert sorted({c.availability.share_when_down for c in made.compiled.network.causes.values()}) == [0.5]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"scenario": "cyber_atack"}, NetworkError, "did you mean 'cyber_attack'"),
        ({"scenario": "canal_shut"}, NetworkError, "nothing of it happens on baltic, whose ways pass no canal"),
        ({"action_mode": "price"}, ActionError, "did you mean 'prices'"),
        ({"decision": "month"}, ActionError, "day, week"),
        ({"observe": ["queues"]}, ActionError, "did you mean 'queue'"),
        ({"horizon": 0}, ActionError, "received 0"),
        ({"severity": 1.0}, ActionError, "received 1.0"),
        ({"port_headroom": 0.5}, ActionError, "port_headroom"),
        ({"scenario": {"name": "x", "events": [{"ports": [40], "start": 1, "duration": 2}]}}, NetworkError, "1 to 12"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, words):
    """With the value, what is allowed and the nearest match."""
    if isinstance(arguments.get("scenario"), dict):
        arguments = {"scenario": Scenario.model_validate(arguments["scenario"])}
    with pytest.raises(error, match=words):
        task(**arguments)


def test_a_belief_shows_how_much_is_missing():
    """Where asked for, the outlook is 0 in calm and above it while a port is down."""
    made = task(scenario="cyber_attack", observe=["availability", "outlook"], horizon=60)
    batch = started(made, replicas=8)
    names = [field.name for field in made.fields]
    assert sum(name.startswith("outlook") for name in names) == 4
    nothing = np.zeros((8, *made.action_space.shape), dtype=np.float32)
    for _ in range(30):
        seen = batch.step(nothing).observation
    down = seen[:, 0] < 1.0
    assert down.any()
    assert (seen[down][:, names.index(names[1])] > 0.5).all()


def test_what_is_left_counts_where_the_problem_ends():
    """Cargo that is still under way is worth its revenue less what is left to pay; the reward of the end has it."""
    made = task(scenario=None, finite=True, horizon=3)
    batch = started(made, replicas=2)
    nothing = np.zeros((2, *made.action_space.shape), dtype=np.float32)
    results = [batch.step(nothing) for _ in range(3)]
    assert not results[1].terminal_value.any()
    np.testing.assert_allclose(results[2].reward, made.reward(results[2].costs) + results[2].terminal_value)
    assert (results[2].terminal_value > 0.0).all()


def test_a_choice_that_is_none_is_refused():
    """A number that stands for no way, or is not whole, is an error that says what is allowed; nothing moves."""
    made = task(action_mode="itinerary")
    batch, nvec = started(made, replicas=1), made.action_space.nvec
    before = batch.twin.state.content_hash()
    for wrong in (nvec[None], -np.ones((1, len(nvec)), dtype=np.int64), np.full((1, len(nvec)), 0.5)):
        with pytest.raises(ActionError, match="whole, at least 0 and below"):
            batch.step(wrong)
    assert batch.twin.state.content_hash() == before


def test_no_room_but_for_a_rounding_error_is_no_room():
    """Shares are numbers from 0 to 1 also where a departure is full but for 1e-13: many replicas, random prices."""
    made = task(scenario="cyber_attack")
    batch = started(made, replicas=256, seed=1)
    action = np.random.default_rng(1).uniform(-1.0, 1.0, size=(256, *made.action_space.shape))
    for _ in range(40):
        assert np.isfinite(batch.step(action).reward).all()
