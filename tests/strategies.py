"""Random valid networks and random orders for property tests."""

from __future__ import annotations

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
        ]
    ),
)
WHOLE_DEMAND = st.sampled_from(
    [
        3,
        {"distribution": "poisson", "mean": 4.0},
        {"distribution": "geometric", "mean": 2.0},
        {"distribution": "negative_binomial", "mean": 4.0, "sd": 3.0},
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
        ]
    ),
)


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """Zero to two resources, some of them unreliable, some closed."""
    out: dict[str, Any] = {}
    for index in range(draw(st.integers(0, 2))):
        out[f"r{index}"] = {
            "capacity": draw(st.sampled_from([0.0, 4.0, 9.5, 30.0])),
            "cost_per_unit": draw(COST),
            "rationing": draw(st.sampled_from(["proportional", "priority"])),
        }
        if draw(st.booleans()):
            share = draw(st.sampled_from([0.0, 0.4]))
            out[f"r{index}"]["availability"] = {"failure": 0.4, "recovery": 0.5, "share_when_down": share}
    return out


@st.composite
def network_data(draw: st.DrawFn) -> dict[str, Any]:
    """Plain data of a valid network; arcs that may take zero time only lead forward, so that none forms a cycle."""
    products = {f"p{k}": {"integer": draw(st.booleans())} for k in range(draw(st.integers(1, 3)))}
    limited = draw(resources())
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
    used_modes = 0

    def arc_entry(lead_time: st.SearchStrategy[Any]) -> dict[str, Any]:
        return {
            "lead_time": draw(lead_time),
            "transit_holding_cost": draw(COST),
            "fixed_cost": draw(COST),
            "emissions_kg_per_unit": draw(COST),
            "capacity": draw(st.sampled_from([None, None, None, 0.0, 3.5, 8.0])),
            "unfilled": draw(st.sampled_from(["cancelled", "backordered"])),
            "uses": draw(uses),
            "initial_flow": draw(st.sampled_from([0.0, 0.0, 2.0])),
        }

    def lane(origin: str, destination: str, product: str, lead_time: st.SearchStrategy[Any]) -> dict[str, Any]:
        nonlocal used_modes
        modes = {}
        for _ in range(draw(st.integers(1, 2))):
            modes[f"m{used_modes}"] = arc_entry(lead_time) | {"freight_cost": draw(COST)}
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
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2)):
            if kind == "supplier":
                lanes.append(lane(draw(st.sampled_from(sorted(suppliers))), site, product, ANY_LEAD_TIME))
            elif kind == "site":
                lanes.append(lane(draw(st.sampled_from(upstream)), site, product, ANY_LEAD_TIME))
            elif len(recipes) < 2:
                chosen = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=2, unique=True))
                inputs = {name: draw(st.sampled_from([1.0, 2.0, 0.5])) for name in chosen}
                made = {"site": site, "product": product, "inputs": inputs, "unit_cost": draw(COST)}
                recipes[f"make{len(recipes)}"] = made | arc_entry(ANY_LEAD_TIME)
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
        fixed = isinstance(demands[f"d{index}"]["distribution"], int)
        if draw(st.integers(0, 3)) == 0 and not (fixed and products[product]["integer"]):
            demands[f"d{index}"]["seasonality"] = {
                "factors": [0.5, 2.0, 1.0],
                "periods_per_factor": draw(st.integers(1, 2)),
            }
    return {
        "name": "random",
        "phases": list(draw(st.sampled_from(PHASE_ORDERS))),
        "emission_price_per_kg": draw(COST),
        "products": products,
        "resources": limited,
        "suppliers": suppliers,
        "sites": sites,
        "lanes": lanes,
        "recipes": recipes,
        "demands": demands,
    }


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
