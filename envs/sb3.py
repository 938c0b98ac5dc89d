"""The batched core as a stable_baselines3 VecEnv: thousands of replicas in one process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from envs.core import Batch, TwinEnv
from envs.task import Task
from twin.economics import fill_rate
from twin.errors import ActionError

__all__ = ["TwinVecEnv"]


_STAGGER_GROUPS = 16


class TwinVecEnv(VecEnv):
    """B replicas of a task for Stable-Baselines3.

    At the end of an episode ``infos[b]`` holds what SB3's Monitor would: ``episode`` with ``r`` (sum of rewards), ``l``
    (periods) and ``t`` (seconds), and besides ``costs`` (name -> mean per period) and ``fill_rate``.

    Parameters
    ----------
    task
        The decision problem.
    replicas
        Number of replicas B.
    seed
        Of the world; slot b follows path b.
    stagger
        Divide the slots into G groups (16, or fewer replicas) and cut the first episode of group g to ``(g + 1) / G``
        of the horizon, so that episodes do not all end in the same step: a batch in step with itself sees one phase at
        a time. Groups, because replicas that begin together take little more time than one.
    accrual
        Reward by accrual accounting: buying turns money into stock of the same value (at standard cost), which becomes
        a cost when it is consumed, and the consumption that customers ask for is left out because no action changes
        it. The long-run average differs from minus the cost by a constant only, so the best policies are the same; but
        a discount factor below 1 no longer pays for letting stock run down, and the noise of purchases is gone. For
        training continuing problems; episode statistics stay those of the true costs.
    paired
        Reward by how much better a decision is than the zero action on the same path: a second batch follows the same
        draws under it, and its rewards are taken off. What is to be learnt is the same, as no action changes them; the
        noise that both have in common, how long an outage happens to last, is gone. For actions that correct
        something; twice the simulation. Episode statistics stay those of the true costs.
    """

    def __init__(
        self,
        task: Task,
        replicas: int,
        *,
        seed: int = 0,
        stagger: bool = False,
        accrual: bool = False,
        paired: bool = False,
    ) -> None:
        if paired and (accrual or not _corrects(task)):
            raise ActionError("paired rewards need a box of actions with zero in it, and true costs (accrual=False)")
        if accrual and task.finite:
            raise ActionError("accrual rewards need a continuing problem: with a finite horizon leftover stock is lost")
        if accrual and (task.compiled.topology.demand_goodwill >= 0).any():
            raise ActionError("accrual rewards need demand that no action moves, and this network's has goodwill")
        self.accrual = accrual
        self.task = task
        self.batch = Batch(task, replicas)
        #: The same paths under the zero action, where rewards are paired.
        self.beside = Batch(task, replicas) if paired else None
        self._nothing = np.zeros((replicas, *(task.action_space.shape or ())), dtype=task.action_space.dtype)
        self.world_seed = seed
        self.stagger = stagger
        self._terms = self.batch.twin.cost_names()
        top, value = task.compiled.topology, task.compiled.unit_value
        self._values = value, value[top.arc_destination], value[top.demand_stock]
        self._actions: NDArray[Any] | None = None
        self._start = time.monotonic()
        self.twin_seconds = 0.0  # time spent in steps: a training run reports the twin's share
        #: Infos of replicas whose episodes go on: empty, and the same ones every step.
        self._quiet: list[dict[str, Any]] = [{} for _ in range(replicas)]
        self._render_env: TwinEnv | None = None
        self._clear()
        self.render_mode = "rgb_array"
        super().__init__(replicas, task.observation_space, task.action_space)

    def _clear(self) -> None:
        replicas, names = self.batch.replicas, len(self._terms)
        self._return = np.zeros(replicas)
        self._costs = np.zeros((names, replicas))
        self._asked, self._served = np.zeros(replicas), np.zeros(replicas)
        self._length = np.zeros(replicas, dtype=np.int64)
        self._book = self._book_value()

    def _training_reward(self, reward: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.beside is not None:
            return np.asarray(reward - self.beside.step(self._nothing).reward)
        if not self.accrual:
            return reward
        before, self._book = self._book, self._book_value()
        asked = self._values[2] @ self.batch.twin.state.arrays.demand
        return np.asarray(reward + (self._book - before) + asked)

    def _book_value(self) -> NDArray[np.float64]:
        """Value of stock on hand and under way minus what is owed to customers, at standard cost. Shape (B,)."""
        arrays = self.batch.twin.state.arrays
        held, coming, owed = self._values
        return np.asarray(held @ arrays.on_hand + coming @ arrays.in_transit - owed @ arrays.backlog)

    def running_sums(self) -> dict[str, NDArray[Any]]:
        """What the episodes under way have added up to so far, by name; a checkpoint stores and refills these."""
        return {
            "return": self._return,
            "costs": self._costs,
            "asked": self._asked,
            "served": self._served,
            "length": self._length,
            "book": self._book,
        }

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Leave the world as it is: SB3 passes the model's own seed here, but a world keeps the block it was given."""
        return [self.world_seed] * self.num_envs

    def reset(self) -> VecEnvObs:
        replicas = self.batch.replicas
        slots, seeds = np.arange(replicas, dtype=np.uint32), np.full(replicas, self.world_seed, dtype=np.uint64)
        observation = self.batch.reset(seeds, slots, np.zeros_like(slots))
        if self.beside is not None:
            self.beside.reset(seeds, slots, np.zeros_like(slots))
        self._clear()
        if self.stagger:
            horizon = self.task.horizon
            groups = min(_STAGGER_GROUPS, replicas)
            group = np.arange(replicas) * groups // replicas
            self.batch.elapsed[:] = horizon - np.ceil((group + 1) * horizon / groups).astype(np.int64)
            if self.beside is not None:
                self.beside.elapsed[:] = self.batch.elapsed
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        if self._actions is None:
            raise RuntimeError("step_wait() was called before step_async()")
        started = time.perf_counter()
        result = self.batch.step(self._actions)
        arrays = self.batch.twin.state.arrays
        self._return += result.reward
        self._costs += result.costs
        self._asked += np.add.reduce(arrays.demand, axis=0)
        self._served += np.add.reduce(arrays.served, axis=0)
        self._length += 1
        reward = self._training_reward(result.reward)
        if any(self._quiet):  # somebody has written into what was handed out
            self._quiet = [{} for _ in range(self.num_envs)]
        infos, observation = self._quiet.copy(), result.observation
        (ended,) = result.ended.nonzero()
        if len(ended):
            for b, info in zip(ended.tolist(), self._episode_infos(ended, observation[ended]), strict=True):
                infos[b] = info
            self._return[ended] = 0.0
            self._costs[:, ended] = 0.0
            self._asked[ended] = self._served[ended] = 0.0
            self._length[ended] = 0
            observation = self.batch.restart(ended)
            if self.beside is not None:
                self.beside.restart(ended)
            if self.accrual:
                self._book[ended] = self._book_value()[ended]
        self.twin_seconds += time.perf_counter() - started
        return observation, reward.astype(np.float32), result.ended, infos

    def _episode_infos(self, ended: NDArray[np.int64], observation: NDArray[np.float32]) -> list[dict[str, Any]]:
        """What SB3 is told of the episodes of replicas ``ended``; ``observation`` is their last."""
        length, asked = self._length[ended], self._asked[ended]
        seconds = round(time.monotonic() - self._start, 6)
        columns = (
            self._return[ended].tolist(),
            length.tolist(),
            (self._costs[:, ended] / length).T.tolist(),
            fill_rate(self._served[ended], asked).tolist(),
        )
        return [
            {
                "terminal_observation": last,
                "TimeLimit.truncated": not self.task.finite,
                "episode": {"r": total, "l": periods, "t": seconds},
                "costs": dict(zip(self._terms, costs, strict=True)),
                "fill_rate": share,
            }
            for last, total, periods, costs, share in zip(observation, *columns, strict=True)
        ]

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        if indices is not None:
            raise ValueError("replicas share one task; set an attribute for all of them (indices=None)")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        value = getattr(self, method_name)(*method_args, **method_kwargs)
        if method_name == "action_masks":
            return [value[b] for b in self._get_indices(indices)]
        return [value] * len(list(self._get_indices(indices)))

    def action_masks(self) -> NDArray[np.bool_]:
        """Which discrete actions are possible now, (B, n), as sb3-contrib's MaskablePPO asks for them."""
        mask = self.task.mask(self.batch.twin)
        if mask is None:
            raise ActionError("this task has no masks: all its actions are possible at all times")
        return mask

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        # Episode statistics come with the infos, as from SB3's Monitor.
        wrapped = wrapper_class.__name__ == "Monitor"
        return [wrapped] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        from envs.render import render_rgb

        return [render_rgb(self.batch.twin, None)]


def _corrects(task: Task) -> bool:
    """Whether actions are a box with zero in it."""
    space = task.action_space
    return isinstance(space, Box) and bool((space.low <= 0.0).all() and (space.high >= 0.0).all())
