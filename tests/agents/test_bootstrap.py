"""Values of truncated replicas in one pass: the same learning as Stable-Baselines3's own, replica by replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.learners.normalise import wrap
from agents.learners.sb3 import build, load
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv

REPLICAS, STEPS = 12, 20
PLAIN: dict[str, type[OnPolicyAlgorithm]] = {"ppo": PPO, "a2c": A2C}
PARAMETERS: dict[str, dict[str, Any]] = {"ppo": {"n_steps": STEPS, "batch_size": 60}, "a2c": {"n_steps": STEPS}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def fresh(name: str, *, finite: bool = False) -> OnPolicyAlgorithm:
    """A model on episodes of 7 periods, of which several end in each rollout at different steps."""
    task = InventoryTask("five_site_distribution", horizon=7, finite=finite)
    world = TwinVecEnv(task, REPLICAS, seed=3, stagger=True)
    model = build(
        name,
        wrap(world, observation=True, reward=True, clip_observation=10.0, gamma=0.97),
        parameters=PARAMETERS[name],
        net_arch=[16],
        activation="tanh",
        log_std_init=-1.0,
        seed=4,
        device="cpu",
    )
    assert isinstance(model, OnPolicyAlgorithm)
    model.set_logger(Logger(None, []))
    return model


def plain(name: str, monkeypatch: pytest.MonkeyPatch, *, finite: bool = False) -> OnPolicyAlgorithm:
    """The same model as Stable-Baselines3 has it."""
    with monkeypatch.context() as patch:
        patch.setattr("agents.learners.sb3.bootstrapping_together", lambda made: made)
        model = fresh(name, finite=finite)
    assert type(model) is PLAIN[name]
    return model


def learn(model: OnPolicyAlgorithm, rollouts: int, callback: BaseCallback | None = None) -> None:
    """So many rollouts, whatever other models have drawn before."""
    model.set_random_seed(model.seed)
    model.learn(rollouts * REPLICAS * STEPS, callback=callback)


class Witness(BaseCallback):
    """Notes what a callback is shown in each step, and how many observations each value pass takes."""

    def __init__(self, model: OnPolicyAlgorithm) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []
        self.passes: list[int] = []
        values = model.policy.predict_values

        def counted(obs: Any) -> torch.Tensor:
            self.passes.append(len(obs))
            return values(obs)

        model.policy.predict_values = counted  # type: ignore[method-assign]

    def _on_step(self) -> bool:
        flags = [info.get("TimeLimit.truncated") for info in self.locals["infos"]]
        self.seen.append((self.locals["rewards"].copy(), self.locals["dones"].copy(), flags, self.num_timesteps))
        return True


@pytest.mark.parametrize("name", list(PLAIN))
def test_rewards_are_those_of_one_pass_a_replica(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rollout: rewards, advantages and what callbacks see agree; the passes are one for each step with an end."""
    ours, theirs = fresh(name), plain(name, monkeypatch)
    witnesses = [Witness(model) for model in (ours, theirs)]
    for model, witness in zip((ours, theirs), witnesses, strict=True):
        learn(model, 1, witness)
    for mine, other in zip(witnesses[0].seen, witnesses[1].seen, strict=True):
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_array_equal(mine[1], other[1])
        assert mine[2:] == other[2:]
    ends = [int(dones.sum()) for _, dones, _, _ in witnesses[0].seen]
    assert sum(ends) > 2 * REPLICAS
    assert witnesses[0].passes == [n for n in ends if n] + [REPLICAS]
    assert witnesses[1].passes == [1] * sum(ends) + [REPLICAS]
    for array in ("rewards", "values", "advantages", "returns"):
        mine, other = getattr(ours.rollout_buffer, array), getattr(theirs.rollout_buffer, array)
        np.testing.assert_allclose(mine, other, rtol=0.0, atol=1e-6, err_msg=array)
    # The values are not small: leaving them out would show.
    shown = np.stack([rewards for rewards, *_ in witnesses[0].seen])
    added = (ours.rollout_buffer.rewards - shown)[np.stack([dones for _, dones, *_ in witnesses[0].seen])]
    assert np.abs(added).mean() > 0.01


@pytest.mark.parametrize("name", list(PLAIN))
def test_learning_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rollouts with their updates end with the same weights, to the rounding of a matrix product."""
    ours, theirs = fresh(name), plain(name, monkeypatch)
    start = {key: value.clone() for key, value in ours.policy.state_dict().items()}
    for model in (ours, theirs):
        learn(model, 5)
    moved = 0.0
    for key, value in theirs.policy.state_dict().items():
        np.testing.assert_allclose(ours.policy.state_dict()[key].numpy(), value.numpy(), rtol=0.0, atol=1e-6)
        moved = max(moved, float((value - start[key]).abs().max()))
    assert moved > 1e-3


def test_a_finite_problem_ends_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where episodes end with the horizon nothing is added: all numbers are Stable-Baselines3's, bit for bit."""
    ours, theirs = fresh("ppo", finite=True), plain("ppo", monkeypatch, finite=True)
    witness = Witness(ours)
    learn(ours, 3, witness)
    learn(theirs, 3)
    assert witness.passes == [REPLICAS] * 3
    for key, value in theirs.policy.state_dict().items():
        assert torch.equal(ours.policy.state_dict()[key], value)


@pytest.mark.parametrize("name", list(PLAIN))
def test_files_are_those_of_the_algorithm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable-Baselines3 loads our files, and we load its own, which then learn in one pass a step."""
    ours, theirs = fresh(name), plain(name, monkeypatch)
    assert type(ours).__name__ == PLAIN[name].__name__
    ours.save(tmp_path / "ours.zip")
    theirs.save(tmp_path / "theirs.zip")
    again = PLAIN[name].load(tmp_path / "ours.zip", device="cpu")
    loaded = load(name, tmp_path / "theirs.zip", ours.get_env())
    for model in (again, loaded):
        for key, value in ours.policy.state_dict().items():
            assert torch.equal(model.policy.state_dict()[key], value)
    assert isinstance(loaded, OnPolicyAlgorithm)
    loaded.set_logger(Logger(None, []))
    witness = Witness(loaded)
    learn(loaded, 1, witness)
    assert len(witness.passes) <= STEPS + 1


def test_a_callback_ends_training_as_it_does_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that says stop is obeyed at that step, and nothing is valued any more."""

    class Stop(Witness):
        def _on_step(self) -> bool:
            super()._on_step()
            return len(self.seen) < 7  # the step in which the first full episodes end

    for model in (fresh("ppo"), plain("ppo", monkeypatch)):
        stop = Stop(model)
        learn(model, 1, stop)
        assert model.num_timesteps == 7 * REPLICAS
        assert sum(stop.passes) == sum(int(dones.sum()) for _, dones, *_ in stop.seen[:-1])
