"""Search for an agent's parameters: ``python -m experiments.tune experiment=lost_sales_ppo search=ppo``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from experiments.cli import run_command, say
from experiments.compare import compare
from experiments.config import CompareConfig
from experiments.folders import held
from experiments.launchers import Job, Launcher, Outcome, make_launcher, several
from experiments.problems import compiled_network
from experiments.tune_config import TuneConfig, check_search, train_config
from experiments.tune_journal import decoded, import_optuna, open_study
from experiments.tune_trials import Trials
from twin.errors import ConfigError, RunError
from twin.files import read_mapping, write_text

__all__ = ["Found", "Tuned", "main", "search", "tune"]

HELP = """
Search for the parameters of an agent, train the best ones again on fresh seeds, and compare those runs.

  python -m experiments.tune experiment=lost_sales_ppo search=ppo trials=30 jobs=2
  python -m experiments.tune experiment=lost_sales_dqn search=dqn trials=50 jobs=16 launcher=ray
  python -m experiments.tune experiment=five_site_sac search=sac training.steps=100000 name=short_sac

A search space is a file of configs/search (python -m experiments.list searches): keys of the training configuration and
what values they may take. A trial is a set of values; it is trained with at least three seeds, and its value is the
interquartile mean of the cost over those seeds and the paths of the tuning seeds. A trial that is worse than half of
the others after a seed ends there (pruning=false: never).

The best trial is then trained on seeds that no trial had. Those runs alone are reported, on the evaluation seeds,
beside the best constant order and the tuned classical policies; what the best trial cost is optimistic, as every
winner's is.

Everything lies in runs/tune/<name>/: the journal, trials.csv, best.yaml, the runs, and the comparison in results/. A
second start goes on where the first was stopped or killed, with other jobs=, launcher= and more trials= as you like.
"""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    folder
        Of the search.
    trial
        Number of the best trial.
    value
        Its interquartile mean on the tuning seeds, cost per period. Optimistic: the best of many.
    parameters
        Its values.
    states
        How many trials ended in which way.
    """

    folder: Path
    trial: int
    value: float
    parameters: dict[str, Any]
    states: dict[str, int]

    @property
    def words(self) -> list[str]:
        """The parameters as words of the command line."""
        return [f"{key}={_word(value)}" for key, value in self.parameters.items()]


@dataclass(frozen=True)
class Tuned:
    """A search and what its winner costs.

    Attributes
    ----------
    found
        The search.
    runs
        Folders of the winner's runs on fresh seeds.
    results
        Folder of their comparison.
    table
        The comparison as text.
    """

    found: Found
    runs: tuple[Path, ...]
    results: Path
    table: str


def tune(config: TuneConfig) -> Tuned:
    """Search, train the winner on fresh seeds, and compare those runs with the classical policies.

    Raises
    ------
    ConfigError
        When the search space does not fit, or the folder holds a search that was defined otherwise.
    RunError
        When no trial gave a value, a run of the winner failed, or another process works in the folder.
    ImportError
        When Optuna is not installed, with what to install.
    KeyboardInterrupt
        After Ctrl-C; the next start goes on.
    """
    found = search(config)
    with held(found.folder):
        launcher = make_launcher(config.launcher, config.jobs, found.folder / "logs")
        runs = _winner(config, found, launcher)
        results = found.folder / "results" / f"trial-{found.trial:04d}-seeds-{len(runs)}"
        if not results.is_dir():
            compared = compare(
                CompareConfig(
                    runs=[str(run) for run in runs],
                    evaluation=config.evaluation,
                    tuning=config.tuning,
                    jobs=config.jobs,
                    launcher=config.launcher,
                )
            )
            compared.save(results)
        return Tuned(found, runs, results, (results / "comparison.txt").read_text(encoding="utf-8"))


def search(config: TuneConfig, call: str = "experiments.tune_work:tuning_costs") -> Found:
    """Do the trials that are missing.

    Parameters
    ----------
    call
        What trains and measures, ``module:function``; see :func:`experiments.tune_work.tuning_costs`.

    Raises
    ------
    ConfigError, RunError, ImportError, KeyboardInterrupt
        See :func:`tune`.
    """
    import_optuna()
    check_search(config)
    compiled = compiled_network(config.network, config.env, config.scenario)
    definition = {**config.definition(), "network_hash": compiled.content_hash()}
    folder = Path(config.output) / config.name
    launcher = make_launcher(config.launcher, config.jobs, folder / "logs")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        _keep_definition(folder / "search.yaml", definition)
        study = open_study(folder / "journal.log", config.name, pruning=config.pruning)
        with tqdm(total=config.trials, desc=f"tuning {config.name}", unit="trial", disable=None) as bar:

            def ended(number: int, state: str, value: float | None) -> None:
                bar.write(f"trial {number}: {state}" + ("" if value is None else f", {value:,.6g}"))
                bar.update()

            trials = Trials(config, study, folder, call, ended)
            bar.update(trials.finished - bar.n)
            try:
                launcher.run(trials.next_job, trials.done)
            finally:
                write_text(folder / "trials.csv", _csv(config, study))
        return _best(config, study, folder)


def _keep_definition(path: Path, definition: dict[str, Any]) -> None:
    """Write what the search is; refuse to go on with another one."""
    if not path.is_file():
        write_text(path, yaml.safe_dump(definition, sort_keys=False))
        return
    stored, now = _flat(read_mapping(path)), _flat(definition)
    lines = [
        f"  - {key}: {stored.get(key, 'absent')} there, {now.get(key, 'absent')} now"
        for key in {**stored, **now}
        if stored.get(key) != now.get(key)
    ]
    if lines:
        head = f"{path.parent} holds a search that was defined otherwise; give this one a name= of its own:\n"
        raise ConfigError(head + "\n".join(lines))


def _flat(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in data.items():
        out |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return out


def _best(config: TuneConfig, study: Any, folder: Path) -> Found:
    trials = study.get_trials(deepcopy=False)
    states: dict[str, int] = {}
    for trial in trials:
        states[trial.state.name.lower()] = states.get(trial.state.name.lower(), 0) + 1
    if "complete" not in states:
        reasons = "\n".join(f"  - trial {t.number}: {t.user_attrs.get('error', t.state.name.lower())}" for t in trials)
        raise RunError(f"{folder}: no trial gave a value; give more trials=\n{reasons}")
    best = study.best_trial
    parameters = decoded(config.search.parameters, best.params)
    found = Found(folder, best.number, float(best.value), parameters, states)
    about = {"trial": best.number, "tuning_cost": found.value, "parameters": parameters, "words": found.words}
    write_text(folder / "best.yaml", yaml.safe_dump(about, sort_keys=False))
    return found


def _winner(config: TuneConfig, found: Found, launcher: Launcher) -> tuple[Path, ...]:
    """Train the best parameters on seeds that no trial had."""
    first = config.training.seed + config.seeds
    folders, jobs = [], []
    for seed in range(first, first + config.fresh):
        folders.append(found.folder / "winner" / f"trial-{found.trial:04d}-seed-{seed}")
        data = train_config(config, found.parameters, seed).model_dump(mode="json")
        request = {"config": data, "folder": str(folders[-1]), "tuned": str(found.folder / "tuned")}
        jobs.append(Job(f"winner-seed-{seed}", "experiments.tune_work:trained", request))
    failed: dict[str, str] = {}
    with tqdm(total=len(jobs), desc="training the winner", unit="run", disable=None, leave=False) as bar:

        def ended(job: Job, outcome: Outcome) -> None:
            if outcome.error is not None:
                failed[job.name] = outcome.error
            bar.update()

        launcher.run(several(jobs), ended)
    if failed:
        raise RunError("\n".join(f"{name}: {reason}" for name, reason in failed.items()))
    return tuple(folders)


def _csv(config: TuneConfig, study: Any) -> str:
    """A row per trial."""
    keys = list(config.search.parameters)
    seeds = [f"iqm_after_{step + 1}" for step in range(config.seeds)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", "value", *seeds, *keys, "seconds", "error"])
    for trial in study.get_trials(deepcopy=False):
        steps = [trial.intermediate_values.get(step, "") for step in range(config.seeds)]
        values = [trial.params.get(key, "") for key in keys]
        seconds = "" if trial.duration is None else f"{trial.duration.total_seconds():.1f}"
        value = trial.value if trial.state.name == "COMPLETE" else ""
        error = trial.user_attrs.get("error", "")
        writer.writerow([trial.number, trial.state.name.lower(), value, *steps, *values, seconds, error])
    return buffer.getvalue()


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _command(config: TuneConfig) -> None:
    tuned = tune(config)
    found = tuned.found
    say("trials: " + ", ".join(f"{number} {state}" for state, number in found.states.items()))
    say(f"best: trial {found.trial}, {found.value:,.6g} on the tuning seeds (optimistic), with")
    say("  " + " ".join(found.words))
    say("\nthese parameters, trained on fresh seeds and measured on the evaluation seeds:\n")
    say(tuned.table)
    say(f"written to: {found.folder}")
    say(f"report:     {tuned.results / 'report.html'}")


def main() -> None:
    """Command line."""
    run_command("tune", TuneConfig, _command, HELP)


if __name__ == "__main__":
    main()
