"""Guards: what stands between a policy's orders and the world. Each passes, modifies (before, after) or blocks.

Every order lies between a lowest and a highest that its arc allows, and the limits on sums count orders with factors
that are not negative. So each guard after the arcs' own only ever lowers orders, lowering never breaks a limit that
held, and the lowest orders decide whether any would do: what comes out satisfies all limits at once, rounding included,
or there is no advice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import Check, OrderRules, changes_between, limit_orders, place_orders
from agents.advisor.guardrails import ArcLimits, Guardrails, SumLimit
from agents.advisor.lots import Lots
from agents.bundle_spec import Spec
from twin.errors import ConfigError, did_you_mean
from twin.orders import feasible_orders

__all__ = ["Facts", "Guarded", "Guards"]

FloatArray = NDArray[np.float64]

#: Largest order that is looked at, units: far above any real one, far below where doubles skip whole numbers.
_LARGEST = 1e12


@dataclass(frozen=True)
class Facts:
    """What the guards know of the world beside the orders.

    Attributes
    ----------
    day
        The day in UTC, ``2026-01-31``.
    closed
        Arcs on which nothing can be ordered now.
    available
        What is left of a limit by its name, where the state knows better than the guard file; it can only be less.
    used
        What today's executed orders have taken of the limits per day, by name.
    previous
        The last orders by arc; an arc without one has no rate of change.
    """

    day: str
    closed: tuple[str, ...] = ()
    available: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    previous: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Facts:
        """From :meth:`to_dict`'s data."""
        return cls(**{**data, "closed": tuple(data["closed"])})


@dataclass(frozen=True)
class Guarded:
    """What the guards made of orders.

    Attributes
    ----------
    orders
        (A,) units; None when a guard blocks.
    checks
        One per guard, up to the first that blocks.
    """

    orders: FloatArray | None
    checks: tuple[Check, ...]

    @property
    def changed(self) -> bool:
        """True when a guard modified an order or blocked."""
        return any(check.verdict != "pass" for check in self.checks)

    @property
    def block(self) -> Check | None:
        """The check that blocks, if one does."""
        return next((check for check in self.checks if check.verdict == "block"), None)


class Guards:
    """The guards of one bundle under one guard file.

    Parameters
    ----------
    rails
        The guard file.
    spec
        What the bundle's policy sees and does: its arcs, and which orders can be placed on them.

    Raises
    ------
    ConfigError
        When the file names an arc or a field that the bundle does not have, contradicts the bundle's order rules, or
        needs a price that is missing.
    """

    def __init__(self, rails: Guardrails, spec: Spec) -> None:
        self.rails, self.names = rails, spec.arc_names
        _known("arcs", rails.arcs, self.names)
        _known("prices", rails.prices, self.names)
        _known("freshness.fields", rails.freshness.fields, [entry.name for entry in spec.fields])
        arcs = [_merged(rails.default, rails.arcs.get(name)) for name in self.names]
        self._closed = np.array([bool(arc.closed) for arc in arcs])
        self.high_risk = np.array([rails.risk_of(name) == "high" for name in self.names])
        self._increase = _limit(arc.maximum_increase for arc in arcs)
        self._decrease = _limit(arc.maximum_decrease for arc in arcs)
        self._maximum = np.minimum(np.minimum(_limit(arc.maximum for arc in arcs), spec.rules.maximum), _LARGEST)
        self._lots = Lots(
            _lot_sizes(arcs, spec),
            np.maximum([arc.minimum or 0.0 for arc in arcs], spec.rules.minimum),
        )
        self._rules = OrderRules(
            spec.rules.integer, self._lots.minimum, self._lots.size, self._lots.down(self._maximum)
        )
        self._order_max = spec.order_max
        self.prices = _prices(rails, self.names, spec.currency)
        self._sums = [(limit, _factors(limit, self.names, self.prices)) for limit in rails.limits]

    @property
    def limit_names(self) -> tuple[str, ...]:
        """Names of the limits on sums."""
        return tuple(limit.name for limit, _ in self._sums)

    def spend(self, orders: FloatArray) -> float | None:
        """What orders are worth, in the currency of the network; None where a price is missing."""
        if self.prices is None:
            return None if orders.any() else 0.0
        return _use(self.prices, orders)

    def amounts(self, orders: FloatArray) -> dict[str, float]:
        """What orders take of each limit per day."""
        return {limit.name: _use(factors, orders) for limit, factors in self._sums if limit.per == "day"}

    def placed(self, orders: FloatArray) -> FloatArray:
        """Orders (A, B) as the arcs' own limits leave them; limits on sums and on change are not looked at."""
        rules = self._rules
        placed = feasible_orders(orders, rules.minimum, rules.lot, rules.maximum)
        return np.where(self._closed[:, None], 0.0, placed)

    def apply(self, orders: FloatArray, facts: Facts) -> Guarded:
        """Guard orders (A,) in units."""
        # "not <=" rather than ">": a NaN must not pass.
        if not (np.abs(orders) <= _LARGEST).all():
            detail = f"an order is NaN, infinite or beyond {_LARGEST:g} units, where lots cannot be counted"
            return Guarded(None, (Check("ACTION_NOT_FINITE", "block", detail),))
        checks: list[Check] = []
        closed = self._closed | np.array([name in facts.closed for name in self.names])
        if closed.all():
            return Guarded(None, (Check("ALL_MASKED", "block", "nothing can be ordered on any arc now"),))
        orders = self._step(
            checks,
            "MASK",
            orders,
            np.where(closed, 0.0, orders),
            "on closed arcs set to 0",
            "no order is on a closed arc",
        )
        orders, placed = place_orders(orders, self._rules, self.names)
        orders, limited = limit_orders(orders, self._order_max, self._rules, self.names)
        checks += [*placed, limited]
        low, high = self._bounds(facts)
        crossed = np.flatnonzero(low > high)
        if len(crossed):
            a = int(crossed[0])
            checks.append(
                Check(
                    "RATE_OF_CHANGE",
                    "block",
                    f"'{self.names[a]}' must be at least {low[a]:g} after the last order of "
                    f"{facts.previous.get(self.names[a], 0.0):g}, and may be {high[a]:g} at most",
                )
            )
            return Guarded(None, tuple(checks))
        orders = self._step(
            checks,
            "RATE_OF_CHANGE",
            orders,
            np.clip(orders, low, high),
            "brought within the allowed change since the last order",
            "no order changes more than allowed",
        )
        for limit, factors in self._sums:
            orders, check = self._sum(limit, factors, orders, low, facts)
            checks.append(check)
            if check.verdict == "block":
                return Guarded(None, tuple(checks))
        broken = self._broken(orders, low, high, facts)
        if broken:
            # It cannot happen; were a guard wrong after all, this is where it stops.
            checks.append(Check("HARD_LIMIT", "block", broken))
            return Guarded(None, tuple(checks))
        checks.append(Check("HARD_LIMIT", "pass", "the final orders satisfy every limit"))
        return Guarded(orders, tuple(checks))

    def _bounds(self, facts: Facts) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest feasible order of each arc, (A,) units; a closed arc is 0 whatever its last order was."""
        closed = self._closed | np.array([name in facts.closed for name in self.names])
        previous = np.array([facts.previous.get(name, np.nan) for name in self.names])
        known = ~np.isnan(previous)
        low = self._lots.up(np.where(known, np.maximum(previous - self._decrease, 0.0), 0.0))
        high = self._lots.down(np.where(known, np.minimum(previous + self._increase, self._maximum), self._maximum))
        return np.where(closed, 0.0, low), np.where(closed, 0.0, high)

    def _broken(self, orders: FloatArray, low: FloatArray, high: FloatArray, facts: Facts) -> str:
        """A sentence on the first hard limit that orders break; empty when they break none."""
        for a, name in enumerate(self.names):
            # "not <=" rather than ">": a NaN must not pass.
            if not low[a] <= orders[a] <= high[a] or not self._lots.allows(a, float(orders[a])):
                return f"the order of {orders[a]:g} on '{name}' is not allowed (from {low[a]:g} to {high[a]:g})"
        for limit, factors in self._sums:
            use, left = _use(factors, orders), _left(limit, facts)
            if not use <= left:
                return f"'{limit.name}' allows {left:g} {limit.unit}, the orders take {use:g}"
        return ""

    def _step(
        self, checks: list[Check], code: str, before: FloatArray, after: FloatArray, what: str, none: str
    ) -> FloatArray:
        changes = changes_between(before, after, self.names)
        detail = f"{len(changes)} orders {what}" if changes else none
        checks.append(Check(code, "modify" if changes else "pass", detail, changes))
        return after

    def _sum(
        self, limit: SumLimit, factors: FloatArray, orders: FloatArray, low: FloatArray, facts: Facts
    ) -> tuple[FloatArray, Check]:
        code, left, use = limit.kind.upper(), _left(limit, facts), _use(factors, orders)
        if use <= left:
            return orders, Check(code, "pass", f"'{limit.name}': {use:g} of {left:g} {limit.unit}")
        least = _use(factors, low)
        if least > left:
            detail = f"'{limit.name}' has {left:g} {limit.unit} left, and the lowest orders allowed take {least:g}"
            return orders, Check(code, "block", detail)
        counted, share = factors > 0.0, (left - least) / (use - least)
        # Rounding may leave a sum a hair above the limit, which is above; 0 always fits.
        for slack in (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0):
            scaled = self._lots.down(low + share * (1.0 - slack) * (orders - low))
            after = np.where(counted, np.maximum(scaled, low), orders)
            if _use(factors, after) <= left:
                break
        after = self._fill(factors, orders, after, left)
        changes = changes_between(orders, after, self.names)
        detail = f"'{limit.name}': {use:g} cut to {_use(factors, after):g} of {left:g} {limit.unit}"
        return after, Check(code, "modify", detail, changes)

    def _fill(self, factors: FloatArray, wanted: FloatArray, orders: FloatArray, left: float) -> FloatArray:
        """Give what whole lots left over to the arcs that were cut most, as far as it goes."""
        out = orders.copy()
        for a in np.argsort(orders - wanted, kind="stable").tolist():
            if factors[a] > 0.0 and out[a] < wanted[a]:
                room = out[a] + (left - _use(factors, out)) / factors[a]
                trial = out.copy()
                trial[a] = self._lots.down(np.minimum(np.full_like(out, room), wanted))[a]
                if trial[a] > out[a] and _use(factors, trial) <= left:
                    out = trial
        return out


def _left(limit: SumLimit, facts: Facts) -> float:
    """What is left of a limit; where more was used than is allowed, nothing, and no order is still no breach."""
    used = facts.used.get(limit.name, 0.0) if limit.per == "day" else 0.0
    return max(min(limit.limit - used, facts.available.get(limit.name, math.inf)), 0.0)


def _use(factors: FloatArray, orders: FloatArray) -> float:
    """The exact sum of the products, rounded once: the same whatever the order of the arcs."""
    return math.fsum((factors * orders).tolist())


def _known(place: str, given: Mapping[str, object], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise ConfigError(
                f"guardrails: {place} has '{name}', which the bundle does not{did_you_mean(name, allowed)}"
            )


def _merged(default: ArcLimits, own: ArcLimits | None) -> ArcLimits:
    if own is None:
        return default
    return default.model_copy(update={key: value for key, value in own if value is not None})


def _limit(values: Any) -> FloatArray:
    return np.array([math.inf if value is None else value for value in values], dtype=np.float64)


def _lot_sizes(arcs: Sequence[ArcLimits], spec: Spec) -> FloatArray:
    sizes = []
    for arc, name, base in zip(arcs, spec.arc_names, spec.rules.lot.tolist(), strict=True):
        own = arc.lot_size
        if own is not None and base > 0.0 and round(own / base) * base != own:
            raise ConfigError(
                f"guardrails: arcs.{name}.lot_size is {own:g}, which is not a whole multiple of the lot of {base:g} "
                f"that can be ordered (allowed: {base:g}, {2 * base:g}, ...)"
            )
        sizes.append(base if own is None else own)
    return np.array(sizes, dtype=np.float64)


def _prices(rails: Guardrails, names: Sequence[str], currency: str) -> FloatArray | None:
    needed = [
        (rails.approval.two_persons_above is not None, "approval.two_persons_above"),
        (rails.autonomy.spend_limit > 0.0, "autonomy.spend_limit"),
        (any(limit.kind == "budget" and not limit.each for limit in rails.limits), "a budget without 'each'"),
    ]
    missing = [name for name in names if name not in rails.prices]
    for wanted, what in needed:
        if wanted and missing:
            raise ConfigError(
                f"guardrails: {what} needs prices ({currency} per unit) of all arcs; missing: {', '.join(missing[:3])}"
            )
    return None if missing else np.array([rails.prices[name] for name in names], dtype=np.float64)


def _factors(limit: SumLimit, names: Sequence[str], prices: FloatArray | None) -> FloatArray:
    _known(f"limits '{limit.name}'.each", limit.each, names)
    if limit.kind == "budget" and not limit.each and prices is not None:
        return prices
    factors = np.array([limit.each.get(name, limit.default) for name in names], dtype=np.float64)
    if not factors.any():
        raise ConfigError(f"guardrails: the limit '{limit.name}' counts no arc: give 'each' or 'default'")
    return factors
