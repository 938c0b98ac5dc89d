"""Distributions with a density; the normal is clipped at 0."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator
from scipy import special

from twin.distributions_base import FloatArray, Law
from twin.schema import NonNegative, Positive

__all__ = ["Gamma", "Lognormal", "Normal", "Uniform"]


class Normal(Law):
    """Normal clipped at 0: max(0, N(mean, sd)). ``mean`` and ``sd`` are those before clipping."""

    distribution: Literal["normal"] = "normal"
    mean: NonNegative
    sd: Positive

    @property
    def mean_value(self) -> float:
        ratio = self.mean / self.sd
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2.0 * np.pi)
        return float(self.mean * special.ndtr(ratio) + self.sd * density)

    @property
    def variance(self) -> float:
        ratio = self.mean / self.sd
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2.0 * np.pi)
        second = (self.mean**2 + self.sd**2) * special.ndtr(ratio) + self.mean * self.sd * density
        return float(second - self.mean_value**2)

    def cdf(self, x: ArrayLike) -> FloatArray:
        x = np.asarray(x, dtype=np.float64)
        return np.where(x < 0.0, 0.0, special.ndtr((x - self.mean) / self.sd))

    def quantile(self, u: ArrayLike) -> FloatArray:
        return np.asarray(np.maximum(0.0, self.mean + self.sd * special.ndtri(np.asarray(u, dtype=np.float64))))

    def scaled(self, factor: float) -> Normal:
        return Normal(mean=self.mean * factor, sd=self.sd * factor)


class Gamma(Law):
    """Gamma with the given mean and standard deviation."""

    distribution: Literal["gamma"] = "gamma"
    mean: Positive
    sd: Positive

    @property
    def shape(self) -> float:
        """Shape parameter, (mean / sd)**2."""
        return (self.mean / self.sd) ** 2

    @property
    def mean_value(self) -> float:
        return self.mean

    @property
    def variance(self) -> float:
        return self.sd**2

    def cdf(self, x: ArrayLike) -> FloatArray:
        x = np.maximum(np.asarray(x, dtype=np.float64), 0.0)
        return np.asarray(special.gammainc(self.shape, x * self.shape / self.mean))

    def quantile(self, u: ArrayLike) -> FloatArray:
        given = np.asarray(u, dtype=np.float64)
        if given.ndim == 0:
            # One number needs no fast version, and whoever only reads a network no numba.
            return np.asarray(special.gammaincinv(self.shape, given) * self.mean / self.shape)
        from twin.gamma import gamma_quantile

        return np.asarray(gamma_quantile(self.shape, given) * self.mean / self.shape)

    def scaled(self, factor: float) -> Gamma:
        return Gamma(mean=self.mean * factor, sd=self.sd * factor)


class Lognormal(Law):
    """Lognormal with the given mean and standard deviation (of the variable itself, not of its logarithm)."""

    distribution: Literal["lognormal"] = "lognormal"
    mean: Positive
    sd: Positive

    @property
    def _log(self) -> tuple[float, float]:
        spread = float(np.log1p((self.sd / self.mean) ** 2))
        return float(np.log(self.mean)) - 0.5 * spread, float(np.sqrt(spread))

    @property
    def mean_value(self) -> float:
        return self.mean

    @property
    def variance(self) -> float:
        return self.sd**2

    def cdf(self, x: ArrayLike) -> FloatArray:
        mu, sigma = self._log
        x = np.asarray(x, dtype=np.float64)
        safe = np.where(x > 0.0, x, 1.0)
        return np.where(x > 0.0, special.ndtr((np.log(safe) - mu) / sigma), 0.0)

    def quantile(self, u: ArrayLike) -> FloatArray:
        mu, sigma = self._log
        return np.asarray(np.exp(mu + sigma * special.ndtri(np.asarray(u, dtype=np.float64))))

    def scaled(self, factor: float) -> Lognormal:
        return Lognormal(mean=self.mean * factor, sd=self.sd * factor)


class Uniform(Law):
    """Continuous uniform between low and high."""

    distribution: Literal["uniform"] = "uniform"
    low: NonNegative
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.high <= self.low:
            raise ValueError(f"high must exceed low = {self.low}")
        return self

    @property
    def mean_value(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def variance(self) -> float:
        return (self.high - self.low) ** 2 / 12.0

    def cdf(self, x: ArrayLike) -> FloatArray:
        return np.clip((np.asarray(x, dtype=np.float64) - self.low) / (self.high - self.low), 0.0, 1.0)

    def quantile(self, u: ArrayLike) -> FloatArray:
        return self.low + (self.high - self.low) * np.asarray(u, dtype=np.float64)

    def scaled(self, factor: float) -> Uniform:
        return Uniform(low=self.low * factor, high=self.high * factor)
