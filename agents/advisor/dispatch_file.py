"""Orders as files in a folder, one each, named by their key: whole or not there at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from agents.advisor.dispatch import NotSentError, UnsureError
from twin.errors import ConfigError

__all__ = ["FileSender"]


class FileSender:
    """Writes ``<key>.json`` into a folder.

    Parameters
    ----------
    folder
        It must exist: one that is made by mistake is read by nobody.
    """

    patience_seconds = 30.0

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigError(f"cannot send orders to the folder {self.folder}: it does not exist")
        self.name = f"file:{self.folder}"

    def send(self, key: str, body: bytes) -> str:
        target, temporary = self.folder / f"{key}.json", ""
        try:
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{key}.")
            with os.fdopen(handle, "wb") as stream:
                stream.write(body)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            # A link, not a rename: a rename would silently replace a file of the same key.
            os.link(temporary, target)
        except FileExistsError:
            if target.read_bytes() == body:
                return f"{target} was there already"
            raise NotSentError(f"{target} exists with other orders", again=False) from None
        except OSError as error:
            raise NotSentError(f"{target}: {error.strerror}", again=True) from None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        try:
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise UnsureError(f"{target} was written, but not to disk: {error.strerror}") from None
        return str(target)
