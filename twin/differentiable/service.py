"""Demand and costs of the differentiable twin: customers are served from stock, and a period is charged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from twin.compile import CompiledNetwork
from twin.differentiable.state import TensorState
from twin.differentiable.tensors import Constants, Index, Rounding, least, round_by, rows, with_rows
from twin.economics import COST_TERMS

__all__ = ["Charges", "Service"]


class _Round(NamedTuple):
    """Streams at different stock points, served at the same time."""

    streams: Index
    stock: Index
    backlogs: Tensor | bool


class Service:
    """The demand phase: old backlog first, then new demand; streams at one stock point in file order."""

    def __init__(self, compiled: CompiledNetwork, constants: Constants, rounding: Rounding) -> None:
        top = compiled.topology
        self._rounding = rounding
        demands, stocks = len(top.demand_stock), len(top.stock_holding)
        rank = np.array([int((top.demand_stock[:d] == top.demand_stock[d]).sum()) for d in range(demands)])
        self._rounds = []
        for k in range(int(rank.max(initial=0)) + 1):
            streams = np.flatnonzero(rank == k)
            self._rounds.append(
                _Round(
                    constants.rows(streams, demands),
                    constants.rows(top.demand_stock[streams], stocks),
                    constants.mask(top.demand_backlogs[streams]),
                )
            )
        moved = np.flatnonzero(top.demand_goodwill >= 0)
        self._any_goodwill, self._moved = bool(len(moved)), constants.rows(moved, demands)
        self._rate, self._floor = constants.column(top.goodwill_rate), constants.column(top.goodwill_floor)
        self._whole = constants.mask(top.demand_integer[moved])

    def __call__(self, state: TensorState, drawn: Tensor) -> TensorState:
        """The state after the drawn demand (D, B) has been served."""
        asked = self._asked(state.goodwill, drawn) if self._any_goodwill else drawn
        on_hand, parts = state.on_hand, []
        for streams, stock, backlogs in self._rounds:
            on_hand, part = _serve(on_hand, stock, rows(asked, streams), rows(state.backlog, streams), backlogs)
            parts.append(part)
        if len(self._rounds) == 1:
            served, delivered, backlog, lost = parts[0]
        else:
            order = [torch.zeros_like(asked) for _ in parts[0]]
            for (streams, _, _), part in zip(self._rounds, parts, strict=True):
                order = [with_rows(whole, streams, piece) for whole, piece in zip(order, part, strict=True)]
            served, delivered, backlog, lost = order
        state = state._replace(
            on_hand=on_hand, demand=asked, served=served, delivered=delivered, backlog=backlog, lost=lost
        )
        return self._remember(state) if self._any_goodwill else state

    def _asked(self, goodwill: Tensor, drawn: Tensor) -> Tensor:
        asked = goodwill * rows(drawn, self._moved)
        if self._whole is not False:
            asked = round_by(self._whole_units, asked, self._rounding)
        return with_rows(drawn, self._moved, asked)

    def _whole_units(self, asked: Tensor) -> Tensor:
        whole = torch.floor(asked + 0.5)
        return whole if self._whole is True else torch.where(self._whole, whole, asked)  # type: ignore[arg-type]

    def _remember(self, state: TensorState) -> TensorState:
        """Goodwill moves towards the share that was served at once."""
        asked, served = rows(state.demand, self._moved), rows(state.served, self._moved)
        nothing = asked <= 0.0
        share = torch.where(nothing, 1.0, served / asked.masked_fill(nothing, 1.0))
        aim = self._floor + (1.0 - self._floor) * share
        return state._replace(goodwill=state.goodwill + self._rate * (aim - state.goodwill))


def _serve(
    on_hand: Tensor, stock: Index, asked: Tensor, owed: Tensor, backlogs: Tensor | bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Stock after serving streams (n, B), and what was served, delivered, is owed and is lost."""
    there = rows(on_hand, stock)
    if backlogs is False:
        served = least(there, asked)
        there = there - served
        delivered, backlog, lost = served, owed, asked - served
    else:
        old = least(there, owed)
        there = there - old
        served = least(there, asked)
        there = there - served
        short = asked - served
        delivered, backlog, lost = old + served, owed - old + short, torch.zeros_like(short)
        if backlogs is not True:
            backlog, lost = torch.where(backlogs, backlog, owed), short.masked_fill(backlogs, 0.0)
    return with_rows(on_hand, stock, there), (served, delivered, backlog, lost)


class Charges:
    """The cost terms of a period, see :mod:`twin.economics`."""

    def __init__(self, compiled: CompiledNetwork, constants: Constants) -> None:
        top = compiled.topology
        resource = np.zeros(len(top.arc_destination))
        np.add.at(
            resource,
            np.repeat(np.arange(len(resource)), np.diff(top.use_ptr)),
            top.resource_cost[top.use_resource] * top.use_coefficient,
        )
        per_unit = {
            "holding": [("on_hand", top.stock_holding)],
            "transit_holding": [("in_transit", top.arc_transit_holding)],
            "backlog": [
                ("backlog", np.where(top.demand_backlogs, top.demand_penalty, 0.0)),
                ("backorders", np.where(top.arc_owes, top.arc_backorder_cost, 0.0)),
            ],
            "lost_sales": [("lost", np.where(top.demand_backlogs, 0.0, top.demand_penalty))],
            "purchase": [("shipped", top.arc_unit_cost)],
            "freight": [("shipped", top.arc_freight)],
            "fixed_order": [],
            "resource": [("shipped", resource)],
            "emissions": [("shipped", top.arc_emission_cost)],
            "revenue": [("delivered", -top.demand_price)],
            "waste": [("wasted", top.stock_waste_cost[top.stock_waste >= 0])],
            "contract": [],
            "expediting": [],
        }
        self._terms = [
            (term.name, [(field, constants.numbers(rate)) for field, rate in per_unit[term.name] if rate.any()])
            for term in COST_TERMS
        ]
        self._fixed = constants.numbers(top.arc_fixed) if top.arc_fixed.any() else None
        overhead, down = top.resource_overhead, top.resource_overhead_down
        costs = bool(overhead.any() or down.any())
        self._overhead = (constants.numbers(overhead), constants.numbers(down)) if costs else None

    def __call__(self, state: TensorState) -> Tensor:
        """Costs (terms, B) of the period that ends in ``state``."""
        nothing = state.on_hand.new_zeros(state.replicas)
        costs = []
        for name, parts in self._terms:
            cost = nothing
            for field, rate in parts:
                part = rate @ getattr(state, field)
                cost = part if cost is nothing else cost + part
            if name == "fixed_order" and self._fixed is not None:
                cost = self._fixed @ (state.shipped > 0.0).to(nothing.dtype)
            if name == "resource" and self._overhead is not None:
                usual, when_down = self._overhead
                down = (state.availability == 0.0).to(nothing.dtype)
                cost = cost + usual @ (1.0 - down) + when_down @ down
            costs.append(cost)
        return torch.stack(costs)
