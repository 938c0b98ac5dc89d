"""The optimal orders and allocation of one warehouse and two retailers, by dynamic programming.

The problem is that of :mod:`agents.oracles.one_warehouse`. Value iteration with the bounds of Odoni (1969), Operations
Research 17(5), over a box of states that is guessed and widened until the policy found in it keeps clear of its edges;
the bounds hold for orders within the box. Once stock is allocated a retailer's demand is its own affair, so that the
expectation over both is two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.oracles.dp import Optimum, check_tolerance, widened_until_kept
from agents.oracles.one_warehouse import OneWarehouse, Retailer, explored, unpacked
from twin.errors import ActionError, ConfigError

__all__ = ["AllocationTable", "optimum"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Numbers in the table of expected values, 8 bytes each, and allocations compared in a step: under a second a step.
MOST_NUMBERS, MOST_CHOICES = 30_000_000, 300_000_000
#: Steps before giving up; their length is below 1, so that periodic chains converge too.
MOST_STEPS, STEP = 20_000, 0.95
#: Values closer than this are equal, and the smaller order is taken.
TIE = 1e-10


class Box(NamedTuple):
    """Which states are looked at: stocks of warehouse, first and second retailer from ``low`` to ``top``."""

    low: tuple[int, int, int]
    top: tuple[int, int, int]


@dataclass(frozen=True)
class AllocationTable:
    """A policy as a table, to be called with states like any other.

    Attributes
    ----------
    orders
        Units on the three arcs, shape (stocks of the warehouse, of the first, of the second retailer, 3).
    low
        Smallest stocks in the table, (3,).
    """

    orders: IntArray
    low: tuple[int, int, int]

    def __call__(self, states: IntArray) -> IntArray:
        """Orders (n, 3) in states (n, 3).

        Raises
        ------
        ActionError
            If a state is outside the table.
        """
        place = np.asarray(states, dtype=np.int64) - self.low
        outside = ((place < 0) | (place >= self.orders.shape[:3])).any(axis=1)
        if outside.any():
            top = [low + size - 1 for low, size in zip(self.low, self.orders.shape, strict=False)]
            raise ActionError(
                f"state {np.asarray(states)[outside][0].tolist()} is outside the table, whose stocks go from "
                f"{list(self.low)} to {top}"
            )
        return np.asarray(self.orders[tuple(place.T)])


def optimum(problem: OneWarehouse, tolerance: float = 1e-6) -> Optimum[AllocationTable]:
    """Solve a problem exactly.

    Parameters
    ----------
    problem
        What is decided.
    tolerance
        Largest distance of the bounds.

    Returns
    -------
    Optimum
        Its policy is for every state that it reaches from an empty system.

    Raises
    ------
    ConfigError
        If the problem has too many states, or the bounds do not meet within the tolerance.
    """
    check_tolerance(tolerance)
    return widened_until_kept(
        _first_box(problem),
        lambda box: _solve(problem, box, tolerance),
        lambda box, found: _widened(problem, box, found.policy),
    )


# -- the box ---------------------------------------------------------------------------------------------------------


def _first_box(problem: OneWarehouse) -> Box:
    """Newsvendor levels of the periods that an order covers, and backlog of the lead times."""
    low, top = [0], [0]
    for retailer in problem.retailers:
        covered = retailer.lead_time + problem.lead_time + 1
        level = retailer.alone.newsvendor_level(covered)
        low.append(0 if problem.lost else level - covered * (len(retailer.alone.probabilities) - 1))
        top.append(level)
        top[0] += retailer.alone.newsvendor_level(problem.lead_time + 1)
    return Box((low[0], min(low[1], 0), min(low[2], 0)), (top[0], top[1], top[2]))


def _widened(problem: OneWarehouse, box: Box, policy: AllocationTable) -> Box:
    """The same box when it is known to be wide enough, else a wider one."""
    low, top = list(box.low), list(box.top)
    touched = np.zeros((2, 3), dtype=np.bool_)  # the lower and the upper edge

    def within(states: IntArray) -> IntArray:
        touched[0] |= (states < box.low).any(axis=0)
        return policy(np.maximum(states, box.low))

    for keys, shipped, _ in explored(problem, within):
        level = unpacked(keys) + shipped
        level[:, 0] -= shipped[:, 1] + shipped[:, 2]
        touched[1] |= ((shipped > 0) & (level >= box.top)).any(axis=0)
    for k in range(3):
        if touched[1, k]:
            top[k] += 1 + top[k] // 4
        if touched[0, k]:
            low[k] -= len(problem.retailers[k - 1].alone.probabilities) - 1
    return Box((low[0], low[1], low[2]), (top[0], top[1], top[2]))


# -- value iteration -------------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """One retailer's part. ``n`` stocks from the lowest on, ``m`` situations after allocation."""

    situation: IntArray  # (n, n) of a stock and an allocation; -1 beyond the box
    moves: FloatArray  # (m, n) probability of the next stock
    before: FloatArray  # (n,) cost that the allocation does not change
    after: FloatArray  # (m,) cost that it does


def _side(retailer: Retailer, low: int, top: int, lost: bool) -> _Side:
    n, demand = top - low + 1, retailer.alone.probabilities
    stock, units = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    inside = stock + units < n
    # Only where sales are lost does it matter later what was in stock and what was under way.
    apart = lost and retailer.lead_time == 1
    situation = np.where(inside, np.cumsum(inside).reshape(n, n) - 1 if apart else stock + units, -1)
    if apart:
        level, late = stock[inside], units[inside]
    else:
        level, late = np.arange(n), np.zeros(n, dtype=np.int64)
    moves = np.zeros((len(level), n))
    for d, chance in enumerate(demand):
        left = np.maximum(level - d, 0)  # backlog below the box is cut off, and never reached by the policy found
        np.add.at(moves, (np.arange(len(level)), left + late), chance)
    cost = retailer.alone.period_cost(np.arange(low, top + 1))
    if retailer.lead_time == 0:
        return _Side(situation, moves, np.zeros(n), cost)
    return _Side(situation, moves, cost, np.zeros(len(level)))


def _solve(problem: OneWarehouse, box: Box, tolerance: float) -> Optimum[AllocationTable]:
    sizes = [top - low + 1 for low, top in zip(box.low, box.top, strict=True)]
    situations = [
        size * (size + 1) // 2 if problem.lost and retailer.lead_time == 1 else size
        for size, retailer in zip(sizes[1:], problem.retailers, strict=True)
    ]
    numbers = sizes[0] * situations[0] * situations[1]
    choices = sizes[0] * sizes[1] * (sizes[1] + 1) * sizes[2] * (sizes[2] + 1) // 4
    if problem.lead_time == 1:  # no more is shared out than there is
        choices = min(choices, sizes[0] * (sizes[0] + 1) * (sizes[0] + 2) // 6 * sizes[1] * sizes[2])
    if numbers > MOST_NUMBERS or choices > MOST_CHOICES:
        raise ConfigError(
            f"an exact solution needs {sizes[0]} x {sizes[1]} x {sizes[2]} states, a table of {numbers} numbers "
            f"(at most {MOST_NUMBERS}) and {choices} allocations compared in a step (at most {MOST_CHOICES}): measure "
            "demand in larger units"
        )
    first, second = (_side(r, box.low[k], box.top[k], problem.lost) for k, r in enumerate(problem.retailers, start=1))
    stage = first.after[:, None] + second.after
    held = problem.holding * np.arange(sizes[0])
    value = np.zeros(sizes)
    new, chosen = np.empty(sizes), np.zeros((*sizes, 3), dtype=np.int64)
    for _ in range(MOST_STEPS):
        expected = np.matmul(np.matmul(first.moves, value), second.moves.T) + stage
        if problem.lead_time == 0:  # what the order leaves at the warehouse is charged now
            expected += held[:, None, None]
        cheapest = np.ascontiguousarray(np.minimum.accumulate(expected[::-1], axis=0)[::-1])
        charged = held if problem.lead_time == 1 else np.zeros_like(held)
        _allocate(new, chosen, expected, cheapest, charged, problem.lead_time == 0, first.situation, second.situation)
        new += first.before[:, None] + second.before
        change = new - value
        lower, upper = float(change.min()), float(change.max())
        if upper - lower <= tolerance:
            table = AllocationTable(chosen, box.low)
            return Optimum((lower + upper) / 2, lower, upper, table, new.size)
        value += STEP * change
        value -= value[0, -box.low[1], -box.low[2]]
    raise ConfigError(
        f"the optimal average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the tolerance "
        f"{tolerance:g} is below rounding, or the problem mixes too slowly"
    )


@njit(cache=True)
def _allocate(new, chosen, expected, cheapest, charged, at_once, first, second):  # type: ignore[no-untyped-def]
    """The cheapest allocation and order in every state; ``cheapest`` is ``expected`` at the best larger stock."""
    stocks, ones, twos = new.shape
    for w in range(stocks):
        for i in range(ones):
            for j in range(twos):
                best = np.inf
                for a in range(ones - i):
                    if a > w and not at_once:
                        break
                    for b in range(twos - j):
                        rest = w - a - b
                        if rest < 0 and not at_once:
                            break
                        least = max(rest, 0)
                        total = cheapest[least, first[i, a], second[j, b]] + charged[least]
                        if total < best - TIE:
                            best = total
                            chosen[w, i, j, 1], chosen[w, i, j, 2] = a, b
                new[w, i, j] = best
                a, b = chosen[w, i, j, 1], chosen[w, i, j, 2]
                rest = w - a - b
                after = max(rest, 0)
                one, two = first[i, a], second[j, b]
                goal = cheapest[after, one, two] + TIE
                while expected[after, one, two] > goal:
                    after += 1
                chosen[w, i, j, 0] = after - rest
