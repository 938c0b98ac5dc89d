"""Runs the service under uvicorn: one process, an address, and an end that loses nothing."""

from __future__ import annotations

import ipaddress
import signal
from pathlib import Path

import uvicorn

from agents.advisor.advisor import Advisor
from agents.advisor.service import create_app
from agents.advisor.service_access import Settings
from agents.advisor.tokens import Tokens
from twin.errors import ConfigError

__all__ = ["check_address", "run"]


def check_address(host: str, *, encrypted: bool, plain: bool) -> None:
    """ConfigError for an address that others reach, without encryption: tokens would be there for everybody to read.

    Parameters
    ----------
    host
        Name or number to listen on.
    encrypted
        The service has a certificate.
    plain
        Somebody said that it may be (behind a proxy that encrypts).
    """
    if encrypted or plain or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"host={host} is reached from elsewhere and would send tokens in plain; give certificate=FILE and "
            "key=FILE, or say plain=yes where a proxy before it encrypts"
        )


def run(
    advisor: Advisor,
    tokens: Tokens,
    settings: Settings,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    Parameters
    ----------
    host, port
        Where to listen.
    certificate, key
        PEM files; None serves without encryption.
    """
    config = uvicorn.Config(
        create_app(advisor, tokens, settings),
        host=host,
        port=port,
        # Its lines would hold addresses, which hold what was searched for; the numbers are in /metrics.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.timeout_seconds) + 5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    # uvicorn ends in good order and then raises the signal again, for whoever had a handler before: this one lets the
    # program end by itself, with the exit code of a good end.
    before = {number: signal.signal(number, _ended) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(_number: int, _frame: object) -> None:
    """The server has ended already when this is called."""
