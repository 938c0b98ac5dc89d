"""Names -> algorithms and classical policies, and which fits which action space; imported when asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from twin.errors import ConfigError, did_you_mean

__all__ = ["ALGORITHMS", "BASELINES", "Algorithm", "Baseline", "algorithm", "baseline", "load_class"]


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm of Stable-Baselines3.

    Attributes
    ----------
    name
        As used in configurations.
    path
        ``module:Class``.
    action_spaces
        Names of the gymnasium spaces it can act in.
    on_policy
        True when it learns from fresh rollouts only (no replay buffer).
    summary
        One line for people.
    """

    name: str
    path: str
    action_spaces: frozenset[str]
    on_policy: bool
    summary: str


@dataclass(frozen=True)
class Baseline:
    """A classical policy with a parameter per arc."""

    name: str
    path: str
    summary: str


ALGORITHMS: dict[str, Algorithm] = {
    entry.name: entry
    for entry in (
        Algorithm("ppo", "stable_baselines3:PPO", frozenset({"Box", "Discrete"}), True, "proximal policy optimisation"),
        Algorithm("a2c", "stable_baselines3:A2C", frozenset({"Box", "Discrete"}), True, "advantage actor-critic"),
        Algorithm("sac", "stable_baselines3:SAC", frozenset({"Box"}), False, "soft actor-critic"),
        Algorithm(
            "td3", "stable_baselines3:TD3", frozenset({"Box"}), False, "twin delayed deterministic policy gradient"
        ),
        Algorithm("dqn", "stable_baselines3:DQN", frozenset({"Discrete"}), False, "deep Q-network"),
    )
}

BASELINES: dict[str, Baseline] = {
    entry.name: entry
    for entry in (
        Baseline("constant", "agents.baselines.constant:Constant", "the best constant order on every arc"),
        Baseline("base_stock", "agents.baselines.base_stock:BaseStock", "order up to a tuned level on every arc"),
    )
}


def algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``; ConfigError with the nearest match when there is none."""
    if name not in ALGORITHMS:
        raise ConfigError(f"no algorithm '{name}' (allowed: {', '.join(ALGORITHMS)}){did_you_mean(name, ALGORITHMS)}")
    return ALGORITHMS[name]


def baseline(name: str) -> Baseline:
    """The classical policy called ``name``; ConfigError with the nearest match when there is none."""
    if name not in BASELINES:
        raise ConfigError(f"no policy '{name}' (allowed: {', '.join(BASELINES)}){did_you_mean(name, BASELINES)}")
    return BASELINES[name]


def load_class(path: str) -> Any:
    """Import ``module:Class``."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)
