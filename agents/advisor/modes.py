"""Four modes, and who moves between them: down by itself with a reason, up by a person through a gate, one at a time.

``shadow`` records an answer while the incumbent acts, ``advisory`` lets a person approve, ``autonomous`` acts inside
the envelope, ``halted`` decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from agents.advisor.errors import AdvisorError
from agents.advisor.guardrails import DemotionRules, Gate, Guardrails, Mode
from agents.advisor.store import Tx
from twin.errors import did_you_mean

__all__ = ["FALLS_TO", "MODES", "Counts", "change_mode", "check_promotion", "counts_since", "current_mode", "demote"]
__all__ += ["alarms", "lowest"]

#: From the least to the most that the advisor may do.
MODES: tuple[Mode, ...] = ("halted", "shadow", "advisory", "autonomous")

#: How far the mode falls at most for each reason. Where a person approves each order anyway, bad data needs no more.
FALLS_TO: dict[str, Mode] = {
    "STALE_DATA": "advisory",
    "OUTLIER_RATE": "advisory",
    "GUARD_BLOCKS": "advisory",
    "DRIFT": "advisory",
    "FIDELITY": "advisory",
    "UNKNOWN_OUTCOME": "advisory",
    "POLICY_FAILED": "advisory",
    "NEW_BUNDLE": "advisory",
    "BUNDLE_EXPIRED": "shadow",
}


@dataclass(frozen=True)
class Counts:
    """What the last decisions were: how many, and how many stale, unlike training, and blocked by a guard."""

    decisions: int
    stale: int
    outliers: int
    blocked: int

    def share(self, what: str) -> float:
        """Share of the decisions; 0 where there are none."""
        return getattr(self, what) / self.decisions if self.decisions else 0.0


def lowest(first: str, second: str) -> Mode:
    """The mode that allows less; what is no mode allows nothing."""
    ranks = [MODES.index(mode) if mode in MODES else 0 for mode in (first, second)]
    return MODES[min(ranks)]


def current_mode(tx: Tx) -> Mode:
    """The mode now; ``shadow`` before anything was said."""
    entry = tx.get("mode")
    return "shadow" if entry is None else lowest(entry["mode"], "autonomous")


def counts_since(tx: Tx, seq: int, window: int) -> Counts:
    """Counts over the last ``window`` decisions after record ``seq``."""
    rows = tx.query(
        "SELECT COUNT(*), COALESCE(SUM(stale), 0), COALESCE(SUM(outlier), 0), COALESCE(SUM(blocked), 0) FROM "
        "(SELECT stale, outlier, blocked FROM decisions WHERE seq > :seq ORDER BY seq DESC LIMIT :window) AS recent",
        {"seq": seq, "window": window},
    )
    return Counts(*(int(entry) for entry in rows[0]))


def alarms(tx: Tx, rules: DemotionRules, coming: Counts | None = None) -> list[str]:
    """Reasons that the last decisions give for a lower mode, counted since the mode last changed.

    Parameters
    ----------
    rules
        How many decisions count, and which shares are too much.
    coming
        A decision that is being made and has no record yet.
    """
    entry = tx.get("mode")
    window = rules.window if coming is None else max(rules.window - 1, 0)
    counts = counts_since(tx, 0 if entry is None else int(entry["seq"]), window)
    if coming is not None:
        counts = Counts(*(a + b for a, b in zip(astuple(counts), astuple(coming), strict=True)))
    if counts.decisions < rules.minimum:
        return []
    limits = {"STALE_DATA": ("stale", rules.stale), "OUTLIER_RATE": ("outliers", rules.outliers)}
    limits["GUARD_BLOCKS"] = ("blocked", rules.blocked)
    return [reason for reason, (what, limit) in limits.items() if counts.share(what) > limit]


def change_mode(tx: Tx, mode: Mode, *, person: str | None, reasons: Sequence[str], detail: str = "") -> None:
    """Set the mode, with its record."""
    before = current_mode(tx)
    body: Mapping[str, Any] = {"from": before, "mode": mode, "person": person, "reasons": [*reasons], "detail": detail}
    record = tx.append("mode", body)
    tx.set("mode", {"mode": mode, "seq": record.seq})


def demote(tx: Tx, reasons: Sequence[str], detail: str = "") -> Mode:
    """Lower the mode as far as the reasons say, if it is not there already; the mode afterwards."""
    before = after = current_mode(tx)
    for reason in reasons:
        after = lowest(after, FALLS_TO[reason])
    if after != before:
        change_mode(tx, after, person=None, reasons=reasons, detail=detail)
    return after


def check_promotion(tx: Tx, wanted: str, rails: Guardrails, highest: Mode, blockers: Sequence[str]) -> None:
    """Whether a person may raise the mode now.

    Parameters
    ----------
    wanted
        The mode that is asked for.
    rails
        Has the gates.
    highest
        What bundle and guard file allow.
    blockers
        Reasons that stand now, in sentences.

    Raises
    ------
    AdvisorError
        ``REQUEST`` for a word that is no mode, ``GATE`` with what is missing.
    """
    if wanted not in MODES:
        raise AdvisorError("REQUEST", f"no mode '{wanted}' (allowed: {', '.join(MODES)}){did_you_mean(wanted, MODES)}")
    mode = MODES[MODES.index(wanted)]
    now, entry = current_mode(tx), tx.get("mode")
    if MODES.index(mode) > MODES.index(highest):
        raise AdvisorError("GATE", f"'{mode}' is not allowed: bundle and guard file allow up to '{highest}'")
    if MODES.index(mode) > MODES.index(now) + 1:
        raise AdvisorError("GATE", f"from '{now}' the next mode is '{MODES[MODES.index(now) + 1]}', not '{mode}'")
    if blockers:
        raise AdvisorError("GATE", f"'{mode}' is not allowed now: {'; '.join(blockers)}")
    gate = Gate() if mode == "halted" else getattr(rails.promotion, mode)
    counts = counts_since(tx, 0 if entry is None else int(entry["seq"]), 1_000_000)
    if counts.decisions < gate.decisions:
        raise AdvisorError(
            "GATE", f"'{mode}' needs {gate.decisions} decisions in '{now}', there are {counts.decisions} since it began"
        )
    for what, limit in (("outliers", gate.outliers), ("blocked", gate.blocked)):
        if counts.share(what) > limit:
            raise AdvisorError(
                "GATE",
                f"'{mode}' allows a share of {limit:g} {what}, the last {counts.decisions} had {counts.share(what):g}",
            )
