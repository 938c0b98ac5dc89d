"""What the page shows, as plain values for its templates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.advisor.advisor import Advisor
from agents.advisor.approvals import Proposal
from agents.advisor.clock import parse_time
from agents.advisor.decision import Decision
from agents.advisor.errors import AdvisorError
from agents.advisor.fallback import describe
from agents.advisor.modes import MODES, counts_since
from agents.advisor.store import Record

__all__ = ["OPEN", "Chart", "Line", "arc_units", "explanation", "gist", "health", "minute", "moment"]
__all__ += ["number", "orders", "row", "units"]

#: States of proposals that wait for a person, most urgent first.
OPEN = ("unknown", "proposed", "approved", "modified", "executing")

#: What a line about a record names, where the record has it.
_GIST = ("person", "status", "state", "mode", "number", "code", "reasons", "reason", "detail", "proposal", "id")

#: In this order alternatives and columns are shown, whatever order a record keeps them in; others follow.
_ORDER = (
    *(
        "recommended",
        "fallback",
        "nothing",
        "alternative",
        "against",
        "name",
        "value",
        "unit",
        "training_mean",
        "moves",
    ),
    *("order_unit", "arc", "cost", "interval", "service", "service_interval", "code", "verdict", "changes", "detail"),
)

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640.0, 200.0, 70.0, 12.0, 22.0


def number(value: Any) -> str:
    """A number for people: four digits, thousands apart."""
    if not _is_number(value):
        return "-" if value is None else str(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"


def units(value: Any) -> str:
    """An order, to a thousandth of a unit."""
    return f"{value:,.3f}".rstrip("0").rstrip(".") if _is_number(value) else number(value)


def _is_number(value: Any) -> bool:
    """True for a number that is no yes or no."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def moment(text: str | None) -> str:
    """A moment of the record for people, in UTC."""
    return "-" if text is None else parse_time(text).strftime("%Y-%m-%d %H:%M:%S UTC")


def minute(text: str | None) -> str:
    """A moment of the record for a table, in UTC."""
    return moment(text)[:16]


def gist(record: Record) -> str:
    """What a record says, in a line: who, what, and why."""
    body = record.data
    said: dict[Any, str] = {}
    for key in _GIST:
        value = _cell(body.get(key))
        if value not in ("", "-"):
            # What stands under two names is said once.
            said.setdefault(value, f"{key} {value}")
    return ", ".join(said.values()) or record.body


def arc_units(advisor: Advisor) -> dict[str, str]:
    """The unit of each arc of the active bundle; none when it cannot be loaded."""
    try:
        spec = advisor.active.bundle.spec
    except AdvisorError:
        return {}
    return dict(zip(spec.arc_names, spec.arc_units, strict=True))


def row(decision: Decision, at: str) -> dict[str, Any]:
    """A decision as one line of a list."""
    body, orders = decision.body, decision.orders or {}
    flags = [f"{len(decision.body['unusual'])} unusual values"] if body["unusual"] else []
    if decision.source == "fallback":
        flags.append("the fallback decided")
    changed = [check["code"] for check in body["checks"] if check["verdict"] != "pass"]
    if changed:
        flags.append(f"guards stepped in: {', '.join(changed)}")
    return {
        "id": decision.id,
        "at": at,
        "record": decision.record,
        "state": decision.state or decision.status,
        "mode": decision.mode,
        "expires": body["expires"],
        "spend": body["spend"],
        "total": sum(orders.values()),
        "arcs": sum(value > 0.0 for value in orders.values()),
        "flags": flags,
    }


def orders(decision: Decision, proposal: Proposal | None, unit_of: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every arc: what the policy wanted, what the guards left, and what a person made of it."""
    raw, final = decision.raw_orders or {}, decision.orders or {}
    now = final if proposal is None else dict(proposal.orders)
    notes: dict[str, list[str]] = {}
    for check in decision.body["checks"]:
        for change in check["changes"]:
            notes.setdefault(change["arc"], []).append(check["code"])
    return [
        {
            "arc": arc,
            "unit": unit_of.get(arc, ""),
            "raw": raw.get(arc),
            "final": final.get(arc),
            "now": now.get(arc, 0.0),
            "notes": notes.get(arc, []),
        }
        for arc in raw or now
    ]


def health(advisor: Advisor) -> dict[str, Any]:
    """How things stand, for the top of the page."""
    with advisor.store.read() as tx:
        entry, drift, flag = tx.get("mode"), tx.get("drift"), tx.get("fidelity")
        counts = counts_since(tx, 0 if entry is None else int(entry["seq"]), 1_000_000)
        lost = int(tx.query("SELECT COUNT(*) FROM proposals WHERE state = 'unknown'")[0][0])
        records = tx.seq
    found: dict[str, Any] = {"mode": advisor.mode, "modes": MODES, "records": records, "counts": counts, "lost": lost}
    found["drift"] = None if drift is None else drift["length"]
    found["fidelity"] = flag["detail"] if flag is not None and flag["bad"] else None
    try:
        active = advisor.active
        found |= {"bundle": active.bundle_id, "name": active.bundle.path.name, "valid_until": active.valid_until}
        found |= {"highest": active.highest_mode, "fallback": describe(active, advisor.fallback), "trouble": None}
        found["currency"] = active.bundle.spec.currency
        found["drift_limit"] = None if active.outliers is None else active.outliers.drift.threshold
    except AdvisorError as error:
        found |= {
            "bundle": None,
            "name": None,
            "valid_until": None,
            "highest": None,
            "fallback": None,
            "drift_limit": None,
            "currency": "",
        }
        found["trouble"] = error.detail
    return found


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, its points as SVG writes them, and its last value."""

    name: str
    points: str
    last: float


@dataclass(frozen=True)
class Chart:
    """Lines over periods, in a box of 640 by 200."""

    title: str
    lines: tuple[Line, ...]
    low: float
    high: float
    periods: int


def explanation(given: Any) -> dict[str, Any] | None:
    """An explanation in the order in which it is shown; None where there is none. What is unknown is shown as it is.

    Parameters
    ----------
    given
        ``text`` sentences; ``expected`` and ``differences`` by alternative; ``trajectories``, a list of ``what``,
        ``unit`` and a series by alternative; ``fields`` with what they move; ``guards``; ``distance``. Each may be
        missing.
    """
    if not isinstance(given, Mapping) or not given:
        return None
    text = given.get("text") or []
    known = {"text", "expected", "differences", "fields", "guards", "distance", "trajectories"}
    rest = [key for key in given if key not in known]
    return {
        "text": [text] if isinstance(text, str) else [str(entry) for entry in text],
        "expected": _table(given.get("expected"), "alternative"),
        "differences": _table(given.get("differences"), "against"),
        "charts": [_chart(entry) for entry in given.get("trajectories") or [] if _series(entry)],
        "fields": _table(given.get("fields"), "field"),
        "guards": _table(given.get("guards"), "guard"),
        "pairs": [pair for key in ("distance", *rest) for pair in _pairs(given.get(key), key.replace("_", " "))],
    }


def _ordered(names: Iterable[Any]) -> list[Any]:
    return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def _table(given: Any, first: str) -> dict[str, Any] | None:
    """A list of mappings, or a mapping of mappings, as columns and rows; other lists as one column."""
    if isinstance(given, Mapping):
        entries = [
            {first: key, **(given[key] if isinstance(given[key], Mapping) else {"": given[key]})}
            for key in _ordered(given)
        ]
    elif isinstance(given, Sequence) and not isinstance(given, str):
        entries = [dict(value) if isinstance(value, Mapping) else {first: value} for value in given]
    else:
        return None
    columns = _ordered({key: None for entry in entries for key in entry})
    rows = [[_cell(entry.get(column)) for column in columns] for entry in entries]
    return {"columns": [str(column).replace("_", " ") for column in columns], "rows": rows} if rows else None


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) == 2 and all(_is_number(inner) for inner in value):
            return f"{number(value[0])} to {number(value[1])}"
        return ", ".join(str(_cell(inner)) for inner in value)
    return value if isinstance(value, str) else number(value)


def _pairs(given: Any, name: str) -> list[tuple[str, Any]]:
    entries = given.items() if isinstance(given, Mapping) else [("", given)]
    shown = [(f"{name} {key}".strip().replace("_", " "), _cell(value)) for key, value in entries]
    return [(label, value) for label, value in shown if value not in ("", "-")]


def _series(entry: Any) -> dict[str, list[float]]:
    """The series of a trajectory by their names."""
    if not isinstance(entry, Mapping):
        return {}
    return {
        str(name): entry[name] for name in _ordered(entry) if isinstance(entry[name], list) and len(entry[name]) > 1
    }


def _chart(entry: Mapping[str, Any]) -> Chart:
    lines = _series(entry)
    every = [value for values in lines.values() for value in values]
    low, high = min(every), max(every)
    periods = max(len(values) for values in lines.values())
    span = high - low or 1.0
    across, down = (_WIDTH - _LEFT - 8.0) / (periods - 1), _HEIGHT - _TOP - _BOTTOM

    def points(values: Sequence[float]) -> str:
        return " ".join(
            f"{_LEFT + across * k:.1f},{_TOP + down * (high - value) / span:.1f}" for k, value in enumerate(values)
        )

    drawn = tuple(Line(name, points(values), values[-1]) for name, values in lines.items())
    unit = f", {entry['unit']}" if entry.get("unit") else ""
    return Chart(f"{entry.get('what', '')}{unit}", drawn, low, high, periods)
