"""Running a policy on given paths and measuring it: cost terms and service, path by path, so that comparisons pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.core import Batch
from envs.task import Task
from twin.economics import fill_rate
from twin.tape import Draws

__all__ = ["Measurement", "actions_of", "measure"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """What a policy did on n paths.

    Attributes
    ----------
    cost
        (n,) mean cost per period of each path, money; a finite problem's terminal value counts against it.
    terms
        (13, n) its cost terms.
    asked, served
        (n,) units per period asked for, and met at once.
    """

    cost: FloatArray
    terms: FloatArray
    asked: FloatArray
    served: FloatArray

    @property
    def fill_rate(self) -> float:
        """Share of all demand met at once from stock."""
        return float(fill_rate(self.served.sum(), self.asked.sum()))


def measure(
    policy: Policy,
    task: Task,
    *,
    seed: int,
    paths: int,
    periods: int,
    warm_up: int,
    first: int = 0,
    draws: Draws | None = None,
    progress: Callable[[int], object] | None = None,
) -> Measurement:
    """Run a policy on paths ``first`` to ``first + paths - 1`` of a world seed.

    Costs are per period of the network, however long a decision holds. A continuing problem runs ``warm_up`` decisions
    uncounted, then ``periods`` counted, without a reset in between. A finite problem runs its horizon once from its
    starting state; ``warm_up`` and ``periods`` do not apply.

    Parameters
    ----------
    seed
        World seed (see :func:`twin.seeds.world_seed`).
    draws
        What the world does on these paths in each period that is run, where that is not drawn from the seed.
    progress
        Called after every period with 1.
    """
    skipped, counted = (0, task.horizon) if task.finite else (warm_up, periods)
    batch = Batch(task, paths)
    slots = np.arange(first, first + paths, dtype=np.uint32)
    observation = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    terms = np.zeros((len(batch.twin.cost_names()), paths))
    asked, served, worth = np.zeros(paths), np.zeros(paths), np.zeros(paths)
    state, start = None, np.ones(paths, dtype=np.bool_)
    for t in range(skipped + counted):
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(paths, dtype=np.bool_)
        result = batch.step(action, None if draws is None else draws.period(t))
        observation = result.observation
        worth += result.terminal_value
        if t >= skipped:
            terms += result.costs
            asked += batch.twin.state.arrays.demand.sum(axis=0)
            served += batch.twin.state.arrays.served.sum(axis=0)
        if progress is not None:
            progress(1)
    lasted = counted * task.periods_per_decision
    return Measurement((terms.sum(axis=0) - worth) / lasted, terms / lasted, asked / counted, served / counted)


def actions_of(
    policy: Policy,
    batch: Batch,
    observation: NDArray[np.float32],
    state: tuple[NDArray[Any], ...] | None,
    start: NDArray[np.bool_],
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
    """What a policy does at a decision epoch; one that heeds masks is told which actions are possible."""
    mask = batch.task.mask(batch.twin) if getattr(policy, "heeds_masks", False) else None
    masks = {} if mask is None else {"action_masks": mask}
    return policy.predict(observation, state, start, deterministic=True, **masks)
