"""The mean cost of a policy over fresh periods of many paths, as a function of tensors with its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.learners.tensor_echelon import TensorEchelon
from agents.learners.tensor_observation import TensorObservation
from agents.oracles.scenario_program import longest_path
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from twin.compile import CompiledNetwork
from twin.differentiable import DifferentiableTwin
from twin.differentiable.state import TensorState
from twin.errors import ConfigError
from twin.state import TwinState
from twin.tape import Tape

__all__ = ["Unroll", "replacement_cost", "unrolled_periods"]

FloatArray = NDArray[np.float64]

#: Width of the dithering in units or lots.
DITHER = 0.5
#: Periods that a step unrolls in a continuing problem where nothing is asked for, and multiples of the longest path.
_USUAL, _PATHS = 50, 2


def unrolled_periods(task: InventoryTask, n_steps: int | None) -> int:
    """Periods that a gradient step unrolls: the horizon of a finite problem, else what is asked for.

    Parameters
    ----------
    n_steps
        None: 50, or twice the longest way from a supplier to a customer where that is more.

    Raises
    ------
    ConfigError
        When an order at the beginning of that way would not be seen to serve a customer.
    """
    longest = longest_path(task.compiled)
    periods = task.horizon if task.finite else max(_USUAL, _PATHS * longest) if n_steps is None else n_steps
    if periods <= longest:
        what = "the horizon" if task.finite else "n_steps"
        raise ConfigError(
            f"{what} must exceed the {longest} periods from a supplier to a customer: an order that is not seen to "
            f"serve anyone has no gradient but its price; received {periods}"
        )
    return periods


def replacement_cost(compiled: CompiledNetwork) -> FloatArray:
    """What a unit at each stock point costs to get by its cheapest way: purchases, freight and inputs; (I,) money."""
    top = compiled.topology
    price = top.arc_unit_cost + top.arc_freight
    fed = np.repeat(np.arange(compiled.n_arcs), np.diff(top.in_ptr))
    value = np.zeros(compiled.n_stocks)
    for _ in range(compiled.n_stocks):  # no way is longer than the number of stock points
        cost = price.copy()
        np.add.at(cost, fed, top.in_coefficient * value[top.in_stock])
        cheapest = np.full(compiled.n_stocks, np.inf)
        np.minimum.at(cheapest, top.arc_destination, cost)
        new = np.where(np.isfinite(cheapest), cheapest, 0.0)
        if np.array_equal(new, value):
            break
        value = new
    return value


class Unroll:
    """A policy's cost per period on the paths of a world; every call goes on where the last one ended.

    In a continuing problem, what is on hand and under way at the end counts at replacement cost and what customers are
    owed at that minus the price they will pay, so that an order is not punished for arriving after the last period nor
    rewarded for the debt it leaves. Perishable stock counts in full, whatever life it has left.

    Parameters
    ----------
    policy
        From normalised observations (B, n) to actions (B, A).
    world
        Whose state moves on with every call.
    normalise
        Around the world, where observations are normalised.
    n_steps
        See :func:`unrolled_periods`.
    rounding, recompute
        See :class:`agents.learners.pathwise.Pathwise`.
    device
        Where the tensors live.
    """

    def __init__(
        self,
        policy: BasePolicy,
        world: TwinVecEnv,
        normalise: VecNormalize | None,
        *,
        n_steps: int | None,
        rounding: str,
        recompute: int | None,
        device: torch.device,
    ) -> None:
        task = inventory_task(world)
        self.policy, self.world, self.normalise, self.task, self.device = policy, world, normalise, task, device
        self.recompute = recompute
        self.periods = unrolled_periods(task, n_steps)
        self.twin = twin = DifferentiableTwin(
            task.compiled,
            device=device,
            dtype=torch.float32,
            rounding="none" if rounding == "dither" else rounding,  # type: ignore[arg-type]
        )
        self.observe = TensorObservation(task.observation, twin)
        self.echelon = TensorEchelon(task.echelon, twin) if task.echelon is not None else None
        self.tape = Tape(task.compiled)
        codec, compiled, top = task.codec, task.compiled, task.compiled.topology
        self.center, self.up, self.down = map(
            self._column, (codec.center, codec.high - codec.center, codec.center - codec.low)
        )
        self.even = bool(torch.equal(self.up, self.down))
        # Whole units and lots are what an order is rounded to; fractions are not moved.
        step = np.maximum(top.arc_integer.astype(np.float64), top.arc_lot)
        self.step = self._column(step) if rounding == "dither" and step.any() else None
        self.moved: Tensor | None = None
        value = replacement_cost(compiled)
        self.stock_value = self._column(value)[:, 0]
        self.arc_value = self._column(value[top.arc_destination])[:, 0]
        self.debt = self._column(value[top.demand_stock] - top.demand_price)[:, 0]
        # On a calendar that goes somewhere a continuing problem starts again after its horizon; else it never ends.
        moving = any(d.moves or d.forecast is not None for d in compiled.network.demands.values())
        self.restarts = moving and not task.finite
        self.refresh()

    def _column(self, values: FloatArray) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=self.device)[:, None]

    def refresh(self) -> None:
        """Take over the normalisation of observations."""
        width = len(self.task.fields)
        mean, spread, clip = np.zeros(width), np.ones(width), math.inf
        if self.normalise is not None and self.normalise.norm_obs:
            statistics: Any = self.normalise.obs_rms
            mean, spread = statistics.mean, np.sqrt(statistics.var + self.normalise.epsilon)
            clip = self.normalise.clip_obs
        low, high = self.task.observation.low.astype(np.float64), self.task.observation.high.astype(np.float64)
        self.scale, self.shift = self._column(1.0 / spread), self._column(-mean / spread)
        # Clipping to the bounds of the fields and to those of normalised numbers is one clipping.
        self.low = self._column(np.clip((low - mean) / spread, -clip, clip))
        self.high = self._column(np.clip((high - mean) / spread, -clip, clip))

    def __call__(self) -> tuple[Tensor, NDArray[np.float64]]:
        """Mean cost per period with its gradient, and the mean cost terms per period, (terms,)."""
        batch, task = self.world.batch, self.task
        if self.restarts and int(batch.elapsed[0]) + self.periods > task.horizon:
            batch.restart(np.arange(batch.replicas))
        start = batch.twin.state
        state = self.twin.from_twin_state(start)
        before = self._worth(state)
        left = (task.horizon - batch.elapsed).astype(np.float64)
        if self.step is not None:
            even = torch.rand(self.periods, task.compiled.n_arcs, batch.replicas) - 0.5
            self.moved = DITHER * self.step * even.to(self.device)
        draws = self.twin.tensors(self.tape.block(start, self.periods))
        end, costs = self.twin.rollout(
            lambda at: self.orders(at, left - at.elapsed), state, draws, recompute=self.recompute
        )
        worth = self.twin.terminal_value(end) if task.finite else self._worth(end) - before
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
        seen = torch.addcmul(self.shift, self.scale, self.observe.unclipped(state, position, periods_left))
        action = self.policy(torch.clamp(seen, self.low, self.high).T).T
        reach = self.up if self.even else torch.where(action >= 0.0, self.up, self.down)
        target = torch.addcmul(self.center, action, reach)
        if self.moved is not None:
            target = target + self.moved[state.elapsed]
        if self.echelon is not None:
            return self.echelon(target, position, state.period, periods_left if self.task.finite else None)
        return self.twin.base_stock_orders(target, position) if self.task.codec.up_to else target

    def _worth(self, state: TensorState) -> Tensor:
        """Stock on hand and under way at replacement cost, minus what customers are owed; (B,)."""
        return self.stock_value @ state.on_hand + self.arc_value @ state.in_transit - self.debt @ state.backlog


def inventory_task(world: TwinVecEnv) -> InventoryTask:
    """The task of a world.

    Raises
    ------
    ConfigError
        When it is not an inventory task.
    """
    if not isinstance(world.task, InventoryTask):
        raise ConfigError("pathwise needs an inventory task, whose observation and actions it can differentiate")
    return world.task


def _take_over(state: TwinState, other: TwinState) -> None:
    """Make ``state`` what ``other`` is, in its own precision."""
    for array, values in zip(state.arrays, other.arrays, strict=True):
        array[...] = values
    state.period[:], state.head = other.period, other.head
