"""Classical rules of the real-demand study: few parameters, shared by all series, tuned by playing the record.

All quantities are in the unit of a series, and ``covered`` is the number of weekly demands that an order covers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.search import Evolution
from experiments.real_demand_signals import Signals

__all__ = ["RULES", "Rule", "Search", "Tuned", "tune_rule"]

FloatArray = NDArray[np.float64]


class Rule(ABC):
    """Targets from parameters.

    Attributes
    ----------
    name
        In the table.
    names, low, start, high
        Its parameters and where they are searched.
    up_to
        Whether targets are levels to order up to, or quantities to order.
    """

    name: str
    names: tuple[str, ...]
    low: tuple[float, ...]
    start: tuple[float, ...]
    high: tuple[float, ...]
    up_to = True

    def __init__(self, signals: Signals, covered: int) -> None:
        self.signals, self.covered = signals, covered

    @property
    def space(self) -> ParameterSpace:
        """The parameters, as the search takes them."""
        low, start, high = (np.array(values) for values in (self.low, self.start, self.high))
        return ParameterSpace(self.names, low, start, high, np.zeros(len(low), dtype=np.bool_))

    @abstractmethod
    def targets(self, parameters: FloatArray) -> FloatArray:
        """Targets (C, N, T) of candidates (C, P)."""


class Constant(Rule):
    """The same quantity every week from a series' first listed week on: ``share`` of its mean orders in training."""

    name, names = "constant", ("share",)
    low, start, high = (0.0,), (1.0,), (3.0,)
    up_to = False

    def targets(self, parameters: FloatArray) -> FloatArray:
        return np.asarray(parameters[:, 0, None, None] * self.signals.seen)


class BaseStock(Rule):
    """Up to ``cover`` weeks of mean orders in training, whatever is forecast."""

    name, names = "base_stock", ("cover",)
    low, start, high = (0.0,), (8.0,), (40.0,)

    def targets(self, parameters: FloatArray) -> FloatArray:
        return np.asarray(parameters[:, 0, None, None] * self.signals.seen)


class PlainForecast(Rule):
    """Up to ``trust`` x the forecast over the weeks covered + ``safety``, both the same for all series and times."""

    name, names = "base_stock_plain_forecast", ("trust", "safety")
    low, start, high = (0.0, 0.0), (0.4, 2.0), (2.0, 20.0)

    def targets(self, parameters: FloatArray) -> FloatArray:
        trust, safety = (parameters[:, k, None, None] for k in range(2))
        return np.asarray(trust * self.covered * self.signals.forecast + safety * self.signals.told)


class CorrectedForecast(Rule):
    """The forecast corrected for the bias it has had: forecast x smoothed orders / smoothed forecasts.

    The correction of Manary & Willems (2008), Interfaces 38(4), made current. Up to ``trust`` x the corrected forecast
    over the weeks covered + ``usual`` x the orders smoothed with ``memory`` over them + ``safety`` standard deviations
    (1.25 mean absolute errors). ``smoothing`` is the constant of the correction, which is at most ``most``.
    """

    name = "base_stock_on_forecast"
    names = ("smoothing", "trust", "memory", "usual", "safety", "most")
    low = (0.02, 0.0, 0.02, 0.0, 0.0, 0.2)
    start = (0.2, 0.8, 0.2, 0.2, 0.5, 2.0)
    high = (0.6, 3.0, 0.6, 3.0, 4.0, 4.0)

    def targets(self, parameters: FloatArray) -> FloatArray:
        smoothing, memory = parameters[:, 0], parameters[:, 2]
        trust, usual, safety, most = (parameters[:, k, None, None] for k in (1, 3, 4, 5))
        told = self.signals.smoothed_forecasts(smoothing)
        ratio = np.ones_like(told)
        np.divide(self.signals.smoothed_orders(smoothing), told, out=ratio, where=told > 0.0)
        corrected = self.signals.forecast * np.minimum(ratio, most)
        spread = safety * 1.25 * np.sqrt(self.covered) * self.signals.deviation(0.1)
        return np.asarray(self.covered * (trust * corrected + usual * self.signals.smoothed_orders(memory)) + spread)


class ExponentialSmoothing(Rule):
    """Up to the orders smoothed with ``smoothing`` over the weeks covered + ``safety`` standard deviations."""

    name, names = "exponential_smoothing", ("smoothing", "safety")
    low, start, high = (0.02, -1.0), (0.2, 1.0), (0.8, 6.0)

    def targets(self, parameters: FloatArray) -> FloatArray:
        smoothing, safety = parameters[:, 0], parameters[:, 1, None, None]
        spread = 1.25 * np.sqrt(self.covered) * self.signals.deviation(smoothing)
        return np.asarray(np.maximum(self.covered * self.signals.smoothed_orders(smoothing) + safety * spread, 0.0))


#: In the order of the table.
RULES: tuple[type[Rule], ...] = (Constant, BaseStock, PlainForecast, ExponentialSmoothing, CorrectedForecast)


@dataclass(frozen=True)
class Search:
    """How widely parameters are searched: independent restarts of so many generations of candidates."""

    restarts: int = 3
    generations: int = 80
    candidates: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Tuned:
    """A rule with the best parameters found.

    Attributes
    ----------
    parameters
        (P,)
    cost
        Of the search's objective; optimistic, as every winner's is.
    """

    rule: Rule
    parameters: FloatArray
    cost: float

    @property
    def targets(self) -> FloatArray:
        """(N, T)."""
        return np.asarray(self.rule.targets(self.parameters[None])[0])


def tune_rule(
    rule: Rule, objective: Callable[[Rule, FloatArray], Sequence[float] | FloatArray], search: Search
) -> Tuned:
    """The parameters with the lowest objective among all that the search looked at.

    Parameters
    ----------
    objective
        From a rule and targets (C, N, T) to costs (C,).
    """
    space = rule.space
    best, lowest = space.start, float(objective(rule, rule.targets(space.start[None]))[0])
    for restart in range(search.restarts):
        # The package cannot search in one dimension; a dimension that changes nothing makes it two.
        wide = space if len(space) > 1 else _doubled(space)
        evolution = Evolution(wide, [search.seed, restart, len(rule.name)], search.candidates)
        for _ in range(search.generations):
            asked = evolution.ask()
            cost = np.asarray(objective(rule, rule.targets(asked[:, : len(space)])))
            evolution.tell(cost)
            at = int(np.argmin(cost))
            if cost[at] < lowest:
                best, lowest = asked[at, : len(space)], float(cost[at])
    return Tuned(rule, np.asarray(best), lowest)


def _doubled(space: ParameterSpace) -> ParameterSpace:
    low, start, high = (np.repeat(values, 2) for values in (space.low, space.start, space.high))
    return ParameterSpace((*space.names, "nothing"), low, start, high, np.zeros(2, dtype=np.bool_))
