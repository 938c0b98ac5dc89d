"""Some replicas of a batch begin again: on their own next paths, as they would alone, and the others do not notice."""

from __future__ import annotations

import numpy as np
import pytest

from envs.core import Batch
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from twin import library

SLOTS = np.arange(7, dtype=np.uint32)


def started(task: InventoryTask) -> Batch:
    batch = Batch(task, len(SLOTS))
    batch.reset(np.full(len(SLOTS), 5, dtype=np.uint64), SLOTS, np.zeros_like(SLOTS))
    return batch


@pytest.mark.parametrize("index", [[2, 3, 4], [5, 0], [6], list(range(7))])
@pytest.mark.parametrize("network", library.names())
def test_a_restart_is_the_beginning_of_the_next_episode(network: str, index: list[int]) -> None:
    """State, position, observation and the periods that follow are those of replicas that begin there."""
    task = InventoryTask(network, horizon=9)
    arcs, chosen = task.compiled.n_arcs, np.array(index)
    rng = np.random.default_rng(1)
    batch, alone = started(task), Batch(task, len(index))
    for _ in range(2):  # the second time, what is kept of the first is used
        for _ in range(4):
            batch.step(rng.uniform(-1.0, 1.0, (len(SLOTS), arcs)).astype(np.float32))
        episode = batch.twin.state.episode[chosen] + np.uint32(1)
        untouched = [b for b in range(len(SLOTS)) if b not in index]
        before = [batch.twin.state.snapshot(b) for b in untouched], batch.observation[untouched].copy()
        shown = batch.restart(chosen)
        assert [batch.twin.state.snapshot(b) for b in untouched] == before[0]
        np.testing.assert_array_equal(shown[untouched], before[1])
        expected = alone.reset(np.full(len(index), 5, dtype=np.uint64), SLOTS[chosen], episode)
        np.testing.assert_array_equal(shown[chosen], expected)
        np.testing.assert_array_equal(batch.position[:, chosen], alone.position)
        for k, b in enumerate(index):
            assert batch.twin.state.snapshot(b) == alone.twin.state.snapshot(k)
        for _ in range(3):
            action = rng.uniform(-1.0, 1.0, (len(SLOTS), arcs)).astype(np.float32)
            mine, theirs = batch.step(action), alone.step(action[chosen])
            np.testing.assert_array_equal(mine.observation[chosen], theirs.observation)
            np.testing.assert_array_equal(mine.costs[:, chosen], theirs.costs)


def test_what_is_written_into_infos_is_gone_with_the_next_step() -> None:
    """Infos of episodes that go on are empty whatever a wrapper has left in those of the step before."""
    world = TwinVecEnv(InventoryTask("serial_chain", horizon=9), 5, stagger=True)
    world.reset()
    action = np.zeros((5, world.task.compiled.n_arcs), dtype=np.float32)
    ends = 0
    for _ in range(20):
        _, _, ended, infos = world.step(action)
        assert [bool(info) for info in infos] == ended.tolist()
        assert len({id(info) for info in infos}) == 5
        ends += int(ended.sum())
        infos[2]["note"] = 1
    assert ends > 5
