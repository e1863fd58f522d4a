"""What the back office is asked, what it answers and reports, and what comes back."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.orders import Desk, OrderOut, Reader, Version, out, told
from api.problems import answers
from api.quotes import ON_COMMAND
from api.requests import (
    ContainerDep,
    Cursor,
    Done,
    Limit,
    Page,
    PathId,
    RequestBody,
    answered,
    keys_of,
    needs,
    needs_caller,
    paged,
)
from domain.drift import Drift
from domain.errors import Invalid
from domain.orders.split import Slot
from domain.people import Person
from domain.quotes import Quantity
from domain.values import Amount, Day, Id, StorableText, Text, Word, counted
from services.runs.commands import Caller
from storage.erp.drift import DriftFound
from storage.orders.orders import ErpDocument
from storage.orders.returns import ReturnSummary

router = APIRouter(prefix="/v1", tags=["back office"])
DocumentStatus = Literal["waiting", "accepted", "rejected"]
BackOffice = Annotated[Caller, needs_caller("erp.report")]


@router.get("/erp/documents", responses=answers(401, 403, 422))
async def documents(
    container: ContainerDep,
    person: Annotated[Person, needs("erp.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
    status: DocumentStatus | None = None,
) -> Page[ErpDocument]:
    """What the back office is asked: orders to take over, changes and cancellations, by order and version."""
    found = await container.documents.list_page(person, status, document_place(cursor), limit + 1)
    return paged(found, limit, lambda document: (document.order, str(document.version)))


def document_place(cursor: str | None) -> tuple[str, int] | None:
    keys = keys_of(cursor, 2)
    if keys is None:
        return None
    version = counted(keys[1])
    if version is None:
        raise Invalid.field("cursor", "is not one that this list gave")
    return keys[0], version


@router.get("/erp/documents.csv", response_class=Response, responses=answers(401, 403, 422))
async def export(
    container: ContainerDep, person: Annotated[Person, needs("erp.read")], status: DocumentStatus | None = None
) -> Response:
    """The same documents as a spreadsheet reads them: a row for each line."""
    headers = {"Content-Disposition": "attachment; filename=documents.csv"}
    rows = container.documents.as_csv(person, status)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)


class Accepted(RequestBody):
    reference: Annotated[StorableText, Field(max_length=100)] = ""
    """The back office's own number."""
    version: Version = None
    """The version of the document, so that an answer never meets another question."""


@router.post("/erp/documents/{id}/accept", response_model=Done, responses=ON_COMMAND)
async def accept_document(
    container: ContainerDep, caller: BackOffice, id: PathId, body: Accepted | None = None
) -> Response:
    """The back office has the order, or made the change."""
    return answered(await container.orders.ask(caller, id, "accepted", "erp.report", **told(body or Accepted())))


class Refused(RequestBody):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]
    version: Version = None


@router.post("/erp/documents/{id}/refuse", response_model=Done, responses=ON_COMMAND)
async def refuse_document(container: ContainerDep, caller: BackOffice, id: PathId, body: Refused) -> Response:
    """The back office will not have it: the order desk is told why."""
    return answered(await container.orders.ask(caller, id, "rejected", "erp.report", **told(body)))


@router.post("/erp/events", response_model=Done, responses=ON_COMMAND)
async def event(request: Request, container: ContainerDep) -> Response:
    """A CloudEvent of the ERP, signed as Standard Webhooks say: `dealwright.order.accepted`, `rejected`, `shipment`,
    `delivery`, `backorder` or `picked`, about the order in its `subject`. Its data may name the `customer`: then it is
    the order's. Its id makes it one."""
    return answered(await container.callbacks.take(await request.body(), request.headers))


Mender = Annotated[Caller, needs_caller("erp.mend")]


@router.get("/erp/drift", responses=answers(401, 403, 422))
async def drift(
    container: ContainerDep, person: Annotated[Person, needs("erp.read")], limit: Limit = 50, cursor: Cursor = None
) -> Page[DriftFound]:
    """In what the ERP differed from our orders when they were compared last: once a day, and when somebody asked."""
    found = await container.drifts.list_page(person, drift_place(cursor), limit + 1)
    return paged(found, limit, lambda each: (each.order, each.kind, each.line))


def drift_place(cursor: str | None) -> tuple[str, str, str] | None:
    keys = keys_of(cursor, 3)
    return (keys[0], keys[1], keys[2]) if keys else None


@router.post("/erp/drift/compare", status_code=202, responses=answers(401, 403, 409, 422))
async def compare(container: ContainerDep, caller: Mender) -> Response:
    """Compare every order with the ERP now; the run `erp-reconciliation` does it."""
    await container.drifts.compare(caller)
    return Response(status_code=202)


@router.post("/erp/drift/{id}/mend", status_code=202, responses=answers(401, 403, 404, 422))
async def mend(container: ContainerDep, caller: Mender, id: PathId) -> list[Drift]:
    """Make the ERP and this order equal: what it lacks is sent again, what it knows better is told again. Answers what
    there was to mend; what is left of it, and why, stands in the list afterwards."""
    return await container.drifts.mend(caller, id)


class Goods(RequestBody):
    """What was sent off, or arrived. The same id again is the same event."""

    id: Id
    lines: Annotated[dict[Id, Quantity], Field(min_length=1, max_length=2_000)]
    serials: Annotated[dict[Id, Annotated[list[Word], Field(max_length=1_000)]], Field(max_length=2_000)] = {}
    """The serial numbers of a line's units, where they have any."""


class Sent(Goods):
    on: Day | None = None
    """The day on which it was; today without it."""


@router.post("/orders/{id}/shipments", response_model=Done, responses=ON_COMMAND)
async def ship(container: ContainerDep, caller: BackOffice, id: PathId, body: Sent) -> Response:
    return answered(await container.orders.ask(caller, id, "shipment", "erp.report", **_goods(body)))


@router.post("/orders/{id}/deliveries", response_model=Done, responses=ON_COMMAND)
async def deliver(container: ContainerDep, caller: BackOffice, id: PathId, body: Sent) -> Response:
    return answered(await container.orders.ask(caller, id, "delivery", "erp.report", **_goods(body)))


class Correction(RequestBody):
    """What was wrong with a shipment or delivery that was reported, and how it is right."""

    what: Literal["shipment", "delivery"]
    id: Id
    """Under which it was reported."""
    lines: Annotated[dict[Id, Annotated[Amount, Field(ge=0, lt=10**9)]] | None, Field(max_length=2_000)] = None
    """How much of each line it was; 0 where it never was."""
    on: Day | None = None
    """The day on which it was."""
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]


@router.post("/orders/{id}/corrections", response_model=Done, responses=ON_COMMAND)
async def correct(container: ContainerDep, caller: BackOffice, id: PathId, body: Correction) -> Response:
    """Correct a shipment or delivery. What followed from it is corrected in the open period."""
    return answered(await container.orders.ask(caller, id, "correct", "erp.report", **told(body)))


def _goods(body: Sent) -> dict[str, object]:
    told = {"serials": body.serials or None, "on": body.on and body.on.isoformat()}
    return {"id": body.id, "lines": {line: str(quantity) for line, quantity in body.lines.items()}, **told}


Counted = Annotated[dict[Id, Annotated[Amount, Field(ge=0, lt=10**9)]], Field(min_length=1, max_length=2_000)]


class Backorder(RequestBody):
    lines: Counted
    """How much of each line is not in stock; 0 once it is."""
    expected: Day | None = None
    """The day on which everything should have been sent."""


@router.post("/orders/{id}/backorder", response_model=Done, responses=ON_COMMAND)
async def backorder(container: ContainerDep, caller: BackOffice, id: PathId, body: Backorder) -> Response:
    """So much of these lines is not in stock, and is expected on a day."""
    return answered(await container.orders.ask(caller, id, "backorder", "erp.report", **body.model_dump(mode="json")))


class Picked(RequestBody):
    lines: Counted


@router.post("/orders/{id}/picked", response_model=Done, responses=ON_COMMAND)
async def picked(container: ContainerDep, caller: BackOffice, id: PathId, body: Picked) -> Response:
    """So much of these lines is on its way through the warehouse: no change goes below it."""
    return answered(await container.orders.ask(caller, id, "picked", "erp.report", **body.model_dump(mode="json")))


# --- what comes back --------------------------------------------------------------------------------------------------

Returner = Annotated[Caller, needs_caller("orders.return")]
Number = Annotated[int, Path(ge=1, le=10**6)]


class ReturnGoods(Goods):
    """Goods that come back. The same id again is the same return."""

    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]
    arrived: bool = False
    """They are here; otherwise they are announced."""
    on: Day | None = None
    """The day on which they arrived; today without it."""


@router.get("/orders/{id}/returns", responses=answers(401, 403, 404, 422))
async def list_returns(container: ContainerDep, person: Reader, id: PathId) -> list[ReturnSummary]:
    return await container.returns.of_order(person, id)


@router.post("/orders/{id}/returns", response_model=Done, responses=ON_COMMAND)
async def return_goods(container: ContainerDep, caller: Returner, id: PathId, body: ReturnGoods) -> Response:
    """Announce goods that come back, or report that they did: never more than was delivered."""
    _, answer = await container.returns.report(
        caller,
        id,
        body.id,
        body.lines,
        body.reason,
        body.arrived,
        {n: tuple(s) for n, s in body.serials.items()},
        body.on,
    )
    return answered(answer)


class ReturnArrived(RequestBody):
    on: Day | None = None
    """The day on which it arrived; today without it."""


@router.post("/orders/{id}/returns/{number}/arrived", response_model=Done, responses=ON_COMMAND)
async def returned(
    container: ContainerDep, caller: Returner, id: PathId, number: Number, body: ReturnArrived | None = None
) -> Response:
    return answered(await container.returns.arrived(caller, id, number, body.on if body else None))


class Declined(RequestBody):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]


@router.post("/orders/{id}/returns/{number}/decline", response_model=Done, responses=ON_COMMAND)
async def decline(container: ContainerDep, caller: Returner, id: PathId, number: Number, body: Declined) -> Response:
    return answered(await container.returns.ask(caller, id, number, "decline", "orders.return", reason=body.reason))


@router.post("/orders/{id}/returns/{number}/replace", status_code=201, responses=answers(401, 403, 404, 409, 422))
async def replace_goods(
    container: ContainerDep, caller: Desk, id: PathId, number: Number, body: Slot | None = None
) -> OrderOut:
    """Order the same goods again for nothing, once."""
    order = await container.returns.replace(caller, id, number, body or Slot())
    return out(order)
