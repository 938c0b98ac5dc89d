"""What candidates for the parameters of a rule cost: all of them on the same paths, at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import OrderingPolicy
from agents.baselines.reading import TwinReading
from agents.registry import baseline, load_class
from envs.inventory import InventoryTask
from envs.switching import SwitchingTask
from envs.task import Task
from twin.compile import CompiledNetwork, compile_network
from twin.economics import terminal_value
from twin.engine import Twin

__all__ = ["FUSED", "acting_task", "simulated_cost"]

FloatArray = NDArray[np.float64]

#: Rules that the kernel runs for many periods without returning to Python.
FUSED = ("base_stock", "constant")

#: Replicas that step together where a rule is decided in Python: enough for long rows, few enough for the caches.
_TOGETHER = 4096

#: Numbers drawn ahead at most.
_DRAWN = 1 << 22


def acting_task(compiled: CompiledNetwork, policy: str, *, horizon: int = 104, finite: bool = False) -> InventoryTask:
    """A task in which a classical policy acts exactly: it sees what it needs, and no box clips its orders."""
    shown = load_class(baseline(policy).path).needs(compiled).task_arguments()
    kind = SwitchingTask if compiled.relation_names else InventoryTask
    return kind(compiled, action_mode="orders", horizon=horizon, finite=finite, **shown)


def simulated_cost(
    problem: Task | CompiledNetwork,
    policy: str,
    candidates: FloatArray,
    *,
    seed: int,
    first_path: int,
    paths: int,
    warm_up: int = 0,
    periods: int = 0,
) -> FloatArray:
    """Cost per period of each candidate on each path; candidates share paths.

    Parameters
    ----------
    problem
        A network, whose problem continues, or a task. One that ends is run once over its horizon from its starting
        state, and the terminal value counts.
    policy
        As in the registry.
    candidates
        Shape (N, P).
    seed
        World seed.
    first_path, paths
        Replica numbers ``first_path`` to ``first_path + paths - 1`` are used.
    warm_up, periods
        Periods run before counting, and counted, where the problem continues.

    Returns
    -------
    ndarray, shape (N, paths)
    """
    compiled = problem if isinstance(problem, CompiledNetwork) else problem.compiled
    finite = not isinstance(problem, CompiledNetwork) and problem.finite
    if finite and not isinstance(problem, CompiledNetwork):
        warm_up, periods = 0, problem.horizon

    def started(number: int) -> Twin:
        replica = np.tile(np.arange(first_path, first_path + paths, dtype=np.uint32), number)
        twin = Twin(compiled)
        return twin.at(twin.initial_state(np.full(number * paths, seed, dtype=np.uint64), replica))

    def fused(part: FloatArray) -> FloatArray:
        result = started(len(part)).rollout(
            policy, np.repeat(part.T, paths, axis=1), periods, warm_up=warm_up, repeat=len(part)
        )
        cost = result.cost - result.terminal_value / periods if finite else result.cost
        return cost.reshape(len(part), paths)

    if policy in FUSED:
        if compiled.network.records:  # which these rules do not read, and the kernel does not keep
            compiled = compile_network(compiled.network.model_copy(update={"records": False}))
        # The kernel releases the interpreter lock, so threads share the work.
        return _shared(fused, np.array_split(candidates, os.cpu_count() or 1))
    rule = load_class(baseline(policy).path)(acting_task(compiled, policy, horizon=warm_up + periods, finite=finite))

    def stepped(part: FloatArray) -> FloatArray:
        twin = started(len(part))
        total = _stepped(twin, rule, np.repeat(part.T, paths, axis=1), len(part), warm_up, periods, finite)
        return total.reshape(len(part), paths) / periods

    return _shared(stepped, np.array_split(candidates, -(-len(candidates) * paths // _TOGETHER)))


def _stepped(
    twin: Twin, rule: OrderingPolicy, parameters: FloatArray, repeat: int, warm_up: int, periods: int, finite: bool
) -> FloatArray:
    """Costs (B,) of the counted periods together, the terminal value taken off where the horizon is finite."""
    replicas, compiled = twin.state.replicas, twin.compiled
    paths, total = replicas // repeat, warm_up + periods
    longest = max(1, _DRAWN // max(1, paths * (compiled.n_demands + compiled.n_arcs + compiled.n_resources)))
    cost, memory, done = np.zeros(replicas), None, 0
    while done < total:
        length = min(longest, total - done)
        # Draws are made once per path and copied: candidates see the same world.
        drawn = twin.tape.block(twin.state.first(paths), length)
        for t in range(length):
            left = np.full(replicas, float(total - done - t)) if finite else None
            orders, moves, memory = rule.decide(parameters, TwinReading(twin, left, repeat), memory)
            terms = twin.step(orders, drawn.period(t).repeated(repeat), moves)
            if done + t >= warm_up:
                cost += terms.sum(axis=0)
        done += length
    return cost - terminal_value(twin.state) if finite else cost


def _shared(run: Callable[[FloatArray], FloatArray], parts: list[FloatArray]) -> FloatArray:
    parts = [part for part in parts if len(part)]
    with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
        return np.concatenate(list(pool.map(run, parts)))
