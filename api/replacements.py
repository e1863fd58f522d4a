"""Replacing a person everywhere, over HTTP."""

from typing import Annotated

from fastapi import APIRouter

from api.problems import answers
from api.requests import ContainerDep, Cursor, Limit, Page, PathId, RequestBody, keys_of, needs, needs_caller, paged
from domain.people import Person
from domain.values import Id
from services.people.replacements import Progress
from services.runs.commands import Caller
from storage.people.replacements import Places, Replacement

router = APIRouter(prefix="/v1/replacements", tags=["replacements"])
Admin = Annotated[Caller, needs_caller("replacements.write")]
Reader = Annotated[Person, needs("replacements.read")]


class Replace(RequestBody):
    """`new` takes the place of `old`."""

    old: Id
    new: Id


@router.post("/preview", responses=answers(401, 403, 422))
async def preview(container: ContainerDep, caller: Admin, body: Replace) -> Places:
    """What it would touch. Nothing is changed."""
    return await container.replacements.preview(caller.person, body.old, body.new)


@router.post("", status_code=201, responses=answers(401, 403, 422))
async def start(container: ContainerDep, caller: Admin, body: Replace) -> Replacement:
    """Policies, groups and standing delegations at once, then every open approval."""
    return await container.replacements.start(caller, body.old, body.new)


@router.get("", responses=answers(401, 403, 422))
async def list_replacements(
    container: ContainerDep, person: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[Replacement]:
    after = keys_of(cursor, 1)
    found = await container.replacements.list_page(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda replacement: (replacement.id,))


@router.get("/{id}", responses=answers(401, 403, 404, 422))
async def get(container: ContainerDep, person: Reader, id: PathId) -> Progress:
    """How far it is, and which approvals could not be moved and why."""
    return await container.replacements.get(person, id)


@router.post("/{id}/pause", responses=answers(401, 403, 404, 409, 422))
async def pause(container: ContainerDep, caller: Admin, id: PathId) -> Replacement:
    return await container.replacements.pause(caller, id)


@router.post("/{id}/resume", responses=answers(401, 403, 404, 409, 422))
async def resume(container: ContainerDep, caller: Admin, id: PathId) -> Replacement:
    return await container.replacements.resume(caller, id)
