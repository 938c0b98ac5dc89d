"""Rules that switch among suppliers, on their status or on the risk.

They lie here and not with the classical policies because three parties share them: the classical policy of the same
name, the environment whose zero action it is, and the discrete moves, whose orders follow it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.actions import make_codec
from envs.sourcing import Sources, Supply
from twin.beliefs import OutagePosterior
from twin.contracts import MOVES, STAGES

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["FARTHEST", "SWITCHING_RULES", "TERMS", "RiskRule", "StatusRule", "SwitchingRule"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_KEEP, _QUALIFY = MOVES.index("keep"), MOVES.index("qualify")
_OUTSIDE, _ACTIVE = STAGES.index("outside"), STAGES.index("active")

#: Most periods that the status rule is searched with as patience or recovery.
_LONGEST = 26.0
#: Most periods ahead in which supply is looked for that will be missing.
FARTHEST = 52

#: Parameters of the status rule besides levels, see :class:`StatusRule`.
TERMS = ("surge", "patience", "recovery")


class SwitchingRule(ABC):
    """A rule from what is seen to orders and moves on contracts, with parameters that can be tuned.

    The main supplier of a stock point is that of its cheapest arc at list prices. A backup is any other supplier under
    contract; backups count from the cheapest on.

    Parameters
    ----------
    compiled
        The network.
    sources
        Its sources.

    Attributes
    ----------
    names, start
        Parameters and their usual values: a level for each stock point that is replenished, then what applies to all.
    main_arcs
        Arc of the main supplier, by stock point in deciding order.
    place
        (C,) of each contract among the backups, cheapest first; -1 for a main supplier, which is always wanted.
    backups
        Their number.
    """

    #: Whether it looks at a belief on the outages.
    believes: ClassVar[bool] = False

    names: tuple[str, ...]
    start: FloatArray

    def __init__(self, compiled: CompiledNetwork, sources: Sources) -> None:
        self.sources = sources
        contracts = len(sources.relation_of_contract)
        groups = [np.array(group) for group in sources.sequence.groups]
        self.main_arcs: IntArray = np.array([arcs[np.argmin(sources.landed[arcs])] for arcs in groups], dtype=np.int64)
        main = set(sources.contract_of_arc[self.main_arcs].tolist()) - {-1}
        price = np.full(contracts, np.inf)
        for a, c in enumerate(sources.contract_of_arc):
            if c >= 0:
                price[c] = min(price[c], sources.landed[a])
        backups = [c for c in np.argsort(price, kind="stable").tolist() if c not in main]
        self.place: IntArray = np.full(contracts, -1, dtype=np.int64)
        self.place[backups] = np.arange(len(backups))
        self.backups = len(backups)
        usual = make_codec(compiled, "base_stock")
        farthest = [group[-1] for group in sources.sequence.groups]
        level, self._most = usual.center[farthest], usual.high[farthest]
        self._level = level + (self._most - level) / 4.0
        self._level_names = tuple(f"level[{compiled.stock_names[i]}]" for i in sources.sequence.destinations)

    def _of_backups(self, term: str) -> tuple[str, ...]:
        """A term's names, one for each backup."""
        relations = self.sources.relation_names
        named = {int(k): relations[s] for k, s in zip(self.place, self.sources.relation_of_contract, strict=True)}
        return tuple(f"{term}[{named[k]}]" for k in range(self.backups))

    def of_contracts(self, terms: Sequence[FloatArray] | FloatArray, main: float) -> FloatArray:
        """One number for each contract, (C, 1) or (C, B), from one for each backup; a main supplier's is ``main``."""
        if not self.backups:
            return np.full((len(self.place), 1), main)
        rows = np.asarray(terms, dtype=np.float64).reshape(self.backups, -1)
        return np.where(self.place[:, None] >= 0, rows[self.place], main)

    @abstractmethod
    def plan(self, parameters: FloatArray, supply: Supply) -> tuple[FloatArray, IntArray]:
        """Levels (I, B) that whole positions are raised to now, and moves (S, B).

        Parameters
        ----------
        parameters
            In the order of ``names``, (P,), or (P, B) for replicas that follow different ones.
        supply
            What is seen.
        """

    @abstractmethod
    def room(self, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """The most to order on each arc after the moves, (A, B)."""

    def raised(self, levels: FloatArray, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """Orders (A, B) in units that raise whole positions to ``levels`` (I, B) after the moves, cheapest first."""
        return self.sources.in_turn(levels, supply, self.room(parameters, supply, moves), self.sources.costs(supply))


class StatusRule(SwitchingRule):
    """Order up to a level from the cheapest that can deliver; hold backups active while a main supplier is out.

    A backup is wanted from when a main supplier has been out (below full capacity) for ``wait`` periods, a number for
    each backup, until all have been in full for ``recovery`` periods; in between it stays as it is. A wait below 0 is a
    backup that is always wanted, and one of more than 26 periods one that never is. While a main supplier is out for
    ``patience`` periods nothing is ordered from one that is down, and levels are multiplied by ``surge`` (above 1: more
    is held while it is not known how long that lasts; below: less of what is dear then).

    Parameters
    ----------
    compiled
        The network.
    sources
        Its sources.
    """

    def __init__(self, compiled: CompiledNetwork, sources: Sources) -> None:
        super().__init__(compiled, sources)
        self.names = (*self._level_names, *TERMS, *self._of_backups("wait"))
        each = np.ones(self.backups)
        self.start = np.array([*self._level, 1.0, 1.0, 1.0, *each])
        #: Where a search may look for the parameters.
        self.low: FloatArray = np.array([*np.zeros(len(self._level) + len(TERMS)), *-each])
        self.high: FloatArray = np.array([*(2.0 * self._most), 3.0, _LONGEST, _LONGEST, *(_LONGEST + each)])

    def out(self, supply: Supply, patience: FloatArray | float) -> BoolArray:
        """Whether a main supplier has been out for ``patience`` periods, (B,)."""
        share, since = self.sources.share(supply)[self.main_arcs], self.sources.since(supply)[self.main_arcs]
        return np.asarray(((share < 1.0) & (since >= patience)).any(axis=0))

    def wanted(self, parameters: FloatArray, supply: Supply) -> BoolArray:
        """Which contracts should be active, (C, B)."""
        _, _, recovery, *waits = self._terms(parameters)
        share, since = self.sources.share(supply)[self.main_arcs], self.sources.since(supply)[self.main_arcs]
        lasted = np.where(share < 1.0, since, -1.0).max(axis=0)
        calm = ((share >= 1.0) & (since >= recovery)).all(axis=0)
        wait = self.of_contracts(waits, -1.0)
        out = (lasted >= np.maximum(wait, 0.0)) | (~calm & (supply.stage == _ACTIVE))
        return np.asarray((wait < 0.0) | ((wait <= _LONGEST) & out))

    def moves(self, parameters: FloatArray, supply: Supply) -> IntArray:
        """Moves (S, B) of the rule."""
        return self.sources.toward(supply, self.wanted(parameters, supply))

    def plan(self, parameters: FloatArray, supply: Supply) -> tuple[FloatArray, IntArray]:
        return self.levels(parameters, supply), self.moves(parameters, supply)

    def orders(self, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """Orders (A, B) in units, with the contracts as they are after ``moves`` (S, B)."""
        return self.raised(self.levels(parameters, supply), parameters, supply, moves)

    def levels(self, parameters: FloatArray, supply: Supply) -> FloatArray:
        """Levels (I, B) that whole positions are raised to now."""
        surge, patience, *_ = self._terms(parameters)
        rows = parameters[: len(self.sources.sequence.destinations)]
        return np.where(self.out(supply, patience), surge, 1.0) * self.sources.stock_levels(
            rows, supply.position.shape[1]
        )

    def room(self, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """The most to order on each arc, (A, B): nothing from one that is down when its outage counts."""
        _, patience, *_ = self._terms(parameters)
        limits = self.sources.limits(supply, moves)
        closed = (self.sources.share(supply) == 0.0) & self.out(supply, patience)
        return np.where(closed, 0.0, limits)

    def _terms(self, parameters: FloatArray) -> FloatArray:
        """The terms that apply to all stock points, (n,) or (n, B)."""
        return np.asarray(parameters[len(self.sources.sequence.destinations) :])


class RiskRule(SwitchingRule):
    """Backups when the belief on the outages ahead says that enough supply will be missing; stock for a part of it.

    A level per stock point, units; then what applies to all. The supply that will be missing at a stock point is the
    expected part of its main source's capacity that will not work, added up over this period and the following ones: so
    many periods of supply.

    ``horizon``
        Periods that are added up, this one included.
    ``cover``
        Units that are held above the level for each unit of expected demand in periods of missing supply (below 0:
        less is held then, because what there is is dear).

    And where there are contracts of backups:

    ``release``
        An active backup stays until what is missing is less than this part of its threshold everywhere.
    ``prepare``
        Backups are qualified so many periods of missing supply before their thresholds, so that they are ready.
    ``threshold``, one for each backup
        From so many periods of missing supply on, at any stock point, it is wanted: always from 0.

    Orders go to the cheapest sources that work, at the prices in force.

    Attributes
    ----------
    exposed
        Places in deciding order of the stock points whose main source may fail and that have others.
    """

    believes = True

    def __init__(self, compiled: CompiledNetwork, sources: Sources) -> None:
        super().__init__(compiled, sources)
        terms = ("release", "prepare", *self._of_backups("threshold")) if self.backups else ()
        self.names = (*self._level_names, "horizon", "cover", *terms)
        usual = (0.5, 0.0, *np.ones(self.backups)) if self.backups else ()
        self.start = np.array([*self._level, 8.0, 0.0, *usual])
        self.posterior = OutagePosterior(compiled)
        groups = sources.sequence.groups
        self.exposed = [
            k
            for k, (group, main) in enumerate(zip(groups, self.main_arcs.tolist(), strict=True))
            if len(group) > 1 and any(self.posterior.behind[r] for r in sources.used[main])
        ]
        self._mains = self.main_arcs[self.exposed]
        self._together = [sources.used[a].tolist() for a in self._mains]
        self._rate = compiled.demand_rate[list(sources.sequence.destinations)]

    def missing(self, supply: Supply, horizon: FloatArray | float) -> FloatArray:
        """Periods of supply that will be missing, (stock points, B) in deciding order.

        Parameters
        ----------
        supply
            What is seen, with a belief.
        horizon
            Periods that are added up, for all replicas or (B,).
        """
        replicas, worlds = supply.position.shape[1], supply.belief.shape[1]
        out = np.zeros((len(self.sources.sequence.groups), replicas))
        if self.exposed:
            now = self.sources.share(supply)[self._mains, :worlds]
            ahead = self.posterior.expected(supply.belief, FARTHEST - 1, self._together)
            total = np.cumsum(1.0 - np.concatenate([now[None], ahead]), axis=0)
            last = np.clip(np.rint(np.broadcast_to(horizon, replicas)), 1, FARTHEST).astype(np.int64) - 1
            out[self.exposed] = total[last, :, np.arange(replicas) % worlds].T
        return out

    def plan(self, parameters: FloatArray, supply: Supply) -> tuple[FloatArray, IntArray]:
        places = len(self.sources.sequence.groups)
        missing = self.missing(supply, parameters[places])
        covered = parameters[places + 1] * self._rate[:, None] * missing
        base = parameters[:places] if parameters.ndim == 2 else parameters[:places, None]
        levels = self.sources.stock_levels(base + covered, missing.shape[1])
        return levels, self._moves(parameters[places + 2 :], supply, missing.max(axis=0))

    def _moves(self, terms: FloatArray, supply: Supply, missing: FloatArray) -> IntArray:
        if not self.backups:
            return self.sources.toward(supply, np.ones((len(supply.stage), 1), dtype=np.bool_))
        release, prepare, *thresholds = terms
        threshold = self.of_contracts(thresholds, 0.0)
        stay = (missing >= release * threshold) & (supply.stage == _ACTIVE)
        moves = self.sources.toward(supply, (missing >= threshold) | stay)
        ready = (missing >= threshold - prepare) & (supply.stage == _OUTSIDE)
        rows = self.sources.relation_of_contract
        moves[rows] = np.where(ready & (moves[rows] == _KEEP), _QUALIFY, moves[rows])
        return moves

    def room(self, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """The most to order on each arc, (A, B): nothing from one that is down where there are others."""
        return self.sources.working(supply, self.sources.limits(supply, moves))


#: The rules by name.
SWITCHING_RULES: dict[str, type[SwitchingRule]] = {"status": StatusRule, "risk": RiskRule}
