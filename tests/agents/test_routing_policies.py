"""Classical routing policies: what they read is what is there, and none beats the program that knows everything."""

from __future__ import annotations

import numpy as np
import pytest

from agents.baselines.routing import RoutingPolicy
from agents.baselines.routing_cheapest import Cheapest
from agents.baselines.routing_program import RollingRouting
from agents.baselines.routing_static import StaticPlan
from agents.evaluation import measure
from agents.oracles.cargo_classes import CargoClasses
from agents.registry import BASELINES, load_class
from envs.core import Batch
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from tests.envs.test_routing import started, task
from twin.engine import Twin
from twin.errors import ActionError

RULES = [name for name in BASELINES if name.startswith("routing_")]
PROGRAMS = ("routing_weekly_program", "routing_rolling_program", "routing_slot_price")
#: Those that solve no program.
SIMPLE = [name for name in RULES if name not in PROGRAMS]


def kind(name) -> type[RoutingPolicy]:
    return load_class(BASELINES[name].path)


def foresight(made, batch, days):
    """Cost of the best schedule of every replica's own path, fixed cost included, and its orders (T, A, B)."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    from agents.oracles.cargo_schedule import CargoSchedule

    state, top = batch.twin.state, made.compiled.topology
    draws = batch.twin.tape.block(state, days)
    program = CargoSchedule(made.assignment, days, made.worth)
    costs, orders = [], []
    for b in range(batch.replicas):
        works = np.concatenate([state.arrays.availability[None, :, b], draws.availability[:-1, :, b]])
        plan = program.plan(state, b, draws.demand[:, :, b], works)
        fixed = np.where(works == 0.0, top.resource_overhead_down, top.resource_overhead).sum()
        costs.append(plan.cost + fixed)
        orders.append(plan.orders)
    return np.array(costs), np.stack(orders, axis=2)


@pytest.mark.parametrize("name", RULES)
def test_it_fits_the_routing_environment_alone(name):
    """In its own mode, with all cargo shown, day by day; elsewhere there is a reason."""
    if name in PROGRAMS:
        pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    made = task(base="queue")
    assert kind(name).fits(kind(name).acting(made)) is None
    assert "prices" in str(kind(name).fits(made))
    assert "at_calls" in str(kind(name).fits(made.acting(kind(name).mode)))
    weekly = task(decision="week", base="queue")
    assert "day by day" in str(kind(name).fits(kind(name).acting(weekly)))
    assert kind(name).fits(InventoryTask("serial_chain")) is not None
    with pytest.raises(ActionError, match=name):
        kind(name)(made)


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("seed", [None, 1])
def test_it_decides_on_an_observation_as_on_the_twin(name, seed):
    """Orders from what is read are those from the state itself, but for the rounding of an observation."""
    acting = kind(name).acting(task(seed))
    policy, batch = kind(name)(acting), started(acting)
    observation = batch.observe()
    for _ in range(25):
        exact = policy.orders(batch.twin.state)
        action, _ = policy.predict(observation)
        np.testing.assert_allclose(action.T, exact, rtol=1e-4, atol=2e-3)
        observation = batch.step(action).observation


def test_the_cheapest_is_the_zero_action():
    """The rule costs what the zero action costs, to the rounding of an observation."""
    made = task()
    acting = Cheapest.acting(made)
    rule, zero = started(acting), started(made)
    policy, observation = Cheapest(acting), rule.observe()
    nothing = np.zeros((4, *made.action_space.shape), dtype=np.float32)
    for _ in range(30):
        result = rule.step(policy.predict(observation)[0])
        observation = result.observation
        np.testing.assert_allclose(result.reward, zero.step(nothing).reward, rtol=1e-4)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_no_rule_costs_less_than_foresight(seed):
    """Over 28 days with outages, on every path, what is left at the end counted."""
    made = task(seed, finite=True, horizon=28, base="queue")
    batch = started(made, replicas=3, seed=9)
    bound, _ = foresight(made, batch, 28)
    for name in RULES:
        acting = kind(name).acting(made)
        cost = measure(kind(name)(acting), acting, seed=9, paths=3, periods=0, warm_up=0).cost * 28
        assert (bound <= cost + 1e-6 * np.abs(cost)).all(), name


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_the_program_pays_what_the_twin_pays_for_its_orders(seed):
    """Its orders followed on the twin cost what it says, to ten digits: both speak of one model."""
    made = task(seed, finite=True, horizon=42, action_mode="orders")
    batch = started(made, replicas=2, seed=9)
    bound, orders = foresight(made, batch, 42)
    twin: Twin = batch.twin
    paid = sum(twin.step(orders[t]).sum(axis=0) for t in range(42)) - made.left(twin.state)
    np.testing.assert_allclose(paid, bound, rtol=1e-9, atol=1e-3)


def test_rolling_beats_what_ignores_outages():
    """Half of all moves of the busiest port lost: heeding that is worth something, paired over paths."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    made = RoutingTask(scenario="cyber_attack", finite=True, horizon=112)
    cost = {}
    for name in ("routing_rolling_program", "routing_weekly_program"):
        acting = kind(name).acting(made)
        cost[name] = measure(kind(name)(acting), acting, seed=3, paths=3, periods=0, warm_up=0).cost
    acting = StaticPlan.acting(made)
    cost["routing_static"] = measure(StaticPlan(acting), acting, seed=3, paths=3, periods=0, warm_up=0).cost
    assert cost["routing_rolling_program"].mean() < 0.98 * cost["routing_weekly_program"].mean()
    assert (cost["routing_rolling_program"] < cost["routing_static"]).all()


def test_what_was_planned_is_remembered_until_an_episode_begins(monkeypatch):
    """Solved on the first day, and again where an episode begins: not in between, on a quiet network."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    acting = RollingRouting.acting(task(scenario=None))
    policy, batch = RollingRouting(acting, every=7), started(acting, replicas=2)
    solved = []
    whole = policy.program.plan
    monkeypatch.setattr(policy.program, "plan", lambda state, b, *rest: solved.append(b) or whole(state, b, *rest))
    observation, memory = batch.observe(), None
    for day in range(9):
        action, memory = policy.predict(observation, memory, np.array([day in (0, 3), day == 0]))
        observation = batch.step(action).observation
    # Replica 0 begins anew on day 3; replica 1 is due after seven days.
    assert solved == [0, 1, 0, 1]
    assert memory[0].tolist() == [5, 1]
    _, memory = policy.predict(observation, memory, np.array([True, False]))
    assert memory[0].tolist() == [0, 2]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_members_of_a_class_go_on_alike(seed):
    """Places of a class have arcs of the same kinds, days and costs to places of the same classes."""
    made = task(seed)
    assignment = made.assignment
    classes, routing, top = (
        CargoClasses(assignment, made.worth),
        assignment.routing,
        assignment.routing.compiled.topology,
    )
    leads: dict[int, set] = {i: set() for i in np.flatnonzero(classes.of_stock >= 0)}
    for a in np.flatnonzero(classes.of_arc >= 0):
        h, i = classes.of_arc[a], top.in_stock[top.in_ptr[a]]
        assert (classes.tail[h], classes.head[h]) == tuple(classes.of_stock[[i, top.arc_destination[a]]])
        assert top.arc_fixed_lead[a] == top.arc_fixed_lead[classes.arc[h]]
        assert routing.arc_kind[a] == routing.arc_kind[classes.arc[h]]
        leads[i].add(int(h))
    for i, mine in leads.items():
        assert mine == set(np.flatnonzero(classes.tail == classes.of_stock[i]))
        left = routing.graph.revenue[routing.stock_demand[i]] - made.worth.at_calls[i]
        assert classes.rest[classes.of_stock[i]] == pytest.approx(left, abs=1e-5)
    assert len(classes.node) <= len(leads)


def test_a_program_is_solved_anew_or_from_the_last_basis_to_the_same_optimum():
    """With iterations to spare and with none."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    from scipy import sparse

    from agents.oracles.highs import near_optimum, optimum, standing_model

    rng = np.random.default_rng(3)
    cost, matrix, right = -rng.random(40), sparse.csr_array(rng.random((30, 40))), rng.random(30) + 1.0
    bounds, rows = (np.zeros(40), np.full(40, np.inf)), (np.full(30, -np.inf), right)
    best = cost @ optimum(standing_model(cost, bounds, matrix, rows), "test")
    model = standing_model(cost, bounds, matrix, rows)
    for iterations in (100, 0, 100):
        assert cost @ near_optimum(model, "test", iterations) == pytest.approx(best)


def test_batches_do_not_change_what_a_path_earns():
    """A path alone is the path among others."""
    made = task()
    nothing = np.zeros((1, *made.action_space.shape), dtype=np.float32)
    many, one = started(made, replicas=3), Batch(made, 1)
    one.reset(np.array([5], dtype=np.uint64), np.array([2], dtype=np.uint32), np.zeros(1, dtype=np.uint32))
    for _ in range(20):
        earned = many.step(np.repeat(nothing, 3, axis=0)).reward[2]
        assert one.step(nothing).reward[0] == earned


@pytest.mark.parametrize("mode", ["prices", "assumptions"])
def test_a_week_costs_as_much_by_the_day_as_its_days(mode):
    """One action for seven days, and the same one every day, cost the same a day; so does one number for all ports."""

    class Same:
        def __init__(self, made, action):
            self.action = np.resize(action, made.action_space.shape).astype(np.float32)

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            return np.repeat(self.action[None], len(observation), axis=0), state

    few = {"scenario": "cyber_attack", "base": "queue", "finite": True}
    daily, weekly = RoutingTask(horizon=70, **few), RoutingTask(horizon=10, decision="week", action_mode=mode, **few)
    ports = len(daily.assignment.routing.graph.port_names)
    value = {"prices": [0.5] * ports + [-0.3, 0.1], "assumptions": [0.5, -0.3, 0.1]}[mode]
    options = {"seed": 5, "paths": 3, "periods": 1, "warm_up": 0}
    by_day = measure(Same(daily, [0.5] * ports + [-0.3, 0.1]), daily, **options)
    by_week = measure(Same(weekly, value), weekly, **options)
    np.testing.assert_allclose(by_week.cost, by_day.cost, rtol=1e-9)
    nothing = measure(Same(daily, [0.0]), daily, **options)
    assert (np.abs(nothing.cost - by_day.cost) > 1.0).any()


def test_the_price_of_queues_is_the_zero_action():
    """On every day of an outage the rule orders what the zero action with that base comes to."""
    made = RoutingTask(horizon=70, scenario="cyber_attack", base="queue", finite=True)
    rule, batch = kind("routing_queue_price")(kind("routing_queue_price").acting(made)), started(made, replicas=3)
    nothing, hit = np.zeros((3, *made.action_space.shape), dtype=np.float32), 0
    for _ in range(70):
        found = made.decode(nothing, batch.twin, batch.position)
        np.testing.assert_allclose(rule.orders(batch.twin.state), found, rtol=1e-9, atol=1e-9)
        hit += int((batch.twin.state.arrays.availability < 1.0).any())
        batch.step(nothing)
    assert hit


def test_prices_of_slots_are_an_action_on_top_of_those_of_queues():
    """What the rule orders is what its action comes to; at a share of 0 it is the price of queues."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    made = task(base="queue", price_scale=1e5)
    acting, other = kind("routing_slot_price").acting(made), kind("routing_queue_price").acting(made)
    rule, nothing = kind("routing_slot_price")(acting), kind("routing_slot_price")(acting, share=0.0)
    queue, batch, dearer = kind("routing_queue_price")(other), started(acting, replicas=2), 0
    for _ in range(20):
        state = batch.twin.state
        action = rule.actions(state)
        dearer += int((action > 1e-6).any())
        orders = acting.decode(action, batch.twin, batch.position)
        np.testing.assert_allclose(rule.orders(state), orders, rtol=1e-6, atol=1e-6)
        assert not nothing.actions(state).any()
        np.testing.assert_allclose(nothing.orders(state), queue.orders(state), rtol=1e-9, atol=1e-9)
        batch.step(rule.predict(batch.observation)[0])
    assert dearer


def test_a_slot_is_worth_what_another_one_saves_the_program():
    """The dual price of a departure lies between what one slot less costs and one more saves."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    made = task(base="queue", scenario=None)
    acting = kind("routing_slot_price").acting(made)
    rule, batch = kind("routing_slot_price")(acting), started(acting, replicas=1)
    state, graph, tried = batch.twin.state, made.assignment.routing.graph, 0
    works = np.ones((56, made.compiled.n_resources))
    booked = rule._week[(state.period[0] + np.arange(56)) % 7] * 1.3
    plan = rule.program.plan(state, 0, booked, works)
    model = rule.program._models[int(state.period[0]) % 7, 8]
    assert (plan.slot_price >= 0.0).all()
    for node, week in zip(*np.nonzero(plan.slot_price > 1.0), strict=True):
        if week >= 4:
            continue
        costs = []
        for more in (-0.5, 0.5):
            row, upper = int(model._slots[node, week]), None
            model._now(state, 0, booked, works)
            upper = model._model.getLp().row_upper_[row]
            model._model.changeRowBounds(row, -np.inf, upper + more)
            model._model.run()
            costs.append(model._model.getInfo().objective_function_value)
        assert (costs[1] - plan.cost) / 0.5 * -1.0 <= plan.slot_price[node, week] + 1e-4
        assert plan.slot_price[node, week] <= (costs[0] - plan.cost) / 0.5 + 1e-4
        tried += 1
    assert tried
    assert graph.leg_capacity.min() > 0.5


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"weeks": 0}, {"outage": -1.0}])
def test_what_no_program_can_assume_is_refused(wrong):
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    acting = kind("routing_slot_price").acting(task(base="queue"))
    with pytest.raises(ActionError, match=next(iter(wrong))):
        kind("routing_slot_price")(acting, **wrong)
    assert "base=queue" in str(kind("routing_slot_price").fits(task().acting("departures")))
