"""An episode in plain words: what happened to the suppliers, and the sequence of moves that answered it."""

from __future__ import annotations

import itertools

import numpy as np

from experiments.episode_trace import Trace
from twin.contracts import STAGES
from twin.economics import COST_TERMS

__all__ = ["describe"]

_MOVES = {
    ("outside", "qualifying"): "starts to qualify {}",
    ("outside", "qualified"): "qualifies {}",
    ("qualifying", "qualified"): "{} is qualified",
    ("qualified", "active"): "activates {}",
    ("active", "qualified"): "ends the contract with {}",
    ("outside", "active"): "qualifies and activates {}",
}
_EXPEDITING = next(k for k, term in enumerate(COST_TERMS) if term.name == "expediting")


def describe(name: str, trace: Trace) -> str:
    """The sequence of moves of a policy, one line each, with what was ordered between them.

    Periods count from 1. Between two lines stands the mean order from each source over those periods.
    """
    events = _events(trace)
    unit, money = trace.compiled.network.period, trace.compiled.network.currency
    lines = [f"{name}: {trace.costs.sum():,.0f} {money} in {trace.periods} {unit}s"]
    marks = sorted({0, *events, trace.periods})
    for first, last in itertools.pairwise(marks):
        for text in events.get(first, []):
            lines.append(f"  {unit} {first + 1}: {text}")
        if last > first:
            stretch = f"{unit} {first + 1}" if last == first + 1 else f"{unit}s {first + 1} to {last}"
            lines.append(f"    {stretch}: orders {_mix(trace, first, last)}")
    return "\n".join(lines)


def _events(trace: Trace) -> dict[int, list[str]]:
    compiled, out = trace.compiled, dict[int, list[str]]()

    def note(period: int, text: str) -> None:
        out.setdefault(period, []).append(text)

    full = trace.availability >= 1.0
    for r in np.flatnonzero(compiled.resource_share_when_down < 1.0):
        name = compiled.resource_names[r]
        for t in range(1, trace.periods):
            before, now = trace.availability[t - 1, r], trace.availability[t, r]
            if now < before:  # from full, or again while it recovers
                note(t, f"{name} falls to {100.0 * now:.0f} %")
            elif full[t, r] and not full[t - 1, r]:
                note(t, f"{name} is back in full")
            elif now > 0.0 == before:
                note(t, f"{name} begins to recover")
    for t in range(trace.periods):
        for c, name in enumerate(compiled.relations.contracts):
            step = STAGES[int(trace.stage[t, c])], STAGES[int(trace.stage[t + 1, c])]
            if step in _MOVES:
                # A qualification that ends has ended by the next decision.
                late = step == ("qualifying", "qualified")
                if t + late < trace.periods:
                    note(t + late, _MOVES[step].format(name))
        if trace.costs[t, _EXPEDITING] > 0.0:
            note(t, "expedites what is under way")
    return out


def _mix(trace: Trace, first: int, last: int) -> str:
    means = {source: float(orders[first:last].mean()) for source, orders in trace.by_source().items()}
    parts = [f"{mean:,.4g} from {source}" for source, mean in means.items() if mean > 0.0]
    return (", ".join(parts) or "nothing") + f" a {trace.compiled.network.period}"
