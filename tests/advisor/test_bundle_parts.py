"""What a bundle brings along: its guard file, its picture of training, and who decides when the policy may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.advisor import Advisor, AdvisorError
from agents.advisor.active import Active
from agents.advisor.fallback import bundled, describe
from agents.advisor.guardrails import Guardrails
from agents.advisor.replay import replay
from agents.baselines.base_stock import BaseStock
from agents.bundle import Bundle
from agents.bundle_writer import Extras
from agents.runtime import Mlp
from envs.inventory import InventoryTask
from tests.advisor.helpers import around
from tests.agents.test_bundle import write
from twin.errors import ConfigError

LEVELS = [500.0, 70.0, 80.0, 90.0, 20.0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder, task = tmp_path_factory.mktemp("parts"), InventoryTask("five_site_distribution")
    plain = write(folder / "plain", task)
    arc = task.compiled.arc_names[1]
    extras = Extras(
        fallback=("base_stock", dict(zip(task.compiled.arc_names, LEVELS, strict=True)), {"cost": 1.0}),
        guardrails=Guardrails.parse({"arcs": {arc: {"risk": "high"}}, "policy_timeout_seconds": 5.0}, "test"),
        outliers=around(plain, plain.example_state).to_dict(),
    )
    return write(folder / "full", task, extras)


def test_what_is_not_given_is_the_bundles_own(bundle: Bundle, tmp_path: Path) -> None:
    advisor = Advisor(bundle, tmp_path / "store.db", mode="advisory")
    assert advisor.active.rails.policy_timeout_seconds == 5.0
    assert advisor.active.guards.high_risk.tolist() == [False, True, False, False, False]
    assert advisor.active.outliers is not None
    assert advisor.active.outliers.threshold == (bundle.outliers or {})["threshold"]
    # Recorded with the activation, so that the bundle need not be asked again.
    again = Advisor(None, tmp_path / "store.db")
    assert again.active.rails.to_dict() == advisor.active.rails.to_dict()


def test_what_is_given_counts(bundle: Bundle, tmp_path: Path) -> None:
    rails = Guardrails.parse({"policy_timeout_seconds": 2.0}, "test")
    advisor = Advisor(bundle, tmp_path / "store.db", guardrails=rails)
    assert advisor.active.rails.policy_timeout_seconds == 2.0
    assert not advisor.active.guards.high_risk.any()


def test_a_policy_that_fails_is_replaced_by_the_bundles_fallback(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base-stock levels on the positions of the state, as the classical policy of that name orders; and it replays."""
    advisor, state = Advisor(bundle, tmp_path / "store.db", mode="advisory"), bundle.example_state
    with monkeypatch.context() as patch:
        patch.setattr(Mlp, "scores", lambda _, x: np.full((len(x), 5), np.nan, dtype=np.float32))
        decision = advisor.decide(state)
    assert (decision.body["source"], decision.body["reason"]) == ("fallback", "POLICY_NAN")
    assert decision.body["fallback"] == "bundle"
    rule = BaseStock(InventoryTask("five_site_distribution"), np.array(LEVELS))
    position = np.array([state["observation"][f"position[{name}]"] for name in bundle.spec.arc_names])
    expected = rule.sequence.orders_up_to(np.array(LEVELS), position)
    assert decision.body["raw_orders"] == dict(zip(bundle.spec.arc_names, expected.tolist(), strict=True))
    assert replay(advisor.store).ok


def test_without_a_fallback_the_middle_decides(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", InventoryTask("five_site_distribution"))
    active = Active.of(plain, Active.settings_of(plain, None, None))
    assert plain.fallback is None
    values = np.array([plain.example_state["observation"][field.name] for field in plain.spec.fields])
    assert active.fallback(values) is None
    assert bundled(active, values).targets.tolist() == active.middle(values).targets.tolist()
    assert active.rails == Guardrails()
    assert active.outliers is None


@pytest.mark.parametrize("entry", [{"arcs": {"nowhere": {"closed": True}}}, {"maximum": 3}])
def test_a_guard_file_that_does_not_fit_leaves_the_active_bundle(
    bundle: Bundle, tmp_path: Path, entry: dict[str, Any]
) -> None:
    advisor = Advisor(bundle, tmp_path / "store.db", mode="advisory")
    other = write(tmp_path / "other", InventoryTask("five_site_distribution", action_mode="quantity"))
    # cached_property: what the file would have said.
    other.__dict__["guardrails"] = entry
    with pytest.raises(ConfigError):
        advisor.activate(other, person="planner")
    assert advisor.active.bundle_id == bundle.bundle_id


def test_a_guard_file_that_a_person_gave_outlives_the_bundle_and_a_bundles_own_does_not(
    bundle: Bundle, tmp_path: Path
) -> None:
    advisor = Advisor(bundle, tmp_path / "store.db")
    plain = write(tmp_path / "plain", InventoryTask("five_site_distribution", action_mode="quantity"))
    # Nobody gave one: the guard file is the bundle's each time. The fields are the same, so its picture stays.
    advisor.activate(plain, person="planner")
    assert advisor.active.rails == Guardrails()
    assert advisor.active.outliers is not None
    strict = Guardrails.parse({"default": {"maximum": 1.0}}, "test")
    advisor.activate(plain, person="planner", guardrails=strict)
    advisor.activate(bundle, person="planner")
    assert advisor.active.rails == strict
    # Through a rollback and a process of its own too.
    again = Advisor(None, tmp_path / "store.db")
    again.roll_back(person="planner")
    again.activate(bundle, person="planner")
    assert again.active.rails == strict
    assert again.active.outliers is not None
    assert again.active.outliers.threshold == (bundle.outliers or {})["threshold"]


def test_who_was_faster_wins(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Advisor(bundle, tmp_path / "store.db") for _ in range(2))
    of = Active.of

    def meanwhile(loaded: Bundle, settings: Any) -> Active:
        monkeypatch.setattr(Active, "of", of)
        second.activate(bundle, person="planner", guardrails=Guardrails())
        return of(loaded, settings)

    monkeypatch.setattr(Active, "of", meanwhile)
    with pytest.raises(AdvisorError, match="CONFLICT"):
        first.activate(bundle, person="planner")


def test_the_fallback_is_named_for_people(bundle: Bundle, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", InventoryTask("five_site_distribution"))
    said = [describe(Active.of(one, Active.settings_of(one, None, None)), "bundle") for one in (bundle, plain)]
    assert said == ["base_stock, tuned", "the middle of the action box"]
    cards = [one.contents["card.md"].decode() for one in (bundle, plain)]
    assert "`base_stock` decides" in cards[0]
    assert "No fallback travels with it: then the middle of the action box decides." in cards[1]
