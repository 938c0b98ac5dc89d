"""Finding and reading the liner networks that ship."""

from __future__ import annotations

from pathlib import Path

from twin.errors import NetworkError, did_you_mean
from twin.files import read_mapping
from twin.liner.network import LinerNetwork

__all__ = ["load", "names", "resolve"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all liner networks that ship, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(name: str) -> LinerNetwork:
    """Load a network that ships.

    Raises
    ------
    NetworkError
        For an unknown name, with the nearest one.
    """
    if name not in names():
        listed = ", ".join(names())
        raise NetworkError(f"no liner network '{name}' ships (allowed: {listed}){did_you_mean(name, names())}")
    return LinerNetwork.parse(read_mapping(_FOLDER / f"{name}.yaml"), where=f"library network '{name}'")


def resolve(network: str | Path | LinerNetwork) -> LinerNetwork:
    """A LinerNetwork from what a user may give: the network, the name of one that ships, or a YAML or JSON file.

    Raises
    ------
    NetworkError
        When it is none of them, with the nearest name that ships.
    """
    if isinstance(network, LinerNetwork):
        return network
    path = Path(network)
    if str(network) in names():
        return load(str(network))
    if path.suffix in {".yaml", ".yml", ".json"} or path.is_file():
        return LinerNetwork.load(path)
    raise NetworkError(
        f"no liner network '{network}' ships and there is no such file (those that ship: {', '.join(names())})"
        f"{did_you_mean(network, names())}"
    )
