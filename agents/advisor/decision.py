"""One decision as it is recorded, and as it is answered: the same data, so that asking twice gives one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agents.advice import Check
from agents.advisor.errors import AdvisorError, Problem

__all__ = ["Decision", "check_data"]


def check_data(check: Check) -> dict[str, Any]:
    """A check as plain data."""
    return asdict(check)


@dataclass(frozen=True)
class Decision:
    """What the advisor decided.

    Attributes
    ----------
    record
        Number of its audit record.
    body
        What the record says.
    state
        Where its proposal stands now; None where there is none.
    """

    record: int
    body: Mapping[str, Any]
    state: str | None

    @property
    def id(self) -> str:
        """Of the decision, and of its proposal."""
        return str(self.body["id"])

    @property
    def status(self) -> str:
        """``blocked``, ``shadow``, ``proposed`` or ``executing``, as it was decided."""
        return str(self.body["status"])

    @property
    def mode(self) -> str:
        """The mode it was decided in."""
        return str(self.body["mode"])

    @property
    def orders(self) -> dict[str, float] | None:
        """The final orders, units by arc; None when a guard blocks."""
        return None if self.body["orders"] is None else dict(self.body["orders"])

    @property
    def raw_orders(self) -> dict[str, float] | None:
        """The orders before the guards."""
        return None if self.body["raw_orders"] is None else dict(self.body["raw_orders"])

    @property
    def action_hash(self) -> str | None:
        """What an approval must name."""
        return self.body["action_hash"] if self.body["action_hash"] is None else str(self.body["action_hash"])

    @property
    def source(self) -> str:
        """``policy`` or ``fallback``."""
        return str(self.body["source"])

    @property
    def reason(self) -> str | None:
        """Why the fallback decided."""
        return self.body["reason"] if self.body["reason"] is None else str(self.body["reason"])

    @property
    def outside(self) -> tuple[str, ...]:
        """Why a person is needed although the mode is autonomous."""
        return tuple(self.body["outside"])

    @property
    def explanation(self) -> dict[str, Any] | None:
        """Why, in numbers and plain words; None where nobody is asked and nothing was compared."""
        kept = self.body["explanation"]
        return None if kept is None else dict(kept)

    def refusal(self) -> AdvisorError | None:
        """The error that says the same, when the decision is blocked."""
        if self.status != "blocked":
            return None
        refused = self.body["refusal"]
        problems = [Problem(**problem) for problem in refused["problems"]]
        return AdvisorError(refused["code"], refused["detail"], problems, self.record)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"record": self.record, **self.body, "state": self.state}
