"""What goes into a bundle beside the policy: what it was measured to do, its fallback, what usual states look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agents.advisor.outliers import fit_outliers
from agents.bundle_fallback import Fallback
from agents.bundle_rollout import Act, as_told, episodes_of
from agents.bundle_writer import make_spec
from envs.task import Task
from experiments.config import EnvConfig, EvaluationConfig
from experiments.contenders import Contender, measure_contenders
from experiments.launchers import Serial
from experiments.problems import parameter_names
from experiments.results import compare
from experiments.results_files import comparison_data
from twin.compile import CompiledNetwork
from twin.errors import BundleError, ConfigError, did_you_mean
from twin.seeds import Purpose, world_seed

__all__ = ["check_episodes", "chosen_fallback", "measured", "usual_states"]

#: Periods of an episode that usual states are taken from, at most.
_PERIODS = 104
#: Numbers of a state of which correlations are kept: their square has to fit into ood.json.
_MOST_FIELDS = 1500


def measured(
    compiled: CompiledNetwork, env: EnvConfig, evaluation: EvaluationConfig, contenders: Sequence[Contender]
) -> dict[str, Any]:
    """Everyone on the same evaluation paths, as ``comparison.json`` has it, the exported policy first."""
    found = compare(
        compiled.network,
        evaluation,
        measure_contenders(contenders, evaluation, Serial()),
        [one.name for one in contenders[1:]],
        horizon=env.horizon if env.finite else None,
    )
    about = {one.name: one.about.get("training_seeds", []) for one in contenders}
    return {**comparison_data(found), "training_seeds": about}


def chosen_fallback(
    name: str | None, task: Task, contenders: Sequence[Contender], comparison: Mapping[str, Any]
) -> tuple[str, Mapping[str, float], Mapping[str, Any]] | None:
    """The tuned classical policy to fall back on: the one that is asked for, or the cheapest that fits.

    Raises
    ------
    ConfigError
        When the one that is asked for was not tuned, or cannot act on the policy's observations.
    """
    tuned = {one.name: one.tuned for one in contenders if one.tuned is not None}
    if name is not None and name not in tuned:
        raise ConfigError(
            f"fallback: no tuned policy '{name}' (allowed: {', '.join(tuned)}){did_you_mean(name, tuned)}"
        )
    costs = {row["policy"]: row["cost"]["mean"] for row in comparison["policies"]}
    spec = make_spec(task, task.codec if task.codec.mode != "orders" else None)
    for candidate in [name] if name is not None else sorted(tuned, key=lambda one: float(costs[one])):
        entry = tuned[candidate]
        parameters = dict(zip(parameter_names(task.compiled, candidate), entry.parameters.tolist(), strict=True))
        stated = {
            "tuning_cost": entry.cost,
            "tuning_standard_error": entry.standard_error,
            "evaluation_cost": costs[candidate],
        }
        try:
            Fallback.build(candidate, parameters, stated, spec, lambda: task.compiled)
        except BundleError as error:
            if name is not None:
                raise ConfigError(f"fallback: {error}") from None
            continue
        return candidate, parameters, stated
    return None


def check_episodes(task: Task, episodes: int) -> None:
    """See that there is room for a picture of how all numbers of a state hang together.

    Raises
    ------
    ConfigError
        When there are too many of them.
    """
    fields = len(as_told(task).fields)
    if episodes and fields > _MOST_FIELDS:
        raise ConfigError(
            f"episodes: a state of {task.compiled.network.name} has {fields} numbers, and what usual ones look like "
            f"can be learnt of {_MOST_FIELDS} at most (allowed: episodes=0)"
        )


def usual_states(task: Task, act: Act, episodes: int) -> dict[str, Any]:
    """What states look like under the policy, and how often those of other episodes raise an alarm.

    Parameters
    ----------
    episodes
        So many to fit and calibrate, and half as many held out.
    """
    periods = min(task.horizon * task.periods_per_decision, _PERIODS)
    fitted, held_out = (
        episodes_of(task, act, seed=world_seed(Purpose.MONITORING, k), number=number, periods=periods)
        for k, number in enumerate((episodes, max(1, episodes // 2)))
    )
    model = fit_outliers(fitted, [field.name for field in as_told(task).fields])
    return {**model.to_dict(), "held_out": asdict(model.false_alarms(held_out))}
