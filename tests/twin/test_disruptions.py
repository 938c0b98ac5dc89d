"""Disruptions: outages that last, ramps, warnings, windows and common causes do what docs/model.md says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference_disruptions import Disruptions
from tests.strategies import resources
from twin import engine, library
from twin.differentiable import DifferentiableTwin
from twin.engine import Twin
from twin.errors import ActionError, StaleStateError
from twin.network import Network
from twin.simulation import Simulation
from twin.state import EXOGENOUS, TwinState
from twin.tape import Draws
from twin.uniforms import uniforms


def network(limited, causes=None, **more):
    """One stock point with a supplier per resource, each limited by it."""
    lanes = [
        {"from": f"v{k}", "to": "s", "product": "p", "modes": {"truck": {"lead_time": 1, "uses": {name: 1}}}}
        for k, name in enumerate(limited)
    ]
    data = {
        "name": "disrupted",
        "products": {"p": {}},
        "suppliers": {f"v{k}": {"offers": {"p": {"price": 1}}} for k in range(max(1, len(limited)))},
        "sites": {"s": {"stock": {"p": {"initial": 5.0}}}},
        "lanes": lanes or [{"from": "v0", "to": "s", "product": "p", "modes": {"truck": {"lead_time": 1}}}],
        "resources": limited,
        "causes": causes or {},
        "demands": {"d": {"site": "s", "product": "p", "distribution": 3}},
    }
    return Network.parse(data | more)


def line(capacity=10.0, causes=(), **availability):
    """A resource that fails as stated."""
    out = {"capacity": capacity, "causes": list(causes)}
    return out | {"availability": availability} if availability else out


def paths(net, periods, replicas, seed=3):
    """Rows of the state by name, each (T + 1, rows, B) from period 0 on, and the availability."""
    twin = Twin(net, replicas=replicas, seed=seed)
    draws, marks = twin.tape.block(twin.state, periods), twin.state.store.marks
    first = int(marks[twin.state.arrays._fields.index(EXOGENOUS[0])])
    rows = np.concatenate([twin.state.exogenous[None], draws.processes])
    out = {"availability": np.concatenate([twin.state.arrays.availability[None], draws.availability])}
    for name in EXOGENOUS:
        k = twin.state.arrays._fields.index(name)
        out[name] = rows[:, int(marks[k]) - first : int(marks[k + 1]) - first]
    return out


def runs(flags):
    """Lengths of all complete runs of True that begin after the first epoch, along axis 0 of (T, B)."""
    out = []
    for column in flags.T:
        edges = np.flatnonzero(np.diff(column.astype(int)))
        starts, ends = [e + 1 for e in edges if not column[e]], [e + 1 for e in edges if column[e]]
        ends = [e for e in ends if starts and e > starts[0]]
        out += [e - s for s, e in zip(starts, ends, strict=False)]
    return np.array(out)


def assert_mean(per_replica, expected):
    """The mean of independent replicas is the expected one, within 4.5 standard errors."""
    error = per_replica.std(ddof=1) / np.sqrt(len(per_replica))
    assert abs(per_replica.mean() - expected) < 4.5 * error, (per_replica.mean(), expected, error)


@settings(deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=resources(), seed=st.integers(0, 2**32 - 1))
def test_processes_equal_the_reference(drawn, seed):
    """Every row and every availability is that of the plain-Python second implementation, over 40 periods."""
    net = network(*drawn)
    twin = Twin(net, replicas=2, seed=seed)
    draws = twin.tape.block(twin.state, 40)
    for b in range(2):

        def chance(stream, entity, period, replica=b):
            return float(uniforms(seed, stream, entity, first_replica=replica, first_period=period)[0, 0])

        reference = Disruptions(net, chance)
        for t in range(41):
            expected = [value for name in EXOGENOUS[:-1] for value in reference.rows()[name]]
            available = list(reference.available.values())
            if t == 0:
                got = twin.state.exogenous[:, b], twin.state.arrays.availability[:, b]
            else:
                got = draws.processes[t - 1, :, b], draws.availability[t - 1, :, b]
            np.testing.assert_array_equal(got[0], expected, err_msg=f"period {t}")
            np.testing.assert_array_equal(got[1], available, err_msg=f"period {t}")
            reference.move()


# -- statistics: the long run is what the figures of the file say ----------------------------------------------------


@pytest.mark.parametrize(
    ("law", "mean"),
    [
        (5, 5.0),
        ({"distribution": "uniform_integer", "low": 2, "high": 8}, 5.0),
        # At least 1 period: the mean of max(1, X) is mean + P(X = 0).
        ({"distribution": "poisson", "mean": 1.0}, 1.0 + np.exp(-1.0)),
    ],
)
@pytest.mark.parametrize("ahead", [0, 3])
def test_outages_last_as_drawn_and_failures_come_as_stated(law, mean, ahead):
    """Renewal theory: outages of mean D after up times of mean 1 / failure + ahead leave D / (D + up) of the time."""
    warning = {"warning": {"ahead": ahead}} if ahead else {}
    path = paths(network({"line": line(failure=0.05, duration=law, **warning)}), 600, 300)
    down = path["process_up"][:, 0] == 0.0
    lengths, ups = runs(down), runs(~down)
    if isinstance(law, int):
        assert set(lengths) == {law}
    assert abs(lengths.mean() - mean) <= 4.5 * lengths.std() / np.sqrt(len(lengths))
    assert ups.min() >= 1 + ahead
    assert_mean(down[200:].mean(axis=0), mean / (mean + 1 / 0.05 + ahead))


def test_geometric_outages_are_those_of_a_two_state_chain():
    """A process with a ramp has the up and down times of the plain chain, bit by bit, and its share is lower only."""
    rates = {"failure": 0.1, "recovery": 0.3, "share_when_down": 0.2}
    plain, ramped = (paths(network({"line": line(**rates, **more)}), 300, 50) for more in ({}, {"ramp": 4}))
    assert (plain["process_up"].shape[1], ramped["process_up"].shape[1]) == (0, 1)
    np.testing.assert_array_equal(plain["availability"][:, 0] == 1.0, ramped["process_up"][:, 0] == 1.0)
    assert (ramped["availability"] <= plain["availability"]).all()
    assert_mean(ramped["process_up"][100:, 0].mean(axis=0), 0.3 / 0.4)


def test_a_ramp_rises_in_equal_steps():
    """With a share c when down and a ramp of n, the k-th period up has c + (1 - c) k / n, and all from the n-th on."""
    path = paths(network({"line": line(share_when_down=0.2, ramp=4, windows=[{"start": 3, "duration": 2}])}), 10, 1)
    expected = [1, 1, 1, 0.2, 0.2, 0.4, 0.6, 0.8, 1, 1, 1]
    np.testing.assert_allclose(path["availability"][:, 0, 0], expected, rtol=1e-15)
    assert path["availability"][8, 0, 0] == 1.0
    assert path["since"][:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2]
    assert path["process_elapsed"][:, 0, 0].tolist() == [4, 5, 6, 0, 1, 0, 1, 2, 3, 4, 5]


def test_warnings_have_the_recall_and_the_false_alarms_stated():
    """Of failures ``recall`` are announced ``ahead`` periods before, of other periods ``false_alarm`` have a sign."""
    warning = {"ahead": 2, "recall": 0.7, "false_alarm": 0.06}
    path = paths(network({"line": line(failure=0.05, duration=3, warning=warning)}), 500, 300)
    up, sign = path["process_up"][:, 0] == 1.0, path["warning"][:, 0] == 1.0
    assert not sign[~up].any()
    strikes = up[:-1] & ~up[1:]  # down from the next epoch on
    announced = np.zeros_like(up)
    announced[:-2] = strikes[1:]
    inside = up[:-2]
    for chosen, expected in ((announced[:-2], 0.7), (inside & ~announced[:-2], 0.06)):
        n = chosen.sum()
        assert abs(sign[:-2][chosen].mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)


def test_a_common_cause_takes_both_down_together():
    """Availabilities are products: both down exactly where the cause is or both fail alone, with those frequencies."""
    rates, tier = {"failure": 0.04, "recovery": 0.3}, {"failure": 0.03, "recovery": 0.15}
    limited = {"a": line(causes=["tier"], **rates), "b": line(causes=["tier"], **rates), "c": line(**rates)}
    path = paths(network(limited, {"tier": {"availability": tier}}), 900, 300)
    up = path["process_up"] == 1.0
    a, b, c, cause = (up[:, k] for k in range(4))
    np.testing.assert_array_equal(path["availability"][:, 0] == 1.0, a & cause)
    np.testing.assert_array_equal(path["availability"][:, 1] == 1.0, b & cause)
    np.testing.assert_array_equal(path["availability"][:, 2] == 1.0, c)
    own, shared = 0.3 / 0.34, 0.15 / 0.18
    down = path["availability"][300:] == 0.0
    assert_mean((down[:, 0] & down[:, 1]).mean(axis=0), 1 - shared + shared * (1 - own) ** 2)
    assert_mean((down[:, 0] & down[:, 2]).mean(axis=0), (1 - own * shared) * (1 - own))


def test_shares_of_several_causes_multiply():
    """A resource at 0.5 with causes at 0.4 and 0.3 works at 0.06 while all are down."""
    window = [{"start": 2, "duration": 1}]
    causes = {
        name: {"availability": {"share_when_down": share, "windows": window}}
        for name, share in (("x", 0.4), ("y", 0.3))
    }
    path = paths(network({"line": line(causes=["x", "y"], share_when_down=0.5, windows=window)}, causes), 4, 1)
    np.testing.assert_allclose(path["availability"][:, 0, 0], [1, 1, 0.06, 1, 1], rtol=1e-15)


# -- windows ---------------------------------------------------------------------------------------------------------


def test_windows_extend_outages_and_override_announced_failures():
    """Windows that overlap end with the last, one in a longer outage changes nothing, and announced failures go."""
    windows = [{"start": 2, "duration": 3}, {"start": 4, "duration": 4}, {"start": 5, "duration": 1}]
    down = paths(network({"line": line(windows=windows)}), 12, 1)["process_up"][:, 0, 0] == 0.0
    assert np.flatnonzero(down).tolist() == [2, 3, 4, 5, 6, 7]
    # It fails at once when up: outages of 5 periods from period 1 on. The window at 3 ends within the first.
    path = paths(network({"line": line(failure=1.0, duration=5, windows=[{"start": 3, "duration": 2}])}), 12, 1)
    assert np.flatnonzero(path["process_up"][:, 0, 0]).tolist() == [0, 6, 12]
    # Announced in period 1, to strike in 5; the window takes it down in 3 alone, and all begins again.
    rule = {"failure": 1.0, "duration": 2, "warning": {"ahead": 4}}
    path = paths(network({"line": line(**rule, windows=[{"start": 3, "duration": 1}])}), 13, 1)
    assert path["process_remaining"][:, 0, 0].tolist() == [0, 4, 3, 1, 0, 4, 3, 2, 1, 2, 1, 0, 4, 3]
    assert path["process_up"][:, 0, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1]
    assert path["warning"][:, 0, 0].tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]


def test_a_window_at_the_start_and_its_warning():
    """A window from period 0 on finds it down; one that starts at ``ahead`` is announced in period 0, none before."""
    warning = {"ahead": 4}
    limited = {
        "now": line(windows=[{"start": 0, "duration": 2}]),
        "soon": line(warning=warning, windows=[{"start": 3, "duration": 1}]),
        "then": line(warning=warning, windows=[{"start": 4, "duration": 1}]),
        "late": line(warning=warning, windows=[{"start": 6, "duration": 1}]),
    }
    net = network(limited)
    path = paths(net, 8, 1)
    assert path["availability"][:3, 0, 0].tolist() == [0, 0, 1]
    assert path["since"][:4, 0, 0].tolist() == [0, 1, 0, 1]
    assert [np.flatnonzero(column).tolist() for column in path["warning"][:, :, 0].T] == [[], [0], [2]]
    twin, simulation = Twin(net, seed=9), Simulation(net, seed=9)
    orders = np.full((4, 1), 2.0)
    for _ in range(5):
        assert simulation.state().content_hash() == twin.state.content_hash()
        np.testing.assert_array_equal(twin.step(orders)[:, 0], simulation.step(orders[:, 0]))


def test_window_times_are_drawn_once_an_episode():
    """One window an episode, as long as drawn; another episode of the same replica has another."""
    law = {"distribution": "uniform_integer", "low": 2, "high": 21}
    length = {"distribution": "uniform_integer", "low": 3, "high": 6}
    net = network({"line": line(windows=[{"start": law, "duration": length}])})
    twin = Twin(net)
    starts = []
    for episode in range(2):
        ids = np.arange(2000, dtype=np.uint32)
        state = twin.initial_state(np.full(2000, 5, np.uint64), ids, np.full(2000, episode, np.uint32))
        down = twin.tape.block(state, 40).availability[:, 0] == 0.0
        assert ((down.sum(axis=0) >= 3) & (down.sum(axis=0) <= 6)).all()
        assert (np.abs(np.diff(down.astype(int), axis=0)).sum(axis=0) == 2).all()  # one outage without a gap
        starts.append(down.argmax(axis=0) + 1)
        counts = np.bincount(starts[-1], minlength=22)[2:]
        assert len(counts) == 20
        assert (np.abs(counts - 100) < 4.5 * np.sqrt(100 * 0.95)).all()
    assert abs(np.corrcoef(*starts)[0, 1]) < 4.5 / np.sqrt(2000)


# -- beside today's networks -----------------------------------------------------------------------------------------


def test_a_resource_with_the_old_keys_keeps_its_path():
    """What stands beside it in the file, causes and windows included, leaves a two-state chain's path bit by bit."""
    rates = {"failure": 0.1, "recovery": 0.4, "share_when_down": 0.3}
    old = paths(network({"a": line(**rates), "b": line(**rates)}), 200, 20)["availability"]
    new = {"a": line(**rates), "b": line(**rates, causes=["x"]), "c": line(failure=0.2, duration=2)}
    causes = {"x": {"availability": {"failure": 0.3, "recovery": 0.5, "windows": [{"start": 3, "duration": 9}]}}}
    path = paths(network(new, causes), 200, 20)
    np.testing.assert_array_equal(old[:, 0], path["availability"][:, 0])
    np.testing.assert_array_equal(old[:, 1] == 1.0, path["process_up"][:, 1] == 1.0)


def test_two_state_chains_keep_since_alone():
    """Where availability says all, the state has one row more per resource, which follows from availability."""
    for name, resources_there in (("serial_chain", 0), ("five_site_distribution", 1), ("essential_medicines", 5)):
        twin = Twin(library.load(name), replicas=40, seed=6)
        assert twin.compiled.disruptions is None
        assert twin.state.exogenous.shape == (resources_there, 40)
        draws = twin.tape.block(twin.state, 60)
        full, ago = np.ones((resources_there, 40)), np.zeros((resources_there, 40))
        for t in range(60):
            ago = np.where((draws.availability[t] == 1.0) == (full == 1.0), ago + 1.0, 0.0)
            full = draws.availability[t]
            np.testing.assert_array_equal(draws.processes[t], ago)


def test_draws_may_leave_out_what_follows_from_availability():
    """A scenario that gives availability alone counts ``since`` as the tape would have, in both engines."""
    twin = Twin(library.load("five_site_distribution"), replicas=3, seed=2)
    other, torch_twin = twin.fork(), DifferentiableTwin(twin.compiled)
    state, orders = torch_twin.from_twin_state(twin.state), np.full((5, 3), 30.0)
    for _ in range(25):
        draws = twin.tape.block(twin.state, 1)
        given = Draws(*draws[:3])
        twin.step(orders)
        other.step(orders, given)
        period = torch_twin.tensors(draws)
        state, _ = torch_twin.step(state, torch.tensor(orders), *(part[0] for part in period[:3]))
        assert other.state.content_hash() == twin.state.content_hash()
        np.testing.assert_array_equal(state.since.numpy(), twin.state.arrays.since)
    assert (twin.state.arrays.since < 25).any()


# -- state, engines --------------------------------------------------------------------------------------------------

START = {"distribution": "uniform_integer", "low": 2, "high": 20}
RICH = {
    "resources": {
        "a": line(
            failure=0.2, duration={"distribution": "poisson", "mean": 3}, ramp=3, warning={"ahead": 2}, causes=["x"]
        ),
        "b": line(failure=0.1, recovery=0.4, windows=[{"start": START, "duration": 3}]),
    },
    "causes": {"x": {"availability": {"failure": 0.1, "duration": 2, "warning": {"ahead": 1, "false_alarm": 0.2}}}},
}


def rich():
    return network(RICH["resources"], RICH["causes"])


def test_a_snapshot_names_every_process():
    """Rows stand under the resource's name or that of the cause; a restored state goes on as the first would have."""
    twin = Twin(rich(), replicas=3, seed=4)
    orders = np.full((2, 3), 4.0)
    for _ in range(9):
        twin.step(orders)
    data = json.loads(json.dumps(twin.state.snapshot(2)))
    assert set(data["process_up"]) == {"a", "b", "cause:x"} == set(data["process_remaining"])
    assert set(data["warning"]) == {"a", "cause:x"}
    assert set(data["since"]) == {"a", "b"}
    other = twin.at(TwinState.restore(twin.compiled, data))
    for _ in range(15):
        np.testing.assert_array_equal(twin.step(orders)[:, 2], other.step(orders[:, :1])[:, 0])
    assert other.state.snapshot(0) == twin.state.snapshot(2)


@pytest.mark.parametrize(
    ("field", "name", "value", "expected"),
    [
        ("process_up", "a", 2.0, "process_up.a.*at most 1"),
        ("process_up", "a", 0.5, "process_up.a: must be a whole number"),
        ("process_remaining", "cause:x", -1.0, "process_remaining.cause:x"),
        ("process_elapsed", "b", 1.5, "process_elapsed.b: must be a whole number"),
        ("warning", "cause:y", 0.0, "did you mean 'cause:x'"),
        ("since", "b", None, "since.b: this value is required"),
    ],
)
def test_a_snapshot_with_an_impossible_process_is_refused(field, name, value, expected):
    """Each wrong entry is named."""
    twin = Twin(rich())
    data = twin.state.snapshot()
    if value is None:
        del data[field][name]
    else:
        data[field][name] = value
    with pytest.raises(StaleStateError, match=expected):
        TwinState.restore(twin.compiled, data)


def test_a_snapshot_may_leave_out_empty_sections():
    """What a network has nothing of need not be there."""
    twin = Twin(library.load("five_site_distribution"), seed=3)
    twin.step(np.full((5, 1), 30.0))
    data = twin.state.snapshot()
    for name in set(EXOGENOUS) - {"since"}:
        assert data.pop(name) == {}
    assert TwinState.restore(twin.compiled, data).content_hash() == twin.state.content_hash()


def test_a_rollout_in_blocks_equals_single_steps(monkeypatch):
    """Processes go on across blocks of a fused rollout; costs and state are those of single steps."""
    monkeypatch.setattr(engine, "_BLOCK_NUMBERS", 300)
    fused, single = Twin(rich(), replicas=6, seed=8), Twin(rich(), replicas=6, seed=8)
    orders = np.full((2, 6), 4.0)
    result = fused.rollout("constant", orders, 33)
    costs = sum(single.step(orders).copy() for _ in range(33))
    assert fused.state.content_hash() == single.state.content_hash()
    np.testing.assert_allclose(result.terms, costs / 33, rtol=1e-12)
    repeated = Twin(rich(), replicas=12, seed=8)
    repeated.state.replica[:] = np.tile(np.arange(6), 2)
    again = repeated.rollout("constant", np.full((2, 12), 4.0), 33, repeat=2)
    np.testing.assert_array_equal(again.terms[:, :6], again.terms[:, 6:])
    np.testing.assert_array_equal(again.terms[:, :6], result.terms)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_assigned_replicas_begin_as_new_ones(dtype):
    """An episode that begins in some replicas, as environments do it, leaves the others on their paths."""
    twin, alone = (Twin(rich(), replicas=n, seed=2, dtype=dtype) for n in (4, 4))
    orders = np.full((2, 4), 4.0)
    for _ in range(7):
        twin.step(orders)
        alone.step(orders)
    fresh = twin.initial_state(np.full(1, 2, np.uint64), np.full(1, 1, np.uint32), np.full(1, 1, np.uint32))
    twin.state.assign(np.array([1]), fresh)
    single = twin.at(fresh.fork())
    for _ in range(9):
        twin.step(orders)
        alone.step(orders)
        single.step(orders[:, :1])
    for b in (0, 2, 3):
        assert twin.state.snapshot(b) == alone.state.snapshot(b)
    assert twin.state.snapshot(1) == single.state.snapshot(0)


def test_draws_without_the_rows_of_processes_are_refused():
    """Draws made for another world would leave the processes where they are."""
    twin = Twin(rich())
    demand, lead, availability, _ = twin.tape.block(twin.state, 1)
    with pytest.raises(ActionError, match=r"draws\.processes must have shape"):
        twin.step(np.ones((2, 1)), Draws(demand, lead, availability))


def test_the_log_tells_falls_rises_and_ends():
    """Of an outage with a ramp: it begins, recovers step by step, and ends when all works."""
    net = network({"line": line(share_when_down=0.25, ramp=3, windows=[{"start": 2, "duration": 2}])})
    simulation = Simulation(net)
    for _ in range(8):
        simulation.step([0.0])
    events = [(e.time, e.kind, e.quantity) for e in simulation.log if e.subject == "line"]
    assert events == [(2, "outage_begins", 0.25), (4, "recovers", 0.5), (5, "recovers", 0.75), (6, "outage_ends", 1.0)]


def test_nothing_ships_while_the_cause_is_down():
    """A supplier that is up ships nothing while what it depends on is down, and ships half at half its share."""
    causes = {
        "x": {"availability": {"windows": [{"start": 1, "duration": 2}]}},
        "y": {"availability": {"share_when_down": 0.5, "windows": [{"start": 4, "duration": 1}]}},
    }
    twin = Twin(network({"line": line(causes=["x", "y"])}, causes))
    shipped = []
    for _ in range(6):
        twin.step([[10.0]])
        shipped.append(float(twin.state.arrays.shipped[0, 0]))
    assert shipped == [10.0, 0.0, 0.0, 10.0, 5.0, 10.0]


def test_planners_take_a_resource_for_the_chain_nearest_to_it():
    """The plain chain stays as it is; with causes it fails as often as anything does, for the mean time down."""
    plain = Twin(network({"line": line(failure=0.1, recovery=0.3, share_when_down=0.2)})).compiled
    chain = plain.resource_failure, plain.resource_recovery, plain.resource_share_when_down
    assert [float(part[0]) for part in chain] == [0.1, 0.3, 0.2]
    causes = {
        "x": {"availability": {"failure": 0.3, "duration": {"distribution": "uniform_integer", "low": 2, "high": 4}}}
    }
    both = Twin(network({"line": line(failure=0.1, recovery=0.5, share_when_down=0.2, causes=["x"])}, causes)).compiled
    assert both.resource_failure[0] == pytest.approx(1 - 0.9 * 0.7)
    assert both.resource_recovery[0] == pytest.approx(1 / (0.25 * 2 + 0.75 * 3))
    assert both.resource_share_when_down[0] == 0.0
