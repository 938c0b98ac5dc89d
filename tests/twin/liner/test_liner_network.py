"""Liner networks: files in and out, structural checks, how services sail and what they cost."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import yaml

from twin.errors import NetworkError
from twin.ingest.output import network_text
from twin.liner import library
from twin.liner.calls import call_graph
from twin.liner.network import LinerNetwork
from twin.liner.sailing import fixed_cost, passages, voyage

#: Two ports and a hub that one service calls twice; the way from A to B has a canal, and a detour around it.
SMALL = {
    "name": "small",
    "bunker_price_per_t": 500.0,
    "ports": {
        "HUB": {"handling_cost": 10.0, "transshipment_cost": 5.0, "call_cost": 1000.0, "call_cost_per_ffe": 1.0},
        "A": {"handling_cost": 20.0, "call_cost": 100.0, "draft_m": 11.0},
        "B": {"handling_cost": 30.0, "call_cost": 200.0, "moves_per_week": 150.0},
    },
    "vessel_classes": {
        "feeder": {
            "capacity_ffe": 100.0,
            "charter_per_day": 1000.0,
            "min_speed_knots": 8.0,
            "max_speed_knots": 16.0,
            "design_speed_knots": 10.0,
            "bunker_t_per_day": 20.0,
            "idle_bunker_t_per_day": 2.0,
            "draft_m": 10.0,
            "canal_fees": {"suez": 7000.0},
        },
    },
    "services": {
        "butterfly": {"class": "feeder", "vessels": 1, "speed_knots": 12.5, "calls": ["HUB", "A", "HUB", "B"]},
        "direct": {"class": "feeder", "vessels": 2, "speed_knots": 10.0, "calls": ["A", "B"]},
    },
    "demands": [
        {"from": "A", "to": "B", "ffe_per_week": 80.0, "revenue_per_ffe": 500.0, "max_transit_days": 9.0},
        {"from": "HUB", "to": "B", "ffe_per_week": 40.0, "revenue_per_ffe": 400.0},
    ],
    "distances": [
        {"from": "HUB", "to": "A", "nm": 300.0},
        {"from": "B", "to": "HUB", "nm": 150.0},
        {"from": "A", "to": "B", "nm": 4800.0},
        {"from": "A", "to": "B", "nm": 1200.0, "through": ["suez"]},
    ],
}


def changed(path, value):
    """SMALL with one value changed; a path such as ("ports", "A", "draft_m"). None deletes."""
    data = copy.deepcopy(SMALL)
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def test_a_network_reads_back_what_it_wrote(tmp_path):
    """YAML, JSON and the commented text all give the same network, and defaults are not written."""
    network = LinerNetwork.parse(SMALL)
    for name in ("network.yaml", "network.json"):
        network.save(tmp_path / name)
        assert LinerNetwork.load(tmp_path / name) == network
    text = network_text(network, "a comment")
    assert text.startswith("# a comment\nname: small\n")
    assert LinerNetwork.parse(yaml.safe_load(text)) == network
    assert "rejection_penalty_per_ffe" not in network.to_dict()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("services", "direct", "calls"), ["A", "Bee"], "services.direct.calls[1]: no port 'Bee' (allowed: HUB, A, B)"),
        (("services", "direct", "calls"), ["A", "A", "B"], "services.direct.calls[0]: A follows itself"),
        (("services", "direct", "calls"), ["A"], "services.direct.calls: "),
        (
            ("services", "direct", "class"),
            "feeders",
            "no vessel class 'feeders' (allowed: feeder); did you mean 'feeder'",
        ),
        (("services", "direct", "speed_knots"), 17.0, "feeder sails 8 to 16 knots (received 17)"),
        (("services", "direct", "speed"), 10.0, "unknown key 'speed'; did you mean 'speed_knots'?"),
        (
            ("vessel_classes", "feeder", "design_speed_knots"),
            20.0,
            "must lie between min_speed_knots and max_speed_knots",
        ),
        (("vessel_classes", "feeder", "canal_fees"), {"kiel": 1.0}, "'suez' or 'panama' (received 'kiel')"),
        (("ports", "A", "draft_m"), 9.0, "services.butterfly.calls[1]: feeder draws 10 m, but A is 9 m deep"),
        (("ports", "A", "position"), [10.0, 100.0], "longitude must lie between -180 and 180"),
        (("ports", "A", "handling_cost"), -1.0, "ports.A.handling_cost: Input should be greater than or equal to 0"),
        (("demands", 0, "to"), "A", "demands[0]: from and to are the same port (received 'A')"),
        (("demands", 1, "from"), "A", "demands[0]: A to B is there more than once"),
        (("demands", 0, "from"), "a", "demands[0].from: no port 'a'"),
        (("distances", 0, "to"), "HUB", "distances[0]: from and to are the same port"),
        (("distances", 0, "to"), "C", "distances[0].to: no port 'C'"),
        (("distances", 1), None, "services.butterfly.calls[2]: distances has no row for HUB to B"),
    ],
)
def test_impossible_networks_are_refused(path, value, message):
    """The place, the value, what is allowed and the nearest one."""
    with pytest.raises(NetworkError) as caught:
        LinerNetwork.parse(changed(path, value), where="file.yaml")
    assert str(caught.value).startswith("file.yaml is not a valid liner network:\n  - ")
    assert message in str(caught.value)


def test_a_round_by_hand():
    """Distance, days, vessels and the five costs of both services."""
    network = LinerNetwork.parse(SMALL)
    butterfly, direct = voyage(network, "butterfly"), voyage(network, "direct")
    assert butterfly.distance_nm == 900.0
    assert [leg.nm for leg in butterfly.legs] == [300.0, 300.0, 150.0, 150.0]
    assert butterfly.sea_days == pytest.approx(3.0)
    assert (butterfly.port_days, butterfly.weeks, butterfly.vessels_needed) == (4.0, pytest.approx(1.0), 1)
    cost = butterfly.cost
    assert cost.charter == 7000.0
    assert cost.bunker == pytest.approx(500.0 * 3.0 * 20.0 * 1.25**3)
    assert cost.idle_bunker == 500.0 * 4.0 * 2.0
    assert (cost.canals, cost.port_calls) == (0.0, 2 * (1000.0 + 100.0) + 100.0 + 200.0)
    assert cost.total == pytest.approx(math.fsum([7000.0, cost.bunker, 4000.0, 2500.0]))
    assert [leg.through for leg in direct.legs] == [("suez",), ("suez",)]
    assert (direct.sea_days, direct.cost.canals, direct.vessels_needed) == (pytest.approx(10.0), 14000.0, 2)
    assert fixed_cost(network).total == pytest.approx(cost.total + direct.cost.total)


def test_a_closed_canal_makes_the_round_longer():
    """The other way at the same speed: more days, no fee, more vessels than there are."""
    network = LinerNetwork.parse(SMALL)
    around = voyage(network, "direct", ["suez"])
    assert (around.distance_nm, around.cost.canals, around.vessels_needed) == (9600.0, 0.0, 6)
    assert voyage(network, "butterfly", ["suez"]) == voyage(network, "butterfly")
    np.testing.assert_allclose(call_graph(network, ["suez"]).leg_days[-2:], 20.0)
    assert passages(network) == ("suez",)
    with pytest.raises(NetworkError, match=r"no passage 'sues' of small can be closed \(allowed: suez\).*'suez'"):
        voyage(network, "direct", ["sues"])
    with pytest.raises(NetworkError, match="received the text 'suez'"):
        voyage(network, "direct", "suez")
    with pytest.raises(NetworkError, match=r"no service 'directly' .* did you mean 'direct'"):
        voyage(network, "directly")


def test_a_class_without_a_fee_or_too_deep_goes_around():
    """A canal is open to a class that has a fee for it and is not too deep."""
    no_fee = LinerNetwork.parse(changed(("vessel_classes", "feeder", "canal_fees"), {"panama": 1.0}))
    shallow = LinerNetwork.parse(changed(("distances", 3, "draft_m"), 9.5))
    assert voyage(no_fee, "direct").distance_nm == voyage(shallow, "direct").distance_nm == 9600.0
    only = changed(("distances", 2), None)
    with pytest.raises(NetworkError, match=r"services.direct.calls\[0\]: no way from A to B is open with suez closed"):
        voyage(LinerNetwork.parse(only), "direct", ["suez"])


def test_calls_are_nodes():
    """A hub called twice is two nodes of one port, between which cargo may change; a service never shares a node."""
    graph = call_graph(LinerNetwork.parse(SMALL))
    assert [graph.port_names[port] for port in graph.port] == ["HUB", "A", "HUB", "B", "A", "B"]
    assert graph.leg_head.tolist() == [1, 2, 3, 0, 5, 4]
    pairs = set(zip(graph.transfer_tail.tolist(), graph.transfer_head.tolist(), strict=True))
    assert pairs == {(0, 2), (2, 0), (1, 4), (4, 1), (3, 5), (5, 3)}
    assert graph.node_name(2) == "HUB (butterfly, call 2)"
    assert graph.port_moves.tolist() == [math.inf, math.inf, 150.0]


def test_networks_that_ship():
    """Names, paths and objects lead to a network; anything else is told what there is."""
    network = library.load("baltic")
    assert "baltic" in library.names()
    assert library.resolve("baltic") == library.resolve(network) == network
    with pytest.raises(NetworkError, match="did you mean 'baltic'"):
        library.load("balti")
    with pytest.raises(NetworkError, match="did you mean 'baltic'"):
        library.resolve("balticc")


def test_baltic_is_sailed_as_published():
    """12 ports, six vessels, and each service's distance, weeks and costs, from the benchmark's log."""
    network = library.load("baltic")
    assert (len(network.ports), len(network.demands)) == (12, 22)
    published = {  # nm, weeks, port calls, idle tonnes, bunker tonnes, charter
        "service_0": (4030, 3.0, 177273, 14.4, 228.935, 105000),
        "service_1": (3347, 2.0, 125177, 12.5, 289.21, 112000),
        "service_2": (894, 0.817857, 33106, 4.8, 40.5266, 35000),
    }
    assert set(network.services) == set(published)
    for name, figures in published.items():
        sailed = voyage(network, name)
        price = network.bunker_price_per_t
        found = (
            sailed.distance_nm,
            sailed.weeks,
            sailed.cost.port_calls,
            sailed.cost.idle_bunker / price,
            sailed.cost.bunker / price,
            sailed.cost.charter,
        )
        assert found == pytest.approx(figures, rel=1e-5)
        assert sailed.vessels_needed == network.services[name].vessels
    assert fixed_cost(network).total == pytest.approx(network.known_value("weekly_fixed_cost").value, rel=1e-5)
