"""Feasible orders in numpy are what the kernel makes of an order."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from twin.engine import Twin
from twin.network import Network
from twin.orders import feasible_orders, largest_useful_orders

ARCS, REPLICAS = 24, 40


def network_of(rng: np.random.Generator) -> Network:
    """Unlimited suppliers' arcs, each into a shop of its own, with random minimum, lot and maximum."""
    lanes, sites = [], {}
    for k in range(ARCS):
        product = str(rng.choice(["whole", "fraction"]))
        lot = rng.choice([0.0, 1.0, 2.0, 5.0, 12.0] + ([] if product == "whole" else [0.1, 2.5, 1 / 3]))
        minimum = rng.choice([0.0, 0.7, 3.0, 11.0, 20.0])
        rules: dict[str, Any] = {"minimum_order": float(minimum)} | ({"lot_size": float(lot)} if lot else {})
        if rng.random() < 0.5:
            rules["maximum_order"] = float(minimum + 2.0 * max(lot, 1.0) + rng.choice([0.0, 0.3, 17.0]))
        sites[f"s{k}"] = {"stock": {product: {}}}
        lanes.append({"from": "maker", "to": f"s{k}", "product": product, "modes": {"m": {"lead_time": 1, **rules}}})
    return Network.parse(
        {
            "name": "orders",
            "products": {"whole": {"integer": True}, "fraction": {"integer": False}},
            "suppliers": {"maker": {"offers": {"whole": {"price": 1.0}, "fraction": {"price": 1.0}}}},
            "sites": sites,
            "lanes": lanes,
            "demands": {"s0": {"site": "s0", "product": next(iter(sites["s0"]["stock"])), "distribution": 1}},
        }
    )


def asked_of(top: Any, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Orders around every threshold, dust, and anything in between."""
    asked = rng.uniform(0.0, 60.0, (ARCS, REPLICAS))
    marks = np.stack([0.0 * top.arc_lot, top.arc_minimum / 2, top.arc_minimum, 2.5 * top.arc_lot, 3 * top.arc_lot])
    asked[:, :5] = marks.T
    asked[:, 5:10] = np.nextafter(marks.T, -1.0)
    asked[:, 10:15] = np.nextafter(marks.T, 100.0)
    asked[:, 15] = np.where(np.isfinite(top.arc_maximum), top.arc_maximum, 7.5)
    asked[:, 16:21] = [-3.0, 1e-12, 9.99e-10, 1e-9, 1e-4]
    asked[:, 21:25] = [9e-5, 0.5, np.nextafter(0.5, 0.0), 1e6]
    return asked


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_places_the_same(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    twin = Twin(network_of(rng), replicas=REPLICAS, dtype=dtype)
    top = twin.compiled.topology
    assert np.isinf(top.arc_capacity).all()
    asked = asked_of(top, rng).astype(dtype)
    rules = (top.arc_minimum, top.arc_lot, top.arc_maximum)
    placed = feasible_orders(asked, *rules)
    assert placed.dtype == dtype
    twin.step(asked)
    np.testing.assert_array_equal(placed, twin.state.arrays.shipped)
    # What can be placed stays as it is, and one replica alone is the same as among others.
    np.testing.assert_array_equal(feasible_orders(placed, *rules), placed)
    np.testing.assert_array_equal(feasible_orders(asked[:, 3], *rules), placed[:, 3])


def test_the_rules_of_the_model() -> None:
    minimum, lot, maximum = [0, 20, 0, 0, 20], [5, 10, 0, 1, 0], [np.inf, 40, 7.5, np.inf, np.inf]
    for asked, expected in (
        ([14.0] * 5, [15, 20, 7.5, 14, 20]),
        ([2.5] * 5, [5, 0, 2.5, 3, 0]),
        ([10.0] * 5, [10, 20, 7.5, 10, 20]),
        ([99.4] * 5, [100, 40, 7.5, 99, 99.4]),
        ([np.nan, -1.0, 1e-10, np.nan, np.nan], [0, 0, 0, 0, 0]),
        ([np.inf] * 5, [np.inf, 40, 7.5, np.inf, np.inf]),
        ([14] * 5, [15, 20, 7.5, 14, 20]),
    ):
        assert feasible_orders(asked, minimum, lot, maximum).tolist() == expected


def test_the_input_is_left_alone() -> None:
    asked = np.array([3.0, 4.0])
    placed = feasible_orders(asked, [0, 0], [0, 0], [np.inf, np.inf])
    placed[:] = 9.0
    assert asked.tolist() == [3.0, 4.0]


def test_the_largest_useful_order_can_be_placed_and_covers_the_limit() -> None:
    limit = np.array([12.0, 10.0, 0.3, 2.4, 7.0, 0.0, np.inf, 60.0])
    minimum = np.array([0.0, 0.0, 0.0, 0.0, 20.0, 20.0, 20.0, 20.0])
    lot = np.array([5.0, 5.0, 0.1, 0.0, 10.0, 10.0, 10.0, 0.0])
    useful = largest_useful_orders(limit, minimum, lot)
    np.testing.assert_allclose(useful, [15.0, 10.0, 0.3, 2.4, 20.0, 0.0, np.inf, 60.0], rtol=1e-15)
    np.testing.assert_array_equal(feasible_orders(useful, minimum, lot, np.full(8, np.inf)), useful)


def test_it_needs_numpy_alone() -> None:
    code = "import sys, twin.orders; print(sorted({'numba', 'torch', 'pydantic', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
