"""All cargo of a liner network as an observation shows it, and back: the state that decisions and rules start from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.features import Observation
from twin.liner.routing import RoutingNetwork
from twin.liner.schedule import WEEK
from twin.state import TwinState, empty_state

__all__ = ["ALL_CARGO", "CargoReading"]

FloatArray = NDArray[np.float64]

#: Groups of fields that show everything there is to decide on.
ALL_CARGO = (
    "availability",
    "since",
    "waiting",
    "booked",
    "at_calls",
    "pipeline",
    "calendar",
    "periods_left",
)


class CargoReading:
    """From observed values to a state of the twin.

    Parameters
    ----------
    routing
        The liner network on the twin.
    observation
        What its values mean. What it does not show is as in a network where everything works and nothing is carried.

    Attributes
    ----------
    failing
        Resources of ports and canals, in the order of the fields.
    """

    def __init__(self, routing: RoutingNetwork, observation: Observation) -> None:
        self._routing = routing
        self._place = {block.group: rows for rows, block in observation.placed()}
        listed = [int(r) for r in (*routing.move_resource, *routing.canal_resource.values()) if r >= 0]
        self.failing = np.array(listed, dtype=np.int64)
        self._calls = np.flatnonzero(routing.stock_node >= 0)
        slots = np.diff(routing.compiled.topology.pipe_ptr)
        self._carrier = np.repeat(np.arange(routing.compiled.n_arcs), slots)

    def periods_left(self, values: FloatArray) -> FloatArray:
        """Decisions (B,) until the problem ends; none where it does not."""
        rows = self._place.get("periods_left")
        return np.zeros(len(values)) if rows is None else np.asarray(values[:, rows.start], dtype=np.float64)

    def state(self, values: NDArray[np.floating]) -> TwinState:
        """The state that values (B, n) show: no draws to come, no hidden state of an outage."""
        shown = np.asarray(values, dtype=np.float64).T
        routing, none = self._routing, np.zeros((0, shown.shape[1]))
        state = empty_state(routing.compiled, shown.shape[1])
        arrays = state.arrays

        def of(group: str) -> FloatArray:
            return shown[self._place[group]] if group in self._place else none

        arrays.availability[:] = 1.0
        if len(self.failing):
            arrays.availability[self.failing] = of("availability")
            arrays.since[self.failing] = of("since")
        arrays.on_hand[self._calls] = of("at_calls")
        arrays.pipeline[state.ring_order("pipeline")] = of("pipeline")
        np.add.at(arrays.in_transit, self._carrier, of("pipeline"))
        arrays.demand[:] = of("booked")
        arrays.backlog[:] = of("waiting")
        np.add.at(arrays.backlog, routing.stock_demand, arrays.on_hand)
        np.add.at(arrays.backlog, routing.arc_demand, arrays.in_transit)
        sine, cosine = of("calendar")
        state.period[:] = np.rint(np.arctan2(sine, cosine) * WEEK / (2.0 * np.pi)).astype(np.int64) % WEEK
        return state
