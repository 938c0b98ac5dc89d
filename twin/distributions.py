"""The distributions that a network file can name.

Every class gives its mean, variance, cumulative distribution and quantile function; a draw is the quantile of a
uniform number, so that changing a parameter moves a draw smoothly. Parameters are moments (``mean``, ``sd``), in the
unit of the quantity they describe, because that is what a planner knows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, Field

from twin.distributions_base import FloatArray, Law
from twin.distributions_continuous import Gamma, Lognormal, Normal, Uniform
from twin.distributions_discrete import (
    Empirical,
    Fixed,
    Geometric,
    IntegerDistribution,
    NegativeBinomial,
    Poisson,
    Recorded,
    UniformInteger,
)

__all__ = [
    "TAGS",
    "Distribution",
    "Empirical",
    "Fixed",
    "Gamma",
    "Geometric",
    "IntegerDistribution",
    "Intermittent",
    "Lognormal",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "Recorded",
    "Uniform",
    "UniformInteger",
]

Size = Annotated[Gamma | Lognormal | Uniform | Fixed, Field(discriminator="distribution")]


class Intermittent(Law):
    """Zero with probability 1 - ``probability``, else a draw of ``size``: lumpy demand with empty periods."""

    distribution: Literal["intermittent"] = "intermittent"
    probability: float = Field(strict=True, gt=0.0, le=1.0)
    size: Size

    @property
    def whole(self) -> bool:
        return self.size.whole

    @property
    def mean_value(self) -> float:
        return self.probability * self.size.mean_value

    @property
    def variance(self) -> float:
        second = self.size.variance + self.size.mean_value**2
        return self.probability * second - self.mean_value**2

    def cdf(self, x: ArrayLike) -> FloatArray:
        x = np.asarray(x, dtype=np.float64)
        inside = (1.0 - self.probability) + self.probability * self.size.cdf(np.maximum(x, 0.0))
        return np.where(x < 0.0, 0.0, inside)

    def quantile(self, u: ArrayLike) -> FloatArray:
        u = np.asarray(u, dtype=np.float64)
        inner = (u - (1.0 - self.probability)) / self.probability
        size = self.size.quantile(np.clip(inner, 1e-15, 1.0 - 1e-15))
        return np.where(inner > 0.0, size, 0.0)

    def scaled(self, factor: float) -> Intermittent:
        return Intermittent(probability=self.probability, size=self.size.scaled(factor))


_Union = Annotated[
    Fixed
    | Poisson
    | Geometric
    | NegativeBinomial
    | UniformInteger
    | Empirical
    | Normal
    | Gamma
    | Lognormal
    | Uniform
    | Intermittent
    | Recorded,
    Field(discriminator="distribution"),
]


#: Names of all distributions, as a file writes them.
TAGS: tuple[str, ...] = tuple(
    str(member.model_fields["distribution"].default) for member in get_args(get_args(_Union)[0])
)


def _number_is_fixed(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"distribution": "fixed", "value": value}
    return value


#: Any distribution; a bare number in a file means ``fixed``.
Distribution = Annotated[_Union, BeforeValidator(_number_is_fixed)]
