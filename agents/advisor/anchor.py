"""The anchor: a file beside the database that keeps the hash of every record, so that lost or rewritten ones show.

A hash chain proves that records belong together, not that the last ones are still there, and whoever may write the
database may compute a new chain. So each record's hash is also kept outside it: 32 bytes a record, in order, nothing
else. Put it where the database's writers cannot reach it, or keep the head that ``audit head`` prints elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Anchor"]

_WIDTH = 32
_HOLE = bytes(_WIDTH)


class Anchor:
    """Hashes of records, by their number from 1.

    The file is not synced at every record: what it lacks after a power failure is a tail, and the database, which is
    synced, fills it again when it is next opened.

    Parameters
    ----------
    path
        The file.
    create
        Make it where it does not exist; otherwise FileNotFoundError.
    """

    def __init__(self, path: str | Path, *, create: bool) -> None:
        self.path = Path(path)
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | (os.O_CREAT if create else 0)
        self._handle = os.open(self.path, flags, 0o644)

    def __len__(self) -> int:
        return os.fstat(self._handle).st_size // _WIDTH

    def hash_of(self, number: int) -> str | None:
        """The kept hash of a record; None where there is none."""
        data = os.pread(self._handle, _WIDTH, (number - 1) * _WIDTH)
        return data.hex() if len(data) == _WIDTH and data != _HOLE else None

    def keep(self, first: int, hashes: Sequence[str]) -> None:
        """Write the hashes of the records from number ``first`` on. Writing the same ones twice changes nothing."""
        data = b"".join(bytes.fromhex(text) for text in hashes)
        place = (first - 1) * _WIDTH
        while data:
            written = os.pwrite(self._handle, data, place)
            data, place = data[written:], place + written

    def sync(self) -> None:
        """Make the file durable."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)
