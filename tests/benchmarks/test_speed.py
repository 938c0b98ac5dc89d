"""Speed, outside the default run: ``make bench``. Rates are in ``extra_info``; ratios compare within one run."""

from __future__ import annotations

import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.learners.normalise import wrap
from agents.learners.sb3 import build
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from experiments.cli import compose
from experiments.config import TrainConfig, parse
from experiments.problems import task_arguments
from twin import library
from twin.engine import Twin

pytestmark = pytest.mark.benchmark

NETWORKS = ("five_site_distribution", "essential_medicines")


def _middle_levels(twin):
    compiled = twin.compiled
    return compiled.demand_rate[compiled.topology.arc_destination] * (compiled.lead_mean + 1.0)


@pytest.mark.parametrize("network", NETWORKS)
def test_fused_rollout(benchmark, network):
    """Draws, base-stock policy and period for 1,024 replicas on one core: environment steps per second."""
    twin = Twin(library.load(network), replicas=1024)
    levels = _middle_levels(twin)
    twin.rollout("base_stock", levels, 2)
    periods = 200
    benchmark.pedantic(lambda: twin.rollout("base_stock", levels, periods), rounds=5)
    benchmark.extra_info["environment_steps_per_second"] = round(1024 * periods / benchmark.stats["median"])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("replicas", [1, 64, 1024])
def test_step(benchmark, network, replicas):
    """One period at a time from Python, draws included."""
    twin = Twin(library.load(network), replicas=replicas)
    orders = np.repeat(twin.compiled.arc_flow[:, None], replicas, axis=1)

    def run():
        for _ in range(50):
            twin.step(orders)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["environment_steps_per_second"] = round(50 * replicas / benchmark.stats["median"])


@pytest.mark.parametrize("network", NETWORKS)
def test_single_environment(benchmark, network):
    """One environment through gymnasium.make's whole step."""
    env = gym.make("envs:cogtwin/Inventory-v0", network=network, horizon=10**9)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, dtype=np.float32)

    def run():
        for _ in range(500):
            env.step(action)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["environment_steps_per_second"] = round(500 / benchmark.stats["median"])


@pytest.mark.parametrize("experiment", ["five_site_ppo", "essential_medicines_ppo"])
def test_share_of_the_twin_in_ppo(benchmark, experiment):
    """Share of PPO's wall time that the twin takes, with the experiment's own configuration."""
    config = parse(TrainConfig, compose("train", [f"experiment={experiment}"]))
    torch.set_num_threads(config.training.threads)
    compiled = Twin(library.load(config.network.name)).compiled
    levels = compiled.demand_rate[compiled.topology.arc_destination] * (compiled.lead_mean + 1.0)
    task = InventoryTask(compiled, **task_arguments(config.env, levels))
    world = TwinVecEnv(task, config.training.replicas, stagger=True, accrual=config.training.accrual)
    normalise = wrap(world, gamma=0.99, **config.agent.normalise.model_dump())
    model = build(
        "ppo",
        normalise,
        parameters=config.agent.parameters,
        net_arch=list(config.agent.net_arch),
        activation=config.agent.activation,
        log_std_init=config.agent.log_std_init,
        seed=0,
        device="cpu",
    )
    rollout = int(config.agent.parameters["n_steps"]) * config.training.replicas
    model.learn(rollout)
    world.twin_seconds = 0.0
    started = time.perf_counter()
    benchmark.pedantic(lambda: model.learn(4 * rollout), rounds=1)
    total = time.perf_counter() - started
    benchmark.extra_info["share_of_the_twin"] = round(world.twin_seconds / total, 3)
    benchmark.extra_info["frames_per_second"] = round(4 * rollout / total)


def test_start_to_first_advice(benchmark, tmp_path):
    """A fresh process: import, load and verify a bundle, first advice."""
    from agents.learners.extract import export_baseline

    task = InventoryTask("essential_medicines")
    compiled = task.compiled
    levels = compiled.demand_rate[compiled.topology.arc_destination] * (compiled.lead_mean + 1.0)
    bundle = tmp_path / "bundle"
    export_baseline(
        bundle,
        name="base_stock",
        values=levels,
        up_to=True,
        task=task,
        environment_id="cogtwin/Inventory-v0",
        arguments={},
        training_info={},
    )
    command = [sys.executable, "-m", "experiments.advise", f"bundle={bundle}", f"state={bundle / 'example_state.json'}"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=5, warmup_rounds=1)
