"""A comparison split by what failed on the paths: the paths' own outages, and every path in one group."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from envs.core import Batch
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from experiments.config import EvaluationConfig
from experiments.outages import Outages, outages_on_paths, split
from twin.compile import compile_network
from twin.library import load
from twin.seeds import Purpose, world_seed


@pytest.mark.parametrize(("finite", "warm_up"), [(True, 0), (False, 10)])
def test_the_outages_are_those_that_policies_meet(finite: bool, warm_up: int) -> None:
    """Least share and longest time, read off the twin day by day while it runs."""
    task = RoutingTask("baltic", scenario="random_events", horizon=70, finite=finite)
    evaluation = EvaluationConfig(seed=4, paths=9, warm_up=warm_up, periods=60)
    found = outages_on_paths(task, evaluation)
    assert found is not None

    batch, slots = Batch(task, 9), np.arange(9, dtype=np.uint32)
    batch.reset(np.full(9, world_seed(Purpose.EVALUATION, 4), dtype=np.uint64), slots, np.zeros_like(slots))
    nothing = np.zeros((9, *task.action_space.shape), dtype=np.float32)  # type: ignore[misc]
    left, longest = np.ones(9), np.zeros(9)
    running = np.zeros((task.compiled.n_resources, 9))
    for day in range(70):
        if finite or day >= warm_up:
            works = batch.twin.state.arrays.availability
            left = np.minimum(left, works.min(axis=0))
            for r in range(len(works)):
                for b in range(9):
                    running[r, b] = running[r, b] + 1 if works[r, b] < 1.0 else 0
                    longest[b] = max(longest[b], running[r, b])
        batch.step(nothing)
    np.testing.assert_array_equal(found.left, left)
    np.testing.assert_array_equal(found.longest, longest)
    # What still fails in the last period matters where the problem ends with it.
    assert 0 < (works < 1.0).any(axis=0).sum() < 9
    np.testing.assert_array_equal(found.at_end, (works < 1.0).any(axis=0) & finite)
    assert left.min() == 0.0
    assert longest.max() > 10


def test_a_network_in_which_nothing_fails_has_none() -> None:
    task = InventoryTask(compile_network(load("serial_chain")), horizon=5)
    assert outages_on_paths(task, EvaluationConfig(paths=4, warm_up=1, periods=5)) is None


def test_every_path_is_in_one_group_and_means_are_theirs() -> None:
    rng = np.random.default_rng(0)
    left = np.repeat([1.0, 0.0, 0.2, 0.5], [10, 30, 40, 3])
    longest = np.where(left < 1.0, rng.integers(1, 60, 83), 0).astype(float)
    costs = {"one": rng.normal(5.0, 1.0, (2, 83)), "other": rng.normal(6.0, 1.0, (1, 83))}
    groups = split(Outages(left, longest, left < 0.0), costs, "other", "day", resamples=200)
    # Three paths are too few for a group.
    assert sum(group.paths for group in groups) == 80
    assert [group.severity for group in groups[:1]] == ["none"]
    assert groups[0].duration == "-"
    calm = left == 1.0
    assert groups[0].costs["one"].mean == pytest.approx(costs["one"].mean(axis=0)[calm].mean())
    assert groups[0].differences["one"].mean == pytest.approx(
        (costs["one"].mean(axis=0) - costs["other"][0])[calm].mean()
    )
    assert set(groups[0].differences) == {"one"}
    closed = [group for group in groups if group.severity == "closed"]
    assert len(closed) == 3
    ends = [tuple(int(word) for word in group.duration.split()[:3:2]) for group in closed]
    assert all(low <= high < later for (low, high), (later, _) in pairwise(ends))
    total = sum(group.paths * group.costs["one"].mean for group in closed)
    assert total == pytest.approx(costs["one"].mean(axis=0)[left == 0.0].sum())
