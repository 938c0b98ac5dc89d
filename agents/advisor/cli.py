"""The advisor on the command line: ``python -m agents.advisor <command> key=value ...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.advisor import cli_service
from agents.advisor.advisor import Advisor
from agents.advisor.audit import verify
from agents.advisor.dispatch import open_sender
from agents.advisor.errors import AdvisorError
from agents.advisor.outliers import OutlierModel
from agents.advisor.replay import replay
from agents.advisor.store import open_store
from agents.bundle_files import parse_json
from agents.command_words import read_words
from twin.errors import BundleError, ConfigError, did_you_mean

__all__ = ["BLOCKED", "OK", "UNVERIFIED", "USAGE", "main"]

OK, USAGE, UNVERIFIED, BLOCKED = 0, 2, 3, 4

HELP = """\
Advice from an exported policy, under guards, with approvals, on record.

  python -m agents.advisor activate store=S bundle=FOLDER person=P [guardrails=F] [outliers=F] [reason=...]
  python -m agents.advisor decide   store=S state=FILE
  python -m agents.advisor list     store=S [state=proposed]
  python -m agents.advisor approve  store=S id=ID action=HASH person=P [state=FILE]
  python -m agents.advisor modify   store=S id=ID action=HASH person=P orders=FILE state=FILE
  python -m agents.advisor reject   store=S id=ID person=P [reason=...]
  python -m agents.advisor execute  store=S id=ID person=P state=FILE
  python -m agents.advisor resolve  store=S id=ID person=P outcome=done|failed [reason=...]
  python -m agents.advisor actual   store=S id=ID person=P actual=FILE
  python -m agents.advisor mode     store=S [set=shadow|advisory|autonomous person=P] [reason=...]
  python -m agents.advisor halt     store=S person=P [reason=...]
  python -m agents.advisor rollback store=S person=P [reason=...]
  python -m agents.advisor token    add|list|remove store=S name=P role=viewer|planner|approver [days=N] [tokens=FILE]
  python -m agents.advisor serve    store=S [bundle=FOLDER guardrails=F outliers=F mode=M] [dispatch=...] [tokens=FILE]
                                    [bundles=FOLDER] [host=127.0.0.1] [port=8080] [rate=50] [body=1048576] [timeout=10]
                                    [certificate=FILE key=FILE | plain=yes]
  python -m agents.advisor audit    verify|head|show|anchor store=S [head=NUMBER:HASH] [first=N] [person=P]
  python -m agents.advisor replay   store=S
  python -m agents.advisor shadow-report store=S

  store      a file (SQLite) or postgresql://user:password@host/database
  anchor     with any command: the file that keeps every record's hash (SQLite: the store's name with .anchor)
  dispatch   with decide, approve and execute: file:folder, https://host/path or mqtt://host:port/topic; without it the
             orders are printed, and whoever reads them acts
  state      the state of now; the bundle's example_state.json shows what it looks like
  orders     a person's own orders, units by arc
  actual     what really happened after a decision: {orders: {arc: units}, cost, demand, served}, the orders at least
  format     text (default) or json
  token      prints a new token, which is kept nowhere; its hash goes to tokens (default: the store's name with .tokens)
  serve      HTTP and a page for whoever has a token; rate is requests a second for each of them, body the longest
             request in bytes, timeout in seconds; SIGTERM ends it in good order

Exit codes
  0 done, 2 wrong call, 3 bundle or record cannot be trusted, 4 refused or blocked
"""

_COMMON = ("anchor", "format")
_WHAT = ("verify", "head", "show", "anchor")
#: Commands with a second word, and which one it is where it is not said.
_FIRST = {"audit": "verify", "token": "list"}


@dataclass(frozen=True)
class _Command:
    """What a command needs, what it may have, and what it does; it gives data, a text, and the exit code."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    run: Callable[[dict[str, str]], tuple[Any, str, int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What was refused stands on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or any(word in {"-h", "--help", "help"} for word in words):
        (sys.stdout if words else sys.stderr).write(HELP)
        return OK if words else USAGE
    as_json = "format=json" in words
    try:
        command, options = _parse(words)
        data, text, code = command.run(options)
    except AdvisorError as error:
        said = json.dumps(error.to_dict(), indent=2) if as_json else f"Refused. {error}"
        sys.stderr.write(said + "\n")
        if error.code == "PERSON":
            return USAGE
        return UNVERIFIED if error.code in {"BAD_BUNDLE", "CHAIN_BROKEN"} else BLOCKED
    except BundleError as error:
        sys.stderr.write(f"The bundle cannot be trusted, so nothing was done. {error}\n")
        return UNVERIFIED
    except (ConfigError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    shown = json.dumps(data, indent=2) if as_json else text
    (sys.stdout if code == OK else sys.stderr).write(shown + "\n")
    return code


def _parse(words: Sequence[str]) -> tuple[_Command, dict[str, str]]:
    name, rest = words[0], list(words[1:])
    if name not in _COMMANDS:
        known = ", ".join(_COMMANDS)
        raise ConfigError(f"no command '{name}' (allowed: {known}){did_you_mean(name, _COMMANDS)}; see --help")
    command, second = _COMMANDS[name], dict[str, str]()
    if name in _FIRST:
        second["what"] = rest.pop(0) if rest and "=" not in rest[0] else _FIRST[name]
    options = read_words(name, rest, ("store", *command.needed), (*command.optional, *_COMMON))
    return command, {**options, **second}


def _advisor(options: dict[str, str]) -> Advisor:
    """The advisor of a store that exists; a wrong path must not begin a new one."""
    address = options.get("dispatch")
    store = open_store(options["store"], anchor=options.get("anchor"), create=False)
    return Advisor(None, store, sender=None if address is None else open_sender(address))


def _state(path: str) -> Any:
    try:
        # NaN and Infinity are let through here, so that the check that refuses them names the field.
        return parse_json(Path(path).read_bytes(), constants=True)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise AdvisorError("REQUEST", f"{path} is not JSON: {error}") from None


def _activate(options: dict[str, str]) -> tuple[Any, str, int]:
    outliers = OutlierModel.load(options["outliers"]) if "outliers" in options else None
    store = open_store(options["store"], anchor=options.get("anchor"))
    advisor = Advisor(None, store)
    bundle_id = advisor.activate(
        options["bundle"],
        person=options["person"],
        reason=options.get("reason", ""),
        guardrails=options.get("guardrails"),
        outliers=outliers,
    )
    return {"bundle_id": bundle_id, "mode": advisor.mode}, f"bundle {bundle_id} decides, in mode {advisor.mode}", OK


def _decide(options: dict[str, str]) -> tuple[Any, str, int]:
    decision = _advisor(options).decide(_state(options["state"]))
    lines = [f"decision {decision.id}: {decision.state or decision.status} ({decision.mode}, record {decision.record})"]
    lines += _orders(decision.orders or {})
    if decision.source == "fallback":
        lines.append(f"the fallback decided: {decision.body['detail']}")
    for check in decision.body["checks"]:
        changes = ", ".join(f"{c['arc']} {c['before']:g} -> {c['after']:g}" for c in check["changes"])
        if check["verdict"] != "pass":
            lines.append(f"{check['code']}: {check['detail']}: {changes}")
    lines += [f"unusual: {problem['detail']}" for problem in decision.body["unusual"]]
    lines += [f"needs a person: {why}" for why in decision.outside]
    lines += [] if decision.explanation is None else decision.explanation["text"]
    if decision.state == "proposed":
        lines.append(f"to approve: id={decision.id} action={(decision.action_hash or '')[:16]}")
    return decision.to_dict(), "\n".join(lines), OK


def _approve(options: dict[str, str]) -> tuple[Any, str, int]:
    state = _state(options["state"]) if "state" in options else None
    proposal = _advisor(options).approve(
        options["id"], person=options["person"], action_hash=options["action"], state=state
    )
    return _proposal(proposal)


def _modify(options: dict[str, str]) -> tuple[Any, str, int]:
    proposal = _advisor(options).modify(
        options["id"],
        _state(options["orders"]),
        person=options["person"],
        action_hash=options["action"],
        state=_state(options["state"]),
    )
    return _proposal(proposal)


def _reject(options: dict[str, str]) -> tuple[Any, str, int]:
    return _proposal(
        _advisor(options).reject(options["id"], person=options["person"], reason=options.get("reason", ""))
    )


def _execute(options: dict[str, str]) -> tuple[Any, str, int]:
    return _proposal(_advisor(options).execute(options["id"], _state(options["state"]), person=options["person"]))


def _resolve(options: dict[str, str]) -> tuple[Any, str, int]:
    advisor, reason = _advisor(options), options.get("reason", "")
    return _proposal(advisor.resolve(options["id"], options["outcome"], person=options["person"], detail=reason))


def _actual(options: dict[str, str]) -> tuple[Any, str, int]:
    advisor = _advisor(options)
    seq = advisor.note_actual(options["id"], _state(options["actual"]), person=options["person"])
    return {"record": seq}, f"on record as {seq}", OK


def _list(options: dict[str, str]) -> tuple[Any, str, int]:
    found = _advisor(options).proposals(options.get("state"))
    lines = [f"{p.id}  {p.state:9}  {p.action_hash[:16]}  until {p.expires}" for p in found]
    return [p.to_dict() for p in found], "\n".join(lines) or "no proposals", OK


def _mode(options: dict[str, str]) -> tuple[Any, str, int]:
    advisor = _advisor(options)
    if "set" not in options:
        return {"mode": advisor.mode}, advisor.mode, OK
    if "person" not in options:
        raise ConfigError("'mode' needs 'person=...' to change it; see --help")
    mode = advisor.set_mode(options["set"], person=options["person"], reason=options.get("reason", ""))
    return {"mode": mode}, mode, OK


def _halt(options: dict[str, str]) -> tuple[Any, str, int]:
    _advisor(options).halt(person=options["person"], reason=options.get("reason", ""))
    return {"mode": "halted"}, "halted", OK


def _roll_back(options: dict[str, str]) -> tuple[Any, str, int]:
    bundle_id = _advisor(options).roll_back(person=options["person"], reason=options.get("reason", ""))
    return {"bundle_id": bundle_id}, f"bundle {bundle_id} decides", OK


def _token(options: dict[str, str]) -> tuple[Any, str, int]:
    return *cli_service.token(options), OK


def _serve(options: dict[str, str]) -> tuple[Any, str, int]:
    cli_service.serve(options)
    return {"served": True}, "stopped", OK


def _audit(options: dict[str, str]) -> tuple[Any, str, int]:
    what = options["what"]
    if what not in _WHAT:
        raise ConfigError(f"no 'audit {what}' (allowed: {', '.join(_WHAT)}){did_you_mean(what, _WHAT)}")
    # Opened to look at: a broken record must be readable by the very command that says what is broken.
    store = open_store(options["store"], anchor=options.get("anchor"), inspect=True)
    if what == "anchor":
        if "person" not in options:
            raise ConfigError("'audit anchor' needs 'person=...': a new anchor forgets what the old one knew")
        path = options.get("anchor", f"{options['store']}.anchor")
        store.make_anchor(path, options["person"], options.get("reason", ""))
        return {"anchor": path}, f"a new anchor begins in {path}", OK
    if what == "show":
        records = [vars(record) for record in store.records(_number(options.get("first", "1")))]
        return records, "\n".join(f"{r['seq']:6}  {r['at']}  {r['kind']:12}  {r['body'][:300]}" for r in records), OK
    if what == "head":
        seq, digest = store.head()
        return {"head": f"{seq}:{digest}"}, f"{seq}:{digest}", OK
    verdict = verify(store, _head(options["head"]) if "head" in options else None)
    if verdict.finding is None:
        return verdict.to_dict(), f"{verdict.records} records, all good; head {verdict.records}:{verdict.head}", OK
    finding = verdict.finding
    return verdict.to_dict(), f"record {finding.seq} is {finding.fault}: {finding.detail}", UNVERIFIED


def _replay(options: dict[str, str]) -> tuple[Any, str, int]:
    store = open_store(options["store"], anchor=options.get("anchor"), inspect=True)
    found = replay(store)
    lines = [f"{found.decisions} decisions, {found.modifications} modifications and {found.intents} messages replayed"]
    lines += [f"record {seq}: {problem}" for seq, problem in found.differences]
    return found.to_dict(), "\n".join(lines), OK if found.ok else UNVERIFIED


def _shadow_report(options: dict[str, str]) -> tuple[Any, str, int]:
    # The twin is needed for this command alone.
    from agents.advisor.shadow import shadow_report

    report = shadow_report(open_store(options["store"], anchor=options.get("anchor"), inspect=True))
    return report.to_dict(), report.text(), OK


def _proposal(proposal: Any) -> tuple[Any, str, int]:
    text = "\n".join([f"proposal {proposal.id}: {proposal.state}", *_orders(proposal.orders)])
    return proposal.to_dict(), text, OK if proposal.state not in {"failed", "unknown"} else BLOCKED


def _orders(orders: Any) -> list[str]:
    return [f"  {arc}  {amount:g}" for arc, amount in orders.items()]


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"'{text}' is not a whole number")
    return int(text)


def _head(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise ConfigError(f"'{text[:90]}' is no head (allowed: NUMBER:HASH, as 'audit head' prints it)")
    return int(number), digest


_COMMANDS = {
    "activate": _Command(("bundle", "person"), ("guardrails", "outliers", "reason"), _activate),
    "decide": _Command(("state",), ("dispatch",), _decide),
    "list": _Command((), ("state",), _list),
    "approve": _Command(("id", "action", "person"), ("state", "dispatch"), _approve),
    "modify": _Command(("id", "action", "person", "orders", "state"), (), _modify),
    "reject": _Command(("id", "person"), ("reason",), _reject),
    "execute": _Command(("id", "person", "state"), ("dispatch",), _execute),
    "resolve": _Command(("id", "person", "outcome"), ("reason",), _resolve),
    "actual": _Command(("id", "person", "actual"), (), _actual),
    "mode": _Command((), ("set", "person", "reason"), _mode),
    "halt": _Command(("person",), ("reason",), _halt),
    "rollback": _Command(("person",), ("reason",), _roll_back),
    "token": _Command((), cli_service.TOKEN, _token),
    "serve": _Command((), cli_service.SERVE, _serve),
    "audit": _Command((), ("head", "first", "person", "reason"), _audit),
    "replay": _Command((), (), _replay),
    "shadow-report": _Command((), (), _shadow_report),
}
