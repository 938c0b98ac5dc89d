"""A user's own liner network: codes become positions and distances; what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from twin.errors import DataError
from twin.ingest.__main__ import main
from twin.ingest.port_list import closures
from twin.liner.network import LinerNetwork
from twin.liner.sailing import fixed_cost, passages, voyage

pytest.importorskip("searoute", reason="needs the extra 'routing'")

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "routing.md").read_text(encoding="utf-8")
#: The plan that the document shows.
PLAN = DOCUMENT.split("```yaml\n", 1)[1].split("```", 1)[0]


@pytest.fixture(autouse=True)
def _plan(tmp_path, monkeypatch):
    """Every test runs in a folder of its own with the document's plan."""
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def run(*more):
    return main(["ports", "--plan", "plan.yaml", "--output", "liner.yaml", *more])


def test_the_documented_plan_becomes_a_network(capsys):
    """Positions by code, the three ways between China and Europe, and what is left open is said."""
    assert run() == 0
    printed = capsys.readouterr().out
    assert "note: no costs are given for CNSHA, SGSIN, NLRTM" in printed
    network = LinerNetwork.load("liner.yaml")
    assert network.ports["NLRTM"].name == "Rotterdam"
    assert {"suez", "panama"} <= set(passages(network))
    lengths = [voyage(network, "loop", closed).distance_nm for closed in ((), ("suez",), ("suez", "panama"))]
    assert lengths[0] == pytest.approx(21_200, rel=0.01)
    # The class has no fee for Panama: without Suez it sails around Africa.
    assert lengths[0] < lengths[1] == lengths[2]
    assert fixed_cost(network).canals == 2 * network.vessel_classes["Post_panamax"].canal_fees["suez"]


def test_tables_fill_the_plan(capsys):
    """Costs, depths and positions from one table, demands from another; the plan's own figures go first."""
    data = yaml.safe_load(PLAN)
    del data["demands"]
    data["ports"] = {"CNSHA": {"handling_cost": 7.0}, "SGSIN": None, "XXYYZ": {}, "NLRTM": {}}
    data["services"]["loop"] |= {"calls": ["CNSHA", "XXYYZ", "NLRTM"], "vessels": 2}
    Path("plan.yaml").write_text(json.dumps(data), encoding="utf-8")
    Path("ports.csv").write_text(
        "code,name,longitude,latitude,handling_cost,call_cost,draft_m\n"
        "CNSHA,Mine,,,80,900,15\nXXYYZ,Own quay,103.76,1.26,60,800,\n",
        encoding="utf-8",
    )
    Path("demands.csv").write_text(
        "from,to,ffe_per_week,revenue_per_ffe,max_transit_days\nCNSHA,NLRTM,10,1500,\nXXYYZ,CNSHA,5,300,12\n",
        encoding="utf-8",
    )
    assert run("--ports", "ports.csv", "--demands", "demands.csv", "--closable") == 0
    printed = capsys.readouterr().out
    assert "services.loop needs 9 vessels to leave every week, and has 2" in printed
    network = LinerNetwork.load("liner.yaml")
    shanghai, quay = network.ports["CNSHA"], network.ports["XXYYZ"]
    assert (shanghai.name, shanghai.handling_cost, shanghai.draft_m) == ("Mine", 7.0, 15.0)
    assert (quay.position, quay.draft_m) == ((103.76, 1.26), None)
    assert [cargo.max_transit_days for cargo in network.demands] == [None, 12.0]
    pairs = [(row.one, row.other) for row in network.distances]
    assert len(pairs) == len(set(pairs)) == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "NLRTM",
            "NLRTN",
            "ports.NLRTN has no position, and the package searoute does not list the code; did you mean",
        ),
        ("[CNSHA,", "[CNSHA, CNSHA,", "ports lists 'CNSHA' twice"),
        ("[CNSHA,", "[4711,", "ports must be a list of codes"),
        ("name:", "distances: []\nname:", "a plan has no distances; leave the key out"),
        ("9, speed_knots: 16.5", "9, speed_knots: 30", "sails 12 to 23 knots (received 30)"),
        ("vessels: 9", "vesels: 9", "unknown key 'vesels'; did you mean 'vessels'?"),
    ],
)
def test_wrong_plans_are_refused(capsys, old, new, message):
    """Nothing is written, and the message has the place."""
    assert old in PLAN
    Path("plan.yaml").write_text(PLAN.replace(old, new, 1), encoding="utf-8")
    assert run() == 2
    assert message in capsys.readouterr().err
    assert not Path("liner.yaml").exists()


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("ports", "code,handling\nCNSHA,1\n", "unknown column 'handling' (allowed: "),
        ("ports", "code,call_cost\nCNSHA,1\nCNSHA,2\n", "line 3: the port 'CNSHA' is there twice"),
        ("ports", "code,call_cost\nCNSHA,much\n", "line 2, call_cost: is not a number, received 'much'"),
        ("ports", "code,longitude\nCNSHA,121\n", "line 2: CNSHA needs both longitude and latitude"),
        ("ports", "code,longitude,latitude\nCNSHA,12,121\n", "ports.CNSHA.position: longitude must lie between"),
        ("ports", "code,longitude,latitude\nCNSHA,60,50\n", "nm from the nearest sea lane"),
        ("ports", "code,call_cost\n,1\n", "line 2: code is empty"),
        ("ports", "name\nCNSHA\n", "has no column 'code'"),
        ("demands", "from,to,ffe_per_week,revenue_per_ffe\nCNSHA,NLRTM,1,1\n", "both have demands"),
    ],
)
def test_wrong_tables_are_refused(capsys, table, text, message):
    """File, line and column."""
    Path("table.csv").write_text(text, encoding="utf-8")
    assert run(f"--{table}", "table.csv") == 2
    assert message in capsys.readouterr().err


def test_unknown_passages_are_refused(capsys):
    """The nearest passage is named."""
    assert run("--closable", "suez", "panma") == 2
    assert "did you mean 'panama'?" in capsys.readouterr().err
    assert closures(["suez", "panama"]) == [(), ("panama",), ("suez",), ("panama", "suez")]
    with pytest.raises(DataError, match="no passage 'x'"):
        closures(["x"])


def test_ports_at_one_place_are_refused(capsys):
    """Two codes with one position have no distance."""
    Path("table.csv").write_text("code,longitude,latitude\nCNSHA,103.8,1.2\nSGSIN,103.8,1.2\n", encoding="utf-8")
    assert run("--ports", "table.csv") == 2
    assert "ports.CNSHA and ports.SGSIN are at one place" in capsys.readouterr().err
