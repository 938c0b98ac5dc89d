"""What an observation shows of the state, found by the names of its fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.baselines.reading import Reading, receipt
from envs.inventory_features import slots_ahead
from envs.readers import warning_rows
from envs.task import Task
from twin.compile import CompiledNetwork
from twin.contracts import STAGES
from twin.errors import ActionError

__all__ = ["Columns", "ObservedReading"]

FloatArray = NDArray[np.float64]


class Columns:
    """Which columns of a task's observations hold what; made once per policy.

    Parameters
    ----------
    task
        Whose observations are read.
    """

    def __init__(self, task: Task) -> None:
        self.compiled: CompiledNetwork = task.compiled
        self.finite = task.finite
        self._place = {field.name: column for column, field in enumerate(task.fields)}
        self._kept: dict[Any, Any] = {}

    def read(self, observation: NDArray[Any]) -> ObservedReading:
        """The reading of observations (n,) or (B, n)."""
        return ObservedReading(self, np.atleast_2d(observation))

    def shows(self, group: str) -> bool:
        """Whether there is any field of a group."""
        return any(name.startswith(f"{group}[") for name in self._place)

    def find(self, group: str, entities: Iterable[str], change: str) -> NDArray[np.int64]:
        """Columns of ``group[entity]``.

        Raises
        ------
        ActionError
            When one is not shown; ``change`` says which task argument shows it.
        """
        names = [f"{group}[{entity}]" if entity else group for entity in entities]
        for name in names:
            if name not in self._place:
                raise ActionError(f"the observation does not show '{name}'; make the task with {change}")
        return np.array([self._place[name] for name in names], dtype=np.int64)

    def rows(self, group: str) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """Of a group that has one number per entity: entities in all, those that have one, and their columns."""
        if group not in self._kept:
            top, compiled = self.compiled.topology, self.compiled
            some: dict[str, tuple[tuple[str, ...], NDArray[np.bool_]]] = {
                "position": (compiled.arc_names, np.ones(compiled.n_arcs, dtype=np.bool_)),
                "on_hand": (compiled.stock_names, np.ones(compiled.n_stocks, dtype=np.bool_)),
                "in_transit": (compiled.arc_names, np.ones(compiled.n_arcs, dtype=np.bool_)),
                "in_mail": (compiled.arc_names, np.diff(top.mail_ptr) > 0),
                "owed": (compiled.arc_names, top.arc_owes),
                "backlog": (compiled.demand_names, top.demand_backlogs),
                "demand": (compiled.demand_names, np.ones(compiled.n_demands, dtype=np.bool_)),
                "availability": (compiled.resource_names, compiled.resource_share_when_down < 1.0),
                "since": (compiled.resource_names, compiled.resource_share_when_down < 1.0),
                "warning": (compiled.resource_names, self._warned()),
                "price": (compiled.prices.names, np.ones(len(compiled.prices.names), dtype=np.bool_)),
                "clock": (compiled.relations.contracts, np.ones(len(compiled.relations.contracts), dtype=np.bool_)),
            }
            names, has = some[group]
            which = np.flatnonzero(has)
            columns = self.find(group, (names[k] for k in which), f"'{group}' in observe=")
            self._kept[group] = (len(names), which, columns)
        found: tuple[int, NDArray[np.int64], NDArray[np.int64]] = self._kept[group]
        return found

    def _warned(self) -> NDArray[np.bool_]:
        out = np.zeros(self.compiled.n_resources, dtype=np.bool_)
        out[[r for r, _ in warning_rows(self.compiled)]] = True
        return out

    def stages(self) -> NDArray[np.int64]:
        """Columns of the contracts' stages, (C, number of stages)."""
        if "stages" not in self._kept:
            contracts = self.compiled.relations.contracts
            names = (f"{name}:{stage}" for name in contracts for stage in STAGES)
            columns = self.find("contract", names, "'contract' in observe=")
            self._kept["stages"] = columns.reshape(len(contracts), len(STAGES))
        found: NDArray[np.int64] = self._kept["stages"]
        return found

    def arriving(self, ahead: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Stock points that something may reach ``ahead`` receipts from now, and their columns."""
        if ("arriving", ahead) not in self._kept:
            which = np.flatnonzero(slots_ahead(self.compiled) >= receipt(ahead))
            names = (f"{self.compiled.stock_names[i]}:{ahead}" for i in which)
            columns = self.find("arriving", names, "arrivals=\"slots\" and 'arriving' in observe=")
            self._kept["arriving", ahead] = (which, columns)
        found: tuple[NDArray[np.int64], NDArray[np.int64]] = self._kept["arriving", ahead]
        return found

    def expected(self, window: int) -> list[float | NDArray[np.int64]]:
        """Per stream, the columns of its expected demand, or its mean where that never changes."""
        if ("expected", window) not in self._kept:
            out: list[float | NDArray[np.int64]] = []
            for d, (name, entry) in enumerate(self.compiled.network.demands.items()):
                if entry.forecast is None and not entry.moves and len(self.compiled.demand_distributions[d]) == 1:
                    out.append(float(self.compiled.expected_demand(d, np.zeros(1, dtype=np.int64))[0]))
                else:
                    entities = [name, *(f"{name}:{k}" for k in range(2, window + 1))][:window]
                    out.append(self.find("expected", entities, f"forecast={window} and 'expected' in observe="))
            self._kept["expected", window] = out
        found: list[float | NDArray[np.int64]] = self._kept["expected", window]
        return found

    def periods_left(self) -> NDArray[np.int64]:
        """The column of the periods left."""
        return self.find("periods_left", [""], "'periods_left' in observe=")


class ObservedReading(Reading):
    """What an observation shows, to the precision of its numbers and within the bounds of its fields.

    Parameters
    ----------
    columns
        Of the task.
    observation
        Shape (B, n).

    Raises
    ------
    ActionError
        On asking for what the observation does not show.
    """

    def __init__(self, columns: Columns, observation: NDArray[Any]) -> None:
        self._columns = columns
        self._values = observation.T.astype(np.float64)
        self.replicas = len(observation)

    @property
    def position(self) -> FloatArray:
        return self._all("position")

    @property
    def on_hand(self) -> FloatArray:
        return self._all("on_hand")

    @property
    def in_transit(self) -> FloatArray:
        return self._all("in_transit")

    @property
    def in_mail(self) -> FloatArray:
        return self._all("in_mail")

    @property
    def owed(self) -> FloatArray:
        return self._all("owed")

    @property
    def backlog(self) -> FloatArray:
        return self._all("backlog")

    @property
    def demand(self) -> FloatArray:
        return self._all("demand")

    @property
    def availability(self) -> FloatArray:
        return self._all("availability", usual=1.0)

    @property
    def since(self) -> FloatArray:
        return self._all("since")

    @property
    def warning(self) -> FloatArray:
        return self._all("warning")

    @property
    def price(self) -> FloatArray:
        return self._all("price", usual=1.0)

    @property
    def stage(self) -> FloatArray:
        shown = self._values[self._columns.stages()]
        return np.asarray(shown.argmax(axis=1), dtype=np.float64)

    @property
    def clock(self) -> FloatArray:
        return self._all("clock")

    @property
    def periods_left(self) -> FloatArray | None:
        return self._values[self._columns.periods_left()[0]] if self._columns.finite else None

    def arriving(self, ahead: int) -> FloatArray:
        which, columns = self._columns.arriving(ahead)
        return self._filled(self._columns.compiled.n_stocks, which, columns, 0.0)

    def expected(self, window: int) -> FloatArray:
        out = np.empty((self._columns.compiled.n_demands, window, self.replicas))
        for d, known in enumerate(self._columns.expected(window)):
            out[d] = known if isinstance(known, float) else self._values[known]
        return out

    def _all(self, group: str, usual: float = 0.0) -> FloatArray:
        number, which, columns = self._columns.rows(group)
        return self._filled(number, which, columns, usual)

    def _filled(self, number: int, which: NDArray[np.int64], columns: NDArray[np.int64], usual: float) -> FloatArray:
        if len(which) == number:
            return self._values[columns]
        out = np.full((number, self.replicas), usual)
        out[which] = self._values[columns]
        return out
