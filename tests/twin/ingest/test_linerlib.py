"""Published LINERLIB networks: read as they are, with the fixed costs of their logs; what does not fit is refused."""

from __future__ import annotations

import pytest

from tests.published.linerlib import NETWORKS
from twin.errors import DataError
from twin.ingest.__main__ import main
from twin.ingest.linerlib import read_linerlib
from twin.liner.network import LinerNetwork
from twin.liner.sailing import fixed_cost, passages, voyage

TABLES = {
    "ports.csv": "UNLocode\tname\tCountry\tCabotage_Region\tD_Region\tLongitude\tLatitude\tDraft\tCostPerFULL\t"
    "CostPerFULLTrnsf\tPortCallCostFixed\tPortCallCostPerFFE\n"
    "AAAAA\tÅlpha\tX\tX\tX\t8.5\t53.5\t13.5\t199.00\t121.00\t11795.00\t14.00\n"
    "BBBBB\tBeta\tX\tX\tX\t10.2\t-99.5\t9.5\t429.00\t203.00\t11861.00\t7.00\n"
    "CCCCC\tGamma\tX\tX\tX\t\t\t\t\t\t\t\n",
    "fleet_data.csv": "Vessel class\tCapacity FFE\tTC rate daily (fixed Cost)\tdraft\tminSpeed\tmaxSpeed\tdesignSpeed\t"
    "Bunker ton per day at designSpeed\tIdle Consumption ton/day\tpanamaFee\tsuezFee\n"
    "Small\t450\t5000\t8\t10\t14\t12\t18.8\t2.4\t64800\t175769\n"
    "Large\t4200\t35000\t13\t12\t23\t16.5\t82.2\t7.4\t\t633007\n",
    "fleet_Test.csv": "Vessel class\tQuantity\nSmall\t4\n",
    "Demand_Test.csv": "Origin\tDestination\tFFEPerWeek\tRevenue_1\tTransitTime\n\nAAAAA\tBBBBB\t 266 \t330\t14\n",
    "dist_dense.csv": "fromUNLOCODe\tToUNLOCODE\tDistance\tDraft\tIsPanama\tIsSuez\n"
    "AAAAA\tBBBBB\t480\t12\t1\t0\nBBBBB\tAAAAA\t480\t12\t1\t0\nAAAAA\tBBBBB\t960\t\t0\t0\nAAAAA\tCCCCC\t50\t\t0\t0\n",
}
LOG = """\
*********************Best found solution********************************
service 0 service id 0
capacity 450
 # vessels 1
1\tAAAAA\tÅlpha
12\tBBBBB\tBeta

 speed 10
 voyage distance nautical miles 960
 voyage duration in weeks 0.857143
 Port call cost 33106
 Bunker idle burn in Ton 4.8
 Bunker fuel burn in Ton 43.5185
 Total bunker cost at 600 USD for one round trip 26111.1
 Total TC cost 28000
 ------------------Flow Solution ----------------------
ID:0 AAAAA->BBBBB Transported 266, trans in %: 100
Objective value: -27605.1  Objective value without penalty: -27605.1
Vessel Class cost: 28000
Bunker idle burn cost: 2880
fuel_burn: 26111.1
Port Call Cost: 33106
Canal costs 0
Revenue: 87780
Penalty: 0
Handling cost: 167048
"""


@pytest.fixture
def small(tmp_path):
    """A made-up instance with its log, to break."""
    for name, text in (*TABLES.items(), ("small.log", LOG)):
        (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def read(folder):
    return read_linerlib(folder, "Test", folder / "small.log")


def test_a_small_instance_is_read(small):
    """Latin-1, empty lines and blanks in cells; the charter market is found; impossible positions are left out."""
    network = read(small)
    assert network.ports["AAAAA"].name == "Ålpha"
    assert network.ports["BBBBB"].position is None
    assert network.provenance["charter_market"] == "high"
    assert network.vessel_classes["Small"].charter_per_day == 4000.0
    assert network.vessel_classes["Small"].vessels == 4
    assert "Large" not in network.vessel_classes
    assert network.demands[0].ffe_per_week == 266.0
    assert passages(network) == ("panama",)
    assert len(network.distances) == 2
    assert fixed_cost(network).canals == 2 * 64800.0
    assert voyage(network, "service_0", ["panama"]).distance_nm == 1920.0


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("small.log", "# vessels 1\n", "", "line 2: service 0 has no line '# vessels ...'"),
        ("small.log", "12\tBBBBB\tBeta\n", "", "line 2: service 0 has 1 calls, at least 2 are needed"),
        ("small.log", "*\n", "*\n" + LOG.split(" ---")[0], "line 17: service 0 is there twice"),
        ("small.log", "service 0 service id 0\n", "", "has no line 'service 0 service id 0'"),
        ("small.log", "Revenue: 87780\n", "", "has no line 'Revenue: ...' after its flow solution"),
        ("small.log", "capacity 450", "capacity 451", "no one vessel class has a capacity of 451 FFE"),
        ("small.log", "TC cost 28000", "TC cost 29000", "fit none of the markets base, high, low"),
        ("small.log", "miles 960", "miles 970", "sails 970 nm, but its legs in dist_dense.csv add up to 960"),
        ("dist_dense.csv", "AAAAA\tBBBBB", "AAAAA\tDDDDD", "dist_dense.csv has no row for AAAAA and BBBBB"),
        (
            "dist_dense.csv",
            "480\t12\t1\t0\nB",
            "far\t12\t1\t0\nB",
            "line 2, Distance: must be a number above 0, received 'far'",
        ),
        ("ports.csv", "429.00", "", "line 3: BBBBB has no CostPerFULL"),
        ("ports.csv", "BBBBB", "BBBBC", "has no port 'BBBBB'; did you mean 'BBBBC'"),
        ("ports.csv", "Draft", "Depth", "has no column 'Draft'"),
        ("fleet_Test.csv", "Small", "Tiny", "line 2: fleet_data.csv has no class 'Tiny'"),
        (
            "fleet_data.csv",
            "18.8",
            "-1",
            "line 2, Bunker ton per day at designSpeed: must be a number above 0, received '-1'",
        ),
        ("Demand_Test.csv", " 266 ", "many", "line 3, FFEPerWeek: must be a number at least 0, received 'many'"),
        ("Demand_Test.csv", "\t14", "\t14\t1", "line 3: 6 cells, but the header has 5"),
    ],
)
def test_what_does_not_fit_is_refused(small, name, old, new, message):
    """File, line and column, or what log and data disagree about."""
    text = (small / name).read_text(encoding="latin-1")
    assert old in text
    (small / name).write_text(text.replace(old, new), encoding="latin-1")
    with pytest.raises(DataError) as caught:
        read(small)
    assert message in str(caught.value)


def test_missing_files_and_instances_are_named(small, capsys):
    """The nearest instance; the file that is not there; nothing is written."""
    command = ["linerlib", "--folder", str(small), "--log", str(small / "small.log"), "--output", str(small / "o.yaml")]
    assert main([*command, "--instance", "Tst"]) == 2
    assert "no instance 'Tst' (allowed: Test); did you mean 'Test'?" in capsys.readouterr().err
    (small / "fleet_data.csv").unlink()
    assert main([*command, "--instance", "Test"]) == 2
    assert f"no such file: {small / 'fleet_data.csv'}" in capsys.readouterr().err
    assert not (small / "o.yaml").exists()
    (small / "Demand_Test.csv").unlink()
    assert main([*command, "--instance", "Test"]) == 2
    assert "there is no Demand_<instance>.csv" in capsys.readouterr().err


def test_the_command_writes_what_it_read(small, capsys):
    """A file that loads to the same network; a second time only with --overwrite."""
    output = small / "o.yaml"
    log = str(small / "small.log")
    command = ["linerlib", "--folder", str(small), "--instance", "Test", "--log", log, "--output", str(output)]
    assert main(command) == 0
    assert f"{output}: 2 ports, 1 services, 1 demands" in capsys.readouterr().out
    assert LinerNetwork.load(output) == read(small)
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    assert main([*command[:-1], log, "--overwrite"]) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_published_fixed_costs(linerlib, name):
    """Charter, bunker, idle bunker, canals and port calls of the nine logged networks, each within 1e-5 of its log."""
    network, logged = linerlib(name)
    cost = fixed_cost(network)
    for term in ("charter", "bunker", "idle_bunker", "canals", "port_calls"):
        assert getattr(cost, term) == pytest.approx(logged[term], rel=1e-5, abs=0.01), term
    assert cost.total == pytest.approx(network.known_value("weekly_fixed_cost").value, rel=1e-5)
    assert network.provenance["charter_market"] == NETWORKS[name].market


def test_one_published_service_is_short_of_vessels(linerlib):
    """All logged services have the vessels that weekly departures need, but one."""
    short = set()
    for name in NETWORKS:
        network, _ = linerlib(name)
        for service, terms in network.services.items():
            needed = voyage(network, service).vessels_needed
            if needed != terms.vessels:
                short.add((name, service, terms.vessels, needed))
                assert any(note.startswith(f"{service} takes 1.88452 weeks") for note in network.provenance["notes"])
    assert short == {("mediterranean_base", "service_1", 1, 2)}
