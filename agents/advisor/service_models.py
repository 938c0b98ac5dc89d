"""What the service takes and gives, as models: their schemas are its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.advisor.modes import MODES
from agents.advisor.request import REQUEST_KEYS
from twin.schema import StrictModel, Whole

__all__ = [
    "Activation",
    "Actual",
    "Approval",
    "DecisionId",
    "DecisionView",
    "Execution",
    "Halt",
    "Listing",
    "ModeChange",
]
__all__ += ["Modification", "Outcome", "Page", "ProposalView", "Rejection", "Resolution", "Rollback"]
__all__ += ["STATE_SCHEMA", "Search"]

#: Of a decision and its proposal.
DecisionId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="of the decision, and of its proposal")]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{12,64}$", description="the action's hash, or its first digits")]
_Text = Annotated[str, Field(max_length=1000)]
#: A file name, never a path: what may be activated lies in one folder.
_Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_Before = Annotated[int | None, Field(ge=1, le=2**53, description="only those with a smaller record number")]
_Limit = Annotated[int, Field(ge=1, le=200)]

#: A request for a decision, in outline: :func:`agents.advisor.request.parse_request` reads it, and ``/v1/spec`` says
#: what the active bundle's fields are.
STATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["observation"],
    "additionalProperties": False,
    "description": "the state of now: every field of /v1/spec by its name, a number or {value, unit, at}",
    "properties": {
        **{key: {} for key in REQUEST_KEYS},
        "observation": {"type": "object"},
        "request_id": {"type": ["string", "null"], "maxLength": 128},
        "period": {"type": ["integer", "string", "null"]},
        "closed": {"type": ["array", "null"], "items": {"type": "string"}},
        "available": {"type": ["object", "null"]},
        "previous_orders": {"type": ["object", "null"]},
        "twin_state": {"type": ["object", "null"]},
    },
}
_State = Annotated[Any, Field(json_schema_extra=STATE_SCHEMA)]


class Approval(StrictModel):
    """An approval of one action; with the state of now its orders are sent as well, once it is the last one needed."""

    action_hash: _Hash
    state: _State = None


class Rejection(StrictModel):
    """A rejection."""

    reason: _Text = ""


class Modification(StrictModel):
    """A person's own orders, units by arc, all arcs."""

    action_hash: _Hash
    orders: dict[str, Any]
    state: _State


class Execution(StrictModel):
    """The state of now, on which the guards run again before approved orders are sent."""

    state: _State


class Resolution(StrictModel):
    """What a person found out about an execution whose outcome was unknown."""

    outcome: Literal["done", "failed"]
    detail: _Text = ""


class Outcome(StrictModel):
    """The receiver's own word on an execution."""

    decision_id: DecisionId
    outcome: Literal["done", "failed", "unknown"]
    detail: _Text = ""


class Actual(StrictModel):
    """What really happened in the period of a decision: orders by arc, all arcs; the rest where it is known."""

    orders: dict[str, Any]
    cost: Any = None
    demand: Any = None
    served: Any = None


class ModeChange(StrictModel):
    """A mode that a person asks for."""

    mode: Annotated[str, Field(json_schema_extra={"enum": [*MODES]})]
    reason: _Text = ""


class Halt(StrictModel):
    """Why everything stops."""

    reason: _Text = ""


class Activation(StrictModel):
    """A bundle of the service's folder of bundles.

    Without ``guardrails`` a guard file that a person gave stays, else it is the bundle's own; without ``outliers`` they
    are the bundle's own.
    """

    bundle: _Name
    guardrails: dict[str, Any] | None = None
    outliers: dict[str, Any] | None = None
    reason: _Text = ""


class Rollback(StrictModel):
    """Why the bundle before is wanted again."""

    reason: _Text = ""


class Listing(StrictModel):
    """Which decisions to list."""

    state: Annotated[str | None, Field(max_length=20)] = None
    before: _Before = None
    limit: _Limit = 50


class Search(StrictModel):
    """Which records to show."""

    kind: Annotated[str | None, Field(pattern="^[a-z_]{1,40}$")] = None
    # A database may have no text with this character in it.
    text: Annotated[str | None, Field(max_length=200, pattern="^[^\\x00]*$")] = None
    before: _Before = None
    limit: _Limit = 50


class _View(BaseModel):
    """What is given may have more than is promised."""

    model_config = ConfigDict(extra="allow")


class DecisionView(_View):
    """A decision as it is on record, and where its proposal stands now."""

    id: DecisionId
    record: Whole
    at: str | None = None
    status: Literal["blocked", "shadow", "proposed", "executing"]
    state: str | None
    mode: str
    bundle_id: str
    action_hash: str | None
    orders: dict[str, float] | None
    raw_orders: dict[str, float] | None
    expires: str | None


class ProposalView(_View):
    """A proposal."""

    id: DecisionId
    state: str
    version: Whole
    bundle_id: str
    action_hash: str
    orders: dict[str, float]
    spend: float | None
    needed: Whole
    persons: list[str]
    expires: str
    trail: list[int]


class Page(_View):
    """Newest first, and where to go on: as ``before`` of the next page; null at the end."""

    items: list[Any]
    next: int | None
