"""Recorded orders with their forecasts: the streams are the file's, the quality is measured, the rest is assumed."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from twin.engine import Twin
from twin.errors import DataError
from twin.ingest import willems
from twin.ingest.__main__ import main
from twin.ingest.intel import Assumptions, build_network, quality_table, read_history, select
from twin.ingest.willems_data import Chain, Stage
from twin.network import Network
from twin.periods import DAYS

HEADER = "Distribution Center,Product Offering,Generation,SKU,ASP Group,Week,Forecasted Demand,Customer Orders\n"
ROWS = """\
ALPHA,A,1,SKU-A-1,1,1,30,20
ALPHA,A,1,SKU-A-1,1,4,10,20
ALPHA,B,2,SKU-B-2,1,2,0,7
BETA,A,1,SKU-A-1,1,1,5,5
BETA,A,1,SKU-A-1,1,2,5,10
BETA,A,1,SKU-A-1,1,3,5,15
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + ROWS, encoding="utf-8")
    return path


def test_weeks_that_are_not_listed_are_zero(small):
    """A series has one value for each week of the file, and its quality counts all of them."""
    history = read_history(small)
    first = history.series[0]
    assert (history.weeks, first.orders, first.forecasts) == (4, (20, 0, 0, 20), (30, 0, 0, 10))
    assert (first.mean, first.bias, first.error) == (10, 0.0, 0.5)


def test_the_most_active_series_come_first(small):
    """By weeks with orders, then by volume; centres and SKUs restrict; names are the stream's."""
    history = read_history(small)
    assert [series.name for series in select(history, most=2)] == ["ALPHA.SKU-A-1", "BETA.SKU-A-1"]
    assert [series.name for series in select(history, most=1)] == ["BETA.SKU-A-1"]
    assert [series.name for series in select(history, centres=["ALPHA"])] == ["ALPHA.SKU-A-1", "ALPHA.SKU-B-2"]
    assert [series.name for series in select(history, skus=["SKU-B-2"])] == ["ALPHA.SKU-B-2"]
    with pytest.raises(
        DataError, match=r"no distribution centre 'ALFA' \(allowed: ALPHA, BETA\); did you mean 'ALPHA'"
    ):
        select(history, centres=["ALFA"])
    with pytest.raises(DataError, match="no series has orders for these SKUs"):
        select(history, centres=["BETA"], skus=["SKU-B-2"])


def test_assumptions_become_figures_and_stand_in_the_provenance(small):
    """Lead time, costs and service level are those given; penalty and initial stock follow from them."""
    history = read_history(small)
    given = Assumptions(lead_time=2, unit_cost=52.17857142857143, holding_rate_per_year=0.5, service_level=0.8)
    network = build_network(history, select(history), given)
    assert network.sites["ALPHA"].stock["SKU-A-1"].holding_cost == pytest.approx(0.5)
    assert network.demands["BETA.SKU-A-1"].penalty == pytest.approx(2.0)
    assert network.sites["BETA"].stock["SKU-A-1"].initial == 30
    assert network.lanes[0].modes["standard"].lead_time.mean_value == 2
    assert network.provenance["assumed"]["lead_time"] == 2


def test_a_year_is_as_long_as_in_the_chains(small):
    """Holding costs of the two published sources can be compared: both count a year as 365.25 days."""
    history = read_history(small)
    network = build_network(history, select(history), Assumptions(unit_cost=10.0, holding_rate_per_year=0.25))
    stage = Stage("part", "Part", 0, 10.0, 1.0, 0.0, (), 5.0, 0.0, 0.0, 0.5)
    chain = willems.build_network(Chain(1, {"part": stage}, {"part": ()}, {}), holding_rate=0.25)
    weekly = network.sites["ALPHA"].stock["SKU-A-1"].holding_cost
    assert weekly == pytest.approx(0.25 * 10 / DAYS["year"] * DAYS["week"], rel=1e-5)
    assert chain.sites["chain"].stock["part"].holding_cost * DAYS["week"] == pytest.approx(weekly, rel=1e-5)


def test_the_file_that_is_read_is_not_replaced(small, capsys):
    """--overwrite does not reach the data."""
    assert main(["intel", "--data", str(small), "--output", str(small), "--overwrite"]) == 2
    assert f"{small} is a file that the import reads" in capsys.readouterr().err
    assert small.read_text(encoding="utf-8") == HEADER + ROWS


@pytest.mark.parametrize(
    "wrong",
    [{"service_level": 1.0}, {"lead_time": -1.0}, {"unit_cost": np.nan}, {"lead_time_sd": 1.0, "lead_time": 0.0}],
)
def test_impossible_assumptions_are_refused(wrong):
    """The figure is named."""
    with pytest.raises(DataError, match=next(iter(wrong))):
        Assumptions(**wrong)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("ALPHA,A,1,SKU-A-1,1,4,1,1", "line 8: week 4 of SKU-A-1 at ALPHA is there twice"),
        ("ALPHA,A,1,SKU-A-1,1,5,1,-1", "line 8, Customer Orders: must be a whole number, at least 0, received '-1'"),
        ("ALPHA,A,1,SKU-A-1,1,0,1,1", "line 8, Week: must be a whole number, at least 1, received '0'"),
        ("ALPHA,A,1,SKU-A-1,1,5,1", "line 8: 7 cells, but the header has 8"),
    ],
)
def test_impossible_rows_are_refused_with_their_line(small, row, expected):
    """The file is a published one: a row that cannot be is an error, not dirt."""
    small.write_text(HEADER + ROWS + row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        read_history(small)


def test_the_real_orders_play_week_by_week(intel_file, tmp_path, capsys):
    """The network of the command loads, its streams ask for the file's orders week by week, and its table is right."""
    output = tmp_path / "intel.yaml"
    assert main(["intel", "--data", str(intel_file), "--output", str(output), "--series", "6"]) == 0
    printed = capsys.readouterr().out
    network = Network.load(output)
    assert len(network.demands) == 6
    with intel_file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    twin = Twin(network, replicas=1, seed=0)
    compiled = twin.compiled
    position = (compiled.lead_mean + 1.0) * compiled.demand_rate[compiled.topology.arc_destination]
    asked = []
    for _ in range(187):
        twin.rollout("base_stock", position, 1)
        asked.append(twin.state.arrays.demand[:, 0].copy())
    for index, name in enumerate(network.demands):
        centre, _, sku = name.partition(".")
        mine = [row for row in rows if (row["Distribution Center"], row["SKU"]) == (centre, sku)]
        orders, forecasts = np.zeros(187), np.zeros(187)
        for row in mine:
            orders[int(row["Week"]) - 1] = float(row["Customer Orders"])
            forecasts[int(row["Week"]) - 1] = float(row["Forecasted Demand"])
        np.testing.assert_array_equal([week[index] for week in asked], orders)
        forecast = network.demands[name].forecast
        assert forecast.values == tuple(forecasts)
        assert forecast.bias == pytest.approx((forecasts - orders).mean() / orders.mean(), rel=1e-3)
        assert forecast.error == pytest.approx(np.abs(forecasts - orders).mean() / orders.mean(), rel=1e-3)
        assert f"{name:<15}  {len(mine):>5}" in printed


def test_the_file_is_that_of_the_paper(intel_file):
    """26,114 rows make 394 series over 187 weeks, 86 SKUs at five centres; forecasts lie far above orders."""
    history = read_history(intel_file)
    assert (len(history.series), history.weeks) == (394, 187)
    assert sum(series.weeks_listed for series in history.series) == 26114
    assert len({series.sku for series in history.series}) == 86
    assert {series.centre for series in history.series} == {"ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON"}
    orders = sum(sum(series.orders) for series in history.series)
    assert sum(sum(series.forecasts) for series in history.series) / orders == pytest.approx(39023 / 12325, rel=1e-3)
    assert quality_table(select(history, most=3)).count("\n") == 4
