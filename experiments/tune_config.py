"""The typed schema of a search for an agent's parameters, and what of a configuration may be searched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from experiments.config import (
    AgentConfig,
    Count,
    EnvConfig,
    EvaluationConfig,
    LauncherConfig,
    NetworkConfig,
    Seed,
    TrainConfig,
    TrainingConfig,
    TuningConfig,
    parse,
)
from twin.errors import CogTwinError, ConfigError, did_you_mean
from twin.scenarios import Scenario
from twin.schema import Flag, StrictModel

__all__ = ["Parameter", "SearchConfig", "TuneConfig", "check_search", "train_config"]

#: Groups of a training configuration that say what learns. The others say what is to be learned.
_SEARCHED = ("agent", "env", "training")
#: Keys of theirs that change the problem, the seeds or the machine, not what is learned.
_FIXED = (
    "env.id",
    "env.horizon",
    "env.finite",
    "env.routing",
    "training.seed",
    "training.device",
    "training.threads",
    "training.validation",
)
#: Mappings whose keys are the algorithm's own arguments, also those that no file names.
_OPEN = ("agent.parameters",)


class Parameter(StrictModel):
    """What values a key may take.

    Attributes
    ----------
    kind
        ``float`` or ``int`` between ``low`` and ``high``, both included, or one of the ``choices``.
    log
        Whether the values are spread over the logarithm: twice as much is then as far everywhere.
    step
        Of an ``int``; ``low`` plus whole numbers of it.
    """

    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: Flag = False
    step: Count | None = None
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Parameter:
        if self.kind == "categorical":
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("a categorical parameter has choices alone, and neither low, high, log nor step")
            texts = [json.dumps(choice) for choice in self.choices or []]
            if len(set(texts)) < 2 or len(set(texts)) < len(texts):
                raise ValueError("choices: give at least two, each once")
            return self
        if self.choices is not None:
            raise ValueError(f"choices are those of a categorical parameter, not of kind {self.kind}")
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low must be below high (received low {self.low}, high {self.high})")
        if self.kind == "int" and (self.low % 1 or self.high % 1):
            raise ValueError(f"low and high of an int are whole numbers (received {self.low} and {self.high})")
        if self.kind == "float" and self.step is not None:
            raise ValueError("step is that of an int")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.step is not None and (self.high - self.low) % self.step:
            raise ValueError(f"step: {self.step} does not divide high - low = {self.high - self.low:g}")
        return self

    def ends(self) -> list[Any]:
        """The outermost values, or all choices."""
        if self.kind == "categorical":
            return list(self.choices or [])
        ends = [self.low, self.high]
        return [int(end) for end in ends if end is not None] if self.kind == "int" else ends


class SearchConfig(StrictModel):
    """What is searched: keys of a training configuration, ``agent.parameters.learning_rate`` for example."""

    description: str = ""
    parameters: dict[str, Parameter] = Field(min_length=1)


class TuneConfig(StrictModel):
    """Everything ``experiments.tune`` needs: a training configuration, and what to search in it.

    Attributes
    ----------
    trials
        Sets of parameters that are tried.
    seeds
        Training seeds of a trial, from ``training.seed`` on.
    fresh
        Training seeds of the winner, those that follow.
    pruning
        Whether a trial ends after a seed with which it is worse than half of the others.
    seed
        Of the search.
    """

    network: NetworkConfig
    env: EnvConfig = EnvConfig()
    scenario: Scenario = Scenario()
    agent: AgentConfig = AgentConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()
    search: SearchConfig
    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    trials: Count = 30
    seeds: Annotated[int, Field(ge=3, strict=True)] = 3
    fresh: Annotated[int, Field(ge=2, strict=True)] = 3
    pruning: Flag = True
    seed: int = Seed
    jobs: Count = 1
    launcher: LauncherConfig = LauncherConfig()
    output: str = "runs/tune"

    def definition(self) -> dict[str, Any]:
        """All that the trials depend on: the rest may differ between two starts."""
        out = self.model_dump(mode="json", exclude={"name", "trials", "fresh", "jobs", "launcher", "output"})
        return {**out, "search": out["search"]["parameters"]}


def train_config(config: TuneConfig, parameters: Mapping[str, Any], seed: int) -> TrainConfig:
    """The training configuration of a set of parameters, with a training seed.

    Raises
    ------
    ConfigError
        When the values do not fit together.
    """
    data = _base(config)
    for key, value in parameters.items():
        _set(data, key, value)
    data["training"]["seed"] = seed
    return parse(TrainConfig, data)


def check_search(config: TuneConfig) -> None:
    """Check that every key exists and may be searched, and that its outermost values are allowed.

    Raises
    ------
    ConfigError
        With one line per problem.
    """
    base = _base(config)
    known = [key for key in _leaves(base) if not _is_fixed(key)]
    problems = []
    for key, parameter in config.search.parameters.items():
        place = f"search.parameters: '{key}'"
        if _is_fixed(key):
            problems.append(
                f"{place} says what is to be learned, or on what, and not who learns; it cannot be searched"
                f"{did_you_mean(key, known)}"
            )
        elif key not in known and not _is_open(key):
            allowed = ", ".join(sorted(known))
            problems.append(f"{place} is no key of the configuration{did_you_mean(key, known)} (allowed: {allowed})")
        else:
            problems += _problems_of_ends(config, key, parameter)
    try:
        train_config(config, {}, config.training.seed + config.seeds + config.fresh - 1)
    except ConfigError as error:
        problems += [f"the last of {config.seeds} + {config.fresh} seeds: {line}" for line in _lines(error)]
    if problems:
        raise ConfigError("the search is not valid:\n" + "\n".join(f"  - {line}" for line in problems))


def _problems_of_ends(config: TuneConfig, key: str, parameter: Parameter) -> list[str]:
    out = []
    for value in parameter.ends():
        try:
            train_config(config, {key: value}, config.training.seed)
        except CogTwinError as error:
            out += [f"search.parameters: {key}={value}: {line}" for line in _lines(error)]
    return out


def _base(config: TuneConfig) -> dict[str, Any]:
    """The training configuration around the search, as plain data."""
    names = set(TrainConfig.model_fields) & set(TuneConfig.model_fields) - {"output"}
    return config.model_dump(mode="json", include=names)


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        data = data[name]
    data[last] = value


def _leaves(data: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in data.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key


def _is_fixed(key: str) -> bool:
    return (key.split(".")[0] not in _SEARCHED and key.split(".")[0] in TrainConfig.model_fields) or any(
        key == fixed or key.startswith(f"{fixed}.") for fixed in _FIXED
    )


def _is_open(key: str) -> bool:
    return key.rpartition(".")[0] in _OPEN


def _lines(error: CogTwinError) -> list[str]:
    return [line.removeprefix("  - ") for line in str(error).splitlines() if not line.endswith("is not valid:")]
