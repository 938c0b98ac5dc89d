"""What comes to a port at a price of its moves, and what slots and the moves of other ports are then worth.

While a port makes fewer moves than are asked for, each has a price at which cargo takes another way or is refused. The
price also sets slots free on the services that call there, and fills those that pass it by: at the prices of the
nominal week cargo would go on paying for slots that nobody wants. Both are read off best weeks
(:class:`twin.liner.weekday_plan.WeekdayProgram`) in which the moves of that port are not limited but sold, at the
prices of a grid. A port's weeks are solved when its curve is first needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.liner.routing import REFUSE
from twin.liner.schedule import WEEK
from twin.liner.weekday_plan import WeekdayPlan, WeekdayProgram

__all__ = ["PortCurve", "PortCurves"]

FloatArray = NDArray[np.float64]

#: Prices of a grid besides 0, each half as much again as the one before.
_PRICES, _RATIO = 11, 1.5


@dataclass(frozen=True, eq=False)
class PortCurve:
    """One port at the prices of a grid. G prices, N calls, P ports.

    Attributes
    ----------
    price
        (G,) money per move, the first 0.
    moves
        (G,) moves a day that are asked for.
    slots, others
        (N, G) money per slot of the departure from each call, and (P, G) per move in each other port, over what they
        are worth in the nominal week.
    """

    price: FloatArray
    moves: FloatArray
    slots: FloatArray
    others: FloatArray

    def slots_at(self, price: FloatArray) -> FloatArray:
        """``slots`` (N, ...) at prices (...) in between."""
        return self._between(self.slots, price)

    def others_at(self, price: FloatArray) -> FloatArray:
        """``others`` (P, ...) at prices (...) in between."""
        return self._between(self.others, price)

    def _between(self, values: FloatArray, price: FloatArray) -> FloatArray:
        j = np.clip(np.searchsorted(self.price, price, side="right") - 1, 0, len(self.price) - 2)
        part = np.clip((price - self.price[j]) / (self.price[j + 1] - self.price[j]), 0.0, 1.0)
        return np.asarray(values[:, j] * (1.0 - part) + values[:, j + 1] * part)


class PortCurves:
    """The curves of a network's ports.

    Parameters
    ----------
    program, plan
        Of best weeks, and the nominal one.

    Attributes
    ----------
    most
        The highest price, at which hardly anything comes: what it costs to refuse the dearest cargo.
    """

    def __init__(self, program: WeekdayProgram, plan: WeekdayPlan) -> None:
        self.program, self.plan = program, plan
        assignment = program.assignment
        refused = assignment.routing.arc_kind[assignment.way_arc] == REFUSE
        self.most = float(assignment.way_cost[refused].max(initial=1.0))
        self._price = np.append(0.0, self.most / _RATIO ** np.arange(_PRICES)[::-1])
        self._known: dict[int, PortCurve] = {}

    def of(self, port: int) -> PortCurve:
        """The curve of a port, by its index."""
        if port not in self._known:
            weeks = [self.program.solve(port=port, price=float(price)) for price in self._price]
            others = np.array([week.move_price - self.plan.move_price for week in weeks]).T
            others[port] = 0.0
            self._known[port] = PortCurve(
                self._price,
                np.array([week.moves[port] for week in weeks]) / WEEK,
                np.array([week.slot_price - self.plan.slot_price for week in weeks]).T,
                others,
            )
        return self._known[port]
