"""Algorithms build, learn, repeat themselves, and go on from a checkpoint as if they had never stopped."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from agents.evaluation import measure
from agents.learners import checkpoint
from agents.learners.callbacks import CostLog, Stopper, Validation, save_model
from agents.learners.logs import ContinuedCsv
from agents.learners.normalise import load_normalisation, save_normalisation, unwrap, wrap
from agents.learners.sb3 import NormalisedPolicy, build, check_parameters, load
from agents.registry import ALGORITHMS, algorithm
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from envs.sb3 import TwinVecEnv
from envs.switching import SwitchingTask
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

REPLICAS = 3
PARAMETERS: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 2},
    "a2c": {"n_steps": 8},
    "sac": {"buffer_size": 3000, "learning_starts": 60, "batch_size": 16, "train_freq": 4, "gradient_steps": 2},
    "td3": {"buffer_size": 3000, "learning_starts": 60, "batch_size": 16, "train_freq": 4, "gradient_steps": 2},
    "maskable_ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 2},
    "pathwise": {"n_steps": 12, "warm_up": 5},
    "imitation": {"n_steps": 12, "every": 2},
    "dqn": {
        "buffer_size": 3000,
        "learning_starts": 60,
        "batch_size": 16,
        "train_freq": 4,
        "gradient_steps": 2,
        "target_update_interval": 30,
    },
}


@cache
def routing_task() -> RoutingTask:
    observe = ["loads", "availability", "calendar"]
    return RoutingTask(base="queue", action_mode="departures", observe=observe, horizon=13)


every_algorithm = pytest.mark.parametrize("name", list(ALGORITHMS))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def task_for(name: str) -> Any:
    if name == "imitation":
        pytest.importorskip("highspy", reason="its teacher needs the extra 'routing'")
        return routing_task()
    if name == "maskable_ppo":
        # With a belief, which a checkpoint has to keep.
        observe = ["on_hand", "position", "availability", "outlook", "contract", "clock"]
        return SwitchingTask("prolonged_shortage", action_mode="moves", base="risk", observe=observe, horizon=13)
    mode = "base_stock" if "Box" in algorithm(name).action_spaces else "discrete"
    return InventoryTask("five_site_distribution", action_mode=mode, horizon=13)


def world_for(name: str, seed: int = 5, task: Any = None, *, paired: bool = False) -> TwinVecEnv:
    seed = world_seed(Purpose.TRAINING, seed)
    return TwinVecEnv(task or task_for(name), REPLICAS, seed=seed, stagger=True, paired=paired)


def fresh(name: str, seed: int = 5, task: Any = None, *, paired: bool = False) -> BaseAlgorithm:
    world = world_for(name, seed, task, paired=paired)
    # Imitation weighs what it sees itself, without layers.
    scaled = name != "imitation"
    normalise = wrap(world, observation=scaled, reward=True, clip_observation=10.0, gamma=0.99)
    model = build(
        name,
        normalise,
        parameters=PARAMETERS[name],
        net_arch=[8] if scaled else [],
        activation="tanh",
        log_std_init=-1.0,
        seed=seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))
    return model


def parameters(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.policy.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def statistics(model: BaseAlgorithm) -> list[Any]:
    normalise = unwrap(model.get_env())
    money, seen = normalise.ret_rms, []
    if normalise.norm_obs:
        observed = normalise.obs_rms
        assert not isinstance(observed, dict)
        seen = [observed.mean, observed.var, observed.count]
    return [*seen, money.mean, money.var, money.count, normalise.returns]


@every_algorithm
def test_it_learns_something_and_acts_inside_its_space(name: str) -> None:
    """A few hundred steps change the parameters, keep them finite, and leave actions inside the space."""
    model = fresh(name)
    before = parameters(model)
    model.learn(300)
    after = parameters(model)
    assert not equal(before, after)
    assert all(torch.isfinite(value).all() for value in after.values())
    task = task_for(name)
    policy = NormalisedPolicy(model, unwrap(model.get_env()))
    space = spaces.Box(task.observation_space.low, task.observation_space.high, seed=1)  # type: ignore[attr-defined]
    for deterministic in (True, False):
        many, _ = policy.predict(np.stack([space.sample() for _ in range(20)]), deterministic=deterministic)
        assert all(task.action_space.contains(np.asarray(action)) for action in many)
        one, _ = policy.predict(space.sample(), deterministic=deterministic)
        assert task.action_space.contains(np.asarray(one))
    measured = measure(policy, task, seed=1, paths=3, periods=5, warm_up=0)
    assert np.isfinite(measured.cost).all()


@every_algorithm
def test_a_seed_decides_everything(name: str) -> None:
    """Two runs of one seed end with identical parameters and statistics; another seed ends elsewhere."""
    one, two, other = fresh(name), fresh(name), fresh(name, seed=6)
    for model in (one, other, two):
        # Interleaving the building above shows that no run leans on another's random state.
        model.set_random_seed(model.seed)
        model.learn(150)
    assert equal(parameters(one), parameters(two))
    for mine, theirs in zip(statistics(one), statistics(two), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not equal(parameters(one), parameters(other))


def test_building_a_model_leaves_the_world_on_its_seed() -> None:
    """Training runs on the seed block it was given, not on the seed of the network's initial weights."""
    world = world_for("ppo", seed=5)
    normalise = wrap(world, observation=True, reward=True, clip_observation=10.0, gamma=0.99)
    model = build(
        "ppo",
        normalise,
        parameters=PARAMETERS["ppo"],
        net_arch=[8],
        activation="tanh",
        log_std_init=None,
        seed=5,
        device="cpu",
    )
    model.learn(48)
    assert set(world.batch.twin.state.seed.tolist()) == {world_seed(Purpose.TRAINING, 5)}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_beats_the_best_constant_order(seed: int) -> None:
    """Lost sales, L = 1, p = 4: 40,960 steps from a poor start end below the best constant order's 5.2748.

    The untrained policy orders the mean demand every period, so beating the constant order takes learning to look at
    the stock. The optimum is 4.04 (see the network's known values).
    """
    task = InventoryTask(
        "lost_sales_zipkin2008", parameters={"lead_time": 1, "penalty": 4}, action_mode="quantity", horizon=52
    )
    world = TwinVecEnv(task, 32, seed=world_seed(Purpose.TRAINING, seed), stagger=True)
    normalise = wrap(world, observation=True, reward=True, clip_observation=10.0, gamma=0.95)
    model = build(
        "ppo",
        normalise,
        parameters={"n_steps": 32, "batch_size": 256, "n_epochs": 4, "learning_rate": 3e-3, "gamma": 0.95},
        net_arch=[32],
        activation="tanh",
        log_std_init=-1.0,
        seed=seed,
        device="cpu",
    )
    policy = NormalisedPolicy(model, normalise)
    fresh_seed = world_seed(Purpose.EVALUATION, seed)

    def cost() -> float:
        return float(measure(policy, task, seed=fresh_seed, paths=128, periods=100, warm_up=50).cost.mean())

    assert cost() > 5.2748
    model.learn(40_960)
    assert 4.0 < cost() < 5.0


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in ("pathwise", "imitation")])
def test_every_algorithm_learns_to_switch_suppliers(name: str) -> None:
    mode = "mix" if "Box" in algorithm(name).action_spaces else "moves"
    model = fresh(name, task=SwitchingTask("shared_subtier", action_mode=mode, base="risk", horizon=13, finite=True))
    before = parameters(model)
    model.learn(160)
    assert not equal(before, parameters(model))


def run_to(model: BaseAlgorithm, total: int, stopper: Stopper, *, first: bool) -> None:
    """As experiments.train does: the rest of the budget, with the stopper as callback."""
    model.learn(total - (0 if first else model.num_timesteps), callback=[stopper], reset_num_timesteps=first)


@pytest.mark.parametrize(
    ("name", "stop_after", "paired"),
    [(name, steps, False) for name in ALGORITHMS for steps in (100, 210)] + [("ppo", 100, True), ("sac", 210, True)],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    name: str, stop_after: int, paired: bool, tmp_path: Path
) -> None:
    """Stop at a safe point, restore into new objects with other random states, go on: every number is the same."""
    total = 330
    whole = fresh(name, paired=paired)
    run_to(whole, total, Stopper(tmp_path / "unused", every=10**9, extra=dict), first=True)

    first = fresh(name, paired=paired)
    stopper = Stopper(tmp_path / "checkpoint", every=10**9, extra=lambda: {"note": 1})
    step = stopper._on_step

    def stop_later() -> bool:
        if stopper.num_timesteps >= stop_after:
            stopper.request()
        return step()

    stopper._on_step = stop_later  # type: ignore[method-assign]
    run_to(first, total, stopper, first=True)
    assert stop_after <= first.num_timesteps < total
    del first

    # A fresh process has other random states.
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    second, extra = checkpoint.restore(
        tmp_path / "checkpoint", name, world_for(name, seed=17, paired=paired), device="cpu"
    )
    assert extra == {"note": 1}
    second.set_logger(Logger(None, []))
    assert second.num_timesteps < total
    run_to(second, total, Stopper(tmp_path / "unused", every=10**9, extra=dict), first=False)

    assert second.num_timesteps == whole.num_timesteps
    for mine, theirs in zip(statistics(second), statistics(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = parameters(second), parameters(whole)
    assert mine.keys() == theirs.keys()
    for key in mine:
        np.testing.assert_array_equal(mine[key].numpy(), theirs[key].numpy(), err_msg=key)


def test_the_action_spaces_generator_is_restored_whole(tmp_path: Path) -> None:
    """After an odd number of draws of whole numbers half a random word is left over: it belongs to the checkpoint."""
    model = fresh("dqn")
    model.learn(12)
    model.action_space.seed(3)
    model.action_space.sample()
    checkpoint.save(tmp_path / "c", model, {})
    expected = [int(model.action_space.sample()) for _ in range(20)]
    restored, _ = checkpoint.restore(tmp_path / "c", "dqn", world_for("dqn"), device="cpu")
    assert [int(restored.action_space.sample()) for _ in range(20)] == expected


def test_a_checkpoint_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """A half-written new checkpoint is ignored, and between the two renames the old one is found."""
    folder = tmp_path / "checkpoint"
    model = fresh("a2c")
    with pytest.raises(RunError, match="no checkpoint"):
        checkpoint.latest(folder)
    checkpoint.save(folder, model, {"n": 1})
    (tmp_path / "checkpoint.new").mkdir()
    (tmp_path / "checkpoint.new" / "model.zip").write_bytes(b"half")
    assert checkpoint.latest(folder) == folder
    folder.rename(tmp_path / "checkpoint.old")
    assert checkpoint.latest(folder) == tmp_path / "checkpoint.old"
    restored, extra = checkpoint.restore(folder, "a2c", world_for("a2c"), device="cpu")
    assert extra == {"n": 1}
    assert equal(parameters(restored), parameters(model))
    checkpoint.save(folder, model, {"n": 2})
    assert checkpoint.restore(folder, "a2c", world_for("a2c"), device="cpu")[1] == {"n": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


class Killed(BaseException):
    """Stands for the end of the process."""


class Countdown:
    """Ends the process, as far as the disk is concerned, before the n-th operation that changes it."""

    CHANGES = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"})

    def __init__(self) -> None:
        self.left: int | None = None
        sys.addaudithook(self)  # stays until the interpreter ends, and does nothing without a number

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left is None or event not in self.CHANGES:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        self.left -= 1
        if self.left < 0:  # and nothing that cleans up afterwards comes through either
            raise Killed

    def run(self, operations: int, action: Callable[[], object]) -> bool:
        """Whether the action came to its end."""
        self.left = operations
        try:
            action()
        except Killed:
            return False
        finally:
            self.left = None
        return True


@pytest.mark.parametrize("start", ["whole", "between the renames"])
def test_a_writer_killed_before_any_operation_leaves_a_checkpoint(start: str, tmp_path: Path) -> None:
    """Whatever write, rename or removal is the first that does not happen, the old or the new checkpoint loads."""
    model, countdown = fresh("a2c"), Countdown()
    found, operations, finished = [], 0, False
    while not finished:
        folder = tmp_path / str(operations) / "checkpoint"
        folder.parent.mkdir()
        checkpoint.save(folder, model, {"n": 1})
        if start != "whole":  # as an earlier writer left it that was killed there
            shutil.copytree(folder, folder.with_name("checkpoint.new"))
            folder.rename(folder.with_name("checkpoint.old"))
        finished = countdown.run(operations, lambda folder=folder: checkpoint.save(folder, model, {"n": 2}))
        assert checkpoint.exists(folder), operations
        found.append(checkpoint.restore(folder, "a2c", world_for("a2c"), device="cpu")[1]["n"])
        operations += 1
    assert len(found) > 10
    assert found == sorted(found)
    assert set(found) == {1, 2}


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    """Restoring into an environment with another number of replicas is a RunError, not a wrong state."""
    checkpoint.save(tmp_path / "c", fresh("a2c"), {})
    with pytest.raises(RunError, match="replicas"):
        checkpoint.restore(tmp_path / "c", "a2c", TwinVecEnv(task_for("a2c"), REPLICAS + 1), device="cpu")


def test_a_checkpoint_holds_no_pickled_arrays(tmp_path: Path) -> None:
    """Every array file of a checkpoint loads with pickle forbidden; only SB3's own zip is its own business."""
    model = fresh("sac")
    model.learn(90)
    checkpoint.save(tmp_path / "c", model, {})
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["model.zip", "normalisation.npz", "progress.json", "random.npz", "replay.npz", "world.npz"]
    for path in (tmp_path / "c").glob("*.npz"):
        with np.load(path, allow_pickle=False) as data:
            assert all(data[key] is not None for key in data.files)


@pytest.mark.parametrize(("observation", "reward"), [(True, True), (True, False), (False, True), (False, False)])
def test_normalisation_survives_its_file(observation: bool, reward: bool, tmp_path: Path) -> None:
    """Saved and loaded statistics normalise alike, bit for bit, and stay as they are when not training."""
    normalise = wrap(world_for("a2c"), observation=observation, reward=reward, clip_observation=3.0, gamma=0.9)
    normalise.reset()
    rng = np.random.default_rng(0)
    arcs = task_for("a2c").compiled.n_arcs
    for _ in range(20):
        normalise.step(rng.uniform(-1, 1, size=(REPLICAS, arcs)).astype(np.float32))
    save_normalisation(tmp_path / "n.npz", normalise)
    again = load_normalisation(tmp_path / "n.npz", world_for("a2c"), training=False)
    raw = rng.uniform(0, 300, size=(4, *task_for("a2c").observation_space.shape)).astype(np.float32)  # type: ignore[misc]
    np.testing.assert_array_equal(again.normalize_obs(raw), normalise.normalize_obs(raw))
    money = rng.normal(size=4) * 100
    np.testing.assert_array_equal(again.normalize_reward(money), normalise.normalize_reward(money))
    np.testing.assert_array_equal(again.returns, normalise.returns)
    assert (again.gamma, again.epsilon, again.clip_obs) == (normalise.gamma, normalise.epsilon, 3.0)
    assert (again.norm_obs, again.norm_reward, again.training) == (observation, reward, False)
    changed = bool(np.any(normalise.normalize_obs(raw) != raw))
    assert changed is observation
    again.reset()
    again.step(np.zeros((REPLICAS, arcs), dtype=np.float32))
    np.testing.assert_array_equal(again.ret_rms.mean, normalise.ret_rms.mean)


def test_normalisation_of_another_observation_is_refused(tmp_path: Path) -> None:
    """Statistics of another network, and a missing file, are RunErrors."""
    normalise = wrap(world_for("a2c"), observation=True, reward=True, clip_observation=10.0, gamma=0.99)
    save_normalisation(tmp_path / "n.npz", normalise)
    with pytest.raises(RunError, match="observations"):
        load_normalisation(tmp_path / "n.npz", TwinVecEnv(InventoryTask("serial_chain"), 1), training=False)
    with pytest.raises(RunError, match="no normalisation file"):
        load_normalisation(tmp_path / "none.npz", world_for("a2c"), training=False)


def test_a_saved_model_predicts_as_before(tmp_path: Path) -> None:
    """save_model writes both halves; loaded together they act as the model did."""
    model = fresh("ppo")
    model.learn(96)
    save_model(tmp_path / "best", model)
    again = load("ppo", tmp_path / "best" / "model.zip")
    normalise = load_normalisation(tmp_path / "best" / "normalisation.npz", world_for("ppo"), training=False)
    raw = np.random.default_rng(0).uniform(0, 200, size=(6, len(task_for("ppo").fields))).astype(np.float32)
    ours = NormalisedPolicy(model, unwrap(model.get_env())).predict(raw)[0]
    np.testing.assert_array_equal(NormalisedPolicy(again, normalise).predict(raw)[0], ours)
    with pytest.raises(RunError, match="no model"):
        load("ppo", tmp_path / "none.zip")
    with pytest.raises(RunError, match="cannot be loaded"):
        load("ppo", tmp_path / "best" / "normalisation.npz")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_continued_csv_keeps_its_past(tmp_path: Path) -> None:
    """Rows survive, new columns widen the file, rows after the checkpoint are dropped, and a fresh run starts empty."""
    path = tmp_path / "progress.csv"
    log = ContinuedCsv(path)
    for step in (10, 20, 30):
        log.write({"time/total_timesteps": step, "loss": step / 8}, {})
    assert [row["loss"] for row in read(path)] == ["1.25", "2.5", "3.75"]
    log = ContinuedCsv(path, keep_until=20)
    log.write({"time/total_timesteps": 25, "eval/cost": 7.5}, {})
    rows = read(path)
    assert [row["time/total_timesteps"] for row in rows] == ["10", "20", "25"]
    assert [row["loss"] for row in rows] == ["1.25", "2.5", ""]
    assert [row["eval/cost"] for row in rows] == ["", "", "7.5"]
    ContinuedCsv(path).write({"time/total_timesteps": 1}, {})
    assert len(read(path)) == 1


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(3), 0.5, 3])
def test_every_kind_of_number_is_logged(value: Any, tmp_path: Path) -> None:
    """Numpy's numbers reach progress.csv as Python's do."""
    path = tmp_path / "progress.csv"
    ContinuedCsv(path).write({"time/total_timesteps": 1, "train/x": value}, {})
    assert float(read(path)[0]["train/x"]) == float(value)


def test_the_log_holds_costs_and_validation(tmp_path: Path) -> None:
    """Cost terms of finished episodes, validation costs and models appear, and the best is the lowest."""
    model = fresh("ppo")
    normalise = unwrap(model.get_env())
    path = tmp_path / "progress.csv"
    model.set_logger(Logger(str(tmp_path), [ContinuedCsv(path)]))
    world = normalise.venv
    assert isinstance(world, TwinVecEnv)
    validation = Validation(task_for("ppo"), tmp_path, every=96, seed=3, paths=4, periods=6, warm_up=2)
    model.learn(96 * 4, callback=[CostLog(world), validation], log_interval=1)
    rows = read(path)
    assert [int(row["time/total_timesteps"]) for row in rows] == [48 * k for k in range(9)]
    last = rows[-1]
    terms = sum(float(last[key]) for key in last if key.startswith("rollout/cost_"))
    assert terms == pytest.approx(float(last["rollout/cost"]), rel=1e-9)
    assert 0 <= float(last["rollout/fill_rate"]) <= 1
    with np.load(tmp_path / "evaluations.npz", allow_pickle=False) as data:
        assert data["timesteps"].tolist() == [0, 96, 192, 288]
        assert data["results"].shape == data["ep_lengths"].shape == (4, 4)
        assert validation.best_cost == pytest.approx(float((-data["results"]).mean(axis=1).min()))
    again = Validation(task_for("ppo"), tmp_path, every=96, seed=3, paths=4, periods=6, warm_up=2)
    again.set_state(validation.state())
    assert (again.best_cost, again.next_at) == (validation.best_cost, validation.next_at)
    for folder in ("best", "last"):
        assert (tmp_path / folder / "model.zip").is_file()
        assert (tmp_path / folder / "normalisation.npz").is_file()


def test_the_best_model_is_the_one_that_was_measured(tmp_path: Path) -> None:
    """Measuring the saved best model on the validation seeds again gives the best cost that was recorded."""
    model = fresh("ppo")
    task = task_for("ppo")
    validation = Validation(task, tmp_path, every=48, seed=3, paths=4, periods=6, warm_up=2)
    model.learn(240, callback=[validation])
    again = load("ppo", tmp_path / "best" / "model.zip")
    normalise = load_normalisation(tmp_path / "best" / "normalisation.npz", world_for("ppo"), training=False)
    measured = measure(NormalisedPolicy(again, normalise), task, seed=3, paths=4, periods=6, warm_up=2)
    assert measured.cost.mean() == validation.best_cost


def test_validation_of_a_finite_problem_has_its_length(tmp_path: Path) -> None:
    """evaluations.npz tells the periods that were measured: the horizon, where the problem is finite."""
    task = InventoryTask("serial_chain", horizon=9, finite=True)
    normalise = wrap(TwinVecEnv(task, 2), observation=True, reward=True, clip_observation=10.0, gamma=0.99)
    model = build(
        "a2c",
        normalise,
        parameters={"n_steps": 4},
        net_arch=[4],
        activation="tanh",
        log_std_init=None,
        seed=0,
        device="cpu",
    )
    validation = Validation(task, tmp_path, every=100, seed=3, paths=2, periods=50, warm_up=20)
    model.learn(8, callback=[validation])
    with np.load(tmp_path / "evaluations.npz", allow_pickle=False) as data:
        assert data["ep_lengths"].tolist() == [[9, 9]]


def test_parameters_are_checked_by_name_and_space() -> None:
    """Unknown names come with the nearest match, reserved ones count as unknown, spaces must fit."""
    assert check_parameters("ppo", {"n_steps": 8, "gamma": 0.9}, "Box") == []
    (problem,) = check_parameters("ppo", {"learning_rat": 1.0}, "Box")
    assert "did you mean 'learning_rate'" in problem
    assert len(check_parameters("sac", {"seed": 1, "device": "cpu"}, "Box")) == 2
    (problem,) = check_parameters("dqn", {}, "Box")
    assert "'dqn' cannot act in a Box" in problem
    with pytest.raises(ConfigError, match="did you mean 'elu'"):
        build(
            "ppo",
            wrap(world_for("ppo"), observation=True, reward=True, clip_observation=10.0, gamma=0.99),
            parameters={},
            net_arch=[4],
            activation="gelu",
            log_std_init=None,
            seed=0,
            device="cpu",
        )
