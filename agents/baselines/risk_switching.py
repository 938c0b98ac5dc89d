"""Switching on risk: backups when the belief on the outages ahead says that enough supply will be missing.

A status rule waits to see how long an outage lasts. This one weighs what the laws of the network say of it: how long an
outage goes on that has lasted so far, whether a warning is true, which cause it is and when windows begin
(:mod:`agents.baselines.outage_posterior`). With geometric outages and no warning the time since the onset says nothing,
and it acts at once or never; with outages that are short mostly and sometimes long, it is patient of itself.
What knowing the risk is worth: Saghafian & Van Oyen (2012), "The value of flexible backup suppliers and disruption
risk information: newsvendor analysis with recourse", IIE Transactions 44(10):834-867.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, ParameterSpace
from agents.baselines.outage_posterior import OutagePosterior, outages_unfit
from agents.baselines.reading import Reading
from agents.baselines.spans import joined, single, stock_space
from agents.baselines.switching import SwitchingPolicy
from envs.sourcing import Sources, StatusRule, Supply
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.contracts import MOVES, STAGES

__all__ = ["RiskSwitching"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_OUTSIDE, _ACTIVE = STAGES.index("outside"), STAGES.index("active")
_QUALIFY, _KEEP = MOVES.index("qualify"), MOVES.index("keep")

#: Most periods ahead in which supply is looked for that will be missing.
_FARTHEST = 52


class RiskSwitching(SwitchingPolicy):
    """A level per stock point, units; then what applies to all.

    The supply that will be missing at a stock point is the expected part of its main source's capacity that will not
    work, added up over this period and the following ones: so many periods of supply. The main source is that of the
    cheapest arc at list prices.

    ``horizon``
        Periods that are added up, this one included.
    ``cover``
        Units that are held above the level for each unit of expected demand in periods of missing supply (below 0:
        less is held then, because what there is is dear).

    And where there are contracts of backups:

    ``threshold``
        From so many periods of missing supply on, at any stock point, backups are wanted;
    ``release``
        until it is less than this part of the threshold everywhere. In between active ones stay.
    ``prepare``
        From this part of the threshold on they are qualified, so that they are ready.
    ``breadth``, ``standing``
        Of the backups, cheapest first, so many are wanted then, and so many always.

    Orders go to the cheapest sources that work, at the prices in force.
    """

    name = "risk_switching"
    reads = ("since", "warning", "price")

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.posterior = OutagePosterior(task.compiled)
        listed = len(task.compiled.network.resources)
        self._listed = slice(listed)
        #: Places in deciding order of the stock points whose main source may fail and that have others.
        self.exposed = [
            k
            for k, (group, main) in enumerate(zip(self.sequence.groups, self.rule.main_arcs.tolist(), strict=True))
            if len(group) > 1 and any(self.posterior.behind[r] for r in self.sources.used[main])
        ]
        self._mains = self.rule.main_arcs[self.exposed]
        self._together = [self.sources.used[a].tolist() for a in self._mains]

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        return super().unfit(compiled) or outages_unfit(compiled)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        backups = float(StatusRule(task.compiled, Sources(task.compiled)).backups)
        parts = [
            stock_space(task),
            single("horizon", 1.0, 8.0, float(_FARTHEST), whole=True),
            single("cover", -2.0, 0.0, 2.0),
        ]
        if backups:
            parts += [
                single("threshold", 0.02, 1.0, float(_FARTHEST)),
                single("release", 0.0, 0.5, 1.0),
                single("prepare", 0.0, 0.5, 1.0),
                single("breadth", 0.0, backups, backups, few=True),
                single("standing", 0.0, 0.0, backups, few=True),
            ]
        return joined(parts)

    # -- the belief -----------------------------------------------------------------------------------------------

    def begin(self, reading: Reading) -> Memory | None:
        return (self.posterior.begin(self._past(reading)),)

    def _past(self, reading: Reading) -> FloatArray:
        return reading.since[self._listed, : reading.worlds]

    def missing(self, belief: FloatArray, supply: Supply, horizon: FloatArray | float) -> FloatArray:
        """Periods of supply that will be missing, (stock points, B) in deciding order.

        Parameters
        ----------
        belief
            (N, worlds) of now; replicas beyond the worlds are copies of them.
        supply
            Of all replicas.
        horizon
            Periods that are added up, for all replicas or (B,).
        """
        replicas, worlds = supply.position.shape[1], belief.shape[1]
        out = np.zeros((len(self.sequence.groups), replicas))
        if self.exposed:
            now = self.sources.share(supply)[self._mains, :worlds]
            ahead = self.posterior.expected(belief, _FARTHEST - 1, self._together)
            total = np.cumsum(1.0 - np.concatenate([now[None], ahead]), axis=0)
            last = np.clip(np.rint(np.broadcast_to(horizon, replicas)), 1, _FARTHEST).astype(np.int64) - 1
            out[self.exposed] = total[last, :, np.arange(replicas) % worlds].T
        return out

    # -- the rule -------------------------------------------------------------------------------------------------

    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, IntArray | None, Memory | None]:
        (belief,) = (self.posterior.begin(self._past(reading)),) if memory is None else memory
        supply, seen = self.supply(reading), (self._listed, slice(reading.worlds))
        belief = self.posterior.seen(belief, supply.availability[seen], reading.warning[seen], self._past(reading))
        places = len(self.sequence.groups)
        missing = self.missing(belief, supply, parameters[places])
        moves = self._moved(parameters[places + 2 :], supply, missing.max(axis=0))
        orders = self._placed(parameters, supply, moves, missing)
        return orders, moves if len(moves) else None, (self.posterior.after(belief),)

    def _moved(self, terms: FloatArray, supply: Supply, missing: FloatArray) -> IntArray:
        if not self.rule.backups:
            return self.sources.toward(supply, np.ones((len(supply.stage), 1), dtype=np.bool_))
        threshold, release, prepare, breadth, standing = terms
        place = self.rule.place[:, None]
        stay = (missing >= release * threshold) & (supply.stage == _ACTIVE)
        wanted = (place < standing) | ((place < breadth) & ((missing >= threshold) | stay))
        moves = self.sources.toward(supply, wanted)
        ready = (place < breadth) & (missing >= prepare * threshold) & (supply.stage == _OUTSIDE)
        rows = self.sources.relation_of_contract
        moves[rows] = np.where(ready & (moves[rows] == _KEEP), _QUALIFY, moves[rows])
        return moves

    def _placed(self, parameters: FloatArray, supply: Supply, moves: IntArray, missing: FloatArray) -> FloatArray:
        places = len(self.sequence.groups)
        rate = self.compiled.demand_rate[list(self.sequence.destinations)]
        covered = parameters[places + 1] * rate[:, None] * missing
        base = parameters[:places] if parameters.ndim == 2 else parameters[:places, None]
        room = self.working(supply, self.sources.limits(supply, moves))
        levels = self.stock_levels(base + covered, missing.shape[1])
        return self.sources.in_turn(levels, supply, room, self.sources.costs(supply))
