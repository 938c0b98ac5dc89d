"""A pathwise policy as arithmetic: one small network for all arcs (:class:`agents.learners.arc_policy.ArcPolicy`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.runtime import (
    ACTIVATIONS,
    Layer,
    Normalisation,
    check_arrays,
    known_activation,
    observed,
    positive,
    through,
)
from twin.errors import BundleError

__all__ = ["NEIGHBOURS", "ArcNet"]

FloatArray = NDArray[np.float32]

#: Kinds of neighbours that an arc may look at.
NEIGHBOURS = ("downstream", "upstream", "parallel", "same_source")
_KEYS = {"kind", "inputs", "outputs", "seen", "hidden", "activation", "alpha", "neighbours", "clock", "normalisation"}


@dataclass(frozen=True)
class Clock:
    """How the network reads the periods left: a row of a table for every count of periods to spare.

    Attributes
    ----------
    column, horizon
        Column of the periods left, and the most there are.
    scale
        Shape (2,), float32: mean and deviation by which the column was normalised.
    covers
        Shape (A,), int64: periods from an order to the last demand that it can serve.
    table
        Shape (horizon + 2, H), float32.
    """

    column: int
    horizon: int
    scale: FloatArray
    covers: NDArray[np.int64]
    table: FloatArray

    def rows(self, x: FloatArray) -> NDArray[np.int64]:
        """Rows of the table (B, A) for normalised observations (B, n)."""
        left = np.rint(x[:, self.column] * self.scale[1] + self.scale[0]).astype(np.int64)
        return np.asarray(np.clip(left[:, None] - self.covers + 1, 0, self.horizon + 1))


@dataclass(frozen=True)
class ArcNet:
    """The same network for every arc, on what the arc sees and on what its neighbours are like.

    Attributes
    ----------
    inputs, outputs
        Length of an observation, and arcs A.
    columns
        Shape (A, F), int64: what each arc sees of an observation; ``inputs`` where it has no such field, which is 0.
    first
        The layer that turns what an arc sees into an embedding of H numbers.
    offset
        Shape (A, H), float32: what the traits of each arc add to it.
    means
        Kind of neighbour -> shape (A, A), float32: weights of the embeddings that an arc looks at.
    rest
        The layers on an arc's own embedding and those means.
    gain
        Shape (A,), float32: times the output; the action is clipped to [-1, 1].
    normalisation
        Of observations; None where there is none.
    clock
        How it reads the periods left; None where the problem continues.
    """

    inputs: int
    outputs: int
    columns: NDArray[np.int64]
    first: Layer
    offset: FloatArray
    means: Mapping[str, FloatArray]
    rest: tuple[Layer, ...]
    gain: FloatArray
    normalisation: Normalisation | None
    clock: Clock | None

    discrete = False
    masked = False

    @classmethod
    def build(cls, arch: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> ArcNet:
        """Put a description and its arrays together.

        Parameters
        ----------
        arch
            ``kind`` (``arcs``), ``inputs``, ``outputs`` (arcs), ``seen`` (numbers that an arc sees), ``hidden``
            (widths), ``activation`` and ``alpha``, ``neighbours`` (kinds), ``clock`` (None, or column and horizon) and
            ``normalisation``.
        weights
            ``columns``, ``offset``, ``gain``, ``mean_<kind>``, ``weight_k`` and ``bias_k`` of layer k, the first one
            being that of the embedding; ``covers``, ``clock_scale`` and ``clock_table`` with a clock; ``mean`` and
            ``variance`` with a normalisation.

        Raises
        ------
        BundleError
            When the two do not fit, a name is unknown, or a number is NaN or infinite.
        """
        if set(arch) != _KEYS:
            odd = sorted(set(arch) ^ _KEYS)[0]
            raise BundleError(f"arch.json: missing or unknown entry '{odd}' (allowed: {', '.join(sorted(_KEYS))})")
        inputs, arcs, seen = (positive(arch, key) for key in ("inputs", "outputs", "seen"))
        hidden, kinds = list(arch["hidden"]), list(arch["neighbours"])
        if not hidden or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in hidden):
            raise BundleError("arch.json: 'hidden' must be positive whole numbers, at least one")
        if any(kind not in NEIGHBOURS for kind in kinds) or len(set(kinds)) < len(kinds):
            raise BundleError(f"arch.json: 'neighbours' must be some of {', '.join(NEIGHBOURS)}, each once")
        known_activation(arch["activation"], "the network of the arcs")
        widths = [hidden[0] * (1 + len(kinds) + (arcs > 1)), *hidden[1:], 1]
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "columns": ((arcs, seen), np.int64),
            "weight_0": ((hidden[0], seen), np.float32),
            "bias_0": ((hidden[0],), np.float32),
            "offset": ((arcs, hidden[0]), np.float32),
            "gain": ((arcs,), np.float32),
            **{f"mean_{kind}": ((arcs, arcs), np.float32) for kind in kinds},
        }
        for k, (width, units) in enumerate(pairwise(widths), start=1):
            shapes[f"weight_{k}"], shapes[f"bias_{k}"] = ((units, width), np.float32), ((units,), np.float32)
        if arch["clock"] is not None:
            column, horizon = (positive({"clock": n}, "clock") for n in (arch["clock"][0] + 1, arch["clock"][1]))
            shapes["covers"], shapes["clock_scale"] = ((arcs,), np.int64), ((2,), np.float32)
            shapes["clock_table"] = ((horizon + 2, hidden[0]), np.float32)
        if arch["normalisation"] is not None:
            shapes["mean"] = shapes["variance"] = ((inputs,), np.float64)
        check_arrays(weights, shapes)
        columns = weights["columns"]
        if not ((columns >= 0) & (columns <= inputs)).all() or (arch["clock"] is not None and column > inputs):
            raise BundleError("weights.npz: 'columns' or the clock point beyond the observation")
        name, alpha = str(arch["activation"]), float(arch["alpha"])
        layers = [
            Layer(weights[f"weight_{k}"], weights[f"bias_{k}"], "identity" if k == len(widths) - 1 else name, alpha)
            for k in range(len(widths))
        ]
        clock = None
        if arch["clock"] is not None:
            arrays = (weights[key] for key in ("clock_scale", "covers", "clock_table"))
            clock = Clock(column - 1, horizon, *arrays)
        means = {kind: weights[f"mean_{kind}"] for kind in kinds}
        normalisation = Normalisation.build(arch["normalisation"], weights)
        return cls(
            inputs, arcs, columns, layers[0], weights["offset"], means, tuple(layers[1:]), weights["gain"],
            normalisation, clock,
        )  # fmt: skip

    def scores(self, observation: NDArray[Any]) -> FloatArray:
        """What the network gives before it is clipped to the box: shape (B, inputs) in, (B, A) out."""
        x = observed(observation, self.inputs)
        with np.errstate(all="ignore"):
            if self.normalisation is not None:
                x = self.normalisation(x)
            padded = np.concatenate([x, np.zeros((len(x), 1), dtype=np.float32)], axis=1)
            inner = padded[:, self.columns] @ self.first.weight.T + self.first.bias + self.offset
            if self.clock is not None:
                inner = inner + self.clock.table[self.clock.rows(x)]
            own = ACTIVATIONS[self.first.activation](inner, self.first.alpha)
            parts = [own, *(mean @ own for mean in self.means.values())]
            if self.outputs > 1:
                parts.append(np.broadcast_to(own.mean(axis=1, keepdims=True), own.shape))
            return np.asarray(through(self.rest, np.concatenate(parts, axis=2))[:, :, 0] * self.gain)

    def head_of(self, scores: FloatArray, masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Actions (B, A) of float32 in [-1, 1]."""
        return np.asarray(np.clip(scores, np.float32(-1), np.float32(1)))
