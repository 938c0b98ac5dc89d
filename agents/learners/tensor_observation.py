"""The observation of an environment as a differentiable function of the state of the differentiable twin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.features import Observation
from envs.readers import Arrivals, Expected, Life, Mail, PeriodsLeft, Positions, Reader, Rows, Season, View
from twin.compile import CompiledNetwork
from twin.differentiable import DifferentiableTwin
from twin.differentiable.state import TensorState
from twin.tape import Tape

__all__ = ["TensorObservation"]


class TensorObservation:
    """Reads the fields of an observation off a :class:`twin.differentiable.state.TensorState`.

    The numbers are those of :meth:`envs.features.Observation.read` at the same state; gradients flow through all that
    the past decides (stock, pipelines, backlog) and not through what the calendar does.

    Parameters
    ----------
    observation
        The environment's.
    twin
        Whose states are read.
    """

    def __init__(self, observation: Observation, twin: DifferentiableTwin) -> None:
        self.twin = twin
        self.low = torch.as_tensor(observation.low).to(twin.device, twin.dtype)[:, None]
        self.high = torch.as_tensor(observation.high).to(twin.device, twin.dtype)[:, None]
        self._tape = Tape(twin.compiled)
        self._parts = [(block.reader, len(block.fields), self._plan(block.reader)) for block in observation.blocks]

    def __call__(self, state: TensorState, position: Tensor, periods_left: NDArray[np.float64]) -> Tensor:
        """Observe all replicas.

        Parameters
        ----------
        position
            Inventory position of every arc, (A, B).
        periods_left
            (B,) periods until the episode ends.

        Returns
        -------
        Tensor, shape (fields, B)
            Clipped to the bounds of the fields.
        """
        rows = [self._read(*part, state, position, periods_left) for part in self._parts]
        return torch.maximum(torch.minimum(torch.cat(rows), self.high), self.low)

    def _plan(self, reader: Reader) -> Any:
        """What reading takes that does not depend on the state."""
        compiled, device = self.twin.compiled, self.twin.device
        if isinstance(reader, Rows):
            return None if reader.rows is None else torch.as_tensor(reader.rows, device=device)
        if isinstance(reader, Arrivals):
            return _arrival_plan(reader, compiled, device)
        if isinstance(reader, Mail):
            arc_of = np.repeat(np.arange(compiled.n_arcs), np.diff(compiled.topology.mail_ptr))
            arcs = [int(arc_of[rows.start]) for rows in reader.slots]
            return torch.tensor(arcs, dtype=torch.int64, device=device)
        if isinstance(reader, Life):
            return _life_plan(reader, compiled, device)
        return None

    def _read(
        self,
        reader: Reader,
        size: int,
        plan: Any,
        state: TensorState,
        position: Tensor,
        periods_left: NDArray[np.float64],
    ) -> Tensor:
        if isinstance(reader, Rows):
            values: Tensor = getattr(state, reader.array_name)
            return values if plan is None else values[plan]
        if isinstance(reader, Positions):
            return position
        if isinstance(reader, Arrivals):
            out = torch.zeros(size, state.replicas, dtype=self.twin.dtype, device=self.twin.device)
            for slot, (to, arcs) in enumerate(plan):
                if len(to):
                    out = out.index_add(0, to, state.pipeline[slot][arcs])
            return out
        if isinstance(reader, Mail):
            return torch.stack(state.mail).sum(0)[plan]
        if isinstance(reader, Life):
            flat = state.layers.reshape(-1, state.replicas)
            to, layers = plan
            empty = torch.zeros(size, state.replicas, dtype=flat.dtype, device=flat.device)
            return empty.index_add(0, to, flat[layers])
        if isinstance(reader, Expected | Season | PeriodsLeft):
            return self._calendar(reader, size, state, periods_left)
        raise TypeError(f"no tensor version of the reader {type(reader).__name__}")

    def _calendar(self, reader: Reader, size: int, state: TensorState, periods_left: NDArray[np.float64]) -> Tensor:
        """What only the calendar decides; read once where all replicas are in one period."""
        period, left = state.period, periods_left
        if np.ptp(period) == 0 and np.ptp(left) == 0:
            period, left = period[:1], left[:1]
        out = np.empty((size, len(period)))
        seen = SimpleNamespace(state=SimpleNamespace(period=period), tape=self._tape, compiled=self.twin.compiled)
        reader.read(View(seen, np.empty((0, len(period))), left), out)  # type: ignore[arg-type]
        return torch.as_tensor(out).to(self.twin.device, self.twin.dtype).expand(size, state.replicas)


def _arrival_plan(reader: Arrivals, compiled: CompiledNetwork, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Per slot of the pipelines, which fields get what arrives there on which arcs."""
    top, bands = compiled.topology, len(reader.edges)
    field_of = {int(row): k for k, row in enumerate(reader.keep)}
    slots = np.diff(top.pipe_ptr)
    plan = []
    for slot in range(int(slots.max(initial=0))):
        band = int(np.searchsorted(reader.edges, slot, side="right")) - 1
        pairs = [
            (field_of[int(top.arc_destination[a]) * bands + band], a)
            for a in np.flatnonzero(slots > slot)
            if int(top.arc_destination[a]) * bands + band in field_of
        ]
        columns = [torch.tensor([pair[k] for pair in pairs], dtype=torch.int64, device=device) for k in (0, 1)]
        plan.append((columns[0], columns[1]))
    return plan


def _life_plan(reader: Life, compiled: CompiledNetwork, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which field gets which layer; layers are numbered as the tensors hold them, stock point by stock point."""
    pointer = compiled.topology.layer_ptr
    perishable = np.flatnonzero(compiled.topology.stock_life)
    most = int(np.diff(pointer).max(initial=0))
    place = {
        int(pointer[i] + n): p * most + n
        for p, i in enumerate(perishable)
        for n in range(int(pointer[i + 1] - pointer[i]))
    }
    pairs = [(k, place[int(layer)]) for k, members in enumerate(reader.rows) for layer in members]
    columns = [torch.tensor([pair[k] for pair in pairs], dtype=torch.int64, device=device) for k in (0, 1)]
    return columns[0], columns[1]
