"""The exact average cost of any deterministic policy, on the Markov chain that it induces.

The chain holds the states that the policy reaches from an empty system. Its average cost g is bracketed for any vector
v by the smallest and the largest entry of c + P v - v, so that the bounds do not depend on how v was found; v is found
by iterating it (Puterman 1994, Markov Decision Processes, section 8.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.oracles.problem import IntArray, Policy, Problem
from twin.errors import ConfigError

__all__ = ["Best", "Chain", "Evaluation", "best_whole", "evaluate", "evaluate_unbounded", "reachable"]

#: Transitions that a chain may have: 4 bytes each, and a second or so per hundred sweeps at 10 million.
MOST_TRANSITIONS = 60_000_000
#: Periods after which a policy that still reaches new states is taken to reach them without end.
MOST_PERIODS = 5_000
#: Sweeps before a chain is called too slow.
MOST_SWEEPS = 50_000
#: Step of an iteration: below 1, so that periodic chains converge too.
STEP = 0.95
#: Stock that none reaches.
NO_LIMIT = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Evaluation:
    """Average cost per period of a policy.

    Attributes
    ----------
    cost
        Middle of the bounds.
    lower, upper
        Bounds on the average cost, exact up to rounding.
    states
        How many states the policy reaches from an empty system.
    """

    cost: float
    lower: float
    upper: float
    states: int


@dataclass(frozen=True)
class Best:
    """The best policy of a family.

    Attributes
    ----------
    parameters
        Name -> whole number, as the family's function takes them.
    cost
        Average cost per period.
    """

    parameters: dict[str, int]
    cost: float


@dataclass(frozen=True)
class Chain:
    """States that a policy reaches and how it moves between them.

    Attributes
    ----------
    states
        Shape (n, lead_time); row 0 is the empty system.
    regular, express
        Units ordered, shape (n,).
    first, following
        State i moves to ``following[first[i]:first[i + 1]]``, by increasing demand. The demands are the possible
        values in order, the last of them and all that are larger taken together.
    """

    states: IntArray
    regular: IntArray
    express: IntArray
    first: IntArray
    following: NDArray[np.int32]


def evaluate(
    problem: Problem,
    policy: Policy,
    *,
    tolerance: float = 1e-8,
    stock_limit: int | None = None,
    before_receipt: bool = False,
) -> Evaluation:
    """Exact average cost per period of a deterministic policy, for instance a learned one with rounded orders.

    Parameters
    ----------
    problem
        What is decided.
    policy
        States (n, lead_time) -> whole orders, (n,) or (n, 2) with an express source.
    tolerance
        Largest distance of the bounds.
    stock_limit
        Stock above it vanishes without charge. For policies that let stock grow without bound, a constant order for
        one; take it so high that the cost no longer changes.
    before_receipt
        The policy's states have one number more: the stock at the end of the last period, what arrives now, what is
        due one period later, and so on. For policies that see apart what a state otherwise holds as a sum. Only where
        unmet demand is backlogged.

    Raises
    ------
    twin.errors.ActionError
        If the policy gives orders of the wrong shape, or not whole, or negative.
    twin.errors.ConfigError
        If the policy reaches too many states, or its bounds do not meet (it then settles in several separate sets
        of states, or mixes too slowly).
    """
    if not tolerance > 0.0:
        raise ConfigError(f"tolerance must be above 0, received {tolerance}")
    if before_receipt and problem.lost:
        raise ConfigError("states before receipt need a problem whose unmet demand is backlogged")
    # A backlog adds up, so that before receipt the system moves as if orders took a period longer.
    lead_time = problem.lead_time + before_receipt
    chain = reachable(replace(problem, lead_time=lead_time), policy, stock_limit=stock_limit)
    level = chain.states[:, : 1 + before_receipt].sum(axis=1) + chain.express
    low = int(level.min())
    cost = problem.period_cost(np.arange(low, level.max() + 1))[level - low]
    cost += problem.price * chain.regular + problem.fixed_cost * (chain.regular > 0)
    cost += (problem.express_price or 0.0) * chain.express
    demand = problem.probabilities[problem.probabilities > 0.0]
    tail = np.cumsum(demand[::-1])[::-1].copy()
    lower, upper = _bracket(cost, chain.first, chain.following, demand, tail, tolerance, STEP, MOST_SWEEPS)
    if upper - lower > tolerance:
        raise ConfigError(
            f"the average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the policy settles "
            "in several separate sets of states, mixes too slowly, or the tolerance is below rounding"
        )
    return Evaluation((lower + upper) / 2, float(lower), float(upper), len(chain.states))


def evaluate_unbounded(problem: Problem, policy: Policy, *, tolerance: float = 1e-6) -> Evaluation:
    """Average cost of a policy that lets stock grow without bound, if rarely: see :func:`evaluate`.

    The limit on stock is doubled until that changes the cost by less than ``tolerance``. Large stocks get rarer
    geometrically, so what is then left out is of the same order; the bounds are those at the last limit.
    """
    limit = 2 * len(problem.probabilities) + problem.newsvendor_level(problem.lead_time + 1)
    found = evaluate(problem, policy, tolerance=tolerance / 4, stock_limit=limit)
    while True:
        limit, before = 2 * limit, found
        found = evaluate(problem, policy, tolerance=tolerance / 4, stock_limit=limit)
        if abs(found.cost - before.cost) < tolerance:
            return found


def reachable(problem: Problem, policy: Policy, *, stock_limit: int | None = None) -> Chain:
    """The chain that a policy induces on the states it reaches from an empty system; see :func:`evaluate`."""
    if stock_limit is not None and stock_limit < 1:
        raise ConfigError(f"stock_limit must be at least 1, received {stock_limit}")

    def decide(states: IntArray) -> tuple[IntArray, IntArray]:
        regular, express = problem.orders(policy, states)
        return regular[:, None], express[:, None]

    demand = np.flatnonzero(problem.probabilities)
    limit = NO_LIMIT if stock_limit is None else stock_limit
    found = explored(decide, problem.lead_time, demand, lost=problem.lost, ceiling=limit)
    return Chain(found.states, found.regular[:, 0], found.express[:, 0], found.first, found.following)


def explored(
    decide: Callable[[IntArray], tuple[IntArray, IntArray]],
    lead_time: int,
    demand: IntArray,
    *,
    lost: bool,
    floor: int = -NO_LIMIT,
    ceiling: int = NO_LIMIT,
) -> Chain:
    """States reached from an empty system, whatever happens that decides what is ordered in them.

    Parameters
    ----------
    decide
        States (n, lead_time) -> regular and express units, (n, cases) each: what is ordered in every case.
    demand
        Possible values, increasing.
    floor, ceiling
        Stock below or above is taken to be there.

    Returns
    -------
    Chain
        Its orders have shape (n, cases), and a state's successors are those of the first case, then of the second, ...

    Raises
    ------
    twin.errors.ConfigError
        If there are too many states.
    """
    states = np.zeros((1, lead_time), dtype=np.int64)
    table = np.full(1024, -1, dtype=np.int32)
    table[_slot(table, states, states[0])] = 0
    following = np.empty(1024, dtype=np.int32)
    regular, express, first = [], [], [np.zeros(1, dtype=np.int64)]
    known, done = 1, 0
    while done < known:
        orders = decide(states[done:known])
        regular.append(orders[0])
        express.append(orders[1])
        limits = lost, floor, ceiling
        states, table, following, ends, count = _expand(
            states, known, done, *orders, demand, *limits, table, following, first[-1][-1], MOST_TRANSITIONS
        )
        if count < 0 or len(first) > MOST_PERIODS:
            raise ConfigError(
                f"the policy reaches too many states ({abs(count)} and more): its stock or backlog grows without bound "
                "(for stock, see evaluate_unbounded), or the problem is too large for an exact evaluation"
            )
        first.append(ends)
        done, known = known, count
    starts = np.concatenate(first)
    return Chain(states[:known], np.concatenate(regular), np.concatenate(express), starts, following[: starts[-1]])


def best_whole(cost: Callable[[int], float], start: int) -> tuple[int, float]:
    """Whole number that minimises a cost with a single valley, by walking downhill from ``start``; and its cost."""
    best, least = start, cost(start)
    for step in (1, -1):
        while (trial := cost(best + step)) < least:
            best, least = best + step, trial
        if best != start:
            break
    return best, least


@njit(cache=True)
def _slot(table, states, state):  # type: ignore[no-untyped-def]
    """Slot of a state in a hash table of row numbers: the one that holds it, or the free one where it belongs."""
    mask = len(table) - 1
    mixed = np.uint64(14695981039346656037)
    for part in state:
        mixed = (mixed ^ np.uint64(part)) * np.uint64(1099511628211)
    mixed ^= mixed >> np.uint64(29)
    slot = np.int64(mixed & np.uint64(mask))
    while table[slot] >= 0:
        row, same = table[slot], True
        for k in range(len(state)):
            if states[row, k] != state[k]:
                same = False
                break
        if same:
            break
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _expand(  # type: ignore[no-untyped-def]
    states, count, done, regular, express, demand, lost, floor, ceiling, table, following, filled, most
):
    """Successors of the states from row ``done``; new ones get the next rows. Arrays are replaced when full.

    ``regular`` and ``express`` (rows, cases) are the orders of those states, case by case.

    Returns the arrays, where each expanded state's successors end, and the number of states (negative: too many).
    """
    last, lead_time = count, states.shape[1]
    cases = regular.shape[1]
    ends = np.empty(last - done, dtype=np.int64)
    state = np.empty(lead_time, dtype=np.int64)
    for i in range(done, last):
        if filled + cases * len(demand) > most:
            return states, table, following, ends, -count
        for k in range(1, lead_time - 1):
            state[k] = states[i, k + 1]
        for case in range(cases):
            level, order = states[i, 0] + express[i - done, case], regular[i - done, case]
            if lead_time > 1:
                state[-1] = order
            receipt = states[i, 1] if lead_time > 1 else order
            for d in demand:
                left = level - d
                state[0] = max(min((max(left, 0) if lost else left) + receipt, ceiling), floor)
                slot = _slot(table, states, state)
                if table[slot] < 0:
                    if count == len(states):
                        more = np.empty((2 * count, lead_time), dtype=np.int64)
                        more[:count] = states
                        states = more
                    states[count] = state
                    table[slot] = count
                    count += 1
                    if 2 * count > len(table):
                        table = np.full(2 * len(table), -1, dtype=np.int32)
                        for row in range(count):
                            table[_slot(table, states, states[row])] = row
                        slot = _slot(table, states, state)
                if filled == len(following):
                    longer = np.empty(2 * filled, dtype=np.int32)
                    longer[:filled] = following
                    following = longer
                following[filled] = table[slot]
                filled += 1
                if lost and left <= 0:
                    break
        ends[i - done] = filled
    return states, table, following, ends, count


@njit(cache=True, fastmath={"reassoc", "contract"})
def _bracket(cost, first, following, demand, tail, tolerance, step, most):  # type: ignore[no-untyped-def]
    """Bounds on the average cost, closer than ``tolerance`` unless ``most`` sweeps do not suffice."""
    n = len(cost)
    value, new = np.zeros(n), np.empty(n)
    lower, upper = -np.inf, np.inf
    for _ in range(most):
        lower, upper = np.inf, -np.inf
        for i in range(n):
            a, z = first[i], first[i + 1] - 1
            total = cost[i] + tail[z - a] * value[following[z]]
            for k in range(a, z):
                total += demand[k - a] * value[following[k]]
            change = total - value[i]
            lower, upper = min(lower, change), max(upper, change)
            new[i] = value[i] + step * change
        if upper - lower <= tolerance:
            break
        base = new[0]
        for i in range(n):
            value[i] = new[i] - base
    return lower, upper
