"""The operations of the service under ``/v1``. Each is one call of the advisor, with the token's name as the person."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from agents.advisor.approvals import Proposal
from agents.advisor.decision import Decision
from agents.advisor.errors import AdvisorError
from agents.advisor.fallback import describe
from agents.advisor.guardrails import Guardrails
from agents.advisor.lookup import find_decision, list_decisions, search_records
from agents.advisor.outliers import OutlierModel
from agents.advisor.service_access import Parts, given_parts, needs, taken, takes
from agents.advisor.service_errors import answer, answers
from agents.advisor.service_models import (
    STATE_SCHEMA,
    Activation,
    Actual,
    Approval,
    DecisionId,
    DecisionView,
    Execution,
    Halt,
    Listing,
    ModeChange,
    Modification,
    Outcome,
    Page,
    ProposalView,
    Rejection,
    Resolution,
    Rollback,
    Search,
)
from agents.advisor.store import Record
from agents.advisor.tokens import Caller
from twin.errors import BundleError, ConfigError, did_you_mean

__all__ = ["router"]

router = APIRouter(prefix="/v1")

_Parts = Annotated[Parts, Depends(given_parts)]
#: For operations that do not name who asks.
_VIEWER, _PLANNER = [Depends(needs("viewer"))], [Depends(needs("planner"))]
_Planner = Annotated[Caller, Depends(needs("planner"))]
_Approver = Annotated[Caller, Depends(needs("approver"))]
_Id = Annotated[DecisionId, Path()]

_BUNDLE = ("NO_BUNDLE", "BAD_BUNDLE")
#: What a state can be refused with; one code stands for all of its status.
_STATE = (*_BUNDLE, "MEDIA_TYPE", "FIELD_MISSING", "OUT_OF_RANGE", "STALE", "SPEC_MISMATCH", "HALTED")
_STEP = (*_STATE, "NOT_FOUND", "CONFLICT", "GATE", "EXPIRED", "BUNDLE_MISMATCH", "ACTION_MISMATCH")


def _gives(view: type[BaseModel], description: str = "done") -> dict[int | str, dict[str, Any]]:
    return {200: {"model": view, "description": description}}


def _body(schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any]:
    """The body of an operation, for its description; :func:`taken` and :func:`takes` read it."""
    shown = schema if isinstance(schema, dict) else schema.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shown}}}}


@router.get("/spec", dependencies=_VIEWER, responses=answers(*_BUNDLE))
def spec(parts: _Parts) -> Response:
    """What a state must hold and what is ordered: fields, arcs, limits, and how old a state may be."""
    active = parts.advisor.active
    return answer(
        {
            **active.hashes,
            **active.spec.to_dict(),
            "limits": [*active.guards.limit_names],
            "freshness": active.rails.freshness.model_dump(mode="json"),
        }
    )


@router.get("/bundle", dependencies=_VIEWER, responses=answers(*_BUNDLE))
def bundle(parts: _Parts) -> Response:
    """The bundle that decides now: its manifest, its activation, and the guard file it runs under."""
    number, active = parts.advisor.load_current()
    return answer(
        {
            "bundle_id": active.bundle_id,
            "activation": number,
            "name": active.bundle.path.name,
            "highest_mode": active.highest_mode,
            "valid_until": active.valid_until,
            "fallback": describe(active, parts.advisor.fallback),
            "guardrails": active.rails.to_dict(),
            "guardrails_hash": active.rails.content_hash,
            "manifest": dict(active.bundle.manifest),
        }
    )


@router.post(
    "/decisions",
    dependencies=_PLANNER,
    responses={**_gives(DecisionView), **answers(*_STATE, "REQUEST_REUSED")},
    openapi_extra=_body(STATE_SCHEMA),
)
def decide(parts: _Parts, state: Annotated[Any, Depends(taken)]) -> Response:
    """Decide for a state. The same ``request_id`` again gives the same decision."""
    return answer(_decision_data(parts.advisor.decide(state)))


@router.get("/decisions", dependencies=_VIEWER, responses={**_gives(Page), **answers()})
def decisions(parts: _Parts, listing: Annotated[Listing, Query()]) -> Response:
    """Decisions, newest first."""
    with parts.advisor.store.read() as tx:
        found = list_decisions(tx, state=listing.state, before=listing.before, limit=listing.limit)
    items = [_decision_data(decision, at) for decision, at in found]
    return answer({"items": items, "next": items[-1]["record"] if len(items) == listing.limit else None})


@router.get(
    "/decisions/{decision_id}", dependencies=_VIEWER, responses={**_gives(DecisionView), **answers("NOT_FOUND")}
)
def decision(parts: _Parts, decision_id: _Id) -> Response:
    """One decision, with its proposal where it has one."""
    with parts.advisor.store.read() as tx:
        found, at = find_decision(tx, decision_id)
    data = _decision_data(found, at)
    if found.state is not None:
        data["approval"] = _proposal_data(parts.advisor.proposal(decision_id))
    return answer(data)


@router.post(
    "/decisions/{decision_id}/approve",
    responses={**_gives(ProposalView), **answers(*_STEP)},
    openapi_extra=_body(Approval),
)
def approve(
    parts: _Parts, caller: _Approver, decision_id: _Id, step: Annotated[Approval, Depends(takes(Approval))]
) -> Response:
    """Approve the action that was seen; of many who do so at once one counts, the others get 409."""
    proposal = parts.advisor.approve(decision_id, person=caller.name, action_hash=step.action_hash, state=step.state)
    return answer(_proposal_data(proposal))


@router.post(
    "/decisions/{decision_id}/reject",
    responses={**_gives(ProposalView), **answers("MEDIA_TYPE", "NOT_FOUND", "CONFLICT", "EXPIRED")},
    openapi_extra=_body(Rejection),
)
def reject(
    parts: _Parts, caller: _Approver, decision_id: _Id, step: Annotated[Rejection, Depends(takes(Rejection))]
) -> Response:
    """Reject a proposal."""
    return answer(_proposal_data(parts.advisor.reject(decision_id, person=caller.name, reason=step.reason)))


@router.post(
    "/decisions/{decision_id}/modify",
    responses={**_gives(ProposalView), **answers(*_STEP)},
    openapi_extra=_body(Modification),
)
def modify(
    parts: _Parts, caller: _Approver, decision_id: _Id, step: Annotated[Modification, Depends(takes(Modification))]
) -> Response:
    """Approve other orders; the guards refuse what they would not pass."""
    proposal = parts.advisor.modify(
        decision_id, step.orders, person=caller.name, action_hash=step.action_hash, state=step.state
    )
    return answer(_proposal_data(proposal))


@router.post(
    "/decisions/{decision_id}/execute",
    responses={**_gives(ProposalView), **answers(*_STEP)},
    openapi_extra=_body(Execution),
)
def execute(
    parts: _Parts, caller: _Approver, decision_id: _Id, step: Annotated[Execution, Depends(takes(Execution))]
) -> Response:
    """Send approved orders, once the guards have passed them again on the state of now."""
    return answer(_proposal_data(parts.advisor.execute(decision_id, step.state, person=caller.name)))


@router.post(
    "/decisions/{decision_id}/resolve",
    responses={**_gives(ProposalView), **answers("MEDIA_TYPE", "NOT_FOUND", "CONFLICT")},
    openapi_extra=_body(Resolution),
)
def resolve(
    parts: _Parts, caller: _Approver, decision_id: _Id, step: Annotated[Resolution, Depends(takes(Resolution))]
) -> Response:
    """Say what became of an execution whose outcome was unknown."""
    proposal = parts.advisor.resolve(decision_id, step.outcome, person=caller.name, detail=step.detail)
    return answer(_proposal_data(proposal))


@router.post(
    "/outcomes",
    dependencies=_PLANNER,
    responses={**_gives(ProposalView), **answers("MEDIA_TYPE", "NOT_FOUND")},
    openapi_extra=_body(Outcome),
)
def report_outcome(parts: _Parts, outcome: Annotated[Outcome, Depends(takes(Outcome))]) -> Response:
    """The receiver's word on an open execution; one that comes too late is recorded and changes nothing."""
    return answer(_proposal_data(parts.advisor.report(outcome.decision_id, outcome.outcome, outcome.detail)))


@router.post(
    "/decisions/{decision_id}/actual",
    responses=answers(*_BUNDLE, "MEDIA_TYPE", "NOT_FOUND", "FIELD_MISSING"),
    openapi_extra=_body(Actual),
)
def note_actual(
    parts: _Parts, caller: _Planner, decision_id: _Id, actual: Annotated[Actual, Depends(takes(Actual))]
) -> Response:
    """Put on record what really happened, whoever acted; a later report corrects an earlier one."""
    record = parts.advisor.note_actual(decision_id, actual.model_dump(), person=caller.name)
    return answer({"record": record})


@router.get("/mode", dependencies=_VIEWER, responses=answers())
def mode(parts: _Parts) -> Response:
    """The mode now."""
    return answer({"mode": parts.advisor.mode})


@router.post("/mode", responses=answers(*_BUNDLE, "MEDIA_TYPE", "GATE"), openapi_extra=_body(ModeChange))
def set_mode(parts: _Parts, caller: _Approver, change: Annotated[ModeChange, Depends(takes(ModeChange))]) -> Response:
    """Lower the mode, or raise it by one through its gate."""
    return answer({"mode": parts.advisor.set_mode(change.mode, person=caller.name, reason=change.reason)})


@router.post("/halt", responses=answers("MEDIA_TYPE"), openapi_extra=_body(Halt))
def halt(parts: _Parts, caller: _Planner, why: Annotated[Halt, Depends(takes(Halt))]) -> Response:
    """Stop everything."""
    parts.advisor.halt(person=caller.name, reason=why.reason)
    return answer({"mode": parts.advisor.mode})


@router.post(
    "/bundles/activate",
    responses=answers("BAD_BUNDLE", "UNFIT", "MEDIA_TYPE", "NOT_FOUND", "CONFLICT"),
    openapi_extra=_body(Activation),
)
def activate(parts: _Parts, caller: _Approver, wanted: Annotated[Activation, Depends(takes(Activation))]) -> Response:
    """Load a bundle of the service's folder, run its golden cases, and let it decide; what fails changes nothing."""
    folder, advisor = parts.settings.bundles, parts.advisor
    known = [] if folder is None or not folder.is_dir() else sorted(entry.name for entry in folder.iterdir())
    if folder is None or wanted.bundle not in known:
        raise AdvisorError("NOT_FOUND", f"there is no bundle '{wanted.bundle}'{did_you_mean(wanted.bundle, known)}")
    try:
        rails = None if wanted.guardrails is None else Guardrails.parse(wanted.guardrails, "guardrails")
        outliers = None if wanted.outliers is None else OutlierModel.from_dict(wanted.outliers)
    except ConfigError as error:
        raise AdvisorError("REQUEST", str(error)) from None
    try:
        bundle_id = advisor.activate(
            folder / wanted.bundle, person=caller.name, reason=wanted.reason, guardrails=rails, outliers=outliers
        )
    except BundleError as error:
        raise AdvisorError("BAD_BUNDLE", str(error)) from None
    except ConfigError as error:
        raise AdvisorError("UNFIT", str(error)) from None
    return answer({"bundle_id": bundle_id, "mode": advisor.mode})


@router.post(
    "/bundles/rollback",
    responses=answers(*_BUNDLE, "MEDIA_TYPE", "NO_ROLLBACK", "CONFLICT"),
    openapi_extra=_body(Rollback),
)
def roll_back(parts: _Parts, caller: _Approver, why: Annotated[Rollback, Depends(takes(Rollback))]) -> Response:
    """Go back to the bundle before."""
    bundle_id = parts.advisor.roll_back(person=caller.name, reason=why.reason)
    return answer({"bundle_id": bundle_id, "mode": parts.advisor.mode})


@router.get("/audit", dependencies=_VIEWER, responses={**_gives(Page), **answers()})
def audit(parts: _Parts, search: Annotated[Search, Query()]) -> Response:
    """Audit records, newest first, by kind and by a text in them; and the head of the chain, to be kept elsewhere."""
    with parts.advisor.store.read() as tx:
        found = search_records(tx, kind=search.kind, text=search.text, before=search.before, limit=search.limit)
        head = f"{tx.seq}:{tx.hash}"
    items = [_record_data(record) for record in found]
    return answer({"items": items, "next": items[-1]["seq"] if len(items) == search.limit else None, "head": head})


def _decision_data(decision: Decision, at: str | None = None) -> dict[str, Any]:
    """A decision as data, with the moment it was made where that is known."""
    return decision.to_dict() if at is None else {**decision.to_dict(), "at": at}


def _proposal_data(proposal: Proposal) -> dict[str, Any]:
    """A proposal as data; which process executes it is nobody's business."""
    return {key: value for key, value in proposal.to_dict().items() if key not in {"owner", "lease"}}


def _record_data(record: Record) -> dict[str, Any]:
    return {**vars(record), "body": record.data}
