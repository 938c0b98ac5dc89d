"""From configurations to the objects they describe: network, task, tuned classical policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agents.baselines.routing import RoutingPolicy
from agents.baselines.simulation import acting_task
from agents.baselines.tuning import TunedPolicy, TuningBudget, tune
from agents.policy import Policy
from agents.registry import BASELINES, baseline, load_class
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from envs.switching import SwitchingTask
from envs.task import Task
from experiments.config import EnvConfig, NetworkConfig, TuningConfig
from twin.compile import CompiledNetwork, compile_network
from twin.errors import ConfigError, RunError
from twin.files import write_text
from twin.library import resolve
from twin.liner.schedule import WEEK
from twin.scenarios import Scenario, laid_over

__all__ = [
    "REFERENCES",
    "ROUTING_REFERENCES",
    "baseline_problem",
    "compiled_network",
    "load_tuned",
    "make_task",
    "parameter_names",
    "references",
    "routing_task",
    "save_tuned",
    "task_arguments",
    "tune_all",
    "usual",
]

#: What every policy is compared with: the best constant order, and the best base-stock policy.
REFERENCES = ("constant", "base_stock")
ROUTING_REFERENCES = ("routing_static", "routing_cheapest")


def compiled_network(
    config: NetworkConfig, env: EnvConfig | None = None, scenario: Scenario | None = None
) -> CompiledNetwork:
    """The network a configuration names, compiled; with what a scenario does to it, and with the records that decisions
    among suppliers look at.
    """
    if env is not None and env.routes:
        return routing_task(config, env).compiled
    network = laid_over(resolve(config.name, **config.parameters), scenario or Scenario())
    if env is not None and env.switching:
        network = network.model_copy(update={"records": True})
    return compile_network(network)


def usual(env: EnvConfig) -> tuple[str, ...]:
    """The classical policies that every other one stands beside."""
    return ROUTING_REFERENCES if env.routes else REFERENCES


def references(env: EnvConfig) -> tuple[str, ...]:
    """The classical policies that an agent is compared with: the two, and the one that a residual action corrects.

    In routing the nominal plan, the cheapest ways, and the zero action where that is another one.
    """
    if env.routes:
        return (*ROUTING_REFERENCES, *(("routing_queue_price",) if env.routing.base == "queue" else ()))
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
    }
    if env.routes:
        return arguments | env.routing.model_dump()
    arguments |= {"arrivals": env.arrivals, "forecast": env.forecast}
    if env.residual:
        name = _corrected(env)
        if tuned is None or name not in tuned:
            raise RunError(f"a residual action corrects the policy '{name}', which is not among the tuned ones")
        center = "rule" if env.switching else "levels"
        arguments |= {center: tuned[name].parameters.tolist(), "residual_scale": env.residual_scale}
    if env.switching:
        arguments |= {"notches": env.notches, "base": env.base}
    return arguments


def routing_task(network: NetworkConfig, env: EnvConfig) -> RoutingTask:
    """The routing task of a configuration; the network is one of :mod:`twin.liner`.

    Raises
    ------
    ConfigError
        When the network is given parameters: liner networks have none.
    """
    if network.parameters:
        raise ConfigError(f"network.parameters: a liner network has none, received {sorted(network.parameters)}")
    return RoutingTask(network.name, **task_arguments(env))


def make_task(
    compiled: CompiledNetwork,
    env: EnvConfig,
    tuned: Mapping[str, TunedPolicy] | None = None,
    network: NetworkConfig | None = None,
) -> InventoryTask | RoutingTask:
    """The task of a configuration, with the arguments of :func:`task_arguments`.

    Raises
    ------
    RunError
        When it is one of routing, and the liner network has changed since ``compiled`` was made of it, or is not given.
    """
    if env.routes:
        if network is None:
            raise RunError("a routing task is made of a liner network, and none is given")
        task = routing_task(network, env)
        if task.compiled.content_hash() != compiled.content_hash():
            raise RunError(f"the liner network '{network.name}', its itineraries or its scenario have changed")
        return task
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
        if env is not None and env.routes:
            _routing_policy(name)
            tuned[name] = TunedPolicy(name, np.zeros(0), None, None, 0)
            continue
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
    kind = load_class(baseline(policy).path)
    if issubclass(kind, RoutingPolicy):
        return ()
    names: tuple[str, ...] = kind.space(acting_task(compiled, policy)).names
    return names


def _routing_policy(name: str) -> type[RoutingPolicy]:
    kind: type[RoutingPolicy] = load_class(baseline(name).path)
    if not issubclass(kind, RoutingPolicy):
        known = [other for other, entry in BASELINES.items() if issubclass(load_class(entry.path), RoutingPolicy)]
        raise ConfigError(f"the policy '{name}' does not route (allowed: {', '.join(known)})")
    return kind


def baseline_problem(
    compiled: CompiledNetwork, env: EnvConfig, tuned: TunedPolicy, network: NetworkConfig | None = None
) -> tuple[Policy, Task]:
    """A tuned classical policy and a task in which it acts exactly: same network, paths and costs, and no action box.

    The task shows what the policy needs, whatever the configured environment shows.
    """
    if env.routes:
        # They decide day by day, whatever the agent does.
        daily = env.routing.model_copy(update={"decision": "day"})
        days = env.horizon * (WEEK if env.routing.decision == "week" else 1)
        env = env.model_copy(update={"routing": daily, "horizon": days, "action_mode": "prices", "observe": None})
        made, kind = make_task(compiled, env, None, network), _routing_policy(tuned.policy)
        if isinstance(made, RoutingTask):
            acting = kind.acting(made)
            return kind(acting), acting
    task = acting_task(compiled, tuned.policy, horizon=env.horizon, finite=env.finite)
    policy: Policy = load_class(baseline(tuned.policy).path)(task, tuned.parameters)
    return policy, task
