"""What classical policies of routing share: the cargo of a network read off an observation, and orders of a day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Needs, ParameterSpace
from envs.routing import RoutingTask
from envs.routing_reading import ALL_CARGO, CargoReading
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ActionError
from twin.state import TwinState

__all__ = ["RoutingPolicy"]

FloatArray = NDArray[np.float64]


class RoutingPolicy(ABC):
    """A rule from all cargo and what works to the orders of a day.

    It sees a state as it was read, which differs from the twin's by the rounding of an observation: no draws to come,
    no hidden state of an outage.

    Parameters
    ----------
    task
        The problem; see :meth:`acting` for one in which the rule can act.
    parameters
        None: these rules have nothing to tune.

    Raises
    ------
    ActionError
        When the rule does not fit the task.
    """

    #: As in the registry.
    name: ClassVar[str] = ""
    #: Of its actions.
    mode: ClassVar[str] = "orders"
    #: Groups of fields that are read.
    reads: ClassVar[tuple[str, ...]] = ALL_CARGO

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        reason = self.fits(task)
        if reason is not None or not isinstance(task, RoutingTask):
            raise ActionError(f"the policy '{self.name}' does not fit: {reason}")
        if parameters is not None and np.size(parameters):
            raise ActionError(f"the policy '{self.name}' has no parameters, received {np.size(parameters)}")
        self.task = task
        self.assignment, self.costs = task.assignment, task.costs
        self._reading = CargoReading(self.assignment.routing, task.observation)
        #: Resources of ports and canals, in the order of the fields.
        self.failing = self._reading.failing

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        """Why the rule makes no sense on a network of which nothing else is known: it needs the task."""
        return "it decides which way cargo goes, in the routing environment alone"

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        """Nothing: in an inventory problem there is no way to go, see :meth:`acting`."""
        return Needs()

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        """Nothing to tune."""
        return ParameterSpace.empty()

    @classmethod
    def acting(cls, task: RoutingTask) -> RoutingTask:
        """The same problem, with all that the rule reads and the actions that it takes."""
        return task.acting(cls.mode, cls.reads)

    @classmethod
    def fits(cls, task: Task) -> str | None:
        """Why the rule cannot act in a task, or None where it can."""
        if not isinstance(task, RoutingTask):
            return cls.unfit(task.compiled)
        if task.codec.mode != cls.mode:
            return f"its decisions are no action of the mode '{task.codec.mode}' (allowed: {cls.mode})"
        if task.decision != "day":
            return f"it decides day by day, not once a {task.decision}"
        shown = {block.group for block in task.observation.blocks}
        missing = [group for group in ("waiting", "booked", "at_calls", "pipeline", "calendar") if group not in shown]
        if missing:
            return f"the observation does not show {', '.join(missing)} (observe=[{', '.join(cls.reads)}] does)"
        return None

    @abstractmethod
    def orders(self, state: TwinState) -> FloatArray:
        """Orders (A, B) of a day, FFE, at a decision epoch."""

    def actions(self, state: TwinState) -> NDArray[Any]:
        """Actions (B, n) of a day."""
        return self.task.codec.encode(self.orders(state))

    def hit(self, state: TwinState) -> NDArray[np.bool_]:
        """Ports (P, B) that make fewer moves than usual."""
        resource = self.assignment.routing.move_resource
        works = state.arrays.availability[np.maximum(resource, 0)]
        return np.asarray((works < 1.0) & (resource >= 0)[:, None])

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for observations (n,) or (B, n); see :class:`agents.policy.Policy`."""
        actions = self.actions(self.read(np.atleast_2d(observation)))
        return (actions[0] if observation.ndim == 1 else actions), state

    def read(self, observation: NDArray[np.float32]) -> TwinState:
        """The state that observations (B, n) show; what they do not show is as in a fresh one."""
        return self._reading.state(observation)
