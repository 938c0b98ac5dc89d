"""The batched core that every environment class runs on, and the single environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from envs.spec import ProblemSpec
from envs.task import Task
from twin.contracts import MOVES, STAGES
from twin.engine import Twin
from twin.errors import ActionError
from twin.orders import feasible_orders
from twin.state import TwinState
from twin.tape import Draws
from twin.topology import Topology

__all__ = ["Batch", "StepResult", "TwinEnv", "known_optimum", "repaired_moves"]

FloatArray = NDArray[np.float64]


class _Beginning(NamedTuple):
    """Replicas at the start of an episode: state, arc positions, belief, observation."""

    state: TwinState
    position: FloatArray
    belief: FloatArray | None
    observation: NDArray[np.float32]


@dataclass
class StepResult:
    """What followed a decision, in all replicas.

    Attributes
    ----------
    observation
        (B, n) after the period, before any reset.
    reward
        (B,) money.
    ended
        (B,) True where the horizon is reached.
    costs
        (13, B) cost terms of the periods that it held for.
    asked
        (A, B) units that the decision asked for, in all of them together.
    rules
        Topology with the arcs' rules for orders.
    terminal_value
        (B,) money that the stock is worth where a finite horizon has ended, else 0; part of the reward.
    repaired
        (B,) how many moves and orders of the action were not possible and counted as none; None where a task decides
        on orders alone.
    """

    observation: NDArray[np.float32]
    reward: FloatArray
    ended: NDArray[np.bool_]
    costs: FloatArray
    asked: FloatArray
    rules: Topology
    terminal_value: FloatArray
    repaired: NDArray[np.int64] | None

    @property
    def orders(self) -> FloatArray:
        """Units placed on each arc (after minimum, lots and maximum), (A, B). Training never looks at them."""
        return feasible_orders(self.asked, self.rules.arc_minimum, self.rules.arc_lot, self.rules.arc_maximum)


class Batch:
    """B replicas of a task: the one place where observation, decision and period meet.

    Parameters
    ----------
    task
        The decision problem.
    replicas
        Number of replicas B.
    """

    def __init__(self, task: Task, replicas: int) -> None:
        if replicas < 1:
            raise ActionError(f"the number of replicas must be at least 1, received {replicas}")
        self.task = task
        self.twin = Twin(task.compiled, replicas=replicas)
        self.replicas = replicas
        self.elapsed = np.zeros(replicas, dtype=np.int64)
        self._alike: _Beginning | None = None
        #: What is believed of the outages, (N, B), where the task keeps a belief.
        self.belief: FloatArray | None = None if task.watcher is None else task.watcher.begin(self.twin)
        self.position: FloatArray = self.twin.positions()
        self.observation = np.empty((replicas, len(task.fields)), dtype=np.float32)
        self._action_shape = (replicas, *(task.action_space.shape or ()))

    def reset(
        self,
        seed: NDArray[np.uint64],
        replica: NDArray[np.uint32],
        episode: NDArray[np.uint32],
        index: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Start replicas ``index`` (all when None) on the given paths; returns the observation of all."""
        if index is None:
            self.twin.state = self.task.begin(self.twin, seed, replica, episode)
            self.elapsed[:] = 0
            if self.task.watcher is not None:
                self.belief = self.task.watcher.begin(self.twin)
            return self.observe()
        # Only the fresh replicas are observed again: with staggered episodes some end in nearly every step.
        fresh, position, belief, observation = self._beginning(seed, replica, episode)
        state = self.twin.state
        state.assign(index, fresh)
        if self.belief is not None:
            self.belief[:, index] = belief
        state.seed[index], state.replica[index], state.episode[index] = seed, replica, episode
        self.elapsed[index] = 0
        self.position[:, index] = position
        self.observation[index] = observation
        return self.observation

    def _beginning(
        self, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32]
    ) -> _Beginning:
        """Fresh replicas on the given paths; one for all where they are alike."""
        if self._alike is not None:
            return self._alike
        alike = self.twin.tape.opens_alike
        paths = (seed[:1], replica[:1], episode[:1]) if alike else (seed, replica, episode)
        fresh = self.task.begin(self.twin, *paths)
        twin = self.twin.at(fresh)
        position = twin.positions()
        belief = None if self.task.watcher is None else self.task.watcher.begin(twin)
        left = np.full(fresh.replicas, float(self.task.horizon))
        begun = _Beginning(fresh, position, belief, self.task.observe(twin, position, left, belief))
        if alike:
            self._alike = begun
        return begun

    def restart(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Start the next episode of replicas ``index`` on their own paths; changes the latest observation in place."""
        state = self.twin.state
        return self.reset(state.seed[index], state.replica[index], state.episode[index] + np.uint32(1), index)

    def observe(self) -> NDArray[np.float32]:
        """Observe all replicas, (B, n)."""
        self.position = self.twin.positions()
        self.observation = self.seen(self.task)
        return self.observation

    def seen(self, task: Task) -> NDArray[np.float32]:
        """What another task of the same problem shows of all replicas now, (B, n)."""
        left = np.subtract(self.task.horizon, self.elapsed, dtype=np.float64)
        return task.observe(self.twin, self.position, left, self.belief)

    def step(self, action: NDArray[Any], draws: Draws | None = None) -> StepResult:
        """Decide and run the periods that the decision holds for.

        Parameters
        ----------
        action
            (B, ...).
        draws
            What the world does in these periods, see :meth:`twin.engine.Twin.step`; the twin's own when left out.
        """
        action = np.asarray(action)
        if action.shape != self._action_shape:
            raise ActionError(f"the action must have shape {self._action_shape}, received {action.shape}")
        if action.dtype.kind == "f" and not np.isfinite(action).all():
            raise ActionError("the action holds a NaN or an infinite number")
        space = self.task.action_space
        if isinstance(space, gym.spaces.Discrete) and not ((action >= 0) & (action < space.n)).all():
            raise ActionError(f"a discrete action must be between 0 and {space.n - 1}, received {action.tolist()}")
        if isinstance(space, gym.spaces.MultiDiscrete) and not (
            action.dtype.kind in "iu" and ((action >= 0) & (action < space.nvec)).all()
        ):
            raise ActionError(f"every number of the action must be whole, at least 0 and below {space.nvec.tolist()}")
        orders, repaired, costs = self._period(action, None if draws is None else draws.period(0))
        if self.task.periods_per_decision > 1:
            costs = costs.copy()  # the twin writes the next period's over them
        for t in range(1, self.task.periods_per_decision):
            self.position = self.twin.positions()
            later, more, charged = self._period(action, None if draws is None else draws.period(t))
            orders, costs = orders + later, costs + charged
            repaired = more if repaired is None or more is None else repaired + more
        self.elapsed += 1
        ended = self.elapsed >= self.task.horizon
        reward, terminal = self.task.reward(costs), np.zeros(self.replicas)
        if self.task.finite and ended.any():
            terminal = np.where(ended, self.task.left(self.twin.state), 0.0)
            reward = reward + terminal
        return StepResult(self.observe(), reward, ended, costs, orders, self.task.compiled.topology, terminal, repaired)

    def _period(
        self, action: NDArray[Any], draws: Draws | None
    ) -> tuple[FloatArray, NDArray[np.int64] | None, FloatArray]:
        """One period under an action: orders, what was repaired, cost terms."""
        left = np.subtract(self.task.horizon, self.elapsed, dtype=np.float64)
        orders, moves = self.task.decide(action, self.twin, self.position, left, self.belief)
        repaired = self.task.repairs(action, self.twin, orders, moves)
        costs = self.twin.step(orders, draws, moves)
        if self.task.watcher is not None and self.belief is not None:
            self.belief = self.task.watcher.follow(self.belief, self.twin)
        return orders, repaired, costs


def repaired_moves(twin: Twin, orders: FloatArray, moves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Moves that are not allowed, and orders above 0 on arcs whose contract will not be active, per replica (B,)."""
    if not len(moves):
        return np.zeros(orders.shape[1], dtype=np.int64)
    allowed = np.take_along_axis(twin.allowed_moves(), moves[:, None], axis=1)[:, 0]
    rules, stage = twin.compiled.relations.rules, twin.state.arrays.stage
    decided = moves[rules.relation]
    active = np.where(stage == STAGES.index("active"), decided != MOVES.index("deactivate"), False)
    active |= (stage == STAGES.index("qualified")) & (decided == MOVES.index("activate"))
    bound = rules.record_contract >= 0
    closed = ~active[rules.record_contract[bound]] & (orders[rules.record_arc[bound]] > 0.0)
    return np.asarray((~allowed).sum(axis=0) + closed.sum(axis=0))


def known_optimum(task: Task) -> dict[str, Any]:
    """``{"optimum": {"name", "value", "source"}}``: least average cost per period as the network file has it, or empty.

    New data at every call, as Gymnasium asks of infos. Empty with a finite horizon: an average over an endless run is
    not what such a problem costs.
    """
    entry = task.compiled.network.known_value("optimal_cost")
    if entry is None or task.finite:
        return {}
    return {"optimum": {"name": entry.name, "value": entry.value, "source": entry.source}}


class TwinEnv(gym.Env[NDArray[np.float32], Any]):
    """A task with one replica as a Gymnasium environment.

    Parameters
    ----------
    task
        The decision problem.
    render_mode
        None, ``"ansi"`` (text) or ``"rgb_array"`` (the network drawn with stock, pipeline and backlog).
    replica
        Which path of the seed to follow: ``reset(seed=s)`` with replica b is slot b of a vector environment of seed s.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (gymnasium's)

    def __init__(self, task: Task, *, render_mode: str | None = None, replica: int = 0) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ActionError(f"no render mode '{render_mode}' (allowed: {', '.join(self.metadata['render_modes'])})")
        self.task = task
        self.render_mode = render_mode
        self.observation_space = task.observation_space
        self.action_space = task.action_space
        self.replica = replica
        self.batch = Batch(task, 1)
        self.metadata = {**type(self).metadata, **known_optimum(task)}
        self._terms = self.batch.twin.cost_names()
        self._spec: EnvSpec | None = None
        self._seed: int | None = None
        self._episode = 0
        self._last: StepResult | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """As Gymnasium gave it at ``make``, with this environment's metadata."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else ProblemSpec(spec, self.metadata)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._seed, self._episode = seed, 0
        elif self._seed is None:
            self._seed = int(self.np_random.integers(2**63))
        else:
            self._episode += 1
        if options:
            raise ActionError(f"reset takes no options, received {sorted(options)}")
        observation = self.batch.reset(
            np.array([self._seed], dtype=np.uint64),
            np.array([self.replica], dtype=np.uint32),
            np.array([self._episode], dtype=np.uint32),
        )
        self._last = None
        info = known_optimum(self.task)
        self._add_mask(info)
        return observation[0], info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        result = self.batch.step(np.asarray(action)[None])
        self._last = result
        ended = bool(result.ended[0])
        costs = result.costs[:, 0].tolist()
        arrays = self.batch.twin.state.arrays
        info = {
            "cost_terms": dict(zip(self._terms, costs, strict=True)),
            "orders": result.orders[:, 0],
            "demand": arrays.demand[:, 0].copy(),
            "served": arrays.served[:, 0].copy(),
            **known_optimum(self.task),
        }
        if result.repaired is not None:
            info["repaired"] = int(result.repaired[0])
        self._add_mask(info)
        if ended and self.task.finite:
            info["terminal_value"] = float(result.terminal_value[0])
        finite = self.task.finite
        return result.observation[0], float(result.reward[0]), ended and finite, ended and not finite, info

    def _add_mask(self, info: dict[str, Any]) -> None:
        mask = self.action_masks()
        if mask is not None:
            info["action_mask"] = mask

    def action_masks(self) -> NDArray[np.bool_] | None:
        """Which discrete actions are allowed now, or None when all are."""
        mask = self.task.mask(self.batch.twin)
        return None if mask is None else mask[0]

    def render(self) -> Any:
        from envs.render import render_ansi, render_rgb

        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='ansi' or 'rgb_array'")
            return None
        if self.render_mode == "ansi":
            return render_ansi(self.batch.twin, self._last)
        return render_rgb(self.batch.twin, self._last)
