"""Reading and writing files so that nothing is lost: write beside, sync, rename; duplicate keys refused."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from twin.errors import DataError, NetworkError

__all__ = ["parse_mapping", "read_mapping", "read_table_text", "write_bytes", "write_text"]


# The parser in C where PyYAML was built with it: large networks load three times faster.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_Loader):  # type: ignore[misc, valid-type]
    """YAML loader that refuses a key given twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' is given twice")
    return data


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Read a YAML or JSON file whose top level is a mapping.

    Raises
    ------
    NetworkError
        When the file is missing, unreadable, not YAML, or not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"no such file: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NetworkError(f"{path} is not readable as text: {error}") from None
    return parse_mapping(text, str(path))


def parse_mapping(text: str, name: str) -> dict[str, Any]:
    """A mapping from YAML, or from JSON where the name ends so; NetworkError as for :func:`read_mapping`."""
    kind = "JSON" if name.endswith(".json") else "YAML"
    try:
        if kind == "JSON":
            data = json.loads(text, object_pairs_hook=_unique_keys)
        else:
            data = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise NetworkError(f"{name} is not readable as {kind}: {error}") from None
    if not isinstance(data, dict):
        raise NetworkError(f"{name} must hold a mapping at the top level, not {type(data).__name__}")
    return data


def read_table_text(path: str | Path, *, encoding: str = "utf-8-sig") -> tuple[str, bytes]:
    """Text of a file, its line ends made one; and the bytes it came from.

    Parameters
    ----------
    path
        Of the file.
    encoding
        UTF-8 with or without a byte order mark, unless a published file is known to be something else.

    Raises
    ------
    DataError
        When the file is missing or not text.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    raw = path.read_bytes()
    try:
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n"), raw
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise DataError(f"{path} is not {name} text: {error}") from None


def write_bytes(path: str | Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all: a temporary file beside it, synced, then renamed.

    Parameters
    ----------
    mode
        Who may read it.

    Raises
    ------
    DataError
        When the folder does not exist or cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: the folder {path.parent} does not exist")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, text.encode("utf-8"))
