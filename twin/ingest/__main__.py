"""Command line: real networks and real data in, network files out.

``python -m twin.ingest willems`` reads a chain of Willems (2008), ``intel`` weekly orders with their forecasts, and
``tables`` a user's own CSV files; ``linerlib`` reads a published liner network, and ``ports`` a user's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from twin.errors import CogTwinError, DataError
from twin.files import write_text
from twin.ingest import intel, willems
from twin.ingest.assemble import build_network
from twin.ingest.csvfile import read_csv
from twin.ingest.liner_commands import linerlib_options, ports_options, run_linerlib, run_ports
from twin.ingest.mapping import load_mapping
from twin.ingest.output import refuse_existing, write_network
from twin.ingest.quality import left_behind, quality_report, quality_table, quarantine_text, shortfalls
from twin.ingest.tables import read_tables, table_files
from twin.ingest.template import write_template
from twin.ingest.willems_data import read_chain
from twin.network import Network

__all__ = ["main"]

EXAMPLES = """\
examples:
  python -m twin.ingest willems --stages stages.csv --links links.csv --chain 1 --output chain_1.yaml
  python -m twin.ingest intel --data msom.2020.0933.csv --center ALPHA --series 5 --output intel.yaml
  python -m twin.ingest tables --template my_tables
  python -m twin.ingest tables --folder my_tables --mapping my_tables/mapping.yaml --output network.yaml
  python -m twin.ingest linerlib --folder data --instance Baltic --log Baltic_best_base.log --output baltic.yaml
  python -m twin.ingest ports --plan plan.yaml --output liner.yaml
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.ingest",
        description="Make network files of real networks and real data.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="willems|intel|tables|linerlib|ports")
    _willems_parser(commands)
    _intel_parser(commands)
    _tables_parser(commands)
    linerlib_options(_add(commands, "linerlib", "a published network of the LINERLIB benchmark", 0))
    ports_options(_add(commands, "ports", "your own liner network, its sea distances computed", 0))
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: int
) -> argparse.ArgumentParser:
    line = [entry for entry in EXAMPLES.splitlines() if f"twin.ingest {name} " in entry][example].strip()
    command = commands.add_parser(
        name, help=text, description=f"{text}.", epilog=f"example: {line}", allow_abbrev=False
    )
    command.add_argument("--overwrite", action="store_true", help="replace files that exist; never one that is read")
    return command


def _willems_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add(commands, "willems", "one of the 38 real supply chains of Willems (2008) as a network", 0)
    command.add_argument("--stages", required=True, metavar="FILE", help="stages of all chains (CSV)")
    command.add_argument("--links", required=True, metavar="FILE", help="links of all chains (CSV)")
    command.add_argument("--chain", required=True, type=int, metavar="N", help="number of the chain, 1 to 38")
    command.add_argument("--output", required=True, type=Path, metavar="FILE", help="the network to write (YAML, JSON)")
    command.add_argument(
        "--holding-rate",
        type=float,
        default=willems.HOLDING_RATE,
        metavar="SHARE",
        help="holding cost a year as a share of a unit's cumulated cost (default %(default)s)",
    )
    command.add_argument(
        "--layout",
        choices=get_args(willems.Layout),
        default="compact",
        help="compact (default): stages are products of one site and links are inputs of recipes; sites: stages are "
        "sites and links are lanes",
    )


def _intel_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add(commands, "intel", "187 weeks of real orders with their forecasts as a network", 0)
    given = intel.Assumptions()
    command.add_argument("--data", required=True, metavar="FILE", help="msom.2020.0933.csv")
    command.add_argument("--output", required=True, type=Path, metavar="FILE", help="the network to write (YAML, JSON)")
    command.add_argument("--center", nargs="+", default=[], metavar="NAME", help="only these distribution centres")
    command.add_argument("--sku", nargs="+", default=[], metavar="NAME", help="only these SKUs")
    command.add_argument(
        "--series",
        type=int,
        default=10,
        metavar="K",
        help="how many series, those with orders in the most weeks first (default %(default)s)",
    )
    assumed = command.add_argument_group("assumptions, which the data do not have")
    for name, text in (
        ("lead_time", "weeks from order to receipt, mean"),
        ("lead_time_sd", "standard deviation of the lead time, weeks; above 0 it is a gamma"),
        ("unit_cost", "money per unit"),
        ("holding_rate_per_year", "holding cost a year as a share of the unit cost"),
        ("service_level", "that the penalty is derived from (newsvendor ratio)"),
    ):
        assumed.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            default=getattr(given, name),
            metavar="X",
            help=f"{text} (default %(default)s)",
        )
    assumed.add_argument(
        "--unmet",
        choices=("backlog", "lost"),
        default=given.unmet,
        help="what happens to unmet orders (default %(default)s)",
    )


def _tables_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add(commands, "tables", "your own CSV tables as a network", 1)
    command.add_argument("--folder", type=Path, metavar="DIR", help="where the tables are")
    command.add_argument("--mapping", type=Path, metavar="FILE", help="which column is what, in which units (YAML)")
    command.add_argument("--output", type=Path, metavar="FILE", help="the network to write (YAML, JSON)")
    command.add_argument(
        "--quarantine", type=Path, metavar="FILE", help="where bad rows go (CSV; <output>.quarantine.csv when absent)"
    )
    command.add_argument(
        "--report", type=Path, metavar="FILE", help="the quality report (JSON; <output>.quality.json when absent)"
    )
    command.add_argument(
        "--template", type=Path, metavar="DIR", help="write an example set of tables with its mapping here, and stop"
    )


def _willems(options: argparse.Namespace) -> None:
    refuse_existing([options.output], options.overwrite, inputs=[Path(options.stages), Path(options.links)])
    chain = read_chain(read_csv(options.stages), read_csv(options.links), options.chain)
    network = willems.build_network(chain, holding_rate=options.holding_rate, layout=options.layout)
    write_network(options.output, network, willems.chain_comment(chain))
    _summary(options.output, network)


def _intel(options: argparse.Namespace) -> None:
    refuse_existing([options.output], options.overwrite, inputs=[Path(options.data)])
    given = intel.Assumptions(
        options.lead_time,
        options.lead_time_sd,
        options.unit_cost,
        options.holding_rate_per_year,
        options.service_level,
        options.unmet,
    )
    history = intel.read_history(options.data)
    series = intel.select(history, centres=options.center, skus=options.sku, most=options.series)
    network = intel.build_network(history, series, given)
    write_network(
        options.output,
        network,
        "Real weekly orders with the forecasts made for them.\n"
        "Data: M. P. Manary and S. P. Willems, M&SOM 24(1):682-689, 2022; cite the paper where you use them.\n"
        "Lanes, lead times and costs are assumptions: see provenance, at the end.",
    )
    sys.stdout.write(intel.quality_table(series))
    _summary(options.output, network)


def _tables(options: argparse.Namespace) -> None:
    if options.template is not None:
        given = [name for name in ("folder", "mapping", "output", "quarantine", "report") if getattr(options, name)]
        given += ["overwrite"] if options.overwrite else []
        if given:
            listed = ", ".join(f"--{name}" for name in given)
            raise DataError(f"--template writes an example set and nothing else; leave out {listed}")
        for path in write_template(options.template):
            sys.stdout.write(f"{path}\n")
        return
    for name in ("folder", "mapping", "output"):
        if getattr(options, name) is None:
            raise DataError(f"--{name} is needed (or --template DIR for an example set)")
    output: Path = options.output
    if not output.name:
        raise DataError(f"{output} is a folder; give the name of a file")
    quarantine = options.quarantine or output.with_suffix(".quarantine.csv")
    report_path = options.report or output.with_suffix(".quality.json")
    mapping = load_mapping(options.mapping)
    refuse_existing(
        [output, quarantine, report_path],
        options.overwrite,
        inputs=[options.mapping, *table_files(options.folder, mapping).values()],
        # What a stopped import left behind does not stand in the way of the next one.
        replaceable=[] if output.exists() else left_behind(quarantine, report_path),
    )
    tables = read_tables(options.folder, mapping)
    report = quality_report(tables.audits, mapping)
    write_text(quarantine, quarantine_text(tables.audits))
    try:
        short = "\n".join(f"  - {line}" for line in shortfalls(tables.audits, mapping))
        if short:
            raise DataError(f"the tables are not good enough; no network is written\n{short}")
        network = build_network(tables, mapping)
        write_network(output, network, "Made of tables by python -m twin.ingest tables; see provenance, at the end.")
    except BaseException as error:
        report |= {"passed": False, "reason": str(error) or type(error).__name__}
        raise
    finally:
        write_text(report_path, json.dumps(report, indent=2) + "\n")
        bad = sum(audit.rows - audit.accepted for audit in tables.audits)
        sys.stdout.write(f"{quality_table(report)}{bad} rows in quarantine: {quarantine}; report: {report_path}\n")
    _summary(output, network)


def _summary(path: Path, network: Network) -> None:
    arcs = sum(len(lane.modes) for lane in network.lanes) + len(network.recipes)
    sys.stdout.write(
        f"{path}: {len(network.stock_points())} stock points, {arcs} arcs, {len(network.demands)} demand streams\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        {"willems": _willems, "intel": _intel, "tables": _tables, "linerlib": run_linerlib, "ports": run_ports}[
            options.command
        ](options)
    except (CogTwinError, ImportError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
