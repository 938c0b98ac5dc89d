"""A trained policy as arithmetic: observation normalisation, dense layers and an output head, in numpy alone.

The arithmetic is float32, as in the network that was trained; the normalisation is float64 rounded to float32, as in
Stable-Baselines3's VecNormalize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BundleError, did_you_mean

__all__ = ["ACTIVATIONS", "HEADS", "Layer", "Mlp"]

FloatArray = NDArray[np.float32]

#: How the last layer becomes an action: a mean clipped to [-1, 1], a tanh, the index of the largest number, or a
#: constant that no layer computes.
HEADS = ("gaussian_mean", "tanh", "argmax", "constant")


def _elu(x: FloatArray, alpha: float) -> FloatArray:
    return np.where(x > 0.0, x, np.float32(alpha) * np.expm1(np.minimum(x, np.float32(0.0))))


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(np.float32(1.0) / (np.float32(1.0) + np.exp(-x)))


#: Activation functions by name; the second argument is the slope parameter of those that have one.
ACTIVATIONS: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "identity": lambda x, _: x,
    "tanh": lambda x, _: np.tanh(x),
    "relu": lambda x, _: np.maximum(x, np.float32(0.0)),
    "elu": _elu,
    "leaky_relu": lambda x, alpha: np.where(x > 0.0, x, np.float32(alpha) * x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "silu": lambda x, _: x * _sigmoid(x),
}


@dataclass(frozen=True)
class Layer:
    """``activation(x @ weight.T + bias)``.

    Attributes
    ----------
    weight
        Shape (outputs, inputs), float32.
    bias
        Shape (outputs,), float32.
    activation
        A name of :data:`ACTIVATIONS`.
    alpha
        Slope parameter of ``elu`` and ``leaky_relu``.
    """

    weight: FloatArray
    bias: FloatArray
    activation: str
    alpha: float


@dataclass(frozen=True)
class Mlp:
    """A policy network.

    Attributes
    ----------
    inputs, outputs
        Length of an observation, and of the last layer (numbers of a continuous action, or discrete actions).
    head
        A name of :data:`HEADS`.
    mean, deviation
        Shape (inputs,), float64, of the observation normalisation, or None where there is none.
    clip
        Normalised observations are clipped to [-clip, clip].
    layers
        First to last.
    constant
        Shape (outputs,), float32: the action of the ``constant`` head.
    """

    inputs: int
    outputs: int
    head: str
    mean: NDArray[np.float64] | None
    deviation: NDArray[np.float64] | None
    clip: float
    layers: tuple[Layer, ...]
    constant: FloatArray | None

    @classmethod
    def build(cls, arch: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> Mlp:
        """Put a description and its arrays together.

        Parameters
        ----------
        arch
            ``inputs``, ``outputs``, ``head``, ``normalisation`` (None, or ``epsilon`` and ``clip``) and ``layers``
            (each with ``units``, ``activation`` and ``alpha``).
        weights
            ``weight_k`` (units, inputs) and ``bias_k`` (units,) of layer k in float32; ``mean`` and ``variance``
            (inputs,) in float64 with a normalisation; ``constant`` (outputs,) in float32 with the constant head.

        Raises
        ------
        BundleError
            When the two do not fit, a name is unknown, or a number is NaN or infinite.
        """
        _check_keys(arch)
        inputs, outputs, head = _positive(arch, "inputs"), _positive(arch, "outputs"), arch["head"]
        if head not in HEADS:
            raise BundleError(
                f"arch.json: no output head '{head}' (allowed: {', '.join(HEADS)}){did_you_mean(head, HEADS)}"
            )
        shapes: dict[str, tuple[tuple[int, ...], type[np.floating[Any]]]] = {}
        width = inputs
        for k, entry in enumerate(arch["layers"]):
            units = _positive(entry, "units")
            if entry["activation"] not in ACTIVATIONS:
                raise BundleError(
                    f"arch.json: no activation '{entry['activation']}' in layer {k} (allowed: {', '.join(ACTIVATIONS)})"
                    f"{did_you_mean(entry['activation'], ACTIVATIONS)}"
                )
            shapes[f"weight_{k}"], shapes[f"bias_{k}"] = ((units, width), np.float32), ((units,), np.float32)
            width = units
        if head == "constant":
            shapes["constant"] = ((outputs,), np.float32)
        if (head == "constant") == bool(arch["layers"]) or (arch["layers"] and width != outputs):
            raise BundleError(
                f"arch.json: {len(arch['layers'])} layers do not lead to {outputs} outputs of head '{head}'"
            )
        normalisation = arch["normalisation"]
        if normalisation is not None:
            shapes["mean"] = shapes["variance"] = ((inputs,), np.float64)
        _check_arrays(weights, shapes)
        mean, deviation, clip = None, None, np.inf
        if normalisation is not None:
            epsilon, clip = float(normalisation["epsilon"]), float(normalisation["clip"])
            variance = weights["variance"]
            if not (0.0 <= epsilon < np.inf and 0.0 < clip < np.inf) or not ((variance + epsilon) > 0.0).all():
                raise BundleError(f"arch.json: the normalisation is impossible: epsilon {epsilon}, clip {clip}")
            mean, deviation = weights["mean"], np.sqrt(variance + epsilon)
        layers = tuple(
            Layer(weights[f"weight_{k}"], weights[f"bias_{k}"], entry["activation"], float(entry.get("alpha", 0.0)))
            for k, entry in enumerate(arch["layers"])
        )
        return cls(inputs, outputs, head, mean, deviation, clip, layers, weights.get("constant"))

    def scores(self, observation: NDArray[Any]) -> FloatArray:
        """What the last layer gives, before the head: shape (B, inputs) in, (B, outputs) out."""
        x = np.asarray(observation, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise BundleError(f"observations must have shape (B, {self.inputs}), received {x.shape}")
        if self.constant is not None:
            return np.repeat(self.constant[None, :], len(x), axis=0)
        # Overflow shows as a number that is not finite, which the caller refuses; it needs no warning as well.
        with np.errstate(all="ignore"):
            if self.mean is not None and self.deviation is not None:
                normal = (x.astype(np.float64) - self.mean) / self.deviation
                x = np.clip(normal, -self.clip, self.clip).astype(np.float32)
            for layer in self.layers:
                x = ACTIVATIONS[layer.activation](x @ layer.weight.T + layer.bias, layer.alpha)
        return np.asarray(x)

    def head_of(self, scores: FloatArray) -> NDArray[Any]:
        """Actions from :meth:`scores`: (B, outputs) of float32 in [-1, 1], or (B,) of int64."""
        if self.head == "argmax":
            return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)
        return np.asarray(np.tanh(scores) if self.head == "tanh" else np.clip(scores, np.float32(-1), np.float32(1)))

    def act(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Actions for raw observations (B, inputs)."""
        return self.head_of(self.scores(observation))


def _check_keys(arch: Mapping[str, Any]) -> None:
    known = {"inputs", "outputs", "head", "normalisation", "layers"}
    if set(arch) != known:
        odd = sorted(set(arch) ^ known)[0]
        raise BundleError(f"arch.json: missing or unknown entry '{odd}' (allowed: {', '.join(sorted(known))})")


def _positive(entry: Mapping[str, Any], key: str) -> int:
    value = entry[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BundleError(f"arch.json: '{key}' must be a positive whole number, received {value!r}")
    return value


def _check_arrays(
    weights: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[tuple[int, ...], type[np.floating[Any]]]]
) -> None:
    for name in sorted(set(weights) ^ set(shapes)):
        problem = "is missing" if name in shapes else "belongs to no layer of arch.json"
        raise BundleError(f"weights.npz: the array '{name}' {problem}")
    for name, (shape, dtype) in shapes.items():
        array = weights[name]
        if array.shape != shape or array.dtype != dtype:
            raise BundleError(
                f"weights.npz: '{name}' must be {np.dtype(dtype).name} of shape {shape}, "
                f"found {array.dtype.name} of shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise BundleError(f"weights.npz: '{name}' holds a NaN or an infinite number")
