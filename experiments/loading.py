"""A finished run as objects: its task, its policy, its tuned classical policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.baselines.tuning import TunedPolicy
from agents.learners.normalise import load_normalisation
from agents.learners.sb3 import NormalisedPolicy, load
from envs.inventory import InventoryTask
from envs.routing import RoutingTask
from envs.sb3 import TwinVecEnv
from experiments.config import TrainConfig
from experiments.problems import load_tuned, make_task, routing_task, task_arguments
from experiments.runs import RunFolder
from twin.compile import CompiledNetwork, compile_network
from twin.errors import RunError
from twin.liner.scenarios import scenario_names
from twin.network import Network
from twin.scenarios import Scenario, laid_over

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LoadedRun", "load_run"]


@dataclass(frozen=True)
class LoadedRun:
    """What a run folder holds.

    Attributes
    ----------
    policy
        The model with its own normalisation: raw observations in, actions out.
    arguments
        Keyword arguments that rebuild the task.
    which
        ``best`` or ``last``: which model it is.
    scenario
        Laid over the network that it was trained on.
    """

    folder: RunFolder
    config: TrainConfig
    compiled: CompiledNetwork
    task: InventoryTask | RoutingTask
    arguments: dict[str, object]
    model: BaseAlgorithm
    normalise: VecNormalize
    tuned: dict[str, TunedPolicy]
    which: str = "best"
    scenario: Scenario | None = None

    @property
    def progress(self) -> pd.DataFrame:
        """``progress.csv`` as a frame: a row per log entry, ``steps`` first; needs the extra ``frames``."""
        from experiments.frames import pandas

        frame = pandas().read_csv(self.folder.path / "progress.csv")
        return frame.rename(columns={"time/total_timesteps": "steps"}).set_index("steps").reset_index()

    @property
    def validation(self) -> pd.DataFrame:
        """Costs on the validation paths: a row per measurement and path; needs the extra ``frames``."""
        from experiments.frames import pandas
        from experiments.plots.learning import validation_costs

        steps, costs = validation_costs(self.folder.path)
        number, paths = costs.shape
        columns = {"steps": steps.repeat(paths), "path": np.tile(np.arange(paths), number), "cost": costs.ravel()}
        return pandas().DataFrame({"training_seed": self.config.training.seed, **columns})

    @property
    def policy(self) -> NormalisedPolicy:
        """Ready to predict."""
        return NormalisedPolicy(self.model, self.normalise)


def load_run(path: str | Path, *, model: str = "best", scenario: Scenario | None = None) -> LoadedRun:
    """Load a run folder; the network is the one stored with the run.

    Parameters
    ----------
    model
        ``best`` (on the validation seeds) or ``last``.
    scenario
        Laid over the network: policies stay as they were trained and tuned, and meet what they were not. What a run was
        trained with stays beside it; on a liner network it takes that one's place.

    Raises
    ------
    NetworkError
        When the scenario does not fit the network.
    RunError
        When a part is missing, or the policy cannot act in the scenario.
    """
    folder = RunFolder.open(path)
    config = folder.config()
    if not (folder.path / "network.yaml").is_file():
        raise RunError(f"{folder.path} holds no network.yaml; the run did not get far enough")
    compiled = compile_network(Network.load(folder.path / "network.yaml"))
    tuned = load_tuned(folder.path / "baselines.json", compiled)
    arguments = task_arguments(config.env, tuned)
    task = make_task(compiled, config.env, tuned, config.network)
    if scenario is not None and scenario.name != "none":
        config = config.model_copy(update={"env": config.env.meets(scenario.name)})
        task = _under(scenario, task, config, arguments)
        compiled = task.compiled
    world = TwinVecEnv(task, 1)
    normalise = load_normalisation(folder.path / model / "normalisation.npz", world, training=False)
    loaded = load(config.agent.algorithm, folder.path / model / "model.zip", device="cpu")
    return LoadedRun(folder, config, compiled, task, dict(arguments), loaded, normalise, tuned, model, scenario)


def _under(
    scenario: Scenario, usual: InventoryTask | RoutingTask, config: TrainConfig, arguments: Mapping[str, Any]
) -> InventoryTask | RoutingTask:
    """The task of a run in a scenario: other worlds, and observations and actions that mean what they meant."""
    if isinstance(usual, RoutingTask):
        if scenario or scenario.name not in scenario_names():
            allowed = ", ".join(scenario_names())
            raise RunError(f"scenario '{scenario.name}': the run is on a liner network (allowed: {allowed})")
        there = routing_task(config.network, config.env)
        if there.fields != usual.fields:
            here = {field.name for field in there.fields}
            gone = [field.name for field in usual.fields if field.name not in here]
            listed = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "") or "other fields"
            raise RunError(f"scenario '{scenario.name}': it does not show {listed}; train with scenario=")
        return there
    if scenario.name == config.scenario.name:
        raise RunError(
            f"scenario '{scenario.name}': the run was trained with one of this name, which stays; leave scenario= out, "
            "or give another scenario.name"
        )
    if not scenario:
        raise RunError(f"scenario '{scenario.name}': is for liner networks, or nothing happens in it")
    if config.env.switching or usual.watcher is not None:
        raise RunError(
            "scenario: of runs, only those that decide on inventories without an outlook can meet one that they were "
            "not trained with (the belief behind other decisions would know of it); train with scenario="
        )
    shown = [block.group for block in usual.observation.blocks]
    network = laid_over(usual.compiled.network, scenario)
    task = InventoryTask(compile_network(network), **{**arguments, "observe": shown})
    known = {field.name for field in usual.fields}
    new = [field.name for field in task.fields if field.name not in known]
    if new:
        unknown = ", ".join(new)
        raise RunError(f"scenario '{scenario.name}': the policy was trained without {unknown}; train with scenario=")
    # The usual boxes: what a number of the policy stands for does not change because demand has another mean.
    task.codec, task.fields, task.observation_space = usual.codec, usual.fields, usual.observation_space
    task.observation.low, task.observation.high = usual.observation.low, usual.observation.high
    return task
