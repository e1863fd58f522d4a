"""The page behind a signed link: shows what is asked, and decides only when a button is pressed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import Response

from api.requests import AHouse
from console.pages import COOKIE, Words
from console.view import Reader, page
from domain.approvals.round import ApprovalStatus
from domain.errors import CommandIdReused, NotSignedIn, Refusal
from domain.people import Person

router = APIRouter()
Token = Annotated[str, Path(max_length=400)]


async def visitor(request: Request, house: Any) -> Person | None:
    """Who is signed in here, if anybody is."""
    try:
        return await house.access.person(request.cookies[COOKIE]) if COOKIE in request.cookies else None
    except NotSignedIn:
        return None


@router.get("/decide/{token}")
async def ask(request: Request, house: AHouse, token: Token) -> Response:
    return await _page(request, house, token)


@router.post("/decide/{token}")
async def decide(
    request: Request,
    house: AHouse,
    token: Token,
    verb: Annotated[Literal["approve", "reject"], Form()],
    comment: Words = "",
) -> Response:
    try:
        person, answer = await house.by_link.decide(token, verb, comment, await visitor(request, house))
    except CommandIdReused:
        return await _page(request, house, token, "You already answered this message.", "bad", 409)
    except Refusal as refusal:
        if refusal.code in ("not_found", "not_signed_in"):
            raise
        return await _page(request, house, token, refusal.sentence, "bad", 422)
    say = Reader(person).say
    if answer.outcome is None:
        return await _page(
            request, house, token, say("Written down. It takes effect as soon as the engine answers."), "wait", 202
        )
    if not answer.outcome.applied:
        return await _page(request, house, token, answer.outcome.sentence, "bad", 409)
    return await _page(request, house, token, say("Decided."), "good", 200)


async def _page(
    request: Request, house: Any, token: str, said: str = "", tone: str = "", status: int = 200
) -> Response:
    person, shown = await house.by_link.shown(token, await visitor(request, house))
    seats = await house.approvals.holders(person)
    waits = shown.approval.status is ApprovalStatus.REQUESTED and set(seats).intersection(shown.approval.holders)
    said = Reader(person).say(said) if said else ""
    facts: dict[str, Any] = {
        "whose": person, "shown": shown, "said": said, "tone": tone, "open": bool(waits) and tone in ("", "bad"),
    }  # fmt: skip
    answer = page(request, "decide.html", None, status_code=status, reads_as=person, **facts)
    answer.headers["X-Robots-Tag"] = "noindex"
    answer.headers["Cache-Control"] = "no-store"
    return answer
