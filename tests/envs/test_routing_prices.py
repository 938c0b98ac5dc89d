"""Prices of routing: best weeks proved best by their prices, queues that end when they say, who is served first."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from agents.baselines.routing_queue_price import QueuePrice
from envs.core import Batch
from envs.routing import RoutingTask
from envs.routing_curves import PortCurves
from envs.routing_departures import WEEKS_AHEAD
from tests.liner_reference import random_candidates, random_network
from twin.liner.assignment import Assignment
from twin.liner.calls import call_graph
from twin.liner.dispatch import service_ranks
from twin.liner.routing import DISCHARGE, LEG, LOAD, TRANSFER, routing_network
from twin.liner.scenarios import Scenario
from twin.liner.terms import RoutingTerms
from twin.liner.weekday_plan import WeekdayProgram, booked_week


def program(seed, booking="daily"):
    network = random_network(np.random.default_rng(seed))
    candidates = random_candidates(np.random.default_rng(seed), call_graph(network))
    terms = RoutingTerms(value_of_time=7.0, booking=booking)
    return WeekdayProgram(Assignment(routing_network(network, candidates, terms)))


def used(assignment, ffe):
    """Slots and moves of a week, way by way from its arcs."""
    routing, graph = assignment.routing, assignment.routing.graph
    slots, moves = np.zeros(len(graph.port)), np.zeros(len(graph.port_names))
    for w, way in enumerate(assignment.ways):
        for a in way.arcs if way.candidate >= 0 else ():
            if routing.arc_kind[a] == LEG:
                slots[routing.arc_tail[a]] += ffe[:, w].sum()
            else:
                node = routing.arc_head[a] if routing.arc_kind[a] == LOAD else routing.arc_tail[a]
                moves[graph.port[node]] += (2.0 if routing.arc_kind[a] == TRANSFER else 1.0) * ffe[:, w].sum()
    return slots, moves


@pytest.mark.parametrize("booking", ["daily", "weekly"])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_week_by_weekday_is_feasible_and_its_prices_prove_that_it_is_best(seed, booking):
    """All that is booked goes somewhere within all limits; with its prices as a dual solution the bound is its cost."""
    made = program(seed, booking)
    assignment, plan = made.assignment, made.solve()
    routing, graph = assignment.routing, assignment.routing.graph
    booked = booked_week(assignment)
    assert (plan.ffe >= 0.0).all()
    slots, moves = used(assignment, plan.ffe)
    resource = routing.move_resource
    limit = np.where(resource >= 0, 7.0 * routing.compiled.topology.resource_capacity[np.maximum(resource, 0)], np.inf)
    assert (slots <= graph.leg_capacity + 1e-6).all()
    assert (moves <= limit + 1e-6).all()
    cost, bound = 0.0, -float(graph.leg_capacity @ plan.slot_price)
    bound -= float(limit[np.isfinite(limit)] @ plan.move_price[np.isfinite(limit)])
    for weekday in range(7):
        for d, (first, last) in enumerate(pairwise(assignment.first_way[: len(graph.demand) + 1])):
            assert plan.ffe[weekday, first:last].sum() == pytest.approx(booked[weekday - 1, d], abs=1e-6)
            priced = []
            for w in range(first, last):
                each = float(assignment.way_cost[w]) + 7.0 * float(assignment.way_days[w, weekday])
                cost += each * plan.ffe[weekday, w]
                need = used(assignment, np.eye(len(assignment.ways))[w][None])
                priced.append(each + need[0] @ plan.slot_price + need[1] @ plan.move_price)
            bound += booked[weekday - 1, d] * min(priced)
    assert plan.cost == pytest.approx(cost, rel=1e-9, abs=1e-6)
    assert bound == pytest.approx(plan.cost, rel=1e-7, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_at_a_higher_price_less_comes_to_a_port(seed):
    """What the best week costs is concave in the price of a port's moves, and their number is its slope."""
    made = program(seed)
    curves = PortCurves(made, made.solve())
    for p in range(made.moves.shape[1]):
        curve = curves.of(p)
        cost = [made.solve(port=p, price=float(price)).cost for price in curve.price]
        assert curve.price[0] == 0.0
        assert (np.diff(curve.price) > 0.0).all()
        assert (np.diff(curve.moves) <= 1e-6).all()
        for k, step in enumerate(np.diff(curve.price)):
            rise = (cost[k + 1] - cost[k]) / step / 7.0
            assert curve.moves[k + 1] - 1e-6 <= rise <= curve.moves[k] + 1e-6
        assert not curve.others[p].any()
        between = curve.price[:-1] + 0.25 * np.diff(curve.price)
        slots, others = curve.slots_at(between), curve.others_at(between)
        np.testing.assert_allclose(slots, 0.75 * curve.slots[:, :-1] + 0.25 * curve.slots[:, 1:], atol=1e-9)
        np.testing.assert_allclose(others, 0.75 * curve.others[:, :-1] + 0.25 * curve.others[:, 1:], atol=1e-9)
        np.testing.assert_allclose(curve.slots_at(np.array([9.0 * curves.most]))[:, 0], curve.slots[:, -1])


def test_the_weeks_of_a_port_are_solved_once():
    made = RoutingTask(scenario=None)

    class Counting(WeekdayProgram):
        solved = 0

        def solve(self, **sold):
            Counting.solved += 1
            return super().solve(**sold)

    curves = PortCurves(Counting(made.assignment), made.weekday_plan)
    for _ in range(3):
        prices = curves.of(0).price
    assert Counting.solved == len(prices)


def outage(rule=None, seed=3):
    """Days of an outage as the queue prices see them: the task, the rule, and states with their prices."""
    made = QueuePrice.acting(RoutingTask(scenario="cyber_attack"))
    batch, slots = Batch(made, 4), np.arange(4, dtype=np.uint32)
    batch.reset(np.full(4, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    policy = QueuePrice(made, rule=rule)
    for _ in range(80):
        yield made, policy, batch.twin.state
        batch.step(policy.predict(batch.observation)[0])


def test_price_and_end_of_a_queue_agree():
    """What comes at prices that fall to 0 when the queue is gone makes the queue gone by then, to a day."""
    seen = 0
    for made, policy, state in outage():
        queues, curves = policy.queues, made.curves
        prices = queues.of(state)
        assert prices.fall == pytest.approx(0.5 * 20.0)
        resource = made.assignment.routing.move_resource
        usual = np.stack([queues._here @ week.arrays.on_hand for week in made.week])[:, :, 0]
        under_way = np.mean([queues._comes(week)[:, 0] for week in made.week], axis=0)
        for p, b in zip(*np.nonzero(prices.queues), strict=True):
            capacity = made.compiled.topology.resource_capacity[resource[p]]
            works, since = state.arrays.availability[resource[p], b], state.arrays.since[resource[p], b]
            # A fifth of its moves is what the attack leaves, more than that a port that comes back within a week.
            rest = max(56.0 - since, 28.0) if works < 0.201 else 7.0 * (1.0 - works) / 0.8
            days = prices.queues[p, b] / prices.fall
            waits = float((queues._here @ state.arrays.on_hand[:, b])[p])
            left = max(waits - usual[state.period[b] % 7, p] - 3.0 / 7.0 * made.weekday_plan.moves[p], 0.0)
            settled, curve = under_way[p] / curves.of(p).moves[0], curves.of(p)
            coming, day = float(queues._comes(state)[p, b]), 0.0
            while day < days:
                come = coming / settled if day < settled else np.interp((days - day) * 10.0, curve.price, curve.moves)
                left += 0.01 * (come - capacity * (works if day < rest else 1.0))
                day += 0.01
            slack = curve.moves[0] + capacity
            assert left <= slack
            assert days >= 200 or left >= -2.0 * slack
            seen += 1
    assert seen > 50


def test_what_comes_later_pays_for_fewer_days():
    """Way by way: in every port the price of the day on which it gets there, 0 once the queue is gone."""
    found = next((made, policy, s) for made, policy, s in outage() if policy.queues.of(s).queues.max() > 100.0)
    made, policy, state = found
    prices, assignment = policy.queues.of(state), made.assignment
    routing, top = assignment.routing, assignment.routing.compiled.topology
    cost = made.costs.of(state, prices.moves, queues=(prices.queues, prices.fall), departures=prices.departures)
    plain = made.costs.of(state, prices.moves, departures=prices.departures)
    later = 0
    for w in range(0, len(assignment.ways), 7):
        way, day, added = assignment.ways[w], 0, np.zeros(4)
        today = int(state.period[0]) % 7
        for a in way.arcs if way.candidate >= 0 else ():
            if routing.arc_kind[a] == LEG:
                day += int(routing.schedule.weekday[routing.arc_tail[a]] - today - day) % 7
            else:
                port = routing.graph.port[routing.arc_head[a] if routing.arc_kind[a] == LOAD else routing.arc_tail[a]]
                each = np.maximum(prices.queues[port] - prices.fall * day, 0.0)
                added += (2.0 if routing.arc_kind[a] == TRANSFER else 1.0) * each
                later += day > 0 and each.any()
            day += int(top.arc_fixed_lead[a])
        np.testing.assert_allclose(cost[w] - plain[w], added, atol=1e-6)
    assert later


def test_a_departure_later_on_has_slots_at_what_they_are_worth_by_then():
    """Of every call and week: those of the curve at the price that is left in the middle of that week."""
    moved = 0
    for made, policy, state in outage():
        prices, departures = policy.queues.of(state), made.costs.departures
        for b, today in enumerate(prices.queues.T):
            for n, node in enumerate(departures.nodes):
                for week in range(WEEKS_AHEAD):
                    worth = made.weekday_plan.slot_price[node]
                    for p in np.flatnonzero(today):
                        left = max(today[p] - prices.fall * (3.5 + 7.0 * week), 0.0)
                        curve = made.curves.of(int(p))
                        worth += np.interp(left, curve.price, curve.slots[node])
                        moved += abs(worth - made.weekday_plan.slot_price[node]) > 1.0 and week > 0
                    found = made.weekday_plan.slot_price[node] + prices.departures[WEEKS_AHEAD * n + week, b]
                    assert found == pytest.approx(max(worth, 0.0), abs=1e-6)
    assert moved


def test_longer_outages_cost_more_and_no_price_falls_below_nothing():
    for made, policy, state in outage():
        one, longer = policy.queues.of(state), policy.queues.of(state, np.full(4, 2.0))
        assert (longer.queues >= one.queues).all()
        assert (made.weekday_plan.move_price[:, None] + one.moves >= -1e-9).all()
        usual = made.costs.departures.spread(made.weekday_plan.slot_price[:, None])
        assert (usual + one.departures >= -1e-9).all()


def test_moves_go_first_to_what_would_miss_its_vessel():
    """Loading for today and tomorrow, discharge, later loading, then transshipments, by the days that are left."""
    kind = np.array([LOAD, LOAD, DISCHARGE, LOAD, LOAD, TRANSFER, TRANSFER, TRANSFER])
    due = np.array([3, 4, 0, 5, 2, 3, 4, 2])
    ranks = service_ranks(kind, due)
    assert ranks.shape == (7, 8)
    assert (np.diff(ranks[3]) > 0).all()
    # The load of weekday 4 is today's one day later, the last transshipment of weekday 2 the second.
    assert ranks[4, 1] == ranks[3, 0]
    assert ranks[2, 5] == ranks[3, 6]


def short_of_moves(seed):
    """Baltic with three ports closed, where no vessel is changed; random networks whose ports fail one by one."""
    if seed == 0:
        return RoutingTask(scenario="three_ports", action_mode="shares")
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    storm = [{"ports": "all", "share": 0.1, "failure": 0.1, "duration": 7, "ramp": 4}]
    scenario = Scenario.model_validate({"name": "storm", "events": storm})
    candidates = random_candidates(rng, call_graph(network))
    return RoutingTask(network, itineraries=candidates, scenario=scenario, action_mode="shares")


@pytest.mark.parametrize("seed", range(4))
def test_a_port_makes_all_its_moves_in_that_order(seed):
    """What ranks lower gets moves only where all before it have theirs, and no move is left that somebody asks for.

    Where a week's moves are enough for all that is asked, transshipments for today are among the first.
    """
    made = short_of_moves(seed)
    batch, slots = Batch(made, 2), np.arange(2, dtype=np.uint32)
    batch.reset(np.full(2, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    assignment, routing = made.assignment, made.assignment.routing
    top, rng = routing.compiled.topology, np.random.default_rng(seed)
    kinds = np.isin(routing.arc_kind, (LOAD, TRANSFER, DISCHARGE))
    leaves = np.where(routing.arc_head >= 0, routing.schedule.weekday[routing.arc_head], 0)
    lead = np.where(routing.arc_kind == TRANSFER, routing.terms.transshipment_days, 0)
    short, kinds_of_queue = 0, set()
    today = service_ranks(np.array([LOAD, TRANSFER]), np.zeros(2, dtype=np.int64))[0]
    for day in range(60):
        share = np.zeros((routing.compiled.n_arcs, 2))
        share[kinds] = rng.uniform(0.2, 0.9, (int(kinds.sum()), 2))
        state = batch.twin.state
        ranks = service_ranks(routing.arc_kind, (leaves - lead) % 7)[day % 7]
        orders = assignment.orders(state, share)
        free = state.fork()
        free.arrays.availability[:] = np.where(free.arrays.availability > 0.0, 1e9, 0.0)
        asked = assignment.orders(free, share)
        for p, r in enumerate(routing.move_resource):
            port = np.where(routing.arc_head >= 0, routing.graph.port[routing.arc_head], -1)
            tail = np.where(routing.arc_tail >= 0, routing.graph.port[routing.arc_tail], -1)
            here = kinds & np.where(routing.arc_kind == LOAD, port == p, tail == p)
            use = np.where(routing.arc_kind == TRANSFER, 2.0, 1.0)[here]
            for b in range(2) if r >= 0 else ():
                works = state.arrays.availability[r, b]
                left = top.resource_capacity[r] * works if works > 0.0 else 0.0
                if works == 0.0:
                    assert not orders[here, b].any()
                    continue
                need = use * asked[here, b]
                brief = need.sum() <= 7.0 * left
                order = np.where(brief & (ranks[here] == today[1]), today[0], ranks[here])
                if works < 1.0 and (ranks[here] == today[1]) @ need > 0.0:
                    kinds_of_queue.add(bool(brief))
                for rank in np.unique(order):
                    mine = order == rank
                    want = float(use[mine] @ asked[here, b][mine])
                    got = float(use[mine] @ orders[here, b][mine])
                    assert got == pytest.approx(min(want, max(left, 0.0)), abs=1e-6)
                    short += want > left + 1e-6
                    left -= got
        batch.step(np.concatenate([share, np.zeros((1, 2))]).T)
    assert short
    assert kinds_of_queue == ({False, True} if seed else set())
