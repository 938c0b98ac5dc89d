"""Twin: a compiled network, its state and its draws in one object that steps, forks and rolls out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin import kernel
from twin.compile import CompiledNetwork, compile_network
from twin.economics import COST_TERMS, N_TERMS
from twin.errors import ActionError
from twin.network import Network
from twin.state import TwinState, empty_state
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
        (10, B) cost terms in the order of ``COST_TERMS``, money per period.
    demand, served
        (B,) units asked for and units met at once, per period.
    """

    terms: FloatArray
    demand: FloatArray
    served: FloatArray

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

    Examples
    --------
    >>> from twin import library
    >>> twin = Twin(library.load("lost_sales_zipkin2008"), replicas=2, seed=7)
    >>> costs = twin.step([[5.0, 5.0]])
    >>> costs.shape
    (10, 2)
    """

    def __init__(self, network: Network | CompiledNetwork, *, replicas: int = 1, seed: int = 0) -> None:
        self.compiled = compile_network(network) if isinstance(network, Network) else network
        self.tape = Tape(self.compiled)
        self._ahead = DrawAhead(self.tape)
        self.state = self.initial_state(np.full(replicas, seed, dtype=np.uint64), np.arange(replicas, dtype=np.uint32))
        self._costs = np.zeros((N_TERMS, replicas))

    def initial_state(
        self, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32] | None = None
    ) -> TwinState:
        """A state at the decision epoch of period 0: initial stock, and pipelines filled by the initial flows.

        Parameters
        ----------
        seed, replica, episode
            (B,) each: which path every replica follows.
        """
        compiled, top = self.compiled, self.compiled.topology
        state = empty_state(compiled, len(seed))
        state.seed[:], state.replica[:] = seed, replica
        if episode is not None:
            state.episode[:] = episode
        state.arrays.on_hand[:] = compiled.initial_on_hand[:, None]
        for a in np.flatnonzero(compiled.initial_flow > 0.0):
            under_way = int(top.arc_window[a])
            rows = slice(int(top.pipe_ptr[a]), int(top.pipe_ptr[a]) + under_way)
            state.arrays.pipeline[rows] = compiled.initial_flow[a]
            state.arrays.in_transit[a] = compiled.initial_flow[a] * under_way
        demand = self.tape.demand(state, 1)[0]
        state.head = int(kernel.prepare(top, state.arrays, demand, state.head))
        return state

    def reset(self, seed: int) -> None:
        """Start all replicas again on the paths of ``seed``."""
        replicas = self.state.replicas
        self.state = self.initial_state(np.full(replicas, seed, dtype=np.uint64), np.arange(replicas, dtype=np.uint32))

    def step(self, orders: ArrayLike) -> FloatArray:
        """Place orders and advance one period.

        Parameters
        ----------
        orders
            (A, B) units on each arc; what is not above 0 orders nothing.

        Returns
        -------
        ndarray, shape (10, B)
            The period's cost terms; overwritten by the next step.

        Raises
        ------
        ActionError
            When the shape is wrong or a number is NaN or infinite.
        """
        orders = np.ascontiguousarray(orders, dtype=np.float64)
        expected = (self.compiled.n_arcs, self.state.replicas)
        if orders.shape != expected:
            raise ActionError(f"orders must have shape (arcs, replicas) = {expected}, received {orders.shape}")
        if not np.isfinite(orders).all():
            arc = self.compiled.arc_names[int(np.argwhere(~np.isfinite(orders))[0, 0])]
            raise ActionError(f"the order on '{arc}' is not a finite number")
        state = self.state
        draws = self._ahead.next(state)
        kernel.step(
            self.compiled.topology,
            state.arrays,
            orders,
            draws.demand[0],
            draws.lead_time[0],
            draws.availability[0],
            self._costs,
            state.head,
        )
        state.head += 1
        state.period += 1
        return self._costs

    def positions(self) -> FloatArray:
        """Inventory position of every arc, shape (A, B); see :func:`twin.kernel.positions`."""
        out = np.zeros((self.compiled.n_arcs, self.state.replicas))
        kernel.positions(self.compiled.topology, self.state.arrays, self.state.head, out)
        return out

    def fork(self) -> Twin:
        """An independent twin at the same state, on the same paths."""
        return self.at(self.state.fork())

    def at(self, state: TwinState) -> Twin:
        """A twin of the same network at another state (of any number of replicas); the state is not copied."""
        other = object.__new__(Twin)
        other.compiled, other.tape, other.state = self.compiled, self.tape, state
        other._ahead = DrawAhead(self.tape)
        other._costs = np.zeros((N_TERMS, state.replicas))
        return other

    def rollout(
        self, policy: str, levels: ArrayLike, periods: int, *, warm_up: int = 0, repeat: int = 1
    ) -> RolloutResult:
        """Run a simple policy for many periods inside the kernel; the state moves on.

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
        if periods < 1 or warm_up < 0:
            raise ActionError(f"periods must be at least 1 and warm_up at least 0, received {periods} and {warm_up}")
        replicas, compiled = self.state.replicas, self.compiled
        levels = np.asarray(levels, dtype=np.float64)
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
        per_period = replicas * (compiled.n_demands + compiled.n_arcs + compiled.n_resources)
        longest = max(1, _BLOCK_NUMBERS // max(1, per_period))
        done, total = 0, warm_up + periods
        paths = replicas // repeat
        if paths * repeat != replicas:
            raise ActionError(f"repeat = {repeat} does not divide the {replicas} replicas")
        while done < total:
            length = min(longest, total - done)
            draws = self.tape.block(self.state.first(paths), length)
            if repeat > 1:
                draws = Draws(
                    np.tile(draws.demand, (1, 1, repeat)),
                    np.tile(draws.lead_time, (1, 1, repeat)),
                    np.tile(draws.availability, (1, 1, repeat)),
                )
            self.state.head = int(
                kernel.rollout(
                    compiled.topology,
                    self.state.arrays,
                    codes[policy],
                    levels,
                    *draws,
                    self.state.head,
                    max(0, warm_up - done),
                    costs,
                    service,
                )
            )
            self.state.period += length
            done += length
        return RolloutResult(costs / periods, service[0] / periods, service[1] / periods)

    def cost_names(self) -> tuple[str, ...]:
        """Names of the cost terms, in the order of :meth:`step`'s rows."""
        return tuple(term.name for term in COST_TERMS)
