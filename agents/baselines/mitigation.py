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
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule, SwitchingRule
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.contracts import MOVES, STAGES

__all__ = ["Mitigation"]

_OUTSIDE, _QUALIFY, _KEEP = STAGES.index("outside"), MOVES.index("qualify"), MOVES.index("keep")


class Mitigation(StaticSwitching):
    """Standing share 0 or 1, rerouting 0 or 1, the share; where there are several, which backup; levels, units.

    The backup of a stock point is one of its sources beside the main one's: number 0 is the cheapest at list prices,
    and where there are fewer than the number, the dearest. There is a level per stock point. With a standing
    share it is held active and gets that part of every need. With rerouting it is qualified at the start, and while a
    main supplier is out (below full capacity) active: it gets what the main one cannot take, which is not ordered from
    while it is down. Other backups are left. What is in excess of what a source can take goes to the other if that is
    in use.
    """

    name = "mitigation"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        ranked, arcs = _ranked(self.sources, self.rule, task.compiled), np.arange(task.compiled.n_arcs)
        number = max(len(others) for others in ranked)
        #: (backups, A): whether an arc is that backup's of its stock point.
        self._arcs = np.array(
            [np.isin(arcs, [others[min(k, len(others) - 1)] for others in ranked if others]) for k in range(number)]
        )
        self._several = number > 1
        contracts, needs = np.arange(len(self.sources.relation_of_contract)), self.sources.contract_of_arc
        of_main = np.isin(contracts, needs[self.rule.main_arcs])
        self._main: NDArray[np.bool_] = of_main[:, None]
        #: (backups, C): whether that backup takes a contract.
        self._contracts = np.array([np.isin(contracts, needs[chosen]) & ~of_main for chosen in self._arcs])

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        sources = Sources(task.compiled)
        number = max(len(others) for others in _ranked(sources, StatusRule(task.compiled, sources), task.compiled))
        parts = [single(name, 0.0, 1.0, 1.0, choice=True) for name in ("standing", "rerouting")]
        parts += [single("share", 0.0, 0.2, 1.0)]
        parts += [single("backup", 0.0, 0.0, number - 1.0, few=True)] if number > 1 else []
        return joined([*parts, stock_space(task)])

    def _which(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the backup, (1,) or (B,)."""
        chosen = parameters[3] if self._several else np.zeros(())
        number: NDArray[np.int64] = np.rint(np.atleast_1d(chosen)).astype(np.int64)
        return np.clip(number, 0, len(self._arcs) - 1)

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        standing, rerouting = parameters[:2] > 0.5
        backup = self._contracts[self._which(parameters)].T
        return np.asarray(self._main | backup & (standing | rerouting & self._out(supply)))

    def moves(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.int64]:
        moves = super().moves(parameters, supply)
        ready = (parameters[1] > 0.5) & self._contracts[self._which(parameters)].T & (supply.stage == _OUTSIDE)
        place = self.sources.relation_of_contract
        moves[place] = np.where(ready & (moves[place] == _KEEP), _QUALIFY, moves[place])
        return moves

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        limits = self.sources.limits(supply, moves)
        shape, levels = limits.shape, self.sources.stock_levels(parameters[3 + self._several :], limits.shape[1])
        standing, rerouting = parameters[:2] > 0.5
        rerouted = np.broadcast_to(rerouting & self._out(supply), shape[1:])
        main = np.zeros(shape, dtype=np.bool_)
        main[self.rule.main_arcs] = True
        used = main | self._arcs[self._which(parameters)].T & (standing | rerouted)
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


def _ranked(sources: Sources, rule: SwitchingRule, compiled: CompiledNetwork) -> list[list[int]]:
    """Arcs into each stock point beside its main one, other suppliers' first, cheapest first."""
    origin = [begin for begin, _ in compiled.arc_ends]
    return [
        sorted((a for a in group if a != main), key=lambda a: (origin[a] == origin[main], sources.landed[a], a))
        for group, main in zip(sources.sequence.groups, rule.main_arcs.tolist(), strict=True)
    ]
