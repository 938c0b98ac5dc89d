"""One decision: from a request to a record, and to a message where nobody needs to be asked."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from agents.advisor import activation, approvals, modes
from agents.advisor.active import Active
from agents.advisor.canonical import digest, plain
from agents.advisor.clock import text_of
from agents.advisor.core import Core, needed_persons
from agents.advisor.decision import Decision, check_data
from agents.advisor.drift import DriftModel
from agents.advisor.errors import AdvisorError, Problem, first_of
from agents.advisor.explanation import explain, moving_fields
from agents.advisor.guardrails import Mode
from agents.advisor.guards import Guarded
from agents.advisor.pipeline import Assessment, LookAhead, Preview, assess, fall_back, seed_of
from agents.advisor.request import Request, parse_request
from agents.advisor.shield import Failure
from agents.advisor.store import Record, Tx

__all__ = ["Deciding"]

FloatArray = NDArray[np.float64]

#: Codes that count as stale data where demotion is concerned.
_STALE = frozenset({"STALE", "FUTURE", "TIME", "DATA_BACKWARDS"})


class _Sent(NamedTuple):
    """A request as it is recorded, and its hash: made once, because it is the largest part of a record."""

    data: Any
    hash: str

    @classmethod
    def of(cls, data: object) -> _Sent:
        kept = plain(data)
        return cls(kept, digest(kept))


class Deciding(Core):
    """The part of an advisor that decides."""

    def decide(self, data: object) -> Decision:
        """Decide for one state; see docs/advisor.md for what a request holds.

        Returns
        -------
        Decision
            On record. In autonomous mode, inside the envelope, its orders have been sent when this returns.

        Raises
        ------
        AdvisorError
            With the code, the status and every bad field; on record too, except where nothing can be recorded.
        """
        while True:
            number, active = self.load_current()
            outcome = self._decide(number, active, data)
            if outcome is not None:
                break
        if isinstance(outcome, AdvisorError):
            raise outcome
        decision, key = outcome
        refusal = decision.refusal()
        if refusal is not None:
            raise refusal
        if key is not None:
            state = self.outbox.send(decision.id, key)
            decision = Decision(decision.record, decision.body, state)
        return decision

    def _decide(self, number: int, active: Active, data: object) -> tuple[Decision, str | None] | AdvisorError | None:
        """A decision and the key of what must be sent; a refusal on record; None when the bundle changed meanwhile."""
        before, sent = self.look(), _Sent.of(data)
        request, problems = parse_request(data, active.fields, active.arcs, active.guards.limit_names, active.hashes)
        if before.mode == "halted":
            problems = [Problem("HALTED", "mode", "the advisor is halted: nothing is decided"), *problems]
        assessment = preview = None
        fields: list[dict[str, Any]] | str = "nobody was to be asked"
        if request is not None and not problems:
            problems = self.timely(active, request, before.times, before.last)
        if request is not None and not problems:
            assessment = assess(active, request.values, self.shield, self.fallback)
            problems = _unusual(active, assessment)
            if self._looks(active) is not None and not problems:
                assessment, preview = self._compare(active, request, assessment, sent)
            if not problems and (preview is not None or before.mode in {"advisory", "autonomous"}):
                fields = self._moving(active, request, assessment)
        with self.store.write() as tx:
            if activation.active_number(tx) != number:
                return None
            # Before anything that has changed since: who asks again gets the answer there was.
            known = None if request is None else self._known(tx, request, sent)
            if known is not None:
                return known
            mode = self.settle(tx, active)
            if request is not None and assessment is not None and not problems:
                if tx.get("times") != before.times:
                    problems = self.timely(active, request, tx.get("times"), before.last)
                if mode == "halted":
                    problems = [Problem("HALTED", "mode", "the advisor was halted meanwhile")]
            if request is None or assessment is None or problems:
                return self._refuse(tx, active, sent, request, problems)
            return self._record(tx, number, active, mode, sent, request, assessment, preview, fields)

    def _looks(self, active: Active) -> LookAhead | None:
        """What compares orders: what this advisor was given, else what the guard file asks for."""
        return active.look_ahead if self.look_ahead is None else self.look_ahead

    def _compare(
        self, active: Active, request: Request, assessment: Assessment, sent: _Sent
    ) -> tuple[Assessment, Preview | None]:
        """Look ahead with the orders as the guards would leave them now."""
        other, look = fall_back(active, request.values, self.fallback), self._looks(active)
        if look is None or assessment.decided is None or assessment.source != "policy" or other is None:
            return assessment, None
        with self.store.read() as tx:
            facts = self.facts(tx, active, request)
        guarded = [active.guards.apply(decided.orders, facts).orders for decided in (assessment.decided, other)]
        if guarded[0] is None or guarded[1] is None:
            return assessment, None
        try:
            preview = look(request, guarded[0], guarded[1], seed_of(active.bundle_id, sent.hash))
        except Exception as error:
            # No comparison is a reason for a person to look, not for no advice.
            return assessment, Preview(True, f"the look ahead failed: {type(error).__name__} {error}"[:200], {})
        if preview.accepted:
            return assessment, preview
        score, white = assessment.score, assessment.white
        return Assessment("fallback", "LOOK_AHEAD", preview.detail, other, score, white), preview

    def _moving(self, active: Active, request: Request, assessment: Assessment) -> list[dict[str, Any]] | str:
        """The fields that moved the policy's orders: before the record, because it asks the policy once more."""
        decided = assessment.decided
        if decided is None or assessment.source != "policy":
            return []
        ask = lambda: moving_fields(active, request.values, decided.orders)  # noqa: E731
        try:
            return cast("list[dict[str, Any]] | str", self.shield.call(ask, active.rails.policy_timeout_seconds))
        except Failure as failure:
            return failure.detail

    def _known(self, tx: Tx, request: Request, sent: _Sent) -> tuple[Decision, None] | AdvisorError | None:
        """The decision that this request id got already."""
        if request.request_id is None:
            return None
        rows = tx.query("SELECT seq, request_hash FROM decisions WHERE request_id = :id", {"id": request.request_id})
        if not rows:
            return None
        if rows[0][1] != sent.hash:
            detail = f"the request id '{request.request_id}' was used for another state (record {rows[0][0]})"
            return AdvisorError("REQUEST_REUSED", detail, record=int(rows[0][0]))
        record = tx.records([int(rows[0][0])])[0]
        return self._decision(tx, record), None

    def _refuse(
        self, tx: Tx, active: Active, sent: _Sent, request: Request | None, problems: Sequence[Problem]
    ) -> AdvisorError:
        refusal = first_of(problems)
        stale = any(problem.code in _STALE for problem in problems)
        body = {
            "bundle_id": active.bundle_id,
            "mode": modes.current_mode(tx),
            "request_id": None if request is None else request.request_id,
            # Of nonsense only the hash is kept: it can be of any size.
            "request_hash": sent.hash,
            "code": refusal.code,
            # Names in it come from the request, and may be what no record can hold.
            "problems": plain([problem.to_dict() for problem in problems[:50]]),
        }
        record = tx.append("refused", body)
        # What is wrong with a request is the sender's affair; only its age and its strangeness speak of the world.
        if stale or refusal.code in {"OUTLIER", "UNSEEN_CATEGORY"}:
            self._count(tx, record, None, None, None, stale=stale, outlier=not stale, blocked=False)
            modes.demote(tx, modes.alarms(tx, active.rails.demotion))
        return AdvisorError(refusal.code, refusal.detail, problems, record.seq)

    def _record(
        self,
        tx: Tx,
        number: int,
        active: Active,
        mode: Mode,
        sent: _Sent,
        request: Request,
        assessment: Assessment,
        preview: Preview | None,
        fields: list[dict[str, Any]] | str,
    ) -> tuple[Decision, str | None]:
        facts = self.facts(tx, active, request)
        decided = assessment.decided
        guarded = Guarded(None, ()) if decided is None else active.guards.apply(decided.orders, facts)
        drift, length = self._drift(tx, active, assessment)
        decision_id = uuid.uuid4().hex
        body: dict[str, Any] = {
            "id": decision_id,
            "activation": number,
            "bundle_id": active.bundle_id,
            "request": sent.data,
            "source": assessment.source,
            "reason": assessment.reason,
            "detail": assessment.detail,
            "fallback": self.fallback,
            "action": None if decided is None else plain(decided.action),
            "raw_orders": None if decided is None else active.named(decided.orders),
            "targets": None if decided is None else active.named(decided.targets),
            "orders": None if guarded.orders is None else active.named(guarded.orders),
            "facts": facts.to_dict(),
            "checks": [check_data(check) for check in guarded.checks],
            "distance": None if assessment.score is None else assessment.score.distance,
            "threshold": None if assessment.score is None else assessment.score.threshold,
            "unusual": [problem.to_dict() for problem in assessment.problems],
            "drift": length,
            "look_ahead": None if preview is None else {"detail": preview.detail, **plain(preview.data)},
            "explanation": None,
            "refusal": None,
            "outside": [],
            "action_hash": None,
            "spend": None,
            "needed": 0,
            "expires": None,
        }
        # Reasons of this very decision count before it is made: what raises an alarm is not sent any more.
        reasons = []
        if drift:
            reasons.append("DRIFT")
        if assessment.failed:
            reasons.append("POLICY_FAILED")
        blocked = guarded.orders is None
        reasons += modes.alarms(tx, active.rails.demotion, modes.Counts(1, 0, int(assessment.outlier), int(blocked)))
        mode = modes.demote(tx, reasons)
        body["mode"] = mode
        if guarded.orders is None:
            body["status"] = "blocked"
            body["refusal"] = _blocked(guarded)
        else:
            orders = active.named(guarded.orders)
            spend = active.guards.spend(guarded.orders)
            body["action_hash"] = active.action_hash(decision_id, orders)
            body["spend"] = spend
            body["outside"] = self._outside(active, mode, assessment, guarded, preview, spend)
            body["needed"] = needed_persons(active.rails, spend)
            body["status"] = "shadow"
            if mode in {"advisory", "autonomous"}:
                alone = mode == "autonomous" and not body["outside"]
                if alone:
                    body["needed"] = 0
                body["status"] = "executing" if alone else "proposed"
                body["proposal"] = decision_id
                body["state"] = "approved" if alone else "proposed"
                wait = datetime.timedelta(seconds=active.rails.approval.expires_after_seconds)
                body["expires"] = text_of(tx.now + wait)
        if body["status"] == "proposed" or preview is not None:
            body["explanation"] = explain(active, assessment, guarded, preview, fields, self.fallback)
        record = tx.append("decision", body)
        self._count(
            tx,
            record,
            decision_id,
            request.request_id,
            sent.hash,
            stale=False,
            outlier=assessment.outlier,
            blocked=blocked,
        )
        if request.times:
            tx.set("times", {**(tx.get("times") or {}), **{name: text_of(at) for name, at in request.times.items()}})
        key = None
        if "proposal" in body:
            approvals.propose(
                tx,
                record,
                decision_id,
                state=body["state"],
                bundle_id=active.bundle_id,
                action_hash=body["action_hash"],
                orders=body["orders"],
                spend=body["spend"],
                needed=body["needed"],
                expires=body["expires"],
            )
            if body["status"] == "executing" and guarded.orders is not None:
                key = self.intend(tx, active, approvals.find(tx, decision_id), guarded.orders, facts)
        return self._decision(tx, record), key

    def _decision(self, tx: Tx, record: Record) -> Decision:
        body = record.data
        rows = tx.query("SELECT state FROM proposals WHERE id = :id", {"id": body["id"]})
        return Decision(record.seq, body, str(rows[0][0]) if rows else None)

    def _outside(
        self,
        active: Active,
        mode: Mode,
        assessment: Assessment,
        guarded: Guarded,
        preview: Preview | None,
        spend: float | None,
    ) -> list[str]:
        """Why a decision must not be executed without a person."""
        if mode != "autonomous" or guarded.orders is None:
            return []
        why = []
        limit = active.rails.autonomy.spend_limit
        if spend is None:
            why.append("SPEND: the orders have no price")
        elif spend > limit:
            why.append(f"SPEND: the orders are worth {spend:g}, {limit:g} are allowed")
        risky = active.guards.high_risk & (guarded.orders > 0.0)
        if risky.any():
            why.append(f"RISK: '{active.arcs[int(np.argmax(risky))]}' is of high risk")
        if assessment.outlier:
            why.append(f"OUTLIER: {assessment.problems[0].detail}")
        if assessment.source == "fallback":
            why.append(f"FALLBACK: {assessment.detail}")
        if self._looks(active) is not None and (preview is None or not preview.data):
            why.append("LOOK_AHEAD: nothing was compared")
        elif preview is not None and assessment.source == "policy":
            orders = active.named(guarded.orders)
            if preview.data.get("compared", {}).get("recommended", orders) != orders:
                why.append("LOOK_AHEAD: the guards leave other orders now than were compared")
        return why

    def _drift(self, tx: Tx, active: Active, assessment: Assessment) -> tuple[bool, float | None]:
        if active.outliers is None or assessment.white is None:
            return False, None
        packed, model = tx.get("drift"), active.outliers.drift
        mean, length = model.step(None if packed is None else DriftModel.unpack(packed["mean"]), assessment.white)
        if not np.isfinite(length):
            return True, None
        tx.set("drift", {"mean": DriftModel.pack(mean), "length": length})
        return length > model.threshold, length

    def _count(
        self,
        tx: Tx,
        record: Record,
        decision_id: str | None,
        request_id: str | None,
        request_hash: str | None,
        *,
        stale: bool,
        outlier: bool,
        blocked: bool,
    ) -> None:
        tx.execute(
            "INSERT INTO decisions VALUES (:seq, :id, :request_id, :request_hash, :stale, :outlier, :blocked)",
            {
                "seq": record.seq,
                "id": decision_id,
                "request_id": request_id,
                "request_hash": request_hash,
                "stale": int(stale),
                "outlier": int(outlier),
                "blocked": int(blocked),
            },
        )


def _unusual(active: Active, assessment: Assessment) -> list[Problem]:
    """What keeps a state from being decided at all: a kind never seen means nothing to a policy."""
    if active.rails.outliers.action == "block":
        return list(assessment.problems)
    return [problem for problem in assessment.problems if problem.code == "UNSEEN_CATEGORY"]


def _blocked(guarded: Guarded) -> dict[str, Any]:
    check = guarded.block
    if check is None:
        detail = "neither the policy nor the fallback gave orders"
        return {"code": "NO_FALLBACK", "detail": detail, "problems": []}
    return {"code": check.code, "detail": check.detail, "problems": []}
