"""A loaded policy as one that chooses: observed values in, action, orders and moves out, and what it must remember.

Values are float64 in the order of the fields: the network looks at them as float32, as in training, while orders count
from the positions as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.bundle_spec import SCALED, Spec
from agents.runtime import Mlp, Net
from agents.runtime_arcs import ArcNet
from envs.actions import NOTCHES
from twin.errors import BundleError, did_you_mean

if TYPE_CHECKING:
    from agents.baselines.ordering import OrderingPolicy
    from agents.bundle_belief import Belief
    from twin.compile import CompiledNetwork

__all__ = [
    "KINDS",
    "Choice",
    "Chooser",
    "Decoder",
    "Memory",
    "NetChooser",
    "RuleChooser",
    "ScaledDecoder",
    "chooser_of",
]

#: What ``arch.json`` may describe: dense layers, one network for all arcs, or a classical policy.
KINDS = ("layers", "arcs", "rule")

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
#: What a policy carries from one period to the next: arrays with the replicas last.
Memory = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Choice:
    """What a policy chooses for B observations.

    Attributes
    ----------
    action
        (B, ...) as the policy gives it.
    targets
        (A, B) levels, quantities or safety amounts that the orders come from; the orders themselves for a rule.
    orders
        (A, B) units, before minimum, lots, maximum and limits.
    moves
        (S, B) positions among the spec's moves; None where it decides orders alone.
    memory
        For the next period; empty where it remembers nothing.
    """

    action: NDArray[Any]
    targets: FloatArray
    orders: FloatArray
    moves: NDArray[np.int64] | None = None
    memory: Memory = ()

    @property
    def plain_action(self) -> tuple[float, ...] | int:
        """The action of the first observation as plain numbers."""
        first = self.action[0]
        return int(first) if self.action.ndim == 1 else tuple(float(x) for x in first)


class Chooser(Protocol):
    """A policy of a bundle. Methods take values (B, n) of float64, and a memory where the policy has one."""

    #: Whether it heeds masks of the actions that are possible.
    masked: bool

    @property
    def remembers(self) -> bool:
        """Whether it carries a memory from period to period."""
        ...

    def begin(self, values: FloatArray) -> Memory:
        """The memory with which an episode begins; empty where there is none."""
        ...

    def choose(self, values: FloatArray, memory: Memory | None = None, masks: BoolArray | None = None) -> Choice:
        """Decide; a memory of None begins anew.

        Raises
        ------
        FloatingPointError
            When the network gives a number that is not finite.
        BundleError
            When a mask leaves no action.
        """
        ...

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Memory | None = None) -> Choice:
        """What a given action comes to."""
        ...


class Decoder(Protocol):
    """From actions to orders."""

    def decode(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None) -> Choice:
        """Orders and moves of actions (B, ...) at values (B, n)."""
        ...

    def masks(self, values: FloatArray) -> BoolArray | None:
        """Which discrete actions are possible (B, n), as far as the values say; None where all are."""
        ...


class ScaledDecoder:
    """For action modes of which the spec says everything: a scale per arc and an order sequence."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        up_to = spec.codec is not None and spec.codec.up_to
        self._columns = spec.position_columns() if up_to else None

    def decode(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None) -> Choice:
        """See :class:`Decoder`."""
        position = np.zeros((self._spec.arcs, len(values))) if self._columns is None else values[:, self._columns].T
        return Choice(action, *self._spec.decode(action, position))

    def masks(self, values: FloatArray) -> BoolArray | None:
        """All actions are possible."""
        return None


class NetChooser:
    """A network, what decodes its actions, and the belief that it looks at.

    Parameters
    ----------
    net
        Raw observations in, actions out.
    decoder
        Of its actions.
    belief
        Keeps a belief on the outages; None where neither the observation nor the decoder looks at one.
    """

    def __init__(self, net: Net, decoder: Decoder, belief: Belief | None = None) -> None:
        self.net, self.decoder, self.belief = net, decoder, belief
        self.masked = net.masked

    @property
    def remembers(self) -> bool:
        """Whether it keeps a belief."""
        return self.belief is not None

    def begin(self, values: FloatArray) -> Memory:
        """See :class:`Chooser`."""
        return () if self.belief is None else self.belief.begin(values)

    def choose(self, values: FloatArray, memory: Memory | None = None, masks: BoolArray | None = None) -> Choice:
        """See :class:`Chooser`."""
        values, belief, after = self._seen(values, memory)
        scores = self.net.scores(values)
        if not np.isfinite(scores).all():
            raise FloatingPointError("the policy gives a NaN or an infinite number for this state")
        if masks is None and self.masked:
            masks = self.decoder.masks(values)
        return self._decoded(self.net.head_of(scores, masks), values, belief, after)

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Memory | None = None) -> Choice:
        """See :class:`Chooser`."""
        return self._decoded(action, *self._seen(values, memory))

    def _decoded(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None, after: Memory) -> Choice:
        found = self.decoder.decode(action, values, belief)
        return Choice(found.action, found.targets, found.orders, found.moves, after)

    def _seen(self, values: FloatArray, memory: Memory | None) -> tuple[FloatArray, FloatArray | None, Memory]:
        return (values, None, ()) if self.belief is None else self.belief.see(values, memory)


class RuleChooser:
    """A classical policy: the rule of the registry itself, on the network that travels with the bundle."""

    masked = False

    def __init__(self, rule: OrderingPolicy) -> None:
        self.rule = rule
        self._moves = bool(rule.compiled.relation_names)
        self._arcs = rule.compiled.n_arcs
        probe = rule.begin(rule.columns.read(np.zeros((1, len(rule.task.fields)))))
        self._remembers = probe is not None

    @property
    def remembers(self) -> bool:
        """Whether the rule has a memory."""
        return self._remembers

    def begin(self, values: FloatArray) -> Memory:
        """See :class:`Chooser`."""
        return self.rule.begin(self.rule.columns.read(values)) or ()

    def choose(self, values: FloatArray, memory: Memory | None = None, masks: BoolArray | None = None) -> Choice:
        """See :class:`Chooser`; the action is the orders, then the moves."""
        reading = self.rule.columns.read(values)
        orders, moves, after = self.rule.decide(self.rule.parameters, reading, memory or self.rule.begin(reading))
        if not np.isfinite(orders).all():
            raise FloatingPointError("the policy gives a NaN or an infinite number for this state")
        orders = np.maximum(orders, 0.0)
        if self._moves and moves is None:
            moves = np.zeros((len(self.rule.compiled.relation_names), orders.shape[1]), dtype=np.int64)
        action = orders if moves is None else np.concatenate([orders, moves])
        return Choice(action.T, orders, orders, moves, () if after is None else after)

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Memory | None = None) -> Choice:
        """See :class:`Chooser`."""
        orders = action.T[: self._arcs]
        moves = np.rint(action.T[self._arcs :]).astype(np.int64) if self._moves else None
        return Choice(action, orders, orders, moves)


def chooser_of(
    arch: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    spec: Spec,
    network: Callable[[], CompiledNetwork],
) -> Chooser:
    """The policy that ``arch.json`` and the arrays of ``weights.npz`` describe, with what makes orders of its actions.

    Parameters
    ----------
    network
        Gives the compiled network; called only where the policy needs it.

    Raises
    ------
    BundleError
        When they do not fit each other, or the spec.
    """
    kind = arch.get("kind", "layers")
    try:
        if kind == "rule":
            if set(arch) != {"kind", "policy", "parameters"} or set(weights) != {"parameters"}:
                raise BundleError("arch.json must hold kind, policy and parameters, and weights.npz the parameters")
            if spec.routing is not None:
                from agents.bundle_routing import RoutingRuleChooser

                return RoutingRuleChooser(str(arch["policy"]), spec, network())
            from agents.bundle_decoders import rule_of

            return RuleChooser(rule_of(arch, weights["parameters"], spec, network()))
        if kind not in KINDS:
            raise BundleError(
                f"arch.json: no kind '{kind}' (allowed: {', '.join(KINDS)}){did_you_mean(str(kind), KINDS)}"
            )
        net: Mlp | ArcNet = Mlp.build(arch, weights) if kind == "layers" else ArcNet.build(arch, weights)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"arch.json is incomplete: {type(error).__name__} {error}") from None
    if spec.routing is not None:
        from agents.bundle_routing import RoutingChooser

        return RoutingChooser(net, spec, network())
    outputs = spec.arcs
    if spec.mode == "discrete":
        outputs = NOTCHES
    elif spec.switching is not None:
        outputs = len(spec.switching.get("choices", ()))
    discrete = spec.mode in ("discrete", "moves")
    if net.inputs != len(spec.fields) or net.outputs != outputs or net.discrete != discrete:
        raise BundleError(
            f"arch.json ({net.inputs} inputs, {net.outputs} outputs, {'discrete' if net.discrete else 'continuous'}) "
            f"does not fit spec.json ({len(spec.fields)} fields, {outputs} outputs, action mode '{spec.mode}')"
        )
    if spec.mode in SCALED and len(spec.required) == len(spec.fields):
        return NetChooser(net, ScaledDecoder(spec))
    from agents.bundle_decoders import belief_of, decoder_of

    decoder = decoder_of(spec, network())
    return NetChooser(net, ScaledDecoder(spec) if decoder is None else decoder, belief_of(spec, network()))
