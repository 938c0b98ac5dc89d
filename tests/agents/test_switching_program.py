"""The programs among suppliers that fail: expected capacities, contracts by the status rule, nothing else changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.baselines.reading import TwinReading
from agents.baselines.rolling_program import RollingProgram
from agents.baselines.simulation import acting_task
from agents.baselines.status_switching import StatusSwitching
from agents.baselines.stochastic_program import StochasticProgram
from envs.core import Batch
from envs.inventory import InventoryTask
from envs.inventory_features import GROUPS
from tests.agents.switching_networks import CONTRACTS, three_sources, two_stages
from twin import library
from twin.beliefs import OutagePosterior
from twin.compile import CompiledNetwork, compile_network
from twin.engine import Twin
from twin.errors import ActionError


def program(compiled: CompiledNetwork, kind: Any = RollingProgram, **arguments: Any) -> Any:
    return kind(acting_task(compiled, kind.name, horizon=60, finite=True), **arguments)


def left(replicas: int, period: int) -> np.ndarray[Any, Any]:
    return np.full(replicas, 60.0 - period)


def test_where_the_chain_says_all_belief_says_the_same() -> None:
    """A ramp of one period is none, but makes it a network whose outages are believed in: the orders stay the same."""
    line = {"failure": 0.2, "recovery": 0.3}
    plain, believed = (program(three_sources(entry)) for entry in (line, line | {"ramp": 1}))
    assert plain.needs(plain.compiled).groups != believed.needs(believed.compiled).groups
    one, other = (Twin(policy.compiled, replicas=8, seed=2) for policy in (plain, believed))
    memory, down = None, 0
    for t in range(15):
        first, none, _ = plain.decide(plain.parameters, TwinReading(one, left(8, t)))
        second, nothing, memory = believed.decide(believed.parameters, TwinReading(other, left(8, t)), memory)
        assert none is nothing is None
        np.testing.assert_allclose(first, second, atol=2e-5)
        down += int((one.state.arrays.availability[0] == 0.0).sum())
        one.step(first)
        other.step(first)
        np.testing.assert_array_equal(one.state.arrays.availability, other.state.arrays.availability)
    assert down > 5


def test_capacities_ahead_are_those_expected() -> None:
    """The plan's availability is the belief's in every period, for every resource of the file, and 1 for contracts."""
    compiled = two_stages()
    policy, twin = program(compiled), Twin(compiled, replicas=4, seed=9)
    posterior, listed, memory, belief = OutagePosterior(compiled), len(compiled.network.resources), None, None
    for t in range(25):
        reading = TwinReading(twin, left(4, t))
        seen = (reading.availability[:listed], reading.warning[:listed], reading.since[:listed])
        belief = posterior.seen(posterior.begin(seen[2]) if belief is None else posterior.after(belief), *seen)
        works, _ = policy._foreseen(reading, memory)
        expected = posterior.expected(belief, policy.horizon, [[r] for r in range(listed)])
        np.testing.assert_array_equal(works[:, :listed], expected)
        assert (works[:, listed:] == 1.0).all()
        orders, moves, memory = policy.decide(policy.parameters, reading, memory)
        twin.step(orders, None, moves)
    draws = policy.draws(np.full((1, 3), 5.0), twin.state, 0, works[:3, :, 2])
    np.testing.assert_array_equal(draws.availability[:, :, 0], works[:3, :, 2])
    assert np.ptp(works[:, :listed]) > 0.5


def test_stock_is_built_before_a_shortage_that_is_known() -> None:
    """A window from period 6 to 10 that the file tells: what the plan holds at its start covers the periods without."""
    window = {"windows": [{"start": 6, "duration": 5}]}
    held = {}
    for known in (True, False):
        compiled = three_sources(window if known else {"failure": 0.0, "recovery": 1.0, "windows": []} | window)
        policy = program(compiled, horizon=12)
        if not known:
            policy._posterior = None  # by up and down alone
        twin, memory = Twin(compiled, replicas=1), None
        for t in range(6):
            orders, moves, memory = policy.decide(policy.parameters, TwinReading(twin, left(1, t)), memory)
            twin.step(orders, None, moves)
        held[known] = float(twin.positions()[compiled.arc_names.index("far->shop:rail:item"), 0])
    assert held[True] > held[False] + 40.0


@pytest.mark.parametrize("kind", [RollingProgram, StochasticProgram])
def test_contracts_follow_the_status_rule(kind: Any) -> None:
    """Moves are those of the status rule with the same patience; nothing is ordered where no contract is active."""
    compiled = three_sources({"windows": [{"start": 4, "duration": 8}], "failure": 0.05, "recovery": 0.5}, CONTRACTS)
    arguments = {"patience": 2.0, "recovery": 1.0} if kind is RollingProgram else {}
    policy = program(compiled, kind, **arguments)
    rule = StatusSwitching(acting_task(compiled, "status_switching"))
    start = rule.parameters.copy()
    names = StatusSwitching.space(rule.task).names
    start[[name.startswith(("patience", "wait")) for name in names]] = arguments.get("patience", 1.0)
    start[names.index("recovery")] = 1.0
    twin, memory, used, moved = Twin(compiled, replicas=3, seed=6), None, 0.0, 0
    closed = [compiled.arc_names.index(name) for name in ("near->shop:van:item", "far->shop:rail:item")]
    for t in range(16):
        reading = TwinReading(twin, left(3, t))
        orders, moves, memory = policy.decide(policy.parameters, reading, memory)
        np.testing.assert_array_equal(moves, rule.moves(start, rule.supply(reading)))
        after, _ = rule.sources.after(rule.supply(reading), moves)
        assert not orders[closed][after != 3.0].any()
        used += float(orders[closed].sum())
        moved += int((moves > 0).sum())
        twin.step(orders, None, moves)
    assert used > 0.0
    assert moved > 4


@pytest.mark.parametrize("kind", [RollingProgram, StochasticProgram])
@pytest.mark.parametrize("known", ["contracts", "two stages", "prolonged_shortage", "shared_subtier"])
def test_an_observation_says_all_that_the_program_needs(kind: Any, known: str) -> None:
    """Orders, moves and beliefs read off observations are those read off the twin, period by period."""
    networks = {"contracts": lambda: three_sources(contracts=CONTRACTS), "two stages": two_stages}
    compiled = networks[known]() if known in networks else compile_network(library.load(known))
    policy = program(compiled, kind)
    batch, slots = Batch(policy.task, 2), np.arange(2, dtype=np.uint32)
    observation = batch.reset(np.full(2, 3, dtype=np.uint64), slots, np.zeros_like(slots))
    state, memory, ordered = None, None, 0.0
    for t in range(14):
        exact, moves, memory = policy.decide(policy.parameters, TwinReading(batch.twin, left(2, t)), memory)
        action, state = policy.predict(observation, state, np.full(2, t == 0))
        arcs = len(exact)
        np.testing.assert_allclose(action.T[:arcs], exact, rtol=1e-4, atol=1e-2)
        np.testing.assert_array_equal(action.T[arcs:], 0.0 if moves is None else moves)
        observation = batch.step(action).observation
        ordered += float(exact.sum())
    assert ordered > 0.0


def test_what_it_cannot_read_or_do_is_said() -> None:
    """Contracts need a task with moves."""
    compiled = three_sources(contracts=CONTRACTS)
    plain = InventoryTask(compiled, observe=GROUPS, arrivals="slots", forecast=9)
    with pytest.raises(ActionError, match="'rolling_program' does not fit: its moves on contracts are no action"):
        RollingProgram(plain)
