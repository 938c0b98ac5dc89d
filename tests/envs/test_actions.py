"""Actions decode to levels or quantities and back, and the order rule is the kernel's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.actions import ACTION_MODES, NOTCHES, OrderSequence, codec_from_spec, make_codec
from envs.core import Batch
from envs.inventory import InventoryTask
from twin import kernel, library
from twin.compile import CompiledNetwork, compile_network
from twin.errors import ActionError

COMPILED = {name: compile_network(library.load(name)) for name in library.names()}
every_network = pytest.mark.parametrize("name", list(COMPILED))
BOXES = ("base_stock", "quantity")


def batch_of(task: InventoryTask, replicas: int = 4, seed: int = 3) -> Batch:
    batch = Batch(task, replicas)
    slots = np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    return batch


def scattered(compiled: CompiledNetwork, seed: int = 0) -> Batch:
    """Replicas after some periods of random orders: full and empty stock points, backlog, backorders."""
    task = InventoryTask(compiled)
    batch = batch_of(task, 16, seed)
    rng = np.random.default_rng(seed)
    for _ in range(12):
        batch.step(rng.uniform(-1, 1, size=(16, compiled.n_arcs)).astype(np.float32))
    return batch


@every_network
@pytest.mark.parametrize("mode", BOXES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_lies_in_the_box_survives_a_round_trip(name: str, mode: str, data: st.DataObject) -> None:
    """targets(encode(x)) is x for every x in the box, to the precision of a float32 action."""
    codec = make_codec(COMPILED[name], mode)
    share = np.array(data.draw(st.lists(st.floats(0, 1), min_size=codec.arcs, max_size=codec.arcs)))
    x = codec.low + share * (codec.high - codec.low)
    action = codec.encode(x)
    assert action.dtype == np.float32
    assert (np.abs(action) <= 1).all()
    np.testing.assert_allclose(codec.targets(action[None])[:, 0], x, rtol=0, atol=2e-7 * float(codec.high.max()))


@every_network
@pytest.mark.parametrize("mode", BOXES)
def test_the_ends_and_the_centre_are_exact(name: str, mode: str) -> None:
    """-1, 0 and 1 decode to low, centre and high exactly, and these encode to them."""
    codec = make_codec(COMPILED[name], mode)
    for unit, value in ((-1.0, codec.low), (0.0, codec.center), (1.0, codec.high)):
        np.testing.assert_allclose(codec.targets(np.full((2, codec.arcs), unit))[:, 1], value, rtol=1e-15)
        np.testing.assert_allclose(codec.targets(codec.encode(value)[None])[:, 0], value, rtol=1e-15)
    assert (codec.low <= codec.center).all()
    assert (codec.center <= codec.high).all()
    assert (codec.low < codec.high).all()


@every_network
@pytest.mark.parametrize("mode", BOXES)
def test_what_lies_outside_is_clipped(name: str, mode: str) -> None:
    """Targets outside the box become its ends, and actions outside [-1, 1] count as the ends."""
    codec = make_codec(COMPILED[name], mode)
    np.testing.assert_array_equal(codec.targets(codec.encode(codec.high + 1e6)[None])[:, 0], codec.high)
    np.testing.assert_array_equal(codec.targets(codec.encode(codec.low - 1e6)[None])[:, 0], codec.low)
    np.testing.assert_array_equal(codec.targets(np.full((1, codec.arcs), 7.0))[:, 0], codec.high)


@every_network
def test_the_zero_action_is_expected_lead_time_demand(name: str) -> None:
    """In base_stock mode 0 is the demand rate times order delay, lead time and review period."""
    compiled = COMPILED[name]
    centre = make_codec(compiled, "base_stock").targets(np.zeros((1, compiled.n_arcs)))[:, 0]
    rate = compiled.demand_rate[compiled.topology.arc_destination]
    covered = compiled.lead_mean + np.diff(compiled.topology.mail_ptr) + 1
    np.testing.assert_allclose(centre, rate * covered)


def test_the_centre_of_a_known_problem() -> None:
    """Mean demand 5 and lead time 4: the centre is 25 units, the quantity in the middle 5, its end 15."""
    compiled = COMPILED["lost_sales_zipkin2008"]
    levels, quantity = make_codec(compiled, "base_stock"), make_codec(compiled, "quantity")
    assert levels.center.tolist() == [25.0]
    assert levels.high.tolist() == [50.0]
    assert (quantity.low.tolist(), quantity.center.tolist(), quantity.high.tolist()) == ([0.0], [5.0], [15.0])


@every_network
@pytest.mark.parametrize("mode", ["base_stock", "discrete"])
def test_given_levels_are_the_centre(name: str, mode: str) -> None:
    """With levels= the zero action stands for exactly these levels, and the box reaches equally far both ways."""
    compiled = COMPILED[name]
    levels = np.arange(compiled.n_arcs) * 7.5 + 3
    codec = make_codec(compiled, mode, levels=levels, residual_scale=0.25)
    action = np.full(1, NOTCHES // 2) if mode == "discrete" else np.zeros((1, compiled.n_arcs))
    np.testing.assert_array_equal(codec.targets(action)[:, 0], levels)
    np.testing.assert_allclose(codec.high - levels, levels - codec.low)
    usual = make_codec(compiled, "base_stock")
    np.testing.assert_allclose(codec.high - levels, 0.25 * (usual.high - usual.center))


@every_network
@pytest.mark.parametrize("mode", ACTION_MODES)
def test_minus_one_orders_nothing(name: str, mode: str) -> None:
    """The lowest action orders nothing on an arc whose position is not below 0."""
    task = InventoryTask(COMPILED[name], action_mode=mode)
    batch = batch_of(task)
    lowest = np.zeros(4, dtype=np.int64) if mode == "discrete" else np.full((4, task.compiled.n_arcs), -1.0)
    checked = 0
    for _ in range(6):
        position = batch.position.copy()
        orders = batch.step(lowest).orders
        checked += int((position >= 0).sum())
        assert (orders[position >= 0] == 0.0).all()
        if mode == "quantity":
            assert (orders == 0.0).all()
    assert checked


@every_network
@pytest.mark.parametrize("mode", ["base_stock", "discrete"])
def test_orders_raise_positions_to_the_level(name: str, mode: str) -> None:
    """At a stock point with one arc, position plus order minus what others drew from it is the level, or more.

    An order ends at what the arc can ship in a period where the rest would be cancelled.
    """
    task = InventoryTask(COMPILED[name], action_mode=mode)
    batch = batch_of(task)
    highest = np.full(4, NOTCHES - 1) if mode == "discrete" else np.ones((4, task.compiled.n_arcs))
    position = batch.position.copy()
    orders = batch.step(highest).orders
    top = task.compiled.topology
    for a in range(task.compiled.n_arcs):
        i = top.arc_destination[a]
        if top.group_ptr[i + 1] - top.group_ptr[i] > 1:
            continue
        drawn = np.zeros(4)
        for other in range(task.compiled.n_arcs):
            for j in range(top.in_ptr[other], top.in_ptr[other + 1]):
                if top.in_stock[j] == i:
                    drawn += top.in_coefficient[j] * orders[other]
        expected = np.clip(task.codec.high[a] - position[a] + drawn, 0.0, top.arc_order_limit[a])
        np.testing.assert_allclose(orders[a], expected, rtol=1e-12)


@every_network
@pytest.mark.parametrize("residual", [False, True])
def test_every_notch_survives_a_round_trip(name: str, residual: bool) -> None:
    """All 21 notches encode back to themselves, and level vectors rise with the notch."""
    compiled = COMPILED[name]
    levels = np.full(compiled.n_arcs, 20.0) if residual else None
    codec = make_codec(compiled, "discrete", levels=levels)
    targets = codec.targets(np.arange(NOTCHES))
    assert targets.shape == (compiled.n_arcs, NOTCHES)
    assert [int(codec.encode(targets[:, notch])) for notch in range(NOTCHES)] == list(range(NOTCHES))
    assert (np.diff(targets, axis=1) > 0).all()
    np.testing.assert_array_equal(targets[:, 0], codec.low)
    np.testing.assert_array_equal(targets[:, -1], codec.high)


@every_network
def test_the_order_rule_is_the_kernels(name: str) -> None:
    """OrderSequence.orders_up_to gives what twin.kernel.base_stock_orders gives on states reached by chance."""
    compiled = COMPILED[name]
    sequence = OrderSequence.of(compiled)
    position = scattered(compiled).position
    rng = np.random.default_rng(5)
    span = np.maximum(np.abs(position).max(axis=1, keepdims=True), 1.0)
    for case in range(10):
        levels = np.ascontiguousarray(rng.uniform(-0.3, 2.0, size=position.shape) * span)
        orders = np.empty_like(levels)
        kernel.base_stock_orders(compiled.topology.pack(), position, levels, orders)
        assert case > 0 or (orders > 0).any()
        for b in range(position.shape[1]):
            np.testing.assert_allclose(
                sequence.orders_up_to(levels[:, b], position[:, b]), orders[:, b], rtol=1e-12, atol=1e-9
            )


@every_network
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_levels_for_undoes_orders_up_to(name: str, data: st.DataObject) -> None:
    """The levels that levels_for names lead to exactly the orders they were asked for, up to the arcs' limits."""
    sequence = OrderSequence.of(COMPILED[name])
    arcs = COMPILED[name].n_arcs
    orders = np.array(data.draw(st.lists(st.floats(0, 1e4), min_size=arcs, max_size=arcs)))
    position = np.array(data.draw(st.lists(st.floats(-1e4, 1e4), min_size=arcs, max_size=arcs)))
    again = sequence.orders_up_to(sequence.levels_for(orders, position), position)
    np.testing.assert_allclose(again, np.minimum(orders, sequence.limits), rtol=1e-9, atol=1e-7)


def probe(codec_mode: str, arcs: int) -> NDArray[np.generic]:
    rng = np.random.default_rng(1)
    return rng.integers(NOTCHES, size=6) if codec_mode == "discrete" else rng.uniform(-1, 1, size=(6, arcs))


@every_network
@pytest.mark.parametrize("mode", ACTION_MODES)
def test_specifications_survive_json(name: str, mode: str) -> None:
    """A codec and an order sequence read back from JSON text act as the originals, bit for bit."""
    compiled = COMPILED[name]
    codec = make_codec(compiled, mode)
    again = codec_from_spec(json.loads(json.dumps(codec.to_spec())))
    assert type(again) is type(codec)
    assert again.up_to == codec.up_to
    action = probe(mode, compiled.n_arcs)
    np.testing.assert_array_equal(again.targets(action), codec.targets(action))
    sequence = OrderSequence.of(compiled)
    assert OrderSequence.from_spec(json.loads(json.dumps(sequence.to_spec()))) == sequence


def test_an_unknown_mode_is_refused_with_the_nearest() -> None:
    """The message has the mode, the ones allowed, and the nearest of them."""
    with pytest.raises(ActionError, match=r"'base_stok'.*base_stock, quantity, discrete.*did you mean 'base_stock'"):
        make_codec(COMPILED["serial_chain"], "base_stok")


@pytest.mark.parametrize("levels", [[1.0], [1.0] * 5, [1.0, 2.0, 3.0, float("nan")], [[1.0] * 4]])
def test_levels_that_do_not_fit_are_refused(levels: list[float]) -> None:
    """Levels of a wrong number, shape or with a NaN are an ActionError that says how many there must be."""
    with pytest.raises(ActionError, match="4 finite numbers"):
        InventoryTask("serial_chain", levels=levels)


def test_levels_by_name_must_name_every_arc_once() -> None:
    """Levels by arc name give the same task in any order; a missing and an unknown name are both reported."""
    names = COMPILED["serial_chain"].arc_names
    by_name = {name: float(k) for k, name in reversed(list(enumerate(names)))}
    assert InventoryTask("serial_chain", levels=by_name).codec.center.tolist() == [0.0, 1.0, 2.0, 3.0]
    by_name["no_such_arc"] = by_name.pop(names[0])
    with pytest.raises(ActionError, match="no_such_arc") as caught:
        InventoryTask("serial_chain", levels=by_name)
    assert names[0] in str(caught.value)


def test_levels_do_not_go_with_quantities() -> None:
    """A residual of order quantities is refused."""
    with pytest.raises(ActionError, match="quantity"):
        InventoryTask("serial_chain", action_mode="quantity", levels=[1.0] * 4)


@pytest.mark.parametrize("scale", [0.0, -0.5, float("nan")])
def test_a_residual_scale_that_is_not_positive_is_refused(scale: float) -> None:
    """A reach of 0, below 0 or NaN would make an empty or inverted box."""
    with pytest.raises(ActionError, match="residual_scale"):
        InventoryTask("serial_chain", levels=[10.0] * 4, residual_scale=scale)


@pytest.mark.parametrize("mode", BOXES)
def test_a_batch_refuses_actions_it_cannot_mean(mode: str) -> None:
    """NaN, infinity and wrong shapes are ActionErrors with the shape that is needed."""
    batch = batch_of(InventoryTask("serial_chain", action_mode=mode), 3)
    for wrong in (np.full((3, 4), np.nan), np.full((3, 4), -np.inf)):
        with pytest.raises(ActionError, match="NaN or an infinite"):
            batch.step(wrong)
    for shape in ((3,), (4,), (4, 3), (3, 4, 1), (2, 4)):
        with pytest.raises(ActionError, match=r"\(3, 4\)"):
            batch.step(np.zeros(shape))


@pytest.mark.parametrize("notch", [-1, NOTCHES, 1000])
def test_a_notch_that_does_not_exist_is_refused(notch: int) -> None:
    """A discrete action outside 0 to 20 is an ActionError, not silently the nearest end."""
    batch = batch_of(InventoryTask("serial_chain", action_mode="discrete"), 2)
    with pytest.raises(ActionError, match=str(notch)):
        batch.step(np.array([3, notch]))


def test_no_replicas_are_refused() -> None:
    """A batch needs at least one replica."""
    with pytest.raises(ActionError, match="at least 1"):
        Batch(InventoryTask("serial_chain"), 0)
