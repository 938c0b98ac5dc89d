"""DifferentiableTwin: a compiled network whose periods, rollouts and simple policies are functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from twin.compile import CompiledNetwork, compile_network
from twin.differentiable.perishable import Perishables
from twin.differentiable.positions import BaseStock, Positions
from twin.differentiable.service import Charges, Service
from twin.differentiable.shipping import Shipping
from twin.differentiable.state import Layout, TensorDraws, TensorState
from twin.differentiable.tensors import Constants, Rounding
from twin.economics import COST_TERMS
from twin.errors import ActionError, NetworkError
from twin.network import Network
from twin.state import TwinState
from twin.tape import Draws, Tape
from twin.topology import ORDER_RECEIVE_DEMAND, RECEIVE_DEMAND_ORDER, RECEIVE_ORDER_DEMAND

__all__ = ["DifferentiableTwin", "Policy"]

#: What decides: orders (A, B) in units at a state.
Policy = Callable[[TensorState], Tensor]


class DifferentiableTwin:
    """A network whose periods are differentiable functions of its state, its orders and its demand.

    Gradients flow through every minimum (rationing, service) and through the shares of proportional rationing; at a
    tie both sides get half. They are exact wherever the cost is differentiable; a fixed cost has none.

    Parameters
    ----------
    network
        A network, or one already compiled.
    device, dtype
        Where the numbers live, and their precision (a floating-point type).
    rounding
        What becomes of whole units. ``"exact"``: the model as it is, with gradient 0 wherever it rounds.
        ``"straight_through"``: the same numbers, with the gradient as if nothing had been rounded (orders to feasible
        ones, shipments and demand to whole units). ``"none"``: neither whole units nor lots; smallest and largest
        orders stay.

    Raises
    ------
    NetworkError
        When the network has contracts, expediting, breaks, moving prices or records.

    Examples
    --------
    >>> import torch
    >>> from twin import library
    >>> from twin.engine import Twin
    >>> start = Twin(library.load("serial_chain"), replicas=4, seed=7).state
    >>> twin = DifferentiableTwin(start.compiled)
    >>> levels = torch.full((4,), 20.0, dtype=torch.float64, requires_grad=True)
    >>> _, costs = twin.rollout(twin.base_stock(levels), twin.from_twin_state(start), twin.draws(start, 10))
    >>> costs.sum().backward()
    >>> levels.grad.shape
    torch.Size([4])
    """

    def __init__(
        self,
        network: Network | CompiledNetwork,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float64,
        rounding: Rounding = "exact",
    ) -> None:
        if rounding not in get_args(Rounding):
            allowed = ", ".join(get_args(Rounding))
            raise ValueError(f"rounding must be one of {allowed}, received {rounding!r}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating-point type, received {dtype}")
        self.compiled = compile_network(network) if isinstance(network, Network) else network
        if self.compiled.has_deals:
            keys = ", ".join(self.compiled.deal_keys or ["records"])
            raise NetworkError(
                f"the differentiable twin has neither contracts nor expediting, breaks, moving prices or records "
                f"('{self.compiled.network.name}' has {keys}); twin.engine and twin.simulation have them"
            )
        self.device, self.dtype, self.rounding = torch.device(device), dtype, rounding
        top = self.compiled.topology
        constants = Constants(self.device, dtype)
        self._layout = layout = Layout(self.compiled)
        self._tape = Tape(self.compiled)
        self._perishables = Perishables(layout, constants)
        self._shipping = Shipping(layout, self._perishables, constants, rounding)
        self._service = Service(self.compiled, constants, rounding)
        self._charges = Charges(self.compiled, constants)
        self._position, self._base_stock = Positions(layout, constants), BaseStock(layout, constants)
        self._phase_order = top.phase_order
        self._destination = constants.index(top.arc_destination)
        self._one_each = constants.rows(top.arc_destination, len(top.stock_holding)) is None
        self._terminal_stock = constants.numbers(top.stock_terminal)
        self._terminal_arc = constants.numbers(top.stock_terminal[top.arc_destination])
        late = top.phase_order == RECEIVE_DEMAND_ORDER  # there a demand has been served since the last period ended
        self._terminal_demand = constants.numbers(top.stock_terminal[top.demand_stock]) if late else None
        self._fixed_lead = np.asarray(top.arc_fixed_lead)[:, None]

    # -- in and out ---------------------------------------------------------------------------------------------

    def from_twin_state(self, state: TwinState) -> TensorState:
        """A copy of a state as tensors.

        Raises
        ------
        ActionError
            When the state is of another network.
        """
        theirs, ours = state.compiled, self.compiled
        if theirs is not ours and theirs.content_hash() != ours.content_hash():
            raise ActionError(f"the state is of another network ('{theirs.network.name}') than '{ours.network.name}'")
        return self._layout.tensors(state, self.device, self.dtype)

    def to_twin_state(self, state: TensorState) -> TwinState:
        """A copy of a state as arrays (in the precision of the tensors); no gradient flows through it."""
        return self._layout.twin_state(state)

    def draws(self, state: TwinState | TensorState, periods: int) -> TensorDraws:
        """The tape's draws that ``periods`` steps from ``state`` need, see :meth:`twin.tape.Tape.block`."""
        start = self.to_twin_state(state) if isinstance(state, TensorState) else state
        return self.tensors(self._tape.block(start, periods))

    def tensors(self, draws: Draws) -> TensorDraws:
        """Draws as tensors on the device."""
        lead = np.where(self._fixed_lead >= 0, self._fixed_lead, draws.lead_time).astype(np.int64)
        return TensorDraws(
            torch.as_tensor(draws.demand).to(self.device, self.dtype),
            torch.as_tensor(lead if (self._fixed_lead < 0).any() else lead[:, :0]).to(self.device),
            torch.as_tensor(draws.availability).to(self.device, self.dtype),
            torch.as_tensor(draws.processes).to(self.device, self.dtype),
        )

    # -- one period ---------------------------------------------------------------------------------------------

    def step(
        self,
        state: TensorState,
        orders: Tensor,
        demand: Tensor,
        lead: Tensor,
        availability: Tensor,
        processes: Tensor | None = None,
    ) -> tuple[TensorState, Tensor]:
        """Place orders and advance one period; nothing is changed in place.

        Parameters
        ----------
        state
            At a decision epoch.
        orders
            (A, B) units.
        demand, lead, availability, processes
            (D, B), (A, B), (R, B), (rows, B): one period of :class:`TensorDraws`; ``processes`` may be left out where
            they follow from availability.

        Returns
        -------
        TensorState
            At the next decision epoch.
        Tensor, shape (terms, B)
            Cost of the period that ended in between, in the order of :data:`twin.economics.COST_TERMS`.
        """
        state = self._shipping(state, orders, lead)
        if self._phase_order == RECEIVE_ORDER_DEMAND:
            state = self._end_period(self._demand(state, demand))
            costs = self._charges(state)
            state = self._receive(state)
        elif self._phase_order == ORDER_RECEIVE_DEMAND:
            state = self._end_period(self._demand(self._receive(state), demand))
            costs = self._charges(state)
        else:
            state = self._end_period(state)
            costs = self._charges(state)
            state = self._demand(self._receive(state), demand)
        return self._layout.moved_on(state, availability, processes)._replace(elapsed=state.elapsed + 1), costs

    def rollout(
        self, policy: Policy, state: TensorState, draws: TensorDraws, *, recompute: int | None = None
    ) -> tuple[TensorState, Tensor]:
        """Run a policy over all periods of ``draws``.

        Parameters
        ----------
        policy
            From the state at a decision epoch to orders (A, B).
        recompute
            Length in periods of segments whose inner numbers are computed again on the way back instead of kept: with
            T periods and segments of about the square root of T, memory falls to about 2 / sqrt(T) for one more
            forward pass. None keeps everything.

        Returns
        -------
        TensorState
            After the last period.
        Tensor, shape (terms, B)
            Costs summed over the periods.
        """
        total = torch.zeros(len(COST_TERMS), state.replicas, device=self.device, dtype=self.dtype)
        if recompute is not None and recompute < 1:
            raise ActionError(f"recompute must be at least 1 period, received {recompute}")
        if recompute is None:
            return self._run(policy, state, total, draws)
        for first in range(0, draws.periods, recompute):
            part = draws.block(first, first + recompute)
            state, total = checkpoint(self._run, policy, state, total, part, use_reentrant=False)
        return state, total

    def _run(self, policy: Policy, state: TensorState, total: Tensor, draws: TensorDraws) -> tuple[TensorState, Tensor]:
        for period in zip(*(values.unbind() for values in draws), strict=True):
            state, costs = self.step(state, policy(state), *period)
            total = total + costs
        return state, total

    def terminal_value(self, state: TensorState) -> Tensor:
        """What is on hand and under way is worth when a finite horizon ends, see :mod:`twin.economics`. Shape (B,)."""
        value = self._terminal_stock @ state.on_hand + self._terminal_arc @ state.in_transit
        return value if self._terminal_demand is None else value + self._terminal_demand @ state.delivered

    # -- policies -----------------------------------------------------------------------------------------------

    def positions(self, state: TensorState) -> Tensor:
        """Inventory position of every arc, shape (A, B); see :func:`twin.kernel.positions`."""
        return self._position(state)

    def base_stock_orders(self, levels: Tensor, position: Tensor) -> Tensor:
        """Orders up to ``levels``, (A,) or (A, B), from positions; see :func:`twin.kernel.base_stock_orders`."""
        if levels.shape[0] != self.compiled.n_arcs:
            raise ActionError(
                f"levels must have one row per arc ({self.compiled.n_arcs}), received {tuple(levels.shape)}"
            )
        return self._base_stock(levels[:, None] if levels.dim() == 1 else levels, position)

    def base_stock(self, levels: Tensor) -> Policy:
        """The policy that orders up to ``levels``, (A,) or (A, B)."""
        return lambda state: self.base_stock_orders(levels, self.positions(state))

    # -- phases -------------------------------------------------------------------------------------------------

    def _receive(self, state: TensorState) -> TensorState:
        arrived, *later = state.pipeline
        layers, transit = state.layers, state.transit_layers
        if self._perishables.any:
            layers = self._perishables.receive(layers, arrived, transit[0] if transit else None)
            transit = (*transit[1:], torch.zeros_like(transit[0])) if transit else transit
        on_hand = state.on_hand
        return state._replace(
            on_hand=on_hand + arrived if self._one_each else on_hand.index_add(0, self._destination, arrived),
            pipeline=(*later, torch.zeros_like(arrived)),
            in_transit=(state.in_transit - arrived).relu(),
            layers=layers,
            transit_layers=transit,
        )

    def _demand(self, state: TensorState, demand: Tensor) -> TensorState:
        state = self._service(state, demand)
        if self._perishables.any:
            state = state._replace(layers=self._perishables.sell(state.layers, state.delivered))
        return state

    def _end_period(self, state: TensorState) -> TensorState:
        if not self._perishables.any:
            return state
        on_hand, layers, wasted = self._perishables.age(state.on_hand, state.layers, state.wasted)
        return state._replace(on_hand=on_hand, layers=layers, wasted=wasted)
