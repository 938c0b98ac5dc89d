"""A search repeats itself, survives what is killed, does nothing twice, and reports its winner on fresh seeds alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import configs
from experiments import tune as tune_module
from experiments.cli import compose
from experiments.config import TrainConfig, parse
from experiments.loading import load_run
from experiments.monte_carlo import measure_evaluation
from experiments.problems import compiled_network
from experiments.runs import RunFolder
from experiments.statistics_bands import interquartile_mean
from experiments.tune import Found, main, search, tune
from experiments.tune_config import TuneConfig, check_search, train_config
from experiments.tune_work import tuning_costs
from tests.experiments.conftest import FAST
from tests.experiments.launched import descendants
from tests.experiments.test_launchers import wait_for
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

pytest.importorskip("optuna", reason="needs Optuna: pip install 'cogtwin[tune]'")

ROOT = Path(__file__).resolve().parents[2]
SEARCHES = sorted(path.stem for path in (Path(str(configs.__file__)).parent / "search").glob("*.yaml"))
VALLEY = "tests.experiments.launched:valley"
SPACE: dict[str, Any] = {
    "agent.parameters.learning_rate": {"kind": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "agent.net_arch": {"kind": "categorical", "choices": [[8], [8, 8], [8, 8, 8]]},
}
PROBLEM = ["network=lost_sales_zipkin2008", "env=lost_sales", *FAST]


def config(output: Path, *words: str, space: dict[str, Any] | None = None, **changes: Any) -> TuneConfig:
    data = compose("tune", [*PROBLEM, f"output={output}", "name=s", *words])
    return parse(TuneConfig, {**data, "search": {"parameters": space or SPACE}, **changes})


def table(folder: Path) -> list[dict[str, str]]:
    """Trials without the time they took."""
    with (folder / "trials.csv").open(newline="") as stream:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def calls(folder: Path) -> list[str]:
    """Trial and seed of every call."""
    return [line.rpartition(" ")[0] for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search with a made-up objective, by one process that nobody disturbs."""
    return search(config(tmp_path_factory.mktemp("search"), trials=25), VALLEY)


def test_a_search_finds_the_valley(undisturbed: Found) -> None:
    """The best trial is near the known least cost, its value is the interquartile mean over all seeds and paths, and
    trials that were worse than half of the others ended after a seed.
    """
    rows = table(undisturbed.folder)
    assert len(rows) == 25
    assert undisturbed.parameters["agent.net_arch"] == [8, 8]
    assert -3.5 < np.log10(undisturbed.parameters["agent.parameters.learning_rate"]) < -2.5
    paths = [
        json.loads(p.read_text()) for p in sorted(undisturbed.folder.glob(f"costs/trial-{undisturbed.trial:04d}-*"))
    ]
    assert undisturbed.value == pytest.approx(interquartile_mean(np.array(paths)), rel=1e-12)
    assert np.array(paths).shape == (3, 8)
    assert undisturbed.value == min(float(row["value"]) for row in rows if row["value"])
    assert undisturbed.states["pruned"] > 3
    for row in rows:
        seeds = sum(bool(row[f"iqm_after_{k}"]) for k in (1, 2, 3))
        assert seeds == 3 if row["state"] == "complete" else 1 <= seeds < 3
    assert len(calls(undisturbed.folder)) == len(set(calls(undisturbed.folder)))
    best = yaml.safe_load((undisturbed.folder / "best.yaml").read_text())
    assert parse(TrainConfig, compose("train", [*PROBLEM, *best["words"]])).agent.net_arch == [8, 8]


def test_a_search_repeats_itself(undisturbed: Found, tmp_path: Path) -> None:
    """The same seed tries the same parameters and finds the same values; another one does not. Nothing is pruned
    when that is not wanted.
    """
    again = search(config(tmp_path / "a", trials=25), VALLEY)
    assert table(again.folder) == table(undisturbed.folder)
    other = search(config(tmp_path / "b", "seed=1", trials=6), VALLEY)
    assert table(other.folder)[0] != table(undisturbed.folder)[0]
    whole = search(config(tmp_path / "c", "pruning=false", trials=10), VALLEY)
    assert whole.states == {"complete": 10}


def test_a_stopped_search_goes_on_as_if_it_had_not(undisturbed: Found, tmp_path: Path) -> None:
    """Stopped in the middle of a trial and half-way through a line of the journal: the second start repeats no run,
    and ends with the trials of a search that was never stopped. With more trials a third goes further.
    """
    folder = tmp_path / "s"
    folder.mkdir()
    stop = next(f"{row['trial']} 1" for row in table(undisturbed.folder)[8:] if row["state"] == "complete")
    (folder / "hang").write_text(stop)

    def press() -> None:
        wait_for(lambda: stop in (calls(folder) if (folder / "calls").is_file() else []))
        os.kill(os.getpid(), signal.SIGINT)

    interrupt = threading.Thread(target=press)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        search(config(tmp_path, trials=25), VALLEY)
    interrupt.join()
    assert [row["state"] for row in table(folder)][-1] == "running"
    with (folder / "journal.log").open("a") as stream:
        stream.write('{"op_code": 4, "worker_id"')  # a process that was killed while it wrote
    seen = calls(folder)
    found = search(config(tmp_path, trials=25), VALLEY)
    assert table(folder) == table(undisturbed.folder)
    assert found.trial == undisturbed.trial
    assert sorted(calls(folder)) == sorted([*calls(undisturbed.folder), stop])
    assert calls(folder)[: len(seen)] == seen
    count = len(calls(folder))
    assert search(config(tmp_path, trials=25), VALLEY) == found
    assert len(calls(folder)) == count
    assert len(table(search(config(tmp_path, trials=27), VALLEY).folder)) == 27
    assert table(folder)[:25] == table(undisturbed.folder)


def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    """Kill -9 of one of two workers in the middle of a trial: its run is done again, and the trial completes."""
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "hang").write_text("1 1")
    killed: list[int] = []

    def kill() -> None:
        lines = wait_for(
            lambda: [
                line
                for line in ((folder / "calls").read_text().splitlines() if (folder / "calls").is_file() else [])
                if line.startswith("1 1 ")
            ]
        )
        killed.append(int(lines[0].split()[2]))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = search(config(tmp_path, "jobs=2", "pruning=false", trials=3), VALLEY)
    thread.join()
    assert killed
    assert found.states == {"complete": 3}
    assert sorted(calls(folder)) == sorted([*(f"{t} {s}" for t in range(3) for s in range(3)), "1 1"])


def test_a_killed_search_resumes(tmp_path: Path) -> None:
    """Kill -9 of the command and of its workers: the second start takes up the trials where they were."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.experiments.test_tune import VALLEY, config, search\n"
        "search(config(Path(sys.argv[1]), 'jobs=2', 'pruning=false', trials=3), VALLEY)"
    )
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "hang").write_text("1 1")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: (folder / "calls").is_file() and "1 1" in calls(folder), process)
        below = descendants(process.pid)
    finally:
        process.kill()
        process.communicate()
    for pid, command in below.items():
        if "launchers.worker" in command:
            os.kill(pid, signal.SIGKILL)
    before, costs = calls(folder), {path.name for path in folder.glob("costs/*")}
    found = search(config(tmp_path, "jobs=2", "pruning=false", trials=3), VALLEY)
    assert found.states == {"complete": 3}
    again = calls(folder)[len(before) :]
    # Of what was asked for before, only what had not come back is done again.
    assert set(before) & set(again) == {
        name for name in before if "trial-{:04d}-seed-{}.json".format(*map(int, name.split())) not in costs
    }
    assert {*before, *again} == {f"{t} {s}" for t in range(3) for s in range(3)}


def test_parameters_that_do_not_fit_together_are_a_failed_trial(tmp_path: Path) -> None:
    """A batch that does not divide its rollout: that trial fails with the reason, the others go on. All: an error."""
    space = {
        "agent.parameters.n_steps": {"kind": "categorical", "choices": [64, 96]},
        "agent.parameters.batch_size": {"kind": "categorical", "choices": [512, 1024]},
    }
    found = search(config(tmp_path, trials=8, space=space), VALLEY)
    failed = [row for row in table(found.folder) if row["state"] == "fail"]
    assert failed
    for row in failed:
        assert (row["agent.parameters.n_steps"], row["agent.parameters.batch_size"]) == ("96", "512")
        assert "512 does not divide the rollout of n_steps x replicas = 96 x 8 = 768" in row["error"]
    assert found.states["complete"] > 0
    failing = config(tmp_path, "name=f", trials=2)
    with pytest.raises(RunError, match=r"no trial gave a value.*\n.*trial 0: ZeroDivisionError: by zero"):
        search(failing, "tests.experiments.launched:fails")


@pytest.mark.parametrize(
    ("space", "parts"),
    [
        (
            {"agent.learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-2}},
            ["'agent.learning_rate' is no key", "did you mean 'agent.parameters.learning_rate'?"],
        ),
        (
            {"agent.parameters.learning_rat": {"kind": "float", "low": 1e-4, "high": 1e-2}},
            ["'learning_rat'", "did you mean 'learning_rate'"],
        ),
        ({"network.parameters.penalty": {"kind": "categorical", "choices": [4, 9]}}, ["says what is to be learned"]),
        ({"env.horizon": {"kind": "int", "low": 10, "high": 20}}, ["'env.horizon' says what is to be learned"]),
        ({"training.seed": {"kind": "int", "low": 0, "high": 20}}, ["'training.seed'", "cannot be searched"]),
        ({"evaluation.seed": {"kind": "int", "low": 0, "high": 20}}, ["'evaluation.seed'", "cannot be searched"]),
        (
            {"agent.activation": {"kind": "categorical", "choices": ["tanh", "tanhh"]}},
            ["agent.activation=tanhh", "did you mean 'tanh'"],
        ),
        (
            {"env.residual_scale": {"kind": "float", "low": -1.0, "high": 1.0}},
            ["env.residual_scale=-1.0", "greater than 0"],
        ),
    ],
)
def test_a_space_that_does_not_fit_is_refused(space: dict[str, Any], parts: list[str], tmp_path: Path) -> None:
    """Keys that do not exist or change the problem, and ends that are not allowed: before anything runs, by name."""
    with pytest.raises(ConfigError) as caught:
        search(config(tmp_path, space=space), VALLEY)
    for part in parts:
        assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ({"kind": "floot", "low": 0.0, "high": 1.0}, "did you mean 'float'"),
        ({"kind": "float", "low": 1.0, "high": 0.5}, "low must be below high (received low 1.0, high 0.5)"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "log": True}, "log needs low above 0"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "step": 1}, "step is that of an int"),
        ({"kind": "float", "low": 0.0, "hihg": 1.0}, "did you mean 'high'"),
        ({"kind": "int", "low": 1.5, "high": 4}, "whole numbers"),
        ({"kind": "int", "low": 1, "high": 4, "step": 2}, "step: 2 does not divide high - low = 3"),
        ({"kind": "categorical", "choices": [1]}, "at least two"),
        ({"kind": "categorical", "choices": [1, 1]}, "each once"),
        ({"kind": "categorical", "choices": [1, 2], "low": 1}, "choices alone"),
        ({"kind": "int", "low": 1, "high": 4, "choices": [1, 2]}, "choices are those of a categorical"),
    ],
)
def test_a_wrong_entry_is_named(entry: dict[str, Any], part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, space={"agent.log_std_init": entry})
    assert part in str(caught.value)
    assert "search.parameters.agent.log_std_init" in str(caught.value)


def test_all_problems_of_a_search_come_at_once(tmp_path: Path) -> None:
    """Two wrong keys are two lines; fewer than three seeds, or seeds beyond the last, are refused."""
    space = {key: {"kind": "int", "low": 1, "high": 2} for key in ("agent.x", "training.seed")}
    with pytest.raises(ConfigError, match=r"(?s)'agent\.x' is no key.*'training\.seed' says"):
        check_search(config(tmp_path, space=space))
    with pytest.raises(ConfigError, match=r"seeds: .*greater than or equal to 3"):
        config(tmp_path, seeds=2)
    with pytest.raises(ConfigError, match=r"the last of 3 \+ 3 seeds: training\.seed: .*4294967296"):
        check_search(config(tmp_path, "training.seed=4294967291"))


def test_another_search_does_not_go_on_with_this_one(undisturbed: Found) -> None:
    """A folder keeps its definition: what differs is named, and nothing is done."""
    with pytest.raises(
        ConfigError, match=r"defined otherwise; give this one a name=(?s:.*)training\.steps: 2048 there, 512 now"
    ):
        search(config(undisturbed.folder.parent, "training.steps=512", trials=25), VALLEY)
    with RunFolder(undisturbed.folder).locked(), pytest.raises(RunError, match="in use by another process"):
        search(config(undisturbed.folder.parent, trials=25), VALLEY)


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_that_ship_fit_their_agents(name: str) -> None:
    """Every file of configs/search fits an experiment with its agent, and the sum of all its ends."""
    agents = {
        "ppo": "lost_sales_ppo",
        "sac": "five_site_sac",
        "dqn": "lost_sales_dqn",
        "pathwise": "lost_sales_pathwise",
    }
    words = [f"experiment={agents[name]}", f"search={name}"]
    found = parse(TuneConfig, compose("tune", words))
    check_search(found)
    assert found.search.description
    for pick in (0, -1):
        values = {key: parameter.ends()[pick] for key, parameter in found.search.parameters.items()}
        train_config(found, values, 0)
    if name == "sac":
        check_search(parse(TuneConfig, compose("tune", ["experiment=five_site_td3", "search=sac"])))


def test_a_trial_is_trained_and_measured_on_the_tuning_seeds(tmp_path: Path) -> None:
    """A job's costs are those of its run on the block of tuning seeds, not on the evaluation's."""
    data = train_config(config(tmp_path, "training.steps=512", "tuning.seed=3"), {"agent.net_arch": [8]}, 5)
    request = {"config": data.model_dump(mode="json"), "folder": str(tmp_path / "r"), "tuned": str(tmp_path / "t")}
    costs = tuning_costs(request)
    run = load_run(tmp_path / "r")
    assert run.config == data
    on = {
        purpose: measure_evaluation(
            run.policy, run.task, data.evaluation.model_copy(update={"seed": 3}), purpose=purpose
        ).cost.tolist()
        for purpose in (Purpose.TUNING, Purpose.EVALUATION)
    }
    assert costs == on[Purpose.TUNING] != on[Purpose.EVALUATION]
    assert tuning_costs(request) == costs  # finished: measured again, not trained again


def test_a_search_meets_a_scenario(tmp_path: Path) -> None:
    """It is part of what is searched on: of every trial, and of the definition that a second start must share."""
    ends = ["env.finite=true", "env.horizon=20", "scenario=demand_surge", "scenario.surges.surge.start=4"]
    one = config(tmp_path, *ends, trials=1)
    assert train_config(one, {}, 0).scenario == one.scenario
    search(one, VALLEY)
    kept = yaml.safe_load((tmp_path / "s" / "search.yaml").read_text())
    assert kept["network_hash"] != compiled_network(one.network, one.env).content_hash()
    with pytest.raises(ConfigError, match=r"scenario\.surges\.surge\.start: 4 there, 5 now"):
        search(config(tmp_path, *ends[:-1], "scenario.surges.surge.start=5", trials=1), VALLEY)
    with pytest.raises(ConfigError, match="are not among those that are measured"):
        check_search(config(tmp_path, "scenario=demand_surge", "evaluation.warm_up=104"))
    with pytest.raises(ConfigError, match=r"'scenario\.name' says what is to be learned"):
        check_search(config(tmp_path, space={"scenario.name": {"kind": "categorical", "choices": ["a", "b"]}}))


def test_routing_is_searched(tmp_path: Path) -> None:
    """A trial of a liner network in a scenario is trained and measured there."""
    words = ["network=baltic", "env=routing", "env.horizon=7", "scenario=dear_fuel", "search=ppo"]
    few = ["training=smoke", "training.steps=64", "training.replicas=4", "evaluation=smoke", "evaluation.paths=4"]
    found = parse(TuneConfig, compose("tune", [*words, *few, "agent.parameters.n_steps=16"]))
    data = train_config(found, {"agent.net_arch": [8]}, 5)
    assert data.env.routing.scenario == "dear_fuel"
    costs = tuning_costs(
        {"config": data.model_dump(mode="json"), "folder": str(tmp_path / "r"), "tuned": str(tmp_path / "t")}
    )
    assert len(costs) == 4
    assert load_run(tmp_path / "r").config.scenario.name == "dear_fuel"


def test_the_winner_alone_is_reported_on_fresh_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real search from the command line: two trials, the winner trained on seeds no trial had, compared with the
    best constant and base-stock on the evaluation seeds. A second start has nothing left to do.
    """
    short = ["training.steps=256", "agent.parameters.n_steps=16", "trials=2", "fresh=2", "training.seed=7"]
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text(yaml.safe_dump({"parameters": SPACE}))
    words = [*PROBLEM, *short, "search=mine", f"hydra.searchpath=[file://{tmp_path}]", f"output={tmp_path}", "name=w"]
    monkeypatch.setattr(sys, "argv", ["tune", *words])
    main()
    shown = capsys.readouterr().out
    folder = tmp_path / "w"
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert f"best: trial {best['trial']}" in shown
    assert "(optimistic)" in shown
    for word in best["words"]:
        assert word in shown
    tried = {RunFolder(path).info()["seeds"]["training"] for path in (folder / "runs").iterdir()}
    winners = [RunFolder(path) for path in sorted((folder / "winner").iterdir())]
    fresh = {run.info()["seeds"]["training"] for run in winners}
    assert tried == {world_seed(Purpose.TRAINING, seed) for seed in (7, 8, 9)}
    assert fresh == {world_seed(Purpose.TRAINING, seed) for seed in (10, 11)}
    for run in winners:
        assert run.config().agent.net_arch == best["parameters"]["agent.net_arch"]
        assert run.info()["seeds"]["evaluation"] == world_seed(Purpose.EVALUATION, 0)
    (results,) = (folder / "results").iterdir()
    data = json.loads((results / "comparison.json").read_text())
    assert {"ppo", "constant", "base_stock"} == set(data["contenders"])
    assert data["contenders"]["ppo"]["training_seeds"] == [10, 11]
    assert (results / "report.html").is_file()
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in {".zip", ".json", ".html"}}
    assert tune(parse(TuneConfig, compose("tune", words))).table in shown
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())


def test_without_optuna_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tune", *PROBLEM])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "error: tuning an agent needs the package optuna: pip install 'cogtwin[tune]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", "--help"])
    tune_module.main()
    assert "search=" + "|".join(SEARCHES) in capsys.readouterr().out
