"""Training leaves a complete folder, whatever ends it, and goes on from there."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from agents.evaluation import measure
from agents.learners import checkpoint
from experiments import train as train_module
from experiments.cli import compose
from experiments.config import EvaluateConfig, NetworkConfig, TrainConfig, parse
from experiments.contenders import grouped, load_runs
from experiments.evaluate import evaluate
from experiments.loading import load_run
from experiments.problems import baseline_problem
from experiments.runs import RunFolder
from experiments.train import TrainResult, main, train
from tests.experiments.conftest import FAST
from tests.experiments.test_config import EXPERIMENTS
from twin import library
from twin.errors import NetworkError, RunError
from twin.network import Network
from twin.seeds import Purpose, world_seed

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "config.yaml",
    "run.json",
    "progress.csv",
    "tensorboard",
    "evaluations.npz",
    "best",
    "last",
    "checkpoint",
    "baselines.json",
    "network.yaml",
}
#: One short rollout after another: many safe points a second.
TINY = [
    "network=lost_sales_zipkin2008",
    "agent.parameters.n_steps=16",
    "agent.parameters.batch_size=128",
    "training.evaluate_every=512",
    "training.checkpoint_every=256",
    "training.steps=1024",
]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def counters(folder: Path) -> list[int]:
    return [int(row["time/total_timesteps"]) for row in rows(folder) if row["time/total_timesteps"]]


def resume(folder: Path, extend: int = 0) -> TrainResult:
    return train(TrainConfig(network=NetworkConfig(name="unused"), resume=str(folder), extend=extend))


def set_budget(folder: Path, steps: int) -> None:
    """Shorten the stored budget, so that a test does not train for hours."""
    data = yaml.safe_load((folder / "config.yaml").read_text())
    data["training"]["steps"] = steps
    (folder / "config.yaml").write_text(yaml.safe_dump(data))


@contextmanager
def running(output: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A real training process with an endless budget, past its first safe points; and its folder."""
    more = [*FAST, *TINY, "training.steps=100000000", f"output={output}"]
    command = [sys.executable, "-m", "experiments.train", *words, *more]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            found = list(output.glob("run/*/progress.csv"))
            if found and len(found[0].read_text().splitlines()) > 6:
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        (folder,) = output.glob("run/*")
        yield process, folder
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains(name: str, tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """Each experiment file trains in its fast form and leaves every part of a run folder."""
    # An experiment file sets its own budget, which wins over training=smoke.
    short = [
        "training.steps=2048",
        "training.replicas=16",
        "training.evaluate_every=1024",
        "training.validation.paths=4",
    ]
    result = train(fast(tmp_path, f"experiment={name}", *short))
    assert result.status == "finished"
    assert result.timesteps >= 2048
    assert np.isfinite(result.best_cost)
    assert result.folder.parent == tmp_path / name
    assert {path.name for path in result.folder.iterdir()} - {".lock"} == PARTS
    run = load_run(result.folder)
    observation = run.task.observation_space.sample()
    assert run.task.action_space.contains(np.asarray(run.policy.predict(observation)[0]))


def test_a_residual_corrects_the_policy_it_names(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """In the echelon mode the tuned safety amounts are the centre, in the run and when it is loaded, and in the table.

    The zero action then costs exactly what the tuned policy does.
    """
    result = train(fast(tmp_path, "network=three_stage_serial", "env=three_stage", "training.steps=1024"))
    stored = json.loads((result.folder / "baselines.json").read_text())
    assert list(stored) == ["constant", "base_stock", "echelon_base_stock"]
    run = load_run(result.folder)
    tuned = run.tuned["echelon_base_stock"]
    assert run.task.codec.mode == "echelon"
    assert run.task.codec.center.tolist() == list(stored["echelon_base_stock"]["parameters"].values())
    policy, task = baseline_problem(run.compiled, run.config.env, tuned)
    rng = {"seed": 5, "paths": 4, "periods": 30, "warm_up": 0}
    np.testing.assert_allclose(measure(Zero(3), run.task, **rng).cost, measure(policy, task, **rng).cost, rtol=1e-6)
    data = ["evaluation=smoke", "tuning=smoke", f"run={result.folder}", f"output={tmp_path / 'table'}"]
    table = evaluate(parse(EvaluateConfig, compose("evaluate", data)))
    assert [row.policy for row in table.rows] == ["ppo", *stored]
    assert list(table.rows[0].differences) == list(stored)


class Zero:
    """The zero action for a number of arcs."""

    def __init__(self, arcs: int) -> None:
        self.arcs = arcs

    def predict(self, observation: np.ndarray[Any, Any], state: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        return np.zeros((len(observation), self.arcs), dtype=np.float32), state


def test_a_finished_folder_is_complete(finished: TrainResult) -> None:
    """Status, seeds, versions and durations; loadable models; validation history; tuned policies; the network."""
    folder = finished.folder
    info = json.loads((folder / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["algorithm"] == "ppo"
    assert info["timesteps"] == finished.timesteps == 2048
    assert info["best_validation_cost"] == finished.best_cost
    assert info["seeds"] == {
        "training": world_seed(Purpose.TRAINING, 0),
        "tuning": world_seed(Purpose.TUNING, 0),
        "validation": world_seed(Purpose.VALIDATION, 0),
        "evaluation": world_seed(Purpose.EVALUATION, 0),
    }
    assert len(set(info["seeds"].values())) == 4
    assert {"python", "numpy", "torch", "stable-baselines3"} <= info["versions"].keys()
    assert info["durations_s"]["total"] >= info["durations_s"]["learning"] > 0
    assert info["network"] == "five_site_distribution"
    assert Network.load(folder / "network.yaml").name == "five_site_distribution"
    assert set(json.loads((folder / "baselines.json").read_text())) == {"constant", "base_stock"}
    with np.load(folder / "evaluations.npz", allow_pickle=False) as data:
        assert data["timesteps"].tolist() == [0, 1024, 2048]
        assert -data["results"].mean(axis=1).max() == pytest.approx(finished.best_cost)
    for part in ("best", "last"):
        assert sorted(path.name for path in (folder / part).iterdir()) == ["model.zip", "normalisation.npz"]
        assert load_run(folder, model=part).model.num_timesteps <= 2048
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert (folder / "checkpoint" / "progress.json").is_file()
    assert counters(folder) == [0, 512, 1024, 1536, 2048]
    columns = set().union(*(row.keys() for row in rows(folder)))
    assert {"eval/cost", "eval/fill_rate", "train/loss", "train/explained_variance", "time/fps"} <= columns


def test_tensorboard_and_csv_say_the_same(finished: TrainResult) -> None:
    """Every scalar of the TensorBoard events stands in progress.csv with the same value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    table = rows(finished.folder)
    assert {"eval/cost", "train/loss"} <= set(tags)
    for tag in tags:
        logged = [float(row[tag]) for row in table if row.get(tag)]
        np.testing.assert_allclose([event.value for event in events.Scalars(tag)], logged, rtol=1e-5)


def test_every_row_says_when_it_was(finished: TrainResult) -> None:
    """Each row of progress.csv has its number of steps, also the one of the last validation."""
    assert all(row["time/total_timesteps"] for row in rows(finished.folder))


def test_training_runs_on_its_own_block_of_seeds(
    tmp_path: Path, fast: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The world that is trained in has the seed that run.json names."""
    worlds = []

    class Watched(train_module.TwinVecEnv):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            worlds.append(self)

    monkeypatch.setattr(train_module, "TwinVecEnv", Watched)
    result = train(fast(tmp_path, *TINY, "training.seed=3"))
    used = set(worlds[0].batch.twin.state.seed.tolist())
    assert used == {RunFolder(result.folder).info()["seeds"]["training"]} == {world_seed(Purpose.TRAINING, 3)}


def test_the_same_seed_trains_the_same_model(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """Two runs of one configuration have identical logs (time aside), weights and tuned policies; no other seed has."""
    folders = [train(fast(tmp_path, *TINY, f"training.seed={seed}")).folder for seed in (1, 1, 2)]
    histories = [np.load(folder / "evaluations.npz")["results"] for folder in folders]
    np.testing.assert_array_equal(histories[0], histories[1])
    assert not np.array_equal(histories[0], histories[2])
    tuned = [(folder / "baselines.json").read_text() for folder in folders]
    assert tuned[0] == tuned[1] == tuned[2]
    logs = [
        [
            {name: text for name, text in row.items() if name == "time/total_timesteps" or not name.startswith("time/")}
            for row in rows(folder)
        ]
        for folder in folders
    ]
    assert logs[0] == logs[1] != logs[2]
    assert "train/loss" in logs[0][0]
    for part in ("best", "last"):
        first, second, other = (load_run(folder, model=part) for folder in folders)
        for name, weights in first.model.policy.state_dict().items():
            assert torch.equal(weights, second.model.policy.state_dict()[name]), name
        np.testing.assert_array_equal(first.normalise.obs_rms.mean, second.normalise.obs_rms.mean)
        assert not all(
            torch.equal(weights, other.model.policy.state_dict()[name])
            for name, weights in first.model.policy.state_dict().items()
        )


def test_a_finished_run_is_not_resumed_by_default(finished: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """resume=<folder> alone asks for no more steps: the command line's default budget is not the run's."""
    asked = []

    def watch(config: TrainConfig, *_: Any, **__: Any) -> TrainResult:
        asked.append(config.training.steps)
        raise RunError("watched")

    monkeypatch.setattr(train_module, "_run", watch)
    config = parse(TrainConfig, compose("train", [f"resume={finished.folder}"]))
    with pytest.raises(RunError):
        train(config)
    assert asked in ([], [2048])


def test_resuming_a_finished_run_is_refused_and_changes_nothing(
    tmp_path: Path, fast: Callable[..., TrainConfig]
) -> None:
    """Without more steps it is a RunError, and the folder still says finished; with more steps it goes on."""
    folder = train(fast(tmp_path, *TINY)).folder
    before = counters(folder)
    with pytest.raises(RunError, match="has finished its 1,024 steps"):
        resume(folder)
    assert RunFolder(folder).info()["status"] == "finished"
    result = resume(folder, extend=512)
    assert (result.status, result.timesteps) == ("finished", 1536)
    after = counters(folder)
    assert after[: len(before)] == before
    assert after == sorted(set(after))
    assert after[-1] == 1536


def test_a_run_without_progress_stops_and_can_be_extended(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """With patience, evaluations that bring nothing better end a run early; only extend= takes it further, and then
    patience begins anew.
    """
    still = ["agent=pathwise", "agent.parameters.learning_rate=1e-12", "agent.parameters.n_steps=20"]
    paced = ["training.replicas=4", "training.steps=8000", "training.evaluate_every=80", "training.patience=2"]
    folder = train(fast(tmp_path, "network=lost_sales_zipkin2008", *still, *paced)).folder
    info = RunFolder(folder).info()
    assert (info["status"], info["ended_by"]) == ("finished", "patience")
    assert info["timesteps"] <= 400
    with pytest.raises(RunError, match="because nothing got better"):
        resume(folder)
    assert RunFolder(folder).info()["timesteps"] == info["timesteps"]
    assert resume(folder, extend=80).timesteps >= info["timesteps"] + 160
    assert RunFolder(folder).info()["durations_s"]["total"] > info["durations_s"]["total"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """A signal: status interrupted, models that load, exit code 0; resumed, the counters continue without a gap."""
    with running(tmp_path) as (process, folder):
        with pytest.raises(RunError, match="in use"):
            resume(folder)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 0
    info = RunFolder(folder).info()
    assert info["status"] == "interrupted"
    for part in ("best", "last"):
        run = load_run(folder, model=part)
        assert np.isfinite(run.policy.predict(run.task.observation_space.sample())[0]).all()
    saved = json.loads((folder / "checkpoint" / "progress.json").read_text())["timesteps"]
    before = counters(folder)
    assert before[-1] <= saved
    set_budget(folder, saved + 512)
    result = resume(folder)
    assert (result.status, result.timesteps) == ("finished", saved + 512)
    after = counters(folder)
    assert after == list(range(0, saved + 513, 128))
    assert RunFolder(folder).info()["durations_s"]["total"] > info["durations_s"]["total"]


@pytest.mark.parametrize("moment", ["at once", "later", "while a checkpoint is written"])
def test_a_killed_run_goes_on(moment: str, tmp_path: Path) -> None:
    """Kill -9 at a random moment of training leaves a folder that resume= accepts and finishes.

    Every single moment of a checkpoint's writing is tried in tests/agents/test_learning.py.
    """
    with running(tmp_path) as (process, folder):
        if moment == "later":  # the process itself is at a random place in its loop
            time.sleep(0.34)
        elif moment != "at once":
            deadline = time.monotonic() + 30
            while not (folder / "checkpoint.new" / "model.zip").is_file():
                assert time.monotonic() < deadline
        process.kill()
        process.communicate(timeout=60)
    assert RunFolder(folder).info()["status"] == "running"
    saved = json.loads((checkpoint.latest(folder / "checkpoint") / "progress.json").read_text())["timesteps"]
    set_budget(folder, saved + 256)
    result = resume(folder)
    assert (result.status, result.timesteps) == ("finished", saved + 256)
    assert counters(folder) == list(range(0, saved + 257, 128))


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["tune_all", "build"])
def test_a_run_killed_before_training_starts_over(
    moment: str, tmp_path: Path, fast: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends before the first checkpoint leaves a folder that resume= trains from the beginning."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_module, moment, die)
        with pytest.raises(Killed):
            train(fast(tmp_path, *TINY))
    (folder,) = tmp_path.glob("run/*")
    result = resume(folder)
    assert (result.status, result.timesteps) == ("finished", 1024)


def test_an_interrupt_while_tuning_is_recorded(
    tmp_path: Path, fast: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before there is a model leaves status interrupted, and resume= trains from the beginning."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "tune_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(fast(tmp_path, *TINY))
    (folder,) = tmp_path.glob("run/*")
    assert RunFolder(folder).info()["status"] == "interrupted"
    assert resume(folder).status == "finished"


@pytest.mark.parametrize("rollout", [4, 5])
def test_a_crash_in_training_is_recorded(
    rollout: int, tmp_path: Path, fast: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while learning leaves status failed, passes on, and the run can be resumed from its checkpoint."""
    calls = []
    log = train_module.CostLog._on_rollout_end

    def fail(self: Any) -> None:
        calls.append(1)
        if len(calls) == rollout:
            raise MemoryError("no memory left")
        log(self)

    with monkeypatch.context() as patch:
        patch.setattr(train_module.CostLog, "_on_rollout_end", fail)
        with pytest.raises(MemoryError):
            train(fast(tmp_path, *TINY))
    (folder,) = tmp_path.glob("run/*")
    assert RunFolder(folder).info()["status"] == "failed"
    assert resume(folder).status == "finished"
    assert counters(folder) == list(range(0, 1025, 128))
    # Every validation stands in the log once, also one made just before the checkpoint that was gone back to.
    with np.load(folder / "evaluations.npz") as data:
        assert data["timesteps"].tolist() == [0, 512, 1024]
        logged = [float(row["eval/cost"]) for row in rows(folder) if row["eval/cost"]]
        assert logged == pytest.approx((-data["results"]).mean(axis=1).tolist())


def test_a_changed_network_is_not_resumed(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """When the network file has changed since, resuming is a RunError that says so."""
    path = tmp_path / "mine.yaml"
    network = library.load("lost_sales_zipkin2008")
    network.save(path)
    folder = train(fast(tmp_path, *TINY, "network=file", f"network.name={path}")).folder
    data = network.to_dict()
    data["demands"]["customers"]["penalty"] = 5.0
    Network.parse(data).save(path)
    with pytest.raises(RunError, match="has changed"):
        resume(folder, extend=1024)


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    """A missing folder is a RunError."""
    with pytest.raises(RunError, match="no run folder"):
        resume(tmp_path / "none")


def test_an_unknown_network_leaves_no_folder(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """A misspelt network is refused with its nearest match before a run folder is made."""
    with pytest.raises(NetworkError, match="did you mean 'serial_chain'"):
        train(fast(tmp_path, "network=file", "network.name=serial_chian"))
    assert not list(tmp_path.glob("run/*"))


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: Callable[[], None], *words: str
) -> tuple[int, str, str]:
    """Run a command's main in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["command", *words])
    code = 0
    try:
        call()
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["+typo=1"], ["unknown key 'typo'", "allowed"]),
        (["+training.stps=5"], ["did you mean 'steps'"]),
        (["training.stps=5"], ["stps"]),
        (["network=file", "network.name=serial_chian"], ["'serial_chian'", "did you mean 'serial_chain'"]),
        (["network=serial_chian"], ["serial_chian", "serial_chain"]),
        (["resume=no/such/folder"], ["no run folder no/such/folder"]),
    ],
)
def test_wrong_arguments_end_with_code_2(
    words: list[str],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A usage error is a message on stderr without a traceback, exit code 2, and nothing written."""
    monkeypatch.chdir(tmp_path)
    code, _, err = command(monkeypatch, capsys, main, *words)
    for part in parts:
        assert part in err
    assert "Traceback" not in err
    assert code == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_help_lists_the_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--help names the groups with their options and ends with code 0."""
    code, out, _ = command(monkeypatch, capsys, main, "--help")
    assert code == 0
    assert "agent=a2c|dqn|imitation|maskable_ppo|pathwise|ppo|ppo_residual|ppo_routing|ppo_switching|sac|td3" in out


def test_the_command_says_where_the_run_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run from the command line ends with its status and folder, and writes nowhere else."""
    monkeypatch.chdir(tmp_path)
    code, out, _ = command(monkeypatch, capsys, main, *FAST, *TINY)
    assert code == 0
    assert out.startswith("finished after 1,024 steps")
    (folder,) = tmp_path.glob("runs/run/*")
    assert f"run folder: {folder.relative_to(tmp_path)}" in out
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_sweep_is_a_run_for_each_combination(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """-m with two seeds and two sizes: four finished runs, one for each, that compare takes as two policies."""
    monkeypatch.chdir(tmp_path)
    words = ["-m", *FAST, *TINY, "training.steps=256", "training.seed=0,1", "agent.net_arch=[4],[8]"]
    code, out, _ = command(monkeypatch, capsys, main, *words)
    assert (code, out.count("finished after 256 steps")) == (0, 4)
    runs = load_runs([str(tmp_path / "runs")])
    assert {(run.config.training.seed, *run.config.agent.net_arch) for run in runs} == {(0, 4), (0, 8), (1, 4), (1, 8)}
    assert [len(one.members) for one in grouped(runs)] == [2, 2]


def test_a_sweep_with_a_wrong_run_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third of three runs is wrong: it is named, and the first has not run."""
    monkeypatch.chdir(tmp_path)
    words = [*FAST, *TINY, f"output={tmp_path / 'runs'}", "training.seed=0,1,-1"]
    monkeypatch.setattr(sys, "argv", ["train", "-m", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "nothing has run" in error
    assert "training.seed=-1: " in error
    assert "training.seed=0" not in error
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_the_whole_sweep(tmp_path: Path) -> None:
    """Ctrl-C in the first run of a sweep: it stops at a safe point, and the second is not begun."""
    sweep = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    with running(tmp_path, "-m", "training.seed=0,1", sweep) as (process, folder):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert RunFolder(folder).info()["status"] == "interrupted"
    assert len(list(tmp_path.glob("run/*"))) == 1
