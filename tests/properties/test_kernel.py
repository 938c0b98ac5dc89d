"""The kernel on random networks: it equals a naive second implementation, and its rules hold in every period."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference import TERMS, ReferenceTwin, Shelf, flatten
from tests.reference_disruptions import Chance
from tests.strategies import dealt_networks, networks, random_moves, random_orders
from twin import kernel, library
from twin.compile import compile_network
from twin.economics import COST_TERMS, terminal_value
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import PHASE_ORDERS, Network
from twin.state import RINGS, StateArrays, TwinState
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND
from twin.uniforms import uniforms

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


def _on_calendar(network: Network, period: int) -> dict[str, float]:
    """Share of its capacity that every resource of the file has in a period."""
    days = {name: resource.calendar or (1.0,) for name, resource in network.resources.items()}
    return {name: shares[period % len(shares)] for name, shares in days.items()}


def assert_same(first: TwinState, second: TwinState) -> None:
    """Every number of two states is bitwise the same."""
    assert first.content_hash() == second.content_hash()


def column(state: TwinState, index: int) -> dict[str, np.ndarray]:
    """All numbers of one replica."""
    return {name: state.logical(name)[:, index] for name in StateArrays._fields}


def assert_columns_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """Two replicas hold bitwise the same numbers."""
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_the_reference_names_the_terms_of_the_engine():
    """The comparison below compares like with like: both list the same cost terms in the same order."""
    assert tuple(term.name for term in COST_TERMS) == TERMS


def assert_near(got: np.ndarray, expected: list, what: str) -> None:
    """Two arrays agree to rounding."""
    expected = np.asarray(expected, dtype=np.float64).reshape(got.shape)
    if not (np.abs(got - expected) <= 1e-9 + 1e-9 * np.abs(expected)).all():
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=what)


def numbers(reference: ReferenceTwin, slots: list[int]) -> dict[str, list[float]]:
    """The numbers of a reference in the order of the state's arrays; ``slots[a]`` is the length of a pipeline."""
    out = {
        "on_hand": list(reference.on_hand.values()),
        "pipeline": [reference.pipeline(a).get(k, 0.0) for a, n in enumerate(slots) for k in range(n)],
        "in_transit": [reference.in_transit(a) for a in range(len(slots))],
        "mail": [units for mail in reference.mail for units in mail],
        "layers": [],
        "transit_layers": [],
    }
    for point, pile in reference.stock.items():
        if isinstance(pile, Shelf):  # rows in the order in which they leave
            there, product = reference.by_age(point), reference.network.products[point[1]]
            if product.issue != "first_in":
                lives = sorted(range(1, product.shelf_life + 1), reverse=product.issue == "last_expired")
                out["layers"] += [sum(v for (_, r), v in there.items() if r == life) for life in lives]
                continue
            for age in reversed(range(product.shelf_life)):
                out["layers"] += [there.pop((age, life), 0.0) for life in range(1, product.shelf_life - age + 1)]
            assert not any(there.values()), "older than its life allows"
    for a, arc in enumerate(reference.arcs):
        if arc.moves_stock and arc.product.shelf_life is not None:
            there, lives = reference.pipeline_by_life(a), range(1, arc.product.shelf_life + 1)
            out["transit_layers"] += [there.get((k, life), 0.0) for k in range(slots[a]) for life in lives]
    for name in ("backorders", "shipped"):
        out[name] = getattr(reference, name)
    for name in ("demand", "served", "lost", "delivered", "backlog", "goodwill", "wasted"):
        out[name] = list(getattr(reference, name).values())
    out["availability"] = list(reference.available.values())
    return out | reference.disruptions.rows() | reference.dealings.rows()


def chances(seed: int, replica: int) -> Chance:
    """The uniform numbers of one replica: (stream, entity, period) to a number."""
    return lambda stream, entity, period: float(
        uniforms(seed, stream, entity, first_replica=replica, first_period=period)[0, 0]
    )


@settings(PROFILE, max_examples=500)
@given(network=networks(), seed=SEEDS)
def test_kernel_equals_the_reference(network, seed):
    """On the same draws and orders, the kernel and the plain-Python reference agree in every state and cost number."""
    assert_equals_the_reference(network, seed)


@settings(PROFILE, max_examples=300)
@given(network=dealt_networks(), seed=SEEDS)
def test_contracts_and_prices_equal_the_reference(network, seed):
    """So they do with contracts, expediting, breaks and moving prices, whatever moves are made."""
    assert_equals_the_reference(network, seed)


def assert_equals_the_reference(network: Network, seed: int) -> None:
    """Kernel and reference agree before every period and in every cost term; so do the moves that they allow."""
    replicas = 2
    twin = Twin(network, replicas=replicas, seed=seed)
    first = twin.tape.demand(twin.initial_state(twin.state.seed, twin.state.replica), 1)[0]
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, replicas)
    windows = np.floor(twin.compiled.lead_mean + 0.5).astype(int).tolist()
    slots = np.diff(twin.compiled.topology.pipe_ptr).tolist()
    moves = random_moves(seed, PERIODS, len(twin.compiled.relation_names), replicas)
    references = [ReferenceTwin(network, windows, first[:, b].tolist(), chances(seed, b)) for b in range(replicas)]
    for t in range(PERIODS + 1):
        expected = [numbers(reference, slots) for reference in references]
        assert set(expected[0]) == set(StateArrays._fields)
        for name in StateArrays._fields:
            for b in range(replicas):
                assert_near(twin.state.logical(name)[:, b], expected[b][name], f"{name}, before period {t}")
        if t == PERIODS:
            break
        draws = twin.tape.block(twin.state, 1)
        lead = leads(twin, draws.lead_time[0])
        for b, reference in enumerate(references):
            assert twin.allowed_moves()[:, :, b].tolist() == reference.dealings.allowed(reference.under_way)
        costs = twin.step(orders[t], moves=moves[t])
        for b, reference in enumerate(references):
            drawn = (draws.demand[0][:, b].tolist(), lead[:, b].tolist())
            terms = reference.step(orders[t, :, b], *drawn, moves[t, :, b].tolist())
            assert_near(costs[:, b], list(terms.values()), f"costs of period {t}")


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_material_balance(network, seed):
    """What entered minus what left and perished equals what is there, and every order is in the mail, met or owed."""
    twin = Twin(network, replicas=3, seed=seed)
    top, arrays, arcs = twin.compiled.topology, twin.state.arrays, flatten(network)
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, 3)
    into = np.zeros((twin.compiled.n_stocks, twin.compiled.n_arcs))
    into[top.arc_destination, np.arange(twin.compiled.n_arcs)] = 1.0
    out_of = np.zeros_like(into)
    for a in range(twin.compiled.n_arcs):
        for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
            out_of[top.in_stock[j], a] += top.in_coefficient[j]
    sold = np.zeros((twin.compiled.n_stocks, twin.compiled.n_demands))
    sold[top.demand_stock, np.arange(twin.compiled.n_demands)] = 1.0
    perishable = [name for i, (_, name) in enumerate(network.stock_points()) if network.products[name].shelf_life]
    points = [i for i, (_, name) in enumerate(network.stock_points()) if network.products[name].shelf_life]
    assert len(arrays.wasted) == len(perishable)
    uses = np.array([[name in arc.uses for name in network.resources] for arc in arcs]).reshape(len(arcs), -1)
    waits, backorders = (np.array([getattr(arc, name) for arc in arcs])[:, None] for name in ("waits", "backorders"))

    def under_way(name: str, ptr: np.ndarray) -> np.ndarray:
        return np.array([getattr(arrays, name)[ptr[a] : ptr[a + 1]].sum(0) for a in range(len(arcs))])

    for t in range(PERIODS):
        pipeline, mail = under_way("pipeline", top.pipe_ptr), under_way("mail", top.mail_ptr)
        there, owed, promised = arrays.on_hand + into @ pipeline, arrays.backlog.copy(), arrays.backorders.copy()
        down = uses.astype(float) @ (arrays.availability == 0.0) > 0
        twin.step(orders[t])
        now = arrays.on_hand + into @ under_way("pipeline", top.pipe_ptr)
        moved = into @ arrays.shipped - out_of @ arrays.shipped - sold @ arrays.delivered
        moved[points] -= arrays.wasted
        np.testing.assert_allclose(now - there, moved, rtol=0, atol=1e-7)
        np.testing.assert_allclose(under_way("pipeline", top.pipe_ptr), arrays.in_transit, rtol=0, atol=1e-9)
        backlogs = top.demand_backlogs[:, None]
        np.testing.assert_allclose(
            np.where(backlogs, arrays.backlog - owed, arrays.lost), arrays.demand - arrays.delivered, atol=1e-9
        )
        placed = np.array([[arc.nearest_feasible(q) for q in row] for arc, row in zip(arcs, orders[t], strict=True)])
        reached = mail + placed - under_way("mail", top.mail_ptr)
        assert (reached >= -1e-9).all()
        reached = np.where(down & ~waits, 0.0, reached)
        cancelled = promised + reached - arrays.shipped - arrays.backorders
        np.testing.assert_allclose(np.where(backorders | down, cancelled, 0.0), 0.0, atol=1e-9)
        assert (cancelled >= -1e-9).all()
        assert not np.where(backorders | down, 0.0, arrays.backorders).any()
        assert not arrays.shipped[down].any()


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_nothing_is_negative_and_no_limit_is_exceeded(network, seed):
    """No stock, pipeline or promise falls below 0; capacities hold, times availability; capacity 0 ships nothing."""
    twin = Twin(network, replicas=3, seed=seed)
    top, arrays = twin.compiled.topology, twin.state.arrays
    for orders in random_orders(seed, PERIODS, twin.compiled.n_arcs, 3):
        available, on_calendar = arrays.availability.copy(), _on_calendar(network, int(twin.state.period[0]))
        twin.step(orders)
        for name, array in zip(StateArrays._fields, arrays, strict=True):
            assert (array >= 0.0).all(), name
            assert np.isfinite(array).all(), name
        assert (arrays.goodwill <= 1.0 + 1e-12).all()
        assert (arrays.shipped <= top.arc_capacity[:, None] * (1 + 1e-12)).all()
        assert not arrays.shipped[top.arc_capacity == 0.0].any()
        used = np.zeros_like(available)
        for a in range(twin.compiled.n_arcs):
            for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
                used[top.use_resource[j]] += top.use_coefficient[j] * arrays.shipped[a]
        capacity = np.broadcast_to(top.resource_capacity[:, None], available.shape)
        limit = np.multiply(capacity, available, out=np.zeros_like(available), where=available > 0.0)
        limit *= np.array([*on_calendar.values(), *[1.0] * (len(limit) - len(on_calendar))]).reshape(-1, 1)
        assert (used <= limit + 1e-8).all()
        assert not used[limit == 0.0].any()
        whole = arrays.shipped[top.arc_integer]
        np.testing.assert_array_equal(whole, np.round(whole))


@PROFILE
@given(network=networks(), seed=SEEDS)
def test_layers_add_up_and_nothing_outlives_its_shelf_life(network, seed):
    """Layers sum to the stock, those under way to the pipeline; without receipts all is gone after a shelf life."""
    twin = Twin(network, replicas=2, seed=seed)
    compiled, top = twin.compiled, twin.compiled.topology
    lives = [network.products[name].shelf_life or 0 for _, name in network.stock_points()]
    arcs = flatten(network)

    def check() -> None:
        pipeline, layers = twin.state.logical("pipeline"), twin.state.logical("transit_layers")
        for i, life in enumerate(lives):
            rows = twin.state.arrays.layers[top.layer_ptr[i] : top.layer_ptr[i + 1]]
            assert bool(len(rows)) == bool(life)
            if life:
                np.testing.assert_allclose(rows.sum(0), twin.state.arrays.on_hand[i], rtol=0, atol=1e-9)
        for a, arc in enumerate(arcs):
            rows = layers[top.transit_ptr[a] : top.transit_ptr[a + 1]]
            assert bool(len(rows)) == (arc.moves_stock and arc.product.shelf_life is not None)
            if len(rows):
                slots = pipeline[top.pipe_ptr[a] : top.pipe_ptr[a + 1]]
                np.testing.assert_allclose(rows.reshape(len(slots), -1, 2).sum(1), slots, rtol=0, atol=1e-9)

    check()
    for orders in random_orders(seed, PERIODS, compiled.n_arcs, 2):
        twin.step(orders)
        check()
    for _ in range(int(np.diff(top.pipe_ptr).max()) + max(arc.terms.order_delay for arc in arcs) + max(lives)):
        twin.state.arrays.backorders[:] = 0.0
        twin.step(np.zeros((compiled.n_arcs, 2)))
    assert not twin.state.arrays.on_hand[np.array(lives) > 0].any()


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
        at_once &= top.arc_crossing[:, None] | (before.in_transit == 0.0)
        transit = before.in_transit + np.where(at_once, 0.0, shipped)
        if phase == RECEIVE_DEMAND_ORDER:
            on_hand, customers = before.on_hand.copy(), before
            on_hand[top.stock_waste >= 0] -= after.wasted
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
        for name, share in zip(twin.compiled.resource_names, before.availability, strict=True):
            if name in network.resources:
                usual, down = network.resources[name].overhead, network.resources[name].overhead_when_down
                used += np.where(share == 0.0, usual if down is None else down, usual)
        backlogs = top.demand_backlogs
        expected = {
            "holding": top.stock_holding @ on_hand,
            "transit_holding": top.arc_transit_holding @ transit,
            "backlog": top.demand_penalty[backlogs] @ customers.backlog[backlogs]
            + top.arc_backorder_cost @ after.backorders,
            "lost_sales": top.demand_penalty[~backlogs] @ customers.lost[~backlogs],
            "purchase": top.arc_unit_cost @ shipped,
            "freight": top.arc_freight @ shipped,
            "fixed_order": top.arc_fixed @ (shipped > 0.0),
            "resource": used,
            "emissions": top.arc_emission_cost @ shipped,
            "revenue": -(top.demand_price @ customers.delivered),
            "waste": top.stock_waste_cost[top.stock_waste >= 0] @ after.wasted,
        }
        if top.arc_life.any() and phase != ORDER_RECEIVE_DEMAND:  # the states do not tell what perished on which arc
            expected["holding"], expected["transit_holding"] = costs["holding"].copy(), costs["transit_holding"].copy()
        for name, value in expected.items():
            np.testing.assert_allclose(costs[name], value, rtol=1e-9, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(sum(costs.values()), sum(expected.values()), rtol=1e-9, atol=1e-6)


@settings(PROFILE, max_examples=20)
@given(network=networks(), seed=SEEDS)
def test_terminal_value_of_what_is_there_and_what_is_coming(network, seed):
    """The end of a horizon pays terminal_value for every unit on hand and for every unit on its way to there."""
    twin = Twin(network, replicas=2, seed=seed)
    orders = random_orders(seed, 4, twin.compiled.n_arcs, 2)
    for t in range(4):
        twin.step(orders[t])
    state, expected = twin.state.snapshot(1), 0.0
    for site, product in network.stock_points():
        worth = network.sites[site].stock[product].terminal_value
        expected += worth * state["on_hand"][f"{site}/{product}"]
        for arc, name in zip(flatten(network), twin.compiled.arc_names, strict=True):
            if arc.target == (site, product):
                expected += worth * sum(state["pipeline"][name].values())
        for key, stream in network.demands.items():
            # There the state stands behind a demand phase that no period has been charged for yet.
            if network.phases == ("receive", "demand", "order") and (stream.site, stream.product) == (site, product):
                expected += worth * state["delivered"][key]
    np.testing.assert_allclose(terminal_value(twin.state)[1], expected, rtol=1e-9, atol=1e-9)
    result = twin.rollout("constant", np.ones(twin.compiled.n_arcs), 2)
    np.testing.assert_array_equal(result.terminal_value, terminal_value(twin.state))


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
    packed, store = tiled.compiled.topology.pack(), tiled.state.store
    costs = np.zeros((len(TERMS), replicas))
    levels = np.random.default_rng(seed).uniform(0.0, 25.0, size=(one.compiled.n_arcs, replicas))
    steps = random_orders(seed, 4, one.compiled.n_arcs, replicas)
    expected = [one.step(orders).copy() for orders in steps]
    positions = one.positions()
    result = one.rollout("base_stock", levels, 2, warm_up=1)
    with pytest.MonkeyPatch.context() as patch:  # after the lines above, which compile what is called below
        patch.setattr(kernel, "_tile", lambda _rows, _replicas, _itemsize: 8)
        for orders, wanted in zip(steps, expected, strict=True):
            draws = tiled.tape.block(tiled.state, 1)
            drawn = (draws.demand[0], draws.lead_time[0], draws.availability[0])
            kernel.step.py_func(packed, store, orders, *drawn, costs, tiled.state.head, tiled.state.period)
            tiled.state.exogenous[:] = draws.processes[0]
            tiled.state.head += 1
            tiled.state.period += 1
            np.testing.assert_array_equal(wanted, costs)
        position = np.zeros_like(levels)
        kernel.positions.py_func(packed, store, tiled.state.head, position)
        np.testing.assert_array_equal(position, positions)
        draws, costs[:], service = tiled.tape.block(tiled.state, 3), 0.0, np.zeros((2, replicas))
        head = tiled.state.head
        tiled.state.head = kernel.rollout.py_func(
            packed, store, kernel.BASE_STOCK, levels, *draws[:3], head, tiled.state.period, 1, costs, service
        )
        tiled.state.exogenous[:] = draws.processes[-1]
        tiled.state.period += 3
    np.testing.assert_array_equal(result.terms, costs / 2)
    np.testing.assert_array_equal(result.served, service[1] / 2)
    assert_same(one.state, tiled.state)


@settings(PROFILE, max_examples=10)
@given(network=networks())
def test_packed_arrays_have_the_names_of_their_classes(network):
    """What the kernel unpacks by position is, field by field, the topology and the state under the same names."""
    twin = Twin(network, replicas=2, seed=1)
    top = twin.compiled.topology
    packed = top.pack()
    unpacked = kernel._topology.py_func(packed)  # views of what is held here
    assert len(packed.marks) == len(top._fields) == len(unpacked)
    for name in top._fields:
        np.testing.assert_array_equal(getattr(unpacked, name), getattr(top, name), err_msg=name)
    numbers = twin.state.store.numbers
    numbers[:] = np.arange(numbers.size).reshape(numbers.shape)
    views = kernel._arrays.py_func(twin.state.store)
    assert views._fields == StateArrays._fields
    for name in StateArrays._fields:
        np.testing.assert_array_equal(getattr(views, name), getattr(twin.state.arrays, name), err_msg=name)


def test_the_first_replicas_of_a_state_move_on_a_copy():
    """A view of some replicas is refused, since it would move the others; its fork moves as those replicas do."""
    network = library.load("five_site_distribution")
    whole, other = Twin(network, replicas=8, seed=3), Twin(network, replicas=8, seed=3)
    expected = other.step(np.full((5, 8), 40.0))
    before = whole.state.content_hash()
    with pytest.raises(ActionError, match="fork"):
        whole.at(whole.state.first(3))
    part = whole.at(whole.state.first(3).fork())
    np.testing.assert_array_equal(part.step(np.full((5, 3), 40.0)), expected[:, :3])
    for mine, theirs in zip(part.state.arrays, other.state.arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs[:, :3])
    assert whole.state.content_hash() == before


def test_more_replicas_than_one_tile_holds():
    """The last replica of a batch that needs several tiles is bitwise the one that runs alone."""
    compiled = compile_network(library.load("five_site_distribution"))
    rows = Twin(compiled).state.store.numbers.shape[0]
    many = 2 * kernel._tile.py_func(rows, 10**9, 8) + 3
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
        np.testing.assert_array_equal(one.processes[0], long.processes[t])
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
    for name in RINGS:
        getattr(turned.arrays, name)[turned.ring_order(name)] = twin.state.logical(name)
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
                orders = stepped.base_stock_orders(stepped.positions(), levels)
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
    delay = np.array([arc.terms.order_delay for arc in flatten(network)])
    position, mean = twin.positions()[:, 0], compiled.lead_mean + delay
    owed = dict.fromkeys(compiled.stock_names, 0.0)
    for key, stream in network.demands.items():
        owed[f"{stream.site}/{stream.product}"] += state["backlog"][key]
    for a, name in enumerate(names):
        for stock, coefficient in inputs[a].items():
            owed[stock] += coefficient * state["backorders"][name]
    for a in range(len(names)):
        group = sorted((b for b in range(len(names)) if target[b] == target[a]), key=lambda b: mean[b])
        nearer = group[: group.index(a) + 1]
        horizon = int(np.floor(compiled.lead_mean[a] + 0.5)) + delay[a] - (0 if before_receipt else 1)
        expected = state["on_hand"][target[a]] - owed[target[a]]
        expected += sum(state["backorders"][names[b]] for b in nearer)
        for b in group:
            lands = int(np.floor(compiled.lead_mean[b] + 0.5)) - (0 if before_receipt else 1)
            for k, amount in state["mail"].get(names[b], {}).items():
                expected += amount if b in nearer or int(k) + lands <= horizon else 0.0
            for k, amount in state["pipeline"][names[b]].items():
                expected += amount if int(k) <= horizon or a == group[-1] else 0.0
        np.testing.assert_allclose(position[a], expected, rtol=1e-9, atol=1e-9)
    levels = np.random.default_rng(seed).uniform(0.0, 40.0, size=(len(names), 1))
    orders = twin.base_stock_orders(twin.positions(), levels)
    if any(lane.origin > lane.destination for lane in network.lanes if lane.origin in network.sites):
        return  # a ring has no downstream end; the order of decisions in it is the file's
    for a in range(len(names)):
        group = sorted((b for b in range(len(names)) if target[b] == target[a]), key=lambda b: mean[b])
        drawn = sum(inputs[b].get(target[a], 0.0) * orders[b, 0] for b in range(len(names)))
        nearer = sum(orders[b, 0] for b in group[: group.index(a)])
        expected = min(max(0.0, levels[a, 0] - (position[a] - drawn + nearer)), top.arc_order_limit[a])
        np.testing.assert_allclose(orders[a, 0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("phases", PHASE_ORDERS)
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_days_in_the_mail_are_days_of_lead_time(phases, delay):
    """From a source without limits, an order delay of n and a lead time of L act as a lead time of n + L."""

    def costs(**terms: int) -> np.ndarray:
        modes = {"near": {"lead_time": 2, "freight_cost": 3.0}, "far": terms}  # freight is due when it ships: later
        data = {
            "name": "mail",
            "phases": list(phases),
            "products": {"item": {}},
            "suppliers": {"maker": {"offers": {"item": {}}}},
            "sites": {"shop": {"stock": {"item": {"holding_cost": 1.0, "initial": 30.0}}}},
            "lanes": [{"from": "maker", "to": "shop", "product": "item", "modes": modes}],
            "demands": {
                "d": {"site": "shop", "product": "item", "distribution": {"distribution": "poisson", "mean": 5.0}}
            },
        }
        data["demands"]["d"] |= {"unmet": "backlog", "penalty": 9.0}
        return Twin(Network.parse(data), replicas=4, seed=2).rollout("base_stock", [20.0, 45.0], 60, warm_up=10).cost

    np.testing.assert_allclose(costs(lead_time=6 - delay, order_delay=delay), costs(lead_time=6), rtol=1e-12)


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


def one_lane(terms, *, product=None, phases=("receive", "order", "demand"), demand=0, resources=None, **store):
    """One store that one supplier serves on one lane with these terms."""
    return Network.parse(
        {
            "name": "lane",
            "phases": list(phases),
            "products": {"item": product or {}},
            "suppliers": {"maker": {"offers": {"item": {}}}},
            "resources": resources or {},
            "sites": {"store": {"stock": {"item": store}}},
            "lanes": [
                {"from": "maker", "to": "store", "product": "item", "modes": {"truck": {"lead_time": 1} | terms}}
            ],
            "demands": {"d": {"site": "store", "product": "item", "distribution": demand}},
        }
    )


def played(network, *orders, watch="shipped"):
    """One row of an array after each of these orders on the last arc, the others ordering nothing."""
    twin = Twin(network)
    out = []
    for order in orders:
        twin.step(np.append(np.zeros(twin.compiled.n_arcs - 1), order)[:, None])
        out.append(float(getattr(twin.state.arrays, watch)[-1, 0]))
    return out


def test_a_calendar_by_hand():
    """Nothing, half and all of a capacity in turn; a closed day is no outage, so that what is owed goes out later."""
    resources = {"gate": {"capacity": 10, "calendar": [0, 0.5, 1]}}
    lane = one_lane({"uses": {"gate": 1}, "unfilled": "backordered"}, resources=resources)
    assert played(lane, 8, 0, 0, 20, 0, 0) == [0, 5, 3, 0, 5, 10]
    assert played(lane, 8, 0, 0, 20, watch="backorders") == [8, 3, 0, 20]


def test_an_overhead_by_hand():
    """Every period costs it, used or not; while the resource is down, what it costs then."""
    down = {"windows": [{"start": 2, "duration": 1}]}
    resources = {"ship": {"capacity": 1, "overhead": 7, "overhead_when_down": 11, "availability": down}}
    twin = Twin(one_lane({"uses": {"ship": 1}}, resources=resources))
    row = TERMS.index("resource")
    assert [float(twin.step([[0.0]])[row, 0]) for _ in range(4)] == [7, 7, 11, 7]


@pytest.mark.parametrize(
    ("terms", "whole", "asked", "placed"),
    [
        ({"minimum_order": 3}, False, [-1, 0, 1.4, 1.5, 2.9, 3, 3.2], [0, 0, 0, 3, 3, 3, 3.2]),
        ({"minimum_order": 2.5}, True, [1.4, 1.5, 2.6, 3.4, 3.5], [0, 3, 3, 3, 4]),
        ({"lot_size": 4, "maximum_order": 15}, False, [1.9, 2, 5.9, 6, 100], [0, 4, 4, 8, 12]),
        ({"lot_size": 5, "minimum_order": 7}, True, [4.9, 5, 9, 12.4, 12.5], [0, 10, 10, 10, 15]),
        ({"lot_size": 3, "minimum_order": 6, "maximum_order": 6}, True, [2.9, 3, 9], [0, 6, 6]),
        ({"lot_size": 0.5, "maximum_order": 1.75}, False, [0.2, 0.25, 0.9, 8], [0, 0.5, 1, 1.5]),
        ({"maximum_order": 4.5}, True, [0.4, 0.5, 4.4, 4.5, 9], [0, 1, 4, 4, 4]),
        ({"lot_size": 4, "maximum_order": 15, "capacity": 10}, True, [6, 100], [8, 10]),
    ],
    ids=str,
)
def test_feasible_orders_by_hand(terms, whole, asked, placed):
    """Minimum, lots and maximum make of every order the nearest feasible one; a half goes up; capacity comes after."""
    assert played(one_lane(terms, product={"integer": whole}), *asked) == placed


@pytest.mark.parametrize("phases", [("receive", "order", "demand"), ("order", "receive", "demand")])
def test_orders_in_the_mail_by_hand(phases):
    """An order that takes two periods to its source ships in the third; the mail begins with the initial flow."""
    assert played(one_lane({"order_delay": 2}, phases=phases), 7, 0, 5, 1, 0) == [0, 0, 7, 0, 5]
    assert played(one_lane({"order_delay": 2, "initial_flow": 3}, phases=phases), 7, 8, 9, 0) == [3, 3, 7, 8]
    delayed = one_lane({"order_delay": 3, "initial_flow": 3, "lead_time": 2}, phases=phases)
    state = Twin(delayed).state.snapshot()
    assert state["mail"] == {"maker->store:truck:item": {"0": 3.0, "1": 3.0, "2": 3.0}}
    assert sum(state["pipeline"]["maker->store:truck:item"].values()) + state["on_hand"]["store/item"] == 6.0


@pytest.mark.parametrize(
    ("terms", "shipped", "owed"),
    [
        ({}, [4, 0, 3], [0, 0, 0]),
        ({"when_down": "waits"}, [4, 0, 4], [0, 5, 0]),
        ({"unfilled": "backordered"}, [4, 0, 4], [2, 7, 6]),
        ({"unfilled": "backordered", "when_down": "refused"}, [4, 0, 4], [2, 2, 1]),
    ],
    ids=str,
)
def test_a_source_that_is_down_by_hand(terms, shipped, owed):
    """Of 6, 5 and 3 ordered over a capacity of 4, the second while the line is down: refused, or waiting."""
    line = {"availability": {"failure": 0.0, "recovery": 1.0}, "capacity": 100.0}
    twin = Twin(one_lane({"uses": {"line": 1}, "capacity": 4.0} | terms, resources={"line": line}))
    got = []
    for order, works in ((6.0, 1.0), (5.0, 0.0), (3.0, 1.0)):
        twin.state.arrays.availability[:] = works
        twin.step([[order]])
        got.append((float(twin.state.arrays.shipped[0, 0]), float(twin.state.arrays.backorders[0, 0])))
    assert got == list(zip(shipped, owed, strict=True))


def test_an_unlimited_resource_gives_all_while_up_and_nothing_while_down():
    """No capacity means no limit, except at an availability of 0."""
    line = {"availability": {"failure": 0.0, "recovery": 1.0}}
    twin = Twin(one_lane({"uses": {"line": 1}}, resources={"line": line}))
    twin.step([[1e12]])
    assert twin.state.arrays.shipped[0, 0] == 1e12
    twin.state.arrays.availability[:] = 0.0
    twin.step([[1e12]])
    assert twin.state.arrays.shipped[0, 0] == 0.0


def test_lead_times_that_keep_the_order_by_hand():
    """A quicker shipment waits for the one before it, also at a lead time of 0; an empty one holds nobody up."""
    law = {"distribution": "recorded", "values": [3, 1, 0, 2]}
    crossing = one_lane({"lead_time": law})
    keeping = one_lane({"lead_time": law, "crossing": False})
    assert played(crossing, 1, 10, 100, 0, 0, watch="on_hand") == [0, 10, 111, 111, 111]
    assert played(keeping, 1, 10, 100, 0, 0, watch="on_hand") == [0, 0, 111, 111, 111]
    assert played(keeping, 0, 10, 100, 0, 0, watch="on_hand") == [0, 10, 110, 110, 110]
    assert played(keeping, 0, 0, 100, 1000, 0, watch="on_hand") == [0, 0, 100, 100, 1100]


@pytest.mark.parametrize("phases", [("receive", "order", "demand"), ("order", "receive", "demand")])
def test_shelf_life_by_hand(phases):
    """With a life of 2 periods a unit can serve the period it comes in and the next, and is then counted as waste."""
    keeps = one_lane({"lead_time": 0}, product={"shelf_life": 2}, phases=phases, initial=4.0, waste_cost=3.0)
    assert played(keeps, 1, 2, 0, 0, watch="on_hand") == [5, 2, 0, 0]
    assert played(keeps, 1, 2, 0, 0, watch="wasted") == [0, 5, 2, 0]
    twin = Twin(keeps)
    assert [twin.step([[q]])[TERMS.index("waste"), 0] for q in (1.0, 2.0, 0.0)] == [0, 15, 6]


def hub_and_store(issue, lead_time, *, life=3, demand=0, hub=10.0):
    """A store that buys fresh units at once (the first arc) and fetches older ones from a hub (the last)."""
    return Network.parse(
        {
            "name": "ages",
            "products": {"item": {"shelf_life": life, "issue": issue}},
            "suppliers": {"maker": {"offers": {"item": {}}}},
            "sites": {"hub": {"stock": {"item": {"initial": hub}}}, "store": {"stock": {"item": {"waste_cost": 1.0}}}},
            "lanes": [
                {"from": "maker", "to": "store", "product": "item", "modes": {"fresh": {"lead_time": 0}}},
                {"from": "maker", "to": "hub", "product": "item", "modes": {"fresh": {"lead_time": 9}}},
                {
                    "from": "hub",
                    "to": "store",
                    "product": "item",
                    "modes": {"old": {"lead_time": lead_time, "freight_cost": 2.0}},
                },
            ],
            "demands": {"d": {"site": "store", "product": "item", "distribution": demand}},
        }
    )


def test_a_transport_carries_its_age_and_what_dies_on_the_way_is_waste_of_its_destination():
    """Of life 3, two periods on the road leave one; a period in the hub before, and all perishes, freight paid."""
    network = hub_and_store("first_expired", 2)
    twin = Twin(network)
    costs = [dict(zip(TERMS, twin.step([[0.0], [0.0], [4.0]])[:, 0], strict=True))]
    assert twin.state.arrays.in_transit[2, 0] == 4.0
    assert twin.state.snapshot()["transit_layers"]["hub->store:old:item"] == {"0:life=1": 4.0}
    costs.append(dict(zip(TERMS, twin.step([[0.0], [0.0], [5.0]])[:, 0], strict=True)))
    assert twin.state.arrays.in_transit[2, 0] == 0.0  # the four have just arrived, the five perished
    assert twin.state.arrays.wasted[:, 0].tolist() == [0.0, 5.0]
    assert [c["freight"] for c in costs] == [8.0, 10.0]
    assert [c["waste"] for c in costs] == [0.0, 5.0]
    assert twin.state.arrays.on_hand[:, 0].tolist() == [1.0, 4.0]
    twin.step(np.zeros((3, 1)))
    assert twin.state.arrays.wasted[:, 0].tolist() == [1.0, 4.0]
    assert not twin.state.arrays.on_hand.any()


@pytest.mark.parametrize(
    ("issue", "fresh_first", "old_first"), [("first_expired", 4, 5), ("first_in", 3, 5), ("last_expired", 3, 3)]
)
def test_which_units_leave_first(issue, fresh_first, old_first):
    """Six fresh and six older units meet and six are sold in period 2: the rest perishes when those left expire."""
    demand = {"distribution": "recorded", "values": [0, 0, 6, 0, 0, 0, 0]}
    # Bought in period 1 (3 periods left in period 2), fetched then (2 left); or fetched in 0 (2 left), bought in 2 (4).
    for orders, expires in (({1: (6, 6)}, fresh_first), ({0: (0, 6), 2: (6, 0)}, old_first)):
        twin = Twin(hub_and_store(issue, 1, life=4, demand=demand, hub=6.0))
        wasted = []
        for t in range(7):
            fresh, old = orders.get(t, (0, 0))
            twin.step([[float(fresh)], [0.0], [float(old)]])
            wasted.append(float(twin.state.arrays.wasted[:, 0].sum()))
        assert wasted == [6.0 if t == expires else 0.0 for t in range(7)]


def test_yield_scales_what_a_good_unit_takes():
    """At a yield of 1/2 a good unit takes twice the inputs, resources, money and emissions of a unit started."""
    recipe = {"site": "plant", "product": "item", "inputs": {"part": 1}, "lead_time": 1, "yield_share": 0.5}
    network = Network.parse(
        {
            "name": "yield",
            "emission_price_per_kg": 1.0,
            "products": {"item": {}, "part": {}},
            "suppliers": {"maker": {"offers": {"part": {}}}},
            "resources": {"line": {"capacity": 12, "cost_per_unit": 1}},
            "sites": {"plant": {"stock": {"item": {}, "part": {"initial": 10}}}},
            "lanes": [{"from": "maker", "to": "plant", "product": "part", "modes": {"truck": {"lead_time": 1}}}],
            "recipes": {
                "make": recipe | {"unit_cost": 3, "emissions_kg_per_unit": 2, "fixed_cost": 7, "uses": {"line": 2}}
            },
            "demands": {"d": {"site": "plant", "product": "item", "distribution": 0}},
        }
    )
    twin = Twin(network)
    costs = dict(zip(TERMS, twin.step([[0.0], [2.0]])[:, 0], strict=True))
    assert twin.state.arrays.on_hand[:, 0].tolist() == [2.0, 6.0]
    assert {name: cost for name, cost in costs.items() if cost} == {
        "purchase": 12.0,
        "fixed_order": 7.0,
        "resource": 8.0,
        "emissions": 8.0,
    }
    twin.step([[0.0], [100.0]])
    assert twin.state.arrays.shipped[1, 0] == 3.0  # 6 parts for 2 each, and 12 of the line for 4 each


def test_what_a_source_owes_is_charged_as_backlog():
    """backorder_cost x units owed at the end of the period joins the customers' backlog."""
    terms = {"capacity": 4.0, "unfilled": "backordered", "backorder_cost": 0.5}
    twin = Twin(one_lane(terms))
    assert [twin.step([[q]])[TERMS.index("backlog"), 0] for q in (10.0, 0.0, 0.0)] == [3.0, 1.0, 0.0]


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
