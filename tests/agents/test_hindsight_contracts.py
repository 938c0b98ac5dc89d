"""The hindsight program with contracts, expediting, breaks and moving prices: a bound, and where it is attained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.baselines.status_switching import StatusSwitching
from agents.oracles.hindsight_lp import HindsightPlan, best_plan, hindsight_bound, hindsight_plan
from agents.oracles.hindsight_program import hindsight_program
from agents.oracles.scenario_program import ScenarioProgram
from envs.core import Batch
from envs.switching import SwitchingTask
from tests.agents.test_hindsight_lp import PERIODS, PROFILE, SEEDS, plain_networks, without_goodwill
from tests.envs.test_switching import network as three_sources
from tests.strategies import CONTRACT, PRICE_PROCESS, dealt_data, random_moves, random_orders
from twin.contracts import MOVES
from twin.economics import terminal_value
from twin.engine import Twin
from twin.errors import ConfigError
from twin.network import PHASE_ORDERS, Network
from twin.state import TwinState
from twin.tape import Draws

KEEP, QUALIFY, ACTIVATE, DEACTIVATE, EXPEDITE = range(len(MOVES))


def happens(twin: Twin, moves: NDArray[np.int64], draws: Draws) -> NDArray[np.int64]:
    """What is left of moves (T, S, B) when those that are not allowed are keeping."""
    world, out = twin.fork(), np.zeros_like(moves)
    nothing = np.zeros((twin.compiled.n_arcs, twin.state.replicas))
    for t, wanted in enumerate(moves):
        allowed = np.take_along_axis(world.allowed_moves(), wanted[:, None], axis=1)[:, 0]
        out[t] = np.where(allowed & (wanted != EXPEDITE), wanted, KEEP)
        world.step(nothing, draws.period(t), out[t])
    return out


def plan_of(twin: Twin, moves: NDArray[np.int64], draws: Draws, *, replica: int = 0, terminal: bool) -> HindsightPlan:
    """The best plan of the program with moves (T, S, B) that are given, all of them allowed."""
    program = hindsight_program(twin.state, draws, replica)
    for contract, s in zip(program.contracts, twin.compiled.relations.rules.relation, strict=True):
        for t, move in enumerate(moves[:, s, replica]):
            for column, kind in ((contract.begun[t], QUALIFY), (contract.activated[t], ACTIVATE)):
                program.lower[column] = program.upper[column] = float(move == kind)
            program.upper[(contract.stays if move == DEACTIVATE else contract.ended)[t]] = 0.0
    return best_plan(program, twin.compiled, with_terminal_value=terminal)


def played(twin: Twin, orders: Any, draws: Draws, moves: Any = None, *, terminal: bool = False) -> float:
    """What orders (T, A) and moves (T, S, 1) cost."""
    world, cost = twin.fork(), 0.0
    for t, row in enumerate(np.asarray(orders)):
        cost += float(world.step(row[:, None], draws.period(t), None if moves is None else moves[t]).sum())
    return cost - (float(terminal_value(world.state)[0]) if terminal else 0.0)


# -- a bound ---------------------------------------------------------------------------------------------------------


@settings(PROFILE, max_examples=100)
@given(network=dealt_data().map(without_goodwill), seed=SEEDS, terminal=st.booleans())
def test_no_policy_pays_less(network, seed, terminal):
    """On any network, from any state: random orders and moves, base stock, and the best orders for random moves.

    Nor do they pay less than the program with just these moves on contracts.
    """
    rng = np.random.default_rng(seed)
    twin = Twin(network, replicas=2, seed=seed)
    arcs, relations = twin.compiled.n_arcs, len(twin.compiled.relation_names)
    before = int(rng.integers(5))
    for orders, moves in zip(
        random_orders(seed, before, arcs, 2), random_moves(seed, before, relations, 2), strict=True
    ):
        twin.step(orders, moves=moves)
    draws = twin.tape.block(twin.state, PERIODS)
    plan = hindsight_plan(twin.state, draws, replica=1, with_terminal_value=terminal)
    if plan.status == "unbounded":
        assert terminal
        return
    levels, random = rng.uniform(0.0, 25.0, (arcs, 2)), random_orders(seed + 1, PERIODS, arcs, 2)
    moves = random_moves(seed + 2, PERIODS, relations, 2)
    expedited = happens(twin, moves, draws)
    best = plan_of(twin, expedited, draws, replica=1, terminal=terminal)
    expedited = np.where(moves == EXPEDITE, moves, expedited)
    policies = {
        "random": (lambda _, t: random[t], moves),
        "base_stock": (lambda world, _: world.base_stock_orders(world.positions(), levels), moves),
        "no moves": (lambda world, _: world.base_stock_orders(world.positions(), levels), np.zeros_like(moves)),
        "plan": (lambda _, t: np.repeat(plan.orders[t][:, None], 2, axis=1), np.zeros_like(moves)),
        "plan for moves": (lambda _, t: np.repeat(best.orders[t][:, None], 2, axis=1), expedited),
    }
    for name, (policy, made) in policies.items():
        world, cost = twin.fork(), 0.0
        for t in range(PERIODS):
            cost += world.step(policy(world, t), draws.period(t), made[t])[:, 1].sum()
        cost -= terminal_value(world.state)[1] if terminal else 0.0
        least = plan.cost if made is not moves and made is not expedited else best.cost
        assert plan.cost <= least + 1e-6 * max(1.0, abs(least)) <= cost + 2e-6 * max(1.0, abs(cost), abs(least)), name


@pytest.mark.parametrize("seed", range(3))
def test_rules_that_switch_pay_more(seed):
    """Status rules of many parameters on a main supplier that fails and two backups, path by path."""
    periods, paths = 50, 4
    rng = np.random.default_rng(seed)
    task = SwitchingTask(three_sources(seed), action_mode="orders", horizon=periods, finite=True)
    least = hindsight_bound(task.compiled, periods, replicas=paths, seed=seed, with_terminal_value=True).costs
    nearest = np.full(paths, np.inf)
    for _ in range(12):
        level, surge = rng.uniform(220.0, 420.0), rng.uniform(0.9, 1.5)
        whole = [rng.integers(0, 6), rng.integers(0, 6), rng.integers(0, 3), rng.integers(0, 2)]
        policy = StatusSwitching(task, np.array([level, surge, *whole]))
        batch, slots = Batch(task, paths), np.arange(paths, dtype=np.uint32)
        observation, cost = batch.reset(np.full(paths, seed, dtype=np.uint64), slots, np.zeros_like(slots)), 0.0
        for _ in range(periods):
            result = batch.step(policy.predict(observation)[0])
            observation = result.observation
            cost = cost + result.costs.sum(axis=0) - result.terminal_value
        assert (least <= cost).all()
        nearest = np.minimum(nearest, cost)
    assert (nearest < 1.6 * least).all(), "a bound that says nothing would pass as well"


# -- every sequence --------------------------------------------------------------------------------------------------


def tiny(contract: dict[str, Any], seed: int, phases: Any = PHASE_ORDERS[0], **mode: Any) -> Network:
    """A store that buys at 2 with a capacity of 3, or at 1 from a supplier under contract; fixed demand."""
    draw = np.random.default_rng(seed)
    values = [float(value) for value in draw.choice([0, 3, 6], 5)]
    return Network.parse(
        {
            "name": "tiny",
            "phases": phases,
            "products": {"p": {}},
            "suppliers": {
                "dear": {"offers": {"p": {"price": 2.0}}},
                "cheap": {"offers": {"p": {"price": 1.0}}, "contract": contract},
            },
            "sites": {"s": {"stock": {"p": {"holding_cost": 0.25, "initial": 3.0}}}},
            "lanes": [
                {"from": "dear", "to": "s", "product": "p", "modes": {"a": {"lead_time": 1, "capacity": 3}}},
                {"from": "cheap", "to": "s", "product": "p", "modes": {"b": {"lead_time": 0} | mode}},
            ],
            "demands": {
                "d": {
                    "site": "s",
                    "product": "p",
                    "distribution": {"distribution": "recorded", "values": values},
                    "unmet": str(draw.choice(["lost", "backlog"])),
                    "penalty": float(draw.choice([3.0, 8.0])),
                }
            },
        }
    )


def cheapest(twin: Twin, periods: int, amounts: tuple[float, ...]) -> tuple[float, float]:
    """The least cost over all orders from ``amounts`` and all sequences of moves, and the program's."""
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, periods))
    arcs, relations = twin.compiled.n_arcs, len(twin.compiled.relation_names)
    grid = np.array(np.meshgrid(*[amounts] * arcs, *[np.arange(5)] * relations)).reshape(arcs + relations, -1)
    world, paid = twin, np.zeros(1)
    for _ in range(periods):
        parent, choice = (part.ravel() for part in np.indices((world.state.replicas, grid.shape[1])))
        moves = grid[arcs:].astype(np.int64)[:, choice]
        allowed = world.allowed_moves()
        possible = np.ones(len(parent), dtype=np.bool_)
        for s in range(relations):
            possible &= allowed[s, moves[s], parent]
        parent, choice = parent[possible], choice[possible]
        state = twin.initial_state(np.zeros(len(parent), np.uint64), np.zeros(len(parent), np.uint32))
        state.assign(np.arange(len(parent)), picked(world.state, parent))
        world = twin.at(state)
        paid = paid[parent] + world.step(grid[:arcs][:, choice], moves=moves[:, possible]).sum(axis=0)
        # Of equal states the cheapest is enough.
        keys = np.ascontiguousarray(np.round(state.store.numbers[kept_rows(state)].T, 9))
        order = np.argsort(paid, kind="stable")
        _, first = np.unique(keys[order], axis=0, return_index=True)
        keep = order[first]
        world, paid = twin.at(picked(world.state, keep)), paid[keep]
    return float(paid.min()), plan.cost


def picked(state: TwinState, index: NDArray[np.int64]) -> TwinState:
    """Replicas of a state, copied."""
    part = state.clocks(index)
    store = state.store._replace(numbers=np.ascontiguousarray(state.store.numbers[:, index]))
    return TwinState(state.compiled, store, part.seed, part.replica, part.episode, part.period, state.head)


def kept_rows(state: TwinState) -> NDArray[np.int64]:
    """Rows of what the future depends on; what was lost may be charged only in the next step."""
    fields, marks = state.arrays._fields, state.store.marks
    past = {"demand", "served", "shipped", "on_time"}
    return np.concatenate([np.arange(*marks[k : k + 2]) for k, name in enumerate(fields) if name not in past])


TERMS = {"qualification_cost": 2.0, "switching_cost": 1.5, "exit_cost": 0.5}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("phases", PHASE_ORDERS)
@pytest.mark.parametrize("wait", [0, 1, 2])
def test_moves_that_cost_nothing_are_made_as_soon_as_they_may_be(seed, phases, wait):
    """Every sequence of moves and orders played: none is cheaper than the program, and one is as cheap."""
    contract = {"state": "outside", "qualification_periods": wait, "capacity": 6.0}
    best, bound = cheapest(Twin(tiny(contract, seed, list(phases))), 5, (0.0, 3.0, 6.0))
    assert bound == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_no_sequence_of_moves_is_cheaper(seed):
    """With costs of moves, a minimum and a ramp, from all stages, the bound holds and is no idle one."""
    reached = []
    for state in ("outside", "qualified", "active"):
        more = {"qualification_periods": seed % 3, "minimum": 3.0, "shortfall_cost": 0.5, "capacity": 6.0}
        contract = {"state": state, "ramp": 2 * (seed % 2)} | more | TERMS
        best, bound = cheapest(Twin(tiny(contract, seed, capacity=4.5)), 5, (0.0, 1.5, 3.0, 4.5))
        assert bound <= best + 1e-9
        reached.append(bound / best)
    assert np.mean(reached) > 0.7


def slow(demand: list[float], mode: dict[str, Any], phases: tuple[str, ...], penalty: float = 1.0) -> Twin:
    """A store and one supplier whose open orders can be moved forward at 0.4 a unit; customers wait."""
    return Twin(
        Network.parse(
            {
                "name": "slow",
                "phases": list(phases),
                "products": {"p": {}},
                "suppliers": {"v": {"offers": {"p": {"price": 1.0}}}},
                "sites": {"s": {"stock": {"p": {"holding_cost": 0.25}}}},
                "lanes": [{"from": "v", "to": "s", "product": "p", "modes": {"m": mode}}],
                "demands": {
                    "d": {
                        "site": "s",
                        "product": "p",
                        "distribution": {"distribution": "recorded", "values": demand},
                        "unmet": "backlog",
                        "penalty": penalty,
                    }
                },
            }
        )
    )


@pytest.mark.parametrize("phases", PHASE_ORDERS)
@pytest.mark.parametrize("periods", [1, 2, 3])
@pytest.mark.parametrize("under_way", [True, False])
def test_one_shipment_moved_forward(phases, periods, under_way):
    """As far as it pays, step by step, from the step after it ships on: the program finds what trying all finds."""
    mode = {"lead_time": 5, "transit_holding_cost": 0.1, "expediting": {"periods": periods, "cost_per_unit": 0.4}}
    paid = []
    for due in range(6):
        twin = slow([6.0 * (t == due) for t in range(9)], mode, phases)
        if under_way:
            twin.state.arrays.pipeline[3] = twin.state.arrays.in_transit[0] = 6.0
        best, bound = cheapest(twin, 7, (0.0, 6.0))
        assert bound == pytest.approx(best, abs=1e-6), due
        paid.append(hindsight_plan(twin.state, twin.tape.block(twin.state, 7)).terms["expediting"])
    assert max(paid) > 0.0
    assert min(paid) == 0.0


def test_no_more_moves_forward_than_is_under_way():
    """Twelve are asked for: the six that can be moved land at once, the other six in two periods."""
    mode = {"lead_time": 5, "expediting": {"periods": 3, "cost_per_unit": 0.4}}
    data = slow([12.0] + [0.0] * 8, mode, PHASE_ORDERS[1]).compiled.network.to_dict()
    data["lanes"][0]["modes"]["n"] = {"lead_time": 5}
    twin = Twin(Network.parse(data))
    first = twin.compiled.topology.pipe_ptr
    twin.state.arrays.pipeline[[first[0] + 3, first[1] + 2]] = twin.state.arrays.in_transit[:] = 6.0
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 5))
    assert (plan.terms["expediting"], plan.terms["backlog"]) == pytest.approx((6 * 0.4, 2 * 6.0))


@pytest.mark.parametrize("crossing", [True, False])
@pytest.mark.parametrize("phases", PHASE_ORDERS)
def test_no_sequence_of_expediting_is_cheaper(crossing, phases):
    """Several shipments that are moved together, with lead times that differ, in the order sent or not."""
    saved = []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        mode = {
            "lead_time": {"distribution": "recorded", "values": draw.integers(1, 6, 7).tolist()},
            "crossing": crossing,
            "initial_flow": 1.5,
        }
        expediting = {"expediting": {"periods": 1 + seed % 3, "cost_per_unit": 0.4}}
        demand = draw.choice([0.0, 3.0, 4.5], 7).tolist()
        best, bound = cheapest(slow(demand, mode | expediting, phases, 2.0), 6, (0.0, 1.5, 3.0))
        assert 0.5 * best < bound <= best + 1e-9
        saved.append(cheapest(slow(demand, mode, phases, 2.0), 6, (0.0, 1.5, 3.0))[0] - best)
    assert np.count_nonzero(saved) > len(saved) / 2, "else all of that was about nothing"


@pytest.mark.parametrize("phases", PHASE_ORDERS[::2])
def test_one_that_may_not_overtake_lands_where_an_earlier_one_has_been_moved_to(phases):
    """Of twelve units for the fourth period, at most six ship in a period, and the second six are sent faster.

    They wait for the first, which are moved forward once; else they would lie in stock for a period, at 0.25 a unit.
    """
    mode = {
        "lead_time": {"distribution": "recorded", "values": [5, 1, 5, 5, 5, 5, 5]},
        "crossing": False,
        "capacity": 6,
        "expediting": {"periods": 2, "cost_per_unit": 0.1},
    }
    twin = slow([0.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0], mode, phases, 50.0)
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 4))
    assert (plan.terms["holding"], plan.terms["expediting"]) == pytest.approx((0.0, 6 * 0.1))
    assert cheapest(twin, 4, (0.0, 6.0)) == pytest.approx((12.6, 12.6))
    mode["crossing"] = True  # each lands for itself
    twin = slow([0.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0], mode, phases, 50.0)
    assert cheapest(twin, 4, (0.0, 6.0)) == pytest.approx((12.6 + 6 * 0.25, 12.6 + 6 * 0.25))


# -- attained --------------------------------------------------------------------------------------------------------


@st.composite
def agreed_networks(draw: st.DrawFn) -> Network:
    """Networks in which, for given moves, the program relaxes nothing that binds.

    Those of the program without contracts, and a second supplier of parts; both have a contract, and prices may move.
    """
    data = draw(plain_networks()).to_dict()
    (lane,) = (lane for lane in data["lanes"] if lane["from"] == "v")
    other = json.loads(json.dumps(lane)) | {"from": "u"}
    data["lanes"].append(other)
    data["suppliers"]["u"] = {"offers": {"part": {"price": draw(st.sampled_from([0.5, 1.5]))}}}
    for supplier in (lane, other):
        for mode in supplier["modes"].values():
            mode["uses"] = draw(st.sampled_from([mode.get("uses", {}), {}]))
            if mode.get("unfilled") == "backordered" or mode.get("capacity") is None:
                mode["order_delay"] = 0  # an order in the mail is placed while the contract is active
            if mode.get("unfilled") != "backordered" or not mode["uses"]:
                mode.pop("when_down", None)
        entry = data["suppliers"][supplier["from"]]
        if draw(st.booleans()):
            entry["offers"]["part"]["price_process"] = draw(PRICE_PROCESS)
        modes = list(supplier["modes"].values())
        limited = all(mode.get("capacity") or mode["uses"] for mode in modes)
        capacity = draw(st.sampled_from([None, 4.0, 9.0] if limited else [4.0, 9.0]))
        entry["contract"] = draw(CONTRACT) | {"capacity": capacity}
        if capacity is not None and draw(st.booleans()):
            entry["contract"]["ramp"] = draw(st.integers(1, 4))
        elif not any(mode["uses"] or mode.get("order_delay", 0) for mode in modes) and draw(st.booleans()):
            entry["contract"] |= {"minimum": 2.0, "shortfall_cost": 0.75}
    return Network.parse(data)


@settings(PROFILE, max_examples=100)
@given(network=agreed_networks(), seed=SEEDS, terminal=st.booleans())
def test_for_given_moves_the_kernel_pays_the_programs_cost(network, seed, terminal):
    """Timing, ramps, minima, prices and what moves cost: the plan's orders and the moves cost what the program says."""
    periods, twin = 12, Twin(network, seed=seed)
    assert twin.compiled.relation_names == ("v", "u")
    relations = len(twin.compiled.relation_names)
    before = seed % 4
    for moves in random_moves(seed, before, relations, 1):
        twin.step(np.zeros((twin.compiled.n_arcs, 1)), moves=moves)
    draws = twin.tape.block(twin.state, periods)
    moves = happens(twin, random_moves(seed + 1, periods, relations, 1), draws)
    plan = plan_of(twin, moves, draws, terminal=terminal)
    if plan.status == "unbounded":  # a price that has fallen below what a part is worth
        assert terminal
        return
    assert played(twin, plan.orders, draws, moves, terminal=terminal) == pytest.approx(plan.cost, rel=1e-6, abs=1e-6)
    free = hindsight_plan(twin.state, draws, with_terminal_value=terminal)
    assert free.cost <= plan.cost + 1e-6 * max(1.0, abs(plan.cost))


# -- by hand ---------------------------------------------------------------------------------------------------------


def sole(contract: dict[str, Any] | None, mode: dict[str, Any] | None = None, **changes: Any) -> Twin:
    """A store whose only supplier is under contract: 4 units a period are asked for, and missed at 50 a unit."""
    offer = {"price": 1.0} | changes.pop("offer", {})
    supplier = {"offers": {"p": offer}} | changes.pop("supplier", {})
    stream = {"site": "s", "product": "p", "distribution": 4, "penalty": 50.0} | changes.pop("stream", {})
    data = {
        "name": "sole",
        "products": {"p": {}},
        "suppliers": {"v": supplier | ({"contract": contract} if contract is not None else {})},
        "sites": {"s": {"stock": {"p": {"holding_cost": 0.25}}}},
        "lanes": [{"from": "v", "to": "s", "product": "p", "modes": {"m": {"lead_time": 0} | (mode or {})}}],
        "demands": {"d": stream},
    }
    return Twin(Network.parse(data | changes))


def test_a_contract_is_qualified_activated_and_ramped_up():
    """Two periods of qualification, then a ramp of three to 6 units: 2, 4 and 4 ship, and each move is paid once."""
    costs = {"qualification_cost": 20.0, "switching_cost": 10.0, "exit_cost": 5.0}
    twin = sole({"state": "outside", "qualification_periods": 2, "capacity": 6.0, "ramp": 3} | costs)
    draws = twin.tape.block(twin.state, 5)
    plan = hindsight_plan(twin.state, draws)
    np.testing.assert_allclose(plan.active[:, 0], [0, 0, 1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(plan.orders[:, 0], [0, 0, 2, 4, 4], atol=1e-9)
    assert (plan.terms["contract"], plan.terms["lost_sales"]) == pytest.approx((30.0, 50.0 * (4 + 4 + 2)))
    moves = np.array([QUALIFY, KEEP, ACTIVATE, KEEP, KEEP])[:, None, None]
    assert played(twin, plan.orders, draws, moves) == pytest.approx(plan.cost)


@pytest.mark.parametrize("clock", [1, 2])
def test_what_has_begun_goes_on(clock):
    """From a state in the middle of a qualification, or of a ramp, the rest of it counts."""
    twin = sole({"state": "outside", "qualification_periods": 3, "capacity": 6.0, "ramp": 3, "switching_cost": 1.0})
    twin.step([[0.0]], moves=[[QUALIFY]])
    while twin.state.arrays.clock[0, 0] > clock:
        twin.step([[0.0]])
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 5))
    np.testing.assert_allclose(plan.orders[:, 0], [*[0.0] * clock, 2, 4, 4, 4][:5], atol=1e-9)
    for move in [KEEP] * clock + [ACTIVATE] + [KEEP] * (clock - 1):
        twin.step([[0.0]], moves=[[move]])
    assert twin.state.arrays.clock[0, 0] == clock
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 2))
    np.testing.assert_allclose(plan.orders[:, 0], [min(2.0 * (clock + 1), 4.0), 4.0], atol=1e-9)


@pytest.mark.parametrize(
    ("exit_cost", "price", "agreed", "total"), [(9.0, 1.0, 8.0, 8.0), (3.0, 1.0, 3.0, 3.0), (9.0, 0.1, 6.0, 7.4)]
)
def test_a_minimum_that_nobody_needs(exit_cost, price, agreed, total):
    """Four units short at 0.5 for four periods, or the exit; or, at 0.1 and 0.25 to hold, shipped in the last."""
    contract = {"state": "active", "minimum": 4.0, "shortfall_cost": 0.5, "exit_cost": exit_cost}
    twin = sole(contract, offer={"price": price}, stream={"distribution": 0}, mode={"capacity": 9.0})
    draws = twin.tape.block(twin.state, 4)
    plan = hindsight_plan(twin.state, draws)
    assert (plan.terms["contract"], plan.cost) == pytest.approx((agreed, total))
    moves = np.where(np.diff(plan.active[:, 0], prepend=1.0) < -0.5, DEACTIVATE, KEEP)[:, None, None]
    assert played(twin, plan.orders, draws, moves) == pytest.approx(plan.cost)


def test_what_is_ordered_to_reach_a_minimum_ships():
    """An order of 4 that is dropped would avoid the shortfall for nothing; a source that is down asks for none."""
    line = {"line": {"capacity": 8, "availability": {"failure": 0.5, "recovery": 0.5}}}
    twin = sole(
        {"state": "active", "minimum": 4.0, "shortfall_cost": 3.0, "exit_cost": 99.0},
        stream={"distribution": 0},
        supplier={"uses": {"line": 1.0}},
        resources=line,
    )
    draws = twin.tape.block(twin.state, 4)
    draws.availability[:, 0, 0] = [0.0, 1.0, 0.25, 1.0]
    plan = hindsight_plan(twin.state, draws)
    # Up, down, up, and at a quarter of 8: there 4 are ordered and 2 ship.
    assert plan.terms["purchase"] == pytest.approx(4.0 + 0.0 + 4.0 + 2.0)
    assert plan.terms["contract"] == pytest.approx(0.0)
    orders = np.array([[4.0], [0.0], [4.0], [4.0]])
    assert played(twin, orders, draws) == pytest.approx(plan.cost)


def test_who_is_served_last_orders_without_shipping():
    """Where another arc may take all of a resource, an order to reach the minimum costs nothing."""
    data = sole(
        {"state": "active", "minimum": 4.0, "shortfall_cost": 3.0, "exit_cost": 99.0},
        supplier={"uses": {"line": 1.0}},
        resources={"line": {"capacity": 4, "rationing": "priority"}},
    ).compiled.network.to_dict()
    data["suppliers"]["u"] = {"offers": {"p": {"price": 0.5}}, "uses": {"line": 1.0}}
    data["lanes"].insert(0, data["lanes"][0] | {"from": "u"})
    twin = Twin(Network.parse(data))
    draws = twin.tape.block(twin.state, 3)
    assert played(twin, np.full((3, 2), 4.0), draws) == pytest.approx(3 * 4 * 0.5)
    assert hindsight_plan(twin.state, draws).cost == pytest.approx(3 * 4 * 0.5)


@pytest.mark.parametrize(
    ("contract", "mode", "orders", "shipped"),
    [
        ({"minimum": 4.5}, {"capacity": 4.5}, [5.0], 4.0),
        ({"minimum": 4.5, "capacity": 9.0, "ramp": 2, "state": "qualified"}, {}, [5.0], 4.0),
        ({"minimum": 5.5, "capacity": 5.5}, {}, [3.0, 3.0], 5.0),
    ],
)
def test_whole_units_fall_short_of_a_minimum(contract, mode, orders, shipped):
    """Of what is ordered to reach a minimum parts of units do not ship, at 10 and a holding cost of 0.25."""
    terms = {"state": "active", "shortfall_cost": 30.0, "exit_cost": 999.0} | contract
    whole, nobody = {"p": {"integer": True}}, {"distribution": 0}
    data = sole(terms, mode, offer={"price": 10.0}, stream=nobody, products=whole).compiled.network.to_dict()
    if len(orders) > 1:
        data["lanes"][0]["modes"]["other"] = data["lanes"][0]["modes"]["m"]
    twin = Twin(Network.parse(data))
    moves, draws = [[[ACTIVATE if terms["state"] == "qualified" else KEEP]]], twin.tape.block(twin.state, 1)
    cost = played(twin, [orders], draws, moves)
    assert cost == pytest.approx((10.0 + 0.25) * shipped)
    given = happens(twin, np.array(moves), draws)
    assert plan_of(twin, given, draws, terminal=False).cost <= cost


def test_orders_in_the_mail_reach_a_minimum():
    """What is ordered counts when it is ordered, though it comes to the source later."""
    terms = {"state": "active", "minimum": 4.0, "shortfall_cost": 3.0, "exit_cost": 99.0, "capacity": 9.0}
    twin = sole(terms, {"order_delay": 1}, stream={"distribution": 0})
    draws = twin.tape.block(twin.state, 1)
    assert played(twin, [[4.0]], draws) == 0.0
    assert hindsight_plan(twin.state, draws).cost <= 0.0


def test_nothing_ships_before_a_contract_can_be_active():
    """Without any limit on what ships, neither new orders do nor what waits at the source."""
    twin = sole({"state": "outside", "qualification_periods": 2})
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 4))
    np.testing.assert_allclose(plan.orders[:, 0], [0, 0, 4, 4], atol=1e-9)
    mode = {"order_delay": 1, "initial_flow": 4.0, "unfilled": "backordered"}
    twin = sole({"state": "outside", "qualification_periods": 2}, mode)
    assert hindsight_plan(twin.state, twin.tape.block(twin.state, 2)).terms["purchase"] == 0.0


@pytest.mark.parametrize(
    ("mode", "delay", "moves", "shipped"),
    [
        ({"unfilled": "backordered", "maximum_order": 3}, 0, [KEEP, ACTIVATE, KEEP], [0.0, 3.0, 3.0]),
        ({"unfilled": "backordered", "maximum_order": 3}, 1, [KEEP, ACTIVATE, KEEP], [0.0, 0.0, 3.0]),
        ({"unfilled": "backordered", "maximum_order": 3}, 1, [ACTIVATE, DEACTIVATE, ACTIVATE], [0.0, 0.0, 3.0]),
        ({"capacity": 3}, 1, [KEEP, ACTIVATE, KEEP], [0.0, 0.0, 3.0]),
        ({"capacity": 3}, 1, [ACTIVATE, DEACTIVATE, ACTIVATE], [0.0, 0.0, 0.0]),
    ],
)
def test_nothing_is_ordered_while_a_contract_is_not_active(mode, delay, moves, shipped):
    """Of orders of at most 3 those count that are placed while it is; one that comes later waits, or is refused."""
    mode = mode | {"order_delay": delay}
    twin = sole({"state": "qualified", "capacity": 9.0}, mode, stream={"unmet": "backlog"})
    draws, made = twin.tape.block(twin.state, 3), np.array(moves)[:, None, None]
    cost = played(twin, np.full((3, 1), 3.0), draws, made)
    assert cost == pytest.approx(sum(shipped) + 50.0 * (4 * (1 + 2 + 3) - np.cumsum(shipped).sum()))
    assert plan_of(twin, made, draws, terminal=False).cost == pytest.approx(cost)


def test_two_ways_out_of_one_line():
    """Half a contract does not ship all that the line makes by sending half of it each way."""
    line, uses = {"line": {"capacity": 4}}, {"uses": {"line": 1}}
    data = sole(
        {"state": "qualified", "switching_cost": 10.0}, resources=line, supplier=uses
    ).compiled.network.to_dict()
    data["lanes"][0]["modes"]["other"] = data["lanes"][0]["modes"]["m"]
    twin = Twin(Network.parse(data))
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 3))
    assert (plan.terms["contract"], plan.terms["purchase"]) == pytest.approx((10.0, 12.0))


def test_prices_that_move():
    """Half a price for two periods, then twice as much: what is bought ahead is what holding costs less than that."""
    tariffs = [{"from": 0, "factor": 0.5}, {"from": 2, "factor": 2.0}]
    twin = sole(None, offer={"price_process": {"tariffs": tariffs}})
    draws = twin.tape.block(twin.state, 5)
    plan = hindsight_plan(twin.state, draws)
    # Half a unit of money saved pays for at most two periods in stock at 0.25: the second is a draw.
    assert plan.terms["purchase"] + plan.terms["holding"] == pytest.approx(4 * (0.5 + 0.5 + 0.75 + 1.0 + 1.0))
    assert played(twin, plan.orders, draws) == pytest.approx(plan.cost)


@pytest.mark.parametrize(("capacity", "price"), [(9.0, 2.0), (10.0, 1.0), (None, 0.5)])
def test_a_break_counts_where_it_is_in_reach(capacity, price):
    """All units at the lowest price that the capacity reaches; at the capacity that is what the kernel charges."""
    breaks = [{"from": 10, "price": 1.0}, {"from": 20, "price": 0.5}]
    twin = sole(None, offer={"price": 2.0, "breaks": breaks}, mode={"capacity": capacity}, stream={"distribution": 10})
    draws = twin.tape.block(twin.state, 3)
    plan = hindsight_plan(twin.state, draws)
    assert plan.terms["purchase"] == pytest.approx(3 * min(capacity or 10.0, 10.0) * price)
    if capacity is not None:
        assert played(twin, plan.orders, draws) == pytest.approx(plan.cost)


@pytest.mark.parametrize("unfilled", ["backordered", "cancelled"])
@pytest.mark.parametrize(("when_down", "shipped"), [("refused", 4.0), ("waits", 8.0)])
def test_what_comes_out_of_the_mail_without_a_contract(when_down, shipped, unfilled):
    """Two slips of 4, the first while nothing is active: refused, or shipped when the contract is."""
    mode = {"order_delay": 2, "initial_flow": 4.0, "unfilled": unfilled, "when_down": when_down, "capacity": 9.0}
    line = {"line": {"availability": {"failure": 0.0, "recovery": 1.0}}}
    twin = sole({"state": "outside"}, mode | {"uses": {"line": 1}}, stream={"unmet": "backlog"}, resources=line)
    draws = twin.tape.block(twin.state, 2)
    plan = hindsight_plan(twin.state, draws)
    assert plan.terms["purchase"] == pytest.approx(shipped)
    moves = np.array([QUALIFY, ACTIVATE])[:, None, None]
    assert played(twin, plan.orders, draws, moves) == pytest.approx(plan.cost)


# -- where it is used ------------------------------------------------------------------------------------------------


def test_plans_that_keep_contracts():
    """Planning again on a known path, with contracts as the state has them, costs what the one plan costs."""
    contract = {"capacity": 7.0, "ramp": 3, "minimum": 1.0, "shortfall_cost": 0.5}
    twin = sole(
        contract | {"state": "outside"},
        {"lead_time": 1, "expediting": {"periods": 1}},
        offer={"price_process": {"volatility": 0.2}},
        stream={"distribution": {"distribution": "gamma", "mean": 4.0, "sd": 2.0}},
    )
    with pytest.raises(ConfigError, match=r"neither contracts nor .*lanes\[0\].modes.m.expediting"):
        ScenarioProgram(twin.compiled).orders(twin.state, 0, twin.tape.block(twin.state, 4), with_terminal_value=False)
    program = ScenarioProgram(twin.compiled, keeps_contracts=True)
    draws = twin.tape.block(twin.state, 4)
    assert not program.orders(twin.state, 0, draws, with_terminal_value=False).any()
    twin.step([[0.0]], moves=[[QUALIFY]])
    assert not program.orders(twin.state, 0, draws, with_terminal_value=False).any()
    twin.step([[0.0]], moves=[[ACTIVATE]])
    draws, cost = twin.tape.block(twin.state, 8), 0.0
    plan = best_plan(hindsight_program(twin.state, draws, 0, moves=False), twin.compiled)
    assert plan.active == pytest.approx(1.0)
    for t in range(8):
        rest = Draws(*(part[t:] for part in draws))
        orders = program.orders(twin.state, 0, rest, with_terminal_value=False)
        cost += float(twin.step(orders[:, None], draws.period(t)).sum())
    assert cost == pytest.approx(plan.cost, rel=1e-4)


def test_a_suite_with_a_bound(tmp_path: Path):
    """A suite computes the bound of a network with contracts, below what a tuned rule pays on each of its paths."""
    from experiments.benchmark import benchmark
    from experiments.benchmark_config import BenchmarkConfig
    from experiments.config import parse

    suite = {
        "name": "tiny",
        "evaluation": "simulated",
        "overrides": ["env=supplier_switching", "env.horizon=20", "tuning=smoke", "evaluation=smoke"],
        "references": [],
        "cells": [{"network": "prolonged_shortage"}],
        "entries": [{"policy": "status_switching"}, {"bound": "hindsight", "paths": 3}],
    }
    result = benchmark(parse(BenchmarkConfig, {"suite": suite, "output": str(tmp_path / "out")}))
    assert result.failed == {}
    items = {row["entry"]: row for row in map(json.loads, (p.read_text() for p in result.folder.glob("items/*.json")))}
    least, paid = np.array(items["hindsight"]["costs"]), np.array(items["status_switching"]["costs"])
    assert least.shape == (3,)
    assert (least < paid[:3]).all()
