"""Demand that moves: trend, shocks, memory, streams that move together, recorded series, goodwill; each on its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from twin.engine import Twin
from twin.network import Network
from twin.tape import DrawAhead

RECEIVE_DEMAND_ORDER = ("receive", "demand", "order")


def network(streams, *, modes=None, resources=None, phases=("receive", "order", "demand"), initial=0.0, **more):
    """One store with these streams (each a law, or the keys of a stream) and modes of its lane (lead times or keys)."""
    modes = {"truck": 1} if modes is None else modes
    return Network.parse(
        {
            "name": "draws",
            "phases": list(phases),
            "products": {"item": {}, "box": {"integer": True}},
            "suppliers": {"maker": {"offers": {"item": {}, "box": {}}}},
            "resources": resources or {},
            "sites": {"store": {"stock": {"item": {"initial": initial}, "box": {"initial": initial}}}},
            "lanes": [
                {
                    "from": "maker",
                    "to": "store",
                    "product": product,
                    "modes": {name: entry if "lead_time" in as_keys(entry) else {"lead_time": entry}},
                }
                for product, some in (("item", modes), ("box", {"truck": 1}))
                for name, entry in some.items()
            ],
            "demands": {
                f"d{k}": {"site": "store", "product": "item"} | ({"distribution": s} if is_law(s) else s)
                for k, s in enumerate(streams)
            },
        }
        | more
    )


def as_keys(entry):
    return entry if isinstance(entry, dict) else {}


def is_law(stream):
    """Whether this is a bare law and not the keys of a stream."""
    return not isinstance(stream, dict) or not isinstance(stream.get("distribution", {}), (dict, int, float))


def drawn(net, periods, replicas, *, seed=3, offset=0):
    """Demand on the tape from period 0 on, shape (T, D, B)."""
    twin = Twin(net, replicas=replicas, seed=seed)
    return twin.tape.demand(twin.state, periods, offset=offset)


def near(measured, expected, n, *, spread=1.0):
    """Whether a mean of n numbers with this standard deviation is where it should be (4.5 standard errors)."""
    return abs(measured - expected) <= 4.5 * spread / np.sqrt(n) + 1e-12


POISSON = {"distribution": "poisson", "mean": 7.0}
GAMMA = {"distribution": "gamma", "mean": 4.0, "sd": 3.0}
LOGNORMAL = {"distribution": "lognormal", "mean": 4.0, "sd": 2.0}
UNIFORM = {"distribution": "uniform", "low": 1.0, "high": 4.0}


def scores(net, demand, d):
    """Demand of a continuous stream on the normal scale."""
    law = list(net.demands.values())[d].distribution
    return stats.norm.ppf(law.cdf(demand[:, d]))


def assert_law(law, x):
    """Independent draws follow the law: chi-square over its whole values, or Kolmogorov-Smirnov."""
    if not law.whole:
        assert stats.kstest(x, law.cdf).pvalue > 1e-3
        return
    values = np.arange(int(law.quantile(1e-3)), int(law.quantile(1 - 1e-3)) + 1)
    edges = np.concatenate([[-np.inf], values[:-1] + 0.5, [np.inf]])
    expected = np.diff(np.concatenate([[0.0], law.cdf(values[:-1]), [1.0]])) * x.size
    assert stats.chisquare(np.histogram(x, bins=edges)[0], expected).pvalue > 1e-3


# -- trend and scripted shocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trend", "expected"),
    [
        ({"per_period": 0.1}, [10, 11, 12, 13, 14, 15]),
        ({"per_period": -0.4}, [10, 6, 2, 0, 0, 0]),
        ({"per_period": 0.5, "periods": 3}, [10, 15, 20, 25, 25, 25]),
        ({"per_period": 0.2, "kind": "compound"}, [10, 12, 14.4, 17.28, 20.736, 24.8832]),
        ({"per_period": -0.5, "kind": "compound", "periods": 2}, [10, 5, 2.5, 2.5, 2.5, 2.5]),
    ],
    ids=str,
)
def test_trend_by_hand(trend, expected):
    """A fixed demand of 10 grows or falls as the formula says, never below 0, in calendar periods."""
    net = network([{"distribution": 10, "trend": trend}])
    np.testing.assert_allclose(drawn(net, 6, 2)[:, 0], np.repeat(expected, 2).reshape(6, 2), rtol=1e-12)
    np.testing.assert_allclose(drawn(net, 4, 2, offset=2)[:, 0, 1], expected[2:], rtol=1e-12)
    later = Twin(net, replicas=3, seed=1)
    later.state.period[:] = [0, 2, 4]
    np.testing.assert_allclose(later.tape.demand(later.state, 1)[0, 0], np.array(expected)[[0, 2, 4]], rtol=1e-12)


def test_trend_shocks_and_seasons_multiply():
    """Every factor counts once: season x trend x every shock that lasts."""
    stream = {
        "distribution": 10,
        "seasonality": {"factors": [1, 2], "periods_per_factor": 2},
        "trend": {"per_period": 0.1},
        "shocks": [{"start": 1, "periods": 3, "factor": 3}, {"start": 3, "periods": 2, "factor": 0.5}],
    }
    trend = 1 + 0.1 * np.arange(6)
    expected = 10 * trend * [1, 1, 2, 2, 1, 1] * [1, 3, 3, 1.5, 0.5, 1]
    for phases in (("receive", "order", "demand"), RECEIVE_DEMAND_ORDER):
        net = network([stream], phases=phases)
        np.testing.assert_allclose(drawn(net, 6, 1)[:, 0, 0], expected, rtol=1e-12)
    twin = Twin(net, replicas=1)
    np.testing.assert_allclose(twin.tape.block(twin.state, 5).demand[:, 0, 0], expected[1:], rtol=1e-12)
    met = [twin.state.arrays.demand[0, 0]]
    for _ in range(5):
        twin.step(np.zeros((2, 1)))
        met.append(twin.state.arrays.demand[0, 0])
    np.testing.assert_allclose(met, expected, rtol=1e-12)


def test_whole_units_are_rounded_after_the_factors():
    """In whole units a moved demand is the nearest whole number, halves up; elsewhere it keeps its fraction."""
    stream = {"distribution": 5, "trend": {"per_period": 0.1}, "shocks": [{"start": 4, "periods": 1, "factor": 0}]}
    net = network([stream | {"product": "box"}, stream])
    demand = drawn(net, 6, 1)[:, :, 0]
    np.testing.assert_array_equal(demand[:, 0], [5, 6, 6, 7, 0, 8])
    np.testing.assert_allclose(demand[:, 1], [5, 5.5, 6, 6.5, 0, 7.5], rtol=1e-12)


def test_a_moved_random_stream_is_the_unmoved_one_times_its_factor():
    """Trend and shocks change no draw, they scale it; in whole units the product is rounded."""
    moved = {"trend": {"per_period": 0.07}, "shocks": [{"start": 2, "periods": 2, "factor": 1.7}]}
    plain = network([GAMMA, {"distribution": POISSON, "product": "box"}])
    net = network([{"distribution": GAMMA} | moved, {"distribution": POISSON, "product": "box"} | moved])
    factor = (1 + 0.07 * np.arange(8)) * [1, 1, 1.7, 1.7, 1, 1, 1, 1]
    before, after = drawn(plain, 8, 50), drawn(net, 8, 50)
    np.testing.assert_allclose(after[:, 0], before[:, 0] * factor[:, None], rtol=1e-12)
    np.testing.assert_array_equal(after[:, 1], np.floor(before[:, 1] * factor[:, None] + 0.5))


# -- random shocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3])
def test_random_shocks_begin_with_their_probability_and_last_their_duration(length):
    """The share of shocked periods is 1 - (1 - p)^k, k the beginnings that still last; none began before period 0."""
    shock = {"probability": 0.1, "duration": length, "factor": 3}
    shocked = drawn(network([{"distribution": 10, "random_shock": shock}]), 40, 4000)[:, 0]
    assert set(np.unique(shocked)) == {10.0, 30.0}
    for t in (0, 1, 2, 5, 39):
        share = 1 - 0.9 ** min(t + 1, length)
        assert near((shocked[t] == 30).mean(), share, 4000, spread=np.sqrt(share * (1 - share)))
    # Every event lasts at least its duration: a beginning after a quiet period is followed by length - 1 shocked ones.
    begins = (shocked[:-4] == 10) & (shocked[1:-3] == 30)
    for k in range(2, min(length, 3) + 1):
        assert (shocked[k : len(shocked) - 4 + k][begins] == 30).all()
    assert (shocked[length + 1 : len(shocked) - 3 + length][begins] == 10).any()


def test_the_shock_that_began_last_rules():
    """Where one begins every period, each period has a new factor of its own, drawn from its law."""
    law = {"distribution": "uniform", "low": 1.0, "high": 3.0}
    shock = {"probability": 1.0, "duration": 5, "factor": law}
    factor = drawn(network([{"distribution": 10, "random_shock": shock}]), 30, 2000)[:, 0] / 10
    assert stats.kstest(factor[7], "uniform", args=(1.0, 2.0)).pvalue > 1e-3
    assert near(np.corrcoef(factor[:-1].ravel(), factor[1:].ravel())[0, 1], 0.0, 29 * 2000)


def test_a_shock_keeps_its_factor_and_its_duration_may_be_in_another_unit():
    """One event multiplies all its periods by one factor; 21 days are three weeks."""
    law = {"distribution": "uniform", "low": 2.0, "high": 3.0}
    shock = {"probability": 0.02, "duration": 21, "duration_unit": "day", "factor": law}
    demand = drawn(network([{"distribution": 10, "random_shock": shock}]), 60, 500)[:, 0]
    runs = []
    for path in demand.T:
        changes = np.flatnonzero(np.diff(path) != 0) + 1
        runs += [run for run in np.split(path, changes)[1:-1] if run[0] != 10.0]
    lengths = np.array([len(run) for run in runs])
    assert len(runs) > 300
    assert lengths.max() == 3
    assert (lengths == 3).mean() > 0.9  # a new event may cut one short


def test_a_random_duration_follows_its_law():
    """A period is quiet when none of the events that began k periods before lasts longer than k periods."""
    law = {"distribution": "uniform_integer", "low": 0, "high": 3}
    shock = {"probability": 0.3, "duration": law, "factor": 2}
    demand = drawn(network([{"distribution": 10, "random_shock": shock}]), 12, 20000)[:, 0]
    assert set(np.unique(demand)) == {10.0, 20.0}
    quiet = (1 - 0.3 * 3 / 4) * (1 - 0.3 * 2 / 4) * (1 - 0.3 * 1 / 4)
    for t in (2, 3, 11):
        assert near((demand[t] == 10).mean(), quiet, 20000, spread=np.sqrt(quiet * (1 - quiet)))


# -- memory and correlation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("r", [-0.6, 0.3, 0.9])
@pytest.mark.parametrize("law", [GAMMA, UNIFORM, POISSON], ids=lambda law: law["distribution"])
def test_autocorrelated_demand_keeps_its_law_exactly(law, r):
    """In every period, the first included, independent replicas follow the stream's own distribution."""
    net = network([{"distribution": law, "autocorrelation": r}])
    demand = drawn(net, 8, 20000)[:, 0]
    for t in (0, 1, 7):
        assert_law(net.demands["d0"].distribution, demand[t])


@pytest.mark.parametrize("r", [-0.6, 0.3, 0.9])
def test_autocorrelation_is_that_of_the_normal_scale(r):
    """Successive periods correlate by r, two periods apart by r squared, at the start as later."""
    net = network([{"distribution": GAMMA, "autocorrelation": r}])
    demand, n = drawn(net, 20, 20000), 20000
    z = scores(net, demand, 0)
    for t, lag in ((0, 1), (1, 1), (18, 1), (0, 2), (5, 3)):
        expected = r**lag
        assert near(np.corrcoef(z[t], z[t + lag])[0, 1], expected, n, spread=1 - expected**2)


def test_autocorrelation_of_counts_and_of_seasons():
    """Counts persist as well, and a season scales the law without breaking the memory."""
    season = {"factors": [1.0, 3.0]}
    net = network([{"distribution": POISSON, "autocorrelation": 0.8}, {"distribution": GAMMA, "seasonality": season}])
    both = network(
        [
            {"distribution": POISSON, "autocorrelation": 0.8},
            {"distribution": GAMMA, "seasonality": season, "autocorrelation": 0.8},
        ]
    )
    demand = drawn(both, 4, 20000)
    assert np.corrcoef(demand[0, 0], demand[1, 0])[0, 1] > 0.75
    law = both.demands["d1"].distribution
    for t in range(4):
        assert_law(law.scaled(season["factors"][t % 2]), demand[t, 1])
    z = [stats.norm.ppf(law.scaled(season["factors"][t % 2]).cdf(demand[t, 1])) for t in range(2)]
    assert near(np.corrcoef(z)[0, 1], 0.8, 20000, spread=1 - 0.8**2)
    np.testing.assert_array_equal(drawn(net, 4, 50)[:, 0], drawn(both, 4, 50)[:, 0])


def test_correlated_streams_keep_their_laws_and_correlate_as_stated():
    """Every pair has its value on the normal scale, unnamed pairs none; each stream keeps its law; no memory arises."""
    laws = [GAMMA, LOGNORMAL, UNIFORM, GAMMA, {"distribution": "normal", "mean": 50.0, "sd": 5.0}]
    given = [{"streams": ["d0", "d1", "d3"], "value": 0.6}, {"streams": ["d3", "d4"], "value": -0.3}]
    net = network(laws, correlations=given)
    n = 20000
    demand = drawn(net, 3, n)
    expected = np.eye(5)
    for entry in given:
        for a in entry["streams"]:
            for b in entry["streams"]:
                if a != b:
                    expected[int(a[1]), int(b[1])] = entry["value"]
    for t in (0, 2):
        for stream, x in zip(net.demands.values(), demand[t], strict=True):
            assert_law(stream.distribution, x)
        z = np.array([scores(net, demand, d)[t] for d in range(5)])
        error = (1 - expected**2 + np.eye(5)) / np.sqrt(n)
        assert (np.abs(np.corrcoef(z) - expected) <= 4.5 * error).all()
    first, then = (np.array([scores(net, demand, d)[t] for d in range(5)]) for t in (0, 1))
    assert (np.abs(np.corrcoef(first, then)[:5, 5:]) <= 4.5 / np.sqrt(n)).all()


def test_correlated_counts_keep_their_laws():
    """Whole-number streams stay exact and move together."""
    other = {"distribution": "negative_binomial", "mean": 9.0, "sd": 5.0}
    net = network([POISSON, other], correlations=[{"streams": ["d0", "d1"], "value": 0.7}])
    demand = drawn(net, 2, 20000)
    for t in range(2):
        for stream, x in zip(net.demands.values(), demand[t], strict=True):
            assert_law(stream.distribution, x)
        assert 0.6 < np.corrcoef(demand[t])[0, 1] < 0.7  # a little less than on the normal scale


def test_memory_and_correlation_together():
    """Streams with memories r and s correlate by what is stated, and from period to period by that times r or s."""
    r, s, together, n = 0.7, -0.2, 0.4, 20000
    streams = [{"distribution": GAMMA, "autocorrelation": r}, {"distribution": UNIFORM, "autocorrelation": s}]
    net = network([*streams, UNIFORM], correlations=[{"streams": ["d0", "d1"], "value": together}])
    demand = drawn(net, 6, n)
    z = [scores(net, demand, d) for d in range(3)]
    for t in (0, 4):
        assert near(np.corrcoef(z[0][t], z[1][t])[0, 1], together, n, spread=1 - together**2)
        assert near(np.corrcoef(z[0][t], z[0][t + 1])[0, 1], r, n, spread=1 - r**2)
        assert near(np.corrcoef(z[1][t], z[1][t + 1])[0, 1], s, n, spread=1 - s**2)
        assert near(np.corrcoef(z[0][t], z[1][t + 1])[0, 1], s * together, n)
        assert near(np.corrcoef(z[1][t], z[0][t + 1])[0, 1], r * together, n)
        assert near(np.corrcoef(z[0][t], z[2][t])[0, 1], 0.0, n)


# -- recorded series --------------------------------------------------------------------------------------------------


def test_recorded_demand_is_played_in_order_for_every_replica():
    """Period t has values[t mod length], whatever the replica, the seed, the episode and the block; factors apply."""
    values = [3.0, 0.0, 7.5, 1.0, 9.0]
    law = {"distribution": "recorded", "values": values}
    trend = {"distribution": law, "trend": {"per_period": 0.5}, "seasonality": {"factors": [1, 0, 2]}}
    for phases in (("receive", "order", "demand"), RECEIVE_DEMAND_ORDER):
        net = network([law, trend, POISSON], phases=phases)
        twin = Twin(net, replicas=4, seed=9)
        later = twin.initial_state(twin.state.seed + np.uint64(1), twin.state.replica, np.full(4, 7, dtype=np.uint32))
        expected = np.resize(values, 13)
        for state in (twin.state, later):
            demand = twin.tape.demand(state, 13)
            np.testing.assert_array_equal(demand[:, 0], np.repeat(expected, 4).reshape(13, 4))
            moved = expected * (1 + 0.5 * np.arange(13)) * np.resize([1, 0, 2], 13)
            np.testing.assert_allclose(demand[:, 1], np.repeat(moved, 4).reshape(13, 4), rtol=1e-12)
        met = [twin.state.arrays.demand[0].copy()] if phases == RECEIVE_DEMAND_ORDER else []
        for _ in range(13 - len(met)):
            twin.step(np.zeros((2, 4)))
            met.append(twin.state.arrays.demand[0].copy())
        np.testing.assert_array_equal(met, np.repeat(expected, 4).reshape(13, 4))
        twin.state.period[:] = [0, 3, 11, 4]
        np.testing.assert_array_equal(twin.tape.demand(twin.state, 1)[0, 0], expected[[0, 3, 11, 4]])


def test_recorded_lead_times_are_played_in_order_for_every_replica():
    """What ships in period t takes values[t mod length], in the mode's own unit, and arrives then."""
    modes = {
        "truck": {"lead_time": {"distribution": "recorded", "values": [2, 0, 1]}},
        "ship": {"lead_time": {"distribution": "recorded", "values": [7, 21, 10, 11]}, "lead_time_unit": "day"},
        "van": {"lead_time": {"distribution": "poisson", "mean": 2.0}},
    }
    twin = Twin(network([1], modes=modes), replicas=3, seed=4)
    lead = twin.tape.block(twin.state, 12).lead_time
    np.testing.assert_array_equal(lead[:, 0], np.repeat(np.resize([2, 0, 1], 12), 3).reshape(12, 3))
    np.testing.assert_array_equal(lead[:, 1], np.repeat(np.resize([1, 3, 1, 2], 12), 3).reshape(12, 3))
    assert len(np.unique(lead[:, 2])) > 2
    twin = Twin(network([0], modes={"truck": modes["truck"]}), replicas=2, seed=4)
    there = []
    for t in range(6):
        twin.step([[10.0**t] * 2, [0.0] * 2])
        there.append(twin.state.arrays.on_hand[0].copy())
    # shipped in 0: there in period 2; in 1: at once; in 2: in 3; in 3: in 5; in 4: at once; in 5: in 6
    expected = np.array([0, 11, 111, 111, 11111, 111111])  # after the receipts that follow the period
    np.testing.assert_array_equal(there, np.repeat(expected, 2).reshape(6, 2))


# -- goodwill ---------------------------------------------------------------------------------------------------------


def follow(net, orders, periods, replicas=1):
    """Goodwill and demand after every period."""
    twin = Twin(net, replicas=replicas, seed=1)
    goodwill, demand = [], []
    for _ in range(periods):
        twin.step(np.full((twin.compiled.n_arcs, replicas), float(orders)))
        goodwill.append(twin.state.arrays.goodwill[:, 0].copy())
        demand.append(twin.state.arrays.demand[:, 0].copy())
    return np.array(goodwill), np.array(demand)


def test_goodwill_falls_towards_its_floor_where_nothing_is_served():
    """With a rate of 1/2 and a floor of 0.2, 1 becomes 0.6, 0.4, 0.3, ...; demand is draw times the value before."""
    net = network([{"distribution": 10, "goodwill": {"rate": 0.5, "floor": 0.2}}, 7])
    goodwill, demand = follow(net, 0, 5)
    np.testing.assert_allclose(goodwill[:, 0], [0.6, 0.4, 0.3, 0.25, 0.225], rtol=1e-12)
    np.testing.assert_allclose(demand[:, 0], [10, 6, 4, 3, 2.5], rtol=1e-12)
    np.testing.assert_array_equal(demand[:, 1], 7)


def test_goodwill_stays_and_comes_back_with_service():
    """Full service keeps it at 1; after a famine it returns by its rate; a part of it counts by its share."""
    full = network([{"distribution": 10, "goodwill": {"rate": 0.5}}], initial=1000.0)
    goodwill, demand = follow(full, 0, 4)
    np.testing.assert_array_equal(goodwill, 1.0)
    np.testing.assert_array_equal(demand, 10.0)
    stream = {"distribution": 10, "goodwill": {"rate": 0.25, "floor": 0.5}}
    half, _ = follow(network([stream], initial=5.0), 0, 1)
    np.testing.assert_allclose(half, 1 + 0.25 * (0.5 + 0.5 * 0.5 - 1))
    back, _ = follow(network([stream], modes={"truck": 2}), 1000, 6)
    low = [1 - 0.125, (1 - 0.125) + 0.25 * (0.5 - (1 - 0.125))]
    np.testing.assert_allclose(back[:2, 0], low, rtol=1e-12)
    for before, after in zip(back[1:-1, 0], back[2:, 0], strict=True):
        np.testing.assert_allclose(after, before + 0.25 * (1 - before), rtol=1e-12)


def test_goodwill_counts_what_is_served_at_once_and_a_quiet_period_as_served():
    """Old backlog is no service; where nothing was asked for the share is 1; whole units are rounded half up."""
    series = {"distribution": "recorded", "values": [10, 0, 10]}
    quick = {"rate": 0.5, "floor": 0.0}
    goodwill, demand = follow(network([{"distribution": series, "goodwill": quick}]), 0, 3)
    np.testing.assert_allclose(goodwill[:, 0], [0.5, 0.75, 0.375], rtol=1e-12)
    np.testing.assert_allclose(demand[:, 0], [10, 0, 7.5], rtol=1e-12)
    whole = network([{"distribution": series, "product": "box", "goodwill": quick}])
    np.testing.assert_array_equal(follow(whole, 0, 3)[1][:, 0], [10, 0, 8])
    owing = network([{"distribution": 10, "goodwill": quick, "unmet": "backlog"}])
    twin = Twin(owing)
    twin.step([[10.0], [0.0]])
    np.testing.assert_allclose(twin.state.arrays.goodwill, 0.5)
    twin.step([[0.0], [0.0]])  # ten arrived and went to the old backlog; of the new five none was served
    np.testing.assert_allclose(twin.state.arrays.delivered, 10.0)
    np.testing.assert_allclose(twin.state.arrays.demand, 5.0)
    np.testing.assert_allclose(twin.state.arrays.served, 0.0)
    np.testing.assert_allclose(twin.state.arrays.goodwill, 0.25)


def test_goodwill_of_each_stream_is_its_own():
    """Streams with and without goodwill side by side: each row follows its own rate and floor."""
    streams = [
        5,
        {"distribution": 5, "goodwill": {"rate": 0.5, "floor": 0.1}},
        5,
        {"distribution": 5, "goodwill": {"rate": 0.2, "floor": 0.6}},
    ]
    goodwill, demand = follow(network(streams), 0, 30)
    assert goodwill.shape == (30, 2)
    for row, (rate, floor) in enumerate([(0.5, 0.1), (0.2, 0.6)]):
        np.testing.assert_allclose(goodwill[:, row], floor + (1 - floor) * (1 - rate) ** np.arange(1, 31), rtol=1e-12)
    np.testing.assert_array_equal(demand[:, [0, 2]], 5)


# -- every entity's parameters are honoured on their own --------------------------------------------------------------


def test_every_stream_has_its_own_parameters():
    """Streams of different laws and means, moved or not, correlated or not, are each measured separately."""
    laws = [
        {"distribution": "poisson", "mean": 3.0},
        {"distribution": "gamma", "mean": 11.0, "sd": 4.0},
        {"distribution": "poisson", "mean": 29.0},
        {"distribution": "negative_binomial", "mean": 5.0, "sd": 4.0},
        {"distribution": "gamma", "mean": 2.0, "sd": 3.0},
        {"distribution": "lognormal", "mean": 17.0, "sd": 6.0},
        {"distribution": "normal", "mean": 41.0, "sd": 2.0},
        {"distribution": "geometric", "mean": 7.0},
        {"distribution": "uniform", "low": 0.0, "high": 1.0},
    ]
    memory = {2: 0.5, 4: -0.4, 6: 0.8}
    streams = [
        {"distribution": law} | ({"autocorrelation": memory[d]} if d in memory else {}) for d, law in enumerate(laws)
    ]
    net = network(streams, correlations=[{"streams": ["d1", "d6"], "value": 0.5}])
    demand = drawn(net, 3, 20000)
    for t in (0, 2):
        for stream, x in zip(net.demands.values(), demand[t], strict=True):
            law = stream.distribution
            assert near(x.mean(), law.mean_value, x.size, spread=np.sqrt(law.variance)), law
            assert_law(law, x)
    for d in range(len(laws)):
        r = memory.get(d, 0.0)
        measured = stats.spearmanr(demand[0, d], demand[1, d]).statistic
        assert abs(measured - 6 / np.pi * np.arcsin(r / 2)) < 0.04, d


def test_what_moves_one_stream_leaves_the_others_bitwise_as_they_were():
    """Trend, shocks, memory and correlation of some streams change no draw of the rest."""
    plain = [POISSON, GAMMA, POISSON, LOGNORMAL, GAMMA, {"distribution": "recorded", "values": [4, 1]}, POISSON]
    moved = [{"distribution": law} for law in plain]
    moved[1] |= {"trend": {"per_period": 0.1}}
    moved[2] |= {"random_shock": {"probability": 0.3, "duration": 2, "factor": 3}}
    moved[3] |= {"autocorrelation": 0.5}
    net = network(moved, correlations=[{"streams": ["d3", "d4"], "value": 0.5}])
    before, after = drawn(network(plain), 9, 40), drawn(net, 9, 40)
    for d in (0, 5, 6):
        np.testing.assert_array_equal(before[:, d], after[:, d])
    for d in (1, 2, 3, 4):
        assert (before[:, d] != after[:, d]).any()


def test_random_shocks_of_each_stream_are_its_own():
    """Probability, duration and factor are the stream's, and events of two streams do not coincide."""
    given = [(0.05, 1, 2.0), (0.3, 1, 3.0), (0.1, 4, 5.0)]
    streams = [{"distribution": 1, "random_shock": {"probability": p, "duration": n, "factor": f}} for p, n, f in given]
    demand = drawn(network(streams), 5, 20000)[4]
    for x, (p, n, f) in zip(demand, given, strict=True):
        assert set(np.unique(x)) == {1.0, f}
        share = 1 - (1 - p) ** n
        assert near((x == f).mean(), share, 20000, spread=np.sqrt(share * (1 - share)))
    assert (np.abs(np.corrcoef(demand) - np.eye(3)) <= 4.5 / np.sqrt(20000)).all()


def test_every_lane_has_its_own_lead_time_and_every_resource_its_own_rates():
    """Arcs with different lead-time laws, one with a late supplier, and resources with different rates, one by one."""
    laws = {
        "a": {"distribution": "poisson", "mean": 1.0},
        "b": 4,
        "c": {"distribution": "poisson", "mean": 6.0},
        "d": {"distribution": "uniform_integer", "low": 2, "high": 9},
        "e": {"distribution": "empirical", "values": [1, 8], "probabilities": [0.75, 0.25]},
        "f": {"distribution": "recorded", "values": [5, 2]},
        "g": {"distribution": "poisson", "mean": 2.5},
    }
    means = {"a": 1.0, "c": 6.0, "d": 5.5, "e": 2.75, "g": 2.5}
    variances = {"a": 1.0, "c": 6.0, "d": 63 / 12, "e": 7**2 * 0.1875, "g": 2.5}
    rates = [(0.1, 0.5, 0.0), (0.4, 0.2, 0.5), (0.05, 0.9, 0.25)]
    lines = {
        f"r{k}": {"capacity": 5, "availability": {"failure": f, "recovery": r, "share_when_down": s}}
        for k, (f, r, s) in enumerate(rates)
    }
    twin = Twin(network([1], modes=laws, resources=lines), replicas=20000, seed=6)
    block = twin.tape.block(twin.state, 4)
    for a, name in enumerate(laws):
        if name in means:
            lead = block.lead_time[2, a]
            assert near(lead.mean(), means[name], lead.size, spread=np.sqrt(variances[name])), name
    np.testing.assert_array_equal(block.lead_time[:, 5], np.repeat([5, 2, 5, 2], 20000).reshape(4, 20000))
    random = block.lead_time[2][[k for k, name in enumerate(laws) if name in means]]
    assert (np.abs(np.corrcoef(random) - np.eye(5)) <= 4.5 / np.sqrt(20000)).all()
    for path, (failure, recovery, share) in zip(block.availability.transpose(1, 0, 2), rates, strict=True):
        assert set(np.unique(path)) == {share, 1.0}
        up = 1.0
        for t in range(4):
            up = up * (1 - failure) + (1 - up) * recovery
            assert near((path[t] == 1.0).mean(), up, 20000, spread=np.sqrt(up * (1 - up)))


# -- blocks, batches, clocks ------------------------------------------------------------------------------------------


EVERYTHING = [
    {"distribution": GAMMA, "autocorrelation": 0.9, "trend": {"per_period": 0.02}},
    {
        "distribution": POISSON,
        "product": "box",
        "autocorrelation": -0.3,
        "random_shock": {"probability": 0.2, "duration": {"distribution": "poisson", "mean": 3}, "factor": UNIFORM},
        "seasonality": {"factors": [1, 2, 0.5], "periods_per_factor": 2},
    },
    {"distribution": LOGNORMAL, "shocks": [{"start": 3, "periods": 4, "factor": 2}]},
    {
        "distribution": {"distribution": "recorded", "values": [1, 5, 2]},
        "random_shock": {"probability": 0.1, "duration": 2, "factor": 0},
    },
]
TOGETHER = [{"streams": ["d0", "d2"], "value": 0.35}, {"streams": ["d1", "d2"], "value": -0.2}]


def test_a_draw_depends_on_its_period_and_replica_alone():
    """Blocks of any length, batches of any size and replicas in different periods give bitwise the same numbers."""
    net = network(EVERYTHING, correlations=TOGETHER)
    whole = drawn(net, 24, 301)
    for replicas in (1, 2, 7, 256):
        np.testing.assert_array_equal(drawn(net, 24, replicas), whole[:, :, :replicas])
    for t in (0, 1, 5, 17):
        np.testing.assert_array_equal(drawn(net, 3, 5, offset=t), whole[t : t + 3, :, :5])
    twin = Twin(net, replicas=5, seed=3)
    twin.state.period[:] = [0, 3, 9, 17, 21]
    for b, t in enumerate(twin.state.period):
        np.testing.assert_array_equal(twin.tape.demand(twin.state, 3)[:, :, b], whole[t : t + 3, :, b])


@pytest.mark.parametrize("phases", [("receive", "order", "demand"), RECEIVE_DEMAND_ORDER])
def test_draws_made_ahead_are_those_of_the_moment(phases):
    """Whatever happens to the replicas' clocks, drawing ahead gives what drawing one period gives."""
    modes = {"truck": {"distribution": "recorded", "values": [2, 1, 4]}, "van": {"distribution": "poisson", "mean": 2}}
    twin = Twin(network(EVERYTHING, correlations=TOGETHER, modes=modes, phases=phases), replicas=7, seed=11)
    state, ahead, moves = twin.state, DrawAhead(twin.tape), np.random.default_rng(5)
    for _ in range(40):
        coming, fresh = ahead.next(state), twin.tape.block(state, 1)
        np.testing.assert_array_equal(coming.demand, fresh.demand)
        np.testing.assert_array_equal(coming.lead_time[:, :2], fresh.lead_time[:, :2])
        state.period += 1
        moved = moves.random(7) < 0.1
        state.episode[moved] += np.uint32(1)
        state.period[moved] = moves.integers(0, 9, moved.sum())
