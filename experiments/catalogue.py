"""What there is to choose from, one line each, from the registries and the configuration files."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import gymnasium

import configs
import envs
from agents.registry import ALGORITHMS, BASELINES, load_class
from twin import library
from twin.files import read_mapping

__all__ = ["KINDS", "catalogue"]

_CONFIGS = Path(str(configs.__file__)).parent
#: Namespace of this project's environments.
_NAMESPACE = "cogtwin"


def catalogue(kind: str) -> dict[str, str]:
    """Names of a kind (:data:`KINDS`) and a line about each."""
    return KINDS[kind]()


def _environments() -> dict[str, str]:
    # Importing the package has registered them; classes are imported for their docstrings alone.
    found = {}
    for name, spec in gymnasium.registry.items():
        if spec.namespace == _NAMESPACE and isinstance(spec.entry_point, str):
            if not spec.entry_point.startswith(f"{envs.__name__}."):
                continue
            found[name] = _sentence(inspect.getdoc(load_class(spec.entry_point)) or "")
    return found


def _networks() -> dict[str, str]:
    out = {}
    for name in library.names():
        parameters = ", ".join(library.parameters(name))
        about = _sentence(library.load(name).description)
        out[name] = about + (f" [network.parameters: {parameters}]" if parameters else "")
    return out


def _agents() -> dict[str, str]:
    out = {}
    for file in sorted((_CONFIGS / "agent").glob("*.yaml")):
        data = read_mapping(file)
        name = data.get("algorithm") or next((d for d in data.get("defaults", []) if isinstance(d, str)), file.stem)
        entry = ALGORITHMS.get(str(name))
        about = entry.summary if entry is not None else str(name)
        actions = "" if entry is None else f" [{', '.join(sorted(entry.action_spaces))}]"
        remark = _remark(file)
        out[file.stem] = f"{about}{actions}" + (f"; {remark}" if remark else "")
    return out


def _policies() -> dict[str, str]:
    return {name: entry.summary for name, entry in BASELINES.items()}


def _suites() -> dict[str, str]:
    return {file.stem: _sentence(str(read_mapping(file).get("description", ""))) for file in _files("suite")}


def _searches() -> dict[str, str]:
    out = {}
    for file in _files("search"):
        data = read_mapping(file)
        out[file.stem] = f"{_sentence(str(data.get('description', '')))} [{', '.join(data['parameters'])}]"
    return out


def _launchers() -> dict[str, str]:
    return {file.stem: _remark(file) for file in _files("launcher")}


def _experiments() -> dict[str, str]:
    out = {}
    for file in _files("experiment"):
        chosen = [entry for entry in read_mapping(file).get("defaults", []) if isinstance(entry, dict)]
        named = {
            key.rpartition("/")[2].removeprefix("override "): value for entry in chosen for key, value in entry.items()
        }
        out[file.stem] = f"{named.get('agent', 'an agent')} on {named.get('network', 'a network')}"
    return out


def _files(group: str) -> list[Path]:
    return sorted((_CONFIGS / group).glob("*.yaml"))


def _scenarios() -> dict[str, str]:
    return {file.stem: _remark(file) for file in _files("scenario")}


def _commands() -> dict[str, str]:
    """Modules of this package that can be run, by the first line of their docstrings; nothing is imported."""
    out = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "\nHELP = " in text and "\ndef main(" in text:
            about = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].partition(": ``")[0]
            out[file.stem] = about.rstrip(".")
    return out


def _remark(file: Path) -> str:
    """The comment in the first line of a file, where it is about more than how to call it."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("# ") and not first.startswith("# python") else ""


def _sentence(text: str) -> str:
    """The first sentence of a text, on one line."""
    flat = " ".join(text.split())
    return re.split(r"(?<=[.;])\s", flat, maxsplit=1)[0].rstrip(".;")


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "commands": _commands,
    "environments": _environments,
    "networks": _networks,
    "scenarios": _scenarios,
    "agents": _agents,
    "policies": _policies,
    "suites": _suites,
    "experiments": _experiments,
    "searches": _searches,
    "launchers": _launchers,
}
