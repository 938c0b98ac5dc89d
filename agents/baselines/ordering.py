"""What classical policies share: reading positions off an observation, and acting in any action mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.actions import OrderSequence
from envs.task import Task
from twin.errors import ActionError

__all__ = ["OrderingPolicy"]

FloatArray = NDArray[np.float64]


class OrderingPolicy(ABC):
    """A policy that is a rule from inventory positions to orders.

    Parameters
    ----------
    task
        The decision problem whose observations it reads and whose actions it gives.
    parameters
        Shape (A,): one number per arc, in units.
    """

    def __init__(self, task: Task, parameters: FloatArray) -> None:
        compiled = task.compiled
        parameters = np.asarray(parameters, dtype=np.float64)
        if parameters.shape != (compiled.n_arcs,) or not np.isfinite(parameters).all():
            raise ActionError(
                f"a policy needs {compiled.n_arcs} finite numbers, one per arc; received shape {parameters.shape}"
            )
        self.task = task
        self.parameters = parameters
        self.sequence = OrderSequence.of(compiled)
        place = {field.name: index for index, field in enumerate(task.fields)}
        self._position = np.array([place[f"position[{name}]"] for name in compiled.arc_names])

    @abstractmethod
    def levels(self, position: FloatArray) -> FloatArray:
        """Levels (A,) to order up to, given positions (A,)."""

    @abstractmethod
    def orders(self, position: FloatArray) -> FloatArray:
        """Orders (A,) in units, given positions (A,)."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for observations (n,) or (B, n); see :class:`agents.policy.Policy`."""
        single = observation.ndim == 1
        rows = np.atleast_2d(observation)[:, self._position].astype(np.float64)
        codec = self.task.codec
        decide = self.levels if codec.up_to else self.orders
        actions = np.stack([codec.encode(decide(row)) for row in rows])
        return (actions[0] if single else actions), state
