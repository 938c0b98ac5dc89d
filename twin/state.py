"""The state of many replicas of a network: arrays whose last axis is the replica; fork, hash, JSON snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.compile import CompiledNetwork
from twin.errors import StaleStateError, did_you_mean

__all__ = ["StateArrays", "TwinState", "empty_state"]

FloatArray = NDArray[np.float64]


class StateArrays(NamedTuple):
    """Arrays the kernel reads and writes. B replicas are the last, contiguous axis.

    ``pipeline`` holds, per arc, a ring of slots: the slot that arrives in k receipts is
    ``pipe_ptr[a] + (head + k) % slots[a]``; a ring costs one slot a period to move where shifting would touch all.
    ``in_transit`` is the sum of an arc's pipeline, kept up to date for the same reason.
    ``demand``, ``served``, ``lost``, ``delivered`` are those of the latest demand phase, ``shipped`` of the latest
    order phase.
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


@dataclass
class TwinState:
    """State of B replicas at a decision epoch, and where each stands on its path of random numbers.

    Attributes
    ----------
    arrays
        See :class:`StateArrays`.
    seed, replica, episode, period
        Per replica, shape (B,): the draws of a period are a function of these four numbers alone.
    head
        Position of the pipeline rings (an implementation detail; hash and snapshot do not depend on it).
    """

    compiled: CompiledNetwork
    arrays: StateArrays
    seed: NDArray[np.uint64]
    replica: NDArray[np.uint32]
    episode: NDArray[np.uint32]
    period: NDArray[np.int64]
    head: int = 0

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return int(self.period.shape[0])

    def fork(self) -> TwinState:
        """An independent copy: running it leaves this one unchanged."""
        return TwinState(
            self.compiled,
            StateArrays(*(array.copy() for array in self.arrays)),
            self.seed.copy(),
            self.replica.copy(),
            self.episode.copy(),
            self.period.copy(),
            self.head,
        )

    def first(self, replicas: int) -> TwinState:
        """View of the first ``replicas`` replicas (no copy)."""
        if replicas == self.replicas:
            return self
        return TwinState(
            self.compiled,
            StateArrays(*(array[:, :replicas] for array in self.arrays)),
            self.seed[:replicas],
            self.replica[:replicas],
            self.episode[:replicas],
            self.period[:replicas],
            self.head,
        )

    def clocks(self, index: NDArray[np.int64]) -> TwinState:
        """Where replicas ``index`` stand on their paths; the arrays are left out."""
        nothing = StateArrays(*(array[:, :0] for array in self.arrays))
        return TwinState(
            self.compiled,
            nothing,
            self.seed[index],
            self.replica[index],
            self.episode[index],
            self.period[index],
            self.head,
        )

    def logical_pipeline(self) -> FloatArray:
        """Pipeline with each arc's slots in order of arrival. Shape (P, B)."""
        return np.asarray(self.arrays.pipeline[self.slot_order()])

    def slot_order(self) -> NDArray[np.int64]:
        """Physical row of every logical pipeline row (arc by arc, next arrival first). Shape (P,)."""
        ptr = self.compiled.topology.pipe_ptr
        slots = np.diff(ptr)
        first = np.repeat(ptr[:-1], slots)
        offset = np.arange(ptr[-1]) - first
        return np.asarray(first + (self.head + offset) % np.repeat(slots, slots))

    def assign(self, index: NDArray[np.int64], other: TwinState) -> None:
        """Replace replicas ``index`` by those of ``other`` (same network, one replica per index)."""
        for name, mine, theirs in zip(StateArrays._fields, self.arrays, other.arrays, strict=True):
            if name != "pipeline":
                mine[:, index] = theirs
        if len(self.arrays.pipeline):
            self.arrays.pipeline[np.ix_(self.slot_order(), index)] = other.logical_pipeline()
        self.seed[index] = other.seed
        self.replica[index] = other.replica
        self.episode[index] = other.episode
        self.period[index] = other.period

    def content_hash(self) -> str:
        """SHA-256 over all numbers of the state: equal states share it, whatever their history."""
        digest = hashlib.sha256(self.compiled.content_hash().encode())
        for name, array in zip(StateArrays._fields, self.arrays, strict=True):
            data = self.logical_pipeline() if name == "pipeline" else array
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(data + 0.0).tobytes())  # + 0.0 makes -0.0 equal 0.0
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
        for field, array in zip(StateArrays._fields, self.arrays, strict=True):
            if field in names:
                out[field] = {n: float(v) for n, v in zip(names[field], array[:, replica], strict=True)}
        logical, ptr = self.logical_pipeline()[:, replica], self.compiled.topology.pipe_ptr
        out["pipeline"] = {
            name: {str(k): float(v) for k, v in enumerate(logical[ptr[a] : ptr[a + 1]]) if v != 0.0}
            for a, name in enumerate(self.compiled.arc_names)
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
        arrays, ptr = state.arrays, compiled.topology.pipe_ptr
        for field, names in state._names().items():
            highest = 1.0 if field == "availability" else np.inf
            values = _section(snapshot, field, names)
            getattr(arrays, field)[:, 0] = [_amount(f"{field}.{name}", values[name], highest) for name in names]
        pipeline = _section(snapshot, "pipeline", compiled.arc_names)
        for a, name in enumerate(compiled.arc_names):
            slots = {str(k): k for k in range(int(ptr[a + 1] - ptr[a]))}
            for slot, amount in _mapping(f"pipeline.{name}", pipeline[name]).items():
                if slot not in slots:
                    raise StaleStateError(f"pipeline.{name}.{slot}: no such slot (allowed: 0 to {len(slots) - 1})")
                arrays.pipeline[ptr[a] + slots[slot], 0] = _amount(f"pipeline.{name}.{slot}", amount)
            under_way = arrays.pipeline[ptr[a] : ptr[a + 1], 0].sum()
            if abs(under_way - arrays.in_transit[a, 0]) > 1e-6 * max(1.0, under_way):
                raise StaleStateError(
                    f"in_transit.{name}: {arrays.in_transit[a, 0]:g} differs from the pipeline's sum {under_way:g}"
                )
        clock = _section(snapshot, "clock", ("seed", "replica", "episode", "period"))
        for name, target in (("seed", state.seed), ("replica", state.replica), ("episode", state.episode)):
            target[0] = _count(f"clock.{name}", clock[name], int(np.iinfo(target.dtype).max))
        state.period[0] = _count("clock.period", clock["period"], (1 << 32) - 1)
        return state

    def _names(self) -> dict[str, tuple[str, ...]]:
        arcs, demands = self.compiled.arc_names, self.compiled.demand_names
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
        }


def empty_state(compiled: CompiledNetwork, replicas: int) -> TwinState:
    """A state with nothing in stock or under way and every resource available, at period 0."""
    top = compiled.topology
    stocks, arcs, demands = len(top.stock_holding), len(top.arc_capacity), len(top.demand_stock)
    rows = {
        "on_hand": stocks,
        "pipeline": int(top.pipe_ptr[-1]),
        "in_transit": arcs,
        "backorders": arcs,
        "availability": len(top.resource_capacity),
        "shipped": arcs,
    }
    arrays = StateArrays(*(np.zeros((rows.get(name, demands), replicas)) for name in StateArrays._fields))
    arrays.availability[:] = 1.0
    return TwinState(
        compiled,
        arrays,
        np.zeros(replicas, dtype=np.uint64),
        np.arange(replicas, dtype=np.uint32),
        np.zeros(replicas, dtype=np.uint32),
        np.zeros(replicas, dtype=np.int64),
    )


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


def _count(place: str, value: Any, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise StaleStateError(f"{place}: must be a whole number from 0 to {highest} (received {value!r})")
    return value
