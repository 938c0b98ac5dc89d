"""Command line: a delivery history in, a calibrated supply network out.

``python -m twin.calibrate --shipments FILE --output essential_medicines.yaml`` fits the antiretroviral (ARV) supply of
the PEPFAR Supply Chain Management System, as :mod:`twin.medicines` describes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from twin.errors import CogTwinError, DataError
from twin.files import write_text
from twin.medicines import build_network
from twin.network import Network
from twin.shipments import read_shipments

__all__ = ["main", "network_text"]

HEADER = """\
# HIV medicines from five Indian makers to four groups of countries, fitted from real deliveries.
# Data: USAID, Supply Chain Shipment Pricing Data (SCMS Delivery History), a US Government work in the public domain.
# Written by: python -m twin.calibrate --shipments SCMS_Delivery_History_Dataset.csv --output essential_medicines.yaml
# How each figure was measured, and which are assumptions: see provenance, at the end.
"""


def network_text(network: Network) -> str:
    """The network as a commented YAML file: provenance last, small mappings on one line."""
    data = network.to_dict()
    head = {key: data.pop(key) for key in ("name", "description", "source", "licence")}
    provenance = data.pop("provenance")
    # The period and the phases stand in the file even where they are the defaults: a reader needs them first.
    data = {**head, "period": network.period, "phases": list(network.phases), **data, "provenance": provenance}
    return HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.calibrate",
        description="Fit a supply network from the USAID SCMS delivery history.",
        epilog="example: python -m twin.calibrate --shipments SCMS_Delivery_History_Dataset.csv "
        "--output essential_medicines.yaml",
    )
    parser.add_argument("--shipments", required=True, metavar="FILE", help="the delivery history (CSV)")
    parser.add_argument("--output", required=True, metavar="FILE", help="the network to write (YAML)")
    parser.add_argument("--force", action="store_true", help="overwrite the output when it exists")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 with one line on standard error."""
    options = _parser().parse_args(arguments)
    output = Path(options.output)
    try:
        if output.exists() and not options.force:
            raise DataError(f"{output} exists; give --force to overwrite it")
        network = build_network(read_shipments(options.shipments))
        write_text(output, network_text(network))
    except (CogTwinError, OSError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    arcs = sum(len(lane.modes) for lane in network.lanes)
    sys.stdout.write(f"{output}: {len(network.sites)} sites, {len(network.suppliers)} suppliers, {arcs} arcs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
