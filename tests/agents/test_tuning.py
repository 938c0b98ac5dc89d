"""The search finds published parameters, repeats itself, and stays on its own seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.baselines import tuning
from agents.baselines.tuning import TuningBudget, simulated_cost, tune
from twin import library
from twin.compile import CompiledNetwork, compile_network
from twin.engine import Twin
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

SMALL = TuningBudget(generations=4, candidates=8, paths=2, warm_up=5, periods=10)


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


def test_it_finds_the_best_constant_order() -> None:
    """Lost sales, L = 1, p = 4: ordering 4 a period is the best whole number (5.2748 a period)."""
    network = compiled("lost_sales_zipkin2008", lead_time=1, penalty=4)
    found = tune(network, "constant")
    assert found.parameters.tolist() == [4.0]
    assert found.policy == "constant"


@pytest.mark.parametrize("policy", ["base_stock", "constant"])
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


@pytest.mark.parametrize("name", ["lost_sales_zipkin2008", "five_site_distribution"])
def test_all_paths_come_from_the_tuning_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    tune(compiled(name), seed=6, budget=SMALL)
    block = world_seed(Purpose.TUNING, 6)
    assert calls
    assert {seed for seed, _, _ in calls} == set(seeds) == {block}
    assert all(block != world_seed(purpose, 6) for purpose in Purpose if purpose is not Purpose.TUNING)
    used = [path for _, first, number in calls for path in range(first, first + number)]
    assert len(used) == len(set(used))


@pytest.mark.parametrize("policy", ["base_stock", "constant"])
def test_a_candidate_costs_the_same_in_any_company(policy: str) -> None:
    """simulated_cost gives a candidate the same cost on every path alone, in a pair and among nine."""
    network = compiled("five_site_distribution")
    rng = np.random.default_rng(0)
    candidates = rng.uniform(20, 200, size=(9, network.n_arcs))
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


def test_progress_is_reported() -> None:
    """Every generation calls back with its number, their total and a best cost that never rises."""
    seen: list[tuple[int, int, float]] = []
    tune(compiled("dual_sourcing"), budget=SMALL, progress=lambda *entry: seen.append(entry))
    total = SMALL.restarts * SMALL.generations
    assert [(done, of) for done, of, _ in seen] == [(k + 1, total) for k in range(total)]
    best = [cost for _, _, cost in seen]
    assert best == sorted(best, reverse=True)


def test_an_unknown_policy_is_refused() -> None:
    """A policy that cannot be tuned is a ConfigError with the ones that can."""
    with pytest.raises(ConfigError, match=r"'s_s'.*allowed: base_stock, constant"):
        tune(compiled("dual_sourcing"), "s_s")


@pytest.mark.parametrize("change", [{"generations": 0}, {"paths": 0}, {"periods": 0}, {"candidates": 1}])
def test_an_impossible_budget_is_refused(change: dict[str, int]) -> None:
    """A budget that simulates nothing is a ConfigError, as the docstring promises."""
    (name,) = change
    with pytest.raises(ConfigError, match=rf"tuning\.{name} must be at least"):
        TuningBudget(**{"generations": 2, "candidates": 8, "paths": 2, "warm_up": 2, "periods": 4, **change})
