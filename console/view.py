"""How pages are made: the templates, and what every page knows."""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_date, format_time, format_timedelta
from babel.numbers import NumberFormatError, format_decimal, get_decimal_symbol, get_group_symbol, parse_decimal
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from console import draw
from domain.approvals.card import percent_in_words
from domain.approvals.round import Round, explained
from domain.errors import Invalid
from domain.money import formatted
from domain.orders.order import Order
from domain.people import Person, Role
from domain.permissions import Reach, allows, reaches
from texts import LANGUAGES, locale_of, translator

environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.globals.update(
    explained=explained,
    allows=allows,
    lists_orders=lambda person: bool(reaches(person, "orders.read") - {Reach.INVOLVED}),
    chain_name=draw.chain_name,
    Role=Role,
    form_key=lambda: token_hex(12),
)


TYPED = re.compile(r"[0-9][0-9.,' ]{0,40}")
MOST_DECIMALS = 12
LONGEST_HEADER = 200


class Reader:
    """Formats for one person: their language and their clock. `language` is for whom nobody knows yet."""

    def __init__(self, person: Person | None, language: str = "en") -> None:
        language = person.language.value if person else language
        self.language, self.locale = language, locale_of(language)
        self.say = translator(language)
        try:
            self.zone = ZoneInfo(person.time_zone if person else "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            self.zone = ZoneInfo("UTC")

    def money(self, amount: Decimal, currency: str) -> str:
        return formatted(amount, currency, self.locale)

    def quantity(self, value: Decimal) -> str:
        """As it is shown, and as it is typed."""
        return format_decimal(value, "#,##0.############", self.locale)

    def parse_quantity(self, text: str, field: str) -> Decimal:
        """A quantity typed in the reader's own way: grouped only in threes by their sign, the other sign refused.

        Raises Invalid: "1,000" is a thousand for one reader, and one for another."""
        text = text.strip().replace("\xa0", " ")
        try:
            number = parse_decimal(text, locale=self.locale, strict=True) if TYPED.fullmatch(text) else None
        except NumberFormatError:
            number = None
        if number is None or -int(number.as_tuple().exponent) > MOST_DECIMALS:
            example = format_decimal(Decimal("1234.5"), locale=self.locale)
            what = "{typed} is no quantity here; write it like {example}"
            raise Invalid.field(field, what, typed=text, example=example)
        return number

    @property
    def decimal_sign(self) -> str:
        return str(get_decimal_symbol(self.locale))

    @property
    def group_sign(self) -> str:
        return str(get_group_symbol(self.locale))

    def title(self, round: Round) -> str:
        """What a round is about."""
        return round.card.title(self.say, self.locale) if round.card else round.title

    def number(self, value: Decimal) -> str:
        return format_decimal(value, locale=self.locale)

    def percent(self, value: Decimal | None) -> str:
        return "–" if value is None else percent_in_words(value, self.locale)

    def when(self, at: datetime | None) -> str:
        """An instant on the reader's clock, to the minute."""
        if at is None:
            return ""
        there = at.astimezone(self.zone)
        return f"{format_date(there, 'medium', locale=self.locale)}, {format_time(there, 'short', locale=self.locale)}"

    def starts(self, order: Order) -> str:
        """When an order starts: a day is that of its place, whoever reads it; an instant is on the reader's clock."""
        on = order.slot.trigger.on
        return self.day(on) if on else self.when(order.starts_at)

    def day(self, day: date) -> str:
        return format_date(day, "medium", locale=self.locale)

    def end_of(self, day: date) -> datetime:
        """The last instant of a day, on their clock."""
        return datetime.combine(day, time.max, tzinfo=self.zone)

    def today(self, now: datetime) -> date:
        return now.astimezone(self.zone).date()

    def ago(self, at: datetime, now: datetime) -> str:
        return format_timedelta(at - now, add_direction=True, locale=self.locale)

    def hours(self, hours: Decimal) -> str:
        return format_timedelta(timedelta(hours=float(hours)), locale=self.locale)

    def drift(self, kind: str) -> str:
        """In what an order differs from the ERP's."""
        say = self.say
        return {
            "missing": say("The ERP does not have it"),
            "unknown": say("Only the ERP has it"),
            "version": say("The ERP has an older version"),
            "cancelled": say("Cancelled on one side only"),
            "quantity": say("Quantity"),
            "shipped": say("Sent off"),
            "delivered": say("Arrived"),
        }[kind]

    def status(self, status: str) -> str:
        return self.say(status.replace("_", " ").capitalize())


def page(
    request: Request,
    template: str,
    person: Person | None,
    *,
    status_code: int = 200,
    reads_as: Person | None = None,
    **facts: Any,
) -> HTMLResponse:
    """A page, or a piece of one, for one reader; `reads_as` when they are known and not signed in."""
    read = reader_of(request, person or reads_as)
    context = {"request": request, "me": person, "read": read, "_": read.say, **facts}
    return HTMLResponse(environment.get_template(template).render(context), status_code)


def reader_of(request: Request, person: Person | None) -> Reader:
    """Who reads the answer; where nobody knows them, in the language of their browser."""
    return Reader(person, browser_language(request))


def browser_language(request: Request) -> str:
    """The first of the languages that the browser asks for and that we have."""
    for tag in request.headers.get("accept-language", "")[:LONGEST_HEADER].split(","):
        asked = tag.partition(";")[0].strip().partition("-")[0].lower()
        for language in LANGUAGES:
            if language.partition("-")[0] == asked:
                return language
    return "en"


def is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"
