"""What is only decided on the network itself: switching among suppliers, echelon levels, classical rules.

The network of a bundle is compiled for it (no engine, no numba); the codecs and rules are those of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.baselines.observed import Columns
from agents.baselines.ordering import OrderingPolicy
from agents.bundle_belief import Belief
from agents.bundle_policy import Choice, Decoder
from agents.bundle_spec import COMPUTED, SCALED, Spec
from agents.registry import baseline, load_class
from envs.actions import Codec, make_codec
from envs.echelon import EchelonRule
from envs.features import Field
from envs.sourcing import Sources
from envs.switching_actions import MixCodec, MoveCodec, OrdersAndMovesCodec, SwitchingCodec
from envs.switching_rules import SWITCHING_RULES, StatusRule
from twin.compile import CompiledNetwork
from twin.contracts import MOVES, STAGES
from twin.errors import ActionError, BundleError, ConfigError

__all__ = ["Problem", "belief_of", "decoder_of", "rule_of", "switching_data"]

FloatArray = NDArray[np.float64]

#: What a unit under way must at least be to be moved forward: below is rounding.
_SLACK = 1e-9


@dataclass(frozen=True)
class Problem:
    """As much of a task as decoding and classical rules look at."""

    compiled: CompiledNetwork
    fields: tuple[Field, ...]
    codec: Codec
    horizon: int
    finite: bool

    @classmethod
    def of(cls, spec: Spec, compiled: CompiledNetwork) -> Problem:
        """Of a bundle; its actions are orders, and moves where there are contracts."""
        codec = make_codec(compiled, "orders")
        if compiled.relation_names:
            rule = StatusRule(compiled, Sources(compiled))
            codec = OrdersAndMovesCodec.make(compiled, rule, rule.start, residual_scale=0.5, notches=(1.0,))
        return cls(compiled, spec.fields, codec, spec.horizon, spec.finite)


def rule_of(arch: Mapping[str, Any], parameters: NDArray[Any], spec: Spec, compiled: CompiledNetwork) -> OrderingPolicy:
    """The classical policy that ``arch`` names, with its parameters in the order of ``arch['parameters']``.

    Raises
    ------
    BundleError
        Where there is no such policy, it does not fit the observation, or has other parameters.
    """
    problem: Any = Problem.of(spec, compiled)
    try:
        kind = load_class(baseline(str(arch["policy"])).path)
        names = tuple(kind.space(problem).names)
        if list(names) != list(arch["parameters"]):
            raise BundleError(f"arch.json names other parameters than the policy '{arch['policy']}' has here")
        rule: OrderingPolicy = kind(problem, np.asarray(parameters, dtype=np.float64))
    except (ActionError, ConfigError) as error:
        raise BundleError(f"the policy '{arch['policy']}' cannot be run from a bundle: {error}") from None
    return rule


def belief_of(spec: Spec, compiled: CompiledNetwork) -> Belief | None:
    """Who keeps the belief that the observation or the rule behind the actions looks at; None where neither does."""
    shown = any(field.name.startswith(COMPUTED) for field in spec.fields)
    if not shown and not (spec.switching is not None and SWITCHING_RULES[spec.switching["base"]].believes):
        return None
    problem: Any = Problem.of(spec, compiled)
    try:
        return Belief(Columns(problem))
    except ActionError as error:
        raise BundleError(f"no belief on the outages from this observation: {error}") from None


def decoder_of(spec: Spec, compiled: CompiledNetwork) -> Decoder | None:
    """What decodes the actions of a mode; None where the spec alone does.

    Raises
    ------
    BundleError
        Where the observation does not show what decoding takes, or the spec is of another network.
    """
    if spec.mode in SCALED:
        return None
    problem: Any = Problem.of(spec, compiled)
    try:
        return _Echelon(problem, spec) if spec.mode == "echelon" else _Switching(problem, spec)
    except (ActionError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(f"the actions of the mode '{spec.mode}' cannot be decoded: {error}") from None


def switching_data(codec: SwitchingCodec) -> dict[str, Any]:
    """A switching codec as plain data."""
    base = next(name for name, kind in SWITCHING_RULES.items() if type(codec.rule) is kind)
    stocks = codec.sources.stock_names
    levels = {key: dict(zip(stocks, getattr(codec, key).tolist(), strict=True)) for key in ("low", "center", "high")}
    return {
        "base": base,
        "parameters": dict(zip(codec.rule.names, np.asarray(codec.parameters).tolist(), strict=True)),
        "levels": levels,
        "notches": list(codec.notches),
        "expedites": [codec.sources.relation_names[s] for s in codec.expedites],
        "choices": list(codec.names),
    }


def _codec(data: Mapping[str, Any], mode: str, compiled: CompiledNetwork) -> SwitchingCodec:
    sources = Sources(compiled)
    rule = SWITCHING_RULES[data["base"]](compiled, sources)
    if list(rule.names) != list(data["parameters"]):
        raise BundleError("spec.json names other parameters than the rule has on this network")
    center, low, high = (
        np.array([data["levels"][key][name] for name in sources.stock_names]) for key in ("center", "low", "high")
    )
    parameters = np.array(list(data["parameters"].values()), dtype=np.float64)
    expedites = np.array([sources.relation_names.index(name) for name in data["expedites"]], dtype=np.int64)
    kinds: dict[str, type[SwitchingCodec]] = {"mix": MixCodec, "moves": MoveCodec, "orders": OrdersAndMovesCodec}
    codec = kinds[mode](center, low, high, rule, parameters, tuple(data["notches"]), expedites)
    if list(codec.names) != list(data["choices"]):
        raise BundleError("spec.json names other choices than the action has on this network")
    return codec


class _Switching:
    """Corrections of a rule, or moves: orders and moves on contracts."""

    def __init__(self, problem: Any, spec: Spec) -> None:
        if spec.switching is None:
            raise BundleError(f"spec.json says nothing of the rule behind the mode '{spec.mode}'")
        self.compiled: CompiledNetwork = problem.compiled
        self.codec = _codec(spec.switching, spec.mode, self.compiled)
        self._columns = Columns(problem)
        for group in ("position", "availability", "since", "price", "clock"):
            self._columns.rows(group)
        self._columns.stages()
        if len(self.codec.expedites) and spec.mode == "moves":
            self._columns.rows("in_transit")

    def decode(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None) -> Choice:
        """See :class:`agents.bundle_policy.Decoder`."""
        supply = self._columns.read(values).supply
        if belief is not None:
            supply = supply._replace(belief=belief)
        orders, moves = self.codec.decide(action, supply)
        return Choice(action, orders, orders, moves)

    def masks(self, values: FloatArray) -> NDArray[np.bool_] | None:
        """See :class:`agents.bundle_policy.Decoder`."""
        if not isinstance(self.codec, MoveCodec):
            return None
        return self.codec.masked(self._allowed(values))

    def _allowed(self, values: FloatArray) -> NDArray[np.bool_]:
        """Which moves are possible, (S, moves, B), as :meth:`twin.engine.Twin.allowed_moves` says of a twin."""
        reading, rules = self._columns.read(values), self.compiled.relations.rules
        out = np.zeros((len(self.compiled.relation_names), len(MOVES), len(values)), dtype=np.bool_)
        out[:, MOVES.index("keep")] = True
        for move, stage in (("qualify", "outside"), ("activate", "qualified"), ("deactivate", "active")):
            out[rules.relation, MOVES.index(move)] = reading.stage == STAGES.index(stage)
        for s in self.codec.expedites:
            places = np.arange(rules.arc_ptr[s], rules.arc_ptr[s + 1])
            arcs = rules.arc[places][rules.arc_periods[places] > 0]
            out[s, MOVES.index("expedite")] = (reading.in_transit[arcs] >= _SLACK).any(axis=0)
        return out


class _Echelon:
    """Safety amounts on top of the demand that an order covers."""

    def __init__(self, problem: Any, spec: Spec) -> None:
        if spec.codec is None:
            raise BundleError("spec.json says nothing of the safety amounts")
        self._codec, self._rule, self._columns = spec.codec, EchelonRule(problem.compiled), Columns(problem)
        self._columns.rows("position")
        self._columns.expected(self._rule.window)
        if problem.finite:
            self._columns.periods_left()

    def decode(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None) -> Choice:
        """See :class:`agents.bundle_policy.Decoder`."""
        reading, safety = self._columns.read(values), self._codec.targets(action)
        covered = self._rule.covered(reading.expected(self._rule.window), reading.periods_left)
        return Choice(action, safety, self._rule.orders(safety, reading.position, *covered))

    def masks(self, values: FloatArray) -> NDArray[np.bool_] | None:
        """All actions are possible."""
        return None
