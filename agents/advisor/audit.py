"""Is the record whole? The first bad record, by number, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from agents.advisor.ledger import Ledger
from agents.advisor.store import GENESIS, Record, Store, record_hash

__all__ = ["Finding", "Verdict", "verify"]

Fault = Literal["edited", "deleted", "reordered", "truncated", "rewritten", "anchor", "tables"]

#: How many numbers are tried when a record may come from another place of the chain.
_TRIED = 100_000


@dataclass(frozen=True)
class Finding:
    """What is wrong with the record: the first number that is bad, the fault, and a sentence for people."""

    seq: int
    fault: Fault
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify` found.

    Attributes
    ----------
    records
        How many were good.
    head
        Hash of the last good one. Kept elsewhere, ``number:hash`` proves later that nothing before it was changed.
    finding
        The first fault; None when all is well.
    """

    records: int
    head: str
    finding: Finding | None

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return self.finding is None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        finding = None if self.finding is None else vars(self.finding)
        return {"ok": self.ok, "records": self.records, "head": f"{self.records}:{self.head}", "finding": finding}


def verify(store: Store, expected: tuple[int, str] | None = None) -> Verdict:
    """Read every record and compare it with its hash, the one before, the anchor, and the tables that follow from it.

    Parameters
    ----------
    store
        Its database is only read.
    expected
        Number and hash of a record, as ``audit head`` printed them earlier. With it not even a rewritten anchor goes
        unnoticed.
    """
    last, ledger = 0, Ledger()
    previous = GENESIS
    for record in store.records(0):
        finding = _check(store, record, last, previous)
        if finding is None and expected is not None and record.seq == expected[0] and record.hash != expected[1]:
            finding = Finding(
                record.seq, "rewritten", f"record {record.seq} has hash {record.hash}, expected {expected[1]}"
            )
        if finding is not None:
            return Verdict(last, previous, finding)
        last, previous = record.seq, record.hash
        ledger.add(record)
    if store.anchor_gone:
        detail = f"the anchor of {store.name} is gone, so that records missing behind {last} would not show"
        return Verdict(last, previous, Finding(last + 1, "anchor", detail))
    return Verdict(last, previous, _check_end(store, last, previous, expected) or _check_tables(store, ledger, last))


def _check(store: Store, record: Record, last: int, previous: str) -> Finding | None:
    seq = last + 1
    if record.seq != seq:
        first, many = min(seq, record.seq), record.seq - seq
        return Finding(first, "deleted", f"{many} records are missing before record {record.seq}, the first is {first}")
    if record.computed != record.hash:
        home = _home(store, record)
        if home is not None:
            return Finding(seq, "reordered", f"in the place of record {seq} stands record {home}")
        return Finding(seq, "edited", f"record {seq} ({record.kind}, {record.at}) was changed: its hash is another")
    kept = store.anchor.hash_of(seq) if store.anchor is not None else None
    if kept is not None and kept != record.hash:
        return Finding(seq, "rewritten", f"record {seq} is not the one that the anchor knows: it was written anew")
    if record.previous != previous:
        return Finding(seq, "rewritten", f"record {seq} does not continue record {last}: one of them was written anew")
    return None


def _home(store: Store, record: Record) -> int | None:
    """The number under which a record's own hash is right, when it stands in the wrong place."""
    head = max(store.head()[0], len(store.anchor) if store.anchor is not None else 0)
    for seq in range(1, min(head, _TRIED) + 1):
        if record_hash(record.previous, seq, record.at, record.kind, record.body) == record.hash:
            return seq
    return None


def _check_end(store: Store, last: int, previous: str, expected: tuple[int, str] | None) -> Finding | None:
    head, head_hash = store.head()
    kept = len(store.anchor) if store.anchor is not None else 0
    known = max(head, kept, expected[0] if expected is not None else 0)
    if known > last:
        return Finding(
            last + 1, "truncated", f"the record ends at {last}, but {known} were written: {known - last} are cut off"
        )
    # Records that were added while this was read are none of its business.
    if head == last and head_hash != previous:
        return Finding(last, "rewritten", f"the head names another hash than record {last} has")
    if head < last:
        return Finding(head + 1, "rewritten", f"record {head + 1} was added beside the head, which ends at {head}")
    return None


def _check_tables(store: Store, ledger: Ledger, last: int) -> Finding | None:
    with store.read() as tx:
        if tx.seq != last:
            return None
        problem = ledger.compare(tx)
    return None if problem is None else Finding(problem[0], "tables", problem[1])
