"""Customer demand as a network file writes it: a distribution, and what moves it in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, StringConstraints, field_validator, model_validator

from twin.distributions import Distribution
from twin.periods import TimeUnit
from twin.schema import NonNegative, Share, StrictModel, Whole

__all__ = [
    "Correlation",
    "Demand",
    "Forecast",
    "Goodwill",
    "Name",
    "RandomShock",
    "Seasonality",
    "Shock",
    "Trend",
    "correlation_matrix",
]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
FloatArray = NDArray[np.float64]


class Seasonality(StrictModel):
    """Mean demand multiplied by ``factors``, each for ``periods_per_factor`` periods, repeating."""

    factors: tuple[NonNegative, ...] = Field(min_length=1)
    periods_per_factor: Whole = Field(default=1, ge=1)


class Trend(StrictModel):
    """Demand that grows or falls from period 0 on, for ``periods`` periods (for ever when absent)."""

    per_period: float = Field(strict=True, gt=-1.0, description="growth a period, as a share: 0.01 is one per cent")
    kind: Literal["linear", "compound"] = "linear"
    periods: Whole | None = Field(default=None, ge=1)

    def factor(self, period: ArrayLike) -> FloatArray:
        """Multiplier of demand in calendar periods ``period``, never below 0."""
        n = np.minimum(np.asarray(period, dtype=np.float64), np.inf if self.periods is None else self.periods)
        if self.kind == "linear":
            return np.maximum(1.0 + self.per_period * n, 0.0)
        return np.asarray((1.0 + self.per_period) ** n)


class Shock(StrictModel):
    """A known event: demand times ``factor`` from period ``start`` on, for ``periods`` periods."""

    start: Whole = Field(ge=0)
    periods: Whole = Field(ge=1)
    factor: NonNegative


class RandomShock(StrictModel):
    """Events that begin at random, last a random time and multiply demand; the one that began last rules."""

    probability: Share = Field(description="that one begins, per period")
    duration: Distribution = Field(description="of an event")
    duration_unit: TimeUnit | None = Field(default=None, description="the network's period when absent")
    factor: Distribution = Field(description="multiplier of demand while it lasts")

    @model_validator(mode="after")
    def _played_nowhere(self) -> RandomShock:
        for name in ("duration", "factor"):
            if getattr(self, name).distribution == "recorded":
                raise ValueError(f"{name}: a recorded series cannot be drawn from (allowed: any other distribution)")
        return self


class Goodwill(StrictModel):
    """Customers who order less where they were served badly, and come back slowly.

    A multiplier of demand, 1 at the start, moves by ``rate`` of the way a period towards
    ``floor + (1 - floor) x share of demand met at once``.
    """

    rate: Share
    floor: Share = 0.0


class Forecast(StrictModel):
    """A recorded forecast of each period's demand, made before the decision of that period, repeating like a series."""

    values: tuple[NonNegative, ...] = Field(min_length=1)
    bias: float = Field(default=0.0, description="mean of forecast minus demand, over mean demand, as measured")
    error: NonNegative = Field(default=0.0, description="mean absolute error over mean demand, as measured")


class Demand(StrictModel):
    """A stream of customer demand at a stock point, per period."""

    site: Name
    product: Name
    distribution: Distribution
    unit: str | None = Field(default=None, description="must equal the product's unit when given")
    seasonality: Seasonality | None = None
    trend: Trend | None = None
    shocks: tuple[Shock, ...] = ()
    random_shock: RandomShock | None = None
    autocorrelation: float = Field(
        default=0.0, strict=True, gt=-0.99, lt=0.99, description="of successive periods, on the normal scale"
    )
    goodwill: Goodwill | None = None
    forecast: Forecast | None = None
    unmet: Literal["lost", "backlog"] = "lost"
    penalty: NonNegative = Field(default=0.0, description="money per unit lost, or per unit and period of backlog")
    price: NonNegative = Field(default=0.0, description="revenue per unit delivered")

    def known_factor(self, period: ArrayLike) -> FloatArray:
        """Trend times scripted shocks in calendar periods ``period``: what a planner knows beforehand."""
        period = np.asarray(period)
        factor = np.ones(period.shape) if self.trend is None else self.trend.factor(period)
        for shock in self.shocks:
            inside = (period >= shock.start) & (period < shock.start + shock.periods)
            factor = np.where(inside, factor * shock.factor, factor)
        return np.asarray(factor)

    @property
    def moves(self) -> bool:
        """Whether trend or scripted shocks move the mean."""
        return self.trend is not None or bool(self.shocks)


class Correlation(StrictModel):
    """Streams whose demand moves together: every pair of ``streams`` has this correlation on the normal scale.

    The correlation is that of their demands in one period, autocorrelation included.
    """

    streams: tuple[Name, ...] = Field(min_length=2)
    value: float = Field(strict=True, gt=-1.0, lt=1.0)

    @field_validator("streams")
    @classmethod
    def _once(cls, streams: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(streams)) < len(streams):
            raise ValueError("names a stream twice")
        return streams


def correlation_matrix(correlations: Iterable[Correlation], streams: Mapping[str, Demand]) -> FloatArray:
    """Correlation that the innovations of ``streams`` need, so that their demands have the correlations stated.

    Streams that remember differently (autocorrelations a and b) correlate less than their innovations do: by the factor
    sqrt((1 - a**2) (1 - b**2)) / (1 - a b). So an entry above 1 says that no such streams exist.

    Parameters
    ----------
    correlations
        Of the network; pairs of streams that are not among ``streams`` are left out.
    streams
        Name to stream, in the order of rows.

    Returns
    -------
    ndarray, shape (streams, streams)
        1 on the diagonal, 0 where nothing is stated.
    """
    matrix = np.eye(len(streams))
    place = {name: k for k, name in enumerate(streams)}
    memory = [stream.autocorrelation for stream in streams.values()]
    for entry in correlations:
        inside = [place[name] for name in entry.streams if name in place]
        for i, j in permutations(inside, 2):
            a, b = memory[i], memory[j]
            matrix[i, j] = entry.value * (1.0 - a * b) / np.sqrt((1.0 - a**2) * (1.0 - b**2))
    return matrix
