"""Optuna's study on a journal file: opened whole after a crash, asked with a sampler that a second start repeats."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.tune_config import Parameter
from twin.files import write_bytes

__all__ = ["ask", "decoded", "import_optuna", "open_study", "resumed_trial"]

#: A trial is judged beside others from so many finished ones on.
_FIRST_PRUNED = 5


def import_optuna() -> Any:
    """The package.

    Raises
    ------
    ImportError
        When it is not installed, with what to install.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ImportError("tuning an agent needs the package optuna: pip install 'cogtwin[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(path: Path, name: str, *, pruning: bool) -> Any:
    """The study of a journal file, which the caller alone uses.

    Parameters
    ----------
    pruning
        Whether trials that are worse than the median of the others at the same seed are given up.
    """
    optuna = import_optuna()
    _cut(path)
    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=_NoLock())
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_FIRST_PRUNED) if pruning else optuna.pruners.NopPruner()
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        pruner=pruner,
        study_name=name,
        direction="minimize",
        load_if_exists=True,
    )


class _NoLock:
    """In place of Optuna's lock, which a killed process leaves behind: the caller holds the whole folder."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _cut(path: Path) -> None:
    """Drop the last line where it was not written to its end: the process was killed, and nothing rests on it."""
    data = path.read_bytes() if path.is_file() else b""
    if not data.endswith(b"\n") and data:
        write_bytes(path, data[: data.rfind(b"\n") + 1])


def ask(study: Any, parameters: Mapping[str, Parameter], *, seed: int, several: bool) -> Any:
    """A new trial, with values for all parameters.

    The sampler's random numbers come from the seed and the number of the trial, so that what a second start draws is
    what the first would have drawn.

    Parameters
    ----------
    several
        Whether trials run beside each other: those that have not ended are then taken for bad ones, so that the next
        does not repeat them.
    """
    optuna = import_optuna()
    number = len(study.get_trials(deepcopy=False))
    state = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(seed=state, constant_liar=several)
    return study.ask({key: _distribution(optuna, parameter) for key, parameter in parameters.items()})


def resumed_trial(study: Any, frozen: Any) -> Any:
    """The trial that an earlier start began and did not end."""
    # Optuna has no public way back from a stored trial to one that can be reported to.
    return import_optuna().trial.Trial(study, frozen._trial_id)


def decoded(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a trial as those of the configuration."""
    return {
        key: json.loads(values[key]) if parameter.kind == "categorical" else values[key]
        for key, parameter in parameters.items()
    }


def _distribution(optuna: Any, parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        # As text: a journal keeps no lists.
        return optuna.distributions.CategoricalDistribution([json.dumps(choice) for choice in parameter.choices or []])
    low, high = parameter.ends()
    if parameter.kind == "int":
        return optuna.distributions.IntDistribution(low, high, log=parameter.log, step=parameter.step or 1)
    return optuna.distributions.FloatDistribution(low, high, log=parameter.log)
