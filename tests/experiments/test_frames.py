"""What notebooks get: the numbers of the commands as tidy frames, by calls on the package itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import experiments
from agents.baselines.constant import Constant
from agents.evaluation import measure
from envs.inventory import InventoryTask
from experiments.config import TuningConfig
from experiments.train import TrainResult
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

pd = pytest.importorskip("pandas")
SHORT = {"paths": 12, "periods": 10, "warm_up": 5}
QUICK = TuningConfig(restarts=1, generations=2, candidates=8, paths=2, periods=10, warm_up=5)


@pytest.fixture
def task() -> InventoryTask:
    return InventoryTask("lost_sales_zipkin2008", action_mode="orders")


def test_a_frame_holds_what_was_measured(task: InventoryTask) -> None:
    """A row per path, a column per number; cost terms add up; two seeds are two blocks of paths."""
    policy = Constant(task, np.array([4.0]))
    frame = experiments.evaluate(policy, task, seeds=[3, 5], **SHORT)
    assert len(frame) == 24
    assert frame.groupby("seed")["path"].agg(list).to_dict() == {3: list(range(12)), 5: list(range(12))}
    assert frame["policy"].unique().tolist() == ["Constant"]
    measured = measure(policy, task, seed=world_seed(Purpose.EVALUATION, 5), **SHORT)
    assert frame.loc[frame["seed"] == 5, "cost"].to_numpy() == pytest.approx(measured.cost)
    terms = [name for name in frame.columns if name.startswith("cost_")]
    np.testing.assert_allclose(frame[terms].sum(axis=1), frame["cost"])
    assert frame["fill_rate"].between(0.0, 1.0).all()


def test_environments_runs_and_names_can_be_given(finished: TrainResult, task: InventoryTask) -> None:
    """An environment stands for its task, a folder for its run, a name for the tuned classical policy."""
    with gymnasium.make("envs:cogtwin/LostSales-v0", action_mode="orders") as env:
        policy = Constant(env.unwrapped.task, np.array([4.0]))
        a, b = experiments.evaluate(policy, env, **SHORT), experiments.evaluate(policy, task, **SHORT)
    assert a["cost"].tolist() == b["cost"].tolist()
    run = experiments.load_run(finished.folder)
    frame = experiments.evaluate(run, **SHORT)
    assert frame["policy"].unique().tolist() == ["ppo"]
    assert experiments.evaluate(str(finished.folder), **SHORT)["cost"].tolist() == frame["cost"].tolist()
    rule = experiments.evaluate("base_stock", task, tuning=QUICK, **SHORT)
    assert rule["policy"].unique().tolist() == ["base_stock"]


def test_frames_can_be_compared(task: InventoryTask) -> None:
    """Policies one below the other: means, differences and verdict of the same paths, whatever the order of rows."""
    parts = [
        experiments.evaluate(Constant(task, np.array([float(k)])), task, name=f"order {k}", **SHORT) for k in (4, 9)
    ]
    frame = pd.concat(parts).sample(frac=1.0, random_state=0)
    found = experiments.compare(frame, references=["order 4"], resamples=200)
    means = frame.groupby("policy")["cost"].mean()
    assert found.policies.set_index("policy")["cost"].to_dict() == pytest.approx(means.to_dict())
    (line,) = found.differences.to_dict("records")
    assert line["difference"] == pytest.approx(means["order 9"] - means["order 4"])
    assert line["verdict"] == "higher"
    assert line["difference_low"] <= line["difference"] <= line["difference_high"]
    totals = found.terms.groupby("policy")["cost"].sum()
    assert totals.to_dict() == pytest.approx(means.to_dict())
    assert "<table" in found._repr_html_()


def test_runs_are_compared_as_on_the_command_line(seeds: Path) -> None:
    """The same objects behind it, saved with the same files; training seeds are told apart in the paths."""
    found = experiments.compare(
        runs=[seeds], policies=["base_stock"], overrides=["evaluation=smoke", "figures=false", "evaluation.paths=10"]
    )
    assert found.policies["policy"].tolist() == ["ppo", "base_stock"]
    assert found.policies["training_seeds"].tolist() == [2, 1]
    assert found.policies["gap_percent"].notna().all()
    assert found.paths.groupby(["policy", "training_seed"]).size().tolist() == [10, 10, 10]
    assert found.compared is not None
    mean = found.paths.loc[found.paths["policy"] == "ppo", "cost"].mean()
    assert mean == pytest.approx(found.policies["cost"].iloc[0])


def test_a_run_has_its_curves(finished: TrainResult) -> None:
    run = experiments.load_run(finished.folder)
    assert run.progress["steps"].is_monotonic_increasing
    assert {"eval/cost", "rollout/cost"} <= set(run.progress.columns)
    last = run.validation.groupby("steps")["cost"].mean().iloc[-1]
    assert last == pytest.approx(run.progress["eval/cost"].dropna().iloc[-1])


def test_what_cannot_be_compared_is_refused(task: InventoryTask) -> None:
    policy = Constant(task, np.array([4.0]))
    frame = experiments.evaluate(policy, task, name="a", **SHORT)
    other = experiments.evaluate(policy, task, name="b", seeds=1, **SHORT)
    for arguments, options, part in (
        ([], {}, "either a frame"),
        ([frame], {"policies": ["constant"]}, "either a frame"),
        ([pd.concat([frame, other])], {}, "'b' .* on other paths"),
        ([pd.concat([frame, frame])], {}, "twice on the same paths"),
        ([frame], {"references": ["A"]}, "no 'A' in the frame"),
        ([frame.drop(columns="asked")], {}, "no column asked"),
        ([frame.head(0)], {}, "empty"),
    ):
        with pytest.raises(ConfigError, match=part):
            experiments.compare(*arguments, **options)
    with pytest.raises(ConfigError, match="only a run knows its own"):
        experiments.evaluate(policy)
    with pytest.raises(ConfigError, match="received str"):
        experiments.evaluate(policy, "lost_sales")
    with pytest.raises(ConfigError, match="did you mean 'constant'"):
        experiments.evaluate("constnt", task)


def test_commands_are_functions_whatever_is_imported_first() -> None:
    """The module of the command and the function of the package are one, and importing costs nothing."""
    assert callable(experiments.evaluate)
    assert importlib.import_module("experiments.evaluate") is experiments.evaluate
    from experiments.compare import compare as of_a_configuration

    assert callable(experiments.compare)
    assert of_a_configuration.__module__ == "experiments.compare"
    assert {"compare", "evaluate", "load_run", "plots"} <= set(dir(experiments))
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        experiments.evalute  # noqa: B018
    code = "import experiments, sys; print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("seeds", [[], [0, 1, 0]])
def test_the_same_seed_twice_is_refused(task: InventoryTask, seeds: list[int]) -> None:
    """Before anything runs: the same paths twice are no more paths."""
    with pytest.raises(ConfigError, match="seeds: must be one or several different numbers"):
        experiments.evaluate(Constant(task, np.array([4.0])), task, seeds=seeds)


def test_without_pandas_the_error_says_what_to_install(task: InventoryTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'cogtwin\[frames\]'"):
        experiments.evaluate(Constant(task, np.array([4.0])), task, **SHORT)
