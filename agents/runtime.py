"""A trained network as arithmetic: observation normalisation, dense layers and an output head, in numpy alone.

The arithmetic is float32, as in the network that was trained; the normalisation is float64 rounded to float32, as in
Stable-Baselines3's VecNormalize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from twin.errors import BundleError, did_you_mean

__all__ = ["ACTIVATIONS", "HEADS", "Layer", "Mlp", "Net", "Normalisation", "check_arrays", "known_activation"]
__all__ += ["observed", "positive", "through"]

FloatArray = NDArray[np.float32]

#: How the last layer becomes an action: a mean clipped to the box, a tanh scaled to the box, the index of the largest
#: number (one index for each part of a MultiDiscrete action), or a constant that no layer computes.
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


class Net(Protocol):
    """A network that decides: numbers for an observation, and the action they stand for.

    Attributes
    ----------
    inputs, outputs
        Length of an observation, and of what the last layer gives.
    discrete
        True where actions are indices.
    masked
        True where it was trained with a mask of the actions that are possible.
    """

    @property
    def inputs(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    @property
    def discrete(self) -> bool: ...

    @property
    def masked(self) -> bool: ...

    def scores(self, observation: NDArray[Any]) -> FloatArray:
        """What the last layer gives, before the head: shape (B, inputs) in, (B, outputs) out."""
        ...

    def head_of(self, scores: FloatArray, masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Actions (B, ...) from :meth:`scores`; ``masks`` (B, outputs) is True where a discrete action is possible."""
        ...


@dataclass(frozen=True)
class Normalisation:
    """Observations minus a mean, over a deviation, clipped; as VecNormalize does it.

    Attributes
    ----------
    mean, deviation
        Shape (inputs,), float64.
    clip
        Normalised observations are clipped to [-clip, clip].
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    clip: float

    @classmethod
    def build(cls, entry: Mapping[str, Any] | None, weights: Mapping[str, NDArray[Any]]) -> Normalisation | None:
        """From ``epsilon`` and ``clip``, and the arrays ``mean`` and ``variance``; None where there is none."""
        if entry is None:
            return None
        epsilon, clip, variance = float(entry["epsilon"]), float(entry["clip"]), weights["variance"]
        if not (0.0 <= epsilon < np.inf and 0.0 < clip < np.inf) or not ((variance + epsilon) > 0.0).all():
            raise BundleError(f"arch.json: the normalisation is impossible: epsilon {epsilon}, clip {clip}")
        return cls(weights["mean"], np.sqrt(variance + epsilon), clip)

    def __call__(self, observation: FloatArray) -> FloatArray:
        normal = (observation.astype(np.float64) - self.mean) / self.deviation
        return np.clip(normal, -self.clip, self.clip).astype(np.float32)


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
    """Dense layers, one after the other.

    Attributes
    ----------
    inputs, outputs
        Length of an observation, and of the last layer (numbers of a continuous action, or discrete actions).
    head
        A name of :data:`HEADS`.
    normalisation
        Of observations; None where there is none.
    layers
        First to last.
    constant
        Shape (outputs,), float32: the action of the ``constant`` head.
    choices
        Number of choices of each part of a MultiDiscrete action; empty where the action is one number.
    masked
        True where it was trained with a mask of the actions that are possible.
    low, high
        Shape (outputs,), float32: the box of continuous actions.
    """

    inputs: int
    outputs: int
    head: str
    normalisation: Normalisation | None
    layers: tuple[Layer, ...]
    constant: FloatArray | None
    choices: tuple[int, ...]
    masked: bool
    low: FloatArray
    high: FloatArray

    @classmethod
    def build(cls, arch: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> Mlp:
        """Put a description and its arrays together.

        Parameters
        ----------
        arch
            ``inputs``, ``outputs``, ``head``, ``normalisation`` (None, or ``epsilon`` and ``clip``) and ``layers``
            (each with ``units``, ``activation`` and ``alpha``). Where they apply: ``choices`` (of a MultiDiscrete
            action), ``masked``, and ``box`` (True where actions lie in another box than [-1, 1]).
        weights
            ``weight_k`` (units, inputs) and ``bias_k`` (units,) of layer k in float32; ``mean`` and ``variance``
            (inputs,) in float64 with a normalisation; ``constant`` (outputs,) in float32 with the constant head;
            ``low`` and ``high`` (outputs,) in float32 with a box.

        Raises
        ------
        BundleError
            When the two do not fit, a name is unknown, or a number is NaN or infinite.
        """
        _check_keys(arch)
        inputs, outputs, head = positive(arch, "inputs"), positive(arch, "outputs"), arch["head"]
        if head not in HEADS:
            raise BundleError(
                f"arch.json: no output head '{head}' (allowed: {', '.join(HEADS)}){did_you_mean(head, HEADS)}"
            )
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
        width = inputs
        for k, entry in enumerate(arch["layers"]):
            units = positive(entry, "units")
            known_activation(entry["activation"], f"layer {k}")
            shapes[f"weight_{k}"], shapes[f"bias_{k}"] = ((units, width), np.float32), ((units,), np.float32)
            width = units
        if head == "constant":
            shapes["constant"] = ((outputs,), np.float32)
        if (head == "constant") == bool(arch["layers"]) or (arch["layers"] and width != outputs):
            raise BundleError(
                f"arch.json: {len(arch['layers'])} layers do not lead to {outputs} outputs of head '{head}'"
            )
        choices, masked, box = tuple(arch.get("choices") or ()), arch.get("masked", False), arch.get("box", False)
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in choices)
        if not isinstance(masked, bool) or not isinstance(box, bool) or not whole:
            raise BundleError("arch.json: 'masked' and 'box' are true or false, 'choices' whole numbers above 0")
        if ((choices or masked) and head != "argmax") or (choices and sum(choices) != outputs):
            raise BundleError(f"arch.json: choices or masks do not go with {outputs} outputs of head '{head}'")
        if box:
            if head == "argmax":
                raise BundleError("arch.json: discrete actions lie in no box")
            shapes["low"] = shapes["high"] = ((outputs,), np.float32)
        if arch["normalisation"] is not None:
            shapes["mean"] = shapes["variance"] = ((inputs,), np.float64)
        check_arrays(weights, shapes)
        ends = [weights[name] if box else np.full(outputs, end, np.float32) for name, end in (("low", -1), ("high", 1))]
        if not (ends[0] <= ends[1]).all():
            raise BundleError("weights.npz: 'low' is above 'high'")
        layers = tuple(
            Layer(weights[f"weight_{k}"], weights[f"bias_{k}"], entry["activation"], float(entry.get("alpha", 0.0)))
            for k, entry in enumerate(arch["layers"])
        )
        normalisation = Normalisation.build(arch["normalisation"], weights)
        constant = weights.get("constant")
        return cls(inputs, outputs, head, normalisation, layers, constant, choices, masked, *ends)

    @property
    def discrete(self) -> bool:
        """True where actions are indices."""
        return self.head == "argmax"

    def scores(self, observation: NDArray[Any]) -> FloatArray:
        """What the last layer gives, before the head: shape (B, inputs) in, (B, outputs) out."""
        x = observed(observation, self.inputs)
        if self.constant is not None:
            return np.repeat(self.constant[None, :], len(x), axis=0)
        # Overflow shows as a number that is not finite, which the caller refuses; it needs no warning as well.
        with np.errstate(all="ignore"):
            return through(self.layers, x if self.normalisation is None else self.normalisation(x))

    def head_of(self, scores: FloatArray, masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Actions from :meth:`scores`: (B, outputs) of float32 within the box, (B,) or (B, parts) of int64.

        Raises
        ------
        BundleError
            When a mask leaves no action, or has another shape than the scores.
        """
        if self.head != "argmax":
            if self.head == "tanh":
                return np.asarray(
                    self.low + np.float32(0.5) * (np.tanh(scores) + np.float32(1)) * (self.high - self.low)
                )
            return np.asarray(np.clip(scores, self.low, self.high))
        if masks is not None:
            if masks.shape != scores.shape or masks.dtype != np.bool_:
                raise BundleError(f"a mask must be true or false in the shape {scores.shape}, received {masks.shape}")
            scores = np.where(masks, scores, np.float32(-np.inf))
        parts = np.split(scores, np.cumsum(self.choices)[:-1], axis=1) if self.choices else [scores]
        if any((part == -np.inf).all(axis=1).any() for part in parts):
            raise BundleError("the mask leaves no action")
        chosen = [np.argmax(part, axis=1) for part in parts]
        return np.asarray(np.stack(chosen, axis=1) if self.choices else chosen[0], dtype=np.int64)

    def act(self, observation: NDArray[Any], masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Actions for raw observations (B, inputs)."""
        return self.head_of(self.scores(observation), masks)


def observed(observation: NDArray[Any], inputs: int) -> FloatArray:
    """Observations as float32, their shape checked to be (B, inputs)."""
    x = np.asarray(observation, dtype=np.float32)
    if x.ndim != 2 or x.shape[1] != inputs:
        raise BundleError(f"observations must have shape (B, {inputs}), received {x.shape}")
    return x


def through(layers: Sequence[Layer], x: FloatArray) -> FloatArray:
    """Layers one after the other, on the last axis."""
    for layer in layers:
        x = ACTIVATIONS[layer.activation](x @ layer.weight.T + layer.bias, layer.alpha)
    return np.asarray(x)


def known_activation(name: object, where: str) -> None:
    """BundleError with the nearest match where there is no such activation."""
    if name not in ACTIVATIONS:
        raise BundleError(
            f"arch.json: no activation '{name}' in {where} (allowed: {', '.join(ACTIVATIONS)})"
            f"{did_you_mean(str(name), ACTIVATIONS)}"
        )


def _check_keys(arch: Mapping[str, Any]) -> None:
    known = {"inputs", "outputs", "head", "normalisation", "layers"}
    optional = {"kind", "choices", "masked", "box"}
    odd = sorted(known - set(arch) | set(arch) - known - optional)
    if odd:
        allowed = ", ".join(sorted(known | optional))
        raise BundleError(f"arch.json: missing or unknown entry '{odd[0]}' (allowed: {allowed})")


def positive(entry: Mapping[str, Any], key: str) -> int:
    """A whole number above 0; BundleError where it is none."""
    value = entry[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BundleError(f"arch.json: '{key}' must be a positive whole number, received {value!r}")
    return value


def check_arrays(
    weights: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
) -> None:
    """BundleError where an array is missing, extra, of another shape or type, or not finite."""
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
