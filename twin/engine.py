"""Twin: a compiled network, its state and its draws in one object that steps, forks and rolls out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from twin import dealing, kernel
from twin.compile import CompiledNetwork, compile_network
from twin.economics import COST_TERMS, N_TERMS, terminal_value
from twin.errors import ActionError
from twin.network import Network
from twin.state import TwinState, starting_state
from twin.tape import DrawAhead, Draws, Tape

__all__ = ["RolloutResult", "Twin"]

FloatArray = NDArray[np.float64]

#: Longest block of draws held at once, in numbers: bounds memory for long rollouts of many replicas.
_BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class RolloutResult:
    """Averages per period of a rollout, one value per replica.

    Attributes
    ----------
    terms
        (13, B) cost terms in the order of ``COST_TERMS``, money per period.
    demand, served
        (B,) units asked for and units met at once, per period.
    terminal_value
        (B,) what the stock at the end is worth, money; counts where the horizon is finite.
    """

    terms: FloatArray
    demand: FloatArray
    served: FloatArray
    terminal_value: FloatArray

    @property
    def cost(self) -> FloatArray:
        """Total cost per period, shape (B,)."""
        return np.asarray(self.terms.sum(axis=0))


class Twin:
    """Many replicas of one network, moved together.

    Parameters
    ----------
    network
        A network, or one already compiled.
    replicas
        Number of replicas B.
    seed
        Of the world's random numbers; replica b of a seed is the same whatever B is.
    dtype
        Precision of state and costs: float64, or float32 for twice the speed where seven digits are enough.

    Examples
    --------
    >>> from twin import library
    >>> twin = Twin(library.load("lost_sales_zipkin2008"), replicas=2, seed=7)
    >>> costs = twin.step([[5.0, 5.0]])
    >>> costs.shape
    (13, 2)
    """

    def __init__(
        self,
        network: Network | CompiledNetwork,
        *,
        replicas: int = 1,
        seed: int = 0,
        dtype: DTypeLike = np.float64,
    ) -> None:
        if replicas < 1 or not 0 <= seed < 1 << 64:
            raise ActionError(
                f"replicas must be at least 1 and seed from 0 to 2**64 - 1, received {replicas} and {seed}"
            )
        self.compiled = compile_network(network) if isinstance(network, Network) else network
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float64, np.float32):
            raise ActionError(f"dtype must be float64 or float32, received {self.dtype}")
        self._packed = self.compiled.topology.pack(self.dtype)
        #: Whether a period has parts around the kernel's, see twin.dealing.
        self._deals = self.compiled.has_deals
        self.tape = Tape(self.compiled)
        self._ahead = DrawAhead(self.tape)
        self.state = self.initial_state(np.full(replicas, seed, dtype=np.uint64), np.arange(replicas, dtype=np.uint32))
        self._costs = np.zeros((N_TERMS, replicas), self.dtype)

    def initial_state(
        self, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32] | None = None
    ) -> TwinState:
        """A state at the decision epoch of period 0: initial stock, mail and pipelines filled by the initial flows.

        Parameters
        ----------
        seed, replica, episode
            (B,) each: which path every replica follows.
        """
        state = starting_state(self.compiled, len(seed), self.dtype)
        state.seed[:], state.replica[:] = seed, replica
        if episode is not None:
            state.episode[:] = episode
        self.tape.begin(state)
        # Only where customers come before orders has a first demand been served by then.
        served = self.tape.demand_offset == 1
        demand = self.tape.demand(state, 1)[0] if served else np.empty((self.compiled.n_demands, len(seed)))
        state.head = int(kernel.prepare(self._packed, state.store, demand, state.head))
        return state

    @property
    def bytes_per_replica(self) -> int:
        """Memory that the state of one replica takes: its numbers, and where it stands on its path."""
        state = self.state
        clocks = (state.seed, state.replica, state.episode, state.period)
        return int(state.store.numbers.shape[0] * self.dtype.itemsize + sum(clock.itemsize for clock in clocks))

    def reset(self, seed: int) -> None:
        """Start all replicas again on the paths of ``seed``."""
        replicas = self.state.replicas
        self.state = self.initial_state(np.full(replicas, seed, dtype=np.uint64), np.arange(replicas, dtype=np.uint32))

    def step(self, orders: ArrayLike, draws: Draws | None = None, moves: ArrayLike | None = None) -> FloatArray:
        """Place orders and advance one period.

        Parameters
        ----------
        orders
            (A, B) units on each arc; what is not above 0 orders nothing.
        draws
            What the world does in this period (a time axis of length 1); from the twin's own paths when left out.
        moves
            (S, B) positions in :data:`twin.contracts.MOVES`, one row per relation (``compiled.relation_names``), which
            happen before the orders; all keep when left out. One that is not allowed counts as keeping.

        Returns
        -------
        ndarray, shape (13, B)
            The period's cost terms; overwritten by the next step.

        Raises
        ------
        ActionError
            When a shape is wrong, a number is NaN or infinite, or there is no such move.
        """
        orders = np.ascontiguousarray(orders, dtype=self.dtype)
        expected = (self.compiled.n_arcs, self.state.replicas)
        if orders.shape != expected:
            raise ActionError(f"orders must have shape (arcs, replicas) = {expected}, received {orders.shape}")
        if not np.isfinite(orders).all():
            arc = self.compiled.arc_names[int(np.argwhere(~np.isfinite(orders))[0, 0])]
            raise ActionError(f"the order on '{arc}' is not a finite number")
        state = self.state
        _refuse_views(state)
        chosen = None
        if self._deals or moves is not None:
            chosen = dealing.checked_moves(moves, self.compiled.relation_names, state.replicas)
        if draws is None:
            draws = self._ahead.next(state)
        else:
            _check_draws(draws, self.compiled, state.replicas)
            draws = self.tape.completed(draws, state)
        if chosen is not None:
            orders, wanted, charges = self._begin(orders, chosen)
        kernel.step(
            self._packed,
            state.store,
            orders,
            draws.demand[0],
            draws.lead_time[0],
            draws.availability[0],
            self._costs,
            state.head,
            state.period,
        )
        if chosen is not None:
            rules, prices = self.compiled.relations.rules, self.compiled.prices.rules
            dealing.end(self._packed, state.store, rules, prices, draws.lead_time[0], wanted, charges, self._costs)
        if draws.processes.shape[1]:
            state.exogenous[:] = draws.processes[-1]
        state.head += 1
        state.period += 1
        return self._costs

    def _begin(self, orders: FloatArray, moves: NDArray[np.int64]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Moves and the gate: the orders that are left, what arcs want, and what moves cost."""
        rules, state = self.compiled.relations.rules, self.state
        left, charges = orders.copy(), np.empty((2, state.replicas), self.dtype)
        wanted = np.empty((len(rules.record_arc), state.replicas), self.dtype)
        dealing.begin(self._packed, state.store, rules, state.head, moves, left, wanted, charges)
        return left, wanted, charges

    def allowed_moves(self) -> NDArray[np.bool_]:
        """Which moves are allowed now, per relation: shape (S, 5, B), in the order of ``twin.contracts.MOVES``.

        Keeping always; qualifying outside, activating once qualified, deactivating while active; expediting while there
        are units under way on an arc on which it is possible.
        """
        return dealing.allowed_moves(self.state, self.compiled.relations)

    def positions(self) -> FloatArray:
        """Inventory position of every arc, shape (A, B); see :func:`twin.kernel.positions`."""
        out = np.zeros((self.compiled.n_arcs, self.state.replicas), self.dtype)
        kernel.positions(self._packed, self.state.store, self.state.head, out)
        return out

    def base_stock_orders(self, position: FloatArray, levels: FloatArray) -> FloatArray:
        """Orders that lift positions to levels, both (A, B); see :func:`twin.kernel.base_stock_orders`."""
        orders = np.empty((self.compiled.n_arcs, self.state.replicas), self.dtype)
        levels = np.ascontiguousarray(levels, dtype=self.dtype)
        kernel.base_stock_orders(self._packed, position, levels, orders)
        return orders

    def arrivals(self, edges: NDArray[np.int64]) -> FloatArray:
        """What arrives in bands of receipts ahead, shape (I * K, B); see :func:`twin.kernel.arrivals`."""
        out = np.zeros((self.compiled.n_stocks * len(edges), self.state.replicas), self.dtype)
        kernel.arrivals(self._packed, self.state.store, self.state.head, edges, out)
        return out

    @staticmethod
    def scaled(action: NDArray[Any], low: FloatArray, center: FloatArray, high: FloatArray) -> FloatArray:
        """Numbers in [-1, 1] (B, A) as units (A, B) between ``low`` and ``high``; see :func:`twin.kernel.scaled`."""
        out = np.empty(action.shape[::-1])
        kind = np.float32 if action.dtype == np.float32 else np.float64
        kernel.scaled(np.ascontiguousarray(action, dtype=kind), low, center, high, out)
        return out

    @staticmethod
    def tabulate(rows: FloatArray, low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of numbers (n, B) as one row per replica (B, n), within bounds; see :func:`twin.kernel.tabulate`."""
        out = np.empty(rows.shape[::-1], dtype=np.float32)
        kernel.tabulate(rows, low, high, out)
        return out

    def fork(self) -> Twin:
        """An independent twin at the same state, on the same paths."""
        return self.at(self.state.fork())

    def at(self, state: TwinState) -> Twin:
        """A twin of the same network at another state (of any number of replicas); the state is not copied.

        Raises
        ------
        ActionError
            When the state is of another network or precision, or a view of some replicas of another one: these cannot
            move alone (fork it).
        """
        _refuse_views(state)
        if state.compiled is not self.compiled and state.compiled.content_hash() != self.compiled.content_hash():
            theirs, ours = state.compiled.network.name, self.compiled.network.name
            raise ActionError(f"the state is of another network ('{theirs}') than the twin ('{ours}')")
        if state.store.numbers.dtype != self.dtype:
            raise ActionError(f"the state has numbers of {state.store.numbers.dtype}, the twin of {self.dtype}")
        other = object.__new__(Twin)
        other.compiled, other.tape, other.state = self.compiled, self.tape, state
        other.dtype, other._packed, other._deals = self.dtype, self._packed, self._deals
        other._ahead = DrawAhead(self.tape)
        other._costs = np.zeros((N_TERMS, state.replicas), self.dtype)
        return other

    def rollout(
        self, policy: str, levels: ArrayLike, periods: int, *, warm_up: int = 0, repeat: int = 1
    ) -> RolloutResult:
        """Run a simple policy for many periods; the state moves on. No move is made on any relation.

        Parameters
        ----------
        policy
            ``"base_stock"`` (order up to the levels, see :func:`twin.kernel.positions`) or ``"constant"``.
        levels
            (A,) for all replicas, or (A, B).
        periods
            Counted periods.
        warm_up
            Periods run before counting starts.
        repeat
            Says that the replicas are ``repeat`` copies of the same paths, in blocks one after another (candidates
            compared on common random numbers), so that the draws are made once and copied.
        """
        codes = {"constant": kernel.CONSTANT, "base_stock": kernel.BASE_STOCK}
        if policy not in codes:
            raise ActionError(f"no rollout policy called '{policy}' (allowed: {', '.join(codes)})")
        if periods < 1 or warm_up < 0 or repeat < 1:
            raise ActionError(
                "periods and repeat must be at least 1 and warm_up at least 0, "
                f"received {periods}, {repeat} and {warm_up}"
            )
        _refuse_views(self.state)
        replicas, compiled = self.state.replicas, self.compiled
        levels = np.asarray(levels, dtype=self.dtype)
        if levels.shape not in {(compiled.n_arcs,), (compiled.n_arcs, replicas)}:
            raise ActionError(
                f"levels must have shape ({compiled.n_arcs},) or ({compiled.n_arcs}, {replicas}), "
                f"received {levels.shape}"
            )
        if not np.isfinite(levels).all():
            raise ActionError("levels hold a NaN or an infinite number")
        levels = np.ascontiguousarray(
            np.broadcast_to(levels[:, None] if levels.ndim == 1 else levels, (compiled.n_arcs, replicas))
        )
        costs, service = np.zeros((N_TERMS, replicas)), np.zeros((2, replicas))
        # Lead times that are fixed are not drawn, and take no memory.
        drawn = int((compiled.topology.arc_fixed_lead < 0).sum())
        per_period = replicas * (compiled.n_demands + drawn + compiled.n_resources + compiled.n_exogenous)
        longest = max(1, _BLOCK_NUMBERS // max(1, per_period))
        done, total = 0, warm_up + periods
        paths = replicas // repeat
        if paths * repeat != replicas:
            raise ActionError(f"repeat = {repeat} does not divide the {replicas} replicas")
        while done < total:
            length = min(longest, total - done)
            draws = self.tape.block(self.state.first(paths), length)
            if repeat > 1:
                draws = draws.repeated(repeat)
            if self._deals:
                self._play(policy, levels, draws, warm_up - done, costs, service)
                done += length
                continue
            self.state.head = int(
                kernel.rollout(
                    self._packed,
                    self.state.store,
                    codes[policy],
                    levels,
                    draws.demand,
                    draws.lead_time,
                    draws.availability,
                    self.state.head,
                    self.state.period,
                    max(0, warm_up - done),
                    costs,
                    service,
                )
            )
            if draws.processes.shape[1]:
                self.state.exogenous[:] = draws.processes[-1]
            self.state.period += length
            done += length
        return RolloutResult(costs / periods, service[0] / periods, service[1] / periods, terminal_value(self.state))

    def _play(
        self, policy: str, levels: FloatArray, draws: Draws, warm_up: int, costs: FloatArray, service: FloatArray
    ) -> None:
        """A block of a rollout period by period; ``costs`` and ``service`` are added to."""
        for t in range(len(draws.demand)):
            orders = levels if policy == "constant" else self.base_stock_orders(self.positions(), levels)
            terms = self.step(orders, draws.period(t))
            if t >= warm_up:
                costs += terms
                service[0] += self.state.arrays.demand.sum(axis=0)
                service[1] += self.state.arrays.served.sum(axis=0)

    def cost_names(self) -> tuple[str, ...]:
        """Names of the cost terms, in the order of :meth:`step`'s rows."""
        return tuple(term.name for term in COST_TERMS)


def _refuse_views(state: TwinState) -> None:
    # The kernel takes the numbers by their address: they must lie together.
    if not state.store.numbers.flags.c_contiguous:
        raise ActionError("this state is a view of some replicas of another one: a twin runs on its fork()")


def _check_draws(draws: Draws, compiled: CompiledNetwork, replicas: int) -> None:
    """The kernel reads draws without asking for their shape."""
    rows = (compiled.n_demands, compiled.n_arcs, compiled.n_resources, compiled.n_exogenous)
    arrays: tuple[NDArray[Any], ...] = tuple(draws)
    for name, array, size in zip(Draws._fields, arrays, rows, strict=True):
        if name == "processes" and array.shape[1:] == (0, 0) and size == len(compiled.network.resources):
            continue  # left out, and all that they would say follows from availability
        if array.shape != (1, size, replicas):
            raise ActionError(f"draws.{name} must have shape (1, {size}, {replicas}), received {array.shape}")
