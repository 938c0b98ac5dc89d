"""Accrual rewards differ from the true ones by what the docstring of TwinVecEnv says, and by nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from twin import library
from twin.economics import COST_TERMS
from twin.errors import ActionError
from twin.network import Network

NAMES = [term.name for term in COST_TERMS]
SLOTS, HORIZON = 3, 9


def play(network: str | Network, *, accrual: bool, periods: int = 25) -> list[dict[str, Any]]:
    """One entry per period: rewards (B,), cost terms, and the state's arrays at its end, before any reset."""
    world = TwinVecEnv(InventoryTask(network, horizon=HORIZON), SLOTS, seed=7, accrual=accrual)
    world.reset()
    rng = np.random.default_rng(1)
    step, seen = world.batch.step, []

    def watch(action: Any) -> Any:
        result = step(action)
        arrays = world.batch.twin.state.arrays
        seen.append({"costs": dict(zip(NAMES, result.costs.copy(), strict=True)), "true": result.reward.copy()})
        seen[-1] |= {name: getattr(arrays, name).copy() for name in arrays._fields}
        return result

    world.batch.step = watch  # type: ignore[method-assign]
    for _ in range(periods):
        _, reward, _, infos = world.step(rng.uniform(-1, 1, size=(SLOTS, world.task.compiled.n_arcs)))
        seen[-1] |= {"reward": reward, "infos": infos}
    return seen


def test_with_backlog_only_the_surcharge_over_standard_cost_is_left_of_purchases() -> None:
    """Dual sourcing: customers take all they ask for in the end, so buying at standard cost is free.

    Stock and debts change by what is shipped less what is asked for. So of the purchases only the price difference to
    the standard cost of a unit remains, beside holding and backlog.
    """
    task = InventoryTask("dual_sourcing")
    (standard,) = task.compiled.unit_value
    assert 100 <= standard <= 105
    price = {"regular": 100.0, "express": 105.0}
    surcharge = np.array([price[name.split("->")[0]] - standard for name in task.compiled.arc_names])
    bought = 0.0
    for period in play("dual_sourcing", accrual=True):
        expected = -(period["costs"]["holding"] + period["costs"]["backlog"]) - surcharge @ period["shipped"]
        np.testing.assert_allclose(period["reward"], expected, rtol=1e-5, atol=1e-2)
        bought += period["shipped"].sum()
    assert bought > 0


def test_with_lost_sales_a_lost_unit_saves_its_standard_cost() -> None:
    """Five sites: purchases and freight vanish, since they are the standard cost; what is not sold is not consumed.

    A case costs 10 + 0.3 at the centre and its truck on top at a store.
    """
    network = library.load("five_site_distribution")
    value = {"north": 10.7, "east": 10.6, "south": 10.8, "west": 10.6}
    stores = np.array([value[demand.site] for demand in network.demands.values()])
    lost, moved = 0.0, 0.0
    for period in play("five_site_distribution", accrual=True):
        costs = period["costs"]
        expected = -costs["holding"] - costs["lost_sales"] - costs["revenue"] + stores @ period["lost"]
        np.testing.assert_allclose(period["reward"], expected, rtol=1e-5, atol=1e-2)
        lost += period["lost"].sum()
        moved += costs["purchase"].sum() + costs["freight"].sum()
    assert lost > 0
    assert moved > 0


@pytest.mark.parametrize("name", library.names())
def test_over_time_the_difference_is_wealth_gained_plus_demand(name: str) -> None:
    """Summed within an episode, accrual minus true reward is the change of book value plus the value of all demand."""
    compiled = InventoryTask(name).compiled
    top, value = compiled.topology, compiled.unit_value
    world = TwinVecEnv(InventoryTask(name, horizon=HORIZON), SLOTS, seed=7, accrual=True)
    world.reset()

    def wealth(arrays: Any) -> Any:
        total = np.zeros(SLOTS)
        for i in range(compiled.n_stocks):
            total += value[i] * arrays["on_hand"][i]
        for a in range(compiled.n_arcs):
            total += value[top.arc_destination[a]] * arrays["in_transit"][a]
        for d in range(compiled.n_demands):
            total -= value[top.demand_stock[d]] * arrays["backlog"][d]
        return total

    opening = wealth(world.batch.twin.state.arrays._asdict())
    played = play(name, accrual=True, periods=HORIZON)
    difference = sum(period["reward"].astype(np.float64) - period["true"] for period in played)
    consumed = sum(value[top.demand_stock] @ period["demand"] for period in played)
    scale = max(1.0, sum(np.abs(period["reward"]).sum() + np.abs(period["true"]).sum() for period in played))
    np.testing.assert_allclose(difference, wealth(played[-1]) - opening + consumed, rtol=1e-6, atol=1e-6 * scale)
    if value.any():  # else a unit costs nothing
        assert (np.abs(difference) > 0).all()


@pytest.mark.parametrize("name", library.names())
def test_a_new_episode_starts_with_its_own_book(name: str) -> None:
    """The first reward after an automatic reset is what the same period gives in a world that was reset by hand."""
    compiled = InventoryTask(name).compiled
    top, value = compiled.topology, compiled.unit_value
    # What the network file says is there at the start, on hand and under way.
    opening = value @ compiled.initial_on_hand
    for a in range(compiled.n_arcs):
        opening += value[top.arc_destination[a]] * compiled.initial_flow[a] * top.arc_window[a]
    for period in play(name, accrual=True, periods=3 * HORIZON)[::HORIZON]:
        owned = value @ period["on_hand"] + value[top.arc_destination] @ period["in_transit"]
        owned -= value[top.demand_stock] @ period["backlog"]
        expected = period["true"] + owned - opening + value[top.demand_stock] @ period["demand"]
        np.testing.assert_allclose(period["reward"], expected, rtol=1e-5, atol=1e-6 * max(1.0, opening))


@pytest.mark.parametrize("name", ["five_site_distribution", "dual_sourcing"])
def test_episode_statistics_stay_true(name: str) -> None:
    """With accrual on, the episode's r and costs are those of the true rewards, and observations do not change."""
    plain, accrual = play(name, accrual=False), play(name, accrual=True)
    sums = np.zeros(SLOTS)
    ends = 0
    for one, other in zip(plain, accrual, strict=True):
        np.testing.assert_array_equal(one["true"], other["true"])
        np.testing.assert_allclose(one["reward"], one["true"], rtol=1e-6)
        sums += one["true"]
        for b, (mine, theirs) in enumerate(zip(one["infos"], other["infos"], strict=True)):
            if "episode" not in mine:
                continue
            ends += 1
            assert mine["episode"]["r"] == theirs["episode"]["r"] == pytest.approx(sums[b])
            assert mine["costs"] == theirs["costs"]
            sums[b] = 0.0
    assert ends == 2 * SLOTS


def test_a_finite_problem_has_no_accrual_rewards() -> None:
    """With a finite horizon leftover stock is worth nothing, so accrual is refused."""
    with pytest.raises(ActionError, match="finite"):
        TwinVecEnv(InventoryTask("dual_sourcing", finite=True), 2, accrual=True)
