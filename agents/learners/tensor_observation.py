"""The observation of an environment as a differentiable function of the state of the differentiable twin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.features import Observation
from envs.readers import Arrivals, Expected, Life, Mail, PeriodsLeft, Positions, Reader, Rows, Season, View, Warnings
from twin.compile import CompiledNetwork
from twin.differentiable import DifferentiableTwin
from twin.differentiable.state import TensorState
from twin.differentiable.tensors import Constants, Index, rows
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
        return torch.clamp(self.unclipped(state, position, periods_left), self.low, self.high)

    def unclipped(self, state: TensorState, position: Tensor, periods_left: NDArray[np.float64]) -> Tensor:
        """The same before it is clipped."""
        return torch.cat([self._read(*part, state, position, periods_left) for part in self._parts])

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
        if isinstance(reader, Warnings):
            return [torch.as_tensor(members, device=device) for members in reader.rows]
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
            slots, to = plan
            if not slots:
                return position[:0]
            found = [rows(state.pipeline[slot], arcs) for slot, arcs in slots]
            landing = found[0] if len(found) == 1 else torch.cat(found)
            return landing if to is None else landing.new_zeros(size, state.replicas).index_add(0, to, landing)
        if isinstance(reader, Mail):
            return torch.stack(state.mail).sum(0)[plan]
        if isinstance(reader, Warnings):
            return torch.stack([state.warning[members].amax(0) for members in plan])
        if isinstance(reader, Life):
            flat = state.layers.reshape(-1, state.replicas)
            to, layers = plan
            return flat.new_zeros(size, state.replicas).index_add(0, to, flat[layers])
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


def _arrival_plan(
    reader: Arrivals, compiled: CompiledNetwork, device: torch.device
) -> tuple[list[tuple[int, Index]], Tensor | None]:
    """Slots with the arcs that are read there, and the field of each; None where they come in order, one each."""
    top, bands, constants = compiled.topology, len(reader.edges), Constants(device, torch.float32)
    field_of = {int(row): k for k, row in enumerate(reader.keep)}
    lengths = np.diff(top.pipe_ptr)
    slots, to = [], list[int]()
    for slot in range(int(lengths.max(initial=0))):
        band = int(np.searchsorted(reader.edges, slot, side="right")) - 1
        row = {int(a): int(top.arc_destination[a]) * bands + band for a in np.flatnonzero(lengths > slot)}
        arcs = [a for a, r in row.items() if r in field_of]
        if arcs:
            slots.append((slot, constants.rows(arcs, compiled.n_arcs)))
            to += [field_of[row[a]] for a in arcs]
    return slots, None if to == list(range(len(reader.keep))) else constants.index(to)


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
