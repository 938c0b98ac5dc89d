"""Who decides when the policy may not: a tuned classical policy, run by numpy, with golden cases of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.bundle_golden import ORDER_TOLERANCE, order_gap
from agents.bundle_policy import Choice, Chooser, Memory, RuleChooser
from agents.bundle_spec import Spec
from twin.errors import BundleError

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["Fallback", "fallback_data"]

FloatArray = NDArray[np.float64]

_KEYS = {"policy", "parameters", "tuning", "golden"}


@dataclass(frozen=True)
class Fallback:
    """A classical policy on the observations of a bundle.

    Attributes
    ----------
    policy
        As in the registry.
    parameters
        By name; units, where the policy does not say otherwise.
    tuning
        Where they come from, for people.
    chooser
        The rule itself.
    """

    policy: str
    parameters: Mapping[str, float]
    tuning: Mapping[str, Any]
    chooser: Chooser

    @classmethod
    def build(
        cls, policy: str, parameters: Mapping[str, float], tuning: Mapping[str, Any], spec: Spec,
        compiled: Callable[[], CompiledNetwork],
    ) -> Fallback:  # fmt: skip
        """Make one.

        Parameters
        ----------
        compiled
            Gives the network, for policies that are more than levels or quantities.

        Raises
        ------
        BundleError
            Where the policy does not fit the observation, or remembers what has been: it may be asked at any time.
        """
        numbers = np.array(list(parameters.values()), dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise BundleError(f"the fallback '{policy}' has a parameter that is not finite")
        chooser: Chooser
        if spec.routing is not None:
            from agents.bundle_routing import RoutingRuleChooser

            if parameters:
                raise BundleError(f"the fallback '{policy}' has no parameters, received {', '.join(parameters)}")
            chooser = RoutingRuleChooser(policy, spec, compiled())
        elif policy in ("base_stock", "constant") and not spec.relations:
            if tuple(parameters) != spec.arc_names:
                raise BundleError(f"the fallback '{policy}' needs one number for each arc, in order")
            chooser = _Simple(spec, numbers, up_to=policy == "base_stock")
        else:
            from agents.bundle_decoders import rule_of

            arch = {"policy": policy, "parameters": list(parameters)}
            chooser = RuleChooser(rule_of(arch, numbers, spec, compiled()))
        if chooser.remembers:
            raise BundleError(f"the policy '{policy}' remembers what has been; a fallback may be asked at any time")
        return cls(policy, dict(parameters), dict(tuning), chooser)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], spec: Spec, compiled: Callable[[], CompiledNetwork]) -> Fallback:
        """From :func:`fallback_data`, its golden cases run; BundleError where it decides otherwise than it did."""
        try:
            if set(data) != _KEYS:
                raise BundleError(f"fallback.json must hold {', '.join(sorted(_KEYS))}")
            made = cls.build(str(data["policy"]), data["parameters"], data["tuning"], spec, compiled)
            values = np.array(data["golden"]["values"], dtype=np.float64).reshape(-1, len(spec.fields))
            orders = np.array(data["golden"]["orders"], dtype=np.float64).reshape(-1, spec.arcs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"fallback.json is incomplete: {type(error).__name__} {error}") from None
        if not len(values) or len(values) != len(orders):
            raise BundleError("fallback.json must hold golden values and orders of the same cases, at least one")
        if not bool((order_gap(made.chooser.choose(values).orders.T, orders) <= ORDER_TOLERANCE).all()):
            raise BundleError("fallback.json: a golden order differs from the exported one by more than the tolerance")
        return made

    def choose(self, values: FloatArray) -> Choice:
        """Its decision for values (n,) in the order of the fields."""
        return self.chooser.choose(np.asarray(values, dtype=np.float64)[None])

    def orders(self, values: FloatArray) -> FloatArray:
        """Its orders (A,) in units, before minimum, lots, maximum and limits, for values (n,)."""
        return self.choose(values).orders[:, 0]


def fallback_data(fallback: Fallback, values: FloatArray) -> dict[str, Any]:
    """Plain data for ``fallback.json``, with golden cases for values (N, n)."""
    orders = fallback.chooser.choose(values).orders.T
    golden = {"values": values.tolist(), "orders": orders.tolist()}
    head = {"policy": fallback.policy, "parameters": dict(fallback.parameters), "tuning": dict(fallback.tuning)}
    return {**head, "golden": golden}


class _Simple:
    """Base-stock levels or constant quantities: what they come to follows from the spec alone, without the network."""

    masked = False
    remembers = False

    def __init__(self, spec: Spec, numbers: FloatArray, *, up_to: bool) -> None:
        self._numbers, self._sequence = numbers, spec.sequence
        self._columns = spec.position_columns() if up_to else None

    def begin(self, values: FloatArray) -> Memory:
        """Nothing to remember."""
        return ()

    def choose(self, values: FloatArray, memory: Any = None, masks: Any = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        targets = np.repeat(self._numbers[:, None], len(values), axis=1)
        orders = targets
        if self._columns is not None:
            orders = self._sequence.orders_up_to(targets, values[:, self._columns].T)
        return Choice(orders.T, targets, np.maximum(orders, 0.0))

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Any = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        return Choice(action, action.T, action.T)
