"""Who asks, and what was sent: what every operation of the service needs before it begins."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from agents.advisor.advisor import Advisor
from agents.advisor.errors import AdvisorError, Problem, first_of
from agents.advisor.service_limits import RateLimiter
from agents.advisor.tokens import Caller, Role, Tokens
from agents.bundle_files import parse_json
from twin.schema import StrictModel, explain

__all__ = ["Parts", "Settings", "given_parts", "needs", "parts_of", "read_json", "taken", "takes", "valid"]

Model = TypeVar("Model", bound=StrictModel)

#: Deeper than any request: what nests further is an attack on the parser.
_DEPTH = 32


@dataclass(frozen=True)
class Settings:
    """How the service behaves.

    Attributes
    ----------
    bundles
        The folder whose bundles may be activated; None allows none.
    rate
        Requests a second for each token, twice as many at once.
    body_bytes, timeout_seconds
        See :class:`agents.advisor.service_limits.Limits`.
    session_seconds
        How long a login to the page lasts.
    secure
        The page is reached through TLS, so that its cookie is sent through nothing else.
    """

    bundles: Path | None = None
    rate: float = 50.0
    body_bytes: int = 1 << 20
    timeout_seconds: float = 10.0
    session_seconds: float = 8 * 3600.0
    secure: bool = False


@dataclass(frozen=True)
class Parts:
    """What the operations work with."""

    advisor: Advisor
    tokens: Tokens
    settings: Settings
    limiter: RateLimiter

    def count(self, caller: Caller | None, request: Request) -> None:
        """Count one request of a sender; AdvisorError ``TOO_MANY``."""
        host = request.client.host if request.client is not None else ""
        self.limiter.take(f"address {host}" if caller is None else f"token {caller.name}")


def parts_of(request: Request) -> Parts:
    """The parts of the application that a request came to."""
    parts = request.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError("the application was not made by create_app")
    return parts


async def given_parts(request: Request) -> Parts:
    """The same as a dependency: one that is not async would go through a thread of its own."""
    return parts_of(request)


_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="made by 'token add'")


def needs(role: Role) -> Callable[..., Awaitable[Caller]]:
    """A dependency: whoever asks has a token of this role or a higher one."""

    async def caller(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Caller:
        parts = parts_of(request)
        found = None if given is None else parts.tokens.find(given.credentials)
        parts.count(found, request)
        if found is None:
            what = "no token was given" if given is None else "the token is not known, or has expired"
            raise AdvisorError("TOKEN", f"{what}; send 'Authorization: Bearer TOKEN'")
        if not found.may(role):
            raise AdvisorError("ROLE", f"'{found.name}' is {found.role}; this needs {role}")
        return found

    return caller


def read_json(body: bytes, content_type: str | None) -> Any:
    """A body as data. NaN and Infinity are let through, so that what refuses them names the field.

    Raises
    ------
    AdvisorError
        ``MEDIA_TYPE`` or ``REQUEST``.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise AdvisorError("MEDIA_TYPE", f"send application/json, not {kind[:40] or 'nothing that says what it is'}")
    try:
        data = parse_json(body, constants=True)
    except (ValueError, RecursionError) as error:
        raise AdvisorError("REQUEST", f"the request is not JSON: {error}") from None
    if _too_deep(data):
        raise AdvisorError("REQUEST", f"the request nests more than {_DEPTH} levels")
    if b"\\ud" in body.lower():
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise AdvisorError("REQUEST", "the request has half a surrogate pair, which is no text") from None
    return data


async def taken(request: Request) -> Any:
    """A dependency: the body as data."""
    return read_json(await request.body(), request.headers.get("content-type"))


def takes(model: type[Model]) -> Callable[..., Awaitable[Model]]:
    """A dependency: the body as a model."""

    async def read(request: Request) -> Model:
        return valid(model, await taken(request))

    return read


def valid(model: type[Model], data: Any) -> Model:
    """Data as a model; AdvisorError ``REQUEST`` with every bad field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [line.partition(": ") for line in explain(error)]
        raise first_of([Problem("REQUEST", place, f"{place}: {said}") for place, _, said in found]) from None


def _too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_DEPTH):
        level = [
            inner
            for entry in level
            if isinstance(entry, dict | list)
            for inner in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return False
    return any(isinstance(entry, dict | list) for entry in level)
