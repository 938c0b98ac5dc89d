"""Running the items of a suite, one after another here or several at once in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from experiments.benchmark_items import Item
from experiments.benchmark_work import FAILED, FINISHED, do_item, failure, item_path

__all__ = ["run_items"]

#: Seconds between looks at the processes.
_LOOK = 0.2
#: Libraries that would each use all cores in every process.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
Done = Callable[[Item, bool], object]


def run_items(items: Sequence[Item], folder: Path, *, jobs: int, done: Done) -> None:
    """Do items and store their results below ``folder``.

    Parameters
    ----------
    jobs
        1: in this process. More: so many at once, each in a process of its own, its output in ``logs/``.
    done
        Called with every item that has ended and whether it succeeded.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when what was running has stopped; nothing that is finished is lost.
    """
    for item in items:  # what is there is void: whatever ends without a word must not find an older one's
        item_path(folder, item).unlink(missing_ok=True)
    if jobs == 1:
        for item in items:
            done(item, do_item(item, folder) == FINISHED)
        return
    waiting, running = list(items), list[_Process]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Process(waiting.pop(0), folder))
            time.sleep(_LOOK)
            for process in [process for process in running if process.ended]:
                running.remove(process)
                done(process.item, process.succeeded())
    except BaseException:
        _stop(running)
        raise


class _Process:
    """An item in a process of its own."""

    def __init__(self, item: Item, folder: Path) -> None:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self.item, self.folder = item, folder
        self.log = folder / "logs" / f"{item.name}.txt"
        request = json.dumps({"item": asdict(item), "folder": str(folder)})
        with self.log.open("w", encoding="utf-8") as stream:
            # A session of its own: Ctrl-C at the terminal reaches this process alone, which tells the others once.
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "experiments.benchmark_work"],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,
                text=True,
            )
        stdin: IO[str] = self.popen.stdin  # type: ignore[assignment]
        with suppress(BrokenPipeError), stdin:
            stdin.write(request)

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    def succeeded(self) -> bool:
        """Whether the item finished; a process that died without a word is stored as a failure."""
        code = self.popen.returncode
        if code not in {FINISHED, FAILED} or not item_path(self.folder, self.item).is_file():
            failure(self.item, self.folder, f"its process ended with code {code}; see {self.log}")
        return code == FINISHED


def _stop(running: Sequence[_Process]) -> None:
    """Ask every process to stop at a safe point and wait; a second Ctrl-C ends them at once."""
    for process in running:
        with suppress(ProcessLookupError):
            # A training stops at a safe point; what has not come so far ends at once. An interrupt could be lost in a
            # library that swallows exceptions.
            process.popen.send_signal(signal.SIGTERM)
    try:
        for process in running:
            process.popen.wait()
    except KeyboardInterrupt:
        for process in running:
            process.popen.kill()
        for process in running:
            process.popen.wait()
        raise
