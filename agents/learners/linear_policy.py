"""A policy that is linear in what it sees, fitted by least squares to what somebody else does."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

__all__ = ["LinearPolicy"]

#: Standard deviation of an observation below which it has told nothing.
_STILL = 1e-6


class LinearPolicy(BasePolicy):
    """Actions ``weight @ observation + bias``, within the box.

    The weights are those of a ridge regression. Its sums are part of the policy, so that a saved one can be fitted to
    more; numbers that have not moved have no weight.

    Parameters
    ----------
    observation_space, action_space
        Boxes.
    lr_schedule
        Not used; nothing is descended.
    net_arch
        Empty: there are no layers in between.
    """

    moments: Tensor
    squares: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule | None = None,
        net_arch: list[int] | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=False)
        if net_arch:
            raise ValueError(f"a linear policy has no layers, received net_arch={list(net_arch)} (allowed: [])")
        seen, done = (int(np.prod(space.shape or ())) for space in (observation_space, action_space))
        wide = torch.float64
        #: Sums of products of (1, observation, action) with (1, observation).
        self.register_buffer("moments", torch.zeros(1 + seen + done, 1 + seen, dtype=wide))
        #: Sum of the squares of actions.
        self.register_buffer("squares", torch.zeros(done, dtype=wide))
        self.register_buffer("weight", torch.zeros(done, seen, dtype=wide))
        self.register_buffer("bias", torch.zeros(done, dtype=wide))

    # -- learning -----------------------------------------------------------------------------------------------------

    def add(self, observation: NDArray[Any], action: NDArray[Any]) -> None:
        """Take in what was done, (n, actions), where this was seen, (n, observations)."""
        given = torch.as_tensor(np.asarray(observation, dtype=np.float64))
        inputs = torch.cat([torch.ones(len(given), 1, dtype=torch.float64), given.reshape(len(given), -1)], dim=1)
        done = torch.as_tensor(np.asarray(action, dtype=np.float64)).reshape(len(given), -1)
        self.moments += (torch.cat([inputs, done], dim=1).T @ inputs).to(self.moments.device)
        self.squares += (done**2).sum(dim=0).to(self.squares.device)

    def fit(self, penalty: float) -> float:
        """Weights by ridge regression on all that was taken in; the share of the actions' variance that they explain.

        Parameters
        ----------
        penalty
            Weight of the squared coefficients of standardised observations, over the number of samples.
        """
        moments = self.moments.cpu().numpy()
        count, seen = moments[0, 0], moments.shape[1] - 1
        mean = moments[1:, 0] / count
        second = moments[1:, 1:] / count
        spread = second[:seen] - np.outer(mean[:seen], mean[:seen])
        shared = second[seen:] - np.outer(mean[seen:], mean[:seen])
        scale = np.sqrt(np.maximum(np.diag(spread), 0.0))
        moves = np.flatnonzero(scale > _STILL)
        weight = np.zeros(shared.shape)
        if len(moves):
            each = scale[moves]
            gram = spread[np.ix_(moves, moves)] / np.outer(each, each) + penalty * np.eye(len(moves))
            weight[:, moves] = np.linalg.solve(gram, (shared[:, moves] / each).T).T / each
        self.weight.copy_(torch.as_tensor(weight))
        self.bias.copy_(torch.as_tensor(mean[seen:] - weight @ mean[:seen]))
        total = float((self.squares.cpu().numpy() / count - mean[seen:] ** 2).sum())
        left = total - float((weight * (2.0 * shared - weight @ spread)).sum())
        return 1.0 - left / total if total > 0.0 else 1.0

    @property
    def mean(self) -> Tensor:
        """Mean of the observations that were taken in, (m,)."""
        return self.moments[1 : 1 + self.weight.shape[1], 0] / self.moments[0, 0].clamp(min=1.0)

    # -- acting -------------------------------------------------------------------------------------------------------

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Actions (B, n) for observations (B, m)."""
        action = obs.reshape(len(obs), -1).to(self.weight.dtype) @ self.weight.T + self.bias
        box = cast(spaces.Box, self.action_space)
        low, high = (torch.as_tensor(bound, dtype=action.dtype).ravel() for bound in (box.low, box.high))
        return action.clamp(low, high).to(torch.float32).reshape(-1, *box.shape)

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        if not isinstance(observation, Tensor):
            raise TypeError("observations are one Box")
        return self.forward(observation)
