"""The policy desk: rules, variables and chains by clicks or as text, tried before they are published."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from api.requests import ContainerDep, PathId
from console import forms
from console.pages import Short, caller
from console.refusals import why
from console.session import Me
from console.view import Reader, page
from domain.approvals.compare import when_in_words
from domain.approvals.exchange import MAX_BYTES, read_policy, write_policy
from domain.approvals.operators import Operator
from domain.approvals.policy import Aggregate, Chain, Policy, Rule, Variable
from domain.approvals.subject import KNOWN_FIELDS, KNOWN_LINE_FIELDS
from domain.errors import Invalid, NotFound, Refusal
from domain.people import Person
from domain.sentences import Sentence

router = APIRouter(prefix="/policy/{kind}")
Yaml = Annotated[str, Form(max_length=MAX_BYTES)]
Revision = Annotated[int, Form(ge=0)]
Part = Rule | Variable | Chain
BLANK: dict[str, Part] = {
    "rules": Rule.model_construct(name=""),
    "variables": Variable.model_construct(name="", aggregate=Aggregate.SUM),
    "chains": Chain.model_construct(name=""),
}
NOT_THERE = {
    "rules": "The draft has no rule {name!r}.", "variables": "The draft has no variable {name!r}.",
    "chains": "The draft has no chain {name!r}.",
}  # fmt: skip
LISTED = 50


async def _draft(container: Any, me: Person, kind: str) -> tuple[Policy, int]:
    """The draft with its revision; what is in force, at revision 0, where there is none."""
    try:
        draft = await container.policies.draft(me, kind)
    except NotFound:
        return await _current(container, me, kind) or Policy(kind=kind), 0
    return draft.policy, draft.revision


async def _current(container: Any, me: Person, kind: str) -> Policy | None:
    try:
        return (await container.policies.current(me, kind)).policy  # type: ignore[no-any-return]
    except NotFound:
        return None


async def _found(container: Any, policy: Policy) -> dict[str, Any]:
    """What is wrong with a policy, and what deserves a second look."""
    return {"problems": await container.policies.check(policy), "warnings": await container.policies.suspicious(policy)}


@router.get("")
async def desk(request: Request, container: ContainerDep, me: Me, kind: PathId) -> Response:
    """The draft at a glance: its chains with their rules in words, its variables, what is wrong with it."""
    return await _desk(request, container, me, kind)


async def _desk(
    request: Request, container: Any, me: Person, kind: str, problem: str = "", typed: forms.Shape | None = None
) -> Response:
    policy, revision = await _draft(container, me, kind)
    current = await _current(container, me, kind)
    chains: dict[str, list[Rule]] = {chain.name: [] for chain in policy.chains}
    for rule in sorted(policy.rules, key=lambda r: r.step):
        chains.setdefault(rule.chain_name, []).append(rule)
    facts: dict[str, Any] = {
        "kind": kind, "policy": policy, "revision": revision, "chains": chains, "problem": problem,
        "differs": current is None or current.hash != policy.hash, "when": when_in_words,
        "settings": typed or forms.settings_shape(policy), **await _found(container, policy),
    }  # fmt: skip
    return page(request, "policy.html", me, status_code=422 if problem else 200, **facts)


@router.post("")
async def act(
    request: Request,
    container: ContainerDep,
    me: Me,
    kind: PathId,
    revision: Revision = 0,
    then: Short = "",
    key: Short = "",
) -> Response:
    """Publish the draft, or begin it anew from what is in force; or keep what was typed about it as a whole."""
    policy, _ = await _draft(container, me, kind)
    try:
        if then == "anew":
            policy = await _current(container, me, kind) or Policy(kind=kind)
        elif then != "publish":
            policy = forms.with_settings(policy, await request.form())
        await container.policies.put_draft(caller(me, key), policy, revision or None)
        if then == "publish":
            await container.policies.publish(caller(me, key), kind)
    except Refusal as error:
        typed = None if then in ("anew", "publish") else forms.typed_settings(await request.form())
        return await _desk(request, container, me, kind, why(error, Reader(me)), typed)
    return RedirectResponse(f"/policy/{kind}", 303)


@router.get("/effect")
async def shown_effect(request: Request, container: ContainerDep, me: Me, kind: PathId) -> Response:
    """What the draft changes, in words, and what it would have asked of past submissions."""
    changes = await container.policies.changes(me, kind)
    totals, changed = await container.policies.backtest(me, kind, 500)
    facts: dict[str, Any] = {"kind": kind, "changes": changes, "totals": totals, "changed": changed[:LISTED]}
    return page(request, "policy_effect.html", me, more=max(0, len(changed) - LISTED), **facts)


# --- as text ----------------------------------------------------------------------------------------------------------


@router.get("/text")
async def text(request: Request, container: ContainerDep, me: Me, kind: PathId) -> Response:
    policy, revision = await _draft(container, me, kind)
    return await _text(request, container, me, kind, write_policy(policy), revision)


async def _text(
    request: Request, container: Any, me: Person, kind: str, yaml: str, revision: int, problem: str = ""
) -> Response:
    facts: dict[str, Any] = {"kind": kind, "text": yaml, "revision": revision, "problem": problem}
    checked = await _checked(container, kind, yaml)
    return page(request, "policy_text.html", me, status_code=422 if problem else 200, **facts, **checked)


async def _checked(container: Any, kind: str, yaml: str) -> dict[str, Any]:
    try:
        policy = await asyncio.to_thread(_read, kind, yaml)  # a long text takes its time
    except Invalid as error:
        return {"problems": error.facts["errors"], "warnings": []}
    return await _found(container, policy)


def _read(kind: str, yaml: str) -> Policy:
    policy = read_policy(yaml)
    if policy.kind != kind:
        raise Invalid.field("kind", "must be {kind!r} here", kind=kind)
    return policy


@router.post("/text/check")
async def check(request: Request, container: ContainerDep, me: Me, kind: PathId, yaml: Yaml = "") -> Response:
    """What is wrong with the text as typed. Nothing is stored."""
    await _current(container, me, kind)  # only for who may read policies
    return page(request, "_policy_check.html", me, **await _checked(container, kind, yaml))


@router.post("/text")
async def save_text(
    request: Request,
    container: ContainerDep,
    me: Me,
    kind: PathId,
    yaml: Yaml = "",
    revision: Revision = 0,
    then: Short = "",
    key: Short = "",
) -> Response:
    """Keep the draft as typed."""
    try:
        await container.policies.put_draft(caller(me, key), _read(kind, yaml), revision or None)
    except Refusal as error:
        return await _text(request, container, me, kind, yaml, revision, why(error, Reader(me)))
    return RedirectResponse(f"/policy/{kind}/effect" if then == "effect" else f"/policy/{kind}", 303)


# --- by clicks --------------------------------------------------------------------------------------------------------


def _place(name: str) -> str:
    if name not in BLANK:
        raise NotFound("There is no such part of a policy.")
    return name


@router.get("/{place}/new")
async def blank(
    request: Request, container: ContainerDep, me: Me, kind: PathId, place: str, chain: Short = ""
) -> Response:
    shape = forms.shape_of(BLANK[_place(place)], kind)
    return await _form(request, container, me, kind, place, "", shape | ({"chain": chain} if place == "rules" else {}))


@router.get("/{place}/{name}/edit")
async def part(request: Request, container: ContainerDep, me: Me, kind: PathId, place: str, name: PathId) -> Response:
    policy, _ = await _draft(container, me, kind)
    found = next((p for p in getattr(policy, _place(place)) if p.name == name), None)
    if found is None:
        raise NotFound(Sentence(NOT_THERE[place], name=name))
    return await _form(request, container, me, kind, place, name, forms.shape_of(found, kind))


async def _form(
    request: Request,
    container: Any,
    me: Person,
    kind: str,
    place: str,
    name: str,
    shape: forms.Shape,
    found: dict[str, Any] | None = None,
) -> Response:
    policy, revision = await _draft(container, me, kind)
    groups = await container.people.list_groups(me, "", 200)
    facts: dict[str, Any] = {
        "kind": kind, "place": place, "name": name, "shape": shape, "policy": policy, "revision": revision,
        "operators": [operator.value for operator in Operator], "aggregates": [a.value for a in Aggregate],
        "fields": sorted({*KNOWN_FIELDS.get(kind, {}), *(v.name for v in policy.variables)}),
        "line_fields": sorted(KNOWN_LINE_FIELDS.get(kind, {})),
        "names": sorted({*(p.id for p in await container.people.list_page(me, "", 200)), *(g.id for g in groups)}),
        **(found or await _findings(container, place, name, policy)),
    }  # fmt: skip
    return page(request, "policy_part.html", me, status_code=422 if found else 200, **facts)


async def _findings(container: Any, place: str, name: str, policy: Policy) -> dict[str, Any]:
    """What is wrong with one part as it stands in the draft; nothing with a new one."""
    return _about(place, name, await _found(container, policy)) if name else {"problems": [], "warnings": []}


def _about(place: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Findings that speak of one part."""
    at = f"{place}.{name}"
    return {
        tone: [f for f in several if f["field"] == at or f["field"].startswith(f"{at}.")]
        for tone, several in found.items()
    }


@router.post("/{place}")
async def save_part(
    request: Request,
    container: ContainerDep,
    me: Me,
    kind: PathId,
    place: str,
    revision: Revision = 0,
    then: Short = "",
    was: Short = "",
    key: Short = "",
) -> Response:
    """Keep a rule, variable or chain as typed in the draft; or remove it; or only say what is wrong with it."""
    policy, _ = await _draft(container, me, kind)
    shape = forms.filled(_place(place), await request.form())
    try:
        if then == "remove":
            await container.policies.put_draft(caller(me, key), policy.with_part(place, was, None), revision or None)
            return RedirectResponse(f"/policy/{kind}", 303)
        made = forms.read(place, shape, policy)
        if made.name != was and any(known.name == made.name for known in getattr(policy, place)):
            raise Invalid.field("name", "{name} is there already", name=made.name)
        changed = policy.with_part(place, was or None, made)
        if then == "check":
            found = _about(place, made.name, await _found(container, changed))
            return page(request, "_policy_check.html", me, **found)
        await container.policies.put_draft(caller(me, key), changed, revision or None)
    except Refusal as error:
        problems = error.facts.get("errors") or [{"field": "", "problem": error.sentence}]
        if then == "check":
            return page(request, "_policy_check.html", me, problems=problems, warnings=[])
        return await _form(request, container, me, kind, place, was, shape, {"problems": problems, "warnings": []})
    return RedirectResponse(f"/policy/{kind}", 303)
