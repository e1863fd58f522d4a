"""Customers seen whole, and finance's questions."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from api.orders import Desk
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
from domain.customers.contracts import Contents, Ending
from domain.customers.entitlements import Entitlement
from domain.customers.facts import Fact
from domain.orders.order import Order
from domain.people import Person
from domain.quotes import Acceptance
from domain.values import Day, GivenInstant, Id
from services.customers.customers import CustomerOverview
from services.customers.revenue import OrderRevenue, RevenueMonth, as_csv
from services.orders.extensions import Extended
from services.orders.figures import OrderFigures
from services.orders.figures import as_csv as figures_as_csv
from services.runs.commands import Caller
from storage.customers.customers import CustomerSummary
from storage.customers.revenue import By

router = APIRouter(prefix="/v1", tags=["customers"])
Reader = Annotated[Person, needs("customers.read")]
Finance = Annotated[Person, needs("revenue.read")]
AsOf = Annotated[Day | None, Query(description="The day asked about; today without it.")]
KnownAt = Annotated[GivenInstant | None, Query(description="As it was known at this instant; now without it.")]
MONTH = r"^[12][0-9]{3}-(0[1-9]|1[0-2])$"
Month = Annotated[str, Query(pattern=MONTH, description="YYYY-MM", examples=["2026-03"])]


def first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


@router.get("/customers", responses=answers(401, 403, 422))
async def customers(
    container: ContainerDep, person: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[CustomerSummary]:
    """Customers with orders, by id."""
    (after,) = keys_of(cursor, 1) or [""]
    return paged(await container.customers.list_page(person, after, limit + 1), limit, lambda customer: (customer.id,))


@router.get("/customers/{id}", responses=answers(401, 403, 404, 422))
async def customer(
    container: ContainerDep, person: Reader, id: PathId, as_of: AsOf = None, known_at: KnownAt = None
) -> CustomerOverview:
    """Contracts, orders, assets, subscriptions, entitlements, open approvals, and revenue for those who may see it."""
    return await container.customers.whole(person, id, as_of, known_at)


@router.get("/customers/{id}/contracts", responses=answers(401, 403, 404, 422))
async def contracts(container: ContainerDep, person: Reader, id: PathId) -> list[Contents]:
    """What stands in each contract; its value is that of its subscriptions and assets."""
    return await container.customers.contracts(person, id)


@router.get("/customers/{id}/entitlements", responses=answers(401, 403, 404, 422))
async def entitlements(
    container: ContainerDep, person: Reader, id: PathId, as_of: AsOf = None, known_at: KnownAt = None
) -> list[Entitlement]:
    """What may be used or claimed on a day, as far as it was known at an instant."""
    return await container.customers.entitlements(person, id, as_of, known_at)


@router.get("/customers/{id}/revenue", responses=answers(401, 403, 404, 422))
async def customer_revenue(
    container: ContainerDep,
    person: Finance,
    id: PathId,
    first: Annotated[Month, Query(alias="from")],
    last: Annotated[Month, Query(alias="to")],
    known_at: KnownAt = None,
) -> list[RevenueMonth]:
    """What each month sold and recognised of this customer's orders, and what remained at its end."""
    await container.customers.check(person, id)
    return await container.revenue.by_month(person, first_day(first), first_day(last), "company", known_at, id)


class ExtensionOrder(RequestBody):
    ends: Day | None = None
    """The day until which they run on; that of the last of them without it."""
    acceptance: Acceptance
    """The customer's yes: it costs more than they accepted."""


@router.get("/customers/{id}/extensions", responses=answers(401, 403, 404, 409, 422))
async def preview_extension(
    container: ContainerDep,
    person: Annotated[Person, needs("orders.steer")],
    id: PathId,
    ends: Annotated[Day | None, Query(description="The day until which they run on; the last end without it.")] = None,
) -> Extended:
    """Which subscriptions would run on so that all end together, what that costs, and whom it asks."""
    return await container.extensions.preview(person, id, ends)


@router.post("/customers/{id}/extensions", status_code=201, responses=answers(401, 403, 404, 409, 422))
async def extend(container: ContainerDep, caller: Desk, id: PathId, body: ExtensionOrder) -> list[Order]:
    """Let subscriptions run on: an order for each order whose subscriptions do, after its approvals."""
    return await container.extensions.place(caller, id, body.ends, body.acceptance)


# --- finance ----------------------------------------------------------------------------------------------------------


@router.get("/revenue", responses=answers(401, 403, 422), tags=["finance"])
async def revenue(
    container: ContainerDep,
    person: Finance,
    first: Annotated[Month, Query(alias="from")],
    last: Annotated[Month, Query(alias="to")],
    by: By = "company",
    known_at: KnownAt = None,
) -> list[RevenueMonth]:
    """Sold, recognised and remaining by month: of the company, or of each product or customer."""
    return await container.revenue.by_month(person, first_day(first), first_day(last), by, known_at)


@router.get("/revenue.csv", response_class=Response, responses=answers(401, 403, 422), tags=["finance"])
async def revenue_csv(
    container: ContainerDep,
    person: Finance,
    first: Annotated[Month, Query(alias="from")],
    last: Annotated[Month, Query(alias="to")],
    by: By = "company",
    known_at: KnownAt = None,
) -> Response:
    """The same as a spreadsheet reads it."""
    months = await container.revenue.by_month(person, first_day(first), first_day(last), by, known_at)
    headers = {"Content-Disposition": "attachment; filename=revenue.csv"}
    return Response(as_csv(months), media_type="text/csv; charset=utf-8", headers=headers)


class Periods(BaseModel):
    closed_through: str | None
    """The last closed month."""


@router.get("/periods", responses=answers(401, 403), tags=["finance"])
async def periods(container: ContainerDep, person: Finance) -> Periods:
    """How far the books are closed."""
    closed = await container.revenue.closed_through(person)
    return Periods(closed_through=f"{closed:%Y-%m}" if closed else None)


@router.post("/periods/{month}/close", responses=answers(401, 403, 409, 422), tags=["finance"])
async def close(
    container: ContainerDep,
    caller: Annotated[Caller, needs_caller("periods.close")],
    month: Annotated[str, Path(pattern=MONTH, examples=["2026-03"])],
) -> Periods:
    """Close a month that is over: what becomes known of it later is booked into the first open one."""
    await container.revenue.close(caller, first_day(month))
    return Periods(closed_through=month)


@router.get("/orders/{id}/revenue", responses=answers(401, 403, 404, 422), tags=["finance"])
async def order_revenue(container: ContainerDep, person: Finance, id: PathId) -> OrderRevenue:
    """Every amount booked for an order, with what earned it."""
    await container.orders.get(person, id)
    return await container.revenue.of_order(person, id)


# --- what the order desk tells of an order ----------------------------------------------------------------------------


@router.get("/orders/{id}/co-termination", responses=answers(401, 403, 404, 422))
async def co_termination(
    container: ContainerDep, person: Reader, id: PathId
) -> dict[Literal["own", "contract", "extend"], list[Ending]]:
    """What each way to co-terminate would make of its subscriptions and of the customer's others, with the money."""
    return await container.customers.ways_to_end(person, id)


class Reached(RequestBody):
    on: Day | None = None
    """The day on which it was reached; today without it."""
    line: Id | None = None
    """One line, where several wait for a milestone of that name."""


@router.post("/orders/{id}/milestones/{name}", response_model=Done, responses=ON_COMMAND)
async def milestone(
    container: ContainerDep, caller: Desk, id: PathId, name: PathId, body: Reached | None = None
) -> Response:
    """A step of a service is reached: its part of the price is earned."""
    told = (body or Reached()).model_dump(mode="json")
    return answered(await container.orders.ask(caller, id, "milestone", "orders.steer", name=name, **told))


class CustomerAccepts(RequestBody):
    on: Day | None = None
    lines: Annotated[list[Id], Field(min_length=1, max_length=2_000)] | None = None
    """Everything that was delivered, without it."""


@router.post("/orders/{id}/customer-acceptance", responses=answers(401, 403, 404, 422))
async def customer_accepts(
    container: ContainerDep, caller: Desk, id: PathId, body: CustomerAccepts | None = None
) -> list[Fact]:
    """The customer accepts what was delivered; where the line asks for it, revenue waits for that."""
    told = body or CustomerAccepts()
    return await container.customers.accepts(caller, id, told.on, told.lines)


# --- figures of orders ------------------------------------------------------------------------------------------------

FigureReader = Annotated[Person, needs("figures.read")]
FirstDay = Annotated[Day | None, Query(alias="from")]
LastDay = Annotated[Day | None, Query(alias="to")]


@router.get("/figures", responses=answers(401, 403, 422), tags=["figures"])
async def order_figures(
    container: ContainerDep, person: FigureReader, first: FirstDay = None, last: LastDay = None
) -> OrderFigures:
    """Orders on time between two days; not in stock, refused and to come as of now."""
    return await container.figures.orders(person, first, last)


@router.get("/figures.csv", response_class=Response, responses=answers(401, 403, 422), tags=["figures"])
async def figures_csv(
    container: ContainerDep, person: FigureReader, first: FirstDay = None, last: LastDay = None
) -> Response:
    headers = {"Content-Disposition": "attachment; filename=figures.csv"}
    text = figures_as_csv(await container.figures.orders(person, first, last))
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
