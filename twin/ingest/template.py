"""A small working set of tables with its mapping, to run and to change into one's own."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from twin.errors import DataError
from twin.files import write_text

__all__ = ["write_template"]

MAPPING = """\
# How these tables become a network:
#   python -m twin.ingest tables --folder . --mapping mapping.yaml --output network.yaml
# Left of a colon stands what the importer calls a field, right of it the column of your file.
# A few rows of orders.csv and demand.csv are wrong on purpose: see network.quarantine.csv after the import.

network:
  name: example_network
  description: Two products, a plant that assembles, a warehouse and two stores.
  period: week                  # day, week or month: how often orders are placed
  currency: EUR

csv: {delimiter: ",", decimal: "."}    # for files with ; and decimal commas: {delimiter: ";", decimal: ","}
time_zone: Europe/Berlin        # of timestamps without an offset; without this key such timestamps are refused
rates: {USD: 0.92}              # one USD is 0.92 of the network's currency

timely:
  as_of: 2025-06-30             # day of the export; later dates are errors (today when left out)
  window_days: 730              # older rows are left out

tables:
  nodes:
    columns: {name: location, kind: type, region: country, longitude: lon, latitude: lat}
  products:
    columns: {name: sku, unit: unit, whole: counted, weight: weight_lb, value: standard_cost, price: sales_price}
    units: {weight: lb}         # kg, g, t, lb or oz
  lanes:
    columns:
      name: lane                # orders.csv refers to it
      from: origin
      to: destination
      product: sku
      mode: service
      lead_time: planned_days   # used where there are too few orders to measure it
      price: purchase_price     # of what a supplier sells; currency per row
      freight_cost: freight
      currency: currency
    units: {time: day}          # hour, day, week, month, quarter or year
  recipes:                      # one row per input
    columns: {site: plant, product: makes, input: needs, quantity: per_unit, lead_time: hours, unit_cost: labour}
    units: {time: hour, currency: EUR}
  orders:
    columns: {id: order_no, lane: lane, ordered_at: ordered, received_at: received, quantity: qty}
    thresholds: {complete: 0.9}   # open orders have no date of receipt yet
  demand:
    columns: {date: sold_on, site: store, product: sku, quantity: qty}

demand:
  as: distribution              # or recorded: the series itself is played
  first: 2025-01-06             # whole weeks only: Monday to Sunday
  last: 2025-06-29
  unmet: lost                   # or backlog
  service_level: 0.95

assumptions:
  holding_rate_per_year: 0.2    # of a product's value
  least_orders: 5               # that a measured lead time needs

# Least share of good rows, by dimension of quality. When left out: 0.95 for orders and demand, 1 for the others.
thresholds: {}
"""

_NODES = """\
location,type,country,lon,lat
Supplier A,supplier,PL,17.03,51.11
Plant,plant,DE,11.58,48.14
Central warehouse,warehouse,DE,8.68,50.11
Store 1,store,DE,13.40,52.52
Store 2,store,FR,2.35,48.86
"""
_PRODUCTS = """\
sku,unit,counted,weight_lb,standard_cost,sales_price
component,piece,yes,1.1,4.00,
appliance,piece,yes,6.6,19.50,49.00
"""
_LANES = """\
lane,origin,destination,sku,service,planned_days,purchase_price,freight,currency
L1,Supplier A,Plant,component,truck,6,4.20,0.15,USD
L2,Supplier A,Plant,component,air,2,4.20,1.10,USD
L3,Plant,Central warehouse,appliance,truck,2,,0.60,EUR
L4,Central warehouse,Store 1,appliance,truck,3,,0.90,EUR
L5,Central warehouse,Store 2,appliance,truck,4,,1.20,EUR
"""
_RECIPES = """\
plant,makes,needs,per_unit,hours,labour
Plant,appliance,component,3,30,6.50
"""

#: Lane -> shortest lead time in days and how much longer it may take; L2 has a plan only.
_LEAD_DAYS = {"L1": (5, 6), "L3": (1, 2), "L4": (2, 3), "L5": (3, 4)}
_ORDERS_PER_LANE = 14
_FIRST_DAY = datetime(2025, 1, 6)
_WEEKS = 25


def write_template(folder: str | Path) -> list[Path]:
    """Write the example set into a folder, which is made where it is missing.

    Raises
    ------
    DataError
        When one of the files is already there.
    """
    folder = Path(folder)
    texts = {
        "nodes.csv": _NODES,
        "products.csv": _PRODUCTS,
        "lanes.csv": _LANES,
        "recipes.csv": _RECIPES,
        "orders.csv": _orders(),
        "demand.csv": _demand(),
        "mapping.yaml": MAPPING,
    }
    for name in texts:
        if (folder / name).exists():
            raise DataError(f"{folder / name} exists; give a folder without these files")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _orders() -> str:
    """Orders of half a year; the last two rows are an open one and one that arrives before it was placed."""
    dice = random.Random(1)
    rows: list[Sequence[object]] = []
    for lane, (shortest, spread) in _LEAD_DAYS.items():
        for week in range(_ORDERS_PER_LANE):
            ordered = _FIRST_DAY + timedelta(weeks=week, hours=8 + dice.randrange(9))
            received = ordered + timedelta(days=shortest + dice.randrange(spread), hours=dice.randrange(4))
            rows.append((f"{lane}-{week + 1:02d}", lane, ordered, received, 20 + dice.randrange(60)))
    rows.append(("L4-15", "L4", "2025-06-27 09:00:00", "", 40))
    rows.append(("L5-15", "L5", "2025-06-16 09:00:00", "2025-06-06 09:00:00", 40))
    return _text(("order_no", "lane", "ordered", "received", "qty"), rows)


def _demand() -> str:
    """Daily sales of half a year, closed on Sundays; two rows are repeated or not a number."""
    dice = random.Random(2)
    rows: list[Sequence[object]] = []
    for day in range(7 * _WEEKS):
        if day % 7 != 6:
            date = (_FIRST_DAY + timedelta(days=day)).date()
            rows.append((date, "Store 1", "appliance", dice.randrange(8)))
            rows.append((date, "Store 2", "appliance", dice.randrange(5)))
    rows.insert(20, rows[19])
    rows.append(("2025-06-28", "Store 2", "appliance", "n/a"))
    return _text(("sold_on", "store", "sku", "qty"), rows)


def _text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
