"""A process that does one job after another: ``python -m experiments.launchers.worker``, see :mod:`.processes`.

A line on standard input is a request; its outcome goes, whole or not at all, into the file that the request names. What
a job prints goes into the log that it names. The process ends with its input.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from experiments.launchers.jobs import perform
from twin.files import write_text

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> int:
    """Do the jobs that stand on standard input; returns the exit code."""
    _end_with(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        _print_to(Path(request["log"]))
        try:
            outcome = perform(request["call"], request["request"])
        except KeyboardInterrupt:
            return _INTERRUPTED
        write_text(request["outcome"], outcome.to_json())
    return 0


def _print_to(log: Path) -> None:
    """Send all that is printed from now on, by libraries too, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def _end_with(parent: int) -> None:
    """Stop, at a safe point, when the process that asks for jobs is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
