"""New folders for results: whole or not at all, and never over what is there."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from twin.errors import RunError

__all__ = ["fresh_name", "held", "new_folder", "refuse_to_overwrite"]


def fresh_name(parent: str | Path) -> Path:
    """A path below ``parent`` that nothing has: the time, and a few random digits for two in the same second."""
    return Path(parent) / f"{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; the lock dies with its process.

    Raises
    ------
    RunError
        When another process holds it.
    """
    with (folder / ".lock").open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{folder} is in use by another process") from None
        yield


def refuse_to_overwrite(target: Path) -> None:
    """Check that a folder can be made or is empty.

    Raises
    ------
    RunError
        When there is something at ``target``.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"output: {target} exists and is not overwritten; give a new folder, or leave output= out")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``target`` when all is written, and vanishes when anything fails.

    Raises
    ------
    RunError
        When there is something at ``target``, now or in the end.
    """
    refuse_to_overwrite(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{secrets.token_hex(3)}.partial"
    partial.mkdir()
    try:
        yield partial
        try:
            partial.rename(target)
        except OSError:
            raise RunError(f"output: {target} was made by another process meanwhile and is not overwritten") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
