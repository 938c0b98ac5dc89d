"""Linear programs as policies: right with one path, right with many, and never looking beyond the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.baselines.reading import TwinReading
from agents.baselines.rolling_program import RollingProgram
from agents.baselines.stochastic_program import StochasticProgram
from agents.oracles.hindsight_lp import hindsight_plan
from agents.oracles.scenario_program import ScenarioProgram, longest_path
from envs.core import Batch
from envs.inventory import InventoryTask
from tests.agents.test_hindsight_lp import PROFILE, SEEDS, one_site, plain_networks
from twin import library
from twin.compile import compile_network
from twin.economics import terminal_value
from twin.engine import Twin
from twin.errors import ActionError, ConfigError
from twin.tape import Draws

POLICIES = (RollingProgram, StochasticProgram)


def rest(draws: Draws, t: int) -> Draws:
    return Draws(draws.demand[t:], draws.lead_time[t:], draws.availability[t:])


def only_demand(demand: Any) -> Draws:
    """Draws of a network with one arc and no resource: demand (T, S)."""
    demand = np.asarray(demand, dtype=np.float64)
    return Draws(
        demand[:, None, :],
        np.zeros_like(demand, dtype=np.int32)[:, None, :],
        np.ones((len(demand), 0, demand.shape[1])),
    )


def emptied(name: str) -> Twin:
    """Nothing in stock, nothing under way."""
    twin = Twin(library.load(name), seed=5)
    twin.state.store.numbers[:] = 0.0
    twin.state.arrays.availability[:] = 1.0
    return twin


def task_of(network: Any, policy: Any = RollingProgram, **arguments: Any) -> InventoryTask:
    """A task that shows what a policy reads."""
    compiled = InventoryTask(network, parameters=arguments.pop("parameters", None)).compiled
    return InventoryTask(compiled, **policy.needs(compiled).task_arguments(), **arguments)


# -- the program -----------------------------------------------------------------------------------------------------


@settings(PROFILE, max_examples=40)
@given(network=plain_networks(), seed=SEEDS, terminal=st.booleans())
def test_planning_again_on_a_known_path_costs_the_hindsight_bound(network, seed, terminal):
    """First orders, one period, first orders again, ...: on the true path that pays what the whole plan pays."""
    periods = 7
    twin = Twin(network, seed=seed)
    program, draws = ScenarioProgram(twin.compiled), twin.tape.block(twin.state, periods)
    plan, cost = hindsight_plan(twin.state, draws, with_terminal_value=terminal), 0.0
    for t in range(periods):
        orders = program.orders(twin.state, 0, rest(draws, t), with_terminal_value=terminal)
        cost += float(twin.step(orders[:, None], draws.period(t)).sum())
    cost -= float(terminal_value(twin.state)[0]) if terminal else 0.0
    # Ties are broken at a millionth of the largest cost of a unit, and orders rounded to a millionth of a unit.
    assert cost == pytest.approx(plan.cost, rel=1e-4, abs=1e-2)


def test_the_sample_average_newsvendor():
    """One period, lead time 0: the order is the quantile penalty / (penalty + holding) of the paths drawn."""
    network = one_site({"lead_time": 0}, stock={"holding_cost": 1.0}, penalty=5.0)
    twin = Twin(network)
    demand = np.random.default_rng(4).gamma(3.0, 2.0, 41)
    # A unit costs 1 to buy, so that one short costs 5 - 1 and one left 1 + 1: the 41 x 4 / 6 = 27.3rd, so 28th, value.
    orders = ScenarioProgram(twin.compiled).orders(twin.state, 0, only_demand(demand[None]), with_terminal_value=False)
    assert orders == pytest.approx(np.sort(demand)[27], abs=1e-6)


def test_many_equal_paths_are_one():
    """Ten copies of a path lead to the orders of that path."""
    twin = emptied("serial_chain")
    draws = twin.tape.block(twin.state, 14)
    many = Draws(*(np.repeat(part, 10, axis=2) for part in draws))
    program = ScenarioProgram(twin.compiled)
    one = program.orders(twin.state, 0, draws, with_terminal_value=False)
    assert one.any()
    np.testing.assert_allclose(program.orders(twin.state, 0, many, with_terminal_value=False), one, atol=1e-5)


def test_a_kept_matrix_is_that_of_any_state():
    """A program that has been used from another state gives the orders of a fresh one, order slips included."""
    twin = Twin(library.load("beer_game"))
    program = ScenarioProgram(twin.compiled)
    for t in range(8):
        draws = twin.tape.block(twin.state, 14)
        kept = program.orders(twin.state, 0, draws, with_terminal_value=False)
        fresh = ScenarioProgram(twin.compiled).orders(twin.state, 0, draws, with_terminal_value=False)
        np.testing.assert_array_equal(kept, fresh)
        twin.step(np.full((4, 1), 4.0 + t % 3))


@pytest.mark.parametrize(
    ("name", "periods"),
    # Serial: 2 + 4 + 3 + 1. Orders before receipts: 0, then 1 + 4 twice.
    [("serial_chain", 10), ("three_stage_serial", 10), ("lost_sales_zipkin2008", 4), ("dual_sourcing", 2)],
)
def test_longest_path(name, periods):
    """The sum of lead times along the slowest way, and a period for each stage where orders come before receipts."""
    assert longest_path(compile_network(library.load(name))) == periods


def test_one_period_more_than_the_longest_path_is_the_least_that_pays():
    """With nothing anywhere, a plan over the longest path orders nothing from outside, and one period more does."""
    for name in ("serial_chain", "three_stage_serial"):
        twin = emptied(name)
        longest, program = longest_path(twin.compiled), ScenarioProgram(twin.compiled)
        outside = np.flatnonzero(np.diff(twin.compiled.topology.in_ptr) == 0)
        ordered = [
            program.orders(twin.state, 0, twin.tape.block(twin.state, n), with_terminal_value=False)[outside[0]]
            for n in (longest, longest + 1)
        ]
        assert ordered[0] == 0.0 < ordered[1], name


def test_stock_that_is_worth_more_than_it_costs_has_no_best_plan():
    network = one_site({"lead_time": 0}, stock={"terminal_value": 2.0})
    twin = Twin(network)
    with pytest.raises(ConfigError, match="worth more than it costs to get"):
        ScenarioProgram(twin.compiled).orders(twin.state, 0, only_demand([[3.0]]), with_terminal_value=True)


# -- the policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_no_order_that_comes_too_late(policy):
    """With lead time 2 and 5 periods, orders stop 2 periods before the end; stock that is worth something is bought."""
    for worth, last in ((0.0, 0.0), (1.5, 6.0)):
        mode = {"lead_time": 2, "maximum_order": 6}
        law = {"distribution": "poisson", "mean": 3}
        network = one_site(mode, demand=law, stock={"holding_cost": 0.1, "terminal_value": worth}, penalty=9.0)
        task = task_of(network, finite=True, horizon=5, action_mode="orders")
        rule, batch = policy(task), Batch(task, 3)
        zeros = np.zeros(3, dtype=np.uint32)
        observation = batch.reset(zeros.astype(np.uint64), np.arange(3, dtype=np.uint32), zeros)
        orders = []
        for _ in range(5):
            action, _ = rule.predict(observation)
            result = batch.step(action)
            observation = result.observation
            orders.append(result.orders[0].copy())
        assert (orders[0] > 0.0).all()
        np.testing.assert_array_equal(orders[3:], np.full((2, 3), last))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["beer_game", "five_site_distribution", "dual_sourcing"])
def test_an_observation_says_all_that_the_program_needs(policy, name):
    """Orders read off an observation are those read off the twin, whatever the batch, and the same every time."""
    task = task_of(name, policy, finite=True, horizon=20, action_mode="orders")
    rule, batch = policy(task), Batch(task, 3)
    zeros = np.zeros(3, dtype=np.uint32)
    observation = batch.reset(zeros.astype(np.uint64) + np.uint64(3), np.arange(3, dtype=np.uint32), zeros)
    rng = np.random.default_rng(1)
    for _ in range(4):
        usual = 2.0 * rng.random((3, task.compiled.n_arcs)) * task.compiled.arc_flow
        observation = batch.step(np.round(usual).astype(np.float32)).observation
    left = (task.horizon - batch.elapsed).astype(np.float64)
    exact, _ = rule.orders(rule.parameters, TwinReading(batch.twin, left))
    actions, _ = rule.predict(observation)
    assert exact.any()
    np.testing.assert_allclose(actions, exact.T, rtol=1e-5, atol=1e-3)
    for row, action in zip(observation, actions, strict=True):
        np.testing.assert_array_equal(rule.predict(row)[0], action)


def test_scenarios_have_the_laws_of_the_network():
    """Means and correlation of what is drawn: seasonal Poisson, correlated normal, lead times, breakdowns."""
    season = task_of("three_stage_serial", parameters={"demand": "trend_season"}, finite=True, horizon=30)
    rule = StochasticProgram(season, scenarios=4000)
    state, mean = Twin(season.compiled).state, np.array([[20.0, 30.0, 7.0]])
    demand = rule.draws(mean, state, 0).demand[:, 0]
    np.testing.assert_allclose(demand.mean(axis=1), mean[0], rtol=0.02)
    np.testing.assert_allclose(demand.var(axis=1), mean[0], rtol=0.1)

    retailers = task_of("one_warehouse", StochasticProgram)
    rule = StochasticProgram(retailers, scenarios=4000)
    expected = np.array([[law[0].mean_value] for law in retailers.compiled.demand_distributions])
    drawn = rule.draws(expected, Twin(retailers.compiled).state, 0).demand[0]
    np.testing.assert_allclose(drawn.mean(axis=1), expected[:, 0], rtol=0.05)
    assert np.corrcoef(drawn)[np.triu_indices(10, 1)].mean() == pytest.approx(0.5, abs=0.03)

    late = {"lead_time": {"distribution": "uniform_integer", "low": 1, "high": 3}, "uses": {"quay": 1}}
    quay = {"quay": {"capacity": 9, "availability": {"failure": 0.2, "recovery": 0.5, "share_when_down": 0.25}}}
    task = task_of(one_site(late, {"resources": quay}), StochasticProgram)
    draws = StochasticProgram(task, scenarios=4000).draws(np.full((1, 30), 3.0), Twin(task.compiled).state, 0)
    assert (np.bincount(draws.lead_time.ravel())[1:] / draws.lead_time.size) == pytest.approx(1 / 3, abs=0.01)
    assert draws.availability[0].mean() == pytest.approx(0.8 + 0.2 * 0.25, abs=0.02)
    assert draws.availability[-1].mean() == pytest.approx((0.5 + 0.2 * 0.25) / 0.7, abs=0.02)
    plain = RollingProgram(task).draws(np.full((1, 30), 3.0), Twin(task.compiled).state, 0)
    assert plain.availability[0, 0, 0] == pytest.approx(0.85)
    assert plain.availability[-1, 0, 0] == pytest.approx(0.55 / 0.7)
    assert (plain.lead_time == 2).all()


def test_seed_and_state_decide_what_is_drawn():
    """Other seeds and other states lead to other scenarios, the same ones to the same."""
    task = task_of("lost_sales_zipkin2008", StochasticProgram)
    twin, expected = Twin(task.compiled, replicas=2), np.full((1, 5), 5.0)
    twin.state.arrays.on_hand[:, 1] = 3.0

    def drawn(seed, replica):
        return StochasticProgram(task, seed=seed).draws(expected, twin.state, replica).demand

    np.testing.assert_array_equal(drawn(1, 0), drawn(1, 0))
    assert (drawn(1, 0) != drawn(2, 0)).any()
    assert (drawn(1, 0) != drawn(1, 1)).any()


def test_beyond_the_forecast_the_mean_is_expected():
    """A horizon longer than what is shown goes on with the mean over the season."""
    compiled = compile_network(library.load("three_stage_serial", demand="trend_season"))
    arguments = RollingProgram.needs(compiled).task_arguments()
    task = InventoryTask(compiled, finite=True, horizon=30, **arguments)
    rule = RollingProgram(task, horizon=14)
    expected = rule.expected(TwinReading(Twin(compiled), np.array([30.0])))[0, :, 0]
    truth = compiled.expected_demand(0, np.arange(30))
    np.testing.assert_allclose(expected, [*truth[:11], *[truth.mean()] * 3])


def test_what_does_not_fit_is_said():
    with pytest.raises(ActionError, match=r"horizon must be at least 5, one more than the longest path .* received 4"):
        RollingProgram(task_of("lost_sales_zipkin2008"), horizon=4)
    with pytest.raises(ActionError, match="scenarios must be at least 1 and seed at least 0, received 0 and 0"):
        StochasticProgram(task_of("lost_sales_zipkin2008"), scenarios=0)
    network = one_site({"lead_time": 1}, goodwill={"rate": 0.1})
    with pytest.raises(ActionError, match=r"rolling_program.*does not fit.*goodwill"):
        RollingProgram(task_of(network))
    with pytest.raises(ActionError, match='arrivals="slots"'):
        RollingProgram(InventoryTask("lost_sales_zipkin2008"))
