"""Tomlin's strategies against disruptions: stock, a standing share from the backup, rerouting while the main is out.

Tomlin (2006), "On the value of mitigation and contingency strategies for managing supply chain disruption risks",
Management Science 52(5):639-657: inventory mitigation (a level above what lead times need), sourcing mitigation (a part
of every order goes to the dearer, reliable supplier), contingent rerouting (all of it does while the cheap one is out,
which takes a supplier that can be switched on), and mixtures of them. Tuning tries each combination.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import joined, single, stock_space
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Supply
from envs.task import Task
from twin.contracts import MOVES, STAGES

__all__ = ["Mitigation"]

_OUTSIDE, _QUALIFY, _KEEP = STAGES.index("outside"), MOVES.index("qualify"), MOVES.index("keep")


class Mitigation(StaticSwitching):
    """Standing share 0 or 1, rerouting 0 or 1, the share; then a level per stock point, units.

    The backup of a stock point is the cheapest of its sources at list prices beside the main one's. With a standing
    share it is held active and gets that part of every need. With rerouting it is qualified at the start, and while a
    main supplier is out (below full capacity) active: it gets what the main one cannot take, which is not ordered from
    while it is down. Other backups are left. What is in excess of what a source can take goes to the other if that is
    in use.
    """

    name = "mitigation"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        landed, origin = self.sources.landed, [begin for begin, _ in task.compiled.arc_ends]
        backups = []
        for group, main in zip(self.sequence.groups, self.rule.main_arcs.tolist(), strict=True):
            others = [(origin[a] == origin[main], landed[a], a) for a in group if a != main]
            backups += [min(others)[-1]] if others else []
        #: The backup's arc of each stock point that has one.
        self.backup_arcs = np.array(backups)
        contracts = len(self.sources.relation_of_contract)
        of_main = np.isin(np.arange(contracts), self.sources.contract_of_arc[self.rule.main_arcs])
        self._main: NDArray[np.bool_] = of_main[:, None]
        held = np.isin(np.arange(contracts), self.sources.contract_of_arc[self.backup_arcs])
        self._backup: NDArray[np.bool_] = (held & ~of_main)[:, None]

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        ways = [single(name, 0.0, 1.0, 1.0, choice=True) for name in ("standing", "rerouting")]
        return joined([*ways, single("share", 0.0, 0.2, 1.0), stock_space(task)])

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        standing, rerouting = parameters[:2] > 0.5
        return np.asarray(self._main | self._backup & (standing | rerouting & self._out(supply)))

    def moves(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.int64]:
        moves = super().moves(parameters, supply)
        ready = (parameters[1] > 0.5) & self._backup & (supply.stage == _OUTSIDE)
        place = self.sources.relation_of_contract
        moves[place] = np.where(ready & (moves[place] == _KEEP), _QUALIFY, moves[place])
        return moves

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        limits = self.sources.limits(supply, moves)
        shape, levels = limits.shape, self.sources.stock_levels(parameters[3:], limits.shape[1])
        standing, rerouting = parameters[:2] > 0.5
        rerouted = np.broadcast_to(rerouting & self._out(supply), shape[1:])
        used, main = np.zeros((2, *shape), dtype=np.bool_)
        main[self.rule.main_arcs] = True
        used[self.rule.main_arcs], used[self.backup_arcs] = True, standing | rerouted
        limits = np.where(used, np.where(rerouted, self.sources.working(supply, limits), limits), 0.0)
        share = np.where(standing, np.clip(parameters[2], 0.0, 1.0), 0.0)
        weights = np.zeros(shape)
        weights[self.rule.main_arcs] = 1.0
        for group in self.sequence.groups:
            if len(group) > 1:
                arcs = np.array(group)
                weights[arcs] = np.where(main[arcs], 1.0 - share, np.where(used[arcs], share, 0.0))
        usual = self.sources.mixed(levels, supply, limits, weights)
        if not rerouted.any():
            return usual
        # The main source first, the backup for the rest.
        return np.where(rerouted, self.sources.in_turn(levels, supply, limits, np.where(main, 0.0, 1.0)), usual)

    def _out(self, supply: Supply) -> NDArray[np.bool_]:
        """Whether a main supplier is out, (B,)."""
        return np.asarray((self.sources.share(supply)[self.rule.main_arcs] < 1.0).any(axis=0))
