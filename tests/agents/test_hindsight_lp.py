"""The hindsight program: never above what a policy pays, and attained by its own orders where nothing is relaxed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.oracles.hindsight_lp import hindsight_bound, hindsight_plan
from tests.strategies import network_data, random_orders
from twin import library
from twin.economics import COST_TERMS, terminal_value
from twin.engine import Twin
from twin.errors import ConfigError
from twin.network import PHASE_ORDERS, Network
from twin.tape import Draws

PROFILE = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
SEEDS = st.integers(0, 2**32 - 1)
PERIODS = 10


def without_goodwill(data: dict[str, Any]) -> Network:
    for stream in data["demands"].values():
        stream.pop("goodwill", None)
    return Network.parse(data)


def one_site(
    mode: dict[str, Any],
    changes: dict[str, Any] | None = None,
    *,
    demand: Any = 3,
    stock: dict[str, Any] | None = None,
    **stream: Any,
) -> Network:
    """A supplier and a store."""
    data = {
        "name": "one_site",
        "products": {"p": {}},
        "suppliers": {"v": {"offers": {"p": {"price": 1.0}}}},
        "sites": {"s": {"stock": {"p": stock or {}}}},
        "lanes": [{"from": "v", "to": "s", "product": "p", "modes": {"m": mode}}],
        "demands": {"d": {"site": "s", "product": "p", "distribution": demand, **stream}},
    }
    return Network.parse(data | (changes or {}))


# -- a bound ---------------------------------------------------------------------------------------------------------


@settings(PROFILE, max_examples=120)
@given(network=network_data().map(without_goodwill), seed=SEEDS, terminal=st.booleans())
def test_no_policy_pays_less(network, seed, terminal):
    """On any network, from any state: random orders, base stock and the plan's own orders cost at least the bound."""
    rng = np.random.default_rng(seed)
    twin = Twin(network, replicas=2, seed=seed)
    arcs = twin.compiled.n_arcs
    for orders in random_orders(seed, int(rng.integers(4)), arcs, 2):
        twin.step(orders)
    draws = twin.tape.block(twin.state, PERIODS)
    plan = hindsight_plan(twin.state, draws, replica=1, with_terminal_value=terminal)
    if plan.status == "unbounded":
        assert terminal
        return
    levels, random = rng.uniform(0.0, 25.0, (arcs, 2)), random_orders(seed + 1, PERIODS, arcs, 2)
    policies = {
        "random": lambda _, t: random[t],
        "base_stock": lambda world, _: world.base_stock_orders(world.positions(), levels),
        "plan": lambda _, t: np.repeat(plan.orders[t][:, None], 2, axis=1),
    }
    for name, policy in policies.items():
        world, cost = twin.fork(), 0.0
        for t in range(PERIODS):
            cost += world.step(policy(world, t), draws.period(t))[:, 1].sum()
        cost -= terminal_value(world.state)[1] if terminal else 0.0
        assert plan.cost <= cost + 1e-6 * max(1.0, abs(cost)), name


# -- attained --------------------------------------------------------------------------------------------------------


@st.composite
def plain_networks(draw: st.DrawFn) -> Network:
    """Networks in which the program relaxes nothing that binds.

    Parts at a plant from one or two suppliers, a recipe, one or two warehouses in a row, one or two stores. Only the
    stores have customers, one stream each; fractions; no fixed costs; nothing in the mail at the start.
    """
    cost = st.sampled_from([0.0, 0.5, 1.0, 3.0])
    lead_time = st.one_of(
        st.integers(0, 3),
        st.sampled_from(
            [
                {"distribution": "uniform_integer", "low": 0, "high": 3},
                {"distribution": "recorded", "values": [2, 0, 1, 3, 0]},
            ]
        ),
    )

    closes = draw(st.booleans())

    def arc() -> dict[str, Any]:
        entry: dict[str, Any] = {
            "lead_time": draw(lead_time),
            "order_delay": draw(st.sampled_from([0, 0, 1, 2])),
            "transit_holding_cost": draw(cost),
            "emissions_kg_per_unit": draw(cost),
            "capacity": draw(st.sampled_from([None, None, 3.5, 8.0])),
            "unfilled": draw(st.sampled_from(["cancelled", "backordered"])),
            "uses": draw(st.sampled_from([{}, {"line": 1.0}, {"line": 0.5}])),
        }
        if entry["order_delay"] == 0:
            entry["initial_flow"] = draw(st.sampled_from([0.0, 2.0]))
        if entry["unfilled"] == "cancelled":
            entry["maximum_order"] = draw(st.sampled_from([None, 5.0]))
        else:
            entry["backorder_cost"] = draw(cost)
        if entry["uses"] and closes:
            entry["when_down"] = draw(st.sampled_from(["refused", "waits"]))
        return entry

    def lane(origin: str, to: str, product: str) -> dict[str, Any]:
        modes = {f"m{k}": arc() | {"freight_cost": draw(cost)} for k in range(draw(st.integers(1, 2)))}
        return {"from": origin, "to": to, "product": product, "modes": modes}

    def stock(**more: Any) -> dict[str, Any]:
        return {"holding_cost": draw(cost), "initial": draw(st.sampled_from([0.0, 6.0])), **more}

    houses = [f"w{k}" for k in range(draw(st.integers(0, 2)))]
    stores = [f"s{k}" for k in range(draw(st.integers(1, 2)))]
    sites: dict[str, Any] = {
        "plant": {"stock": {"part": stock(terminal_value=0.5), "good": stock(terminal_value=0.25)}},
        **{site: {"stock": {"good": stock()}} for site in houses + stores},
    }
    recipe = {"site": "plant", "product": "good", "inputs": {"part": 2.0}, "yield_share": 0.8, "unit_cost": draw(cost)}
    chain = ["plant", *houses]
    return Network.parse(
        {
            "name": "plain",
            "phases": draw(st.sampled_from(PHASE_ORDERS)),
            "emission_price_per_kg": 0.5,
            "products": {"part": {}, "good": {}},
            "suppliers": {"v": {"offers": {"part": {"price": 1.0}}}},
            "resources": {
                "line": {
                    "capacity": 9.0,
                    "cost_per_unit": 0.25,
                    "availability": {
                        "failure": 0.3,
                        "recovery": 0.6,
                        "share_when_down": 0.0 if closes else 0.4,
                    },
                }
            },
            "sites": sites,
            "lanes": [
                lane("v", "plant", "part"),
                *(lane(a, b, "good") for a, b in zip(chain, houses, strict=False)),
                *(lane(chain[-1], store, "good") for store in stores),
            ],
            "recipes": {"make": recipe | arc()},
            "demands": {
                store: {
                    "site": store,
                    "product": "good",
                    "distribution": {"distribution": "gamma", "mean": 3.0, "sd": 2.0},
                    "unmet": draw(st.sampled_from(["lost", "backlog"])),
                    "penalty": draw(st.sampled_from([2.0, 9.0])),
                    "price": draw(st.sampled_from([0.0, 20.0])),
                }
                for store in stores
            },
        }
    )


@settings(PROFILE, max_examples=120)
@given(network=plain_networks(), seed=SEEDS, terminal=st.booleans())
def test_the_kernel_pays_the_programs_cost(network, seed, terminal):
    """Played in the kernel on the same draws, the plan's orders cost what the program says, in all phase orders."""
    periods = 14
    twin = Twin(network, seed=seed)
    draws = twin.tape.block(twin.state, periods)
    plan = hindsight_plan(twin.state, draws, with_terminal_value=terminal)
    cost = sum(float(twin.step(plan.orders[t][:, None], draws.period(t)).sum()) for t in range(periods))
    cost -= float(terminal_value(twin.state)[0]) if terminal else 0.0
    assert cost == pytest.approx(plan.cost, rel=1e-6, abs=1e-6)
    total = sum(plan.terms.values()) - (plan.terminal_value if terminal else 0.0)
    assert plan.cost == pytest.approx(total, rel=1e-9, abs=1e-9)


# -- by hand ---------------------------------------------------------------------------------------------------------


def played(twin: Twin, orders: Any, draws: Draws) -> float:
    """What orders (T, A) cost in the kernel."""
    return sum(float(twin.step(row[:, None], draws.period(t)).sum()) for t, row in enumerate(np.asarray(orders)))


@pytest.mark.parametrize("unfilled", ["cancelled", "backordered"])
def test_what_is_in_the_mail_comes_from_a_source_without_limit(unfilled):
    """Two slips of 4 that nobody needs: 8 units at 1, and holding 0.5 on 4 + 8 + 8 units."""
    mode = {"lead_time": 0, "order_delay": 2, "initial_flow": 4, "unfilled": unfilled}
    twin = Twin(one_site(mode, demand={"distribution": "recorded", "values": [0]}, stock={"holding_cost": 0.5}))
    draws = twin.tape.block(twin.state, 3)
    plan = hindsight_plan(twin.state, draws)
    assert (plan.terms["purchase"], plan.terms["holding"]) == pytest.approx((8.0, 10.0))
    assert played(twin, plan.orders, draws) == pytest.approx(plan.cost)


def test_what_is_owed_ships_in_time():
    """A slip of 6 at a capacity of 2: 4, 2 and 0 stay owed at 10 each, and all 6 are paid for; no more is ordered."""
    mode = {"lead_time": 1, "order_delay": 1, "initial_flow": 6, "unfilled": "backordered", "backorder_cost": 10}
    twin = Twin(one_site(mode | {"capacity": 2}, demand=2, penalty=100.0))
    draws = twin.tape.block(twin.state, 4)
    plan = hindsight_plan(twin.state, draws)
    assert (plan.terms["backlog"], plan.terms["purchase"]) == pytest.approx((60.0, 6.0))
    assert not plan.orders.any()
    # From a period later on: what is owed at the start counts.
    twin.step([[0.0]], draws.period(0))
    draws = twin.tape.block(twin.state, 3)
    later = hindsight_plan(twin.state, draws)
    assert later.terms["backlog"] == pytest.approx(20.0)
    assert not later.orders.any()
    assert played(twin, later.orders, draws) == pytest.approx(later.cost)


@pytest.mark.parametrize(
    ("unfilled", "when_down", "orders"),
    [
        ("cancelled", "waits", [0.0, 2.0, 0.0]),
        ("cancelled", "refused", [2.0, 2.0, 0.0]),
        ("backordered", "waits", [0.0, 0.0, 0.0]),
        ("backordered", "refused", [2.0, 2.0, 0.0]),
    ],
)
def test_a_slip_that_meets_a_source_that_is_down(unfilled, when_down, orders):
    """A slip of 9, down in period 0, then a capacity of 2 for a demand of 3: one unit is lost in either period, at 50.

    Refused, all has to be ordered again; waiting, 2 of the 9 ship in period 1, and only what is owed further on also
    in period 2.
    """
    mode = {"lead_time": 0, "order_delay": 1, "initial_flow": 9, "uses": {"line": 1}}
    network = one_site(
        mode | {"unfilled": unfilled, "when_down": when_down},
        {"resources": {"line": {"capacity": 2, "availability": {"failure": 0.5, "recovery": 0.5}}}},
        demand={"distribution": "recorded", "values": [0, 3, 3]},
        penalty=50.0,
    )
    twin = Twin(network)
    twin.state.arrays.availability[:] = 0.0
    draws = twin.tape.block(twin.state, 3)
    draws.availability[:] = 1.0
    plan = hindsight_plan(twin.state, draws)
    np.testing.assert_allclose(plan.orders[:, 0], orders, atol=1e-9)
    assert played(twin, plan.orders, draws) == pytest.approx(plan.cost) == 4.0 + 100.0


@pytest.mark.parametrize("phases", PHASE_ORDERS)
@pytest.mark.parametrize("periods", [1, 2, 3, 5])
def test_what_is_left_counts_wherever_it_is(phases, periods):
    """Stock worth twice its price is bought up to the capacity, and under way at the end it is worth as much."""
    mode, nothing = {"lead_time": 3, "initial_flow": 4, "capacity": 5}, {"distribution": "recorded", "values": [0]}
    twin = Twin(one_site(mode, {"phases": phases}, demand=nothing, stock={"terminal_value": 2.0}))
    draws = twin.tape.block(twin.state, periods)
    plan = hindsight_plan(twin.state, draws, with_terminal_value=True)
    np.testing.assert_allclose(plan.orders, 5.0)
    cost = played(twin, plan.orders, draws)
    assert plan.terminal_value == pytest.approx(terminal_value(twin.state)[0]) == 2.0 * (12.0 + 5.0 * periods)
    assert plan.cost == pytest.approx(cost - plan.terminal_value)


@pytest.mark.parametrize(("periods", "phases", "value"), [(4, PHASE_ORDERS[0], 0.0), (3, PHASE_ORDERS[1], 50.0)])
def test_a_shipment_that_may_not_overtake_lands_with_an_earlier_one(periods, phases, value):
    """Five units sent in period 0 and five in 1 land together in period 3, though the second was drawn faster.

    With its drawn lead time the second would lie in stock for a period, at 100 a unit: more than the policy pays. Both
    are sold in period 3; or the horizon ends before, and under way they are worth much. On the way a unit costs 2.
    """
    mode = {"lead_time": {"distribution": "recorded", "values": [3, 1, 9, 9]}, "capacity": 5, "crossing": False}
    network = one_site(
        mode | {"transit_holding_cost": 2.0},
        {"phases": phases},
        demand={"distribution": "recorded", "values": [0, 0, 0, 10]},
        stock={"holding_cost": 100.0, "terminal_value": value},
        penalty=1000.0,
    )
    twin = Twin(network)
    draws = twin.tape.block(twin.state, periods)
    plan = hindsight_plan(twin.state, draws, with_terminal_value=True)
    orders = np.array([[5.0], [5.0], [5.0 * (value > 0.0)], [0.0]])[:periods]
    np.testing.assert_allclose(plan.orders, orders, atol=1e-9)
    assert played(twin, orders, draws) - terminal_value(twin.state)[0] == pytest.approx(plan.cost)


def perishable(shelf_life: int) -> dict[str, Any]:
    return {"products": {"p": {"shelf_life": shelf_life}}}


def test_units_perish_only_where_that_saves_money():
    """Two of five units are never needed: kept for three periods each would cost 3, wasted 2.5."""
    stock = {"holding_cost": 1.0, "initial": 5.0, "waste_cost": 2.5}
    twin = Twin(one_site({"lead_time": 1}, perishable(9), demand=1, stock=stock))
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 3))
    assert plan.terms["waste"] == pytest.approx(2 * 2.5)
    assert plan.terms["holding"] == pytest.approx(2.0 + 1.0)


def test_units_that_perish_on_the_way_are_wasted_at_their_destination():
    """Units with two periods of life cannot travel for three: sending them off costs 1 each, all else more."""
    stock = {"holding_cost": 9.0, "initial": 5.0, "waste_cost": 9.0}
    data = one_site({"lead_time": 1}, perishable(2), stock=stock).to_dict()
    mode = {"lead_time": 3, "transit_holding_cost": 9.0}
    data["sites"]["end"] = {"stock": {"p": {"waste_cost": 1.0}}}
    data["lanes"].append({"from": "s", "to": "end", "product": "p", "modes": {"m": mode}})
    data["demands"]["d"]["site"] = "end"
    twin = Twin(Network.parse(data))
    draws = twin.tape.block(twin.state, 2)
    plan = hindsight_plan(twin.state, draws)
    np.testing.assert_allclose(plan.orders, [[0.0, 5.0], [0.0, 0.0]], atol=1e-9)
    assert played(twin, plan.orders, draws) == pytest.approx(plan.cost) == plan.terms["waste"] == 5.0


def test_the_share_of_a_fixed_cost():
    """Ten units at a capacity of 4 cost at least 2.5 times the fixed cost; without a capacity they cost none."""
    for capacity, share in ((4, 2.5), (None, 0.0)):
        network = one_site(
            {"lead_time": 0, "fixed_cost": 8.0, "capacity": capacity}, demand=2.5, penalty=100.0, unmet="backlog"
        )
        twin = Twin(network)
        plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 4))
        assert plan.terms["fixed_order"] == pytest.approx(8.0 * share)


def test_a_plan_that_earns_without_limit():
    """Stock that is worth more than its price: no least cost if it counts, nothing special if it does not."""
    twin = Twin(one_site({"lead_time": 1}, stock={"terminal_value": 2.0}))
    draws = twin.tape.block(twin.state, 4)
    plan = hindsight_plan(twin.state, draws, with_terminal_value=True)
    assert (plan.status, plan.cost) == ("unbounded", -np.inf)
    assert hindsight_plan(twin.state, draws).cost == 0.0


def test_bound_over_replicas():
    """The paths are those of a twin with the same seed; foresight beats the best base-stock level on each of them."""
    network, periods = library.load("lost_sales_zipkin2008"), 40
    bound = hindsight_bound(network, periods, replicas=12, seed=3)
    twin = Twin(network, replicas=12, seed=3)
    draws = twin.tape.block(twin.state, periods)
    assert bound.costs[7] == hindsight_plan(twin.state, draws, replica=7).cost
    assert bound.mean == pytest.approx(bound.costs.mean())
    assert bound.standard_error == pytest.approx(bound.costs.std(ddof=1) / np.sqrt(12))
    assert (bound.costs < periods * twin.rollout("base_stock", [22.0], periods).cost).all()
    assert hindsight_bound(network, periods, replicas=5, seed=3).costs.tolist() == bound.costs[:5].tolist()


def test_what_is_refused():
    network = one_site({"lead_time": 1}, goodwill={"rate": 0.1})
    twin = Twin(network)
    with pytest.raises(ConfigError, match=r"goodwill .*streams: d\)"):
        hindsight_plan(twin.state, twin.tape.block(twin.state, 3))
    with pytest.raises(ConfigError, match="at least 1 period"):
        hindsight_plan(twin.state, twin.tape.block(twin.state, 0))
    broken = Twin(one_site({"lead_time": 1, "order_delay": 1}))
    broken.state.arrays.mail[:] = -1.0
    with pytest.raises(ConfigError, match="HiGHS found no plan"):
        hindsight_plan(broken.state, broken.tape.block(broken.state, 3))
    with pytest.raises(ConfigError, match="at least 2 replicas"):
        hindsight_bound(one_site({"lead_time": 1}), 3, replicas=1)


def test_terms_are_named_as_costs_are():
    twin = Twin(one_site({"lead_time": 1}))
    plan = hindsight_plan(twin.state, twin.tape.block(twin.state, 3))
    assert list(plan.terms) == [term.name for term in COST_TERMS]
    assert plan.orders.shape == (3, 1)
