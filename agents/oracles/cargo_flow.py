"""The most that the cargo of a week can earn on a liner network.

The multicommodity flow of :mod:`agents.oracles.cargo_program`, solved by HiGHS (extra ``routing``). One model is kept;
capacities, port moves and demands are changed in place, and the next solution starts from the last basis. On the
published networks of LINERLIB its objective is the published one (docs/routing.md).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from agents.oracles.cargo_itineraries import Itinerary, itineraries, on_columns
from agents.oracles.cargo_program import TERMS, CargoProgram, cargo_program
from agents.oracles.highs import optimum, standing_model
from twin.errors import ConfigError
from twin.liner.calls import CallGraph, call_graph
from twin.liner.network import LinerNetwork
from twin.liner.sailing import fixed_cost

__all__ = ["CargoFlow", "CargoPlan"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CargoPlan:
    """An optimal flow of a week.

    Attributes
    ----------
    objective
        Money a week: revenue less handling, transshipment, penalty and the services' fixed cost.
    terms
        Money a week by name: revenue, handling, transshipment, penalty, fixed.
    carried, rejected
        (D,) FFE a week.
    leg_ffe
        (N,) FFE a week on the leg from each call.
    port_moves
        (P,) moves a week.
    itineraries
        The carried cargo, path by path.
    columns
        The solution, free of circles; what :meth:`CargoFlow.keep_to` takes.
    """

    objective: float
    terms: dict[str, float]
    carried: FloatArray
    rejected: FloatArray
    leg_ffe: FloatArray
    port_moves: FloatArray
    itineraries: tuple[Itinerary, ...]
    columns: FloatArray


class CargoFlow:
    """The program of a network, to be solved again and again.

    Parameters
    ----------
    network
        The liner network.
    closed
        Passages that are closed; services take the other way at the same speed.

    Attributes
    ----------
    graph, program
        The calls, and the program's columns and rows.

    Raises
    ------
    NetworkError
        For an unknown passage, or when no way of a leg is open.
    ImportError
        When HiGHS is missing, with what to install.

    Examples
    --------
    >>> from twin.liner import library
    >>> flow = CargoFlow(library.load("baltic"))
    >>> round(flow.solve().objective, -1)
    246610.0
    """

    def __init__(self, network: LinerNetwork, closed: Collection[str] = ()) -> None:
        self.network = network
        self.graph: CallGraph = call_graph(network, closed)
        self.program: CargoProgram = cargo_program(self.graph, network.rejection_penalty_per_ffe)
        self._fixed = fixed_cost(network, closed).total
        self._equal_rows = len(self.program.equal_to)
        self._demand = self.graph.demand
        self._model = _model(self.program)

    def set_leg_capacity(self, ffe: ArrayLike) -> None:
        """Change what legs can carry; (N,) FFE a week, infinity without limit.

        Raises
        ------
        ConfigError
            When there are not N of them, or one is negative or not a number.
        """
        self._limit(self.program.leg, _amounts("leg capacities", ffe, len(self.program.leg)))

    def set_port_moves(self, moves: ArrayLike) -> None:
        """Change how many moves ports can make; (P,) a week, infinity without limit.

        Raises
        ------
        ConfigError
            When there are not P of them, or one is negative or not a number.
        """
        self._limit(self.program.moves, _amounts("port moves", moves, len(self.program.moves)))

    def set_demand(self, ffe: ArrayLike) -> None:
        """Change what wants to travel; (D,) FFE a week.

        Raises
        ------
        ConfigError
            When there are not D of them, or one is negative or not finite.
        """
        self._demand = _amounts("demands", ffe, len(self.program.asked), finite=True)
        self._model.changeRowsBounds(len(self._demand), self.program.asked.astype(np.int32), self._demand, self._demand)

    def keep_to(self, plan: CargoPlan | None) -> None:
        """Allow no more on any leg, transshipment or call than a plan has there, origin by origin; None allows all.

        Cargo can then be left behind, but takes no way that the plan does not.
        """
        upper = np.full(self.program.columns, np.inf)
        if plan is not None:
            upper = np.maximum(plan.columns, 0.0)
            upper[self.program.reject] = np.inf
        columns = np.arange(len(upper), dtype=np.int32)
        self._model.changeColsBounds(len(upper), columns, np.zeros(len(upper)), upper)

    def solve(self) -> CargoPlan:
        """The best flow.

        Raises
        ------
        ConfigError
            When HiGHS stops without an optimum (numbers that no network can show).
        """
        x = np.maximum(optimum(self._model, f"cargo flow of {self.network.name}"), 0.0)
        terms = dict(zip(TERMS, (self.program.terms @ x).tolist(), strict=True))
        terms["fixed"] = self._fixed
        objective = -sum(terms.values())
        terms["revenue"] = -terms["revenue"]
        found = itineraries(self.program, x)
        columns = on_columns(self.program, found)
        columns[self.program.reject] = x[self.program.reject]
        used = self.program.most @ columns
        return CargoPlan(
            objective=objective,
            terms=terms,
            carried=self._demand - x[self.program.reject],
            rejected=x[self.program.reject],
            leg_ffe=used[self.program.leg],
            port_moves=used[self.program.moves],
            itineraries=found,
            columns=columns,
        )

    def _limit(self, rows: NDArray[np.int64], most: FloatArray) -> None:
        numbers = (rows + self._equal_rows).astype(np.int32)
        self._model.changeRowsBounds(len(rows), numbers, np.full(len(rows), -np.inf), most)


def _amounts(what: str, values: ArrayLike, size: int, *, finite: bool = False) -> FloatArray:
    amounts = np.ascontiguousarray(values, dtype=np.float64)
    if amounts.shape != (size,):
        raise ConfigError(f"{what} must have the shape ({size},), received {amounts.shape}")
    bad = np.flatnonzero(~(amounts >= 0.0) | (finite & ~np.isfinite(amounts)))
    if len(bad):
        raise ConfigError(f"{what} must be {'finite and ' if finite else ''}at least 0, received {amounts[bad[0]]:g}")
    return amounts


def _model(program: CargoProgram) -> Any:
    cost = np.asarray(program.terms.sum(axis=0), dtype=np.float64).ravel()
    rows = (np.concatenate([program.equal_to, np.full(len(program.at_most), -np.inf)]),)
    matrix = sparse.vstack([program.equal, program.most]).tocsr()
    bounds = np.zeros(program.columns), np.full(program.columns, np.inf)
    return standing_model(cost, bounds, matrix, (*rows, np.concatenate([program.equal_to, program.at_most])))
