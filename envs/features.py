"""Named observation fields: name, unit, bounds, and how to read each off the twin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork
    from twin.demand import Demand
    from twin.engine import Twin

__all__ = ["Field", "Observation", "inventory_observation", "spec_hash"]

FloatArray = NDArray[np.float64]

#: Pipeline stock is shown by how soon it arrives: next period, 2-4, 5-12, and 13 or more periods ahead.
ARRIVAL_EDGES = (0, 1, 4, 12)

#: Bounds of a quantity, in multiples of the demand that its slowest lead time covers. Beyond them a field saturates.
_SPAN = 20.0


@dataclass(frozen=True)
class Field:
    """One number of an observation.

    Attributes
    ----------
    name
        ``quantity[entity]``, unique in an observation.
    unit
        Unit of the number (``1`` for a share).
    low, high
        Bounds; the number is clipped to them.
    description
        What it says, in one sentence.
    """

    name: str
    unit: str
    low: float
    high: float
    description: str


class View(NamedTuple):
    """What fields are read from: a twin at a decision epoch, arc positions (A, B), periods left (B,)."""

    twin: Twin
    position: FloatArray
    periods_left: FloatArray


#: Fills rows of shape (fields, B).
_Reader = Callable[[View, FloatArray], None]


class Observation:
    """Ordered fields and their readers.

    Attributes
    ----------
    fields
        In the order of the observation vector.
    """

    def __init__(self, blocks: Sequence[tuple[Sequence[Field], _Reader]]) -> None:
        self.fields: tuple[Field, ...] = tuple(field for fields, _ in blocks for field in fields)
        self._readers: list[tuple[slice, _Reader]] = []
        start = 0
        for fields, reader in blocks:
            self._readers.append((slice(start, start + len(fields)), reader))
            start += len(fields)
        self.low = np.array([field.low for field in self.fields], dtype=np.float32)
        self.high = np.array([field.high for field in self.fields], dtype=np.float32)

    def read(self, twin: Twin, position: FloatArray, periods_left: FloatArray) -> NDArray[np.float32]:
        """Observe all replicas.

        Parameters
        ----------
        twin
            At a decision epoch.
        position
            Inventory position of every arc, shape (A, B).
        periods_left
            Periods until the episode ends, shape (B,).

        Returns
        -------
        ndarray of float32, shape (B, len(fields))
        """
        out = np.empty((len(self.fields), twin.state.replicas))
        view = View(twin, position, periods_left)
        for rows, reader in self._readers:
            reader(view, out[rows])
        values = np.ascontiguousarray(out.T, dtype=np.float32)
        return np.clip(values, self.low, self.high, out=values)


def spec_hash(fields: Sequence[Field]) -> str:
    """SHA-256 of the ordered fields: a policy and a state that differ in it must not meet."""
    text = json.dumps([asdict(field) for field in fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def inventory_observation(compiled: CompiledNetwork, *, finite: bool, horizon: int) -> Observation:
    """The observation of inventory decisions on any network.

    Stock, backlog, last demand, the inventory position each order is decided on, units in transit by arc and by how
    soon they arrive, resource status, the season where demand has one, and the time left where the horizon is finite.

    Parameters
    ----------
    compiled
        The network.
    finite
        Whether the horizon is finite, so that the time left matters.
    horizon
        Periods of an episode.
    """
    network, top = compiled.network, compiled.topology
    longest = np.zeros(compiled.n_stocks)
    delay = np.diff(top.mail_ptr)
    np.maximum.at(longest, top.arc_destination, (np.diff(top.pipe_ptr) + delay).astype(np.float64))
    growth = compiled.largest_known_factor(horizon)
    scale = np.maximum(compiled.demand_rate * growth * (longest + 1.0), 1.0) + compiled.initial_on_hand
    stock_high = _SPAN * scale
    demand_high = _SPAN * np.array(
        [max(1.0, growth * max(s.mean_value for s in seasons)) for seasons in compiled.demand_distributions]
    )
    blocks: list[tuple[list[Field], _Reader]] = []

    blocks.append(
        (
            [
                Field(f"on_hand[{name}]", unit, 0.0, _round(high), "Units on hand.")
                for name, unit, high in zip(compiled.stock_names, compiled.stock_units, stock_high, strict=True)
            ],
            partial(_read_array, "on_hand"),
        )
    )
    blocks.append(
        (
            [
                Field(
                    f"position[{name}]",
                    unit,
                    -_round(stock_high[i]),
                    _round(stock_high[i]),
                    "On hand minus owed plus what arrives within the arc's lead time: what an order adds to.",
                )
                for name, unit, i in zip(compiled.arc_names, compiled.arc_units, top.arc_destination, strict=True)
            ],
            _read_position,
        )
    )
    blocks.append(
        (
            [
                Field(
                    f"in_transit[{name}]", unit, 0.0, _round(stock_high[i]), "Units ordered on the arc and under way."
                )
                for name, unit, i in zip(compiled.arc_names, compiled.arc_units, top.arc_destination, strict=True)
            ],
            partial(_read_array, "in_transit"),
        )
    )
    posted = np.flatnonzero(delay)
    if len(posted):
        blocks.append(
            (
                [
                    Field(
                        f"in_mail[{compiled.arc_names[a]}]",
                        compiled.arc_units[a],
                        0.0,
                        _round(stock_high[top.arc_destination[a]]),
                        "Units ordered on the arc whose order has not reached the source.",
                    )
                    for a in posted
                ],
                partial(_read_mail, tuple(slice(top.mail_ptr[a], top.mail_ptr[a + 1]) for a in posted)),
            )
        )
    blocks.append(_arrival_block(compiled, stock_high, longest))
    demand_units = [network.products[d.product].unit for d in network.demands.values()]
    demand_stock = top.demand_stock
    backlogs = np.flatnonzero(top.demand_backlogs)
    if len(backlogs):
        blocks.append(
            (
                [
                    Field(
                        f"backlog[{compiled.demand_names[d]}]",
                        demand_units[d],
                        0.0,
                        _round(stock_high[demand_stock[d]]),
                        "Units owed to customers.",
                    )
                    for d in backlogs
                ],
                partial(_read_rows, "backlog", backlogs),
            )
        )
    blocks.append(
        (
            [
                Field(f"demand[{name}]", unit, 0.0, _round(high), "Units asked for in the latest period.")
                for name, unit, high in zip(compiled.demand_names, demand_units, demand_high, strict=True)
            ],
            partial(_read_array, "demand"),
        )
    )
    perishable = np.flatnonzero(top.stock_life)
    if len(perishable):
        blocks.append(_life_block(compiled, perishable, stock_high))
    # What is known of coming demand, where it is more than a mean and a season.
    told = np.array([d for d, entry in enumerate(network.demands.values()) if _is_told(entry)], dtype=np.int64)
    if len(told):
        blocks.append(
            (
                [
                    Field(
                        f"expected[{compiled.demand_names[d]}]",
                        demand_units[d],
                        0.0,
                        _round(_most_expected(compiled, int(d), demand_high[d])),
                        "Units expected in the period that the decision is for: forecast, or mean x trend x events.",
                    )
                    for d in told
                ],
                partial(_read_expected, told),
            )
        )
    limited = np.flatnonzero(compiled.resource_share_when_down < 1.0)
    if len(limited):
        blocks.append(
            (
                [
                    Field(
                        f"availability[{compiled.resource_names[r]}]",
                        "1",
                        0.0,
                        1.0,
                        "Share of capacity that works now.",
                    )
                    for r in limited
                ],
                partial(_read_rows, "availability", limited),
            )
        )
    cycle = compiled.seasonal_cycle
    if cycle > 1:
        blocks.append(
            (
                [
                    Field("season_sin", "1", -1.0, 1.0, f"Sine of the position in the {cycle}-period season."),
                    Field("season_cos", "1", -1.0, 1.0, f"Cosine of the position in the {cycle}-period season."),
                ],
                partial(_read_season, cycle),
            )
        )
    if finite:
        blocks.append(
            (
                [Field("periods_left", network.period, 0.0, float(horizon), "Periods until the horizon ends.")],
                _read_periods_left,
            )
        )
    return Observation(blocks)


def _arrival_block(
    compiled: CompiledNetwork, stock_high: FloatArray, longest: FloatArray
) -> tuple[list[Field], _Reader]:
    """Per stock point, units that arrive in each band of periods ahead."""
    edges = np.array(ARRIVAL_EDGES, dtype=np.int64)
    bands = len(ARRIVAL_EDGES)
    fields, rows = [], []
    for i, (name, unit) in enumerate(zip(compiled.stock_names, compiled.stock_units, strict=True)):
        for k in range(bands):
            if edges[k] >= longest[i]:
                continue
            end = edges[k + 1] if k + 1 < bands else longest[i]
            first, last = int(edges[k]) + 1, int(min(end, longest[i]))
            band = f"{first}" if first == last else f"{first}-{last}"
            fields.append(
                Field(
                    f"arriving[{name}:{band}]",
                    unit,
                    0.0,
                    _round(stock_high[i]),
                    f"Units that arrive {band} receipts ahead.",
                )
            )
            rows.append(i * bands + k)
    keep = np.array(rows, dtype=np.int64)

    return fields, partial(_read_arrivals, edges, keep)


def _life_block(
    compiled: CompiledNetwork, perishable: NDArray[np.int64], stock_high: FloatArray
) -> tuple[list[Field], _Reader]:
    """Per perishable stock point, units by remaining life."""
    top = compiled.topology
    fields, rows = [], []
    for i in perishable:
        layers = np.arange(top.layer_ptr[i], top.layer_ptr[i + 1])
        for life in range(1, int(top.stock_life[i]) + 1):
            name = f"life[{compiled.stock_names[i]}:{life}]"
            text = f"Units on hand that can be used in {life} more period(s)."
            fields.append(Field(name, compiled.stock_units[i], 0.0, _round(stock_high[i]), text))
            rows.append(layers[top.layer_life[layers] == life])
    return fields, partial(_read_life, tuple(rows))


def _is_told(demand: Demand) -> bool:
    return demand.forecast is not None or demand.moves


def _most_expected(compiled: CompiledNetwork, d: int, usual: float) -> float:
    """Bound of an expected demand: the usual one of a demand, or the largest that a forecast names."""
    forecast = compiled.network.demands[compiled.demand_names[d]].forecast
    return usual if forecast is None else max(usual, *forecast.values)


# Readers are module functions with their arguments bound, not closures: environments can be pickled.


def _read_array(name: str, view: View, out: FloatArray) -> None:
    out[...] = getattr(view.twin.state.arrays, name)


def _read_rows(name: str, rows: NDArray[np.int64], view: View, out: FloatArray) -> None:
    out[...] = getattr(view.twin.state.arrays, name)[rows]


def _read_mail(slots: tuple[slice, ...], view: View, out: FloatArray) -> None:
    for k, rows in enumerate(slots):
        out[k] = view.twin.state.arrays.mail[rows].sum(axis=0)


def _read_life(rows: tuple[NDArray[np.int64], ...], view: View, out: FloatArray) -> None:
    layers = view.twin.state.arrays.layers
    for k, members in enumerate(rows):
        out[k] = layers[members].sum(axis=0)


def _read_expected(streams: NDArray[np.int64], view: View, out: FloatArray) -> None:
    twin = view.twin
    for k, d in enumerate(streams):
        out[k] = twin.compiled.expected_demand(int(d), twin.state.period + twin.tape.demand_offset)


def _read_position(view: View, out: FloatArray) -> None:
    out[...] = view.position


def _read_periods_left(view: View, out: FloatArray) -> None:
    out[...] = view.periods_left


def _read_arrivals(edges: NDArray[np.int64], keep: NDArray[np.int64], view: View, out: FloatArray) -> None:
    out[...] = view.twin.arrivals(edges)[keep]


def _read_season(cycle: int, view: View, out: FloatArray) -> None:
    angle = (2.0 * np.pi / cycle) * (view.twin.state.period % cycle)
    np.sin(angle, out=out[0])
    np.cos(angle, out=out[1])


def _round(value: float) -> float:
    """A bound with two significant digits, rounded up, so that specifications stay readable."""
    digits = int(np.floor(np.log10(value))) - 1
    return float(np.ceil(value / 10.0**digits) * 10.0**digits)


def fields_from_spec(entries: Sequence[dict[str, Any]]) -> tuple[Field, ...]:
    """Fields from their JSON form."""
    return tuple(Field(**entry) for entry in entries)
