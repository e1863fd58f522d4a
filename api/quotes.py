"""Quotes over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel

from api.problems import answers
from api.requests import (
    ContainerDep,
    Cursor,
    Done,
    IfMatch,
    Limit,
    Page,
    PathId,
    Pending,
    RequestBody,
    answered,
    keys_of,
    needs,
    needs_caller,
    paged,
    set_etag,
)
from domain.approvals.evaluation import Finding
from domain.approvals.hints import Hint
from domain.approvals.plan import PlannedApproval, UnresolvedRule
from domain.approvals.round import Round, explained, round_run
from domain.audit import Entry
from domain.errors import Invalid
from domain.people import Person
from domain.quotes import Quote, QuoteStatus
from domain.values import Text
from services.quotes.quotes import read_quote
from services.runs.commands import Caller
from storage.letters.messages import Undelivered
from storage.quotes.quotes import QuoteSummary, StoredQuote

router = APIRouter(prefix="/v1/quotes", tags=["quotes"])
Reader = Annotated[Person, needs("quotes.read")]
Writer = Annotated[Caller, needs_caller("quotes.write")]
Submitter = Annotated[Caller, needs_caller("quotes.submit")]
Recaller = Annotated[Caller, needs_caller("quotes.recall")]
ON_COMMAND: dict[int | str, dict[str, Any]] = {
    202: {"model": Pending, "description": "Written down; ask the receipt"},
    **answers(401, 403, 404, 409, 412, 422, 429),
}


class Sums(BaseModel):
    list_total: Decimal
    net_total: Decimal
    discount_percent: Decimal | None
    currency: str


class QuoteOut(BaseModel):
    """A quote with its state and its sums."""

    quote: Quote
    version: int
    status: QuoteStatus
    digest: str
    round: int
    valid_until: datetime | None
    """When the approval ends, if it is not used by then."""
    sums: Sums
    flags: list[dict[str, str]]
    created_at: datetime
    changed_at: datetime


class PreviewOut(BaseModel):
    """The approvals a draft would need, and why."""

    sums: Sums
    policy_version: int
    approvals: list[PlannedApproval]
    unresolved: list[UnresolvedRule]
    after: dict[str, tuple[str, ...]]
    names: dict[str, str]
    hints: list[Hint]
    stand_ins: dict[str, list[str]]
    expected_hours: Decimal | None


class Comment(RequestBody):
    comment: Text = ""


class RoundOut(BaseModel):
    run: str
    round: Round
    reasons: dict[str, tuple[str, ...]]
    names: dict[str, str]


def sums_of(quote: Quote) -> Sums:
    return Sums(
        list_total=quote.list_total,
        net_total=quote.net_total,
        discount_percent=quote.discount_percent,
        currency=quote.currency,
    )


def shown(stored: StoredQuote) -> QuoteOut:
    return QuoteOut(
        quote=stored.quote,
        version=stored.version,
        status=stored.status,
        digest=stored.digest,
        round=stored.round,
        sums=sums_of(stored.quote),
        flags=list(stored.flags),
        created_at=stored.created_at,
        changed_at=stored.changed_at,
        valid_until=stored.valid_until,
    )


@router.put("/{id}", responses={201: {"model": QuoteOut}, **answers(401, 403, 404, 409, 412, 413, 422, 428, 429)})
async def put(
    container: ContainerDep,
    caller: Writer,
    id: PathId,
    response: Response,
    body: Annotated[dict[str, Any], Body()],
    expected: IfMatch,
) -> QuoteOut:
    """Create a quote, or replace the version named in `If-Match`. Unknown fields are kept under `custom`."""
    if body.setdefault("id", id) != id:
        raise Invalid.field("id", "is not the id in the address")
    stored, new = await container.quotes.put(caller, read_quote(body), expected)
    response.status_code = 201 if new else 200
    set_etag(response, stored.version)
    return shown(stored)


@router.get("/{id}", responses=answers(401, 403, 404, 422))
async def get(container: ContainerDep, person: Reader, id: PathId, response: Response) -> QuoteOut:
    stored = await container.quotes.get(person, id)
    set_etag(response, stored.version)
    return shown(stored)


@router.get("", responses=answers(401, 403, 422))
async def list_quotes(
    container: ContainerDep, person: Reader, limit: Limit = 50, cursor: Cursor = None, status: QuoteStatus | None = None
) -> Page[QuoteSummary]:
    """The quotes you can see, by id."""
    after = keys_of(cursor, 1)
    found = await container.quotes.list_page(person, status, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda quote: (quote.id,))


@router.post("/{id}/preview", responses=answers(401, 403, 404, 422))
async def preview(
    container: ContainerDep,
    person: Annotated[Person, needs("quotes.read")],
    id: PathId,
    edits: Annotated[dict[str, Any] | None, Body()] = None,
) -> PreviewOut:
    """Which approvals the quote would need with these edits, and why. Nothing is saved."""
    found = await container.quotes.preview(person, id, edits or {})
    return PreviewOut(
        sums=sums_of(found.quote),
        policy_version=found.policy_version,
        approvals=list(found.plan.approvals),
        unresolved=list(found.plan.unresolved),
        after=found.plan.after,
        names=found.names,
        hints=found.hints,
        stand_ins=found.stand_ins,
        expected_hours=found.expected_hours,
    )


@router.get("/{id}/explain", responses=answers(401, 403, 404, 422))
async def explain(container: ContainerDep, person: Reader, id: PathId) -> list[Finding]:
    """Every rule with every condition's tested value, and why it fires or does not."""
    return (await container.quotes.preview(person, id, {})).findings


@router.post("/{id}/submit", response_model=Done, responses=ON_COMMAND)
async def submit(container: ContainerDep, caller: Submitter, id: PathId, expected: IfMatch) -> Response:
    """Ask for the approvals that the quote needs as it stands."""
    return answered(await container.quotes.submit(caller, id, expected))


@router.post("/{id}/recall", response_model=Done, responses=ON_COMMAND)
async def recall(container: ContainerDep, caller: Recaller, id: PathId, body: Comment | None = None) -> Response:
    """Take a pending submission back."""
    return answered(await container.quotes.recall(caller, id, body.comment if body else ""))


class Said(RequestBody):
    text: Text


class Told(BaseModel):
    """Who was named with @ and is told."""

    told: list[str]


@router.post("/{id}/comments", status_code=201, responses=answers(401, 403, 404, 422))
async def comment(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("quotes.comment")], id: PathId, body: Said
) -> Told:
    """Ask or say something without deciding; name people with @ to tell them."""
    return Told(told=await container.quotes.comment(caller, id, body.text))


@router.get("/{id}/rounds", responses=answers(401, 403, 404, 422))
async def rounds(container: ContainerDep, person: Reader, id: PathId) -> list[RoundOut]:
    """Every round of approvals, newest first."""
    found = await container.quotes.rounds(person, id)
    return [
        RoundOut(
            run=round_run("quote", id, round.number),
            round=round,
            names=names,
            reasons={a.id: p.reasons for a, p in explained(round, plan)},
        )
        for round, plan, names in found
    ]


@router.get("/{id}/undelivered", responses=answers(401, 403, 404, 422))
async def undelivered(container: ContainerDep, person: Reader, id: PathId) -> list[Undelivered]:
    """What people should have been told about the newest round and were not, with the reason."""
    return await container.quotes.undelivered(person, id)


@router.get("/{id}/audit", responses=answers(401, 403, 404, 422))
async def audit(
    container: ContainerDep,
    person: Reader,
    id: PathId,
    limit: Limit = 100,
    cursor: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Page[Entry]:
    """Everything that ever happened to the quote, in order."""
    found = await container.quotes.audit(person, id, cursor, limit + 1)
    shown = found[:limit]
    return Page(items=shown, next_cursor=str(shown[-1].seq) if len(found) > limit else None)
