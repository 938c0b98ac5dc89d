"""Bundles on the command line: ``python -m agents.bundle <command> ...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.bundle import Bundle
from agents.bundle_files import arrays_from, pack, parse_json
from agents.command_words import read_words
from twin.errors import BundleError, ConfigError, did_you_mean

__all__ = ["OK", "UNVERIFIED", "USAGE", "main"]

OK, USAGE, UNVERIFIED = 0, 2, 3

HELP = """\
Exported policies as files: what is in them, and whether they can be trusted.

  python -m agents.bundle verify bundle=PATH [id=ID]
  python -m agents.bundle show   bundle=PATH
  python -m agents.bundle diff   first=PATH second=PATH
  python -m agents.bundle pack   bundle=PATH output=FILE.zip

  verify   load it with every check, compile its network, read its guard file, ask for advice on its example state
  show     its card and its files; with format=json its manifest
  diff     what differs, file by file and key by key
  pack     one file, with the same bytes whenever it is made
  bundle   a folder or a zip that experiments.export has written
  id       the bundle id that is expected, or its first 12 or more digits
  format   text (default) or json

Exit codes
  0 done (diff: nothing differs, or it was shown what does), 2 wrong call, 3 the bundle cannot be trusted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What was refused stands on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or any(word in {"-h", "--help", "help"} for word in words):
        (sys.stdout if words else sys.stderr).write(HELP)
        return OK if words else USAGE
    try:
        run, options = _parse(words)
        data, text = run(options)
    except BundleError as error:
        sys.stderr.write(f"The bundle cannot be trusted. {error}\n")
        return UNVERIFIED
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    sys.stdout.write((json.dumps(data, indent=2) if options.get("format") == "json" else text) + "\n")
    return OK


def _parse(words: Sequence[str]) -> tuple[Callable[[dict[str, str]], tuple[Any, str]], dict[str, str]]:
    name = words[0]
    if name not in _COMMANDS:
        known = ", ".join(_COMMANDS)
        raise ConfigError(f"no command '{name}' (allowed: {known}){did_you_mean(name, _COMMANDS)}; see --help")
    needed, optional, run = _COMMANDS[name]
    return run, read_words(name, words[1:], needed, (*optional, "format"))


def _verify(options: dict[str, str]) -> tuple[Any, str]:
    from agents.advisor.guardrails import Guardrails
    from agents.advisor.guards import Guards
    from agents.advisor.outliers import OutlierModel

    bundle = Bundle.load(options["bundle"], expected_id=options.get("id"))
    bundle.verify_network()
    try:
        Guards(Guardrails.parse(bundle.guardrails, "guardrails.yaml"), bundle.spec)
        outliers = None if bundle.outliers is None else OutlierModel.from_dict(bundle.outliers)
    except ConfigError as error:
        raise BundleError(f"{bundle.path}: {error}") from None
    if outliers is not None and outliers.names != tuple(field.name for field in bundle.spec.fields):
        raise BundleError(f"{bundle.path}: ood.json is of other fields than spec.json")
    advice = bundle.advise(bundle.example_state)
    if advice.blocked:
        raise BundleError(f"{bundle.path}: no advice for its own example state: {', '.join(advice.reasons)}")
    cases = bundle.manifest["golden"]["cases"]
    data = {"bundle_id": bundle.bundle_id, "files": len(bundle.contents) + 1, "golden_cases": cases}
    return data, f"bundle {bundle.bundle_id}: {len(bundle.contents) + 1} files and {cases} golden cases, all good"


def _show(options: dict[str, str]) -> tuple[Any, str]:
    bundle = Bundle.load(options["bundle"])
    manifest = bundle.manifest
    lines = [bundle.contents["card.md"].decode().rstrip(), "", f"bundle id {bundle.bundle_id}", ""]
    lines += [f"  {entry['size']:>10,}  {entry['sha256'][:12]}  {name}" for name, entry in manifest["files"].items()]
    return dict(manifest), "\n".join(lines)


def _diff(options: dict[str, str]) -> tuple[Any, str]:
    first, second = (Bundle.load(options[key]) for key in ("first", "second"))
    found: dict[str, list[str]] = {}
    changes = _changes(_stated(first.manifest), _stated(second.manifest))
    if changes:
        found["manifest.json"] = changes
    for name in sorted({*first.contents, *second.contents}):
        one, other = first.contents.get(name), second.contents.get(name)
        if one == other:
            continue
        if one is None or other is None:
            found[name] = [f"only in {options['second' if one is None else 'first']}"]
        elif name.endswith(".npz"):
            found[name] = _changed_arrays(arrays_from(one, name), arrays_from(other, name))
        elif name.endswith(".json"):
            found[name] = _changes(parse_json(one), parse_json(other))
        else:
            found[name] = [f"{len(one)} bytes, {len(other)} bytes"]
    lines = [line for name, changes in found.items() for line in (name, *(f"  {change}" for change in changes))]
    return {"same": not found, "files": found}, "\n".join(lines) or "nothing differs"


def _pack(options: dict[str, str]) -> tuple[Any, str]:
    output = Path(options["output"])
    if output.suffix != ".zip":
        raise ConfigError(f"output: '{output}' must end in .zip")
    if output.exists():
        raise ConfigError(f"output: {output} exists and is never overwritten")
    pack(Path(options["bundle"]), output, Bundle.load)
    bundle = Bundle.load(output)
    return {"bundle_id": bundle.bundle_id, "output": str(output)}, f"bundle {bundle.bundle_id} in {output}"


def _stated(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says beside the hashes, which follow from the files."""
    return {key: value for key, value in manifest.items() if key not in {"files", "bundle_id", "manifest_sha256"}}


_SHOWN = 20


def _changes(one: Any, other: Any) -> list[str]:
    """What differs between two pieces of plain data, a line for each place; at most 20, the rest counted."""
    lines = list(_differences(one, other, ""))
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more


def _differences(one: Any, other: Any, place: str) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            where = f"{place}.{key}" if place else str(key)
            if key not in one or key not in other:
                yield f"{where}: only in the {'second' if key not in one else 'first'}"
            else:
                yield from _differences(one[key], other[key], where)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for k, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{place}[{k}]")
    elif one != other:
        yield f"{place}: {_short(one)} -> {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _changed_arrays(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted({*one, *other}):
        if name not in one or name not in other:
            lines.append(f"{name}: only in the {'second' if name not in one else 'first'}")
        elif one[name].shape != other[name].shape:
            lines.append(f"{name}: shape {one[name].shape} -> {other[name].shape}")
        elif not np.array_equal(one[name], other[name]):
            gap = np.abs(one[name].astype(np.float64) - other[name]).max()
            lines.append(f"{name}: up to {gap:.4g} apart")
    return lines


_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[dict[str, str]], tuple[Any, str]]]] = {
    "verify": (("bundle",), ("id",), _verify),
    "show": (("bundle",), (), _show),
    "diff": (("first", "second"), (), _diff),
    "pack": (("bundle", "output"), (), _pack),
}
