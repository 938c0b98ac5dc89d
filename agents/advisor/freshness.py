"""How old is what the state says? Every field has an age; nothing is decided on a state that is stale."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from agents.advisor.errors import Problem
from agents.advisor.guardrails import FreshnessRules

__all__ = ["AS_OF", "check_clock", "check_freshness"]

#: Under this name stands the time of all fields that have none of their own.
AS_OF = "as_of"


def check_freshness(
    times: Mapping[str, datetime.datetime],
    fields: Sequence[str],
    rules: FreshnessRules,
    now: datetime.datetime,
    last: Mapping[str, datetime.datetime],
) -> tuple[list[Problem], dict[str, float]]:
    """Compare the time of every field with its limit.

    Parameters
    ----------
    times
        By field, and :data:`AS_OF` for the others.
    fields
        All fields.
    rules
        From the guard file.
    now
        The moment of the decision.
    last
        The times of the decision before, in the same form.

    Returns
    -------
    problems
        ``TIME`` where a time is needed and missing, ``STALE``, ``FUTURE``, and ``DATA_BACKWARDS`` where a field is
        older than at the decision before.
    ages
        Seconds, of every name in ``times``.
    """
    problems = []
    ages = {name: (now - moment).total_seconds() for name, moment in times.items()}
    limits = {name: rules.maximum_age(name) for name in fields}
    # One sentence for all fields that share a time: a hundred would bury the cause.
    shared = [limit for name, limit in limits.items() if name not in times and limit is not None]
    wanted: dict[str, float | None] = {name: limits[name] for name in times if name != AS_OF}
    if AS_OF in times:
        wanted[AS_OF] = min(shared) if shared else None
    elif shared:
        lacking = [name for name, limit in limits.items() if name not in times and limit is not None]
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        problems.append(
            Problem(
                "TIME",
                AS_OF,
                f"'{lacking[0]}'{more} must be at most {min(shared):g} s old, and has no time: give '{AS_OF}'",
            )
        )
    for name, limit in wanted.items():
        age, what = ages[name], "the state" if name == AS_OF else f"'{name}'"
        if limit is not None and age > limit:
            problems.append(Problem("STALE", name, f"{what} is {age:.0f} s old, {limit:g} s are allowed"))
        if age < -rules.future_tolerance_seconds:
            problems.append(
                Problem(
                    "FUTURE",
                    name,
                    f"{what} is from {-age:.0f} s in the future, {rules.future_tolerance_seconds:g} s are allowed: one "
                    "of two clocks is wrong",
                )
            )
        before = last.get(name)
        if before is not None and times[name] < before:
            problems.append(
                Problem(
                    "DATA_BACKWARDS",
                    name,
                    f"{what} is of {times[name].isoformat()}, the decision before saw that of {before.isoformat()}",
                )
            )
    return problems, ages


def check_clock(now: datetime.datetime, last: datetime.datetime, rules: FreshnessRules) -> list[Problem]:
    """``CLOCK_BACKWARDS`` when this machine's clock stands before the last record by more than is allowed."""
    back = (last - now).total_seconds()
    if back <= rules.clock_tolerance_seconds:
        return []
    detail = (
        f"the clock says {now.isoformat()}, {back:.0f} s before the last record; {rules.clock_tolerance_seconds:g} s "
        "are allowed, because ages and expiry cannot be told with it"
    )
    return [Problem("CLOCK_BACKWARDS", "clock", detail)]
