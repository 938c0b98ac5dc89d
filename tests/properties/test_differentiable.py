"""The differentiable twin on random networks: it equals the kernel, and its gradients are those of the cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.strategies import networks, random_orders
from twin.differentiable import DifferentiableTwin, TensorState
from twin.economics import terminal_value
from twin.engine import Twin
from twin.state import StateArrays

PROFILE = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
SEEDS = st.integers(0, 2**32 - 1)
PERIODS = 12


pytestmark = pytest.mark.usefixtures("one_thread")


def assert_equal_states(got: TensorState, kernel: Twin, twin: DifferentiableTwin, where: str) -> None:
    """Every number of the state agrees to 1e-9."""
    mine = twin.to_twin_state(got)
    for name in StateArrays._fields:
        np.testing.assert_allclose(
            mine.logical(name), kernel.state.logical(name), rtol=1e-9, atol=1e-9, err_msg=f"{name}, {where}"
        )
    np.testing.assert_array_equal(mine.period, kernel.state.period)


@settings(PROFILE, max_examples=250)
@given(network=networks(), seed=SEEDS)
def test_it_equals_the_kernel(network, seed):
    """On the same draws and orders all state numbers, cost terms, positions and base-stock orders agree to 1e-9."""
    kernel = Twin(network, replicas=3, seed=seed)
    twin = DifferentiableTwin(kernel.compiled)
    state = twin.from_twin_state(kernel.state)
    draws = twin.draws(kernel.state, PERIODS)
    levels = np.abs(random_orders(seed, 1, kernel.compiled.n_arcs, 3)[0]) + 5.0
    for t, orders in enumerate(random_orders(seed, PERIODS, kernel.compiled.n_arcs, 3)):
        if t == PERIODS // 2:  # half-way in, through the arrays and back
            assert twin.to_twin_state(twin.from_twin_state(kernel.state)).content_hash() == kernel.state.content_hash()
            state = twin.from_twin_state(twin.to_twin_state(state))
        costs = kernel.step(orders)
        period = (part[t] for part in draws)
        state, mine = twin.step(state, torch.tensor(orders), *period)
        assert_equal_states(state, kernel, twin, f"period {t}")
        np.testing.assert_allclose(mine.numpy(), costs, rtol=1e-9, atol=1e-9, err_msg=f"costs, period {t}")
        np.testing.assert_allclose(
            twin.terminal_value(state).numpy(), terminal_value(kernel.state), rtol=1e-9, atol=1e-9
        )
        position = kernel.positions()
        np.testing.assert_allclose(twin.positions(state).numpy(), position, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            twin.base_stock_orders(torch.tensor(levels), torch.tensor(position)).numpy(),
            kernel.base_stock_orders(position, levels),
            rtol=1e-9,
            atol=1e-9,
        )


@settings(PROFILE, max_examples=60)
@given(network=networks(), seed=SEEDS)
def test_fork_and_continue(network, seed):
    """A run that stops at any period, goes through arrays and continues is bitwise the uninterrupted one."""
    start = Twin(network, replicas=2, seed=seed).state
    twin = DifferentiableTwin(start.compiled)
    orders = torch.tensor(random_orders(seed, PERIODS, start.compiled.n_arcs, 2))
    draws = twin.draws(start, PERIODS)

    def policy(state: TensorState) -> torch.Tensor:
        return orders[int(state.period[0])]

    whole, costs = twin.rollout(policy, twin.from_twin_state(start), draws)
    half, first = twin.rollout(policy, twin.from_twin_state(start), draws.block(0, 5))
    stopped = twin.to_twin_state(half)
    kept = stopped.content_hash()
    other, second = twin.rollout(policy, twin.from_twin_state(stopped), twin.draws(half, PERIODS - 5))
    assert twin.to_twin_state(other).content_hash() == twin.to_twin_state(whole).content_hash()
    assert twin.to_twin_state(half).content_hash() == kept
    torch.testing.assert_close(first + second, costs, rtol=1e-12, atol=1e-9)


@settings(PROFILE, max_examples=120)
@given(network=networks(), seed=SEEDS)
def test_roundings(network, seed):
    """Straight-through has the values of exact; gradients are finite numbers in every rounding."""
    start = Twin(network, replicas=2, seed=seed).state
    placed = torch.tensor(random_orders(seed, 6, start.compiled.n_arcs, 2))
    values = {}
    for rounding in ("exact", "straight_through", "none"):
        twin = DifferentiableTwin(start.compiled, rounding=rounding)
        orders = placed.clone().requires_grad_()
        draws = twin.draws(start, 6)
        demand = draws.demand.clone().requires_grad_()
        chosen = iter(orders)
        state, costs = twin.rollout(
            lambda _, chosen=chosen: next(chosen), twin.from_twin_state(start), draws._replace(demand=demand)
        )
        (costs.sum() + state.on_hand.sum()).backward()
        assert torch.isfinite(orders.grad).all()
        assert torch.isfinite(demand.grad).all()
        values[rounding] = costs.detach(), state.on_hand.detach()
    for exact, through in zip(values["exact"], values["straight_through"], strict=True):
        torch.testing.assert_close(through, exact, rtol=0, atol=0)


@settings(PROFILE, max_examples=80)
@given(network=networks(), seed=SEEDS)
def test_gradients_are_slopes(network, seed):
    """Along a random direction of all orders and all demand the gradient is the slope of the cost.

    The cost is piecewise smooth: where the slopes to both sides differ there is a kink, and nothing to compare.
    """
    start = Twin(network, replicas=1, seed=seed).state
    twin = DifferentiableTwin(start.compiled, rounding="none")
    rng = np.random.default_rng(seed)
    draws = twin.draws(start, 5)
    shape = (5, start.compiled.n_arcs, 1)
    point = torch.tensor(rng.gamma(2.0, 3.0, size=shape)), draws.demand + torch.tensor(rng.random(draws.demand.shape))
    direction = tuple(torch.tensor(rng.normal(size=tuple(values.shape))) for values in point)

    def cost(orders: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        chosen = iter(orders)
        state = twin.from_twin_state(start)
        after, terms = twin.rollout(lambda _: next(chosen), state, draws._replace(demand=demand))
        return terms.sum() + after.on_hand.sum() + 0.5 * after.in_transit.sum() + after.backlog.sum()

    def moved(step: float) -> float:
        with torch.no_grad():
            return float(cost(*(values + step * towards for values, towards in zip(point, direction, strict=True))))

    step = 1e-6
    here, ahead, behind = moved(0.0), moved(step), moved(-step)
    slopes = (ahead - here) / step, (here - behind) / step
    scale = 1.0 + abs(slopes[0])
    assume(abs(slopes[0] - slopes[1]) < 1e-4 * scale)
    leaves = [values.clone().requires_grad_() for values in point]
    cost(*leaves).backward()
    slope = sum(float((leaf.grad * towards).sum()) for leaf, towards in zip(leaves, direction, strict=True))
    assert abs(slope - 0.5 * sum(slopes)) < 1e-4 * scale
