"""What perfect foresight would cost: the best plan for a path of demand, lead times and availability known beforehand.

A linear program, solved by HiGHS, whose optimum is never above what any policy pays on that path. It holds everything
of docs/model.md but:

- whole units, smallest orders and lots: any quantity up to the largest order may be ordered;
- a fixed cost is charged in proportion to the arc's capacity, and not at all where there is none;
- rationing: who gets what of short stock or of a short resource is the program's choice, as is whether a source ships
  what it owes and whether a customer is served;
- shelf lives: units perish when the program wants them to, at their waste cost;
- where shipments keep their order, one lands when it was drawn to or, as the program chooses, with an earlier one;
- contracts are qualified, activated and ended in parts (what that relaxes is in
  :mod:`agents.oracles.hindsight_contracts`);
- any part of what is under way is moved forward, where all of it or nothing would be;
- with price breaks every unit costs the lowest price that the arc can reach in that period.

Goodwill is refused. Where none of that binds (quantities in fractions, no fixed costs, customers where nothing else
draws on the stock, nothing in the mail and nothing owed at the start, contracts that stay as they are) the kernel pays
exactly the program's cost for the program's orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from agents.oracles.hindsight_program import Program, hindsight_program
from twin.compile import CompiledNetwork
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import ConfigError
from twin.network import Network
from twin.state import TwinState
from twin.tape import Draws

__all__ = ["HindsightBound", "HindsightPlan", "best_plan", "hindsight_bound", "hindsight_plan"]

FloatArray = NDArray[np.float64]

#: SciPy's status of a program that is unbounded.
_UNBOUNDED = 3


@dataclass(frozen=True)
class HindsightPlan:
    """The best plan for one known path of T periods.

    Attributes
    ----------
    cost
        Of all periods together, minus ``terminal_value`` where that counts; money. Minus infinity where unbounded.
    terms
        The cost terms by name, of all periods together; money. NaN where unbounded.
    terminal_value
        What is left at the end is worth, whether it counts or not; money.
    orders
        (T, A) units, each as late as the plan allows.
    active
        (T, C) share of each contract that is active.
    status
        ``"unbounded"`` where what is left is worth more than it costs to get, without limit.
    """

    cost: float
    terms: dict[str, float]
    terminal_value: float
    orders: FloatArray
    active: FloatArray
    status: Literal["optimal", "unbounded"]


@dataclass(frozen=True)
class HindsightBound:
    """Mean over independent paths of the least cost that foresight could reach.

    Attributes
    ----------
    mean, standard_error
        Of all periods together, money.
    costs
        (B,) per path.
    """

    mean: float
    standard_error: float
    costs: FloatArray


def hindsight_plan(
    state: TwinState, draws: Draws, *, replica: int = 0, with_terminal_value: bool = False
) -> HindsightPlan:
    """The best plan of one replica from its decision epoch on, all draws known.

    Parameters
    ----------
    state
        Where it begins.
    draws
        Of T steps for the replicas of ``state``, from :meth:`twin.tape.Tape.block` or made by hand.
    replica
        Which one.
    with_terminal_value
        Whether the stock at the end counts, at its terminal value.

    Raises
    ------
    ConfigError
        When a stream has goodwill, there are no steps, or no plan exists (numbers that no network can show).

    Examples
    --------
    >>> from twin import library
    >>> twin = Twin(library.load("lost_sales_zipkin2008"), seed=7)
    >>> draws = twin.tape.block(twin.state, 20)
    >>> plan = hindsight_plan(twin.state, draws)
    >>> bool(plan.cost <= 20 * twin.rollout("constant", [4.0], 20).cost[0])
    True
    """
    if len(draws.demand) < 1:
        raise ConfigError("a plan needs draws of at least 1 period, received none")
    return best_plan(hindsight_program(state, draws, replica), state.compiled, with_terminal_value=with_terminal_value)


def best_plan(program: Program, compiled: CompiledNetwork, *, with_terminal_value: bool = False) -> HindsightPlan:
    """The best plan of a program of this network, see :func:`hindsight_plan`.

    Raises
    ------
    ConfigError
        When no plan exists.
    """
    cost = program.terms.sum(axis=0) - (program.terminal if with_terminal_value else 0.0)
    result = optimize.linprog(
        cost,
        A_ub=program.most,
        b_ub=program.at_most,
        A_eq=program.equal,
        b_eq=program.equal_to,
        bounds=np.column_stack([program.lower, program.upper]),
        method="highs",
    )
    names = [term.name for term in COST_TERMS]
    if result.status == _UNBOUNDED:
        nothing = np.full(program.ship.shape, np.nan)
        unknown = np.full((len(nothing), len(program.contracts)), np.nan)
        return HindsightPlan(-np.inf, dict.fromkeys(names, np.nan), np.nan, nothing, unknown, "unbounded")
    if result.x is None:
        raise ConfigError(f"HiGHS found no plan; the state or the draws contradict the network ({result.message})")
    terms = program.terms @ result.x + program.constant
    left = float(program.terminal @ result.x) + program.terminal_constant
    return HindsightPlan(
        cost=float(terms.sum()) - (left if with_terminal_value else 0.0),
        terms=dict(zip(names, terms.tolist(), strict=True)),
        terminal_value=left,
        orders=_orders(compiled, program, result.x),
        active=np.reshape([result.x[c.active].sum(axis=1) for c in program.contracts], (-1, len(program.ship))).T,
        status="optimal",
    )


def hindsight_bound(
    network: Network | CompiledNetwork,
    periods: int,
    *,
    replicas: int = 32,
    seed: int = 0,
    with_terminal_value: bool = False,
) -> HindsightBound:
    """Lower bound on the expected cost of every policy over ``periods`` periods from the start of the network.

    Parameters
    ----------
    network
        A network, or one already compiled.
    periods
        Length of the horizon.
    replicas, seed
        Which paths: those of a :class:`twin.engine.Twin` with these, so that a policy's costs on it can be paired.
    with_terminal_value
        Whether the stock at the end counts, at its terminal value.

    Raises
    ------
    ConfigError
        When a stream has goodwill, or there are fewer than 1 period or 2 replicas.
    """
    if replicas < 2 or periods < 1:
        raise ConfigError(f"a bound needs at least 2 replicas and 1 period, received {replicas} and {periods}")
    twin = Twin(network, replicas=replicas, seed=seed)
    draws = twin.tape.block(twin.state, periods)
    costs = np.array(
        [
            hindsight_plan(twin.state, draws, replica=b, with_terminal_value=with_terminal_value).cost
            for b in range(replicas)
        ]
    )
    return HindsightBound(float(costs.mean()), float(costs.std(ddof=1) / np.sqrt(replicas)), costs)


def _orders(compiled: CompiledNetwork, program: Program, x: FloatArray) -> FloatArray:
    """Orders (T, A) that bring to the sources no more than is to ship, as late as the largest orders allow."""
    ship, owed, most = np.maximum(x[program.ship], 0.0), x[program.owed], program.upper[program.reach]
    orders = np.zeros(ship.shape)
    for a, delay in enumerate(np.diff(compiled.topology.mail_ptr)):
        periods = range(delay, len(ship))
        debt = owed[delay - 1, a] if delay > 0 and periods else program.owed_at_start[a]
        reach = np.zeros(len(ship))
        for t in periods:
            reach[t] = max(ship[t, a] - debt, 0.0)
            debt = max(debt - ship[t, a], 0.0) if program.keeps[t, a] else 0.0
        for t in reversed(periods[1:]):
            reach[t - 1] += max(reach[t] - most[t, a], 0.0)
            reach[t] = min(reach[t], most[t, a])
        orders[: len(periods), a] = reach[delay:]
    return orders
