"""The page behind a signed link: shows what is asked, and decides only when a button is pressed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from api.requests import ContainerDep
from console.pages import Short, Words
from console.refusals import problems_of, why
from console.session import find_visitor
from console.view import Reader, page, reader_of
from domain.approvals.round import ApprovalStatus
from domain.errors import CommandIdReused, Invalid, NotSignedIn, Refusal, TooMany
from domain.people import Person
from domain.runs import Outcome
from notify.links import DEVICE_SECONDS

router = APIRouter()
DEVICE = "dealwright_device"
Token = Annotated[str, Path(max_length=400)]


@router.get("/decide/{token}")
async def ask(request: Request, container: ContainerDep, token: Token) -> Response:
    return await _page(request, container, token)


@router.post("/decide/{token}")
async def decide(
    request: Request,
    container: ContainerDep,
    token: Token,
    verb: Annotated[Literal["approve", "reject"], Form()],
    comment: Words = "",
) -> Response:
    by, device = await find_visitor(request, container), request.cookies.get(DEVICE, "")
    try:
        person, answer = await container.by_link.decide(token, verb, comment, by, device)
    except NotSignedIn:
        return _code_page(request, token, status=401, comment=comment)
    except CommandIdReused:
        return await _page(request, container, token, "You already answered this message.", "bad", 409, comment)
    except Refusal as refusal:
        if refusal.code == "not_found":
            raise
        return await _page(request, container, token, refusal, "bad", 422, comment)
    say = Reader(person).say
    if answer.outcome is None:
        return await _page(
            request, container, token, say("Written down. It takes effect as soon as Temporal answers."), "wait", 202
        )
    if not answer.outcome.applied:
        return await _page(request, container, token, answer.outcome, "bad", 409)
    return await _page(request, container, token, say("Decided."), "good", 200)


@router.post("/decide/{token}/code")
async def send_code(request: Request, container: ContainerDep, token: Token, comment: Words = "") -> Response:
    """Mail a one-time code to whom the link was sent to; whoever it was forwarded to does not get it."""
    try:
        person = await container.by_link.send_code(token, await find_visitor(request, container))
    except TooMany as error:
        return _code_page(request, token, problem=error, status=429, comment=comment)
    return _code_page(request, token, person, sent=True, comment=comment)


@router.post("/decide/{token}/verify")
async def verify_code(
    request: Request,
    container: ContainerDep,
    token: Token,
    code: Short = "",
    remember: Annotated[bool, Form()] = False,
    comment: Words = "",
) -> Response:
    """Know the browser after the right code, and show what is asked, with the comment that was typed before."""
    try:
        device = await container.by_link.verify_code(token, code, await find_visitor(request, container))
    except Invalid as error:
        return _code_page(request, token, sent=True, problem=error, status=422, comment=comment)
    address = f"/decide/{token}"
    response = (
        await _page(request, container, token, comment=comment, device=device)
        if comment
        else RedirectResponse(address, 303)
    )
    life, secure = DEVICE_SECONDS if remember else None, container.settings.in_production
    response.set_cookie(DEVICE, device, max_age=life, path="/decide", httponly=True, samesite="lax", secure=secure)
    return response


def _code_page(
    request: Request,
    token: str,
    person: Person | None = None,
    sent: bool = False,
    problem: Refusal | None = None,
    status: int = 200,
    comment: str = "",
) -> Response:
    """Where a link decides only for who can show that they are whom it was sent to. A comment is kept."""
    read = reader_of(request, person)
    said = "; ".join(problems_of(problem, read).values()) if problem else ""
    facts = {"token": token, "sent": sent, "problem": said, "comment": comment}
    return _private(page(request, "decide_code.html", None, status_code=status, reads_as=person, **facts))


async def _page(
    request: Request,
    container: Any,
    token: str,
    said: str | Refusal | Outcome = "",
    tone: str = "",
    status: int = 200,
    comment: str = "",
    device: str | None = None,
) -> Response:
    try:
        by, device = await find_visitor(request, container), device or request.cookies.get(DEVICE, "")
        person, shown = await container.by_link.shown(token, by, device)
    except NotSignedIn:
        return _code_page(request, token, comment=comment)
    seats = await container.approvals.holders(person, shown.round.subject_kind)
    held = [one for one in seats if one in shown.approval.holders]
    waits = shown.approval.status is ApprovalStatus.REQUESTED and held
    read = Reader(person)
    said = read.say(said) if isinstance(said, str) else why(said, read)
    facts: dict[str, Any] = {
        "whose": person, "shown": shown, "said": said, "tone": tone, "open": bool(waits) and tone in ("", "bad"),
        "comment": comment, "address": f"/decide/{token}",
        "acts_for": held[0] if held and person.id not in held else "",
    }  # fmt: skip
    return _private(page(request, "decide.html", None, status_code=status, reads_as=person, **facts))


def _private(answer: Response) -> Response:
    """Neither indexed nor kept."""
    answer.headers["X-Robots-Tag"] = "noindex"
    answer.headers["Cache-Control"] = "no-store"
    return answer
