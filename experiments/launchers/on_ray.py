"""Jobs on a Ray cluster, or on a Ray started here for as long as it takes.

Ray comes with the extra ``ray``. The cluster is the one that the environment variable RAY_ADDRESS names; without it a
local Ray of as many processors as there are jobs at once is started, and ended. Workers go into the directory of this
process, so that relative paths mean the same: on several machines it must be on a disk that they share, and the project
installed on each.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from experiments.launchers.jobs import ONE_THREAD, Ended, Job, Outcome, Source, perform
from twin.errors import ConfigError

__all__ = ["OnRay"]

#: Bytes for results on their way, the least that Ray takes: ours are small, and its default is a third of the memory.
_STORE = 100 * 1024 * 1024
#: Seconds that stopped workers have to come to a safe point.
_PATIENCE = 60.0
#: Seconds that the address of a cluster has to answer.
_KNOCK = 10.0


class OnRay:
    """So many jobs at once, each on one processor of Ray.

    Parameters
    ----------
    jobs
        How many at the same time; the size of a local Ray.
    retries
        How often a job is done again whose worker died.

    Raises
    ------
    ImportError
        When Ray is not installed, with what to install.
    """

    def __init__(self, jobs: int, *, retries: int) -> None:
        self.jobs, self.retries = jobs, retries
        self._ray = _import_ray()

    def run(self, source: Source, ended: Ended) -> None:
        ray = self._ray
        with _connected(ray, self.jobs):
            # A worker that dies takes its task with it; Ray gives it to another. An exception is an outcome (perform).
            remote = ray.remote(num_cpus=1, max_retries=self.retries)(_work)
            running: dict[Any, Job] = {}
            try:
                while True:
                    while len(running) < self.jobs and (job := source()) is not None:
                        running[remote.remote(str(Path.cwd()), job.call, json.dumps(job.request))] = job
                    if not running:
                        return
                    (first,), _ = ray.wait(list(running), num_returns=1)
                    job = running.pop(first)
                    ended(job, _outcome(ray, first, self.retries))
            except BaseException:
                _stop(ray, list(running))
                raise


def _work(folder: str, call: str, request: str) -> str:
    """What a worker does; text in and out."""
    os.chdir(folder)
    return perform(call, json.loads(request)).to_json()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ImportError("launcher=ray needs the package ray: pip install 'cogtwin[ray]'") from error
    return ray


@contextmanager
def _connected(ray: Any, jobs: int) -> Iterator[None]:
    """The Ray of this process, of RAY_ADDRESS, or a local one that ends with the work."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    size = {"num_cpus": jobs, "object_store_memory": _STORE, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": ONE_THREAD},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **size,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"launcher: no Ray at RAY_ADDRESS={address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out in seconds that nobody answers at an address; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # a local one, or a form that only Ray understands
    try:
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=_KNOCK).close()
    except OSError as error:
        raise ConfigError(f"launcher: no Ray at RAY_ADDRESS={address}: {error}") from None


def _outcome(ray: Any, reference: Any, retries: int) -> Outcome:
    try:
        return Outcome.from_json(ray.get(reference))
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        return Outcome(error=f"its Ray worker ended {retries + 1} times: {reason}", details=str(error))


def _stop(ray: Any, running: list[Any]) -> None:
    """Interrupt every worker, so that a training stops at a safe point, and wait; a second Ctrl-C ends them at once."""
    for reference in running:
        with suppress(ray.exceptions.RayError):
            ray.cancel(reference)
    if running:
        ray.wait(running, num_returns=len(running), timeout=_PATIENCE)
