"""The Python examples of docs/comparing.md run, and its commands name what exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number: int, tmp_path: Path) -> None:
    """In a fresh folder, without a warning."""
    pytest.importorskip("pandas")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]


def test_commands_exist() -> None:
    commands = set(re.findall(r"^python -m experiments\.(\w+)", TEXT, re.M))
    assert commands == {"compare", "evaluate", "train", "report"} <= set(catalogue("commands"))
    assert len(EXAMPLES) == 2
