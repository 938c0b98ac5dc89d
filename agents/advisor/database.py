"""The seam between the store and its database: transactions that are durable when they end, and one dialect of SQL.

Statements name their parameters (``:name``), which SQLite and SQLAlchemy both read, so that there is one store and two
thin drivers rather than two stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from agents.advisor.errors import AdvisorError

__all__ = ["Connection", "Database", "Row", "no_record"]

Row = tuple[Any, ...]


class Connection(Protocol):
    """An open transaction."""

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> int:
        """Run a statement; the number of rows it changed."""
        ...

    def query(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a query."""
        ...


class Database(Protocol):
    """A database that keeps what it has committed."""

    #: What a person calls this database.
    name: str
    #: Taken before the tables are made, so that two processes that start together do not both make them; may be empty.
    setup_lock: str
    #: Statements that make records append-only.
    append_only: tuple[str, ...]
    #: Behind a SELECT: the row is locked until the transaction ends.
    for_update: str

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that no other writer overlaps; synced to disk when the block ends, undone when it raises."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


def no_record(name: str, error: object) -> AdvisorError:
    """The refusal where the database does not take a record: no record, no action."""
    return AdvisorError("NO_RECORD", f"the audit record cannot be kept in {name}, so nothing was done: {error}")
