"""Speed of learning, outside the default run: what the environment costs a learner, and what a gradient step costs."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents.learners.normalise import wrap
from agents.learners.sb3 import build
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from experiments.cli import compose
from experiments.config import TrainConfig, parse
from experiments.problems import task_arguments, tune_all
from twin import library
from twin.compile import compile_network

pytestmark = pytest.mark.benchmark

REPLICAS = 256
EXPERIMENTS = ("lost_sales_ppo", "five_site_ppo", "essential_medicines_ppo")


class Nothing(VecEnv):
    """As many replicas with the same spaces as a world, and no work at all in a step."""

    def __init__(self, world: TwinVecEnv) -> None:
        self.render_mode = None
        super().__init__(world.num_envs, world.observation_space, world.action_space)
        self._observation = world.reset()
        self._reward = np.zeros(world.num_envs, dtype=np.float32)
        self._ended = np.zeros(world.num_envs, dtype=np.bool_)

    def reset(self) -> Any:
        return self._observation

    def step_async(self, actions: Any) -> None:
        pass

    def step_wait(self) -> Any:
        return self._observation, self._reward, self._ended, [{} for _ in range(self.num_envs)]

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_the_environment_costs_ppo(benchmark, experiment):
    """PPO with 256 replicas: the twin's share of its wall time, and its speed over that on an environment of no work.

    The two learners take turns, rollout by rollout, so that a busy machine slows both. Where other programs run beside
    it, the ratio of processor times says more than that of wall times.
    """
    config = parse(
        TrainConfig, compose("train", [f"experiment={experiment}", f"training.replicas={REPLICAS}", "tuning=smoke"])
    )
    torch.set_num_threads(config.training.threads)
    compiled = compile_network(library.resolve(config.network.name, **config.network.parameters))
    task = InventoryTask(compiled, **task_arguments(config.env, tune_all(compiled, config.tuning)))
    world = TwinVecEnv(task, REPLICAS, stagger=True, accrual=config.training.accrual)
    agent = config.agent
    models = [
        build(
            "ppo",
            wrap(env, gamma=0.99, **agent.normalise.model_dump()),
            parameters=agent.parameters,
            net_arch=list(agent.net_arch),
            activation=agent.activation,
            log_std_init=agent.log_std_init,
            seed=0,
            device="cpu",
        )
        for env in (world, Nothing(world))
    ]
    rollout = int(agent.parameters["n_steps"]) * REPLICAS
    seconds, processor = np.zeros(2), np.zeros(2)

    def turns(number: int) -> None:
        for _ in range(number):
            for k, model in enumerate(models):
                started, busy = time.perf_counter(), time.process_time()
                model.learn(rollout, reset_num_timesteps=False)
                seconds[k] += time.perf_counter() - started
                processor[k] += time.process_time() - busy

    turns(1)
    gc.collect()  # what building left behind would be collected once, at the cost of whichever learner allocates next
    seconds[:], processor[:], world.twin_seconds = 0.0, 0.0, 0.0
    benchmark.pedantic(lambda: turns(6), rounds=1)
    benchmark.extra_info["share_of_the_twin"] = round(world.twin_seconds / seconds[0], 3)
    benchmark.extra_info["speed_over_no_environment"] = round(seconds[1] / seconds[0], 3)
    benchmark.extra_info["speed_in_processor_time"] = round(processor[1] / processor[0], 3)
    benchmark.extra_info["frames_per_second"] = round(6 * rollout / seconds[0])


PATHWISE = {
    "lost_sales_zipkin2008": {},
    "serial_chain": {},
    "five_site_distribution": {},
    "one_warehouse": {"retailers": 30},
}


@pytest.mark.parametrize("network", PATHWISE)
def test_gradient_step_of_pathwise(benchmark, network):
    """One gradient step on 1,024 paths of 50 periods, one core: steps a second, and time an arc, path and period."""
    torch.set_num_threads(1)
    task = InventoryTask(network, parameters=PATHWISE[network], horizon=10**6, arrivals="slots")
    world = TwinVecEnv(task, 1024)
    model = build(
        "pathwise",
        wrap(world, observation=True, reward=False, clip_observation=10.0, gamma=0.99),
        parameters={"n_steps": 50, "warm_up": 50},
        net_arch=[32, 32],
        activation="silu",
        log_std_init=None,
        seed=0,
        device="cpu",
    )
    step = 1024 * 50
    model.learn(step)
    benchmark.pedantic(lambda: model.learn(step, reset_num_timesteps=False), rounds=5)
    median = benchmark.stats["median"]
    benchmark.extra_info["gradient_steps_per_second"] = round(1 / median, 2)
    benchmark.extra_info["nanoseconds_per_arc_path_and_period"] = round(1e9 * median / step / task.compiled.n_arcs)
