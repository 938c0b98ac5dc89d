"""Compare runs and classical policies on the same paths: ``python -m experiments.compare runs=[...]``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from agents.exact import exact_cost
from agents.registry import BASELINES
from experiments.bounds import check_bound, hindsight_costs
from experiments.callable_module import make_callable
from experiments.cli import run_command, say
from experiments.config import CompareConfig, EnvConfig, NetworkConfig, config_error
from experiments.contenders import Contender, classical, grouped, load_runs, measure_contenders
from experiments.folders import fresh_name, new_folder, refuse_to_overwrite
from experiments.launchers import make_launcher
from experiments.outages import outages_on_paths
from experiments.problems import compiled_network, save_tuned
from experiments.results import Comparison
from experiments.results import compare as compared
from experiments.results_files import comparison_data, pairs_csv, paths_csv
from experiments.runs import versions
from experiments.scenario_checks import unseen
from twin.compile import CompiledNetwork
from twin.errors import CogTwinError, ConfigError, did_you_mean
from twin.files import write_text

__all__ = ["Compared", "compare", "main"]

HELP = """
Compare trained runs and classical policies on the same evaluation paths, which neither training nor tuning used.

  python -m experiments.compare policies=[base_stock,capped_base_stock] network=lost_sales_zipkin2008 exact=true
  python -m experiments.compare runs=[runs/lost_sales_ppo] policies=[base_stock,capped_base_stock]
  python -m experiments.compare runs=[runs/a/FOLDER,runs/b/FOLDER] references=[base_stock] evaluation.paths=2048
  python -m experiments.compare policies=[base_stock,rolling_program] network=three_stage_serial env=three_stage bound=8

(In zsh, put words with brackets into quotes.)

runs=       run folders, or folders that hold them. Runs of one configuration that differ in training.seed alone are one
            policy, and its intervals are over seeds and paths. Network and environment are those of the runs.
policies=   classical policies (python -m experiments.list policies), tuned on seeds of their own; those that a run has
            tuned already are taken from it.
references= what all others are compared with; every pair without it.
jobs=       shards of the paths at the same time, by processes or launcher=ray; the numbers are the same.

Mean, interquartile mean, CVaR 95 %, fill rate and every cost term with intervals; paired differences, probability of
improvement, p-values with Holm's correction; the gap to the optimum where it is known. Everything goes into a new
folder (output=, or below runs/compare): comparison.txt, .json and .csv, pairs.csv, paths.csv, figures as PNG and SVG,
and report.html, one page that opens without a network.
"""


@dataclass(frozen=True)
class Compared:
    """A finished comparison and what is needed to write it down.

    Attributes
    ----------
    comparison
        The numbers.
    contenders
        Who was compared, in the order of the table.
    compiled, env
        The problem.
    config
        What was asked for.
    """

    comparison: Comparison
    contenders: tuple[Contender, ...]
    compiled: CompiledNetwork
    env: EnvConfig
    config: CompareConfig

    def to_dict(self) -> dict[str, Any]:
        """All numbers, where the policies come from, the configuration and the versions."""
        return {
            **comparison_data(self.comparison),
            "contenders": {one.name: one.about for one in self.contenders},
            "config": self.config.model_dump(mode="json"),
            "versions": versions(),
        }

    def save(self, target: Path) -> None:
        """Write everything into a new folder, whole or not at all.

        Raises
        ------
        RunError
            When there is something at ``target``.
        """
        from experiments.comparison_report import comparison_figures, comparison_page
        from experiments.plots.style import save_figure

        with new_folder(target) as folder:
            data = self.to_dict()
            self.comparison.save(folder)
            write_text(folder / "comparison.json", json.dumps(data, indent=2) + "\n")
            write_text(folder / "pairs.csv", pairs_csv(self.comparison))
            write_text(folder / "paths.csv", paths_csv(self.comparison, _seeds(self.contenders)))
            write_text(folder / "config.yaml", yaml.safe_dump(data["config"], sort_keys=False))
            tuned = {one.name: one.tuned for one in self.contenders if one.tuned is not None}
            save_tuned(folder / "baselines.json", tuned, self.compiled)
            figures = comparison_figures(self) if self.config.figures else []
            if figures:
                (folder / "figures").mkdir()
            for drawn in tqdm(figures, desc="saving figures", unit="figure", disable=None, leave=False):
                save_figure(drawn.figure, folder / "figures", drawn.name)
            write_text(folder / "report.html", comparison_page(data, figures))


def compare(config: CompareConfig) -> Compared:
    """Run the comparison a configuration asks for; nothing is written.

    Raises
    ------
    ConfigError
        When there are fewer than two policies, one does not exist or does not fit, or a reference is none of them.
    RunError
        When a run is missing or incomplete, or runs are of different problems.
    """
    launcher = make_launcher(config.launcher, config.jobs)
    contenders, compiled, env, network = gather(config)
    bound = hindsight_costs(compiled, network, env, config.evaluation, config.bound) if config.bound else None
    exact = _exact(contenders) if config.exact else None
    comparison = compared(
        compiled.network,
        config.evaluation,
        measure_contenders(contenders, config.evaluation, launcher, config.jobs),
        config.references,
        bound=bound,
        exact=exact,
        horizon=env.horizon if env.finite else None,
        outages=outages_on_paths(contenders[0].members[0][1], config.evaluation),
    )
    return Compared(comparison, tuple(contenders), compiled, env, config)


def gather(config: CompareConfig) -> tuple[list[Contender], CompiledNetwork, EnvConfig, NetworkConfig]:
    """Who is compared, on which problem; classical policies are tuned.

    Raises
    ------
    ConfigError, RunError
        See :func:`compare`.
    """
    runs = load_runs(config.runs, model=config.model, scenario=config.scenario)
    if runs:
        compiled, env, network = runs[0].compiled, runs[0].config.env, runs[0].config.network
        problems = unseen(config.scenario, env, {"evaluation": config.evaluation})
        if problems:
            raise config_error(problems)
        if config.network is not None:
            asked = compiled_network(config.network, env, config.scenario)
            if asked.content_hash() != compiled.content_hash():
                raise ConfigError(
                    f"network: the runs are on '{compiled.network.name}' as stored with them, which is not the network "
                    f"'{config.network.name}' with parameters {config.network.parameters or '{}'}; leave network= out"
                )
        if config.env is not None and (config.env.finite, config.env.finite and config.env.horizon) != (
            env.finite,
            env.finite and env.horizon,
        ):
            raise ConfigError("env: the runs end at another horizon; leave env= out")
    elif config.network is None:
        raise ConfigError("give runs=[<run folder>,...], or policies=[...] with network=<name>")
    else:
        env, network = config.env or EnvConfig(), config.network
        compiled = compiled_network(network, env, config.scenario)
    known = {name: tuned for run in reversed(runs) for name, tuned in run.tuned.items()}
    policies = config.policies
    if policies is None:
        policies = list(runs[0].tuned) if runs else []
    contenders = grouped(runs)
    if config.bound:
        check_bound(env, config.evaluation, config.bound)
    _check_names([one.name for one in contenders], policies, config.references or [])
    contenders += classical(policies, compiled, env, config.tuning, known=known, network=network)
    return contenders, compiled, env, network


def _check_names(agents: Sequence[str], policies: Sequence[str], references: Sequence[str]) -> None:
    """Everything that is wrong with the names, at once and before anything is tuned.

    Raises
    ------
    ConfigError
        With one line per problem.
    """
    every = [*agents, *policies]
    problems = [
        f"policies: no policy '{name}' (allowed: {', '.join(BASELINES)}){did_you_mean(name, BASELINES)}"
        for name in policies
        if name not in BASELINES
    ]
    problems += [f"policies: '{name}' is given twice" for name in dict.fromkeys(policies) if policies.count(name) > 1]
    problems += [f"policies: '{name}' is also the name of a run" for name in policies if name in agents]
    problems += [
        f"references: no '{name}' among what is compared (allowed: {', '.join(every)}){did_you_mean(name, every)}"
        for name in references
        if name not in every
    ]
    if len(every) < 2:
        problems.append(
            f"policies: a comparison needs two policies, received {len(every)}; give policies=[...] of "
            f"{', '.join(BASELINES)}{'' if agents else ', or runs=[...]'}"
        )
    if problems:
        raise ConfigError("the comparison is not valid:\n" + "\n".join(f"  - {line}" for line in problems))


def _exact(contenders: Sequence[Contender]) -> dict[str, float]:
    """Exact cost of each, on average over its training seeds."""
    out = {}
    for one in tqdm(contenders, desc="exact costs", unit="policy", disable=None, leave=False):
        try:
            costs = [exact_cost(policy, task).cost for policy, task in one.members]
        except CogTwinError as error:
            raise ConfigError(f"exact: {one.name}: {error}") from None
        out[one.name] = sum(costs) / len(costs)
    return out


def _seeds(contenders: Sequence[Contender]) -> Mapping[str, Sequence[int]]:
    return {one.name: one.about.get("training_seeds", [0]) for one in contenders}


def _command(config: CompareConfig) -> None:
    target = Path(config.output) if config.output is not None else fresh_name("runs/compare")
    refuse_to_overwrite(target)
    found = compare(config)
    found.save(target)
    say(found.comparison.table())
    say(f"\nwritten to: {target}")
    say(f"report:     {target / 'report.html'}")


make_callable(__name__, "experiments.frames:compare")


def main() -> None:
    """Command line."""
    run_command("compare", CompareConfig, _command, HELP)


if __name__ == "__main__":
    main()
