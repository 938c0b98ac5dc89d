"""What a planner knows of the outages ahead: Bayes' rule on what has been seen, the laws being those of the network.

A planner sees how much of each resource works and which of them are warned of, not how long an outage will last, nor
whether a warning is true, nor, of two causes that may be behind one outage, which it is. The belief is a distribution
over the hidden states of every process (:mod:`twin.beliefs.states`). It is moved on by a period and then
weighed by what is seen, which is the forward recursion of a hidden Markov model (Rabiner 1989, Proceedings of the IEEE
77(2):257-286). So the time since the onset, every warning of the past (recall, false alarms, base rate), and what the
other resources of a common cause show are all in it.

What is seen at one time is weighed exactly, all processes together; between two times the processes are taken for
independent (assumed-density filtering, Boyen & Koller 1998, UAI). Without common causes that is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twin.beliefs.evidence import evidence, looks
from twin.beliefs.states import Hidden, hidden_states, processes
from twin.compile import CompiledNetwork

__all__ = ["OutagePosterior", "ever_fails", "outages_unfit"]

FloatArray = NDArray[np.float64]

#: Most combinations of what the windows of one process may do at one time.
_MOST = 4096


def ever_fails(compiled: CompiledNetwork) -> bool:
    """Whether anything in a network ever fails."""
    return any(hidden_states(entry, compiled.network.periods) for entry in processes(compiled).values())


def outages_unfit(compiled: CompiledNetwork) -> str | None:
    """Why there is no belief on a network's outages, or None where there is one."""
    if not ever_fails(compiled):
        return "nothing ever fails"
    for name, entry in processes(compiled).items():
        chains = hidden_states(entry, compiled.network.periods)
        combinations = int(np.prod([float(len(looks(chain)[1])) for chain in chains]))
        if combinations > _MOST:
            return f"'{name}' has windows of {combinations} possible combinations (allowed: at most {_MOST})"
    return None


class OutagePosterior:
    """Beliefs on the hidden states of all outages of a network, shape (N, B).

    Parameters
    ----------
    compiled
        The network.
    """

    def __init__(self, compiled: CompiledNetwork) -> None:
        network, entries = compiled.network, processes(compiled)
        self._place = {name: p for p, name in enumerate(entries)}
        chains = [hidden_states(entry, network.periods) for entry in entries.values()]
        self._chains: list[Hidden] = [chain for found in chains for chain in found]
        self._process: list[int] = [p for p, found in enumerate(chains) for _ in found]
        self._marks = np.concatenate([[0], np.cumsum([len(chain.share) for chain in self._chains])]).astype(np.int64)
        self._following = sparse.csr_array(
            sparse.block_diag([sparse.csr_array(chain.following) for chain in self._chains])
        )
        self._kept: dict[int, list[FloatArray]] = {}
        #: Chains of random failures, each with those of the windows of the same process.
        self._beside = [
            (k, beside)
            for k, chain in enumerate(self._chains)
            if chain.failure > 0.0
            and (beside := [j for j, p in enumerate(self._process) if p == self._process[k] and j != k])
        ]
        own = [name if entry.availability is not None else None for name, entry in network.resources.items()]
        #: Per resource of the file, the processes that it depends on.
        self.behind: list[list[int]] = [
            [self._place[key] for key in ([name] if name is not None else []) + [f"cause:{c}" for c in entry.causes]]
            for name, entry in zip(own, network.resources.values(), strict=True)
        ]
        #: Per process, the resources that show it.
        self._shown = [[r for r, uses in enumerate(self.behind) if p in uses] for p in range(len(entries))]
        self._tables = evidence(list(entries.values()), chains, self.behind, [name is not None for name in own])

    def begin(self, since: FloatArray) -> FloatArray:
        """Belief in period 0 before anything is seen; an outage that is then seen has lasted for ``since`` (R, B)."""
        out = np.empty((int(self._marks[-1]), since.shape[1]))
        for k, (chain, p) in enumerate(zip(self._chains, self._process, strict=True)):
            # What several resources lose together began when the last of them was lost.
            out[self._marks[k] : self._marks[k + 1]] = chain.begun(since[self._shown[p]].min(axis=0))
        return out

    def seen(self, belief: FloatArray, available: FloatArray, warning: FloatArray, since: FloatArray) -> FloatArray:
        """The belief (N, B) weighed by what is seen now.

        Where that was taken for impossible (the belief is of another episode, say) it begins anew.

        Parameters
        ----------
        belief
            (N, B) of now, before it is seen.
        available, warning
            (R, B) share of each resource that works, and 1 where it is warned of. Resources of contracts, which stand
            behind those of the file, are not looked at.
        since
            (R, B) as of :meth:`begin`.
        """
        from twin.beliefs.weighing import weigh  # numba, which those who keep no belief do without

        listed = slice(len(self.behind))
        available, warning = available[listed], warning[listed]
        out, lost = belief.copy(), np.zeros(belief.shape[1], dtype=np.bool_)
        weigh(self._tables, out, available, warning, lost)
        if lost.any():
            again, still = self.begin(since[:, lost]), np.zeros(int(lost.sum()), dtype=np.bool_)
            weigh(self._tables, again, available[:, lost], warning[:, lost], still)
            for first, last in itertools.pairwise(self._marks.tolist()):
                again[first:last, still] /= again[first:last, still].sum(axis=0)
            out[:, lost] = again
        return out

    def after(self, belief: FloatArray) -> FloatArray:
        """The belief (N, B) a period later, before anything is seen."""
        out = np.asarray(self._following @ belief)
        for k, beside in self._beside:
            # While a window lasts nothing fails, and what was out comes back with its end.
            free = np.ones(belief.shape[1])
            for j in beside:
                free *= 1.0 - self._chains[j].down @ belief[self._marks[j] : self._marks[j + 1]]
            part = out[self._marks[k] : self._marks[k + 1]]
            part *= free
            part += self._chains[k].first[:, None] * (1.0 - free)
        return out

    def expected(self, belief: FloatArray, periods: int, together: Sequence[Sequence[int]]) -> FloatArray:
        """Expected share of capacity in each of the periods ahead, the next one first.

        Parameters
        ----------
        belief
            (N, B) of now.
        periods
            Their number T.
        together
            Sets of resources; what works of a set is the product over the processes that any of them depends on.

        Returns
        -------
        ndarray, shape (T, sets, B)
        """
        if periods not in self._kept:
            self._kept[periods] = [_ahead(chain, periods) for chain in self._chains]
        shares: dict[int, FloatArray] = {}
        for k, (p, ahead) in enumerate(zip(self._process, self._kept[periods], strict=True)):
            of_chain = ahead @ belief[self._marks[k] : self._marks[k + 1]]
            shares[p] = shares[p] * of_chain if p in shares else of_chain
        out = np.ones((periods, len(together), belief.shape[1]))
        for k, resources in enumerate(together):
            for p in sorted({p for r in resources for p in self.behind[r]} & shares.keys()):
                out[:, k] *= shares[p]
        return out


def _ahead(chain: Hidden, periods: int) -> FloatArray:
    """Expected share (T, n) in each of the periods ahead, by the state of now."""
    out, share = np.empty((periods, len(chain.share))), chain.share
    for t in range(periods):
        share = share @ chain.following
        out[t] = share
    return out
