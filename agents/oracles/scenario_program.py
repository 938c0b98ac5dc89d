"""What to order now, when the plan afterwards may differ from scenario to scenario: a two-stage linear program.

The hindsight programs of several paths side by side (:mod:`agents.oracles.hindsight_program`, with what it relaxes),
with the decision of now in common: the orders, and what sources ship at once. Everything later is decided knowing the
path. With one path, of what is expected, it is the program of a rolling horizon; with drawn paths the sample-average
approximation of Kleywegt, Shapiro & Homem-de-Mello (2002), SIAM Journal on Optimization 12(2):479-502.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from agents.oracles.hindsight_program import Program, hindsight_program
from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.state import TwinState
from twin.tape import Draws
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["ScenarioProgram", "longest_path"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Cost of a unit that is ordered and not shipped, as a share of the largest cost of a unit: among plans equally good,
#: orders are placed when they can be filled. Ten times HiGHS's tolerance of a reduced cost.
_TIE = 1e-6
#: Of an order: HiGHS's tolerance of a quantity is 1e-7, and what is ordered by rounding alone would cost a fixed cost.
_DECIMALS = 6


def longest_path(compiled: CompiledNetwork) -> int:
    """Periods from an order to the demand it can first serve, along the slowest way from a supplier to a customer.

    Lead times by their mean, rounded; time in the mail included. Where orders come before receipts every stage that is
    fed by another takes a period more. Rings of lateral lanes are gone through once.
    """
    top = compiled.topology
    stage = 1 if top.phase_order == ORDER_RECEIVE_DEMAND else 0
    reached = np.zeros(compiled.n_stocks, dtype=np.int64)
    for i in reversed(top.sequence.tolist()):
        for a in np.flatnonzero(top.arc_destination == i):
            inputs = top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]]
            ready = int(reached[inputs].max()) + stage if len(inputs) else 0
            reached[i] = max(reached[i], ready + top.arc_window[a])
    return int(reached[top.demand_stock].max())


@dataclass(frozen=True, eq=False)
class _Shape:
    """What the programs of all states with as many periods and paths have in common.

    Attributes
    ----------
    places
        Per path, the joint column of each of its columns.
    cost
        (columns,) summed over paths, money.
    matrix
        (rows, columns): the equations and then the inequalities of each path.
    decisions
        (A,) joint columns of what is ordered now; -1 where it reaches the source after the last period.
    """

    places: list[IntArray]
    cost: FloatArray
    matrix: Any
    decisions: IntArray


class ScenarioProgram:
    """Orders of now that are best on average over paths; keeps the matrix from one state to the next where it can.

    Parameters
    ----------
    compiled
        The network.
    keeps_contracts
        Whether contracts stay at the stage where the state has them for as long as the plan is, and nothing is moved
        forward. Else a network with any of that, or with breaks or moving prices, is refused: a plan that moves
        contracts in parts leads to orders under contracts that nobody activates.
    """

    def __init__(self, compiled: CompiledNetwork, *, keeps_contracts: bool = False) -> None:
        top = compiled.topology
        self._compiled, self._keeps_contracts = compiled, keeps_contracts
        # Otherwise the paths drawn decide what lands when and what a source that is down keeps; prices and stages move.
        reliable = (top.arc_fixed_lead >= 0).all() and (compiled.resource_share_when_down == 1.0).all()
        self._same = bool(reliable) and not compiled.has_deals
        self._kept: dict[tuple[int, int, bool], _Shape] = {}

    def orders(self, state: TwinState, replica: int, draws: Draws, *, with_terminal_value: bool) -> FloatArray:
        """Units to order on each arc now, shape (A,); fractions where lots or whole units would be placed.

        Parameters
        ----------
        state, replica
            Where the plan begins.
        draws
            T periods of S paths, equally likely: (T, D, S), (T, A, S) and (T, R, S).
        with_terminal_value
            Whether what is left after T periods counts, at its terminal value.

        Raises
        ------
        ConfigError
            When a stream has goodwill, or no best plan exists: what is left is worth more than it costs to get. When
            the network has contracts, expediting, breaks or moving prices, unless ``keeps_contracts``.
        """
        if self._compiled.deal_keys and not self._keeps_contracts:
            keys = ", ".join(self._compiled.deal_keys)
            raise ConfigError(f"the plan has neither contracts nor expediting, breaks or moving prices (keys: {keys})")
        periods, _, paths = draws.demand.shape
        if periods < 1 or paths < 1:
            raise ConfigError(f"a plan needs at least 1 period and 1 path, received {periods} and {paths}")
        programs = [hindsight_program(state, draws, replica, path, moves=False) for path in range(paths)]
        key = (periods, paths, with_terminal_value)
        shape = self._kept.get(key)
        if shape is None:
            shape = _shape(programs, np.diff(self._compiled.topology.mail_ptr), with_terminal_value)
            if self._same:
                self._kept[key] = shape
        lower, upper = np.zeros(len(shape.cost)), np.zeros(len(shape.cost))
        for place, program in zip(shape.places, programs, strict=True):
            lower[place] = program.lower
            # An arc that refuses orders on one path alone takes the common order, and ships nothing there.
            upper[place] = np.maximum(upper[place], program.upper)
        least = [part for p in programs for part in (p.equal_to, np.full(len(p.at_most), -np.inf))]
        most = [part for p in programs for part in (p.equal_to, p.at_most)]
        result = optimize.milp(
            shape.cost,
            constraints=optimize.LinearConstraint(shape.matrix, np.concatenate(least), np.concatenate(most)),
            bounds=optimize.Bounds(lower, upper),
        )
        if result.x is None:
            raise ConfigError(
                f"HiGHS found no best plan over {periods} periods ({result.message}); where the problem is unbounded, "
                "what is left at the end is worth more than it costs to get"
            )
        placed = np.where(shape.decisions >= 0, result.x[shape.decisions], 0.0)
        return np.asarray(np.round(np.maximum(placed, 0.0), _DECIMALS), dtype=np.float64)


def _shape(programs: Sequence[Program], delay: IntArray, with_terminal_value: bool) -> _Shape:
    first = programs[0]
    periods, arcs = first.reach.shape
    # What is decided now and what follows from it before anything is drawn.
    now = [first.ship[0], first.owed[0], first.dropped[0], *(first.reach[: d + 1, a] for a, d in enumerate(delay))]
    common = np.unique(np.concatenate(now))
    sizes = [len(program.lower) for program in programs]
    places = [np.arange(size) + start for size, start in zip(sizes, np.cumsum([0, *sizes]), strict=False)]
    for place in places[1:]:
        place[common] = places[0][common]
    used, joint = np.unique(np.concatenate(places), return_inverse=True)
    places = np.split(joint.astype(np.int64), np.cumsum(sizes)[:-1])

    cost = np.zeros(len(used))
    rows, columns, values, height = [], [], [], 0
    for place, program in zip(places, programs, strict=True):
        own = program.terms.sum(axis=0) - (program.terminal if with_terminal_value else 0.0)
        tie = _TIE * float(np.abs(own).max(initial=0.0))
        own[program.owed.ravel()] += tie
        own[program.dropped.ravel()] += tie
        np.add.at(cost, place, own)
        part = sparse.vstack([program.equal, program.most]).tocoo()
        rows.append(part.row + height)
        columns.append(place[part.col])
        values.append(part.data)
        height += part.shape[0]
    matrix = sparse.csc_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(height, len(used))
    )
    reached = [first.reach[d, a] if d < periods else -1 for a, d in enumerate(delay)]
    decisions = np.array([places[0][column] if column >= 0 else -1 for column in reached], dtype=np.int64)
    return _Shape(places, cost, matrix, decisions.reshape(arcs))
