"""The Task protocol: what turns a twin into a decision problem. One batched object serves every environment class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.actions import Codec
from envs.features import Field

if TYPE_CHECKING:
    from envs.watcher import Watcher
    from twin.compile import CompiledNetwork
    from twin.engine import Twin
    from twin.state import TwinState

__all__ = ["Task"]


class Task(Protocol):
    """A decision problem on a network, for any number of replicas at once.

    Attributes
    ----------
    compiled
        The network.
    fields
        Named fields of the observation, in order.
    codec
        Between actions and orders.
    observation_space, action_space
        Of one replica.
    horizon
        Decisions of an episode.
    periods_per_decision
        Periods that a decision holds for; it is decoded anew in each of them.
    finite
        True when the problem ends at the horizon (terminated); False when it continues and is only cut (truncated).
    watcher
        Who keeps a belief on the outages from period to period, where observations or decisions look at one.
    """

    compiled: CompiledNetwork
    fields: tuple[Field, ...]
    codec: Codec
    observation_space: spaces.Space[NDArray[np.float32]]
    action_space: spaces.Space[Any]
    horizon: int
    periods_per_decision: int
    finite: bool
    watcher: Watcher | None

    def begin(
        self, twin: Twin, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32]
    ) -> TwinState:
        """States at the start of an episode, on the given paths, (B,) each."""
        ...

    def observe(
        self,
        twin: Twin,
        position: NDArray[np.float64],
        periods_left: NDArray[np.float64],
        belief: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Observations (B, n) at a decision epoch; ``belief`` (N, B) is the watcher's."""
        ...

    def decode(
        self,
        action: NDArray[Any],
        twin: Twin,
        position: NDArray[np.float64],
        periods_left: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Orders (A, B) in units from actions (B, ...); the twin's own periods say how many are left when None."""
        ...

    def decide(
        self,
        action: NDArray[Any],
        twin: Twin,
        position: NDArray[np.float64],
        periods_left: NDArray[np.float64] | None = None,
        belief: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """Orders as :meth:`decode`, and moves (S, B) on relations (:data:`twin.contracts.MOVES`) or None for none."""
        ...

    def repairs(
        self, action: NDArray[Any], twin: Twin, orders: NDArray[np.float64], moves: NDArray[np.int64] | None
    ) -> NDArray[np.int64] | None:
        """How many parts of each action are not possible and count as none, (B,); None where that cannot be."""
        ...

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        """Which discrete actions are allowed, (B, n), or None when all are."""
        ...

    def reward(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards (B,) from the cost terms (13, B)."""
        ...

    def left(self, state: TwinState) -> NDArray[np.float64]:
        """What is left when a finite horizon ends is worth, (B,) money."""
        ...
