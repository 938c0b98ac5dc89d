"""Speed of a liner network on the twin's engine, outside the default run: ``make bench``."""

from __future__ import annotations

import time

import numpy as np
import pytest

from agents.baselines.routing_program import RollingRouting
from envs.core import Batch
from envs.routing import RoutingTask
from twin.engine import Twin
from twin.liner import library
from twin.liner.assignment import Assignment
from twin.liner.itineraries import shipped_candidates
from twin.liner.routing import routing_network
from twin.liner.terms import RoutingTerms

pytestmark = pytest.mark.benchmark

REPLICAS, DAYS = 256, 70


def test_days_of_baltic(benchmark):
    """At least 5,000 days a second on one core, 256 replicas: cheapest ways under prices, orders, draws and the period.

    A port fails at random for a hidden time, demand varies, and prices differ from replica to replica and day to day.
    """
    terms = RoutingTerms.model_validate(
        {
            "booking": "daily",
            "weekly_demand_cv": 0.3,
            "value_of_time": 20.0,
            "ports": {"DEBRV": {"failure": 0.01, "duration": {"distribution": "poisson", "mean": 20}}},
        }
    )
    network = library.load("baltic")
    assignment = Assignment(routing_network(network, shipped_candidates(network), terms))
    twin = Twin(assignment.routing.compiled, replicas=REPLICAS, seed=1)
    prices = np.random.default_rng(1).uniform(0.0, 300.0, size=(7, assignment.routing.compiled.n_arcs, REPLICAS))
    lateness = terms.value_of_time * assignment.way_days

    def run() -> None:
        for day in range(DAYS):
            weekday = int(twin.state.period[0]) % 7
            cost = assignment.along(prices[day % 7]) + (assignment.way_cost + lateness[:, weekday])[:, None]
            share = assignment.shares(assignment.cheapest(cost))
            twin.step(assignment.orders(twin.state, share))

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    rate = REPLICAS * DAYS / benchmark.stats["median"]
    benchmark.extra_info["days_per_second"] = round(rate)
    assert rate >= 5_000.0


@pytest.mark.parametrize("mode", ["prices", "itinerary"])
def test_days_of_the_environment(benchmark, mode):
    """At least 5,000 days a second on one core, 256 replicas: decision, orders, draws, the period and what is observed.

    Ports fail at random, demand varies, and actions differ from replica to replica and day to day.
    """
    task = RoutingTask(action_mode=mode)
    batch, slots = Batch(task, REPLICAS), np.arange(REPLICAS, dtype=np.uint32)
    batch.reset(np.full(REPLICAS, 1, dtype=np.uint64), slots, np.zeros_like(slots))
    rng = np.random.default_rng(1)
    if mode == "prices":
        actions = rng.uniform(-1.0, 1.0, size=(7, REPLICAS, *task.action_space.shape)).astype(np.float32)
    else:
        actions = rng.integers(0, task.action_space.nvec, size=(7, REPLICAS, *task.action_space.shape))

    def run() -> None:
        for day in range(DAYS):
            batch.step(actions[day % 7])
            task.mask(batch.twin)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    rate = REPLICAS * DAYS / benchmark.stats["median"]
    benchmark.extra_info["days_per_second"] = round(rate)
    assert rate >= 5_000.0


def test_a_price_is_decoded_faster_than_a_program_is_solved(benchmark):
    """At least 100 times, for one replica among 256 and one program, on the same days."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    task = RoutingTask(scenario="cyber_attack")
    batch, slots = Batch(task, REPLICAS), np.arange(REPLICAS, dtype=np.uint32)
    batch.reset(np.full(REPLICAS, 1, dtype=np.uint64), slots, np.zeros_like(slots))
    program = RollingRouting(RollingRouting.acting(task))
    one = Batch(task, 1)
    one.reset(np.array([1], dtype=np.uint64), slots[:1], np.zeros_like(slots[:1]))
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, size=(REPLICAS, *task.action_space.shape))
    nothing, seconds = np.zeros((1, *task.action_space.shape)), []
    for _ in range(28):
        began = time.perf_counter()
        program.orders(one.twin.state)
        seconds.append(time.perf_counter() - began)
        one.step(nothing)
        batch.step(actions)
    benchmark.pedantic(lambda: task.decode(actions, batch.twin, batch.position), rounds=20, warmup_rounds=1)
    decoded = benchmark.stats["median"] / REPLICAS
    benchmark.extra_info["times_faster"] = round(float(np.median(seconds)) / decoded)
    assert np.median(seconds) >= 100.0 * decoded
