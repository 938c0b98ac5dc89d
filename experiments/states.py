"""States of a twin as requests to a bundle or an advisor: the twin in place of the systems that know the real ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.evaluation import actions_of
from agents.policy import Policy
from envs.core import Batch
from envs.task import Task

__all__ = ["states_of_episode"]


def states_of_episode(policy: Policy, task: Task, *, seed: int, periods: int) -> list[dict[str, Any]]:
    """What there is to decide on at the start of every period, while a policy acts.

    Parameters
    ----------
    policy, task
        Who acts, and what is shown.
    seed
        World seed.
    periods
        Their number.

    Returns
    -------
    list of dict
        ``observation`` (field name -> number in the field's unit) and ``period``, which counts from 0.
    """
    batch = Batch(task, 1)
    zero = np.zeros(1, dtype=np.uint32)
    observation = batch.reset(np.full(1, seed, dtype=np.uint64), zero, zero)
    names = [field.name for field in task.fields]
    out, state, start = [], None, np.ones(1, dtype=np.bool_)
    for period in range(periods):
        values = dict(zip(names, observation[0].tolist(), strict=True))
        out.append({"observation": values, "period": period})
        action, state = actions_of(policy, batch, observation, state, start)
        start = np.zeros(1, dtype=np.bool_)
        observation = batch.step(action).observation
    return out
