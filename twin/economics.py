"""Named cost terms and performance measures, with their formulas and units.

Every period is charged on the state at its end. The reward of an environment is minus the sum of these terms, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin.topology import RECEIVE_DEMAND_ORDER

if TYPE_CHECKING:
    from twin.state import TwinState

__all__ = ["COST_TERMS", "N_TERMS", "CostTerm", "fill_rate", "serves_at_once", "terminal_value"]

#: A share below which something is a rounding error.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class CostTerm:
    """One term of a period's cost, in the network's currency."""

    name: str
    formula: str


#: In the order of the kernel's cost array. Revenue is a negative cost.
COST_TERMS: tuple[CostTerm, ...] = (
    CostTerm("holding", "holding_cost x units on hand, over stock points"),
    CostTerm("transit_holding", "transit_holding_cost x units in the pipeline, over arcs"),
    CostTerm(
        "backlog",
        "penalty x units owed to customers, over streams that backlog, + backorder_cost x units owed, over arcs",
    ),
    CostTerm("lost_sales", "penalty x units lost in the period, over streams that lose sales"),
    CostTerm(
        "purchase",
        "supplier price, at the break that is reached and times the factor in force, (or recipe unit_cost) "
        "x units shipped, over arcs",
    ),
    CostTerm("freight", "freight_cost x units shipped, over arcs"),
    CostTerm("fixed_order", "fixed_cost x 1[units shipped > 0], over arcs"),
    CostTerm(
        "resource",
        "resource cost_per_unit x amount used, + overhead (overhead_when_down where its availability is 0), over "
        "resources",
    ),
    CostTerm("emissions", "emission_price_per_kg x emissions_kg_per_unit x units shipped, over arcs"),
    CostTerm("revenue", "- price x units delivered, over demand streams"),
    CostTerm("waste", "waste_cost x units that perished, over perishable stock points"),
    CostTerm(
        "contract",
        "qualification_cost, switching_cost and exit_cost of the moves made, + shortfall_cost x units ordered below "
        "the minimum, over contracts",
    ),
    CostTerm("expediting", "cost_per_unit x units in the pipeline that were moved forward, over arcs"),
)
N_TERMS = len(COST_TERMS)


def fill_rate(served: NDArray[np.float64], demand: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of demand met at once from stock (type-2 service, beta); 1 where nothing was asked for.

    Parameters
    ----------
    served, demand
        Units, any equal shapes.
    """
    out = np.ones(np.broadcast_shapes(np.shape(served), np.shape(demand)))
    np.divide(served, demand, out=out, where=np.asarray(demand) > 0.0)
    return out


def serves_at_once(fill_rates: Iterable[float]) -> bool:
    """Whether anything is met from stock at once; nothing is where what is asked for has to sail first."""
    return any(rate > _ROUNDING for rate in fill_rates)


def terminal_value(state: TwinState) -> NDArray[np.float64]:
    """What the stock of every replica is worth when a finite horizon ends.

    The sum over stock points of ``terminal_value`` times units on hand there and under way to there, as they were when
    the last period ended: in "receive, demand, order" the demand of the next period has been served since, whose
    revenue is not charged any more, and counts as still there. Shape (B,), money.
    """
    top, arrays = state.compiled.topology, state.arrays
    value = top.stock_terminal @ arrays.on_hand + top.stock_terminal[top.arc_destination] @ arrays.in_transit
    if top.phase_order == RECEIVE_DEMAND_ORDER:
        value = value + top.stock_terminal[top.demand_stock] @ arrays.delivered
    return np.asarray(value, dtype=np.float64)
