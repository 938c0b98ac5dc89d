"""One item of a suite, done and stored; also a process of its own: ``python -m experiments.benchmark_work``."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agents.baselines.tuning import TunedPolicy
from agents.evaluation import measure
from agents.exact import exact_cost
from agents.oracles.hindsight_lp import hindsight_plan
from agents.policy import Policy
from agents.published_paths import poisson_paths
from envs.task import Task
from experiments.benchmark_items import Item
from experiments.bounds import hindsight_costs
from experiments.config import EnvConfig, EvaluateConfig, EvaluationConfig, TuningConfig
from experiments.problems import baseline_problem, compiled_network, load_tuned, references, save_tuned, tune_all
from experiments.runs import RunFolder, versions
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import CogTwinError, ConfigError
from twin.files import write_text
from twin.seeds import Purpose, world_seed

__all__ = ["FAILED", "FINISHED", "INTERRUPTED", "do_item", "failure", "item_path", "main", "run_path"]

#: Exit codes of an item.
FINISHED, FAILED, INTERRUPTED = 0, 1, 130
Result = dict[str, Any]


def item_path(folder: Path, item: Item) -> Path:
    """Where the result of an item lies in the folder of its suite."""
    return folder / "items" / f"{item.name}.json"


def run_path(folder: Path, item: Item) -> Path:
    """Where the run folder of an agent lies."""
    return folder / "runs" / f"{item.name}-{item.hash[:12]}"


def do_item(item: Item, folder: Path) -> int:
    """Do an item and store its result, or why it failed; returns the exit code.

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
        return FAILED
    _store(item, folder, result)
    return FINISHED


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
    config = item.evaluate_config
    compiled = compiled_network(config.network, config.env)
    return _bound(item, config, compiled) if item.kind == "bound" else _policy(item, config, compiled, folder)


def _agent(item: Item, folder: Path) -> Result:
    # Here, not above: bounds and classical policies need no torch.
    import torch

    from experiments.loading import load_run
    from experiments.train import train

    torch.set_num_threads(1)
    config = item.train_config
    compiled = compiled_network(config.network, config.env)
    # A place that depends on the item alone, so that what was stopped is found again and resumed.
    run = RunFolder(run_path(folder, item))
    run.path.mkdir(parents=True, exist_ok=True)
    if not (run.path / "config.yaml").is_file():
        run.write_config(config)
    if not (run.path / "baselines.json").is_file():
        tuned = {name: _tuned(name, compiled, config.env, config.tuning, folder)[0] for name in references(config.env)}
        save_tuned(run.path / "baselines.json", tuned, compiled)
    info = run.info()
    if info.get("status") != "finished":
        result = train(config.model_copy(update={"resume": str(run.path)}))
        if result.status != "finished":
            raise KeyboardInterrupt
    loaded = load_run(run.path, model=item.model)
    seconds = run.info()["durations_s"]
    return {
        **_evaluated(item, loaded.policy, loaded.task, config.evaluation),
        "seconds": seconds["learning"],
        "twin_seconds": seconds["twin"],
        "timesteps": run.info()["timesteps"],
        "run": str(run.path),
    }


def _policy(item: Item, config: EvaluateConfig, compiled: CompiledNetwork, folder: Path) -> Result:
    name = str(config.policy)
    tuned, seconds = _tuned(name, compiled, config.env, config.tuning, folder)
    policy, task = baseline_problem(compiled, config.env, tuned, config.network)
    result = _evaluated(item, policy, task, config.evaluation)
    return {**result, "seconds": seconds, "parameters": tuned.parameters.tolist(), "tuning_cost": tuned.cost}


def _bound(item: Item, config: EvaluateConfig, compiled: CompiledNetwork) -> Result:
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
        costs = hindsight_costs(compiled, env, evaluation, item.paths).tolist()
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
        measured = measure(
            policy,
            task,
            seed=world_seed(Purpose.EVALUATION, evaluation.seed),
            paths=len(seeds) or evaluation.paths,
            periods=evaluation.periods,
            warm_up=evaluation.warm_up,
            draws=poisson_paths(task.compiled, seeds, task.horizon) if seeds else None,
        )
        costs = measured.cost
        result = {"cost": float(costs.mean()), "costs": costs.tolist(), "paths": _paths(evaluation)}
        result["fill_rate"] = measured.fill_rate
    result["evaluation_seconds"] = round(time.perf_counter() - started, 2)
    return {**result, **_known(task.compiled, task.finite)}


def _paths(evaluation: EvaluationConfig) -> dict[str, int]:
    """What two measurements must share to be compared path by path."""
    return {"seed": evaluation.seed, "periods": evaluation.periods, "warm_up": evaluation.warm_up}


def _known(compiled: CompiledNetwork, finite: bool) -> Result:
    """The least average cost of an endless run, which is not what a finite horizon costs."""
    known = None if finite else compiled.network.known_value("optimal_cost")
    if known is None:
        return {"optimum": None, "optimum_source": None}
    return {"optimum": known.value, "optimum_source": known.source}


def _tuned(
    name: str, compiled: CompiledNetwork, env: EnvConfig, config: TuningConfig, folder: Path
) -> tuple[TunedPolicy, float]:
    """A tuned policy and the seconds it took; tuned once for all items on the same network, whoever comes first."""
    horizon = str(env.horizon if env.finite else None)
    words = [compiled.content_hash(), name, horizon, config.model_dump_json()]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    (folder / "tuned").mkdir(parents=True, exist_ok=True)
    path = folder / "tuned" / f"{compiled.network.name}-{name}-{digest}.json"
    clock = path.with_suffix(".seconds")
    with _locked(path.with_suffix(".lock")):
        if not clock.is_file():
            started = time.perf_counter()
            save_tuned(path, tune_all(compiled, config, (name,), env=env), compiled)
            write_text(clock, f"{time.perf_counter() - started:.2f}\n")
        return load_tuned(path, compiled)[name], float(clock.read_text(encoding="utf-8"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process is inside; the lock dies with its process."""
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Do the item that stands as JSON on standard input; returns the exit code."""
    _end_with(os.getppid())
    request = json.loads(sys.stdin.read())
    try:
        return do_item(Item(**request["item"]), Path(request["folder"]))
    except KeyboardInterrupt:
        return INTERRUPTED


def _end_with(parent: int) -> None:
    """Stop, at a safe point, when the process that asked for the item is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
