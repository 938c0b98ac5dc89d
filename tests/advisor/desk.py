"""A service over an advisor, asked as its clients would ask it: in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from agents.advisor.service import create_app
from agents.advisor.service_access import Settings
from agents.advisor.tokens import ROLES, Tokens, add_token
from tests.advisor.helpers import Rig

ROOT = Path(__file__).resolve().parents[2]


class Client:
    """Asks an application in this process, one request after the other, as a browser would keep its cookies."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._loop = asyncio.Runner()
        transport = httpx.ASGITransport(app, **options)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://advisor.test")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._loop.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def close(self) -> None:
        # The client holds nothing open: what it asks is in this process.
        self._loop.close()


class Desk:
    """A service of a rig, with one token for each role."""

    def __init__(self, rig: Rig, **settings: Any) -> None:
        self.rig = rig
        path = rig.folder / "tokens"
        self.path = path
        self.tokens = {role: add_token(path, f"the {role}", role) for role in ROLES}
        self.app = create_app(rig.advisor, Tokens(path), Settings(**{"rate": 1e6, "bundles": rig.folder, **settings}))
        self.client = Client(self.app)

    def ask(self, method: str, path: str, role: str | None = "approver", **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(role, role)}"
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, role: str | None = "viewer", **options: Any) -> httpx.Response:
        return self.ask("GET", path, role, **options)

    def post(self, path: str, body: Any = None, role: str | None = "approver", **options: Any) -> httpx.Response:
        return self.ask("POST", path, role, json={} if body is None else body, **options)

    def decide(self, **changes: Any) -> dict[str, Any]:
        response = self.post("/v1/decisions", self.rig.state(**changes), "planner")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def login(self, role: str = "approver") -> None:
        """Log in to the page; the cookie stays with the client."""
        response = self.client.post("/login", data={"token": self.tokens[role]})
        assert response.status_code == 303, response.text

    def fill(self, path: str, on: str = "/", **form: str) -> httpx.Response:
        """Send a form of a page, with what that page hides in it."""
        (csrf, *_) = re.findall(r'name="csrf" value="([^"]+)"', self.client.get(on).text)
        return self.client.post(path, data={"csrf": csrf, **form})


def said(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, once it is certain that it is a whole problem of RFC 9457."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    data = response.json()
    assert data["status"] == response.status_code
    assert data["type"] == "about:blank"
    assert data["instance"] == response.request.url.path
    assert data["title"]
    assert data["detail"]
    return response.status_code, data["code"]


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``python -m agents.advisor serve`` in a process of its own: its address, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "agents.advisor", "serve", f"store={folder}/s.db", f"port={port}", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            if process.poll() is not None:
                raise AssertionError((folder / "log").read_text())
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        log.close()


@contextlib.contextmanager
def live(app: Any) -> Iterator[str]:
    """An application behind a real server in this process: its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
