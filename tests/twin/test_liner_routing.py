"""A liner network on the twin's engine: departures, itineraries, orders; limits hold, and a plan earns what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.liner_reference import Harbours, random_candidates, random_network
from twin.engine import Twin
from twin.errors import ActionError, NetworkError
from twin.liner import library
from twin.liner.assignment import REFUSED, WAIT, Assignment
from twin.liner.calls import call_graph
from twin.liner.itineraries import Candidate, checked, read_candidates, shipped_candidates, write_candidates
from twin.liner.network import LinerNetwork
from twin.liner.routing import AIR, DISCHARGE, LEG, LOAD, REFUSE, TRANSFER, routing_network
from twin.liner.sailing import fixed_cost, voyage
from twin.liner.schedule import leg_ways, schedule
from twin.liner.terms import RoutingTerms

KINDS = {LOAD: "load", LEG: "leg", TRANSFER: "transfer", DISCHARGE: "discharge", AIR: "air", REFUSE: "refuse"}

#: A port that fails at random for a hidden time, with a ramp; one at a fifth in a window; a canal closed for a while.
FAILS = {"failure": 0.03, "duration": {"distribution": "poisson", "mean": 9}, "ramp": 3}
WINDOW = {"windows": [{"start": 10, "duration": 25}], "share_when_down": 0.2}
CLOSED = {"windows": [{"start": 20, "duration": 30}]}


def disrupted(network):
    """Terms under which ports fail and the canal, where there is one, closes."""
    limited = [name for name, port in network.ports.items() if port.moves_per_week is not None]
    return RoutingTerms.model_validate(
        {
            "value_of_time": 3.0,
            "storage_cost": 0.5,
            "air_cost_per_ffe": 4000.0,
            "ports": {"P4": FAILS | ({} if "P4" in limited else {"ramp": 0})}
            | {name: WINDOW for name in limited[:1] if name != "P4"},
            "canals": {"suez": CLOSED} if any(row.through for row in network.distances) else {},
        }
    )


def choices(rng, assignment, replicas):
    """Random ones: most flows take a way, booked cargo is rarely refused or sent by air."""
    most = np.diff(assignment.first_way)[:, None]
    chosen = rng.integers(0, most, size=(len(most), replicas))
    for f, flow in enumerate(assignment.flows):
        ways = assignment.ways[assignment.first_way[f] : assignment.first_way[f + 1]]
        candidates = sum(way.candidate >= 0 for way in ways)
        if flow.node < 0 and candidates:
            rare = rng.random(replicas) < 0.9
            chosen[f, rare] = rng.integers(0, candidates, size=rare.sum())
    chosen[rng.random(chosen.shape) < 0.1] = WAIT
    return chosen


def made(seed, *, canal=False):
    rng = np.random.default_rng(seed)
    network = random_network(rng, canal=canal)
    routing = routing_network(network, random_candidates(rng, call_graph(network)), disrupted(network))
    return rng, network, routing, Assignment(routing)


# -- departures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_every_call_has_its_day_of_the_week(seed):
    """Legs take whole days, at least one; rounds close after seven days per vessel; rounding does not add up."""
    network = random_network(np.random.default_rng(seed))
    graph, times = call_graph(network), schedule(network)
    for s, (name, service) in enumerate(network.services.items()):
        mine = np.flatnonzero(graph.service == s)
        days, sailed = times.leg_days[mine], voyage(network, name)
        assert days.min() >= 1
        assert days.sum() == times.round_days[s] == 7 * max(service.vessels, sailed.vessels_needed)
        leaves = times.weekday[mine[0]] + np.concatenate([[0], np.cumsum(days)[:-1]])
        np.testing.assert_array_equal(times.weekday[mine], leaves % 7)
        exact = np.cumsum([leg.days + 1.0 for leg in sailed.legs[:-1]])
        np.testing.assert_allclose(np.cumsum(days)[:-1], exact, atol=1.0)


def test_a_closed_canal_makes_legs_longer_and_burns_more():
    """3,000 nm more at 10 knots are 12.5 days, 13 as whole days; bunker by the cubic law, no fee."""
    data = random_network(np.random.default_rng(0)).to_dict()
    data["services"] = {"s": {"class": "v", "vessels": 3, "speed_knots": 10.0, "calls": ["P0", "P1"]}}
    data["distances"] = [
        {"from": "P0", "to": "P1", "nm": 1000.0, "through": ["suez"]},
        {"from": "P0", "to": "P1", "nm": 4000.0},
    ]
    data["demands"] = [{"from": "P0", "to": "P1", "ffe_per_week": 10.0, "revenue_per_ffe": 100.0}]
    network = LinerNetwork.parse(data)
    usual, around = leg_ways(network, "s", 0, ("suez",))
    assert (usual.passes, usual.more_days, usual.more_cost) == (("suez",), 0, 0.0)
    assert (around.passes, around.more_days) == ((), 13)
    assert around.more_cost == pytest.approx(12.5 * 600 * 3.0 * (10 / 12) ** 3)
    assert len(leg_ways(network, "s", 0, ())) == 1
    terms = RoutingTerms.model_validate({"canals": {"suez": CLOSED}})
    twin = Twin(routing_network(network, [Candidate(0, (0, 1))], terms).compiled)
    nothing = np.zeros((twin.compiled.n_arcs, 1))
    paid = [float(twin.step(nothing).sum()) for _ in range(60)]
    assert paid[0] == pytest.approx(fixed_cost(network).total / 7)
    assert paid[30] == pytest.approx(fixed_cost(network, ["suez"]).total / 7)
    assert paid[59] == pytest.approx(paid[0])


# -- worth what the plan is worth ------------------------------------------------------------------------------------


def weekly_profit(routing, amounts, *, warm_up=20, weeks=8):
    """Average weekly profit of a plan that is followed, after warm-up."""
    assignment, twin = Assignment(routing), Twin(routing.compiled)
    share, earned = assignment.plan(amounts), 0.0
    for day in range(7 * (warm_up + weeks)):
        costs = twin.step(assignment.orders(twin.state, share, by_booking=True))
        earned -= float(costs.sum()) if day >= 7 * warm_up else 0.0
    return earned / weeks


@pytest.mark.parametrize("terms", [{}, {"booking": "daily"}, {"transshipment_days": 3}])
def test_baltic_earns_the_published_objective(terms):
    """No noise and no events: 246,605 USD a week, to ten digits of what the program says."""
    pytest.importorskip("highspy", reason="the plan is a program's")
    from agents.oracles.cargo_flow import CargoFlow

    network = library.load("baltic")
    plan = CargoFlow(network).solve()
    ffe = {Candidate(entry.demand, entry.nodes): entry.ffe for entry in plan.itineraries}
    routing = routing_network(network, shipped_candidates(network), RoutingTerms.model_validate(terms))
    assert set(ffe) <= set(routing.candidates)
    found = weekly_profit(routing, [ffe.get(entry, 0.0) for entry in routing.candidates])
    assert found == pytest.approx(plan.objective, rel=1e-9)
    assert found == pytest.approx(246_605, rel=1e-3)


def test_ports_that_make_no_more_moves_than_the_plan_needs_earn_as_much():
    """A seventh of the plan's weekly moves a day, and no headroom: cargo waits for its move, and none is lost."""
    pytest.importorskip("highspy", reason="the plan is a program's")
    from agents.oracles.cargo_flow import CargoFlow

    network = library.load("baltic")
    plan = CargoFlow(network).solve()
    ffe = {Candidate(entry.demand, entry.nodes): entry.ffe for entry in plan.itineraries}
    limit = dict(zip(network.ports, (plan.port_moves / 7).tolist(), strict=True))
    routing = routing_network(network, shipped_candidates(network), RoutingTerms(moves_per_day=limit))
    found = weekly_profit(routing, [ffe.get(entry, 0.0) for entry in routing.candidates], warm_up=40)
    assert found == pytest.approx(plan.objective, rel=1e-6)


# -- what can never be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("by", ["choice", "orders"])
def test_containers_are_conserved_and_no_limit_is_exceeded(seed, by):
    """Whatever is chosen or ordered, and whatever fails: booked = waiting + under way; slots and moves hold."""
    rng, _, routing, assignment = made(seed, canal=seed % 2 == 1)
    replicas = 4
    twin = Twin(routing.compiled, replicas=replicas, seed=seed)
    top, arrays, graph = routing.compiled.topology, twin.state.arrays, routing.graph
    demands = np.arange(len(graph.demand))
    at_place = (routing.stock_demand[None, :] == demands[:, None]).astype(float)
    on_arc = (routing.arc_demand[None, :] == demands[:, None]).astype(float)
    begins = on_arc * (routing.arc_tail < 0)
    booked, entered = np.zeros((len(demands), replicas)), np.zeros((len(demands), replicas))
    delivered = np.zeros((len(demands), replicas))
    for _ in range(80):
        before = assignment.waiting(twin.state)
        if by == "choice":
            orders = assignment.orders(twin.state, assignment.shares(choices(rng, assignment, replicas)))
        else:
            wild = rng.uniform(0.0, 60.0, size=(routing.compiled.n_arcs, replicas))
            orders = assignment.permitted(twin.state, wild)
        works, day = arrays.availability.copy(), twin.state.period.copy()
        assert (begins @ orders <= before + 1e-9).all()
        twin.step(orders)
        booked += arrays.demand
        entered += begins @ arrays.shipped
        delivered += arrays.delivered
        assert (begins @ arrays.shipped <= before + 1e-9).all()
        under_way = at_place @ arrays.on_hand + on_arc @ arrays.in_transit
        np.testing.assert_allclose(entered, delivered + under_way, atol=1e-6)
        np.testing.assert_allclose(booked, delivered + arrays.backlog, atol=1e-6)
        assert (arrays.backlog >= under_way - 1e-6).all()
        sailed = np.zeros((len(graph.port), replicas))
        moves = np.zeros((len(graph.port_names), replicas))
        for a in range(routing.compiled.n_arcs):
            kind, tail, head, shipped = routing.arc_kind[a], routing.arc_tail[a], routing.arc_head[a], arrays.shipped[a]
            if kind == LEG:
                sailed[tail] += shipped
                used = top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]]
                assert not shipped[(works[used] == 0.0).any(axis=0)].any()
            elif kind in (LOAD, TRANSFER, DISCHARGE):
                moves[graph.port[head if kind == LOAD else tail]] += (2.0 if kind == TRANSFER else 1.0) * shipped
        leaves = (day[None, :] - routing.schedule.weekday[:, None]) % 7 == 0
        assert (sailed <= np.where(leaves, graph.leg_capacity[:, None], 0.0) + 1e-6).all()
        for p, r in enumerate(routing.move_resource):
            if r >= 0 and np.isfinite(graph.port_moves[p]):
                assert (moves[p] <= graph.port_moves[p] / 7 * works[r] + 1e-6).all()
            elif r >= 0:
                assert not moves[p][works[r] == 0.0].any()


@pytest.mark.parametrize("seed", range(8))
def test_cargo_is_not_loaded_for_a_full_vessel(seed):
    """By choice alone, what is at a call or comes to it in time, and what is loaded, fits on the next departure."""
    rng, _, routing, assignment = made(seed)
    twin, graph = Twin(routing.compiled, seed=seed), routing.graph
    chosen = choices(rng, assignment, 1)
    for _ in range(60):
        orders = assignment.orders(twin.state, assignment.shares(chosen))[:, 0]
        for n in range(len(graph.port)):
            loads = orders[(routing.arc_kind == LOAD) & (routing.arc_head == n)].sum()
            sails = [f for f, flow in enumerate(assignment.flows) if flow.node == n and _sails(assignment, chosen, f)]
            there = sum(_on_hand(routing, twin, assignment.flows[f]) for f in sails)
            assert loads <= max(graph.leg_capacity[n] - there, 0.0) + 1e-6
        twin.step(orders[:, None])


def _sails(assignment, chosen, f):
    if chosen[f, 0] == WAIT:
        return False
    a = assignment.way_arc[assignment.first_way[f] + chosen[f, 0]]
    return assignment.routing.arc_kind[a] == LEG


def _on_hand(routing, twin, flow):
    at = (routing.stock_node == flow.node) & (routing.stock_demand == flow.demand)
    return float(twin.state.arrays.on_hand[at, 0].sum())


# -- a second opinion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_vessels_followed_one_by_one_agree(seed):
    """Cargo at every call, cargo owed and the money of every day, over 100 days with outages and a closed canal."""
    rng, network, routing, assignment = made(seed, canal=seed % 3 == 1)
    twin, graph = Twin(routing.compiled, seed=seed), routing.graph
    first = [next((k.nodes[0] for k in routing.candidates if k.demand == d), None) for d in range(len(graph.demand))]
    naive = Harbours(network, routing.terms, first)
    usual = np.ones(routing.compiled.n_arcs, dtype=bool)
    usual[routing.arc_around[routing.arc_around >= 0]] = False
    chosen = choices(rng, assignment, 1)
    for day in range(100):
        if day % 5 == 0:
            chosen = choices(rng, assignment, 1)
        naive.morning()
        for f, flow in enumerate(assignment.flows):
            if flow.node >= 0:
                assert _on_hand(routing, twin, flow) == pytest.approx(naive.ashore[flow.node, flow.demand], abs=1e-6), f
        waiting = assignment.waiting(twin.state)[:, 0]
        expected = [naive.backlog[d] - naive.under_way(d) for d in range(len(graph.demand))]
        np.testing.assert_allclose(waiting, np.maximum(expected, 0.0), atol=1e-6)
        works = twin.state.arrays.availability[:, 0]
        shares = {name: works[r] for name, r in zip(network.ports, routing.move_resource, strict=True) if r >= 0}
        closed = [name for name, r in routing.canal_resource.items() if works[r] == 0.0]
        orders = assignment.orders(twin.state, assignment.shares(chosen))[:, 0]
        listed = [
            (
                KINDS[routing.arc_kind[a]],
                *(int(numbers[a]) for numbers in (routing.arc_demand, routing.arc_tail, routing.arc_head)),
                not usual[a],
                float(orders[a]),
            )
            for a in np.flatnonzero(orders)
        ]
        money = naive.day(listed, shares, closed)
        assert -float(twin.step(orders[:, None]).sum()) == pytest.approx(money, rel=1e-9, abs=1e-4)
        np.testing.assert_allclose(twin.state.arrays.backlog[:, 0], naive.backlog, atol=1e-6)
    assert naive.coming or any(naive.ashore.values())


def test_cargo_sails_around_a_closed_canal():
    """The same leg, later, while it is closed; by the canal again when it is open."""
    _, _, routing, assignment = made(1, canal=True)
    twin, went = Twin(routing.compiled, seed=1), {True: 0.0, False: 0.0}
    detours, by_canal = routing.arc_around[routing.arc_around >= 0], np.flatnonzero(routing.arc_around >= 0)
    chosen = np.zeros((len(assignment.flows), 1), dtype=int)
    for day in range(70):
        twin.step(assignment.orders(twin.state, assignment.shares(chosen)))
        shipped, closed = twin.state.arrays.shipped[:, 0], 20 <= day < 50
        went[closed] += shipped[detours if closed else by_canal].sum()
        assert not shipped[by_canal if closed else detours].any()
    assert min(went.values()) > 0.0


# -- choosing --------------------------------------------------------------------------------------------------------


def test_ways_are_candidates_from_where_the_cargo_is():
    """A booking has its whole candidates, then refusal; a call has what is left of them, each once."""
    network = library.load("baltic")
    assignment = Assignment(routing_network(network, shipped_candidates(network)))
    routing = assignment.routing
    for f, flow in enumerate(assignment.flows):
        ways = assignment.ways[assignment.first_way[f] : assignment.first_way[f + 1]]
        mine = [entry for entry in routing.candidates if entry.demand == flow.demand]
        if flow.node < 0:
            assert [way.nodes for way in ways] == [*(entry.nodes for entry in mine), ()]
            assert ways[-1].candidate == REFUSED
        else:
            rests = [entry.nodes[entry.nodes.index(flow.node) :] for entry in mine if flow.node in entry.nodes]
            assert [way.nodes for way in ways] == list(dict.fromkeys(rests))
        for way in ways:
            tails = [routing.arc_tail[a] for a in way.arcs]
            assert tails == [flow.node, *way.nodes[flow.node >= 0 :]] or way.candidate < 0
    refused = assignment.way_cost[assignment.first_way[1:23] - 1]
    np.testing.assert_allclose(refused, routing.graph.revenue + 1000.0)


def test_the_days_of_a_way_are_those_that_cargo_takes():
    """One FFE booked on day 0 and sent on each candidate alone is delivered after as many days."""
    network = library.load("baltic")
    routing = routing_network(network, shipped_candidates(network))
    assignment = Assignment(routing)
    for w, way in enumerate(assignment.ways):
        if way.candidate < 0 or assignment.flows[way.flow].node >= 0:
            continue
        d = assignment.flows[way.flow].demand
        twin = Twin(routing.compiled)
        share = np.zeros((routing.compiled.n_arcs, 1))
        share[list(way.arcs)] = 1.0
        while assignment.waiting(twin.state)[d, 0] == 0.0:
            twin.step(np.zeros((routing.compiled.n_arcs, 1)))
        begun, days = int(twin.state.period[0]), 0
        while twin.state.arrays.delivered[d, 0] == 0.0:
            twin.step(assignment.orders(twin.state, share))
            days += 1
        assert days - 1 == assignment.way_days[w, begun % 7]


def test_the_cheapest_way_of_every_flow():
    """By costs of ways that differ between replicas; the first of several."""
    network = library.load("baltic")
    assignment = Assignment(routing_network(network, shipped_candidates(network)))
    cost = np.random.default_rng(0).integers(0, 3, size=(len(assignment.ways), 5)).astype(float)
    found = assignment.cheapest(cost)
    for f, (first, last) in enumerate(itertools.pairwise(assignment.first_way)):
        np.testing.assert_array_equal(found[f], cost[first:last].argmin(axis=0))
    per_arc = np.random.default_rng(1).random((assignment.routing.compiled.n_arcs, 2))
    expected = [per_arc[list(way.arcs)].sum(axis=0) for way in assignment.ways]
    np.testing.assert_allclose(assignment.along(per_arc), expected)


# -- what is refused -------------------------------------------------------------------------------------------------


def test_itineraries_survive_their_file(tmp_path):
    """Written and read they are the same, and names say what is wrong."""
    network = library.load("baltic")
    path, found = tmp_path / "ways.yaml", shipped_candidates(network)
    write_candidates(path, network, found)
    assert read_candidates(path, network) == found
    path.write_text(path.read_text().replace("service_2:0", "service_2:9"))
    with pytest.raises(NetworkError, match=r"itineraries\[0\].calls: no call 'service_2:9'.*did you mean 'service_2:"):
        read_candidates(path, network)
    path.write_text("itineraries: [{from: A, to: B, calls: [x, y]}]")
    with pytest.raises(NetworkError, match="baltic has no demand from A to B"):
        read_candidates(path, network)
    path.write_text("itineraries: [{from: A}]")
    with pytest.raises(NetworkError, match="holds no itineraries"):
        read_candidates(path, network)
    with pytest.raises(NetworkError, match="no candidate itineraries ship for 'random'"):
        shipped_candidates(random_network(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("demand", "nodes", "message"),
    [
        (99, (0, 1), r"is for no demand of the network \(allowed: 0 to 21\)"),
        (0, (0,), "two calls or more"),
        (0, (0, 77), r"a call that the network has not \(allowed: 0 to 12\)"),
        (0, (0, 1), "begins at|ends at"),
    ],
)
def test_impossible_itineraries_are_refused(demand, nodes, message):
    """The call at which it breaks is named."""
    with pytest.raises(NetworkError, match=message):
        checked(call_graph(library.load("baltic")), [Candidate(demand, nodes)])


def test_an_itinerary_that_jumps_is_refused():
    """Two calls without a leg or a transshipment between them."""
    graph = call_graph(library.load("baltic"))
    entry = shipped_candidates(library.load("baltic"))[1]
    jump = Candidate(entry.demand, (entry.nodes[0], (entry.nodes[0] + 3) % 6, entry.nodes[-1]))
    with pytest.raises(NetworkError, match="neither a leg nor a transshipment from"):
        checked(graph, [jump])


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"ports": {"DEBRW": FAILS}}, "ports.DEBRW: baltic has no such port .*did you mean 'DEBRV'"),
        ({"canals": {"suez": CLOSED}}, "canals.suez: baltic has no such passage .*name no passages"),
        ({"ports": {"DEBRV": WINDOW}}, "ports.DEBRV.share_when_down: nothing limits its moves"),
        ({"depends": {"DEBRV": ["worm"]}}, "depends.DEBRV: no cause 'worm'"),
        ({"weekly_demand_cv": 0.3}, "allowed: with booking: daily"),
    ],
)
def test_impossible_terms_are_refused(terms, message):
    """Names, shares without a limit, noise in bookings of one day."""
    network = library.load("baltic")
    with pytest.raises(NetworkError, match=message):
        routing_network(network, shipped_candidates(network), RoutingTerms.model_validate(terms))


def test_a_passage_is_open_or_closed():
    """No share of a canal is left."""
    network = random_network(np.random.default_rng(1), canal=True)
    terms = RoutingTerms.model_validate({"canals": {"suez": WINDOW}})
    with pytest.raises(NetworkError, match=r"a passage is open or closed, received 0\.2"):
        routing_network(network, [], terms)


def test_a_common_cause_hits_all_that_depend_on_it():
    """Three ports down at once, and unlimited in between."""
    network = library.load("baltic")
    ports = ["DEBRV", "DKAAR", "PLGDY"]
    terms = {"causes": {"worm": {"availability": CLOSED}}, "depends": {port: ["worm"] for port in ports}}
    routing = routing_network(network, shipped_candidates(network), RoutingTerms.model_validate(terms))
    twin = Twin(routing.compiled)
    hit = routing.move_resource[[list(network.ports).index(name) for name in ports]]
    for day in range(55):
        assert (twin.state.arrays.availability[hit, 0] == (0.0 if 20 <= day < 50 else 1.0)).all()
        twin.step(np.zeros((routing.compiled.n_arcs, 1)))


def test_choices_and_shares_of_another_shape_are_refused():
    """Shapes, ways that a flow has not, plans of another length."""
    network = library.load("baltic")
    assignment = Assignment(routing_network(network, shipped_candidates(network)))
    state = Twin(assignment.routing.compiled).state
    flows = len(assignment.flows)
    with pytest.raises(ActionError, match=rf"shape \(flows, replicas\) = \({flows}, B\), received float64"):
        assignment.shares(np.zeros((flows, 1)))
    wrong = np.zeros((flows, 1), dtype=int)
    wrong[3] = 9
    with pytest.raises(ActionError, match="the cargo of demand 3 that is booked has no way 9"):
        assignment.shares(wrong)
    with pytest.raises(ActionError, match="24 amounts"):
        assignment.plan([1.0])
    with pytest.raises(ActionError, match="shares must have shape"):
        assignment.orders(state, np.zeros((3, 1)))


def test_noise_varies_as_asked():
    """The week's demand has its mean and its coefficient of variation."""
    network = library.load("baltic")
    terms = RoutingTerms(booking="daily", weekly_demand_cv=0.4)
    routing = routing_network(network, shipped_candidates(network), terms)
    twin = Twin(routing.compiled, replicas=2000, seed=1)
    weeks = twin.tape.demand(twin.state, 7).sum(axis=0)
    mean = routing.graph.demand
    np.testing.assert_allclose(weeks.mean(axis=1), mean, rtol=0.05)
    np.testing.assert_allclose(weeks.std(axis=1) / mean, 0.4, rtol=0.1)
