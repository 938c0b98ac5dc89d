"""A policy with one small network for all arcs, so that its size does not grow with the supply network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from agents.baselines.structure import Structure
from envs.actions import Codec
from envs.features import Field
from twin.compile import CompiledNetwork

__all__ = ["ArcPolicy", "ArcStructure", "arc_structure", "clock_scale"]

#: Fields of a stock point and of an arc, in the order in which the network sees them.
_OF_DESTINATION = ("on_hand", "backlog", "demand", "expected")
_OF_ARC = ("position", "in_transit", "in_mail", "owed")
_OF_ALL = ("season_sin", "season_cos")


@dataclass(frozen=True)
class ArcStructure:
    """Which numbers of an observation belong to which arc, and which arcs are neighbours; plain data.

    Attributes
    ----------
    columns
        (A, F) columns of the observation that an arc sees of its own; -1 where it has no such field.
    shared
        Columns that every arc sees.
    traits
        (A, S) what tells arcs apart, each with mean 0 and variance 1 over the arcs.
    neighbours
        Kind of neighbour -> list of (arc, neighbour).
    gain
        (A,) action that moves a level or a quantity by one period's demand.
    clock
        Column of the periods left, and the horizon, where that is finite.
    covers
        (A,) periods from an order on an arc to the last demand it can serve: where fewer are left, it comes too late.
    """

    columns: list[list[int]]
    shared: list[int]
    traits: list[list[float]]
    neighbours: dict[str, list[tuple[int, int]]]
    gain: list[float]
    clock: tuple[int, int] | None
    covers: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a saved model."""
        return asdict(self)


def arc_structure(compiled: CompiledNetwork, fields: tuple[Field, ...], codec: Codec) -> ArcStructure:
    """The structure of a task: its network, the fields it shows, the scale of its actions."""
    place = {field.name: k for k, field in enumerate(fields)}
    top = compiled.topology
    streams_at: dict[int, list[str]] = {}
    for d, i in enumerate(top.demand_stock):
        streams_at.setdefault(int(i), []).append(compiled.demand_names[d])
    streams = [streams_at.get(int(i), []) for i in top.arc_destination]
    rows = [_own_columns(compiled, place, a, streams[a]) for a in range(compiled.n_arcs)]
    names = sorted({name for row in rows for name in row})
    shared = [place[name] for name in _OF_ALL if name in place]
    shared += [k for name, k in place.items() if name.startswith("availability[")]
    if compiled.n_demands == 1:  # whatever an arc moves, it moves it for this stream
        shared += [k for name, k in place.items() if name.startswith(("expected[", "demand["))]
    rate, deviation = compiled.demand_rate[top.arc_destination], np.sqrt(compiled.demand_variance[top.arc_destination])
    reach = np.maximum(codec.high - codec.center, 1e-9)
    return ArcStructure(
        [[row.get(name, -1) for name in names] for row in rows],
        shared,
        _traits(compiled).tolist(),
        {kind: pairs for kind, pairs in _neighbours(compiled).items() if pairs},
        (np.maximum(np.maximum(rate, deviation), 1e-9) / reach).tolist(),
        (k, round(fields[k].high)) if (k := place.get("periods_left", -1)) >= 0 else None,
        Structure.of(compiled).covers.min(axis=1).tolist(),
    )


def clock_scale(horizon: int) -> tuple[float, float]:
    """Mean and deviation that the periods left are normalised with, so that the policy can tell them apart again."""
    return horizon / 2, max(horizon / 16, 1.0)


def _own_columns(compiled: CompiledNetwork, place: dict[str, int], a: int, streams: list[str]) -> dict[str, int]:
    """What arc ``a`` sees: kind of field -> column. Several streams at a stock point are numbered."""
    stock, arc = compiled.stock_names[compiled.topology.arc_destination[a]], compiled.arc_names[a]
    row = {kind: place[name] for kind in _OF_ARC if (name := f"{kind}[{arc}]") in place}
    for kind in _OF_DESTINATION:
        entities = [stock] if kind == "on_hand" else streams
        for n, entity in enumerate(entities):
            for name, k in place.items():
                if name == f"{kind}[{entity}]" or name.startswith(f"{kind}[{entity}:"):
                    row[f"{kind}:{n}:{name.removeprefix(f'{kind}[{entity}')}"] = k
    for kind in ("arriving", "life"):
        for name, k in place.items():
            if name.startswith(f"{kind}[{stock}:"):
                row[f"{kind}:{name.removeprefix(f'{kind}[{stock}')}"] = k
    return row


def _traits(compiled: CompiledNetwork) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(A, S) standardised: lead time, demand rate and its spread, terms of the arc, rank among parallel arcs."""
    top = compiled.topology
    rank = np.zeros(compiled.n_arcs)
    for i in range(compiled.n_stocks):
        group = top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]
        rank[group] = np.arange(len(group))
    rate = compiled.demand_rate[top.arc_destination]
    raw = np.stack(
        [
            np.log1p(compiled.lead_mean),
            compiled.lead_variance,
            np.log(np.maximum(rate, 1e-6)),
            np.sqrt(compiled.demand_variance[top.arc_destination]) / np.maximum(rate, 1e-6),
            top.stock_holding[top.arc_destination],
            (np.diff(top.in_ptr) > 0).astype(np.float64),
            np.isin(top.arc_destination, top.demand_stock).astype(np.float64),
            compiled.unit_value[top.arc_destination],
            rank,
        ],
        axis=1,
    )
    spread = raw.std(axis=0)
    return np.asarray((raw - raw.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0))


def _neighbours(compiled: CompiledNetwork) -> dict[str, list[tuple[int, int]]]:
    """Downstream: arcs that draw on what an arc brings. Upstream: arcs that bring what it draws on. And beside it."""
    top = compiled.topology
    destination = top.arc_destination.tolist()
    inputs = [top.in_stock[top.in_ptr[a] : top.in_ptr[a + 1]].tolist() for a in range(compiled.n_arcs)]
    into: dict[int, list[int]] = {}
    out_of: dict[int, list[int]] = {}
    for a in range(compiled.n_arcs):
        into.setdefault(destination[a], []).append(a)
        for i in inputs[a]:
            out_of.setdefault(i, []).append(a)
    arcs = range(compiled.n_arcs)
    return {
        "downstream": [(a, b) for a in arcs for b in out_of.get(destination[a], [])],
        "upstream": [(a, b) for a in arcs for i in inputs[a] for b in into.get(i, [])],
        "parallel": [(a, b) for a in arcs for b in into[destination[a]] if b != a],
        "same_source": [(a, b) for a in arcs for i in inputs[a] for b in out_of[i] if b != a],
    }


class ArcPolicy(BasePolicy):
    """The same network for every arc, on what the arc sees and on what its neighbours are like.

    The first layer turns what an arc sees into an embedding; the next ones see it beside the mean embeddings of the
    arcs downstream, upstream, in parallel and at the same source, and of all arcs. With one arc this is a plain
    network. The action is the output times the arc's gain, clipped to the box, so that an output of 1 is one period's
    demand.

    Parameters
    ----------
    structure
        See :class:`ArcStructure`, as plain data.
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
        self.first = nn.Linear(columns.shape[1] + self.traits.shape[1], self.net_arch[0])
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

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Actions (B, A) for normalised observations (B, n)."""
        if self.padded:
            obs = torch.nn.functional.pad(obs, (0, 1))
        seen = obs[:, self.columns]
        if self.traits.shape[1]:
            seen = torch.cat([seen, self.traits.expand(len(obs), -1, -1)], dim=2)
        inner: Tensor = self.first(seen)
        if self.by_clock is not None:
            mean, deviation = clock_scale(self.clock[1])
            left = (obs[:, self.clock[0]].detach() * deviation + mean).round().long()
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
        return (out * self.gain).clamp(-1.0, 1.0)

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


def _mean_over(weights: Tensor, own: Tensor) -> Tensor:
    """(A, A) weights times embeddings (B, A, H)."""
    if not weights.is_sparse:
        return weights @ own
    replicas, arcs, width = own.shape
    flat = own.transpose(0, 1).reshape(arcs, replicas * width)
    mean: Tensor = torch.sparse.mm(weights, flat)
    return mean.reshape(arcs, replicas, width).transpose(0, 1)
