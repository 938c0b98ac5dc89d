"""Reading dirty delivery histories, and the committed network that follows from the real one."""

from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tests.twin.conftest import CLEAN, table
from twin.calibrate import main, network_text
from twin.errors import DataError
from twin.medicines import build_network
from twin.medicines_facts import GROUPS, MAKERS
from twin.network import Network
from twin.shipments import COLUMNS, freight, lead_times, parse_date, read_shipments

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "twin" / "library" / "essential_medicines.yaml"

# -- dirt, made here -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_change_nothing(read, line_end, bom):
    result = read({}, {"Line Item Quantity": "7"}, line_end=line_end, bom=bom)
    assert [line.quantity for line in result.lines] == [1000.0, 7.0]
    assert result.lines[0].country == "Côte d'Ivoire"
    assert result.lines[0].ordered == date(2010, 2, 1)
    assert result.lines[0].late_days == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2-Jun-06", date(2006, 6, 2)),
        ("14-sep-2009", date(2009, 9, 14)),
        ("11/13/06", date(2006, 11, 13)),
        ("13/11/06", None),
        ("30-Feb-10", None),
        ("3-Foo-10", None),
        ("Date Not Captured", None),
        ("", None),
    ],
)
def test_dates_in_both_layouts(text, expected):
    assert parse_date(text) == expected


def test_a_missing_column_is_named_with_what_is_there_and_the_nearest_match(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(table({}).replace(b"Shipment Mode", b"Shipping Mode"))
    with pytest.raises(DataError, match=r"no column 'Shipment Mode' \(there is: ID, .*did you mean 'Shipping Mode'"):
        read_shipments(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\r", "is empty"),
        (table(), "no usable row"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a,b\n1,2\n", "no column 'ID'"),
    ],
)
def test_files_that_are_no_history_are_refused(tmp_path, content, message):
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_shipments(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_shipments(tmp_path / "nowhere.csv")


def test_unusable_rows_are_counted_by_reason(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(
        table({}, {"Delivered to Client Date": "soon"}, {"Line Item Quantity": "0"}, {"Pack Price": "nan"}) + b"1,2\n"
    )
    result = read_shipments(path)
    assert len(result.lines) == 1
    assert result.rows == 5
    assert result.refused == {
        "no positive quantity, or no value or price": 2,
        "no scheduled or delivered date": 1,
        "wrong number of cells": 1,
    }


def test_lead_times_count_each_shipment_once_and_every_refusal(read):
    result = read(
        {},
        {"ASN/DN #": "ASN-1"},
        {"PO Sent to Vendor Date": "N/A - From RDC"},
        {"PO Sent to Vendor Date": "Date Not Captured"},
        {"PO Sent to Vendor Date": "3/3/10"},
        {"PO Sent to Vendor Date": "3/9/10"},
    )
    found, selection = lead_times(result.lines)
    assert [entry.days for entry in found] == [30.0]
    assert selection.used == 1
    assert selection.refused == {
        "another line of a shipment already counted": 1,
        "negative lead time": 1,
        "no order date: Date Not Captured": 1,
        "no order date: N/A - From RDC": 1,
        "zero lead time": 1,
    }


def test_a_line_without_freight_cost_still_has_a_lead_time(read):
    result = read({"Freight Cost (USD)": "Freight Included in Commodity Cost"})
    assert lead_times(result.lines)[1].used == 1
    bills, selection = freight(result.lines, "ARV")
    assert bills == []
    assert selection.refused == {"no freight cost: Freight Included in Commodity Cost": 1}


def test_freight_gathers_the_lines_that_share_one_weight(read):
    result = read(
        {"Weight (Kilograms)": "200", "Freight Cost (USD)": "900"},
        {"Weight (Kilograms)": "See ASN-93 (ID#:1)", "Freight Cost (USD)": "See ASN-93 (ID#:1)"},
        {"Weight (Kilograms)": "Weight Captured Separately"},
        {"Freight Cost (USD)": "Invoiced Separately"},
        {"Shipment Mode": "N/A"},
        {"Weight (Kilograms)": "99000"},
        {"Weight (Kilograms)": "See DN-304 (ID#:777)"},
        {"Product Group": "HRDT"},
        {"Product Group": "HRDT", "Weight (Kilograms)": "See DN-304 (ID#:10)"},
        {},
    )
    bills, selection = freight(result.lines, "ARV")
    assert [(bill.usd, bill.kg, bill.packs) for bill in bills] == [(900.0, 200.0, 2000.0)]
    assert selection.used == 2
    assert selection.refused == {
        "another product group": 1,
        "implausible weight per pack": 1,
        "no freight cost: Invoiced Separately": 1,
        "no shipment mode: N/A": 1,
        "no weight: Weight Captured Separately": 1,
        "shipped together with another product group": 2,
        "the line that carries the weight is not in the file": 1,
    }
    assert selection.used + sum(selection.refused.values()) == len(result.lines)


# -- command line ----------------------------------------------------------------------------------------------------


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    code = main(["--shipments", str(tmp_path / "nowhere.csv"), "--output", str(tmp_path / "out.yaml")])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: no such file")
    assert captured.err.count("\n") == 1


def test_the_command_keeps_an_existing_output(tmp_path, capsys):
    output = tmp_path / "out.yaml"
    output.write_text("mine")
    assert main(["--shipments", "any.csv", "--output", str(output)]) == 2
    assert "--force" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_the_command_refuses_a_history_without_the_makers(tmp_path, capsys):
    path = tmp_path / "history.csv"
    path.write_bytes(table({"Manufacturing Site": "Elsewhere"}))
    assert main(["--shipments", str(path), "--output", str(tmp_path / "out.yaml")]) == 2
    assert "no ARV line was made by any of: aurobindo" in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


def test_the_command_refuses_a_history_without_a_freight_bill(tmp_path, capsys):
    path = tmp_path / "history.csv"
    path.write_bytes(table({"Delivered to Client Date": "3-Mar-12", "Freight Cost (USD)": "Invoiced Separately"}))
    assert main(["--shipments", str(path), "--output", str(tmp_path / "out.yaml")]) == 2
    assert "no ARV shipment has a usable freight bill" in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "example: python -m twin.calibrate --shipments" in capsys.readouterr().out


# -- the real file: facts of its published description ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "n", "mean", "sd"), [("Air", 2899, 110.6, 70.2), ("Ocean", 322, 181.3, 63.0), ("Truck", 143, 70.2, 86.1)]
)
def test_lead_times_of_the_real_file(real, mode, n, mean, sd):
    days = np.array([entry.days for entry in lead_times(real.lines)[0] if entry.line.mode == mode])
    assert len(days) == n
    assert (round(days.mean(), 1), round(days.std(ddof=1), 1)) == (mean, sd)


def test_counts_of_the_real_file(real):
    _, selection = lead_times(real.lines)
    assert real.rows == len(real.lines) == 10_324
    assert sum(line.ordered is not None for line in real.lines) == 4_592
    assert selection.refused["negative lead time"] == 5
    assert selection.refused["zero lead time"] == 352
    assert selection.refused["no order date: N/A - From RDC"] == 5_404
    assert selection.refused["no order date: Date Not Captured"] == 328
    assert round(100 * np.mean([line.late_days > 0 for line in real.lines]), 1) == 11.5


def test_makers_are_the_largest_and_groups_cover_the_demand(real):
    arv = [line for line in real.lines if line.product_group == "ARV"]
    packs, countries = Counter(), Counter()
    for line in arv:
        packs[line.maker.split()[0].strip(",").casefold()] += line.quantity
        countries[line.country] += line.quantity
    assert {name for name, _ in packs.most_common(5)} == set(MAKERS)
    for hub, _, members in GROUPS.values():
        assert hub == max(members, key=lambda country: countries[country])
    assert set(countries) <= {country for _, _, members in GROUPS.values() for country in members}


def test_the_committed_network_follows_from_the_real_file(real):
    built = build_network(real)
    assert Network.load(COMMITTED) == built
    assert COMMITTED.read_text(encoding="utf-8") == network_text(built)


# -- the committed network, with or without the raw file -------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return Network.load(COMMITTED)


def test_flows_into_every_place_add_up(network):
    inflow = Counter()
    outflow = Counter()
    for lane in network.lanes:
        assert (
            sum(1 for other in network.lanes if (other.origin, other.destination) == (lane.origin, lane.destination))
            == 1
        )
        for mode in lane.modes.values():
            inflow[lane.destination] += mode.initial_flow
            outflow[lane.origin] += mode.initial_flow
    for demand in network.demands.values():
        assert inflow[demand.site] == pytest.approx(demand.distribution.mean_value, rel=0.001)
    for centre in ("rdc_west", "rdc_south"):
        assert inflow[centre] == pytest.approx(outflow[centre], rel=0.001)
    for name in network.suppliers:
        assert outflow[name] < network.resources[f"{name}_capacity"].capacity


def test_modes_trade_speed_for_money_on_every_supplier_lane(network):
    for lane in network.lanes:
        if lane.origin in network.suppliers:
            air, ocean = lane.modes["air"], lane.modes["ocean"]
            assert air.lead_time.mean_value < ocean.lead_time.mean_value
            assert air.freight_cost > ocean.freight_cost
            assert air.emissions_kg_per_unit > 10 * ocean.emissions_kg_per_unit


def test_demand_is_stable_enough_to_plan_and_penalty_matches_the_critical_ratio(network):
    for demand in network.demands.values():
        assert 0.3 <= np.sqrt(demand.distribution.variance) / demand.distribution.mean_value <= 1.5
        assert sum(demand.seasonality.factors) == pytest.approx(4.0, abs=0.001)
        holding = network.sites[demand.site].stock["arv"].holding_cost
        assert demand.penalty / (demand.penalty + holding) == pytest.approx(0.95, abs=1e-4)


def test_the_file_names_its_source_and_assumptions(network):
    assert "USAID" in network.source
    assert len(network.provenance["data"]["sha256"]) == 64
    assert len(network.provenance["assumptions"]) >= 10
    assert len(COMMITTED.read_text(encoding="utf-8").splitlines()) < 700
    assert sum(len(lane.modes) for lane in network.lanes) in range(24, 33)
    assert set(COLUMNS.values()) == set(CLEAN)
