"""SQLite as the advisor's database: one file, a write-ahead log, and a sync at every commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agents.advisor.database import Connection, Row, no_record

__all__ = ["SqliteDatabase"]

#: How long a writer waits for another process's transaction, seconds.
_PATIENCE = 30.0


class SqliteDatabase:
    """A SQLite file; several threads and several processes may share it.

    Parameters
    ----------
    path
        The file.
    create
        Make it where it does not exist; its folder is not made.

    Raises
    ------
    AdvisorError
        ``NO_RECORD`` when the file cannot be opened or is no database.
    """

    setup_lock = ""
    append_only: tuple[str, ...] = (
        "CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records "
        "BEGIN SELECT RAISE(ABORT, 'records are append-only'); END",
        "CREATE TRIGGER IF NOT EXISTS records_last BEFORE DELETE ON records "
        "BEGIN SELECT RAISE(ABORT, 'records are append-only'); END",
    )
    for_update = ""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path)
        self.name = str(self.path)
        self._lock = threading.RLock()
        if not self.path.parent.is_dir():
            raise no_record(self.name, f"the folder {self.path.parent} does not exist")
        if not create and not self.path.is_file():
            raise no_record(self.name, "there is no such file")
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            # FULL syncs the log at every commit; NORMAL, SQLite's advice for this journal, would lose the last ones
            # with the power, and an action may already have been taken on them.
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._file = self._identity()
        except (sqlite3.Error, OSError) as error:
            raise no_record(self.name, error) from None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        yield from self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield from self._transaction("BEGIN")

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            self._connection.close()

    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._lock:
            try:
                # A file that was removed or replaced still takes writes through the open handle; nobody would ever
                # read them.
                if self._identity() != self._file:
                    raise no_record(self.name, "the file was replaced while it was open")
                self._connection.execute(begin)
                try:
                    yield _SqliteConnection(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise no_record(self.name, error) from None

    def _identity(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino


class _SqliteConnection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> int:
        return self._connection.execute(sql, values or {}).rowcount

    def query(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        return self._connection.execute(sql, values or {}).fetchall()
