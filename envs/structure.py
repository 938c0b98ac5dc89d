"""What lies below each stock point: how much of it customers need, how far away they are, what its echelon holds.

A stock point that several arcs fill draws on them by their usual shares, as in :func:`twin.flows.nominal_flows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["Structure"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Structure:
    """A network seen from its customers.

    Attributes
    ----------
    requires
        (I, D): units of stock point i that one unit of demand of stream d needs.
    below
        (I, I): units of stock point i in one unit of what it feeds, directly or not; 0 on the diagonal unless stock
        can come back.
    covers
        (A, D): periods whose demand of a stream an order on an arc is the last to be able to meet, counted from the
        period decided for: its own time, the usual time from its stock point to the customers, and the review period.
    local
        (A,): the same down to the arc's own stock point, without a review period where that serves no customers
        (stock points order in the same period as what they feed).
    remaining
        What to take from the periods left for the demands left: 1 where a period's demand comes before its order.
    """

    requires: FloatArray
    below: FloatArray
    covers: IntArray
    local: FloatArray
    remaining: int

    @classmethod
    def of(cls, compiled: CompiledNetwork) -> Structure:
        """The structure of a compiled network."""
        top, n = compiled.topology, compiled.n_stocks
        filled = compiled.demand_rate[top.arc_destination]
        inbound = np.bincount(top.arc_destination, minlength=n)[top.arc_destination]
        share = np.divide(compiled.arc_flow, filled, out=1.0 / inbound, where=filled > 0.0)
        arc = np.repeat(np.arange(compiled.n_arcs), np.diff(top.in_ptr))
        place = (top.in_stock, top.arc_destination[arc])
        weight = top.in_coefficient * share[arc]
        # Where orders come before receipts, what comes in is shipped on a period later.
        hop = top.arc_window + (1 if top.phase_order == ORDER_RECEIVE_DEMAND else 0)
        direct, slow = np.zeros((n, n)), np.zeros((n, n))
        np.add.at(direct, place, weight)
        np.add.at(slow, place, weight * hop[arc])
        all_below = _inverse(np.eye(n) - direct)
        requires = np.maximum(all_below[:, top.demand_stock], 0.0)
        times = np.maximum(all_below @ (slow @ requires), 0.0)
        mean = np.divide(times, requires, out=np.zeros_like(times), where=requires > 1e-12)
        review = 0 if top.phase_order == RECEIVE_DEMAND_ORDER else 1
        covers = np.floor(top.arc_window[:, None] + mean[top.arc_destination] + review + 0.5).astype(np.int64)
        sells = np.isin(top.arc_destination, top.demand_stock)
        local = np.where(sells, top.arc_window + review, hop)
        return cls(requires, all_below - np.eye(n), covers, local.astype(np.float64), 1 - review)


def _inverse(system: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.inv(system))
    except np.linalg.LinAlgError:  # a ring of arcs that feeds only itself
        return np.asarray(np.linalg.pinv(system))
