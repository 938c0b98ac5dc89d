"""What slots and moves are worth while a port makes fewer moves: prices of the best week with what it makes.

A port that is hit sets slots free on the services that call there and fills those that pass it by, and the ports to
which transshipments go instead. At the prices of the nominal week cargo would go on paying for slots that nobody wants.
Prices are those of :class:`twin.liner.weekday_plan.WeekdayProgram` with one port at so many tenths of its moves, less
the nominal ones; where several ports are hit, the differences add up, and a price falls to 0 at most. So a network of P
ports has at most 9 P such weeks, each of which is solved when it is first needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.liner.weekday_plan import WeekdayPlan, WeekdayProgram

__all__ = ["ScarcityPrices"]

FloatArray = NDArray[np.float64]

#: Steps in which the share of a port's moves is looked at.
_STEPS = 10


class ScarcityPrices:
    """Differences of prices from the nominal week's.

    Parameters
    ----------
    program, plan
        Of best weeks, and the nominal one.
    """

    def __init__(self, program: WeekdayProgram, plan: WeekdayPlan) -> None:
        self.program, self.plan = program, plan
        self._known: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}

    def of(self, works: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Money per move (P, B) and per slot of the departure from each call (N, B), to be added to the nominal prices.

        Parameters
        ----------
        works
            (P, B) shares of their moves that ports make; a tenth at least counts. What it costs in a port itself that
            it makes fewer is not among the differences.
        """
        step = np.clip(np.rint(_STEPS * works), 1, _STEPS).astype(np.int64)
        moves = np.zeros(works.shape)
        slots = np.zeros((len(self.plan.slot_price), works.shape[1]))
        for p, at in sorted({(int(p), int(step[p, b])) for p, b in zip(*np.nonzero(step < _STEPS), strict=True)}):
            here = step[p] == at
            dearer, fuller = self._differences(p, at)
            moves[:, here] += dearer[:, None]
            slots[:, here] += fuller[:, None]
        return (
            np.maximum(moves, -self.plan.move_price[:, None]),
            np.maximum(slots, -self.plan.slot_price[:, None]),
        )

    def _differences(self, port: int, step: int) -> tuple[FloatArray, FloatArray]:
        if (port, step) not in self._known:
            works = np.ones(len(self.plan.move_price))
            works[port] = step / _STEPS
            best = self.program.solve(works)
            dearer = best.move_price - self.plan.move_price
            dearer[port] = 0.0
            self._known[port, step] = dearer, best.slot_price - self.plan.slot_price
        return self._known[port, step]
