"""What the stored results of a suite say: gaps, paired differences and distances to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.statistics import FEWEST_IN_TAIL, Interval, mean_interval, paired_difference, tail_interval

__all__ = ["Result", "Row", "table_row"]

#: What :func:`experiments.benchmark_work.do_item` stores.
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes
    ----------
    cell, entry, seed
        What was done; the seed is None where nothing is trained.
    optimum
        Known least cost per period, or None.
    cost
        Per period; an exact cost, and that of a single path, has no width.
    tail
        Cost over the worst 5 % of paths (CVaR 95 %); None where it is exact or there are few paths.
    exact
        Whether the cost is exact.
    gap
        Cost over the optimum, per cent of it; None where it is not known.
    differences
        Cost over that of the suite's references in the same cell, per cent of theirs, paired path by path.
    over_bound
        Cost over the hindsight bound on the paths that it was computed on, per cent of it.
    seconds
        Learning, or tuning, or computing the bound.
    """

    cell: str
    entry: str
    seed: int | None
    optimum: float | None
    cost: Interval
    tail: Interval | None
    exact: bool
    gap: Interval | None
    differences: dict[str, Interval]
    over_bound: Interval | None
    seconds: float


def table_row(result: Result, references: Sequence[str], results: Sequence[Result]) -> Row:
    """The row of a result.

    Parameters
    ----------
    references
        Entries that it is compared with.
    results
        All results; those of its cell stand beside it.
    """
    beside = [other for other in results if other["cell"] == result["cell"]]
    bound = next((o for o in beside if o["kind"] == "bound" and o is not result), None)
    is_bound, optimum, cost = result["kind"] == "bound", result["optimum"], _interval(result)
    differences = {
        other["entry"]: over
        for other in beside
        if other["entry"] in references
        and other["entry"] != result["entry"]
        and not is_bound
        and (over := _over(result, other)) is not None
    }
    return Row(
        cell=result["cell"],
        entry=result["entry"],
        seed=result["seed"] if result["kind"] == "agent" else None,
        optimum=optimum,
        cost=cost,
        tail=tail_interval(np.array(costs)) if len(costs := result.get("costs", [])) >= FEWEST_IN_TAIL else None,
        exact="bounds" in result,
        gap=None if not optimum or is_bound else _share(cost, optimum, optimum),
        differences=differences,
        over_bound=None if bound is None else _over(result, bound),
        seconds=result["seconds"],
    )


def _interval(result: Result) -> Interval:
    if "costs" in result:
        return mean_interval(np.array(result["costs"]))
    return Interval(result["cost"], result["cost"], result["cost"])


def _over(result: Result, other: Result) -> Interval | None:
    """Cost over that of another result, per cent; None where they cannot be compared."""
    if "costs" not in result and "costs" not in other:
        return _share(_interval(result), other["cost"], other["cost"])
    if result.get("paths") != other.get("paths"):
        return None
    # A bound knows the first of the paths.
    paths = min(len(result["costs"]), len(other["costs"]))
    mine, theirs = np.array(result["costs"][:paths]), np.array(other["costs"][:paths])
    return _share(paired_difference(mine, theirs), 0.0, float(theirs.mean()))


def _share(value: Interval, base: float, unit: float) -> Interval:
    scale = 100.0 / abs(unit) if unit else np.nan
    return Interval(scale * (value.mean - base), scale * (value.low - base), scale * (value.high - base))
