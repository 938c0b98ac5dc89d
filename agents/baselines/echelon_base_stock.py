"""Echelon base-stock policy on a forecast, cut off where the horizon ends; the rule is :mod:`envs.echelon`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace, echelon_needs
from agents.baselines.reading import Reading
from envs.echelon import EchelonRule, safety_span
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["EchelonBaseStock"]

FloatArray = NDArray[np.float64]


class EchelonBaseStock(OrderingPolicy):
    """Order the echelon position up to the expected demand plus ``parameters``: a safety amount per arc, units."""

    name = "echelon_base_stock"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.rule = EchelonRule(task.compiled)

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return echelon_needs(compiled)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        low, start, high = safety_span(task.compiled, task.horizon)
        return ParameterSpace(task.compiled.arc_names, low, start, high, task.compiled.topology.arc_integer)

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        covered = self.rule.covered(reading.expected(self.rule.window), reading.periods_left)
        return self.rule.orders(parameters, reading.position, *covered), memory

    def safety(self, parameters: FloatArray, reading: Reading, orders: FloatArray) -> FloatArray:
        return parameters if parameters.ndim == 2 else np.repeat(parameters[:, None], reading.replicas, axis=1)
