"""Vessels, calls and cargo a second time: naive, in plain Python, sharing no code with the twin; and random networks.

Vessels are followed one by one along their rounds. Cargo comes ashore where its vessel calls, so that nothing here
knows of lead times, calendars or levels.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

from twin.liner.itineraries import Candidate
from twin.liner.network import LinerNetwork


def random_network(rng, *, canal=False):
    """Three services between five ports, some of them with two calls of one port; demands; limits of moves."""
    names = [f"P{k}" for k in range(5)]
    vessel = {
        "capacity_ffe": 100.0,
        "charter_per_day": 50.0,
        "min_speed_knots": 5.0,
        "max_speed_knots": 20.0,
        "design_speed_knots": 12.0,
        "bunker_t_per_day": 3.0,
        "idle_bunker_t_per_day": 0.5,
        "canal_fees": {"suez": 900.0},
    }
    services = {}
    for k in range(3):
        calls = [str(name) for name in rng.permutation(names)[: rng.integers(2, 5)]]
        if len(calls) == 4 and rng.random() < 0.7:
            calls = [*calls[:3], calls[0], calls[3]]
        kind = str(rng.choice(["v", "small"]))
        services[f"s{k}"] = {
            "class": kind,
            "vessels": int(rng.integers(1, 4)),
            "speed_knots": float(rng.choice([8.0, 10.0, 15.5])),
            "calls": calls,
        }
    distances = []
    for one, other in itertools.combinations(names, 2):
        nm = float(rng.integers(60, 2500))
        way = {"from": one, "to": other, "nm": nm}
        if canal and rng.random() < 0.5:
            distances.append(way | {"through": ["suez"]})
            way["nm"] = nm + float(rng.integers(50, 3000))
        distances.append(way)
    pairs = [pair for pair in itertools.permutations(names, 2) if rng.random() < 0.5] or [("P0", "P1")]
    return LinerNetwork.parse(
        {
            "name": "random",
            "ports": {
                name: {
                    "handling_cost": float(rng.integers(5, 60)),
                    "transshipment_cost": float(rng.integers(1, 40)),
                    "call_cost": 70.0,
                    "call_cost_per_ffe": 0.5,
                    **({"moves_per_week": float(rng.integers(40, 250))} if rng.random() < 0.6 else {}),
                }
                for name in names
            },
            "vessel_classes": {"v": vessel, "small": {**vessel, "capacity_ffe": 40.0}},
            "services": services,
            "demands": [
                {
                    "from": a,
                    "to": b,
                    "ffe_per_week": float(rng.integers(5, 90)),
                    "revenue_per_ffe": float(rng.integers(0, 900)),
                }
                for a, b in pairs
            ],
            "distances": distances,
        }
    )


def random_candidates(rng, graph, most=4):
    """Some of the ways of every demand."""
    onward = {n: [int(graph.leg_head[n])] for n in range(len(graph.port))}
    for tail, head in zip(graph.transfer_tail.tolist(), graph.transfer_head.tolist(), strict=True):
        onward[tail].append(head)
    found = []
    for d in range(len(graph.demand)):
        stack = [[n] for n in range(len(graph.port)) if graph.port[n] == graph.origin[d]]
        ways = []
        while stack and len(ways) < 40:
            path = stack.pop(int(rng.integers(len(stack))))
            if graph.port[path[-1]] == graph.destination[d]:
                ways.append(Candidate(d, tuple(path)))
                continue
            stack += [[*path, step] for step in onward[path[-1]] if step not in path and len(path) < 7]
        found += [ways[k] for k in rng.permutation(len(ways))[:most]]
    return tuple(found)


class Harbours:
    """One replica, driven by what is ordered.

    ``orders`` of :meth:`day` are (kind, demand, call, other call, way around, FFE), first come, first served.
    """

    def __init__(self, network, terms, first_call):
        self.network, self.terms = network, terms
        self.calls = [(s, c) for s, service in network.services.items() for c in range(len(service.calls))]
        self.port = [network.services[s].calls[c] for s, c in self.calls]
        self.today = 0
        self.ashore = defaultdict(float)  # (call, demand)
        self.landed = defaultdict(float)  # demand: delivered and not yet handed over
        self.coming = []  # (day, call or None, demand, FFE)
        self.backlog = [0.0] * len(network.demands)
        self.leaving, self.next_leaving = {}, {}
        for number, (name, service) in enumerate(network.services.items()):
            self._timetable(number, name, service)
        # Cargo is booked on the eve of the departure with which its first candidate begins.
        self.booking_day = [0 if n is None else (min(t for t in self.leaving[n] if t >= 7) - 1) % 7 for n in first_call]

    def nm(self, one, other, closed=()):
        ways = [
            w for w in self.network.distances if {w.one, w.other} == {one, other} and not set(closed) & set(w.through)
        ]
        return min(ways, key=lambda way: way.nm, default=None)

    def _timetable(self, number, name, service):
        """Days on which each vessel leaves each call, for half a year."""
        at, days, length = [0], 0.0, 0.0
        ends = [*service.calls, service.calls[0]]
        for k, (one, other) in enumerate(itertools.pairwise(ends)):
            leg = self.nm(one, other).nm / service.speed_knots / 24 + 1.0
            length += leg
            days += leg
            if k + 1 < len(service.calls):
                at.append(max(math.floor(days + 0.5), at[-1] + 1))
        weeks = max(service.vessels, math.ceil(length / 7 - 1e-4), at[-1] // 7 + 1)
        first = self.calls.index((name, 0))
        for vessel in range(-weeks, weeks * 30):  # each departure from the first call begins a round
            start = number % 7 + 7 * vessel
            stops = [*(start + day for day in at), start + 7 * weeks]
            for c, (leaves, arrives) in enumerate(itertools.pairwise(stops)):
                self.leaving.setdefault(first + c, set()).add(leaves)
                self.next_leaving[first + c, leaves] = arrives

    def morning(self):
        """Vessels call: what they carry comes ashore."""
        for day, call, demand, ffe in self.coming:
            if day == self.today:
                if call is None:
                    self.landed[demand] += ffe
                else:
                    self.ashore[call, demand] += ffe
        self.coming = [entry for entry in self.coming if entry[0] > self.today]

    def under_way(self, demand):
        at_calls = sum(ffe for (_, d), ffe in self.ashore.items() if d == demand)
        return at_calls + self.landed[demand] + sum(ffe for _, _, d, ffe in self.coming if d == demand)

    def day(self, orders, port_share, closed):
        """Orders are carried out, cargo is handed over and booked; the money of the day."""
        network, terms = self.network, self.terms
        moves, slots, daily_moves, capacities = {}, {}, {}, {}
        for p, port in network.ports.items():
            weekly = port.moves_per_week
            daily = terms.moves_per_day.get(p, math.inf if weekly is None else weekly / 7)
            share = port_share.get(p, 1.0)
            moves[p], daily_moves[p] = 0.0 if share == 0.0 else daily * share, daily
        for n, (s, _) in enumerate(self.calls):
            capacity = network.vessel_classes[network.services[s].vessel_class].capacity_ffe
            slots[n], capacities[n] = capacity if self.today in self.leaving[n] else 0.0, capacity
        use = {"load": 1.0, "discharge": 1.0, "transfer": 2.0}
        asked_moves, asked_slots = defaultdict(float), defaultdict(float)
        requests = []  # nobody asks for more than a port or a vessel can do at best
        for kind, d, call, other, around, ffe in orders:
            if kind in use:
                port = self.port[other if kind == "load" else call]
                ffe = min(ffe, daily_moves[port] / use[kind])
                asked_moves[port] += use[kind] * ffe
            elif kind == "leg":
                ffe = min(ffe, capacities[call])
                asked_slots[call] += ffe
            requests.append((kind, d, call, other, around, ffe))
        ratio = {p: 1.0 if asked_moves[p] <= moves[p] else moves[p] / asked_moves[p] for p in network.ports}
        money = 0.0
        for kind, d, call, other, around, ffe in sorted(requests, key=lambda order: order[0] != "load"):
            cargo = network.demands[d]
            if kind == "load":
                made = ffe * ratio[cargo.origin]
                self.ashore[other, d] += made
                money -= made * network.ports[cargo.origin].handling_cost
            elif kind == "refuse":
                self.landed[d] += ffe
                money -= ffe * (cargo.revenue_per_ffe + network.rejection_penalty_per_ffe)
            elif kind == "air":
                self.coming.append((self.today + terms.air_days, None, d, ffe))
                money -= ffe * terms.air_cost_per_ffe
            elif kind == "discharge":
                made = min(ffe * ratio[cargo.destination], self.ashore[call, d])
                self.ashore[call, d] -= made
                self.landed[d] += made
                money -= made * network.ports[cargo.destination].handling_cost
            elif kind == "transfer":
                made = min(ffe * ratio[self.port[call]], self.ashore[call, d])
                self.ashore[call, d] -= made
                self.coming.append((self.today + terms.transshipment_days, other, d, made))
                money -= made * network.ports[self.port[call]].transshipment_cost
            else:
                part = ffe if slots[call] >= asked_slots[call] else ffe * slots[call] / asked_slots[call]
                made = min(part, self.ashore[call, d])
                slots[call] -= made
                asked_slots[call] -= ffe
                self.ashore[call, d] -= made
                if made > 0.0:
                    late = self._detour_days(call, other, around, closed)
                    self.coming.append((self.next_leaving[call, self.today] + late, other, d, made))
        for d, cargo in enumerate(network.demands):
            given = min(self.landed[d], self.backlog[d])
            self.landed[d] -= given
            self.backlog[d] -= given
            money += given * cargo.revenue_per_ffe
            if self.today % 7 == self.booking_day[d]:
                self.backlog[d] += cargo.ffe_per_week
            money -= terms.value_of_time * self.backlog[d]
        money -= terms.storage_cost * sum(self.ashore.values())
        self.today += 1
        return money - self._fixed(closed)

    def _detour_days(self, call, other, around, closed):
        service = self.network.services[self.calls[call][0]]
        one, to = self.port[call], self.port[other]
        usual = self.nm(one, to)
        taken = self.nm(one, to, closed) if around else usual
        assert not set(closed) & set(taken.through)
        return math.ceil((taken.nm - usual.nm) / (24 * service.speed_knots) - 1e-9)

    def _fixed(self, closed):
        """A seventh of what the services cost a week, sailing around what is closed."""
        total = 0.0
        for service in self.network.services.values():
            vessel = self.network.vessel_classes[service.vessel_class]
            burn = vessel.bunker_t_per_day * (service.speed_knots / vessel.design_speed_knots) ** 3
            total += 7 * service.vessels * vessel.charter_per_day
            for c, one in enumerate(service.calls):
                way = self.nm(one, service.calls[(c + 1) % len(service.calls)], closed)
                total += way.nm / service.speed_knots / 24 * burn * self.network.bunker_price_per_t
                total += vessel.idle_bunker_t_per_day * self.network.bunker_price_per_t
                total += sum(vessel.canal_fees.get(passage, 0.0) for passage in way.through)
                total += self.network.ports[one].call_cost
                total += self.network.ports[one].call_cost_per_ffe * vessel.capacity_ffe
        return total / 7
