"""A unit of work as plain data, what becomes of it, and the launcher that does one after another in this process."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agents.registry import load_class
from twin.errors import CogTwinError

__all__ = ["ONE_THREAD", "Ended", "Job", "Launcher", "Outcome", "Serial", "Source", "perform", "several"]

#: Libraries that would each use all cores in every worker.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Job:
    """A unit of work.

    Attributes
    ----------
    name
        Unique among those of a launch, and a file name.
    call
        ``module:function``; it takes ``request`` and returns plain data.
    request
        Plain data. What goes to a worker and comes back is JSON, in which every float is exactly itself.
    """

    name: str
    call: str
    request: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    value
        What its function returned.
    error
        Why it returned nothing; None when it did.
    details
        The traceback, where there is one.
    """

    value: Any = None
    error: str | None = None
    details: str = ""

    def to_json(self) -> str:
        """Text that :meth:`from_json` reads."""
        return json.dumps({"value": self.value, "error": self.error, "details": self.details})

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """What :meth:`to_json` wrote."""
        return cls(**json.loads(text))


#: Gives the next job, or None when there is none now; what has ended may bring new ones.
Source = Callable[[], Job | None]
#: Told of every job that has ended, in the order in which they end.
Ended = Callable[[Job, Outcome], object]


class Launcher(Protocol):
    """Does jobs until there are no more of them."""

    def run(self, source: Source, ended: Ended) -> None:
        """Do what ``source`` gives and tell ``ended``; returns when nothing runs and nothing is left.

        A job whose worker dies is given to another one; it must be able to start again or to go on. What its function
        raises is its outcome.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when all workers have stopped.
        """


class Serial:
    """One job after another, in this process."""

    def run(self, source: Source, ended: Ended) -> None:
        while (job := source()) is not None:
            ended(job, perform(job.call, job.request))


def several(jobs: Iterable[Job]) -> Source:
    """A source of jobs that are known from the start."""
    rest = iter(jobs)
    return lambda: next(rest, None)


def perform(call: str, request: dict[str, Any]) -> Outcome:
    """Call a job's function; an exception is an outcome, an interrupt is none."""
    try:
        return Outcome(load_class(call)(request))
    except Exception as error:
        text = str(error) if isinstance(error, CogTwinError) else f"{type(error).__name__}: {error}"
        return Outcome(error=text, details=traceback.format_exc())
