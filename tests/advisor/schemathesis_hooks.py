"""What schemathesis cannot guess: a state of the bundle, and a proposal that nothing was done with yet.

Its valid cases get them three times of four, so that they come through to where something happens; its invalid ones
stay as they are. Loaded by the command line of schemathesis, which test_service_schema.py runs.
"""

from __future__ import annotations

import json
import os
from itertools import count
from typing import Any

import httpx
import schemathesis

_STATE = json.loads(os.environ["ADVISOR_STATE"])
_ASK = httpx.Client(
    base_url=os.environ["ADVISOR_URL"], headers={"Authorization": f"Bearer {os.environ['ADVISOR_TOKEN']}"}
)
_TURN = count()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive or next(_TURN) % 4 == 3:
        return
    body = case.body if isinstance(case.body, dict) else {}
    if case.operation.label == "POST /v1/decisions":
        case.body = {**_STATE, **{key: body[key] for key in ("request_id",) if key in body}}
    if "state" in body:
        body["state"] = _STATE
    if "decision_id" not in {*body, *(case.path_parameters or {})}:
        return
    made = _ASK.post("/v1/decisions", json=_STATE).raise_for_status().json()
    if case.operation.label.endswith("/execute"):
        step = {"action_hash": made["action_hash"]}
        _ASK.post(f"/v1/decisions/{made['id']}/approve", json=step).raise_for_status()
    if "decision_id" in (case.path_parameters or {}):
        case.path_parameters["decision_id"] = made["id"]
    known = {"decision_id": made["id"], "action_hash": made["action_hash"], "orders": made["orders"]}
    body.update({key: value for key, value in known.items() if key in body})


@schemathesis.hook
def after_call(_context: Any, case: Any, _response: Any) -> None:
    # A halted service says 423 and nothing more: somebody lets it go on.
    if case.operation.label in {"POST /v1/halt", "POST /v1/mode"}:
        for mode in ("shadow", "advisory"):
            _ASK.post("/v1/mode", json={"mode": mode})
