"""The command line: every documented command runs, and what is written is exactly what the network says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from twin import library
from twin.engine import Twin
from twin.ingest.__main__ import EXAMPLES, main
from twin.ingest.output import network_text
from twin.ingest.progress import progress
from twin.network import Network

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "ingest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", DOCUMENT, re.S | re.M)
COMMANDS = [line.strip() for text in (*BLOCKS, EXAMPLES) for line in text.splitlines() if "python -m" in line]


def arguments(line, places):
    words = line.split()
    assert words[:3] == ["python", "-m", "twin.ingest"]
    return [str(places.get(word, word)) for word in words[3:]]


def test_documented_commands_on_tables_run(tmp_path, monkeypatch):
    """The template and its import, as the document and the help print them."""
    lines = [line for line in dict.fromkeys(COMMANDS) if " tables " in line]
    assert len(lines) == 2
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert main(arguments(line, {})) == 0
    Twin(Network.load("network.yaml")).rollout("constant", [10.0] * 6, 20)


def test_documented_commands_on_published_data_run(tmp_path, monkeypatch, willems_files, intel_file):
    """The commands of the document and the help on the real files; what they write loads and runs."""
    stages, links = willems_files
    places = {"stages.csv": stages, "links.csv": links, "msom.2020.0933.csv": intel_file}
    lines = [line for line in dict.fromkeys(COMMANDS) if " willems " in line or " intel " in line]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert main([*arguments(line, places), "--overwrite"]) == 0
    for name in ("chain_1.yaml", "intel.yaml"):
        twin = Twin(Network.load(name))
        twin.rollout("constant", [10.0] * twin.compiled.n_arcs, 20)


@pytest.mark.parametrize("command", [(), ("willems",), ("intel",), ("tables",), ("linerlib",), ("ports",)])
def test_help_shows_an_example(command, capsys):
    """--help of the command and of each part prints a command that can be copied."""
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert f"python -m twin.ingest {' '.join(command)}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "command",
    [
        ["willems", "--stage", "s", "--links", "l", "--chain", "1", "--output", "o.yaml"],
        ["intel", "--data", "d", "--out", "o.yaml"],
        ["tables", "--templ", "t"],
    ],
    ids=lambda command: command[0],
)
def test_options_are_written_out(command, tmp_path, monkeypatch, capsys):
    """A shortened option is refused, so that a new option never changes what an old command means."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_module_runs_as_a_program(tmp_path):
    """`python -m twin.ingest` in a process of its own: an error goes to standard error, with status 2."""
    command = [sys.executable, "-m", "twin.ingest", "tables", "--folder", "x", "--mapping", "y", "--output", "z.yaml"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: no such file: y\n"


@pytest.mark.parametrize("name", library.names())
def test_the_text_of_a_network_reads_back(name):
    """Comment, order and layout of the file change nothing in the network."""
    network = library.load(name)
    text = network_text(network, "one\ntwo")
    assert text.startswith("# one\n# two\nname: ")
    assert Network.parse(yaml.safe_load(text)) == network


class Terminal:
    """A standard error that says it is a terminal."""

    def __init__(self):
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text

    def flush(self):
        pass


def test_progress_shows_on_a_terminal_after_two_seconds(monkeypatch):
    """Nothing in short work; a line with the time left in long work, wiped at the end; every item comes through."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress(range(5), "rows")) == [0, 1, 2, 3, 4]
    assert terminal.written == ""
    clock = iter(range(100))
    monkeypatch.setattr("twin.ingest.progress.time.monotonic", lambda: float(next(clock)))
    assert list(progress(range(10), "rows")) == list(range(10))
    assert "rows: 2 of 10, about 12 s left" in terminal.written
    assert terminal.written.endswith("\r\x1b[K")
