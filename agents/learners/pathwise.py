"""Policy gradients through the twin: a policy is trained by differentiating what its orders cost, path by path.

Every gradient step unrolls the policy over fresh paths of demand, lead times and availability in
:class:`twin.differentiable.DifferentiableTwin` and follows the gradient of the mean cost back through all periods
(hindsight differentiable policy optimisation: Alvo, Russo & Kanoria 2023, arXiv:2306.11246). A policy-gradient method
such as PPO estimates that gradient from returns; here it is computed. It needs a network whose periods are
differentiable almost everywhere, which is every network of the twin, and it sees nothing of fixed costs.
"""

from __future__ import annotations

import math
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
from torch import Tensor

from agents.learners.arc_policy import ArcPolicy, arc_structure, clock_scale
from agents.learners.schedules import LearningRate
from agents.learners.tensor_observation import TensorObservation
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from twin.differentiable import DifferentiableTwin
from twin.differentiable.state import TensorState
from twin.differentiable.tensors import Rounding
from twin.economics import COST_TERMS
from twin.errors import ConfigError, did_you_mean
from twin.state import TwinState
from twin.tape import Tape

__all__ = ["Pathwise"]

#: Observations of the warm-up that the inputs are normalised by.
_SAMPLE = 65536
#: What training can make of whole units.
_ROUNDINGS = ("dither", *get_args(Rounding))
#: Where nothing else is asked for.
_RATE = LearningRate(3e-3, "cosine")


class Pathwise(BaseAlgorithm):
    """Trains an :class:`agents.learners.arc_policy.ArcPolicy` by gradients through the twin.

    In a continuing problem every step goes on from the states in which the last one ended, and what is on hand and
    under way at the end of a step counts at standard cost, so that an order is not punished for arriving later. A
    finite problem is unrolled from its start to its horizon every time.

    Parameters
    ----------
    policy
        ``"ArcPolicy"`` (or ``"MlpPolicy"``, the name every algorithm knows).
    env
        A :class:`envs.sb3.TwinVecEnv`, normalised or not; its replicas are the paths of a gradient step.
    learning_rate
        Of Adam: a number, or a function of the share of training that is left.
    n_steps
        Periods that a gradient step unrolls, in a continuing problem.
    warm_up
        Periods that the first policy runs before training, to fill pipelines and to normalise observations by.
    max_grad_norm
        Largest norm of a gradient of the cost in units of the first policy's.
    rounding
        What training makes of whole units and lots. ``dither`` (the default) trains on fractions and moves every level
        or quantity by an even random amount of at most half a unit or lot: the expected slope is then that of the
        rounded policy's cost between one rounding and the next, and is 0 where rounding gives the cheapest whole
        number. The others are those of :class:`twin.differentiable.DifferentiableTwin`; the slope of
        ``straight_through`` is the mean of those on both sides, whose zero may lie one unit beside the minimum (0.2 %
        and 0.4 % of the cost on two of the lost-sales problems with lead time 1, where dithering ends at 0.00 %).
    recompute
        Length of segments whose inner numbers are computed again on the way back, to save memory; None keeps all.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ArcPolicy, "ArcPolicy": ArcPolicy}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: VecEnv | None,
        learning_rate: float | Schedule = _RATE,
        n_steps: int = 50,
        warm_up: int = 100,
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
        for name, value, least in (("n_steps", n_steps, 1), ("warm_up", warm_up, 0)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, received {value}")
        self.n_steps, self.warm_up = n_steps, warm_up
        self.max_grad_norm, self.rounding, self.recompute = max_grad_norm, rounding, recompute
        self.cost_scale = 0.0  # the first policy's cost per period; 0 until it is known
        if _init_setup_model:
            self._setup_model()

    # -- set-up -------------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self.set_random_seed(self.seed)
        self._setup_lr_schedule()
        if "structure" not in self.policy_kwargs:
            task = _task(self._world())
            structure = arc_structure(task.compiled, task.fields, task.codec)
            self.policy_kwargs = {**self.policy_kwargs, "structure": structure.to_dict()}
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)

    def _world(self) -> TwinVecEnv:
        env = self.env.unwrapped if self.env is not None else None
        if not isinstance(env, TwinVecEnv):
            raise ConfigError("pathwise learns on a TwinVecEnv (envs.sb3), because it differentiates the twin")
        return env

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "lr_schedule"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

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
        total, callbacks = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        world = self._world()
        unroll = _Unroll(self, world)
        if self.cost_scale == 0.0:
            self._warm_up(world, unroll)
        callbacks.on_training_start(locals(), globals())
        since, started = self.num_timesteps, time.perf_counter()
        while self.num_timesteps < total:
            callbacks.on_rollout_start()
            self._update_current_progress_remaining(self.num_timesteps, total)
            terms, norm = self._gradient_step(unroll)
            self.num_timesteps += unroll.periods * world.num_envs
            self._n_updates += 1
            if self._n_updates % log_interval == 0 or self.num_timesteps >= total:
                self._log(terms, norm, (self.num_timesteps - since) / (time.perf_counter() - started))
            infos: list[dict[str, Any]] = []
            callbacks.update_locals(locals())
            if not callbacks.on_step():
                break
            callbacks.on_rollout_end()
            if self._n_updates % log_interval == 0 or self.num_timesteps >= total:
                self.logger.dump(self.num_timesteps)
        callbacks.on_training_end()
        return self

    def _warm_up(self, world: TwinVecEnv, unroll: _Unroll) -> None:
        """Run the policy as it starts: what it costs is the scale of the gradient, what it sees that of the inputs."""
        batch = world.batch
        periods = world.task.horizon if world.task.finite else max(self.warm_up, 1)
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
            clock = self.policy_kwargs["structure"]["clock"]
            if clock is not None:
                mean, deviation = clock_scale(clock[1])
                statistics.mean[clock[0]], statistics.var[clock[0]] = mean, deviation**2
        unroll.refresh()

    def _gradient_step(self, unroll: _Unroll) -> tuple[NDArray[np.float64], float]:
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
            raise FloatingPointError("the gradient is not finite; lower learning_rate or n_steps")
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


class _Unroll:
    """The mean cost of the policy over fresh periods of all paths, with its gradient."""

    def __init__(self, model: Pathwise, world: TwinVecEnv) -> None:
        task = _task(world)
        self.model, self.world, self.task = model, world, task
        self.periods = task.horizon if task.finite else model.n_steps
        longest = int(np.diff(task.compiled.topology.pipe_ptr).max())
        if self.periods <= longest:
            what = "the horizon" if task.finite else "n_steps"
            raise ConfigError(
                f"{what} must exceed the longest pipeline, {longest} periods: an order whose delivery is not seen has "
                f"no gradient but its price; received {self.periods}"
            )
        self.twin = twin = DifferentiableTwin(
            task.compiled,
            device=model.device,
            dtype=torch.float32,
            rounding="none" if model.rounding == "dither" else model.rounding,  # type: ignore[arg-type]
        )
        self.observe = TensorObservation(task.observation, twin)
        self.tape = Tape(task.compiled)
        self.center, self.up, self.down = (
            torch.as_tensor(values, dtype=torch.float32, device=model.device)[:, None]
            for values in (
                task.codec.center,
                task.codec.high - task.codec.center,
                task.codec.center - task.codec.low,
            )
        )
        compiled, top = task.compiled, task.compiled.topology
        # Whole units and lots are what an order is rounded to; fractions are not moved.
        step = np.maximum(top.arc_integer.astype(np.float64), top.arc_lot)
        dithered = model.rounding == "dither" and bool(step.any())
        self.step = torch.as_tensor(step, dtype=torch.float32, device=model.device)[:, None] if dithered else None
        self.stock_value = torch.as_tensor(compiled.unit_value, dtype=torch.float32, device=model.device)
        self.arc_value = self.stock_value[torch.as_tensor(top.arc_destination)]
        self.demand_value = self.stock_value[torch.as_tensor(top.demand_stock)]
        # On a calendar that goes somewhere a continuing problem starts again after its horizon; else it never ends.
        moving = any(d.moves or d.forecast is not None for d in compiled.network.demands.values())
        self.restarts = moving and not task.finite
        self.refresh()

    def refresh(self) -> None:
        """Take over the normalisation of observations."""
        normalise = self.model._vec_normalize_env
        width, device = len(self.task.fields), self.model.device
        mean, spread, self.clip = np.zeros(width), np.ones(width), math.inf
        if normalise is not None and normalise.norm_obs:
            statistics: Any = normalise.obs_rms
            mean, spread = statistics.mean, np.sqrt(statistics.var + normalise.epsilon)
            self.clip = normalise.clip_obs
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device)[:, None]
        self.spread = torch.as_tensor(spread, dtype=torch.float32, device=device)[:, None]

    def __call__(self) -> tuple[Tensor, NDArray[np.float64]]:
        batch, task = self.world.batch, self.task
        if self.restarts and int(batch.elapsed[0]) + self.periods > task.horizon:
            batch.restart(np.arange(batch.replicas))
        start = batch.twin.state
        state = self.twin.from_twin_state(start)
        before = self._book_value(state)
        left = (task.horizon - batch.elapsed).astype(np.float64)

        def decide(at: TensorState) -> Tensor:
            return self.orders(at, left - at.elapsed)

        draws = self.twin.tensors(self.tape.block(start, self.periods))
        end, costs = self.twin.rollout(decide, state, draws, recompute=self.model.recompute)
        worth = self.twin.terminal_value(end) if task.finite else self._book_value(end) - before
        if task.finite:
            batch.restart(np.arange(batch.replicas))
        else:
            _take_over(start, self.twin.to_twin_state(end.detach()))
            batch.elapsed += self.periods
        loss = (costs.sum(0) - worth).mean() / self.periods
        return loss, costs.detach().mean(1).double().cpu().numpy() / self.periods

    def orders(self, state: TensorState, periods_left: NDArray[np.float64]) -> Tensor:
        """The policy's orders (A, B) in units at a state."""
        position = self.twin.positions(state)
        seen = (self.observe(state, position, periods_left) - self.mean) / self.spread
        action = self.model.policy(seen.clamp(-self.clip, self.clip).T).T
        target = self.center + action * torch.where(action >= 0.0, self.up, self.down)
        if self.step is not None:
            target = target + self.step * (torch.rand_like(target) - 0.5)
        return self.twin.base_stock_orders(target, position) if self.task.codec.up_to else target

    def _book_value(self, state: TensorState) -> Tensor:
        """Stock on hand and under way minus what customers are owed, at standard cost; (B,)."""
        owned = self.stock_value @ state.on_hand + self.arc_value @ state.in_transit
        return owned - self.demand_value @ state.backlog


def _task(world: TwinVecEnv) -> InventoryTask:
    if not isinstance(world.task, InventoryTask):
        raise ConfigError("pathwise needs an inventory task, whose observation and actions it can differentiate")
    return world.task


def _take_over(state: TwinState, other: TwinState) -> None:
    """Make ``state`` what ``other`` is, in its own precision."""
    for array, values in zip(state.arrays, other.arrays, strict=True):
        array[...] = values
    state.period[:], state.head = other.period, other.head
