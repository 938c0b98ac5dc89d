"""Networks: what is wrong is named with its place, value, what is allowed and the nearest match; files are safe."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.strategies import networks
from twin import library
from twin.compile import compile_network
from twin.errors import CogTwinError, DataError, NetworkError
from twin.network import PHASE_ORDERS, Network

BASE = {
    "name": "small",
    "products": {"item": {"unit": "case"}, "part": {}},
    "suppliers": {"maker": {"offers": {"item": {"price": 1}, "part": {}}}},
    "resources": {"line": {"capacity": 5}},
    "sites": {"hub": {"stock": {"item": {}, "part": {}}}, "store": {"stock": {"item": {}}}},
    "lanes": [
        {"from": "maker", "to": "hub", "product": "item", "modes": {"truck": {"lead_time": 1}}},
        {"from": "maker", "to": "hub", "product": "part", "modes": {"truck": {"lead_time": 1}}},
        {"from": "hub", "to": "store", "product": "item", "modes": {"truck": {"lead_time": 0}}},
    ],
    "recipes": {"assemble": {"site": "hub", "product": "item", "inputs": {"part": 2}, "lead_time": 1}},
    "demands": {"shop": {"site": "store", "product": "item", "distribution": {"distribution": "poisson", "mean": 4}}},
}


def changed(path, value):
    """BASE with one entry replaced (or removed, for the value None)."""
    data = copy.deepcopy(BASE)
    *parents, last = path
    entry = data
    for key in parents:
        entry = entry[key] if isinstance(key, int) else entry.setdefault(key, {})
    if value is None:
        del entry[last]
    elif isinstance(entry, list) and last == len(entry):
        entry.append(value)
    else:
        entry[last] = value
    return data


def problems(data):
    """The message of the NetworkError that the data raise."""
    with pytest.raises(NetworkError) as caught:
        Network.parse(data, where="file.yaml")
    text = str(caught.value)
    assert text.startswith("file.yaml is not a valid network:\n  - ")
    return text


def test_the_base_network_is_valid():
    """The network that the tests below break is itself accepted, so each refusal is due to the one change."""
    assert Network.parse(BASE).stock_points() == [("hub", "item"), ("hub", "part"), ("store", "item")]


TRUCK = ("lanes", 0, "modes", "truck")
LAW = ("demands", "shop", "distribution")
LANE = {"from": "maker", "to": "hub", "product": "item", "modes": {"truck": {"lead_time": 1}}}
WRONG = [
    # unknown keys, missing keys, wrong tags
    (("lane",), [], ["(top level)", "'lane'", "did you mean 'lanes'", "allowed: causes"]),
    ((*TRUCK, "leadtime"), 2, ["lanes[0].modes.truck", "'leadtime'", "did you mean 'lead_time'", "freight_cost"]),
    (("sites", "hub", "stock", "item", "holding"), 2, ["sites.hub.stock.item", "'holding_cost'", "'holding'"]),
    ((*TRUCK, "lead_time"), None, ["lanes[0].modes.truck.lead_time: this key is required and missing"]),
    (LAW, {"distribution": "poison", "mean": 4}, ["demands.shop.distribution", "'poison'", "did you mean 'poisson'"]),
    (LAW, {"distribution": "poisson", "men": 4}, ["demands.shop.distribution", "'men'", "did you mean 'mean'"]),
    (LAW, {"mean": 4}, ["demands.shop.distribution", "poisson", "gamma"]),
    (("sites", "hub", "kind"), "warehose", ["sites.hub.kind", "'warehose'", "did you mean 'warehouse'", "port"]),
    (("sites", "hub", "rationing"), "prio", ["sites.hub.rationing", "'prio'", "did you mean 'priority'"]),
    (("lanes", 0, "destination"), "hub", ["lanes[0]", "'destination'", "did you mean 'to'"]),
    # values
    ((*TRUCK, "capacity"), -1, ["lanes[0].modes.truck.capacity", "-1", "greater than or equal to 0"]),
    ((*TRUCK, "capacity"), "lots", ["lanes[0].modes.truck.capacity", "'lots'", "number"]),
    ((*TRUCK, "capacity"), True, ["lanes[0].modes.truck.capacity", "True", "number"]),
    ((*TRUCK, "capacity"), float("nan"), ["lanes[0].modes.truck.capacity", "nan", "finite"]),
    ((*TRUCK, "lead_time"), float("inf"), ["lanes[0].modes.truck.lead_time", "inf", "finite"]),
    ((*LAW, "mean"), float("-inf"), ["demands.shop.distribution.mean", "-inf"]),
    ((*TRUCK, "lead_time"), -2, ["lanes[0].modes.truck.lead_time", "-2"]),
    ((*TRUCK, "unfilled"), "backorder", ["lanes[0].modes.truck.unfilled", "did you mean 'backordered'", "cancelled"]),
    ((*TRUCK, "lead_time_unit"), "days", ["lanes[0].modes.truck.lead_time_unit", "'days'", "did you mean 'day'"]),
    ((*TRUCK, "uses"), {"line": 0}, ["lanes[0].modes.truck.uses.line", "greater than 0"]),
    (("recipes", "assemble", "inputs"), {}, ["recipes.assemble.inputs", "at least 1"]),
    (("name",), "two words", ["name", "'two words'", "pattern"]),
    (("resources", "line", "capacity"), -0.5, ["resources.line.capacity", "-0.5"]),
    (
        ("resources", "line", "availability"),
        {"failure": 0.1, "recovery": 0},
        ["resources.line.availability.recovery", "greater than 0"],
    ),
    (
        ("suppliers", "maker", "delay"),
        {"probability": 1.5, "time": 2},
        ["suppliers.maker.delay.probability", "1.5", "less than or equal to 1"],
    ),
    (("phases",), ["receive", "order", "demnd"], ["phases[2]", "'demnd'", "did you mean 'demand'"]),
    (
        ("phases",),
        ["demand", "order", "receive"],
        ["phases:", "'demand', 'order', 'receive'", "order, receive, demand"],
    ),
    # references
    (("lanes", 0, "from"), "makr", ["lanes[0].from", "'makr'", "did you mean 'maker'", "allowed: hub, maker, store"]),
    (("lanes", 0, "to"), "hbu", ["lanes[0].to", "'hbu'", "did you mean 'hub'"]),
    (("lanes", 0, "product"), "itm", ["lanes[0].product", "'itm'", "did you mean 'item'"]),
    (("lanes", 2, "product"), "part", ["lanes[2].product", "stock at 'store'", "'part'", "allowed: item"]),
    (("suppliers", "maker", "offers", "prt"), {}, ["suppliers.maker.offers", "'prt'", "did you mean 'part'"]),
    (("suppliers", "maker", "uses"), {"lin": 1}, ["suppliers.maker.uses", "'lin'", "did you mean 'line'"]),
    ((*TRUCK, "uses"), {"quay": 1}, ["lanes[0].modes.truck.uses", "no resource called 'quay'", "allowed: line"]),
    (("sites", "store", "stock", "itme"), {}, ["sites.store.stock", "'itme'", "did you mean 'item'"]),
    (("recipes", "assemble", "site"), "hubb", ["recipes.assemble.site", "'hubb'", "did you mean 'hub'"]),
    (("recipes", "assemble", "site"), "store", ["recipes.assemble", "stock at 'store' called 'part'"]),
    (("recipes", "assemble", "inputs"), {"item": 1}, ["recipes.assemble.inputs", "'item'", "input of itself"]),
    (("recipes", "assemble", "uses"), {"lime": 1}, ["recipes.assemble.uses", "'lime'", "did you mean 'line'"]),
    (("demands", "shop", "site"), "stor", ["demands.shop.site", "'stor'", "did you mean 'store'"]),
    (("demands", "shop", "product"), "part", ["demands.shop.product", "'part'", "allowed: item"]),
    (("suppliers", "hub"), {"offers": {"item": {}}}, ["suppliers.hub", "also a site"]),
    (("lanes", 2, "from"), "store", ["lanes[2]", "both ends are 'store'"]),
    # units, duplicates, flow
    (("demands", "shop", "unit"), "cases", ["demands.shop.unit", "'cases'", "allowed: case"]),
    (
        ("demands", "shop", "seasonality"),
        {"factors": [1, 0]},
        ["demands.shop.seasonality.factors", "received 0", "above 0"],
    ),
    (("lanes", 3), LANE, ["lanes[3].modes.truck", "the same", "lanes[0]"]),
    (("lanes", 2), None, ["sites.store.stock.item", "no lane or recipe"]),
    (("lanes", 1), None, ["sites.hub.stock.part", "no lane or recipe"]),
    (
        ("lanes", 3),
        {"from": "store", "to": "hub", "product": "item", "modes": {"van": {"lead_time": 0}}},
        ["hub/item -> store/item", "cycle of zero lead time", "1 period or more"],
    ),
    (
        ("lanes", 3),
        {
            "from": "store",
            "to": "hub",
            "product": "item",
            "modes": {"van": {"lead_time": {"distribution": "poisson", "mean": 2}}},
        },
        ["cycle of zero lead time"],
    ),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG)
def test_what_is_wrong_is_named(path, value, expected):
    """Each mistake is refused, and the message has the key path, the value, what is allowed, the nearest match."""
    text = problems(changed(path, value))
    for part in expected:
        assert part in text


@pytest.mark.parametrize("name", ["time", "size", "lead_time", "distribution"])
def test_a_product_may_be_named_like_a_key(name):
    """The key path of a mistake is whole when a user's own name equals the name of a key."""
    assert f"products.{name}.unit" in problems(changed(("products", name), {"unit": ""}))


FRACTIONS = [
    (LAW, {"distribution": "gamma", "mean": 4, "sd": 1}, "demands.shop"),
    (LAW, {"distribution": "empirical", "values": [1, 2.5], "probabilities": [0.95, 0.05]}, "demands.shop"),
    (
        LAW,
        {"distribution": "intermittent", "probability": 0.05, "size": {"distribution": "gamma", "mean": 3, "sd": 1}},
        "demands.shop",
    ),
    (
        ("demands", "shop"),
        BASE["demands"]["shop"]
        | {"distribution": {"distribution": "uniform_integer", "low": 1, "high": 3}, "seasonality": {"factors": [0.5]}},
        "demands.shop",
    ),
    (("demands", "shop"), BASE["demands"]["shop"] | {"distribution": 3, "seasonality": {"factors": [0.5]}}, "shop"),
    (("sites", "hub", "stock", "item", "initial"), 2.5, "sites.hub.stock.item.initial"),
    ((*TRUCK, "initial_flow"), 2.5, "lanes[0].modes.truck.initial_flow"),
]


@pytest.mark.parametrize(("path", "value", "place"), FRACTIONS)
def test_whole_units_stay_whole(path, value, place):
    """A product in whole units refuses demand, initial stock and initial flow that would bring fractions."""
    data = changed(path, value)
    data["products"]["item"]["integer"] = True
    assert place in problems(data)


def test_all_problems_are_listed_at_once():
    """One message has every mistake of its kind, a line each."""
    data = changed(("demands", "shop", "site"), "stor")
    data["lanes"][0]["to"] = "hbu"
    data["demands"]["shop"]["unit"] = "cases"
    assert problems(data).count("\n  - ") >= 3


@pytest.mark.parametrize("order", list(itertools.permutations(["receive", "order", "demand"])))
def test_three_of_six_phase_orders_are_allowed(order):
    """Exactly the three orders of the literature are accepted."""
    data = changed(("phases",), list(order))
    if order in PHASE_ORDERS:
        assert Network.parse(data).phases == order
    else:
        problems(data)


def test_a_cycle_with_one_period_in_it_is_allowed():
    """Lateral lanes both ways are fine as soon as one of them takes a period."""
    back = {"from": "store", "to": "hub", "product": "item", "modes": {"van": {"lead_time": 1}}}
    assert len(Network.parse(changed(("lanes", 3), back)).lanes) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", "'name' is given twice"),
        ("sites:\n  hub: {}\n  hub: {}\n", "'hub' is given twice"),
        ("lanes: [\n", "not readable as YAML"),
        ("- a\n- b\n", "must hold a mapping at the top level, not list"),
        ("", "must hold a mapping at the top level, not NoneType"),
        ("just text", "not str"),
        ("name: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
        ("name: \x07\n", "not readable as YAML"),
        ("? [a, b]\n: 1\n", "not readable as YAML"),
        ('{"name": "a", "name": "b"}', "'name' is given twice"),
    ],
)
def test_what_is_not_a_network_file_is_refused(tmp_path, text, expected):
    """Duplicate keys, broken YAML, other top levels, foreign tags: refused with the file's name and the reason."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(NetworkError, match=r"bad\.yaml") as caught:
        Network.load(path)
    assert expected in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    """A missing file, a folder and bytes that are no text raise a NetworkError that names the path."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "none.yaml", tmp_path, binary):
        with pytest.raises(NetworkError, match=path.name):
            Network.load(path)
    assert issubclass(NetworkError, CogTwinError)


def test_a_byte_order_mark_is_read_over(tmp_path):
    """A file written by a Windows editor loads as well."""
    path = tmp_path / "net.yaml"
    path.write_text(yaml.safe_dump(BASE), encoding="utf-8-sig")
    assert Network.load(path) == Network.parse(BASE)


@pytest.mark.parametrize("name", library.names())
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_library_networks_survive_the_round_trip(tmp_path, name, suffix):
    """to_dict/parse and save/load give back an equal network with the same content hash."""
    network = library.load(name)
    assert Network.parse(network.to_dict()) == network
    path = tmp_path / f"net.{suffix}"
    network.save(path)
    again = Network.load(path)
    assert again == network
    assert compile_network(again).content_hash() == compile_network(network).content_hash()
    assert "distribution" in str(network.to_dict())


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))
@given(network=networks())
def test_random_networks_survive_the_round_trip(tmp_path_factory, network):
    """to_dict/parse and save/load give back an equal network, whatever it is made of."""
    path = tmp_path_factory.mktemp("net") / "net.yaml"
    full = network.model_dump()
    assert Network.parse(json.loads(json.dumps(network.to_dict()))).model_dump() == full
    for suffix in (".yaml", ".json"):
        network.save(path.with_suffix(suffix))
        again = Network.load(path.with_suffix(suffix))
        assert again.model_dump() == full
        assert compile_network(again).content_hash() == compile_network(network).content_hash()


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(
    "extra",
    [
        {"description": "Häfen → Läden, 港 and \U0001f6a2"},
        {"description": "yes", "source": "1e-5", "licence": "null"},
        {"provenance": {"tolerance": 1e-05, "rows": 3, "share": 0.25, "note": "2024-01-01"}},
        {"provenance": {"distribution": "poisson", "mean": 3}},
    ],
    ids=["unicode", "words like values", "small numbers", "words like tags"],
)
def test_awkward_contents_survive_the_round_trip(tmp_path, suffix, extra):
    """Any text and any number written to a file is read back as itself."""
    network = Network.parse(BASE | extra)
    network.save(tmp_path / f"net.{suffix}")
    assert Network.load(tmp_path / f"net.{suffix}") == network


@pytest.mark.parametrize("broken", ["os.replace", "os.fsync"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, broken):
    """When writing fails half way, the old file is whole, and nothing is left beside it."""
    path = tmp_path / "net.yaml"
    Network.parse(BASE).save(path)
    before = path.read_bytes()

    def fail(*_args):
        raise OSError("disk full")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match="disk full"):
        Network.parse(BASE | {"description": "new"}).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.yaml"]


def test_saving_into_a_missing_folder_is_refused(tmp_path):
    """The error names the folder."""
    with pytest.raises(DataError, match="nowhere"):
        Network.parse(BASE).save(tmp_path / "nowhere" / "net.yaml")


def test_graph_has_every_place_and_every_arc():
    """Suppliers and sites are nodes; every mode and every recipe is an edge with its mean lead time in periods."""
    data = changed((*TRUCK, "lead_time_unit"), "day") | {"period": "week"}
    data["lanes"][0]["modes"]["truck"]["lead_time"] = {"distribution": "gamma", "mean": 14, "sd": 2}
    data["lanes"][0]["modes"]["air"] = {"lead_time": 1}
    graph = Network.parse(data).graph()
    assert dict(graph.nodes(data="kind")) == {"maker": "supplier", "hub": "warehouse", "store": "warehouse"}
    edges = {
        (a, b, entry["product"], entry["mode"]): entry["mean_lead_time_periods"] for a, b, entry in graph.edges.data()
    }
    assert edges == {
        ("maker", "hub", "item", "truck"): pytest.approx(2.0),
        ("maker", "hub", "item", "air"): 1.0,
        ("maker", "hub", "part", "truck"): 1.0,
        ("hub", "store", "item", "truck"): 0.0,
        ("hub", "hub", "item", "recipe"): 1.0,
    }


def test_networks_are_frozen():
    """A network cannot be changed after it was checked."""
    with pytest.raises(ValueError, match="frozen"):
        Network.parse(BASE).name = "other"


def test_content_hash_follows_the_content():
    """Two ways to write one network share the hash; another number has another hash."""
    same = changed((*TRUCK, "lead_time"), {"distribution": "fixed", "value": 1.0})
    other = changed((*TRUCK, "lead_time"), 2)
    hashes = [compile_network(Network.parse(data)).content_hash() for data in (BASE, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


# -- the library ---------------------------------------------------------------------------------------------------


def test_library_lists_and_loads_its_networks():
    """Every name loads with its defaults, and names are sorted."""
    names = library.names()
    assert names == sorted(names)
    assert {"lost_sales_zipkin2008", "dual_sourcing", "serial_chain", "five_site_distribution"} <= set(names)
    for name in names:
        assert library.load(name).source, f"{name} must say where its figures come from"


@pytest.mark.parametrize("name", library.names())
def test_every_member_of_a_family_loads_and_differs(name):
    """All combinations of a family's parameters load, default values are allowed, and no two are the same network."""
    parameters = library.parameters(name)
    assert all(entry["default"] in entry["allowed"] for entry in parameters.values())
    members = [
        library.load(name, **dict(zip(parameters, values, strict=True)))
        for values in itertools.product(*(entry["allowed"] for entry in parameters.values()))
    ]
    assert len({compile_network(member).content_hash() for member in members}) == len(members)


def test_the_32_zipkin_networks_carry_their_optimum(published):
    """Each of the 32 problems has the published optimal cost to its two decimals and the printed base-stock cost."""
    parameters = library.parameters("lost_sales_zipkin2008")
    combinations = list(itertools.product(*(parameters[key]["allowed"] for key in ("demand", "penalty", "lead_time"))))
    assert len(combinations) == 32
    for demand, penalty, lead_time in combinations:
        network = library.load("lost_sales_zipkin2008", demand=demand, penalty=penalty, lead_time=lead_time)
        entry = published[f"zipkin2008_{demand}5_p{penalty}_L{lead_time}"]
        optimum, base_stock = network.known_value("optimal_cost"), network.known_value("best_base_stock_cost")
        assert optimum.value == entry["recomputed"]["optimal"]
        assert optimum.value == pytest.approx(entry["published"]["optimal"], abs=0.0051)
        assert base_stock.value == entry["published"]["best_base_stock"]
        assert optimum.value < base_stock.value
        assert network.lanes[0].modes["truck"].lead_time.value == lead_time
        assert network.demands["customers"].penalty == penalty
        assert network.demands["customers"].distribution.distribution == demand


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: library.load("serial_chan"), ["'serial_chan'", "did you mean 'serial_chain'", "dual_sourcing"]),
        (lambda: library.parameters("serial_chan"), ["'serial_chan'", "did you mean 'serial_chain'"]),
        (lambda: library.resolve("serial_chan"), ["'serial_chan'", "did you mean 'serial_chain'"]),
        (lambda: library.load("serial_chain", penalt=4), ["'penalt'", "did you mean 'penalty'", "store_lead_time"]),
        (lambda: library.load("serial_chain", penalty=5), ["penalty = 5", "allowed: 4, 9, 19, 39"]),
        (lambda: library.load("lost_sales_zipkin2008", demand="poison"), ["'poison'", "did you mean 'poisson'"]),
        (lambda: library.load("lost_sales_zipkin2008", lead_time=True), ["lead_time = True", "allowed: 1, 2, 3, 4"]),
        (lambda: library.load("five_site_distribution", x=1), ["'x'", "this network has none"]),
        (lambda: library.resolve(Network.parse(BASE), x=1), ["not to a Network object"]),
        (lambda: library.resolve("some.yaml", x=1), ["not to the file"]),
    ],
)
def test_wrong_names_parameters_and_values_of_the_library(call, expected):
    """A wrong network, parameter or value is refused with what is allowed and the nearest match."""
    with pytest.raises(NetworkError) as caught:
        call()
    for part in expected:
        assert part in str(caught.value)


def test_resolve_takes_a_network_a_name_and_a_file(tmp_path):
    """A Network object, a library name with parameters and a file all lead to the network they mean."""
    network = library.load("serial_chain", penalty=19)
    network.save(tmp_path / "net.yaml")
    assert library.resolve(network) is network
    assert library.resolve("serial_chain", penalty=19) == network
    assert library.resolve(tmp_path / "net.yaml") == network
