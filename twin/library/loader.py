"""Finding and reading the networks that ship."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twin.errors import NetworkError, did_you_mean
from twin.files import read_mapping
from twin.network import Network

__all__ = ["load", "names", "parameters", "resolve"]

_FOLDER = Path(__file__).parent
_NAME = re.compile(r"\$\{(\w+)\}")


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
    # What a value of a parameter stands for where the file needs more than the value itself.
    derived = family.get("derived", {}).items()
    told = {**chosen, **{key: entry["values"][chosen[entry["parameter"]]] for key, entry in derived}}
    repeat = family.get("repeat")
    rows = [] if repeat is None else repeat["rows"][: chosen[repeat["times"]]]
    data = _repeat(data, rows, told) if rows else _substitute(data, told)
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
    """Replace every text that is exactly ``${name}`` by the value, keeping its type, and ``${name}`` inside a text."""
    if isinstance(data, dict):
        return {_substitute(key, chosen): _substitute(value, chosen) for key, value in data.items()}
    if isinstance(data, list):
        return [_substitute(value, chosen) for value in data]
    if not isinstance(data, str):
        return data
    whole = _NAME.fullmatch(data)
    return chosen[whole[1]] if whole else _NAME.sub(lambda found: str(chosen[found[1]]), data)


def _repeat(data: Any, rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> Any:
    """Write what mentions a column of ``rows`` once for each row, and substitute.

    Of a mapping, entries whose key mentions a column; of a list, entries that do so outside of any list inside them.
    """
    if isinstance(data, dict):
        entries: dict[str, Any] = {}
        for key, value in data.items():
            if _mentions(key, rows):
                entries |= {_substitute(key, row): _substitute(value, {**chosen, **row}) for row in rows}
            else:
                entries[key] = _repeat(value, rows, chosen)
        return entries
    if not isinstance(data, list):
        return _substitute(data, chosen)
    items: list[Any] = []
    for item in data:
        if _mentions(item, rows):
            items += [_substitute(item, {**chosen, **row}) for row in rows]
        else:
            items.append(_repeat(item, rows, chosen))
    return items


def _mentions(data: Any, rows: Sequence[Mapping[str, Any]]) -> bool:
    if isinstance(data, dict):
        return any(_mentions(part, rows) for entry in data.items() for part in entry)
    return isinstance(data, str) and any(name in rows[0] for name in _NAME.findall(data))
