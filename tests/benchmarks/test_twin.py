"""The twin's speed bars, as ratios within one run (medians of 5). Run by ``make bench``.

Absolute numbers belong to one machine; what is asserted here compares two measurements of the same run, or states a bar
with its source: a prototype of the 20-site period ran 4 to 7 million environment steps a second with 64 replicas, 8 to
10 million (float32) with 1,024, and 110,000 to 190,000 with one, on one core; the finished kernel must stay within 2
times of that.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from tests.benchmarks.networks import tree, twenty_sites
from twin import kernel
from twin.engine import Twin
from twin.simulation import Simulation

pytestmark = pytest.mark.benchmark


def seconds(run: Callable[[], object], repeat: int = 5) -> float:
    """Median wall time of ``run`` over ``repeat`` runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def kernel_steps(twin: Twin, periods: int) -> Callable[[], None]:
    """One kernel call a period, draws given: the period alone."""
    state, arcs, packed = twin.state, twin.compiled.n_arcs, twin.compiled.topology.pack(twin.dtype)
    draws = twin.tape.block(state, 16)
    ready = [(draws.demand[t], draws.lead_time[t], draws.availability[t]) for t in range(16)]
    orders = np.full((arcs, state.replicas), 5.0, twin.dtype)
    costs = np.zeros((13, state.replicas), twin.dtype)

    def run() -> None:
        for t in range(periods):
            kernel.step(packed, state.store, orders, *ready[t % 16], costs, state.head, state.period)
            state.head += 1

    return run


def rate(twin: Twin, periods: int) -> float:
    """Environment steps a second of the kernel's period."""
    return twin.state.replicas * periods / seconds(kernel_steps(twin, periods))


def test_against_the_event_engine(benchmark):
    """The kernel runs at least 2,000 times the event engine's periods with 1,024 replicas, 100 times with one.

    With one replica the kernel's rate is that of a fused rollout, draws and policy included; one call a period from
    Python is reported beside it.
    """
    network = twenty_sites()
    many, called = rate(Twin(network, replicas=1024), 200), rate(Twin(network), 5_000)
    alone = Twin(network)
    one = 20_000 / seconds(lambda: alone.rollout("base_stock", np.full(30, 60.0), 20_000))
    orders = np.full(30, 5.0)
    simulation = Simulation(network)

    def events() -> None:
        for _ in range(200):
            simulation.step(orders)

    event_rate = 200 / seconds(events)
    benchmark.extra_info.update(
        event_periods_per_second=round(event_rate),
        ratio_1024_replicas=round(many / event_rate),
        ratio_1_replica=round(one / event_rate),
        ratio_1_replica_called_each_period=round(called / event_rate),
    )
    benchmark.pedantic(kernel_steps(Twin(network), 100), rounds=5)
    assert many >= 2_000 * event_rate
    assert one >= 100 * event_rate


def test_against_the_prototype(benchmark):
    """Within 2 times of the prototype's rates: see the module's text."""
    network = twenty_sites()
    rates = {
        "64 replicas": rate(Twin(network, replicas=64), 2_000),
        "1024 replicas, float32": rate(Twin(network, replicas=1024, dtype=np.float32), 300),
        "1 replica": rate(Twin(network), 10_000),
    }
    benchmark.extra_info.update({name: round(value) for name, value in rates.items()})
    benchmark.pedantic(kernel_steps(Twin(network, replicas=64), 100), rounds=5)
    assert rates["64 replicas"] >= 4e6 / 2
    assert rates["1024 replicas, float32"] >= 8e6 / 2
    assert rates["1 replica"] >= 110_000 / 2


def _touched(twin: Twin) -> int:
    """Bytes of state, orders, draws and costs that a period must read or write, per replica.

    Every array once where it is only read or only written, twice where it is both: orders, two slots of each pipeline
    (what is sent, what arrives), units in transit, stock, demand, served, lost, delivered, shipped, costs.
    """
    arcs, stocks, demands = twin.compiled.n_arcs, twin.compiled.n_stocks, twin.compiled.n_demands
    numbers = arcs * (1 + 2 * 2 + 2 + 1) + 2 * stocks + 4 * demands + 11
    return numbers * twin.dtype.itemsize + 8 * demands


def test_against_memory_bandwidth(benchmark):
    """In float32 a period takes at most 1.5 times what the bandwidth measured in this run allows for its bytes."""
    twin = Twin(twenty_sites(), replicas=1024, dtype=np.float32)
    source = np.ones(1 << 25, dtype=np.float32)
    target = np.empty_like(source)
    bandwidth = 2 * source.nbytes / seconds(lambda: np.copyto(target, source))
    taken = seconds(kernel_steps(twin, 300)) / 300
    allowed = 1024 * _touched(twin) / bandwidth
    benchmark.extra_info.update(bandwidth_gb_s=round(bandwidth / 1e9, 1), taken_over_allowed=round(taken / allowed, 2))
    benchmark.pedantic(kernel_steps(twin, 50), rounds=5)
    assert taken <= 1.5 * allowed


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cost_grows_linearly(benchmark, dtype):
    """Time per arc, period and replica at 2,025 stages is within 2 times of that at 100, with 64 replicas."""
    each = {}
    for stages, periods in ((100, 400), (2025, 20)):
        twin = Twin(tree(stages), replicas=64, dtype=dtype)
        each[stages] = seconds(kernel_steps(twin, periods)) / (periods * stages * 64)
    benchmark.extra_info.update({f"ns at {stages} stages": round(1e9 * value, 2) for stages, value in each.items()})
    benchmark.pedantic(kernel_steps(twin, 5), rounds=5)
    assert each[2025] <= 2.0 * each[100]


def test_warm_start(benchmark):
    """From the library, imported, to the first step: under 0.5 s with the kernel's cache on disk."""
    code = (
        "import time; from twin import library; from twin.engine import Twin; started = time.perf_counter(); "
        "twin = Twin(library.load('five_site_distribution'), replicas=64); "
        "twin.step([[1.0] * 64] * twin.compiled.n_arcs); print(time.perf_counter() - started)"
    )

    def start() -> float:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return float(done.stdout)

    start()
    started = time.perf_counter()
    taken = float(np.median([start() for _ in range(5)]))
    whole = (time.perf_counter() - started) / 5
    benchmark.extra_info.update(to_first_step_s=round(taken, 3), whole_process_s=round(whole, 3))
    benchmark.pedantic(start, rounds=1)
    assert taken < 0.5


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_memory(benchmark, dtype):
    """What a twin of many replicas allocates, steps included, is within 1.2 times of its state arrays."""
    twin = Twin(twenty_sites(), dtype=dtype)
    twin.step(np.ones((30, 1)))
    replicas = 20_000
    orders = np.ones((30, replicas), dtype)
    tracemalloc.start()
    twin = Twin(twin.compiled, replicas=replicas, dtype=dtype)
    for _ in range(3):
        twin.step(orders)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stated = replicas * twin.bytes_per_replica
    benchmark.extra_info.update(
        bytes_per_replica=twin.bytes_per_replica, held=round(held / stated, 2), peak=round(peak / stated, 2)
    )
    benchmark.pedantic(lambda: twin.step(orders), rounds=3)
    assert held <= 1.2 * stated
