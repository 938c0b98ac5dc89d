"""What classical policies of supplier switching share: moves beside orders."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy
from agents.baselines.reading import Reading
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task
from twin.compile import CompiledNetwork

__all__ = ["StaticSwitching", "SwitchingPolicy"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class SwitchingPolicy(OrderingPolicy):
    """A rule from what is read to orders and moves; with contracts it acts in the action mode ``orders``.

    Attributes
    ----------
    sources
        What may be ordered from whom.
    rule
        The status rule, which knows the main arc of each stock point and the order of the backups.
    """

    #: What the rule reads beside positions, availability and contracts: groups of fields.
    reads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.sources = Sources(task.compiled)
        self.rule = StatusRule(task.compiled, self.sources)
        self._shown = self.needs(task.compiled).groups

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return Needs(("position", "availability", *cls.reads, "contract", "clock"))

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        if max((len(group) for group in Sources(compiled).sequence.groups), default=0) < 2:
            return "no stock point has more than one source"
        return None

    @classmethod
    def moves_contracts(cls, compiled: CompiledNetwork) -> bool:
        return bool(compiled.relation_names)

    def supply(self, reading: Reading) -> Supply:
        """What the rule reads; without rows where it does not."""
        nothing = np.zeros((0, reading.replicas))
        return Supply(
            reading.position,
            reading.availability,
            reading.since if "since" in self._shown else nothing,
            reading.price if "price" in self._shown else nothing,
            reading.stage,
            reading.clock,
        )

    @abstractmethod
    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, IntArray | None, Memory | None]: ...

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        orders, _, memory = self.decide(parameters, reading, memory)
        return orders, memory


class StaticSwitching(SwitchingPolicy):
    """A switching policy without memory: which contracts it wants, then what it orders."""

    @abstractmethod
    def wanted(self, parameters: FloatArray, supply: Supply) -> BoolArray:
        """Which contracts should be active, (C, B) or (C, 1); one move a period brings each nearer."""

    def moves(self, parameters: FloatArray, supply: Supply) -> IntArray:
        """Moves (S, B): those towards what is wanted."""
        return self.sources.toward(supply, self.wanted(parameters, supply))

    @abstractmethod
    def placed(self, parameters: FloatArray, supply: Supply, moves: IntArray) -> FloatArray:
        """Orders (A, B) in units, with the contracts as they are after ``moves`` (S, B)."""

    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, IntArray | None, Memory | None]:
        supply = self.supply(reading)
        moves = self.moves(parameters, supply)
        return self.placed(parameters, supply, moves), moves if len(moves) else None, memory
