"""The real-demand study: nothing is known before its time, weeks are kept apart, the twin plays what is recorded."""

from __future__ import annotations

import csv
import io
import itertools
import json

import numpy as np
import pytest
import torch

from agents.learners.scaled_level import ScaledLevel
from experiments.cli import compose
from experiments.config import parse
from experiments.real_demand import real_demand
from experiments.real_demand_config import RealDemandConfig
from experiments.real_demand_learner import Learning, learn_levels
from experiments.real_demand_rules import RULES
from experiments.real_demand_signals import Signals, smooth
from experiments.real_demand_study import Study
from experiments.real_demand_table import clustered_mean, widest_interval
from experiments.real_demand_world import SeriesEnv, SeriesTask, play
from twin.compile import compile_network
from twin.errors import ConfigError
from twin.ingest.intel import History, Series, read_history
from twin.ingest.panel import make_panel, panel_network

WEEKS, TRAIN, TUNE = 60, 30, 10
SMALL = {
    "train_weeks": TRAIN,
    "tune_weeks": TUNE,
    "active_least": 4,
    "active_window": 8,
    "lead_time": 2,
    "learner": {"seeds": [0], "updates": 4, "every": 2, "net_arch": [8]},
    "search": {"restarts": 1, "generations": 2, "candidates": 4},
    "resamples": 200,
}


def config(**changes):
    return RealDemandConfig(**{"data": "unused.csv", **SMALL, **changes})


def history(seed=0, series=6):
    """Orders around a level that grows or falls, some weeks not listed, forecasts too high."""
    random = np.random.default_rng(seed)
    rows = []
    for n in range(series):
        level = 100.0 * np.exp(np.linspace(0.0, random.normal(0.0, 0.5), WEEKS))
        listed = (random.random(WEEKS) < 0.85) & (np.arange(WEEKS) >= 2 * n)
        orders = np.where(listed, np.maximum(np.round(level * random.gamma(4.0, 0.25, WEEKS)), 1.0), 0.0)
        forecasts = np.where(listed, np.round(2.0 * level * random.gamma(4.0, 0.25, WEEKS)), 0.0)
        rows.append(Series(f"C{n % 2}", f"S{n // 2}", "A", "1", int(listed.sum()), tuple(orders), tuple(forecasts)))
    return History(tuple(rows), WEEKS, "0" * 64)


def changed_after(given, week, seed=1):
    """The same file with other orders from ``week`` on, and other forecasts and listed weeks after it."""
    other = history(seed, len(given.series)).series
    series = []
    for old, new in zip(given.series, other, strict=True):
        orders = [*old.orders[:week], *(3.0 * value for value in new.orders[week:])]
        orders[week] = 7.0 * old.orders[week]  # as large as one likes, but listed or not as it was
        forecasts = [*old.forecasts[: week + 1], *new.forecasts[week + 1 :]]
        series.append(Series(old.centre, old.sku, "A", "1", old.weeks_listed, tuple(orders), tuple(forecasts)))
    return History(tuple(series), given.weeks, given.sha256)


# -- no look-ahead ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("week", [TRAIN, 37, TRAIN + TUNE, 52, WEEKS - 1])
def test_no_decision_looks_ahead(week):
    """Orders from a week on and everything later may change without changing a decision up to that week.

    For every rule, at parameters that use all of it, and for all that the learned policy sees.
    """
    study, other = Study(history(), config()), Study(changed_after(history(), week), config())
    for kind in RULES:
        rule, again = kind(study.signals, study.covered), kind(other.signals, other.covered)
        parameters = (rule.space.start + rule.space.high)[None] / 2.0
        before, after = rule.targets(parameters)[0], again.targets(parameters)[0]
        np.testing.assert_array_equal(before[:, : week + 1], after[:, : week + 1], err_msg=rule.name)
    ours, theirs = study.signals.features, other.signals.features
    np.testing.assert_array_equal(ours.values[:, : week + 1], theirs.values[:, : week + 1])
    np.testing.assert_array_equal(ours.scale[:, : week + 1], theirs.scale[:, : week + 1])


def test_the_check_for_look_ahead_can_fail():
    """The changed file does change what is decided later, so that equality before is no accident."""
    study, other = Study(history(), config()), Study(changed_after(history(), 45), config())
    assert not np.array_equal(study.signals.features.values[:, 46], other.signals.features.values[:, 46])
    for kind in RULES[2:]:  # a constant and a fixed level follow nothing
        rule, again = kind(study.signals, study.covered), kind(other.signals, other.covered)
        parameters = (rule.space.start + rule.space.high)[None] / 2.0
        assert not np.array_equal(rule.targets(parameters)[0][:, 46:], again.targets(parameters)[0][:, 46:]), rule.name


@pytest.mark.usefixtures("one_thread")
def test_what_is_reported_on_has_no_part_in_tuning_or_training():
    """With other data from the first reported week on, tuned parameters, levels and costs before it are the same."""
    first = TRAIN + TUNE
    results = []
    for given in (history(), changed_after(history(), first)):
        study = Study(given, config())
        learned = study.learn(0)
        results.append(({**dict(study.classical()), **dict(study.learned())}, learned, study.play(learned.levels)))
    (ours, learned, played), (theirs, again, replayed) = results
    for name, entry in ours.items():
        assert entry.choice == theirs[name].choice, name
        np.testing.assert_array_equal(entry.outcome.cost[:, :first], theirs[name].outcome.cost[:, :first], err_msg=name)
    np.testing.assert_array_equal(learned.history, again.history)
    np.testing.assert_array_equal(learned.levels[:, : first + 1], again.levels[:, : first + 1])
    np.testing.assert_array_equal(played.cost[:, :first], replayed.cost[:, :first])
    assert not np.array_equal(played.cost[:, first:], replayed.cost[:, first:])


@pytest.mark.usefixtures("one_thread")
def test_training_never_sees_a_later_week():
    """With other data from the first tune week on, gradient steps are the same, whenever training stops."""
    levels = []
    for given in (history(), changed_after(history(), TRAIN)):
        study, looks = Study(given, config()), itertools.count()
        learned = learn_levels(
            study.compiled_training,
            study.training_signals.features,
            study.signals.features,
            lambda _, looks=looks: -float(next(looks)),  # every look is better: the last step is kept
            seed=0,
            covered=study.covered,
            learning=Learning(updates=3, every=1, net_arch=(8,)),
        )
        assert learned.updates == 3
        levels.append(learned.levels)
    np.testing.assert_array_equal(levels[0][:, : TRAIN + 1], levels[1][:, : TRAIN + 1])
    assert not np.array_equal(levels[0][:, TRAIN + 1 :], levels[1][:, TRAIN + 1 :])


def test_a_lagged_forecast_is_that_of_the_week_before():
    """With a lag of one week the forecast of a week shows a week later, so the week's own listing shows nowhere."""
    panel = make_panel(history())
    now, late = Signals(panel, panel.unit(TRAIN)), Signals(panel, panel.unit(TRAIN), forecast_lag=1)
    np.testing.assert_array_equal(late.forecast[:, 1:], now.forecast[:, :-1])
    assert (late.forecast[:, 0] == 0.0).all()


# -- what is known ---------------------------------------------------------------------------------------------------


def test_an_unlisted_week_shows_the_last_forecast_for_a_while():
    """It stands in for ``carry`` weeks and then counts as none."""
    listed = [1.0, 0, 0, 0, 0, 5.0, 0]
    given = History((Series("C", "S", "A", "1", 2, tuple(listed), tuple(listed)),), 7, "0" * 64)
    signals = Signals(make_panel(given), np.ones(1), carry=2)
    assert signals.forecast[0].tolist() == [1, 1, 1, 0, 0, 5, 5]


def test_smoothing_begins_with_the_first_value():
    """Weights add up to 1 from the first value on (Brown 1959 with a corrected start): 4, then (4 x 0.5 + 8) / 1.5."""
    values, begun = np.array([[9.0, 4.0, 8.0]]), np.array([[False, True, True]])
    assert smooth(values, begun, 0.5)[0] == pytest.approx([0.0, 4.0, 20.0 / 3.0])
    both = smooth(values, begun, np.array([0.5, 1.0]))
    assert both.shape == (2, 1, 3)
    assert both[1, 0] == pytest.approx([0.0, 4.0, 8.0])


# -- splits ----------------------------------------------------------------------------------------------------------


def test_weeks_are_used_once():
    """Training, tuning and reporting share no week, and reporting goes on to the last one."""
    study = Study(history(), config())
    weeks = [set(range(part.first, part.end)) for part in study.parts.values()]
    assert len(set.union(*weeks)) == sum(len(part) for part in weeks)
    assert (study.parts["train"].end, study.parts["tune"].first) == (TRAIN, TRAIN)
    assert (study.parts["tune"].end, study.parts["test"].first) == (TRAIN + TUNE, TRAIN + TUNE)
    assert study.parts["test"].end == WEEKS
    assert study.training.weeks == TRAIN


def test_who_counts_and_in_which_unit_is_known_beforehand():
    """Series that count and their units do not change with the weeks that are scored."""
    first = TRAIN + TUNE
    ours = Study(history(), config()).parts["test"]
    theirs = Study(changed_after(history(), first), config()).parts["test"]
    np.testing.assert_array_equal(ours.series, theirs.series)
    np.testing.assert_array_equal(ours.weight, theirs.weight)
    panel = make_panel(history())
    study = Study(history(), config())
    begun = panel.listed[0].argmax()
    assert study.unit[0] / ours.weight[0] == pytest.approx(panel.orders[0, begun:first].mean())


def test_impossible_splits_are_refused():
    """Each with what is missing."""
    with pytest.raises(ConfigError, match="60 weeks leave none to report after 60"):
        Study(history(), config(tune_weeks=30))
    with pytest.raises(ConfigError, match="no series is listed in 31 of the first 30 weeks"):
        Study(history(), config(least_listed=31))
    with pytest.raises(ConfigError, match="active_least must be at most active_window, received 9 and 8"):
        parse(RealDemandConfig, {"data": "x", **SMALL, "active_least": 9})
    with pytest.raises(ConfigError, match="train_weeks must exceed lead_time"):
        parse(RealDemandConfig, {"data": "x", **SMALL, "train_weeks": 3})


# -- the twin --------------------------------------------------------------------------------------------------------


def test_replicas_play_their_series():
    """Replica b of the panel network is asked for the orders of series b, in its unit."""
    study = Study(history(), config())
    asked = study.play(np.zeros((study.series, WEEKS))).asked
    np.testing.assert_allclose(asked * study.unit[:, None], study.panel.orders, atol=1e-9)


def test_levels_cost_what_a_hand_made_ledger_says():
    """Order up to a level with a lead time of 2 and backlog, written down in ten lines without the twin."""
    study = Study(history(), config())
    levels = np.random.default_rng(3).gamma(4.0, 1.0, (study.series, WEEKS))
    outcome, orders = study.play(levels), study.signals.orders
    net, pipeline = np.zeros(study.series), [np.zeros(study.series)] * 2
    for t in range(WEEKS):
        net = net + pipeline[0]
        ordered = np.maximum(levels[:, t] - net - pipeline[1], 0.0)
        pipeline = [pipeline[1], ordered]
        served = np.clip(net, 0.0, orders[:, t])
        net = net - orders[:, t]
        np.testing.assert_allclose(outcome.cost[:, t], np.where(net > 0.0, net, -9.0 * net), atol=1e-9)
        np.testing.assert_allclose(outcome.served[:, t], served, atol=1e-9)


def test_candidates_do_not_disturb_each_other():
    """Played together, candidates cost what each costs alone."""
    study = Study(history(), config())
    levels = np.random.default_rng(4).gamma(4.0, 1.0, (3, study.series, WEEKS))
    together = study.play(levels).cost
    for k in range(3):
        np.testing.assert_array_equal(together[k], study.play(levels[k]).cost)


def test_perfect_foresight_costs_nothing():
    """So 0 is the bound: with one supplier, backlog and no price, knowing all orders in time leaves no cost."""
    study = Study(history(), config())
    assert study.parts["test"].score(study.foresight().outcome.cost) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.usefixtures("one_thread")
def test_training_unrolls_what_is_played():
    """The environment in which the policy learns costs what playing its levels on the training weeks does."""
    study = Study(history(), config())
    features = study.training_signals.features
    task = SeriesTask(study.compiled_training, features)
    env = SeriesEnv(task)
    structure = {"widest": 1000.0, "covered": 3, "start": 1.5, "mean": [0.0] * 13, "spread": [1.0] * 13}
    policy = ScaledLevel(task.observation_space, task.action_space, lambda _: 1e-3, structure, net_arch=[8])
    observation, costs, levels = env.reset(), [], []
    for _ in range(TRAIN):
        levels.append(policy.levels(torch.as_tensor(observation)).detach().double().numpy())
        action, _ = policy.predict(observation)
        observation, reward, _, _ = env.step(action)
        costs.append(-reward)
    played = play(study.compiled_training, study.series, np.stack(levels, axis=1)).cost
    np.testing.assert_allclose(np.stack(costs, axis=1), played, rtol=1e-3, atol=1e-3)


def test_doubling_a_product_doubles_its_orders():
    """The learned policy knows no size: features are the same and levels twice as high, in any unit."""
    panel = make_panel(history())
    unit = panel.unit(TRAIN)
    one, two = Signals(panel, unit).features, Signals(panel, unit / 2.0).features
    np.testing.assert_allclose(two.values, one.values, atol=1e-9)
    np.testing.assert_allclose(two.scale, 2.0 * one.scale)


@pytest.mark.usefixtures("one_thread")
def test_training_lowers_the_cost_of_the_training_weeks():
    """A few dozen gradient steps beat the untrained policy on the weeks trained on."""
    study = Study(history(), config())
    costs = []
    # Scored on the training weeks here, so that the first look and the best one are of the same thing.
    part = study.parts["train"]
    study.parts["tune"] = part
    study.learning = Learning(updates=40, every=5, learning_rate=1e-2, net_arch=(16,))
    learned = study.learn(0, lambda _, cost: costs.append(cost))
    assert learned.cost < 0.9 * costs[0]


# -- the table -------------------------------------------------------------------------------------------------------


def test_values_alike_within_clusters_have_wider_intervals():
    """Ten clusters of ten equal values are worth ten values, and the widest interval is the clusters'."""
    values = np.repeat(np.random.default_rng(0).normal(size=10), 10)
    clusters, alone = [f"{n // 10}" for n in range(100)], [f"{n}" for n in range(100)]
    wide, narrow = clustered_mean(values, clusters), clustered_mean(values, alone)
    assert wide.mean == pytest.approx(values.mean())
    assert 2.0 < (wide.high - wide.low) / (narrow.high - narrow.low) < 4.5  # sqrt(10) = 3.2
    assert widest_interval(values, [alone, clusters]) == wide


@pytest.mark.usefixtures("one_thread")
def test_the_command_writes_one_table_three_ways(tmp_path):
    """From a file to text, CSV and JSON that agree, with every policy in them."""
    header = "Distribution Center,Product Offering,Generation,SKU,ASP Group,Week,Forecasted Demand,Customer Orders"
    lines = [
        f"{s.centre},A,1,{s.sku}x{n},1,{t + 1},{s.forecasts[t]:.0f},{s.orders[t]:.0f}"
        for n, s in enumerate(history().series)
        for t in range(WEEKS)
        if s.orders[t] > 0.0
    ]
    path = tmp_path / "orders.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    table = real_demand(config(data=str(path)))
    table.save(tmp_path)
    data = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"))))
    names = [row.policy for row in table.rows]
    assert names == [
        *(rule.name for rule in RULES),
        "base_stock_on_forecast_long",
        "learned",
        "learned_seed_0",
        "learned_long",
        "learned_long_seed_0",
        "perfect_foresight",
    ]
    assert [entry["policy"] for entry in data["policies"]] == names == [row["policy"] for row in rows]
    learned, reference = table.row("learned"), table.row("base_stock_on_forecast")
    difference = learned.differences["base_stock_on_forecast"]
    assert difference.mean == pytest.approx(learned.cost.mean - reference.cost.mean)
    assert difference.low <= difference.mean <= difference.high
    assert float(rows[6]["cost"]) == pytest.approx(learned.cost.mean)
    assert 0.0 < learned.fill_rate < 1.0
    share = np.mean(learned.series < reference.series)
    assert learned.better["base_stock_on_forecast"].mean == pytest.approx(share)
    series = list(csv.DictReader(io.StringIO((tmp_path / "series.csv").read_text(encoding="utf-8"))))
    assert np.mean([float(row["learned"]) for row in series]) == pytest.approx(learned.cost.mean)
    assert all(name in (tmp_path / "table.txt").read_text(encoding="utf-8") for name in names)


def test_the_configuration_file_is_the_schema():
    """configs/real_demand.yaml composes, and says what the defaults of the schema say."""
    composed = parse(RealDemandConfig, compose("real_demand", ["data=orders.csv"]))
    assert composed == RealDemandConfig(data="orders.csv")


def test_the_published_file(shared):
    """187 weeks; 273 series to train on; no series or unit of the reported weeks comes from those weeks."""
    path = shared / "data" / "intel_demand" / "msom.2020.0933.csv"
    if not path.is_file():
        pytest.skip(f"needs the data of Manary & Willems (2022), which are not at {path}")
    study = Study(read_history(path), RealDemandConfig(data=str(path)))
    assert (study.panel.weeks, study.series) == (187, 273)
    assert (study.parts["test"].first, study.parts["test"].end) == (140, 187)
    active = study.panel.listed[:, 114:140].sum(axis=1) >= 13
    np.testing.assert_array_equal(study.parts["test"].series, active)
    network = compile_network(panel_network(study.panel, study.unit, lead_time=4, holding=1.0, penalty=9.0))
    asked = play(network, study.series, np.zeros((study.series, 187))).asked
    np.testing.assert_allclose(asked * study.unit[:, None], study.panel.orders, atol=1e-6)
