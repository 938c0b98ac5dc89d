"""Sending: whole or not at all, never twice by itself, and what is not known is said to be unknown."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.advisor.dispatch import NotSentError, UnsureError, open_sender
from agents.advisor.dispatch_file import FileSender
from agents.advisor.dispatch_webhook import WebhookSender
from agents.advisor.replay import replay
from tests.advisor.helpers import Rig, refused
from tests.advisor.parts import program, unavailable
from twin.errors import ConfigError

MOSQUITTO = program("mosquitto", "/usr/sbin", "/usr/local/sbin")


def executed(rig: Rig) -> Any:
    decision = rig.advisor.decide(rig.state())
    return rig.advisor.approve(decision.id, person="planner", action_hash=str(decision.action_hash), state=rig.state())


def test_what_was_certainly_not_taken_fails_after_three_attempts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.advisor.outbox._WAITS", (0.0, 0.0))
    rig.sender.error = NotSentError("no connection", again=True)
    assert executed(rig).state == "failed"
    assert len(rig.sender.sent) == 3
    assert len({key for key, _ in rig.sender.sent}) == 1
    assert rig.last("outcome")["detail"] == "no connection"
    rig.sender.error = NotSentError("refused", again=False)
    assert executed(rig).state == "failed"
    assert len(rig.sender.sent) == 4


def test_orders_that_were_not_taken_are_neither_the_last_ones_nor_spent(make: Callable[..., Rig]) -> None:
    limit = {"name": "money", "kind": "budget", "unit": "EUR", "limit": 1e6, "per": "day"}
    rig = make(limits=[limit])
    taken = executed(rig)
    rig.sender.error = NotSentError("refused", again=False)
    decision = rig.advisor.decide(rig.state())
    orders = dict.fromkeys(taken.orders, 1.0)
    changed = rig.advisor.modify(
        decision.id, orders, person="planner", action_hash=str(decision.action_hash), state=rig.state()
    )
    assert rig.advisor.execute(changed.id, rig.state(), person="planner").state == "failed"
    facts = rig.advisor.decide(rig.state()).body["facts"]
    assert facts["previous"] == dict(taken.orders)
    assert facts["used"] == {"money": taken.spend}


@pytest.mark.parametrize("error", [UnsureError("no answer"), RuntimeError("a sender's own mistake")])
def test_what_may_have_been_taken_is_unknown_and_sent_once(rig: Rig, error: Exception) -> None:
    rig.sender.error = error
    proposal = executed(rig)
    assert proposal.state == "unknown"
    assert len(rig.sender.sent) == 1
    refusal = refused(rig.advisor.execute, proposal.id, rig.state(), person="planner")
    assert (refusal.code, refusal.status) == ("CONFLICT", 409)
    rig.advisor.recover()
    assert len(rig.sender.sent) == 1


def test_an_unknown_outcome_is_resolved_by_a_person_who_looked(rig: Rig) -> None:
    rig.sender.error = UnsureError("no answer")
    proposal = executed(rig)
    assert refused(rig.advisor.resolve, proposal.id, "unknown", person="planner").code == "REQUEST"
    assert rig.advisor.resolve(proposal.id, "done", person="planner", detail="it is in the system").state == "done"
    assert refused(rig.advisor.resolve, proposal.id, "failed", person="planner").code == "CONFLICT"


def test_an_outcome_that_comes_too_late_is_kept_and_changes_nothing(rig: Rig) -> None:
    proposal = executed(rig)
    assert rig.advisor.report(proposal.id, "failed", "the carrier cancelled").state == "done"
    assert rig.last("late_outcome")["outcome"] == "failed"
    assert refused(rig.advisor.report, proposal.id, "maybe").code == "REQUEST"


def test_an_execution_without_an_outcome_in_time_is_unknown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    decision = rig.advisor.decide(rig.state())

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig.sender, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rig.advisor.approve(decision.id, person="planner", action_hash=str(decision.action_hash), state=rig.state())
    assert rig.advisor.recover() == []
    assert rig.advisor.proposal(decision.id).state == "executing"
    rig.clock.forward(1000.0)
    assert rig.advisor.recover() == [decision.id]
    assert rig.advisor.proposal(decision.id).state == "unknown"


def test_without_a_sender_the_orders_are_the_callers(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.advisor.outbox._sender = None
    proposal = executed(rig)
    assert proposal.state == "done"
    assert rig.last("intent")["to"] == "the caller"
    assert replay(rig.store).ok


# -- a folder -----------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_once(tmp_path: Path) -> None:
    sender = FileSender(tmp_path)
    assert sender.send("key", b"{}") == str(tmp_path / "key.json")
    assert sender.send("key", b"{}").endswith("was there already")
    with pytest.raises(NotSentError, match="exists with other orders"):
        sender.send("key", b"[]")
    assert [path.name for path in tmp_path.iterdir()] == ["key.json"]
    assert (tmp_path / "key.json").read_bytes() == b"{}"


def test_a_folder_that_is_not_there_is_refused_or_fails(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        FileSender(tmp_path / "no")
    folder = tmp_path / "out"
    folder.mkdir()
    sender = FileSender(folder)
    folder.rmdir()
    with pytest.raises(NotSentError) as caught:
        sender.send("key", b"{}")
    assert caught.value.again


def test_a_file_that_may_not_be_on_disk_is_unsure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FileSender(tmp_path)
    import os

    honest, calls = os.fsync, iter(range(9))

    def fail(handle: int) -> None:
        if next(calls) == 1:
            raise OSError(5, "Input/output error")
        honest(handle)

    monkeypatch.setattr("agents.advisor.dispatch_file.os.fsync", fail)
    with pytest.raises(UnsureError, match="not to disk"):
        sender.send("key", b"{}")


@pytest.mark.parametrize("address", ["ftp://host/x", "file:", "nonsense", "htps://host/x"])
def test_an_address_that_leads_nowhere_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="allowed: file:folder"):
        open_sender(address)


# -- a webhook ----------------------------------------------------------------------------------------------------


class Hook:
    """A web server that answers as it is told."""

    def __init__(self) -> None:
        self.status, self.seen, self.wait = 200, [], 0.0
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.seen.append((self.path, dict(self.headers), body))
                time.sleep(hook.wait)
                if hook.status == 0:
                    self.close_connection = True
                    return
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/orders?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


def test_a_webhook_gets_the_orders_with_their_key(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_WEBHOOK_TOKEN", "secret")
    sender = open_sender(hook.url)
    assert "answered 200" in sender.send("key-1", b'{"orders":[]}')
    ((path, headers, body),) = hook.seen
    assert path == "/orders?x=1"
    assert headers["Idempotency-Key"] == "key-1"
    assert headers["Authorization"] == "Bearer secret"
    assert body == b'{"orders":[]}'
    assert "secret" not in sender.name
    assert "x=1" not in sender.name


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, NotSentError), (409, NotSentError), (500, UnsureError), (302, UnsureError), (0, UnsureError)],
)
def test_a_webhooks_answer_says_what_is_known(hook: Hook, status: int, error: type[Exception]) -> None:
    hook.status = status
    with pytest.raises(error):
        open_sender(hook.url).send("key", b"{}")
    assert len(hook.seen) == 1


def test_a_webhook_that_does_not_answer_is_unsure_and_one_that_is_not_there_is_not(hook: Hook) -> None:
    hook.wait = 0.4
    with pytest.raises(UnsureError, match="no answer"):
        WebhookSender(hook.url, timeout_seconds=0.1).send("key", b"{}")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(NotSentError) as caught:
        WebhookSender(f"http://127.0.0.1:{port}/", timeout_seconds=1.0).send("key", b"{}")
    assert caught.value.again


@pytest.mark.parametrize("url", ["http://", "http://user:password@host/", "https:///path"])
def test_a_webhook_address_is_checked(url: str) -> None:
    with pytest.raises(ConfigError):
        WebhookSender(url)


# -- MQTT ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A mosquitto of its own on a free port."""
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt: pip install 'cogtwin[advisor]'")
    if MOSQUITTO is None:
        unavailable("mosquitto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen(
        [str(MOSQUITTO), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("mosquitto did not start")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_a_real_broker_delivers_the_orders_once(broker: int, make: Callable[..., Rig]) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    got: list[dict[str, Any]] = []
    ready, arrived = threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        got.append(json.loads(message.payload))
        arrived.set()

    client.on_message = on_message
    client.connect("127.0.0.1", broker)
    client.subscribe("plant/orders", qos=2)
    client.loop_start()
    assert ready.wait(10)
    rig = make()
    rig.advisor.outbox._sender = open_sender(f"mqtt://127.0.0.1:{broker}/plant/orders")
    proposal = executed(rig)
    assert proposal.state == "done"
    assert arrived.wait(10)
    time.sleep(0.1)
    client.disconnect()
    client.loop_stop()
    (message,) = got
    assert {entry["arc"]: entry["order"] for entry in message["orders"]} == dict(proposal.orders)
    assert message["key"].startswith(proposal.id)
    assert rig.last("outcome")["detail"].startswith(f"mqtt://127.0.0.1:{broker}/plant/orders confirmed")


def test_a_broker_that_is_not_there_was_not_sent_to_and_one_that_is_silent_is_unsure() -> None:
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt: pip install 'cogtwin[advisor]'")
    from agents.advisor.dispatch_mqtt import MqttSender

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(NotSentError):
            MqttSender(f"mqtt://127.0.0.1:{port}/t", timeout_seconds=0.3).send("key", b"{}")
        silent.listen()
        with pytest.raises(NotSentError, match="not accepted"):
            MqttSender(f"mqtt://127.0.0.1:{port}/t", timeout_seconds=0.3).send("key", b"{}")


def test_a_broker_that_accepts_and_never_confirms_is_unsure() -> None:
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt: pip install 'cogtwin[advisor]'")
    from agents.advisor.dispatch_mqtt import MqttSender

    def half(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x02\x00\x00")  # CONNACK: accepted
            time.sleep(0.8)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=half, args=(server,))
        thread.start()
        with pytest.raises(UnsureError, match="did not confirm"):
            MqttSender(f"mqtt://127.0.0.1:{server.getsockname()[1]}/t", timeout_seconds=0.3).send("key", b"{}")
        thread.join()


@pytest.mark.parametrize("url", ["mqtt://host", "mqtt:///topic", "mqtt://host/a/#", "mqtt://user:password@host/topic"])
def test_an_mqtt_address_is_checked(url: str) -> None:
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt: pip install 'cogtwin[advisor]'")
    with pytest.raises(ConfigError):
        open_sender(url)
