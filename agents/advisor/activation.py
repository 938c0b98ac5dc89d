"""Which bundle decides: an audited history. A bundle is loaded and its golden cases run before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.advisor.active import Active
from agents.advisor.canonical import canonical, digest
from agents.advisor.errors import AdvisorError
from agents.advisor.modes import demote
from agents.advisor.store import Tx

__all__ = ["Activation", "activate", "active_number", "find_activation", "roll_back"]


@dataclass(frozen=True)
class Activation:
    """One entry of the history.

    Attributes
    ----------
    number
        From 1.
    bundle_id, path
        Of the bundle.
    settings
        The guard file, whether a person gave it, and the outlier model, as plain data
        (:meth:`agents.advisor.active.Active.settings_of`).
    """

    number: int
    bundle_id: str
    path: str
    settings: Mapping[str, Any]


def active_number(tx: Tx) -> int:
    """Number of the activation that counts now; 0 before there is any."""
    return int(tx.query("SELECT COALESCE(MAX(number), 0) FROM activations WHERE withdrawn = 0")[0][0])


def find_activation(tx: Tx, number: int) -> Activation:
    """An entry of the history; AdvisorError ``NO_BUNDLE`` where there is none."""
    rows = tx.query(
        "SELECT number, bundle_id, path, settings FROM activations WHERE number = :number", {"number": number}
    )
    if not rows:
        raise AdvisorError("NO_BUNDLE", "no bundle is active; activate one")
    row = rows[0]
    return Activation(int(row[0]), str(row[1]), str(row[2]), json.loads(row[3]))


def activate(tx: Tx, active: Active, path: str, settings: Mapping[str, Any], *, person: str, reason: str) -> int:
    """Put a loaded bundle at the end of the history; its number."""
    number = int(tx.query("SELECT COALESCE(MAX(number), 0) FROM activations")[0][0]) + 1
    tx.append(
        "activated",
        {
            "number": number,
            "bundle_id": active.bundle_id,
            "path": path,
            "settings": settings,
            "settings_hash": digest(settings),
            "person": person,
            "reason": reason,
        },
    )
    tx.execute(
        "INSERT INTO activations VALUES (:number, :bundle_id, :path, :settings, 0)",
        {"number": number, "bundle_id": active.bundle_id, "path": path, "settings": canonical(settings)},
    )
    _begin_anew(tx)
    return number


def roll_back(tx: Tx, number: int, to: Activation, *, person: str, reason: str) -> None:
    """Withdraw activation ``number``, so that the one before it counts again."""
    tx.append(
        "rolled_back",
        {"withdrawn": number, "number": to.number, "bundle_id": to.bundle_id, "person": person, "reason": reason},
    )
    tx.execute("UPDATE activations SET withdrawn = 1 WHERE number = :number", {"number": number})
    _begin_anew(tx)


def _begin_anew(tx: Tx) -> None:
    """What was seen with another bundle says nothing about this one: not alone, and no drift carried over."""
    tx.set("drift", None)
    demote(tx, ["NEW_BUNDLE"])
