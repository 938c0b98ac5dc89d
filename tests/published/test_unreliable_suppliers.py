"""Sourcing from two suppliers that fail: printed costs, a second method, and the twin, met by dynamic programming.

Phases everywhere: receive, order, demand.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, sparse

from agents.oracles import unreliable_suppliers_rules as rules
from agents.oracles.dp import optimum as reliable_optimum
from agents.oracles.problem import dual_sourcing
from agents.oracles.supply_disruptions import DisruptedNewsvendor
from agents.oracles.unreliable_suppliers import ALWAYS_UP, UnreliableSuppliers, UpDown, evaluate
from agents.oracles.unreliable_suppliers_dp import optimum
from twin import library
from twin.distributions import Empirical, Fixed, Gamma, Poisson, UniformInteger
from twin.engine import Twin
from twin.errors import ActionError, ConfigError

OUTAGES = library.parameters("two_suppliers_markov")["outage"]["allowed"]


def member(outage):
    """A network of the library, and the problem that its own figures make."""
    network = library.load("two_suppliers_markov", outage=outage)
    line, demand = network.resources["regular_line"].availability, network.demands["customers"]
    problem = UnreliableSuppliers(
        demand.distribution,
        lead_time=2,
        holding=network.sites["warehouse"].stock["item"].holding_cost,
        penalty=demand.penalty,
        regular=UpDown(line.failure, line.recovery),
        price=network.suppliers["regular"].offers["item"].price,
        express_price=network.suppliers["express"].offers["item"].price,
    )
    return network, problem


# -- one supplier and known demand ---------------------------------------------------------------------------------

#: Outages k times as long, failures as many times rarer -> cost per period and unit of demand at the best level, which
#: is what a supplier that never fails could ask more per unit (holding 0.25, penalty 3).
BREAK_EVEN = {0.5: 0.6293, 1.0: 1.36853, 2.0: 2.8135, 5.0: 7.1550, 10.0: 14.3867, 20.0: 28.8468}


def one_supplier(stretch=1.0, unit=1.0):
    """Example 9.3 of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed.; stock in units of ``unit``."""
    failing = UpDown(0.04 / stretch, 0.25 / stretch)
    return UnreliableSuppliers(Fixed(value=1), 0, 0.25 * unit, 3.0 * unit, regular=failing)


def test_example_9_3_of_snyder_and_shen():
    """Demand 2000: the level is 8000 and costs 2737.069, as printed and by the closed form."""
    problem = one_supplier(unit=2000.0)
    found = optimum(problem)
    assert found.cost == pytest.approx(2737.069, abs=5e-4)
    assert found.policy(np.array([[0]]), np.array([[True, False]])).tolist() == [[4, 0]]
    closed = DisruptedNewsvendor(demand=2000, holding_cost=0.25, penalty=3, failure=0.04, recovery=0.25)
    for level in (1, 4, 6):
        base_stock = rules.cheapest_up(level, level)
        assert evaluate(problem, base_stock, tolerance=1e-5).cost == pytest.approx(closed.cost(2000 * level), abs=1e-4)


@pytest.mark.parametrize(("stretch", "premium"), BREAK_EVEN.items())
def test_premium_at_which_a_reliable_supplier_breaks_even(stretch, premium):
    """It rises with rarer and longer outages; who may buy from both at that premium pays less than from either."""
    problem = one_supplier(stretch)
    found = optimum(problem)
    assert found.cost == pytest.approx(premium, abs=6e-5)
    closed = DisruptedNewsvendor(1.0, 0.25, 3.0, 0.04 / stretch, 0.25 / stretch).optimum()
    assert found.cost == pytest.approx(closed.cost, abs=2e-6)
    assert rules.best_single_source(problem, "regular").parameters == {"level": closed.level}
    for lead_time in (0, 2):
        both = UnreliableSuppliers(
            Fixed(value=1), lead_time, 0.25, 3.0, regular=problem.regular, express_price=found.cost
        )
        # With known demand a lead time covers known periods, so that one supplier alone costs the same.
        assert rules.best_single_source(both, "regular").cost >= found.cost - 2e-6
        assert rules.best_single_source(both, "express").cost == pytest.approx(found.cost, abs=2e-6)
        assert optimum(both).cost < 0.5 * found.cost


# -- suppliers that never fail -------------------------------------------------------------------------------------


@pytest.mark.parametrize("express_price", [105, 110])
@pytest.mark.parametrize("lead_time", [2, 3, 4])
def test_without_failures_it_is_dual_sourcing(lead_time, express_price):
    """The optimum, and the best dual-index policy, of Veeraraghavan & Scheller-Wolf's instances.

    Gijsbrechts et al. (2022), M&SOM 24(3), section 6.2; values as in the library, checked in test_dynamic_programs.py.
    """
    network = library.load("dual_sourcing", regular_lead_time=lead_time, express_price=express_price)
    figures = UniformInteger(low=0, high=4), lead_time, 5.0, 495.0
    problem = UnreliableSuppliers(*figures, price=100.0, express_price=float(express_price))
    found = optimum(problem)
    assert found.cost == pytest.approx(network.known_value("optimal_cost").value, abs=1e-4)
    assert found.cost == pytest.approx(reliable_optimum(dual_sourcing(*figures, 100.0, express_price)).cost, abs=2e-6)
    assert evaluate(problem, found.policy).cost == pytest.approx(found.cost, abs=1e-6)
    best = rules.best_dual_index(problem)
    assert best.cost == pytest.approx(network.known_value("best_base_stock_cost").value, abs=1e-4)


# -- a second method -----------------------------------------------------------------------------------------------

DEMAND = Empirical(values=(0.0, 1.0, 3.0), probabilities=(0.3, 0.5, 0.2))
OFTEN, RARELY = UpDown(0.3, 0.8), UpDown(0.1, 0.9)
SMALL = {
    "at once": UnreliableSuppliers(DEMAND, 0, 1.5, 6.0, OFTEN, 1.0, 4.0, RARELY),
    "next period": UnreliableSuppliers(DEMAND, 1, 1.5, 6.0, OFTEN, 1.0, 4.0, RARELY),
    "two periods": UnreliableSuppliers(DEMAND, 2, 1.5, 6.0, OFTEN, 1.0, 4.0, RARELY),
    "express always up": UnreliableSuppliers(DEMAND, 2, 1.5, 6.0, OFTEN, 1.0, 4.0),
    "only express fails": UnreliableSuppliers(DEMAND, 2, 1.5, 6.0, ALWAYS_UP, 1.0, 2.0, OFTEN),
    "no express": UnreliableSuppliers(DEMAND, 2, 1.5, 6.0, RARELY, 1.0),
}
#: Smallest stock, largest position and largest order of the linear programs.
CUT = {
    "at once": (-15, 7, 9),
    "next period": (-15, 7, 9),
    "two periods": (-13, 7, 6),
    "express always up": (-12, 7, 6),
    "only express fails": (-12, 7, 6),
    "no express": (-15, 7, 22),
}


def statuses(problem):
    """Who can be up, and a function from that to who can be up next, with its probability."""
    chains = problem.regular, None if problem.express_price is None else problem.express
    pairs = list(itertools.product((True, False), (False,) if chains[1] is None else (True, False)))

    def moves(before):
        for after in pairs:
            probability = 1.0
            for chain, was, now in zip(chains, before, after, strict=True):
                if chain is not None:
                    change = chain.failure if was else chain.recovery
                    probability *= change if was != now else 1.0 - change
            if probability > 0.0:
                yield after, probability

    return pairs, moves


def steps(problem, state, regular, express):
    """What a period costs, and the possible next states but for the status, by the definition of the problem."""
    cost = problem.price * regular + (problem.express_price or 0.0) * express
    level = state[0] + express + (regular if problem.lead_time == 0 else 0)
    pipeline = [*state[1:], regular] if problem.lead_time else [0]
    after = []
    for units, probability in zip((0, 1, 3), (0.3, 0.5, 0.2), strict=True):
        left = level - units
        cost += probability * (problem.holding * max(left, 0) + problem.penalty * max(-left, 0))
        after.append(((left + pipeline[0], *pipeline[1:]), probability))
    return cost, after


@pytest.mark.parametrize("name", SMALL)
def test_linear_program(name):
    """The largest g with g + h(state) <= cost + E h(next state) for all states that matter and orders is the optimum.

    Puterman (1994), Markov Decision Processes, section 8.8. Backlog and orders are cut where, in these problems of
    short outages, they matter to less than five decimals.
    """
    problem = SMALL[name]
    floor, top, most = CUT[name]
    pairs, moves = statuses(problem)
    dues = list(itertools.product(range(most + 1), repeat=max(problem.lead_time - 1, 0)))
    states = [(stock, *due) for stock in range(floor, top + 1) for due in dues if stock + sum(due) <= top]
    place = {key: k for k, key in enumerate(itertools.product(states, pairs))}
    rows, columns, entries, limits = [], [], [], []
    for state, up in place:
        room = top - sum(state)
        for regular in range(min(most, room) + 1 if up[0] else 1):
            for express in range(min(most, room - regular) + 1 if up[1] else 1):
                cost, after = steps(problem, state, regular, express)
                row = len(limits)
                limits.append(cost)
                entry = {len(place): 1.0}
                entry[place[state, up]] = 1.0
                for following, probability in after:
                    following = (max(following[0], floor), *following[1:])
                    for then, chance in moves(up):
                        k = place[following, then]
                        entry[k] = entry.get(k, 0.0) - probability * chance
                rows += [row] * len(entry)
                columns += entry.keys()
                entries += entry.values()
    matrix = sparse.csr_matrix((entries, (rows, columns)), shape=(len(limits), len(place) + 1))
    goal = np.zeros(len(place) + 1)
    goal[-1] = -1.0
    bounds = [(0.0, 0.0), *[(None, None)] * len(place)]
    program = optimize.linprog(goal, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs")
    assert program.status == 0
    found = optimum(problem)
    assert found.upper - found.lower <= 1e-6
    assert found.cost == pytest.approx(program.x[-1], abs=1e-5)
    assert evaluate(problem, found.policy).cost == pytest.approx(found.cost, abs=2e-6)


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_is_the_stationary_cost(name):
    """A policy with random levels costs what its stationary distribution says."""
    problem = SMALL[name]
    pairs, moves = statuses(problem)
    draws = np.random.default_rng(5).integers(0, 4, (2, 60, 60))

    def decide(state, up):
        position = sum(state)
        regular = max(6 - position - int(draws[0, state[0] % 60, position % 60]), 0) if up[0] else 0
        express = max(int(draws[1, state[0] % 60, position % 60]) - 2 - state[0], 0) if up[1] else 0
        return regular, express

    def policy(states, up):
        return np.array([decide(*pair) for pair in zip(states.tolist(), up.tolist(), strict=True)])

    # Backlog is cut where outages so long have no weight.
    floor = -40
    start = ((0,) * max(problem.lead_time, 1), pairs[0])
    places, moved, costs = {start: 0}, [], []
    for state, up in (queue := [start]):
        cost, after = steps(problem, state, *decide(state, up))
        costs.append(cost)
        for following, probability in after:
            following = (max(following[0], floor), *following[1:])
            for then, chance in moves(up):
                key = (following, then)
                if key not in places:
                    places[key] = len(places)
                    queue.append(key)
                moved.append((places[state, up], places[key], probability * chance))
    origins, targets, chances = zip(*moved, strict=True)
    number = len(places)
    matrix = sparse.csr_matrix((chances, (targets, origins)), shape=(number, number)) - sparse.eye(number)
    # One equation follows from the others; in its place the probabilities sum to 1.
    system = sparse.vstack([matrix[1:], np.ones((1, number))]).tocsc()
    stationary = sparse.linalg.spsolve(system, np.append(np.zeros(number - 1), 1.0))
    found = evaluate(problem, policy)
    assert found.lower <= found.cost <= found.upper
    assert found.cost == pytest.approx(stationary @ costs, abs=1e-6)
    assert found.cost > optimum(problem).lower


def test_searches_find_the_best_of_a_grid():
    """On small problems the best parameters are those of trying all, for every rule."""
    problem = SMALL["express always up"]
    grids = {
        rules.cheapest_up: (rules.best_cheapest_up, (range(12), range(-6, 8))),
        rules.dual_index: (rules.best_dual_index, (range(-6, 8), range(12))),
        rules.switching: (rules.best_switching, (range(-6, 6), range(-6, 6), range(2, 10))),
        rules.tailored_base_surge: (rules.best_tailored_base_surge, (range(-6, 8), range(2))),
    }
    lowest = optimum(problem).lower
    for family, (search, grid) in grids.items():
        least = min(evaluate(problem, family(*numbers), tolerance=1e-6).cost for numbers in itertools.product(*grid))
        best = search(problem)
        assert best.cost == pytest.approx(least, abs=4e-6), family.__name__
        assert evaluate(problem, family(**best.parameters)).cost == pytest.approx(best.cost, abs=2e-6), family.__name__
        assert best.cost > lowest, family.__name__


# -- the family of the library -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES)
def test_known_values_of_the_library(outage):
    """The optimum and the costs of the rules are those that the dynamic program and exact evaluation find."""
    network, problem = member(outage)
    assert problem.regular.up_share == pytest.approx(10 / 11)
    assert 1.0 / problem.regular.recovery == outage
    found = optimum(problem)
    assert found.upper - found.lower <= 1e-6
    assert network.known_value("optimal_cost").value == pytest.approx(found.cost, abs=6e-6)
    assert evaluate(problem, found.policy).cost == pytest.approx(found.cost, abs=2e-6)
    families = {
        "dual index": rules.dual_index,
        "cheapest supplier that is up": rules.cheapest_up,
        "switching on the status": rules.switching,
    }
    for name in ("best_base_stock_cost", "policy_cost"):
        known = network.known_value(name)
        title, _, figures = known.detail.partition(":")
        numbers = [int(word) for word in figures.replace(",", "").split() if word.lstrip("-").isdigit()]
        around = [
            evaluate(problem, families[title](*(np.array(numbers) + step).tolist()), tolerance=1e-6).cost
            for step in itertools.product((0, -1, 1), repeat=len(numbers))
        ]
        assert around[0] == pytest.approx(known.value, abs=6e-6), title
        assert min(around) > around[0] - 2e-6, title
        assert found.cost < 0.998 * around[0], title


def test_optimal_policy_in_the_twin():
    """Run in the library's network, the table costs what the program says.

    The cost of a replica is freed of what is known of its luck: its share of periods in outage, its failures and its
    demand, whose means are known (regression on control variates). Run for 400 million periods instead of 20, the cost
    was within 0.008 % of the exact one for outages of 2, 8 and 32 periods, with standard errors of 0.006 to 0.014 %.
    """
    network, problem = member(8)
    found, replicas, periods, warm_up = optimum(problem), 20_000, 1000, 150
    twin = Twin(network, replicas=replicas, seed=11)
    total, luck = np.zeros(replicas), np.zeros((3, replicas))
    always, edges = np.ones(replicas, dtype=np.bool_), np.array([0, 1])
    for period in range(warm_up + periods):
        arrays = twin.state.arrays
        stock, up = arrays.on_hand[0] - arrays.backlog[0], arrays.availability[0] == 1.0
        states = np.stack([stock, twin.arrivals(edges)[0]], axis=1).astype(np.int64)
        cost = twin.step(found.policy(states, np.stack([up, always], axis=1)).T)
        if period >= warm_up:
            arrays = twin.state.arrays
            total += cost.sum(axis=0)
            luck += ~up, up & (arrays.availability[0] == 0.0), arrays.demand[0]
    share = problem.regular.up_share
    means = np.array([1.0 - share, share * problem.regular.failure, 5.0])
    design = np.column_stack([np.ones(replicas), luck.T / periods - means])
    fit, squares = np.linalg.lstsq(design, total / periods, rcond=None)[:2]
    error = np.sqrt(squares[0] / (replicas - 4) / replicas)
    assert error < 5e-4 * found.cost
    assert abs(fit[0] - found.cost) <= 3 * error


# -- input that is refused -----------------------------------------------------------------------------------------


def test_bad_input_is_refused():
    good = {"lead_time": 2, "holding": 1.0, "penalty": 9.0, "price": 3.0}
    with pytest.raises(ConfigError, match="whole numbers, and gamma"):
        UnreliableSuppliers(Gamma(mean=5.0, sd=2.0), **good)
    with pytest.raises(ConfigError, match="lead_time must be a whole number of at least 0, received -1"):
        UnreliableSuppliers(DEMAND, **{**good, "lead_time": -1})
    with pytest.raises(ConfigError, match="express_price must be at least price = 3"):
        UnreliableSuppliers(DEMAND, **good, express_price=2.0)
    with pytest.raises(ConfigError, match=r"failure must lie from 0 to 1, received 1\.5"):
        UpDown(1.5, 0.5)
    with pytest.raises(ConfigError, match="recovery must lie above 0 and up to 1, received 0"):
        UpDown(0.5, 0.0)
    problem = SMALL["express always up"]
    with pytest.raises(ConfigError, match="tolerance must be above 0, received 0"):
        optimum(problem, tolerance=0.0)
    with pytest.raises(ConfigError, match="shorten the lead time"):
        optimum(UnreliableSuppliers(Poisson(mean=50.0), 6, 1.0, 9.0, OFTEN, express_price=5.0))
    with pytest.raises(ConfigError, match="no supplier called 'expres'"):
        rules.best_single_source(problem, "expres")
    with pytest.raises(ConfigError, match="backlog grow without bound"):
        evaluate(problem, lambda states, _: np.zeros((len(states), 2)))
    table = optimum(problem).policy
    with pytest.raises(ActionError, match=r"state \[500, 0\] is outside the table"):
        table(np.array([[500, 0]]), np.array([[True, True]]))
    with pytest.raises(ActionError, match=r"cannot be up as \[True, False\]"):
        table(np.array([[0, 0]]), np.array([[True, False]]))
    with pytest.raises(ActionError, match=r"whole numbers of at least 0, received 1\.5"):
        evaluate(problem, lambda states, _: np.full((len(states), 2), 1.5))
