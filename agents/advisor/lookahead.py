"""Look ahead: are the recommended orders worse than the fallback's? Judged on paired rollouts, before they are advised.

Recommended orders, the fallback's, and none at all are each placed now, in the same worlds; afterwards the policy goes
on in all three, because it is the policy that will. So the difference is what this one decision changes: the policy's
own estimate of an advantage (rollouts, Bertsekas 2013). A policy that is bad in the same way every time is not shown by
it; that is what a shadow period is for (:mod:`agents.advisor.shadow`).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.canonical import plain
from agents.advisor.guardrails import LookAheadRules
from agents.advisor.guards import Guards
from agents.advisor.intervals import Estimate, mean_of
from agents.advisor.pipeline import Preview
from agents.advisor.request import Request
from agents.advisor.rollouts import Paths, Rollouts, TooSlowError
from agents.bundle import Bundle
from twin.errors import StaleStateError

__all__ = ["ALTERNATIVES", "TwinLookAhead", "service_of"]

FloatArray = NDArray[np.float64]

#: What is compared, in the order of the rollouts.
ALTERNATIVES = ("recommended", "fallback", "nothing")


def service_of(paths: Paths) -> FloatArray:
    """Service (share of demand met at once) by alternative and path, (K, P), whose means are the shares of the totals.

    The totals' ratio, linearised, so that means, pairs and intervals of it are those of plain numbers.
    """
    asked = paths.asked.mean(axis=1, keepdims=True)
    if not (asked > 0.0).all():
        return np.ones_like(paths.asked)
    share = paths.served.mean(axis=1, keepdims=True) / asked
    return np.asarray(share + (paths.served - share * paths.asked) / asked)


class TwinLookAhead:
    """Compares by rollouts, under the rules of a guard file; ConfigError where the bundle does not allow it.

    Parameters
    ----------
    bundle, guards
        See :class:`agents.advisor.rollouts.Rollouts`.
    rules
        From the guard file.
    """

    def __init__(self, bundle: Bundle, guards: Guards, rules: LookAheadRules) -> None:
        self.rules = rules
        self.rollouts = Rollouts(bundle, guards, rules.periods, rules.paths)
        self._arcs, self._spec = bundle.spec.arc_names, bundle.spec

    def __call__(self, request: Request, recommended: FloatArray, fallback: FloatArray, seed: int) -> Preview:
        """See :class:`agents.advisor.pipeline.LookAhead`; within the time limit."""
        return self.compare(request, recommended, fallback, seed, self.rules.timeout_seconds)

    def compare(
        self, request: Request, recommended: FloatArray, fallback: FloatArray, seed: int, seconds: float | None
    ) -> Preview:
        """The comparison, given up after ``seconds``; a replay has all the time it needs."""
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            state = self.rollouts.state_of(request.twin_state, request.values)
            first = (recommended, fallback, np.zeros_like(recommended))
            paths = self.rollouts.run(state, first, seed, deadline=deadline)
        except StaleStateError as error:
            return Preview(True, f"nothing was compared: {error}"[:500], {})
        except TooSlowError:
            return Preview(True, f"nothing was compared: it took longer than {seconds:g} s", {})
        return self._judge(paths, recommended, fallback, seed)

    def _judge(self, paths: Paths, recommended: FloatArray, fallback: FloatArray, seed: int) -> Preview:
        confidence, service = self.rules.confidence, service_of(paths)
        if not np.isfinite(paths.cost).all():
            return Preview(True, "nothing was compared: a cost is not a finite number", {})
        expected, differences = {}, {}
        for k, name in enumerate(ALTERNATIVES):
            expected[name] = _entry(mean_of(paths.cost[k], confidence), mean_of(service[k], confidence))
            if k:
                pair = mean_of(paths.cost[0] - paths.cost[k], confidence)
                differences[name] = _entry(pair, mean_of(service[0] - service[k], confidence))
        dearer, least = differences["fallback"]["cost"], differences["fallback"]["interval"][0]
        allowed = self.rules.margin * abs(expected["fallback"]["cost"])
        accepted = not least > allowed
        currency, period = self._spec.currency, self._spec.period_unit
        detail = (
            f"the policy's orders are expected to cost {dearer:+.4g} {currency} a {period} against the fallback's, at "
            f"least {least:+.4g} at {confidence:.0%} confidence; up to {allowed:+.4g} is allowed"
        )
        data = {
            "accepted": accepted,
            "seed": seed,
            "periods": self.rollouts.periods,
            "paths": self.rollouts.paths,
            "confidence": confidence,
            "allowed": allowed,
            "compared": {
                "recommended": dict(zip(self._arcs, recommended.tolist(), strict=True)),
                "fallback": dict(zip(self._arcs, fallback.tolist(), strict=True)),
            },
        }
        shown = {"expected": expected, "differences": differences, "trajectories": _trajectories(paths)}
        return Preview(accepted, detail, data, plain(shown))


def _entry(cost: Estimate, service: Estimate) -> dict[str, Any]:
    return {
        "cost": cost.mean,
        "interval": cost.interval,
        "service": service.mean,
        "service_interval": service.interval,
    }


def _trajectories(paths: Paths) -> list[dict[str, Any]]:
    """Stock and orders over the horizon, summed by unit, to six digits: for a picture."""
    rows = []
    for what, values in (("stock", paths.stock), ("orders", paths.orders)):
        for u, unit in enumerate(paths.units):
            series = {
                name: [float(f"{x:.6g}") for x in values[:, u, k].tolist()] for k, name in enumerate(ALTERNATIVES)
            }
            rows.append({"what": what, "unit": unit, **series})
    return rows
