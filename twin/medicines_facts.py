"""What the essential medicines network takes as given: who, where, which way, and every figure no file holds.

Nothing here is measured. :data:`ASSUMPTIONS` and :func:`method` say it in words; both stand in the network's
``provenance``, so that a reader of the file can tell an assumption from a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

from twin.shipments import DIRECT, Line

PRODUCT_GROUP = "ARV"

# -- choices of method -----------------------------------------------------------------------------------------------

QUARTER_WEEKS = 13
#: Whole 52-week years of stable volume: before 2011 the programme still grew threefold in two years, 2015 is cut off.
WINDOW_START, WINDOW_YEARS = date(2011, 1, 1), 4
WINDOW_WEEKS = WINDOW_YEARS * 52
#: A fit of its own needs this many shipments; below, a pooled one stands in.
ENOUGH_LEAD_TIMES, ENOUGH_LATE = 30, 10
CAPACITY_QUANTILE = 0.95

# -- rates -----------------------------------------------------------------------------------------------------------

#: Share of landed value; :data:`ASSUMPTIONS` says what it is charged on.
HOLDING_RATE_PER_YEAR = 0.22
HOLDING_RATE_PER_WEEK = HOLDING_RATE_PER_YEAR / 52.0
#: Penalty / (penalty + holding cost), and the standard normal quantile it asks of a safety stock.
CRITICAL_RATIO = 0.95
SAFETY_FACTOR = NormalDist().inv_cdf(CRITICAL_RATIO)
OUTAGE_EVERY_WEEKS, OUTAGE_WEEKS, SHARE_WHEN_DOWN = 104.0, 8.0, 0.25
#: USD per kg CO2e.
EMISSION_PRICE = 0.05
#: kg CO2e per tonne-km, in the range of the DEFRA conversion factors for company reporting.
EMISSION_FACTORS = {"air": 0.57, "truck": 0.15, "ocean": 0.016}
#: Great circle to distance travelled: km added to a flight, factors on a sea and a road distance.
AIR_EXTRA_KM, OCEAN_DETOUR, ROAD_DETOUR = 95.0, 1.15, 1.3

# -- places: (longitude, latitude) in degrees ------------------------------------------------------------------------

Position = tuple[float, float]


class Place(NamedTuple):
    """A maker's main plant or a distribution centre."""

    region: str
    position: Position


class Group(NamedTuple):
    """Countries served as one: the country that took most packs, its capital or largest port, all countries."""

    hub: str
    position: Position
    countries: tuple[str, ...]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


#: The word a maker's names begin with in the file, in small letters -> its main plant there.
MAKERS = {
    "aurobindo": Place("India, Hyderabad", (78.39, 17.53)),
    "mylan": Place("India, Nashik", (73.79, 20.0)),
    "hetero": Place("India, Hyderabad", (78.14, 17.76)),
    "cipla": Place("India, Goa", (73.99, 15.39)),
    "strides": Place("India, Bengaluru", (77.59, 12.97)),
}
CENTRES = {
    "rdc_west": Place("Ghana, Tema", (-0.01, 5.67)),
    "rdc_south": Place("South Africa, Johannesburg", (28.05, -26.2)),
}
GROUPS = {
    "southern_africa": Group(
        "Zambia",
        (28.28, -15.42),
        _names("Angola|Botswana|Malawi|Mozambique|Namibia|South Africa|Swaziland|Zambia|Zimbabwe"),
    ),
    "east_africa": Group(
        "Tanzania",
        (39.28, -6.82),
        _names("Burundi|Ethiopia|Kenya|Rwanda|South Sudan|Sudan|Tanzania|Uganda"),
    ),
    "west_central_africa": Group(
        "Nigeria",
        (7.49, 9.06),
        _names(
            "Benin|Burkina Faso|Cameroon|Congo, DRC|Côte d'Ivoire|Ghana|Guinea|Liberia|Libya|Mali|Nigeria|Senegal|"
            "Sierra Leone|Togo"
        ),
    ),
    "americas_asia": Group(
        "Vietnam",
        (105.85, 21.03),
        _names(
            "Afghanistan|Belize|Dominican Republic|Guatemala|Guyana|Haiti|Kazakhstan|Kyrgyzstan|Lebanon|Pakistan|"
            "Vietnam"
        ),
    ),
}
#: Maker, centre or group -> where it is.
POSITIONS: dict[str, Position] = {
    **{name: place.position for name, place in (MAKERS | CENTRES).items()},
    **{name: group.position for name, group in GROUPS.items()},
}

# -- ways ------------------------------------------------------------------------------------------------------------

#: Mode in the network -> name in the file.
MODES = {"air": "Air", "ocean": "Ocean", "truck": "Truck", "air_charter": "Air Charter"}
#: Modes from a maker to a centre.
INBOUND_MODES = ("air", "ocean")
#: Centre -> group -> mode -> share of the group's flow in that mode that leaves this centre.
ROUTES: dict[str, dict[str, dict[str, float]]] = {
    "rdc_west": {
        "west_central_africa": {"truck": 1.0, "air_charter": 1.0, "air": 0.5},
        "east_africa": {"air": 0.5},
        "southern_africa": {"air": 0.5},
        "americas_asia": {"air": 0.5},
    },
    "rdc_south": {
        "southern_africa": {"truck": 1.0, "air": 0.5},
        "east_africa": {"truck": 1.0, "air": 0.5},
        "west_central_africa": {"air": 0.5},
        "americas_asia": {"air": 0.5},
    },
}
_MUMBAI, _CAPE_AGULHAS, _DURBAN = (72.95, 18.95), (20.0, -35.5), (31.03, -29.88)
#: Centre -> waypoints at sea, from the port of loading to the port of discharge.
SEA_ROUTES: dict[str, tuple[Position, ...]] = {
    "rdc_west": (_MUMBAI, _CAPE_AGULHAS, CENTRES["rdc_west"].position),
    "rdc_south": (_MUMBAI, _DURBAN),
}


def great_circle_km(a: Position, b: Position) -> float:
    """Great-circle distance in km by the haversine formula (Sinnott 1984), Earth radius 6371 km."""
    lon_a, lat_a, lon_b, lat_b = map(math.radians, (*a, *b))
    half = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(half))


def emissions_kg_per_tonne(mode: str, origin: str, destination: str) -> float:
    """Kg CO2e to move a tonne between two of :data:`POSITIONS`: the sum over the legs of km travelled times factor."""
    start, end = POSITIONS[origin], POSITIONS[destination]
    road = EMISSION_FACTORS["truck"] * ROAD_DETOUR
    if mode == "truck":
        return road * great_circle_km(start, end)
    if mode == "ocean":
        sea = SEA_ROUTES[destination]
        afloat = sum(great_circle_km(a, b) for a, b in pairwise(sea)) * OCEAN_DETOUR
        land = great_circle_km(start, sea[0]) + great_circle_km(sea[-1], end)
        return EMISSION_FACTORS["ocean"] * afloat + road * land
    return EMISSION_FACTORS["air"] * (great_circle_km(start, end) + AIR_EXTRA_KM)


# -- who a line of the file is about ---------------------------------------------------------------------------------


def _maker_called(text: str) -> str | None:
    return next((name for name in MAKERS if text.casefold().startswith(name)), None)


def maker_of(line: Line) -> str | None:
    """Who made the packs: the file names the plant even where the vendor is a distribution centre's stock."""
    return _maker_called(line.maker)


def seller_of(line: Line) -> str | None:
    """The maker that delivered the line straight to the country."""
    return _maker_called(line.vendor) if line.fulfilment == DIRECT else None


def group_of(country: str) -> str | None:
    """The group a country belongs to."""
    return next((name for name, group in GROUPS.items() if country in group.countries), None)


# -- in words --------------------------------------------------------------------------------------------------------


def method(makers_share: float, mean_price: float, price_index: Mapping[str, float]) -> dict[str, Any]:
    """How each figure is measured.

    Parameters
    ----------
    makers_share
        Share of all packs that the makers made, 0 to 1.
    mean_price
        USD per pack.
    price_index
        Maker -> price level, 1 = median.
    """
    return {
        "makers": f"The five largest makers of ARV packs by quantity; they made {100 * makers_share:.1f} % of all "
        "packs. The plant is named also on lines that left a distribution centre, so volumes count both ways of "
        "delivery.",
        "price": f"Value over packs of the makers' lines in the window ({mean_price:.4g} USD), times the maker's price "
        "index: its direct deliveries against the median price of the same item and year, where two makers sold it.",
        "price_index": dict(price_index),
        "maker_lead_time": "Purchase order sent to delivered, one per shipment, of the maker's direct deliveries that "
        "arrived on schedule or early. Lateness is left to the maker's delay, so that it is not counted twice.",
        "maker_delay": "Probability: share of the maker's direct shipments (all modes) delivered after the scheduled "
        f"date. Time: days late; pooled over the makers where one has fewer than {ENOUGH_LATE} late shipments.",
        "pooling": f"A lead time of a maker and mode with fewer than {ENOUGH_LEAD_TIMES} shipments is the pooled one.",
        "centre_lead_time": "Delivery note issued to delivered, lines 'From RDC', by country group and mode. The file "
        "has no dispatch date; notes are numbered in order of time, so each was issued before the first delivery of "
        "the 20 notes from it on and after the last price quote of the 20 notes up to it. The middle of that bracket "
        "is taken. release_date_check tries the same on purchase orders, "
        "whose date is known (error = true - estimate); the error's spread is part of the fitted sd.",
        "freight": "Sum of freight over sum of weight, one bill per shipment. A charter is hired by the aircraft: "
        "least squares gives its fixed cost and its cost per kg.",
        "weight": "Sum of kg over sum of packs of the shipments with a freight bill.",
        "capacity": f"Quantile {CAPACITY_QUANTILE} of the {QUARTER_WEEKS}-week moving average of packs delivered.",
        "demand": f"Window {WINDOW_START} and {WINDOW_YEARS} x 52 weeks. Deliveries are far lumpier than use, because "
        f"programmes order by the quarter; each delivery is used up evenly over {QUARTER_WEEKS} weeks. The quarter "
        "factors (from the first of January) are taken out before the fit; raw_ figures: deliveries by week.",
        "families": "Moments (mean and standard deviation kept); gamma or lognormal by likelihood; ks is the "
        "Kolmogorov-Smirnov distance, of the losing family under rejected. Lead times in weeks, lateness in days.",
        "shares": "Maker: packs made in the window. Mode: packs by mode in the maker's direct deliveries, and in the "
        "deliveries from stock to the country group.",
        "initial": "Flows: mean demand times share. Stock: one week of demand and a safety stock at the critical "
        "ratio for demand and lead-time noise; the initial flows are the rest of the base-stock level.",
    }


_FACTORS = ", ".join(f"{mode} {value}" for mode, value in EMISSION_FACTORS.items())
ASSUMPTIONS = (
    "Two distribution centres, in Ghana and South Africa. The programme also ran one in Kenya, and the file does "
    "not say which one a line left from.",
    "All packs pass a distribution centre; in the file about a quarter went straight from maker to country. A "
    "centre is restocked with the lead time and freight of those direct deliveries.",
    "Makers' shares and modes are the same into both centres.",
    "Trucks to west and central Africa and charters leave from the west, trucks to southern and east Africa from "
    "the south; scheduled air freight comes half from each centre at the same lead time and cost.",
    "A country group is one site, at the hub of the country that took most packs.",
    "Weekly demands are independent; the file's smoothed series is correlated over a quarter.",
    f"Holding cost: {100 * HOLDING_RATE_PER_YEAR:.0f} % of landed value a year (price and freight so far), on hand "
    "and in transit.",
    f"Backlog penalty: critical ratio penalty / (penalty + holding) = {CRITICAL_RATIO}; the file has no cost of "
    "a missing pack.",
    f"Outages: each maker fails once in {OUTAGE_EVERY_WEEKS:.0f} weeks and stays down for {OUTAGE_WEEKS:.0f} weeks "
    f"on average with {100 * SHARE_WHEN_DOWN:.0f} % of its capacity; the file has no outage data.",
    "A maker's capacity for this programme is what it has shown; makers sell to others too.",
    f"Emission price {EMISSION_PRICE} USD per kg CO2e.",
    f"Emissions: kg CO2e per tonne-km {_FACTORS}, in the range of the DEFRA conversion factors for company "
    "reporting (long-haul air, average heavy goods vehicle, container ship); a charter counts as air.",
    f"Distances: great circles; air + {AIR_EXTRA_KM:.0f} km, road x {ROAD_DETOUR}, sea x {OCEAN_DETOUR}, from the "
    "port of Mumbai to Durban, or past Cape Agulhas to Tema.",
    "Positions of the plants are those of each maker's main plant in the file.",
)
