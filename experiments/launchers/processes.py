"""Jobs in processes of this machine, several at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from experiments.launchers.jobs import ONE_THREAD, Ended, Job, Outcome, Source

__all__ = ["Processes"]

#: Seconds between looks at the processes.
_LOOK = 0.05
#: Lines of a log in a message.
_SHOWN = 20


class Processes:
    """So many jobs at once, each in one of as many processes of one thread.

    A process does one job after another: its start takes as long as a short run.

    Parameters
    ----------
    jobs
        How many at the same time.
    logs
        What a job prints goes to ``<name>.txt`` in this folder. None: its end is shown when its process dies.
    retries
        How often a job is done again whose process died without a word (killed, out of memory).
    """

    def __init__(self, jobs: int, logs: Path | None, *, retries: int) -> None:
        self.jobs, self.logs, self.retries = jobs, logs, retries

    def run(self, source: Source, ended: Ended) -> None:
        with tempfile.TemporaryDirectory(prefix="cogtwin-") as temporary:
            results = Path(temporary)
            logs = self.logs or results
            logs.mkdir(parents=True, exist_ok=True)
            working, resting = list[_Worker](), list[_Worker]()
            try:
                while True:
                    while len(working) < self.jobs and (job := source()) is not None:
                        worker = resting.pop() if resting else _Worker()
                        worker.begin(job, logs / f"{job.name}.txt", results / f"{job.name}.json")
                        working.append(worker)
                    if not working:
                        break
                    time.sleep(_LOOK)
                    for worker in list(working):
                        outcome = self._outcome(worker)
                        if outcome is not None:
                            working.remove(worker)
                            if worker.dead:
                                worker.wait()
                            else:
                                resting.append(worker)
                            ended(worker.job, outcome)
            except BaseException:
                _stop([*working, *resting])
                raise
            _stop(resting)

    def _outcome(self, worker: _Worker) -> Outcome | None:
        """What became of the job of a worker; None when it is not known yet. What a dead one had begins anew."""
        dead = worker.dead  # looked at first: it may leave its outcome and end
        if worker.result.is_file():
            text = worker.result.read_text(encoding="utf-8")
            worker.result.unlink()
            return Outcome.from_json(text)
        if not dead:
            return None
        if worker.attempt <= self.retries:
            worker.again()
            return None
        return Outcome(error=worker.death(shown=self.logs is None))


class _Worker:
    """A process, and the job that it does."""

    job: Job
    log: Path
    result: Path

    def __init__(self) -> None:
        self.attempt = 0
        self._start()

    def _start(self) -> None:
        # A session of its own: Ctrl-C at the terminal reaches this process alone, which tells the others once.
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "experiments.launchers.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
            bufsize=0,
        )

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.popen.poll() is not None

    def begin(self, job: Job, log: Path, result: Path) -> None:
        """Give it a job."""
        self.job, self.log, self.result, self.attempt = job, log, result, 0
        log.unlink(missing_ok=True)
        self._send()

    def again(self) -> None:
        """Do the job once more, in a new process."""
        self.wait()
        self._start()
        self._send()

    def _send(self) -> None:
        self.attempt += 1
        self.log.touch()
        paths = {"outcome": str(self.result.absolute()), "log": str(self.log.absolute())}
        with suppress(BrokenPipeError):  # it is dead, which the next look at it finds
            text = json.dumps({"call": self.job.call, "request": self.job.request, **paths}) + "\n"
            rest = memoryview(text.encode())
            while rest:
                rest = rest[self._input.write(rest) :]

    def stop(self) -> None:
        """Ask it to stop: a training does so at a safe point, what has not come so far ends at once."""
        with suppress(ProcessLookupError):
            # An interrupt could be lost in a library that swallows exceptions.
            self.popen.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for its end."""
        self.popen.wait()
        self._input.close()

    @property
    def _input(self) -> IO[bytes]:
        stream: IO[bytes] = self.popen.stdin  # type: ignore[assignment]
        return stream

    def death(self, *, shown: bool) -> str:
        """How it ended, for a person; with the end of its log, or where that is."""
        times = f" ({self.attempt} times)" if self.attempt > 1 else ""
        return (
            f"its process ended with code {self.popen.returncode}{times}; {self._end() if shown else f'see {self.log}'}"
        )

    def _end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")[-_SHOWN:]
        return "it said last:\n" + "\n".join(lines)


def _stop(workers: Sequence[_Worker]) -> None:
    """Ask every process to stop and wait; a second Ctrl-C ends them at once."""
    for worker in workers:
        worker.stop()
    try:
        for worker in workers:
            worker.wait()
    except KeyboardInterrupt:
        for worker in workers:
            worker.popen.kill()
        for worker in workers:
            worker.wait()
        raise
