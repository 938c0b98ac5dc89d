"""The command line and the studies; for notebooks the commands are functions as well.

:func:`train`, :func:`export` and :func:`episode` take the words of the command line; :func:`evaluate` and
:func:`compare` give frames; :func:`load_run` opens a run folder. Nothing is imported before it is asked for:
``import experiments`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments import plots
    from experiments.frames import compare, evaluate
    from experiments.loading import load_run
    from experiments.words import episode, export, train

__all__ = ["compare", "episode", "evaluate", "export", "load_run", "plots", "train"]

#: Modules of commands that can be called, and the pictures.
_MODULES = {"compare", "episode", "evaluate", "export", "plots", "train"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"experiments.{name}")
    if name == "load_run":
        return importlib.import_module("experiments.loading").load_run
    raise AttributeError(f"module 'experiments' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
