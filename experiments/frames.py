"""Results as tidy pandas frames: a row is an observation, a column a variable. What notebooks work with.

pandas comes with the extra ``frames``. It is no dependency: neither training nor a production system needs its size and
its half a second of import, and its releases would bind theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from agents.evaluation import Measurement
from agents.policy import Policy
from agents.registry import baseline
from envs.routing import RoutingTask
from envs.task import Task
from experiments.config import EnvConfig, EvaluationConfig, TuningConfig
from experiments.loading import LoadedRun, load_run
from experiments.monte_carlo import measure_blocks
from experiments.problems import baseline_problem, tune_all
from experiments.results import Pair, Row, rows_and_pairs
from experiments.statistics import Interval
from twin.economics import COST_TERMS
from twin.errors import ConfigError, did_you_mean
from twin.seeds import Purpose, world_seed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from experiments.compare import Compared

__all__ = ["ComparisonFrames", "compare", "evaluate", "pandas"]

_KEYS = ("policy", "training_seed", "seed", "path")
_TERMS = tuple(f"cost_{term.name}" for term in COST_TERMS)


def pandas() -> Any:
    """The package.

    Raises
    ------
    ImportError
        When it is not installed, with what to install.
    """
    try:
        import pandas as found
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise ImportError("frames need the package pandas: pip install 'cogtwin[frames]'") from error
    return found


def evaluate(
    policy: Policy | LoadedRun | str | Path,
    env: Any = None,
    seeds: int | Iterable[int] = 0,
    *,
    paths: int = 512,
    periods: int = 104,
    warm_up: int = 104,
    name: str | None = None,
    tuning: TuningConfig | None = None,
) -> pd.DataFrame:
    """Measure a policy on evaluation seeds, which neither training nor tuning uses.

    Parameters
    ----------
    policy
        Anything with ``predict``; a run (loaded, or its folder); or the name of a classical policy, tuned first.
    env
        An environment of this project, or its task. A run has its own; a classical policy acts in units on the
        network of ``env``, so that no action box clips it.
    seeds
        One or several; each gives ``paths`` paths.
    paths, periods, warm_up
        As in the evaluation configuration; a finite problem runs its horizon instead of ``warm_up`` and ``periods``.
    name
        In the column ``policy``.
    tuning
        Budget of a classical policy.

    Returns
    -------
    DataFrame
        A row per path: ``policy``, ``training_seed``, ``seed``, ``path``, ``cost`` (per period), ``fill_rate``,
        ``asked`` and ``served`` (units per period), and every cost term as ``cost_<term>``.

    Raises
    ------
    ConfigError
        When a classical policy does not exist or fit, or an environment is missing.

    Examples
    --------
    >>> import experiments
    >>> from envs.inventory import InventoryTask
    >>> task = InventoryTask("lost_sales_zipkin2008", action_mode="orders")
    >>> frame = experiments.evaluate("constant", task, seeds=[0, 1], paths=8, periods=20)
    >>> frame.groupby("seed").size().to_dict()
    {0: 8, 1: 8}
    """
    pd = pandas()
    chosen = [seeds] if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ConfigError(f"seeds: must be one or several different numbers, received {chosen}")
    acting, task, called, training_seed = _acting(policy, env, tuning)
    parts = []
    total = (task.horizon if task.finite else warm_up + periods) * paths * len(chosen)
    with tqdm(total=total, desc=f"evaluating {name or called}", unit="period", unit_scale=True, disable=None) as bar:
        for seed in chosen:
            world = world_seed(Purpose.EVALUATION, seed)
            found = measure_blocks(
                acting, task, seed=world, paths=paths, periods=periods, warm_up=warm_up, progress=bar.update
            )
            parts.append(_path_frame(pd, found, name or called, training_seed, seed))
    return pd.concat(parts, ignore_index=True)


def _acting(
    policy: Policy | LoadedRun | str | Path, env: Any, tuning: TuningConfig | None
) -> tuple[Policy, Task, str, int]:
    """What acts, where, its name, and its training seed."""
    if isinstance(policy, (str, Path)) and Path(policy).is_dir():
        policy = load_run(policy)
    if isinstance(policy, LoadedRun):
        config = policy.config
        return policy.policy, policy.task, config.agent.algorithm, config.training.seed
    if env is None:
        raise ConfigError("env: give an environment of this project or its task; only a run knows its own")
    # A gymnasium environment carries its task inside; a task is one already.
    task: Task = getattr(getattr(env, "unwrapped", env), "task", env)
    if not hasattr(task, "compiled"):
        raise ConfigError(f"env: must be an environment of this project or a task, received {type(env).__name__}")
    if isinstance(policy, (str, Path)):
        entry = baseline(str(policy))
        if isinstance(task, RoutingTask):
            raise ConfigError(
                f"policy: '{entry.name}' cannot be made for a liner network by its name alone; use "
                'experiments.compare(policies=[...], network=..., env="routing"), or give the policy itself'
            )
        settings = EnvConfig(horizon=task.horizon, finite=task.finite)
        tuned = tune_all(task.compiled, tuning or TuningConfig(), (entry.name,), env=settings)[entry.name]
        return *baseline_problem(task.compiled, settings, tuned), entry.name, 0
    return policy, task, type(policy).__name__, 0


def _path_frame(pd: Any, found: Measurement, name: str, training_seed: int, seed: int) -> Any:
    served = np.divide(found.served, found.asked, out=np.ones_like(found.served), where=found.asked > 0.0)
    columns: dict[str, Any] = {
        "policy": name,
        "training_seed": training_seed,
        "seed": seed,
        "path": np.arange(len(found.cost)),
        "cost": found.cost,
        "fill_rate": served,
        "asked": found.asked,
        "served": found.served,
    }
    return pd.DataFrame(columns | dict(zip(_TERMS, found.terms, strict=True)))


@dataclass(frozen=True)
class ComparisonFrames:
    """A comparison as frames.

    Attributes
    ----------
    policies
        A row per policy: ``policy``, ``training_seeds``, and of cost, interquartile mean, CVaR 95 %, fill rate and,
        where they are known, the distances to optimum and bound (per cent) the value and the ends of its interval.
    terms
        A row per policy and cost term: ``cost`` and its interval.
    differences
        A row per pair: the paired difference, in per cent too, the probability of improvement, each with its interval;
        ``p``, ``p_holm`` and ``verdict``.
    paths
        A row per policy, training seed and path: the costs that all the rest is made of.
    compared
        What a comparison of runs was made from: objects, ``save(folder)``, ``comparison.table()``; None of a comparison
        of frames. ``figures`` draws it.
    """

    policies: pd.DataFrame
    terms: pd.DataFrame
    differences: pd.DataFrame
    paths: pd.DataFrame
    compared: Compared | None = None

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The pictures of the report by name, drawn once: ``costs``, ``differences``, ``profile``, more by problem.

        Raises
        ------
        ConfigError
            Of a comparison of frames, which knows neither unit nor network.
        """
        if self.compared is None:
            raise ConfigError("figures: only of a comparison of runs= and policies=; a frame knows no unit, no network")
        from experiments.comparison_report import comparison_figures

        return {drawn.name: drawn.figure for drawn in comparison_figures(self.compared)}

    def _repr_html_(self) -> str:
        return str(self.policies.to_html(index=False) + self.differences.to_html(index=False))


def compare(
    frame: pd.DataFrame | None = None,
    *,
    runs: Sequence[str | Path] = (),
    policies: Sequence[str] | None = None,
    network: str | None = None,
    env: str | None = None,
    references: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    confidence: float = 0.95,
    resamples: int = 5000,
) -> ComparisonFrames:
    """Compare policies on the same paths: frames of :func:`evaluate`, or as ``python -m experiments.compare`` does.

    Parameters
    ----------
    frame
        What :func:`evaluate` gave for several policies, one below the other, on the same seeds.
    runs, policies, network, env
        As on the command line, when there is no frame.
    references
        What all others are compared with; every pair when left out.
    overrides
        Further words of the command line, for example ``["evaluation.paths=2048", "exact=true"]``.
    confidence, resamples
        Of the intervals, with a frame.

    Raises
    ------
    ConfigError
        When neither or both are given, policies were measured on different paths, or see
        :func:`experiments.compare.compare`.
    """
    if (frame is None) == (not runs and not policies):
        raise ConfigError("give either a frame of evaluate(), or runs= and policies=")
    if frame is None:
        from experiments.compare import compare as run_comparison

        found = run_comparison(_config(runs, policies, network, env, references, overrides))
        return _frames(found.comparison.rows, found.comparison.pairs, _paths_of(found), found)
    measurements = _measurements(frame)
    for reference in references or []:
        if reference not in measurements:
            allowed = ", ".join(measurements)
            raise ConfigError(
                f"references: no '{reference}' in the frame (allowed: {allowed}){did_you_mean(reference, measurements)}"
            )
    evaluation = EvaluationConfig(confidence=confidence, resamples=resamples)
    rows, pairs = rows_and_pairs(measurements, evaluation, references)
    return _frames(rows, pairs, frame)


def _config(
    runs: Sequence[str | Path],
    policies: Sequence[str] | None,
    network: str | None,
    env: str | None,
    references: Sequence[str] | None,
    overrides: Sequence[str],
) -> Any:
    from experiments.cli import configured
    from experiments.config import CompareConfig

    words = [f"{group}={value}" for group, value in (("network", network), ("env", env)) if value is not None]
    # Lists are set beside Hydra: a path may hold what its grammar reads as something else.
    lists: dict[str, Any] = {"runs": [str(run) for run in runs]}
    lists |= {} if policies is None else {"policies": list(policies)}
    lists |= {} if references is None else {"references": list(references)}
    return configured("compare", CompareConfig, [*words, *overrides], **lists)


def _measurements(frame: pd.DataFrame) -> dict[str, list[Measurement]]:
    """Policy -> a measurement for each training seed, all on the same paths in the same order."""
    wanted = [*_KEYS, "cost", "asked", "served", *_TERMS]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ConfigError(f"the frame has no column {', '.join(missing)}; give what experiments.evaluate() returns")
    out: dict[str, list[Measurement]] = {}
    first: list[tuple[int, int]] | None = None
    for (name, training_seed), part in frame.groupby(["policy", "training_seed"], sort=False):
        ordered = part.sort_values(["seed", "path"])
        here = list(zip(ordered["seed"].tolist(), ordered["path"].tolist(), strict=True))
        if first is None:
            first = here
        if here != first or len(set(here)) < len(here):
            twice = len(set(here)) < len(here)
            raise ConfigError(
                f"'{name}' (training seed {training_seed}) "
                + (
                    "was measured twice on the same paths"
                    if twice
                    else "was measured on other paths than the first policy"
                )
                + ": give each policy a name= of its own, and all the same seeds= and paths="
            )
        numbers = {key: ordered[key].to_numpy(dtype=np.float64) for key in ("cost", "asked", "served")}
        terms = ordered[list(_TERMS)].to_numpy(dtype=np.float64).T
        out.setdefault(str(name), []).append(Measurement(numbers["cost"], terms, numbers["asked"], numbers["served"]))
    if not out:
        raise ConfigError("the frame is empty")
    return out


def _paths_of(found: Compared) -> Any:
    pd = pandas()
    parts = []
    for one in found.contenders:
        seeds = one.about.get("training_seeds", [0])
        for seed, costs in zip(seeds, found.comparison.costs[one.name], strict=True):
            columns = {"policy": one.name, "training_seed": seed, "seed": found.config.evaluation.seed}
            parts.append(pd.DataFrame(columns | {"path": np.arange(len(costs)), "cost": costs}))
    return pd.concat(parts, ignore_index=True)


def _frames(
    rows: Sequence[Row], pairs: Sequence[Pair], paths: Any, compared: Compared | None = None
) -> ComparisonFrames:
    pd = pandas()
    policies = pd.DataFrame(
        [
            {
                "policy": row.policy,
                "training_seeds": row.seeds,
                **_columns("cost", row.cost),
                **_columns("iqm", row.middle),
                **_columns("cvar95", row.tail),
                **_columns("fill_rate", row.service),
                "exact_cost": np.nan if row.exact is None else row.exact,
                **_columns("gap_percent", row.gap),
                **_columns("over_bound_percent", row.over_bound),
                **_columns("gap_closed_percent", row.gap_closed),
            }
            for row in rows
        ]
    )
    terms = pd.DataFrame(
        [
            {"policy": row.policy, "term": name, **_columns("cost", value)}
            for row in rows
            for name, value in row.term_intervals.items()
        ]
    )
    differences = pd.DataFrame(
        [
            {
                "policy": pair.policy,
                "reference": pair.reference,
                **_columns("difference", pair.difference),
                **_columns("percent", pair.percent),
                **_columns("improvement", pair.improvement),
                "p": pair.p,
                "p_holm": pair.p_holm,
                "verdict": pair.verdict,
            }
            for pair in pairs
        ]
    )
    return ComparisonFrames(policies, terms, differences, paths, compared)


def _columns(name: str, value: Interval | None) -> dict[str, float]:
    if value is None:
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
