"""Cheapest that is up: the whole need from the cheapest source that works now, up to that source's level.

What a planner does who can switch at no cost and at once; in the terms of Tomlin (2006), Management Science 52(5),
contingent rerouting with suppliers that are ready. Optimal, with the right levels, for two suppliers without lead
times of which one is cheaper (the state is then the stock and who is up).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace
from agents.baselines.spans import level_space, renamed
from agents.baselines.switching import StaticSwitching
from envs.sourcing import Supply
from envs.task import Task

__all__ = ["CheapestUp"]


class CheapestUp(StaticSwitching):
    """A level per arc, units, for the whole position of its stock point while the arc is the cheapest that works.

    Prices are those in force. All contracts are qualified and held active from the start on, so that every source is
    ready; one counts as working when it is active and some of its capacity works. What the chosen one cannot take is
    not ordered elsewhere.
    """

    name = "cheapest_up"
    reads = ("price",)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return renamed(level_space(task, outages=True), "level")

    def wanted(self, parameters: NDArray[np.float64], supply: Supply) -> NDArray[np.bool_]:
        return np.ones((len(self.sources.relation_of_contract), 1), dtype=np.bool_)

    def placed(self, parameters: NDArray[np.float64], supply: Supply, moves: NDArray[np.int64]) -> NDArray[np.float64]:
        limits = self.sources.working(supply, self.sources.limits(supply, moves))
        cost, replicas = self.sources.costs(supply), limits.shape[1]
        levels = np.repeat(parameters[:, None], replicas, axis=1) if parameters.ndim == 1 else parameters
        up_to, room = np.zeros((self.sources.stocks, replicas)), np.zeros_like(limits)
        for group, i in zip(self.sequence.groups, self.sequence.destinations, strict=True):
            arcs = np.array(group)
            chosen = np.where(limits[arcs] > 0.0, cost[arcs], np.inf).argmin(axis=0)[None]
            up_to[i] = np.take_along_axis(levels[arcs], chosen, axis=0)[0]
            row = np.zeros((len(arcs), replicas))
            np.put_along_axis(row, chosen, np.take_along_axis(limits[arcs], chosen, axis=0), axis=0)
            room[arcs] = row
        return self.sources.in_turn(up_to, supply, room, cost)
