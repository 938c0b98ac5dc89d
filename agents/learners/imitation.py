"""Learning to do what a slow classical policy would do, where the learner itself gets to.

A linear program knows what a slot of the next departures is worth, and takes half a second to say so. What it says is
close to linear in what is seen, so that a linear policy can say it in a millisecond. It learns by following what it has
learnt so far and asking the program what it would have done there (DAgger; Ross, Gordon & Bagnell, AISTATS 2011): what
is learnt on the program's own paths alone goes wrong where small differences have added up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from agents.learners.linear_policy import LinearPolicy
from agents.policy import Policy
from agents.registry import baseline, load_class
from envs.routing import RoutingTask
from envs.sb3 import TwinVecEnv
from twin.errors import ConfigError

__all__ = ["TEACHER", "Imitation"]

#: Who is asked where nobody else is named.
TEACHER = "routing_slot_price"


class Imitation(BaseAlgorithm):
    """Fits a :class:`agents.learners.linear_policy.LinearPolicy` to a classical policy's actions.

    All replicas follow the policy as it stands, from the zero action on; every few decisions the teacher is asked what
    it would do; after every ``n_steps`` decisions the policy is fitted anew to all its answers so far.

    Parameters
    ----------
    policy
        ``"LinearPolicy"`` (or ``"MlpPolicy"``, the name every algorithm knows).
    env
        A :class:`envs.sb3.TwinVecEnv`, whose observations are not normalised.
    learning_rate
        Not used; nothing is descended.
    teacher
        Name of a classical policy that takes actions of the task's mode.
    teacher_parameters
        Its keyword arguments.
    every
        The teacher is asked after so many decisions of a replica; on every decision some replicas ask it.
    n_steps
        Decisions between two fits.
    penalty
        Of the ridge regression, see :meth:`agents.learners.linear_policy.LinearPolicy.fit`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": LinearPolicy, "LinearPolicy": LinearPolicy}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: VecEnv | None,
        learning_rate: float | Schedule = 1.0,
        teacher: str = TEACHER,
        teacher_parameters: Mapping[str, Any] | None = None,
        every: int = 3,
        n_steps: int = 64,
        penalty: float = 0.03,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs=policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=(spaces.Box,),
        )
        for name, value in (("every", every), ("n_steps", n_steps)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, received {value!r}")
        if not 0.0 < penalty < np.inf:
            raise ConfigError(f"penalty must be a finite number above 0, received {penalty}")
        self.teacher, self.teacher_parameters = teacher, dict(teacher_parameters or {})
        self.every, self.n_steps, self.penalty = every, n_steps, penalty
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self.set_random_seed(self.seed)
        self._setup_lr_schedule()
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "lr_schedule"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []

    def _world(self) -> TwinVecEnv:
        env = self.env.unwrapped if self.env is not None else None
        if not isinstance(env, TwinVecEnv):
            raise ConfigError("imitation learns on a TwinVecEnv (envs.sb3), whose states it shows its teacher")
        if self._vec_normalize_env is not None and self._vec_normalize_env.norm_obs:
            raise ConfigError("imitation weighs what it sees itself (allowed: agent.normalise.observation=false)")
        return env

    def _linear(self) -> LinearPolicy:
        policy: Any = self.policy
        return cast(LinearPolicy, policy)

    def _teacher(self, task: Any) -> tuple[Any, Policy]:
        """The task as the teacher sees it, and the teacher.

        Raises
        ------
        ConfigError
            When its actions are not those of the task.
        """
        made = load_class(baseline(self.teacher).path)
        if not isinstance(task, RoutingTask) or not hasattr(made, "acting"):
            raise ConfigError(f"teacher: '{self.teacher}' cannot be asked in this task (allowed: policies of routing)")
        seen = made.acting(task)
        if seen.codec.mode != task.codec.mode:
            raise ConfigError(
                f"teacher: '{self.teacher}' takes actions of the mode '{seen.codec.mode}', the task has "
                f"'{task.codec.mode}' (allowed: env.action_mode={seen.codec.mode})"
            )
        try:
            return seen, made(seen, **self.teacher_parameters)
        except TypeError as error:
            raise ConfigError(f"teacher_parameters: {self.teacher} takes no {self.teacher_parameters}") from error

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "imitation",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Imitation:
        """Follow and ask for so many environment steps: decisions times replicas.

        Callbacks are called once per decision, and a rollout is what lies between two fits.
        """
        total_timesteps, callbacks = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        world = self._world()
        env: Any = self.env
        policy = self._linear()
        callbacks.on_training_start(locals(), globals())
        goes_on, started = True, time.perf_counter()
        while goes_on and self.num_timesteps < total_timesteps:
            callbacks.on_rollout_start()
            # What a teacher keeps between its programs is not in a checkpoint: a fresh one answers alike.
            seen, teacher = self._teacher(world.task)
            asked = 0
            for _ in range(self.n_steps):
                asked += self._ask(world, seen, teacher)
                action, _ = policy.predict(np.asarray(self._last_obs))
                self._last_obs, _, dones, infos = env.step(action)
                self._last_episode_starts = dones
                self.num_timesteps += world.num_envs
                callbacks.update_locals(locals())
                goes_on = callbacks.on_step()
                if not goes_on or self.num_timesteps >= total_timesteps:
                    break
            explained = policy.fit(self.penalty)
            self._n_updates += 1
            callbacks.on_rollout_end()
            self.logger.record("train/explained_variance", explained)
            self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
            self.logger.record("train/answers", float(policy.moments[0, 0]))
            self.logger.record("time/answers_per_second", asked / (time.perf_counter() - started))
            self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
            self.logger.dump(self.num_timesteps)
            started = time.perf_counter()
        callbacks.on_training_end()
        return self

    def _ask(self, world: TwinVecEnv, seen: Any, teacher: Policy) -> int:
        """Show the teacher those replicas whose turn it is, and take in its answers; how many."""
        turn = (self.num_timesteps // world.num_envs + np.arange(world.num_envs)) % self.every == 0
        mine = np.flatnonzero(turn)
        if not len(mine):
            return 0
        batch = world.batch
        shown = batch.seen(seen)[mine]
        action, _ = teacher.predict(shown, None, np.ones(len(mine), dtype=np.bool_))
        observation: NDArray[np.float32] = batch.observation[mine]
        self._linear().add(observation, action)
        return len(mine)
