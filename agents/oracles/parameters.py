"""Checks of numbers that a caller passes to a model."""

from __future__ import annotations

import math
from numbers import Integral, Real

from twin.errors import ConfigError

__all__ = ["require_not_negative", "require_positive", "require_probability", "require_whole"]


def require_positive(**values: object) -> None:
    """Raise ConfigError unless every value is a finite number above 0."""
    for name, value in values.items():
        if not _is_number(value) or value <= 0.0:  # type: ignore[operator]
            raise ConfigError(f"{name} must be a number above 0, received {value!r}")


def require_not_negative(**values: object) -> None:
    """Raise ConfigError unless every value is a finite number, 0 or more."""
    for name, value in values.items():
        if not _is_number(value) or value < 0.0:  # type: ignore[operator]
            raise ConfigError(f"{name} must be a number of at least 0, received {value!r}")


def require_probability(**values: object) -> None:
    """Raise ConfigError unless every value lies strictly between 0 and 1."""
    for name, value in values.items():
        if not _is_number(value) or not 0.0 < value < 1.0:  # type: ignore[operator]
            raise ConfigError(f"{name} must lie strictly between 0 and 1, received {value!r}")


def require_whole(**values: object) -> None:
    """Raise ConfigError unless every value is a whole number, 0 or more."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise ConfigError(f"{name} must be a whole number of at least 0, received {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
