"""The orders that environments report and show are those that were placed."""

from __future__ import annotations

import numpy as np

from envs.core import Batch
from envs.inventory import InventoryEnv, InventoryTask, InventoryVectorEnv
from envs.render import render_ansi
from envs.sb3 import TwinVecEnv
from twin.compile import compile_network
from twin.network import Network

ACTION = np.array([0.1, -0.2, 0.35, 1.0], dtype=np.float32)


def four_shops() -> Network:
    """Four arcs from an unlimited supplier: lots, a minimum in lots, a maximum, no rule."""
    rules = [{"lot_size": 5}, {"minimum_order": 20, "lot_size": 10}, {"maximum_order": 6}, {}]
    shops = [f"shop{k}" for k in range(4)]
    return Network.parse(
        {
            "name": "shops",
            "products": {"box": {"integer": False}},
            "suppliers": {"maker": {"offers": {"box": {"price": 1.0}}}},
            "sites": {shop: {"stock": {"box": {"holding_cost": 0.1, "initial": 5}}} for shop in shops},
            "lanes": [
                {"from": "maker", "to": shop, "product": "box", "modes": {"truck": {"lead_time": 1, **rule}}}
                for shop, rule in zip(shops, rules, strict=True)
            ],
            "demands": {
                shop: {"site": shop, "product": "box", "distribution": {"distribution": "poisson", "mean": 12}}
                for shop in shops
            },
        }
    )


def test_orders_are_what_was_placed() -> None:
    task = InventoryTask(four_shops(), action_mode="quantity")
    asked = task.codec.targets(ACTION[None])[:, 0]
    env = InventoryEnv(four_shops(), action_mode="quantity", render_mode="ansi")
    env.reset(seed=1)
    *_, info = env.step(ACTION)
    placed = info["orders"]
    np.testing.assert_array_equal(placed, env.unwrapped.batch.twin.state.arrays.shipped[:, 0])
    assert placed.tolist() == [5.0 * np.floor(asked[0] / 5.0 + 0.5), 20.0 if asked[1] >= 10.0 else 0.0, 6.0, asked[3]]
    assert (placed[:3] != asked[:3]).all()
    lines = [line for line in env.render().splitlines() if line.lstrip().startswith("maker->")]
    assert [float(line.split()[1].replace(",", "")) for line in lines] == [round(x, 1) for x in placed if x > 0]


def test_single_vector_and_sb3_environments_place_the_same() -> None:
    network = compile_network(four_shops())
    single = InventoryEnv(network)
    vector = InventoryVectorEnv(2, network)
    sb3 = TwinVecEnv(InventoryTask(network), 2, seed=9)
    single.reset(seed=9)
    vector.reset(seed=9)
    sb3.reset()
    batch = Batch(InventoryTask(network), 2)
    batch.reset(np.full(2, 9, dtype=np.uint64), np.arange(2, dtype=np.uint32), np.zeros(2, dtype=np.uint32))
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1.0, 1.0, (2, 4)).astype(np.float32)
        info = single.step(action[0])[4]
        vector.step(action)
        sb3.step(action)
        orders = batch.step(action).orders
        np.testing.assert_array_equal(info["orders"], orders[:, 0])
        for other in (vector.batch, sb3.batch, batch):
            np.testing.assert_array_equal(other.twin.state.arrays.shipped, orders)
        assert (orders[0] % 5.0 == 0.0).all()
        assert set(orders[1]) <= {0.0, *(10.0 * k for k in range(2, 100))}
        assert (orders[2] <= 6.0).all()


def test_nothing_is_shown_before_the_first_step() -> None:
    env = InventoryEnv(four_shops(), render_mode="ansi")
    env.reset(seed=1)
    assert "maker->" not in render_ansi(env.unwrapped.batch.twin, None)
