"""The typed schema of the commands: what Hydra composes is checked here before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from itertools import takewhile
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from envs.actions import ACTION_MODES
from envs.routing_actions import ROUTING_MODES
from envs.switching_actions import SWITCHING_MODES
from experiments.config_groups import (
    AgentConfig,
    Count,
    EnvConfig,
    EvaluationConfig,
    LauncherConfig,
    NetworkConfig,
    NormaliseConfig,
    RoutingConfig,
    Seed,
    TrainingConfig,
    TuningConfig,
    ValidationConfig,
)
from experiments.scenario_checks import Span, liner_problems, unseen
from twin.distributions import TAGS
from twin.errors import CogTwinError, ConfigError, did_you_mean
from twin.scenarios import Scenario
from twin.schema import Flag, StrictModel, explain

__all__ = [
    "AgentConfig",
    "CompareConfig",
    "Count",
    "EnvConfig",
    "EpisodeConfig",
    "EvaluateConfig",
    "EvaluationConfig",
    "ExportConfig",
    "LauncherConfig",
    "NetworkConfig",
    "NormaliseConfig",
    "RoutingConfig",
    "Seed",
    "SubjectConfig",
    "TrainConfig",
    "TrainingConfig",
    "TuningConfig",
    "ValidationConfig",
    "config_error",
    "parse",
]

Model = TypeVar("Model", bound=StrictModel)
#: Keys whose value is a law.
_LAWS = frozenset({"start", "duration"})
#: Keys that the joint checks of a key look at besides.
_NEEDS = {
    "env.action_mode": ("env.id",),
    "env.residual": ("env.action_mode",),
    "agent.algorithm": ("env.action_mode",),
    "agent.parameters.batch_size": ("agent.parameters.n_steps", "agent.algorithm", "training.replicas"),
    "agent.parameters": ("agent.algorithm",),
    "training.accrual": ("env.finite",),
    "training.paired": ("agent.algorithm", "env.action_mode", "training.accrual"),
}


class TrainConfig(StrictModel):
    """Everything ``experiments.train`` needs."""

    network: NetworkConfig
    env: EnvConfig = EnvConfig()
    scenario: Scenario = Scenario()
    agent: AgentConfig = AgentConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()
    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    output: str = "runs"
    resume: str | None = None
    extend: int = Field(default=0, ge=0, strict=True)


class SubjectConfig(StrictModel):
    """A run or a classical policy, and how it is measured."""

    network: NetworkConfig
    env: EnvConfig = EnvConfig()
    scenario: Scenario = Scenario()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()
    run: str | None = None
    policy: str | None = None
    model: Literal["best", "last"] = "best"
    output: str | None = None


class EvaluateConfig(SubjectConfig):
    """Everything ``experiments.evaluate`` needs."""

    jobs: Count = 1
    launcher: LauncherConfig = LauncherConfig()


class CompareConfig(StrictModel):
    """Everything ``experiments.compare`` needs; network and environment are those of the runs where there are some."""

    network: NetworkConfig | None = None
    env: EnvConfig | None = None
    scenario: Scenario = Scenario()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()
    runs: list[str] = Field(default_factory=list)
    policies: list[str] | None = None
    references: list[str] | None = None
    model: Literal["best", "last"] = "best"
    bound: int = Field(default=0, ge=0, strict=True)
    exact: Flag = False
    figures: Flag = True
    jobs: Count = 1
    launcher: LauncherConfig = LauncherConfig()
    output: str | None = None


class EpisodeConfig(SubjectConfig):
    """Everything ``experiments.episode`` needs."""

    path: int | None = Field(default=None, ge=0, strict=True)


class ExportConfig(StrictModel):
    """Everything ``experiments.export`` needs; network and environment are those of the run where there is one."""

    network: NetworkConfig | None = None
    env: EnvConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()
    run: str | None = None
    policy: str | None = None
    model: Literal["best", "last"] = "best"
    fallback: str | None = None
    guardrails: str | None = None
    highest_mode: Literal["halted", "shadow", "advisory", "autonomous"] = "advisory"
    valid_days: int | None = Field(default=None, ge=1, le=36500, strict=True)
    episodes: int = Field(default=200, ge=0, strict=True)
    output: str | None = None


def parse(schema: type[Model], data: Mapping[str, Any]) -> Model:
    """Check a resolved configuration against its schema.

    Raises
    ------
    ConfigError
        With one line per problem: key, value, what is allowed, nearest match.
    """
    known, problems = schema.known_part(data)
    wrong: list[str] = []
    config: Model | None = None
    try:
        config = schema.model_validate(known)
    except ValidationError as error:
        problems += explain(error, union_keys=_LAWS, union_tags=TAGS)
        wrong = [".".join(str(part) for part in item["loc"]) for item in error.errors(include_url=False)]
        # What is right is looked at all the same, with defaults in the place of what is wrong.
        with suppress(ValidationError):
            config = schema.model_validate(_without(known, [item["loc"] for item in error.errors()]))
    if config is not None:
        problems += [line for line in _joint_problems(config) if not _rests_on(line, wrong)]
    if config is None or problems:
        raise config_error(problems)
    scenario, env = getattr(config, "scenario", None), getattr(config, "env", None)
    if scenario is not None and env is not None and env.routes:
        config = config.model_copy(update={"env": env.meets(scenario.name)})
    return config


def _without(data: Mapping[str, Any], places: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """Data without the entries at some places; of a list the whole."""
    out = deepcopy(dict(data))
    for place in places:
        inside: Any = out
        names = list(takewhile(lambda part: isinstance(part, str), place))
        for name in names[:-1]:
            inside = inside.get(name, {}) if isinstance(inside, dict) else {}
        if names and isinstance(inside, dict):
            inside.pop(names[-1], None)
    return out


def _rests_on(line: str, wrong: Sequence[str]) -> bool:
    """Whether a joint problem is about a value that is wrong by itself, or was found with a default in its place."""
    key = line.partition(":")[0]
    return any(bad.startswith((key, *_NEEDS.get(key, ()))) for bad in wrong)


def config_error(problems: Sequence[str]) -> ConfigError:
    """The error that lists what is wrong with a configuration, one line per problem."""
    return ConfigError("the configuration is not valid:\n" + "\n".join(f"  - {line}" for line in problems))


def _joint_problems(config: StrictModel) -> list[str]:
    """What no single key can tell."""
    problems = _scenario_problems(config) if isinstance(config, TrainConfig | SubjectConfig | CompareConfig) else []
    env: EnvConfig | None = getattr(config, "env", None)
    if env is not None and not env.routes and env.routing != RoutingConfig():
        problems.append(f"env.routing: {env.id} has no routing (allowed: with env=routing)")
    return problems + (_training_problems(config) if isinstance(config, TrainConfig) else [])


def _scenario_problems(config: TrainConfig | SubjectConfig | CompareConfig) -> list[str]:
    """Scenarios of another kind of network, and events that nobody would see."""
    scenario, env = config.scenario, config.env or EnvConfig()
    if (isinstance(config, SubjectConfig) and config.run) or (isinstance(config, CompareConfig) and config.runs):
        return []  # a run has an environment of its own, see experiments.loading
    if env.routes:
        return liner_problems(scenario, env.routing.scenario, usual=RoutingConfig().scenario)
    if scenario.name != "none" and not scenario:
        return [f"scenario: '{scenario.name}' is for liner networks (env=routing), or nothing happens in it"]
    spans: dict[str, Span] = {"tuning": config.tuning}
    if not isinstance(config, EpisodeConfig):  # which shows an episode from its start
        spans["evaluation"] = config.evaluation
    if isinstance(config, TrainConfig):
        spans["training.validation"] = config.training.validation
    return unseen(scenario, env, spans, whole=isinstance(config, TrainConfig | EpisodeConfig))


def _training_problems(config: TrainConfig) -> list[str]:
    from agents.learners.sb3 import ACTIVATIONS, check_parameters

    agent, training, problems = config.agent, config.training, []
    modes: tuple[str, ...] = SWITCHING_MODES if config.env.switching else ACTION_MODES
    modes = ROUTING_MODES if config.env.routes else modes
    if config.env.action_mode not in modes:
        problems.append(
            f"env.action_mode: {config.env.id} has no mode '{config.env.action_mode}' (allowed: {', '.join(modes)})"
        )
    try:
        problems += check_parameters(agent.algorithm, agent.parameters, config.env.action_space)
    except CogTwinError as error:
        problems.append(f"agent.algorithm: {error}")
    if agent.activation not in ACTIVATIONS:
        problems.append(
            f"agent.activation: no activation '{agent.activation}' "
            f"(allowed: {', '.join(ACTIVATIONS)}){did_you_mean(agent.activation, ACTIVATIONS)}"
        )
    steps, batch = agent.parameters.get("n_steps"), agent.parameters.get("batch_size")
    if agent.algorithm == "ppo" and isinstance(steps, int) and isinstance(batch, int):
        rollout = steps * training.replicas
        if rollout % min(batch, rollout):
            problems.append(
                f"agent.parameters.batch_size: {batch} does not divide the rollout of "
                f"n_steps x replicas = {steps} x {training.replicas} = {rollout}"
            )
    if config.env.residual and config.env.action_mode == "quantity":
        problems.append(
            "env.residual: corrects tuned levels or safety amounts; use it with action_mode base_stock, discrete or "
            "echelon, not with quantity"
        )
    if config.env.residual and config.env.routes:
        problems.append("env.residual: a routing action corrects no policy that is tuned (allowed: false)")
    if training.accrual and config.env.routes:
        problems.append("training.accrual: cargo has no standard cost (allowed: false)")
    if training.accrual and config.env.finite:
        problems.append("training.accrual: needs a continuing problem; use it with env.finite=false")
    if bool(agent.net_arch) == (agent.algorithm == "imitation"):
        allowed = "[], it is linear" if agent.net_arch else "a width for each of one or more layers"
        problems.append(f"agent.net_arch: {list(agent.net_arch)} with {agent.algorithm} (allowed: {allowed})")
    if agent.algorithm == "imitation":
        problems += _imitation_problems(agent, config.env)
    if training.paired and (training.accrual or agent.algorithm in ("pathwise", "imitation")):
        problems.append("training.paired: for true costs and algorithms that learn from rewards (allowed: false)")
    if training.paired and config.env.action_space != "Box":
        problems.append("training.paired: compares with the zero action, which only a Box has (allowed: false)")
    return problems


def _imitation_problems(agent: AgentConfig, env: EnvConfig) -> list[str]:
    from agents.learners.imitation import TEACHER
    from agents.registry import baseline, load_class

    problems, teacher = [], str(agent.parameters.get("teacher", TEACHER))
    if agent.normalise.observation:
        problems.append("agent.normalise.observation: imitation weighs what it sees itself (allowed: false)")
    try:
        made = load_class(baseline(teacher).path)
    except CogTwinError as error:
        return [*problems, f"agent.parameters.teacher: {error}"]
    if not env.routes or not hasattr(made, "acting"):
        problems.append(
            f"agent.parameters.teacher: '{teacher}' cannot be asked (allowed: env=routing and its policies)"
        )
    elif env.action_mode != made.mode:
        problems.append(
            f"env.action_mode: the teacher '{teacher}' takes no actions of the mode '{env.action_mode}' "
            f"(allowed: {made.mode})"
        )
    return problems
