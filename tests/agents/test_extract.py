"""An exported model decides as the model does: numpy, ONNX and Stable-Baselines3 agree, and so do the orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from agents.baselines.base_stock import BaseStock
from agents.bundle import Bundle
from agents.bundle_golden import ACTION_TOLERANCE
from agents.bundle_rollout import Decisions, roll_out
from agents.bundle_rules import export_baseline, extract_baseline
from agents.learners.extract import export_sb3, extract
from agents.runtime import Mlp
from envs.core import Batch
from envs.inventory import InventoryEnv, InventoryTask
from twin.errors import BundleError

NETWORK = "five_site_distribution"
CASES = [
    (PPO, "base_stock"),
    (PPO, "quantity"),
    (A2C, "base_stock"),
    (SAC, "base_stock"),
    (TD3, "quantity"),
    (DQN, "discrete"),
    (PPO, "discrete"),
    (A2C, "discrete"),
]


def build(
    algorithm: type[BaseAlgorithm], mode: str, normalised: bool, **policy: Any
) -> tuple[BaseAlgorithm, VecNormalize | None]:
    """An untrained model whose weights are shaken until its actions differ from observation to observation."""
    venv: Any = DummyVecEnv([lambda: InventoryEnv(NETWORK, action_mode=mode)])
    normalize = VecNormalize(venv, norm_reward=False, clip_obs=3.0) if normalised else None
    buffer = {"buffer_size": 100} if algorithm in {SAC, TD3, DQN} else {}
    model = algorithm(
        "MlpPolicy", normalize or venv, policy_kwargs={"net_arch": [12, 8], **policy}, seed=0, device="cpu", **buffer
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            if not normalised and parameter.ndim == 2 and parameter.shape[1] == model.observation_space.shape[0]:
                parameter.mul_(0.003)  # raw units are in the hundreds: without this every neuron saturates
    if normalize is not None:
        normalize.reset()
        for _ in range(60):
            normalize.step([venv.action_space.sample()])
        normalize.training = False
    return model, normalize


def predict(model: BaseAlgorithm, normalize: VecNormalize | None, observation: NDArray[np.float32]) -> NDArray[Any]:
    normal = observation if normalize is None else normalize.normalize_obs(observation)
    return np.asarray(model.predict(normal, deterministic=True)[0])


def export(path: Path, model: BaseAlgorithm, normalize: VecNormalize | None, mode: str) -> Bundle:
    return export_sb3(
        path,
        model=model,
        normalize=normalize,
        task=InventoryTask(NETWORK, action_mode=mode),
        environment_id="cogtwin/Inventory-v0",
        arguments={"network": NETWORK, "action_mode": mode},
        training_info={"seed": 0},
    )


def explore(task: InventoryTask, seed: int) -> Decisions:
    """Decisions of a policy that acts at random: 1,024 varied states."""
    task.action_space.seed(seed)
    return roll_out(task, lambda turn: np.stack([task.action_space.sample() for _ in turn.observation]), seed=seed)


@pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "raw"])
@pytest.mark.parametrize(("algorithm", "mode"), CASES, ids=[f"{a.__name__}-{m}" for a, m in CASES])
def test_numpy_onnx_and_sb3_agree(tmp_path: Path, algorithm: type[BaseAlgorithm], mode: str, normalised: bool) -> None:
    model, normalize = build(algorithm, mode, normalised)
    bundle = export(tmp_path / "b", model, normalize, mode)
    observations = explore(InventoryTask(NETWORK, action_mode=mode), seed=5).observations
    assert len(observations) >= 1000

    expected = predict(model, normalize, observations)
    actual = bundle.predict(observations)[0]
    assert len(np.unique(expected, axis=0)) > 1
    session = onnxruntime.InferenceSession(str(tmp_path / "b" / "policy.onnx"), providers=["CPUExecutionProvider"])
    onnx = session.run(None, {"observation": observations})[0]
    assert actual.shape == expected.shape == onnx.shape
    if mode == "discrete":
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(onnx, expected)
    else:
        assert np.abs(actual - expected).max() < ACTION_TOLERANCE
        assert np.abs(onnx - actual).max() < ACTION_TOLERANCE
        assert (np.abs(actual) < 1.0).mean() > 0.2  # the comparison is not one of clipped ends
    single = bundle.predict(observations[0])[0]
    assert single.shape == expected[0].shape


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.SiLU, nn.Identity])
def test_every_activation_agrees_with_torch_and_onnx(tmp_path: Path, activation: type[nn.Module]) -> None:
    model, normalize = build(PPO, "base_stock", True, activation_fn=activation)
    bundle = export(tmp_path / "b", model, normalize, "base_stock")
    observations = explore(InventoryTask(NETWORK), seed=6).observations
    actual = bundle.predict(observations)[0]
    assert np.abs(actual - predict(model, normalize, observations)).max() < ACTION_TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / "b" / "policy.onnx"), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"observation": observations})[0] - actual).max() < ACTION_TOLERANCE


@pytest.mark.parametrize("net_arch", [[], [3], {"pi": [5, 4, 3], "vf": [2]}])
def test_any_depth_can_be_exported(tmp_path: Path, net_arch: Any) -> None:
    model, normalize = build(PPO, "base_stock", True, net_arch=net_arch)
    bundle = export(tmp_path / "b", model, normalize, "base_stock")
    depth = len(net_arch["pi"]) if isinstance(net_arch, dict) else len(net_arch)
    assert len(bundle.policy.layers) == depth + 1


def test_a_squashed_gaussian_of_ppo_is_a_tanh(tmp_path: Path) -> None:
    venv: Any = DummyVecEnv([lambda: InventoryEnv(NETWORK)])
    normalize = VecNormalize(venv, norm_reward=False)
    model = PPO(
        "MlpPolicy", normalize, use_sde=True, policy_kwargs={"squash_output": True, "net_arch": [4]}, device="cpu"
    )
    assert export(tmp_path / "b", model, normalize, "base_stock").policy.head == "tanh"


def test_normalisation_that_is_switched_off_is_not_exported() -> None:
    model, normalize = build(PPO, "base_stock", True)
    assert normalize is not None
    normalize.norm_obs = False
    arch, weights = extract(model, normalize)
    assert arch["normalisation"] is None
    assert "mean" not in weights


@pytest.mark.parametrize("mode", ["base_stock", "quantity", "discrete"])
def test_advised_orders_are_those_of_the_environment(tmp_path: Path, mode: str) -> None:
    model, normalize = build(PPO, mode, True)
    bundle = export(tmp_path / "b", model, normalize, mode)
    task = InventoryTask(NETWORK, action_mode=mode)
    batch = Batch(task, 8)
    slots = np.arange(8, dtype=np.uint32)
    observation = batch.reset(np.full(8, 11, dtype=np.uint64), slots, np.zeros_like(slots))
    task.action_space.seed(0)
    compared = 0
    for _ in range(25):
        for b in range(8):
            state = {field.name: float(x) for field, x in zip(task.fields, observation[b], strict=True)}
            exact = {
                f"position[{n}]": float(x) for n, x in zip(task.compiled.arc_names, batch.position[:, b], strict=True)
            }
            advice = bundle.advise({"observation": state | exact})
            if advice.reasons == ("RANGE",):
                continue  # the environment saturates there, the bundle refuses
            assert not advice.blocked
            action = np.repeat(bundle.predict(observation[b : b + 1])[0], 8, axis=0)
            expected = task.decode(action, batch.twin, batch.position)[:, b]
            np.testing.assert_allclose([order.order for order in advice.orders], expected, rtol=1e-12, atol=1e-12)
            compared += 1
        observation = batch.step(np.stack([task.action_space.sample() for _ in range(8)])).observation
    assert compared > 150


@pytest.mark.parametrize("mode", ["base_stock", "discrete"])
def test_base_stock_levels_decide_as_the_classical_policy(tmp_path: Path, mode: str) -> None:
    task = InventoryTask(NETWORK, action_mode=mode)
    levels = np.array([512.25, 61.5, 70.125, 95.0, 1e4])  # the last is far outside the codec's box
    bundle = export_baseline(
        tmp_path / "b",
        name="base_stock",
        values=levels,
        up_to=True,
        task=task,
        environment_id="cogtwin/Inventory-v0",
        arguments={},
        training_info={},
    )
    policy = BaseStock(task, levels)
    state = bundle.path / "example_state.json"
    data = json.loads(state.read_text())
    position = np.array([data["observation"][f"position[{name}]"] for name in task.compiled.arc_names])
    advice = bundle.advise(data)
    assert [order.order for order in advice.orders] == policy.sequence.orders_up_to(levels, position).tolist()
    assert [order.target for order in advice.orders] == levels.tolist()
    bundle.verify_network()
    session = onnxruntime.InferenceSession(str(bundle.path / "policy.onnx"), providers=["CPUExecutionProvider"])
    onnx = session.run(None, {"observation": np.ones((3, len(task.fields)), dtype=np.float32)})[0]
    np.testing.assert_array_equal(onnx, np.zeros((3, 5), dtype=np.float32))


def test_constant_quantities_are_advised_as_they_are(tmp_path: Path) -> None:
    quantities = [99.5, 25.0, 30.0, 25.0, 20.0]
    bundle = export_baseline(
        tmp_path / "b",
        name="constant",
        values=quantities,
        up_to=False,
        task=InventoryTask(NETWORK),
        environment_id="cogtwin/Inventory-v0",
        arguments={},
        training_info={},
    )
    advice = bundle.advise(json.loads((bundle.path / "example_state.json").read_text()))
    assert advice.kind == "quantity"
    assert [order.order for order in advice.orders] == quantities


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]], 3.0])
def test_baseline_values_must_be_finite_and_one_per_arc(values: Any) -> None:
    with pytest.raises(BundleError, match="one finite number per arc"):
        extract_baseline(values, inputs=3)


def test_a_model_that_numpy_cannot_follow_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, normalize = build(PPO, "base_stock", True)
    honest = Mlp.head_of
    monkeypatch.setattr(Mlp, "head_of", lambda self, *given: honest(self, *given) * np.float32(0.9999))
    with pytest.raises(BundleError, match="differs from the original by"):
        export(tmp_path / "b", model, normalize, "base_stock")
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_decodes_differently_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, normalize = build(PPO, "base_stock", True)
    honest = InventoryTask.decode
    monkeypatch.setattr(InventoryTask, "decode", lambda self, *rest: honest(self, *rest) + 1.0)
    with pytest.raises(BundleError, match="decodes an action into other orders"):
        export(tmp_path / "b", model, normalize, "base_stock")


def test_a_policy_without_preferences_is_not_exported(tmp_path: Path) -> None:
    model, normalize = build(DQN, "discrete", True)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()
    with pytest.raises(BundleError, match="tie"):
        export(tmp_path / "b", model, normalize, "discrete")


class Halving(BaseFeaturesExtractor):
    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, observation_space.shape[0])

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return observations / 2.0


def test_unknown_parts_are_refused_by_name() -> None:
    with pytest.raises(BundleError, match=r"Softplus.*supported after a Linear: ELU"):
        extract(build(PPO, "base_stock", False, activation_fn=nn.Softplus)[0])
    with pytest.raises(BundleError, match="feature extractor Halving"):
        extract(build(PPO, "base_stock", False, features_extractor_class=Halving)[0])
    venv: Any = DummyVecEnv([lambda: InventoryEnv(NETWORK)])
    with pytest.raises(BundleError, match=r"Hardtanh"):
        extract(SAC("MlpPolicy", venv, use_sde=True, buffer_size=10, device="cpu"))


def test_an_unknown_algorithm_is_refused_with_those_supported() -> None:
    model = build(PPO, "base_stock", False)[0]
    model.__class__ = type("Mystery", (BaseAlgorithm,), {"__abstractmethods__": frozenset()})
    with pytest.raises(BundleError, match=r"Mystery; supported: PPO, A2C, SAC, TD3, DQN and MaskablePPO"):
        extract(model)


def test_arguments_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    model, normalize = build(PPO, "base_stock", True)
    with pytest.raises(BundleError, match="arguments must be plain data"):
        export_sb3(
            tmp_path / "b",
            model=model,
            normalize=normalize,
            task=InventoryTask(NETWORK),
            environment_id="x",
            arguments={"network": object()},
            training_info={},
        )
