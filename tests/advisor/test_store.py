"""The record: added to only, whole on disk or refused, and every change to it is found and named."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.advisor import AdvisorError, Store, open_store, verify
from agents.advisor.canonical import canonical, digest, plain
from agents.advisor.store import record_hash
from tests.advisor.helpers import Clock, refused

# Examples are the same in every run; the machine may be busy.
PROFILE = settings(deadline=None, derandomize=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of eight records, closed."""
    store = open_store(tmp_path / "s.db", clock=Clock())
    for number in range(2, 9):
        with store.write() as tx:
            tx.append("note", {"number": number, "value": 0.1 * number})
    store.close()
    return tmp_path / "s.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Store]:
    store = open_store(path)
    yield store
    store.close()


def damage(path: Path, *statements: str) -> None:
    """Change the database as somebody with the file in his hands can: without the triggers."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER records_stay")
        connection.execute("DROP TRIGGER records_last")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rewrite(path: Path, first: int) -> None:
    """Write record ``first`` and all after it anew, so that the chain is right again, and the head too."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM records ORDER BY seq").fetchall()
        previous = rows[first - 2][5]
        for seq, at, kind, body, _, _ in rows[first - 1 :]:
            body = body.replace('"number":', '"number":1') if seq == first else body
            text = record_hash(previous, seq, at, kind, body)
            connection.execute(
                "UPDATE records SET body = ?, previous = ?, hash = ? WHERE seq = ?", (body, previous, text, seq)
            )
            previous = text
        connection.execute("UPDATE head SET hash = ?", (previous,))
    connection.close()


def finding(path: Path, **options: Any) -> tuple[int, str] | None:
    store = open_store(path, inspect=True)
    found = verify(store, **options).finding
    store.close()
    return None if found is None else (found.seq, found.fault)


def test_an_untouched_store_verifies(path: Path) -> None:
    store = open_store(path, inspect=True)
    verdict = verify(store)
    assert verdict.ok
    assert (verdict.records, verdict.head) == store.head()
    assert verdict.records == 8
    store.close()


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["UPDATE records SET body = '{}' WHERE seq = 4"], (4, "edited")),
        (["UPDATE records SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 1"], (1, "edited")),
        (["UPDATE records SET kind = 'nothing' WHERE seq = 8"], (8, "edited")),
        (["UPDATE records SET hash = previous WHERE seq = 5"], (5, "edited")),
        (["DELETE FROM records WHERE seq = 4"], (4, "deleted")),
        (["DELETE FROM records WHERE seq = 1"], (1, "deleted")),
        (
            [
                "UPDATE records SET seq = 100 WHERE seq = 4",
                "UPDATE records SET seq = 4 WHERE seq = 6",
                "UPDATE records SET seq = 6 WHERE seq = 100",
            ],
            (4, "reordered"),
        ),
        (
            [
                "DELETE FROM records WHERE seq = 4",
                *[f"UPDATE records SET seq = {n} WHERE seq = {n + 1}" for n in (4, 5)],
            ],
            (4, "reordered"),
        ),
        (["DELETE FROM records WHERE seq > 6"], (7, "truncated")),
        (
            [
                "DELETE FROM records WHERE seq > 6",
                "UPDATE head SET seq = 6, hash = (SELECT hash FROM records WHERE seq = 6)",
            ],
            (7, "truncated"),
        ),
        (["UPDATE head SET seq = 7"], (8, "rewritten")),
        (["INSERT INTO records SELECT 0, at, kind, body, previous, hash FROM records WHERE seq = 1"], (0, "deleted")),
    ],
)
def test_what_was_done_to_the_record_is_named_with_its_first_number(
    path: Path, statements: list[str], expected: tuple[int, str]
) -> None:
    damage(path, *statements)
    assert finding(path) == expected


def test_a_chain_written_anew_is_found_by_its_anchor(path: Path) -> None:
    damage(path)
    rewrite(path, 5)
    assert finding(path) == (5, "rewritten")


def test_a_record_written_anew_alone_is_found_without_an_anchor(path: Path) -> None:
    damage(path)
    with sqlite3.connect(path) as connection:
        seq, at, kind, body, previous, _ = connection.execute("SELECT * FROM records WHERE seq = 5").fetchone()
        text = record_hash(previous, seq, at, kind, body + " ")
        connection.execute("UPDATE records SET body = body || ' ', hash = ? WHERE seq = 5", (text,))
    connection.close()
    store = open_store(path, inspect=True)
    store.anchor = None
    found = verify(store).finding
    assert found is not None
    assert (found.seq, found.fault) == (6, "rewritten")
    store.close()


def test_a_head_kept_elsewhere_shows_that_even_the_anchor_was_rewritten(path: Path) -> None:
    store = open_store(path, inspect=True)
    head = store.head()
    store.close()
    damage(path)
    rewrite(path, 5)
    with sqlite3.connect(path) as connection:
        hashes = [row[0] for row in connection.execute("SELECT hash FROM records ORDER BY seq")]
    connection.close()
    Path(f"{path}.anchor").write_bytes(b"".join(bytes.fromhex(text) for text in hashes))
    assert finding(path) is None
    assert finding(path, expected=head) == (8, "rewritten")
    assert finding(path, expected=(9, "0" * 64)) == (9, "truncated")


def test_a_store_that_lost_records_takes_no_new_ones(path: Path) -> None:
    damage(
        path,
        "DELETE FROM records WHERE seq > 6",
        "UPDATE head SET seq = 6, hash = (SELECT hash FROM records WHERE seq = 6)",
    )
    refusal = refused(open_store, path)
    assert (refusal.code, refusal.status) == ("CHAIN_BROKEN", 503)
    assert "ends at record 6" in str(refusal)


def test_a_last_record_that_the_anchor_does_not_know_is_refused(path: Path) -> None:
    damage(path)
    rewrite(path, 8)
    assert refused(open_store, path).code == "CHAIN_BROKEN"


def test_a_store_whose_anchor_is_gone_opens_only_to_look_or_to_begin_a_new_one(path: Path) -> None:
    Path(f"{path}.anchor").unlink()
    assert refused(open_store, path).code == "CHAIN_BROKEN"
    assert finding(path) == (9, "anchor")
    store = open_store(path, inspect=True)
    store.make_anchor(f"{path}.anchor", "planner", "the disk failed")
    store.close()
    store = open_store(path)
    assert verify(store).ok
    assert [record.kind for record in store.records(9)] == ["anchored"]
    store.close()


def test_an_anchor_that_lags_is_filled_when_the_store_opens(path: Path) -> None:
    anchor = Path(f"{path}.anchor")
    whole = anchor.read_bytes()
    anchor.write_bytes(whole[: 5 * 32 + 7])
    open_store(path).close()
    assert anchor.read_bytes() == whole


def test_an_anchor_that_another_process_left_behind_is_filled_by_the_next_record(opened: Store, path: Path) -> None:
    os.truncate(f"{path}.anchor", 5 * 32)
    with opened.write() as tx:
        tx.append("note", {})
    assert Path(f"{path}.anchor").stat().st_size == 9 * 32
    assert verify(opened).ok


def test_records_can_be_neither_changed_nor_deleted_through_the_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for statement in ("UPDATE records SET body = '{}'", "DELETE FROM records"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    connection.close()


def test_a_table_that_says_other_than_the_records_is_found(opened: Store) -> None:
    with opened.write() as tx:
        tx.execute('INSERT INTO control VALUES (\'mode\', \'{"mode":"autonomous","seq":3}\')')
    found = verify(opened).finding
    assert found is not None
    assert found.fault == "tables"
    assert "autonomous" in found.detail


def test_a_block_that_raises_leaves_nothing(opened: Store) -> None:
    before = opened.head()

    def fail() -> None:
        with opened.write() as tx:
            tx.append("note", {})
            raise KeyError("no")

    with pytest.raises(KeyError):
        fail()
    assert opened.head() == before
    assert verify(opened).ok


def test_a_full_disk_refuses_and_the_record_goes_on_when_there_is_room(opened: Store) -> None:
    connection = opened.database._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    before = opened.head()

    def fill() -> None:
        for _ in range(100):
            with opened.write() as tx:
                tx.append("note", {"text": "x" * 3000})

    refusal = refused(fill)
    assert (refusal.code, refusal.status) == ("NO_RECORD", 503)
    assert "full" in refusal.detail
    connection.execute("PRAGMA max_page_count = 100000")
    with opened.write() as tx:
        tx.append("note", {})
    assert opened.head()[0] >= before[0] + 1
    assert verify(opened).ok


def test_an_anchor_that_cannot_be_written_refuses(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agents.advisor.anchor.os.pwrite", full)

    def note() -> None:
        with opened.write() as tx:
            tx.append("note", {})

    assert refused(note).code == "NO_RECORD"


@pytest.mark.parametrize("how", ["deleted", "replaced", "corrupted"])
def test_a_database_that_is_gone_refuses(opened: Store, path: Path, how: str) -> None:
    if how == "replaced":
        shutil.copy(path, f"{path}.copy")
        os.replace(f"{path}.copy", path)
    elif how == "deleted":
        path.unlink()
    else:
        opened.close()
        path.write_bytes(b"no database at all, and long enough to look at" * 100)

    def note() -> None:
        with (open_store(path) if how == "corrupted" else opened).write() as tx:
            tx.append("note", {})

    refusal = refused(note)
    assert (refusal.code, refusal.status) == ("NO_RECORD", 503)


def test_an_address_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    assert refused(open_store, tmp_path / "no" / "s.db").code == "NO_RECORD"
    assert refused(open_store, tmp_path / "s.db", create=False).code == "NO_RECORD"
    assert refused(open_store, "mysql://host/db").code == "NO_RECORD"
    assert not (tmp_path / "s.db").exists()


def test_threads_lose_no_record(opened: Store) -> None:
    def notes() -> None:
        for _ in range(20):
            with opened.write() as tx:
                tx.append("note", {})

    threads = [threading.Thread(target=notes) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened.head()[0] == 8 + 160
    assert verify(opened).ok


def test_processes_lose_no_record(path: Path) -> None:
    script = (
        "import sys\n"
        "from agents.advisor.store import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "for _ in range(25):\n"
        "    with store.write() as tx:\n"
        "        tx.append('note', {})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    store = open_store(path)
    assert store.head()[0] == 8 + 75
    assert verify(store).ok
    store.close()


def test_time_never_goes_back_for_what_expires(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path / "s.db", clock=clock)
    clock.forward(-100)
    with store.write() as tx:
        assert (tx.now - tx.clock).total_seconds() == 100
        record = tx.append("note", {})
    assert record.at < tx.at
    store.close()


# -- canonical JSON -----------------------------------------------------------------------------------------------

plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@PROFILE
@given(plain_data)
def test_canonical_json_comes_back_exactly_and_has_one_form(data: Any) -> None:
    text = canonical(plain(data))
    back = json.loads(text)
    assert canonical(back) == text
    assert digest(back) == digest(plain(data))


@PROFILE
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_exactly(number: float) -> None:
    back = json.loads(canonical([number]))[0]
    assert math.copysign(1.0, back) == math.copysign(1.0, number)
    assert back == number


@PROFILE
@given(st.floats() | st.integers() | st.text() | st.binary() | st.complex_numbers())
def test_anything_at_all_can_be_put_on_record(value: Any) -> None:
    canonical(plain({"value": value, 3: [value], None: (value,)})).encode()


def test_the_order_of_keys_does_not_matter_and_the_kind_of_number_does() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1]) != digest([1.0])
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical([math.nan])


def test_refusals_have_a_status_each() -> None:
    assert AdvisorError("STALE", "old").to_dict()["status"] == 422
    with pytest.raises(KeyError):
        _ = AdvisorError("NO_SUCH_CODE", "").status
