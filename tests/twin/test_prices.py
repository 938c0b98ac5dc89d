"""Prices that move and prices by quantity: by hand, as closed forms of the process, and what is refused."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import NetworkError
from twin.network import Network
from twin.uniforms import uniforms

PURCHASE = [term.name for term in COST_TERMS].index("purchase")


def stall(process=None, *, breaks=(), price=2.0, others=()):
    """A store that buys one product over two lanes from one maker; ``others`` are processes of further products."""
    offers = {f"other{k}": {"price": 1.0, "price_process": entry} for k, entry in enumerate(others)}
    offers["item"] = {"price": price, "breaks": list(breaks)} | ({"price_process": process} if process else {})
    return Network.parse(
        {
            "name": "stall",
            "products": {name: {} for name in offers},
            "suppliers": {"maker": {"offers": offers}},
            "sites": {"store": {"stock": {"item": {}}}},
            "lanes": [
                {
                    "from": "maker",
                    "to": "store",
                    "product": "item",
                    "modes": {"sea": {"lead_time": 3}, "air": {"lead_time": 1, "freight_cost": 1.0}},
                }
            ],
            "demands": {"d": {"site": "store", "product": "item", "distribution": 0}},
        }
    )


def path(network, periods, replicas=1, seed=3):
    """The factor in periods 0 to ``periods``, shape (periods + 1, replicas)."""
    twin = Twin(network, replicas=replicas, seed=seed)
    out = [twin.state.arrays.price[-1].copy()]
    for _ in range(periods):
        twin.step(np.zeros((twin.compiled.n_arcs, replicas)))
        out.append(twin.state.arrays.price[-1].copy())
    return np.array(out)


@pytest.mark.parametrize(
    ("order", "cost"),
    [(9.0, 18.0), (9.999, 19.998), (10.0, 15.0), (39.0, 58.5), (40.0, 40.0), (100.0, 100.0)],
)
def test_breaks_by_hand(order, cost):
    """All units cost the price of the break that is reached: 10 at 1.5 are cheaper than 9 at 2."""
    breaks = [{"from": 10, "price": 1.5}, {"from": 40, "price": 1.0}]
    assert Twin(stall(breaks=breaks)).step([[order], [0.0]])[PURCHASE, 0] == pytest.approx(cost, rel=1e-12)


def test_breaks_count_what_ships_on_one_lane():
    """Two lanes of 6 units reach no break of 10; nor does an order of 12 of which 9 ship."""
    breaks = [{"from": 10, "price": 1.5}]
    assert Twin(stall(breaks=breaks)).step([[6.0], [6.0]])[PURCHASE, 0] == pytest.approx(24.0)
    data = stall(breaks=breaks).to_dict()
    data["lanes"][0]["modes"]["sea"]["capacity"] = 9.0
    assert Twin(Network.parse(data)).step([[12.0], [0.0]])[PURCHASE, 0] == pytest.approx(18.0)


def test_tariffs_by_hand():
    """Steps are in force from their period on, and multiply; the price of a period is charged on what ships in it."""
    tariffs = [{"from": 4, "factor": 2.0}, {"from": 0, "factor": 0.5}, {"from": 2, "factor": 1.5}]
    network = stall({"tariffs": tariffs}, breaks=[{"from": 10, "price": 1.0}])
    twin, factors = Twin(network), [0.5, 0.5, 0.75, 0.75, 1.5, 1.5]
    assert path(network, 5)[:, 0].tolist() == factors
    for t, factor in enumerate(factors):
        order = 4.0 if t % 2 else 12.0
        assert twin.step([[order], [0.0]])[PURCHASE, 0] == order * factor * (2.0 if t % 2 else 1.0)


def test_the_path_is_the_formula():
    """Period by period the factor is what docs/model.md says, from the uniform numbers of stream 3."""
    process = {
        "reversion": 0.3,
        "volatility": 0.2,
        "shock_probability": 0.4,
        "shock": {"distribution": "uniform", "low": 0.1, "high": 0.5},
        "tariffs": [{"from": 5, "factor": 1.25}],
    }
    network = stall(process, others=[{"volatility": 1.0}])  # it is the second price
    numbers = [uniforms(3, 3, 4 + j, periods=12, first_period=1)[:, 0] for j in range(3)]
    x, expected = 0.0, [1.0]
    for t in range(12):
        noise, jumps, size = (float(u[t]) for u in numbers)
        x = 0.7 * x + 0.2 * NormalDist().inv_cdf(noise) + (0.1 + 0.4 * size if jumps < 0.4 else 0.0)
        expected.append(math.exp(x) * (1.25 if t + 1 >= 5 else 1.0))
    np.testing.assert_allclose(path(network, 12)[:, 0], expected, rtol=1e-12)
    alone = stall(process)
    assert not np.allclose(path(alone, 12), path(network, 12))  # another price has other numbers


def test_the_spread_of_a_price_that_returns_is_that_of_its_autoregression():
    """The log price is AR(1): variance volatility ** 2 / (1 - (1 - reversion) ** 2), correlation 1 - reversion."""
    log = np.log(path(stall({"reversion": 0.2, "volatility": 0.1}), 60, replicas=20000))[-2:]
    variance = 0.01 / (1.0 - 0.8**2)
    # standard errors: of a variance about sqrt(2 / n) = 1 %, of a correlation (1 - r ** 2) / sqrt(n) = 0.3 %
    assert log[-1].var() == pytest.approx(variance, rel=0.04)
    assert log[-1].mean() == pytest.approx(0.0, abs=4 * math.sqrt(variance / 20000))
    assert np.corrcoef(log)[0, 1] == pytest.approx(0.8, abs=0.012)


def test_a_price_that_never_returns_spreads_without_end():
    """Without reversion log price is a random walk, and a tariff only moves all of it."""
    log = np.log(path(stall({"volatility": 0.1, "tariffs": [{"from": 20, "factor": 3.0}]}), 40, replicas=20000))
    assert log[40].var() == pytest.approx(40 * 0.01, rel=0.04)
    assert (log[20] - log[19]).mean() == pytest.approx(math.log(3.0), abs=0.004)


def test_jumps_come_as_often_and_as_high_as_stated():
    """With nothing but jumps, their share of all periods and their mean are those of the file."""
    process = {"shock_probability": 0.05, "shock": {"distribution": "gamma", "mean": 0.3, "sd": 0.1}}
    steps = np.diff(np.log(path(stall(process), 50, replicas=4000)), axis=0).ravel()
    jumps = steps[steps > 1e-9]
    assert len(jumps) / len(steps) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / len(steps)))
    assert jumps.mean() == pytest.approx(0.3, abs=4 * 0.1 / math.sqrt(len(jumps)))
    assert jumps.std() == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_path_depends_neither_on_blocks_nor_on_the_batch(dtype):
    """Period by period, in one block, in a rollout or as one of many replicas: the same numbers to the last bit."""
    process = {"reversion": 0.1, "volatility": 0.3, "shock_probability": 0.2, "shock": 0.4}
    network, many = stall(process), Twin(stall(process), replicas=300, seed=8, dtype=dtype)
    one = Twin(network, seed=8, dtype=dtype)
    other = one.at(one.initial_state(np.array([8], np.uint64), np.array([257], np.uint32)))
    block = many.tape.block(many.state, 30)
    assert block.processes.shape == (30, 1, 300)
    many.rollout("constant", np.array([5.0, 0.0]), 30)
    stepped = []
    for _ in range(30):
        other.step(np.array([[5.0], [0.0]]))
        stepped.append(float(other.state.arrays.price[0, 0]))
    assert stepped == block.processes[:, 0, 257].tolist()
    assert many.state.arrays.price[0, 257] == other.state.arrays.price[0, 0]
    assert len(set(stepped)) == 30


AT = "suppliers.maker.offers.item"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"breaks": [{"from": 5, "price": 2.0}]}, [f"{AT}.breaks[0].price", "2 is no discount", "below 2"]),
        (
            {"breaks": [{"from": 5, "price": 1.0}, {"from": 5, "price": 0.5}]},
            [f"{AT}.breaks[1].from", "5 is not above 5", "ascending"],
        ),
        ({"breaks": [{"start": 5, "price": 1.0}]}, [f"{AT}.breaks[0]", "unknown key 'start'", "did you mean 'from'"]),
        ({"breaks": [{"from": 0, "price": 1.0}]}, [f"{AT}.breaks[0].from", "greater than 0"]),
        ({"process": {"volatility": 0.1}, "price": 0.0}, [f"{AT}.price_process", "the price is 0"]),
        ({"process": {"reversion": 0.5}}, [f"{AT}.price_process", "nothing moves this price"]),
        ({"process": {"reversion": 1.5}}, [f"{AT}.price_process.reversion", "1.5", "less than or equal to 1"]),
        ({"process": {"shock_probability": 0.1}}, [f"{AT}.price_process.shock_probability", "without a shock"]),
        ({"process": {"shock": 0.1}}, [f"{AT}.price_process.shock", "without a shock_probability"]),
        (
            {"process": {"shock_probability": 0.1, "shock": {"distribution": "recorded", "values": [1.0]}}},
            [f"{AT}.price_process.shock", "recorded series cannot be drawn from"],
        ),
        (
            {"process": {"shock_probability": 0.1, "shock": {"distribution": "gama", "mean": 1.0, "sd": 1.0}}},
            [f"{AT}.price_process.shock:", "did you mean 'gamma'"],
        ),
        (
            {"process": {"tariffs": [{"from": 3, "factor": 0.0}]}},
            [f"{AT}.price_process.tariffs[0].factor", "greater than 0"],
        ),
        ({"process": {"tariffs": [{"from": 3.5, "factor": 1.0}]}}, [f"{AT}.price_process.tariffs[0].from", "integer"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_price_is_named(arguments, expected):
    """Place, value, what is allowed and the nearest match."""
    with pytest.raises(NetworkError) as caught:
        stall(**arguments)
    for part in expected:
        assert part in str(caught.value)
