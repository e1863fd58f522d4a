"""Future orders by day: a month to look at, and to move orders in by dragging or by keys."""

from calendar import Calendar
from datetime import date, timedelta

from babel.dates import format_date, get_day_names
from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.customers import first_day
from api.requests import ContainerDep
from console.customers import Month
from console.session import Me
from console.view import Reader, page
from domain.permissions import allows
from services.clock import now
from storage.orders.orders import OrderSummary

router = APIRouter()
MOST = 500


@router.get("/calendar")
async def month(request: Request, container: ContainerDep, me: Me, month: Month = "") -> Response:
    read = Reader(me)
    today = read.today(now())
    first = first_day(month) if month else today.replace(day=1)
    weeks = Calendar(firstweekday=0).monthdatescalendar(first.year, first.month)
    found = await container.orders.starting(me, weeks[0][0], weeks[-1][-1], MOST + 1)
    by_day: dict[date, list[OrderSummary]] = {}
    for order in found[:MOST]:
        if order.starts_on:
            by_day.setdefault(order.starts_on, []).append(order)
    names = get_day_names("abbreviated", locale=read.locale)
    return page(
        request,
        "calendar.html",
        me,
        first=first,
        weeks=weeks,
        by_day=by_day,
        today=today,
        more=len(found) > MOST,
        title=format_date(first, "LLLL yyyy", locale=read.locale),
        weekdays=[names[n] for n in range(7)],
        before=_shown(first - timedelta(days=1)),
        after=_shown(first + timedelta(days=32)),
        may_move=allows(me, "orders.steer"),
    )


def _shown(day: date) -> str:
    return f"{day:%Y-%m}"
