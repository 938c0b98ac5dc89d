"""The optimal policy and its average cost, by dynamic programming over a box of states.

Modified policy iteration (Puterman 1994, Markov Decision Processes, section 8.7): a step of value iteration T over all
orders, then cheap steps over the orders it chose. For any vector v the optimal average cost lies between the smallest
and the largest entry of T v - v (Odoni 1969, Operations Research 17(5)), so the bounds hold however v was found.

The box. With lost sales and no fixed cost it is that of Zipkin (2008), Operations Research 56(5):1256-1263: what has
arrived after l periods or is due later stays within the newsvendor level of lead time + 1 - l periods, for every l, and
an order within that of one period. No optimal order leaves this box, so the bounds are bounds of the problem itself,
and the number of states is the one Zipkin prints. In the other problems a box is guessed and widened until the policy
found in it keeps clear of its edges; there the bounds hold for orders within the box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.oracles.chain import reachable
from agents.oracles.problem import IntArray, Problem
from twin.errors import ActionError, ConfigError

__all__ = ["Optimum", "OrderTable", "check_tolerance", "optimum", "widened_until_kept"]

PolicyTable = TypeVar("PolicyTable")
BoxType = TypeVar("BoxType")

#: Numbers that a table over a box may have; four tables take 24 bytes for each.
MOST_NUMBERS = 30_000_000
#: Steps over all orders before giving up, and steps over the chosen orders after each.
MOST_ROUNDS, SWEEPS = 2000, 15
#: Step of an iteration: below 1, so that periodic chains converge too.
STEP = 0.95


@dataclass(frozen=True)
class Box:
    """Which states and orders are looked at.

    Attributes
    ----------
    least
        Smallest stock that demand may meet (after an express order); 0 with lost sales.
    top
        Largest sum of stock, what is due, and what is ordered.
    most
        Largest (regular) order.
    due_limits
        Largest sums of what is due from the first, the second, ... coming period on; shape (lead_time - 1,).
    """

    least: int
    top: int
    most: int
    due_limits: tuple[int, ...]

    def units_due(self) -> IntArray:
        """Sum of what is due in each row of a table; ``top - least + 1`` in rows that are outside the box."""
        due, allowed = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_)
        # From the last receipt to the first, which is the most significant digit of the row number.
        for limit in reversed(self.due_limits):
            due = np.add.outer(np.arange(self.most + 1), due).ravel()
            allowed = np.tile(allowed, self.most + 1) & (due <= limit)
        return np.where(allowed & (due <= self.top - self.least), due, self.top - self.least + 1)


@dataclass(frozen=True)
class OrderTable:
    """A policy as a table, to be called with states like any other.

    Attributes
    ----------
    regular, level
        Units to order, and stock after the express order, shape (pipelines, stocks). A row is what is due, first due
        most significant, in base ``most + 1``; a column is the stock, from ``low``. Orders are -1 outside the box.
    low, top, most
        Smallest stock, largest sum of a state, largest order in the table.
    express
        True when there is an express source.
    """

    regular: NDArray[np.int32]
    level: NDArray[np.int32]
    low: int
    top: int
    most: int
    express: bool

    def __call__(self, states: IntArray) -> IntArray:
        """Orders in states (n, lead_time): (n,), or (n, 2) as regular, express.

        Raises
        ------
        twin.errors.ActionError
            If a state is outside the table.
        """
        states = np.asarray(states, dtype=np.int64)
        due = states[:, 1:]
        inside = (states[:, 0] >= self.low) & (states.sum(1) <= self.top) & ((due >= 0) & (due <= self.most)).all(1)
        row = np.zeros(len(states), dtype=np.int64)
        for units in due.T:
            row = row * (self.most + 1) + units
        place = np.where(inside, row, 0), np.where(inside, states[:, 0] - self.low, 0)
        regular = self.regular[place].astype(np.int64)
        outside = ~inside | (regular < 0)
        if outside.any():
            raise ActionError(
                f"state {states[outside][0].tolist()} is outside the table: stock at least {self.low}, each receipt "
                f"due within 0..{self.most}, together at most {self.top}, or less for what is due"
            )
        return np.stack([regular, self.level[place] - states[:, 0]], axis=1) if self.express else regular


@dataclass(frozen=True)
class Optimum(Generic[PolicyTable]):
    """The optimal average cost per period.

    Attributes
    ----------
    cost
        Middle of the bounds.
    lower, upper
        Bounds on it, exact up to rounding; ``upper`` is also an upper bound on the cost of ``policy``.
    policy
        A policy whose cost is within the bounds.
    states
        Number of states in the box.
    """

    cost: float
    lower: float
    upper: float
    policy: PolicyTable
    states: int


def check_tolerance(tolerance: float) -> None:
    """Refuse a largest distance of the bounds that none can have.

    Raises
    ------
    twin.errors.ConfigError
        If it is not above 0.
    """
    if not tolerance > 0.0:
        raise ConfigError(f"tolerance must be above 0, received {tolerance}")


def widened_until_kept(
    box: BoxType,
    solve: Callable[[BoxType], Optimum[PolicyTable]],
    widened: Callable[[BoxType, Optimum[PolicyTable]], BoxType],
) -> Optimum[PolicyTable]:
    """The optimum in the first box, from ``box`` on, that ``widened`` keeps as it is."""
    while True:
        found = solve(box)
        wider = widened(box, found)
        if wider == box:
            return found
        box = wider


def optimum(problem: Problem, tolerance: float = 1e-6) -> Optimum[OrderTable]:
    """Solve a problem exactly.

    Parameters
    ----------
    problem
        See :func:`agents.oracles.problem.lost_sales` and :func:`agents.oracles.problem.dual_sourcing`.
    tolerance
        Largest distance of the bounds.

    Raises
    ------
    twin.errors.ConfigError
        If the problem has too many states, or the bounds do not meet within the tolerance.
    """
    check_tolerance(tolerance)
    return widened_until_kept(
        _first_box(problem),
        lambda box: _solve(problem, box, tolerance),
        lambda box, found: _widened(problem, box, found.policy),
    )


def _first_box(problem: Problem) -> Box:
    levels = problem.vector_levels().tolist()
    top, most = levels[0], levels[-1]
    if _bounded(problem):
        return Box(0, top, most, tuple(levels[1:-1]))
    # Where orders come in batches, a batch on top: Harris's economic order quantity.
    mean = float(problem.probabilities @ np.arange(len(problem.probabilities)))
    batch = math.ceil(math.sqrt(2.0 * problem.fixed_cost * mean / problem.holding))
    return Box(0, top + batch, most + 2 * batch, (top + batch,) * (problem.lead_time - 1))


def _bounded(problem: Problem) -> bool:
    """Whether the newsvendor levels are known to bound the optimal orders."""
    return problem.lost and not problem.fixed_cost


def _widened(problem: Problem, box: Box, policy: OrderTable) -> Box:
    """The same box when it is known to be wide enough, else a wider one."""
    if _bounded(problem):
        return box
    chain = reachable(problem, policy)
    level = chain.states[:, 0] + chain.express
    position = level + chain.states[:, 1:].sum(1) + chain.regular
    ordered = (chain.regular > 0) | (chain.express > 0)
    least, top, most = box.least, box.top, box.most
    if ((chain.express > 0) & (level == least)).any():
        least -= 1 + len(problem.probabilities) // 2
    if (ordered & (position == top)).any():
        top += 1 + top // 4
    if (chain.regular == most).any():
        most += 1 + most // 4
    # What is due may be as much as the position allows, with a backlog even more than the largest level.
    return Box(least, top, most, (top - least,) * (problem.lead_time - 1))


def _solve(problem: Problem, box: Box, tolerance: float) -> Optimum[OrderTable]:
    demand = problem.probabilities
    low = box.least if problem.lost else box.least - (len(demand) - 1)
    shape = ((box.most + 1) ** (problem.lead_time - 1), box.top - low + 1)
    if math.prod(shape) > MOST_NUMBERS:
        raise ConfigError(
            f"an exact solution needs a table of {shape[0]} x {shape[1]} numbers, more than {MOST_NUMBERS}: shorten "
            f"the lead time ({problem.lead_time}) or measure demand in larger units"
        )
    due, sizes = box.units_due(), np.arange(box.most + 1)
    model = (
        due,
        problem.period_cost(np.arange(box.least, box.top + 1)),
        problem.price * sizes + problem.fixed_cost * (sizes > 0),
        problem.express_price or 0.0,
        problem.lost,
        demand,
        np.array([demand[stock:].sum() for stock in range(max(box.top, 0) + 1)]),
        low,
        box.least,
        box.top,
        box.most,
    )
    value, new = np.zeros(shape), np.zeros(shape)
    regular, level = np.full(shape, -1, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
    backwards = demand[::-1].copy()
    for _ in range(MOST_ROUNDS):
        lower, upper = _improve(value, new, regular, level, *model)
        if upper - lower <= tolerance:
            break
        new -= new[0, box.least - low]
        value, new = new, value
        for _ in range(SWEEPS):
            _follow(value, new, regular, level, *model, backwards, STEP)
            value, new = new, value
    else:
        raise ConfigError(
            f"the optimal average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the "
            f"tolerance {tolerance:g} is below rounding, or the problem mixes too slowly"
        )
    policy = OrderTable(regular, level, low, box.top, box.most, express=not problem.lost)
    return Optimum((lower + upper) / 2, lower, upper, policy, int((regular >= 0).sum()))


@njit(cache=True, fastmath={"contract"})
def _improve(  # type: ignore[no-untyped-def]
    value, new, regular, level, due, stage, ordering, express, lost, demand, tail, low, least, top, most
):
    """One step of value iteration over all orders; the smallest and the largest change."""
    rows = len(due)
    block = max(rows // (most + 1), 1)  # Rows that agree on the first receipt.
    best, total = np.empty(top - least + 1), np.empty(top - least + 1)
    order = np.empty(top - least + 1, dtype=np.int32)
    lower, upper = np.inf, -np.inf
    for j in range(rows):
        n = top - due[j] - least + 1  # Levels after an express order: least, least + 1, ...
        if n <= 0:
            continue
        best[:n] = np.inf
        for r in range(min(most, n - 1) + 1):
            following = j % block * (most + 1) + r if rows > 1 else 0
            receipt = j // block if rows > 1 else r
            if due[following] > top - least:
                continue
            row, fit = value[following], n - r
            total[:fit] = ordering[r]
            for d in range(len(demand)):
                shift = least - low - d + receipt
                for i in range(d + 1 if lost else 0, fit):
                    total[i] += demand[d] * row[i + shift]
            for i in range(fit):
                if lost:
                    total[i] += tail[i] * row[receipt]
                if total[i] < best[i]:
                    best[i] = total[i]
                    order[i] = r
        # With an express source the level may be raised, to the cheapest at or above: from the top down.
        cheapest, chosen = np.inf, n - 1
        for i in range(n - 1, -1, -1):
            cost = best[i] + stage[i] + express * (least + i)
            if lost or cost <= cheapest:
                cheapest, chosen = cost, i
            k = least - low + i
            new[j, k], regular[j, k], level[j, k] = cheapest - express * (least + i), order[chosen], least + chosen
        for k in range(least - low):
            new[j, k], regular[j, k], level[j, k] = cheapest - express * (low + k), order[chosen], least + chosen
        for k in range(least - low + n):
            change = new[j, k] - value[j, k]
            lower, upper = min(lower, change), max(upper, change)
    return lower, upper


@njit(cache=True, fastmath={"reassoc", "contract"})
def _follow(  # type: ignore[no-untyped-def]
    value,
    new,
    regular,
    level,
    due,
    stage,
    ordering,
    express,
    lost,
    demand,
    tail,
    low,
    least,
    top,
    most,
    backwards,
    step,
):
    """One step of value iteration over the chosen orders."""
    rows, values = len(due), len(demand)
    block = max(rows // (most + 1), 1)
    for j in range(rows):
        if due[j] > top - least:
            continue
        for k in range(top - due[j] - low + 1):
            r, u = regular[j, k], level[j, k]
            row = value[j % block * (most + 1) + r] if rows > 1 else value[0]
            receipt = j // block if rows > 1 else r
            total = ordering[r] + stage[u - least] + express * (u - low - k)
            # Backwards through demand is forwards through stock: from the largest demand, or the one that leaves 1.
            start = u - (values - 1) + receipt - low
            for i in range(max(values - u, 0) if lost else 0, values):
                total += backwards[i] * row[start + i]
            if lost:
                total += tail[u] * row[receipt]
            new[j, k] = value[j, k] + step * (total - value[j, k])
