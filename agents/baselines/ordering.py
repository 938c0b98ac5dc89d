"""What classical policies share: a rule from what is read to orders, its parameters, and acting in any action mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.observed import Columns
from agents.baselines.reading import Reading
from envs.actions import OrderSequence
from envs.echelon import EchelonRule
from envs.switching_actions import SwitchingCodec
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ActionError

__all__ = ["Memory", "Needs", "OrderingPolicy", "ParameterSpace", "echelon_needs", "restarted"]

FloatArray = NDArray[np.float64]

#: What a rule carries from one decision to the next: arrays with the replicas last.
Memory = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class ParameterSpace:
    """The numbers of a rule that tuning may choose, and where it looks for them. All shapes (P,).

    Attributes
    ----------
    names
        One per parameter.
    low, start, high
        Bounds of the search and a sensible value; ``high`` is above 0.
    whole
        True where only whole numbers are looked at.
    choice
        True where a whole number names one of several ways, and all are tried; none where left out.
    few
        True where there are so few whole numbers that a search must be kept from settling on one too soon; none where
        left out.
    """

    names: tuple[str, ...]
    low: FloatArray
    start: FloatArray
    high: FloatArray
    whole: NDArray[np.bool_]
    choice: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    few: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        for name in ("choice", "few"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.names), dtype=np.bool_))

    @classmethod
    def empty(cls) -> ParameterSpace:
        """Of a rule that has nothing to tune."""
        none = np.zeros(0)
        return cls((), none, none, none, np.zeros(0, dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.names)

    def part(self, which: NDArray[np.bool_]) -> ParameterSpace:
        """Some of the parameters, (P,) True where they are kept."""
        names = tuple(name for name, keep in zip(self.names, which, strict=True) if keep)
        arrays = (self.low, self.start, self.high, self.whole, self.choice, self.few)
        return ParameterSpace(names, *(array[which] for array in arrays))  # type: ignore[arg-type]

    def rounded(self, values: FloatArray) -> FloatArray:
        """Values (..., P) within the bounds, whole where they must be."""
        return np.where(self.whole, np.round(values), values)


@dataclass(frozen=True)
class Needs:
    """What an observation must show for a rule to be decided from it.

    Attributes
    ----------
    groups
        Names for the task's ``observe``.
    slots
        True where every receipt ahead is needed (``arrivals="slots"``).
    window
        Periods of expected demand (``forecast``); 0 where none is read.
    """

    groups: tuple[str, ...] = ("position",)
    slots: bool = False
    window: int = 0

    def task_arguments(self) -> dict[str, Any]:
        """Arguments of :class:`envs.inventory.InventoryTask` that show it."""
        groups = [*self.groups, *(["arriving"] if self.slots else []), *(["expected"] if self.window else [])]
        return {
            "observe": list(dict.fromkeys(groups)),
            "arrivals": "slots" if self.slots else "bands",
            "forecast": max(1, self.window),
        }

    def missing(self, task: Task) -> str | None:
        """What a task's observation does not show of it, as a sentence; None where all is there."""
        columns = Columns(task)
        try:
            for group in self.groups:
                if group == "periods_left":
                    if task.finite:
                        columns.periods_left()
                elif group == "contract":
                    columns.stages()
                else:
                    columns.rows(group)
            if self.slots:
                for ahead in range(1, int(np.diff(task.compiled.topology.pipe_ptr).max(initial=1)) + 1):
                    columns.arriving(ahead)
            if self.window:
                columns.expected(self.window)
        except ActionError as error:
            return str(error)
        return None


def echelon_needs(compiled: CompiledNetwork) -> Needs:
    """What the echelon base-stock rule reads: also what it takes to say an order as a safety amount."""
    return Needs(("position", "periods_left"), window=EchelonRule(compiled).window)


class OrderingPolicy(ABC):
    """A rule from what is read, its parameters and a memory to orders.

    Parameters
    ----------
    task
        The decision problem whose observations it reads and whose actions it gives.
    parameters
        Shape (P,), in the order of :meth:`space`; its start values when left out.

    Raises
    ------
    ActionError
        When the rule does not fit the task, or the parameters are not P finite numbers.
    """

    #: As in the registry.
    name: ClassVar[str] = ""

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        reason = self.fits(task)
        if reason is not None:
            raise ActionError(f"the policy '{self.name}' does not fit: {reason}")
        space = self.space(task)
        given = np.asarray(space.start if parameters is None else parameters, dtype=np.float64)
        if given.shape != (len(space),) or not np.isfinite(given).all():
            raise ActionError(
                f"the policy '{self.name}' needs {len(space)} finite numbers ({_shown(space.names)}); "
                f"received {np.array2string(given)}"
            )
        self.task = task
        self.compiled: CompiledNetwork = task.compiled
        self.parameters = given
        self.sequence = OrderSequence.of(task.compiled)
        self.columns = Columns(task)
        self._echelon = EchelonRule(task.compiled) if task.codec.mode == "echelon" else None

    # -- what a rule says of itself -----------------------------------------------------------------------------------

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        """Why the rule makes no sense on a network, or None where it does."""
        return None

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        """What the rule reads."""
        return Needs()

    @classmethod
    def moves_contracts(cls, compiled: CompiledNetwork) -> bool:
        """Whether the rule also decides moves on contracts of a network."""
        return False

    @classmethod
    def fits(cls, task: Task) -> str | None:
        """Why the rule cannot act in a task, or None where it can."""
        reason = cls.unfit(task.compiled) or cls.needs(task.compiled).missing(task)
        if reason is None and isinstance(task.codec, SwitchingCodec) and task.codec.mode != "orders":
            reason = f"its orders are no action of the mode '{task.codec.mode}' (allowed: orders)"
        if reason is None and cls.moves_contracts(task.compiled) and not isinstance(task.codec, SwitchingCodec):
            reason = "its moves on contracts are no action of this task (allowed: one of supplier switching)"
        if reason is None and task.codec.routes:
            reason = "it knows nothing of departures and itineraries"
        if reason is None and task.codec.mode == "echelon":
            reason = echelon_needs(task.compiled).missing(task)
        return reason

    @classmethod
    @abstractmethod
    def space(cls, task: Task) -> ParameterSpace:
        """The parameters that tuning may choose."""

    # -- the rule -----------------------------------------------------------------------------------------------------

    def begin(self, reading: Reading) -> Memory | None:
        """The memory with which an episode begins; None for a rule without one."""
        return None

    @abstractmethod
    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        """Orders (A, B) in units, and the memory for the next decision.

        Parameters
        ----------
        parameters
            (P,), or (P, B) with a column per replica.
        reading
            The state at this decision.
        memory
            As the last decision gave it; None, where the rule has one, to begin.
        """

    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, NDArray[np.int64] | None, Memory | None]:
        """Orders (A, B), moves (S, B) on contracts or None for none, and the memory; arguments as :meth:`orders`."""
        orders, memory = self.orders(parameters, reading, memory)
        return orders, None, memory

    def levels(self, parameters: FloatArray, reading: Reading, orders: FloatArray) -> FloatArray:
        """Levels (A, B) to order up to that lead to ``orders`` (A, B)."""
        return self.sequence.levels_for(orders, reading.position)

    def safety(self, parameters: FloatArray, reading: Reading, orders: FloatArray) -> FloatArray:
        """Safety amounts (A, B) that lead to ``orders`` (A, B) in the echelon action mode."""
        rule = EchelonRule(self.compiled) if self._echelon is None else self._echelon
        covered, _ = rule.covered(reading.expected(rule.window), reading.periods_left)
        return rule.safety_for(orders, reading.position, covered)

    # -- the protocol of decision makers ------------------------------------------------------------------------------

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for observations (n,) or (B, n); see :class:`agents.policy.Policy`.

        The state is the rule's memory, replicas last; it begins anew where ``episode_start`` is True. A rule without a
        memory passes the state through.
        """
        reading = self.columns.read(observation)
        fresh = self.begin(reading)
        memory = state if fresh is None else restarted(state, fresh, episode_start)
        orders, moves, memory = self.decide(self.parameters, reading, memory)
        codec = self.task.codec
        if self._echelon is not None:
            targets = self.safety(self.parameters, reading, orders)
        else:
            targets = self.levels(self.parameters, reading, orders) if codec.up_to else orders
        if moves is not None:
            targets = np.concatenate([targets, moves])
        actions = codec.encode(targets)
        return (actions[0] if observation.ndim == 1 else actions), (state if fresh is None else memory)


def restarted(state: Memory | None, fresh: Memory, start: NDArray[np.bool_] | None) -> Memory:
    """A memory, replicas last, begun anew where an episode starts, or where there is none."""
    if state is None or len(state) != len(fresh):
        return fresh
    if start is None:
        return state
    again = np.atleast_1d(np.asarray(start, dtype=np.bool_))
    return tuple(np.where(again, new, old) for old, new in zip(state, fresh, strict=True))


def _shown(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
