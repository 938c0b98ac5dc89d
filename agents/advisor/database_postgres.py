"""PostgreSQL as the advisor's database, through SQLAlchemy Core: the extra ``advisor``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agents.advisor.database import Connection, Row, no_record

if TYPE_CHECKING:
    import sqlalchemy

__all__ = ["PostgresDatabase"]

#: How long a new connection may take, seconds.
_PATIENCE = 10


class PostgresDatabase:
    """A PostgreSQL database.

    Parameters
    ----------
    url
        ``postgresql://user:password@host/database``.

    Raises
    ------
    ImportError
        Without SQLAlchemy and psycopg.
    """

    # Without it two CREATE TABLE IF NOT EXISTS at once end in an error of a system table.
    setup_lock = "SELECT pg_advisory_xact_lock(20250607)"
    append_only: tuple[str, ...] = (
        "CREATE OR REPLACE FUNCTION records_are_append_only() RETURNS trigger AS "
        "$$ BEGIN RAISE EXCEPTION 'records are append-only'; END $$ LANGUAGE plpgsql",
        "CREATE OR REPLACE TRIGGER records_stay BEFORE UPDATE OR DELETE ON records "
        "FOR EACH ROW EXECUTE FUNCTION records_are_append_only()",
    )
    for_update = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: F401
            import sqlalchemy
        except ImportError:
            raise ImportError(
                "a PostgreSQL store needs SQLAlchemy and psycopg: pip install 'cogtwin[advisor]'"
            ) from None
        address = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
        # Never with the password: names end up in messages and records.
        self.name = address.render_as_string(hide_password=True)
        # READ COMMITTED is enough, because every writer first locks the one row of the head.
        self._engine = sqlalchemy.create_engine(
            address,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": _PATIENCE, "options": "-c synchronous_commit=on"},
        )
        self._error = sqlalchemy.exc.SQLAlchemyError
        self._statements: dict[str, sqlalchemy.TextClause] = {}

    @contextmanager
    def write(self) -> Iterator[Connection]:
        yield from self._transaction()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield from self._transaction()

    def close(self) -> None:
        self._engine.dispose()

    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield _PostgresConnection(connection, self._statements)
        except self._error as error:
            # The first line is the cause; SQLAlchemy adds the statement and its values, which are no one's business.
            raise no_record(self.name, str(error).splitlines()[0]) from None


class _PostgresConnection:
    def __init__(self, connection: sqlalchemy.Connection, statements: dict[str, sqlalchemy.TextClause]) -> None:
        self._connection, self._statements = connection, statements

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> int:
        return int(self._connection.execute(self._text(sql), values or {}).rowcount)

    def query(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        return [tuple(row) for row in self._connection.execute(self._text(sql), values or {})]

    def _text(self, sql: str) -> sqlalchemy.TextClause:
        import sqlalchemy

        if sql not in self._statements:
            self._statements[sql] = sqlalchemy.text(sql)
        return self._statements[sql]
