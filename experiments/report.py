"""One page about a run or a suite: ``python -m experiments.report run=<folder>``."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmark_config import SuiteConfig
from experiments.cli import run_command, say
from experiments.report_run import run_page
from experiments.report_suite import suite_page
from experiments.runs import RunFolder
from twin.errors import ConfigError, RunError, did_you_mean
from twin.files import write_text
from twin.schema import Flag, StrictModel

__all__ = ["ReportConfig", "main", "report"]

HELP = """
Write one HTML page that opens without a server and without a network: about a training run (learning curves, what the
cost is made of, the comparison where there is one, configuration, versions), or about a suite (tables, gaps, profiles,
what failed).

  python -m experiments.report run=runs/essential_medicines_ppo/<folder>
  python -m experiments.report suite=zipkin
  python -m experiments.report suite=zipkin smoke=true output=zipkin.html

The page is report.html in the folder of the run or the suite, made anew by every call, or what output= names. Nothing
is simulated: it shows what is stored. A comparison has its page from python -m experiments.compare.
"""


class ReportConfig(StrictModel):
    """Everything ``experiments.report`` needs."""

    run: str | None = None
    suite: SuiteConfig | None = None
    results: str = "runs/benchmark"
    smoke: Flag = False
    output: str | None = None


def report(config: ReportConfig) -> Path:
    """Write the page; returns its path.

    Raises
    ------
    ConfigError
        When neither a run nor a suite is given, or both.
    RunError
        When its folder is missing or holds no results.
    """
    if (config.run is None) == (config.suite is None):
        raise ConfigError("give either run=<run folder> or suite=<name of a suite>")
    if config.run is not None:
        folder = RunFolder.open(config.run).path
        text = run_page(folder)
    else:
        folder = _suite_folder(config)
        text = suite_page(folder)
    target = Path(config.output) if config.output is not None else folder / "report.html"
    if target.is_dir():
        target = target / "report.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text)
    return target


def _suite_folder(config: ReportConfig) -> Path:
    suite = config.suite.name if config.suite is not None else ""
    name = f"{suite}_smoke" if config.smoke else suite
    results = Path(config.results)
    folder = results / name
    if not (folder / "table.json").is_file():
        have = sorted(path.parent.name for path in results.glob("*/table.json"))
        raise RunError(
            f"no results of the suite '{name}' in {results} (there are: {', '.join(have) or 'none'})"
            f"{did_you_mean(name, have)}; run it with python -m experiments.benchmark suite={suite}"
            f"{' smoke=true' if config.smoke else ''}"
        )
    return folder


def _command(config: ReportConfig) -> None:
    say(f"report: {report(config)}")


def main() -> None:
    """Command line."""
    run_command("report", ReportConfig, _command, HELP)


if __name__ == "__main__":
    main()
