"""Reading the stages and links of Willems (2008): one chain, checked, as typed stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from twin.errors import DataError, did_you_mean
from twin.ingest.csvfile import CsvFile

__all__ = ["Chain", "Stage", "read_chain"]

_STAGE = (
    ("name", "Stage Name"),
    ("cost", "stageCost"),
    ("depth", "relDepth"),
    ("kind", "stageClassification"),
    ("demand", "avgDemand"),
    ("demand_sd", "stdDevDemand"),
    ("service_time", "maxServiceTime"),
    ("service_level", "serviceLevel"),
    ("time", "stageTime"),
    ("time_sd", "stdDev stageTime"),
)
_POINTS = tuple((f"stageTime_{i}", f"stageTime_%_{i}") for i in range(1, 7))


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: money per unit added, days, units a day; None where the data give nothing."""

    name: str
    kind: str
    depth: int
    cost: float
    time: float
    time_sd: float
    points: tuple[tuple[float, float], ...]
    demand: float | None
    demand_sd: float
    service_time: float
    service_level: float


@dataclass(frozen=True)
class Chain:
    """One chain: stages in file order, and per stage its predecessors in file order."""

    number: int
    stages: Mapping[str, Stage]
    inputs: Mapping[str, tuple[str, ...]]
    checksums: Mapping[str, str]

    @property
    def links(self) -> int:
        """Number of links between stages."""
        return sum(len(inputs) for inputs in self.inputs.values())


def read_chain(stages: CsvFile, links: CsvFile, number: int) -> Chain:
    """Take one chain out of the tables of all chains.

    Parameters
    ----------
    stages, links
        One row a stage, and one row a link (chain, sourceStage, destinationStage).
    number
        Of the chain, 1 to 38.

    Raises
    ------
    DataError
        When a column is missing, there is no such chain, or a stage or link is impossible.
    """
    columns = [*(column for _, column in _STAGE), *(column for pair in _POINTS for column in pair)]
    mine = stages.records(columns, where=("chain", str(number)))
    if not mine:
        there = sorted({cells["chain"] for _, cells in stages.records(["chain"])}, key=lambda text: (len(text), text))
        raise DataError(f"{stages.path} has no chain {number} (there is: {', '.join(there)})")
    found: dict[str, Stage] = {}
    for line, cells in mine:
        stage = _stage(f"{stages.path}, line {line}", cells)
        if stage.name in found:
            raise DataError(f"{stages.path}, line {line}: stage '{stage.name}' is in chain {number} twice")
        found[stage.name] = stage
    return Chain(
        number=number,
        stages=found,
        inputs=_inputs(links, number, found),
        checksums={"stages_sha256": stages.sha256, "links_sha256": links.sha256},
    )


def _stage(place: str, cells: Mapping[str, str]) -> Stage:
    values = {name: cells[column] for name, column in _STAGE}

    def number(name: str, *, default: float | None = None) -> float:
        column = dict(_STAGE)[name]
        if values[name] == "" and default is not None:
            return default
        return _number(f"{place}, {column}", values[name])

    points: dict[float, float] = {}
    for time_column, share_column in _POINTS:
        if cells[time_column] and cells[share_column]:
            days = _number(f"{place}, {time_column}", cells[time_column])
            points[days] = points.get(days, 0.0) + _number(f"{place}, {share_column}", cells[share_column])
    if points and abs(sum(points.values()) - 1.0) > 1e-6:
        raise DataError(f"{place}: the shares of the stage times sum to {sum(points.values()):.6g}, not to 1")
    demand = number("demand") if values["demand"] else None
    stage = Stage(
        name=values["name"],
        # One chain writes Parts where all others write Part.
        kind="Part" if values["kind"] == "Parts" else values["kind"],
        depth=int(number("depth")),
        cost=number("cost"),
        time=number("time"),
        time_sd=number("time_sd", default=0.0),
        points=tuple(sorted(points.items())),
        demand=demand,
        demand_sd=number("demand_sd", default=0.0),
        service_time=number("service_time", default=0.0),
        service_level=number("service_level") if demand is not None else 0.0,
    )
    if demand is not None and not 0.0 < stage.service_level < 1.0:
        raise DataError(f"{place}, serviceLevel: must lie between 0 and 1, received {stage.service_level:g}")
    if demand == 0.0 and stage.demand_sd > 0.0:
        raise DataError(f"{place}, stdDevDemand: must be 0 where avgDemand is 0, received {stage.demand_sd:g}")
    return stage


def _number(place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{place}: must be a number, received '{text}'") from None
    if not (math.isfinite(value) and value >= 0.0):
        raise DataError(f"{place}: must be finite and at least 0, received '{text}'")
    return value


def _inputs(links: CsvFile, number: int, stages: Mapping[str, Stage]) -> dict[str, tuple[str, ...]]:
    inputs: dict[str, list[str]] = {name: [] for name in stages}
    for line, cells in links.records(("sourceStage", "destinationStage"), where=("chain", str(number))):
        source, destination = cells["sourceStage"], cells["destinationStage"]
        for column, name in (("sourceStage", source), ("destinationStage", destination)):
            if name not in stages:
                raise DataError(
                    f"{links.path}, line {line}, {column}: chain {number} has no stage '{name}'"
                    f"{did_you_mean(name, stages)}"
                )
        if source in inputs[destination]:
            raise DataError(f"{links.path}, line {line}: the link {source} -> {destination} is there twice")
        inputs[destination].append(source)
    graph = nx.DiGraph((source, name) for name, sources in inputs.items() for source in sources)
    if not nx.is_directed_acyclic_graph(graph):
        ring = " -> ".join(source for source, _ in nx.find_cycle(graph))
        raise DataError(f"{links.path}: the links of chain {number} form a cycle: {ring} and back")
    return {name: tuple(sources) for name, sources in inputs.items()}
