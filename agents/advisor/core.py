"""What every part of the advisor needs: the store, the bundle that decides now, and the facts of the moment."""

from __future__ import annotations

import datetime
import json
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor import activation, approvals, modes
from agents.advisor.active import Active
from agents.advisor.approvals import Proposal
from agents.advisor.canonical import canonical
from agents.advisor.clock import parse_time, text_of
from agents.advisor.dispatch import Sender
from agents.advisor.errors import AdvisorError, Problem, first_of
from agents.advisor.freshness import check_clock, check_freshness
from agents.advisor.guardrails import Guardrails, Mode
from agents.advisor.guards import Facts
from agents.advisor.outbox import Outbox, recover
from agents.advisor.pipeline import LookAhead
from agents.advisor.request import Request, check_name
from agents.advisor.shield import Shield
from agents.advisor.store import Store, Tx
from twin.errors import BundleError, ConfigError

__all__ = ["Before", "Core", "check_person", "load_activation", "needed_persons"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Before:
    """What a decision looks at before it begins."""

    mode: Mode
    times: Any
    last: datetime.datetime


class Core:
    """The store, the active bundle, and what is asked of both. :class:`agents.advisor.advisor.Advisor` is one.

    Parameters
    ----------
    store
        Where everything is kept.
    sender
        Where orders go; None hands them to the caller.
    fallback
        A name of :data:`agents.advisor.fallback.FALLBACKS`.
    look_ahead
        Compares orders before they are advised; None does what the guard file's ``look_ahead`` says.
    """

    def __init__(self, store: Store, sender: Sender | None, fallback: str, look_ahead: LookAhead | None) -> None:
        self.store, self.outbox = store, Outbox(store, sender)
        self.fallback, self.look_ahead = fallback, look_ahead
        self.shield: Shield[Any] = Shield()
        self.loading = threading.Lock()
        self.current: tuple[int, Active] | None = None

    @property
    def active(self) -> Active:
        """The bundle that decides now, loaded; another process may have changed it.

        Raises
        ------
        AdvisorError
            ``NO_BUNDLE`` before any was activated, ``BAD_BUNDLE`` when its files cannot be trusted any more.
        """
        return self.load_current()[1]

    def load_current(self) -> tuple[int, Active]:
        """The active bundle and the number of its activation; loaded again where another process has changed it."""
        with self.store.read() as tx:
            number = activation.active_number(tx)
            if self.current is not None and self.current[0] == number:
                return self.current
            entry = activation.find_activation(tx, number)
        with self.loading:
            loaded = (number, load_activation(entry))
            self.current = loaded
        return loaded

    def look(self) -> Before:
        """What a decision looks at before it begins."""
        with self.store.read() as tx:
            return Before(modes.current_mode(tx), tx.get("times"), parse_time(tx.at))

    def timely(self, active: Active, request: Request, times: Any, last: datetime.datetime) -> list[Problem]:
        """What is wrong with the age of a state, or with this machine's clock."""
        now, rules = self.store.clock(), active.rails.freshness
        seen = {name: parse_time(text) for name, text in (times or {}).items()}
        problems, _ = check_freshness(request.times, [field.name for field in active.fields], rules, now, seen)
        return check_clock(now, last, rules) + problems

    def settle(self, tx: Tx, active: Active) -> Mode:
        """What must be known before anything is decided: lost outcomes, expired proposals, a bundle past its date."""
        recover(tx)
        approvals.expire_due(tx)
        if active.valid_until is not None and text_of(tx.now) >= active.valid_until:
            modes.demote(tx, ["BUNDLE_EXPIRED"], f"valid until {active.valid_until}")
        return modes.current_mode(tx)

    def facts(self, tx: Tx, active: Active, request: Request) -> Facts:
        """What the guards must know now beside the orders."""
        day = text_of(tx.now)[:10]
        used: dict[str, float] = {}
        if any(limit.per == "day" for limit in active.rails.limits):
            # What is unknown may have been taken, so it counts.
            rows = tx.query(
                "SELECT amounts FROM proposals WHERE day = :day AND state IN ('executing', 'done', 'unknown')",
                {"day": day},
            )
            for row in rows:
                for name, amount in json.loads(row[0]).items():
                    used[name] = used.get(name, 0.0) + amount
        # The record goes before what a request says: no request can widen what a change is measured from.
        previous = {**(request.previous or {}), **_last_orders(tx)}
        return Facts(day, request.closed, dict(request.available), used, previous)

    def intend(self, tx: Tx, active: Active, proposal: Proposal, orders: FloatArray, facts: Facts) -> str:
        """Write the intent to execute a proposal; the key of its message."""
        named = active.named(orders)
        units = active.bundle.spec.arc_units
        message = {
            "decision": proposal.id,
            "bundle_id": active.bundle_id,
            "action_hash": proposal.action_hash,
            "orders": [
                {"arc": arc, "order": named[arc], "unit": unit} for arc, unit in zip(active.arcs, units, strict=True)
            ],
        }
        columns = {"day": facts.day, "amounts": canonical(active.guards.amounts(orders))}
        return self.outbox.intend(tx, proposal, message, columns)


def _last_orders(tx: Tx) -> dict[str, float]:
    """The last orders by arc that were sent, or reported as what was really ordered, whichever is of a later decision.

    Sent orders that were certainly not taken do not count.
    """
    rows = tx.query(
        "SELECT orders, seq FROM proposals JOIN decisions ON decisions.id = proposals.id WHERE executed IS NOT NULL "
        "AND state IN ('executing', 'done', 'unknown') ORDER BY executed DESC LIMIT 1"
    )
    actual = tx.get("actual")
    if actual is not None and (not rows or actual["decision"] >= int(rows[0][1])):
        return dict(actual["orders"])
    return dict(json.loads(rows[0][0])) if rows else {}


def load_activation(entry: activation.Activation) -> Active:
    """Load what an entry of the history names; AdvisorError ``BAD_BUNDLE`` where it cannot be trusted any more."""
    try:
        return Active.load(entry.path, entry.settings, expected_id=entry.bundle_id)
    except (BundleError, ConfigError) as error:
        raise AdvisorError("BAD_BUNDLE", str(error)) from None


def check_person(person: str) -> None:
    """AdvisorError ``PERSON`` where a name cannot stand in a record."""
    problems = check_name(person, "person", "PERSON")
    if problems:
        raise first_of(problems)


def needed_persons(rails: Guardrails, spend: float | None) -> int:
    """How many persons must approve orders of this worth; orders without a price count as dear."""
    limit = rails.approval.two_persons_above
    return 1 if limit is None or (spend is not None and spend <= limit) else 2
