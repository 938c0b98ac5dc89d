"""Run folders: one per training run, never shared, never overwritten, readable after a crash."""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from experiments.config import TrainConfig, parse
from experiments.folders import held, new_folder
from twin.errors import RunError
from twin.files import read_mapping, write_text

__all__ = ["RunFolder", "versions"]

_PACKAGES = ("numpy", "scipy", "numba", "gymnasium", "stable-baselines3", "torch", "hydra-core", "pydantic")


class RunFolder:
    """A run's folder.

    ``config.yaml`` (resolved), ``run.json`` (status, seeds, versions, git state, durations), ``progress.csv``,
    TensorBoard events in ``tensorboard/``, ``evaluations.npz``, ``best/`` and ``last/`` (model and its own
    normalisation each), ``checkpoint/`` to resume from, ``baselines.json`` (tuned policies), ``network.yaml``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, output: str | Path, name: str, config: TrainConfig | None = None) -> RunFolder:
        """Make a fresh folder; two simultaneous starts get two folders.

        Parameters
        ----------
        config
            Stored in it before it has its name, so that a run killed at any moment can be resumed.
        """
        parent = Path(output) / name
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            path = parent / f"{stamp}-{secrets.token_hex(3)}"
            try:
                if config is None:
                    path.mkdir()
                else:
                    with new_folder(path) as partial:
                        cls(partial).write_config(config)
            except (FileExistsError, RunError):
                continue
            return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder.

        Raises
        ------
        RunError
            When it does not exist or holds no run.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise RunError(f"no run folder {folder}")
        if not (folder / "config.yaml").is_file():
            raise RunError(f"{folder} is not a run folder: it holds no config.yaml")
        return cls(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: a second process that tries gets a RunError; the lock dies with its process."""
        with held(self.path):
            yield

    def write_config(self, config: TrainConfig) -> None:
        """Store the resolved configuration."""
        data = config.model_dump(mode="json", exclude={"resume", "extend"})
        write_text(self.path / "config.yaml", yaml.safe_dump(data, sort_keys=False))

    def config(self) -> TrainConfig:
        """The resolved configuration of the run."""
        return parse(TrainConfig, read_mapping(self.path / "config.yaml"))

    def update(self, **values: Any) -> None:
        """Change entries of ``run.json``."""
        write_text(self.path / "run.json", json.dumps({**self.info(), **values}, indent=2) + "\n")

    def info(self) -> dict[str, Any]:
        """Content of ``run.json``; empty when there is none yet."""
        path = self.path / "run.json"
        if not path.is_file():
            return {}
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return data


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the state of the source tree where it is a git checkout."""
    out = {"python": platform.python_version(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    for package in _PACKAGES:
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = "not installed"
    source = Path(__file__).resolve().parent.parent
    for key, command in (("git_commit", ["rev-parse", "HEAD"]), ("git_changes", ["status", "--porcelain"])):
        try:
            result = subprocess.run(
                ["git", "-C", str(source), *command], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            continue
        text = result.stdout.strip()
        out[key] = text if key == "git_commit" else ("none" if not text else f"{len(text.splitlines())} files")
    return out
