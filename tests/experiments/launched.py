"""Jobs and a second look at processes, for the tests of launchers and searches. Workers import this by name."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from twin.errors import RunError


def descendants(pid: int) -> dict[int, str]:
    """Processes below a process, and their command lines."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text()
            commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found, below = {}, {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= {child: commands[child] for child in below}
    return found


def open_files(pid: int) -> set[str]:
    """Files that a process holds open."""
    out = set()
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                out.add(str(link.readlink()))
    return out


def numbers(request: dict[str, Any]) -> list[float]:
    """Numbers that a careless way between processes would change."""
    return [0.1 + request["k"], math.pi / 3.0, 5e-324, math.inf, -0.0]


def fails(request: dict[str, Any]) -> None:
    """Raises what the request asks for."""
    raise RunError("nothing to be had") if request.get("kind") == "ours" else ZeroDivisionError("by zero")


def hangs_once(request: dict[str, Any]) -> int:
    """Writes its process id and hangs, the first time; the second time it returns."""
    mark = Path(request["mark"])
    tries = len(mark.read_text().split()) if mark.is_file() else 0
    with mark.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if tries == 0:
        time.sleep(600)
    return tries + 1


def dies(_: dict[str, Any]) -> None:
    """Ends its process without a word."""
    os.write(1, b"so long\n")
    os._exit(7)


def valley(request: dict[str, Any]) -> list[float]:
    """A search's objective in place of training: least at a learning rate of 1e-3 and two layers; every call is noted.

    Each seed adds its own part, the same for all trials. A file named ``hang`` in the folder of the search makes one
    call hang, once.
    """
    folder = Path(request["folder"]).parents[1]
    with (folder / "calls").open("a") as stream:
        stream.write(f"{request['trial']} {request['seed']} {os.getpid()}\n")
    hang = folder / "hang"
    if hang.is_file() and hang.read_text() == f"{request['trial']} {request['seed']}":
        hang.unlink()
        time.sleep(600)
    agent, seed = request["config"]["agent"], request["config"]["training"]["seed"]
    cost = (math.log10(agent["parameters"]["learning_rate"]) + 3.0) ** 2 + abs(len(agent["net_arch"]) - 2)
    return [10.0 + cost + 0.1 * math.sin(7.0 * seed) + 0.01 * k for k in range(8)]
