"""Random valid networks and random orders for property tests.

Every feature of a network file is drawn with a moderate probability: most networks have a few, some have none.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from twin.network import PHASE_ORDERS, Network

COST = st.sampled_from([0.0, 0.5, 1.0, 3.0])


def _fixed(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high)


#: Lead times that may be 0 periods.
ANY_LEAD_TIME = st.one_of(
    _fixed(0, 3),
    st.sampled_from(
        [
            {"distribution": "uniform_integer", "low": 0, "high": 3},
            {"distribution": "poisson", "mean": 0.8},
            {"distribution": "gamma", "mean": 1.5, "sd": 1.0},
            {"distribution": "empirical", "values": [0, 2, 4], "probabilities": [0.3, 0.3, 0.4]},
            {"distribution": "recorded", "values": [2, 0, 1, 3, 0]},
        ]
    ),
)
#: Lead times of at least 1 period.
POSITIVE_LEAD_TIME = st.one_of(
    _fixed(1, 3),
    st.sampled_from(
        [
            {"distribution": "uniform_integer", "low": 1, "high": 3},
            {"distribution": "empirical", "values": [1, 3], "probabilities": [0.5, 0.5]},
            {"distribution": "recorded", "values": [3, 1, 1]},
        ]
    ),
)
WHOLE_DEMAND = st.sampled_from(
    [
        3,
        {"distribution": "poisson", "mean": 4.0},
        {"distribution": "geometric", "mean": 2.0},
        {"distribution": "negative_binomial", "mean": 4.0, "sd": 3.0},
        {"distribution": "recorded", "values": [4, 0, 7, 1, 5]},
    ]
)
ANY_DEMAND = st.one_of(
    WHOLE_DEMAND,
    st.sampled_from(
        [
            {"distribution": "uniform_integer", "low": 1, "high": 6},
            {"distribution": "empirical", "values": [0, 2.5, 7], "probabilities": [0.2, 0.5, 0.3]},
            {"distribution": "normal", "mean": 4.0, "sd": 3.0},
            {"distribution": "gamma", "mean": 4.0, "sd": 2.0},
            {"distribution": "lognormal", "mean": 4.0, "sd": 3.0},
            {"distribution": "uniform", "low": 1.0, "high": 6.0},
            {
                "distribution": "intermittent",
                "probability": 0.4,
                "size": {"distribution": "gamma", "mean": 8.0, "sd": 4.0},
            },
            {"distribution": "recorded", "values": [2.5, 0, 6.25]},
        ]
    ),
)
TREND = st.sampled_from(
    [
        {"per_period": 0.05},
        {"per_period": -0.2},
        {"per_period": 0.3, "periods": 3},
        {"per_period": 0.1, "kind": "compound"},
        {"per_period": -0.25, "kind": "compound", "periods": 5},
    ]
)
SHOCKS = st.lists(
    st.sampled_from(
        [
            {"start": 2, "periods": 3, "factor": 2.5},
            {"start": 0, "periods": 1, "factor": 0.0},
            {"start": 4, "periods": 20, "factor": 0.3},
        ]
    ),
    min_size=1,
    max_size=2,
)
RANDOM_SHOCK = st.sampled_from(
    [
        {"probability": 0.2, "duration": 3, "factor": 2},
        {"probability": 1.0, "duration": 2, "factor": 0.5},
        {
            "probability": 0.5,
            "duration": {"distribution": "poisson", "mean": 2.0},
            "factor": {"distribution": "uniform", "low": 0.0, "high": 3.0},
        },
    ]
)
GOODWILL = st.sampled_from([{"rate": 0.3}, {"rate": 1.0, "floor": 0.5}, {"rate": 0.1, "floor": 0.2}])
#: What a random network may order: least, whole lots, most; always with an order above 0 that is feasible.
ORDER_RULES = st.sampled_from(
    [
        {"minimum_order": 3.0},
        {"minimum_order": 12.0, "maximum_order": 40.0},
        {"lot_size": 2.0},
        {"lot_size": 5.0, "minimum_order": 7.0},
        {"lot_size": 4.0, "maximum_order": 15.0},
        {"lot_size": 3.0, "minimum_order": 6.0, "maximum_order": 6.0},
        {"maximum_order": 5.0},
    ]
)
#: The same for products that come in fractions.
FRACTIONAL_ORDER_RULES = st.sampled_from(
    [{"lot_size": 0.5}, {"lot_size": 2.5, "minimum_order": 0.75}, {"minimum_order": 1.25, "maximum_order": 3.5}]
)

#: Outages that end otherwise than by chance in every period, and when they are foreseen or foreseeable.
OUTAGES = [
    {"duration": 2},
    {"duration": {"distribution": "uniform_integer", "low": 0, "high": 4}},
    {"duration": {"distribution": "gamma", "mean": 15.0, "sd": 9.0}, "duration_unit": "day"},
    {"duration": {"distribution": "empirical", "values": [1, 5], "probabilities": [0.6, 0.4]}},
]
WINDOWS = [
    {"start": 0, "duration": 2},
    {"start": 4, "duration": 3},
    {
        "start": {"distribution": "uniform_integer", "low": 0, "high": 8},
        "duration": {"distribution": "poisson", "mean": 2},
    },
    {"start": {"distribution": "uniform", "low": 10.0, "high": 50.0}, "duration": 20, "unit": "day"},
]
WARNINGS = [
    {"ahead": 1},
    {"ahead": 3, "recall": 0.8, "false_alarm": 0.1},
    {"ahead": 2, "recall": 0.5, "false_alarm": 0.5},
]


def rarely(draw: st.DrawFn, one_in: int) -> bool:
    """True once in ``one_in`` times (and False in the simplest example)."""
    return draw(st.integers(0, one_in - 1)) == one_in - 1


@st.composite
def products_of(draw: st.DrawFn) -> dict[str, Any]:
    """One to three products, some in whole units, some perishable."""
    out: dict[str, Any] = {}
    for k in range(draw(st.integers(1, 3))):
        out[f"p{k}"] = {"integer": draw(st.booleans())}
        if rarely(draw, 3):
            issue = draw(st.sampled_from(["first_in", "first_expired", "last_expired"]))
            # where all units come fresh or live briefly the rules are one; long lives tell them apart
            out[f"p{k}"] |= {"issue": issue, "shelf_life": draw(st.integers(1, 5) | st.just(5))}
    return out


@st.composite
def availabilities(draw: st.DrawFn, shares: bool, plain: bool = False) -> dict[str, Any]:
    """How something fails; ``shares`` says whether it may fail in part, ``plain`` that it is a two-state chain."""
    out: dict[str, Any] = {"failure": 0.4, "recovery": 0.5}
    if shares:
        out["share_when_down"] = draw(st.sampled_from([0.0, 0.4]))
    if plain:
        return out
    if draw(st.booleans()):
        del out["recovery"]
        out |= draw(st.sampled_from(OUTAGES))
    if shares and draw(st.booleans()):
        out["ramp"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        out["windows"] = draw(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=3))
        if rarely(draw, 3):  # nothing else takes it down
            out = {key: value for key, value in out.items() if key not in {"failure", "recovery", "duration"}}
            out.pop("duration_unit", None)
    if draw(st.booleans()):
        out["warning"] = draw(st.sampled_from(WARNINGS))
    return out


@st.composite
def resources(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Zero to two resources, some of them unreliable, some closed; and the causes that they depend on."""
    out: dict[str, Any] = {}
    capacities = [draw(st.sampled_from([0.0, 4.0, 9.5, 30.0, None])) for _ in range(draw(st.integers(0, 2)))]
    disrupted, shares = draw(st.booleans()), None not in capacities
    causes = {}
    if disrupted and capacities:
        causes = {f"c{k}": {"availability": draw(availabilities(shares))} for k in range(draw(st.integers(0, 2)))}
    for index, capacity in enumerate(capacities):
        name = f"r{index}"
        out[name] = {"cost_per_unit": draw(COST), "rationing": draw(st.sampled_from(["proportional", "priority"]))}
        if draw(st.booleans()):
            out[name]["availability"] = draw(availabilities(capacity is not None, plain=not disrupted))
        if causes:
            out[name]["causes"] = draw(st.lists(st.sampled_from(sorted(causes)), unique=True, max_size=2))
        if capacity is None and not ({"availability", "causes"} & {k for k, v in out[name].items() if v}):
            capacity = 9.5 if out[name]["cost_per_unit"] == 0.0 else None  # it would be nothing at all
        if capacity is not None:
            out[name]["capacity"] = capacity
            if rarely(draw, 3):
                out[name]["calendar"] = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4))
        if rarely(draw, 3):
            out[name]["overhead"] = draw(st.sampled_from([0.5, 20.0]))
        if rarely(draw, 3) and goes_down(out[name], causes):
            out[name]["overhead_when_down"] = draw(COST)
    needed = {cause for entry in out.values() for cause in entry.get("causes", ())}
    return out, {name: entry for name, entry in causes.items() if name in needed}


@st.composite
def network_data(draw: st.DrawFn) -> dict[str, Any]:
    """Plain data of a valid network; arcs that may take zero time only lead forward, so that none forms a cycle."""
    products = draw(products_of())
    limited, causes = draw(resources())
    uses = st.dictionaries(st.sampled_from(sorted(limited)), st.sampled_from([1.0, 0.5, 2.0]), max_size=2)
    uses = uses if limited else st.just({})
    suppliers = {
        f"v{k}": {"offers": {name: {"price": draw(COST)} for name in products}, "uses": draw(uses)}
        for k in range(draw(st.integers(1, 2)))
    }
    for entry in suppliers.values():
        if draw(st.integers(0, 3)) == 0:
            entry["delay"] = {"probability": draw(st.sampled_from([0.3, 1.0])), "time": draw(_fixed(0, 2))}
    sites: dict[str, Any] = {}
    for k in range(draw(st.integers(1, 6))):
        held = draw(st.lists(st.sampled_from(sorted(products)), min_size=1, max_size=3, unique=True))
        sites[f"s{k}"] = {
            "rationing": draw(st.sampled_from(["proportional", "priority"])),
            "stock": {
                name: {"holding_cost": draw(COST), "initial": draw(st.sampled_from([0.0, 2.0, 12.0]))}
                for name in sorted(held)
            },
        }
        for name, stock in sites[f"s{k}"]["stock"].items():
            if "shelf_life" in products[name]:
                stock["waste_cost"] = draw(COST)
            if rarely(draw, 6):
                stock["terminal_value"] = draw(COST)
    used_modes = 0

    def rules(entry: dict[str, Any], whole: bool, down: bool) -> dict[str, Any]:
        """The entry with rules for its orders, its shipments and what it owes."""
        if rarely(draw, 4):
            entry |= draw(ORDER_RULES if whole else st.one_of(ORDER_RULES, FRACTIONAL_ORDER_RULES))
        if rarely(draw, 5):
            entry["order_delay"] = draw(st.integers(1, 3))
        if rarely(draw, 3):
            entry["crossing"] = False
        if down and draw(st.booleans()):
            entry["when_down"] = draw(st.sampled_from(["refused", "waits"]))
        if entry["unfilled"] == "backordered" or entry.get("when_down") == "waits":
            entry["backorder_cost"] = draw(COST)
        return entry

    def arc_entry(lead_time: st.SearchStrategy[Any], product: str, supplier: str | None = None) -> dict[str, Any]:
        source = suppliers.get(supplier, {})
        if "delay" in source:  # a recorded series is the whole truth: nothing is added to it
            lead_time = lead_time.filter(lambda law: isinstance(law, int) or law["distribution"] != "recorded")
        entry = {
            "lead_time": draw(lead_time),
            "transit_holding_cost": draw(COST),
            "fixed_cost": draw(COST),
            "emissions_kg_per_unit": draw(COST),
            "capacity": draw(st.sampled_from([None, None, None, 0.0, 3.5, 8.0])),
            "unfilled": draw(st.sampled_from(["cancelled", "backordered"])),
            "uses": draw(uses),
            "initial_flow": draw(st.sampled_from([0.0, 0.0, 2.0])),
        }
        used = [*entry["uses"], *source.get("uses", ())]
        closes = any(goes_down(limited[name], causes) for name in used)
        return rules(entry, products[product]["integer"], closes)

    def lane(origin: str, destination: str, product: str, lead_time: st.SearchStrategy[Any]) -> dict[str, Any]:
        nonlocal used_modes
        modes = {}
        for _ in range(draw(st.integers(1, 2))):
            modes[f"m{used_modes}"] = arc_entry(lead_time, product, origin) | {"freight_cost": draw(COST)}
            used_modes += 1
        if draw(st.integers(0, 5)) == 0:
            for mode in modes.values():
                mode["lead_time"], mode["lead_time_unit"] = 10, "day"
        return {"from": origin, "to": destination, "product": product, "modes": modes}

    lanes, recipes = [], {}
    points = [(site, product) for site, entry in sites.items() for product in entry["stock"]]
    for index, (site, product) in enumerate(points):
        upstream = [s for s, p in points[:index] if p == product and s != site]
        parts = [p for s, p in points[:index] if s == site]
        kinds = ["supplier"] + ["site"] * 2 * bool(upstream) + ["recipe"] * 2 * (bool(parts) and len(recipes) < 2)
        chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2))
        if upstream and "shelf_life" in products[product] and draw(st.booleans()):
            chosen = ["supplier", "site"]  # fresh units and older ones meet
        for kind in chosen:
            if kind == "supplier":
                lanes.append(lane(draw(st.sampled_from(sorted(suppliers))), site, product, ANY_LEAD_TIME))
            elif kind == "site":
                lanes.append(lane(draw(st.sampled_from(upstream)), site, product, ANY_LEAD_TIME))
            elif len(recipes) < 2:
                needed = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=2, unique=True))
                inputs = {name: draw(st.sampled_from([1.0, 2.0, 0.5])) for name in needed}
                made = {"site": site, "product": product, "inputs": inputs, "unit_cost": draw(COST)}
                if rarely(draw, 3):
                    made["yield_share"] = draw(st.sampled_from([0.5, 0.8, 0.9]))
                recipes[f"make{len(recipes)}"] = made | arc_entry(ANY_LEAD_TIME, product)
        if (site, product) not in {(x["to"], x["product"]) for x in lanes} and not any(
            (r["site"], r["product"]) == (site, product) for r in recipes.values()
        ):
            lanes.append(lane("v0", site, product, ANY_LEAD_TIME))
    backward = [(a, b, p) for a, p in points for b, q in points if p == q and a > b]
    if backward and draw(st.booleans()):
        lanes.append(lane(*draw(st.sampled_from(backward)), POSITIVE_LEAD_TIME))
    demands = {}
    for index in range(draw(st.integers(1, 3))):
        site, product = draw(st.sampled_from(points))
        demands[f"d{index}"] = {
            "site": site,
            "product": product,
            "distribution": draw(WHOLE_DEMAND if products[product]["integer"] else ANY_DEMAND),
            "unmet": draw(st.sampled_from(["lost", "backlog"])),
            "penalty": draw(COST),
            "price": draw(COST),
        }
        may_scale = is_random(demands[f"d{index}"]) or not products[product]["integer"]
        if draw(st.integers(0, 3)) == 0 and may_scale:
            demands[f"d{index}"]["seasonality"] = {
                "factors": [0.5, 2.0, 1.0],
                "periods_per_factor": draw(st.integers(1, 2)),
            }
        move(draw, demands[f"d{index}"])
    return {
        "name": "random",
        "phases": list(draw(st.sampled_from(PHASE_ORDERS))),
        "emission_price_per_kg": draw(COST),
        "products": products,
        "resources": limited,
        "causes": causes,
        "suppliers": suppliers,
        "sites": sites,
        "lanes": lanes,
        "recipes": recipes,
        "demands": demands,
        "correlations": correlations(draw, demands),
    }


def is_random(stream: dict[str, Any]) -> bool:
    """Whether a stream's demand is drawn, neither fixed nor recorded."""
    law = stream["distribution"]
    return not isinstance(law, int) and law["distribution"] not in {"fixed", "recorded"}


def move(draw: st.DrawFn, stream: dict[str, Any]) -> None:
    """Give a stream, now and then, what moves its demand in time."""
    if rarely(draw, 5):
        stream["trend"] = draw(TREND)
    if rarely(draw, 5):
        stream["shocks"] = draw(SHOCKS)
    if rarely(draw, 5):
        stream["random_shock"] = draw(RANDOM_SHOCK)
    if rarely(draw, 3):
        stream["goodwill"] = draw(GOODWILL)
    if is_random(stream) and rarely(draw, 4):
        stream["autocorrelation"] = draw(st.sampled_from([-0.5, 0.4, 0.9]))
    if not is_random(stream) and draw(st.booleans()):
        law = stream["distribution"]
        values = [4.0, 2.0, 3.0] if isinstance(law, int) else [value + 0.5 for value in law["values"]]
        stream["forecast"] = {"values": values, "bias": -0.1, "error": 0.4}


def correlations(draw: st.DrawFn, demands: dict[str, Any]) -> list[dict[str, Any]]:
    """No, one or two correlations between streams whose demand is drawn; every choice is positive definite.

    The streams are given one memory: where they remember differently not every correlation exists.
    """
    random = sorted(name for name, stream in demands.items() if is_random(stream))
    if len(random) < 2 or draw(st.booleans()):
        return []
    memory = draw(st.sampled_from([0.0, 0.0, -0.5, 0.9]))
    for name in random:
        demands[name]["autocorrelation"] = memory
    together = [{"streams": random, "value": draw(st.sampled_from([-0.4, 0.5, 0.9]))}]
    chain = [{"streams": list(pair), "value": 0.6} for pair in itertools.pairwise(random)]
    return draw(st.sampled_from([together, chain]))


def goes_down(resource: dict[str, Any], causes: dict[str, Any]) -> bool:
    """Whether nothing of a resource works at times."""
    entries = [resource["availability"]] if "availability" in resource else []
    entries += [causes[name]["availability"] for name in resource.get("causes", ())]
    return any(entry.get("share_when_down", 0.0) == 0.0 for entry in entries)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A random network, parsed and checked."""
    return Network.parse(draw(network_data()))


def random_orders(seed: int, periods: int, arcs: int, replicas: int) -> NDArray[np.float64]:
    """Orders as an undecided planner places them: nothing, negative, small, fractional, whole, far too much."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, size=(periods, arcs, replicas))
    amount = rng.gamma(2.0, 3.0, size=kind.shape)
    return np.choose(kind, [np.zeros_like(amount), -amount, amount, np.round(amount), amount / 10, amount * 50])


CONTRACT = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["outside", "active", "qualified"]),
        "qualification_periods": st.sampled_from([2, 1, 0, 3]),
    },
    optional={
        "qualification_cost": st.just(50.0),
        "switching_cost": st.just(20.0),
        "exit_cost": st.just(5.0),
    },
)
PRICE_PROCESS = st.sampled_from(
    [
        {"reversion": 0.2, "volatility": 0.1},
        {"tariffs": [{"from": 0, "factor": 0.8}, {"from": 4, "factor": 1.25}, {"from": 6, "factor": 1.5}]},
        {
            "reversion": 0.5,
            "volatility": 0.05,
            "shock_probability": 0.3,
            "shock": {"distribution": "gamma", "mean": 0.3, "sd": 0.1},
            "tariffs": [{"from": 3, "factor": 1.4}],
        },
        {"shock_probability": 1.0, "shock": 0.1},
    ]
)


@st.composite
def dealt_data(draw: st.DrawFn) -> dict[str, Any]:
    """Plain data of networks with contracts, expediting, breaks and moving prices; some have none of them after all."""
    data = draw(network_data())
    used = {lane["from"] for lane in data["lanes"]}
    for name, supplier in data["suppliers"].items():
        if name in used and not rarely(draw, 3):
            supplier["contract"] = draw(CONTRACT)
            if draw(st.booleans()):
                supplier["contract"] |= {
                    "capacity": draw(st.sampled_from([0.0, 3.0, 20.0])),
                    "ramp": draw(st.integers(0, 3)),
                }
            if draw(st.booleans()) and supplier["contract"].get("capacity", 9.0) > 0.0:
                supplier["contract"] |= {"minimum": 2.5, "shortfall_cost": 1.5}
        for offer in supplier["offers"].values():
            if rarely(draw, 3):
                offer["price"] = 4.0
                offer["breaks"] = [{"from": 3.0, "price": 3.0}, {"from": 8.0, "price": 0.0}]
            if rarely(draw, 3):
                offer["price"] = max(offer["price"], 0.5)
                offer["price_process"] = draw(PRICE_PROCESS)
    for lane in data["lanes"]:
        for mode in lane["modes"].values():
            if lane["from"] in data["suppliers"] and draw(st.booleans()):
                mode["expediting"] = {"periods": draw(st.integers(1, 3)), "cost_per_unit": draw(COST)}
    return data


@st.composite
def dealt_networks(draw: st.DrawFn) -> Network:
    """Such a network, parsed and checked; some keep records where nothing else asks for them."""
    return Network.parse(draw(dealt_data()) | {"records": draw(st.booleans())})


def random_moves(seed: int, periods: int, relations: int, replicas: int) -> NDArray[np.int64]:
    """Moves as an undecided planner makes them, allowed or not; shape (periods, relations, replicas)."""
    return np.random.default_rng(seed + 1).integers(0, 5, size=(periods, relations, replicas))
