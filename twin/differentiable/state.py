"""State and draws of the differentiable twin: immutable tuples of tensors, and their way from and to a TwinState."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twin.compile import CompiledNetwork
from twin.errors import ActionError
from twin.state import EXOGENOUS, RINGS, StateArrays, TwinState, empty_state

__all__ = ["Layout", "TensorDraws", "TensorState"]

IntArray = NDArray[np.int64]


class TensorState(NamedTuple):
    """State of B replicas at a decision epoch, in units. Sizes: I stock points, A arcs, D demands, R resources,
    G streams with goodwill, P perishable stock points, V transports of perishable products.

    The fields are those of :class:`twin.state.StateArrays`. What is under way is a tuple with one tensor per slot, the
    next first: a period drops the first tensor and touches those where something lands. Arcs and stock points with
    fewer slots, lives or layers than the most have zeros there.
    """

    on_hand: Tensor  # (I, B)
    pipeline: tuple[Tensor, ...]  # one (A, B) per slot
    in_transit: Tensor  # (A, B)
    backorders: Tensor  # (A, B)
    backlog: Tensor  # (D, B)
    availability: Tensor  # (R, B)
    demand: Tensor  # (D, B)
    served: Tensor  # (D, B)
    lost: Tensor  # (D, B)
    delivered: Tensor  # (D, B)
    shipped: Tensor  # (A, B)
    mail: tuple[Tensor, ...]  # one (A, B) per period of the longest order delay
    goodwill: Tensor  # (G, B)
    layers: Tensor  # (P, most layers, B), in the order in which they leave
    transit_layers: tuple[Tensor, ...]  # one (V, longest life, B) per slot, by life on arrival
    wasted: Tensor  # (P, B)
    process_up: Tensor  # (J, B)
    process_elapsed: Tensor  # (J, B)
    process_remaining: Tensor  # (J, B)
    warning: Tensor  # (processes that warn, B)
    since: Tensor  # (resources of the file, B)
    price: Tensor  # no rows, like the next three: a network that has them is refused
    stage: Tensor
    clock: Tensor
    on_time: Tensor
    clocks: TwinState  # where each replica stood on its path when the state was made (arrays left out)
    elapsed: int = 0  # periods since then

    @property
    def replicas(self) -> int:
        """Number of replicas B."""
        return self.on_hand.shape[-1]

    @property
    def period(self) -> NDArray[np.int64]:
        """Period that each replica is in, shape (B,)."""
        return self.clocks.period + self.elapsed

    def detach(self) -> TensorState:
        """The same numbers without their history: no gradient flows back beyond this state."""
        return TensorState(*(_detached(value) for value in self))


class TensorDraws(NamedTuple):
    """Draws of T periods as tensors, see :class:`twin.tape.Draws`."""

    demand: Tensor  # (T, D, B) units
    lead_time: Tensor  # (T, A, B) periods, fixed ones filled in; no rows where all are fixed
    availability: Tensor  # (T, R, B) share, of the period AFTER each
    processes: Tensor  # (T, rows, B) of twin.state.EXOGENOUS, of the period AFTER each

    @property
    def periods(self) -> int:
        """Number of periods T."""
        return self.demand.shape[0]

    def block(self, first: int, last: int) -> TensorDraws:
        """The draws of periods ``first`` up to but without ``last``."""
        return TensorDraws(*(values[first:last] for values in self))


class Layout:
    """Where the rows of a TwinState's arrays stand in the tensors of a TensorState.

    Attributes
    ----------
    slots, delays
        Lengths of the longest pipeline and of the longest mail.
    perishable, carriers
        Stock points whose stock perishes, and transports between them, ascending.
    layers, lives
        Most layers of a stock point, and the longest shelf life.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        top = compiled.topology
        self.compiled = compiled
        arcs = len(top.arc_destination)
        self.slots, self.delays = int(np.diff(top.pipe_ptr).max(initial=1)), int(np.diff(top.mail_ptr).max(initial=0))
        self.perishable, self.carriers = np.flatnonzero(top.stock_life), np.flatnonzero(top.arc_life)
        self.layers, self.lives = int(np.diff(top.layer_ptr).max(initial=0)), int(top.stock_life.max(initial=0))
        rows = dict(zip(StateArrays._fields, np.diff(empty_state(compiled, 1).store.marks).tolist(), strict=True))
        self._exogenous = [rows[name] for name in EXOGENOUS]
        # Per nested field, the shape before the replicas and the place there of every logical row.
        self._shapes = {
            "pipeline": (self.slots, arcs),
            "mail": (self.delays, arcs),
            "layers": (len(self.perishable), self.layers),
            "transit_layers": (self.slots if len(self.carriers) else 0, len(self.carriers), self.lives),
        }
        places = {
            "pipeline": [k * arcs + a for a in range(arcs) for k in range(top.pipe_ptr[a + 1] - top.pipe_ptr[a])],
            "mail": [k * arcs + a for a in range(arcs) for k in range(top.mail_ptr[a + 1] - top.mail_ptr[a])],
            "layers": [
                p * self.layers + n
                for p, i in enumerate(self.perishable)
                for n in range(top.layer_ptr[i + 1] - top.layer_ptr[i])
            ],
            "transit_layers": [
                (k * len(self.carriers) + v) * self.lives + life
                for v, a in enumerate(self.carriers)
                for k in range(top.pipe_ptr[a + 1] - top.pipe_ptr[a])
                for life in range(top.arc_life[a])
            ],
        }
        self._places = {name: np.array(rows, dtype=np.int64) for name, rows in places.items()}

    def tensors(self, state: TwinState, device: torch.device, dtype: torch.dtype) -> TensorState:
        """A copy of ``state`` as tensors."""
        values: dict[str, Tensor | tuple[Tensor, ...]] = {}
        for name in StateArrays._fields:
            array = state.logical(name)
            if name in self._shapes:
                shape = self._shapes[name]
                nested = np.zeros((int(np.prod(shape)), state.replicas))
                nested[self._places[name]] = array
                array = nested.reshape(*shape, state.replicas)
            tensor = torch.tensor(array, device=device, dtype=dtype)
            values[name] = tensor.unbind() if name in RINGS else tensor
        clocks = state.clocks(np.arange(state.replicas))
        return TensorState(**values, clocks=clocks)  # type: ignore[arg-type]

    def moved_on(self, state: TensorState, availability: Tensor, processes: Tensor | None) -> TensorState:
        """``state`` with what moves by itself as one period of :class:`TensorDraws` has it."""
        state, before = state._replace(availability=availability), state.availability
        rows = sum(self._exogenous)
        if processes is None and rows == len(state.since):  # all that they would say follows from availability
            return state._replace(since=torch.where((before == 1.0) == (availability == 1.0), state.since + 1.0, 0.0))
        there = 0 if processes is None else len(processes)
        if processes is None or there != rows:
            raise ActionError(f"processes: the draws have {there} rows, this network has {rows}")
        parts = torch.split(processes, self._exogenous)
        moved: dict[str, Any] = dict(zip(EXOGENOUS, parts, strict=True))
        return state._replace(**moved)

    def twin_state(self, state: TensorState) -> TwinState:
        """A copy of ``state`` as arrays of its precision; no gradient flows through it."""
        precision = state.on_hand.cpu().detach().numpy().dtype
        clocks = state.clocks
        out = empty_state(self.compiled, state.replicas, precision)
        out.seed[:], out.replica[:], out.episode[:] = clocks.seed, clocks.replica, clocks.episode
        out.period[:], out.head = state.period, clocks.head + state.elapsed
        for name, array in zip(StateArrays._fields, out.arrays, strict=True):
            value = getattr(state, name)
            if name not in self._shapes:
                array[:] = value.detach().cpu().numpy()
            elif len(array):
                tensor = torch.stack(value) if name in RINGS else value
                logical = tensor.detach().cpu().numpy().reshape(-1, state.replicas)[self._places[name]]
                array[out.ring_order(name) if name in RINGS else slice(None)] = logical
        return out


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple):
        return tuple(map(_detached, value))
    return value
