"""Single sourcing: all from one supplier, whichever is cheapest in the end.

The classical alternative to sourcing from several, with base-stock levels, which are optimal for one supplier that
fails and recovers as a Markov chain (Song & Zipkin 1996, Management Science 42(10):1409-1419, whose level depends on
its status while orders may wait; here it is one level).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import joined, single, stock_space
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["SingleSource"]


class SingleSource(StaticSwitching):
    """Which source, 0 the one with the lowest landed cost; then a level per stock point, units.

    A source is a supplier or a site that delivers to a stock point which has several. Where the chosen one does not
    deliver, the cheapest arc is used. Its contracts are held active from the start, all others are left. Tuning tries
    each source.
    """

    name = "single_source"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        #: Per source, which arcs it uses, (sources, A).
        self.used = _used(task.compiled)
        #: Per source, which contracts these need, (sources, C).
        contracts = len(self.sources.relation_of_contract)
        self.held = np.stack([np.isin(np.arange(contracts), self.sources.contract_of_arc[row]) for row in self.used])

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        most = float(len(_used(task.compiled)) - 1)
        return joined([single("source", 0.0, 0.0, max(most, 1.0), choice=True), stock_space(task)])

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        return np.asarray(self.held.T[:, self._source(parameters)])

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        used = self.used.T[:, self._source(parameters)]
        room = np.where(used, self.sources.limits(supply, moves), 0.0)
        rank = np.repeat(self.sources.landed[:, None], room.shape[1], axis=1)
        return self.sources.in_turn(self.sources.stock_levels(parameters[1:], room.shape[1]), supply, room, rank)

    def _source(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        chosen = np.atleast_1d(np.rint(parameters[0]))
        return np.asarray(np.clip(chosen, 0, len(self.used) - 1), dtype=np.int64)


def _used(compiled: CompiledNetwork) -> NDArray[np.bool_]:
    """The arcs that each source uses, (sources, A), cheapest source first."""
    sources = Sources(compiled)
    origins = np.array([begin for begin, _ in compiled.arc_ends])
    several = [a for group in sources.sequence.groups if len(group) > 1 for a in group]
    cheapest: dict[str, float] = {}
    for a in several:
        cheapest[origins[a]] = min(cheapest.get(origins[a], np.inf), sources.landed[a])
    out = np.zeros((len(cheapest), compiled.n_arcs), dtype=np.bool_)
    out[:, StatusRule(compiled, sources).main_arcs] = True
    for row, name in zip(out, sorted(cheapest, key=lambda key: cheapest[key]), strict=True):
        for group in sources.sequence.groups:
            own = [a for a in group if origins[a] == name]
            if own and len(group) > 1:
                row[list(group)] = False
                row[min(own, key=lambda a: sources.landed[a])] = True
    return out
