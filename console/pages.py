"""The pages. Each reads the form, calls the service the API calls, and shows what came of it."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BeforeValidator

from api.approvals import inbox_place
from api.requests import ContainerDep, PathId, cursor_of, keys_of
from console import draw
from console.refusals import problems_of, why
from console.resume import card_of, fields_to_send, form_fields, form_page, problem_on_card
from console.session import COOKIE, Me
from console.view import Reader, is_htmx, page, reader_of
from domain.approvals.round import Approval, Round
from domain.errors import CommandIdReused, Invalid, NotFound, NotSignedIn, Refusal, Stale
from domain.people import Person, Role
from domain.permissions import allows
from domain.values import Text, digest
from notify.catcher import caught
from services.clock import now
from services.runs.commands import Caller, CommandReceipt

router = APIRouter()
PAGE = 20


LINE_ENDS = BeforeValidator(lambda text: text.replace("\r\n", "\n") if isinstance(text, str) else text)
"""A browser counts the end of a line once and sends two characters."""
Words = Annotated[Text, LINE_ENDS, Form()]
Short = Annotated[Text, LINE_ENDS, Form(max_length=200)]


def caller(person: Person, key: str) -> Caller:
    """A form carries a key of its own, so that a double click decides once."""
    return Caller(person=person, channel="console", key=key or None)


@router.get("/")
async def home(me: Me) -> Response:
    places = (("/inbox", "inbox.read"), ("/quotes", "quotes.read"), ("/orders", "orders.read"))
    return RedirectResponse(next((place for place, act in places if allows(me, act)), "/quotes"), 303)


@router.get("/sign-in")
async def sign_in_page(request: Request, next: str = "/") -> Response:
    return page(request, "sign_in.html", None, next=next, problem="", user="", kept=[], send=False, back="")


@router.post("/sign-in")
async def sign_in(
    request: Request,
    container: ContainerDep,
    user: Short = "",
    password: Short = "",
    next: Annotated[str, Form(max_length=2_000)] = "/",
    send: Short = "",
    back: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    """Sign in and be where one was; a form that was not sent is shown again with what was typed."""
    kept = fields_to_send(await form_fields(request))
    try:
        token, person = await container.access.sign_in(user, password)
    except NotSignedIn as error:
        problem = why(error, reader_of(request, None))
        facts: dict[str, Any] = {
            "next": next, "problem": problem, "user": user, "kept": kept, "send": send, "back": back,
        }  # fmt: skip
        return page(request, "sign_in.html", None, status_code=401, **facts)
    address = _own(next)
    response = form_page(request, person, address, kept, back=_own(back)) if send else RedirectResponse(address, 303)
    secure = container.settings.in_production
    life = container.settings.token_minutes * 60
    response.set_cookie(COOKIE, token, max_age=life, httponly=True, samesite="lax", secure=secure)
    return response


def _own(address: str) -> str:
    """Only a page of ours: never a way to send people to another site."""
    parts = urlsplit(address)
    ours = address.startswith("/") and not address.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return address if ours and "\\" not in address else "/"


@router.post("/sign-out")
async def sign_out() -> Response:
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/inbox")
async def inbox(
    request: Request, container: ContainerDep, me: Me, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> Response:
    found = await container.approvals.inbox(me, inbox_place(cursor), PAGE + 1)
    shown = found[:PAGE]
    more = cursor_of(shown[-1].requested_at.isoformat(), shown[-1].approval) if len(found) > PAGE else None
    count = await container.approvals.waiting_count(me)
    colleagues = await _colleagues(container, me)
    names = {person.id: person.name for person in colleagues}
    facts: dict[str, Any] = {"waiting": shown, "count": count, "more": more, "people": colleagues, "names": names}
    return page(request, "inbox.html", me, now=now(), done=None, **facts)


async def _colleagues(container: Any, me: Person) -> list[Person]:
    """Whom an approval can be handed to."""
    everybody = await container.people.list_page(me, "", 200)
    return [person for person in everybody if person.has(Role.APPROVER) and person.id != me.id]


@router.post("/approvals/{id}/{verb}")
async def decide(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    verb: str,
    digest: Short = "",
    comment: Words = "",
    to: Short = "",
    key: Short = "",
    back: Short = "/inbox",
    group: Short = "",
) -> Response:
    """Decide, or ask others. With htmx the card becomes its answer; without, the page is shown again."""
    acts = {
        "approve": lambda: container.approvals.approve(caller(me, key), id, digest, comment),
        "reject": lambda: container.approvals.reject(caller(me, key), id, digest, comment),
        "delegate": lambda: container.approvals.delegate(caller(me, key), id, digest, to, comment),
        "take_back": lambda: container.approvals.take_back(caller(me, key), id, comment),
        "consult": lambda: container.approvals.consult(caller(me, key), id, digest, to, comment),
        "advise": lambda: container.approvals.advise(caller(me, key), id, comment),
        "remove_approver": lambda: container.approvals.remove_approver(caller(me, key), id, comment),
        "add_approver": lambda: container.approvals.add_approver(
            caller(me, key), id, to or None, group or None, None, comment
        ),
    }
    if verb not in acts:
        raise NotFound("There is no such act.")
    try:
        answer = await acts[verb]()
    except (Invalid, NotFound, CommandIdReused) as error:
        return await _try_again(request, me, error)
    return _answered(request, me, answer, verb, back)


async def _try_again(request: Request, me: Person, error: Refusal) -> Response:
    """The card stays with what was typed, and says in the reader's language what to do."""
    problems = problems_of(error, Reader(me))
    if card_of(request):
        return problem_on_card(request, me, " ".join(problems.values()), 422)
    return form_page(request, me, request.url.path, await form_fields(request), problems, status=422)


SETTLED = ("already_decided", "round_closed")
"""Why nothing is to be decided on a card any more."""


def _answered(request: Request, me: Person, answer: CommandReceipt, verb: str, back: str) -> Response:
    say = Reader(me).say
    done = {
        "approve": say("Approved."),
        "reject": say("Rejected."),
        "delegate": say("Handed over."),
        "submit": say("Submitted."),
        "recall": say("Taken back."),
        "take_back": say("Taken back."),
        "consult": say("Asked for advice."),
        "advise": say("Sent."),
        "add_approver": say("Added."),
        "remove_approver": say("Removed."),
    }
    if answer.outcome is None:
        return said(request, me, say("Written down. It takes effect as soon as Temporal answers."), "wait", back, 202)
    if not answer.outcome.applied and card_of(request) and answer.outcome.code not in SETTLED:
        return problem_on_card(request, me, why(answer.outcome, Reader(me)), 409)
    if not answer.outcome.applied:
        return said(request, me, why(answer.outcome, Reader(me)), "bad", back, 409)
    return said(request, me, done[verb], "good", back, 200)


def said(request: Request, me: Person, text: str, tone: str, back: str, status: int) -> Response:
    if is_htmx(request):
        return page(request, "_note.html", me, status_code=status, text=text, tone=tone, back=_own(back))
    if tone == "good":
        return RedirectResponse(_own(back), 303)
    return page(request, "said.html", me, status_code=status, text=text, tone=tone, back=_own(back))


@router.get("/away")
async def away(request: Request, container: ContainerDep, me: Me) -> Response:
    return await _away(request, container, me)


async def _away(request: Request, container: Any, me: Person, problem: str = "", **given: str) -> Response:
    say = Reader(me).say
    everybody = await _colleagues(container, me)
    at = now()
    ends = Reader(me).today(at)
    found = [d for d in await container.delegations.list_page(me, "", 200) if me.id in (d.person, d.delegate)]
    standing = [d for d in found if d.ended_at is None and (d.last is None or d.last >= ends)]
    facts: dict[str, Any] = {
        "people": everybody, "names": {p.id: p.name for p in (*everybody, me)}, "today": ends.isoformat(),
        "problem": problem, "given": {"delegate": "", "first": "", "last": "", "note": "", **given},
        "sections": [(say("Who decides for you"), [d for d in standing if d.person == me.id]),
                     (say("For whom you decide"), [d for d in standing if d.delegate == me.id])],
    }  # fmt: skip
    return page(request, "away.html", me, status_code=422 if problem else 200, **facts)


@router.post("/away")
async def go_away(
    request: Request,
    container: ContainerDep,
    me: Me,
    delegate: Short = "",
    first: Short = "",
    last: Short = "",
    note: Short = "",
    key: Short = "",
) -> Response:
    try:
        days = _day("first", first), _day("last", last) if last else None
        await container.delegations.give(caller(me, key), me.id, delegate, days[0], days[1], (), note)
    except Refusal as error:
        problem = why(error, Reader(me))
        return await _away(request, container, me, problem, delegate=delegate, first=first, last=last, note=note)
    return RedirectResponse("/away", 303)


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid.field(name, "must be a day like 2026-12-31") from None


@router.post("/away/{id}/end")
async def come_back(container: ContainerDep, me: Me, id: PathId) -> Response:
    await container.delegations.end(caller(me, ""), id)
    return RedirectResponse("/away", 303)


@router.get("/quotes")
async def quotes(
    request: Request, container: ContainerDep, me: Me, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> Response:
    after = keys_of(cursor, 1)
    found = await container.quotes.list_page(me, None, after[0] if after else "", PAGE + 1)
    more = cursor_of(found[PAGE - 1].id) if len(found) > PAGE else None
    return page(request, "quotes.html", me, quotes=found[:PAGE], more=more)


@router.get("/quotes/{id}")
async def quote(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    return await _quote_page(request, container, me, id)


async def _quote_page(
    request: Request, container: Any, me: Person, id: str, problem: str = "", status: int = 200
) -> Response:
    """The quote as it is stored now; with a `problem`, why what was asked was refused."""
    stored = await container.quotes.get(me, id)
    rounds = await container.quotes.rounds(me, id)
    trail = await container.quotes.audit(me, id, 0, 200)
    preview, unplannable = None, ""
    if stored.status.submittable:
        try:
            preview = await container.quotes.preview(me, id, {})
        except Refusal as error:
            unplannable = why(error, Reader(me))
    seats = set(await container.approvals.holders(me, "quote"))
    mine = _decidable(rounds[0][0], seats, me) if rounds else []
    facts: dict[str, Any] = {
        "problem": problem, "flags": stored.quote.contradictions() if stored.flags else [],
        "stored": stored, "quote": stored.quote, "rounds": rounds, "trail": trail, "preview": preview, "mine": mine,
        "unplannable": unplannable, "people": [],
        "may_submit": stored.status.submittable and stored.quote.owner == me.id and allows(me, "quotes.submit"),
        "advised": [a for a in rounds[0][0].requested if a.awaited_from(me.id)] if rounds else [],
        "chains": list({a.chain: a for a in rounds[0][0].approvals if a.status.open}.items()) if rounds else [],
        "may_add": bool(rounds) and rounds[0][0].running and (
            rounds[0][0].submitter == me.id or bool(mine)
        ) and allows(me, "approvals.add"),
        "may_remove": allows(me, "approvals.remove"), "is_admin": me.has(Role.APPROVALS_ADMIN),
        "short": await container.approvals.list_short(rounds[0][0]) if rounds and rounds[0][0].running else set(),
        "undelivered": await container.quotes.undelivered(me, id) if stored.round else [],
        "may_comment": allows(me, "quotes.comment"),
        "may_accept": stored.status == "approved" and allows(me, "quotes.accept"),
        "may_order": container.orders.orderable(stored) and allows(me, "orders.place"), "ordered": [], "ledger": {},
        "today": Reader(me).today(now()).isoformat(),
        "may_recall": stored.status == "in_approval" and (
            (stored.quote.owner == me.id and allows(me, "quotes.recall")) or me.has(Role.APPROVALS_ADMIN)
        ),
        "picture": _picture(rounds[0][0], rounds[0][2], me) if rounds else None,
        "plan_picture": _plan_picture(preview, me) if preview else None,
    }  # fmt: skip
    if mine or facts["may_add"]:
        facts["people"] = await _colleagues(container, me)
    if container.orders.orderable(stored) and allows(me, "orders.read"):
        facts["ordered"] = await container.orders.list_page(me, id, None, "", 200)
        facts["ledger"] = {entry.line: entry for entry in await container.orders.ledger(me, id)}
    return page(request, "quote.html", me, status_code=status, **facts)


def _decidable(round: Round, seats: set[str], me: Person) -> list[Approval]:
    """What somebody may decide now, for themselves or others: everybody votes once on each approval."""
    if me.id in round.barred:
        return []
    return [a for a in round.requested if seats.intersection(a.holders) and me.id not in a.voters]


def _picture(round: Round, names: dict[str, str], me: Person) -> dict[str, Any]:
    say = Reader(me).say
    rows = draw.rows_of_round(round, names, say)
    return {
        "mark": digest([(a.id, a.status.value, a.holders) for a in round.approvals])[:12],
        "wide": draw.path_svg(rows, round.status.value, say) if rows else "",
        "phone": draw.path_svg_phone(rows, say) if rows else "",
        "rows": rows,
        "status": round.status.value,
    }


def _plan_picture(preview: Any, me: Person) -> dict[str, Any]:
    say = Reader(me).say
    rows = draw.rows_of_plan(preview.plan, preview.names, say)
    return {
        "wide": draw.path_svg(rows, "planned", say) if rows else "",
        "phone": draw.path_svg_phone(rows, say) if rows else "",
        "rows": rows,
    }


@router.get("/quotes/{id}/path")
async def path(
    request: Request, container: ContainerDep, me: Me, id: PathId, seen: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """The picture again; 204 while it has not changed, which htmx does not swap."""
    rounds = await container.quotes.rounds(me, id)
    if not rounds:
        return Response(status_code=204)
    picture = _picture(rounds[0][0], rounds[0][2], me)
    if picture["mark"] == seen:
        return Response(status_code=204)
    return page(request, "_path.html", me, picture=picture, id=id)


@router.post("/quotes/{id}/submit")
async def submit(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    key: Short = "",
    version: Annotated[int, Form(ge=1)] = 0,
) -> Response:
    """Submit what the page shows: the form carries its version."""
    try:
        return await _quote_act(
            request, me, "submit", id, lambda: container.quotes.submit(caller(me, key), id, version)
        )
    except Stale:
        changed = "The quote was changed after you opened this page. Look at it as it is now, and submit again."
        return await _quote_page(request, container, me, id, Reader(me).say(changed), 409)


@router.post("/quotes/{id}/recall")
async def recall(
    request: Request, container: ContainerDep, me: Me, id: PathId, comment: Words = "", key: Short = ""
) -> Response:
    return await _quote_act(request, me, "recall", id, lambda: container.quotes.recall(caller(me, key), id, comment))


@router.post("/quotes/{id}/approvers")
async def add_approver(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    beside: Short = "",
    to: Short = "",
    comment: Words = "",
    key: Short = "",
) -> Response:
    add = container.approvals.add_approver
    return await _quote_act(
        request, me, "add_approver", id, lambda: add(caller(me, key), beside, to or None, None, None, comment)
    )


@router.post("/quotes/{id}/comments")
async def comment(
    request: Request, container: ContainerDep, me: Me, id: PathId, text: Words = "", key: Short = ""
) -> Response:
    await container.quotes.comment(caller(me, key), id, text)
    return RedirectResponse(f"/quotes/{id}", 303)


async def _quote_act(request: Request, me: Person, verb: str, id: PathId, act: Any) -> Response:
    back = f"/quotes/{id}"
    try:
        answer = await act()
    except (Stale, Invalid):
        raise
    except Refusal as error:
        return said(request, me, why(error, Reader(me)), "bad", back, 409)
    return _answered(request, me, answer, verb, back)


@router.get("/mailbox")
async def mailbox(request: Request, container: ContainerDep, me: Me) -> Response:
    """What development's mail server caught: everybody's mail, so only where it is switched on."""
    folder = container.settings.mail_catcher
    if not folder:
        raise NotFound("There is no mailbox here: mail goes to people.")
    return page(request, "mailbox.html", me, letters=list(caught(Path(folder))))
