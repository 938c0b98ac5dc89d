"""Whether what is hit is on its way back, as far as that can be seen.

Outages leave so much of a port's moves, and it comes back bit by bit. So a share of moves that no outage leaves is that
of a port whose outage is over, and how much is missing says for how many days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.compile import CompiledNetwork

__all__ = ["Recovery"]

FloatArray = NDArray[np.float64]

#: Shares of capacity that differ by less are the same, also when read off an observation.
_SAME = 1e-5


class Recovery:
    """Days until what is on its way back works again.

    Parameters
    ----------
    compiled
        The network, whose outages leave known shares and have known ways back; that is all that is used of them.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        #: Resource; shares that none, one or several of its outages leave; (share, days of the way back) of each.
        self._known: list[tuple[int, FloatArray, list[tuple[float, int]]]] = []
        if compiled.disruptions is None:
            return
        laws = compiled.disruptions.processes
        for r in range(len(laws.use_ptr) - 1):
            mine = laws.uses[laws.use_ptr[r] : laws.use_ptr[r + 1]]
            left = np.ones(1)
            for share in laws.share[mine]:
                left = np.unique(np.round(np.append(left, left * share), 7))
            back = [(float(laws.share[j]), int(laws.ramp[j])) for j in mine if laws.ramp[j] > 1]
            if back:
                self._known.append((r, left, back))

    def days(self, availability: FloatArray) -> FloatArray:
        """Days (R, B) until shares (R, B) of capacity are all of it; 0 where nothing says that an outage is over.

        Where several outages may be over, it is the longest way back that is left.
        """
        out = np.zeros(availability.shape)
        for r, left, back in self._known:
            works = availability[r]
            between = (np.abs(works - left[:, None]) > _SAME).all(axis=0)
            for share, days in back:
                missing = (1.0 - works) / (1.0 - share)
                out[r] = np.where(between & (works > share), np.maximum(out[r], days * missing), out[r])
        return out
