"""The essential medicines network, fitted from a delivery history.

The antiretroviral (ARV) supply of the PEPFAR Supply Chain Management System: five makers in India, two regional
distribution centres, four groups of countries. Every figure is either measured here, and its evidence stands in the
network's ``provenance``, or taken as given in :mod:`twin.medicines_facts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from twin import medicines_facts as facts
from twin.calibration import Fit, Fitted, fit, moving_average, rounded, seasonal_factors, significant
from twin.errors import DataError
from twin.medicines_facts import CENTRES, GROUPS, MAKERS, MODES, QUARTER_WEEKS, ROUTES
from twin.medicines_history import (
    DAYS_PER_WEEK,
    History,
    Rate,
    measure,
    modes_to,
    require_enough,
    total_packs,
    weekly_deliveries,
)
from twin.network import Network
from twin.periods import period_table
from twin.release_times import estimate_errors
from twin.shipments import FROM_STOCK, Line, Shipments

__all__ = ["build_network"]


def build_network(shipments: Shipments) -> Network:
    """Fit every figure of the essential medicines network from a delivery history.

    Raises
    ------
    DataError
        When the file lacks the makers, modes or country groups that the network is made of.
    """
    history = measure(shipments)
    fits: dict[str, Any] = {}
    prices = {name: significant(history.mean_price * level) for name, level in history.price_index.items()}
    suppliers: dict[str, Any] = {}
    needs: dict[str, _Need] = {}
    ways: list[_Way] = []
    for name in MAKERS:
        suppliers[name] = _supplier(name, prices[name], history, fits)
        ways += _inbound_ways(name, history, fits)
    for group in GROUPS:
        needs[group] = _need(group, history, fits)
        ways += _release_ways(group, history, fits)
    weekly = _weekly(needs, ways)
    worth = _worth(prices, ways, history.pack_kg)
    sites = {place: _site(place, worth[place], weekly[place], ways) for place in weekly}
    return Network.parse(
        _DESCRIPTION
        | {
            "products": {
                "arv": {"unit": "pack", "weight_kg_per_unit": history.pack_kg, "description": "one pack of an ARV"}
            },
            "suppliers": suppliers,
            "sites": sites,
            "lanes": _lanes(ways, weekly, worth, history.pack_kg),
            "resources": {_capacity_of(name): _capacity(name, history.made) for name in MAKERS},
            "demands": {group: _demand(group, need, sites[group]) for group, need in needs.items()},
            "provenance": _provenance(shipments, history, fits),
        },
        where="the calibrated network",
    )


_DESCRIPTION = {
    "name": "essential_medicines",
    "description": "HIV medicines (ARV) from five Indian makers over two regional distribution centres to four "
    "groups of countries, by air, ocean, truck and chartered aircraft; fitted from 10 years of deliveries.",
    "source": "USAID, Supply Chain Shipment Pricing Data (SCMS Delivery History), 2006-2015",
    "licence": "US Government work in the public domain; attribution to USAID",
    "period": "week",
    "currency": "USD",
    "emission_price_per_kg": facts.EMISSION_PRICE,
    "phases": ["receive", "order", "demand"],
}


# -- fits and their evidence -----------------------------------------------------------------------------------------


def _fit(values: Iterable[float], what: str) -> Fit:
    try:
        return fit(np.fromiter(values, dtype=np.float64))
    except DataError as error:
        raise DataError(f"the file does not support a fit of {what}: {error}") from None


def _evidence(entry: Fit, **more: Any) -> dict[str, Any]:
    """What a fit rests on, as plain rounded data for the provenance."""
    return {
        "n": entry.n,
        "mean": significant(entry.mean),
        "sd": significant(entry.sd),
        "family": entry.quality.family,
        "ks": significant(entry.quality.ks, 3),
        "rejected": "; ".join(f"{other.family}, ks {significant(other.ks, 3)}" for other in entry.rejected),
        **more,
    }


def _fitted(fits: dict[str, Any], what: str, values: Iterable[float], **more: Any) -> Fitted:
    """Fit a sample, enter the evidence in ``fits``, and return the distribution with rounded parameters."""
    entry = _fit(values, what)
    fits[what] = _evidence(entry, **more)
    return rounded(entry.distribution)


# -- suppliers and their capacity ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """A lane in one mode: share of the packs that arrive at the destination, lead time in weeks, rate of freight."""

    origin: str
    destination: str
    mode: str
    share: float
    lead_time: Fitted
    rate: Rate


def _supplier(name: str, price: float, history: History, fits: dict[str, Any]) -> dict[str, Any]:
    late = [entry for entry in history.direct if entry.line.late_days > 0]
    own_late = [entry for entry in late if facts.seller_of(entry.line) == name]
    shipments = sum(facts.seller_of(entry.line) == name for entry in history.direct)
    if not shipments:
        raise DataError(f"no direct delivery of '{name}' has a lead time")
    pooled = len(own_late) < facts.ENOUGH_LATE
    days = (float(entry.line.late_days) for entry in (late if pooled else own_late))
    delay = _fitted(fits, f"{name} days late", days, late_shipments=len(own_late), shipments=shipments, pooled=pooled)
    on_time = significant(1.0 - len(own_late) / shipments)
    return {
        "region": MAKERS[name].region,
        "position": MAKERS[name].position,
        "offers": {"arv": {"price": price}},
        "on_time_share": on_time,
        "delay": {"probability": significant(1.0 - on_time), "time": delay.model_dump(), "unit": "day"},
        "uses": {_capacity_of(name): 1.0},
    }


def _inbound_ways(name: str, history: History, fits: dict[str, Any]) -> list[_Way]:
    """The maker's ways, the same into every centre."""
    made = total_packs(line for line in history.window if facts.maker_of(line) == name) / total_packs(history.window)
    sent = [line for line in history.arv if facts.seller_of(line) == name and line.mode is not None]
    if not sent:
        raise DataError(f"no direct delivery of '{name}' has a shipment mode")
    by_ocean = total_packs(line for line in sent if line.mode == MODES["ocean"]) / total_packs(sent)
    # The few charters and trucks (under 2 % of the packs) count as air.
    ways = []
    for mode, share in {"air": 1.0 - by_ocean, "ocean": by_ocean}.items():
        every = [e for e in history.direct if e.line.mode == MODES[mode] and e.line.late_days <= 0]
        own = [e for e in every if facts.seller_of(e.line) == name]
        pooled = len(own) < facts.ENOUGH_LEAD_TIMES
        weeks = (e.days / DAYS_PER_WEEK for e in (every if pooled else own))
        lead_time = _fitted(fits, f"{name} {mode} lead time", weeks, pooled=pooled)
        rate = history.rates[f"maker to country, {mode}"]
        ways += [_Way(name, centre, mode, made * share, lead_time, rate) for centre in CENTRES]
    return ways


def _capacity_of(name: str) -> str:
    return f"{name}_capacity"


def _capacity(name: str, made: Iterable[Line]) -> dict[str, Any]:
    volume = weekly_deliveries(line for line in made if facts.maker_of(line) == name)
    return {
        "capacity": significant(np.quantile(moving_average(volume, QUARTER_WEEKS), facts.CAPACITY_QUANTILE)),
        "unit": "pack",
        "availability": {
            "failure": significant(1.0 / facts.OUTAGE_EVERY_WEEKS),
            "recovery": 1.0 / facts.OUTAGE_WEEKS,
            "share_when_down": facts.SHARE_WHEN_DOWN,
        },
    }


# -- what the country groups need, and how it reaches them -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Need:
    """Demand of a country group: packs a week without the season, and the factor of each quarter."""

    distribution: Fitted
    factors: list[float]

    @property
    def mean(self) -> float:
        return self.distribution.mean_value

    @property
    def sd(self) -> float:
        return math.sqrt(self.distribution.variance)


def _for_group(group: str, lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if facts.group_of(line.country) == group]


def _need(group: str, history: History, fits: dict[str, Any]) -> _Need:
    deliveries = weekly_deliveries(_for_group(group, history.made))
    factors, flat = seasonal_factors(moving_average(deliveries, QUARTER_WEEKS), QUARTER_WEEKS, 4)
    raw = deliveries[QUARTER_WEEKS - 1 :]
    distribution = _fitted(
        fits,
        f"{group} weekly demand",
        flat,
        raw_mean=significant(float(raw.mean())),
        raw_cv=significant(float(raw.std(ddof=1) / raw.mean()), 3),
        raw_share_of_empty_weeks=significant(float(np.mean(raw == 0.0)), 3),
    )
    return _Need(distribution, [significant(factor) for factor in factors])


def _release_ways(group: str, history: History, fits: dict[str, Any]) -> list[_Way]:
    """The ways from the centres to the group."""
    from_stock = [line for line in _for_group(group, history.made) if line.fulfilment == FROM_STOCK]
    to_group = [entry for entry in history.releases if facts.group_of(entry.line.country) == group]
    packs: dict[str, float] = {}
    weeks: dict[str, Fitted] = {}
    for mode in sorted(modes_to(group)):
        packs[mode] = total_packs(line for line in from_stock if line.mode == MODES[mode])
        released = [entry.days / DAYS_PER_WEEK for entry in to_group if entry.line.mode == MODES[mode]]
        require_enough(len(released), f"release times to {group} by {mode}")
        weeks[mode] = _fitted(fits, f"{group} {mode} lead time", released)
    ways = []
    for centre, routes in ROUTES.items():
        for mode, part in routes[group].items():
            rate = history.rates[f"centre to {group}, {mode}"]
            ways.append(_Way(centre, group, mode, part * packs[mode] / sum(packs.values()), weeks[mode], rate))
    return ways


# -- flows, values and stocks ----------------------------------------------------------------------------------------


def _weekly(needs: Mapping[str, _Need], ways: Iterable[_Way]) -> dict[str, tuple[float, float]]:
    """Place, centres first -> mean and standard deviation of the packs that leave it in a week."""
    weekly: dict[str, tuple[float, float]] = {}
    for centre in CENTRES:
        parts = [(way.share, needs[way.destination]) for way in ways if way.origin == centre]
        mean = sum(share * need.mean for share, need in parts)
        weekly[centre] = mean, math.sqrt(sum((share * need.sd) ** 2 for share, need in parts))
    return weekly | {group: (need.mean, need.sd) for group, need in needs.items()}


def _into(place: str, ways: Iterable[_Way]) -> list[_Way]:
    return [way for way in ways if way.destination == place]


def _worth(prices: Mapping[str, float], ways: Iterable[_Way], pack_kg: float) -> dict[str, float]:
    """Landed value of a pack in USD, at each maker, centre and group."""
    worth = dict(prices)
    for place in (*CENTRES, *GROUPS):
        landed = ((way.share, worth[way.origin] + way.rate["usd_per_kg"] * pack_kg) for way in _into(place, ways))
        worth[place] = sum(share * value for share, value in landed)
    return worth


def _safety_stock(mean: float, sd: float, into: Iterable[_Way]) -> float:
    """Stock that covers a week's demand and, at the critical ratio, demand and lead-time noise, in packs.

    With orders every week and independent lead times, the order of k weeks ago is still under way with probability
    G(k) = P(lead time > k), so the amount under way has variance flow**2 * sum of G (1 - G) (orders may cross;
    Bradley & Robinson 2005), and demand over the lead time and a week adds (mean lead time + 1) * sd**2.
    """
    crossing = mean_lead = 0.0
    for way in into:
        late = period_table(way.lead_time)
        crossing += (way.share * mean) ** 2 * float(np.sum(late * (1.0 - late)))
        mean_lead += way.share * way.lead_time.mean_value
    return mean + facts.SAFETY_FACTOR * math.sqrt((mean_lead + 1.0) * sd**2 + crossing)


def _site(place: str, worth: float, weekly: tuple[float, float], ways: Iterable[_Way]) -> dict[str, Any]:
    stock = {
        "holding_cost": significant(worth * facts.HOLDING_RATE_PER_WEEK),
        "initial": significant(_safety_stock(*weekly, _into(place, ways)), 3),
    }
    centre = CENTRES.get(place)
    return {
        "kind": "distribution_centre" if centre else "customer",
        "region": centre.region if centre else place,
        "position": facts.POSITIONS[place],
        "stock": {"arv": stock},
    }


def _lanes(
    ways: Iterable[_Way], weekly: Mapping[str, tuple[float, float]], worth: Mapping[str, float], pack_kg: float
) -> list[dict[str, Any]]:
    """Lanes in the order of their destinations, each with its modes."""
    lanes: dict[tuple[str, str], dict[str, Any]] = {}
    for way in chain.from_iterable(_into(place, ways) for place in weekly):
        ends = way.origin, way.destination
        per_tonne = facts.emissions_kg_per_tonne(way.mode, *ends)
        lane = lanes.setdefault(ends, {"from": way.origin, "to": way.destination, "product": "arv", "modes": {}})
        lane["modes"][way.mode] = {
            "lead_time": way.lead_time.model_dump(),
            "freight_cost": significant(way.rate["usd_per_kg"] * pack_kg),
            "fixed_cost": way.rate.get("usd_per_shipment", 0.0),
            "transit_holding_cost": significant(worth[way.origin] * facts.HOLDING_RATE_PER_WEEK),
            "emissions_kg_per_unit": significant(per_tonne * pack_kg / 1000.0),
            "unfilled": "cancelled" if way.origin in MAKERS else "backordered",
            "share": significant(way.share),
            "initial_flow": significant(way.share * weekly[way.destination][0]),
        }
    return list(lanes.values())


def _demand(group: str, need: _Need, site: Mapping[str, Any]) -> dict[str, Any]:
    holding_cost = site["stock"]["arv"]["holding_cost"]
    return {
        "site": group,
        "product": "arv",
        "distribution": need.distribution.model_dump(),
        "unit": "pack",
        "seasonality": {"factors": need.factors, "periods_per_factor": QUARTER_WEEKS},
        "unmet": "backlog",
        "penalty": significant(holding_cost * facts.CRITICAL_RATIO / (1.0 - facts.CRITICAL_RATIO)),
    }


# -- provenance ------------------------------------------------------------------------------------------------------


def _provenance(shipments: Shipments, history: History, fits: Mapping[str, Any]) -> dict[str, Any]:
    days = {
        mode: [entry.days for entry in history.orders if entry.line.mode == MODES[mode]]
        for mode in ("air", "ocean", "truck")
    }
    price_index = {name: significant(level) for name, level in history.price_index.items()}
    return {
        "data": {
            "title": "SCMS Delivery History (Supply Chain Shipment Pricing Data)",
            "publisher": "USAID, PEPFAR Supply Chain Management System",
            "sha256": shipments.sha256,
            "rows": shipments.rows,
            "rows_unreadable": dict(sorted(shipments.refused.items())),
        },
        "method": facts.method(total_packs(history.made) / total_packs(history.arv), history.mean_price, price_index),
        "lines": dict(history.counts),
        "release_date_check": _release_date_check(shipments.lines),
        "lead_time_days_all_products": {mode: _evidence(_fit(days[mode], f"{mode} lead times")) for mode in days},
        "freight": dict(history.rates),
        "fits": dict(fits),
        "assumptions": list(facts.ASSUMPTIONS),
    }


def _release_date_check(lines: Iterable[Line]) -> dict[str, Any]:
    error = estimate_errors(lines)
    if not len(error):
        return {"orders": 0}
    low, median, high = np.quantile(error, [0.25, 0.5, 0.75])
    return {
        "orders": len(error),
        "mean_error_days": significant(error.mean(), 3),
        "median_error_days": significant(median, 3),
        "middle_half_days": [significant(low, 3), significant(high, 3)],
    }
