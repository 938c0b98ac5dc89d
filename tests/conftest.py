"""What several test files share."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.published.linerlib import NETWORKS
from twin.ingest.linerlib import read_linerlib
from twin.ingest.linerlib_log import read_log
from twin.liner.network import LinerNetwork

#: Data sets and published numbers that live beside the repository and are not shipped with it.
SHARED = Path(__file__).resolve().parents[1].parent / "shared"

# A shell ignores SIGINT in what it starts in the background, and so would all that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder, which is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def published(shared: Path) -> dict[str, dict[str, Any]]:
    """Published benchmark problems with their values: id -> instance."""
    path = shared / "benchmarks" / "published.json"
    if not path.is_file():
        pytest.skip(f"needs the published benchmark values, which are not at {path}")
    return {entry["id"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))["instances"]}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch: small networks only make more of them wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def linerlib(shared: Path) -> Callable[[str], tuple[LinerNetwork, dict[str, float]]]:
    """Name of a published liner network -> the network and the totals of its log; each read once."""
    folder = shared / "data" / "linerlib"
    if not folder.is_dir():
        pytest.skip(f"needs the data of the LINERLIB benchmark, which are not at {folder}")

    @cache
    def _read(name: str) -> tuple[LinerNetwork, dict[str, float]]:
        entry = NETWORKS[name]
        log = folder / "results" / f"{entry.log}.log"
        return read_linerlib(folder / "data", entry.instance, log), read_log(log).totals

    return _read
