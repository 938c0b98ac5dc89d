"""Every registered environment, on every network of the library, in every action mode, keeps the same contract."""

from __future__ import annotations

import copy
import functools
import operator
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import envs  # noqa: F401 (registers)
from envs.actions import ACTION_MODES
from envs.features import spec_hash
from envs.inventory import InventoryTask
from envs.sb3 import TwinVecEnv
from twin import library
from twin.economics import COST_TERMS
from twin.errors import ActionError, NetworkError

IDS = sorted(name for name in gym.registry if name.startswith("cogtwin/"))
#: Environments that take any network; the others are families, each on a network of its own (None below).
GENERAL = ["cogtwin/Inventory-v0"]
NETWORKS = library.names()
NOTHING_RANDOM = {("cogtwin/Inventory-v0", "beer_game"), ("cogtwin/BeerGame-v0", None)}
SHORT = [(name, network) for name in IDS for network in (NETWORKS if name in GENERAL else (None,))]
#: Modes of an environment whose modes are not those of the inventory environments; the first is its own.
MODES = {"cogtwin/SupplierSwitching-v0": ("mix", "moves"), "cogtwin/Routing-v0": ("prices", "itinerary")}
CASES = [(*case, mode) for case in SHORT for mode in (ACTION_MODES if case[1] else MODES.get(case[0], ("base_stock",)))]

every_case = pytest.mark.parametrize(("name", "network", "mode"), CASES)
every_network = pytest.mark.parametrize(("name", "network"), SHORT)


def settings(name: str, network: str | None, mode: str | None = None) -> dict[str, Any]:
    """Arguments of an environment; a family has its own network and takes none."""
    mode = MODES.get(name, ("base_stock",))[0] if mode is None else mode
    return {"action_mode": mode, **({"network": network} if name in GENERAL else {})}


def make(name: str, network: str | None, mode: str | None = None, **arguments: Any) -> gym.Env[Any, Any]:
    return gym.make(name, **settings(name, network, mode), **arguments)


def task_of(name: str, network: str | None, **arguments: Any) -> InventoryTask:
    task: InventoryTask = make(name, network, **arguments).unwrapped.task  # type: ignore[attr-defined]
    return task


def actions(space: gym.Space[Any], number: int, seed: int = 0) -> list[Any]:
    space = copy.deepcopy(space)
    space.seed(seed)
    return [space.sample() for _ in range(number)]


def trajectory(env: gym.Env[Any, Any], todo: list[Any], seed: int | None) -> list[Any]:
    """All that an episode shows, as one flat list."""
    observation, info = env.reset(seed=seed)
    seen: list[Any] = [observation, info]
    for action in todo:
        seen.extend(env.step(action))
    return seen


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and np.array_equal(a, b)


def test_the_registry_is_not_empty() -> None:
    """Importing envs registers at least one environment, so that this file tests something."""
    assert IDS
    assert len(NETWORKS) >= 5


@every_case
def test_gymnasium_accepts_it(name: str, network: str | None, mode: str) -> None:
    """Gymnasium's checker passes with warnings as errors (spaces, seeding, the step's types)."""
    gymnasium_check(make(name, network, mode).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_accepts_its_rendering(name: str) -> None:
    """Gymnasium's checker makes the environment again in each render mode it names, and renders."""
    gymnasium_check(make(name, "lost_sales_zipkin2008").unwrapped)


@every_case
def test_stable_baselines3_accepts_it(name: str, network: str | None, mode: str) -> None:
    """SB3's checker passes with warnings as errors."""
    sb3_check(make(name, network, mode).unwrapped, warn=True)


@every_case
def test_equal_seeds_give_equal_worlds(name: str, network: str | None, mode: str) -> None:
    """Two instances with one seed show the same observations, rewards and infos; another seed another world."""
    one, two = make(name, network, mode), make(name, network, mode)
    todo = actions(one.action_space, 30)
    first = trajectory(one, todo, 3)
    assert same(first, trajectory(two, todo, 3))
    assert same(first, trajectory(one, todo, 3))
    assert same(first, trajectory(two, todo, 4)) == ((name, network) in NOTHING_RANDOM)


@every_network
def test_seed_zero_is_a_seed(name: str, network: str | None) -> None:
    """reset(seed=0) is reproducible and is not read as no seed at all."""
    env = make(name, network)
    todo = actions(env.action_space, 10)
    first = trajectory(env, todo, 0)
    trajectory(env, todo, None)
    assert same(first, trajectory(env, todo, 0))


@every_network
def test_a_reset_without_a_seed_is_the_next_episode(name: str, network: str | None) -> None:
    """reset() gives other demands than the episode before, and the same ones whenever the same seed came first."""
    one, two = make(name, network), make(name, network)
    todo = actions(one.action_space, 20)
    episodes = [trajectory(one, todo, 5), trajectory(one, todo, None), trajectory(one, todo, None)]
    assert same(episodes[0], episodes[1]) == ((name, network) in NOTHING_RANDOM)
    assert same(episodes[1], episodes[2]) == ((name, network) in NOTHING_RANDOM)
    # The second instance cuts its first episode short: what follows does not depend on how long it was.
    trajectory(two, todo[:3], 5)
    assert same(episodes[1], trajectory(two, todo, None))
    assert same(episodes[2], trajectory(two, todo, None))


@every_case
def test_observations_stay_in_their_space(name: str, network: str | None, mode: str) -> None:
    """200 random steps over several episodes never leave the observation space, corners of the box included."""
    env = make(name, network, mode, horizon=60)
    todo = actions(env.action_space, 200)
    if mode != "discrete":
        for k in range(0, 200, 3):
            todo[k] = np.sign(todo[k])
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    ends = 0
    for action in todo:
        observation, _, terminated, truncated, _ = env.step(action)
        assert env.observation_space.contains(observation)
        if terminated or truncated:
            ends += 1
            observation, _ = env.reset()
            assert env.observation_space.contains(observation)
    assert ends == 3


@every_case
def test_the_reward_is_minus_the_named_costs_exactly(name: str, network: str | None, mode: str) -> None:
    """The reward equals minus the sum of info["cost_terms"] to the last bit, and every term has its name."""
    env = make(name, network, mode, finite=False)
    env.reset(seed=2)
    for action in actions(env.action_space, 60):
        _, reward, _, _, info = env.step(action)
        assert tuple(info["cost_terms"]) == tuple(term.name for term in COST_TERMS)
        assert type(reward) is float
        assert reward == -functools.reduce(operator.add, info["cost_terms"].values())


def test_costs_are_charged_under_every_name() -> None:
    """Each cost term is non-zero somewhere in the library, so that the identity above is about real numbers."""
    seen = set()
    for network in NETWORKS:
        env = make(GENERAL[0], network)
        env.reset(seed=2)
        for action in actions(env.action_space, 40):
            seen |= {term for term, value in env.step(action)[4]["cost_terms"].items() if value}
    # no library network charges for the use of a resource or for stock in transit on its own
    assert {"holding", "backlog", "lost_sales", "purchase", "freight", "fixed_order", "emissions", "revenue"} <= seen


@pytest.mark.parametrize("name", GENERAL)
def test_a_network_can_be_given_by_name_path_and_object(name: str, tmp_path: Path) -> None:
    """A library name, a path and a Network make the same environment, also with the module in the id."""
    network = library.load("five_site_distribution")
    path = tmp_path / "mine.yaml"
    network.save(path)
    todo = actions(make(name, "five_site_distribution").action_space, 15)
    seen = [
        trajectory(gym.make(f"envs:{name}", network=given), todo, 9)
        for given in ("five_site_distribution", path, str(path), network)
    ]
    assert all(same(seen[0], other) for other in seen[1:])


@pytest.mark.parametrize("name", GENERAL)
def test_an_unknown_network_is_named_with_its_nearest_match(name: str) -> None:
    """A misspelt library name is refused with the right one."""
    with pytest.raises(NetworkError, match="did you mean 'serial_chain'"):
        gym.make(name, network="serial_chian")


@pytest.mark.parametrize("name", GENERAL)
def test_family_parameters_reach_the_network(name: str) -> None:
    """parameters= selects a member of a family; a wrong one is refused."""
    env = gym.make(name, network="lost_sales_zipkin2008", parameters={"lead_time": 2, "penalty": 9})
    network = env.unwrapped.task.compiled.network  # type: ignore[attr-defined]
    assert network.demands["customers"].penalty == 9
    assert network.lanes[0].modes["truck"].lead_time.mean_value == 2
    with pytest.raises(NetworkError, match="lead_tme"):
        gym.make(name, network="lost_sales_zipkin2008", parameters={"lead_tme": 2})


def test_parameters_of_a_compiled_network_are_refused() -> None:
    """Family parameters beside a network that is already built are an error, never ignored in silence."""
    compiled = InventoryTask("lost_sales_zipkin2008").compiled
    with pytest.raises((NetworkError, ActionError)):
        InventoryTask(compiled, parameters={"lead_time": 2})


@every_case
def test_a_slot_of_the_vector_environment_is_a_single_environment(name: str, network: str | None, mode: str) -> None:
    """Slot b of reset(seed=s) equals replica b of reset(seed=s), step by step, across two automatic resets."""
    slots, horizon = 3, 7
    vector = gym.make_vec(
        name,
        num_envs=slots,
        vectorization_mode="vector_entry_point",
        horizon=horizon,
        finite=False,
        **settings(name, network, mode),
    )
    singles = [make(name, network, mode, horizon=horizon, finite=False, replica=b) for b in range(slots)]
    observation, _ = vector.reset(seed=11)
    for b, env in enumerate(singles):
        assert same(observation[b], env.reset(seed=11)[0])
    ends = 0
    for batch in actions(vector.action_space, 2 * horizon + 2):
        observation, reward, terminated, truncated, infos = vector.step(batch)
        assert not terminated.any()
        for b, env in enumerate(singles):
            expected, money, _, cut, info = env.step(batch[b])
            for term, value in info["cost_terms"].items():
                assert infos["cost_terms"][term][b] == value
            assert infos.keys() & {"optimum"} == info.keys() & {"optimum"}
            for key, value in info.get("optimum", {}).items():
                assert infos["optimum"][key][b] == value
            assert reward[b] == money
            assert truncated[b] == cut
            if cut:
                ends += 1
                assert infos["_final_obs"][b]
                assert same(infos["final_obs"][b], expected)
                expected, _ = env.reset()
            assert same(observation[b], expected)
    assert ends == 2 * slots
    # A reset in the middle of an episode without a seed starts the next episode in both.
    observation, _ = vector.reset()
    assert all(same(observation[b], env.reset()[0]) for b, env in enumerate(singles))


@pytest.mark.parametrize("name", IDS)
def test_a_list_of_seeds_gives_each_slot_its_own_world(name: str) -> None:
    """Slot b of reset(seed=[s0, s1, ...]) is a single environment reset with its seed; a short list is refused."""
    given = settings(name, "five_site_distribution")
    vector = gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", **given)
    vector.reset(seed=[4, 8])
    single = make(name, "five_site_distribution")
    for b, seed in enumerate((4, 8)):
        vector.reset(seed=[4, 8])
        single.reset(seed=seed)
        for action in actions(single.action_space, 5):
            expected = single.step(action)[0]
            assert same(vector.step(np.stack([action, action]))[0][b], expected)
    with pytest.raises(ActionError, match="2"):
        vector.reset(seed=[4])


@every_network
def test_the_sb3_environment_follows_the_same_paths(name: str, network: str | None) -> None:
    """TwinVecEnv shows the same observations, final observations and episode statistics as single environments."""
    slots, horizon = 3, 6
    world = TwinVecEnv(task_of(name, network, horizon=horizon, finite=False), slots, seed=21)
    singles = [make(name, network, horizon=horizon, finite=False, replica=b) for b in range(slots)]
    observation = world.reset()
    for b, env in enumerate(singles):
        assert same(observation[b], env.reset(seed=21)[0])
    sums, costs = np.zeros(slots), [dict.fromkeys((term.name for term in COST_TERMS), 0.0) for _ in range(slots)]
    asked, served, ends = np.zeros(slots), np.zeros(slots), 0
    space = gym.vector.utils.batch_space(world.action_space, slots)
    for batch in actions(space, 2 * horizon + 1):
        observation, reward, done, infos = world.step(batch)
        for b, env in enumerate(singles):
            expected, money, _, cut, info = env.step(batch[b])
            assert reward[b] == np.float32(money)
            assert done[b] == cut
            sums[b] += money
            asked[b] += info["demand"].sum()
            served[b] += info["served"].sum()
            for term, value in info["cost_terms"].items():
                costs[b][term] += value / horizon
            if cut:
                ends += 1
                assert infos[b]["TimeLimit.truncated"]
                assert same(infos[b]["terminal_observation"], expected)
                assert infos[b]["episode"]["l"] == horizon
                assert infos[b]["episode"]["r"] == pytest.approx(sums[b], rel=1e-12)
                assert infos[b]["costs"] == pytest.approx(costs[b], rel=1e-12, abs=1e-12)
                assert infos[b]["fill_rate"] == pytest.approx(served[b] / asked[b] if asked[b] else 1.0)
                sums[b] = asked[b] = served[b] = 0.0
                costs[b] = dict.fromkeys(costs[b], 0.0)
                expected, _ = env.reset()
            else:
                assert not infos[b]
            assert same(observation[b], expected)
    assert ends == 2 * slots


@pytest.mark.parametrize(("slots", "horizon"), [(4, 12), (3, 10), (7, 5), (40, 32)])
def test_staggered_first_episodes_have_the_stated_lengths(slots: int, horizon: int) -> None:
    """The first episode of group g of G = min(16, slots) lasts (g + 1) / G of the horizon, later ones all of it."""
    world = TwinVecEnv(InventoryTask("lost_sales_zipkin2008", horizon=horizon), slots, stagger=True)
    world.reset()
    lengths: list[list[int]] = [[] for _ in range(slots)]
    for _ in range(3 * horizon):
        _, _, done, infos = world.step(np.zeros((slots, 1), dtype=np.float32))
        for b in np.flatnonzero(done):
            lengths[b].append(infos[b]["episode"]["l"])
    for b in range(slots):
        groups = min(16, slots)
        group = b * groups // slots
        assert lengths[b][0] == -(-(group + 1) * horizon // groups)
        assert lengths[b][1] == horizon


@pytest.mark.parametrize("finite", [True, False])
def test_the_end_of_a_finite_problem_is_termination(finite: bool) -> None:
    """finite=True terminates and shows the time left; otherwise the episode is truncated and no time is shown."""
    name, horizon = GENERAL[0], 5
    env = make(name, "lost_sales_zipkin2008", horizon=horizon, finite=finite)
    fields = [field.name for field in env.unwrapped.task.fields]  # type: ignore[attr-defined]
    observation, _ = env.reset(seed=0)
    assert ("periods_left" in fields) is finite
    for t in range(horizon):
        if finite:
            assert observation[fields.index("periods_left")] == horizon - t
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        last = t == horizon - 1
        assert (terminated, truncated) == (last and finite, last and not finite)
    vector = gym.make_vec(
        name,
        num_envs=2,
        vectorization_mode="vector_entry_point",
        network="lost_sales_zipkin2008",
        horizon=1,
        finite=finite,
    )
    vector.reset(seed=0)
    _, _, terminated_all, truncated_all, _ = vector.step(vector.action_space.sample())
    assert (terminated_all.all(), truncated_all.all()) == (finite, not finite)
    world = TwinVecEnv(InventoryTask("lost_sales_zipkin2008", horizon=1, finite=finite), 2)
    world.reset()
    infos = world.step(np.zeros((2, 1), dtype=np.float32))[3]
    assert [info["TimeLimit.truncated"] for info in infos] == [not finite] * 2


@every_network
def test_pictures_and_texts_show_something(name: str, network: str | None) -> None:
    """Ansi names every stock point, rgb_array draws more than one colour, and both change as the twin moves."""
    text = make(name, network, render_mode="ansi")
    picture = make(name, network, render_mode="rgb_array")
    shown = []
    for env in (text, picture):
        env.reset(seed=0)
        shown.append(env.render())
        for action in actions(env.action_space, 4):
            env.step(action)
        shown.append(env.render())
    before, after, first, last = shown
    assert isinstance(after, str)
    for point in text.unwrapped.task.compiled.stock_names:  # type: ignore[attr-defined]
        assert point in after
    assert before != after
    assert first.dtype == last.dtype == np.uint8
    assert first.shape == last.shape == (600, 900, 3)
    assert len(np.unique(last.reshape(-1, 3), axis=0)) > 10
    assert not np.array_equal(first, last)


def test_a_wrong_render_mode_is_refused() -> None:
    """An unknown render mode is an ActionError that lists the ones there are."""
    from envs.inventory import InventoryEnv

    with pytest.raises(ActionError, match="ansi"):
        InventoryEnv("lost_sales_zipkin2008", render_mode="human")


@every_network
@pytest.mark.parametrize("finite", [False, True])
def test_the_observation_is_described(name: str, network: str | None, finite: bool) -> None:
    """Field names are unique, units and descriptions there, bounds finite and in order, the space made of them."""
    task = task_of(name, network, finite=finite)
    names = [field.name for field in task.fields]
    assert len(set(names)) == len(names)
    for field in task.fields:
        assert field.unit
        assert field.description
        assert np.isfinite([field.low, field.high]).all()
        assert field.low < field.high
    np.testing.assert_array_equal(task.observation_space.low, np.float32([field.low for field in task.fields]))
    np.testing.assert_array_equal(task.observation_space.high, np.float32([field.high for field in task.fields]))


def test_specifications_are_stable_and_tell_networks_apart() -> None:
    """The specification's hash is the same every time, and differs between networks and with a finite horizon."""
    hashes = {}
    for network in NETWORKS:
        for finite in (False, True):
            once, again = (spec_hash(InventoryTask(network, finite=finite).fields) for _ in range(2))
            assert once == again
            assert len(once) == 64
            hashes[network, finite] = once
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize("name", IDS)
def test_a_copy_is_a_fork(name: str) -> None:
    """A deep copy of an environment in mid-episode goes on as the original does, and does not move it."""
    env = make(name, "five_site_distribution")
    todo = actions(env.action_space, 10)
    trajectory(env, todo[:4], 6)
    other = copy.deepcopy(env)
    theirs = [other.step(action) for action in todo[4:]]
    ours = [env.step(action) for action in todo[4:]]
    assert same(theirs, ours)


@pytest.mark.parametrize("name", IDS)
def test_an_environment_can_be_pickled(name: str) -> None:
    """Pickling, as process-based vector environments need it, keeps the episode under way."""
    env = make(name, "five_site_distribution")
    todo = actions(env.action_space, 10)
    trajectory(env, todo[:4], 6)
    other = pickle.loads(pickle.dumps(env.unwrapped))
    assert same([other.step(action) for action in todo[4:]], [env.unwrapped.step(action) for action in todo[4:]])


@every_case
def test_wrong_actions_are_refused(name: str, network: str | None, mode: str) -> None:
    """A NaN, an infinite number and a wrong shape are ActionErrors; the twin does not move."""
    env = make(name, network, mode).unwrapped
    env.reset(seed=0)
    before = env.batch.twin.state.content_hash()  # type: ignore[attr-defined]
    arcs = env.task.compiled.n_arcs  # type: ignore[attr-defined]
    wrong: list[Any] = [np.zeros(arcs + 1), np.zeros((1, arcs, 1)), np.array(np.nan)]
    if mode != "discrete":
        wrong += [np.full(arcs, np.nan), np.full(arcs, np.inf)]
    for action in wrong:
        with pytest.raises(ActionError):
            env.step(action)
    assert env.batch.twin.state.content_hash() == before  # type: ignore[attr-defined]


@pytest.mark.parametrize("horizon", [0, -3])
def test_an_impossible_horizon_is_refused(horizon: int) -> None:
    """A horizon below one period is an ActionError with the value."""
    with pytest.raises(ActionError, match=str(horizon)):
        InventoryTask("lost_sales_zipkin2008", horizon=horizon)
