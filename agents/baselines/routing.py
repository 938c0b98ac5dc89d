"""What classical policies of routing share: the cargo of a network read off an observation, and orders of a day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Needs, ParameterSpace
from envs.routing import RoutingTask
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ActionError
from twin.liner.schedule import WEEK
from twin.state import TwinState, empty_state

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
    reads: ClassVar[tuple[str, ...]] = (
        "availability",
        "since",
        "waiting",
        "booked",
        "at_calls",
        "pipeline",
        "calendar",
        "periods_left",
    )

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        reason = self.fits(task)
        if reason is not None or not isinstance(task, RoutingTask):
            raise ActionError(f"the policy '{self.name}' does not fit: {reason}")
        if parameters is not None and np.size(parameters):
            raise ActionError(f"the policy '{self.name}' has no parameters, received {np.size(parameters)}")
        self.task = task
        self.assignment, self.costs = task.assignment, task.costs
        self._place = {block.group: rows for rows, block in task.observation.placed()}
        routing = self.assignment.routing
        listed = [int(r) for r in (*routing.move_resource, *routing.canal_resource.values()) if r >= 0]
        #: Resources of ports and canals, in the order of the fields.
        self.failing = np.array(listed, dtype=np.int64)
        self._calls = np.flatnonzero(routing.stock_node >= 0)
        slots = np.diff(routing.compiled.topology.pipe_ptr)
        self._carrier = np.repeat(np.arange(routing.compiled.n_arcs), slots)

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
        values = np.asarray(observation, dtype=np.float64).T
        state = empty_state(self.assignment.routing.compiled, values.shape[1])
        arrays, none = state.arrays, np.zeros((0, values.shape[1]))

        def shown(group: str) -> FloatArray:
            return values[self._place[group]] if group in self._place else none

        arrays.availability[:] = 1.0
        if len(self.failing):
            arrays.availability[self.failing] = shown("availability")
            arrays.since[self.failing] = shown("since")
        arrays.on_hand[self._calls] = shown("at_calls")
        arrays.pipeline[state.ring_order("pipeline")] = shown("pipeline")
        np.add.at(arrays.in_transit, self._carrier, shown("pipeline"))
        arrays.demand[:] = shown("booked")
        arrays.backlog[:] = shown("waiting")
        routing = self.assignment.routing
        np.add.at(arrays.backlog, routing.stock_demand, arrays.on_hand)
        np.add.at(arrays.backlog, routing.arc_demand, arrays.in_transit)
        sine, cosine = shown("calendar")
        state.period[:] = np.rint(np.arctan2(sine, cosine) * WEEK / (2.0 * np.pi)).astype(np.int64) % WEEK
        return state
