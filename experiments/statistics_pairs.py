"""Two policies on the same paths: their difference, how often one is better, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from experiments.statistics import Interval, paired_difference, scale_of
from experiments.statistics_crossed import Bootstrap, Sources, sources

__all__ = ["PairStatistics", "compare_pair", "holm", "p_value"]

FloatArray = NDArray[np.float64]

#: Half of the smallest p-value that is told from 0.
_LEAST = 1e-100


@dataclass(frozen=True)
class PairStatistics:
    """A policy against a reference.

    Attributes
    ----------
    difference
        Mean of (policy - reference) over the same paths, in the unit of the costs.
    improvement
        Probability that the policy costs less than the reference, on a path and for training seeds drawn at random.
    p
        Two-sided p-value of no difference in the mean.
    """

    difference: Interval
    improvement: Interval
    p: float


def compare_pair(
    policy: FloatArray, reference: FloatArray, bootstrap: Bootstrap, *, names: tuple[str, str] = ("policy", "reference")
) -> PairStatistics:
    """Compare two tables of costs.

    Parameters
    ----------
    policy, reference
        (S, N) each: training seeds times paths; the paths are the same, the seeds have nothing to do with each other.
    names
        Of the two; the same name is resampled in the same way everywhere.
    """
    tables = [table for table in (policy, reference) if len(table) > 1]
    parts = sources(policy.mean(axis=0) - reference.mean(axis=0), tables)
    mean = float(policy.mean() - reference.mean())
    if not tables:
        difference = paired_difference(
            policy[0], reference[0], confidence=bootstrap.confidence, resamples=bootstrap.resamples
        )
    elif sum(parts.variances) ** 0.5 <= 1e-12 * scale_of(policy, reference):
        difference = Interval(mean, mean, mean)
    else:
        drawn = bootstrap.means(names[0], policy) - bootstrap.means(names[1], reference)
        difference = bootstrap.interval(mean, drawn, parts)
    return PairStatistics(difference, _improvement(policy, reference, bootstrap, names), p_value(mean, parts))


def _improvement(policy: FloatArray, reference: FloatArray, bootstrap: Bootstrap, names: tuple[str, str]) -> Interval:
    """P(policy < reference) + P(equal) / 2 on a common path.

    The Mann-Whitney statistic of Agarwal et al. (2021), NeurIPS 34, section 4.3, with pairs of the same path in place
    of all pairs, because both policies meet the same world. Where it is the same on all paths, the interval is
    Wilson's (1927, JASA 22) for as many paths, which a bootstrap cannot see.
    """
    less = policy[:, None, :] < reference[None, :, :]
    wins = less + 0.5 * (policy[:, None, :] == reference[None, :, :])
    estimate, paths = float(wins.mean()), wins.shape[-1]
    if wins.min() == wins.max():
        if estimate == 0.5:
            return Interval(0.5, 0.5, 0.5)
        exact = stats.binomtest(round(estimate * paths), paths).proportion_ci(bootstrap.confidence, method="wilson")
        return Interval(estimate, float(exact.low), float(exact.high))
    mine, theirs = bootstrap.seeds(names[0], policy), bootstrap.seeds(names[1], reference)
    by_resample = np.zeros(bootstrap.resamples)
    for k in range(wins.shape[1]):
        by_resample += theirs[:, k] * bootstrap.weighted(mine, wins[:, k])
    tables = [wins.mean(axis=1)] if len(policy) > 1 else []
    tables += [wins.mean(axis=0)] if len(reference) > 1 else []
    found = bootstrap.interval(estimate, by_resample, sources(wins.mean(axis=(0, 1)), tables))
    return Interval(estimate, max(found.low, 0.0), min(found.high, 1.0))


def p_value(mean: float, parts: Sources) -> float:
    """Two-sided p-value of a mean of 0: the smallest level whose interval (Banerjee 1960) leaves 0 out.

    With one source of variance it is that of Student's test (``scipy.stats.ttest_rel`` for paired paths).
    """
    spread = float(np.sqrt(sum(parts.variances)))
    if spread <= 1e-12 * abs(mean) or spread == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    varying = [(v, f) for v, f in zip(parts.variances, parts.freedom, strict=True) if v > 0.0]
    if len(varying) == 1:
        variance, freedom = varying[0]
        return float(2.0 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom))
    variances, freedoms = np.array([v for v, _ in varying]), np.array([f for _, f in varying])

    def beyond(log_tail: float) -> float:
        t = stats.t.isf(np.exp(log_tail), freedoms)
        return float(np.sqrt(t**2 @ variances) - abs(mean))

    least, most = np.log(_LEAST), np.log(0.5)
    if beyond(most) >= 0.0:
        return 1.0
    if beyond(least) <= 0.0:
        return 0.0
    return float(min(2.0 * np.exp(optimize.brentq(beyond, least, most, xtol=1e-10)), 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false verdict among all of them below the level.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
    6(2):65-70: the k-th smallest of m counts m - k + 1 times, and no adjusted value is below that of a smaller one.
    """
    number = len(p_values)
    order = np.argsort(p_values, kind="stable")
    out, so_far = [0.0] * number, 0.0
    for rank, k in enumerate(order.tolist()):
        so_far = max(so_far, min(1.0, (number - rank) * p_values[k]))
        out[k] = so_far
    return out
