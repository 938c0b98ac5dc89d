"""Contracts with suppliers and what may be decided on them: keys of a network file, their checks, and their arrays.

A supplier with a contract must be qualified and activated before anything is ordered from it (docs/model.md, "Suppliers
under contract"); :mod:`twin.dealing` moves it from stage to stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from twin.schema import NonNegative, StrictModel, Whole

if TYPE_CHECKING:
    from twin.network import Network

__all__ = [
    "CONTRACT_RESOURCE",
    "MOVES",
    "STAGES",
    "Contract",
    "Expediting",
    "RelationRules",
    "Relations",
    "contract_keys",
    "contract_problems",
    "relations_of",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: What may be decided on a relation in a period, and where a contract can stand; positions are the codes in arrays.
MOVES = ("keep", "qualify", "activate", "deactivate", "expedite")
STAGES = ("outside", "qualifying", "qualified", "active")

#: Longest qualification and ramp, in periods.
LONGEST = 5000

#: Name of the hidden resource that holds a contract's capacity (no resource of a file can be called like that).
CONTRACT_RESOURCE = "contract:{}"


class Contract(StrictModel):
    """What a supplier needs before it may be ordered from, and what having it costs."""

    state: Literal["outside", "qualified", "active"] = Field(default="active", description="at the start")
    qualification_cost: NonNegative = Field(default=0.0, description="money, once, when qualification begins")
    qualification_periods: Whole = Field(default=0, ge=0, le=LONGEST, description="periods until it may be activated")
    switching_cost: NonNegative = Field(default=0.0, description="money, once, when it is activated")
    exit_cost: NonNegative = Field(default=0.0, description="money, once, when it is deactivated")
    minimum: NonNegative = Field(default=0.0, description="units to be ordered from it per period while active")
    shortfall_cost: NonNegative = Field(default=0.0, description="money per unit ordered below the minimum")
    ramp: Whole = Field(default=0, ge=0, le=LONGEST, description="periods to full capacity after activation")
    capacity: NonNegative | None = Field(default=None, description="units per period over all its arcs; none: no limit")


class Expediting(StrictModel):
    """What is under way may be moved forward, at a price."""

    cost_per_unit: NonNegative = Field(default=0.0, description="money per unit that arrives earlier")
    periods: Whole = Field(ge=1, le=LONGEST, description="periods that it arrives earlier, at the next receipt at most")


class RelationRules(NamedTuple):
    """The arrays of relations that the engines read. Sizes: S relations, C contracts, N arcs whose record is kept."""

    # relations (S,): contract or -1, and their arcs with what expediting does on them (0 periods: it cannot be)
    relation_contract: IntArray
    arc_ptr: IntArray
    arc: IntArray
    arc_periods: IntArray
    arc_cost: FloatArray
    # contracts (C,): relation, money, periods, units; the resources of the file that its arcs use
    relation: IntArray
    qualification_cost: FloatArray
    qualification_periods: IntArray
    switching_cost: FloatArray
    exit_cost: FloatArray
    minimum: FloatArray
    shortfall_cost: FloatArray
    ramp: IntArray
    resource: IntArray
    used_ptr: IntArray
    used: IntArray
    # arcs from suppliers (N,): arc, contract or -1, promised lead time
    record_arc: IntArray
    record_contract: IntArray
    record_promise: IntArray


@dataclass(frozen=True, eq=False)
class Relations:
    """Suppliers with a contract or with an arc that can be expedited, compiled.

    Attributes
    ----------
    names, contracts
        Suppliers, one per relation and one per contract, in file order.
    rules
        Arrays for the engines.
    stage, clock
        Per contract at the start: position in ``STAGES``, periods. Shape (C,).
    """

    names: tuple[str, ...]
    contracts: tuple[str, ...]
    rules: RelationRules
    stage: FloatArray
    clock: FloatArray


def relations_of(network: Network, origins: Sequence[str], uses: Sequence[Sequence[int]]) -> Relations:
    """Compile the relations of a network.

    Parameters
    ----------
    network
        A checked network.
    origins
        Per arc, the supplier or site where it begins.
    uses
        Per arc, the resources of the file that it uses.
    """
    modes = [(lane, mode) for lane in network.lanes for mode in lane.modes.values()]
    suppliers = network.suppliers
    expedited = {lane.origin for lane, mode in modes if mode.expediting is not None}
    names = tuple(name for name, entry in suppliers.items() if entry.contract is not None or name in expedited)
    held = {name: entry.contract for name, entry in suppliers.items() if entry.contract is not None}
    contracts, terms = tuple(held), list(held.values())
    arcs = [[a for a, origin in enumerate(origins) if origin == name] for name in names]
    flat = [a for group in arcs for a in group]
    expediting = [modes[a][1].expediting for a in flat]
    used = [sorted({r for a in arcs[names.index(name)] for r in uses[a]}) for name in contracts]
    record = [a for a, origin in enumerate(origins) if (names or network.records) and origin in suppliers]
    promises = [modes[a][1].lead_time.mean_value / network.periods(modes[a][1].lead_time_unit) for a in record]
    rules = RelationRules(
        relation_contract=_ints([contracts.index(name) if name in held else -1 for name in names]),
        arc_ptr=_ptr(arcs),
        arc=_ints(flat),
        arc_periods=_ints([0 if entry is None else entry.periods for entry in expediting]),
        arc_cost=_floats([0.0 if entry is None else entry.cost_per_unit for entry in expediting]),
        relation=_ints([names.index(name) for name in contracts]),
        qualification_cost=_floats([entry.qualification_cost for entry in terms]),
        qualification_periods=_ints([entry.qualification_periods for entry in terms]),
        switching_cost=_floats([entry.switching_cost for entry in terms]),
        exit_cost=_floats([entry.exit_cost for entry in terms]),
        minimum=_floats([entry.minimum for entry in terms]),
        shortfall_cost=_floats([entry.shortfall_cost for entry in terms]),
        ramp=_ints([entry.ramp for entry in terms]),
        resource=_ints([len(network.resources) + c for c in range(len(terms))]),
        used_ptr=_ptr(used),
        used=_ints([r for group in used for r in group]),
        record_arc=_ints(record),
        record_contract=_ints([contracts.index(origins[a]) if origins[a] in held else -1 for a in record]),
        record_promise=_ints([np.floor(promise + 0.5) for promise in promises]),
    )
    return Relations(
        names=names,
        contracts=contracts,
        rules=rules,
        stage=_floats([STAGES.index(entry.state) for entry in terms]),
        # One that is active at the start has been so for long: it works at full capacity.
        clock=_floats([entry.ramp if entry.state == "active" else 0 for entry in terms]),
    )


def contract_keys(network: Network) -> Iterator[str]:
    """Key paths of all contracts and expediting, for those who cannot deal with them."""
    for name, supplier in network.suppliers.items():
        if supplier.contract is not None:
            yield f"suppliers.{name}.contract"
    for index, lane in enumerate(network.lanes):
        for mode_name, mode in lane.modes.items():
            if mode.expediting is not None:
                yield f"lanes[{index}].modes.{mode_name}.expediting"


def contract_problems(network: Network) -> Iterator[str]:
    """What makes a contract or expediting impossible or void, one sentence each."""
    origins = {lane.origin for lane in network.lanes}
    for name, supplier in network.suppliers.items():
        if supplier.contract is None:
            continue
        place, contract = f"suppliers.{name}.contract", supplier.contract
        if name not in origins:
            yield f"{place}: no lane begins at '{name}', so there is nothing to order under it"
        if contract.ramp and contract.capacity is None:
            yield f"{place}.ramp: a share of no limit is no limit, received {contract.ramp} (allowed: 0, or a capacity)"
        if contract.capacity is not None and contract.minimum > contract.capacity:
            yield (
                f"{place}.minimum: {contract.minimum:g} is more than it can ever ship "
                f"(allowed: at most the capacity {contract.capacity:g})"
            )
        if (contract.minimum > 0.0) != (contract.shortfall_cost > 0.0):
            given, other = ("minimum", "shortfall_cost") if contract.minimum > 0.0 else ("shortfall_cost", "minimum")
            yield f"{place}.{given}: costs nothing without a {other} above 0 (allowed: both or neither)"
    for index, lane in enumerate(network.lanes):
        for mode_name, mode in lane.modes.items():
            if mode.expediting is not None and lane.origin not in network.suppliers:
                yield (
                    f"lanes[{index}].modes.{mode_name}.expediting: the lane begins at site '{lane.origin}' "
                    "(allowed: on lanes that begin at a supplier)"
                )


def _ptr(groups: Sequence[Sequence[Any]]) -> IntArray:
    return np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)


def _ints(values: Sequence[Any]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _floats(values: Sequence[Any]) -> FloatArray:
    return np.array(values, dtype=np.float64)
