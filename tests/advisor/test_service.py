"""The service over HTTP: what each operation gives, and the exact status of everything that is refused."""

from __future__ import annotations

import datetime
import json
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")

from agents.advisor import verify
from agents.advisor.clock import text_of
from agents.advisor.replay import replay
from agents.advisor.service_limits import RateLimiter
from agents.advisor.tokens import remove_token
from agents.baselines.simulation import acting_task
from agents.bundle import Bundle
from agents.bundle_rules import export_rule
from agents.registry import baseline, load_class
from envs.inventory import InventoryTask
from tests.advisor.desk import Client, Desk, said
from tests.advisor.helpers import ARCS, Rig, rails
from tests.agents.test_bundle import write
from twin.compile import compile_network
from twin.library import resolve

NORTH = "on_hand[north/item]"


# -- what it gives ------------------------------------------------------------------------------------------------


def test_from_a_state_to_orders_that_are_sent(desk: Desk) -> None:
    decision = desk.decide()
    assert decision["state"] == "proposed"
    assert set(decision["orders"]) == set(ARCS)
    listed = desk.get("/v1/decisions", params={"state": "proposed"}).json()["items"]
    assert [entry["id"] for entry in listed] == [decision["id"]]
    body = {"action_hash": decision["action_hash"][:16], "state": desk.rig.state()}
    proposal = desk.post(f"/v1/decisions/{decision['id']}/approve", body).json()
    assert proposal["state"] == "done"
    assert proposal["persons"] == ["the approver"]
    ((_, message),) = desk.rig.sender.sent
    assert {entry["arc"]: entry["order"] for entry in message["orders"]} == decision["orders"]
    one = desk.get(f"/v1/decisions/{decision['id']}").json()
    assert one["approval"]["trail"] == proposal["trail"]
    assert one["state"] == "done"
    assert desk.rig.last("approved")["person"] == "the approver"
    assert verify(desk.rig.store).ok
    assert replay(desk.rig.store).ok


def test_the_same_request_id_gives_the_same_decision(desk: Desk) -> None:
    first = desk.decide(request_id="monday")
    records = desk.rig.store.head()[0]
    assert desk.decide(request_id="monday") == first
    assert desk.rig.store.head()[0] == records
    other = {**desk.rig.state()["observation"], NORTH: 3.0}
    response = desk.post("/v1/decisions", desk.rig.state(request_id="monday", observation=other))
    assert said(response) == (409, "REQUEST_REUSED")
    assert response.json()["record"] == first["record"]


def test_approval_and_execution_apart_and_a_persons_own_orders(desk: Desk) -> None:
    first, second = desk.decide(), desk.decide()
    path = f"/v1/decisions/{first['id']}"
    assert desk.post(f"{path}/approve", {"action_hash": first["action_hash"]}).json()["state"] == "approved"
    assert desk.post(f"{path}/execute", {"state": desk.rig.state()}).json()["state"] == "done"
    path = f"/v1/decisions/{second['id']}"
    mine = {"action_hash": second["action_hash"], "orders": dict.fromkeys(ARCS, 7.0), "state": desk.rig.state()}
    assert desk.post(f"{path}/modify", mine).json()["state"] == "modified"
    assert desk.post(f"{path}/execute", {"state": desk.rig.state()}).json()["state"] == "done"
    assert {entry["order"] for entry in desk.rig.sender.sent[1][1]["orders"]} == {7.0}


def test_a_rejection_and_what_becomes_of_an_unknown_outcome(desk: Desk) -> None:
    decision = desk.decide()
    response = desk.post(f"/v1/decisions/{decision['id']}/reject", {"reason": "no room"})
    assert response.json()["state"] == "rejected"
    assert desk.rig.last("rejected") == {
        "person": "the approver",
        "reason": "no room",
        "proposal": decision["id"],
        "state": "rejected",
        "action_hash": decision["action_hash"],
    }
    desk.rig.sender.error = RuntimeError("the line went dead")
    lost = desk.decide()
    body = {"action_hash": lost["action_hash"], "state": desk.rig.state()}
    assert desk.post(f"/v1/decisions/{lost['id']}/approve", body).json()["state"] == "unknown"
    late = {"decision_id": lost["id"], "outcome": "done", "detail": "it did arrive"}
    assert desk.post("/v1/outcomes", late, "planner").json()["state"] == "unknown"
    assert desk.rig.last("late_outcome")["detail"] == "it did arrive"
    path = f"/v1/decisions/{lost['id']}/resolve"
    assert desk.post(path, {"outcome": "done", "detail": "looked"}).json()["state"] == "done"
    assert said(desk.post(path, {"outcome": "done"})) == (409, "CONFLICT")


def test_what_really_happened(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/v1/decisions/{decision['id']}/actual"
    report = {"orders": dict.fromkeys(ARCS, 3.0), "cost": 12.5}
    seq = desk.post(path, report, "planner").json()["record"]
    kept = desk.rig.last("actual")
    assert (kept["id"], kept["person"], kept["cost"]) == (decision["id"], "the planner", 12.5)
    assert desk.rig.store.head()[0] == seq
    response = desk.post(path, {"orders": {}, "served": "all"})
    assert said(response)[0] == 422
    response = desk.post(path, {**report, "order": {}})
    assert said(response) == (400, "REQUEST")
    assert said(desk.post(f"/v1/decisions/{'0' * 32}/actual", report)) == (404, "NOT_FOUND")


def test_the_mode_and_the_halt(desk: Desk) -> None:
    assert desk.get("/v1/mode").json() == {"mode": "advisory"}
    assert desk.post("/v1/mode", {"mode": "shadow", "reason": "night"}).json() == {"mode": "shadow"}
    assert desk.rig.last("mode")["person"] == "the approver"
    assert said(desk.post("/v1/mode", {"mode": "autonomous"})) == (409, "GATE")
    assert said(desk.post("/v1/mode", {"mode": "automatic"})) == (400, "REQUEST")
    assert desk.post("/v1/halt", {"reason": "fire"}, "planner").json() == {"mode": "halted"}
    assert said(desk.post("/v1/decisions", desk.rig.state())) == (423, "HALTED")


def test_what_the_bundle_is_and_what_a_state_must_hold(desk: Desk) -> None:
    spec, bundle = desk.get("/v1/spec").json(), desk.get("/v1/bundle").json()
    assert {field["name"] for field in spec["observation"]} == set(desk.rig.state()["observation"])
    assert [arc["name"] for arc in spec["action"]["arcs"]] == list(ARCS)
    assert bundle["bundle_id"] == spec["bundle_id"] == desk.rig.bundle.bundle_id
    assert bundle["manifest"]["algorithm"] == desk.rig.bundle.manifest["algorithm"]
    assert bundle["guardrails_hash"] == desk.rig.rails.content_hash
    assert str(desk.rig.bundle.path.parent) not in json.dumps(bundle)


def test_lists_go_page_by_page(desk: Desk) -> None:
    made = [desk.decide()["record"] for _ in range(5)]
    seen, before = [], None
    while True:
        params = {"limit": 2} if before is None else {"limit": 2, "before": before}
        page = desk.get("/v1/decisions", params=params).json()
        seen += [entry["record"] for entry in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert seen == made[::-1]
    assert all(entry["at"] == text_of(desk.rig.clock.now) for entry in page["items"])


def test_the_record_is_searched(desk: Desk) -> None:
    decision = desk.decide(request_id="100%_sure!")
    desk.post(f"/v1/decisions/{decision['id']}/reject", {"reason": "Dock is FULL"})
    seq, digest = desk.rig.store.head()
    found = desk.get("/v1/audit", params={"text": "dock is full"}).json()
    assert [(entry["kind"], entry["body"]["reason"]) for entry in found["items"]] == [("rejected", "Dock is FULL")]
    assert found["head"] == f"{seq}:{digest}"
    assert [e["kind"] for e in desk.get("/v1/audit", params={"text": "100%_sure!"}).json()["items"]] == ["decision"]
    assert desk.get("/v1/audit", params={"text": "100%%sure"}).json()["items"] == []
    kinds = [entry["kind"] for entry in desk.get("/v1/audit", params={"kind": "decision"}).json()["items"]]
    assert kinds == ["decision"]


def test_numbers_for_prometheus(desk: Desk) -> None:
    desk.decide()
    desk.post("/v1/decisions", {"observation": {}})
    desk.get("/nothing/here")
    response = desk.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = set(response.text.splitlines())
    assert 'advisor_requests_total{method="POST",route="/v1/decisions",status="200"} 1.0' in lines
    assert 'advisor_requests_total{method="POST",route="/v1/decisions",status="422"} 1.0' in lines
    assert 'advisor_requests_total{method="GET",route="other",status="404"} 1.0' in lines
    assert {'advisor_mode{mode="advisory"} 1.0', 'advisor_mode{mode="halted"} 0.0'} <= lines
    assert {'advisor_proposals{state="proposed"} 1.0', "advisor_store_up 1.0"} <= lines
    assert f"advisor_records {float(desk.rig.store.head()[0])}" in lines


# -- who may ---------------------------------------------------------------------------------------------------------


def operations(desk: Desk) -> Iterator[tuple[str, str]]:
    """Every operation under /v1, from the service's own description."""
    for path, methods in desk.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), path.replace("{decision_id}", "0" * 32)


def test_without_a_token_only_the_probes_answer(desk: Desk) -> None:
    found = list(operations(desk))
    assert len(found) > 18
    for method, path in found:
        response = desk.ask(method, path, None, json={})
        if path in {"/healthz", "/readyz"}:
            assert response.status_code == 200
        else:
            assert said(response) == (401, "TOKEN"), path
            assert response.headers["www-authenticate"] == "Bearer"
        assert said(desk.ask(method, path, "advisor_wrong", json={}))[0] == 401 if path.startswith("/v1") else True


def test_each_role_may_what_it_may(desk: Desk) -> None:
    planner = {"/v1/decisions", "/v1/outcomes", f"/v1/decisions/{'0' * 32}/actual", "/v1/halt"}
    for method, path in operations(desk):
        if method == "GET":
            assert desk.ask(method, path, "viewer", json={}).status_code in {200, 404}, path
            continue
        assert said(desk.ask(method, path, "viewer", json={})) == (403, "ROLE"), path
        status = desk.ask(method, path, "planner", json={}).status_code
        assert (status == 403) == (path not in planner), path
        assert desk.ask(method, path, "approver", json={}).status_code != 403, path


def test_a_token_that_is_removed_or_has_expired_is_nobodys(desk: Desk) -> None:
    assert desk.get("/v1/mode").status_code == 200
    remove_token(desk.path, "the viewer")
    assert said(desk.get("/v1/mode")) == (401, "TOKEN")
    assert desk.get("/v1/mode", "planner").status_code == 200
    data = json.loads(desk.path.read_text())
    assert not any(token in desk.path.read_text() for token in desk.tokens.values())
    assert desk.path.stat().st_mode & 0o777 == 0o600
    data["tokens"][0]["expires"] = text_of(datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
    desk.path.write_text(json.dumps(data))
    assert said(desk.get("/v1/mode", "planner")) == (401, "TOKEN")
    desk.path.write_text("{")
    assert said(desk.get("/v1/mode", "approver")) == (401, "TOKEN")


# -- what is refused -------------------------------------------------------------------------------------------------


def renamed(state: dict[str, Any]) -> None:
    state["observation"]["on_hand[north/itme]"] = state["observation"].pop(NORTH)


def missing(state: dict[str, Any]) -> None:
    del state["observation"]["on_hand[east/item]"]


def is_(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["observation"].update({NORTH: value})


def has(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.update(entries)


BAD_STATES: dict[str, tuple[Callable[[dict[str, Any]], None], int, str]] = {
    "wrong spec": (has(spec_hash="0" * 64), 412, "SPEC_MISMATCH"),
    "wrong network": (has(network_hash="0" * 64), 412, "NETWORK_MISMATCH"),
    "wrong bundle": (has(bundle_id="0" * 64), 412, "BUNDLE_MISMATCH"),
    "renamed": (renamed, 422, "FIELD_RENAMED"),
    "missing": (missing, 422, "FIELD_MISSING"),
    "extra": (lambda state: state["observation"].update(weather=1.0), 422, "FIELD_UNKNOWN"),
    "NaN": (is_(float("nan")), 422, "NOT_FINITE"),
    "Inf": (is_(float("inf")), 422, "NOT_FINITE"),
    "null": (is_(None), 422, "NOT_A_NUMBER"),
    "a string": (is_("12"), 422, "NOT_A_NUMBER"),
    "true": (is_(True), 422, "NOT_A_NUMBER"),
    "1e300": (is_(1e300), 422, "OUT_OF_RANGE"),
    "a list": (is_([1.0]), 422, "SHAPE"),
    "all as a list": (has(observation=[1.0, 2.0]), 422, "SHAPE"),
    "another unit": (is_({"value": 1.0, "unit": "kg"}), 422, "UNIT"),
    "no time": (has(as_of="yesterday"), 422, "TIME"),
    "no observation": (lambda state: state.pop("observation"), 400, "REQUEST"),
    "another key": (has(observations={}), 400, "REQUEST"),
    "half a character": (has(request_id="\ud800"), 400, "REQUEST"),
    "half a character as a name": (lambda state: state["observation"].update({"\udfff": 1.0}), 400, "REQUEST"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_bad_state_has_its_exact_status(desk: Desk, name: str) -> None:
    change, status, code = BAD_STATES[name]
    state = desk.rig.state()
    change(state)
    # As a client would that writes NaN and half characters all the same.
    text = json.dumps(state)
    response = desk.ask("POST", "/v1/decisions", content=text, headers={"Content-Type": "application/json"})
    assert said(response) == (status, code)
    assert desk.rig.kinds().count("decision") == 0


def test_permuted_fields_are_the_same_state_because_they_have_names(desk: Desk) -> None:
    state = desk.rig.state()
    state["observation"] = dict(reversed(state["observation"].items()))
    assert desk.post("/v1/decisions", state).json()["orders"] == desk.decide()["orders"]


def test_every_bad_field_is_named_at_once(desk: Desk) -> None:
    state = desk.rig.state()
    renamed(state)
    missing(state)
    state["observation"]["on_hand[south/item]"] = None
    state["observation"]["weather"] = 1.0
    problems = desk.post("/v1/decisions", state).json()["problems"]
    assert {(entry["code"], entry["place"]) for entry in problems} == {
        ("FIELD_RENAMED", NORTH),
        ("FIELD_MISSING", "on_hand[east/item]"),
        ("FIELD_UNKNOWN", "weather"),
        ("NOT_A_NUMBER", "on_hand[south/item]"),
    }
    response = desk.get("/v1/decisions/x")
    assert said(response) == (400, "REQUEST")
    assert {entry["place"] for entry in response.json()["problems"]} == {"path.decision_id"}
    response = desk.post("/v1/outcomes", {"decision_id": "x", "outcome": "perhaps"})
    assert said(response) == (400, "REQUEST")
    assert {entry["place"] for entry in response.json()["problems"]} == {"decision_id", "outcome"}


@pytest.mark.parametrize(
    ("seconds", "code"), [(-901.0, "STALE"), (60.0, "FUTURE"), (-30.0, "DATA_BACKWARDS"), (None, "TIME")]
)
def test_a_state_of_the_wrong_age(
    make: Callable[..., Rig], open_desk: Callable[..., Desk], seconds: float | None, code: str
) -> None:
    desk = open_desk(make(freshness={"maximum_age_seconds": 900}))

    def state(seconds: float | None) -> dict[str, Any]:
        if seconds is None:
            return desk.rig.state()
        return desk.rig.state(as_of=text_of(desk.rig.clock.now + datetime.timedelta(seconds=seconds)))

    assert desk.post("/v1/decisions", state(0.0)).status_code == 200
    assert said(desk.post("/v1/decisions", state(seconds))) == (422, code)


def test_a_clock_that_goes_back_decides_nothing(desk: Desk) -> None:
    desk.decide()
    desk.rig.clock.forward(-60.0)
    assert said(desk.post("/v1/decisions", desk.rig.state())) == (503, "CLOCK_BACKWARDS")


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (lambda *_: 1 / 0, "POLICY_EXCEPTION"),
        (lambda *_: np.full((1, 5), np.nan, dtype=np.float32), "POLICY_NAN"),
        (lambda *_: time.sleep(0.3), "POLICY_TIMEOUT"),
    ],
)
def test_a_policy_that_fails_is_advice_of_the_fallback_and_where_that_fails_too_there_is_none(
    make: Callable[..., Rig],
    open_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
    scores: Callable[..., Any],
    reason: str,
) -> None:
    desk = open_desk(make(policy_timeout_seconds=0.1))
    monkeypatch.setattr("agents.runtime.Mlp.scores", scores)
    decision = desk.decide()
    assert (decision["status"], decision["source"], decision["reason"]) == ("proposed", "fallback", reason)
    assert decision["explanation"]["text"][0].startswith("The fallback (the middle of the action box) ")
    monkeypatch.setattr("agents.advisor.active.Active.middle", lambda *_: 1 / 0)
    assert said(desk.post("/v1/decisions", desk.rig.state(), "planner")) == (422, "NO_FALLBACK")


def test_all_arcs_masked_and_orders_that_no_guard_passes(
    make: Callable[..., Rig], open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(make())
    assert said(desk.post("/v1/decisions", desk.rig.state(closed=list(ARCS)))) == (422, "ALL_MASKED")
    decision = desk.decide()
    path, rest = f"/v1/decisions/{decision['id']}/modify", {"action_hash": decision["action_hash"]}
    body = {**rest, "orders": dict.fromkeys(ARCS, 501.0), "state": desk.rig.state()}
    response = desk.post(path, body)
    assert said(response) == (422, "MAXIMUM_ORDER")
    assert [entry["place"] for entry in response.json()["problems"]] == list(ARCS)
    odd = {ARCS[0]: -1.0, "plant->moon:rocket:item": 1.0}
    response = desk.post(path, {**body, "orders": odd})
    assert response.json()["problems"][0]["code"] == "NOT_A_NUMBER"
    assert len(response.json()["problems"]) == 6


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"", "application/json", (400, "REQUEST")),
        (b"{", "application/json", (400, "REQUEST")),
        (b"\xff\xfe\xfd", "application/json", (400, "REQUEST")),
        (b'{"observation": {}, "observation": {}}', "application/json", (400, "REQUEST")),
        (b"[" * 100_000, "application/json", (400, "REQUEST")),
        (b'{"observation": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "application/json", (400, "REQUEST")),
        (b'{"observation": {"x": ' + b"9" * 5000 + b"}}", "application/json", (400, "REQUEST")),
        (b"null", "application/json", (400, "REQUEST")),
        (b"{}", "text/plain", (415, "MEDIA_TYPE")),
        (b"{}", "application/jsonx", (415, "MEDIA_TYPE")),
        (b"{}", None, (415, "MEDIA_TYPE")),
        (b" " * (2**20 + 1), "application/json", (413, "TOO_LARGE")),
    ],
    ids=["empty", "cut", "no text", "twice", "deep", "nested", "long number", "null", "text", "jsonx", "none", "large"],
)
def test_what_is_no_request(desk: Desk, body: bytes, kind: str | None, expected: tuple[int, str]) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert said(desk.ask("POST", "/v1/decisions", content=body, headers=headers)) == expected


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off_too(desk: Desk) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 2**19

    response = desk.ask("POST", "/v1/decisions", content=pieces(), headers={"Content-Type": "application/json"})
    assert said(response) == (413, "TOO_LARGE")


def test_addresses_that_are_not_there(desk: Desk) -> None:
    assert said(desk.get(f"/v1/decisions/{'0' * 32}")) == (404, "NOT_FOUND")
    assert said(desk.post(f"/v1/decisions/{'0' * 32}/approve", {"action_hash": "0" * 64})) == (404, "NOT_FOUND")
    assert said(desk.get("/v1/nothing")) == (404, "NOT_FOUND")
    response = desk.ask("DELETE", "/v1/mode")
    assert said(response) == (405, "METHOD")
    assert response.headers["allow"] == "GET, POST"
    assert said(desk.get("/v1/decisions", params={"stat": "done"})) == (400, "REQUEST")
    assert said(desk.get("/v1/decisions", params={"state": "finished"})) == (400, "REQUEST")
    assert said(desk.get("/v1/audit", params={"text": "a\x00b"})) == (400, "REQUEST")


# -- approvals -------------------------------------------------------------------------------------------------------


def approval(desk: Desk, decision: dict[str, Any], **changes: Any) -> Any:
    body = {"action_hash": decision["action_hash"], "state": desk.rig.state(), **changes}
    return desk.post(f"/v1/decisions/{decision['id']}/approve", body)


def test_approval_of_another_action(desk: Desk) -> None:
    first, second = desk.decide(), desk.decide()
    assert said(approval(desk, first, action_hash=second["action_hash"])) == (412, "ACTION_MISMATCH")
    assert desk.rig.sender.sent == []


def test_approval_after_it_expired(desk: Desk) -> None:
    decision = desk.decide()
    desk.rig.clock.forward(3601.0)
    assert said(approval(desk, decision)) == (410, "EXPIRED")


def test_approval_after_a_halt_and_in_shadow(desk: Desk) -> None:
    decision = desk.decide()
    desk.post("/v1/mode", {"mode": "shadow"})
    assert said(approval(desk, decision)) == (409, "GATE")
    desk.post("/v1/halt")
    assert said(approval(desk, decision)) == (423, "HALTED")
    assert desk.rig.sender.sent == []


def test_approval_after_another_bundle_and_after_the_rollback_of_its_own(desk: Desk) -> None:
    other = write(desk.rig.folder / "other", InventoryTask("five_site_distribution", action_mode="quantity"))
    first = desk.decide()
    response = desk.post("/v1/bundles/activate", {"bundle": "other", "reason": "better"})
    assert response.json() == {"bundle_id": other.bundle_id, "mode": "advisory"}
    assert said(approval(desk, first)) == (412, "BUNDLE_MISMATCH")
    second = desk.decide(spec_hash=None)
    assert desk.post("/v1/bundles/rollback", {"reason": "worse"}).json()["bundle_id"] == desk.rig.bundle.bundle_id
    assert said(approval(desk, second)) == (412, "BUNDLE_MISMATCH")
    assert approval(desk, first).json()["state"] == "done"
    assert said(desk.post("/v1/bundles/rollback")) == (409, "NO_ROLLBACK")


def test_two_persons_above_a_limit(make: Callable[..., Rig], open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(make(approval={"two_persons_above": 0.0}))
    decision = desk.decide()
    assert approval(desk, decision).json()["state"] == "proposed"
    assert said(approval(desk, decision)) == (409, "SAME_PERSON")


def test_only_bundles_of_its_folder_are_activated_and_a_bad_one_changes_nothing(desk: Desk, bundle: Bundle) -> None:
    for name in ("../bundle", "/etc", "a/b", "..", ""):
        assert said(desk.post("/v1/bundles/activate", {"bundle": name})) == (400, "REQUEST")
    assert said(desk.post("/v1/bundles/activate", {"bundle": "nothing"})) == (404, "NOT_FOUND")
    shutil.copytree(bundle.path, desk.rig.folder / "broken")
    with (desk.rig.folder / "broken" / "weights.npz").open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    assert said(desk.post("/v1/bundles/activate", {"bundle": "broken"})) == (422, "BAD_BUNDLE")
    shutil.copytree(bundle.path, desk.rig.folder / "good")
    odd = {"bundle": "good", "guardrails": {"highest_mod": "shadow"}}
    assert said(desk.post("/v1/bundles/activate", odd)) == (400, "REQUEST")
    strange = {"bundle": "good", "guardrails": {"arcs": {"nowhere": {"closed": True}}}}
    assert said(desk.post("/v1/bundles/activate", strange)) == (422, "UNFIT")
    assert desk.get("/v1/bundle").json()["activation"] == 1
    # Guards that a person gave stay: a new policy must not lose them.
    assert desk.post("/v1/bundles/activate", {"bundle": "good"}).status_code == 200
    assert desk.get("/v1/bundle").json()["guardrails_hash"] == desk.rig.rails.content_hash
    strict = rails(default={"maximum": 1.0}).to_dict()
    assert desk.post("/v1/bundles/activate", {"bundle": "good", "guardrails": strict}).status_code == 200
    assert max(desk.decide()["orders"].values()) <= 1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("status_switching", "decides moves on contracts"),
        ("risk_switching", "decides moves"),
        ("exponential_smoothing", "remembers what has been"),
    ],
)
def test_a_bundle_that_the_advisor_does_not_take_says_why(desk: Desk, name: str, message: str) -> None:
    network = "prolonged_shortage" if "switching" in name else "five_site_distribution"
    found = resolve(network)
    compiled = compile_network(found.model_copy(update={"records": True}) if "switching" in name else found)
    task = acting_task(compiled, name, horizon=40)
    export_rule(
        desk.rig.folder / "other.zip",
        name=name,
        parameters=load_class(baseline(name).path).space(task).start,
        task=task,
        environment_id="x",
        arguments={},
        training_info={},
    )
    response = desk.post("/v1/bundles/activate", {"bundle": "other.zip"})
    assert said(response) == (422, "UNFIT")
    assert message in response.json()["detail"]
    assert desk.get("/v1/bundle").json()["activation"] == 1
    assert desk.rig.last("activation_refused")["person"] == "the approver"
    assert desk.decide()["status"] == "proposed"


def test_a_broken_active_bundle_does_not_stand_in_the_way_of_a_good_one(desk: Desk, bundle: Bundle) -> None:
    for name in ("first", "good"):
        shutil.copytree(bundle.path, desk.rig.folder / name)
    assert desk.post("/v1/bundles/activate", {"bundle": "first"}).status_code == 200
    (desk.rig.folder / "first" / "weights.npz").unlink()
    desk.rig.advisor.current = None
    assert said(desk.post("/v1/decisions", desk.rig.state())) == (422, "BAD_BUNDLE")
    assert desk.post("/v1/bundles/activate", {"bundle": "good"}).status_code == 200
    assert desk.get("/v1/bundle").json()["guardrails_hash"] == desk.rig.rails.content_hash


def test_ages_and_risks_are_those_of_the_guard_file_in_force(
    make: Callable[..., Rig], open_desk: Callable[..., Desk]
) -> None:
    ages = {"maximum_age_seconds": 900.0, "fields": {"on_hand[north/item]": 60.0}}
    desk = open_desk(make(freshness=ages, arcs={ARCS[0]: {"risk": "high"}}))
    spec = desk.get("/v1/spec").json()
    stated = {field["name"]: field["maximum_age_seconds"] for field in spec["observation"]}
    assert stated.pop("on_hand[north/item]") == 60.0
    assert set(stated.values()) == {900.0}
    assert [action["risk"] for action in spec["actions"]] == ["high", "low", "low", "low", "low"]


# -- limits ----------------------------------------------------------------------------------------------------------


def test_too_many_requests(rig: Rig, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(rig, rate=0.001)
    assert [desk.get("/v1/mode").status_code for _ in range(2)] == [200, 429]
    response = desk.get("/v1/mode")
    assert said(response) == (429, "TOO_MANY")
    assert response.headers["retry-after"]
    # Another token has its own count; whoever has none is counted by address.
    assert desk.get("/v1/mode", "planner").status_code == 200
    assert [desk.get("/v1/mode", "wrong").status_code for _ in range(2)] == [401, 429]


def test_the_rate_is_what_is_said() -> None:
    now = 0.0
    limiter, taken = RateLimiter(10.0, lambda: now), 0
    for step in range(1000):
        now = step / 100.0
        try:
            limiter.take("x")
        except ValueError:
            continue
        taken += 1
    assert taken == 20 + 99


def test_an_answer_that_takes_too_long_is_given_up_and_got_later(
    rig: Rig, open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, go = open_desk(rig, timeout_seconds=0.2), threading.Event()

    def slow(*_: Any) -> None:
        go.wait(20)
        raise RuntimeError("too late")

    monkeypatch.setattr(rig.advisor, "look_ahead", slow)
    response = desk.post("/v1/decisions", rig.state(request_id="slow"))
    assert said(response) == (503, "TIMEOUT")
    assert response.headers["retry-after"]
    go.set()
    decision = desk.decide(request_id="slow")
    assert rig.kinds().count("decision") == 1
    assert decision["request"]["request_id"] == "slow"


def test_a_store_that_is_gone(desk: Desk) -> None:
    desk.decide()
    assert desk.client.get("/readyz").json() == {"status": "ready"}
    (desk.rig.folder / "store.db").rename(desk.rig.folder / "away.db")
    response = desk.post("/v1/decisions", desk.rig.state())
    assert said(response) == (503, "NO_RECORD")
    assert response.headers["retry-after"]
    assert desk.client.get("/healthz").json() == {"status": "ok"}
    response = desk.client.get("/readyz")
    assert said(response) == (503, "NO_RECORD")
    assert str(desk.rig.folder) not in response.text
    assert "advisor_store_up 0.0" in desk.get("/metrics").text.splitlines()
    (desk.rig.folder / "away.db").rename(desk.rig.folder / "store.db")
    desk.decide()
    assert verify(desk.rig.store).ok


def test_a_full_disk(desk: Desk) -> None:
    connection = desk.rig.store.database._connection  # type: ignore[attr-defined]
    desk.decide()
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    # What fits into the last page still is an answer on record; then there is none without one.
    for _ in range(20):
        response = desk.post("/v1/decisions", desk.rig.state(), "planner")
        if response.status_code != 200:
            break
    assert said(response) == (503, "NO_RECORD")
    assert "full" in response.json()["detail"]
    connection.execute("PRAGMA max_page_count = 100000")
    desk.decide()
    assert verify(desk.rig.store).ok


def test_a_record_that_was_cut_off_is_not_ready(desk: Desk) -> None:
    import sqlite3

    desk.decide()
    connection = sqlite3.connect(desk.rig.folder / "store.db")
    connection.execute("DROP TRIGGER records_last")
    connection.execute("DELETE FROM records WHERE seq = (SELECT MAX(seq) FROM records)")
    connection.execute("UPDATE head SET (seq, hash) = (SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1)")
    connection.commit()
    connection.close()
    assert said(desk.client.get("/readyz")) == (503, "CHAIN_BROKEN")
    assert said(desk.post("/v1/decisions", desk.rig.state())) == (503, "CHAIN_BROKEN")


def test_a_mistake_of_the_program_is_a_problem_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(desk.rig.advisor), "decide", lambda *_: 1 / 0)
    client = Client(desk.app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {desk.tokens['planner']}"}
    response = client.post("/v1/decisions", json=desk.rig.state(), headers=headers)
    client.close()
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "ZeroDivision" not in response.text


def test_every_answer_says_what_a_browser_may_do_with_it(desk: Desk) -> None:
    for response in (desk.get("/v1/mode"), desk.get("/v1/mode", None), desk.client.get("/login")):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe-inline" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
