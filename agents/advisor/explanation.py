"""Why these orders? What they are expected to come to, what moved them, and what stands around them, in plain words.

A field is occluded by its mean in training; what then happens to the orders before the guards is what the field moved
(Zeiler & Fergus 2014). That is one field at a time: two that say the same hide each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.active import Active
from agents.advisor.canonical import plain
from agents.advisor.fallback import describe
from agents.advisor.guards import Guarded
from agents.advisor.pipeline import Assessment, Preview

__all__ = ["SHOWN_FIELDS", "explain", "moving_fields"]

FloatArray = NDArray[np.float64]

#: Fields that an explanation names.
SHOWN_FIELDS = 5


def moving_fields(active: Active, values: FloatArray, orders: FloatArray) -> list[dict[str, Any]] | str:
    """The fields that moved the policy's orders most, the most first.

    Parameters
    ----------
    values
        (n,) the observation.
    orders
        (A,) units, the policy's orders for it, before the guards.

    Returns
    -------
    list or str
        Of each: name, value, unit, ``training_mean``, ``moves`` (units that the order on ``arc``, the one that it moves
        most, is higher than with the field at its mean), ``arc`` and ``order_unit``. Where no training mean is known, a
        sentence that says so.
    """
    spec, mean = active.bundle.spec, _training_mean(active)
    if mean is None:
        return "there is no training mean to compare with"
    rows = np.tile(values, (len(values), 1))
    np.fill_diagonal(rows, mean)
    moves = orders[:, None] - np.maximum(active.bundle.choose(rows).orders, 0.0)
    # Arcs of different size count alike: by the reach of the policy's box.
    reach = np.zeros(spec.arcs) if spec.codec is None else spec.codec.high - spec.codec.low
    relative = np.abs(moves) / np.where(reach > 0.0, reach, np.maximum(orders, 1.0))[:, None]
    relative[~np.isfinite(relative)] = 0.0
    weight = relative.sum(axis=0)
    chosen = [k for k in np.argsort(-weight, kind="stable")[:SHOWN_FIELDS].tolist() if weight[k] > 0.0]
    found = []
    for k in chosen:
        a, entry = int(np.argmax(relative[:, k])), spec.fields[k]
        found.append(
            {
                "name": entry.name,
                "value": float(values[k]),
                "unit": entry.unit,
                "training_mean": float(mean[k]),
                "moves": float(moves[a, k]),
                "arc": spec.arc_names[a],
                "order_unit": spec.arc_units[a],
            }
        )
    return found


def _training_mean(active: Active) -> FloatArray | None:
    """(n,) from the outlier model, else from the policy's own normalisation; None where neither says anything."""
    if active.outliers is not None:
        return active.outliers.mean
    normalisation = getattr(active.bundle.policy, "normalisation", None)
    return None if normalisation is None else np.asarray(normalisation.mean, dtype=np.float64)


def explain(
    active: Active,
    assessment: Assessment,
    guarded: Guarded,
    preview: Preview | None,
    fields: list[dict[str, Any]] | str,
    fallback: str,
) -> dict[str, Any]:
    """The explanation of a decision, plain data; docs/advisor.md says what it holds.

    Parameters
    ----------
    fields
        From :func:`moving_fields`, or a sentence on why they are not known.
    fallback
        A name of :data:`agents.advisor.fallback.FALLBACKS`.
    """
    shown = {} if preview is None else preview.shown
    guards = [
        {"code": check.code, "verdict": check.verdict, "detail": check.detail, "changes": len(check.changes)}
        for check in guarded.checks
        if check.verdict != "pass"
    ]
    distance = None
    if assessment.score is not None:
        distance = {
            "value": assessment.score.distance,
            "usual": assessment.score.threshold,
            "unusual": [problem.detail for problem in assessment.problems if problem.place != "state"],
        }
    data = {
        "expected": shown.get("expected"),
        "differences": shown.get("differences"),
        "trajectories": shown.get("trajectories"),
        "fields": [] if isinstance(fields, str) else fields,
        "guards": guards,
        "distance": distance,
    }
    data["text"] = [
        *_what(active, assessment, guarded, fallback),
        *_costs(active, assessment, preview),
        *_fields(assessment, fields),
        *[f"A guard stepped in ({guard['code']}): {guard['detail']}." for guard in guards],
        *_distance(distance),
    ]
    return dict(plain(data))


def _what(active: Active, assessment: Assessment, guarded: Guarded, fallback: str) -> list[str]:
    who = "The policy" if assessment.source == "policy" else f"The fallback ({describe(active, fallback)})"
    why = f" Why not the policy: {assessment.detail}." if assessment.source == "fallback" else ""
    if guarded.orders is None:
        return [f"No orders: a guard blocks.{why}"]
    spec, placed = active.bundle.spec, np.flatnonzero(guarded.orders)
    if not len(placed):
        return [f"{who} orders nothing this {spec.period_unit}.{why}"]
    most = int(np.argmax(guarded.orders))
    largest = f"{_number(guarded.orders[most])} {spec.arc_units[most]} on '{active.arcs[most]}'"
    return [f"{who} orders on {len(placed)} of {len(active.arcs)} arcs; the largest order is {largest}.{why}"]


def _costs(active: Active, assessment: Assessment, preview: Preview | None) -> list[str]:
    if preview is None or not preview.shown:
        why = "no look ahead was made" if preview is None else preview.detail
        return [f"What it would cost was not estimated: {why}."]
    expected, differences = preview.shown["expected"], preview.shown["differences"]
    spec = active.bundle.spec
    money, advised = f"{spec.currency} a {spec.period_unit}", expected["recommended"]
    costs = _expected(advised["cost"], advised["interval"], money)
    out = [
        f"Over the next {preview.data['periods']} periods, with the policy's orders now, {costs} are expected, and "
        f"{advised['service']:.1%} of demand served at once."
    ]
    for name, other in (("fallback", "the fallback's orders"), ("nothing", "ordering nothing now")):
        pair = differences[name]
        low, high = pair["interval"]
        if low == high == 0.0:
            out.append(f"It comes to the same as {other}.")
            continue
        if low <= 0.0 <= high:
            out.append(f"Against {other} no difference in cost is certain ({_between([low, high])} {money}).")
            continue
        more = "more" if pair["cost"] > 0.0 else "less"
        ends = sorted((abs(low), abs(high)))
        out.append(
            f"That costs {_number(abs(pair['cost']))} {money} {more} than {other} ({_between(ends)} {more}), with "
            f"{pair['service'] * 100.0:+.1f} points of service."
        )
    if assessment.reason == "LOOK_AHEAD":
        out.append("So the policy's orders are refused, and the fallback's are advised.")
    return out


def _expected(cost: float, interval: list[float], money: str) -> str:
    """A cost in words; where sales are in it, what is earned."""
    if cost < 0.0:
        return f"earnings of {_number(-cost)} {money} ({_between([-interval[1], -interval[0]])})"
    return f"costs of {_number(cost)} {money} ({_between(interval)})"


def _fields(assessment: Assessment, fields: list[dict[str, Any]] | str) -> list[str]:
    if assessment.source != "policy":
        return []
    if isinstance(fields, str) or not fields:
        why = fields or "no field moves them"
        return [f"Which fields moved the orders is not known: {why}."]
    out = []
    for entry in fields[:3]:
        more = "more" if entry["moves"] > 0.0 else "less"
        out.append(
            f"'{entry['name']}' is {_number(entry['value'])} {_unit(entry['unit'])}where training had "
            f"{_number(entry['training_mean'])} on average: because of it {_number(abs(entry['moves']))} "
            f"{entry['order_unit']} {more} on '{entry['arc']}'."
        )
    return out


def _distance(distance: Mapping[str, Any] | None) -> list[str]:
    if distance is None:
        return ["Whether the state is like those of training is not known: there is no outlier model."]
    usual = distance["value"] <= distance["usual"] and not distance["unusual"]
    like = "Like training" if usual else "Unlike training"
    sentence = (
        f"{like}: the state is {distance['value']:.1f} deviations from the training mean, and up to "
        f"{distance['usual']:.1f} is usual."
    )
    return [sentence, *[f"Unusual: {detail}." for detail in distance["unusual"][:3]]]


def _unit(unit: str) -> str:
    return "" if unit == "1" else f"{unit} "


def _number(value: float) -> str:
    """A number for people: no decimals where it is large."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"


def _between(ends: list[float]) -> str:
    return f"between {_number(ends[0])} and {_number(ends[1])}"
