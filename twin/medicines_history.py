"""What a delivery history says of the essential medicines: prices, weights, times, freight and volumes.

:func:`measure` takes everything that :mod:`twin.medicines` fits from the lines of the file, and counts the lines that
each measurement used and refused. Nothing is fitted here but the two terms of a charter's freight.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin import medicines_facts as facts
from twin.calibration import affine, significant
from twin.errors import DataError
from twin.medicines_facts import GROUPS, MAKERS, MODES, PRODUCT_GROUP, QUARTER_WEEKS, ROUTES
from twin.release_times import release_times
from twin.shipments import DIRECT, FROM_STOCK, Freight, LeadTime, Line, Selection, Shipments, freight, lead_times

__all__ = [
    "DAYS_PER_WEEK",
    "History",
    "Rate",
    "measure",
    "modes_to",
    "require_enough",
    "total_packs",
    "weekly_deliveries",
]

DAYS_PER_WEEK = 7

#: ``usd_per_kg``, for a charter also ``usd_per_shipment``, and what they rest on.
Rate = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class History:
    """The file's lines and clean measurements, of the product group unless said otherwise.

    Attributes
    ----------
    arv
        All lines.
    made, window
        Lines of ``arv`` that the makers made, and those of them delivered inside the window.
    orders, direct
        Order to delivery, days: of all product groups, and of the shipments a maker sent straight to a country.
    releases
        Release from a centre to delivery, days.
    rates
        Leg and mode -> rate of freight, as in the provenance.
    pack_kg
        Weight of a pack, kg.
    mean_price
        USD per pack.
    price_index
        Maker -> price level, 1 = median.
    counts
        Measurement -> lines used, and refused by reason.
    """

    arv: Sequence[Line]
    made: Sequence[Line]
    window: Sequence[Line]
    orders: Sequence[LeadTime]
    direct: Sequence[LeadTime]
    releases: Sequence[LeadTime]
    rates: Mapping[str, Rate]
    pack_kg: float
    mean_price: float
    price_index: Mapping[str, float]
    counts: Mapping[str, Any]


def measure(shipments: Shipments) -> History:
    """Measure a delivery history.

    Parameters
    ----------
    shipments
        All readable lines of the file, of every product group: a bill is told apart by what it was shared with.

    Raises
    ------
    DataError
        When it has no line of the makers, no delivery in the window, or too few freight bills on a way of the network.
    """
    lines = shipments.lines
    arv = [line for line in lines if line.product_group == PRODUCT_GROUP]
    made = [line for line in arv if facts.maker_of(line) is not None]
    if not made:
        raise DataError(f"no {PRODUCT_GROUP} line was made by any of: {', '.join(MAKERS)}")
    window = [line for line in made if 0 <= _week(line) < facts.WINDOW_WEEKS]
    if not window:
        raise DataError(f"no delivery in the {facts.WINDOW_YEARS} years from {facts.WINDOW_START}")
    bills, bill_counts = freight(lines, PRODUCT_GROUP)
    if not bills:
        raise DataError(f"no {PRODUCT_GROUP} shipment has a usable freight bill")
    orders, order_counts = lead_times(lines)
    releases, release_counts = release_times(lines)
    return History(
        arv=arv,
        made=made,
        window=window,
        orders=orders,
        direct=[e for e in orders if e.line.product_group == PRODUCT_GROUP and facts.seller_of(e.line) is not None],
        releases=[e for e in releases if e.line.product_group == PRODUCT_GROUP],
        rates=_freight_rates(bills),
        pack_kg=significant(sum(bill.kg for bill in bills) / sum(bill.packs for bill in bills)),
        mean_price=sum(line.value_usd for line in window) / total_packs(window),
        price_index=_price_index(arv),
        counts={
            "lead_time_all_products": _counts(order_counts),
            "freight": _counts(bill_counts),
            "delivery_notes_from_stock": _counts(release_counts),
            "demand": _counts(_demand_lines(lines)),
        },
    )


def require_enough(number: int, what: str) -> None:
    """Refuse a measurement that rests on too few.

    Parameters
    ----------
    number
        Shipments, bills or delivery notes at hand.
    what
        Their name in the message.

    Raises
    ------
    DataError
        When ``number`` is below :data:`twin.medicines_facts.ENOUGH_LEAD_TIMES`.
    """
    if number < facts.ENOUGH_LEAD_TIMES:
        raise DataError(f"only {number} {what}; {facts.ENOUGH_LEAD_TIMES} are needed")


def _counts(selection: Selection) -> dict[str, Any]:
    return {"used": selection.used, "refused": dict(sorted(selection.refused.items()))}


# -- volumes ---------------------------------------------------------------------------------------------------------


def total_packs(lines: Iterable[Line]) -> float:
    """Packs of all lines together."""
    return sum(line.quantity for line in lines)


def _week(line: Line) -> int:
    """Week of delivery, 0 = the first of the window."""
    return (line.delivered - facts.WINDOW_START).days // DAYS_PER_WEEK


def weekly_deliveries(lines: Iterable[Line]) -> NDArray[np.float64]:
    """Packs delivered a week, from a quarter less one week before the window to its end.

    The quarter's moving average of it is the use in each week of the window: each delivery is used up evenly over the
    quarter that begins with its week.

    Returns
    -------
    ndarray, shape (QUARTER_WEEKS - 1 + WINDOW_WEEKS,)
        In packs; lines delivered in other weeks are left out.
    """
    packs = np.zeros(QUARTER_WEEKS - 1 + facts.WINDOW_WEEKS)
    for line in lines:
        week = QUARTER_WEEKS - 1 + _week(line)
        if 0 <= week < len(packs):
            packs[week] += line.quantity
    return packs


def _demand_lines(lines: Iterable[Line]) -> Selection:
    refused: Counter[str] = Counter()
    used = 0
    for line in lines:
        if line.product_group != PRODUCT_GROUP:
            refused["another product group"] += 1
        elif facts.maker_of(line) is None:
            refused["another maker"] += 1
        elif facts.group_of(line.country) is None:
            refused["country in no group"] += 1
        elif not -QUARTER_WEEKS < _week(line) < facts.WINDOW_WEEKS:
            refused["delivered outside the window and the quarter before it"] += 1
        else:
            used += 1
    return Selection(used, refused)


# -- prices and freight ----------------------------------------------------------------------------------------------


def _price_index(arv: Iterable[Line]) -> dict[str, float]:
    """Price level of each maker: its price against the median of the same item in the same year.

    Only items that two makers sold in that year compare anything. The quantity-weighted mean of the logarithm keeps
    one maker's product mix and one cheap order from setting its level.
    """
    cells: dict[tuple[str, int], list[tuple[str, Line]]] = {}
    for line in arv:
        name = facts.seller_of(line)
        if name is not None and line.pack_price_usd > 0.0:
            cells.setdefault((line.item, line.delivered.year), []).append((name, line))
    total = dict.fromkeys(MAKERS, 0.0)
    weight = dict.fromkeys(MAKERS, 0.0)
    for cell in cells.values():
        if len({name for name, _ in cell}) > 1:
            median = float(np.median([line.pack_price_usd for _, line in cell]))
            for name, line in cell:
                total[name] += line.quantity * math.log(line.pack_price_usd / median)
                weight[name] += line.quantity
    return {name: math.exp(total[name] / weight[name]) if weight[name] else 1.0 for name in MAKERS}


def _freight_rates(bills: Iterable[Freight]) -> dict[str, Rate]:
    """Leg and mode -> rate, for every way of the network."""
    direct = [bill for bill in bills if bill.line.fulfilment == DIRECT]
    rates = {f"maker to country, {mode}": _rate(direct, "maker to country", mode) for mode in facts.INBOUND_MODES}
    for group in GROUPS:
        stock = [b for b in bills if b.line.fulfilment == FROM_STOCK and facts.group_of(b.line.country) == group]
        rates |= {f"centre to {group}, {mode}": _rate(stock, f"centre to {group}", mode) for mode in modes_to(group)}
    return rates


def modes_to(group: str) -> list[str]:
    """Modes from the centres to a country group."""
    return list(dict.fromkeys(mode for routes in ROUTES.values() for mode in routes[group]))


def _rate(bills: Iterable[Freight], leg: str, mode: str) -> Rate:
    """A charter is paid by the aircraft. Elsewhere the sum of bills over the sum of kg keeps the total spend."""
    chosen = [bill for bill in bills if bill.line.mode == MODES[mode]]
    require_enough(len(chosen), f"freight bills {leg} by {mode}")
    kg, usd = np.array([bill.kg for bill in chosen]), np.array([bill.usd for bill in chosen])
    fixed, per_kg = affine(kg, usd) if mode == "air_charter" else (0.0, float(usd.sum() / kg.sum()))
    rate = {
        "n": len(chosen),
        "usd_per_kg": significant(per_kg),
        "median_usd_per_kg": significant(float(np.median(usd / kg))),
    }
    return rate | ({"usd_per_shipment": significant(fixed)} if fixed else {})
