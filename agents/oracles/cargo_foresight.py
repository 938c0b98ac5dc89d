"""What perfect foresight of bookings and outages would pay for routing, path by path: a bound of every policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.oracles.cargo_schedule import CargoSchedule
from envs.core import Batch
from envs.routing import RoutingTask
from twin.errors import ActionError

__all__ = ["foresight_costs"]


def foresight_costs(
    task: RoutingTask, seed: int, paths: int, progress: Callable[[int], object] | None = None
) -> NDArray[np.float64]:
    """Least cost (paths,) per day on paths 0 to ``paths - 1`` of a world seed, fixed cost of services included.

    Parameters
    ----------
    task
        With a finite horizon: what is left at its end is counted as :func:`agents.evaluation.measure` does.
    seed
        World seed.
    progress
        Called after every path with 1.

    Raises
    ------
    ActionError
        When the horizon is not finite.
    ConfigError
        When HiGHS stops without an optimum.
    """
    if not task.finite:
        raise ActionError("what foresight pays is known to a finite horizon, received finite=false")
    batch, slots = Batch(task, paths), np.arange(paths, dtype=np.uint32)
    batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    state, top = batch.twin.state, task.compiled.topology
    days = task.horizon * task.periods_per_decision
    draws = batch.twin.tape.block(state, days)
    program, costs = CargoSchedule(task.assignment, days, task.worth), np.zeros(paths)
    for b in range(paths):
        works = np.concatenate([state.arrays.availability[None, :, b], draws.availability[:-1, :, b]])
        fixed = np.where(works == 0.0, top.resource_overhead_down, top.resource_overhead).sum()
        costs[b] = program.plan(state, b, draws.demand[:, :, b], works).cost + fixed
        if progress is not None:
            progress(1)
    return costs / days
