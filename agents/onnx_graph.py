"""The ONNX form of a network: normalisation, layers, head and clipping in one graph; raw observations to actions.

Where a scale per arc and the order sequence are all it takes, the orders are in the graph too.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper

from agents.bundle_spec import SCALED, Spec
from agents.onnx_orders import add_orders
from agents.onnx_parts import Graph
from agents.runtime import Layer, Mlp, Net, Normalisation
from agents.runtime_arcs import ArcNet
from twin.errors import BundleError

__all__ = ["OPSET", "build_onnx"]

#: Old enough for the runtimes of embedded controllers, new enough for everything used here.
OPSET = 13
_IR_VERSION = 7

_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "elu": "Elu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid"}


def build_onnx(net: Net, spec: Spec | None = None) -> ModelProto:
    """A graph with input ``observation`` (batch, inputs) float32, and ``mask`` (batch, outputs) bool if it heeds one.

    Outputs: ``action``, (batch, outputs) float32 within the box, (batch,) int64 for discrete actions or (batch, parts)
    for a MultiDiscrete one. With a spec of a mode in :data:`agents.bundle_spec.SCALED` also ``targets`` and ``orders``,
    (batch, arcs) float64 in units, before minimum, lots, maximum and limits. The normalisation is computed in float64,
    as in :mod:`agents.runtime`.
    """
    graph = Graph()
    if isinstance(net, Mlp):
        scores = _layers(graph, net)
        _head(graph, net, scores)
    elif isinstance(net, ArcNet):
        scores = _arcs(graph, net)
        ends = [graph.constant("low", -1.0, np.float32), graph.constant("high", 1.0, np.float32)]
        graph.add("Clip", [scores, *ends], "action")
    else:
        raise BundleError(f"no ONNX form of {type(net).__name__}")
    parts = len(net.choices) if isinstance(net, Mlp) else 0
    shape: list[str | int | None] = ["batch", parts or net.outputs] if parts or not net.discrete else ["batch"]
    outputs = [helper.make_tensor_value_info("action", TensorProto.INT64 if net.discrete else TensorProto.FLOAT, shape)]
    if spec is not None and spec.mode in SCALED:
        add_orders(graph, spec)
        arcs: list[str | int | None] = ["batch", spec.arcs]
        outputs += [helper.make_tensor_value_info(name, TensorProto.DOUBLE, arcs) for name in ("targets", "orders")]
    inputs = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", net.inputs])]
    if net.masked:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", net.outputs]))
    made = helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="cogtwin")
    model.ir_version = _IR_VERSION
    checker.check_model(model)
    return model


def _layers(graph: Graph, net: Mlp) -> str:
    """What the last layer gives."""
    if net.constant is not None:
        size = graph.add("Concat", [graph.batch(), graph.constant("outputs", [net.outputs], np.int64)], "size", axis=0)
        return graph.add("Expand", [graph.constant("constant", net.constant[None, :], np.float32), size], "expanded")
    x = _normalised(graph, net.normalisation)
    for k, layer in enumerate(net.layers):
        weight = graph.constant(f"weight_{k}", layer.weight, np.float32)
        bias = graph.constant(f"bias_{k}", layer.bias, np.float32)
        x = _active(graph, graph.add("Gemm", [x, weight, bias], f"linear_{k}", transB=1), layer, k)
    return x


def _head(graph: Graph, net: Mlp, scores: str) -> None:
    """From scores to the output ``action``."""
    if net.head == "argmax":
        if net.masked:
            lowest = graph.constant("impossible", np.finfo(np.float32).min, np.float32)
            scores = graph.add("Where", ["mask", scores, lowest], "possible")
        if not net.choices:
            graph.add("ArgMax", [scores], "action", axis=1, keepdims=0)
            return
        ends = np.cumsum([0, *net.choices]).tolist()
        parts = [
            graph.add("ArgMax", [graph.columns(scores, first, last, f"part_{k}")], f"choice_{k}", axis=1, keepdims=1)
            for k, (first, last) in enumerate(pairwise(ends))
        ]
        graph.add("Concat", parts, "action", axis=1)
        return
    low = graph.constant("low", net.low, np.float32)
    if net.head == "tanh":
        one = graph.constant("one", 1.0, np.float32)
        half = graph.constant("half", np.float32(0.5) * (net.high - net.low), np.float32)
        lifted = graph.add("Add", [graph.add("Tanh", [scores], "squashed"), one], "lifted")
        graph.add("Add", [low, graph.add("Mul", [lifted, half], "reached")], "action")
    else:
        above = graph.add("Max", [scores, low], "above")
        graph.add("Min", [above, graph.constant("high", net.high, np.float32)], "action")


def _arcs(graph: Graph, net: ArcNet) -> str:
    """What the network of all arcs gives before it is clipped, (batch, arcs)."""
    x = _normalised(graph, net.normalisation)
    batch, one = graph.batch(), graph.constant("one_column", [1], np.int64)
    zeros = graph.add("ConstantOfShape", [graph.add("Concat", [batch, one], "column", axis=0)], "zeros",
                      value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))  # fmt: skip
    padded = graph.add("Concat", [x, zeros], "padded", axis=1)
    seen = graph.add("Gather", [padded, graph.constant("columns", net.columns, np.int64)], "seen", axis=1)
    inner = _dense(graph, seen, net.first, 0)
    inner = graph.add("Add", [inner, graph.constant("offset", net.offset, np.float32)], "told_apart")
    if net.clock is not None:
        clock = net.clock
        column = graph.columns(x, clock.column, clock.column + 1, "shown")
        scale = [graph.constant(f"clock_{k}", clock.scale[k], np.float32) for k in (0, 1)]
        left = graph.add(
            "Round", [graph.add("Add", [graph.add("Mul", [column, scale[1]], "spread"), scale[0]], "raw")], "left"
        )
        spare = graph.add(
            "Sub", [left, graph.constant("covers", (clock.covers - 1)[None].astype(np.float32), np.float32)], "spare"
        )
        ends = [graph.constant("none", 0.0, np.float32), graph.constant("most", clock.horizon + 1.0, np.float32)]
        rows = graph.add("Cast", [graph.add("Clip", [spare, *ends], "bounded")], "rows", to=TensorProto.INT64)
        told = graph.add("Gather", [graph.constant("clock_table", clock.table, np.float32), rows], "told", axis=0)
        inner = graph.add("Add", [inner, told], "timed")
    own = _active(graph, inner, net.first, 0)
    parts = [own]
    for kind, mean in net.means.items():
        parts.append(graph.add("MatMul", [graph.constant(f"mean_{kind}", mean, np.float32), own], f"of_{kind}"))
    if net.outputs > 1:
        average = graph.constant("average", np.full((net.outputs, net.outputs), 1.0 / net.outputs), np.float32)
        parts.append(graph.add("MatMul", [average, own], "of_all"))
    x = graph.add("Concat", parts, "together", axis=2) if len(parts) > 1 else own
    for k, layer in enumerate(net.rest, start=1):
        x = _active(graph, _dense(graph, x, layer, k), layer, k)
    axis = graph.constant("last_axis", [2], np.int64)
    return graph.add(
        "Mul", [graph.add("Squeeze", [x, axis], "output"), graph.constant("gain", net.gain, np.float32)], "scaled"
    )


def _dense(graph: Graph, x: str, layer: Layer, k: int) -> str:
    weight = graph.constant(f"weight_{k}", layer.weight.T, np.float32)
    product = graph.add("MatMul", [x, weight], f"product_{k}")
    return graph.add("Add", [product, graph.constant(f"bias_{k}", layer.bias, np.float32)], f"linear_{k}")


def _active(graph: Graph, x: str, layer: Layer, k: int) -> str:
    if layer.activation == "identity":
        return x
    if layer.activation == "silu":
        return graph.add("Mul", [x, graph.add("Sigmoid", [x], f"gate_{k}")], f"active_{k}")
    slope = {"alpha": layer.alpha} if layer.activation in {"elu", "leaky_relu"} else {}
    return graph.add(_ACTIVATIONS[layer.activation], [x], f"active_{k}", **slope)


def _normalised(graph: Graph, normalisation: Normalisation | None) -> str:
    if normalisation is None:
        return "observation"
    wide = graph.add("Cast", ["observation"], "wide", to=TensorProto.DOUBLE)
    centred = graph.add("Sub", [wide, graph.constant("mean", normalisation.mean, np.float64)], "centred")
    normal = graph.add("Div", [centred, graph.constant("deviation", normalisation.deviation, np.float64)], "normal")
    ends = [
        graph.constant(f"clip_{name}", sign * normalisation.clip, np.float64)
        for name, sign in (("low", -1), ("high", 1))
    ]
    return graph.add("Cast", [graph.add("Clip", [normal, *ends], "clipped")], "normalised", to=TensorProto.FLOAT)
