"""The comparison of policies on the same paths, as data: what each costs, and every pair of them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.evaluation import Measurement
from experiments.config import EvaluationConfig
from experiments.outages import Group, Outages, split
from experiments.results_files import comparison_csv, comparison_data, save_comparison
from experiments.results_text import comparison_text
from experiments.statistics import (
    FEWEST_IN_TAIL,
    Interval,
    mean_interval,
    paired_difference,
    scale_of,
    tail_interval,
)
from experiments.statistics_crossed import Bootstrap
from experiments.statistics_pairs import compare_pair, holm
from twin.economics import COST_TERMS
from twin.network import Network

__all__ = ["ALL_PAIRS", "Bound", "Comparison", "Pair", "Row", "Verdict", "compare", "rows_and_pairs"]

FloatArray = NDArray[np.float64]
Verdict = Literal["lower", "higher", "not decided"]

#: Every policy with every other one.
ALL_PAIRS = None


@dataclass(frozen=True)
class Pair:
    """A policy and a reference on the same paths.

    Attributes
    ----------
    policy, reference
        Their names.
    difference
        Mean of (policy - reference), money per period.
    percent
        The same in per cent of the reference's cost; None where that is 0.
    improvement
        Probability that the policy costs less than the reference on a path drawn at random.
    p, p_holm
        Of no difference; the second holds for all pairs of the comparison together (Holm 1979).
    verdict
        ``lower`` or ``higher`` where ``p_holm`` is below one minus the confidence.
    """

    policy: str
    reference: str
    difference: Interval
    percent: Interval | None
    improvement: Interval
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class Row:
    """One policy.

    Attributes
    ----------
    policy
        Its name.
    seeds
        Training seeds that stand behind it; 1 for a classical policy.
    cost
        Mean cost per period with its interval, money.
    middle
        Mean cost of the middle half of seeds and paths (interquartile mean).
    tail
        Mean cost over the worst 5 % of paths (CVaR 95 %), on average over the seeds; None with few paths.
    service
        Share of demand met at once from stock (fill rate).
    term_intervals
        Mean of every cost term, money per period.
    gap
        Cost over the known optimum, per cent of it; None where no optimum is known.
    over_bound
        Cost over the hindsight bound on the paths that it was computed on, per cent of it.
    gap_closed
        How far it goes from the first reference to the hindsight bound, per cent of the way, on the same paths; None
        for the reference itself, on one path, and where nothing lies between the two.
    exact
        Exact cost per period, on average over the seeds; None where it was not asked for.
    differences
        Against each reference: mean of (this - reference) over the same paths.
    """

    policy: str
    seeds: int
    cost: Interval
    middle: Interval
    tail: Interval | None
    service: Interval
    term_intervals: dict[str, Interval]
    gap: Interval | None
    over_bound: Interval | None
    gap_closed: Interval | None
    exact: float | None
    differences: dict[str, Interval]

    @property
    def fill_rate(self) -> float:
        """Share of demand met at once from stock."""
        return self.service.mean

    @property
    def terms(self) -> dict[str, float]:
        """Mean of every cost term, money per period."""
        return {name: value.mean for name, value in self.term_intervals.items()}


@dataclass(frozen=True)
class Bound:
    """What perfect foresight would pay on the first of the evaluation paths.

    Attributes
    ----------
    cost
        Per period.
    paths
        How many it was computed on.
    reference
        The policy from which the gap to it is closed.
    """

    cost: Interval
    paths: int
    reference: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Policies on the same evaluation paths.

    Attributes
    ----------
    rows
        In the order of the table.
    pairs
        Every comparison that was made.
    bound
        The hindsight bound, where it was asked for.
    horizon
        Periods of the problem where it ends; None where it continues.
    groups
        The costs split by what failed on the paths; none where nothing ever fails.
    failing_at_end
        Paths on which something still fails where the horizon ends.
    costs
        Policy -> (S, N) mean cost per period by training seed and path.
    """

    network: Network
    evaluation: EvaluationConfig
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    bound: Bound | None = None
    horizon: int | None = None
    groups: tuple[Group, ...] = ()
    failing_at_end: int = 0
    costs: dict[str, FloatArray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def unit(self) -> str:
        """Unit of every cost."""
        return f"{self.network.currency} per {self.network.period}"

    def row(self, policy: str) -> Row:
        """The row of a policy."""
        return next(row for row in self.rows if row.policy == policy)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return comparison_data(self)

    def table(self) -> str:
        """The tables for the screen."""
        return comparison_text(self)

    def csv(self) -> str:
        """One row per policy."""
        return comparison_csv(self)

    def save(self, folder: Path) -> None:
        """Write ``comparison.json``, ``comparison.csv`` and ``comparison.txt``, each whole or not at all."""
        save_comparison(self, folder)


def compare(
    network: Network,
    evaluation: EvaluationConfig,
    measurements: Mapping[str, Measurement | Sequence[Measurement]],
    references: Sequence[str] | None = ALL_PAIRS,
    *,
    bound: FloatArray | None = None,
    exact: Mapping[str, float] | None = None,
    horizon: int | None = None,
    outages: Outages | None = None,
) -> Comparison:
    """Compare measurements that were made on the same paths.

    Parameters
    ----------
    measurements
        Policy name -> its measurement, or one for each training seed, in the order of the table.
    references
        Names among them that every other policy is compared with; None for every pair.
    bound
        Cost per period that foresight could reach on each of the first paths.
    exact
        Policy name -> exact cost per period.
    horizon
        Periods of a problem that ends; an optimum that is known of the endless one is not its own.
    outages
        What failed on the paths, see :func:`experiments.outages.outages_on_paths`.
    """
    optimum = None if horizon is not None else network.known_value("optimal_cost")
    value = None if optimum is None else optimum.value
    rows, pairs = rows_and_pairs(measurements, evaluation, references, optimum=value, bound=bound, exact=exact)
    costs = {name: _costs(measured) for name, measured in measurements.items()}
    found: Bound | None = None
    groups: tuple[Group, ...] = ()
    options: dict[str, Any] = {"confidence": evaluation.confidence, "resamples": evaluation.resamples}
    if bound is not None:
        found = Bound(mean_interval(bound, **options), len(bound), _first(references, costs))
    if outages is not None:
        against = next(iter(costs) if references is None else (name for name in references if name in costs), None)
        groups = split(outages, costs, against, network.period, **options)
    at_end = 0 if outages is None else int(outages.at_end.sum())
    return Comparison(network, evaluation, rows, pairs, found, horizon, groups, at_end, costs)


def rows_and_pairs(
    measurements: Mapping[str, Measurement | Sequence[Measurement]],
    evaluation: EvaluationConfig,
    references: Sequence[str] | None = ALL_PAIRS,
    *,
    optimum: float | None = None,
    bound: FloatArray | None = None,
    exact: Mapping[str, float] | None = None,
) -> tuple[tuple[Row, ...], tuple[Pair, ...]]:
    """The rows and pairs of :func:`compare`, of measurements whose network need not be known."""
    tables = {name: _members(measured) for name, measured in measurements.items()}
    costs = {name: _costs(measured) for name, measured in measurements.items()}
    paths = next(iter(costs.values())).shape[1]
    bootstrap = Bootstrap(paths, confidence=evaluation.confidence, resamples=evaluation.resamples)
    pairs = _pairs(costs, references, bootstrap)
    first = _first(references, costs)
    start = None if first is None else costs[first].mean(axis=0)
    rows = tuple(
        _row(
            name,
            found,
            bootstrap,
            optimum=optimum,
            bound=bound,
            start=None if name == first else start,
            exact=(exact or {}).get(name),
            differences={pair.reference: pair.difference for pair in pairs if pair.policy == name},
        )
        for name, found in tqdm(tables.items(), desc="intervals", unit="policy", disable=None, leave=False)
    )
    return rows, pairs


def _members(measured: Measurement | Sequence[Measurement]) -> list[Measurement]:
    return [measured] if isinstance(measured, Measurement) else list(measured)


def _first(references: Sequence[str] | None, names: Container[str]) -> str | None:
    """The first reference; None where every pair is compared, so that no policy is one."""
    return next((name for name in references or () if name in names), None)


def _costs(measured: Measurement | Sequence[Measurement]) -> FloatArray:
    return np.stack([one.cost for one in _members(measured)])


def _pairs(costs: Mapping[str, FloatArray], references: Sequence[str] | None, bootstrap: Bootstrap) -> tuple[Pair, ...]:
    names = list(costs)
    if references is None:
        chosen = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    else:
        chosen = [(name, reference) for name in names for reference in references if reference != name]
        chosen = [pair for pair in chosen if pair[1] in costs]
    found = [compare_pair(costs[a], costs[b], bootstrap, names=(a, b)) for a, b in chosen]
    # The same two policies both ways are one comparison.
    once: dict[frozenset[str], float] = {frozenset(pair): one.p for pair, one in zip(chosen, found, strict=True)}
    adjusted = dict(zip(once, holm(list(once.values())), strict=True))
    level = 1.0 - bootstrap.confidence
    out = []
    for (a, b), one in zip(chosen, found, strict=True):
        p = adjusted[frozenset((a, b))]
        verdict: Verdict = "not decided" if p >= level else "lower" if one.difference.mean < 0.0 else "higher"
        percent = _percent(one.difference, 0.0, float(costs[b].mean()))
        out.append(Pair(a, b, one.difference, percent, one.improvement, one.p, p, verdict))
    return tuple(out)


def _row(
    name: str,
    measured: Sequence[Measurement],
    bootstrap: Bootstrap,
    *,
    optimum: float | None,
    bound: FloatArray | None,
    start: FloatArray | None,
    exact: float | None,
    differences: dict[str, Interval],
) -> Row:
    costs = np.stack([one.cost for one in measured])
    alone = {"confidence": bootstrap.confidence, "resamples": bootstrap.resamples}
    once = len(costs) == 1
    cost = mean_interval(costs[0], **alone) if once else bootstrap.mean(name, costs)  # type: ignore[arg-type]
    tail = None
    if costs.shape[1] >= FEWEST_IN_TAIL:
        tail = tail_interval(costs[0], **alone) if once else bootstrap.tail_mean(name, costs)  # type: ignore[arg-type]
    over = None
    if bound is not None:
        first = costs[:, : len(bound)]
        # Over few paths, for the mean over the seeds: what the seeds add is in the interval of the cost.
        over = paired_difference(first.mean(axis=0), bound, **alone)  # type: ignore[arg-type]
    return Row(
        policy=name,
        seeds=len(costs),
        cost=cost,
        middle=bootstrap.interquartile_mean(name, costs),
        tail=tail,
        service=bootstrap.ratio(
            name, np.stack([one.served for one in measured]), np.stack([one.asked for one in measured])
        ),
        term_intervals={
            term.name: bootstrap.mean(name, np.stack([one.terms[c] for one in measured]))
            for c, term in enumerate(COST_TERMS)
        },
        gap=None if optimum is None else _percent(cost, optimum, optimum),
        over_bound=None if over is None or bound is None else _percent(over, 0.0, float(bound.mean())),
        gap_closed=None if start is None or bound is None else _gap_closed(name, costs, start, bound, bootstrap),
        exact=exact,
        differences=differences,
    )


def _gap_closed(
    name: str, costs: FloatArray, start: FloatArray, bound: FloatArray, bootstrap: Bootstrap
) -> Interval | None:
    """(start - cost) / (start - bound), per cent, on the paths of the bound; costs (S, N) and a reference's (N,)."""
    paths = len(bound)
    gap = start[:paths] - bound
    if paths < 2 or gap.mean() <= 1e-9 * scale_of(start, bound):
        return None
    alike = Bootstrap(paths, confidence=bootstrap.confidence, resamples=bootstrap.resamples)
    first = costs[:, :paths]
    found = alike.ratio(name, start[:paths] - first, np.broadcast_to(gap, first.shape), least=-np.inf)
    return _percent(found, 0.0, 1.0)


def _percent(value: Interval, base: float, unit: float) -> Interval | None:
    """``value - base`` in per cent of ``unit``; None where that is 0."""
    if not unit:
        return None
    scale = 100.0 / abs(unit)
    return Interval(scale * (value.mean - base), scale * (value.low - base), scale * (value.high - base))
