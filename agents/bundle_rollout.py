"""Letting a policy run its environment and keeping every decision: what an exported policy is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.bundle_policy import Chooser, Memory
from agents.bundle_spec import Spec
from envs.core import Batch
from envs.routing import RoutingTask
from envs.task import Task

__all__ = ["GOLDEN_SEED", "Act", "Decisions", "Turn", "as_told", "episodes_of", "roll_out"]

FloatArray = NDArray[np.float64]

#: Seed of the rollouts that golden cases come from, away from the blocks that training and evaluation use.
GOLDEN_SEED = 770_001
#: Replicas and periods of a rollout.
_REPLICAS, _PERIODS = 16, 64


@dataclass(frozen=True)
class Turn:
    """A decision epoch: raw observations (B, n), possible actions (B, k) or None, and where an episode begins (B,)."""

    observation: NDArray[np.float32]
    masks: NDArray[np.bool_] | None
    start: NDArray[np.bool_]


#: From a decision epoch to actions (B, ...).
Act = Callable[[Turn], NDArray[Any]]
#: From actions and the batch they are decided in to orders (A, B), and moves (S, B) or None.
Decide = Callable[[NDArray[Any], Batch], tuple[FloatArray, NDArray[np.int64] | None]]


@dataclass(frozen=True)
class Decisions:
    """Decisions of a policy in its environment, N of them.

    Attributes
    ----------
    observations
        (N, n) float32, raw.
    positions
        (N, A) units: what the orders count from.
    actions
        (N, ...) of the original policy.
    orders
        (N, A) units, as the environment decoded them.
    moves
        (N, S), or None.
    masks
        (N, k), or None.
    memory
        What an exported policy remembered at each, arrays with the cases last.
    states
        (N, n) float64: what a bundle is told, where that is more than an observation; None where it is the observation.
    """

    observations: NDArray[np.float32]
    positions: FloatArray
    actions: NDArray[Any]
    orders: FloatArray
    moves: NDArray[np.int64] | None
    masks: NDArray[np.bool_] | None
    memory: Memory
    states: FloatArray | None = None

    def values(self, spec: Spec) -> FloatArray:
        """(N, n) float64: the observations, with the positions as they are instead of rounded; or the states."""
        if self.states is not None:
            return self.states
        values = self.observations.astype(np.float64)
        place = {field.name: k for k, field in enumerate(spec.fields)}
        for a, name in enumerate(spec.arc_names):
            if f"position[{name}]" in place:
                values[:, place[f"position[{name}]"]] = self.positions[:, a]
        return values

    def within(self, spec: Spec) -> NDArray[np.bool_]:
        """(N,) True where no position was cut at its bounds, and no number of a state would be."""
        if self.states is not None:
            low, high = (np.array([getattr(field, end) for field in spec.fields]) for end in ("low", "high"))
            return np.asarray(((self.states >= low) & (self.states <= high)).all(axis=1))
        return np.asarray((self.values(spec).astype(np.float32) == self.observations).all(axis=1))


def roll_out(
    task: Task, act: Act, *, seed: int, decide: Decide | None = None, follow: Chooser | None = None
) -> Decisions:
    """Let a policy run the task, 16 replicas for 64 periods, and keep every decision.

    Parameters
    ----------
    act
        The original policy.
    decide
        What its actions come to; as the task decodes them where left out.
    follow
        The exported policy: what it remembers at each decision is kept.
    """
    batch, start = _begun(task, _REPLICAS, seed)
    told, action = _told(task), np.empty(0)
    memory: Memory = ()
    rows: list[tuple[Any, ...]] = []
    kept: list[Memory] = []
    observation = batch.observation
    for period in range(_PERIODS):
        masks = task.mask(batch.twin)
        if period % task.periods_per_decision == 0:
            action = act(Turn(observation, masks, start))
        states = None if told is None else told(batch)
        orders, moves = _decided(task, action, batch) if decide is None else decide(action, batch)
        if follow is not None and follow.remembers:
            values = observation.astype(np.float64) if states is None else states
            fresh = follow.begin(values)
            memory = (
                fresh
                if not memory
                else tuple(np.where(start, new, old) for new, old in zip(fresh, memory, strict=True))
            )
            kept.append(memory)
            memory = follow.follow(action, values, memory).memory or follow.choose(values, memory).memory
        row = (observation.copy(), batch.position.T.copy(), action.copy(), orders.T.copy())
        masked = None if masks is None else masks.copy()
        rows.append((*row, None if moves is None else moves.T.copy(), masked, states))
        observation, start = _advanced(batch, orders, moves, period)
    columns = [None if column[0] is None else np.concatenate(column) for column in zip(*rows, strict=True)]
    remembered = tuple(np.concatenate(parts, axis=-1) for parts in zip(*kept, strict=True))
    *decided, states = columns
    return Decisions(*decided, memory=remembered, states=states)  # type: ignore[arg-type, misc]


def episodes_of(task: Task, act: Act, *, seed: int, number: int, periods: int) -> list[FloatArray]:
    """States (periods, n) that a policy sees, in so many episodes from their beginning."""
    batch, start = _begun(task, number, seed)
    told, action = _told(task), np.empty(0)
    observation, seen = batch.observation, []
    for period in range(periods):
        seen.append(observation.astype(np.float64) if told is None else told(batch))
        if period % task.periods_per_decision == 0:
            action = act(Turn(observation, task.mask(batch.twin), start))
        observation, start = _advanced(batch, *_decided(task, action, batch), period)
    return list(np.stack(seen, axis=1))


def as_told(task: Task) -> Task:
    """The task whose fields a bundle is told: of routing one that shows all cargo, else the task itself."""
    if not isinstance(task, RoutingTask):
        return task
    from agents.bundle_routing import all_cargo

    return all_cargo(task)


def _told(task: Task) -> Callable[[Batch], FloatArray] | None:
    """What a bundle is told (B, n), where that is not the observation."""
    shown = as_told(task)
    if not isinstance(shown, RoutingTask):
        return None
    from agents.bundle_routing import cargo_seen

    return partial(cargo_seen, shown)


def _begun(task: Task, replicas: int, seed: int) -> tuple[Batch, NDArray[np.bool_]]:
    batch, slots = Batch(task, replicas), np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    return batch, np.ones(replicas, dtype=np.bool_)


def _decided(task: Task, action: NDArray[Any], batch: Batch) -> tuple[FloatArray, NDArray[np.int64] | None]:
    left = np.subtract(task.horizon, batch.elapsed, dtype=np.float64)
    return task.decide(action, batch.twin, batch.position, left, batch.belief)


def _advanced(
    batch: Batch, orders: FloatArray, moves: NDArray[np.int64] | None, period: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Run a period on orders and moves; the next observation, and which replicas begin anew with it.

    A decision ends with the last of its periods.
    """
    batch.twin.step(orders, None, moves)
    if batch.task.watcher is not None and batch.belief is not None:
        batch.belief = batch.task.watcher.follow(batch.belief, batch.twin)
    batch.elapsed += (period + 1) % batch.task.periods_per_decision == 0
    observation, ended = batch.observe(), batch.elapsed >= batch.task.horizon
    if ended.any():
        observation = batch.restart(np.flatnonzero(ended))
    return observation, ended
