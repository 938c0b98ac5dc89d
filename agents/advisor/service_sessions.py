"""Who is logged in to the page: a random number in a cookie, kept in memory beside what it stands for."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from agents.advisor.errors import AdvisorError
from agents.advisor.tokens import Caller, Tokens

__all__ = ["COOKIE", "Session", "Sessions"]

COOKIE = "advisor_session"
#: More at once are not remembered; the oldest logs in again.
_REMEMBERED = 1000


@dataclass
class Session:
    """One login.

    Attributes
    ----------
    id
        What the cookie holds.
    sha256
        Of the token it was begun with.
    csrf
        What every form of it must carry.
    until
        Seconds of the sessions' clock.
    said
        Sentences for the next page.
    """

    id: str
    sha256: str
    csrf: str
    until: float
    said: list[str] = field(default_factory=list)

    def check(self, given: str) -> None:
        """AdvisorError ``FORM`` for a form that is not of this session."""
        if not hmac.compare_digest(self.csrf.encode(), given.encode("utf-8", "replace")):
            raise AdvisorError("FORM", "the form is not of this login; load the page again")


class Sessions:
    """All logins of one process: a restart ends them.

    Parameters
    ----------
    tokens
        A login ends with its token.
    seconds
        How long one lasts.
    clock
        Seconds.
    """

    def __init__(self, tokens: Tokens, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._tokens, self._clock = tokens, clock
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, caller: Caller) -> Session:
        """A new login."""
        until = self._clock() + self.seconds
        session = Session(secrets.token_urlsafe(32), caller.sha256, secrets.token_urlsafe(32), until)
        with self._lock:
            self._known[session.id] = session
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return session

    def find(self, session_id: str | None) -> tuple[Session, Caller] | None:
        """The login of a cookie and who it is; None when it is over."""
        with self._lock:
            session = self._known.get(session_id or "")
            if session is None or session.until <= self._clock():
                self._known.pop(session_id or "", None)
                return None
        caller = self._tokens.find_hash(session.sha256)
        return None if caller is None else (session, caller)

    def end(self, session_id: str) -> None:
        """Log out."""
        with self._lock:
            self._known.pop(session_id, None)
