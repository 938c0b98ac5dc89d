"""One form of JSON for everything that is hashed: equal data has equal bytes, and every float comes back exactly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["canonical", "digest", "plain"]

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(data: Any) -> str:
    """JSON with sorted keys and no spaces.

    Floats are written by ``repr``, the shortest text that reads back as the same double; an integer and a float of the
    same value stay different.

    Raises
    ------
    ValueError
        For NaN and infinity, which JSON does not have.
    TypeError
        For what is not plain data; see :func:`plain`.
    """
    return _ENCODER.encode(data)


def digest(data: Any) -> str:
    """SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Data that :func:`canonical` can write: arrays as lists, keys as texts, what is not finite as a text.

    For records of what came in: they must be written even where a request was nonsense.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        # A lone surrogate has no UTF-8 form; the record of a bad request must still be written.
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, int):
        # Longer whole numbers are read back by few other programs, and Python itself refuses to print huge ones.
        return value if value.bit_length() <= 1024 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {
            str(plain(key)) if not isinstance(key, str) else plain(key): plain(entry) for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return f"{type(value).__name__}"
