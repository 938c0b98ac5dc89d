"""What every distribution offers; :mod:`twin.distributions` names them all."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin.schema import StrictModel

__all__ = ["FloatArray", "Law"]

FloatArray = NDArray[np.float64]


class Law(StrictModel):
    """What every distribution offers."""

    @property
    def whole(self) -> bool:
        """True when all values are whole numbers."""
        return False

    @property
    @abstractmethod
    def mean_value(self) -> float:
        """Expected value."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """Variance."""

    @abstractmethod
    def cdf(self, x: ArrayLike) -> FloatArray:
        """P(X <= x)."""

    @abstractmethod
    def quantile(self, u: ArrayLike) -> FloatArray:
        """Smallest x with P(X <= x) >= u, for u in (0, 1)."""

    @abstractmethod
    def scaled(self, factor: float) -> Law:
        """The distribution whose mean is ``factor`` times this one's (same shape)."""
