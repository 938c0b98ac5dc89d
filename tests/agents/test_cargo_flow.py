"""The best cargo flow of a week: by hand, against all paths of random networks, changed in place."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from scipy import optimize

from agents.oracles.cargo_flow import CargoFlow
from agents.oracles.rerouting import rerouting_value
from twin.errors import ConfigError
from twin.liner import library
from twin.liner.network import LinerNetwork
from twin.liner.sailing import fixed_cost

pytest.importorskip("highspy", reason="needs the extra 'routing'")

VESSEL = {
    "capacity_ffe": 100.0,
    "charter_per_day": 10.0,
    "min_speed_knots": 5.0,
    "max_speed_knots": 20.0,
    "design_speed_knots": 10.0,
    "bunker_t_per_day": 0.0,
}


def network(ports, services, demands, **more):
    """A network of ports (handling, transshipment), rounds of calls and demands (from, to, FFE, revenue)."""
    return LinerNetwork.parse(
        {
            "name": "test",
            "ports": {
                name: {"handling_cost": handling, "transshipment_cost": transfer, **more.get(name, {})}
                for name, (handling, transfer) in ports.items()
            },
            "vessel_classes": {"v": VESSEL, "small": {**VESSEL, "capacity_ffe": 40.0}},
            "services": {
                f"s{k}": {"class": kind, "vessels": 1, "speed_knots": 10.0, "calls": calls}
                for k, (kind, calls) in enumerate(services)
            },
            "demands": [
                {"from": one, "to": other, "ffe_per_week": ffe, "revenue_per_ffe": money}
                for one, other, ffe, money in demands
            ],
            "distances": [{"from": a, "to": b, "nm": 240.0} for a, b in itertools.combinations(ports, 2)],
        }
    )


@pytest.fixture
def chain():
    """A to C with a change at B: a large vessel, then a small one."""
    ports = {"A": (10.0, 1.0), "B": (20.0, 7.0), "C": (30.0, 1.0)}
    services = [("v", ["A", "B"]), ("small", ["B", "C"])]
    return network(ports, services, [("A", "B", 80.0, 100.0), ("A", "C", 50.0, 500.0)])


def test_a_week_by_hand(chain):
    """The small vessel carries 40 to C; 60 of the large one's places are left for B."""
    plan = CargoFlow(chain).solve()
    assert plan.carried == pytest.approx([60.0, 40.0])
    assert plan.rejected == pytest.approx([20.0, 10.0])
    assert plan.terms == pytest.approx(
        {
            "revenue": 60 * 100 + 40 * 500,
            "handling": 60 * 30 + 40 * 40,
            "transshipment": 40 * 7,
            "penalty": 30 * 1000,
            "fixed": 2 * 7 * 10,
        }
    )
    assert plan.objective == pytest.approx(2 * plan.terms["revenue"] - sum(plan.terms.values()))
    assert plan.port_moves == pytest.approx([100, 60 + 2 * 40, 40])
    assert plan.leg_ffe == pytest.approx([100, 0, 40, 0])


def test_itineraries_say_which_vessels(chain):
    """Boarding and alighting calls of each vessel, and the days: two legs of a day; changing takes no day on board."""
    flow = CargoFlow(chain)
    to_b, to_c = flow.solve().itineraries
    assert (to_b.demand, to_b.ffe, to_b.rides) == (0, pytest.approx(60.0), ((0, 1),))
    assert (to_c.demand, to_c.ffe, to_c.rides, to_c.nodes) == (1, pytest.approx(40.0), ((0, 1), (2, 3)), (0, 1, 2, 3))
    assert to_c.sailing_days(flow.graph, 1.0) == pytest.approx(2.0)
    assert to_c.text(flow.graph) == "A (s0, call 0) to B (s0, call 1); B (s1, call 0) to C (s1, call 1)"


def test_days_on_board_count_calls_on_the_way():
    """Three legs and two calls between them."""
    line = network(dict.fromkeys("ABCD", (0.0, 0.0)), [("v", list("ABCD"))], [("A", "D", 10.0, 99.0)])
    flow = CargoFlow(line)
    (only,) = flow.solve().itineraries
    assert only.rides == ((0, 3),)
    assert only.sailing_days(flow.graph, 1.0) == pytest.approx(3 + 2)


def test_a_hub_changes_cargo_between_its_own_calls():
    """On a butterfly cargo may cut off a wing at the hub, for the price of a transshipment."""
    ports = {"H": (0.0, 3.0), "A": (0.0, 0.0), "B": (0.0, 0.0), "C": (0.0, 0.0)}
    calls = ["H", "A", "H", "B", "C"]
    plan = CargoFlow(network(ports, [("v", calls)], [("C", "B", 100.0, 900.0), ("H", "A", 60.0, 900.0)])).solve()
    # C to B leaves the places to A to those that go there: it changes at the hub from one wing to the other.
    assert plan.carried == pytest.approx([100.0, 60.0])
    assert plan.terms["transshipment"] == pytest.approx(60.0 * 3.0)
    assert {entry.nodes for entry in plan.itineraries} == {(4, 0, 2, 3), (4, 0, 1, 2, 3), (0, 1)}


@pytest.mark.parametrize("seed", range(12))
def test_as_good_as_a_choice_among_all_paths(seed):
    """Random networks: the objective of the program on paths, all of them written down one by one."""
    rng = np.random.default_rng(seed)
    names = [f"P{k}" for k in range(5)]
    ports = {name: (float(rng.integers(5, 60)), float(rng.integers(1, 40))) for name in names}
    limits = {name: {"moves_per_week": float(rng.integers(40, 250))} for name in names[:2]}
    services = [(str(rng.choice(["v", "small"])), _round(rng, names)) for _ in range(3)]
    pairs = [pair for pair in itertools.permutations(names, 2) if rng.random() < 0.5] or [("P0", "P1")]
    demands = [(a, b, float(rng.integers(5, 90)), float(rng.integers(0, 900))) for a, b in pairs]
    given = network(ports, services, demands, **limits)
    flow = CargoFlow(given)
    plan = flow.solve()
    assert plan.objective == pytest.approx(_on_paths(flow, given), rel=1e-9, abs=1e-6)
    graph = flow.graph
    assert (plan.leg_ffe <= graph.leg_capacity + 1e-6).all()
    assert (plan.port_moves <= graph.port_moves + 1e-6).all()
    for k, cargo in enumerate(given.demands):
        mine = [entry for entry in plan.itineraries if entry.demand == k]
        assert sum(entry.ffe for entry in mine) == pytest.approx(plan.carried[k], abs=1e-5)
        for entry in mine:
            assert graph.port_names[graph.port[entry.nodes[0]]] == cargo.origin
            assert graph.port_names[graph.port[entry.nodes[-1]]] == cargo.destination
    np.testing.assert_allclose(flow.program.equal @ plan.columns, flow.program.equal_to, atol=1e-5)


def _round(rng, names):
    """Calls in random order; with luck the first port a second time."""
    calls = [str(name) for name in rng.permutation(names)[: rng.integers(2, 5)]]
    return [*calls[:2], *calls[2:3], calls[0], calls[3]] if len(calls) == 4 and rng.random() < 0.7 else calls


def _on_paths(flow, given):
    """Objective of the program whose columns are all simple paths of all demands."""
    graph = flow.graph
    size = len(graph.port)
    onward = {n: [int(graph.leg_head[n])] for n in range(size)}
    for tail, head in zip(graph.transfer_tail.tolist(), graph.transfer_head.tolist(), strict=True):
        onward[tail].append(head)
    profit, legs, moves, owner = [], [], [], []
    for d in range(len(graph.demand)):
        for path in _paths(graph, onward, int(graph.origin[d]), int(graph.destination[d])):
            use, made = np.zeros(size), np.zeros(len(graph.port_names))
            money = graph.revenue[d] + given.rejection_penalty_per_ffe
            for port in (graph.origin[d], graph.destination[d]):
                money -= graph.handling_cost[port]
                made[port] += 1.0
            for one, other in itertools.pairwise(path):
                if graph.port[one] == graph.port[other]:
                    money -= graph.transshipment_cost[graph.port[one]]
                    made[graph.port[one]] += 2.0
                else:
                    use[one] += 1.0
            profit.append(money)
            legs.append(use)
            moves.append(made)
            owner.append(np.eye(len(graph.demand))[d])
    lost = given.rejection_penalty_per_ffe * graph.demand.sum() + fixed_cost(given).total
    if not profit:
        return -lost
    limits = np.concatenate([graph.leg_capacity, graph.port_moves, graph.demand])
    rows = np.concatenate([np.transpose(legs), np.transpose(moves), np.transpose(owner)])
    kept = np.isfinite(limits)
    result = optimize.linprog(-np.array(profit), A_ub=rows[kept], b_ub=limits[kept], method="highs")
    return -result.fun - lost


def _paths(graph, onward, origin, destination):
    """All paths without a repeated call, from any call of one port to any call of another."""
    stack = [[n] for n in range(len(graph.port)) if graph.port[n] == origin]
    while stack:
        path = stack.pop()
        if graph.port[path[-1]] == destination:
            yield path
        stack += [[*path, step] for step in onward[path[-1]] if step not in path]


def test_baltic_earns_the_published_objective():
    """The network that ships needs no data: 246,605 USD a week, 389 FFE not carried."""
    given = library.load("baltic")
    plan = CargoFlow(given).solve()
    assert plan.objective == pytest.approx(246_605, rel=1e-5)
    assert plan.objective == pytest.approx(given.known_value("weekly_objective").value, rel=1e-5)
    assert plan.terms == pytest.approx(
        {"revenue": 3.68726e6, "handling": 2.10988e6, "transshipment": 0.0, "penalty": 389_000, "fixed": 941_779},
        rel=1e-5,
    )


def test_changes_in_place_equal_a_new_model():
    """Capacities, moves and demands: as a network that had them from the start, and back again."""
    given = library.load("baltic")
    flow = CargoFlow(given)
    first = flow.solve()
    data = given.to_dict()
    data["ports"]["DEBRV"]["moves_per_week"] = 2000.0
    for row in data["demands"]:
        row["ffe_per_week"] *= 0.7
    for vessel in data["vessel_classes"].values():
        vessel["charter_per_day"] = 0.0
    other = LinerNetwork.parse(data)
    moves = np.where(np.array(flow.graph.port_names) == "DEBRV", 2000.0, np.inf)
    flow.set_port_moves(moves)
    flow.set_demand(0.7 * flow.graph.demand)
    changed = flow.solve()
    expected = CargoFlow(other).solve()
    gap = fixed_cost(given).total - fixed_cost(other).total
    assert changed.objective == pytest.approx(expected.objective - gap, rel=1e-12)
    assert changed.port_moves.max() <= 2000.0 + 1e-6
    flow.set_leg_capacity(np.zeros(len(flow.graph.port)))
    assert flow.solve().carried.sum() == pytest.approx(0.0, abs=1e-9)
    flow.set_leg_capacity(flow.graph.leg_capacity)
    flow.set_port_moves(flow.graph.port_moves)
    flow.set_demand(flow.graph.demand)
    assert flow.solve().objective == pytest.approx(first.objective, rel=1e-12)


def test_keeping_to_a_plan_only_shrinks_it(chain):
    """Without its second vessel the cargo for C stays behind, its places empty; freed, the cargo for B takes them."""
    flow = CargoFlow(chain)
    nominal = flow.solve()
    flow.set_leg_capacity([100.0, 100.0, 0.0, 0.0])
    flow.keep_to(nominal)
    kept = flow.solve()
    assert kept.carried == pytest.approx([60.0, 0.0])
    flow.keep_to(None)
    assert flow.solve().carried == pytest.approx([80.0, 0.0])


def test_rerouting_is_worth_what_the_plans_differ_by():
    """A to C by a hub or around it: with the hub closed, nominal flows end there."""
    ports = {"A": (1.0, 0.0), "H": (1.0, 2.0), "C": (1.0, 9.0), "D": (1.0, 9.0)}
    services = [("v", ["A", "H"]), ("v", ["H", "C"]), ("v", ["A", "D"]), ("v", ["D", "C"])]
    given = network(ports, services, [("A", "C", 70.0, 300.0)])
    found = rerouting_value(given, {"H": 0.0})
    assert found.nominal.objective == pytest.approx(70 * (300 - 2 - 2) - 280)
    assert found.without == pytest.approx(-70 * 1000 - 280, rel=1e-6)
    assert found.rerouted.objective == pytest.approx(70 * (300 - 2 - 9) - 280)
    assert found.value == pytest.approx(found.rerouted.objective - found.without)
    for shares, message in (({"h": 0.1}, "no port 'h'"), ({"H": 1.5}, "between 0 and 1, received 1.5")):
        with pytest.raises(ConfigError, match=message):
            rerouting_value(given, shares)


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        ("set_leg_capacity", [1.0], r"leg capacities must have the shape \(4,\), received \(1,\)"),
        ("set_port_moves", [1.0, np.nan, 1.0], "port moves must be at least 0, received nan"),
        ("set_demand", [1.0, np.inf], "demands must be finite and at least 0, received inf"),
        ("set_demand", [-1.0, 0.0], "received -1"),
    ],
)
def test_impossible_changes_are_refused(chain, change, values, message):
    """Shape and value are named."""
    with pytest.raises(ConfigError, match=message):
        getattr(CargoFlow(chain), change)(values)


def test_a_missing_solver_says_what_to_install(monkeypatch, chain):
    """Importing needs nothing; the first program does."""
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(ImportError, match=r"pip install 'cogtwin\[routing\]'"):
        CargoFlow(chain)
