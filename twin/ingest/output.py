"""Writing the files of an import: nothing overwritten unasked, each file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from twin.errors import DataError
from twin.files import write_text
from twin.liner.network import LinerNetwork
from twin.network import Network

__all__ = ["network_text", "refuse_existing", "write_network"]

#: libyaml's writer where PyYAML was built with it: ten times as fast, the same text.
_Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def refuse_existing(
    paths: Iterable[Path], overwrite: bool, *, inputs: Iterable[Path], replaceable: Collection[Path] = ()
) -> None:
    """Check all places of output before anything is written.

    Parameters
    ----------
    paths
        Of the outputs.
    overwrite
        Whether files that exist may be replaced; never one of the inputs.
    inputs
        The files that the import reads.
    replaceable
        Outputs that may be replaced unasked.

    Raises
    ------
    DataError
        When a file is there and may not be overwritten, when its folder is missing, when an output is one of the
        inputs, or when two outputs are one file.
    """
    read, seen = list(inputs), list[Path]()
    for path in paths:
        if any(_same_file(path, other) for other in read):
            raise DataError(f"{path} is a file that the import reads; give the output another name")
        if any(_same_file(path, other) for other in seen):
            raise DataError(f"{path} is given for two outputs; they need different names")
        seen.append(path)
        if path.is_dir():
            raise DataError(f"{path} is a folder; give the name of a file")
        if path.exists() and not overwrite and path not in replaceable:
            raise DataError(f"{path} exists; give --overwrite to replace it")
        if not path.parent.is_dir():
            raise DataError(f"cannot write {path}: the folder {path.parent} does not exist")


def _same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file: through links, or in upper and lower case where the disk knows no case."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def network_text(network: Network | LinerNetwork, comment: str) -> str:
    """The network as commented YAML: provenance last, small mappings on one line."""
    data = network.to_dict()
    provenance = data.pop("provenance", {})
    head: dict[str, Any] = {key: data.pop(key) for key in ("name", "description", "source", "licence") if key in data}
    # What a reader needs first stands in the file even where it is the default.
    if isinstance(network, Network):
        head |= {"period": network.period, "phases": list(network.phases)}
    else:
        keys = ("currency", "bunker_price_per_t", "rejection_penalty_per_ffe", "port_days_per_call")
        head |= {key: getattr(network, key) for key in keys}
    data = {**head, **{key: value for key, value in data.items() if key not in head}}
    return (
        "".join(f"# {line}\n" for line in comment.splitlines())
        + yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None)
        + yaml.dump({"provenance": provenance}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)
    )


def write_network(path: Path, network: Network | LinerNetwork, comment: str) -> None:
    """Write a network as YAML with a comment on top, or as JSON where the file's name ends so."""
    if path.suffix == ".json":
        write_text(path, json.dumps(network.to_dict(), indent=1) + "\n")
    else:
        write_text(path, network_text(network, comment))
