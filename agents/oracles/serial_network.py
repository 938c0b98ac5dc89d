"""A network as a serial system over a finite horizon: its stages, costs and laws of demand, or why it is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.oracles.serial_problem import HorizonStage, SerialProblem
from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.topology import RECEIVE_DEMAND_ORDER

__all__ = ["serial_arcs", "serial_problem"]

IntArray = NDArray[np.int64]


def serial_arcs(compiled: CompiledNetwork) -> IntArray:
    """The arc into each stage of the serial system that a network is, the stage that serves the customers first.

    One chain from a supplier to the customers of its last stage, who wait; fixed lead times; any quantity or any whole
    number may be ordered, at costs per unit. Demand is independent, with seasons or without. A capacity, or a largest
    order, is allowed: whether it matters is for the solution to say.

    Raises
    ------
    ConfigError
        When the network is anything else, with the first reason.
    """
    reason = _other_than_serial(compiled)
    if reason is not None:
        raise ConfigError(f"{compiled.network.name} is no serial system that can be solved, because {reason}")
    top = compiled.topology
    return np.asarray(np.argsort(top.arc_destination)[top.sequence])


def serial_problem(compiled: CompiledNetwork, periods: int, *, with_terminal_value: bool = False) -> SerialProblem:
    """The first ``periods`` periods of a serial network, from its start.

    Parameters
    ----------
    compiled
        A network of :func:`serial_arcs`.
    periods
        Length of the horizon.
    with_terminal_value
        Whether the stock at the end counts, at its terminal value.

    Raises
    ------
    ConfigError
        When the network is another (see :func:`serial_arcs`), or the problem is none of
        :class:`agents.oracles.serial_problem.SerialProblem`.

    Examples
    --------
    >>> from agents.oracles.serial_horizon import serial_horizon
    >>> from twin.compile import compile_network
    >>> from twin.library import load
    >>> best = serial_horizon(serial_problem(compile_network(load("three_stage_serial")), 30))
    >>> best.levels[0].tolist(), round(-best.cost, 2), best.exact
    ([114.0, 217.0, 232.0], 1013.11, True)
    """
    arcs, top = serial_arcs(compiled), compiled.topology
    unit = top.arc_unit_cost + top.arc_freight + top.arc_emission_cost
    user = np.repeat(np.arange(compiled.n_arcs), np.diff(top.use_ptr))
    np.add.at(unit, user, top.resource_cost[top.use_resource] * top.use_coefficient)
    stages = [
        HorizonStage(
            lead_time=int(top.arc_fixed_lead[a]),
            holding_cost=float(top.stock_holding[i]),
            transit_holding_cost=float(top.arc_transit_holding[a]),
            unit_cost=float(unit[a]),
            terminal_value=float(top.stock_terminal[i]) if with_terminal_value else 0.0,
            on_hand=float(compiled.initial_on_hand[i]),
            arriving=(float(compiled.initial_flow[a]),) * int(top.arc_fixed_lead[a]),
            limit=float(min(top.arc_capacity[a], top.arc_maximum[a])),
        )
        for a, i in zip(arcs, top.arc_destination[arcs], strict=True)
    ]
    seasons = compiled.season(0, np.arange(periods))
    return SerialProblem(
        stages,
        [compiled.demand_distributions[0][season] for season in seasons.tolist()],
        penalty=float(top.demand_penalty[0]),
        price=float(top.demand_price[0]),
        phases=compiled.network.phases,
    )


def _other_than_serial(compiled: CompiledNetwork) -> str | None:
    """Why a network is no serial system; None where it is one."""
    top = compiled.topology
    if compiled.n_demands != 1:
        return f"it has {compiled.n_demands} demand streams, not one"
    if sorted(top.arc_destination.tolist()) != list(range(compiled.n_stocks)):
        names, number = compiled.stock_names, np.bincount(top.arc_destination, minlength=compiled.n_stocks)
        several = int(np.argmax(number != 1))
        return f"{names[several]} has {int(number[several])} sources, not one"
    chain, into = top.sequence.tolist(), np.argsort(top.arc_destination)
    given = [top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]].tolist() for a in into[chain]]
    stream = next(iter(compiled.network.demands.values()))
    laws = compiled.demand_distributions[0]
    whole = bool(top.arc_lot.any())
    starts = np.concatenate([compiled.initial_on_hand, compiled.initial_flow])
    used, times = np.unique(top.use_resource, return_counts=True)
    shared = used[(times > 1) & np.isfinite(top.resource_capacity[used])]
    checks = (
        (
            given != [[i] for i in chain[1:]] + [[]] or bool((top.in_coefficient != 1.0).any()),
            "its stock points do not feed each other one by one, a unit for a unit",
        ),
        (int(top.demand_stock[0]) != chain[0], "customers are not served by the last stage"),
        (stream.unmet != "backlog", "unmet demand is lost"),
        (bool((top.arc_fixed_lead < 0).any()), "a lead time is random"),
        (bool(top.mail_ptr[-1] > 0), "orders take time to reach the source (order_delay)"),
        (bool(top.arc_fixed.any()), "orders have a fixed cost"),
        (bool(top.arc_minimum.any()), "orders have a minimum"),
        (bool((top.arc_lot > 1.0).any()) or (whole and bool((top.arc_lot != 1.0).any())), "orders come in lots"),
        (whole and not all(law.whole for law in laws), "orders are in whole units, and demand is not"),
        (whole and bool((starts % 1.0).any()), "orders are in whole units, and what it starts with is not"),
        (bool((top.stock_life > 0).any()), "its product perishes"),
        (compiled.has_deals, "its suppliers have contracts, expediting, breaks or moving prices"),
        (
            bool((compiled.resource_share_when_down < 1.0).any()) or compiled.disruptions is not None,
            "a resource may fail",
        ),
        (len(top.calendar_share) > 0 or bool(top.resource_overhead.any()), "a resource has a calendar or an overhead"),
        (len(shared) > 0, f"stages share the resource {', '.join(compiled.resource_names[r] for r in shared)}"),
        (stream.moves, "demand has a trend or shocks (write the mean of every period as a seasonality)"),
        (stream.random_shock is not None, "demand has random shocks"),
        (stream.autocorrelation != 0.0, "successive demands are correlated"),
        (any(law.distribution == "recorded" for law in laws), "demand is a recorded series"),
        (stream.goodwill is not None, "demand depends on the service (goodwill)"),
        (
            top.phase_order == RECEIVE_DEMAND_ORDER and int(top.arc_fixed_lead[into[chain[0]]]) == 0,
            "the last stage has no lead time and orders after demand, so that it has stock and backlog at once",
        ),
    )
    return next((reason for wrong, reason in checks if wrong), None)
