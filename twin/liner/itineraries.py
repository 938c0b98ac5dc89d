"""Candidate itineraries: the ways that cargo may take, from a call of its origin to a call of its destination.

They are a file, because finding good ones takes a linear program (``agents.oracles.candidates``) and an environment
only needs to know them. ``baltic`` ships with its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from twin.demand import Name
from twin.errors import NetworkError, did_you_mean
from twin.files import read_mapping, write_text
from twin.liner.calls import CallGraph, call_graph
from twin.liner.network import LinerNetwork
from twin.schema import StrictModel, explain

__all__ = [
    "Candidate",
    "candidate_rows",
    "checked",
    "parse_candidates",
    "read_candidates",
    "shipped_candidates",
    "write_candidates",
]

_SHIPPED = Path(__file__).parent / "library" / "itineraries"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way for the cargo of a demand.

    Attributes
    ----------
    demand
        Index of the demand.
    nodes
        Calls in order, from loading to discharge; two in a row are a leg, or a transshipment where their ports are one.
    """

    demand: int
    nodes: tuple[int, ...]


class _Row(StrictModel):
    origin: Name = Field(alias="from")
    destination: Name = Field(alias="to")
    calls: tuple[str, ...] = Field(min_length=2, description="service:call, in order")


class _File(StrictModel):
    network: str = ""
    itineraries: tuple[_Row, ...]


def checked(graph: CallGraph, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, each once, by demand.

    Raises
    ------
    NetworkError
        When one of them cannot be travelled, with the call at which it breaks.
    """
    transfers = set(zip(graph.transfer_tail.tolist(), graph.transfer_head.tolist(), strict=True))
    for entry in candidates:
        problem = _broken(graph, entry, transfers)
        if problem:
            raise NetworkError(f"the itinerary {list(entry.nodes)} of demand {entry.demand} {problem}")
    return tuple(sorted(dict.fromkeys(candidates), key=lambda entry: entry.demand))


def _broken(graph: CallGraph, entry: Candidate, transfers: Collection[tuple[int, int]]) -> str:
    if not 0 <= entry.demand < len(graph.demand):
        return f"is for no demand of the network (allowed: 0 to {len(graph.demand) - 1})"
    if len(entry.nodes) < 2 or len(set(entry.nodes)) < len(entry.nodes):
        return "is not a way: it needs two calls or more, none of them twice"
    if not all(0 <= node < len(graph.port) for node in entry.nodes):
        return f"has a call that the network has not (allowed: 0 to {len(graph.port) - 1})"
    for place, node, port in (("begins", entry.nodes[0], graph.origin), ("ends", entry.nodes[-1], graph.destination)):
        if graph.port[node] != port[entry.demand]:
            return f"{place} at {graph.node_name(node)}, not in {graph.port_names[port[entry.demand]]}"
    for one, other in pairwise(entry.nodes):
        if graph.leg_head[one] != other and (one, other) not in transfers:
            return f"has neither a leg nor a transshipment from {graph.node_name(one)} to {graph.node_name(other)}"
    return ""


def read_candidates(path: str | Path, network: LinerNetwork) -> tuple[Candidate, ...]:
    """Read the candidates of a network from a YAML or JSON file.

    Raises
    ------
    NetworkError
        When the file is missing or no such file, or names what the network has not.
    """
    return parse_candidates(read_mapping(path), network, where=str(path))


def parse_candidates(data: Mapping[str, Any], network: LinerNetwork, *, where: str) -> tuple[Candidate, ...]:
    """The candidates of a network from plain data; ``where`` names its place in messages.

    Raises
    ------
    NetworkError
        When it is no such data, or names what the network has not.
    """
    try:
        rows = _File.model_validate(data).itineraries
    except ValidationError as error:
        listed = "\n".join(f"  - {line}" for line in explain(error))
        raise NetworkError(f"{where} holds no itineraries:\n{listed}") from None
    graph = call_graph(network)
    demands = {(cargo.origin, cargo.destination): d for d, cargo in enumerate(network.demands)}
    calls = {_call(graph, node): node for node in range(len(graph.port))}
    found = []
    for k, row in enumerate(rows):
        place = f"{where}: itineraries[{k}]"
        if (row.origin, row.destination) not in demands:
            raise NetworkError(f"{place}: {network.name} has no demand from {row.origin} to {row.destination}")
        for name in row.calls:
            if name not in calls:
                allowed = ", ".join(list(calls)[:40])
                raise NetworkError(f"{place}.calls: no call '{name}' (allowed: {allowed}){did_you_mean(name, calls)}")
        found.append(Candidate(demands[row.origin, row.destination], tuple(calls[name] for name in row.calls)))
    return checked(graph, found)


def write_candidates(path: str | Path, network: LinerNetwork, candidates: Sequence[Candidate]) -> None:
    """Write candidates as YAML, whole or not at all."""
    lines = [
        f"# Candidate itineraries of the liner network {network.name}.",
        f"network: {network.name}",
        "itineraries:",
    ]
    for row in candidate_rows(network, candidates):
        lines.append("- " + yaml.safe_dump(row, sort_keys=False, default_flow_style=True, width=10_000).strip())
    write_text(path, "\n".join(lines) + "\n")


def candidate_rows(network: LinerNetwork, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates as plain data, a row each."""
    graph = call_graph(network)
    rows = []
    for entry in checked(graph, candidates):
        cargo = network.demands[entry.demand]
        calls = [_call(graph, node) for node in entry.nodes]
        rows.append({"from": cargo.origin, "to": cargo.destination, "calls": calls})
    return rows


def shipped_candidates(network: LinerNetwork) -> tuple[Candidate, ...]:
    """The candidates that ship with a network of that name.

    Raises
    ------
    NetworkError
        When none ship, or they are not this network's.
    """
    path = _SHIPPED / f"{network.name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in _SHIPPED.glob("*.yaml")))
        raise NetworkError(
            f"no candidate itineraries ship for '{network.name}' (they do for: {known}); make them with "
            "python -m experiments.itineraries and give their file"
        )
    return read_candidates(path, network)


def _call(graph: CallGraph, node: int) -> str:
    return f"{graph.service_names[graph.service[node]]}:{graph.call[node]}"
