"""Gradients through the twin: the learner sees what the environment shows, its gradient is right, and it learns."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from stable_baselines3.common.callbacks import BaseCallback

from agents.exact import exact_cost
from agents.learners.arc_policy import ArcPolicy
from agents.learners.normalise import wrap
from agents.learners.pathwise import Pathwise
from agents.learners.sb3 import NormalisedPolicy, build
from agents.learners.schedules import LearningRate
from agents.learners.tensor_echelon import TensorEchelon
from agents.learners.tensor_observation import TensorObservation
from agents.learners.unroll import replacement_cost, unrolled_periods
from agents.oracles.scenario_program import longest_path
from envs.core import Batch
from envs.echelon import EchelonRule, safety_span
from envs.inventory import InventoryTask
from envs.inventory_features import GROUPS
from envs.sb3 import TwinVecEnv
from twin import library
from twin.compile import compile_network
from twin.differentiable import DifferentiableTwin
from twin.errors import ConfigError
from twin.network import Network
from twin.seeds import Purpose, world_seed

#: The differentiable twin knows no contracts, and says so.
NETWORKS = [name for name in library.names() if not compile_network(library.load(name)).deal_keys]
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def model_on(task: InventoryTask, replicas: int, seed: int = 0, **parameters: Any) -> Pathwise:
    world = TwinVecEnv(task, replicas, seed=world_seed(Purpose.TRAINING, seed))
    model = build(
        "pathwise",
        wrap(world, observation=True, reward=False, clip_observation=10.0, gamma=0.99),
        parameters=parameters,
        net_arch=[16, 16],
        activation="silu",
        log_std_init=None,
        seed=seed,
        device="cpu",
    )
    assert isinstance(model, Pathwise)
    return model


def after_random_periods(task: InventoryTask, replicas: int = 4, periods: int = 9) -> Batch:
    batch, rng = Batch(task, replicas), np.random.default_rng(1)
    slots = np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, 8, dtype=np.uint64), slots, np.zeros_like(slots))
    for _ in range(periods):
        batch.step(rng.uniform(-1.0, 1.0, size=(replicas, task.compiled.n_arcs)))
    return batch


def slopes(model: Pathwise) -> tuple[float, float]:
    """Derivative of a model's unrolled cost along a random way up: as computed, and as a difference quotient."""
    world = model._world()
    model.learn(world.num_envs * model.unroll().periods)
    unroll, start = model.unroll(), world.batch.twin.state.fork()
    elapsed = world.batch.elapsed.copy()

    def cost() -> torch.Tensor:
        world.batch.twin.state, world.batch.elapsed[:] = start.fork(), elapsed
        loss, _ = unroll()
        return loss

    def moved(step: float) -> float:
        with torch.no_grad():
            for parameter, along in zip(model.policy.parameters(), direction, strict=True):
                parameter.add_(along, alpha=step)
            return float(cost())

    model.policy.zero_grad()
    cost().backward()  # type: ignore[no-untyped-call]
    slants = [torch.zeros_like(p) if p.grad is None else p.grad.sign() for p in model.policy.parameters()]
    direction = [0.1 * torch.randn_like(slant).abs() * slant for slant in slants]
    pairs = zip(model.policy.parameters(), direction, strict=True)
    slope = sum(float((p.grad * d).sum()) for p, d in pairs)  # type: ignore[operator]
    width = 0.003
    above, below = moved(width), moved(-2 * width)
    return slope, (above - below) / (2 * width)


#: A belief is kept from period to period, and has no slope.
SHOWN = [group for group in GROUPS if group != "outlook"]


def test_a_belief_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave the group 'outlook' out"):
        model_on(InventoryTask("two_suppliers_markov", observe=["position", "outlook"]), replicas=3).learn(1)


@every_network
@pytest.mark.parametrize("arguments", [{}, {"observe": SHOWN, "arrivals": "slots", "forecast": 3}], ids=["v0", "all"])
def test_it_sees_what_the_environment_shows(network: str, arguments: dict[str, Any]) -> None:
    """The observation read off tensors equals the environment's, to the precision of float32."""
    task = InventoryTask(network, horizon=30, finite=True, **arguments)
    batch = after_random_periods(task)
    twin = DifferentiableTwin(task.compiled)
    state = twin.from_twin_state(batch.twin.state)
    left = (task.horizon - batch.elapsed).astype(np.float64)
    seen = TensorObservation(task.observation, twin)(state, twin.positions(state), left)
    np.testing.assert_allclose(seen.numpy().T, batch.observation, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("network", ["serial_chain", "one_warehouse", "five_site_distribution", "dual_sourcing"])
def test_it_pays_what_the_environment_charges(network: str) -> None:
    """The cost of an unrolled policy is that of the same policy stepping the environment on the same paths."""
    task = InventoryTask(network, horizon=1000)
    model = model_on(task, replicas=3, n_steps=30, warm_up=5, rounding="exact")
    model.learn(3 * 30)
    world = model._world()
    policy = NormalisedPolicy(model, model.get_vec_normalize_env())  # type: ignore[arg-type]
    twin = world.batch.twin.fork()
    _, terms = model.unroll()()
    world.batch.twin = twin
    observation, paid = world.batch.observe(), np.zeros(len(terms))
    for _ in range(30):
        action, _ = policy.predict(observation)
        result = world.batch.step(action)
        observation = result.observation
        paid += result.costs.mean(axis=1) / 30
    np.testing.assert_allclose(terms, paid, rtol=2e-4, atol=2e-4)


@every_network
@pytest.mark.parametrize("finite", [False, True])
def test_safety_amounts_become_the_environments_orders(network: str, finite: bool) -> None:
    """The echelon rule on tensors gives the orders of the one on arrays, replicas at different periods included."""
    task = InventoryTask(network, horizon=30, finite=finite)
    batch, rng = after_random_periods(task), np.random.default_rng(2)
    twin, rule = DifferentiableTwin(task.compiled), EchelonRule(task.compiled)
    low, _, high = safety_span(task.compiled, 30)
    ordered = 0.0
    for apart in (False, True):
        period = batch.twin.state.period + apart * np.arange(4)
        left = (30.0 - period - apart * np.array([0, 15, 17, 18])) if finite else None
        safety = rng.uniform(low, 2 * high, size=(4, len(low))).T
        exact = rule.orders(safety, batch.position, *rule.on_calendar(period, left))
        given = [torch.as_tensor(values, dtype=twin.dtype) for values in (safety, batch.position)]
        orders = TensorEchelon(rule, twin)(*given, period, left)
        np.testing.assert_allclose(orders.numpy(), exact, rtol=1e-5, atol=1e-5 * max(1.0, float(exact.max())))
        ordered += float(exact.sum())
    assert ordered > 0.0


@pytest.mark.parametrize("finite", [False, True])
def test_its_gradient_flows_through_safety_amounts(finite: bool) -> None:
    """In the echelon mode the slope of the unrolled cost along a direction agrees with a difference quotient."""
    shown = {"observe": ("on_hand", "position", "expected", "periods_left"), "forecast": 3}
    task = InventoryTask(
        "three_stage_serial",
        parameters={"demand": "trend_season"},
        action_mode="echelon",
        horizon=30,
        finite=finite,
        **shown,  # type: ignore[arg-type]
    )
    slope, quotient = slopes(model_on(task, replicas=128, n_steps=20, warm_up=5, rounding="none"))
    assert slope == pytest.approx(quotient, rel=0.03, abs=1e-3)
    assert abs(quotient) > 0.02


def test_its_gradient_is_that_of_the_cost() -> None:
    """The derivative of the unrolled cost along a direction agrees with a difference quotient on the same paths."""
    slope, quotient = slopes(
        model_on(InventoryTask("serial_chain", horizon=1000), replicas=256, n_steps=20, warm_up=20)
    )
    assert slope == pytest.approx(quotient, rel=0.02, abs=1e-3)
    assert abs(quotient) > 0.05


def test_it_learns_an_optimal_policy() -> None:
    """Seconds of training on lost sales with lead time 1 end within 0.5 % of the optimum, exactly evaluated."""
    task = InventoryTask(
        "lost_sales_zipkin2008",
        parameters={"lead_time": 1, "penalty": 4},
        observe=("on_hand", "position", "arriving"),
        arrivals="slots",
    )
    model = model_on(task, replicas=256, n_steps=20, warm_up=20, learning_rate=1e-2)
    model.learn(256 * 20 * 150)
    policy = NormalisedPolicy(model, model.get_vec_normalize_env())  # type: ignore[arg-type]
    optimum = task.compiled.network.known_value("optimal_cost")
    assert optimum is not None
    assert exact_cost(policy, task).cost <= 1.005 * optimum.value


def test_a_finite_problem_is_unrolled_from_its_start() -> None:
    """Every step of a finite problem is an episode: the world is at the start of a new one afterwards."""
    task = InventoryTask("three_stage_serial", horizon=30, finite=True)
    model = model_on(task, replicas=2)
    model.learn(2 * 30 * 3)
    batch = model._world().batch
    assert batch.elapsed.tolist() == [0, 0]
    assert (batch.twin.state.episode == 4).all()  # the warm-up was one, the three steps one each
    assert (batch.twin.state.period == 0).all()


def test_its_size_does_not_grow_with_the_network() -> None:
    """A warehouse with 30 retailers has as many parameters as one with 3."""
    sizes = []
    for retailers in (3, 30):
        task = InventoryTask("one_warehouse", parameters={"retailers": retailers})
        policy = model_on(task, replicas=2).policy
        sizes.append(sum(parameter.numel() for parameter in policy.parameters()))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(("network", "n_steps", "path"), [("lost_sales_zipkin2008", 4, 4), ("serial_chain", 10, 10)])
def test_orders_that_serve_nobody_are_refused(network: str, n_steps: int, path: int) -> None:
    """Unrolling no further than the way from the supplier to the customer, all stages of it, is an error."""
    with pytest.raises(ConfigError, match=f"n_steps must exceed the {path} periods from a supplier to a customer"):
        model_on(InventoryTask(network), replicas=2, n_steps=n_steps).learn(8)


def test_it_unrolls_far_enough_where_nothing_is_asked_for() -> None:
    """50 periods, and more where the way to the customers is longer than half of that."""
    assert unrolled_periods(InventoryTask("lost_sales_zipkin2008"), None) == 50
    medicines = InventoryTask("essential_medicines")
    assert unrolled_periods(medicines, None) == 2 * longest_path(medicines.compiled) > 50


@pytest.mark.parametrize("clip", [None, 2.0, 10.0])
def test_the_policy_can_tell_every_period_left_from_the_next(clip: float | None) -> None:
    """Whatever the normalisation does to the periods left, the policy reads their number back."""
    task = InventoryTask("three_stage_serial", horizon=30, finite=True)
    world = TwinVecEnv(task, 2)
    env = world if clip is None else wrap(world, observation=True, reward=False, clip_observation=clip, gamma=0.99)
    model = Pathwise("ArcPolicy", env, policy_kwargs={"net_arch": [4]})
    model.learn(2 * 30)
    policy, seen = model.policy, []
    assert isinstance(policy, ArcPolicy)
    assert policy.clock is not None
    for left in range(31):
        observation = np.zeros((1, len(task.fields)), dtype=np.float32)
        observation[0, policy.clock[0]] = left
        normal = env.normalize_obs(observation) if clip is not None else observation  # type: ignore[union-attr]
        seen.append(round(float(normal[0, policy.clock[0]] * policy.clock_scale[1] + policy.clock_scale[0])))
    assert seen == list(range(31))


def stock_point(price: float, unit_cost: float) -> Network:
    """Backlog, lead time 2, Poisson(5); the long-run best level depends on neither price nor cost."""
    return Network.parse(
        {
            "name": "one",
            "products": {"item": {"integer": True}},
            "suppliers": {"maker": {"offers": {"item": {"price": unit_cost}}}},
            "sites": {"shop": {"stock": {"item": {"holding_cost": 1}}}},
            "lanes": [{"from": "maker", "to": "shop", "product": "item", "modes": {"van": {"lead_time": 2}}}],
            "demands": {
                "buyers": {
                    "site": "shop",
                    "product": "item",
                    "distribution": {"distribution": "poisson", "mean": 5},
                    "unmet": "backlog",
                    "penalty": 4,
                    "price": price,
                }
            },
        }
    )


def test_prices_do_not_move_the_policy_of_a_continuing_problem() -> None:
    """What is left at the end of a step counts such that purchase cost and sales price have no say in the slope."""
    slopes_by_price = []
    for price, unit_cost in ((0.0, 0.0), (100.0, 60.0)):
        task = InventoryTask(compile_network(stock_point(price, unit_cost)))
        model = model_on(task, replicas=512, n_steps=30, warm_up=30, learning_rate=1e-12)
        model.learn(512 * 30)
        with torch.no_grad():
            for parameter in model.policy.parameters():
                parameter.zero_()
        last = list(model.policy.parameters())[-1]
        loss, _ = model.unroll()()
        model.policy.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert last.grad is not None
        slopes_by_price.append(float(last.grad))
    assert slopes_by_price[0] == pytest.approx(slopes_by_price[1], rel=1e-3)
    assert abs(slopes_by_price[0]) > 0.01


def test_stock_is_worth_what_replacing_it_costs() -> None:
    """The cheaper of two suppliers sets the value; in a series of stages purchases add up with what comes in."""
    dual = InventoryTask("dual_sourcing").compiled
    np.testing.assert_allclose(replacement_cost(dual), [100.0])
    stages = InventoryTask("three_stage_serial").compiled
    np.testing.assert_allclose(replacement_cost(stages), [0.5, 0.5, 0.5])


def test_dithering_leads_to_the_cheapest_whole_level() -> None:
    """At the best whole level of a newsvendor the slope changes sign inside the range that rounds to it; at both ends
    of that range it has the sign of the cost's difference to the next whole level.
    """
    task = InventoryTask(compile_network(stock_point(0.0, 0.0)))
    model = model_on(task, replicas=4096, n_steps=40, warm_up=20)
    model.learn(4096 * 40)
    # Demand of three periods is Poisson(15); the best level is the smallest with P(D <= S) >= 4 / 5.
    best = int(stats.poisson.ppf(0.8, 15))
    unroll = model.unroll()
    found = []
    for level in (best - 0.5, best + 0.5):
        with torch.no_grad():
            for parameter in model.policy.parameters():
                parameter.zero_()
            last = list(model.policy.parameters())[-1]
            reach = float(unroll.up if level >= float(unroll.center) else unroll.down)
            last.fill_((level - float(unroll.center)) / reach / model.policy.structure["gain"][0])  # type: ignore[index]
        unroll()  # until the level has ruled for a while
        loss, _ = unroll()
        model.policy.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        found.append(float(last.grad))  # type: ignore[arg-type]
    assert found[0] < 0.0 < found[1]


def test_progress_is_told_to_callbacks() -> None:
    """SB3's progress bar reads the total under its usual name: all steps to come, also when training goes on."""

    class Total(BaseCallback):
        seen: ClassVar[list[int]] = []

        def _on_training_start(self) -> None:
            self.seen.append(self.locals["total_timesteps"])

        def _on_step(self) -> bool:
            return True

    model = model_on(InventoryTask("lost_sales_zipkin2008"), replicas=2, n_steps=10, warm_up=5)
    model.learn(100, callback=Total())
    model.learn(40, callback=Total(), reset_num_timesteps=False)
    assert Total.seen == [100, 140]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": 0}, "n_steps must be a whole number of at least 1, received 0"),
        ({"n_steps": 10.5}, "n_steps must be a whole number of at least 1, received 10.5"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be above 0, received -1"),
        ({"rounding": "ditter"}, "no rounding 'ditter'.*did you mean 'dither'"),
        ({"learning_rate": "fast"}, "learning_rate must be a number above 0, received 'fast'"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any], message: str) -> None:
    """A useless number or name is named with what is allowed."""
    with pytest.raises(ConfigError, match=message):
        model_on(InventoryTask("lost_sales_zipkin2008"), replicas=2, **wrong)


def test_an_unknown_schedule_is_refused() -> None:
    """The learning rate's schedule is checked whether a rate is given or not."""
    with pytest.raises(ConfigError, match=r"no schedule 'cosin'.*did you mean 'cosine'"):
        LearningRate(1e-3, "cosin")
