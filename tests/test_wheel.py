"""The wheel holds all that a user needs: built, installed beside nothing of the source tree, it trains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("twin", "envs", "agents", "experiments", "configs")
#: Two updates of PPO: 4 replicas times 8 steps each.
TRAIN = (
    "network=lost_sales_zipkin2008 env=lost_sales agent=ppo training=smoke training.replicas=4 training.steps=64 "
    "agent.parameters.n_steps=8 tuning=smoke evaluation=smoke name=wheel"
)


def run(command: list[str], folder: Path) -> str:
    """Run a command that sees nothing of the source tree."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "NUMBA_CACHE_DIR"}}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."], folder)
    (found,) = (folder / "dist").glob("*.whl")
    return found


def test_every_file_of_the_packages_is_in_it(wheel: Path) -> None:
    """Networks, configurations, scenarios and type marks; and nothing but the packages."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == ours
    assert "configs/scenario/none.yaml" in names


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of a fresh environment with the wheel; dependencies come from the environment of the tests.

    A path file adds their folder behind the environment's own, so that the packages are those of the wheel, and what is
    installed in development mode there (by a path file, which is not read) is not found. Compiled kernels go along:
    compiling them takes a minute, and is not what is asked here.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", str(wheel)], folder)  # fmt: skip
    (site,) = folder.glob("lib/*/site-packages")
    places = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "dependencies.pth").write_text("\n".join(places) + "\n", encoding="utf-8")
    for kept in (path for name in PACKAGES for path in (ROOT / name).rglob("__pycache__/*.nb[ic]")):
        there = site / kept.relative_to(ROOT)
        there.parent.mkdir(exist_ok=True)
        shutil.copy2(kept, there)
        module = kept.parent.parent / (kept.name.partition(".")[0] + ".py")
        if module.is_file():  # numba takes a kernel for that of a file by the file's time
            stamp = module.stat()
            os.utime(site / module.relative_to(ROOT), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return python


def test_it_trains_where_there_is_no_source(wheel: Path, tmp_path: Path) -> None:
    """Two updates, with configurations and networks of the wheel."""
    python = str(installed(wheel, tmp_path / "environment"))
    packages = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep='\\n')"
    files = run([python, "-c", packages], tmp_path).split()
    assert len(files) == len(PACKAGES)
    assert all(Path(file).is_relative_to(tmp_path / "environment") for file in files)
    run([python, "-m", "experiments.train", *TRAIN.split()], tmp_path)
    (folder,) = (tmp_path / "runs" / "wheel").iterdir()
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (info["status"], info["timesteps"]) == ("finished", 64)
