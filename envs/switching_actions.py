"""Codecs of supplier switching: from an action to orders and moves.

They decode only. What an action comes to depends on the state (which suppliers are up, where contracts stand), so that
there is no action for given orders in general; classical policies act in the mode ``orders``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.actions import Codec, make_codec
from envs.sourcing import Sources, Supply
from envs.switching_rules import SwitchingRule
from twin.contracts import MOVES
from twin.errors import ActionError

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork
    from twin.engine import Twin

__all__ = ["SWITCHING_MODES", "MixCodec", "MoveCodec", "OrdersAndMovesCodec", "SwitchingCodec", "SwitchingMode"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SwitchingMode = Literal["mix", "moves", "orders"]
SWITCHING_MODES: tuple[SwitchingMode, ...] = get_args(SwitchingMode)

#: From here on a number between -1 and 1 is a wish for a move.
_WISH = 1.0 / 3.0
_KEEP, _EXPEDITE = MOVES.index("keep"), MOVES.index("expedite")


@dataclass(frozen=True)
class SwitchingCodec(Codec):
    """Orders and moves from actions.

    Attributes
    ----------
    center, low, high
        Shape (I,), units: levels of the stock points, by themselves and at both ends of the box.
    rule, parameters
        The rule that actions correct or follow.
    notches
        Multiples of the levels that a discrete action may choose.
    expedites
        Relations that have an arc which can be expedited.
    """

    rule: SwitchingRule
    parameters: FloatArray
    notches: tuple[float, ...]
    expedites: IntArray

    @classmethod
    def make(
        cls,
        compiled: CompiledNetwork,
        rule: SwitchingRule,
        parameters: FloatArray,
        *,
        residual_scale: float,
        notches: tuple[float, ...],
    ) -> Self:
        """The codec of a network; see :class:`envs.switching.SupplierSwitchingEnv` for the arguments."""
        if not 0.0 < residual_scale < np.inf:
            raise ActionError(f"residual_scale must be a finite number above 0, received {residual_scale}")
        if not notches or not all(0.0 < notch < np.inf for notch in notches):
            raise ActionError(f"notches must be finite numbers above 0, at least one of them, received {notches}")
        levels, reach = np.zeros(compiled.n_stocks), np.ones(compiled.n_stocks)
        usual = make_codec(compiled, "base_stock")
        groups, places = rule.sources.sequence.groups, list(rule.sources.sequence.destinations)
        levels[places] = parameters[: len(places)]
        farthest = [group[-1] for group in groups]
        reach[places] = residual_scale * (usual.high - usual.center)[farthest]
        rules = compiled.relations.rules
        can = [rules.arc_periods[rules.arc_ptr[s] : rules.arc_ptr[s + 1]].any() for s in range(rule.sources.relations)]
        expedites = np.flatnonzero(can).astype(np.int64)
        return cls(levels, levels - reach, levels + reach, rule, parameters, notches, expedites)

    @property
    def sources(self) -> Sources:
        """The sources of the network."""
        return self.rule.sources

    @property
    def up_to(self) -> bool:
        return False

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each number of a Box action, or each value of a discrete one, means."""

    @abstractmethod
    def space(self) -> spaces.Space[Any]:
        """The action space."""

    @abstractmethod
    def decide(self, action: NDArray[Any], supply: Supply) -> tuple[FloatArray, IntArray]:
        """Orders (A, B) in units and moves (S, B) of a batch of actions (B, ...)."""

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        """Which discrete actions are possible now, (B, n); None where the action is not discrete."""
        return None

    def targets(self, action: NDArray[Any]) -> FloatArray:
        raise ActionError(f"what an action of the mode '{self.mode}' comes to depends on the state of the network")

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        raise ActionError(f"no action of the mode '{self.mode}' stands for given orders (allowed: 'orders')")


class MixCodec(SwitchingCodec):
    """Box[-1, 1]: corrections of the rule: levels, shares, contracts, expediting."""

    mode = "mix"

    @cached_property
    def _shared(self) -> IntArray:
        """Arcs into stock points that have several."""
        return np.array([a for group in self.sources.sequence.groups if len(group) > 1 for a in group], dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        stocks, arcs, relations = self.sources.stock_names, self.sources.arc_names, self.sources.relation_names
        return (
            *(f"level[{stocks[i]}]" for i in self.sources.sequence.destinations),
            *(f"share[{arcs[a]}]" for a in self._shared),
            *(f"contract[{relations[s]}]" for s in self.sources.relation_of_contract),
            *(f"expedite[{relations[s]}]" for s in self.expedites),
        )

    def space(self) -> spaces.Space[Any]:
        return spaces.Box(-1.0, 1.0, (len(self.names),), dtype=np.float32)

    def decide(self, action: NDArray[Any], supply: Supply) -> tuple[FloatArray, IntArray]:
        sources, rule = self.sources, self.rule
        places, contracts = list(sources.sequence.destinations), len(sources.relation_of_contract)
        values = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0).T
        ends = np.cumsum([len(places), len(self._shared), contracts])
        level, share, wish, hurry = np.split(values, ends)
        levels, moves = rule.plan(self.parameters, supply)
        rows = sources.relation_of_contract
        moves[rows] = np.where(np.abs(wish) > _WISH, sources.toward(supply, wish > 0.0)[rows], moves[rows])
        hurried = moves[self.expedites]
        moves[self.expedites] = np.where((hurry > _WISH) & (hurried == _KEEP), _EXPEDITE, hurried)
        levels[places] += level * (self.high - self.center)[places, None]
        by_rule = sources.in_turn(levels, supply, rule.room(self.parameters, supply, moves), sources.costs(supply))
        weights = sources.shares(by_rule)
        weights[self._shared] = np.maximum(weights[self._shared] + share, 0.0)
        return sources.mixed(levels, supply, sources.limits(supply, moves), weights), moves


class MoveCodec(SwitchingCodec):
    """Discrete: the moves of the rule, or none, or one on one supplier; and which notch of the levels."""

    mode = "moves"

    @cached_property
    def _moves(self) -> tuple[tuple[int, int], ...]:
        """(relation, move) of every choice but the first two, which follow the rule and keep all."""
        contracts = set(self.sources.relation_of_contract.tolist())
        return tuple(
            (s, move)
            for s in range(self.sources.relations)
            for move in range(1, len(MOVES))
            if (s in self.expedites if move == _EXPEDITE else s in contracts)
        )

    @property
    def names(self) -> tuple[str, ...]:
        relations = self.sources.relation_names
        moves = ("follow", "keep", *(f"{MOVES[move]}[{relations[s]}]" for s, move in self._moves))
        if len(self.notches) == 1:
            return moves
        return tuple(f"{move} x {notch:g}" for notch in self.notches for move in moves)

    def space(self) -> spaces.Space[Any]:
        return spaces.Discrete(len(self.names))

    def decide(self, action: NDArray[Any], supply: Supply) -> tuple[FloatArray, IntArray]:
        sources = self.sources
        notch, choice = np.divmod(np.asarray(action, dtype=np.int64).reshape(-1), len(self._moves) + 2)
        levels, moves = self.rule.plan(self.parameters, supply)
        moves[:, choice > 0] = _KEEP
        for k, (s, move) in enumerate(self._moves, start=2):
            moves[s, choice == k] = move
        levels = levels * np.asarray(self.notches)[notch]
        # What waits at a supplier that is down is not what a planner who switches wants.
        room = np.where(sources.share(supply) > 0.0, sources.limits(supply, moves), 0.0)
        return sources.in_turn(levels, supply, room, sources.costs(supply)), moves

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        return self.masked(twin.allowed_moves())

    def masked(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which actions are possible, (B, n), where the moves ``allowed`` (S, moves, B) are."""
        always = np.ones((2, allowed.shape[-1]), dtype=np.bool_)
        some = [allowed[s, move][None] for s, move in self._moves]
        return np.tile(np.concatenate([always, *some]).T, (1, len(self.notches)))


class OrdersAndMovesCodec(SwitchingCodec):
    """Box: the units on every arc, then the code of a move for every relation, as rules say them."""

    mode = "orders"

    @property
    def names(self) -> tuple[str, ...]:
        arcs, relations = self.sources.arc_names, self.sources.relation_names
        return (*(f"order[{name}]" for name in arcs), *(f"move[{name}]" for name in relations))

    def space(self) -> spaces.Space[Any]:
        high = np.repeat([np.inf, len(MOVES) - 1.0], [len(self.sources.arc_names), self.sources.relations])
        return spaces.Box(np.zeros(len(high)), high, dtype=np.float64)

    def decide(self, action: NDArray[Any], supply: Supply) -> tuple[FloatArray, IntArray]:
        values = np.asarray(action, dtype=np.float64).T
        arcs = len(self.sources.arc_names)
        return np.maximum(values[:arcs], 0.0), np.rint(values[arcs:]).astype(np.int64)

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        """Orders (A,) or (A, B), which keep all contracts, or orders and moves (A + S, ...)."""
        values = np.maximum(np.asarray(targets, dtype=np.float64), 0.0)
        missing = len(self.names) - len(values)
        return np.concatenate([values, np.full((missing, *values.shape[1:]), float(_KEEP))]).T
