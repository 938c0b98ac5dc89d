"""Compare a trained policy with the tuned classical policies: ``python -m experiments.evaluate run=<folder>``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.baselines.tuning import TunedPolicy
from agents.registry import BASELINES, baseline
from experiments.callable_module import make_callable
from experiments.cli import run_command, say
from experiments.config import EvaluateConfig, config_error
from experiments.contenders import Contender, classical, grouped, measure_contenders
from experiments.launchers import make_launcher
from experiments.loading import load_run
from experiments.outages import outages_on_paths
from experiments.problems import compiled_network, save_tuned, usual
from experiments.results import Comparison, compare
from experiments.runs import RunFolder
from experiments.scenario_checks import unseen
from twin.compile import CompiledNetwork
from twin.errors import ConfigError

__all__ = ["evaluate", "main"]

HELP = """
Compare policies on seeds that neither training nor tuning used.

  python -m experiments.evaluate run=runs/essential_medicines_ppo/<folder>
  python -m experiments.evaluate policy=base_stock network=five_site_distribution
  python -m experiments.evaluate policy=capped_base_stock network=lost_sales_zipkin2008 network.parameters.penalty=9
  python -m experiments.evaluate run=<folder> evaluation.paths=100000 jobs=2

A run, or any classical policy that fits the network, is compared with the best constant order and the best base-stock
policy; all are tuned by simulation on seeds of their own, for the horizon where that is finite. The table goes to the
screen and, as JSON, CSV and text, into the run folder, `output=`, or a new folder below runs/. Where ports, suppliers
or other resources fail, costs are also split by how severe the outages of a path were and how long they took. jobs=
shards the paths over workers (launcher=processes|ray); the numbers are the same.
"""


@dataclass(frozen=True)
class _Evaluated:
    """A comparison, and the policies tuned for it (None where a run has stored them)."""

    comparison: Comparison
    compiled: CompiledNetwork
    tuned: dict[str, TunedPolicy] | None

    def save(self, folder: Path) -> None:
        """Write the table and the tuned policies."""
        folder.mkdir(parents=True, exist_ok=True)
        self.comparison.save(folder)
        if self.tuned is not None:
            save_tuned(folder / "baselines.json", self.tuned, self.compiled)


def evaluate(config: EvaluateConfig) -> Comparison:
    """Run the comparison a configuration asks for; written into ``output`` or the run folder where one is given.

    Raises
    ------
    ConfigError
        When neither a run nor a policy is given, or both.
    """
    evaluated = _evaluate(config)
    folder = config.output or config.run
    if folder is not None:
        evaluated.save(Path(folder))
    return evaluated.comparison


def _evaluate(config: EvaluateConfig) -> _Evaluated:
    if (config.run is None) == (config.policy is None):
        raise ConfigError("give either run=<run folder> or policy=<" + "|".join(BASELINES) + ">")
    launcher = make_launcher(config.launcher, config.jobs)
    contenders: list[Contender] = []
    if config.run is not None:
        run = load_run(config.run, model=config.model, scenario=config.scenario)
        compiled, env, network, known = run.compiled, run.config.env, run.config.network, run.tuned
        problems = unseen(config.scenario, env, {"evaluation": config.evaluation})
        if problems:
            raise config_error(problems)
        names: tuple[str, ...] = tuple(known)
        contenders += grouped([run])
    else:
        name = baseline(str(config.policy)).name
        env, network, known = config.env, config.network, {}
        compiled = compiled_network(network, env, config.scenario)
        # The policy that was asked for comes first; the others are what it is compared with.
        names = (name, *(other for other in usual(env) if other != name))
    rules = classical(names, compiled, env, config.tuning, known=known, network=network)
    contenders += rules
    measurements = measure_contenders(contenders, config.evaluation, launcher, config.jobs)
    compared = tuple(other for other in names if config.run is not None or other in usual(env))
    horizon = env.horizon if env.finite else None
    outages = outages_on_paths(contenders[0].members[0][1], config.evaluation)
    comparison = compare(compiled.network, config.evaluation, measurements, compared, horizon=horizon, outages=outages)
    tuned = {one.name: one.tuned for one in rules if one.tuned is not None}
    return _Evaluated(comparison, compiled, tuned if config.run is None else None)


def _command(config: EvaluateConfig) -> None:
    evaluated = _evaluate(config)
    folder = config.output or config.run or RunFolder.create("runs", f"evaluate_{config.policy}").path
    evaluated.save(Path(folder))
    say(evaluated.comparison.table())
    say(f"written to: {folder}")


make_callable(__name__, "experiments.frames:evaluate")


def main() -> None:
    """Command line."""
    run_command("evaluate", EvaluateConfig, _command, HELP)


if __name__ == "__main__":
    main()
