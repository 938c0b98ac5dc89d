"""The exact average cost of a policy that acts in an environment, on the Markov chain that it induces.

Every state that the policy reaches is put through the environment's own path: it is written into a state of the twin,
the task observes it, the policy answers, the task decodes the answer and the order is rounded as the twin rounds it. So
the cost is that of the very policy that simulations run, without their noise. What the chain itself needs to know of a
network, :func:`exact_problem` reads off it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.oracles import unreliable_suppliers
from agents.oracles.chain import Evaluation, evaluate
from agents.oracles.problem import IntArray, Problem
from agents.oracles.unreliable_suppliers import BoolArray, UnreliableSuppliers, UpDown
from agents.policy import Policy
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ActionError, ConfigError
from twin.orders import feasible_orders
from twin.state import TwinState, empty_state
from twin.topology import RECEIVE_ORDER_DEMAND

__all__ = ["exact_cost", "exact_problem", "unreliable_problem"]

#: Groups of fields that are functions of the chain's state.
_OF_THE_STATE = ("on_hand", "position", "in_transit", "in_mail", "arriving", "owed", "backlog")
#: Those that are functions of the net stock, what is due and who is up, where suppliers fail.
_OF_THE_NET_STATE = ("position", "in_transit", "in_mail", "arriving", "owed", "availability")
#: States that go through an environment together: bounds memory.
_TOGETHER = 1 << 16


def exact_problem(compiled: CompiledNetwork) -> Problem:
    """The problem with a known exact solution that a network is.

    One stock point held in whole units, independent demand of one law, receipts before orders before demand. Either
    unmet demand is lost and one arc brings stock after a fixed lead time of at least 1, or it is backlogged and a
    second, express arc delivers at once. Costs are holding, penalty, purchase and freight per unit, and a fixed cost
    per order of the arc with the lead time.

    Raises
    ------
    ConfigError
        When the network is anything else, with the first reason.
    """
    reason = _other_than_solvable(compiled)
    if reason is not None:
        raise ConfigError(f"{compiled.network.name}: no exact evaluation, because {reason}")
    top = compiled.topology
    regular, express = _arcs(compiled)
    price = top.arc_unit_cost + top.arc_freight
    return Problem(
        demand=compiled.demand_distributions[0][0],
        lead_time=int(top.arc_fixed_lead[regular]),
        holding=float(top.stock_holding[0]),
        penalty=float(top.demand_penalty[0]),
        price=float(price[regular]),
        fixed_cost=float(top.arc_fixed[regular]),
        express_price=None if express is None else float(price[express]),
    )


def unreliable_problem(compiled: CompiledNetwork) -> UnreliableSuppliers:
    """The same for a network whose suppliers fail: as :func:`exact_problem` with a backlog, and each arc may use one
    resource without a limit that is up or down, and refuses orders while it is down.

    Raises
    ------
    ConfigError
        When the network is anything else, with the first reason.
    """
    reason = _other_than_solvable(compiled, failing=True)
    if reason is not None:
        raise ConfigError(f"{compiled.network.name}: no exact evaluation, because {reason}")
    top = compiled.topology
    regular, express = _arcs(compiled)
    price = top.arc_unit_cost + top.arc_freight

    def chain(a: int | None) -> UpDown:
        used = [] if a is None else top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]].tolist()
        if not used:
            return unreliable_suppliers.ALWAYS_UP
        return UpDown(float(compiled.resource_failure[used[0]]), float(compiled.resource_recovery[used[0]]))

    return UnreliableSuppliers(
        demand=compiled.demand_distributions[0][0],
        lead_time=int(top.arc_fixed_lead[regular]),
        holding=float(top.stock_holding[0]),
        penalty=float(top.demand_penalty[0]),
        regular=chain(regular),
        price=float(price[regular]),
        express_price=None if express is None else float(price[express]),
        express=chain(express),
    )


def exact_cost(policy: Policy, task: Task, *, tolerance: float = 1e-8) -> Evaluation:
    """Exact average cost per period of a policy in a task, from an empty system.

    Parameters
    ----------
    policy
        Deterministic and without memory: what it orders is a function of the observation.
    task
        Continuing, on a network of :func:`exact_problem` or :func:`unreliable_problem`, whose observation shows
        nothing but the present stock, as positions where suppliers fail, and who is up.
    tolerance
        Largest distance of the bounds.

    Raises
    ------
    ConfigError
        When the network, the task or the policy is of another kind, or the chain cannot be solved (see
        :func:`agents.oracles.chain.evaluate`).
    ActionError
        When the policy gives actions of another shape than the environment takes, or not finite.

    Examples
    --------
    >>> from agents.baselines.base_stock import BaseStock
    >>> from envs.inventory import InventoryTask
    >>> task = InventoryTask(
    ...     "lost_sales_zipkin2008", parameters={"lead_time": 1}, levels=[12.0], observe=["position"]
    ... )
    >>> round(exact_cost(BaseStock(task, np.array([12.0])), task).cost, 2)
    4.16
    """
    failing = task.compiled.n_resources > 0
    problem = unreliable_problem(task.compiled) if failing else exact_problem(task.compiled)
    if task.finite:
        raise ConfigError("an exact average cost needs a continuing problem; this task ends at its horizon")
    shown = _OF_THE_NET_STATE if failing else _OF_THE_STATE
    more = [field.name for field in task.fields if field.name.partition("[")[0] not in shown]
    if more:
        raise ConfigError(
            f"the observation shows {', '.join(more)}, on which the policy's orders could depend and which the state "
            f"of the chain does not hold; make the task with observe= some of {', '.join(shown)}"
        )
    twin = Twin(task.compiled)
    if isinstance(problem, UnreliableSuppliers):
        return unreliable_suppliers.evaluate(problem, _Failing(policy, task, twin), tolerance=tolerance)
    # With a backlog the environment shows what has just come in and what is owed apart.
    return evaluate(
        problem,
        _Environment(policy, task, twin, problem.lost),
        tolerance=tolerance,
        before_receipt=not problem.lost,
    )


@dataclass(frozen=True)
class _Asked:
    """What a policy orders at states of the twin."""

    policy: Policy
    task: Task
    twin: Twin

    def orders(self, state: TwinState) -> NDArray[np.float64]:
        """Units placed at each replica of a state: (n,), or (n, 2) with an express arc."""
        task, number, twin = self.task, state.replicas, self.twin.at(state)
        position = twin.positions()
        observation = task.observe(twin, position, np.full(number, float(task.horizon)))
        action, memory = self.policy.predict(observation, None, np.ones(number, dtype=np.bool_), deterministic=True)
        if memory is not None and any(np.size(part) for part in memory):
            raise ConfigError("an exact average cost needs a policy without memory; this one remembers past periods")
        if np.shape(action) != (number, *(task.action_space.shape or ())):
            raise ActionError(f"the policy gave actions of shape {np.shape(action)} for {number} observations")
        if not np.isfinite(action).all():
            raise ActionError("the policy gave actions that are not finite numbers")
        asked = task.decode(np.asarray(action), twin, position)
        rules = task.compiled.topology
        placed = feasible_orders(asked, rules.arc_minimum, rules.arc_lot, rules.arc_maximum)
        regular, express = _arcs(task.compiled)
        return np.asarray(placed[regular] if express is None else placed[[regular, express]].T)

    def under_way(self, state: TwinState, due: IntArray) -> TwinState:
        """The state with (n, k) units due on the arc with the lead time."""
        arrays, regular = state.arrays, _arcs(self.task.compiled)[0]
        first = int(self.task.compiled.topology.pipe_ptr[regular])
        arrays.pipeline[first : first + due.shape[1]] = due.T
        arrays.in_transit[regular] = due.sum(axis=1)
        return state


@dataclass(frozen=True)
class _Environment(_Asked):
    """What a policy orders in states of the chain (n, numbers)."""

    lost: bool

    def __call__(self, states: IntArray) -> NDArray[np.float64]:
        parts = [states[k : k + _TOGETHER] for k in range(0, len(states), _TOGETHER)]
        return np.concatenate([self.orders(self._written(part)) for part in parts])

    def _written(self, states: IntArray) -> TwinState:
        state = empty_state(self.task.compiled, len(states))
        arrays = state.arrays
        if self.lost:
            arrays.on_hand[0], due = states[:, 0], states[:, 1:]
        else:  # before receipt: the net stock, then what comes in now
            arrays.on_hand[0] = np.maximum(states[:, 0], 0) + states[:, 1]
            arrays.backlog[0], due = np.maximum(-states[:, 0], 0), states[:, 2:]
        return self.under_way(state, due)


@dataclass(frozen=True)
class _Failing(_Asked):
    """What a policy orders in states of the chain (n, numbers), and (n, 2) who is up."""

    def __call__(self, states: IntArray, up: BoolArray) -> NDArray[np.float64]:
        parts = [slice(k, k + _TOGETHER) for k in range(0, len(states), _TOGETHER)]
        placed = np.concatenate([self.orders(self._written(states[part], up[part])) for part in parts])
        return placed if placed.ndim == 2 else np.stack([placed, np.zeros_like(placed)], axis=1)

    def _written(self, states: IntArray, up: BoolArray) -> TwinState:
        compiled = self.task.compiled
        state = empty_state(compiled, len(states))
        arrays, top = state.arrays, compiled.topology
        arrays.on_hand[0], arrays.backlog[0] = np.maximum(states[:, 0], 0), np.maximum(-states[:, 0], 0)
        for a, works in zip(_arcs(compiled), up.T, strict=True):
            if a is not None:
                arrays.availability[top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]]] = works
        return self.under_way(state, states[:, 1:])


def _arcs(compiled: CompiledNetwork) -> tuple[int, int | None]:
    """The arc with the lead time, and the express arc where there is one."""
    lead = compiled.topology.arc_fixed_lead
    return (int(np.argmax(lead)), int(np.argmin(lead)) if len(lead) > 1 else None)


def _other_than_solvable(compiled: CompiledNetwork, *, failing: bool = False) -> str | None:
    """Why a network is not one of the problems; None where it is one."""
    top = compiled.topology
    if compiled.n_stocks != 1 or compiled.n_demands != 1:
        return f"it has {compiled.n_stocks} stock points and {compiled.n_demands} demand streams, not one of each"
    stream = next(iter(compiled.network.demands.values()))
    product = compiled.network.products[stream.product]
    lost = stream.unmet == "lost"
    leads = sorted(top.arc_fixed_lead.tolist())
    fits = (len(leads) == 1 and leads[0] >= 1) if lost else (len(leads) == 2 and leads[0] == 0 and leads[1] >= 1)
    express = _arcs(compiled)[1]
    checks = (
        (top.phase_order != RECEIVE_ORDER_DEMAND, f"its phases are {', '.join(compiled.network.phases)}"),
        (not product.integer, f"'{stream.product}' is not held in whole units (integer: true)"),
        (product.shelf_life is not None, f"'{stream.product}' perishes"),
        (bool((top.arc_lot % 1.0).any()), "a lot size is not a whole number"),
        (bool(np.isfinite(top.arc_capacity).any()), "resources or capacities limit it"),
        (compiled.n_resources > 0 and not failing, "resources limit it"),
        (bool(top.resource_overhead.any() or top.resource_overhead_down.any()), "a resource has an overhead"),
        (failing and lost, "unmet demand is lost"),
        (failing and bool((np.diff(top.use_ptr) > 1).any()), "an arc uses more than one resource"),
        (failing and len(set(top.use_resource.tolist())) < len(top.use_resource), "two arcs share a resource"),
        (failing and compiled.disruptions is not None, "a resource does more than go up and down"),
        (failing and bool((compiled.resource_share_when_down > 0.0).any()), "a resource that is down gives something"),
        (failing and bool(top.arc_waits.any()), "orders wait at a source that is down"),
        (len(top.in_stock) > 0, "an arc draws on stock"),
        (bool(top.mail_ptr[-1] > 0), "orders take time to reach the source (order_delay)"),
        (min(leads, default=0) < 0, "a lead time is random"),
        (
            not fits,
            "with lost sales it needs one arc with a lead time of at least 1 period"
            if lost
            else "with a backlog it needs an arc with a lead time of at least 1 period and an express arc with none",
        ),
        (len(compiled.demand_distributions[0]) > 1, "demand is seasonal"),
        (stream.moves or stream.random_shock is not None, "demand has a trend or shocks"),
        (stream.autocorrelation != 0.0, "successive demands are correlated"),
        (stream.distribution.distribution == "recorded", "demand is a recorded series"),
        (stream.goodwill is not None, "demand depends on the service (goodwill)"),
        (bool(top.arc_transit_holding.any()), "stock under way is charged (transit_holding_cost)"),
        (bool(top.arc_emission_cost.any()), "emissions are charged"),
        (stream.price > 0.0, "sales earn a price"),
        (compiled.has_deals, "its suppliers have contracts, expediting, breaks or moving prices"),
        (express is not None and bool(top.arc_fixed[express] > 0.0), "the express arc has a fixed cost"),
    )
    return next((reason for wrong, reason in checks if wrong), None)
