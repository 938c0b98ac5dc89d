"""Running normalisation of observations and rewards (SB3's VecNormalize), stored as numbers, not as a pickle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from twin.errors import RunError
from twin.files import write_bytes

__all__ = ["load_normalisation", "save_normalisation", "unwrap", "wrap"]


def wrap(
    venv: VecEnv, *, observation: bool, reward: bool, clip_observation: float, gamma: float, training: bool = True
) -> VecNormalize:
    """Wrap a VecEnv. With both switches off it passes everything through unchanged."""
    return VecNormalize(
        venv,
        training=training,
        norm_obs=observation,
        norm_reward=reward,
        clip_obs=clip_observation,
        clip_reward=10.0,
        gamma=gamma,
    )


def unwrap(venv: VecEnv | None) -> VecNormalize:
    """The VecNormalize around a model's environment."""
    if not isinstance(venv, VecNormalize):
        raise RunError(f"expected a normalised environment, found {type(venv).__name__}")
    return venv


def save_normalisation(path: Path, normalise: VecNormalize) -> None:
    """Write statistics and running returns as ``.npz``, whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {
        "switches": np.array([normalise.norm_obs, normalise.norm_reward]),
        "scalars": np.array([normalise.clip_obs, normalise.clip_reward, normalise.gamma, normalise.epsilon]),
        "returns": normalise.returns,
    }
    pairs: list[tuple[str, Any]] = [("reward", normalise.ret_rms)]
    if normalise.norm_obs:
        pairs.append(("observation", normalise.obs_rms))
    for name, statistics in pairs:
        if not isinstance(statistics, RunningMeanStd):
            raise RunError("only Box observations can be normalised")
        arrays[f"{name}_mean"] = np.asarray(statistics.mean)
        arrays[f"{name}_var"] = np.asarray(statistics.var)
        arrays[f"{name}_count"] = np.asarray(statistics.count)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def load_normalisation(path: Path, venv: VecEnv, *, training: bool) -> VecNormalize:
    """Wrap ``venv`` with the statistics of :func:`save_normalisation`.

    Raises
    ------
    RunError
        When the file is missing or belongs to another observation.
    """
    if not path.is_file():
        raise RunError(f"no normalisation file {path}; the run folder is incomplete")
    with np.load(path, allow_pickle=False) as data:
        clip_observation, clip_reward, gamma, epsilon = (float(x) for x in data["scalars"])
        observation, reward = (bool(x) for x in data["switches"])
        normalise = VecNormalize(
            venv,
            training=training,
            norm_obs=observation,
            norm_reward=reward,
            clip_obs=clip_observation,
            clip_reward=clip_reward,
            gamma=gamma,
            epsilon=epsilon,
        )
        _fill(normalise.ret_rms, data, "reward")
        if observation:
            if data["observation_mean"].shape != venv.observation_space.shape:
                raise RunError(
                    f"{path} holds {data['observation_mean'].shape} observations, "
                    f"the environment has {venv.observation_space.shape}"
                )
            _fill(normalise.obs_rms, data, "observation")
        if len(data["returns"]) == venv.num_envs:
            normalise.returns = data["returns"].copy()
    return normalise


def _fill(statistics: Any, data: Any, name: str) -> None:
    statistics.mean = data[f"{name}_mean"].copy()
    statistics.var = data[f"{name}_var"].copy()
    statistics.count = float(data[f"{name}_count"])
