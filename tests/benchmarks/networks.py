"""Networks to measure speed on: shapes of a given size, no data."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.network import Network


def twenty_sites() -> Network:
    """20 sites, 30 arcs, lead times of 1 to 8 periods: a tree from four hubs, and express lanes into its leaves."""
    rng = np.random.default_rng(0)
    sites = {f"s{k}": {"stock": {"p": {"holding_cost": 1.0, "initial": 40.0}}} for k in range(20)}
    lanes: list[dict[str, Any]] = []
    for k in range(20):
        origin = "v" if k < 4 else f"s{(k - 4) // 2}"
        truck = {"lead_time": int(rng.integers(1, 9)), "freight_cost": 1.0, "transit_holding_cost": 0.1}
        lanes.append({"from": origin, "to": f"s{k}", "product": "p", "modes": {"truck": truck}})
    for k in range(10, 20):
        express = {"lead_time": 1, "freight_cost": 5.0}
        lanes.append({"from": "v", "to": f"s{k}", "product": "p", "modes": {"express": express}})
    demands = {f"d{k}": _demand(f"s{k}") for k in range(8, 20)}
    return _network("twenty_sites", sites, lanes, demands)


def tree(stages: int) -> Network:
    """A distribution tree: every stage feeds three, lead times of 1 to 8 periods, demand at the leaves."""
    rng = np.random.default_rng(1)
    sites = {f"s{k}": {"stock": {"p": {"holding_cost": 1.0, "initial": 40.0}}} for k in range(stages)}
    lanes = []
    for k in range(stages):
        truck = {"lead_time": int(rng.integers(1, 9)), "freight_cost": 1.0, "transit_holding_cost": 0.1}
        origin = f"s{(k - 1) // 3}" if k else "v"
        lanes.append({"from": origin, "to": f"s{k}", "product": "p", "modes": {"truck": truck}})
    demands = {f"d{k}": _demand(f"s{k}") for k in range(stages) if 3 * k + 1 >= stages}
    return _network("tree", sites, lanes, demands)


def _demand(site: str) -> dict[str, Any]:
    law = {"distribution": "poisson", "mean": 5.0}
    return {"site": site, "product": "p", "distribution": law, "penalty": 9.0, "price": 10.0}


def _network(name: str, sites: Any, lanes: Any, demands: Any) -> Network:
    suppliers = {"v": {"offers": {"p": {"price": 2.0}}}}
    data = {"products": {"p": {}}, "suppliers": suppliers, "sites": sites, "lanes": lanes, "demands": demands}
    return Network.parse({"name": name, **data})
