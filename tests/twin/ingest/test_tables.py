"""A user's own tables: good rows become a network, bad ones go to quarantine with their place and reason."""

from __future__ import annotations

import csv
import json
from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.engine import Twin
from twin.errors import DataError
from twin.ingest.__main__ import main
from twin.ingest.cells import CellError, identifier
from twin.ingest.mapping import DIMENSIONS, load_mapping
from twin.ingest.tables import read_tables
from twin.ingest.template import write_template
from twin.network import Network

TODAY = date(2025, 6, 30)


def quarantined(example):
    """The quarantine file as (file, line, column, value, dimension, reason) tuples."""
    with example.quarantine.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["file", "line", "column", "value", "dimension", "reason"]
    return [tuple(row) for row in rows[1:]]


def stopped(example, capsys):
    """The message of an import that must stop without a network."""
    assert example.run() == 2
    assert not example.network.exists()
    assert not list(example.folder.glob(".*"))
    return capsys.readouterr().err


# -- from end to end -------------------------------------------------------------------------------------------------


def test_the_example_set_becomes_a_network_that_runs(example, capsys):
    """The template's tables import as they are, load again, and survive a rollout."""
    assert example.run() == 0
    network = Network.load(example.network)
    assert (list(network.sites), list(network.suppliers)) == (
        ["Plant", "Central_warehouse", "Store_1", "Store_2"],
        ["Supplier_A"],
    )
    twin = Twin(network, replicas=3, seed=5)
    compiled = twin.compiled
    rate = compiled.demand_rate[compiled.topology.arc_destination]
    result = twin.rollout("base_stock", rate * (compiled.lead_mean + 3.0), 100, warm_up=20)
    assert np.isfinite(result.cost).all()
    assert (result.served / result.demand > 0.9).all()
    assert "4 rows in quarantine" in capsys.readouterr().out


def test_measured_figures_are_those_of_the_rows(example):
    """Lead times, demand moments, weights and prices can be recomputed from the tables by hand."""
    assert example.run() == 0
    network = Network.load(example.network)
    with (example.folder / "orders.csv").open(encoding="utf-8", newline="") as stream:
        orders = [row for row in csv.DictReader(stream) if row["lane"] == "L4" and row["received"]]
    days = [
        np.round((np.datetime64(row["received"]) - np.datetime64(row["ordered"])) / np.timedelta64(1, "D"))
        for row in orders
    ]
    law = next(lane.modes["truck"].lead_time for lane in network.lanes if lane.destination == "Store_1")
    assert law.mean_value == pytest.approx(np.mean(days))
    assert network.provenance["lead_times"]["L4"]["orders"] == 14
    assert network.provenance["lead_times"]["L2"] == {"from": "plan", "mean_days": 2.0}
    with (example.folder / "demand.csv").open(encoding="utf-8", newline="") as stream:
        sold = {tuple(row.values()) for row in csv.DictReader(stream) if row["store"] == "Store 1"}
    weeks = np.zeros(25)
    for day, _, _, quantity in sold:
        weeks[(date.fromisoformat(day) - date(2025, 1, 6)).days // 7] += int(quantity)
    stream_ = network.demands["Store_1.appliance"]
    assert stream_.distribution.distribution == "negative_binomial"
    assert stream_.distribution.mean_value == pytest.approx(weeks.mean(), rel=1e-3)
    assert stream_.distribution.sd == pytest.approx(weeks.std(ddof=1), rel=1e-3)
    assert network.products["appliance"].weight_kg_per_unit == pytest.approx(6.6 * 0.45359237, rel=1e-5)
    assert network.suppliers["Supplier_A"].offers["component"].price == pytest.approx(4.2 * 0.92)
    holding = network.sites["Store_1"].stock["appliance"].holding_cost
    assert holding == pytest.approx(19.5 * 0.2 * 7 / 365.25, rel=1e-5)
    assert stream_.penalty == pytest.approx(19 * holding, rel=1e-5)
    assert network.recipes["Plant.appliance"].lead_time.mean_value == 1.25
    assert [mode.share for mode in network.lanes[0].modes.values()] == [1.0, 0.0]


def test_a_recorded_series_is_played(example):
    """With `as: recorded` a stream asks week by week for what the table lists."""
    example.edit("mapping.yaml", ("as: distribution", "as: recorded"))
    assert example.run() == 0
    network = Network.load(example.network)
    values = network.demands["Store_2.appliance"].distribution.values
    assert len(values) == 25
    twin = Twin(network, replicas=1, seed=0)
    asked = []
    for _ in range(25):
        twin.rollout("constant", np.zeros(twin.compiled.n_arcs), 1)
        asked.append(twin.state.arrays.demand[list(network.demands).index("Store_2.appliance"), 0])
    assert asked == list(values)


def test_bad_rows_go_to_quarantine_with_their_place(example):
    """Each of the template's four bad rows is listed with file, line, column, value and reason."""
    assert example.run() == 0
    assert quarantined(example) == [
        ("orders.csv", "58", "received", "", "complete", "is empty"),
        ("orders.csv", "59", "received", "2025-06-06 09:00:00", "consistent", "lies before the order"),
        ("demand.csv", "22", "sold_on", "2025-01-16", "unique", "repeats line 21"),
        ("demand.csv", "303", "qty", "n/a", "valid", "is not a number (decimal mark '.', no thousands marks)"),
    ]


def test_the_report_counts_every_dimension(example):
    """JSON: per table and dimension what was checked and failed, the share and the threshold."""
    assert example.run() == 0
    report = json.loads(example.report.read_text(encoding="utf-8"))
    assert report["passed"] is True
    orders = report["tables"]["orders"]
    assert (orders["rows"], orders["accepted"]) == (58, 56)
    assert orders["dimensions"]["complete"] == {
        "checked": 58,
        "failed": 1,
        "share": pytest.approx(57 / 58),
        "threshold": 0.9,
    }
    assert report["tables"]["nodes"]["dimensions"]["timely"]["share"] is None
    for table in report["tables"].values():
        assert tuple(table["dimensions"]) == DIMENSIONS
        failed = sum(entry["failed"] for entry in table["dimensions"].values())
        assert failed == table["rows"] - table["accepted"]


# -- files -----------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(example, capsys):
    """A second import refuses before it reads anything; --overwrite allows it; the template never overwrites."""
    assert example.run() == 0
    example.network.write_text("mine", encoding="utf-8")
    assert example.run() == 2
    assert "network.yaml exists; give --overwrite to replace it" in capsys.readouterr().err
    assert example.network.read_text(encoding="utf-8") == "mine"
    assert example.run("--overwrite") == 0
    with pytest.raises(DataError, match=r"nodes.csv exists"):
        write_template(example.folder)


def test_outputs_need_places_of_their_own(example, tmp_path, capsys):
    """A missing folder, a folder as a file, and one file for two outputs are refused."""
    for more, expected in (
        (("--report", str(tmp_path / "no" / "r.json")), "the folder"),
        (("--report", str(tmp_path)), "is a folder"),
        (("--report", str(example.quarantine)), "two outputs"),
    ):
        assert example.run(*more) == 2
        assert expected in capsys.readouterr().err
    assert main(["tables", "--folder", str(example.folder)]) == 2
    assert "--mapping is needed" in capsys.readouterr().err


def test_no_file_that_is_read_is_replaced(example, capsys):
    """--overwrite does not reach the mapping and the tables, neither through a link nor in another spelling."""
    (example.folder / "linked.yaml").symlink_to(example.folder / "mapping.yaml")
    (example.folder / "hard.csv").hardlink_to(example.folder / "lanes.csv")
    before = {path: path.read_bytes() for path in example.folder.iterdir()}
    for option, name in (
        ("--output", "mapping.yaml"),
        ("--output", "linked.yaml"),
        ("--quarantine", "orders.csv"),
        ("--quarantine", "../tables/demand.csv"),
        ("--report", "nodes.csv"),
        ("--report", "hard.csv"),
    ):
        path = str(example.folder / name)
        assert example.run(option, path, "--overwrite") == 2
        assert f"{path} is a file that the import reads" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in example.folder.iterdir()} == before


def test_one_file_is_not_two_outputs(example, capsys):
    """Two names of one file are seen through, whether it is there or not."""
    (example.folder / "here").symlink_to(example.folder)
    assert example.run("--report", str(example.folder / "here" / "network.yaml")) == 2
    assert "is given for two outputs" in capsys.readouterr().err
    assert example.run() == 0
    (example.folder / "second.json").hardlink_to(example.quarantine)
    assert example.run("--report", str(example.folder / "second.json"), "--overwrite") == 2
    assert "is given for two outputs" in capsys.readouterr().err


def test_a_folder_is_no_output(example, capsys):
    """A path without a name of its own is answered, not crashed on."""
    assert example.run("--output", ".") == 2
    assert "error: . is a folder" in capsys.readouterr().err


def test_a_stopped_import_does_not_block_the_next(example, capsys):
    """Without a network its quarantine and report are replaced unasked; a file of another kind is not."""
    good = (example.folder / "demand.csv").read_text(encoding="utf-8")
    example.append("demand.csv", *(f"2025-06-2{n % 9},Store 3,appliance,{n}" for n in range(40)))
    assert "not good enough" in stopped(example, capsys)
    assert "not good enough" in stopped(example, capsys)
    (example.folder / "demand.csv").write_text(good, encoding="utf-8")
    assert example.run() == 0
    assert len(quarantined(example)) == 4
    assert json.loads(example.report.read_text(encoding="utf-8"))["passed"] is True
    assert example.run() == 2
    example.network.unlink()
    for path in (example.quarantine, example.report):
        before = path.read_text(encoding="utf-8")
        path.write_text("mine", encoding="utf-8")
        assert f"{path.name} exists; give --overwrite" in stopped(example, capsys)
        assert path.read_text(encoding="utf-8") == "mine"
        path.write_text(before, encoding="utf-8")


def test_a_report_without_a_network_says_so(example, capsys, monkeypatch):
    """Good rows that make no network, or a network that cannot be written: the report says no, and why."""
    example.edit("lanes.csv", ("component,air,2,", "component,air,,"))
    assert "fewer than 5 good orders" in stopped(example, capsys)
    report = json.loads(example.report.read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert "lane 'L2' has fewer than 5 good orders and no lead_time" in report["reason"]
    example.edit("lanes.csv", ("component,air,,", "component,air,2,"))

    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("twin.ingest.__main__.write_network", full)
        assert "no space left" in stopped(example, capsys)
    report = json.loads(example.report.read_text(encoding="utf-8"))
    assert (report["passed"], report["reason"]) == (False, "no space left")
    assert example.run() == 0
    report = json.loads(example.report.read_text(encoding="utf-8"))
    assert report["passed"] is True
    assert "reason" not in report


@pytest.mark.parametrize("more", [["--overwrite"], ["--output", "n.yaml"], ["--folder", "x", "--mapping", "y"]])
def test_the_template_takes_no_other_option(more, tmp_path, capsys):
    """What --template would ignore is refused by name, and nothing is written."""
    folder = tmp_path / "new"
    assert main(["tables", "--template", str(folder), *more]) == 2
    listed = ", ".join(word for word in more if word.startswith("--"))
    assert f"leave out {listed}\n" in capsys.readouterr().err
    assert not folder.exists()


def test_a_json_network_loads_as_well(example):
    """The output's ending chooses the format."""
    assert example.run() == 0
    first = Network.load(example.network)
    example.network = example.folder / "network.json"
    assert example.run("--overwrite") == 0
    assert Network.load(example.network) == first


# -- thresholds ------------------------------------------------------------------------------------------------------


def test_too_many_bad_rows_stop_the_import(example, capsys):
    """Below a threshold nothing but quarantine and report is written, and the message names the main reason."""
    example.append("demand.csv", *(f"2025-06-2{n % 9},Store 3,appliance,{n}" for n in range(40)))
    text = stopped(example, capsys)
    assert "demand.csv: consistent 88.2% of 340 rows, at least 95.0% asked for" in text
    assert "most often (40 x, first on line 304) store 'Store 3': is not among the good rows of nodes" in text
    assert "did you mean 'Store" in text
    assert len(quarantined(example)) == 44
    assert json.loads(example.report.read_text(encoding="utf-8"))["passed"] is False


def test_thresholds_come_from_the_mapping(example, capsys):
    """A table's own threshold goes before the file's, that before the default."""
    example.append("demand.csv", *(f"2025-06-2{n % 9},Store 3,appliance,{n}" for n in range(40)))
    example.edit("mapping.yaml", ("thresholds: {}", "thresholds: {consistent: 0.8}"))
    assert example.run() == 0
    example.edit("mapping.yaml", ("quantity: qty}\n\n", "quantity: qty}\n    thresholds: {consistent: 0.9}\n\n"))
    assert example.run("--overwrite") == 2
    assert "at least 90.0% asked for" in capsys.readouterr().err


def test_one_lost_lane_stops_the_import(example, capsys):
    """A network without one of its lanes is another network, so the default there is that every row is good."""
    example.append("lanes.csv", "L6,Central warehouse,Store 9,appliance,truck,3,,1,EUR")
    text = stopped(example, capsys)
    assert "lanes.csv: consistent 83.3% of 6 rows, at least 100.0% asked for" in text


# -- one bad cell after the other ------------------------------------------------------------------------------------

ROWS = [
    ("nodes.csv", "Store 3,shop,FR,2,48", "type", "valid", "no such kind (allowed: supplier, plant"),
    ("nodes.csv", "Store 3,store,FR,200,48", "lon", "valid", "must lie between -180 and 180 degrees"),
    ("nodes.csv", "Store 3,store,FR,20,", "lat", "consistent", "the other coordinate is given"),
    ("nodes.csv", "Store  1,store,FR,20,48", "location", "unique", "repeats line 5"),
    ("nodes.csv", "---,store,FR,20,48", "location", "valid", "holds no letter or digit"),
    ("nodes.csv", ",store,FR,20,48", "location", "complete", "is empty"),
    ("nodes.csv", "Store 3,store,FR,20", "", "valid", "the row has 4 cells, the header 5"),
    ("products.csv", "bolt,piece,perhaps,1,1,1", "counted", "valid", "must be one of yes, true, 1"),
    ("products.csv", "bolt,piece,yes,0,1,1", "weight_lb", "valid", "must be above 0"),
    ("products.csv", 'bolt,piece,yes,1,"1,000",1', "standard_cost", "valid", "no thousands marks"),
    ("products.csv", "bolt,piece,yes,1,-1,1", "standard_cost", "valid", "must be at least 0"),
    ("products.csv", "bolt,piece,yes,1,nan,1", "standard_cost", "valid", "is not a number"),
    ("products.csv", "bolt,piece,yes,1,1e99,1", "standard_cost", "valid", "is not a plausible number"),
    (
        "lanes.csv",
        "L6,Plant,Store 1,appliance,air,3,,1,GBP",
        "freight",
        "valid",
        "no rate for 'GBP' (allowed: EUR, USD)",
    ),
    ("lanes.csv", "L6,Plant,Store 1,appliance,air,30000,,1,EUR", "planned_days", "valid", "longer than 3,653 days"),
    ("lanes.csv", "L6,Plant,Plant,appliance,air,3,,1,EUR", "destination", "consistent", "is where the lane begins"),
    ("lanes.csv", "L6,Plant,Supplier A,appliance,air,3,,1,EUR", "destination", "consistent", "is a supplier"),
    (
        "lanes.csv",
        "L6,Plant,Store 1,appliance,air,3,9,1,EUR",
        "purchase_price",
        "consistent",
        "not begin at a supplier",
    ),
    ("lanes.csv", "L6,Supplier A,Plant,component,sea,3,9,1,EUR", "purchase_price", "consistent", "differs from line 2"),
    ("lanes.csv", "L6,Plant,Store 1,aplliance,air,3,,1,EUR", "sku", "consistent", "did you mean 'appliance'"),
    ("recipes.csv", "Plant,appliance,appliance,1,1,1", "needs", "consistent", "is the product itself"),
    ("recipes.csv", "Plant,appliance,component,1,1,1", "needs", "unique", "repeats line 2"),
    ("recipes.csv", "Supplier A,appliance,component,1,1,1", "plant", "consistent", "is a supplier"),
    ("orders.csv", "X1,L9,2025-03-01 08:00:00,2025-03-05 08:00:00,1", "lane", "consistent", "good rows of lanes"),
    ("orders.csv", "L4-01,L4,2025-03-01 08:00:00,2025-03-05 08:00:00,1", "order_no", "unique", "repeats line 30"),
    ("orders.csv", "X1,L4,2025-03-32 08:00:00,2025-03-05 08:00:00,1", "ordered", "valid", "is not an ISO 8601 date"),
    ("orders.csv", "X1,L4,0001-01-01 08:00:00,2025-03-05 08:00:00,1", "ordered", "valid", "not a plausible date"),
    ("orders.csv", "X1,L4,2025-06-30 08:00:00,2025-07-01 08:00:00,1", "received", "timely", "lies after 2025-06-30"),
    ("orders.csv", "X1,L4,2020-03-01 08:00:00,2025-03-05 08:00:00,1", "ordered", "timely", "lies before 2023-07-01"),
    ("demand.csv", "2025-03-01,Store 1,appliance,-2", "qty", "valid", "must be at least 0"),
    ("demand.csv", "2025-03-01,Store 1,appliance,1.5", "qty", "consistent", "comes in whole units"),
    ("demand.csv", "2025-03-01,Supplier A,appliance,1", "store", "consistent", "is a supplier"),
]


@pytest.mark.parametrize(("file", "row", "column", "dimension", "reason"), ROWS, ids=[" ".join(r[:2]) for r in ROWS])
def test_a_bad_row_is_quarantined_for_the_right_reason(file, row, column, dimension, reason, example):
    """One bad row is found where it stands, under the right dimension; with low thresholds the import goes on."""
    clean = (example.folder / file).read_text(encoding="utf-8").count("\n")
    example.append(file, row)
    example.edit("mapping.yaml", ("thresholds: {}", "thresholds: {complete: 0, valid: 0, unique: 0, consistent: 0}"))
    assert example.run() == 0
    found = [entry for entry in quarantined(example) if entry[0] == file and entry[1] == str(clean + 1)]
    assert [entry[2] for entry in found] == [column]
    assert found[0][4] == dimension
    assert reason in found[0][5]
    Network.load(example.network)


CORRECTED = [
    ("nodes.csv", "Store 3,store,FR,20,", "Store 3,store,FR,20,48", "consistent"),
    ("lanes.csv", "L6,Plant,Nowhere,appliance,air,3,,1,EUR", "L6,Plant,Store 1,appliance,air,3,,1,EUR", "consistent"),
    (
        "orders.csv",
        "L4-20,L4,2025-03-05 08:00:00,2025-03-01 08:00:00,1",
        "L4-20,L4,2025-03-01 08:00:00,2025-03-05 08:00:00,1",
        "consistent",
    ),
    (
        "orders.csv",
        "L4-20,L4,2020-03-01 08:00:00,2025-03-05 08:00:00,1",
        "L4-20,L4,2025-03-01 08:00:00,2025-03-05 08:00:00,1",
        "timely",
    ),
]


@pytest.mark.parametrize(("file", "bad", "good", "dimension"), CORRECTED, ids=[f"{c[0]} {c[3]}" for c in CORRECTED])
def test_a_bad_row_does_not_block_its_correction(file, bad, good, dimension, example):
    """A corrected row with the same id is used; only the bad one is in quarantine; a third is a repetition."""
    example.append(file, bad, good, good)
    lines = (example.folder / file).read_text(encoding="utf-8").count("\n")
    found = read_tables(example.folder, load_mapping(example.folder / "mapping.yaml"), today=TODAY)
    audit = next(audit for audit in found.audits if audit.file == file)
    problems = {p.line: (p.dimension, p.finding.reason) for p in audit.problems if p.line > lines - 3}
    assert problems[lines - 2][0] == dimension
    assert lines - 1 not in problems
    assert problems[lines] == ("unique", f"repeats line {lines - 1}")
    assert found.records[file.removesuffix(".csv")][-1].line == lines - 1


def test_a_bad_price_does_not_block_a_good_one(example):
    """Prices are held against those of good rows, and a conversion's last digits are no difference."""
    example.edit("mapping.yaml", ("rates: {USD: 0.92}", "rates: {USD: 0.92, GBP: 1.1}"))
    example.edit("lanes.csv", ("4.20,1.10,USD", "3.864,1.10,EUR"))
    example.append("products.csv", "screw,piece,yes,1,1,1")
    example.append(
        "lanes.csv",
        "L6,Supplier A,Nowhere,screw,truck,3,9,1,EUR",
        "L7,Supplier A,Plant,screw,truck,3,3.3,1,EUR",
        "L8,Supplier A,Plant,screw,air,3,3,1,GBP",
        "L9,Supplier A,Plant,screw,sea,3,3.301,1,EUR",
    )
    assert 3 * 1.1 != 3.3
    found = read_tables(example.folder, load_mapping(example.folder / "mapping.yaml"), today=TODAY)
    audit = next(audit for audit in found.audits if audit.table == "lanes")
    assert [(p.line, p.finding.reason.partition(":")[0]) for p in audit.problems] == [
        (7, "is not among the good rows of nodes"),
        (10, "differs from line 8"),
    ]


CELLS = st.sampled_from(
    [
        "",
        "L1",
        "L4",
        "L9",
        "2025-03-01",
        "2025-03-01T10:00:00+02:00",
        "2025-03-02 10:00:00",
        "1e3",
        "-1",
        "nan",
        "ä",
        "3",
    ]
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELLS, min_size=4, max_size=6), max_size=12))
def test_every_row_is_either_used_or_explained(rows, tmp_path_factory):
    """Whatever stands in the orders: no row is lost, none is used that has a finding, and nothing raises."""
    folder = tmp_path_factory.mktemp("tables")
    write_template(folder)
    with (folder / "orders.csv").open("a", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    found = read_tables(folder, load_mapping(folder / "mapping.yaml"), today=TODAY)
    audit = next(audit for audit in found.audits if audit.table == "orders")
    bad = {problem.line for problem in audit.problems}
    used = {record.line for record in found.records["orders"]}
    assert not bad & used
    assert len(bad) + len(used) == audit.rows == 58 + sum(any(cell for cell in row) for row in rows)


# -- times, units and shapes -----------------------------------------------------------------------------------------


def test_times_without_a_zone_are_refused_unless_the_mapping_names_it(example, capsys):
    """Without time_zone the orders' timestamps stop the import; with an offset of their own they do not need it."""
    example.edit("mapping.yaml", ("time_zone: Europe/Berlin", "#"))
    text = stopped(example, capsys)
    assert "(57 x, first on line 2) ordered '2025-01-06 10:00:00': is a time without a zone" in text
    assert "name it with time_zone in the mapping" in text
    path = example.folder / "orders.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    stamped = [",".join(f"{c}+01:00" if c.startswith("2025") else c for c in line.split(",")) for line in lines]
    path.write_text("\n".join(stamped) + "\n", encoding="utf-8")
    assert example.run("--overwrite") == 0


def test_zones_count_in_lead_times(example):
    """An order at 10:00 in New York received at 16:00 in Berlin the same day took no time, not six hours."""
    example.edit("mapping.yaml", ("least_orders: 5", "least_orders: 1"))
    lines = [f"A{n},L2,2025-03-1{n}T10:00:00-04:00,2025-03-1{n + 1}T02:00:00+01:00,1" for n in range(5)]
    example.append("orders.csv", *lines)
    assert example.run() == 0
    network = Network.load(example.network)
    assert network.lanes[0].modes["air"].lead_time.values == (0.0,)
    assert network.provenance["lead_times"]["L2"] == {"from": "orders", "orders": 5, "mean_days": 0.0, "sd_days": 0.0}


def test_continental_files_are_read(example):
    """Semicolons, decimal commas and day-first dates."""
    for path in example.folder.glob("*.csv"):
        text = path.read_text(encoding="utf-8").replace(",", ";").replace(".", ",")
        path.write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8", newline="")
    path = example.folder / "demand.csv"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    turned = [".".join(reversed(line[:10].split("-"))) + line[10:] if line[:2] == "20" else line for line in lines]
    path.write_text("\n".join(turned) + "\n", encoding="utf-8")
    example.edit(
        "mapping.yaml",
        ('csv: {delimiter: ",", decimal: "."}', 'csv: {delimiter: ";", decimal: ","}'),
        ("    columns: {date: sold_on", '    date_format: "%d.%m.%Y"\n    columns: {date: sold_on'),
    )
    assert example.run() == 0
    assert Network.load(example.network).demands["Store_1.appliance"].distribution.mean_value == pytest.approx(18.76)


def test_a_lane_without_orders_or_plan_is_refused(example, capsys):
    """A lead time comes from enough orders or from the plan; never from nowhere."""
    example.edit("lanes.csv", ("component,air,2,", "component,air,,"))
    assert "lanes.csv, line 3: lane 'L2' has fewer than 5 good orders and no lead_time" in stopped(example, capsys)


def test_rows_that_are_good_alone_can_make_an_impossible_network(example, capsys):
    """The structural checks of a network answer for what no single row shows."""
    example.edit("lanes.csv", ("warehouse,Store 2,appliance,truck", "warehouse,Store 1,appliance,van"))
    assert "sites.Store_2.stock.appliance: no lane or recipe can ever bring" in stopped(example, capsys)


def test_recipes_must_agree_with_themselves(example, capsys):
    """Two rows of one recipe with different lead times are a contradiction."""
    example.append("products.csv", "screw,piece,yes,1,1,1")
    example.append("lanes.csv", "L6,Supplier A,Plant,screw,truck,3,1,1,EUR")
    example.append("recipes.csv", "Plant,appliance,screw,4,60,6.50")
    assert "recipes.csv, line 3: lead_time '2.5' of recipe 'Plant.appliance' differs from '1.25'" in stopped(
        example, capsys
    )
    example.edit("recipes.csv", ("screw,4,60", "screw,4,30"))
    assert example.run("--overwrite") == 0
    assert Network.load(example.network).recipes["Plant.appliance"].inputs == {"component": 3.0, "screw": 4.0}


def test_names_become_names_of_a_network():
    """Accents go, blanks become underscores; what has no letter is refused."""
    assert identifier("Lager Köln / Süd (neu)") == "Lager_Koln_Sud_neu"
    assert identifier("_x" * 60)[0] == "x"
    assert len(identifier("x" * 90)) == 64
    with pytest.raises(CellError, match="no letter or digit"):
        identifier("///")


# -- the mapping -----------------------------------------------------------------------------------------------------

MAPPINGS = [
    (("kind: type", "knd: type"), ["tables.nodes.columns: no field 'knd'", "did you mean 'kind'", "longitude"]),
    (("date: sold_on, ", ""), ["tables.demand.columns.date: this field is required and missing"]),
    (("kind: type", "kind: typ"), ["nodes.csv has no column 'typ'", "did you mean 'type'"]),
    (("Europe/Berlin", "Europe/Berln"), ["time_zone", "'Europe/Berln'", "did you mean 'Europe/Berlin'"]),
    (("rates: {USD: 0.92}", "rates: {EUR: 1.0}"), ["rates.EUR: this is the network's own currency"]),
    (("currency: EUR}", "currency: YEN}"), ["tables.recipes.units.currency: no rate for 'YEN'", "EUR, USD"]),
    (("{weight: lb}", "{weight: lbs}"), ["tables.products.units.weight", "'lbs'", "did you mean 'lb'"]),
    (("period: week ", "period: hour "), ["network.period", "'day', 'week' or 'month'"]),
    (("as: distribution", "as: distributon"), ["demand.as", "did you mean 'distribution'"]),
    (("unmet: lost", "unmett: lost"), ["demand", "unknown key 'unmett'", "did you mean 'unmet'"]),
    (("thresholds: {}", "thresholds: {comlete: 0.9}"), ["thresholds.comlete", "'complete'"]),
    (("thresholds: {}", "thresholds: {complete: 90}"), ["thresholds.complete", "less than or equal to 1"]),
    (("last: 2025-06-29", "last: 2024-06-29"), ["demand.last", "must not be before demand.first = 2025-01-06"]),
    (("last: 2025-06-29", "last: 2025-01-06"), []),
    (
        ("as_of: 2025-06-30", "as_of: 0001-01-03"),
        ["timely.as_of: must lie between 1900-01-01 and 2199-12-31, received 0001-01-03"],
    ),
    (("as_of: 2025-06-30", "as_of: 9999-12-31"), ["timely.as_of", "received 9999-12-31"]),
    (("first: 2025-01-06", "first: 0001-01-03"), ["demand.first: must lie between 1900-01-01", "0001-01-03"]),
    (("last: 2025-06-29", "last: 9025-06-29"), ["demand.last: must lie between 1900-01-01", "9025-06-29"]),
    (("  nodes:\n", "  node:\n"), ["unknown key 'node'", "did you mean 'nodes'"]),
]


@pytest.mark.parametrize(("change", "expected"), MAPPINGS, ids=[change[1] for change, _ in MAPPINGS])
def test_a_wrong_mapping_is_answered_with_place_and_nearest_match(change, expected, example, capsys):
    """The key, the value, what is allowed and the nearest match; nothing is written."""
    example.edit("mapping.yaml", change)
    if not expected:
        assert example.run() == 0
        return
    text = stopped(example, capsys)
    for part in expected:
        assert part in text


def test_missing_files_are_named(example, tmp_path, capsys):
    """A missing folder, table or mapping is named with its path."""
    (example.folder / "orders.csv").unlink()
    assert f"no such file: {example.folder / 'orders.csv'}" in stopped(example, capsys)
    assert (
        main(
            [
                "tables",
                "--folder",
                "nowhere",
                "--mapping",
                str(example.folder / "mapping.yaml"),
                "--output",
                str(tmp_path / "n.yaml"),
            ]
        )
        == 2
    )
    assert "no such folder: nowhere" in capsys.readouterr().err


def test_an_empty_table_stops_the_import(example, capsys):
    """A table with nothing but a header has no share to pass or fail, and no network to give."""
    (example.folder / "demand.csv").write_text("sold_on,store,sku,qty\n", encoding="utf-8")
    assert "demand.csv: no row can be used" in stopped(example, capsys)
