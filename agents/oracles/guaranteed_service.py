"""Where to hold safety stock in a tree of stages that guarantee their service times.

Graves & Willems (2000), Manufacturing & Service Operations Management 2(1):68-83, with the erratum of 2003 (ibid.
5(2):176-177). Every stage promises to deliver within a service time and holds the stock that covers demand, up to a
bound, over its net replenishment time: inbound service time + processing time - promised service time. The promises are
chosen by dynamic programming over the tree. Time is counted in whole periods, and a stage orders in each what was
demanded of it in that period (phases: receive, demand, order); goods in process are not charged, no promise changes
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from agents.oracles.parameters import require_not_negative, require_positive, require_whole
from twin.errors import ConfigError, did_you_mean

__all__ = ["GuaranteedService", "ServiceStage", "StagePlan", "guaranteed_service"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ServiceStage:
    """One stage of the tree.

    Attributes
    ----------
    holding_cost
        Money per unit of safety stock and period.
    processing_time
        Whole periods from having all inputs to being able to serve.
    inbound_service_time
        Whole periods that suppliers from outside the tree take.
    promise
        Longest service time that customers from outside the tree accept, whole periods; None where there are none.
        Needed where nothing is downstream.
    demand_sd
        Standard deviation per period of the demand of customers from outside the tree, units; independent between
        periods and stages.
    """

    holding_cost: float
    processing_time: int
    inbound_service_time: int = 0
    promise: int | None = None
    demand_sd: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative(holding_cost=self.holding_cost, demand_sd=self.demand_sd)
        require_whole(processing_time=self.processing_time, inbound_service_time=self.inbound_service_time)
        if self.promise is not None:
            require_whole(promise=self.promise)


@dataclass(frozen=True)
class StagePlan:
    """What one stage does: service times in periods, safety stock in units, cost in money per period."""

    inbound_time: int
    service_time: int
    net_replenishment_time: int
    safety_stock: float
    cost: float


@dataclass(frozen=True)
class GuaranteedService:
    """The cheapest promises: a plan per stage, and the money per period that all safety stock costs."""

    stages: dict[str, StagePlan]
    cost: float


def guaranteed_service(
    stages: Mapping[str, ServiceStage], links: Sequence[tuple[str, str]], safety_factor: float
) -> GuaranteedService:
    """Choose the service time of every stage of a tree.

    Parameters
    ----------
    stages
        By name.
    links
        (from, to): the first stage supplies the second, one unit for one unit.
    safety_factor
        z of the demand bound z x standard deviation x sqrt(periods); 1.645 covers 95 % of normal demand. The demand
        of a stage is that of all customers downstream, pooled.

    Raises
    ------
    ConfigError
        When a link names no stage, the links do not form one tree, or a stage that supplies no other has no promise.
    """
    require_positive(safety_factor=safety_factor)
    graph = nx.DiGraph()
    graph.add_nodes_from(stages)
    for link in links:
        for name in link:
            if name not in stages:
                raise ConfigError(f"the link {link} names no stage '{name}'{did_you_mean(name, stages)}")
        graph.add_edge(*link)
    if not stages or not nx.is_tree(graph) or graph.number_of_edges() != len(links):
        raise ConfigError(f"{len(stages)} stages and {len(links)} links do not form one tree")
    for name in graph:
        if graph.out_degree(name) == 0 and stages[name].promise is None:
            raise ConfigError(f"stage '{name}' supplies no other and needs a promise to its customers")
    return _Tree(stages, graph, safety_factor).solve()


class _Tree:
    """The dynamic program: a table of costs per stage over its service time (rows) and inbound time (columns)."""

    def __init__(self, stages: Mapping[str, ServiceStage], graph: nx.DiGraph, safety_factor: float) -> None:
        self.stages, self.graph = stages, graph
        longest: dict[str, int] = {}
        self.bound: dict[str, float] = {}
        for name in nx.topological_sort(graph):
            stage = stages[name]
            waits = [stage.inbound_service_time, *(longest[up] for up in graph.predecessors(name))]
            longest[name] = max(waits) + stage.processing_time
            pooled = math.sqrt(sum(stages[down].demand_sd ** 2 for down in {name, *nx.descendants(graph, name)}))
            self.bound[name] = safety_factor * pooled
        # No promise and no wait need be longer than the longest way through the tree.
        self.times = np.arange(max(longest.values()) + 1)

    def solve(self) -> GuaranteedService:
        """Fill the tables from the leaves to a root, then read the promises back."""
        root = next(iter(self.stages))
        # Each stage with the neighbour through which the root is reached, the root first.
        towards = {root: root} | {child: parent for parent, child in nx.dfs_edges(self.graph.to_undirected(), root)}
        tables: dict[str, FloatArray] = {}
        for name in reversed(towards):
            table = self._own_cost(name)
            for child in self._children(name, towards):
                if self.graph.has_edge(child, name):
                    # A supplier may promise any time up to the wait that is planned for.
                    table += np.minimum.accumulate(tables[child].min(axis=1))[None, :]
                else:
                    # A stage downstream may plan for any wait from the promise on.
                    table += np.minimum.accumulate(tables[child].min(axis=0)[::-1])[::-1][:, None]
            tables[name] = table

        first = np.unravel_index(np.argmin(tables[root]), tables[root].shape)
        chosen = {root: (int(first[0]), int(first[1]))}
        for name in towards:
            service, inbound = chosen[name]
            for child in self._children(name, towards):
                table = tables[child]
                if self.graph.has_edge(child, name):
                    row = int(np.argmin(table[: inbound + 1].min(axis=1)))
                    chosen[child] = (row, int(np.argmin(table[row])))
                else:
                    column = int(service + np.argmin(table[:, service:].min(axis=0)))
                    chosen[child] = (int(np.argmin(table[:, column])), column)
        plans = {name: self._plan(name, *chosen[name]) for name in self.stages}
        return GuaranteedService(plans, sum(plan.cost for plan in plans.values()))

    def _children(self, name: str, towards: Mapping[str, str]) -> list[str]:
        neighbours = [*self.graph.predecessors(name), *self.graph.successors(name)]
        return [other for other in neighbours if other != towards[name]]

    def _own_cost(self, name: str) -> FloatArray:
        stage = self.stages[name]
        net = self.times[None, :] + stage.processing_time - self.times[:, None]
        cost = stage.holding_cost * self.bound[name] * np.sqrt(np.maximum(net, 0))
        impossible = (net < 0) | (self.times[None, :] < stage.inbound_service_time)
        if stage.promise is not None:
            impossible |= self.times[:, None] > stage.promise
        return np.where(impossible, np.inf, cost)

    def _plan(self, name: str, service: int, inbound: int) -> StagePlan:
        stage = self.stages[name]
        net = inbound + stage.processing_time - service
        stock = self.bound[name] * math.sqrt(net)
        return StagePlan(inbound, service, net, stock, stage.holding_cost * stock)
