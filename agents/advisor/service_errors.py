"""Every refusal as ``application/problem+json`` (RFC 9457), with a code and each bad field by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from agents.advisor.errors import STATUS, AdvisorError, Problem
from twin.schema import key_path

__all__ = ["PROBLEM_SCHEMA", "answer", "answers", "handle_errors", "problem"]

#: Waits that a refusal suggests, seconds.
_RETRY = {"NO_RECORD": "5", "TIMEOUT": "1", "TOO_MANY": "1", "CLOCK_BACKWARDS": "5"}

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457, with the advisor's code, every bad field, and the audit record that holds the refusal.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "problems", "record"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "enum": sorted(STATUS)},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "place", "detail"],
                "properties": {key: {"type": "string"} for key in ("code", "place", "detail")},
            },
        },
        "record": {"type": ["integer", "null"]},
    },
}


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None, kind: str = "json") -> Response:
    """Data as JSON. In ASCII, so that names with half a character in them can be named in the answer too."""
    body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, dict(headers or {}), f"application/{kind}")


def problem(error: AdvisorError, path: str, *, status: int | None = None) -> Response:
    """A refusal as an answer.

    Parameters
    ----------
    error
        What was refused and why.
    path
        Of the request.
    status
        Another than the code's own.
    """
    said = {**error.to_dict(), "status": error.status if status is None else status}
    headers = {}
    if error.code == "TOKEN":
        headers["WWW-Authenticate"] = "Bearer"
    if error.code in _RETRY:
        headers["Retry-After"] = _RETRY[error.code]
    title = HTTPStatus(said["status"]).phrase
    return answer(
        {"type": "about:blank", "title": title, "instance": path, **said}, said["status"], headers, "problem+json"
    )


def answers(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What an operation may answer beside its data, for its description: the codes under their statuses."""
    # Any operation can meet these.
    every = ("REQUEST", "TOKEN", "ROLE", "SLOW", "TOO_LARGE", "TOO_MANY", "NO_RECORD", "CHAIN_BROKEN", "TIMEOUT")
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*every, *codes)):
        by_status.setdefault(STATUS[code], []).append(code)
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": ", ".join(found), "content": {"application/problem+json": schema}}
        for status, found in sorted(by_status.items())
    }


def handle_errors(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make every error of an application a problem; ``routes`` are those of its routers."""

    async def refused(request: Request, error: Exception) -> Response:
        return problem(error, request.url.path)  # type: ignore[arg-type]

    async def invalid(request: Request, error: Exception) -> Response:
        problems = [
            Problem("REQUEST", key_path(tuple(item["loc"])), f"{key_path(tuple(item['loc']))}: {item['msg']}")
            for item in error.errors()  # type: ignore[attr-defined]
        ]
        detail = "; ".join(entry.detail for entry in problems[:3])
        return problem(AdvisorError("REQUEST", detail, problems), request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        path, status = request.url.path, error.status_code  # type: ignore[attr-defined]
        if status == 405:
            # The router names the methods of the first route of this path; each has its own.
            found = (
                route for route in (*request.app.routes, *routes) if route.matches(request.scope)[0] is not Match.NONE
            )
            allowed = ", ".join(sorted({name for route in found for name in getattr(route, "methods", None) or ()}))
            response = problem(AdvisorError("METHOD", f"{path} takes {allowed}, not {request.method}"), path)
            response.headers["Allow"] = allowed
            return response
        if status == 404:
            return problem(AdvisorError("NOT_FOUND", f"there is nothing at {path}"), path)
        return problem(AdvisorError("REQUEST", str(error.detail)), path, status=status)  # type: ignore[attr-defined]

    async def broken(request: Request, error: Exception) -> Response:
        logging.getLogger("agents.advisor").error("a request failed", exc_info=error)
        said = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "instance": request.url.path}
        return answer({**said, "detail": "the log of the service says more"}, 500, kind="problem+json")

    app.add_exception_handler(AdvisorError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)
