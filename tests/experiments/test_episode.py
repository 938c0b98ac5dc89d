"""One episode: the same numbers as a measurement, told in the order in which they happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.baselines.status_switching import StatusSwitching
from agents.evaluation import measure
from envs.switching import SwitchingTask
from experiments.cli import compose
from experiments.config import EpisodeConfig, parse
from experiments.episode import episode
from experiments.episode_text import describe
from experiments.episode_trace import longest_outage, trace
from twin.errors import ConfigError

RULE = {"level[warehouse/item]": 900.0, "patience": 2.0, "recovery": 4.0, "wait[regional]": 27.0, "wait[broker]": 27.0}


def rule_and_task(periods: int = 104) -> tuple[StatusSwitching, SwitchingTask]:
    task = SwitchingTask("prolonged_shortage", action_mode="orders", rule=RULE, finite=True, horizon=periods)
    return StatusSwitching(task, task.rule_parameters), task


def test_a_trace_costs_what_is_measured() -> None:
    policy, task = rule_and_task()
    measured = measure(policy, task, seed=3, paths=5, periods=0, warm_up=0)
    for path in (0, 4):
        found = trace(policy, task, seed=3, paths=5, path=path, periods=104)
        np.testing.assert_allclose(found.costs.sum(axis=0) / 104, measured.terms[:, path])
        assert found.periods == 104
        assert set(found.by_source()) == {"incumbent", "regional", "overseas", "broker"}


def test_the_longest_outage_is_found() -> None:
    policy, task = rule_and_task()
    path = longest_outage(task, seed=3, paths=16, periods=104)

    def longest(k: int) -> int:
        share = trace(policy, task, seed=3, paths=16, path=k, periods=104).availability[:, 0]
        runs = "".join("x" if value < 1.0 else " " for value in share).split()
        return max(map(len, runs), default=0)

    lengths = [longest(k) for k in range(16)]
    assert lengths[path] == max(lengths)


def test_an_outage_that_cuts_a_recovery_short_is_told() -> None:
    policy, task = rule_and_task(12)
    found = trace(policy, task, seed=3, paths=1, path=0, periods=12)
    line = [1.0, 1.0, 0.0, 0.25, 0.5, 0.0, 0.0, 0.25, 0.75, 1.0, 1.0, 1.0]
    lines = describe("rule", replace(found, availability=np.array(line)[:, None])).splitlines()
    told = [text.strip() for text in lines if "incumbent_line" in text]
    assert told == [
        "week 3: incumbent_line falls to 0 %",
        "week 4: incumbent_line begins to recover",
        "week 6: incumbent_line falls to 0 %",
        "week 8: incumbent_line begins to recover",
        "week 10: incumbent_line is back in full",
    ]


def test_words_follow_the_stages() -> None:
    """Every line of a contract is a change of its stage, in order, and orders between two lines are their mean."""
    policy, task = rule_and_task()
    path = longest_outage(task, seed=3, paths=16, periods=104)
    found = trace(policy, task, seed=3, paths=16, path=path, periods=104)
    text = describe("status_switching", found)
    lines = text.splitlines()
    assert lines[0].startswith(f"status_switching: {found.costs.sum():,.0f} EUR in 104 weeks")
    places = [text.index(words) for words in ("falls to 0 %", "starts to qualify overseas", "activates overseas")]
    assert places == sorted(places)
    week = int(next(line for line in lines if "activates overseas" in line).split()[1].rstrip(":"))
    overseas = task.compiled.relations.contracts.index("overseas")
    assert found.stage[week - 1, overseas] == 2
    assert found.stage[week, overseas] == 3
    assert text.count("starts to qualify overseas") == 1


def test_the_command_writes_picture_and_text(tmp_path: Path) -> None:
    overrides = ["policy=status_switching", "network=prolonged_shortage", "env=supplier_switching", "tuning=smoke"]
    config = parse(EpisodeConfig, compose("episode", [*overrides, "path=3", "env.horizon=30"]))
    found = episode(config)
    found.save(tmp_path)
    assert (tmp_path / "episode.png").read_bytes()[:4] == b"\x89PNG"
    assert "status_switching" in (tmp_path / "episode.txt").read_text(encoding="utf-8")
    assert found.path == 3
    with pytest.raises(ConfigError, match="path: must be 0 to 63"):
        episode(config.model_copy(update={"path": 64}))
    with pytest.raises(ConfigError, match="give run="):
        episode(config.model_copy(update={"policy": None}))
