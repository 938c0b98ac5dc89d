"""Building blocks of the differentiable twin: constants as tensors, and operations with a gradient of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Constants",
    "Index",
    "Rounding",
    "least",
    "place",
    "product",
    "round_by",
    "rows",
    "straight_through",
    "with_rows",
]

#: What becomes of the gradient where the model rounds: see :class:`twin.differentiable.DifferentiableTwin`.
Rounding = Literal["exact", "straight_through", "none"]


#: Some rows: their numbers, a run of them, or None for all in order; for :func:`rows` and :func:`with_rows`.
Index = Tensor | slice | None


class Constants:
    """Numbers of a network as tensors on a device."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        #: An amount below this is rounding.
        self.nothing = 1e-9 if dtype.itemsize == 8 else 1e-4

    def index(self, values: Iterable[Any]) -> Tensor:
        """Row numbers, shape (n,)."""
        return torch.tensor([int(v) for v in values], dtype=torch.int64, device=self.device)

    def rows(self, values: Iterable[Any], size: int) -> Index:
        """Some of ``size`` rows in the cheapest form: None or a slice where it is one."""
        chosen = [int(v) for v in values]
        if chosen == list(range(size)):
            return None
        if chosen and chosen == list(range(chosen[0], chosen[0] + len(chosen))):
            return slice(chosen[0], chosen[-1] + 1)
        return self.index(chosen)

    def numbers(self, values: Any) -> Tensor:
        """Numbers, in the shape given."""
        return torch.tensor(np.asarray(values, dtype=np.float64), dtype=self.dtype, device=self.device)

    def column(self, values: Any) -> Tensor:
        """A number per row, shape (n, 1)."""
        return self.numbers(values)[:, None]

    def column_unless(self, idle: float, values: Any) -> Tensor | None:
        """A number per row, or None where all are ``idle`` and there is nothing to do."""
        return None if (np.asarray(values) == idle).all() else self.column(values)

    def mask(self, values: Any) -> Tensor | bool:
        """Yes or no per row: True for all, False for none, else a mask (n, 1)."""
        chosen = np.asarray(values, dtype=np.bool_)
        if chosen.all() or not chosen.any():
            return bool(chosen.any())
        return torch.tensor(chosen, device=self.device)[:, None]

    def places(self, place: Any, places: int) -> list[Tensor | bool]:
        """Per place, which rows belong there: True for all, False for none, else a factor (n, 1); for :func:`place`."""
        chosen = [np.asarray(place) == k for k in range(places)]
        return [bool(c.all()) if c.all() or not c.any() else self.column(c) for c in chosen]


def rows(values: Tensor, index: Index) -> Tensor:
    """Some rows of a tensor."""
    if index is None:
        return values
    return values[index] if isinstance(index, slice) else values.index_select(0, index)


def with_rows(values: Tensor, index: Index, new: Tensor) -> Tensor:
    """``values`` with some rows replaced by ``new``."""
    if index is None:
        return new
    if isinstance(index, slice):
        return torch.slice_scatter(values, new, 0, index.start, index.stop)
    return values.index_copy(0, index, new)


def product(values: Tensor, factor: Tensor | None) -> Tensor:
    """``values x factor``; None is a factor of 1."""
    return values if factor is None else values * factor


def place(slots: Iterable[Tensor], belongs: Iterable[Tensor | bool], amount: Tensor) -> tuple[Tensor, ...]:
    """Slots with ``amount`` (n, B) added, each row where it belongs."""
    return tuple(
        (slot + amount if here else slot) if isinstance(here, bool) else torch.addcmul(slot, here, amount)
        for slot, here in zip(slots, belongs, strict=True)
    )


class _Least(torch.autograd.Function):
    """The smaller of two numbers."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward((second - first).sign_())
        return torch.minimum(first, second)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,), (sign,) = gradients, ctx.saved_tensors
        half = 0.5 * gradient
        to_first = torch.addcmul(half, half, sign)
        wants_first, wants_second = ctx.needs_input_grad
        return to_first if wants_first else None, gradient - to_first if wants_second else None


class _StraightThrough(torch.autograd.Function):
    """The second number, with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, amount: Tensor, rounded: Tensor) -> Tensor:  # noqa: ARG004
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0], None


def least(first: Tensor, second: Tensor) -> Tensor:
    """The smaller of two tensors of one shape (a constant ``second`` may be broadcast).

    At a tie each gets half the gradient, which on whole units is the central difference. The gradient costs a third of
    that of ``torch.minimum``.
    """
    if first.requires_grad or second.requires_grad:
        return _Least.apply(first, second)  # type: ignore[no-any-return, no-untyped-call]
    return torch.minimum(first, second)


def straight_through(amount: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, with the gradient of ``amount``."""
    return _StraightThrough.apply(amount, rounded)  # type: ignore[no-any-return, no-untyped-call]


def round_by(rule: Callable[[Tensor], Tensor], amount: Tensor, rounding: Rounding) -> Tensor:
    """``rule(amount)`` with the gradient that ``rounding`` says; ``amount`` itself where nothing is rounded."""
    if rounding == "none":
        return amount
    if rounding == "exact" or not amount.requires_grad:
        return rule(amount)
    return straight_through(amount, rule(amount.detach()))
