"""Speed of doing several things at once, outside the default run: a sweep by two processes beside one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import benchmark as suites
from experiments.benchmark_config import BenchmarkConfig
from experiments.config import parse

pytestmark = pytest.mark.benchmark

RUNS = 32
#: Some seconds of training each.
SUITE: dict[str, Any] = {
    "name": "speed",
    "evaluation": "simulated",
    "overrides": ["env=lost_sales", "evaluation=smoke", "tuning=smoke"],
    "cells": [{"network": "lost_sales_zipkin2008"}],
    "entries": [
        {
            "agent": "ppo",
            "seeds": list(range(RUNS)),
            "overrides": ["training=smoke", "training.steps=40960", "training.replicas=32"],
        }
    ],
}


def seconds(folder: Path, jobs: int) -> tuple[float, float]:
    """Of a sweep of all runs: by the clock, and of processors, this process and its children together."""
    started, before = time.perf_counter(), sum(os.times()[:4])
    result = suites.benchmark(parse(BenchmarkConfig, {"suite": SUITE, "output": str(folder), "jobs": jobs}))
    assert (len(result.done), result.failed) == (RUNS, {})
    return time.perf_counter() - started, sum(os.times()[:4]) - before


def test_two_workers_take_at_most_0_6_of_the_time_of_one(tmp_path: Path, benchmark: Any) -> None:
    """32 short runs, one after another and two at once, on a machine that has nothing else to do.

    Processor time tells on a busy one what more the two do: their own start.
    """
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    one, work_of_one = seconds(tmp_path / "one", 1)
    two, work_of_two = benchmark.pedantic(seconds, (tmp_path / "two", 2), rounds=1, iterations=1)
    found = {
        "share of the serial time": round(two / one, 3),
        "share of its processor time": round(work_of_two / work_of_one, 3),
        "one by one, s": round(one, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    benchmark.extra_info |= found
    assert two <= 0.6 * one, found
