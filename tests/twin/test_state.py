"""Snapshots: what is stale, incomplete or not a number is refused before it becomes a state."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from twin import library
from twin.compile import compile_network
from twin.engine import Twin
from twin.errors import StaleStateError
from twin.state import TwinState, empty_state

COMPILED = compile_network(library.load("five_site_distribution"))


def snapshot():
    """A snapshot with goods under way."""
    twin = Twin(COMPILED, replicas=2, seed=5)
    for _ in range(4):
        twin.step(np.full((5, 2), 30.0))
    return twin.state.snapshot(1)


def test_a_snapshot_is_plain_data_with_names_and_units():
    """Every number stands under the name of its stock point, arc, stream or resource, and JSON keeps it exactly."""
    data = snapshot()
    assert json.loads(json.dumps(data)) == data
    assert set(data["on_hand"]) == {"central/item", "north/item", "east/item", "south/item", "west/item"}
    for arc, amount in data["in_transit"].items():
        assert sum(data["pipeline"][arc].values()) == pytest.approx(amount)
    assert data["clock"] == {"seed": 5, "replica": 1, "episode": 0, "period": 4}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("network_hash",), "other", "another content"),
        (("on_hand",), None, "on_hand"),
        (("pipeline",), None, "pipeline"),
        (("clock",), None, "clock"),
        (("clock", "period"), None, "period"),
        (("on_hand", "north/item"), None, "on_hand.north/item"),
        (("on_hand", "nort/item"), 3.0, "did you mean 'north/item'"),
        (("on_hand", "north/item"), "3", "finite number"),
        (("on_hand", "north/item"), True, "finite number"),
        (("on_hand", "north/item"), float("nan"), "finite number"),
        (("on_hand", "north/item"), -3.0, "on_hand.north/item"),
        (("availability", "line"), 1.5, "availability.line"),
        (("pipeline", "plant->central:rail:item", "9"), 3.0, "no such slot"),
        (("pipeline", "plant->central:rail:item", "soon"), 3.0, "soon"),
        (("pipeline", "plant->central:rail:item", "0"), float("nan"), "finite number"),
        (("pipeline", "plant->central:rail:item", "0"), "many", "finite number"),
        (("pipeline", "plant->central:rail:item", "0"), -4.0, "plant->central:rail:item"),
        (("pipeline", "plant->centrl:rail:item"), {"0": 3.0}, "did you mean 'plant->central:rail:item'"),
        (("in_transit", "plant->central:rail:item"), 1e6, "in_transit"),
    ],
)
def test_a_wrong_snapshot_is_refused(path, value, expected):
    """A missing, unknown, impossible or contradictory entry raises StaleStateError with its place."""
    data = copy.deepcopy(snapshot())
    *parents, last = path
    entry = data
    for key in parents:
        entry = entry[key]
    if value is None:
        del entry[last]
    else:
        entry[last] = value
    with pytest.raises(StaleStateError, match=expected):
        TwinState.restore(COMPILED, data)


def test_a_snapshot_of_another_network_is_refused():
    """The network's content decides, not its name."""
    data = library.load("five_site_distribution").to_dict()
    data["resources"]["line"]["capacity"] = 131
    other = compile_network(type(COMPILED.network).parse(data))
    with pytest.raises(StaleStateError, match="its hash differs"):
        TwinState.restore(other, snapshot())


def test_assign_replaces_exactly_the_named_replicas():
    """assign() puts another state's replicas in place, ring position and all, and leaves the others alone."""
    twin, fresh = Twin(COMPILED, replicas=4, seed=1), Twin(COMPILED, replicas=2, seed=9)
    for _ in range(5):
        twin.step(np.full((5, 4), 20.0))
    before = [twin.state.snapshot(b) for b in range(4)]
    twin.state.assign(np.array([3, 1]), fresh.state)
    after = [twin.state.snapshot(b) for b in range(4)]
    assert after[0] == before[0]
    assert after[2] == before[2]
    assert after[3] == fresh.state.snapshot(0)
    assert after[1] == fresh.state.snapshot(1)


@pytest.mark.parametrize("index", [[1, 2, 3], [0], [3, 0, 2]])
def test_assign_puts_one_replica_in_the_place_of_many(index):
    """A state of one replica goes wherever it is sent, neighbours or not, and nowhere else."""
    twin, fresh = Twin(COMPILED, replicas=4, seed=1), Twin(COMPILED, replicas=1, seed=9)
    for _ in range(5):
        twin.step(np.full((5, 4), 20.0))
    expected = [fresh.state.snapshot(0) if b in index else twin.state.snapshot(b) for b in range(4)]
    twin.state.assign(np.array(index), fresh.state)
    assert [twin.state.snapshot(b) for b in range(4)] == expected


def test_an_empty_state_is_empty_and_available():
    """Nothing anywhere, every resource up, period 0, replicas numbered from 0."""
    state = empty_state(COMPILED, 3)
    assert not any(array.any() for name, array in state.arrays._asdict().items() if name != "availability")
    assert (state.arrays.availability == 1.0).all()
    assert state.replica.tolist() == [0, 1, 2]
    assert not state.period.any()
