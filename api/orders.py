"""Orders over HTTP: accepting, splitting, steering, and what the back office reports."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.problems import answers
from api.quotes import ON_COMMAND, QuoteOut, shown
from api.requests import (
    AHouse,
    Cursor,
    Done,
    IfMatch,
    Limit,
    Page,
    PathId,
    answered,
    keys_of,
    needs,
    needs_caller,
    paged,
    set_etag,
)
from domain.orders.order import Order, OrderStatus
from domain.orders.split import Way
from domain.people import Person
from domain.quotes import Acceptance, Quantity
from domain.values import Id, StorableText, Text, Word
from services.commands import Caller
from services.orders import Placed
from storage.orders import ErpDocument, OrderSummary

router = APIRouter(prefix="/v1", tags=["orders"])
Reader = Annotated[Person, needs("orders.read")]
Desk = Annotated[Caller, needs_caller("orders.steer")]
BackOffice = Annotated[Caller, needs_caller("erp.report")]
Version = Annotated[int | None, Field(ge=1, description="The version of the order that you saw.")]


@router.post("/quotes/{id}/accept", responses=answers(401, 403, 404, 409, 412, 422))
async def accept(
    house: AHouse, caller: Annotated[Caller, needs_caller("quotes.accept")], id: PathId, body: Acceptance,
    expected: IfMatch, response: Response,
) -> QuoteOut:  # fmt: skip
    """Write down the customer's yes: orders follow only from it, and the quote is changed no more."""
    stored = await house.orders.accept(caller, id, expected, body)
    set_etag(response, stored.version)
    return shown(stored)


@router.post("/quotes/{id}/orders/preview", responses=answers(401, 403, 404, 409, 422))
async def preview(house: AHouse, person: Annotated[Person, needs("orders.place")], id: PathId, body: Way) -> Placed:
    """The orders a split would make, and what would be left of each line. Nothing is stored."""
    return await house.orders.preview(person, id, body)


@router.post("/quotes/{id}/orders", status_code=201, responses=answers(401, 403, 404, 409, 412, 422))
async def place(
    house: AHouse, caller: Annotated[Caller, needs_caller("orders.place")], id: PathId, body: Way
) -> Placed:
    """Split what is left of an accepted quote into orders: whole, by fields, by hand, or evenly."""
    return await house.orders.place(caller, id, body)


@router.get("/orders", responses=answers(401, 403, 422))
async def list_orders(
    house: AHouse, person: Reader, limit: Limit = 50, cursor: Cursor = None, quote: Id | None = None,
    status: OrderStatus | None = None,
) -> Page[OrderSummary]:  # fmt: skip
    """The orders you can see, by id."""
    after = keys_of(cursor, 1)
    found = await house.orders.listed(person, quote, status, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda order: (order.id,))


class OrderOut(BaseModel):
    order: Order
    status: OrderStatus
    net_total: Decimal


@router.get("/orders/{id}", responses=answers(401, 403, 404, 422))
async def get(house: AHouse, person: Reader, id: PathId) -> OrderOut:
    order = await house.orders.get(person, id)
    return OrderOut(order=order, status=order.status, net_total=order.net_total)


class Reschedule(BaseModel):
    """A day in `on`, or `now` or `manual` in `start`."""

    on: date | None = None
    start: Literal["now", "manual"] | None = None
    version: Version = None


@router.post("/orders/{id}/reschedule", response_model=Done, responses=ON_COMMAND)
async def reschedule(house: AHouse, caller: Desk, id: PathId, body: Reschedule) -> Response:
    """Move an order that has not started: to another day, to now, or until somebody says so."""
    on = body.on.isoformat() if body.on else None
    return answered(await house.orders.ask(caller, id, "reschedule", "orders.steer", on=on, start=body.start,
                                           version=body.version))  # fmt: skip


class Hold(BaseModel):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]
    owner: Word = "desk"


@router.post("/orders/{id}/hold", response_model=Done, responses=ON_COMMAND)
async def hold(house: AHouse, caller: Desk, id: PathId, body: Hold) -> Response:
    """Keep an order from starting; several holds stack, and each is released by itself."""
    return answered(await house.orders.ask(caller, id, "hold", "orders.steer", reason=body.reason, owner=body.owner))


class Release(BaseModel):
    hold: Word


@router.post("/orders/{id}/release", response_model=Done, responses=ON_COMMAND)
async def release(house: AHouse, caller: Desk, id: PathId, body: Release) -> Response:
    """End one hold. When none is left and the day has passed, the order starts at once."""
    return answered(await house.orders.ask(caller, id, "release", "orders.steer", hold=body.hold))


class Cancel(BaseModel):
    for_good: bool = False
    """Nobody can order it any more; otherwise it can be ordered again."""
    version: Version = None


@router.post("/orders/{id}/cancel", response_model=Done, responses=ON_COMMAND)
async def cancel(house: AHouse, caller: Desk, id: PathId, body: Cancel | None = None) -> Response:
    wanted = body or Cancel()
    return answered(await house.orders.ask(caller, id, "cancel", "orders.steer", for_good=wanted.for_good,
                                           version=wanted.version))  # fmt: skip


@router.post("/orders/{id}/go-live", response_model=Done, responses=ON_COMMAND)
async def go_live(house: AHouse, caller: Desk, id: PathId) -> Response:
    """Start an order now, whatever it waits for but a hold."""
    return answered(await house.orders.ask(caller, id, "go_live", "orders.steer"))


@router.post("/orders/{id}/retry", response_model=Done, responses=ON_COMMAND)
async def retry(house: AHouse, caller: Desk, id: PathId) -> Response:
    """Ask the back office again for an order that it refused."""
    return answered(await house.orders.ask(caller, id, "retry", "orders.steer"))


# --- the back office --------------------------------------------------------------------------------------------------


@router.get("/erp/documents", responses=answers(401, 403, 422))
async def documents(
    house: AHouse, person: Annotated[Person, needs("erp.read")], limit: Limit = 50, cursor: Cursor = None,
    status: Literal["waiting", "accepted", "rejected", "withdrawn"] | None = None,
) -> Page[ErpDocument]:  # fmt: skip
    """Orders for the back office to take over, by order."""
    after = keys_of(cursor, 1)
    found = await house.orders.documents(person, status, after[0] if after else "", limit + 1)
    return paged(found, limit, lambda document: (document.order,))


class Accepted(BaseModel):
    reference: Annotated[StorableText, Field(max_length=100)] = ""
    """The back office's own number."""


@router.post("/erp/documents/{id}/accept", response_model=Done, responses=ON_COMMAND)
async def accept_document(house: AHouse, caller: BackOffice, id: PathId, body: Accepted | None = None) -> Response:
    """The back office has the order."""
    reference = body.reference if body else ""
    return answered(await house.orders.ask(caller, id, "accepted", "erp.report", reference=reference))


class Refused(BaseModel):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]


@router.post("/erp/documents/{id}/refuse", response_model=Done, responses=ON_COMMAND)
async def refuse_document(house: AHouse, caller: BackOffice, id: PathId, body: Refused) -> Response:
    """The back office will not have the order: the order desk is told why."""
    return answered(await house.orders.ask(caller, id, "rejected", "erp.report", reason=body.reason))


class Goods(BaseModel):
    """What was sent off, or arrived. The same id again is the same event."""

    id: Id
    lines: Annotated[dict[Id, Quantity], Field(min_length=1, max_length=2_000)]


@router.post("/orders/{id}/shipments", response_model=Done, responses=ON_COMMAND)
async def ship(house: AHouse, caller: BackOffice, id: PathId, body: Goods) -> Response:
    return answered(await house.orders.ask(caller, id, "shipment", "erp.report", **_goods(body)))


@router.post("/orders/{id}/deliveries", response_model=Done, responses=ON_COMMAND)
async def deliver(house: AHouse, caller: BackOffice, id: PathId, body: Goods) -> Response:
    return answered(await house.orders.ask(caller, id, "delivery", "erp.report", **_goods(body)))


def _goods(body: Goods) -> dict[str, object]:
    return {"id": body.id, "lines": {line: str(quantity) for line, quantity in body.lines.items()}}
