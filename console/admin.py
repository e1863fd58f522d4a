"""Pages of the approvals admin: the policy desk, and replacing a person everywhere."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from api.requests import AHouse, PathId
from console.pages import Me, Short, caller
from console.view import page
from domain.approvals.exchange import MAX_BYTES, read_policy, write_policy
from domain.approvals.policy import Policy
from domain.errors import Invalid, NotFound, Refusal
from domain.people import Person, Role

router = APIRouter()
Yaml = Annotated[str, Form(max_length=MAX_BYTES)]
LISTED = 50


# --- replacing a person -----------------------------------------------------------------------------------------------


@router.get("/replacements")
async def replacements(
    request: Request, house: AHouse, me: Me, old: Annotated[str, Query(max_length=64)] = "",
    new: Annotated[str, Query(max_length=64)] = "",
) -> Response:  # fmt: skip
    """The form; with two people chosen, what replacing one by the other would touch."""
    places, problem = None, ""
    if old or new:
        try:
            places = await house.replacements.preview(me, old, new)
        except Invalid as error:
            problem = error.sentence
    return await _replacements(request, house, me, old, new, places, problem)


async def _replacements(
    request: Request, house: Any, me: Person, old: str, new: str, places: Any, problem: str
) -> Response:
    everybody = await house.people.listed(me, "", 200)
    found = sorted(await house.replacements.listed(me, "", 200), key=lambda r: r.created_at, reverse=True)[:10]
    progress = [await house.replacements.get(me, r.id) for r in found]
    facts: dict[str, Any] = {
        "people": everybody, "names": {p.id: p.name for p in everybody}, "old": old, "new": new, "touched": places,
        "problem": problem, "progress": progress,
        "followers": [p for p in everybody if p.has(Role.APPROVER)],
    }  # fmt: skip
    return page(request, "replacements.html", me, status_code=422 if problem else 200, **facts)


@router.post("/replacements")
async def replace(
    request: Request, house: AHouse, me: Me, old: Short = "", new: Short = "", key: Short = ""
) -> Response:
    try:
        await house.replacements.start(caller(me, key), old, new)
    except Invalid as error:
        return await _replacements(request, house, me, old, new, None, error.sentence)
    return RedirectResponse("/replacements", 303)


@router.get("/replacements/{id}")
async def progress(request: Request, house: AHouse, me: Me, id: PathId) -> Response:
    """One progress bar, asked for again and again while it moves."""
    found = await house.replacements.get(me, id)
    names = {p.id: p.name for p in await house.people.listed(me, "", 200)}
    return page(request, "_replacement.html", me, item=found, names=names)


@router.post("/replacements/{id}/{verb}")
async def steer(house: AHouse, me: Me, id: PathId, verb: str) -> Response:
    acts = {"pause": house.replacements.pause, "resume": house.replacements.resume}
    if verb not in acts:
        raise NotFound("There is no such act.")
    await acts[verb](caller(me, ""), id)
    return RedirectResponse("/replacements", 303)


# --- the policy desk --------------------------------------------------------------------------------------------------


@router.get("/policy/{kind}")
async def desk(request: Request, house: AHouse, me: Me, kind: PathId) -> Response:
    """The draft, or the policy in force where there is none."""
    revision, text = 0, f"kind: {kind}\nrules: []\n"
    try:
        draft = await house.policies.draft(me, kind)
        revision, text = draft.revision, write_policy(draft.policy)
    except NotFound:
        if current := await _current(house, me, kind):
            text = write_policy(current)
    return await _desk(request, house, me, kind, text, revision)


async def _desk(
    request: Request, house: Any, me: Person, kind: str, text: str, revision: int, problem: str = ""
) -> Response:
    current = await _current(house, me, kind)
    facts: dict[str, Any] = {"kind": kind, "text": text, "revision": revision, "problem": problem, "current": current}
    facts |= await _checked(house, kind, text)
    return page(request, "policy.html", me, status_code=422 if problem else 200, **facts)


async def _current(house: Any, me: Person, kind: str) -> Policy | None:
    try:
        return (await house.policies.current(me, kind)).policy  # type: ignore[no-any-return]
    except NotFound:
        return None


async def _checked(house: Any, kind: str, text: str) -> dict[str, Any]:
    """What is wrong with a text, and what deserves a second look."""
    try:
        policy = await asyncio.to_thread(read_policy, text)  # a long text takes its time
        if policy.kind != kind:
            raise Invalid.field("kind", f"must be {kind!r} here")
    except Invalid as error:
        return {"problems": error.facts["errors"], "warnings": [], "policy": None}
    return {
        "problems": await house.policies.check(policy), "warnings": await house.policies.suspicious(policy),
        "policy": policy,
    }  # fmt: skip


@router.post("/policy/{kind}/check")
async def check(request: Request, house: AHouse, me: Me, kind: PathId, yaml: Yaml = "") -> Response:
    """What is wrong with the text as typed. Nothing is stored."""
    await _current(house, me, kind)  # only for who may read policies
    return page(request, "_policy_check.html", me, **await _checked(house, kind, yaml))


@router.post("/policy/{kind}")
async def save(
    request: Request, house: AHouse, me: Me, kind: PathId, yaml: Yaml = "",
    revision: Annotated[int, Form(ge=0)] = 0, then: Short = "", key: Short = "",
) -> Response:  # fmt: skip
    """Keep the draft; and publish it, when that button was pressed."""
    try:
        policy = read_policy(yaml)
        if policy.kind != kind:
            raise Invalid.field("kind", f"must be {kind!r} here")
        await house.policies.put_draft(caller(me, key), policy, revision or None)
        if then == "publish":
            await house.policies.publish(caller(me, key), kind)
    except Refusal as error:
        return await _desk(request, house, me, kind, yaml, revision, error.sentence)
    return RedirectResponse(f"/policy/{kind}/effect" if then == "effect" else f"/policy/{kind}", 303)


@router.get("/policy/{kind}/effect")
async def shown_effect(request: Request, house: AHouse, me: Me, kind: PathId) -> Response:
    """What the draft changes, in words, and what it would have asked of past submissions."""
    changes = await house.policies.changes(me, kind)
    totals, changed = await house.policies.backtest(me, kind, 500)
    facts: dict[str, Any] = {"kind": kind, "changes": changes, "totals": totals, "changed": changed[:LISTED]}
    return page(request, "policy_effect.html", me, more=max(0, len(changed) - LISTED), **facts)
