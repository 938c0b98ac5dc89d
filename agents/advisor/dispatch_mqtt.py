"""Orders as an MQTT message of quality of service 2, which a broker takes exactly once: the extra ``advisor``."""

from __future__ import annotations

import os
import threading
import urllib.parse
from typing import Any

from agents.advisor.dispatch import NotSentError, UnsureError
from twin.errors import ConfigError

__all__ = ["MqttSender"]

_PORT = 1883


class MqttSender:
    """Publishes to one topic; the key is in the message, under ``key``.

    Parameters
    ----------
    url
        ``mqtt://host:port/topic``. User and password are taken from the environment, ``ADVISOR_MQTT_USER`` and
        ``ADVISOR_MQTT_PASSWORD``.
    timeout_seconds
        Of the connection, and of the broker's last word.

    Raises
    ------
    ConfigError
        For an address without host or topic.
    ImportError
        Without paho-mqtt.
    """

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError:
            raise ImportError("sending orders by MQTT needs paho-mqtt: pip install 'cogtwin[advisor]'") from None
        parts = urllib.parse.urlsplit(url)
        self._topic = parts.path.removeprefix("/")
        if parts.scheme != "mqtt" or not parts.hostname or not self._topic or {"#", "+"} & set(url):
            raise ConfigError(f"'{url}' is no address for orders (allowed: mqtt://host:port/topic)")
        if parts.username is not None:
            raise ConfigError("an address for orders holds no password; put it in ADVISOR_MQTT_PASSWORD")
        self._host, self._port, self._timeout = parts.hostname, parts.port or _PORT, timeout_seconds
        self.name = f"mqtt://{self._host}:{self._port}/{self._topic}"
        self.patience_seconds = 3.0 * timeout_seconds

    def send(self, key: str, body: bytes) -> str:
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        connected, reason = threading.Event(), ["no answer"]

        def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            reason[0] = str(code)
            if not code.is_failure:
                connected.set()

        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = on_connect
        client.connect_timeout = self._timeout
        user = os.environ.get("ADVISOR_MQTT_USER")
        if user:
            client.username_pw_set(user, os.environ.get("ADVISOR_MQTT_PASSWORD"))
        try:
            try:
                client.connect(self._host, self._port)
            except (OSError, ValueError) as error:
                raise NotSentError(f"{self.name}: no connection: {error}", again=True) from None
            client.loop_start()
            if not connected.wait(self._timeout):
                raise NotSentError(f"{self.name}: not accepted: {reason[0]}", again=False)
            try:
                message = client.publish(self._topic, body, qos=2)
                message.wait_for_publish(self._timeout)
                taken = message.is_published()
            except (RuntimeError, ValueError) as error:
                raise UnsureError(f"{self.name}: {error}") from None
            if not taken:
                raise UnsureError(f"{self.name}: published, and the broker did not confirm it in {self._timeout:g} s")
            client.disconnect()
        finally:
            client.loop_stop()
        return f"{self.name} confirmed message {message.mid}"
