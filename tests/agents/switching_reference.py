"""The rules of supplier switching once more, for one replica and one arc at a time, from what their texts say.

Slow and plain: what is compared with it is the vectorised rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.compile import CompiledNetwork
from twin.contracts import MOVES, STAGES, Contract
from twin.engine import Twin


@dataclass
class World:
    """One replica at a decision epoch, by name."""

    compiled: CompiledNetwork
    position: dict[str, float]
    works: dict[str, float]
    since: dict[str, float]
    price: dict[str, float]
    stage: dict[str, str]
    clock: dict[str, float]

    @classmethod
    def of(cls, twin: Twin, b: int) -> World:
        compiled, arrays = twin.compiled, twin.state.arrays
        contracts = compiled.relations.contracts
        return cls(
            compiled,
            dict(zip(compiled.arc_names, twin.positions()[:, b], strict=True)),
            dict(zip(compiled.resource_names, arrays.availability[:, b], strict=True)),
            dict(zip(compiled.network.resources, arrays.since[:, b], strict=False)),
            dict(zip(compiled.prices.names, arrays.price[:, b], strict=True)),
            dict(zip(contracts, (STAGES[int(s)] for s in arrays.stage[:, b]), strict=True)),
            dict(zip(contracts, arrays.clock[:, b], strict=True)),
        )

    # -- the file -----------------------------------------------------------------------------------------------------

    def arcs(self) -> dict[str, tuple[Any, Any, str]]:
        """Name -> (lane, mode, place)."""
        out = {}
        for lane in self.compiled.network.lanes:
            for name, mode in lane.modes.items():
                key = f"{lane.origin}->{lane.destination}:{name}:{lane.product}"
                out[key] = (lane, mode, f"{lane.destination}/{lane.product}")
        return out

    def source(self, arc: str) -> str:
        lane = self.arcs()[arc][0]
        return f"{lane.origin}/{lane.product}"

    def uses(self, arc: str) -> dict[str, float]:
        lane, mode, _ = self.arcs()[arc]
        supplier = self.compiled.network.suppliers.get(lane.origin)
        out = dict(supplier.uses) if supplier else {}
        for name, amount in mode.uses.items():
            out[name] = out.get(name, 0.0) + amount
        return out

    def into(self, place: str) -> list[str]:
        """Arcs into a stock point, nearest first."""
        own = [name for name, (_, _, end) in self.arcs().items() if end == place]
        return sorted(own, key=lambda name: self.arcs()[name][1].lead_time.mean_value)

    def places(self) -> list[str]:
        """Stock points, each after those that it feeds."""
        names = [f"{site}/{product}" for site, product in self.compiled.network.stock_points()]
        feeds = {
            name: [end for lane, _, end in self.arcs().values() if f"{lane.origin}/{lane.product}" == name]
            for name in names
        }
        out: list[str] = []
        while len(out) < len(names):
            out += [name for name in names if name not in out and all(end in out for end in feeds[name])][:1]
        return out

    def contract(self, arc: str) -> str | None:
        origin = self.arcs()[arc][0].origin
        return origin if origin in self.stage else None

    def listed(self, arc: str) -> float:
        """Landed cost at list prices; what a depot has, at what it cost there by its cheapest way."""
        lane, mode, _ = self.arcs()[arc]
        supplier = self.compiled.network.suppliers.get(lane.origin)
        if supplier:
            return float(supplier.offers[lane.product].price + mode.freight_cost)
        return float(mode.freight_cost) + min(
            self.listed(other) for other in self.into(f"{lane.origin}/{lane.product}")
        )

    def cost(self, arc: str) -> float:
        lane = self.arcs()[arc][0]
        factor = self.price.get(f"{lane.origin}/{lane.product}", 1.0)
        supplier = self.compiled.network.suppliers.get(lane.origin)
        return self.listed(arc) + (float(supplier.offers[lane.product].price) * (factor - 1.0) if supplier else 0.0)

    def main(self, place: str) -> str:
        return min(self.into(place), key=self.listed)

    def mains(self) -> list[str]:
        return [self.main(place) for place in self.places()]

    def backups(self) -> list[str]:
        """Contracts of suppliers that are nobody's main one, cheapest first."""
        own = {self.contract(arc) for arc in self.mains()}
        price = {c: min(self.listed(a) for a in self.arcs() if self.contract(a) == c) for c in self.stage}
        return sorted((c for c in self.stage if c not in own), key=lambda c: price[c])

    # -- now ----------------------------------------------------------------------------------------------------------

    def share(self, arc: str) -> float:
        return min([1.0, *(self.works[r] for r in self.uses(arc))])

    def lasts(self, arc: str) -> float:
        """Periods that the arc has been out, or has not."""
        fails = [r for r in self.uses(arc) if self.fails(r)]
        out = [self.since[r] for r in fails if self.works[r] < 1.0]
        return max(out) if out else min([math.inf, *(self.since[r] for r in fails)])

    def fails(self, resource: str) -> bool:
        entry = self.compiled.network.resources[resource]
        return entry.availability is not None or bool(entry.causes)

    def agreement(self, supplier: str) -> Contract:
        contract = self.compiled.network.suppliers[supplier].contract
        assert contract is not None
        return contract

    def after(self, moves: dict[str, str]) -> dict[str, float]:
        """Share of each contract's capacity after the moves."""
        out = {}
        for name, stage in self.stage.items():
            move, ramp = moves.get(name, "keep"), self.agreement(name).ramp
            active = (stage == "active" and move != "deactivate") or (stage == "qualified" and move == "activate")
            age = self.clock[name] if stage == "active" else 0.0
            out[name] = (min(1.0, (age + 1) / ramp) if ramp else 1.0) if active else 0.0
        return out

    def room(self, arc: str, moves: dict[str, str]) -> float:
        """The most that is worth ordering."""
        _, mode, _ = self.arcs()[arc]
        own = math.inf if mode.capacity is None else mode.capacity
        own = min(own, math.inf if mode.maximum_order is None else mode.maximum_order)
        full = own
        for name, amount in self.uses(arc).items():
            capacity = self.compiled.network.resources[name].capacity
            capacity = math.inf if capacity is None else capacity
            own = min(own, capacity * self.works[name] / amount if self.works[name] else 0.0)
            full = min(full, capacity / amount)
        if mode.unfilled == "backordered":  # it waits where it is down, and what is too much waits
            own = full
        assert mode.when_down is None
        contract = self.contract(arc)
        if contract:
            part, capacity = self.after(moves)[contract], self.agreement(contract).capacity
            own = min(own, (math.inf if capacity is None else capacity * part) if part else 0.0)
        return own

    def working(self, arc: str, moves: dict[str, str]) -> float:
        alone = len(self.into(self.arcs()[arc][2])) == 1
        return self.room(arc, moves) if alone or self.share(arc) > 0.0 else 0.0

    def toward(self, wanted: set[str]) -> dict[str, str]:
        forward = {"outside": "qualify", "qualified": "activate"}
        out = {}
        for name, stage in self.stage.items():
            out[name] = forward.get(stage, "keep") if name in wanted else "deactivate" if stage == "active" else "keep"
        return out

    def drawn(self, place: str, orders: dict[str, float]) -> float:
        return sum(q for arc, q in orders.items() if self.source(arc) == place)

    def in_turn(self, levels: dict[str, float], room: dict[str, float], rank: dict[str, float]) -> dict[str, float]:
        """Whole positions to their levels, arcs of the lowest rank first."""
        orders: dict[str, float] = {}
        for place in self.places():
            arcs = self.into(place)
            need = max(0.0, levels[place] - (self.position[arcs[-1]] - self.drawn(place, orders)))
            for arc in sorted(arcs, key=lambda a: rank[a]):
                orders[arc] = min(need, room[arc])
                need -= orders[arc]
        return orders


Decision = tuple[dict[str, float], dict[str, str]]


def by_place(world: World, values: Any) -> dict[str, float]:
    return dict(zip(world.places(), values, strict=True))


def status_switching(world: World, p: list[float]) -> Decision:
    places = len(world.places())
    levels, (surge, patience, recovery, *waits) = p[:places], p[places:]
    mains = world.mains()
    out = any(world.share(a) < 1.0 and world.lasts(a) >= patience for a in mains)
    calm = all(world.share(a) == 1.0 and world.lasts(a) >= recovery for a in mains)
    wanted = {c for c in world.stage if c not in world.backups()}
    for wait, name in zip(waits, world.backups(), strict=True):
        stays = not calm and world.stage[name] == "active"
        lasts = any(world.share(a) < 1.0 and world.lasts(a) >= wait for a in mains)
        if wait < 0 or (wait <= 26 and (lasts or stays)):
            wanted.add(name)
    moves = world.toward(wanted)
    room = {a: 0.0 if out and world.share(a) == 0.0 else world.room(a, moves) for a in world.arcs()}
    raised = {place: level * (surge if out else 1.0) for place, level in by_place(world, levels).items()}
    return world.in_turn(raised, room, {a: world.cost(a) for a in world.arcs()}), moves


def up_to(world: World, levels: dict[str, float], room: dict[str, float], have: dict[str, float]) -> dict[str, float]:
    """Nearest first, each up to its level; what it has counts what nearer ones have just ordered."""
    orders: dict[str, float] = {}
    for place in world.places():
        nearer = 0.0
        for arc in world.into(place):
            short = levels[arc] - (have[arc] + nearer - world.drawn(place, orders))
            placed = min(max(0.0, min(short, room[arc])), order_limit(world, arc))
            orders[arc] = placed
            nearer += placed
    return orders


def order_limit(world: World, arc: str) -> float:
    return float(world.compiled.topology.arc_order_limit[world.compiled.arc_names.index(arc)])


def single_index(world: World, p: list[float]) -> Decision:
    arcs = world.compiled.arc_names
    levels, standing = dict(zip(arcs, p, strict=False)), (p[-1] if world.backups() else 0.0)
    wanted = {c for c in world.stage if c not in world.backups()[round(standing) :]}
    moves = world.toward(wanted)
    whole = {arc: world.position[world.into(place)[-1]] for arc, (_, _, place) in world.arcs().items()}
    return up_to(world, levels, {a: world.working(a, moves) for a in arcs}, whole), moves


def tailored_base_surge(world: World, p: list[float]) -> Decision:
    base, leveled = [], []
    for place in world.places():
        arcs, main = world.into(place), world.main(place)
        if len(arcs) == 1:
            leveled.append(main)
        else:
            base.append(main)
            leveled.append(next(a for a in arcs if a != main))
    names = world.compiled.arc_names
    base.sort(key=names.index)
    leveled.sort(key=names.index)
    moves = world.toward({c for a in base + leveled if (c := world.contract(a))})
    levels = dict.fromkeys(names, -math.inf) | dict(zip(leveled, p[len(base) :], strict=True))
    amount = dict(zip(base, p, strict=False))
    orders: dict[str, float] = {}
    for place in world.places():
        nearer = 0.0
        for arc in world.into(place):
            wish = amount.get(arc, levels[arc] - (world.position[arc] + nearer - world.drawn(place, orders)))
            orders[arc] = min(max(0.0, min(wish, world.working(arc, moves))), order_limit(world, arc))
            nearer += orders[arc]
    return orders, moves


def single_source(world: World, p: list[float]) -> Decision:
    several = [a for place in world.places() if len(world.into(place)) > 1 for a in world.into(place)]
    origin = {a: world.arcs()[a][0].origin for a in world.arcs()}
    cheapest = {o: min(world.listed(a) for a in several if origin[a] == o) for o in {origin[a] for a in several}}
    chosen = sorted(cheapest, key=lambda o: cheapest[o])[round(p[0])]
    used = set()
    for place in world.places():
        own = [a for a in world.into(place) if origin[a] == chosen] or [world.main(place)]
        used.add(min(own, key=world.listed))
    moves = world.toward({c for a in used if (c := world.contract(a))})
    room = {a: world.room(a, moves) if a in used else 0.0 for a in world.arcs()}
    return world.in_turn(by_place(world, p[1:]), room, {a: world.listed(a) for a in room}), moves


def cheapest_up(world: World, p: list[float]) -> Decision:
    moves = world.toward(set(world.stage))
    level, room, levels = dict(zip(world.compiled.arc_names, p, strict=True)), dict.fromkeys(world.arcs(), 0.0), {}
    for place in world.places():
        ready = [a for a in world.into(place) if world.working(a, moves) > 0.0]
        levels[place] = 0.0
        if ready:
            best = min(ready, key=world.cost)
            levels[place], room[best] = level[best], world.working(best, moves)
    return world.in_turn(levels, room, {a: world.cost(a) for a in room}), moves


def mitigation(world: World, p: list[float]) -> Decision:
    standing, rerouting, share = p[0] > 0.5, p[1] > 0.5, p[2]
    several = max(len(world.into(place)) for place in world.places()) > 2
    levels, mains = by_place(world, p[4:] if several else p[3:]), world.mains()
    out = any(world.share(a) < 1.0 for a in mains)
    origin = {a: world.arcs()[a][0].origin for a in world.arcs()}
    backup = {}
    for place in world.places():
        others = [a for a in world.into(place) if a != world.main(place)]
        if others:
            others.sort(key=lambda a: (origin[a] == origin[world.main(place)], world.listed(a)))
            backup[place] = others[min(round(p[3]) if several else 0, len(others) - 1)]
    of_main = {c for a in mains if (c := world.contract(a))}
    of_backup = {c for a in backup.values() if (c := world.contract(a))} - of_main
    moves = world.toward(of_main | (of_backup if standing or (rerouting and out) else set()))
    for name in of_backup:
        if rerouting and world.stage[name] == "outside":
            moves[name] = "qualify"
    orders: dict[str, float] = dict.fromkeys(world.arcs(), 0.0)
    for place in world.places():
        main, other = world.main(place), backup.get(place)
        need = max(0.0, levels[place] - (world.position[world.into(place)[-1]] - world.drawn(place, orders)))
        room_main = world.working(main, moves) if rerouting and out else world.room(main, moves)
        if other is None:
            orders[main] = min(need, room_main)
        elif rerouting and out:
            orders[main] = min(need, room_main)
            orders[other] = min(need - orders[main], world.working(other, moves))
        else:
            room_other = world.room(other, moves) if standing else 0.0
            part = share if standing else 0.0
            orders[main], orders[other] = min((1 - part) * need, room_main), min(part * need, room_other)
            if standing and 0.0 < part < 1.0:
                orders[main] = min(room_main, max(orders[main], need - orders[other]))
                orders[other] = min(room_other, max(orders[other], need - orders[main]))
    return orders, moves


def risk_switching(world: World, p: list[float], missing: dict[str, float]) -> Decision:
    """``missing`` are the periods of supply that will be missing at each stock point."""
    most, backups, places = max(missing.values()), world.backups(), len(world.places())
    levels, (_, cover, *terms) = p[:places], p[places:]
    release, prepare, *thresholds = terms or [0.0, 0.0]
    wanted = {c for c in world.stage if c not in backups}
    for threshold, name in zip(thresholds, backups, strict=True):
        stays = world.stage[name] == "active" and most >= release * threshold
        if most >= threshold or stays:
            wanted.add(name)
    moves = world.toward(wanted)
    for threshold, name in zip(thresholds, backups, strict=True):
        if most >= threshold - prepare and world.stage[name] == "outside":
            moves[name] = "qualify"
    names = world.compiled.stock_names
    rate = {place: float(world.compiled.demand_rate[names.index(place)]) for place in world.places()}
    raised = {place: level + cover * rate[place] * missing[place] for place, level in by_place(world, levels).items()}
    room = {a: world.working(a, moves) for a in world.arcs()}
    return world.in_turn(raised, room, {a: world.cost(a) for a in room}), moves


def moves_array(world: World, moves: dict[str, str]) -> np.ndarray[Any, Any]:
    return np.array([MOVES.index(moves.get(name, "keep")) for name in world.compiled.relation_names], dtype=np.int64)


def orders_array(world: World, orders: dict[str, float]) -> np.ndarray[Any, Any]:
    return np.array([orders[name] for name in world.compiled.arc_names])
