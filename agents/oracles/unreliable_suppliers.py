"""Two suppliers that fail: what is decided, and the exact average cost of any policy.

One stock point, whole units, independent demand of one law, unmet demand backlogged. Phases: receive, order, demand.
The regular supplier delivers after ``lead_time`` periods (0: at once). The express supplier, where there is one, asks
no lower price and delivers at once. Each is up or down, a Markov chain of its own. The status of the period is known
when orders are placed; a supplier that is down takes no order, and what is under way still arrives. Costs: purchases,
and holding and penalty on what is left and what is missing at the end of a period.

Settings of this kind: Tomlin (2006), Management Science 52(5):639-657; Ahiska, Appaji, King & Warsing (2013),
International Journal of Production Economics 144(2):485-496.

A state is taken before ordering: the stock with this period's receipt in it (negative: a backlog), then the units due
one period later, two periods later, and so on, ``max(lead_time, 1)`` whole numbers; and beside it who is up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.oracles.chain import MOST_SWEEPS, STEP, Chain, Evaluation, explored
from agents.oracles.problem import FloatArray, IntArray, Problem
from twin.distributions import Distribution
from twin.errors import ActionError, ConfigError

__all__ = ["ALWAYS_UP", "BoolArray", "SourcingPolicy", "UnreliableSuppliers", "UpDown", "evaluate", "reached"]

BoolArray = NDArray[np.bool_]

#: States (n, max(lead_time, 1)) and who is up (n, 2) -> whole orders (n, 2), both as regular, express.
SourcingPolicy = Callable[[IntArray, BoolArray], NDArray[Any]]


@dataclass(frozen=True)
class UpDown:
    """How a supplier fails and recovers; it starts up.

    Attributes
    ----------
    failure, recovery
        Probability per period of going down while up, and of coming up while down.

    Raises
    ------
    ConfigError
        When one of them is no probability, or the supplier never recovers.
    """

    failure: float
    recovery: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.failure <= 1.0:
            raise ConfigError(f"failure must lie from 0 to 1, received {self.failure}")
        if not 0.0 < self.recovery <= 1.0:
            raise ConfigError(f"recovery must lie above 0 and up to 1, received {self.recovery}")

    @property
    def up_share(self) -> float:
        """Share of periods in which it is up."""
        return self.recovery / (self.failure + self.recovery)

    @cached_property
    def moves(self) -> FloatArray:
        """Transition probabilities between up and down, (2, 2); (1, 1) where it never fails."""
        if self.failure == 0.0:
            return np.ones((1, 1))
        return np.array([[1.0 - self.failure, self.failure], [self.recovery, 1.0 - self.recovery]])


ALWAYS_UP = UpDown(failure=0.0, recovery=1.0)


@dataclass(frozen=True)
class UnreliableSuppliers:
    """A stock point, its demand, its costs and its suppliers.

    Attributes
    ----------
    demand
        Law of demand per period, on whole numbers.
    lead_time
        Periods from a regular order to its arrival, 0 or more.
    holding, penalty
        Cost per unit left in stock, and per unit backlogged, at the end of a period.
    regular
        How the regular supplier fails and recovers.
    price
        Per unit of a regular order.
    express_price
        Per unit of an express order; None where there is no express supplier.
    express
        How the express supplier fails and recovers.

    Raises
    ------
    ConfigError
        If demand is not on whole numbers or a number is outside its range.
    """

    demand: Distribution
    lead_time: int
    holding: float
    penalty: float
    regular: UpDown = ALWAYS_UP
    price: float = 0.0
    express_price: float | None = None
    express: UpDown = ALWAYS_UP

    def __post_init__(self) -> None:
        if not isinstance(self.lead_time, int) or self.lead_time < 0:
            raise ConfigError(f"lead_time must be a whole number of at least 0, received {self.lead_time!r}")
        _ = self.reliable

    @cached_property
    def reliable(self) -> Problem:
        """The same stock point with suppliers that never fail, for what does not depend on who is up."""
        express = self.price if self.express_price is None else self.express_price
        return Problem(
            self.demand, max(self.lead_time, 1), self.holding, self.penalty, price=self.price, express_price=express
        )

    @cached_property
    def statuses(self) -> BoolArray:
        """Who can be up together, shape (statuses, 2) as regular, express; the first row is the one of the start."""
        regular = [True, False] if self.regular.failure > 0.0 else [True]
        express = [True, False] if self.express.failure > 0.0 else [True]
        if self.express_price is None:
            express = [False]
        return np.array([(first, second) for first in regular for second in express])

    @cached_property
    def moves(self) -> FloatArray:
        """Probability that one status follows another, shape (statuses, statuses)."""
        moves = self.regular.moves
        return moves if self.express_price is None else np.asarray(np.kron(moves, self.express.moves), dtype=np.float64)

    def status_rows(self, up: BoolArray) -> IntArray:
        """Row of :attr:`statuses` for each of (n, 2).

        Raises
        ------
        ActionError
            If a supplier is said to be down that never fails, or up where there is none.
        """
        row = np.full((2, 2), -1)
        row[tuple(self.statuses.astype(int).T)] = np.arange(len(self.statuses))
        given = np.asarray(up, dtype=np.bool_)
        rows = row[tuple(given.astype(int).T)]
        if (rows < 0).any():
            wrong = given[rows < 0][0].tolist()
            raise ActionError(
                f"the suppliers (regular, express) cannot be up as {wrong} (allowed: {self.statuses.tolist()})"
            )
        return np.asarray(rows)

    def orders(self, policy: SourcingPolicy, states: IntArray, up: BoolArray) -> tuple[IntArray, IntArray]:
        """What a policy orders from suppliers that are up: regular (n,) and express (n,) units.

        Raises
        ------
        ActionError
            If the policy's orders have another shape, or are not whole numbers of at least 0.
        """
        regular, express = self.reliable.orders(lambda given: policy(given, up), states)
        return regular * up[:, 0], express * up[:, 1]


def evaluate(problem: UnreliableSuppliers, policy: SourcingPolicy, *, tolerance: float = 1e-8) -> Evaluation:
    """Exact average cost per period of a deterministic policy, for instance a learned one with rounded orders.

    Backlog in a long outage and the stock of some policies have no bound. Backlog below a floor is then forgiven and
    stock above a ceiling vanishes, both without charge, and floor and ceiling are moved out until that changes the cost
    by less than ``tolerance``. Both get rarer geometrically, so what is left out is of the same order; the bounds are
    those of the last floor and ceiling.

    Parameters
    ----------
    problem
        What is decided.
    policy
        States (n, max(lead_time, 1)) and who is up (n, 2) -> whole orders (n, 2) as regular, express. What is ordered
        from a supplier that is down, or that there is not, counts as nothing.
    tolerance
        Largest distance of the bounds.

    Raises
    ------
    ActionError
        If the policy gives orders of the wrong shape, or not whole, or negative.
    ConfigError
        If the policy reaches too many states, or its bounds do not meet.
    """
    if not tolerance > 0.0:
        raise ConfigError(f"tolerance must be above 0, received {tolerance}")
    largest = len(problem.reliable.probabilities)
    floor, ceiling = -4 * largest, 4 * problem.reliable.newsvendor_level(problem.lead_time + 1) + 4 * largest
    before = math.inf
    while True:
        chain = reached(problem, policy, floor=floor, ceiling=ceiling)
        found = _evaluated(problem, chain, tolerance)
        stock = chain.states[:, 0]
        low, high = bool(stock.min() <= floor), bool(stock.max() >= ceiling)
        if not (low or high) or abs(found.cost - before) < tolerance:
            return found
        before = found.cost
        floor, ceiling = 2 * floor if low else floor, 2 * ceiling if high else ceiling


def _evaluated(problem: UnreliableSuppliers, chain: Chain, tolerance: float) -> Evaluation:
    level = chain.states[:, :1] + chain.express + (chain.regular if problem.lead_time == 0 else 0)
    low = int(level.min())
    cost = problem.reliable.period_cost(np.arange(low, int(level.max()) + 1))[level - low]
    cost += problem.price * chain.regular + (problem.express_price or 0.0) * chain.express
    demand = problem.reliable.probabilities[problem.reliable.probabilities > 0.0]
    following = chain.following.reshape(*cost.shape, len(demand))
    lower, upper = _bracket(cost, following, demand, problem.moves, tolerance, STEP, MOST_SWEEPS)
    if upper - lower > tolerance:
        raise ConfigError(
            f"the average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the policy lets "
            "stock or backlog grow without bound, settles in several separate sets of states or mixes too slowly, or "
            "the tolerance is below rounding"
        )
    return Evaluation((lower + upper) / 2, float(lower), float(upper), cost.size)


def reached(problem: UnreliableSuppliers, policy: SourcingPolicy, *, floor: int, ceiling: int) -> Chain:
    """The chain of a policy on the states it reaches from an empty system, whoever is up; see :func:`evaluate`.

    Orders have shape (n, statuses), and ``following`` holds the next states by state, status and demand.
    """
    demand = np.flatnonzero(problem.reliable.probabilities)

    def decide(states: IntArray) -> tuple[IntArray, IntArray]:
        number = len(problem.statuses)
        up = np.tile(problem.statuses, (len(states), 1))
        regular, express = problem.orders(policy, np.repeat(states, number, axis=0), up)
        return regular.reshape(-1, number), express.reshape(-1, number)

    if problem.lead_time > 0:
        return explored(decide, problem.lead_time, demand, lost=False, floor=floor, ceiling=ceiling)

    def at_once(states: IntArray) -> tuple[IntArray, IntArray]:
        # Without a lead time a regular order raises the stock that demand meets, as an express order does.
        regular, express = decide(states)
        return np.zeros_like(regular), regular + express

    chain = explored(at_once, 1, demand, lost=False, floor=floor, ceiling=ceiling)
    regular, express = decide(chain.states)
    return replace(chain, regular=regular, express=express)


@njit(cache=True, fastmath={"reassoc", "contract"})
def _bracket(cost, following, demand, moves, tolerance, step, most):  # type: ignore[no-untyped-def]
    """Bounds on the average cost, closer than ``tolerance`` unless ``most`` sweeps do not suffice."""
    n, statuses = cost.shape
    value, ahead, new = np.zeros((n, statuses)), np.empty((n, statuses)), np.empty((n, statuses))
    lower, upper = -np.inf, np.inf
    for _ in range(most):
        # The status moves on its own, so that its expectation comes once for all demands.
        for i in range(n):
            for s in range(statuses):
                total = 0.0
                for t in range(statuses):
                    total += moves[s, t] * value[i, t]
                ahead[i, s] = total
        lower, upper = np.inf, -np.inf
        for i in range(n):
            for s in range(statuses):
                total = cost[i, s]
                for d in range(len(demand)):
                    total += demand[d] * ahead[following[i, s, d], s]
                change = total - value[i, s]
                lower, upper = min(lower, change), max(upper, change)
                new[i, s] = value[i, s] + step * change
        if upper - lower <= tolerance:
            break
        base = new[0, 0]
        for i in range(n):
            for s in range(statuses):
                value[i, s] = new[i, s] - base
    return lower, upper
