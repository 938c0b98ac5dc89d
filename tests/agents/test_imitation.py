"""Imitation: least squares to the last digit, what a linear teacher does is learnt whole, runs resume as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.learners.imitation import Imitation
from agents.learners.linear_policy import LinearPolicy
from agents.learners.normalise import wrap
from agents.learners.sb3 import load
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from tests.envs.test_routing import task
from twin.errors import ConfigError


def linear(seen=4, done=2, bound=10.0):
    box = [spaces.Box(-bound, bound, (n,), dtype=np.float32) for n in (seen, done)]
    return LinearPolicy(*box, lambda _: 1.0)


def world(replicas=4, **arguments):
    made = task(base="queue", action_mode="departures", observe=["loads", "since", "calendar"], **arguments)
    return TwinVecEnv(made, replicas, seed=3)


def normalised(env, observation=False):
    return wrap(env, observation=observation, reward=False, clip_observation=10.0, gamma=0.99)


def test_the_fit_is_least_squares_with_a_penalty_on_standardised_inputs():
    """Against numpy on all samples at once, however they came in; an input that stands still has no weight."""
    rng, policy = np.random.default_rng(0), linear(seen=5, done=3)
    seen = rng.normal(size=(200, 5)) * [1.0, 30.0, 0.01, 1.0, 0.0] + [0.0, 50.0, 1.0, 2.0, 7.0]
    done = seen @ rng.normal(size=(5, 3)) + rng.normal(size=(200, 3))
    for part in np.array_split(np.arange(200), 7):
        policy.add(seen[part], done[part])
    for penalty in (1e-9, 0.1):
        explained = policy.fit(penalty)
        scale = seen[:, :4].std(axis=0)
        inputs = (seen[:, :4] - seen[:, :4].mean(axis=0)) / scale
        stacked = np.vstack([inputs, np.sqrt(200 * penalty) * np.eye(4)])
        target = np.vstack([done - done.mean(axis=0), np.zeros((4, 3))])
        weight = np.linalg.lstsq(stacked, target, rcond=None)[0].T / scale
        np.testing.assert_allclose(policy.weight[:, :4], weight, rtol=1e-6, atol=1e-9)
        assert not policy.weight[:, 4].any()
        fitted = seen @ policy.weight.numpy().T + policy.bias.numpy()
        np.testing.assert_allclose(fitted.mean(axis=0), done.mean(axis=0), rtol=1e-6)
        if penalty < 1e-6:
            left = ((done - fitted) ** 2).sum() / ((done - done.mean(axis=0)) ** 2).sum()
            assert explained == pytest.approx(1.0 - left, rel=1e-6)


def test_actions_stay_in_the_box_and_begin_at_nothing():
    policy = linear(bound=1.0)
    assert not policy.predict(np.ones((3, 4), dtype=np.float32))[0].any()
    policy.bias.copy_(torch.tensor([5.0, -5.0]))
    np.testing.assert_array_equal(policy.predict(np.ones(4, dtype=np.float32))[0], [1.0, -1.0])
    with pytest.raises(ValueError, match="no layers"):
        LinearPolicy(policy.observation_space, policy.action_space, lambda _: 1.0, net_arch=[8])


class Linear:
    """A teacher whose actions are linear in the loads: shown what the student sees."""

    acting = staticmethod(lambda made: made)

    def __init__(self, made, slope=0.3):
        self.slope, self.asked = slope, []
        rows = [rows for rows, block in made.observation.placed() if block.group == "loads"]
        self.loads, self.size = rows[0], made.action_space.shape[0]

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.asked.append(len(observation))
        action = np.zeros((len(observation), self.size), dtype=np.float32)
        action[:, 3:] = self.slope * (observation[:, self.loads] - 1.0)
        return action, state


def test_what_a_linear_teacher_does_is_learnt_whole(monkeypatch):
    monkeypatch.setattr("agents.learners.imitation.load_class", lambda _: Linear)
    env = normalised(world())
    model = Imitation("MlpPolicy", env, n_steps=40, every=3, penalty=1e-8, seed=0)
    model.learn(4 * 200)
    made = env.venv.task
    seen = env.venv.batch.observe()
    expected = np.clip(Linear(made).predict(seen)[0], -1.0, 1.0)
    np.testing.assert_allclose(model.predict(seen)[0], expected, atol=2e-3)
    assert model.policy.moments[0, 0] == pytest.approx(4 * 200 / 3, abs=4)
    assert model.num_timesteps == 800


def test_the_learner_follows_itself_and_asks_in_turn(monkeypatch):
    """From the zero action to what it has learnt; every replica asks on every third decision."""
    monkeypatch.setattr("agents.learners.imitation.load_class", lambda _: Linear)
    taken, asked, env = [], [], normalised(world(replicas=3))
    batch = env.venv.batch
    whole, ask = batch.step, Imitation._ask

    def counted(self, *rest):
        asked.append(ask(self, *rest))
        return asked[-1]

    monkeypatch.setattr(batch, "step", lambda action, *rest: taken.append(action.copy()) or whole(action, *rest))
    monkeypatch.setattr(Imitation, "_ask", counted)
    Imitation("MlpPolicy", env, n_steps=6, every=3, penalty=0.01, seed=0).learn(3 * 12)
    assert len(taken) == 12
    assert asked == [1] * 12
    assert not np.any(taken[:6])
    assert np.any(taken[6])


def test_a_saved_policy_acts_alike_and_can_be_fitted_to_more(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.learners.imitation.load_class", lambda _: Linear)
    env = normalised(world())
    model = Imitation("MlpPolicy", env, n_steps=20, seed=0)
    model.learn(4 * 60)
    model.save(tmp_path / "model.zip")
    again, seen = load("imitation", tmp_path / "model.zip", env), env.venv.batch.observe()
    np.testing.assert_array_equal(again.predict(seen)[0], model.predict(seen)[0])
    assert again.policy.fit(0.03) == model.policy.fit(0.03)
    assert again.policy.moments[0, 0] == 80
    assert again.teacher == "routing_slot_price"


def test_it_learns_prices_of_slots_from_the_program():
    """On a small network, with the program itself."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    env = normalised(world(replicas=4, price_scale=1000.0))
    model = Imitation("MlpPolicy", env, teacher_parameters={"share": 0.5}, n_steps=30, every=1, seed=0)
    model.learn(4 * 60)
    policy = model.policy
    assert policy.moments[0, 0] == 240
    assert 0.1 < policy.fit(1e-6) <= 1.0
    # The three assumptions are left as they are.
    assert not policy.weight[:3].any()
    assert not policy.bias[:3].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every"),
        ({"n_steps": 1.5}, "n_steps"),
        ({"penalty": 0.0}, "penalty"),
        ({"teacher": "routing_slot_pric"}, "did you mean 'routing_slot_price'"),
        ({"teacher": "routing_static"}, "env.action_mode=orders"),
        ({"teacher": "base_stock"}, "policies of routing"),
        ({"teacher_parameters": {"shar": 1.0}}, "shar"),
    ],
)
def test_what_cannot_be_imitated_is_refused(arguments, message):
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    with pytest.raises(ConfigError, match=message):
        Imitation("MlpPolicy", normalised(world()), **arguments).learn(4)


def test_it_needs_raw_observations_of_a_routing_world():
    with pytest.raises(ConfigError, match=r"agent\.normalise\.observation"):
        Imitation("MlpPolicy", normalised(world(), observation=True)).learn(4)
    other = TwinVecEnv(InventoryTask("serial_chain"), 2)
    with pytest.raises(ConfigError, match="policies of routing"):
        Imitation("MlpPolicy", normalised(other), teacher="base_stock").learn(4)
