"""Gradients through the twin: the learner sees what the environment shows, its gradient is right, and it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.exact import exact_cost
from agents.learners.normalise import wrap
from agents.learners.pathwise import Pathwise, _Unroll
from agents.learners.sb3 import NormalisedPolicy, build
from agents.learners.schedules import LearningRate
from agents.learners.tensor_observation import TensorObservation
from envs.core import Batch
from envs.inventory import InventoryTask
from envs.inventory_features import GROUPS
from envs.sb3 import TwinVecEnv
from twin import library
from twin.differentiable import DifferentiableTwin
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

NETWORKS = library.names()
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def model_on(task: InventoryTask, replicas: int, seed: int = 0, **parameters: Any) -> Pathwise:
    world = TwinVecEnv(task, replicas, seed=world_seed(Purpose.TRAINING, seed))
    model = build(
        "pathwise",
        wrap(world, observation=True, reward=False, clip_observation=10.0, gamma=0.99),
        parameters=parameters,
        net_arch=[16, 16],
        activation="silu",
        log_std_init=None,
        seed=seed,
        device="cpu",
    )
    assert isinstance(model, Pathwise)
    return model


def after_random_periods(task: InventoryTask, replicas: int = 4, periods: int = 9) -> Batch:
    batch, rng = Batch(task, replicas), np.random.default_rng(1)
    slots = np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, 8, dtype=np.uint64), slots, np.zeros_like(slots))
    for _ in range(periods):
        batch.step(rng.uniform(-1.0, 1.0, size=(replicas, task.compiled.n_arcs)))
    return batch


@every_network
@pytest.mark.parametrize("arguments", [{}, {"observe": GROUPS, "arrivals": "slots", "forecast": 3}], ids=["v0", "all"])
def test_it_sees_what_the_environment_shows(network: str, arguments: dict[str, Any]) -> None:
    """The observation read off tensors equals the environment's, to the precision of float32."""
    task = InventoryTask(network, horizon=30, finite=True, **arguments)
    batch = after_random_periods(task)
    twin = DifferentiableTwin(task.compiled)
    state = twin.from_twin_state(batch.twin.state)
    left = (task.horizon - batch.elapsed).astype(np.float64)
    seen = TensorObservation(task.observation, twin)(state, twin.positions(state), left)
    np.testing.assert_allclose(seen.numpy().T, batch.observation, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("network", ["serial_chain", "one_warehouse", "five_site_distribution", "dual_sourcing"])
def test_it_pays_what_the_environment_charges(network: str) -> None:
    """The cost of an unrolled policy is that of the same policy stepping the environment on the same paths."""
    task = InventoryTask(network, horizon=1000)
    model = model_on(task, replicas=3, n_steps=30, warm_up=5, rounding="exact")
    model.learn(3 * 30)
    world = model._world()
    policy = NormalisedPolicy(model, model.get_vec_normalize_env())  # type: ignore[arg-type]
    twin = world.batch.twin.fork()
    _, terms = _Unroll(model, world)()
    world.batch.twin = twin
    observation, paid = world.batch.observe(), np.zeros(len(terms))
    for _ in range(30):
        action, _ = policy.predict(observation)
        result = world.batch.step(action)
        observation = result.observation
        paid += result.costs.mean(axis=1) / 30
    np.testing.assert_allclose(terms, paid, rtol=2e-4, atol=2e-4)


def test_its_gradient_is_that_of_the_cost() -> None:
    """The derivative of the unrolled cost along a direction agrees with a difference quotient on the same paths."""
    task = InventoryTask("serial_chain", horizon=1000)
    model = model_on(task, replicas=256, n_steps=20, warm_up=20)
    model.learn(256 * 20)
    world = model._world()
    unroll, start = _Unroll(model, world), world.batch.twin.state.fork()
    direction = [0.1 * torch.randn_like(p) for p in model.policy.parameters()]

    def cost() -> torch.Tensor:
        world.batch.twin.state = start.fork()
        loss, _ = unroll()
        return loss

    def moved(step: float) -> float:
        with torch.no_grad():
            for parameter, along in zip(model.policy.parameters(), direction, strict=True):
                parameter.add_(along, alpha=step)
            return float(cost())

    model.policy.zero_grad()
    cost().backward()  # type: ignore[no-untyped-call]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(model.policy.parameters(), direction, strict=True))  # type: ignore[operator]
    width = 0.01
    above, below = moved(width), moved(-2 * width)
    quotient = (above - below) / (2 * width)
    assert slope == pytest.approx(quotient, rel=0.02, abs=1e-3)
    assert abs(quotient) > 0.05


def test_it_learns_an_optimal_policy() -> None:
    """Seconds of training on lost sales with lead time 1 end within 0.5 % of the optimum, exactly evaluated."""
    task = InventoryTask(
        "lost_sales_zipkin2008",
        parameters={"lead_time": 1, "penalty": 4},
        observe=("on_hand", "position", "arriving"),
        arrivals="slots",
    )
    model = model_on(task, replicas=256, n_steps=20, warm_up=20, learning_rate=1e-2)
    model.learn(256 * 20 * 150)
    policy = NormalisedPolicy(model, model.get_vec_normalize_env())  # type: ignore[arg-type]
    optimum = task.compiled.network.known_value("optimal_cost")
    assert optimum is not None
    assert exact_cost(policy, task).cost <= 1.005 * optimum.value


def test_a_finite_problem_is_unrolled_from_its_start() -> None:
    """Every step of a finite problem is an episode: the world is at the start of a new one afterwards."""
    task = InventoryTask("three_stage_serial", horizon=30, finite=True)
    model = model_on(task, replicas=2)
    model.learn(2 * 30 * 3)
    batch = model._world().batch
    assert batch.elapsed.tolist() == [0, 0]
    assert (batch.twin.state.episode == 4).all()  # the warm-up was one, the three steps one each
    assert (batch.twin.state.period == 0).all()


def test_its_size_does_not_grow_with_the_network() -> None:
    """A warehouse with 30 retailers has as many parameters as one with 3."""
    sizes = []
    for retailers in (3, 30):
        task = InventoryTask("one_warehouse", parameters={"retailers": retailers})
        policy = model_on(task, replicas=2).policy
        sizes.append(sum(parameter.numel() for parameter in policy.parameters()))
    assert sizes[0] == sizes[1]


def test_orders_that_never_arrive_are_refused() -> None:
    """Unrolling no further than the pipeline is an error that says so."""
    task = InventoryTask("lost_sales_zipkin2008")
    with pytest.raises(ConfigError, match="n_steps must exceed the longest pipeline, 4 periods"):
        model_on(task, replicas=2, n_steps=4).learn(8)


def test_wrong_parameters_are_refused() -> None:
    """A useless number is named with what is allowed, as is an unknown schedule of the learning rate."""
    with pytest.raises(ConfigError, match="n_steps must be at least 1, received 0"):
        model_on(InventoryTask("lost_sales_zipkin2008"), replicas=2, n_steps=0)
    with pytest.raises(ConfigError, match=r"no schedule 'cosin'.*did you mean 'cosine'"):
        LearningRate(1e-3, "cosin")
