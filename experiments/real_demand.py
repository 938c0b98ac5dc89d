"""Policies on real orders: ``python -m experiments.real_demand data=msom.2020.0933.csv``."""

from __future__ import annotations

import json
from pathlib import Path

from tqdm import tqdm

from experiments.cli import run_command, say
from experiments.real_demand_config import RealDemandConfig
from experiments.real_demand_study import Played, Study
from experiments.real_demand_table import RealDemandTable, real_demand_table
from experiments.runs import RunFolder, versions
from twin.files import write_text
from twin.ingest.intel import read_history

__all__ = ["main", "real_demand"]

HELP = """
Compare a learned policy with tuned classical rules on recorded weekly orders and forecasts.

  python -m experiments.real_demand data=msom.2020.0933.csv
  python -m experiments.real_demand data=msom.2020.0933.csv forecast_lag=1
  python -m experiments.real_demand data=msom.2020.0933.csv lead_time=8 penalty=19 learner.seeds=[0]
  python -m experiments.real_demand data=msom.2020.0933.csv learner.updates=20 search.generations=2

The data are those of Manary & Willems (2022), "187 Weeks of Customer Forecasts and Orders for Microprocessors from
Intel Corporation", M&SOM 24(1):682-689, and do not come with this package; any file with the same columns will do.
The learned policy is trained on the first weeks, everything is tuned on the next ones, and the rest is reported; no
decision sees anything later than itself. Lead time and costs are not in the data: they are assumptions of the command.
Every key of configs/real_demand.yaml can be set with key=value. The table goes to the screen and, as text, CSV and
JSON, into a new folder below runs/real_demand.
"""


def real_demand(config: RealDemandConfig) -> RealDemandTable:
    """Tune, train, play and compare.

    Raises
    ------
    DataError
        When the file cannot be read.
    ConfigError
        When the weeks of the file do not suffice.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # arrays of a few hundred series: more threads only wait for each other
    try:
        return _compared(Study(read_history(config.data), config))
    finally:
        torch.set_num_threads(threads)


def _compared(study: Study) -> RealDemandTable:
    played: dict[str, Played] = {}
    for name, entry in tqdm(study.classical(), desc="tuning rules", unit="rule", disable=None, leave=False):
        played[name] = entry
    updates, trainings = study.learning.updates, 2 * len(study.config.learner.seeds)
    with tqdm(total=trainings, desc="training", unit="policy", disable=None, leave=False) as bar:

        def show(number: int, steps: int, cost: float) -> None:
            bar.update(number - bar.n)
            bar.set_postfix_str(f"step {steps}/{updates}, tune cost {cost:.3f}")

        played.update(study.learned(show))
    played["perfect_foresight"] = study.foresight()
    return real_demand_table(study, played)


def _command(config: RealDemandConfig) -> None:
    table = real_demand(config)
    folder = RunFolder.create(config.output, "real_demand").path
    table.save(folder)
    write_text(folder / "run.json", json.dumps({"versions": versions()}, indent=2) + "\n")
    say(table.text())
    say(f"written to: {Path(folder)}")


def main() -> None:
    """Command line."""
    run_command("real_demand", RealDemandConfig, _command, HELP)


if __name__ == "__main__":
    main()
