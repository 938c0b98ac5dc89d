"""One item of a suite, done and stored, by whatever worker."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation import Measurement, measure
from agents.exact import exact_cost
from agents.oracles.hindsight_lp import hindsight_plan
from agents.policy import Policy
from agents.published_paths import poisson_paths
from envs.task import Task
from experiments.benchmark_items import Item
from experiments.bounds import hindsight_costs
from experiments.config import EvaluationConfig, SubjectConfig
from experiments.launchers import Job
from experiments.monte_carlo import measure_evaluation
from experiments.problems import baseline_problem, compiled_network
from experiments.runs import versions
from experiments.training_work import train_at, tuned_once
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import CogTwinError, ConfigError
from twin.files import write_text

__all__ = ["do_item", "failure", "item_path", "job", "run_path", "work"]

Result = dict[str, Any]


def item_path(folder: Path, item: Item) -> Path:
    """Where the result of an item lies in the folder of its suite."""
    return folder / "items" / f"{item.name}.json"


def run_path(folder: Path, item: Item) -> Path:
    """Where the run folder of an agent lies."""
    return folder / "runs" / f"{item.name}-{item.hash[:12]}"


def job(item: Item, folder: Path) -> Job:
    """The item as a job for a launcher; the worker does it by :func:`work`."""
    return Job(item.name, f"{__name__}:work", {"item": asdict(item), "folder": str(folder)})


def work(request: dict[str, Any]) -> None:
    """Do the item of a :func:`job`."""
    do_item(Item(**request["item"]), Path(request["folder"]))


def do_item(item: Item, folder: Path) -> None:
    """Do an item and store its result, or why it failed.

    Raises
    ------
    KeyboardInterrupt
        When it was stopped; a training run is then resumed from its last checkpoint the next time.
    """
    try:
        result = {**_done(item, folder), "status": "finished", "versions": versions()}
    except Exception as error:
        text = str(error) if isinstance(error, CogTwinError) else f"{type(error).__name__}: {error}"
        failure(item, folder, text, traceback.format_exc())
        return
    _store(item, folder, result)


def failure(item: Item, folder: Path, reason: str, details: str = "") -> None:
    """Store that an item failed and why; the next run of the suite tries it again."""
    _store(item, folder, {"status": "failed", "error": reason, "details": details.splitlines()})


def _store(item: Item, folder: Path, result: Result) -> None:
    head = {"item": item.name, "hash": item.hash, "cell": item.cell, "entry": item.entry, "kind": item.kind}
    entry = {**head, "seed": item.seed, "evaluation": item.evaluation, **result}
    entry["written"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_text(item_path(folder, item), json.dumps(entry, indent=1) + "\n")


def _done(item: Item, folder: Path) -> Result:
    if item.kind == "agent":
        return _agent(item, folder)
    config = item.subject_config
    compiled = compiled_network(config.network, config.env, config.scenario)
    return _bound(item, config, compiled) if item.kind == "bound" else _policy(item, config, compiled, folder)


def _agent(item: Item, folder: Path) -> Result:
    # Here, not above: bounds and classical policies need no torch.
    from experiments.loading import load_run

    config = item.train_config
    run = train_at(run_path(folder, item), config, folder / "tuned")
    loaded = load_run(run.path, model=item.model)
    seconds = run.info()["durations_s"]
    return {
        **_evaluated(item, loaded.policy, loaded.task, config.evaluation),
        "seconds": seconds["learning"],
        "twin_seconds": seconds["twin"],
        "timesteps": run.info()["timesteps"],
        "run": str(run.path),
    }


def _policy(item: Item, config: SubjectConfig, compiled: CompiledNetwork, folder: Path) -> Result:
    name = str(config.policy)
    tuned, seconds = tuned_once(name, compiled, config.env, config.tuning, folder / "tuned")
    policy, task = baseline_problem(compiled, config.env, tuned, config.network)
    result = _evaluated(item, policy, task, config.evaluation)
    return {**result, "seconds": seconds, "parameters": tuned.parameters.tolist(), "tuning_cost": tuned.cost}


def _bound(item: Item, config: SubjectConfig, compiled: CompiledNetwork) -> Result:
    """Cost per period that foresight could reach, on the first of the evaluation paths or on the published ones."""
    started = time.perf_counter()
    env, evaluation = config.env, config.evaluation
    if item.path_seeds:
        periods = env.horizon if env.finite else evaluation.periods
        state = Twin(compiled, replicas=len(item.path_seeds)).state
        draws = poisson_paths(compiled, item.path_seeds, periods)
        totals = [hindsight_plan(state, draws, replica=b, with_terminal_value=True).cost for b in range(state.replicas)]
        costs = (np.array(totals) / periods).tolist()
    else:
        costs = hindsight_costs(compiled, config.network, env, evaluation, item.paths).tolist()
    seconds = round(time.perf_counter() - started, 2)
    result = {"cost": float(np.mean(costs)), "costs": costs, "paths": _paths(evaluation), "seconds": seconds}
    return {**result, **_known(compiled, env.finite)}


def _evaluated(item: Item, policy: Policy, task: Task, evaluation: EvaluationConfig) -> Result:
    """Cost of a policy, exact or on the evaluation paths."""
    started = time.perf_counter()
    if item.evaluation == "exact":
        found = exact_cost(policy, task)
        result: Result = {"cost": found.cost, "bounds": [found.lower, found.upper], "states": found.states}
    else:
        seeds = item.path_seeds
        if seeds and not task.finite:
            raise ConfigError("published paths begin at the start of a finite problem; set env.finite=true")
        measured = _on_published(policy, task, seeds) if seeds else measure_evaluation(policy, task, evaluation)
        costs = measured.cost
        result = {"cost": float(costs.mean()), "costs": costs.tolist(), "paths": _paths(evaluation)}
        result["fill_rate"] = measured.fill_rate
    result["evaluation_seconds"] = round(time.perf_counter() - started, 2)
    return {**result, **_known(task.compiled, task.finite)}


def _on_published(policy: Policy, task: Task, seeds: list[int]) -> Measurement:
    draws = poisson_paths(task.compiled, seeds, task.horizon)
    # The publication's random numbers are all there are: the seed of the world has no part.
    return measure(policy, task, seed=0, paths=len(seeds), periods=task.horizon, warm_up=0, draws=draws)


def _paths(evaluation: EvaluationConfig) -> dict[str, int]:
    """What two measurements must share to be compared path by path."""
    return {"seed": evaluation.seed, "periods": evaluation.periods, "warm_up": evaluation.warm_up}


def _known(compiled: CompiledNetwork, finite: bool) -> Result:
    """The least average cost of an endless run, which is not what a finite horizon costs."""
    known = None if finite else compiled.network.known_value("optimal_cost")
    if known is None:
        return {"optimum": None, "optimum_source": None}
    return {"optimum": known.value, "optimum_source": known.source}
