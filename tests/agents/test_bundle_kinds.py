"""Every kind of policy as a bundle: masks, parts, boxes, pathwise, moves, beliefs, classical rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.baselines.simulation import acting_task
from agents.bundle import Bundle
from agents.bundle_golden import ACTION_TOLERANCE
from agents.bundle_rollout import Turn, roll_out
from agents.bundle_rules import act_of_rule, export_rule
from agents.learners.extract import export_sb3, extract
from agents.learners.pathwise import Pathwise
from agents.onnx_graph import build_onnx
from agents.registry import baseline, load_class
from agents.runtime import Mlp
from envs.core import Batch
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from envs.switching import SwitchingTask
from twin.compile import compile_network
from twin.errors import BundleError
from twin.library import resolve

OUTLOOK = ["on_hand", "position", "in_transit", "availability", "since", "warning", "outlook", "price", "contract"]
OUTLOOK += ["clock"]
TASKS: dict[str, Any] = {
    "arcs": (Pathwise, lambda: InventoryTask("five_site_distribution")),
    "one arc": (Pathwise, lambda: InventoryTask("lost_sales_zipkin2008", observe=["on_hand", "position"])),
    "arcs with a clock": (
        Pathwise,
        lambda: InventoryTask("three_stage_serial", action_mode="echelon", finite=True, horizon=30, forecast=8),
    ),
    "echelon": (
        PPO,
        lambda: InventoryTask("three_stage_serial", action_mode="echelon", finite=True, horizon=30, forecast=8),
    ),
    "mix": (PPO, lambda: SwitchingTask("prolonged_shortage")),
    "mix on risk": (SAC, lambda: SwitchingTask("prolonged_shortage", base="risk")),
    "moves": (MaskablePPO, lambda: SwitchingTask("prolonged_shortage", action_mode="moves", notches=(0.5, 1.0))),
    "outlook": (
        MaskablePPO,
        lambda: SwitchingTask("prolonged_shortage", action_mode="moves", base="risk", observe=OUTLOOK),
    ),
}


def shaken(model: Any, size: float = 0.3) -> Any:
    """Weights that make actions differ from observation to observation."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return model


def trained(algorithm: Any, task: InventoryTask) -> tuple[Any, VecNormalize]:
    normalise = VecNormalize(TwinVecEnv(task, 4), norm_reward=False, clip_obs=5.0)
    if algorithm is Pathwise:
        model = algorithm("ArcPolicy", normalise, policy_kwargs={"net_arch": [6, 5]}, seed=0, n_steps=40, warm_up=20)
        model.learn(1)
    else:
        more = {"buffer_size": 100} if algorithm is SAC else {}
        policy = {"net_arch": [12, 8]}
        model = algorithm("MlpPolicy", normalise, policy_kwargs=policy, seed=0, device="cpu", **more)
        for _ in range(40):
            normalise.step(np.stack([task.action_space.sample() for _ in range(4)]))
    normalise.training = False
    return shaken(model), normalise


def export(path: Path, model: Any, normalise: VecNormalize, task: InventoryTask) -> Bundle:
    return export_sb3(
        path, model=model, normalize=normalise, task=task, environment_id="x", arguments={}, training_info={}
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports a kind once, for all tests that look at it."""
    folder, made = tmp_path_factory.mktemp("kinds"), {}

    def get(kind: str) -> Any:
        if kind not in made:
            algorithm, make = TASKS[kind]
            task = make()
            model, normalise = trained(algorithm, task)
            path = folder / kind.replace(" ", "_")
            made[kind] = (export(path, model, normalise, task), model, normalise, task)
        return made[kind]

    return get


def explore(task: InventoryTask) -> Any:
    task.action_space.seed(5)
    return roll_out(task, lambda turn: np.stack([task.action_space.sample() for _ in turn.observation]), seed=5)


@pytest.mark.parametrize("kind", TASKS)
def test_numpy_onnx_and_the_model_agree(exported: Any, kind: str) -> None:
    bundle, model, normalise, task = exported(kind)
    seen = explore(task)
    assert len(seen.observations) >= 1000
    masks = {} if not bundle.heeds_masks else {"action_masks": seen.masks}
    expected = model.predict(normalise.normalize_obs(seen.observations), deterministic=True, **masks)[0]
    net = bundle.chooser.net
    actual = net.head_of(net.scores(seen.observations), masks.get("action_masks"))
    session = onnxruntime.InferenceSession(str(bundle.path / "policy.onnx"), providers=["CPUExecutionProvider"])
    given = {"observation": seen.observations} | ({"mask": seen.masks} if bundle.heeds_masks else {})
    onnx = session.run(None, given)[0]
    assert len(np.unique(expected, axis=0)) > 1
    tolerance = 0.0 if net.discrete else ACTION_TOLERANCE
    assert actual.shape == expected.shape == onnx.shape
    assert np.abs(actual.astype(np.float64) - expected).max() <= tolerance
    assert np.abs(onnx.astype(np.float64) - expected).max() <= tolerance
    bundle.verify_network()


@pytest.mark.parametrize("kind", ["moves", "outlook"])
def test_a_bundle_knows_which_moves_are_possible(exported: Any, kind: str) -> None:
    bundle, _, _, task = exported(kind)
    seen = explore(task)
    assert not seen.masks.all()
    found = bundle.chooser.decoder.masks(seen.observations.astype(np.float64))
    np.testing.assert_array_equal(found, seen.masks)
    chosen = bundle.predict(seen.observations, bundle.chooser.begin(seen.observations.astype(np.float64)))[0]
    assert seen.masks[np.arange(len(chosen)), chosen].all()


@pytest.mark.parametrize("kind", ["mix", "mix on risk", "moves", "outlook"])
def test_advice_follows_an_episode_of_switching(exported: Any, kind: str) -> None:
    """Orders and moves of advice on named fields, the memory handed on, are those of the environment."""
    bundle, _, _, task = exported(kind)
    names = [field.name for field in task.fields]
    batch, slot = Batch(task, 1), np.zeros(1, dtype=np.uint32)
    observation = batch.reset(np.full(1, 11, dtype=np.uint64), slot, slot)
    memory: Any = None
    changed = 0
    for _ in range(60):
        state = dict(zip(names, observation[0].astype(float).tolist(), strict=True))
        state = {name: value for name, value in state.items() if not name.startswith("outlook[")}
        positions = zip(task.compiled.arc_names, batch.position[:, 0].tolist(), strict=True)
        state |= {f"position[{arc}]": value for arc, value in positions}
        advice = bundle.advise({"observation": state} | ({"memory": memory} if memory else {}))
        assert not advice.blocked, advice.checks[-1]
        memory = advice.memory
        action = np.array([advice.action], dtype=np.int64 if isinstance(advice.action, int) else np.float32)
        left = np.full(1, float(task.horizon)) - batch.elapsed
        orders, moves = task.decide(action, batch.twin, batch.position, left, batch.belief)
        assert moves is not None
        assert [move.move for move in advice.moves] == [bundle.spec.moves[k] for k in moves[:, 0]]
        targets = [order.target for order in advice.orders]
        np.testing.assert_allclose(targets, orders[:, 0], rtol=1e-5, atol=1e-5)
        changed += bool(moves.any())
        observation = batch.step(action).observation
    assert changed
    assert bool(memory) == (kind in {"mix on risk", "outlook"})


def test_a_memory_that_cannot_be_is_refused(exported: Any) -> None:
    bundle = exported("outlook")[0]
    state = bundle.example_state
    right = bundle.advise(state).memory
    for wrong in ([[1.0, 2.0]], "memory", [[float("nan")] * len(right[0])], [[-1.0] * len(right[0])]):
        assert bundle.advise({**state, "memory": wrong}).reasons == ("MEMORY",)
    plain = exported("arcs")[0]
    assert plain.advise({**plain.example_state, "memory": [[1.0]]}).reasons == ("MEMORY",)


def test_a_mask_that_leaves_nothing_is_refused(exported: Any) -> None:
    bundle = exported("moves")[0]
    state, n = bundle.example_state, bundle.policy.outputs
    one = [k == 1 for k in range(n)]
    assert bundle.advise({**state, "mask": one}).action == 1
    for wrong in ([False] * n, [True], "all"):
        assert bundle.advise({**state, "mask": wrong}).reasons == ("MASK",)
    plain = exported("arcs")[0]
    assert plain.advise({**plain.example_state, "mask": one}).reasons == ("MASK",)


class Toy(gym.Env[Any, Any]):
    """Spaces only."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.observation_space = spaces.Box(-5.0, 5.0, (4,), dtype=np.float32)
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}

    def action_masks(self) -> NDArray[np.bool_]:
        return np.ones(5, dtype=np.bool_)


BOX = spaces.Box(np.array([-3.0, 0.0, 10.0], np.float32), np.array([1.0, 0.5, 500.0], np.float32))


@pytest.mark.parametrize(
    ("algorithm", "space"),
    [
        (PPO, BOX),
        (A2C, BOX),
        (SAC, BOX),
        (TD3, BOX),
        (PPO, spaces.MultiDiscrete([3, 2])),
        (A2C, spaces.MultiDiscrete([3, 2])),
        (MaskablePPO, spaces.MultiDiscrete([3, 2])),
        (MaskablePPO, spaces.Discrete(5)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_other_boxes_and_parts_agree(algorithm: Any, space: spaces.Space[Any]) -> None:
    """Unscaling to any box, an index for each part of an action, and a mask as a second input."""
    venv: Any = DummyVecEnv([lambda: Toy(space)])
    more = {"buffer_size": 10} if algorithm in (SAC, TD3) else {}
    model = shaken(algorithm("MlpPolicy", venv, policy_kwargs={"net_arch": [7]}, seed=0, device="cpu", **more))
    net = Mlp.build(*extract(model))
    rng = np.random.default_rng(0)
    observations = rng.uniform(-5.0, 5.0, size=(1000, 4)).astype(np.float32)
    masks = None
    if algorithm is MaskablePPO:
        masks = rng.random((1000, 5)) < 0.6
        masks[:, [0, 3]] |= ~masks.any(axis=1, keepdims=True)
        masks[:, 0] |= ~masks[:, :3].any(axis=1)
        masks[:, 3] |= ~masks[:, 3:].any(axis=1)
    given = {} if masks is None else {"action_masks": masks}
    expected = model.predict(observations, deterministic=True, **given)[0]
    actual = net.act(observations, masks)
    session = onnxruntime.InferenceSession(build_onnx(net).SerializeToString(), providers=["CPUExecutionProvider"])
    onnx = session.run(None, {"observation": observations} | ({} if masks is None else {"mask": masks}))[0]
    assert len(np.unique(expected, axis=0)) > 1
    assert actual.shape == expected.shape == onnx.shape
    reach = space.high - space.low if isinstance(space, spaces.Box) else np.zeros(1)
    assert (np.abs(actual - expected) <= 1e-5 * reach).all()
    assert (np.abs(onnx - expected) <= 1e-5 * reach).all()


def test_a_mask_must_leave_each_part_an_action() -> None:
    venv: Any = DummyVecEnv([lambda: Toy(spaces.MultiDiscrete([3, 2]))])
    net = Mlp.build(*extract(MaskablePPO("MlpPolicy", venv, seed=0, device="cpu")))
    with pytest.raises(BundleError, match="leaves no action"):
        net.act(np.zeros((1, 4), np.float32), np.array([[True, True, True, False, False]]))
    with pytest.raises(BundleError, match="a mask must be"):
        net.act(np.zeros((1, 4), np.float32), np.ones((1, 4), dtype=np.bool_))


@pytest.mark.parametrize("mode", ["base_stock", "quantity", "discrete"])
def test_orders_are_in_the_onnx_graph(tmp_path: Path, mode: str) -> None:
    """Decoded by ONNX from the observed positions: the orders of the environment, to float32's accuracy."""
    task = InventoryTask("five_site_distribution", action_mode=mode)
    bundle = export(tmp_path / "b", *trained(PPO, task), task)
    batch, slots = Batch(task, 64), np.arange(64, dtype=np.uint32)
    observation = batch.reset(np.full(64, 3, dtype=np.uint64), slots, np.zeros_like(slots))
    session = onnxruntime.InferenceSession(str(tmp_path / "b" / "policy.onnx"), providers=["CPUExecutionProvider"])
    for _ in range(10):
        action, targets, orders = session.run(None, {"observation": observation})
        expected = task.decode(action, batch.twin, batch.position)
        np.testing.assert_allclose(orders.T, expected, rtol=1e-5, atol=1e-3)
        assert targets.shape == orders.shape
        observation = batch.step(bundle.predict(observation)[0]).observation


RULES = [
    ("five_site_distribution", "capped_base_stock"),
    ("five_site_distribution", "exponential_smoothing"),
    ("three_stage_serial", "echelon_base_stock"),
    ("serial_chain", "clark_scarf"),
    ("lost_sales_zipkin2008", "myopic"),
    ("prolonged_shortage", "base_stock"),
    ("prolonged_shortage", "status_switching"),
    ("prolonged_shortage", "risk_switching"),
]


@pytest.mark.parametrize(("network", "name"), RULES, ids=[name for _, name in RULES])
def test_classical_policies_decide_as_in_the_environment(tmp_path: Path, network: str, name: str) -> None:
    """Along an episode, memory and all: the actions of the registry's policy, which the bundle runs itself."""
    found = resolve(network)
    compiled = compile_network(found.model_copy(update={"records": True}) if "shortage" in network else found)
    kind, task = load_class(baseline(name).path), acting_task(compiled, name, horizon=40)
    start = kind.space(task).start
    bundle = export_rule(
        tmp_path / "b", name=name, parameters=start, task=task, environment_id="x", arguments={}, training_info={}
    )
    assert "policy.onnx" not in bundle.contents
    act, state, begins = act_of_rule(kind(task, start)), None, np.ones(4, dtype=np.bool_)
    batch, slots = Batch(task, 4), np.arange(4, dtype=np.uint32)
    observation = batch.reset(np.full(4, 2, dtype=np.uint64), slots, np.zeros_like(slots))
    for _ in range(20):
        action, state = bundle.predict(observation, state, begins)
        expected = act(Turn(observation, None, begins))
        np.testing.assert_allclose(action, expected, rtol=1e-9, atol=1e-9)
        observation, begins = batch.step(action).observation, np.zeros(4, dtype=np.bool_)
    advice = bundle.advise(bundle.example_state)
    assert not advice.blocked
    assert bool(advice.moves) == ("shortage" in network)


def test_what_the_observation_does_not_show_is_refused(tmp_path: Path) -> None:
    """A rule on prices and contracts cannot be decoded where neither is seen."""
    task = SwitchingTask("prolonged_shortage", observe=["on_hand", "position", "availability"])
    with pytest.raises(BundleError, match=r"actions of the mode 'mix' cannot be decoded: .*does not show"):
        export(tmp_path / "b", *trained(PPO, task), task)
    assert not (tmp_path / "b").exists()
