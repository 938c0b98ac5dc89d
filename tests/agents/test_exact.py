"""The exact cost of a policy in an environment is what the oracles and long simulations say it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.evaluation import measure
from agents.exact import exact_cost, exact_problem, unreliable_problem
from agents.oracles import dual_sourcing as dual
from agents.oracles import lost_sales as lost
from agents.oracles import unreliable_suppliers
from agents.oracles.chain import evaluate
from agents.oracles.problem import Problem
from agents.oracles.unreliable_suppliers_rules import dual_index
from envs.inventory import InventoryTask
from twin import library
from twin.compile import CompiledNetwork, compile_network
from twin.distributions import Poisson
from twin.errors import ActionError, ConfigError
from twin.network import Network

#: Everything that is a function of the state of the chain.
SHOWN = ["on_hand", "position", "in_transit", "arriving", "owed", "backlog"]


class Fixed:
    """Gives one action whatever it sees; the zero action of a task with levels is its base-stock policy."""

    def __init__(self, task: InventoryTask, value: float = 0.0) -> None:
        self.action = np.full(task.action_space.shape or (), value, dtype=np.float32)

    def predict(
        self, observation: NDArray[Any], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        return np.repeat(self.action[None], len(observation), axis=0), state


class Random:
    """A network with random weights: its orders depend on every field and are seldom near a known rule's."""

    def __init__(self, task: InventoryTask, seed: int, reach: float = 1.0) -> None:
        torch.manual_seed(seed)
        fields, arcs = len(task.fields), task.compiled.n_arcs
        self.net = torch.nn.Sequential(torch.nn.Linear(fields, 16), torch.nn.Tanh(), torch.nn.Linear(16, arcs))
        self.reach = reach

    def predict(
        self, observation: NDArray[Any], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        with torch.no_grad():
            action = torch.tanh(self.net(torch.as_tensor(observation) / 4.0)) * self.reach
        return action.numpy(), state


def changed(name: str, *changes: tuple[list[Any], Any], **parameters: Any) -> CompiledNetwork:
    """A network of the library with some values replaced, each by the path of its keys."""
    data = library.load(name, **parameters).to_dict()
    for path, value in changes:
        place = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return compile_network(Network.parse(data))


MODE = ["lanes", 0, "modes", "truck"]
STREAM = ["demands", "customers"]


@pytest.mark.parametrize("demand", ["poisson", "geometric"])
@pytest.mark.parametrize(("lead_time", "penalty"), [(1, 4), (2, 39), (3, 9)])
def test_base_stock_costs_what_the_oracle_says(demand: str, lead_time: int, penalty: int) -> None:
    """The best base-stock level of a Zipkin cell, acted out in the environment, costs the oracle's exact cost."""
    compiled = compile_network(
        library.load("lost_sales_zipkin2008", demand=demand, lead_time=lead_time, penalty=penalty)
    )
    problem = exact_problem(compiled)
    level = lost.best_base_stock(problem).parameters["level"]
    task = InventoryTask(compiled, levels=[float(level)], observe=SHOWN, arrivals="slots")
    found = exact_cost(Fixed(task), task)
    expected = evaluate(problem, lost.base_stock(level))
    assert found.cost == pytest.approx(expected.cost, abs=1e-7)
    assert found.states == expected.states


def test_dual_index_costs_what_is_known() -> None:
    """Dual index with express level 4 and regular level 7 costs 217.0221 (the library's value and its source)."""
    task = InventoryTask("dual_sourcing", levels=[7.0, 4.0], observe=SHOWN)
    known = task.compiled.network.known_value("best_base_stock_cost")
    assert known is not None
    assert exact_cost(Fixed(task), task).cost == pytest.approx(known.value, abs=5.1e-5)
    assert known.value == 217.0221


def test_states_before_receipt_are_the_same_problem() -> None:
    """A rule costs the same whether it is told the net stock after the receipt or its two parts before it."""
    problem = exact_problem(compile_network(library.load("dual_sourcing", regular_lead_time=3)))
    rule = dual.dual_index(4, 4)

    def apart(states: NDArray[np.int64]) -> NDArray[Any]:
        return rule(np.column_stack([states[:, 0] + states[:, 1], states[:, 2:]]))

    net, split = evaluate(problem, rule), evaluate(problem, apart, before_receipt=True)
    assert split.cost == pytest.approx(net.cost, abs=1e-7)
    assert split.states > net.states
    with pytest.raises(ConfigError, match="unmet demand is backlogged"):
        evaluate(exact_problem(changed("lost_sales_zipkin2008")), lost.base_stock(20), before_receipt=True)


def test_problem_of_a_network() -> None:
    """Every number of the problem comes from the network file, prices with the freight."""
    compiled = changed(
        "lost_sales_zipkin2008",
        ([*MODE, "fixed_cost"], 5.0),
        ([*MODE, "freight_cost"], 0.5),
        (["suppliers", "supplier", "offers", "item", "price"], 2.0),
        lead_time=2,
        penalty=19,
    )
    assert exact_problem(compiled) == Problem(Poisson(mean=5.0), 2, 1.0, 19.0, price=2.5, fixed_cost=5.0)
    found = exact_problem(compile_network(library.load("dual_sourcing", regular_lead_time=3, express_price=110)))
    assert (found.lead_time, found.price, found.express_price, found.lost) == (3, 100.0, 110.0, False)


def test_arcs_in_the_other_order_are_the_same_problem() -> None:
    """Which lane of the two comes first in the file does not matter: the express arc is the one without lead time."""
    data = library.load("dual_sourcing").to_dict()
    data["lanes"] = data["lanes"][::-1]
    task = InventoryTask(compile_network(Network.parse(data)), levels=[4.0, 7.0], observe=SHOWN)
    assert exact_cost(Fixed(task), task).cost == pytest.approx(217.0221, abs=5.1e-5)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("network", "parameters", "levels"),
    [
        ("lost_sales_zipkin2008", {"lead_time": 2, "penalty": 9}, [16.0]),
        ("dual_sourcing", {}, [8.0, 3.0]),
    ],
)
def test_random_network_costs_what_its_simulation_says(
    network: str, parameters: dict[str, Any], levels: list[float], seed: int
) -> None:
    """Exact and simulated cost of a random network agree within three standard errors, also where it sees stock and
    backlog apart, which the net stock of the oracles' chain alone does not tell.
    """
    task = InventoryTask(network, parameters=parameters, levels=levels, observe=SHOWN, arrivals="slots")
    policy = Random(task, seed)
    found = exact_cost(policy, task)
    simulated = measure(policy, task, seed=11, paths=256, periods=1500, warm_up=100).cost
    error = simulated.std(ddof=1) / np.sqrt(len(simulated))
    assert error < 0.003 * found.cost
    assert abs(simulated.mean() - found.cost) < 3.0 * error
    # The policy is no constant rule: it is not the base-stock policy in the middle of its box.
    assert abs(found.cost - exact_cost(Fixed(task), task).cost) > 0.01


def test_lots_minimum_and_maximum_are_the_environments() -> None:
    """Orders are rounded as the twin rounds them: lots of 4, at least 8, at most 12, as a rule on the chain says it."""
    compiled = changed(
        "lost_sales_zipkin2008",
        ([*MODE, "lot_size"], 4.0),
        ([*MODE, "minimum_order"], 8.0),
        ([*MODE, "maximum_order"], 12.0),
        lead_time=2,
        penalty=9,
    )
    task = InventoryTask(compiled, levels=[21.0], observe=["position"])

    def rule(states: NDArray[np.int64]) -> NDArray[np.int64]:
        asked = np.maximum(21 - states.sum(1), 0)
        asked = np.where(asked < 4, 0, np.maximum(asked, 8))
        return np.minimum(4 * ((asked + 2) // 4), 12)

    expected = evaluate(exact_problem(compiled), rule)
    assert exact_cost(Fixed(task), task).cost == pytest.approx(expected.cost, abs=1e-7)


def failing(outage: int = 2, **arguments: Any) -> InventoryTask:
    """Two suppliers of which the regular one fails; the observation is what the chain holds."""
    shown = {"observe": ["position", "arriving", "availability"], "arrivals": "slots", **arguments}
    return InventoryTask("two_suppliers_markov", parameters={"outage": outage}, **shown)


@pytest.mark.parametrize("outage", [2, 32])
def test_rules_cost_what_is_known_where_suppliers_fail(outage: int) -> None:
    """Dual index through the environment costs what the oracle says of the rule on its own chain."""
    regular, express = {2: (32, 5), 32: (27, 8)}[outage]
    task = failing(outage, levels=[float(regular), float(express)])
    problem = unreliable_problem(task.compiled)
    expected = unreliable_suppliers.evaluate(problem, dual_index(express, regular))
    found = exact_cost(Fixed(task), task)
    assert found.cost == pytest.approx(expected.cost, abs=1e-7)
    assert found.states == expected.states
    known = task.compiled.network.known_value("best_base_stock_cost")
    assert known is not None
    assert found.cost == pytest.approx(known.value, abs=5.1e-6)


def test_a_policy_that_sees_who_is_up_costs_what_its_simulation_says() -> None:
    """A random network that reads the status: exact and simulated cost agree within three standard errors."""
    task = failing(2, levels=[32.0, 8.0])
    policy = Random(task, 1, reach=0.3)
    found = exact_cost(policy, task)
    simulated = measure(policy, task, seed=11, paths=512, periods=2500, warm_up=100).cost
    error = simulated.std(ddof=1) / np.sqrt(len(simulated))
    assert error < 0.005 * found.cost
    assert abs(simulated.mean() - found.cost) < 3.0 * error


def test_what_the_net_state_does_not_hold_must_not_be_seen_where_suppliers_fail() -> None:
    with pytest.raises(ConfigError, match=r"shows on_hand\[warehouse/item\], on which"):
        exact_cost(Fixed(task := failing(levels=[30.0, 8.0], observe=["on_hand", "availability"])), task)
    with pytest.raises(ConfigError, match="resources limit it"):
        exact_problem(failing().compiled)
    data = library.load("two_suppliers_markov").to_dict()
    data["resources"]["regular_line"]["availability"] |= {"warning": {"ahead": 2}}
    with pytest.raises(ConfigError, match="more than go up and down"):
        unreliable_problem(compile_network(Network.parse(data)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([(["phases"], ["order", "receive", "demand"])], "its phases are order, receive, demand"),
        ([(["products", "item", "integer"], False)], "not held in whole units"),
        ([(["products", "item", "shelf_life"], 3)], "perishes"),
        ([([*MODE, "order_delay"], 1)], "order_delay"),
        ([([*MODE, "capacity"], 9.0)], "capacities"),
        ([([*MODE, "lead_time"], {"distribution": "uniform_integer", "low": 1, "high": 2})], "lead time is random"),
        ([([*MODE, "lead_time"], 0)], "needs one arc with a lead time of at least 1"),
        ([([*STREAM, "unmet"], "backlog")], "an express arc with none"),
        ([([*STREAM, "seasonality"], {"factors": [1.0, 2.0]})], "seasonal"),
        ([([*STREAM, "trend"], {"per_period": 0.1})], "trend or shocks"),
        ([([*STREAM, "autocorrelation"], 0.5)], "correlated"),
        ([([*STREAM, "distribution"], {"distribution": "recorded", "values": [1, 2]})], "recorded"),
        ([([*STREAM, "goodwill"], {"rate": 0.1})], "goodwill"),
        ([([*STREAM, "price"], 3.0)], "earn a price"),
        ([([*MODE, "transit_holding_cost"], 0.1)], "transit_holding_cost"),
    ],
)
def test_other_networks_are_refused_with_the_reason(changes: list[tuple[list[Any], Any]], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        exact_problem(changed("lost_sales_zipkin2008", *changes))


def test_networks_of_several_places_are_refused() -> None:
    with pytest.raises(ConfigError, match="serial_chain: no exact evaluation, because it has 4 stock points"):
        exact_problem(compile_network(library.load("serial_chain")))


def test_what_the_chain_does_not_hold_must_not_be_seen() -> None:
    """Observations of the last demand, and finite horizons, are refused; so are memory, wrong shapes and NaN."""
    task = InventoryTask("lost_sales_zipkin2008", levels=[20.0])
    with pytest.raises(ConfigError, match=r"shows demand\[customers\], on which"):
        exact_cost(Fixed(task), task)
    task = InventoryTask("lost_sales_zipkin2008", levels=[20.0], observe=SHOWN, finite=True, horizon=20)
    with pytest.raises(ConfigError, match="continuing"):
        exact_cost(Fixed(task), task)
    task = InventoryTask("lost_sales_zipkin2008", levels=[20.0], observe=SHOWN)
    policy = Fixed(task)
    with pytest.raises(ActionError, match="not finite"):
        exact_cost(Fixed(task, np.nan), task)
    policy.action = np.zeros(2, dtype=np.float32)
    with pytest.raises(ActionError, match=r"shape \(1, 2\) for 1 observations"):
        exact_cost(policy, task)

    class Remembering(Fixed):
        def predict(self, observation: Any, *_: Any, **__: Any) -> Any:
            return np.zeros((len(observation), 1), dtype=np.float32), (np.zeros(len(observation)),)

    with pytest.raises(ConfigError, match="without memory"):
        exact_cost(Remembering(task), task)
