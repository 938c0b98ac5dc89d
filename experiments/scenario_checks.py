"""What a scenario has to do with the rest of a configuration: whether anybody would see it, and on which network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twin.errors import did_you_mean
from twin.liner.scenarios import scenario_names
from twin.scenarios import Scenario

__all__ = ["Span", "liner_problems", "unseen"]


class Span(Protocol):
    """Periods that are measured, after some of warm-up."""

    @property
    def periods(self) -> int: ...

    @property
    def warm_up(self) -> int: ...


class Ending(Protocol):
    """After how many periods an episode ends, and whether the problem does."""

    @property
    def horizon(self) -> int: ...

    @property
    def finite(self) -> bool: ...


def unseen(scenario: Scenario, env: Ending, spans: Mapping[str, Span], *, whole: bool = False) -> list[str]:
    """A line for every event after the end of an episode, or outside the periods that are measured.

    Parameters
    ----------
    env
        Where its problem ends, episodes are measured from their start to their end.
    spans
        Key of the configuration -> what is measured where the problem continues.
    whole
        Whether episodes are run from start to end where the problem continues, too.
    """
    problems = []
    for name, start, end in scenario.once():
        if start >= env.horizon and (env.finite or whole):
            problems.append(
                f"scenario.{name}.start: {start:g} is after the end of an episode "
                f"(allowed: below env.horizon={env.horizon})"
            )
        late = [key for key, span in spans.items() if end <= span.warm_up or start >= span.warm_up + span.periods]
        if late and not env.finite:
            words = " ".join(f"{key}.warm_up=0" for key in late)
            problems.append(
                f"scenario.{name}: periods {start:g} to {end:g} are not among those that are measured "
                f"(allowed: env.finite=true, or {words})"
            )
    return problems


def liner_problems(scenario: Scenario, other: str | None, *, usual: str | None) -> list[str]:
    """What is wrong with the scenario of a liner network.

    Parameters
    ----------
    other
        What ``env.routing.scenario`` says.
    usual
        What it says where nobody has said anything.
    """
    names = scenario_names()
    listed = ", ".join(names)
    if scenario:
        return [
            f"scenario: '{scenario.name}' is not for liner networks (allowed with env=routing: {listed}, or a file as "
            "env.routing.scenario)"
        ]
    if scenario.name not in {"none", *names}:
        guess = did_you_mean(scenario.name, names)
        return [f"scenario: no '{scenario.name}' for liner networks (allowed: none, {listed}){guess}"]
    if scenario.name != "none" and other not in {usual, scenario.name}:
        return [f"scenario: '{scenario.name}', and env.routing.scenario is '{other}' (allowed: one of them)"]
    return []
