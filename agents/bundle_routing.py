"""Policies of routing in a bundle: all cargo in, what goes on every arc today out.

A state names all cargo, place by place, and what works. From it the twin's state is made again, so that the policy
looks at its own observation and its action is decoded by the environment's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.baselines.routing import RoutingPolicy
from agents.bundle_policy import Choice, Memory, NetChooser
from agents.registry import baseline, load_class
from agents.runtime import Net
from envs.core import Batch
from envs.routing import RoutingTask
from envs.routing_reading import ALL_CARGO, CargoReading
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ActionError, BundleError, ConfigError, NetworkError
from twin.liner.schedule import WEEK

if TYPE_CHECKING:
    from agents.bundle_spec import Spec

__all__ = ["RoutingChooser", "RoutingRuleChooser", "all_cargo", "cargo_seen", "task_of"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def all_cargo(task: RoutingTask) -> RoutingTask:
    """The same problem, showing all cargo.

    Raises
    ------
    BundleError
        Where the policy looks at a belief, which no state holds.
    """
    if task.watcher is not None:
        raise BundleError("a policy of routing that looks at 'outlook' cannot be exported; observe without it")
    return task.acting(task.codec.mode, ALL_CARGO)


def cargo_seen(task: RoutingTask, batch: Batch) -> FloatArray:
    """Values (B, n) of all cargo in a batch, of a task that shows it."""
    left = np.subtract(batch.task.horizon, batch.elapsed, dtype=np.float64)
    return np.ascontiguousarray(task.observation.exact(batch.twin, batch.position, left).T)


def task_of(data: Mapping[str, Any]) -> RoutingTask:
    """The problem that ``routing`` in spec.json describes; BundleError where it describes none."""
    try:
        return RoutingTask.from_dict(data)
    except (ActionError, NetworkError, ConfigError) as error:
        raise BundleError(f"spec.json: routing: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"spec.json: routing is incomplete: {type(error).__name__} {error}") from None


class _Place:
    """Where decisions are made: the twin at the state that values show."""

    def __init__(self, spec: Spec, compiled: CompiledNetwork) -> None:
        self.task = spec.routing_task
        if self.task.compiled.content_hash() != compiled.content_hash():
            raise BundleError(
                "spec.json: routing does not give the network in network.json; export the policy again where the "
                "bundle is of an older version"
            )
        shown = all_cargo(self.task)
        if shown.fields != spec.fields:
            raise BundleError("spec.json has other fields than all cargo of its network has")
        self.reading = CargoReading(self.task.assignment.routing, shown.observation)
        self._twin = Twin(self.task.compiled)

    def at(self, values: FloatArray) -> Twin:
        """The twin at values (B, n)."""
        return self._twin.at(self.reading.state(values))


class RoutingChooser(NetChooser):
    """A network whose action the routing environment makes orders of; its own decoder, as both need the state.

    Where a decision holds for a week it is made on weekday 0, and what is remembered is the action of the week.

    Raises
    ------
    BundleError
        Where the network does not fit the problem.
    """

    def __init__(self, net: Net, spec: Spec, compiled: CompiledNetwork) -> None:
        super().__init__(net, self)
        self._place = _Place(spec, compiled)
        self._task = task = self._place.task
        space = task.action_space
        discrete = isinstance(space, spaces.MultiDiscrete)
        outputs = int(space.nvec.sum()) if isinstance(space, spaces.MultiDiscrete) else len(task.routing_codec.names)
        if net.inputs != len(task.fields) or net.outputs != outputs or net.discrete != discrete:
            raise BundleError(
                f"arch.json ({net.inputs} inputs, {net.outputs} outputs) does not fit the routing problem of spec.json "
                f"({len(task.fields)} inputs, {outputs} outputs)"
            )
        self._holds = task.periods_per_decision > 1

    @property
    def remembers(self) -> bool:
        """Whether its decisions hold for a week."""
        return self._holds

    def begin(self, values: FloatArray) -> Memory:
        """See :class:`agents.bundle_policy.Chooser`."""
        return (self._fresh(self._place.at(values), values, None).T,) if self._holds else ()

    def choose(self, values: FloatArray, memory: Memory | None = None, masks: BoolArray | None = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        twin = self._place.at(values)
        action = self._fresh(twin, values, masks)
        if self._holds and memory:
            if len(memory) != 1 or np.shape(memory[0]) != action.T.shape:
                raise BundleError(f"the memory must be one list of the {action[0].size} numbers of the week's action")
            held = np.asarray(memory[0]).T.astype(action.dtype)
            action = np.where((twin.state.period % WEEK == 0)[:, None], action, held)
        return self._come_to(action, twin)

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Memory | None = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        return self._come_to(action, self._place.at(values))

    def decode(self, action: NDArray[Any], values: FloatArray, belief: FloatArray | None) -> Choice:
        """See :class:`agents.bundle_policy.Decoder`."""
        return self.follow(action, values)

    def masks(self, values: FloatArray) -> BoolArray | None:
        """See :class:`agents.bundle_policy.Decoder`."""
        return self._task.mask(self._place.at(values))

    def _fresh(self, twin: Twin, values: FloatArray, masks: BoolArray | None) -> NDArray[Any]:
        """What the network chooses (B, ...)."""
        seen = self._task.observe(twin, twin.positions(), self._place.reading.periods_left(values))
        scores = self.net.scores(seen)
        if not np.isfinite(scores).all():
            raise FloatingPointError("the policy gives a NaN or an infinite number for this state")
        if masks is None and self.masked:
            masks = self._task.mask(twin)
        return self.net.head_of(scores, masks)

    def _come_to(self, action: NDArray[Any], twin: Twin) -> Choice:
        orders = self._task.routing_codec.decide(action, twin)
        return Choice(action, orders, orders, None, (action.T,) if self._holds else ())


class RoutingRuleChooser:
    """A classical policy of routing, without a memory: the rule of the registry itself.

    Raises
    ------
    BundleError
        Where it is none, or remembers what has been.
    """

    masked = False
    remembers = False

    def __init__(self, name: str, spec: Spec, compiled: CompiledNetwork) -> None:
        try:
            kind = load_class(baseline(name).path)
        except ConfigError as error:
            raise BundleError(str(error)) from None
        if not isinstance(kind, type) or not issubclass(kind, RoutingPolicy):
            raise BundleError(f"'{name}' is no policy of routing")
        if kind.predict is not RoutingPolicy.predict:
            raise BundleError(f"the policy '{name}' remembers what has been; a bundle of routing decides on one state")
        self._place = _Place(spec, compiled)
        try:
            # Rules decide day by day, whatever the policy does.
            self.rule: RoutingPolicy = kind(kind.acting(self._place.task.daily()))
        except ActionError as error:
            raise BundleError(str(error)) from None

    def begin(self, values: FloatArray) -> Memory:
        """Nothing to remember."""
        return ()

    def choose(self, values: FloatArray, memory: Memory | None = None, masks: BoolArray | None = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        twin = self._place.at(values)
        return self._come_to(self.rule.actions(twin.state), twin)

    def follow(self, action: NDArray[Any], values: FloatArray, memory: Memory | None = None) -> Choice:
        """See :class:`agents.bundle_policy.Chooser`."""
        return self._come_to(action, self._place.at(values))

    def _come_to(self, action: NDArray[Any], twin: Twin) -> Choice:
        orders = self.rule.task.routing_codec.decide(action, twin)
        return Choice(action, orders, orders)
