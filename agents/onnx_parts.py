"""Putting an ONNX graph together: nodes and constants by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["Graph"]


class Graph:
    """Nodes and constants of a graph that reads ``observation``."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._named: set[str] = set()

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node; the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: type[np.generic]) -> str:
        """A constant; the same name again is the same constant."""
        if name not in self._named:
            self._named.add(name)
            self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype).copy(order="C"), name))
        return name

    def batch(self) -> str:
        """The number of observations, as a shape of one entry."""
        if "batch_size" not in self._named:
            self._named.add("batch_size")
            ends = [self.constant("from_0", [0], np.int64), self.constant("to_1", [1], np.int64)]
            self.add("Slice", [self.add("Shape", ["observation"], "shape"), *ends], "batch_size")
        return "batch_size"

    def columns(self, x: str, first: int, last: int, output: str) -> str:
        """Columns ``first`` to ``last - 1`` of (batch, n)."""
        ends = [self.constant(f"at_{n}", [n], np.int64) for n in (first, last, 1)]
        return self.add("Slice", [x, *ends], output)
