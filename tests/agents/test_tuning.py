"""The search finds published parameters, repeats itself, and stays on its own seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.baselines import tuning
from agents.baselines.simulation import acting_task
from agents.baselines.switching import SwitchingPolicy
from agents.baselines.tuning import TuningBudget, simulated_cost, tune
from agents.evaluation import measure
from agents.exact import exact_cost, exact_problem
from agents.oracles import lost_sales
from agents.oracles.chain import evaluate
from agents.registry import BASELINES, baseline, load_class
from envs.inventory import InventoryTask
from tests.agents.test_baselines import serial_optimum
from twin import library
from twin.compile import CompiledNetwork, compile_network
from twin.engine import Twin
from twin.errors import ConfigError
from twin.network import Network
from twin.seeds import Purpose, world_seed

SMALL = TuningBudget(generations=4, candidates=8, paths=2, warm_up=5, periods=10)
#: With parameters to tune, and decided in Python.
STEPPED = [
    name
    for name in BASELINES
    if name not in ("constant", "base_stock", "myopic", "newsvendor", "clark_scarf")
    and "program" not in name
    and not name.startswith("routing_")  # nothing is tuned by this search in them
]


def compiled(name: str, **parameters: Any) -> CompiledNetwork:
    return compile_network(library.load(name, **parameters))


def test_it_finds_the_published_level_of_a_lost_sales_problem() -> None:
    """Zipkin (2008), Poisson demand, L = 4, p = 4: level 25 or 26 (5.20 a period, flat between them)."""
    network = compiled("lost_sales_zipkin2008", lead_time=4, penalty=4)
    found = tune(network)
    assert found.parameters.tolist() in ([25.0], [26.0])
    cost = Twin(network, replicas=400, seed=9).rollout("base_stock", found.parameters, 200, warm_up=50).cost
    assert cost.mean() == pytest.approx(5.20, abs=0.04)
    assert found.cost == pytest.approx(5.20, abs=5 * found.standard_error + 0.02)


def test_it_finds_the_dual_index_policy() -> None:
    """Dual sourcing with regular lead time 2 and express price 105: levels 7 and 4 (217.0221 a period)."""
    network = compiled("dual_sourcing")
    found = tune(network)
    levels = {name.split("->")[0]: level for name, level in zip(network.arc_names, found.parameters, strict=True)}
    assert levels == {"regular": 7.0, "express": 4.0}
    known = network.network.known_value("best_base_stock_cost")
    assert known is not None
    assert found.cost == pytest.approx(known.value, abs=5 * found.standard_error)


def test_it_finds_the_capped_dual_index_policy() -> None:
    """With caps the same problem is solved to 0.006 %: exact cost 216.7824 of levels 7 and 4 and a regular cap of 2."""
    network = compiled("dual_sourcing")
    found = tune(network, "capped_base_stock", budget=TuningBudget(restarts=1, generations=60))
    task = acting_task(network, "capped_base_stock")
    policy = load_class(baseline("capped_base_stock").path)(task, found.parameters)
    assert exact_cost(policy, task).cost == pytest.approx(216.7824, abs=5e-5)


def test_it_finds_the_best_constant_order() -> None:
    """Lost sales, L = 1, p = 4: ordering 4 a period is the best whole number (5.2748 a period)."""
    network = compiled("lost_sales_zipkin2008", lead_time=1, penalty=4)
    found = tune(network, "constant")
    assert found.parameters.tolist() == [4.0]
    assert found.policy == "constant"


@pytest.mark.parametrize(
    ("policy", "candidates"),
    [
        ("capped_base_stock", [(level, cap) for level in range(17, 23) for cap in range(4, 9)]),
        ("s_s", [(level - gap, level) for level in range(17, 23) for gap in range(1, 4)]),
    ],
)
def test_two_parameters_reach_the_best_of_the_exact_chain(policy: str, candidates: list[tuple[int, int]]) -> None:
    """Zipkin (2008), Poisson, L = 2, p = 9: on its Markov chain the tuned policy costs the least of all parameters."""
    network = compiled("lost_sales_zipkin2008", lead_time=2, penalty=9)
    problem = exact_problem(network)
    rule = lost_sales.base_stock if policy == "capped_base_stock" else lost_sales.reorder_up_to
    best = min(evaluate(problem, rule(*pair), tolerance=1e-6).cost for pair in candidates)
    found = tune(network, policy)
    task = acting_task(network, policy)
    assert exact_cost(load_class(baseline(policy).path)(task, found.parameters), task).cost <= best + 1e-5


def test_echelon_levels_reach_clark_and_scarf() -> None:
    """Tuned safety amounts of the serial chain cost, on fresh paths, what Clark & Scarf's optimal levels cost there."""
    network, best = compiled("serial_chain"), serial_optimum()
    found = tune(network, "echelon_base_stock", budget=TuningBudget(restarts=1, generations=40, candidates=16))
    cost = simulated_cost(
        network, "echelon_base_stock", found.parameters[None], seed=5, first_path=0, paths=400, warm_up=60, periods=200
    )[0]
    local = np.array(best.local_levels[::-1])
    optimum = Twin(network, replicas=400, seed=5).rollout("base_stock", local, 200, warm_up=60).cost
    assert optimum.mean() == pytest.approx(best.cost, rel=0.02)
    assert cost.mean() / optimum.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("policy", STEPPED)
@pytest.mark.parametrize("finite", [False, True])
def test_a_search_simulates_what_an_environment_does(policy: str, finite: bool) -> None:
    """Costs of candidates are those of the policy measured on the same paths, a terminal value included."""
    kind, horizon = load_class(baseline(policy).path), 12
    if issubclass(kind, SwitchingPolicy):
        network, horizon = compiled("prolonged_shortage"), 40  # long enough for the shortage
    else:
        data = library.load("five_site_distribution").to_dict()
        data["sites"]["central"]["stock"] = {
            product: {**stock, "terminal_value": 0.5} for product, stock in data["sites"]["central"]["stock"].items()
        }
        network = compile_network(Network.parse(data))
    task = acting_task(network, policy, horizon=horizon, finite=finite)
    start = kind.space(task).start
    candidates = np.stack([start, 1.2 * start, 0.7 * start])
    options = {"warm_up": 3, "periods": horizon}
    cost = simulated_cost(task, policy, candidates, seed=21, first_path=0, paths=5, **options)
    for row, parameters in zip(cost, candidates, strict=True):
        measured = measure(kind(task, parameters), task, seed=21, paths=5, **options)
        np.testing.assert_allclose(row, measured.cost, rtol=2e-5, atol=1e-4)
    assert len(np.unique(cost.round(6))) == cost.size


@pytest.mark.parametrize("policy", ["constant", "base_stock"])
def test_a_finite_problem_is_tuned_for_its_horizon(policy: str) -> None:
    """Stock worth nothing at the end is not built up: over 6 periods the winner costs less than the usual one."""
    network = compiled("serial_chain")
    task = InventoryTask(network, horizon=6, finite=True)
    budget = TuningBudget(restarts=1, generations=30, candidates=16)
    finite, usual = (tune(problem, policy, budget=budget) for problem in (task, network))
    assert finite.simulated_periods % 6 == 0
    both = np.stack([finite.parameters, usual.parameters])
    ours, theirs = simulated_cost(task, policy, both, seed=3, first_path=0, paths=200).mean(axis=1)
    assert ours < theirs
    rule = load_class(baseline(policy).path)
    acting = acting_task(network, policy, horizon=6, finite=True)
    measured = measure(rule(acting, finite.parameters), acting, seed=3, paths=200, periods=0, warm_up=0)
    assert measured.cost.mean() == pytest.approx(ours, rel=1e-5)


def test_without_parameters_there_is_nothing_to_search() -> None:
    """Newsvendor levels come from the network: no path is simulated."""
    found = tune(compiled("lost_sales_zipkin2008"), "newsvendor")
    assert (len(found.parameters), found.cost, found.standard_error, found.simulated_periods) == (0, None, None, 0)


def test_a_policy_that_does_not_fit_is_refused() -> None:
    """A policy of one stock point is not tuned for a chain; the message has both names and the reason."""
    with pytest.raises(ConfigError, match=r"'myopic' does not fit the network 'serial_chain'.*4 stock points"):
        tune(compiled("serial_chain"), "myopic")


@pytest.mark.parametrize("policy", ["base_stock", "constant", "echelon_base_stock"])
def test_a_seed_gives_one_answer(policy: str) -> None:
    """The same seed finds the same parameters, cost and effort, whatever numpy's global state; another seed differs."""
    network = compiled("five_site_distribution")
    np.random.seed(1)  # noqa: NPY002 (the global state must not matter)
    first = tune(network, policy, seed=3, budget=SMALL)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002
    again = tune(network, policy, seed=3, budget=SMALL)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert (first.cost, first.standard_error, first.simulated_periods) == (
        again.cost,
        again.standard_error,
        again.simulated_periods,
    )
    other = tune(network, policy, seed=4, budget=SMALL)
    assert not np.array_equal(first.parameters, other.parameters)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("lost_sales_zipkin2008", "base_stock"),
        ("five_site_distribution", "base_stock"),
        ("lost_sales_zipkin2008", "s_s"),
        ("five_site_distribution", "exponential_smoothing"),
    ],
)
def test_all_paths_come_from_the_tuning_block(name: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every world the search simulates has a tuning seed, and no two rounds share a path."""
    calls: list[tuple[int, int, int]] = []
    real = simulated_cost

    def watch(*arguments: Any, **options: Any) -> Any:
        calls.append((options["seed"], options["first_path"], options["paths"]))
        return real(*arguments, **options)

    seeds: list[int] = []
    start = Twin.initial_state

    def watch_twin(self: Twin, seed: Any, replica: Any, episode: Any = None) -> Any:
        if len(seed) > 1:
            seeds.extend(seed.tolist())
        return start(self, seed, replica, episode)

    monkeypatch.setattr(tuning, "simulated_cost", watch)
    monkeypatch.setattr(Twin, "initial_state", watch_twin)
    tune(compiled(name), policy, seed=6, budget=SMALL)
    block = world_seed(Purpose.TUNING, 6)
    assert calls
    assert {seed for seed, _, _ in calls} == set(seeds) == {block}
    assert all(block != world_seed(purpose, 6) for purpose in Purpose if purpose is not Purpose.TUNING)
    used = [path for _, first, number in calls for path in range(first, first + number)]
    assert len(used) == len(set(used))


@pytest.mark.parametrize("policy", ["base_stock", "constant", "capped_base_stock", "r_q"])
def test_a_candidate_costs_the_same_in_any_company(policy: str) -> None:
    """simulated_cost gives a candidate the same cost on every path alone, in a pair and among nine."""
    network = compiled("five_site_distribution")
    rng = np.random.default_rng(0)
    parameters = network.n_arcs * (1 if policy in ("base_stock", "constant") else 2)
    candidates = rng.uniform(20, 200, size=(9, parameters))
    options: dict[str, Any] = {"seed": 12, "first_path": 4, "paths": 3, "warm_up": 4, "periods": 9}
    together = simulated_cost(network, policy, candidates, **options)
    assert together.shape == (9, 3)
    np.testing.assert_array_equal(together[:2], simulated_cost(network, policy, candidates[:2], **options))
    for n in (0, 8):
        np.testing.assert_array_equal(together[n], simulated_cost(network, policy, candidates[n : n + 1], **options)[0])
    assert len(np.unique(together)) == together.size


def test_its_costs_are_the_twins() -> None:
    """simulated_cost is Twin.rollout on replicas first_path to first_path + paths - 1 of the seed."""
    network = compiled("serial_chain")
    levels = np.array([12.0, 26.0, 21.0, 13.0])
    twin = Twin(network, replicas=7, seed=31)
    expected = twin.rollout("base_stock", levels, 20, warm_up=6).cost[2:]
    cost = simulated_cost(network, "base_stock", levels[None], seed=31, first_path=2, paths=5, warm_up=6, periods=20)
    np.testing.assert_allclose(cost[0], expected, rtol=1e-12)


def test_whole_unit_networks_get_whole_numbers() -> None:
    """Where orders are whole units the levels are too."""
    found = tune(compiled("dual_sourcing"), budget=SMALL)
    np.testing.assert_array_equal(found.parameters, np.round(found.parameters))


def test_progress_of_grids_is_reported() -> None:
    """Every grid calls back with its number, their total and a best cost that never rises."""
    seen: list[tuple[int, int, float]] = []
    tune(compiled("lost_sales_zipkin2008"), "s_s", budget=SMALL, progress=lambda *entry: seen.append(entry))
    assert [(done, of) for done, of, _ in seen] == [(k + 1, len(seen)) for k in range(len(seen))]
    best = [cost for _, _, cost in seen]
    assert best == sorted(best, reverse=True)


def test_progress_is_reported() -> None:
    """Every generation calls back with its number, their total and a best cost that never rises."""
    seen: list[tuple[int, int, float]] = []
    tune(compiled("dual_sourcing"), budget=SMALL, progress=lambda *entry: seen.append(entry))
    total = SMALL.restarts * SMALL.generations
    assert [(done, of) for done, of, _ in seen] == [(k + 1, total) for k in range(total)]
    best = [cost for _, _, cost in seen]
    assert best == sorted(best, reverse=True)


def test_an_unknown_policy_is_refused() -> None:
    """A policy that the registry does not have is a ConfigError with the nearest that it has."""
    with pytest.raises(ConfigError, match=r"'s_S'.*allowed: constant, base_stock.*did you mean 's_s'"):
        tune(compiled("dual_sourcing"), "s_S")


@pytest.mark.parametrize("change", [{"generations": 0}, {"paths": 0}, {"periods": 0}, {"candidates": 1}])
def test_an_impossible_budget_is_refused(change: dict[str, int]) -> None:
    """A budget that simulates nothing is a ConfigError, as the docstring promises."""
    (name,) = change
    with pytest.raises(ConfigError, match=rf"tuning\.{name} must be at least"):
        TuningBudget(**{"generations": 2, "candidates": 8, "paths": 2, "warm_up": 2, "periods": 4, **change})
