"""The belief on outages that a policy looks at, kept from period to period by whoever asks it.

A single observation forgets what has been seen (:mod:`envs.watcher`). So a bundle gives the belief away with each
decision and takes it back with the next state; without it an episode begins anew.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from agents.baselines.observed import Columns
from agents.bundle_policy import Memory
from envs.inventory_features import OUTLOOK_SPANS
from envs.readers import Outlook, View
from twin.beliefs import OutagePosterior
from twin.errors import BundleError

__all__ = ["Belief"]

FloatArray = NDArray[np.float64]

#: How far below 0 a probability may lie by rounding.
_ROUNDING = 1e-9


class Belief:
    """Follows the outages of a network through observations.

    Parameters
    ----------
    columns
        Of the observations. They must show availability, the periods since it changed, and warnings.

    Raises
    ------
    ActionError
        Where the observation does not show what a belief is made of.
    """

    def __init__(self, columns: Columns) -> None:
        compiled = columns.compiled
        for group in ("availability", "since", "warning"):
            columns.rows(group)
        self._columns, self._posterior = columns, OutagePosterior(compiled)
        behind = self._posterior.behind
        failing = tuple(r for r, processes in enumerate(behind) if processes)
        names = [f"{compiled.resource_names[r]}:{span}" for r in failing for span in OUTLOOK_SPANS]
        shown = columns.shows("outlook")
        self._outlook = columns.find("outlook", names, "'outlook' in observe=") if shown else None
        self._reader = Outlook(self._posterior, failing, OUTLOOK_SPANS)

    def begin(self, values: FloatArray) -> Memory:
        """What to remember before an episode of values (B, n) begins."""
        return (self._posterior.begin(self._columns.read(values).since),)

    def see(self, values: FloatArray, memory: Memory | None) -> tuple[FloatArray, FloatArray, Memory]:
        """Values (B, n) with their outlook, the belief (N, B) of now, and what to remember.

        Parameters
        ----------
        values
            The outlook among them is not looked at.
        memory
            What was to be remembered a period ago; None where an episode begins.

        Raises
        ------
        BundleError
            Where the memory is not a belief of so many replicas.
        """
        reading, posterior = self._columns.read(values), self._posterior
        prior = fresh = posterior.begin(reading.since)
        if memory:
            prior = np.asarray(memory[0], dtype=np.float64)
        if prior.shape != fresh.shape or not (prior >= -_ROUNDING).all() or not np.isfinite(prior).all():
            raise BundleError(
                f"the memory must be numbers of at least 0 of shape {fresh.shape}, received shape {prior.shape}"
            )
        belief = posterior.seen(prior, reading.availability, reading.warning, reading.since)
        if self._outlook is not None:
            state = SimpleNamespace(arrays=SimpleNamespace(availability=reading.availability))
            out = np.empty((len(self._outlook), len(values)))
            view = View(SimpleNamespace(state=state), reading.availability, reading.availability[0], belief)  # type: ignore[arg-type]
            self._reader.read(view, out)
            values = values.copy()
            values[:, self._outlook] = out.T
        return values, belief, (posterior.after(belief),)
