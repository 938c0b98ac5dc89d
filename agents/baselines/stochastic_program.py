"""Two-stage stochastic program: the orders of now that are best on average over scenarios drawn from the laws.

Sample-average approximation (Kleywegt, Shapiro & Homem-de-Mello 2002, SIAM Journal on Optimization 12(2):479-502), new
scenarios at every decision. After the first period each scenario is planned for knowing all of it, so the policy
values information that it will not have; what it places now hedges.
"""

from __future__ import annotations

from functools import cached_property
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from agents.baselines.rolling_program import RollingProgram
from envs.task import Task
from twin.demand import correlation_matrix
from twin.distributions import Distribution, Recorded
from twin.errors import ActionError
from twin.state import TwinState
from twin.tape import Draws

__all__ = ["StochasticProgram"]

FloatArray = NDArray[np.float64]

#: Laws of demand kept, by stream and mean.
_MOST_LAWS = 10_000


class StochasticProgram(RollingProgram):
    """Order what is best on average over ``scenarios`` paths of demand, lead times and availability.

    Demand of a period has the law of its stream with the expected demand as its mean: the law of the season where
    there are seasons, and the stream's own times a factor where trend, known events or a forecast move it. Streams that
    are correlated are drawn so; autocorrelation and random shocks are left out. What is recorded is drawn from the
    record, at random.

    Parameters
    ----------
    task, parameters, horizon
        See :class:`agents.baselines.rolling_program.RollingProgram`.
    scenarios
        Number of paths N, at least 1.
    seed
        Of the policy's own random numbers. They depend on it and on what is observed: the same observation leads to the
        same orders, whatever the batch, and the decisions of one path to scenarios of their own.

    Raises
    ------
    ActionError
        As the base class, and when there is no scenario.
    """

    name = "stochastic_program"
    foresees = False

    def __init__(
        self,
        task: Task,
        parameters: ArrayLike | None = None,
        *,
        horizon: int | None = None,
        scenarios: int = 10,
        seed: int = 0,
    ) -> None:
        if scenarios < 1 or seed < 0:
            raise ActionError(f"scenarios must be at least 1 and seed at least 0, received {scenarios} and {seed}")
        super().__init__(task, parameters, horizon=horizon)
        self.scenarios, self.seed = int(scenarios), int(seed)
        self._laws: dict[tuple[int, float], Distribution] = {}

    def draws(self, expected: FloatArray, state: TwinState, replica: int, works: FloatArray | None = None) -> Draws:
        # In the precision of an observation, and + 0.0 makes -0.0 equal 0.0.
        seen = [state.store.numbers[:, replica].astype(np.float32) + 0.0, expected.astype(np.float32) + 0.0]
        rng = np.random.default_rng((self.seed, *(crc32(part.tobytes()) for part in seen)))
        compiled, paths, periods = self.compiled, self.scenarios, expected.shape[1]
        normal = rng.standard_normal((periods, compiled.n_demands, paths))
        uniform = special.ndtr(np.einsum("de,tes->tds", self._mix, normal))
        demand = np.empty_like(uniform)
        for d in range(compiled.n_demands):
            for t in range(periods):
                demand[t, d] = self._demand(d, float(expected[d, t]), uniform[t, d])
        lead = np.empty((periods, compiled.n_arcs, paths), dtype=np.int32)
        for a, (table, series) in enumerate(zip(compiled.lead_tables, compiled.lead_series, strict=True)):
            pick = rng.random((periods, paths))
            if series is None:
                lead[:, a] = np.minimum(np.searchsorted(table, pick), len(table) - 1)
            else:
                lead[:, a] = series[(pick * len(series)).astype(np.int64)]
        return Draws(demand, lead, self._availability(rng, state.arrays.availability[:, replica], periods))

    def _demand(self, stream: int, mean: float, uniform: FloatArray) -> FloatArray:
        """Demand of one period and stream on every path, (S,), units."""
        entry = self.compiled.network.demands[self.compiled.demand_names[stream]]
        law = self.compiled.demand_distributions[stream][0]
        factor = mean / law.mean_value if law.mean_value > 0.0 else 1.0
        if factor == 0.0:
            return np.zeros_like(uniform)
        if abs(factor - 1.0) < 1e-9:
            return law.quantile(uniform)
        if entry.seasonality is None or isinstance(law, Recorded):
            moved = factor * law.quantile(uniform)
            return np.floor(moved + 0.5) if self.compiled.topology.demand_integer[stream] else moved
        # The laws of a season come again every cycle: their tables are dear to make.
        key = (stream, round(mean, 9))
        if key not in self._laws:
            if len(self._laws) >= _MOST_LAWS:
                self._laws.clear()
            self._laws[key] = law.scaled(factor)
        return self._laws[key].quantile(uniform)

    def _availability(self, rng: np.random.Generator, now: FloatArray, periods: int) -> FloatArray:
        """Availability after each period, (T, R, S)."""
        compiled = self.compiled
        up = np.repeat((now == 1.0)[:, None], self.scenarios, axis=1)
        out = np.empty((periods, compiled.n_resources, self.scenarios))
        for t in range(periods):
            pick = rng.random(up.shape)
            up = np.where(up, pick >= compiled.resource_failure[:, None], pick < compiled.resource_recovery[:, None])
            out[t] = np.where(up, 1.0, compiled.resource_share_when_down[:, None])
        return out

    @cached_property
    def _mix(self) -> FloatArray:
        """(D, D) factor that correlates standard normal numbers."""
        network = self.compiled.network
        streams = {name: network.demands[name].model_copy(update={"autocorrelation": 0.0}) for name in network.demands}
        return np.asarray(np.linalg.cholesky(correlation_matrix(network.correlations, streams)), dtype=np.float64)
