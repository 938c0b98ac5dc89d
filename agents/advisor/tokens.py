"""Who may use the service: bearer tokens, kept as hashes in a file, each with a name and a role.

A token is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess. It is shown once, when it is
made. The name is the person that records of its steps name.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.advisor.clock import Clock, parse_time, system_clock, text_of
from agents.advisor.core import check_person
from agents.bundle_files import parse_json
from twin.errors import ConfigError, DataError, did_you_mean
from twin.files import write_bytes

__all__ = ["ROLES", "Caller", "Role", "Tokens", "add_token", "list_tokens", "remove_token"]

Role = Literal["viewer", "planner", "approver"]
#: Each may do what those before it may: look, ask for advice and halt, decide about it.
ROLES: tuple[Role, ...] = ("viewer", "planner", "approver")

_PREFIX = "advisor_"
_KEYS = {"name", "role", "sha256", "created", "expires"}


@dataclass(frozen=True)
class Caller:
    """Who holds a token.

    Attributes
    ----------
    name
        The person in records.
    role
        Of :data:`ROLES`.
    sha256
        Of the token.
    expires
        The moment after which it is nobody's; None for never.
    """

    name: str
    role: Role
    sha256: str
    expires: str | None

    def may(self, role: Role) -> bool:
        """True when this role includes ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Tokens:
    """The tokens of a file, read again whenever it changes: one that was removed is refused at once.

    Parameters
    ----------
    path
        The file, made by :func:`add_token`.
    clock
        Says what time it is.

    Raises
    ------
    ConfigError
        When the file is missing or is no token file. While it is so later on, nobody is let in.
    """

    def __init__(self, path: str | Path, clock: Clock = system_clock) -> None:
        self._path, self._clock = Path(path), clock
        self._callers = _read(self._path)
        self._seen = self._stamp()

    def find(self, token: str) -> Caller | None:
        """Who holds a token; None for one that is unknown or has expired."""
        return self.find_hash(_hash(token))

    def find_hash(self, sha256: str) -> Caller | None:
        """Who holds the token of this hash."""
        found = None
        for caller in self._current():
            # All are compared, each in constant time: how long it takes says nothing about any of them.
            if hmac.compare_digest(caller.sha256, sha256):
                found = caller
        if found is not None and found.expires is not None and parse_time(found.expires) <= self._clock():
            return None
        return found

    def _current(self) -> tuple[Caller, ...]:
        seen = self._stamp()
        if seen != self._seen:
            try:
                self._callers = _read(self._path)
            except ConfigError:
                self._callers = ()
            self._seen = seen
        return self._callers

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def add_token(path: str | Path, name: str, role: str, *, days: int | None = None) -> str:
    """Make a token and keep its hash; the token itself, which is kept nowhere.

    Parameters
    ----------
    path
        The file; made where there is none, readable by its owner alone.
    name
        The person; a name has one token.
    role
        Of :data:`ROLES`.
    days
        Until it expires; None for never.

    Raises
    ------
    ConfigError
        For a role that is none, a name that has one already, or a file that is no token file.
    AdvisorError
        ``PERSON`` for a name that cannot stand in a record.
    """
    check_person(name)
    if role not in ROLES:
        raise ConfigError(f"no role '{role}' (allowed: {', '.join(ROLES)}){did_you_mean(role, ROLES)}")
    token = _PREFIX + secrets.token_urlsafe(32)
    now = system_clock()
    expires = None if days is None else text_of(now + datetime.timedelta(days=days))
    entry = {"name": name, "role": role, "sha256": _hash(token), "created": text_of(now), "expires": expires}

    def with_it(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(other["name"] == name for other in entries):
            raise ConfigError(f"'{name}' has a token in {path} already; remove it first")
        return [*entries, entry]

    _change(Path(path), with_it, create=True)
    return token


def remove_token(path: str | Path, name: str) -> None:
    """Remove a person's token; ConfigError where there is none."""

    def without(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rest = [entry for entry in entries if entry["name"] != name]
        if len(rest) == len(entries):
            names = [entry["name"] for entry in entries]
            raise ConfigError(f"'{name}' has no token in {path}{did_you_mean(name, names)}")
        return rest

    _change(Path(path), without, create=False)


def list_tokens(path: str | Path) -> list[Caller]:
    """Whose tokens a file has; ConfigError as for :class:`Tokens`."""
    return list(_read(Path(path)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the tokens in {path}: {error.strerror}; make one with 'token add'") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no token file: {error}") from None
    entries = data.get("tokens") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and set(entry) == _KEYS for entry in entries):
        raise ConfigError(f"{path} is no token file: it must hold 'tokens', a list of {', '.join(sorted(_KEYS))}")
    return entries


def _read(path: Path) -> tuple[Caller, ...]:
    callers = []
    for entry in _entries(path):
        name, role, sha256, expires = (entry[key] for key in ("name", "role", "sha256", "expires"))
        try:
            good = isinstance(name, str) and role in ROLES and len(bytes.fromhex(sha256)) == 32
            good = good and (expires is None or bool(parse_time(expires)))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ConfigError(f"{path} is no token file: the entry of '{name}' is none that 'token add' writes")
        callers.append(Caller(name, role, sha256, expires))
    return tuple(callers)


def _change(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], *, create: bool) -> None:
    entries = change([] if create and not path.exists() else _entries(path))
    text = json.dumps({"tokens": entries}, indent=2, sort_keys=True) + "\n"
    try:
        write_bytes(path, text.encode(), mode=0o600)
    except (DataError, OSError) as error:
        raise ConfigError(f"the tokens cannot be written: {error}") from None
