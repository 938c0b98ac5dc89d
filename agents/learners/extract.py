"""From a Stable-Baselines3 model to plain arrays, and from there to a bundle."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces import MultiDiscrete
from numpy.typing import NDArray
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from agents.bundle import Bundle
from agents.bundle_policy import chooser_of
from agents.bundle_rollout import GOLDEN_SEED, Act, Turn, roll_out
from agents.bundle_writer import Extras, make_spec, write_bundle
from agents.learners.arc_policy import ArcPolicy
from agents.learners.linear_policy import LinearPolicy
from envs.task import Task
from twin.errors import BundleError

__all__ = ["act_of", "export_sb3", "extract"]

Arch = dict[str, Any]
Weights = dict[str, NDArray[Any]]

_SUPPORTED = "PPO, A2C, SAC, TD3, DQN and MaskablePPO with an MlpPolicy, Pathwise and Imitation"
#: Where observations that are not to be clipped are clipped.
_FAR = 1e30


def extract(model: BaseAlgorithm, normalize: VecNormalize | None = None) -> tuple[Arch, Weights]:
    """The deterministic policy of a model.

    Parameters
    ----------
    model
        PPO, A2C, SAC, TD3, DQN or MaskablePPO with an MlpPolicy on a Box observation, Pathwise or Imitation.
    normalize
        The normalisation it was trained with; only its observations matter here.

    Returns
    -------
    arch, weights
        As :meth:`agents.runtime.Mlp.build` takes them, or :meth:`agents.runtime_arcs.ArcNet.build` for Pathwise.

    Raises
    ------
    BundleError
        For an algorithm, space, feature extractor or layer that is not supported.
    """
    observation = model.observation_space
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
        raise BundleError(f"only flat Box observations can be exported, not {observation}")
    if isinstance(model.policy, ArcPolicy):
        return _arcs(model.policy, normalize)
    if isinstance(model.policy, LinearPolicy):
        return _linear(model.policy)
    modules, head = _modules(model)
    layers, weights = _layers(modules)
    outputs = layers[-1]["units"]
    expected = _outputs(model.action_space)
    if outputs != expected:
        raise BundleError(
            f"the network has {outputs} outputs and the action space {model.action_space} needs {expected}"
        )
    arch: Arch = {
        "kind": "layers",
        "inputs": int(observation.shape[0]),
        "outputs": outputs,
        "head": head,
        "normalisation": _normalisation(normalize, weights),
        "layers": layers,
        "choices": [int(n) for n in model.action_space.nvec] if isinstance(model.action_space, MultiDiscrete) else [],
        "masked": "action_masks" in inspect.signature(model.predict).parameters,
        "box": False,
    }
    if isinstance(model.action_space, spaces.Box):
        low, high = (np.asarray(end, dtype=np.float32) for end in (model.action_space.low, model.action_space.high))
        arch["box"] = not ((low == -1.0).all() and (high == 1.0).all())
        if arch["box"]:
            weights["low"], weights["high"] = low, high
    return arch, weights


def _linear(policy: LinearPolicy) -> tuple[Arch, Weights]:
    """A linear policy as one layer of observations less their mean: float32 is close enough of what is left."""
    mean, weight, bias = (array.detach().cpu().numpy() for array in (policy.mean, policy.weight, policy.bias))
    outputs, inputs = weight.shape
    weights: Weights = {
        "mean": mean.astype(np.float64),
        "variance": np.ones(inputs),
        "weight_0": weight.astype(np.float32),
        "bias_0": (bias + weight @ mean).astype(np.float32),
    }
    box: Any = policy.action_space
    low, high = (np.asarray(end, dtype=np.float32).ravel() for end in (box.low, box.high))
    boxed = not ((low == -1.0).all() and (high == 1.0).all())
    if boxed:
        weights["low"], weights["high"] = low, high
    arch: Arch = {
        "kind": "layers",
        "inputs": inputs,
        "outputs": outputs,
        "head": "gaussian_mean",
        "normalisation": {"epsilon": 0.0, "clip": _FAR},
        "layers": [{"units": outputs, "activation": "identity", "alpha": 0.0}],
        "choices": [],
        "masked": False,
        "box": boxed,
    }
    return arch, weights


def _normalisation(normalize: VecNormalize | None, weights: Weights) -> dict[str, float] | None:
    """What ``arch.json`` says of a normalisation of observations; its statistics go into the weights."""
    if normalize is None or not normalize.norm_obs:
        return None
    statistics = normalize.obs_rms
    if not isinstance(statistics, RunningMeanStd):
        raise BundleError("only the normalisation of Box observations can be exported, not of a dictionary")
    # Float64 as in VecNormalize: a mean that is large beside its deviation would lose its last digits.
    weights["mean"] = np.array(statistics.mean, dtype=np.float64)
    weights["variance"] = np.array(statistics.var, dtype=np.float64)
    return {"epsilon": float(normalize.epsilon), "clip": float(normalize.clip_obs)}


def _arcs(policy: ArcPolicy, normalize: VecNormalize | None) -> tuple[Arch, Weights]:
    """The parts of a pathwise policy, see :class:`agents.runtime_arcs.ArcNet`."""
    activation, alpha = _activation(policy.activation)
    arcs, hidden = len(policy.columns), list(policy.net_arch)
    offset = np.zeros((arcs, hidden[0]), dtype=np.float32)
    if policy.of_traits is not None:
        offset = (
            _array(policy.traits).astype(np.float64) @ _array(policy.of_traits.weight).astype(np.float64).T
        ).astype(np.float32)
    weights: Weights = {
        "columns": policy.columns.cpu().numpy().astype(np.int64),
        "offset": offset,
        "gain": _array(policy.gain),
    }
    for kind in policy.kinds:
        mean = getattr(policy, f"mean_{kind}")
        weights[f"mean_{kind}"] = _array(mean.to_dense() if mean.is_sparse else mean)
    rest = [module for module in policy.rest if isinstance(module, nn.Linear)]
    for k, layer in enumerate([policy.first, *rest]):
        weights[f"weight_{k}"], weights[f"bias_{k}"] = _array(layer.weight), _array(layer.bias)
    if policy.clock is not None and policy.by_clock is not None:
        weights["covers"] = policy.covers.cpu().numpy().astype(np.int64)
        weights["clock_scale"], weights["clock_table"] = _array(policy.clock_scale), _array(policy.by_clock.weight)
    arch: Arch = {
        "kind": "arcs",
        "inputs": int(np.prod(policy.observation_space.shape or ())),
        "outputs": arcs,
        "seen": int(weights["columns"].shape[1]),
        "hidden": hidden,
        "activation": activation,
        "alpha": alpha,
        "neighbours": list(policy.kinds),
        "clock": None if policy.clock is None else [int(n) for n in policy.clock],
        "normalisation": _normalisation(normalize, weights),
    }
    return arch, weights


def export_sb3(
    path: str | Path,
    *,
    model: BaseAlgorithm,
    normalize: VecNormalize | None,
    task: Task,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
    extras: Extras | None = None,
) -> Bundle:
    """Write a trained model as a bundle, compared with the model on 1,024 observations of its own rollouts.

    Parameters
    ----------
    path
        Folder to create, or zip where the name ends in ``.zip``; it must not exist.
    model, normalize
        See :func:`extract`.
    task
        What the model was trained on.
    environment_id, arguments, training_info
        Go into the manifest as they are; plain data.
    extras
        What goes into the bundle beside the policy.

    Raises
    ------
    BundleError
        When the model cannot be exported, numpy and torch differ by more than 1e-5 of the action range, or ``path``
        exists.
    """
    arch, weights = extract(model, normalize)
    spec = make_spec(task, task.codec, None if extras is None else extras.guardrails)
    chooser = chooser_of(arch, weights, spec, lambda: task.compiled)
    return write_bundle(
        path,
        task=task,
        spec=spec,
        chooser=chooser,
        arch=arch,
        weights=weights,
        decisions=roll_out(task, act_of(model, normalize), seed=GOLDEN_SEED, follow=chooser),
        algorithm=type(model).__name__.lower(),
        environment_id=environment_id,
        arguments=arguments,
        training_info=training_info,
        extras=extras,
    )


def act_of(model: BaseAlgorithm, normalize: VecNormalize | None) -> Act:
    """What a model does at a decision epoch."""
    heeds_masks = "action_masks" in inspect.signature(model.predict).parameters

    def act(turn: Turn) -> NDArray[Any]:
        normal = turn.observation if normalize is None else normalize.normalize_obs(turn.observation)
        masks: dict[str, Any] = {"action_masks": turn.masks} if heeds_masks and turn.masks is not None else {}
        return np.asarray(model.predict(normal, deterministic=True, **masks)[0])

    return act


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
    elif hasattr(policy, "action_net") and "action_masks" in inspect.signature(model.predict).parameters:
        # MaskablePPO, whose package is an extra.
        if type(policy.mlp_extractor) is not MlpExtractor:
            raise BundleError(f"no export for {type(policy.mlp_extractor).__name__}; supported: {_SUPPORTED}")
        extractor = policy.pi_features_extractor
        modules, head = [*_flat(policy.mlp_extractor.policy_net), policy.action_net], "argmax"
    else:
        raise BundleError(f"no export for {type(model).__name__}; supported: {_SUPPORTED}")
    if type(extractor) is not FlattenExtractor:
        raise BundleError(
            f"no export for the feature extractor {type(extractor).__name__}; supported: FlattenExtractor"
        )
    return modules, "argmax" if isinstance(model.action_space, spaces.Discrete | MultiDiscrete) else head


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
            layers.append({"units": int(module.out_features), "activation": "identity", "alpha": 0.0})
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
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return int(space.n)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return int(space.nvec.sum())
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.isfinite([space.low, space.high]).all():
        return int(space.shape[0])
    raise BundleError(f"only Discrete, MultiDiscrete and bounded Box actions can be exported, not {space}")
