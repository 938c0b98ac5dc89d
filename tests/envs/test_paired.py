"""Paired rewards: the zero action earns nothing, and over an episode they add up to the difference of two true ones."""

from __future__ import annotations

import numpy as np
import pytest

from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from envs.sb3 import TwinVecEnv
from envs.switching import SwitchingTask
from twin.errors import ActionError


def routing():
    return RoutingTask(scenario="cyber_attack", base="queue", decision="week", horizon=6, finite=True)


def play(world, action, steps):
    """Rewards (steps, B) and what episodes returned, replica by replica."""
    world.reset()
    rewards, returns = [], [[] for _ in range(world.num_envs)]
    for _ in range(steps):
        _, reward, _, infos = world.step(action)
        rewards.append(reward)
        for b, info in enumerate(infos):
            if "episode" in info:
                returns[b].append(info["episode"]["r"])
    return np.array(rewards), returns


@pytest.mark.parametrize("made", [routing, lambda: InventoryTask("dual_sourcing", horizon=8)])
@pytest.mark.parametrize("stagger", [False, True])
def test_paired_rewards_are_differences_on_the_same_path(made, stagger):
    task = made()
    nothing = np.zeros((3, *task.action_space.shape), dtype=np.float32)
    some = np.full_like(nothing, 0.4)
    paired = {"seed": 4, "stagger": stagger, "paired": True}
    earned, _ = play(TwinVecEnv(task, 3, **paired), nothing, 20)
    np.testing.assert_array_equal(earned, 0.0)
    difference, returns = play(TwinVecEnv(task, 3, **paired), some, 20)
    true, true_returns = play(TwinVecEnv(task, 3, seed=4, stagger=stagger), some, 20)
    zero, _ = play(TwinVecEnv(task, 3, seed=4, stagger=stagger), nothing, 20)
    np.testing.assert_allclose(difference, true - zero, rtol=1e-5, atol=1e-3 * np.abs(true).max())
    assert returns == true_returns
    assert np.abs(difference).max() > 1e-3 * np.abs(true).max()


def test_paired_rewards_need_an_action_that_does_nothing():
    with pytest.raises(ActionError, match="zero in it"):
        TwinVecEnv(SwitchingTask("prolonged_shortage", action_mode="moves"), 2, paired=True)
    with pytest.raises(ActionError, match="true costs"):
        TwinVecEnv(InventoryTask("dual_sourcing"), 2, paired=True, accrual=True)
