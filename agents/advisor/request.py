"""From what was sent to numbers: every field by its name, in its unit, and each thing that is wrong by its own code."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.clock import parse_time
from agents.advisor.errors import Problem
from agents.advisor.freshness import AS_OF
from envs.features import Field
from twin.errors import did_you_mean

__all__ = ["REQUEST_KEYS", "Request", "check_name", "parse_request"]

FloatArray = NDArray[np.float64]

#: What a request may hold; only the observation is required.
REQUEST_KEYS = (
    "observation",
    "request_id",
    "period",
    AS_OF,
    "spec_hash",
    "network_hash",
    "bundle_id",
    "closed",
    "available",
    "previous_orders",
    "twin_state",
)
_VALUE_KEYS = ("value", "unit", "at")


@dataclass(frozen=True)
class Request:
    """A request that can be decided.

    Attributes
    ----------
    request_id
        Whoever sends the same one twice gets the same decision; None where there is none.
    period
        As given.
    values
        (n,) in the order of the fields.
    times
        By field, and :data:`agents.advisor.freshness.AS_OF`, as far as they were given.
    closed, available, previous
        See :class:`agents.advisor.guards.Facts`; ``previous`` None where nothing was said.
    twin_state
        A snapshot for the look ahead, unchecked (:mod:`agents.advisor.rollouts`); None where there is none.
    """

    request_id: str | None
    period: int | str | None
    values: FloatArray
    times: Mapping[str, datetime.datetime]
    closed: tuple[str, ...]
    available: Mapping[str, float]
    previous: Mapping[str, float] | None
    twin_state: Mapping[str, Any] | None = None


def parse_request(
    data: object,
    fields: Sequence[Field],
    arcs: Sequence[str],
    limits: Sequence[str],
    hashes: Mapping[str, str],
) -> tuple[Request | None, list[Problem]]:
    """Read a request.

    Parameters
    ----------
    data
        Decoded JSON; ``observation`` maps every field name to a number, or to ``{value, unit, at}``.
    fields
        What the bundle observes, in order.
    arcs, limits
        Names that ``closed``, ``previous_orders`` and ``available`` may use.
    hashes
        What ``spec_hash``, ``network_hash`` and ``bundle_id`` must be where they are given.

    Returns
    -------
    request
        None when there are problems.
    problems
        All of them, each with its code; mismatches first, because with them the rest means nothing.
    """
    if not isinstance(data, Mapping):
        return None, [Problem("REQUEST", "request", f"the request must be a mapping, not {kind_of(data)}")]
    problems = [
        Problem("REQUEST", str(key), f"the request has no entry '{key}'{did_you_mean(key, REQUEST_KEYS)}")
        for key in data
        if key not in REQUEST_KEYS
    ]
    problems += _mismatches(data, hashes)
    observation = data.get("observation")
    if not isinstance(observation, Mapping):
        what = (
            "is missing"
            if "observation" not in data
            else f"must map field names to numbers, not be {kind_of(observation)}"
        )
        code = "SHAPE" if isinstance(observation, list | tuple) else "REQUEST"
        return None, [*problems, Problem(code, "observation", f"'observation' {what}")]
    request_id, period = data.get("request_id"), data.get("period")
    if request_id is not None:
        problems += check_name(request_id, "request_id", "REQUEST")
    if period is not None and (isinstance(period, bool) or not isinstance(period, int | str)):
        problems.append(
            Problem("REQUEST", "period", f"'period' must be a whole number or a text, not {kind_of(period)}")
        )
    problems += _names(observation, fields)
    times: dict[str, datetime.datetime] = {}
    if data.get(AS_OF) is not None:
        problems += _time(times, AS_OF, data[AS_OF])
    values = np.empty(len(fields))
    for k, field in enumerate(fields):
        if field.name in observation:
            values[k], found = _value(observation[field.name], field, times)
            problems += found
    closed, found = _closed(data.get("closed"), arcs)
    problems += found
    available, found = _amounts(data.get("available"), "available", limits)
    problems += found
    previous, found = _amounts(data.get("previous_orders"), "previous_orders", arcs)
    problems += found
    twin_state = data.get("twin_state")
    if twin_state is not None and not isinstance(twin_state, Mapping):
        detail = f"'twin_state' must be a snapshot of a twin's state, not {kind_of(twin_state)}"
        problems.append(Problem("REQUEST", "twin_state", detail))
    if problems:
        return None, problems
    given = None if data.get("previous_orders") is None else previous
    return Request(request_id, period, values, times, closed, available, given, twin_state), []


def check_name(value: object, place: str, code: str) -> list[Problem]:
    """Problems with a name that becomes part of records and addresses: 1 to 128 printable characters."""
    if isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable() and value.strip() == value:
        return []
    shown = repr(value[:40]) if isinstance(value, str) else kind_of(value)
    return [Problem(code, place, f"'{place}' must be a text of 1 to 128 printable characters, received {shown}")]


def kind_of(value: object) -> str:
    """What a value is, in the words of JSON."""
    names = {"NoneType": "null", "str": "a text", "bool": "true or false", "list": "a list", "dict": "a mapping"}
    return names.get(type(value).__name__, type(value).__name__)


def _mismatches(data: Mapping[Any, Any], hashes: Mapping[str, str]) -> list[Problem]:
    codes = {"spec_hash": "SPEC_MISMATCH", "network_hash": "NETWORK_MISMATCH", "bundle_id": "BUNDLE_MISMATCH"}
    problems = []
    for key, code in codes.items():
        given = data.get(key)
        if given is not None and given != hashes[key]:
            shown = str(given)[:12] if isinstance(given, str) else kind_of(given)
            problems.append(Problem(code, key, f"'{key}' is {shown}, the active bundle has {hashes[key][:12]}"))
    return problems


def _names(observation: Mapping[Any, Any], fields: Sequence[Field]) -> list[Problem]:
    known = {field.name for field in fields}
    missing = [field.name for field in fields if field.name not in observation]
    extra = [str(name) for name in observation if name not in known]
    problems = []
    # A renamed field is both missing and unknown: said once, as what it is.
    for name in missing:
        hint = did_you_mean(name, extra)
        if hint:
            other = next(entry for entry in extra if f"'{entry}'" in hint)
            extra.remove(other)
            problems.append(Problem("FIELD_RENAMED", name, f"'{name}' is missing, and '{other}' is no field{hint}"))
        else:
            problems.append(Problem("FIELD_MISSING", name, f"'{name}' is missing"))
    for name in extra:
        problems.append(
            Problem("FIELD_UNKNOWN", name, f"'{name}' is no field of this bundle{did_you_mean(name, known)}")
        )
    return problems


def _value(entry: object, field: Field, times: dict[str, datetime.datetime]) -> tuple[float, list[Problem]]:
    problems: list[Problem] = []
    value: Any = entry
    if isinstance(entry, Mapping):
        unknown = [key for key in entry if key not in _VALUE_KEYS]
        if unknown or "value" not in entry:
            odd = f"has no '{unknown[0]}'" if unknown else "needs a 'value'"
            detail = f"'{field.name}' {odd} (allowed: {', '.join(_VALUE_KEYS)})"
            return math.nan, [Problem("SHAPE", field.name, detail)]
        value = entry["value"]
        if entry.get("unit") is not None and entry["unit"] != field.unit:
            given = entry["unit"] if isinstance(entry["unit"], str) else kind_of(entry["unit"])
            problems.append(Problem("UNIT", field.name, f"'{field.name}' is in {field.unit}, received {given[:40]}"))
        if entry.get("at") is not None:
            problems += _time(times, field.name, entry["at"])
    number, found = _number(value, field.name, f"in {field.unit}")
    problems += found
    # A bound that float32 rounds outwards is still within the observation space.
    low, high = min(field.low, float(np.float32(field.low))), max(field.high, float(np.float32(field.high)))
    if not found and not low <= number <= high:
        detail = f"'{field.name}' is {number:g}, outside {field.low:g} to {field.high:g} {field.unit}"
        problems.append(Problem("OUT_OF_RANGE", field.name, detail))
    return number, problems


def _number(value: object, place: str, what: str) -> tuple[float, list[Problem]]:
    if isinstance(value, list | tuple | Mapping | np.ndarray):
        return math.nan, [Problem("SHAPE", place, f"'{place}' must be one number {what}, not {kind_of(value)}")]
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan, [Problem("NOT_A_NUMBER", place, f"'{place}' must be a number {what}, not {kind_of(value)}")]
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return number, [Problem("NOT_FINITE", place, f"'{place}' must be a finite number {what}, received {number}")]
    return number, []


def _time(times: dict[str, datetime.datetime], place: str, value: object) -> list[Problem]:
    try:
        times[place] = parse_time(value)
    except ValueError as error:
        return [Problem("TIME", place, f"'{place}': {error}")]
    return []


def _closed(value: object, arcs: Sequence[str]) -> tuple[tuple[str, ...], list[Problem]]:
    if value is None:
        return (), []
    if not isinstance(value, list | tuple):
        return (), [Problem("REQUEST", "closed", f"'closed' must be a list of arcs, not {kind_of(value)}")]
    problems = [
        Problem("REQUEST", "closed", f"'closed' names '{name}', which is no arc{did_you_mean(name, arcs)}")
        for name in value
        if name not in arcs
    ]
    return () if problems else tuple(value), problems


def _amounts(value: object, place: str, allowed: Sequence[str]) -> tuple[dict[str, float], list[Problem]]:
    if value is None:
        return {}, []
    if not isinstance(value, Mapping):
        return {}, [Problem("REQUEST", place, f"'{place}' must map names to amounts, not be {kind_of(value)}")]
    amounts, problems = {}, []
    for name, entry in value.items():
        if name not in allowed:
            detail = f"'{place}' has no '{name}'{did_you_mean(name, allowed)}"
            problems.append(Problem("REQUEST", place, detail))
            continue
        amounts[name], found = _number(entry, f"{place}.{name}", "of units")
        if not found and amounts[name] < 0.0:
            found = [Problem("OUT_OF_RANGE", f"{place}.{name}", f"'{place}.{name}' must not be below 0")]
        problems += found
    return amounts, problems
