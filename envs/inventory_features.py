"""What an inventory decision may look at on any network: groups of fields, with their bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.features import Block, Field, Observation
from envs.readers import (
    Arrivals,
    Expected,
    Life,
    Mail,
    Outlook,
    PeriodsLeft,
    Positions,
    Rows,
    Season,
    Stages,
    Warnings,
    warning_rows,
)
from twin.contracts import STAGES
from twin.errors import ActionError, did_you_mean

if TYPE_CHECKING:
    from envs.watcher import Watcher
    from twin.compile import CompiledNetwork

__all__ = ["ARRIVAL_MODES", "GROUPS", "ArrivalMode", "Group", "inventory_observation", "slots_ahead"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Group = Literal[
    "on_hand",
    "position",
    "in_transit",
    "in_mail",
    "arriving",
    "owed",
    "backlog",
    "demand",
    "life",
    "expected",
    "availability",
    "since",
    "warning",
    "outlook",
    "on_time",
    "price",
    "contract",
    "clock",
    "season",
    "periods_left",
]
#: Groups of fields, in the order of the observation vector.
GROUPS: tuple[Group, ...] = get_args(Group)
ArrivalMode = Literal["bands", "slots"]
ARRIVAL_MODES: tuple[ArrivalMode, ...] = get_args(ArrivalMode)

#: Shown only where asked for: version 0 of the inventory environments does not have them.
_ON_REQUEST = ("owed", "since", "warning", "outlook", "on_time", "price", "contract", "clock")

#: Pipeline stock in bands is shown by how soon it arrives: next period, 2-4, 5-12, and 13 or more periods ahead.
ARRIVAL_EDGES = (0, 1, 4, 12)

#: Periods ahead in which the outlook adds up what is expected to be missing.
OUTLOOK_SPANS = (4, 13, 26, 52)

#: Bound of a price, in multiples of the list price.
_PRICE_SPAN = 10.0

#: Bounds of a quantity, in multiples of the demand that its slowest lead time covers. Beyond them a field saturates.
_SPAN = 20.0


def inventory_observation(
    compiled: CompiledNetwork,
    *,
    finite: bool,
    horizon: int,
    observe: Sequence[str] | None = None,
    arrivals: str = "bands",
    forecast: int = 1,
    watcher: Watcher | None = None,
) -> Observation:
    """The observation of inventory decisions on any network.

    Parameters
    ----------
    compiled
        The network.
    finite
        Whether the horizon is finite, so that the time left matters.
    horizon
        Periods of an episode.
    observe
        Names of the groups to show (:data:`GROUPS`), in any order: the observation keeps its own. None for all but
        ``owed`` and what only sourcing decisions look at. A group that the network has nothing of is empty.
    arrivals
        ``bands`` or ``slots``: what arrives by bands of receipts ahead, or one field per receipt.
    forecast
        Periods of expected demand to show, the one decided for included.
    watcher
        Who keeps the belief that the group ``outlook`` is read off; without one there is no such group.

    Raises
    ------
    ActionError
        For an unknown group or way to show arrivals, a forecast of less than one period, or an observation without a
        single field.
    """
    wanted = _wanted(observe)
    if arrivals not in ARRIVAL_MODES:
        raise ActionError(
            f"no way to show arrivals called '{arrivals}' "
            f"(allowed: {', '.join(ARRIVAL_MODES)}){did_you_mean(arrivals, ARRIVAL_MODES)}"
        )
    if forecast < 1:
        raise ActionError(f"forecast must be at least 1 period (the one decided for), received {forecast}")
    make = _Blocks(compiled, horizon)
    # By default a season shows as sine and cosine alone.
    seasons_too = forecast > 1 or (observe is not None and "expected" in observe)
    blocks = (
        make.on_hand(),
        make.position(),
        make.in_transit(),
        make.in_mail(),
        make.arriving_by_receipt() if arrivals == "slots" else make.arriving_in_bands(),
        make.owed(),
        make.backlog(),
        make.demand(),
        make.life(),
        make.expected(forecast, seasons_too),
        make.availability(),
        make.since(),
        make.warning(),
        make.outlook(watcher),
        make.on_time(),
        make.price(),
        make.contract(),
        make.clock(),
        make.season(),
        make.periods_left(finite),
    )
    shown = [block for block in blocks if block.group in wanted and block.fields]
    if not shown:
        raise ActionError(f"observe: {sorted(wanted)} shows nothing of the network '{compiled.network.name}'")
    return Observation(shown)


def _wanted(observe: Sequence[str] | None) -> set[str]:
    if observe is None:
        return {name for name in GROUPS if name not in _ON_REQUEST}
    if isinstance(observe, str):
        raise ActionError(f"observe must be a list of groups, received the text '{observe}'")
    for name in observe:
        if name not in GROUPS:
            raise ActionError(f"observe: no group '{name}' (allowed: {', '.join(GROUPS)}){did_you_mean(name, GROUPS)}")
    return {str(name) for name in observe}


def slots_ahead(compiled: CompiledNetwork) -> IntArray:
    """Per stock point, the most receipts ahead at which anything can be under way at a decision epoch, shape (I,).

    One less than the slots of the longest pipeline: the last slot fills in an order phase, and what it holds has moved
    up before the next decision.
    """
    top = compiled.topology
    longest = np.ones(compiled.n_stocks, dtype=np.int64)
    np.maximum.at(longest, top.arc_destination, np.diff(top.pipe_ptr))
    return longest - 1


class _Blocks:
    """Makes each group's block for one network."""

    def __init__(self, compiled: CompiledNetwork, horizon: int) -> None:
        top = compiled.topology
        self.compiled, self.top, self.horizon = compiled, top, horizon
        self.delay = np.diff(top.mail_ptr)
        self.longest = np.zeros(compiled.n_stocks)
        np.maximum.at(self.longest, top.arc_destination, (np.diff(top.pipe_ptr) + self.delay).astype(np.float64))
        growth = compiled.largest_known_factor(horizon)
        scale = np.maximum(compiled.demand_rate * growth * (self.longest + 1.0), 1.0) + compiled.initial_on_hand
        self.stock_high = _SPAN * scale
        self.demand_units = [compiled.network.products[d.product].unit for d in compiled.network.demands.values()]

    def on_hand(self) -> Block:
        compiled = self.compiled
        rows = zip(compiled.stock_names, compiled.stock_units, self.stock_high, strict=True)
        fields = (Field(f"on_hand[{name}]", unit, 0.0, _round(high), "Units on hand.") for name, unit, high in rows)
        return Block("on_hand", tuple(fields), Rows("on_hand"))

    def position(self) -> Block:
        text = "On hand minus owed plus what arrives within the arc's lead time: what an order adds to."
        arcs = range(self.compiled.n_arcs)
        return Block("position", self._of_arcs("position", arcs, text, below_zero=True), Positions())

    def in_transit(self) -> Block:
        text = "Units ordered on the arc and under way."
        return Block("in_transit", self._of_arcs("in_transit", range(self.compiled.n_arcs), text), Rows("in_transit"))

    def in_mail(self) -> Block:
        posted = np.flatnonzero(self.delay)
        text = "Units ordered on the arc whose order has not reached the source."
        ptr = self.top.mail_ptr
        slots = tuple(slice(ptr[a], ptr[a + 1]) for a in posted)
        return Block("in_mail", self._of_arcs("in_mail", posted, text), Mail(slots))

    def owed(self) -> Block:
        owing = np.flatnonzero(self.top.arc_owes)
        text = "Units ordered on the arc that its source has not shipped."
        return Block("owed", self._of_arcs("owed", owing, text), Rows("backorders", owing))

    def arriving_in_bands(self) -> Block:
        """Per stock point, units that arrive in each band of receipts ahead."""
        edges = np.array(ARRIVAL_EDGES, dtype=np.int64)
        bands = len(ARRIVAL_EDGES)
        fields, rows = [], []
        for i in range(self.compiled.n_stocks):
            for k in range(bands):
                if edges[k] >= self.longest[i]:
                    continue
                end = edges[k + 1] if k + 1 < bands else self.longest[i]
                first, last = int(edges[k]) + 1, int(min(end, self.longest[i]))
                fields.append(self._arriving(i, f"{first}" if first == last else f"{first}-{last}"))
                rows.append(i * bands + k)
        return Block("arriving", tuple(fields), Arrivals(edges, np.array(rows, dtype=np.int64)))

    def arriving_by_receipt(self) -> Block:
        """Per stock point, units that arrive at each receipt ahead."""
        slots = slots_ahead(self.compiled)
        # The band after the last slot is there so that no slot is a difference, with the rounding of one.
        edges = np.arange(int(slots.max(initial=0)) + 1, dtype=np.int64)
        places = [(i, k) for i, longest in enumerate(slots) for k in range(int(longest))]
        fields = tuple(self._arriving(i, str(k + 1)) for i, k in places)
        keep = np.array([i * len(edges) + k for i, k in places], dtype=np.int64)
        return Block("arriving", fields, Arrivals(edges, keep))

    def _arriving(self, i: int, ahead: str) -> Field:
        name, unit = self.compiled.stock_names[i], self.compiled.stock_units[i]
        text = f"Units that arrive {ahead} receipts ahead."
        return Field(f"arriving[{name}:{ahead}]", unit, 0.0, _round(self.stock_high[i]), text)

    def backlog(self) -> Block:
        streams = np.flatnonzero(self.top.demand_backlogs)
        fields = (
            Field(
                f"backlog[{self.compiled.demand_names[d]}]",
                self.demand_units[d],
                0.0,
                _round(self.stock_high[self.top.demand_stock[d]]),
                "Units owed to customers.",
            )
            for d in streams
        )
        return Block("backlog", tuple(fields), Rows("backlog", streams))

    def demand(self) -> Block:
        rows = zip(self.compiled.demand_names, self.demand_units, self._demand_high(self.horizon), strict=True)
        text = "Units asked for in the latest period."
        fields = (Field(f"demand[{name}]", unit, 0.0, _round(high), text) for name, unit, high in rows)
        return Block("demand", tuple(fields), Rows("demand"))

    def life(self) -> Block:
        """Per perishable stock point, units by remaining life."""
        top, fields, rows = self.top, [], []
        for i in np.flatnonzero(top.stock_life):
            layers = np.arange(top.layer_ptr[i], top.layer_ptr[i + 1])
            for life in range(1, int(top.stock_life[i]) + 1):
                name = f"life[{self.compiled.stock_names[i]}:{life}]"
                text = f"Units on hand that can be used in {life} more period(s)."
                fields.append(Field(name, self.compiled.stock_units[i], 0.0, _round(self.stock_high[i]), text))
                rows.append(layers[top.layer_life[layers] == life])
        return Block("life", tuple(fields), Life(tuple(rows)))

    def expected(self, window: int, seasons_too: bool) -> Block:
        """What is known of coming demand; a constant mean is no news."""
        compiled = self.compiled
        entries = list(compiled.network.demands.values())
        seasonal = [seasons_too and len(laws) > 1 for laws in compiled.demand_distributions]
        told = [d for d, entry in enumerate(entries) if entry.forecast is not None or entry.moves or seasonal[d]]
        usual = self._demand_high(self.horizon + window - 1)
        text = "Units expected in the period that the decision is for: forecast, or mean x trend x events."
        fields = []
        for d in told:
            forecast = entries[d].forecast
            high = _round(usual[d] if forecast is None else max(usual[d], *forecast.values))
            name, unit = compiled.demand_names[d], self.demand_units[d]
            fields.append(Field(f"expected[{name}]", unit, 0.0, high, text))
            for ahead in range(1, window):
                later = f"Units expected {ahead} period(s) after the one that the decision is for."
                fields.append(Field(f"expected[{name}:{ahead + 1}]", unit, 0.0, high, later))
        return Block("expected", tuple(fields), Expected(np.array(told, dtype=np.int64), window))

    def availability(self) -> Block:
        limited = np.flatnonzero(self.compiled.resource_share_when_down < 1.0)
        text = "Share of capacity that works now."
        names = [f"availability[{self.compiled.resource_names[r]}]" for r in limited]
        return Block(
            "availability", tuple(Field(name, "1", 0.0, 1.0, text) for name in names), Rows("availability", limited)
        )

    def since(self) -> Block:
        limited, unit = np.flatnonzero(self.compiled.resource_share_when_down < 1.0), self.compiled.network.period
        text = "Periods since its capacity last went from full to less or back."
        names = [f"since[{self.compiled.resource_names[r]}]" for r in limited]
        high = float(self.horizon)
        return Block("since", tuple(Field(name, unit, 0.0, high, text) for name in names), Rows("since", limited))

    def warning(self) -> Block:
        warned, text = warning_rows(self.compiled), "1 where a failure is announced, rightly or wrongly."
        names = [f"warning[{self.compiled.resource_names[r]}]" for r, _ in warned]
        fields = tuple(Field(name, "1", 0.0, 1.0, text) for name in names)
        return Block("warning", fields, Warnings(tuple(rows for _, rows in warned)))

    def outlook(self, watcher: Watcher | None) -> Block:
        unit, text = self.compiled.network.period, "Periods of its capacity expected to be missing in the next {}."
        behind = [] if watcher is None else watcher.posterior.behind
        failing = tuple(r for r, processes in enumerate(behind) if processes)
        names = self.compiled.resource_names
        fields = (
            Field(f"outlook[{names[r]}:{span}]", unit, 0.0, float(span), text.format(span))
            for r in failing
            for span in OUTLOOK_SPANS
        )
        reader = None if watcher is None else Outlook(watcher.posterior, failing, OUTLOOK_SPANS)
        return Block("outlook", tuple(fields), reader or PeriodsLeft())

    def on_time(self) -> Block:
        text = "Share of what was wanted from the arc that shipped in full with the promised lead time, smoothed."
        names = [f"on_time[{self.compiled.arc_names[a]}]" for a in self.compiled.relations.rules.record_arc]
        return Block("on_time", tuple(Field(name, "1", 0.0, 1.0, text) for name in names), Rows("on_time"))

    def price(self) -> Block:
        text = "Price in force over the list price."
        names = [f"price[{name}]" for name in self.compiled.prices.names]
        return Block("price", tuple(Field(name, "1", 0.0, _PRICE_SPAN, text) for name in names), Rows("price"))

    def contract(self) -> Block:
        text = "1 where the contract is {}, else 0."
        fields = (
            Field(f"contract[{name}:{stage}]", "1", 0.0, 1.0, text.format(stage))
            for name in self.compiled.relations.contracts
            for stage in STAGES
        )
        return Block("contract", tuple(fields), Stages(len(STAGES)))

    def clock(self) -> Block:
        unit, rules = self.compiled.network.period, self.compiled.relations.rules
        text = "Periods of qualification left, or periods since activation."
        names = [f"clock[{name}]" for name in self.compiled.relations.contracts]
        high = [float(max(self.horizon, longest)) for longest in rules.qualification_periods]
        fields = tuple(Field(name, unit, 0.0, bound, text) for name, bound in zip(names, high, strict=True))
        return Block("clock", fields, Rows("clock"))

    def season(self) -> Block:
        cycle = self.compiled.seasonal_cycle
        sine = Field("season_sin", "1", -1.0, 1.0, f"Sine of the position in the {cycle}-period season.")
        cosine = Field("season_cos", "1", -1.0, 1.0, f"Cosine of the position in the {cycle}-period season.")
        return Block("season", (sine, cosine) if cycle > 1 else (), Season(cycle))

    def periods_left(self, finite: bool) -> Block:
        unit, text = self.compiled.network.period, "Periods until the horizon ends."
        field = Field("periods_left", unit, 0.0, float(self.horizon), text)
        return Block("periods_left", (field,) if finite else (), PeriodsLeft())

    def _of_arcs(self, quantity: str, arcs: Iterable[int], text: str, *, below_zero: bool = False) -> tuple[Field, ...]:
        fields = []
        for a in arcs:
            high = _round(self.stock_high[self.top.arc_destination[a]])
            name = f"{quantity}[{self.compiled.arc_names[a]}]"
            fields.append(Field(name, self.compiled.arc_units[a], -high if below_zero else 0.0, high, text))
        return tuple(fields)

    def _demand_high(self, periods: int) -> FloatArray:
        """Bound of every stream's demand within that many periods."""
        growth = self.compiled.largest_known_factor(periods)
        laws = self.compiled.demand_distributions
        return _SPAN * np.array([max(1.0, growth * max(law.mean_value for law in seasons)) for seasons in laws])


def _round(value: float) -> float:
    """A bound with two significant digits, rounded up, so that specifications stay readable."""
    digits = int(np.floor(np.log10(value))) - 1
    return float(np.ceil(value / 10.0**digits) * 10.0**digits)
