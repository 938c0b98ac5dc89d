"""What the advisor says when it does not do what was asked: a code, a status, and every bad field by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twin.errors import CogTwinError

__all__ = ["STATUS", "AdvisorError", "Problem", "first_of"]

#: Every code a refusal can have, with the HTTP status that says the same. One table, so that the command line, the
#: service and the tests cannot disagree.
STATUS: dict[str, int] = {
    # the request
    "REQUEST": 400,
    "MEDIA_TYPE": 415,
    "TOO_LARGE": 413,
    "SLOW": 408,
    "FIELD_MISSING": 422,
    "FIELD_RENAMED": 422,
    "FIELD_UNKNOWN": 422,
    "NOT_A_NUMBER": 422,
    "NOT_FINITE": 422,
    "SHAPE": 422,
    "UNIT": 422,
    "TIME": 422,
    "OUT_OF_RANGE": 422,
    "UNSEEN_CATEGORY": 422,
    "OUTLIER": 422,
    "SPEC_MISMATCH": 412,
    "NETWORK_MISMATCH": 412,
    "BUNDLE_MISMATCH": 412,
    "ACTION_MISMATCH": 412,
    # its age
    "STALE": 422,
    "FUTURE": 422,
    "DATA_BACKWARDS": 422,
    "CLOCK_BACKWARDS": 503,
    # the guards
    "ACTION_NOT_FINITE": 422,
    "ALL_MASKED": 422,
    "RATE_OF_CHANGE": 422,
    "MAXIMUM_ORDER": 422,
    "BUDGET": 422,
    "CAPACITY": 422,
    "LABOUR": 422,
    "EMISSIONS": 422,
    "HARD_LIMIT": 422,
    "GUARD_AT_EXECUTION": 422,
    "NO_FALLBACK": 422,
    # modes and approvals
    "HALTED": 423,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "SAME_PERSON": 409,
    "REQUEST_REUSED": 409,
    "GATE": 409,
    "NO_BUNDLE": 409,
    "NO_ROLLBACK": 409,
    "EXPIRED": 410,
    "PERSON": 400,
    "BAD_BUNDLE": 422,
    "UNFIT": 422,
    # the service
    "TOKEN": 401,
    "ROLE": 403,
    "FORM": 403,
    "METHOD": 405,
    "TOO_MANY": 429,
    "TIMEOUT": 503,
    # the record
    "NO_RECORD": 503,
    "CHAIN_BROKEN": 503,
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a code of :data:`STATUS`, the field or place, and a sentence for people."""

    code: str
    place: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return {"code": self.code, "place": self.place, "detail": self.detail}


class AdvisorError(CogTwinError):
    """Something was asked that the advisor does not do.

    Parameters
    ----------
    code
        Of :data:`STATUS`.
    detail
        A sentence for people: place, value, what is allowed.
    problems
        Every bad field, where there is more to say than ``detail``.
    record
        Number of the audit record that holds the refusal, where there is one.
    """

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = (), record: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.problems, self.record = code, detail, tuple(problems), record

    @property
    def status(self) -> int:
        """HTTP status that says the same."""
        return STATUS[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "code": self.code,
            "status": self.status,
            "detail": self.detail,
            "problems": [problem.to_dict() for problem in self.problems],
            "record": self.record,
        }


def first_of(problems: Sequence[Problem]) -> AdvisorError:
    """The refusal that lists all ``problems``, with the code of the first and a sentence of the first three."""
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return AdvisorError(problems[0].code, "; ".join(problem.detail for problem in problems[:3]) + more, problems)
