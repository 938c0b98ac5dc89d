"""The page: who gets in, what its forms do, and what it shows. test_service_browser.py looks at it in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")

from markupsafe import escape

from agents.advisor import service_view as view
from agents.advisor.tokens import Caller, Tokens, remove_token
from envs.inventory import InventoryTask
from tests.advisor.desk import Desk
from tests.advisor.helpers import ARCS, Rig, carried, rails
from twin.simulation import Simulation

EXPLANATION: dict[str, Any] = {
    "text": ["The recommended orders cost 1,840 a week.", "Stock at north moved them most. <b>"],
    "expected": {
        "recommended": {"cost": 1840.25, "interval": [1790.0, 1893.0], "service": 0.962},
        "fallback": {"cost": 2010.0, "interval": [1950.0, 2075.0], "service": 0.95},
        "nothing": {"cost": 2600.0, "interval": [2480.0, 2730.0], "service": 0.81},
    },
    "differences": {"fallback": {"cost": -169.75, "interval": [-190.0, -150.0], "service": 0.012}},
    "fields": [
        {
            "name": "on_hand[north/item]",
            "value": 71.9,
            "unit": "case",
            "training_mean": 120.4,
            "moves": 12.0,
            "arc": ARCS[1],
            "order_unit": "case",
        }
    ],
    "guards": [{"code": "INTEGER_LOT", "verdict": "modify", "detail": "1 orders rounded", "changes": 1}],
    "distance": {"value": 4.2, "usual": 7.9, "unusual": []},
    "trajectories": [
        {
            "what": "stock",
            "unit": "case",
            "recommended": [120.0, 100.0, 110.0],
            "fallback": [120.0, 90.0, 80.0],
            "nothing": [120.0, 60.0, 0.0],
        }
    ],
    "outlook": "calm",
}


def test_nobody_gets_in_without_a_token(desk: Desk) -> None:
    for path in ("/", "/audit", f"/decisions/{'0' * 32}"):
        response = desk.client.get(path)
        assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert desk.client.post("/halt", data={"reason": "x"}).headers["location"] == "/login"
    assert "Token" in desk.client.get("/login").text
    response = desk.client.post("/login", data={"token": "advisor_wrong"})
    assert response.status_code == 401
    assert "not known" in response.text
    assert "set-cookie" not in response.headers
    assert desk.rig.advisor.mode == "advisory"


def test_a_login_is_a_cookie_that_no_script_reads_and_no_other_site_sends(rig: Rig, open_desk: Any) -> None:
    desk = open_desk(rig, secure=True)
    response = desk.client.post("/login", data={"token": desk.tokens["viewer"]})
    cookie = response.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/"} <= set(re.split(r"; ", cookie))
    assert desk.tokens["viewer"] not in cookie


def test_a_logout_and_a_removed_token_end_it(desk: Desk) -> None:
    desk.login()
    assert desk.client.get("/").status_code == 200
    remove_token(desk.path, "the approver")
    assert desk.client.get("/").status_code == 303
    desk.login("planner")
    assert desk.client.get("/").status_code == 200
    assert desk.fill("/logout").headers["location"] == "/login"
    assert desk.client.get("/").status_code == 303


def test_a_form_of_another_login_or_another_site_does_nothing(desk: Desk) -> None:
    desk.login()
    for form in ({}, {"csrf": ""}, {"csrf": "x" * 43}, {"csrf": "é"}):
        response = desk.client.post("/halt", data={**form, "reason": "x"})
        assert response.status_code == 403
        assert "FORM" in response.text
    page = desk.client.get("/").text
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    for origin in ("https://elsewhere.test", "null"):
        response = desk.client.post("/halt", data={"csrf": csrf}, headers={"Origin": origin})
        assert response.status_code == 403
        response = desk.client.post("/login", data={"token": desk.tokens["viewer"]}, headers={"Origin": origin})
        assert response.status_code == 403
    assert desk.client.post("/halt", json={"csrf": csrf}).status_code == 415
    assert desk.rig.advisor.mode == "advisory"
    assert desk.client.post("/halt", data={"csrf": csrf}, headers={"Origin": "http://advisor.test"}).status_code == 303
    assert desk.rig.advisor.mode == "halted"


def test_the_cookie_is_no_key_to_the_operations(desk: Desk) -> None:
    desk.login()
    assert desk.client.get("/v1/mode").status_code == 401
    assert desk.client.post("/v1/halt", json={}).status_code == 401


def test_each_role_sees_and_may_what_it_may(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login("viewer")
    home = desk.client.get("/").text
    assert 'action="/halt"' not in home
    assert 'action="/mode"' not in home
    assert "an approver decides about this" in desk.client.get(path).text
    assert desk.fill("/halt").status_code == 403
    assert desk.fill(f"{path}/approve", action_hash=decision["action_hash"]).status_code == 403
    desk.login("planner")
    assert 'action="/mode"' not in desk.client.get("/").text
    assert desk.fill("/mode", mode="shadow").status_code == 403
    assert desk.fill(f"{path}/reject").status_code == 403
    assert desk.fill("/halt", reason="fire").status_code == 303
    assert desk.rig.last("mode")["person"] == "the planner"
    assert desk.rig.last("mode")["detail"] == "fire"
    assert desk.rig.sender.sent == []


def test_from_the_list_to_orders_that_are_sent(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login()
    assert f'href="{path}"' in desk.client.get("/").text
    response = desk.fill(f"{path}/approve", path, action_hash=decision["action_hash"], also="execute")
    assert response.headers["location"] == path
    page = desk.client.get(path).text
    assert "the advice is done now" in page
    assert "the advice is done now" not in desk.client.get(path).text
    assert "Your decision" not in page
    ((_, message),) = desk.rig.sender.sent
    assert {entry["arc"]: entry["order"] for entry in message["orders"]} == decision["orders"]


def test_approval_and_execution_apart_with_the_state_of_now_pasted(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login()
    assert desk.fill(f"{path}/approve", path, action_hash=decision["action_hash"], also="").status_code == 303
    assert desk.rig.sender.sent == []
    response = desk.fill(f"{path}/execute", path, state='{"observation": {}}')
    assert response.status_code == 422
    assert response.text.count("is missing") > 20
    assert desk.fill(f"{path}/execute", path, state="{").status_code == 400
    assert desk.fill(f"{path}/execute", path, state=json.dumps(desk.rig.state())).status_code == 303
    assert len(desk.rig.sender.sent) == 1


def test_a_persons_own_orders(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login()
    page = desk.client.get(path).text
    form = dict(re.findall(r'name="(order:[^"]+)" value="([^"]+)"', page.replace("&gt;", ">")))
    # What stands in the form are the very orders, to the last digit.
    assert {name.removeprefix("order:"): float(text) for name, text in form.items()} == decision["orders"]
    form[f"order:{ARCS[0]}"] = "12,5"
    form["order:a->b"] = "1"
    response = desk.fill(f"{path}/modify", path, action_hash=decision["action_hash"], **form)
    assert response.status_code == 422
    assert ARCS[0].replace(">", "&gt;") in response.text
    del form["order:a->b"]
    form[f"order:{ARCS[0]}"] = "501"
    response = desk.fill(f"{path}/modify", path, action_hash=decision["action_hash"], **form)
    assert "MAXIMUM_ORDER" in response.text
    form[f"order:{ARCS[0]}"] = "12"
    assert desk.fill(f"{path}/modify", path, action_hash=decision["action_hash"], **form).status_code == 303
    assert "modified" in desk.client.get(path).text
    assert desk.fill(f"{path}/execute", path).status_code == 303
    assert dict(desk.rig.advisor.proposal(decision["id"]).orders)[ARCS[0]] == 12.0


def test_what_cannot_be_done_is_a_page_with_its_status(desk: Desk) -> None:
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login()
    assert desk.fill(f"{path}/approve", path, action_hash="0" * 64).status_code == 412
    assert desk.fill(f"{path}/reject", path, reason="no").status_code == 303
    assert desk.fill(f"{path}/approve", action_hash=decision["action_hash"]).status_code == 409
    assert desk.fill(f"{path}/sell").status_code == 404
    assert desk.client.get(f"/decisions/{'0' * 32}").status_code == 404
    assert desk.client.get("/decisions/x").status_code == 400
    assert desk.fill("/mode", mode="autonomous").status_code == 303
    assert desk.fill("/mode", mode="sideways").status_code == 400
    for response in (desk.fill(f"{path}/sell"), desk.client.get("/decisions/x")):
        assert response.headers["content-type"].startswith("text/html")
        assert "Refused" in response.text


def test_an_unknown_outcome_is_resolved_by_a_person(desk: Desk) -> None:
    desk.rig.sender.error = RuntimeError("the line went dead")
    decision = desk.decide()
    path = f"/decisions/{decision['id']}"
    desk.login()
    desk.fill(f"{path}/approve", path, action_hash=decision["action_hash"], also="execute")
    assert "may have been executed or not" in desk.client.get(path).text
    assert desk.fill(f"{path}/resolve", path, outcome="failed", reason="asked the carrier").status_code == 303
    assert desk.rig.last("resolved")["detail"] == "asked the carrier"


def test_names_from_requests_are_text_and_nothing_else(desk: Desk) -> None:
    desk.decide(request_id="<script>alert(1)</script>")
    desk.login()
    desk.fill("/mode", mode="shadow", reason="<img src=x onerror=alert(1)>")
    for text in (desk.client.get("/audit").text, desk.client.get("/audit", params={"text": "<script>"}).text):
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;script&gt;" in text


def test_the_record_is_searched_page_by_page(desk: Desk) -> None:
    for _ in range(60):
        desk.decide()
    desk.login()
    page = desk.client.get("/audit", params={"kind": "decision"}).text
    assert page.count("<summary>") == 50
    (older,) = re.findall(r'href="(/audit[^"]+before=\d+)"', page)
    assert desk.client.get(older.replace("&amp;", "&")).text.count("<summary>") == 10
    assert "No record is like that" in desk.client.get("/audit", params={"text": "nowhere to be found"}).text


def test_it_shows_the_orders_and_says_when_there_is_no_explanation(make: Callable[..., Rig], open_desk: Any) -> None:
    # In shadow nobody is asked, so nothing is explained.
    desk = open_desk(make(mode="shadow", arcs={ARCS[0]: {"lot_size": 25.0, "maximum": 200.0}}))
    decision = desk.decide()
    desk.login()
    page = desk.client.get(f"/decisions/{decision['id']}").text
    assert "This advice came without an explanation." in page
    for arc, value in decision["orders"].items():
        assert arc.replace(">", "&gt;") in page
        assert f'data-label="after guards">{view.units(value)}<' in page
    assert "INTEGER_LOT" in page


def test_it_shows_an_explanation_whatever_is_in_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.advisor import service_page
    from agents.advisor.decision import Decision

    real = service_page.find_decision

    def explained(tx: Any, decision_id: str) -> tuple[Decision, str]:
        found, at = real(tx, decision_id)
        return Decision(found.record, {**found.body, "explanation": EXPLANATION}, found.state), at

    monkeypatch.setattr(service_page, "find_decision", explained)
    decision = desk.decide()
    desk.login()
    page = desk.client.get(f"/decisions/{decision['id']}").text
    for text in (
        "cost 1,840 a week",
        "most. &lt;b&gt;",
        "1,790 to 1,893",
        "-190 to -150",
        "120.4",
        "outlook",
        "calm",
        "4.2",
    ):
        assert text in page, text
    assert page.count("<polyline") == 3
    assert "nothing: 0 at the end" in page


def test_it_shows_what_a_look_ahead_found(rig: Rig, open_desk: Any) -> None:
    look = {"paths": 8, "margin": 1e9, "timeout_seconds": 60.0}
    rig.advisor.activate(rig.bundle, person="planner", guardrails=rails(highest_mode="advisory", look_ahead=look))
    desk = open_desk(rig, timeout_seconds=60.0)
    task = InventoryTask("five_site_distribution")
    decision = desk.post("/v1/decisions", carried(task, Simulation(task.compiled, seed=3))).json()
    found = decision["explanation"]
    assert found["expected"] is not None, found["text"][1]
    desk.login()
    page = desk.client.get(f"/decisions/{decision['id']}").text
    for sentence in found["text"]:
        assert str(escape(sentence)) in page
    for alternative in found["expected"].values():
        assert f">{view.number(alternative['cost'])}<" in page
    for entry in found["fields"]:
        assert str(escape(entry["name"])) in page
    assert page.count("<polyline") == 3 * len(found["trajectories"])
    assert "stock, case, expected by period" in page


@pytest.mark.parametrize("given", [None, {}, [], "because"])
def test_no_explanation_is_none(given: Any) -> None:
    assert view.explanation(given) is None


def test_a_chart_is_to_scale() -> None:
    entry = {"what": "stock", "unit": "case", "recommended": [0.0, 5.0, 10.0], "nothing": [10.0, 10.0, 10.0]}
    shown = view.explanation({"trajectories": [entry, {"what": "nothing to draw"}, 5]})
    assert shown is not None
    (chart,) = shown["charts"]
    assert (chart.title, chart.low, chart.high, chart.periods) == ("stock, case", 0.0, 10.0, 3)
    (x0, y0), (x1, y1), (x2, y2) = [[float(x) for x in pair.split(",")] for pair in chart.lines[0].points.split()]
    assert (y0, y2) == (178.0, 12.0)
    assert y1 == pytest.approx(95.0)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert [line.name for line in chart.lines] == ["recommended", "nothing"]


def test_the_recommended_orders_come_first_however_a_record_keeps_them() -> None:
    kept = json.loads(json.dumps(EXPLANATION, sort_keys=True))
    shown = view.explanation(kept)
    assert shown is not None
    assert [row[0] for row in shown["expected"]["rows"]] == ["recommended", "fallback", "nothing"]
    assert shown["expected"]["columns"] == ["alternative", "cost", "interval", "service"]
    assert [line.name for line in shown["charts"][0].lines] == ["recommended", "fallback", "nothing"]
    assert shown["fields"]["columns"] == ["name", "value", "unit", "training mean", "moves", "order unit", "arc"]
    assert shown["fields"]["rows"][0][:2] == ["on_hand[north/item]", "71.9"]


def test_numbers_for_people() -> None:
    assert [view.number(x) for x in (None, 0.12345, 12345.6, float("inf"), True)] == [
        "-",
        "0.1235",
        "12,346",
        "inf",
        "True",
    ]
    assert [view.units(x) for x in (None, 34.99789, 125.0, 1200.5)] == ["-", "34.998", "125", "1,200.5"]


def test_sessions_end_and_the_oldest_gives_way(desk: Desk) -> None:
    from agents.advisor.service_sessions import Sessions

    now = 0.0
    tokens = Tokens(desk.path)
    sessions = Sessions(tokens, 60.0, lambda: now)
    caller = tokens.find(desk.tokens["viewer"])
    assert isinstance(caller, Caller)
    first = sessions.begin(caller)
    assert sessions.find(first.id) is not None
    assert sessions.find(None) is None
    now = 60.0
    assert sessions.find(first.id) is None
    begun = [sessions.begin(caller) for _ in range(1001)]
    assert sessions.find(begun[0].id) is None
    assert sessions.find(begun[1].id) is not None
