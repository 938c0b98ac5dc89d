"""Tuning the parameters of a classical policy by simulation.

All candidates of a generation are evaluated at once on the same paths (common random numbers), fresh ones every
generation so that no path is learned by heart. One parameter is searched on a grid, two on grids that are refined, more
by CMA-ES. Parameters that name one of several ways are not searched: the others are, for each combination of ways, with
an equal part of the generations. The finalists then meet on fresh paths in rounds that halve the field and double the
paths (successive halving, Karnin, Koren & Somekh 2013). All paths come from the tuning block of seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.search import Evolution, line, refined_grid
from agents.baselines.simulation import FUSED, acting_task, simulated_cost
from agents.registry import baseline, load_class
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

__all__ = ["TunedPolicy", "TuningBudget", "simulated_cost", "tune"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TuningBudget:
    """How long and how widely to search.

    Attributes
    ----------
    restarts, generations, candidates
        Of the search by CMA-ES: independent restarts, each of so many generations of candidates that are evaluated
        together.
    paths
        Paths per candidate and generation.
    warm_up, periods
        Periods run before counting, and counted, where the problem continues.
    """

    restarts: int = 2
    generations: int = 200
    candidates: int = 48
    paths: int = 8
    warm_up: int = 104
    periods: int = 104

    def __post_init__(self) -> None:
        least = {"restarts": 1, "generations": 1, "candidates": 4, "paths": 1, "warm_up": 0, "periods": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                raise ConfigError(f"tuning.{name} must be at least {bound}, received {value}")


@dataclass(frozen=True)
class TunedPolicy:
    """The winner of a search.

    Attributes
    ----------
    policy
        As in the registry.
    parameters
        Shape (P,), in the order of the policy's parameter space; units, where it does not say otherwise.
    cost, standard_error
        Mean cost per period on the tuning paths of the last round. Optimistic, as every winner's is: report the cost
        on evaluation seeds instead. None where there was nothing to search.
    simulated_periods
        Network periods that the search ran.
    """

    policy: str
    parameters: FloatArray
    cost: float | None
    standard_error: float | None
    simulated_periods: int


def tune(
    problem: Task | CompiledNetwork,
    policy: str = "base_stock",
    *,
    seed: int = 0,
    budget: TuningBudget | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TunedPolicy:
    """Search the parameters of a policy that minimise its simulated cost.

    Parameters
    ----------
    problem
        A network, whose problem continues, or a task: of one with a finite horizon, that horizon is run from the
        starting state, and the terminal value counts. How the task observes and acts does not matter.
    policy
        As in the registry.
    seed
        User seed within the tuning block.
    progress
        Called with (generation, generations, best mean cost so far).

    Raises
    ------
    ConfigError
        For an unknown policy, one that does not fit the network, or an impossible budget.
    """
    budget = budget or TuningBudget()
    compiled = problem if isinstance(problem, CompiledNetwork) else problem.compiled
    horizon, finite = budget.warm_up + budget.periods, False
    if not isinstance(problem, CompiledNetwork) and problem.finite:
        horizon, finite = problem.horizon, True
    rule = load_class(baseline(policy).path)
    reason = rule.unfit(compiled)
    if reason is not None:
        raise ConfigError(f"the policy '{policy}' does not fit the network '{compiled.network.name}': {reason}")
    task = acting_task(compiled, policy, horizon=horizon, finite=finite)
    space: ParameterSpace = rule.space(task)
    if len(space) == 0:
        return TunedPolicy(policy, np.zeros(0), None, None, 0)
    world = world_seed(Purpose.TUNING, seed)
    path = used = 0

    def evaluate(candidates: FloatArray, paths: int) -> FloatArray:
        nonlocal path, used
        cost = simulated_cost(
            task if finite else compiled,
            policy,
            candidates,
            seed=world,
            first_path=path,
            paths=paths,
            warm_up=budget.warm_up,
            periods=budget.periods,
        )
        used += len(candidates) * paths * horizon
        path += paths
        return cost

    def means(candidates: FloatArray) -> FloatArray:
        return np.asarray(evaluate(candidates, budget.paths).mean(axis=1))

    search = _chosen if space.choice.any() else _searched
    field = search(space, means, budget, [world], policy, progress)
    winner, costs = _halved(field, evaluate, 4 * budget.paths, 64 * budget.paths)
    error = float(costs.std(ddof=1) / np.sqrt(len(costs)))
    return TunedPolicy(policy, winner, float(costs.mean()), error, used)


def _searched(
    space: ParameterSpace,
    means: Callable[[FloatArray], FloatArray],
    budget: TuningBudget,
    seed: list[int],
    policy: str,
    progress: Callable[[int, int, float], None] | None,
) -> FloatArray:
    """Finalists, shape (finalists, P), of the search that fits the number of parameters."""
    if len(space) == 0:
        return np.zeros((1, 0))
    if len(space) == 1:
        return line(space)
    if len(space) == 2 and policy not in FUSED:
        return refined_grid(space, means, progress)
    return _evolved(space, means, budget, seed, progress)


def _chosen(
    space: ParameterSpace,
    means: Callable[[FloatArray], FloatArray],
    budget: TuningBudget,
    seed: list[int],
    policy: str,
    progress: Callable[[int, int, float], None] | None,
) -> FloatArray:
    """Finalists of a search of its own for each combination of what has to be chosen, shape (finalists, P)."""
    ways = [range(int(low), int(high) + 1) for low, high in zip(space.low, space.high, strict=True)]
    combinations = list(itertools.product(*itertools.compress(ways, space.choice)))
    rest, kept, best = space.part(~space.choice), [], np.inf
    share = replace(budget, generations=-(-budget.generations // len(combinations)))
    for number, chosen in enumerate(combinations):

        def whole(values: FloatArray, chosen: tuple[int, ...] = chosen) -> FloatArray:
            out = np.empty((len(values), len(space)))
            out[:, space.choice], out[:, ~space.choice] = chosen, values
            return out

        def reported(done: int, of: int, cost: float, number: int = number) -> None:
            nonlocal best
            best = min(best, cost)
            if progress is not None:
                progress(number * of + done, len(combinations) * of, best)

        def cost(values: FloatArray, whole: Callable[[FloatArray], FloatArray] = whole) -> FloatArray:
            return means(whole(values))

        kept.append(whole(_searched(rest, cost, share, [*seed, number], policy, reported)))
    return np.concatenate(kept)


def _evolved(
    space: ParameterSpace,
    means: Callable[[FloatArray], FloatArray],
    budget: TuningBudget,
    seed: list[int],
    progress: Callable[[int, int, float], None] | None,
) -> FloatArray:
    """Finalists of a search by CMA-ES, shape (finalists, P)."""
    finalists, best, total = [space.start], np.inf, budget.restarts * budget.generations
    for restart in range(budget.restarts):
        search = Evolution(space, [*seed, restart], budget.candidates)
        for generation in range(budget.generations):
            # Whole-unit networks are searched on whole numbers: neighbours that round alike would look different by
            # luck.
            sample = search.ask()
            cost = means(sample)
            search.tell(cost)
            best = min(best, float(cost.min()))
            # The later centres of the search, and now and then a generation's best, meet again in the final.
            if generation >= budget.generations // 2 and generation % 4 == 0:
                finalists += [search.favourite, sample[np.argmin(cost)]]
            if progress is not None:
                progress(restart * budget.generations + generation + 1, total, best)
        finalists.append(search.favourite)
    return space.rounded(np.stack(finalists))


def _halved(
    field: FloatArray, evaluate: Callable[[FloatArray, int], FloatArray], paths: int, most: int
) -> tuple[FloatArray, FloatArray]:
    """The winner (P,) of successive halving, and its costs on the paths of the last round."""
    field = np.unique(field, axis=0)
    while True:
        costs = evaluate(field, paths)
        order = np.argsort(costs.mean(axis=1), kind="stable")
        if len(field) <= 2:
            return field[order[0]], costs[order[0]]
        field, paths = field[order[: (len(field) + 1) // 2]], min(2 * paths, most)
