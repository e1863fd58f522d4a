"""Approvals over HTTP."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from api.problems import answers
from api.quotes import ON_COMMAND
from api.requests import (
    ContainerDep,
    Cursor,
    Done,
    Limit,
    Page,
    PathId,
    RequestBody,
    answered,
    keys_of,
    needs,
    needs_caller,
    paged,
)
from domain.errors import Invalid
from domain.people import Person
from domain.values import Id, Text
from services.approvals.approvals import ApprovalDetail, Decision, Result
from services.runs.commands import Caller, CommandReceipt
from storage.approvals.inbox import Waiting

router = APIRouter(prefix="/v1", tags=["approvals"])
Decider = Annotated[Caller, needs_caller("approvals.decide")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="The digest of what you saw.")]


class Approve(RequestBody):
    digest: Digest
    comment: Text = ""


class Reject(RequestBody):
    digest: Digest
    comment: Annotated[Text, Field(min_length=1)]


class Delegate(RequestBody):
    digest: Digest
    to: Id
    reason: Text = ""


class Reassign(RequestBody):
    to: Id
    holder: Annotated[Id | None, Field(alias="from")] = None
    reason: Text = ""


class AddApprover(RequestBody):
    """One more approver: a person in `to`, or a group of whom any decides in `group`."""

    to: Id | None = None
    group: Id | None = None
    step: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """A step of the approval's chain that is not reached yet; without it, the next one."""
    reason: Annotated[Text, Field(max_length=500)] = ""


class Consult(RequestBody):
    digest: Digest
    to: Id
    question: Annotated[Text, Field(min_length=1)]


class Advise(RequestBody):
    answer: Annotated[Text, Field(min_length=1)]


@router.get("/inbox", responses=answers(401, 403, 422))
async def inbox(
    container: ContainerDep, person: Annotated[Person, needs("inbox.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Waiting]:
    """What waits on you, longest waiting first."""
    found = await container.approvals.inbox(person, inbox_place(cursor), limit + 1)
    return paged(found, limit, lambda item: (item.requested_at.isoformat(), item.approval))


def inbox_place(cursor: str | None) -> tuple[datetime, str] | None:
    keys = keys_of(cursor, 2)
    if keys is None:
        return None
    try:
        at = datetime.fromisoformat(keys[0])
        at.utctimetuple()
    except (ValueError, OverflowError):
        raise Invalid.field("cursor", "is not one that this list gave") from None
    if at.tzinfo is None:
        raise Invalid.field("cursor", "is not one that this list gave")
    return at, keys[1]


@router.get("/approvals/{id}", responses=answers(401, 403, 404, 422))
async def get(
    container: ContainerDep, person: Annotated[Person, needs("approvals.read")], id: PathId
) -> ApprovalDetail:
    """One approval with its round and what it is about."""
    return await container.approvals.get(person, id)


@router.post("/approvals/{id}/approve", response_model=Done, responses=ON_COMMAND)
async def approve(container: ContainerDep, caller: Decider, id: PathId, body: Approve) -> Response:
    return answered(await container.approvals.approve(caller, id, body.digest, body.comment))


@router.post("/approvals/{id}/reject", response_model=Done, responses=ON_COMMAND)
async def reject(container: ContainerDep, caller: Decider, id: PathId, body: Reject) -> Response:
    """A rejection says why."""
    return answered(await container.approvals.reject(caller, id, body.digest, body.comment))


class Comment(RequestBody):
    comment: Text = ""


@router.post("/approvals/{id}/take-back", response_model=Done, responses=ON_COMMAND)
async def take_back(container: ContainerDep, caller: Decider, id: PathId, body: Comment | None = None) -> Response:
    """Undo your own approval while the round is pending and nothing was built on it."""
    return answered(await container.approvals.take_back(caller, id, body.comment if body else ""))


class Many(RequestBody):
    decisions: Annotated[list[Decision], Field(min_length=1, max_length=100)]


@router.post("/approvals/decide", responses=answers(401, 403, 422))
async def decide_many(container: ContainerDep, caller: Decider, body: Many) -> list[Result]:
    """Decide up to a hundred at once; the answer has one row for each, in the same order."""
    return await container.approvals.decide_many(caller, body.decisions)


@router.post("/approvals/{id}/delegate", response_model=Done, responses=ON_COMMAND)
async def delegate(container: ContainerDep, caller: Decider, id: PathId, body: Delegate) -> Response:
    """Hand this one approval to another person."""
    return answered(await container.approvals.delegate(caller, id, body.digest, body.to, body.reason))


@router.post("/approvals/{id}/add-approver", response_model=Done, responses=ON_COMMAND)
async def add_approver(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("approvals.add")], id: PathId, body: AddApprover
) -> Response:
    """Ask one more person or group, in a later step of this approval's chain; for the submitter and who is asked."""
    return answered(await container.approvals.add_approver(caller, id, body.to, body.group, body.step, body.reason))


@router.post("/approvals/{id}/remove-approver", response_model=Done, responses=ON_COMMAND)
async def remove_approver(
    container: ContainerDep,
    caller: Annotated[Caller, needs_caller("approvals.remove")],
    id: PathId,
    body: Comment | None = None,
) -> Response:
    """Take an approver whom you added off the subject again; they are not asked in later rounds either."""
    return answered(await container.approvals.remove_approver(caller, id, body.comment if body else ""))


@router.post("/approvals/{id}/consult", response_model=Done, responses=ON_COMMAND)
async def consult(container: ContainerDep, caller: Decider, id: PathId, body: Consult) -> Response:
    """Ask somebody for advice before you decide."""
    return answered(await container.approvals.consult(caller, id, body.digest, body.to, body.question))


@router.post("/approvals/{id}/advise", response_model=Done, responses=ON_COMMAND)
async def advise(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("quotes.comment")], id: PathId, body: Advise
) -> Response:
    """Give the advice you were asked for."""
    return answered(await container.approvals.advise(caller, id, body.answer))


@router.post("/approvals/{id}/reassign", response_model=Done, responses=ON_COMMAND)
async def reassign(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("approvals.reassign")], id: PathId, body: Reassign
) -> Response:
    """Move an approval from its holder to another person."""
    return answered(await container.approvals.reassign(caller, id, body.to, body.holder, body.reason))


@router.get("/receipts/{command_id}", responses=answers(401, 403, 404, 422))
async def receipt(
    container: ContainerDep, person: Annotated[Person, needs("receipts.read")], command_id: PathId
) -> CommandReceipt:
    """A command of yours: its outcome, or null while it is not answered."""
    return await container.context.path.receipt(person, command_id)
