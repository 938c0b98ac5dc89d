"""Many replicas of a task as a gymnasium.vector environment, in one process and one kernel call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.core import Batch, known_optimum
from envs.task import Task
from twin.errors import ActionError

__all__ = ["TwinVectorEnv"]


class TwinVectorEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """B replicas that step together; a replica whose episode ends starts its next one in the same step.

    Slot b of ``reset(seed=s)`` equals a single environment with ``replica=b`` and ``reset(seed=s)``. ``infos`` holds
    ``cost_terms`` (name -> (B,)), ``optimum`` (name, value and source, each (B,)) where it is known, ``repaired`` (B,)
    and ``action_mask`` (B, n) where a task has them, and at the end of episodes ``final_obs`` with its mask
    ``_final_obs``.

    Parameters
    ----------
    task
        The decision problem.
    num_envs
        Number of replicas B.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (gymnasium's)
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, task: Task, num_envs: int, *, render_mode: str | None = None) -> None:
        self.task = task
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.observation_space = batch_space(task.observation_space, num_envs)
        self.action_space = batch_space(task.action_space, num_envs)
        self.batch = Batch(task, num_envs)
        self.metadata = {**type(self).metadata, **known_optimum(task)}
        self._terms = self.batch.twin.cost_names()
        self._seeded = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if options:
            raise ActionError(f"reset takes no options, received {sorted(options)}")
        slots = np.arange(self.num_envs, dtype=np.uint32)
        if isinstance(seed, (int, np.integer)):
            seed = int(seed)
            super().reset(seed=seed)
            self._seeded = True
            seeds = np.full(self.num_envs, seed, dtype=np.uint64)
            return self.batch.reset(seeds, slots, np.zeros_like(slots)), self._known()
        if seed is not None:
            if len(seed) != self.num_envs or any(s is None for s in seed):
                raise ActionError(f"a list of seeds needs one whole number per environment ({self.num_envs})")
            self._seeded = True
            # One seed per environment: each is path 0 of its own seed, as a single environment would be.
            return self.batch.reset(
                np.array(seed, dtype=np.uint64), np.zeros_like(slots), np.zeros_like(slots)
            ), self._known()
        if self._seeded:
            return self.batch.restart(np.arange(self.num_envs)), self._known()
        self._seeded = True
        seeds = np.full(self.num_envs, self.np_random.integers(2**63), dtype=np.uint64)
        return self.batch.reset(seeds, slots, np.zeros_like(slots)), self._known()

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        result = self.batch.step(actions)
        costs = dict(zip(self._terms, result.costs.copy(), strict=True))
        infos: dict[str, Any] = {"cost_terms": costs}
        if result.repaired is not None:
            infos["repaired"] = result.repaired
        observation = result.observation
        if result.ended.any():
            infos["final_obs"] = observation.copy()
            infos["_final_obs"] = result.ended.copy()
            if self.task.finite:
                infos["terminal_value"] = result.terminal_value
                infos["_terminal_value"] = result.ended.copy()
            observation = self.batch.restart(np.flatnonzero(result.ended))
        infos.update(self._known())
        none = np.zeros_like(result.ended)
        terminated, truncated = (result.ended, none) if self.task.finite else (none, result.ended)
        return observation, result.reward, terminated, truncated, infos

    def _known(self) -> dict[str, Any]:
        """What is known at a decision epoch: the optimum, and which discrete actions are possible."""
        mask = self.task.mask(self.batch.twin)
        # Texts as objects: arrays of fixed width would be copied in full at every step.
        known: dict[str, Any] = {
            key: {
                name: np.full(self.num_envs, value, dtype=object if isinstance(value, str) else None)
                for name, value in entry.items()
            }
            for key, entry in known_optimum(self.task).items()
        }
        return known if mask is None else known | {"action_mask": mask}

    def render(self) -> Any:
        """The first replica, as text or picture."""
        from envs.render import render_ansi, render_rgb

        return (render_ansi if self.render_mode == "ansi" else render_rgb)(self.batch.twin, None)
