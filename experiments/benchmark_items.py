"""From a suite to its items: one per cell, entry and seed, each with its resolved configuration and a hash of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agents.registry import baseline
from experiments.benchmark_config import EntryConfig, SuiteConfig
from experiments.bounds import check_bound
from experiments.cli import compose
from experiments.config import EnvConfig, NetworkConfig, SubjectConfig, TrainConfig, parse
from experiments.problems import compiled_network
from twin.errors import CogTwinError, ConfigError
from twin.scenarios import Scenario

__all__ = ["Item", "suite_items"]

#: Part of every hash: a change of what an item stores makes old results void.
_FORMAT = 1
#: Groups that a smoke run replaces; single keys of theirs then have no say.
_SHRUNK = ("training", "evaluation", "tuning")
_SMOKE_PATHS = 2


@dataclass(frozen=True)
class Item:
    """One thing to do.

    Attributes
    ----------
    cell
        The problem, as in the table.
    entry
        Name of the agent, policy or bound, as in the table.
    kind
        ``agent``, ``policy`` or ``bound``.
    seed
        Of training; 0 for the others.
    network_hash
        Of the compiled network, with the scenario that is laid over it.
    evaluation
        ``exact``, ``simulated`` or ``published``.
    path_seeds
        Of published paths.
    config
        Resolved: a :class:`TrainConfig` of an agent, else a :class:`SubjectConfig`; both as plain data.
    model, paths
        See :class:`experiments.benchmark_config.EntryConfig`.
    """

    cell: str
    entry: str
    kind: str
    seed: int
    network_hash: str
    evaluation: str
    path_seeds: list[int]
    config: dict[str, Any]
    model: str
    paths: int

    @property
    def name(self) -> str:
        """Unique in the suite, and a file name."""
        text = f"{self.cell}-{self.entry}" + (f"-seed-{self.seed}" if self.kind == "agent" else "")
        return re.sub(r"[^A-Za-z0-9_.]+", "-", text)

    @property
    def hash(self) -> str:
        """SHA-256 of all that the result depends on."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def train_config(self) -> TrainConfig:
        """Configuration of an agent."""
        return parse(TrainConfig, self.config)

    @property
    def subject_config(self) -> SubjectConfig:
        """Configuration of a policy or a bound."""
        return parse(SubjectConfig, self.config)


def suite_items(suite: SuiteConfig, *, smoke: bool = False) -> list[Item]:
    """All items of a suite, cell by cell.

    Parameters
    ----------
    smoke
        Shrink training, tuning and evaluation to seconds.

    Raises
    ------
    ConfigError
        When an entry does not resolve, with its name; or two cells are the same.
    """
    items: list[Item] = []
    hashes: dict[str, str] = {}
    # Composed once for each entry: cells and seeds differ in values alone.
    composed = [_composed(suite, entry, smoke) for entry in suite.entries]
    for network, cell in _cells(suite):
        for entry, data in zip(suite.entries, composed, strict=True):
            for seed in entry.seeds:
                try:
                    config = _resolved(entry, data, network, seed)
                    network_hash = _network_hash(config, hashes)
                except CogTwinError as error:
                    raise ConfigError(f"{_place(suite, entry)}, cell {cell}: {error}") from None
                paths = min(entry.paths, _SMOKE_PATHS) if smoke else entry.paths
                items.append(
                    Item(
                        cell,
                        entry.label,
                        entry.kind,
                        seed,
                        network_hash,
                        suite.evaluation,
                        suite.path_seeds,
                        config,
                        entry.model,
                        paths if entry.kind == "bound" else 0,
                    )
                )
    names = [item.name for item in items]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"suite {suite.name}: two items are called '{twice}'")
    return items


def _network_hash(config: Mapping[str, Any], known: dict[str, str]) -> str:
    """Hash of the network of an item with what is laid over it; ``known`` are those of the items before."""
    problem = json.dumps({key: config[key] for key in ("network", "env", "scenario")})
    if problem not in known:
        env, scenario = EnvConfig(**config["env"]), Scenario.model_validate(config["scenario"])
        known[problem] = compiled_network(NetworkConfig(**config["network"]), env, scenario).content_hash()
    return known[problem]


def _cells(suite: SuiteConfig) -> list[tuple[NetworkConfig, str]]:
    """Networks and the names of their cells: the parameters, and the network where there are several or none."""
    several = len({cells.network for cells in suite.cells}) > 1
    out = []
    for cells in suite.cells:
        for parameters in cells.combinations():
            words = [f"{key}={value}" for key, value in parameters.items()]
            name = " ".join([cells.network, *words] if several or not words else words)
            out.append((NetworkConfig(name=cells.network, parameters=parameters), name))
    return out


def _place(suite: SuiteConfig, entry: EntryConfig) -> str:
    return f"suite {suite.name}, entry {entry.label}"


def _composed(suite: SuiteConfig, entry: EntryConfig, smoke: bool) -> dict[str, Any]:
    """What the overrides of an entry compose to; the network is that of the file."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    agent = entry.kind == "agent"
    overrides = [*([f"agent={entry.agent}"] if agent else []), *suite.overrides, *entry.overrides]
    if smoke:
        overrides = _smoke(overrides, _SHRUNK if agent else _SHRUNK[1:])
    name = "train" if agent else "evaluate"
    try:
        return compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{_place(suite, entry)}: {overrides} does not fit configs/{name}.yaml: {error}") from None


def _resolved(entry: EntryConfig, data: dict[str, Any], network: NetworkConfig, seed: int) -> dict[str, Any]:
    """The checked configuration of an entry in a cell, with a seed."""
    data = {**data, "network": network.model_dump()}
    if entry.kind == "agent":
        # Where a run lies and what it is called has no part in what it learns.
        data |= {"training": {**data["training"], "seed": seed}, "name": "item", "output": "runs"}
        return parse(TrainConfig, data).model_dump(mode="json")
    # Where it is measured has no part in what is measured.
    data = {key: value for key, value in data.items() if key not in ("jobs", "launcher")}
    config = parse(SubjectConfig, {**data, "policy": entry.policy})
    if entry.kind == "policy":
        baseline(str(entry.policy))
    else:
        check_bound(config.env, config.evaluation, min(entry.paths, config.evaluation.paths))
    return config.model_dump(mode="json")


def _smoke(overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Overrides with some groups shrunk; their single keys have no say, but for a warm-up that is not wanted."""
    shrunk = tuple(f"{group}{end}" for group in groups for end in ("=", "."))
    kept = [text for text in overrides if not text.startswith(shrunk) or text.endswith(".warm_up=0")]
    return [f"{group}=smoke" for group in groups] + kept
