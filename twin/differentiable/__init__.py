"""The differentiable twin: the same period in torch, with gradients through a whole horizon.

What :mod:`twin.kernel` does in place, here is a function from state to state, on any device and in any floating-point
precision. docs/model.md is the definition of both. Nothing else in ``twin`` imports this package, so that torch is only
needed where it is used.
"""

from twin.differentiable.engine import DifferentiableTwin, Policy
from twin.differentiable.state import TensorDraws, TensorState
from twin.differentiable.tensors import Rounding

__all__ = ["DifferentiableTwin", "Policy", "Rounding", "TensorDraws", "TensorState"]
