"""Distributions on separate points: the whole-number families, one value, and given values."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy import special

from twin.distributions_base import FloatArray, Law
from twin.schema import NonNegative, Positive, Whole

__all__ = [
    "Empirical",
    "Fixed",
    "Geometric",
    "IntegerDistribution",
    "NegativeBinomial",
    "Poisson",
    "Recorded",
    "UniformInteger",
]

#: Probability left out in the upper tail of a tabulated integer distribution.
TAIL = 1e-12


class IntegerDistribution(Law):
    """Whole-number distribution on ``first_value, first_value + 1, ...``, tabulated once."""

    @property
    def whole(self) -> bool:
        return True

    @property
    def first_value(self) -> int:
        """Smallest value in the table."""
        return 0

    @abstractmethod
    def _cumulative(self, k: FloatArray) -> FloatArray:
        """Exact P(X <= k) at whole numbers k >= first_value."""

    @cached_property
    def table(self) -> FloatArray:
        """Cumulative probabilities at first_value, first_value + 1, ...; the last entry is 1."""
        size = int(self.mean_value + 12.0 * np.sqrt(self.variance)) + 32
        while True:
            values = self._cumulative(self.first_value + np.arange(size, dtype=np.float64))
            if values[-1] >= 1.0 - TAIL:
                break
            size *= 2
        values = values[: int(np.searchsorted(values, 1.0 - TAIL)) + 1].copy()
        values[-1] = 1.0
        return values

    def pmf(self, k: ArrayLike) -> FloatArray:
        """P(X = k) at whole numbers k."""
        k = np.floor(np.asarray(k, dtype=np.float64))
        return self.cdf(k) - self.cdf(k - 1.0)

    def cdf(self, x: ArrayLike) -> FloatArray:
        k = np.floor(np.asarray(x, dtype=np.float64))
        return np.where(k < self.first_value, 0.0, self._cumulative(np.maximum(k, self.first_value)))

    def quantile(self, u: ArrayLike) -> FloatArray:
        index = np.searchsorted(self.table, np.asarray(u, dtype=np.float64), side="left")
        return self.first_value + np.minimum(index, len(self.table) - 1).astype(np.float64)


class Fixed(Law):
    """Always the same value."""

    distribution: Literal["fixed"] = "fixed"
    value: NonNegative

    @property
    def whole(self) -> bool:
        return self.value % 1 == 0.0

    @property
    def mean_value(self) -> float:
        return self.value

    @property
    def variance(self) -> float:
        return 0.0

    def cdf(self, x: ArrayLike) -> FloatArray:
        return (np.asarray(x, dtype=np.float64) >= self.value).astype(np.float64)

    def quantile(self, u: ArrayLike) -> FloatArray:
        return np.full(np.shape(u), self.value)

    def scaled(self, factor: float) -> Fixed:
        return Fixed(value=self.value * factor)


class Poisson(IntegerDistribution):
    """Poisson with the given mean."""

    distribution: Literal["poisson"] = "poisson"
    mean: Positive

    @property
    def mean_value(self) -> float:
        return self.mean

    @property
    def variance(self) -> float:
        return self.mean

    def _cumulative(self, k: FloatArray) -> FloatArray:
        return np.asarray(special.pdtr(k, self.mean))

    def scaled(self, factor: float) -> Poisson:
        return Poisson(mean=self.mean * factor)


class Geometric(IntegerDistribution):
    """Geometric on 0, 1, 2, ... with the given mean (number of failures before the first success)."""

    distribution: Literal["geometric"] = "geometric"
    mean: Positive

    @property
    def mean_value(self) -> float:
        return self.mean

    @property
    def variance(self) -> float:
        return self.mean * (1.0 + self.mean)

    def _cumulative(self, k: FloatArray) -> FloatArray:
        return np.asarray(-np.expm1((k + 1.0) * np.log(self.mean / (1.0 + self.mean))))

    def scaled(self, factor: float) -> Geometric:
        return Geometric(mean=self.mean * factor)


class NegativeBinomial(IntegerDistribution):
    """Negative binomial on 0, 1, 2, ...: a Poisson whose rate is gamma; needs sd**2 > mean."""

    distribution: Literal["negative_binomial"] = "negative_binomial"
    mean: Positive
    sd: Positive

    @model_validator(mode="after")
    def _overdispersed(self) -> NegativeBinomial:
        if self.sd**2 <= self.mean:
            raise ValueError(f"sd must exceed sqrt(mean) = {self.mean**0.5:.4g}; use poisson when it does not")
        return self

    @property
    def mean_value(self) -> float:
        return self.mean

    @property
    def variance(self) -> float:
        return self.sd**2

    @property
    def size(self) -> float:
        """Shape k of the gamma rate: variance = mean + mean**2 / k."""
        return self.mean**2 / (self.sd**2 - self.mean)

    def _cumulative(self, k: FloatArray) -> FloatArray:
        return np.asarray(special.betainc(self.size, k + 1.0, self.size / (self.size + self.mean)))

    def scaled(self, factor: float) -> NegativeBinomial:
        mean = self.mean * factor
        return NegativeBinomial(mean=mean, sd=float(np.sqrt(mean + mean**2 / self.size)))


class UniformInteger(IntegerDistribution):
    """Whole numbers from low to high, both included, equally likely."""

    distribution: Literal["uniform_integer"] = "uniform_integer"
    low: Annotated[Whole, Field(ge=0)]
    high: Annotated[Whole, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> UniformInteger:
        if self.high < self.low:
            raise ValueError(f"high must be at least low = {self.low}")
        return self

    @property
    def first_value(self) -> int:
        return self.low

    @property
    def mean_value(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def variance(self) -> float:
        return ((self.high - self.low + 1) ** 2 - 1) / 12.0

    def _cumulative(self, k: FloatArray) -> FloatArray:
        return np.clip((k - self.low + 1.0) / (self.high - self.low + 1.0), 0.0, 1.0)

    def scaled(self, factor: float) -> Empirical:
        return _scaled_values(np.arange(self.low, self.high + 1), np.ones(self.high - self.low + 1), factor)


class Empirical(Law):
    """Given values with given probabilities (normalised to sum to 1)."""

    distribution: Literal["empirical"] = "empirical"
    values: tuple[NonNegative, ...] = Field(min_length=1)
    probabilities: tuple[NonNegative, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Empirical:
        if len(self.values) != len(self.probabilities):
            raise ValueError(f"{len(self.values)} values but {len(self.probabilities)} probabilities")
        if any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("values must increase strictly")
        if abs(sum(self.probabilities) - 1.0) > 1e-6:
            raise ValueError(f"probabilities must sum to 1, not {sum(self.probabilities):.8g}")
        return self

    @property
    def whole(self) -> bool:
        return all(value % 1 == 0.0 for value in self.values)

    @cached_property
    def _points(self) -> tuple[FloatArray, FloatArray]:
        weights = np.asarray(self.probabilities, dtype=np.float64)
        return np.asarray(self.values, dtype=np.float64), weights / weights.sum()

    @cached_property
    def _cumulative_points(self) -> FloatArray:
        total = np.cumsum(self._points[1])
        total[-1] = 1.0
        return total

    @property
    def mean_value(self) -> float:
        values, weights = self._points
        return float(values @ weights)

    @property
    def variance(self) -> float:
        values, weights = self._points
        return float(values**2 @ weights - self.mean_value**2)

    def cdf(self, x: ArrayLike) -> FloatArray:
        index = np.searchsorted(self._points[0], np.asarray(x, dtype=np.float64), side="right")
        return np.asarray(np.concatenate([[0.0], self._cumulative_points])[index])

    def quantile(self, u: ArrayLike) -> FloatArray:
        index = np.searchsorted(self._cumulative_points, np.asarray(u, dtype=np.float64), side="left")
        return self._points[0][np.minimum(index, len(self.values) - 1)]

    def scaled(self, factor: float) -> Empirical:
        return _scaled_values(np.asarray(self.values), np.asarray(self.probabilities), factor)


class Recorded(Law):
    """A series that is played in order and repeats: period t gives ``values[t mod length]``.

    Mean, variance and quantiles are those of a value picked at random.
    """

    distribution: Literal["recorded"] = "recorded"
    values: tuple[NonNegative, ...] = Field(min_length=1)

    @cached_property
    def _sorted(self) -> FloatArray:
        return np.sort(np.asarray(self.values, dtype=np.float64))

    @property
    def whole(self) -> bool:
        return all(value % 1 == 0.0 for value in self.values)

    @property
    def mean_value(self) -> float:
        return float(np.mean(self.values))

    @property
    def variance(self) -> float:
        return float(np.var(self.values))

    def cdf(self, x: ArrayLike) -> FloatArray:
        index = np.searchsorted(self._sorted, np.asarray(x, dtype=np.float64), side="right")
        return np.asarray(index / len(self.values))

    def quantile(self, u: ArrayLike) -> FloatArray:
        index = np.ceil(np.asarray(u, dtype=np.float64) * len(self.values)).astype(np.int64) - 1
        return self._sorted[np.clip(index, 0, len(self.values) - 1)]

    def scaled(self, factor: float) -> Recorded:
        return Recorded(values=tuple(value * factor for value in self.values))


def _scaled_values(values: NDArray[Any], weights: NDArray[Any], factor: float) -> Empirical:
    weights = weights / weights.sum()
    return Empirical(values=tuple(float(v) * factor for v in values), probabilities=tuple(float(w) for w in weights))
