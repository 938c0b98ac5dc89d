"""Tailored base-surge policy: a constant quantity from the cheapest source, the rest from a near one up to a level.

Allon & Van Mieghem (2010), "Global dual sourcing: tailored base-surge allocation to near- and offshore production",
Management Science 56(1):110-124. Asymptotically optimal with backlog as the lead time of the base source grows: Xin &
Goldberg (2018), Management Science 64(1). Of more than two sources the nearest that is not the base is the surge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import joined, level_space, quantity_space, renamed
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["TailoredBaseSurge"]


class TailoredBaseSurge(StaticSwitching):
    """Base quantities, then levels, units: of surge arcs, and of arcs into stock points that have no other.

    The base arc of a stock point is the cheapest at list prices. A level counts what arrives within the lead time of
    its own arc. While a source is down nothing is ordered from it. The contracts of the arcs that it orders on are held
    active from the start, all others are left.
    """

    name = "tailored_base_surge"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self._base, self._leveled = _roles(task.compiled)
        used = np.concatenate([self._base, self._leveled])
        held = set(self.sources.contract_of_arc[used].tolist())
        self._held = np.array([c in held for c in range(len(self.sources.relation_of_contract))], dtype=np.bool_)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        chosen = np.zeros((2, task.compiled.n_arcs), dtype=np.bool_)
        for row, arcs in zip(chosen, _roles(task.compiled), strict=True):
            row[arcs] = True
        quantities, levels = (
            renamed(quantity_space(task), "quantity"),
            renamed(level_space(task, outages=True), "level"),
        )
        return joined([quantities.part(chosen[0]), levels.part(chosen[1])])

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        return self._held[:, None]

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        room = self.sources.working(supply, self.sources.limits(supply, moves))
        quantities, levels = np.split(parameters, [len(self._base)])
        constant = dict(zip(self._base.tolist(), quantities, strict=True))
        up_to = dict(zip(self._leveled.tolist(), levels, strict=True))

        def rule(a: int, have: NDArray[np.float64]) -> NDArray[np.float64]:
            wish = up_to[a] - have if a in up_to else constant.get(a, 0.0)
            return np.asarray(np.minimum(wish, room[a]))

        return self.sequence.decide(rule, supply.position)


def _roles(compiled: CompiledNetwork) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Base arcs, and arcs with levels, each in file order."""
    sources = Sources(compiled)
    base, leveled = [], []
    for group, main in zip(sources.sequence.groups, StatusRule(compiled, sources).main_arcs.tolist(), strict=True):
        if len(group) > 1:
            base.append(main)
            leveled.append(next(a for a in group if a != main))
        else:
            leveled.append(main)
    return np.array(sorted(base), dtype=np.int64), np.array(sorted(leveled), dtype=np.int64)
