"""The echelon base-stock rule: a safety amount per arc on top of the demand that its order is the last to serve.

The echelon of a stock point is its own inventory position and that of everything it feeds, as much of each as its
usual share supplies; ordering up to a level of it is optimal in serial systems (Clark & Scarf 1960, Management Science
6(4):475-490). The level is the demand expected while an order is the last that can serve it (on its way, and from
there to the customers), plus a safety amount: the myopic level of Iida & Zipkin (2006), Manufacturing & Service
Operations Management 8(1), for a forecast that changes. Demand after the end of a finite horizon does not count, and
nothing is ordered that would reach the customers after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.structure import Structure
from twin.topology import RECEIVE_DEMAND_ORDER

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["EchelonRule", "expected_ahead", "safety_span"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Reach of a safety amount in standard deviations of the demand covered, where that is more than its mean.
_DEVIATIONS = 4.0
#: The lowest safety amount, in multiples of the demand covered: it closes the arc.
_CLOSED = -1.3
#: A weight below this is rounding.
_NOTHING = 1e-12


class EchelonRule:
    """Orders that raise the echelon position of every arc to the demand it covers and a safety amount.

    Stock points order downstream first and nearest arc first among parallel arcs, as in
    :func:`twin.kernel.base_stock_orders`; each counts what was decided before it. All of that is linear, so that the
    rule is two matrices, which other engines can use as they are.

    Parameters
    ----------
    compiled
        The network.

    Attributes
    ----------
    structure
        What lies below its stock points.
    window
        Periods of expected demand that the rule looks at, W.
    echelon
        (A, A): how often the echelon position of an arc counts the inventory position of each arc.
    decided
        (A, A): what an order of one unit, decided before, adds to what an arc still lacks.
    turns
        Arcs that are decided together, one turn after the other.
    limits
        (A,) the most that is worth ordering on an arc in a period, units; infinite where there is no limit.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        top, structure, arcs = compiled.topology, Structure.of(compiled), compiled.n_arcs
        # The farthest arc's position holds all that is under way to its stock point.
        held, change = np.zeros((compiled.n_stocks, arcs)), np.zeros((compiled.n_stocks, arcs))
        decided, turn = np.zeros((arcs, arcs)), np.zeros(arcs, dtype=np.int64)
        whole = structure.below + np.eye(compiled.n_stocks)
        for i in top.sequence:
            group = top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]
            held[i, group[-1:]] = 1.0
            for arc in group:
                row = -whole[i] @ change
                decided[arc] = np.where(np.abs(row) > _NOTHING, row, 0.0)
                turn[arc] = (turn[decided[arc] != 0.0] + 1).max(initial=0)
                change[i, arc] += 1.0
                inputs = slice(top.in_ptr[arc], top.in_ptr[arc + 1])
                np.subtract.at(change[:, arc], top.in_stock[inputs], top.in_coefficient[inputs])
        self.compiled, self.structure = compiled, structure
        requires = structure.requires[top.arc_destination]
        self.window = max(1, int(structure.covers.max(initial=1)))
        self.echelon = np.eye(arcs) + structure.below[top.arc_destination] @ held
        self.decided = decided
        self.turns = tuple(np.flatnonzero(turn == k) for k in range(int(turn.max(initial=0)) + 1))
        self.limits = top.arc_order_limit.astype(np.float64)
        self._counted = _Sums(self.echelon)
        self._serves = _Sums(np.where(requires > _NOTHING, requires, 0.0)).steps
        self._added = tuple(_Sums(decided[members]) for members in self.turns)

    def covered(self, expected: FloatArray, periods_left: FloatArray | None) -> tuple[FloatArray, BoolArray]:
        """Demand expected in the periods that each arc's order covers, and whether the order reaches anyone in time.

        Parameters
        ----------
        expected
            (D, W, B) units, the period decided for first.
        periods_left
            (B,), or None where the problem continues. Either B may be 1, for all replicas.

        Returns
        -------
        covered, open
            (A, B) units, and False where nothing is to be ordered.
        """
        structure = self.structure
        total = np.concatenate([np.zeros_like(expected[:, :1]), np.cumsum(expected, axis=1)], axis=1)
        replicas = max(expected.shape[2], 1 if periods_left is None else len(periods_left))
        covered = np.zeros((self.compiled.n_arcs, replicas))
        open_ = np.full(covered.shape, periods_left is None)
        each = np.arange(expected.shape[2])
        left = np.full(1, np.inf) if periods_left is None else np.round(periods_left)
        # Beyond the longest cover it is all the same how many demands are left.
        demands = np.clip(left - structure.remaining, 0, self.window).astype(np.int64)
        for arc, stream, weight in self._serves:
            covers = structure.covers[arc, stream][:, None]
            covered[arc] += weight * total[stream[:, None], np.minimum(covers, demands), each]
            open_[arc] |= covers <= demands
        return covered, open_

    def on_calendar(self, period: NDArray[np.integer], periods_left: FloatArray | None) -> tuple[FloatArray, BoolArray]:
        """:meth:`covered` at the twin's own periods (B,); of one replica where all are at the same point."""
        first = period.astype(np.int64)
        if len(first) > 1 and np.ptp(first) == 0 and (periods_left is None or np.ptp(periods_left) == 0):
            first, periods_left = first[:1], None if periods_left is None else periods_left[:1]
        return self.covered(expected_ahead(self.compiled, first, self.window), periods_left)

    def orders(self, safety: FloatArray, position: FloatArray, covered: FloatArray, open_: BoolArray) -> FloatArray:
        """Orders (A, B) in units.

        Parameters
        ----------
        safety
            (A,) or (A, B) units.
        position
            (A, B) inventory positions, see :func:`twin.kernel.positions`.
        covered, open_
            See :meth:`covered`.
        """
        lacks = covered + (safety if safety.ndim == 2 else safety[:, None]) - self._counted(position)
        orders = np.zeros_like(lacks)
        for arcs, added in zip(self.turns, self._added, strict=True):
            gap = lacks[arcs] + added(orders)
            orders[arcs] = np.minimum(np.maximum(gap, 0.0), self.limits[arcs, None])
            # What a closed arc lacks must not be counted by those that come after it.
            orders[arcs] *= open_[arcs]
        return orders

    def safety_for(self, orders: FloatArray, position: FloatArray, covered: FloatArray) -> FloatArray:
        """Safety amounts (A, B) whose :meth:`orders` are the given ones, up to limits and where arcs are open."""
        return orders - _Sums(self.decided)(orders) + self._counted(position) - covered


class _Sums:
    """A matrix with few entries times (A, B): one entry of every row after the other.

    Not ``@``: the last bit of a replica would then depend on how many others there are. Each of ``steps`` has one
    entry, at most, of every row: rows, columns and values (n, 1).
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._rows, (row, column) = len(matrix), np.nonzero(matrix)
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        self.steps = [
            (row[which], column[which], matrix[row[which], column[which]][:, None])
            for which in (np.flatnonzero(rank == k) for k in range(int(rank.max(initial=-1)) + 1))
        ]

    def __call__(self, values: FloatArray) -> FloatArray:
        out = np.zeros((self._rows, values.shape[1]))
        for row, column, weight in self.steps:
            out[row] += weight * values[column]
        return out


def expected_ahead(compiled: CompiledNetwork, period: NDArray[np.int64], window: int) -> FloatArray:
    """Demand expected in the period decided for and the following ones, (D, window, B), at states of ``period`` (B,).

    Replicas in one period are looked up once.
    """
    after = 1 if compiled.topology.phase_order == RECEIVE_DEMAND_ORDER else 0
    together = len(period) > 0 and bool((period == period[0]).all())
    periods = (period[:1] if together else period) + after + np.arange(window)[:, None]
    out = np.empty((compiled.n_demands, window, len(period)))
    for d in range(compiled.n_demands):
        out[d] = compiled.expected_demand(d, periods)
    return out


def safety_span(compiled: CompiledNetwork, horizon: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least, usual and largest safety amount per arc, each (A,) units.

    The least closes the arc, the usual one is a standard deviation of the demand covered, and the largest is that
    demand's mean or four standard deviations, where that is more. Known growth within ``horizon`` periods counts.
    """
    top, structure = compiled.topology, Structure.of(compiled)
    growth = compiled.largest_known_factor(horizon)
    means = np.array([np.mean([law.mean_value for law in laws]) for laws in compiled.demand_distributions]) * growth
    noise = np.array([np.mean([law.variance for law in laws]) for laws in compiled.demand_distributions])
    weight = structure.requires[top.arc_destination]
    mean = (weight * structure.covers) @ means
    deviation = np.sqrt((weight**2 * structure.covers) @ (noise * growth**2))
    reach = np.maximum(np.maximum(mean, _DEVIATIONS * deviation), 1.0)
    return np.minimum(_CLOSED * mean, -reach), deviation, reach
