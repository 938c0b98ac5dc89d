"""How stock and resources are shared out among the arcs of a level, in as few tensor operations as the model allows.

Within a level of the order phase (no arc of a level fills what another one of it draws on) arcs are processed

- *alone*, all at once, when no other arc of the level draws on what they draw on;
- *shared*, all at once, when they draw on one proportional source only, and so do all others that draw on it: arc by
  arc the share "left / asked" stays what it is, so each gets the same. In whole units the amounts are found one after
  another, but outside the graph of gradients;
- *in turn* otherwise: arcs that compete by priority or for several things, one after another.

Sources are numbered: the stock points, then the resources. What is left of them is one tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from twin.compile import CompiledNetwork
from twin.differentiable.tensors import (
    Constants,
    Index,
    Rounding,
    least,
    product,
    round_by,
    rows,
    straight_through,
    with_rows,
)
from twin.topology import ORDER_RECEIVE_DEMAND, Topology

__all__ = ["Level", "Rationing"]


class _Draw(NamedTuple):
    """One thing that an arc draws on; ``rationed`` where it gives a share because others that ask for it come later."""

    arc: int
    source: int
    coefficient: float
    rationed: bool


class _Edges(NamedTuple):
    """Draws of a batch of arcs, one each at most; ``position``: rows of the batch that have one."""

    position: Index
    source: Tensor
    there: Index  # the same rows as ``source``
    coefficient: Tensor | None


class _Alone(NamedTuple):
    """Arcs without competitors; ``exact`` where rounding cannot take more than there is."""

    arcs: Index
    draws: tuple[_Edges, ...]
    exact: bool
    whole: Tensor | bool


class _InTurn(NamedTuple):
    """Competing arcs in the order of shipping, each with its draws, and all that they draw on."""

    arcs: Tensor
    order: tuple[tuple[bool, tuple[_Draw, ...]], ...]
    sources: Tensor
    names: tuple[int, ...]


class _Shared(NamedTuple):
    """Arcs that share ``sources`` in proportion; ``member``: which one each draws on (None: there is only one)."""

    arcs: Index
    coefficient: Tensor | None
    sources: Index
    member: Tensor | None
    source: Tensor  # of each arc
    whole: _InTurn | None


class Level(NamedTuple):
    """Arcs of one level in the order of shipping, and how they are processed; those in no part draw on nothing."""

    members: tuple[int, ...]
    alone: _Alone | None
    shared: tuple[_Shared, ...]
    in_turn: _InTurn | None


class Rationing:
    """Step 5 and 6 of the order phase in docs/model.md."""

    def __init__(self, compiled: CompiledNetwork, constants: Constants, rounding: Rounding) -> None:
        self._top, self._constants, self._rounding = compiled.topology, constants, rounding
        self._slack = constants.nothing  # 3 x (1/3) counts as 1 whole unit
        self._tiny = torch.finfo(constants.dtype).tiny ** 0.25  # instead of dividing by nothing
        #: Arcs whose shipments are rounded to whole units.
        self._rounds = self._top.arc_integer & (rounding != "none")
        self._draws = _draws(self._top)
        resources = len(self._top.resource_capacity) if len(self._top.use_resource) else 0
        self._sources = len(self._top.stock_holding) + resources
        self._whole = constants.mask(self._rounds)
        self._any_free = len({draw.arc for draw in self._draws}) < len(self._top.arc_destination)
        self.levels = tuple(self._level(members) for members in _members(compiled))
        # Arcs that ask for each source that is shared out, with their coefficients; and the sources shared out in turn.
        self._asking = {
            draw.source: [(other.arc, other.coefficient) for other in self._draws if other.source == draw.source]
            for draw in self._draws
            if draw.rationed
        }
        in_turn = {name for level in self.levels if level.in_turn is not None for name in level.in_turn.names}
        self._in_turn_names = tuple(sorted(in_turn & set(self._asking)))

    # -- which arcs go together ---------------------------------------------------------------------------------

    def _level(self, members: Sequence[int]) -> Level:
        draws = {a: [draw for draw in self._draws if draw.arc == a] for a in members}
        # A resource without a limit is all there or, when it is down, nothing is: nobody competes for it.
        crowd = Counter(draw.source for own in draws.values() for draw in own if self._limited(draw.source))
        others = Counter(draw.source for draw in self._draws)
        drawing = [a for a in members if draws[a]]
        alone = [a for a in drawing if all(crowd[d.source] <= 1 and not d.rationed for d in draws[a])]
        shared: dict[bool, list[int]] = {False: [], True: []}
        for source in crowd:
            sharing = [a for a in drawing if source in {draw.source for draw in draws[a]}]
            whole = {bool(self._rounds[a]) for a in sharing}
            single = all(len(draws[a]) == 1 for a in sharing)
            if crowd[source] == others[source] > 1 and single and len(whole) == 1 and not self._by_priority(source):
                shared[whole.pop()] += sharing
        rest = set(drawing) - set(alone) - {a for arcs in shared.values() for a in arcs}
        in_turn = [a for a in drawing if a in rest]
        return Level(
            tuple(members),
            self._alone(alone, draws) if alone else None,
            tuple(self._shared(arcs, draws, whole) for whole, arcs in shared.items() if arcs),
            self._in_turn(in_turn, draws) if in_turn else None,
        )

    def _limited(self, source: int) -> bool:
        stocks = len(self._top.stock_holding)
        return source < stocks or bool(np.isfinite(self._top.resource_capacity[source - stocks]))

    def _by_priority(self, source: int) -> bool:
        stocks = len(self._top.stock_holding)
        top = self._top
        return bool(top.stock_by_priority[source] if source < stocks else top.resource_by_priority[source - stocks])

    def _alone(self, arcs: list[int], draws: dict[int, list[_Draw]]) -> _Alone:
        constants, top = self._constants, self._top
        edges = []
        for rank in range(max(len(draws[a]) for a in arcs)):
            chosen = [(n, draws[a][rank]) for n, a in enumerate(arcs) if len(draws[a]) > rank]
            edges.append(
                _Edges(
                    constants.rows((n for n, _ in chosen), len(arcs)),
                    constants.index(draw.source for _, draw in chosen),
                    constants.rows((draw.source for _, draw in chosen), self._sources),
                    constants.column_unless(1.0, [draw.coefficient for _, draw in chosen]),
                )
            )
        return _Alone(
            constants.rows(arcs, len(top.arc_destination)),
            tuple(edges),
            exact=not self._rounds[arcs].any() and all(edge.coefficient is None for edge in edges),
            whole=constants.mask(self._rounds[arcs]),
        )

    def _shared(self, arcs: list[int], draws: dict[int, list[_Draw]], whole: bool) -> _Shared:
        constants = self._constants
        sources = sorted({draws[a][0].source for a in arcs})
        return _Shared(
            constants.rows(arcs, len(self._top.arc_destination)),
            constants.column_unless(1.0, [draws[a][0].coefficient for a in arcs]),
            constants.rows(sources, self._sources),
            constants.index(sources.index(draws[a][0].source) for a in arcs) if len(sources) > 1 else None,
            constants.index(draws[a][0].source for a in arcs),
            self._in_turn(arcs, draws) if whole else None,
        )

    def _in_turn(self, arcs: list[int], draws: dict[int, list[_Draw]]) -> _InTurn:
        names = tuple(sorted({draw.source for a in arcs for draw in draws[a]}))
        return _InTurn(
            self._constants.index(arcs),
            tuple((bool(self._rounds[a]), tuple(draws[a])) for a in arcs),
            self._constants.index(names),
            names,
        )

    # -- shipping -----------------------------------------------------------------------------------------------

    def asked(self, request: Tensor) -> dict[int, Tensor]:
        """What all arcs together ask for, (B,) for each source that is shared out in turn."""
        return self._sums(request, self._in_turn_names)

    def _sums(self, request: Tensor, sources: Sequence[int]) -> dict[int, Tensor]:
        requests = request.unbind() if sources else ()
        asked = {}
        for source in sources:
            asked[source] = request.new_zeros(request.shape[-1])
            for a, coefficient in self._asking[source]:
                asked[source] = asked[source].add(requests[a], alpha=coefficient)
        return asked

    def ship(
        self, level: Level, request: Tensor, shipped: Tensor, left: Tensor, asked: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Ship what a level's arcs request, as far as the sources allow.

        Parameters
        ----------
        request
            (A, B) units.
        shipped
            (A, B), whose rows of other levels stay.
        left
            (I + R, B) of the stock points and the resources.
        asked
            See :meth:`asked`; falls by what this level requested.

        Returns
        -------
        shipped, left
        """
        if level.alone is not None:
            amount, left = self._ship_alone(level.alone, request, left)
            shipped = with_rows(shipped, level.alone.arcs, amount)
        for shared in level.shared:
            amount, left = self._ship_shared(shared, request, left)
            shipped = with_rows(shipped, shared.arcs, amount)
        if level.in_turn is not None:
            amount, left = self._ship_in_turn(level.in_turn, request, left, asked)
            shipped = shipped.index_copy(0, level.in_turn.arcs, amount)
        return shipped, left

    def free(self, request: Tensor) -> Tensor:
        """Shipments (A, B) that are right for the arcs that draw on nothing."""
        return self._floor(request, self._whole) if self._any_free else request

    def _floor(self, amount: Tensor, mask: Tensor | bool) -> Tensor:
        if mask is False:
            return amount

        def rule(values: Tensor) -> Tensor:
            floored = torch.floor(values + self._slack)
            return floored if isinstance(mask, bool) else torch.where(mask, floored, values)

        return round_by(rule, amount, self._rounding)

    def _ship_alone(self, batch: _Alone, request: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        amount = rows(request, batch.arcs)
        for edges in batch.draws:
            limit = rows(left, edges.there)
            limit = limit if edges.coefficient is None else limit / edges.coefficient
            amount = with_rows(amount, edges.position, least(rows(amount, edges.position), limit))
        amount = self._floor(amount, batch.whole)
        for edges in batch.draws:
            taken = product(rows(amount, edges.position), edges.coefficient)
            left = left.index_add(0, edges.source, taken, alpha=-1)
        return amount, left if batch.exact else left.relu()

    def _ship_shared(self, batch: _Shared, request: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        wish = rows(request, batch.arcs)
        need = product(wish, batch.coefficient)
        there = rows(left, batch.sources)
        if batch.member is None:
            asked = need.sum(0, keepdim=True)
        else:
            asked = torch.zeros_like(there).index_add(0, batch.member, need)
        share = (there / (asked + self._tiny)).clamp_max(1.0)
        amount = wish * rows(share, batch.member)
        if batch.whole is None:
            return amount, with_rows(left, batch.sources, (there - asked).relu())
        with torch.no_grad():
            whole, _ = self._ship_in_turn(batch.whole, request, left, self._sums(request, batch.whole.names))
        amount = straight_through(amount, whole) if self._rounding == "straight_through" else whole + 0.0 * amount
        return amount, left.index_add(0, batch.source, product(amount, batch.coefficient), alpha=-1).relu()

    def _ship_in_turn(
        self, batch: _InTurn, request: Tensor, left: Tensor, asked: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor]:
        there = dict(zip(batch.names, left.index_select(0, batch.sources).unbind(), strict=True))
        shipped = []
        for wish, (whole, draws) in zip(request.index_select(0, batch.arcs).unbind(), batch.order, strict=True):
            amount = wish
            for draw in draws:
                have = there[draw.source]
                if draw.rationed:
                    limit = wish * (have / (asked[draw.source] + self._tiny)).clamp(0.0, 1.0)
                else:
                    limit = have if draw.coefficient == 1.0 else have / draw.coefficient
                amount = least(amount, limit)
            amount = self._floor(amount, whole)
            for draw in draws:
                there[draw.source] = there[draw.source].sub(amount, alpha=draw.coefficient).relu()
                if draw.source in asked:
                    asked[draw.source] = asked[draw.source].sub(wish, alpha=draw.coefficient)
            shipped.append(amount)
        return torch.stack(shipped), left.index_copy(0, batch.sources, torch.stack(list(there.values())))


def _members(compiled: CompiledNetwork) -> list[list[int]]:
    """Arcs by level, in the order of shipping: an arc ships after every arc that may fill what it draws on at once."""
    top = compiled.topology
    stock_level = np.zeros(len(top.stock_holding), dtype=np.int64)
    levels: dict[int, list[int]] = {}
    for a in top.ship_order:  # what may fill a stock point comes before what draws on it
        level = int(stock_level[top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]]].max(initial=0))
        levels.setdefault(level, []).append(int(a))
        if top.phase_order != ORDER_RECEIVE_DEMAND and compiled.lead_tables[a][0] > 0.0:
            target = top.arc_destination[a]
            stock_level[target] = max(stock_level[target], level + 1)
    return [levels[level] for level in sorted(levels)]


def _draws(top: Topology) -> list[_Draw]:
    """All draws on stock points and resources, arc by arc in file order."""
    stocks = len(top.stock_holding)
    place = {int(a): k for k, a in enumerate(top.ship_order)}
    found = []
    for a in range(len(top.arc_destination)):
        for j in range(top.in_ptr[a], top.in_ptr[a + 1]):
            i = int(top.in_stock[j])
            found.append((a, i, float(top.in_coefficient[j]), not top.stock_by_priority[i]))
        for j in range(top.use_ptr[a], top.use_ptr[a + 1]):
            r = int(top.use_resource[j])
            by_share = not top.resource_by_priority[r] and np.isfinite(top.resource_capacity[r])
            found.append((a, stocks + r, float(top.use_coefficient[j]), by_share))
    last = {s: max(place[a] for a, other, _, _ in found if other == s) for _, s, _, _ in found}
    return [_Draw(a, s, c, by_share and place[a] < last[s]) for a, s, c, by_share in found]
