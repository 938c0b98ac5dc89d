"""The recursion that weighs beliefs by what is seen, on the arrays of :mod:`twin.beliefs.evidence` (numba)."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["weigh"]

#: Two shares of capacity are the same where they differ by the rounding of an observation only.
_ROUNDING = 1e-6


@njit(cache=True, nogil=True)
def weigh(t, belief, available, warning, lost):  # type: ignore[no-untyped-def]
    """Weigh ``belief`` (N, B), in place, by what is seen; ``lost`` (B,) where nothing that is seen was possible."""
    processes, outcomes = len(t.outcome_ptr) - 1, len(t.share)
    held, left = np.empty(t.classes), np.empty(t.classes)
    weight, after = np.empty(outcomes), np.empty(outcomes)
    live, live_ptr = np.empty(outcomes, np.int64), np.empty(processes + 1, np.int64)
    pick = np.empty(max(1, len(t.cause)), np.int64)
    of_resource = np.empty(max(1, len(t.resource)))
    for b in range(belief.shape[1]):
        held[:] = 0.0
        for n in range(belief.shape[0]):
            held[t.state_class[n]] += belief[n, b]
        live_ptr[0] = 0
        for p in range(processes):
            end = live_ptr[p]
            for o in range(t.outcome_ptr[p], t.outcome_ptr[p + 1]):
                w = t.factor[o]
                for k in range(t.member_ptr[o], t.member_ptr[o + 1]):
                    w *= held[t.member[k]]
                weight[o], after[o] = w, 0.0
                if w > 0.0:
                    live[end] = o
                    end += 1
            live_ptr[p + 1] = end
        for g in range(len(t.cause_ptr) - 1):
            if not _group(t, g, weight, after, live, live_ptr, pick, of_resource, available, warning, b):
                lost[b] = True
        if lost[b]:
            continue
        left[:] = 0.0
        for o in range(outcomes):
            for k in range(t.member_ptr[o], t.member_ptr[o + 1]):
                left[t.member[k]] += after[o]
        for n in range(belief.shape[0]):
            c = t.state_class[n]
            if held[c] > 0.0:
                belief[n, b] *= left[c] / held[c]


@njit(cache=True, nogil=True)
def _group(t, g, weight, after, live, live_ptr, pick, of_resource, available, warning, b):  # type: ignore[no-untyped-def]
    """Probabilities of the outcomes of a group after what is seen, in ``after``; False where it was not possible."""
    c0, c1 = t.cause_ptr[g], t.cause_ptr[g + 1]
    r0, r1 = t.resource_ptr[g], t.resource_ptr[g + 1]
    for c in range(c0, c1):
        pick[c] = live_ptr[t.cause[c]]
        if pick[c] == live_ptr[t.cause[c] + 1]:
            return False
    total = 0.0
    while True:
        # One combination of what all causes do: given it, the resources are independent of each other.
        w = 1.0
        for c in range(c0, c1):
            w *= weight[live[pick[c]]]
        for r in range(r0, r1):
            of_resource[r] = _likelihood(t, r, c0, weight, live, live_ptr, pick, available, warning, b)
            w *= of_resource[r]
        if w > 0.0:
            total += w
            for c in range(c0, c1):
                after[live[pick[c]]] += w
            for r in range(r0, r1):
                p = t.own[r]
                if p >= 0:
                    share, sign = _from_causes(t, r, c0, live, pick)
                    for k in range(live_ptr[p], live_ptr[p + 1]):
                        o = live[k]
                        if _agrees(t, r, share * t.share[o], max(sign, t.warns[o]), available, warning, b):
                            after[o] += w / of_resource[r] * weight[o]
        c = c1 - 1
        while c >= c0:
            pick[c] += 1
            if pick[c] < live_ptr[t.cause[c] + 1]:
                break
            pick[c] = live_ptr[t.cause[c]]
            c -= 1
        if c < c0:
            break
    if total <= 0.0:
        return False
    for c in range(c0, c1):
        p = t.cause[c]
        for o in range(t.outcome_ptr[p], t.outcome_ptr[p + 1]):
            after[o] /= total
    for r in range(r0, r1):
        p = t.own[r]
        if p >= 0:
            for o in range(t.outcome_ptr[p], t.outcome_ptr[p + 1]):
                after[o] /= total
    return True


@njit(cache=True, inline="always")
def _from_causes(t, r, c0, live, pick):  # type: ignore[no-untyped-def]
    """What the causes of a resource leave of it, and whether one of them warns."""
    share, sign = 1.0, 0
    for k in range(t.behind_ptr[r], t.behind_ptr[r + 1]):
        o = live[pick[c0 + t.behind[k]]]
        share *= t.share[o]
        sign = max(sign, t.warns[o])
    return share, sign


@njit(cache=True, inline="always")
def _agrees(t, r, share, sign, available, warning, b):  # type: ignore[no-untyped-def]
    """Whether a resource would look as it does."""
    seen = t.resource[r]
    if t.warned[r] == 1 and (warning[seen, b] > 0.5) != (sign == 1):
        return False
    return abs(share - available[seen, b]) <= _ROUNDING


@njit(cache=True, inline="always")
def _likelihood(t, r, c0, weight, live, live_ptr, pick, available, warning, b):  # type: ignore[no-untyped-def]
    """Probability of how a resource looks, given what its causes do."""
    share, sign = _from_causes(t, r, c0, live, pick)
    p = t.own[r]
    if p < 0:
        return 1.0 if _agrees(t, r, share, sign, available, warning, b) else 0.0
    total = 0.0
    for k in range(live_ptr[p], live_ptr[p + 1]):
        o = live[k]
        if _agrees(t, r, share * t.share[o], max(sign, t.warns[o]), available, warning, b):
            total += weight[o]
    return total
