"""Orders over HTTP: accepting, splitting, steering. What the back office does is in `backoffice`."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.problems import answers
from api.quotes import ON_COMMAND, QuoteOut, shown
from api.requests import (
    ContainerDep,
    Cursor,
    Done,
    IfMatch,
    Limit,
    Page,
    PathId,
    RequestBody,
    answered,
    keys_of,
    needs,
    needs_caller,
    paged,
    set_etag,
)
from domain.audit import Entry
from domain.orders.ledger import LineLedger
from domain.orders.order import Order, OrderStatus
from domain.orders.split import Coterm, Terms, Way
from domain.people import Person
from domain.quotes import Acceptance, Place
from domain.values import Amount, Day, Id, StorableText, Text, Word
from services.orders.changes import DryRunReport
from services.orders.orders import Placed
from services.runs.commands import Caller
from storage.orders.orders import OrderSummary

router = APIRouter(prefix="/v1", tags=["orders"])
Reader = Annotated[Person, needs("orders.read")]
Desk = Annotated[Caller, needs_caller("orders.steer")]
Holder = Annotated[Caller, needs_caller("orders.hold")]
Version = Annotated[int | None, Field(ge=1, description="The version of the order that you saw.")]


@router.post("/quotes/{id}/accept", responses=answers(401, 403, 404, 409, 412, 422))
async def accept(
    container: ContainerDep,
    caller: Annotated[Caller, needs_caller("quotes.accept")],
    id: PathId,
    body: Acceptance,
    expected: IfMatch,
    response: Response,
) -> QuoteOut:
    """Write down the customer's yes: orders follow only from it, and the quote is changed no more."""
    stored = await container.orders.accept(caller, id, expected, body)
    set_etag(response, stored.version)
    return shown(stored)


@router.post("/quotes/{id}/orders/preview", responses=answers(401, 403, 404, 409, 422))
async def preview(
    container: ContainerDep, person: Annotated[Person, needs("orders.place")], id: PathId, body: Way
) -> Placed:
    """The orders a split would make, and what would be left of each line. Nothing is stored."""
    return await container.orders.preview(person, id, body)


@router.post("/quotes/{id}/orders", status_code=201, responses=answers(401, 403, 404, 409, 412, 422))
async def place(
    container: ContainerDep, caller: Annotated[Caller, needs_caller("orders.place")], id: PathId, body: Way
) -> Placed:
    """Split what is left of an accepted quote into orders: whole, by fields, by hand, or evenly."""
    return await container.orders.place(caller, id, body)


@router.get("/quotes/{id}/ledger", responses=answers(401, 403, 404, 422))
async def ledger(container: ContainerDep, person: Reader, id: PathId) -> list[LineLedger]:
    """What became of each line of an accepted quote: quoted = unallocated + allocated + cancelled."""
    return await container.orders.ledger(person, id)


@router.get("/orders", responses=answers(401, 403, 422))
async def list_orders(
    container: ContainerDep,
    person: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
    quote: Id | None = None,
    status: OrderStatus | None = None,
    attention: bool = False,
) -> Page[OrderSummary]:
    """The orders you can see, by id; with `attention`, those that the order desk must look at."""
    after = keys_of(cursor, 1)
    found = await container.orders.list_page(person, quote, status, after[0] if after else "", limit + 1, attention)
    return paged(found, limit, lambda order: (order.id,))


class OrderOut(BaseModel):
    order: Order
    status: OrderStatus
    net_total: Decimal
    at_risk: bool
    """It is forecast to miss what was promised, by `days_late`, because of `late_because`."""
    days_late: int
    late_because: str | None


def out(order: Order) -> OrderOut:
    return OrderOut(
        order=order,
        status=order.status,
        net_total=order.net_total,
        at_risk=order.days_late > 0,
        days_late=order.days_late,
        late_because=order.late_because,
    )


@router.get("/orders/{id}", responses=answers(401, 403, 404, 422))
async def get(container: ContainerDep, person: Reader, id: PathId) -> OrderOut:
    return out(await container.orders.get(person, id))


@router.get("/orders/{id}/audit", responses=answers(401, 403, 404, 422))
async def audit(
    container: ContainerDep,
    person: Reader,
    id: PathId,
    limit: Limit = 100,
    cursor: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Page[Entry]:
    """Everything that ever happened to the order and its changes, in order."""
    found = await container.orders.audit(person, id, cursor, limit + 1)
    shown = found[:limit]
    return Page(items=shown, next_cursor=str(shown[-1].seq) if len(found) > limit else None)


DryRun = Annotated[bool, Query(description="Only say what it would do: nothing is stored.")]


async def steered(
    container: ContainerDep, caller: Caller, id: str, verb: str, dry_run: bool, **payload: Any
) -> Response:
    """Do it, or say what it would do."""
    if dry_run:
        found = await container.orders.dry_run(caller.person, id, verb, **payload)
        return JSONResponse(found.model_dump(mode="json"))
    act = "orders.hold" if verb in ("hold", "release") else "orders.steer"
    return answered(await container.orders.ask(caller, id, verb, act, **payload))


STEERS: dict[str, Any] = {"response_model": Done | DryRunReport, "responses": ON_COMMAND}


class Reschedule(RequestBody):
    """A day in `on`, `now` or `manual` in `start`, or the order it waits for in `after`."""

    on: Day | None = None
    start: Literal["now", "manual"] | None = None
    after: Id | None = None
    version: Version = None


@router.post("/orders/{id}/reschedule", **STEERS)
async def reschedule(
    container: ContainerDep, caller: Desk, id: PathId, body: Reschedule, dry_run: DryRun = False
) -> Response:
    """Move an order that has not started: to another day, to now, until somebody says so, or after another order."""
    return await steered(container, caller, id, "reschedule", dry_run, **told(body))


class Hold(RequestBody):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]
    owner: Literal["desk", "finance", "quality"] = "desk"
    line: Id | None = None
    """The line it is about, where it is not about all of them."""


@router.post("/orders/{id}/hold", **STEERS)
async def hold(container: ContainerDep, caller: Holder, id: PathId, body: Hold, dry_run: DryRun = False) -> Response:
    """Keep an order from starting; several holds stack, and each is released by whom it belongs to."""
    return await steered(container, caller, id, "hold", dry_run, **told(body))


class Release(RequestBody):
    hold: Word


@router.post("/orders/{id}/release", **STEERS)
async def release(
    container: ContainerDep, caller: Holder, id: PathId, body: Release, dry_run: DryRun = False
) -> Response:
    """End one hold. When none is left and the day has passed, the order starts at once."""
    return await steered(container, caller, id, "release", dry_run, **told(body))


class Cancel(RequestBody):
    for_good: bool = False
    """Nobody can order it any more; otherwise it can be ordered again."""
    reason: Annotated[Text, Field(max_length=1_000)] = ""
    version: Version = None


@router.post("/orders/{id}/cancel", **STEERS)
async def cancel(
    container: ContainerDep, caller: Desk, id: PathId, body: Cancel | None = None, dry_run: DryRun = False
) -> Response:
    """Cancel what was not sent off. Once the back office has the order, it is asked first."""
    return await steered(container, caller, id, "cancel", dry_run, **told(body or Cancel()))


class Amend(RequestBody):
    """What shall be different; everything that is not named stays."""

    lines: Annotated[dict[Id, Annotated[Amount, Field(ge=0, lt=10**9)]], Field(max_length=2_000)] = {}
    """How much of a line it shall be: 0 takes it out, a line of the quote that is not in the order comes in."""
    ship_to: Place | None = None
    contact: StorableText | None = None
    note: StorableText | None = None
    terms: Terms | None = None
    promised: Day | None = None
    coterm: Coterm | None = None
    effective: Day | None = None
    """From which day on; at once without it."""
    reason: Annotated[Text, Field(max_length=1_000)] = ""
    version: Version = None


@router.post("/orders/{id}/amend", **STEERS)
async def amend(container: ContainerDep, caller: Desk, id: PathId, body: Amend, dry_run: DryRun = False) -> Response:
    """Change quantities, place, contact, note or terms. What the policy wants approved waits until it is."""
    return await steered(container, caller, id, "amend", dry_run, **told(body))


class AsOf(RequestBody):
    version: Version = None


@router.post("/orders/{id}/undo", **STEERS)
async def undo(
    container: ContainerDep, caller: Desk, id: PathId, body: AsOf | None = None, dry_run: DryRun = False
) -> Response:
    """Take the last change back while it has not taken effect: everything is exactly as before."""
    return await steered(container, caller, id, "undo", dry_run, **told(body or AsOf()))


class CloseShort(RequestBody):
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]
    lines: Annotated[list[Id] | None, Field(max_length=2_000)] = None
    """Of which lines no more comes; of all of them without it."""
    version: Version = None


@router.post("/orders/{id}/close-short", **STEERS)
async def close_short(
    container: ContainerDep, caller: Desk, id: PathId, body: CloseShort, dry_run: DryRun = False
) -> Response:
    """End what is open of an order for good."""
    return await steered(container, caller, id, "close_short", dry_run, **told(body))


class EndSubscription(RequestBody):
    line: Id | None = None
    """Which of them; every one that goes on from month to month without it."""
    on: Day | None = None
    """No month begins on or after this day; today without it. What is paid for runs on."""
    reason: Annotated[Text, Field(max_length=1_000)] = ""


@router.post("/orders/{id}/end-subscription", **STEERS)
async def end_subscription(
    container: ContainerDep, caller: Desk, id: PathId, body: EndSubscription | None = None, dry_run: DryRun = False
) -> Response:
    """End what goes on from month to month, with the month that runs or a later one."""
    return await steered(container, caller, id, "end_subscription", dry_run, **told(body or EndSubscription()))


@router.post("/orders/{id}/go-live", **STEERS)
async def go_live(container: ContainerDep, caller: Desk, id: PathId, dry_run: DryRun = False) -> Response:
    """Start an order now, whatever it waits for but a hold."""
    return await steered(container, caller, id, "go_live", dry_run)


@router.post("/orders/{id}/retry", **STEERS)
async def retry(container: ContainerDep, caller: Desk, id: PathId, dry_run: DryRun = False) -> Response:
    """Ask the back office again for an order that it refused."""
    return await steered(container, caller, id, "retry", dry_run)


class OfTask(RequestBody):
    task: Word


@router.post("/orders/{id}/accept-excess", **STEERS)
async def accept_excess(
    container: ContainerDep, caller: Desk, id: PathId, body: OfTask, dry_run: DryRun = False
) -> Response:
    """The customer keeps what arrived beyond the order: it is taken out of what is left of the quote."""
    return await steered(container, caller, id, "accept_excess", dry_run, task=body.task)


@router.post("/orders/{id}/dismiss", **STEERS)
async def dismiss(container: ContainerDep, caller: Desk, id: PathId, body: OfTask, dry_run: DryRun = False) -> Response:
    """Somebody saw to a task."""
    return await steered(container, caller, id, "dismiss", dry_run, task=body.task)


def told(body: BaseModel) -> dict[str, Any]:
    """What the body says, as the command carries it."""
    return body.model_dump(mode="json", exclude_unset=True, exclude_none=True)
