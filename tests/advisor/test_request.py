"""Each thing that is wrong with a request has its own code and status, on record; every bad field is named."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.advisor.canonical import canonical, plain
from agents.advisor.errors import STATUS
from agents.advisor.request import REQUEST_KEYS, parse_request
from tests.advisor.helpers import START, Rig, refused

# Examples are the same in every run; the machine may be busy.
PROFILE = settings(deadline=None, derandomize=True)

FIELD = "on_hand[north/item]"


def put(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["observation"].__setitem__(FIELD, value)


def entry(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.__setitem__(key, value)


def rename(state: dict[str, Any]) -> None:
    state["observation"]["on_hand[nord/item]"] = state["observation"].pop(FIELD)


CASES: list[tuple[str, Callable[[dict[str, Any]], Any], str, int]] = [
    ("wrong spec hash", entry("spec_hash", "0" * 64), "SPEC_MISMATCH", 412),
    ("spec hash of another kind", entry("spec_hash", 5), "SPEC_MISMATCH", 412),
    ("wrong network hash", entry("network_hash", "0" * 64), "NETWORK_MISMATCH", 412),
    ("wrong bundle", entry("bundle_id", "0" * 64), "BUNDLE_MISMATCH", 412),
    ("renamed field", rename, "FIELD_RENAMED", 422),
    ("missing field", lambda state: state["observation"].pop(FIELD), "FIELD_MISSING", 422),
    ("extra field", lambda state: state["observation"].__setitem__("weather", 1.0), "FIELD_UNKNOWN", 422),
    ("fields as a list", lambda state: state.__setitem__("observation", [1.0] * 27), "SHAPE", 422),
    ("no observation", lambda state: state.pop("observation"), "REQUEST", 400),
    ("observation null", entry("observation", None), "REQUEST", 400),
    ("NaN", put(math.nan), "NOT_FINITE", 422),
    ("infinite", put(math.inf), "NOT_FINITE", 422),
    ("a whole number beyond doubles", put(10**400), "NOT_FINITE", 422),
    ("1e300", put(1e300), "OUT_OF_RANGE", 422),
    ("below", put(-1.0), "OUT_OF_RANGE", 422),
    ("null", put(None), "NOT_A_NUMBER", 422),
    ("string number", put("5"), "NOT_A_NUMBER", 422),
    ("yes", put(True), "NOT_A_NUMBER", 422),
    ("wrong shape", put([5.0]), "SHAPE", 422),
    ("nested", put({"amount": 5.0}), "SHAPE", 422),
    ("value is nested", put({"value": {"value": 5.0}}), "SHAPE", 422),
    ("value missing", put({"unit": "case"}), "SHAPE", 422),
    ("wrong unit", put({"value": 5.0, "unit": "pallet"}), "UNIT", 422),
    ("unit is no text", put({"value": 5.0, "unit": 5}), "UNIT", 422),
    ("time without zone", entry("as_of", "2026-03-02T08:00:00"), "TIME", 422),
    ("no time at all", entry("as_of", "yesterday"), "TIME", 422),
    ("time as a number", entry("as_of", 12345), "TIME", 422),
    ("time before the calendar", entry("as_of", "0001-01-01T00:00:00+14:00"), "TIME", 422),
    ("field time", put({"value": 5.0, "at": "soon"}), "TIME", 422),
    ("unknown entry", entry("observations", {}), "REQUEST", 400),
    ("request id empty", entry("request_id", ""), "REQUEST", 400),
    ("request id long", entry("request_id", "x" * 129), "REQUEST", 400),
    ("request id with a line break", entry("request_id", "a\nb"), "REQUEST", 400),
    ("request id a number", entry("request_id", 5), "REQUEST", 400),
    ("period", entry("period", 1.5), "REQUEST", 400),
    ("closed names no arc", entry("closed", ["central->nort:truck:item"]), "REQUEST", 400),
    ("closed holds a list", entry("closed", [["a"]]), "REQUEST", 400),
    ("closed is no list", entry("closed", "all"), "REQUEST", 400),
    ("available", entry("available", {"money": 5.0}), "REQUEST", 400),
    ("previous orders", entry("previous_orders", [1.0]), "REQUEST", 400),
    ("previous order below 0", entry("previous_orders", {"central->north:truck:item": -1.0}), "OUT_OF_RANGE", 422),
    ("previous order NaN", entry("previous_orders", {"central->north:truck:item": math.nan}), "NOT_FINITE", 422),
]


@pytest.fixture(scope="module")
def shared(bundle: Any, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    rig = Rig(bundle, example, tmp_path_factory.mktemp("request"))
    yield rig
    rig.advisor.close()


@pytest.mark.parametrize(("change", "code", "status"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_wrong_with_a_request_is_said_and_recorded(
    shared: Rig, change: Callable[[dict[str, Any]], Any], code: str, status: int
) -> None:
    state = copy.deepcopy(shared.state())
    change(state)
    refusal = refused(shared.advisor.decide, state)
    assert (refusal.code, refusal.status) == (code, status)
    assert [problem.code for problem in refusal.problems] == [code]
    last = shared.last("refused")
    assert last["code"] == code
    assert refusal.record == shared.store.head()[0]


@pytest.mark.parametrize("data", [None, [], "state", 5, [{"observation": {}}]])
def test_a_request_that_is_no_mapping_is_refused(shared: Rig, data: object) -> None:
    refusal = refused(shared.advisor.decide, data)
    assert (refusal.code, refusal.status) == ("REQUEST", 400)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@PROFILE
@given(st.data())
def test_no_request_at_all_is_more_than_refused(bundle: Any, example: dict[str, Any], data: st.DataObject) -> None:
    """Whatever JSON can hold, in any place of a request: a request or problems, never an exception."""
    state: Any = copy.deepcopy(example)
    for key in data.draw(st.lists(st.sampled_from(REQUEST_KEYS), max_size=3)):
        state[key] = data.draw(json_values)
    if isinstance(state["observation"], dict):
        for name in data.draw(st.lists(st.sampled_from(list(example["observation"])), max_size=3)):
            parts = st.dictionaries(st.sampled_from(["value", "unit", "at"]), json_values)
            state["observation"][name] = data.draw(json_values | parts)
    fields, arcs = bundle.spec.fields, bundle.spec.arc_names
    hashes = {"spec_hash": example["spec_hash"], "network_hash": example["network_hash"], "bundle_id": "x"}
    request, problems = parse_request(state, fields, arcs, ("money",), hashes)
    assert (request is None) == bool(problems)
    assert {problem.code for problem in problems} <= set(STATUS)
    canonical([problem.to_dict() for problem in problems])
    canonical(plain(state)).encode()


def test_all_bad_fields_are_named_at_once(shared: Rig) -> None:
    state = shared.state()
    names = list(state["observation"])[:5]
    for name, value in zip(names, (None, "5", [1], math.nan, 1e300), strict=True):
        state["observation"][name] = value
    refusal = refused(shared.advisor.decide, state)
    assert [problem.place for problem in refusal.problems] == names
    assert [problem.code for problem in refusal.problems] == [
        "NOT_A_NUMBER",
        "NOT_A_NUMBER",
        "SHAPE",
        "NOT_FINITE",
        "OUT_OF_RANGE",
    ]
    assert "and 2 more" in refusal.detail


def test_the_order_of_the_fields_and_how_they_are_written_do_not_matter(shared: Rig) -> None:
    state = shared.state()
    first = shared.advisor.decide(state)
    permuted = {**state, "observation": dict(reversed(state["observation"].items()))}
    units = {field.name: field.unit for field in shared.bundle.spec.fields}
    long = {
        **state,
        "observation": {
            name: {"value": value, "unit": units[name], "at": START.isoformat()}
            for name, value in state["observation"].items()
        },
    }
    for other in (permuted, long):
        decision = shared.advisor.decide(other)
        assert decision.orders == first.orders
        assert decision.raw_orders == first.raw_orders


def test_the_advisor_decides_what_the_bundle_advises(shared: Rig) -> None:
    decision = shared.advisor.decide(shared.state())
    advice = shared.bundle.advise(shared.state())
    assert decision.orders == {order.arc: order.order for order in advice.orders}
    assert tuple(decision.body["action"]) == advice.action


def test_every_status_is_one_of_the_service() -> None:
    own = {405, 408, 415}  # of HTTP itself: another method, too slow, another kind of body
    assert set(STATUS.values()) <= {400, 401, 403, 404, 409, 410, 412, 413, 422, 423, 429, 503} | own
