"""The advise command: orders on stdout with exit code 0, or nothing there and the reason on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.bundle_rules import export_baseline
from envs.inventory import InventoryTask
from experiments.advise import main

LEVELS = [500.0, 70.0, 80.0, 90.0, 0.0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "b"
    export_baseline(
        path,
        name="base_stock",
        values=np.array(LEVELS),
        up_to=True,
        task=InventoryTask("five_site_distribution"),
        environment_id="cogtwin/Inventory-v0",
        arguments={"network": "five_site_distribution"},
        training_info={},
    )
    return path


@pytest.fixture
def state(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "example_state.json").read_text()))


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_text_shows_orders_units_meaning_and_checks(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, f"bundle={bundle}", f"state={bundle / 'example_state.json'}")
    assert (code, err) == (0, "")
    assert "plant->central:rail:item" in out
    assert "case" in out
    assert "No order on" in out
    assert "central->west:truck:item" in out.split("No order on")[1]
    assert "A level to order up to" in out
    for code_name in ("FIELDS", "RANGE", "GOLDEN", "ORDER_LIMIT"):
        assert code_name in out


def test_json_is_the_advice_itself(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "format=json", f"bundle={bundle}", f"state={bundle / 'example_state.json'}")
    data = json.loads(out)
    assert code == 0
    assert [order["target"] for order in data["orders"]] == LEVELS
    assert data["blocked"] is False


def test_an_expected_id_is_checked(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle_id = json.loads((bundle / "manifest.json").read_text())["bundle_id"]
    words = (f"bundle={bundle}", f"state={bundle / 'example_state.json'}")
    assert call(capsys, *words, f"id={bundle_id[:12]}")[0] == 0
    code, out, err = call(capsys, *words, f"id={'0' * 12}")
    assert (code, out) == (3, "")
    assert "expected 000000000000" in err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert "python -m experiments.advise bundle=" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "python -m experiments.advise"),
        (("bundel=x", "state=y"), "did you mean 'bundle'?"),
        (("bundle=x",), "needs 'state=...'"),
        (("state=x",), "needs 'bundle=...'"),
        (("bundle=x", "state"), "'state' needs a value"),
        (("bundle=x", "state="), "'state=' needs a value"),
        (("bundle=x", "bundle=y", "state=z"), "'bundle' is given twice"),
        (("bundle=x", "state=y", "format=jsn"), "did you mean 'json'?"),
        (("bundle=x", "state=no_such_file.json"), "cannot read the state no_such_file.json"),
        (("bundle=x", "state=."), "cannot read the state"),
    ],
)
def test_a_wrong_call_is_explained(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_bad_bundle_advises_nothing(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, f"bundle={tmp_path}", f"state={bundle / 'example_state.json'}")
    assert (code, out) == (3, "")
    assert "cannot be trusted" in err
    assert "'manifest.json' is missing" in err


EAST = '"on_hand[east/item]": '


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "null", '"12"', "true", "1e300", "1e999", "[1]", "{}"]
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_wrong_value_advises_nothing(
    bundle: Path, tmp_path: Path, state: dict[str, Any], capsys: pytest.CaptureFixture[str], value: str, form: str
) -> None:
    state["observation"]["on_hand[east/item]"] = "HERE"
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state).replace('"HERE"', value))
    code, out, err = call(capsys, f"bundle={bundle}", f"state={path}", f"format={form}")
    assert (code, out) == (4, "")
    assert "on_hand[east/item]" in err
    if form == "json":
        data = json.loads(err)
        assert data["orders"] == []
        assert data["reasons"] == (["RANGE"] if value == "1e300" else ["FINITE"])


def test_a_renamed_field_advises_nothing(
    bundle: Path, tmp_path: Path, state: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state).replace("on_hand[east/item]", "onhand[east/item]"))
    code, out, err = call(capsys, f"bundle={bundle}", f"state={path}")
    assert (code, out) == (4, "")
    assert "did you mean 'onhand[east/item]'?" in err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "3",
        "\x00",
        '{"observation": {}}',
        '{"observation": {"a": 1, "a": 1}}',
        "[" * 99_999,
    ],
)
def test_an_unreadable_or_empty_state_advises_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    code, out, err = call(capsys, f"bundle={bundle}", f"state={path}")
    assert (code, out) == (4, "")
    assert "nothing is advised" in err
    assert len(err) < 1000


def test_a_number_of_ten_thousand_digits_advises_nothing(
    bundle: Path, tmp_path: Path, state: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    state["observation"]["on_hand[east/item]"] = "HERE"
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state).replace('"HERE"', "9" * 10_000))
    code, out, _ = call(capsys, f"bundle={bundle}", f"state={path}")
    assert (code, out) == (4, "")


def test_advice_needs_none_of_the_heavy_packages(bundle: Path) -> None:
    script = (
        "import sys\n"
        "from experiments.advise import main\n"
        f"code = main(['bundle={bundle}', 'state={bundle / 'example_state.json'}'])\n"
        "heavy = {'torch', 'stable_baselines3', 'numba', 'matplotlib', 'hydra', 'scipy', 'pydantic', 'onnx', 'yaml'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))\n"
        "sys.exit(code)\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert time.perf_counter() - start < 5.0  # a sanity bound; the speed itself is a benchmark
    assert (done.returncode, done.stderr) == (0, "")
    assert "plant->central:rail:item" in done.stdout


def test_the_module_runs_as_a_command(bundle: Path) -> None:
    command = [sys.executable, "-m", "experiments.advise", f"bundle={bundle}", "state=missing.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    expected = "cannot read the state missing.json: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
