"""Finding and reading the networks that ship."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twin.errors import NetworkError, did_you_mean
from twin.files import read_mapping
from twin.network import Network

__all__ = ["load", "names", "parameters", "resolve"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all networks in the library, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def parameters(name: str) -> dict[str, dict[str, Any]]:
    """Parameters of a family: name -> ``{"default": value, "allowed": [values]}``; empty for a single network."""
    return dict(_read(name).get("family", {}).get("parameters", {}))


def load(name: str, **values: Any) -> Network:
    """Load a network of the library.

    Parameters
    ----------
    name
        One of :func:`names`.
    **values
        Parameters of a family, for example ``lead_time=4``; the others keep their defaults.

    Raises
    ------
    NetworkError
        For an unknown name, an unknown parameter or a value the family does not have.
    """
    data = _read(name)
    family = data.pop("family", {})
    declared: dict[str, dict[str, Any]] = family.get("parameters", {})
    chosen = {key: entry["default"] for key, entry in declared.items()}
    for key, value in values.items():
        if key not in declared:
            allowed = ", ".join(declared) or "this network has none"
            raise NetworkError(f"{name}: no parameter '{key}' (allowed: {allowed}){did_you_mean(key, declared)}")
        options = declared[key]["allowed"]
        if isinstance(value, bool) or value not in options:
            listed = ", ".join(str(option) for option in options)
            raise NetworkError(
                f"{name}: {key} = {value!r} is not allowed (allowed: {listed}){did_you_mean(value, options)}"
            )
        chosen[key] = value
    data = _substitute(data, chosen)
    known = [row for row in family.get("known_values", []) if _matches(row["where"], chosen)]
    data["known_values"] = [{k: v for k, v in row.items() if k != "where"} for row in known]
    if chosen:
        data["provenance"] = {**data.get("provenance", {}), "parameters": chosen}
    return Network.parse(data, where=f"library network '{name}'")


def resolve(network: str | Path | Network, **values: Any) -> Network:
    """A Network from what a user may give: a Network, a library name, or a path of a YAML or JSON file.

    Raises
    ------
    NetworkError
        When it is neither, with the nearest library name.
    """
    if isinstance(network, Network):
        if values:
            raise NetworkError("parameters apply to a network of the library, not to a Network object")
        return network
    text = str(network)
    if text in names():
        return load(text, **values)
    path = Path(text)
    if path.suffix in {".yaml", ".yml", ".json"} or path.is_file():
        if values:
            raise NetworkError(f"parameters apply to a network of the library, not to the file {text}")
        return Network.load(path)
    raise NetworkError(
        f"no network '{text}' in the library and no such file "
        f"(library: {', '.join(names())}){did_you_mean(text, names())}"
    )


def _read(name: str) -> dict[str, Any]:
    if name not in names():
        raise NetworkError(
            f"no network '{name}' in the library (allowed: {', '.join(names())}){did_you_mean(name, names())}"
        )
    return read_mapping(_FOLDER / f"{name}.yaml")


def _matches(where: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    return all(chosen.get(key) == value for key, value in where.items())


def _substitute(data: Any, chosen: Mapping[str, Any]) -> Any:
    """Replace every text that is exactly ``${name}`` by the parameter's value, keeping its type."""
    if isinstance(data, dict):
        return {key: _substitute(value, chosen) for key, value in data.items()}
    if isinstance(data, list):
        return [_substitute(value, chosen) for value in data]
    if isinstance(data, str) and data.startswith("${") and data.endswith("}"):
        return chosen[data[2:-1]]
    return data
