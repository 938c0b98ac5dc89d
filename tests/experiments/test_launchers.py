"""Work done by several processes or by Ray is the work done by one, whatever happens to the workers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import configs
from experiments.benchmark import benchmark
from experiments.benchmark_config import BenchmarkConfig
from experiments.cli import compose
from experiments.config import CompareConfig, EvaluateConfig, LauncherConfig, parse
from experiments.contenders import grouped, measure_contenders
from experiments.evaluate import evaluate
from experiments.evaluate import main as evaluate_main
from experiments.launchers import Job, Outcome, Serial, make_launcher, several
from experiments.launchers.processes import Processes
from experiments.loading import load_run
from experiments.monte_carlo import BLOCK, measure_blocks
from experiments.runs import RunFolder
from experiments.train import TrainResult
from experiments.training_work import train_at
from tests.experiments.launched import descendants, open_files
from tests.experiments.test_benchmark import LOST_SALES, suite
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.experiments.launched"
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'cogtwin[ray]'")


def outcomes(launcher: Any, jobs: list[Job]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    launcher.run(several(jobs), lambda job, outcome: found.update({job.name: outcome}))
    return found


def wait_for(found: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 120.0) -> Any:
    """What ``found`` gives as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_processes_return_what_one_process_does(tmp_path: Path) -> None:
    """Numbers to the last bit, errors as the same sentences; what has ended can bring new jobs."""
    jobs = [Job(f"n{k}", f"{HERE}:numbers", {"k": k}) for k in range(3)]
    jobs += [Job(kind, f"{HERE}:fails", {"kind": kind}) for kind in ("ours", "theirs")]
    here, there = outcomes(Serial(), jobs), outcomes(Processes(2, tmp_path, retries=0), jobs)
    assert set(here) == set(there) == {job.name for job in jobs}
    for name in here:
        assert (here[name].value, here[name].error) == (there[name].value, there[name].error)
    assert there["ours"].error == "nothing to be had"
    assert there["theirs"].error == "ZeroDivisionError: by zero"
    assert "by zero" in there["theirs"].details
    rest, seen = [Job("a", f"{HERE}:numbers", {"k": 0})], []

    def ended(job: Job, _: Outcome) -> None:
        seen.append(job.name)
        if job.name == "a":
            rest.append(Job("b", f"{HERE}:numbers", {"k": 1}))

    Processes(2, tmp_path, retries=0).run(lambda: rest.pop() if rest else None, ended)
    assert seen == ["a", "b"]


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """Kill -9 of the process of a job: another one does it. One that always dies is an outcome with its last words."""
    mark = tmp_path / "mark"
    jobs = [Job("hangs", f"{HERE}:hangs_once", {"mark": str(mark)}), Job("dies", f"{HERE}:dies", {})]

    def ended(job: Job, outcome: Outcome) -> None:
        found[job.name] = outcome
        if job.name == "dies":
            os.kill(int(wait_for(lambda: mark.is_file() and mark.read_text().split())[0]), signal.SIGKILL)

    found: dict[str, Outcome] = {}
    Processes(2, None, retries=1).run(several(jobs), ended)
    assert found["hangs"] == Outcome(2)
    assert len(set(mark.read_text().split())) == 2
    assert found["dies"].error == "its process ended with code 7 (2 times); it said last:\nso long\nso long\n"


def test_an_interrupt_stops_the_workers(tmp_path: Path) -> None:
    """An interrupt while processes work stops all of them and goes on."""
    marks = [tmp_path / "a", tmp_path / "b"]
    jobs = [Job(mark.name, f"{HERE}:hangs_once", {"mark": str(mark)}) for mark in marks]
    jobs.insert(1, Job("first", f"{HERE}:numbers", {"k": 0}))

    def ended(*_: Any) -> None:
        wait_for(lambda: marks[0].is_file() and marks[0].read_text())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Processes(2, tmp_path, retries=2).run(several(jobs), ended)
    pid = int(marks[0].read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_launchers_are_chosen_by_name() -> None:
    """Every file of the group is a launcher; the command line and Python mean the same; wrong ones are refused."""
    files = sorted(path.stem for path in (Path(str(configs.__file__)).parent / "launcher").glob("*.yaml"))
    assert files == ["processes", "ray", "serial"]
    for name in files:
        for command, schema in (("evaluate", EvaluateConfig), ("compare", CompareConfig)):
            config = parse(schema, compose(command, [f"launcher={name}", "network=serial_chain"]))
            assert config.launcher == LauncherConfig(kind=name)  # type: ignore[arg-type]
    assert isinstance(make_launcher(LauncherConfig(kind="serial"), 1), Serial)
    assert isinstance(make_launcher(LauncherConfig(), 1), Serial)
    assert isinstance(make_launcher(LauncherConfig(), 2), Processes)
    with pytest.raises(ConfigError, match="jobs: launcher=serial does one at a time, received 2"):
        make_launcher(LauncherConfig(kind="serial"), 2)
    with pytest.raises(ConfigError, match=r"launcher\.kind: .*did you mean 'processes'"):
        parse(EvaluateConfig, compose("evaluate", ["policy=constant", "launcher.kind=process"]))


def test_without_ray_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'cogtwin\[ray\]'"):
        make_launcher(LauncherConfig(kind="ray"), 2)
    monkeypatch.setattr(sys, "argv", ["evaluate", "policy=constant", "launcher=ray"])
    with pytest.raises(SystemExit) as ended:
        evaluate_main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.endswith("error: launcher=ray needs the package ray: pip install 'cogtwin[ray]'\n")
    assert "Traceback" not in error


def test_shards_are_the_whole_bit_for_bit(finished: TrainResult, tmp_path: Path) -> None:
    """A learned policy and the classical ones on 300 paths: two processes give exactly what one gives.

    A network of neurons rounds otherwise when fewer paths are asked about together, which is why blocks are fixed.
    """
    words = [f"run={finished.folder}", "evaluation=smoke", "evaluation.paths=300"]
    here, there = (
        evaluate(parse(EvaluateConfig, compose("evaluate", [*words, f"output={tmp_path / name}", *more])))
        for name, more in (("here", []), ("there", ["jobs=2"]))
    )
    assert list(here.costs) == list(there.costs)
    for name in here.costs:
        np.testing.assert_array_equal(here.costs[name], there.costs[name])
    assert here.to_dict() == there.to_dict()
    assert (tmp_path / "here" / "comparison.json").read_text() == (tmp_path / "there" / "comparison.json").read_text()


def test_paths_are_the_same_wherever_a_shard_begins(finished: TrainResult) -> None:
    """Blocks from the second on are the end of the whole, and a path is that of its number."""
    run = load_run(finished.folder)
    options: dict[str, Any] = {"seed": world_seed(Purpose.EVALUATION, 0), "periods": 4, "warm_up": 2}
    whole = measure_blocks(run.policy, run.task, paths=BLOCK + 70, **options)
    end = measure_blocks(run.policy, run.task, paths=70, first=BLOCK, **options)
    np.testing.assert_array_equal(whole.cost[BLOCK:], end.cost)
    np.testing.assert_array_equal(whole.terms[:, BLOCK:], end.terms)
    assert len(np.unique(whole.cost)) > BLOCK


def test_a_shard_that_fails_ends_the_evaluation(finished: TrainResult) -> None:
    """A run whose folder is gone where the worker looks is an error with the name of the shard."""
    (contender,) = grouped([load_run(finished.folder)])
    contender.origins[0]["run"] = "nowhere"
    config = parse(EvaluateConfig, compose("evaluate", ["policy=constant", "evaluation=smoke"]))
    with pytest.raises(RunError, match="evaluation, paths-0: no run folder nowhere"):
        measure_contenders([contender], config.evaluation, Processes(2, None, retries=0), 2)


def environment() -> dict[str, str]:
    """Of a command in a process of its own, without a Ray that somebody may have."""
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}


def sweep(folder: Path, *words: str, **changes: Any) -> subprocess.Popen[str]:
    """A benchmark of a suite of its own, in a process (group) of its own."""
    (folder / "suite").mkdir(exist_ok=True)
    (folder / "suite" / "mine.yaml").write_text(yaml.safe_dump(suite(**changes)))
    command = [sys.executable, "-m", "experiments.benchmark", "suite=mine", "jobs=2", *words]
    return subprocess.Popen(
        [*command, f"hydra.searchpath=[file://{folder}]", f"output={folder}"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


#: A classical policy, and two seeds of an agent that trains for some seconds.
SLOW = {
    "cells": [{**LOST_SALES, "parameters": {"lead_time": 1}}],
    "entries": [
        {"policy": "base_stock"},
        {
            "agent": "ppo",
            "seeds": [0, 1],
            "overrides": ["training.steps=6144", "training.checkpoint_every=256", "agent.parameters.n_steps=16"],
        },
    ],
}
RESULTS = ("cost", "bounds", "states", "costs", "timesteps", "optimum")


def items(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "tiny" / "items").glob("*.json")}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What of the items says what was found."""
    return {name: {key: item.get(key) for key in RESULTS} for name, item in items(folder).items()}


def trainer(folder: Path, process: subprocess.Popen[str]) -> int | None:
    """The worker of a training that has some checkpoints behind it: it holds the lock of its run folder."""
    for path in folder.glob("tiny/runs/*/progress.csv"):
        if path.read_text().count("\n") > 12:
            for pid in descendants(process.pid):
                if str(path.parent / ".lock") in open_files(pid):
                    return pid
    return None


def in_this_process(folder: Path) -> dict[str, dict[str, Any]]:
    """The same suite, one item after another."""
    data = {"suite": suite(**SLOW), "output": str(folder)}
    assert benchmark(parse(BenchmarkConfig, data)).failed == {}
    return results(folder)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Results of the slow suite, done by one process that nobody disturbs."""
    return in_this_process(tmp_path_factory.mktemp("serial"))


def test_a_killed_sweep_repeats_nothing(serial: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Kill -9 of the whole process group, and of its workers: the next start keeps what is finished and resumes the
    rest, and the results are those of a sweep that nobody disturbed.
    """
    process = sweep(tmp_path, **SLOW)
    try:
        wait_for(lambda: items(tmp_path), process)
        wait_for(lambda: trainer(tmp_path, process), process)
        below = descendants(process.pid)
        workers = [pid for pid, command in below.items() if "experiments.launchers.worker" in command]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert workers
    for pid in workers:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    before, starts = items(tmp_path), starts_of_trainings(tmp_path)
    assert 0 < len(before) < len(serial)
    assert in_this_process(tmp_path) == serial
    after = items(tmp_path)
    assert {name: after[name] for name in before} == before
    now = starts_of_trainings(tmp_path)
    assert any(now[name] == count + 1 for name, count in starts.items())


def starts_of_trainings(folder: Path) -> dict[str, int]:
    """How often each training was started or went on; it writes into a new file every time."""
    return {path.parent.name: len(list(path.iterdir())) for path in folder.glob("tiny/runs/*/tensorboard")}


def test_a_training_waits_for_a_worker_that_is_still_stopping(finished: TrainResult, tmp_path: Path) -> None:
    """The workers of a command that was killed end at their next safe point; until then they hold their run folders."""
    run, held = RunFolder(finished.folder), []

    def leave() -> None:
        with run.locked():
            held.append(time.monotonic())
            time.sleep(0.5)

    thread = threading.Thread(target=leave)
    thread.start()
    wait_for(lambda: held)
    assert train_at(run.path, run.config(), tmp_path).path == run.path  # it has finished, and is left as it is
    assert time.monotonic() >= held[0] + 0.5
    thread.join()


@needs_ray
def test_ray_does_the_work_of_a_killed_worker_again(serial: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """A local Ray of two workers, one of them killed while it trains: the same results as one process, bit for bit."""
    process = sweep(tmp_path, "launcher=ray", **SLOW)
    below: dict[int, str] = {}
    try:
        worker = wait_for(lambda: trainer(tmp_path, process), process)
        below = descendants(process.pid)
        assert below[worker].startswith("ray::")
        os.kill(worker, signal.SIGKILL)
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, error
    assert results(tmp_path) == serial
    assert sorted(starts_of_trainings(tmp_path).values()) == [1, 2]  # the killed one went on from its checkpoint
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))  # nothing of Ray is left


@needs_ray
def test_ray_shards_an_evaluation(finished: TrainResult, tmp_path: Path) -> None:
    """Paths measured by a local Ray of two workers are those of one process, bit for bit."""
    words = [f"run={finished.folder}", "evaluation=smoke", "evaluation.paths=300"]
    here = evaluate(parse(EvaluateConfig, compose("evaluate", [*words, f"output={tmp_path / 'here'}"])))
    command = [sys.executable, "-m", "experiments.evaluate", *words, f"output={tmp_path / 'there'}"]
    done = subprocess.run(
        [*command, "jobs=2", "launcher=ray"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "comparison.json").read_text() == (tmp_path / "there" / "comparison.json").read_text()
    assert here.costs


@needs_ray
def test_a_ray_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which nobody answers is an error that says so."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    words = ["policy=constant", "network=lost_sales_zipkin2008", "evaluation=smoke", "tuning=smoke", "launcher=ray"]
    with pytest.raises(ConfigError, match=r"launcher: no Ray at RAY_ADDRESS=127\.0\.0\.1:1: .*refused"):
        evaluate(parse(EvaluateConfig, compose("evaluate", words)))
