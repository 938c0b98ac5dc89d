"""Measuring policies on many paths: in blocks of a fixed size, here or in shards by several workers.

A path is the same whatever is simulated beside it, but what a network of neurons answers is not: a matrix product of 8
rows rounds otherwise than the same rows among 1,024 (three quarters of the answers of a small network differ in their
last bits, those of 16 rows and more in none, on one processor; a unit more or less may hang on it). So paths are always
measured in the same blocks, with one thread, and a shard is whole blocks: the numbers are those of one process, bit for
bit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tqdm import tqdm

from agents.baselines.tuning import TunedPolicy
from agents.evaluation import Measurement, measure
from agents.policy import Policy
from envs.task import Task
from experiments.config import EnvConfig, EvaluationConfig, NetworkConfig
from experiments.launchers import Job, Launcher, Outcome, Serial, several
from experiments.problems import baseline_problem, compiled_network
from twin.compile import CompiledNetwork, compile_network
from twin.errors import RunError
from twin.network import Network
from twin.scenarios import Scenario
from twin.seeds import Purpose, world_seed

__all__ = [
    "BLOCK",
    "Member",
    "classical_origin",
    "measure_blocks",
    "measure_evaluation",
    "measure_members",
    "measure_shard",
    "run_origin",
]

#: Paths that are simulated together. Part of the definition of every number: not to be changed lightly.
BLOCK = 128
#: Blocks of a shard at most: what a worker that dies takes with it.
_BLOCKS = 32


@dataclass(frozen=True)
class Member:
    """A policy in its task, and where another process finds the same.

    Attributes
    ----------
    name
        For the progress bar.
    origin
        Plain data: :func:`run_origin` or :func:`classical_origin`.
    """

    name: str
    policy: Policy
    task: Task
    origin: dict[str, Any]


def run_origin(folder: str, model: str, scenario: Scenario | None = None) -> dict[str, Any]:
    """A trained run: its folder, ``best`` or ``last``, and what is laid over its network."""
    laid = None if scenario is None else scenario.model_dump(mode="json")
    return {"run": folder, "model": model, "scenario": laid}


def classical_origin(
    compiled: CompiledNetwork, env: EnvConfig, tuned: TunedPolicy, network: NetworkConfig | None = None
) -> dict[str, Any]:
    """A tuned classical policy: the network, the environment and the parameters.

    The network itself travels, but for a liner network, which only its name ``network`` leads to.
    """
    return {
        "network": compiled.network.to_dict() if not env.routes else None,
        "named": None if network is None else network.model_dump(mode="json"),
        "hash": compiled.content_hash(),
        "env": env.model_dump(mode="json"),
        "policy": tuned.policy,
        "parameters": tuned.parameters.tolist(),
    }


def measure_blocks(
    policy: Policy,
    task: Task,
    *,
    seed: int,
    paths: int,
    periods: int,
    warm_up: int,
    first: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Measurement:
    """:func:`agents.evaluation.measure`, block by block.

    Parameters
    ----------
    first
        Begins a block.
    progress
        Called after every period with the number of paths that were simulated.
    """
    parts = []
    with _one_thread():
        for start in range(first, first + paths, BLOCK):
            number = min(BLOCK, first + paths - start)
            parts.append(
                measure(
                    policy,
                    task,
                    seed=seed,
                    paths=number,
                    first=start,
                    periods=periods,
                    warm_up=warm_up,
                    progress=None if progress is None else _scaled(progress, number),
                )
            )
    return _joined(parts)


def _scaled(progress: Callable[[int], object], paths: int) -> Callable[[int], object]:
    return lambda periods: progress(periods * paths)


def measure_evaluation(
    policy: Policy,
    task: Task,
    evaluation: EvaluationConfig,
    *,
    purpose: Purpose = Purpose.EVALUATION,
    progress: Callable[[int], object] | None = None,
) -> Measurement:
    """Measure a policy on all paths of an evaluation.

    Parameters
    ----------
    purpose
        Which block of seeds: the one that what is found here is not reported on, where something is chosen by it.
    progress
        See :func:`measure_blocks`.
    """
    return measure_blocks(
        policy,
        task,
        seed=world_seed(purpose, evaluation.seed),
        paths=evaluation.paths,
        periods=evaluation.periods,
        warm_up=evaluation.warm_up,
        progress=progress,
    )


def measure_members(
    members: Sequence[Member], evaluation: EvaluationConfig, launcher: Launcher, jobs: int = 1
) -> list[Measurement]:
    """Measure policies on the evaluation paths, with a progress bar.

    Raises
    ------
    RunError
        When a shard fails.
    """
    if isinstance(launcher, Serial):
        return [_here(member, evaluation) for member in members]
    shards = _shards(evaluation.paths, jobs)
    pending = [
        Job(
            f"paths-{first}",
            f"{__name__}:measure_shard",
            {
                "members": [member.origin for member in members],
                "evaluation": evaluation.model_dump(mode="json"),
                "first": first,
                "count": count,
            },
        )
        for first, count in shards
    ]
    found: dict[int, list[Measurement]] = {}
    with tqdm(total=evaluation.paths, desc="evaluating", unit="path", disable=None, leave=False) as bar:

        def ended(job: Job, outcome: Outcome) -> None:
            if outcome.error is not None:
                raise RunError(f"evaluation, {job.name}: {outcome.error}")
            found[job.request["first"]] = [
                Measurement(*(np.array(part, dtype=np.float64) for part in one)) for one in outcome.value
            ]
            bar.update(job.request["count"])

        launcher.run(several(pending), ended)
    return [_joined([found[first][k] for first, _ in shards]) for k in range(len(members))]


def measure_shard(request: dict[str, Any]) -> list[list[Any]]:
    """Some of the paths for all policies, in a worker: cost, terms, asked and served of each."""
    evaluation = EvaluationConfig(**request["evaluation"])
    out = []
    for origin in request["members"]:
        policy, task = _found(json.dumps(origin))
        one = measure_blocks(
            policy,
            task,
            seed=world_seed(Purpose.EVALUATION, evaluation.seed),
            paths=request["count"],
            periods=evaluation.periods,
            warm_up=evaluation.warm_up,
            first=request["first"],
        )
        out.append([part.tolist() for part in (one.cost, one.terms, one.asked, one.served)])
    return out


@lru_cache(maxsize=64)
def _found(text: str) -> tuple[Policy, Task]:
    """The policy and task of an origin; a worker that does several shards loads them once."""
    origin = json.loads(text)
    if "run" in origin:
        from experiments.loading import load_run

        laid = None if origin["scenario"] is None else Scenario.model_validate(origin["scenario"])
        run = load_run(origin["run"], model=origin["model"], scenario=laid)
        return run.policy, run.task
    env = EnvConfig(**origin["env"])
    named = None if origin["named"] is None else NetworkConfig(**origin["named"])
    if origin["network"] is not None:
        compiled = compile_network(Network.parse(origin["network"]))
    elif named is not None:
        compiled = compiled_network(named, env)
    else:
        raise RunError("a routing policy acts on a liner network, and none is named")
    if compiled.content_hash() != origin["hash"]:
        raise RunError(f"the network '{compiled.network.name}' is not the same when it is read again")
    tuned = TunedPolicy(origin["policy"], np.array(origin["parameters"], dtype=np.float64), None, None, 0)
    return baseline_problem(compiled, env, tuned, named)


def _here(member: Member, evaluation: EvaluationConfig) -> Measurement:
    task = member.task
    total = task.horizon if task.finite else evaluation.warm_up + evaluation.periods
    description = f"evaluating {member.name}"
    with tqdm(
        total=total * evaluation.paths, desc=description, unit="period", unit_scale=True, disable=None, leave=False
    ) as bar:
        return measure_evaluation(member.policy, task, evaluation, progress=bar.update)


def _shards(paths: int, jobs: int) -> list[tuple[int, int]]:
    """First path and number of paths of every shard: whole blocks, about as many for each worker."""
    blocks = -(-paths // BLOCK)
    size = BLOCK * max(1, min(_BLOCKS, -(-blocks // jobs)))
    return [(first, min(size, paths - first)) for first in range(0, paths, size)]


def _joined(parts: Sequence[Measurement]) -> Measurement:
    """Measurements of paths side by side."""
    if len(parts) == 1:
        return parts[0]
    names = ("cost", "terms", "asked", "served")
    return Measurement(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch, where it is in use."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
