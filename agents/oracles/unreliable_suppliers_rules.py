"""Simple rules for sourcing from suppliers that fail, as functions from states and statuses to orders, and their best
parameters.

The problem is that of :mod:`agents.oracles.unreliable_suppliers`. Levels of express orders are compared with the stock,
those of regular orders with stock plus all that is due; an order to a supplier that is down counts as nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from agents.oracles.chain import Best
from agents.oracles.problem import IntArray
from agents.oracles.unreliable_suppliers import ALWAYS_UP, BoolArray, SourcingPolicy, UnreliableSuppliers, evaluate
from agents.oracles.unreliable_suppliers_dp import optimum
from twin.errors import ConfigError

__all__ = [
    "best_cheapest_up",
    "best_dual_index",
    "best_single_source",
    "best_switching",
    "best_tailored_base_surge",
    "cheapest_up",
    "dual_index",
    "switching",
    "tailored_base_surge",
]

#: Costs closer than this are equal: twice the tolerance of an evaluation.
TIE = 2e-6


def cheapest_up(level: int, level_down: int) -> SourcingPolicy:
    """Order from the regular supplier up to ``level`` while it is up, else from the express one to ``level_down``.

    Both look at stock plus all that is due.
    """

    def policy(states: IntArray, up: BoolArray) -> IntArray:
        position = states.sum(axis=1)
        regular = np.maximum(level - position, 0)
        express = np.maximum(level_down - position, 0)
        return np.stack([np.where(up[:, 0], regular, 0), np.where(up[:, 0], 0, express)], axis=1)

    return policy


def dual_index(express_level: int, regular_level: int) -> SourcingPolicy:
    """Express raises the stock to its level, regular stock plus all that is due to its own; whoever is up."""
    return switching(express_level, express_level, regular_level)


def switching(express_level: int, express_level_down: int, regular_level: int) -> SourcingPolicy:
    """Dual index whose express level is another one while the regular supplier is down."""

    def policy(states: IntArray, up: BoolArray) -> IntArray:
        wanted = np.where(up[:, 0], express_level, express_level_down) - states[:, 0]
        express = np.where(up[:, 1], np.maximum(wanted, 0), 0)
        regular = np.maximum(regular_level - states.sum(axis=1) - express, 0)
        return np.stack([np.where(up[:, 0], regular, 0), express], axis=1)

    return policy


def tailored_base_surge(express_level: int, quantity: int) -> SourcingPolicy:
    """A regular order of ``quantity`` whenever that supplier is up; express raises the stock to its level."""

    def policy(states: IntArray, up: BoolArray) -> IntArray:
        express = np.maximum(express_level - states[:, 0], 0)
        return np.stack([np.where(up[:, 0], quantity, 0), express], axis=1)

    return policy


def best_single_source(problem: UnreliableSuppliers, source: str) -> Best:
    """Best level of one supplier alone, "regular" or "express"; base-stock is optimal then (Song & Zipkin 1996)."""
    if source == "regular":
        alone = replace(problem, express_price=None, express=ALWAYS_UP)
    elif source == "express" and problem.express_price is not None:
        alone = replace(
            problem,
            lead_time=0,
            regular=problem.express,
            price=problem.express_price,
            express_price=None,
            express=ALWAYS_UP,
        )
    else:
        raise ConfigError(f"no supplier called {source!r} in this problem")
    found = optimum(alone)
    empty = np.zeros((1, max(alone.lead_time, 1)), dtype=np.int64)
    return Best({"level": int(found.policy(empty, alone.statuses[:1])[0, 0])}, found.cost)


def best_cheapest_up(problem: UnreliableSuppliers) -> Best:
    """Best parameters of :func:`cheapest_up`."""
    covered = problem.reliable.newsvendor_level(problem.lead_time + 1)
    return _best(problem, cheapest_up, [{"level": covered, "level_down": covered}])


def best_dual_index(problem: UnreliableSuppliers) -> Best:
    """Best parameters of :func:`dual_index`."""
    return _best(problem, dual_index, [_first_levels(problem)])


def best_switching(problem: UnreliableSuppliers) -> Best:
    """Best parameters of :func:`switching`."""
    levels = _first_levels(problem)
    never = -problem.reliable.newsvendor_level(problem.lead_time + 2)
    # Where an express level is so low that it is never used its neighbours are as good, so that one start would not do.
    starts = itertools.product((levels["express_level"], never), repeat=2)
    return _best(
        problem,
        switching,
        [
            {"express_level": first, "express_level_down": second, "regular_level": levels["regular_level"]}
            for first, second in starts
        ],
    )


def best_tailored_base_surge(problem: UnreliableSuppliers) -> Best:
    """Best parameters of :func:`tailored_base_surge`, with a quantity whose flow stays below the mean demand."""
    most, level = problem.demand.mean_value / problem.regular.up_share, problem.reliable.newsvendor_level(1)
    found = []
    for quantity in range(math.ceil(most)):
        family = partial(tailored_base_surge, quantity=quantity)
        best = _best(problem, family, [{"express_level": level}])
        found.append(Best({**best.parameters, "quantity": quantity}, best.cost))
    return min(found, key=lambda best: best.cost)


def _first_levels(problem: UnreliableSuppliers) -> dict[str, int]:
    reliable = problem.reliable
    return {
        "express_level": reliable.newsvendor_level(1),
        "regular_level": reliable.newsvendor_level(problem.lead_time + 1),
    }


def _best(problem: UnreliableSuppliers, family: Callable[..., SourcingPolicy], starts: list[dict[str, int]]) -> Best:
    """From each start downhill to parameters that no neighbour beats: all that differ by at most one in each.

    Longer strides come first, so that a small dent in the cost holds nothing up.
    """
    names = tuple(starts[0])
    known: dict[tuple[int, ...], float] = {}

    def cost(numbers: tuple[int, ...]) -> float:
        if numbers not in known:
            known[numbers] = evaluate(problem, family(**dict(zip(names, numbers, strict=True))), tolerance=TIE / 2).cost
        return known[numbers]

    for start in starts:
        best = tuple(start.values())
        for stride in (8, 4, 2, 1):
            steps = [stride * np.array(step) for step in itertools.product((-1, 0, 1), repeat=len(names))]
            while True:
                least = min((tuple((best + step).tolist()) for step in steps), key=cost)
                if cost(least) > cost(best) - TIE:
                    break
                best = least
    cheapest = min(known, key=lambda numbers: known[numbers])
    return Best(dict(zip(names, cheapest, strict=True)), known[cheapest])
