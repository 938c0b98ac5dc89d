"""Looking ahead: a second engine finds the same costs, the real future is not seen, what is unknown is not made up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.advisor import Advisor, Guardrails
from agents.advisor.active import Active, Decided
from agents.advisor.fallback import FALLBACKS
from agents.advisor.intervals import batch_means, mean_of
from agents.advisor.pipeline import Preview
from agents.advisor.replay import replay
from agents.advisor.request import parse_request
from agents.bundle import Bundle
from agents.bundle_rules import export_baseline
from envs.inventory import InventoryTask
from tests.advisor.helpers import Rig, carried, rails, refused
from tests.agents.test_bundle import write
from twin.errors import ConfigError
from twin.simulation import Simulation
from twin.state import TwinState

TASK = InventoryTask("five_site_distribution")
CENTRE = TASK.codec.center
LOOK = {"paths": 16, "timeout_seconds": 60.0}


@pytest.fixture(scope="module")
def played() -> Simulation:
    """A simulation in the middle of things: orders under way, some stock out."""
    simulation = Simulation(TASK.compiled, seed=3)
    for _ in range(15):
        simulation.step([100.0, 24.0, 28.0, 24.0, 18.0])
    return simulation


@pytest.fixture(scope="module")
def now(played: Simulation) -> dict[str, Any]:
    return carried(TASK, played)


def levels(path: Path, values: np.ndarray[Any, Any], name: str = "levels") -> Bundle:
    """A base-stock policy as a bundle."""
    return export_baseline(
        path / name,
        name="base_stock",
        values=values,
        up_to=True,
        task=TASK,
        environment_id="cogtwin/Inventory-v0",
        arguments={},
        training_info={},
    )


def looking(bundle: Bundle, path: Path, **look: Any) -> Advisor:
    file = rails(highest_mode="advisory", look_ahead={**LOOK, **look}, default={"maximum": 5000.0})
    return Advisor(bundle, path / "s.db", mode="advisory", guardrails=file)


# -- the rollouts -------------------------------------------------------------------------------------------------


def test_another_engine_finds_the_same_costs_path_by_path(tmp_path: Path, now: dict[str, Any]) -> None:
    """SimPy plays each path alone, from the same state and the same random numbers."""
    values = 1.3 * CENTRE
    advisor = looking(levels(tmp_path, values), tmp_path, paths=8)
    active = advisor.active
    assert active.look_ahead is not None
    rollouts = active.look_ahead.rollouts
    observed = np.array([now["observation"][field.name] for field in active.fields])
    state = rollouts.state_of(now["twin_state"], observed)
    first = [np.array([150.0, 30.0, 0.0, 20.0, 10.0]), np.zeros(5)]
    paths = rollouts.run(state, first, seed=77)
    top, worth = TASK.compiled.topology, TASK.compiled.unit_value

    def value(state: TwinState) -> float:
        held = worth @ state.arrays.on_hand[:, 0] + worth[top.arc_destination] @ state.arrays.in_transit[:, 0]
        return float(held)

    for replica in range(8):
        for k, orders in enumerate(first):
            begun = state.fork()
            begun.seed[:], begun.replica[:], begun.episode[:] = 77, replica, 0
            simulation = Simulation.from_state(begun)
            asked, total, start = 0.0, 0.0, value(begun)
            for t in range(rollouts.periods):
                if t:
                    twin = rollouts._twin.at(simulation.state())
                    orders = twin.base_stock_orders(twin.positions(), values[:, None])[:, 0]
                cost = simulation.step(orders).sum()
                assert t or cost == pytest.approx(paths.first[k, replica], rel=1e-9)
                total += cost
                asked += simulation.state().arrays.demand.sum()
            gained = value(simulation.state()) - start
            assert (total - gained) / rollouts.periods == pytest.approx(paths.cost[k, replica], rel=1e-9)
            assert asked / rollouts.periods == pytest.approx(paths.asked[k, replica], rel=1e-12)
    # The worlds are the same for both first decisions, and differ from each other.
    np.testing.assert_array_equal(paths.asked[0], paths.asked[1])
    assert len(np.unique(paths.asked[0])) == 8
    advisor.close()


def test_the_real_future_is_not_looked_at(tmp_path: Path, now: dict[str, Any]) -> None:
    """Two snapshots that differ only in which random numbers come next give the same worlds."""
    advisor = looking(levels(tmp_path, CENTRE), tmp_path)
    look = advisor.active.look_ahead
    assert look is not None
    orders, found = np.full(5, 20.0), []
    for seed in (3, 4):
        other = copy.deepcopy(now)
        other["twin_state"]["clock"] |= {"seed": seed, "replica": seed, "episode": seed}
        request = request_of(advisor, other)
        found.append(look(request, orders, np.zeros(5), 5))
    assert found[0] == found[1]
    assert found[0].shown["expected"]
    assert look(request, orders, np.zeros(5), 6).shown["expected"] != found[0].shown["expected"]
    advisor.close()


def request_of(advisor: Advisor, data: dict[str, Any]) -> Any:
    active = advisor.active
    request, problems = parse_request(data, active.fields, active.arcs, active.guards.limit_names, active.hashes)
    assert request is not None, problems
    return request


# -- the judgement ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "source"), [(6.0, "fallback"), (1.3, "policy")])
def test_orders_that_are_worse_than_the_fallback_are_refused_and_good_ones_are_not(
    tmp_path: Path, now: dict[str, Any], factor: float, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels of six times the usual demand fill the network with stock; the fallback's are usual levels."""
    monkeypatch.setitem(FALLBACKS, "middle", usual)
    # The worlds follow from the bundle's id: with so many paths the verdict is the same in all of them.
    advisor = looking(levels(tmp_path, factor * CENTRE), tmp_path, margin=0.001, paths=64)
    decision = advisor.decide(now)
    assert decision.source == source
    told = decision.explanation
    assert told is not None
    pair = told["differences"]["fallback"]
    if source == "fallback":
        assert decision.reason == "LOOK_AHEAD"
        assert pair["interval"][0] > 0.0
        assert "against the fallback's, at least +" in decision.body["detail"]
        assert "So the policy's orders are refused, and the fallback's are advised." in told["text"]
        compared = decision.body["look_ahead"]["compared"]
        assert decision.orders == compared["fallback"] != compared["recommended"]
    assert replay(advisor.store).ok
    advisor.close()


def usual(active: Active, values: np.ndarray[Any, Any]) -> Decided:
    """A fallback that orders up to a little more than the usual demand."""
    spec = active.bundle.spec
    return Decided((), 1.2 * CENTRE, spec.sequence.orders_up_to(1.2 * CENTRE, values[spec.position_columns()]))


def test_a_margin_lets_small_losses_through(tmp_path: Path, now: dict[str, Any]) -> None:
    advisor = looking(levels(tmp_path, 1.3 * CENTRE), tmp_path, paths=256)
    look = advisor.active.look_ahead
    assert look is not None
    request = request_of(advisor, now)
    # All that the centre has goes to one store, and the others run out.
    much, none = np.array([0.0, 0.0, 0.0, 500.0, 0.0]), np.zeros(5)
    strict = look(request, much, none, 1)
    assert not strict.accepted
    assert strict.shown["differences"]["fallback"]["interval"][0] > strict.data["allowed"] > 0.0
    look.rules = look.rules.model_copy(update={"margin": 5.0})
    assert look(request, much, none, 1).accepted
    # Equal orders are never worse, to the last bit.
    look.rules = look.rules.model_copy(update={"margin": 0.0})
    same = look(request, much, much, 1)
    assert same.accepted
    assert same.shown["differences"]["fallback"]["interval"] == [0.0, 0.0]
    advisor.close()


def test_orders_that_the_guards_change_after_they_were_compared_need_a_person(make: Callable[..., Rig]) -> None:
    """Between comparison and record somebody reports what was really ordered, and the allowed change is another."""
    rigs: list[Rig] = []

    def look(_request: Any, recommended: Any, _fallback: Any, _seed: int) -> Preview:
        arcs = rigs[0].advisor.active.arcs
        if rigs[0].kinds().count("decision") == 1:
            first = rigs[0].last("decision")["id"]
            rigs[0].advisor.note_actual(first, {"orders": dict.fromkeys(arcs, 0.0)}, person="controller")
        return Preview(
            True, "better", {"compared": {"recommended": dict(zip(arcs, recommended.tolist(), strict=True))}}
        )

    rigs.append(make(mode="autonomous", look_ahead=look, default={"maximum": 500.0, "maximum_increase": 5.0}))
    assert rigs[0].advisor.decide(rigs[0].state()).status == "executing"
    decision = rigs[0].advisor.decide(rigs[0].state())
    assert decision.status == "proposed"
    assert decision.outside == ("LOOK_AHEAD: the guards leave other orders now than were compared",)
    assert max((decision.orders or {}).values()) == 5.0


# -- what cannot be compared --------------------------------------------------------------------------------------


def spoil(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def changed(now: dict[str, Any]) -> dict[str, Any]:
        data = copy.deepcopy(now)
        change(data)
        return data

    return changed


CASES = [
    ("no snapshot", lambda data: data.pop("twin_state"), "carries no 'twin_state'"),
    ("null", lambda data: data.__setitem__("twin_state", None), "carries no 'twin_state'"),
    ("empty", lambda data: data.__setitem__("twin_state", {}), "another content"),
    ("another network", lambda data: data["twin_state"].__setitem__("network_hash", "0" * 64), "another content"),
    ("a part missing", lambda data: data["twin_state"].pop("pipeline"), "pipeline"),
    ("a part of another kind", lambda data: data["twin_state"].__setitem__("clock", []), "clock"),
    (
        "the stock is another",
        lambda data: data["twin_state"]["on_hand"].__setitem__("north/item", 1234.0),
        "contradicts the observation in 2 fields: 'on_hand[north/item]' would be 1234",
    ),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_where_the_state_is_not_known_nothing_is_compared_and_a_person_is_asked(
    make: Callable[..., Rig], now: dict[str, Any], change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    rig = make(mode="autonomous", look_ahead=None, outliers={"action": "flag"})
    file = rails(look_ahead=LOOK)
    rig.advisor.activate(rig.bundle, person="planner", guardrails=file, outliers=rig.outliers)
    rig.advisor.set_mode("autonomous", person="planner")
    decision = rig.advisor.decide(spoil(change)(now))
    assert decision.status == "proposed"
    assert decision.source == "policy"
    assert "LOOK_AHEAD: nothing was compared" in decision.outside
    assert message in decision.body["look_ahead"]["detail"]
    told = decision.explanation
    assert told is not None
    assert (told["expected"], told["differences"], told["trajectories"]) == (None, None, None)
    assert any("What it would cost was not estimated: nothing was compared" in text for text in told["text"])
    assert replay(rig.store).ok


def test_a_snapshot_that_is_no_mapping_is_refused(rig: Rig) -> None:
    refusal = refused(rig.advisor.decide, rig.state(twin_state=[1.0]))
    assert (refusal.code, refusal.status) == ("REQUEST", 400)


def test_what_takes_too_long_is_given_up_and_replays(tmp_path: Path, now: dict[str, Any]) -> None:
    advisor = looking(levels(tmp_path, CENTRE), tmp_path, timeout_seconds=1e-9)
    decision = advisor.decide(now)
    assert decision.body["look_ahead"]["detail"] == "nothing was compared: it took longer than 1e-09 s"
    assert decision.explanation is not None
    assert decision.explanation["expected"] is None
    assert replay(advisor.store).ok
    advisor.close()


def test_a_replay_finds_a_look_ahead_that_was_made_up(tmp_path: Path, now: dict[str, Any]) -> None:
    advisor = looking(levels(tmp_path, 1.3 * CENTRE), tmp_path)
    body = dict(advisor.decide(now).body)
    changes: list[Callable[[dict[str, Any]], Any]] = [
        lambda body: body["look_ahead"].__setitem__("allowed", 1e6),
        lambda body: body["explanation"]["expected"]["nothing"].__setitem__("cost", 0.0),
        lambda body: body["look_ahead"]["compared"]["recommended"].__setitem__(advisor.active.arcs[0], 1.0),
    ]
    for number, change in enumerate(changes):
        made_up = copy.deepcopy(body)
        made_up |= {"id": f"other {number}", "proposal": f"other {number}"}
        made_up["action_hash"] = advisor.active.action_hash(made_up["id"], made_up["orders"])
        change(made_up)
        with advisor.store.write() as tx:
            seq = tx.append("decision", made_up).seq
        last, problem = replay(advisor.store).differences[-1]
        assert last == seq
        assert "look ahead" in problem
    advisor.close()


@pytest.mark.parametrize(
    ("arguments", "look", "message"),
    [
        ({}, {"periods": 2}, "an order takes up to"),
        ({"finite": True, "horizon": 20}, {}, "has a finite horizon"),
    ],
)
def test_a_bundle_that_cannot_be_looked_ahead_with_is_not_activated(
    tmp_path: Path, arguments: dict[str, Any], look: dict[str, Any], message: str
) -> None:
    task = InventoryTask("five_site_distribution", **arguments)
    bundle = export_baseline(
        tmp_path / "b",
        name="base_stock",
        values=CENTRE,
        up_to=True,
        task=task,
        environment_id="x",
        arguments=arguments,
        training_info={},
    )
    with pytest.raises(ConfigError, match=message):
        looking(bundle, tmp_path, **look)


def test_a_bundle_whose_environment_is_another_is_not_looked_ahead_with(tmp_path: Path) -> None:
    task = InventoryTask("five_site_distribution", arrivals="slots")
    with pytest.raises(ConfigError, match="cannot be made again from its manifest"):
        looking(write(tmp_path / "b", task), tmp_path)


# -- the explanation ----------------------------------------------------------------------------------------------


def test_only_who_is_asked_gets_an_explanation(make: Callable[..., Rig]) -> None:
    assert make(mode="shadow").advisor.decide(make().state()).explanation is None
    assert make(mode="autonomous").advisor.decide(make().state()).explanation is None
    rig = make(default={"maximum": 30.0})
    decision = rig.advisor.decide(rig.state())
    told = decision.explanation
    assert told is not None
    assert told["expected"] is None
    assert "What it would cost was not estimated: no look ahead was made." in told["text"]
    assert [guard["code"] for guard in told["guards"]] == ["MAXIMUM_ORDER"]
    assert any(text.startswith("A guard stepped in (MAXIMUM_ORDER)") for text in told["text"])
    assert told["distance"]["value"] < told["distance"]["usual"]
    assert rig.last("decision")["explanation"] == told


def test_the_fields_that_moved_the_orders_are_those_whose_mean_would_move_them(rig: Rig) -> None:
    """Each field put to its mean alone, through the bundle's own decision."""
    active, decision = rig.advisor.active, rig.advisor.decide(rig.state())
    assert decision.explanation is not None
    found = decision.explanation["fields"]
    names = [field.name for field in active.fields]
    values = np.array([rig.state()["observation"][name] for name in names])
    orders = active.decide(values).orders
    reach = active.bundle.spec.codec.high - active.bundle.spec.codec.low
    weight = {}
    for k, name in enumerate(names):
        other = values.copy()
        other[k] = rig.outliers.mean[k]
        moved = orders - active.decide(other).orders
        weight[name] = float((np.abs(moved) / reach).sum())
        for entry in found:
            if entry["name"] == name:
                assert entry["moves"] == pytest.approx(moved[active.arcs.index(entry["arc"])], rel=1e-4, abs=1e-3)
                assert (entry["value"], entry["training_mean"]) == (values[k], rig.outliers.mean[k])
    ranked = sorted(weight, key=lambda name: -weight[name])[: len(found)]
    assert {entry["name"] for entry in found} == set(ranked)


def test_without_a_training_mean_no_field_is_named(tmp_path: Path) -> None:
    advisor = Advisor(levels(tmp_path, CENTRE), tmp_path / "s.db", mode="advisory", guardrails=Guardrails())
    decision = advisor.decide(carried(TASK, Simulation(TASK.compiled)))
    assert decision.explanation is not None
    assert decision.explanation["fields"] == []
    assert decision.explanation["distance"] is None
    assert any("not known" in text for text in decision.explanation["text"])
    advisor.close()


def test_a_policy_that_cannot_be_asked_again_is_advised_without_its_fields(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The states in which a field has its mean are the policy's own affair: what it does there stops no advice."""
    honest = Bundle.choose
    monkeypatch.setattr(Bundle, "choose", lambda self, values: honest(self, values) if values.ndim == 1 else 1 / 0)
    decision = rig.advisor.decide(rig.state())
    assert (decision.status, decision.source) == ("proposed", "policy")
    assert decision.explanation is not None
    assert decision.explanation["fields"] == []
    assert any("not known: the policy failed: ZeroDivisionError" in text for text in decision.explanation["text"])


# -- intervals ----------------------------------------------------------------------------------------------------


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    inside = [est.low <= 3.0 <= est.high for est in (mean_of(rng.normal(3.0, 2.0, 12), 0.9) for _ in range(3000))]
    assert abs(np.mean(inside) - 0.9) < 4.0 * np.sqrt(0.09 / 3000)


def test_batch_means_see_that_neighbours_depend_on_each_other() -> None:
    """A series with correlation 0.6 between neighbours: a plain interval covers two thirds of what it says."""
    rng = np.random.default_rng(4)
    batches: list[bool] = []
    plain: list[bool] = []
    for _ in range(400):
        x = np.empty(200)
        x[0] = rng.normal()
        for t in range(1, 200):
            x[t] = 0.6 * x[t - 1] + 0.8 * rng.normal()
        for found, kind in ((batches, batch_means), (plain, mean_of)):
            est = kind(x, 0.95)
            found.append(est.low <= 0.0 <= est.high)
    assert np.mean(batches) > 0.90
    assert np.mean(plain) < 0.75
    assert batch_means(np.ones(15), 0.95).to_dict() == {"mean": 1.0, "interval": None}
