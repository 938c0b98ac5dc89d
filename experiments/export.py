"""Export a policy as a bundle: ``python -m experiments.export run=<folder>``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from agents.advisor.canonical import digest
from agents.advisor.guardrails import Guardrails
from agents.bundle import Bundle
from agents.bundle_rules import act_of_rule, export_rule
from agents.bundle_writer import Extras
from agents.learners.extract import act_of, export_sb3
from agents.registry import baseline
from experiments.callable_module import make_callable
from experiments.cli import run_command, say
from experiments.config import EnvConfig, ExportConfig
from experiments.contenders import Contender, classical, grouped
from experiments.export_parts import check_episodes, chosen_fallback, measured, usual_states
from experiments.loading import load_run
from experiments.problems import compiled_network, task_arguments, usual
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

__all__ = ["export", "main"]

HELP = """
Write a policy as files that a production system can trust: no torch, no pickle, every file hashed.

  python -m experiments.export run=runs/essential_medicines_ppo/<folder>
  python -m experiments.export run=runs/essential_medicines_ppo/<folder> model=last output=medicines.zip
  python -m experiments.export policy=capped_base_stock network=lost_sales_zipkin2008 output=capped

With the policy go: a tuned classical policy to fall back on, what states of training look like, cost, tail and service
beside the classical policies on fresh paths, a guard file, and a card that says all of it. See docs/bundles.md.
"""


def export(config: ExportConfig) -> Path:
    """Write the bundle; returns its folder or zip.

    Raises
    ------
    ConfigError
        When neither a run nor a policy is given, or both; or the guard file is not valid.
    BundleError
        When there is something at the output, or the exported policy does not reproduce the original.
    """
    if (config.run is None) == (config.policy is None):
        raise ConfigError("give either run=<run folder> or policy=<name> with network=<name>")
    return (_export_run(config, config.run) if config.run is not None else _export_policy(config)).path


def _export_run(config: ExportConfig, folder: str) -> Bundle:
    if config.network is not None or config.env is not None:
        raise ConfigError("network and env are those of the run; leave them out")
    run = load_run(folder, model=config.model)
    check_episodes(run.task, config.episodes)
    info, act = run.folder.info(), act_of(run.model, run.normalise)
    # The rule that a switching policy corrects may remember what has been, and a fallback must not.
    wanted = config.fallback or ("status_switching" if run.config.env.switching else None)
    names = list(dict.fromkeys([*run.tuned, *([] if wanted is None else [wanted])]))
    network = run.config.network
    rules = classical(names, run.compiled, run.config.env, config.tuning, known=run.tuned, network=network)
    contenders = [*grouped([run]), *rules]
    comparison = measured(run.compiled, run.config.env, config.evaluation, contenders)
    seeds = {"training_seed": run.config.training.seed, **(info.get("seeds") or {})}
    extras = _extras(config, run.task, act, contenders, comparison, seeds, run.config.model_dump(mode="json"))
    return export_sb3(
        Path(config.output) if config.output is not None else run.folder.path / "bundle",
        model=run.model,
        normalize=run.normalise,
        task=run.task,
        environment_id=run.config.env.id,
        arguments=run.arguments,
        training_info={
            "run": run.folder.path.name,
            "model": config.model,
            "timesteps": info.get("timesteps"),
            "best_validation_cost": info.get("best_validation_cost"),
            "versions": info.get("versions"),
        },
        extras=extras,
    )


def _export_policy(config: ExportConfig) -> Bundle:
    if config.network is None:
        raise ConfigError(f"give the network that '{config.policy}' is to be tuned on: network=<name>")
    if config.output is None:
        raise ConfigError("say where the bundle goes: output=<folder>, or output=<name>.zip")
    env, name = config.env or EnvConfig(), baseline(str(config.policy)).name
    compiled = compiled_network(config.network, env)
    names = (name, *(other for other in usual(env) if other != name))
    contenders = classical(names, compiled, env, config.tuning, network=config.network)
    (policy, task), tuned = contenders[0].members[0], contenders[0].tuned
    check_episodes(task, config.episodes)
    if tuned is None:
        raise RunError(f"'{name}' was not tuned")
    comparison = measured(compiled, env, config.evaluation, contenders)
    seeds = {"tuning": world_seed(Purpose.TUNING, config.tuning.seed)}
    problem = {"network": config.network.model_dump(mode="json"), "env": env.model_dump(mode="json")}
    stated = {**problem, "policy": name, "tuning": config.tuning.model_dump(mode="json")}
    extras = _extras(config, task, act_of_rule(policy), contenders, comparison, seeds, stated)
    return export_rule(
        config.output,
        name=name,
        parameters=tuned.parameters,
        task=task,
        environment_id=env.id,
        arguments={**problem["network"], **task_arguments(env.model_copy(update={"residual": False}))},
        training_info={"tuning_cost": tuned.cost, "simulated_periods": tuned.simulated_periods},
        extras=extras,
    )


def _extras(
    config: ExportConfig,
    task: Any,
    act: Any,
    contenders: list[Contender],
    comparison: dict[str, Any],
    seeds: dict[str, Any],
    stated: dict[str, Any],
) -> Extras:
    """What goes into the bundle beside the policy."""
    rails = Guardrails() if config.guardrails is None else Guardrails.load(config.guardrails)
    valid_until = None
    if config.valid_days is not None:
        valid_until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=config.valid_days)
    return Extras(
        fallback=chosen_fallback(config.fallback, task, contenders, comparison),
        guardrails=rails,
        outliers=usual_states(task, act, config.episodes) if config.episodes else None,
        evaluation=comparison,
        seeds={**seeds, "evaluation": world_seed(Purpose.EVALUATION, config.evaluation.seed)},
        config_hash=digest(stated),
        highest_mode=config.highest_mode,
        valid_until=valid_until,
    )


def _command(config: ExportConfig) -> None:
    target = export(config)
    say(f"bundle: {target}")
    say(f"card:   python -m agents.bundle show bundle={target}")
    if target.is_dir():
        say(f"advice: python -m experiments.advise bundle={target} state={target / 'example_state.json'}")


make_callable(__name__, "experiments.words:export")


def main() -> None:
    """Command line."""
    run_command("export", ExportConfig, _command, HELP)


if __name__ == "__main__":
    main()
