"""The parts of the command line that make liner networks: ``linerlib`` and ``ports``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from twin.ingest import linerlib, port_list
from twin.ingest.output import refuse_existing, write_network
from twin.liner.network import LinerNetwork

__all__ = ["linerlib_options", "ports_options", "run_linerlib", "run_ports"]


def linerlib_options(command: argparse.ArgumentParser) -> None:
    """Options of ``linerlib``."""
    command.add_argument("--folder", required=True, type=Path, metavar="DIR", help="the benchmark's data folder")
    command.add_argument("--instance", required=True, metavar="NAME", help="for example Baltic, WAF or Mediterranean")
    command.add_argument("--log", required=True, type=Path, metavar="FILE", help="log of a published network")
    command.add_argument("--output", required=True, type=Path, metavar="FILE", help="the network to write (YAML, JSON)")


def ports_options(command: argparse.ArgumentParser) -> None:
    """Options of ``ports``."""
    command.add_argument(
        "--plan", required=True, type=Path, metavar="FILE", help="ports, vessel classes, services, demands (YAML, JSON)"
    )
    command.add_argument("--ports", type=Path, metavar="FILE", help="what is known of ports, by code (CSV)")
    command.add_argument("--demands", type=Path, metavar="FILE", help="the demands, where the plan has none (CSV)")
    command.add_argument(
        "--closable",
        nargs="*",
        default=list(port_list.CLOSABLE),
        metavar="PASSAGE",
        help="passages that may close; there is a way around for each set of them (default: suez panama)",
    )
    command.add_argument("--output", required=True, type=Path, metavar="FILE", help="the network to write (YAML, JSON)")


def run_linerlib(options: argparse.Namespace) -> None:
    """Run ``linerlib``."""
    refuse_existing([options.output], options.overwrite, inputs=[options.log])
    network = linerlib.read_linerlib(options.folder, options.instance, options.log)
    write_network(
        options.output,
        network,
        "A published network of the LINERLIB benchmark; cite Brouer et al., Transportation Science 48(2), 2014, where\n"
        "you use it. What is assumed stands in provenance, at the end.",
    )
    _summary(options.output, network, list(network.provenance["notes"]))


def run_ports(options: argparse.Namespace) -> None:
    """Run ``ports``."""
    inputs = [path for path in (options.plan, options.ports, options.demands) if path is not None]
    refuse_existing([options.output], options.overwrite, inputs=inputs)
    data = port_list.read_plan(options.plan, options.ports, options.demands)
    network = port_list.build_network(data, options.closable)
    write_network(options.output, network, "Made of a plan by python -m twin.ingest ports; distances are computed.")
    _summary(options.output, network, port_list.left_open(network))


def _summary(path: Path, network: LinerNetwork, notes: list[str]) -> None:
    sys.stdout.writelines(f"note: {note}\n" for note in notes)
    sys.stdout.write(
        f"{path}: {len(network.ports)} ports, {len(network.services)} services, {len(network.demands)} demands\n"
    )
