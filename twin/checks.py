"""Structural checks of a network: what the types cannot see."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from twin.contracts import contract_problems
from twin.demand import correlation_matrix
from twin.disruption_checks import disruption_problems, disruption_references, disruption_times, goes_down
from twin.distributions import Empirical, Recorded
from twin.errors import did_you_mean
from twin.orders import whole_lots
from twin.periods import period_table
from twin.prices import price_problems

if TYPE_CHECKING:
    from twin.network import ArcTerms, Network

__all__ = ["structural_problems"]


#: Longest lead time, shelf life or shock, in periods; under "first in, first out" stock takes shelf life ** 2 / 2 rows.
LONGEST, LONGEST_FIRST_IN = 5000, 200

#: Distributions that nothing is drawn from.
_PLAYED = ("fixed", "recorded")


def structural_problems(network: Network) -> list[str]:
    """Everything that makes a well-typed network impossible, one sentence each, with its key path.

    References first: the checks of the flow only make sense once every name exists.
    """
    problems = [*_references(network), *disruption_references(network), *_units(network), *_duplicates(network)]
    if problems:
        return problems
    problems = [*_too_long(network)]
    if problems:
        return problems
    problems = [*_orders(network), *_limits(network), *_perishables(network), *_demands(network)]
    problems += disruption_problems(network)
    problems += [*contract_problems(network), *price_problems(network)]
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
            if lowest <= 0.0 and demand.distribution.distribution not in _PLAYED:
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


def _arcs(network: Network) -> Iterator[tuple[str, ArcTerms, str, Mapping[str, float]]]:
    """Key path, terms, product and resources of every arc."""
    for index, lane in enumerate(network.lanes):
        supplier = network.suppliers.get(lane.origin)
        for name, mode in lane.modes.items():
            uses = {**(supplier.uses if supplier else {}), **mode.uses}
            yield f"lanes[{index}].modes.{name}", mode, lane.product, uses
    for name, recipe in network.recipes.items():
        yield f"recipes.{name}", recipe, recipe.product, recipe.uses


def _too_long(network: Network) -> Iterator[str]:
    """Times that would take more memory than anybody means: every period of them is a number of the state."""
    times = [(f"{path}.lead_time", arc.lead_time, arc.lead_time_unit) for path, arc, _, _ in _arcs(network)]
    for name, supplier in network.suppliers.items():
        if supplier.delay is not None:
            times.append((f"suppliers.{name}.delay.time", supplier.delay.time, supplier.delay.unit))
    for name, demand in network.demands.items():
        if demand.random_shock is not None:
            times.append(
                (
                    f"demands.{name}.random_shock.duration",
                    demand.random_shock.duration,
                    demand.random_shock.duration_unit,
                )
            )
    times += disruption_times(network)
    for path, law, unit in times:
        values = law.values if isinstance(law, (Recorded, Empirical)) else [law.mean_value + 4.0 * law.variance**0.5]
        longest = max(values) / network.periods(unit)
        if not longest <= LONGEST:
            yield f"{path}: about {longest:.4g} {network.period}s (allowed: at most {LONGEST}; is the unit right?)"
    for name, product in network.products.items():
        most = LONGEST_FIRST_IN if product.issue == "first_in" else LONGEST
        if product.shelf_life is not None and product.shelf_life > most:
            yield f"products.{name}.shelf_life: {product.shelf_life} {network.period}s (allowed: at most {most})"


def _orders(network: Network) -> Iterator[str]:
    """Rules for orders that leave nothing to order, or that can never apply."""
    for path, arc, product, uses in _arcs(network):
        if network.products[product].integer and arc.lot_size is not None and arc.lot_size % 1:
            yield f"{path}.lot_size: product '{product}' comes in whole units, received {arc.lot_size:g}"
        lot = arc.lot_size or (1.0 if network.products[product].integer else 0.0)
        if arc.maximum_order is not None:
            smallest = float(whole_lots(np.array([arc.minimum_order or lot]), np.array([lot]), np.ceil)[0])
            if arc.maximum_order < smallest * (1.0 - 1e-12):
                yield (
                    f"{path}.maximum_order: {arc.maximum_order:g} allows no order (allowed: at least "
                    f"{smallest:g}, the smallest order in whole lots)"
                )
        downs = [name for name in uses if goes_down(network, name)]
        if arc.when_down is not None and not downs:
            yield (
                f"{path}.when_down: no resource that it uses is ever down "
                "(allowed: only with an availability whose share_when_down is 0)"
            )
        owes = arc.unfilled == "backordered" or (arc.when_down == "waits" and downs)
        if arc.backorder_cost > 0.0 and not owes:
            yield (
                f"{path}.backorder_cost: nothing is ever owed here, received {arc.backorder_cost:g} "
                "(allowed: only with unfilled: backordered or when_down: waits)"
            )


def _limits(network: Network) -> Iterator[str]:
    """Resources that limit nothing, gates that never open, series that cannot be combined."""
    for name, resource in network.resources.items():
        place = f"resources.{name}"
        fails = resource.availability is not None or resource.causes
        free = resource.cost_per_unit == 0.0 and resource.overhead == 0.0
        if resource.capacity is None and not fails and free:
            yield f"{place}: has no capacity, no availability and no cost, so it limits nothing"
        if resource.calendar and resource.capacity is None:
            yield f"{place}.calendar: there is no capacity that it could give shares of (allowed: with a capacity)"
        if resource.overhead_when_down is not None and not goes_down(network, name):
            yield (
                f"{place}.overhead_when_down: it is never down, received {resource.overhead_when_down:g} "
                "(allowed: only with an availability whose share_when_down is 0)"
            )
    for name, site in network.sites.items():
        if site.working_hours is not None and site.working_hours.open[-1][1] > site.working_hours.cycle:
            last, cycle = site.working_hours.open[-1][1], site.working_hours.cycle
            yield f"sites.{name}.working_hours.open: {last:g} lies beyond the cycle (allowed: at most {cycle:g})"
        if site.docks is not None and site.docks.handling_time.distribution == "recorded":
            yield f"sites.{name}.docks.handling_time: a recorded series has no period here (allowed: any other law)"
    for name, supplier in network.suppliers.items():
        if supplier.delay is not None and supplier.delay.time.distribution == "recorded":
            yield f"suppliers.{name}.delay.time: a recorded series cannot be drawn from (allowed: any other law)"
    for index, lane in enumerate(network.lanes):
        late = lane.origin in network.suppliers and network.suppliers[lane.origin].delay is not None
        for mode_name, mode in lane.modes.items():
            if mode.lead_time.distribution == "recorded" and late:
                place = f"lanes[{index}].modes.{mode_name}.lead_time"
                yield f"{place}: recorded lead times already hold the lateness (supplier '{lane.origin}' has a delay)"


def _perishables(network: Network) -> Iterator[str]:
    for name, product in network.products.items():
        if product.shelf_life is None and product.issue != "first_expired":
            yield f"products.{name}.issue: needs a shelf_life, received {product.issue!r}"
    for site_name, site in network.sites.items():
        for name, stock in site.stock.items():
            if stock.waste_cost > 0.0 and network.products[name].shelf_life is None:
                place = f"sites.{site_name}.stock.{name}.waste_cost"
                yield f"{place}: '{name}' never perishes, received {stock.waste_cost:g} (allowed: with a shelf_life)"


def _demands(network: Network) -> Iterator[str]:
    """Series, autocorrelation and correlations that do not fit the streams they are given for."""
    for name, demand in network.demands.items():
        law = demand.distribution
        if demand.autocorrelation != 0.0 and law.distribution in _PLAYED:
            yield f"demands.{name}.autocorrelation: '{law.distribution}' demand is not random (allowed: 0)"
        if isinstance(law, Recorded) and demand.forecast is not None:
            ours, theirs = len(law.values), len(demand.forecast.values)
            if ours != theirs:
                yield f"demands.{name}.forecast.values: {theirs} values for a series of {ours} (allowed: {ours})"
    seen: dict[tuple[str, str], int] = {}
    names: list[str] = []
    for index, entry in enumerate(network.correlations):
        place = f"correlations[{index}].streams"
        for name in entry.streams:
            if name not in network.demands:
                yield _unknown(place, name, "demand stream", network.demands)
            elif network.demands[name].distribution.distribution in _PLAYED:
                law_name = network.demands[name].distribution.distribution
                yield f"{place}: '{name}' has '{law_name}' demand, which is not random"
            elif name not in names:
                names.append(name)
        for first, second in combinations(sorted(entry.streams), 2):
            if (first, second) in seen:
                yield f"{place}: '{first}' and '{second}' are also in correlations[{seen[first, second]}]"
            seen[first, second] = index
    if not names:
        return
    matrix = correlation_matrix(network.correlations, {name: network.demands[name] for name in names})
    for i, j in zip(*np.nonzero(np.triu(np.abs(matrix) >= 1.0, 1)), strict=True):
        reached = network.correlations[seen[min(names[i], names[j]), max(names[i], names[j])]].value / matrix[i, j]
        yield (
            f"correlations: '{names[i]}' and '{names[j]}' remember so differently (autocorrelation) that they cannot "
            f"correlate that much (allowed: below {abs(reached):.3g})"
        )
        return
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < 1e-9:
        yield (
            "correlations: the matrix of all of them is not positive definite, so no such streams exist "
            f"(smallest eigenvalue {smallest:.3g}; allowed: values nearer to 0)"
        )


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
    feeds: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for lane in network.lanes:
        for mode in lane.modes.values():
            if lane.origin in network.sites and _may_be_zero(network, mode):
                feeds.setdefault((lane.destination, lane.product), set()).add((lane.origin, lane.product))
    for recipe in network.recipes.values():
        if _may_be_zero(network, recipe):
            made = feeds.setdefault((recipe.site, recipe.product), set())
            made.update((recipe.site, product) for product in recipe.inputs)
    try:
        TopologicalSorter(feeds).prepare()
    except CycleError as error:
        places = " -> ".join(f"{site}/{product}" for site, product in error.args[1])
        yield f"lanes: {places} forms a cycle of zero lead time (allowed: at least one arc of 1 period or more)"


def _may_be_zero(network: Network, arc: ArcTerms) -> bool:
    return bool(period_table(arc.lead_time, network.periods(arc.lead_time_unit))[0] > 0.0)
