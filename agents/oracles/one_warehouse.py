"""One warehouse and two retailers: what is decided, and the exact cost of any policy.

Whole units; demand of each period independent of everything else and bounded (a tail of 1e-12 is moved onto the largest
value); unmet demand lost, or backlogged, at both retailers; lead times of 0 or 1; long-run average cost. Phases:
receive, order, demand. In a period what is due arrives; the warehouse orders from a supplier without limit and ships to
the retailers no more than it has, an order with lead time 0 included; demand is met; what is left anywhere is charged
its holding cost and what is missing its penalty. Goods under way cost nothing, nor do orders: a price per unit c lowers
a penalty for lost sales by c and changes nothing else.

A state is taken before ordering, after receipts: stock of the warehouse and of the two retailers (negative: a backlog).
Lead times are at most 1, so nothing else is under way then. A longer lead time would add a number to the state: for
one retailer see :mod:`agents.oracles.dp`, for a serial system :mod:`agents.oracles.clark_scarf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.oracles.chain import Evaluation
from agents.oracles.problem import Problem
from twin.distributions import Distribution
from twin.errors import ActionError, ConfigError

__all__ = ["AllocationPolicy", "OneWarehouse", "Reached", "Retailer", "evaluate", "explored", "reached", "unpacked"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: States (n, 3) -> whole orders (n, 3) on supplier -> warehouse and warehouse -> first and second retailer.
AllocationPolicy = Callable[[IntArray], NDArray[Any]]

#: States that a policy may reach, transitions of their chain (8 bytes each), and periods in which new ones are found.
MOST_STATES, MOST_TRANSITIONS, MOST_PERIODS = 100_000, 30_000_000, 2_000
#: Transitions looked at together while states are explored.
BLOCK = 1_000_000
#: Steps before giving up; their length is below 1, so that periodic chains converge too.
MOST_STEPS, STEP = 20_000, 0.95
#: Stock is packed into 21 bits.
OFFSET = 1 << 20


@dataclass(frozen=True)
class Retailer:
    """A retailer that the warehouse serves.

    Attributes
    ----------
    demand
        Law of demand per period, on whole numbers.
    lead_time
        Periods from the warehouse, 0 or 1.
    holding, penalty
        Cost per unit left in stock, and per unit lost or backlogged, at the end of a period.

    Raises
    ------
    ConfigError
        When demand is not on whole numbers or a number is outside its range.
    """

    demand: Distribution
    lead_time: int
    holding: float
    penalty: float

    def __post_init__(self) -> None:
        _require_lead_time(self.lead_time)
        _ = self.alone

    @cached_property
    def alone(self) -> Problem:
        """The same costs and demand at a single stock point, for what both have in common."""
        return Problem(self.demand, 1, self.holding, self.penalty)


@dataclass(frozen=True)
class OneWarehouse:
    """A warehouse and two retailers.

    Attributes
    ----------
    first, second
        The retailers; where a policy asks for more than there is, the first is served first from proportional shares.
    lead_time
        Periods from the supplier to the warehouse, 0 or 1.
    holding
        Cost per unit left at the warehouse at the end of a period, 0 or more.
    lost
        Whether unmet demand is lost; else it is backlogged.

    Raises
    ------
    ConfigError
        When a number is outside its range.
    """

    first: Retailer
    second: Retailer
    lead_time: int
    holding: float
    lost: bool

    def __post_init__(self) -> None:
        _require_lead_time(self.lead_time)
        if not 0.0 <= self.holding < np.inf:
            raise ConfigError(f"holding must be at least 0 and finite, received {self.holding}")

    @property
    def retailers(self) -> tuple[Retailer, Retailer]:
        """Both."""
        return self.first, self.second

    @cached_property
    def outcomes(self) -> tuple[IntArray, FloatArray]:
        """What both retailers' customers may ask for together, (outcomes, 2), and its probability (outcomes,)."""
        one, two = (retailer.alone.probabilities for retailer in self.retailers)
        grid = np.meshgrid(np.flatnonzero(one), np.flatnonzero(two), indexing="ij")
        units = np.stack(grid, axis=-1).reshape(-1, 2)
        return units, one[units[:, 0]] * two[units[:, 1]]

    def shipped(self, stock: IntArray, orders: IntArray) -> IntArray:
        """What orders (n, 3) make the supplier and the warehouse ship, (n, 3), with stock (n,) in the warehouse.

        What the warehouse lacks is shared in proportion to what is asked, whole units, the first retailer's share
        rounded down (docs/model.md, order phase).
        """
        there = stock + (orders[:, 0] if self.lead_time == 0 else 0)
        asked = orders[:, 1] + orders[:, 2]
        share = orders[:, 1] * there // np.maximum(asked, 1)
        first = np.where(there < asked, share, orders[:, 1])
        return np.stack([orders[:, 0], first, np.minimum(orders[:, 2], there - first)], axis=1)

    def after(self, states: IntArray, shipped: IntArray, demand: IntArray) -> IntArray:
        """States (n, 3) before the next order, with demand (n, 2)."""
        out = np.empty_like(states)
        out[:, 0] = states[:, 0] + shipped[:, 0] - shipped[:, 1] - shipped[:, 2]
        for k, retailer in enumerate(self.retailers, start=1):
            soon = shipped[:, k] if retailer.lead_time == 0 else 0
            left = states[:, k] + soon - demand[:, k - 1]
            out[:, k] = (np.maximum(left, 0) if self.lost else left) + shipped[:, k] - soon
        return out

    def period_cost(self, states: IntArray, shipped: IntArray) -> FloatArray:
        """Expected cost of the period, (n,)."""
        late = shipped[:, 0] if self.lead_time == 1 else 0
        cost = self.holding * (states[:, 0] + shipped[:, 0] - late - shipped[:, 1] - shipped[:, 2])
        for k, retailer in enumerate(self.retailers, start=1):
            level = states[:, k] + (shipped[:, k] if retailer.lead_time == 0 else 0)
            low = int(level.min())
            cost = cost + retailer.alone.period_cost(np.arange(low, int(level.max()) + 1))[level - low]
        return np.asarray(cost)


def evaluate(problem: OneWarehouse, policy: AllocationPolicy, *, tolerance: float = 1e-8) -> Evaluation:
    """Exact average cost per period of a deterministic policy, from an empty system.

    Parameters
    ----------
    problem
        What is decided.
    policy
        States (n, 3) -> whole orders (n, 3). Where more is asked than the warehouse has, see
        :meth:`OneWarehouse.shipped`.
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
    chain = reached(problem, policy)
    value, cost = np.zeros(len(chain.states)), problem.period_cost(chain.states, chain.shipped)
    for _ in range(MOST_STEPS):
        change = cost + value[chain.following] @ chain.weight - value
        lower, upper = float(change.min()), float(change.max())
        if upper - lower <= tolerance:
            return Evaluation((lower + upper) / 2, lower, upper, len(chain.states))
        value += STEP * change
        value -= value[0]
    raise ConfigError(
        f"the average cost lies in [{lower:.8g}, {upper:.8g}] and the bounds come no closer: the policy settles in "
        "several separate sets of states, mixes too slowly, or the tolerance is below rounding"
    )


class Reached(NamedTuple):
    """The chain that a policy induces on the states that it reaches from an empty system."""

    states: IntArray  # (n, 3) stocks
    shipped: IntArray  # (n, 3) units on the three arcs
    following: IntArray  # (n, outcomes) row of the state after each pair of demands
    weight: FloatArray  # (outcomes,) probability of that pair


def reached(problem: OneWarehouse, policy: AllocationPolicy) -> Reached:
    """The chain of a policy; see :func:`evaluate` for parameters and errors."""
    units, weight = problem.outcomes
    keys, shipped, moves, transitions = [], [], [], 0
    for states, sent, following in explored(problem, policy):
        transitions += len(following)
        if transitions > MOST_TRANSITIONS:
            raise ConfigError(
                f"the policy reaches too many states: demand has {len(units)} outcomes in each, and a chain may have "
                f"{MOST_TRANSITIONS} transitions (cut the tail of demand, or measure it in larger units)"
            )
        keys.append(states)
        shipped.append(sent)
        moves.append(following)
    known = np.concatenate(keys)
    order = np.argsort(known)
    place = np.searchsorted(known[order], np.concatenate(moves)).reshape(-1, len(units))
    return Reached(unpacked(known[order]), np.concatenate(shipped)[order], place[order], weight)


def explored(problem: OneWarehouse, policy: AllocationPolicy) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Walk through the states that a policy reaches: some of them, what ships there, and where they lead.

    Yields
    ------
    states, shipped, following
        (n,) packed, (n, 3) and (n x outcomes,) packed; every state once.
    """
    units, _ = problem.outcomes
    most = max(1, BLOCK // len(units))
    known = fresh = _packed(np.zeros((1, 3), dtype=np.int64))
    for _ in range(MOST_PERIODS):
        found = []
        for part in np.split(fresh, range(most, len(fresh), most)):
            states = unpacked(part)
            sent = problem.shipped(states[:, 0], _whole_orders(policy(states), len(states)))
            from_, by = (np.repeat(rows, len(units), axis=0) for rows in (states, sent))
            following = problem.after(from_, by, np.tile(units, (len(states), 1)))
            if np.abs(following).max() >= OFFSET:
                break
            moves = _packed(following)
            found.append(np.setdiff1d(moves, known))
            yield part, sent, moves
        else:
            fresh = np.unique(np.concatenate(found))
            if len(fresh) == 0:
                return
            known = np.union1d(known, fresh)
            if len(known) <= MOST_STATES:
                continue
        break
    raise ConfigError(
        f"the policy reaches too many states ({len(known)} and more): its stock or backlog grows without bound, or "
        "demand has too many values (cut its tail, or measure it in larger units)"
    )


def _packed(states: IntArray) -> IntArray:
    return np.asarray((states[:, 0] + OFFSET << 42) | (states[:, 1] + OFFSET << 21) | (states[:, 2] + OFFSET))


def unpacked(keys: IntArray) -> IntArray:
    """States (n, 3) from their packed form (n,)."""
    mask = (1 << 21) - 1
    return np.stack([keys >> 42, keys >> 21 & mask, keys & mask], axis=1) - OFFSET


def _whole_orders(given: Any, states: int) -> IntArray:
    given = np.asarray(given)
    if given.shape != (states, 3):
        raise ActionError(f"the policy must give orders of shape {(states, 3)}, received {given.shape}")
    with np.errstate(invalid="ignore"):  # NaN and infinity do not survive the comparison below.
        whole = given.astype(np.int64)
    wrong = (whole != given) | (whole < 0)
    if wrong.any():
        raise ActionError(f"orders must be whole numbers of at least 0, received {given[wrong][0]}")
    return np.asarray(whole)


def _require_lead_time(given: Any) -> None:
    if not isinstance(given, int) or given not in (0, 1):
        raise ConfigError(
            f"lead_time must be 0 or 1, received {given!r}: a longer one adds numbers to the state that an exact "
            "solution of the whole network has no room for"
        )
