"""Candidate itineraries of a liner network: ``python -m experiments.itineraries network=<file> output=<file>``."""

from __future__ import annotations

import sys
from pathlib import Path

from agents.oracles.candidates import candidate_itineraries
from experiments.cli import USAGE, say
from experiments.folders import refuse_to_overwrite
from twin.errors import CogTwinError, ConfigError, did_you_mean
from twin.liner.itineraries import write_candidates
from twin.liner.library import resolve

__all__ = ["main", "write_itineraries"]

HELP = """
The ways that cargo may take on a liner network: those of the best flows with everything open, with each port closed,
and without the legs through each canal. The routing environment chooses among them.

  python -m experiments.itineraries network=liner.yaml output=itineraries.yaml
  python -m experiments.itineraries network=baltic output=itineraries.yaml most=4      (at most 4 a demand, else 8)

then env.routing.itineraries=itineraries.yaml. Needs the extra `routing`.
"""
_WORDS = ("network", "output", "most")


def write_itineraries(network: str, output: str | Path, most: int = 8) -> int:
    """Find the candidates of a liner network and write them; how many they are.

    Raises
    ------
    NetworkError
        When there is no such network.
    ConfigError
        When ``most`` is below 1.
    RunError
        When there is a file of that name.
    ImportError
        When HiGHS is missing, with what to install.
    """
    refuse_to_overwrite(Path(output))
    liner = resolve(network)
    found = candidate_itineraries(liner, most)
    write_candidates(output, liner, found)
    return len(found)


def _given(words: list[str]) -> dict[str, str]:
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _WORDS:
            raise ConfigError(f"'{word}' (allowed: {', '.join(f'{w}=' for w in _WORDS)}){did_you_mean(key, _WORDS)}")
        given[key] = value
    missing = [name for name in ("network", "output") if not given.get(name)]
    if missing:
        raise ConfigError(f"give {' and '.join(f'{name}=<file>' for name in missing)}")
    if not given.get("most", "8").isdecimal():
        raise ConfigError(f"most: '{given['most']}' is no whole number (allowed: 1 or more)")
    return given


def main() -> None:
    """Command line."""
    words = sys.argv[1:]
    if any(word in {"-h", "--help"} for word in words):
        say(HELP.strip())
        return
    try:
        given = _given(words)
        number = write_itineraries(given["network"], given["output"], int(given.get("most", "8")))
    except (CogTwinError, ImportError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE)
    say(f"{given['output']}: {number} itineraries")


if __name__ == "__main__":
    main()
