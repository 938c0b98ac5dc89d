"""187 weeks of microprocessor orders, with the forecasts made for them, as networks.

M. P. Manary and S. P. Willems, "Data Set: 187 Weeks of Customer Forecasts and Orders for Microprocessors from Intel
Corporation", Manufacturing & Service Operations Management 24(1):682-689, 2022. Every row is a distribution centre, a
SKU and a week, with the forecast and the orders; weeks that are not listed have neither. The file knows nothing of
lanes, lead times or costs: they are options here, and marked as assumptions in the network's provenance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from twin.calibration import significant
from twin.errors import DataError, did_you_mean
from twin.ingest.csvfile import read_csv
from twin.network import Network
from twin.periods import DAYS

__all__ = ["Assumptions", "History", "Series", "build_network", "quality_table", "read_history", "select"]

WEEKS_PER_YEAR = DAYS["year"] / DAYS["week"]

_COLUMNS = (
    "Distribution Center",
    "Product Offering",
    "Generation",
    "SKU",
    "Week",
    "Forecasted Demand",
    "Customer Orders",
)


@dataclass(frozen=True, slots=True)
class Series:
    """Orders and forecasts of one SKU at one distribution centre, one value a week of the file, in units."""

    centre: str
    sku: str
    offering: str
    generation: str
    weeks_listed: int
    orders: tuple[float, ...]
    forecasts: tuple[float, ...]

    @property
    def name(self) -> str:
        """Centre and SKU, as the demand stream is called."""
        return f"{self.centre}.{self.sku}"

    @property
    def mean(self) -> float:
        """Mean orders a week, over all weeks of the file."""
        return sum(self.orders) / len(self.orders)

    @property
    def bias(self) -> float:
        """Mean of forecast minus orders, over mean orders."""
        return (sum(self.forecasts) - sum(self.orders)) / sum(self.orders)

    @property
    def error(self) -> float:
        """Mean absolute difference of forecast and orders, over mean orders."""
        pairs = zip(self.forecasts, self.orders, strict=True)
        return sum(abs(forecast - orders) for forecast, orders in pairs) / sum(self.orders)


@dataclass(frozen=True, slots=True)
class History:
    """All series of a file, and its checksum."""

    series: tuple[Series, ...]
    weeks: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the data do not have. Costs in the network's currency, times in weeks."""

    lead_time: float = 8.0
    lead_time_sd: float = 0.0
    unit_cost: float = 1.0
    holding_rate_per_year: float = 0.25
    service_level: float = 0.95
    unmet: Literal["backlog", "lost"] = "backlog"

    def __post_init__(self) -> None:
        for name in ("lead_time", "lead_time_sd", "unit_cost", "holding_rate_per_year"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise DataError(f"{name} must be finite and at least 0, received {value:g}")
        if not 0.0 < self.service_level < 1.0:
            raise DataError(f"service_level must lie between 0 and 1, received {self.service_level:g}")
        if self.lead_time_sd > 0.0 and self.lead_time == 0.0:
            raise DataError("lead_time_sd must be 0 where lead_time is 0")


def read_history(path: str | Path) -> History:
    """Read the file of the data set.

    Raises
    ------
    DataError
        When the file or a column is missing, a number is impossible, or a week of a series is there twice.
    """
    file = read_csv(path)
    weekly: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    kinds: dict[tuple[str, str], tuple[str, str]] = {}
    for line, cells in file.records(_COLUMNS):
        key = (cells["Distribution Center"], cells["SKU"])
        week, forecast, orders = (
            _whole(f"{file.path}, line {line}, {column}", cells[column], least)
            for column, least in (("Week", 1), ("Forecasted Demand", 0), ("Customer Orders", 0))
        )
        entry = weekly.setdefault(key, {})
        if week in entry:
            raise DataError(f"{file.path}, line {line}: week {week} of {key[1]} at {key[0]} is there twice")
        entry[week] = (float(forecast), float(orders))
        kinds.setdefault(key, (cells["Product Offering"], cells["Generation"]))
    if not weekly:
        raise DataError(f"{file.path} has no rows below its header")
    weeks = max(max(entry) for entry in weekly.values())
    series = tuple(
        Series(
            centre,
            sku,
            *kinds[centre, sku],
            len(entry),
            orders=tuple(entry.get(week, (0.0, 0.0))[1] for week in range(1, weeks + 1)),
            forecasts=tuple(entry.get(week, (0.0, 0.0))[0] for week in range(1, weeks + 1)),
        )
        for (centre, sku), entry in weekly.items()
    )
    return History(series, weeks, file.sha256)


def _whole(place: str, text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise DataError(f"{place}: must be a whole number, at least {least}, received '{text}'")
    return int(text)


def select(history: History, *, centres: Sequence[str] = (), skus: Sequence[str] = (), most: int = 10) -> list[Series]:
    """The ``most`` series with orders in the most weeks (larger volume first among equals), in order of their names.

    Parameters
    ----------
    centres, skus
        Only these; all where empty.

    Raises
    ------
    DataError
        For an unknown centre or SKU, or when nothing is left.
    """
    for kind, asked, there in (
        ("distribution centre", centres, {series.centre for series in history.series}),
        ("SKU", skus, {series.sku for series in history.series}),
    ):
        for name in asked:
            if name not in there:
                listed = ", ".join(sorted(there))
                raise DataError(f"no {kind} '{name}' (allowed: {listed}){did_you_mean(name, there)}")
    if most < 1:
        raise DataError(f"the number of series must be at least 1, received {most}")
    found = [
        series
        for series in history.series
        if (not centres or series.centre in centres) and (not skus or series.sku in skus) and sum(series.orders) > 0.0
    ]
    if not found:
        raise DataError("no series has orders for these SKUs at these distribution centres")
    found.sort(key=lambda series: (-series.weeks_listed, -series.mean, series.name))
    return sorted(found[:most], key=lambda series: series.name)


def build_network(history: History, series: Sequence[Series], assumptions: Assumptions | None = None) -> Network:
    """A network whose demand streams play the recorded orders, with the forecast of each week beside them.

    One supplier, one lane to every stock point; the period is a week.
    """
    given = assumptions or Assumptions()
    holding = significant(given.unit_cost * given.holding_rate_per_year / WEEKS_PER_YEAR, 6)
    penalty = significant(holding * given.service_level / (1.0 - given.service_level), 6)
    cover = int(given.lead_time + 0.5) + 1
    lead_time: Any = given.lead_time
    if given.lead_time_sd > 0.0:
        lead_time = {"distribution": "gamma", "mean": given.lead_time, "sd": given.lead_time_sd}
    products: dict[str, Any] = {}
    sites: dict[str, Any] = {}
    lanes: list[Mapping[str, Any]] = []
    demands: dict[str, Any] = {}
    for entry in series:
        description = f"product offering {entry.offering}, generation {entry.generation}"
        products[entry.sku] = {"integer": True, "description": description}
        site = sites.setdefault(entry.centre, {"kind": "distribution_centre", "stock": {}})
        site["stock"][entry.sku] = {"holding_cost": holding, "initial": sum(entry.orders[:cover])}
        mode = {"lead_time": lead_time}
        lanes.append({"from": "factory", "to": entry.centre, "product": entry.sku, "modes": {"standard": mode}})
        demands[entry.name] = {
            "site": entry.centre,
            "product": entry.sku,
            "distribution": {"distribution": "recorded", "values": list(entry.orders)},
            "forecast": {
                "values": list(entry.forecasts),
                "bias": significant(entry.bias),
                "error": significant(entry.error),
            },
            "unmet": given.unmet,
            "penalty": penalty,
        }
    return Network.parse(
        {
            "name": "intel_orders",
            "description": f"Real weekly orders of {len(products)} microprocessors at {len(sites)} distribution "
            f"centres over {history.weeks} weeks, with the forecasts made for them.",
            "source": "M. P. Manary and S. P. Willems, Data Set: 187 Weeks of Customer Forecasts and Orders for "
            "Microprocessors from Intel Corporation, Manufacturing & Service Operations Management 24(1):682-689, 2022",
            "licence": "public for research that cites the paper; values disguised by its authors",
            "period": "week",
            "currency": "money",
            "products": products,
            "suppliers": {"factory": {"offers": {sku: {"price": given.unit_cost} for sku in products}}},
            "sites": sites,
            "lanes": lanes,
            "demands": demands,
            "provenance": {
                "sha256": history.sha256,
                "measured": "orders and forecasts as recorded, a week that is not listed counted as 0; bias is mean "
                "forecast minus orders over mean orders, error mean absolute difference over mean orders",
                "series": {entry.name: _evidence(entry) for entry in series},
                "assumed": asdict(given),
                "assumptions": [
                    "lanes, lead times and costs are not in the data: one supplier with unlimited stock, one lane to "
                    "every stock point, with the figures under 'assumed' (times in weeks)",
                    f"holding cost a week: unit_cost x holding_rate_per_year / {WEEKS_PER_YEAR:.2f}",
                    "penalty p from the service level s and the holding cost h: p / (p + h) = s (the newsvendor "
                    "ratio), so p = h s / (1 - s)",
                    f"initial stock is the orders of the first {cover} weeks, which end before a first order can "
                    "arrive; after the last week the series begin again",
                    "each forecast is taken as known before the decision of its own week: how long before it was made "
                    "is not in the data",
                ],
            },
        },
        where="the network of these series",
    )


def _evidence(entry: Series) -> dict[str, Any]:
    return {
        "weeks_listed": entry.weeks_listed,
        "mean_orders": significant(entry.mean),
        "bias": significant(entry.bias),
        "error": significant(entry.error),
    }


def quality_table(series: Sequence[Series]) -> str:
    """How good the forecasts are, one line a series."""
    width = max(len("series"), *(len(entry.name) for entry in series))
    lines = [f"{'series':<{width}}  weeks  mean orders  forecast bias  forecast error"]
    lines += [
        f"{entry.name:<{width}}  {entry.weeks_listed:>5}  {entry.mean:>11,.0f}"
        f"  {entry.bias:>+13.1%}  {entry.error:>14.1%}"
        for entry in series
    ]
    return "\n".join(lines) + "\n"
