"""A recorded run of the package gym-invmgmt, and the best profit that foresight could have made of it.

The package is a successor of or-gym's InvManagement (Hubbs et al. 2020, arXiv:2008.06319). Phases: order, receive,
demand. What one stage pays another for goods cancels in the sum of profits, so only the prices of raw material and of
the market remain. As in its source, capacity and operating cost of the plant apply to what the plant ships.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from agents.oracles.hindsight_lp import hindsight_plan
from twin.engine import Twin
from twin.network import Network
from twin.tape import Draws

#: One Poisson(20) draw a period, numpy.random.default_rng(42).
SERIES = [24, 14, 18, 22, 19, 21, 25, 24, 24, 19, 15, 18, 20, 14, 16]
SERIES += [19, 23, 18, 22, 16, 24, 23, 19, 14, 22, 21, 22, 21, 16, 25]
DRAWS = Draws(np.array(SERIES, float)[:, None, None], np.zeros((30, 3, 1), np.int32), np.ones((30, 1, 1)))


def three_stages() -> Network:
    """The network of the run."""
    to_retailer = {"lead_time": 4, "transit_holding_cost": 0.01}
    to_second = {"lead_time": 4, "transit_holding_cost": 0.005, "uses": {"plant": 1}}
    return Network.parse(
        {
            "name": "three_stages",
            "phases": ["order", "receive", "demand"],
            "products": {"item": {}},
            "suppliers": {"raw": {"offers": {"item": {"price": 0.5}}}},
            "resources": {"plant": {"capacity": 100, "cost_per_unit": 0.01}},
            "sites": {
                "third": {"stock": {"item": {"holding_cost": 0.01, "initial": 200}}},
                "second": {"stock": {"item": {"holding_cost": 0.02, "initial": 100}}},
                "retailer": {"stock": {"item": {"holding_cost": 0.03, "initial": 100}}},
            },
            "lanes": [
                {"from": "second", "to": "retailer", "product": "item", "modes": {"m": to_retailer}},
                {"from": "third", "to": "second", "product": "item", "modes": {"m": to_second}},
                {"from": "raw", "to": "third", "product": "item", "modes": {"m": {"lead_time": 0}}},
            ],
            "demands": {
                "market": {
                    "site": "retailer",
                    "product": "item",
                    "distribution": 20,
                    "unmet": "backlog",
                    "penalty": 0.1,
                    "price": 2,
                }
            },
        }
    )


def replay(twin: Twin, orders) -> list[float]:
    """Profit of each period under given orders (T, A)."""
    return [-float(twin.step(orders[t][:, None], DRAWS.period(t)).sum()) for t in range(len(orders))]


def test_the_demand_is_that_of_the_generator():
    rng = np.random.default_rng(42)
    assert [int(stats.poisson.rvs(20, random_state=rng)) for _ in SERIES] == SERIES


def test_trace_of_a_constant_order():
    """With 20 ordered on every lane: profit 758.03, the first five rewards, the final stocks."""
    twin = Twin(three_stages())
    rewards = replay(twin, np.full((30, 3), 20.0))
    assert twin.state.arrays.on_hand[:, 0].tolist() == [200.0, 20.0, 22.0]
    assert not twin.state.arrays.backlog.any()
    np.testing.assert_allclose(rewards[:5], [31.62, 12.14, 20.78, 29.54, 23.51], atol=0.00501)
    assert sum(rewards) == pytest.approx(758.03, abs=0.00501)


def test_profit_with_hindsight():
    """The linear program's profit on this path is 1032.14, and its orders earn that in the kernel.

    1032.14 is the optimum of another implementation of the program (with another solver) for the package's equations.
    """
    twin = Twin(three_stages())
    plan = hindsight_plan(twin.state, DRAWS)
    assert plan.cost == pytest.approx(-1032.14, abs=0.00501)
    assert plan.terms["revenue"] == pytest.approx(-2.0 * sum(SERIES))
    assert sum(plan.terms.values()) == pytest.approx(plan.cost)
    assert sum(replay(twin, plan.orders)) == pytest.approx(-plan.cost, abs=1e-6)
