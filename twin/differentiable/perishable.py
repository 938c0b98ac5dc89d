"""Perishable stock of the differentiable twin: layers that leave, travel, arrive and age."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from twin.differentiable.state import Layout
from twin.differentiable.tensors import Constants, least, product, rows

__all__ = ["Issue", "Perishables"]


class Issue(NamedTuple):
    """Units that leave for several arcs, from each stock point for one of them at most.

    ``layer`` and ``life`` say which layers (flat rows) travel, and their flat (transport, life) rows.
    """

    arcs: Tensor
    coefficient: Tensor | None
    stock: Tensor
    layer: Tensor
    life: Tensor


class Perishables:
    """Layers (P, most layers, B) of P stock points and what moves them; V transports carry goods with their life."""

    def __init__(self, layout: Layout, constants: Constants) -> None:
        self._top, self._layout, self._constants = layout.compiled.topology, layout, constants
        top = self._top
        self._row = {int(i): p for p, i in enumerate(layout.perishable)}
        self._carrier = {int(a): v for v, a in enumerate(layout.carriers)}
        #: Whether anything perishes, and whether anything travels with its life.
        self.any, self.any_carrier = bool(self._row), bool(self._carrier)
        self._stocks = constants.index(layout.perishable)
        self.carriers = constants.index(layout.carriers)
        self._lives = torch.arange(1, layout.lives + 1, device=constants.device)[:, None]
        self._target = constants.index(self._row[int(top.arc_destination[a])] for a in layout.carriers)
        arcs = range(len(top.arc_destination))
        self._fresh, self._fresh_layer = self.fresh(arcs)
        self._carried, self._carried_layer = self.carried(arcs)
        sold = [d for d, i in enumerate(top.demand_stock) if int(i) in self._row]
        self._sold = constants.index(sold)
        self._sold_stock = constants.index(self._row[int(top.demand_stock[d])] for d in sold)
        # The row that becomes each row at the end of a period; one row past the last where nothing does.
        width = layout.layers
        before = [len(self._row) * width] * (len(self._row) * width)
        perishes = torch.zeros(len(self._row), width, 1, dtype=constants.dtype, device=constants.device)
        for i, p in self._row.items():
            first = int(top.layer_ptr[i])
            for n in range(int(top.layer_ptr[i + 1]) - first):
                to = int(top.layer_next[first + n])
                if to < 0:
                    perishes[p, n] = 1.0
                else:
                    before[p * width + to - first] = p * width + n
        self._before, self._perishes = constants.index(before), perishes

    # -- index tensors ------------------------------------------------------------------------------------------

    def _entry(self, arc: int, life: int) -> int:
        """Flat layer that what an arc brings with a remaining life enters."""
        i = int(self._top.arc_destination[arc])
        layer = int(self._top.entry_layer[self._top.entry_ptr[i] + life - 1])
        return self._row[i] * self._layout.layers + layer - int(self._top.layer_ptr[i])

    def fresh(self, arcs: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Those of ``arcs`` that bring fresh perishables, and the flat layers they enter."""
        top = self._top
        chosen = [int(a) for a in arcs if int(top.arc_destination[a]) in self._row and not top.arc_life[a]]
        layers = [self._entry(a, int(top.stock_life[top.arc_destination[a]])) for a in chosen]
        return self._constants.index(chosen), self._constants.index(layers)

    def carried(self, arcs: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Flat (transport, life) rows of those of ``arcs`` that carry perishables, and the flat layers they enter."""
        pairs = [
            (self._carrier[int(a)] * self._layout.lives + life - 1, self._entry(int(a), life))
            for a in arcs
            if int(a) in self._carrier
            for life in range(1, int(self._top.arc_life[a]) + 1)
        ]
        return self._constants.index(v for v, _ in pairs), self._constants.index(layer for _, layer in pairs)

    def arc_of(self, carried: Tensor) -> Tensor:
        """The arc of each flat (transport, life) row."""
        return self.carriers[carried // max(1, self._layout.lives)]

    def issues(self, arcs: Iterable[int]) -> tuple[Issue, ...]:
        """Draws of ``arcs`` on perishable stock in the order of shipping, in rounds of one draw per stock point."""
        top, rounds = self._top, dict[int, list[tuple[int, float, int]]]()
        drawn = dict.fromkeys(self._row, 0)
        for a in arcs:
            for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
                i = int(top.in_stock[j])
                if i in self._row:
                    rounds.setdefault(drawn[i], []).append((int(a), float(top.in_coefficient[j]), i))
                    drawn[i] += 1
        return tuple(self._issue(draws) for draws in rounds.values())

    def _issue(self, draws: list[tuple[int, float, int]]) -> Issue:
        top, constants, layout = self._top, self._constants, self._layout
        pairs = [
            (self._row[i] * layout.layers + n, self._carrier[a] * layout.lives + int(top.layer_life[row]) - 1)
            for a, _, i in draws
            if a in self._carrier
            for n, row in enumerate(range(top.layer_ptr[i], top.layer_ptr[i + 1]))
        ]
        return Issue(
            constants.index(a for a, _, _ in draws),
            constants.column_unless(1.0, [c for _, c, _ in draws]),
            constants.index(self._row[i] for _, _, i in draws),
            constants.index(layer for layer, _ in pairs),
            constants.index(life for _, life in pairs),
        )

    # -- what happens -------------------------------------------------------------------------------------------

    def nothing_carried(self, like: Tensor) -> Tensor:
        """No units on any transport, by flat (transport, life) row."""
        return like.new_zeros(len(self._carrier) * self._layout.lives, like.shape[-1])

    def ship(self, issue: Issue, shipped: Tensor, layers: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        """Take what ``shipped`` (A, B) draws; ``carried`` gains what travels, by flat (transport, life) row."""
        drawn = product(rows(shipped, issue.arcs), issue.coefficient)
        layers, taken = self._take(
            layers, layers.new_zeros(len(layers), layers.shape[-1]).index_add(0, issue.stock, drawn)
        )
        if len(issue.layer):
            carried = carried.index_add(0, issue.life, taken.flatten(0, 1).index_select(0, issue.layer))
        return layers, carried

    def sell(self, layers: Tensor, delivered: Tensor) -> Tensor:
        """Layers after the deliveries (D, B) to customers."""
        out = layers.new_zeros(len(layers), layers.shape[-1]).index_add(
            0, self._sold_stock, rows(delivered, self._sold)
        )
        return self._take(layers, out)[0]

    def _take(self, layers: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Take ``amount`` (P, B) in the order in which layers leave: what is left, and what was taken."""
        taken = []
        for layer in layers.unbind(1):
            taken.append(least(layer, amount))
            amount = amount - taken[-1]
        out = torch.stack(taken, 1)
        return layers - out, out

    def travel(self, carried: Tensor, periods: Tensor, wasted: Tensor) -> tuple[Tensor, Tensor]:
        """What arrives after ``periods`` (V, B) on the way, (V, lives, B) by life then; ``wasted`` with the rest."""
        width = self._layout.lives
        carried = carried.view(-1, width, carried.shape[-1])
        lives = self._lives + periods[:, None]
        padded = torch.cat([carried, torch.zeros_like(carried[:, :1])], 1)
        arriving = padded.gather(1, (lives - 1).clamp_max(width))
        perished = (carried * (self._lives <= periods[:, None])).sum(1)
        return arriving, wasted.index_add(0, self._target, perished)

    def enter(self, layers: Tensor, rows_: Tensor, amount: Tensor) -> Tensor:
        """Layers with ``amount`` added to flat rows."""
        return layers.flatten(0, 1).index_add(0, rows_, amount).view_as(layers)

    def receive(self, layers: Tensor, arrived: Tensor, carried: Tensor | None) -> Tensor:
        """Layers with what is due: (A, B) on the arcs, of which (V, lives, B) on transports."""
        layers = self.enter(layers, self._fresh_layer, rows(arrived, self._fresh))
        if carried is not None:
            layers = self.enter(layers, self._carried_layer, rows(carried.flatten(0, 1), self._carried))
        return layers

    def age(self, on_hand: Tensor, layers: Tensor, wasted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stock, layers and waste after the end of a period."""
        wasted = wasted + (layers * self._perishes).sum(1)
        flat = layers.flatten(0, 1)
        layers = torch.cat([flat, torch.zeros_like(flat[:1])]).index_select(0, self._before).view_as(layers)
        return on_hand.index_copy(0, self._stocks, layers.sum(1)), layers, wasted
