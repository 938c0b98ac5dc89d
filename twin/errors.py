"""The one exception family of the project, and the nearest-match helper its messages use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ActionError",
    "BundleError",
    "CogTwinError",
    "ConfigError",
    "DataError",
    "NetworkError",
    "RunError",
    "StaleStateError",
    "did_you_mean",
]


class CogTwinError(ValueError):
    """Base of every error this project raises on bad input."""


class NetworkError(CogTwinError):
    """A network file or a name in it is wrong."""


class DataError(CogTwinError):
    """A data file cannot be used."""


class ConfigError(CogTwinError):
    """A run's configuration is wrong."""


class ActionError(CogTwinError):
    """An action or an order is outside what the environment allows."""


class RunError(CogTwinError):
    """A run folder is missing, busy or incomplete."""


class BundleError(CogTwinError):
    """A policy bundle cannot be trusted."""


class StaleStateError(CogTwinError):
    """A state does not belong to this network or this moment."""


def did_you_mean(value: object, allowed: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest allowed value, or an empty string."""
    names = [str(name) for name in allowed]
    match = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""
