"""Safety stock placement in trees: published instances, and every promise of small random trees tried.

Instances of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., chapter 6 (data as in the instances of the
package stockpyl), retyped. A stage orders in each period what was demanded of it: receive, demand, order.
"""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest

from agents.oracles.guaranteed_service import ServiceStage, guaranteed_service
from twin.errors import ConfigError


def test_example_6_5():
    """Four stages, 2 sqrt(2) + sqrt(6) + 3 = 8.2779, service times 0, 0, 0, 1."""
    plan = guaranteed_service(
        {
            "1": ServiceStage(1, 2, inbound_service_time=1),
            "2": ServiceStage(3, 1, promise=0, demand_sd=1),
            "3": ServiceStage(2, 1),
            "4": ServiceStage(3, 1, promise=1, demand_sd=1),
        },
        [("1", "3"), ("3", "2"), ("3", "4")],
        safety_factor=1.0,
    )
    assert plan.cost == pytest.approx(2 * sqrt(2) + sqrt(6) + 3, rel=1e-12)
    assert [plan.stages[name].service_time for name in "1234"] == [0, 0, 0, 1]
    assert [plan.stages[name].net_replenishment_time for name in "1234"] == [3, 1, 1, 0]


#: Digital camera of Figure 6.14 (Graves & Willems 2000, Figure 3): holding cost, processing time.
CAMERA = {
    "raw_material": (0.01, 2),
    "process_wafers": (0.03, 3),
    "package_test_wafers": (0.04, 2),
    "imager_base": (0.06, 4),
    "imager_assembly": (0.12, 2),
    "ship_to_final_assembly": (0.13, 3),
    "camera": (0.20, 6),
    "circuit_board": (0.08, 4),
    "other_parts": (0.04, 3),
}
CAMERA_LINKS = [
    ("raw_material", "process_wafers"),
    ("process_wafers", "package_test_wafers"),
    ("package_test_wafers", "imager_assembly"),
    ("imager_base", "imager_assembly"),
    ("imager_assembly", "ship_to_final_assembly"),
    ("ship_to_final_assembly", "build_test_pack"),
    ("camera", "build_test_pack"),
    ("circuit_board", "build_test_pack"),
    ("other_parts", "build_test_pack"),
]


@pytest.mark.parametrize(
    ("promise", "cost"),
    [(2, 18.8240044725922), (5, 12.4686888061037), (8, 3.25788236403285), (12, 0.232617430735335)],
)
def test_digital_camera(promise, cost):
    """Figure 6.14, and the same tree with longer promises to the customers (values from the tests of stockpyl)."""
    stages = {name: ServiceStage(*data) for name, data in CAMERA.items()}
    stages["build_test_pack"] = ServiceStage(0.50, 2, promise=promise, demand_sd=10)
    plan = guaranteed_service(stages, CAMERA_LINKS, safety_factor=1.6448536269514722)
    assert plan.cost == pytest.approx(cost, rel=1e-10)
    assert plan.stages["build_test_pack"].service_time == promise


def test_problem_6_7():
    """Three stages in series: all stock at the last, 160 sqrt(5) = 357.7709."""
    plan = guaranteed_service(
        {
            "forming": ServiceStage(2, 1, inbound_service_time=1),
            "firing": ServiceStage(3, 1),
            "glazing": ServiceStage(4, 2, promise=0, demand_sd=10),
        },
        [("forming", "firing"), ("firing", "glazing")],
        safety_factor=4.0,
    )
    assert plan.cost == pytest.approx(160 * sqrt(5), rel=1e-12)
    assert [stage.service_time for stage in plan.stages.values()] == [2, 3, 0]


def test_problem_6_9():
    """Six stages, two of them with customers; costs 44, 28, 18, 1, 4 and 1.5 a year. 15.6495 a day."""
    plan = guaranteed_service(
        {
            "1": ServiceStage(44 / 365, 7, promise=3, demand_sd=4.1),
            "2": ServiceStage(28 / 365, 7, promise=3, demand_sd=6.2),
            "3": ServiceStage(18 / 365, 21),
            "4": ServiceStage(1 / 365, 3),
            "5": ServiceStage(4 / 365, 8),
            "6": ServiceStage(1.5 / 365, 2),
        },
        [("3", "1"), ("3", "2"), ("4", "3"), ("5", "3"), ("6", "5")],
        safety_factor=4.0,
    )
    assert plan.cost == pytest.approx(15.649530249501, rel=1e-12)
    assert [stage.service_time for stage in plan.stages.values()] == [3, 3, 0, 0, 0, 2]


def best_by_trying(stages, links, factor):
    """Cheapest of all service times, each stage's inbound time being what it must wait for."""
    names = list(stages)
    longest = sum(stage.processing_time for stage in stages.values()) + 2
    ups = {name: [a for a, b in links if b == name] for name in names}
    downs = {name: {name} for name in names}
    for _ in names:
        for up, down in links:
            downs[up] |= downs[down]
    sd = {name: sqrt(sum(stages[down].demand_sd ** 2 for down in downs[name])) for name in names}
    best = np.inf
    for times in itertools.product(range(longest + 1), repeat=len(names)):
        service, cost = dict(zip(names, times, strict=True)), 0.0
        for name, stage in stages.items():
            waits = [stage.inbound_service_time, *(service[up] for up in ups[name])]
            net = max(waits) + stage.processing_time - service[name]
            if net < 0 or (stage.promise is not None and service[name] > stage.promise):
                break
            cost += stage.holding_cost * factor * sd[name] * sqrt(net)
        else:
            best = min(best, cost)
    return best


@pytest.mark.parametrize("seed", range(30))
def test_no_other_promises_are_cheaper(seed):
    """On random trees of four stages, links either way, the dynamic program finds what trying everything finds."""
    random = np.random.default_rng(seed)
    names, links = ["a", "b", "c", "d"], []
    for index in range(1, 4):
        pair = (names[int(random.integers(index))], names[index])
        links.append(pair if random.random() < 0.5 else pair[::-1])
    ends = set(names) - {up for up, _ in links}
    stages = {
        name: ServiceStage(
            float(random.uniform(0.5, 5.0)),
            int(random.integers(0, 3)),
            inbound_service_time=int(random.integers(0, 3)),
            promise=int(random.integers(0, 3)) if name in ends or random.random() < 0.5 else None,
            demand_sd=float(random.uniform(0.5, 2.0)),
        )
        for name in names
    }
    plan = guaranteed_service(stages, links, safety_factor=2.0)
    assert plan.cost == pytest.approx(best_by_trying(stages, links, 2.0), rel=1e-12)


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([("a", "b"), ("b", "c"), ("a", "c")], "do not form one tree"),
        ([("a", "b")], "do not form one tree"),
        ([("a", "b"), ("b", "cc")], "names no stage 'cc'; did you mean 'c'"),
        ([("b", "a"), ("b", "c")], "stage 'a' supplies no other and needs a promise"),
    ],
)
def test_what_is_no_tree_is_refused(links, message):
    stages = {"a": ServiceStage(1, 1), "b": ServiceStage(1, 1), "c": ServiceStage(1, 1, promise=0, demand_sd=1)}
    with pytest.raises(ConfigError, match=message):
        guaranteed_service(stages, links, safety_factor=1.0)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="processing_time must be a whole number"):
        ServiceStage(1.0, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="holding_cost must be a number of at least 0"):
        ServiceStage(-1.0, 1)
