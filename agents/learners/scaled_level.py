"""A policy that knows no size: the level to order up to is a usual quantity times what a small network makes of ratios.

A network that sees and gives units has to learn anew for every product, and has no idea of one that has grown beyond
what it was trained on. Here the first number of an observation is a quantity that is usual now (the scale), the others
are free of units, and the level is scale x periods covered x exp(network). Doubling a product doubles its orders.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

__all__ = ["ScaledLevel"]

#: Inputs farther from their mean, in standard deviations, look as if they were there.
_CLIP = 4.0
#: Largest level, in scales times periods covered.
_MOST = 10.0


class ScaledLevel(BasePolicy):
    """For one arc; trained by :class:`agents.learners.pathwise.Pathwise`.

    Parameters
    ----------
    structure
        ``widest``: the level that an action of 1 stands for, -1 being its negative. ``covered``: periods of demand that
        an order covers. ``start``: level of the untrained policy, in scales times periods covered. ``mean``,
        ``spread``: of the observation without its first number, for inputs of mean 0 and variance 1.
    net_arch
        Widths of the hidden layers.
    activation_fn
        Between layers.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        structure: dict[str, Any],
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.SiLU,
        optimizer_class: type[torch.optim.AdamW] = torch.optim.AdamW,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            observation_space, action_space, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs
        )
        self.structure, self.activation_fn = structure, activation_fn
        self.net_arch = list(net_arch or (32, 32))
        for name in ("mean", "spread"):
            self.register_buffer(name, torch.tensor(structure[name], dtype=torch.float32), persistent=False)
        inputs, layers = len(structure["mean"]), list[nn.Module]()
        for hidden in self.net_arch:
            layers += [nn.Linear(inputs, hidden), activation_fn()]
            inputs = hidden
        last = nn.Linear(inputs, 1)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.fill_(float(torch.tensor(structure["start"]).log()))
        self.layers = nn.Sequential(*layers, last)
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def levels(self, observation: Tensor) -> Tensor:
        """Levels to order up to (B,), in the unit of the scale, of observations (B, n)."""
        scale, seen = observation[:, 0], (observation[:, 1:] - self.mean) / self.spread
        share: Tensor = self.layers(seen.clamp(-_CLIP, _CLIP)).squeeze(1).exp()
        return scale * share.clamp(max=_MOST) * float(self.structure["covered"])

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Actions (B, 1) for observations (B, n)."""
        return (self.levels(obs) / float(self.structure["widest"])).clamp(-1.0, 1.0)[:, None]

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        if not isinstance(observation, Tensor):
            raise TypeError("observations are one Box")
        return self.forward(observation)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            structure=self.structure,
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            lr_schedule=lambda _: 0.0,
        )
        return data
