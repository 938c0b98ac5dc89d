"""The ONNX form of a policy: normalisation, layers, head and clipping in one graph; raw observations to actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from agents.runtime import Mlp

__all__ = ["OPSET", "build_onnx"]

#: Old enough for the runtimes of embedded controllers, new enough for everything used here.
OPSET = 13
_IR_VERSION = 7

_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "elu": "Elu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid"}


def build_onnx(policy: Mlp) -> ModelProto:
    """A graph with input ``observation`` (batch, inputs) float32 and output ``action``.

    The action is (batch, outputs) float32 in [-1, 1], or (batch,) int64 for discrete actions. The normalisation is
    computed in float64, as in :class:`agents.runtime.Mlp`.
    """
    nodes: list[Any] = []
    constants: list[Any] = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(name: str, value: Any, dtype: type[np.generic]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    x = "observation"
    if policy.constant is not None:
        batch = add(
            "Slice",
            [add("Shape", [x], "shape"), constant("zero", [0], np.int64), constant("one", [1], np.int64)],
            "batch",
        )
        size = add("Concat", [batch, constant("outputs", [policy.outputs], np.int64)], "size", axis=0)
        x = add("Expand", [constant("constant", policy.constant[None, :], np.float32), size], "expanded")
    if policy.mean is not None and policy.deviation is not None and policy.constant is None:
        wide = add("Cast", [x], "wide", to=TensorProto.DOUBLE)
        centred = add("Sub", [wide, constant("mean", policy.mean, np.float64)], "centred")
        normal = add("Div", [centred, constant("deviation", policy.deviation, np.float64)], "normal")
        bounds = [constant("clip_low", -policy.clip, np.float64), constant("clip_high", policy.clip, np.float64)]
        x = add("Cast", [add("Clip", [normal, *bounds], "clipped")], "normalised", to=TensorProto.FLOAT)
    for k, layer in enumerate(policy.layers):
        weight = constant(f"weight_{k}", layer.weight, np.float32)
        bias = constant(f"bias_{k}", layer.bias, np.float32)
        x = add("Gemm", [x, weight, bias], f"linear_{k}", transB=1)
        if layer.activation == "silu":
            x = add("Mul", [x, add("Sigmoid", [x], f"gate_{k}")], f"active_{k}")
        elif layer.activation != "identity":
            slope = {"alpha": layer.alpha} if layer.activation in {"elu", "leaky_relu"} else {}
            x = add(_ACTIVATIONS[layer.activation], [x], f"active_{k}", **slope)
    if policy.head == "argmax":
        add("ArgMax", [x], "action", axis=1, keepdims=0)
    elif policy.head == "tanh":
        add("Tanh", [x], "action")
    else:
        add("Clip", [x, constant("low", -1.0, np.float32), constant("high", 1.0, np.float32)], "action")

    discrete = policy.head == "argmax"
    kind = TensorProto.INT64 if discrete else TensorProto.FLOAT
    shape: list[str | int | None] = ["batch"] if discrete else ["batch", policy.outputs]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", policy.inputs])],
        [helper.make_tensor_value_info("action", kind, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="cogtwin")
    model.ir_version = _IR_VERSION
    checker.check_model(model)
    return model
