"""The page at ``/``: plain HTML made by the server, forms without a script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathPart
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agents.advisor import service_view as view
from agents.advisor.errors import AdvisorError
from agents.advisor.lookup import find_decision, last_state, list_decisions, search_records
from agents.advisor.service_access import Parts, parts_of, read_json, valid
from agents.advisor.service_models import DecisionId, ModeChange, Rejection, Search
from agents.advisor.service_sessions import COOKIE, Session, Sessions
from agents.advisor.tokens import Caller, Role

__all__ = ["page_router"]

_FOLDER = Path(__file__).parent / "templates"
_PAGES = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_PAGES.filters.update(gist=view.gist, minute=view.minute, moment=view.moment, number=view.number, units=view.units)


class _LoginError(Exception):
    """Nobody is logged in."""


class _PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except _LoginError:
                return RedirectResponse("/login", 303)
            except AdvisorError as error:
                return _page(request, "error.html", error.status, error=error)
            except RequestValidationError as error:
                place = ", ".join(str(item["loc"][-1]) for item in error.errors())
                wrong = AdvisorError("REQUEST", f"this cannot be: {place}")
                return _page(request, "error.html", 400, error=wrong)

        return shown


page_router = APIRouter(route_class=_PageRoute, include_in_schema=False)


@dataclass(frozen=True)
class _Visit:
    """A request of somebody who is logged in.

    Attributes
    ----------
    parts
        Of the service.
    session, caller
        The login and who it is.
    form
        What was filled in; empty for a page that is only looked at.
    """

    parts: Parts
    session: Session
    caller: Caller
    form: dict[str, str]

    def may(self, role: Role) -> None:
        """AdvisorError ``ROLE`` for somebody with another role."""
        if not self.caller.may(role):
            raise AdvisorError("ROLE", f"'{self.caller.name}' is {self.caller.role}; this needs {role}")

    def go(self, where: str, said: str) -> Response:
        """On to another page, which says a sentence first."""
        self.session.said.append(said)
        return RedirectResponse(where, 303)


async def _visit(request: Request) -> _Visit:
    parts, sessions = parts_of(request), _sessions(request)
    found = sessions.find(request.cookies.get(COOKIE))
    parts.count(None if found is None else found[1], request)
    if found is None:
        raise _LoginError
    request.state.visit = found
    form: dict[str, str] = {}
    if request.method == "POST":
        form = await _form(request)
        found[0].check(form.get("csrf", ""))
    return _Visit(parts, *found, form)


_Visitor = Annotated[_Visit, Depends(_visit)]
_Id = Annotated[DecisionId, PathPart()]


async def _form(request: Request) -> dict[str, str]:
    # A cookie is sent with the forms of this site alone (SameSite=Strict); this says so again for old browsers, and
    # for the login, which has no cookie yet.
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise AdvisorError("FORM", "the form comes from another site")
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise AdvisorError("MEDIA_TYPE", "a form was expected")
    try:
        fields = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=10_000)
    except ValueError as error:
        raise AdvisorError("REQUEST", f"the form cannot be read: {error}") from None
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def _sessions(request: Request) -> Sessions:
    sessions = request.app.state.sessions
    if not isinstance(sessions, Sessions):
        raise TypeError("the application was not made by create_app")
    return sessions


def _page(request: Request, template: str, status: int = 200, **data: Any) -> Response:
    found = getattr(request.state, "visit", None)
    session, caller = (None, None) if found is None else found
    said: list[str] = []
    if session is not None:
        said, session.said = session.said, []
    html = _PAGES.get_template(template).render(session=session, caller=caller, said=said, **data)
    return HTMLResponse(html, status)


@page_router.get("/advisor.css")
async def style() -> Response:
    """The style sheet: in a file of its own, so that the page needs no style inside."""
    return Response((_FOLDER / "advisor.css").read_bytes(), media_type="text/css")


@page_router.get("/icon.svg")
async def icon() -> Response:
    """The picture in the browser's tab."""
    return Response((_FOLDER / "icon.svg").read_bytes(), media_type="image/svg+xml")


@page_router.get("/login")
async def login_page(request: Request) -> Response:
    """Asks for a token."""
    return _page(request, "login.html", wrong=False)


@page_router.post("/login")
async def login(request: Request, form: Annotated[dict[str, str], Depends(_form)]) -> Response:
    """Begin a session with a token."""
    parts, sessions = parts_of(request), _sessions(request)
    parts.count(None, request)
    caller = parts.tokens.find(form.get("token", "").strip())
    if caller is None:
        return _page(request, "login.html", 401, wrong=True)
    session = sessions.begin(caller)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        session.id,
        max_age=int(sessions.seconds),
        httponly=True,
        samesite="strict",
        secure=parts.settings.secure,
    )
    return response


@page_router.post("/logout")
def logout(request: Request, visit: _Visitor) -> Response:
    """End the session."""
    _sessions(request).end(visit.session.id)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@page_router.get("/")
def home(request: Request, visit: _Visitor) -> Response:
    """What waits for a person, the mode, and how things stand."""
    advisor = visit.parts.advisor
    with advisor.store.read() as tx:
        waiting = [entry for state in view.OPEN for entry in list_decisions(tx, state=state, limit=50)]
        recent = list_decisions(tx, limit=15)
    health = view.health(advisor)
    rows = [view.row(*entry) for entry in waiting]
    return _page(request, "home.html", waiting=rows, recent=[view.row(*entry) for entry in recent], health=health)


@page_router.get("/decisions/{decision_id}")
def show(request: Request, visit: _Visitor, decision_id: _Id) -> Response:
    """One piece of advice: its orders, why, what is expected, and what a person can do with it."""
    advisor = visit.parts.advisor
    with advisor.store.read() as tx:
        decision, at = find_decision(tx, decision_id)
        last = last_state(tx)
    proposal = None if decision.state is None else advisor.proposal(decision_id)
    return _page(
        request,
        "decision.html",
        row=view.row(decision, at),
        decision=decision,
        proposal=proposal,
        mode=advisor.mode,
        orders=view.orders(decision, proposal, view.arc_units(advisor)),
        checks=[check for check in decision.body["checks"] if check["verdict"] != "pass"],
        explanation=view.explanation(decision.body.get("explanation")),
        state_at=None if last is None else last[1],
        currency=view.health(advisor)["currency"],
    )


@page_router.post("/decisions/{decision_id}/{step}")
def act(visit: _Visitor, decision_id: _Id, step: str) -> Response:
    """One step of a person."""
    visit.may("approver")
    advisor, form, person = visit.parts.advisor, visit.form, visit.caller.name
    seen = form.get("action_hash", "")
    if step == "approve":
        state = _state(visit) if form.get("also") == "execute" else None
        proposal = advisor.approve(decision_id, person=person, action_hash=seen, state=state)
    elif step == "modify":
        wanted = {
            name.removeprefix("order:"): _amount(text) for name, text in form.items() if name.startswith("order:")
        }
        proposal = advisor.modify(decision_id, wanted, person=person, action_hash=seen, state=_state(visit))
    elif step == "reject":
        proposal = advisor.reject(decision_id, person=person, reason=_reason(form))
    elif step == "execute":
        proposal = advisor.execute(decision_id, _state(visit), person=person)
    elif step == "resolve":
        proposal = advisor.resolve(decision_id, form.get("outcome", ""), person=person, detail=_reason(form))
    else:
        raise AdvisorError("NOT_FOUND", f"there is no step '{step[:40]}'")
    said = f"Done: the advice is {proposal.state} now."
    if proposal.state == "proposed":
        said = f"Your approval counts; {proposal.needed - len(proposal.persons)} more is needed."
    return visit.go(f"/decisions/{quote(decision_id)}", said)


@page_router.post("/mode")
def set_mode(visit: _Visitor) -> Response:
    """Change the mode."""
    visit.may("approver")
    change = valid(ModeChange, {"mode": visit.form.get("mode", ""), "reason": visit.form.get("reason", "")})
    mode = visit.parts.advisor.set_mode(change.mode, person=visit.caller.name, reason=change.reason)
    return visit.go("/", f"The mode is {mode} now.")


@page_router.post("/halt")
def halt(visit: _Visitor) -> Response:
    """Stop everything."""
    visit.may("planner")
    visit.parts.advisor.halt(person=visit.caller.name, reason=_reason(visit.form))
    return visit.go("/", "The advisor is halted: nothing is decided, approved or executed.")


@page_router.get("/audit")
def audit(request: Request, visit: _Visitor, kind: str = "", text: str = "", before: str = "") -> Response:
    """Search the record."""
    older = int(before) if before.isdecimal() and len(before) < 16 else None
    search = valid(Search, {"kind": kind or None, "text": text or None, "before": older, "limit": 50})
    with visit.parts.advisor.store.read() as tx:
        found = search_records(tx, kind=search.kind, text=search.text, before=search.before, limit=search.limit)
        kinds = [str(row[0]) for row in tx.query("SELECT DISTINCT kind FROM records ORDER BY kind")]
        head = f"{tx.seq}:{tx.hash}"
    more = found[-1].seq if len(found) == search.limit else None
    return _page(request, "audit.html", records=found, kinds=kinds, head=head, kind=kind, text=text, more=more)


def _reason(form: dict[str, str]) -> str:
    return valid(Rejection, {"reason": form.get("reason", "")}).reason


def _amount(text: str) -> float:
    """What was filled in as a number; of what is none the advisor says for which arc."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _state(visit: _Visit) -> Any:
    """The state of now: what was pasted, or the last one that came in; the freshness rules look at its age."""
    pasted = visit.form.get("state", "").strip()
    if pasted:
        return read_json(pasted.encode(), "application/json")
    with visit.parts.advisor.store.read() as tx:
        last = last_state(tx)
    if last is None:
        raise AdvisorError("REQUEST", "no state has come in yet; paste the state of now")
    return last[0]
