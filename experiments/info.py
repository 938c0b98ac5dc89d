"""What runs here, for bug reports: ``python -m experiments.info``."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from experiments.cli import USAGE, say
from experiments.runs import versions
from twin.errors import did_you_mean

__all__ = ["information", "main"]

HELP = """
Versions, machine and optional packages: paste the output into a bug report.

  python -m experiments.info
  python -m experiments.info json        (the same as JSON)
"""
_PROJECT = "cogtwin"
_MORE = ("networkx", "simpy", "cma", "PyYAML", "omegaconf", "tensorboard", "matplotlib", "onnx", "tqdm")
#: Package -> the extra that installs it.
_OPTIONAL = {
    "sb3-contrib": "masks",
    "searoute": "routing",
    "highspy": "routing",
    "pandas": "frames",
    "SQLAlchemy": "advisor",
    "psycopg": "advisor",
    "paho-mqtt": "advisor",
    "optuna": "tune",
    "ray": "ray",
    "onnxruntime": "dev",
}


def information() -> dict[str, dict[str, str]]:
    """Sections of names and values; nothing that names the user or the machine."""
    import torch

    base = versions()
    source: dict[str, str] = {key: base.pop(key) for key in ("git_commit", "git_changes") if key in base}
    machine = {key: base.pop(key) for key in ("python", "platform", "cpus")}
    machine |= {
        "processor": platform.machine(),
        "memory": _memory(),
        "torch threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
    }
    variables = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_CACHE_DIR") if name in os.environ}
    is_source = (Path(__file__).parents[1] / "pyproject.toml").is_file()
    return {
        "project": {
            _PROJECT: _version(_PROJECT, "not installed (run from its source)"),
            "installed as": "a source tree" if is_source else "a package",
            **source,
        },
        "machine": machine | variables,
        "packages": base | {name: _version(name) for name in _MORE},
        "optional packages": {
            name: _version(name, f"not installed (pip install '{_PROJECT}[{extra}]')")
            for name, extra in _OPTIONAL.items()
        },
    }


def _version(package: str, otherwise: str = "not installed") -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return otherwise


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{size / 2**30:.1f} GiB"


def main() -> None:
    """Command line."""
    words = sys.argv[1:]
    if any(word in {"-h", "--help"} for word in words):
        say(HELP.strip())
        return
    wrong = [word for word in words if word != "json"]
    if wrong:
        sys.stderr.write(f"error: no option '{wrong[0]}' (allowed: json){did_you_mean(wrong[0], ['json'])}\n")
        sys.exit(USAGE)
    found = information()
    if words:
        say(json.dumps(found, indent=2))
        return
    width = max(len(name) for section in found.values() for name in section)
    say(
        "\n\n".join(
            "\n".join([f"{title}:", *(f"  {name.ljust(width)}  {value}" for name, value in section.items())])
            for title, section in found.items()
        )
    )


if __name__ == "__main__":
    main()
