"""Callbacks of a training run: cost terms in the log, validation, checkpoints, progress, a clean stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from agents.evaluation import Measurement, measure
from agents.learners import checkpoint
from agents.learners.normalise import save_normalisation, unwrap
from agents.learners.sb3 import NormalisedPolicy
from envs.sb3 import TwinVecEnv
from envs.task import Task
from twin.files import write_bytes

__all__ = ["CostLog", "Progress", "Stopper", "Validation", "save_model"]


def save_model(folder: Path, model: Any) -> None:
    """Write ``model.zip`` and ``normalisation.npz`` into a folder; each file whole or not at all."""
    import io

    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    model.save(buffer)
    # Normalisation first: a model without its own statistics would be the worse half to be left with.
    save_normalisation(folder / "normalisation.npz", unwrap(model.get_env()))
    write_bytes(folder / "model.zip", buffer.getvalue())


class CostLog(BaseCallback):
    """Logs cost terms and fill rate of finished episodes under ``rollout/``, and the time spent in the twin."""

    def __init__(self, world: TwinVecEnv) -> None:
        super().__init__()
        self._world = world
        self._episodes: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "costs" in info:
                self._episodes.append(info)
        return True

    def _on_rollout_end(self) -> None:
        if not self._episodes:
            return
        for name in self._episodes[0]["costs"]:
            self.logger.record(f"rollout/cost_{name}", float(np.mean([e["costs"][name] for e in self._episodes])))
        total = [sum(e["costs"].values()) for e in self._episodes]
        self.logger.record("rollout/cost", float(np.mean(total)))
        self.logger.record("rollout/fill_rate", float(np.mean([e["fill_rate"] for e in self._episodes])))
        self.logger.record("time/twin_seconds", self._world.twin_seconds)
        self._episodes.clear()


class Validation(BaseCallback):
    """Measures the policy on the validation seeds every so many steps and keeps the best and the last model.

    Parameters
    ----------
    task
        The decision problem.
    folder
        The run folder: ``best/``, ``last/`` and ``evaluations.npz`` go there.
    every
        Environment steps between measurements.
    seed, paths, periods, warm_up
        See :func:`agents.evaluation.measure`.
    patience
        Measurements in a row without a better one after which training stops; None trains to the end.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        every: int,
        seed: int,
        paths: int,
        periods: int,
        warm_up: int,
        patience: int | None = None,
    ) -> None:
        super().__init__()
        self.patience, self.since_best = patience, 0
        self.task, self.folder, self.every = task, folder, every
        self.seed, self.paths, self.periods, self.warm_up = seed, paths, periods, warm_up
        self.best_cost = np.inf
        self.next_at = 0
        self.history: list[tuple[int, NDArray[np.float64]]] = []

    @property
    def exhausted(self) -> bool:
        """Whether the last ``patience`` measurements brought nothing better."""
        return self.patience is not None and self.since_best >= self.patience

    def _on_step(self) -> bool:
        return not self.exhausted

    def _on_rollout_start(self) -> None:
        # The only moments at which a model and its normalisation belong together are between updates and rollouts.
        if self.num_timesteps >= self.next_at:
            self.run()
            self.next_at = self.num_timesteps + self.every

    def run(self) -> Measurement:
        """Measure now, log, and save the model as last and, if it is, as best."""
        policy = NormalisedPolicy(self.model, unwrap(self.model.get_env()))
        result = measure(
            policy, self.task, seed=self.seed, paths=self.paths, periods=self.periods, warm_up=self.warm_up
        )
        cost = float(result.cost.mean())
        self.history.append((self.num_timesteps, -result.cost))
        save_model(self.folder / "last", self.model)
        self.since_best += 1
        if cost < self.best_cost:
            self.best_cost, self.since_best = cost, 0
            save_model(self.folder / "best", self.model)
        self._write_history()
        self._write_log({"eval/cost": cost, "eval/fill_rate": result.fill_rate, "eval/mean_reward": -cost})
        return result

    def _write_log(self, values: dict[str, float]) -> None:
        """Write at once and alone: in the next rollout's row it would stand at a later moment than it was measured."""
        now = {"time/total_timesteps": self.num_timesteps}
        excluded: dict[str, tuple[str, ...]] = {**dict.fromkeys(values, ()), "time/total_timesteps": ("tensorboard",)}
        for output in self.logger.output_formats:
            output.write({**values, **now}, excluded, self.num_timesteps)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "best_cost": None if np.isinf(self.best_cost) else self.best_cost,
            "next_at": self.next_at,
            "since_best": self.since_best,
            "history": [[step, rewards.tolist()] for step, rewards in self.history],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.best_cost = np.inf if state["best_cost"] is None else float(state["best_cost"])
        self.next_at = int(state["next_at"])
        self.since_best = int(state.get("since_best", 0))
        self.history = [(int(step), np.array(rewards)) for step, rewards in state["history"]]

    def _write_history(self) -> None:
        import io

        buffer = io.BytesIO()
        periods = self.task.horizon if self.task.finite else self.periods
        np.savez(
            buffer,
            timesteps=np.array([step for step, _ in self.history]),
            results=np.stack([rewards for _, rewards in self.history]),
            ep_lengths=np.full((len(self.history), self.paths), periods),
        )
        write_bytes(self.folder / "evaluations.npz", buffer.getvalue())


class Stopper(BaseCallback):
    """Writes checkpoints, and ends training at a safe point once asked to.

    Parameters
    ----------
    folder
        Where the checkpoint goes.
    every
        Environment steps between checkpoints.
    extra
        Gives the plain data to store with a checkpoint.
    """

    def __init__(self, folder: Path, *, every: int, extra: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self.folder, self.every, self.extra = folder, every, extra
        self.requested = False
        self._next_at = 0
        self._saved = False

    def request(self, *_: Any) -> None:
        """Ask training to stop at the next safe point (usable as a signal handler)."""
        self.requested = True

    def _on_training_start(self) -> None:
        self._next_at = self.num_timesteps + self.every

    def _on_rollout_start(self) -> None:
        if self.requested or self.num_timesteps >= self._next_at:
            self.save()
            self._next_at = self.num_timesteps + self.every
            self._saved = self.requested

    def save(self) -> None:
        """Write a checkpoint now."""
        checkpoint.save(self.folder, self.model, self.extra())

    def _on_step(self) -> bool:
        # The checkpoint is on disk; the one step taken since then will be taken again by a resumed run.
        return not self._saved


class Progress(BaseCallback):
    """A progress bar in environment steps with time left; quiet when not a terminal."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total
        self.bar: Any = None

    def _on_training_start(self) -> None:
        self.bar = tqdm(total=self.total, initial=self.num_timesteps, desc="training", unit="step", disable=None)

    def _on_step(self) -> bool:
        self.bar.update(self.num_timesteps - self.bar.n)
        return True

    def _on_rollout_end(self) -> None:
        cost = self.logger.name_to_value.get("rollout/cost")
        if cost is not None:
            self.bar.set_postfix(cost=f"{cost:,.4g}")

    def _on_training_end(self) -> None:
        self.bar.close()
