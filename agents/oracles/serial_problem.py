"""A serial system over a finite horizon: its stages, costs and laws of demand, period by period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from agents.oracles.lead_time_demand import STEPS_PER_SD, TAIL, demand_before_order
from agents.oracles.parameters import require_whole
from twin.distributions_base import Law
from twin.errors import ConfigError
from twin.network import Phase

__all__ = ["HorizonStage", "SerialProblem", "mean_steps"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class HorizonStage:
    """One stage of a serial system and what it starts with. Costs are numbers, or one per period (T,).

    Attributes
    ----------
    lead_time
        Whole periods from the stage upstream (or the outside supplier) to this one.
    holding_cost, transit_holding_cost
        Money per unit on hand here, and under way to here, at the end of a period.
    unit_cost
        Money per unit shipped to here.
    terminal_value
        Money per unit on hand here or under way to here when the horizon ends.
    on_hand
        Units here at the start, before the first phase.
    arriving
        Units that come in with the next receipts, ``lead_time`` of them; nothing when left out.
    limit
        Most units that can be shipped to here in a period.
    """

    lead_time: int
    holding_cost: ArrayLike
    transit_holding_cost: ArrayLike = 0.0
    unit_cost: ArrayLike = 0.0
    terminal_value: float = 0.0
    on_hand: float = 0.0
    arriving: tuple[float, ...] = ()
    limit: float = np.inf

    def __post_init__(self) -> None:
        require_whole(lead_time=self.lead_time)
        if self.arriving and len(self.arriving) != self.lead_time:
            raise ConfigError(
                f"arriving must have one number per period of the lead time ({self.lead_time}), "
                f"received {len(self.arriving)}"
            )


class SerialProblem:
    """A serial system with backlog over the T periods that ``demand`` has laws for, as arrays.

    Parameters
    ----------
    stages
        Stage 1, which serves the customers, first.
    demand
        The law of each period, (T,) units; independent. Whole-number demand lies on a lattice of step 1 and is exact;
        other demand is rounded to a 500th of its smallest standard deviation.
    penalty
        Money per unit of backlog at the end of a period; a number or (T,).
    price
        Revenue per unit delivered; a number or (T,). What is owed at the end is never paid for.
    phases
        Order of the phases of a period, as in a network file.

    Attributes
    ----------
    known, before
        Demands of a period that its order knows already, and those between order and the end of the period.
    later
        1 where a stage can pass on what it receives only a period after the receipt, else 0.
    lead
        Lead times of the stages, (N,).
    holding, transit, unit
        (N, T) money per unit.
    worth
        (N,) terminal value of a unit of echelon position.
    price, short
        (T,) revenue per unit, and what a unit of backlog at the end of a period costs in all.
    limits
        (N,) units.
    arriving
        Per stage, units of the next receipts, (lead time,).
    echelon, position
        (N,) units of each stage's echelon before the first phase, without and with what is under way to the stage.
    step
        Distance of the points of the lattice, units.

    Raises
    ------
    ConfigError
        When there is no stage or period, costs have another shape, a unit of backlog is worth having, or the phases are
        unknown; and where demand comes before orders and stage 1 has no lead time, since it then has stock and backlog
        at once.
    """

    def __init__(
        self,
        stages: Sequence[HorizonStage],
        demand: Sequence[Law],
        penalty: ArrayLike,
        price: ArrayLike = 0.0,
        phases: tuple[Phase, Phase, Phase] = ("receive", "order", "demand"),
    ) -> None:
        self.periods = len(demand)
        if not stages or not self.periods:
            raise ConfigError(f"a serial system needs a stage and a period, received {len(stages)} and {self.periods}")
        self.known = 1 if demand_before_order(phases) else 0
        self.before = 1 - self.known
        self.later = 1 if phases[0] == "order" else 0
        self.lead = tuple(stage.lead_time for stage in stages)
        if self.known and self.lead[0] == 0:
            raise ConfigError(
                "where demand comes before orders the stage that serves the customers needs a lead time of at least 1 "
                "period: without one it has stock and backlog at once"
            )
        self.holding = np.array([self._costs("holding_cost", stage.holding_cost) for stage in stages])
        self.transit = np.array([self._costs("transit_holding_cost", stage.transit_holding_cost) for stage in stages])
        self.unit = np.array([self._costs("unit_cost", stage.unit_cost) for stage in stages])
        value = [float(stage.terminal_value) for stage in stages]
        self.worth = -np.diff([*value, 0.0])
        self.price = self._costs("price", price)
        # A unit of backlog: its penalty, the revenue that comes later or never, and the holding cost of what is on
        # hand, which is the net stock and the backlog.
        self.short = self._costs("penalty", penalty) + self.price - np.append(self.price[1:], 0.0) + self.holding[0]
        self.short[-1] -= value[0]
        if (self.short < 0.0).any():
            t = int(np.argmax(self.short < 0.0))
            raise ConfigError(
                f"a unit of backlog must not be worth having, or no base-stock policy is best: in period {t} penalty "
                f"+ holding cost + price - next price (at the end - terminal value) is {self.short[t]:g}"
            )
        self.limits = np.array([float(stage.limit) for stage in stages])
        self.arriving = [np.array(stage.arriving or (0.0,) * stage.lead_time) for stage in stages]
        moving = np.array([units.sum() for units in self.arriving])
        self.position = np.cumsum(np.array([stage.on_hand for stage in stages]) + moving)
        self.echelon = self.position - moving
        self._lattice(demand)

    def _costs(self, name: str, values: ArrayLike) -> FloatArray:
        given = np.asarray(values, dtype=np.float64)
        if given.shape not in {(), (self.periods,)} or not np.isfinite(given).all():
            raise ConfigError(
                f"{name} must be a finite number or one per period ({self.periods}), received {np.array2string(given)}"
            )
        return np.array(np.broadcast_to(given, (self.periods,)))

    # -- demand -------------------------------------------------------------------------------------------------------

    def _lattice(self, laws: Sequence[Law]) -> None:
        kinds = {id(law): law for law in laws}
        sizes = [law.variance**0.5 for law in kinds.values() if law.variance > 0.0]
        sizes = sizes or [law.mean_value for law in kinds.values() if law.mean_value > 0.0]
        self.step = 1.0 if all(law.whole for law in kinds.values()) or not sizes else min(sizes) / STEPS_PER_SD
        place = {key: k for k, key in enumerate(kinds)}
        self._kinds = tuple(place[id(law)] for law in laws)
        self._one = [self._mass(law) for law in kinds.values()]
        self._totals: dict[tuple[int, ...], FloatArray] = {(): np.ones(1)}

    def _mass(self, law: Law) -> FloatArray:
        last = int(np.ceil(float(law.quantile(1.0 - TAIL)) / self.step))
        # A point stands for the values around it, but for whole numbers on a lattice of whole numbers.
        upper = (np.arange(last + 1) + (0.0 if law.whole and self.step == 1.0 else 0.5)) * self.step
        return _trimmed(np.diff(law.cdf(upper), prepend=0.0))

    def total(self, first: int, number: int) -> FloatArray:
        """Probabilities of 0, 1, 2, ... steps of demand in ``number`` periods from ``first`` on."""
        kinds = self._kinds[first : first + number]
        known = next(n for n in range(number, -1, -1) if kinds[:n] in self._totals)
        for n in range(known, number):
            self._totals[kinds[: n + 1]] = _trimmed(signal.convolve(self._totals[kinds[:n]], self._one[kinds[n]]))
        return self._totals[kinds]

    def ahead(self, t: int, number: int) -> FloatArray:
        """The same of the ``number`` demands that follow the order of period t; -1 is an order before the first."""
        return self.total(t + self.known, number)

    def most(self, t: int) -> int:
        """Steps of the most that is asked for from period t on."""
        return sum(len(self._one[kind]) - 1 for kind in self._kinds[t:])

    def held(self, j: int, receipts: int) -> float:
        """Echelon stock of stage j after so many receipts, had nothing been asked for; units."""
        return float(self.echelon[j] + self.arriving[j][:receipts].sum())


def _trimmed(mass: FloatArray) -> FloatArray:
    # A convolution by Fourier transform leaves noise of the size of rounding, of either sign.
    mass = np.maximum(mass, 0.0)
    tail = np.cumsum(mass[::-1])[::-1]
    mass = mass[: max(1, int(np.count_nonzero(tail > TAIL)))]
    return np.asarray(mass / mass.sum())


def mean_steps(mass: FloatArray) -> float:
    """Mean of probabilities of 0, 1, 2, ... steps."""
    return float(mass @ np.arange(len(mass)))
