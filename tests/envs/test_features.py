"""Observations say what the state's snapshot says, under its names and in its units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.core import Batch
from envs.features import Block, Field, Observation, fields_from_spec, spec_hash
from envs.inventory import InventoryTask
from twin import library
from twin.engine import Twin
from twin.network import Network

NETWORKS = library.names()


def start(task: InventoryTask, replicas: int = 3, seed: int = 2) -> tuple[Batch, np.ndarray[Any, Any]]:
    batch = Batch(task, replicas)
    slots = np.arange(replicas, dtype=np.uint32)
    return batch, batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))


def walk(task: InventoryTask, periods: int = 15, replicas: int = 3) -> list[tuple[Batch, list[dict[str, float]]]]:
    """After each period of random actions: the batch and, per replica, the observation by field name."""
    batch, observation = start(task, replicas)
    rng = np.random.default_rng(4)
    names = [field.name for field in task.fields]
    for _ in range(periods):
        yield batch, [dict(zip(names, row.tolist(), strict=True)) for row in observation]  # type: ignore[misc]
        observation = batch.step(rng.uniform(-1, 1, size=(replicas, task.compiled.n_arcs))).observation


def edited(name: str, **changes: Any) -> Network:
    """A library network with some of its data replaced."""
    return Network.parse({**library.load(name).to_dict(), **changes})


@pytest.mark.parametrize("name", NETWORKS)
def test_named_quantities_are_the_snapshots(name: str) -> None:
    """Stock, units in transit, backlog, demand and availability are the snapshot's numbers under the same names."""
    task = InventoryTask(name)
    sections = ("on_hand", "in_transit", "backlog", "demand", "availability")
    limits = {field.name: (field.low, field.high) for field in task.fields}
    checked = set()
    for batch, rows in walk(task):
        for b, row in enumerate(rows):
            snapshot = batch.twin.state.snapshot(b)
            for section in sections:
                for entity, value in snapshot[section].items():
                    key = f"{section}[{entity}]"
                    if key in row:
                        checked.add(section)
                        assert row[key] == pytest.approx(np.clip(value, *limits[key]), rel=1e-6)
            for entity in snapshot["on_hand"]:
                assert f"on_hand[{entity}]" in row
    assert {"on_hand", "in_transit", "demand"} <= checked


@pytest.mark.parametrize("name", NETWORKS)
def test_arrival_bands_add_up_to_what_is_in_transit(name: str) -> None:
    """Per stock point the units by time of arrival add up to the units under way, and each is the pipeline's."""
    task = InventoryTask(name)
    compiled = task.compiled
    moved = False
    for batch, rows in walk(task):
        for b, row in enumerate(rows):
            snapshot = batch.twin.state.snapshot(b)
            for i, point in enumerate(compiled.stock_names):
                arcs = [
                    arc
                    for arc, to in zip(compiled.arc_names, compiled.topology.arc_destination, strict=True)
                    if to == i
                ]
                bands = {key: value for key, value in row.items() if key.startswith(f"arriving[{point}:")}
                under_way = sum(snapshot["in_transit"][arc] for arc in arcs)
                moved |= under_way > 0
                assert sum(bands.values()) == pytest.approx(under_way, rel=1e-5, abs=1e-3)
                for key, value in bands.items():
                    first, _, last = key[:-1].rpartition(":")[2].partition("-")
                    expected = sum(
                        units
                        for arc in arcs
                        for slot, units in snapshot["pipeline"][arc].items()
                        if int(first) <= int(slot) + 1 <= int(last or first)
                    )
                    assert value == pytest.approx(expected, rel=1e-5, abs=1e-3)
    assert moved


def test_positions_of_a_chain_by_hand() -> None:
    """Chain: on hand plus own pipeline and own unshipped orders, less what customers and the next stage wait for."""
    waited = 0.0
    for batch, rows in walk(InventoryTask("serial_chain"), periods=30):
        for b, row in enumerate(rows):
            s = batch.twin.state.snapshot(b)
            arcs = list(s["in_transit"])
            points = list(s["on_hand"])
            for k, arc in enumerate(arcs):
                owed = s["backlog"]["customers"] if k == 3 else s["backorders"][arcs[k + 1]]
                expected = s["on_hand"][points[k]] + s["in_transit"][arc] + s["backorders"][arc] - owed
                assert row[f"position[{arc}]"] == pytest.approx(expected, rel=1e-5, abs=1e-4)
                waited += owed
    assert waited > 0


def test_positions_of_two_sources_by_hand() -> None:
    """Dual index: the express position is what is there now, the regular one also counts everything under way."""
    differ = False
    for batch, rows in walk(InventoryTask("dual_sourcing"), periods=20):
        for b, row in enumerate(rows):
            s = batch.twin.state.snapshot(b)
            regular, express = sorted(s["in_transit"], key=lambda arc: "express" in arc)
            now = s["on_hand"]["warehouse/item"] - s["backlog"]["customers"]
            assert row[f"position[{express}]"] == now
            assert row[f"position[{regular}]"] == now + s["in_transit"][regular] + s["in_transit"][express]
            differ |= s["in_transit"][regular] > 0
    assert differ


def test_the_start_of_the_five_sites_by_hand() -> None:
    """Before the first order: the file's initial stock plus the flow that has just arrived, and what is under way."""
    task = InventoryTask("five_site_distribution")
    _, observation = start(task, 1)
    row = dict(zip([field.name for field in task.fields], observation[0].tolist(), strict=True))
    assert row["on_hand[central/item]"] == 200 + 100
    assert row["on_hand[south/item]"] == 60 + 25
    assert row["in_transit[plant->central:rail:item]"] == 2 * 100
    assert row["arriving[central/item:1]"] == 100
    assert row["position[plant->central:rail:item]"] == 500
    assert row["availability[line]"] == 1.0


def test_a_season_shows_as_one_turn_of_the_circle() -> None:
    """Sine and cosine follow the period of the year and repeat after one cycle; without seasons they are absent."""
    demands = library.load("lost_sales_zipkin2008").to_dict()["demands"]
    demands["customers"]["seasonality"] = {"factors": [1.0, 2.0, 0.5], "periods_per_factor": 2}
    task = InventoryTask(edited("lost_sales_zipkin2008", demands=demands))
    assert task.compiled.seasonal_cycle == 6
    for t, (_, rows) in enumerate(walk(task, periods=14)):
        for row in rows:
            assert row["season_sin"] == pytest.approx(np.sin(2 * np.pi * t / 6), abs=1e-6)
            assert row["season_cos"] == pytest.approx(np.cos(2 * np.pi * t / 6), abs=1e-6)
    assert "season_sin" not in {field.name for field in InventoryTask("lost_sales_zipkin2008").fields}


def test_only_resources_that_fail_are_shown() -> None:
    """A resource that never fails has no availability field; one that does shows its share when down."""
    resources = library.load("five_site_distribution").to_dict()["resources"]
    safe = {"line": {key: value for key, value in resources["line"].items() if key != "availability"}}
    names = {field.name for field in InventoryTask(edited("five_site_distribution", resources=safe)).fields}
    assert not any(name.startswith("availability") for name in names)
    seen = {
        row["availability[line]"] for _, rows in walk(InventoryTask("five_site_distribution"), 80, 8) for row in rows
    }
    assert sorted(seen) == pytest.approx([0.3, 1.0], rel=1e-6)


def test_numbers_beyond_the_bounds_saturate() -> None:
    """More stock than a field can show reads as its upper bound, more debt as its lower bound; the twin keeps all."""
    task = InventoryTask("dual_sourcing", levels=[1e7, 1e7])
    batch, _ = start(task, 1)
    observation = batch.step(np.zeros((1, 2))).observation
    row = dict(zip([field.name for field in task.fields], observation[0], strict=True))
    bounds = {field.name: np.float32(field.high) for field in task.fields}
    assert batch.twin.state.arrays.on_hand[0, 0] > 1e6
    assert row["on_hand[warehouse/item]"] == bounds["on_hand[warehouse/item]"]
    starved = InventoryTask("dual_sourcing", action_mode="quantity", horizon=10_000)
    batch, _ = start(starved, 1)
    for _ in range(400):
        observation = batch.step(np.full((1, 2), -1.0)).observation
    row = dict(zip([field.name for field in starved.fields], observation[0], strict=True))
    lows = {field.name: np.float32(field.low) for field in starved.fields}
    position = next(name for name in row if name.startswith("position"))
    assert row[position] == lows[position]
    assert starved.observation_space.contains(observation[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_usual_stock_is_well_inside_the_bounds(name: str) -> None:
    """Where a run starts no field is at an upper bound of more than 1, so that observations carry information."""
    task = InventoryTask(name)
    _, observation = start(task)
    high = np.array([field.high for field in task.fields])
    assert (observation[:, high > 1.0] < 0.5 * high[high > 1.0]).all()


def test_fields_survive_their_json_form() -> None:
    """Fields rebuilt from plain data have the same hash, and a change of any attribute changes it."""
    from dataclasses import asdict, replace

    fields = InventoryTask("five_site_distribution").fields
    assert spec_hash(fields_from_spec([asdict(field) for field in fields])) == spec_hash(fields)
    first = fields[0]
    for change in (
        replace(first, name="x"),
        replace(first, unit="x"),
        replace(first, low=-1.0),
        replace(first, high=1.0),
        replace(first, description="x"),
    ):
        assert spec_hash((change, *fields[1:])) != spec_hash(fields)
    assert spec_hash(fields[::-1]) != spec_hash(fields)


def test_blocks_are_read_in_order_and_clipped() -> None:
    """Each reader fills the rows of its own fields; what it writes is cut to their bounds."""
    fields = [Field(name, "1", 0.0, 5.0, "test") for name in "abc"]

    class Fill:
        def __init__(self, value: float) -> None:
            self.value = value

        def read(self, _: Any, out: np.ndarray[Any, Any]) -> None:
            out[...] = self.value

    observation = Observation(
        [Block("test", tuple(fields[:1]), Fill(2.0)), Block("test", tuple(fields[1:]), Fill(9.0))]
    )
    task = InventoryTask("serial_chain")
    batch, _ = start(task, 2)
    seen = observation.read(batch.twin, batch.position, np.zeros(2))
    np.testing.assert_array_equal(seen, np.float32([[2, 5, 5], [2, 5, 5]]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (5, 17), (40, 50)])
def test_a_table_is_the_rows_turned_rounded_and_clipped(shape: tuple[int, int]) -> None:
    """As numpy turns, rounds and clips them, to the sign of a zero; what is not a number stays so."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=shape) * 3.0
    some = rows.reshape(-1)[::3]
    some[:] = np.resize([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e300, 1.0, -1.0], len(some))
    low, high = np.resize([-1.0, 0.0, -np.inf], shape[0]), np.resize([1.0, 2.0, np.inf], shape[0])
    low, high = low.astype(np.float32), high.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = np.clip(np.ascontiguousarray(rows.T, dtype=np.float32), low, high)
    assert Twin.tabulate(rows, low, high).tobytes() == expected.tobytes()
