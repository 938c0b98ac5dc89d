"""The real-demand study as data: which weeks and series count for what, what policies order, what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.real_demand_config import RealDemandConfig
from experiments.real_demand_learner import Learned, Learning, learn_levels
from experiments.real_demand_rules import RULES, CorrectedForecast, Rule, Search, Tuned, tune_rule
from experiments.real_demand_signals import Signals
from experiments.real_demand_world import Outcome, play
from twin.compile import compile_network
from twin.errors import ConfigError
from twin.ingest.intel import History
from twin.ingest.panel import make_panel, panel_network

__all__ = ["REFERENCES", "Part", "Played", "Study"]

FloatArray = NDArray[np.float64]

#: Policies that all others are compared with: the tuned base-stock on forecast, in both ways to tune it.
REFERENCES = ("base_stock_on_forecast", "base_stock_on_forecast_long")

#: Weeks of training that no policy is judged by: pipelines fill.
_FILLING = 13


@dataclass(frozen=True, eq=False)
class Part:
    """Weeks that are scored together.

    Attributes
    ----------
    name
        ``train``, ``tune`` or ``test``.
    first, end
        Weeks, counted from 0, ``end`` not included.
    series
        (N,) which count: those active before ``first``.
    weight
        (N,) network units in a series' usual weekly orders before ``first``, inverted; 0 where it does not count.
    """

    name: str
    first: int
    end: int
    series: NDArray[np.bool_]
    weight: FloatArray

    def score(self, values: FloatArray) -> FloatArray:
        """Mean per week (..., n) of the n series that count, in their own units, of values (..., N, T)."""
        weeks = values[..., self.series, self.first : self.end].mean(axis=-1)
        return np.asarray(weeks * self.weight[self.series])


@dataclass(frozen=True, eq=False)
class Played:
    """A policy on all series and weeks.

    Attributes
    ----------
    outcome
        Of the twin.
    choice
        What was tuned or learned, as plain data.
    tune_cost
        Mean cost per series-week on the tune weeks, in the series' own units.
    """

    outcome: Outcome
    choice: dict[str, object]
    tune_cost: float


class Study:
    """Everything before the table.

    Parameters
    ----------
    history
        The file.
    config
        Splits, assumptions, budgets.

    Raises
    ------
    ConfigError
        When there are no weeks to report on, or no series to train on or to report.
    """

    def __init__(self, history: History, config: RealDemandConfig) -> None:
        whole = make_panel(history)
        first, tuned = config.train_weeks, config.train_weeks + config.tune_weeks
        if whole.weeks <= tuned:
            raise ConfigError(f"{whole.weeks} weeks leave none to report after {tuned} for training and tuning")
        known = whole.listed[:, :first].sum(axis=1) >= config.least_listed
        known &= whole.orders[:, :first].sum(axis=1) > 0.0
        if not known.any():
            raise ConfigError(f"no series is listed in {config.least_listed} of the first {first} weeks")
        self.config, self.panel = config, whole.chosen(np.flatnonzero(known))
        self.unit = self.panel.unit(first)
        self.covered = config.lead_time + 1
        self.parts = {
            "train": Part(
                "train", min(_FILLING, first - 1), first, np.ones(self.series, dtype=bool), np.ones(self.series)
            ),
            "tune": self._part("tune", first, tuned),
            "test": self._part("test", tuned, self.panel.weeks),
        }
        orders = whole.orders[:, tuned:].sum()
        scored = self.panel.orders[self.parts["test"].series, tuned:].sum()
        #: Share of all orders of the weeks reported that the scored series stand for.
        self.share = float(scored / orders) if orders > 0.0 else 0.0
        self._terms: dict[str, Any] = {
            "lead_time": config.lead_time,
            "holding": config.holding,
            "penalty": config.penalty,
        }
        self._known = {"forecast_lag": config.forecast_lag, "carry": config.carry}
        given = config.learner
        self.learning = Learning(
            given.updates, given.every, given.learning_rate, given.weight_decay, tuple(given.net_arch)
        )
        self.training = self.panel.until(first)
        self.compiled = compile_network(panel_network(self.panel, self.unit, **self._terms))
        self.compiled_training = compile_network(panel_network(self.training, self.unit, **self._terms))
        self.signals = Signals(self.panel, self.unit, **self._known)
        self.training_signals = Signals(self.training, self.unit, **self._known)

    @property
    def series(self) -> int:
        """N, the number of series that policies act on."""
        return len(self.panel.names)

    def _part(self, name: str, first: int, end: int) -> Part:
        config, unit = self.config, self.panel.unit(first)
        active = self.panel.active(first, least=config.active_least, window=config.active_window) & (unit > 0.0)
        if not active.any():
            raise ConfigError(
                f"no series is listed in {config.active_least} of the {config.active_window} weeks before the "
                f"{name} weeks"
            )
        weight = np.where(active, self.unit / np.where(unit > 0.0, unit, 1.0), 0.0)
        return Part(name, first, end, active, weight)

    # -- policies -----------------------------------------------------------------------------------------------

    def classical(self, done: Callable[[str], None] | None = None) -> Iterator[tuple[str, Played]]:
        """Every classical rule with its best parameters; the base-stock on forecast also tuned on all weeks before."""
        search = Search(**self.config.search.model_dump())
        for rule in RULES:
            yield rule.name, self._tuned(tune_rule(rule(self.signals, self.covered), self._tune_objective, search))
        forecast = CorrectedForecast(self.signals, self.covered)
        yield f"{forecast.name}_long", self._tuned(tune_rule(forecast, self._long_objective, search))

    def learned(self, progress: Callable[[int, int, float], None] | None = None) -> Iterator[tuple[str, Played]]:
        """The learned policy of every seed and the mean of their levels, trained on the training weeks alone.

        Then the same, called ``_long``, trained anew on all weeks before those reported, for as many gradient steps as
        the tune weeks chose: beside the rule that is tuned on the same weeks.

        Parameters
        ----------
        progress
            Called with (training, gradient steps, cost on the tune weeks).
        """
        seeds = self.config.learner.seeds
        first = [self.learn(seed, _with(progress, k)) for k, seed in enumerate(seeds)]
        yield from self._ensemble("learned", first)
        steps = max(1, round(float(np.mean([entry.updates for entry in first]))))
        yield from self._ensemble(
            "learned_long", [self.relearn(seed, steps, _with(progress, len(seeds) + k)) for k, seed in enumerate(seeds)]
        )

    def learn(self, seed: int, progress: Callable[[int, float], None] | None = None) -> Learned:
        """Train on the training weeks, stop on the tune weeks."""
        return learn_levels(
            self.compiled_training,
            self.training_signals.features,
            self.signals.features,
            lambda levels: float(self._scores(levels, True, "tune").mean()),
            seed=seed,
            covered=self.covered,
            learning=self.learning,
            progress=progress,
        )

    def relearn(self, seed: int, steps: int, progress: Callable[[int, float], None] | None = None) -> Learned:
        """Train on all weeks before those reported, for so many gradient steps."""
        before = self.panel.until(self.parts["test"].first)
        unit = before.unit(before.weeks)
        return learn_levels(
            compile_network(panel_network(before, unit, **self._terms)),
            Signals(before, unit, **self._known).features,
            self.signals.features,
            None,
            seed=seed,
            covered=self.covered,
            learning=self.learning,
            stop=steps,
            progress=progress,
        )

    def _ensemble(self, name: str, trained: list[Learned]) -> Iterator[tuple[str, Played]]:
        levels = np.mean([entry.levels for entry in trained], axis=0)
        yield name, self._played(levels, {"mean_of_the_levels_of_seeds": [entry.seed for entry in trained]})
        for entry in trained:
            looks = [] if np.isnan(entry.cost) else entry.history.tolist()
            choice = {"seed": entry.seed, "gradient_steps": entry.updates, "tune_costs": looks}
            yield f"{name}_seed_{entry.seed}", self._played(entry.levels, choice)

    def foresight(self) -> Played:
        """What knowing all orders beforehand would cost: up to the orders of the weeks that an order covers."""
        orders = self.signals.orders
        ahead = np.concatenate([orders, np.zeros((self.series, self.covered))], axis=1)
        levels = sum(ahead[:, k : k + self.panel.weeks] for k in range(self.covered))
        return self._played(np.asarray(levels), {})

    def play(self, targets: FloatArray, *, up_to: bool = True) -> Outcome:
        """Targets (..., N, T) through the twin; T may be fewer weeks than there are."""
        return play(self.compiled, self.series, targets, up_to=up_to)

    def _tuned(self, tuned: Tuned) -> Played:
        choice = dict(zip(tuned.rule.names, tuned.parameters.tolist(), strict=True))
        return self._played(tuned.targets, dict(choice), up_to=tuned.rule.up_to)

    def _played(self, targets: FloatArray, choice: dict[str, object], *, up_to: bool = True) -> Played:
        outcome = self.play(targets, up_to=up_to)
        return Played(outcome, choice, float(self.parts["tune"].score(outcome.cost).mean()))

    # -- what is minimised --------------------------------------------------------------------------------------

    def _scores(self, targets: FloatArray, up_to: bool, part: str) -> FloatArray:
        """Costs (..., n) of a part; weeks after it are not played."""
        scored = self.parts[part]
        return scored.score(self.play(targets[..., : scored.end], up_to=up_to).cost)

    def _tune_objective(self, rule: Rule, targets: FloatArray) -> FloatArray:
        return np.asarray(self._scores(targets, rule.up_to, "tune").mean(axis=-1))

    def _long_objective(self, rule: Rule, targets: FloatArray) -> FloatArray:
        """Mean over all series-weeks of training and tuning."""
        train, tune = self.parts["train"], self.parts["tune"]
        cost = self.play(targets[..., : tune.end], up_to=rule.up_to).cost
        total, weeks = np.zeros(cost.shape[:-2]), 0
        for part in (train, tune):
            scores, length = part.score(cost), part.end - part.first
            total, weeks = total + scores.sum(axis=-1) * length, weeks + scores.shape[-1] * length
        return np.asarray(total / weeks)


def _with(progress: Callable[[int, int, float], None] | None, number: int) -> Callable[[int, float], None] | None:
    return None if progress is None else lambda steps, cost: progress(number, steps, cost)
