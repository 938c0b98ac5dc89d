"""The same record in a real PostgreSQL server that the test starts itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.advisor import Advisor, AdvisorError, open_store, verify
from agents.advisor.replay import replay
from agents.bundle import Bundle
from tests.advisor.helpers import ARCS, Remembering, around, rails, refused
from tests.advisor.parts import unavailable
from tests.advisor.test_kill import after_a_crash, kill

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'cogtwin[advisor]'")
pytest.importorskip("psycopg", reason="needs psycopg: pip install 'cogtwin[advisor]'")


def programs() -> Path | None:
    """Where initdb and pg_ctl lie: Debian keeps them out of the path."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "pg_ctl").exists()), None)


class Server:
    """A server of its own in a temporary folder, on a free port, that can be stopped and started."""

    def __init__(self, place: Path, folder: Path) -> None:
        self._place, self._folder = place, folder
        # The server refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("initdb", "-D", str(folder / "data"), "-U", "advisor", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://advisor:secret@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._place / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=60,
            **self._user,
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self.run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    place = programs()
    if place is None:
        unavailable("postgresql")
    # Not below pytest's own folder, which only its user may enter.
    folder = Path(tempfile.mkdtemp(prefix="advisor-postgres-"))
    running = Server(place, folder)
    yield running
    with contextlib.suppress(subprocess.CalledProcessError):
        running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: Server) -> str:
    """An empty database."""
    import psycopg

    name = f"test_{time.monotonic_ns()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.removesuffix("postgres") + name


def advisor_of(url: str, bundle: Bundle, example: dict[str, Any], anchor: Path, **options: Any) -> Advisor:
    sender = Remembering()
    return Advisor(
        bundle,
        open_store(url, anchor=anchor),
        mode="advisory",
        guardrails=rails(),
        outliers=around(bundle, example, episodes=60),
        sender=sender,
        **options,
    )


def damage(url: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE records DISABLE TRIGGER records_stay")
        for statement in statements:
            connection.execute(statement)


def test_decisions_approvals_and_replay(url: str, bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    advisor = advisor_of(url, bundle, example, tmp_path / "anchor")
    decision = advisor.decide({**example, "request_id": "one"})
    assert advisor.decide({**example, "request_id": "one"}).id == decision.id
    proposal = advisor.approve(decision.id, person="planner", action_hash=str(decision.action_hash), state=example)
    assert proposal.state == "done"
    advisor.set_mode("autonomous", person="planner")
    assert advisor.decide(example).state == "done"
    assert verify(advisor.store).ok
    assert replay(advisor.store).ok
    assert "secret" not in advisor.store.name
    advisor.close()
    again = Advisor(None, open_store(url, anchor=tmp_path / "anchor"))
    assert again.mode == "autonomous"
    assert dict(again.proposal(decision.id).orders) == decision.orders
    assert set(decision.orders or {}) == set(ARCS)
    again.close()


def test_the_service_says_that_the_server_is_gone_and_goes_on_when_it_is_back(
    server: Server, url: str, bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
    from agents.advisor.service import create_app
    from agents.advisor.tokens import Tokens, add_token
    from tests.advisor.desk import Client, said

    headers = {"Authorization": f"Bearer {add_token(tmp_path / 'tokens', 'planner', 'planner')}"}
    advisor = advisor_of(url, bundle, example, tmp_path / "anchor")
    client = Client(create_app(advisor, Tokens(tmp_path / "tokens")))
    assert client.post("/v1/decisions", json=example, headers=headers).status_code == 200
    server.stop()
    response = client.post("/v1/decisions", json=example, headers=headers)
    assert said(response) == (503, "NO_RECORD")
    assert "secret" not in response.text
    assert said(client.get("/readyz")) == (503, "NO_RECORD")
    server.start()
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/decisions", json=example, headers=headers).status_code == 200
    # The case of letters does not count here either.
    params = {"text": "ON_HAND[North/item]", "kind": "decision", "limit": 1}
    found = client.get("/v1/audit", params=params, headers=headers).json()
    assert [entry["kind"] for entry in found["items"]] == ["decision"]
    assert client.get("/v1/decisions", params={"state": "proposed"}, headers=headers).json()["items"][1]["id"]
    client.close()
    advisor.close()


def test_of_fifty_who_approve_at_once_one_counts(
    url: str, bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    advisor = advisor_of(url, bundle, example, tmp_path / "anchor")
    decision = advisor.decide(example)
    second = Advisor(None, open_store(url, anchor=tmp_path / "anchor"), sender=Remembering())
    start, results = threading.Barrier(50), []

    def one(number: int) -> None:
        start.wait()
        try:
            (advisor, second)[number % 2].approve(
                decision.id, person=f"person {number}", action_hash=str(decision.action_hash), state=example
            )
            results.append("approved")
        except AdvisorError as error:
            results.append(f"{error.code} {error.status}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["CONFLICT 409"] * 49 + ["approved"]
    assert verify(advisor.store).ok
    advisor.close()
    second.close()


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["UPDATE records SET body = '{}' WHERE seq = 2"], (2, "edited")),
        (["DELETE FROM records WHERE seq = 2"], (2, "deleted")),
        (
            [
                "DELETE FROM records WHERE seq = 4",
                "UPDATE head SET seq = 3, hash = (SELECT hash FROM records WHERE seq = 3)",
            ],
            (4, "truncated"),
        ),
    ],
)
def test_what_was_done_to_the_record_is_found(
    url: str,
    bundle: Bundle,
    example: dict[str, Any],
    tmp_path: Path,
    statements: list[str],
    expected: tuple[int, str],
) -> None:
    import psycopg

    advisor = advisor_of(url, bundle, example, tmp_path / "anchor")
    advisor.decide(example)
    advisor.close()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("UPDATE records SET body = ''", "DELETE FROM records"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(statement)
    damage(url, *statements)
    store = open_store(url, anchor=tmp_path / "anchor", inspect=True)
    found = verify(store).finding
    assert found is not None
    assert (found.seq, found.fault) == expected
    store.close()


def test_a_server_that_is_gone_decides_nothing_and_goes_on_when_it_is_back(
    server: Server, url: str, bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    advisor = advisor_of(url, bundle, example, tmp_path / "anchor")
    advisor.decide(example)
    server.stop()
    refusal = refused(advisor.decide, example)
    assert (refusal.code, refusal.status) == ("NO_RECORD", 503)
    assert "secret" not in str(refusal)
    server.start()
    assert advisor.decide(example).status == "proposed"
    assert verify(advisor.store).ok
    advisor.close()


def test_a_process_killed_at_a_write_leaves_a_whole_record_and_sends_nothing_twice(
    url: str, bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    """Every sixth write point of those that tests/advisor/test_kill.py takes all of."""
    import psycopg

    origin = tmp_path / "origin"
    (origin / "out").mkdir(parents=True)
    advisor = advisor_of(url, bundle, example, origin / "store.db.anchor")
    advisor.set_mode("autonomous", person="planner")
    advisor.close()
    server, _, template = url.rpartition("/")
    addresses = {}

    def prepare(number: int) -> Path:
        folder = Path(shutil.copytree(origin, tmp_path / f"kill{number}"))
        addresses[folder] = f"{server}/{template}_{number}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {template}_{number} TEMPLATE {template}")
        (folder / "address").write_text(addresses[folder])
        return folder

    whole = prepare(9999)
    kill(tmp_path, example)
    writes = int((whole / "writes").read_text())
    assert writes > 50
    shutil.rmtree(whole)
    folders = [prepare(number) for number in range(2, writes + 1, 6)]
    kill(tmp_path, example)
    assert {(folder / "status").read_text() for folder in folders} == {"-9"}
    seen = Counter(state for folder in folders for state in after_a_crash(folder, example, addresses[folder]))
    assert seen["unknown"] >= 1
    assert seen["done"] >= 2
    assert seen["none"] >= 1


def test_threads_lose_no_record(url: str) -> None:
    store = open_store(url)

    def notes() -> None:
        for _ in range(20):
            with store.write() as tx:
                tx.append("note", {"text": "a\x00b"})

    threads = [threading.Thread(target=notes) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.head()[0] == 161
    assert verify(store).ok
    store.close()
