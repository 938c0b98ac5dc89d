"""The state of many replicas of a network: arrays whose last axis is the replica; fork, hash, JSON snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from twin.compile import CompiledNetwork
from twin.contracts import STAGES
from twin.errors import StaleStateError, did_you_mean

__all__ = ["EXOGENOUS", "StateArrays", "Store", "TwinState", "empty_state", "starting_state"]

FloatArray = NDArray[np.float64]

#: Arrays that turn with ``head``, and those with several rows per entity.
RINGS = ("pipeline", "mail", "transit_layers")
_NESTED = (*RINGS, "layers")

#: Arrays that move by themselves, whatever is decided: the rows of ``Draws.processes``, in this order and together.
EXOGENOUS = ("process_up", "process_elapsed", "process_remaining", "warning", "since", "price")


#: Largest value of the arrays that have one, and arrays that hold whole numbers.
_HIGHEST = {"stage": len(STAGES) - 1.0} | dict.fromkeys(
    ("availability", "goodwill", "process_up", "warning", "on_time"), 1.0
)
_COUNTED = ("process_up", "process_elapsed", "process_remaining", "warning", "since", "stage", "clock")

#: Sections of a snapshot that are not called like their array: there ``clock`` is the place on the path.
_SECTION = {"clock": "contract_clock"}


class StateArrays(NamedTuple):
    """Arrays the kernel reads and writes. B replicas are the last, contiguous axis.

    ``pipeline`` holds, per arc, a ring of slots: the slot that arrives in k receipts is
    ``pipe_ptr[a] + (head + k) % slots[a]``; a ring costs one slot a period to move where shifting would touch all.
    ``mail`` and ``transit_layers`` are rings in the same way. ``in_transit`` is the sum of an arc's pipeline, kept up
    to date for the same reason. ``demand``, ``served``, ``lost``, ``delivered`` are those of the latest demand phase,
    ``shipped`` of the latest order phase, ``wasted`` of the latest period. What a network does not have takes no rows.
    """

    on_hand: FloatArray  # (I, B) units, >= 0
    pipeline: FloatArray  # (P, B) units
    in_transit: FloatArray  # (A, B) units
    backorders: FloatArray  # (A, B) units requested, not yet shipped
    backlog: FloatArray  # (D, B) customer units owed
    availability: FloatArray  # (R, B) share of capacity that works, 0..1
    demand: FloatArray  # (D, B) units asked for
    served: FloatArray  # (D, B) units of that demand met at once from stock
    lost: FloatArray  # (D, B) units lost
    delivered: FloatArray  # (D, B) units handed over, old backlog included
    shipped: FloatArray  # (A, B) units
    mail: FloatArray  # (sum of order delays, B) units ordered that have not reached their source
    goodwill: FloatArray  # (streams with goodwill, B) multiplier of demand, 0..1
    layers: FloatArray  # (layers of perishable stock points, B) units, by remaining life
    transit_layers: FloatArray  # (slots x lives of perishable transports, B) units, by life on arrival
    wasted: FloatArray  # (perishable stock points, B) units that perished
    process_up: FloatArray  # (J, B) 1 while up, 0 while down, see twin.disruptions
    process_elapsed: FloatArray  # (J, B) periods since it last went up or down
    process_remaining: FloatArray  # (J, B) periods until an outage ends or, while up, an announced failure strikes
    warning: FloatArray  # (processes that warn, B) 1 where a failure is announced, rightly or wrongly
    since: FloatArray  # (resources of the file, B) periods since availability last changed between all and not all
    price: FloatArray  # (K, B) factor in force on a price that moves, > 0
    stage: FloatArray  # (C, B) where a contract stands: a position in twin.contracts.STAGES
    clock: FloatArray  # (C, B) periods of qualification to come, or periods that a contract has been active
    on_time: FloatArray  # (arcs whose record is kept, B) smoothed share of what was wanted that shipped on time, 0..1


class Store(NamedTuple):
    """All state arrays end to end: array k of :class:`StateArrays` is the rows ``marks[k]:marks[k + 1]``."""

    numbers: FloatArray  # (N, B)
    marks: NDArray[np.int64]


@dataclass
class TwinState:
    """State of B replicas at a decision epoch, and where each stands on its path of random numbers.

    Attributes
    ----------
    store
        Every number of the state, 8 (or 4) bytes each: what a replica takes in memory.
    arrays
        Named views of the store's rows, see :class:`StateArrays`.
    seed, replica, episode, period
        Per replica, shape (B,): the draws of a period are a function of these four numbers alone.
    head
        Position of the pipeline rings (an implementation detail; hash and snapshot do not depend on it).
    """

    compiled: CompiledNetwork
    store: Store
    seed: NDArray[np.uint64]
    replica: NDArray[np.uint32]
    episode: NDArray[np.uint32]
    period: NDArray[np.int64]
    head: int = 0

    @cached_property
    def arrays(self) -> StateArrays:
        numbers, marks = self.store
        return StateArrays(*(numbers[first:last] for first, last in pairwise(marks.tolist())))

    @cached_property
    def exogenous(self) -> FloatArray:
        """View of the rows of all ``EXOGENOUS`` arrays, which a period's ``Draws.processes`` replaces."""
        fields, marks = StateArrays._fields, self.store.marks
        first, last = marks[fields.index(EXOGENOUS[0])], marks[fields.index(EXOGENOUS[-1]) + 1]
        return self.store.numbers[first:last]

    def __getstate__(self) -> dict[str, Any]:
        # The views go: a copy makes its own, of its own store.
        return {name: value for name, value in self.__dict__.items() if name not in {"arrays", "exogenous"}}

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return int(self.period.shape[0])

    def fork(self) -> TwinState:
        """An independent copy: running it leaves this one unchanged."""
        clocks = (self.seed.copy(), self.replica.copy(), self.episode.copy(), self.period.copy())
        return TwinState(self.compiled, Store(self.store.numbers.copy(), self.store.marks), *clocks, self.head)

    def first(self, replicas: int) -> TwinState:
        """View of the first ``replicas`` replicas (no copy)."""
        return self if replicas == self.replicas else self._part(slice(replicas), slice(replicas))

    def clocks(self, index: NDArray[np.int64]) -> TwinState:
        """Where replicas ``index`` stand on their paths; the arrays are left out."""
        return self._part(slice(0), index)

    def _part(self, columns: slice, index: slice | NDArray[np.int64]) -> TwinState:
        store = Store(self.store.numbers[:, columns], self.store.marks)
        clocks = (self.seed[index], self.replica[index], self.episode[index], self.period[index])
        return TwinState(self.compiled, store, *clocks, self.head)

    def logical(self, name: str) -> FloatArray:
        """An array by name, the rings (``pipeline``, ``mail``, ``transit_layers``) with the next slot first."""
        array: FloatArray = getattr(self.arrays, name)
        return np.asarray(array[self.ring_order(name)]) if name in RINGS else array

    def ring_order(self, name: str) -> NDArray[np.int64]:
        """Physical row of every logical row of a ring (arc by arc, next slot first)."""
        top = self.compiled.topology
        ptr = {"pipeline": top.pipe_ptr, "mail": top.mail_ptr, "transit_layers": top.transit_ptr}[name]
        # Rows of one slot stay together: there is one, or one per life.
        width = np.maximum(top.arc_life, 1) if name == "transit_layers" else np.ones(len(ptr) - 1, dtype=np.int64)
        rows = np.diff(ptr)
        width, first, rows = np.repeat(width, rows), np.repeat(ptr[:-1], rows), np.repeat(rows, rows)
        offset = np.arange(ptr[-1]) - first
        return np.asarray(first + (self.head * width + offset) % rows)

    def assign(self, index: NDArray[np.int64], other: TwinState) -> None:
        """Replace replicas ``index`` by those of ``other`` (same network, one replica per index or one for all)."""
        # Neighbours, as the groups of a training run are, go as one block: a fifth of the time.
        together = len(index) > 0 and bool((np.diff(index) == 1).all())
        columns = slice(int(index[0]), int(index[-1]) + 1) if together else index
        for name, mine, theirs in zip(StateArrays._fields, self.arrays, other.arrays, strict=True):
            if name not in RINGS:
                mine[:, columns] = theirs
            elif len(mine):
                rows = self.ring_order(name)
                mine[rows if together else rows[:, None], columns] = other.logical(name)
        self.seed[index] = other.seed
        self.replica[index] = other.replica
        self.episode[index] = other.episode
        self.period[index] = other.period

    def content_hash(self) -> str:
        """SHA-256 over all numbers of the state: equal states share it, whatever their history."""
        digest = hashlib.sha256(self.compiled.content_hash().encode())
        for name in StateArrays._fields:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.logical(name) + 0.0).tobytes())  # + 0.0 makes -0.0 equal 0.0
        for marks in (self.seed, self.replica, self.episode, self.period):
            digest.update(np.ascontiguousarray(marks).tobytes())
        return digest.hexdigest()

    # -- one replica as JSON ------------------------------------------------------------------------------------

    def snapshot(self, replica: int = 0) -> dict[str, Any]:
        """One replica as plain data, every number under its name, in units; zeros of a pipeline are left out."""
        names = self._names()
        out: dict[str, Any] = {
            "network": self.compiled.network.name,
            "network_hash": self.compiled.content_hash(),
            "clock": {
                "seed": int(self.seed[replica]),
                "replica": int(self.replica[replica]),
                "episode": int(self.episode[replica]),
                "period": int(self.period[replica]),
            },
        }
        ptr = self.compiled.topology.pipe_ptr
        for field in StateArrays._fields:
            values = self.logical(field)[:, replica]
            if field == "in_transit" and values.dtype == np.float32:  # a running sum, in which rounding adds up
                values = np.add.reduceat(np.append(self.logical("pipeline")[:, replica], 0.0), ptr[:-1])
            if field in names:
                out[_SECTION.get(field, field)] = {n: float(v) for n, v in zip(names[field], values, strict=True)}
            else:
                out[field] = {
                    owner: {key: float(values[row]) for key, row in rows.items() if values[row] != 0.0}
                    for owner, rows in self._rows(field).items()
                }
        return out

    @classmethod
    def restore(cls, compiled: CompiledNetwork, snapshot: Mapping[str, Any]) -> TwinState:
        """Rebuild a state of one replica from :meth:`snapshot`.

        Raises
        ------
        StaleStateError
            When the snapshot belongs to another network, or a field is missing, unknown or not a number.
        """
        if snapshot.get("network_hash") != compiled.content_hash():
            raise StaleStateError(
                f"the snapshot belongs to network '{snapshot.get('network')}' with another content than "
                f"'{compiled.network.name}' (its hash differs)"
            )
        state = empty_state(compiled, 1)
        arrays = state.arrays
        for field, names in state._names().items():
            place = _SECTION.get(field, field)
            if not names and place not in snapshot:
                continue  # it is empty; a snapshot need not know that there is such a section
            values, amount = _section(snapshot, place, names), _whole if field in _COUNTED else _amount
            getattr(arrays, field)[:, 0] = [
                amount(f"{place}.{name}", values[name], _HIGHEST.get(field, np.inf)) for name in names
            ]
        for field in _NESTED:
            sections = state._rows(field)
            given = _section(snapshot, field, tuple(sections))
            for owner, rows in sections.items():
                for key, amount in _mapping(f"{field}.{owner}", given[owner]).items():
                    if key not in rows:
                        allowed = f"{next(iter(rows))} to {next(reversed(rows))}" if rows else "none"
                        raise StaleStateError(f"{field}.{owner}.{key}: no such slot (allowed: {allowed})")
                    getattr(arrays, field)[rows[key], 0] = _amount(f"{field}.{owner}.{key}", amount)
        state._check_sums()
        clock = _section(snapshot, "clock", ("seed", "replica", "episode", "period"))
        for name, target in (("seed", state.seed), ("replica", state.replica), ("episode", state.episode)):
            target[0] = _count(f"clock.{name}", clock[name], int(np.iinfo(target.dtype).max))
        state.period[0] = _count("clock.period", clock["period"], (1 << 32) - 1)
        return state

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Names of the rows of every array that has one row per entity."""
        top, arcs, demands = self.compiled.topology, self.compiled.arc_names, self.compiled.demand_names
        disruptions = self.compiled.disruptions
        processes = () if disruptions is None else disruptions.names
        return {
            "on_hand": self.compiled.stock_names,
            "in_transit": arcs,
            "backorders": arcs,
            "backlog": demands,
            "availability": self.compiled.resource_names,
            "demand": demands,
            "served": demands,
            "lost": demands,
            "delivered": demands,
            "shipped": arcs,
            "process_up": processes,
            "process_elapsed": processes,
            "process_remaining": processes,
            "warning": () if disruptions is None else disruptions.warning_names,
            "since": tuple(self.compiled.network.resources),
            "price": self.compiled.prices.names,
            "stage": self.compiled.relations.contracts,
            "clock": self.compiled.relations.contracts,
            "on_time": tuple(arcs[a] for a in self.compiled.relations.rules.record_arc),
            "goodwill": tuple(demands[d] for d in np.flatnonzero(top.demand_goodwill >= 0)),
            "wasted": tuple(self.compiled.stock_names[i] for i in np.flatnonzero(top.stock_waste >= 0)),
        }

    def _rows(self, field: str) -> dict[str, dict[str, int]]:
        """Logical rows of an array with several rows per entity: owner -> key -> row."""
        top, compiled = self.compiled.topology, self.compiled
        if field == "layers":
            return {
                compiled.stock_names[i]: {
                    f"{row - top.layer_ptr[i]}:life={top.layer_life[row]}": int(row)
                    for row in range(top.layer_ptr[i], top.layer_ptr[i + 1])
                }
                for i in np.flatnonzero(top.stock_life)
            }
        ptr = {"pipeline": top.pipe_ptr, "mail": top.mail_ptr, "transit_layers": top.transit_ptr}[field]
        out: dict[str, dict[str, int]] = {}
        for a, name in enumerate(compiled.arc_names):
            rows = range(int(ptr[a]), int(ptr[a + 1]))
            if field == "transit_layers":
                life = max(1, int(top.arc_life[a]))
                keys = [f"{k // life}:life={k % life + 1}" for k in range(len(rows))]
            else:
                keys = [str(k) for k in range(len(rows))]
            if rows or field == "pipeline":
                out[name] = dict(zip(keys, rows, strict=True))
        return out

    def _check_deals(self) -> None:
        """Prices are above 0, and the hidden resource of a contract agrees with its stage (the first replica's)."""
        arrays, relations = self.arrays, self.compiled.relations
        for k in np.flatnonzero(arrays.price[:, 0] <= 0.0):
            raise StaleStateError(f"price.{self.compiled.prices.names[k]}: must be above 0 (received 0)")
        for c, name in enumerate(relations.contracts):
            stage, ramp, r = STAGES[int(arrays.stage[c, 0])], relations.rules.ramp[c], relations.rules.resource[c]
            share = min(1.0, (arrays.clock[c, 0] + 1.0) / ramp) if ramp else 1.0
            works = share if stage == "active" else 0.0
            place = f"availability.{self.compiled.resource_names[r]}"
            _agree(place, arrays.availability[r, 0], f"that of '{name}' at stage '{stage}'", works)

    def _check_sums(self) -> None:
        """Numbers that are kept twice must agree, and what can never be owed must be 0 (the first replica's).

        Raises
        ------
        StaleStateError
            When units in transit differ from the pipeline, layers from the stock they make up, or something is owed
            where the network cancels or loses it.
        """
        top, arrays = self.compiled.topology, self.arrays
        self._check_deals()
        for k in np.flatnonzero(~top.arc_owes & (arrays.backorders[:, 0] > 0.0)):
            name, units = self.compiled.arc_names[k], arrays.backorders[k, 0]
            raise StaleStateError(f"backorders.{name}: {units:g} units, but this arc cancels what it cannot ship")
        for d in np.flatnonzero(~top.demand_backlogs & (arrays.backlog[:, 0] > 0.0)):
            name, units = self.compiled.demand_names[d], arrays.backlog[d, 0]
            raise StaleStateError(f"backlog.{name}: {units:g} units, but this stream loses what is not served")
        for a, name in enumerate(self.compiled.arc_names):
            under_way = arrays.pipeline[top.pipe_ptr[a] : top.pipe_ptr[a + 1], 0].sum()
            _agree(f"in_transit.{name}", arrays.in_transit[a, 0], "the pipeline's sum", under_way)
            if top.arc_life[a]:
                layers = arrays.transit_layers[top.transit_ptr[a] : top.transit_ptr[a + 1], 0].sum()
                _agree(f"in_transit.{name}", arrays.in_transit[a, 0], "the sum of its transit_layers", layers)
        for i in np.flatnonzero(top.stock_life):
            layers = arrays.layers[top.layer_ptr[i] : top.layer_ptr[i + 1], 0].sum()
            name = self.compiled.stock_names[i]
            _agree(f"on_hand.{name}", arrays.on_hand[i, 0], "the sum of its layers", layers)


def empty_state(compiled: CompiledNetwork, replicas: int, dtype: DTypeLike = np.float64) -> TwinState:
    """A state with nothing in stock or under way and every resource available, at period 0."""
    top = compiled.topology
    stocks, arcs, demands = len(top.stock_holding), len(top.arc_capacity), len(top.demand_stock)
    disruptions = compiled.disruptions
    processes = 0 if disruptions is None else len(disruptions.names)
    rows = {
        "on_hand": stocks,
        "pipeline": int(top.pipe_ptr[-1]),
        "in_transit": arcs,
        "backorders": arcs,
        "availability": len(top.resource_capacity),
        "shipped": arcs,
        "mail": int(top.mail_ptr[-1]),
        "goodwill": len(top.goodwill_rate),
        "layers": int(top.layer_ptr[-1]),
        "transit_layers": int(top.transit_ptr[-1]),
        "wasted": int((top.stock_waste >= 0).sum()),
        "process_up": processes,
        "process_elapsed": processes,
        "process_remaining": processes,
        "warning": 0 if disruptions is None else len(disruptions.warning_names),
        "since": len(compiled.network.resources),
        "price": len(compiled.prices.names),
        "stage": len(compiled.relations.contracts),
        "clock": len(compiled.relations.contracts),
        "on_time": len(compiled.relations.rules.record_arc),
    }
    marks = np.cumsum([0, *(rows.get(name, demands) for name in StateArrays._fields)]).astype(np.int64)
    state = TwinState(
        compiled,
        Store(np.zeros((int(marks[-1]), replicas), dtype), marks),
        np.zeros(replicas, dtype=np.uint64),
        np.arange(replicas, dtype=np.uint32),
        np.zeros(replicas, dtype=np.uint32),
        np.zeros(replicas, dtype=np.int64),
    )
    state.arrays.availability[:] = 1.0
    state.arrays.goodwill[:] = 1.0
    if disruptions is not None:
        state.arrays.process_up[:] = 1.0
        state.arrays.process_elapsed[:] = disruptions.processes.ramp[:, None]
    state.arrays.price[:] = 1.0
    state.arrays.on_time[:] = 1.0
    return state


def starting_state(compiled: CompiledNetwork, replicas: int, dtype: DTypeLike = np.float64) -> TwinState:
    """The state at the very start of period 0: initial stock, mail and pipelines filled by the initial flows.

    What is perishable has its full life.
    """
    top, state = compiled.topology, empty_state(compiled, replicas, dtype)
    arrays = state.arrays
    arrays.on_hand[:] = compiled.initial_on_hand[:, None]
    arrays.price[:] = compiled.prices.start[:, None]
    arrays.stage[:], arrays.clock[:] = compiled.relations.stage[:, None], compiled.relations.clock[:, None]
    arrays.availability[compiled.relations.rules.resource] = (compiled.relations.stage == STAGES.index("active"))[
        :, None
    ]
    for i in np.flatnonzero(top.stock_life):
        arrays.layers[top.entry_layer[top.entry_ptr[i + 1] - 1]] = compiled.initial_on_hand[i]
    for a in np.flatnonzero(compiled.initial_flow > 0.0):
        flow = compiled.initial_flow[a]
        under_way = int(np.floor(compiled.lead_mean[a] + 0.5))
        arrays.mail[top.mail_ptr[a] : top.mail_ptr[a + 1]] = flow
        arrays.pipeline[top.pipe_ptr[a] : top.pipe_ptr[a] + under_way] = flow
        arrays.in_transit[a] = flow * under_way
        if (life := int(top.arc_life[a])) > 0:
            first = int(top.transit_ptr[a])
            arrays.transit_layers[first + life - 1 : first + under_way * life : life] = flow
    return state


def _mapping(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise StaleStateError(f"{place}: must be a mapping (received {value!r})")
    return value


def _section(snapshot: Mapping[str, Any], field: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    """A section of a snapshot with exactly the given names."""
    if field not in snapshot:
        raise StaleStateError(f"{field}: this section is required and missing")
    section = _mapping(field, snapshot[field])
    for name in section:
        if name not in names:
            raise StaleStateError(f"{field}: unknown name '{name}'{did_you_mean(name, names)}")
    for name in names:
        if name not in section:
            raise StaleStateError(f"{field}.{name}: this value is required and missing")
    return section


def _amount(place: str, value: Any, highest: float = np.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= highest or value == np.inf:
        limit = "" if highest == np.inf else f" and at most {highest:g}"
        raise StaleStateError(f"{place}: must be a finite number, at least 0{limit} (received {value!r})")
    return float(value)


def _whole(place: str, value: Any, highest: float = np.inf) -> float:
    if _amount(place, value, highest) % 1.0:
        raise StaleStateError(f"{place}: must be a whole number (received {value!r})")
    return float(value)


def _agree(place: str, value: float, what: str, other: float) -> None:
    if abs(other - value) > 1e-6 * max(1.0, other):
        raise StaleStateError(f"{place}: {value:g} differs from {what} {other:g}")


def _count(place: str, value: Any, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise StaleStateError(f"{place}: must be a whole number from 0 to {highest} (received {value!r})")
    return value
