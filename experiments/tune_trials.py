"""The trials of a search: which run comes next, what its result means, and where everything lies."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.launchers import Job, Outcome
from experiments.statistics_bands import interquartile_mean
from experiments.tune_config import TuneConfig, train_config
from experiments.tune_journal import ask, decoded, import_optuna, resumed_trial
from twin.errors import ConfigError
from twin.files import write_text

__all__ = ["Trials"]


@dataclass
class _Running:
    """A trial that has not ended: what Optuna knows of it, its parameters, and the costs of the seeds so far."""

    trial: Any
    parameters: dict[str, Any]
    costs: list[list[float]] = field(default_factory=list)


class Trials:
    """Asks for parameters, has them trained seed after seed, and tells what came out.

    A trial's value is the interquartile mean over all its training seeds and tuning paths. After every seed it may be
    pruned. One process asks and tells; the runs are jobs of any launcher. What an earlier start began goes on: its
    parameters are in the journal, the costs of its seeds beside it.

    Parameters
    ----------
    config
        What is searched.
    study
        Of :func:`experiments.tune_journal.open_study`.
    folder
        Of the search.
    call
        The function of a job, see :func:`experiments.tune_work.tuning_costs`.
    ended
        Called with the number of a trial that has ended, its state in words and its value.
    """

    def __init__(self, config: TuneConfig, study: Any, folder: Path, call: str, ended: Any = None) -> None:
        self.config, self.study, self.folder, self.call = config, study, folder, call
        self._state = import_optuna().trial.TrialState
        self._ended = ended
        self._running: dict[int, _Running] = {}
        self._waiting = deque[Job]()
        for frozen in study.get_trials(deepcopy=False, states=(self._state.RUNNING,)):
            self._go_on(frozen)

    @property
    def finished(self) -> int:
        """Trials that have ended, whatever came out."""
        return sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def next_job(self) -> Job | None:
        """The next training run, or None when there is none now."""
        while not self._waiting and len(self.study.get_trials(deepcopy=False)) < self.config.trials:
            search = self.config.search.parameters
            trial = ask(self.study, search, seed=self.config.seed, several=self.config.jobs > 1)
            self._begin(_Running(trial, decoded(search, trial.params)))
        return self._waiting.popleft() if self._waiting else None

    def done(self, job: Job, outcome: Outcome) -> None:
        """Take what became of a training run."""
        number, seed = job.request["trial"], job.request["seed"]
        one = self._running[number]
        if outcome.error is not None:
            self._fail(one, outcome.error)
            return
        # First the costs, then the journal: what stands in the journal has its costs.
        path = self._costs(number, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(outcome.value) + "\n")
        self._take(one, outcome.value)

    def _begin(self, one: _Running) -> None:
        """Queue the next seed of a trial; a set of parameters that cannot be is a trial that failed."""
        number, seed = one.trial.number, len(one.costs)
        try:
            config = train_config(self.config, one.parameters, self.config.training.seed + seed)
        except ConfigError as error:
            self._fail(one, str(error))
            return
        self._running[number] = one
        name = f"trial-{number:04d}-seed-{seed}"
        request = {
            "trial": number,
            "seed": seed,
            "config": config.model_dump(mode="json"),
            "folder": str(self.folder / "runs" / name),
            "tuned": str(self.folder / "tuned"),
        }
        self._waiting.append(Job(name, self.call, request))

    def _take(self, one: _Running, costs: list[float]) -> None:
        """Judge a trial after a seed."""
        one.costs.append(costs)
        step, value = len(one.costs) - 1, interquartile_mean(np.array(one.costs))
        if not np.isfinite(value):
            self._fail(one, f"its costs are not finite with training seed {self.config.training.seed + step}")
            return
        if step not in self.study.get_trials(deepcopy=False)[one.trial.number].intermediate_values:
            one.trial.report(value, step)
        if len(one.costs) == self.config.seeds:
            self._tell(one, self._state.COMPLETE, value)
        elif one.trial.should_prune():
            self._tell(one, self._state.PRUNED, None)
        else:
            self._begin(one)

    def _go_on(self, frozen: Any) -> None:
        """Take up a trial where an earlier start left it."""
        search = self.config.search.parameters
        if set(frozen.params) != set(search):  # the process ended between the number and the values of the trial
            self.study.tell(frozen.number, state=self._state.FAIL)
            return
        one = _Running(resumed_trial(self.study, frozen), decoded(search, frozen.params))
        known: list[list[float]] = []
        while len(known) < self.config.seeds and (path := self._costs(frozen.number, len(known))).is_file():
            known.append(json.loads(path.read_text(encoding="utf-8")))
        self._running[frozen.number] = one
        if not known:
            self._begin(one)
            return
        one.costs = known[:-1]
        self._take(one, known[-1])

    def _fail(self, one: _Running, reason: str) -> None:
        one.trial.set_user_attr("error", reason)
        self._tell(one, self._state.FAIL, None)

    def _tell(self, one: _Running, state: Any, value: float | None) -> None:
        self.study.tell(one.trial, value, state=state)
        self._running.pop(one.trial.number, None)
        if self._ended is not None:
            self._ended(one.trial.number, state.name.lower(), value)

    def _costs(self, number: int, seed: int) -> Path:
        return self.folder / "costs" / f"trial-{number:04d}-seed-{seed}.json"
