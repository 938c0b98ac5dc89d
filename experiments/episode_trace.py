"""What happened in one episode, period by period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import actions_of
from agents.policy import Policy
from envs.core import Batch
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["Trace", "longest_outage", "trace"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """One path under one policy, T periods.

    Attributes
    ----------
    compiled
        The network.
    availability
        (T, R) share of each resource when the decision was made.
    warning
        (T, W) rows of the state's warnings when the decision was made.
    stage
        (T + 1, C) of every contract at each decision epoch, and at the end.
    orders
        (T, A) units placed.
    stock, backlog
        (T,) units on hand and owed to customers at the next decision.
    costs
        (T, terms) money.
    """

    compiled: CompiledNetwork
    availability: FloatArray
    warning: FloatArray
    stage: FloatArray
    orders: FloatArray
    stock: FloatArray
    backlog: FloatArray
    costs: FloatArray

    @property
    def periods(self) -> int:
        """Their number T."""
        return len(self.orders)

    def by_source(self) -> dict[str, FloatArray]:
        """Units ordered from each origin outside the network, (T,) each; sources in the order of the file."""
        top, out = self.compiled.topology, dict[str, FloatArray]()
        for a, (origin, _) in enumerate(self.compiled.arc_ends):
            if top.in_ptr[a] == top.in_ptr[a + 1]:
                out[origin] = out.get(origin, np.zeros(self.periods)) + self.orders[:, a]
        return out


def trace(policy: Policy, task: Task, *, seed: int, paths: int, path: int, periods: int) -> Trace:
    """Run ``paths`` paths of a world seed from their start and keep one.

    Several are run because a policy may decide on batches; each path is the same whatever their number.
    """
    batch = Batch(task, paths)
    slots = np.arange(paths, dtype=np.uint32)
    observation = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    names = ("availability", "warning", "stage", "orders", "stock", "backlog", "costs")
    kept: dict[str, list[FloatArray]] = {name: [] for name in names}
    state, start = None, np.ones(paths, dtype=np.bool_)
    for _ in range(periods):
        arrays = batch.twin.state.arrays
        for name in ("availability", "warning", "stage"):
            kept[name].append(getattr(arrays, name)[:, path].copy())
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(paths, dtype=np.bool_)
        result = batch.step(action)
        observation, arrays = result.observation, batch.twin.state.arrays
        kept["orders"].append(result.orders[:, path].copy())
        kept["stock"].append(arrays.on_hand[:, path].sum())
        kept["backlog"].append(arrays.backlog[:, path].sum())
        kept["costs"].append(result.costs[:, path].copy())
    kept["stage"].append(batch.twin.state.arrays.stage[:, path].copy())
    return Trace(task.compiled, **{name: np.array(values) for name, values in kept.items()})


def longest_outage(task: Task, *, seed: int, paths: int, periods: int) -> int:
    """The path on which a resource is below full capacity for the longest stretch."""
    batch = Batch(task, paths)
    slots = np.arange(paths, dtype=np.uint32)
    batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    disrupted = task.compiled.resource_share_when_down < 1.0
    running = longest = np.zeros((int(disrupted.sum()), paths))
    if not len(running):
        return 0
    nothing = np.zeros((task.compiled.n_arcs, paths))
    for _ in range(periods):
        down = batch.twin.state.arrays.availability[disrupted] < 1.0
        running = np.where(down, running + 1.0, 0.0)
        longest = np.maximum(longest, running)
        batch.twin.step(nothing)
    return int(longest.max(axis=0).argmax())
