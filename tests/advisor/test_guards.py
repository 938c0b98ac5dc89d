"""What leaves the guards satisfies every hard limit, rounding included, whatever went in; or nothing leaves."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.advice import OrderRules
from agents.advisor.guardrails import Guardrails
from agents.advisor.guards import Facts, Guards
from agents.advisor.lots import Lots
from agents.bundle import Bundle
from agents.bundle_spec import Spec
from tests.advisor.helpers import ARCS, rails
from twin.errors import ConfigError

# Examples are the same in every run; the machine may be busy.
PROFILE = settings(deadline=None, derandomize=True)

NORTH, WEST = ARCS[1], ARCS[4]
NOW = Facts("2026-03-02")

amount = st.one_of(
    st.floats(0.0, 1000.0), st.integers(0, 1000).map(float), st.sampled_from([0.1, 0.3, 0.7, 1e-12, 1e6, 1e15])
)
lot = st.sampled_from([None, 0.1, 0.3, 1.0, 2.5, 6.0, 7.0, 12.0])


@st.composite
def arc_limits(draw: st.DrawFn) -> dict[str, Any]:
    keys = {"maximum": amount, "minimum": amount, "maximum_increase": amount, "maximum_decrease": amount}
    out = {key: draw(values) for key, values in keys.items() if draw(st.booleans())}
    size = draw(lot)
    return out | ({"lot_size": size} if size is not None else {}) | {"closed": draw(st.integers(0, 9)) == 0}


@st.composite
def guard_files(draw: st.DrawFn) -> dict[str, Any]:
    limits = []
    for kind in draw(st.lists(st.sampled_from(["budget", "capacity", "labour", "emissions"]), max_size=4)):
        limits.append(
            {
                "name": f"{kind} {len(limits)}",
                "kind": kind,
                "unit": "x",
                "limit": draw(amount),
                "per": draw(st.sampled_from(["decision", "day"])),
                "each": {arc: draw(st.sampled_from([0.0, 0.1, 1.0, 1.7, 3.0])) for arc in ARCS},
                "default": 1.0,
            }
        )
        if not any(limits[-1]["each"].values()):
            limits[-1]["each"][ARCS[0]] = 1.0
    return {
        "arcs": {arc: draw(arc_limits()) for arc in ARCS},
        "limits": limits,
        "prices": dict.fromkeys(ARCS, 1.0),
    }


def naive(rails: Guardrails, spec: Spec, facts: Facts, orders: list[float]) -> list[str]:
    """Every limit once more, in exact fractions, written without the guards' own code."""
    wrong = []
    for a, name in enumerate(ARCS):
        order, arc = orders[a], rails.arcs.get(name, rails.default)
        closed = bool(arc.closed) or name in facts.closed
        previous = facts.previous.get(name)
        if order < 0.0 or not math.isfinite(order):
            wrong.append(f"{name} is {order}")
        if closed and order != 0.0:
            wrong.append(f"{name} is closed")
        if arc.maximum is not None and order > arc.maximum:
            wrong.append(f"{name} above its maximum")
        if order > spec.rules.maximum[a] or 0.0 < order < spec.rules.minimum[a]:
            wrong.append(f"{name} breaks the bundle's rules")
        if arc.minimum is not None and 0.0 < order < arc.minimum:
            wrong.append(f"{name} below its minimum")
        size = arc.lot_size or spec.rules.lot[a]
        if size and round(order / size) * size != order:
            wrong.append(f"{name} is not whole lots")
        if previous is not None and not closed:
            if arc.maximum_increase is not None and order > previous + arc.maximum_increase:
                wrong.append(f"{name} rises too much")
            if arc.maximum_decrease is not None and order < previous - arc.maximum_decrease:
                wrong.append(f"{name} falls too much")
    for limit in rails.limits:
        factors = [Fraction(limit.each.get(name, limit.default)) for name in ARCS]
        left = limit.limit - (facts.used.get(limit.name, 0.0) if limit.per == "day" else 0.0)
        left = max(min(left, facts.available.get(limit.name, math.inf)), 0.0)
        use = sum(f * Fraction(x) for f, x in zip(factors, orders, strict=True))
        # A product of two doubles is rounded once before it is added: that is the accuracy a sum of amounts has.
        if use > Fraction(left) * (1 + Fraction(1, 10**15)):
            wrong.append(f"{limit.name}: {float(use)} of {left}")
    return wrong


@PROFILE
@given(
    guard_files(),
    st.lists(st.one_of(amount, st.floats(allow_nan=True, allow_infinity=True)), min_size=5, max_size=5),
    st.data(),
)
def test_the_final_orders_satisfy_every_hard_limit(
    bundle: Bundle, data: dict[str, Any], orders: list[float], draw: st.DataObject
) -> None:
    file = Guardrails.parse(data, "test")
    guards = Guards(file, bundle.spec)
    names = list(guards.limit_names)
    facts = Facts(
        "2026-03-02",
        tuple(draw.draw(st.lists(st.sampled_from(ARCS), max_size=2, unique=True))),
        draw.draw(st.dictionaries(st.sampled_from(names), amount)) if names else {},
        draw.draw(st.dictionaries(st.sampled_from(names), amount)) if names else {},
        draw.draw(st.dictionaries(st.sampled_from(ARCS), amount)),
    )
    guarded = guards.apply(np.array(orders), facts)
    assert all(check.code != "HARD_LIMIT" or check.verdict == "pass" for check in guarded.checks)
    if guarded.orders is None:
        assert guarded.block is not None
        return
    assert naive(file, bundle.spec, facts, guarded.orders.tolist()) == []
    # What is allowed is left alone: a second pass changes nothing.
    again = guards.apply(guarded.orders, facts)
    assert again.orders is not None
    assert again.orders.tolist() == guarded.orders.tolist()


@PROFILE
@given(guard_files(), st.integers(0, 2**32 - 1))
def test_any_weights_in_any_state_end_in_orders_within_the_limits(
    bundle: Bundle, data: dict[str, Any], seed: int
) -> None:
    """Random observations through a policy of random weights, as a bundle decodes them."""
    rng = np.random.default_rng(seed)
    file = Guardrails.parse(data, "test")
    spec = bundle.spec
    low, high = (np.array([getattr(field, key) for field in spec.fields]) for key in ("low", "high"))
    values = rng.uniform(low, high)
    layers = tuple(
        dataclasses.replace(
            layer,
            weight=rng.normal(scale=3.0, size=layer.weight.shape).astype(np.float32),
            bias=rng.normal(scale=3.0, size=layer.bias.shape).astype(np.float32),
        )
        for layer in bundle.policy.layers
    )
    action = dataclasses.replace(bundle.policy, layers=layers).act(values[None])
    _, orders = spec.decode(action, values[spec.position_columns()][:, None])
    facts = Facts("2026-03-02", previous=dict(zip(ARCS, rng.uniform(0.0, 300.0, 5).tolist(), strict=True)))
    guarded = Guards(file, spec).apply(orders[:, 0], facts)
    if guarded.orders is not None:
        assert naive(file, spec, facts, guarded.orders.tolist()) == []


@PROFILE
@given(st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.0]), amount, amount)
def test_lots_are_the_nearest_on_each_side(size: float, minimum: float, quantity: float) -> None:
    lots = Lots([size], [minimum])
    down, up = (float(side(np.array([quantity]))[0]) for side in (lots.down, lots.up))
    assert down <= quantity <= up
    assert lots.allows(0, down)
    assert lots.allows(0, up)


def build(bundle: Bundle, **changes: Any) -> Guards:
    return Guards(rails(**changes), bundle.spec)


def verdicts(guards: Guards, orders: list[float], facts: Facts = NOW) -> dict[str, str]:
    return {check.code: check.verdict for check in guards.apply(np.array(orders), facts).checks}


def test_orders_within_all_limits_pass_every_guard(bundle: Bundle) -> None:
    limits = [{"name": "money", "kind": "budget", "unit": "EUR", "limit": 1e6}]
    guarded = build(bundle, limits=limits).apply(np.array([10.0, 0.0, 5.5, 1.0, 2.0]), NOW)
    assert not guarded.changed
    assert [check.code for check in guarded.checks] == [
        "MASK",
        "MINIMUM_ORDER",
        "INTEGER_LOT",
        "MAXIMUM_ORDER",
        "ORDER_LIMIT",
        "RATE_OF_CHANGE",
        "BUDGET",
        "HARD_LIMIT",
    ]


def test_a_guard_that_modifies_keeps_before_and_after(bundle: Bundle) -> None:
    guards = build(bundle, default={"maximum": 60.0, "lot_size": 25.0})
    guarded = guards.apply(np.array([40.0, 0.0, 70.0, 0.0, 0.0]), NOW)
    assert guarded.orders is not None
    assert guarded.orders.tolist() == [50.0, 0.0, 50.0, 0.0, 0.0]
    changes = {check.code: [(c.arc, c.before, c.after) for c in check.changes] for check in guarded.checks}
    assert changes["INTEGER_LOT"] == [(ARCS[0], 40.0, 50.0), (ARCS[2], 70.0, 75.0)]
    assert changes["MAXIMUM_ORDER"] == [(ARCS[2], 75.0, 50.0)]


def test_a_closed_arc_orders_nothing_and_all_closed_is_no_advice(bundle: Bundle) -> None:
    guards = build(bundle, arcs={NORTH: {"closed": True}})
    guarded = guards.apply(np.full(5, 9.0), Facts("2026-03-02", closed=(WEST,)))
    assert guarded.orders is not None
    assert guarded.orders.tolist() == [9.0, 0.0, 9.0, 9.0, 0.0]
    blocked = guards.apply(np.full(5, 9.0), Facts("2026-03-02", closed=(ARCS[0], *ARCS[2:])))
    assert blocked.block is not None
    assert blocked.block.code == "ALL_MASKED"


def test_the_rate_of_change_holds_on_both_sides_and_blocks_where_it_cannot(bundle: Bundle) -> None:
    guards = build(bundle, default={"maximum_increase": 10.0, "maximum_decrease": 20.0, "maximum": 100.0})
    facts = Facts("2026-03-02", previous={ARCS[0]: 50.0, NORTH: 50.0})
    guarded = guards.apply(np.array([99.0, 0.0, 99.0, 0.0, 0.0]), facts)
    assert guarded.orders is not None
    assert guarded.orders.tolist() == [60.0, 30.0, 99.0, 0.0, 0.0]
    stuck = guards.apply(np.zeros(5), Facts("2026-03-02", previous={NORTH: 500.0}))
    assert stuck.block is not None
    assert stuck.block.code == "RATE_OF_CHANGE"
    assert "at least 480" in stuck.block.detail


def test_no_cost_buys_what_a_budget_does_not_have(bundle: Bundle) -> None:
    limit = {"name": "money", "kind": "budget", "unit": "EUR", "limit": 100.0, "per": "day"}
    guards = build(bundle, limits=[limit], default={"lot_size": 10.0})
    facts = Facts("2026-03-02", used={"money": 20.0})
    guarded = guards.apply(np.array([50.0, 50.0, 0.0, 0.0, 0.0]), facts)
    assert guarded.orders is not None
    assert guards.spend(guarded.orders) == 80.0
    assert guarded.orders.tolist() == [20.0, 20.0, 0.0, 0.0, 0.0]
    # The rest of a lot that one arc cannot use goes to the other.
    guarded = guards.apply(np.array([50.0, 50.0, 0.0, 0.0, 0.0]), Facts("2026-03-02", used={"money": 40.0}))
    assert guarded.orders is not None
    assert guards.spend(guarded.orders) == 60.0


def test_a_budget_that_is_used_up_leaves_nothing_and_is_no_breach(bundle: Bundle) -> None:
    limit = {"name": "money", "kind": "budget", "unit": "EUR", "limit": 100.0, "per": "day"}
    guarded = build(bundle, limits=[limit]).apply(np.full(5, 3.0), Facts("2026-03-02", used={"money": 130.0}))
    assert guarded.orders is not None
    assert not guarded.orders.any()


@pytest.mark.parametrize("kind", ["budget", "capacity", "labour", "emissions"])
def test_a_sum_that_even_the_lowest_orders_exceed_blocks_with_its_code(bundle: Bundle, kind: str) -> None:
    limit = {"name": "it", "kind": kind, "unit": "x", "limit": 5.0, "each": {NORTH: 1.0}}
    guards = build(bundle, limits=[limit], default={"maximum_decrease": 1.0})
    facts = Facts("2026-03-02", previous={NORTH: 50.0})
    assert verdicts(guards, [0.0] * 5, facts)[kind.upper()] == "block"
    assert verdicts(guards, [0.0] * 5)[kind.upper()] == "pass"
    assert verdicts(guards, [0.0, 9.0, 0.0, 0.0, 0.0])[kind.upper()] == "modify"


def test_the_state_can_only_tighten_a_limit(bundle: Bundle) -> None:
    limit = {"name": "dock", "kind": "capacity", "unit": "case", "limit": 50.0, "default": 1.0}
    guards = build(bundle, limits=[limit])
    for available, left in ((30.0, 30.0), (70.0, 50.0)):
        guarded = guards.apply(np.full(5, 100.0), Facts("2026-03-02", available={"dock": available}))
        assert guarded.orders is not None
        assert guarded.orders.sum() == pytest.approx(left)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_an_order_that_is_no_number_blocks(bundle: Bundle, bad: float) -> None:
    assert verdicts(build(bundle), [1.0, bad, 1.0, 1.0, 1.0]) == {"ACTION_NOT_FINITE": "block"}


def test_a_guard_that_would_be_wrong_is_stopped_by_the_last_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"name": "dock", "kind": "capacity", "unit": "case", "limit": 50.0, "default": 1.0}
    guards = build(bundle, limits=[limit])
    monkeypatch.setattr(Guards, "_fill", lambda _self, _factors, wanted, *_: wanted)
    block = guards.apply(np.full(5, 100.0), NOW).block
    assert block is not None
    assert block.code == "HARD_LIMIT"


def test_the_bundles_own_order_rules_hold_too(bundle: Bundle) -> None:
    rules = OrderRules(np.ones(5, dtype=np.bool_), np.full(5, 4.0), np.full(5, 2.0), np.full(5, 8.0))
    guards = Guards(rails(), dataclasses.replace(bundle.spec, rules=rules))
    guarded = guards.apply(np.array([1.0, 3.0, 5.2, 9.0, 0.0]), NOW)
    assert guarded.orders is not None
    assert guarded.orders.tolist() == [0.0, 4.0, 6.0, 8.0, 0.0]
    with pytest.raises(ConfigError, match="not a whole multiple of the lot of 2"):
        Guards(rails(default={"lot_size": 3.0}), dataclasses.replace(bundle.spec, rules=rules))


# -- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defalt: {}", "unknown key 'defalt'; did you mean 'default'"),
        ("highest_mode: autonomus", "did you mean 'autonomous'"),
        ("default: {maximum: '5'}", r"default\.maximum: .*received '5'"),
        ("default: {maximum: -1}", r"default\.maximum: .*greater than or equal to 0"),
        ("default: {maximum: .nan}", r"default\.maximum: .*finite"),
        ("limits: [{name: a, kind: money, unit: x, limit: 1}]", r"limits\[0\]\.kind"),
        (
            "limits: [{name: a, kind: budget, unit: x, limit: 1}, {name: a, kind: labour, unit: x, limit: 1}]",
            "two limits are named 'a'",
        ),
        ("version: 2", "version"),
        ("default: {maximum: 1}\ndefault: {maximum: 2}", "given twice"),
        ("- a", "must hold a mapping"),
    ],
)
def test_a_wrong_guard_file_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "guardrails.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Guardrails.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arcs": {"central->nort:truck:item": {}}}, "did you mean 'central->north:truck:item'"),
        ({"freshness": {"fields": {"on_hand[nort/item]": 1.0}}}, "did you mean 'on_hand"),
        ({"prices": {NORTH: 1.0}}, "spend_limit needs prices .* missing: plant"),
        ({"limits": [{"name": "a", "kind": "labour", "unit": "h", "limit": 1.0}]}, "counts no arc"),
    ],
)
def test_a_guard_file_that_does_not_fit_the_bundle_is_refused(
    bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(bundle, **changes)


def test_a_guard_file_is_its_content(tmp_path: Path) -> None:
    path = tmp_path / "guardrails.yaml"
    path.write_text("default: {maximum: 5}\nhighest_mode: shadow\n")
    first = Guardrails.load(path)
    path.write_text("highest_mode: shadow   # a comment\ndefault:\n  maximum: 5.0\n")
    assert Guardrails.load(path).content_hash == first.content_hash
    assert Guardrails.parse(first.to_dict(), "again") == first
