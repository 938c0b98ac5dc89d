"""A finished run as objects: its task, its policy, its tuned classical policies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from experiments.problems import load_tuned, make_task, task_arguments
from experiments.runs import RunFolder
from twin.compile import CompiledNetwork, compile_network
from twin.errors import RunError
from twin.network import Network

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


def load_run(path: str | Path, *, model: str = "best") -> LoadedRun:
    """Load a run folder; the network is the one stored with the run.

    Parameters
    ----------
    model
        ``best`` (on the validation seeds) or ``last``.

    Raises
    ------
    RunError
        When a part is missing.
    """
    folder = RunFolder.open(path)
    config = folder.config()
    if not (folder.path / "network.yaml").is_file():
        raise RunError(f"{folder.path} holds no network.yaml; the run did not get far enough")
    compiled = compile_network(Network.load(folder.path / "network.yaml"))
    tuned = load_tuned(folder.path / "baselines.json", compiled)
    arguments = task_arguments(config.env, tuned)
    task = make_task(compiled, config.env, tuned, config.network)
    world = TwinVecEnv(task, 1)
    normalise = load_normalisation(folder.path / model / "normalisation.npz", world, training=False)
    loaded = load(config.agent.algorithm, folder.path / model / "model.zip", device="cpu")
    return LoadedRun(folder, config, compiled, task, dict(arguments), loaded, normalise, tuned, model)
