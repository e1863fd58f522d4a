"""Messages to people, for ops."""

from typing import Annotated, Literal

from fastapi import APIRouter

from api.problems import answers
from api.requests import ContainerDep, Cursor, Limit, Page, PathId, keys_of, needs, needs_caller, paged
from domain.people import Person
from services.runs.commands import Caller
from storage.letters.inbound import Received
from storage.letters.messages import Message

router = APIRouter(prefix="/v1/messages", tags=["ops"])


@router.get("", responses=answers(401, 403, 422))
async def list_messages(
    container: ContainerDep,
    person: Annotated[Person, needs("messages.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Literal["queued", "sent", "failed"] | None = None,
) -> Page[Message]:
    """What people were or should be told; `?status=failed` is the list to look at."""
    after = keys_of(cursor, 1)
    found = await container.messages.list_page(person, status, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda message: (message.id,))


@router.get("/received", responses=answers(401, 403, 422))
async def received(
    container: ContainerDep, person: Annotated[Person, needs("messages.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Received]:
    """Every reply that came in by mail, and what came of it."""
    after = keys_of(cursor, 1)
    found = await container.replies.received(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda mail: (mail.id,))


@router.post("/{id}/retry", status_code=204, responses=answers(401, 403, 404, 422))
async def retry(container: ContainerDep, caller: Annotated[Caller, needs_caller("messages.retry")], id: PathId) -> None:
    """Send a failed message again."""
    await container.messages.retry(caller, id)
