"""What is known of a series when an order is placed: its forecast, and its past orders and forecasts smoothed.

Column t of every signal is what a planner knows at the decision of week t: orders of weeks before t, and forecasts of
weeks up to t (or up to t - ``forecast_lag``). No column depends on anything later, which a test proves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin.errors import ConfigError
from twin.ingest.panel import Panel

__all__ = ["Features", "Signals", "smooth"]

FloatArray = NDArray[np.float64]
_Number = TypeVar("_Number", np.float64, np.bool_)

#: Smoothing constant of the scale that everything else is seen in proportion to, and the weight of forecasts in it.
_SCALE, _FORECAST_SHARE = 0.2, 0.05
#: Added to ratios before their logarithm is taken: below it differences tell nothing.
_SMALL = 0.05
#: A year of age, in weeks, and the longest age and silence that are told apart.
_YEAR, _OLDEST, _LONGEST_SILENCE = 52.0, 104, 8
#: Demand of microprocessors has a quarterly rhythm.
_QUARTER = 13


@dataclass(frozen=True, eq=False)
class Features:
    """Inputs of the learned policy.

    Attributes
    ----------
    names
        (F,)
    values
        (N, T, F), without units.
    scale
        (N, T) orders a week that are usual now, in the unit of the series.
    """

    names: tuple[str, ...]
    values: FloatArray
    scale: FloatArray


class Signals:
    """Signals of all series of a panel, (N, T) each.

    Parameters
    ----------
    panel
        The record.
    unit
        (N,) units of the file that count as one.
    forecast_lag
        0 where the forecast of a week is known at its decision, 1 where only that of the week before is.
    carry
        Weeks for which the last listed forecast stands in for one that is not listed; after that it counts as 0.
    """

    def __init__(self, panel: Panel, unit: FloatArray, *, forecast_lag: int = 0, carry: int = 4) -> None:
        if forecast_lag < 0 or carry < 0:
            raise ConfigError(f"forecast_lag and carry must be at least 0, received {forecast_lag} and {carry}")
        self.panel, self.unit, self.forecast_lag = panel, unit, forecast_lag
        self.orders = panel.orders / unit[:, None]
        told = _carried(panel.forecasts / unit[:, None], panel.listed, carry)
        #: The forecast that a planner has at the decision of a week.
        self.forecast = _late(told, forecast_lag)
        begun = np.maximum.accumulate(panel.listed, axis=1)
        #: Whether orders have been seen (a series whose first week is still to come is unknown).
        self.seen = _late(begun, 1)
        self.told = _late(begun, forecast_lag)

    def smoothed_orders(self, constant: ArrayLike) -> FloatArray:
        """Exponentially smoothed orders of the weeks before, (N, T), or (C, N, T) for C constants."""
        return smooth(_late(self.orders, 1), self.seen, constant)

    def smoothed_forecasts(self, constant: ArrayLike) -> FloatArray:
        """Exponentially smoothed forecasts, the latest one included; shape as :meth:`smoothed_orders`."""
        return smooth(self.forecast, self.told, constant)

    def deviation(self, constant: ArrayLike) -> FloatArray:
        """Smoothed absolute error of smoothed orders as a forecast of the next week; shape as there."""
        mean = self.smoothed_orders(constant)
        return smooth(_late(np.abs(self.orders - mean), 1), self.seen, constant)

    @cached_property
    def features(self) -> Features:
        """What the learned policy sees: logarithms of ratios to the scale, so that it knows no size."""
        panel = self.panel
        usual = self.smoothed_orders(_SCALE)
        scale = usual + _FORECAST_SHARE * self.smoothed_forecasts(_SCALE)

        def ratio(values: FloatArray) -> FloatArray:
            return np.asarray(np.log(values / np.maximum(scale, 1e-9) + _SMALL))

        week = np.arange(panel.weeks)
        age = np.cumsum(self.seen, axis=1)
        turn = 2.0 * np.pi * week / _QUARTER
        columns = {
            "forecast": ratio(self.forecast),
            "orders_slow": ratio(self.smoothed_orders(0.05)),
            "orders_medium": ratio(self.smoothed_orders(0.1)),
            "orders_fast": ratio(self.smoothed_orders(0.5)),
            "orders_last": ratio(_late(self.orders, 1)),
            "forecast_slow": ratio(self.smoothed_forecasts(0.05)),
            "forecast_medium": ratio(self.smoothed_forecasts(0.2)),
            "forecast_fast": ratio(self.smoothed_forecasts(0.5)),
            "deviation": ratio(self.deviation(0.1)),
            "age": np.minimum(age, _OLDEST) / _YEAR,
            "silence": np.minimum(_silence(panel.listed), _LONGEST_SILENCE) / 4.0,
            "quarter_sin": np.broadcast_to(np.sin(turn), scale.shape),
            "quarter_cos": np.broadcast_to(np.cos(turn), scale.shape),
        }
        values = np.stack([np.where(scale > 0.0, column, 0.0) for column in columns.values()], axis=2)
        return Features(tuple(columns), values, scale)


def smooth(values: FloatArray, begun: NDArray[np.bool_], constant: ArrayLike) -> FloatArray:
    """Exponential smoothing from where a series begins, with weights that add up to 1 from its first value on.

    Parameters
    ----------
    values
        (N, T), or (C, N, T).
    begun
        (N, T).
    constant
        A number, or (C,).

    Returns
    -------
    ndarray, shape (N, T) or (C, N, T)
        Column t takes in columns up to t; 0 before a series begins.
    """
    rate = np.asarray(constant, dtype=np.float64)
    rate = rate.reshape(*rate.shape, 1)
    total = np.zeros(np.broadcast_shapes(rate.shape, values.shape[:-1]))
    weight, out = np.zeros_like(total), np.zeros((*total.shape, values.shape[-1]))
    for t in range(values.shape[-1]):
        total = np.where(begun[:, t], (1.0 - rate) * total + rate * values[..., t], total)
        weight = np.where(begun[:, t], (1.0 - rate) * weight + rate, weight)
        np.divide(total, weight, out=out[..., t], where=weight > 0.0)
    return out


def _late(values: NDArray[_Number], weeks: int) -> NDArray[_Number]:
    """The same, known that many weeks later; shape (..., T)."""
    out = np.zeros_like(values)
    out[..., weeks:] = values[..., : values.shape[-1] - weeks]
    return out


def _carried(values: FloatArray, listed: NDArray[np.bool_], weeks: int) -> FloatArray:
    """Values of listed weeks, standing in for at most that many weeks that are not."""
    out, last, left = np.zeros_like(values), np.zeros(len(values)), np.zeros(len(values))
    for t in range(values.shape[1]):
        here = listed[:, t]
        last, left = np.where(here, values[:, t], last), np.where(here, weeks, left - 1.0)
        out[:, t] = np.where(left >= 0.0, last, 0.0)
    return out


def _silence(listed: NDArray[np.bool_]) -> FloatArray:
    """Weeks before each week since the last listed one (0: the week before was listed); long where none was."""
    out, since = np.zeros(listed.shape), np.full(len(listed), float(listed.shape[1]))
    for t in range(listed.shape[1]):
        out[:, t] = since
        since = np.where(listed[:, t], 0.0, since + 1.0)
    return out
