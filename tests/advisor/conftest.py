"""A bundle for all tests of the advisor, and advisors with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.bundle import Bundle
from envs.inventory import InventoryTask
from tests.advisor.helpers import Rig
from tests.agents.test_bundle import write


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(tmp_path_factory.mktemp("advisor") / "bundle", InventoryTask("five_site_distribution"))


@pytest.fixture(scope="session")
def example(bundle: Bundle) -> dict[str, Any]:
    return dict(json.loads((bundle.path / "example_state.json").read_text()))


@pytest.fixture
def make(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Make an advisor; the guard file's entries and the mode can be given."""
    made: list[Rig] = []

    def build(**changes: Any) -> Rig:
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        made.append(Rig(bundle, example, folder, **changes))
        return made[-1]

    yield build
    for rig in made:
        rig.advisor.close()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Any]]:
    """Open a service over an advisor; its settings can be given."""
    pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
    from tests.advisor.desk import Desk

    opened: list[Desk] = []

    def build(rig: Rig, **settings: Any) -> Desk:
        opened.append(Desk(rig, **settings))
        return opened[-1]

    yield build
    for desk in opened:
        desk.client.close()


@pytest.fixture
def desk(rig: Rig, open_desk: Callable[..., Any]) -> Any:
    return open_desk(rig)
