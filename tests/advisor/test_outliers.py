"""States unlike training: found, at a false-alarm rate that held-out data confirms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.advisor.canonical import canonical
from agents.advisor.drift import DriftModel
from agents.advisor.outliers import OutlierModel, conformal_threshold, fit_outliers
from tests.advisor.helpers import Rig, refused
from twin.errors import ConfigError

NAMES = ("a", "b", "kind")


def world(seed: int, episodes: int, shift: float = 0.0, periods: int = 60) -> list[np.ndarray[Any, Any]]:
    """Episodes of an autocorrelated pair and a kind, 0 or 1 by episode."""
    rng = np.random.default_rng(seed)
    out = []
    for episode in range(episodes):
        noise, x = rng.normal(size=(periods, 2)), np.empty((periods, 2))
        x[0] = noise[0]
        for t in range(1, periods):
            x[t] = 0.6 * x[t - 1] + 0.8 * noise[t]
        x[:, 1] = 0.9 * x[:, 0] + 0.44 * x[:, 1]
        out.append(np.column_stack([100.0 + 10.0 * (x + shift), np.full(periods, float(episode // 2 % 2))]))
    return out


@pytest.fixture(scope="module")
def model() -> OutlierModel:
    return fit_outliers(world(1, 200), NAMES, alpha=0.02, drift_alpha=0.05, categories={"kind": (0.0, 1.0)})


def test_false_alarms_on_held_out_episodes_are_what_was_asked_for(model: OutlierModel) -> None:
    """Within four standard errors of a share of dependent states; the bound is 2 % and 5 %."""
    alarms = model.false_alarms(world(2, 400))
    assert 0.01 < alarms.distance < 0.03
    assert alarms.drift < 0.10
    assert alarms.ranges < 0.005
    assert alarms.any >= alarms.distance
    assert (alarms.states, alarms.episodes) == (24000, 400)


def test_usual_states_pass_and_odd_ones_are_named(model: OutlierModel) -> None:
    assert not model.score(np.array([105.0, 104.0, 0.0])).outlier
    # Each number alone is usual; together they never were.
    odd = model.score(np.array([115.0, 85.0, 1.0]))
    assert [problem.place for problem in odd.problems] == ["state"]
    far = model.score(np.array([100.0, 900.0, 1.0]))
    assert {problem.place for problem in far.problems} == {"state", "b"}
    kind = model.score(np.array([100.0, 100.0, 0.5]))
    assert [(problem.code, problem.place) for problem in kind.problems] == [("UNSEEN_CATEGORY", "kind")]


def test_a_slow_drift_is_found_although_each_state_is_usual(model: OutlierModel) -> None:
    drifted = world(3, 40, shift=1.3)
    alarms = [model.drift.run(model.whiten(episode)).max() > model.drift.threshold for episode in drifted]
    states = np.concatenate(drifted)
    assert np.mean(model.distances(states) > model.threshold) < 0.2
    assert np.mean(alarms) > 0.9


def test_the_threshold_is_the_conformal_quantile() -> None:
    scores = np.arange(1.0, 100.0)
    assert conformal_threshold(scores, 0.1) == 90.0
    assert conformal_threshold(scores, 0.01) == 99.0
    with pytest.raises(ConfigError, match=r"99 calibration scores cannot hold false alarms at 0\.005: 199 are needed"):
        conformal_threshold(scores, 0.005)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        conformal_threshold(scores, 1.0)


def test_a_new_score_passes_the_threshold_as_often_as_promised() -> None:
    """The promise is exact for exchangeable scores: 1 in 20 over many draws of calibration and test."""
    rng = np.random.default_rng(7)
    above = [rng.exponential() > conformal_threshold(rng.exponential(size=39), 0.05) for _ in range(4000)]
    assert abs(np.mean(above) - 0.05) < 4.0 * np.sqrt(0.05 * 0.95 / 4000)


def test_a_model_reads_back_exactly(model: OutlierModel) -> None:
    again = OutlierModel.from_dict(json.loads(canonical(model.to_dict())))
    values = np.array([103.0, 99.0, 1.0])
    assert again.score(values) == model.score(values)
    assert again.to_dict() == model.to_dict()
    mean = np.array([0.1, -1e-300, 3.0])
    assert DriftModel.unpack(DriftModel.pack(mean)).tolist() == mean.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("mean"), "incomplete: KeyError"),
        (lambda data: data["mean"].append(1.0), "'mean' must be finite numbers of shape"),
        (lambda data: data.__setitem__("threshold", -1.0), "not above 0"),
        (lambda data: data["categories"].__setitem__("knd", [1.0]), "did you mean 'kind'"),
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(
    model: OutlierModel, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    data = json.loads(canonical(model.to_dict()))
    change(data)
    with pytest.raises(ConfigError, match=message):
        OutlierModel.from_dict(data)


def test_a_field_that_never_moved_and_two_that_are_one_do_not_break_the_fit() -> None:
    rng = np.random.default_rng(0)
    episodes = [np.column_stack([x, x, np.full(20, 5.0)]) for x in rng.normal(size=(60, 20))]
    model = fit_outliers(episodes, ("a", "b", "still"))
    assert not model.score(np.array([0.1, 0.1, 5.0])).outlier
    assert model.score(np.array([0.1, 0.1, 6.0])).outlier


def test_too_few_episodes_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        fit_outliers(world(1, 3), NAMES)
    with pytest.raises(ConfigError, match="19 are needed"):
        fit_outliers(world(1, 10), NAMES)


# -- in a decision ------------------------------------------------------------------------------------------------


def odd(rig: Rig) -> dict[str, Any]:
    state = rig.state()
    state["observation"]["on_hand[north/item]"] = 2000.0
    return state


def test_an_outlier_is_flagged_and_needs_a_person(make: Callable[..., Rig]) -> None:
    rig = make(mode="autonomous")
    decision = rig.advisor.decide(odd(rig))
    assert decision.status == "proposed"
    assert decision.outside[0].startswith("OUTLIER")
    assert rig.sender.sent == []
    assert rig.advisor.decide(rig.state()).status == "executing"


def test_an_outlier_can_go_to_the_fallback_or_be_refused(make: Callable[..., Rig]) -> None:
    rig = make(outliers={"action": "fallback"}, fallback="hold")
    decision = rig.advisor.decide(odd(rig))
    assert (decision.source, decision.reason) == ("fallback", "OUTLIER")
    assert decision.orders == dict.fromkeys(decision.orders or {}, 0.0)
    rig = make(outliers={"action": "block"})
    refusal = refused(rig.advisor.decide, odd(rig))
    assert (refusal.code, refusal.status) == ("OUTLIER", 422)


def test_a_kind_that_training_never_saw_is_refused(bundle: Any, make: Callable[..., Rig]) -> None:
    rig = make()
    model = rig.outliers
    kinds = {"on_hand[north/item]": (1.0, 2.0)}
    data = {**model.to_dict(), "categories": {name: list(values) for name, values in kinds.items()}}
    rig.advisor.activate(
        bundle, person="planner", guardrails=rig.rails, outliers=OutlierModel.from_dict(data), reason="kinds"
    )
    refusal = refused(rig.advisor.decide, rig.state())
    assert (refusal.code, refusal.status) == ("UNSEEN_CATEGORY", 422)
