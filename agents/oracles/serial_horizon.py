"""Optimal echelon base-stock levels of a serial system over a finite horizon, period by period, and their cost.

Clark & Scarf (1960), Management Science 6(4):475-490, with a law of demand and costs for every period. Stage 1 serves
the customers. With y the echelon position of stage j after ordering in period t (its own stock and all that is further
down or on the way to any of it, less the backlog)::

    H_jt(y) = cost of period t and of the end of the lead time + E[ V_j,t+1(y - D) + P_j-1,t+l(y - D') ]
    V_jt(x) + P_jt(u) = min over x <= y <= u of H_jt(y)

where x is the position before ordering and u what the stage upstream holds with all that is below it. H is convex, so
that the minimum splits into a part V of the stage's own and a part P for being kept short, which the stage upstream
pays l periods later, at the end of its lead time; the minimiser of H is the level. V and P at the start add up to the
optimal cost.

How many demands lie between an order and what follows from it is decided by the order of the phases:

====================== ================ ==============================
phases                 charged in stock passed on by a stage upstream
====================== ================ ==============================
receive, demand, order L                L
receive, order, demand L + 1            L
order, receive, demand L + 1            L + 1, a period later
====================== ================ ==============================

A limit on what is shipped in a period is no part of the recursion; a bound of the probability that it is ever reached
says whether the result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from agents.oracles.serial_problem import SerialProblem, mean_steps
from twin.errors import ConfigError

__all__ = [
    "NEGLIGIBLE",
    "Convex",
    "HorizonOptimum",
    "limit_probability",
    "serial_horizon",
    "solve_stage",
    "waiting_cost",
]

FloatArray = NDArray[np.float64]

#: Probability below which a limit counts as never reached.
NEGLIGIBLE = 1e-9
#: A slope below this share of the steepest one is flat.
_FLAT = 1e-11


@dataclass(frozen=True)
class HorizonOptimum:
    """The best policy of a serial system over T periods.

    Attributes
    ----------
    levels
        (T, N) units that the echelon position of each stage, the customers' first, is raised to as far as the stage
        upstream can ship: minus infinity where nothing is ordered, infinity where all that is there is taken.
    cost
        Expected cost of all periods together, less revenue and the terminal value; money.
    limit_probability
        A bound, from above, of the probability that these levels ever ask for more than a stage's ``limit``.
    """

    levels: FloatArray
    cost: float
    limit_probability: float

    @property
    def exact(self) -> bool:
        """True where no limit is ever reached. Else ``cost`` is the optimum without limits: a lower bound."""
        return self.limit_probability <= NEGLIGIBLE


def serial_horizon(problem: SerialProblem) -> HorizonOptimum:
    """Solve a serial system over a finite horizon.

    Raises
    ------
    ConfigError
        When stock from outside is worth more than it costs to get, so that no finite level is best.

    Examples
    --------
    A newsvendor: the level is the smallest y with P(D <= y) >= (1 + 2) / (1 + 2 + 0.5).

    >>> from agents.oracles.serial_problem import HorizonStage
    >>> from twin.distributions import Poisson
    >>> best = serial_horizon(SerialProblem([HorizonStage(0, 0.5)], [Poisson(mean=20)], penalty=1, price=2))
    >>> best.levels.tolist(), best.exact
    ([[25.0]], True)
    """
    # All levels usually lie within what is asked for while an order is on its way; beyond all that can still be asked
    # for every function is linear.
    start = int(np.ceil(problem.position.max() / problem.step)) + 2
    covered = sum(problem.lead) + problem.later * len(problem.lead) + 1
    reach = max(len(problem.total(t, min(covered, problem.periods - t))) for t in range(problem.periods))
    farthest = np.array([max(start, problem.most(t) + 2) for t in range(problem.periods)])
    points = min(int(farthest[0]), max(start, reach))
    while True:
        levels = np.empty((problem.periods, len(problem.lead)))
        cost = -problem.step * sum(
            float(price) * mean_steps(problem.total(t, 1)) for t, price in enumerate(problem.price)
        )
        passed_on: list[Convex] = []
        for j, position in enumerate(problem.position.tolist()):
            cost += waiting_cost(problem, j, passed_on)
            own, passed_on, levels[:, j] = solve_stage(problem, j, passed_on, points)
            cost += own.after(problem.total(0, problem.known), problem.step).at(position, problem.step)
        unbounded = np.isposinf(levels)
        if not unbounded[farthest > points].any():
            break
        points = min(int(farthest[0]), 2 * points)
    if unbounded[:, -1].any():
        t = int(np.argmax(unbounded[:, -1]))
        raise ConfigError(f"stock ordered in period {t} is worth more than it costs to get, whatever the quantity")
    return HorizonOptimum(levels, cost, limit_probability(problem, levels))


class Convex(NamedTuple):
    """A convex function that is linear below 0 and between the points of the lattice."""

    value: float  # at 0
    slopes: FloatArray  # (1 + points,): below 0, then after each point

    def after(self, mass: FloatArray, step: float) -> Convex:
        """What it is in expectation at y - D, of y: linear below 0 too, because demand is not negative."""
        below = self.slopes[0]
        padded = np.concatenate([np.full(len(mass) - 1, below), self.slopes[1:]])
        between = signal.convolve(padded, mass, mode="valid")
        return Convex(self.value - below * step * mean_steps(mass), np.concatenate([[below], between]))

    def at(self, x: float, step: float) -> float:
        """Its value at x, at most the last point."""
        if x <= 0.0:
            return float(self.value + self.slopes[0] * x)
        whole = min(int(x / step), len(self.slopes) - 2)
        return float(self.value + step * self.slopes[1 : 1 + whole].sum() + (x - whole * step) * self.slopes[1 + whole])

    def plus(self, other: Convex) -> Convex:
        """The sum of two."""
        return Convex(self.value + other.value, self.slopes + other.slopes)


def solve_stage(
    problem: SerialProblem, j: int, passed_on: Sequence[Convex], points: int
) -> tuple[Convex, list[Convex], FloatArray]:
    """V of period 0, P of every period and the levels (T,) of stage j; ``passed_on`` is P of stage j - 1."""
    step, levels = problem.step, np.empty(problem.periods)
    future, induced = Convex(0.0, np.zeros(1 + points)), [Convex(0.0, np.zeros(0))] * problem.periods
    for t in reversed(range(problem.periods)):
        total = position_cost(problem, j, t, passed_on, points)
        if t + 1 < problem.periods:
            total = total.plus(future.after(problem.ahead(t, 1), step))
        falling = total.slopes < -_FLAT * max(1.0, float(np.abs(total.slopes).max()))
        levels[t] = np.inf if falling.all() else (int(np.argmin(falling)) - 1) * step if falling[0] else -np.inf
        down = np.minimum(total.slopes, 0.0)
        gap = -step * float(down[1:].sum())  # P is 0 where the stage is not kept short
        induced[t] = Convex(gap, down)
        # What is there is not paid for again.
        future = Convex(total.value - gap, total.slopes - down - problem.unit[j, t])
    return future, induced, levels


def position_cost(problem: SerialProblem, j: int, t: int, passed_on: Sequence[Convex], points: int) -> Convex:
    """What the position y of stage j after ordering in period t costs, but for what follows in period t + 1."""
    step, lead = problem.step, problem.lead[j]
    upstream = problem.holding[j + 1, t] if j + 1 < len(problem.lead) else 0.0
    # A unit of position is under way, and is no longer in stock upstream.
    rate = problem.transit[j, t] - upstream - (problem.worth[j] if t == problem.periods - 1 else 0.0)
    paid = -rate * step * mean_steps(problem.ahead(t, problem.before))
    cost = Convex(paid, np.full(1 + points, rate + problem.unit[j, t]))
    if t + lead < problem.periods:
        stock = _stock_cost(problem, j, t + lead, points)
        cost = cost.plus(stock.after(problem.ahead(t, lead + problem.before), step))
    reached = t + lead + problem.later
    if passed_on and reached < problem.periods:
        cost = cost.plus(passed_on[reached].after(problem.ahead(t, lead + problem.later), step))
    return cost


def _stock_cost(problem: SerialProblem, j: int, end: int, points: int) -> Convex:
    """Cost of the echelon stock of stage j at the end of a period: no longer under way, on hand and at stage 1 owed."""
    slopes = np.full(1 + points, problem.holding[j, end] - problem.transit[j, end])
    slopes[0] -= problem.short[end] if j == 0 else 0.0
    return Convex(0.0, slopes)


def waiting_cost(problem: SerialProblem, j: int, passed_on: Sequence[Convex]) -> float:
    """Expected cost of the echelon stock of stage j until its first order arrives, short stages below included."""
    cost, step, lead = 0.0, problem.step, problem.lead[j]
    points = int(np.ceil(problem.position[j] / step)) + 1
    for end in range(min(lead, problem.periods)):
        stock = _stock_cost(problem, j, end, points).after(problem.total(0, end + 1), step)
        cost += stock.at(problem.held(j, end + 1), step)
    for t in range(min(lead + problem.later, problem.periods) if passed_on else 0):
        short = passed_on[t].after(problem.total(0, t + problem.known), step)
        cost += short.at(problem.held(j, t + 1 - problem.later), step)
    return cost


# -- limits -----------------------------------------------------------------------------------------------------------

#: A level and the period of its order: a position that has lost to demand what was asked for since.
_Since = tuple[float, int]


def limit_probability(problem: SerialProblem, levels: FloatArray) -> float:
    """A bound, from above, of the probability that echelon levels (T, N) ever ask for more than a stage's limit.

    What a stage can ask for is the lesser of its level and what the stage upstream holds, less its position. Both are
    levels of earlier periods less the demand since, so that what is asked for is at most a difference of two levels and
    the demand in between; the probabilities of all that may be the case add up.
    """
    bounds, total = _Bounds(problem, levels), 0.0
    for j in np.flatnonzero(np.isfinite(problem.limits)):
        for t in np.flatnonzero(levels[:, j] > -np.inf):
            total += bounds.asks_more(int(j), int(t), problem.limits[j])
    return min(1.0, total)


class _Bounds:
    def __init__(self, problem: SerialProblem, levels: FloatArray) -> None:
        self.problem, self.levels = problem, levels
        self.stages = len(problem.lead)

    def asks_more(self, j: int, t: int, limit: float) -> float:
        """Bound of the probability that stage j asks for more than its limit in period t."""
        found = 0.0
        for least in self.position(j, t):
            level = self.levels[t, j]
            asked = 1.0 if np.isposinf(level) else self._exceeds((level, t), least, limit)
            if asked > NEGLIGIBLE / (self.problem.periods * self.stages) and j + 1 < self.stages:
                asked = min(asked, sum(self._exceeds(most, least, limit) for most in self.most(j + 1, t)))
            found += asked
        return found

    def position(self, j: int, t: int) -> list[_Since]:
        """The position of stage j before ordering in period t is at least the least of these."""
        ordered = np.flatnonzero(self.levels[:t, j] > -np.inf)
        if not len(ordered):
            return [self._start(self.problem.position[j])]
        last = int(ordered[-1])
        level = self.levels[last, j]
        reached = [] if np.isposinf(level) else [(float(level), last)]
        return reached + (self._least(j + 1, last) if j + 1 < self.stages else [])

    def _least(self, j: int, t: int) -> list[_Since]:
        """What stage j can ship from in period t, with all below it, is at least the least of these."""
        sent = t - self.problem.lead[j] - self.problem.later
        return self._begun(j, t) if sent < 0 else self.position(j, sent + 1)

    def most(self, j: int, t: int) -> set[_Since]:
        """It is at most the greatest of these."""
        sent = t - self.problem.lead[j] - self.problem.later
        if sent < 0:
            return set(self._begun(j, t))
        out = {self._start(self.problem.position[j])}
        for s in range(sent + 1):
            level = self.levels[s, j]
            if np.isposinf(level):
                out |= self.most(j + 1, s)
            elif np.isfinite(level):
                out.add((float(level), s))
        return out

    def _begun(self, j: int, t: int) -> list[_Since]:
        return [self._start(self.problem.held(j, t + 1 - self.problem.later))]

    def _start(self, units: float) -> _Since:
        return float(units), -self.problem.known

    def _exceeds(self, more: _Since, less: _Since, limit: float) -> float:
        """Probability that one position lies more than the limit above the other."""
        (high, s), (low, since) = more, less
        mass = self.problem.ahead(min(s, since), abs(s - since))
        demand = self.problem.step * np.arange(len(mass))
        apart = high - low + (demand if s >= since else -demand)
        return float(mass[apart > limit + 1e-9].sum())
