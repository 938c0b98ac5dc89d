"""The store: records that are only ever added, each with the hash of the one before, beside the tables they fill.

``with store.write() as tx`` is a transaction that no other writer overlaps. What it appends is on disk when the block
ends, or the block raises and nothing has happened: no record, no action.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.advisor.anchor import Anchor
from agents.advisor.canonical import canonical
from agents.advisor.clock import Clock, parse_time, system_clock, text_of
from agents.advisor.database import Connection, Database, Row, no_record
from agents.advisor.database_sqlite import SqliteDatabase
from agents.advisor.errors import AdvisorError
from agents.advisor.tables import TABLES

__all__ = ["GENESIS", "Record", "Store", "Tx", "open_store", "record_hash"]

#: What the first record gives as the hash of the one before.
GENESIS = "0" * 64
#: Version of the tables and of the records' form.
_SCHEMA = 1
_PAGE = 1000


def record_hash(previous: str, seq: int, at: str, kind: str, body: str) -> str:
    """SHA-256 of a record: the hash before it, its number, moment and kind, and its body as it is stored."""
    return hashlib.sha256(f"{previous}\n{seq}\n{at}\n{kind}\n{body}".encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """One audit record, as it is stored."""

    seq: int
    at: str
    kind: str
    body: str
    previous: str
    hash: str

    @property
    def data(self) -> Any:
        """The body as data."""
        return json.loads(self.body)

    @property
    def computed(self) -> str:
        """The hash that this record must have."""
        return record_hash(self.previous, self.seq, self.at, self.kind, self.body)


class Tx:
    """An open transaction on the store.

    Attributes
    ----------
    clock
        The moment it began, by the clock.
    now
        The same, but never before the last record: what expires stays expired when the clock goes back.
    """

    def __init__(self, connection: Connection, head: Row | None, clock: datetime.datetime) -> None:
        self._connection = connection
        self.seq, self.hash, self.at = (int(head[0]), str(head[1]), str(head[2])) if head else (0, GENESIS, "")
        self.clock = clock
        self.now = max(clock, parse_time(self.at)) if head else clock
        self.appended: list[str] = []

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Add a record.

        Parameters
        ----------
        kind
            What it is about, in one word.
        body
            Plain data.
        """
        seq, at, text = self.seq + 1, text_of(self.clock), canonical(body)
        record = Record(seq, at, kind, text, self.hash, record_hash(self.hash, seq, at, kind, text))
        self.execute("INSERT INTO records VALUES (:seq, :at, :kind, :body, :previous, :hash)", vars(record))
        # Its moment never goes back, as a record's may: it is what "not before the last record" is measured by.
        self.at = max(self.at, at)
        head = {"seq": seq, "hash": record.hash, "at": self.at}
        if seq == 1:
            self.execute("INSERT INTO head VALUES (1, :seq, :hash, :at)", head)
        else:
            self.execute("UPDATE head SET seq = :seq, hash = :hash, at = :at WHERE one = 1", head)
        self.seq, self.hash = seq, record.hash
        self.appended.append(record.hash)
        return record

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> int:
        """Run a statement; the number of rows it changed."""
        return self._connection.execute(sql, values)

    def query(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a query."""
        return self._connection.query(sql, values)

    def records(self, numbers: Sequence[int]) -> list[Record]:
        """The records of these numbers; those that are missing are left out."""
        rows = (self.query("SELECT * FROM records WHERE seq = :seq", {"seq": number}) for number in numbers)
        return [Record(*row) for found in rows for row in found]

    def get(self, name: str) -> Any:
        """A value of the control table; None where there is none."""
        rows = self.query("SELECT value FROM control WHERE name = :name", {"name": name})
        return json.loads(rows[0][0]) if rows else None

    def set(self, name: str, value: Any) -> None:
        """Keep a value in the control table."""
        values = {"name": name, "value": canonical(value)}
        self.execute(
            "INSERT INTO control VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value", values
        )


class Store:
    """Records, and the tables that follow from them.

    Parameters
    ----------
    database
        Where they are kept.
    anchor
        The file of the anchor; None keeps none.
    clock
        Says what time it is.
    inspect
        Only to look at it: nothing is checked, made or repaired, so that a broken one can be opened.

    Raises
    ------
    AdvisorError
        ``NO_RECORD`` when the database cannot be used, ``CHAIN_BROKEN`` when its records do not reach as far as its
        anchor says, or the anchor of a database with records is gone.
    """

    def __init__(
        self, database: Database, anchor: str | Path | None, clock: Clock = system_clock, *, inspect: bool = False
    ) -> None:
        self.database, self.clock = database, clock
        self.anchor: Anchor | None = None
        self.anchor_gone = False
        self._closed = False
        if inspect:
            try:
                self.anchor = None if anchor is None else Anchor(anchor, create=False)
            except OSError:
                self.anchor_gone = True
            return
        with database.write() as connection:
            if database.setup_lock:
                connection.query(database.setup_lock)
            for statement in (*TABLES, *database.append_only):
                connection.execute(statement)
            empty = not connection.query("SELECT one FROM head")
        if anchor is not None:
            self.anchor = self._open_anchor(Path(anchor), empty)
        with self.write() as tx:
            if tx.seq == 0:
                tx.append("created", {"store": uuid.uuid4().hex, "schema": _SCHEMA})
            schema = json.loads(tx.query("SELECT body FROM records WHERE seq = 1")[0][0])["schema"]
        if schema != _SCHEMA:
            raise AdvisorError(
                "NO_RECORD", f"{database.name} has tables of version {schema}, this program reads {_SCHEMA}"
            )

    @property
    def name(self) -> str:
        """What a person calls the database."""
        return self.database.name

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction; on disk when the block ends, undone when it raises."""
        with self.database.write() as connection:
            tx = self._begin(connection, self.database.for_update)
            self._check_anchor(tx)
            yield tx
        if tx.appended:
            self._keep(tx)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads."""
        with self.database.read() as connection:
            yield self._begin(connection, "")

    def head(self) -> tuple[int, str]:
        """Number and hash of the last record."""
        with self.read() as tx:
            return tx.seq, tx.hash

    def records(self, first: int = 1) -> Iterator[Record]:
        """All records from number ``first`` on, in order; the database is not held while they are looked at."""
        while True:
            with self.database.read() as connection:
                page = connection.query(
                    f"SELECT * FROM records WHERE seq >= :first ORDER BY seq LIMIT {_PAGE}", {"first": first}
                )
            yield from (Record(*row) for row in page)
            if len(page) < _PAGE:
                return
            first = int(page[-1][0]) + 1

    def make_anchor(self, path: str | Path, person: str, reason: str) -> None:
        """Begin a new anchor file from the records as they are now. A person's decision, and a record."""
        with self.write() as tx:
            tx.append("anchored", {"person": person, "reason": reason, "path": str(path)})
        if self.anchor is not None:
            self.anchor.close()
        self.anchor = Anchor(path, create=True)
        self._catch_up(self.anchor, 1)

    def close(self) -> None:
        """Let go of database and anchor. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self.anchor is not None:
            self.anchor.close()
        self.database.close()

    def _begin(self, connection: Connection, suffix: str) -> Tx:
        rows = connection.query("SELECT seq, hash, at FROM head WHERE one = 1" + suffix)
        return Tx(connection, rows[0] if rows else None, self.clock())

    def _open_anchor(self, path: Path, empty: bool) -> Anchor:
        try:
            anchor = Anchor(path, create=empty)
        except FileNotFoundError:
            raise AdvisorError(
                "CHAIN_BROKEN",
                f"{self.name} has records but its anchor {path} is gone, so that lost records would not show; bring it "
                "back, or begin a new one with 'audit anchor'",
            ) from None
        except OSError as error:
            raise no_record(str(path), error) from None
        self._catch_up(anchor, len(anchor) + 1)
        return anchor

    def _catch_up(self, anchor: Anchor, first: int) -> None:
        """Write what the anchor lacks: the last record of a process that was killed before it could."""
        page: list[str] = []
        for record in self.records(first):
            page.append(record.hash)
        if page:
            try:
                anchor.keep(first, page)
                anchor.sync()
            except OSError as error:
                raise no_record(str(anchor.path), error) from None

    def _check_anchor(self, tx: Tx) -> None:
        if self.anchor is None:
            return
        kept = len(self.anchor)
        if kept > tx.seq:
            raise AdvisorError(
                "CHAIN_BROKEN",
                f"{self.name} ends at record {tx.seq}, its anchor {self.anchor.path} knows {kept}: records were lost; "
                "'audit verify' says which",
            )
        last = self.anchor.hash_of(kept) if kept == tx.seq and kept else None
        if last is not None and last != tx.hash:
            raise AdvisorError(
                "CHAIN_BROKEN",
                f"record {tx.seq} of {self.name} is not the one that its anchor {self.anchor.path} knows; "
                "'audit verify' says where they part",
            )

    def _keep(self, tx: Tx) -> None:
        if self.anchor is None:
            return
        first = tx.seq - len(tx.appended) + 1
        try:
            # Another process may have been killed between its commit and its anchor.
            if len(self.anchor) < first - 1:
                self._catch_up(self.anchor, len(self.anchor) + 1)
            else:
                self.anchor.keep(first, tx.appended)
        except OSError as error:
            raise no_record(str(self.anchor.path), error) from None


def open_store(
    address: str | Path,
    *,
    anchor: str | Path | None = None,
    clock: Clock = system_clock,
    create: bool = True,
    inspect: bool = False,
) -> Store:
    """Open a store.

    Parameters
    ----------
    address
        A path (or ``sqlite:///path``) or ``postgresql://user:password@host/database``.
    anchor
        The file of the anchor; for SQLite it is the database's name with ``.anchor`` where nothing is said.
    clock
        Says what time it is.
    create
        Make a SQLite file where there is none.
    inspect
        See :class:`Store`.

    Raises
    ------
    AdvisorError
        See :class:`Store`.
    ImportError
        For PostgreSQL without the extra ``advisor``.
    """
    text = str(address)
    if text.startswith(("postgresql:", "postgres:")):
        from agents.advisor.database_postgres import PostgresDatabase

        return Store(PostgresDatabase(text.replace("postgres:", "postgresql:", 1)), anchor, clock, inspect=inspect)
    scheme, _, rest = text.partition("://")
    if rest and scheme != "sqlite":
        raise AdvisorError(
            "NO_RECORD", f"no store of the kind '{scheme}' (allowed: a path, sqlite:///path, postgresql://...)"
        )
    path = Path(rest.removeprefix("/") if rest else text)
    database = SqliteDatabase(path, create=create and not inspect)
    return Store(database, f"{path}.anchor" if anchor is None else anchor, clock, inspect=inspect)
