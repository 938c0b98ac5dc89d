"""Newsvendor levels: each stock point orders up to the critical ratio of the demand that an order covers.

Arrow, Harris & Marschak (1951), Econometrica 19(3); optimal with backlog and no fixed cost (Karlin & Scarf 1958). Where
sales are lost the level is that of the system with backlog, an upper bound of the best one (Zipkin 2008, Operations
Research 56(5)), with the lost margin for a penalty. In a serial system every echelon level is the mean of the two
newsvendor levels that bound the best one (Shang & Song 2003, "Newsvendor bounds and heuristic for optimal policies in
serial supply chains", Management Science 49(5):618-638). Nothing is tuned: costs and laws are the network's own.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.oracles.lead_time_demand import total_demand
from agents.oracles.newsvendor import Newsvendor
from agents.oracles.parameters import require_positive
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER

__all__ = ["NewsvendorLevels", "newsvendor_levels", "serial_bounds"]

FloatArray = NDArray[np.float64]


class NewsvendorLevels(OrderingPolicy):
    """Order up to the newsvendor level of every arc; there are no parameters.

    Attributes
    ----------
    known_levels
        (A,) units.
    """

    name = "newsvendor"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.known_levels = newsvendor_levels(task.compiled)

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        try:
            newsvendor_levels(compiled)
        except ConfigError as error:
            return str(error)
        return None

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return ParameterSpace.empty()

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        return self.sequence.orders_up_to(self.known_levels, reading.position), memory

    def levels(self, parameters: FloatArray, reading: Reading, orders: FloatArray) -> FloatArray:
        return np.repeat(self.known_levels[:, None], reading.replicas, axis=1)


def newsvendor_levels(compiled: CompiledNetwork) -> FloatArray:
    """The local level of every arc, shape (A,), units.

    Raises
    ------
    ConfigError
        Where a stock point is no newsvendor: it has several sources or none, a random lead time, or demand that changes
        in time or depends on its past; or where stock points feed each other otherwise than in one chain.
    """
    top, network = compiled.topology, compiled.network
    arcs = np.empty(compiled.n_stocks, dtype=np.int64)
    for i, name in enumerate(compiled.stock_names):
        sources = np.flatnonzero(top.arc_destination == i)
        if len(sources) != 1:
            raise ConfigError(f"{name} has {len(sources)} sources, and a newsvendor has one")
        if top.arc_fixed_lead[sources[0]] < 0:
            raise ConfigError(f"the lead time to {name} is random")
        arcs[i] = sources[0]
    levels = np.zeros(compiled.n_arcs)
    if len(top.in_stock):
        chain = _chain(compiled, arcs)
        levels[arcs[chain]] = np.diff(_echelon_levels(compiled, chain, arcs)[0], prepend=0.0)
        return levels
    for i, a in enumerate(arcs.tolist()):
        d = _stream(compiled, i)
        penalty = top.demand_penalty[d]
        if not top.demand_backlogs[d]:
            penalty = penalty + top.demand_price[d] - top.arc_unit_cost[a] - top.arc_freight[a]
        lead_time = int(top.arc_fixed_lead[a] + top.mail_ptr[a + 1] - top.mail_ptr[a])
        law = compiled.demand_distributions[d][0]
        newsvendor = Newsvendor(law, float(top.stock_holding[i]), float(penalty), lead_time, network.phases)
        levels[a] = newsvendor.optimum().level
    return levels


def serial_bounds(compiled: CompiledNetwork) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bounds of the best echelon levels of a serial system, customers' stage first, units.

    Shang & Song (2003), Theorem 1: with echelon holding costs h and penalty b the best level of stage j is between the
    quantiles of the demand over the lead times of stages 1 to j and a period at (b + sum of h above j) / (b + sum of
    all h) and at (b + sum of h above j) / (b + sum of h from j on up).

    Raises
    ------
    ConfigError
        As :func:`newsvendor_levels`.
    """
    arcs = np.argsort(compiled.topology.arc_destination, kind="stable")
    return _echelon_levels(compiled, _chain(compiled, arcs), arcs)[1:]


def _chain(compiled: CompiledNetwork, arcs: NDArray[np.int64]) -> list[int]:
    """The stock points of a serial system, the one that serves the customers first."""
    top = compiled.topology
    chain = [int(i) for i in top.sequence]
    given = [top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]].tolist() for a in arcs[chain]]
    if given != [[i] for i in chain[1:]] + [[]] or (top.in_coefficient != 1.0).any() or compiled.n_demands != 1:
        raise ConfigError("stock points feed each other otherwise than in one chain that ends with the customers")
    if top.mail_ptr[-1] > 0:
        raise ConfigError("orders take time to reach the stages of the chain")
    if not top.demand_backlogs[0] or top.demand_stock[0] != chain[0]:
        raise ConfigError("the last stage of the chain must owe what it cannot deliver")
    return chain


def _echelon_levels(
    compiled: CompiledNetwork, chain: list[int], arcs: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Heuristic echelon levels of the stages, customers' first, and their bounds below and above."""
    top = compiled.topology
    law = compiled.demand_distributions[_stream(compiled, chain[0])][0]
    local = [*top.stock_holding[chain].tolist(), 0.0]
    if local[-2] <= 0.0 or any(down < up for down, up in itertools.pairwise(local)):
        raise ConfigError(
            f"holding costs must not rise on the way upstream and must end above 0, received {local[:-1]}"
        )
    penalty, later = float(top.demand_penalty[0]), 1 if top.phase_order == ORDER_RECEIVE_DEMAND else 0
    require_positive(penalty=penalty)
    periods = 0 if top.phase_order == RECEIVE_DEMAND_ORDER else 1
    lower, upper = [], []
    for j, i in enumerate(chain):
        periods += int(top.arc_fixed_lead[arcs[i]]) + (later if j else 0)
        covered, above = total_demand(law, periods), penalty + local[j + 1]
        lower.append(covered.quantile(above / (penalty + local[0])))
        upper.append(covered.quantile(above / (penalty + local[j])))
    mean = (np.array(lower) + np.array(upper)) / 2.0
    levels = np.floor(mean + 0.5) if top.arc_integer.all() else mean
    # An echelon level above the next one upstream never binds: that one is the level.
    return np.minimum.accumulate(levels[::-1])[::-1], np.array(lower), np.array(upper)


def _stream(compiled: CompiledNetwork, i: int) -> int:
    """The one stream of a stock point, which is drawn independently from one law."""
    name, streams = compiled.stock_names[i], np.flatnonzero(compiled.topology.demand_stock == i)
    if len(streams) != 1:
        raise ConfigError(f"{name} has {len(streams)} streams of demand, and a newsvendor has one")
    d = int(streams[0])
    entry, laws = compiled.network.demands[compiled.demand_names[d]], compiled.demand_distributions[d]
    remembers = entry.goodwill is not None or entry.random_shock is not None or entry.autocorrelation != 0.0
    if len(laws) > 1 or entry.moves or remembers or laws[0].distribution == "recorded":
        raise ConfigError(f"the demand of {name} is not drawn independently from one law")
    return d
