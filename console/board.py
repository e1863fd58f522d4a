"""The split board: lines by orders, typed or dragged, with what is left and what it costs always in sight.

Everything that is on the board is in its form, so it works without JavaScript; preview and commit are one service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError

from api.requests import ContainerDep, PathId
from console.pages import caller
from console.refusals import why
from console.session import Me
from console.view import Reader, page
from domain.errors import Invalid, Refusal
from domain.orders.split import Slot, Way
from domain.problems import invalid_fields
from domain.quotes import Place, Quote
from domain.sentences import Sentence
from domain.values import canonical, counted, plain_number
from services.clock import now
from services.orders.orders import Placed

router = APIRouter()
WAYS: TypeAdapter[Any] = TypeAdapter(Way)
MOST_COLUMNS = 24
EVERY = ("day", "week", "month", "quarter", "year")


@dataclass
class Column:
    """One order on the board, as it was typed."""

    place: str = ""
    on: str = ""
    start: str = "now"
    after: str = ""
    note: str = ""
    quantities: dict[str, str] = field(default_factory=dict)

    def slot(self, places: list[Place]) -> dict[str, Any]:
        trigger: dict[str, Any] = {"start": self.start}
        if self.after:
            trigger = {"start": "after", "after": self.after}
        elif self.on:
            trigger = {"start": "date", "on": self.on}
        chosen = counted(self.place)
        known = places[chosen] if chosen is not None and chosen < len(places) else None
        return {"ship_to": known, "trigger": trigger, "note": self.note}

    def filled(self, read: Reader) -> dict[str, str]:
        """What was typed, as numbers. Raises Invalid naming the line."""
        typed = {line: read.parse_quantity(text, line) for line, text in self.quantities.items() if text}
        return {line: plain_number(quantity) for line, quantity in typed.items() if quantity}


@dataclass(frozen=True)
class Waves:
    """Over how many orders, from which day and how far apart, as it was typed."""

    count: str = "3"
    first: str = ""
    every: str = "month"


def _waves(form: Mapping[str, str]) -> Waves:
    every = form.get("every", "month")
    return Waves(form.get("waves", "3"), form.get("first", ""), every if every in EVERY else "month")


def places_of(quote: Quote) -> list[Place]:
    """Every place a line asks for, once."""
    found = {canonical(line.ship_to): line.ship_to for line in quote.lines if line.ship_to}
    return list(found.values())


@router.get("/quotes/{id}/board")
async def empty(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    return await _board(request, container, me, id, [Column(), Column()], None)


@router.post("/quotes/{id}/board/figures")
async def figures(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    """What is left and what it costs, for the board as it stands."""
    return await _board(request, container, me, id, _columns(await _form(request)), None, "figures.html")


@router.post("/quotes/{id}/board")
async def arrange(request: Request, container: ContainerDep, me: Me, id: PathId) -> Response:
    """Arrange the board, or order what it shows."""
    form = await _form(request)
    columns, then, waves = _columns(form), form.get("then", ""), _waves(form)
    places = places_of((await container.quotes.get(me, id)).quote)
    try:
        if then == "place":
            await container.orders.place(caller(me, form.get("key", "")), id, _way(columns, places, Reader(me)))
            return RedirectResponse(f"/quotes/{id}", 303)
        columns = await _arranged(container, me, id, form, columns, places)
    except ValidationError as error:
        problem = why(invalid_fields("this cannot be ordered so", error), Reader(me))
        return await _board(request, container, me, id, columns, problem, waves=waves)
    except Refusal as error:
        return await _board(request, container, me, id, columns, why(error, Reader(me)), waves=waves)
    return await _board(request, container, me, id, columns, None, waves=waves)


async def _arranged(
    container: ContainerDep, me: Me, id: str, form: Mapping[str, str], columns: list[Column], places: list[Place]
) -> list[Column]:
    """The board after a button that changes it."""
    then = form.get("then", "")
    if then == "add":
        return [*columns, Column()][:MOST_COLUMNS]
    if then.startswith("remove.") and (gone := counted(then.removeprefix("remove."))) is not None:
        return [column for n, column in enumerate(columns) if n != gone] or [Column()]
    ways: dict[str, dict[str, Any]] = {
        "fields": {"way": "fields", "fields": ["ship_to", "requested_date"], "otherwise": {"start": "manual"}},
        "even": {"way": "even", "waves": form.get("waves", ""), "first": form.get("first") or None,
                 "every": form.get("every", "month")},
        "rest": {"way": "whole"},
    }  # fmt: skip
    if then not in ways:
        return columns
    placed = await container.orders.preview(me, id, WAYS.validate_python(ways[then]))
    if len(placed.orders) > MOST_COLUMNS:
        many = Sentence(
            "makes {orders} orders, and the board shows {most}: order it on the quote's page",
            orders=len(placed.orders),
            most=MOST_COLUMNS,
        )
        raise Invalid.field("way", many)
    read = Reader(me)
    return [
        _column(order.slot, {n.line: read.quantity(n.share.quantity) for n in order.lines}, places)
        for order in placed.orders
    ]


def _column(slot: Slot, quantities: dict[str, str], places: list[Place]) -> Column:
    place = str(places.index(slot.ship_to)) if slot.ship_to in places else ""
    start = slot.trigger.start if slot.trigger.start in ("now", "manual") else "now"
    on = slot.trigger.on.isoformat() if slot.trigger.on else ""
    return Column(place=place, on=on, start=start, note=slot.note, quantities=quantities)


async def _form(request: Request) -> dict[str, str]:
    return {name: str(value).strip()[:200] for name, value in (await request.form()).items()}


def _columns(form: Mapping[str, str]) -> list[Column]:
    found = []
    for n in range(min(counted(form.get("columns", "")) or 0, MOST_COLUMNS)):
        prefix = f"q{n}."
        quantities = {name.removeprefix(prefix): value for name, value in form.items() if name.startswith(prefix)}
        start = form.get(f"g{n}.start", "now")
        found.append(
            Column(
                place=form.get(f"g{n}.place", ""),
                on=form.get(f"g{n}.on", ""),
                note=form.get(f"g{n}.note", ""),
                start=start if start in ("now", "manual") else "now",
                after=start.removeprefix("after:") if start.startswith("after:") else "",
                quantities=quantities,
            )
        )
    return found or [Column()]


def _way(columns: list[Column], places: list[Place], read: Reader) -> Any:
    filled = [(column, column.filled(read)) for column in columns]
    groups = [{"slot": column.slot(places), "lines": lines} for column, lines in filled if lines]
    return WAYS.validate_python({"way": "hand", "groups": groups})


async def _board(
    request: Request,
    container: ContainerDep,
    me: Me,
    id: str,
    columns: list[Column],
    wrong: str | None,
    template: str = "board.html",
    waves: Waves = Waves(),
) -> Response:
    stored = await container.quotes.get(me, id)
    places = places_of(stored.quote)
    ledger = {entry.line: entry for entry in await container.orders.ledger(me, id)}
    placed: Placed | None = None
    if any(any(column.quantities.values()) for column in columns):
        try:
            way = _way(columns, places, Reader(me))
            placed = await container.orders.preview(me, id, way) if way.groups else None
        except ValidationError as error:
            wrong = wrong or why(invalid_fields("this cannot be ordered so", error), Reader(me))
        except Refusal as error:
            wrong = wrong or why(error, Reader(me))
    after = {entry.line: entry for entry in placed.ledger} if placed else ledger
    filled = iter(placed.orders if placed else ())
    sums = [next(filled, None) if any(column.quantities.values()) else None for column in columns]
    facts: dict[str, Any] = {
        "quote": stored.quote, "columns": columns, "sites": places, "ledger": ledger, "after": after, "sums": sums,
        "wrong": wrong, "every": EVERY, "waves": waves, "today": Reader(me).today(now()).isoformat(),
        "left_money": sum((entry.unallocated.net for entry in after.values()), start=0),
        "ordered": await container.orders.list_page(me, id, None, "", 100),
    }  # fmt: skip
    return page(request, template, me, status_code=422 if wrong and template == "board.html" else 200, **facts)
