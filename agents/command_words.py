"""The words of a command line, each ``key=value``: read, or refused with what is allowed and the nearest match."""

from __future__ import annotations

from collections.abc import Sequence

from twin.errors import ConfigError, did_you_mean

__all__ = ["FORMATS", "read_words"]

#: What ``format=`` may be, the first where it is not said.
FORMATS = ("text", "json")


def read_words(command: str, words: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """Values by key.

    Parameters
    ----------
    command
        Whose words they are, for messages.
    needed, optional
        Keys that it must and may have; ``format`` is one of :data:`FORMATS` wherever it is allowed.

    Raises
    ------
    ConfigError
        For a key that is unknown, given twice or missing, a word without a value, and an unknown format.
    """
    allowed, options = (*needed, *optional), dict[str, str]()
    for word in words:
        key, equals, value = word.partition("=")
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            raise ConfigError(f"'{command}' has no argument '{key}' (allowed: {', '.join(allowed)}){hint}; see --help")
        if not equals or not value:
            raise ConfigError(f"'{word}' needs a value, as in {key}=...; see --help")
        if key in options:
            raise ConfigError(f"'{key}' is given twice")
        options[key] = value
    for key in needed:
        if key not in options:
            raise ConfigError(f"'{command}' needs '{key}=...'; see --help")
    given = options.get("format", FORMATS[0])
    if given not in FORMATS:
        raise ConfigError(f"no format '{given}' (allowed: {', '.join(FORMATS)}){did_you_mean(given, FORMATS)}")
    return options
