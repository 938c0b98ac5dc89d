"""The advisor's tables. The records are the truth; the others are what the records come to, kept for quick answers.

``records`` and ``head`` are the chain. ``control`` holds the mode and what else there is one of; ``activations`` the
bundles; ``decisions`` what is known by request and what demotion counts; ``proposals`` where each approval stands;
``outbox`` what was sent, by idempotency key. :func:`agents.advisor.audit.verify` compares them with the records.
"""

from __future__ import annotations

__all__ = ["TABLES"]

# Types that SQLite and PostgreSQL both read as meant: REAL would be single precision in PostgreSQL.
TABLES = (
    """CREATE TABLE IF NOT EXISTS records (
        seq BIGINT PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        previous TEXT NOT NULL, hash TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS head (
        one INTEGER PRIMARY KEY CHECK (one = 1), seq BIGINT NOT NULL, hash TEXT NOT NULL, at TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS control (name TEXT PRIMARY KEY, value TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS activations (
        number BIGINT PRIMARY KEY, bundle_id TEXT NOT NULL, path TEXT NOT NULL, settings TEXT NOT NULL,
        withdrawn INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS decisions (
        seq BIGINT PRIMARY KEY, id TEXT UNIQUE, request_id TEXT UNIQUE, request_hash TEXT, stale INTEGER NOT NULL,
        outlier INTEGER NOT NULL, blocked INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS proposals (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL, bundle_id TEXT NOT NULL,
        action_hash TEXT NOT NULL, orders TEXT NOT NULL, spend DOUBLE PRECISION, needed INTEGER NOT NULL,
        persons TEXT NOT NULL, expires TEXT NOT NULL, trail TEXT NOT NULL, day TEXT, amounts TEXT, owner TEXT,
        lease TEXT, executed BIGINT)""",
    """CREATE INDEX IF NOT EXISTS proposals_by_day ON proposals (day)""",
    """CREATE INDEX IF NOT EXISTS proposals_by_execution ON proposals (executed)""",
    """CREATE INDEX IF NOT EXISTS proposals_by_state ON proposals (state)""",
    """CREATE TABLE IF NOT EXISTS outbox (
        key TEXT PRIMARY KEY, proposal TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, detail TEXT NOT NULL)""",
)
