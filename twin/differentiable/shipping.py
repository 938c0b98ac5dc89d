"""The order phase of the differentiable twin: feasible orders reach their sources, and what ships is on its way."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from twin.differentiable.perishable import Perishables
from twin.differentiable.rationing import Rationing
from twin.differentiable.state import Layout, TensorState
from twin.differentiable.tensors import Constants, Rounding, least, place, product, round_by, rows
from twin.topology import ORDER_RECEIVE_DEMAND, Topology

__all__ = ["Requests", "Shipping"]


class Requests:
    """Steps 1 to 4 of the order phase in docs/model.md: from what was asked to what each arc wants to ship."""

    def __init__(self, layout: Layout, constants: Constants, rounding: Rounding) -> None:
        top = layout.compiled.topology
        self._rounding, self._arcs = rounding, len(top.arc_destination)
        self._nothing = constants.nothing
        self._minimum = constants.column_unless(0.0, top.arc_minimum)
        self._in_lots = constants.mask(top.arc_lot > 0.0)
        self._lot = constants.column_unless(1.0, np.where(top.arc_lot > 0.0, top.arc_lot, 1.0))
        self._maximum = constants.column_unless(np.inf, top.arc_maximum)
        self._posted = constants.places(np.diff(top.mail_ptr), layout.delays + 1)
        refuses, waits = ~top.arc_waits & (np.diff(top.use_ptr) > 0), top.arc_waits & ~top.arc_backorders
        self._refuses, self._waits = constants.mask(refuses), constants.mask(waits)
        uses = _use_ranks(top) if refuses.any() or waits.any() else []
        self._uses = [(constants.index(a for a, _ in rank), constants.index(r for _, r in rank)) for rank in uses]
        self._owes, self._backorders = bool(top.arc_owes.any()), constants.mask(top.arc_backorders)

    def wanted(self, state: TensorState, orders: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """What each arc wants to ship (A, B), the mail afterwards, and which arcs are down (None: no matter)."""
        quantity, mail = self._post(self._feasible(orders), state.mail)
        down = self._down(state.availability)
        if down is not None and self._refuses is not False:
            quantity = quantity.masked_fill(down & self._refuses, 0.0)
        return quantity + state.backorders if self._owes else quantity, mail, down

    def owed(self, want: Tensor, shipped: Tensor, before: Tensor, down: Tensor | None) -> Tensor:
        """What the sources owe afterwards, shape (A, B)."""
        if not self._owes:
            return before
        unfilled = want - shipped
        if self._backorders is True:
            return unfilled
        stays = self._backorders if down is None else self._backorders | (down & self._waits)
        return unfilled * stays

    def _feasible(self, orders: Tensor) -> Tensor:
        quantity = torch.where(orders >= self._nothing, orders, 0.0)  # so are NaN and rounding dust nothing
        if self._minimum is not None:
            # A threshold, not a rounding to whole units: it stays where nothing is rounded.
            rounding: Rounding = "exact" if self._rounding == "none" else self._rounding
            quantity = round_by(partial(_at_least, self._minimum), quantity, rounding)
        if self._in_lots is not False:
            quantity = round_by(self._whole_lots, quantity, self._rounding)
        return quantity if self._maximum is None else least(quantity, self._maximum)

    def _whole_lots(self, quantity: Tensor) -> Tensor:
        if self._lot is None:
            whole = torch.floor(quantity + 0.5)
        else:
            whole = self._lot * torch.floor(quantity / self._lot + 0.5)
        return whole if isinstance(self._in_lots, bool) else torch.where(self._in_lots, whole, quantity)

    def _post(self, quantity: Tensor, mail: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What reaches the sources now, and the mail that is left."""
        if not mail:
            return quantity, mail
        now, *later = place((*mail, torch.zeros_like(quantity)), self._posted, quantity)
        return now, tuple(later)

    def _down(self, availability: Tensor) -> Tensor | None:
        """Which arcs use a resource that is down, shape (A, B)."""
        if not self._uses:
            return None
        closed = availability == 0.0
        down = closed.new_zeros(self._arcs, closed.shape[-1])
        for arcs, resources in self._uses:
            down = down.index_copy(0, arcs, down.index_select(0, arcs) | closed.index_select(0, resources))
        return down


class _AtOnce(NamedTuple):
    """Arcs of a level whose shipment may be on hand at once, and what of it enters the layers of perishable stock.

    ``carried`` are flat (transport, life) rows, ``carrier`` their arcs.
    """

    arcs: Tensor
    destination: Tensor
    fresh: Tensor
    fresh_layer: Tensor
    carried: Tensor
    carried_layer: Tensor
    carrier: Tensor


class Shipping:
    """The whole order phase: requests, rationing, and what ships is on its way or, with a lead time of 0, on hand."""

    def __init__(self, layout: Layout, perishables: Perishables, constants: Constants, rounding: Rounding) -> None:
        compiled, top = layout.compiled, layout.compiled.topology
        self._requests = Requests(layout, constants, rounding)
        self._rationing = Rationing(compiled, constants, rounding)
        self._perishables = perishables
        self._capacity = constants.column_unless(np.inf, top.arc_capacity)
        self._stocks, self._nothing = len(top.stock_holding), constants.nothing
        self._resource_capacity = constants.column(top.resource_capacity) if len(top.use_resource) else None
        self._calendar_ptr, self._calendar = top.calendar_ptr, constants.numbers(top.calendar_share)

        self._ahead = 0 if top.phase_order == ORDER_RECEIVE_DEMAND else -1
        fixed = top.arc_fixed_lead
        self._static = bool((fixed >= 0).all()) and not perishables.any_carrier
        self._fixed_lead = constants.index(fixed)[:, None] if (fixed >= 0).all() else None
        self._lands = constants.places(fixed + self._ahead, layout.slots)
        self._later = constants.column_unless(1.0, fixed + self._ahead >= 0)
        self._slots = torch.arange(layout.slots, device=constants.device)[:, None, None]
        self._in_order = constants.index(np.flatnonzero((fixed < 0) & ~top.arc_crossing))

        may_be_at_once = [self._ahead < 0 and bool(table[0] > 0.0) for table in compiled.lead_tables]
        self._levels = []
        for level in self._rationing.levels:
            arcs = [a for a in level.members if may_be_at_once[a]]
            carried, carried_layer = perishables.carried(arcs)
            at_once = _AtOnce(
                constants.index(arcs),
                constants.index(top.arc_destination[arcs]),
                *perishables.fresh(arcs),
                carried,
                carried_layer,
                perishables.arc_of(carried),
            )
            self._levels.append((level, perishables.issues(level.members), at_once))

    def __call__(self, state: TensorState, orders: Tensor, lead: Tensor) -> TensorState:
        """The state after the order phase.

        Parameters
        ----------
        orders
            (A, B) units.
        lead
            (A, B) periods; not read where every lead time is fixed.
        """
        want, mail, down = self._requests.wanted(state, orders)
        request = want if self._capacity is None else least(want, self._capacity)
        lands = None if self._static else self._landing(state, lead)
        at_once = None if lands is None else (lands < 0).to(request.dtype)

        left = self._left(state)
        asked = self._rationing.asked(request)
        shipped = self._rationing.free(request)
        layers, carried = state.layers, self._perishables.nothing_carried(request)
        for level, issues, arrivals in self._levels:
            shipped, left = self._rationing.ship(level, request, shipped, left, asked)
            shipped = shipped - (shipped * (shipped < self._nothing)).detach()  # dust is nothing
            for issue in issues:
                layers, carried = self._perishables.ship(issue, shipped, layers, carried)
            if len(arrivals.arcs):
                now = product(shipped, at_once)
                left = left.index_add(0, arrivals.destination, rows(now, arrivals.arcs))
                if len(arrivals.fresh):
                    layers = self._perishables.enter(layers, arrivals.fresh_layer, rows(now, arrivals.fresh))
                if at_once is not None and len(arrivals.carried):
                    amount = rows(carried, arrivals.carried) * rows(at_once, arrivals.carrier)
                    layers = self._perishables.enter(layers, arrivals.carried_layer, amount)
        state = state._replace(
            on_hand=left if self._resource_capacity is None else left[: self._stocks],
            backorders=self._requests.owed(want, shipped, state.backorders, down),
            shipped=shipped,
            mail=mail,
            layers=layers,
            wasted=torch.zeros_like(state.wasted),
        )
        return self._send(state, lands, at_once, carried)

    def _left(self, state: TensorState) -> Tensor:
        """What there is of every source, shape (I + R, B), or (I, B) where no arc uses a resource."""
        if self._resource_capacity is None:
            return state.on_hand
        # An unlimited resource that is down gives nothing.
        resources = torch.where(state.availability > 0.0, self._resource_capacity * state.availability, 0.0)
        for r in np.flatnonzero(np.diff(self._calendar_ptr)):
            first, last = self._calendar_ptr[r], self._calendar_ptr[r + 1]
            now = torch.as_tensor(first + state.period % (last - first), device=resources.device)
            resources = torch.cat([resources[:r], (resources[r] * self._calendar[now])[None], resources[r + 1 :]])
        return torch.cat([state.on_hand, resources])

    def _landing(self, state: TensorState, lead: Tensor) -> Tensor:
        """The slot in which each arc's shipment lands, -1 for on hand at once. Shape (A, B)."""
        if self._fixed_lead is not None:
            return (self._fixed_lead + self._ahead).expand_as(state.shipped)
        lands = lead + self._ahead
        if len(self._in_order):
            held = torch.stack([rows(slot.detach(), self._in_order) >= self._nothing for slot in state.pipeline])
            latest = (held * (self._slots + 1)).amax(0) - 1
            lands = lands.index_copy(0, self._in_order, torch.maximum(rows(lands, self._in_order), latest))
        return lands

    def _send(self, state: TensorState, lands: Tensor | None, at_once: Tensor | None, carried: Tensor) -> TensorState:
        """Put what shipped, and is not on hand at once, into its slots of the pipelines."""
        sent = state.shipped
        if lands is None or at_once is None:
            return state._replace(
                pipeline=place(state.pipeline, self._lands, sent),
                in_transit=state.in_transit + (sent if self._later is None else sent * self._later),
            )
        masks = (lands == self._slots).to(sent.dtype)
        if self._perishables.any_carrier:
            carriers = self._perishables.carriers
            arriving, wasted = self._perishables.travel(carried, rows(lands, carriers) - self._ahead, state.wasted)
            by_life = masks.index_select(1, carriers)[:, :, None]
            transit = place(state.transit_layers, by_life.unbind(), arriving)
            state = state._replace(transit_layers=transit, wasted=wasted)
            sent = sent.index_copy(0, carriers, arriving.sum(1))
        return state._replace(
            pipeline=place(state.pipeline, masks.unbind(), sent), in_transit=state.in_transit + (sent - sent * at_once)
        )


def _at_least(minimum: Tensor, quantity: Tensor) -> Tensor:
    """Orders below half the minimum become nothing, those below the minimum become the minimum."""
    return torch.where(quantity < 0.5 * minimum, 0.0, torch.maximum(quantity, minimum))


def _use_ranks(top: Topology) -> list[list[tuple[int, int]]]:
    """(arc, resource): the first resource that each arc uses, then the second, and so on."""
    ranks: list[list[tuple[int, int]]] = []
    for a in range(len(top.arc_destination)):
        for rank, resource in enumerate(top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]]):
            if rank == len(ranks):
                ranks.append([])
            ranks[rank].append((a, int(resource)))
    return ranks
