"""Prices of routing: weeks by weekday against brute force, scarcity against weeks solved anew, who is served first."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from agents.baselines.routing_queue_price import QueuePrice
from envs.core import Batch
from envs.routing import RoutingTask
from envs.routing_scarcity import ScarcityPrices
from tests.liner_reference import random_candidates, random_network
from twin.liner.assignment import Assignment
from twin.liner.calls import call_graph
from twin.liner.dispatch import service_ranks
from twin.liner.routing import DISCHARGE, LEG, LOAD, TRANSFER, routing_network
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


def test_a_week_with_fewer_moves_costs_more():
    made = program(1)
    limited = np.flatnonzero(made.assignment.routing.move_resource >= 0)
    cost = [made.solve(np.where(np.arange(made.moves.shape[1]) == limited[0], x, 1.0)).cost for x in (1.0, 0.4, 0.0)]
    assert cost[0] == pytest.approx(made.solve().cost)
    assert cost[0] <= cost[1] <= cost[2]


def test_scarcity_adds_the_differences_of_weeks_with_fewer_moves():
    """Nothing where all works; of one port the difference of two programs; no price falls below 0."""
    made = RoutingTask(scenario=None)
    week, plan, prices = WeekdayProgram(made.assignment), made.weekday_plan, made.scarcity
    ports = len(plan.move_price)
    hub = int(np.argmax(made.plan.moves))
    works = np.ones((ports, 3))
    works[hub] = [1.0, 0.32, 0.28]
    moves, slots = prices.of(works)
    np.testing.assert_array_equal(moves[:, 0], 0.0)
    np.testing.assert_array_equal(slots[:, 0], 0.0)
    short = week.solve(np.where(np.arange(ports) == hub, 0.3, 1.0))
    others = np.arange(ports) != hub
    for b in (1, 2):
        np.testing.assert_allclose(plan.slot_price + slots[:, b], short.slot_price, atol=1e-6)
        np.testing.assert_allclose((plan.move_price + moves[:, b])[others], short.move_price[others], atol=1e-6)
    assert np.abs(slots[:, 1]).max() > 1.0
    assert moves[hub, 1] == 0.0
    rng = np.random.default_rng(2)
    moves, slots = prices.of(rng.uniform(-0.5, 1.0, (ports, 8)))
    assert (plan.move_price[:, None] + moves >= -1e-9).all()
    assert (plan.slot_price[:, None] + slots >= -1e-9).all()


def test_a_week_is_solved_once():
    made = RoutingTask(scenario=None)

    class Counting(WeekdayProgram):
        solved = 0

        def solve(self, works=None):
            Counting.solved += 1
            return super().solve(works)

    prices = ScarcityPrices(Counting(made.assignment), made.weekday_plan)
    works = np.ones((len(made.weekday_plan.move_price), 64))
    works[0] = np.linspace(0.11, 0.24, 64)
    for _ in range(3):
        prices.of(works)
    assert Counting.solved == 2


def test_without_days_ahead_slots_keep_their_nominal_prices():
    made = QueuePrice.acting(RoutingTask(scenario="cyber_attack"))
    batch, slots = Batch(made, 4), np.arange(4, dtype=np.uint32)
    batch.reset(np.full(4, 3, dtype=np.uint64), slots, np.zeros_like(slots))
    usual, plain = QueuePrice(made), QueuePrice(made, rule={"ahead": 0.0})
    seen = False
    for _ in range(60):
        one, other = usual.queues.of(batch.twin.state), plain.queues.of(batch.twin.state)
        np.testing.assert_array_equal(one.queues, other.queues)
        assert not other.slots.any()
        assert not other.moves.any()
        seen |= bool(one.slots.any())
        batch.step(usual.predict(batch.observation)[0])
    assert seen


def test_moves_go_first_to_what_would_miss_its_vessel():
    """Loading for today, discharge, transshipment for today, then by the days that are left, transshipments last."""
    kind = np.array([LOAD, DISCHARGE, TRANSFER, LOAD, LOAD, TRANSFER, TRANSFER])
    due = np.array([3, 0, 3, 4, 2, 4, 2])
    ranks = service_ranks(kind, due)
    assert ranks.shape == (7, 7)
    assert np.argsort(ranks[3]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert len(np.unique(ranks[3])) == 7
    # The load of weekday 4 is today's one day later.
    assert ranks[4, 3] == ranks[3, 0]


@pytest.mark.parametrize("seed", range(4))
def test_a_port_makes_all_its_moves_in_that_order(seed):
    """What ranks lower gets moves only where all before it have theirs, and no move is left that somebody asks for."""
    made = RoutingTask(scenario="three_ports", action_mode="shares")
    batch, slots = Batch(made, 2), np.arange(2, dtype=np.uint32)
    batch.reset(np.full(2, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    assignment, routing = made.assignment, made.assignment.routing
    top, rng = routing.compiled.topology, np.random.default_rng(seed)
    kinds = np.isin(routing.arc_kind, (LOAD, TRANSFER, DISCHARGE))
    leaves = np.where(routing.arc_head >= 0, routing.schedule.weekday[routing.arc_head], 0)
    lead = np.where(routing.arc_kind == TRANSFER, routing.terms.transshipment_days, 0)
    short = 0
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
                for rank in range(15):
                    mine = ranks[here] == rank
                    want = float(use[mine] @ asked[here, b][mine])
                    got = float(use[mine] @ orders[here, b][mine])
                    assert got == pytest.approx(min(want, max(left, 0.0)), abs=1e-6)
                    short += want > left + 1e-6
                    left -= got
        batch.step(np.concatenate([share, np.zeros((1, 2))]).T)
    assert short
