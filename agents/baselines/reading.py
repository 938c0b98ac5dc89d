"""What a classical rule may look at, and how it is read off a twin (:mod:`agents.baselines.observed`: an observation).

Arrays have one row per arc (A), stock point (I) or demand stream (D) and the replicas (B) last; all are in units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.echelon import expected_ahead
from envs.inventory_features import slots_ahead
from envs.readers import warned
from envs.sourcing import Supply
from twin.errors import ActionError

if TYPE_CHECKING:
    from twin.engine import Twin

__all__ = ["Reading", "TwinReading", "receipt"]

FloatArray = NDArray[np.float64]


class Reading(ABC):
    """The state of a network at a decision epoch, as a planner sees it.

    Attributes
    ----------
    replicas
        Their number B.
    """

    replicas: int

    @property
    def worlds(self) -> int:
        """How many replicas, from the first on, have worlds of their own; the others are copies, block by block."""
        return self.replicas

    @property
    @abstractmethod
    def position(self) -> FloatArray:
        """(A, B) inventory position that each arc's order is decided on, see :func:`twin.kernel.positions`."""

    @property
    @abstractmethod
    def on_hand(self) -> FloatArray:
        """(I, B) stock on hand."""

    @property
    @abstractmethod
    def in_transit(self) -> FloatArray:
        """(A, B) shipped on the arc and under way."""

    @property
    @abstractmethod
    def in_mail(self) -> FloatArray:
        """(A, B) ordered on the arc, and the order has not reached the source."""

    @property
    @abstractmethod
    def owed(self) -> FloatArray:
        """(A, B) ordered on the arc, and the source has not shipped it; 0 where an arc holds no backorders."""

    @property
    @abstractmethod
    def backlog(self) -> FloatArray:
        """(D, B) owed to customers; 0 where sales are lost."""

    @property
    @abstractmethod
    def demand(self) -> FloatArray:
        """(D, B) asked for in the latest period."""

    @property
    @abstractmethod
    def availability(self) -> FloatArray:
        """(R, B) share of each resource's capacity that works now; 1 where it always does."""

    @property
    @abstractmethod
    def since(self) -> FloatArray:
        """(R, B) periods since each resource's capacity last went from full to less or back."""

    @property
    @abstractmethod
    def warning(self) -> FloatArray:
        """(R, B) 1 where a failure of the resource is announced, rightly or wrongly; 0 where nothing ever warns."""

    @property
    @abstractmethod
    def price(self) -> FloatArray:
        """(K, B) price in force over the list price, of every offer whose price moves."""

    @property
    @abstractmethod
    def stage(self) -> FloatArray:
        """(C, B) where each contract stands, a position in :data:`twin.contracts.STAGES`."""

    @property
    @abstractmethod
    def clock(self) -> FloatArray:
        """(C, B) periods of qualification left, or periods since activation."""

    @property
    def supply(self) -> Supply:
        """What decisions among suppliers look at."""
        return Supply(self.position, self.availability, self.since, self.price, self.stage, self.clock)

    @property
    @abstractmethod
    def periods_left(self) -> FloatArray | None:
        """(B,) periods until the horizon ends; None where the problem continues."""

    @abstractmethod
    def arriving(self, ahead: int) -> FloatArray:
        """(I, B) what arrives at the ``ahead``-th receipt from now, 1 being the next one."""

    @abstractmethod
    def expected(self, window: int) -> FloatArray:
        """(D, window, B) demand expected in the period decided for and the following ones, also beyond a horizon."""


class TwinReading(Reading):
    """Exactly what a twin holds.

    Parameters
    ----------
    twin
        At a decision epoch; the reading is of this moment.
    periods_left
        (B,), or None where the problem continues.
    repeat
        Says that the replicas are so many copies of the same paths, in blocks one after another.
    """

    def __init__(self, twin: Twin, periods_left: FloatArray | None = None, repeat: int = 1) -> None:
        self.twin = twin
        self.replicas = twin.state.replicas
        self._periods_left = periods_left
        self._worlds = self.replicas // repeat

    @property
    def worlds(self) -> int:
        return self._worlds

    @cached_property
    def position(self) -> FloatArray:
        return self.twin.positions()

    @property
    def on_hand(self) -> FloatArray:
        return self._array("on_hand")

    @property
    def in_transit(self) -> FloatArray:
        return self._array("in_transit")

    @property
    def in_mail(self) -> FloatArray:
        ptr, mail = self.twin.compiled.topology.mail_ptr, self._array("mail")
        return np.stack([mail[ptr[a] : ptr[a + 1]].sum(axis=0) for a in range(len(ptr) - 1)])

    @property
    def owed(self) -> FloatArray:
        return self._array("backorders")

    @property
    def backlog(self) -> FloatArray:
        return self._array("backlog")

    @property
    def demand(self) -> FloatArray:
        return self._array("demand")

    @property
    def availability(self) -> FloatArray:
        return self._array("availability")

    @property
    def since(self) -> FloatArray:
        return self._array("since")

    @property
    def warning(self) -> FloatArray:
        return warned(self.twin)

    @property
    def price(self) -> FloatArray:
        return self._array("price")

    @property
    def stage(self) -> FloatArray:
        return self._array("stage")

    @property
    def clock(self) -> FloatArray:
        return self._array("clock")

    @property
    def periods_left(self) -> FloatArray | None:
        return self._periods_left

    def arriving(self, ahead: int) -> FloatArray:
        return self._arrivals[:, receipt(ahead) - 1] if ahead <= self._arrivals.shape[1] else self._nothing

    def expected(self, window: int) -> FloatArray:
        return expected_ahead(self.twin.compiled, self.twin.state.period.astype(np.int64), window)

    def _array(self, name: str) -> FloatArray:
        return np.asarray(getattr(self.twin.state.arrays, name))

    @cached_property
    def _arrivals(self) -> FloatArray:
        """(I, K, B), one receipt each; the band after the last holds nothing and keeps the others exact."""
        compiled = self.twin.compiled
        edges = np.arange(int(slots_ahead(compiled).max(initial=0)) + 1)
        return self.twin.arrivals(edges).reshape(compiled.n_stocks, len(edges), self.replicas)[:, :-1]

    @property
    def _nothing(self) -> FloatArray:
        return np.zeros((self.twin.compiled.n_stocks, self.replicas))


def receipt(ahead: int) -> int:
    """The number of a receipt, checked to be one."""
    if ahead < 1:
        raise ActionError(f"receipts are counted from 1, the next one; received {ahead}")
    return ahead
