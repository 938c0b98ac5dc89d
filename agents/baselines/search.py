"""Where to look next: CMA-ES in many dimensions, grids that are refined in two, one grid in one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.baselines.ordering import ParameterSpace

__all__ = ["Evolution", "line", "refined_grid"]

FloatArray = NDArray[np.float64]

#: Points of a one-dimensional grid.
_LINE = 241
#: Points a side of a two-dimensional grid, and of each one that refines it.
_COARSE, _FINE = 25, 9
#: How often it is refined, and how many of each grid's best go to the final.
REFINEMENTS, _KEPT = 3, 12


def line(space: ParameterSpace) -> FloatArray:
    """The candidates for a single parameter, shape (241, 1)."""
    return space.rounded(np.linspace(space.low, space.high, _LINE))


def refined_grid(
    space: ParameterSpace,
    evaluate: Callable[[FloatArray], FloatArray],
    progress: Callable[[int, int, float], None] | None = None,
) -> FloatArray:
    """The best candidates for two parameters: of a grid, then of finer ones around the best point so far.

    Parameters
    ----------
    evaluate
        Costs (N,) of candidates (N, 2), on fresh paths at every call.
    progress
        Called with (grids done, grids, lowest cost so far).

    Returns
    -------
    ndarray, shape (finalists, 2)
    """
    low, high, sides, kept, lowest = space.low, space.high, _COARSE, [space.start[None]], np.inf
    for grid in range(REFINEMENTS + 1):
        axes = [np.linspace(low[k], high[k], sides) for k in range(2)]
        field = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        field = np.unique(space.rounded(field), axis=0)
        cost = evaluate(field)
        order = np.argsort(cost, kind="stable")
        kept.append(field[order[:_KEPT]])
        lowest = min(lowest, float(cost[order[0]]))
        step = (high - low) / (sides - 1)
        low, high = (np.clip(field[order[0]] + sign * step, space.low, space.high) for sign in (-1.0, 1.0))
        sides = _FINE
        if progress is not None:
            progress(grid + 1, REFINEMENTS + 1, lowest)
    return space.rounded(np.concatenate(kept))


#: First standard deviation of a search, as a share of the upper bound.
_SPREAD = 0.15
#: First and least standard deviation of a number of which there are few, in steps: of a number that lies at its mean
#: one candidate in twenty is another one at least.
_FEW_FIRST, _FEW_LEAST = 0.75, 0.25


class Evolution:
    """CMA-ES in units of the upper bounds (Hansen & Ostermeier 2001, Evolutionary Computation 9(2); package ``cma``).

    It has a random generator of its own: the package would seed numpy's global one.
    """

    def __init__(self, space: ParameterSpace, seed: list[int], candidates: int) -> None:
        import cma

        self._space = space
        random = np.random.default_rng(seed)
        low = space.low / space.high
        options = {
            "popsize": candidates,
            "bounds": [low.tolist(), [1.0] * len(space)],
            "randn": lambda *shape: random.standard_normal(shape),
            "seed": np.nan,
            "verbose": -9,
        }
        if space.few.any():
            # As in CMA-ES with margin (Hamano, Saito, Nomura & Shirakawa 2022, GECCO): neighbours stay in sight.
            step = 1.0 / space.high
            options["CMA_stds"] = np.where(space.few, np.maximum(1.0, _FEW_FIRST * step / _SPREAD), 1.0)
            options["minstd"] = np.where(space.few, _FEW_LEAST * step, 0.0)
        self._strategy = cma.CMAEvolutionStrategy(np.clip(space.start / space.high, low, 1.0), _SPREAD, options)
        self._asked: list[FloatArray] = []

    def ask(self) -> FloatArray:
        """Candidates, shape (N, P)."""
        self._asked = self._strategy.ask()
        return self._space.rounded(np.stack(self._asked) * self._space.high)

    def tell(self, cost: FloatArray) -> None:
        """Costs of the candidates last asked for, shape (N,)."""
        self._strategy.tell(self._asked, cost.tolist())

    @property
    def favourite(self) -> FloatArray:
        """Centre of the search distribution, shape (P,)."""
        return np.asarray(self._strategy.result.xfavorite) * self._space.high
