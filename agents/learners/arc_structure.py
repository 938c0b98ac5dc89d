"""Which numbers of an observation belong to which arc, what tells arcs apart, and which arcs are neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from envs.actions import Codec
from envs.features import Field
from envs.structure import Structure
from twin.compile import CompiledNetwork

__all__ = ["ArcStructure", "arc_structure"]

#: Fields of a stock point and of an arc, in the order in which the network sees them.
_OF_DESTINATION = ("on_hand", "backlog", "demand", "expected")
_OF_ARC = ("position", "in_transit", "in_mail", "owed")
_OF_ALL = ("season_sin", "season_cos")


@dataclass(frozen=True)
class ArcStructure:
    """Which numbers of an observation belong to which arc, and which arcs are neighbours; plain data.

    Attributes
    ----------
    columns
        (A, F) columns of the observation that an arc sees of its own; -1 where it has no such field.
    shared
        Columns that every arc sees.
    traits
        (A, S) what tells arcs apart, each with mean 0 and variance 1 over the arcs.
    neighbours
        Kind of neighbour -> list of (arc, neighbour).
    gain
        (A,) action that moves a level or a quantity by one period's demand.
    clock
        Column of the periods left, and the horizon, where that is finite.
    covers
        (A,) periods from an order on an arc to the last demand it can serve: where fewer are left, it comes too late.
    """

    columns: list[list[int]]
    shared: list[int]
    traits: list[list[float]]
    neighbours: dict[str, list[tuple[int, int]]]
    gain: list[float]
    clock: tuple[int, int] | None
    covers: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a saved model."""
        return asdict(self)


def arc_structure(compiled: CompiledNetwork, fields: tuple[Field, ...], codec: Codec) -> ArcStructure:
    """The structure of a task: its network, the fields it shows, the scale of its actions."""
    place = {field.name: k for k, field in enumerate(fields)}
    top = compiled.topology
    streams_at: dict[int, list[str]] = {}
    for d, i in enumerate(top.demand_stock):
        streams_at.setdefault(int(i), []).append(compiled.demand_names[d])
    streams = [streams_at.get(int(i), []) for i in top.arc_destination]
    rows = [_own_columns(compiled, place, a, streams[a]) for a in range(compiled.n_arcs)]
    # In the order of the observation, which a single arc then reads as it is.
    names = sorted({name for row in rows for name in row}, key=lambda n: min(row[n] for row in rows if n in row))
    shared = [place[name] for name in _OF_ALL if name in place]
    shared += [k for name, k in place.items() if name.startswith(("availability[", "since[", "warning["))]
    if compiled.n_demands == 1:  # whatever an arc moves, it moves it for this stream
        shared += [k for name, k in place.items() if name.startswith(("expected[", "demand["))]
    rate, deviation = compiled.demand_rate[top.arc_destination], np.sqrt(compiled.demand_variance[top.arc_destination])
    reach = np.maximum(codec.high - codec.center, 1e-9)
    return ArcStructure(
        [[row.get(name, -1) for name in names] for row in rows],
        shared,
        _traits(compiled).tolist(),
        {kind: pairs for kind, pairs in _neighbours(compiled).items() if pairs},
        (np.maximum(np.maximum(rate, deviation), 1e-9) / reach).tolist(),
        (k, round(fields[k].high)) if (k := place.get("periods_left", -1)) >= 0 else None,
        Structure.of(compiled).covers.min(axis=1).tolist(),
    )


def _own_columns(compiled: CompiledNetwork, place: dict[str, int], a: int, streams: list[str]) -> dict[str, int]:
    """What arc ``a`` sees: kind of field -> column. Several streams at a stock point are numbered."""
    stock, arc = compiled.stock_names[compiled.topology.arc_destination[a]], compiled.arc_names[a]
    row = {kind: place[name] for kind in _OF_ARC if (name := f"{kind}[{arc}]") in place}
    for kind in _OF_DESTINATION:
        entities = [stock] if kind == "on_hand" else streams
        for n, entity in enumerate(entities):
            for name, k in place.items():
                if name == f"{kind}[{entity}]" or name.startswith(f"{kind}[{entity}:"):
                    row[f"{kind}:{n}:{name.removeprefix(f'{kind}[{entity}')}"] = k
    for kind in ("arriving", "life"):
        for name, k in place.items():
            if name.startswith(f"{kind}[{stock}:"):
                row[f"{kind}:{name.removeprefix(f'{kind}[{stock}')}"] = k
    return row


def _traits(compiled: CompiledNetwork) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(A, S) standardised: lead time, demand rate and its spread, terms of the arc, rank among parallel arcs."""
    top = compiled.topology
    rank = np.zeros(compiled.n_arcs)
    for i in range(compiled.n_stocks):
        group = top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]
        rank[group] = np.arange(len(group))
    rate = compiled.demand_rate[top.arc_destination]
    raw = np.stack(
        [
            np.log1p(compiled.lead_mean),
            compiled.lead_variance,
            np.log(np.maximum(rate, 1e-6)),
            np.sqrt(compiled.demand_variance[top.arc_destination]) / np.maximum(rate, 1e-6),
            top.stock_holding[top.arc_destination],
            (np.diff(top.in_ptr) > 0).astype(np.float64),
            np.isin(top.arc_destination, top.demand_stock).astype(np.float64),
            compiled.unit_value[top.arc_destination],
            rank,
        ],
        axis=1,
    )
    spread = raw.std(axis=0)
    return np.asarray((raw - raw.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0))


def _neighbours(compiled: CompiledNetwork) -> dict[str, list[tuple[int, int]]]:
    """Downstream: arcs that draw on what an arc brings. Upstream: arcs that bring what it draws on. And beside it."""
    top = compiled.topology
    destination = top.arc_destination.tolist()
    inputs = [top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]].tolist() for a in range(compiled.n_arcs)]
    into: dict[int, list[int]] = {}
    out_of: dict[int, list[int]] = {}
    for a in range(compiled.n_arcs):
        into.setdefault(destination[a], []).append(a)
        for i in inputs[a]:
            out_of.setdefault(i, []).append(a)
    arcs = range(compiled.n_arcs)
    return {
        "downstream": [(a, b) for a in arcs for b in out_of.get(destination[a], [])],
        "upstream": [(a, b) for a in arcs for i in inputs[a] for b in into.get(i, [])],
        "parallel": [(a, b) for a in arcs for b in into[destination[a]] if b != a],
        "same_source": [(a, b) for a in arcs for i in inputs[a] for b in out_of[i] if b != a],
    }
