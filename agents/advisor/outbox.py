"""The outbox: an intent is on disk before anything is sent, and what was sent is never sent again by itself.

The row of a message is written with the intent, in one transaction. Then it is sent; then its outcome is written. Where
the process ends in between nobody knows whether it was taken: the proposal becomes ``unknown`` and waits for a person.
"""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from agents.advisor.approvals import Proposal, find, move, proposals
from agents.advisor.canonical import canonical
from agents.advisor.clock import text_of
from agents.advisor.dispatch import NotSentError, Sender, UnsureError
from agents.advisor.modes import demote
from agents.advisor.store import Store, Tx

__all__ = ["Outbox", "Outcome", "finish", "recover"]

Outcome = Literal["done", "failed", "unknown"]

#: Waits between attempts that were certainly not taken, seconds.
_WAITS = (0.05, 0.25)
#: Beyond a sender's patience, seconds: for the records around it.
_MARGIN = 30.0


def _self() -> str:
    """Who executes, so that another process can tell whether this one still runs: host, number, and when it started."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in ticks; the number alone may have gone to another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _gone(owner: str | None) -> bool:
    """True when it is certain that the process no longer runs."""
    host, _, rest = (owner or "").rpartition(":")[0].partition(":")
    started = (owner or "").rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit() or not started:
        return False
    return _started(int(rest)) != started


class Outbox:
    """Sends what was approved.

    Parameters
    ----------
    store
        Where intents and outcomes are kept.
    sender
        Where the orders go; None hands them to the caller, who acts on the answer.
    """

    def __init__(self, store: Store, sender: Sender | None) -> None:
        self._store, self._sender = store, sender

    def intend(self, tx: Tx, proposal: Proposal, message: Mapping[str, Any], columns: Mapping[str, Any]) -> str:
        """Write the intent to execute a proposal; the idempotency key.

        Parameters
        ----------
        message
            What is sent, beside the key.
        columns
            Of the proposal: ``day`` and ``amounts``.
        """
        # From the proposal's own name: an action that was sent has a key that was used, and inserting it again fails.
        key = f"{proposal.id}-{proposal.action_hash[:16]}"
        to = "the caller" if self._sender is None else self._sender.name
        patience = (0.0 if self._sender is None else self._sender.patience_seconds * (len(_WAITS) + 1)) + _MARGIN
        lease = text_of(tx.now + datetime.timedelta(seconds=patience))
        body = canonical({**message, "key": key})
        move(
            tx,
            proposal,
            "executing",
            "intent",
            {"key": key, "to": to, "message": body},
            {**columns, "owner": _self(), "lease": lease, "executed": tx.seq + 1},
        )
        tx.execute(
            "INSERT INTO outbox VALUES (:key, :proposal, 'sending', :body, '')",
            {"key": key, "proposal": proposal.id, "body": body},
        )
        return key

    def send(self, proposal_id: str, key: str) -> Outcome:
        """Send the message of an intent that this process has just written, and write its outcome."""
        with self._store.read() as tx:
            body = str(tx.query("SELECT body FROM outbox WHERE key = :key", {"key": key})[0][0]).encode()
        outcome, detail = self._attempt(key, body)
        with self._store.write() as tx:
            finish(tx, find(tx, proposal_id), outcome, detail)
        return outcome

    def _attempt(self, key: str, body: bytes) -> tuple[Outcome, str]:
        if self._sender is None:
            return "done", "handed to the caller"
        said = ""
        for wait in (0.0, *_WAITS):
            time.sleep(wait)
            try:
                return "done", self._sender.send(key, body)
            except NotSentError as error:
                said = str(error)
                if not error.again:
                    break
            except UnsureError as error:
                return "unknown", str(error)
            except Exception as error:
                # A sender that fails in a way of its own may have sent before it failed.
                return "unknown", f"{type(error).__name__} {error}"
        return "failed", said


def finish(tx: Tx, proposal: Proposal, outcome: Outcome, detail: str) -> None:
    """Write an outcome. One that comes after the proposal was given up is kept as what it is, and changes nothing."""
    detail = detail[:500]
    if proposal.state != "executing":
        tx.append("late_outcome", {"id": proposal.id, "outcome": outcome, "detail": detail, "found": proposal.state})
        return
    move(tx, proposal, outcome, "outcome", {"detail": detail})
    tx.execute(
        "UPDATE outbox SET state = :state, detail = :detail WHERE proposal = :proposal AND state = 'sending'",
        {"state": outcome, "detail": detail, "proposal": proposal.id},
    )
    if outcome == "unknown":
        # In the same transaction: there is no moment at which an outcome is unknown and the advisor acts alone.
        demote(tx, ["UNKNOWN_OUTCOME"], proposal.id)


def recover(tx: Tx) -> list[str]:
    """Give up what executes in a process that ended, or for too long: ``unknown``; the proposals."""
    now, given_up = text_of(tx.now), []
    for proposal in proposals(tx, "executing"):
        late = proposal.lease is None or proposal.lease <= now
        if late or _gone(proposal.owner):
            why = "no outcome in time" if late else "the process that executed it ended"
            finish(tx, proposal, "unknown", f"{why}; whether it was taken must be looked up where it was sent")
            given_up.append(proposal.id)
    return given_up
