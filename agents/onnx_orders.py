"""Action decoding inside an ONNX graph: from the action and the observed positions to levels and orders."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from agents.bundle_spec import Spec
from agents.onnx_parts import Graph
from envs.actions import NOTCHES
from twin.errors import BundleError

__all__ = ["add_orders"]


def add_orders(graph: Graph, spec: Spec) -> None:
    """Add the outputs ``targets`` and ``orders`` (batch, arcs) in float64 to a graph that has ``action``.

    The same arithmetic as :meth:`agents.bundle_spec.Spec.decode`, positions being those of the observation in float32.
    """
    codec = spec.codec
    if codec is None:
        raise BundleError(f"no graph decodes the action mode '{spec.mode}'")
    wide = np.float64
    unit = graph.add("Cast", ["action"], "unit", to=TensorProto.DOUBLE)
    zero = graph.constant("nothing", 0.0, wide)
    if spec.mode == "discrete":
        # One notch for all arcs: (batch,) to (batch, 1).
        column = graph.add("Unsqueeze", [unit, graph.constant("second_axis", [1], np.int64)], "notch")
        twice = graph.add("Mul", [column, graph.constant("two", 2.0, wide)], "twice")
        share = graph.add("Div", [twice, graph.constant("notches", NOTCHES - 1.0, wide)], "share")
        unit = graph.add("Sub", [share, graph.constant("one_unit", 1.0, wide)], "centred_share")
    ends = [graph.constant("unit_low", -1.0, wide), graph.constant("unit_high", 1.0, wide)]
    unit = graph.add("Clip", [unit, *ends], "unit_clipped")
    up = graph.constant("step_up", codec.high - codec.center, wide)
    down = graph.constant("step_down", codec.center - codec.low, wide)
    above = graph.add("GreaterOrEqual", [unit, zero], "above_center")
    reach = graph.add("Mul", [unit, graph.add("Where", [above, up, down], "step")], "reach")
    graph.add("Add", [graph.constant("center", codec.center, wide), reach], "targets")
    if not codec.up_to:
        graph.add("Max", ["targets", zero], "orders")
        return
    _order_up_to(graph, spec)


def _order_up_to(graph: Graph, spec: Spec) -> None:
    """Orders that raise positions to the targets: downstream first, nearest arc first, each limited."""
    columns, sequence = spec.position_columns(), spec.sequence
    seen = graph.add("Gather", ["observation", graph.constant("position_columns", columns, np.int64)], "held", axis=1)
    positions = graph.add("Cast", [seen], "positions", to=TensorProto.DOUBLE)
    zero = graph.constant("nothing", 0.0, np.float64)
    drawn: dict[int, str] = {}
    ordered: dict[int, str] = {}
    for group, stock in zip(sequence.groups, sequence.destinations, strict=True):
        for k, a in enumerate(group):
            have = graph.columns(positions, a, a + 1, f"have_{a}")
            for nearer in group[:k]:
                have = graph.add("Add", [have, ordered[nearer]], f"have_{a}_with_{nearer}")
            if stock in drawn:
                have = graph.add("Sub", [have, drawn[stock]], f"have_{a}_left")
            lacks = graph.add("Sub", [graph.columns("targets", a, a + 1, f"target_{a}"), have], f"lacks_{a}")
            order = graph.add("Max", [lacks, zero], f"wanted_{a}")
            if np.isfinite(sequence.limits[a]):
                order = graph.add(
                    "Min", [order, graph.constant(f"limit_{a}", sequence.limits[a], np.float64)], f"order_{a}"
                )
            ordered[a] = order
            for source, coefficient in sequence.inputs[a]:
                part = order
                if coefficient != 1.0:
                    times = graph.constant(f"takes_{a}_{source}", coefficient, np.float64)
                    part = graph.add("Mul", [order, times], f"part_{a}_{source}")
                before = drawn.get(source)
                drawn[source] = part if before is None else graph.add("Add", [before, part], f"drawn_{source}_{a}")
    graph.add("Concat", [ordered[a] for a in range(spec.arcs)], "orders", axis=1)
