"""Keys of disruptions in a network file: each wrong value is named, with its place and what is allowed."""

from __future__ import annotations

import copy

import pytest

from twin.errors import NetworkError
from twin.network import Network

BASE = {
    "name": "small",
    "products": {"item": {}},
    "suppliers": {"maker": {"offers": {"item": {}}, "uses": {"line": 1}}},
    "resources": {
        "line": {"capacity": 5, "causes": ["tier"], "availability": {"failure": 0.1, "recovery": 0.5}},
        "gate": {"availability": {"failure": 0.1, "recovery": 0.5}},
    },
    "causes": {
        "tier": {"availability": {"failure": 0.1, "duration": {"distribution": "poisson", "mean": 3}}},
    },
    "sites": {"hub": {"stock": {"item": {}}}},
    "lanes": [
        {"from": "maker", "to": "hub", "product": "item", "modes": {"truck": {"lead_time": 1, "uses": {"gate": 1}}}}
    ],
    "demands": {"shop": {"site": "hub", "product": "item", "distribution": 4}},
}
LINE = ("resources", "line", "availability")
TIER = ("causes", "tier", "availability")
RECORDED = {"distribution": "recorded", "values": [1, 2]}


def changed(*changes):
    """BASE with entries replaced (None: removed), each named by its path."""
    data = copy.deepcopy(BASE)
    for path, value in changes:
        *parents, last = path
        entry = data
        for key in parents:
            entry = entry[key] if isinstance(entry, list) else entry.setdefault(key, {})
        if value is None:
            del entry[last]
        else:
            entry[last] = value
    return data


def problems(data):
    """The message of the NetworkError that the data raise."""
    with pytest.raises(NetworkError) as raised:
        Network.parse(data)
    return str(raised.value)


WRONG = [
    ([((*LINE, "recovry"), 0.5)], ["resources.line.availability", "'recovry'", "did you mean 'recovery'"]),
    ([((*LINE, "recovery"), None)], ["resources.line.availability: needs recovery or duration"]),
    ([((*LINE, "recovery"), 0.0)], ["resources.line.availability.recovery", "greater than 0", "0.0"]),
    ([((*LINE, "failure"), 1.5)], ["resources.line.availability.failure", "1.5", "less than or equal to 1"]),
    ([((*LINE, "duration"), 3)], ["resources.line.availability: has recovery and duration", "allowed: either"]),
    ([((*LINE, "duration_unit"), "day")], ["resources.line.availability: duration_unit", "'day'"]),
    ([((*TIER, "duration_unit"), "dya")], ["causes.tier.availability.duration_unit", "'dya'", "did you mean 'day'"]),
    ([((*TIER, "duration"), RECORDED)], ["causes.tier.availability: duration", "recorded", "allowed: any other law"]),
    (
        [((*TIER, "duration"), {"distribution": "poison"})],
        ["causes.tier.availability.duration", "did you mean 'poisson'"],
    ),
    ([((*TIER, "duration"), 9000)], ["causes.tier.availability.duration: about 9000 weeks", "at most 5000"]),
    ([((*TIER, "duration"), -1)], ["causes.tier.availability.duration.value", "-1"]),
    ([((*LINE, "ramp"), 1.5)], ["resources.line.availability.ramp", "1.5", "integer"]),
    ([((*LINE, "ramp"), -1)], ["resources.line.availability.ramp", "-1"]),
    ([((*LINE, "share_when_down"), 1.0)], ["resources.line.availability.share_when_down", "less than 1"]),
    ([((*LINE, "warning"), {"ahead": 0})], ["resources.line.availability.warning.ahead", "greater than or equal to 1"]),
    ([((*LINE, "warning"), {"recall": 0.5})], ["resources.line.availability.warning.ahead", "required"]),
    (
        [((*LINE, "warning"), {"ahead": 1, "recal": 1})],
        ["resources.line.availability.warning", "did you mean 'recall'"],
    ),
    (
        [((*LINE, "failure"), 0), ((*LINE, "warning"), {"ahead": 2})],
        ["resources.line.availability: warning: there is never a failure to announce"],
    ),
    ([((*LINE, "windows"), [{"start": 3}])], ["resources.line.availability.windows[0].duration", "required"]),
    (
        [((*LINE, "windows"), [{"start": RECORDED, "duration": 2}])],
        ["resources.line.availability.windows[0]: start", "recorded"],
    ),
    (
        [((*LINE, "windows"), [{"start": 3, "duration": 2, "unit": "weak"}])],
        ["resources.line.availability.windows[0].unit", "did you mean 'week'"],
    ),
    (
        [((*LINE, "windows"), [{"start": 3, "duration": 2}, {"start": 200, "duration": 2, "unit": "year"}])],
        ["resources.line.availability.windows[1].start: about 1.044e+04 weeks", "is the unit right?"],
    ),
    ([(("resources", "line", "causes"), ["teir"])], ["resources.line.causes[0]", "'teir'", "did you mean 'tier'"]),
    ([(("resources", "line", "causes"), ["tier", "tier"])], ["resources.line.causes[1]: 'tier' is named before"]),
    ([(("causes", "flood"), BASE["causes"]["tier"])], ["causes.flood: no resource depends on it"]),
    ([(("causes", "tier"), {})], ["causes.tier.availability", "required"]),
    ([(("resources", "gate", "availability", "ramp"), 3)], ["resources.gate.availability.ramp", "a share of no limit"]),
    (
        [(("resources", "gate", "causes"), ["tier"]), ((*TIER, "share_when_down"), 0.5)],
        ["causes.tier.availability.share_when_down", "resource 'gate' has none", "allowed: 0, or a capacity"],
    ),
    (
        [(("resources", "gate", "causes"), ["tier"]), ((*TIER, "ramp"), 2)],
        ["causes.tier.availability.ramp", "resource 'gate' has none"],
    ),
    (
        [
            ((*LINE, "share_when_down"), 0.5),
            ((*TIER, "share_when_down"), 0.5),
            (("lanes", 0, "modes", "truck"), {"lead_time": 1, "when_down": "waits"}),
        ],
        ["lanes[0].modes.truck.when_down: no resource that it uses is ever down"],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG)
def test_what_is_wrong_is_named(changes, expected):
    """Each mistake is refused, and the message has the key path, the value and what is allowed."""
    text = problems(changed(*changes))
    for part in expected:
        assert part in text


RIGHT = [
    [],
    [(LINE, None)],
    # A cause alone is enough for a resource without a capacity, and for orders that wait.
    [
        (("resources", "gate"), {"causes": ["tier"]}),
        (("lanes", 0, "modes", "truck"), {"lead_time": 1, "uses": {"gate": 1}, "when_down": "waits"}),
    ],
    # Nothing but a window: it never fails by itself.
    [(LINE, {"windows": [{"start": 2, "duration": {"distribution": "gamma", "mean": 10, "sd": 4}, "unit": "day"}]})],
    [((*LINE, "warning"), {"ahead": 3, "recall": 0.5, "false_alarm": 0.1}), ((*LINE, "ramp"), 4)],
]


@pytest.mark.parametrize("changes", RIGHT)
def test_what_is_right_is_read_and_written_back(changes, tmp_path):
    """A file that is written reads back to an equal network, in YAML and in JSON."""
    network = Network.parse(changed(*changes))
    assert Network.parse(network.to_dict()) == network
    for name in ("network.yaml", "network.json"):
        network.save(tmp_path / name)
        assert Network.load(tmp_path / name) == network
