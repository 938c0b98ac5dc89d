"""Echelon base-stock policy on a forecast, cut off where the horizon ends.

The echelon of a stock point is its own inventory position and that of everything it feeds, as much of each as its
usual share supplies; ordering up to a level of it is optimal in serial systems (Clark & Scarf 1960, Management Science
6(4):475-490). The level is the demand expected while an order is the last that can serve it (on its way, and from
there to the customers), plus a safety amount: the myopic level of Iida & Zipkin (2006), Manufacturing & Service
Operations Management 8(1), for a forecast that changes. Demand after the end of a finite horizon does not count, and
nothing is ordered that would reach the customers after it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.structure import Structure
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["EchelonBaseStock"]

FloatArray = NDArray[np.float64]

#: Reach of the search for a safety amount, in standard deviations of the demand covered.
_DEVIATIONS = 4.0
#: The lowest safety amount, in multiples of the demand covered: it closes the arc.
_CLOSED = -1.3


class EchelonBaseStock(OrderingPolicy):
    """Order the echelon position up to the expected demand plus ``parameters``: a safety amount per arc, units."""

    name = "echelon_base_stock"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        top = task.compiled.topology
        self.structure = Structure.of(task.compiled)
        self._window = _window(self.structure)
        self._needed = self.structure.requires[top.arc_destination] > 1e-12
        # The farthest arc's position holds all that is under way to its stock point.
        self._filled = np.array(self.sequence.destinations, dtype=np.int64)
        self._farthest = np.array([arcs[-1] for arcs in self.sequence.groups], dtype=np.int64)
        self._fed = [np.flatnonzero(row) for row in self.structure.below]

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return Needs(("position", "periods_left"), window=_window(Structure.of(compiled)))

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        compiled, structure = task.compiled, Structure.of(task.compiled)
        top = compiled.topology
        growth = compiled.largest_known_factor(task.horizon)
        means = np.array([np.mean([law.mean_value for law in laws]) for laws in compiled.demand_distributions]) * growth
        noise = np.array([np.mean([law.variance for law in laws]) for laws in compiled.demand_distributions])
        weight = structure.requires[top.arc_destination]
        mean = (weight * structure.covers) @ means
        deviation = np.sqrt((weight**2 * structure.covers) @ (noise * growth**2))
        reach = np.maximum(np.maximum(mean, _DEVIATIONS * deviation), 1.0)
        low = np.minimum(_CLOSED * mean, -reach)
        return ParameterSpace(compiled.arc_names, low, deviation, reach, top.arc_integer)

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        structure, sequence = self.structure, self.sequence
        position = reading.position
        held = np.zeros((sequence.stocks, reading.replicas))
        held[self._filled] = position[self._farthest]
        levels, open_ = self._covered(reading)
        levels += parameters if parameters.ndim == 2 else parameters[:, None]
        orders, change = np.zeros_like(position), np.zeros_like(held)
        for arcs, i in zip(sequence.groups, sequence.destinations, strict=True):
            fed = self._fed[i]
            fixed = structure.below[i, fed] @ (held[fed] + change[fed])
            for a in arcs:
                order = np.clip(levels[a] - (position[a] + change[i] + fixed), 0.0, sequence.limits[a])
                orders[a] = np.where(open_[a], order, 0.0)
                change[i] += orders[a]
                for source, coefficient in sequence.inputs[a]:
                    change[source] -= coefficient * orders[a]
        return orders, memory

    def _covered(self, reading: Reading) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Demand expected in the periods that each arc's order covers (A, B), and whether it reaches anyone in time."""
        structure, left = self.structure, reading.periods_left
        expected = reading.expected(self._window)
        total = np.concatenate([np.zeros_like(expected[:, :1]), np.cumsum(expected, axis=1)], axis=1)
        arcs, replicas = len(structure.covers), reading.replicas
        weight = structure.requires[self.compiled.topology.arc_destination]
        covered, in_time = np.zeros((arcs, replicas)), np.ones((arcs, replicas), dtype=np.bool_)
        if left is None:
            for d in range(total.shape[0]):
                covered += weight[:, d, None] * total[d, structure.covers[:, d]]
            return covered, in_time
        demands = np.maximum(np.round(left).astype(np.int64) - structure.remaining, 0)
        in_time[:] = False
        for d in range(total.shape[0]):
            ends = np.minimum(structure.covers[:, d, None], demands)
            covered += weight[:, d, None] * np.take_along_axis(total[d], ends, axis=0)
            in_time |= self._needed[:, d, None] & (structure.covers[:, d, None] <= demands)
        return covered, in_time


def _window(structure: Structure) -> int:
    return max(1, int(structure.covers.max(initial=1)))
