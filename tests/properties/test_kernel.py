"""The kernel on random networks: it equals a naive second implementation, and its rules hold in every period."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference import TERMS, ReferenceTwin
from tests.strategies import networks, random_orders
from twin import kernel, library
from twin.compile import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND, compile_network
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import Network
from twin.state import StateArrays, TwinState

settings.register_profile(
    "kernel",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
PROFILE = settings.get_profile("kernel")
SEEDS = st.integers(0, 2**32 - 1)
PERIODS = 12


def leads(twin: Twin, drawn: np.ndarray) -> np.ndarray:
    """Lead times of one period, fixed ones filled in. Shape (A, B)."""
    fixed = twin.compiled.topology.arc_fixed_lead[:, None]
    return np.where(fixed >= 0, fixed, drawn)


def assert_same(first: TwinState, second: TwinState) -> None:
    """Every number of two states is bitwise the same."""
    assert first.content_hash() == second.content_hash()


def column(state: TwinState, index: int) -> dict[str, np.ndarray]:
    """All numbers of one replica."""
    arrays = {name: array[:, index] for name, array in zip(StateArrays._fields, state.arrays, strict=True)}
    return arrays | {"pipeline": state.logical_pipeline()[:, index]}


def assert_columns_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """Two replicas hold bitwise the same numbers."""
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_the_reference_names_the_terms_of_the_engine():
    """The comparison below compares like with like: both list the same cost terms in the same order."""
    assert tuple(term.name for term in COST_TERMS) == TERMS


@settings(PROFILE, max_examples=150)
@given(network=networks(), seed=SEEDS)
def test_kernel_equals_the_reference(network, seed):
    """On the same draws and orders, the kernel and the plain-Python reference agree in every state and cost number."""
    replicas = 2
    twin = Twin(network, replicas=replicas, seed=seed)
    first = twin.tape.demand(twin.initial_state(twin.state.seed, twin.state.replica), 1)[0]
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, replicas)
    windows = [int(w) for w in twin.compiled.topology.arc_window]
    references = [ReferenceTwin(network, windows, first[:, b].tolist()) for b in range(replicas)]
    for t in range(PERIODS):
        draws = twin.tape.block(twin.state, 1)
        lead = leads(twin, draws.lead_time[0])
        costs = twin.step(orders[t])
        for b, reference in enumerate(references):
            terms = reference.step(
                orders[t, :, b],
                draws.demand[0, :, b].tolist(),
                lead[:, b].tolist(),
                draws.availability[0, :, b].tolist(),
            )
            expected = {
                "on_hand": list(reference.on_hand.values()),
                "shipped": reference.shipped,
                "backorders": reference.backorders,
                "backlog": list(reference.backlog.values()),
                "lost": list(reference.lost.values()),
                "served": list(reference.served.values()),
                "delivered": list(reference.delivered.values()),
                "in_transit": [reference.in_transit(a) for a in range(len(reference.arcs))],
                "availability": list(reference.available.values()),
            }
            for name, values in expected.items():
                got = getattr(twin.state.arrays, name)[:, b]
                np.testing.assert_allclose(got, values, rtol=1e-9, atol=1e-9, err_msg=f"{name}, period {t}")
            np.testing.assert_allclose(costs[:, b], list(terms.values()), rtol=1e-9, atol=1e-9, err_msg=f"costs, {t}")


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_material_balance(network, seed):
    """What entered minus what left equals what is there, per stock point, replica and period, promises included."""
    twin = Twin(network, replicas=3, seed=seed)
    top, arrays = twin.compiled.topology, twin.state.arrays
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, 3)
    into = np.zeros((twin.compiled.n_stocks, twin.compiled.n_arcs))
    into[top.arc_destination, np.arange(twin.compiled.n_arcs)] = 1.0
    out_of = np.zeros_like(into)
    for a in range(twin.compiled.n_arcs):
        for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
            out_of[top.in_stock[j], a] += top.in_coefficient[j]
    sold = np.zeros((twin.compiled.n_stocks, twin.compiled.n_demands))
    sold[top.demand_stock, np.arange(twin.compiled.n_demands)] = 1.0

    def pipeline() -> np.ndarray:
        return np.array([arrays.pipeline[top.pipe_ptr[a] : top.pipe_ptr[a + 1]].sum(0) for a in range(len(into[0]))])

    for t in range(PERIODS):
        there, owed, promised = arrays.on_hand + into @ pipeline(), arrays.backlog.copy(), arrays.backorders.copy()
        twin.step(orders[t])
        now = arrays.on_hand + into @ pipeline()
        moved = into @ arrays.shipped - out_of @ arrays.shipped - sold @ arrays.delivered
        np.testing.assert_allclose(now - there, moved, rtol=0, atol=1e-7)
        np.testing.assert_allclose(pipeline(), arrays.in_transit, rtol=0, atol=1e-9)
        backlogs = top.demand_backlogs[:, None]
        np.testing.assert_allclose(
            np.where(backlogs, arrays.backlog - owed, arrays.lost), arrays.demand - arrays.delivered, atol=1e-9
        )
        asked = np.maximum(orders[t], 0.0)
        asked = np.where(top.arc_integer[:, None], np.floor(asked + 0.5), asked)
        limited = np.where(top.arc_backorders[:, None], arrays.backorders - promised, asked - arrays.shipped)
        open_orders = np.where(top.arc_backorders[:, None], asked - arrays.shipped, limited)
        np.testing.assert_allclose(limited, open_orders, atol=1e-9)
        assert (np.where(top.arc_backorders[:, None], 0.0, limited) >= -1e-9).all()


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_nothing_is_negative_and_no_limit_is_exceeded(network, seed):
    """No stock, pipeline or promise falls below 0; capacities hold, times availability; capacity 0 ships nothing."""
    twin = Twin(network, replicas=3, seed=seed)
    top, arrays = twin.compiled.topology, twin.state.arrays
    for orders in random_orders(seed, PERIODS, twin.compiled.n_arcs, 3):
        available = arrays.availability.copy()
        twin.step(orders)
        for name, array in zip(StateArrays._fields, arrays, strict=True):
            assert (array >= 0.0).all(), name
            assert np.isfinite(array).all(), name
        assert (arrays.shipped <= top.arc_capacity[:, None] * (1 + 1e-12)).all()
        assert not arrays.shipped[top.arc_capacity == 0.0].any()
        used = np.zeros_like(available)
        for a in range(twin.compiled.n_arcs):
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                used[top.use_resource[j]] += top.use_coefficient[j] * arrays.shipped[a]
        limit = top.resource_capacity[:, None] * available
        assert (used <= limit + 1e-8).all()
        assert not used[limit == 0.0].any()
        whole = arrays.shipped[top.arc_integer]
        np.testing.assert_array_equal(whole, np.round(whole))


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_costs_recomputed_from_the_states_around_a_step(network, seed):
    """Every cost term follows from the states before and after, undoing the phases behind the end of the period."""
    twin = Twin(network, replicas=2, seed=seed)
    top, phase = twin.compiled.topology, twin.compiled.topology.phase_order
    for orders in random_orders(seed, PERIODS, twin.compiled.n_arcs, 2):
        before = twin.state.fork().arrays
        lead = leads(twin, twin.tape.block(twin.state, 1).lead_time[0])
        costs = dict(zip(TERMS, twin.step(orders), strict=True))
        after, shipped = twin.state.arrays, twin.state.arrays.shipped
        at_once = (lead == 0) & (phase != ORDER_RECEIVE_DEMAND)
        transit = before.in_transit + np.where(at_once, 0.0, shipped)
        if phase == RECEIVE_DEMAND_ORDER:
            on_hand, customers = before.on_hand.copy(), before
            for a in range(twin.compiled.n_arcs):
                on_hand[top.arc_destination[a]] += np.where(at_once[a], shipped[a], 0.0)
                for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                    on_hand[top.in_stock[j]] -= top.in_coefficient[j] * shipped[a]
        elif phase == RECEIVE_ORDER_DEMAND:
            on_hand, customers = after.on_hand.copy(), after
            np.subtract.at(on_hand, top.arc_destination, transit - after.in_transit)
        else:
            on_hand, customers, transit = after.on_hand, after, after.in_transit
        used = np.zeros(2)
        for a in range(twin.compiled.n_arcs):
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                used += top.resource_cost[top.use_resource[j]] * top.use_coefficient[j] * shipped[a]
        backlogs = top.demand_backlogs
        expected = {
            "holding": top.stock_holding @ on_hand,
            "transit_holding": top.arc_transit_holding @ transit,
            "backlog": top.demand_penalty[backlogs] @ customers.backlog[backlogs],
            "lost_sales": top.demand_penalty[~backlogs] @ customers.lost[~backlogs],
            "purchase": top.arc_unit_cost @ shipped,
            "freight": top.arc_freight @ shipped,
            "fixed_order": top.arc_fixed @ (shipped > 0.0),
            "resource": used,
            "emissions": top.arc_emission_cost @ shipped,
            "revenue": -(top.demand_price @ customers.delivered),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(costs[name], value, rtol=1e-9, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(sum(costs.values()), sum(expected.values()), rtol=1e-9, atol=1e-6)


@settings(PROFILE, max_examples=30)
@given(network=networks(), seed=SEEDS)
def test_a_replica_is_the_same_alone_and_among_many(network, seed):
    """Replica b of a seed is bitwise the same in a batch of 1, of 7, and of 601."""
    compiled = compile_network(network)
    many = 601
    orders = random_orders(seed, 6, compiled.n_arcs, many)
    big, small = Twin(compiled, replicas=many, seed=seed), Twin(compiled, replicas=7, seed=seed)
    singles = {}
    for b in (0, 5, 511, many - 1):
        singles[b] = Twin(compiled, replicas=1, seed=seed)
        singles[b].state = singles[b].initial_state(np.array([seed], dtype=np.uint64), np.array([b], dtype=np.uint32))
    for t in range(6):
        costs = big.step(orders[t])
        np.testing.assert_array_equal(small.step(orders[t, :, :7]), costs[:, :7])
        for b, single in singles.items():
            np.testing.assert_array_equal(single.step(orders[t, :, b : b + 1])[:, 0], costs[:, b])
    for b in range(7):
        assert_columns_equal(column(small.state, b), column(big.state, b))
    for b, single in singles.items():
        assert_columns_equal(column(single.state, 0), column(big.state, b))


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_tiles_leave_no_trace(network, seed):
    """Replicas worked off in tiles of 8 give bitwise what one tile gives, in steps as in the fused rollout."""
    replicas = 21
    one, tiled = Twin(network, replicas=replicas, seed=seed), Twin(network, replicas=replicas, seed=seed)
    top, arrays = tiled.compiled.topology, tiled.state.arrays
    costs = np.zeros((len(TERMS), replicas))
    levels = np.random.default_rng(seed).uniform(0.0, 25.0, size=(one.compiled.n_arcs, replicas))
    steps = random_orders(seed, 4, one.compiled.n_arcs, replicas)
    expected = [one.step(orders).copy() for orders in steps]
    positions = one.positions()
    result = one.rollout("base_stock", levels, 2, warm_up=1)
    with pytest.MonkeyPatch.context() as patch:  # after the lines above, which compile what is called below
        patch.setattr(kernel, "_tile", lambda _top, _replicas: 8)
        for orders, wanted in zip(steps, expected, strict=True):
            draws = tiled.tape.block(tiled.state, 1)
            drawn = (draws.demand[0], draws.lead_time[0], draws.availability[0])
            kernel.step.py_func(top, arrays, orders, *drawn, costs, tiled.state.head)
            tiled.state.head += 1
            tiled.state.period += 1
            np.testing.assert_array_equal(wanted, costs)
        position = np.zeros_like(levels)
        kernel.positions.py_func(top, arrays, tiled.state.head, position)
        np.testing.assert_array_equal(position, positions)
        draws, costs[:], service = tiled.tape.block(tiled.state, 3), 0.0, np.zeros((2, replicas))
        head = tiled.state.head
        tiled.state.head = kernel.rollout.py_func(
            top, arrays, kernel.BASE_STOCK, levels, *draws, head, 1, costs, service
        )
        tiled.state.period += 3
    np.testing.assert_array_equal(result.terms, costs / 2)
    np.testing.assert_array_equal(result.served, service[1] / 2)
    assert_same(one.state, tiled.state)


def test_more_replicas_than_one_tile_holds():
    """The last replica of a batch that needs several tiles is bitwise the one that runs alone."""
    compiled = compile_network(library.load("five_site_distribution"))
    many = 2 * kernel._tile.py_func(compiled.topology, 10**9) + 3
    big, last = Twin(compiled, replicas=many, seed=4), Twin(compiled, replicas=1, seed=4)
    last.state = last.initial_state(np.array([4], dtype=np.uint64), np.array([many - 1], dtype=np.uint32))
    for _ in range(3):
        costs = big.step(np.full((5, many), 40.0))
        np.testing.assert_array_equal(last.step(np.full((5, 1), 40.0))[:, 0], costs[:, -1])
    assert_columns_equal(column(last.state, 0), column(big.state, many - 1))


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_one_long_block_of_draws_equals_many_of_one_period(network, seed):
    """Draws do not depend on the length of the block they are taken in, up and down times included."""
    twin = Twin(network, replicas=5, seed=seed)
    long = twin.tape.block(twin.state, PERIODS)
    fixed = twin.compiled.topology.arc_fixed_lead >= 0
    for t in range(PERIODS):
        one = twin.tape.block(twin.state, 1)
        np.testing.assert_array_equal(one.demand[0], long.demand[t])
        np.testing.assert_array_equal(one.lead_time[0][~fixed], long.lead_time[t][~fixed])
        np.testing.assert_array_equal(one.availability[0], long.availability[t])
        twin.step(np.ones((twin.compiled.n_arcs, 5)))


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_a_fork_is_pure(network, seed):
    """Running a fork leaves the original as it was, and fork + continue equals the uninterrupted run."""
    orders = random_orders(seed, PERIODS, len(compile_network(network).arc_names), 3)
    straight, twin = Twin(network, replicas=3, seed=seed), Twin(network, replicas=3, seed=seed)
    for t in range(PERIODS // 2):
        straight.step(orders[t])
        twin.step(orders[t])
    before = twin.state.content_hash()
    fork, other = twin.fork(), twin.fork()
    for t in range(PERIODS // 2, PERIODS):
        straight.step(orders[t])
        fork.step(orders[t])
        other.step(orders[t] + 1.0)
    other.rollout("constant", np.ones(fork.compiled.n_arcs), 3)
    assert twin.state.content_hash() == before
    assert_same(fork.state, straight.state)
    assert other.state.content_hash() != before


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_snapshot_and_restore_continue_the_same_run(network, seed):
    """Snapshot -> JSON text -> restore -> continue equals the uninterrupted run of that replica."""
    twin = Twin(network, replicas=3, seed=seed)
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, 3)
    for t in range(PERIODS // 2):
        twin.step(orders[t])
    text = json.dumps(twin.state.snapshot(1))
    again = Twin(network, replicas=1, seed=0)
    again.state = TwinState.restore(again.compiled, json.loads(text))
    assert json.loads(json.dumps(again.state.snapshot())) == json.loads(text)
    for t in range(PERIODS // 2, PERIODS):
        costs = twin.step(orders[t])
        np.testing.assert_array_equal(again.step(orders[t, :, 1:2])[:, 0], costs[:, 1])
    assert_columns_equal(column(again.state, 0), column(twin.state, 1))


@PROFILE
@given(network=networks(), seed=SEEDS, turn=st.integers(1, 50))
def test_content_hash_ignores_the_ring_position(network, seed, turn):
    """The same pipeline stored at another ring position has the same hash; another number has another hash."""
    twin = Twin(network, replicas=2, seed=seed)
    for orders in random_orders(seed, 4, twin.compiled.n_arcs, 2):
        twin.step(orders)
    turned = twin.state.fork()
    turned.head += turn
    turned.arrays.pipeline[turned.slot_order()] = twin.state.logical_pipeline()
    assert turned.content_hash() == twin.state.content_hash()
    ahead = np.ones((twin.compiled.n_arcs, 2))
    one, two = twin.fork(), twin.fork()
    two.state = turned
    np.testing.assert_array_equal(one.step(ahead), two.step(ahead))
    assert_same(one.state, two.state)
    for array in (turned.arrays.on_hand, turned.arrays.pipeline, turned.period):
        changed = turned.fork()
        mine = dict(zip(map(id, [*turned.arrays, turned.period]), [*changed.arrays, changed.period], strict=True))
        mine[id(array)][0] += 1
        assert changed.content_hash() != turned.content_hash()


@settings(PROFILE, max_examples=25)
@given(network=networks(), seed=SEEDS, replicas=st.sampled_from([3, 514]))
def test_rollout_equals_stepping_from_python(network, seed, replicas):
    """The fused rollout gives the state and the mean costs of the stepwise calls, for both of its policies."""
    compiled = compile_network(network)
    levels = np.random.default_rng(seed).uniform(0.0, 25.0, size=(compiled.n_arcs, replicas))
    for policy in ("base_stock", "constant"):
        fused, stepped = Twin(compiled, replicas=replicas, seed=seed), Twin(compiled, replicas=replicas, seed=seed)
        result = fused.rollout(policy, levels, PERIODS - 3, warm_up=3)
        total = np.zeros_like(result.terms)
        demand, served = np.zeros(replicas), np.zeros(replicas)
        for t in range(PERIODS):
            orders = levels.copy()
            if policy == "base_stock":
                kernel.base_stock_orders(compiled.topology, stepped.positions(), levels, orders)
            costs = stepped.step(orders)
            if t >= 3:
                total += costs
                demand += stepped.state.arrays.demand.sum(0)
                served += stepped.state.arrays.served.sum(0)
        assert_same(fused.state, stepped.state)
        np.testing.assert_allclose(result.terms, total / (PERIODS - 3), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.demand, demand / (PERIODS - 3), rtol=1e-12)
        np.testing.assert_allclose(result.served, served / (PERIODS - 3), rtol=1e-12)


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_positions_and_base_stock_orders_by_their_definition(network, seed):
    """Positions count what the docstring says, found from the network's names; orders fill them up to the levels."""
    twin = Twin(network, replicas=1, seed=seed)
    compiled, top = twin.compiled, twin.compiled.topology
    for orders in random_orders(seed, 7, compiled.n_arcs, 1):
        twin.step(orders)
    state = twin.state.snapshot()
    before_receipt = top.phase_order == ORDER_RECEIVE_DEMAND
    names, target = compiled.arc_names, [compiled.stock_names[i] for i in top.arc_destination]
    inputs = [
        {compiled.stock_names[top.in_stock[j]]: top.in_coefficient[j] for j in range(top.in_ptr[a], top.in_ptr[a + 1])}
        for a in range(len(names))
    ]
    position, mean = twin.positions()[:, 0], compiled.lead_mean
    owed = dict.fromkeys(compiled.stock_names, 0.0)
    for key, stream in network.demands.items():
        owed[f"{stream.site}/{stream.product}"] += state["backlog"][key]
    for a, name in enumerate(names):
        for stock, coefficient in inputs[a].items():
            owed[stock] += coefficient * state["backorders"][name]
    for a in range(len(names)):
        group = sorted((b for b in range(len(names)) if target[b] == target[a]), key=lambda b: mean[b])
        nearer = group[: group.index(a) + 1]
        horizon = int(np.floor(mean[a] + 0.5)) - (0 if before_receipt else 1)
        expected = state["on_hand"][target[a]] - owed[target[a]]
        expected += sum(state["backorders"][names[b]] for b in nearer)
        for b in group:
            for k, amount in state["pipeline"][names[b]].items():
                expected += amount if int(k) <= horizon or a == group[-1] else 0.0
        np.testing.assert_allclose(position[a], expected, rtol=1e-9, atol=1e-9)
    levels = np.random.default_rng(seed).uniform(0.0, 40.0, size=(len(names), 1))
    orders = np.zeros_like(levels)
    kernel.base_stock_orders(top, twin.positions(), levels, orders)
    if any(lane.origin > lane.destination for lane in network.lanes if lane.origin in network.sites):
        return  # a ring has no downstream end; the order of decisions in it is the file's
    for a in range(len(names)):
        group = sorted((b for b in range(len(names)) if target[b] == target[a]), key=lambda b: mean[b])
        drawn = sum(inputs[b].get(target[a], 0.0) * orders[b, 0] for b in range(len(names)))
        nearer = sum(orders[b, 0] for b in group[: group.index(a)])
        expected = min(max(0.0, levels[a, 0] - (position[a] - drawn + nearer)), top.arc_order_limit[a])
        np.testing.assert_allclose(orders[a, 0], expected, rtol=1e-9, atol=1e-9)


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_two_instances_with_one_seed_are_identical(network, seed):
    """The seed decides everything: two twins agree bitwise, and a reset replays the run."""
    first, second = Twin(network, replicas=3, seed=seed), Twin(network, replicas=3, seed=seed)
    orders = random_orders(seed, PERIODS, first.compiled.n_arcs, 3)
    for t in range(PERIODS):
        np.testing.assert_array_equal(first.step(orders[t]), second.step(orders[t]))
    assert_same(first.state, second.state)
    first.reset(seed)
    for t in range(PERIODS):
        first.step(orders[t])
    assert_same(first.state, second.state)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63])
def test_another_seed_is_another_world(seed):
    """Neighbouring seeds, and seeds that differ only in the upper half, give other demands."""
    here = Twin(library.load("five_site_distribution"), replicas=4, seed=seed)
    there = Twin(library.load("five_site_distribution"), replicas=4, seed=seed + 1)
    upper = Twin(library.load("five_site_distribution"), replicas=4, seed=seed ^ 2**40)
    demands = [twin.tape.block(twin.state, 20).demand for twin in (here, there, upper)]
    assert (demands[0] != demands[1]).mean() > 0.8
    assert (demands[0] != demands[2]).mean() > 0.8


@pytest.mark.parametrize("replicas", [3, 514])
def test_long_rollouts_are_cut_into_blocks_without_a_trace(monkeypatch, replicas):
    """A rollout whose draws do not fit one block gives the numbers of one that does."""
    network = library.load("five_site_distribution")
    whole, cut = Twin(network, replicas=replicas, seed=3), Twin(network, replicas=replicas, seed=3)
    levels = np.array([500.0, 80.0, 90.0, 90.0, 60.0])
    expected = whole.rollout("base_stock", levels, 30, warm_up=10)
    monkeypatch.setattr("twin.engine._BLOCK_NUMBERS", 7 * replicas * 11)
    result = cut.rollout("base_stock", levels, 30, warm_up=10)
    np.testing.assert_allclose(result.terms, expected.terms, rtol=1e-12)
    assert_same(whole.state, cut.state)


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_repeated_paths_equal_paths_drawn_again(network, seed):
    """A rollout told that its replicas are copies of the same paths gives what drawing every copy gives."""
    compiled = compile_network(network)
    again, once = Twin(compiled, replicas=6, seed=seed), Twin(compiled, replicas=6, seed=seed)
    copies = np.tile(np.arange(2, dtype=np.uint32), 3)
    for twin in (again, once):
        twin.state = twin.initial_state(np.full(6, seed, dtype=np.uint64), copies)
    levels = np.random.default_rng(seed).uniform(0.0, 25.0, size=(compiled.n_arcs, 6))
    expected = again.rollout("base_stock", levels, PERIODS)
    result = once.rollout("base_stock", levels, PERIODS, repeat=3)
    np.testing.assert_array_equal(result.terms, expected.terms)
    assert_same(once.state, again.state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_step_refuses_what_is_not_a_number(bad):
    """A NaN or an infinite order is refused with the arc's name, and the state has not moved."""
    twin = Twin(library.load("lost_sales_zipkin2008"), replicas=2, seed=0)
    before = twin.state.content_hash()
    with pytest.raises(ValueError, match="supplier->store:truck:item"):
        twin.step([[1.0, bad]])
    with pytest.raises(ValueError, match=r"shape \(arcs, replicas\) = \(1, 2\), received \(2, 2\)"):
        twin.step([[1.0, 1.0], [1.0, 1.0]])
    assert twin.state.content_hash() == before


def three_stores(*, integer, on_hand, capacity=100.0, rationing="proportional", unfilled="cancelled"):
    """A hub that three stores order from over one shared quay."""
    item = {"integer": integer}
    law = {"distribution": "fixed", "value": 1}
    stores = ("a", "b", "c")
    mode = {"lead_time": 1, "uses": {"quay": 1}, "unfilled": unfilled}
    return Network.parse(
        {
            "name": "shortage",
            "products": {"item": item},
            "suppliers": {"maker": {"offers": {"item": {}}}},
            "resources": {"quay": {"capacity": capacity, "rationing": rationing}},
            "sites": {"hub": {"rationing": rationing, "stock": {"item": {"initial": on_hand}}}}
            | {name: {"stock": {"item": {}}} for name in stores},
            "lanes": [{"from": "maker", "to": "hub", "product": "item", "modes": {"truck": {"lead_time": 5}}}]
            + [{"from": "hub", "to": name, "product": "item", "modes": {"truck": mode}} for name in stores],
            "demands": {name: {"site": name, "product": "item", "distribution": law} for name in stores},
        }
    )


@pytest.mark.parametrize(("rationing", "expected"), [("proportional", [2.0, 4.0, 6.0]), ("priority", [4.0, 8.0, 0.0])])
@pytest.mark.parametrize("short", ["stock", "quay"])
def test_rationing_by_hand(rationing, expected, short):
    """Of 12 units for requests of 4, 8, 12, shares give 2, 4, 6 and file order gives 4, 8, 0; the rest is cancelled."""
    limits = {"on_hand": 12.0} if short == "stock" else {"on_hand": 500.0, "capacity": 12.0}
    twin = Twin(three_stores(integer=False, rationing=rationing, **limits))
    twin.step([[0.0], [4.0], [8.0], [12.0]])
    assert twin.state.arrays.shipped[1:, 0].tolist() == expected
    assert not twin.state.arrays.backorders.any()


def test_backorders_by_hand():
    """What a backordering arc was not sent is owed, asked for again every period, and shipped once there is stock."""
    twin = Twin(three_stores(integer=False, on_hand=6.0, unfilled="backordered"))
    twin.step([[30.0], [4.0], [8.0], [0.0]])
    assert twin.state.arrays.backorders[:, 0].tolist() == [0.0, 2.0, 4.0, 0.0]
    for _ in range(4):
        twin.step(np.zeros((4, 1)))
        assert twin.state.arrays.backorders[:, 0].tolist() == [0.0, 2.0, 4.0, 0.0]
    twin.step(np.zeros((4, 1)))
    assert twin.state.arrays.shipped[:, 0].tolist() == [0.0, 2.0, 4.0, 0.0]
    assert not twin.state.arrays.backorders.any()


@pytest.mark.parametrize("short", ["stock", "quay"])
def test_whole_units_are_shipped_as_far_as_they_go(short):
    """Three stores ask for one whole unit each and there are two: two are shipped, not none."""
    limits = {"on_hand": 2.0} if short == "stock" else {"on_hand": 500.0, "capacity": 2.0}
    twin = Twin(three_stores(integer=True, **limits))
    twin.step([[0.0], [1.0], [1.0], [1.0]])
    assert twin.state.arrays.shipped[1:, 0].sum() == 2.0


@pytest.mark.parametrize("levels", [[np.nan], [np.inf], [[1.0, 2.0, 3.0]], [1.0, 2.0]], ids=repr)
def test_rollout_refuses_levels_that_cannot_be(levels):
    """Levels of a wrong shape, NaN or infinite are refused as an ActionError that says what is allowed."""
    with pytest.raises(ActionError, match="levels"):
        Twin(library.load("lost_sales_zipkin2008"), replicas=2).rollout("base_stock", levels, 5)


def test_rollout_refuses_unknown_policies_and_no_periods():
    """Another policy name and a count of 0 periods are refused, and nothing has moved."""
    twin = Twin(library.load("lost_sales_zipkin2008"), replicas=2)
    before = twin.state.content_hash()
    with pytest.raises(ActionError, match="base_stok"):
        twin.rollout("base_stok", [5.0], 5)
    with pytest.raises(ActionError, match="periods"):
        twin.rollout("base_stock", [5.0], 0)
    assert twin.state.content_hash() == before
