"""Rules of orders, stock, demand and gates in a network file: each wrong value is named, with what is allowed."""

from __future__ import annotations

import copy

import pytest

from twin.errors import NetworkError
from twin.network import Network

POISSON = {"distribution": "poisson", "mean": 4}
BASE = {
    "name": "small",
    "products": {
        "item": {"unit": "case"},
        "part": {},
        "milk": {"shelf_life": 3},
        "box": {"integer": True},
    },
    "suppliers": {"maker": {"offers": {"item": {"price": 1}, "part": {}, "milk": {}, "box": {}}}},
    "resources": {
        "line": {"capacity": 5, "availability": {"failure": 0.1, "recovery": 0.5}},
        "quay": {"capacity": 9},
    },
    "sites": {
        "hub": {"stock": {"item": {}, "part": {}, "milk": {}, "box": {}}},
        "store": {"stock": {"item": {}}},
    },
    "lanes": [
        {"from": "maker", "to": "hub", "product": "item", "modes": {"truck": {"lead_time": 1, "uses": {"quay": 1}}}},
        {"from": "maker", "to": "hub", "product": "part", "modes": {"truck": {"lead_time": 1}}},
        {"from": "hub", "to": "store", "product": "item", "modes": {"truck": {"lead_time": 0, "uses": {"line": 1}}}},
        {"from": "maker", "to": "hub", "product": "milk", "modes": {"truck": {"lead_time": 1}}},
        {"from": "maker", "to": "hub", "product": "box", "modes": {"truck": {"lead_time": 1}}},
    ],
    "recipes": {"assemble": {"site": "hub", "product": "item", "inputs": {"part": 2}, "lead_time": 1}},
    "demands": {
        "shop": {"site": "store", "product": "item", "distribution": POISSON},
        "bar": {"site": "hub", "product": "milk", "distribution": {"distribution": "gamma", "mean": 4, "sd": 2}},
        "kiosk": {"site": "hub", "product": "box", "distribution": POISSON},
        "even": {"site": "hub", "product": "item", "distribution": 4},
    },
}


def changed(changes):
    """BASE with entries replaced, each named by its path."""
    data = copy.deepcopy(BASE)
    for path, value in changes:
        *parents, last = path
        entry = data
        for key in parents:
            entry = entry[key] if isinstance(entry, list) else entry.setdefault(key, {})
        entry[last] = value
    return data


def problems(data):
    """The lines of the NetworkError that the data raise."""
    with pytest.raises(NetworkError) as caught:
        Network.parse(data, where="file.yaml")
    first, *lines = str(caught.value).splitlines()
    assert first == "file.yaml is not a valid network:"
    return lines


TRUCK, CLOSED, LATE = (("lanes", k, "modes", "truck") for k in (0, 2, 3))
BOX = ("lanes", 4, "modes", "truck")
SHOP, KIOSK, EVEN = (("demands", name) for name in ("shop", "kiosk", "even"))
RECORDED = {"distribution": "recorded", "values": [3, 1, 2]}
AT = "lanes[0].modes.truck"

#: path, value, what the line must say: place, value, what is allowed.
VALUES = [
    # orders and shipments
    ((*TRUCK, "crossing"), "no", [f"{AT}.crossing", "'no'", "boolean"]),
    ((*TRUCK, "order_delay"), "2", [f"{AT}.order_delay", "'2'", "integer"]),
    ((*TRUCK, "order_delay"), -1, [f"{AT}.order_delay", "-1", "greater than or equal to 0"]),
    ((*TRUCK, "order_delay"), 1.5, [f"{AT}.order_delay", "1.5", "integer"]),
    ((*TRUCK, "order_delay"), 1001, [f"{AT}.order_delay", "1001", "less than or equal to 1000"]),
    ((*TRUCK, "minimum_order"), -2, [f"{AT}.minimum_order", "-2", "greater than or equal to 0"]),
    ((*TRUCK, "minimum_order"), float("nan"), [f"{AT}.minimum_order", "nan", "finite"]),
    ((*TRUCK, "lot_size"), 0, [f"{AT}.lot_size", "received 0", "greater than 0"]),
    ((*TRUCK, "lot_size"), "4", [f"{AT}.lot_size", "'4'", "number"]),
    ((*TRUCK, "maximum_order"), -1, [f"{AT}.maximum_order", "-1", "greater than or equal to 0"]),
    ((*TRUCK, "maximum_order"), float("inf"), [f"{AT}.maximum_order", "inf", "finite"]),
    ((*TRUCK, "backorder_cost"), -1, [f"{AT}.backorder_cost", "-1", "greater than or equal to 0"]),
    ((*TRUCK, "when_down"), "wait", [f"{AT}.when_down", "'wait'", "did you mean 'waits'", "refused"]),
    ((*TRUCK, "lotsize"), 4, [AT, "'lotsize'", "did you mean 'lot_size'", "maximum_order"]),
    (("recipes", "assemble", "yield_share"), 0, ["recipes.assemble.yield_share", "received 0", "greater than 0"]),
    (("recipes", "assemble", "yield_share"), 1.2, ["recipes.assemble.yield_share", "1.2", "less than or equal to 1"]),
    ((*TRUCK, "yield_share"), 0.9, [AT, "unknown key 'yield_share'", "allowed"]),
    # products and stock
    (("products", "milk", "shelf_life"), 0, ["products.milk.shelf_life", "received 0", "greater than or equal to 1"]),
    (("products", "milk", "shelf_life"), True, ["products.milk.shelf_life", "True", "integer"]),
    (("products", "box", "integer"), "yes", ["products.box.integer", "'yes'", "boolean"]),
    (("products", "milk", "shelf_life"), 2.5, ["products.milk.shelf_life", "2.5", "integer"]),
    (("products", "milk", "issue"), "fifo", ["products.milk.issue", "'fifo'", "'first_expired'", "'last_expired'"]),
    (("products", "milk", "issue"), "last_expire", ["products.milk.issue", "did you mean 'last_expired'"]),
    (("sites", "hub", "stock", "milk", "waste_cost"), -1, ["sites.hub.stock.milk.waste_cost", "-1"]),
    (("sites", "hub", "stock", "milk", "terminal_value"), -1, ["sites.hub.stock.milk.terminal_value", "-1"]),
    # resources and gates
    (("resources", "line", "capacity"), -1, ["resources.line.capacity", "-1", "greater than or equal to 0"]),
    (("resources", "line", "availability", "share_when_down"), 1.0, ["share_when_down", "1.0", "less than 1"]),
    (
        ("sites", "hub", "docks"),
        {"berths": 0, "handling_time": 1},
        ["sites.hub.docks.berths", "received 0", "greater than or equal to 1"],
    ),
    (("sites", "hub", "docks"), {"berths": 2}, ["sites.hub.docks.handling_time", "required"]),
    (
        ("sites", "hub", "working_hours"),
        {"cycle": 7, "open": [[3, 5], [4, 6]]},
        ["sites.hub.working_hours.open", "overlap", "[3, 5]"],
    ),
    (
        ("sites", "hub", "working_hours"),
        {"cycle": 7, "open": [[5, 5]]},
        ["sites.hub.working_hours.open", "end after they begin"],
    ),
    (("sites", "hub", "working_hours"), {"cycle": 7, "open": []}, ["sites.hub.working_hours.open", "at least 1"]),
    (
        ("sites", "hub", "working_hours"),
        {"cycle": 0, "open": [[0, 1]]},
        ["sites.hub.working_hours.cycle", "greater than 0"],
    ),
    # demand in time
    ((*SHOP, "trend"), {"per_period": -1.0}, ["demands.shop.trend.per_period", "-1.0", "greater than -1"]),
    ((*SHOP, "trend"), {"per_period": 0.1, "kind": "exponential"}, ["demands.shop.trend.kind", "'compound'"]),
    ((*SHOP, "trend"), {"per_period": 0.1, "periods": 0}, ["demands.shop.trend.periods", "received 0", "equal to 1"]),
    ((*SHOP, "trend"), {"kind": "linear"}, ["demands.shop.trend.per_period", "required and missing"]),
    ((*SHOP, "shocks"), [{"start": -1, "periods": 2, "factor": 2}], ["demands.shop.shocks[0].start", "-1"]),
    ((*SHOP, "shocks"), [{"start": 1, "periods": 0, "factor": 2}], ["demands.shop.shocks[0].periods", "received 0"]),
    ((*SHOP, "shocks"), [{"start": 1, "periods": 2, "factor": -2}], ["demands.shop.shocks[0].factor", "-2"]),
    ((*SHOP, "shocks"), [{"start": 1, "factor": 2}], ["demands.shop.shocks[0].periods", "required and missing"]),
    (
        (*SHOP, "random_shock"),
        {"probability": 1.1, "duration": 2, "factor": 2},
        ["demands.shop.random_shock.probability", "1.1", "less than or equal to 1"],
    ),
    (
        (*SHOP, "random_shock"),
        {"probability": 0.1, "duration": {"distribution": "poison", "mean": 2}, "factor": 2},
        ["demands.shop.random_shock.duration", "'poison'", "did you mean 'poisson'"],
    ),
    (
        (*SHOP, "random_shock"),
        {"probability": 0.1, "duration": RECORDED, "factor": 2},
        ["demands.shop.random_shock", "duration", "recorded", "any other"],
    ),
    (
        (*SHOP, "random_shock"),
        {"probability": 0.1, "duration": 2, "factor": RECORDED},
        ["demands.shop.random_shock", "factor", "recorded", "any other"],
    ),
    (
        (*SHOP, "random_shock"),
        {"probability": 0.1, "duration": 2, "duration_unit": "days", "factor": 2},
        ["demands.shop.random_shock.duration_unit", "'days'", "did you mean 'day'"],
    ),
    ((*SHOP, "autocorrelation"), 0.99, ["demands.shop.autocorrelation", "0.99", "less than 0.99"]),
    ((*SHOP, "autocorrelation"), -1, ["demands.shop.autocorrelation", "-1", "greater than -0.99"]),
    ((*SHOP, "goodwill"), {"rate": 1.5}, ["demands.shop.goodwill.rate", "1.5", "less than or equal to 1"]),
    ((*SHOP, "goodwill"), {"rate": 0.5, "floor": -0.1}, ["demands.shop.goodwill.floor", "-0.1"]),
    ((*SHOP, "goodwill"), {"floor": 0.1}, ["demands.shop.goodwill.rate", "required and missing"]),
    ((*SHOP, "forecast"), {"values": []}, ["demands.shop.forecast.values", "at least 1"]),
    ((*SHOP, "forecast"), {"values": [1, -1]}, ["demands.shop.forecast.values[1]", "-1"]),
    ((*SHOP, "distribution"), {"distribution": "recorded", "values": []}, ["demands.shop.distribution", "at least 1"]),
    (
        (*SHOP, "distribution"),
        {"distribution": "recorded", "values": [2, -1]},
        ["demands.shop.distribution.values[1]", "-1", "greater than or equal to 0"],
    ),
    ((*SHOP, "distribution"), {"distribution": "record", "values": [2]}, ["'record'", "did you mean 'recorded'"]),
    (("correlations",), [{"streams": ["shop"], "value": 0.5}], ["correlations[0].streams", "at least 2"]),
    (("correlations",), [{"streams": ["shop", "shop"], "value": 0.5}], ["correlations[0].streams", "twice", "'shop'"]),
    (("correlations",), [{"streams": ["shop", "bar"], "value": 1}], ["correlations[0].value", "less than 1"]),
    (("correlations",), [{"streams": ["shop", "bar"]}], ["correlations[0].value", "required and missing"]),
]


@pytest.mark.parametrize(("path", "value", "parts"), VALUES)
def test_a_wrong_value_is_named_with_what_is_allowed(path, value, parts):
    """One line says the key path, the value received and what is allowed."""
    (line,) = problems(changed([(path, value)]))
    for part in parts:
        assert part in line


#: Changes that are each well typed and impossible together, and what the one line must say.
RULES = [
    ([((*BOX, "lot_size"), 2.5)], ["lanes[4].modes.truck.lot_size", "'box'", "whole units", "2.5"]),
    ([((*BOX, "maximum_order"), 0.5)], ["lanes[4].modes.truck.maximum_order", "0.5", "at least 1"]),
    ([((*TRUCK, "minimum_order"), 5), ((*TRUCK, "maximum_order"), 4)], [f"{AT}.maximum_order", "4", "at least 5"]),
    ([((*TRUCK, "lot_size"), 5), ((*TRUCK, "maximum_order"), 4)], [f"{AT}.maximum_order", "4", "at least 5"]),
    (
        [((*TRUCK, "lot_size"), 5), ((*TRUCK, "minimum_order"), 7), ((*TRUCK, "maximum_order"), 8)],
        [f"{AT}.maximum_order", "8", "at least 10"],
    ),
    ([((*BOX, "initial_flow"), 1.5)], ["lanes[4].modes.truck.initial_flow", "1.5", "whole units"]),
    ([((*LATE, "when_down"), "waits")], ["lanes[3].modes.truck.when_down", "availability"]),
    ([((*TRUCK, "when_down"), "refused")], [f"{AT}.when_down", "availability"]),
    ([((*TRUCK, "backorder_cost"), 2)], [f"{AT}.backorder_cost", "received 2", "backordered", "waits"]),
    (
        [((*CLOSED, "backorder_cost"), 2), ((*CLOSED, "when_down"), "refused")],
        ["lanes[2].modes.truck.backorder_cost", "received 2"],
    ),
    (
        [((*LATE, "lead_time"), RECORDED), (("suppliers", "maker", "delay"), {"probability": 0.1, "time": 2})],
        ["lanes[3].modes.truck.lead_time", "recorded", "'maker' has a delay"],
    ),
    (
        [(("suppliers", "maker", "delay"), {"probability": 0.1, "time": RECORDED})],
        ["suppliers.maker.delay.time", "recorded", "any other"],
    ),
    ([((*KIOSK, "distribution"), {"distribution": "recorded", "values": [1, 2.5]})], ["demands.kiosk", "'recorded'"]),
    ([(("products", "item", "issue"), "last_expired")], ["products.item.issue", "'last_expired'", "shelf_life"]),
    (
        [(("sites", "store", "stock", "item", "waste_cost"), 2)],
        ["sites.store.stock.item.waste_cost", "received 2", "shelf_life"],
    ),
    ([(("resources", "quay"), {})], ["resources.quay", "limits nothing"]),
    (
        [(("resources", "quay"), {"cost_per_unit": 1, "calendar": [1, 0]})],
        ["resources.quay.calendar", "allowed: with a capacity"],
    ),
    (
        [(("resources", "quay"), {"capacity": 1, "overhead_when_down": 3})],
        ["resources.quay.overhead_when_down", "received 3", "share_when_down is 0"],
    ),
    (
        [(("resources", "line"), {"availability": {"failure": 0.1, "recovery": 0.5, "share_when_down": 0.5}})],
        ["resources.line.availability.share_when_down", "allowed: 0, or a capacity"],
    ),
    (
        [(("sites", "hub", "working_hours"), {"cycle": 5, "open": [[0, 2], [3, 6]]})],
        ["sites.hub.working_hours.open", "6", "at most 5"],
    ),
    (
        [(("sites", "hub", "docks"), {"berths": 1, "handling_time": RECORDED})],
        ["sites.hub.docks.handling_time", "recorded", "any other"],
    ),
    ([((*EVEN, "autocorrelation"), 0.5)], ["demands.even.autocorrelation", "'fixed'", "allowed: 0"]),
    (
        [((*SHOP, "distribution"), RECORDED), ((*SHOP, "autocorrelation"), 0.5)],
        ["demands.shop.autocorrelation", "'recorded'", "allowed: 0"],
    ),
    (
        [((*SHOP, "distribution"), RECORDED), ((*SHOP, "forecast"), {"values": [2, 2]})],
        ["demands.shop.forecast.values", "2 values for a series of 3", "allowed: 3"],
    ),
    (
        [(("correlations",), [{"streams": ["shop", "baar"], "value": 0.5}])],
        ["correlations[0].streams", "'baar'", "did you mean 'bar'", "allowed: bar, even, kiosk, shop"],
    ),
    (
        [(("correlations",), [{"streams": ["shop", "even"], "value": 0.5}])],
        ["correlations[0].streams", "'even'", "'fixed'"],
    ),
    (
        [(("correlations",), [{"streams": ["shop", "bar"], "value": 0.5}, {"streams": ["bar", "shop"], "value": 0.4}])],
        ["correlations[1].streams", "'bar' and 'shop'", "correlations[0]"],
    ),
    (
        [(("correlations",), [{"streams": ["shop", "bar", "kiosk"], "value": -0.6}])],
        ["correlations", "positive definite", "-0.2", "nearer to 0"],
    ),
    (
        [((*CLOSED, "lead_time"), {"distribution": "recorded", "values": [3, 0]}), (("lanes", 5), None)],
        ["hub/item -> store/item", "cycle of zero lead time"],
    ),
]


@pytest.mark.parametrize(("changes", "parts"), RULES)
def test_a_broken_rule_is_named_with_what_is_allowed(changes, parts):
    """What the types cannot see is refused in one line as well."""
    back = {"from": "store", "to": "hub", "product": "item", "modes": {"van": {"lead_time": 0}}}
    data = changed([change for change in changes if change[1] is not None])
    data["lanes"] += [back for change in changes if change[1] is None]
    (line,) = problems(data)
    for part in parts:
        assert part in line


ALLOWED = [
    [],
    [((*TRUCK, "order_delay"), 3), ((*TRUCK, "crossing"), False)],
    [((*TRUCK, "minimum_order"), 5), ((*TRUCK, "lot_size"), 5), ((*TRUCK, "maximum_order"), 5)],
    [((*TRUCK, "lot_size"), 5), ((*TRUCK, "minimum_order"), 7), ((*TRUCK, "maximum_order"), 14)],
    [((*BOX, "minimum_order"), 2.5)],
    [((*CLOSED, "when_down"), "waits"), ((*CLOSED, "backorder_cost"), 2)],
    [((*TRUCK, "unfilled"), "backordered"), ((*TRUCK, "backorder_cost"), 2)],
    [(("resources", "line"), {"availability": {"failure": 0.1, "recovery": 0.5}})],
    [(("resources", "quay"), {"cost_per_unit": 2})],
    [(("recipes", "assemble", "yield_share"), 1)],
    [(("products", "milk", "issue"), "first_in"), (("sites", "hub", "stock", "milk", "waste_cost"), 2)],
    [((*LATE, "lead_time"), RECORDED)],
    [((*KIOSK, "distribution"), RECORDED), ((*KIOSK, "forecast"), {"values": [2.5, 1, 0]})],
    [((*SHOP, "distribution"), RECORDED), ((*SHOP, "seasonality"), {"factors": [1, 0]})],
    [(("correlations",), [{"streams": ["shop", "bar", "kiosk"], "value": -0.4}])],
    [(("correlations",), [{"streams": ["shop", "bar"], "value": 0.9}, {"streams": ["bar", "kiosk"], "value": 0.4}])],
    [((*SHOP, "trend"), {"per_period": -0.99}), ((*SHOP, "goodwill"), {"rate": 0})],
    [((*SHOP, "shocks"), [{"start": 0, "periods": 1, "factor": 0}])],
    [(("sites", "hub", "working_hours"), {"cycle": 7, "open": [[0, 2], [2.5, 7]], "unit": "day"})],
    [(("sites", "hub", "docks"), {"berths": 1, "handling_time": 2, "handling_time_unit": "hour"})],
]


@pytest.mark.parametrize("changes", ALLOWED)
def test_what_is_allowed_is_accepted_and_written_back(changes):
    """The values on the right side of every rule parse, and a file of them reads back equal."""
    network = Network.parse(changed(changes))
    assert Network.parse(network.to_dict()) == network
