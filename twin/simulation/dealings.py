"""Contracts, expedited shipments and prices of one replica: :mod:`twin.dealing` around the period of a world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin import dealing
from twin.contracts import MOVES, STAGES
from twin.simulation.log import Kind
from twin.simulation.shipping import Shipping
from twin.simulation.world import World
from twin.state import TwinState

__all__ = ["Dealings"]

FloatArray = NDArray[np.float64]

#: What the log says when a contract comes to a stage.
_REACHED: dict[str, Kind] = {
    "qualifying": "qualification_begins",
    "qualified": "qualified",
    "active": "activated",
}


class Dealings:
    """Begins and ends the periods of a world whose network has contracts, expediting, breaks or moving prices."""

    def __init__(self, world: World, shipping: Shipping) -> None:
        self._world, self._shipping = world, shipping
        self._relations, self._prices = world.compiled.relations, world.compiled.prices
        self._packed = world.compiled.topology.pack()
        self._state: TwinState = world.state()
        self._wanted, self._charges = np.empty((len(self._relations.rules.record_arc), 1)), np.empty((2, 1))

    def begin(self, orders: FloatArray, moves: NDArray[np.int64]) -> FloatArray:
        """Carry out the moves (S, 1); the orders (A, 1) that are left."""
        rules, left = self._relations.rules, orders.copy()
        self._state = state = self._world.state()
        stages = state.arrays.stage.copy()
        pulled = dealing.allowed_moves(state, self._relations)[:, MOVES.index("expedite"), 0]
        dealing.begin(self._packed, state.store, rules, state.head, moves, left, self._wanted, self._charges)
        for s in np.flatnonzero(pulled & (moves[:, 0] == MOVES.index("expedite"))):
            for n in range(rules.arc_ptr[s], rules.arc_ptr[s + 1]):
                if rules.arc_periods[n]:
                    self._shipping.expedite(self._world.arcs[rules.arc[n]], int(rules.arc_periods[n]))
        self._keep(state, stages)
        return left

    def end(self, costs: FloatArray) -> FloatArray:
        """Cost terms (13,) of the period that has ended, with those of contracts and prices."""
        state, ledger = self._state, self._world.ledger
        state.arrays.shipped[:, 0] = ledger.shipped
        lead, total = np.array(self._world.lead, dtype=np.int32)[:, None], costs[:, None].copy()
        stages = state.arrays.stage.copy()
        rules, prices = self._relations.rules, self._prices.rules
        dealing.end(self._packed, state.store, rules, prices, lead, self._wanted, self._charges, total)
        self._keep(state, stages)
        return total[:, 0]

    def _keep(self, state: TwinState, before: FloatArray) -> None:
        """What twin.dealing has changed, into the ledger; ``before`` are the stages that there were."""
        ledger, arrays = self._world.ledger, state.arrays
        for name in ("stage", "clock", "on_time"):
            setattr(ledger, name, getattr(arrays, name)[:, 0].tolist())
        for r in self._relations.rules.resource:
            ledger.availability[r] = float(arrays.availability[r, 0])
        for c, name in enumerate(self._relations.contracts):
            was, now = STAGES[int(before[c, 0])], STAGES[int(arrays.stage[c, 0])]
            if was != now:
                self._world.journal.resource("deactivated" if was == "active" else _REACHED[now], name, 0.0)
