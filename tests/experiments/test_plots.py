"""Pictures draw the numbers they are given, name their units, and come out the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from agents.baselines.base_stock import BaseStock
from agents.baselines.constant import Constant
from agents.baselines.routing_static import StaticPlan
from agents.exact import exact_problem
from agents.oracles.cargo_flow import CargoFlow
from agents.oracles.dp import optimum
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from experiments.plots import (
    COLOURS,
    DrawnPair,
    LearningCurve,
    StateGrid,
    cost_figure,
    difference_figure,
    figure_png,
    figure_svg,
    gap_figure,
    learning_curve,
    learning_figure,
    leg_flows,
    liner_map_figure,
    mean_flows,
    network_figure,
    plot_trajectories,
    policy_map_figure,
    profile,
    profile_figure,
    save_figure,
    trajectory_figure,
)
from experiments.plots.style import scaled
from experiments.statistics import Interval
from experiments.train import TrainResult
from twin import library
from twin.compile import compile_network
from twin.errors import ConfigError, RunError
from twin.liner import library as liner_library
from twin.liner.calls import call_graph
from twin.liner.routing import LEG


def lost_sales(lead_time: int = 2) -> InventoryTask:
    return InventoryTask("lost_sales_zipkin2008", parameters={"lead_time": lead_time}, action_mode="orders")


def policies() -> dict[str, tuple[object, InventoryTask]]:
    task = lost_sales()
    return {
        "base_stock": (BaseStock(task, np.array([17.0])), task),
        "constant": (Constant(task, np.array([4.0])), task),
        "low_base_stock": (BaseStock(task, np.array([12.0])), task),
    }


def drawn_costs() -> Figure:
    terms = {"a": {"holding": 2.0, "lost_sales": 1.0, "revenue": -5.0}, "b": {"holding": 1.0, "revenue": -4.0}}
    return cost_figure(terms, {"a": Interval(-2, -2.5, -1), "b": Interval(-3, -3, -3)}, unit="EUR per week")


def drawn_pairs(small: float = 0.01) -> Figure:
    pairs = [
        DrawnPair("ppo", "rule", Interval(-small, -2 * small, small), Interval(0.6, 0.4, 0.8), "not decided"),
        DrawnPair("ppo", "constant", Interval(-9, -10, -8), Interval(1.0, 0.99, 1.0), "lower"),
        DrawnPair("rule", "best", Interval(1, 0.5, 2), Interval(0.1, 0.0, 0.2), "higher"),
    ]
    return difference_figure(pairs, unit="EUR per week")


def drawn_learning() -> Figure:
    curve = LearningCurve(
        np.array([0, 100, 200]), (Interval(900, 800, 1000), Interval(12, 11, 13), Interval(10, 9, 11)), 3
    )
    return learning_figure({"ppo": curve}, unit="EUR per week", levels={"optimum": 9.5})


def drawn_profile() -> Figure:
    rng = np.random.default_rng(0)
    return profile_figure({"a": rng.normal(size=40), "b": rng.normal(1, size=(3, 40))}, xlabel="gap, %", what="paths")


def drawn_gaps() -> Figure:
    found = {
        "a": {"x": [Interval(1, 0, 2), Interval(2, 2, 2)]},
        "b": {"x": [Interval(3, 3, 3)], "y": [Interval(4, 4, 4)]},
    }
    return gap_figure(["x", "y"], found, xlabel="gap, %")


def drawn_trajectories() -> Figure:
    return trajectory_figure(policies(), seed=1, paths=8, periods=10, warm_up=5)  # type: ignore[arg-type]


def drawn_network() -> Figure:
    return network_figure(compile_network(library.load("essential_medicines")), np.linspace(0.0, 3e5, 32))


def drawn_map() -> Figure:
    task = lost_sales()
    grid = StateGrid(task.compiled, "on_hand", "arriving[:1]", range(6), range(5), {})
    orders = {"rule": grid.orders(BaseStock(task, np.array([17.0])), task), "optimum": grid.optimal_orders()}
    return policy_map_figure(grid, orders)


FIGURES: dict[str, tuple[Callable[[], Figure], tuple[str, ...]]] = {
    "costs": (drawn_costs, ("EUR per week",)),
    "pairs": (drawn_pairs, ("EUR per week", "%")),
    "learning": (drawn_learning, ("EUR per week", "environment steps")),
    "profile": (drawn_profile, ("%", "share of paths")),
    "gaps": (drawn_gaps, ("gap, %",)),
    "trajectories": (drawn_trajectories, ("unit", "money a day", "day (after 5 of warm-up)")),
    "network": (drawn_network, ("pack", "per week")),
    "map": (drawn_map, ("unit", "order")),
}


def words(figure: Figure) -> str:
    """All axis labels and titles of a figure, and the label of its colour bar."""
    axes = figure.axes
    parts = [text for axis in axes for text in (axis.get_xlabel(), axis.get_ylabel(), axis.get_title())]
    return "\n".join([*parts, figure.get_suptitle()])


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_names_its_units_and_repeats(name: str, tmp_path: Path) -> None:
    """Drawn twice it is the same file, as PNG and SVG, without a warning; its labels have the units."""
    make, units = FIGURES[name]
    figure = make()
    for unit in units:
        assert unit in words(figure)
    assert {path.name for path in save_figure(figure, tmp_path, name)} == {f"{name}.png", f"{name}.svg"}
    assert (tmp_path / f"{name}.svg").read_bytes() == figure_svg(make(), name)
    assert (tmp_path / f"{name}.png").read_bytes() == figure_png(make())
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_bars_are_the_terms() -> None:
    """Positive terms to the right, earnings to the left, each as long as its cost; the mark is the sum."""
    axis = drawn_costs().axes[0]
    bars = {(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axis.patches}
    assert {(0.0, 2.0), (2.0, 1.0), (0.0, -5.0), (0.0, 1.0), (0.0, -4.0)} <= bars


def test_small_differences_are_seen_beside_large_ones() -> None:
    """Where one is hundreds of times another the scale is logarithmic on both sides, else it is not."""
    assert drawn_pairs(0.01).axes[0].get_xscale() == "symlog"
    assert drawn_pairs(1.0).axes[0].get_xscale() == "linear"


def test_an_untrained_policy_does_not_flatten_the_curve() -> None:
    low, high = drawn_learning().axes[0].get_ylim()
    assert low < 9.0
    assert 13.0 < high < 100.0
    assert learning_figure({}, unit="x").axes


def test_the_curve_of_a_run_is_its_validation(finished: TrainResult, seeds: Path, tmp_path: Path) -> None:
    """Means of what the run stored; over seeds the mean of the means; before a measurement a clear error."""
    with np.load(finished.folder / "evaluations.npz") as data:
        costs = -data["results"]
    curve = learning_curve([finished.folder])
    assert [value.mean for value in curve.costs] == pytest.approx(costs.mean(axis=1).tolist())
    assert all(value.low < value.mean < value.high for value in curve.costs)
    runs = sorted(seeds.iterdir())
    both, alone = learning_curve(runs), [learning_curve([run]) for run in runs]
    assert both.seeds == 2
    assert both.costs[-1].mean == pytest.approx(np.mean([curve.costs[-1].mean for curve in alone]))
    with pytest.raises(RunError, match=r"evaluations\.npz"):
        learning_curve([tmp_path])


def test_a_profile_counts() -> None:
    np.testing.assert_allclose(
        profile(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0.0, 1.0, 2.0, 5.0])), [0, 0.25, 0.75, 1]
    )


def test_flows_balance() -> None:
    """What comes in on average goes out: the warehouse's inbound flow is that to its stores, in steady state."""
    task = InventoryTask("five_site_distribution", action_mode="orders")
    policy = BaseStock(task, np.array([500.0, 60.0, 80.0, 90.0, 50.0]))
    flows = mean_flows(policy, task, seed=1, paths=16, periods=400, warm_up=50)
    assert flows[0] == pytest.approx(flows[1:].sum(), rel=0.02)
    named = dict(zip(task.compiled.arc_names, flows.tolist(), strict=True))
    assert figure_svg(network_figure(task.compiled, named), "n") == figure_svg(
        network_figure(task.compiled, flows), "n"
    )
    assert network_figure(task.compiled).axes


@pytest.mark.parametrize("name", library.names())
def test_every_network_of_the_library_can_be_drawn(name: str) -> None:
    """All sites and suppliers have a place of their own."""
    compiled = compile_network(library.load(name))
    axis = network_figure(compiled).axes[0]
    places = [tuple(np.ravel(line.get_xydata())) for line in axis.lines]
    assert len(set(places)) == len(places) == len(compiled.network.graph())


def test_a_map_is_what_the_policy_orders() -> None:
    """Base-stock fills up to its level; the optimal map is the table of the dynamic program, white outside of it."""
    task = lost_sales(3)
    grid = StateGrid(task.compiled, "on_hand", "arriving[:2]", range(8), range(6), {"arriving[:1]": 3})
    found = grid.orders(BaseStock(task, np.array([17.0])), task)[0]
    on_hand, due = np.meshgrid(np.arange(8), np.arange(6))
    np.testing.assert_array_equal(found, 17.0 - on_hand - due - 3.0)
    best = grid.optimal_orders()[0]
    table = optimum(exact_problem(task.compiled)).policy
    assert best[4, 5] == table(np.array([[5, 3, 4]]))[0]
    assert not np.isnan(best).any()
    wide = StateGrid(task.compiled, "on_hand", "arriving[:1]", [0.0, 500.0], [0.0, 1.0], {})
    assert np.isnan(wide.optimal_orders()[0, :, 1]).all()
    assert "white: never reached" in policy_map_figure(wide, {"optimum": wide.optimal_orders()}).get_suptitle()


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("on_hnd", "did you mean 'on_hand'"),
        ("on_hand[store/itme]", "did you mean 'store/item'"),
        ("arriving", r"say which receipt, as in arriving\[.*:1\]"),
        ("arriving[:9]", "allowed: 1 to"),
    ],
)
def test_unknown_fields_of_a_map_are_refused(field: str, part: str) -> None:
    grid = StateGrid(lost_sales().compiled, field, "on_hand", [0.0, 1.0], [0.0, 1.0], {})
    with pytest.raises(ConfigError, match=part):
        grid.state()


def test_trajectories_of_two_policies_share_their_axes(tmp_path: Path) -> None:
    """Two are drawn over each other, three side by side; a finite problem runs its horizon from its start."""
    three = policies()
    two = dict(list(three.items())[:2])
    assert len(trajectory_figure(two, seed=1, paths=4, periods=6, warm_up=0).axes) == 4  # type: ignore[arg-type]
    assert len(drawn_trajectories().axes) == 12
    task = InventoryTask("lost_sales_zipkin2008", action_mode="orders", finite=True, horizon=7)
    figure = trajectory_figure({"constant": (Constant(task, np.array([4.0])), task)}, seed=1, paths=4)
    assert figure.axes[-1].get_xlabel() == "day"
    assert figure.axes[-1].get_xlim()[1] == pytest.approx(7)
    plot_trajectories(tmp_path / "a.png", two, seed=1, paths=4, periods=6, warm_up=0)  # type: ignore[arg-type]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_liner_map_says_where_more_and_less_is_carried() -> None:
    """One arrow for each leg between two ports; grey where nothing changes, blue and orange where it does."""
    liner = liner_library.load("baltic")
    graph = call_graph(liner)
    before = np.full(len(graph.port), 100.0)
    during = before.copy()
    during[0], during[1] = 0.0, 200.0
    figure = liner_map_figure(liner, {"before": before, "during": during}, hit=["FIKTK"])
    first, second = figure.axes
    legs = {(graph.port[k], graph.port[head]) for k, head in enumerate(graph.leg_head)}
    colours = [
        [text.arrow_patch.get_edgecolor() for text in axis.texts if text.arrow_patch is not None]
        for axis in (first, second)
    ]
    assert len(colours[0]) == len(colours[1]) == len(legs)
    assert len(set(colours[0])) == 1
    changed = {to_hex(colour) for colour in set(colours[1]) - set(colours[0])}
    assert changed == {COLOURS[0], COLOURS[1]}
    # The port that is hit is marked from the second map on.
    assert [sum(line.get_marker() == "X" for line in axis.lines) for axis in (first, second)] == [0, 1]
    assert {text.get_text() for text in first.texts} >= {port.name for port in liner.ports.values()}
    with pytest.raises(ConfigError, match="did you mean 'FIKTK'"):
        liner_map_figure(liner, {"before": before}, hit=["FIKT"])


def test_what_sails_under_a_policy_by_days_with_and_without_an_event() -> None:
    """The nominal plan carries its week where nothing happens; less sails while the hub works at a fifth."""
    task = StaticPlan.acting(RoutingTask("baltic", scenario=None, horizon=140, finite=True))
    calm = leg_flows(StaticPlan(task), task, seed=3, paths=16)
    assert calm.hit is None
    assert calm.ports == ()
    assert calm.calm is not None
    # Bookings vary, so that slots of the plan stay empty on some days and are too few on others.
    plan = CargoFlow(liner_library.load("baltic")).solve()
    assert 0.9 * plan.leg_ffe.sum() < calm.calm.sum() < plan.leg_ffe.sum()
    assert (calm.calm <= task.assignment.routing.graph.leg_capacity + 1e-6).all()
    # What is ordered on legs is what is shipped.
    routing = task.assignment.routing
    shipped = 7.0 * mean_flows(StaticPlan(task), task, seed=3, paths=16)[routing.arc_kind == LEG]
    assert calm.calm.sum() == pytest.approx(shipped.sum())
    hit = StaticPlan.acting(RoutingTask("baltic", scenario="cyber_attack", horizon=140, finite=True))
    flows = leg_flows(StaticPlan(hit), hit, seed=3, paths=16)
    assert flows.ports == ("DEBRV",)
    assert flows.calm is not None
    assert flows.hit is not None
    assert flows.hit.sum() < 0.8 * flows.calm.sum()


class Zero:
    """The zero action."""

    def __init__(self, task: RoutingTask) -> None:
        self.shape = task.action_space.shape

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> Any:
        return np.zeros((len(observation), *self.shape), dtype=np.float32), None


def test_decisions_for_a_week_count_all_its_days() -> None:
    """The zero action by the week is the zero action of each of its days."""
    daily = RoutingTask("baltic", scenario=None, horizon=70, finite=True)
    weekly = RoutingTask("baltic", scenario=None, horizon=10, finite=True, decision="week")
    found, other = (leg_flows(Zero(task), task, seed=3, paths=4).calm for task in (daily, weekly))
    assert found is not None
    assert other == pytest.approx(found)


def test_large_numbers_get_a_word() -> None:
    assert scaled(3.0) == (1.0, "")
    assert scaled(-25_000.0) == (1e-3, "thousand ")
    assert scaled(4e6) == (1e-6, "million ")
    assert len(set(COLOURS)) == len(COLOURS) >= 7
