"""Pages of customers, of revenue, and of the figures of orders."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from babel.dates import format_date
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup
from pydantic import BeforeValidator

from api.customers import MONTH, first_day
from api.requests import ContainerDep, PathId, cursor_of, keys_of
from console.charts import Bar, bars
from console.forms import read_acceptance
from console.pages import PAGE, Short, Words, caller
from console.refusals import why
from console.session import Me
from console.view import Reader, page
from domain.customers.proration import months_after
from domain.customers.revenue import month_of
from domain.errors import Invalid, Unresolved
from domain.orders.payload import day_of
from domain.people import Person
from domain.permissions import allows
from services.clock import now
from services.customers.revenue import RevenueMonth
from services.customers.revenue import as_csv as revenue_as_csv
from services.orders.extensions import Extended
from services.orders.figures import Week, as_csv
from storage.customers.revenue import By

router = APIRouter()
Day = Annotated[date | None, BeforeValidator(lambda text: text or None), Query()]
Month = Annotated[str, Query(pattern=f"^$|{MONTH}")]


@router.get("/customers")
async def customers(
    request: Request, container: ContainerDep, me: Me, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> Response:
    after = keys_of(cursor, 1)
    found = await container.customers.list_page(me, after[0] if after else "", PAGE + 1)
    more = cursor_of(found[PAGE - 1].id) if len(found) > PAGE else None
    return page(request, "customers.html", me, customers=found[:PAGE], more=more)


@router.get("/customers/{id}")
async def customer(
    request: Request, container: ContainerDep, me: Me, id: PathId, as_of: Day = None, known: Day = None
) -> Response:
    """Everything of one customer on a day, as it was known at the end of another."""
    read = Reader(me)
    end = read.end_of(known) if known else None
    whole = await container.customers.whole(me, id, as_of or read.today(now()), end)
    charts = revenue_charts(read, whole.revenue or [], read.today(now()))
    facts: dict[str, Any] = {"whole": whole, "charts": charts, "known_on": known, "desk": allows(me, "orders.steer")}
    return page(request, "customer.html", me, **facts)


@router.get("/customers/{id}/extensions")
async def extension(request: Request, container: ContainerDep, me: Me, id: PathId, ends: Day = None) -> Response:
    """Which subscriptions run on so that all end together, with the money; then the customer's yes."""
    try:
        shown = await container.extensions.preview(me, id, ends)
    except (Invalid, Unresolved) as error:
        return _extension_page(request, me, id, None, why(error, Reader(me)))
    return _extension_page(request, me, id, shown)


def _extension_page(request: Request, me: Person, id: str, shown: Extended | None, problem: str = "") -> Response:
    facts: dict[str, Any] = {"id": id, "shown": shown, "problem": problem, "today": Reader(me).today(now()).isoformat()}
    return page(request, "extension.html", me, **facts)


@router.post("/customers/{id}/extensions")
async def extend(
    container: ContainerDep,
    me: Me,
    id: PathId,
    ends: Short = "",
    on: Short = "",
    po_number: Short = "",
    document: Words = "",
    key: Short = "",
) -> Response:
    acceptance = read_acceptance(on, po_number, document)
    if (day := day_of(ends)) is None:
        raise Invalid.field("ends", "must be a day like 2026-12-31")
    await container.extensions.place(caller(me, key), id, day, acceptance)
    return RedirectResponse(f"/customers/{id}", 303)


def revenue_charts(read: Reader, months: Sequence[RevenueMonth], today: date) -> dict[str, Markup]:
    """For each currency what each month recognises, with those to come paler."""
    by_currency: dict[str, list[Bar]] = defaultdict(list)
    this = f"{today:%Y-%m}"
    for m in months:
        label = format_date(first_day(m.month), "LLL yy", locale=read.locale)
        by_currency[m.currency].append(
            Bar(label, m.recognised, read.money(m.recognised, m.currency), future=m.month > this)
        )
    return {currency: bars(f"{read.say('Recognised')} {currency}", some) for currency, some in by_currency.items()}


@router.get("/revenue")
async def revenue(
    request: Request,
    container: ContainerDep,
    me: Me,
    first: Annotated[Month, Query(alias="from")] = "",
    last: Annotated[Month, Query(alias="to")] = "",
    by: By = "company",
    known: Day = None,
) -> Response:
    """Finance's page: by month, as known on a day, with what is closed."""
    read = Reader(me)
    today = read.today(now())
    start = first_day(first) if first else months_after(month_of(today), -6)
    end = first_day(last) if last else months_after(month_of(today), 6)
    known_at = read.end_of(known) if known else None
    months = await container.revenue.by_month(me, start, end, by, known_at)
    closed = await container.revenue.closed_through(me)
    following = months_after(closed, 1) if closed else None
    facts: dict[str, Any] = {
        "months": months, "charts": revenue_charts(read, months, today) if by == "company" else {}, "by": by,
        "first": f"{start:%Y-%m}", "last": f"{end:%Y-%m}", "known_on": known, "closed": closed,
        "may_close": allows(me, "periods.close"), "next_to_close": f"{following or start:%Y-%m}",
    }  # fmt: skip
    return page(request, "revenue.html", me, **facts)


@router.get("/revenue.csv")
async def revenue_export(
    container: ContainerDep,
    me: Me,
    first: Annotated[Month, Query(alias="from")],
    last: Annotated[Month, Query(alias="to")],
    by: By = "company",
) -> Response:
    months = await container.revenue.by_month(me, first_day(first), first_day(last), by, None)
    return _file("revenue.csv", revenue_as_csv(months))


@router.post("/periods/close")
async def close(container: ContainerDep, me: Me, month: Short = "", key: Short = "") -> Response:
    if not re.fullmatch(MONTH, month):
        raise Invalid.field("month", "must be a month like 2026-12")
    await container.revenue.close(caller(me, key), first_day(month))
    return RedirectResponse("/revenue", 303)


@router.get("/figures")
async def figures(
    request: Request,
    container: ContainerDep,
    me: Me,
    first: Annotated[Day, Query(alias="from")] = None,
    last: Annotated[Day, Query(alias="to")] = None,
) -> Response:
    found = await container.figures.orders(me, first, last)
    read = Reader(me)
    return page(request, "kept.html", me, found=found, charts=_weeks(read, found.weeks), now=now())


def _weeks(read: Reader, weeks: Sequence[Week]) -> dict[str, Markup]:
    """For each currency what starts in each week."""
    by_currency: dict[str, list[Bar]] = defaultdict(list)
    for week in weeks:
        label = format_date(week.begins, "d MMM", locale=read.locale)
        by_currency[week.currency].append(Bar(label, week.net_total, read.money(week.net_total, week.currency)))
    return {currency: bars(f"{read.say('To come')} {currency}", some) for currency, some in by_currency.items()}


@router.get("/figures.csv")
async def figures_export(
    container: ContainerDep,
    me: Me,
    first: Annotated[Day, Query(alias="from")] = None,
    last: Annotated[Day, Query(alias="to")] = None,
) -> Response:
    return _file("figures.csv", as_csv(await container.figures.orders(me, first, last)))


def _file(name: str, text: str) -> Response:
    return Response(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f"attachment; filename={name}"}
    )
