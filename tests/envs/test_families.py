"""Families of published problems: their parameters reach the network, their known values reach the user."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import envs
from envs.core import TwinEnv
from envs.inventory import InventoryTask
from experiments.cli import compose
from experiments.config import TrainConfig, parse
from experiments.problems import compiled_network, task_arguments
from twin import library
from twin.errors import ActionError, NetworkError

#: Environment, its file in configs/env, its network, and other parameters than the default.
FAMILIES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("LostSales", "lost_sales", "lost_sales_zipkin2008", {"demand": "geometric", "lead_time": 2, "penalty": 39}),
    ("DualSourcing", "dual_sourcing", "dual_sourcing", {"regular_lead_time": 4, "express_price": 110}),
    ("Serial", "serial", "serial_chain", {"store_lead_time": 3, "penalty": 19}),
    ("OneWarehouseManyRetailers", "one_warehouse", "one_warehouse", {"retailers": 3}),
    ("BeerGame", "beer_game", "beer_game", {}),
]


def task_of(name: str, **arguments: Any) -> InventoryTask:
    task: InventoryTask = gym.make(f"cogtwin/{name}-v0", **arguments).unwrapped.task  # type: ignore[attr-defined]
    return task


def test_every_family_is_registered_and_tested() -> None:
    """The registry holds the families above and the environment for any network, and nothing else."""
    assert envs.__name__ == "envs"
    found = {name for name in gym.registry if name.startswith("cogtwin/")}
    assert found == {f"cogtwin/{name}-v0" for name, *_ in FAMILIES} | {
        "cogtwin/Inventory-v0",
        "cogtwin/SupplierSwitching-v0",
        "cogtwin/Routing-v0",
    }


@pytest.mark.parametrize(("name", "option", "network"), [family[:3] for family in FAMILIES])
def test_the_command_line_has_the_same_problem(name: str, option: str, network: str) -> None:
    """env=<option> network=<network> is the task of the environment: network, fields, actions and horizon."""
    config = parse(TrainConfig, compose("train", [f"env={option}", f"network={network}"]))
    theirs = InventoryTask(compiled_network(config.network), **task_arguments(config.env))
    ours = task_of(name)
    assert ours.compiled.content_hash() == theirs.compiled.content_hash()
    assert ours.fields == theirs.fields
    assert (ours.horizon, ours.finite) == (theirs.horizon, theirs.finite)
    assert ours.codec.to_spec() == theirs.codec.to_spec()


@pytest.mark.parametrize(("name", "network", "parameters"), [(name, *rest) for name, _, *rest in FAMILIES])
def test_parameters_reach_the_network(name: str, network: str, parameters: dict[str, Any]) -> None:
    """Arguments choose the member of the family, alone and in a vector; without any it is the library's default."""
    chosen = library.load(network, **parameters)
    assert task_of(name, **parameters).compiled.network == chosen
    assert task_of(name).compiled.network == library.load(network)
    vector = gym.make_vec(
        f"cogtwin/{name}-v0", num_envs=2, vectorization_mode="vector_entry_point", horizon=9, **parameters
    )
    assert vector.unwrapped.task.compiled.network == chosen  # type: ignore[attr-defined]
    assert vector.unwrapped.task.horizon == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [family[0] for family in FAMILIES])
@pytest.mark.parametrize("finite", [False, True])
def test_it_is_finite_or_continues(name: str, finite: bool) -> None:
    """The finite variant terminates and shows the periods left, the continuing one is truncated and does not."""
    env = gym.make(f"cogtwin/{name}-v0", finite=finite, horizon=3)
    fields = [field.name for field in env.unwrapped.task.fields]  # type: ignore[attr-defined]
    assert ("periods_left" in fields) is finite
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
    assert ends == [(False, False)] * 2 + [(finite, not finite)]


def test_the_other_arguments_are_the_inventory_environments() -> None:
    """What is shown can be chosen again; another network, or parameters beside the family's own, are refused."""
    shown = [field.name for field in task_of("LostSales", observe=["on_hand"]).fields]
    assert shown == ["on_hand[store/item]"]
    for key, value in (("network", "serial_chain"), ("parameters", {"penalty": 9})):
        with pytest.raises(ActionError, match=f"lost_sales_zipkin2008.*'{key}'.*Inventory-v0"):
            gym.make("cogtwin/LostSales-v0", **{key: value})
    with pytest.raises(NetworkError, match=r"penalty = 5.*4, 9, 19, 39"):
        gym.make("cogtwin/LostSales-v0", penalty=5)


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        # Zipkin (2008), Tables 3-4; Gijsbrechts et al. (2022) with dynamic programming; Clark and Scarf (1960).
        ("LostSales", {}, 4.73),
        ("LostSales", {"lead_time": 4, "penalty": 9}, 6.84),
        ("DualSourcing", {"regular_lead_time": 2, "express_price": 110}, 219.73),
        ("Serial", {"store_lead_time": 4, "penalty": 39}, 13.91),
        ("Inventory", {"network": "serial_chain", "parameters": {"store_lead_time": 4, "penalty": 39}}, 13.91),
    ],
)
def test_the_known_optimum_is_told(name: str, arguments: dict[str, Any], value: float) -> None:
    """Reset, step and metadata tell the published optimum and its source, alone and in a vector."""
    env = gym.make(f"cogtwin/{name}-v0", **arguments)
    told = env.reset(seed=0)[1]["optimum"]
    assert told["name"] == "optimal_cost"
    assert told["value"] == pytest.approx(value, abs=0.005)
    assert told["source"]
    for _ in range(2):
        assert env.step(env.action_space.sample())[4]["optimum"] == told
    assert env.unwrapped.metadata["optimum"] == told
    vector = gym.make_vec(f"cogtwin/{name}-v0", num_envs=3, vectorization_mode="vector_entry_point", **arguments)
    for infos in (vector.reset(seed=0)[1], vector.step(vector.action_space.sample())[4]):
        assert {key: list(entry) for key, entry in infos["optimum"].items()} == {k: [v] * 3 for k, v in told.items()}
    assert vector.unwrapped.metadata["optimum"] == told
    assert "optimum" not in TwinEnv.metadata


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("LostSales", {"finite": True}),
        ("OneWarehouseManyRetailers", {}),
        ("BeerGame", {"finite": False}),
        ("Inventory", {"network": "essential_medicines"}),
    ],
)
def test_no_optimum_is_claimed_where_none_is_known(name: str, arguments: dict[str, Any]) -> None:
    """Neither a finite horizon, whose optimum is another, nor a published policy's cost passes for an optimum."""
    env = gym.make(f"cogtwin/{name}-v0", **arguments)
    infos = [env.reset(seed=0)[1], env.step(env.action_space.sample())[4]]
    assert not any("optimum" in info for info in infos)
    assert "optimum" not in env.unwrapped.metadata


def test_stermans_rule_costs_204_from_what_the_beer_game_shows() -> None:
    """An agent that reads positions off the observation and orders as Sterman's benchmark earns -204 in 36 weeks.

    The network's file says where the 204 is published.
    """
    env = gym.make("cogtwin/BeerGame-v0", action_mode="quantity")
    task: InventoryTask = env.unwrapped.task  # type: ignore[attr-defined]
    names = [field.name for field in task.fields]
    position = [names.index(f"position[{arc}]") for arc in task.compiled.arc_names]
    desired = np.array([20.0, 28.0, 28.0, 28.0])
    observation, _ = env.reset(seed=0)
    earned, weeks, done = 0.0, 0, False
    while not done:
        orders = np.full(4, 4.0) if weeks <= 4 else np.maximum(0.0, 4.0 + desired - observation[position])
        observation, reward, done, _, _ = env.step(task.codec.encode(orders))
        earned, weeks = earned + float(reward), weeks + 1
    assert weeks == 36
    assert earned == -204.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"leadtime": 3}, "no argument 'leadtime'.*did you mean 'lead_time'"),
        ({"horizon": 2.5}, "horizon must be a whole number of periods, at least 1, received 2.5"),
        ({"finite": "no"}, "finite must be true or false, received 'no'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    """A misspelt name is answered with the nearest one, a wrong value with what is allowed."""
    with pytest.raises(ActionError, match=message):
        gym.make("cogtwin/LostSales-v0", **arguments)


def test_the_specification_carries_the_known_optimum() -> None:
    """env.spec.metadata is the environment's own, through wrappers and copies, and does not leave with to_json."""
    env = gym.make("cogtwin/LostSales-v0", lead_time=2, penalty=9)
    known = env.reset(seed=0)[1]["optimum"]
    for spec in (env.spec, env.unwrapped.spec, copy.deepcopy(env.spec), pickle.loads(pickle.dumps(env.spec))):
        assert spec is not None
        assert spec.metadata["optimum"] == known
        again = gym.make(EnvSpec.from_json(spec.to_json()))
        assert again.spec is not None
        assert again.spec.metadata["optimum"] == known
    finite = gym.make("cogtwin/LostSales-v0", finite=True).spec
    assert finite is not None
    assert "optimum" not in finite.metadata
