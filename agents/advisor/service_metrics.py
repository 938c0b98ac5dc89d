"""What Prometheus reads: requests and how long they took, and where the advisor stands at the moment of asking."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.advisor.advisor import Advisor
from agents.advisor.errors import AdvisorError
from agents.advisor.modes import MODES

__all__ = ["Measured", "Metrics"]

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of one service, in a registry of its own.

    Parameters
    ----------
    advisor
        What is looked at when they are read.
    """

    def __init__(self, advisor: Advisor) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("advisor_requests", "Answers, by route and status", labels, registry=self._registry)
        self.seconds = Histogram(
            "advisor_request_seconds", "Time to answer", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._registry.register(_State(advisor))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)


class _State(Collector):
    """Reads the store when it is asked: other processes work on it too."""

    def __init__(self, advisor: Advisor) -> None:
        self._advisor = advisor

    def describe(self) -> list[Metric]:
        # Without it the registry would read the store when this is registered.
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            with self._advisor.store.read() as tx:
                records = tx.seq
                found = tx.query("SELECT state, COUNT(*) FROM proposals GROUP BY state")
                rows = tx.query(
                    "SELECT COUNT(*), COALESCE(SUM(stale), 0), COALESCE(SUM(outlier), 0), COALESCE(SUM(blocked), 0) "
                    "FROM decisions"
                )[0]
            mode = self._advisor.mode
        except AdvisorError:
            yield GaugeMetricFamily("advisor_store_up", "1 when the store answers", 0)
            return
        yield GaugeMetricFamily("advisor_store_up", "1 when the store answers", 1)
        yield GaugeMetricFamily("advisor_records", "Audit records", records)
        counted = GaugeMetricFamily("advisor_decisions", "Decisions on record, by what they were", labels=("kind",))
        for kind, number in zip(("all", "stale", "outlier", "blocked"), rows, strict=True):
            counted.add_metric((kind,), float(number))
        yield counted
        proposals = GaugeMetricFamily("advisor_proposals", "Proposals, by where they stand", labels=("state",))
        states = {"proposed": 0, "unknown": 0, **{str(state): int(number) for state, number in found}}
        for state, number in sorted(states.items()):
            proposals.add_metric((state,), float(number))
        yield proposals
        modes = GaugeMetricFamily("advisor_mode", "1 for the mode now", labels=("mode",))
        for name in MODES:
            modes.add_metric((name,), float(name == mode))
        yield modes


class Measured:
    """ASGI middleware that counts every answer, those of the limits too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            # The template, not the address: whoever asks for many addresses must not make many counters.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(_method(scope), route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in {"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} else "other"
