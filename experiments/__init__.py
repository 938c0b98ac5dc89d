"""The command line and the studies; for notebooks :func:`load_run`, :func:`evaluate` and :func:`compare`.

Nothing is imported before it is asked for: ``import experiments`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments import plots
    from experiments.frames import compare, evaluate
    from experiments.loading import load_run

__all__ = ["compare", "evaluate", "load_run", "plots"]


def __getattr__(name: str) -> Any:
    if name in {"compare", "evaluate", "plots"}:  # modules; the first two can be called
        return importlib.import_module(f"experiments.{name}")
    if name == "load_run":
        return importlib.import_module("experiments.loading").load_run
    raise AttributeError(f"module 'experiments' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
