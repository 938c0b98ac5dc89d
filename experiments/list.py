"""What there is to choose from: ``python -m experiments.list``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from agents.baselines.simulation import acting_task
from agents.registry import BASELINES
from experiments.catalogue import KINDS, catalogue
from experiments.cli import USAGE, say
from twin import library
from twin.compile import compile_network
from twin.errors import CogTwinError, ConfigError, did_you_mean

__all__ = ["listing", "main"]

HELP = """
What there is to choose from, one line each: commands, environments, networks, agents, classical policies, suites,
experiments, search spaces and launchers.

  python -m experiments.list
  python -m experiments.list policies networks
  python -m experiments.list policies network=lost_sales_zipkin2008      (only those that fit this network)

How each is chosen: network=, agent=, policy= or policies=, suite=, experiment=, search=, launcher=; environments with
gymnasium.make.
"""
_ONLY = "network="


def listing(kinds: Sequence[str], *, network: str | None = None, width: int = 100) -> str:
    """The lists as text.

    Parameters
    ----------
    kinds
        Some of :data:`experiments.catalogue.KINDS`; all of them when empty.
    network
        A library name or a file: of the classical policies only those that fit it are shown.
    width
        Columns that long lines are wrapped to.

    Raises
    ------
    ConfigError
        When there is no such kind.
    NetworkError
        When there is no such network.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"no kind '{kind}' (allowed: {', '.join(KINDS)}){did_you_mean(kind, KINDS)}")
    parts = []
    for kind in kinds or KINDS:
        entries = catalogue(kind)
        if kind == "policies" and network is not None:
            fitting = _fitting(network)
            entries = {name: about for name, about in entries.items() if name in fitting}
        if entries:
            parts.append(_block(kind, entries, width))
    return "\n\n".join(parts)


def _fitting(network: str) -> tuple[str, ...]:
    """Classical policies that can act on a network."""
    compiled = compile_network(library.resolve(network))
    return tuple(name for name, entry in BASELINES.items() if entry.fits(acting_task(compiled, name)) is None)


def _block(kind: str, entries: dict[str, str], width: int) -> str:
    column = max(len(name) for name in entries) + 2
    lines = [f"{kind}:"]
    for name, about in entries.items():
        wrapped = textwrap.wrap(about, max(width - column - 2, 30)) or [""]
        lines.append(f"  {name.ljust(column)}{wrapped[0]}".rstrip())
        lines += [" " * (column + 2) + more for more in wrapped[1:]]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    words = sys.argv[1:]
    if any(word in {"-h", "--help"} for word in words):
        say(HELP.strip() + "\n\nKinds: " + ", ".join(KINDS))
        return
    network = next((word.removeprefix(_ONLY) for word in words if word.startswith(_ONLY)), None)
    kinds = [word for word in words if not word.startswith(_ONLY)]
    try:
        # In a file or a pipe one line each, whatever its length.
        width = min(shutil.get_terminal_size().columns, 140) if sys.stdout.isatty() else sys.maxsize
        say(listing(kinds, network=network, width=width))
    except CogTwinError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
