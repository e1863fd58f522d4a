"""Pages of orders: what became of a quote, and everything that is done with one order by clicks."""

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from pydantic import TypeAdapter, ValidationError

from api.backoffice import Number, document_place, drift_place
from api.requests import ContainerDep, PathId, cursor_of, keys_of
from console.forms import read_acceptance
from console.pages import PAGE, Short, Words, caller, said
from console.refusals import why
from console.session import Me
from console.view import Reader, page
from domain.errors import Invalid, NotFound
from domain.orders.order import OrderStatus
from domain.orders.payload import amounts, day_of
from domain.orders.split import Slot, Terms, Way
from domain.people import Person
from domain.permissions import allows
from domain.problems import invalid_fields
from domain.quotes import Place
from domain.values import counted, plain_number
from services.clock import now
from services.orders.orders import releases
from services.runs.commands import CommandReceipt

router = APIRouter()
LONGEST_TEXT = 4_000
WAYS: TypeAdapter[Any] = TypeAdapter(Way)


@router.get("/orders")
async def orders(
    request: Request,
    container: ContainerDep,
    me: Me,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    status: Literal["attention", ""] | OrderStatus = "",
) -> Response:
    after = keys_of(cursor, 1)
    chosen = None if status in ("attention", "") else status
    attention = status == "attention"
    found = await container.orders.list_page(me, None, chosen, after[0] if after else "", PAGE + 1, attention)
    more = cursor_of(found[PAGE - 1].id) if len(found) > PAGE else None
    return page(request, "orders.html", me, orders=found[:PAGE], more=more, chosen=status, statuses=list(OrderStatus))


@router.get("/orders/{id}")
async def order(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    found = await container.orders.get(me, id)
    facts: dict[str, Any] = {
        "order": found, "trail": await container.orders.audit(me, id, 0, 200), "desk": allows(me, "orders.steer"),
        "holder": allows(me, "orders.hold"), "may_release": [h.id for h in found.holds if releases(me, h.owner)],
        "back_office": allows(me, "erp.report"), "today": Reader(me).today(now()).isoformat(),
        "returns": await container.returns.of_order(me, id), "returner": allows(me, "orders.return"),
        "terms": get_args(Terms), "tried": None, "coterms": coterms(Reader(me)), "customer": None, "ends": {},
        "to_accept": [],
    }  # fmt: skip
    if allows(me, "customers.read"):
        facts["customer"] = await container.customers.of_order(me, id)
        facts["ends"] = await container.customers.ways_to_end(me, id)
        facts["to_accept"] = await container.customers.to_accept(me, id)
    return page(request, "order.html", me, **facts)


def coterms(read: Reader) -> dict[str, str]:
    """The ways in which subscriptions end, in words."""
    say = read.say
    return {
        "own": say("each after its own term"),
        "contract": say("with the customer's others"),
        "extend": say("all together; the others in orders of their own"),
    }


@router.get("/documents")
async def documents(
    request: Request,
    container: ContainerDep,
    me: Me,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    status: Literal["waiting", "accepted", "rejected", ""] = "waiting",
) -> Response:
    found = await container.documents.list_page(me, status or None, document_place(cursor), PAGE + 1)
    last = found[PAGE - 1] if len(found) > PAGE else None
    more = cursor_of(last.order, str(last.version)) if last else None
    facts: dict[str, Any] = {"documents": found[:PAGE], "more": more, "chosen": status}
    return page(request, "documents.html", me, **facts)


@router.get("/documents.csv")
async def export(
    container: ContainerDep, me: Me, status: Literal["waiting", "accepted", "rejected", ""] = ""
) -> Response:
    rows = container.documents.as_csv(me, status or None)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=AS_FILE)


@router.get("/drift")
async def drift(
    request: Request, container: ContainerDep, me: Me, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> Response:
    found = await container.drifts.list_page(me, drift_place(cursor), PAGE + 1)
    last = found[PAGE - 1] if len(found) > PAGE else None
    more = cursor_of(last.order, last.kind, last.line) if last else None
    by_order = {order: list(rows) for order, rows in groupby(found[:PAGE], key=lambda each: each.order)}
    facts: dict[str, Any] = {"found": by_order, "more": more, "may_mend": allows(me, "erp.mend")}
    return page(request, "drift.html", me, compares=container.drifts.compares, **facts)


@router.post("/drift/compare")
async def compare(request: Request, container: ContainerDep, me: Me, key: Short = "") -> Response:
    await container.drifts.compare(caller(me, key))
    return said(request, me, Reader(me).say("They are being compared. Look again in a moment."), "good", "/drift", 200)


@router.post("/drift/{id}/mend")
async def mend(container: ContainerDep, me: Me, id: PathId, key: Short = "") -> Response:
    await container.drifts.mend(caller(me, key), id)
    return RedirectResponse("/drift", 303)


AS_FILE = {"Content-Disposition": "attachment; filename=documents.csv"}
DESK, OFFICE, RETURNS, HOLDS = "orders.steer", "erp.report", "orders.return", "orders.hold"
ACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "reschedule": (DESK, ("on", "start", "after", "version")),
    "hold": (HOLDS, ("reason", "owner", "line")),
    "release": (HOLDS, ("hold",)),
    "cancel": (DESK, ("for_good", "version")),
    "go_live": (DESK, ()),
    "retry": (DESK, ()),
    "undo": (DESK, ("version",)),
    "close_short": (DESK, ("reason", "version")),
    "accept_excess": (DESK, ("task",)),
    "end_subscription": (DESK, ("line", "on", "reason")),
    "dismiss": (DESK, ("task",)),
    "milestone": (DESK, ("name", "line", "on")),
    "accepted": (OFFICE, ("reference", "version")),
    "rejected": (OFFICE, ("reason", "version")),
    "shipment": (OFFICE, ("lines",)),
    "delivery": (OFFICE, ("lines",)),
    "correct": (OFFICE, ("what", "id", "lines", "on", "reason")),
    "backorder": (OFFICE, ("lines", "expected")),
}
"""For each click who may make it, and which of the form's fields it carries."""
BACK = re.compile(r"/(calendar\?month=\d{4}-\d{2}(#[A-Za-z0-9._-]+)?|orders)")


@router.post("/orders/{id}/amend")
async def amend(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    """Change it, or say first what that would do."""
    found = await container.orders.get(me, id)
    form = await _typed(request)
    payload: dict[str, Any] = {
        name: form.get(name) or None for name in ("reason", "effective", "promised", "terms", "coterm")
    }
    payload |= {name: form[name] for name in ("contact", "note") if name in form}
    payload["version"] = _version(form)
    payload["lines"] = await _quantities(request, me, keep_zero=True)
    if place := _place(form):
        payload["ship_to"] = place
    if form.get("then") == "try":
        compute_dry_run = await container.orders.dry_run(me, id, "amend", **payload)
        return page(request, "amended.html", me, order=found, tried=compute_dry_run, fields=list(form.items()))
    answer = await container.orders.amend(caller(me, form.get("key", "")), id, **payload)
    return _answered(request, me, answer, f"/orders/{id}")


def _place(form: Mapping[str, str]) -> dict[str, Any] | None:
    """The place that was typed, if any was. Raises Invalid."""
    typed = {name.removeprefix("to."): value for name, value in form.items() if name.startswith("to.")}
    if not any(typed.values()):
        return None
    try:
        return Place.model_validate(typed).model_dump(mode="json")
    except ValidationError as error:
        wrong = invalid_fields("this place cannot be read", error)
        found = [{**each, "field": f"to.{each['field']}"} for each in wrong.facts["errors"]]
        raise Invalid.fields(found) from None


@router.post("/orders/{id}/return")
async def return_goods(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    reason: Words = "",
    key: Short = "",
    arrived: Short = "",
) -> Response:
    lines = amounts(await _quantities(request, me))
    if lines is None:
        raise Invalid.field("lines", "must be quantities above 0")
    if not lines or not reason.strip():
        raise Invalid.field("reason" if lines else "lines", "say what comes back, and why")
    _, answer = await container.returns.report(caller(me, key), id, key or "page", lines, reason, bool(arrived))
    return _answered(request, me, answer, f"/orders/{id}")


@router.post("/orders/{id}/customer_accepts")
async def customer_accepts(container: ContainerDep, me: Me, id: PathId, on: Short = "", key: Short = "") -> Response:
    if (day := day_of(on)) is None:
        raise Invalid.field("on", "must be a day like 2026-12-31")
    await container.customers.accepts(caller(me, key), id, day, None)
    return RedirectResponse(f"/orders/{id}", 303)


@router.post("/orders/{id}/returns/{number}/{verb}")
async def steer_return(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    number: Number,
    verb: Literal["arrived", "decline", "replace"],
    reason: Words = "",
    key: Short = "",
) -> Response:
    if verb == "replace":
        made = await container.returns.replace(caller(me, key), id, number, Slot())
        return RedirectResponse(f"/orders/{made.id}", 303)
    given = {"reason": reason} if verb == "decline" else {}
    answer = await container.returns.ask(caller(me, key), id, number, verb, RETURNS, **given)
    return _answered(request, me, answer, f"/orders/{id}")


@router.post("/orders/{id}/{verb}")
async def steer(request: Request, container: ContainerDep, me: Me, id: PathId, verb: str) -> Response:
    """One click on one order."""
    if verb not in ACTS:
        raise NotFound("There is no such act.")
    act, fields = ACTS[verb]
    form = await _typed(request)
    payload: dict[str, Any] = {name: form.get(name) or None for name in fields}
    back = form.get("back", "") if BACK.fullmatch(form.get("back", "")) else f"/orders/{id}"
    if "lines" in fields:
        payload["lines"] = await _quantities(request, me, keep_zero=verb in ("backorder", "correct"))
        payload["id"] = form.get("id" if verb == "correct" else "key", "")
    if "version" in fields:
        payload["version"] = _version(form)
    if "for_good" in fields:
        payload["for_good"] = bool(form.get("for_good"))
    answer = await container.orders.ask(caller(me, form.get("key", "")), id, verb, act, **payload)
    return _answered(request, me, answer, back)


def _version(form: Mapping[str, str]) -> int | None:
    """The version of the order that was seen, where the page says which."""
    text = form.get("version", "")
    version = counted(text)
    if text and version is None:
        raise Invalid.field("version", "is none that this page showed")
    return version


async def _typed(request: Request) -> dict[str, str]:
    """What a form says, by field. Raises Invalid where a text is too long: nothing is cut in silence."""
    typed = {name: str(value).replace("\r\n", "\n") for name, value in (await request.form()).items()}
    for name, text in typed.items():
        if len(text) > LONGEST_TEXT:
            raise Invalid.field(name[:200], "is longer than {max_length} characters", max_length=LONGEST_TEXT)
    return typed


def _answered(request: Request, me: Person, answer: CommandReceipt, back: str) -> Response:
    if answer.outcome is None:
        waits = Reader(me).say("Written down. It is done as soon as the back office has answered.")
        return said(request, me, waits, "wait", back, 202)
    if answer.outcome.code == Invalid.code:
        field = str(answer.outcome.facts.get("field", ""))
        raise Invalid.field(field, answer.outcome.reason)
    if not answer.outcome.applied:
        return said(request, me, why(answer.outcome, Reader(me)), "bad", back, 409)
    return RedirectResponse(back, 303)


async def _quantities(request: Request, me: Person, keep_zero: bool = False) -> dict[str, str]:
    """What somebody typed beside the lines, in their own way; blank is nothing. Raises Invalid naming the line."""
    form, read = await request.form(), Reader(me)
    texts = {n.removeprefix("line."): str(v).strip()[:60] for n, v in form.items() if n.startswith("line.")}
    typed = {line: read.parse_quantity(text, f"lines.{line}") for line, text in texts.items() if text}
    return {line: plain_number(quantity) for line, quantity in typed.items() if quantity or keep_zero}


# --- from a quote -----------------------------------------------------------------------------------------------------


@router.post("/quotes/{id}/accept")
async def accept(
    container: ContainerDep,
    me: Me,
    id: PathId,
    on: Short = "",
    po_number: Short = "",
    document: Words = "",
    key: Short = "",
    version: Annotated[int, Form(ge=1)] = 0,
) -> Response:
    """The customer said yes to what the page shows: the form carries its version."""
    yes = read_acceptance(on, po_number, document)
    await container.orders.accept(caller(me, key), id, version or None, yes)
    return RedirectResponse(f"/quotes/{id}", 303)


@router.post("/quotes/{id}/orders")
async def place(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: PathId,
    way: Short = "",
    waves: Short = "",
    first: Short = "",
    every: Short = "month",
    start: Short = "now",
    on: Short = "",
    then: Short = "",
    key: Short = "",
) -> Response:
    """Split what is left; the first press shows what that would make, the second makes it."""
    trigger = {"start": "date", "on": on} if on else {"start": start}
    form = await request.form()
    wanted: dict[str, Any] = {"way": way}
    if way == "fields":
        wanted |= {"fields": [str(v) for v in form.getlist("fields")], "otherwise": trigger}
    elif way == "even":
        wanted |= {"waves": waves, "first": first or None, "every": every, "slot": {"trigger": trigger}}
    elif way == "hand":
        wanted |= {"groups": [{"slot": {"trigger": trigger}, "lines": await _quantities(request, me)}]}
    else:
        wanted |= {"slot": {"trigger": trigger}}
    try:
        chosen = WAYS.validate_python(wanted)
    except ValidationError as error:
        raise invalid_fields("this cannot be split so", error) from None
    if then == "place":
        await container.orders.place(caller(me, key), id, chosen)
        return RedirectResponse(f"/quotes/{id}", 303)
    placed = await container.orders.preview(me, id, chosen)
    fields = [(name, str(value)) for name, value in form.multi_items() if name not in ("then", "key")]
    facts: dict[str, Any] = {
        "placed": placed,
        "id": id,
        "fields": fields,
        "quote": (await container.quotes.get(me, id)).quote,
    }
    return page(request, "split.html", me, **facts)
