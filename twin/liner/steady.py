"""The week that repeats itself: the plan for it on the candidates, and the state that following it leads to.

A liner network that starts empty takes weeks to fill: cargo under way for a month is not there on the first day. What
is decided and measured begins where the best nominal week has been running for long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.engine import Twin
from twin.liner.assignment import Assignment
from twin.liner.plan import CandidatePlan, candidate_plan
from twin.liner.schedule import WEEK
from twin.liner.weekday_plan import booked_week
from twin.state import TwinState
from twin.tape import Draws

__all__ = ["nominal_plan", "settle", "steady_week"]

FloatArray = NDArray[np.float64]

#: Where cargo is, and what has been done with it: what a settled state has and a fresh one has not.
_CARGO = ("on_hand", "in_transit", "backorders", "backlog", "demand", "served", "lost", "delivered", "shipped")


def nominal_plan(assignment: Assignment) -> CandidatePlan:
    """The best weekly amounts with all ports at work, time being counted from when cargo is booked."""
    routing = assignment.routing
    days = assignment.booked_days()
    lateness = np.zeros(len(routing.candidates))
    for w, way in enumerate(assignment.ways):
        if assignment.flows[way.flow].node < 0 and way.candidate >= 0:
            lateness[way.candidate] = routing.terms.value_of_time * days[w]
    return candidate_plan(routing.liner, routing.graph, routing.candidates, lateness=lateness)


def steady_week(assignment: Assignment, plan: CandidatePlan, weeks: int = 30) -> tuple[TwinState, ...]:
    """One replica on the 7 days after following a plan for some weeks, weekday 0 first.

    No noise, and nothing fails: with enough weeks, the week that repeats itself.

    Parameters
    ----------
    assignment, plan
        The network, and what goes on its candidates.
    weeks
        How many; cargo needs as long as its longest way until weeks are alike.
    """
    compiled = assignment.routing.compiled
    twin, share = Twin(compiled), assignment.plan(plan.ffe)
    arrays = twin.state.arrays
    arrays.availability[:] = 1.0
    lead = np.zeros((1, compiled.n_arcs, 1), dtype=np.int32)
    works = np.ones((1, compiled.n_resources, 1))
    untouched = twin.state.exogenous[None].copy()
    week = booked_week(assignment)
    seen = []
    for day in range(WEEK * (weeks + 1) - 1):
        if day >= WEEK * weeks:
            seen.append(twin.state.fork())
        draws = Draws(week[day % WEEK].reshape(1, -1, 1), lead, works, untouched)
        twin.step(assignment.orders(twin.state, share, by_booking=True), draws)
    return (*seen, twin.state)


def settle(state: TwinState, settled: TwinState) -> None:
    """Put the cargo of a settled state of one replica into every replica of a state, which keeps its draws."""
    for name in _CARGO:
        getattr(state.arrays, name)[:] = getattr(settled.arrays, name)
    state.arrays.pipeline[state.ring_order("pipeline")] = settled.logical("pipeline")
