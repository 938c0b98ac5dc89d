"""The commands around the service: ``serve`` and ``token``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.advisor.advisor import Advisor
from agents.advisor.dispatch import open_sender
from agents.advisor.outliers import OutlierModel
from agents.advisor.store import open_store
from agents.advisor.tokens import Tokens, add_token, list_tokens, remove_token
from twin.errors import ConfigError, did_you_mean

__all__ = ["SERVE", "TOKEN", "serve", "token"]

#: What ``serve`` may be given beside the store.
SERVE = (
    *("bundle", "mode", "guardrails", "outliers", "dispatch", "tokens", "bundles"),
    *("host", "port", "rate", "body", "timeout", "certificate", "key", "plain"),
)
#: What ``token`` may be given.
TOKEN = ("tokens", "name", "role", "days")

_WHAT = ("add", "list", "remove")


def token(options: dict[str, str]) -> tuple[Any, str]:
    """Make, list or remove tokens; data and a text. A token is in the text of ``add``, and nowhere else ever again."""
    what, path = options["what"], _tokens(options)
    if what not in _WHAT:
        raise ConfigError(f"no 'token {what}' (allowed: {', '.join(_WHAT)}){did_you_mean(what, _WHAT)}")
    if what == "list":
        callers = list_tokens(path)
        data = [{"name": caller.name, "role": caller.role, "expires": caller.expires} for caller in callers]
        lines = [f"{caller.name}  {caller.role}  {caller.expires or 'does not expire'}" for caller in callers]
        return data, "\n".join(lines) or "no tokens"
    if "name" not in options:
        raise ConfigError(f"'token {what}' needs 'name=...'")
    if what == "remove":
        remove_token(path, options["name"])
        return {"removed": options["name"]}, f"{options['name']} has no token any more"
    if "role" not in options:
        raise ConfigError("'token add' needs 'role=viewer|planner|approver'")
    days = None if "days" not in options else int(_number(options, "days", 0.0, 1.0, 36500.0))
    made = add_token(path, options["name"], options["role"], days=days)
    return {"name": options["name"], "token": made}, made


def serve(options: dict[str, str]) -> None:
    """Run the service until it is told to stop."""
    try:
        from agents.advisor.service_access import Settings
        from agents.advisor.service_run import check_address, run
    except ImportError as error:
        raise ImportError(f"the service needs {error.name or 'more packages'}: pip install 'cogtwin[serve]'") from None
    host, files = options.get("host", "127.0.0.1"), [options.get(name) for name in ("certificate", "key")]
    plain = options.get("plain", "no")
    if plain not in {"yes", "no"}:
        raise ConfigError(f"plain is 'yes' or 'no', not '{plain}'")
    if (files[0] is None) != (files[1] is None):
        raise ConfigError("certificate=FILE and key=FILE belong together")
    certificate, key = (None if name is None else _existing(name) for name in files)
    encrypted = certificate is not None
    check_address(host, encrypted=encrypted, plain=plain == "yes")
    port = int(_number(options, "port", 8080.0, 0.0, 65535.0))
    rate = _number(options, "rate", Settings.rate, 0.01, 1e9)
    body = int(_number(options, "body", Settings.body_bytes, 1024.0, 2.0**30))
    seconds = _number(options, "timeout", Settings.timeout_seconds, 0.1, 3600.0)
    tokens = Tokens(_tokens(options))
    advisor = _advisor(options)
    folder = Path(options["bundles"]) if "bundles" in options else advisor.active.bundle.path.parent
    run(
        advisor,
        tokens,
        # Behind a proxy that encrypts, the browser speaks TLS too.
        Settings(folder, rate=rate, body_bytes=body, timeout_seconds=seconds, secure=encrypted or plain == "yes"),
        host=host,
        port=port,
        certificate=certificate,
        key=key,
    )


def _advisor(options: dict[str, str]) -> Advisor:
    """The advisor; with a bundle its store may be a new one."""
    outliers = OutlierModel.load(options["outliers"]) if "outliers" in options else None
    sender = open_sender(options["dispatch"]) if "dispatch" in options else None
    store = open_store(options["store"], anchor=options.get("anchor"), create="bundle" in options)
    return Advisor(
        options.get("bundle"),
        store,
        mode=options.get("mode", "shadow"),
        guardrails=options.get("guardrails"),
        outliers=outliers,
        sender=sender,
    )


def _tokens(options: dict[str, str]) -> Path:
    """The file of the tokens: beside a SQLite store where nothing else is said."""
    if "tokens" in options:
        return Path(options["tokens"])
    store = options["store"].removeprefix("sqlite:///")
    if "://" in store:
        raise ConfigError("with a store that is no file, say where the tokens are: tokens=FILE")
    return Path(f"{store}.tokens")


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise ConfigError(f"there is no file {path}")
    return Path(path)


def _number(options: dict[str, str], name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"{name}={options[name]} must be a number from {low:g} to {high:g}")
    return value
