"""What is on its way back: seen from what works today, checked against what works on the days that follow."""

from __future__ import annotations

import numpy as np
import pytest

from agents.baselines.routing_queue_price import QueuePrice
from envs.core import Batch
from envs.routing import RoutingTask
from envs.routing_recovery import Recovery
from tests.envs.test_routing import task
from twin.engine import Twin


def days_of(scenario, days=120, replicas=6, seed=None):
    """What works (days, R, B), and for how many days that is said to last."""
    made = task(seed, scenario=scenario, horizon=days)
    twin, recovery = Twin(made.compiled, replicas=replicas, seed=11), Recovery(made.compiled)
    works, said = [], []
    for _ in range(days):
        works.append(twin.state.arrays.availability.copy())
        said.append(recovery.days(twin.state.arrays.availability))
        twin.step(np.zeros((made.compiled.n_arcs, replicas)))
    return np.array(works), np.array(said)


@pytest.mark.parametrize("scenario", ["cyber_attack", "three_ports"])
def test_days_until_all_works_are_those_that_follow(scenario):
    """On every day of every replica: as many days as it then takes, and 0 before the outage is over and after."""
    works, said = days_of(scenario)
    seen = 0
    for r, b in np.ndindex(works.shape[1:]):
        path = works[:, r, b]
        for day in np.flatnonzero(path < 1.0):
            rises = day > 0 and path[day] > path[day - 1]
            if not rises:
                assert said[day, r, b] == 0.0
                continue
            left = np.flatnonzero(path[day:] == 1.0)
            if len(left):
                assert said[day, r, b] == pytest.approx(left[0], abs=1e-6)
                seen += 1
        assert not said[path == 1.0, r, b].any()
    assert seen > 30


def test_an_outage_is_not_taken_for_a_way_back():
    """With several kinds of outages, also at once: a share that they leave says nothing; what rises is seen to rise."""
    works, said = days_of("random_events", days=400)
    fell = np.zeros(works.shape, dtype=bool)
    fell[1:] = works[1:] < works[:-1]
    for share in (0.0, 0.1, 0.2, 0.5):
        assert not said[np.abs(works - share) < 1e-6].any()
    between = (said > 0.0) & ~fell
    between[0] = False
    assert between.sum() > 50
    assert (works[between] > works[np.roll(between, -1, axis=0)]).all()
    assert said.max() <= 7.0


def test_what_comes_back_at_once_is_never_on_its_way():
    """A closed canal, and a network that nothing happens to."""
    for scenario, seed in (("canal_shut", 1), (None, None)):
        works, said = days_of(scenario, days=60, seed=seed)
        assert bool(works.min() == 0.0) is (scenario is not None)
        assert not said.any()
    made = RoutingTask(scenario=None)
    assert not Recovery(made.compiled).days(np.full((made.compiled.n_resources, 2), 0.3)).any()


def test_it_is_read_off_an_observation_too():
    """Observations are rounded to single precision; prices of a way back are lower than without it."""
    made = QueuePrice.acting(RoutingTask(scenario="cyber_attack", horizon=120))
    batch, slots = Batch(made, 4), np.arange(4, dtype=np.uint32)
    batch.reset(np.full(4, 3, dtype=np.uint64), slots, np.zeros_like(slots))
    policy, recovery, lower = QueuePrice(made), Recovery(made.compiled), 0
    none = Recovery(RoutingTask(scenario=None).compiled)
    for _ in range(90):
        state = batch.twin.state
        said = recovery.days(policy.read(batch.observation).arrays.availability)
        np.testing.assert_allclose(said, recovery.days(state.arrays.availability), atol=1e-4)
        back = said.max(axis=0) > 0.0
        if back.any():
            found = policy.queues.of(state).queues
            policy.queues.recovery = none
            blind = policy.queues.of(state).queues
            policy.queues.recovery = recovery
            assert (found <= blind + 1e-9).all()
            np.testing.assert_array_equal(found[:, ~back], blind[:, ~back])
            lower += int((found < blind).any())
        batch.step(policy.predict(batch.observation)[0])
    assert lower
