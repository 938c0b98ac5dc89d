"""What the interfaces show of the record: decisions with where they stand, and records by what they say."""

from __future__ import annotations

from typing import Any

from agents.advisor.approvals import STEPS
from agents.advisor.decision import Decision
from agents.advisor.errors import AdvisorError
from agents.advisor.store import Record, Tx
from twin.errors import did_you_mean

__all__ = ["find_decision", "last_state", "list_decisions", "search_records"]

_NEWEST = 2**62
_DECISION = (
    "SELECT r.seq, r.at, r.kind, r.body, r.previous, r.hash, p.state FROM decisions d JOIN records r ON r.seq = d.seq "
    "LEFT JOIN proposals p ON p.id = d.id WHERE d.id IS NOT NULL"
)


def find_decision(tx: Tx, decision_id: str) -> tuple[Decision, str]:
    """A decision and when it was made; AdvisorError ``NOT_FOUND`` where there is none."""
    rows = tx.query(f"{_DECISION} AND d.id = :id", {"id": decision_id})
    if not rows:
        raise AdvisorError("NOT_FOUND", f"there is no decision '{decision_id}'")
    return _decision(rows[0])


def list_decisions(
    tx: Tx, *, state: str | None = None, before: int | None = None, limit: int = 50
) -> list[tuple[Decision, str]]:
    """Decisions with the moments they were made, newest first.

    Parameters
    ----------
    state
        Only those whose proposal stands there.
    before
        Only those with a smaller record number.
    limit
        At most so many.

    Raises
    ------
    AdvisorError
        ``REQUEST`` for a word that is no state.
    """
    if state is not None and state not in STEPS:
        raise AdvisorError("REQUEST", f"no state '{state}' (allowed: {', '.join(STEPS)}){did_you_mean(state, STEPS)}")
    where = "" if state is None else " AND p.state = :state"
    rows = tx.query(
        f"{_DECISION} AND d.seq < :before{where} ORDER BY d.seq DESC LIMIT :limit",
        {"before": _NEWEST if before is None else before, "state": state, "limit": limit},
    )
    return [_decision(row) for row in rows]


def search_records(
    tx: Tx, *, kind: str | None = None, text: str | None = None, before: int | None = None, limit: int = 50
) -> list[Record]:
    """Records, newest first.

    Parameters
    ----------
    kind
        Only those of this kind.
    text
        Only those whose body has this text somewhere, in whatever case.
    before
        Only those with a smaller number.
    limit
        At most so many.
    """
    values: dict[str, Any] = {"before": _NEWEST if before is None else before, "limit": limit}
    where = "seq < :before"
    if kind:
        where, values["kind"] = f"{where} AND kind = :kind", kind
    if text:
        for mark in "!%_":
            text = text.replace(mark, f"!{mark}")
        where, values["text"] = f"{where} AND LOWER(body) LIKE LOWER(:text) ESCAPE '!'", f"%{text}%"
    rows = tx.query(f"SELECT * FROM records WHERE {where} ORDER BY seq DESC LIMIT :limit", values)
    return [Record(*row) for row in rows]


def last_state(tx: Tx) -> tuple[Any, str] | None:
    """The request of the last decision and its moment: what is known of the world. None before there is any."""
    found = list_decisions(tx, limit=1)
    return (found[0][0].body["request"], found[0][1]) if found else None


def _decision(row: Any) -> tuple[Decision, str]:
    record = Record(*row[:6])
    return Decision(record.seq, record.data, None if row[6] is None else str(row[6])), record.at
