"""Where work is done: in this process, in processes of this machine, or on a Ray cluster; with the same results."""

from __future__ import annotations

from pathlib import Path

from experiments.config import LauncherConfig
from experiments.launchers.jobs import Ended, Job, Launcher, Outcome, Serial, Source, several
from twin.errors import ConfigError

__all__ = ["Ended", "Job", "Launcher", "Outcome", "Serial", "Source", "make_launcher", "several"]


def make_launcher(config: LauncherConfig, jobs: int, logs: Path | None = None) -> Launcher:
    """The launcher that a configuration names.

    Parameters
    ----------
    jobs
        How many at the same time.
    logs
        Where processes write what they print; nowhere that stays when left out.

    Raises
    ------
    ConfigError
        When ``serial`` is asked for several at once.
    ImportError
        When Ray is asked for and not installed, with what to install.
    """
    if config.kind == "ray":
        from experiments.launchers.on_ray import OnRay

        return OnRay(jobs, retries=config.retries)
    if config.kind == "serial" and jobs > 1:
        raise ConfigError(f"jobs: launcher=serial does one at a time, received {jobs}; use launcher=processes or ray")
    if jobs == 1:
        return Serial()
    from experiments.launchers.processes import Processes

    return Processes(jobs, logs, retries=config.retries)
