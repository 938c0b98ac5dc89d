"""Switching on risk: backups when the belief on the outages ahead says that enough supply will be missing.

A status rule waits to see how long an outage lasts. This one weighs what the laws of the network say of it: how long an
outage goes on that has lasted so far, whether a warning is true, which cause it is and when windows begin
(:mod:`twin.beliefs.posterior`). With geometric outages and no warning the time since the onset says nothing,
and it acts at once or never; with outages that are short mostly and sometimes long, it is patient of itself.
What knowing the risk is worth: Saghafian & Van Oyen (2012), "The value of flexible backup suppliers and disruption
risk information: newsvendor analysis with recourse", IIE Transactions 44(10):834-867.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import joined, single, stock_space
from agents.baselines.switching import SwitchingPolicy
from envs.sourcing import Sources
from envs.switching_rules import FARTHEST, RiskRule
from envs.task import Task
from twin.beliefs import outages_unfit
from twin.compile import CompiledNetwork

__all__ = ["RiskSwitching"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class RiskSwitching(SwitchingPolicy):
    """The risk rule on a belief that the policy keeps; ``parameters`` are its own, see :class:`RiskRule`."""

    name = "risk_switching"
    reads = ("since", "warning", "price")

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.risk = RiskRule(task.compiled, self.sources)

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        return super().unfit(compiled) or outages_unfit(compiled)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        rule = RiskRule(task.compiled, Sources(task.compiled))
        parts = [
            stock_space(task),
            single("horizon", 1.0, 8.0, float(FARTHEST), whole=True),
            single("cover", -2.0, 0.0, 2.0),
        ]
        if rule.backups:
            parts += [single("release", 0.0, 0.5, 1.0), single("prepare", 0.0, 0.0, float(FARTHEST))]
            parts += [single(name, 0.0, 1.0, float(FARTHEST)) for name in rule.names if name.startswith("threshold[")]
        return joined(parts)

    def begin(self, reading: Reading) -> Memory | None:
        return (self.risk.posterior.begin(self._past(reading)),)

    def _past(self, reading: Reading) -> FloatArray:
        return reading.since[:, : reading.worlds]

    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, IntArray | None, Memory | None]:
        posterior, worlds = self.risk.posterior, slice(reading.worlds)
        (belief,) = (posterior.begin(self._past(reading)),) if memory is None else memory
        available, warning = reading.availability[:, worlds], reading.warning[:, worlds]
        belief = posterior.seen(belief, available, warning, self._past(reading))
        supply = self.supply(reading)._replace(belief=belief)
        levels, moves = self.risk.plan(parameters, supply)
        orders = self.risk.raised(levels, parameters, supply, moves)
        return orders, moves if len(moves) else None, (posterior.after(belief),)
