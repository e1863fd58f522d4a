"""Users and groups over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from api.problems import answers
from api.requests import (
    AHouse,
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
from services.commands import Caller

router = APIRouter(prefix="/v1", tags=["people"])
ON_PUT = answers(401, 403, 412, 422, 428)


@router.put("/users/{id}", responses=ON_PUT)
async def put_user(
    house: AHouse, caller: Annotated[Caller, needs_caller("people.write")], id: PathId, body: Person,
    expected: IfMatch, response: Response,
) -> Person:  # fmt: skip
    """Create a person, or change the version named in `If-Match`."""
    if body.id != id:
        raise Invalid.field("id", "is not the id in the address")
    stored = await house.people.put(caller, body, expected)
    set_etag(response, stored.version)
    return stored


@router.get("/users/{id}", responses=answers(401, 403, 404, 422))
async def get_user(
    house: AHouse, person: Annotated[Person, needs("people.read")], id: PathId, response: Response
) -> Person:
    found = await house.people.get(person, id)
    set_etag(response, found.version)
    return found


@router.get("/users", responses=answers(401, 403, 422))
async def list_users(
    house: AHouse, person: Annotated[Person, needs("people.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Person]:
    after = keys_of(cursor, 1)
    found = await house.people.listed(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda user: (user.id,))


class ChatAddress(RequestBody):
    url: Annotated[str, Field(max_length=500)]


@router.put("/users/{id}/chat", status_code=204, responses=answers(401, 403, 404, 422))
async def put_chat(
    house: AHouse, caller: Annotated[Caller, needs_caller("chat.write")], id: PathId, body: ChatAddress
) -> None:
    """Where a person's chat messages go, such as `slack://…`; empty for none. It is never shown again."""
    await house.people.set_chat(caller, id, body.url)


@router.put("/groups/{id}", responses=ON_PUT)
async def put_group(
    house: AHouse, caller: Annotated[Caller, needs_caller("groups.write")], id: PathId, body: Group,
    expected: IfMatch, response: Response,
) -> Group:  # fmt: skip
    """Create a group, or change the version named in `If-Match`."""
    if body.id != id:
        raise Invalid.field("id", "is not the id in the address")
    stored = await house.people.put_group(caller, body, expected)
    set_etag(response, stored.version)
    return stored


@router.get("/groups/{id}", responses=answers(401, 403, 404, 422))
async def get_group(
    house: AHouse, person: Annotated[Person, needs("groups.read")], id: PathId, response: Response
) -> Group:
    found = await house.people.get_group(person, id)
    set_etag(response, found.version)
    return found


@router.get("/groups", responses=answers(401, 403, 422))
async def list_groups(
    house: AHouse, person: Annotated[Person, needs("groups.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[Group]:
    after = keys_of(cursor, 1)
    found = await house.people.list_groups(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda group: (group.id,))
