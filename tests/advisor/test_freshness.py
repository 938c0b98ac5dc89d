"""The age of a state: stale, from the future, older than what was seen before, and a clock that went back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from agents.advisor.freshness import check_freshness
from agents.advisor.guardrails import FreshnessRules
from tests.advisor.helpers import START, Rig, refused

NORTH = "on_hand[north/item]"
RULES = {"maximum_age_seconds": 600.0, "fields": {NORTH: 60.0}}


def at(seconds: float) -> str:
    return (START + datetime.timedelta(seconds=seconds)).isoformat()


def with_north(rig: Rig, north: float, others: float) -> dict[str, Any]:
    state = rig.state(as_of=at(others))
    state["observation"][NORTH] = {"value": state["observation"][NORTH], "at": at(north)}
    return state


def test_a_fresh_state_is_decided(make: Callable[..., Rig]) -> None:
    rig = make(freshness=RULES)
    assert rig.advisor.decide(with_north(rig, -59.0, -599.0)).status == "proposed"


def test_each_field_has_its_own_age(make: Callable[..., Rig]) -> None:
    rig = make(freshness=RULES)
    refusal = refused(rig.advisor.decide, with_north(rig, -61.0, -10.0))
    assert (refusal.code, refusal.status) == ("STALE", 422)
    assert [problem.place for problem in refusal.problems] == [NORTH]
    refusal = refused(rig.advisor.decide, with_north(rig, -10.0, -601.0))
    assert [problem.place for problem in refusal.problems] == ["as_of"]
    assert "601 s old, 600 s are allowed" in refusal.detail
    # Where a field has no time of its own, the state's must do for its limit too.
    refusal = refused(rig.advisor.decide, rig.state(as_of=at(-100.0)))
    assert "100 s old, 60 s are allowed" in refusal.detail


def test_a_state_without_a_time_is_refused_where_its_age_counts(make: Callable[..., Rig]) -> None:
    rig = make(freshness=RULES)
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("TIME", 422)
    assert "and 26 more must be at most 60 s old" in refusal.detail


def test_a_state_from_the_future_is_refused(rig: Rig) -> None:
    assert rig.advisor.decide(rig.state(as_of=at(4.0))).status == "proposed"
    refusal = refused(rig.advisor.decide, rig.state(as_of=at(6.0)))
    assert (refusal.code, refusal.status) == ("FUTURE", 422)


def test_a_state_older_than_the_one_before_is_refused(rig: Rig) -> None:
    rig.advisor.decide(with_north(rig, -10.0, -10.0))
    refusal = refused(rig.advisor.decide, with_north(rig, -20.0, -5.0))
    assert (refusal.code, refusal.status) == ("DATA_BACKWARDS", 422)
    assert [problem.place for problem in refusal.problems] == [NORTH]
    assert rig.advisor.decide(with_north(rig, -10.0, -10.0)).status == "proposed"


def test_a_clock_that_went_back_decides_nothing(rig: Rig) -> None:
    rig.advisor.decide(rig.state())
    rig.clock.forward(-4.0)
    assert rig.advisor.decide(rig.state()).status == "proposed"
    rig.clock.forward(-4.0)
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("CLOCK_BACKWARDS", 503)


def test_ages_are_reported_for_every_time_that_was_given() -> None:
    times = {"as_of": START, "a": START - datetime.timedelta(seconds=5)}
    problems, ages = check_freshness(times, ["a", "b"], FreshnessRules(), START, {})
    assert problems == []
    assert ages == {"as_of": 0.0, "a": 5.0}
