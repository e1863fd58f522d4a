"""Standing delegations over HTTP."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.problems import answers
from api.requests import ContainerDep, Cursor, Limit, Page, PathId, RequestBody, keys_of, needs, needs_caller, paged
from domain.delegation import Delegation
from domain.people import Person
from domain.values import Day, Id, Text, Word
from services.runs.commands import Caller

router = APIRouter(prefix="/v1/delegations", tags=["delegations"])
Giver = Annotated[Caller, needs_caller("delegations.write")]


class Give(RequestBody):
    """`person` is yourself unless an admin says otherwise; days are counted in that person's time zone."""

    person: Id | None = None
    delegate: Id
    first: Day
    last: Day | None = None
    kinds: Annotated[list[Word], Field(max_length=20)] = []
    note: Text = ""


@router.post("", status_code=201, responses=answers(401, 403, 404, 422))
async def give(container: ContainerDep, caller: Giver, body: Give) -> Delegation:
    """Let somebody decide what waits on you, also what waits already."""
    return await container.delegations.give(
        caller, body.person or caller.person.id, body.delegate, body.first, body.last, tuple(body.kinds), body.note
    )


@router.get("", responses=answers(401, 403, 422))
async def list_delegations(
    container: ContainerDep,
    person: Annotated[Person, needs("delegations.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Delegation]:
    """Those you gave or were given, ended ones too; an admin sees all."""
    after = keys_of(cursor, 1)
    found = await container.delegations.list_page(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda delegation: (delegation.id,))


@router.post("/{id}/end", responses=answers(401, 403, 404, 422))
async def end(container: ContainerDep, caller: Giver, id: PathId) -> Delegation:
    return await container.delegations.end(caller, id)
