"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.advisor.cli import BLOCKED, OK, UNVERIFIED, USAGE, main
from agents.advisor.outliers import OutlierModel
from agents.bundle import Bundle
from tests.advisor.helpers import around, rails

ROOT = Path(__file__).resolve().parents[2]


class Shell:
    """Runs commands in a folder with a store, and gives exit code, stdout and stderr."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, line: str) -> tuple[int, str, str]:
        words = [word.replace("@", f"{self.folder}/") for word in line.split()]
        if "store=" not in line and words and words[0] not in {"--help", "nothing"}:
            words.append(f"store={self.folder}/s.db")
        code = main(words)
        out, err = self._capsys.readouterr()
        return code, out, err

    def data(self, line: str) -> Any:
        code, out, err = self(f"{line} format=json")
        assert code == OK, err
        return json.loads(out)


@pytest.fixture
def shell(bundle: Bundle, example: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell with an advisory bundle, its state and an empty folder for orders."""
    (tmp_path / "out").mkdir()
    (tmp_path / "state.json").write_text(json.dumps(example))
    (tmp_path / "rails.yaml").write_text(yaml.safe_dump(rails().to_dict()))
    (tmp_path / "ood.json").write_text(json.dumps(around(bundle, example, episodes=60).to_dict()))
    shell = Shell(tmp_path, capsys)
    code, out, err = shell(f"activate bundle={bundle.path} person=planner guardrails=@rails.yaml outliers=@ood.json")
    assert code == OK, err
    assert "in mode shadow" in out
    assert shell("mode set=advisory person=planner")[:2] == (OK, "advisory\n")
    return shell


def test_from_a_state_to_orders_that_are_sent(shell: Shell) -> None:
    decision = shell.data("decide state=@state.json")
    assert decision["state"] == "proposed"
    listed = shell.data("list state=proposed")
    assert [entry["id"] for entry in listed] == [decision["id"]]
    line = f"approve id={decision['id']} action={decision['action_hash'][:16]} person=approver"
    code, out, _ = shell(f"{line} state=@state.json dispatch=file:@out")
    assert code == OK
    assert ": done" in out
    (file,) = (shell.folder / "out").iterdir()
    orders = json.loads(file.read_text())["orders"]
    assert {entry["arc"]: entry["order"] for entry in orders} == decision["orders"]
    assert shell("audit")[0] == OK
    code, out, _ = shell("replay")
    assert code == OK
    assert "1 decisions, 0 modifications and 1 messages replayed" in out


def test_texts_say_what_to_do_next(shell: Shell) -> None:
    code, out, _ = shell("decide state=@state.json")
    assert code == OK
    assert "to approve: id=" in out
    assert "plant->central:rail:item" in out
    assert "proposed" in shell("list")[1]


def test_a_person_modifies_rejects_and_halts(shell: Shell) -> None:
    decision = shell.data("decide state=@state.json")
    (shell.folder / "mine.json").write_text(json.dumps(dict.fromkeys(decision["orders"], 7.0)))
    line = f"modify id={decision['id']} action={decision['action_hash']} person=planner orders=@mine.json"
    assert shell.data(f"{line} state=@state.json")["state"] == "modified"
    assert shell(f"execute id={decision['id']} person=planner state=@state.json")[0] == OK
    code, _, err = shell(f"reject id={decision['id']} person=planner")
    assert (code, err[:17]) == (BLOCKED, "Refused. CONFLICT")
    other = shell.data("decide state=@state.json")
    assert shell(f"reject id={other['id']} person=planner reason=no")[0] == OK
    assert shell("halt person=planner")[0] == OK
    code, _, err = shell("decide state=@state.json format=json")
    assert code == BLOCKED
    assert json.loads(err)["status"] == 423


def test_what_really_happened_goes_on_record(shell: Shell, bundle: Bundle) -> None:
    decision = shell.data("decide state=@state.json")
    actual = {"orders": dict.fromkeys(bundle.spec.arc_names, 3.0), "cost": 12.5}
    (shell.folder / "actual.json").write_text(json.dumps(actual))
    code, out, _ = shell(f"actual id={decision['id']} person=controller actual=@actual.json")
    assert (code, out) == (OK, f"on record as {decision['record'] + 1}\n")
    assert shell("actual id=none person=controller actual=@actual.json")[0] == BLOCKED
    assert shell(f"actual id={decision['id']} person=controller actual=@state.json")[0] == BLOCKED
    code, out, _ = shell("shadow-report")
    assert (code, out) == (
        OK,
        "0 shadow decisions, 0 with what was really ordered, 0 compared in the twin; intervals "
        "at 95%\nNot said: there is no shadow decision on record\n",
    )


def test_bundles_go_forward_and_back(shell: Shell, bundle: Bundle) -> None:
    assert shell("rollback person=planner")[0] == BLOCKED
    assert shell(f"activate bundle={bundle.path} person=planner reason=again")[0] == OK
    code, out, _ = shell("rollback person=planner")
    assert (code, out) == (OK, f"bundle {bundle.bundle_id} decides\n")
    assert shell(f"activate bundle={shell.folder} person=planner")[0] == UNVERIFIED


def test_a_changed_record_is_found_and_nothing_is_decided_on_a_shorter_one(shell: Shell) -> None:
    shell("decide state=@state.json")
    code, head, _ = shell("audit head")
    assert code == OK
    assert shell(f"audit verify head={head.strip()}")[0] == OK
    connection = sqlite3.connect(shell.folder / "s.db")
    connection.execute("DROP TRIGGER records_last")
    connection.execute("DELETE FROM records WHERE seq = (SELECT MAX(seq) FROM records)")
    connection.execute("UPDATE head SET (seq, hash) = (SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1)")
    connection.commit()
    connection.close()
    code, _, err = shell("audit verify")
    assert code == UNVERIFIED
    assert "is truncated" in err
    code, _, err = shell("decide state=@state.json")
    assert code == UNVERIFIED
    assert "CHAIN_BROKEN" in err


def test_a_lost_anchor_is_begun_anew_by_a_person(shell: Shell) -> None:
    (shell.folder / "s.db.anchor").unlink()
    assert shell("decide state=@state.json")[0] == UNVERIFIED
    assert shell("audit")[0] == UNVERIFIED
    assert shell("audit anchor")[0] == USAGE
    assert shell("audit anchor person=planner reason=restore")[0] == OK
    assert shell("audit")[0] == OK
    assert shell("decide state=@state.json")[0] == OK
    assert "anchored" in shell("audit show first=4")[1]


def test_a_state_that_is_refused_is_named_by_its_fields(shell: Shell) -> None:
    state = json.loads((shell.folder / "state.json").read_text())
    state["observation"]["on_hand[north/item]"] = float("nan")
    (shell.folder / "bad.json").write_text(json.dumps(state))
    code, out, err = shell("decide state=@bad.json")
    assert (code, out) == (BLOCKED, "")
    assert "NOT_FINITE: 'on_hand[north/item]' must be a finite number in case" in err
    (shell.folder / "bad.json").write_text('{"observation": {}, "observation": {}}')
    code, _, err = shell("decide state=@bad.json")
    assert code == BLOCKED
    assert "given twice" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nothing", "no command 'nothing'"),
        ("decid state=x", "did you mean 'decide'"),
        ("decide", "needs 'state=...'"),
        ("decide stat=x", "did you mean 'state'"),
        ("decide state=", "needs a value"),
        ("decide state=a state=b", "given twice"),
        ("decide state=@no.json", "cannot read"),
        ("decide state=@state.json format=xml", "no format 'xml'"),
        ("decide state=@state.json dispatch=ftp:x", "cannot send orders"),
        ("mode set=shadow", "needs 'person=...'"),
        ("audit verfy", "did you mean 'verify'"),
        ("audit show first=x", "not a whole number"),
        ("audit verify head=5", "is no head"),
        ("halt person=\n", "needs a value"),
        ("activate bundle=x person=planner guardrails=@no.yaml", "no such file"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(shell: Shell, line: str, message: str) -> None:
    code, out, err = shell(line)
    assert (code, out) == (USAGE, "")
    assert message in err


def test_a_wrong_store_begins_no_new_one(shell: Shell) -> None:
    code, _, err = shell("decide store=@other.db state=@state.json")
    assert code == BLOCKED
    assert "NO_RECORD" in err
    assert not (shell.folder / "other.db").exists()


def test_help(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("--help")[0] == OK
    assert main([]) == USAGE
    assert "Exit codes" in capsys.readouterr().err


def test_it_starts_as_a_module_without_torch(shell: Shell) -> None:
    code = (
        "import sys; from agents.advisor.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'stable_baselines3', 'numba', 'matplotlib', 'sqlalchemy', 'paho'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    words = ["decide", f"store={shell.folder}/s.db", f"state={shell.folder}/state.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    done = subprocess.run([sys.executable, "-m", "agents.advisor", "nothing"], env=environment, capture_output=True)
    assert done.returncode == USAGE


def test_the_outlier_file_is_checked(shell: Shell, bundle: Bundle) -> None:
    data = json.loads((shell.folder / "ood.json").read_text())
    data["names"].reverse()
    (shell.folder / "bad.json").write_text(json.dumps(data))
    code, _, err = shell(f"activate bundle={bundle.path} person=planner outliers=@bad.json")
    assert code == USAGE
    assert "in another order" in err
    assert OutlierModel.from_dict(data).names[0] == data["names"][0]
