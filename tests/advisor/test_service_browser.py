"""The page in a real Chromium without a window: a person's day with JavaScript off, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
pytest.importorskip("playwright", reason="needs playwright: pip install 'cogtwin[dev]'")

from playwright.sync_api import Browser, Page, sync_playwright

from agents.advisor import service_page
from agents.advisor.decision import Decision
from tests.advisor.desk import Desk, live
from tests.advisor.helpers import ARCS, Rig
from tests.advisor.parts import CHROMIUM, unavailable
from tests.advisor.test_service_page import EXPLANATION


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        unavailable("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield running
        running.close()


class Seat:
    """A person at a browser, who notes all that is loaded and all that is complained about."""

    def __init__(self, browser: Browser, address: str, desk: Desk, *, width: int = 1280, scripts: bool = False) -> None:
        self.address, self._tokens = address, desk.tokens
        size = {"width": width, "height": 900}
        self._context = browser.new_context(viewport=size, java_script_enabled=scripts, base_url=address)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.loaded: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.loaded.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def login(self, role: str = "approver") -> None:
        self.page.goto("/")
        self.page.get_by_label("Token").fill(self._tokens[role])
        self.press("Log in")
        self.page.wait_for_url(f"{self.address}/")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def text(self) -> str:
        return self.page.inner_text("main")

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def sit(browser: Browser, desk: Desk) -> Iterator[Callable[..., Seat]]:
    """Take a seat; the window and whether scripts run can be given."""
    seats: list[Seat] = []
    with live(desk.app) as address:

        def build(**options: Any) -> Seat:
            seats.append(Seat(browser, address, desk, **options))
            return seats[-1]

        yield build
        for seat in seats:
            seat.close()


def test_a_persons_day(sit: Callable[..., Seat], rig: Rig) -> None:
    first, second, third = (rig.advisor.decide(rig.state()) for _ in range(3))
    seat = sit()
    seat.login()
    page = seat.page
    assert "Mode: advisory" in seat.text()

    # Approve what is proposed.
    page.get_by_role("link", name=first.id[:8]).first.click()
    assert page.get_by_role("heading", name="Why").is_visible()
    seat.press("Approve and execute")
    assert "the advice is done now" in seat.text()
    assert {entry["arc"]: entry["order"] for entry in rig.sender.sent[0][1]["orders"]} == first.orders

    # Order something else.
    page.goto(f"/decisions/{second.id}")
    page.get_by_text("Order something else").click()
    page.get_by_label(f"{ARCS[1]} (case)").fill("12")
    seat.press("Approve these orders")
    assert "the advice is modified now" in seat.text()
    seat.press("Execute")
    assert {entry["arc"]: entry["order"] for entry in rig.sender.sent[1][1]["orders"]}[ARCS[1]] == 12.0

    # Reject, lower the mode, halt, and find it all in the record.
    page.goto(f"/decisions/{third.id}")
    page.get_by_label("Reject, because").fill("the dock is full")
    seat.press("Reject")
    assert "the advice is rejected now" in seat.text()
    page.goto("/")
    page.get_by_label("Change the mode to").select_option("shadow")
    seat.press("Change")
    assert "Mode: shadow" in seat.text()
    page.get_by_label("Stop everything, because").fill("fire")
    seat.press("Halt")
    assert "Mode: halted" in seat.text()
    assert rig.advisor.mode == "halted"
    page.get_by_role("link", name="Record", exact=True).click()
    page.get_by_label("Has the text").fill("DOCK is full")
    seat.press("Search")
    assert page.locator("tbody tr").count() == 1
    assert rig.last("rejected")["person"] == "the approver"

    seat.press("Log out")
    page.goto(f"/decisions/{third.id}")
    assert page.url == f"{seat.address}/login"
    assert seat.complaints == []
    assert all(url.startswith(seat.address) for url in seat.loaded), seat.loaded


def test_what_is_refused_is_shown(sit: Callable[..., Seat], rig: Rig) -> None:
    decision = rig.advisor.decide(rig.state())
    seat = sit()
    seat.login()
    seat.page.goto(f"/decisions/{decision.id}")
    rig.advisor.reject(decision.id, person="somebody else")
    seat.press("Approve only")
    assert "CONFLICT (409)" in seat.text()
    seat.page.goto("/login")
    seat.page.get_by_label("Token").fill("advisor_wrong")
    seat.press("Log in")
    assert "not known" in seat.text()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_window_and_its_rules_hold(
    sit: Callable[..., Seat], rig: Rig, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    real = service_page.find_decision

    def explained(tx: Any, decision_id: str) -> tuple[Decision, str]:
        found, at = real(tx, decision_id)
        return Decision(found.record, {**found.body, "explanation": EXPLANATION}, found.state), at

    monkeypatch.setattr(service_page, "find_decision", explained)
    decision = rig.advisor.decide(rig.state())
    seat = sit(width=width, scripts=True)
    seat.login()
    for path in ("/", f"/decisions/{decision.id}", "/audit", "/login"):
        seat.page.goto(path)
        for summary in seat.page.locator("summary").all():
            summary.click()
        assert seat.page.evaluate("document.documentElement.scrollWidth") <= width, path
        # The style sheet was let through by the page's own rules.
        assert seat.page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "8px"
        assert seat.page.locator("script, [style], [onclick]").count() == 0
    seat.page.goto(f"/decisions/{decision.id}")
    box = seat.page.locator("polyline").first.bounding_box()
    assert box is not None
    assert box["width"] > 0.5 * min(width, 640)
    assert seat.complaints == []
    # A script that gets in all the same does not run.
    seat.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    )
    assert seat.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in seat.complaints)
