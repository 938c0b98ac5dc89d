"""The beer game's benchmark: costs of 46, 50, 54 and 54, together 204, week by week and in all three engines.

Sterman (1989), Management Science 35(3):321-339; Edali & Yasarcan (2014), JASSS 17(4):2, find the same. The weeks below
were worked out on the board itself, box by box through the five steps of its instructions, apart from this code; their
costs add up to the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from twin import library
from twin.differentiable import DifferentiableTwin
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.simulation import Simulation
from twin.state import TwinState

FloatArray = NDArray[np.float64]
Decide = Callable[[int, TwinState], FloatArray]
#: A state at a week's decision, the cost terms of the week, and the state at the next week's decision.
Week = tuple[TwinState, FloatArray, TwinState]

WEEKS = 36
STAGES = ("retailer", "wholesaler", "distributor", "factory")
COSTS = {"retailer": 46.0, "wholesaler": 50.0, "distributor": 54.0, "factory": 54.0}
DESIRED = {"retailer": 28.0, "wholesaler": 28.0, "distributor": 28.0, "factory": 20.0}

#: Stock minus backlog at the end of weeks 5 to 19, in the order of STAGES; 12 before and 0 afterwards.
NET = [
    *[(8, 12, 12, 12), (4, 12, 12, 12), (0, 4, 8, 8), (-4, 0, 8, 8), (0, 0, 4, 4)],
    *[(0, -4, 0, 8), (0, 0, 0, 0), (-4, 0, -4, 0), (0, 0, 0, -4), (0, -4, 0, 0)],
    *[(0, 0, -4, 0), (-4, 0, 0, 0), (0, -4, 0, 0), (0, 0, 0, 0), (-4, 0, 0, 0)],
]
#: Orders placed in weeks 5 to 11; 4 before and 8 afterwards.
SLIPS = [
    *[(12, 8, 8, 4), (8, 4, 4, 4), (8, 12, 8, 8), (8, 8, 4, 4)],
    *[(8, 8, 12, 8), (8, 8, 8, 4), (8, 8, 8, 12)],
]
EXPECTED_NET = np.array([(12,) * 4] * 4 + NET + [(0,) * 4] * (WEEKS - 19))
EXPECTED_SLIPS = np.array([(4,) * 4] * 4 + SLIPS + [(8,) * 4] * (WEEKS - 11))


def by_kernel(decide: Decide) -> Iterator[Week]:
    twin = Twin(library.load("beer_game"))
    for week in range(WEEKS):
        before = twin.state.fork()
        costs = twin.step(decide(week, before)[:, None])[:, 0].copy()
        yield before, costs, twin.state.fork()


def by_torch(decide: Decide) -> Iterator[Week]:
    start = Twin(library.load("beer_game")).state
    twin = DifferentiableTwin(start.compiled)
    state, draws = twin.from_twin_state(start), twin.draws(start, WEEKS)
    for week, draw in enumerate(zip(*draws, strict=True)):
        before = twin.to_twin_state(state)
        state, costs = twin.step(state, torch.as_tensor(decide(week, before)[:, None]), *draw)
        yield before, costs[:, 0].numpy(), twin.to_twin_state(state)


def by_events(decide: Decide) -> Iterator[Week]:
    simulation = Simulation(library.load("beer_game"))
    for week in range(WEEKS):
        before = simulation.state()
        costs = np.array(simulation.step(decide(week, before)))
        yield before, costs, simulation.state()


def owed(state: TwinState) -> FloatArray:
    """What each stage owes, in the order of the file: upstream first, so that arc a brings to stage a."""
    return np.append(state.arrays.backorders[1:, 0], state.arrays.backlog[0, 0])


def anchor_and_adjust(state: TwinState) -> FloatArray:
    """Expected demand 4 plus the whole gap of stock and supply line: theta = 0, alpha = beta = 1."""
    top, arrays = state.compiled.topology, state.arrays
    mail = np.array([state.logical("mail")[a:b, 0].sum() for a, b in zip(top.mail_ptr, top.mail_ptr[1:], strict=False)])
    supply_line = arrays.in_transit[:, 0] + arrays.backorders[:, 0] + mail
    desired = np.array([DESIRED[site] for site in state.compiled.network.sites])
    return np.maximum(0.0, 4.0 + desired - (arrays.on_hand[:, 0] - owed(state)) - supply_line)


@pytest.mark.parametrize("engine", [by_kernel, by_torch, by_events])
def test_benchmark_week_by_week(engine):
    """Stocks, backlogs, orders and costs of every week; 204 in all.

    The decision of period t is the slip of week t: those that lie on the board at the start come first.
    """
    slips, net, costs = [], [], []

    def decide(period: int, state: TwinState) -> FloatArray:
        slips.append(np.full(4, 4.0) if period <= 4 else anchor_and_adjust(state))
        return slips[-1]

    network = library.load("beer_game")
    columns = [list(network.sites).index(stage) for stage in STAGES]
    for before, week, after in engine(decide):
        # The next decision sees the next week's receipts; they were next in the pipelines.
        received = before.logical("pipeline")[before.compiled.topology.pipe_ptr[:-1], 0]
        net.append((after.arrays.on_hand[:, 0] - received - owed(after))[columns])
        costs.append(week)
    np.testing.assert_array_equal(np.array(slips)[1:, columns], EXPECTED_SLIPS[: WEEKS - 1])
    np.testing.assert_array_equal(net, EXPECTED_NET)
    by_stage = np.maximum(0.5 * EXPECTED_NET, -1.0 * EXPECTED_NET)
    assert dict(zip(STAGES, by_stage.sum(axis=0).tolist(), strict=True)) == COSTS
    np.testing.assert_array_equal(np.sum(costs, axis=1), by_stage.sum(axis=1))
    holding, backlog = (np.array(costs)[:, [term.name for term in COST_TERMS].index(n)] for n in ("holding", "backlog"))
    np.testing.assert_array_equal(holding + backlog, by_stage.sum(axis=1))
    known = network.known_value("policy_cost")
    assert np.sum(costs) == known.value == sum(COSTS.values()) == 204.0


def test_published_values_agree(published):
    """The constants above are those of the shared list of published values."""
    entry = published["sterman1989_beer_game_benchmark"]
    assert entry["published"] == {"costs": list(COSTS.values()), "total": 204}
    assert entry["parameters"]["weeks"] == WEEKS
