"""Supplier switching: the zero action is the rule, masks say what is possible, what is not is repaired and counted."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import envs  # noqa: F401  (registers)
from agents.baselines.risk_switching import RiskSwitching
from agents.baselines.simulation import acting_task
from agents.baselines.status_switching import StatusSwitching
from envs.core import Batch
from envs.sb3 import TwinVecEnv
from envs.switching import SwitchingTask
from twin import library
from twin.compile import compile_network
from twin.contracts import MOVES, STAGES
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import Network

PERIODS = 60


def network(seed: int = 0) -> Network:
    """A main supplier that fails and two backups under contract, with figures drawn anew for every seed."""
    draw = np.random.default_rng(seed)
    fixed = {"distribution": "fixed", "value": 0}

    def contract(state: str) -> dict[str, Any]:
        return {
            "state": state,
            "qualification_cost": 500.0,
            "qualification_periods": int(draw.integers(0, 5)),
            "switching_cost": 100.0,
            "exit_cost": 50.0,
            "ramp": int(draw.integers(0, 3)),
            "capacity": float(draw.integers(60, 120)),
        }

    def mode(lead: int, **others: Any) -> dict[str, Any]:
        return {"lead_time": fixed | {"value": lead}, **others}

    return Network.parse(
        {
            "name": "three_sources",
            "products": {"item": {"integer": True}},
            "suppliers": {
                "main": {"offers": {"item": {"price": 10.0}}, "uses": {"line": 1.0}},
                "near": {"offers": {"item": {"price": 15.0}}, "contract": contract("outside")},
                "far": {"offers": {"item": {"price": 12.5}}, "contract": contract(str(draw.choice(STAGES[2:])))},
            },
            "resources": {
                "line": {
                    "capacity": 200.0,
                    "availability": {
                        "failure": 0.1,
                        "recovery": 0.2,
                        "ramp": 2,
                        "warning": {"ahead": 2, "recall": 0.8, "false_alarm": 0.05},
                    },
                }
            },
            "sites": {"store": {"stock": {"item": {"holding_cost": 0.1, "initial": 200.0}}}},
            "lanes": [
                {
                    "from": "main",
                    "to": "store",
                    "product": "item",
                    "modes": {"sea": mode(3, expediting={"cost_per_unit": 2.0, "periods": 2})},
                },
                {"from": "near", "to": "store", "product": "item", "modes": {"truck": mode(1)}},
                {"from": "far", "to": "store", "product": "item", "modes": {"rail": mode(int(draw.integers(1, 5)))}},
            ],
            "demands": {
                "market": {
                    "site": "store",
                    "product": "item",
                    "distribution": {"distribution": "poisson", "mean": 60.0},
                    "unmet": "backlog",
                    "penalty": 5.0,
                }
            },
        }
    )


def started(task: SwitchingTask, replicas: int, seed: int = 3) -> Batch:
    batch = Batch(task, replicas)
    slots = np.arange(replicas, dtype=np.uint32)
    batch.reset(np.full(replicas, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    return batch


def wish(task: SwitchingTask, **values: float) -> NDArray[np.float32]:
    """A mix action that is 0 but for the named numbers (``contract__near`` for ``contract[near]``)."""
    action = np.zeros((1, *task.action_space.shape), dtype=np.float32)  # type: ignore[misc]
    for name, value in values.items():
        action[0, task.switching.names.index(name.replace("__", "[") + "]")] = value
    return action


@pytest.mark.parametrize("mode", ["mix", "moves"])
def test_it_is_an_environment(mode: str) -> None:
    check_env(gym.make("cogtwin/SupplierSwitching-v0", network=network(), action_mode=mode).unwrapped)


@pytest.mark.parametrize("seed", range(6))
def test_the_zero_action_is_the_status_rule(seed: int) -> None:
    """What the zero action of ``mix`` orders and moves is what the classical policy does, and costs the same."""
    rule = {"level[store/item]": 380.0, "surge": 1.3, "patience": 2.0, "recovery": 3.0, "wait[far]": 2.0}
    task = SwitchingTask(network(seed), rule=rule)
    acting = SwitchingTask(network(seed), action_mode="orders")
    policy = StatusSwitching(acting, task.rule_parameters)
    ours, theirs = started(task, 16), started(acting, 16)
    moved = 0
    for _ in range(PERIODS):
        action, _ = policy.predict(theirs.observation)
        moved += int((action[:, 3:] > 0).sum())
        expected = theirs.step(action)
        result = ours.step(np.zeros((16, *task.action_space.shape)))  # type: ignore[misc]
        np.testing.assert_allclose(result.orders, expected.orders, atol=1e-6)
        np.testing.assert_allclose(result.costs, expected.costs, atol=1e-6)
        assert result.repaired is not None
        assert not result.repaired.any()
    assert moved > 0


@pytest.mark.parametrize("mode", ["mix", "moves"])
@pytest.mark.parametrize("name", ["prolonged_shortage", "shared_subtier"])
def test_the_zero_action_is_the_risk_rule(name: str, mode: str) -> None:
    """With its belief, kept from period to period: the environment's is the classical policy's own."""
    contracts = {"threshold[regional]": 4.0, "prepare": 2.0} if name == "prolonged_shortage" else {}
    notches = (0.5, 1.0)
    task = SwitchingTask(name, action_mode=mode, base="risk", rule={"cover": 0.3, **contracts}, notches=notches)
    acting = acting_task(task.compiled, "risk_switching")
    policy, memory = RiskSwitching(acting, task.rule_parameters), None
    ours, theirs = started(task, 16), started(acting, 16)
    zero = np.zeros((16, *(task.action_space.shape or ())))
    if mode == "moves":
        zero = np.full(16, task.switching.names.index("follow x 1"))
    moved = 0
    for t in range(PERIODS):
        action, memory = policy.predict(theirs.observation, memory, np.full(16, t == 0))
        moved += int((action[:, acting.compiled.n_arcs :] > 0).sum())
        expected = theirs.step(action)
        result = ours.step(zero)
        np.testing.assert_allclose(result.orders, expected.orders, atol=1e-3)
        np.testing.assert_allclose(result.costs, expected.costs, rtol=1e-6, atol=1e-2)
    assert (moved > 0) == bool(contracts)


def test_an_outlook_is_the_belief_of_its_own_path() -> None:
    """Replicas that begin anew at different times show what a single environment on their path shows."""
    arguments: dict[str, Any] = {"network": "shared_subtier", "observe": ["availability", "outlook"], "horizon": 9}
    task = SwitchingTask(**arguments)
    names = [field.name for field in task.fields]
    assert next(name for name in names if name.startswith("outlook")).endswith(":4]")
    world = TwinVecEnv(task, 3, seed=5, stagger=True)
    seen = [world.reset()]
    lengths = world.batch.task.horizon - world.batch.elapsed
    assert len(set(lengths.tolist())) == 3
    zero = np.zeros((3, *task.action_space.shape))  # type: ignore[misc]
    for _ in range(30):
        seen.append(world.step(zero)[0].copy())
    for b, first in enumerate(lengths.tolist()):
        single = gym.make("cogtwin/SupplierSwitching-v0", replica=b, **arguments).unwrapped
        shown, _ = single.reset(seed=5)
        left = first
        for t in range(31):
            np.testing.assert_array_equal(seen[t][b], shown, err_msg=f"replica {b}, period {t}")
            shown, *_ = single.step(zero[b])
            left -= 1
            if left == 0:
                shown, _ = single.reset()
                left = 9
    outlook = np.array([[row[k] for k, name in enumerate(names) if name.startswith("outlook")] for row in seen[-1]])
    assert (np.diff(outlook.reshape(3, -1, 4), axis=2) >= 0.0).all()
    assert outlook.max() > 0.0


def test_there_is_no_outlook_without_a_belief() -> None:
    reliable = network().to_dict()
    del reliable["resources"]["line"]["availability"]
    with pytest.raises(ActionError, match=r"no belief on the outages of the network.*nothing ever fails"):
        SwitchingTask(Network.parse(reliable), base="risk")
    task = SwitchingTask(Network.parse(reliable), observe=["on_hand", "outlook"])
    assert [field.name for field in task.fields] == ["on_hand[store/item]"]
    with pytest.raises(ActionError, match=r"no rule 'risks'.*did you mean 'risk'"):
        SwitchingTask(network(), base="risks")


@pytest.mark.parametrize("seed", range(8))
def test_masks_are_true_exactly_where_a_move_is_accepted(seed: int) -> None:
    """A discrete action is repaired if and only if its mask is False, on random networks and random histories."""
    task = SwitchingTask(network(seed), action_mode="moves", notches=(0.8, 1.2))
    batch, draw = started(task, 64, seed), np.random.default_rng(seed)
    number = int(task.action_space.n)  # type: ignore[attr-defined]
    seen = np.zeros((2, number), dtype=np.bool_)
    for _ in range(PERIODS):
        mask = task.mask(batch.twin)
        assert mask is not None
        action = draw.integers(number, size=64)
        possible = mask[np.arange(64), action]
        result = batch.step(action)
        np.testing.assert_array_equal(result.repaired == 0, possible)
        seen[possible.astype(int), action] = True
    names = np.array(task.switching.names)
    assert set(names[~seen[1]]) <= {"qualify[far] x 0.8", "qualify[far] x 1.2"}, "this one is qualified from the start"
    always = {f"{choice} x {notch}" for choice in ("follow", "keep") for notch in (0.8, 1.2)}
    assert set(names[~seen[0]]) == always, "what is not always possible was also impossible"


def test_a_move_that_is_not_possible_counts_as_keep() -> None:
    """Impossible moves and orders under no contract change nothing but the count."""
    acting = SwitchingTask(network(), action_mode="orders")
    one, other = started(acting, 1), started(acting, 1)
    order = np.array([[50.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    wrong = np.array([[50.0, 70.0, 0.0, MOVES.index("qualify"), MOVES.index("activate"), 0.0]])
    assert acting.switching.names[:2] == ("order[main->store:sea:item]", "order[near->store:truck:item]")
    result, expected = one.step(wrong), other.step(order)
    assert result.repaired is not None
    assert result.repaired.tolist() == [3]  # a move without a contract, one too early, and an order on a closed arc
    np.testing.assert_array_equal(result.costs, expected.costs)
    np.testing.assert_array_equal(result.observation, expected.observation)


def test_wishes_move_contracts_one_stage_at_a_time() -> None:
    """Above a third a contract comes nearer, below minus a third it ends, between them the rule decides."""
    task = SwitchingTask(network(1), rule={"wait[near]": 27.0, "wait[far]": 27.0})
    batch = started(task, 1)
    near = batch.twin.compiled.relations.contracts.index("near")

    def stage(value: float) -> str:
        batch.step(wish(task, contract__near=value))
        return STAGES[int(batch.twin.state.arrays.stage[near, 0])]

    assert stage(0.3) == "outside"
    history = [stage(0.5) for _ in range(8)]
    assert history[-1] == "active"
    assert sorted(history, key=STAGES.index) == history
    assert stage(-0.5) == "qualified"
    assert stage(0.3) == "qualified"


def test_shares_move_orders_between_arcs() -> None:
    """A share adds to what the rule orders on an arc, and never opens a closed one."""
    task = SwitchingTask(network(), rule={"level[store/item]": 400.0, "wait[near]": -1.0, "wait[far]": -1.0})
    batch = started(task, 1)
    for _ in range(12):
        batch.step(wish(task))
    names = task.compiled.arc_names
    near = names.index("near->store:truck:item")
    supply_closed = SwitchingTask(network(), rule={"level[store/item]": 400.0, "wait[near]": 27.0, "wait[far]": 27.0})
    assert batch.step(wish(task, **{"share__near->store:truck:item": 1.0})).orders[near, 0] > 0.0
    closed = started(supply_closed, 1)
    orders = closed.step(wish(supply_closed, **{"share__near->store:truck:item": 1.0})).orders
    assert orders[near, 0] == 0.0
    assert orders.sum() > 0.0


def test_single_vector_and_sb3_agree_on_masks_and_repairs() -> None:
    """The three surfaces of one seed show the same masks, infos and rewards."""
    arguments: dict[str, Any] = {"network": network(2), "action_mode": "moves", "horizon": 7}
    single = gym.make("cogtwin/SupplierSwitching-v0", replica=1, **arguments)
    vector = gym.make_vec(
        "cogtwin/SupplierSwitching-v0", num_envs=2, vectorization_mode="vector_entry_point", **arguments
    )
    task = SwitchingTask(**arguments)
    world = TwinVecEnv(task, 2, seed=5)
    world.reset()
    _, info = single.reset(seed=5)
    _, infos = vector.reset(seed=5)
    for t in range(7):
        np.testing.assert_array_equal(info["action_mask"], infos["action_mask"][1])
        np.testing.assert_array_equal(world.env_method("action_masks")[1], info["action_mask"])
        action = t % int(task.action_space.n)  # type: ignore[attr-defined]
        _, reward, _, _, info = single.step(action)
        _, rewards, _, _, infos = vector.step(np.array([action, action]))
        _, theirs, _, _ = world.step(np.array([action, action]))
        assert reward == rewards[1]
        assert np.float32(reward) == theirs[1]
        assert info["repaired"] == infos["repaired"][1]


def test_mistakes_are_named() -> None:
    with pytest.raises(ActionError, match=r"no action mode 'mixed'.*did you mean 'mix'"):
        SwitchingTask(network(), action_mode="mixed")
    with pytest.raises(ActionError, match=r"no parameter 'pacience'.*did you mean 'patience'"):
        SwitchingTask(network(), rule={"pacience": 1.0})
    with pytest.raises(ActionError, match="rule must be 6 finite numbers"):
        SwitchingTask(network(), rule=[1.0, 2.0])
    with pytest.raises(ActionError, match="notches"):
        SwitchingTask(network(), action_mode="moves", notches=())
    with pytest.raises(ActionError, match="no argument 'notch'"):
        gym.make("cogtwin/SupplierSwitching-v0", network=network(), notch=1.0)


def test_records_change_no_path() -> None:
    """A network with and without records costs the same, to the last bit, and only the records differ."""
    plain = compile_network(library.load("essential_medicines"))
    kept = SwitchingTask("essential_medicines").compiled
    assert len(kept.relations.rules.record_arc) > 0
    one, other = Twin(plain, replicas=8, seed=4), Twin(kept, replicas=8, seed=4)
    orders = np.repeat(plain.arc_flow[:, None], 8, axis=1)
    for _ in range(40):
        np.testing.assert_array_equal(one.step(orders), other.step(orders))
    assert len(one.state.arrays.on_time) == 0
    assert (other.state.arrays.on_time < 1).any()
