"""What the policy would do in a state, and whether it may be asked: everything of a decision that needs no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.advisor.active import Active, Decided
from agents.advisor.canonical import digest
from agents.advisor.errors import Problem
from agents.advisor.fallback import FALLBACKS
from agents.advisor.outliers import Score
from agents.advisor.request import Request
from agents.advisor.shield import Failure, Shield

__all__ = ["Assessment", "LookAhead", "Preview", "assess", "fall_back", "seed_of"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Preview:
    """What a look ahead found.

    Attributes
    ----------
    accepted
        False when the recommended orders did worse than the fallback's by more than the margin.
    detail
        A sentence.
    data
        Plain data for the record: what was compared, and how; empty where nothing was. With ``compared`` (the orders)
        a replay makes it again as the guard file says.
    shown
        Plain data for the explanation: ``expected`` costs and service of recommended, fallback and nothing, their
        paired ``differences``, and ``trajectories``.
    """

    accepted: bool
    detail: str
    data: dict[str, Any]
    shown: dict[str, Any] = field(default_factory=dict)


class LookAhead(Protocol):
    """Compares orders before they are advised, for example by paired rollouts in a fork of the twin."""

    def __call__(self, request: Request, recommended: FloatArray, fallback: FloatArray, seed: int) -> Preview:
        """Compare recommended orders with the fallback's, both (A,) units; the same seed must give the same answer."""
        ...


@dataclass(frozen=True)
class Assessment:
    """A decision before its guards.

    Attributes
    ----------
    source
        ``policy`` or ``fallback``.
    reason
        Why it is the fallback: a code, or None.
    detail
        The same in a sentence.
    decided
        The action and its orders; None when the fallback failed as well.
    score
        How unusual the state is; None without an outlier model.
    white
        (n,) the whitened state, for the drift detector; None without a model.
    """

    source: str
    reason: str | None
    detail: str
    decided: Decided | None
    score: Score | None
    white: FloatArray | None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is unusual."""
        return self.score.problems if self.score is not None else ()

    @property
    def outlier(self) -> bool:
        """True when the state is unlike those of training."""
        return bool(self.problems)

    @property
    def failed(self) -> bool:
        """True when the policy gave nothing."""
        return (self.reason or "").startswith("POLICY_")


def assess(active: Active, values: FloatArray, shield: Shield[Decided], fallback: str) -> Assessment:
    """Score a state and ask the policy, or the fallback where the policy may not or cannot decide.

    Parameters
    ----------
    values
        (n,) in the order of the fields.
    shield
        Calls the policy.
    fallback
        A name of :data:`agents.advisor.fallback.FALLBACKS`.
    """
    score = white = None
    if active.outliers is not None:
        score, white = active.outliers.score(values), active.outliers.whiten(values)
    reason, detail = None, ""
    if score is not None and score.outlier and active.rails.outliers.action == "fallback":
        reason, detail = "OUTLIER", score.problems[0].detail
    else:
        try:
            decided = shield.call(lambda: active.decide(values), active.rails.policy_timeout_seconds)
            return Assessment("policy", None, "", decided, score, white)
        except Failure as failure:
            reason, detail = failure.code, failure.detail
    return Assessment("fallback", reason, detail, fall_back(active, values, fallback), score, white)


def fall_back(active: Active, values: FloatArray, fallback: str) -> Decided | None:
    """The fallback's decision; None where it fails too, which is then the end of it."""
    try:
        decided = FALLBACKS[fallback](active, values)
    except Exception:
        return None
    return decided if np.isfinite(decided.orders).all() else None


def seed_of(bundle_id: str, request_hash: str) -> int:
    """Seed of the worlds: from the bundle and the request alone, so that a replay draws the same ones."""
    # 52 bits: readers of JSON that know only doubles keep them.
    return int(digest({"bundle": bundle_id, "request": request_hash})[:13], 16)
