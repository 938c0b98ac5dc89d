"""Actions and observations reach as far as mail, growing demand and the life of stock ask for."""

from __future__ import annotations

import numpy as np
import pytest

from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from tests.twin.test_engine import shop
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import Network


def with_van(**terms):
    lane = {"from": "maker", "to": "shop", "product": "item", "modes": {"van": {"lead_time": 1, **terms}}}
    return shop(lanes=[lane])


def test_the_box_covers_orders_in_the_mail():
    """With orders ten periods in the mail the middle of the box is the demand of twelve periods, and is seen."""
    task = InventoryTask(Network.parse(with_van(order_delay=10)))
    assert task.codec.center.tolist() == [120.0]
    position = next(field for field in task.fields if field.name.startswith("position["))
    assert position.high >= 20 * 10 * 12
    mail = [k for k, field in enumerate(task.fields) if field.name == "in_mail[maker->shop:van:item]"]
    twin = Twin(task.compiled)
    for _ in range(3):
        twin.step([[7.0]])
    assert task.observe(twin, twin.positions(), np.zeros(1))[0, mail].tolist() == [21.0]


@pytest.mark.parametrize("mode", ["base_stock", "quantity"])
def test_the_box_covers_demand_that_grows(mode):
    """Where demand trebles within the horizon, the largest action can meet it."""
    data = shop()
    data["demands"]["d"]["trend"] = {"per_period": 0.02}
    task = InventoryTask(Network.parse(data), action_mode=mode, horizon=101)
    twin = Twin(task.compiled)
    for _ in range(101):
        twin.step(task.decode(np.ones((1, 1), np.float32), twin, twin.positions()))
    assert twin.state.arrays.backlog[0, 0] == 0.0
    expected = [k for k, field in enumerate(task.fields) if field.name == "expected[d]"]
    assert task.observe(twin, twin.positions(), np.zeros(1))[0, expected] == pytest.approx([10 * (1 + 0.02 * 101)])


def test_life_is_observed():
    """Perishable stock is shown by remaining life."""
    data = shop(products={"item": {"shelf_life": 3}})
    task = InventoryTask(Network.parse(data))
    lives = [k for k, field in enumerate(task.fields) if field.name.startswith("life[")]
    twin = Twin(task.compiled)
    assert task.observe(twin, twin.positions(), np.zeros(1))[0, lives].tolist() == [0.0, 0.0, 50.0]
    twin.step([[5.0]])
    assert task.observe(twin, twin.positions(), np.zeros(1))[0, lives].tolist() == [0.0, 40.0, 5.0]


def test_accrual_needs_demand_that_no_action_moves():
    """Goodwill makes demand answer service, so that leaving it out of the reward would turn policies round."""
    data = shop()
    data["demands"]["d"]["goodwill"] = {"rate": 0.2}
    with pytest.raises(ActionError, match="goodwill"):
        TwinVecEnv(InventoryTask(Network.parse(data)), 2, accrual=True)
