"""The world of the real-demand study: series as replicas, an environment to learn in, and playing levels through it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.actions import BaseStockCodec
from envs.core import Batch
from envs.features import Block, Field, Observation
from envs.inventory import InventoryTask
from envs.readers import Expected, View
from envs.sb3 import TwinVecEnv
from experiments.real_demand_signals import Features
from twin.compile import CompiledNetwork
from twin.engine import Twin

__all__ = ["WIDEST", "Outcome", "SeriesEnv", "SeriesTask", "play"]

FloatArray = NDArray[np.float64]

#: Largest level of the learner's box, in network units: out of the way, and with nothing of the data in it.
WIDEST = 1000.0
_FAR = 1e6


@dataclass(frozen=True, eq=False)
class _Played(Expected):
    """Signals that the calendar alone decides, read like expected demand; ``table`` is (signals, calendar)."""

    table: FloatArray = field(default_factory=lambda: np.zeros((0, 1)))

    def read(self, view: View, out: FloatArray) -> None:
        out[...] = self.table[:, view.twin.state.period % self.table.shape[1]]


class SeriesTask(InventoryTask):
    """A finite task on a panel network that shows signals in place of the twin's state; actions are levels / WIDEST.

    Parameters
    ----------
    compiled
        Of :func:`twin.ingest.panel.panel_network`.
    features
        Of the same series and weeks.
    """

    def __init__(self, compiled: CompiledNetwork, features: Features) -> None:
        series, weeks = features.scale.shape
        super().__init__(compiled, horizon=weeks, finite=True)
        self.starts = np.arange(series, dtype=np.int64) * weeks
        self.codec = BaseStockCodec(np.zeros(1), np.full(1, -WIDEST), np.full(1, WIDEST))
        table = np.concatenate([features.scale[:, :, None], features.values], axis=2).reshape(series * weeks, -1).T
        fields = [Field("scale", "unit", 0.0, _FAR, "Orders a week that are usual now.")]
        fields += [Field(name, "1", -_FAR, _FAR, f"Signal '{name}' of the series.") for name in features.names]
        block = Block(
            "expected", tuple(fields), _Played(np.zeros(0, dtype=np.int64), table=np.ascontiguousarray(table))
        )
        self.observation = Observation([block])
        self.fields = self.observation.fields
        self.observation_space = spaces.Box(self.observation.low, self.observation.high, dtype=np.float32)


class _SeriesBatch(Batch):
    """Replica b plays series b."""

    task: SeriesTask

    def reset(
        self,
        seed: NDArray[np.uint64],
        replica: NDArray[np.uint32],
        episode: NDArray[np.uint32],
        index: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        super().reset(seed, replica, episode, index)
        place = np.arange(self.replicas) if index is None else index
        self.twin.state.period[place] = self.task.starts[replica]
        return self.observe()


class SeriesEnv(TwinVecEnv):
    """One replica per series, every episode from the first week of the panel to its last."""

    def __init__(self, task: SeriesTask) -> None:
        super().__init__(task, len(task.starts))
        self.batch = _SeriesBatch(task, len(task.starts))
        self.reset()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a policy did on every series and week.

    Attributes
    ----------
    cost
        (..., N, T) money.
    asked, served
        (..., N, T) network units asked for, and met at once.
    """

    cost: FloatArray
    asked: FloatArray
    served: FloatArray


def play(compiled: CompiledNetwork, series: int, targets: FloatArray, *, up_to: bool = True) -> Outcome:
    """Run every series from its first week, all candidates on the same record.

    Parameters
    ----------
    compiled
        A panel network of that many series.
    targets
        (N, T) or (C, N, T): the level to order up to, or the quantity to order, at each decision.
    up_to
        Which of the two.
    """
    shape = targets.shape
    flat = targets.reshape(-1, shape[-1])
    weeks, replicas = shape[-1], len(flat)
    twin = Twin(compiled, replicas=replicas)
    length = len(compiled.network.demands["orders"].distribution.values) // series  # type: ignore[union-attr]
    starts = np.tile(np.arange(series, dtype=np.int64) * length, replicas // series)
    twin.state.period[:] = starts
    drawn = twin.tape.block(twin.state.first(series), weeks)
    out = np.zeros((3, replicas, weeks))
    for t in range(weeks):
        orders = np.ascontiguousarray(flat[None, :, t])
        if up_to:
            orders = twin.base_stock_orders(twin.positions(), orders)
        out[0, :, t] = twin.step(orders, drawn.period(t).repeated(replicas // series)).sum(axis=0)
        out[1, :, t], out[2, :, t] = twin.state.arrays.demand[0], twin.state.arrays.served[0]
    return Outcome(*out.reshape(3, *shape))
