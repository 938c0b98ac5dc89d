"""Replay: every recorded decision once more, from its request and its bundle, to the same orders bit by bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.advisor.activation import Activation
from agents.advisor.active import Active
from agents.advisor.canonical import digest, plain
from agents.advisor.core import load_activation
from agents.advisor.errors import AdvisorError
from agents.advisor.guards import Facts
from agents.advisor.pipeline import fall_back, seed_of
from agents.advisor.request import Request, parse_request
from agents.advisor.store import Record, Store

__all__ = ["Replay", "replay"]


@dataclass(frozen=True)
class Replay:
    """What :func:`replay` found.

    Attributes
    ----------
    decisions, modifications, intents
        How many were looked at.
    differences
        Record number and a sentence, of each that did not come out the same.
    """

    decisions: int
    modifications: int
    intents: int
    differences: tuple[tuple[int, str], ...]

    @property
    def ok(self) -> bool:
        """True when everything came out the same."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "ok": self.ok, "differences": [list(entry) for entry in self.differences]}


def replay(store: Store) -> Replay:
    """Run every recorded decision again, and compare each order that was sent with what was decided or approved."""
    again = _Again()
    for record in store.records():
        problem = again.look(record)
        if problem:
            again.differences.append((record.seq, problem))
    decisions, modifications, intents = again.counts
    return Replay(decisions, modifications, intents, tuple(again.differences))


class _Again:
    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self.differences: list[tuple[int, str]] = []
        self._entries: dict[int, Activation] = {}
        self._loaded: dict[int, Active | str] = {}
        #: Orders, action hash and activation of each proposal, as last decided or modified.
        self._approved: dict[str, tuple[dict[str, float], str, int]] = {}

    def look(self, record: Record) -> str:
        """A sentence on what differs; empty when nothing does."""
        if record.kind not in {"activated", "decision", "modified", "intent"}:
            return ""
        body = record.data
        if record.kind == "activated":
            number = int(body["number"])
            self._entries[number] = Activation(number, body["bundle_id"], body["path"], body["settings"])
            return ""
        self.counts[("decision", "modified", "intent").index(record.kind)] += 1
        if record.kind == "intent":
            return self._intent(record)
        number = body["activation"] if record.kind == "decision" else self._approved[body["proposal"]][2]
        active = self._active(number)
        if isinstance(active, str):
            return active
        if body["orders"] is not None and "proposal" in body:
            self._approved[body["proposal"]] = (body["orders"], body["action_hash"], number)
        return _decision(active, body) if record.kind == "decision" else _modification(active, body)

    def _intent(self, record: Record) -> str:
        body = record.data
        orders, action_hash, _ = self._approved[body["proposal"]]
        sent = {entry["arc"]: entry["order"] for entry in json.loads(body["message"])["orders"]}
        if body["action_hash"] != action_hash or sent != orders:
            return f"what was sent for '{body['proposal']}' is not what was decided or approved"
        return ""

    def _active(self, number: int) -> Active | str:
        if number not in self._loaded:
            entry = self._entries.get(number)
            if entry is None:
                return f"no record of activation {number}"
            try:
                self._loaded[number] = load_activation(entry)
            except AdvisorError as error:
                self._loaded[number] = f"bundle {entry.bundle_id[:12]} cannot be loaded: {error.detail}"
        return self._loaded[number]


def _decision(active: Active, body: Mapping[str, Any]) -> str:
    request, problems = parse_request(
        body["request"], active.fields, active.arcs, active.guards.limit_names, active.hashes
    )
    if request is None:
        return f"the recorded request is refused now: {problems[0].detail}"
    if body["source"] == "policy":
        try:
            decided = active.decide(request.values)
        except Exception as error:
            return f"the policy fails now: {type(error).__name__} {error}"
    else:
        found = fall_back(active, request.values, body["fallback"])
        if found is None:
            return "" if body["raw_orders"] is None else "the fallback gives nothing now"
        decided = found
    problem = _preview(active, request, body)
    if problem:
        return problem
    if plain(decided.action) != body["action"]:
        return f"the action was {body['action']}, now it is {plain(decided.action)}"
    if active.named(decided.orders) != body["raw_orders"]:
        return "the orders before the guards differ"
    orders = active.guards.apply(decided.orders, Facts.from_dict(body["facts"])).orders
    named = None if orders is None else active.named(orders)
    if named != body["orders"]:
        return f"the final orders were {body['orders']}, now they are {named}"
    if named is not None and active.action_hash(body["id"], named) != body["action_hash"]:
        return "the action's hash differs"
    return ""


def _preview(active: Active, request: Request, body: Mapping[str, Any]) -> str:
    """What differs in the look ahead, where the twin made one; what was made by other means cannot be made again."""
    kept = body["look_ahead"]
    if kept is None or "compared" not in kept:
        return ""
    if active.look_ahead is None:
        return "it was looked ahead, and the guard file of its activation does not say how"
    seed = seed_of(active.bundle_id, digest(body["request"]))
    recommended, fallback = (active.vector(kept["compared"][name]) for name in ("recommended", "fallback"))
    found = active.look_ahead.compare(request, recommended, fallback, seed, None)
    if {"detail": found.detail, **plain(found.data)} != kept:
        return f"the look ahead found '{kept['detail']}', now it finds '{found.detail}'"
    if any(body["explanation"][name] != value for name, value in found.shown.items()):
        return "the look ahead's costs, service or trajectories differ"
    if found.accepted != (body["source"] == "policy"):
        return "what the look ahead refused was advised, or the other way round"
    return ""


def _modification(active: Active, body: Mapping[str, Any]) -> str:
    guarded = active.guards.apply(active.vector(body["orders"]), Facts.from_dict(body["facts"]))
    if guarded.changed:
        return "the guards would not let a person's orders through now"
    if active.action_hash(body["proposal"], body["orders"]) != body["action_hash"]:
        return "the action's hash differs"
    return ""
