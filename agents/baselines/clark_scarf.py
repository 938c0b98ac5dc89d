"""The optimal policy of a serial system with backlog: echelon base-stock levels by Clark & Scarf's recursion.

Clark & Scarf (1960), Management Science 6(4):475-490. Where the problem ends at a horizon each period has levels of its
own, from the laws of demand of all periods to come (:mod:`agents.oracles.serial_horizon`); where it continues they are
those of the long-run average (:mod:`agents.oracles.clark_scarf`). A capacity is not known to the recursion: where one
is reached the levels are those of the problem without it. Nothing is tuned: costs and laws are the network's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.oracles.clark_scarf import SerialStage, clark_scarf
from agents.oracles.serial_horizon import serial_horizon
from agents.oracles.serial_network import serial_arcs, serial_problem
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["ClarkScarf"]

FloatArray = NDArray[np.float64]


class ClarkScarf(OrderingPolicy):
    """Raise the echelon position of every stage to its optimal level; there are no parameters.

    Attributes
    ----------
    known_levels
        (T, N) units per period and stage, the stage that serves the customers first; one row where the problem
        continues.
    """

    name = "clark_scarf"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.known_levels = _levels(task)
        self._arcs = serial_arcs(task.compiled)
        top = task.compiled.topology
        self._stocks = top.arc_destination[self._arcs]
        # What a stage gets at once it can pass on at once.
        self._at_once = (top.arc_fixed_lead[self._arcs] == 0) & (top.phase_order != ORDER_RECEIVE_DEMAND)

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        try:
            serial_arcs(compiled)
        except ConfigError as error:
            return str(error)
        return None

    @classmethod
    def fits(cls, task: Task) -> str | None:
        reason = super().fits(task)
        if reason is not None:
            return reason
        try:
            _levels(task)
        except ConfigError as error:
            return str(error)
        return None

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return Needs(("position", "on_hand", "periods_left"))

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return ParameterSpace.empty()

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        left = reading.periods_left
        period = 0 if left is None else np.round(len(self.known_levels) - left).astype(np.int64)
        levels = self.known_levels[np.clip(period, 0, len(self.known_levels) - 1)].reshape(-1, len(self._arcs)).T
        echelon = np.cumsum(reading.position[self._arcs], axis=0)
        wanted = np.minimum(np.maximum(levels - echelon, 0.0), self.compiled.topology.arc_order_limit[self._arcs, None])
        # Nothing is ordered that the source does not have: owed to a stage, it would be sent when its level has fallen.
        there = reading.on_hand[self._stocks]
        for j in reversed(range(len(self._arcs) - 1)):
            gets = wanted[j + 1] if self._at_once[j + 1] else 0.0
            wanted[j] = np.minimum(wanted[j], there[j + 1] + gets)
        orders = np.zeros_like(wanted)
        orders[self._arcs] = wanted
        return orders, memory


def _levels(task: Task) -> FloatArray:
    """Levels (T, N) of a problem that ends, (1, N) of one that continues.

    Raises
    ------
    ConfigError
        When the problem has no optimal levels.
    """
    compiled = task.compiled
    if task.finite:
        return serial_horizon(serial_problem(compiled, task.horizon, with_terminal_value=True)).levels
    laws, top = compiled.demand_distributions[0], compiled.topology
    if len(laws) > 1:
        raise ConfigError("demand has seasons, and the levels of its periods are known only where the problem ends")
    stages = [
        SerialStage(float(top.stock_holding[top.arc_destination[a]]), int(top.arc_fixed_lead[a]), 0.0)
        for a in serial_arcs(compiled)
    ]
    best = clark_scarf(stages, laws[0], float(top.demand_penalty[0]), compiled.network.phases)
    return np.array([best.echelon_levels])
