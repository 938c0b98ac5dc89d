"""Small fakes: a clock that is set by hand, a sender that remembers, and a guard file to start from."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from agents.advisor import Advisor, AdvisorError, OutlierModel, Store, fit_outliers, open_store
from agents.advisor.guardrails import Guardrails
from agents.bundle import Bundle
from envs.inventory import InventoryTask
from twin.engine import Twin
from twin.simulation import Simulation

START = datetime.datetime(2026, 3, 2, 8, 0, tzinfo=datetime.UTC)
ARCS = (
    "plant->central:rail:item",
    "central->north:truck:item",
    "central->east:truck:item",
    "central->south:truck:item",
    "central->west:truck:item",
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime.datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)


class Remembering:
    """A sender that keeps what it was given, or raises what it was told to."""

    name = "remembering"
    patience_seconds = 1.0

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    def send(self, key: str, body: bytes) -> str:
        self.sent.append((key, json.loads(body)))
        if self.error is not None:
            raise self.error
        return "kept"


def rails(**changes: Any) -> Guardrails:
    """A guard file with prices, no gates, and whatever is changed."""
    data: dict[str, Any] = {
        "highest_mode": "autonomous",
        "default": {"maximum": 500.0},
        "prices": dict.fromkeys(ARCS, 2.0),
        "autonomy": {"spend_limit": 100000.0},
        "promotion": {"advisory": {"decisions": 0}, "autonomous": {"decisions": 0}},
        "demotion": {"window": 10, "minimum": 4},
        **changes,
    }
    return Guardrails.parse(data, "test")


def around(bundle: Bundle, state: dict[str, Any], *, episodes: int = 80, periods: int = 30) -> OutlierModel:
    """An outlier model of states around an example."""
    rng = np.random.default_rng(5)
    names = [field.name for field in bundle.spec.fields]
    centre = np.array([state["observation"][name] for name in names])
    width = 0.05 * np.maximum(np.abs(centre), 1.0)
    return fit_outliers([centre + rng.normal(size=(periods, len(names))) * width for _ in range(episodes)], names)


def carried(task: InventoryTask, simulation: Simulation) -> dict[str, Any]:
    """A request of where a simulation stands, with the twin's state."""
    state = simulation.state()
    twin = Twin(task.compiled).at(state)
    values = task.observe(twin, twin.positions(), np.ones(1))[0].tolist()
    names = (field.name for field in task.fields)
    return {"observation": dict(zip(names, values, strict=True)), "twin_state": simulation.snapshot()}


class Rig:
    """An advisor with everything a test looks at."""

    def __init__(self, bundle: Bundle, state: dict[str, Any], folder: Path, **changes: Any) -> None:
        self.bundle, self.clock, self.sender, self.folder = bundle, Clock(), Remembering(), folder
        self._state = state
        self.outliers = around(bundle, state)
        mode = changes.pop("mode", "advisory")
        options = {key: changes.pop(key) for key in ("fallback", "look_ahead") if key in changes}
        self.rails = rails(**changes)
        self.store: Store = open_store(folder / "store.db", clock=self.clock)
        self.advisor = Advisor(
            bundle,
            self.store,
            mode="advisory" if mode == "autonomous" else mode,
            guardrails=self.rails,
            outliers=self.outliers,
            sender=self.sender,
            **options,
        )
        if mode == "autonomous":
            self.advisor.set_mode("autonomous", person="planner")

    def state(self, **changes: Any) -> dict[str, Any]:
        """A request: the example, with entries replaced."""
        return {**self._state, "observation": dict(self._state["observation"]), **changes}

    def kinds(self) -> list[str]:
        return [record.kind for record in self.store.records()]

    def last(self, kind: str) -> dict[str, Any]:
        return dict([record for record in self.store.records() if record.kind == kind][-1].data)


def refused(call: Any, *args: Any, **kwargs: Any) -> AdvisorError:
    """The refusal of a call that must be refused."""
    try:
        call(*args, **kwargs)
    except AdvisorError as error:
        return error
    raise AssertionError("it was not refused")
