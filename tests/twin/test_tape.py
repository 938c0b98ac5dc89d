"""The random numbers: a published generator, uniform and independent, and draws that follow their distributions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from twin import library
from twin.engine import Twin
from twin.network import Network
from twin.tape import AVAILABILITY, DEMAND, LEAD_TIME, DrawAhead
from twin.uniforms import LANES, philox, uniforms

ONES = 0xFFFFFFFF


def network(demands, *, lead_time=1, resources=None, phases=("receive", "order", "demand")):
    """One store with these demand streams (a law, or a law and a seasonality) and resources behind its supplier."""
    truck = {"lead_time": lead_time}
    return Network.parse(
        {
            "name": "draws",
            "phases": list(phases),
            "products": {"item": {}},
            "suppliers": {"maker": {"offers": {"item": {}}, "uses": dict.fromkeys(resources or {}, 1.0)}},
            "resources": resources or {},
            "sites": {"store": {"stock": {"item": {}}}},
            "lanes": [{"from": "maker", "to": "store", "product": "item", "modes": {"truck": truck}}],
            "demands": {
                f"d{k}": {"site": "store", "product": "item", **(d if "seasonality" in d else {"distribution": d})}
                for k, d in enumerate(demands)
            },
        }
    )


def random_words(counter, key):
    """The four random words of one counter and key, in the third of five lanes."""
    words, keys = np.zeros((4, 5), np.uint32), np.zeros((2, 5), np.uint32)
    words[:, 2], keys[:, 2] = counter, key
    philox(words, keys, 4)
    return [int(word) for word in words[:, 2]]


def draws(net, periods, replicas, seed=11):
    """A block of draws from the start."""
    twin = Twin(net, replicas=replicas, seed=seed)
    return twin.tape.block(twin.state, periods)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, expected):
    """Philox4x32-10 reproduces the known-answer vectors that ship with Random123 (Salmon et al. 2011)."""
    assert tuple(random_words(counter, key)) == expected


def test_uniforms_are_philox_words_in_the_documented_places():
    """The counter is (period, replica, episode, stream and entity pair), the key is the seed; 52 bits are used."""
    seed, stream, entity, replica, episode, period = 2**63 + 12345, 2, 7, 4, 3, 5
    got = uniforms(seed, stream, entity, 1, period + 1, first_replica=replica, episode=episode)[period, 0]
    counter = (period, replica, episode, (stream << 28) | (entity // 2))
    high, low = random_words(counter, (seed & ONES, seed >> 32))[2:]  # an odd entity takes the second pair of words
    assert got == (((high << 20) | (low >> 12)) + 0.5) / 2**52


@pytest.mark.parametrize(
    ("replicas", "periods"), [(1, LANES + 3), (3, LANES), (LANES - 1, 4), (LANES + 5, 3), (700, 5)]
)
def test_uniforms_do_not_depend_on_how_many_go_together(replicas, periods):
    """However counters are grouped for speed, each number is that of its own period and replica."""
    together = uniforms(9, DEMAND, 3, replicas, periods)
    for t, b in [(0, 0), (periods - 1, replicas - 1), (periods // 2, replicas // 3), (periods - 1, 0)]:
        assert together[t, b] == uniforms(9, DEMAND, 3, first_replica=b, first_period=t)[0, 0]


@pytest.mark.parametrize("stream", [DEMAND, LEAD_TIME, AVAILABILITY])
@pytest.mark.parametrize("entity", [0, 1, 6])
def test_uniforms_are_uniform_inside_the_open_interval(stream, entity):
    """Kolmogorov-Smirnov and a chi-square of 64 cells accept uniformity; 0 and 1 never occur."""
    u = uniforms(5, stream, entity, 200, 200).ravel()
    assert 0.0 < u.min() < 1e-3
    assert 1.0 - 1e-3 < u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.histogram(u, bins=64, range=(0, 1))[0]).pvalue > 1e-3


def test_uniforms_are_uncorrelated_in_every_direction():
    """No correlation between seeds, streams, entities (also of one pair), episodes, neighbouring replicas, periods."""
    replicas, periods = 100, 400
    base = uniforms(5, DEMAND, 0, replicas, periods)
    others = {
        "seed": uniforms(6, DEMAND, 0, replicas, periods),
        "upper seed": uniforms(5 + 2**32, DEMAND, 0, replicas, periods),
        "stream": uniforms(5, LEAD_TIME, 0, replicas, periods),
        "entity of the pair": uniforms(5, DEMAND, 1, replicas, periods),
        "entity": uniforms(5, DEMAND, 2, replicas, periods),
        "episode": uniforms(5, DEMAND, 0, replicas, periods, episode=1),
        "next replica": uniforms(5, DEMAND, 0, replicas, periods, first_replica=1),
        "next period": np.roll(base, 1, axis=0),
    }
    for (name, first), (_, second) in itertools.pairwise([("base", base), *others.items()]):
        assert not np.array_equal(first, second), name
    swapped = uniforms(5, DEMAND, 0, periods, replicas).T
    assert (swapped[:replicas, :] != base[:replicas]).mean() > 0.98
    for name, other in others.items():
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 4.5 / np.sqrt(base.size), name


def test_first_replica_only_shifts():
    """Replica 7 of a seed is the same whichever replica a block starts at."""
    np.testing.assert_array_equal(uniforms(3, 0, 4, 10, 5)[:, 7], uniforms(3, 0, 4, 1, 5, first_replica=7)[:, 0])


DISTRIBUTIONS = [
    {"distribution": "poisson", "mean": 6.5},
    {"distribution": "geometric", "mean": 5.0},
    {"distribution": "negative_binomial", "mean": 20.0, "sd": 9.0},
    {"distribution": "uniform_integer", "low": 2, "high": 9},
    {"distribution": "empirical", "values": [0, 1.5, 9], "probabilities": [0.5, 0.25, 0.25]},
    {"distribution": "normal", "mean": 2.0, "sd": 2.0},
    {"distribution": "gamma", "mean": 4.0, "sd": 6.0},
    {"distribution": "lognormal", "mean": 4.0, "sd": 2.0},
    {"distribution": "uniform", "low": 1.0, "high": 4.0},
    {"distribution": "intermittent", "probability": 0.2, "size": {"distribution": "gamma", "mean": 9, "sd": 3}},
    {"distribution": "fixed", "value": 2.5},
]


def test_draws_follow_their_distribution():
    """Mean, variance and (by Kolmogorov-Smirnov or cell counts) the whole law of each stream's draws are right."""
    net = network(DISTRIBUTIONS)
    demand = draws(net, 200, 250).demand
    for d, entry in enumerate(net.demands.values()):
        law, x = entry.distribution, demand[:, d].ravel()
        error = np.sqrt(law.variance / x.size)
        assert abs(x.mean() - law.mean_value) <= 4.5 * error, law
        kurtosis = np.mean((x - x.mean()) ** 4)
        assert abs(x.var() - law.variance) <= 4.5 * np.sqrt(max(kurtosis - law.variance**2, 0) / x.size) + 1e-12, law
        for value in np.unique(np.quantile(x, [0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99])):
            share = float(law.cdf(value))
            assert abs((x <= value).mean() - share) <= 4.5 * np.sqrt(share * (1 - share) / x.size) + 1e-9, law


def test_table_draws_equal_the_quantile_of_their_uniforms():
    """The guide-table search gives exactly quantile(u), for every kind of distribution, also with a large mean."""
    large = [{"distribution": "poisson", "mean": 3000.0}, {"distribution": "geometric", "mean": 900.0}]
    net = network([*DISTRIBUTIONS, *large])
    demand = draws(net, 40, 60, seed=8).demand
    for d, entry in enumerate(net.demands.values()):
        expected = entry.distribution.quantile(uniforms(8, DEMAND, d, 60, 40))
        np.testing.assert_array_equal(demand[:, d], expected)


def test_lead_times_follow_the_compiled_table_and_their_own_stream():
    """Lead times have the frequencies of the arc's table and do not repeat the demand's uniforms."""
    net = network(
        [{"distribution": "uniform", "low": 0.0, "high": 1.0}],
        lead_time={"distribution": "empirical", "values": [0, 2, 3], "probabilities": [0.2, 0.5, 0.3]},
    )
    block = draws(net, 200, 200)
    lead = block.lead_time[:, 0]
    for value, share in ((0, 0.2), (1, 0.0), (2, 0.5), (3, 0.3)):
        assert abs((lead == value).mean() - share) <= 4.5 * np.sqrt(share * (1 - share) / lead.size)
    assert abs(np.corrcoef(lead.ravel(), block.demand[:, 0].ravel())[0, 1]) < 4.5 / np.sqrt(lead.size)


def test_a_late_supplier_adds_its_delay_with_its_probability():
    """A delay of 2 periods in 30 % of shipments turns a fixed lead time of 1 into 1 (70 %) and 3 (30 %)."""
    data = network([{"distribution": "fixed", "value": 4}]).to_dict()
    data["suppliers"]["maker"]["delay"] = {"probability": 0.3, "time": 2}
    lead = draws(Network.parse(data), 100, 300).lead_time
    assert set(np.unique(lead)) == {1, 3}
    assert abs((lead == 3).mean() - 0.3) < 4.5 * np.sqrt(0.21 / lead.size)


def test_streams_do_not_depend_on_actions():
    """Two policies on one seed meet the same demand, lead times and availability in every period."""
    first = Twin(library.load("five_site_distribution"), replicas=6, seed=2)
    second = first.fork()
    for t in range(30):
        mine, theirs = first.tape.block(first.state, 3), second.tape.block(second.state, 3)
        for a, b in zip((mine.demand, mine.availability), (theirs.demand, theirs.availability), strict=True):
            np.testing.assert_array_equal(a, b)
        first.step(np.zeros((5, 6)))
        second.step(np.full((5, 6), 37.0 + t))


def test_an_episode_is_another_path():
    """The same seed and replica in another episode meets other draws, in the first period as in later ones."""
    twin = Twin(library.load("lost_sales_zipkin2008"), replicas=50, seed=2)
    seed, replica = twin.state.seed, twin.state.replica
    later = twin.initial_state(seed, replica, np.ones(50, dtype=np.uint32))
    here, there = twin.tape.block(twin.state, 40).demand, twin.tape.block(later, 40).demand
    assert (here != there).mean() > 0.7
    assert abs(np.corrcoef(here.ravel(), there.ravel())[0, 1]) < 4.5 / np.sqrt(here.size)


@pytest.mark.parametrize("phases", [("receive", "order", "demand"), ("receive", "demand", "order")])
def test_seasonal_demand_uses_the_calendar_period(phases):
    """Period t has the factor of its own season, where demand precedes the order phase as where it follows it."""
    season = {"factors": [1, 2, 5], "periods_per_factor": 2}
    streams = [
        {"distribution": 10, "seasonality": season},
        {"distribution": {"distribution": "poisson", "mean": 40}, "seasonality": season},
        {"distribution": {"distribution": "gamma", "mean": 40, "sd": 4}, "seasonality": season},
        {"distribution": "poisson", "mean": 40},
    ]
    twin = Twin(network(streams, phases=phases), replicas=2000, seed=1)
    ahead = 1 if phases[-1] == "order" else 0
    factor = np.array([1, 1, 2, 2, 5, 5])
    for start in range(14):
        demand = twin.tape.block(twin.state, 3).demand
        expected = factor[(start + ahead + np.arange(3)) % 6]
        np.testing.assert_array_equal(demand[:, 0], np.broadcast_to(10.0 * expected[:, None], (3, 2000)))
        np.testing.assert_allclose(demand[:, 1].mean(-1), 40 * expected, rtol=0.03)
        np.testing.assert_allclose(demand[:, 2].mean(-1), 40 * expected, rtol=0.02)
        np.testing.assert_allclose(demand[:, 3].mean(-1), 40, rtol=0.03)
        twin.step(np.zeros((1, 2000)))


def test_seasons_of_replicas_in_different_periods():
    """Replicas that stand in different periods (staggered resets) each get the season of their own period."""
    streams = [{"distribution": 10, "seasonality": {"factors": [1, 2, 5]}}]
    twin = Twin(network(streams), replicas=3, seed=1)
    twin.state.period[:] = [0, 1, 2]
    np.testing.assert_array_equal(twin.tape.block(twin.state, 2).demand[:, 0], [[10, 20, 50], [20, 50, 10]])


def test_availability_is_the_declared_markov_chain():
    """Up and down shares, and both transition frequencies, are those of the two-state chain; it starts up."""
    failure, recovery, share = 0.1, 0.3, 0.25
    line = {"capacity": 5, "availability": {"failure": failure, "recovery": recovery, "share_when_down": share}}
    resources = {"line": line, "always": {"capacity": 5}}
    twin = Twin(network([{"distribution": "fixed", "value": 3}], resources=resources), replicas=400, seed=4)
    assert (twin.state.arrays.availability == 1.0).all()
    path = twin.tape.block(twin.state, 300).availability
    assert (path[:, 1] == 1.0).all()
    up = path[:, 0] == 1.0
    assert set(np.unique(path[:, 0])) == {share, 1.0}
    assert abs(up[0].mean() - (1 - failure)) < 4.5 * np.sqrt(failure * (1 - failure) / 400)
    now, then = up[:-1], up[1:]
    fails, recovers = (~then)[now].mean(), then[~now].mean()
    assert abs(fails - failure) < 4.5 * np.sqrt(failure * (1 - failure) / now.sum())
    assert abs(recovers - recovery) < 4.5 * np.sqrt(recovery * (1 - recovery) / (~now).sum())
    stationary = recovery / (failure + recovery)
    memory = 1 - failure - recovery
    spread = np.sqrt(stationary * (1 - stationary) * (1 + memory) / (1 - memory) / (400 * 200))
    assert abs(up[100:].mean() - stationary) < 4.5 * spread


def test_changing_one_mean_moves_that_draw_alone_and_upwards():
    """A larger mean of one stream never lowers any of its draws and leaves every other stream bitwise unchanged."""
    small = network([{"distribution": "poisson", "mean": 5}] * 3, lead_time={"distribution": "poisson", "mean": 1.5})
    data = small.to_dict()
    data["demands"]["d1"]["distribution"]["mean"] = 5.5
    before, after = draws(small, 100, 50), draws(Network.parse(data), 100, 50)
    np.testing.assert_array_equal(before.lead_time, after.lead_time)
    np.testing.assert_array_equal(before.demand[:, [0, 2]], after.demand[:, [0, 2]])
    change = after.demand[:, 1] - before.demand[:, 1]
    assert (change >= 0).all()
    assert 0.3 < (change > 0).mean() < 0.7


@pytest.mark.parametrize("law", DISTRIBUTIONS, ids=lambda law: law["distribution"])
def test_draws_do_not_depend_on_the_number_of_replicas(law):
    """Vectorised arithmetic treats every element alike: replica b's draws are bitwise equal in batches of any size."""
    net = network([law, law])
    big = draws(net, 9, 1031).demand
    for replicas in (1, 2, 3, 5, 8, 13, 512):
        np.testing.assert_array_equal(draws(net, 9, replicas).demand, big[:, :, :replicas])
        np.testing.assert_array_equal(draws(net, 1, replicas).demand, big[:1, :, :replicas])


@pytest.mark.parametrize("network", ["five_site_distribution", "essential_medicines", "shared_subtier"])
def test_draws_made_ahead_are_those_of_the_moment(network):
    """Whatever happens to the replicas' clocks, drawing ahead gives the numbers that drawing one period would."""
    twin = Twin(library.load(network), replicas=7, seed=11)
    state, ahead, moves = twin.state, DrawAhead(twin.tape), np.random.default_rng(5)
    stochastic = twin.compiled.topology.arc_fixed_lead < 0
    for _ in range(60):
        drawn, fresh = ahead.next(state), twin.tape.block(state, 1)
        np.testing.assert_array_equal(drawn.demand, fresh.demand)
        np.testing.assert_array_equal(drawn.lead_time[:, stochastic], fresh.lead_time[:, stochastic])
        np.testing.assert_array_equal(drawn.availability, fresh.availability)
        np.testing.assert_array_equal(drawn.processes, fresh.processes)
        state.arrays.availability[...] = fresh.availability[0]
        state.exogenous[...] = fresh.processes[0]
        state.period += 1
        moved = moves.random(7) < 0.1
        state.episode[moved] += np.uint32(1)
        state.period[moved] = moves.integers(0, 9, moved.sum())
