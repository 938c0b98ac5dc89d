"""The comparison is paired, adds up, and is made on seeds of its own."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.evaluation import Measurement, measure
from experiments import monte_carlo
from experiments.cli import compose
from experiments.config import EvaluateConfig, EvaluationConfig, parse
from experiments.evaluate import evaluate, main
from experiments.problems import baseline_problem, compiled_network, load_tuned
from experiments.results import Comparison, compare
from experiments.statistics import mean_interval, paired_difference
from experiments.train import TrainResult
from twin import library
from twin.compile import compile_network
from twin.economics import COST_TERMS
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

FAST = ["evaluation=smoke", "tuning=smoke"]


def config(*overrides: str) -> EvaluateConfig:
    return parse(EvaluateConfig, compose("evaluate", [*FAST, *overrides]))


@pytest.fixture(scope="module")
def of_run(finished: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    output = tmp_path_factory.mktemp("comparison")
    return evaluate(config(f"run={finished.folder}", f"output={output}")), output


@pytest.fixture(scope="module")
def of_policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    output = tmp_path_factory.mktemp("comparison")
    return evaluate(config("policy=base_stock", "network=five_site_distribution", f"output={output}")), output


def test_the_policies_are_all_there(of_run: tuple[Comparison, Path], of_policy: tuple[Comparison, Path]) -> None:
    """A run stands beside both classical policies; a policy that was asked for comes first."""
    assert {row.policy for row in of_run[0].rows} == {"ppo", "constant", "base_stock"}
    assert of_run[0].rows[0].policy == "ppo"
    assert [row.policy for row in of_policy[0].rows] == ["base_stock", "constant"]


@pytest.mark.parametrize("which", ["of_run", "of_policy"])
def test_the_numbers_add_up(which: str, request: pytest.FixtureRequest) -> None:
    """Intervals hold their means, cost terms add up to the cost, differences are differences of means."""
    comparison: Comparison = request.getfixturevalue(which)[0]
    means = {row.policy: row.cost.mean for row in comparison.rows}
    for row in comparison.rows:
        assert row.cost.low <= row.cost.mean <= row.cost.high
        assert row.cost.low < row.cost.high
        assert 0.0 <= row.fill_rate <= 1.0
        assert tuple(row.terms) == tuple(term.name for term in COST_TERMS)
        assert sum(row.terms.values()) == pytest.approx(row.cost.mean, rel=1e-9)
        assert set(row.differences) == {"constant", "base_stock"} - {row.policy}
        for name, difference in row.differences.items():
            assert difference.mean == pytest.approx(row.cost.mean - means[name], rel=1e-9)
            assert difference.low <= difference.mean <= difference.high


@pytest.mark.parametrize("which", ["of_run", "of_policy"])
def test_table_json_and_csv_say_the_same(which: str, request: pytest.FixtureRequest) -> None:
    """The three files hold the same policies and costs, and the JSON its evaluation settings."""
    comparison, output = request.getfixturevalue(which)
    names = {path.name for path in output.iterdir()}
    assert names == {"comparison.json", "comparison.csv", "comparison.txt"} | (
        {"baselines.json"} if which == "of_policy" else set()
    )
    data = json.loads((output / "comparison.json").read_text())
    with (output / "comparison.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    text = (output / "comparison.txt").read_text()
    assert text == comparison.table() + "\n"
    assert data["evaluation"] == config("policy=constant").evaluation.model_dump()
    for row, entry, line in zip(comparison.rows, data["policies"], table, strict=True):
        assert row.policy == entry["policy"] == line["policy"]
        assert row.policy in text
        assert row.cost.mean == entry["cost"]["mean"] == float(line["cost"])
        assert (row.cost.low, row.cost.high) == (float(line["cost_low"]), float(line["cost_high"]))
        for term, value in row.terms.items():
            assert float(line[f"cost_{term}"]) == value
        for name, value in row.differences.items():
            assert float(line[f"difference_{name}"]) == value.mean
    assert "EUR per week [95 %]" in text


@pytest.mark.parametrize(
    ("policy", "network", "more"),
    [
        ("s_s", "five_site_distribution", []),
        ("newsvendor", "lost_sales_zipkin2008", []),
        ("echelon_base_stock", "three_stage_serial", ["env.finite=true", "env.horizon=30"]),
    ],
)
def test_any_classical_policy_can_be_asked_for(policy: str, network: str, more: list[str], tmp_path: Path) -> None:
    """It comes first, beside the constant and the base-stock policy, and its parameters can be read back by name."""
    asked = config(f"policy={policy}", f"network={network}", f"output={tmp_path}", *more)
    comparison = evaluate(asked)
    assert [row.policy for row in comparison.rows] == [policy, "constant", "base_stock"]
    assert set(comparison.rows[0].differences) == {"constant", "base_stock"}
    assert set(comparison.rows[1].differences) == {"base_stock"}
    compiled = compiled_network(asked.network)
    stored = json.loads((tmp_path / "baselines.json").read_text())
    tuned = load_tuned(tmp_path / "baselines.json", compiled)
    assert tuned[policy].parameters.tolist() == list(stored[policy]["parameters"].values())
    acting, task = baseline_problem(compiled, asked.env, tuned[policy])
    again = measure(
        acting,
        task,
        seed=world_seed(Purpose.EVALUATION, 0),
        paths=asked.evaluation.paths,
        periods=asked.evaluation.periods,
        warm_up=asked.evaluation.warm_up,
    )
    assert again.cost.mean() == pytest.approx(comparison.rows[0].cost.mean, rel=1e-12)


def test_parameters_of_another_network_are_refused(tmp_path: Path) -> None:
    """Parameters are stored by name, and names of other arcs are a RunError."""
    evaluate(config("policy=s_s", "network=dual_sourcing", f"output={tmp_path}"))
    with pytest.raises(RunError, match="'s_s' was tuned for other arcs"):
        load_tuned(tmp_path / "baselines.json", compile_network(library.load("serial_chain")))


def test_a_policy_that_does_not_fit_is_refused() -> None:
    """A policy of one stock point is a ConfigError on a chain, with the reason."""
    with pytest.raises(ConfigError, match="'myopic' does not fit the network 'serial_chain'"):
        evaluate(config("policy=myopic", "network=serial_chain"))


def test_a_published_value_stands_below_the_table() -> None:
    """Where the network knows its optimum the table prints it with its source."""
    table = evaluate(config("policy=constant", "network=lost_sales_zipkin2008")).table()
    assert "known optimal cost: 4.72853" in table
    assert "Zipkin (2008)" in table


def test_evaluating_twice_gives_the_same(of_policy: tuple[Comparison, Path]) -> None:
    """The same configuration gives the same comparison; another evaluation seed gives another one."""
    again = evaluate(config("policy=base_stock", "network=five_site_distribution"))
    assert again == of_policy[0]
    other = evaluate(config("policy=base_stock", "network=five_site_distribution", "evaluation.seed=1"))
    assert other.rows[0].cost != again.rows[0].cost


def test_evaluation_has_seeds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All policies are measured on the evaluation block, which no other purpose's seeds can reach."""
    used: list[int] = []

    def watch(*arguments: Any, **options: Any) -> Measurement:
        used.append(options["seed"])
        return measure(*arguments, **options)

    monkeypatch.setattr(monte_carlo, "measure", watch)
    evaluate(config("policy=constant", "network=lost_sales_zipkin2008", "evaluation.seed=5"))
    assert used == [world_seed(Purpose.EVALUATION, 5)] * 2
    blocks = {purpose: (world_seed(purpose, 0), world_seed(purpose, 2**32 - 1)) for purpose in Purpose}
    spans = sorted(blocks.values())
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=str(seed)):
            world_seed(Purpose.EVALUATION, seed)


def test_the_last_model_can_be_compared_too(finished: TrainResult, tmp_path: Path) -> None:
    """model=last evaluates the other saved model; the run folder is left alone when output= is given."""
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    comparison = evaluate(config(f"run={finished.folder}", "model=last", f"output={tmp_path}"))
    assert comparison.rows[0].policy == "ppo"
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


@pytest.mark.parametrize("overrides", [[], ["run=x", "policy=constant"]])
def test_exactly_one_subject_is_needed(overrides: list[str]) -> None:
    """Neither a run nor a policy, and both, are ConfigErrors that say what to give."""
    with pytest.raises(ConfigError, match=r"either run=.*or policy=<constant\|base_stock\|.*newsvendor"):
        evaluate(config(*overrides))


def test_unknown_subjects_are_named(tmp_path: Path) -> None:
    """A misspelt policy comes with the nearest one, a missing run folder with its path."""
    with pytest.raises(ConfigError, match="did you mean 'base_stock'"):
        evaluate(config("policy=basestock"))
    with pytest.raises(RunError, match="no run folder"):
        evaluate(config(f"run={tmp_path / 'none'}"))


@pytest.mark.parametrize("missing", ["baselines.json", "network.yaml", "best/model.zip", "best/normalisation.npz"])
def test_an_incomplete_run_is_refused(missing: str, finished: TrainResult, tmp_path: Path) -> None:
    """A run folder without one of its parts is a RunError that names the part."""
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    (folder / missing).unlink()
    with pytest.raises(RunError, match=Path(missing).name):
        evaluate(config(f"run={folder}"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["+typo=1", "policy=constant"], "unknown key 'typo'"),
        (["run=no/such/run"], "no run folder no/such/run"),
        (["policy=constnt"], "did you mean 'constant'"),
        ([], "give either run="),
    ],
)
def test_usage_errors_end_with_code_2(
    words: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message goes to stderr, the exit code is 2."""
    monkeypatch.setattr(sys, "argv", ["evaluate", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


def test_comparing_pairs_path_by_path() -> None:
    """With costs that differ by a constant the difference is exact, however widely the paths scatter."""
    rng = np.random.default_rng(0)
    terms = np.zeros((len(COST_TERMS), 50))
    terms[0] = rng.normal(100, 30, size=50)
    base = Measurement(terms.sum(axis=0), terms, np.ones(50), np.full(50, 0.9))
    dearer = Measurement(base.cost + 2.0, terms, np.ones(50), np.full(50, 0.9))
    comparison = compare(
        library.load("serial_chain"), EvaluationConfig(resamples=100), {"b": dearer, "a": base}, ("a",)
    )
    difference = comparison.rows[0].differences["a"]
    assert difference.low == pytest.approx(2.0, abs=1e-9)
    assert difference.high == pytest.approx(2.0, abs=1e-9)
    assert comparison.rows[0].cost.high - comparison.rows[0].cost.low > 5
    assert comparison.rows[1].differences == {}


def test_intervals_cover_the_true_mean() -> None:
    """Of 300 experiments with 40 normal numbers each, 90 to 99 % of the 95 % intervals hold the mean."""
    rng = np.random.default_rng(7)
    held = 0
    for k in range(300):
        interval = mean_interval(rng.normal(3.0, 2.0, size=40), resamples=200, seed=k)
        held += interval.low <= 3.0 <= interval.high
    assert 270 <= held <= 297


def test_more_confidence_is_a_wider_interval() -> None:
    """A 99 % interval holds the 80 % one; numbers that do not vary have an interval of no width."""
    values = np.random.default_rng(1).exponential(size=30)
    narrow, wide = mean_interval(values, confidence=0.8), mean_interval(values, confidence=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    flat = mean_interval(np.full(5, 2.5))
    assert (flat.low, flat.mean, flat.high) == (2.5, 2.5, 2.5)
    difference = paired_difference(values, values)
    assert (difference.low, difference.mean, difference.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.0, 0.0, 0.0, 1.0], [1e9, 1e9 + 1e-6], [0.0] * 63 + [1e-3]])
def test_awkward_samples_still_have_an_interval(values: list[float]) -> None:
    """Two paths, one path out of line, and tiny differences give finite intervals without a warning."""
    interval = mean_interval(np.array(values), resamples=200)
    assert np.isfinite([interval.low, interval.high]).all()
    assert interval.low <= interval.mean <= interval.high
