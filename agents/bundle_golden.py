"""Golden cases: decisions that travel with a policy, and that it must make again at every load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.bundle_policy import Chooser, Memory, NetChooser
from agents.runtime import Mlp
from twin.errors import BundleError

__all__ = ["ACTION_TOLERANCE", "ORDER_TOLERANCE", "Golden", "action_gap", "order_gap"]

FloatArray = NDArray[np.float64]

#: Largest difference of a continuous action that counts as equal: 1e-5 of the range from -1 to 1.
ACTION_TOLERANCE = 1e-5 * 2.0
#: Largest difference of an order that counts as equal, relative to the larger of the order and one unit.
ORDER_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Golden:
    """Decisions of a policy, N of them.

    Attributes
    ----------
    values
        (N, n) float64: what was observed, the positions unrounded.
    actions
        (N, ...) as the policy gave them.
    orders
        (N, A) units, before minimum, lots, maximum and limits.
    moves
        (N, S); None where a policy decides orders alone.
    masks
        (N, outputs) which actions were possible; None where the policy heeds none.
    memory
        What the policy remembered, arrays with the cases last; empty where it remembers nothing.
    """

    values: FloatArray
    actions: NDArray[Any]
    orders: FloatArray
    moves: NDArray[np.int64] | None = None
    masks: NDArray[np.bool_] | None = None
    memory: Memory = ()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any]) -> Golden:
        """The cases ``rows``."""
        moves, masks = (None if array is None else array[rows] for array in (self.moves, self.masks))
        memory = tuple(array[..., rows] for array in self.memory)
        return Golden(self.values[rows], self.actions[rows], self.orders[rows], moves, masks, memory)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As ``golden.npz`` holds them."""
        out = {"values": self.values, "actions": self.actions, "orders": self.orders}
        if self.moves is not None:
            out["moves"] = self.moves
        if self.masks is not None:
            out["masks"] = self.masks
        return out | {f"memory_{k}": array for k, array in enumerate(self.memory)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], chooser: Chooser, fields: int, arcs: int) -> Golden:
        """From the arrays of ``golden.npz``; BundleError where one is missing, extra, or of another shape."""
        expected = {"values", "actions", "orders"}
        expected |= {"masks"} if chooser.masked else set()
        memory = sorted(name for name in arrays if name.startswith("memory_"))
        cases = len(arrays["values"]) if "values" in arrays and arrays["values"].ndim == 2 else 0
        shapes = {"values": (cases, fields), "orders": (cases, arcs)}
        fits = (
            set(arrays) - {"moves", *memory} == expected
            and bool(memory) == chooser.remembers
            and memory == [f"memory_{k}" for k in range(len(memory))]
            and all(arrays[name].shape == shape for name, shape in shapes.items())
            and all(len(arrays[name]) == cases for name in arrays if name not in memory)
            and all(arrays[name].ndim > 0 and arrays[name].shape[-1] == cases for name in memory)
        )
        if not fits:
            raise BundleError(f"golden.npz must hold {', '.join(sorted(expected))} of the same cases")
        moves, masks = arrays.get("moves"), arrays.get("masks")
        values, actions, orders = (arrays[name] for name in ("values", "actions", "orders"))
        return cls(values, actions, orders, moves, masks, tuple(arrays[name] for name in memory))

    def expect(self, cases: int) -> Golden:
        """Itself, where it has so many cases; BundleError where it has others, or none."""
        if len(self) < 1 or len(self) != cases:
            raise BundleError(f"golden.npz holds {len(self)} cases, manifest.json says {cases}")
        return self

    def check(self, chooser: Chooser) -> None:
        """BundleError where a policy decides otherwise, or a decision comes to other orders or moves."""
        memory = self.memory or None
        try:
            chosen = chooser.choose(self.values, memory, self.masks)
        except FloatingPointError as error:
            raise BundleError(f"golden.npz: {error}") from None
        if chosen.action.shape != self.actions.shape:
            raise BundleError(f"golden.npz has actions of shape {self.actions.shape}, the policy {chosen.action.shape}")
        followed = chooser.follow(self.actions, self.values, memory)
        if (followed.moves is None) != (self.moves is None):
            raise BundleError("golden.npz: moves are there and should not be, or the other way round")
        gaps = {
            "action": action_gap(chooser, chosen.action, self.actions),
            "order": order_gap(followed.orders.T, self.orders) - ORDER_TOLERANCE,
        }
        if self.moves is not None and followed.moves is not None:
            gaps["move"] = np.abs(followed.moves.T - self.moves).astype(np.float64)
        for what, gap in gaps.items():
            # "not <=" rather than ">": a NaN must refuse too.
            if not bool((gap <= 0.0).all()):
                raise BundleError(f"golden.npz: an {what} differs from the exported one by more than the tolerance")


def action_gap(chooser: Chooser, first: NDArray[Any], second: NDArray[Any]) -> FloatArray:
    """By how much actions (N, ...) differ beyond what is allowed: nothing for discrete ones, else 1e-5 of the range."""
    if not isinstance(chooser, NetChooser):
        return order_gap(first, second) - ORDER_TOLERANCE
    net, gap = chooser.net, np.asarray(np.abs(np.asarray(first, dtype=np.float64) - second))
    if net.discrete:
        return gap
    span = net.high - net.low if isinstance(net, Mlp) else np.full(net.outputs, 2.0)
    return np.asarray(gap - ACTION_TOLERANCE / 2.0 * span)


def order_gap(first: FloatArray, second: FloatArray) -> FloatArray:
    """How far orders (N, A) are apart, relative to the larger of the second and one unit."""
    return np.asarray(np.abs(first - second) / np.maximum(1.0, np.abs(second)))
