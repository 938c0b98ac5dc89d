"""Checkpoints of a training run: everything that a resumed run needs to go on as if it had never stopped.

A checkpoint holds the model with its optimiser (SB3's zip), normalisation statistics, the replay buffer of off-policy
algorithms, the state of every replica, and all random states. It is written into a folder beside the current one and
swapped in whole, so that a kill at any moment leaves one that loads.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.learners.normalise import load_normalisation, save_normalisation, unwrap
from agents.learners.sb3 import load
from envs.core import Batch
from envs.sb3 import TwinVecEnv
from twin.errors import RunError
from twin.state import StateArrays

__all__ = ["exists", "latest", "restore", "save"]

_BUFFER_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save(folder: Path, model: BaseAlgorithm, extra: dict[str, Any]) -> None:
    """Write a checkpoint as ``folder``, replacing an older one.

    Parameters
    ----------
    extra
        Plain data to store beside it (for example the best cost so far).
    """
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    normalise = unwrap(model.get_env())
    model.save(fresh / "model.zip")
    save_normalisation(fresh / "normalisation.npz", normalise)
    np.savez(fresh / "world.npz", **_world(normalise.venv))
    np.savez(fresh / "random.npz", **_random_states(model))
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        buffer = model.replay_buffer
        arrays = {name: getattr(buffer, name)[: buffer.size()] for name in _BUFFER_ARRAYS}
        np.savez(fresh / "replay.npz", position=np.array([buffer.pos, int(buffer.full)]), **arrays)
    progress = {
        "timesteps": model.num_timesteps,
        "updates": int(getattr(model, "_n_updates", 0)),
        "episodes": int(model._episode_num),
        "extra": extra,
    }
    (fresh / "progress.json").write_text(json.dumps(progress, indent=2) + "\n", encoding="utf-8")
    # Two renames: between them only ".old" and ".new" exist, and latest() takes the old one. Where an earlier writer
    # was killed there, ".old" is all there is, and stays until the fresh one has its place.
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Whether there is a complete checkpoint to resume from."""
    return any((folder.with_name(folder.name + end) / "progress.json").is_file() for end in ("", ".old"))


def latest(folder: Path) -> Path:
    """The complete checkpoint at ``folder``, or the one a killed writer left beside it.

    Raises
    ------
    RunError
        When there is none.
    """
    for name in (folder.name, folder.name + ".old"):
        candidate = folder.with_name(name)
        if (candidate / "progress.json").is_file():
            return candidate
    raise RunError(f"{folder.parent} holds no checkpoint to resume from")


def restore(folder: Path, name: str, world: TwinVecEnv, *, device: str) -> tuple[BaseAlgorithm, dict[str, Any]]:
    """Load a checkpoint into a model on ``world``; returns the model and the extra data.

    Raises
    ------
    RunError
        When a file is missing or does not fit the environment.
    """
    folder = latest(folder)
    progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    normalise = load_normalisation(folder / "normalisation.npz", world, training=True)
    model = load(name, folder / "model.zip", normalise, device=device)
    model._episode_num = progress["episodes"]
    with np.load(folder / "world.npz", allow_pickle=False) as data:
        _restore_world(world, data)
    normalise.old_obs = world.batch.observe()
    normalise.old_reward = np.zeros(world.num_envs)
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        with np.load(folder / "replay.npz", allow_pickle=False) as data:
            size = len(data["rewards"])
            for array in _BUFFER_ARRAYS:
                getattr(model.replay_buffer, array)[:size] = data[array]
            model.replay_buffer.pos = int(data["position"][0])
            model.replay_buffer.full = bool(data["position"][1])
    with np.load(folder / "random.npz", allow_pickle=False) as data:
        _restore_random_states(model, data)
    return model, progress["extra"]


def _world(world: Any) -> dict[str, Any]:
    beside = {} if world.beside is None else {f"beside_{key}": value for key, value in _batch(world.beside).items()}
    return {**_batch(world.batch), **beside, **{f"sum_{key}": value for key, value in world.running_sums().items()}}


def _batch(batch: Batch) -> dict[str, Any]:
    state = batch.twin.state
    arrays = {f"state_{name}": value for name, value in zip(StateArrays._fields, state.arrays, strict=True)}
    return {
        **arrays,
        "seed": state.seed,
        "replica": state.replica,
        "episode": state.episode,
        "period": state.period,
        "head": np.array(state.head),
        "elapsed": batch.elapsed,
        **({} if batch.belief is None else {"belief": batch.belief}),
    }


def _restore_world(world: TwinVecEnv, data: Any) -> None:
    _restore_batch(world.batch, data)
    if world.beside is not None:
        _restore_batch(world.beside, data, "beside_")
        world.beside.observe()
    for key, value in world.running_sums().items():
        value[...] = data[f"sum_{key}"]


def _restore_batch(batch: Batch, data: Any, prefix: str = "") -> None:
    state = batch.twin.state
    if data[prefix + "period"].shape != state.period.shape:
        raise RunError(f"the checkpoint has {len(data['period'])} replicas, the environment {state.replicas}")
    for name, array in zip(StateArrays._fields, state.arrays, strict=True):
        array[...] = data[f"{prefix}state_{name}"]
    state.seed[:], state.replica[:] = data[prefix + "seed"], data[prefix + "replica"]
    state.episode[:], state.period[:] = data[prefix + "episode"], data[prefix + "period"]
    state.head = int(data[prefix + "head"])
    batch.elapsed[:] = data[prefix + "elapsed"]
    if batch.belief is not None:
        batch.belief[:] = data[prefix + "belief"]


def _random_states(model: BaseAlgorithm) -> dict[str, Any]:
    _, numpy_key, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (SB3 draws from it)
    version, internal, gauss = random.getstate()
    generator = model.action_space.np_random.bit_generator.state
    space = generator["state"]
    out = {
        "torch": torch.get_rng_state().numpy(),
        "numpy_key": np.asarray(numpy_key),
        "numpy_rest": np.array([position, has_gauss, cached], dtype=np.float64),
        "python": np.array([version, *internal], dtype=np.uint64),
        "python_gauss": np.array([np.nan if gauss is None else gauss]),
        # 128-bit numbers as text: npz has no such type
        "space": np.array([str(space["state"]), str(space["inc"])]),
        "space_rest": np.array([generator["has_uint32"], generator["uinteger"]]),
    }
    if model._last_obs is not None:
        out["last_observation"] = np.asarray(model._last_obs)
        out["last_starts"] = np.asarray(model._last_episode_starts)
    if model._last_original_obs is not None:
        out["last_original"] = np.asarray(model._last_original_obs)
    return out


def _restore_random_states(model: BaseAlgorithm, data: Any) -> None:
    torch.set_rng_state(torch.from_numpy(data["torch"].copy()))
    position, has_gauss, cached = data["numpy_rest"]
    np.random.set_state(("MT19937", data["numpy_key"], int(position), int(has_gauss), float(cached)))  # noqa: NPY002
    gauss = float(data["python_gauss"][0])
    numbers = [int(x) for x in data["python"]]
    random.setstate((numbers[0], tuple(numbers[1:]), None if np.isnan(gauss) else gauss))
    generator = model.action_space.np_random.bit_generator
    state = dict(generator.state)
    state["state"] = {"state": int(str(data["space"][0])), "inc": int(str(data["space"][1]))}
    state["has_uint32"], state["uinteger"] = (int(x) for x in data["space_rest"])
    generator.state = state
    if "last_observation" in data:
        model._last_obs = data["last_observation"].copy()
        model._last_episode_starts = data["last_starts"].copy()
    if "last_original" in data:
        model._last_original_obs = data["last_original"].copy()
