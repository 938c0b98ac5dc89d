"""What rerouting is worth when ports can do less: a week in which the nominal flows only shrink, and the best one.

An optimal nominal plan is rarely the only one, and what may not be rerouted depends on which one had been chosen, on
the published Mediterranean network by half a per cent. So that the value is a property of the network and not of a
solver, the flow without rerouting is the best over all optimal nominal plans; both are found by one program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from agents.oracles.cargo_flow import CargoFlow, CargoPlan
from agents.oracles.cargo_program import CargoProgram
from twin.errors import ConfigError, did_you_mean
from twin.liner.network import LinerNetwork

__all__ = ["Rerouting", "rerouting_value"]

FloatArray = NDArray[np.float64]

#: By how much, relative to its cost, a nominal plan may miss the optimum and still count as optimal.
_OPTIMAL = 1e-9


@dataclass(frozen=True, eq=False)
class Rerouting:
    """Three plans of a week; ``value`` is what rerouting is worth.

    Attributes
    ----------
    nominal
        The plan with every port at work.
    without
        Objective when on no leg, transshipment or call there is more cargo of an origin than nominally; money a week.
    rerouted
        The best plan with the ports' shares.
    """

    nominal: CargoPlan
    without: float
    rerouted: CargoPlan

    @property
    def value(self) -> float:
        """Money a week."""
        return self.rerouted.objective - self.without


def rerouting_value(network: LinerNetwork, shares: Mapping[str, float]) -> Rerouting:
    """Compare a week with and without rerouting while ports make only a share of their nominal moves.

    Parameters
    ----------
    network
        The liner network.
    shares
        Port -> share of the moves that it makes in the nominal plan, 0 to 1.

    Raises
    ------
    ConfigError
        For an unknown port or an impossible share, or when HiGHS stops without an optimum.
    ImportError
        When HiGHS is missing, with what to install.
    """
    for name, share in shares.items():
        if name not in network.ports:
            known = ", ".join(network.ports)
            raise ConfigError(f"no port '{name}' (allowed: {known}){did_you_mean(name, network.ports)}")
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"the share of {name} must lie between 0 and 1, received {share:g}")
    flow = CargoFlow(network)
    nominal = flow.solve()
    left = np.array([shares.get(name, np.nan) for name in flow.graph.port_names])
    hit = np.isfinite(left)
    most = np.where(hit, np.where(hit, left, 0.0) * nominal.port_moves, flow.graph.port_moves)
    flow.set_port_moves(most)
    rerouted = flow.solve()
    optimum = nominal.terms["fixed"] + nominal.objective
    lost = _without(flow.program, -optimum, most)
    return Rerouting(nominal, -lost - nominal.terms["fixed"], rerouted)


def _without(program: CargoProgram, optimum: float, moves: FloatArray) -> float:
    """Least cost of a flow y that lies below a flow x whose cost is the optimum."""
    cost = np.asarray(program.terms.sum(axis=0), dtype=np.float64).ravel()
    size = len(cost)
    flows = np.setdiff1d(np.arange(size), program.reject)
    below = sparse.eye_array(size, format="csr")[flows]
    least = np.where(np.isfinite(program.at_most), program.at_most, 0.0)
    limited = np.isfinite(program.at_most)
    shrunk = program.at_most.copy()
    shrunk[program.moves] = moves
    counts = np.isfinite(shrunk)
    result = optimize.linprog(
        np.concatenate([np.zeros(size), cost]),
        A_ub=sparse.block_array(
            [
                [program.most[limited], None],
                [None, program.most[counts]],
                [-below, below],
                [sparse.csr_array(cost[None]), None],
            ],
            format="csr",
        ),
        b_ub=np.concatenate(
            [least[limited], shrunk[counts], np.zeros(len(flows)), [optimum + _OPTIMAL * abs(optimum)]]
        ),
        A_eq=sparse.block_diag([program.equal, program.equal], format="csr"),
        b_eq=np.tile(program.equal_to, 2),
        bounds=(0.0, None),
        method="highs",
    )
    if result.x is None:
        raise ConfigError(f"HiGHS found no flow below the nominal one ({result.message})")
    return float(result.fun)
