"""Replacing a person everywhere, over HTTP."""

from typing import Annotated

from fastapi import APIRouter

from api.problems import answers
from api.requests import AHouse, Cursor, Limit, Page, PathId, RequestBody, keys_of, needs, needs_caller, paged
from domain.people import Person
from domain.values import Id
from services.commands import Caller
from services.replacements import Progress
from storage.replacements import Places, Replacement

router = APIRouter(prefix="/v1/replacements", tags=["replacements"])
Admin = Annotated[Caller, needs_caller("replacements.write")]
Reader = Annotated[Person, needs("replacements.read")]


class Replace(RequestBody):
    """`new` takes the place of `old`."""

    old: Id
    new: Id


@router.post("/preview", responses=answers(401, 403, 422))
async def preview(house: AHouse, caller: Admin, body: Replace) -> Places:
    """What it would touch. Nothing is changed."""
    return await house.replacements.preview(caller.person, body.old, body.new)


@router.post("", status_code=201, responses=answers(401, 403, 422))
async def start(house: AHouse, caller: Admin, body: Replace) -> Replacement:
    """Policies, groups and standing delegations at once, then every open approval."""
    return await house.replacements.start(caller, body.old, body.new)


@router.get("", responses=answers(401, 403, 422))
async def list_replacements(
    house: AHouse, person: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[Replacement]:
    after = keys_of(cursor, 1)
    found = await house.replacements.listed(person, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda replacement: (replacement.id,))


@router.get("/{id}", responses=answers(401, 403, 404, 422))
async def get(house: AHouse, person: Reader, id: PathId) -> Progress:
    """How far it is, and which approvals could not be moved and why."""
    return await house.replacements.get(person, id)


@router.post("/{id}/pause", responses=answers(401, 403, 404, 409, 422))
async def pause(house: AHouse, caller: Admin, id: PathId) -> Replacement:
    return await house.replacements.pause(caller, id)


@router.post("/{id}/resume", responses=answers(401, 403, 404, 409, 422))
async def resume(house: AHouse, caller: Admin, id: PathId) -> Replacement:
    return await house.replacements.resume(caller, id)
