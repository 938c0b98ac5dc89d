"""Tuning the parameters of a classical policy by simulation in the kernel.

CMA-ES (Hansen & Ostermeier 2001, Evolutionary Computation 9(2); the ``cma`` package) proposes; the kernel evaluates all
candidates of a generation at once on the same paths (common random numbers), fresh ones every generation so that no
path is learned by heart. The finalists then meet on fresh paths in rounds that halve the field and double the paths
(successive halving, Karnin, Koren & Somekh 2013). All paths come from the tuning block of seeds. One-parameter policies
are searched on a grid instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.actions import make_codec
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

__all__ = ["TunedPolicy", "TuningBudget", "simulated_cost", "tune"]

FloatArray = NDArray[np.float64]
_POLICIES = ("base_stock", "constant")


@dataclass(frozen=True)
class TuningBudget:
    """How long and how widely to search.

    Attributes
    ----------
    restarts, generations, candidates
        Of the search: independent restarts, each of so many generations of candidates that are evaluated together.
    paths
        Paths per candidate and generation.
    warm_up, periods
        Periods run before counting, and counted.
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
        ``base_stock`` or ``constant``.
    parameters
        Levels or quantities, units, shape (A,).
    cost, standard_error
        Mean cost per period on the tuning paths of the last round. Optimistic, as every winner's is: report the cost
        on evaluation seeds instead.
    simulated_periods
        Network periods that the search ran.
    """

    policy: str
    parameters: FloatArray
    cost: float
    standard_error: float
    simulated_periods: int


def simulated_cost(
    compiled: CompiledNetwork,
    policy: str,
    candidates: FloatArray,
    *,
    seed: int,
    first_path: int,
    paths: int,
    warm_up: int,
    periods: int,
) -> FloatArray:
    """Cost per period of each candidate on each path; candidates share paths.

    Parameters
    ----------
    candidates
        Shape (N, A), units.
    seed
        World seed.
    first_path, paths
        Replica numbers ``first_path`` to ``first_path + paths - 1`` are used.

    Returns
    -------
    ndarray, shape (N, paths)
    """

    def run(part: FloatArray) -> FloatArray:
        number = len(part)
        replica = np.tile(np.arange(first_path, first_path + paths, dtype=np.uint32), number)
        twin = Twin(compiled)
        twin.state = twin.initial_state(np.full(number * paths, seed, dtype=np.uint64), replica)
        levels = np.repeat(part.T, paths, axis=1)
        result = twin.rollout(policy, levels, periods, warm_up=warm_up, repeat=number)
        return result.cost.reshape(number, paths)

    # The kernel releases the interpreter lock, so threads share the work.
    parts = [part for part in np.array_split(candidates, os.cpu_count() or 1) if len(part)]
    with ThreadPoolExecutor(len(parts)) as pool:
        return np.concatenate(list(pool.map(run, parts)))


def tune(
    compiled: CompiledNetwork,
    policy: str = "base_stock",
    *,
    seed: int = 0,
    budget: TuningBudget | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TunedPolicy:
    """Search the parameters of a policy that minimise its simulated cost.

    Parameters
    ----------
    policy
        ``base_stock`` (a level per arc) or ``constant`` (a quantity per arc).
    seed
        User seed within the tuning block.
    progress
        Called with (generation, generations, best mean cost so far).

    Raises
    ------
    ConfigError
        For an unknown policy or an impossible budget.
    """
    budget = budget or TuningBudget()
    if policy not in _POLICIES:
        raise ConfigError(f"no tunable policy '{policy}' (allowed: {', '.join(_POLICIES)})")
    world = world_seed(Purpose.TUNING, seed)
    mode, simulated = "base_stock" if policy == "base_stock" else "quantity", budget.warm_up + budget.periods
    codec = make_codec(compiled, mode, horizon=simulated)
    span = np.maximum(codec.high, 1.0)
    # A level far enough below 0 keeps an arc closed even when its stock point owes.
    low = -0.3 * span if policy == "base_stock" else np.zeros_like(span)
    # Whole-unit networks are searched on whole numbers: neighbours that round alike would look different by luck.
    integer = compiled.topology.arc_integer
    used, path = 0, 0

    def evaluate(candidates: FloatArray, paths: int) -> FloatArray:
        nonlocal used, path
        cost = simulated_cost(
            compiled,
            policy,
            candidates,
            seed=world,
            first_path=path,
            paths=paths,
            warm_up=budget.warm_up,
            periods=budget.periods,
        )
        used += len(candidates) * paths * (budget.warm_up + budget.periods)
        path += paths
        return cost

    if len(span) == 1:
        field = _rounded(np.linspace(low, span, 241), integer)
    else:
        finalists, best = [codec.center], np.inf
        for restart in range(budget.restarts):
            search = _Search(codec.center / span, low / span, [world, restart], budget.candidates)
            for generation in range(budget.generations):
                sample = _rounded(search.ask() * span, integer)
                cost = evaluate(sample, budget.paths).mean(axis=1)
                search.tell(cost)
                best = min(best, float(cost.min()))
                # The later centres of the search, and now and then a generation's best, meet again in the final.
                if generation >= budget.generations // 2 and generation % 4 == 0:
                    finalists += [search.favourite * span, sample[np.argmin(cost)]]
                if progress is not None:
                    progress(restart * budget.generations + generation + 1, budget.restarts * budget.generations, best)
            finalists.append(search.favourite * span)
        field = _rounded(np.stack(finalists), integer)

    field, paths = np.unique(field, axis=0), 4 * budget.paths
    while True:
        costs = evaluate(field, paths)
        order = np.argsort(costs.mean(axis=1), kind="stable")
        if len(field) <= 2:
            break
        field, paths = field[order[: (len(field) + 1) // 2]], min(2 * paths, 64 * budget.paths)
    winner = order[0]
    return TunedPolicy(
        policy,
        field[winner],
        float(costs[winner].mean()),
        float(costs[winner].std(ddof=1) / np.sqrt(costs.shape[1])),
        used,
    )


class _Search:
    """CMA-ES in units of the box, with a random generator of its own (the package would seed numpy's global one)."""

    def __init__(self, start: FloatArray, low: FloatArray, seed: list[int], candidates: int) -> None:
        import cma

        random = np.random.default_rng(seed)
        options = {
            "popsize": candidates,
            "bounds": [low.tolist(), [1.0] * len(start)],
            "randn": lambda *shape: random.standard_normal(shape),
            "seed": np.nan,
            "verbose": -9,
        }
        self._strategy = cma.CMAEvolutionStrategy(np.clip(start, low, 1.0), 0.15, options)
        self._asked: list[FloatArray] = []

    def ask(self) -> FloatArray:
        """Candidates, shape (N, A)."""
        self._asked = self._strategy.ask()
        return np.stack(self._asked)

    def tell(self, cost: FloatArray) -> None:
        """Costs of the candidates last asked for, shape (N,)."""
        self._strategy.tell(self._asked, cost.tolist())

    @property
    def favourite(self) -> FloatArray:
        """Centre of the search distribution, shape (A,)."""
        return np.asarray(self._strategy.result.xfavorite)


def _rounded(values: FloatArray, integer: NDArray[np.bool_]) -> FloatArray:
    return np.where(integer, np.round(values), values)
