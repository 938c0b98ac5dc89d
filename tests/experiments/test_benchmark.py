"""A suite does what is missing and nothing else, survives failures, and its table says what the results say."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import configs
from experiments.benchmark import BenchmarkResult, benchmark, main
from experiments.benchmark_config import BenchmarkConfig, SuiteConfig
from experiments.benchmark_items import suite_items
from experiments.benchmark_table import suite_table
from experiments.cli import compose
from experiments.compare import compare
from experiments.config import CompareConfig, parse
from twin import library
from twin.errors import ConfigError
from twin.liner.itineraries import shipped_candidates, write_candidates
from twin.liner.library import resolve

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted(path.stem for path in (Path(str(configs.__file__)).parent / "suite").glob("*.yaml"))
FAST = ["training=smoke", "tuning=smoke", "evaluation=smoke"]
LOST_SALES = {"network": "lost_sales_zipkin2008", "parameters": {"lead_time": 1, "penalty": [4, 9]}}
PPO = {"agent": "ppo", "overrides": ["training.steps=512", "agent.parameters.n_steps=16"]}
TINY: dict[str, Any] = {
    "name": "tiny",
    "evaluation": "exact",
    "overrides": ["env=lost_sales"],
    "references": ["base_stock"],
    "cells": [LOST_SALES],
    "entries": [PPO, {"policy": "base_stock"}],
}


def suite(**changes: Any) -> dict[str, Any]:
    """The tiny suite with some keys replaced; agents are trained for seconds, and nothing is tuned for long."""
    data = {**TINY, **changes}
    entries = [
        {**entry, "overrides": [*(FAST if "agent" in entry else FAST[1:]), *entry.get("overrides", [])]}
        for entry in data["entries"]
    ]
    return {**data, "entries": entries}


def run(output: Path, *, only: str | None = None, again: bool = False, **changes: Any) -> BenchmarkResult:
    data = {"suite": suite(**changes), "output": str(output), "only": only, "again": again}
    return benchmark(parse(BenchmarkConfig, data))


def stored(folder: Path, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "items" / f"{name}.json").read_text())
    return data


BASE = "lead_time-1-penalty-{}-base_stock"
AGENT = "lead_time-1-penalty-{}-ppo-seed-0"


@pytest.mark.usefixtures("one_thread")
def test_a_suite_does_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    """Two cells with an agent and a classical policy: done once, kept, and redone where deleted or defined anew."""
    first = run(tmp_path)
    names = {text.format(penalty) for text in (BASE, AGENT) for penalty in (4, 9)}
    assert set(first.done) == names
    assert first.failed == {}
    for row in first.table.rows:
        assert row.exact
        assert row.gap is not None
        assert row.gap.mean > -1e-3  # the optimum has five decimals
        assert row.seconds >= 0.0
    written = {path.name for path in first.folder.iterdir()}
    assert {"table.md", "table.csv", "table.json", "items", "runs"} <= written

    second = run(tmp_path)
    assert second.done == ()
    assert second.table == first.table

    path = first.folder / "items" / (AGENT.format(9) + ".json")
    run_folder, before = Path(stored(first.folder, AGENT.format(9))["run"]), stored(first.folder, AGENT.format(9))
    trained = (run_folder / "best" / "model.zip").stat().st_mtime_ns
    path.unlink()
    third = run(tmp_path)
    assert third.done == (AGENT.format(9),)
    assert stored(first.folder, AGENT.format(9))["cost"] == before["cost"]
    assert (run_folder / "best" / "model.zip").stat().st_mtime_ns == trained  # evaluated again, not trained again

    smaller = {**PPO, "overrides": [*PPO["overrides"], "agent.net_arch=[4]"]}
    fourth = run(tmp_path, entries=[smaller, {"policy": "base_stock"}])
    assert set(fourth.done) == {AGENT.format(4), AGENT.format(9)}
    assert Path(stored(first.folder, AGENT.format(9))["run"]) != run_folder
    assert run(tmp_path, only="penalty-9-base", again=True).done == (BASE.format(9),)


def test_tables_on_disk_agree_with_the_results(tmp_path: Path) -> None:
    """CSV and JSON hold the costs of the item files, the Markdown one line per item."""
    result = run(tmp_path, entries=[{"policy": "base_stock"}, {"policy": "capped_base_stock"}])
    rows = list(csv.DictReader((result.folder / "table.csv").read_text().splitlines()))
    data = json.loads((result.folder / "table.json").read_text())
    costs = {(row["cell"], row["entry"]): float(row["cost"]) for row in rows}
    assert len(costs) == len(data["rows"]) == data["items"] == data["finished"] == 4
    for path in (result.folder / "items").glob("*.json"):
        item = json.loads(path.read_text())
        assert costs[item["cell"], item["entry"]] == item["cost"]
        assert item["bounds"][0] <= item["cost"] <= item["bounds"][1]
    text = (result.folder / "table.md").read_text()
    assert sum("| capped_base_stock |" in line for line in text.splitlines()) == 3  # two cells and the summary
    assert "over base_stock, %" in text


def test_a_changed_network_is_done_anew(tmp_path: Path) -> None:
    """Results of a network file are void when the file changes, although its name does not."""
    network = library.load("lost_sales_zipkin2008", lead_time=1).to_dict()
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(network))
    changes: dict[str, Any] = {"cells": [{"network": str(path)}], "entries": [{"policy": "base_stock"}]}
    first = run(tmp_path / "runs", **changes)
    assert len(first.done) == 1
    assert run(tmp_path / "runs", **changes).done == ()
    network["demands"]["customers"]["penalty"] = 39.0
    path.write_text(yaml.safe_dump(network))
    again = run(tmp_path / "runs", **changes)
    assert again.done == first.done
    assert again.table.rows[0].cost.mean > first.table.rows[0].cost.mean


def test_a_failing_item_shows_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With items in processes of their own: the failure is shown at once and at the end, the exit code is 1, and the
    next run tries it again, and only it.
    """
    data = suite(
        overrides=[],
        cells=[{**LOST_SALES, "parameters": {"lead_time": 1}}, {"network": "serial_chain"}],
        entries=[{"policy": "base_stock"}],
    )
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text(yaml.safe_dump(data))
    arguments = ["suite=mine", f"hydra.searchpath=[file://{tmp_path}]", f"output={tmp_path}", "jobs=2"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    reason = "serial_chain: no exact evaluation, because it has 4 stock points"
    assert f"serial_chain-base_stock: FAILED: {reason}" in shown.out
    assert f"FAILED serial_chain-base_stock: {reason}" in shown.err
    assert "1 of 2 items" in shown.out
    assert stored(tmp_path / "tiny", "serial_chain-base_stock")["status"] == "failed"
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert "serial_chain-base_stock: FAILED" in shown.out
    assert "lead_time-1-base_stock: cost" not in shown.out


def test_a_process_that_dies_without_a_word_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item whose process ends before it can say why (out of memory, killed) is stored as failed with its code."""
    monkeypatch.setattr("experiments.launchers.processes.sys.executable", "/bin/false")
    data = {"suite": suite(entries=[{"policy": "base_stock"}]), "output": str(tmp_path), "jobs": 2}
    result = benchmark(parse(BenchmarkConfig, data))
    assert set(result.failed) == {BASE.format(4), BASE.format(9)}
    assert "its process ended with code 1 (3 times); see" in result.failed[BASE.format(4)]
    assert "Nothing has finished yet." in result.table.text()


def test_ctrl_c_stops_at_a_safe_point_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """Ctrl-C ends the command and the processes of its items with code 130; the training is resumed, not repeated."""
    endless = {"agent": "ppo", "overrides": ["training.steps=400000", "agent.parameters.n_steps=16"]}
    data = suite(cells=[{**LOST_SALES, "parameters": {"lead_time": 1}}], entries=[endless], references=[])
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text(yaml.safe_dump(data))
    arguments = ["suite=mine", f"hydra.searchpath=[file://{tmp_path}]", f"output={tmp_path}", "jobs=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.benchmark", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300.0
        # A row in the log: training is under way.
        while not any("\n" in path.read_text() for path in tmp_path.glob("tiny/runs/*/progress.csv")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=300)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, error
    (folder,) = tmp_path.glob("tiny/runs/*")
    info = json.loads((folder / "run.json").read_text())
    assert info["status"] == "interrupted"
    assert not list((tmp_path / "tiny" / "items").glob("*.json"))
    # A shorter budget in the run folder, so that the rest takes no time: what is resumed counts on from where it was.
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["training"]["steps"] = info["timesteps"] + 256
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = benchmark(parse(BenchmarkConfig, {"suite": data, "output": str(tmp_path)}))
    assert result.failed == {}
    (item,) = (tmp_path / "tiny" / "items").glob("*.json")
    assert info["timesteps"] < json.loads(item.read_text())["timesteps"] <= info["timesteps"] + 512


def test_simulated_results_are_paired_and_above_the_bound(tmp_path: Path) -> None:
    """The same policy twice differs by nothing; no policy is below the hindsight bound on any of its paths."""
    entries = [{"policy": "base_stock"}, {"policy": "base_stock", "name": "twin"}, {"bound": "hindsight", "paths": 3}]
    result = run(
        tmp_path,
        evaluation="simulated",
        overrides=["env=one_warehouse"],
        cells=[{"network": "one_warehouse", "parameters": {"retailers": 3}}],
        entries=[{**entry, "overrides": ["evaluation.warm_up=0", "evaluation.periods=20"]} for entry in entries],
    )
    assert result.failed == {}
    base, same, bound = result.table.rows
    nothing = same.differences["base_stock"]
    assert (nothing.low, nothing.mean, nothing.high) == (0.0, 0.0, 0.0)
    assert base.over_bound is not None
    assert base.over_bound.low > 0.0
    assert (bound.gap, bound.differences, base.differences) == (None, {}, {})
    items = {row["entry"]: row for row in map(json.loads, (p.read_text() for p in result.folder.glob("items/*.json")))}
    least, paid = np.array(items["hindsight"]["costs"]), np.array(items["base_stock"]["costs"])
    assert least.shape == (3,)
    assert (least <= paid[:3]).all()
    assert "hindsight" in result.table.text()


def test_numbers_of_a_table() -> None:
    """Gap, paired difference and summary of results made by hand."""
    definition = parse(SuiteConfig, {**TINY, "evaluation": "simulated"})
    shared = {"optimum": 10.0, "optimum_source": "", "paths": {"seed": 0}, "seconds": 2.0, "evaluation": "simulated"}
    base = {**shared, "cell": "a", "entry": "base_stock", "kind": "policy", "seed": 0, "costs": [11.0, 13.0]}
    agents = [
        {**shared, "cell": "a", "entry": "ppo", "kind": "agent", "seed": seed, "costs": costs}
        for seed, costs in ((0, [10.0, 12.0]), (1, [10.5, 12.5]))
    ]
    for result in (base, *agents):
        result["cost"] = float(np.mean(result["costs"]))
    table = suite_table(definition, [base, *agents], 4)
    assert [row.gap.mean for row in table.rows if row.gap] == pytest.approx([20.0, 10.0, 15.0])
    assert table.rows[0].differences == {}
    cheaper = table.rows[1].differences["base_stock"]
    assert (cheaper.low, cheaper.high) == pytest.approx((-100 / 12, -100 / 12))  # cheaper by 1 on both paths
    line = table.summary()[1]
    assert (line["policy"], line["cells"], line["seeds"]) == ("ppo", 1, 2)
    assert line["differences"]["base_stock"] == pytest.approx(
        {"mean_percent": -75 / 12, "clearly_below": 2, "compared": 2}
    )
    assert (line["mean_gap_percent"], line["worst_gap_percent"]) == pytest.approx((12.5, 15.0))
    assert line["worst_cell"] == "a, seed 1"
    assert "3 of 4 items" in table.text()


@pytest.mark.parametrize(
    ("name", "items", "optima"),
    [
        ("dual_sourcing", 12, True),
        ("one_warehouse", 15, False),
        ("prolonged_shortage", 13, False),
        ("routing_cyber_attack", 11, False),
        ("routing_three_ports", 8, False),
        ("serial", 32, True),
        ("shared_subtier", 14, False),
        ("three_stage_serial", 30, False),
        ("two_suppliers", 10, True),
        ("zipkin", 96, True),
        ("zipkin_ppo", 32, True),
    ],
)
@pytest.mark.parametrize("smoke", [False, True])
def test_suites_that_ship_resolve(name: str, items: int, optima: bool, smoke: bool) -> None:
    """Every suite resolves to as many items as it has cells, entries and seeds, on networks whose optimum is known."""
    config = parse(BenchmarkConfig, compose("benchmark", [f"suite={name}", f"smoke={str(smoke).lower()}"]))
    found = suite_items(config.suite, smoke=smoke)
    assert config.suite.name == name
    assert len({item.hash for item in found}) == len({item.name for item in found}) == items
    for item in found[:: len(config.suite.entries)]:
        if name.startswith("routing_"):
            assert item.config["env"]["routing"]["scenario"] == name.removeprefix("routing_")
            continue
        network = library.load(item.config["network"]["name"], **item.config["network"]["parameters"])
        assert (network.known_value("optimal_cost") is not None) == optima
        assert item.config["tuning"]["generations"] == (2 if smoke else 200)


def test_the_suite_of_a_users_files_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the network that a user makes of LINERLIB it is refused by name; in its place any liner network does."""
    monkeypatch.chdir(tmp_path)
    suite = parse(BenchmarkConfig, compose("benchmark", ["suite=routing_mediterranean"])).suite
    with pytest.raises(ConfigError, match=r"no such file: mediterranean\.yaml"):
        suite_items(suite)
    network = resolve("baltic")
    network.save(tmp_path / "mediterranean.yaml")
    write_candidates(tmp_path / "itineraries.yaml", network, shipped_candidates(network))
    found = suite_items(suite)
    assert [item.kind for item in found] == ["agent"] * 3 + ["policy"] * 6 + ["bound"]
    assert {item.config["env"]["horizon"] for item in found} == {126}
    assert len({item.network_hash for item in found}) == 1


def test_no_suite_is_left_out() -> None:
    """The parametrisation above names every file of configs/suite, but for the one that needs files of a user."""
    assert SUITES == [
        "dual_sourcing",
        "one_warehouse",
        "prolonged_shortage",
        "routing_cyber_attack",
        "routing_mediterranean",
        "routing_three_ports",
        "serial",
        "shared_subtier",
        "three_stage_serial",
        "two_suppliers",
        "zipkin",
        "zipkin_ppo",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entries": [{"agent": "ppo", "policy": "constant"}]}, "give one of agent, policy and bound"),
        ({"entries": [{"policy": "constant"}, {"policy": "constant"}]}, "two entries share a name"),
        ({"entries": [{"policy": "constant", "seeds": [1]}], "references": []}, "only an agent has them"),
        ({"entries": [{"policy": "constant"}], "references": ["best"]}, "no policy 'best'"),
        ({"evaluation": "exactly"}, "did you mean 'exact'"),
        ({"cels": []}, "unknown key 'cels'; did you mean 'cells'"),
        ({"entries": [{"policy": "base_stok"}], "references": []}, "did you mean 'base_stock'"),
        ({"entries": [{"agent": "pp0"}], "references": []}, "suite tiny, entry pp0: .*agent=pp0"),
        ({"evaluation": "published"}, "path_seeds are those of evaluation: published"),
        ({"path_seeds": [42]}, "path_seeds are those of evaluation: published"),
        ({"cells": [{**LOST_SALES, "parameters": {"penalty": []}}]}, "parameters: no value for penalty"),
        ({"overrides": ["env.horizn=3"]}, "horizn"),
        ({"entries": [{"bound": "hindsight"}], "references": []}, "evaluation.warm_up=0"),
        ({"cells": [LOST_SALES, LOST_SALES]}, "two items are called"),
    ],
)
def test_wrong_suites_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """A wrong definition says where and what is allowed, before anything is trained."""
    with pytest.raises(ConfigError, match=message):
        suite_items(parse(BenchmarkConfig, {"suite": {**TINY, **changes}}).suite)


def test_a_filter_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no item has 'penaltee' in its name, as in 'lead_time-1-penalty-4-ppo"):
        run(tmp_path, only="penaltee")


def test_published_paths_are_those_of_the_publication(tmp_path: Path) -> None:
    """On the ten paths of the gym-invmgmt benchmark the hindsight program earns the printed 1023.9 in 30 periods."""
    seeds = [42, 123, 456, 789, 1011, 2022, 3033, 4044, 5055, 6066]
    result = run(
        tmp_path,
        evaluation="published",
        path_seeds=seeds,
        overrides=["env=three_stage", "tuning=smoke"],
        references=[],
        cells=[{"network": "three_stage_serial", "parameters": {"demand": "stationary"}}],
        entries=[{"bound": "hindsight"}, {"policy": "base_stock"}],
    )
    bound, base_stock = result.table.rows
    assert -30.0 * bound.cost.mean == pytest.approx(1023.9, abs=0.05)
    assert base_stock.over_bound is not None
    assert base_stock.over_bound.low > 0.0


def test_a_suite_routes_and_meets_scenarios(tmp_path: Path) -> None:
    """A liner network in a scenario: policies that route and the bound of foresight, on the same paths."""
    pytest.importorskip("highspy", reason="the program needs the extra 'routing'")
    words = ["env=routing", "env.horizon=7", "evaluation=smoke", "evaluation.paths=2"]
    changes = {
        "cells": [{"network": "baltic"}],
        "evaluation": "simulated",
        "references": ["routing_static"],
        "entries": [{"policy": "routing_static"}, {"policy": "routing_cheapest"}, {"bound": "hindsight", "paths": 2}],
    }
    hashes = set()
    for scenario in ("three_ports", "cyber_attack"):
        data = {**TINY, **changes, "overrides": [*words, f"scenario={scenario}"]}
        found = suite_items(parse(BenchmarkConfig, {"suite": data}).suite)
        assert {item.subject_config.env.routing.scenario for item in found} == {scenario}
        hashes |= {item.network_hash for item in found}
    assert len(hashes) == 2
    result = benchmark(parse(BenchmarkConfig, {"suite": data, "output": str(tmp_path)}))
    assert result.failed == {}
    static, cheapest, bound = (
        stored(result.folder, f"baltic-{name}") for name in ("routing_static", "routing_cheapest", "hindsight")
    )
    assert (np.array(bound["costs"]) < np.array(static["costs"])).all()
    assert (np.array(bound["costs"]) < np.array(cheapest["costs"])).all()
    here = compare(
        parse(
            CompareConfig,
            compose(
                "compare",
                [
                    *words,
                    f"scenario={scenario}",
                    "network=baltic",
                    "policies=[routing_static,routing_cheapest]",
                ],
            ),
        )
    )
    assert here.comparison.costs["routing_static"][0].tolist() == static["costs"]


def test_a_scenario_of_a_suite_is_part_of_its_networks() -> None:
    """Classical policies and agents of a suite are tuned, trained and measured on the network with the outage."""
    ends = ["env.finite=true", "env.horizon=40"]
    usual, hit = (
        suite_items(parse(BenchmarkConfig, {"suite": suite(overrides=[*ends, *more])}).suite)
        for more in ([], ["scenario=supplier_outage"])
    )
    for before, after in zip(usual, hit, strict=True):
        assert before.name == after.name
        assert before.network_hash != after.network_hash
