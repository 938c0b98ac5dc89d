"""Classical policies of the dual-sourcing problem, as functions from states to orders, and their best parameters.

Veeraraghavan & Scheller-Wolf (2008), Operations Research 56(4):850-864 (dual index); Scheller-Wolf, Veeraraghavan &
van Houtum (2007), working paper (single index); Sun & Van Mieghem (2019), M&SOM 21(4) (capped dual index); Allon &
Van Mieghem (2010), Management Science 56(1) (tailored base-surge). Levels are in units of express position, which is
the stock here, because express orders arrive at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from agents.oracles.chain import Best, Evaluation, best_whole, evaluate, evaluate_unbounded
from agents.oracles.problem import IntArray, Policy, Problem

__all__ = [
    "best_capped_dual_index",
    "best_dual_index",
    "best_single_index",
    "best_tailored_base_surge",
    "dual_index",
    "single_index",
    "tailored_base_surge",
]


def single_index(express_level: int, difference: int) -> Policy:
    """Both orders look at stock plus all that is due: express up to one level, regular up to ``difference`` more."""

    def policy(states: IntArray) -> IntArray:
        express = np.maximum(express_level - states.sum(1), 0)
        regular = np.maximum(express_level + difference - states.sum(1) - express, 0)
        return np.stack([regular, express], axis=1)

    return policy


def dual_index(express_level: int, difference: int, most: int | None = None) -> Policy:
    """Express raises the stock to its level, regular stock plus all that is due to ``difference`` more.

    With ``most``, a regular order is no larger (capped dual index).
    """

    def policy(states: IntArray) -> IntArray:
        express = np.maximum(express_level - states[:, 0], 0)
        regular = np.clip(express_level + difference - states.sum(1) - express, 0, most)
        return np.stack([regular, express], axis=1)

    return policy


def tailored_base_surge(express_level: int, quantity: int) -> Policy:
    """A regular order of ``quantity`` every period; express raises the stock to its level."""

    def policy(states: IntArray) -> IntArray:
        express = np.maximum(express_level - states[:, 0], 0)
        return np.stack([np.full(len(states), quantity), express], axis=1)

    return policy


def best_single_index(problem: Problem) -> Best:
    """Best parameters of :func:`single_index`."""
    return _best(problem, single_index, [{"difference": number} for number in _differences(problem)])


def best_dual_index(problem: Problem) -> Best:
    """Best parameters of :func:`dual_index` without a cap."""
    return _best(problem, dual_index, [{"difference": number} for number in _differences(problem)])


def best_capped_dual_index(problem: Problem) -> Best:
    """Best parameters of :func:`dual_index` with a cap, up to the newsvendor level of one period."""
    caps = range(1, problem.newsvendor_level(1) + 1)
    return _best(
        problem,
        dual_index,
        [{"difference": number, "most": most} for number in _differences(problem) for most in caps],
    )


def best_tailored_base_surge(problem: Problem) -> Best:
    """Best parameters of :func:`tailored_base_surge`, with a quantity below the mean demand."""
    quantities = range(math.ceil(problem.demand.mean_value))
    return _best(problem, tailored_base_surge, [{"quantity": number} for number in quantities], evaluate_unbounded)


def _differences(problem: Problem) -> range:
    return range(problem.newsvendor_level(problem.lead_time + 1) + 1)


def _best(
    problem: Problem,
    family: Callable[..., Policy],
    grid: list[dict[str, int]],
    score: Callable[..., Evaluation] = evaluate,
) -> Best:
    """All of a grid, each with its best express level.

    A level shifts the stock that demand meets and changes nothing else, so the cost is convex in it.
    """
    best, level = Best({}, math.inf), problem.newsvendor_level(1)
    for parameters in grid:

        def cost(number: int, parameters: dict[str, int] = parameters) -> float:
            return score(problem, family(number, **parameters), tolerance=1e-6).cost

        level, least = best_whole(cost, level)
        # A difference below rounding is none: the first of equals is kept.
        if least < best.cost - 2e-6:
            best = Best({"express_level": level, **parameters}, least)
    return best
