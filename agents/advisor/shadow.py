"""The shadow report: what the advised orders would have cost beside those of whoever acted, from the record alone.

The advised orders of a shadow period were never placed, so their cost cannot be read anywhere. It is estimated: in the
state of every decision the twin places the advised orders and those that were really placed, in the same worlds, and
the policy goes on in both. The mean of these differences is the difference in cost per period between the policy and
whoever acted, because the states are those of whoever acted and the policy goes on (the performance difference lemma,
Kakade & Langford 2002, read from the other policy's side; its horizon ends where the rollouts do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.activation import Activation
from agents.advisor.active import Active
from agents.advisor.canonical import digest
from agents.advisor.core import load_activation
from agents.advisor.guardrails import LookAheadRules
from agents.advisor.intervals import Estimate, batch_means
from agents.advisor.lookahead import service_of
from agents.advisor.pipeline import seed_of
from agents.advisor.request import parse_request
from agents.advisor.rollouts import Rollouts
from agents.advisor.store import Store
from twin.errors import BundleError, ConfigError, StaleStateError

__all__ = ["ShadowReport", "shadow_report"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ShadowReport:
    """What :func:`shadow_report` found; every figure is per period and None where the record does not say it.

    Attributes
    ----------
    decisions, with_actual, compared
        Shadow decisions on record; those of them with a report of what was really ordered; those that the twin could
        compare.
    currency, period
        Of the network.
    confidence
        Of the intervals.
    actual_cost, actual_service
        As reported: money, and share of demand served at once.
    cost_difference, service_difference
        Advised less actual: money as estimated, share of demand.
    advised_cost
        ``actual_cost`` and the difference, on the periods that have both.
    orders
        By arc: unit, mean advised and actual orders, and their paired difference.
    fidelity
        Reported cost less what the twin expected of the orders that were really placed, money: far from 0, the twin is
        not the world, and the differences say little.
    not_said
        Sentences on what the record cannot say.
    """

    decisions: int
    with_actual: int
    compared: int
    currency: str
    period: str
    confidence: float
    actual_cost: Estimate | None
    actual_service: float | None
    cost_difference: Estimate | None
    service_difference: Estimate | None
    advised_cost: Estimate | None
    orders: tuple[dict[str, Any], ...]
    fidelity: Estimate | None
    not_said: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            name: value.to_dict() if isinstance(value, Estimate) else list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    def text(self) -> str:
        """For people."""
        money = f"{self.currency} a {self.period}"
        lines = [
            f"{self.decisions} shadow decisions, {self.with_actual} with what was really ordered, {self.compared} "
            f"compared in the twin; intervals at {self.confidence:.0%}"
        ]
        for what, estimate in (
            ("who acted, as reported", self.actual_cost),
            ("advised, estimated", self.advised_cost),
            ("advised less actual", self.cost_difference),
            ("reported less the twin's expectation", self.fidelity),
        ):
            if estimate is not None:
                lines.append(f"  {what:38}{_shown(estimate)} {money}")
        if self.actual_service is not None:
            lines.append(f"  {'served at once, as reported':38}{self.actual_service:.1%}")
        if self.service_difference is not None:
            points = Estimate(*(100.0 * x for x in self.service_difference))
            lines.append(f"  {'advised less actual':38}{_shown(points)} points of demand served at once")
        for entry in self.orders:
            lines.append(
                f"  {entry['arc']:38}{entry['advised']:,.4g} advised, {entry['actual']:,.4g} ordered {entry['unit']}"
            )
        return "\n".join([*lines, *(f"Not said: {sentence}" for sentence in self.not_said)])


@dataclass
class _Pairs:
    """What has been read so far, one entry per decision."""

    advised: list[dict[str, float]] = field(default_factory=list)
    actual: list[dict[str, float]] = field(default_factory=list)
    cost: list[float | None] = field(default_factory=list)
    demand: list[float | None] = field(default_factory=list)
    served: list[float | None] = field(default_factory=list)
    #: Cost and service of the advised orders less those of the actual ones; expected cost of the actual ones.
    difference: list[tuple[float, float, float] | None] = field(default_factory=list)
    why_not: dict[str, int] = field(default_factory=dict)


def shadow_report(store: Store) -> ShadowReport:
    """Read the record and compare; see :class:`ShadowReport`."""
    entries, shadows, actuals = _read(store)
    pairs, looks, arcs = _Pairs(), _Looks(entries), dict[str, str]()
    currency, period, rules = "", "period", LookAheadRules()
    for body in shadows:
        active = looks.active(int(body["activation"]))
        spec, rules = active.bundle.spec, active.rails.look_ahead or rules
        currency, period = spec.currency, spec.period_unit
        arcs |= dict(zip(spec.arc_names, spec.arc_units, strict=True))
        actual = actuals.get(body["id"])
        if actual is None:
            continue
        pairs.advised.append(body["orders"])
        pairs.actual.append(actual["orders"])
        for name in ("cost", "demand", "served"):
            getattr(pairs, name).append(actual[name])
        pairs.difference.append(looks.compare(body, actual["orders"], pairs.why_not))
    return _report(pairs, len(shadows), arcs, currency, period, rules.confidence)


def _read(store: Store) -> tuple[dict[int, Activation], list[Any], dict[str, Any]]:
    """Activations by number, shadow decisions that gave orders, and the last report of each decision by its id."""
    entries: dict[int, Activation] = {}
    shadows, actuals = [], {}
    for record in store.records():
        if record.kind not in {"activated", "decision", "actual"}:
            continue
        body = record.data
        if record.kind == "activated":
            number = int(body["number"])
            entries[number] = Activation(number, body["bundle_id"], body["path"], body["settings"])
        elif record.kind == "actual":
            actuals[body["id"]] = body
        elif body["status"] == "shadow":
            shadows.append(body)
    return entries, shadows, actuals


class _Looks:
    """The bundles of the record, each with its rollouts."""

    def __init__(self, entries: dict[int, Activation]) -> None:
        self._entries = entries
        self._loaded: dict[int, tuple[Active, Rollouts | str]] = {}

    def active(self, number: int) -> Active:
        """The bundle of an activation; AdvisorError ``BAD_BUNDLE`` where it cannot be trusted any more."""
        return self._load(number)[0]

    def compare(
        self, body: Any, actual: dict[str, float], why_not: dict[str, int]
    ) -> tuple[float, float, float] | None:
        """Advised less actual, in money and service, and the actual orders' expected cost now; None with a reason."""
        active, rollouts = self._load(int(body["activation"]))
        try:
            if isinstance(rollouts, str):
                raise StaleStateError(rollouts)
            request, problems = parse_request(
                body["request"], active.fields, active.arcs, active.guards.limit_names, active.hashes
            )
            if request is None:
                raise StaleStateError(problems[0].detail)
            state = rollouts.state_of(request.twin_state, request.values)
            first = (active.vector(body["orders"]), active.vector(actual))
            seed = seed_of(active.bundle_id, f"shadow {digest(body['request'])}")
            paths = rollouts.run(state, first, seed)
        except StaleStateError as error:
            reason = str(error)[:200]
            why_not[reason] = why_not.get(reason, 0) + 1
            return None
        service, whole = service_of(paths), rollouts.periods
        cost = whole * float((paths.cost[0] - paths.cost[1]).mean())
        return cost, whole * float((service[0] - service[1]).mean()), float(paths.first[1].mean())

    def _load(self, number: int) -> tuple[Active, Rollouts | str]:
        if number not in self._loaded:
            active, rules = load_activation(self._entries[number]), LookAheadRules()
            rollouts: Rollouts | str
            try:
                ready = active.look_ahead
                rollouts = (
                    Rollouts(active.bundle, active.guards, rules.periods, rules.paths)
                    if ready is None
                    else ready.rollouts
                )
            except (BundleError, ConfigError) as error:
                rollouts = str(error)
            self._loaded[number] = active, rollouts
        return self._loaded[number]


def _report(
    pairs: _Pairs, decisions: int, arcs: dict[str, str], currency: str, period: str, confidence: float
) -> ShadowReport:
    n = len(pairs.actual)
    found = [entry for entry in pairs.difference if entry is not None]
    both = [
        (cost, entry) for cost, entry in zip(pairs.cost, pairs.difference, strict=True) if cost is not None and entry
    ]
    costs = [cost for cost in pairs.cost if cost is not None]
    units = [(d, s) for d, s in zip(pairs.demand, pairs.served, strict=True) if d is not None and s is not None]
    asked = sum(d for d, _ in units)
    orders = []
    for arc, unit in arcs.items() if n else ():
        advised, actual = (np.array([row.get(arc, 0.0) for row in rows]) for rows in (pairs.advised, pairs.actual))
        orders.append(
            {
                "arc": arc,
                "unit": unit,
                "advised": float(advised.mean()),
                "actual": float(actual.mean()),
                "difference": batch_means(advised - actual, confidence).to_dict(),
            }
        )
    return ShadowReport(
        decisions,
        n,
        len(found),
        currency,
        period,
        confidence,
        _mean(costs, confidence),
        sum(s for _, s in units) / asked if asked > 0.0 else None,
        _mean([entry[0] for entry in found], confidence),
        _mean([entry[1] for entry in found], confidence),
        _mean([cost + entry[0] for cost, entry in both], confidence),
        tuple(orders),
        _mean([cost - entry[2] for cost, entry in both], confidence),
        tuple(_not_said(pairs, decisions, n, len(found), len(costs), len(units))),
    )


def _not_said(pairs: _Pairs, decisions: int, n: int, found: int, costs: int, units: int) -> list[str]:
    if not decisions:
        return ["there is no shadow decision on record"]
    said = []
    if decisions > n:
        said.append(f"what was really ordered after {decisions - n} of {decisions} decisions")
    if n > costs:
        said.append(f"what {n - costs} of {n} periods cost")
    if n > units:
        said.append(f"how much demand was served in {n - units} of {n} periods")
    said += [f"what the advice was worth in {times} periods: {why}" for why, times in pairs.why_not.items()]
    if found:
        said.append(
            "how much the policy would have ordered in all: each advice answers the state that others' orders led to"
        )
        said.append(
            "what the advised orders would really have cost: they were never placed, so the twin has estimated it, "
            "with its own demand and lead times, and stock counted at standard cost"
        )
    return said


def _mean(values: Sequence[float], confidence: float) -> Estimate | None:
    return batch_means(np.array(values), confidence) if values else None


def _shown(estimate: Estimate) -> str:
    known = np.isfinite(estimate.low)
    ends = f"[{estimate.low:,.4g}, {estimate.high:,.4g}]" if known else "(too few for an interval)"
    return f"{estimate.mean:,.6g} {ends}"
