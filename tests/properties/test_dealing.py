"""Contracts, expediting and prices on random networks: rules that hold in every period, whatever is decided."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import dealt_networks, random_moves, random_orders
from twin.compile import compile_network
from twin.contracts import MOVES, STAGES
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.orders import feasible_orders
from twin.simulation import Simulation
from twin.state import StateArrays, TwinState

settings.register_profile(
    "dealing",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
PROFILE = settings.get_profile("dealing")
SEEDS = st.integers(0, 2**32 - 1)
PERIODS = 12
KEEP, QUALIFY, ACTIVATE, DEACTIVATE, EXPEDITE = range(len(MOVES))
OUTSIDE, QUALIFYING, QUALIFIED, ACTIVE = range(len(STAGES))
TERM = {term.name: row for row, term in enumerate(COST_TERMS)}


def arcs_of(network, name):
    """Numbers of the arcs that begin at a supplier."""
    origins = [lane.origin for lane in network.lanes for _ in lane.modes]
    return [a for a, origin in enumerate(origins) if origin == name]


def feasible(compiled, a, order):
    """The order that arc a places when ``order`` is asked for."""
    rules = compiled.topology
    return float(feasible_orders([order], rules.arc_minimum[[a]], rules.arc_lot[[a]], rules.arc_maximum[[a]])[0])


def decisions(twin, seed):
    """Random moves and orders, period by period."""
    replicas = twin.state.replicas
    moves = random_moves(seed, PERIODS, len(twin.compiled.relation_names), replicas)
    return zip(random_orders(seed, PERIODS, twin.compiled.n_arcs, replicas), moves, strict=True)


@PROFILE
@given(network=dealt_networks(), seed=SEEDS)
def test_who_is_not_active_ships_nothing_and_no_capacity_is_exceeded(network, seed):
    """At every other stage nothing ships; at that one no more than the capacity, ramped up."""
    twin = Twin(network, replicas=3, seed=seed)
    for orders, moves in decisions(twin, seed):
        before = twin.state.fork().arrays
        allowed = np.take_along_axis(twin.allowed_moves(), moves[:, None], axis=1)[:, 0]
        twin.step(orders, moves=moves)
        for c, name in enumerate(twin.compiled.relations.contracts):
            s, contract = twin.compiled.relation_names.index(name), network.suppliers[name].contract
            made = np.where(allowed[s], moves[s], KEEP)
            active = np.where(before.stage[c] == ACTIVE, made != DEACTIVATE, made == ACTIVATE)
            clock = np.where(made == ACTIVATE, 0.0, before.clock[c])
            shipped = twin.state.arrays.shipped[arcs_of(network, name)].sum(axis=0)
            assert not shipped[~active].any()
            ramped = np.minimum(1.0, (clock + 1.0) / contract.ramp) if contract.ramp else np.ones(3)
            if contract.capacity is not None:
                assert (shipped <= contract.capacity * ramped + 1e-9).all()


@PROFILE
@given(network=dealt_networks(), seed=SEEDS)
def test_a_move_is_allowed_where_it_changes_what_it_says(network, seed):
    """On a fork of any state, a move that is not allowed is keeping; an allowed one leads to its stage and is paid."""
    twin = Twin(network, seed=seed)
    none = np.zeros((twin.compiled.n_arcs, 1))
    leads_to = {QUALIFY: QUALIFYING, ACTIVATE: ACTIVE, DEACTIVATE: QUALIFIED}
    for orders, moves in decisions(twin, seed):
        allowed = twin.allowed_moves()[:, :, 0]
        for s, name in enumerate(twin.compiled.relation_names):
            contract = network.suppliers[name].contract
            kept = twin.fork()
            kept_costs = kept.step(none).copy()
            assert allowed[s, KEEP]
            for move in range(1, len(MOVES)):
                choice = np.zeros_like(moves)
                choice[s] = move
                other = twin.fork()
                costs = other.step(none, moves=choice).copy()
                if not allowed[s, move]:
                    assert other.state.content_hash() == kept.state.content_hash()
                    np.testing.assert_array_equal(costs, kept_costs)
                    continue
                if move == EXPEDITE:
                    assert twin.state.arrays.in_transit[arcs_of(network, name)].sum() > 0.0
                    continue
                assert contract is not None
                c = twin.compiled.relations.contracts.index(name)
                then = leads_to[move]
                if move == QUALIFY and contract.qualification_periods <= 1:  # over at the end of this period
                    then = QUALIFIED
                assert other.state.arrays.stage[c, 0] == then
        twin.step(orders, moves=moves)


@PROFILE
@given(network=dealt_networks(), seed=SEEDS)
def test_costs_of_contracts_expediting_and_prices_recomputed(network, seed):
    """The terms follow from the states around a step: stages that changed, slots that moved, what shipped."""
    twin = Twin(network, seed=seed)
    top, relations = twin.compiled.topology, twin.compiled.relations
    modes = [mode for lane in network.lanes for mode in lane.modes.values()]
    lanes = [lane for lane in network.lanes for _ in lane.modes]
    for orders, moves in decisions(twin, seed):
        before, pipeline = twin.state.fork().arrays, twin.state.logical("pipeline").copy()
        allowed = twin.allowed_moves()[:, :, 0]
        costs = twin.step(orders, moves=moves)[:, 0]
        contracted = expedited = 0.0
        for s, name in enumerate(relations.names):
            move = int(moves[s, 0]) if allowed[s, moves[s, 0]] else KEEP
            arcs, contract = arcs_of(network, name), network.suppliers[name].contract
            if move == EXPEDITE:
                for a in arcs:
                    slots = pipeline[top.pipe_ptr[a] : top.pipe_ptr[a + 1], 0]
                    terms = modes[a].expediting
                    expedited += 0.0 if terms is None else terms.cost_per_unit * slots[1:].sum()
            if contract is None:
                continue
            once = {
                QUALIFY: contract.qualification_cost,
                ACTIVATE: contract.switching_cost,
                DEACTIVATE: contract.exit_cost,
            }
            contracted += once.get(move, 0.0)
            stage = before.stage[relations.contracts.index(name), 0]
            active = move == ACTIVATE or (stage == ACTIVE and move != DEACTIVATE)
            used = {r for a in arcs for r in (*modes[a].uses, *network.suppliers[name].uses)}
            rows = [twin.compiled.resource_names.index(r) for r in used]
            if active and not (before.availability[rows] == 0.0).any():
                placed = sum(feasible(twin.compiled, a, orders[a, 0]) for a in arcs)
                contracted += contract.shortfall_cost * max(0.0, contract.minimum - placed)
        np.testing.assert_allclose(costs[TERM["contract"]], contracted, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(costs[TERM["expediting"]], expedited, rtol=1e-9, atol=1e-9)
        bought = 0.0
        for a, shipped in enumerate(twin.state.arrays.shipped[:, 0]):
            unit, factor = top.arc_unit_cost[a], 1.0
            if a < len(lanes) and lanes[a].origin in network.suppliers:
                offer = network.suppliers[lanes[a].origin].offers[lanes[a].product]
                unit = min([unit, *(entry.price for entry in offer.breaks if shipped >= entry.start)])
                if offer.price_process is not None:
                    row = twin.compiled.prices.names.index(f"{lanes[a].origin}/{lanes[a].product}")
                    factor = before.price[row, 0]
            bought += unit * factor * shipped
        np.testing.assert_allclose(costs[TERM["purchase"]], bought, rtol=1e-9, atol=1e-9)


@PROFILE
@given(network=dealt_networks(), seed=SEEDS)
def test_pipelines_keep_their_units(network, seed):
    """Whatever is moved forward, the slots of every arc add up to what is in transit, and nothing is below 0."""
    twin = Twin(network, replicas=2, seed=seed)
    top = twin.compiled.topology
    for orders, moves in decisions(twin, seed):
        twin.step(orders, moves=moves)
        arrays = twin.state.arrays
        sums = [arrays.pipeline[top.pipe_ptr[a] : top.pipe_ptr[a + 1]].sum(axis=0) for a in range(twin.compiled.n_arcs)]
        np.testing.assert_allclose(sums, arrays.in_transit, rtol=0, atol=1e-9)
        for name, array in zip(StateArrays._fields, arrays, strict=True):
            assert (array >= 0.0).all(), name
            assert np.isfinite(array).all(), name
        assert (arrays.on_time <= 1.0).all()
        assert np.isin(arrays.stage, range(len(STAGES))).all()


@PROFILE
@given(network=dealt_networks(), seed=SEEDS, stop=st.integers(0, PERIODS - 1))
def test_forks_snapshots_and_batches_go_the_same_way(network, seed, stop):
    """A fork is pure, a snapshot goes on where it was taken, and a replica is the same alone as among many."""
    twin = Twin(network, replicas=3, seed=seed)
    alone = twin.at(twin.initial_state(twin.state.seed[2:], twin.state.replica[2:]))
    later = None
    for t, (orders, moves) in enumerate(decisions(twin, seed)):
        if t == stop:
            before = twin.state.content_hash()
            twin.fork().step(orders + 1.0, moves=moves)
            assert twin.state.content_hash() == before
            later = twin.at(TwinState.restore(twin.compiled, json.loads(json.dumps(twin.state.snapshot(2)))))
        twin.step(orders, moves=moves)
        for other in (alone, later):
            if other is not None:
                other.step(orders[:, 2:], moves=moves[:, 2:])
                for name in StateArrays._fields:
                    np.testing.assert_array_equal(other.state.logical(name)[:, 0], twin.state.logical(name)[:, 2], name)


@settings(PROFILE, max_examples=150)
@given(network=dealt_networks(), seed=SEEDS)
def test_the_event_engine_equals_the_kernel(network, seed):
    """In every period every number of the state, every cost and every allowed move, in period detail."""
    twin, replica = Twin(network, replicas=2, seed=seed), 1
    simulation = Simulation(twin.compiled, seed=seed, replica=replica)
    for t, (orders, moves) in enumerate(decisions(twin, seed)):
        state = simulation.state()
        for name in StateArrays._fields:
            ours, theirs = state.logical(name)[:, 0], twin.state.logical(name)[:, replica]
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=f"{name}, before period {t}")
        np.testing.assert_array_equal(simulation.allowed_moves(), twin.allowed_moves()[:, :, replica])
        costs = simulation.step(orders[:, replica], moves[:, replica])
        expected = twin.step(orders, moves=moves)[:, replica]
        np.testing.assert_allclose(costs, expected, rtol=1e-9, atol=1e-9, err_msg=f"costs of period {t}")


@PROFILE
@given(network=dealt_networks(), seed=SEEDS, stop=st.integers(0, PERIODS - 1), continuous=st.booleans())
def test_the_event_engine_is_rebuilt_from_its_snapshot(network, seed, stop, continuous):
    """Expedited shipments and contracts included, a rebuilt simulation does what the uninterrupted one does."""
    compiled, detail = compile_network(network), "continuous" if continuous else "period"
    whole, rebuilt = Simulation(compiled, seed=seed, detail=detail), None
    for t, (orders, moves) in enumerate(decisions(Twin(compiled), seed)):
        if t == stop:
            snapshot = json.loads(json.dumps(whole.snapshot()))
            rebuilt = Simulation.restore(compiled, snapshot)
            assert rebuilt.snapshot() == snapshot
        costs = whole.step(orders, moves)
        if rebuilt is not None:
            np.testing.assert_array_equal(rebuilt.step(orders, moves), costs)
            assert rebuilt.snapshot() == whole.snapshot()
