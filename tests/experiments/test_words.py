"""Commands as functions of their words, and what notebooks need besides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import experiments
from agents.baselines.base_stock import BaseStock
from envs.inventory import InventoryTask
from experiments.episode import episode_of
from experiments.episode_trace import trace
from experiments.states import states_of_episode
from experiments.train import TrainResult
from twin.errors import ConfigError

SMALL = ["tuning=smoke", "evaluation=smoke"]


def test_commands_take_the_words_of_the_command_line(finished: TrainResult, tmp_path: Path) -> None:
    """The modules of the commands, called: a bundle, a refusal before anything runs, an episode."""
    bundle = experiments.export(f"run={finished.folder}", f"output={tmp_path / 'bundle'}")
    assert (bundle / "manifest.json").is_file()
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        experiments.train("training.step=5", f"output={tmp_path}")
    assert not (tmp_path / "run").exists()
    shown = experiments.episode("policy=constant", "network=lost_sales_zipkin2008", "path=1", "tuning=smoke")
    assert list(shown.traces) == ["constant"]
    assert shown.figure().axes


def test_a_comparison_gives_its_pictures_and_one_of_its_paths() -> None:
    pytest.importorskip("pandas")
    found = experiments.compare(
        policies=["base_stock", "constant"],
        network="five_site_distribution",
        env="inventory",
        overrides=[*SMALL, "env.horizon=12"],
    )
    assert {"costs", "differences", "network", "trajectories"} <= set(found.figures)
    assert found.figures is found.figures
    shown = episode_of(found.compared, path=2)
    assert list(shown.traces) == ["base_stock", "constant"]
    assert {played.periods for played in shown.traces.values()} == {12}
    with pytest.raises(ConfigError, match="path: must be 0 to 63"):
        episode_of(found.compared, path=64)
    with pytest.raises(ConfigError, match="a frame knows no unit"):
        _ = experiments.compare(measured()).figures


def measured() -> object:
    import pandas as pd

    task = InventoryTask("lost_sales_zipkin2008", action_mode="orders")
    rules = {level: BaseStock(task, np.array([level])) for level in (20.0, 25.0)}
    frames = [
        experiments.evaluate(rule, task, paths=4, periods=5, warm_up=2, name=f"up to {level}")
        for level, rule in rules.items()
    ]
    return pd.concat(frames)


def test_states_of_an_episode_are_what_is_seen_on_its_path() -> None:
    """What is on hand in the next state is what an episode recorded by itself has after the period."""
    task = InventoryTask("lost_sales_zipkin2008", action_mode="orders")
    rule = BaseStock(task, np.array([25.0]))
    states = states_of_episode(rule, task, seed=11, periods=9)
    played = trace(rule, task, seed=11, paths=1, path=0, periods=8)
    assert [state["period"] for state in states] == list(range(9))
    assert list(states[0]["observation"]) == [field.name for field in task.fields]
    (name,) = [field.name for field in task.fields if field.name.startswith("on_hand")]
    seen = [state["observation"][name] for state in states[1:]]
    np.testing.assert_allclose(seen, played.stock)
