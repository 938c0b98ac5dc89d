"""Checked tables as a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.calibration import significant
from twin.errors import DataError
from twin.ingest.cells import identifier
from twin.ingest.mapping import ImportMapping
from twin.ingest.streams import demand_law, demand_series, lead_time_laws, ordered_units
from twin.ingest.tables import Record, TableSet
from twin.network import Network
from twin.periods import DAYS

__all__ = ["build_network"]


def build_network(tables: TableSet, mapping: ImportMapping) -> Network:
    """Make a network of good rows.

    Raises
    ------
    DataError
        When a lane has neither enough orders nor a planned lead time, or a recipe's rows contradict each other.
    NetworkError
        When the rows, each good by itself, make an impossible network.
    """
    return _Assembly(tables, mapping).network()


class _Assembly:
    """Collects the parts of a network from the tables of an import."""

    def __init__(self, tables: TableSet, mapping: ImportMapping) -> None:
        self._tables, self._mapping = tables, mapping
        self._nodes, self._products = tables.by_name("nodes"), tables.by_name("products")
        orders = tables.records.get("orders", [])
        self._measured = lead_time_laws(orders, mapping.assumptions.least_orders)
        self._ordered = ordered_units(orders)
        self._holding_share = mapping.assumptions.holding_rate_per_year * DAYS[mapping.network.period] / DAYS["year"]
        self._lead_times: dict[str, Any] = {}
        self._demands: dict[str, Any] = {}
        self._stocks: dict[tuple[str, str], None] = {}
        self._offers: dict[str, dict[str, Any]] = {}

    def network(self) -> Network:
        """The network, checked."""
        mapping = self._mapping
        lanes, recipes, demands = self._lanes(), self._recipes(), self._streams()
        data = {
            **mapping.network.model_dump(mode="json"),
            "products": {identifier(name): self._product(values) for name, values in self._products.items()},
            "suppliers": self._suppliers(),
            "sites": self._sites(),
            "lanes": lanes,
            "recipes": recipes,
            "demands": demands,
            "provenance": self._provenance(),
        }
        return Network.parse(data, where="the network of these tables")

    def _product(self, values: Mapping[str, Any]) -> dict[str, Any]:
        out = {
            "unit": values.get("unit", "unit"),
            "integer": values.get("whole", False),
            "description": values.get("description", ""),
        }
        return out | ({"weight_kg_per_unit": significant(values["weight"], 6)} if "weight" in values else {})

    def _place(self, values: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {"region": values.get("region", "")}
        if "longitude" in values:
            out["position"] = [values["longitude"], values["latitude"]]
        return out

    def _suppliers(self) -> dict[str, Any]:
        """Suppliers that sell something; one without a lane is left out."""
        return {
            identifier(name): {"offers": self._offers[name], **self._place(values)}
            for name, values in self._nodes.items()
            if name in self._offers
        }

    def _sites(self) -> dict[str, Any]:
        sites: dict[str, Any] = {}
        for name, values in self._nodes.items():
            if values.get("kind") != "supplier":
                stock = {identifier(p): {"holding_cost": self._holding(p)} for site, p in self._stocks if site == name}
                sites[identifier(name)] = {
                    "kind": values.get("kind", "warehouse"),
                    **self._place(values),
                    "stock": stock,
                }
        return sites

    def _holding(self, product: str) -> float:
        return significant(self._holding_share * self._products[product].get("value", 0.0), 6)

    def _lanes(self) -> list[dict[str, Any]]:
        lanes: dict[tuple[str, str, str], dict[str, Any]] = {}
        inflow: dict[tuple[str, str], list[tuple[dict[str, Any], float]]] = {}
        for record in self._tables.records["lanes"]:
            values = record.values
            origin, to, product = values["from"], values["to"], values["product"]
            if self._nodes[origin].get("kind") == "supplier":
                offer = self._offers.setdefault(origin, {}).setdefault(identifier(product), {"price": None})
                if "price" in values:
                    offer["price"] = significant(values["price"], 6)
            else:
                self._stocks[origin, product] = None
            self._stocks[to, product] = None
            lane = lanes.setdefault(
                (origin, to, product),
                {"from": identifier(origin), "to": identifier(to), "product": identifier(product), "modes": {}},
            )
            mode = identifier(values.get("mode", "standard"))
            if mode in lane["modes"]:
                raise DataError(
                    f"{self._file('lanes')}, line {record.line}: a second lane from {origin} to {to} for {product} by "
                    f"'{mode}' (allowed: one a mode; give the lanes different modes)"
                )
            lane["modes"][mode] = self._mode(record)
            inflow.setdefault((to, product), []).append((lane["modes"][mode], self._ordered.get(values["name"], 0.0)))
        self._share_out(inflow)
        for offers in self._offers.values():
            for name, offer in offers.items():
                if offer["price"] is None:
                    offer["price"] = self._standard_cost(name)
        return list(lanes.values())

    def _share_out(self, inflow: Mapping[tuple[str, str], list[tuple[dict[str, Any], float]]]) -> None:
        """Parallel lanes carry what was ordered on them; where a recipe makes the product too, nothing is known."""
        made = {(r.values["site"], r.values["product"]) for r in self._tables.records.get("recipes", [])}
        for point, modes in inflow.items():
            total = sum(units for _, units in modes)
            if len(modes) > 1 and total > 0.0 and point not in made:
                for mode, units in modes:
                    mode["share"] = significant(units / total)

    def _standard_cost(self, product: str) -> float:
        values = next(values for name, values in self._products.items() if identifier(name) == product)
        return significant(values.get("value", 0.0), 6)

    def _mode(self, record: Record) -> dict[str, Any]:
        values, name = record.values, record.values["name"]
        out: dict[str, Any] = {"lead_time_unit": "day", "unfilled": "backordered"}
        if name in self._measured:
            out["lead_time"] = self._measured[name]["law"]
            self._lead_times[name] = {"from": "orders", **self._measured[name]["evidence"]}
        elif "lead_time" in values:
            out["lead_time"] = significant(values["lead_time"], 6)
            self._lead_times[name] = {"from": "plan", "mean_days": out["lead_time"]}
        else:
            raise DataError(
                f"{self._file('lanes')}, line {record.line}: lane '{name}' has fewer than "
                f"{self._mapping.assumptions.least_orders} good orders and no lead_time"
            )
        costs = ("freight_cost", "fixed_cost", "capacity", "minimum_order", "lot_size")
        return out | {key: significant(values[key], 6) for key in costs if key in values}

    def _recipes(self) -> dict[str, Any]:
        recipes: dict[str, Any] = {}
        for record in self._tables.records.get("recipes", []):
            values = record.values
            site, product = values["site"], values["product"]
            name = identifier(values.get("name") or f"{site}.{product}")
            terms = {
                "site": identifier(site),
                "product": identifier(product),
                "lead_time": significant(values["lead_time"], 6),
                "lead_time_unit": "day",
                "unfilled": "backordered",
                "unit_cost": significant(values.get("unit_cost", 0.0), 6),
            }
            recipe = recipes.setdefault(name, {**terms, "inputs": {}})
            for key, value in terms.items():
                if recipe[key] != value:
                    raise DataError(
                        f"{self._file('recipes')}, line {record.line}: {key} '{value}' of recipe '{name}' differs from "
                        f"'{recipe[key]}' on a line before it"
                    )
            recipe["inputs"][identifier(values["input"])] = values["quantity"]
            for part in (product, values["input"]):
                self._stocks[site, part] = None
        return recipes

    def _streams(self) -> dict[str, Any]:
        rules = self._mapping.demand
        streams: dict[str, Any] = {}
        series = demand_series(self._tables.records["demand"], self._mapping)
        for number, ((site, product), values) in enumerate(sorted(series.items()), start=1):
            name = f"{identifier(site)}.{identifier(product)}"
            name = name if len(name) <= 64 and name not in streams else f"stream_{number}"
            law, self._demands[name] = demand_law(values, rules.kind)
            self._stocks[site, product] = None
            ratio = rules.service_level / (1.0 - rules.service_level)
            streams[name] = {
                "site": identifier(site),
                "product": identifier(product),
                "distribution": law,
                "unmet": rules.unmet,
                "penalty": significant(self._holding(product) * ratio, 6),
                "price": significant(self._products[product].get("price", 0.0), 6),
            }
        return streams

    def _file(self, table: str) -> str:
        return next(audit.file for audit in self._tables.audits if audit.table == table)

    def _provenance(self) -> dict[str, Any]:
        given, rules = self._mapping.assumptions, self._mapping.demand
        names = (*self._nodes, *self._products)
        return {
            "sha256": self._tables.checksums,
            "rows": {a.table: {"read": a.rows, "used": a.accepted} for a in self._tables.audits},
            "rates": dict(self._mapping.rates),
            "time_zone": self._mapping.time_zone or "none named; dates count in UTC",
            "lead_times": self._lead_times,
            "demand": self._demands,
            "left_out": [
                name
                for name, values in self._nodes.items()
                if values.get("kind") == "supplier" and name not in self._offers
            ],
            "renamed": {identifier(name): name for name in names if identifier(name) != name},
            "assumptions": [
                f"holding cost a period: value x {given.holding_rate_per_year:g} a year",
                f"penalty p from the service level {rules.service_level:g} and the holding cost h: p / (p + h) = "
                "service level (the newsvendor ratio)",
                "what a source cannot ship is backordered; stock starts at 0; a supplier's price is the product's "
                "value where no lane gives one; parallel lanes share the flow as their orders did (equally where none "
                "is known)",
                "demand is what the table lists, so sales lost for want of stock are not in it; periods without a row "
                "are 0",
            ],
        }
