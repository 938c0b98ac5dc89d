"""Myopic policy for lost sales: the order that is cheapest in the first period it can change.

Morton (1971), "The near-myopic nature of the lagged-proportional-cost inventory problem with lost sales", Operations
Research 19(7); "myopic" in Zipkin (2008), Operations Research 56(5):1256-1263. The law of the stock when the order
arrives follows from what is on hand and what is due in between, see :func:`agents.oracles.lost_sales.myopic`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.exact import exact_problem
from agents.oracles import lost_sales
from agents.oracles.problem import Problem
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ConfigError

__all__ = ["Myopic", "myopic_problem"]

FloatArray = NDArray[np.float64]


class Myopic(OrderingPolicy):
    """One stock point in whole units, one source with a fixed lead time, lost sales; there are no parameters."""

    name = "myopic"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.problem = myopic_problem(task.compiled)
        self._rule = lost_sales.myopic(self.problem)
        # States met so far, in lexicographic order, and their orders: a row as one value, so that it can be looked up.
        self._row = np.dtype([(f"n{k}", np.int64) for k in range(self.problem.lead_time)])
        self._known = np.zeros(0, dtype=self._row)
        self._answers = np.zeros(0)

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        try:
            myopic_problem(compiled)
        except ConfigError as error:
            return f"it is for one stock point that loses sales ({error})"
        return None

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        return Needs(("position", "on_hand"), slots=True)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return ParameterSpace.empty()

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        due = [reading.arriving(ahead)[0] for ahead in range(1, self.problem.lead_time)]
        states = np.rint(np.stack([reading.on_hand[0], *due], axis=1)).astype(np.int64)
        rows, place = np.unique(np.ascontiguousarray(states).view(self._row).ravel(), return_inverse=True)
        self._learn(rows)
        return self._answers[np.searchsorted(self._known, rows)][place][None], memory

    def _learn(self, rows: NDArray[np.void]) -> None:
        """Decide the states that have not been met before."""
        fresh = np.setdiff1d(rows, self._known, assume_unique=True)
        if len(fresh):
            answers = self._rule(fresh.view(np.int64).reshape(len(fresh), -1)).astype(np.float64)
            known, first = np.unique(np.concatenate([self._known, fresh]), return_index=True)
            self._known, self._answers = known, np.concatenate([self._answers, answers])[first]


def myopic_problem(compiled: CompiledNetwork) -> Problem:
    """The lost-sales problem that a network is, with orders for free: a unit sold saves the penalty, less its price.

    Raises
    ------
    ConfigError
        When it is another problem.
    """
    problem = exact_problem(compiled)
    if not problem.lost:
        raise ConfigError("the rule is for lost sales, and this network's customers wait")
    if problem.fixed_cost > 0.0:
        raise ConfigError("the rule does not know the fixed cost per order that this network has")
    return replace(problem, penalty=problem.penalty - problem.price, price=0.0)
