"""Slow drift: each state is usual, and yet they have been leaning one way for too long.

An exponentially weighted mean of whitened states (the multivariate EWMA of Lowry et al. 1992). Its limit is not taken
from a table for independent states, which states of a network are not, but from the largest value of whole episodes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DriftModel", "fit_drift"]

FloatArray = NDArray[np.float64]

#: Weight of the newest state: about the last 20 count.
_WEIGHT = 0.1


@dataclass(frozen=True)
class DriftModel:
    """Detects slow drift.

    Attributes
    ----------
    weight
        Of the newest state.
    threshold
        Length of the weighted mean that raises the alarm.
    largest
        A state farther out counts as one at this distance in its direction: a single outlier is no drift, and has an
        alarm of its own.
    """

    weight: float
    threshold: float
    largest: float

    def step(self, mean: FloatArray | None, white: FloatArray) -> tuple[FloatArray, float]:
        """The weighted mean (n,) after a whitened state (n,), and its length."""
        before = np.zeros_like(white) if mean is None else mean
        length = float(np.sqrt((white**2).sum()))
        usual = white if length <= self.largest else white * (self.largest / length)
        after = (1.0 - self.weight) * before + self.weight * usual
        return after, float(np.sqrt((after**2).sum()))

    def run(self, white: FloatArray) -> FloatArray:
        """The lengths (T,) along an episode of whitened states (T, n)."""
        mean, lengths = None, np.empty(len(white))
        for t, row in enumerate(white):
            mean, lengths[t] = self.step(mean, row)
        return lengths

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"weight": self.weight, "threshold": self.threshold, "largest": self.largest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DriftModel:
        """From :meth:`to_dict`'s data."""
        return cls(float(data["weight"]), float(data["threshold"]), float(data["largest"]))

    @staticmethod
    def pack(mean: FloatArray) -> str:
        """The weighted mean as a text that reads back exactly; much faster than a list of numbers."""
        return base64.b64encode(np.ascontiguousarray(mean, dtype="<f8").tobytes()).decode()

    @staticmethod
    def unpack(text: str) -> FloatArray:
        """From :meth:`pack`'s text."""
        return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def fit_drift(
    episodes: Sequence[FloatArray], alpha: float, largest: float, threshold: Callable[[FloatArray, float], float]
) -> DriftModel:
    """Set the limit so that an episode like these passes it with a probability of at most ``alpha``.

    Parameters
    ----------
    episodes
        Calibration episodes, whitened, each (T, n).
    largest
        See :class:`DriftModel`.
    threshold
        Gives the limit from the largest value of each episode.
    """
    model = DriftModel(_WEIGHT, np.inf, largest)
    peaks = np.array([model.run(episode).max() for episode in episodes])
    return DriftModel(_WEIGHT, threshold(peaks, alpha), largest)
