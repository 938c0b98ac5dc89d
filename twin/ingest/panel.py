"""Many recorded series side by side as one small network: a replica a series, every series on its own calendar.

A network with a stock point per series would be as large as the data. Series that share nothing but their terms need
no more than one stock point: their records are laid one after the other on one calendar, and a replica that starts
where a series begins plays that series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.errors import DataError
from twin.ingest.intel import History
from twin.network import Network

__all__ = ["Panel", "make_panel", "panel_network"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """N series of T weeks. Weeks are counted from 0 here, so week 1 of the file is column 0.

    Attributes
    ----------
    names, centres, skus
        (N,) each.
    orders, forecasts
        (N, T) units; 0 in weeks that the file does not list.
    listed
        (N, T) whether the file lists the week.
    """

    names: tuple[str, ...]
    centres: tuple[str, ...]
    skus: tuple[str, ...]
    orders: FloatArray
    forecasts: FloatArray
    listed: BoolArray

    @property
    def weeks(self) -> int:
        """T."""
        return int(self.orders.shape[1])

    def until(self, week: int) -> Panel:
        """The same series with their first ``week`` weeks only."""
        orders, forecasts, listed = self.orders[:, :week], self.forecasts[:, :week], self.listed[:, :week]
        return Panel(self.names, self.centres, self.skus, orders, forecasts, listed)

    def chosen(self, which: Sequence[int] | NDArray[np.int64]) -> Panel:
        """Some of the series."""
        rows = np.asarray(which, dtype=np.int64)
        names, centres, skus = (tuple(column[n] for n in rows) for column in (self.names, self.centres, self.skus))
        return Panel(names, centres, skus, self.orders[rows], self.forecasts[rows], self.listed[rows])

    def unit(self, week: int) -> FloatArray:
        """Mean orders a week from a series' first listed week to before ``week``, (N,); 0 where nothing was ordered."""
        past = self.listed[:, :week]
        begun = np.maximum.accumulate(past, axis=1).sum(axis=1)
        return np.asarray(self.orders[:, :week].sum(axis=1) / np.maximum(begun, 1))

    def active(self, week: int, *, least: int, window: int) -> BoolArray:
        """Which series (N,) are listed in at least ``least`` of the ``window`` weeks before ``week``."""
        return np.asarray(self.listed[:, max(0, week - window) : week].sum(axis=1) >= least)


def make_panel(history: History) -> Panel:
    """All series of a file, in its order."""
    orders = np.array([series.orders for series in history.series], dtype=np.float64)
    forecasts = np.array([series.forecasts for series in history.series], dtype=np.float64)
    return Panel(
        tuple(series.name for series in history.series),
        tuple(series.centre for series in history.series),
        tuple(series.sku for series in history.series),
        orders,
        forecasts,
        (orders > 0.0) | (forecasts > 0.0),
    )


def panel_network(panel: Panel, unit: FloatArray, *, lead_time: int, holding: float, penalty: float) -> Network:
    """One stock point that plays the series one after the other; backlog, no purchase price, nothing at the start.

    Parameters
    ----------
    unit
        (N,) units of the file that count as one unit of the network, per series.
    lead_time
        Weeks.
    holding, penalty
        Money per network unit and week, on hand and owed.

    Raises
    ------
    DataError
        When a unit is not above 0.
    """
    small = [name for name, value in zip(panel.names, unit, strict=True) if not value > 0.0]
    if small:
        raise DataError(f"the unit of a series must be above 0; it is not for {', '.join(small[:3])}")
    series = "series"
    return Network.parse(
        {
            "name": "order_panel",
            "description": f"{len(panel.names)} recorded series of {panel.weeks} weeks, one after the other.",
            "period": "week",
            "currency": "money",
            "phases": ["receive", "order", "demand"],
            "products": {series: {"integer": False}},
            "suppliers": {"factory": {"offers": {series: {"price": 0.0}}}},
            "sites": {"centre": {"kind": "distribution_centre", "stock": {series: {"holding_cost": holding}}}},
            "lanes": [
                {
                    "from": "factory",
                    "to": "centre",
                    "product": series,
                    "modes": {"standard": {"lead_time": lead_time}},
                }
            ],
            "demands": {
                "orders": {
                    "site": "centre",
                    "product": series,
                    "distribution": {
                        "distribution": "recorded",
                        "values": (panel.orders / unit[:, None]).ravel().tolist(),
                    },
                    "unmet": "backlog",
                    "penalty": penalty,
                }
            },
        },
        where="the network of these series",
    )
