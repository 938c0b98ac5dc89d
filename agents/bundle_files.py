"""A bundle as a folder or a zip: what may lie in it, read with every byte checked, written whole or not at all.

Hashes show damage and mix-ups. Against somebody who can rewrite the files, keep the bundle id elsewhere and ask for
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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BundleError, did_you_mean

__all__ = [
    "FILES",
    "LIMITS",
    "MANIFEST",
    "OPTIONAL",
    "SCHEMA",
    "arrays_from",
    "arrays_to",
    "pack",
    "parse_json",
    "read_files",
    "render",
    "write_files",
]

#: Version of the layout. A reader refuses any other.
SCHEMA = 3
MANIFEST = "manifest.json"
_MIB = 1 << 20
#: Every file that may lie in a bundle, and the most bytes it may have.
LIMITS = {
    MANIFEST: _MIB,
    "arch.json": 64 * _MIB,
    "card.md": _MIB,
    "evaluation.json": 4 * _MIB,
    "example_state.json": 4 * _MIB,
    "fallback.json": 16 * _MIB,
    "golden.npz": 64 * _MIB,
    "guardrails.yaml": _MIB,
    "network.json": 64 * _MIB,
    "ood.json": 64 * _MIB,
    "policy.onnx": 256 * _MIB,
    "spec.json": 16 * _MIB,
    "weights.npz": 256 * _MIB,
}
#: Files that a bundle can do without.
OPTIONAL = ("evaluation.json", "fallback.json", "ood.json", "policy.onnx")
#: Every file that a bundle has beside the manifest.
FILES = tuple(name for name in LIMITS if name != MANIFEST and name not in OPTIONAL)

#: Seconds since 1980 in the form of zip archives: every entry has the same, so that equal content has equal bytes.
_MOMENT = (1980, 1, 1, 0, 0, 0)


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


def read_files(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a bundle's manifest and files, and check that they are exactly what was written.

    Parameters
    ----------
    path
        A folder, or a zip as :func:`write_files` makes it.

    Raises
    ------
    BundleError
        Naming the file that is missing, extra, renamed, a link, of a wrong size or of a wrong hash.
    """
    if path.is_dir():
        contents = _read_folder(path)
    elif os.path.lexists(path):
        contents = _read_zip(path)
    else:
        raise BundleError(f"no bundle folder or zip {path}")
    if MANIFEST not in contents:
        raise BundleError(f"{path}: the file '{MANIFEST}' is missing")
    manifest = _check_manifest(path, contents.pop(MANIFEST))
    for name in sorted(set(contents) ^ set(manifest["files"])):
        if name in contents:
            raise BundleError(f"{path}: '{MANIFEST}' does not list the file '{name}', which is there")
        raise BundleError(f"{path}: the file '{name}' is missing")
    for name, entry in manifest["files"].items():
        data, size, digest = contents[name], entry["size"], entry["sha256"]
        if len(data) != size:
            raise BundleError(f"{path}: '{name}' is not {size} bytes long as its manifest says")
        if _digest(data) != digest:
            raise BundleError(
                f"{path}: '{name}' was changed: its SHA-256 is {_digest(data)}, the manifest says {digest}"
            )
    return manifest, contents


def _refuse_names(path: Path, names: Iterable[str]) -> None:
    """Refuse what no bundle has: that covers absolute names and those with ``..`` too."""
    for name in sorted(names):
        if name not in LIMITS:
            raise BundleError(
                f"{path}: the file '{name}' does not belong to a bundle "
                f"(allowed: {', '.join(sorted(LIMITS))}){did_you_mean(name, LIMITS)}"
            )


def _read_folder(path: Path) -> dict[str, bytes]:
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    _refuse_names(path, (entry.name for entry in found))
    for entry in found:
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            raise BundleError(f"{path}: '{entry.name}' is a link or not a plain file")
    return {entry.name: _limited(path, entry.name, _read(path / entry.name, LIMITS[entry.name])) for entry in found}


def _read_zip(path: Path) -> dict[str, bytes]:
    """The files of a zip, which must be to the last byte the one that holds them."""
    most = sum(LIMITS.values()) + _MIB
    data = _read(path, most)
    if len(data) > most:
        raise BundleError(f"{path} has more than {most} bytes, so it is no bundle")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _refuse_names(path, (entry.filename for entry in entries))
            for entry in entries:
                # Nothing is compressed: what is said to be larger than the archive cannot be in it.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > LIMITS[entry.filename]:
                    raise BundleError(f"{path}: '{entry.filename}' is compressed, or larger than it may be")
            contents = {entry.filename: archive.read(entry) for entry in entries}
    except BundleError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise BundleError(f"{path} is neither a folder nor a zip that can be read: {error}") from None
    if _zipped(contents) != data:
        raise BundleError(f"{path} was changed: it is not the archive that these files make")
    return contents


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    """Files as a zip whose bytes follow from theirs: sorted, stored, all of one moment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def _limited(path: Path, name: str, data: bytes) -> bytes:
    if len(data) > LIMITS[name]:
        raise BundleError(f"{path}: '{name}' has more than the {LIMITS[name]} bytes that it may have")
    return data


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


def _check_manifest(path: Path, data: bytes) -> dict[str, Any]:
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
    for name in sorted({*FILES} - set(files) | set(files) - {*FILES, *OPTIONAL}):
        problem = "does not list" if name in FILES else "lists a file that no bundle has:"
        raise BundleError(f"{path}: '{MANIFEST}' {problem} '{name}'{did_you_mean(name, LIMITS)}")
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


def write_files(
    path: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes], check: Callable[[Path], object]
) -> None:
    """Write a bundle beside ``path``, read it back with ``check``, and give it its name.

    Parameters
    ----------
    path
        A folder, or a zip where the name ends in ``.zip``.

    Raises
    ------
    BundleError
        When ``path`` exists (it is left as it is), its parent does not, ``check`` refuses, or a file is too large.
    """
    files = {name: {"sha256": _digest(data), "size": len(data)} for name, data in sorted(contents.items())}
    full: dict[str, Any] = {**manifest, "schema": SCHEMA, "files": files, "bundle_id": _bundle_id(files)}
    full["manifest_sha256"] = _seal(full)
    every = {**contents, MANIFEST: render(full)}
    _write(path, {name: _limited(path, name, data) for name, data in every.items()}, check)


def pack(bundle: Path, path: Path, check: Callable[[Path], object]) -> None:
    """Write a bundle to another place, as a zip where the name ends in ``.zip``; see :func:`write_files`."""
    manifest, contents = read_files(bundle)
    _write(path, {**contents, MANIFEST: render(manifest)}, check)


def _write(path: Path, every: Mapping[str, bytes], check: Callable[[Path], object]) -> None:
    if os.path.lexists(path):
        raise BundleError(
            f"{path} exists and a bundle is never overwritten; choose another path, for example {_free(path)}"
        )
    if not path.parent.is_dir():
        raise BundleError(f"cannot write {path}: the folder {path.parent} does not exist")
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        zipped = path.suffix == ".zip"
        written = temporary / path.name if zipped else temporary
        for name, data in ({path.name: _zipped(every)} if zipped else every).items():
            with (temporary / name).open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        written.chmod(0o644 if zipped else 0o755)
        check(written)
        _sync(temporary)
        try:
            written.rename(path)
        except OSError as error:
            raise BundleError(f"cannot write {path}: {error.strerror}") from None
        _sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if zipped:
        temporary.rmdir()


def _free(path: Path) -> Path:
    number = 2
    while os.path.lexists(path.with_stem(f"{path.stem}-{number}")):
        number += 1
    return path.with_stem(f"{path.stem}-{number}")


def _sync(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
