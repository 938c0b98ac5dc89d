"""Every flow by its cheapest way when a move in a port also costs what it costs those who wait for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing_cheapest import Cheapest
from envs.routing_queues import OutageRule, Prices, QueuePrices
from envs.task import Task
from twin.errors import ActionError
from twin.state import TwinState

__all__ = ["QueuePrice"]

FloatArray = NDArray[np.float64]


class QueuePrice(Cheapest):
    """The zero action of the environment with ``base="queue"``.

    Parameters
    ----------
    rule
        Of :class:`envs.routing_queues.OutageRule`, in place of its defaults.
    """

    name = "routing_queue_price"

    def __init__(
        self, task: Task, parameters: ArrayLike | None = None, *, rule: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(task, parameters)
        assumed: dict[str, Any] = {**asdict(OutageRule()), **(rule or {})}
        wrong = {name: value for name, value in assumed.items() if not 0.0 <= value < np.inf}
        if wrong or len(assumed) > len(asdict(OutageRule())):
            known = ", ".join(asdict(OutageRule()))
            raise ActionError(
                f"rule: finite numbers of at least 0 by name (allowed: {known}), received {dict(rule or {})}"
            )
        self.queues = QueuePrices(self.costs, self.task.curves, self.task.week, OutageRule(**assumed))

    def cost(self, state: TwinState) -> FloatArray:
        prices = self.queues.of(state)
        departures = prices.departures + self.surcharges(state, prices)
        return self.costs.of(state, prices.moves, queues=(prices.queues, prices.fall), departures=departures)

    def surcharges(self, state: TwinState, prices: Prices) -> FloatArray:
        """Money per slot of each of the next departures, (size, B), over these prices; none here."""
        return np.zeros_like(prices.departures)
