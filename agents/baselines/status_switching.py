"""Switching on status, with hysteresis: backups while a main supplier is out, and for a while after.

Contingent rerouting in the sense of Tomlin (2006), Management Science 52(5):639-657, with patience before a switch and
before the way back, so that short outages do not pay for switches. The rule itself is
:class:`envs.switching_rules.StatusRule`, because an agent's action may correct it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import stock_space
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task

__all__ = ["StatusSwitching"]


class StatusSwitching(StaticSwitching):
    """The status rule; ``parameters`` are its own, see :class:`envs.switching_rules.StatusRule`."""

    name = "status_switching"
    reads = ("since", "price")

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        rule = StatusRule(task.compiled, Sources(task.compiled))
        levels = stock_space(task)
        # Periods are whole, and levels where units are.
        whole = np.array([name.partition("[")[0] in ("patience", "recovery", "wait") for name in rule.names])
        whole[: len(levels)], high = levels.whole, rule.high.copy()
        high[: len(levels)] = np.maximum(high[: len(levels)], levels.high)
        return ParameterSpace(rule.names, rule.low, rule.start, high, whole)

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        return self.rule.wanted(parameters, supply)

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.rule.orders(parameters, supply, moves)
