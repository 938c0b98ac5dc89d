"""The notebooks run from top to bottom in a fresh folder, and are what a reader needs: a question, calls, an answer."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: Code that is more than a call on the library: it belongs into the library, where it is tested.
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Try, ast.If, ast.Lambda)
#: Lines that a loop may have, and a cell.
LONGEST_LOOP, LONGEST_CELL = 3, 35

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(cell: nbformat.NotebookNode) -> str:
    """Python of a cell, without what only a notebook understands: a cell that is a file, lines that are commands."""
    if cell.source.startswith("%%writefile"):
        return ""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith(("%", "!")))


def test_there_are_seven_and_the_readme_lists_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.stem[0] for path in NOTEBOOKS] == list("1234567")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in readme


@each
def test_it_runs_and_says_nothing_on_the_side(path: Path, tmp_path: Path) -> None:
    """Every cell, commands included, within two minutes; no warning among the outputs, and at least one picture."""
    shutil.copy(path, tmp_path)
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=240",
               "--overwrite", path.name]  # fmt: skip
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    outputs = [out for cell in read(tmp_path / path.name).cells for out in cell.get("outputs", [])]
    said = [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert not [text for text in said if "Warning" in text or "Traceback" in text], said
    assert any("image/png" in out.get("data", {}) for out in outputs) or path.stem.startswith("7")
    for text in (out.text for out in outputs if out.output_type == "stream"):
        assert "command not found" not in text


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@each
def test_it_is_stored_without_outputs(path: Path) -> None:
    """Outputs make differences unreadable and go stale; so does metadata of one machine."""
    notebook = read(path)
    nbformat.validate(notebook)
    assert dict(notebook.metadata) == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@each
def test_it_opens_with_a_question_and_ends_with_the_answer(path: Path) -> None:
    cells = read(path).cells
    first, last = cells[0], cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert re.search(r"^\*\*[^*]+\?\*\*$", first.source, re.M), "a question in bold type"
    assert "## Answer" in last.source


@each
def test_it_has_no_logic_of_its_own(path: Path) -> None:
    """Calls, comprehensions and loops of a few lines; nothing that would need a test."""
    for cell in read(path).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(code(cell))
        assert not [type(node).__name__ for node in ast.walk(tree) if isinstance(node, LOGIC)], cell.source
        for node in ast.walk(tree):
            if isinstance(node, ast.For):
                assert node.end_lineno - node.lineno < LONGEST_LOOP, cell.source
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


@each
def test_its_links_lead_somewhere(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!http)([^)#]+)", cell.source):
                assert (path.parent / target).is_file(), target
