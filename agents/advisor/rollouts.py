"""Paired rollouts in a fork of the twin: several first decisions, the same worlds, then the bundle's policy goes on.

The state comes from the snapshot that a request carries (``twin_state``, :meth:`twin.state.TwinState.snapshot`), never
from guesses: an observation does not say when each shipment arrives or what is in the mail. A snapshot must show what
the request observes, field by field. Its place on the random numbers is not used: the worlds are drawn anew, so that
no look ahead sees what is really coming. What is assumed: the network file is the world; what the snapshot knows and a
planner may not (when a shipment arrives, when an outage ends) is as it says; demand that remembers its past begins
anew; nothing changes hands under contracts; and in later periods the arcs' own limits of the guard file hold, limits
on sums and on change do not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.guards import Guards
from agents.bundle import Bundle
from agents.bundle_spec import SCALED
from envs.features import spec_hash
from envs.inventory import InventoryTask
from envs.structure import Structure
from twin.engine import Twin
from twin.errors import ConfigError, StaleStateError
from twin.state import TwinState, empty_state

__all__ = ["Paths", "Rollouts", "TooSlowError"]

FloatArray = NDArray[np.float64]

#: What an observation is made of, among the arguments of an environment.
_SHOWN = ("observe", "arrivals", "forecast")
#: Largest difference between snapshot and request that is rounding, relative: observations are float32.
_ROUNDING = 1e-6
#: Where the guard file names no horizon: so many times the longest way to the customers, and at least so many periods.
_WAYS, _LEAST = 3, 24


class TooSlowError(Exception):
    """The rollouts took longer than they may; nothing of them is used."""


@dataclass(frozen=True)
class Paths:
    """What K first decisions came to on the same P paths of H periods.

    Attributes
    ----------
    cost
        (K, P) money per period: all cost terms, less what stock on hand and under way has gained in worth at standard
        cost, so that who buys ahead is not dearer for it.
    first
        (K, P) cost terms of the first period, money.
    asked, served
        (K, P) units per period asked for, and met at once.
    units
        The units that stock and orders are counted in, U of them.
    stock
        (H + 1, U, K) units on hand at each decision, mean over paths.
    orders
        (H, U, K) units ordered, mean over paths.
    """

    cost: FloatArray
    first: FloatArray
    asked: FloatArray
    served: FloatArray
    units: tuple[str, ...]
    stock: FloatArray
    orders: FloatArray


class Rollouts:
    """A bundle's network and policy, ready to be run ahead.

    Parameters
    ----------
    bundle
        Its network is compiled for it.
    guards
        Have the arcs' limits for later periods.
    periods
        How far to look; None takes three times the longest way from an order to the customers, and at least 24.
    paths
        Worlds per first decision.

    Raises
    ------
    ConfigError
        When the bundle's environment cannot be made again, its horizon is finite, or ``periods`` is too short for an
        order to reach anybody.
    BundleError
        When its network is not the one that it states.
    """

    def __init__(self, bundle: Bundle, guards: Guards, periods: int | None, paths: int) -> None:
        self._policy, self._guards, self.paths = bundle, guards, paths
        manifest, arguments = bundle.manifest, bundle.manifest["environment"]["arguments"]
        compiled = bundle.network()
        self.task = InventoryTask(compiled, **{name: arguments[name] for name in _SHOWN if name in arguments})
        if spec_hash(self.task.fields) != manifest["spec_hash"] or arguments.get("finite"):
            why = "has a finite horizon" if arguments.get("finite") else "cannot be made again from its manifest"
            raise ConfigError(f"guardrails: look_ahead is not possible: the bundle's environment {why}")
        longest = int(Structure.of(compiled).covers.max())
        self.periods = max(_WAYS * longest, _LEAST) if periods is None else periods
        if self.periods <= longest:
            raise ConfigError(
                f"guardrails: look_ahead.periods is {self.periods}, and an order takes up to {longest} to reach "
                f"customers (allowed: more than {longest})"
            )
        self._units = sorted({product.unit for product in compiled.network.products.values()})
        points = [compiled.network.products[product].unit for _, product in compiled.network.stock_points()]
        self._of_stock = np.array([[unit == mine for mine in points] for unit in self._units], dtype=np.float64)
        self._of_arc = np.array([[unit == mine for mine in compiled.arc_units] for unit in self._units]) * 1.0
        self._twin = Twin(compiled, replicas=1)
        # The kernel is compiled or read from its cache now, and not within anybody's time limit.
        self._twin.fork().step(np.zeros((compiled.n_arcs, 1)))

    def state_of(self, snapshot: Mapping[str, Any] | None, values: FloatArray) -> TwinState:
        """The state of one replica that a request describes.

        Raises
        ------
        StaleStateError
            When there is no snapshot, it is of another network or incomplete, or it shows something else than the
            request observes.
        """
        if snapshot is None:
            raise StaleStateError("the request carries no 'twin_state', and an observation alone does not give one")
        try:
            state = TwinState.restore(self.task.compiled, snapshot)
        except StaleStateError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StaleStateError(f"'twin_state' is no snapshot: {type(error).__name__} {error}") from None
        twin = self._twin.at(state)
        seen = self.task.observe(twin, twin.positions(), np.ones(1))[0].astype(np.float64)
        apart = np.abs(seen - values) > _ROUNDING * np.maximum(1.0, np.abs(values))
        if apart.any():
            k = int(np.argmax(apart))
            raise StaleStateError(
                f"'twin_state' contradicts the observation in {int(apart.sum())} fields: '{self.task.fields[k].name}' "
                f"would be {seen[k]:g}, and is observed as {values[k]:g}"
            )
        return state

    def run(self, state: TwinState, first: Sequence[FloatArray], seed: int, *, deadline: float | None = None) -> Paths:
        """Run each of K first orders (A,), then the policy, on the same paths.

        Parameters
        ----------
        state
            Of one replica.
        seed
            Of the worlds.
        deadline
            Moment of :func:`time.monotonic` after which TooSlowError is raised.
        """
        k, p, task = len(first), self.paths, self.task
        spread = empty_state(task.compiled, k * p)
        spread.assign(np.arange(k * p), state)
        # Worlds of our own: what the snapshot's path holds is the future.
        spread.seed[:], spread.episode[:] = seed, 0
        spread.replica[:] = np.tile(np.arange(p), k)
        twin, ahead = self._twin.at(spread), np.ones(k * p)
        worth = self._worth(spread)
        cost, opening = np.zeros(k * p), np.zeros(k * p)
        asked, served = np.zeros(k * p), np.zeros(k * p)
        stock, placed = [self._by_unit(self._of_stock, spread.arrays.on_hand, k)], []
        for t in range(self.periods):
            if deadline is not None and time.monotonic() > deadline:
                raise TooSlowError
            if t == 0:
                orders = np.repeat(np.stack(first, axis=1), p, axis=1)
            else:
                orders = self._guards.placed(self._orders(twin, ahead))
            terms = twin.step(orders).sum(axis=0)
            cost += terms
            if t == 0:
                opening = terms
            asked += spread.arrays.demand.sum(axis=0)
            served += spread.arrays.served.sum(axis=0)
            stock.append(self._by_unit(self._of_stock, spread.arrays.on_hand, k))
            placed.append(self._by_unit(self._of_arc, orders, k))
        cost = (cost - (self._worth(spread) - worth)) / self.periods
        return Paths(
            cost=cost.reshape(k, p),
            first=opening.reshape(k, p),
            asked=asked.reshape(k, p) / self.periods,
            served=served.reshape(k, p) / self.periods,
            units=tuple(self._units),
            stock=np.array(stock),
            orders=np.array(placed),
        )

    def _orders(self, twin: Twin, ahead: FloatArray) -> FloatArray:
        """What the policy orders next, (A, B) units."""
        position, spec = twin.positions(), self._policy.spec
        observation = self.task.observe(twin, position, ahead)
        if spec.codec is None or spec.mode not in SCALED:
            return self._policy.choose(observation.astype(np.float64)).orders
        targets = spec.codec.targets(self._policy.predict(observation)[0])
        return twin.base_stock_orders(position, targets) if spec.codec.up_to else targets

    def _worth(self, state: TwinState) -> FloatArray:
        """Stock on hand and under way at standard cost, minus what customers are owed; (B,) money."""
        top, value, arrays = state.compiled.topology, state.compiled.unit_value, state.arrays
        held = value @ arrays.on_hand + value[top.arc_destination] @ arrays.in_transit
        return np.asarray(held - value[top.demand_stock] @ arrays.backlog)

    @staticmethod
    def _by_unit(of: FloatArray, rows: FloatArray, k: int) -> FloatArray:
        """Rows (N, K * P) summed by unit, mean over paths: (U, K)."""
        return np.asarray((of @ rows).reshape(len(of), k, -1).mean(axis=2))
