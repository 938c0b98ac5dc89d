"""One-shot advice from an exported policy: ``python -m experiments.advise bundle=<folder> state=<file>``.

Needs numpy and the bundle's files; torch is not loaded, and the twin's engine for routing alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.advice import Advice, Check
from agents.bundle import Bundle
from agents.bundle_files import parse_json
from agents.command_words import read_words
from twin.errors import BundleError, ConfigError

__all__ = ["main"]

OK, USAGE, BAD_BUNDLE, BLOCKED = 0, 2, 3, 4

#: Arcs without an order whose names are shown.
_SHOWN = 40

HELP = """\
Recommend orders for one state of the supply network.

  python -m experiments.advise bundle=<folder> state=<file.json> [format=text|json] [id=<bundle id>]

  bundle   an exported policy; its example_state.json shows what a state looks like
  state    the stock, positions and pipelines of now, by field name, in the units of the fields
  format   text (default) or json
  id       the bundle id that is expected, or its first 12 or more digits

Example
  python -m experiments.advise bundle=bundles/stores state=bundles/stores/example_state.json

Exit codes
  0 advice given, 2 wrong call, 3 the bundle cannot be trusted, 4 the state was refused
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Nothing is advised on stdout unless it is 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or any(word in {"-h", "--help", "help"} for word in words):
        (sys.stdout if words else sys.stderr).write(HELP)
        return OK if words else USAGE
    try:
        options = read_words("advise", words, ("bundle", "state"), ("format", "id"))
        data = _read(Path(options["state"]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    try:
        bundle = Bundle.load(options["bundle"], expected_id=options.get("id"))
    except BundleError as error:
        sys.stderr.write(f"The bundle cannot be trusted, so nothing is advised. {error}\n")
        return BAD_BUNDLE
    try:
        # NaN and Infinity are let through here, so that the check that refuses them names the field.
        state = parse_json(data, constants=True)
    except ValueError as error:
        sys.stderr.write(f"The state was refused, so nothing is advised. {options['state']} is not JSON: {error}\n")
        return BLOCKED
    advice = bundle.advise(state)
    as_json = options.get("format") == "json"
    if advice.blocked:
        reasons = " ".join(f"{c.code}: {c.detail}." for c in advice.checks if c.verdict == "block")
        plain = f"The state was refused, so nothing is advised. {reasons}"
        sys.stderr.write((json.dumps(advice.to_dict()) if as_json else plain) + "\n")
        return BLOCKED
    sys.stdout.write((json.dumps(advice.to_dict(), indent=2) if as_json else _text(bundle, advice)) + "\n")
    return OK


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the state {path}: {error.strerror}") from None


def _text(bundle: Bundle, advice: Advice) -> str:
    environment = bundle.manifest["environment"]["id"]
    when = "" if advice.period is None else f", period {advice.period}"
    lines = [
        f"Advice of bundle {advice.bundle_id[:12]} ({bundle.manifest.get('algorithm')} on {environment}){when}",
        "",
    ]
    placed = [order for order in advice.orders if order.order > 0.0]
    if placed:
        head = ("arc", "order", "unit", advice.kind)
        lines += _table([head, *((o.arc, _number(o.order), o.unit, _number(o.target)) for o in placed)], right=(1, 3))
    none = [order.arc for order in advice.orders if order.order <= 0.0]
    if none:
        more = f" and {len(none) - _SHOWN} more" if len(none) > _SHOWN else ""
        lines.append(f"No order on {len(none)} of {len(advice.orders)} arcs: {', '.join(none[:_SHOWN])}{more}")
    lines += ["", f"Action: {bundle.spec.meaning}", "", "Checks"]
    lines += _table([(check.code, check.verdict, _detail(check)) for check in advice.checks], right=())
    return "\n".join(lines)


def _detail(check: Check) -> str:
    changes = ", ".join(f"{c.arc} {_number(c.before)} -> {_number(c.after)}" for c in check.changes)
    return f"{check.detail}: {changes}" if changes else check.detail


def _table(rows: Sequence[tuple[str, ...]], right: Sequence[int]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _number(value: float) -> str:
    """Up to three decimals; a smaller number than these can show keeps its digits."""
    if value != 0.0 and abs(value) < 0.001:
        return f"{value:.3g}"
    text = f"{value:.3f}"
    return text.rstrip("0").rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
