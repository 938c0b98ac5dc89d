"""A process that is killed at any write: the record stays whole, and nothing is executed twice.

One process imports everything and then makes a child for every write point: the child runs the same few decisions and
kills itself, with SIGKILL, just before its n-th write. Then the store is opened again as after a crash.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.advisor import Advisor, open_store, verify
from agents.advisor.dispatch_file import FileSender
from agents.advisor.replay import replay
from agents.bundle import Bundle
from tests.advisor.helpers import around, rails

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, os, signal, sqlite3, sys
from pathlib import Path
from agents.advisor import Advisor, open_store
from agents.advisor import anchor, database_sqlite, dispatch_file
from tests.advisor.test_kill import Logging, count_postgres

folder, state = Path(sys.argv[1]), json.loads(sys.argv[2])
writes = 0

def count():
    global writes
    writes += 1
    if writes == last:
        os.kill(os.getpid(), signal.SIGKILL)

def run(target):
    # The database's statements and commits, the anchor's bytes, and every step of writing a file of orders.
    class Counting(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql.split()[0] in {"INSERT", "UPDATE", "DELETE", "COMMIT"}:
                count()
            return super().execute(sql, *values)
    class Sqlite:
        def __getattr__(self, name):
            return getattr(sqlite3, name)
        def connect(self, *arguments, **options):
            return sqlite3.connect(*arguments, **options, factory=Counting)
    database_sqlite.sqlite3 = Sqlite()
    class Os:
        def __getattr__(self, name):
            found = getattr(os, name)
            if name in {"pwrite", "fsync", "link", "unlink", "chmod", "fdopen"}:
                def counted(*arguments):
                    count()
                    return found(*arguments)
                return counted
            return found
    anchor.os = dispatch_file.os = Os()
    address = target / "address"
    if address.exists():
        count_postgres(count)
    place = address.read_text() if address.exists() else target / "store.db"
    advisor = Advisor(None, open_store(place, anchor=target / "store.db.anchor"), sender=Logging(target / "out"))
    advisor.decide({**state, "request_id": "first"})
    advisor.set_mode("advisory", person="planner")
    decision = advisor.decide({**state, "request_id": "second"})
    advisor.approve(decision.id, person="planner", action_hash=decision.action_hash)
    advisor.execute(decision.id, state, person="planner")
    (target / "writes").write_text(str(writes))

targets = sorted(folder.glob("kill*"), key=lambda path: int(path.name[4:]))
for target in targets:
    last = int(target.name[4:])
    child = os.fork()
    if child == 0:
        try:
            run(target)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    (target / "status").write_text(str(os.waitstatus_to_exitcode(status)))
    if status == 0:
        break
"""


def count_postgres(count: Callable[[], None]) -> None:
    """Call ``count`` before every statement that writes to PostgreSQL, and before each commit of one."""
    import sqlalchemy

    from agents.advisor import database_postgres

    wrote = []

    class Counting(database_postgres._PostgresConnection):
        def execute(self, sql: str, values: Any = None) -> int:
            count()
            wrote.append(sql)
            return super().execute(sql, values)

    def commit(_connection: object) -> None:
        if wrote:
            wrote.clear()
            count()

    class Database(database_postgres.PostgresDatabase):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            sqlalchemy.event.listen(self._engine, "commit", commit)

    database_postgres._PostgresConnection = Counting  # type: ignore[misc]
    database_postgres.PostgresDatabase = Database  # type: ignore[misc]


class Logging(FileSender):
    """Keeps a line for every attempt to send: the files alone could not tell a second one."""

    def send(self, key: str, body: bytes) -> str:
        with (self.folder.parent / "sent.log").open("a") as log:
            log.write(f"{key}\n")
        return super().send(key, body)


def prepare(folder: Path, bundle: Bundle, example: dict[str, Any]) -> None:
    (folder / "out").mkdir(parents=True)
    advisor = Advisor(
        bundle, folder / "store.db", mode="advisory", guardrails=rails(), outliers=around(bundle, example, episodes=60)
    )
    advisor.set_mode("autonomous", person="planner")
    advisor.close()


def kill(folder: Path, example: dict[str, Any]) -> None:
    """Run a child for every folder ``kill<n>``, until one is not killed any more."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), json.dumps(example)],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_process_killed_at_any_write_leaves_a_whole_record_and_sends_nothing_twice(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    prepare(tmp_path / "origin", bundle, example)
    for number in range(1, 200):
        shutil.copytree(tmp_path / "origin", tmp_path / f"kill{number}")
    kill(tmp_path, example)
    ran = [folder for folder in tmp_path.glob("kill*") if (folder / "status").exists()]
    codes = Counter((folder / "status").read_text() for folder in ran)
    # Each but the last was killed, and the last came to its end.
    assert codes == {"-9": len(ran) - 1, "0": 1}
    assert len(ran) > 60
    seen: Counter[str] = Counter()
    for folder in ran:
        seen += Counter(after_a_crash(folder, example))
    # The points between intent and outcome were among them, and so were those before and after.
    assert seen["unknown"] >= 6
    assert seen["done"] >= 20
    assert seen["none"] >= 5


def after_a_crash(folder: Path, example: dict[str, Any], address: str | None = None) -> list[str]:
    """Open the store again as another process does; the states of what was proposed, ``none`` where nothing was."""
    out = folder / "out"
    before = {path.name: path.read_bytes() for path in out.glob("*.json")}
    store = open_store(address or folder / "store.db", anchor=folder / "store.db.anchor")
    advisor = Advisor(None, store, sender=Logging(out))
    assert verify(store).ok, folder
    proposals = advisor.proposals()
    states = [proposal.state for proposal in proposals]
    assert "executing" not in states
    for proposal in proposals:
        sent = [name for name in before if name.startswith(proposal.id)]
        # What was sent has an intent on record, and what has an outcome was sent.
        assert len(sent) <= 1
        if sent:
            assert proposal.state in {"done", "unknown"}
        if proposal.state == "done":
            assert sent
    if "unknown" in states:
        assert advisor.mode != "autonomous"
    # The same request again: no second message for the first, whatever had become of it.
    again = advisor.decide({**example, "request_id": "first"})
    files = {path.name for path in out.glob("*.json")}
    if any(proposal.id == again.id for proposal in proposals):
        assert files == set(before)
    log = out.parent / "sent.log"
    attempts = Counter(log.read_text().splitlines()) if log.exists() else Counter()
    assert set(attempts.values()) <= {1}, folder
    assert verify(store).ok
    assert replay(store).ok
    advisor.close()
    return states or ["none"]
