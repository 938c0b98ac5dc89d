"""What an observation shows can be chosen, and what it shows is what the twin holds."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from envs.core import Batch
from envs.features import spec_hash
from envs.inventory import InventoryTask
from envs.inventory_features import GROUPS, slots_ahead
from twin import library
from twin.errors import ActionError
from twin.network import Network

NETWORKS = library.names()
#: The first half of the hashes of version 0's observations, without and with a finite horizon: policies that were
#: exported before must go on to fit.
VERSION_0 = {
    "beer_game": ("a1caf44af3f63443803ab8c0b5a047e1", "fab8539d2fce78669dea98cb951d7928"),
    "dual_sourcing": ("7949d15cce4e5ef1e9d76905a6ce3f71", "fefa5b0a1e03869d2c5cc128071e28df"),
    "essential_medicines": ("a0c5c299ecadf36583c60eb2e33a6114", "4a9eb7326df38829367c7a3dd4cf71b1"),
    "five_site_distribution": ("060ecd7c242cb476ce3c2cdc985ef9f6", "de6ee247f9a0dbeabe9a9ad132ee56eb"),
    "lost_sales_zipkin2008": ("5cf5f5cbba932d1bc1670f223f9403be", "cc0f58f3e6f13f3a482513f4103d5870"),
    "serial_chain": ("9446ffe901ebe012bfcd709ca462de7f", "f91d5a35cff13af88c147101a08d4dde"),
}


def walk(task: InventoryTask, periods: int = 15, replicas: int = 3) -> Any:
    """After each period of random actions: the batch and, per replica, the observation by field name."""
    batch = Batch(task, replicas)
    slots = np.arange(replicas, dtype=np.uint32)
    observation = batch.reset(np.full(replicas, 2, dtype=np.uint64), slots, np.zeros_like(slots))
    rng = np.random.default_rng(4)
    names = [field.name for field in task.fields]
    for _ in range(periods):
        yield batch, [dict(zip(names, row.tolist(), strict=True)) for row in observation]
        observation = batch.step(rng.uniform(-1, 1, size=(replicas, task.compiled.n_arcs))).observation


def names(network: Any, **arguments: Any) -> list[str]:
    return [field.name for field in InventoryTask(network, **arguments).fields]


def with_demand(**changes: Any) -> Network:
    """The lost-sales network with other demand."""
    data = library.load("lost_sales_zipkin2008").to_dict()
    data["demands"]["customers"].update(changes)
    return Network.parse(data)


@pytest.mark.parametrize("network", sorted(VERSION_0))
def test_the_default_observation_of_version_0_stays(network: str) -> None:
    """Fields, units, bounds and descriptions of the default observation are those that version 0 was released with."""
    found = tuple(spec_hash(InventoryTask(network, finite=finite).fields)[:32] for finite in (False, True))
    assert found == VERSION_0[network]


@pytest.mark.parametrize("network", NETWORKS)
def test_groups_are_the_columns_of_the_whole(network: str) -> None:
    """Each group alone shows its columns of the default observation, and their order is the observation's own."""
    whole = InventoryTask(network, finite=True)
    shown: list[str] = []
    for group in GROUPS:
        if group == "owed":
            continue
        mine = [field for block in whole.observation.blocks if block.group == group for field in block.fields]
        if group == "expected" and not mine:
            continue  # named, it also shows streams that only a season moves
        if mine:
            task = InventoryTask(network, finite=True, observe=[group])
            columns = [field.name for field in whole.fields].index(mine[0].name) + np.arange(len(mine))
            for (_, rows), (_, all_rows) in zip(walk(task, 4), walk(whole, 4), strict=True):
                for row, all_row in zip(rows, all_rows, strict=True):
                    assert list(row.items()) == [list(all_row.items())[k] for k in columns]
            shown += [field.name for field in mine]
    assert shown == [field.name for field in whole.fields]
    turned = InventoryTask(network, observe=["position", "on_hand"])
    assert turned.fields == InventoryTask(network, observe=["on_hand", "position"]).fields
    assert turned.fields[0].name.startswith("on_hand")


@pytest.mark.parametrize("network", NETWORKS)
def test_slots_are_the_pipelines(network: str) -> None:
    """Each slot is what the pipelines into the stock point hold there; all slots together are the units under way."""
    task = InventoryTask(network, arrivals="slots")
    compiled, top = task.compiled, task.compiled.topology
    moved = False
    for batch, rows in walk(task):
        for b, row in enumerate(rows):
            snapshot = batch.twin.state.snapshot(b)
            for i, point in enumerate(compiled.stock_names):
                arcs = [arc for arc, to in zip(compiled.arc_names, top.arc_destination, strict=True) if to == i]
                slots = {key: value for key, value in row.items() if key.startswith(f"arriving[{point}:")}
                assert list(slots) == [f"arriving[{point}:{k}]" for k in range(1, slots_ahead(compiled)[i] + 1)]
                for k, value in enumerate(slots.values()):
                    there = sum(snapshot["pipeline"][arc].get(str(k), 0.0) for arc in arcs)
                    assert value == np.float32(there)
                under_way = sum(snapshot["in_transit"][arc] for arc in arcs)
                assert sum(slots.values()) == pytest.approx(under_way, rel=1e-5, abs=1e-3)
                moved |= under_way > 0
    assert moved


def test_a_lost_sales_state_is_zipkins() -> None:
    """With lead time L the state after receipts is the stock and L - 1 orders under way: no slot more, none less."""
    for lead_time in (1, 2, 3, 4):
        found = names(
            "lost_sales_zipkin2008",
            parameters={"lead_time": lead_time},
            observe=["on_hand", "arriving"],
            arrivals="slots",
        )
        assert found == ["on_hand[store/item]", *(f"arriving[store/item:{k}]" for k in range(1, lead_time))]


def test_owed_is_what_sources_have_not_shipped() -> None:
    """owed[arc] is the snapshot's backorders, on the arcs that keep them; it is shown only where it is asked for."""
    assert not any(name.startswith("owed") for network in NETWORKS for name in names(network))
    assert names("lost_sales_zipkin2008", observe=["on_hand", "owed"]) == ["on_hand[store/item]"]
    task = InventoryTask("serial_chain", observe=["owed"])
    assert [field.name for field in task.fields] == [
        f"owed[{arc}]" for arc in task.compiled.arc_names if not arc.startswith("supplier")
    ]
    total = 0.0
    for batch, rows in walk(task):
        for b, row in enumerate(rows):
            snapshot = batch.twin.state.snapshot(b)
            for name, value in row.items():
                assert value == np.float32(snapshot["backorders"][name[5:-1]])
                total += value
    assert total > 0


@pytest.mark.parametrize(
    ("phases", "first"), [(["receive", "order", "demand"], 0), (["receive", "demand", "order"], 1)]
)
def test_a_forecast_window_by_hand(phases: list[str], first: int) -> None:
    """expected[s] and expected[s:k] are mean x trend x season of the period decided for and the k - 1 after it."""
    factors = [1.0, 2.0, 0.5]
    data = with_demand(seasonality={"factors": factors}, trend={"per_period": 0.05}).to_dict()
    data["phases"] = phases
    task = InventoryTask(Network.parse(data), observe=["expected"], forecast=4)
    assert [field.name for field in task.fields] == [
        "expected[customers]",
        *(f"expected[customers:{k}]" for k in (2, 3, 4)),
    ]
    for t, (_, rows) in enumerate(walk(task, periods=8)):
        for row in rows:
            for k, value in enumerate(row.values()):
                n = t + first + k
                assert value == pytest.approx(5.0 * factors[n % 3] * (1 + 0.05 * n), rel=1e-6)


def test_several_streams_have_a_window_each() -> None:
    """The window of every stream stands together, stream after stream, and none holds another's numbers."""
    data = library.load("one_warehouse", retailers=3).to_dict()
    for k, demand in enumerate(data["demands"].values()):
        demand["forecast"] = {"values": [10.0 * k + 1, 10.0 * k + 2, 10.0 * k + 3]}
    task = InventoryTask(Network.parse(data), observe=["expected"], forecast=2)
    for t, (_, rows) in enumerate(walk(task, periods=5)):
        expected = [10.0 * k + 1 + (t + ahead) % 3 for k in range(3) for ahead in (0, 1)]
        for row in rows:
            assert list(row.values()) == expected
    assert list(row) == [f"expected[customers_{k}{ahead}]" for k in (1, 2, 3) for ahead in ("", ":2")]


def test_only_what_moves_is_expected() -> None:
    """A constant mean is no news; a season's is, where it is asked for, and else sine and cosine say it."""
    assert names("lost_sales_zipkin2008", observe=["on_hand", "expected"], forecast=5) == ["on_hand[store/item]"]
    seasonal = with_demand(seasonality={"factors": [1.0, 2.0]})
    assert not any(name.startswith("expected") for name in names(seasonal))
    assert names(seasonal, observe=["expected"]) == ["expected[customers]"]
    assert "expected[customers:2]" in names(seasonal, forecast=2)


def test_growth_within_the_window_is_inside_the_bounds() -> None:
    """The bound of an expected demand covers the growth until the window's end, past the horizon."""
    growing = with_demand(trend={"per_period": 1.0, "kind": "compound"})
    task = InventoryTask(growing, observe=["expected"], forecast=6, horizon=4)
    batch = Batch(task, 1)
    zero = np.zeros(1, dtype=np.uint32)
    batch.reset(zero.astype(np.uint64), zero, zero)
    for _ in range(3):
        observation = batch.step(np.zeros((1, 1))).observation
    assert observation[0].tolist() == [5.0 * 2.0**n for n in range(3, 9)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"observe": ["on_hnd"]}, ["'on_hnd'", "did you mean 'on_hand'", "periods_left"]),
        ({"observe": "on_hand"}, ["a list", "'on_hand'"]),
        ({"observe": []}, ["shows nothing", "lost_sales_zipkin2008"]),
        ({"observe": ["backlog", "owed"]}, ["shows nothing", "backlog"]),
        ({"arrivals": "slot"}, ["'slot'", "bands, slots", "did you mean 'slots'"]),
        ({"forecast": 0}, ["at least 1", "received 0"]),
    ],
)
def test_a_wrong_choice_is_named(arguments: dict[str, Any], parts: list[str]) -> None:
    """The message has the value, what is allowed and the nearest match."""
    with pytest.raises(ActionError) as error:
        InventoryTask("lost_sales_zipkin2008", **arguments)
    for part in parts:
        assert part in str(error.value)


def test_a_chosen_observation_can_be_pickled() -> None:
    """A pickled task reads the same numbers off the same twin."""
    task = InventoryTask("essential_medicines", finite=True, observe=GROUPS, arrivals="slots", forecast=3)
    other = pickle.loads(pickle.dumps(task))
    for batch, _ in walk(task, 3):
        left = np.full(3, 7.0)
        ours = task.observe(batch.twin, batch.position, left, batch.belief)
        np.testing.assert_array_equal(ours, other.observe(batch.twin, batch.position, left, batch.belief))
    assert other.fields == task.fields
