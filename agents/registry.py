"""Names -> algorithms and classical policies, and which fits which action space; imported when asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from envs.task import Task
from twin.errors import ConfigError, did_you_mean

__all__ = ["ALGORITHMS", "BASELINES", "Algorithm", "Baseline", "algorithm", "baseline", "baseline_fits", "load_class"]


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm of Stable-Baselines3, or of this project with the same surface.

    Attributes
    ----------
    name
        As used in configurations.
    path
        ``module:Class``.
    action_spaces
        Names of the gymnasium spaces it can act in.
    on_policy
        True when it explores with a stochastic policy on fresh rollouts, as PPO does.
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
    """A classical policy: its name in configurations, ``module:Class``, and one line for people."""

    name: str
    path: str
    summary: str

    def fits(self, task: Task) -> str | None:
        """Why the policy cannot act in a task (its network, or what it shows), or None where it can."""
        reason: str | None = load_class(self.path).fits(task)
        return reason


ALGORITHMS: dict[str, Algorithm] = {
    entry.name: entry
    for entry in (
        Algorithm(
            "ppo",
            "stable_baselines3:PPO",
            frozenset({"Box", "Discrete", "MultiDiscrete"}),
            True,
            "proximal policy optimisation",
        ),
        Algorithm(
            "a2c",
            "stable_baselines3:A2C",
            frozenset({"Box", "Discrete", "MultiDiscrete"}),
            True,
            "advantage actor-critic",
        ),
        Algorithm("sac", "stable_baselines3:SAC", frozenset({"Box"}), False, "soft actor-critic"),
        Algorithm(
            "td3", "stable_baselines3:TD3", frozenset({"Box"}), False, "twin delayed deterministic policy gradient"
        ),
        Algorithm(
            "pathwise",
            "agents.learners.pathwise:Pathwise",
            frozenset({"Box"}),
            False,
            "gradients through the differentiable twin",
        ),
        Algorithm(
            "imitation",
            "agents.learners.imitation:Imitation",
            frozenset({"Box"}),
            False,
            "a linear policy that does what a slow classical policy would do",
        ),
        Algorithm("dqn", "stable_baselines3:DQN", frozenset({"Discrete"}), False, "deep Q-network"),
        Algorithm(
            "maskable_ppo",
            "sb3_contrib:MaskablePPO",
            frozenset({"Discrete", "MultiDiscrete"}),
            True,
            "PPO that never takes an action that is not possible (pip install 'cogtwin[masks]')",
        ),
    )
}

BASELINES: dict[str, Baseline] = {
    entry.name: entry
    for entry in (
        Baseline("constant", "agents.baselines.constant:Constant", "the best constant order on every arc"),
        Baseline("base_stock", "agents.baselines.base_stock:BaseStock", "order up to a tuned level on every arc"),
        Baseline("myopic", "agents.baselines.myopic:Myopic", "cheapest first period that the order can change"),
        Baseline(
            "capped_base_stock",
            "agents.baselines.capped_base_stock:CappedBaseStock",
            "order up to a level, but never more than a cap",
        ),
        Baseline("s_s", "agents.baselines.s_s:ReorderUpTo", "(s, S): at position s or below, order up to S"),
        Baseline("r_q", "agents.baselines.r_q:ReorderBatches", "(r, nQ): at position r or below, batches of Q"),
        Baseline(
            "echelon_base_stock",
            "agents.baselines.echelon_base_stock:EchelonBaseStock",
            "echelon levels on the forecast, cut off at the horizon",
        ),
        Baseline(
            "exponential_smoothing",
            "agents.baselines.exponential_smoothing:ExponentialSmoothing",
            "levels on demand smoothed as it comes in",
        ),
        Baseline(
            "newsvendor",
            "agents.baselines.newsvendor:NewsvendorLevels",
            "critical-ratio levels from the network's own costs and laws",
        ),
        Baseline(
            "clark_scarf",
            "agents.baselines.clark_scarf:ClarkScarf",
            "the optimal echelon levels of a serial system, period by period",
        ),
        Baseline(
            "single_index",
            "agents.baselines.single_index:SingleIndex",
            "all sources look at the whole position, each up to its level",
        ),
        Baseline(
            "tailored_base_surge",
            "agents.baselines.tailored_base_surge:TailoredBaseSurge",
            "a constant quantity from the cheapest source, the rest from a near one",
        ),
        Baseline(
            "single_source",
            "agents.baselines.single_source:SingleSource",
            "all from one supplier, whichever is cheapest in the end",
        ),
        Baseline(
            "cheapest_up", "agents.baselines.cheapest_up:CheapestUp", "all from the cheapest source that works now"
        ),
        Baseline(
            "mitigation",
            "agents.baselines.mitigation:Mitigation",
            "Tomlin's strategies: stock, a standing share, rerouting, or a mixture",
        ),
        Baseline(
            "risk_switching",
            "agents.baselines.risk_switching:RiskSwitching",
            "backups when Bayes' rule says that enough supply will be missing",
        ),
        Baseline(
            "status_switching",
            "agents.baselines.status_switching:StatusSwitching",
            "the cheapest that can deliver; backups while a main supplier is out, with hysteresis",
        ),
        Baseline(
            "rolling_program",
            "agents.baselines.rolling_program:RollingProgram",
            "a linear program on the expected demand, solved anew every period",
        ),
        Baseline(
            "stochastic_program",
            "agents.baselines.stochastic_program:StochasticProgram",
            "a two-stage linear program on sampled demand, solved anew every period",
        ),
        Baseline(
            "routing_static", "agents.baselines.routing_static:StaticPlan", "the best nominal week, whatever happens"
        ),
        Baseline(
            "routing_wait",
            "agents.baselines.routing_wait:AlwaysWait",
            "the best nominal week; nothing is loaded that goes by a port that is hit",
        ),
        Baseline(
            "routing_cheapest",
            "agents.baselines.routing_cheapest:Cheapest",
            "every flow by its cheapest way, whatever happens",
        ),
        Baseline(
            "routing_avoid",
            "agents.baselines.routing_avoid:AvoidHitPorts",
            "bookings by their cheapest way that changes vessels in no port that is hit, if there is room",
        ),
        Baseline(
            "routing_single_flow",
            "agents.baselines.routing_single_flow:SingleFlow",
            "every flow anew by its cheapest way, with the days that an outage is taken to last",
        ),
        Baseline(
            "routing_queue_price",
            "agents.baselines.routing_queue_price:QueuePrice",
            "the cheapest ways when a move in a queue also costs what it costs those who wait",
        ),
        Baseline(
            "routing_weekly_program",
            "agents.baselines.routing_program:WeeklyProgram",
            "a linear program on the expected bookings of eight weeks that knows of no outage",
        ),
        Baseline(
            "routing_slot_price",
            "agents.baselines.routing_slot_price:SlotPrice",
            "the price of queues, and of slots as a program over the next weeks has them",
        ),
        Baseline(
            "routing_rolling_program",
            "agents.baselines.routing_program:RollingRouting",
            "the same, with the moves that outages leave for as long as they are taken to last",
        ),
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


def baseline_fits(task: Task) -> tuple[str, ...]:
    """Names of the classical policies that can act in a task."""
    return tuple(name for name, entry in BASELINES.items() if entry.fits(task) is None)


#: Packages that only an extra of this project installs.
_EXTRAS = {"sb3_contrib": "masks"}


def load_class(path: str) -> Any:
    """Import ``module:Class``; an ImportError that says what to install where its package is an extra."""
    module, name = path.split(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        extra = _EXTRAS[error.name]
        raise ImportError(f"{name} needs the package {error.name}: pip install 'cogtwin[{extra}]'") from error
