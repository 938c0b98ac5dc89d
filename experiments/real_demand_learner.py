"""Training the learned policy of the real-demand study: pathwise gradients on training weeks, stopped on tune weeks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from agents.learners.pathwise import Pathwise
from agents.learners.scaled_level import ScaledLevel
from experiments.real_demand_signals import Features
from experiments.real_demand_world import WIDEST, SeriesEnv, SeriesTask
from twin.compile import CompiledNetwork

__all__ = ["Learned", "Learning", "learn_levels"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Learning:
    """How the policy is trained.

    Attributes
    ----------
    updates
        Gradient steps; each unrolls all training weeks of all series.
    every
        Gradient steps between looks at the tune weeks.
    learning_rate, weight_decay
        Of AdamW, the rate falling as a cosine.
    net_arch
        Hidden layers.
    """

    updates: int = 200
    every: int = 10
    learning_rate: float = 1e-2
    weight_decay: float = 0.05
    net_arch: tuple[int, ...] = (64, 64)


@dataclass(frozen=True, eq=False)
class Learned:
    """The policy as it was when the tune weeks cost least, or at the end where they chose nothing.

    Attributes
    ----------
    seed
        Of the training.
    levels
        (N, T) to order up to, on all weeks that the features given for playing have.
    cost
        On the tune weeks; NaN where they chose nothing.
    updates
        Gradient steps after which it was taken.
    history
        (looks, 2): gradient steps and cost on the tune weeks.
    """

    seed: int
    levels: FloatArray
    cost: float
    updates: int
    history: FloatArray


def learn_levels(
    compiled: CompiledNetwork,
    training: Features,
    playing: Features,
    tune_cost: Callable[[FloatArray], float] | None,
    *,
    seed: int,
    covered: int,
    learning: Learning,
    stop: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Learned:
    """Train on the weeks of ``training`` alone.

    Parameters
    ----------
    compiled
        The panel network of the training weeks.
    training, playing
        Features of the same series: of the training weeks, and of all weeks to play.
    tune_cost
        From levels (N, T) on ``playing`` to a cost, which chooses the policy that is kept; None keeps the last one.
    stop
        Gradient steps after which training ends before its time (the learning rate falls as if it did not).
    progress
        Called with gradient steps and the cost at every look.
    """
    task = SeriesTask(compiled, training)
    env = SeriesEnv(task)
    told = training.scale > 0.0
    sample = training.values[told]
    spread = sample.std(axis=0)
    structure = {
        "widest": WIDEST,
        "covered": covered,
        "start": 1.5,
        "mean": sample.mean(axis=0).tolist(),
        "spread": np.where(spread > 1e-6, spread, 1.0).tolist(),
    }
    model = Pathwise(
        ScaledLevel,
        env,
        learning_rate=learning.learning_rate,
        warm_up=0,
        seed=seed,
        policy_kwargs={
            "structure": structure,
            "net_arch": list(learning.net_arch),
            "optimizer_kwargs": {"weight_decay": learning.weight_decay},
        },
    )
    watch = _Watch(playing, tune_cost, learning.every, stop, progress)
    model.learn(learning.updates * task.horizon * env.num_envs, callback=watch)
    watch.look()
    levels, cost, updates = watch.best
    return Learned(seed, levels, cost, updates, np.array(watch.history))


class _Watch(BaseCallback):
    """Keeps the levels that cost least on the tune weeks."""

    def __init__(
        self,
        playing: Features,
        tune_cost: Callable[[FloatArray], float] | None,
        every: int,
        stop: int | None,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        super().__init__()
        seen = np.concatenate([playing.scale[:, :, None], playing.values], axis=2)
        self.shape, self.seen = playing.scale.shape, torch.as_tensor(seen.reshape(-1, seen.shape[2])).float()
        self.tune_cost, self.every, self.stop, self.progress = tune_cost, every, stop, progress
        self.best: tuple[FloatArray, float, int] = (np.zeros(self.shape), np.inf, 0)
        self.history: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        return self.stop is None or self.model._n_updates < self.stop

    def _on_rollout_start(self) -> None:
        if self.tune_cost is not None and self.model._n_updates % self.every == 0:
            self.look()

    def look(self) -> None:
        """Play the policy as it is now."""
        policy: Any = self.model.policy
        with torch.no_grad():
            levels = np.asarray(policy.levels(self.seen).double().numpy()).reshape(self.shape)
        cost, done = np.nan if self.tune_cost is None else self.tune_cost(levels), self.model._n_updates
        self.history.append((done, cost))
        if self.tune_cost is None or cost < self.best[1]:
            self.best = (levels, cost, done)
        if self.progress is not None:
            self.progress(done, cost)
