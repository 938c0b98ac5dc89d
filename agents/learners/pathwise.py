"""Policy gradients through the twin: a policy is trained by differentiating what its orders cost, path by path.

Every gradient step unrolls the policy over fresh paths of demand, lead times and availability in
:class:`twin.differentiable.DifferentiableTwin` and follows the gradient of the mean cost back through all periods
(hindsight differentiable policy optimisation: Alvo, Russo & Kanoria 2023, arXiv:2306.11246). A policy-gradient method
such as PPO estimates that gradient from returns; here it is computed. It needs a network whose periods are
differentiable almost everywhere, which is every network of the twin, and it sees nothing of fixed costs.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from agents.learners.arc_policy import ArcPolicy
from agents.learners.arc_structure import arc_structure
from agents.learners.schedules import LearningRate
from agents.learners.unroll import Unroll, inventory_task
from envs.sb3 import TwinVecEnv
from twin.differentiable.tensors import Rounding
from twin.economics import COST_TERMS
from twin.errors import ConfigError, RunError, did_you_mean

__all__ = ["Pathwise"]

#: Observations of the warm-up that the inputs are normalised by.
_SAMPLE = 65536
#: What training can make of whole units.
_ROUNDINGS = ("dither", *get_args(Rounding))
#: Where nothing else is asked for.
_RATE = LearningRate(3e-3, "cosine")


class Pathwise(BaseAlgorithm):
    """Trains an :class:`agents.learners.arc_policy.ArcPolicy` by gradients through the twin.

    In a continuing problem every step goes on from the states in which the last one ended
    (:class:`agents.learners.unroll.Unroll`). A finite problem is unrolled from its start to its horizon every time.

    Parameters
    ----------
    policy
        ``"ArcPolicy"`` (or ``"MlpPolicy"``, the name every algorithm knows).
    env
        A :class:`envs.sb3.TwinVecEnv`, normalised or not; its replicas are the paths of a gradient step.
    learning_rate
        Of Adam: a number, or a function of the share of training that is left.
    n_steps
        Periods that a gradient step unrolls, in a continuing problem; None: 50, or twice the longest way from a
        supplier to a customer where that is more.
    warm_up
        Periods that the zero action runs before training, to fill pipelines and to normalise observations by; None:
        twice as many as a step unrolls.
    max_grad_norm
        Largest norm of a gradient of the cost in units of the zero action's.
    rounding
        What training makes of whole units and lots. ``dither`` (the default) trains on fractions and moves every level,
        quantity or safety amount by an even random amount of at most a quarter of a unit or lot. Between whole numbers
        the slope is then that of the cost from one to the next, and it changes sign inside the range that rounds to the
        cheapest. The others are those of :class:`twin.differentiable.DifferentiableTwin`; the slope of
        ``straight_through`` is the mean of those on both sides, whose zero may lie one unit beside the minimum (0.2 %
        and 0.4 % of the cost on two of the lost-sales problems with lead time 1, where dithering ends within 0.02 %).
    recompute
        Length of segments whose inner numbers are computed again on the way back, to save memory; None keeps all.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ArcPolicy, "ArcPolicy": ArcPolicy}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: VecEnv | None,
        learning_rate: float | Schedule = _RATE,
        n_steps: int | None = None,
        warm_up: int | None = None,
        max_grad_norm: float = 1.0,
        rounding: str = "dither",
        recompute: int | None = None,
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
        if rounding not in _ROUNDINGS:
            raise ConfigError(
                f"no rounding '{rounding}' (allowed: {', '.join(_ROUNDINGS)}){did_you_mean(rounding, _ROUNDINGS)}"
            )
        for name, value, least in (("n_steps", n_steps, 1), ("warm_up", warm_up, 0), ("recompute", recompute, 1)):
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number of at least {least}, received {value!r}")
        if not max_grad_norm > 0.0:
            raise ConfigError(f"max_grad_norm must be above 0, received {max_grad_norm}")
        self.n_steps, self.warm_up = n_steps, warm_up
        self.max_grad_norm, self.rounding, self.recompute = max_grad_norm, rounding, recompute
        self.cost_scale = 0.0  # the zero action's cost per period; 0 until it is known
        if _init_setup_model:
            self._setup_model()

    # -- set-up -------------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self.set_random_seed(self.seed)
        self._setup_lr_schedule()
        if "structure" not in self.policy_kwargs:
            task = inventory_task(self._world())
            structure = arc_structure(task.compiled, task.fields, task.codec)
            self.policy_kwargs = {**self.policy_kwargs, "structure": structure.to_dict()}
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)

    def _world(self) -> TwinVecEnv:
        env = self.env.unwrapped if self.env is not None else None
        if not isinstance(env, TwinVecEnv):
            raise ConfigError("pathwise learns on a TwinVecEnv (envs.sb3), because it differentiates the twin")
        if env.task.watcher is not None:
            raise ConfigError("pathwise sees no belief: leave the group 'outlook' out of observe")
        return env

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "lr_schedule"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def unroll(self) -> Unroll:
        """What a gradient step differentiates, on the world as it stands."""
        return Unroll(
            self.policy,
            self._world(),
            self._vec_normalize_env,
            n_steps=self.n_steps,
            rounding=self.rounding,
            recompute=self.recompute,
            device=self.device,
        )

    # -- learning -----------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 10,
        tb_log_name: str = "pathwise",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Pathwise:
        """Train for so many environment steps: paths times periods.

        Callbacks are called once per gradient step, with its paths as one rollout.
        """
        if self._vec_normalize_env is not None:
            self._vec_normalize_env.training = False  # the statistics are those of the warm-up, and stay
        # SB3's progress bar reads this name.
        total_timesteps, callbacks = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        world = self._world()
        unroll = self.unroll()
        if self.cost_scale == 0.0:
            self._warm_up(world, unroll)
        callbacks.on_training_start(locals(), globals())
        since, started = self.num_timesteps, time.perf_counter()
        while self.num_timesteps < total_timesteps:
            callbacks.on_rollout_start()
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            terms, norm = self._gradient_step(unroll)
            self.num_timesteps += unroll.periods * world.num_envs
            self._n_updates += 1
            logs = self._n_updates % log_interval == 0 or self.num_timesteps >= total_timesteps
            if logs:
                self._log(terms, norm, (self.num_timesteps - since) / (time.perf_counter() - started))
            infos: list[dict[str, Any]] = []
            callbacks.update_locals(locals())
            if not callbacks.on_step():
                break
            callbacks.on_rollout_end()
            if logs:
                self.logger.dump(self.num_timesteps)
        callbacks.on_training_end()
        return self

    def _warm_up(self, world: TwinVecEnv, unroll: Unroll) -> None:
        """Run the zero action: what it costs is the scale of the gradient, what is seen that of the inputs."""
        batch = world.batch
        periods = 2 * unroll.periods if self.warm_up is None else max(self.warm_up, 1)
        if world.task.finite:
            periods = world.task.horizon
        observations, costs = [batch.observation[: _SAMPLE // periods + 1].copy()], []
        for _ in range(periods):
            action = np.zeros((world.num_envs, *(self.action_space.shape or ())), dtype=np.float32)
            result = batch.step(action)
            observations.append(result.observation[: _SAMPLE // periods + 1].copy())
            costs.append(float(result.costs.sum(axis=0).mean()))
        self.cost_scale = max(float(np.mean(np.abs(costs[len(costs) // 2 :]))), 1e-9)
        if world.task.finite:
            batch.restart(np.arange(world.num_envs))
        normalise = self._vec_normalize_env
        if normalise is not None and normalise.norm_obs and isinstance(statistics := normalise.obs_rms, RunningMeanStd):
            sample = np.concatenate(observations).astype(np.float64)
            statistics.mean, statistics.var, statistics.count = sample.mean(axis=0), sample.var(axis=0), len(sample)
            # What did not move tells nothing yet; by its own spread of 0 it would later be blown up beyond all bounds.
            statistics.var[statistics.var < 1e-6] = 1.0
        if isinstance(self.policy, ArcPolicy):
            self.policy.read_clock(normalise)
        unroll.refresh()

    def _gradient_step(self, unroll: Unroll) -> tuple[NDArray[np.float64], float]:
        """One step of Adam; the mean cost terms per period before it, (terms,), and the norm of the gradient."""
        self.policy.set_training_mode(True)
        rate = self.lr_schedule(self._current_progress_remaining)
        for group in self.policy.optimizer.param_groups:
            group["lr"] = rate
        loss, terms = unroll()
        self.policy.optimizer.zero_grad()
        (loss / self.cost_scale).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not torch.isfinite(norm):
            raise RunError("the gradient is not finite; lower learning_rate or n_steps")
        self.policy.optimizer.step()
        return terms, float(norm)

    def _log(self, terms: NDArray[np.float64], norm: float, rate: float) -> None:
        for term, value in zip(COST_TERMS, terms, strict=True):
            self.logger.record(f"rollout/cost_{term.name}", float(value))
        self.logger.record("rollout/cost", float(terms.sum()))
        self.logger.record("train/learning_rate", self.policy.optimizer.param_groups[0]["lr"])
        self.logger.record("train/gradient_norm", norm)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("time/fps", int(rate))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
