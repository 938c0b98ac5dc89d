"""Programs of the system that some tests need: skipped where they are missing, and never where they must be there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["CHROMIUM", "program", "unavailable"]


def unavailable(package: str) -> NoReturn:
    """Skip a test that needs a Debian package. Under ``REAL_PARTS=required``, as ``.ci/run`` sets it, it fails."""
    text = f"needs the Debian package {package}"
    if os.environ.get("REAL_PARTS") == "required":
        pytest.fail(f"{text}, and REAL_PARTS=required")
    pytest.skip(text)


def program(name: str, *places: str) -> Path | None:
    """Where a program lies: on the path, or where Debian keeps it."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(places) or None)
    return None if found is None else Path(found)


#: Debian's name, and that of other systems.
CHROMIUM = program("chromium") or program("chromium-browser") or program("google-chrome")
