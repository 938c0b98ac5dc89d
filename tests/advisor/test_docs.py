"""docs/advisor.md says what the program does: its guard file loads, its commands exist, its codes are all there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from agents.advisor.active import Active
from agents.advisor.actual import ACTUAL_KEYS
from agents.advisor.approvals import STEPS
from agents.advisor.cli import HELP
from agents.advisor.errors import STATUS
from agents.advisor.explanation import explain
from agents.advisor.guardrails import Guardrails
from agents.advisor.guards import Guarded, Guards
from agents.advisor.modes import FALLS_TO, MODES
from agents.advisor.pipeline import Assessment
from agents.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "advisor.md").read_text(encoding="utf-8")


def test_the_guard_file_of_the_page_loads_and_names_every_setting(bundle: Bundle) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.S | re.M)
    data = yaml.safe_load(block)
    assert set(data) == set(Guardrails.model_fields)
    # The page prices two arcs; where worth counts, all must be.
    data["prices"] = dict.fromkeys(bundle.spec.arc_names, 1.0)
    assert Guards(Guardrails.parse(data, "docs"), bundle.spec).limit_names == ("money", "dock", "pickers", "carbon")


def test_the_page_knows_every_state_mode_and_reason() -> None:
    for word in (*STEPS, *MODES, *FALLS_TO):
        assert word in TEXT, word


def test_the_page_shows_what_a_report_and_an_explanation_hold(bundle: Bundle) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", TEXT, re.S | re.M)
    assert set(json.loads(block)) == set(ACTUAL_KEYS)
    active = Active.of(bundle, Active.settings_of(bundle, Guardrails(), None))
    told = explain(active, Assessment("fallback", None, "", None, None, None), Guarded(None, ()), None, [], "bundle")
    rows = re.findall(r"^\| `(\w+)` \|", TEXT[TEXT.index("## Explanation") : TEXT.index("## Approvals")], re.M)
    assert set(rows) == set(told)


def test_the_help_names_the_commands_of_the_page() -> None:
    commands = re.findall(r"^python -m agents\.advisor (\w+)", TEXT, re.M)
    assert len(commands) >= 6
    for command in commands:
        assert f"python -m agents.advisor {command}" in HELP


def test_every_code_is_given_somewhere() -> None:
    """A code that nothing gives would be a promise that nobody keeps."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "agents" / "advisor").glob("*.py")]
    used = "\n".join(text for text in sources if "STATUS: dict" not in text)
    guards = {"BUDGET", "CAPACITY", "LABOUR", "EMISSIONS", "MAXIMUM_ORDER"}
    assert {code for code in STATUS if f'"{code}"' not in used} <= guards


def test_the_page_names_every_operation_under_its_role() -> None:
    pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
    from agents.advisor.service_api import router

    rows = {row.split("|")[1].strip(): row for row in TEXT.splitlines() if row.startswith("| ")}
    roles = [rows[role] for role in ("viewer", "planner", "approver")]
    told = [row for row in roles for _ in re.findall(r"`(?:GET |POST )?/[^`]*`", row)]
    # The probes and the description need no token, and /metrics is outside the router.
    assert len(told) == len(router.routes) + 1
    for route in router.routes:
        path = route.path.removeprefix("/v1") if "{" not in route.path else "/" + route.path.rpartition("/")[2]
        assert any(f"{path}`" in row for row in roles), route.path


def test_the_page_says_what_serve_takes() -> None:
    pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
    from agents.advisor.cli_service import SERVE
    from agents.advisor.service_access import Settings

    settings = TEXT.split("## The service")[1].split("## A request")[0]
    for name in SERVE:
        assert re.search(rf"`?\b{name}\b[`=]", settings), name
    assert f"| {Settings.rate:g} |" in settings
    assert f"| {Settings.body_bytes}, {Settings.timeout_seconds:g} |" in settings
