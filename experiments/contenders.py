"""Who is compared: trained runs, grouped by the seeds of one configuration, and tuned classical policies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents.baselines.tuning import TunedPolicy
from agents.evaluation import Measurement
from agents.policy import Policy
from agents.registry import baseline
from envs.task import Task
from experiments.config import EnvConfig, EvaluationConfig, NetworkConfig, TrainConfig, TuningConfig
from experiments.launchers import Launcher
from experiments.loading import LoadedRun, load_run
from experiments.monte_carlo import Member, classical_origin, measure_members, run_origin
from experiments.problems import baseline_problem, parameter_names, tune_all
from experiments.runs import RunFolder
from twin.compile import CompiledNetwork
from twin.errors import RunError, did_you_mean
from twin.scenarios import Scenario

__all__ = ["Contender", "classical", "grouped", "load_runs", "measure_contenders", "run_folders"]


@dataclass(frozen=True)
class Contender:
    """What stands in one row of a comparison.

    Attributes
    ----------
    name
        Unique among those that are compared.
    members
        A policy and the task it acts in; one for each training seed.
    about
        Where it comes from, as plain data for the report.
    origins
        Where other processes find the members, see :class:`experiments.monte_carlo.Member`.
    tuned
        The parameters of a classical policy.
    """

    name: str
    members: tuple[tuple[Policy, Task], ...]
    origins: tuple[dict[str, Any], ...]
    about: dict[str, Any] = field(default_factory=dict)
    tuned: TunedPolicy | None = None


def measure_contenders(
    contenders: Sequence[Contender], evaluation: EvaluationConfig, launcher: Launcher, jobs: int = 1
) -> dict[str, list[Measurement]]:
    """Measure every member of every contender on the evaluation paths; by name."""
    members = [
        Member(one.name if len(one.members) == 1 else f"{one.name}, seed {k}", policy, task, one.origins[k])
        for one in contenders
        for k, (policy, task) in enumerate(one.members)
    ]
    found = iter(measure_members(members, evaluation, launcher, jobs))
    return {one.name: [next(found) for _ in one.members] for one in contenders}


def run_folders(path: str | Path) -> list[Path]:
    """The run folder at a path, or the finished ones below it.

    Raises
    ------
    RunError
        When there is neither.
    """
    folder = Path(path)
    if not folder.is_dir():
        beside = sorted(other.name for other in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise RunError(f"no run folder {folder}{did_you_mean(folder.name, beside)}")
    if (folder / "config.yaml").is_file():
        return [folder]
    below = sorted(file.parent for file in folder.glob("**/config.yaml"))
    finished = [one for one in below if RunFolder(one).info().get("status") == "finished"]
    if not finished:
        found = f"{len(below)} of them unfinished" if below else "it holds no config.yaml, and no folder below it does"
        raise RunError(f"{folder} is no run folder and holds no finished run ({found})")
    return finished


def load_runs(paths: Sequence[str], *, model: str = "best", scenario: Scenario | None = None) -> list[LoadedRun]:
    """Load runs, each once, and check that all are of one problem; ``scenario`` as in :func:`load_run`.

    Raises
    ------
    RunError
        When a folder is missing or incomplete, or two runs are on different networks or horizons.
    """
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in run_folders(path)))
    runs = [
        load_run(folder, model=model, scenario=scenario)
        for folder in tqdm(folders, desc="loading runs", unit="run", disable=None, leave=False)
    ]
    for run in runs[1:]:
        first = runs[0]
        if run.compiled.content_hash() != first.compiled.content_hash():
            raise RunError(
                f"{run.folder.path} is on another network ({run.compiled.network.name}) than {first.folder.path} "
                f"({first.compiled.network.name}): costs on different networks cannot be compared"
            )
        if _problem(run.config.env) != _problem(first.config.env):
            raise RunError(
                f"{run.folder.path} ends {_end(run.config.env)}, but {first.folder.path} {_end(first.config.env)}: "
                "their costs cannot be compared"
            )
    return runs


def _problem(env: EnvConfig) -> tuple[bool, int | None]:
    """What of an environment the costs depend on: a continuing problem has no end."""
    return env.finite, env.horizon if env.finite else None


def _end(env: EnvConfig) -> str:
    return f"after {env.horizon} periods" if env.finite else "never (env.finite=false)"


def grouped(runs: Sequence[LoadedRun]) -> list[Contender]:
    """Runs of one configuration that differ in the training seed alone are one contender.

    Raises
    ------
    RunError
        When a training seed is given twice in a configuration: two copies of a run are not two runs.
    """
    groups: dict[str, list[LoadedRun]] = {}
    for run in runs:
        groups.setdefault(_configuration(run.config), []).append(run)
    names = _names([group[0].config for group in groups.values()])
    out = []
    for name, found in zip(names, groups.values(), strict=True):
        # Folders sort by the moment of their start, and runs that start together by chance.
        group = sorted(found, key=lambda run: run.config.training.seed)
        seeds = [run.config.training.seed for run in group]
        again = next((k for k, seed in enumerate(seeds) if seed in seeds[:k]), None)
        if again is not None:
            first = group[seeds.index(seeds[again])]
            raise RunError(
                f"{group[again].folder.path} and {first.folder.path} are the same configuration with the same "
                f"training.seed={seeds[again]}: train with other seeds (-m training.seed=0,1,2), or leave one out"
            )
        out.append(
            Contender(
                name,
                tuple((run.policy, run.task) for run in group),
                tuple(run_origin(str(run.folder.path), run.which, run.scenario) for run in group),
                {
                    "kind": "agent",
                    "algorithm": group[0].config.agent.algorithm,
                    "training_seeds": seeds,
                    "runs": [str(run.folder.path) for run in group],
                    "status": [str(run.folder.info().get("status", "unknown")) for run in group],
                    "timesteps": [run.folder.info().get("timesteps") for run in group],
                    "config": group[0].config.model_dump(mode="json", exclude={"resume", "extend"}),
                },
            )
        )
    return out


def _configuration(config: TrainConfig) -> str:
    """All that makes two runs the same experiment: everything but the seed, the place and what comes after training."""
    data = config.model_dump(mode="json", exclude={"name", "output", "resume", "extend", "evaluation"})
    del data["training"]["seed"]
    return json.dumps(data, sort_keys=True)


def _names(configs: Sequence[TrainConfig]) -> list[str]:
    """The algorithm where that is enough, else with the name of the run, else with a number."""
    short = [config.agent.algorithm for config in configs]
    longer = [
        f"{algorithm} ({config.name})" if short.count(algorithm) > 1 else algorithm
        for algorithm, config in zip(short, configs, strict=True)
    ]
    return [
        f"{name} #{longer[:k].count(name) + 1}" if longer.count(name) > 1 else name for k, name in enumerate(longer)
    ]


def classical(
    names: Sequence[str],
    compiled: CompiledNetwork,
    env: EnvConfig,
    tuning: TuningConfig,
    *,
    known: Mapping[str, TunedPolicy] | None = None,
    network: NetworkConfig | None = None,
) -> list[Contender]:
    """Classical policies, tuned unless they are known already; on a liner network ``network`` says which.

    Raises
    ------
    ConfigError
        When a name is not in the registry or does not fit the network.
    """
    for name in names:
        baseline(name)
    known = known or {}
    tuned = dict(known) | tune_all(compiled, tuning, tuple(name for name in names if name not in known), env=env)
    out = []
    for name in names:
        entry = tuned[name]
        policy, task = baseline_problem(compiled, env, entry, network)
        about = {
            "kind": "classical",
            "summary": baseline(name).summary,
            "parameters": dict(zip(parameter_names(compiled, name), entry.parameters.tolist(), strict=True)),
        }
        origin = classical_origin(compiled, env, entry, network)
        out.append(Contender(name, ((policy, task),), (origin,), about, entry))
    return out
