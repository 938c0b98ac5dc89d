"""The word ``scenario``: what is trained, tuned and compared with it meets what it says, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import experiments
from experiments.cli import compose
from experiments.config import CompareConfig, EpisodeConfig, EvaluateConfig, parse
from experiments.episode import episode
from experiments.evaluate import evaluate
from experiments.loading import load_run
from experiments.train import TrainResult, train
from tests.experiments.conftest import fast_config
from twin.errors import ConfigError, RunError
from twin.scenarios import Outage, Scenario, Surge

SMALL = ["tuning=smoke", "evaluation=smoke", "evaluation.paths=16", "evaluation.periods=30", "evaluation.warm_up=0"]
OUTAGE = ["scenario=supplier_outage", "scenario.outages.outage.start=4", "scenario.outages.outage.duration=16"]


def evaluated(*words: str) -> EvaluateConfig:
    return parse(EvaluateConfig, compose("evaluate", [*SMALL, *words]))


def test_a_run_meets_a_scenario_that_it_was_not_trained_with(finished: TrainResult, tmp_path: Path) -> None:
    """Policies stay as they are; sixteen weeks without the plant cost each of them money, on the same paths."""
    words = [f"run={finished.folder}", f"output={tmp_path}"]
    usual, hit = evaluate(evaluated(*words)), evaluate(evaluated(*words, *OUTAGE))
    for name in ("ppo", "base_stock", "constant"):
        before, after = usual.costs[name][0], hit.costs[name][0]
        assert (after > before).all()
        assert hit.row(name).service.mean < usual.row(name).service.mean - 0.1


def test_shards_of_a_stress_test_are_the_whole(finished: TrainResult, tmp_path: Path) -> None:
    """Workers lay the same scenario over the run's network: two processes give what one gives, bit for bit."""
    words = [f"run={finished.folder}", *OUTAGE, "evaluation.paths=130"]
    here, there = (
        evaluate(evaluated(*words, f"output={tmp_path / name}", *more))
        for name, more in (("here", []), ("there", ["jobs=2"]))
    )
    np.testing.assert_equal(there.costs, here.costs)
    assert there.to_dict() == here.to_dict()
    assert [group.severity for group in here.groups] == ["closed"]


def test_observations_and_actions_of_a_run_mean_what_they_meant(finished: TrainResult) -> None:
    surge = Scenario(name="surge", surges={"all": Surge(start=3, periods=4, factor=2.0)})
    usual, hit = load_run(finished.folder), load_run(finished.folder, scenario=surge)
    assert hit.task.fields == usual.task.fields
    np.testing.assert_array_equal(hit.task.codec.center, usual.task.codec.center)
    assert hit.compiled.content_hash() != usual.compiled.content_hash()


def test_a_run_acts_in_what_it_cannot_see(seeds: Path, finished: TrainResult) -> None:
    """A run without a field for it meets the outage blindly; a scenario of another network is refused."""
    outage = Scenario(name="late", outages={"one": Outage(suppliers=[1], start=2, duration=3)})
    run = sorted(seeds.iterdir())[0]
    assert load_run(run, scenario=outage).task.fields == load_run(run).task.fields
    with pytest.raises(Exception, match="no resource 'lne'"):
        load_run(
            finished.folder, scenario=Scenario(name="x", outages={"a": Outage(resources=["lne"], start=1, duration=1)})
        )


def test_decisions_with_a_belief_are_refused(tmp_path: Path) -> None:
    words = ["network=shared_subtier", "env=supplier_switching", "agent=ppo_switching", "env.horizon=16", "name=sub"]
    result = train(fast_config(tmp_path, *words, "training.steps=256", "agent.parameters.n_steps=16"))
    outage = Scenario(name="late", outages={"one": Outage(suppliers=[1], start=2, duration=3)})
    with pytest.raises(RunError, match="only those that decide on inventories without an outlook"):
        load_run(result.folder, scenario=outage)


def test_training_with_a_scenario_stores_it_and_resumes(tmp_path: Path) -> None:
    """The network of the run is the one with the outage; the configuration says where it comes from."""
    words = ["network=five_site_distribution", "env.finite=true", "env.horizon=40", "name=storm"]
    config = fast_config(tmp_path, *words, *OUTAGE, "training.steps=512", "agent.parameters.n_steps=32")
    result = train(config)
    stored = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert stored["scenario"]["outages"]["outage"]["suppliers"] == [1]
    run = load_run(result.folder)
    assert run.config.scenario == config.scenario
    assert run.compiled.network.resources["line"].causes == ("supplier_outage.outage.line",)
    with pytest.raises(RunError, match="the run was trained with one of this name"):
        load_run(result.folder, scenario=config.scenario)
    both = load_run(result.folder, scenario=config.scenario.model_copy(update={"name": "again"}))
    assert both.compiled.network.resources["line"].causes == ("supplier_outage.outage.line", "again.outage.line")
    again = train(fast_config(tmp_path).model_copy(update={"resume": str(result.folder), "extend": 512}))
    assert (again.status, again.timesteps) == ("finished", 1024)


def test_classical_policies_are_tuned_and_compared_in_the_scenario() -> None:
    """One path, one outage: the trace of the episode has it, and the comparison pays for it."""
    words = ["network=five_site_distribution", "env.finite=true", "env.horizon=30", *OUTAGE]
    found = experiments.compare(
        policies=["base_stock", "constant"], network="five_site_distribution", env="inventory",
        overrides=[*SMALL, *words[1:], "figures=false"],
    )  # fmt: skip
    assert found.compared.compiled.network.resources["line"].causes
    assert found.compared.config == parse(CompareConfig, found.compared.to_dict()["config"])
    shown = episode(parse(EpisodeConfig, compose("episode", [*words, "tuning=smoke", "policy=base_stock", "path=0"])))
    (trace,) = shown.traces.values()
    assert (trace.availability[4:20, 0] == 0.0).all()
    assert trace.availability[:4, 0].min() > 0.0


def test_a_routing_run_meets_other_scenarios(tmp_path: Path) -> None:
    """The word names a scenario of liner networks; what is seen does not depend on it."""
    words = ["network=baltic", "env=routing", "env.horizon=21", "name=route", "training.steps=256"]
    result = train(fast_config(tmp_path, *words, "agent.parameters.n_steps=16", "scenario=three_ports"))
    usual, hit = load_run(result.folder), load_run(result.folder, scenario=Scenario(name="dear_fuel"))
    assert usual.config.env.routing.scenario == "three_ports"
    assert hit.config.env.routing.scenario == "dear_fuel"
    assert hit.task.fields == usual.task.fields
    stress = [f"run={result.folder}", "scenario=dear_fuel", "evaluation.paths=130"]
    found = evaluate(evaluated(*stress, f"output={tmp_path / 'here'}"))
    assert {"ppo", "routing_static", "routing_cheapest"} == set(found.costs)
    # Two processes, one with 128 paths and one with two: the same to the last bit.
    shared = evaluate(evaluated(*stress, f"output={tmp_path / 'there'}", "jobs=2"))
    assert shared.to_dict() == found.to_dict()
    np.testing.assert_equal(shared.costs, found.costs)
    assert load_run(result.folder, scenario=Scenario(name="random_events")).task.fields == usual.task.fields
    for name in ("routing_static", "base_stock"):
        with pytest.raises(ConfigError, match=r"use experiments\.compare"):
            experiments.evaluate(name, usual.task, paths=2)
    with pytest.raises(RunError, match="the run is on a liner network"):
        load_run(result.folder, scenario=Scenario(name="x", outages={"a": Outage(suppliers=[1], start=1, duration=1)}))


def test_classical_routing_policies_are_compared() -> None:
    words = ["evaluation=smoke", "env.horizon=14", "scenario=three_ports", "figures=false"]
    found = experiments.compare(
        policies=["routing_static", "routing_wait"], network="baltic", env="routing", overrides=words
    )
    assert found.compared.env.routing.scenario == "three_ports"
    assert set(found.policies["policy"]) == {"routing_static", "routing_wait"}
