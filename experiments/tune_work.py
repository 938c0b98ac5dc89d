"""One training run of a search, by whatever worker: trained, and measured on the tuning block of seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.config import TrainConfig, parse
from experiments.training_work import train_at
from twin.seeds import Purpose

__all__ = ["trained", "tuning_costs"]


def tuning_costs(request: dict[str, Any]) -> list[float]:
    """Train in a folder, or go on there, and measure the best model.

    Parameters
    ----------
    request
        ``config`` (a training configuration), ``folder`` (of the run), ``tuned`` (where tuned policies are kept).

    Returns
    -------
    list of float
        Mean cost per period of each path. The paths are those of the tuning seeds: what is chosen by them is reported
        on others.
    """
    # Here, not above: it brings torch.
    from experiments.loading import load_run
    from experiments.monte_carlo import measure_evaluation

    config = parse(TrainConfig, request["config"])
    run = load_run(train_at(Path(request["folder"]), config, Path(request["tuned"])).path)
    evaluation = config.evaluation.model_copy(update={"seed": config.tuning.seed})
    costs: list[float] = measure_evaluation(run.policy, run.task, evaluation, purpose=Purpose.TUNING).cost.tolist()
    return costs


def trained(request: dict[str, Any]) -> str:
    """Train in a folder and measure nothing: the winner, on fresh seeds."""
    config = parse(TrainConfig, request["config"])
    return str(train_at(Path(request["folder"]), config, Path(request["tuned"])).path)
