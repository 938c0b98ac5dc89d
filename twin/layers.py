"""Layers of perishable stock: which rows a stock point has, in which order they leave, and how they age.

A stock point of a product with a shelf life of m periods has one row per remaining life 1..m; where the units that came
first leave first it has one per (periods since receipt, life). Rows are kept in the order in which they leave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.network import Product

__all__ = ["Layers", "layer_tables"]

IntArray = NDArray[np.int64]


class Layers(NamedTuple):
    """Tables of all layers. The rows of stock point i are ``ptr[i]`` to ``ptr[i + 1] - 1``.

    ``life``: remaining life of a row. ``next``: the row that it becomes at the end of a period, -1 when it perishes.
    ``ageing``: rows of a stock point by rising life, so that each finds its next row empty. ``entry``: row of what
    arrives with life r, at ``entry_ptr[i] + r - 1``. ``stock_life``: shelf life, 0 where stock keeps. ``waste``: row of
    ``wasted``, -1 where stock keeps.
    """

    ptr: IntArray
    life: IntArray
    next: IntArray
    ageing: IntArray
    entry_ptr: IntArray
    entry: IntArray
    stock_life: IntArray
    waste: IntArray


def layer_tables(products: list[Product]) -> Layers:
    """Layers of stock points that hold ``products``, one after another."""
    ptr, entry_ptr = [0], [0]
    life: list[int] = []
    following: list[int] = []
    ageing: list[int] = []
    entry: list[int] = []
    perishable = [product.shelf_life is not None for product in products]
    for product in products:
        rows = _rows(product)
        first = ptr[-1]
        place = {row: first + k for k, row in enumerate(rows)}
        since = 1 if product.issue == "first_in" else 0
        life += [r for _, r in rows]
        following += [place.get((age + since, r - 1), -1) for age, r in rows]
        ageing += sorted(place.values(), key=lambda row: life[row])
        entry += [place[0, r] for r in range(1, (product.shelf_life or 0) + 1)]
        ptr.append(first + len(rows))
        entry_ptr.append(len(entry))
    return Layers(
        ptr=np.array(ptr, dtype=np.int64),
        life=np.array(life, dtype=np.int64),
        next=np.array(following, dtype=np.int64),
        ageing=np.array(ageing, dtype=np.int64),
        entry_ptr=np.array(entry_ptr, dtype=np.int64),
        entry=np.array(entry, dtype=np.int64),
        stock_life=np.array([product.shelf_life or 0 for product in products], dtype=np.int64),
        waste=np.where(perishable, np.cumsum(perishable) - 1, -1).astype(np.int64),
    )


def _rows(product: Product) -> list[tuple[int, int]]:
    """(periods since receipt, remaining life) of every layer, in the order in which they leave."""
    m = product.shelf_life or 0
    if product.issue == "first_in":
        pairs = [(age, r) for age in range(m) for r in range(1, m - age + 1)]
        return sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    lives = range(1, m + 1) if product.issue == "first_expired" else range(m, 0, -1)
    return [(0, r) for r in lives]
