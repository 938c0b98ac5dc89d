"""What is believed of outages: enumeration of all that may happen says the same, and the twin's paths do on average."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.baselines.reading import TwinReading
from twin import library
from twin.beliefs import OutagePosterior, outages_unfit
from twin.compile import CompiledNetwork, compile_network
from twin.engine import Twin
from twin.network import Network

FloatArray = NDArray[np.float64]
#: Of one process: (share of capacity, warning) in periods 0, 1, 2, ...
Sequence = tuple[tuple[float, int], ...]

CHAINS: dict[str, dict[str, Any]] = {
    "geometric": {"failure": 0.2, "recovery": 0.4},
    "partial": {"failure": 0.3, "recovery": 0.5, "share_when_down": 0.25},
    "drawn": {
        "failure": 0.3,
        "duration": {"distribution": "empirical", "values": [1, 4], "probabilities": [0.6, 0.4]},
    },
    "of no length": {
        "failure": 0.3,
        "duration": {"distribution": "empirical", "values": [0, 2], "probabilities": [0.5, 0.5]},
    },
    "ramp": {"failure": 0.2, "recovery": 0.6, "ramp": 3, "share_when_down": 0.1},
    "warned": {"failure": 0.25, "recovery": 0.5, "warning": {"ahead": 2, "recall": 0.7, "false_alarm": 0.2}},
    "warned just before": {"failure": 0.25, "duration": 2, "warning": {"ahead": 1, "recall": 0.6, "false_alarm": 0.1}},
    "all of it": {
        "failure": 0.3,
        "duration": {"distribution": "empirical", "values": [1, 3], "probabilities": [0.5, 0.5]},
        "ramp": 2,
        "share_when_down": 0.2,
        "warning": {"ahead": 3, "recall": 0.8, "false_alarm": 0.3},
    },
}
WINDOWS: dict[str, dict[str, Any]] = {
    "fixed": {"windows": [{"start": 2, "duration": 2}], "ramp": 2},
    "two fixed": {
        "windows": [{"start": 0, "duration": 2}, {"start": 4, "duration": 1}],
        "ramp": 3,
        "warning": {"ahead": 2, "recall": 0.8, "false_alarm": 0.2},
    },
    "drawn": {
        "windows": [
            {
                "start": {"distribution": "uniform_integer", "low": 0, "high": 5},
                "duration": {"distribution": "empirical", "values": [1, 3], "probabilities": [0.7, 0.3]},
            }
        ],
        "ramp": 2,
        "share_when_down": 0.3,
        "warning": {"ahead": 2, "recall": 0.8, "false_alarm": 0.2},
    },
}


def network(resources: dict[str, Any], causes: dict[str, Any] | None = None) -> CompiledNetwork:
    """One supplier a resource."""
    return compile_network(
        Network.parse(
            {
                "name": "outages",
                "products": {"item": {}},
                "suppliers": {name: {"offers": {"item": {"price": 1}}, "uses": {name: 1}} for name in resources},
                "sites": {"store": {"stock": {"item": {"initial": 10}}}},
                "lanes": [
                    {"from": name, "to": "store", "product": "item", "modes": {"van": {"lead_time": 1}}}
                    for name in resources
                ],
                "resources": {name: {"capacity": 100, **entry} for name, entry in resources.items()},
                "causes": {name: {"availability": entry} for name, entry in (causes or {}).items()},
                "demands": {"market": {"site": "store", "product": "item", "distribution": 5}},
            }
        )
    )


# -- everything that may happen, from docs/model.md alone -------------------------------------------------------------


def lengths(law: Any) -> list[tuple[int, float]]:
    if isinstance(law, int):
        return [(law, 1.0)]
    if law["distribution"] == "uniform_integer":
        values = range(law["low"], law["high"] + 1)
        return [(value, 1.0 / len(values)) for value in values]
    return list(zip(law["values"], law["probabilities"], strict=True))


def histories(entry: dict[str, Any], periods: int) -> dict[Sequence, float]:
    """All that one process may show in that many periods, and how likely it is."""
    found: dict[Sequence, float] = defaultdict(float)
    laws = [(lengths(w["start"]), lengths(w["duration"])) for w in entry.get("windows", ())]
    for drawn in itertools.product(*(itertools.product(*law) for law in laws)):
        windows = [(start, max(1, length)) for (start, _), (length, _) in drawn]
        chance = float(np.prod([p * q for (_, p), (_, q) in drawn]))
        for shown, probability in played(entry, windows, periods):
            found[shown] += chance * probability
    return found


def played(entry: dict[str, Any], windows: list[tuple[int, int]], periods: int) -> Iterator[tuple[Sequence, float]]:
    ramp, low, warning = entry.get("ramp", 0), entry.get("share_when_down", 0.0), entry.get("warning", {})
    ahead = warning.get("ahead", 0)

    def scripted(t: int) -> int:
        return max([0, *(start + length - t for start, length in windows if start <= t)])

    def show(t: int, up: bool, elapsed: int, announced: bool) -> list[tuple[tuple[float, int], float]]:
        share = (1.0 if elapsed + 1 >= ramp else low + (1.0 - low) * (elapsed + 1) / ramp) if up else low
        due = announced or any(start - ahead == t for start, _ in windows)
        chance = (warning["recall"] if due else warning["false_alarm"]) if warning and up else 0.0
        return [((share, sign), p) for sign, p in ((0, 1.0 - chance), (1, chance)) if p > 0.0]

    def moved(up: bool, left: int) -> list[tuple[bool, int, bool, float]]:
        """(up, remaining, announced, probability) a period later, but for windows."""
        struck = [(False, 0, False, 1.0)]
        if "duration" in entry:
            struck = [(False, max(1, length), False, p) for length, p in lengths(entry["duration"])]
        if not up:
            if left > 0:
                return [(left == 1, left - 1, False, 1.0)]
            recovery = entry.get("recovery", 1.0)
            return [(True, 0, False, recovery), (False, 0, False, 1.0 - recovery)]
        if left > 1:
            return [(True, left - 1, False, 1.0)]
        if left == 1:
            return struck
        failure = entry.get("failure", 0.0)
        fails = [(True, ahead, True, 1.0)] if ahead else struck
        return [(True, 0, False, 1.0 - failure), *((u, m, a, failure * p) for u, m, a, p in fails)]

    def go(t: int, up: bool, elapsed: int, left: int, announced: bool, p: float) -> Iterator[tuple[Sequence, float]]:
        for now, q in show(t, up, elapsed, announced):
            if t == periods - 1:
                yield (now,), p * q
                continue
            for u, m, due, r in moved(up, left):
                rest = scripted(t + 1)
                if rest > 0:
                    u, m, due = False, (rest if u else max(m, rest)), due
                if p * q * r > 0.0:
                    for later, s in go(t + 1, u, elapsed + 1 if u == up else 0, m, due, p * q * r):
                        yield (now, *later), s

    begun = scripted(0)
    yield from go(0, begun == 0, ramp if begun == 0 else 0, begun, False, 1.0)


def enumerated(
    resources: dict[str, list[str]], entries: dict[str, dict[str, Any]], periods: int
) -> dict[tuple[tuple[tuple[float, int], ...], ...], float]:
    """All that the resources may show: per period (share, warning) of each; ``resources`` lists their processes."""
    found: dict[Any, float] = defaultdict(float)
    each = [list(histories(entry, periods).items()) for entry in entries.values()]
    place = {name: k for k, name in enumerate(entries)}
    for combination in itertools.product(*each):
        chance = float(np.prod([p for _, p in combination]))
        shown = tuple(
            tuple(
                (
                    float(np.prod([combination[place[n]][0][t][0] for n in names])),
                    max(combination[place[n]][0][t][1] for n in names),
                )
                for names in resources.values()
            )
            for t in range(periods)
        )
        found[shown] += chance
    return found


def compared(compiled: CompiledNetwork, truth: dict[Any, float], periods: int, ahead: int) -> tuple[FloatArray, ...]:
    """What is expected by belief and by enumeration, (cases, T, R), and how likely each history is."""
    posterior = OutagePosterior(compiled)
    every = [[r] for r in range(len(compiled.network.resources))]
    found, exact, chance = [], [], []
    for seen in range(1, periods - ahead + 1):
        sums: dict[Any, Any] = defaultdict(lambda: [0.0, np.zeros((ahead, len(every)))])
        for shown, p in truth.items():
            entry = sums[shown[:seen]]
            entry[0] += p
            entry[1] += p * np.array([[share for share, _ in now] for now in shown[seen : seen + ahead]])
        prefixes = list(sums)
        look = np.array(prefixes)  # (cases, seen, R, 2)
        belief = posterior.begin(np.zeros((len(every), len(prefixes))))
        for t in range(seen):
            available, warning = look[:, t, :, 0].T.copy(), look[:, t, :, 1].T.copy()
            belief = posterior.seen(belief if t == 0 else posterior.after(belief), available, warning, 0.0 * available)
        found.append(posterior.expected(belief, ahead, every).transpose(2, 0, 1))
        exact.append(np.array([sums[prefix][1] / sums[prefix][0] for prefix in prefixes]))
        chance.append(np.array([sums[prefix][0] for prefix in prefixes]))
    return np.concatenate(found), np.concatenate(exact), np.concatenate(chance)


@pytest.mark.parametrize("name", CHAINS)
def test_random_failures_are_foreseen_as_enumeration_says(name: str) -> None:
    """After every history of 4 periods or less, the share expected in each of the next 3 is Bayes' to 10 digits."""
    entry = CHAINS[name]
    found, exact, chance = compared(
        network({"line": {"availability": entry}}), enumerated({"line": ["line"]}, {"line": entry}, 7), 7, 3
    )
    np.testing.assert_allclose(chance.sum(), 4.0)
    np.testing.assert_allclose(found, exact, atol=1e-10)
    assert np.ptp(exact) > 0.1


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_foreseen_as_enumeration_says(name: str) -> None:
    """The same for scripted windows, of which the calendar tells."""
    entry = WINDOWS[name]
    found, exact, _ = compared(
        network({"line": {"availability": entry}}), enumerated({"line": ["line"]}, {"line": entry}, 8), 8, 3
    )
    np.testing.assert_allclose(found, exact, atol=1e-10)
    assert np.ptp(exact) > 0.1


def test_failures_beside_windows_are_nearly_foreseen() -> None:
    """That they cannot strike during a window is known afterwards, not foreseen: 0.005 of the share on average."""
    entry = {**CHAINS["warned"], **WINDOWS["drawn"], "failure": 0.02}
    found, exact, chance = compared(
        network({"line": {"availability": entry}}), enumerated({"line": ["line"]}, {"line": entry}, 6), 6, 2
    )
    error = np.abs(found - exact).max(axis=(1, 2))
    assert chance @ error / chance.sum() < 0.005
    assert np.ptp(exact) > 0.3


def test_what_a_cause_does_is_read_off_all_that_depend_on_it() -> None:
    """Two resources, each with failures of its own, and a cause that is warned of: Bayes' to 10 digits."""
    parts = {"line": CHAINS["geometric"], "mill": CHAINS["drawn"], "cause:tier": CHAINS["warned"]}
    compiled = network(
        {name: {"availability": parts[name], "causes": ["tier"]} for name in ("line", "mill")},
        {"tier": parts["cause:tier"]},
    )
    truth = enumerated({name: [name, "cause:tier"] for name in ("line", "mill")}, parts, 5)
    found, exact, _ = compared(compiled, truth, 5, 2)
    assert len(found) > 100
    np.testing.assert_allclose(found, exact, atol=1e-10)


@pytest.mark.parametrize(("share", "mean", "largest"), [(0.0, 0.01, 0.05), (0.5, 1e-12, 1e-10)])
def test_one_outage_may_have_two_reasons(share: float, mean: float, largest: float) -> None:
    """What cannot be told apart is weighed at once exactly, and over time nearly; with other shares it can be."""
    parts = {"line": CHAINS["geometric"], "cause:tier": {**CHAINS["drawn"], "share_when_down": share}}
    compiled = network({"line": {"availability": parts["line"], "causes": ["tier"]}}, {"tier": parts["cause:tier"]})
    found, exact, chance = compared(compiled, enumerated({"line": list(parts)}, parts, 7), 7, 3)
    error = np.abs(found - exact).max(axis=(1, 2))
    assert chance @ error / chance.sum() < mean
    assert error.max() < largest


@pytest.mark.parametrize("known", ["prolonged_shortage", "shared_subtier"])
def test_beliefs_are_right_on_average(known: str) -> None:
    """On the twin's paths what is expected and what comes agree, where a belief says little and where much."""
    compiled, replicas, ahead = compile_network(library.load(known)), 3000, 6
    twin, posterior = Twin(compiled, replicas=replicas, seed=11), OutagePosterior(compiled)
    listed = len(compiled.network.resources)
    failing = [r for r in range(listed) if posterior.behind[r]]
    belief, told, came = None, [], []
    for _ in range(60):
        reading = TwinReading(twin)
        seen = reading.availability[:listed], reading.warning[:listed], reading.since[:listed]
        belief = posterior.seen(posterior.begin(seen[2]) if belief is None else posterior.after(belief), *seen)
        told.append(posterior.expected(belief, ahead, [[r] for r in failing])[-1])
        twin.step(np.zeros((compiled.n_arcs, replicas)))
        came.append(twin.state.arrays.availability[failing].copy())
    # Expected in period t for t + 6, and what came: row t + 5 is the state after period t + 5.
    expected, actual = np.array(told[: 60 - ahead]), np.array(came)[ahead - 1 : 59]
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 0.96), (0.96, 1.01)):
        inside = (expected >= low) & (expected < high)
        # Replicas are independent, the periods of one are not.
        gap = np.where(inside, actual - expected, 0.0).sum(axis=(0, 1))
        assert inside.any(axis=(0, 1)).sum() > 40, (low, high)
        assert abs(gap.mean()) < 4 * gap.std(ddof=1) / np.sqrt(replicas), (low, high)


def test_a_belief_of_another_episode_is_dropped() -> None:
    """What it takes for impossible is seen: it begins anew, with an outage that has lasted as long as it is seen to."""
    compiled = network({"line": {"availability": {"failure": 0.1, "duration": 5, "ramp": 2}}})
    posterior = OutagePosterior(compiled)
    belief = posterior.begin(np.zeros((1, 2)))
    up, down = np.ones((1, 2)), np.array([[1.0, 0.0]])
    belief = posterior.after(posterior.seen(belief, up, 0 * up, 0 * up))
    for since in (0.0, 3.0):
        again = posterior.seen(posterior.begin(0 * up), down, 0 * up, np.full((1, 2), since))
        assert again.shape == belief.shape
    # An outage of 5 periods that has lasted for 3 is out now and next period, and then works in half.
    lost = posterior.seen(belief, np.array([[1.0, 0.5]]), 0 * up, 0 * up)
    np.testing.assert_allclose(lost.sum(axis=0), 1.0)
    late = posterior.seen(posterior.begin(np.full((1, 2), 3.0)), down, 0 * up, np.full((1, 2), 3.0))
    ahead = posterior.expected(late, 3, [[0]])[:, 0, 1]
    np.testing.assert_allclose(ahead[:2], [0.0, 0.5])


def test_networks_without_a_belief_are_told() -> None:
    assert outages_unfit(compile_network(library.load("dual_sourcing"))) == "nothing ever fails"
    law = {"distribution": "uniform_integer", "low": 0, "high": 9}
    entry = {"windows": [{"start": law, "duration": 2}] * 9, "ramp": 9}
    reason = outages_unfit(network({"line": {"availability": entry}}))
    assert reason is not None
    assert "'line' has windows of" in reason
    fixed = {"windows": [{"start": t, "duration": 2} for t in range(0, 90, 10)], "ramp": 9}
    assert outages_unfit(network({"line": {"availability": fixed}})) is None
