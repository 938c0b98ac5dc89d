"""Codecs between a policy's action and the orders on every arc.

A codec is plain numpy and plain data: the same object decodes in an environment, encodes for a classical policy, and
travels inside an exported bundle as JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.echelon import safety_span
from twin.errors import ActionError, did_you_mean

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["ACTION_MODES", "ActionMode", "Codec", "OrderSequence", "codec_from_spec", "make_codec"]

FloatArray = NDArray[np.float64]
ActionMode = Literal["base_stock", "quantity", "discrete", "echelon"]
ACTION_MODES: tuple[ActionMode, ...] = get_args(ActionMode)

#: Half width of the base-stock box in standard deviations of lead-time demand, where that is more than the mean.
_DEVIATIONS = 4.0
#: Upper end of the quantity box in multiples of the destination's demand rate.
_QUANTITY_SPAN = 3.0
#: Actions of the discrete mode.
NOTCHES = 21


@dataclass(frozen=True)
class OrderSequence:
    """In which order base-stock orders are decided (see :func:`twin.kernel.base_stock_orders`).

    Attributes
    ----------
    groups
        Arcs by destination stock point, downstream stock points first, nearest arc first.
    destinations
        The stock point of each group.
    inputs
        Per arc, the (stock point, coefficient) pairs it consumes.
    stocks
        Number of stock points.
    limits
        Per arc, the most that is worth ordering in a period, units; infinite where there is no limit.
    """

    groups: tuple[tuple[int, ...], ...]
    destinations: tuple[int, ...]
    inputs: tuple[tuple[tuple[int, float], ...], ...]
    stocks: int
    limits: tuple[float, ...]

    @classmethod
    def of(cls, compiled: CompiledNetwork) -> OrderSequence:
        """The sequence of a compiled network."""
        top = compiled.topology
        groups, destinations = [], []
        for i in top.sequence:
            arcs = top.group_arc[top.group_ptr[i] : top.group_ptr[i + 1]]
            if len(arcs):
                groups.append(tuple(int(a) for a in arcs))
                destinations.append(int(i))
        inputs = tuple(
            tuple((int(top.in_stock[j]), float(top.in_coefficient[j])) for j in range(top.in_ptr[a], top.in_ptr[a + 1]))
            for a in range(compiled.n_arcs)
        )
        limits = tuple(float(limit) for limit in top.arc_order_limit)
        return cls(tuple(groups), tuple(destinations), inputs, compiled.n_stocks, limits)

    def decide(self, rule: Callable[[int, FloatArray], FloatArray], position: FloatArray) -> FloatArray:
        """Orders of a rule, stock points downstream first and arcs into one of them nearest first.

        Parameters
        ----------
        rule
            Called with an arc and what it has, () or (B,): its position, plus what nearer arcs into the same stock
            point have just ordered, minus what the arcs that it feeds have just ordered from it. Gives the order that
            the arc would like, which is cut to between 0 and its limit.
        position
            Inventory positions, (A,) or (A, B) units.

        Returns
        -------
        ndarray
            Units, in the shape of ``position``.
        """
        orders = np.zeros(position.shape)
        drawn = np.zeros((self.stocks, *position.shape[1:]))
        for arcs, i in zip(self.groups, self.destinations, strict=True):
            for k, a in enumerate(arcs):
                have = position[a]
                for nearer in arcs[:k]:
                    have = have + orders[nearer]
                orders[a] = np.minimum(np.maximum(rule(a, have - drawn[i]), 0.0), self.limits[a])
                for source, coefficient in self.inputs[a]:
                    drawn[source] += coefficient * orders[a]
        return orders

    def orders_up_to(self, levels: FloatArray, position: FloatArray) -> FloatArray:
        """Orders that raise each arc's position to its level.

        Parameters
        ----------
        levels
            (A,) or (A, B) units.
        position
            (A,) or (A, B) units.
        """
        return self.decide(lambda a, have: levels[a] - have, position)

    def levels_for(self, orders: FloatArray, position: FloatArray) -> FloatArray:
        """Levels whose :meth:`orders_up_to` are the given orders (up to the limits); shapes as there."""
        levels = np.zeros(position.shape)

        def rule(a: int, have: FloatArray) -> FloatArray:
            levels[a] = have + orders[a]
            return np.asarray(orders[a])

        self.decide(rule, position)
        return levels

    def to_spec(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "groups": [list(group) for group in self.groups],
            "destinations": list(self.destinations),
            "inputs": [[list(pair) for pair in pairs] for pairs in self.inputs],
            "stocks": self.stocks,
            "limits": [limit if np.isfinite(limit) else None for limit in self.limits],
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> OrderSequence:
        """From :meth:`to_spec`'s data."""
        return cls(
            tuple(tuple(int(a) for a in group) for group in spec["groups"]),
            tuple(int(i) for i in spec["destinations"]),
            tuple(tuple((int(i), float(c)) for i, c in pairs) for pairs in spec["inputs"]),
            int(spec["stocks"]),
            tuple(np.inf if limit is None else float(limit) for limit in spec["limits"]),
        )


@dataclass(frozen=True)
class Codec(ABC):
    """A piecewise linear scale per arc: -1 means ``low``, 0 means ``center``, 1 means ``high``.

    Attributes
    ----------
    center, low, high
        Shape (A,), units: base-stock levels, order quantities or safety amounts.
    """

    center: FloatArray
    low: FloatArray
    high: FloatArray

    #: Name of the action mode.
    mode = ""
    #: Whether its actions send cargo by departures and itineraries (:mod:`envs.routing_actions`).
    routes = False

    @property
    def arcs(self) -> int:
        """Number of arcs A."""
        return len(self.center)

    def scale(self, unit_action: FloatArray) -> FloatArray:
        """From [-1, 1] to units; shape (B, A) in, (A, B) out."""
        action = np.clip(np.asarray(unit_action, dtype=np.float64), -1.0, 1.0).T
        center = self.center[:, None]
        step = np.where(action >= 0.0, (self.high - self.center)[:, None], (self.center - self.low)[:, None])
        return np.asarray(center + action * step)

    def unscale(self, value: FloatArray) -> FloatArray:
        """From units (A,) or (A, B) to [-1, 1] (A,) or (B, A); what lies outside the box is clipped."""
        value = np.asarray(value, dtype=np.float64).T
        step = np.where(value >= self.center, self.high - self.center, self.center - self.low)
        out = np.zeros(value.shape)
        np.divide(value - self.center, step, out=out, where=step > 0.0)
        return np.clip(out, -1.0, 1.0)

    @property
    @abstractmethod
    def up_to(self) -> bool:
        """True when the decoded numbers are levels to order up to from what the arc's position holds now."""

    @abstractmethod
    def targets(self, action: NDArray[Any]) -> FloatArray:
        """Levels, quantities or safety amounts, shape (A, B) in units, of a batch of actions."""

    @abstractmethod
    def encode(self, targets: FloatArray) -> NDArray[Any]:
        """The action (...) whose decoded targets come nearest to ``targets`` (A,); actions (B, ...) for (A, B)."""

    def to_spec(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "mode": self.mode,
            "center": self.center.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        }


class BoxCodec(Codec):
    """Box[-1, 1]: one number for each arc."""

    @property
    def up_to(self) -> bool:
        return False

    def targets(self, action: NDArray[Any]) -> FloatArray:
        return self.scale(action)

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        return self.unscale(targets).astype(np.float32)


class BaseStockCodec(BoxCodec):
    """The level to order up to on each arc."""

    mode = "base_stock"

    @property
    def up_to(self) -> bool:
        return True


class QuantityCodec(BoxCodec):
    """The quantity to order on each arc."""

    mode = "quantity"


class EchelonCodec(BoxCodec):
    """The safety amount of each arc, on top of a demand that moves with forecast and horizon.

    The orders are those of :class:`envs.echelon.EchelonRule`, which needs the calendar; the task holds it.
    """

    mode = "echelon"


class DiscreteCodec(Codec):
    """Discrete(21): one notch from low to high for the base-stock levels of all arcs together."""

    mode = "discrete"

    @property
    def up_to(self) -> bool:
        return True

    def targets(self, action: NDArray[Any]) -> FloatArray:
        notch = np.asarray(action, dtype=np.float64).reshape(-1)
        unit = 2.0 * notch / (NOTCHES - 1) - 1.0
        return self.scale(np.repeat(unit[:, None], self.arcs, axis=1))

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        unit = self.unscale(targets).mean(axis=-1)
        return np.asarray(np.round((unit + 1.0) * (NOTCHES - 1) / 2.0), dtype=np.int64)


class OrdersCodec(Codec):
    """Box[0, inf): the units to order on each arc, for rules that know what they want and must not be clipped."""

    mode = "orders"

    @property
    def up_to(self) -> bool:
        return False

    def targets(self, action: NDArray[Any]) -> FloatArray:
        return np.maximum(np.asarray(action, dtype=np.float64).T, 0.0)

    def encode(self, targets: FloatArray) -> NDArray[Any]:
        return np.maximum(np.asarray(targets, dtype=np.float64).T, 0.0)


_CODECS: dict[str, type[Codec]] = {
    "base_stock": BaseStockCodec,
    "quantity": QuantityCodec,
    "discrete": DiscreteCodec,
    "echelon": EchelonCodec,
    "orders": OrdersCodec,
}


def make_codec(
    compiled: CompiledNetwork,
    mode: str,
    *,
    levels: FloatArray | None = None,
    residual_scale: float = 0.5,
    horizon: int = 1,
) -> Codec:
    """The codec of an action mode on a network.

    Parameters
    ----------
    compiled
        The network.
    mode
        ``base_stock`` and ``discrete`` cover 0 to twice the demand expected over an arc's lead time and the review
        period (or four standard deviations above it, where that is more), with the expected demand in the middle;
        ``quantity`` covers 0 to three times the destination's demand rate, with the arc's usual flow in the middle;
        ``echelon`` covers the safety amounts of :func:`envs.echelon.safety_span`;
        ``orders`` are the units themselves, without an upper end (for classical policies, not for learning).
    levels
        Base-stock levels (A,), safety amounts in the echelon mode, to put in the middle instead: the policy then learns
        corrections of a known policy (a residual action), and the zero action is that policy.
    residual_scale
        With ``levels``: reach of the box in multiples of the usual one's upper half.
    horizon
        Periods that the codec is used for: known growth of demand within them widens the box.

    Raises
    ------
    ActionError
        For an unknown mode, or levels of a wrong shape or for the quantity mode.
    """
    if mode not in _CODECS:
        raise ActionError(f"no action mode '{mode}' (allowed: {', '.join(_CODECS)}){did_you_mean(mode, _CODECS)}")
    if mode in ("quantity", "orders") and levels is not None:
        raise ActionError(f"levels apply to the base_stock, discrete and echelon action modes, not to {mode}")
    if mode == "orders":
        return OrdersCodec(compiled.arc_flow, np.zeros(compiled.n_arcs), np.full(compiled.n_arcs, np.inf))
    top = compiled.topology
    # Where demand is known to grow, the box must reach what it will be.
    growth = compiled.largest_known_factor(horizon)
    rate = compiled.demand_rate[top.arc_destination] * growth
    variance = compiled.demand_variance[top.arc_destination] * growth**2
    if mode == "quantity":
        high = np.maximum(_QUANTITY_SPAN * rate, 1.0)
        return QuantityCodec(np.minimum(compiled.arc_flow * growth, high), np.zeros(compiled.n_arcs), high)
    if mode == "echelon":
        low, mean, reach = safety_span(compiled, horizon)
        high = reach
    else:
        covered = compiled.lead_mean + np.diff(top.mail_ptr) + 1.0
        mean = rate * covered
        deviation = np.sqrt(variance * covered + rate**2 * compiled.lead_variance)
        reach = np.maximum(np.maximum(mean, _DEVIATIONS * deviation), 1.0)
        low, high = np.zeros(compiled.n_arcs), mean + reach
    if not 0.0 < residual_scale < np.inf:
        raise ActionError(f"residual_scale must be a finite number above 0, received {residual_scale}")
    if levels is None:
        return _CODECS[mode](mean, low, high)
    levels = np.asarray(levels, dtype=np.float64)
    if levels.shape != (compiled.n_arcs,) or not np.isfinite(levels).all():
        raise ActionError(
            f"levels must be {compiled.n_arcs} finite numbers, one per arc; received {np.array2string(levels)}"
        )
    # A learned correction may go below 0: a level of 0 or less closes the arc.
    return _CODECS[mode](levels, levels - residual_scale * reach, levels + residual_scale * reach)


def codec_from_spec(spec: Mapping[str, Any]) -> Codec:
    """From the data of :meth:`Codec.to_spec`."""
    arrays = (np.asarray(spec[key], dtype=np.float64) for key in ("center", "low", "high"))
    return _CODECS[spec["mode"]](*arrays)
