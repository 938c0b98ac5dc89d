"""Approvals: bound to one action of one bundle until one moment; of many who approve at once, one counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from agents.advisor import AdvisorError, Decision, open_store, verify
from agents.advisor.advisor import Advisor
from agents.advisor.approvals import STEPS
from agents.advisor.replay import replay
from tests.advisor.helpers import ARCS, Rig, refused


def propose(rig: Rig) -> Decision:
    decision = rig.advisor.decide(rig.state())
    assert decision.state == "proposed"
    return decision


def approve(rig: Rig, decision: Decision, person: str = "planner", **options: Any) -> Any:
    return rig.advisor.approve(decision.id, person=person, action_hash=str(decision.action_hash), **options)


def test_an_approved_proposal_is_executed_on_a_fresh_state(rig: Rig) -> None:
    decision = propose(rig)
    assert approve(rig, decision).state == "approved"
    assert rig.sender.sent == []
    proposal = rig.advisor.execute(decision.id, rig.state(), person="planner")
    assert proposal.state == "done"
    ((key, message),) = rig.sender.sent
    assert key == f"{decision.id}-{decision.action_hash[:16]}"  # type: ignore[index]
    assert {entry["arc"]: entry["order"] for entry in message["orders"]} == decision.orders
    assert message["orders"][0]["unit"] == "case"
    assert rig.kinds()[-4:] == ["decision", "approved", "intent", "outcome"]
    assert verify(rig.store).ok
    assert replay(rig.store).ok


def test_approval_with_a_fresh_state_executes_at_once(rig: Rig) -> None:
    assert approve(rig, propose(rig), state=rig.state()).state == "done"
    assert len(rig.sender.sent) == 1


def test_the_second_approver_gets_a_conflict(rig: Rig) -> None:
    decision = propose(rig)
    approve(rig, decision)
    refusal = refused(approve, rig, decision, "approver")
    assert (refusal.code, refusal.status) == ("CONFLICT", 409)
    assert "is approved by planner" in refusal.detail
    assert rig.last("step_refused")["person"] == "approver"


@pytest.mark.parametrize("separate", [False, True], ids=["one store", "a store each"])
def test_of_fifty_who_approve_at_once_one_counts(rig: Rig, separate: bool) -> None:
    decision = propose(rig)
    path = rig.folder / "store.db"
    advisors = [
        Advisor(None, open_store(path, clock=rig.clock), sender=rig.sender) if separate and n < 8 else rig.advisor
        for n in range(50)
    ]
    start, results = threading.Barrier(50), []

    def one(number: int) -> None:
        start.wait()
        try:
            advisors[number].approve(
                decision.id, person=f"person {number}", action_hash=str(decision.action_hash), state=rig.state()
            )
            results.append("approved")
        except AdvisorError as error:
            results.append(f"{error.code} {error.status}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["CONFLICT 409"] * 49 + ["approved"]
    assert len(rig.sender.sent) == 1
    assert rig.kinds().count("approved") == 1
    assert verify(rig.store).ok
    for advisor in advisors:
        if advisor is not rig.advisor:
            advisor.close()


def test_above_a_limit_two_persons_are_needed(make: Callable[..., Rig]) -> None:
    rig = make(approval={"two_persons_above": 1.0})
    decision = propose(rig)
    proposal = approve(rig, decision)
    assert (proposal.state, proposal.needed, proposal.persons) == ("proposed", 2, ("planner",))
    refusal = refused(approve, rig, decision, "planner")
    assert (refusal.code, refusal.status) == ("SAME_PERSON", 409)
    refusal = refused(rig.advisor.execute, decision.id, rig.state(), person="planner")
    assert (refusal.code, refusal.status) == ("CONFLICT", 409)
    assert approve(rig, decision, "approver", state=rig.state()).state == "done"
    refusal = refused(approve, rig, decision, "cid")
    assert (refusal.code, refusal.status) == ("CONFLICT", 409)


def test_of_fifty_two_count_where_two_are_needed(make: Callable[..., Rig]) -> None:
    rig = make(approval={"two_persons_above": 1.0})
    decision, results = propose(rig), []

    def one(number: int) -> None:
        try:
            results.append(approve(rig, decision, f"person {number}").state)
        except AdvisorError as error:
            results.append(error.code)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["CONFLICT"] * 48 + ["approved", "proposed"]


def test_what_expired_can_be_neither_approved_nor_executed(rig: Rig) -> None:
    first, second = propose(rig), propose(rig)
    approve(rig, second)
    rig.clock.forward(3600.0)
    for call in (
        lambda: approve(rig, first),
        lambda: approve(rig, first),
        lambda: rig.advisor.reject(first.id, person="planner"),
        lambda: rig.advisor.execute(second.id, rig.state(), person="planner"),
    ):
        refusal = refused(call)
        assert (refusal.code, refusal.status) == ("EXPIRED", 410)
    assert {proposal.state for proposal in rig.advisor.proposals()} == {"expired"}
    assert rig.kinds().count("expired") == 2
    # A clock that goes back afterwards does not bring it to life again.
    rig.clock.forward(-3600.0)
    assert refused(approve, rig, first).code == "EXPIRED"


def test_a_clock_that_goes_back_lengthens_no_approval(rig: Rig) -> None:
    decision = propose(rig)
    rig.clock.forward(3601.0)
    with rig.store.write() as tx:
        tx.append("note", {})
    rig.clock.forward(-3601.0)
    assert refused(approve, rig, decision).code == "EXPIRED"


def test_another_actions_hash_approves_nothing(rig: Rig) -> None:
    first, second = propose(rig), propose(rig)
    for wrong in (str(second.action_hash), "0" * 64, "", str(first.action_hash)[:11]):
        refusal = refused(rig.advisor.approve, first.id, person="planner", action_hash=wrong)
        assert (refusal.code, refusal.status) == ("ACTION_MISMATCH", 412)
    assert first.orders == second.orders
    assert rig.advisor.approve(first.id, person="planner", action_hash=str(first.action_hash)[:12]).state == "approved"


def test_a_proposal_of_the_bundle_before_is_not_approved(rig: Rig, tmp_path: Any) -> None:
    from envs.inventory import InventoryTask
    from tests.agents.test_bundle import write

    decision, approved = propose(rig), propose(rig)
    approve(rig, approved)
    task = InventoryTask("five_site_distribution", action_mode="quantity")
    other = write(tmp_path / "other", task)
    rig.advisor.activate(other, person="planner", guardrails=rig.rails, outliers=rig.outliers)
    for call in (
        lambda: approve(rig, decision),
        lambda: rig.advisor.execute(approved.id, {**rig.state(), "spec_hash": None}, person="planner"),
    ):
        refusal = refused(call)
        assert (refusal.code, refusal.status) == ("BUNDLE_MISMATCH", 412)
    late = rig.advisor.decide({**rig.state(), "spec_hash": None})
    rig.advisor.roll_back(person="planner")
    refusal = refused(approve, rig, late)
    assert (refusal.code, refusal.status) == ("BUNDLE_MISMATCH", 412)
    assert approve(rig, decision, state=rig.state()).state == "done"
    assert replay(rig.store).ok


def test_nothing_is_approved_or_executed_while_halted(rig: Rig) -> None:
    first, second = propose(rig), propose(rig)
    approve(rig, second)
    rig.advisor.halt(person="approver", reason="strike")
    for call in (
        lambda: approve(rig, first),
        lambda: rig.advisor.execute(second.id, rig.state(), person="planner"),
        lambda: rig.advisor.modify(
            first.id, first.orders or {}, person="planner", action_hash=str(first.action_hash), state=rig.state()
        ),
    ):
        refusal = refused(call)
        assert (refusal.code, refusal.status) == ("HALTED", 423)
    assert rig.advisor.reject(first.id, person="planner", reason="strike").state == "rejected"
    assert rig.sender.sent == []


def test_nothing_is_approved_or_executed_while_the_incumbent_acts(rig: Rig) -> None:
    first, second = propose(rig), propose(rig)
    approve(rig, second)
    rig.advisor.set_mode("shadow", person="approver")
    for call in (lambda: approve(rig, first), lambda: rig.advisor.execute(second.id, rig.state(), person="planner")):
        refusal = refused(call)
        assert (refusal.code, refusal.status) == ("GATE", 409)
    assert rig.sender.sent == []


def test_an_unknown_proposal_is_not_found(rig: Rig) -> None:
    decision = propose(rig)
    refusal = refused(rig.advisor.approve, decision.id[:-1] + "x", person="planner", action_hash="0" * 64)
    assert (refusal.code, refusal.status) == ("NOT_FOUND", 404)
    assert "did you mean" in refusal.detail


def test_who_has_no_name_cannot_approve(rig: Rig) -> None:
    decision = propose(rig)
    for name in ("", " planner", "a\nb", 5):
        refusal = refused(rig.advisor.approve, decision.id, person=name, action_hash=str(decision.action_hash))
        assert (refusal.code, refusal.status) == ("PERSON", 400)


def test_a_rejected_proposal_stays_rejected(rig: Rig) -> None:
    decision = propose(rig)
    assert rig.advisor.reject(decision.id, person="planner", reason="too much").state == "rejected"
    assert refused(approve, rig, decision, "approver").code == "CONFLICT"
    assert refused(rig.advisor.reject, decision.id, person="approver").code == "CONFLICT"
    assert rig.last("rejected")["reason"] == "too much"


# -- modification -------------------------------------------------------------------------------------------------


def modify(rig: Rig, decision: Decision, orders: Any, person: str = "planner") -> Any:
    return rig.advisor.modify(
        decision.id, orders, person=person, action_hash=str(decision.action_hash), state=rig.state()
    )


def test_a_persons_orders_are_executed_as_they_are(rig: Rig) -> None:
    decision = propose(rig)
    orders = dict.fromkeys(ARCS, 12.5)
    proposal = modify(rig, decision, orders)
    assert proposal.state == "modified"
    assert proposal.action_hash != decision.action_hash
    assert rig.last("modified")["before"] == decision.orders
    assert rig.advisor.execute(decision.id, rig.state(), person="planner").state == "done"
    assert {entry["order"] for entry in rig.sender.sent[0][1]["orders"]} == {12.5}
    assert replay(rig.store).modifications == 1
    assert replay(rig.store).ok


def test_a_persons_orders_are_guarded_and_not_changed_silently(make: Callable[..., Rig]) -> None:
    rig = make(default={"maximum": 500.0, "lot_size": 5.0})
    decision = propose(rig)
    refusal = refused(modify, rig, decision, dict.fromkeys(ARCS, 12.0))
    assert (refusal.code, refusal.status) == ("HARD_LIMIT", 422)
    assert "12 is not allowed, 10 is" in refusal.detail
    refusal = refused(modify, rig, decision, {**dict.fromkeys(ARCS, 0.0), ARCS[0]: 505.0})
    assert (refusal.code, refusal.status) == ("MAXIMUM_ORDER", 422)
    assert [problem.place for problem in refusal.problems] == [ARCS[0]]
    assert rig.advisor.proposal(decision.id).state == "proposed"


@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ({}, "FIELD_MISSING"),
        ({**dict.fromkeys(ARCS, 1.0), "x": 1.0}, "REQUEST"),
        (dict.fromkeys(ARCS, -1.0), "NOT_A_NUMBER"),
        (dict.fromkeys(ARCS, float("nan")), "NOT_A_NUMBER"),
        (dict.fromkeys(ARCS, "5"), "NOT_A_NUMBER"),
        (dict.fromkeys(ARCS, True), "NOT_A_NUMBER"),
        ([1.0], "REQUEST"),
    ],
)
def test_orders_that_are_none_are_refused(rig: Rig, orders: Any, code: str) -> None:
    assert refused(modify, rig, propose(rig), orders).code == code


def test_a_dear_modification_needs_a_second_person_who_sees_the_new_action(make: Callable[..., Rig]) -> None:
    rig = make(approval={"two_persons_above": 100.0})
    decision = propose(rig)
    proposal = modify(rig, decision, dict.fromkeys(ARCS, 50.0))
    assert (proposal.state, proposal.persons) == ("proposed", ("planner",))
    assert refused(approve, rig, decision, "approver").code == "ACTION_MISMATCH"
    new = proposal.action_hash
    assert refused(rig.advisor.approve, decision.id, person="planner", action_hash=new).code == "SAME_PERSON"
    assert rig.advisor.approve(decision.id, person="approver", action_hash=new, state=rig.state()).state == "done"
    cheap = propose(rig)
    assert modify(rig, cheap, dict.fromkeys(ARCS, 1.0)).state == "modified"


# -- execution ----------------------------------------------------------------------------------------------------


def test_guards_run_again_on_the_state_of_now(make: Callable[..., Rig]) -> None:
    rig = make(limits=[{"name": "dock", "kind": "capacity", "unit": "case", "limit": 1e6, "default": 1.0}])
    decision = propose(rig)
    approve(rig, decision)
    refusal = refused(rig.advisor.execute, decision.id, rig.state(available={"dock": 3.0}), person="planner")
    assert (refusal.code, refusal.status) == ("GUARD_AT_EXECUTION", 422)
    assert "CAPACITY" in refusal.detail
    assert rig.advisor.proposal(decision.id).state == "failed"
    assert rig.sender.sent == []
    closed = propose(rig)
    refusal = refused(approve, rig, closed, state=rig.state(closed=[ARCS[0]]))
    assert refusal.code == "GUARD_AT_EXECUTION"


def test_a_stale_state_executes_nothing_and_the_approval_stays(make: Callable[..., Rig]) -> None:
    rig = make(freshness={"maximum_age_seconds": 60.0})
    now = rig.clock.now.isoformat()
    decision = rig.advisor.decide(rig.state(as_of=now))
    approve(rig, decision)
    rig.clock.forward(61.0)
    refusal = refused(rig.advisor.execute, decision.id, rig.state(as_of=now), person="planner")
    assert (refusal.code, refusal.status) == ("STALE", 422)
    assert rig.advisor.proposal(decision.id).state == "approved"
    fresh = rig.state(as_of=rig.clock.now.isoformat())
    assert rig.advisor.execute(decision.id, fresh, person="planner").state == "done"
    assert refused(rig.advisor.execute, decision.id, fresh, person="planner").code == "CONFLICT"


def test_a_daily_budget_counts_what_was_executed_today(make: Callable[..., Rig]) -> None:
    limit = {"name": "money", "kind": "budget", "unit": "EUR", "limit": 700.0, "per": "day"}
    rig = make(limits=[limit])
    first, second = propose(rig), propose(rig)
    assert approve(rig, first, state=rig.state()).state == "done"
    refusal = refused(approve, rig, second, state=rig.state())
    assert refusal.code == "GUARD_AT_EXECUTION"
    third = propose(rig)
    spent = first.body["spend"]
    assert third.body["spend"] <= 700.0 - spent
    assert third.body["facts"]["used"] == {"money": spent}
    rig.clock.forward(86400.0)
    assert propose(rig).body["spend"] == spent


def test_the_table_alone_sends_nothing(rig: Rig) -> None:
    """Whoever can write to the table of proposals, and not to the chain, gets no order out."""
    decision = propose(rig)
    with rig.store.write() as tx:
        tx.execute("UPDATE proposals SET state = 'approved', persons = '[\"intruder\"]'")
    refusal = refused(rig.advisor.execute, decision.id, rig.state(), person="intruder")
    assert (refusal.code, refusal.status) == ("CHAIN_BROKEN", 503)
    found = verify(rig.store).finding
    assert found is not None
    assert found.fault == "tables"
    assert rig.sender.sent == []


def test_changed_orders_in_the_table_are_not_what_is_sent(rig: Rig) -> None:
    decision = propose(rig)
    approve(rig, decision)
    with rig.store.write() as tx:
        tx.execute("UPDATE proposals SET orders = replace(orders, '0', '9')")
    rig.advisor.execute(decision.id, rig.state(), person="planner")
    assert {entry["arc"]: entry["order"] for entry in rig.sender.sent[0][1]["orders"]} == decision.orders


def test_every_step_that_is_not_in_the_plan_is_a_conflict(rig: Rig) -> None:
    from agents.advisor.approvals import find, move

    decision = propose(rig)
    for state, allowed in STEPS.items():
        for to in STEPS:
            with rig.store.write() as tx:
                tx.execute("UPDATE proposals SET state = :state", {"state": state})
            if to in allowed:
                continue

            def step(to: Any = to) -> None:
                with rig.store.write() as tx:
                    move(tx, find(tx, decision.id), to, "note", {})

            assert refused(step).code == "CONFLICT"
