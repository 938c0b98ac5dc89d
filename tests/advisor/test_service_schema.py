"""schemathesis asks the service what its description allows and what it forbids: no 5xx, no undocumented answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")

from agents.advisor import open_store, verify
from agents.advisor.tokens import add_token
from agents.bundle import Bundle
from tests.advisor.desk import ROOT, serving
from tests.advisor.helpers import rails

#: All but one: whether a request that fits the schema is also one that can be done is what the advisor decides.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
#: The same answers on every machine, and an end in sight.
BOUNDS = ("--max-examples", "6", "--seed", "1", "--generation-deterministic", "--workers", "1", "--no-color")


def run(folder: Path, address: str, token: str, state: dict[str, Any]) -> str:
    program = Path(sys.executable).parent / "schemathesis"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "advisor")])
    environment = {**os.environ, "PYTHONPATH": paths, "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    command = [str(program), "run", f"{address}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    done = subprocess.run(
        [*command, *CHECKS, *BOUNDS],
        cwd=folder,
        env={**environment, "ADVISOR_STATE": json.dumps(state), "ADVISOR_URL": address, "ADVISOR_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_nothing_it_is_asked_breaks_it_or_is_answered_as_nobody_said(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'cogtwin[dev]'")
    token = add_token(tmp_path / "s.db.tokens", "fuzz", "approver")
    (tmp_path / "rails.yaml").write_text(yaml.safe_dump(rails(highest_mode="advisory").to_dict()))
    # That a refusal has another status than schemathesis expects of one does not make it an acceptance.
    refusals = ["400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "423"]
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {refusals}\n")
    words = (f"bundle={bundle.path}", f"guardrails={tmp_path}/rails.yaml", "mode=advisory", "rate=1000000")
    with serving(tmp_path, *words) as (address, _):
        output = run(tmp_path, address, token, example)
    assert "Tested: 21" in output
    (generated,) = re.findall(r"(\d+) generated", output)
    assert int(generated) > 700, output
    # It came through to where something happens, and what happened is whole.
    store = open_store(tmp_path / "s.db", create=False)
    kinds = {record.kind for record in store.records()}
    assert {"decision", "approved", "intent", "outcome", "rejected", "modified", "late_outcome", "mode"} <= kinds
    assert verify(store).ok
    store.close()
