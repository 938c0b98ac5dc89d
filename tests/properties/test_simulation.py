"""The event engine on random networks: it equals the kernel, can be rebuilt at any time, and its log adds up."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import network_data, networks, random_orders, rarely
from twin.compile import compile_network
from twin.engine import Twin
from twin.errors import StaleStateError
from twin.network import Network
from twin.simulation import Event, Simulation
from twin.state import StateArrays, TwinState, starting_state

settings.register_profile(
    "simulation",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
PROFILE = settings.get_profile("simulation")
SEEDS = st.integers(0, 2**32 - 1)
PERIODS = 12

HOURS = st.sampled_from(
    [
        {"cycle": 7, "open": [[0, 5]], "unit": "day"},
        {"cycle": 1, "open": [[0.25, 0.5], [0.625, 0.75]]},
        {"cycle": 24, "open": [[8, 17]], "unit": "hour"},
        {"cycle": 2.5, "open": [[1, 2.5]]},
    ]
)
HANDLING = st.sampled_from(
    [
        0,
        0.125,
        1.75,
        {"distribution": "gamma", "mean": 0.2, "sd": 0.2},
        {"distribution": "uniform_integer", "low": 0, "high": 1},
    ]
)
#: Lead times of at least 1 period, when rounded, that are not whole periods.
FRACTIONAL_LEAD_TIME = st.sampled_from(
    [0.75, 1.5, {"distribution": "uniform", "low": 0.6, "high": 2.4}, {"distribution": "recorded", "values": [1.25, 1]}]
)


def arc_entries(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The modes of all lanes, then all recipes."""
    return [mode for lane in data["lanes"] for mode in lane["modes"].values()] + list(data["recipes"].values())


@st.composite
def yard_networks(draw: st.DrawFn) -> Network:
    """Random networks with gates, docks and lead times of fractions of a period."""
    data = draw(network_data())
    for site in data["sites"].values():
        if draw(st.booleans()):
            site["working_hours"] = draw(HOURS)
        if draw(st.booleans()):
            site["docks"] = {"berths": draw(st.integers(1, 2)), "handling_time": draw(HANDLING)}
            if draw(st.booleans()):
                site["docks"]["handling_time_unit"] = "day"
    late = {name for name, supplier in data["suppliers"].items() if "delay" in supplier}
    for lane in data["lanes"]:
        for mode in lane["modes"].values():
            if draw(st.booleans()) and lane["from"] not in late:
                mode["lead_time"] = draw(FRACTIONAL_LEAD_TIME)
                mode.pop("lead_time_unit", None)
    for name in late:
        if rarely(draw, 2):
            data["suppliers"][name]["delay"]["time"] = {"distribution": "gamma", "mean": 0.4, "sd": 0.3}
    return Network.parse(data)


@st.composite
def whole_networks(draw: st.DrawFn) -> Network:
    """Random networks whose lead times are whole periods and whose sites have neither gates nor docks."""
    data = draw(network_data())
    for entry in arc_entries(data):
        if "lead_time_unit" in entry:
            entry["lead_time"] = 14
        elif isinstance(entry["lead_time"], dict) and entry["lead_time"]["distribution"] == "gamma":
            entry["lead_time"] = {"distribution": "poisson", "mean": 1.5}
    return Network.parse(data)


def orders_of(seed: int, arcs: int) -> np.ndarray:
    """Random orders of one replica, shape (PERIODS, arcs)."""
    return random_orders(seed, PERIODS, arcs, 1)[:, :, 0]


def assert_bitwise(first: TwinState, second: TwinState) -> None:
    """Every number of two states is bitwise the same."""
    if first.content_hash() != second.content_hash():
        for name in StateArrays._fields:
            np.testing.assert_array_equal(first.logical(name), second.logical(name), err_msg=name)
        raise AssertionError("the clocks differ")


@settings(PROFILE, max_examples=200)
@given(network=networks(), seed=SEEDS)
def test_simulation_equals_the_kernel(network, seed):
    """In every period every number of the state and every cost: to the last bit in whole units, else to 1e-9."""
    twin, replica = Twin(network, replicas=2, seed=seed), 1
    simulation = Simulation(twin.compiled, seed=seed, replica=replica)
    exact = all(product.integer for product in network.products.values())
    rtol = 0.0 if exact else 1e-9
    for t, orders in enumerate(random_orders(seed, PERIODS, twin.compiled.n_arcs, 2)):
        state = simulation.state()
        for name in StateArrays._fields:
            ours, theirs = state.logical(name)[:, 0], twin.state.logical(name)[:, replica]
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=f"{name}, before period {t}")
        costs = simulation.step(orders[:, replica])
        expected = twin.step(orders)[:, replica]
        np.testing.assert_allclose(costs, expected, rtol=rtol, atol=rtol, err_msg=f"costs of period {t}")


@PROFILE
@given(network=networks(), seed=SEEDS, stop=st.integers(0, PERIODS - 1))
def test_a_state_of_the_kernel_goes_on_in_the_simulation(network, seed, stop):
    """Taken over from the kernel in any period, mail and shipments included, the simulation ends where it ends."""
    twin = Twin(network, replicas=2, seed=seed)
    orders = random_orders(seed, PERIODS, twin.compiled.n_arcs, 2)
    for t in range(stop):
        twin.step(orders[t])
    before = twin.state.content_hash()
    simulation = Simulation.from_state(twin.state, 1)
    assert twin.state.content_hash() == before
    for t in range(stop, PERIODS):
        costs, expected = simulation.step(orders[t, :, 1]), twin.step(orders[t])[:, 1]
        np.testing.assert_allclose(costs, expected, rtol=1e-9, atol=1e-9)
    for name in StateArrays._fields:
        ours, theirs = simulation.state().logical(name)[:, 0], twin.state.logical(name)[:, 1]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)


def assert_rebuilt(network: Network, seed: int, stop: int, detail: str) -> None:
    """Rebuilt from its snapshot before period ``stop``, a simulation does what the uninterrupted one does."""
    compiled = compile_network(network)
    orders = orders_of(seed, compiled.n_arcs)
    whole = Simulation(compiled, seed=seed, replica=3, detail=detail)
    for t in range(stop):
        whole.step(orders[t])
    snapshot = json.loads(json.dumps(whole.snapshot()))
    first, second = (Simulation.restore(compiled, snapshot) for _ in range(2))
    assert_bitwise(first.state(), whole.state())
    assert first.snapshot() == snapshot
    done = len(whole.log)
    for t in range(stop, PERIODS):
        np.testing.assert_array_equal(first.step(orders[t]), whole.step(orders[t]))
        second.step(2.0 * orders[t])  # the other rebuilt one goes its own way
        assert_bitwise(first.state(), whole.state())
        assert first.snapshot() == whole.snapshot()
    assert list(first.log) == list(whole.log)[done:]


@PROFILE
@given(network=networks(), seed=SEEDS, stop=st.integers(0, PERIODS - 1))
def test_rebuilt_in_period_detail(network, seed, stop):
    assert_rebuilt(network, seed, stop, "period")


@settings(PROFILE, max_examples=60)
@given(network=yard_networks(), seed=SEEDS, stop=st.integers(0, PERIODS - 1))
def test_rebuilt_in_continuous_detail(network, seed, stop):
    """Shipments on the road, at the gate, in the queue, at berths and inside go on where they were."""
    assert_rebuilt(network, seed, stop, "continuous")


EDITS = st.sampled_from(
    [
        lambda shipment: {"arrival": shipment["arrival"] + 1.0},
        lambda shipment: {"arrival": max(0.0, shipment["arrival"] - 1.0)},
        lambda shipment: {"arrival": 0.0 * shipment["arrival"]},
        lambda shipment: {"units": 2.0 * shipment["units"] + 1.0},
        lambda shipment: {"lots": [[life - 1, units] for life, units in shipment["lots"]]},
        lambda shipment: {"lots": [[life + 1, units] for life, units in shipment["lots"]]},
        lambda shipment: {"stage": "inside" if shipment["stage"] == "road" else "road"},
    ]
)


@settings(PROFILE, max_examples=100)
@given(
    network=st.one_of(networks(), yard_networks()),
    seed=SEEDS,
    continuous=st.booleans(),
    stop=st.integers(1, PERIODS - 1),
    edit=EDITS,
    choice=st.integers(0, 1000),
)
def test_an_edited_snapshot_is_refused_or_has_the_state_that_it_says(network, seed, continuous, stop, edit, choice):
    """What is accepted never moves units between slots, lives or arcs."""
    compiled = compile_network(network)
    simulation = Simulation(compiled, seed=seed, detail="continuous" if continuous else "period")
    for orders in orders_of(seed, compiled.n_arcs)[:stop]:
        simulation.step(orders)
    snapshot = json.loads(json.dumps(simulation.snapshot()))
    shipments = snapshot["events"]["shipments"]
    if not shipments:
        return
    shipment = shipments[choice % len(shipments)]
    shipment.update(edit(shipment))
    try:
        again = Simulation.restore(compiled, snapshot)
    except StaleStateError:
        return
    for name in StateArrays._fields:
        ours, theirs = again.state().logical(name), simulation.state().logical(name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


@settings(PROFILE, max_examples=60)
@given(network=whole_networks(), seed=SEEDS)
def test_continuous_detail_equals_period_detail_where_times_are_whole_periods(network, seed):
    """Without gates and docks, state, costs and log are the same to the last bit."""
    compiled = compile_network(network)
    period, continuous = (Simulation(compiled, seed=seed, detail=detail) for detail in ("period", "continuous"))
    for orders in orders_of(seed, compiled.n_arcs):
        np.testing.assert_array_equal(period.step(orders), continuous.step(orders))
        assert_bitwise(period.state(), continuous.state())
    assert list(period.log) == list(continuous.log)


@settings(PROFILE, max_examples=60)
@given(network=st.one_of(networks(), yard_networks()), seed=SEEDS, continuous=st.booleans())
def test_the_log_accounts_for_every_unit(network, seed, continuous):
    """Per order: placed = in the mail + shipped + cancelled + refused + owed. Per arc: shipped = there + under way."""
    compiled = compile_network(network)
    simulation = Simulation(compiled, seed=seed, detail="continuous" if continuous else "period")
    begin = starting_state(compiled, 1)
    for orders in orders_of(seed, compiled.n_arcs):
        simulation.step(orders)
        shipped = {event.lane: 0.0 for event in simulation.log}
        for event in simulation.log.select("shipped"):
            shipped[event.lane] += event.quantity * (event.time == simulation.period - 1)
        for a, name in enumerate(compiled.arc_names):
            np.testing.assert_allclose(shipped.get(name, 0.0), simulation.state().arrays.shipped[a, 0], atol=1e-9)
    snapshot, log = simulation.snapshot(), simulation.log
    orders_left: dict[int | None, float] = defaultdict(float)
    for event in log:
        if event.kind in ("placed", "shipped", "cancelled", "refused"):
            orders_left[event.order] += event.quantity * (1.0 if event.kind == "placed" else -1.0)
    for lines in snapshot["events"]["owed"].values():
        for order, units in lines:
            orders_left[order] -= units
    for a, name in enumerate(compiled.arc_names):
        for slot, units in snapshot["mail"].get(name, {}).items():
            placed = simulation.period + int(slot) - int(np.diff(compiled.topology.mail_ptr)[a])
            if placed >= 0:
                orders_left[placed * compiled.n_arcs + a] -= units
    orders_left.pop(None, None)  # of initial flows the log does not know the placement
    assert all(abs(units) <= 1e-6 for units in orders_left.values())
    end = simulation.state()
    for a, name in enumerate(compiled.arc_names):
        moved = {kind: sum(e.quantity for e in log.select(kind, lane=name)) for kind in ("shipped", "received")}
        if compiled.topology.stock_life[compiled.topology.arc_destination[a]]:
            assert moved["received"] <= moved["shipped"] + float(begin.arrays.in_transit[a, 0]) + 1e-6
            continue
        under_way = float(end.arrays.in_transit[a, 0] - begin.arrays.in_transit[a, 0])
        np.testing.assert_allclose(moved["shipped"], moved["received"] + under_way, rtol=1e-9, atol=1e-6)
    for d, name in enumerate(compiled.demand_names):
        last = [event for event in log if event.subject == name and event.time == log_time(simulation)]
        for kind, array in (("served", end.arrays.served), ("lost", end.arrays.lost)):
            assert sum(event.quantity for event in last if event.kind == kind) == array[d, 0]


def log_time(simulation: Simulation) -> float:
    """When the latest demand phase was."""
    before = simulation.compiled.network.phases.index("demand") < simulation.compiled.network.phases.index("order")
    return float(simulation.period - (not before))


@settings(PROFILE, max_examples=60)
@given(network=yard_networks(), seed=SEEDS)
def test_gates_and_docks_are_kept(network, seed):
    """Events of a shipment come in order, berths are never overfull, and who queues first unloads first."""
    compiled = compile_network(network)
    simulation = Simulation(compiled, seed=seed, detail="continuous")
    for orders in orders_of(seed, compiled.n_arcs):
        simulation.step(orders)
    log = simulation.log
    assert [event.time for event in log] == sorted(event.time for event in log)
    for site, entry in network.sites.items():
        if entry.docks is None:
            assert not len(log.select("queued", "berthed", "unloaded", site=site))
            continue
        occupied, queue = 0, []
        for event in log.select("queued", "berthed", "unloaded", site=site):
            key = (event.lane, event.shipment, event.quantity)
            if event.kind == "queued":
                queue.append(key)
            elif event.kind == "berthed":
                assert queue.pop(0) == key
                occupied += 1
            else:
                occupied -= 1
            assert 0 <= occupied <= entry.docks.berths
        assert 0.0 <= simulation.docks()[site].utilisation <= 1.0
        assert simulation.docks()[site].mean_wait >= 0.0
    by_shipment: dict[Any, list[Event]] = defaultdict(list)
    for event in log:
        if event.shipment is not None:
            by_shipment[event.shipment].append(event)
    rank = {kind: k for k, kind in enumerate(("shipped", "gate_closed", "queued", "berthed", "unloaded", "received"))}
    for events in by_shipment.values():
        ranks = [rank[event.kind] for event in events if event.kind in rank]
        assert ranks == sorted(ranks)
