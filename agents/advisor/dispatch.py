"""Where approved orders go: a folder, a webhook or an MQTT broker, chosen by an address."""

from __future__ import annotations

from typing import Protocol

from twin.errors import ConfigError, did_you_mean

__all__ = ["NotSentError", "Sender", "UnsureError", "open_sender"]

_SCHEMES = ("file", "http", "https", "mqtt")


class NotSentError(Exception):
    """The message was certainly not taken; ``again`` says whether another attempt can help."""

    def __init__(self, detail: str, *, again: bool) -> None:
        super().__init__(detail)
        self.again = again


class UnsureError(Exception):
    """The message may have been taken; only a person can find out, and nobody sends it again."""


class Sender(Protocol):
    """A way to hand orders on."""

    #: What a record calls it.
    name: str
    #: After how many seconds a message has been taken or not, or nobody knows.
    patience_seconds: float

    def send(self, key: str, body: bytes) -> str:
        """Hand a message on and wait until it is taken; what the receiver said.

        Parameters
        ----------
        key
            The idempotency key: a receiver that sees it again does nothing.
        body
            JSON.

        Raises
        ------
        NotSentError
            It was not taken.
        UnsureError
            It may have been.
        """
        ...


def open_sender(address: str) -> Sender:
    """A sender from ``file:folder``, ``https://host/path`` (or http) or ``mqtt://host:port/topic``.

    Raises
    ------
    ConfigError
        For any other address.
    ImportError
        For MQTT without the extra ``advisor``.
    """
    scheme, colon, rest = address.partition(":")
    if colon and rest:
        if scheme == "file":
            from agents.advisor.dispatch_file import FileSender

            return FileSender(rest.removeprefix("//"))
        if scheme in {"http", "https"}:
            from agents.advisor.dispatch_webhook import WebhookSender

            return WebhookSender(address)
        if scheme == "mqtt":
            from agents.advisor.dispatch_mqtt import MqttSender

            return MqttSender(address)
    raise ConfigError(
        f"cannot send orders to '{address}' (allowed: file:folder, https://host/path, mqtt://host:port/topic)"
        f"{did_you_mean(scheme, _SCHEMES)}"
    )
