"""Speed, outside the default run: ``make bench``. Rates are in ``extra_info``; ratios compare within one run."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from envs.inventory import InventoryTask
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


def test_start_to_first_advice(benchmark, tmp_path):
    """A fresh process: import, load and verify a bundle, first advice."""
    from agents.bundle_rules import export_baseline

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
