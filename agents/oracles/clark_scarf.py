"""Optimal echelon base-stock levels of a serial system: Clark & Scarf's recursion.

Clark & Scarf (1960), Management Science 6(4):475-490; for the long-run average Federgruen & Zipkin (1984), Operations
Research 32(4):818-836, here in the notation of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., section
6.2. Stage 1 serves the customers. With echelon holding costs h_j (local minus upstream local), echelon inventory x and
D_j the demand that stage j's lead time covers::

    C_0(x) = (penalty + sum of h) x-          C_j(y) = E[ h_j (y - D_j) + C_{j-1}(min(S_{j-1}, y - D_j)) ]

S_j minimises the convex C_j, and C_N(S_N) is the optimal cost, goods in transit between stages included.

How many demands a lead time L covers is decided by the order of the phases:

====================== =========================== ================
phases                 stage 1                     other stages
====================== =========================== ================
receive, demand, order L                           L
receive, order, demand L + 1                       L
order, receive, demand L + 1                       L + 1
====================== =========================== ================

In the second order upstream stages ship before demand but are charged after it; the third loses a period at every
stage, because sources ship from the stock that they start the period with.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from agents.oracles.lead_time_demand import demand_before_order, total_demand
from agents.oracles.parameters import require_not_negative, require_positive, require_whole
from twin.distributions_base import Law
from twin.errors import ConfigError
from twin.network import Phase

__all__ = ["SerialOptimum", "SerialStage", "clark_scarf"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SerialStage:
    """One stage of a serial system.

    Attributes
    ----------
    holding_cost
        Local: money per unit on hand and period.
    lead_time
        Whole periods from the stage upstream (or the outside supplier) to this one.
    transit_holding_cost
        Money per unit under way to this stage and period. None charges the local holding cost of the stage that the
        unit left, as the textbook does, and nothing on the way from outside.
    """

    holding_cost: float
    lead_time: int
    transit_holding_cost: float | None = None

    def __post_init__(self) -> None:
        require_not_negative(holding_cost=self.holding_cost)
        require_whole(lead_time=self.lead_time)
        if self.transit_holding_cost is not None:
            require_not_negative(transit_holding_cost=self.transit_holding_cost)


@dataclass(frozen=True)
class SerialOptimum:
    """The best policy of a serial system, stage 1 (which serves the customers) first.

    Attributes
    ----------
    echelon_levels
        Units that a stage's echelon inventory position (its own, and all that is further down or on the way there) is
        raised to. Where the recursion's level exceeds the one upstream it never binds, and that one is given instead:
        same orders, same cost.
    local_levels
        Units that a stage's own inventory position is raised to; with them local base-stock orders are the same.
    cost
        Expected money per period: stock on hand, goods in transit and backlog.
    transit_cost
        The part of ``cost`` that goods in transit take; no policy changes it.
    """

    echelon_levels: tuple[float, ...]
    local_levels: tuple[float, ...]
    cost: float
    transit_cost: float


def clark_scarf(
    stages: Sequence[SerialStage],
    demand: Law,
    penalty: float,
    phases: tuple[Phase, Phase, Phase] = ("receive", "order", "demand"),
) -> SerialOptimum:
    """Solve a serial system with backlog at the stage that serves the customers.

    Parameters
    ----------
    stages
        Stage 1, which serves the customers, first.
    demand
        Of one period, units, independent between periods. Whole-number demand is solved exactly; other demand is
        rounded to a 500th of its standard deviation (levels are right to that, costs to about 1e-6 of themselves).
    penalty
        Money per unit of backlog at the end of a period.
    phases
        Order of the phases of a period, as in a network file.

    Returns
    -------
    SerialOptimum
        With costs on the stock at the end of a period.

    Raises
    ------
    ConfigError
        When there is no stage, the penalty is not positive, holding costs fall towards the customers, the most
        upstream is 0, or the phases are unknown.

    Examples
    --------
    Snyder & Shen, Example 6.1, with Poisson demand:

    >>> from twin.distributions import Poisson
    >>> stages = [SerialStage(7, 1), SerialStage(4, 1), SerialStage(2, 2)]
    >>> best = clark_scarf(stages, Poisson(mean=5), penalty=37.12, phases=("receive", "demand", "order"))
    >>> best.echelon_levels, round(best.cost, 4)
    ((9.0, 15.0, 26.0), 72.0467)
    """
    local = [stage.holding_cost for stage in stages]
    if not local or local[-1] <= 0.0 or any(down < up for down, up in itertools.pairwise(local)):
        raise ConfigError(
            "local holding costs, customers' stage first, must not rise on the way upstream and must end above 0, or "
            f"no finite level is best; received {local}"
        )
    require_positive(penalty=penalty)
    late = 0 if demand_before_order(phases) else 1
    later = 1 if phases[0] == "order" else 0
    covered = [total_demand(demand, s.lead_time + (later if j else late)) for j, s in enumerate(stages)]
    step, mean = covered[0].step, demand.mean_value

    # Values on the lattice 0, step, ..., far enough for the system's whole demand. Below 0 all functions are linear:
    # demand is not negative, so that from there every unit less is a unit more of backlog.
    points = 1 + sum(len(total.mass) - 1 for total in covered)
    value, slope = np.zeros(points), -(penalty + local[0])
    levels: list[float] = []
    for echelon_cost, total in zip(-np.diff([*local, 0.0]), covered, strict=True):
        reach = len(total.mass) - 1
        negative = np.arange(-reach, 0) * step
        charged = np.concatenate([value[0] + slope * negative, value])
        charged += echelon_cost * np.arange(-reach, points) * step
        value = signal.convolve(charged, total.mass, mode="valid")
        slope += echelon_cost
        if echelon_cost > 0.0:
            best = int(np.argmin(value))
            value[best:] = value[best]
            levels.append(best * step)
        else:
            # Stock costs the same one stage up: this stage takes all there is.
            levels.append(np.inf)

    cost = float(value[-1])
    if phases == ("receive", "order", "demand") and len(local) > 1:
        # Upstream echelons were charged before the period's demand; at its end they hold that much less.
        cost -= mean * local[1]
    textbook = [*local[1:], 0.0]
    rates = [
        t if s.transit_holding_cost is None else s.transit_holding_cost for s, t in zip(stages, textbook, strict=True)
    ]
    transit = [mean * s.lead_time for s in stages]
    transit_cost = float(np.dot(transit, rates))
    cost += transit_cost - float(np.dot(transit, textbook))
    echelon = np.minimum.accumulate(levels[::-1])[::-1]
    return SerialOptimum(tuple(echelon.tolist()), tuple(np.diff(echelon, prepend=0.0).tolist()), cost, transit_cost)
