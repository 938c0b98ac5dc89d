"""Policies of routing as bundles: from all cargo by name to the orders that the environment would decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents.advisor import Advisor
from agents.bundle import Bundle
from agents.bundle_cli import OK, main
from agents.bundle_files import write_files
from agents.bundle_rollout import Turn
from agents.bundle_rules import act_of_rule, export_rule
from agents.learners.extract import act_of, export_sb3
from agents.learners.imitation import Imitation
from agents.registry import baseline, load_class
from envs.core import Batch
from envs.routing import RoutingTask
from envs.routing_reading import ALL_CARGO, CargoReading
from envs.sb3 import TwinVecEnv
from tests.agents.test_bundle_kinds import shaken
from tests.envs.test_routing import STORMY, actions, started, task
from twin.errors import BundleError

pytest.importorskip("highspy", reason="the programs need the extra 'routing'")

KINDS: dict[str, dict[str, Any]] = {
    "prices": {"seed": 3},
    "queue": {"base": "queue", "action_mode": "assumptions", "scenario": "cyber_attack"},
    "weekly": {"base": "queue", "action_mode": "assumptions", "decision": "week", "horizon": 6, "finite": True},
    "departures": {"base": "queue", "action_mode": "departures", "observe": ["loads", "since", "calendar"]},
    "itinerary": {"action_mode": "itinerary"},
}


def model_of(kind: str, made: RoutingTask) -> tuple[Any, VecNormalize | None]:
    """A policy whose actions differ from state to state."""
    if kind == "departures":
        env = TwinVecEnv(made, 4, seed=3)
        model = Imitation("LinearPolicy", env, every=2, n_steps=6, seed=0)
        model.learn(24)
        return model, None
    algorithm = MaskablePPO if kind == "itinerary" else PPO
    normalise = VecNormalize(TwinVecEnv(made, 4, seed=3), norm_reward=False)
    model = algorithm("MlpPolicy", normalise, policy_kwargs={"net_arch": [12, 8]}, seed=0, device="cpu")
    rng = np.random.default_rng(0)
    normalise.reset()
    for _ in range(30):
        normalise.step(actions(made, 4, rng))
    normalise.training = False
    return shaken(model), normalise


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports a kind once, for all tests that look at it."""
    folder, known = tmp_path_factory.mktemp("routing"), {}

    def get(kind: str) -> Any:
        if kind not in known:
            made = task(**{**KINDS[kind]})
            model, normalise = model_of(kind, made)
            words: dict[str, Any] = {"environment_id": "x", "arguments": {}, "training_info": {}}
            bundle = export_sb3(folder / kind, model=model, normalize=normalise, task=made, **words)
            known[kind] = (bundle, model, normalise, made)
        return known[kind]

    return get


def told(made: RoutingTask, batch: Batch) -> dict[str, float]:
    """All cargo of the first replica by name, as a planner's systems would say it."""
    shown = made.acting(made.codec.mode, ALL_CARGO)
    left = np.subtract(made.horizon, batch.elapsed, dtype=np.float64)
    values = shown.observation.exact(batch.twin, batch.position, left)[:, 0]
    return {field.name: float(x) for field, x in zip(shown.fields, values, strict=True)}


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_a_state_is_read_back_as_it_was(seed: int | None) -> None:
    """On Baltic and on random networks, day by day: whatever is decided on is the same to rounding."""
    made = task(seed, scenario=STORMY, horizon=40)
    shown = made.acting("prices", ALL_CARGO)
    reading = CargoReading(made.assignment.routing, shown.observation)
    batch, rng = started(made, 3), np.random.default_rng(1)
    for _ in range(20):
        left = np.subtract(made.horizon, batch.elapsed, dtype=np.float64)
        values = shown.observation.exact(batch.twin, batch.position, left).T
        there, state = reading.state(values), batch.twin.state
        for name in ("on_hand", "in_transit", "backlog", "demand", "availability"):
            np.testing.assert_allclose(getattr(there.arrays, name), getattr(state.arrays, name), atol=1e-9)
        np.testing.assert_array_equal(there.logical("pipeline"), state.logical("pipeline"))
        np.testing.assert_array_equal(there.arrays.since[reading.failing], state.arrays.since[reading.failing])
        np.testing.assert_array_equal(there.period, state.period % 7)
        np.testing.assert_allclose(made.left(there), made.left(state))
        batch.step(actions(made, 3, rng))


@pytest.mark.parametrize("kind", KINDS)
def test_following_the_advice_is_following_the_policy(exported: Any, kind: str) -> None:
    """Day by day, state and memory as JSON: the orders are the environment's, through outages and over weeks."""
    _, model, normalise, made = exported(kind)
    bundle = Bundle.load(exported(kind)[0].path)
    act = act_of(model, normalise)
    batch, memory, hit, chosen = started(made, 1, seed=17), None, 0, []
    daily = made.periods_per_decision == 1
    for day in range(35):
        if day % made.periods_per_decision == 0:
            action = act(Turn(batch.observe(), made.mask(batch.twin), np.zeros(1, dtype=np.bool_)))
        orders = made.decide(action, batch.twin, batch.position)[0][:, 0]
        state = {"observation": told(made, batch), "network_hash": bundle.manifest["network"]["hash"]}
        if memory is not None:
            state["memory"] = memory
        advice = bundle.advise(json.loads(json.dumps(state)))
        assert not advice.blocked, advice.checks
        # The action itself is in float32, of torch there and of numpy here.
        np.testing.assert_allclose([o.order for o in advice.orders], orders, rtol=1e-4, atol=1e-3)
        values = np.array([list(state["observation"].values())])
        np.testing.assert_allclose(bundle.chooser.follow(action, values).orders[:, 0], orders, rtol=1e-9, atol=1e-9)
        if kind == "itinerary":
            np.testing.assert_array_equal(bundle.chooser.decoder.masks(values), made.mask(batch.twin))
        memory = list(advice.memory) or None
        assert (memory is None) is daily
        hit += int((batch.twin.state.arrays.availability < 1.0).any())
        chosen.append(action)
        batch.twin.step(orders[:, None])
        batch.elapsed += (day + 1) % made.periods_per_decision == 0
    assert hit > 3
    assert len(np.unique(np.concatenate(chosen), axis=0)) > 1
    assert main(["verify", f"bundle={bundle.path}"]) == OK
    assert not (bundle.path / "policy.onnx").exists()


def test_a_wrong_memory_is_refused(exported: Any) -> None:
    bundle = exported("weekly")[0]
    for memory in ([[1.0]], [[0.0, 0.0, 0.0], [0.0]], ["x"]):
        assert bundle.advise({**bundle.example_state, "memory": memory}).reasons == ("MEMORY",)
    daily = exported("prices")[0]
    assert daily.advise({**daily.example_state, "memory": [[1.0]]}).reasons == ("MEMORY",)


def test_a_misspelt_place_is_named(exported: Any) -> None:
    bundle = exported("queue")[0]
    observation = dict(bundle.example_state["observation"])
    name = next(name for name in observation if name.startswith("waiting["))
    observation[name.replace("waiting", "wating")] = observation.pop(name)
    advice = bundle.advise({**bundle.example_state, "observation": observation})
    assert advice.reasons == ("FIELDS",)
    assert f"did you mean 'wating{name[7:]}'" in advice.checks[-1].detail


def test_the_advisor_takes_what_decides_on_one_state(exported: Any, tmp_path: Path) -> None:
    """A daily policy is run by the advisor; one that holds its decision for a week has a memory, and is not."""
    advisor = Advisor(exported("queue")[0], tmp_path / "store.db", mode="advisory")
    state = {**exported("queue")[0].example_state, "as_of": advisor.store.clock().isoformat()}
    decided = advisor.decide(state).body
    assert decided["source"] == "policy"
    advice = exported("queue")[0].advise(exported("queue")[0].example_state)
    assert decided["orders"] == pytest.approx({order.arc: order.order for order in advice.orders})
    advisor.close()
    with pytest.raises(Exception, match="remembers what has been"):
        Advisor(exported("weekly")[0], tmp_path / "other.db", mode="advisory")


def test_another_problem_than_the_network_is_refused(exported: Any, tmp_path: Path) -> None:
    """The problem in spec.json and the network in network.json are one."""
    bundle = exported("queue")[0]
    for change, message in (
        ({"port_headroom": 1.5}, "does not give the network in network.json"),
        ({"horizon": 7}, "other fields than all cargo"),
        ({"action_mode": "prices"}, "does not fit the routing problem"),
        ({"base": "cheap"}, "no base of the costs 'cheap'"),
        ({"itineraries": [{"from": "DEBRV"}]}, "itineraries"),
        ({"terms": {"value_of_tim": 3.0}}, "value_of_tim"),
        ({"colour": 1}, "routing is incomplete"),
    ):
        contents = dict(bundle.contents)
        spec = json.loads(contents["spec.json"])
        spec["routing"] |= change
        contents["spec.json"] = json.dumps(spec).encode()
        with pytest.raises(BundleError, match=message):
            write_files(tmp_path / "changed", dict(bundle.manifest), contents, Bundle.load)
    assert not (tmp_path / "changed").exists()


def test_a_belief_is_not_exported(tmp_path: Path) -> None:
    made = task(scenario="cyber_attack", observe=["outlook", "since"])
    model = PPO("MlpPolicy", TwinVecEnv(made, 2, seed=0), device="cpu")
    words: dict[str, Any] = {"environment_id": "x", "arguments": {}, "training_info": {}}
    with pytest.raises(BundleError, match="looks at 'outlook'"):
        export_sb3(tmp_path / "out", model=model, normalize=None, task=made, **words)


@pytest.mark.parametrize("name", ["routing_static", "routing_queue_price", "routing_single_flow"])
def test_classical_policies_are_exported(tmp_path: Path, name: str) -> None:
    kind = load_class(baseline(name).path)
    made = kind.acting(task(base="queue", scenario="cyber_attack"))
    words: dict[str, Any] = {"environment_id": "x", "arguments": {}, "training_info": {}}
    bundle = export_rule(tmp_path / "rule", name=name, parameters=[], task=made, **words)
    act, batch = act_of_rule(kind(made)), started(made, 2, seed=23)
    for _ in range(30):
        action = act(Turn(batch.observation, None, np.zeros(2, dtype=np.bool_)))
        orders = made.decide(action, batch.twin, batch.position)[0]
        values = batch.observation.astype(np.float64)
        np.testing.assert_allclose(bundle.choose(values).orders, orders, rtol=1e-5, atol=1e-4)
        batch.step(action)


def test_a_classical_policy_that_remembers_is_refused(tmp_path: Path) -> None:
    kind = load_class(baseline("routing_rolling_program").path)
    words: dict[str, Any] = {"environment_id": "x", "arguments": {}, "training_info": {}}
    with pytest.raises(BundleError, match="remembers what has been"):
        export_rule(tmp_path / "rule", name="routing_rolling_program", parameters=[], task=kind.acting(task()), **words)
