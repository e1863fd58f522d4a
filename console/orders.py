"""Pages of orders: what became of a quote, and everything that is done with one order by clicks."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError

from api.requests import AHouse, PathId, cursor_of, keys_of
from composition import now
from console.pages import PAGE, Me, Short, Words, caller, said
from console.view import Reader, page
from domain.approvals.exchange import invalid_fields
from domain.errors import Invalid, NotFound, Refusal
from domain.orders.order import OrderStatus
from domain.orders.split import Way
from domain.people import Person
from domain.permissions import allows
from domain.quotes import Acceptance
from services.commands import Answer

router = APIRouter()
WAYS: TypeAdapter[Any] = TypeAdapter(Way)


@router.get("/orders")
async def orders(
    request: Request, house: AHouse, me: Me, cursor: Annotated[str | None, Query(max_length=400)] = None,
    status: OrderStatus | None = None,
) -> Response:  # fmt: skip
    after = keys_of(cursor, 1)
    found = await house.orders.listed(me, None, status, after[0] if after else "", PAGE + 1)
    more = cursor_of(found[PAGE - 1].id) if len(found) > PAGE else None
    return page(request, "orders.html", me, orders=found[:PAGE], more=more, chosen=status, statuses=list(OrderStatus))


@router.get("/orders/{id}")
async def order(request: Request, house: AHouse, me: Me, id: PathId) -> Response:
    found = await house.orders.get(me, id)
    facts: dict[str, Any] = {
        "order": found, "trail": await house.orders.audit(me, id, 0, 200), "desk": allows(me, "orders.steer"),
        "back_office": allows(me, "erp.report"), "today": Reader(me).today(now()).isoformat(),
    }  # fmt: skip
    return page(request, "order.html", me, **facts)


@router.post("/orders/{id}/{verb}")
async def steer(
    request: Request, house: AHouse, me: Me, id: PathId, verb: str, key: Short = "", on: Short = "", start: Short = "",
    reason: Words = "", hold: Short = "", version: Short = "", for_good: Short = "", reference: Short = "",
) -> Response:  # fmt: skip
    """One click on one order."""
    seen = int(version) if version.isdigit() else None
    desk, office = "orders.steer", "erp.report"
    given: dict[str, tuple[str, dict[str, Any]]] = {
        "reschedule": (desk, {"on": on or None, "start": start or None, "version": seen}),
        "hold": (desk, {"reason": reason}),
        "release": (desk, {"hold": hold}),
        "cancel": (desk, {"for_good": bool(for_good), "version": seen}),
        "go_live": (desk, {}),
        "retry": (desk, {}),
        "accepted": (office, {"reference": reference}),
        "rejected": (office, {"reason": reason}),
    }
    if verb == "delivery":
        given[verb] = (office, {"id": key, "lines": await _quantities(request)})
    if verb not in given:
        raise NotFound("There is no such act.")
    act, payload = given[verb]
    try:
        answer = await house.orders.ask(caller(me, key), id, verb, act, **payload)
    except Invalid as error:
        return said(request, me, error.sentence, "bad", f"/orders/{id}", 422)
    return _answered(request, me, answer, f"/orders/{id}")


def _answered(request: Request, me: Person, answer: Answer, back: str) -> Response:
    if answer.outcome is None:
        waits = Reader(me).say("Written down. It takes effect as soon as the engine answers.")
        return said(request, me, waits, "wait", back, 202)
    if not answer.outcome.applied:
        return said(request, me, answer.outcome.sentence, "bad", back, 409)
    return RedirectResponse(back, 303)


async def _quantities(request: Request) -> dict[str, str]:
    """What somebody typed beside the lines; blank is nothing."""
    form = await request.form()
    typed = {n.removeprefix("line."): str(v).strip() for n, v in form.items() if n.startswith("line.")}
    for line, quantity in typed.items():
        try:
            Decimal(quantity or "0")
        except InvalidOperation:
            raise Invalid.field(f"lines.{line}", f"{quantity!r} is no number") from None
    return {line: quantity for line, quantity in typed.items() if quantity and Decimal(quantity)}


# --- from a quote -----------------------------------------------------------------------------------------------------


@router.post("/quotes/{id}/accept")
async def accept(
    request: Request, house: AHouse, me: Me, id: PathId, on: Short = "", po_number: Short = "", document: Short = "",
    key: Short = "",
) -> Response:  # fmt: skip
    try:
        yes = Acceptance.model_validate({"on": on, "po_number": po_number, "document": document})
        await house.orders.accept(caller(me, key), id, None, yes)
    except ValidationError as error:
        return said(request, me, invalid_fields("this cannot be saved", error).sentence, "bad", f"/quotes/{id}", 422)
    except Refusal as error:
        return said(request, me, error.sentence, "bad", f"/quotes/{id}", 409)
    return RedirectResponse(f"/quotes/{id}", 303)


@router.post("/quotes/{id}/orders")
async def place(
    request: Request, house: AHouse, me: Me, id: PathId, way: Short = "", waves: Short = "", first: Short = "",
    every: Short = "month", start: Short = "now", on: Short = "", then: Short = "", key: Short = "",
) -> Response:  # fmt: skip
    """Split what is left; the first press shows what that would make, the second makes it."""
    trigger = {"start": "date", "on": on} if on else {"start": start}
    try:
        form = await request.form()
        wanted: dict[str, Any] = {"way": way}
        if way == "fields":
            wanted |= {"fields": [str(v) for v in form.getlist("fields")], "otherwise": trigger}
        elif way == "even":
            wanted |= {"waves": waves, "first": first or None, "every": every, "slot": {"trigger": trigger}}
        elif way == "hand":
            wanted |= {"groups": [{"slot": {"trigger": trigger}, "lines": await _quantities(request)}]}
        else:
            wanted |= {"slot": {"trigger": trigger}}
        chosen = WAYS.validate_python(wanted)
        if then == "place":
            await house.orders.place(caller(me, key), id, chosen)
            return RedirectResponse(f"/quotes/{id}", 303)
        placed = await house.orders.preview(me, id, chosen)
    except ValidationError as error:
        return said(request, me, invalid_fields("this cannot be split so", error).sentence, "bad", f"/quotes/{id}", 422)
    except Refusal as error:
        return said(request, me, error.sentence, "bad", f"/quotes/{id}", 422)
    fields = [(name, str(value)) for name, value in form.multi_items() if name not in ("then", "key")]
    facts: dict[str, Any] = {
        "placed": placed,
        "id": id,
        "fields": fields,
        "quote": (await house.quotes.get(me, id)).quote,
    }
    return page(request, "split.html", me, **facts)
