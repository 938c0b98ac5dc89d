"""Orders as a POST to a web address, with the key in the header ``Idempotency-Key``."""

from __future__ import annotations

import http.client
import os
import urllib.parse

from agents.advisor.dispatch import NotSentError, UnsureError
from twin.errors import ConfigError

__all__ = ["WebhookSender"]


class WebhookSender:
    """Posts JSON; 2xx is taken, 4xx is refused, anything else leaves it open. Redirects are not followed.

    Parameters
    ----------
    url
        ``http://`` or ``https://``. A bearer token is taken from the environment, ``ADVISOR_WEBHOOK_TOKEN``, so that it
        stands in no command line and no record.
    timeout_seconds
        Of the connection, and of each wait for the answer.
    """

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"'{url}' is no address for orders (allowed: http://host/path, https://host/path)")
        if parts.username is not None:
            raise ConfigError("an address for orders holds no password; put a token in ADVISOR_WEBHOOK_TOKEN")
        self._parts, self._timeout = parts, timeout_seconds
        self.name = urllib.parse.urlunsplit(parts._replace(query=""))
        self.patience_seconds = 3.0 * timeout_seconds

    def send(self, key: str, body: bytes) -> str:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        token = os.environ.get("ADVISOR_WEBHOOK_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            try:
                connection.connect()
            except OSError as error:
                raise NotSentError(f"{self.name}: no connection: {error}", again=True) from None
            path = urllib.parse.urlunsplit(("", "", self._parts.path or "/", self._parts.query, ""))
            try:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                response.read(1 << 16)
            except (OSError, http.client.HTTPException) as error:
                raise UnsureError(f"{self.name}: sent, and no answer: {type(error).__name__} {error}") from None
        finally:
            connection.close()
        said = f"{self.name} answered {response.status}"
        if 200 <= response.status < 300:
            return said
        if 400 <= response.status < 500:
            raise NotSentError(said, again=False)
        raise UnsureError(said)
