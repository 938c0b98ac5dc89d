"""Single-index policy: all sources look at the whole inventory position, nearest first, each up to a level of its own.

Scheller-Wolf, Veeraraghavan & van Houtum (2007), "Effective dual sourcing with a single index policy", working paper;
here for any number of sources. Simpler than dual index (``base_stock``, where a source counts what arrives within its
own lead time), and as the optimum where all lead times are equal. A source that is down or closed takes nothing, and
the next one sees that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import joined, level_space, renamed, single
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task

__all__ = ["SingleIndex"]


class SingleIndex(StaticSwitching):
    """A level per arc, units; with contracts to hold, how many of the backups' are held active, cheapest first."""

    name = "single_index"

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        levels = renamed(level_space(task, outages=True), "level")
        backups = float(StatusRule(task.compiled, Sources(task.compiled)).backups)
        return joined([levels, single("standing", 0.0, backups, backups, few=True)]) if backups else levels

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        standing = parameters[-1] if self.rule.backups else 0.0
        return np.asarray(self.rule.place[:, None] < standing)

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        room = self.sources.working(supply, self.sources.limits(supply, moves))
        whole = supply.position.copy()
        for group in self.sequence.groups:
            whole[list(group)] = whole[group[-1]]  # the farthest arc counts all that is under way
        return self.sequence.decide(lambda a, have: np.minimum(parameters[a] - have, room[a]), whole)
