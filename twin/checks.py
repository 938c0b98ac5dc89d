"""Structural checks of a network: what the types cannot see."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import networkx as nx

from twin.errors import did_you_mean
from twin.periods import period_table

if TYPE_CHECKING:
    from twin.network import Mode, Network, Recipe

__all__ = ["structural_problems"]


def structural_problems(network: Network) -> list[str]:
    """Everything that makes a well-typed network impossible, one sentence each, with its key path.

    References first: the checks of the flow only make sense once every name exists.
    """
    problems = list(_references(network)) + list(_units(network)) + list(_duplicates(network))
    if problems:
        return problems
    return list(_unreachable(network)) + list(_zero_lead_cycles(network))


def _unknown(path: str, value: str, kind: str, allowed: Collection[str]) -> str:
    listed = ", ".join(sorted(allowed)[:12]) or "none is defined"
    return f"{path}: no {kind} called '{value}' (allowed: {listed}){did_you_mean(value, allowed)}"


def _references(network: Network) -> Iterator[str]:
    products, sites = network.products, network.sites
    origins = {**network.suppliers, **sites}
    for name in set(network.suppliers) & set(sites):
        yield f"suppliers.{name}: '{name}' is also a site; names of suppliers and sites must differ"
    for name, site in sites.items():
        for product in site.stock:
            if product not in products:
                yield _unknown(f"sites.{name}.stock", product, "product", products)
    for name, supplier in network.suppliers.items():
        for product in supplier.offers:
            if product not in products:
                yield _unknown(f"suppliers.{name}.offers", product, "product", products)
        yield from _resource_references(f"suppliers.{name}.uses", supplier.uses, network)
    for index, lane in enumerate(network.lanes):
        path = f"lanes[{index}]"
        if lane.origin not in origins:
            yield _unknown(f"{path}.from", lane.origin, "supplier or site", origins)
        elif lane.product in products:
            held = (
                network.suppliers[lane.origin].offers if lane.origin in network.suppliers else sites[lane.origin].stock
            )
            if lane.product not in held:
                yield _unknown(f"{path}.product", lane.product, f"product at '{lane.origin}'", held)
        if lane.destination not in sites:
            yield _unknown(f"{path}.to", lane.destination, "site", sites)
        elif lane.product in products and lane.product not in sites[lane.destination].stock:
            yield _unknown(
                f"{path}.product", lane.product, f"stock at '{lane.destination}'", sites[lane.destination].stock
            )
        if lane.product not in products:
            yield _unknown(f"{path}.product", lane.product, "product", products)
        if lane.origin == lane.destination:
            yield f"{path}: a lane must join two places; both ends are '{lane.origin}'"
        for mode_name, mode in lane.modes.items():
            yield from _resource_references(f"{path}.modes.{mode_name}.uses", mode.uses, network)
    for name, recipe in network.recipes.items():
        path = f"recipes.{name}"
        if recipe.site not in sites:
            yield _unknown(f"{path}.site", recipe.site, "site", sites)
            continue
        stock = sites[recipe.site].stock
        for product in (recipe.product, *recipe.inputs):
            if product not in stock:
                yield _unknown(path, product, f"stock at '{recipe.site}'", stock)
        if recipe.product in recipe.inputs:
            yield f"{path}.inputs: '{recipe.product}' cannot be an input of itself"
        yield from _resource_references(f"{path}.uses", recipe.uses, network)
    for name, demand in network.demands.items():
        if demand.site not in sites:
            yield _unknown(f"demands.{name}.site", demand.site, "site", sites)
        elif demand.product not in sites[demand.site].stock:
            yield _unknown(
                f"demands.{name}.product", demand.product, f"stock at '{demand.site}'", sites[demand.site].stock
            )


def _resource_references(path: str, uses: Mapping[str, float], network: Network) -> Iterator[str]:
    for resource in uses:
        if resource not in network.resources:
            yield _unknown(path, resource, "resource", network.resources)


def _units(network: Network) -> Iterator[str]:
    for name, demand in network.demands.items():
        product = network.products.get(demand.product)
        if product is not None and demand.unit is not None and demand.unit != product.unit:
            yield (
                f"demands.{name}.unit: '{demand.unit}' differs from the unit of product "
                f"'{demand.product}' (allowed: {product.unit})"
            )
        if demand.seasonality is not None:
            lowest = min(demand.seasonality.factors)
            if lowest <= 0.0 and demand.distribution.distribution != "fixed":
                yield f"demands.{name}.seasonality.factors: a random demand needs factors above 0, received {lowest:g}"
    yield from _whole_units(network)


def _whole_units(network: Network) -> Iterator[str]:
    """Products that come in whole units must be given, demanded and under way in whole units."""
    whole = {name for name, product in network.products.items() if product.integer}
    for name, demand in network.demands.items():
        if demand.product not in whole:
            continue
        factors = demand.seasonality.factors if demand.seasonality else (1.0,)
        if any(factor > 0.0 and not demand.distribution.scaled(factor).whole for factor in factors):
            season = " with its seasonality" if demand.seasonality else ""
            yield (
                f"demands.{name}.distribution: product '{demand.product}' comes in whole units but "
                f"'{demand.distribution.distribution}'{season} gives fractions (allowed: a whole-number distribution)"
            )
    for site_name, site in network.sites.items():
        for product, stock in site.stock.items():
            if product in whole and stock.initial % 1:
                yield f"sites.{site_name}.stock.{product}.initial: must be whole units, received {stock.initial:g}"
    for index, lane in enumerate(network.lanes):
        for mode_name, mode in lane.modes.items():
            if lane.product in whole and mode.initial_flow % 1:
                place = f"lanes[{index}].modes.{mode_name}.initial_flow"
                yield f"{place}: must be whole units, received {mode.initial_flow:g}"
    for name, recipe in network.recipes.items():
        if recipe.product in whole and recipe.initial_flow % 1:
            yield f"recipes.{name}.initial_flow: must be whole units, received {recipe.initial_flow:g}"


def _duplicates(network: Network) -> Iterator[str]:
    seen: dict[tuple[str, str, str, str], int] = {}
    for index, lane in enumerate(network.lanes):
        for mode_name in lane.modes:
            key = (lane.origin, lane.destination, lane.product, mode_name)
            if key in seen:
                yield f"lanes[{index}].modes.{mode_name}: the same lane, product and mode as lanes[{seen[key]}]"
            seen[key] = index


def _unreachable(network: Network) -> Iterator[str]:
    """Stock points that no chain of arcs can ever fill from outside (initial stock does not last)."""
    reached: set[tuple[str, str]] = set()
    before = -1
    while len(reached) != before:
        before = len(reached)
        for lane in network.lanes:
            if lane.origin in network.suppliers or (lane.origin, lane.product) in reached:
                reached.add((lane.destination, lane.product))
        for recipe in network.recipes.values():
            if all((recipe.site, product) in reached for product in recipe.inputs):
                reached.add((recipe.site, recipe.product))
    for site, product in network.stock_points():
        if (site, product) not in reached:
            yield f"sites.{site}.stock.{product}: no lane or recipe can ever bring this product here from a supplier"


def _zero_lead_cycles(network: Network) -> Iterator[str]:
    """A ring of arcs that may all take zero time would let stock move for ever inside one period."""
    graph = nx.DiGraph()
    for lane in network.lanes:
        for mode in lane.modes.values():
            if lane.origin in network.sites and _may_be_zero(network, mode):
                graph.add_edge((lane.origin, lane.product), (lane.destination, lane.product))
    for recipe in network.recipes.values():
        if _may_be_zero(network, recipe):
            for product in recipe.inputs:
                graph.add_edge((recipe.site, product), (recipe.site, recipe.product))
    try:
        cycle = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        return
    places = " -> ".join(f"{site}/{product}" for (site, product), _ in cycle)
    yield f"lanes: {places} and back forms a cycle of zero lead time (allowed: at least one arc of 1 period or more)"


def _may_be_zero(network: Network, arc: Mode | Recipe) -> bool:
    return bool(period_table(arc.lead_time, network.periods(arc.lead_time_unit))[0] > 0.0)
