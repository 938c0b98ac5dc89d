"""A policy with one small network for all arcs, so that its size does not grow with the supply network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

__all__ = ["ArcPolicy"]


class ArcPolicy(BasePolicy):
    """The same network for every arc, on what the arc sees and on what its neighbours are like.

    The first layer turns what an arc sees into an embedding; the next ones see it beside the mean embeddings of the
    arcs downstream, upstream, in parallel and at the same source, and of all arcs. With one arc this is a plain
    network. The action is the output times the arc's gain, clipped to the box, so that an output of 1 is one period's
    demand.

    Parameters
    ----------
    structure
        See :class:`agents.learners.arc_structure.ArcStructure`, as plain data.
    net_arch
        Widths of the hidden layers.
    activation_fn
        Between layers.
    initial_scale
        Factor on the weights of the last layer at the start: a small one starts near the zero action.
    """

    columns: Tensor
    traits: Tensor
    gain: Tensor
    covers: Tensor
    clock_scale: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        structure: dict[str, Any],
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.SiLU,
        initial_scale: float = 0.1,
        optimizer_class: type[torch.optim.Adam] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            observation_space, action_space, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs
        )
        self.structure, self.activation_fn, self.initial_scale = structure, activation_fn, initial_scale
        self.net_arch = list(net_arch or (64, 64))
        width, arcs = int(np.prod(observation_space.shape or ())), len(structure["columns"])
        columns = np.array(structure["columns"], dtype=np.int64).reshape(arcs, -1)
        shared = np.tile(np.array(structure["shared"], dtype=np.int64), (arcs, 1))
        columns = np.concatenate([columns, shared], axis=1)
        # A column beyond the observation holds the zeros that stand for fields an arc does not have.
        self.register_buffer("columns", torch.as_tensor(np.where(columns < 0, width, columns)), persistent=False)
        traits = torch.tensor(structure["traits"], dtype=torch.float32).reshape(arcs, -1)
        self.register_buffer("traits", traits, persistent=False)
        self.register_buffer("gain", torch.tensor(structure["gain"], dtype=torch.float32), persistent=False)
        self.padded = bool((columns < 0).any())
        self.kinds = list(structure["neighbours"])
        for kind in self.kinds:
            mean = torch.zeros(arcs, arcs)
            for a, b in structure["neighbours"][kind]:
                mean[a, b] += 1.0
            mean /= mean.sum(1, keepdim=True).clamp(min=1.0)
            # Few arcs have many neighbours: the larger the network, the emptier the matrix.
            self.register_buffer(f"mean_{kind}", mean.to_sparse() if arcs > 64 else mean, persistent=False)
        self.whole = arcs > 1
        self.clock = structure["clock"]
        ticks = self.clock[1] + 2 if self.clock else 0
        self.register_buffer("covers", torch.tensor(structure["covers"], dtype=torch.int64), persistent=False)
        # What an arc sees at once: all columns in order need no gathering.
        self.gathers = arcs > 1 or self.padded or columns[0].tolist() != list(range(width))
        self.first = nn.Linear(columns.shape[1], self.net_arch[0])
        self.of_traits = nn.Linear(self.traits.shape[1], self.net_arch[0], bias=False) if arcs > 1 else None
        # Mean and deviation of the periods left as the policy gets them; part of the saved model.
        self.register_buffer("clock_scale", torch.tensor([0.0, 1.0]))
        self.by_clock = nn.Embedding(ticks, self.net_arch[0]) if ticks else None
        layers: list[nn.Module] = []
        inputs = self.net_arch[0] * (1 + len(self.kinds) + self.whole)
        for hidden in self.net_arch[1:]:
            layers += [nn.Linear(inputs, hidden), activation_fn()]
            inputs = hidden
        last = nn.Linear(inputs, 1)
        with torch.no_grad():
            if self.by_clock is not None:
                self.by_clock.weight.zero_()
            last.weight.mul_(initial_scale)
            last.bias.zero_()
        self.activation = activation_fn()
        self.rest = nn.Sequential(*layers, last)
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def read_clock(self, normalise: VecNormalize | None) -> None:
        """Agree with a normalisation on how the periods left are shown, so that every count can be told from the next.

        Their statistics are set such that none of them is clipped.
        """
        if self.clock is None or normalise is None or not normalise.norm_obs:
            return
        column, horizon = self.clock
        mean = horizon / 2
        deviation = max(horizon / 16, 1.01 * mean / normalise.clip_obs, 1.0)
        statistics: Any = normalise.obs_rms
        statistics.mean[column], statistics.var[column] = mean, deviation**2 - normalise.epsilon
        self.clock_scale.copy_(torch.tensor([mean, deviation]))

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Actions (B, A) for normalised observations (B, n)."""
        if self.padded:
            obs = torch.nn.functional.pad(obs, (0, 1))
        inner: Tensor = self.first(obs[:, self.columns] if self.gathers else obs[:, None])
        if self.of_traits is not None:
            inner = inner + self.of_traits(self.traits)
        if self.by_clock is not None:
            left = (obs[:, self.clock[0]].detach() * self.clock_scale[1] + self.clock_scale[0]).round().long()
            # The last order worth placing on an arc lies its cover before the end, and what it sees in that period
            # must be told sharply from the next: a number for every count of periods to spare, the same for all arcs.
            spare = (left[:, None] - self.covers + 1).clamp(0, self.clock[1] + 1)
            inner = inner + self.by_clock(spare)
        own: Tensor = self.activation(inner)
        parts = [own]
        for kind in self.kinds:
            parts.append(_mean_over(getattr(self, f"mean_{kind}"), own))
        if self.whole:
            parts.append(own.mean(1, keepdim=True).expand_as(own))
        out: Tensor = self.rest(torch.cat(parts, dim=2) if len(parts) > 1 else own).squeeze(2)
        return _into_box(out * self.gain)

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
            initial_scale=self.initial_scale,
            lr_schedule=lambda _: 0.0,
        )
        return data


class _Box(torch.autograd.Function):
    """Clip to [-1, 1]; beyond it only what leads back inside has a gradient, so that no output is lost out there."""

    @staticmethod
    def forward(ctx: Any, action: Tensor) -> Tensor:
        ctx.save_for_backward(action)
        return action.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,), (action,) = gradients, ctx.saved_tensors
        outward = ((action > 1.0) & (gradient < 0.0)) | ((action < -1.0) & (gradient > 0.0))
        return gradient.masked_fill(outward, 0.0)


def _into_box(action: Tensor) -> Tensor:
    return _Box.apply(action)  # type: ignore[no-any-return, no-untyped-call]


def _mean_over(weights: Tensor, own: Tensor) -> Tensor:
    """(A, A) weights times embeddings (B, A, H)."""
    if not weights.is_sparse:
        return weights @ own
    replicas, arcs, width = own.shape
    flat = own.transpose(0, 1).reshape(arcs, replicas * width)
    mean: Tensor = torch.sparse.mm(weights, flat)
    return mean.reshape(arcs, replicas, width).transpose(0, 1)
