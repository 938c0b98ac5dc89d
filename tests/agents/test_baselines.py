"""Classical policies act alike in every action mode, and as the kernel's own rollout of the same policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.baselines.base_stock import BaseStock
from agents.baselines.constant import Constant
from agents.evaluation import measure
from agents.registry import ALGORITHMS, BASELINES, algorithm, baseline, load_class
from envs.actions import ACTION_MODES
from envs.core import Batch
from envs.inventory import InventoryTask
from twin import library
from twin.engine import Twin
from twin.errors import ActionError, ConfigError

NETWORKS = library.names()
every_network = pytest.mark.parametrize("network", NETWORKS)


def states(task: InventoryTask, replicas: int = 5, periods: int = 6) -> tuple[Batch, np.ndarray[Any, Any]]:
    """A batch after some random periods, and its observation."""
    batch = Batch(task, replicas)
    slots = np.arange(replicas, dtype=np.uint32)
    observation = batch.reset(np.full(replicas, 8, dtype=np.uint64), slots, np.zeros_like(slots))
    rng = np.random.default_rng(2)
    for _ in range(periods):
        action = (
            rng.integers(21, size=replicas)
            if task.codec.mode == "discrete"
            else rng.uniform(-1, 1, size=(replicas, task.compiled.n_arcs))
        )
        observation = batch.step(action).observation
    return batch, observation


def build(name: str, task: InventoryTask, scale: float = 1.0) -> Any:
    """The policy with sensible parameters: expected lead-time demand, or the usual flow."""
    usual = InventoryTask(task.compiled, action_mode="quantity" if name == "constant" else "base_stock")
    return load_class(baseline(name).path)(task, scale * usual.codec.center)


@every_network
@pytest.mark.parametrize("mode", ACTION_MODES)
@pytest.mark.parametrize("name", list(BASELINES))
def test_predict_keeps_the_protocol(name: str, mode: str, network: str) -> None:
    """Actions for one or many observations have the space's shape and dtype, agree, and lie inside the space."""
    task = InventoryTask(network, action_mode=mode)
    policy = build(name, task)
    _, observation = states(task)
    many, state = policy.predict(observation)
    assert state is None
    assert many.shape == (5, *(task.action_space.shape or ()))
    assert many.dtype == task.action_space.dtype
    carried = (np.zeros(1),)
    for row, action in zip(observation, many, strict=True):
        one, passed = policy.predict(row, carried, np.array([True]), deterministic=True)
        assert passed is carried
        assert np.shape(one) == (task.action_space.shape or ())
        np.testing.assert_array_equal(one, action)
        assert task.action_space.contains(one)


@every_network
@pytest.mark.parametrize("name", list(BASELINES))
def test_the_orders_do_not_depend_on_the_action_mode(name: str, network: str) -> None:
    """Quantity mode gives the orders of base_stock mode, where both boxes hold them."""
    levels, quantities = InventoryTask(network), InventoryTask(network, action_mode="quantity")
    batch, observation = states(levels)
    up_to, amount = build(name, levels, 1.6), build(name, quantities, 1.6)
    position = batch.position
    by_level = levels.decode(up_to.predict(observation)[0], batch.twin, position)
    by_amount = quantities.decode(amount.predict(observation)[0], batch.twin, position)
    wanted = np.stack([up_to.orders(position[:, b]) for b in range(5)], axis=1)
    asked = np.stack([up_to.levels(position[:, b]) for b in range(5)], axis=1)
    codec = levels.codec
    inside = ((asked >= codec.low[:, None]) & (asked <= codec.high[:, None])).all(axis=0)
    tolerance = 1e-6 * float(codec.high.max())
    np.testing.assert_allclose(by_level[:, inside], wanted[:, inside], rtol=1e-5, atol=tolerance)
    clipped = np.clip(wanted, 0.0, quantities.codec.high[:, None])
    np.testing.assert_allclose(by_amount, clipped, rtol=1e-5, atol=tolerance)
    assert (wanted > 0).any()
    assert inside.any() or name == "constant"


@pytest.mark.parametrize("mode", ["base_stock", "quantity"])
def test_constant_orders_its_parameter(mode: str) -> None:
    """4 units a period is 4 units shipped in every period of every replica, in both modes."""
    task = InventoryTask("lost_sales_zipkin2008", action_mode=mode)
    policy = Constant(task, np.array([4.0]))
    batch, observation = states(task, periods=0)
    for _ in range(60):
        result = batch.step(policy.predict(observation)[0])
        observation = result.observation
        assert (batch.twin.state.arrays.shipped == 4.0).all()
        np.testing.assert_allclose(result.orders, 4.0, atol=1e-5)


@every_network
def test_a_residual_base_stock_policy_is_the_kernels_rollout(network: str) -> None:
    """With its levels as the centre of the box, the policy's costs in the environment are the fused rollout's."""
    usual = InventoryTask(network)
    levels = 1.1 * usual.codec.center
    task = InventoryTask(usual.compiled, levels=levels.tolist())
    seed, paths, periods, warm_up = 77, 6, 30, 10
    ours = measure(BaseStock(task, levels), task, seed=seed, paths=paths, periods=periods, warm_up=warm_up)
    theirs = Twin(usual.compiled, replicas=paths, seed=seed).rollout("base_stock", levels, periods, warm_up=warm_up)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-9)
    np.testing.assert_allclose(ours.terms, theirs.terms, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.asked, theirs.demand, rtol=1e-12)
    np.testing.assert_allclose(ours.served, theirs.served, rtol=1e-9)
    assert ours.fill_rate == pytest.approx(theirs.served.sum() / theirs.demand.sum())
    assert (np.ptp(ours.cost) > 0) == (network != "beer_game")  # there nothing is random


@every_network
def test_a_constant_policy_is_the_kernels_rollout(network: str) -> None:
    """In quantity mode the policy's costs are the fused rollout's, to the precision of a float32 action."""
    task = InventoryTask(network, action_mode="quantity")
    amount = np.round(0.9 * task.codec.center)
    ours = measure(Constant(task, amount), task, seed=5, paths=4, periods=25, warm_up=5)
    theirs = Twin(task.compiled, replicas=4, seed=5).rollout("constant", amount, 25, warm_up=5)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-5)


def test_a_path_does_not_depend_on_how_many_are_measured() -> None:
    """Path b costs the same among 3 paths and among 8, so that comparisons of any size pair."""
    task = InventoryTask("five_site_distribution")
    policy = build("base_stock", task)
    few, many = (measure(policy, task, seed=1, paths=n, periods=12, warm_up=3) for n in (3, 8))
    np.testing.assert_array_equal(few.cost, many.cost[:3])
    other = measure(policy, task, seed=2, paths=3, periods=12, warm_up=3)
    assert (few.cost != other.cost).all()


def test_a_finite_problem_is_measured_over_its_horizon() -> None:
    """With a finite horizon the given periods and warm-up do not apply: the cost is the first periods' mean."""
    finite = InventoryTask("five_site_distribution", horizon=7, finite=True)
    long = InventoryTask("five_site_distribution", horizon=7)
    ticks: list[int] = []
    policy = build("base_stock", finite)
    one = measure(policy, finite, seed=3, paths=4, periods=50, warm_up=9, progress=ticks.append)
    other = measure(build("base_stock", long), long, seed=3, paths=4, periods=7, warm_up=0)
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-12)
    assert ticks == [1] * 7


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("parameters", [[1.0], [1.0, 2.0, 3.0, np.inf], [[1.0] * 4]])
def test_parameters_that_do_not_fit_are_refused(name: str, parameters: list[float]) -> None:
    """A policy needs one finite number per arc."""
    with pytest.raises(ActionError, match="4 finite numbers"):
        load_class(baseline(name).path)(InventoryTask("serial_chain"), np.array(parameters))


def test_the_registries_name_what_is_missing() -> None:
    """An unknown algorithm or policy is a ConfigError with the ones allowed and the nearest."""
    with pytest.raises(ConfigError, match=r"base_stok.*allowed: constant, base_stock.*did you mean 'base_stock'"):
        baseline("base_stok")
    with pytest.raises(ConfigError, match=r"'pppo'.*allowed: ppo.*did you mean 'ppo'"):
        algorithm("pppo")


def test_every_registered_name_can_be_imported() -> None:
    """Each path of both registries leads to a class with a predict method."""
    for entry in (*ALGORITHMS.values(), *BASELINES.values()):
        assert callable(load_class(entry.path).predict)
        assert entry.summary
