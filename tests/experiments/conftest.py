"""What the tests of the commands share: seconds-long configurations, and one finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from experiments.config import TrainConfig
    from experiments.train import TrainResult

FAST = ["training=smoke", "tuning=smoke", "evaluation=smoke"]


def fast_config(output: Path, *overrides: str) -> TrainConfig:
    """A training configuration of seconds, with its runs below a folder."""
    from experiments.cli import compose
    from experiments.config import TrainConfig, parse

    return parse(TrainConfig, compose("train", [*FAST, f"output={output}", *overrides]))


@pytest.fixture
def fast() -> Callable[..., TrainConfig]:
    """Composes a training configuration of seconds."""
    return fast_config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A finished PPO run on the five sites; tests must not change its folder."""
    from experiments.train import train

    output = tmp_path_factory.mktemp("runs")
    return train(fast_config(output, "network=five_site_distribution", "env=inventory_residual", "name=five"))


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two PPO runs on lost sales that differ in the training seed alone; tests must not change it."""
    from experiments.train import train

    output = tmp_path_factory.mktemp("seeds")
    for seed in (0, 1):
        overrides = ["network=lost_sales_zipkin2008", "env=lost_sales", "name=lost", f"training.seed={seed}"]
        train(fast_config(output, "training.steps=512", "agent.parameters.n_steps=16", *overrides))
    return output / "lost"
