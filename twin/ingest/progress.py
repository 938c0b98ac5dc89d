"""A progress line on the terminal for work that takes a while; silent in files, pipes and short work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["progress"]

T = TypeVar("T")

#: Seconds before the line first shows, and between two updates of it.
_PATIENCE, _INTERVAL = 2.0, 0.2


def progress(items: Sequence[T], label: str) -> Iterator[T]:
    """The items, one by one, with a line on standard error after two seconds when that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    begun = shown = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - begun > _PATIENCE and now - shown > _INTERVAL:
            shown = now
            left = (now - begun) / max(done, 1) * (len(items) - done)
            sys.stderr.write(f"\r{label}: {done:,} of {len(items):,}, about {left:.0f} s left \x1b[K")
            sys.stderr.flush()
        yield item
    if shown > begun:
        sys.stderr.write("\r\x1b[K")
