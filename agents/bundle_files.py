"""The folder of a bundle: what may lie in it, reading it with every byte checked, and writing it whole or not at all.

Hashes show damage and mix-ups. Against somebody who can rewrite the folder, keep the bundle id elsewhere and ask for
it when loading (``Bundle.load(path, expected_id=...)``).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BundleError, did_you_mean

__all__ = [
    "FILES",
    "MANIFEST",
    "SCHEMA",
    "arrays_from",
    "arrays_to",
    "parse_json",
    "read_folder",
    "render",
    "write_folder",
]

#: Version of the layout. A reader refuses any other.
SCHEMA = 2
MANIFEST = "manifest.json"
#: Every file of a bundle beside the manifest.
FILES = (
    "arch.json",
    "example_state.json",
    "golden.npz",
    "network.json",
    "policy.onnx",
    "spec.json",
    "weights.npz",
)

_MANIFEST_LIMIT = 1 << 20


def render(data: Any, *, ordered: bool = False) -> bytes:
    """JSON in the one form that bundles use: keys sorted unless their order means something, two spaces, no NaN."""
    return (json.dumps(data, indent=2, sort_keys=not ordered, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_json(data: bytes, *, constants: bool = False) -> Any:
    """JSON with duplicate keys refused, and NaN and Infinity too unless ``constants``.

    Raises
    ------
    ValueError
        With a sentence that says what is wrong.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in pairs:
            if key in out:
                raise ValueError(f"the key '{key}' is given twice")
            out[key] = value
        return out

    def refuse(name: str) -> float:
        if not constants:
            raise ValueError(f"{name} is not a number of JSON")
        return float(name)

    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique, parse_constant=refuse)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def arrays_to(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def arrays_from(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Arrays from the bytes of an ``.npz`` file; nothing in it is ever unpickled."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{name} is not readable as plain arrays: {error}") from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bundle_id(files: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over the sorted names and hashes: equal content has an equal id whenever it was written."""
    return _digest("".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files)).encode())


def _seal(manifest: Mapping[str, Any]) -> str:
    return _digest(render({key: value for key, value in manifest.items() if key != "manifest_sha256"}))


def read_folder(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a bundle's manifest and files, and check that they are exactly what was written.

    Raises
    ------
    BundleError
        Naming the file that is missing, extra, renamed, a link, of a wrong size or of a wrong hash.
    """
    if not path.is_dir():
        raise BundleError(f"no bundle folder {path}")
    allowed = {MANIFEST, *FILES}
    found = set()
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name not in allowed:
            raise BundleError(
                f"{path}: the file '{entry.name}' does not belong to a bundle "
                f"(allowed: {', '.join(sorted(allowed))}){did_you_mean(entry.name, allowed)}"
            )
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            raise BundleError(f"{path}: '{entry.name}' is a link or not a plain file")
        found.add(entry.name)
    for name in sorted(allowed - found):
        raise BundleError(f"{path}: the file '{name}' is missing")
    manifest = _read_manifest(path)
    contents = {}
    for name in FILES:
        size, digest = manifest["files"][name]["size"], manifest["files"][name]["sha256"]
        data = _read(path / name, size)
        if len(data) != size:
            raise BundleError(f"{path}: '{name}' is not {size} bytes long as its manifest says")
        if _digest(data) != digest:
            raise BundleError(
                f"{path}: '{name}' was changed: its SHA-256 is {_digest(data)}, the manifest says {digest}"
            )
        contents[name] = data
    return manifest, contents


def _read(path: Path, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a plain file; a link put there meanwhile is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise BundleError(f"{path.parent}: '{path.name}' cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BundleError(f"{path.parent}: '{path.name}' is a link or not a plain file")
        return stream.read(limit + 1)


def _read_manifest(path: Path) -> dict[str, Any]:
    data = _read(path / MANIFEST, _MANIFEST_LIMIT)
    try:
        manifest = parse_json(data)
    except ValueError as error:
        raise BundleError(f"{path}: '{MANIFEST}' is not readable as JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise BundleError(f"{path}: '{MANIFEST}' must hold a mapping, not {type(manifest).__name__}")
    if manifest.get("schema") != SCHEMA:
        raise BundleError(
            f"{path}: '{MANIFEST}' has schema {manifest.get('schema')!r}, this version reads {SCHEMA}; "
            "export the policy again"
        )
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise BundleError(f"{path}: '{MANIFEST}' lists no files")
    for name in sorted(set(files) ^ set(FILES)):
        problem = "does not list" if name in FILES else "lists a file that no bundle has:"
        raise BundleError(f"{path}: '{MANIFEST}' {problem} '{name}'{did_you_mean(name, FILES)}")
    for name, entry in files.items():
        size = entry.get("size") if isinstance(entry, dict) else None
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(entry.get("sha256"), str):
            raise BundleError(f"{path}: '{MANIFEST}' has no size and SHA-256 for '{name}'")
    # The rendering is compared too: then every single byte of the manifest is covered.
    if manifest.get("manifest_sha256") != _seal(manifest) or render(manifest) != data:
        raise BundleError(f"{path}: '{MANIFEST}' was changed: it does not have the SHA-256 that it states")
    if manifest.get("bundle_id") != _bundle_id(files):
        raise BundleError(f"{path}: '{MANIFEST}' was changed: its bundle id does not belong to its files")
    return manifest


def write_folder(
    path: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes], check: Callable[[Path], object]
) -> None:
    """Write a bundle into a folder beside ``path``, read it back with ``check``, and give it its name.

    Raises
    ------
    BundleError
        When ``path`` exists (it is left as it is), its parent does not, or ``check`` refuses.
    """
    if os.path.lexists(path):
        raise BundleError(
            f"{path} exists and a bundle is never overwritten; choose another path, for example {_free(path)}"
        )
    if not path.parent.is_dir():
        raise BundleError(f"cannot write {path}: the folder {path.parent} does not exist")
    files = {name: {"sha256": _digest(contents[name]), "size": len(contents[name])} for name in FILES}
    full: dict[str, Any] = {**manifest, "schema": SCHEMA, "files": files, "bundle_id": _bundle_id(files)}
    full["manifest_sha256"] = _seal(full)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name, data in {**contents, MANIFEST: render(full)}.items():
            with (temporary / name).open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        temporary.chmod(0o755)
        check(temporary)
        _sync(temporary)
        try:
            temporary.rename(path)
        except OSError as error:
            raise BundleError(f"cannot write {path}: {error.strerror}") from None
        _sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _free(path: Path) -> Path:
    number = 2
    while os.path.lexists(path.with_name(f"{path.name}-{number}")):
        number += 1
    return path.with_name(f"{path.name}-{number}")


def _sync(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
