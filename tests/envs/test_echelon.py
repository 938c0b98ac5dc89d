"""Safety amounts as actions: the rule is the textbook's, its centre follows forecast and horizon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.actions import make_codec
from envs.core import Batch
from envs.echelon import EchelonRule, safety_span
from envs.inventory import InventoryTask
from tests.strategies import networks
from twin import library
from twin.compile import CompiledNetwork, compile_network
from twin.engine import Twin
from twin.errors import ActionError

COMPILED = {name: compile_network(library.load(name)) for name in library.names()}
every_network = pytest.mark.parametrize("name", list(COMPILED))
FloatArray = NDArray[np.float64]


def batch_of(task: InventoryTask, replicas: int = 4, seed: int = 3) -> Batch:
    batch, slots = Batch(task, replicas), np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    return batch


def one_by_one(rule: EchelonRule, levels: FloatArray, open_: NDArray[np.bool_], position: FloatArray) -> FloatArray:
    """Orders (A,) of one replica as the words say it: arc by arc, counting what every order before it has moved."""
    top, below = rule.compiled.topology, rule.structure.below
    holds = np.zeros(rule.compiled.n_stocks)
    for i in range(len(holds)):
        arcs = top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]
        holds[i] = position[arcs[-1]] if len(arcs) else 0.0
    moved, orders = np.zeros_like(holds), np.zeros(len(position))
    for i in top.sequence:
        for a in top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]:
            fed = sum(below[i, j] * (holds[j] + moved[j]) for j in range(len(holds)) if below[i, j])
            order = min(max(levels[a] - (position[a] + moved[i] + fed), 0.0), top.arc_order_limit[a])
            orders[a] = order if open_[a] else 0.0
            moved[i] += orders[a]
            for k in range(top.in_ptr[a], top.in_ptr[a + 1]):
                moved[top.in_stock[k]] -= top.in_coefficient[k] * orders[a]
    return orders


def agrees(compiled: CompiledNetwork, seed: int) -> float:
    """Compare the matrices with the words on states and safety amounts reached by chance; the sum of all orders."""
    rule, rng, twin = EchelonRule(compiled), np.random.default_rng(seed), Twin(compiled, replicas=3, seed=seed)
    low, _, high = safety_span(compiled, 10)
    total = 0.0
    for left in (None, np.array([9.0, 4.0, 1.0])):
        position = twin.positions()
        safety = rng.uniform(low, 2 * high, size=(3, len(low))).T
        covered, open_ = rule.on_calendar(twin.state.period, left)
        orders = rule.orders(safety, position, covered, open_)
        for b in range(3):
            levels, is_open = (covered + safety)[:, b], np.broadcast_to(open_, orders.shape)[:, b]
            np.testing.assert_allclose(
                orders[:, b], one_by_one(rule, levels, is_open, position[:, b]), rtol=1e-9, atol=1e-9
            )
        total += float(orders.sum())
        again = rule.orders(rule.safety_for(orders, position, covered), position, covered, open_)
        np.testing.assert_allclose(again, orders, rtol=1e-9, atol=1e-8)
        twin.step(orders)
    return total


@every_network
def test_the_matrices_are_the_rule(name: str) -> None:
    """On every library network, finite or not, orders are those decided arc by arc, and safety_for undoes them."""
    assert agrees(COMPILED[name], 5) > 0.0


@given(network=networks(), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_matrices_are_the_rule_on_random_networks(network: object, seed: int) -> None:
    """Several sources, bills of materials, closed arcs and rings are decided arc by arc as well."""
    agrees(compile_network(network), seed)  # type: ignore[arg-type]


@every_network
def test_the_box_is_the_span_or_reaches_equally_far_from_given_amounts(name: str) -> None:
    """0 is a standard deviation of the demand covered, -1 closes the arc; with levels= it is these, and less far."""
    compiled = COMPILED[name]
    low, usual, high = safety_span(compiled, 1)
    codec = make_codec(compiled, "echelon")
    for unit, value in ((-1.0, low), (0.0, usual), (1.0, high)):
        np.testing.assert_allclose(codec.targets(np.full((1, codec.arcs), unit))[:, 0], value, rtol=1e-15)
    assert ((low < usual) & (usual < high)).all()
    given_ = make_codec(compiled, "echelon", levels=high / 3, residual_scale=0.25)
    np.testing.assert_allclose(given_.targets(np.zeros((1, codec.arcs)))[:, 0], high / 3, rtol=1e-15)
    for end in (given_.high - high / 3, high / 3 - given_.low):
        np.testing.assert_allclose(end, 0.25 * high)


def test_the_centre_moves_with_forecast_and_horizon() -> None:
    """By hand: orders of three_stage_serial cover 5, 10 and 11 demands, as the seasons have them, within the horizon.

    Orders come first in a period, lead times are 3, 5 and 0 periods in the package's counting and 4, 4 and 0 receipts
    here; every stage passes on a period after receipt, and a review period comes on top: 4 + 1, 4 + 5 + 1, 0 + 10 + 1.
    """
    task = InventoryTask(
        "three_stage_serial", parameters={"demand": "trend_season"}, action_mode="echelon", horizon=30, finite=True
    )
    assert task.echelon is not None
    rule = task.echelon
    covers = rule.structure.covers[:, 0]
    assert covers.tolist() == [5, 10, 11]
    mean = task.compiled.expected_demand(0, np.arange(60))
    for period in (0, 7, 20, 26, 28, 29):
        covered, open_ = rule.on_calendar(np.array([period]), np.array([30.0 - period]))
        endless, always = rule.on_calendar(np.array([period]), None)
        for a in range(3):
            ends = period + int(covers[a])
            assert endless[a, 0] == pytest.approx(mean[period:ends].sum())
            assert covered[a, 0] == pytest.approx(mean[period : min(ends, 30)].sum())
            assert open_[a, 0] == (ends <= 30)
        assert always.all()
    batch = batch_of(task)
    ordered = np.array([batch.step(np.ones((4, 3))).orders.max(axis=1) for _ in range(30)])
    for a in range(3):
        assert ordered[30 - covers[a], a] > 0.0
        assert not ordered[31 - covers[a] :, a].any()


def test_replicas_in_different_periods_have_their_own_centres() -> None:
    """Staggered episodes decide as each would alone: what is left is the episode's, the forecast the twin's."""
    task = InventoryTask("three_stage_serial", action_mode="echelon", horizon=30, finite=True)
    together, action = batch_of(task), np.full((4, 3), 0.3)
    together.elapsed[:] = (0, 20, 26, 29)
    orders = together.step(action).orders
    for b, elapsed in enumerate((0, 20, 26, 29)):
        alone = batch_of(task)
        alone.elapsed[:] = elapsed
        np.testing.assert_array_equal(alone.step(action).orders[:, b], orders[:, b])
    assert orders[:, 0].any()
    assert not orders[:, 3].any()


def test_without_the_episode_the_twins_calendar_counts() -> None:
    """Decoding a state alone takes the periods left from its period."""
    task = InventoryTask("three_stage_serial", action_mode="echelon", horizon=30, finite=True)
    batch, action = batch_of(task), np.full((4, 3), 0.5)
    for _ in range(28):
        alone = task.decode(action, batch.twin, batch.position)
        np.testing.assert_allclose(batch.step(action).asked, alone, rtol=1e-12)


def test_amounts_that_do_not_fit_are_refused() -> None:
    """Safety amounts of a wrong number are an ActionError that says how many there must be."""
    with pytest.raises(ActionError, match="4 finite numbers"):
        InventoryTask("serial_chain", action_mode="echelon", levels=[1.0])
