"""The one protocol of decision makers: Stable-Baselines3's ``predict``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Policy"]


class Policy(Protocol):
    """Anything that turns observations into actions."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for observations of shape (n,) or (B, n); the state is passed through where there is none."""
        ...
