"""Order up to a level that follows demand by exponential smoothing.

The forecast of a stream and its squared error are smoothed with one constant (Brown 1959, "Statistical forecasting for
inventory control"); a level is the forecast over the periods that an order covers plus a safety factor times the
standard deviation of the error over them, as in Silver, Pyke & Thomas (2017), "Inventory and production management in
supply chains", 4th ed., chapters 3 and 6. Forecasts go upstream by the usual shares. It knows nothing of trend, season
or announced events, so that what it costs more than a rule on the true forecast is the worth of that forecast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from envs.structure import Structure
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.topology import RECEIVE_DEMAND_ORDER

__all__ = ["ExponentialSmoothing"]

FloatArray = NDArray[np.float64]


class ExponentialSmoothing(OrderingPolicy):
    """``parameters``: the smoothing constant of all streams, then a safety factor per arc.

    Memory: the forecast (D, B), its mean squared error (D, B), and whether a demand has been seen (1, B).
    """

    name = "exponential_smoothing"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        compiled = task.compiled
        structure = Structure.of(compiled)
        weight = structure.requires[compiled.topology.arc_destination]
        self._mean_weight = structure.local[:, None] * weight
        self._variance_weight = structure.local[:, None] * weight**2
        # A demand precedes the first decision in one of the three orders; it belongs to nobody's forecast.
        laws = compiled.demand_distributions
        self._mean = np.array([np.mean([law.mean_value for law in seasons]) for seasons in laws])
        self._variance = np.array([np.mean([law.variance for law in seasons]) for seasons in laws])
        self._seen = 1.0 if compiled.topology.phase_order == RECEIVE_DEMAND_ORDER else 0.0

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return Needs(("position", "demand"))

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        arcs = task.compiled.n_arcs
        names = ("smoothing", *(f"safety[{name}]" for name in task.compiled.arc_names))
        low = np.concatenate([[0.01], np.full(arcs, -4.0)])
        start = np.concatenate([[0.1], np.full(arcs, 1.0)])
        high = np.concatenate([[1.0], np.full(arcs, 6.0)])
        return ParameterSpace(names, low, start, high, np.zeros(arcs + 1, dtype=np.bool_))

    def begin(self, reading: Reading) -> Memory:
        shape = (len(self._mean), reading.replicas)
        return (
            np.broadcast_to(self._mean[:, None], shape).copy(),
            np.broadcast_to(self._variance[:, None], shape).copy(),
            np.full((1, reading.replicas), self._seen),
        )

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        given = parameters if parameters.ndim == 2 else parameters[:, None]
        mean, variance, seen = memory if memory is not None else self.begin(reading)
        weight = given[0] * seen
        error = reading.demand - mean
        mean = mean + weight * error
        variance = variance + weight * (error**2 - variance)
        levels = self._mean_weight @ mean + given[1:] * np.sqrt(self._variance_weight @ variance)
        orders = self.sequence.orders_up_to(levels, reading.position)
        return orders, (mean, variance, np.ones_like(seen))
