"""The event engine by hand: orders followed, clocks, gates, docks, and what a file must not say."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from twin import library
from twin.compile import compile_network
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import ActionError, DataError, StaleStateError
from twin.network import Network
from twin.periods import late_table, period_table
from twin.simulation import Simulation
from twin.simulation.times import transit_times
from twin.state import TwinState

DAILY = {"cycle": 7, "open": [[0, 5]], "unit": "day"}


def network(modes=None, *, shelf_life=None, site=None, demand=0, initial=0.0, **changes) -> Network:
    """A supplier, one site, and lanes of one product between them; periods are days."""
    data = {
        "name": "yard",
        "period": "day",
        "products": {"p": {"shelf_life": shelf_life} if shelf_life else {}},
        "suppliers": {"v": {"offers": {"p": {}}}},
        "sites": {"s": {"stock": {"p": {"initial": initial, "holding_cost": 1.0}}} | (site or {})},
        "lanes": [{"from": "v", "to": "s", "product": "p", "modes": modes or {"m": {"lead_time": 1}}}],
        "demands": {"d": {"site": "s", "product": "p", "distribution": demand}},
    }
    return Network.parse(data | changes)


def on_hand(simulation: Simulation) -> float:
    return float(simulation.state().arrays.on_hand[0, 0])


def story(simulation: Simulation, *kinds: str, **chosen) -> list[tuple[float, str, float]]:
    """(time, kind, quantity) of the events of some kinds."""
    return [(event.time, event.kind, event.quantity) for event in simulation.log.select(*kinds, **chosen)]


# -- period detail --------------------------------------------------------------------------------------------------


def test_an_order_is_followed_through_mail_partial_shipments_and_receipt():
    simulation = Simulation(
        network({"m": {"lead_time": 2, "order_delay": 1, "capacity": 4, "unfilled": "backordered"}})
    )
    simulation.step([10.0])
    for _ in range(6):
        simulation.step([0.0])
    assert story(simulation) == story(simulation, order=0)
    assert [(e.time, e.kind, e.quantity, e.shipment) for e in simulation.log.follow(0)] == [
        (0.0, "placed", 10.0, None),
        (1.0, "reached", 10.0, None),
        (1.0, "shipped", 4.0, 1),
        (1.0, "backordered", 6.0, None),
        (2.0, "shipped", 4.0, 2),
        (3.0, "received", 4.0, 1),
        (3.0, "shipped", 2.0, 3),
        (4.0, "received", 4.0, 2),
        (5.0, "received", 2.0, 3),
    ]
    first = simulation.log[0]
    assert (first.site, first.source, first.lane, first.product) == ("s", "v", "v->s:m:p", "p")


def test_a_shipment_names_every_order_in_it_the_oldest_first():
    simulation = Simulation(network({"m": {"lead_time": 1, "capacity": 5, "unfilled": "backordered"}}))
    for quantity in (7.0, 2.0, 4.0):
        simulation.step([quantity])
    shipped = [(e.shipment, e.order, e.quantity) for e in simulation.log.select("shipped")]
    assert shipped == [(0, 0, 5.0), (1, 0, 2.0), (1, 1, 2.0), (2, 2, 4.0)]


def test_what_is_cancelled_and_what_is_refused_is_said():
    broken = {"line": {"availability": {"failure": 1.0, "recovery": 1.0}}}
    simulation = Simulation(network({"m": {"lead_time": 1, "capacity": 3, "uses": {"line": 1}}}, resources=broken))
    simulation.step([5.0])
    simulation.step([5.0])
    simulation.step([1.0])
    assert story(simulation, "cancelled", "refused") == [(0.0, "cancelled", 2.0), (1.0, "refused", 5.0)]
    outages = [(e.time, e.kind, e.subject, e.quantity) for e in simulation.log if e.subject]
    assert outages == [
        (1.0, "outage_begins", "line", 0.0),
        (2.0, "outage_ends", "line", 1.0),
        (3.0, "outage_begins", "line", 0.0),
    ]


def test_customers_and_spoilt_stock_are_in_the_log():
    simulation = Simulation(network(shelf_life=2, demand=3, initial=10.0))
    simulation.step([0.0])
    simulation.step([0.0])
    simulation.step([0.0])
    assert story(simulation) == [
        (0.0, "served", 3.0),
        (1.0, "served", 3.0),
        (1.0, "perished", 4.0),
        (2.0, "lost", 3.0),
    ]
    assert simulation.log.select("lost")[0].subject == "d"


def test_costs_have_their_places_and_a_policy_runs():
    simulation = Simulation(library.load("five_site_distribution"), seed=4)
    again = Simulation(library.load("five_site_distribution"), seed=4)
    costs = simulation.run(lambda _: np.full(5, 20.0), 6)
    assert costs.shape == (6, len(COST_TERMS))
    np.testing.assert_array_equal(costs, [again.step(np.full((5, 1), 20.0)) for _ in range(6)])
    assert simulation.period == 6
    names = [term.name for term in COST_TERMS]
    assert (costs[:, names.index("holding")] > 0.0).all()
    assert (costs[:, names.index("revenue")] < 0.0).all()


def test_the_log_is_written_as_a_table_and_as_json_lines(tmp_path):
    simulation = Simulation(library.load("five_site_distribution"), seed=4)
    simulation.run(lambda _: np.full(5, 20.0), 6)
    simulation.log.write_csv(tmp_path / "log.csv")
    simulation.log.write_json_lines(tmp_path / "log.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [event._asdict() for event in simulation.log]
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["quantity"]) for row in rows] == [line["quantity"] for line in lines]
    assert [row["order"] for row in rows] == ["" if line["order"] is None else str(line["order"]) for line in lines]
    with pytest.raises(DataError):
        simulation.log.write_csv(tmp_path / "nowhere" / "log.csv")


@pytest.mark.parametrize("orders", [[1.0, 2.0], [np.nan], [np.inf], 3.0, [[1.0, 1.0]]])
def test_impossible_orders_are_refused_and_change_nothing(orders):
    simulation = Simulation(network())
    before = simulation.state().content_hash()
    with pytest.raises(ActionError):
        simulation.step(orders)
    assert simulation.state().content_hash() == before
    simulation.step([-1.0])
    assert not len(simulation.log)


def test_the_other_engines_do_not_need_simpy():
    script = "import sys, twin.engine; sys.exit('simpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


# -- snapshots ------------------------------------------------------------------------------------------------------


def running() -> Simulation:
    """A simulation with something in every place: mail, road, gate, queue, berth and backorders."""
    modes = {
        "slow": {"lead_time": 1.25, "order_delay": 1, "capacity": 2, "unfilled": "backordered"},
        "fast": {"lead_time": 0.75},
        "later": {"lead_time": 3.5},
    }
    site = {
        "docks": {"berths": 1, "handling_time": 0.875},
        "working_hours": {"cycle": 5, "open": [[0, 3.375]]},
    }
    simulation = Simulation(network(modes, site=site), detail="continuous")
    for _ in range(4):
        simulation.step([3.0, 1.0, 1.0])
    return simulation


def test_a_snapshot_knows_where_every_shipment_is():
    simulation = running()
    events = simulation.snapshot()["events"]
    assert {shipment["stage"] for shipment in events["shipments"]} == {"road", "gate", "queue", "berth"}
    assert events["owed"] == {"v->s:slow:p": [[6, 3.0]]}
    assert simulation.snapshot()["mail"]["v->s:slow:p"] == {"0": 3.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda events: events["shipments"][0].update(lane="v->s:slwo:p"), "did you mean 'v->s:slow:p'"),
        (lambda events: events["shipments"][0].update(units=99.0), "0.units: 99 differs from 1 in its lines"),
        (lambda events: events["shipments"][0].update(units=3.0, lines=[[5, 3.0]]), "pipeline.v->s:later:p.0: 2 .* 4 "),
        (lambda events: events["shipments"][0].update(arrival=5.5), "pipeline.v->s:later:p.0: 2 differs from 1 "),
        (lambda events: events["shipments"][0].update(arrival=1.5), "0.arrival: 1.5 is not after the present 4"),
        (lambda events: events["shipments"][2].update(arrival=4.25), "2.arrival: 4.25 is after the present 4"),
        (lambda events: events["shipments"][2].update(since=4.25), "2.since: 4.25 is after the present 4"),
        (lambda events: events["shipments"][0].update(sent=4), "0.sent: 4 is not before the present period 4"),
        (lambda events: events["shipments"][0].update(sent=-1), "sent"),
        (lambda events: events["shipments"][0].update(lots=[[1, 1.0]]), r"0.lots: .*life of 1 .*\(allowed: none\)"),
        (lambda events: events["shipments"][0].update(lines=[[4, 1.0]]), "0.lines: no order 4 on this arc"),
        (lambda events: events["shipments"][0].update(lines=[[14, 1.0]]), "0.lines: no order 14 on this arc"),
        (lambda events: events["owed"].update({"v->s:slow:p": [[9, 3.0]]}), "owed.v->s:slow:p: no order 9 on this arc"),
        (
            lambda events: events["owed"].update({"v->s:slow:p": [[6, 2.0]]}),
            "backorders.v->s:slow:p: 3 differs from 2 ",
        ),
        (lambda events: events["shipments"][3].update(stage="berth"), "2 are at a berth of 's', which has 1"),
        (lambda events: events["shipments"][3].update(stage="inside"), "3.stage: .* 'inside' now .*berth, gate, queue"),
        (lambda events: events.update(detail="period"), "0.arrival: 4.5 is not a whole period"),
        (lambda events: events["perished"].update({"s/p": 1.0}), "s/p"),
        (lambda events: events["shipments"][0].update(stage="lost"), "stage"),
        (lambda events: events["shipments"].pop(), "pipeline.v->s:fast:p.0: 2 differs from 1 "),
        (lambda events: events["owed"].clear(), "backorders"),
        (lambda events: events.update(detail="fine"), "detail"),
        (lambda events: events.update(berths=2), "berths"),
        (lambda events: events["perished"].update({"s/q": 1.0}), "s/q"),
        (lambda events: events["shipments"][0].update(arrival=float("nan")), "arrival"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(change, message):
    simulation = running()
    snapshot = simulation.snapshot()
    change(snapshot["events"])
    with pytest.raises(StaleStateError, match=message):
        Simulation.restore(simulation.compiled, snapshot)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrival": 0.0}, "events.shipments.0.arrival: 0 is not after the present 1"),
        ({"arrival": 2.0}, "pipeline.v->s:m:p.0: 0 differs from 5"),
        ({"arrival": 2.5}, "events.shipments.0.arrival: 2.5 is not a whole period up to 4"),
        ({"arrival": 9.0}, "events.shipments.0.arrival: 9 is not a whole period up to 4"),
        ({"stage": "queue"}, "events.shipments.0.stage: .* 'queue'"),
        ({"sent": 1}, "events.shipments.0.sent: 1 is not before the present period 1"),
    ],
)
def test_a_shipment_that_is_not_where_the_pipeline_has_it_is_refused(change, message):
    simulation = Simulation(network({"m": {"lead_time": 3}}))
    simulation.step([5.0])
    snapshot = simulation.snapshot()
    assert snapshot["pipeline"] == {"v->s:m:p": {"1": 5.0}}
    snapshot["events"]["shipments"][0].update(change)
    with pytest.raises(StaleStateError, match=message):
        Simulation.restore(simulation.compiled, snapshot)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lots": [[1, 2.0]]}, "transit_layers.w->s:a:p.1:life=1: 0 differs from 2 "),
        ({"lots": [[2, 1.0], [3, 1.0]]}, "transit_layers.w->s:a:p.1:life=2: 2 differs from 1"),
        ({"lots": [[2, 1.0]]}, "events.shipments.0.units: 2 differs from 1 in its lots"),
        ({"lots": [[0, 2.0]]}, r"events.shipments.0.lots: .*life of 0 .*allowed: 1 to 5"),
        ({"lots": [[6, 2.0]]}, r"events.shipments.0.lots: .*life of 6 .*allowed: 1 to 5"),
        ({"lines": [[0, 1.0]]}, "events.shipments.0.units: 2 differs from 1 in its lines"),
    ],
)
def test_a_perishable_shipment_is_compared_life_by_life(change, message):
    data = {
        "products": {"p": {"shelf_life": 5}},
        "sites": {"w": {"stock": {"p": {"initial": 10}}}, "s": {"stock": {"p": {}}}},
        "lanes": [
            {"from": "w", "to": "s", "product": "p", "modes": {"a": {"lead_time": 3}}},
            {"from": "v", "to": "w", "product": "p", "modes": {"m": {"lead_time": 1}}},
        ],
    }
    simulation = Simulation(network(**data))
    simulation.step([2.0, 0.0])
    snapshot = simulation.snapshot()
    assert snapshot["events"]["shipments"][0]["lots"] == [[2, 2.0]]
    snapshot["events"]["shipments"][0].update(change)
    with pytest.raises(StaleStateError, match=message):
        Simulation.restore(simulation.compiled, snapshot)


def test_a_shipment_that_is_inside_before_receipts_goes_on():
    """Where orders come before receipts what is due now is inside at the decision, and is not refused."""
    simulation = Simulation(network({"m": {"lead_time": 1}}, phases=["order", "receive", "demand"]))
    simulation.step([5.0])
    snapshot = simulation.snapshot()
    assert snapshot["events"]["shipments"][0]["stage"] == "inside"
    again = Simulation.restore(simulation.compiled, json.loads(json.dumps(snapshot)))
    again.step([0.0])
    assert on_hand(again) == 5.0


@pytest.mark.parametrize("detail", ["continous", "Period", "", None, 1])
def test_a_detail_that_does_not_exist_is_refused_wherever_it_is_given(detail):
    simulation = Simulation(network())
    compiled, state = simulation.compiled, simulation.state()
    makers = [
        lambda: Simulation(compiled, detail=detail),
        lambda: Simulation.from_state(state, detail=detail),
        lambda: Simulation.restore(compiled, state.snapshot(), detail=detail),
        lambda: Simulation.restore(compiled, simulation.snapshot(), detail=detail),
    ]
    for make in makers:
        with pytest.raises(ActionError, match=r"no detail called .*\(allowed: period, continuous\)"):
            make()
    with pytest.raises(ActionError, match="did you mean 'continuous'"):
        Simulation(compiled, detail="continous")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replica": -1}, "replica must be a whole number from 0 to 4294967295, received -1"),
        ({"replica": 1 << 32}, "replica must be .*, received 4294967296"),
        ({"replica": 0.5}, "replica must be .*, received 0.5"),
        ({"seed": -1}, "seed must be a whole number from 0 to 18446744073709551615, received -1"),
        ({"seed": 1 << 64}, "seed must be"),
        ({"seed": 1.5}, "seed must be"),
        ({"seed": True}, "seed must be"),
        ({"seed": "7"}, "seed must be .*, received '7'"),
    ],
)
def test_a_path_that_does_not_exist_is_refused(changes, message):
    with pytest.raises(ActionError, match=message):
        Simulation(network(), **changes)


def test_paths_at_the_ends_of_their_ranges_run():
    simulation = Simulation(network(), seed=(1 << 64) - 1, replica=(1 << 32) - 1)
    assert simulation.snapshot()["clock"] == {
        "seed": (1 << 64) - 1,
        "replica": (1 << 32) - 1,
        "episode": 0,
        "period": 0,
    }
    assert Simulation(network(), seed=np.uint64(3), replica=np.int64(2)).period == 0


@pytest.mark.parametrize("replica", [-1, 2, 0.5])
def test_a_replica_that_a_state_does_not_have_is_refused(replica):
    twin = Twin(network(), replicas=2)
    with pytest.raises(ActionError, match="replica must be a whole number from 0 to 1"):
        Simulation.from_state(twin.state, replica)


def test_step_says_that_nan_is_refused():
    assert "NaN is refused" in (Simulation.step.__doc__ or "")


def test_a_snapshot_belongs_to_its_network():
    simulation = running()
    with pytest.raises(StaleStateError, match="another content"):
        Simulation.restore(compile_network(network()), simulation.snapshot())


def test_what_another_engine_owes_is_shipped_though_its_orders_are_not_known():
    twin = Twin(network({"m": {"lead_time": 1, "capacity": 4, "unfilled": "backordered"}}))
    twin.step([[9.0]])
    simulation = Simulation.from_state(twin.state)
    simulation.step([1.0])
    simulation.step([0.0])
    shipped = [(event.quantity, event.order) for event in simulation.log.select("shipped")]
    assert shipped == [(4.0, None), (1.0, None), (1.0, 1)]
    assert [event.order for event in simulation.log.select("received")] == [None, None, 1]


def test_a_snapshot_of_a_simulation_is_one_of_a_state():
    simulation = running()
    state = TwinState.restore(simulation.compiled, simulation.snapshot())
    assert state.content_hash() == simulation.state().content_hash()


# -- continuous detail: times by hand -------------------------------------------------------------------------------


@pytest.mark.parametrize("phases", [["receive", "order", "demand"], ["order", "receive", "demand"]])
def test_a_shipment_of_one_and_a_half_periods_is_there_at_the_second_decision_and_not_before(phases):
    simulation = Simulation(
        network({"m": {"lead_time": 36, "lead_time_unit": "hour"}}, phases=phases), detail="continuous"
    )
    simulation.step([8.0])
    seen = []
    for _ in range(3):
        seen.append(on_hand(simulation))
        simulation.step([0.0])
    # Receipts come before the decision of a period, or right after it.
    assert seen == ([0.0, 8.0, 8.0] if phases[0] == "receive" else [0.0, 0.0, 8.0])
    assert story(simulation, "received") == [(2.0, "received", 8.0)]
    assert simulation.transit_times() == {"v->s:m:p": 1.5}


@pytest.mark.parametrize(
    ("site", "received"),
    [
        ({}, 0.0),
        ({"working_hours": {"cycle": 1, "open": [[0, 0.5]]}}, 0.0),
        ({"working_hours": {"cycle": 1, "open": [[0.5, 1]]}}, 1.0),
        ({"docks": {"berths": 1, "handling_time": 0.25}}, 1.0),
    ],
)
def test_without_a_lead_time_goods_are_there_at_once_unless_they_wait_or_unload(site, received):
    simulation = Simulation(network({"m": {"lead_time": 0}}, site=site), detail="continuous")
    simulation.step([5.0])
    assert story(simulation, "received") == [(received, "received", 5.0)]
    assert on_hand(simulation) == 5.0


def test_a_shipment_that_does_not_overtake_waits_behind_the_one_before():
    recorded = {"distribution": "recorded", "values": [2.75, 0.5]}
    for crossing, received in ((True, [2.0, 3.0]), (False, [3.0, 3.0])):
        simulation = Simulation(network({"m": {"lead_time": recorded, "crossing": crossing}}), detail="continuous")
        for quantity in (1.0, 2.0, 0.0, 0.0):
            simulation.step([quantity])
        assert [event.time for event in simulation.log.select("received")] == received


def test_a_gate_that_is_closed_at_the_weekend_holds_shipments_until_monday():
    """A period is a day, day 0 a Monday; what leaves on Friday, day 4, is there on Saturday and enters on Monday."""
    simulation = Simulation(network({"m": {"lead_time": 1.25}}, site={"working_hours": DAILY}), detail="continuous")
    for day in range(10):
        simulation.step([float(day + 1)])
    gate = [(event.time, event.quantity) for event in simulation.log.select("gate_closed")]
    assert gate == [(5.25, 5.0), (6.25, 6.0)]
    received = [(event.time, event.quantity) for event in simulation.log.select("received")]
    due = [2.0, 3.0, 4.0, 5.0, 7.0, 7.0, 8.0, 9.0, 10.0]
    assert received == [(time, float(n + 1)) for n, time in enumerate(due)]


def test_production_progresses_in_working_hours_only():
    """Two days of work begun on Friday (day 4): one on Friday, the weekend, one on Monday; done on Tuesday morning."""
    recipe = {"site": "s", "product": "q", "inputs": {"p": 1}, "lead_time": 2}
    made = network(
        products={"p": {}, "q": {}},
        sites={"s": {"stock": {"p": {"initial": 50}, "q": {}}, "working_hours": DAILY}},
        recipes={"make": recipe},
    )
    simulation = Simulation(made, detail="continuous")
    for day in range(9):
        simulation.step([0.0, 1.0 if day in (0, 4, 5) else 0.0])
    received = [event.time for event in simulation.log.select("received", lane="s:make:make")]
    assert received == [2.0, 8.0, 9.0]


def test_shipments_queue_for_a_berth_and_unload_one_after_another():
    """Three arrive at 1.0, 1.0 and 1.25; one berth, 0.75 periods each: done at 1.75, 2.5 and 3.25."""
    modes = {"a": {"lead_time": 1}, "b": {"lead_time": 1}, "c": {"lead_time": 1.25}}
    site = {"docks": {"berths": 1, "handling_time": 18, "handling_time_unit": "hour"}}
    simulation = Simulation(network(modes, site=site), detail="continuous")
    simulation.step([1.0, 2.0, 4.0])
    for _ in range(4):
        simulation.step([0.0, 0.0, 0.0])
    assert story(simulation, "queued", "berthed", "unloaded", "received") == [
        (1.0, "queued", 1.0),
        (1.0, "queued", 2.0),
        (1.0, "berthed", 1.0),
        (1.25, "queued", 4.0),
        (1.75, "unloaded", 1.0),
        (1.75, "berthed", 2.0),
        (2.0, "received", 1.0),
        (2.5, "unloaded", 2.0),
        (2.5, "berthed", 4.0),
        (3.0, "received", 2.0),
        (3.25, "unloaded", 4.0),
        (4.0, "received", 4.0),
    ]
    measures = simulation.docks()["s"]
    assert measures.shipments == 3
    assert measures.mean_wait == pytest.approx((0.0 + 0.75 + 1.25) / 3)
    assert measures.utilisation == pytest.approx(3 * 0.75 / 5)
    assert [event.kind for event in simulation.log.follow(2)] == [
        "placed",
        "reached",
        "shipped",
        "queued",
        "berthed",
        "unloaded",
        "received",
    ]


def test_a_second_berth_halves_the_use_and_work_at_a_berth_pauses_at_night():
    """Open the first half of every day: work begun at 1.0 for 0.75 days pauses from 1.5 to 2.0 and ends at 2.25."""
    hours = {"cycle": 1, "open": [[0, 0.5]]}
    site = {"docks": {"berths": 2, "handling_time": 0.75}, "working_hours": hours}
    simulation = Simulation(network({"a": {"lead_time": 1}, "b": {"lead_time": 1.75}}, site=site), detail="continuous")
    simulation.step([1.0, 2.0])
    for _ in range(3):
        simulation.step([0.0, 0.0])
    # The second arrives at 1.75, when the gate is closed until 2.0; it works 2.0 to 2.5 and 3.0 to 3.25.
    assert story(simulation, "gate_closed", "unloaded") == [
        (1.75, "gate_closed", 2.0),
        (2.25, "unloaded", 1.0),
        (3.25, "unloaded", 2.0),
    ]
    assert simulation.docks()["s"].utilisation == pytest.approx((1.25 + 1.25) / (2 * 4))
    assert simulation.docks()["s"].mean_wait == 0.0


def test_goods_that_perish_at_the_dock_are_wasted_and_charged():
    """Two shipments with 2 periods of life on arrival: the first waits one period for its berth, the second two."""
    data = {
        "products": {"p": {"shelf_life": 3}},
        "sites": {
            "w": {"stock": {"p": {"initial": 10}}},
            "s": {"stock": {"p": {"waste_cost": 5.0}}, "docks": {"berths": 1, "handling_time": 1}},
        },
        "lanes": [
            {"from": "w", "to": "s", "product": "p", "modes": {"a": {"lead_time": 1}, "b": {"lead_time": 1}}},
            {"from": "v", "to": "w", "product": "p", "modes": {"m": {"lead_time": 1}}},
        ],
    }
    simulation = Simulation(network(**data), detail="continuous")
    waste = [term.name for term in COST_TERMS].index("waste")
    costs = []
    for day in range(4):
        again = Simulation.restore(simulation.compiled, json.loads(json.dumps(simulation.snapshot())))
        orders = [2.0, 3.0, 0.0] if day == 0 else [0.0] * 3
        costs.append(simulation.step(orders))
        np.testing.assert_array_equal(again.step(orders), costs[-1])
        if day in (0, 1):  # what waits at the dock is shown with the life that it has at the next receipt
            assert simulation.snapshot()["transit_layers"]["w->s:b:p"] == {"0:life=1": 3.0}
    # Received at 2 with one period of life and spoilt at its end; at 3 the other has none left.
    assert story(simulation, "received", site="s") == [(2.0, "received", 2.0)]
    assert story(simulation, "perished", site="s") == [(2.0, "perished", 2.0), (3.0, "perished", 3.0)]
    assert [period[waste] for period in costs] == [0.0, 0.0, 10.0, 15.0]


def test_times_are_those_of_the_law_and_whole_periods_stay_whole():
    law = {"distribution": "gamma", "mean": 30.0, "sd": 20.0}
    entry = network({"m": {"lead_time": law, "lead_time_unit": "hour"}})
    times, exact = transit_times(entry)[0], entry.lanes[0].modes["m"].lead_time
    for u in (1e-6, 0.1, 0.5, 0.9, 0.999999):
        assert times(u, 0) == pytest.approx(float(exact.quantile(np.array([u]))[0]) / 24, abs=2**-20)
    recorded = {"distribution": "recorded", "values": [72, 30, 48]}
    times = transit_times(network({"m": {"lead_time": recorded, "lead_time_unit": "hour"}}))[0]
    assert [times(0.5, period) for period in range(4)] == [3.0, 1.25, 2.0, 3.0]
    assert not transit_times(network({"m": {"lead_time": 48, "lead_time_unit": "hour"}}))


def test_initial_flows_unload_in_times_of_their_own():
    handling = {"distribution": "gamma", "mean": 0.2, "sd": 0.1}
    modes = {"m": {"lead_time": 4, "initial_flow": 2.0}, "n": {"lead_time": 4, "initial_flow": 3.0}}
    logs = []
    for seed in (5, 5, 6):
        simulation = Simulation(
            network(modes, site={"docks": {"berths": 2, "handling_time": handling}}), seed=seed, detail="continuous"
        )
        for _ in range(4):
            simulation.step([1.0, 1.0])
        logs.append([event.time % 1.0 for event in simulation.log.select("unloaded")])
    assert logs[0] == logs[1] != logs[2]
    assert len(set(logs[0])) == len(logs[0]) == 8


def test_promised_and_late_times_are_mixed_in_one_place():
    """Promised 1 or 3 with equal chance; with 1/4 late by 0, 2 or 4, of 1/2, 1/4 and 1/4."""
    promised, late = np.array([0.0, 0.5, 0.5, 1.0]), np.array([0.5, 0.5, 0.75, 0.75, 1.0])
    kept, summed = np.array([0, 16, 0, 16, 0, 0, 0, 0]) / 32, np.array([0, 8, 0, 12, 0, 8, 0, 4]) / 32
    expected = np.cumsum(0.75 * kept + 0.25 * summed)
    np.testing.assert_allclose(late_table(promised, late, 0.25), expected, rtol=1e-15)
    short = late_table(promised, late, 0.25, tail=0.05)  # the last entry, 1/32, goes to the one before
    np.testing.assert_allclose(short, [*expected[:5], 1.0], rtol=1e-15)
    np.testing.assert_array_equal(late_table(promised, late, 0.0)[: len(promised)], promised)


def test_both_engines_take_late_times_from_that_place():
    law, late = {"distribution": "poisson", "mean": 2.5}, {"distribution": "uniform", "low": 1, "high": 3}
    suppliers = {"v": {"offers": {"p": {}}, "delay": {"probability": 0.25, "time": late}}}
    entry = network({"m": {"lead_time": law}}, suppliers=suppliers)
    promised, added = entry.lanes[0].modes["m"].lead_time, entry.suppliers["v"].delay.time
    whole = late_table(period_table(promised), period_table(added), 0.25, tail=1e-4)
    np.testing.assert_array_equal(compile_network(entry).lead_tables[0], whole)
    steps = [period_table(of, 1 / 256, tail=1e-6) for of in (promised, added)]
    fine, times = late_table(*steps, 0.25), transit_times(entry)[0]
    for u in (0.01, 0.3, 0.77, 0.999):
        assert times(u, 0) == np.searchsorted(fine, u) / 256


def test_a_late_supplier_adds_a_continuous_time():
    """A mixture of the promised time and the sum of both, by its quantiles: mean and variance agree."""
    promised, late = {"distribution": "gamma", "mean": 2.0, "sd": 0.7}, {"distribution": "uniform", "low": 1, "high": 3}
    suppliers = {"v": {"offers": {"p": {}}, "delay": {"probability": 0.25, "time": late}}}
    law = transit_times(network({"m": {"lead_time": promised}}, suppliers=suppliers))[0]
    u = (np.arange(20000) + 0.5) / 20000
    times = np.array([law(float(x), 0) for x in u])
    assert (np.diff(times) >= 0.0).all()
    assert times.mean() == pytest.approx(2.0 + 0.25 * 2.0, abs=0.01)
    expected = 0.7**2 + 0.25 * (4.0 / 12 + 4.0) - 0.5**2
    assert times.var() == pytest.approx(expected, rel=0.01)


# -- continuous detail: queueing formulas ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handling", "variability"),
    [(0.02, 0.0), ({"distribution": "gamma", "mean": 0.02, "sd": 0.02}, 1.0)],
    ids=["M/D/1", "M/M/1"],
)
def test_waiting_at_a_berth_is_that_of_the_queueing_formula(handling, variability):
    """Many lanes with widely spread times give Poisson arrivals; Pollaczek-Khinchine: rho (1 + c2) s / 2 (1 - rho)."""
    lanes, service = 35, 0.02
    spread = {"distribution": "uniform", "low": 1.0, "high": 41.0}
    modes = {f"m{k}": {"lead_time": spread} for k in range(lanes)}
    site = {"docks": {"berths": 1, "handling_time": handling}}
    simulation = Simulation(network(modes, site=site), detail="continuous", seed=11)
    for _ in range(45):
        simulation.step(np.ones(lanes))  # until arrivals are as frequent as departures
    batches, before = [], simulation.docks()["s"]
    for _ in range(40):
        for _ in range(30):
            simulation.step(np.ones(lanes))
        now = simulation.docks()["s"]
        waited = now.mean_wait * now.shipments - before.mean_wait * before.shipments
        batches.append(waited / (now.shipments - before.shipments))
        before = now
    load = lanes * service
    expected = load * service * (1.0 + variability) / (2.0 * (1.0 - load))
    error = np.std(batches, ddof=1) / np.sqrt(len(batches))
    assert abs(np.mean(batches) - expected) < 3.0 * error
    assert error < 0.1 * expected
    assert simulation.docks()["s"].utilisation == pytest.approx(load * 1200 / 1245, rel=0.05)
