"""What somebody who has watched a network since the episode began believes of its outages.

A single observation forgets: whether the long outage of the year has been, or which warnings came true. A belief keeps
what matters of that, and is no more than what is seen, weighed by the laws of the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.readers import warned
from twin.beliefs import OutagePosterior, outages_unfit
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ActionError

__all__ = ["Watcher"]

FloatArray = NDArray[np.float64]


class Watcher:
    """Keeps beliefs (N, B) on the hidden states of all outages, replica by replica.

    Parameters
    ----------
    compiled
        The network.

    Raises
    ------
    ActionError
        Where there can be no belief: nothing ever fails, or too much at once.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        reason = outages_unfit(compiled)
        if reason is not None:
            raise ActionError(f"no belief on the outages of the network '{compiled.network.name}': {reason}")
        self.posterior = OutagePosterior(compiled)

    def begin(self, twin: Twin) -> FloatArray:
        """The belief at the start of an episode, after what is seen then."""
        return self._seen(self.posterior.begin(twin.state.arrays.since), twin)

    def follow(self, belief: FloatArray, twin: Twin) -> FloatArray:
        """The belief after one more period has passed and is seen."""
        return self._seen(self.posterior.after(belief), twin)

    def _seen(self, belief: FloatArray, twin: Twin) -> FloatArray:
        arrays = twin.state.arrays
        return self.posterior.seen(belief, arrays.availability, warned(twin), arrays.since)
