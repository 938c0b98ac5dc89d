"""Weighing beliefs on hidden states of outages by what is seen at one time, exactly.

A process has outcomes: what each of its chains does, and whether it warns. Resources that a cause links are weighed
together: given what the causes do, they are independent of each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.beliefs.states import Hidden
from twin.disruptions import Availability

__all__ = ["Evidence", "evidence", "looks"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Evidence(NamedTuple):
    """The arrays that weigh the hidden states. Sizes: N states, C classes of states, O outcomes, P processes.

    A class holds the states of a chain that look alike; an outcome is a class of each chain of a process, and whether
    it warns. Groups are processes and resources that have to be weighed together.
    """

    state_class: IntArray  # (N,)
    classes: int
    outcome_ptr: IntArray  # (P + 1,) outcomes of each process
    share: FloatArray  # (O,) of capacity
    warns: IntArray  # (O,) 1 where it warns
    factor: FloatArray  # (O,) probability of warning, or not, in these classes
    member_ptr: IntArray  # (O + 1,) classes of each outcome
    member: IntArray
    cause_ptr: IntArray  # (groups + 1,) processes that several resources may depend on
    cause: IntArray
    resource_ptr: IntArray  # (groups + 1,) resources of each group
    resource: IntArray
    own: IntArray  # (resources in groups,) own process, or -1
    behind_ptr: IntArray  # (resources in groups + 1,) places of its causes among those of the group
    behind: IntArray
    warned: IntArray  # (resources in groups,) 1 where warnings of it are seen


def looks(chain: Hidden) -> tuple[IntArray, list[tuple[float, bool, bool]]]:
    """The class of every state, and of every class its share, whether it is down and whether a failure is announced."""
    every = list(zip(chain.share.tolist(), chain.down.tolist(), chain.announced.tolist(), strict=True))
    found = sorted(set(every))
    return np.array([found.index(look) for look in every], dtype=np.int64), found


def evidence(
    entries: Sequence[Availability],
    chains: Sequence[Sequence[Hidden]],
    behind: Sequence[Sequence[int]],
    owns: Sequence[bool],
) -> Evidence:
    """The arrays of a network.

    Parameters
    ----------
    entries
        Every process, resources' own first.
    chains
        Of each process.
    behind
        Per resource, the processes that it depends on, its own first.
    owns
        Per resource, whether it has one of its own.
    """
    state_class, classes = [np.zeros(0, dtype=np.int64)], 0
    share: list[float] = []
    warns: list[int] = []
    factor: list[float] = []
    members: list[list[int]] = []
    outcomes = [0]
    for entry, found in zip(entries, chains, strict=True):
        options = []
        for chain in found:
            place, different = looks(chain)
            state_class.append(classes + place)
            options.append([(classes + k, *look) for k, look in enumerate(different)])
            classes += len(different)
        for chosen in itertools.product(*options):
            chance = 0.0
            if entry.warning is not None and not any(down for _, _, down, _ in chosen):
                due = any(announced for *_, announced in chosen)
                chance = entry.warning.recall if due else entry.warning.false_alarm
            for sign, probability in ((0, 1.0 - chance), (1, chance)):
                if probability > 0.0:
                    share.append(min((part for _, part, _, _ in chosen), default=1.0))
                    warns.append(sign)
                    factor.append(probability)
                    members.append([k for k, *_ in chosen])
        outcomes.append(len(share))
    groups = _groups(behind, owns)
    order = [r for _, resources in groups for r in resources]
    causes = {r: list(behind[r][owns[r] :]) for r in order}
    places = [[cause.index(p) for p in causes[r]] for cause, resources in groups for r in resources]
    return Evidence(
        state_class=np.concatenate(state_class),
        classes=classes,
        outcome_ptr=np.array(outcomes, dtype=np.int64),
        share=np.array(share, dtype=np.float64),
        warns=np.array(warns, dtype=np.int64),
        factor=np.array(factor, dtype=np.float64),
        member_ptr=_ptr(members),
        member=_flat(members),
        cause_ptr=_ptr([cause for cause, _ in groups]),
        cause=_flat([cause for cause, _ in groups]),
        resource_ptr=_ptr([resources for _, resources in groups]),
        resource=np.array(order, dtype=np.int64),
        own=np.array([behind[r][0] if owns[r] else -1 for r in order], dtype=np.int64),
        behind_ptr=_ptr(places),
        behind=_flat(places),
        warned=np.array([any(entries[p].warning is not None for p in behind[r]) for r in order], dtype=np.int64),
    )


def _groups(behind: Sequence[Sequence[int]], owns: Sequence[bool]) -> list[tuple[list[int], list[int]]]:
    """Causes and resources that have to be weighed together: those that a cause links."""
    found: list[tuple[list[int], list[int]]] = []
    for r, processes in enumerate(behind):
        if not processes:
            continue
        causes, resources = set(processes[owns[r] :]), [r]
        apart = []
        for others, members in found:
            if causes & set(others):
                causes |= set(others)
                resources = members + resources
            else:
                apart.append((others, members))
        found = [*apart, (sorted(causes), sorted(resources))]
    return found


def _ptr(groups: Sequence[Sequence[int]]) -> IntArray:
    return np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)


def _flat(groups: Sequence[Sequence[int]]) -> IntArray:
    return np.array([entry for group in groups for entry in group], dtype=np.int64)
