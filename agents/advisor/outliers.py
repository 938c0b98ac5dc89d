"""Is this state like those of training? Distance with a conformal threshold, ranges, and categories never seen.

The distance is Mahalanobis'. Its threshold is a quantile of the distances of calibration states that the mean and
covariance were not fitted to, with the finite-sample correction of split conformal prediction (Vovk, Gammerman & Shafer
2005): a new state of the same world lies above it with a probability of at most alpha. States of one episode depend on
each other, so the promise holds on average; :meth:`OutlierModel.false_alarms` measures it on held-out episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.drift import DriftModel, fit_drift
from agents.advisor.errors import Problem
from agents.bundle_files import parse_json
from twin.errors import ConfigError, did_you_mean

__all__ = ["FalseAlarms", "OutlierModel", "Score", "conformal_threshold", "fit_outliers"]

FloatArray = NDArray[np.float64]

#: Correlations are drawn this far towards 0: a covariance of few, similar states is otherwise nearly singular.
_SHRINKAGE = 0.02
#: A field that never moved in training counts this share of its size (at least of 1) as one standard deviation.
_STILL = 1e-3
#: The range of a field in training is widened by this share on both sides.
_MARGIN = 0.05


@dataclass(frozen=True)
class Score:
    """How unusual one state is.

    Attributes
    ----------
    distance, threshold
        Mahalanobis distance, and what it may be.
    problems
        ``OUTLIER`` for the distance and for each field outside its range of training; ``UNSEEN_CATEGORY``.
    """

    distance: float
    threshold: float
    problems: tuple[Problem, ...]

    @property
    def outlier(self) -> bool:
        """True when anything is unusual."""
        return bool(self.problems)


@dataclass(frozen=True)
class FalseAlarms:
    """How often states of the world that was trained on raise an alarm.

    Attributes
    ----------
    distance, ranges
        Share of held-out states above the threshold, and with a field out of range.
    any
        Share of held-out states with either.
    drift
        Share of held-out episodes that raise the drift alarm at least once.
    states, episodes
        How many were looked at.
    """

    distance: float
    ranges: float
    any: float
    drift: float
    states: int
    episodes: int


@dataclass(frozen=True)
class OutlierModel:
    """What states of training look like. Build one with :func:`fit_outliers`.

    Attributes
    ----------
    names
        The fields, in order.
    mean, deviation
        (n,) in the units of the fields.
    whitening
        (n, n): times a standardised state, its squared length is the squared distance.
    threshold
        Of the distance.
    low, high
        (n,) ranges of the fields, with their margin.
    categories
        Values that a field can have, by name, for fields that stand for a kind and not for an amount.
    drift
        The detector of slow drift.
    """

    names: tuple[str, ...]
    mean: FloatArray
    deviation: FloatArray
    whitening: FloatArray
    threshold: float
    low: FloatArray
    high: FloatArray
    categories: Mapping[str, tuple[float, ...]]
    drift: DriftModel

    def whiten(self, values: FloatArray) -> FloatArray:
        """States (..., n) in uncorrelated units of one standard deviation."""
        return np.asarray(((values - self.mean) / self.deviation) @ self.whitening.T)

    def distances(self, values: FloatArray) -> FloatArray:
        """Mahalanobis distances (...) of states (..., n)."""
        return np.asarray(np.sqrt((self.whiten(values) ** 2).sum(axis=-1)))

    def score(self, values: FloatArray) -> Score:
        """Look at one state (n,)."""
        problems = []
        distance = float(self.distances(values))
        # "not <=" rather than ">": a NaN must not pass.
        if not distance <= self.threshold:
            detail = (
                f"the state is {distance:.1f} deviations from the training mean, up to {self.threshold:.1f} is usual"
            )
            problems.append(Problem("OUTLIER", "state", detail))
        for k in np.flatnonzero(~((values >= self.low) & (values <= self.high))).tolist():
            detail = f"'{self.names[k]}' is {values[k]:g}; training went from {self.low[k]:g} to {self.high[k]:g}"
            problems.append(Problem("OUTLIER", self.names[k], detail))
        for name, known in self.categories.items():
            value = float(values[self.names.index(name)])
            if value not in known:
                shown = ", ".join(f"{entry:g}" for entry in known[:8])
                detail = f"'{name}' is of the kind {value:g}, which training never saw (known: {shown})"
                problems.append(Problem("UNSEEN_CATEGORY", name, detail))
        return Score(distance, self.threshold, tuple(problems))

    def false_alarms(self, episodes: Sequence[FloatArray]) -> FalseAlarms:
        """Alarms on held-out episodes, each (T, n), that no part of the model was fitted to."""
        states = np.concatenate(episodes)
        far = ~(self.distances(states) <= self.threshold)
        out = ~((states >= self.low) & (states <= self.high)).all(axis=1)
        drifted = [bool(self.drift.run(self.whiten(episode)).max() > self.drift.threshold) for episode in episodes]
        shares = (float(far.mean()), float(out.mean()), float((far | out).mean()), float(np.mean(drifted)))
        return FalseAlarms(*shares, len(states), len(episodes))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; numbers read back exactly."""
        return {
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "whitening": self.whitening.tolist(),
            "threshold": self.threshold,
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "drift": self.drift.to_dict(),
        }

    @classmethod
    def load(cls, path: str | Path) -> OutlierModel:
        """From a JSON file; ConfigError as in :meth:`from_dict`, or when it cannot be read."""
        try:
            return cls.from_dict(parse_json(Path(path).read_bytes()))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutlierModel:
        """From :meth:`to_dict`'s data; ConfigError where it does not fit together."""
        try:
            names = tuple(str(name) for name in data["names"])
            arrays = {
                key: np.array(data[key], dtype=np.float64) for key in ("mean", "deviation", "whitening", "low", "high")
            }
            model = cls(
                names=names,
                threshold=float(data["threshold"]),
                categories={str(k): tuple(float(x) for x in v) for k, v in data["categories"].items()},
                drift=DriftModel.from_dict(data["drift"]),
                **arrays,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"the outlier model is incomplete: {type(error).__name__} {error}") from None
        n = len(names)
        shapes = {key: (n, n) if key == "whitening" else (n,) for key in arrays}
        for key, shape in shapes.items():
            if arrays[key].shape != shape or not np.isfinite(arrays[key]).all():
                raise ConfigError(f"the outlier model's '{key}' must be finite numbers of shape {shape}")
        if not (model.deviation > 0.0).all() or not model.threshold > 0.0:
            raise ConfigError("the outlier model has a deviation or a threshold that is not above 0")
        _known(model.categories, names)
        return model


def conformal_threshold(scores: FloatArray, alpha: float) -> float:
    """The score that a new one exceeds with a probability of at most ``alpha``.

    The ceil((m + 1)(1 - alpha))-th smallest of m scores.

    Raises
    ------
    ConfigError
        When there are too few scores to say anything at this ``alpha``.
    """
    m = len(scores)
    rank = math.ceil((m + 1) * (1.0 - alpha))
    if not 0.0 < alpha < 1.0 or rank > m:
        raise ConfigError(
            f"{m} calibration scores cannot hold false alarms at {alpha:g}: {math.ceil(1.0 / alpha) - 1} are needed"
            if 0.0 < alpha < 1.0
            else f"alpha must lie between 0 and 1, received {alpha:g}"
        )
    return float(np.sort(scores)[rank - 1])


def fit_outliers(
    episodes: Sequence[FloatArray],
    names: Sequence[str],
    *,
    alpha: float = 0.01,
    drift_alpha: float = 0.05,
    categories: Mapping[str, Sequence[float]] | None = None,
) -> OutlierModel:
    """Fit on every other episode, calibrate on the rest.

    Parameters
    ----------
    episodes
        States of training, each episode (T, n), raw and in the units of the fields.
    names
        The fields, in order.
    alpha
        Share of usual states that may be taken for outliers.
    drift_alpha
        Share of usual episodes that may raise the drift alarm.
    categories
        Values of the fields that stand for a kind; every other value is unseen.

    Raises
    ------
    ConfigError
        When there are too few episodes for these shares, or a category's field does not exist.
    """
    kinds = {name: tuple(float(x) for x in values) for name, values in (categories or {}).items()}
    _known(kinds, names)
    if len(episodes) < 4:
        raise ConfigError(f"{len(episodes)} episodes are too few: half of them fit, the other half calibrates")
    fitted, kept = np.concatenate(episodes[::2]), episodes[1::2]
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0)
    deviation = np.maximum(deviation, _STILL * np.maximum(np.abs(mean), 1.0))
    standard = (fitted - mean) / deviation
    correlation = standard.T @ standard / len(standard)
    shrunk = (1.0 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(len(names))
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk))
    white = [((episode - mean) / deviation) @ whitening.T for episode in kept]
    distances = np.sqrt((np.concatenate(white) ** 2).sum(axis=1))
    threshold = conformal_threshold(distances, alpha)
    # The ranges take in the calibration states too: a range is about what was ever seen.
    seen = np.concatenate(episodes)
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = np.maximum(_MARGIN * (high - low), _STILL * np.maximum(np.abs(mean), 1.0))
    return OutlierModel(
        tuple(names),
        mean,
        deviation,
        whitening,
        threshold,
        low - margin,
        high + margin,
        kinds,
        fit_drift(white, drift_alpha, threshold, conformal_threshold),
    )


def _known(categories: Mapping[str, object], names: Sequence[str]) -> None:
    for name in categories:
        if name not in names:
            raise ConfigError(f"categories: no field '{name}'{did_you_mean(name, names)}")
