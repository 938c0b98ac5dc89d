"""One episode under several policies: what each did and what it cost, as a picture and in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.policy import Policy
from agents.registry import BASELINES, baseline
from envs.task import Task
from experiments.callable_module import make_callable
from experiments.cli import run_command, say
from experiments.config import EpisodeConfig
from experiments.episode_plot import episode_figure
from experiments.episode_text import describe
from experiments.episode_trace import Trace, longest_outage, trace
from experiments.loading import load_run
from experiments.plots.style import figure_png
from experiments.problems import baseline_problem, compiled_network, tune_all
from experiments.runs import RunFolder
from twin.errors import ConfigError
from twin.files import write_bytes, write_text
from twin.seeds import Purpose, world_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.compare import Compared

__all__ = ["Episode", "episode", "episode_of", "main"]

HELP = """
One episode of the evaluation seeds under a trained agent and a tuned rule, or under a rule alone: a picture of who was
up, what was ordered where, stock and money, and the sequence of moves in plain words.

  python -m experiments.episode run=runs/prolonged_shortage/<folder>
  python -m experiments.episode policy=status_switching network=prolonged_shortage env=supplier_switching
  python -m experiments.episode run=runs/prolonged_shortage/<folder> path=12 output=somewhere

Without path= it is the one with the longest outage among the first 64. episode.png and episode.txt go into the run
folder, or into output=.
"""

#: Paths among which the one with the longest outage is looked for.
_PATHS = 64


@dataclass(frozen=True)
class Episode:
    """One path under several policies, the first being what was asked for."""

    path: int
    traces: dict[str, Trace]

    def text(self) -> str:
        """The sequences of moves, policy after policy."""
        return "\n\n".join(describe(name, trace) for name, trace in self.traces.items()) + "\n"

    def figure(self) -> Figure:
        """The picture: who works, who is ordered from, stock and backlog, and what it has cost so far."""
        network = next(iter(self.traces.values())).compiled.network
        return episode_figure(self.traces, f"{network.name}, path {self.path}")

    def save(self, folder: Path) -> None:
        """Write ``episode.txt`` and ``episode.png``, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "episode.txt", self.text())
        write_bytes(folder / "episode.png", figure_png(self.figure()))


def episode(config: EpisodeConfig) -> Episode:
    """Run the episode that a configuration asks for.

    Raises
    ------
    ConfigError
        When neither a run nor a policy is given, or there is no such path.
    """
    if config.run is None and config.policy is None:
        raise ConfigError("give run=<run folder>, policy=<" + "|".join(BASELINES) + ">, or both")
    _check_path(config.path)
    problems: dict[str, tuple[Policy, Task]] = {}
    if config.run is not None:
        run = load_run(config.run, model=config.model, scenario=config.scenario)
        compiled, env, tuned, network = run.compiled, run.config.env, run.tuned, run.config.network
        problems[run.config.agent.algorithm] = (run.policy, run.task)
        # The rule that the agent started from, or the best by tuning.
        other = config.policy or min(tuned, key=lambda name: tuned[name].cost or 0.0)
    else:
        compiled, env, tuned = compiled_network(config.network, config.env, config.scenario), config.env, {}
        network = config.network
        other = baseline(str(config.policy)).name
    if other not in tuned:
        tuned = tuned | tune_all(compiled, config.tuning, (baseline(other).name,), env=env)
    problems[other] = baseline_problem(compiled, env, tuned[other], network)
    return _played(problems, env.horizon, config.evaluation.seed, config.path)


def episode_of(compared: Compared, path: int | None = None) -> Episode:
    """One path under the policies of a comparison; the one with the longest outage when ``path`` is left out.

    Of several training seeds the first plays.

    Raises
    ------
    ConfigError
        When there is no such path.
    """
    _check_path(path)
    problems = {one.name: one.members[0] for one in compared.contenders}
    return _played(problems, compared.env.horizon, compared.config.evaluation.seed, path)


def _played(
    problems: Mapping[str, tuple[Policy, Task]], periods: int, evaluation_seed: int, path: int | None
) -> Episode:
    seed = world_seed(Purpose.EVALUATION, evaluation_seed)
    if path is None:
        task = next(iter(problems.values()))[1]
        path = longest_outage(task, seed=seed, paths=_PATHS, periods=periods)
    traces = {
        name: trace(policy, task, seed=seed, paths=_PATHS, path=path, periods=periods)
        for name, (policy, task) in problems.items()
    }
    return Episode(path, traces)


def _check_path(path: int | None) -> None:
    if path is not None and not 0 <= path < _PATHS:
        raise ConfigError(f"path: must be 0 to {_PATHS - 1}, received {path}")


def _command(config: EpisodeConfig) -> None:
    found = episode(config)
    folder = config.output or config.run or RunFolder.create("runs", f"episode_{config.policy}").path
    found.save(Path(folder))
    say(found.text())
    say(f"written to: {folder}")


make_callable(__name__, "experiments.words:episode")


def main() -> None:
    """Command line."""
    run_command("episode", EpisodeConfig, _command, HELP)


if __name__ == "__main__":
    main()
