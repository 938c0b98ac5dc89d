"""From configurations to the objects they describe: network, task, tuned classical policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agents.baselines.simulation import acting_task
from agents.baselines.tuning import TunedPolicy, TuningBudget, tune
from agents.policy import Policy
from agents.registry import baseline, load_class
from envs.inventory import InventoryTask
from envs.switching import SwitchingTask
from experiments.config import EnvConfig, NetworkConfig, TuningConfig
from twin.compile import CompiledNetwork, compile_network
from twin.errors import RunError
from twin.files import write_text
from twin.library import resolve

__all__ = [
    "REFERENCES",
    "baseline_problem",
    "compiled_network",
    "load_tuned",
    "make_task",
    "parameter_names",
    "references",
    "save_tuned",
    "task_arguments",
    "tune_all",
]

#: What every policy is compared with: the best constant order, and the best base-stock policy.
REFERENCES = ("constant", "base_stock")


def compiled_network(config: NetworkConfig, env: EnvConfig | None = None) -> CompiledNetwork:
    """The network a configuration names, compiled; with the records that decisions among suppliers look at."""
    network = resolve(config.name, **config.parameters)
    if env is not None and env.switching:
        network = network.model_copy(update={"records": True})
    return compile_network(network)


def references(env: EnvConfig) -> tuple[str, ...]:
    """The classical policies that an agent is compared with: the two, and the one that a residual action corrects."""
    return tuple(dict.fromkeys((*REFERENCES, _corrected(env)))) if env.residual else REFERENCES


def _corrected(env: EnvConfig) -> str:
    if env.switching:
        return f"{env.base}_switching"
    return "echelon_base_stock" if env.action_mode == "echelon" else "base_stock"


def task_arguments(env: EnvConfig, tuned: Mapping[str, TunedPolicy] | None = None) -> dict[str, Any]:
    """Keyword arguments of the task for a configuration, see :func:`make_task`.

    Parameters
    ----------
    tuned
        Tuned classical policies by name, with the one that a residual action corrects among them.
    """
    arguments: dict[str, Any] = {
        "action_mode": env.action_mode,
        "horizon": env.horizon,
        "finite": env.finite,
        "observe": env.observe,
        "arrivals": env.arrivals,
        "forecast": env.forecast,
    }
    if env.residual:
        name = _corrected(env)
        if tuned is None or name not in tuned:
            raise RunError(f"a residual action corrects the policy '{name}', which is not among the tuned ones")
        center = "rule" if env.switching else "levels"
        arguments |= {center: tuned[name].parameters.tolist(), "residual_scale": env.residual_scale}
    if env.switching:
        arguments |= {"notches": env.notches, "base": env.base}
    return arguments


def make_task(
    compiled: CompiledNetwork, env: EnvConfig, tuned: Mapping[str, TunedPolicy] | None = None
) -> InventoryTask:
    """The task of a configuration, with the arguments of :func:`task_arguments`."""
    return (SwitchingTask if env.switching else InventoryTask)(compiled, **task_arguments(env, tuned))


def tune_all(
    compiled: CompiledNetwork,
    config: TuningConfig,
    names: tuple[str, ...] = REFERENCES,
    *,
    env: EnvConfig | None = None,
) -> dict[str, TunedPolicy]:
    """Tune classical policies on the tuning seeds, with a progress bar.

    Parameters
    ----------
    names
        Of the registry; by default the two that every other policy stands beside.
    env
        Where its problem ends at the horizon the policies are tuned for that, else for a problem that continues.
    """
    budget = TuningBudget(
        restarts=config.restarts,
        generations=config.generations,
        candidates=config.candidates,
        paths=config.paths,
        warm_up=config.warm_up,
        periods=config.periods,
    )
    problem: CompiledNetwork | InventoryTask = compiled
    if env is not None and env.finite:
        problem = InventoryTask(compiled, horizon=env.horizon, finite=True)
    tuned = {}
    for name in names:
        baseline(name)
        with tqdm(
            total=config.restarts * config.generations,
            desc=f"tuning {name}",
            unit="generation",
            disable=None,
            leave=False,
        ) as bar:

            def show(generation: int, generations: int, best: float, bar: Any = bar) -> None:
                bar.total = generations
                bar.set_postfix(best=f"{best:,.4g}")
                bar.update(generation - bar.n)

            tuned[name] = tune(problem, name, seed=config.seed, budget=budget, progress=show)
    return tuned


def save_tuned(path: Path, tuned: dict[str, TunedPolicy], compiled: CompiledNetwork) -> None:
    """Store tuned parameters by name."""
    data = {
        name: {
            "parameters": dict(zip(parameter_names(compiled, name), entry.parameters.tolist(), strict=True)),
            "tuning_cost": entry.cost,
            "tuning_standard_error": entry.standard_error,
            "simulated_periods": entry.simulated_periods,
        }
        for name, entry in tuned.items()
    }
    write_text(path, json.dumps(data, indent=2) + "\n")


def load_tuned(path: Path, compiled: CompiledNetwork) -> dict[str, TunedPolicy]:
    """Read what :func:`save_tuned` wrote.

    Raises
    ------
    RunError
        When the file is missing or names other parameters than the policies have on this network.
    """
    if not path.is_file():
        raise RunError(f"no tuned policies at {path}; the run folder is incomplete")
    data = json.loads(path.read_text(encoding="utf-8"))
    tuned = {}
    for name, entry in data.items():
        if tuple(entry["parameters"]) != parameter_names(compiled, name):
            raise RunError(f"{path}: the policy '{name}' was tuned for other arcs than the network has")
        tuned[name] = TunedPolicy(
            name,
            np.array(list(entry["parameters"].values()), dtype=np.float64),
            entry["tuning_cost"],
            entry["tuning_standard_error"],
            entry["simulated_periods"],
        )
    return tuned


def parameter_names(compiled: CompiledNetwork, policy: str) -> tuple[str, ...]:
    """Names of the parameters of a classical policy on a network."""
    names: tuple[str, ...] = load_class(baseline(policy).path).space(acting_task(compiled, policy)).names
    return names


def baseline_problem(compiled: CompiledNetwork, env: EnvConfig, tuned: TunedPolicy) -> tuple[Policy, InventoryTask]:
    """A tuned classical policy and a task in which it acts exactly: same network, paths and costs, and no action box.

    The task shows what the policy needs, whatever the configured environment shows.
    """
    task = acting_task(compiled, tuned.policy, horizon=env.horizon, finite=env.finite)
    policy: Policy = load_class(baseline(tuned.policy).path)(task, tuned.parameters)
    return policy, task
