"""One warehouse and two retailers, exactly: what it becomes where theory knows the answer, and what the kernel pays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agents.oracles import dp
from agents.oracles.clark_scarf import SerialStage, clark_scarf
from agents.oracles.newsvendor import Newsvendor
from agents.oracles.one_warehouse import OneWarehouse, Retailer, evaluate
from agents.oracles.one_warehouse_dp import optimum
from agents.oracles.problem import lost_sales
from twin.distributions import Fixed, Gamma, Poisson, UniformInteger
from twin.engine import Twin
from twin.errors import ActionError, ConfigError
from twin.network import Network

FOUR, THREE = UniformInteger(low=0, high=4), UniformInteger(low=0, high=3)
LEAD_TIMES = list(itertools.product((0, 1), repeat=2))


def network(problem: OneWarehouse) -> Network:
    """The file of a problem."""

    def stream(site: str, retailer: Retailer) -> dict[str, object]:
        law = retailer.demand.model_dump()
        unmet = "lost" if problem.lost else "backlog"
        return {"site": site, "product": "item", "distribution": law, "unmet": unmet, "penalty": retailer.penalty}

    sites = {"warehouse": problem.holding, "first": problem.first.holding, "second": problem.second.holding}
    ways = [
        ("supplier", "warehouse", problem.lead_time),
        ("warehouse", "first", problem.first.lead_time),
        ("warehouse", "second", problem.second.lead_time),
    ]
    return Network.parse(
        {
            "name": "one_warehouse_two_retailers",
            "phases": ["receive", "order", "demand"],
            "products": {"item": {"integer": True}},
            "suppliers": {"supplier": {"offers": {"item": {}}}},
            "sites": {site: {"stock": {"item": {"holding_cost": cost}}} for site, cost in sites.items()},
            "lanes": [
                {"from": a, "to": b, "product": "item", "modes": {"truck": {"lead_time": periods}}}
                for a, b, periods in ways
            ],
            "demands": {"first": stream("first", problem.first), "second": stream("second", problem.second)},
        }
    )


def simulated(problem: OneWarehouse, policy: object) -> tuple[float, float]:
    """Mean cost per period in the kernel and its standard error, backlog below 0 in the states that the policy sees."""
    twin = Twin(network(problem), replicas=600, seed=11)
    cost = np.zeros(600)
    for t in range(330):
        arrays = twin.state.arrays
        states = np.round(arrays.on_hand).astype(np.int64).T
        states[:, 1:] -= np.round(arrays.backlog).astype(np.int64).T
        paid = twin.step(policy(states).T.astype(np.float64)).sum(axis=0)  # type: ignore[operator]
        cost += paid if t >= 30 else 0.0
    cost /= 300
    return float(cost.mean()), float(cost.std(ddof=1) / np.sqrt(600))


def base_stock(levels: tuple[int, int, int]) -> object:
    """Echelon level of the warehouse, levels of the retailers; asks for more than there may be."""

    def policy(states: np.ndarray) -> np.ndarray:
        asked = np.maximum(np.array(levels[1:]) - states[:, 1:], 0)
        return np.column_stack([np.maximum(levels[0] - states.sum(axis=1), 0), asked])

    return policy


# -- where theory knows the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("warehouse", "store"), LEAD_TIMES)
def test_one_retailer_without_customers_is_a_serial_system(warehouse, store):
    """With backlog the optimum is that of Clark & Scarf's recursion for two stages, goods under way free."""
    idle = Retailer(Fixed(value=0), 0, 2.0, 9.0)
    problem = OneWarehouse(Retailer(FOUR, store, 2.0, 9.0), idle, warehouse, 0.5, lost=False)
    serial = clark_scarf([SerialStage(2.0, store, 0.0), SerialStage(0.5, warehouse, 0.0)], FOUR, 9.0)
    found = optimum(problem)
    assert found.cost == pytest.approx(serial.cost, abs=1e-6)
    assert evaluate(problem, found.policy).cost == pytest.approx(serial.cost, abs=1e-6)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("lead_times", LEAD_TIMES)
def test_a_free_warehouse_leaves_two_problems(lead_times, lost):
    """Where stock at the warehouse costs nothing, the optimum is the sum of two single stock points'."""
    retailers = [Retailer(FOUR, lead_times[0], 2.0, 9.0), Retailer(THREE, lead_times[1], 1.0, 5.0)]
    problem = OneWarehouse(*retailers, 1, 0.0, lost)
    alone = 0.0
    for r in retailers:
        if lost and r.lead_time == 1:
            alone += dp.optimum(lost_sales(r.demand, 1, r.holding, r.penalty)).cost
        else:  # with backlog, or without lead time, a newsvendor
            alone += Newsvendor(r.demand, r.holding, r.penalty, r.lead_time).optimum().cost
    assert optimum(problem).cost == pytest.approx(alone, abs=2e-6)


def test_equal_retailers_may_be_exchanged():
    """Two retailers that differ in nothing but their order cost the same in either, and so do two that differ."""
    a, b = Retailer(FOUR, 1, 1.0, 9.0), Retailer(THREE, 0, 1.5, 4.0)
    one, other = (optimum(OneWarehouse(*pair, 1, 0.5, True)) for pair in ((a, b), (b, a)))
    assert one.cost == pytest.approx(other.cost, abs=1e-6)


# -- the kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("warehouse", "lead_times", "lost"),
    [(1, (1, 1), True), (1, (0, 1), False), (0, (1, 0), True), (0, (1, 1), False)],
)
def test_the_kernel_pays_the_optimal_cost(warehouse, lead_times, lost):
    """Played in the twin on the network's file, the optimal policy costs the optimum within three standard errors."""
    first, second = Retailer(FOUR, lead_times[0], 2.0, 9.0), Retailer(THREE, lead_times[1], 1.0, 5.0)
    problem = OneWarehouse(first, second, warehouse, 0.5, lost)
    found = optimum(problem)
    assert found.upper - found.lower <= 1e-6
    assert found.lower - 1e-9 <= evaluate(problem, found.policy).cost <= found.upper + 1e-9
    mean, error = simulated(problem, found.policy)
    assert error < 0.01 * found.cost
    assert abs(mean - found.cost) <= 3.0 * error


@pytest.mark.parametrize("warehouse", [0, 1])
def test_the_kernel_pays_the_cost_of_a_policy_that_asks_too_much(warehouse):
    """Base stock whose orders the warehouse cannot always fill: shared as in the twin, and dearer than the optimum."""
    problem = OneWarehouse(Retailer(FOUR, 1, 2.0, 9.0), Retailer(THREE, 1, 1.0, 5.0), warehouse, 0.5, True)
    policy = base_stock((9, 7, 5))
    asked = policy(np.array([[1, 0, 0]]))
    assert problem.shipped(np.array([1 if warehouse else 0]), asked)[0, 1:].sum() < asked[0, 1:].sum()
    exact = evaluate(problem, policy).cost
    assert exact > optimum(problem).upper
    mean, error = simulated(problem, policy)
    assert abs(mean - exact) <= 3.0 * error


def test_no_base_stock_policy_costs_less():
    """The best of 300 echelon base-stock policies is 0.1 to 10 % dearer than the optimum."""
    problem = OneWarehouse(Retailer(FOUR, 1, 2.0, 9.0), Retailer(THREE, 1, 1.0, 5.0), 1, 0.5, True)
    costs = [
        evaluate(problem, base_stock((all_, one, two)), tolerance=1e-5).cost
        for all_, one, two in itertools.product(range(7, 17), range(4, 10), range(3, 8))
    ]
    best = optimum(problem).cost
    assert 1.001 * best < min(costs) < 1.1 * best


# -- limits ----------------------------------------------------------------------------------------------------------


def test_bad_input_is_refused():
    one = Retailer(FOUR, 1, 1.0, 9.0)
    with pytest.raises(ConfigError, match="lead_time must be 0 or 1, received 2: a longer one adds numbers"):
        Retailer(FOUR, 2, 1.0, 9.0)
    with pytest.raises(ConfigError, match="lead_time must be 0 or 1, received -1"):
        OneWarehouse(one, one, -1, 0.5, True)
    with pytest.raises(ConfigError, match="demand must be on whole numbers, and gamma is not"):
        Retailer(Gamma(mean=5.0, sd=2.0), 1, 1.0, 9.0)
    with pytest.raises(ConfigError, match="penalty must be above 0"):
        Retailer(FOUR, 1, 1.0, 0.0)
    with pytest.raises(ConfigError, match="holding must be at least 0 and finite, received -1"):
        OneWarehouse(one, one, 1, -1.0, True)
    large = Retailer(Poisson(mean=60.0), 1, 1.0, 9.0)
    with pytest.raises(ConfigError, match="measure demand in larger units"):
        optimum(OneWarehouse(large, large, 1, 0.5, True))
    problem = OneWarehouse(one, one, 1, 0.5, True)
    with pytest.raises(ConfigError, match="tolerance must be above 0"):
        optimum(problem, tolerance=0.0)
    with pytest.raises(ActionError, match=r"orders of shape \(1, 3\), received \(1,\)"):
        evaluate(problem, lambda states: np.zeros(len(states)))
    with pytest.raises(ActionError, match=r"whole numbers of at least 0, received 0\.5"):
        evaluate(problem, lambda states: np.full((len(states), 3), 0.5))
    with pytest.raises(ConfigError, match="too many states"):
        evaluate(problem, lambda states: np.tile([9, 0, 0], (len(states), 1)))
    with pytest.raises(ActionError, match=r"state \[99, 0, 0\] is outside the table"):
        optimum(problem).policy(np.array([[99, 0, 0]]))
