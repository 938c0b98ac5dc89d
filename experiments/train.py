"""Train an agent: ``python -m experiments.train experiment=essential_medicines_ppo``."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from agents.learners import checkpoint
from agents.learners.callbacks import CostLog, Progress, Stopper, Validation, save_model
from agents.learners.logs import ContinuedCsv
from agents.learners.normalise import wrap
from agents.learners.sb3 import build
from envs.sb3 import TwinVecEnv
from experiments.callable_module import make_callable
from experiments.cli import run_command, say
from experiments.config import TrainConfig
from experiments.problems import compiled_network, load_tuned, make_task, references, save_tuned, tune_all
from experiments.runs import RunFolder, versions
from twin.compile import CompiledNetwork
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

__all__ = ["TrainResult", "main", "train"]

HELP = """
Train an agent on a network.

  python -m experiments.train experiment=essential_medicines_ppo
  python -m experiments.train network=five_site_distribution env=inventory_residual agent=sac training.steps=200000
  python -m experiments.train network=file network.name=my_network.yaml training=smoke evaluation=smoke tuning=smoke
  python -m experiments.train resume=runs/essential_medicines_ppo/<folder> extend=500000
  python -m experiments.train -m experiment=lost_sales_ppo training.seed=0,1,2

Every key of configs/train.yaml and of its groups can be set with key=value.
"""


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes
    ----------
    folder
        The run folder.
    status
        ``finished`` or ``interrupted``.
    best_cost
        Lowest mean cost per period on the validation seeds.
    timesteps
        Environment steps taken.
    """

    folder: Path
    status: str
    best_cost: float
    timesteps: int


def train(config: TrainConfig) -> TrainResult:
    """Train from a checked configuration, or resume the run folder it names.

    Raises
    ------
    RunError
        When the folder to resume is missing, busy or finished.
    """
    if config.resume is not None:
        folder = RunFolder.open(config.resume)
        with folder.locked():
            stored = folder.config()
            steps = stored.training.steps + config.extend
            extended = stored.model_copy(update={"training": stored.training.model_copy(update={"steps": steps})})
            return _run(extended, folder, resumed=True, extended=config.extend > 0)
    if config.extend:
        raise ConfigError("extend: adds steps to a run that resume= names; for a new run use training.steps=")
    # A network that does not exist leaves no folder behind.
    compiled_network(config.network, config.env, config.scenario)
    folder = RunFolder.create(config.output, config.name, config)
    with folder.locked():
        return _run(config, folder, resumed=False)


def _run(config: TrainConfig, folder: RunFolder, *, resumed: bool, extended: bool = False) -> TrainResult:
    training = config.training
    compiled = compiled_network(config.network, config.env, config.scenario)
    info = folder.info()
    if info.get("network_hash") not in {None, compiled.content_hash()}:
        raise RunError(f"{folder.path}: the network '{config.network.name}' has changed since the run started")
    # A run that was killed before its first checkpoint starts over, in the same folder.
    resumed = resumed and checkpoint.exists(folder.path / "checkpoint")
    if resumed and info.get("status") == "finished" and not extended:
        why = f"its {training.steps:,} steps" if info.get("ended_by") != "patience" else "because nothing got better"
        raise RunError(f"{folder.path} has finished {why}; add steps with extend=<steps>")
    seeds = {
        "training": world_seed(Purpose.TRAINING, training.seed),
        "tuning": world_seed(Purpose.TUNING, config.tuning.seed),
        "validation": world_seed(Purpose.VALIDATION, training.seed),
        "evaluation": world_seed(Purpose.EVALUATION, config.evaluation.seed),
    }
    folder.write_config(config)
    compiled.network.save(folder.path / "network.yaml")
    folder.update(
        status="running",
        seeds=seeds,
        versions=versions(),
        algorithm=config.agent.algorithm,
        network=compiled.network.name,
        network_hash=compiled.content_hash(),
    )
    try:
        return _learn(config, folder, compiled, resumed=resumed, extended=extended)
    except KeyboardInterrupt:
        folder.update(status="interrupted")
        raise
    except BaseException:
        folder.update(status="failed")
        raise


def _learn(
    config: TrainConfig, folder: RunFolder, compiled: CompiledNetwork, *, resumed: bool, extended: bool
) -> TrainResult:
    training, info = config.training, folder.info()
    seeds, earlier = info["seeds"], info.get("durations_s", {}) if resumed else {}
    checkpoint_folder = folder.path / "checkpoint"
    started = time.perf_counter()
    torch.set_num_threads(training.threads)
    tuned_file = folder.path / "baselines.json"
    if tuned_file.is_file():
        tuned = load_tuned(tuned_file, compiled)
    else:
        tuned = tune_all(compiled, config.tuning, references(config.env), env=config.env)
        save_tuned(tuned_file, tuned, compiled)
    tuning_seconds = time.perf_counter() - started

    task = make_task(compiled, config.env, tuned, config.network)
    world = TwinVecEnv(
        task,
        training.replicas,
        seed=seeds["training"],
        stagger=training.stagger,
        accrual=training.accrual,
        paired=training.paired,
    )
    validation = Validation(
        task,
        folder.path,
        every=training.evaluate_every,
        seed=seeds["validation"],
        patience=training.patience,
        **training.validation.model_dump(),
    )
    if resumed:
        model, extra = checkpoint.restore(checkpoint_folder, config.agent.algorithm, world, device=training.device)
    else:
        model, extra = _build(config, world), None
    done = model.num_timesteps
    model.set_logger(
        Logger(
            str(folder.path),
            [
                ContinuedCsv(folder.path / "progress.csv", keep_until=done if resumed else None),
                TensorBoardOutputFormat(str(folder.path / "tensorboard")),
            ],
        )
    )

    def durations() -> dict[str, float]:
        total = time.perf_counter() - started
        parts = {
            "total": total,
            "tuning": tuning_seconds,
            "twin": world.twin_seconds,
            "learning": total - tuning_seconds,
        }
        return {name: round(earlier.get(name, 0.0) + seconds, 2) for name, seconds in parts.items()}

    def state() -> dict[str, Any]:
        # The time spent is kept with every checkpoint: what was killed counts too.
        return {**validation.state(), "durations_s": durations()}

    stopper = Stopper(checkpoint_folder, every=training.checkpoint_every, extra=state)
    if extra is not None:
        validation.set_state(extra)
        earlier = max(earlier, extra.get("durations_s", {}), key=lambda known: known.get("total", 0.0))
        if extended:
            validation.since_best = 0
    else:
        checkpoint.save(checkpoint_folder, model, state())  # from now on there is something to resume from
    previous = _install(stopper)
    try:
        model.learn(
            training.steps - done,
            callback=[CostLog(world), Progress(training.steps), validation, stopper],
            reset_num_timesteps=not resumed,
            log_interval=1 if _on_policy(model) else 10,
        )
    except KeyboardInterrupt:  # a second Ctrl-C: the model of this moment, the checkpoint of the last safe point
        stopper.requested = True
    finally:
        _uninstall(previous)
    status = "interrupted" if stopper.requested and model.num_timesteps < training.steps else "finished"
    if status == "finished":
        validation.run()
        stopper.save()
    else:
        save_model(folder.path / "last", model)
        if not (folder.path / "best").is_dir():
            save_model(folder.path / "best", model)
    model.logger.close()
    folder.update(
        status=status,
        ended_by="patience" if validation.exhausted and model.num_timesteps < training.steps else "steps",
        timesteps=model.num_timesteps,
        best_validation_cost=validation.best_cost if np.isfinite(validation.best_cost) else None,
        durations_s=durations(),
    )
    return TrainResult(folder.path, status, validation.best_cost, model.num_timesteps)


def _build(config: TrainConfig, world: TwinVecEnv) -> BaseAlgorithm:
    agent = config.agent
    parameters = dict(agent.parameters)
    if "batch_size" in parameters and "n_steps" in parameters:  # a smaller rollout than usual is one minibatch
        parameters["batch_size"] = min(parameters["batch_size"], parameters["n_steps"] * world.num_envs)
    return build(
        agent.algorithm,
        wrap(world, gamma=float(parameters.get("gamma", 0.99)), **agent.normalise.model_dump()),
        parameters=parameters,
        net_arch=list(agent.net_arch),
        activation=agent.activation,
        log_std_init=agent.log_std_init,
        schedule=agent.schedule,
        seed=config.training.seed,
        device=config.training.device,
    )


def _on_policy(model: Any) -> bool:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    return isinstance(model, OnPolicyAlgorithm)


def _install(stopper: Stopper) -> list[tuple[signal.Signals, Any]]:
    """First signal: stop at a safe point. Second Ctrl-C: at once. Only the main thread can install handlers."""

    def handler(number: int, _: object) -> None:
        if stopper.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopper.request()

    try:
        return [(sig, signal.signal(sig, handler)) for sig in (signal.SIGINT, signal.SIGTERM)]
    except ValueError:
        return []


def _uninstall(previous: list[tuple[signal.Signals, Any]]) -> None:
    for sig, handler in previous:
        signal.signal(sig, handler)


def _command(config: TrainConfig) -> None:
    result = train(config)
    say(f"{result.status} after {result.timesteps:,} steps; best validation cost {result.best_cost:,.4g} per period")
    say(f"run folder: {result.folder}")
    if result.status == "interrupted" and _in_sweep():
        raise KeyboardInterrupt  # whoever stops a sweep does not want its next run


def _in_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


make_callable(__name__, "experiments.words:train")


def main() -> None:
    """Command line."""
    run_command("train", TrainConfig, _command, HELP)


if __name__ == "__main__":
    main()
