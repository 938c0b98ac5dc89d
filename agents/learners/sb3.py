"""Building and loading any Stable-Baselines3 algorithm of the registry."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from agents.learners.bootstrap import bootstrapping_together
from agents.learners.schedules import LearningRate
from agents.registry import algorithm, load_class
from twin.errors import ConfigError, RunError, did_you_mean

__all__ = ["NormalisedPolicy", "build", "check_parameters", "load"]

#: Activation functions a configuration can name.
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}

#: Arguments that the project sets itself.
_RESERVED = {
    "policy",
    "env",
    "seed",
    "device",
    "verbose",
    "tensorboard_log",
    "_init_setup_model",
    "self",
    "policy_kwargs",
}


def check_parameters(name: str, parameters: Mapping[str, Any], action_space: str) -> list[str]:
    """Problems of an algorithm's parameters: unknown names, and an action space it cannot act in."""
    entry = algorithm(name)
    problems = []
    if action_space not in entry.action_spaces:
        allowed = ", ".join(sorted(entry.action_spaces))
        problems.append(f"agent.algorithm: '{name}' cannot act in a {action_space} action space (allowed: {allowed})")
    known = set(inspect.signature(load_class(entry.path).__init__).parameters) - _RESERVED
    for key in parameters:
        if key not in known:
            problems.append(
                f"agent.parameters: '{key}' is not a parameter of {name} "
                f"(allowed: {', '.join(sorted(known))}){did_you_mean(key, known)}"
            )
    return problems


def build(
    name: str,
    env: VecEnv,
    *,
    parameters: Mapping[str, Any],
    net_arch: list[int],
    activation: str,
    log_std_init: float | None,
    seed: int,
    device: str,
    schedule: str = "constant",
) -> BaseAlgorithm:
    """A fresh model.

    Parameters
    ----------
    log_std_init
        Logarithm of the initial standard deviation of a Gaussian policy (PPO and A2C on Box); None keeps SB3's 0.
    schedule
        How the learning rate among the parameters falls, see :class:`agents.learners.schedules.LearningRate`.
    """
    if activation not in ACTIVATIONS:
        raise ConfigError(
            f"no activation '{activation}' (allowed: {', '.join(ACTIVATIONS)}){did_you_mean(activation, ACTIVATIONS)}"
        )
    policy: dict[str, Any] = {"net_arch": list(net_arch), "activation_fn": ACTIVATIONS[activation]}
    if log_std_init is not None and algorithm(name).on_policy and "Box" in algorithm(name).action_spaces:
        policy["log_std_init"] = log_std_init
    made, arguments = _learner(name), dict(parameters)
    usual = inspect.signature(made.__init__).parameters["learning_rate"].default
    rate = arguments.get("learning_rate", usual.initial if isinstance(usual, LearningRate) else usual)
    arguments["learning_rate"] = LearningRate(rate, schedule)
    model: BaseAlgorithm = made(
        "MlpPolicy", env, policy_kwargs=policy, seed=seed, device=device, verbose=0, **arguments
    )
    return model


def _learner(name: str) -> Any:
    made = load_class(algorithm(name).path)
    return bootstrapping_together(made) if issubclass(made, OnPolicyAlgorithm) else made


def load(name: str, path: Path, env: VecEnv | None = None, *, device: str = "cpu") -> BaseAlgorithm:
    """Load a saved model.

    Raises
    ------
    RunError
        When the file is missing or is not a model of this algorithm.
    """
    if not path.is_file():
        raise RunError(f"no model {path}")
    try:
        model: BaseAlgorithm = _learner(name).load(path, env=env, device=device)
    except (ValueError, KeyError, AssertionError, RuntimeError, OSError) as error:
        raise RunError(f"{path} cannot be loaded as {name}: {error}") from error
    return model


class NormalisedPolicy:
    """A model together with the normalisation it was trained with: raw observations in, actions out.

    Parameters
    ----------
    model
        Any SB3 model.
    normalise
        Its statistics; they stay as they are.
    """

    def __init__(self, model: BaseAlgorithm, normalise: VecNormalize) -> None:
        self.model = model
        self.normalise = normalise
        #: Whether the model never takes an action that a mask rules out.
        self.heeds_masks = "action_masks" in inspect.signature(model.predict).parameters

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        **masks: NDArray[np.bool_],
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """See :class:`agents.policy.Policy`; a model that heeds masks takes ``action_masks`` as well."""
        normal = self.normalise.normalize_obs(observation)
        return self.model.predict(normal, state, episode_start, deterministic, **masks)
