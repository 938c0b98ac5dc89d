"""One-shot advice: what is recommended, and every check that was made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.features import Field
from twin.errors import did_you_mean
from twin.orders import feasible_orders, largest_useful_orders

if TYPE_CHECKING:
    from agents.bundle_policy import Chooser

__all__ = ["Advice", "Change", "Check", "Move", "OrderRules", "Recommendation", "limit_orders", "place_orders"]
__all__ += ["changes_between", "read_memory", "read_state"]

FloatArray = NDArray[np.float64]
Verdict = Literal["pass", "modify", "block"]

#: What a state may hold. Only the observation is required.
STATE_KEYS = ("observation", "network_hash", "spec_hash", "period", "memory", "mask")

#: Problems that one message spells out; the rest is counted.
_SHOWN = 3


@dataclass(frozen=True)
class Change:
    """An order that a check modified, in units."""

    arc: str
    before: float
    after: float


@dataclass(frozen=True)
class Check:
    """One check: a code that programs can read, a verdict, and a sentence for people."""

    code: str
    verdict: Verdict
    detail: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class OrderRules:
    """Which orders can be placed on each arc.

    Attributes
    ----------
    integer
        (A,) True where orders are whole units.
    minimum
        (A,) smallest order above 0, units in whole lots; 0 where there is none.
    lot
        (A,) orders are whole multiples of it, units; 0 where any quantity may be ordered.
    maximum
        (A,) largest order, units in whole lots; infinite where there is none.
    """

    integer: NDArray[np.bool_]
    minimum: FloatArray
    lot: FloatArray
    maximum: FloatArray


@dataclass(frozen=True)
class Recommendation:
    """The order on one arc.

    Attributes
    ----------
    arc
        Name of the arc.
    order
        Units to order now.
    unit
        Unit of ``order`` and ``target``.
    target
        The level to order up to, or the quantity, as the policy gave it: before minimum, lots, maximum and limits.
    """

    arc: str
    order: float
    unit: str
    target: float


@dataclass(frozen=True)
class Move:
    """The move on one supplier: one of :data:`twin.contracts.MOVES`."""

    relation: str
    move: str


@dataclass(frozen=True)
class Advice:
    """Orders for one state, or the reasons why there are none.

    Attributes
    ----------
    bundle_id
        Of the bundle that advised.
    period
        As the state gave it, or None.
    kind
        What a target is: a ``level`` to order up to or a ``quantity``.
    action
        The policy's action; None when the state was refused.
    orders
        One per arc; empty when a check blocks.
    checks
        In the order they were made.
    moves
        One per supplier that the policy decides moves on; empty when a check blocks.
    memory
        What to give as ``memory`` with the state of the next period; empty for a policy that remembers nothing.
    """

    bundle_id: str
    period: int | str | None
    kind: str
    action: tuple[float, ...] | int | None
    orders: tuple[Recommendation, ...]
    checks: tuple[Check, ...]
    moves: tuple[Move, ...] = ()
    memory: tuple[Any, ...] = ()

    @property
    def blocked(self) -> bool:
        """True when there is no advice."""
        return any(check.verdict == "block" for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes of the checks that block."""
        return tuple(check.code for check in self.checks if check.verdict == "block")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"blocked": self.blocked, "reasons": list(self.reasons), **asdict(self)}


def read_state(
    state: object, fields: Sequence[Field], *, spec_hash: str, network_hash: str
) -> tuple[FloatArray | None, int | str | None, list[Check]]:
    """Check a state against the fields a policy was trained on.

    Returns
    -------
    values
        Shape (n,) in the order of ``fields``; None when a check blocks.
    period
        As given.
    checks
        Up to the first that blocks.
    """
    if not isinstance(state, Mapping):
        return None, None, [_block("STATE", f"the state must be a mapping, not {_kind(state)}")]
    unknown = [key for key in state if key not in STATE_KEYS]
    if unknown:
        hint = did_you_mean(unknown[0], STATE_KEYS)
        return (
            None,
            None,
            [_block("STATE", f"the state has no entry '{unknown[0]}' (allowed: {', '.join(STATE_KEYS)}){hint}")],
        )
    observation, period = state.get("observation"), state.get("period")
    if not isinstance(observation, Mapping):
        return (
            None,
            None,
            [_block("STATE", f"'observation' must map field names to numbers, not be {_kind(observation)}")],
        )
    if period is not None and (isinstance(period, bool) or not isinstance(period, int | str)):
        return None, None, [_block("STATE", f"'period' must be a whole number or a text, not {_kind(period)}")]
    checks: list[Check] = []
    for code, key, expected in (("SPEC_HASH", "spec_hash", spec_hash), ("NETWORK_HASH", "network_hash", network_hash)):
        given = state.get(key)
        if given is None and key in state:
            return None, period, [*checks, _block(code, f"'{key}' is null; leave it out or give the hash")]
        if given is not None and given != expected:
            return (
                None,
                period,
                [*checks, _block(code, f"the state's {key} is {given!r}, the bundle's is {expected!r}")],
            )
        if given is not None or key == "spec_hash":
            checks.append(Check(code, "pass", f"{expected[:12]} as trained"))
    for look in (_names, _numbers):  # in this order: the second needs every field to be there
        checks.append(look(observation, fields))
        if checks[-1].verdict == "block":
            return None, period, checks
    values = np.array([float(observation[field.name]) for field in fields])
    checks.append(_range(values, fields))
    return (None if checks[-1].verdict == "block" else values), period, checks


def read_memory(
    state: Mapping[str, Any], policy: Chooser
) -> tuple[tuple[FloatArray, ...] | None, NDArray[np.bool_] | None, Check | None]:
    """The memory and the mask of a state, for one replica; a check that blocks where a policy cannot take them."""
    memory = mask = None
    if state.get("memory") is not None:
        if not policy.remembers:
            return None, None, _block("MEMORY", "this policy remembers nothing; leave 'memory' out")
        try:
            memory = tuple(np.asarray(part, dtype=np.float64)[..., None] for part in state["memory"])
        except (TypeError, ValueError):
            return None, None, _block("MEMORY", "'memory' must be what the last advice gave")
    if state.get("mask") is not None:
        given = state["mask"]
        if not policy.masked or not isinstance(given, list | tuple) or not all(isinstance(x, bool) for x in given):
            why = "must be a list of true and false" if policy.masked else "is not looked at by this policy"
            return None, None, _block("MASK", f"'mask' {why}")
        mask = np.array([given], dtype=np.bool_)
    return memory, mask, None


def _names(observation: Mapping[Any, Any], fields: Sequence[Field]) -> Check:
    known = {field.name for field in fields}
    missing = [field.name for field in fields if field.name not in observation]
    extra = [str(name) for name in observation if name not in known]
    # A renamed field is both: its nearest match is then among the extra ones.
    problems = [f"'{name}' is missing{did_you_mean(name, extra)}" for name in missing]
    problems += [f"'{name}' is not a field{did_you_mean(name, missing or known)}" for name in extra]
    if problems:
        return _block("FIELDS", _join(problems))
    return Check("FIELDS", "pass", f"all {len(fields)} fields are there and no other")


def _numbers(observation: Mapping[Any, Any], fields: Sequence[Field]) -> Check:
    problems = []
    for field in fields:
        value = observation[field.name]
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            problems.append(f"'{field.name}' must be a number in {field.unit}, not {_kind(value)}")
            continue
        try:
            finite = bool(np.isfinite(float(value)))
        except OverflowError:
            finite = False
        if not finite:
            problems.append(f"'{field.name}' must be a finite number, received {str(value)[:20]}")
    return _block("FINITE", _join(problems)) if problems else Check("FINITE", "pass", "all values are finite numbers")


def _range(values: FloatArray, fields: Sequence[Field]) -> Check:
    problems = []
    for value, field in zip(values.tolist(), fields, strict=True):
        # A bound that float32 rounds outwards is still within the observation space.
        low, high = min(field.low, float(np.float32(field.low))), max(field.high, float(np.float32(field.high)))
        if not low <= value <= high:
            problems.append(f"'{field.name}' is {value:g}, outside {field.low:g} to {field.high:g} {field.unit}")
    return (
        _block("RANGE", _join(problems)) if problems else Check("RANGE", "pass", "all values are within their bounds")
    )


def place_orders(orders: FloatArray, rules: OrderRules, names: Sequence[str]) -> tuple[FloatArray, tuple[Check, ...]]:
    """The orders that the twin would place (:func:`twin.orders.feasible_orders`), with one check per rule.

    The checks follow each other: what one leaves is what the next starts from.
    """
    lot = rules.lot
    # What is below rounding is no order; where a lot follows, that is what takes it to 0.
    raised = feasible_orders(orders, rules.minimum, np.zeros_like(lot), np.full_like(lot, np.inf))
    raised = np.where((rules.minimum > 0.0) | (lot == 0.0), raised, orders)
    whole = feasible_orders(raised, np.zeros_like(lot), lot, np.full_like(lot, np.inf))
    placed = feasible_orders(orders, rules.minimum, lot, rules.maximum)
    steps = (
        ("MINIMUM_ORDER", orders, raised, "set to 0 or to the minimum order", "no order is below its minimum"),
        ("INTEGER_LOT", raised, whole, "rounded to whole units or lots", "no order needed rounding"),
        ("MAXIMUM_ORDER", whole, placed, "cut to the maximum order", "no order exceeds its maximum"),
    )
    checks = []
    for code, before, after, what, none in steps:
        changes = changes_between(before, after, names)
        detail = f"{len(changes)} orders {what}" if changes else none
        checks.append(Check(code, "modify" if changes else "pass", detail, changes))
    return placed, tuple(checks)


def limit_orders(
    orders: FloatArray, order_max: FloatArray, rules: OrderRules, names: Sequence[str]
) -> tuple[FloatArray, Check]:
    """At most what makes full use of an arc's capacity per period; a capacity of 0 closes the arc.

    What remains can be ordered: whole lots, and not below the minimum order.
    """
    cap = np.where(rules.integer, np.floor(order_max + 1e-9), order_max)
    out = np.minimum(orders, largest_useful_orders(cap, rules.minimum, rules.lot))
    changes = changes_between(orders, out, names)
    detail = (
        f"{len(changes)} orders cut to the capacity of their arc" if changes else "no order exceeds its arc's capacity"
    )
    return out, Check("ORDER_LIMIT", "modify" if changes else "pass", detail, changes)


def changes_between(before: FloatArray, after: FloatArray, names: Sequence[str]) -> tuple[Change, ...]:
    """The arcs on which orders (A,) differ, with both amounts."""
    return tuple(
        Change(name, a, b) for name, a, b in zip(names, before.tolist(), after.tolist(), strict=True) if a != b
    )


def _block(code: str, detail: str) -> Check:
    return Check(code, "block", detail)


def _join(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _kind(value: object) -> str:
    """What a value is, in the words of JSON."""
    names = {"NoneType": "null", "str": "a text", "bool": "true or false", "list": "a list", "dict": "a mapping"}
    return names.get(type(value).__name__, type(value).__name__)
