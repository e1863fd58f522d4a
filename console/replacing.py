"""Replacing a person everywhere: the form, the dry run, and bars that move."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from api.requests import ContainerDep, PathId
from console.pages import Short, caller
from console.refusals import why
from console.session import Me
from console.view import Reader, page
from domain.errors import Invalid, NotFound
from domain.people import Person, Role

router = APIRouter()


@router.get("/replacements")
async def replacements(
    request: Request,
    container: ContainerDep,
    me: Me,
    old: Annotated[str, Query(max_length=64)] = "",
    new: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The form; with two people chosen, what replacing one by the other would touch."""
    places, problem = None, ""
    if old or new:
        try:
            places = await container.replacements.preview(me, old, new)
        except Invalid as error:
            problem = why(error, Reader(me))
    return await _replacements(request, container, me, old, new, places, problem)


async def _replacements(
    request: Request, container: Any, me: Person, old: str, new: str, places: Any, problem: str
) -> Response:
    everybody = await container.people.list_page(me, "", 200)
    found = sorted(await container.replacements.list_page(me, "", 200), key=lambda r: r.created_at, reverse=True)[:10]
    progress = [await container.replacements.get(me, r.id) for r in found]
    facts: dict[str, Any] = {
        "people": everybody, "names": {p.id: p.name for p in everybody}, "old": old, "new": new, "touched": places,
        "problem": problem, "progress": progress,
        "followers": [p for p in everybody if p.has(Role.APPROVER)],
    }  # fmt: skip
    return page(request, "replacements.html", me, status_code=422 if problem else 200, **facts)


@router.post("/replacements")
async def replace(
    request: Request, container: ContainerDep, me: Me, old: Short = "", new: Short = "", key: Short = ""
) -> Response:
    try:
        await container.replacements.start(caller(me, key), old, new)
    except Invalid as error:
        return await _replacements(request, container, me, old, new, None, why(error, Reader(me)))
    return RedirectResponse("/replacements", 303)


@router.get("/replacements/{id}")
async def progress(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    """One progress bar, asked for again and again while it moves."""
    found = await container.replacements.get(me, id)
    names = {p.id: p.name for p in await container.people.list_page(me, "", 200)}
    return page(request, "_replacement.html", me, item=found, names=names)


@router.post("/replacements/{id}/{verb}")
async def steer(container: ContainerDep, me: Me, id: PathId, verb: str) -> Response:
    acts = {"pause": container.replacements.pause, "resume": container.replacements.resume}
    if verb not in acts:
        raise NotFound("There is no such act.")
    await acts[verb](caller(me, ""), id)
    return RedirectResponse("/replacements", 303)
