"""The status rule and the choice among sources, period by period on known outages and in cases that are easy to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.baselines.reading import TwinReading
from agents.baselines.simulation import acting_task
from agents.registry import BASELINES, baseline, baseline_fits, load_class
from envs.inventory import InventoryTask
from envs.inventory_features import GROUPS
from envs.sourcing import Sources, Supply
from envs.switching import SwitchingTask
from tests.agents.switching_networks import CONTRACTS, three_sources, two_stages
from twin import library
from twin.compile import CompiledNetwork, compile_network
from twin.contracts import MOVES, STAGES
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import Network

FloatArray = NDArray[np.float64]
#: Down in the periods 6 to 10, at half capacity in period 11, well again from period 12 on.
WINDOW = {"windows": [{"start": 6, "duration": 5}], "ramp": 2}
READY = {name: {"state": "qualified", "capacity": 30} for name in ("near", "far")}


def status(compiled: CompiledNetwork, **values: float) -> Any:
    """The policy with the named values, and else its own."""
    task = acting_task(compiled, "status_switching")
    kind = load_class(baseline("status_switching").path)
    names, start = kind.space(task).names, kind.space(task).start
    given = {"level[shop/item]" if name == "level" else name: value for name, value in values.items()}
    if "wait" in given:
        wait = given.pop("wait")
        given |= {name: wait for name in names if name.startswith("wait[")}
    assert set(given) <= set(names)
    return kind(task, [given.get(name, usual) for name, usual in zip(names, start, strict=True)])


def played(policy: Any, periods: int) -> tuple[list[list[str]], FloatArray]:
    """Stages of the contracts at every decision, after its moves, and the orders (T, A)."""
    twin = Twin(policy.compiled)
    stages, orders = [], []
    for _ in range(periods):
        placed, moves, _ = policy.decide(policy.parameters, TwinReading(twin))
        after, _ = policy.sources.after(policy.supply(TwinReading(twin)), moves)
        stages.append([STAGES[int(stage)] for stage in after[:, 0]])
        orders.append(placed[:, 0])
        twin.step(placed, None, moves)
    return stages, np.array(orders)


@pytest.mark.parametrize(("patience", "recovery"), [(0, 0), (1, 1), (3, 0), (0, 4), (7, 2), (9, 0)])
def test_backups_are_active_from_patience_to_recovery(patience: int, recovery: int) -> None:
    """Out since period 6, in full since period 12: active in 6 + patience to 11 + recovery, or never."""
    policy = status(three_sources(WINDOW, READY), patience=patience, wait=patience, recovery=recovery)
    stages, _ = played(policy, 24)
    active = [t for t, (near, far) in enumerate(stages) if near == far == "active"]
    expected = range(6 + patience, 12 + recovery) if patience <= 5 else []
    assert active == list(expected)
    assert all(set(now) <= {"qualified", "active"} and len(set(now)) == 1 for now in stages)


def test_short_outages_do_not_pay_for_switches() -> None:
    """With patience for 5 periods and outages of 1 to 3, no move is ever made and no contract is ever charged."""
    law = {"distribution": "uniform_integer", "low": 1, "high": 3}
    policy = status(three_sources({"failure": 0.2, "duration": law}, READY), patience=5, wait=5, recovery=1)
    twin = Twin(policy.compiled, replicas=50, seed=3)
    down = 0
    for _ in range(60):
        orders, moves, _ = policy.decide(policy.parameters, TwinReading(twin))
        assert not moves.any()
        down += int((twin.state.arrays.availability[0] == 0.0).sum())
        twin.step(orders, None, moves)
    assert down > 300


@pytest.mark.parametrize(
    ("far", "near", "usual", "out"),
    [
        (0, 0, [], ["far", "near"]),
        (2, 3, [], ["far"]),
        (27, 0, [], ["near"]),  # the dearer one alone
        (27, 27, [], []),
        (-1, 2, ["far"], ["far", "near"]),
        (-1, 27, ["far"], ["far"]),
        (-1, -1, ["far", "near"], ["far", "near"]),
    ],
)
def test_each_backup_waits_for_itself(far: int, near: int, usual: list[str], out: list[str]) -> None:
    """Out since period 6: in period 8 those are active that wait for at most 2 periods."""
    waits = {"wait[far]": far, "wait[near]": near}
    policy = status(three_sources(WINDOW, READY), patience=0, recovery=0, **waits)
    stages, _ = played(policy, 16)
    names = policy.compiled.relations.contracts
    found = [sorted(name for name, stage in zip(names, now, strict=True) if stage == "active") for now in stages]
    assert found[2] == usual
    assert found[8] == out
    assert found[14] == usual


def test_a_backup_that_must_be_qualified_is_late() -> None:
    """Three periods of qualification from the outage on, then active until the main one is back; then it is kept."""
    policy = status(three_sources(WINDOW, CONTRACTS), patience=0, wait=0, recovery=0)
    stages, _ = played(policy, 14)
    far = [now[policy.compiled.relations.contracts.index("far")] for now in stages]
    assert far == ["outside"] * 6 + ["qualifying"] * 3 + ["active"] * 3 + ["qualified"] * 2


def test_orders_go_to_the_cheapest_that_can_deliver() -> None:
    """10 a unit while it works, up to its capacity of 40; then 13 a unit up to 30, then 16 a unit up to 30."""
    policy = status(three_sources(WINDOW, READY, initial=0), level=95.0, patience=0, recovery=0, surge=1.0, wait=-1)
    _, orders = played(policy, 13)
    main, near, far = (policy.compiled.arc_names.index(name) for name in _ARCS)
    np.testing.assert_allclose(orders[0, [main, far, near]], [40.0, 30.0, 25.0])
    assert orders[1, main] == pytest.approx(min(40.0, orders[1].sum()))
    assert not orders[6:11, main].any()
    assert orders[11, main] == pytest.approx(min(20.0, orders[11].sum()))  # half of it works
    assert (orders[7:11, far] > 0.0).all()


_ARCS = ("main->shop:sea:item", "near->shop:van:item", "far->shop:rail:item")


@pytest.mark.parametrize("surge", [0.5, 1.0, 1.5])
def test_levels_are_multiplied_while_an_outage_counts(surge: float) -> None:
    policy = status(three_sources(WINDOW, READY), level=60.0, surge=surge, patience=2, recovery=0)
    twin = Twin(policy.compiled)
    raised = []
    for _ in range(14):
        supply = policy.supply(TwinReading(twin))
        raised.append(float(policy.rule.levels(policy.parameters, supply)[0, 0]))
        orders, moves, _ = policy.decide(policy.parameters, TwinReading(twin))
        twin.step(orders, None, moves)
    # Out for 2 periods from period 8 on; in full again from period 12 on.
    assert raised == [60.0] * 8 + [60.0 * surge] * 4 + [60.0] * 2


# -- choosing among sources -------------------------------------------------------------------------------------------


def supply_of(twin: Twin) -> Supply:
    return Supply.of(twin, twin.positions())


def test_a_source_without_a_limit_takes_all_that_is_needed() -> None:
    """The cheapest has no capacity at all: it gets the whole need, and the next one nothing."""
    data = library.load("dual_sourcing").to_dict()
    compiled = compile_network(Network.parse(data))
    sources, twin = Sources(compiled), Twin(compiled, replicas=2)
    supply = supply_of(twin)
    levels = np.array([[9.0, 0.0]])
    limits = sources.limits(supply, np.zeros((0, 2), dtype=np.int64))
    assert np.isinf(limits).all()
    orders = sources.in_turn(levels, supply, limits, sources.costs(supply))
    cheap = int(np.argmin(sources.landed))
    np.testing.assert_array_equal(orders[cheap], [9.0, 0.0])
    np.testing.assert_array_equal(orders.sum(axis=0), [9.0, 0.0])
    shared = sources.mixed(levels, supply, limits, np.array([[1.0, 1.0], [3.0, 3.0]]))
    np.testing.assert_allclose(shared[:, 0], [2.25, 6.75])


def test_a_share_of_a_resource_does_not_shrink_an_arc_that_is_smaller() -> None:
    """Road carries 9 a period; of 80 on the quay 24 are left, and of the mill's 60 all: 9 can still be ordered."""
    compiled = two_stages()
    sources, twin = Sources(compiled), Twin(compiled)
    arrays, names = twin.state.arrays, compiled.resource_names
    arrays.availability[names.index("quay"), 0] = 0.3
    road, rail = (compiled.arc_names.index(f"mill->depot:{mode}:item") for mode in ("road", "rail"))
    limits = sources.limits(supply_of(twin), np.zeros((2, 1), dtype=np.int64))
    assert limits[road, 0] == 9.0
    assert limits[rail, 0] == 60.0  # what is too much waits
    arrays.availability[names.index("quay"), 0] = 0.1
    assert sources.limits(supply_of(twin), np.zeros((2, 1), dtype=np.int64))[road, 0] == pytest.approx(8.0)
    arrays.availability[names.index("mill"), 0] = 0.0
    limits = sources.limits(supply_of(twin), np.zeros((2, 1), dtype=np.int64))
    assert (limits[road, 0], limits[rail, 0]) == (0.0, 60.0)


def test_an_outage_has_lasted_as_long_as_the_longest_of_its_reasons() -> None:
    """The mill has been out for 5 periods; that the quay went out a period ago does not make it a new outage."""
    compiled = two_stages()
    sources, twin = Sources(compiled), Twin(compiled)
    arrays, names = twin.state.arrays, compiled.resource_names
    rail = compiled.arc_names.index("mill->depot:rail:item")
    mill, quay = names.index("mill"), names.index("quay")
    arrays.since[[mill, quay], 0] = 9.0, 4.0
    assert sources.since(supply_of(twin))[rail, 0] == 4.0  # both work: since the quay does
    arrays.availability[mill, 0], arrays.since[mill, 0] = 0.0, 5.0
    arrays.availability[quay, 0], arrays.since[quay, 0] = 0.3, 1.0
    assert sources.since(supply_of(twin))[rail, 0] == 5.0
    arrays.availability[quay, 0] = 1.0
    assert sources.since(supply_of(twin))[rail, 0] == 5.0


def test_landed_cost_is_what_the_network_charges() -> None:
    """Per unit: price, freight, the fee for two units of the quay, emissions, three weeks on the way, the input."""
    network = Network.parse(
        {
            "name": "costs",
            "emission_price_per_kg": 0.5,
            "products": {"item": {}},
            "resources": {"quay": {"capacity": 90, "cost_per_unit": 0.25}},
            "suppliers": {"mill": {"offers": {"item": {"price": 5}}}},
            "sites": {name: {"stock": {"item": {}}} for name in ("depot", "shop")},
            "lanes": [
                {
                    "from": "mill",
                    "to": "depot",
                    "product": "item",
                    "modes": {
                        "sea": {
                            "lead_time": 3,
                            "freight_cost": 1,
                            "transit_holding_cost": 0.1,
                            "emissions_kg_per_unit": 0.2,
                            "uses": {"quay": 2},
                        }
                    },
                },
                {"from": "depot", "to": "shop", "product": "item", "modes": {"van": {"lead_time": 1}}},
            ],
            "demands": {"market": {"site": "shop", "product": "item", "distribution": 5}},
        }
    )
    compiled = compile_network(network)
    sea, van = Sources(compiled).landed
    assert sea == pytest.approx(5 + 1 + 2 * 0.25 + 0.5 * 0.2 + 3 * 0.1)
    assert van == pytest.approx(compiled.unit_value[compiled.stock_names.index("depot/item")]) == pytest.approx(6.0)


@pytest.mark.parametrize("move", MOVES[:4])
@pytest.mark.parametrize("stage", STAGES)
def test_contracts_after_moves_are_the_twins(stage: str, move: str) -> None:
    """Stage, clock and open capacity that a rule counts on are those with which the twin runs the period."""
    compiled = three_sources(WINDOW, CONTRACTS)
    sources, twin = Sources(compiled), Twin(compiled)
    twin.state.arrays.stage[:] = STAGES.index(stage)
    twin.state.arrays.clock[:] = {"qualifying": 2.0, "active": 1.0}.get(stage, 0.0)
    moves = np.full((2, 1), MOVES.index(move))
    supply = supply_of(twin)
    after, clock = sources.after(Supply(*(part.copy() for part in supply)), moves)
    room = sources.limits(supply, moves)
    twin.step(np.full((3, 1), 1000.0), None, moves)
    shipped = twin.state.arrays.shipped[:, 0]
    np.testing.assert_allclose(shipped[1:], room[1:, 0])
    assert shipped[1:].any() == bool((after == STAGES.index("active")).any())
    arrays = twin.state.arrays
    counted = np.where(after == STAGES.index("qualifying"), clock - 1.0, np.where(after == 3.0, clock + 1.0, clock))
    np.testing.assert_array_equal(arrays.clock, np.where(arrays.stage == 2.0, 0.0, counted))
    np.testing.assert_array_equal(arrays.stage, np.where((after == 1.0) & (counted == 0.0), 2.0, after))


# -- what fits --------------------------------------------------------------------------------------------------------


def test_reasons_are_plain() -> None:
    """Every rule says in words why it cannot act: one source, nothing that fails, no moves in the task."""
    one = compile_network(library.load("serial_chain"))
    never = compile_network(library.load("dual_sourcing"))
    kinds = {name: load_class(BASELINES[name].path) for name in ("status_switching", "risk_switching", "mitigation")}
    assert all(kind.unfit(one) == "no stock point has more than one source" for kind in kinds.values())
    assert kinds["risk_switching"].unfit(never) == "nothing ever fails"
    assert kinds["mitigation"].unfit(never) is None

    contracts = three_sources(WINDOW, CONTRACTS)
    plain = InventoryTask(contracts, observe=GROUPS)
    assert kinds["mitigation"].fits(plain) == (
        "its moves on contracts are no action of this task (allowed: one of supplier switching)"
    )
    with pytest.raises(ActionError, match="'mitigation' does not fit: its moves on contracts"):
        kinds["mitigation"](plain)
    mixed = SwitchingTask(contracts, observe=GROUPS)
    assert baseline("base_stock").fits(mixed) == "its orders are no action of the mode 'mix' (allowed: orders)"
    assert baseline_fits(mixed) == ()
    shown = SwitchingTask(contracts, action_mode="orders", observe=[g for g in GROUPS if g != "since"])
    reason = kinds["status_switching"].fits(shown)
    assert reason is not None
    assert "'since[line]'" in reason
    assert kinds["mitigation"].fits(shown) is None
