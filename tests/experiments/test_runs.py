"""Run folders are never shared and never overwritten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import tzinfo
from pathlib import Path

import pytest

from experiments import runs
from experiments.config import TrainConfig
from experiments.runs import RunFolder, versions
from twin.errors import RunError

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_two_processes_never_share_a_folder(tmp_path: Path) -> None:
    """200 folders made by two processes at once are 200 different folders."""
    code = (
        "import sys\nfrom experiments.runs import RunFolder\n"
        "for _ in range(100): print(RunFolder.create(sys.argv[1], 'x').path)"
    )
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: python(code, str(tmp_path)), range(2)))
    made = [line for result in results for line in result.stdout.split()]
    assert [result.returncode for result in results] == [0, 0], results
    assert len(made) == len(set(made)) == 200
    assert all(Path(path).is_dir() for path in made)


def test_a_name_that_is_taken_is_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the same random suffix come twice in a second, another one is drawn."""
    tokens = iter(["aaaaaa"] * 200 + ["bbbbbb"])
    monkeypatch.setattr(runs.secrets, "token_hex", lambda _: next(tokens))

    class Frozen(runs.datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Frozen:
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(runs, "datetime", Frozen)
    first, second = RunFolder.create(tmp_path, "x").path, RunFolder.create(tmp_path, "x").path
    assert (first.name, second.name) == ("20260102-030405-aaaaaa", "20260102-030405-bbbbbb")


def test_a_run_has_its_configuration_before_its_name(
    tmp_path: Path, fast: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while it writes the configuration leaves no folder that cannot be resumed."""
    config = fast(tmp_path)
    assert RunFolder.create(tmp_path, "x", config).config() == config
    monkeypatch.setattr(RunFolder, "write_config", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        RunFolder.create(tmp_path, "y", config)
    assert not [path for path in (tmp_path / "y").iterdir() if not path.name.startswith(".")]


def test_a_folder_in_use_refuses_a_second_process(tmp_path: Path) -> None:
    """While one process holds a folder another one gets a RunError; afterwards it does not."""
    folder = RunFolder.create(tmp_path, "x")
    code = (
        "import sys\nfrom pathlib import Path\nfrom experiments.runs import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('held')"
    )
    with folder.locked():
        with pytest.raises(RunError, match="in use"), folder.locked():
            pass
        refused = python(code, str(folder.path))
    allowed = python(code, str(folder.path))
    assert refused.returncode != 0
    assert "RunError" in refused.stderr
    assert "in use by another process" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, "held\n")


def test_opening_names_what_is_missing(tmp_path: Path) -> None:
    """A path that is no folder, and a folder that is no run, are RunErrors with the path."""
    with pytest.raises(RunError, match="no run folder"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_configuration_and_facts_are_kept(tmp_path: Path, fast: Callable[..., TrainConfig]) -> None:
    """The stored configuration is the one that was given, and run.json keeps entries it is not told to change."""
    folder = RunFolder.create(tmp_path, "x")
    assert folder.info() == {}
    config = fast(tmp_path)
    folder.write_config(config)
    assert RunFolder.open(folder.path).config() == config
    folder.update(status="running", seeds={"training": 1})
    folder.update(status="finished")
    assert folder.info() == {"status": "finished", "seeds": {"training": 1}}


def test_versions_say_what_a_result_depends_on() -> None:
    """The versions of the numeric and learning packages are there and real."""
    import numpy
    import torch

    found = versions()
    assert found["numpy"] == numpy.__version__
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert "not installed" not in found.values()
