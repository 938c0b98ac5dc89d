"""From a Stable-Baselines3 model to plain arrays, and from there to a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from agents.bundle import Bundle
from agents.bundle_writer import make_spec, roll_out, write_bundle
from envs.actions import BaseStockCodec, Codec, QuantityCodec
from envs.task import Task
from twin.errors import BundleError

__all__ = ["export_baseline", "export_sb3", "extract", "extract_baseline"]

Arch = dict[str, Any]
Weights = dict[str, NDArray[Any]]

#: Seed of the rollouts that golden cases come from, away from the blocks that training and evaluation use.
GOLDEN_SEED = 770_001

_SUPPORTED = "PPO, A2C, SAC, TD3 and DQN with an MlpPolicy"


def extract(model: BaseAlgorithm, normalize: VecNormalize | None = None) -> tuple[Arch, Weights]:
    """The deterministic policy of a model.

    Parameters
    ----------
    model
        PPO, A2C, SAC, TD3 or DQN with an MlpPolicy on a Box observation.
    normalize
        The normalisation it was trained with; only its observations matter here.

    Returns
    -------
    arch, weights
        As :meth:`agents.runtime.Mlp.build` takes them: float32 arrays, the normalisation's statistics in float64.

    Raises
    ------
    BundleError
        For an algorithm, space, feature extractor or layer that is not supported.
    """
    observation = model.observation_space
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
        raise BundleError(f"only flat Box observations can be exported, not {observation}")
    modules, head = _modules(model)
    layers, weights = _layers(modules)
    outputs = layers[-1]["units"]
    expected = _outputs(model.action_space)
    if outputs != expected:
        raise BundleError(
            f"the network has {outputs} outputs and the action space {model.action_space} needs {expected}"
        )
    arch: Arch = {
        "inputs": int(observation.shape[0]),
        "outputs": outputs,
        "head": head,
        "normalisation": None,
        "layers": layers,
    }
    if normalize is not None and normalize.norm_obs:
        statistics = normalize.obs_rms
        if not isinstance(statistics, RunningMeanStd):
            raise BundleError("only the normalisation of Box observations can be exported, not of a dictionary")
        arch["normalisation"] = {"epsilon": float(normalize.epsilon), "clip": float(normalize.clip_obs)}
        # Float64 as in VecNormalize: a mean that is large beside its deviation would lose its last digits.
        weights["mean"] = np.array(statistics.mean, dtype=np.float64)
        weights["variance"] = np.array(statistics.var, dtype=np.float64)
    return arch, weights


def extract_baseline(values: ArrayLike, *, inputs: int, up_to: bool = True) -> tuple[Arch, Weights, Codec]:
    """A classical policy with one number per arc as a bundle's parts.

    Parameters
    ----------
    values
        Shape (A,), units: base-stock levels, or with ``up_to=False`` constant order quantities.
    inputs
        Length of an observation.

    Returns
    -------
    arch, weights, codec
        The action is 0 on every arc, which the codec decodes into exactly ``values``.
    """
    values = np.array(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BundleError(f"a policy needs one finite number per arc; received shape {values.shape}")
    arch: Arch = {
        "inputs": inputs,
        "outputs": len(values),
        "head": "constant",
        "normalisation": None,
        "layers": [],
    }
    kind = BaseStockCodec if up_to else QuantityCodec
    return arch, {"constant": np.zeros(len(values), dtype=np.float32)}, kind(values, values, values)


def export_sb3(
    path: str | Path,
    *,
    model: BaseAlgorithm,
    normalize: VecNormalize | None,
    task: Task,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
) -> Bundle:
    """Write a trained model as a bundle, compared with the model on 1,024 observations of its own rollouts.

    Parameters
    ----------
    path
        Folder to create; it must not exist.
    model, normalize
        See :func:`extract`.
    task
        What the model was trained on.
    environment_id, arguments, training_info
        Go into the manifest as they are; plain data.

    Raises
    ------
    BundleError
        When the model cannot be exported, numpy and torch differ by more than 1e-5 of the action range, or ``path``
        exists.
    """
    arch, weights = extract(model, normalize)

    def act(observation: NDArray[np.float32]) -> NDArray[Any]:
        normal = observation if normalize is None else normalize.normalize_obs(observation)
        return np.asarray(model.predict(normal, deterministic=True)[0])

    golden = roll_out(
        task, act, lambda action, batch: task.decode(action, batch.twin, batch.position), seed=GOLDEN_SEED
    )
    return write_bundle(
        path,
        task=task,
        spec=make_spec(task, task.codec),
        arch=arch,
        weights=weights,
        golden=golden,
        algorithm=type(model).__name__.lower(),
        environment_id=environment_id,
        arguments=arguments,
        training_info=training_info,
    )


def export_baseline(
    path: str | Path,
    *,
    name: str,
    values: ArrayLike,
    up_to: bool,
    task: Task,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
) -> Bundle:
    """Write a classical policy (levels, or quantities with ``up_to=False``) as a bundle; see :func:`export_sb3`."""
    arch, weights, codec = extract_baseline(values, inputs=len(task.fields), up_to=up_to)
    if codec.arcs != task.compiled.n_arcs:
        raise BundleError(f"a policy needs {task.compiled.n_arcs} numbers, one per arc; received {codec.arcs}")
    spec = make_spec(task, codec)
    golden = roll_out(
        task,
        lambda observation: np.zeros((len(observation), codec.arcs), dtype=np.float32),
        lambda action, batch: spec.decode(action, batch.position)[1],
        seed=GOLDEN_SEED,
    )
    return write_bundle(
        path,
        task=task,
        spec=spec,
        arch=arch,
        weights=weights,
        golden=golden,
        algorithm=name,
        environment_id=environment_id,
        arguments=arguments,
        training_info=training_info,
    )


def _modules(model: BaseAlgorithm) -> tuple[list[nn.Module], str]:
    """The layers from features to action, and the head that follows them."""
    policy: Any = model.policy
    modules: list[nn.Module]
    if isinstance(model, PPO | A2C) and isinstance(policy, ActorCriticPolicy):
        if type(policy.mlp_extractor) is not MlpExtractor:
            raise BundleError(f"no export for {type(policy.mlp_extractor).__name__}; supported: {_SUPPORTED}")
        extractor: Any = policy.pi_features_extractor
        modules = [*_flat(policy.mlp_extractor.policy_net), policy.action_net]
        head = "tanh" if policy.squash_output else "gaussian_mean"
    elif isinstance(model, SAC):
        extractor = policy.actor.features_extractor
        modules, head = [*_flat(policy.actor.latent_pi), *_flat(policy.actor.mu)], "tanh"
    elif isinstance(model, TD3):
        extractor = policy.actor.features_extractor
        modules, head = list(_flat(policy.actor.mu)), "tanh"
        if not isinstance(modules.pop(), nn.Tanh):
            raise BundleError(f"the actor does not end in a tanh; supported: {_SUPPORTED}")
    elif isinstance(model, DQN):
        extractor = policy.q_net.features_extractor
        modules, head = list(_flat(policy.q_net.q_net)), "argmax"
    else:
        raise BundleError(f"no export for {type(model).__name__}; supported: {_SUPPORTED}")
    if type(extractor) is not FlattenExtractor:
        raise BundleError(
            f"no export for the feature extractor {type(extractor).__name__}; supported: FlattenExtractor"
        )
    return modules, "argmax" if isinstance(model.action_space, spaces.Discrete) else head


def _flat(module: nn.Module) -> Iterable[nn.Module]:
    return list(module) if isinstance(module, nn.Sequential) else [module]


def _layers(modules: Iterable[nn.Module]) -> tuple[list[dict[str, Any]], Weights]:
    layers: list[dict[str, Any]] = []
    weights: Weights = {}
    open_layer = False
    for module in modules:
        # Exact types: a subclass may compute something else.
        if type(module) is nn.Linear:
            k = len(layers)
            weights[f"weight_{k}"] = _array(module.weight)
            weights[f"bias_{k}"] = (
                np.zeros(module.out_features, dtype=np.float32) if module.bias is None else _array(module.bias)
            )
            layers.append({"units": module.out_features, "activation": "identity", "alpha": 0.0})
            open_layer = True
        elif open_layer:
            activation, alpha = _activation(module)
            layers[-1].update(activation=activation, alpha=alpha)
            open_layer = False
        else:
            raise BundleError(f"no export for the layer {module} where a Linear is expected; supported: {_SUPPORTED}")
    return layers, weights


def _activation(module: nn.Module) -> tuple[str, float]:
    plain: dict[type[nn.Module], str] = {
        nn.Identity: "identity",
        nn.Tanh: "tanh",
        nn.ReLU: "relu",
        nn.Sigmoid: "sigmoid",
        nn.SiLU: "silu",
    }
    if type(module) in plain:
        return plain[type(module)], 0.0
    if type(module) is nn.ELU:
        return "elu", float(module.alpha)
    if type(module) is nn.LeakyReLU:
        return "leaky_relu", float(module.negative_slope)
    names = ", ".join(sorted([*(kind.__name__ for kind in plain), "ELU", "LeakyReLU"]))
    raise BundleError(f"no export for the layer {module}; supported after a Linear: {names}")


def _array(parameter: Any) -> NDArray[np.float32]:
    return np.array(parameter.detach().cpu().numpy(), dtype=np.float32)


def _outputs(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if (
        isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and (space.low == -1.0).all()
        and (space.high == 1.0).all()
    ):
        return int(space.shape[0])
    raise BundleError(f"only Discrete and Box(-1, 1) actions can be exported, not {space}")
