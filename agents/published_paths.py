"""Paths of demand that publications draw with numpy's generator, so that costs compare with theirs path by path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from twin.compile import CompiledNetwork
from twin.errors import ConfigError
from twin.tape import Draws

__all__ = ["poisson_paths"]


def poisson_paths(compiled: CompiledNetwork, seeds: Sequence[int], periods: int) -> Draws:
    """One path per seed: Poisson demand of the stream's mean in each period, one draw after the other.

    ``scipy.stats.poisson.rvs`` with a ``numpy.random.default_rng`` of the seed, as the gym-invmgmt benchmark draws.

    Parameters
    ----------
    compiled
        A network with one demand stream of a Poisson law, fixed lead times and resources that do not fail.
    seeds
        One per path.
    periods
        Length of a path.

    Returns
    -------
    Draws
        Of ``periods`` periods for ``len(seeds)`` replicas.

    Raises
    ------
    ConfigError
        When the network is another.
    """
    laws = [law for laws in compiled.demand_distributions for law in laws]
    if compiled.n_demands != 1 or any(law.distribution != "poisson" for law in laws):
        raise ConfigError(f"{compiled.network.name}: such paths need one demand stream of a Poisson law")
    if (compiled.topology.arc_fixed_lead < 0).any() or (compiled.resource_share_when_down < 1.0).any():
        raise ConfigError(f"{compiled.network.name}: such paths need fixed lead times and resources that do not fail")
    means = compiled.expected_demand(0, np.arange(periods))
    generators = [np.random.default_rng(seed) for seed in seeds]
    units = np.array([[stats.poisson.rvs(mean, random_state=rng) for mean in means] for rng in generators], float)
    return Draws(
        units.T[:, None, :],
        np.zeros((periods, compiled.n_arcs, len(seeds)), np.int32),
        np.ones((periods, compiled.n_resources, len(seeds))),
    )
