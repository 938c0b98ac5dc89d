"""A serial system whose second stage from outside ships no more than a limit in a period: exact costs.

The stages below are solved as in :mod:`agents.oracles.serial_horizon`, because a limit upstream changes nothing in
their part. The two upstream stages are one dynamic program over the position x of the limited stage and the stock q
that it can draw on: nothing is on its way to that stock at a decision, so that the two are the whole state. Cost is
convex in the positions after ordering, so that for each x + q one position is best without the limit, and the nearest
one that is feasible with it: a base-stock level that depends on x + q.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from agents.oracles.serial_horizon import NEGLIGIBLE, Convex, position_cost, serial_horizon, solve_stage, waiting_cost
from agents.oracles.serial_problem import SerialProblem, mean_steps
from twin.errors import ConfigError

__all__ = ["limited_cost"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Points of the lattice beyond the levels without a limit, to begin with.
_ROOM = 64


def limited_cost(problem: SerialProblem, levels: FloatArray | None = None) -> float:
    """Expected cost of all periods together under the limit: the least, or that of given echelon levels.

    Parameters
    ----------
    problem
        In whole numbers, with a limit on the stage below the most upstream one alone, and one period from an order of
        the most upstream stage until that stock can be passed on.
    levels
        (T, N) units, the customers' stage first, as :func:`agents.oracles.serial_horizon.serial_horizon` gives them.
        The levels of the stages below the limit must be those.

    Raises
    ------
    ConfigError
        When the problem is another one.
    """
    limited = len(problem.lead) - 2
    reason = _other_than_solvable(problem, limited)
    if reason is not None:
        raise ConfigError(f"no exact cost under the limit, because {reason}")
    free = serial_horizon(problem)
    if levels is not None and not np.array_equal(levels[:, :limited], free.levels[:, :limited]):
        raise ConfigError("levels of the stages below the limit must be the optimal ones")
    if levels is not None and np.isposinf(levels[:, -1]).any():
        raise ConfigError("levels of the most upstream stage must be finite, or minus infinity to order nothing")
    room = _ROOM
    while True:
        cost, touched = _solve(problem, _Lattice.of(problem, free.levels, room), levels)
        if touched <= NEGLIGIBLE:
            return cost
        room *= 2


def _other_than_solvable(problem: SerialProblem, limited: int) -> str | None:
    others = np.delete(problem.limits, limited) if limited >= 0 else problem.limits
    numbers = np.concatenate([problem.position, problem.echelon, problem.limits, *problem.arriving])
    numbers = numbers[np.isfinite(numbers)]
    checks = (
        (limited < 0, "there is no second stage"),
        (bool(np.isfinite(others).any()), "a stage other than the second from outside has a limit"),
        (not np.isfinite(problem.limits[limited]), "the second stage from outside has none"),
        (
            problem.lead[-1] + problem.later != 1,
            "more or less than a period lies between an order of the most upstream stage and what it can pass on",
        ),
        (problem.step != 1.0 or bool((numbers % 1.0 != 0.0).any()), "not all numbers are whole"),
    )
    return next((reason for wrong, reason in checks if wrong), None)


class _Lattice(NamedTuple):
    """Positions ``low`` to ``high`` of the limited stage, and stocks 0 to ``most`` that it can draw on."""

    low: int
    high: int
    most: int

    @classmethod
    def of(cls, problem: SerialProblem, levels: FloatArray, room: int) -> _Lattice:
        reached = [float(level) for level in levels[np.isfinite(levels)]]
        # Lower than this no position falls, even where nothing is ever ordered.
        low = problem.position[-2] - (len(problem.total(0, problem.periods)) - 1)
        high = max([float(problem.position[-1]), *reached]) + room
        most = max(float(problem.position[-1] - problem.position[-2]), float(problem.limits[-2])) + room
        return cls(int(low), int(high), int(most))

    @property
    def positions(self) -> IntArray:
        return np.arange(self.low, self.high + 1)

    @property
    def stocks(self) -> IntArray:
        return np.arange(self.most + 1)


def _solve(problem: SerialProblem, lattice: _Lattice, levels: FloatArray | None) -> tuple[float, float]:
    """Cost, and the probability of decisions at the upper edges of the lattice."""
    j, x, q = len(problem.lead) - 2, lattice.positions, lattice.stocks
    points = lattice.high + lattice.most + 2
    cost = -sum(float(p) * mean_steps(problem.total(t, 1)) for t, p in enumerate(problem.price))
    passed_on: list[Convex] = []
    for below in range(j):
        cost += waiting_cost(problem, below, passed_on)
        own, passed_on, _ = solve_stage(problem, below, passed_on, points)
        cost += own.after(problem.total(0, problem.known), 1.0).at(problem.position[below], 1.0)
    cost += waiting_cost(problem, j, passed_on) + waiting_cost(problem, j + 1, [])
    total = x[:, None] + q
    future, decisions = np.zeros(total.shape), []
    for t in reversed(range(problem.periods)):
        follows = _expected(future, problem.ahead(t, 1)) if t + 1 < problem.periods else future
        limited = _values(position_cost(problem, j, t, passed_on, points), x)
        outside = _values(position_cost(problem, j + 1, t, [], points), np.arange(x[0], x[-1] + q[-1] + 1))
        costs = limited[:, None] + outside[total - x[0]] + follows
        choice = (
            _best(costs, problem.limits[j])
            if levels is None
            else _levelled(lattice, problem.limits[j], levels[t, j], levels[t, j + 1])
        )
        future = costs.ravel()[choice].reshape(costs.shape) - problem.unit[j, t] * x[:, None]
        future -= problem.unit[j + 1, t] * total
        decisions.append(choice)
    # Forward once more: where do the decisions lead?
    there, touched = np.zeros(total.shape), 0.0
    start = int(problem.position[j])
    drawn = int(problem.held(j + 1, 1 - problem.later)) - start
    known = problem.total(0, problem.known)
    there[start - lattice.low - np.arange(len(known)), drawn] = known
    cost += float((there * future).sum())
    for t, choice in enumerate(reversed(decisions)):
        after = np.bincount(choice, weights=there.ravel(), minlength=there.size).astype(np.float64)
        after = after.reshape(total.shape)
        touched += float(after[-1].sum() + after[:, -1].sum())
        if t + 1 < problem.periods:
            there = np.maximum(_shifted(after, problem.ahead(t, 1)), 0.0)
    return cost, touched


def _values(function: Convex, x: IntArray) -> FloatArray:
    """A function at whole numbers."""
    above = function.value + np.concatenate([[0.0], np.cumsum(function.slopes[1:])])
    return np.where(x > 0, above[np.maximum(x, 0)], function.value + function.slopes[0] * x)


def _expected(values: FloatArray, mass: FloatArray) -> FloatArray:
    """Expectation of rows at x - D; rows below the first, which are never reached, count as the first."""
    padded = np.concatenate([np.repeat(values[:1], len(mass) - 1, axis=0), values])
    return np.asarray(signal.oaconvolve(padded, mass[:, None], mode="valid", axes=0))


def _shifted(values: FloatArray, mass: FloatArray) -> FloatArray:
    """Probabilities of rows x - D from those of rows x."""
    padded = np.concatenate([values, np.zeros((len(mass) - 1, values.shape[1]))])
    return np.asarray(signal.oaconvolve(padded, mass[::-1, None], mode="valid", axes=0))


def _best(costs: FloatArray, limit: float) -> NDArray[np.int32]:
    """Flat index of the best (y, stock) after ordering, per state; ``costs`` per (y, stock after ordering)."""
    rows, columns = costs.shape
    # Stock after shipping can be raised from outside: the least cost of as much or more.
    backwards = costs[:, ::-1]
    least = np.minimum.accumulate(backwards, axis=1)
    place = np.where(backwards <= least, np.arange(columns)[None, :], 0)
    raised = (columns - 1 - np.maximum.accumulate(place, axis=1))[:, ::-1]
    least = least[:, ::-1]
    # What is left after shipping, best for each x + q where anything up to all may ship.
    left = np.arange(columns)
    y = np.arange(rows + columns - 1)[:, None] - left
    inside = (y >= 0) & (y < rows)
    along = np.where(inside, least[np.clip(y, 0, rows - 1), left], np.inf)
    wanted = np.argmin(along, axis=1)
    state = np.arange(rows)[:, None] + left
    lowest = np.maximum(np.maximum(left - int(limit), 0), state - (rows - 1))
    left = np.clip(wanted[state], lowest, np.broadcast_to(left, state.shape))
    y = state - left
    return np.asarray((y * columns + raised[y, left]).ravel(), dtype=np.int32)


def _levelled(lattice: _Lattice, limit: float, level: float, outside: float) -> NDArray[np.int32]:
    """The same for echelon levels of the two stages."""
    x, q = lattice.positions[:, None], lattice.stocks
    shipped = np.clip(level - x, 0.0, np.minimum(np.minimum(q, limit), lattice.high - x)).astype(np.int64)
    stock = np.maximum(x + q, outside) - x - shipped
    stock = np.minimum(stock, lattice.most).astype(np.int64)
    return np.asarray(((x + shipped - lattice.low) * len(q) + stock).ravel(), dtype=np.int32)
