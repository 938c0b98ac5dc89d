"""Every command and every Python example of the README runs, in the order of the page, on small budgets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(m.group(1), m.group(2)) for m in re.finditer(r"^```(\w+)\n(.*?)^```", TEXT, re.S | re.M)]
SMALL = {
    "train": ["training=smoke", "training.steps=2048", "tuning=smoke", "evaluation=smoke"],
    "demo": ["training=smoke", "training.steps=2048", "tuning=smoke", "evaluation=smoke"],
    "evaluate": ["tuning=smoke", "evaluation=smoke"],
    "compare": ["tuning=smoke", "evaluation=smoke"],
    "episode": ["tuning=smoke"],
}
RAW = "SCMS_Delivery_History_Dataset.csv"


def commands() -> list[str]:
    """Lines of the README's bash blocks, without comments."""
    lines = [line for kind, body in BLOCKS if kind == "bash" for line in body.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def run(command: list[str], folder: Path) -> str:
    """Run one command in ``folder``; its output, or a failure that shows it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    return result.stdout


def small(line: str) -> list[str]:
    """A README command as an argument list, with a small budget."""
    words = line.split()
    command = [sys.executable, *words[1:]]
    name = words[2].removeprefix("experiments.") if len(words) > 2 else ""
    if any(word.startswith("resume=") for word in words):
        return command
    return [*command, *SMALL.get(name, [])]


def serve(command: list[str], folder: Path) -> None:
    """Run a command that serves until it is told to stop: it answers, and ends well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen([*command, f"port={port}"], cwd=folder, env=environment, stdout=log, stderr=log)
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
                break
            if process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "service.log").read_text()


def test_the_first_two_commands_are_those_of_the_makefile():
    """`make demo` and `make test` come first, and the Makefile has both."""
    assert commands()[:2] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:", makefile, re.M)
    assert re.search(r"^test:", makefile, re.M)


def test_every_command_and_example_runs(tmp_path):
    """The page works from top to bottom in a fresh folder: own network, training, export, advice, resume."""
    yaml = [body for kind, body in BLOCKS if kind == "yaml"]
    (tmp_path / "my_network.yaml").write_text(yaml[0], encoding="utf-8")
    raw = ROOT.parent / "shared" / "data" / "scms" / RAW
    if raw.is_file():
        shutil.copy(raw, tmp_path / RAW)
    folder, ran = "", 0
    for line in commands()[2:]:
        line = line.replace("FOLDER", folder)
        if line.startswith("tensorboard") or (RAW in line and not raw.is_file()):
            continue
        if "agents.advisor serve" in line:
            serve(small(line), tmp_path)
            continue
        output = run(small(line), tmp_path)
        ran += 1
        if "experiment=essential_medicines_ppo" in line:
            folder = re.search(r"run folder: runs/essential_medicines_ppo/(\S+)", output).group(1)
    assert ran >= 9
    for kind, body in BLOCKS:
        if kind == "python":
            run([sys.executable, "-c", body.replace("FOLDER", folder)], tmp_path)


def test_tensorboard_serves_the_runs(tmp_path):
    """The TensorBoard command starts and answers with its address."""
    line = next(line for line in commands() if line.startswith("tensorboard"))
    program = Path(sys.executable).parent / "tensorboard"
    if not program.is_file():
        pytest.fail("tensorboard is a dependency and is not installed")
    (tmp_path / "runs").mkdir()
    command = [sys.executable, str(program), *line.split()[1:], "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        seen = ""
        for text in process.stdout:
            seen += text
            if "http://" in text:
                break
        assert "http://" in seen, seen
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
