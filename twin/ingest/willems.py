"""The 38 real supply chains of Willems (2008) as networks.

S. P. Willems, "Data Set: Real-World Multi-Echelon Supply Chains Used for Inventory Optimization", Manufacturing &
Service Operations Management 10(1):19-23, 2008. A chain is a directed graph of stages; a stage adds cost, takes time
and can hold stock of its output; a link says that one stage's output goes into another's. Stages that customers buy
from have a daily demand. The data give no unit usage, no stock, no prices and no rates: what is assumed for them is
written into the network's provenance.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

import networkx as nx

from twin.calibration import significant
from twin.distributions import Normal
from twin.errors import DataError
from twin.ingest.willems_data import Chain, Stage
from twin.network import Network
from twin.periods import DAYS

__all__ = ["HOLDING_RATE", "Layout", "build_network", "chain_comment"]

#: Holding cost, as a share of a unit's cumulated cost a year.
HOLDING_RATE = 0.25

#: How much clipping a normal demand at 0 may raise its mean, as a share, before a gamma takes its place.
_CLIPPING = 0.01
#: How far the mean of a discrete stage time may lie from the stated mean, in days (some files state whole days).
_TOLERANCE = 0.51

Layout = Literal["compact", "sites"]


def build_network(chain: Chain, *, holding_rate: float = HOLDING_RATE, layout: Layout = "compact") -> Network:
    """Make a network of a chain; the period is a day.

    Parameters
    ----------
    chain
        What :func:`twin.ingest.willems_data.read_chain` gives.
    holding_rate
        Holding cost a year as a share of the cumulated cost of a unit.
    layout
        ``compact``: every stage is a product with a stock point of its own, all at one site, and a link is an input
        of a recipe; one decision a stage. ``sites``: every stage is a site, and a link is a lane without lead time
        that brings the input to the stage that uses it; one decision a stage and one a link.
    """
    if not (math.isfinite(holding_rate) and holding_rate >= 0.0):
        raise DataError(f"the holding rate must be finite and at least 0, received {holding_rate:g}")
    order = [name for name in nx.topological_sort(_graph(chain)) if name in chain.stages]
    worth = _cumulated_cost(chain, order)
    need = _requirement(chain, order)
    held = {name: significant(holding_rate / DAYS["year"] * worth[name], 6) for name in order}
    notes: list[str] = []
    data: dict[str, Any] = {
        "products": {},
        "suppliers": {},
        "sites": {},
        "lanes": [],
        "recipes": {},
        "demands": {},
    }
    for stage in chain.stages.values():
        site = stage.name if layout == "sites" else "chain"
        stock = data["sites"].setdefault(site, {"stock": {}})["stock"]
        data["products"][stage.name] = {"description": _description(stage)}
        stock[stage.name] = {"holding_cost": held[stage.name], "initial": significant(need[stage.name], 6)}
        terms = {"lead_time": _stage_time(stage, notes), "initial_flow": significant(need[stage.name], 6)}
        inputs = chain.inputs[stage.name]
        if inputs:
            data["recipes"][stage.name] = {
                "site": site,
                "product": stage.name,
                "inputs": dict.fromkeys(inputs, 1.0),
                **terms,
                "unit_cost": stage.cost,
                "unfilled": "backordered",
            }
        else:
            source = f"source_of_{stage.name}"
            data["suppliers"][source] = {"offers": {stage.name: {"price": stage.cost}}}
            data["lanes"].append({"from": source, "to": site, "product": stage.name, "modes": {"purchase": terms}})
        if layout == "sites":
            for name in inputs:
                stock[name] = {"holding_cost": held[name]}
                link = {"lead_time": 0, "unfilled": "backordered"}
                data["lanes"].append({"from": name, "to": site, "product": name, "modes": {"link": link}})
        if stage.demand is not None:
            ratio = stage.service_level / (1.0 - stage.service_level)
            data["demands"][stage.name] = {
                "site": site,
                "product": stage.name,
                "distribution": _demand_law(stage),
                "unmet": "backlog",
                "penalty": significant(held[stage.name] * ratio, 6),
            }
    return Network.parse(
        {
            "name": f"willems2008_chain_{chain.number:02d}",
            "description": f"Chain {chain.number} of Willems (2008): {len(chain.stages)} stages, {chain.links} links, "
            f"{len(data['demands'])} of the stages sell to customers.",
            "source": "S. P. Willems, Data Set: Real-World Multi-Echelon Supply Chains Used for Inventory "
            "Optimization, Manufacturing & Service Operations Management 10(1):19-23, 2008",
            "licence": "open to all researchers who cite the paper as the source",
            "period": "day",
            "currency": "USD",
            **data,
            "provenance": {
                **chain.checksums,
                "chain": chain.number,
                "layout": layout,
                "holding_rate_per_year": holding_rate,
                "assumptions": _assumptions(holding_rate, layout),
                "notes": notes,
            },
        },
        where=f"the network of chain {chain.number}",
    )


def _graph(chain: Chain) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(chain.stages)
    graph.add_edges_from((source, name) for name, sources in chain.inputs.items() for source in sources)
    return graph


def _cumulated_cost(chain: Chain, order: list[str]) -> dict[str, float]:
    """Money per unit at each stage: its own cost and that of everything that went into it."""
    worth: dict[str, float] = {}
    for name in order:
        worth[name] = chain.stages[name].cost + sum(worth[source] for source in chain.inputs[name])
    return worth


def _requirement(chain: Chain, order: list[str]) -> dict[str, float]:
    """Units a day that each stage must make on average."""
    need = {name: chain.stages[name].demand or 0.0 for name in order}
    for name in reversed(order):
        for source in chain.inputs[name]:
            need[source] += need[name]
    return need


def _description(stage: Stage) -> str:
    text = f"{stage.kind}, relative depth {stage.depth}"
    if stage.demand is not None:
        text += f"; service level {stage.service_level:g}, quoted service time {stage.service_time:g} days"
    return text


def _stage_time(stage: Stage, notes: list[str]) -> Any:
    """The stage's time in days: the discrete points where they agree with mean and deviation, else a gamma."""
    if stage.points:
        mean = sum(days * share for days, share in stage.points)
        if abs(mean - stage.time) <= _TOLERANCE:
            days, shares = zip(*stage.points, strict=True)
            if len(days) == 1:
                return days[0]
            return {"distribution": "empirical", "values": list(days), "probabilities": list(shares)}
        notes.append(
            f"{stage.name}: the listed stage times have mean {mean:g}, but the stated mean is {stage.time:g}; "
            "mean and deviation are used"
        )
    if stage.time_sd == 0.0 or stage.time == 0.0:
        return stage.time
    return {"distribution": "gamma", "mean": stage.time, "sd": stage.time_sd}


def _demand_law(stage: Stage) -> Any:
    """Daily demand: normal, or gamma with the same mean and deviation where clipping at 0 would raise the mean."""
    mean, sd = stage.demand or 0.0, stage.demand_sd
    if sd == 0.0:
        return mean
    if Normal(mean=mean, sd=sd).mean_value <= (1.0 + _CLIPPING) * mean:
        return {"distribution": "normal", "mean": mean, "sd": sd}
    return {"distribution": "gamma", "mean": mean, "sd": sd}


def _assumptions(holding_rate: float, layout: Layout) -> list[str]:
    places = {
        "compact": "every stage is a product with a stock point of its own; all stand at one site, because the data "
        "have no places (their positions are those of a drawing); a link is an input of a recipe",
        "sites": "every stage is a site with a stock of its output and of what it uses; a link is a lane without lead "
        "time, so inputs wait at the stage that asked for them; positions in the data are those of a drawing",
    }
    return [
        places[layout],
        "unit usage is not in the data: one unit of every predecessor goes into one unit of a stage",
        "the stage time is the lead time of the stage, rounded to whole days; where the data list discrete times that "
        "agree with the stated mean they are used, else a gamma with the stated mean and deviation",
        "stages without predecessors buy from a source of their own with unlimited stock",
        "daily demands are independent; normal with the stated mean and deviation, but gamma with the same two where "
        "clipping the normal at 0 would raise its mean by more than 1 %",
        "unmet demand is backlogged; the quoted service time (maxServiceTime) is not modelled: customers want their "
        "units on the day they ask",
        f"holding cost: {holding_rate:g} a year / {DAYS['year']:g} days x the cumulated cost of a unit (stageCost "
        "summed along the chain); stock in process is not charged, since no policy changes its mean",
        "backlog penalty p from the service level s and the holding cost h of the stage: p / (p + h) = s (the "
        "newsvendor ratio), so p = h s / (1 - s)",
        "at the start every stage holds one day's mean requirement, and as much is under way for every day of its "
        "mean stage time",
    ]


def chain_comment(chain: Chain) -> str:
    """What stands on top of the network's file."""
    laws = Counter(stage.kind for stage in chain.stages.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(laws.items()))
    return (
        f"A real supply chain: chain {chain.number} of Willems (2008), {len(chain.stages)} stages ({kinds}).\n"
        "Data: S. P. Willems, M&SOM 10(1):19-23, 2008; open to all researchers who cite the paper as the source.\n"
        "What is assumed beyond the data: see provenance, at the end."
    )
