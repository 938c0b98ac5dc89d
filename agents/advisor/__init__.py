"""From a policy to production: decisions under guards, in a mode, with approvals, on a record that shows changes."""

from agents.advisor.advisor import Advisor
from agents.advisor.audit import verify
from agents.advisor.decision import Decision
from agents.advisor.errors import AdvisorError, Problem
from agents.advisor.guardrails import Guardrails
from agents.advisor.outliers import OutlierModel, fit_outliers
from agents.advisor.store import Store, open_store

__all__ = [
    "Advisor",
    "AdvisorError",
    "Decision",
    "Guardrails",
    "OutlierModel",
    "Problem",
    "Store",
    "fit_outliers",
    "open_store",
    "verify",
]
