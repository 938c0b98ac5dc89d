"""Rolling-horizon linear program: plan for the demand that is expected, place the first period's orders, plan again.

Certainty-equivalent control (Bertsekas, Dynamic Programming and Optimal Control, volume 1). The plan knows one future
and keeps nothing for safety, so that the policy runs short whenever more is asked than expected. Capacities ahead are
those that are expected to work: by the chain of up and down where that says all, and else by what is believed of the
outages (:mod:`twin.beliefs.posterior`).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.ordering import Memory, Needs, OrderingPolicy, ParameterSpace
from agents.baselines.reading import Reading
from agents.baselines.spans import outlasting
from agents.oracles.scenario_program import ScenarioProgram, longest_path
from envs.sourcing import Sources, Supply
from envs.switching_rules import StatusRule
from envs.task import Task
from twin.beliefs import OutagePosterior, outages_unfit
from twin.beliefs.states import processes
from twin.compile import CompiledNetwork
from twin.errors import ActionError
from twin.state import TwinState, empty_state
from twin.tape import Draws

__all__ = ["RollingProgram"]

FloatArray = NDArray[np.float64]


class RollingProgram(OrderingPolicy):
    """Order what is best if demand, lead times and capacities are as expected.

    The plan never looks beyond the end of a finite horizon, and counts the terminal value of stock where it reaches it.
    Demand is the forecast as far as the observation shows one, and the mean of the stream beyond. Lead times are their
    rounded means. What the plan relaxes is in :mod:`agents.oracles.hindsight_lp` (fixed costs, lots, shelf lives,
    rationing); random shocks of demand are not expected, and prices stay as they are.

    Contracts are moved by the status rule (:class:`envs.switching_rules.StatusRule`), all backups being wanted in an
    outage.
    The plan keeps them as they are after the moves of now: it does not count on a supplier that is being qualified.

    Parameters
    ----------
    task, parameters
        See :class:`agents.baselines.ordering.OrderingPolicy`; there is nothing to tune.
    horizon
        Periods planned for; by default the longest path from a supplier to a customer and one more, the least with
        which every order can pay for itself; and where there is a belief on outages, what outlasts them.
    patience, recovery
        Periods that a main supplier must be out before backups are wanted, and be back before they are not.

    Raises
    ------
    ActionError
        When the policy does not fit the task, or the horizon is not above the longest path.
    """

    name = "rolling_program"
    #: Whether capacities ahead follow what is believed of outages.
    foresees: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        parameters: ArrayLike | None = None,
        *,
        horizon: int | None = None,
        patience: float = 1.0,
        recovery: float = 1.0,
    ) -> None:
        super().__init__(task, parameters)
        least = longest_path(self.compiled) + 1
        if horizon is not None and horizon < least:
            raise ActionError(
                f"horizon must be at least {least}, one more than the longest path from a supplier to a customer, "
                f"received {horizon}"
            )
        usual = max(least, math.ceil(outlasting(self.compiled))) if self._believes(self.compiled) else least
        self.horizon = usual if horizon is None else int(horizon)
        self._told = _periods_told(self, self.horizon)
        self._program = ScenarioProgram(self.compiled, keeps_contracts=True)
        self._posterior = OutagePosterior(self.compiled) if self._believes(self.compiled) else None
        self._listed = len(self.compiled.network.resources)
        self._sources = Sources(self.compiled)
        self._rule = StatusRule(self.compiled, self._sources)
        chosen = {"surge": 1.0, "patience": patience, "wait": patience, "recovery": recovery}
        given = zip(self._rule.names, self._rule.start, strict=True)
        self._terms = np.array([chosen.get(name.partition("[")[0], usual) for name, usual in given])

    @classmethod
    def _believes(cls, compiled: CompiledNetwork) -> bool:
        """Whether outages are more than chains of up and down that are seen, and there can be a belief on them."""
        if compiled.disruptions is None or not cls.foresees or outages_unfit(compiled) is not None:
            return False
        return bool(compiled.network.causes) or not all(e.is_two_state for e in processes(compiled).values())

    @classmethod
    def unfit(cls, compiled: CompiledNetwork) -> str | None:
        if (compiled.topology.demand_goodwill >= 0).any():
            return "demand that depends on service (goodwill) is not linear in the plan"
        return None

    @classmethod
    def moves_contracts(cls, compiled: CompiledNetwork) -> bool:
        return bool(compiled.relations.contracts)

    @classmethod
    def needs(cls, compiled: CompiledNetwork) -> Needs:
        groups: tuple[str, ...] = ("position", "on_hand", "in_mail", "owed", "backlog", "availability", "periods_left")
        if cls._believes(compiled):
            groups += ("since", "warning")
        if compiled.relations.contracts:
            groups += ("since", "contract", "clock")
        if compiled.prices.names:
            groups += ("price",)
        return Needs(tuple(dict.fromkeys(groups)), slots=True, window=longest_path(compiled) + 1)

    @classmethod
    def space(cls, task: Task) -> ParameterSpace:
        return ParameterSpace.empty()

    def begin(self, reading: Reading) -> Memory | None:
        return None if self._posterior is None else (self._posterior.begin(reading.since),)

    def orders(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, Memory | None]:
        orders, _, memory = self.decide(parameters, reading, memory)
        return orders, memory

    def decide(
        self, parameters: FloatArray, reading: Reading, memory: Memory | None = None
    ) -> tuple[FloatArray, NDArray[np.int64] | None, Memory | None]:
        state, expected, moves = _state(self.compiled, reading), self.expected(reading), None
        if self.compiled.prices.names:
            state.arrays.price[:] = reading.price
        if self.compiled.relations.contracts:
            moves = self._moved(reading, state)
        works, memory = self._foreseen(reading, memory)
        left = reading.periods_left
        ahead = np.full(reading.replicas, self.horizon)
        if left is not None:
            ahead = np.minimum(ahead, np.maximum(left, 1.0).astype(np.int64))
        ends = np.zeros(reading.replicas, dtype=np.bool_) if left is None else ahead >= left
        out = np.empty((self.compiled.n_arcs, reading.replicas))
        for b in range(reading.replicas):
            draws = self.draws(expected[:, : ahead[b], b], state, b, None if works is None else works[: ahead[b], :, b])
            out[:, b] = self._program.orders(state, b, draws, with_terminal_value=bool(ends[b]))
        return out, moves, memory

    def _moved(self, reading: Reading, state: TwinState) -> NDArray[np.int64]:
        """Moves (S, B) of the status rule; ``state`` gets the contracts as they are after them."""
        nothing = np.zeros((0, reading.replicas))
        supply = Supply(reading.position, reading.availability, reading.since, nothing, reading.stage, reading.clock)
        moves = self._rule.moves(self._terms, supply)
        state.arrays.stage[:], state.arrays.clock[:] = self._sources.after(supply, moves)
        return moves

    def _foreseen(self, reading: Reading, memory: Memory | None) -> tuple[FloatArray | None, Memory | None]:
        """Share of every resource that is expected to work in the periods ahead, (T, R, B), and the next memory."""
        if self._posterior is None:
            return None, memory
        (belief,) = (self._posterior.begin(reading.since),) if memory is None else memory
        belief = self._posterior.seen(belief, reading.availability, reading.warning, reading.since)
        out = np.ones((self.horizon, self.compiled.n_resources, reading.replicas))
        out[:, : self._listed] = self._posterior.expected(belief, self.horizon, [[r] for r in range(self._listed)])
        return out, (self._posterior.after(belief),)

    def draws(self, expected: FloatArray, state: TwinState, replica: int, works: FloatArray | None = None) -> Draws:
        """The paths that one replica plans for.

        Parameters
        ----------
        expected
            (D, T) demand that is expected, units.
        state, replica
            Where the plan begins.
        works
            (T, R) share of each resource that is expected to work, the period after the first one first; by the chains
            of up and down where left out.
        """
        compiled, periods = self.compiled, expected.shape[1]
        lead = np.floor(compiled.lead_mean + 0.5).astype(np.int32)
        if works is not None:
            return Draws(expected.T[:, :, None], np.tile(lead[:, None], (periods, 1, 1)), works[:, :, None])
        share, recovery = compiled.resource_share_when_down, compiled.resource_recovery
        following = np.empty((periods, compiled.n_resources, 1))
        up = (state.arrays.availability[:, replica] == 1.0).astype(np.float64)
        for t in range(periods):
            up = up * (1.0 - compiled.resource_failure) + (1.0 - up) * recovery
            following[t, :, 0] = up + (1.0 - up) * share
        return Draws(expected.T[:, :, None], np.tile(lead[:, None], (periods, 1, 1)), following)

    def expected(self, reading: Reading) -> FloatArray:
        """Demand planned with, (D, horizon, B): what the observation tells, and the mean of the stream beyond."""
        seasons = self.compiled.demand_distributions
        mean = np.array([np.mean([law.mean_value for law in entry]) for entry in seasons])
        out = np.empty((self.compiled.n_demands, self.horizon, reading.replicas))
        out[:] = mean[:, None, None]
        out[:, : self._told] = reading.expected(self._told)
        return out


def _periods_told(policy: OrderingPolicy, most: int) -> int:
    """Periods ahead, up to ``most``, whose expected demand the policy's task shows; at least those that it needs."""
    for window in range(most, 1, -1):
        try:
            policy.columns.expected(window)
        except ActionError:
            continue
        return window
    return 1


def _state(compiled: CompiledNetwork, reading: Reading) -> TwinState:
    """A state that a program cannot tell from the one that was read.

    What arrives at a stock point in a receipt is put on the arc into it that has the longest pipeline: from where it
    comes changes no decision. Orders in the mail are spread evenly over its slots, of which most arcs have one or none.
    """
    top, state = compiled.topology, empty_state(compiled, reading.replicas)
    arrays = state.arrays
    arrays.on_hand[:] = reading.on_hand
    arrays.backorders[:] = reading.owed
    arrays.backlog[:] = reading.backlog
    arrays.availability[:] = reading.availability
    arrays.availability[compiled.relations.rules.resource] = 1.0  # a contract's stage says what it gives
    slots, delay = np.diff(top.pipe_ptr), np.diff(top.mail_ptr)
    carrier: dict[int, Any] = {}
    for a in np.lexsort((slots,)).tolist():
        carrier[int(top.arc_destination[a])] = a
    for ahead in range(1, int(slots.max(initial=0)) + 1):
        arriving = reading.arriving(ahead)
        for i, a in carrier.items():
            if ahead <= slots[a]:
                arrays.pipeline[top.pipe_ptr[a] + ahead - 1] = arriving[i]
    if delay.any():
        arrays.mail[:] = np.repeat(reading.in_mail / np.maximum(delay, 1)[:, None], delay, axis=0)
    return state
