"""Users and groups over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from api.problems import answers
from api.requests import (
    ContainerDep,
    Cursor,
    IfMatch,
    Limit,
    Page,
    PathId,
    RequestBody,
    keys_of,
    needs,
    needs_caller,
    paged,
    set_etag,
)
from domain.errors import Invalid
from domain.people import Group, Person
from services.runs.commands import Caller

router = APIRouter(prefix="/v1", tags=["people"])
ON_PUT = answers(401, 403, 412, 422, 428)


@router.put("/users/{id}", responses=ON_PUT)
async def put_user(
    container: ContainerDep,
    caller: Annotated[Caller, needs_caller("people.write")],
    id: PathId,
    body: Person,
    expected: IfMatch,
    response: Response,
) -> Person:
    """Create a person, or change the version named in `If-Match`."""
    if body.id != id:
        raise Invalid.field("id", "is not the id in the address")
    stored = await container.people.put(caller, body, expected)
    set_etag(response, stored.version)
    return stored


@router.get("/users/{id}", responses=answers(401, 403, 404, 422))
async def get_user(
    container: ContainerDep, person: Annotated[Person, needs("people.read")], id: PathId, response: Response
) -> Person:
    found = await container.people.get(person, id)
    set_etag(response, found.version)
    return found


@router.get("/users", responses=answers(401, 403, 422))
async def list_users(
    container: ContainerDep, person: Annotated[Person, needs("people.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Person]:
    after = keys_of(cursor, 1)
    found = await container.people.list_page(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda user: (user.id,))


class ChatAddress(RequestBody):
    url: Annotated[str, Field(max_length=500)]


@router.put("/users/{id}/chat", status_code=204, responses=answers(401, 403, 404, 422))
async def put_chat(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("chat.write")], id: PathId, body: ChatAddress
) -> None:
    """Where a person's chat messages go, such as `slack://…`; empty for none. It is never shown again."""
    await container.people.set_chat(caller, id, body.url)


@router.put("/groups/{id}", responses=ON_PUT)
async def put_group(
    container: ContainerDep,
    caller: Annotated[Caller, needs_caller("groups.write")],
    id: PathId,
    body: Group,
    expected: IfMatch,
    response: Response,
) -> Group:
    """Create a group, or change the version named in `If-Match`."""
    if body.id != id:
        raise Invalid.field("id", "is not the id in the address")
    stored = await container.people.put_group(caller, body, expected)
    set_etag(response, stored.version)
    return stored


@router.get("/groups/{id}", responses=answers(401, 403, 404, 422))
async def get_group(
    container: ContainerDep, person: Annotated[Person, needs("groups.read")], id: PathId, response: Response
) -> Group:
    found = await container.people.get_group(person, id)
    set_etag(response, found.version)
    return found


@router.get("/groups", responses=answers(401, 403, 422))
async def list_groups(
    container: ContainerDep, person: Annotated[Person, needs("groups.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Group]:
    after = keys_of(cursor, 1)
    found = await container.people.list_groups(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda group: (group.id,))
