"""Commands as functions of the words of their command line: for notebooks, where a configuration is a few words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import configured
from experiments.config import EpisodeConfig, ExportConfig, TrainConfig

if TYPE_CHECKING:
    from experiments.episode import Episode
    from experiments.train import TrainResult

__all__ = ["episode", "export", "train"]


def train(*words: str) -> TrainResult:
    """What ``python -m experiments.train`` does with the same words.

    Parameters
    ----------
    words
        For example ``"experiment=lost_sales_ppo"``, ``"training.steps=4096"``.

    Raises
    ------
    ConfigError, RunError
        As on the command line, before anything runs.
    """
    from experiments.train import train as run

    return run(configured("train", TrainConfig, words))


def export(*words: str) -> Path:
    """What ``python -m experiments.export`` does with the same words; the bundle's folder."""
    from experiments.export import export as run

    return run(configured("export", ExportConfig, words))


def episode(*words: str) -> Episode:
    """What ``python -m experiments.episode`` does with the same words; nothing is written."""
    from experiments.episode import episode as run

    return run(configured("episode", EpisodeConfig, words))
