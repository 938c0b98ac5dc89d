"""Modes fall by themselves, each time with a reason on record; only a person raises them, through a gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from agents.advisor import Advisor, open_store, verify
from agents.advisor.dispatch import UnsureError
from agents.bundle import Bundle
from tests.advisor.helpers import START, Remembering, Rig, rails, refused


def last_mode(rig: Rig) -> tuple[str, list[str], str | None]:
    entry = rig.last("mode")
    return entry["mode"], entry["reasons"], entry["person"]


def test_in_shadow_the_answer_is_recorded_and_nothing_is_proposed(make: Callable[..., Rig]) -> None:
    rig = make(mode="shadow")
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.state) == ("shadow", None)
    assert decision.orders
    assert rig.advisor.proposals() == []
    assert rig.sender.sent == []


def test_autonomous_acts_inside_its_envelope(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.state) == ("executing", "done")
    assert len(rig.sender.sent) == 1
    assert rig.kinds()[-3:] == ["decision", "intent", "outcome"]
    assert verify(rig.store).ok


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"autonomy": {"spend_limit": 10.0}}, "SPEND"),
        ({"arcs": {"plant->central:rail:item": {"risk": "high"}}}, "RISK"),
        ({"autonomy": {}, "prices": {}}, "SPEND"),
    ],
)
def test_outside_the_envelope_a_person_is_asked(make: Callable[..., Rig], changes: dict[str, Any], why: str) -> None:
    rig = make(mode="autonomous", **changes)
    decision = rig.advisor.decide(rig.state())
    assert decision.status == "proposed"
    assert [reason.partition(":")[0] for reason in decision.outside] == [why]
    assert rig.sender.sent == []
    assert rig.advisor.mode == "autonomous"


def test_halted_decides_nothing(rig: Rig) -> None:
    rig.advisor.halt(person="planner", reason="fire")
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("HALTED", 423)
    assert rig.last("refused")["code"] == "HALTED"
    rig.advisor.halt(person="planner")
    assert rig.kinds().count("mode") == 2


# -- down by itself -----------------------------------------------------------------------------------------------


def test_stale_data_ends_autonomy(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous", freshness={"maximum_age_seconds": 60.0})
    rig.clock.forward(120.0)
    for _ in range(4):
        assert rig.advisor.mode == "autonomous"
        assert refused(rig.advisor.decide, rig.state(as_of=START.isoformat())).code == "STALE"
    assert last_mode(rig) == ("advisory", ["STALE_DATA"], None)


def test_too_many_outliers_end_autonomy(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    for number in range(8):
        state = rig.state()
        if number % 3 == 0:
            # Another one each time: the same again and again would be a drift, which has an alarm of its own.
            state["observation"][list(state["observation"])[number]] *= 1.5
        rig.advisor.decide(state)
    assert last_mode(rig) == ("advisory", ["OUTLIER_RATE"], None)


def test_the_decision_that_raises_the_alarm_is_not_sent_any_more(make: Callable[..., Rig]) -> None:
    """Blocks count before the next decision is made, and a decision counts itself."""
    rig = make(mode="autonomous")
    closed = rig.state(closed=list(rig.advisor.active.arcs))
    for _ in range(3):
        refusal = refused(rig.advisor.decide, closed)
        assert (refusal.code, refusal.status) == ("ALL_MASKED", 422)
        assert rig.advisor.mode == "autonomous"
    decision = rig.advisor.decide(rig.state())
    assert decision.status == "proposed"
    assert last_mode(rig) == ("advisory", ["GUARD_BLOCKS"], None)
    assert rig.sender.sent == []


def test_a_slow_drift_ends_autonomy(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    state = rig.state()
    state["observation"] = {
        name: value * 1.05 if name.startswith("on_hand") else value for name, value in state["observation"].items()
    }
    for _ in range(40):
        if rig.advisor.decide(state).mode == "advisory":
            break
    assert last_mode(rig) == ("advisory", ["DRIFT"], None)
    assert refused(rig.advisor.set_mode, "autonomous", person="planner").code == "GATE"


def test_a_twin_that_no_longer_fits_ends_autonomy(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    rig.advisor.flag_fidelity(True, "costs 20 % off")
    assert last_mode(rig) == ("advisory", ["FIDELITY"], None)
    refusal = refused(rig.advisor.set_mode, "autonomous", person="planner")
    assert (refusal.code, refusal.status) == ("GATE", 409)
    assert "costs 20 % off" in refusal.detail
    rig.advisor.flag_fidelity(False)
    assert rig.advisor.set_mode("autonomous", person="planner") == "autonomous"


def test_an_unknown_outcome_ends_autonomy_until_it_is_resolved(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    rig.sender.error = UnsureError("no answer")
    decision = rig.advisor.decide(rig.state())
    assert decision.state == "unknown"
    assert last_mode(rig) == ("advisory", ["UNKNOWN_OUTCOME"], None)
    refusal = refused(rig.advisor.set_mode, "autonomous", person="planner")
    assert refusal.code == "GATE"
    assert decision.id in refusal.detail
    rig.advisor.resolve(decision.id, "failed", person="planner")
    assert rig.advisor.set_mode("autonomous", person="planner") == "autonomous"


def test_a_policy_that_fails_ends_autonomy(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(mode="autonomous")
    monkeypatch.setattr("agents.runtime.Mlp.scores", lambda *_: 1 / 0)
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.source) == ("proposed", "fallback")
    assert last_mode(rig) == ("advisory", ["POLICY_FAILED"], None)


def test_a_bundle_past_its_date_falls_to_shadow(rig: Rig) -> None:
    number, active = rig.advisor.load_current()
    manifest = {**active.bundle.manifest, "valid_until": "2026-03-02T09:00:00.000000Z"}
    dated = dataclasses.replace(active, bundle=dataclasses.replace(active.bundle, manifest=manifest))
    rig.advisor.current = (number, dated)
    assert rig.advisor.decide(rig.state()).status == "proposed"
    rig.clock.forward(3600.0)
    assert rig.advisor.decide(rig.state()).status == "shadow"
    assert last_mode(rig) == ("shadow", ["BUNDLE_EXPIRED"], None)
    refusal = refused(rig.advisor.set_mode, "advisory", person="planner")
    assert refusal.code == "GATE"
    assert "valid until" in refusal.detail


def test_a_new_bundle_does_not_act_alone(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    rig.advisor.activate(rig.bundle, person="planner", guardrails=rig.rails, outliers=rig.outliers)
    assert last_mode(rig) == ("advisory", ["NEW_BUNDLE"], None)
    rig.advisor.set_mode("autonomous", person="planner")
    rig.advisor.roll_back(person="planner")
    assert rig.advisor.mode == "advisory"


# -- up by a person -----------------------------------------------------------------------------------------------


def test_a_mode_is_raised_one_step_at_a_time_through_its_gate(make: Callable[..., Rig]) -> None:
    gates = {"advisory": {"decisions": 3}, "autonomous": {"decisions": 2, "outliers": 0.0, "blocked": 0.0}}
    rig = make(mode="shadow", promotion=gates)
    refusal = refused(rig.advisor.set_mode, "autonomous", person="planner")
    assert "from 'shadow' the next mode is 'advisory'" in refusal.detail
    refusal = refused(rig.advisor.set_mode, "advisory", person="planner")
    assert "needs 3 decisions in 'shadow', there are 0" in refusal.detail
    for _ in range(3):
        rig.advisor.decide(rig.state())
    assert rig.advisor.set_mode("advisory", person="planner", reason="looks good") == "advisory"
    assert last_mode(rig) == ("advisory", ["PERSON"], "planner")
    refused(rig.advisor.decide, rig.state(closed=list(rig.advisor.active.arcs)))
    rig.advisor.decide(rig.state())
    refusal = refused(rig.advisor.set_mode, "autonomous", person="planner")
    assert "allows a share of 0 blocked, the last 2 had 0.5" in refusal.detail
    assert rig.advisor.set_mode("shadow", person="planner") == "shadow"


def test_no_person_raises_the_mode_above_what_file_and_bundle_allow(make: Callable[..., Rig]) -> None:
    rig = make(highest_mode="advisory")
    refusal = refused(rig.advisor.set_mode, "autonomous", person="planner")
    assert (refusal.code, refusal.status) == ("GATE", 409)
    assert "up to 'advisory'" in refusal.detail
    number, active = rig.advisor.load_current()
    for stated in ("shadow", "nonsense"):
        manifest = {**active.bundle.manifest, "highest_mode": stated}
        limited = dataclasses.replace(active, bundle=dataclasses.replace(active.bundle, manifest=manifest))
        assert limited.highest_mode == ("shadow" if stated == "shadow" else "halted")
    assert number == 1


def test_a_word_that_is_no_mode_is_refused(rig: Rig) -> None:
    refusal = refused(rig.advisor.set_mode, "autonomus", person="planner")
    assert (refusal.code, refusal.status) == ("REQUEST", 400)
    assert "did you mean 'autonomous'" in refusal.detail
    assert refused(rig.advisor.set_mode, "shadow", person="").code == "PERSON"


def test_a_store_does_not_begin_autonomous(bundle: Bundle, tmp_path: Any) -> None:
    store = open_store(tmp_path / "s.db")
    assert refused(Advisor, bundle, store, mode="autonomous", guardrails=rails(highest_mode="advisory")).code == "GATE"
    store.close()


def test_a_halt_in_the_middle_of_a_decision_wins(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between asking the policy and writing the record somebody halts: nothing comes of the decision."""
    honest = type(rig.bundle.policy).scores
    sender = Remembering()

    def halting(self: Any, values: Any) -> Any:
        other = Advisor(None, open_store(rig.folder / "store.db", clock=rig.clock), sender=sender)
        other.halt(person="approver")
        other.close()
        return honest(self, values)

    def scores(self: Any, values: Any) -> Any:
        monkeypatch.setattr("agents.runtime.Mlp.scores", honest)
        return halting(self, values)

    monkeypatch.setattr("agents.runtime.Mlp.scores", scores)
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("HALTED", 423)
    assert rig.advisor.proposals() == []
