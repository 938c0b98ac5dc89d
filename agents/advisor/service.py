"""The advisor over HTTP: ``/v1`` for systems, a page at ``/`` for persons, probes and numbers for who runs it.

``create_app`` makes an ASGI application; ``python -m agents.advisor serve`` runs it (:mod:`service_run`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response
from starlette.types import ASGIApp

from agents.advisor.advisor import Advisor
from agents.advisor.errors import AdvisorError
from agents.advisor.service_access import Parts, Settings, needs
from agents.advisor.service_api import router
from agents.advisor.service_errors import PROBLEM_SCHEMA, answer, answers, handle_errors, problem
from agents.advisor.service_limits import Limits, RateLimiter
from agents.advisor.service_metrics import Measured, Metrics
from agents.advisor.service_page import page_router
from agents.advisor.service_sessions import Sessions
from agents.advisor.tokens import Tokens

__all__ = ["create_app"]

_TEXT = "text/plain; version=1.0.0; charset=utf-8"


def create_app(advisor: Advisor, tokens: Tokens, settings: Settings | None = None) -> ASGIApp:
    """The service of an advisor.

    Parameters
    ----------
    advisor
        What decides; closed when the service ends.
    tokens
        Who may ask.
    settings
        Its limits.

    Returns
    -------
    ASGIApp
        For uvicorn or another server, one process of it: sessions and rates are kept in it.
    """
    settings = Settings() if settings is None else settings

    @asynccontextmanager
    async def alive(_app: FastAPI) -> AsyncIterator[None]:
        yield
        advisor.close()

    app = FastAPI(title="Advisor", version="1", docs_url=None, redoc_url=None, lifespan=alive)
    app.state.parts = Parts(advisor, tokens, settings, RateLimiter(settings.rate))
    app.state.sessions = Sessions(tokens, settings.session_seconds)
    metrics = Metrics(advisor)
    app.include_router(router)
    app.include_router(page_router)
    _add_probes(app, advisor, metrics)
    handle_errors(app, (*router.routes, *page_router.routes))
    _describe(app)
    limits = Limits(app, body_bytes=settings.body_bytes, timeout_seconds=settings.timeout_seconds)
    return Measured(limits, metrics)


def _add_probes(app: FastAPI, advisor: Advisor, metrics: Metrics) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """The process runs."""
        return answer({"status": "ok"})

    unready: dict[int | str, dict[str, Any]] = {
        key: value for key, value in answers().items() if key in {503, 408, 413}
    }

    @app.get("/readyz", responses=unready)
    def readyz() -> Response:
        """It can decide: the store answers, its chain is whole, and the bundle is loaded. Halted is ready too."""
        try:
            _check_ready(advisor)
        except AdvisorError as error:
            # Whoever has no token learns that it is not ready, not where its database is.
            return problem(AdvisorError(error.code, "the advisor cannot decide"), "/readyz", status=503)
        return answer({"status": "ready"})

    @app.get(
        "/metrics",
        dependencies=[Depends(needs("viewer"))],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **answers()},
    )
    def read_metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.text(), media_type=_TEXT)


def _check_ready(advisor: Advisor) -> None:
    # A transaction that writes nothing compares the chain with its anchor all the same.
    with advisor.store.write():
        pass
    advisor.load_current()


def _describe(app: FastAPI) -> None:
    """One schema of a problem for all operations, and no status that no operation gives."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            parts = schema.setdefault("components", {}).setdefault("schemas", {})
            parts["Problem"] = PROBLEM_SCHEMA
            for operations in schema["paths"].values():
                for operation in operations.values():
                    if "HTTPValidationError" in str(operation["responses"].get("422")):
                        del operation["responses"]["422"]
            for name in ("HTTPValidationError", "ValidationError"):
                parts.pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
