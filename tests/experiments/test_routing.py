"""Routing on the command line: training, and the comparison with the classical policies that route."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.baselines.routing import RoutingPolicy
from agents.bundle import Bundle
from experiments.cli import compose
from experiments.compare import compare
from experiments.config import CompareConfig, EvaluateConfig, ExportConfig, TrainConfig, parse
from experiments.evaluate import evaluate
from experiments.export import export
from experiments.problems import ROUTING_REFERENCES, baseline_problem, compiled_network, make_task, tune_all
from experiments.train import train
from twin.errors import ConfigError, RunError

SMOKE = ["network=baltic", "env.horizon=14", "evaluation=smoke", "tuning=smoke"]


@pytest.mark.parametrize(
    "chosen",
    [
        ["env=routing"],
        ["env=routing_weekly", "env.horizon=4"],
        [
            "env=routing_itinerary",
            "agent=maskable_ppo",
            "agent.parameters.n_steps=16",
            "agent.parameters.batch_size=64",
        ],
    ],
)
def test_an_agent_is_trained_compared_and_exported(tmp_path: Path, chosen: list[str]) -> None:
    """A run of a few steps leaves what evaluation needs: beside it stand the plan and the cheapest ways.

    Its bundle falls back on the cheaper of them, and advises.
    """
    if "agent=maskable_ppo" in chosen:
        pytest.importorskip("sb3_contrib", reason="needs the extra 'masks'")
    few = ["training=smoke", "training.steps=512", "training.replicas=4", f"output={tmp_path}"]
    result = train(parse(TrainConfig, compose("train", [*SMOKE, *chosen, *few])))
    compared = evaluate(parse(EvaluateConfig, compose("evaluate", [*SMOKE, f"run={result.folder}"])))
    assert [row.policy for row in compared.rows][1:] == list(ROUTING_REFERENCES)
    assert (result.folder / "comparison.txt").is_file()
    words = [f"run={result.folder}", "evaluation=smoke", "episodes=40"]
    bundle = Bundle.load(export(parse(ExportConfig, compose("export", words))))
    assert bundle.fallback is not None
    assert bundle.fallback.policy == min(compared.rows[1:], key=lambda row: row.cost.mean).policy
    assert bundle.outliers is not None
    advice = bundle.advise(bundle.example_state)
    assert not advice.blocked
    assert sum(order.order for order in advice.orders) > 0.0
    assert bool(advice.memory) is ("env=routing_weekly" in chosen)


def test_a_classical_policy_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["policy=routing_queue_price", *SMOKE, "env=routing", "env.routing.scenario=cyber_attack", "episodes=0"]
    bundle = Bundle.load(export(parse(ExportConfig, compose("export", [*words, f"output={tmp_path / 'queue.zip'}"]))))
    assert bundle.manifest["algorithm"] == "routing_queue_price"
    assert "fill rate" not in bundle.contents["card.md"].decode()
    assert bundle.manifest["environment"]["arguments"]["scenario"] == "cyber_attack"
    assert "Brouer" in bundle.manifest["data"]["source"]
    assert not bundle.advise(bundle.example_state).blocked
    # A picture of usual states has room for so many numbers: said before anything is measured.
    monkeypatch.setattr("experiments.export_parts._MOST_FIELDS", 300)
    words[-1] = "episodes=1"
    with pytest.raises(ConfigError, match=r"has \d+ numbers, .* of 300 at most \(allowed: episodes=0\)"):
        export(parse(ExportConfig, compose("export", [*words, f"output={tmp_path / 'more.zip'}"])))


def test_a_classical_policy_is_compared_with_the_usual_ones() -> None:
    """routing_avoid beside the nominal plan and the cheapest ways, on the same paths."""
    asked = compose("evaluate", [*SMOKE, "env=routing", "policy=routing_avoid", "env.routing.scenario=three_ports"])
    compared = evaluate(parse(EvaluateConfig, asked))
    assert [row.policy for row in compared.rows] == ["routing_avoid", *ROUTING_REFERENCES]


def test_foresight_stands_beside_a_comparison() -> None:
    """Its cost is below every policy's on the same paths; without an end there is none."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    rules = "policies=[routing_static,routing_cheapest]"
    # On all paths of the evaluation: of other paths the bound may be higher.
    asked = [*SMOKE, "env=routing", rules, "evaluation.paths=2", "bound=2", "env.routing.scenario=three_ports"]
    found = compare(parse(CompareConfig, compose("compare", asked))).comparison
    assert found.bound is not None
    assert all(found.bound.cost.mean < row.cost.mean for row in found.rows)
    with pytest.raises(ConfigError, match="finite"):
        compare(parse(CompareConfig, compose("compare", [*asked, "env.finite=false"])))


def test_what_does_not_fit_is_refused() -> None:
    """A policy that does not route, parameters of a liner network, a network that has changed."""
    config = parse(EvaluateConfig, compose("evaluate", [*SMOKE, "env=routing", "policy=routing_static"]))
    compiled = compiled_network(config.network, config.env)
    with pytest.raises(ConfigError, match="does not route"):
        tune_all(compiled, config.tuning, ("base_stock",), env=config.env)
    given = config.network.model_copy(update={"parameters": {"lead_time": 2}})
    with pytest.raises(ConfigError, match="has none"):
        compiled_network(given, config.env)
    calm = config.env.model_copy(update={"routing": config.env.routing.model_copy(update={"scenario": None})})
    with pytest.raises(RunError, match="have changed"):
        make_task(compiled, calm, None, config.network)
    (tuned,) = tune_all(compiled, config.tuning, ("routing_static",), env=config.env).values()
    assert isinstance(baseline_problem(compiled, config.env, tuned, config.network)[0], RoutingPolicy)


@pytest.mark.parametrize(("start", "said"), [(3, False), (12, True)])
def test_an_outage_that_the_horizon_cuts_short_is_said(tmp_path: Path, start: int, said: bool) -> None:
    """On the screen and in the page: what it costs afterwards is not counted."""
    events = tmp_path / "events.yaml"
    events.write_text(
        f"name: late\ndescription: early or late in fourteen days\n"
        f"events: [{{ports: [1], share: 0.5, start: {start}, duration: 7}}]\n"
    )
    words = [*SMOKE, "env=routing", "policies=[routing_static,routing_cheapest]", "figures=false"]
    result = compare(parse(CompareConfig, compose("compare", [*words, f"env.routing.scenario={events}"])))
    result.save(tmp_path / "out")
    for text in (result.comparison.table(), (tmp_path / "out" / "report.html").read_text()):
        assert ("something still fails when the horizon ends" in text) is said
        # Containers have to sail: nothing is met from stock at once.
        assert "fill rate" not in text
