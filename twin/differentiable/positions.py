"""Inventory positions and base-stock orders of the differentiable twin, those of :mod:`twin.kernel`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from twin.differentiable.state import Layout, TensorState
from twin.differentiable.tensors import Constants, Index, least, product, rows
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["BaseStock", "Positions"]


class Positions:
    """Inventory position of every arc, see :func:`twin.kernel.positions`."""

    def __init__(self, layout: Layout, constants: Constants) -> None:
        top = layout.compiled.topology
        arcs = len(top.arc_destination)
        self._owes = bool(top.arc_owes.any())
        backlogs = np.flatnonzero(top.demand_backlogs)
        self._backlogs = constants.rows(backlogs, len(top.demand_stock))
        self._backlog_stock = constants.index(top.demand_stock[backlogs])
        drawn = [
            (i, int(top.draw_arc[k]), float(top.draw_coefficient[k]))
            for i in range(len(top.stock_holding))
            for k in range(top.draw_ptr[i], top.draw_ptr[i + 1])
            if top.arc_owes[top.draw_arc[k]]
        ]
        self._drawn_stock = constants.index(i for i, _, _ in drawn)
        self._drawn_arc = constants.rows((a for _, a, _ in drawn), arcs)
        self._drawn = constants.column_unless(1.0, [c for _, _, c in drawn])
        self._destination = constants.rows(top.arc_destination, len(top.stock_holding))
        # (arc, other): what the position of an arc counts of others into the same stock point, nearest first.
        extra = 1 if top.phase_order == ORDER_RECEIVE_DEMAND else 0
        whole, own = list[tuple[int, int]](), list[tuple[int, int]]()
        delay = np.diff(top.mail_ptr)
        mail: list[list[tuple[int, int]]] = [[] for _ in range(layout.delays)]
        slots: list[list[tuple[int, int]]] = [[] for _ in range(layout.slots)]
        for i in range(len(top.stock_holding)):
            group = [int(a) for a in top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]]
            window = 0
            for g, arc in enumerate(group):
                own += [(arc, nearer) for nearer in group[: g + 1]]
                window = max(window, int(top.arc_window[arc]) + extra)
                for h, other in enumerate(group):
                    # Mail of its own and of nearer arcs, and what will arrive within its window.
                    lands = int(top.arc_window[other] - delay[other]) + extra - 1
                    for k in range(int(delay[other])):
                        if h <= g or lands + k < window:
                            mail[k].append((arc, other))
                if g == len(group) - 1:
                    whole += [(arc, other) for other in group]
                else:
                    for k in range(min(window, layout.slots)):
                        slots[k] += [(arc, other) for other in group]
        self._own, self._whole = _Pairs.of(own, arcs, constants), _Pairs.of(whole, arcs, constants)
        self._mail = [_Pairs.of(pairs, arcs, constants) for pairs in mail]
        self._slots = [(k, _Pairs.of(pairs, arcs, constants)) for k, pairs in enumerate(slots) if pairs]

    def __call__(self, state: TensorState) -> Tensor:
        """Positions (A, B) in units."""
        base = state.on_hand
        if len(self._backlog_stock):
            base = base.index_add(0, self._backlog_stock, rows(state.backlog, self._backlogs), alpha=-1)
        if len(self._drawn_stock):
            base = base.index_add(
                0, self._drawn_stock, product(rows(state.backorders, self._drawn_arc), self._drawn), alpha=-1
            )
        position = rows(base, self._destination)
        for k, pairs in self._slots:
            position = pairs.add(position, state.pipeline[k])
        position = self._whole.add(position, state.in_transit)
        if self._owes:
            position = self._own.add(position, state.backorders)
        for pairs, slot in zip(self._mail, state.mail, strict=True):
            position = pairs.add(position, slot)
        return position


class _Pairs(NamedTuple):
    """Which rows are added to which; None where each is added to itself."""

    to: Tensor | None
    of_: Index

    @classmethod
    def of(cls, pairs: list[tuple[int, int]], size: int, constants: Constants) -> _Pairs:
        if sorted(pairs) == [(a, a) for a in range(size)]:
            return cls(None, None)
        return cls(constants.index(a for a, _ in pairs), constants.rows((b for _, b in pairs), size))

    def add(self, values: Tensor, amount: Tensor) -> Tensor:
        return values + amount if self.to is None else values.index_add(0, self.to, rows(amount, self.of_))


class _Decision(NamedTuple):
    """Arcs decided together: ``weights`` (arcs, earlier arcs) of the orders decided before, and the largest orders."""

    weights: Tensor | None
    limit: Tensor | None


class BaseStock:
    """Order up to a level on every arc, see :func:`twin.kernel.base_stock_orders`."""

    def __init__(self, layout: Layout, constants: Constants) -> None:
        top = layout.compiled.topology
        arcs = len(top.arc_destination)
        # weight[a, b]: what an order on arc b, decided before, adds to the gap of arc a; a's turn comes after b's.
        weight, turn = np.zeros((arcs, arcs)), np.zeros(arcs, dtype=np.int64)
        drawn = np.zeros((len(top.stock_holding), arcs))
        for i in top.sequence:
            nearer = np.zeros(arcs)
            for arc in top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]:
                weight[arc] = drawn[i] - nearer
                turn[arc] = (turn[weight[arc] != 0.0] + 1).max(initial=0)
                nearer[arc] = 1.0
                inputs = slice(top.in_ptr[arc], top.in_ptr[arc + 1])
                drawn[top.in_stock[inputs], arc] += top.in_coefficient[inputs]
        order = np.argsort(turn, kind="stable")
        self._order, self._back = constants.rows(order, arcs), constants.rows(np.argsort(order), arcs)
        self._sizes = [int(size) for size in np.bincount(turn)]
        self._decisions = []
        for k, size in enumerate(self._sizes):
            before = sum(self._sizes[:k])
            members = order[before : before + size]
            weights = constants.numbers(weight[members][:, order[:before]]) if before else None
            self._decisions.append(_Decision(weights, constants.column_unless(np.inf, top.arc_order_limit[members])))

    def __call__(self, levels: Tensor, position: Tensor) -> Tensor:
        """Orders (A, B) in units; ``levels`` (A, 1) or (A, B)."""
        gaps = torch.split_with_sizes(rows(levels - position, self._order), self._sizes)
        decided = position[:0]
        for gap, (weights, limit) in zip(gaps, self._decisions, strict=True):
            orders = (gap if weights is None else torch.addmm(gap, weights, decided)).relu()
            orders = orders if limit is None else least(orders, limit)
            decided = orders if weights is None else torch.cat([decided, orders])
        return rows(decided, self._back)
