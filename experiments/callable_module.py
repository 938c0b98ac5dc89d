"""Commands that are functions as well: ``experiments.evaluate`` is the module of the command and can be called."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from agents.registry import load_class

__all__ = ["make_callable"]


class _CallableModule(ModuleType):
    """A module whose call is that of the function named in ``_function`` (``module:name``), imported then."""

    _function: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return load_class(self._function)(*arguments, **options)


def make_callable(module: str, function: str) -> None:
    """Let a module be called.

    A command line needs a module ``experiments.evaluate`` and a notebook a function ``experiments.evaluate``. Whichever
    of the two were bound to that name, the first import of the other would replace it; so they are one.

    Parameters
    ----------
    module
        Its ``__name__``.
    function
        What a call does, as ``module:name``.
    """
    loaded = sys.modules[module]
    loaded.__class__ = _CallableModule
    loaded._function = function  # type: ignore[attr-defined]
