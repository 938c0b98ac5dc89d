"""Orders that persons state, and what really happened in a period: read with every bad entry named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agents.advisor.active import Active
from agents.advisor.errors import AdvisorError, Problem, first_of
from agents.advisor.request import kind_of
from twin.errors import did_you_mean

__all__ = ["ACTUAL_KEYS", "read_actual", "read_orders"]

#: What a report of a period may hold; only the orders are required.
ACTUAL_KEYS = ("orders", "cost", "demand", "served")


def read_orders(orders: object, active: Active) -> dict[str, float]:
    """A person's orders, complete and finite; AdvisorError that names every bad one."""
    if not isinstance(orders, Mapping):
        raise AdvisorError("REQUEST", "orders must map arcs to amounts")
    problems = []
    for name, value in orders.items():
        if name not in active.arcs:
            detail = f"'{name}' is no arc of this bundle{did_you_mean(name, active.arcs)}"
            problems.append(Problem("REQUEST", str(name), detail))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e300:
            problems.append(
                Problem("NOT_A_NUMBER", str(name), f"'{name}' must be an amount of 0 or more, not {value!r}")
            )
    problems += [
        Problem("FIELD_MISSING", name, f"'{name}' is missing: say 0 for no order")
        for name in active.arcs
        if name not in orders
    ]
    if problems:
        raise first_of(problems)
    return {name: float(value) for name, value in orders.items()}


def read_actual(actual: object, active: Active) -> dict[str, Any]:
    """What happened in a period, with None for what was not said; AdvisorError that names what is wrong."""
    if not isinstance(actual, Mapping) or "orders" not in actual:
        raise AdvisorError("REQUEST", f"what happened must be a mapping with 'orders' (allowed: {_allowed()})")
    problems = [
        Problem("REQUEST", str(key), f"no entry '{key}' (allowed: {_allowed()}){did_you_mean(key, ACTUAL_KEYS)}")
        for key in actual
        if key not in ACTUAL_KEYS
    ]
    numbers: dict[str, float | None] = {}
    for key in ACTUAL_KEYS[1:]:
        value = actual.get(key)
        wrong = value is not None and (isinstance(value, bool) or not isinstance(value, int | float))
        if wrong or (value is not None and not math.isfinite(value)):
            problems.append(Problem("NOT_A_NUMBER", key, f"'{key}' must be a finite number, not {kind_of(value)}"))
        elif value is not None and key != "cost" and value < 0.0:
            problems.append(Problem("OUT_OF_RANGE", key, f"'{key}' must not be below 0, received {value:g}"))
        else:
            numbers[key] = None if value is None else float(value)
    if problems:
        raise first_of(problems)
    return {"orders": read_orders(actual["orders"], active), **numbers}


def _allowed() -> str:
    return ", ".join(ACTUAL_KEYS)
