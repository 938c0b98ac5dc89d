"""Sea distances between places, with any set of passages closed.

The sea lanes are those of the package ``searoute`` (the Eurostat maritime network, extra ``routing``), read once into
arrays. The package's own search is not used: it keeps the closed passages in a graph that all callers share, returns
0.0 where there is no route, and takes hundredths of a second a pair. Here closed passages are edges left out of a copy,
and distances from all places are found at once. Make tables before a simulation begins; nothing here belongs in a step.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, spatial
from scipy.sparse import csgraph

from twin.errors import DataError, did_you_mean

__all__ = [
    "FARTHEST_NM",
    "PASSAGES",
    "SeaRoutes",
    "closure_set",
    "closure_tables",
    "great_circle_nm",
    "listed_ports",
    "sea_routes",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Passages that can be closed, and what the package calls them.
PASSAGES = MappingProxyType(
    {
        "suez": "suez",
        "panama": "panama",
        "bab_el_mandeb": "babalmandab",
        "hormuz": "ormuz",
        "gibraltar": "gibraltar",
        "bosporus": "bosporus",
        "dardanelles": "dardanelles",
        "malacca": "malacca",
        "sunda": "sunda",
        "magellan": "chili",
        "good_hope": "south_africa",
        "bering": "bering",
    }
)
#: Ice closes it for most of the year; the package leaves it out by default as well.
_ALWAYS_CLOSED = "northwest"

#: A place farther than this from every sea lane is inland, or its longitude and latitude are exchanged.
FARTHEST_NM = 250.0

_EARTH_RADIUS_M = 6_371_008.8  # mean radius, the package's
_METRES_PER_NM = 1852.0
#: Places searched from at once: bounds the memory to 30 MB.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class SeaRoutes:
    """Shortest sea routes between P places with some passages closed.

    Attributes
    ----------
    closed
        Names of the closed passages, sorted.
    distance_nm
        (P, P) nautical miles, 0 on the diagonal, infinity where no route is open.
    through
        Passage -> (P, P), whether the route uses it.
    """

    closed: tuple[str, ...]
    distance_nm: FloatArray
    through: dict[str, BoolArray]


@dataclass(frozen=True, eq=False)
class _SeaLanes:
    """The package's network: E edges, each once, between V points."""

    position: FloatArray  # (V, 2) longitude, latitude
    tail: IntArray  # (E,)
    head: IntArray  # (E,)
    weight_km: FloatArray  # (E,) rounded to 0.1 km; the package searches with them
    length_nm: FloatArray  # (E,) what it then measures
    passage: IntArray  # (E,) index into PASSAGES, -1 open sea, -2 always closed
    nearest: Any


def sea_routes(positions: ArrayLike, closed: Collection[str] = ()) -> SeaRoutes:
    """Shortest routes between all pairs of places.

    A place stands at the nearest point of the sea lanes, as in the package, so that the last miles into port are not
    counted. Two places at one point are their great circle apart.

    Parameters
    ----------
    positions
        (P, 2) longitude and latitude in degrees.
    closed
        Names of closed passages, see :data:`PASSAGES`; the Northwest Passage is always closed.

    Raises
    ------
    DataError
        For an unknown passage, or a position that is no position or lies inland.
    ImportError
        When the package is missing, with what to install.

    Examples
    --------
    >>> places = [(121.84, 31.26), (4.07, 51.99)]  # Shanghai, Rotterdam
    >>> [round(sea_routes(places, closed).distance_nm[0, 1]) for closed in ((), ("suez",))]
    [10546, 13466]
    """
    where = _positions(positions)
    names = closure_set(closed)
    lanes = _sea_lanes()
    node = _stand(lanes, where)
    numbers = [list(PASSAGES).index(name) for name in names]
    kept = (lanes.passage != -2) & ~np.isin(lanes.passage, numbers)
    size, tail, head = len(lanes.position), lanes.tail[kept], lanes.head[kept]
    # A sparse matrix would add up edges given twice; the package has each once. A length of 0 is an edge as well.
    ends = np.concatenate([tail, head]), np.concatenate([head, tail])
    graph = sparse.csr_array((np.tile(lanes.weight_km[kept], 2), ends), shape=(size, size))
    edge = sparse.csr_array((np.tile(np.flatnonzero(kept) + 1, 2), ends), shape=(size, size))

    here = np.unique(node)
    place = np.searchsorted(here, node)
    distance = np.full((len(here), len(here)), np.inf)
    used = np.zeros((len(PASSAGES), len(here), len(here)), dtype=np.bool_)
    for first in range(0, len(here), _BLOCK):
        rows = slice(first, first + _BLOCK)
        found, before = csgraph.dijkstra(graph, directed=True, indices=here[rows], return_predecessors=True)
        distance[rows], used[:, rows] = _measured(lanes, edge, here, before, np.isfinite(found[:, here]))
    apart = distance[np.ix_(place, place)]
    same = place[:, None] == place[None, :]
    apart[same] = great_circle_nm(where[:, None], where[None, :])[same]
    used = used[:, place[:, None], place[None, :]] & ~same
    return SeaRoutes(names, apart, {name: used[k] for k, name in enumerate(PASSAGES)})


def closure_tables(positions: ArrayLike, closures: Iterable[Collection[str]]) -> dict[tuple[str, ...], SeaRoutes]:
    """Routes for every set of closed passages that a simulation may meet; keys are the sorted names.

    Parameters
    ----------
    positions
        (P, 2) longitude and latitude in degrees.
    closures
        Sets of passages that are closed together; nothing closed is always among the tables.

    Raises
    ------
    DataError, ImportError
        As :func:`sea_routes`.
    """
    wanted = {(): None} | dict.fromkeys(closure_set(names) for names in closures)
    return {names: sea_routes(positions, names) for names in wanted}


def closure_set(closed: Collection[str]) -> tuple[str, ...]:
    """Sorted names of closed passages, each once.

    Raises
    ------
    DataError
        For a name that is not in :data:`PASSAGES`, with the nearest that is.
    """
    if isinstance(closed, str):
        raise DataError(f"closed passages are a list of names, received the text '{closed}'")
    for name in closed:
        if name not in PASSAGES:
            known = did_you_mean(name, PASSAGES)
            raise DataError(f"no passage '{name}' can be closed (allowed: {', '.join(PASSAGES)}){known}")
    return tuple(sorted(set(closed)))


def great_circle_nm(one: ArrayLike, other: ArrayLike) -> FloatArray:
    """Great-circle distance in nautical miles by the haversine formula; (..., 2) degrees, broadcast."""
    (x, y), (u, v) = (np.moveaxis(np.radians(np.asarray(point, dtype=np.float64)), -1, 0) for point in (one, other))
    chord = np.sin((v - y) / 2.0) ** 2 + np.sin((u - x) / 2.0) ** 2 * np.cos(y) * np.cos(v)
    # Rounding may leave the chord of opposite points a hair above 1.
    angle = 2.0 * np.arctan2(np.sqrt(chord), np.sqrt(np.maximum(1.0 - chord, 0.0)))
    return np.asarray(angle * (_EARTH_RADIUS_M / _METRES_PER_NM))


@lru_cache(maxsize=1)
def listed_ports() -> Mapping[str, tuple[str, str, tuple[float, float]]]:
    """Ports that the package lists: UN/LOCODE -> name, country, (longitude, latitude).

    Raises
    ------
    ImportError
        When the package is missing, with what to install.
    """
    ports: dict[str, tuple[str, str, tuple[float, float]]] = {}
    terminals = set()
    for (x, y), facts in _data("ports_dict").node_list.items():
        code, terminal = facts.get("port"), facts.get("t") == 1.0
        # Where a code is listed twice, the entry with a container terminal counts.
        if code and (code not in ports or (terminal and code not in terminals)):
            ports[code] = (facts.get("name") or "", facts.get("cty") or "", (float(x), float(y)))
            terminals |= {code} if terminal else set()
    return MappingProxyType(ports)


def _positions(positions: ArrayLike) -> FloatArray:
    where = np.asarray(positions, dtype=np.float64)
    if where.ndim != 2 or where.shape[1] != 2 or not len(where):
        raise DataError(f"positions are pairs of longitude and latitude, (P, 2), received the shape {where.shape}")
    wrong = np.flatnonzero(~np.isfinite(where).all(axis=1) | (np.abs(where) > (180.0, 90.0)).any(axis=1))
    if len(wrong):
        x, y = where[wrong[0]]
        raise DataError(
            f"place {wrong[0]} is at longitude {x:g}, latitude {y:g}; allowed are -180 to 180 and -90 to 90 degrees"
        )
    return where


def _stand(lanes: _SeaLanes, where: FloatArray) -> IntArray:
    """The nearest point of the sea lanes, in degrees as the package measures it."""
    node = np.asarray(lanes.nearest.query(where)[1], dtype=np.int64)
    far = great_circle_nm(where, lanes.position[node])
    if far.max() > FARTHEST_NM:
        p = int(far.argmax())
        x, y = where[p]
        raise DataError(
            f"place {p} at longitude {x:g}, latitude {y:g} is {far[p]:,.0f} nm from the nearest sea lane "
            f"(at most {FARTHEST_NM:g}); are longitude and latitude exchanged?"
        )
    return node


def _measured(
    lanes: _SeaLanes, edge: Any, here: IntArray, before: NDArray[np.int32], reached: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """True length and passages of the routes that the search found, all walked back together.

    The search runs on rounded lengths, as the package's does; then it measures the line. (rows, P) and (passages, rows,
    P).
    """
    length = np.where(reached, 0.0, np.inf)
    used = np.zeros((len(PASSAGES), *reached.shape), dtype=np.bool_)
    row, column = np.nonzero(reached)
    at = here[column]
    while True:
        previous = before[row, at].astype(np.int64)
        going = previous >= 0
        if not going.any():
            return length, used
        row, column, at, previous = row[going], column[going], at[going], previous[going]
        step = np.asarray(edge[previous, at]).ravel().astype(np.int64) - 1
        length[row, column] += lanes.length_nm[step]
        passage = lanes.passage[step]
        named = passage >= 0
        used[passage[named], row[named], column[named]] = True
        at = previous


@lru_cache(maxsize=1)
def _sea_lanes() -> _SeaLanes:
    """The package's network as arrays of our own: nothing that a caller of the package changes later reaches them."""
    data = _data("marnet_dict")
    points = list(data.node_list)
    number = {point: k for k, point in enumerate(points)}
    codes = {code: k for k, code in enumerate(PASSAGES.values())} | {_ALWAYS_CLOSED: -2}
    edges = {
        (min(number[a], number[b]), max(number[a], number[b])): (edge["weight"], codes.get(edge.get("passage"), -1))
        for a, ends in data.edge_list.items()
        for b, edge in ends.items()
    }
    tail, head = np.array(list(edges), dtype=np.int64).T
    weight, passage = zip(*edges.values(), strict=True)
    position = np.array(points, dtype=np.float64)
    return _SeaLanes(
        position=position,
        tail=tail,
        head=head,
        weight_km=np.array(weight, dtype=np.float64),
        length_nm=great_circle_nm(position[tail], position[head]),
        passage=np.array(passage, dtype=np.int64),
        nearest=spatial.KDTree(position),
    )


def _data(module: str) -> Any:
    try:
        return importlib.import_module(f"searoute.data.{module}")
    except ModuleNotFoundError as error:
        raise ImportError("sea distances need the package searoute: pip install 'cogtwin[routing]'") from error
