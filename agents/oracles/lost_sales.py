"""Classical policies of the lost-sales problem, as functions from states to orders, and their best parameters.

Zipkin (2008), "Old and new methods for lost-sales inventory systems", Operations Research 56(5):1256-1263; with a
fixed cost per order Bijvank, Bhulai & Huh (2015), European Journal of Operational Research 241(2):381-390.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agents.oracles.chain import Best, best_whole, evaluate, evaluate_unbounded
from agents.oracles.problem import FloatArray, IntArray, Policy, Problem

__all__ = [
    "base_stock",
    "best_base_stock",
    "best_constant_order",
    "constant_order",
    "myopic",
    "reorder_multiple",
    "reorder_up_to",
    "vector_base_stock",
]


def base_stock(level: int, most: int | None = None) -> Policy:
    """Order up to ``level``, but no more than ``most`` (capped base stock)."""
    return lambda states: np.clip(level - states.sum(1), 0, most)


def constant_order(quantity: int) -> Policy:
    """Order ``quantity`` every period."""
    return lambda states: np.full(len(states), quantity)


def reorder_up_to(reorder: int, level: int, most: int | None = None) -> Policy:
    """(s, S), and with ``most`` the modified (s, S, q): at position s or below, order up to S, but no more than q."""

    def policy(states: IntArray) -> IntArray:
        position = states.sum(1)
        return np.where(position <= reorder, np.clip(level - position, 0, most), 0)

    return policy


def reorder_multiple(reorder: int, batch: int) -> Policy:
    """(s, nQ): at position s or below, the fewest batches of Q that raise the position above s."""
    return lambda states: np.maximum(-((states.sum(1) - reorder - 1) // batch), 0) * batch


def vector_base_stock(levels: Sequence[int] | IntArray) -> Policy:
    """Order so much that what has arrived after l periods or is due later reaches, but does not exceed, any level l.

    Zipkin's standard vector base-stock policy has the levels :meth:`agents.oracles.problem.Problem.vector_levels`,
    shape (lead_time + 1,); the optimal order is never above its.
    """
    given = np.asarray(levels, dtype=np.int64)

    def policy(states: IntArray) -> IntArray:
        later = np.cumsum(states[:, ::-1], axis=1)[:, ::-1]
        room: IntArray = (given[:-1] - later).min(1)
        return np.clip(room, 0, given[-1])

    return policy


def myopic(problem: Problem, periods: int = 1) -> Policy:
    """The order that minimises the expected cost of the first period that it can change, or of the first two, ...

    Those periods lie ``lead_time``, ``lead_time + 1``, ... ahead; later orders are chosen in the same way for what
    remains. Zipkin's "myopic" and "myopic 2" have 1 and 2 periods.
    """
    return lambda states: _costs_at_arrival(problem, states, periods).argmin(1)


def _costs_at_arrival(problem: Problem, states: IntArray, periods: int) -> FloatArray:
    """Expected cost of the first ``periods`` periods that an order changes; shape (n, orders)."""
    orders = range(problem.newsvendor_level(1) + 1)
    law = _stock_at_arrival(problem, states)
    stage = problem.period_cost(np.arange(law.shape[1] + len(orders)))
    cost = np.stack([law @ stage[order : order + law.shape[1]] for order in orders], axis=1)
    if periods == 1:
        return cost
    demand = problem.probabilities
    at_least = np.cumsum(demand[::-1])[::-1]
    for order in orders:
        following = np.column_stack([states, np.full(len(states), order)])[:, 1:]
        for left in range(int(states[:, 0].max()) + 1):
            # What is left by the demand that uses up the rest; nothing is left by any larger demand either.
            used = states[:, 0] - left
            rows = (used >= 0) & (used < len(demand))
            if rows.any():
                weight = (at_least if left == 0 else demand)[used[rows]]
                reached = following[rows]
                reached[:, 0] += left
                cost[rows, order] += weight * _costs_at_arrival(problem, reached, periods - 1).min(1)
    return cost


def _stock_at_arrival(problem: Problem, states: IntArray) -> FloatArray:
    """Law of the stock when an order placed now arrives, that order left out; shape (n, largest position + 1)."""
    demand, width = problem.probabilities, int(states.sum(1).max()) + 1
    law = np.zeros((len(states), width))
    law[np.arange(len(states)), states[:, 0]] = 1.0
    for due in np.column_stack([states[:, 1:], np.zeros(len(states), dtype=np.int64)]).T:
        left = np.zeros_like(law)
        for d in range(min(len(demand), width)):
            left[:, : width - d] += demand[d] * law[:, d:]
        left[:, 0] += 1.0 - left.sum(1)
        for units in np.unique(due):
            rows = due == units
            law[rows] = 0.0
            law[rows, units:] = left[rows, : width - units]
    return law


def best_base_stock(problem: Problem) -> Best:
    """Best level of :func:`base_stock`, on the exact cost, which is convex in the level.

    Downs, Metters & Semple (2001), Management Science 47(3); Janakiraman & Roundy (2004), Operations Research 52(5).
    """

    def cost(level: int) -> float:
        return evaluate(problem, base_stock(level), tolerance=1e-6).cost

    # Lost sales need less stock than a backlog would; one period less of it is a start close by.
    level, least = best_whole(cost, problem.newsvendor_level(problem.lead_time))
    return Best({"level": level}, least)


def best_constant_order(problem: Problem) -> Best:
    """Best quantity of :func:`constant_order` below the mean demand; the cost is the same for every lead time."""
    costs = [
        evaluate_unbounded(problem, constant_order(quantity)).cost
        for quantity in range(math.ceil(problem.demand.mean_value))
    ]
    quantity = int(np.argmin(costs))
    return Best({"quantity": quantity}, costs[quantity])
