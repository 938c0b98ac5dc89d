"""Prices of offers that move or fall with the quantity: keys of a network file, their checks, and their arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from twin.distributions import Distribution
from twin.schema import NonNegative, Positive, Share, StrictModel, Whole

if TYPE_CHECKING:
    from twin.network import Network, Offer

__all__ = ["Break", "PriceProcess", "PriceRules", "Prices", "Tariff", "price_keys", "price_problems", "prices_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Break(StrictModel):
    """From a quantity on, all units that an arc ships in a period cost this price (all-units discount)."""

    start: Positive = Field(alias="from", description="units shipped on one arc in a period")
    price: NonNegative = Field(description="money per unit, of all of them")


class Tariff(StrictModel):
    """A lasting step of a price."""

    start: Whole = Field(alias="from", ge=0, description="period from which it is in force")
    factor: Positive = Field(description="by which the price is multiplied")


class PriceProcess(StrictModel):
    """A price that moves: its logarithm returns to that of the tariffs, with noise and jumps."""

    reversion: Share = Field(default=0.0, description="share of the distance that is left behind per period")
    volatility: NonNegative = Field(default=0.0, description="standard deviation of the logarithm's noise per period")
    shock_probability: Share = Field(default=0.0, description="of a jump, per period")
    shock: Distribution | None = Field(default=None, description="law of the jump of the logarithm")
    tariffs: tuple[Tariff, ...] = ()

    def tariff(self, period: NDArray[np.int64]) -> FloatArray:
        """Product of the factors of all tariffs that are in force in ``period``."""
        out = np.ones(np.shape(period))
        for entry in self.tariffs:
            out = np.where(np.asarray(period) >= entry.start, out * entry.factor, out)
        return out


class PriceRules(NamedTuple):
    """The arrays of prices that the engines read. Sizes: K moving prices, M arcs whose charge differs from the price.

    ``break_ptr`` delimits the breaks of charged arc m; ``arc_row`` is the row of its moving price, or -1.
    """

    arc: IntArray
    arc_price: FloatArray
    arc_row: IntArray
    break_ptr: IntArray
    break_start: FloatArray
    break_price: FloatArray


@dataclass(frozen=True, eq=False)
class Prices:
    """Offers whose price moves or falls with the quantity, compiled.

    Attributes
    ----------
    names
        ``supplier/product`` of each moving price, in file order.
    processes
        As the file has them. Length K.
    rules
        Arrays for the engines.
    start
        Factor in force in period 0. Shape (K,).
    """

    names: tuple[str, ...]
    processes: tuple[PriceProcess, ...]
    rules: PriceRules
    start: FloatArray


def prices_of(network: Network) -> Prices:
    """Compile the prices of a network; its lanes are its first arcs, mode by mode."""
    moving = {f"{name}/{product}": offer.price_process for name, product, offer in _offers(network)}
    moving = {name: process for name, process in moving.items() if process is not None}
    names = tuple(moving)
    arcs: list[tuple[int, Offer, int]] = []
    lanes = [lane for lane in network.lanes for _ in lane.modes]
    for a, lane in enumerate(lanes):
        supplier = network.suppliers.get(lane.origin)
        if supplier is None:
            continue
        offer = supplier.offers[lane.product]
        if offer.breaks or offer.price_process is not None:
            arcs.append((a, offer, names.index(f"{lane.origin}/{lane.product}") if offer.price_process else -1))
    breaks = [entry for _, offer, _ in arcs for entry in offer.breaks]
    rules = PriceRules(
        arc=np.array([a for a, _, _ in arcs], dtype=np.int64),
        arc_price=_floats([offer.price for _, offer, _ in arcs]),
        arc_row=np.array([row for _, _, row in arcs], dtype=np.int64),
        break_ptr=np.concatenate([[0], np.cumsum([len(offer.breaks) for _, offer, _ in arcs])]).astype(np.int64),
        break_start=_floats([entry.start for entry in breaks]),
        break_price=_floats([entry.price for entry in breaks]),
    )
    processes = tuple(process for process in moving.values() if process is not None)
    return Prices(names, processes, rules, _floats([float(p.tariff(np.zeros((), dtype=np.int64))) for p in processes]))


def price_keys(network: Network) -> Iterator[str]:
    """Key paths of all breaks and price processes, for those who cannot deal with them."""
    for name, product, offer in _offers(network):
        if offer.breaks:
            yield f"suppliers.{name}.offers.{product}.breaks"
        if offer.price_process is not None:
            yield f"suppliers.{name}.offers.{product}.price_process"


def price_problems(network: Network) -> Iterator[str]:
    """What makes breaks or a price process impossible or void, one sentence each."""
    for name, product, offer in _offers(network):
        place = f"suppliers.{name}.offers.{product}"
        steps = [(0.0, offer.price), *((entry.start, entry.price) for entry in offer.breaks)]
        for k, ((start, price), (next_start, next_price)) in enumerate(pairwise(steps)):
            if next_start <= start:
                yield f"{place}.breaks[{k}].from: {next_start:g} is not above {start:g} (allowed: in ascending order)"
            if next_price >= price:
                yield f"{place}.breaks[{k}].price: {next_price:g} is no discount (allowed: below {price:g})"
        if offer.price_process is not None:
            yield from _process_problems(f"{place}.price_process", offer.price_process, offer.price)


def _process_problems(place: str, process: PriceProcess, price: float) -> Iterator[str]:
    jumps = process.shock_probability > 0.0
    if price == 0.0:
        yield f"{place}: the price is 0 and stays 0 (allowed: with a price above 0)"
    if jumps != (process.shock is not None):
        given, other = ("shock_probability", "shock") if jumps else ("shock", "shock_probability")
        yield f"{place}.{given}: nothing happens without a {other} (allowed: both or neither)"
    if process.shock is not None and process.shock.distribution == "recorded":
        yield f"{place}.shock: a recorded series cannot be drawn from (allowed: any other law)"
    if not jumps and process.shock is None and process.volatility == 0.0 and not process.tariffs:
        yield f"{place}: nothing moves this price (allowed: with volatility, shock_probability or tariffs)"


def _offers(network: Network) -> Iterator[tuple[str, str, Offer]]:
    for name, supplier in network.suppliers.items():
        for product, offer in supplier.offers.items():
            yield name, product, offer


def _floats(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)
