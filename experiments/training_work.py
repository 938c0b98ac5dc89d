"""Training in a folder of its own that is found again: what suites and searches do many times, by whatever worker."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.baselines.tuning import TunedPolicy
from experiments.config import EnvConfig, TrainConfig, TuningConfig
from experiments.problems import compiled_network, load_tuned, references, save_tuned, tune_all
from experiments.runs import RunFolder
from twin.compile import CompiledNetwork
from twin.errors import RunError
from twin.files import write_text

__all__ = ["train_at", "tuned_once"]

#: Seconds to wait for a worker of a command that was killed: it stops at its next safe point.
_PATIENCE = 60.0


def train_at(path: Path, config: TrainConfig, tuned_folder: Path) -> RunFolder:
    """Train in a given folder, or go on there where an earlier worker was stopped; nothing when it has finished.

    Parameters
    ----------
    path
        Of the run folder. It depends on what is trained alone, so that the next worker finds it.
    tuned_folder
        Where tuned classical policies are kept for all runs on the same network.

    Raises
    ------
    KeyboardInterrupt
        When training was asked to stop before its end.
    """
    # Here, not above: bounds and classical policies need no torch.
    import torch

    from experiments.train import train

    torch.set_num_threads(1)
    run = RunFolder(path)
    run.path.mkdir(parents=True, exist_ok=True)
    _wait_for(run)
    compiled = compiled_network(config.network, config.env, config.scenario)
    if not (run.path / "config.yaml").is_file():
        run.write_config(config)
    if not (run.path / "baselines.json").is_file():
        names = references(config.env)
        tuned = {name: tuned_once(name, compiled, config.env, config.tuning, tuned_folder)[0] for name in names}
        save_tuned(run.path / "baselines.json", tuned, compiled)
    if run.info().get("status") != "finished":
        result = train(config.model_copy(update={"resume": str(run.path)}))
        if result.status != "finished":
            raise KeyboardInterrupt
    return run


def _wait_for(run: RunFolder) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(RunError), run.locked():
            return
        time.sleep(0.2)


def tuned_once(
    name: str, compiled: CompiledNetwork, env: EnvConfig, config: TuningConfig, folder: Path
) -> tuple[TunedPolicy, float]:
    """A tuned policy and the seconds it took; tuned once for all workers on the same network, whoever comes first."""
    horizon = str(env.horizon if env.finite else None)
    words = [compiled.content_hash(), name, horizon, config.model_dump_json()]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{compiled.network.name}-{name}-{digest}.json"
    clock = path.with_suffix(".seconds")
    with _alone(path.with_suffix(".lock")):
        if not clock.is_file():
            started = time.perf_counter()
            save_tuned(path, tune_all(compiled, config, (name,), env=env), compiled)
            write_text(clock, f"{time.perf_counter() - started:.2f}\n")
        return load_tuned(path, compiled)[name], float(clock.read_text(encoding="utf-8"))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is inside; the lock dies with its process."""
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
