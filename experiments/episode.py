"""One episode under several policies: what each did and what it cost, as a picture and in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.policy import Policy
from agents.registry import BASELINES, baseline
from envs.task import Task
from experiments.cli import run_command, say
from experiments.config import EpisodeConfig
from experiments.episode_plot import plot_episode
from experiments.episode_text import describe
from experiments.episode_trace import Trace, longest_outage, trace
from experiments.loading import load_run
from experiments.problems import baseline_problem, compiled_network, tune_all
from experiments.runs import RunFolder
from twin.errors import ConfigError
from twin.files import write_text
from twin.seeds import Purpose, world_seed

__all__ = ["Episode", "episode", "main"]

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

    def save(self, folder: Path) -> None:
        """Write ``episode.txt`` and ``episode.png``, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        network = next(iter(self.traces.values())).compiled.network
        write_text(folder / "episode.txt", self.text())
        plot_episode(folder / "episode.png", self.traces, f"{network.name}, path {self.path}")


def episode(config: EpisodeConfig) -> Episode:
    """Run the episode that a configuration asks for.

    Raises
    ------
    ConfigError
        When neither a run nor a policy is given, or there is no such path.
    """
    if config.run is None and config.policy is None:
        raise ConfigError("give run=<run folder>, policy=<" + "|".join(BASELINES) + ">, or both")
    if config.path is not None and config.path >= _PATHS:
        raise ConfigError(f"path: must be at most {_PATHS - 1}, received {config.path}")
    problems: dict[str, tuple[Policy, Task]] = {}
    if config.run is not None:
        run = load_run(config.run, model=config.model)
        compiled, env, tuned, network = run.compiled, run.config.env, run.tuned, run.config.network
        problems[run.config.agent.algorithm] = (run.policy, run.task)
        # The rule that the agent started from, or the best by tuning.
        other = config.policy or min(tuned, key=lambda name: tuned[name].cost or 0.0)
    else:
        compiled, env, tuned = compiled_network(config.network, config.env), config.env, {}
        network = config.network
        other = baseline(str(config.policy)).name
    if other not in tuned:
        tuned = tuned | tune_all(compiled, config.tuning, (baseline(other).name,), env=env)
    problems[other] = baseline_problem(compiled, env, tuned[other], network)
    seed = world_seed(Purpose.EVALUATION, config.evaluation.seed)
    task = next(iter(problems.values()))[1]
    path = config.path
    if path is None:
        path = longest_outage(task, seed=seed, paths=_PATHS, periods=env.horizon)
    return Episode(
        path,
        {
            name: trace(policy, its, seed=seed, paths=_PATHS, path=path, periods=env.horizon)
            for name, (policy, its) in problems.items()
        },
    )


def _command(config: EpisodeConfig) -> None:
    found = episode(config)
    folder = config.output or config.run or RunFolder.create("runs", f"episode_{config.policy}").path
    found.save(Path(folder))
    say(found.text())
    say(f"written to: {folder}")


def main() -> None:
    """Command line."""
    run_command("episode", EpisodeConfig, _command, HELP)


if __name__ == "__main__":
    main()
