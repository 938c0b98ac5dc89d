"""Run a benchmark suite: ``python -m experiments.benchmark suite=zipkin jobs=2``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.benchmark_config import BenchmarkConfig
from experiments.benchmark_items import Item, suite_items
from experiments.benchmark_table import SuiteTable, suite_table
from experiments.benchmark_work import failure, item_path, job, run_path
from experiments.cli import run_command, say
from experiments.folders import held
from experiments.launchers import Job, Outcome, make_launcher, several
from twin.errors import ConfigError, did_you_mean

__all__ = ["BenchmarkResult", "benchmark", "main"]

HELP = """
Train, tune and evaluate every policy of a suite on every problem of it, beside the known optimum.

  python -m experiments.benchmark suite=zipkin jobs=2
  python -m experiments.benchmark suite=zipkin jobs=16 launcher=ray
  python -m experiments.benchmark suite=zipkin only=poisson-lead_time-4
  python -m experiments.benchmark suite=serial only=pathwise again=true
  python -m experiments.benchmark suite=one_warehouse smoke=true

Results lie in runs/benchmark/<suite>/: table.md, table.csv and table.json, and one file per item in items/. A second
start does what is missing: items that are finished are kept, those that failed are tried again, trainings that were
stopped (Ctrl-C) go on, and items whose definition or network has changed are done anew. After a change of the program
use again=true. Exit code 1 when an item failed. launcher=processes|ray|serial says where items are done.

A suite is a file of configs/suite; its entries are agents (configs/agent with overrides) or classical policies.
"""


@dataclass(frozen=True)
class BenchmarkResult:
    """What a run of a suite left behind.

    Attributes
    ----------
    folder
        Of the suite.
    table
        Of all finished items of the suite, those of earlier runs included.
    done
        Names of the items that this run did.
    failed
        Name -> reason, of this run's items.
    """

    folder: Path
    table: SuiteTable
    done: tuple[str, ...]
    failed: dict[str, str]


def benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    """Do what is missing of a suite and write its table.

    Raises
    ------
    ConfigError
        When an entry does not resolve, or ``only`` fits no item.
    RunError
        When another process works on the same suite.
    KeyboardInterrupt
        After Ctrl-C; the table of what is finished is written.
    """
    suite = config.suite
    items = suite_items(suite, smoke=config.smoke)
    chosen = _chosen(items, config.only)
    folder = Path(config.output) / (f"{suite.name}_smoke" if config.smoke else suite.name)
    launcher = make_launcher(config.launcher, config.jobs, folder / "logs")
    (folder / "items").mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    ended: list[str] = []
    with held(folder):
        if config.again:
            _forget(chosen, folder)
        missing = {item.name: item for item in chosen if _finished(item, folder) is None}
        for item in missing.values():  # what is there is void: what ends without a word must not find an older one's
            item_path(folder, item).unlink(missing_ok=True)
        with tqdm(total=len(chosen), initial=len(chosen) - len(missing), unit="item", disable=None) as bar:
            bar.set_description(suite.name)

            def done(job: Job, outcome: Outcome) -> None:
                item = missing[job.name]
                if outcome.error is not None:
                    failure(item, folder, outcome.error, outcome.details)
                result = _stored(item, folder)
                ended.append(item.name)
                succeeded = result.get("status") == "finished"
                if not succeeded:
                    failed[item.name] = str(result.get("error", "no result"))
                bar.write(f"{item.name}: " + (_line(result) if succeeded else f"FAILED: {failed[item.name]}"))
                bar.update()

            try:
                launcher.run(several(job(item, folder) for item in missing.values()), done)
            finally:
                results = [result for item in items if (result := _finished(item, folder)) is not None]
                table = suite_table(suite, results, len(items))
                table.save(folder)
    return BenchmarkResult(folder, table, tuple(ended), failed)


def _chosen(items: Sequence[Item], only: str | None) -> list[Item]:
    chosen = [item for item in items if only is None or only in item.name]
    if not chosen:
        names = [item.name for item in items]
        raise ConfigError(f"only: no item has '{only}' in its name, as in '{names[0]}'{did_you_mean(only, names)}")
    return chosen


def _forget(items: Sequence[Item], folder: Path) -> None:
    """Remove what earlier runs know of items, so that they start from the beginning."""
    shutil.rmtree(folder / "tuned", ignore_errors=True)
    for item in items:
        item_path(folder, item).unlink(missing_ok=True)
        shutil.rmtree(run_path(folder, item), ignore_errors=True)


def _stored(item: Item, folder: Path) -> dict[str, Any]:
    """What is stored of an item; empty where there is nothing that can be read."""
    path = item_path(folder, item)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _finished(item: Item, folder: Path) -> dict[str, Any] | None:
    """The result of an item, if it finished and is of this very definition and network."""
    result = _stored(item, folder)
    return result if result.get("status") == "finished" and result.get("hash") == item.hash else None


def _line(result: dict[str, Any]) -> str:
    cost, optimum = result["cost"], result["optimum"]
    gap = f", {100 * (cost / optimum - 1):+.3f} % over the optimum" if optimum else ""
    return f"cost {cost:.6g}{gap}, {result['seconds']:,.1f} s"


def _command(config: BenchmarkConfig) -> None:
    result = benchmark(config)
    say("\n" + result.table.text())
    say(f"written to: {result.folder}")
    for name, reason in result.failed.items():
        sys.stderr.write(f"FAILED {name}: {reason}\n")
    if result.failed:
        sys.exit(1)


def main() -> None:
    """Command line."""
    run_command("benchmark", BenchmarkConfig, _command, HELP)


if __name__ == "__main__":
    main()
