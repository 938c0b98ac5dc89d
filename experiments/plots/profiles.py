"""Performance profiles: on which share of problems and seeds a policy is within a distance of the best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.plots.style import colours, label, new_figure, tidy

__all__ = ["profile", "profile_figure"]

FloatArray = NDArray[np.float64]


def profile(scores: FloatArray, at: FloatArray) -> FloatArray:
    """Share of scores that are at most each of ``at``.

    Dolan & More (2002), Mathematical Programming 91:201-213; with training runs as scores the run-score distribution of
    Agarwal et al. (2021), NeurIPS 34, section 4.3.
    """
    return np.searchsorted(np.sort(np.asarray(scores, dtype=np.float64).ravel()), at, side="right") / np.size(scores)


def profile_figure(
    scores: Mapping[str, FloatArray], *, xlabel: str, what: str, confidence: float = 0.95, resamples: int = 500
) -> Figure:
    """Profiles with pointwise bootstrap bands; higher and further left is better.

    Parameters
    ----------
    scores
        Policy -> scores, lower is better: of shape (n,), or (groups, n) where scores of a column belong together (the
        paths of several training seeds, the seeds of a problem) and are drawn together.
    xlabel
        What a score is, with its unit.
    what
        What a score is of, in the plural (``paths``, ``problems and seeds``).
    """
    figure = new_figure(8, 4.4)
    axis = figure.subplots()
    every = np.concatenate([np.asarray(values).ravel() for values in scores.values()])
    low, high = float(every.min()), float(np.quantile(every, 0.995))
    at = (
        np.linspace(low - 0.02 * (high - low), high + 0.02 * (high - low), 241)
        if high > low
        else np.array([low, low + 1])
    )
    tail = 0.5 - 0.5 * confidence
    for k, (colour, (name, values)) in enumerate(zip(colours(), scores.items(), strict=False)):
        table = np.atleast_2d(np.asarray(values, dtype=np.float64))
        rng = np.random.default_rng(0)
        drawn = [profile(table[:, rng.integers(table.shape[1], size=table.shape[1])], at) for _ in range(resamples)]
        below, above = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        axis.fill_between(at, 100 * below, 100 * above, color=colour, alpha=0.18, lw=0, step="post")
        style = ("-", "--", "-.", ":")[k % 4]
        axis.plot(
            at, 100 * profile(table, at), color=colour, lw=1.8, ls=style, label=label(name), drawstyle="steps-post"
        )
    axis.set_xlabel(xlabel)
    axis.set_ylabel(f"share of {what}\nat or below, %")
    axis.set_ylim(0, 102)
    axis.margins(x=0)
    tidy(axis)
    axis.legend(frameon=False, loc="lower right")
    return figure
