"""The echelon base-stock rule on tensors: gradients flow from orders to safety amounts and to what is in stock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.echelon import EchelonRule
from twin.differentiable import DifferentiableTwin

__all__ = ["TensorEchelon"]


class _Turn(NamedTuple):
    """Arcs decided together, what earlier orders (in the order of their turns) add to their gaps, largest orders."""

    arcs: Tensor
    decided: Tensor | None
    limits: Tensor | None


class TensorEchelon:
    """Orders of an :class:`envs.echelon.EchelonRule`, with its own matrices and its own reading of the calendar.

    Parameters
    ----------
    rule
        Of the twin's network.
    twin
        Whose device and precision are used.
    """

    def __init__(self, rule: EchelonRule, twin: DifferentiableTwin) -> None:
        self.rule, self.device, self.dtype = rule, twin.device, twin.dtype
        self._echelon = self._numbers(rule.echelon)
        order = np.concatenate(rule.turns)
        self._back = torch.as_tensor(np.argsort(order), device=self.device)
        self._turns, before = [], 0
        for arcs in rule.turns:
            decided = self._numbers(rule.decided[np.ix_(arcs, order[:before])]) if before else None
            limits = self._numbers(rule.limits[arcs, None]) if np.isfinite(rule.limits[arcs]).any() else None
            self._turns.append(_Turn(torch.as_tensor(arcs, device=self.device), decided, limits))
            before += len(arcs)

    def __call__(
        self,
        safety: Tensor,
        position: Tensor,
        period: NDArray[np.integer],
        periods_left: NDArray[np.float64] | None,
    ) -> Tensor:
        """Orders (A, B) in units.

        Parameters
        ----------
        safety, position
            (A, B) units.
        period
            (B,) periods of the states, see :meth:`envs.echelon.EchelonRule.on_calendar`.
        periods_left
            (B,), or None where the problem continues.
        """
        covered, open_ = self.rule.on_calendar(period, periods_left)
        lacks = self._numbers(covered) + safety - self._echelon @ position
        mask = None if open_.all() else self._numbers(open_.astype(np.float64))
        done = position[:0]
        for arcs, decided, limits in self._turns:
            gap = lacks[arcs]
            orders = (gap if decided is None else torch.addmm(gap, decided, done)).relu()
            orders = orders if limits is None else torch.minimum(orders, limits)
            # What a closed arc lacks must not be counted by those that come after it.
            orders = orders if mask is None else orders * mask[arcs]
            done = orders if decided is None else torch.cat([done, orders])
        return done[self._back]

    def _numbers(self, values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values).to(self.device, self.dtype)
