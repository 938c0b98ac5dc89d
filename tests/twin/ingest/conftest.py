"""What the tests of the importers share: the real data where they are there, and the example tables to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from twin.ingest.__main__ import main
from twin.ingest.csvfile import read_csv
from twin.ingest.template import write_template


@pytest.fixture(scope="session")
def willems_files(shared):
    """The two tables of all chains, as paths and as read."""
    folder = shared / "data" / "willems2008"
    paths = folder / "stages.csv", folder / "links.csv"
    if not all(path.is_file() for path in paths):
        pytest.skip(f"needs the chains of Willems (2008), which are not at {folder}")
    return paths


@pytest.fixture(scope="session")
def willems_tables(willems_files):
    return tuple(read_csv(path) for path in willems_files)


@pytest.fixture(scope="session")
def intel_file(shared):
    path = shared / "data" / "intel_demand" / "msom.2020.0933.csv"
    if not path.is_file():
        pytest.skip(f"needs the orders of Manary & Willems (2022), which are not at {path}")
    return path


class Example:
    """The example tables in a folder of their own: edit a file, run the import, look at what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = folder / "network.yaml"
        self.quarantine = folder / "network.quarantine.csv"
        self.report = folder / "network.quality.json"
        write_template(folder)

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def append(self, name: str, *lines: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)

    def run(self, *more: str) -> int:
        folder, mapping = str(self.folder), str(self.folder / "mapping.yaml")
        return main(["tables", "--folder", folder, "--mapping", mapping, "--output", str(self.network), *more])


@pytest.fixture
def example(tmp_path):
    return Example(tmp_path / "tables")
