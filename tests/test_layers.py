"""Rules of the source tree: who imports whom, no prints, no asserts, no pickle, everything documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("twin", "envs", "agents", "experiments")
SOURCES = sorted(path for folder in (*FOLDERS, "configs") for path in (ROOT / folder).rglob("*.py"))
every_source = pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Top-level names a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_layers_hold() -> None:
    """import-linter's contract passes: twin knows nothing of envs, envs nothing of agents, and so on."""
    program = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run(
        [str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_inside_functions_keep_to_the_layers_too(folder: str) -> None:
    """No file imports from a layer above its own, wherever the import stands; none imports the tests."""
    above = {*FOLDERS[FOLDERS.index(folder) + 1 :], "tests"}
    files = [path for path in SOURCES if path.relative_to(ROOT).parts[0] == folder]
    assert files
    for path in files:
        assert not imported(path) & above, path


@every_source
def test_no_prints_asserts_or_eval(path: Path) -> None:
    """Library code neither prints nor asserts, and never evaluates text."""
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and path.name != "__main__.py":
            assert node.func.id not in {"print", "eval", "exec"}, f"{path}:{node.lineno}"


@every_source
def test_no_pickle(path: Path) -> None:
    """Nothing is pickled: what crosses a process or time boundary is plain data."""
    assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


@every_source
def test_everything_public_has_a_docstring(path: Path) -> None:
    """Modules, public classes and public functions say what they are; a method may lean on its protocol."""
    module = tree(path)
    assert ast.get_docstring(module), path
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name}"


@every_source
def test_all_names_what_exists(path: Path) -> None:
    """Each name in __all__ is defined or imported in its module, once."""
    module = tree(path)
    listed: list[str] = []
    defined: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            defined |= names
            if "__all__" in names and node.value is not None:
                listed = ast.literal_eval(node.value)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.If):  # imports for type checkers only
            guarded = [inner for inner in ast.walk(node) if isinstance(inner, ast.ImportFrom)]
            defined |= {alias.asname or alias.name for inner in guarded for alias in inner.names}
    assert len(listed) == len(set(listed))
    assert set(listed) <= defined


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import twin.kernel, twin.engine, twin.library", ["gymnasium", "torch", "stable_baselines3", "matplotlib"]),
        ("import envs, envs.inventory", ["torch", "stable_baselines3", "matplotlib"]),
        ("import agents.bundle, agents.registry", ["torch", "stable_baselines3", "matplotlib", "hydra"]),
        (
            "import agents.advisor.cli",
            ["torch", "stable_baselines3", "matplotlib", "numba", "sqlalchemy", "paho", "fastapi"],
        ),
        ("import agents.advisor.service_run", ["torch", "stable_baselines3", "matplotlib", "numba", "paho"]),
        ("import agents.bundle_decoders", ["torch", "stable_baselines3", "matplotlib", "numba"]),
        ("import configs", ["hydra", "torch", "gymnasium"]),
    ],
)
def test_light_parts_stay_light(statement: str, forbidden: list[str]) -> None:
    """Importing the twin brings no reinforcement learning, the environments and the bundle bring no torch."""
    code = f"import sys; {statement}; print(sorted(set({forbidden!r}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.strip() == "[]"
