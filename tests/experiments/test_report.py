"""Pages of runs and suites show what is stored, whole, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from experiments.cli import compose
from experiments.config import EvaluateConfig, parse
from experiments.evaluate import evaluate
from experiments.report import ReportConfig, main, report
from experiments.train import TrainResult
from twin.errors import ConfigError, RunError


@pytest.fixture
def run(finished: TrainResult, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_without_a_comparison(run: Path) -> None:
    """Learning curve, cost terms, tuned policies, configuration, versions; the page lies in the folder."""
    path = report(ReportConfig(run=str(run)))
    assert path == run / "report.html"
    text = path.read_text()
    for words in ("Learning curve", "Cost terms in training", "base_stock", "residual_scale", "numpy", "finished"):
        assert words in text
    assert text.count("data:image/svg+xml") == 2
    assert "Differences" not in text


def test_a_run_with_a_comparison(run: Path) -> None:
    """After an evaluation the page has its tables and figures; a second report replaces the first."""
    report(ReportConfig(run=str(run)))
    words = [f"run={run}", "evaluation=smoke"]
    comparison = evaluate(parse(EvaluateConfig, compose("evaluate", words)))
    text = report(ReportConfig(run=str(run))).read_text()
    assert "Differences" in text
    assert text.count("data:image/svg+xml") == 4
    assert all(row.policy in text for row in comparison.rows)


def test_comparisons_of_before_still_have_a_page(run: Path) -> None:
    """A comparison.json without pairs and new statistics, as earlier versions wrote it."""
    evaluate(parse(EvaluateConfig, compose("evaluate", [f"run={run}", "evaluation=smoke"])))
    data = json.loads((run / "comparison.json").read_text())
    del data["pairs"], data["horizon"], data["hindsight_bound"]
    for row in data["policies"]:
        for key in list(row):
            if key not in {"policy", "cost", "cost_cvar95", "fill_rate", "terms", "differences"}:
                del row[key]
    (run / "comparison.json").write_text(json.dumps(data))
    text = report(ReportConfig(run=str(run))).read_text()
    assert "fill rate" in text
    assert f"{100 * data['policies'][0]['fill_rate']:.1f} %" in text


def test_a_run_that_was_stopped_early_has_a_page(run: Path) -> None:
    for name in ("evaluations.npz", "progress.csv", "baselines.json"):
        (run / name).unlink()
    assert "Where it comes from" in report(ReportConfig(run=str(run))).read_text()
    (run / "network.yaml").unlink()
    with pytest.raises(RunError, match=r"network\.yaml"):
        report(ReportConfig(run=str(run)))


def write_suite(folder: Path, *, exact: bool) -> dict[str, object]:
    """A finished suite of two problems with two policies, one of them with two seeds, and an item that failed."""
    from experiments.benchmark_config import SuiteConfig
    from experiments.benchmark_table import suite_table

    suite = SuiteConfig.model_validate(
        {
            "name": "tiny",
            "description": "Two & three",
            "evaluation": "exact" if exact else "simulated",
            "references": ["base_stock"],
            "cells": [{"network": "lost_sales_zipkin2008", "parameters": {"penalty": [4, 9]}}],
            "entries": [{"agent": "ppo", "seeds": [0, 1]}, {"policy": "base_stock"}],
        }
    )
    results = []
    for cell, optimum in (("penalty=4", 4.7), ("penalty=9", 6.5)):
        for entry, seed, share in (("ppo", 0, 1.01), ("ppo", 1, 1.02), ("base_stock", 0, 1.1)):
            cost = share * optimum
            found = {"bounds": [cost, cost]} if exact else {"costs": [cost, cost + 0.1, cost - 0.1], "paths": {}}
            results.append(
                {
                    "cell": cell, "entry": entry, "kind": "agent" if entry == "ppo" else "policy", "seed": seed,
                    "cost": cost, "optimum": optimum if exact else None, "seconds": 3.0, **found,
                }
            )  # fmt: skip
    table = suite_table(suite, results, 7)
    folder.mkdir(parents=True)
    table.save(folder)
    (folder / "items").mkdir()
    failed = {"item": "penalty-19-ppo", "status": "failed", "error": "out of <memory>"}
    (folder / "items" / "penalty-19-ppo.json").write_text(json.dumps(failed))
    (folder / "items" / "half.json").write_text("{")
    return table.to_dict()


@pytest.mark.parametrize("exact", [True, False])
def test_a_suite(tmp_path: Path, exact: bool) -> None:
    """Summary, every result, gaps problem by problem, a profile, and what failed, with its reason escaped."""
    data = write_suite(tmp_path / "results" / "tiny", exact=exact)
    words = {"suite": data["suite"], "results": str(tmp_path / "results")}
    path = report(parse(ReportConfig, words))
    assert path == tmp_path / "results" / "tiny" / "report.html"
    text = path.read_text()
    assert "6 of 7 items finished, 1 failed" in text
    assert "Two &amp; three" in text
    assert "out of &lt;memory&gt;" in text
    assert "penalty=9" in text
    assert ("gap over the optimum" in text) == exact
    assert text.count("data:image/svg+xml") == 2


def test_errors_say_what_there_is(tmp_path: Path) -> None:
    data = write_suite(tmp_path / "tiny", exact=True)
    with pytest.raises(ConfigError, match=r"either run=.* or suite="):
        report(ReportConfig())
    with pytest.raises(RunError, match="no run folder"):
        report(ReportConfig(run=str(tmp_path / "none")))
    with pytest.raises(RunError, match=r"there are: tiny.*suite=tiny smoke=true"):
        report(parse(ReportConfig, {"suite": data["suite"], "results": str(tmp_path), "smoke": True}))


def test_the_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """output= names the page, and folders on its way are made; suites are known by name."""
    monkeypatch.setattr(sys, "argv", ["report", f"run={run}", f"output={tmp_path / 'deep' / 'page.html'}"])
    main()
    assert (tmp_path / "deep" / "page.html").is_file()
    assert "page.html" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["report", "suite=zipkin", f"results={tmp_path}"])
    with pytest.raises(SystemExit):
        main()
    assert "no results of the suite 'zipkin'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["report", "--help"])
    main()
    assert "suite=zipkin" in capsys.readouterr().out
