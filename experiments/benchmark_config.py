"""The typed schema of benchmark suites."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

from pydantic import Field, model_validator

from experiments.config import Count, LauncherConfig
from twin.errors import did_you_mean
from twin.schema import Flag, StrictModel

__all__ = ["BenchmarkConfig", "CellsConfig", "EntryConfig", "SuiteConfig"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class CellsConfig(StrictModel):
    """Problems of a suite: a network and its parameters, each one value or a list of them (all combinations)."""

    network: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Parameters of each cell, the last key turning fastest."""
        values = [value if isinstance(value, list) else [value] for value in self.parameters.values()]
        for chosen in product(*values):
            yield dict(zip(self.parameters, chosen, strict=True))

    @model_validator(mode="after")
    def _something(self) -> CellsConfig:
        empty = [name for name, values in self.parameters.items() if values == []]
        if empty:
            raise ValueError(f"parameters: no value for {', '.join(empty)}")
        return self


class EntryConfig(StrictModel):
    """What is compared: an agent to train, a classical policy to tune, or a bound to compute.

    Attributes
    ----------
    agent, policy, bound
        Exactly one: a file of ``configs/agent``, a classical policy of the registry, or ``hindsight``.
    name
        In the table; the agent's, policy's or bound's own when left out.
    seeds
        Training seeds of an agent; one run each.
    overrides
        Hydra overrides of ``configs/train.yaml`` (an agent) or ``configs/evaluate.yaml`` (a policy or bound), after
        those of the suite.
    model
        Which model of a run is evaluated.
    paths
        How many of the evaluation paths a bound is computed on.
    """

    agent: str | None = None
    policy: str | None = None
    bound: Literal["hindsight"] | None = None
    name: str = Field(default="", pattern=r"^$|" + _NAME)
    seeds: list[int] = Field(default=[0], min_length=1)
    overrides: list[str] = Field(default_factory=list)
    model: Literal["best", "last"] = "best"
    paths: int = Field(default=8, ge=2, strict=True)

    @model_validator(mode="after")
    def _one_kind(self) -> EntryConfig:
        given = [kind for kind in ("agent", "policy", "bound") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of agent, policy and bound; received {', '.join(given) or 'none'}")
        if self.agent is None and self.seeds != [0]:
            raise ValueError("seeds are those of training; only an agent has them")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is given twice")
        return self

    @property
    def kind(self) -> Literal["agent", "policy", "bound"]:
        """Which of the three it is."""
        return "agent" if self.agent is not None else "policy" if self.policy is not None else "bound"

    @property
    def label(self) -> str:
        """Name in the table."""
        return self.name or str(self.agent or self.policy or self.bound)


class SuiteConfig(StrictModel):
    """Every cell with every entry.

    Attributes
    ----------
    evaluation
        ``exact`` on the Markov chain that a policy induces, ``simulated`` on the evaluation seeds, or ``published`` on
        the paths that a publication draws (:mod:`agents.published_paths`), which a finite horizon needs.
    path_seeds
        Of the published paths.
    overrides
        Hydra overrides of all entries: environment, evaluation and tuning.
    references
        Entries that all others are compared with, path by path where costs are simulated.
    """

    name: str = Field(pattern=_NAME)
    description: str = ""
    evaluation: Literal["exact", "simulated", "published"]
    path_seeds: list[int] = Field(default_factory=list)
    overrides: list[str] = Field(default_factory=list)
    references: list[str] = Field(default_factory=list)
    cells: list[CellsConfig] = Field(min_length=1)
    entries: list[EntryConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> SuiteConfig:
        if (self.evaluation == "published") != bool(self.path_seeds):
            raise ValueError("path_seeds are those of evaluation: published, which needs them")
        labels = [entry.label for entry in self.entries]
        if len(set(labels)) < len(labels):
            raise ValueError(f"two entries share a name ({', '.join(labels)}); give one of them a name of its own")
        for name in self.references:
            entry = next((entry for entry in self.entries if entry.label == name), None)
            if entry is None or entry.kind == "bound" or len(entry.seeds) > 1:
                allowed = [e.label for e in self.entries if e.kind != "bound" and len(e.seeds) == 1]
                raise ValueError(
                    f"references: no policy '{name}' with one result a cell "
                    f"(allowed: {', '.join(allowed) or 'none'}){did_you_mean(name, allowed)}"
                )
        return self


class BenchmarkConfig(StrictModel):
    """Everything ``experiments.benchmark`` needs."""

    suite: SuiteConfig
    jobs: Count = 1
    launcher: LauncherConfig = LauncherConfig()
    only: str | None = None
    again: Flag = False
    smoke: Flag = False
    output: str = "runs/benchmark"
