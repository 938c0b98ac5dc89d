"""One decision from end to end: policies that fail, requests that come twice, bundles that change, and the replay."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.advisor import Advisor, open_store, verify
from agents.advisor.pipeline import Preview
from agents.advisor.replay import replay
from agents.bundle import Bundle
from envs.inventory import InventoryTask
from tests.advisor.helpers import ARCS, Rig, rails, refused
from tests.agents.test_bundle import write
from twin.errors import BundleError, ConfigError


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the same network that orders quantities."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    return write(folder, InventoryTask("five_site_distribution", action_mode="quantity"))


# -- a policy that fails ------------------------------------------------------------------------------------------


def test_an_exception_of_the_policy_is_a_reason_for_the_fallback(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.runtime.Mlp.scores", lambda *_: [][0])
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.source, decision.reason) == ("proposed", "fallback", "POLICY_EXCEPTION")
    assert "IndexError" in decision.body["detail"]
    assert decision.body["action"] == [0.0] * 5
    monkeypatch.undo()
    assert replay(rig.store).ok


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_policy_that_gives_no_numbers_is_replaced(rig: Rig, monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    monkeypatch.setattr("agents.runtime.Mlp.scores", lambda *_: np.full((1, 5), bad, dtype=np.float32))
    decision = rig.advisor.decide(rig.state())
    assert (decision.source, decision.reason) == ("fallback", "POLICY_NAN")


def test_a_policy_that_does_not_answer_is_given_up(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(policy_timeout_seconds=0.05)
    release = threading.Event()
    monkeypatch.setattr("agents.runtime.Mlp.scores", lambda *_: release.wait(10))
    for _ in range(4):
        begun = time.monotonic()
        decision = rig.advisor.decide(rig.state())
        assert (decision.source, decision.reason) == ("fallback", "POLICY_TIMEOUT")
        assert time.monotonic() - begun < 2.0
    # Three threads hang; more are not started.
    assert "not called again" in decision.body["detail"]
    release.set()


def test_where_the_fallback_fails_too_there_is_no_advice(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.runtime.Mlp.scores", lambda *_: 1 / 0)
    monkeypatch.setattr("agents.advisor.active.Active.middle", lambda *_: 1 / 0)
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("NO_FALLBACK", 422)
    assert rig.last("decision")["status"] == "blocked"


def test_an_unknown_fallback_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'middle'"):
        Advisor(bundle, tmp_path / "s.db", fallback="midle")


# -- the record of a decision -------------------------------------------------------------------------------------


def test_raw_and_final_orders_are_both_kept(make: Callable[..., Rig]) -> None:
    rig = make(default={"maximum": 30.0, "lot_size": 10.0})
    decision = rig.advisor.decide(rig.state())
    assert decision.raw_orders != decision.orders
    assert set((decision.orders or {}).values()) <= {0.0, 10.0, 20.0, 30.0}
    verdicts = {check["code"]: check["verdict"] for check in decision.body["checks"]}
    assert verdicts["INTEGER_LOT"] == verdicts["MAXIMUM_ORDER"] == "modify"
    assert verdicts["HARD_LIMIT"] == "pass"


def test_a_request_id_sent_twice_gets_one_decision(rig: Rig) -> None:
    state = rig.state(request_id="monday")
    first, second = rig.advisor.decide(state), rig.advisor.decide(state)
    assert (first.id, first.record) == (second.id, second.record)
    assert rig.kinds().count("decision") == 1
    refusal = refused(rig.advisor.decide, rig.state(request_id="monday", period="tuesday"))
    assert (refusal.code, refusal.status) == ("REQUEST_REUSED", 409)


def test_who_asks_again_gets_the_answer_there_was_even_when_the_state_is_old_by_then(make: Callable[..., Rig]) -> None:
    rig = make(freshness={"maximum_age_seconds": 60.0})
    state = rig.state(request_id="monday", as_of=rig.clock.now.isoformat())
    first = rig.advisor.decide(state)
    rig.clock.forward(600.0)
    assert refused(rig.advisor.decide, {**state, "request_id": "tuesday"}).code == "STALE"
    assert rig.advisor.decide(state).id == first.id
    rig.advisor.halt(person="planner")
    assert rig.advisor.decide(state).id == first.id


def test_a_request_id_sent_by_many_at_once_gets_one_decision_and_one_message(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    results = []

    def one() -> None:
        results.append(rig.advisor.decide(rig.state(request_id="monday")).id)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    assert len(set(results)) == 1
    assert len(rig.sender.sent) == 1


def test_a_blocked_request_stays_blocked(rig: Rig) -> None:
    state = rig.state(request_id="monday", closed=list(rig.advisor.active.arcs))
    first, second = refused(rig.advisor.decide, state), refused(rig.advisor.decide, state)
    assert (first.code, first.status) == ("ALL_MASKED", 422)
    assert (first.code, first.record) == (second.code, second.record)


def test_a_change_is_measured_from_the_orders_on_record_and_no_request_can_widen_that(
    make: Callable[..., Rig],
) -> None:
    rig = make(mode="autonomous", default={"maximum": 500.0, "maximum_increase": 1.0})
    arcs = rig.advisor.active.arcs
    # Before there are any, what the request says is believed.
    first = rig.advisor.decide(rig.state(previous_orders=dict.fromkeys(arcs, 2.0)))
    assert max((first.orders or {}).values()) == 3.0
    wide = rig.advisor.decide(rig.state(previous_orders=dict.fromkeys(arcs, 400.0)))
    assert wide.body["facts"]["previous"] == first.orders
    assert max((wide.orders or {}).values()) == 4.0


def test_what_was_really_ordered_goes_before_what_was_sent_when_it_is_of_that_decision_or_later(
    make: Callable[..., Rig],
) -> None:
    rig = make(mode="autonomous", default={"maximum": 500.0})
    arcs = rig.advisor.active.arcs
    first, second = rig.advisor.decide(rig.state()), rig.advisor.decide(rig.state())
    rig.advisor.note_actual(first.id, {"orders": dict.fromkeys(arcs, 7.0)}, person="controller")
    assert rig.advisor.decide(rig.state()).body["facts"]["previous"] == second.orders
    last = rig.advisor.decide(rig.state())
    rig.advisor.note_actual(last.id, {"orders": dict.fromkeys(arcs, 8.0)}, person="controller")
    rig.advisor.note_actual(first.id, {"orders": dict.fromkeys(arcs, 9.0)}, person="controller")
    assert rig.advisor.decide(rig.state()).body["facts"]["previous"] == dict.fromkeys(arcs, 8.0)


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        (lambda actual: actual.pop("orders"), "REQUEST", 400),
        (lambda actual: actual.__setitem__("costs", 1.0), "REQUEST", 400),
        (lambda actual: actual.__setitem__("cost", math.nan), "NOT_A_NUMBER", 422),
        (lambda actual: actual.__setitem__("cost", "5"), "NOT_A_NUMBER", 422),
        (lambda actual: actual.__setitem__("served", -1.0), "OUT_OF_RANGE", 422),
        (lambda actual: actual["orders"].popitem(), "FIELD_MISSING", 422),
        (lambda actual: actual["orders"].__setitem__("a->b", 1.0), "REQUEST", 400),
        (lambda actual: actual["orders"].update(dict.fromkeys(actual["orders"], -1.0)), "NOT_A_NUMBER", 422),
    ],
)
def test_a_report_of_what_happened_is_checked(
    rig: Rig, change: Callable[[dict[str, Any]], Any], code: str, status: int
) -> None:
    decision = rig.advisor.decide(rig.state())
    actual: dict[str, Any] = {"orders": dict.fromkeys(rig.advisor.active.arcs, 1.0), "cost": -5.0, "served": 3.0}
    change(actual)
    refusal = refused(rig.advisor.note_actual, decision.id, actual, person="controller")
    assert (refusal.code, refusal.status) == (code, status)
    assert "actual" not in rig.kinds()


def test_a_report_needs_a_person_and_a_decision(rig: Rig) -> None:
    actual = {"orders": dict.fromkeys(rig.advisor.active.arcs, 1.0)}
    refusal = refused(rig.advisor.note_actual, "none", actual, person="controller")
    assert (refusal.code, refusal.status) == ("NOT_FOUND", 404)
    decision = rig.advisor.decide(rig.state())
    assert refused(rig.advisor.note_actual, decision.id, actual, person="").code == "PERSON"
    assert rig.advisor.note_actual(decision.id, actual, person="controller") == rig.store.head()[0]
    assert rig.last("actual")["cost"] is None


@pytest.mark.parametrize("failure", ["full", "gone"])
def test_no_record_no_action(make: Callable[..., Rig], failure: str) -> None:
    rig = make(mode="autonomous")
    if failure == "gone":
        (rig.folder / "store.db").unlink()
    else:
        connection = rig.store.database._connection  # type: ignore[attr-defined]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(20):
            rig.sender.sent.clear()
            try:
                rig.advisor.decide(rig.state())
            except Exception:
                break
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("NO_RECORD", 503)
    assert rig.sender.sent == []


# -- look ahead ---------------------------------------------------------------------------------------------------


def test_orders_that_do_worse_than_the_fallback_are_not_advised(make: Callable[..., Rig]) -> None:
    seen = []

    def look(_request: Any, recommended: Any, fallback: Any, _seed: int) -> Preview:
        seen.append((recommended.tolist(), fallback.tolist()))
        return Preview(False, "12 % dearer than the fallback", {"recommended": 112.0, "fallback": 100.0})

    rig = make(mode="autonomous", look_ahead=look)
    decision = rig.advisor.decide(rig.state())
    assert (decision.source, decision.reason) == ("fallback", "LOOK_AHEAD")
    assert rig.advisor.active.vector(decision.orders or {}).tolist() == seen[0][1]
    assert decision.body["look_ahead"]["recommended"] == 112.0
    assert decision.status == "proposed"
    assert replay(rig.store).ok


def test_orders_that_do_better_pass_and_a_comparison_that_fails_asks_a_person(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous", look_ahead=lambda *_: Preview(True, "better", {"recommended": 1.0}))
    assert rig.advisor.decide(rig.state()).status == "executing"
    rig = make(mode="autonomous", look_ahead=lambda *_: 1 / 0)
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.source) == ("proposed", "policy")
    assert decision.outside == ("LOOK_AHEAD: nothing was compared",)


# -- activation ---------------------------------------------------------------------------------------------------


def test_activations_are_a_history_that_can_be_gone_back(rig: Rig, other: Bundle) -> None:
    first = rig.bundle.bundle_id
    rig.advisor.activate(other, person="planner", reason="trained anew")
    state = {**rig.state(), "spec_hash": None}
    assert rig.advisor.decide(state).body["bundle_id"] == other.bundle_id
    assert rig.advisor.roll_back(person="approver", reason="worse") == first
    assert rig.advisor.decide(rig.state()).body["bundle_id"] == first
    refusal = refused(rig.advisor.roll_back, person="approver")
    assert (refusal.code, refusal.status) == ("NO_ROLLBACK", 409)
    assert [kind for kind in rig.kinds() if kind in {"activated", "rolled_back"}] == [
        "activated",
        "activated",
        "rolled_back",
    ]
    assert verify(rig.store).ok
    found = replay(rig.store)
    assert found.ok
    assert found.decisions == 2


def test_a_bundle_that_cannot_be_trusted_is_refused_and_the_active_one_stays(rig: Rig, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(rig.bundle.path, tmp_path / "broken"))
    (broken / "weights.npz").write_bytes(b"x")
    with pytest.raises(BundleError):
        rig.advisor.activate(broken, person="planner")
    with pytest.raises(ConfigError, match="did you mean"):
        rig.advisor.activate(rig.bundle, person="planner", guardrails=rails(prices={ARCS[0][:-1]: 1.0}))
    assert rig.kinds()[-2:] == ["activation_refused", "activation_refused"]
    assert rig.advisor.decide(rig.state()).body["activation"] == 1


def test_nothing_is_autonomous_where_nobody_says_what_training_looked_like(bundle: Bundle, tmp_path: Path) -> None:
    advisor = Advisor(bundle, tmp_path / "s.db")
    with pytest.raises(ConfigError, match="there is no outlier model"):
        advisor.activate(bundle, person="planner", guardrails=rails(highest_mode="autonomous"))
    advisor.close()


def test_a_rollback_to_files_that_changed_is_refused_and_the_active_one_stays(
    bundle: Bundle, other: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    advisor = Advisor(copy, tmp_path / "s.db")
    advisor.activate(other, person="planner")
    (copy / "weights.npz").write_bytes(b"x")
    refusal = refused(advisor.roll_back, person="planner")
    assert (refusal.code, refusal.status) == ("BAD_BUNDLE", 422)
    assert advisor.active.bundle_id == other.bundle_id
    assert advisor.decide({**example, "spec_hash": None}).status == "shadow"
    advisor.close()


def test_another_process_activates_and_this_one_follows(rig: Rig, other: Bundle) -> None:
    second = Advisor(None, open_store(rig.folder / "store.db", clock=rig.clock))
    second.activate(other, person="planner")
    refusal = refused(rig.advisor.decide, rig.state(bundle_id=rig.bundle.bundle_id))
    assert (refusal.code, refusal.status) == ("BUNDLE_MISMATCH", 412)
    assert rig.advisor.active.bundle_id == other.bundle_id
    second.close()


def test_a_store_remembers_its_bundle_and_refuses_another(rig: Rig, other: Bundle) -> None:
    again = Advisor(None, open_store(rig.folder / "store.db", clock=rig.clock))
    assert again.active.bundle_id == rig.bundle.bundle_id
    assert again.mode == "advisory"
    again.close()
    refusal = refused(Advisor, other, open_store(rig.folder / "store.db", clock=rig.clock))
    assert (refusal.code, refusal.status) == ("BUNDLE_MISMATCH", 412)


def test_a_store_without_a_bundle_decides_nothing(tmp_path: Path) -> None:
    advisor = Advisor(None, tmp_path / "s.db")
    refusal = refused(advisor.decide, {})
    assert (refusal.code, refusal.status) == ("NO_BUNDLE", 409)
    advisor.close()


# -- replay -------------------------------------------------------------------------------------------------------


def test_every_decision_of_random_states_comes_out_again_bit_by_bit(make: Callable[..., Rig]) -> None:
    limits = [{"name": "money", "kind": "budget", "unit": "EUR", "limit": 900.0, "per": "day"}]
    rig = make(mode="autonomous", limits=limits, default={"maximum": 120.0, "maximum_increase": 30.0, "lot_size": 0.3})
    rng = np.random.default_rng(3)
    for period in range(30):
        state = rig.state(period=period)
        for name, value in state["observation"].items():
            # Within the example's own size: shares stay below 1.
            state["observation"][name] = value * float(rng.uniform(0.9, 1.0))
        rig.advisor.decide(state)
        rig.clock.forward(20000.0)
    found = replay(rig.store)
    assert found.ok
    assert found.decisions == 30
    assert found.intents == len(rig.sender.sent) > 0


def test_a_replay_sees_a_decision_that_was_made_up(rig: Rig) -> None:
    rig.advisor.decide(rig.state())
    body = rig.last("decision")
    body["orders"] = {arc: order + 1.0 for arc, order in body["orders"].items()}
    with rig.store.write() as tx:
        tx.append("decision", {**body, "id": "other", "proposal": "other"})
    ((seq, problem),) = replay(rig.store).differences
    assert seq == rig.store.head()[0]
    assert "the final orders were" in problem


def test_a_replay_says_when_a_bundle_is_gone(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    advisor = Advisor(copy, tmp_path / "s.db")
    advisor.decide(example)
    shutil.rmtree(copy)
    ((_, problem),) = replay(advisor.store).differences
    assert "cannot be loaded" in problem
    advisor.close()


def test_records_hold_plain_json(rig: Rig) -> None:
    rig.advisor.decide(rig.state())
    for record in rig.store.records():
        assert json.loads(record.body) == record.data
