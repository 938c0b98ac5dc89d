"""The optimal orders from suppliers that fail, by dynamic programming.

The problem is that of :mod:`agents.oracles.unreliable_suppliers`. Modified policy iteration with the bounds of Odoni
(1969), Operations Research 17(5), as in :mod:`agents.oracles.dp`, over a box of states that is guessed and widened
until the policy found in it keeps clear of its edges; the bounds hold for orders within the box.

Where nobody may deliver for long, backlog has no bound. What would fall below the box is then forgiven without charge,
and the box is deepened until that changes the cost by less than the tolerance: such an outage gets rarer geometrically.

With one supplier, or with two that deliver at once, one number beside the status is enough: stock and all that is due
together. Costs are then those of the period in which an order of now arrives (Song & Zipkin 1996, Management Science
42(10)); the cheapest supplier that is up raises it to a level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.oracles.dp import MOST_NUMBERS, MOST_ROUNDS, STEP, SWEEPS, Optimum, check_tolerance, widened_until_kept
from agents.oracles.problem import FloatArray, IntArray
from agents.oracles.unreliable_suppliers import BoolArray, UnreliableSuppliers, reached
from twin.errors import ActionError, ConfigError

__all__ = ["SourcingTable", "optimum"]


class Box(NamedTuple):
    """Which states and orders are looked at."""

    low: int  # smallest stock
    top: int  # largest sum of stock, what is due, and what is ordered
    most: int  # largest regular order


@dataclass(frozen=True)
class SourcingTable:
    """A policy as a table, to be called with states and who is up like any other.

    Attributes
    ----------
    problem
        What is decided.
    regular, level
        Units to order, and stock after the express order, shape (statuses, pipelines, stocks). A row is what is due,
        first due most significant, in base ``most + 1``; a column is the stock, from ``low``. Orders are -1 outside the
        box. Where one number is enough there is one row, a column is stock and all that is due together, and ``level``
        is what the cheapest supplier that is up raises it to.
    low, top, most
        Smallest stock, largest sum of a state, largest regular order in the table.
    """

    problem: UnreliableSuppliers
    regular: NDArray[np.int32]
    level: NDArray[np.int32]
    low: int
    top: int
    most: int

    def __call__(self, states: IntArray, up: BoolArray) -> IntArray:
        """Orders (n, 2) as regular, express in states (n, max(lead_time, 1)) when (n, 2) are up.

        Below the table, orders and levels are those of its lowest stock.

        Raises
        ------
        ActionError
            If a state is outside the table, or a status impossible.
        """
        states, up = np.asarray(states, dtype=np.int64), np.asarray(up, dtype=np.bool_)
        status = self.problem.status_rows(up)
        if _pooled(self.problem):
            states = states.sum(axis=1, keepdims=True)
        stock, due = np.maximum(states[:, 0], self.low), states[:, 1:]
        inside = (stock + due.sum(axis=1) <= self.top) & ((due >= 0) & (due <= self.most)).all(axis=1)
        row = np.zeros(len(states), dtype=np.int64)
        for units in due.T:
            row = row * (self.most + 1) + units
        place = status, np.where(inside, row, 0), np.where(inside, stock - self.low, 0)
        regular, level = self.regular[place].astype(np.int64), self.level[place].astype(np.int64)
        outside = ~inside | (regular < 0)
        if outside.any():
            raise ActionError(
                f"state {states[outside][0].tolist()} is outside the table: each receipt due within 0..{self.most}, "
                f"all together at most {self.top}"
            )
        raised = np.where(level > stock, level - states[:, 0], 0)
        if _pooled(self.problem):
            return np.stack([np.where(up[:, 0], raised, 0), np.where(up[:, 0], 0, raised)], axis=1)
        return np.stack([regular, raised], axis=1)


def optimum(problem: UnreliableSuppliers, tolerance: float = 1e-6) -> Optimum[SourcingTable]:
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
        Its states count once for each status.

    Raises
    ------
    ConfigError
        If the problem has too many states, or the bounds do not meet within the tolerance.
    """
    check_tolerance(tolerance)
    largest = len(problem.reliable.probabilities) - 1
    before = math.inf

    def widened(box: Box, found: Optimum[SourcingTable]) -> Box:
        nonlocal before
        wider, deep = _widened(problem, box, found.policy)
        if wider == box and deep and abs(found.cost - before) > tolerance:
            wider, before = box._replace(low=2 * box.low), found.cost
        return wider

    first = Box(-2 * largest - 1, problem.reliable.newsvendor_level(problem.lead_time + 1), largest + 1)
    return widened_until_kept(first, lambda box: _solve(problem, box, tolerance), widened)


def _pooled(problem: UnreliableSuppliers) -> bool:
    """Whether one number beside the status is enough."""
    return problem.express_price is None or problem.lead_time == 0


def _can_raise(problem: UnreliableSuppliers) -> BoolArray:
    """In which statuses something can arrive at once, or, where one number is enough, something can be ordered."""
    up = problem.statuses
    return np.asarray(up.any(axis=1) if _pooled(problem) else up[:, 1])


def _widened(problem: UnreliableSuppliers, box: Box, policy: SourcingTable) -> tuple[Box, bool]:
    """The same box when its upper edges are far enough, else a wider one; and whether backlog reaches its floor."""
    # One number moves as the stock does where orders arrive at once.
    if _pooled(problem):
        problem = replace(problem, lead_time=0)
        policy = replace(policy, problem=problem)
    chain = reached(problem, policy, floor=box.low, ceiling=box.top)
    after = chain.states.sum(axis=1)[:, None] + chain.regular + chain.express
    ordered = (chain.regular > 0) | (chain.express > 0)
    top, most = box.top, box.most
    if (ordered & (after == top)).any():
        top += 1 + top // 2
    if not _pooled(problem) and (chain.regular == most).any():
        most += 1 + most // 2
    return Box(box.low, top, most), bool((chain.states[:, 0] == box.low).any())


def _solve(problem: UnreliableSuppliers, box: Box, tolerance: float) -> Optimum[SourcingTable]:
    statuses, stocks = problem.statuses, box.top - box.low + 1
    pooled = _pooled(problem)
    receipts = 0 if pooled else problem.lead_time - 1
    shape = (len(statuses), (box.most + 1) ** receipts, stocks)
    if math.prod(shape) > MOST_NUMBERS:
        raise ConfigError(
            f"an exact solution needs a table of {' x '.join(map(str, shape))} numbers, more than {MOST_NUMBERS}: "
            f"shorten the lead time ({problem.lead_time}) or measure demand in larger units"
        )
    due = reduce(lambda less, _: np.add.outer(np.arange(box.most + 1), less).ravel(), range(receipts), np.zeros(1, int))
    express_price = problem.express_price or 0.0
    regular_up = statuses[:, 0]
    allowed = regular_up & (not pooled), _can_raise(problem)
    model = (
        problem.moves,
        np.minimum(due, stocks),
        _period_cost(problem, box),
        problem.price,
        np.where(regular_up & pooled, problem.price, express_price),
        problem.reliable.probabilities,
        box.most,
        np.empty(shape[1:]),
    )
    value, new = np.zeros(shape), np.zeros(shape)
    regular, level = np.full(shape, -1, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
    for _ in range(MOST_ROUNDS):
        lower, upper = _improve(value, new, regular, level, *allowed, *model)
        if upper - lower <= tolerance:
            break
        new -= new[0, 0, -box.low]
        value, new = new, value
        for _ in range(SWEEPS):
            _follow(value, new, regular, level, *model, STEP)
            value, new = new, value
    else:
        raise ConfigError(
            f"the optimal average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the "
            f"tolerance {tolerance:g} is below rounding, or the problem mixes too slowly"
        )
    level[level >= 0] += box.low
    policy = SourcingTable(problem, regular, level, *box)
    return Optimum((lower + upper) / 2, lower, upper, policy, int((regular >= 0).sum()))


def _period_cost(problem: UnreliableSuppliers, box: Box) -> FloatArray:
    """Expected holding and penalty cost by stock; where one number is enough, of the period when an order arrives."""
    reliable = problem.reliable
    if not _pooled(problem):
        return reliable.period_cost(np.arange(box.low, box.top + 1))
    total = np.ones(1)
    for _ in range(problem.lead_time):
        total = np.convolve(total, reliable.probabilities)
    cost = reliable.period_cost(np.arange(box.low - len(total) + 1, box.top + 1))
    return np.convolve(cost, total, mode="valid")


@njit(cache=True, fastmath={"contract"})
def _expect(value, moves, demand, expected):  # type: ignore[no-untyped-def]
    """Expected value one period on, by what is due then and the stock with receipts before demand."""
    statuses, rows, stocks = value.shape
    ahead = np.empty(stocks)
    for j in range(rows):
        ahead[:] = 0.0
        for s in range(statuses):
            for k in range(stocks):
                ahead[k] += moves[s] * value[s, j, k]
        expected[j] = 0.0
        for d in range(len(demand)):
            for k in range(min(d, stocks)):  # below the box: forgiven
                expected[j, k] += demand[d] * ahead[0]
            for k in range(d, stocks):
                expected[j, k] += demand[d] * ahead[k - d]


@njit(cache=True, fastmath={"contract"})
def _improve(  # type: ignore[no-untyped-def]
    value, new, regular, level, may_order, may_raise, moves, due, stage, price, express, demand, most, expected
):
    """One step of value iteration over all orders; the smallest and the largest change."""
    statuses, rows, stocks = value.shape
    block = max(rows // (most + 1), 1)  # Rows that agree on the first receipt.
    best, order = np.empty(stocks), np.empty(stocks, dtype=np.int32)
    lower, upper = np.inf, -np.inf
    for s in range(statuses):
        _expect(value, moves[s], demand, expected)
        for j in range(rows):
            n = stocks - due[j]
            best[: max(n, 0)] = np.inf
            for r in range(min(most, n - 1) + 1 if may_order[s] else min(n, 1)):
                following = j % block * (most + 1) + r if rows > 1 else 0
                receipt = j // block if rows > 1 else r
                for i in range(n - r):
                    total = price * r + expected[following, i + receipt]
                    if total < best[i]:
                        best[i], order[i] = total, r
            # The level may be raised, to the cheapest at or above: from the top down.
            cheapest, chosen = np.inf, n - 1
            for i in range(n - 1, -1, -1):
                cost = best[i] + stage[i] + express[s] * i
                if not may_raise[s] or cost <= cheapest:
                    cheapest, chosen = cost, i
                new[s, j, i] = cheapest - express[s] * i
                regular[s, j, i], level[s, j, i] = order[chosen], chosen
                change = new[s, j, i] - value[s, j, i]
                lower, upper = min(lower, change), max(upper, change)
    return lower, upper


@njit(cache=True, fastmath={"contract"})
def _follow(  # type: ignore[no-untyped-def]
    value, new, regular, level, moves, due, stage, price, express, demand, most, expected, step
):
    """One step of value iteration over the chosen orders."""
    statuses, rows, stocks = value.shape
    block = max(rows // (most + 1), 1)
    for s in range(statuses):
        _expect(value, moves[s], demand, expected)
        for j in range(rows):
            for i in range(stocks - due[j]):
                r, u = regular[s, j, i], level[s, j, i]
                following = j % block * (most + 1) + r if rows > 1 else 0
                receipt = j // block if rows > 1 else r
                total = price * r + stage[u] + express[s] * (u - i) + expected[following, u + receipt]
                new[s, j, i] = value[s, j, i] + step * (total - value[s, j, i])
