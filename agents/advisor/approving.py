"""What persons do with a proposal: approve, modify, reject, execute, and say what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.advisor import activation, approvals
from agents.advisor.active import Active
from agents.advisor.actual import read_actual, read_orders
from agents.advisor.approvals import Proposal
from agents.advisor.canonical import canonical
from agents.advisor.core import Core, check_person, needed_persons
from agents.advisor.errors import STATUS, AdvisorError, Problem, first_of
from agents.advisor.guards import Guarded
from agents.advisor.outbox import finish
from agents.advisor.request import Request, parse_request
from agents.advisor.store import Tx

__all__ = ["Approving"]


class Approving(Core):
    """The part of an advisor that persons deal with."""

    def approve(self, proposal_id: str, *, person: str, action_hash: str, state: object = None) -> Proposal:
        """Approve a proposal, and execute it when that was the last approval and a fresh state is given.

        Parameters
        ----------
        proposal_id
            Of the decision.
        person
            Who approves.
        action_hash
            What is approved, or its first 12 or more digits.
        state
            The state of now, a request as for :meth:`decide`; without one :meth:`execute` does the rest.

        Raises
        ------
        AdvisorError
            ``HALTED``, ``GATE`` in shadow, ``NOT_FOUND``,
            ``CONFLICT``, ``SAME_PERSON``, ``EXPIRED``, ``BUNDLE_MISMATCH``,
            ``ACTION_MISMATCH``; those of :meth:`execute` with a state.
        """
        check_person(person)

        def step(tx: Tx, active: Active, proposal: Proposal) -> AdvisorError | None:
            return approvals.approve(tx, proposal, person, action_hash=action_hash, bundle_id=active.bundle_id)

        proposal = self._step(proposal_id, "approval", person, step)
        if state is None or proposal.state != "approved":
            return proposal
        return self.execute(proposal_id, state, person=person)

    def modify(
        self, proposal_id: str, orders: Mapping[str, float], *, person: str, action_hash: str, state: object
    ) -> Proposal:
        """Approve other orders than were proposed. They are guarded like the policy's, on the state of now.

        A guard that would change them refuses them instead, and says to what: what a person has decided is not changed
        silently.

        Raises
        ------
        AdvisorError
            As :meth:`approve`, and the guard's code.
        """
        check_person(person)
        active = self.active
        request = self._fresh(active, state)
        amounts = read_orders(orders, active)

        def step(tx: Tx, active: Active, proposal: Proposal) -> AdvisorError | None:
            refusal = approvals.ready(
                tx,
                proposal,
                "modification",
                person,
                states=("proposed",),
                action_hash=action_hash,
                bundle_id=active.bundle_id,
            )
            if refusal is not None:
                return refusal
            vector = active.vector(amounts)
            facts = self.facts(tx, active, request)
            guarded = active.guards.apply(vector, facts)
            if guarded.changed:
                code, detail, problems = _changed(guarded)
                refusal = approvals.refuse(tx, proposal, "modification", person, code, detail)
                return AdvisorError(code, detail, problems, refusal.record)
            spend = active.guards.spend(vector)
            needed = needed_persons(active.rails, spend)
            whole = active.named(vector)
            body = {
                "person": person,
                "orders": whole,
                "before": dict(proposal.orders),
                "facts": facts.to_dict(),
                "needed": needed,
                "spend": spend,
            }
            columns = {
                "orders": canonical(whole),
                "action_hash": active.action_hash(proposal.id, whole),
                "spend": spend,
                "needed": needed,
                "persons": canonical([person]),
            }
            approvals.move(tx, proposal, "modified" if needed <= 1 else "proposed", "modified", body, columns)
            return None

        return self._step(proposal_id, "modification", person, step)

    def reject(self, proposal_id: str, *, person: str, reason: str = "") -> Proposal:
        """Reject a proposal, in whatever mode.

        Raises
        ------
        AdvisorError
            ``NOT_FOUND``, ``CONFLICT``, ``EXPIRED``.
        """
        check_person(person)
        with self.store.write() as tx:
            refusal = approvals.reject(tx, approvals.find(tx, proposal_id), person, reason)
            proposal = approvals.find(tx, proposal_id)
        if refusal is not None:
            raise refusal
        return proposal

    def execute(self, proposal_id: str, state: object, *, person: str) -> Proposal:
        """Execute an approved proposal: guards again on the state of now, intent, message, outcome.

        Raises
        ------
        AdvisorError
            As :meth:`approve`; ``GUARD_AT_EXECUTION`` when a guard would change or block it now, which ends it.
        """
        check_person(person)
        request = self._fresh(self.active, state)
        keys: list[str] = []

        def step(tx: Tx, active: Active, proposal: Proposal) -> AdvisorError | None:
            refusal = approvals.ready(
                tx,
                proposal,
                "execution",
                person,
                states=("approved", "modified"),
                action_hash=proposal.action_hash,
                bundle_id=active.bundle_id,
            )
            if refusal is not None:
                return refusal
            vector = active.vector(approvals.prove(tx, proposal))
            facts = self.facts(tx, active, request)
            guarded = active.guards.apply(vector, facts)
            if guarded.changed:
                code, detail, problems = _changed(guarded)
                body = {"person": person, "code": code, "detail": detail, "facts": facts.to_dict()}
                record = approvals.move(tx, proposal, "failed", "guarded", body)
                detail = f"the world has changed since it was approved, decide again: {detail}"
                return AdvisorError("GUARD_AT_EXECUTION", detail, problems, record.seq)
            keys.append(self.intend(tx, active, proposal, vector, facts))
            return None

        self._step(proposal_id, "execution", person, step)
        self.outbox.send(proposal_id, keys[0])
        return self.proposal(proposal_id)

    def resolve(self, proposal_id: str, outcome: str, *, person: str, detail: str = "") -> Proposal:
        """Say what became of an ``unknown`` execution: ``done`` or ``failed``. Only a person who has looked can.

        Raises
        ------
        AdvisorError
            ``NOT_FOUND``, ``CONFLICT`` when it is not unknown, ``REQUEST`` for another outcome.
        """
        check_person(person)
        if outcome not in {"done", "failed"}:
            raise AdvisorError("REQUEST", f"an outcome is 'done' or 'failed', not '{outcome}'")
        with self.store.write() as tx:
            proposal = approvals.find(tx, proposal_id)
            if proposal.state != "unknown":
                raise AdvisorError("CONFLICT", f"proposal '{proposal_id}' is {proposal.state}, not unknown")
            state: approvals.State = "done" if outcome == "done" else "failed"
            approvals.move(tx, proposal, state, "resolved", {"person": person, "detail": detail})
        return self.proposal(proposal_id)

    def report(self, proposal_id: str, outcome: str, detail: str = "") -> Proposal:
        """The receiver's own word on an execution that is still open: ``done``, ``failed`` or ``unknown``.

        Raises
        ------
        AdvisorError
            ``NOT_FOUND``, or ``REQUEST`` for another outcome.
        """
        if outcome not in {"done", "failed", "unknown"}:
            raise AdvisorError("REQUEST", f"an outcome is 'done', 'failed' or 'unknown', not '{outcome}'")
        with self.store.write() as tx:
            finish(tx, approvals.find(tx, proposal_id), outcome, detail)  # type: ignore[arg-type]
        return self.proposal(proposal_id)

    def note_actual(self, decision_id: str, actual: object, *, person: str) -> int:
        """Put on record what really happened in the period of a decision, whoever acted; the record's number.

        A second report corrects the first: the later one counts, both are kept.

        Parameters
        ----------
        actual
            ``orders`` (units by arc, all of them), and where they are known ``cost`` (money in the period), ``demand``
            and ``served`` (units in the period).

        Raises
        ------
        AdvisorError
            ``NOT_FOUND``, ``PERSON``, or with every bad entry.
        """
        check_person(person)
        active = self.active
        body = read_actual(actual, active)
        with self.store.write() as tx:
            rows = tx.query("SELECT seq FROM decisions WHERE id = :id", {"id": decision_id})
            if not rows:
                raise AdvisorError("NOT_FOUND", f"there is no decision '{decision_id}'")
            record = tx.append("actual", {"id": decision_id, "person": person, **body})
            seq, known = int(rows[0][0]), tx.get("actual")
            if known is None or seq >= known["decision"]:
                tx.set("actual", {"decision": seq, "orders": body["orders"]})
        return record.seq

    def proposal(self, proposal_id: str) -> Proposal:
        """A proposal; AdvisorError ``NOT_FOUND`` where there is none."""
        with self.store.read() as tx:
            return approvals.find(tx, proposal_id)

    def proposals(self, state: str | None = None) -> list[Proposal]:
        """All proposals of a state, or all."""
        with self.store.read() as tx:
            return approvals.proposals(tx, state)

    def _step(
        self,
        proposal_id: str,
        what: str,
        person: str,
        step: Callable[[Tx, Active, Proposal], AdvisorError | None],
    ) -> Proposal:
        """One person's step on a proposal, in one transaction, with the bundle that is active in it."""
        while True:
            number, active = self.load_current()
            with self.store.write() as tx:
                if activation.active_number(tx) != number:
                    continue
                proposal = approvals.find(tx, proposal_id)
                mode = self.settle(tx, active)
                if mode == "halted":
                    refusal: AdvisorError | None = approvals.refuse(
                        tx, proposal, what, person, "HALTED", f"the advisor is halted: no {what}"
                    )
                elif mode == "shadow":
                    detail = f"the mode is shadow, the incumbent acts: no {what}"
                    refusal = approvals.refuse(tx, proposal, what, person, "GATE", detail)
                else:
                    refusal = step(tx, active, approvals.find(tx, proposal_id))
                after = approvals.find(tx, proposal_id)
            if refusal is not None:
                raise refusal
            return after

    def _fresh(self, active: Active, state: object) -> Request:
        """The state of now, for a proposal that waits; AdvisorError as in a decision, without a record of its own."""
        request, problems = parse_request(state, active.fields, active.arcs, active.guards.limit_names, active.hashes)
        if request is not None:
            before = self.look()
            problems = self.timely(active, request, before.times, before.last)
        if request is None or problems:
            raise first_of(problems)
        return request


def _changed(guarded: Guarded) -> tuple[str, str, list[Problem]]:
    """The code of the first guard that would not pass, a sentence, and each order with what is allowed."""
    first = next(check for check in guarded.checks if check.verdict != "pass")
    problems = [
        Problem(_code(check.code), change.arc, f"'{change.arc}': {change.before:g} is not allowed, {change.after:g} is")
        for check in guarded.checks
        for change in check.changes
    ]
    detail = first.detail if first.verdict == "block" else "; ".join(problem.detail for problem in problems[:3])
    return _code(first.code), f"{first.code}: {detail}", problems


def _code(guard: str) -> str:
    """The refusal that a guard's code stands for."""
    return guard if guard in STATUS else "HARD_LIMIT"
