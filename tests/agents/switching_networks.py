"""Networks with suppliers to choose among, for the tests of classical policies of supplier switching."""

from __future__ import annotations

from typing import Any

from agents.oracles.unreliable_suppliers import UnreliableSuppliers, UpDown
from twin.compile import CompiledNetwork, compile_network
from twin.distributions import Poisson
from twin.network import Network


def mode(lead_time: int, **others: Any) -> dict[str, Any]:
    return {"lead_time": lead_time, **others}


def three_sources(
    line: dict[str, Any] | None = None,
    contracts: dict[str, dict[str, Any]] | None = None,
    **stock: Any,
) -> CompiledNetwork:
    """A shop that buys from a main supplier, 3 periods away, from a near one at once and from a far one, 5 away.

    ``line`` is how the main one's line fails (a window, if left out), ``contracts`` those of suppliers by name. Prices
    are 10, 16 and 13.
    """
    window = {"windows": [{"start": 6, "duration": 5}], "ramp": 2, "warning": {"ahead": 2}}
    contracts = contracts or {}
    suppliers: dict[str, Any] = {
        "main": {"offers": {"item": {"price": 10}}, "uses": {"line": 1}},
        "near": {"offers": {"item": {"price": 16}}},
        "far": {"offers": {"item": {"price": 13}}},
    }
    for name, contract in contracts.items():
        suppliers[name]["contract"] = contract
    return compile_network(
        Network.parse(
            {
                "name": "three_sources",
                "products": {"item": {}},
                "suppliers": suppliers,
                "resources": {"line": {"capacity": 40, "availability": window if line is None else line}},
                "sites": {"shop": {"stock": {"item": {"holding_cost": 0.1, "initial": 60, **stock}}}},
                "lanes": [
                    {"from": "main", "to": "shop", "product": "item", "modes": {"sea": mode(3)}},
                    {"from": "near", "to": "shop", "product": "item", "modes": {"van": mode(0)}},
                    {"from": "far", "to": "shop", "product": "item", "modes": {"rail": mode(5)}},
                ],
                "demands": {
                    "market": {
                        "site": "shop",
                        "product": "item",
                        "distribution": {"distribution": "gamma", "mean": 20, "sd": 6},
                        "unmet": "backlog",
                        "penalty": 4,
                    }
                },
            }
        )
    )


#: Two of the three suppliers need a contract: one is ready, the other must be qualified first.
CONTRACTS = {
    "near": {
        "state": "qualified",
        "switching_cost": 30,
        "exit_cost": 10,
        "capacity": 25,
        "ramp": 2,
        "minimum": 2,
        "shortfall_cost": 1,
    },
    "far": {"state": "outside", "qualification_cost": 200, "qualification_periods": 3, "capacity": 30},
}


def two_stages() -> CompiledNetwork:
    """A shop fed by a depot or by a courier, the depot by a mill or by a broker; mill and courier fail together."""
    return compile_network(
        Network.parse(
            {
                "name": "two_stages",
                "products": {"item": {}},
                "resources": {
                    "mill": {
                        "capacity": 60,
                        "causes": ["flood"],
                        "availability": {"failure": 0.1, "duration": {"distribution": "poisson", "mean": 4}, "ramp": 3},
                    },
                    "fleet": {"capacity": 25, "causes": ["flood"]},
                    "quay": {"capacity": 80, "availability": {"failure": 0.1, "recovery": 0.4, "share_when_down": 0.3}},
                },
                "causes": {
                    "flood": {
                        "availability": {
                            "failure": 0.05,
                            "recovery": 0.3,
                            "warning": {"ahead": 2, "recall": 0.8, "false_alarm": 0.1},
                        }
                    }
                },
                "suppliers": {
                    "mill": {"offers": {"item": {"price": 5}}, "uses": {"mill": 1, "quay": 1}},
                    "broker": {
                        "offers": {
                            "item": {"price": 7, "price_process": {"reversion": 0.2, "volatility": 0.2}},
                        },
                        "contract": {"state": "outside", "qualification_periods": 2, "qualification_cost": 50},
                    },
                    "courier": {
                        "offers": {"item": {"price": 4.5}},
                        "uses": {"fleet": 2},
                        "contract": {"capacity": 20, "switching_cost": 5},
                    },
                },
                "sites": {
                    "depot": {"stock": {"item": {"holding_cost": 0.1, "initial": 80}}},
                    "shop": {"stock": {"item": {"holding_cost": 0.3, "initial": 30}}},
                },
                "lanes": [
                    {
                        "from": "depot",
                        "to": "shop",
                        "product": "item",
                        "modes": {"van": mode(1, capacity=35, freight_cost=0.2)},
                    },
                    {"from": "courier", "to": "shop", "product": "item", "modes": {"bike": mode(0)}},
                    {
                        "from": "mill",
                        "to": "depot",
                        "product": "item",
                        "modes": {
                            "rail": mode(2, unfilled="backordered", share=1),
                            "road": mode(1, freight_cost=1, capacity=9, share=0),
                        },
                    },
                    {"from": "broker", "to": "depot", "product": "item", "modes": {"post": mode(3, share=0)}},
                ],
                "demands": {
                    "market": {
                        "site": "shop",
                        "product": "item",
                        "distribution": {"distribution": "gamma", "mean": 20, "sd": 6},
                        "unmet": "backlog",
                        "penalty": 4,
                    }
                },
            }
        )
    )


def two_suppliers(
    lead_time: int = 1, express_failure: float = 0.0, *, penalty: float = 19.0, price: float = 6.0
) -> tuple[CompiledNetwork, UnreliableSuppliers]:
    """A problem of :mod:`agents.oracles.unreliable_suppliers` as a network, and as itself."""
    regular, demand = UpDown(0.1, 0.4), Poisson(mean=3.0)
    express = UpDown(express_failure, 0.5)
    lines: dict[str, Any] = {
        "line": {"availability": {"failure": 0.1, "recovery": 0.4}},
    }
    if express_failure > 0.0:
        lines["fleet"] = {"availability": {"failure": express_failure, "recovery": 0.5}}
    network = Network.parse(
        {
            "name": "two_suppliers",
            "products": {"item": {"integer": True}},
            "resources": lines,
            "suppliers": {
                "regular": {"offers": {"item": {"price": 10}}, "uses": {"line": 1}},
                "express": {"offers": {"item": {"price": 10 + price}}, "uses": {"fleet": 1} if len(lines) > 1 else {}},
            },
            "sites": {"shop": {"stock": {"item": {"holding_cost": 1}}}},
            "lanes": [
                {"from": "regular", "to": "shop", "product": "item", "modes": {"sea": mode(lead_time)}},
                {"from": "express", "to": "shop", "product": "item", "modes": {"air": mode(0)}},
            ],
            "demands": {
                "market": {
                    "site": "shop",
                    "product": "item",
                    "distribution": {"distribution": "poisson", "mean": 3.0},
                    "unmet": "backlog",
                    "penalty": penalty,
                }
            },
        }
    )
    problem = UnreliableSuppliers(demand, lead_time, 1.0, penalty, regular, 10.0, 10.0 + price, express)
    return compile_network(network), problem
