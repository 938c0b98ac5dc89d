"""Classical rules of supplier switching: as written plainly, on hand-made states, and on exact chains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.baselines.reading import TwinReading
from agents.baselines.risk_switching import RiskSwitching
from agents.baselines.simulation import acting_task
from agents.oracles import dual_sourcing
from agents.oracles import unreliable_suppliers_rules as oracle
from agents.oracles.unreliable_suppliers import SourcingPolicy, evaluate
from agents.registry import baseline, load_class
from envs.core import Batch
from tests.agents import switching_reference as reference
from tests.agents.switching_networks import CONTRACTS, three_sources, two_stages, two_suppliers
from twin.compile import CompiledNetwork
from twin.contracts import MOVES, STAGES
from twin.engine import Twin

FloatArray = NDArray[np.float64]
PLAIN = ("status_switching", "single_index", "tailored_base_surge", "single_source", "cheapest_up", "mitigation")
NETWORKS = {
    "three sources": three_sources(),
    "contracts": three_sources(contracts=CONTRACTS),
    "contract of the main one": three_sources(contracts=CONTRACTS | {"main": {"capacity": 35, "ramp": 3}}),
    "failing": three_sources({"failure": 0.2, "duration": 2, "share_when_down": 0.4}, CONTRACTS),
    "two stages": two_stages(),
    "two suppliers": two_suppliers()[0],
}


def policy_of(name: str, compiled: CompiledNetwork, parameters: Any = None) -> Any:
    return load_class(baseline(name).path)(acting_task(compiled, name), parameters)


def wandered(compiled: CompiledNetwork, periods: int, seed: int) -> Twin:
    """A twin after random orders and moves."""
    twin, draw = Twin(compiled, replicas=6, seed=seed), np.random.default_rng(seed)
    for _ in range(periods):
        orders = draw.uniform(0, 2, (compiled.n_arcs, 6)) * np.maximum(compiled.arc_flow, 5.0)[:, None]
        twin.step(
            orders * draw.integers(0, 2, orders.shape),
            None,
            draw.integers(0, len(MOVES), (len(compiled.relation_names), 6)),
        )
    return twin


@pytest.mark.parametrize("known", NETWORKS)
@pytest.mark.parametrize("name", [*PLAIN, "risk_switching"])
def test_a_rule_is_what_its_text_says(name: str, known: str) -> None:
    """Random parameters in random states: orders and moves are those of the plain version, replica by replica."""
    compiled = NETWORKS[known]
    task, kind = acting_task(compiled, name), load_class(baseline(name).path)
    space, draw = kind.space(task), np.random.default_rng(3)
    policy, ordered, moved = kind(task), 0.0, 0
    for periods in range(0, 40, 2):
        twin = wandered(compiled, periods, periods)
        drawn = draw.uniform(space.low, space.high, (6, len(space)))
        parameters = space.rounded(np.where(draw.random((6, 1)) < 0.3, space.start, drawn))
        reading = TwinReading(twin)
        orders, moves, _ = policy.decide(parameters.T, reading)
        for b in range(6):
            world, given = reference.World.of(twin, b), [parameters[b].tolist()]
            if name == "risk_switching":
                missing = missing_of(policy, reading, parameters[:, len(policy.sequence.groups)])
                given.append(dict(zip(world.places(), missing[:, b].tolist(), strict=True)))
            expected, steps = getattr(reference, name)(world, *given)
            np.testing.assert_allclose(orders[:, b], reference.orders_array(world, expected), rtol=1e-9, atol=1e-8)
            if moves is not None:
                np.testing.assert_array_equal(moves[:, b], reference.moves_array(world, steps))
                moved += int((moves[:, b] > 0).sum())
        ordered += orders.sum()
    assert ordered > 0.0
    assert moved > 0 or not compiled.relation_names


def missing_of(policy: RiskSwitching, reading: TwinReading, horizon: Any) -> FloatArray:
    """What the policy makes of a first sight of a state."""
    (belief,) = policy.begin(reading)
    listed = slice(len(policy.compiled.network.resources))
    since = reading.since[listed]
    belief = policy.risk.posterior.seen(belief, reading.availability[listed], reading.warning[listed], since)
    return policy.risk.missing(policy.supply(reading)._replace(belief=belief), horizon)


# -- risk -------------------------------------------------------------------------------------------------------------


def decisions(policy: Any, twin: Twin, periods: int) -> tuple[list[FloatArray], list[FloatArray]]:
    """What a policy decides period by period: orders and moves, its memory carried on."""
    memory, orders, moves = None, [], []
    for _ in range(periods):
        placed, moved, memory = policy.decide(policy.parameters, TwinReading(twin), memory)
        orders.append(placed)
        moves.append(moved)
        twin.step(placed, None, moved)
    return orders, moves


def parameters_of(policy: str, compiled: CompiledNetwork, **values: float) -> FloatArray:
    """Start values but for the named ones; ``level`` is that of every stock point."""
    space = load_class(baseline(policy).path).space(acting_task(compiled, policy))
    out = space.start.copy()
    for name, value in values.items():
        found = [k for k, known in enumerate(space.names) if known.partition("[")[0] == name]
        assert found, name
        out[found] = value
    return out


def test_missing_supply_of_a_markov_chain_is_known() -> None:
    """In k periods a part (1 - u)(1 - l^k) of the capacity is out if all works now; u up share, l = 1 - both rates."""
    failure, recovery = 0.1, 0.4
    compiled, _ = two_suppliers()
    policy, twin = policy_of("risk_switching", compiled), Twin(compiled, replicas=2)
    twin.state.arrays.availability[0, 1] = 0.0
    twin.state.arrays.since[0, 1] = 7.0
    factor, share_up = 1.0 - failure - recovery, recovery / (failure + recovery)
    for horizon in (1, 4, 26):
        ahead = factor ** np.arange(horizon)
        up = (1.0 - share_up) * (1.0 - ahead)
        down = (1.0 - share_up) + share_up * ahead
        found = missing_of(policy, TwinReading(twin), float(horizon))
        np.testing.assert_allclose(found, [[up.sum(), down.sum()]], rtol=1e-12)


def test_an_outage_that_lasts_is_a_long_one() -> None:
    """Outages take 1 period, or, one in ten, 20: the backup is called when the first period has gone by, not before."""
    law = {"distribution": "empirical", "values": [1, 20], "probabilities": [0.9, 0.1]}
    compiled = three_sources({"failure": 0.05, "duration": law}, CONTRACTS)
    values = parameters_of("risk_switching", compiled, level=90.0, threshold=5.0, prepare=1.0, horizon=20.0)
    policy, twin = policy_of("risk_switching", compiled, values), Twin(compiled, replicas=200, seed=5)
    memory, called, idle = None, 0, 0
    for _ in range(40):
        works, since = (array[0].copy() for array in (twin.state.arrays.availability, twin.state.arrays.since))
        stage = twin.state.arrays.stage[0].copy()
        placed, moved, memory = policy.decide(policy.parameters, TwinReading(twin), memory)
        ready, long_out = stage == STAGES.index("qualified"), (works == 0.0) & (since >= 1.0) & (since <= 10.0)
        called += int((moved[0, ready & long_out] == MOVES.index("activate")).sum())
        assert (moved[0, ready & long_out] == MOVES.index("activate")).all()
        brief = ready & (works == 0.0) & (since == 0.0)
        idle += int(brief.sum())
        assert (moved[0, brief] == MOVES.index("keep")).all()
        assert (moved[0, ready & (works == 1.0)] == MOVES.index("keep")).all()
        twin.step(placed, None, moved)
    assert called > 5
    assert idle > 50


def test_a_warning_counts_by_what_it_is_worth() -> None:
    """One that is raised in vain eight times out of nine weighs failure x recall against all other signs."""
    failure, recall, false_alarm, ahead = 0.02, 0.5, 0.08, 3
    line = {
        "failure": failure,
        "duration": 4,
        "warning": {"ahead": ahead, "recall": recall, "false_alarm": false_alarm},
    }
    compiled = three_sources(line)
    policy, twin = policy_of("risk_switching", compiled), Twin(compiled, replicas=400, seed=2)
    memory = policy.begin(TwinReading(twin))
    known = slice(1)

    def look(memory: Any) -> tuple[Any, FloatArray]:
        reading = TwinReading(twin)
        belief = policy.risk.posterior.seen(
            memory[0], reading.availability[known], reading.warning[known], reading.since[known]
        )
        # A failure that is announced now strikes in 3 periods, and no other can strike before then.
        lost = 1.0 - policy.risk.posterior.expected(belief, ahead, [[0]])[-1, 0]
        return (policy.risk.posterior.after(belief),), lost

    memory, lost = look(memory)
    assert np.unique(lost.round(9)).size == 1  # of the first period the warning says nothing: none can be true
    twin.step(np.zeros((3, 400)))
    memory, lost = look(memory)
    warned = twin.state.arrays.warning[0] == 1.0
    assert 5 < warned.sum() < 100
    told = failure * recall / (failure * recall + (1.0 - failure) * false_alarm)
    untold = failure * (1 - recall) / (failure * (1 - recall) + (1.0 - failure) * (1 - false_alarm))
    np.testing.assert_allclose(lost[warned], told, rtol=1e-12)
    np.testing.assert_allclose(lost[~warned], untold, rtol=1e-12)


def test_beliefs_restart_with_episodes() -> None:
    """Where an episode starts risk switching acts as a fresh policy; the other replicas keep what they believe."""
    task = acting_task(three_sources(), "risk_switching", horizon=60)
    kind = load_class(baseline("risk_switching").path)
    policy = kind(task, parameters_of("risk_switching", task.compiled, cover=1.0, level=100.0))
    batch = Batch(task, 3)
    slots = np.arange(3, dtype=np.uint32)
    observation = batch.reset(np.full(3, 4, dtype=np.uint64), slots, np.zeros_like(slots))
    state = None
    for _ in range(4):  # the shortage is 2 periods away, and was announced
        action, state = policy.predict(observation, state)
        observation = batch.step(action).observation
    kept, _ = policy.predict(observation, state)
    fresh, _ = policy.predict(observation, None)
    mixed, after = policy.predict(observation, state, np.array([True, False, True]))
    np.testing.assert_array_equal(mixed[[0, 2]], fresh[[0, 2]])
    np.testing.assert_array_equal(mixed[1], kept[1])
    assert (kept != fresh).any(axis=1).all()
    assert after is not None
    assert all(part.shape[-1] == 3 for part in after)


# -- exact chains -----------------------------------------------------------------------------------------------------


def regular_only(level: int) -> SourcingPolicy:
    def policy(states: Any, up: Any) -> Any:
        wanted = np.maximum(level - states.sum(axis=1), 0)
        return np.stack([np.where(up[:, 0], wanted, 0), np.zeros_like(wanted)], axis=1)

    return policy


#: Rule and parameters, and the rule of the exact chain that it is.
EXACT: dict[str, tuple[str, dict[str, float] | list[float], SourcingPolicy]] = {
    "tailored base-surge": ("tailored_base_surge", [3, 4], oracle.tailored_base_surge(4, 3)),
    "base-stock": ("base_stock", [9, 4], oracle.dual_index(4, 9)),
    "single index": ("single_index", [9, 4], lambda states, _: dual_sourcing.single_index(4, 5)(states)),
    "cheapest up": ("cheapest_up", [9, 6], oracle.cheapest_up(9, 6)),
    "rerouting": ("mitigation", [0, 1, 0.3, 8], oracle.cheapest_up(8, 8)),
    "status": ("status_switching", {"level": 6, "surge": 1.5, "patience": 0}, oracle.cheapest_up(6, 9)),
    "risk": ("risk_switching", {"level": 8, "cover": 0}, oracle.cheapest_up(8, 8)),
    "from the regular one": ("single_source", [0, 11], regular_only(11)),
    "stock alone": ("mitigation", [0, 0, 0.3, 11], regular_only(11)),
}


#: These two do not look at who is up in the oracle: there the express source never fails.
EXACT_CASES = [
    (case, lead_time, failure)
    for case in EXACT
    for lead_time, failure in ((1, 0.0), (2, 0.0), (2, 0.2))
    if failure == 0.0 or case not in ("base-stock", "single index")
]


@pytest.mark.parametrize(("case", "lead_time", "express_failure"), EXACT_CASES)
def test_a_rule_is_its_oracle(case: str, lead_time: int, express_failure: float) -> None:
    """On every state of 400 periods the orders are the oracle's, and so the long-run cost is its exact cost."""
    name, values, rule = EXACT[case]
    compiled, problem = two_suppliers(lead_time, express_failure)
    parameters = parameters_of(name, compiled, **values) if isinstance(values, dict) else np.array(values, dtype=float)
    policy, twin = policy_of(name, compiled, parameters), Twin(compiled, replicas=400, seed=7)
    memory, cost, first = None, np.zeros(400), int(compiled.topology.pipe_ptr[0])
    slots = int(np.diff(compiled.topology.pipe_ptr)[0])
    for t in range(400):
        arrays, logical = twin.state.arrays, twin.state.logical("pipeline")
        states = np.zeros((400, max(lead_time, 1)), dtype=np.int64)
        states[:, 0] = np.rint(arrays.on_hand[0] - arrays.backlog[0])
        states[:, 1:] = np.rint(logical[first : first + slots - 1].T)
        up = np.ones((400, 2), dtype=np.bool_)
        up[:, : len(compiled.network.resources)] = arrays.availability[: len(compiled.network.resources)].T == 1.0
        orders, _, memory = policy.decide(parameters, TwinReading(twin), memory)
        placed = np.rint(orders.T) * up
        np.testing.assert_array_equal(placed, rule(states, up) * up)
        cost += twin.step(orders).sum(axis=0) * (t >= 100)
    cost /= 300
    exact = evaluate(problem, rule)
    error = cost.std(ddof=1) / np.sqrt(len(cost))
    assert error < 0.01 * exact.cost
    assert abs(cost.mean() - exact.cost) < 4 * error
