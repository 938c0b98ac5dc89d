"""Contracts, moves, expediting and records of deliveries: by hand, in both engines, and what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from twin.contracts import MOVES, STAGES
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import ActionError, NetworkError, StaleStateError
from twin.network import PHASE_ORDERS, Network
from twin.simulation import Simulation
from twin.state import TwinState

KEEP, QUALIFY, ACTIVATE, DEACTIVATE, EXPEDITE = range(5)
TERMS = [term.name for term in COST_TERMS]
CONTRACT = {
    "state": "outside",
    "qualification_cost": 500.0,
    "qualification_periods": 2,
    "switching_cost": 100.0,
    "exit_cost": 50.0,
}


def shop(contract=None, *, mode=None, phases=PHASE_ORDERS[0], main=None, **backup):
    """A store with a main supplier (expedited at 4 a unit, by 2 periods) and a backup under contract."""
    sea = {"lead_time": 4, "expediting": {"cost_per_unit": 4.0, "periods": 2}} | (main or {})
    return {
        "name": "two-suppliers",
        "phases": list(phases),
        "products": {"item": {}},
        "resources": {"line": {"availability": {"failure": 0.0, "recovery": 1.0}}},
        "suppliers": {
            "main": {"offers": {"item": {}}},
            "backup": {"offers": {"item": {}}, "contract": contract or CONTRACT, "uses": {"line": 1}} | backup,
        },
        "sites": {"store": {"stock": {"item": {}}}},
        "lanes": [
            {"from": "main", "to": "store", "product": "item", "modes": {"sea": sea}},
            {"from": "backup", "to": "store", "product": "item", "modes": {"air": {"lead_time": 1} | (mode or {})}},
        ],
        "demands": {"d": {"site": "store", "product": "item", "distribution": 0, "unmet": "backlog"}},
    }


def played(network, moves, orders=None):
    """Per period (one move on the backup each): stage, clock, share that works, shipped, cost of contracts."""
    twin = Twin(Network.parse(network))
    assert twin.compiled.relation_names == ("main", "backup")
    out = []
    for t, move in enumerate(moves):
        order = 10.0 if orders is None else orders[t]
        costs = dict(zip(TERMS, twin.step([[0.0], [order]], moves=[[KEEP], [move]])[:, 0], strict=True))
        state = twin.state.snapshot()
        out.append(
            (
                STAGES[int(state["stage"]["backup"])],
                state["contract_clock"]["backup"],
                round(state["availability"]["contract:backup"], 6),
                state["shipped"]["backup->store:air:item"],
                costs["contract"],
            )
        )
    return out


def test_a_supplier_is_qualified_activated_and_left_by_hand():
    """Two periods of qualification, a ramp of four to 20 units, and nothing ships on any other day."""
    contract = CONTRACT | {"capacity": 20.0, "ramp": 4}
    moves = [KEEP, ACTIVATE, QUALIFY, ACTIVATE, ACTIVATE, KEEP, KEEP, KEEP, DEACTIVATE, ACTIVATE]
    assert played(shop(contract), moves) == [
        ("outside", 0, 0, 0, 0),
        ("outside", 0, 0, 0, 0),  # not allowed: it counts as keeping
        ("qualifying", 1, 0, 0, 500),
        ("qualified", 0, 0, 0, 0),  # the second period: still not allowed
        ("active", 1, 0.5, 5, 100),  # of 10 ordered a quarter of 20 ships in the same period
        ("active", 2, 0.75, 10, 0),
        ("active", 3, 1, 10, 0),
        ("active", 4, 1, 10, 0),
        ("qualified", 0, 0, 0, 50),
        ("active", 1, 0.5, 5, 100),  # the ramp begins again
    ]


def test_a_contract_without_delays_and_one_that_has_long_been_active():
    """0 periods of qualification are over at once; what is active at the start works at full capacity."""
    assert played(shop({"state": "outside"}), [QUALIFY, ACTIVATE]) == [
        ("qualified", 0, 0, 0, 0),
        ("active", 1, 1, 10, 0),
    ]
    assert played(shop({"capacity": 8.0, "ramp": 5}), [KEEP, DEACTIVATE, ACTIVATE]) == [
        ("active", 6, 1, 8, 0),
        ("qualified", 0, 0, 0, 0),
        ("active", 1, 0.4, 1.6, 0),
    ]


def test_two_lanes_share_the_capacity_of_a_contract():
    """Of 12 and 8 asked on two lanes under a capacity of 15, three quarters of each ship; no limit means all."""
    for capacity, shipped in ((15.0, [9.0, 6.0]), (None, [12.0, 8.0])):
        data = shop({"capacity": capacity})
        data["lanes"][1]["modes"]["road"] = {"lead_time": 2}
        twin = Twin(Network.parse(data))
        twin.step([[0.0], [12.0], [8.0]])
        assert twin.state.arrays.shipped[1:, 0].tolist() == shipped


@pytest.mark.parametrize(
    ("orders", "down", "charged"),
    [
        ([30.0, 20.0, 12.0, 0.0], [], [0.0, 0.0, 16.0, 40.0]),
        ([12.0, 0.0, 0.0, 12.0], [1, 2], [16.0, 0.0, 0.0, 16.0]),
    ],
)
def test_what_is_ordered_below_the_minimum_is_charged(orders, down, charged):
    """2 a unit below 20 a period, though no more than 15 can ship; not while the supplier's line is down."""
    twin = Twin(Network.parse(shop({"minimum": 20.0, "shortfall_cost": 2.0}, mode={"capacity": 15.0})))
    for t, order in enumerate(orders):
        twin.state.arrays.availability[0] = t not in down
        costs = twin.step([[0.0], [order]])
        assert costs[TERMS.index("contract"), 0] == charged[t]


def test_the_minimum_counts_orders_as_they_are_placed():
    """In lots of 8, an order of 13 is one of 16: 4 are missing; outside nothing is charged."""
    terms = {"minimum": 20.0, "shortfall_cost": 1.0}
    twin = Twin(Network.parse(shop(terms, mode={"lot_size": 8.0})))
    assert twin.step([[0.0], [13.0]])[TERMS.index("contract"), 0] == 4.0
    assert twin.step([[0.0], [0.0]], moves=[[0], [DEACTIVATE]])[TERMS.index("contract"), 0] == 0.0


def test_orders_that_a_supplier_owes_or_that_are_in_the_mail_when_it_is_left():
    """What is owed waits for the next contract; what comes out of the mail meanwhile waits or is refused."""
    for when_down, then in (("waits", 15.0), ("refused", 10.0)):
        mode = {"capacity": 5.0, "unfilled": "backordered", "order_delay": 1, "when_down": when_down}
        twin = Twin(Network.parse(shop({"state": "active"}, mode=mode)))
        owed = []
        for order, move in ((15.0, KEEP), (5.0, KEEP), (7.0, DEACTIVATE), (0.0, KEEP), (0.0, ACTIVATE)):
            twin.step([[0.0], [order]], moves=[[KEEP], [move]])
            owed.append(float(twin.state.arrays.backorders[1, 0]))
        # 15 come to the source in period 1, where 5 ship; 5 more in period 2, when it has just been left
        assert owed == [0.0, 10.0, then, then, then - 5.0]


@pytest.mark.parametrize(
    ("phases", "before", "arrived", "after"),
    [
        (PHASE_ORDERS[0], {"1": 1, "2": 2, "3": 3, "4": 4}, 3, {"0": 3, "1": 4, "4": 5}),
        (PHASE_ORDERS[1], {"2": 1, "3": 2, "4": 3, "5": 4}, 1, {"0": 2, "1": 3, "2": 4, "5": 5}),
    ],
)
def test_expediting_by_hand(phases, before, arrived, after):
    """Every slot moves two forward, to the first at most, before the order of the period is placed: 10 units at 4."""
    lane = "main->store:sea:item"
    twin = Twin(Network.parse(shop(phases=phases, main={"lead_time": 6})))
    assert not twin.allowed_moves()[0, EXPEDITE, 0]
    assert twin.step([[0.0], [0.0]], moves=[[EXPEDITE], [KEEP]])[TERMS.index("expediting"), 0] == 0.0
    for amount in (1.0, 2.0, 3.0, 4.0):
        twin.step([[amount], [0.0]])
    assert twin.state.snapshot()["pipeline"][lane] == before
    assert twin.allowed_moves()[0, EXPEDITE, 0]
    costs = twin.step([[5.0], [0.0]], moves=[[EXPEDITE], [KEEP]])
    assert costs[TERMS.index("expediting"), 0] == 40.0
    assert twin.state.arrays.on_hand[0, 0] == arrived
    assert twin.state.snapshot()["pipeline"][lane] == after


def test_what_arrives_next_is_not_paid_for():
    """A move that brings nothing forward costs nothing; other lanes of the supplier stay as they are."""
    data = shop()
    data["lanes"][0]["modes"]["rail"] = {"lead_time": 9}
    twin = Twin(Network.parse(data))
    twin.step([[7.0], [3.0], [0.0]])
    for _ in range(2):
        twin.step(np.zeros((3, 1)))
    assert twin.state.snapshot()["pipeline"]["main->store:sea:item"] == {"0": 7.0}
    assert twin.step(np.zeros((3, 1)), moves=[[EXPEDITE], [KEEP]])[TERMS.index("expediting"), 0] == 0.0
    assert twin.state.snapshot()["pipeline"]["main->store:rail:item"] == {"4": 3.0}


def test_the_record_of_deliveries_by_hand():
    """0.1 towards the share that ships in time: late, short and refused ones count, an idle period does not."""
    law = {"distribution": "recorded", "values": [2, 3, 1, 2, 2, 2]}  # promised 2: the mean
    mode = {"lead_time": law, "capacity": 10.0, "when_down": "refused"}
    twin = Twin(Network.parse(shop({"state": "active"}, mode=mode)))
    expected = [1.0]
    for order, works, share in ((8.0, 1, 1.0), (8.0, 1, 0.0), (20.0, 1, 0.5), (5.0, 0, 0.0), (0.0, 1, None)):
        twin.state.arrays.availability[0] = works
        twin.step([[0.0], [order]])
        last = expected[-1]
        expected.append(last if share is None else last + 0.1 * (share - last))
        assert twin.state.arrays.on_time[1, 0] == pytest.approx(expected[-1], abs=1e-15)
    twin.step([[0.0], [5.0]], moves=[[KEEP], [DEACTIVATE]])  # nobody was asked for anything
    assert twin.state.arrays.on_time[:, 0].tolist() == pytest.approx([1.0, expected[-1]], abs=1e-15)


def test_a_promise_knows_no_lateness():
    """Where every shipment leaves a period late, the record falls although that is the mean of what is drawn."""
    late = {"delay": {"probability": 1.0, "time": 1}}
    twin = Twin(Network.parse(shop({"state": "active"}, **late)))
    twin.step([[0.0], [5.0]])
    assert twin.state.arrays.on_time[1, 0] == pytest.approx(0.9)


@pytest.mark.parametrize("detail", ["period", "continuous"])
def test_the_event_engine_says_what_happened(detail):
    """Stages and expedited shipments stand in the log, and an expedited order is followed to its receipt."""
    simulation = Simulation(Network.parse(shop()), detail=detail)
    assert np.argwhere(simulation.allowed_moves()).tolist() == [[0, KEEP], [1, KEEP], [1, QUALIFY]]
    simulation.step([7.0, 0.0], [KEEP, QUALIFY])
    simulation.step([0.0, 0.0], [EXPEDITE, KEEP])
    simulation.step([0.0, 0.0], [KEEP, ACTIVATE])
    simulation.step([0.0, 3.0], [[KEEP], [DEACTIVATE]])
    events = [(event.time, event.kind) for event in simulation.log.select("qualification_begins", "qualified")]
    assert events == [(0.0, "qualification_begins"), (2.0, "qualified")]
    assert [event.time for event in simulation.log.select("activated", "deactivated")] == [2.0, 3.0]
    followed = [(event.time, event.kind) for event in simulation.log.follow(0)]
    assert followed[-2:] == [(1.0, "expedited"), (2.0, "received")]
    with pytest.raises(ActionError, match=r"shape \(relations, replicas\) = \(2, 1\)"):
        simulation.step([0.0, 0.0], [KEEP])


def test_without_moves_the_engines_go_on_and_wrong_moves_are_named():
    """No moves keep all; another shape, another type and another number are refused, and nothing has happened."""
    twin = Twin(Network.parse(shop()), replicas=3)
    before = twin.state.content_hash()
    for moves, expected in (
        ([[0, 0, 0]], r"shape \(relations, replicas\) = \(2, 3\), received int64 of shape \(1, 3\)"),
        (np.zeros((2, 3)), "float64"),
        ([[0, 0, 0], [0, 5, 0]], "the move on 'backup' is 5 .*4 expedite"),
        ([[0, 0, 0], [0, -1, 0]], "the move on 'backup' is -1"),
    ):
        with pytest.raises(ActionError, match=expected):
            twin.step(np.zeros((2, 3)), moves=moves)
    assert twin.state.content_hash() == before
    other = twin.fork()
    twin.step(np.ones((2, 3)))
    other.step(np.ones((2, 3)), moves=np.zeros((2, 3), dtype=np.int8))
    assert twin.state.content_hash() == other.state.content_hash()


def test_moves_on_a_network_without_relations():
    """There is nothing to decide: no rows, and a move is refused."""
    data = shop()
    del data["suppliers"]["backup"]["contract"], data["lanes"][0]["modes"]["sea"]["expediting"]
    twin = Twin(Network.parse(data), replicas=2)
    assert twin.allowed_moves().shape == (0, len(MOVES), 2)
    twin.step(np.ones((2, 2)), moves=np.zeros((0, 2), dtype=np.int64))
    with pytest.raises(ActionError, match="none is defined"):
        twin.step(np.ones((2, 2)), moves=[[0, 0]])
    assert not {len(twin.state.logical(name)) for name in ("stage", "clock", "price", "on_time")} - {0}


AT = "suppliers.backup.contract"


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        ({"state": "activ"}, [f"{AT}.state", "'activ'", "did you mean 'active'"]),
        ({"capcity": 4}, [AT, "unknown key 'capcity'", "did you mean 'capacity'"]),
        ({"qualification_periods": 1.5}, [f"{AT}.qualification_periods", "1.5", "integer"]),
        ({"exit_cost": -1.0}, [f"{AT}.exit_cost", "-1.0", "greater than or equal to 0"]),
        ({"ramp": 3}, [f"{AT}.ramp", "received 3", "allowed: 0, or a capacity"]),
        ({"minimum": 9.0, "shortfall_cost": 1.0, "capacity": 8.0}, [f"{AT}.minimum", "at most the capacity 8"]),
        ({"minimum": 9.0}, [f"{AT}.minimum", "shortfall_cost", "both or neither"]),
        ({"shortfall_cost": 9.0}, [f"{AT}.shortfall_cost", "minimum", "both or neither"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_contract_is_named(contract, expected):
    """Place, value, what is allowed and the nearest match."""
    with pytest.raises(NetworkError) as caught:
        Network.parse(shop(contract))
    for part in expected:
        assert part in str(caught.value)


def test_contracts_and_expediting_that_lead_nowhere_are_refused():
    """A contract with a supplier that no lane begins at, and a lane from a site that is expedited."""
    data = shop()
    data["suppliers"]["third"] = {"offers": {"item": {}}, "contract": {}}
    van = {"lead_time": 2, "expediting": {"periods": 1}}
    data["sites"]["shed"] = {"stock": {"item": {}}}
    data["lanes"] += [
        {"from": "main", "to": "shed", "product": "item", "modes": {"sea": {"lead_time": 1}}},
        {"from": "shed", "to": "store", "product": "item", "modes": {"van": van}},
    ]
    with pytest.raises(NetworkError) as caught:
        Network.parse(data)
    assert "suppliers.third.contract: no lane begins at 'third'" in str(caught.value)
    assert "lanes[3].modes.van.expediting: the lane begins at site 'shed'" in str(caught.value)


def test_the_torch_engine_says_what_it_cannot_do():
    """It has none of these, and names every key of the file."""
    from twin.differentiable import DifferentiableTwin

    data = shop()
    data["suppliers"]["main"]["offers"]["item"] = {
        "price": 2.0,
        "breaks": [{"from": 5, "price": 1.0}],
        "price_process": {"volatility": 0.1},
    }
    keys = ["suppliers.backup.contract", "lanes[0].modes.sea.expediting"]
    keys += [f"suppliers.main.offers.item.{key}" for key in ("breaks", "price_process")]
    with pytest.raises(NetworkError) as caught:
        DifferentiableTwin(Network.parse(data))
    for key in keys:
        assert key in str(caught.value)


def test_a_record_can_be_kept_where_nothing_is_agreed():
    """With records: true the shipments of plain suppliers are remembered; the torch engine refuses that too."""
    from twin.differentiable import DifferentiableTwin

    data = shop() | {"records": True}
    del data["suppliers"]["backup"]["contract"], data["lanes"][0]["modes"]["sea"]["expediting"]
    data["lanes"][0]["modes"]["sea"]["capacity"] = 5.0
    twin, simulation = Twin(Network.parse(data)), Simulation(Network.parse(data))
    twin.step([[10.0], [3.0]])
    simulation.step([10.0, 3.0])
    for state in (twin.state, simulation.state()):
        assert state.arrays.on_time[:, 0].tolist() == pytest.approx([0.95, 1.0])
    with pytest.raises(NetworkError, match="has records"):
        DifferentiableTwin(twin.compiled)


def test_a_file_keeps_all_that_is_agreed():
    """Written and read again, a network with every key is the same, and has the same hash."""
    data = shop(CONTRACT | {"minimum": 3.0, "shortfall_cost": 1.0, "ramp": 2, "capacity": 9.0})
    data["suppliers"]["main"]["offers"]["item"] = {
        "price": 2.0,
        "breaks": [{"from": 5, "price": 1.0}],
        "price_process": {
            "reversion": 0.1,
            "shock_probability": 0.1,
            "shock": {"distribution": "gamma", "mean": 1.0, "sd": 0.5},
            "tariffs": [{"from": 3, "factor": 1.5}],
        },
    }
    network = Network.parse(data)
    again = Network.parse(json.loads(json.dumps(network.to_dict())))
    assert again == network
    assert Twin(again).compiled.content_hash() == Twin(network).compiled.content_hash()


@pytest.mark.parametrize(
    ("section", "name", "value", "expected"),
    [
        ("stage", "backup", 4.0, "at most 3"),
        ("stage", "backup", 1.5, "whole number"),
        ("stage", "backup", 3.0, "availability.contract:backup"),
        ("contract_clock", "backup", -1.0, "at least 0"),
        ("on_time", "main->store:sea:item", 1.1, "at most 1"),
        ("price", "main/item", 0.0, "price.main/item: must be above 0"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(section, name, value, expected):
    """Stage, clock, record and price are read back by name, and checked."""
    data = shop()
    data["suppliers"]["main"]["offers"]["item"] = {"price": 1.0, "price_process": {"volatility": 0.1}}
    twin = Twin(Network.parse(data))
    twin.step([[5.0], [0.0]], moves=[[KEEP], [QUALIFY]])
    snapshot = json.loads(json.dumps(twin.state.snapshot()))
    assert TwinState.restore(twin.compiled, snapshot).content_hash() == twin.state.content_hash()
    wrong = copy.deepcopy(snapshot)
    wrong[section][name] = value
    with pytest.raises(StaleStateError, match=expected):
        TwinState.restore(twin.compiled, wrong)


def test_a_rollout_is_its_steps():
    """A rule run for many periods is what single steps with its orders come to, warm-up left out."""
    data = shop(CONTRACT | {"state": "active", "minimum": 3.0, "shortfall_cost": 1.0})
    data["demands"]["d"] |= {"distribution": {"distribution": "poisson", "mean": 5.0}, "penalty": 3.0}
    network = Network.parse(data)
    twin, other = (Twin(network, replicas=4, seed=2) for _ in range(2))
    levels = np.array([20.0, 12.0])
    result = twin.rollout("base_stock", levels, 9, warm_up=3, repeat=1)
    total = np.zeros_like(result.terms)
    for t in range(12):
        orders = other.base_stock_orders(other.positions(), np.broadcast_to(levels[:, None], (2, 4)))
        total += other.step(orders) * (t >= 3)
    np.testing.assert_array_equal(result.terms, total / 9)
    assert twin.state.content_hash() == other.state.content_hash()
    repeated = Twin(network).at(twin.initial_state(np.full(4, 2, np.uint64), np.array([0, 1, 0, 1], np.uint32)))
    twice = repeated.rollout("base_stock", levels, 9, warm_up=3, repeat=2)
    np.testing.assert_array_equal(twice.terms[:, :2], result.terms[:, :2])
    np.testing.assert_array_equal(twice.terms[:, 2:], result.terms[:, :2])
