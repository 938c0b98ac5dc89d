"""Intervals of a policy that was trained several times: a bootstrap over training seeds and evaluation paths.

Costs of one configuration form a table of S training seeds times N paths, and the same paths are used for all seeds.
The numbers in a row share a model, those in a column share a world, so they are not S x N independent numbers. Seeds
and paths are therefore drawn anew apart from each other, seeds within their configuration (the strata), and paths for
all configurations together, which keeps every comparison paired: the pigeonhole bootstrap of Owen (2007), Annals of
Applied Statistics 1(2):386-411; for training runs Agarwal et al. (2021), NeurIPS 34, section 4.

Three or five seeds are too few for a bootstrap alone: drawn with replacement they vary less than they should, and its
percentiles know no fat tails. So its distribution gives the shape of an interval, and its width is set to

    sqrt(t(S - 1)^2 v_seeds + t(N - 1)^2 v_paths),

v being the variance of the mean that seeds and paths cause (two-way analysis of variance) and t the quantile of
Student's law with as many degrees of freedom as each is estimated with. For two sources that width covers at least as
often as it says (Banerjee 1960, Sankhya 22:357-358). The plain percentiles hold the mean in 80 % instead of 95 % of
cases when 3 seeds differ much. Two seeds are a special case: their interval holds the mean in 95 to 99.5 % of cases,
too wide where the seeds differ by nothing. The tests measure the coverage.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiments.statistics import Interval
from experiments.statistics_bands import MIDDLE, WORST, band_mean, band_replicates

__all__ = ["Bootstrap", "Sources", "sources"]

FloatArray = NDArray[np.float64]

#: Resamples that are worked on together.
_TOGETHER = 256


@dataclass(frozen=True)
class Sources:
    """What makes an estimated mean vary.

    Attributes
    ----------
    variances
        Of the mean, one a source: the paths, then every configuration with several seeds.
    freedom
        Degrees of freedom with which each is estimated.
    """

    variances: tuple[float, ...]
    freedom: tuple[int, ...]

    def half_width(self, confidence: float) -> float:
        """Half the width of the interval of the mean (Banerjee 1960)."""
        t = stats.t.ppf(0.5 + 0.5 * confidence, self.freedom)
        return float(np.sqrt(t**2 @ np.array(self.variances)))


def sources(by_path: FloatArray, tables: Sequence[FloatArray]) -> Sources:
    """Split the variance of a mean into the parts that paths and training seeds cause.

    Parameters
    ----------
    by_path
        (N,) what each path says on average over the seeds.
    tables
        (S, N) each: the numbers by training seed, for every configuration that was trained more than once.
    """
    paths = len(by_path)
    variances, freedom = [float(np.var(by_path, ddof=1)) / paths], [paths - 1]
    for table in tables:
        seeds = len(table)
        rows, columns = table.mean(axis=1), table.mean(axis=0)
        rest = table - rows[:, None] - columns + table.mean()
        noise = float((rest**2).sum()) / ((seeds - 1) * (paths - 1)) / paths
        # The means of the seeds also vary because each is over finitely many paths. Of two seeds that part stays: they
        # are near each other by chance so often that what is left would too often be nothing.
        between = float(np.var(rows, ddof=1)) - (noise if seeds > 2 else 0.0)
        variances.append(max(between, 0.0) / seeds)
        freedom.append(seeds - 1)
    return Sources(tuple(variances), tuple(freedom))


class Bootstrap:
    """Resamples of seeds and paths that all statistics of a comparison share.

    Parameters
    ----------
    paths
        Their number N.
    confidence
        Of the intervals.
    resamples
        Their number R.
    seed
        Of the resampling; it has no part in any simulation.
    """

    def __init__(self, paths: int, *, confidence: float = 0.95, resamples: int = 5000, seed: int = 0) -> None:
        self.confidence, self.resamples, self.seed = confidence, resamples, seed
        self._number = paths
        self._paths = self._drawn("", paths)

    def _drawn(self, stratum: str, number: int) -> NDArray[np.uint16]:
        """(R, number) how often each is in every resample."""
        rng = np.random.default_rng([self.seed, zlib.crc32(stratum.encode())])
        out = np.empty((self.resamples, number), dtype=np.uint16)
        for rows in self._parts():
            chosen = rng.integers(number, size=(rows.stop - rows.start, number))
            chosen += number * np.arange(len(chosen))[:, None]
            out[rows] = np.bincount(chosen.ravel(), minlength=chosen.size).reshape(chosen.shape)
        return out

    def _parts(self) -> list[slice]:
        """Resamples that are worked on together: bounds memory."""
        return [slice(first, min(first + _TOGETHER, self.resamples)) for first in range(0, self.resamples, _TOGETHER)]

    def _path_shares(self, rows: slice) -> FloatArray:
        return np.asarray(self._paths[rows] / self._number)

    def seeds(self, name: str, table: FloatArray) -> FloatArray:
        """(R, S) shares of the training seeds of a configuration; all of the one where there is one."""
        if len(table) == 1:
            return np.ones((self.resamples, 1))
        return np.asarray(self._drawn(f"seeds of {name}", len(table)) / len(table))

    def means(self, name: str, table: FloatArray) -> FloatArray:
        """(R,) means of a table (S, N) in every resample."""
        return self.weighted(self.seeds(name, table), table)

    def weighted(self, seeds: FloatArray, table: FloatArray) -> FloatArray:
        """(R,) means of a table (S, N) with given shares (R, S) of its rows."""
        parts = [((seeds[rows] @ table) * self._path_shares(rows)).sum(axis=1) for rows in self._parts()]
        return np.concatenate(parts)

    def mean(self, name: str, table: FloatArray) -> Interval:
        """Mean of a table (S, N)."""
        return self.interval(float(table.mean()), self.means(name, table), _sources(table))

    def interquartile_mean(self, name: str, table: FloatArray) -> Interval:
        """Mean of the middle half of all numbers of a table (S, N), seeds and paths together."""
        flat, seeds = table.ravel(), self.seeds(name, table)
        parts = []
        for rows in self._parts():
            both = seeds[rows][:, :, None] * self._path_shares(rows)[:, None, :]
            parts.append(band_replicates(flat, both.reshape(-1, table.size), *MIDDLE))
        replicates = np.concatenate(parts)
        return self.interval(band_mean(flat, *MIDDLE), replicates, _sources(table), self.means(name, table))

    def tail_mean(self, name: str, table: FloatArray) -> Interval:
        """Mean over the seeds of the mean of the worst 5 % of paths (CVaR 95 %) of a table (S, N).

        Of each model apart: what is deployed is one model, and its risk is that of the world.
        """
        replicates = np.concatenate(
            [
                np.stack([band_replicates(row, self._path_shares(rows), *WORST) for row in table], axis=1)
                for rows in self._parts()
            ]
        )
        estimate = float(np.mean([band_mean(row, *WORST) for row in table]))
        drawn = (self.seeds(name, table) * replicates).sum(axis=1)
        return self.interval(estimate, drawn, _sources(table), self.means(name, table))

    def ratio(self, name: str, above: FloatArray, below: FloatArray, least: float = 0.0) -> Interval:
        """Ratio of the sums of two tables (S, N), for example of units served and asked for; within ``least`` and 1.

        Its sources of variance are those of its linear part (Cochran 1977, Sampling Techniques, section 6.3).
        """
        total = float(below.mean())
        if total <= 0.0:
            return Interval(1.0, 1.0, 1.0)
        estimate = float(above.mean()) / total
        drawn = self.means(name, above) / np.maximum(self.means(name, below), 1e-300)
        found = self.interval(estimate, drawn, _sources((above - estimate * below) / total))
        return Interval(estimate, max(found.low, least), min(found.high, 1.0))

    def interval(
        self, estimate: float, replicates: FloatArray, parts: Sources, means: FloatArray | None = None
    ) -> Interval:
        """Interval with the shape of the replicates and the width that its sources of variance ask for.

        Parameters
        ----------
        replicates
            (R,) the statistic in every resample.
        parts
            Of the variance of the mean.
        means
            (R,) the mean in every resample, where the statistic is another one: how much too narrow the bootstrap is,
            is then seen on the mean.
        """
        tail = 0.5 - 0.5 * self.confidence
        low, high = np.quantile(replicates, [tail, 1.0 - tail])
        narrow = float(np.std(replicates if means is None else means))
        wanted = parts.half_width(self.confidence)
        scale = max(abs(estimate), 1e-300)
        if narrow <= 1e-12 * scale:
            return Interval(estimate, estimate, estimate)
        stretch = wanted / (float(stats.norm.ppf(1.0 - tail)) * narrow)
        return Interval(
            estimate,
            estimate - stretch * max(estimate - float(low), 0.0),
            estimate + stretch * max(float(high) - estimate, 0.0),
        )


def _sources(table: FloatArray) -> Sources:
    return sources(table.mean(axis=0), [table] if len(table) > 1 else [])
