"""The main job in one command: ``python -m experiments.demo``.

A real network is loaded, classical policies are tuned, an agent is trained, all are compared on fresh seeds, the policy
is exported as a bundle, and the bundle gives a piece of advice.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from experiments.cli import USAGE, compose, say
from experiments.config import EvaluateConfig, ExportConfig, TrainConfig, parse
from experiments.evaluate import evaluate
from experiments.export import export
from experiments.loading import load_run
from experiments.plots import plot_trajectories
from experiments.problems import baseline_problem
from experiments.train import train
from twin.errors import CogTwinError
from twin.seeds import Purpose, world_seed

__all__ = ["demo", "main"]

HELP = """
The main job on the essential_medicines network: tune, train, compare, export, advise.

  python -m experiments.demo
  python -m experiments.demo training=smoke tuning=smoke evaluation=smoke      (seconds, to see that it works)

Arguments are those of experiments.train.
"""


def demo(overrides: Sequence[str]) -> None:
    """Run the main job; ``overrides`` are added to the experiment ``essential_medicines_ppo``."""
    started = time.perf_counter()
    config = parse(TrainConfig, compose("train", ["experiment=essential_medicines_ppo", *overrides]))
    say(f"1/5 tuning classical policies and training {config.agent.algorithm} on {config.network.name}")
    trained = train(config)
    if trained.status != "finished":
        say(f"interrupted; go on with: python -m experiments.train resume={trained.folder}")
        return
    say("2/5 comparing on seeds that neither training nor tuning used")
    comparison = evaluate(
        EvaluateConfig(network=config.network, env=config.env, evaluation=config.evaluation, run=str(trained.folder))
    )
    say("3/5 drawing the policy beside base-stock")
    run = load_run(trained.folder)
    picture = trained.folder / "trajectories.png"
    base_stock = baseline_problem(run.compiled, run.config.env, run.tuned["base_stock"])
    plot_trajectories(
        picture,
        {config.agent.algorithm: (run.policy, run.task), "base_stock": base_stock},
        seed=world_seed(Purpose.EVALUATION, config.evaluation.seed),
        periods=config.evaluation.periods,
        warm_up=config.evaluation.warm_up,
    )
    say("4/5 exporting the policy")
    bundle = export(ExportConfig(run=str(trained.folder)))
    say("5/5 asking the bundle for advice\n")
    command = ["-m", "experiments.advise", f"bundle={bundle}", f"state={bundle / 'example_state.json'}"]
    advice = subprocess.run([sys.executable, *command], check=False)
    if advice.returncode:
        sys.exit(advice.returncode)
    say("\n" + comparison.table() + "\n")
    say(f"run folder: {trained.folder}")
    say(f"picture:    {picture}")
    say(f"bundle:     {bundle}")
    say(f"advice:     python {' '.join(command)}")
    say(f"total time: {time.perf_counter() - started:.0f} s")


def main() -> None:
    """Command line."""
    if any(argument in {"-h", "--help"} for argument in sys.argv[1:]):
        say(HELP.strip())
        return
    try:
        demo(sys.argv[1:])
    except CogTwinError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
