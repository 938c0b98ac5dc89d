"""What happened on the evaluation paths, and a comparison split by it: how severe the outages were, how long they took.

What fails on a path is the same for every policy, so that the split is one of the paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from envs.core import Batch
from envs.task import Task
from experiments.config import EvaluationConfig
from experiments.statistics import Interval, mean_interval, paired_difference
from twin.seeds import Purpose, world_seed

__all__ = ["Group", "Outages", "outages_on_paths", "split"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Share left up to which an outage is severe; what leaves nothing is a closure.
_SEVERE = 1.0 / 3.0

#: Paths of which a group is shown.
_FEWEST_PATHS = 5

#: Replicas whose draws are held at once.
_TOGETHER = 128


@dataclass(frozen=True)
class Outages:
    """Of n paths.

    Attributes
    ----------
    left
        (n,) least share that any resource was left with; 1 where all worked throughout.
    longest
        (n,) most periods on end in which a resource worked in part or not at all, recovery included.
    at_end
        (n,) whether something still fails in the last period of a horizon; what it costs later is then not counted.
    """

    left: FloatArray
    longest: FloatArray
    at_end: BoolArray


@dataclass(frozen=True)
class Group:
    """Paths that had much the same.

    Attributes
    ----------
    severity, duration
        In words.
    paths
        How many.
    costs
        Policy -> mean cost per period.
    differences
        Policy -> (policy - reference) over the same paths; the first policy that another is compared with.
    reference
        Its name; empty where there is none.
    """

    severity: str
    duration: str
    paths: int
    costs: dict[str, Interval]
    differences: dict[str, Interval]
    reference: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "severity": self.severity,
            "duration": self.duration,
            "paths": self.paths,
            "costs": {name: value.to_dict() for name, value in self.costs.items()},
            "reference": self.reference,
            "differences": {name: value.to_dict() for name, value in self.differences.items()},
        }


def outages_on_paths(task: Task, evaluation: EvaluationConfig) -> Outages | None:
    """What fails on the evaluation paths of a task, in the periods that count; None where nothing ever fails."""
    if task.compiled.disruptions is None and not task.compiled.resource_failure.any():
        return None
    decisions = task.horizon if task.finite else evaluation.warm_up + evaluation.periods
    periods = decisions * task.periods_per_decision
    skipped = 0 if task.finite else evaluation.warm_up * task.periods_per_decision
    left, longest, at_end = [], [], []
    starts = range(0, evaluation.paths, _TOGETHER)
    for first in tqdm(starts, desc="outages on the paths", unit="block", disable=None, leave=False):
        slots = np.arange(first, min(first + _TOGETHER, evaluation.paths), dtype=np.uint32)
        batch = Batch(task, len(slots))
        seed = np.full(len(slots), world_seed(Purpose.EVALUATION, evaluation.seed), dtype=np.uint64)
        batch.reset(seed, slots, np.zeros_like(slots))
        state = batch.twin.state
        drawn = batch.twin.tape.block(state, periods).availability
        works = np.concatenate([state.arrays.availability[None], drawn[:-1]])[skipped:]
        left.append(works.min(axis=(0, 1), initial=1.0))
        longest.append(_longest_run(works < 1.0))
        at_end.append((works[-1] < 1.0).any(axis=0) & task.finite)
    found = Outages(np.concatenate(left), np.concatenate(longest), np.concatenate(at_end))
    return found if (found.left < 1.0).any() else None


def _longest_run(down: BoolArray) -> FloatArray:
    """Most periods on end, over resources: (T, R, B) -> (B,)."""
    run = np.zeros(down.shape[1:])
    most = np.zeros(down.shape[1:])
    for now in down:
        run = (run + 1.0) * now
        np.maximum(most, run, out=most)
    return np.asarray(most.max(axis=0, initial=0.0))


def split(
    outages: Outages,
    costs: Mapping[str, FloatArray],
    reference: str | None,
    period: str,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
) -> tuple[Group, ...]:
    """Costs by severity, and by thirds of the duration within it; groups of fewer than 5 paths are left out.

    Parameters
    ----------
    outages
        Of the paths.
    costs
        Policy -> (S, N) mean cost per period by training seed and path.
    reference
        Policy that the others are compared with.
    period
        What a period is called.
    """
    severities = {
        "none": outages.left >= 1.0,
        "closed": outages.left <= 0.0,
        "at most a third left": (outages.left > 0.0) & (outages.left <= _SEVERE),
        "more than a third left": (outages.left > _SEVERE) & (outages.left < 1.0),
    }
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples}
    groups = []
    for severity, hit in severities.items():
        for duration, those in _thirds(outages.longest, hit, period):
            if those.sum() < _FEWEST_PATHS:
                continue
            mean = {name: values.mean(axis=0)[those] for name, values in costs.items()}
            against = {} if reference is None else {n: mean[n] for n in mean if n != reference}
            groups.append(
                Group(
                    severity,
                    duration,
                    int(those.sum()),
                    {name: mean_interval(values, **options) for name, values in mean.items()},
                    {
                        name: paired_difference(values, mean[str(reference)], **options)
                        for name, values in against.items()
                    },
                    reference or "",
                )
            )
    return tuple(groups)


def _thirds(longest: FloatArray, hit: BoolArray, period: str) -> list[tuple[str, BoolArray]]:
    """Paths in three bands of the duration, in words; one where all took the same."""
    if not hit.any():
        return []
    values = longest[hit]
    if values.min() == values.max():
        return [("-" if values.max() == 0.0 else f"{values.max():.0f} {period}s", hit)]
    edges = np.unique(np.quantile(values, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]).round())
    out = []
    for k, (low, high) in enumerate(pairwise(edges)):
        those = hit & (longest <= high) & ((longest > low) if k else (longest >= low))
        if those.any():
            out.append((f"{longest[those].min():.0f} to {longest[those].max():.0f} {period}s", those))
    return out
