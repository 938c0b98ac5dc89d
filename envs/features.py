"""Named observation fields: name, unit, bounds, and which reader gets each off the twin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise, starmap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.readers import Reader, View

if TYPE_CHECKING:
    from twin.engine import Twin

__all__ = ["Block", "Field", "Observation", "fields_from_spec", "spec_hash"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """One number of an observation.

    Attributes
    ----------
    name
        ``quantity[entity]``, unique in an observation.
    unit
        Unit of the number (``1`` for a share).
    low, high
        Bounds; the number is clipped to them.
    description
        What it says, in one sentence.
    """

    name: str
    unit: str
    low: float
    high: float
    description: str


@dataclass(frozen=True, eq=False)
class Block:
    """Fields that one reader fills.

    Attributes
    ----------
    group
        What an observation is asked for by (:data:`envs.inventory_features.GROUPS`).
    fields
        In the order of the reader's rows.
    reader
        Where their numbers come from.
    """

    group: str
    fields: tuple[Field, ...]
    reader: Reader


class Observation:
    """Ordered fields and their readers.

    Attributes
    ----------
    blocks
        In the order of the observation vector.
    fields
        All fields of the blocks, in order.
    low, high
        Their bounds, float32, shape (len(fields),).
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self.fields: tuple[Field, ...] = tuple(field for block in blocks for field in block.fields)
        self.low = np.array([field.low for field in self.fields], dtype=np.float32)
        self.high = np.array([field.high for field in self.fields], dtype=np.float32)
        ends = accumulate((len(block.fields) for block in self.blocks), initial=0)
        self._placed = tuple(zip(starmap(slice, pairwise(ends)), self.blocks, strict=True))

    def placed(self) -> tuple[tuple[slice, Block], ...]:
        """Every block with its place in the observation vector."""
        return self._placed

    def read(
        self, twin: Twin, position: FloatArray, periods_left: FloatArray, belief: FloatArray | None = None
    ) -> NDArray[np.float32]:
        """Observe all replicas.

        Parameters
        ----------
        twin
            At a decision epoch.
        position
            Inventory position of every arc, shape (A, B).
        periods_left
            Periods until the episode ends, shape (B,).
        belief
            On the outages, shape (N, B), where one is kept.

        Returns
        -------
        ndarray of float32, shape (B, len(fields))
        """
        return twin.tabulate(self.exact(twin, position, periods_left, belief), self.low, self.high)

    def exact(
        self, twin: Twin, position: FloatArray, periods_left: FloatArray, belief: FloatArray | None = None
    ) -> FloatArray:
        """The same (len(fields), B) in float64, and not cut at the bounds."""
        out = np.empty((len(self.fields), twin.state.replicas))
        view = View(twin, position, periods_left, belief)
        for rows, block in self.placed():
            block.reader.read(view, out[rows])
        return out


def spec_hash(fields: Sequence[Field]) -> str:
    """SHA-256 of the ordered fields: a policy and a state that differ in it must not meet."""
    text = json.dumps([asdict(field) for field in fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fields_from_spec(entries: Sequence[dict[str, Any]]) -> tuple[Field, ...]:
    """Fields from their JSON form."""
    return tuple(Field(**entry) for entry in entries)
