"""Moments as texts: UTC, microseconds, one width, so that they sort as they follow each other."""

from __future__ import annotations

import datetime
from collections.abc import Callable

__all__ = ["Clock", "parse_time", "system_clock", "text_of"]

Clock = Callable[[], datetime.datetime]


def system_clock() -> datetime.datetime:
    """Now, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def text_of(moment: datetime.datetime) -> str:
    """A moment as ``2026-01-31T08:00:00.000000Z``."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: object) -> datetime.datetime:
    """A moment from a text of ISO 8601 with a time zone.

    Raises
    ------
    ValueError
        With a sentence that says what is wrong.
    """
    if not isinstance(text, str):
        raise ValueError(f"a time must be a text such as 2026-01-31T08:00:00Z, not {type(text).__name__}")
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is not a time; write one as 2026-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"'{text[:40]}' has no time zone; write it as {text[:19]}Z if it is UTC")
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        raise ValueError(f"'{text[:40]}' lies outside the calendar") from None
