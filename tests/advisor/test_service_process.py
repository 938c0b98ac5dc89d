"""``python -m agents.advisor serve`` as it is run: its start, many clients at once, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")

import httpx

from agents.advisor import open_store, verify
from agents.advisor.cli import OK, USAGE, main
from agents.advisor.replay import replay
from agents.advisor.tokens import add_token
from agents.bundle import Bundle
from tests.advisor.desk import ROOT, serving
from tests.advisor.helpers import around, rails
from tests.advisor.load import check_record, press

CLIENTS = 50


@pytest.fixture
def folder(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with all that the service needs."""
    (tmp_path / "rails.yaml").write_text(yaml.safe_dump(rails().to_dict()))
    (tmp_path / "ood.json").write_text(json.dumps(around(bundle, example, episodes=60).to_dict()))
    return tmp_path


def words(folder: Path, bundle: Bundle) -> tuple[str, ...]:
    files = (f"guardrails={folder}/rails.yaml", f"outliers={folder}/ood.json")
    return (f"bundle={bundle.path}", *files, "mode=advisory", "rate=1000000")


@pytest.fixture
def served(folder: Path, bundle: Bundle) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    token = add_token(folder / "s.db.tokens", "planner", "planner")
    with serving(folder, *words(folder, bundle)) as (address, process):
        yield address, token, process


def test_fifty_clients_at_once_lose_nothing(
    served: tuple[str, str, Any], folder: Path, example: dict[str, Any]
) -> None:
    address, token, _ = served
    load = press(address, token, example, clients=CLIENTS, seconds=3.0)
    assert load.errors == []
    assert {f"client {number} request 0" for number in range(CLIENTS)} <= set(load.decided)
    store = check_record(folder / "s.db", load)
    assert replay(store).ok
    store.close()


def test_of_fifty_who_approve_at_once_one_counts(folder: Path, bundle: Bundle, example: dict[str, Any]) -> None:
    tokens = [add_token(folder / "s.db.tokens", f"person {number}", "approver") for number in range(CLIENTS)]
    (folder / "out").mkdir()
    with serving(folder, *words(folder, bundle), f"dispatch=file:{folder}/out") as (address, _):
        headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
        decision = httpx.post(f"{address}/v1/decisions", json=example, headers=headers[0]).json()
        body = {"action_hash": decision["action_hash"], "state": example}
        start, results = threading.Barrier(CLIENTS), []

        def one(number: int) -> None:
            with httpx.Client(base_url=address, headers=headers[number], timeout=30.0, verify=False) as client:
                client.get("/healthz")
                start.wait()
                response = client.post(f"/v1/decisions/{decision['id']}/approve", json=body)
            results.append((response.status_code, response.json().get("code", response.json().get("state"))))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [(200, "done")] + [(409, "CONFLICT")] * (CLIENTS - 1)
    assert len(list((folder / "out").glob("*.json"))) == 1
    store = open_store(folder / "s.db", create=False)
    assert [record.kind for record in store.records()].count("approved") == 1
    assert verify(store).ok
    store.close()


def test_sigterm_answers_what_has_begun_and_ends_well(
    served: tuple[str, str, Any], folder: Path, example: dict[str, Any]
) -> None:
    address, token, process = served
    answered: dict[str, int] = {}
    lost: list[str] = []

    def ask(number: int) -> None:
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30.0) as client:
            for count in range(10_000):
                name = f"{number}/{count}"
                try:
                    response = client.post("/v1/decisions", json={**example, "request_id": name})
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    # Closed between two requests, or before this one was read: it must not be half done.
                    lost.append(name)
                    return
                assert response.status_code == 200, response.text
                answered[name] = response.json()["record"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while len(answered) < 40:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert process.wait(20) == OK
    assert (folder / "log").read_text().endswith("stopped\n")
    store = open_store(folder / "s.db", create=False)
    kept = {record.data["request"]["request_id"]: record.seq for record in store.records() if record.kind == "decision"}
    assert answered.items() <= kept.items()
    assert set(kept) - set(answered) <= set(lost)
    assert verify(store).ok
    store.close()


def test_it_begins_again_where_it_was(served: tuple[str, str, Any], folder: Path, example: dict[str, Any]) -> None:
    address, token, process = served
    headers = {"Authorization": f"Bearer {token}"}
    state = {**example, "request_id": "before"}
    before = httpx.post(f"{address}/v1/decisions", json=state, headers=headers).json()
    process.kill()
    process.wait()
    # The store knows its bundle, its guards and its mode.
    with serving(folder) as (address, _):
        assert httpx.post(f"{address}/v1/decisions", json=state, headers=headers).json() == before
        assert httpx.get(f"{address}/v1/mode", headers=headers).json() == {"mode": "advisory"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "make one with 'token add'"),
        ("host=0.0.0.0", "plain=yes"),
        ("host=example.org", "plain=yes"),
        ("port=70000", "from 0 to 65535"),
        ("rate=none", "must be a number"),
        ("certificate=x.pem", "belong together"),
        ("certificate=x.pem key=y.pem", "no file x.pem"),
        ("plain=perhaps", "'yes' or 'no'"),
        ("prot=80", "did you mean 'port'"),
    ],
)
def test_a_wrong_start_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert main(["serve", f"store={tmp_path}/s.db", *line.split()]) == USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize(("file", "message"), [("no.json", "cannot read no.json"), (__file__, "is not JSON")])
def test_a_picture_of_training_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, message: str
) -> None:
    add_token(tmp_path / "s.db.tokens", "ann", "viewer")
    assert main(["serve", f"store={tmp_path}/s.db", "bundle=x", f"outliers={file}"]) == USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s.db").exists()


def test_tokens_are_made_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(line: str) -> tuple[int, str, str]:
        code = main([*line.split(), f"store={tmp_path}/s.db"])
        return code, *capsys.readouterr()

    code, token, _ = run("token add name=ann role=approver days=30")
    assert code == OK
    assert token.startswith("advisor_")
    assert len(token.strip()) > 40
    assert run("token add name=bob role=viewer")[0] == OK
    code, listed, _ = run("token list")
    assert [line.split()[:2] for line in listed.splitlines()] == [["ann", "approver"], ["bob", "viewer"]]
    assert token.strip() not in listed + (tmp_path / "s.db.tokens").read_text()
    for line, message in (
        ("token add name=ann role=viewer", "has a token"),
        ("token add name=cid role=boss", "no role 'boss'"),
        ("token add name=cid", "needs 'role="),
        ("token add role=viewer", "needs 'name=...'"),
        ("token add name=cid role=viewer days=0", "from 1 to"),
        ("token remove name=bo", "did you mean 'bob'"),
        ("token make", "no 'token make'"),
        ("token list tokens=/nowhere/at/all", "cannot read"),
        ("token add name=cid role=viewer tokens=/nowhere/at/all", "cannot be written"),
    ):
        code, _, err = run(line)
        assert (code, message in err) == (USAGE, True), (line, err)
    assert run("token remove name=bob")[0] == OK
    assert run("token list")[1].split()[0] == "ann"
    assert main(["token", "list", "store=postgresql://u@h/d"]) == USAGE
    assert "tokens=FILE" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", '{"tokens": 5}', '{"tokens": [{}]}', "nonsense", None])
def test_a_token_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None) -> None:
    assert main(["token", "add", "name=ann", "role=viewer", f"store={tmp_path}/s.db"]) == OK
    data = json.loads((tmp_path / "s.db.tokens").read_text())
    data["tokens"][0]["sha256"] = "zz"
    (tmp_path / "s.db.tokens").write_text(json.dumps(data) if text is None else text)
    capsys.readouterr()
    assert main(["token", "list", f"store={tmp_path}/s.db"]) == USAGE
    assert "is no token file" in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None; from agents.advisor.cli import main; "
        f"sys.exit(main(['serve', 'store={tmp_path}/s.db']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == USAGE
    assert "pip install 'cogtwin[serve]'" in done.stderr
