"""Approvals: from a proposal to its outcome, one step at a time, each step a record and a compare-and-swap.

    proposed -> approved | rejected | modified | expired
    approved | modified -> executing | failed | expired
    executing -> done | failed | unknown
    unknown -> done | failed, by a person who has looked

What is approved is one action (its hash) of one bundle until one moment. The functions here run inside a transaction
and return a refusal instead of raising it, so that the record of the refusal is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents.advisor.canonical import canonical
from agents.advisor.clock import text_of
from agents.advisor.errors import AdvisorError
from agents.advisor.store import Record, Tx
from twin.errors import did_you_mean

__all__ = ["STEPS", "Proposal", "State", "approve", "expire_due", "find", "move", "proposals", "propose", "prove"]
__all__ += ["ready", "refuse", "reject"]

State = Literal["proposed", "approved", "modified", "rejected", "expired", "executing", "done", "failed", "unknown"]

#: Where each state may go. A modification that needs a second person is proposed again.
STEPS: dict[str, tuple[str, ...]] = {
    "proposed": ("proposed", "approved", "modified", "rejected", "expired"),
    "approved": ("executing", "failed", "expired"),
    "modified": ("executing", "failed", "expired"),
    "executing": ("done", "failed", "unknown"),
    "unknown": ("done", "failed"),
    "rejected": (),
    "expired": (),
    "done": (),
    "failed": (),
}

_COLUMNS = (
    "id, state, version, bundle_id, action_hash, orders, spend, needed, persons, expires, trail, day, owner, lease"
)


@dataclass(frozen=True)
class Proposal:
    """One action that waits, or waited, for persons.

    Attributes
    ----------
    id
        Of the decision it comes from.
    state
        Where it stands.
    version
        Goes up with every step; what two persons saw at once only one of them can change.
    bundle_id, action_hash
        What an approval is bound to.
    orders
        Units by arc.
    spend
        Their worth; None where prices are missing.
    needed, persons
        How many must approve, and who has.
    expires
        After this moment nothing happens with it any more.
    trail
        Numbers of its records.
    day
        On which it was executed, or None.
    owner, lease
        Which process executes it, and until when its outcome is awaited.
    """

    id: str
    state: str
    version: int
    bundle_id: str
    action_hash: str
    orders: Mapping[str, float]
    spend: float | None
    needed: int
    persons: tuple[str, ...]
    expires: str
    trail: tuple[int, ...]
    day: str | None
    owner: str | None
    lease: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "orders": dict(self.orders), "persons": [*self.persons], "trail": [*self.trail]}


def _of(row: Sequence[Any]) -> Proposal:
    cells = list(row)
    cells[5], cells[8], cells[10] = json.loads(row[5]), tuple(json.loads(row[8])), tuple(json.loads(row[10]))
    return Proposal(*cells)


def find(tx: Tx, proposal_id: str) -> Proposal:
    """A proposal; AdvisorError ``NOT_FOUND`` where there is none."""
    rows = tx.query(f"SELECT {_COLUMNS} FROM proposals WHERE id = :id", {"id": proposal_id})
    if not rows:
        recent = [row[0] for row in tx.query("SELECT id FROM proposals ORDER BY expires DESC LIMIT 50")]
        raise AdvisorError("NOT_FOUND", f"there is no proposal '{proposal_id}'{did_you_mean(proposal_id, recent)}")
    return _of(rows[0])


def proposals(tx: Tx, state: str | None = None) -> list[Proposal]:
    """All proposals of a state, or all, oldest first."""
    where = "" if state is None else "WHERE state = :state "
    return [
        _of(row) for row in tx.query(f"SELECT {_COLUMNS} FROM proposals {where}ORDER BY expires, id", {"state": state})
    ]


def propose(
    tx: Tx,
    record: Record,
    proposal_id: str,
    *,
    state: State,
    bundle_id: str,
    action_hash: str,
    orders: Mapping[str, float],
    spend: float | None,
    needed: int,
    expires: str,
) -> None:
    """Open a proposal; ``record`` is that of its decision."""
    tx.execute(
        f"INSERT INTO proposals ({_COLUMNS}) VALUES (:id, :state, 1, :bundle_id, :action_hash, :orders, :spend, "
        ":needed, '[]', :expires, :trail, NULL, NULL, NULL)",
        {
            "id": proposal_id,
            "state": state,
            "bundle_id": bundle_id,
            "action_hash": action_hash,
            "orders": canonical(dict(orders)),
            "spend": spend,
            "needed": needed,
            "expires": expires,
            "trail": canonical([record.seq]),
        },
    )


def move(
    tx: Tx,
    proposal: Proposal,
    state: State,
    kind: str,
    body: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
) -> Record:
    """Take a proposal one step on, with its record.

    Parameters
    ----------
    proposal
        As it was read in this transaction.
    state
        Where it goes.
    kind, body
        Of the record; proposal, state and action hash are added.
    changes
        Other columns that change.

    Raises
    ------
    AdvisorError
        ``CONFLICT`` when the step is not one of :data:`STEPS`, or somebody else was faster.
    """
    if state not in STEPS[proposal.state]:
        allowed = ", ".join(STEPS[proposal.state]) or "nothing"
        raise AdvisorError(
            "CONFLICT", f"proposal '{proposal.id}' is {proposal.state} and cannot become {state} (allowed: {allowed})"
        )
    columns = dict(changes or {})
    action_hash = columns.get("action_hash", proposal.action_hash)
    record = tx.append(kind, {**body, "proposal": proposal.id, "state": state, "action_hash": action_hash})
    columns |= {"state": state, "version": proposal.version + 1, "trail": canonical([*proposal.trail, record.seq])}
    done = tx.execute(
        f"UPDATE proposals SET {', '.join(f'{name} = :{name}' for name in columns)} "
        "WHERE id = :id AND state = :was AND version = :at_version",
        {**columns, "id": proposal.id, "was": proposal.state, "at_version": proposal.version},
    )
    if done != 1:
        raise AdvisorError("CONFLICT", f"somebody else was faster with proposal '{proposal.id}'")
    return record


def refuse(tx: Tx, proposal: Proposal, what: str, person: str, code: str, detail: str) -> AdvisorError:
    """Keep the record of a step that was refused; the refusal."""
    body = {"id": proposal.id, "what": what, "person": person, "code": code, "detail": detail}
    record = tx.append("step_refused", body)
    return AdvisorError(code, detail, record=record.seq)


def ready(
    tx: Tx, proposal: Proposal, what: str, person: str, *, states: Sequence[str], action_hash: str, bundle_id: str
) -> AdvisorError | None:
    """What every step of a person needs: a state to start from, time left, this action, this bundle; or the refusal."""

    def no(code: str, detail: str) -> AdvisorError:
        return refuse(tx, proposal, what, person, code, f"proposal '{proposal.id}' {detail}")

    if proposal.state == "expired":
        return no("EXPIRED", f"expired at {proposal.expires}")
    if proposal.state not in states:
        by = f" by {', '.join(proposal.persons)}" if proposal.persons else ""
        return no("CONFLICT", f"is {proposal.state}{by}, and {what} needs it {' or '.join(states)}")
    if text_of(tx.now) >= proposal.expires:
        _expire(tx, proposal)
        return no("EXPIRED", f"expired at {proposal.expires}")
    if proposal.bundle_id != bundle_id:
        return no(
            "BUNDLE_MISMATCH",
            f"is of bundle {proposal.bundle_id[:12]}, and {bundle_id[:12]} is active now: decide again",
        )
    if len(action_hash) < 12 or not proposal.action_hash.startswith(action_hash):
        return no(
            "ACTION_MISMATCH",
            f"has the action {proposal.action_hash[:12]}, received {action_hash[:12] or 'none'}: look at it again",
        )
    return None


def approve(tx: Tx, proposal: Proposal, person: str, *, action_hash: str, bundle_id: str) -> AdvisorError | None:
    """One person's approval; the refusal, or None when it counts."""
    refusal = ready(
        tx, proposal, "approval", person, states=("proposed",), action_hash=action_hash, bundle_id=bundle_id
    )
    if refusal is not None:
        return refusal
    if person in proposal.persons:
        detail = f"proposal '{proposal.id}' needs {proposal.needed} persons, and {person} has approved it already"
        return refuse(tx, proposal, "approval", person, "SAME_PERSON", detail)
    persons = [*proposal.persons, person]
    state: State = "approved" if len(persons) >= proposal.needed else "proposed"
    move(tx, proposal, state, "approved", {"person": person}, {"persons": canonical(persons)})
    return None


def reject(tx: Tx, proposal: Proposal, person: str, reason: str) -> AdvisorError | None:
    """A rejection needs no hash and no bundle: whatever it was, it is not wanted."""
    if proposal.state != "proposed":
        code = "EXPIRED" if proposal.state == "expired" else "CONFLICT"
        return refuse(tx, proposal, "rejection", person, code, f"proposal '{proposal.id}' is {proposal.state}")
    move(tx, proposal, "rejected", "rejected", {"person": person, "reason": reason})
    return None


def expire_due(tx: Tx) -> int:
    """Expire what is past its moment; how many that were."""
    due = tx.query(
        f"SELECT {_COLUMNS} FROM proposals WHERE state IN ('proposed', 'approved', 'modified') AND expires <= :now",
        {"now": text_of(tx.now)},
    )
    for row in due:
        _expire(tx, _of(row))
    return len(due)


def _expire(tx: Tx, proposal: Proposal) -> None:
    move(tx, proposal, "expired", "expired", {"expires": proposal.expires})


def prove(tx: Tx, proposal: Proposal) -> dict[str, float]:
    """The orders that the records say were approved, whatever the table says.

    The table is only what the records come to. Whoever can write to it must not be able to send an order with it.

    Raises
    ------
    AdvisorError
        ``CHAIN_BROKEN`` when a record of the trail was changed, or the approvals are not there.
    """
    orders, action_hash, needed = None, "", 0
    persons: set[str] = set()
    records = tx.records(proposal.trail)
    broken = len(records) != len(proposal.trail) or any(record.computed != record.hash for record in records)
    for record in records:
        body = record.data
        if record.kind == "decision":
            broken |= (body["bundle_id"], body["expires"]) != (proposal.bundle_id, proposal.expires)
        if record.kind in {"decision", "modified"} and body["proposal"] == proposal.id:
            orders, action_hash, needed, persons = body["orders"], body["action_hash"], body["needed"], set()
        if record.kind in {"approved", "modified"} and body["proposal"] == proposal.id:
            if body["action_hash"] != action_hash:
                broken = True
            persons.add(body["person"])
    if broken or orders is None or action_hash != proposal.action_hash or len(persons) < needed:
        raise AdvisorError("CHAIN_BROKEN", f"proposal '{proposal.id}' is {proposal.state} without the records of it")
    return dict(orders)
